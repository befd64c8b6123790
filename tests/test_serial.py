# amaranth: UnusedElaboratable=no
"""The compact engine: its unit, its array on the cells' model, whole frames, cycles, errors."""

import gc
import random
import warnings
from pathlib import Path

import pytest
import torch
from amaranth.hdl import Fragment, Module, ResetInserter, Signal
from amaranth.sim import Simulator

import golden.activation as activation
from golden.config import ModelConfig, preset
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.bus.top import RascaBus
from hw.parts import weights_image
from hw.plan import Function, compile_program
from hw.plan.engine_config import EngineConfig, Geometry
from hw.plan.latency import SERIAL
from hw.serial.array import SerialArray
from hw.serial.store import SerialPool
from hw.serial.unit import FIRST_SHIFT, SerialUnit, table
from hw.top import Rasca
from sim import camera, fuzz, session
from sim.cell_models import MODELS
from tests.bench_blocks import on_amaranth, on_verilator
from tests.serial import plan_of

T = SERIAL


def small(**changes) -> ModelConfig:
    sizes = {
        "name": "compact",
        "image_height": 15,
        "image_width": 80,
        "heads": 2,
        "head_channels": (3, 4, 5, 6),
        "state_channels": 8,
        "attention_hidden": 4,
        "classifier_hidden": 2,
    }
    return ModelConfig(**(sizes | changes))


def shape(text: str, **more) -> EngineConfig:
    return EngineConfig.parse(text, parts="serial", **more)


# ---- channel unit ----


def byte_of(function, total, multiplier, shift, a, b) -> int:
    """golden.requant, .activation, .conv_gru, for one value."""
    value = (total * multiplier + (1 << shift - 1)) >> shift
    if function == Function.RELU:
        return min(max(value, 0), 255) - 128
    v = torch.tensor([min(max(value, -511), 511)])
    unit = int(activation.sigmoid(v))
    if function == Function.UPDATE:
        return unit - (unit >= 128)
    if function == Function.RESET:
        return (a * unit + 128) >> 8
    if function == Function.CHANNEL:
        return (((a + 128) * unit + 128) >> 8) - 128
    new = int(activation.tanh(v))
    return new + (((a - new) * (b + (b >= 128)) + 128) >> 8)


LANE = 4
"""Values of a lane, which have the same constants: as few as there may be."""


def unit_scenario(function, count=300, pool=False, wrong=False):
    """Values' bytes, each `unit` cycles after its (first) sum.

    pool: of two sums, with a bias each, the larger counts; wrong: that it is the smaller.
    """
    rng, period = random.Random(int(function)), 2 if pool or function == Function.BLEND else 1
    edge = (-(1 << 19), (1 << 19) - 1, 0, -1)

    def added(i):
        total, bias = rng.randint(-(1 << 17), 1 << 17), rng.randint(-(1 << 17), 1 << 17)
        if pool:  # sums of 20 bits, as far apart as they may be, and close to each other
            total = rng.choice((*edge, total, total, total >> 14))
            bias = total - min(max(total - bias, edge[0]), edge[1])
            return {"sum": total - bias, "bias": bias}
        return {"sum": rng.choice(edge) if i < 20 else total, "bias": bias}

    values = [
        {
            "sums": [added(i) for _ in range(1 + pool)],
            "multiplier": rng.choice((0, 1, 255)) if i < 30 else rng.randint(0, 255),
            "shift": rng.randint(FIRST_SHIFT, FIRST_SHIFT + 15),
            "a": rng.randint(-128, 127),
            "b": rng.randint(0, 255),
        }
        for i in range(count)
    ]
    for i, value in enumerate(values):  # a lane has a few values
        value |= {name: values[i - i % LANE][name] for name in ("multiplier", "shift")}
        if pool and i % 7 == 0:
            value["sums"][1] = value["sums"][0]
    found = []
    for cycle in range(count * period + T.unit + 2):

        def then(late, now=cycle):
            return values[min(max(now - late, 0) // period, count - 1)]

        def summed(late, now=cycle):
            return then(late)["sums"][max(now - late, 0) % 2 if pool else 0]

        # constants are there in one cycle only
        fresh = cycle >= 3 and (cycle - 3) % (LANE * period) == 0
        out = yield {
            "fresh": fresh,
            "pool": pool,
            "function": int(function),
            "low": summed(0)["sum"] & 0xFFFF,
            "high": summed(1)["sum"] >> 16 & 0xF,
            "bias": summed(0)["bias"] & 0xFFFF | (summed(1)["bias"] >> 16 << 16),
            "multiplier": then(3)["multiplier"] if fresh else rng.getrandbits(8),
            "shift": then(3)["shift"] - FIRST_SHIFT if fresh else rng.getrandbits(4),
            "a": then(T.gate_at)["a"] & 0xFF,
            "factor": then(T.gate_at)["b" if function == Function.BLEND else "a"] & 0xFF,
        }
        if cycle >= T.unit and (cycle - T.unit) % period == 0 and len(found) < count:
            found.append(out["byte"])
    kept = min if wrong else max
    wanted = [
        byte_of(
            function,
            kept(one["sum"] + one["bias"] for one in v["sums"]),
            *(v[name] for name in ("multiplier", "shift", "a", "b")),
        )
        & 0xFF
        for v in values
    ]
    assert found == wanted


FUNCTIONS = [f for f in Function if f.name not in ("SIGNED", "MIX")]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_unit(function):
    unit = SerialUnit(acc_bits=20, high_bits=4, knots=activation.KNOTS.tolist())
    on_amaranth(unit, unit_scenario(function))


@pytest.mark.parametrize("wrong", [False, True])
def test_unit_pools(wrong):
    """Of two sums the larger: any two, equal ones, and those that are furthest apart."""
    unit = SerialUnit(acc_bits=20, high_bits=4, knots=activation.KNOTS.tolist())
    if wrong:
        with pytest.raises(AssertionError):
            on_amaranth(unit, unit_scenario(Function.RELU, 40, True, wrong))
    else:
        on_amaranth(unit, unit_scenario(Function.RELU, 300, True))


# ---- array ----


def array_scenario(pixels, lanes, walks=6):
    """Walks of products at their ends; what comes out is by how much each sum moved."""
    rng, late, before = random.Random(1), 2, [0] * (pixels * lanes)
    yield {"clear": 1}
    yield {}
    for walk in range(walks):
        steps = rng.randint(3, 300)
        ends = (-128, 127) if walk < 3 else range(-128, 128)
        words = [[rng.choice(ends) for _ in range(pixels * lanes)] for _ in range(steps)]
        weights = [[rng.choice((-127, 127)) for _ in range(lanes)] for _ in range(steps)]
        for i in range(steps + late):
            inputs = {"add": int(i >= late)}
            if i < steps:
                inputs["operands"] = sum((v & 255) << 8 * k for k, v in enumerate(words[i]))
                inputs["weights"] = sum((v & 255) << 8 * k for k, v in enumerate(weights[i]))
            yield inputs
        yield {"transfer": 1}
        low = []
        high = []
        for i in range(pixels * lanes + 1):
            out = yield {"shift": int(i < pixels * lanes)}
            low.append(out["low"])
            high.append(out["high"])
        for i in range(pixels * lanes):
            right = sum(x[i] * w[i // pixels] for x, w in zip(words, weights, strict=True))
            value = (high[i + 1] << 16) + low[i] - before[i]
            assert value == right, f"walk {walk}, sum {i}"
        before = low


def test_array():
    on_verilator(
        {
            kind: SerialArray(pixels=4, lanes=2, max_taps=300, cells=kind)
            for kind in ("generic", "ice40")
        },
        [(kind, array_scenario, {"pixels": 4, "lanes": 2}) for kind in ("generic", "ice40")],
        sources=MODELS["ice40"],
    )


# ---- whole frames ----

CASES = {
    "two words a state channel": (small(), "4,1,2"),
    "one word": (
        small(image_width=120, head_channels=(2, 3, 4, 6), state_channels=10, attention_hidden=3),
        "8,1,2",
    ),
    "single words, three classes": (
        small(
            head_kernels=((3, 1), (1, 1), (3, 3), (1, 1)),
            classes=("nothing", "cat", "dog"),
            stop_class="dog",
        ),
        "4,1,2",
    ),
    "four lanes": (small(image_width=70, heads=4, head_channels=(2, 3, 2, 4)), "6,1,4"),
}


@pytest.mark.parametrize("name", CASES)
def test_frames(name):
    """Every map, state and logit as the golden model has it; cycles as predicted."""
    model, text = CASES[name]
    case = fuzz.Case(seed=3, model=model, shape=shape(text), cameras="paced", extreme=False)
    assert fuzz.check(case) is None


def test_aborts():
    """A frame ends badly in any cycle of its walks, or is decided before its end; the next one is
    right, though the sums go on from where they were."""
    model, text = CASES["one word"]
    wanted = fuzz.Case(seed=3, model=model, shape=shape(text), cameras="paced", extreme=False)
    weights = fuzz.weights_of(wanted)
    engine = session.prepare(model, wanted.shape, weights, optimise="build")
    pixels = fuzz.pictures(model, 4, 2)
    golden = IntegerModel(model, weights)
    good = session.golden_frames(golden.run(pixels, trace=True))
    timing = fuzz.timing_of(wanted, engine.plan)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    schedule = camera.play(shots)
    # of the first row group: the first walk's first step, then in several operations
    begin = schedule.lines[0][2] + engine.plan.row_delay
    source = random.Random(1)
    for cycle in [begin + source.randint(4, engine.plan.cycles_per_row_group) for _ in range(6)]:
        result = session.play(engine, camera.cut(schedule, 0, cycle), [None, good[1]])
        assert result.difference is None and len(result.frames) == 2, cycle - begin
        assert result.counts["truncated"] == 1
    stopped = session.golden_frames(golden.run(pixels, trace=True, stop_threshold=-(2**31)))
    result = session.play(engine, schedule, stopped, stop=-(2**31))
    assert result.difference is None and len(result.frames) == 2


@pytest.mark.parametrize("name, cycles", [("vww_105x120", 30955), ("vww_210x240", 86534)])
def test_cycles(name, cycles):
    assert compile_program(preset(name), shape("8,1,2")).cycles_per_row_group == cycles


# ---- a classifier that takes longer than all the rest ----


def bound(**changes) -> ModelConfig:
    lean = {"head_channels": (2, 2, 2, 2), "channel_attention": False, "attention_hidden": 1}
    return small(
        **(lean | {"image_width": 33, "state_channels": 4, "classifier_hidden": 60} | changes)
    )


@pytest.mark.parametrize("text, changes", [
    ("4,1,2", {}),
    ("10,1,2", {}),
    ("10,1,2", {"state_channels": 12, "image_width": 170}),  # words that nobody fills
    ("8,1,3", {"heads": 3, "head_channels": (2, 2, 2, 3), "state_channels": 9}),
])  # fmt: skip
def test_the_answer_comes_before_the_state_is_touched(text, changes):
    """A word's first byte is written long before its last one."""
    plan = compile_program(bound(classifier_hidden=fuzz.MOST_HIDDEN, **changes), shape(text))
    assert plan.operations[0].wait > 1000  # it waits for the classifier
    # a skip or stop drops what is under way two cycles later
    assert plan.answer + 2 < plan.cycles_per_row_group + plan.state_touched


def test_a_skipped_row_group_leaves_the_state():
    """The answer to a row group may drop the next one, whose state is almost there then."""
    model, engine = bound(), shape("10,1,2")
    case = fuzz.Case(seed=3, model=model, shape=engine, cameras="paced", extreme=False)
    weights, pixels = fuzz.weights_of(case), fuzz.pictures(model, case.seed, 1)
    ready = session.prepare(model, engine, weights, optimise="build")
    assert ready.plan.operations[0].wait > 1000
    always = 2**31 - 1
    golden = IntegerModel(model, weights).run(pixels, trace=True, skip_threshold=always)
    assert golden.computed.tolist() == [[True, False, True]]
    timing = camera.paced(ready.plan.camera_period, model)
    shot = camera.Shot(camera.Picture.of(session.camera_image(pixels[0])), timing)
    played = session.play(ready, camera.play([shot]), session.golden_frames(golden), skip=always)
    assert played.difference is None, str(played.difference)
    assert [row.row_group for row in played.frames[0].rows] == [0, 2]


@pytest.mark.parametrize("skips, stale_then", [(False, [1, 1, 0]), (True, [0, 0])])
def test_the_state_is_stale_from_its_first_byte_on(skips, stale_then):
    """The answer may come between the first steps of the operation that writes the next state, and
    that one's first byte. If it drops that operation, the state is still its own."""
    model = bound(classifier_hidden=8, image_width=16, image_height=15, in_channels=1)
    design = RascaBus("wishbone", model, shape("10,1,2"), random_weights(model, 3))
    plan, engine, stream = design.plan, design.engine, design.stream
    last, answer = plan.operations[-1], plan.answer - plan.cycles_per_row_group
    assert last.start + last.k <= answer < plan.state_touched < last.start + last.period
    written, then, cycle, rows = [], [], 0, []

    async def pixels(ctx):
        ctx.set(design.bank.control.skip_enable, skips)
        ctx.set(design.bank.skip_threshold.value, 2**31 - 1)
        for y in range(model.image_height):
            for x in range(model.image_width):
                ctx.set(stream.tdata, 37 * x + 11 * y & 255)
                ctx.set(stream.tuser, x == y == 0)
                ctx.set(stream.tlast, x == model.image_width - 1)
                ctx.set(stream.tvalid, 1)
                await ctx.tick().until(stream.tready)
        ctx.set(stream.tvalid, 0)

    async def watch(ctx):
        nonlocal cycle
        store = engine.back.store
        seen = store.write_en, store.write_op, engine.stale, engine.row.valid
        async for *_, writes, op, stale, row in ctx.tick().sample(*seen):
            cycle += 1
            if writes and op == len(plan.operations) - 1:
                written.append(stale)
            if cycle - 2 in rows:  # before a byte that the next walk brings
                then.append(stale)
                if len(then) == len(stale_then):
                    return
            rows.extend([cycle] * row)

    simulator = Simulator(design)
    simulator.add_clock(1e-8)
    simulator.add_testbench(watch)
    simulator.add_testbench(pixels, background=True)
    simulator.run()
    assert len(written) >= len(then) * model.state_channels * model.n and all(written)
    assert then == stale_then


@pytest.mark.parametrize("after", [2, 40, 200])
def test_a_reset_in_the_middle_of_a_frame(after):
    """The first frame behind it has the right logits, though no accumulator is reset."""
    model = bound(classifier_hidden=2, image_width=16, image_height=5, in_channels=1)
    weights, picture = random_weights(model, 3), fuzz.pictures(model, 3, 1)
    design, reset, m = RascaBus("wishbone", model, shape("4,1,2"), weights), Signal(), Module()
    m.submodules.design = ResetInserter({"sync": reset})(design)
    stream, found = design.stream, []

    async def pixels(ctx):
        for y in range(model.image_height):
            for x in range(model.image_width):
                ctx.set(stream.tdata, int(picture[0, 0, y, x]))
                ctx.set(stream.tuser, x == y == 0)
                ctx.set(stream.tlast, x == model.image_width - 1)
                ctx.set(stream.tvalid, 1)
                await ctx.tick().until(stream.tready)
        ctx.set(stream.tvalid, 0)

    async def testbench(ctx):
        await pixels(ctx)
        await ctx.tick().repeat(after)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        await pixels(ctx)
        await ctx.tick().until(design.rasca.decision.valid)
        found.extend(ctx.get(logit) for logit in design.rasca.decision.logits)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    assert found == IntegerModel(model, weights).run(picture).logits[0, -1].tolist()


# ---- errors ----


@pytest.mark.parametrize(
    "text, rule",
    [
        ("8,2,2", "even pixels, 1 channel and at least 2 lanes, for example 8,1,2, not 8,2,2"),
        ("7,1,2", "not 7,1,2"),
        ("8,1,1", "not 8,1,1"),
    ],
)
def test_shapes(text, rule):
    with pytest.raises(ValueError, match=rule):
        shape(text)


@pytest.mark.parametrize(
    "changes, rule",
    [
        ({"spatial_attention": "full"}, "no spatial attention"),
        ({"heads": 1}, "lanes must divide the 1 heads, 2 do not"),
        ({"state_channels": 9}, "state_channels to be a multiple of 2, not 9"),
        ({"head_channels": (3, 4, 5, 7)}, r"head_channels\[3\] to be a multiple of 2, not 7"),
        ({"head_channels": (3, 4, 5, 2732)}, "sums of a compact engine .* at most 28 bits, not 30"),
        (
            {"image_width": 16 * 129},
            r"columns of the state of a compact engine must be at most 128, not 129 "
            r"\(image_width 2064, halved by each block\)",
        ),
    ],
)
def test_networks(changes, rule):
    with pytest.raises(ValueError, match=rule):
        Geometry(small(**changes), shape("8,1,2"))


def test_shift():
    weights = random_weights(small(), 1)
    weights.layers["gru.reset"].shift[0] = 8
    with pytest.raises(ValueError, match="shifts are 9..24, but gru.reset has 8"):
        Rasca(small(), shape("8,1,2"), weights)
    with pytest.raises(ValueError, match="shifts are 9..24, but gru.reset has 8"):
        weights_image(compile_program(small(), shape("8,1,2")), weights)


def test_table_makes_no_hardware():
    """Which Amaranth would speak of, once anything has been elaborated."""
    Fragment.get(Module(), None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="17 numbers in 0..256 that rise by 0..63 each"):
            table([64 * i for i in range(17)])
        assert len(table(activation.KNOTS.tolist())) == 512
        gc.collect()
        assert "unit.py" not in {Path(one.filename).name for one in told}
        assert SerialPool(plan_of("two"))  # that it would speak: of what this makes
        gc.collect()
        assert "store.py" in {Path(one.filename).name for one in told}
