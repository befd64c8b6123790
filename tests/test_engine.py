"""The whole engine against the golden model: frames, faults, early termination, and bites.

One small network and array per attention variant; other weights go in through the loader port, so
that few simulations are compiled.
"""

import zlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from golden import weights as golden_weights
from golden.config import ModelConfig
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.interfaces import Status
from hw.parts import weights_image
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import camera, session

SMALL = ModelConfig(
    name="small",
    image_height=27,
    image_width=41,
    heads=2,
    head_channels=(3, 4, 5, 6),
    state_channels=9,
    spatial_attention="none",
    channel_attention=True,
    in_channels=3,
)
SHAPE = EngineConfig.parse("5,2,2")
VARIANTS = {
    "none": SMALL,
    "full": replace(SMALL, name="small_full", spatial_attention="full"),
    "banded": replace(
        SMALL, name="small_banded", spatial_attention="banded", image_width=83, image_height=17
    ),
    "no_channel_attention": replace(SMALL, name="small_plain", channel_attention=False),
}
SHAPES = {"banded": EngineConfig.parse("6,2,4")}


def pictures(model, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (count, model.in_channels, model.image_height, model.image_width)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def engines():
    """Simulations by variant, compiled when first asked for."""
    found = {}

    def of(variant):
        if variant not in found:
            model = VARIANTS[variant]
            found[variant] = session.prepare(
                model, SHAPES.get(variant, SHAPE), random_weights(model, 1), optimise="build"
            )
        return found[variant]

    return of


def shots(images, timing, change=lambda index, picture: picture):
    return [
        camera.Shot(change(i, camera.Picture.of(session.camera_image(p))), timing)
        for i, p in enumerate(images)
    ]


def golden(engine, images, weights=None, **thresholds):
    model = IntegerModel(engine.model, weights or engine.weights)
    return model.run(images, trace=True, **thresholds)


def even(engine, speed=1.0):
    return camera.paced(engine.plan.camera_period, engine.model, speed)


@pytest.mark.parametrize("variant", VARIANTS)
def test_frames_back_to_back(engines, variant):
    """Every map, state and logit of every row group; cycles as predicted; no state leaks."""
    engine = engines(variant)
    images = pictures(engine.model, 3)
    result = session.play(
        engine,
        camera.play(shots(images, even(engine))),
        session.golden_frames(golden(engine, images)),
    )
    assert result.difference is None
    assert [len(frame.rows) for frame in result.frames] == [engine.model.row_groups] * 3
    stages = sum(stage.channels * stage.columns for stage in engine.model.stages)
    state = engine.model.state_channels * engine.model.n
    assert {row.compared for frame in result.frames for row in frame.rows} == {stages + state + 2}
    for frame, predicted in enumerate(result.predicted()):
        assert result.group_starts(frame) == predicted
    steady = result.group_starts(2)
    assert steady[-1] - steady[-2] == engine.plan.cycles_per_row_group


def test_random_gaps(engines):
    """Pauses between pixels, lines and frames change no bit."""
    engine = engines("none")
    images = pictures(engine.model, 2, seed=3)
    timing = replace(even(engine), gap_pixel=5, gap_line=400, gap_frame=5000, seed=7)
    result = session.play(
        engine, camera.play(shots(images, timing)), session.golden_frames(golden(engine, images))
    )
    assert result.difference is None and len(result.frames) == 2
    for frame, predicted in enumerate(result.predicted()):
        assert result.group_starts(frame) == predicted


FAULTS = {
    "truncated": (lambda p: p.truncated(12), Status.TRUNCATED),
    "truncated_at_once": (lambda p: p.truncated(1), Status.TRUNCATED),
    "short_line": (lambda p: p.short_line(9), Status.LINE),
    "short_first_line": (lambda p: p.short_line(0, missing=40), Status.LINE),
    "long_line": (lambda p: p.long_line(14), Status.LINE),
    "restart": (lambda p: p.restarted(13), Status.RESTART),
    "restart_at_once": (lambda p: p.restarted(1), Status.RESTART),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_camera_fault(engines, fault):
    """A bad frame between good ones: one status, one count; the good ones are right."""
    engine = engines("none")
    damage, status = FAULTS[fault]
    images = pictures(engine.model, 3, seed=5)
    good = session.golden_frames(golden(engine, images))
    schedule = camera.play(shots(images, even(engine), lambda i, p: damage(p) if i == 1 else p))
    begun = (
        status in (Status.TRUNCATED, Status.LINE, Status.RESTART)
        and "at_once" not in fault
        and "first" not in fault
    )
    # a bad frame that the engine never began is told beside the others
    expected = (
        [good[0], replace(good[1], status=int(status)), good[2]] if begun else [good[0], good[2]]
    )
    result = session.play(engine, schedule, expected)
    names = {Status.TRUNCATED: "truncated", Status.LINE: "line", Status.RESTART: "restart"}
    assert result.counts == {
        name: int(name == names[status])
        for name in ("overrun", "truncated", "line", "restart", "dropped")
    }
    decided = [frame.decision["status"] for frame in result.frames] + [
        record["status"] for record in result.judge.stray
    ]
    assert sorted(decided) == sorted([0, 0, int(status)]) or not begun
    for frame in result.frames:
        if frame.decision["status"] == 0:
            assert len(frame.rows) == engine.model.row_groups
    assert [f.decision["status"] for f in result.frames].count(0) == 2
    if begun:
        assert result.difference is None


def dropped(engine, row, late):
    """Plays frames that end badly, each so many cycles after what waits for a row has begun, and
    behind each a good one; all that is told must be right."""
    image = pictures(engine.model, 1, seed=9)
    (good,) = session.golden_frames(golden(engine, image))
    schedule = camera.play(shots(image.expand(2 * len(late), -1, -1, -1), even(engine)))
    for i, cycles in enumerate(late):
        first = schedule.lines[2 * i][row] + engine.plan.row_delay
        assert first + cycles < schedule.lines[2 * i][-1]
        schedule = camera.cut(schedule, 2 * i, first + cycles)
    result = session.play(engine, schedule, [None, good] * len(late))
    assert result.difference is None
    statuses = [frame.decision["status"] for frame in result.frames]
    assert statuses == [int(Status.TRUNCATED), 0] * len(late)


def test_dropped_in_each_cycle_of_a_walk(engines):
    """Those of its last step and of its transfer among them."""
    engine = engines("none")
    op = engine.plan.operations[0]
    dropped(engine, op.need_rows - 1, range(2 * op.period, 3 * op.period))


def test_dropped_while_scores_are_worked_on(engines):
    """As they leave, and as one head's or the next one's are in the softmax."""
    engine = engines("full")
    k, ops = engine.model.rows_per_group, {op.name: op for op in engine.plan.operations}
    (begin,) = [op.start for op in ops.values() if op.need_rows == k]
    first, last = ops["s0"].start + engine.plan.latency.transfer, ops["a1"].start
    dropped(engine, k - 1, range(first - begin, last - begin, 17))


@pytest.mark.parametrize("speed", [1.6, 3.0, 1000.0])
def test_overrun(engines, speed):
    """A camera that is too fast for the engine: the frame ends, the next good one is right."""
    engine = engines("none")
    images = pictures(engine.model, 3, seed=8)
    good = session.golden_frames(golden(engine, images))
    slow = even(engine)
    fast = replace(even(engine, speed), frame_blank=Fraction(2 * engine.plan.cycles_per_row_group))
    first, bad, last = shots(images, slow)
    schedule = camera.play([first, replace(bad, timing=fast), last])
    result = session.play(engine, schedule, [good[0], None, good[2]])
    assert result.counts["overrun"] == 1
    assert sum(result.counts.values()) == 1
    statuses = [frame.decision["status"] for frame in result.frames]
    told = statuses + [record["status"] for record in result.judge.stray]
    assert sorted(told) == [0, 0, int(Status.OVERRUN)]
    ok = [frame for frame in result.frames if frame.decision["status"] == 0]
    assert [len(frame.rows) for frame in ok] == [engine.model.row_groups] * 2
    if len(result.frames) == 3:
        assert result.difference is None


def test_early_termination(engines):
    """Stops and skips at the very row group where the golden model does, for many thresholds."""
    engine = engines("none")
    seen = set()
    for seed in range(60):
        images = pictures(engine.model, 2, seed=seed) // (1 + seed % 4)
        plain = golden(engine, images).margin
        levels = sorted({int(v) for v in plain.flatten()})
        stop, skip = [
            (levels[len(levels) * 2 // 3], None),
            (None, levels[len(levels) // 3]),
            (levels[-2], levels[2]),
            (-(2**31), 2**31 - 1),
            (None, 2**31 - 1),
        ][seed % 5]
        result = golden(engine, images, stop_threshold=stop, skip_threshold=skip)
        kinds = {
            (bool(result.stopped[i]), bool(result.skipped[i].any()), bool(result.skipped[i, -1]))
            for i in range(2)
        }
        if seed >= 5 and kinds <= seen:
            continue
        seen |= kinds
        played = session.play(
            engine,
            camera.play(shots(images, even(engine))),
            session.golden_frames(result),
            stop=stop,
            skip=skip,
        )
        assert played.difference is None, (seed, stop, skip)
        assert len(played.frames) == 2 and sum(played.counts.values()) == 0
        for frame, index in zip(played.frames, range(2), strict=True):
            assert [row.row_group for row in frame.rows] == torch.nonzero(
                result.computed[index]
            ).flatten().tolist()
    assert {(True, False, False), (False, True, False), (False, True, True)} <= seen


@pytest.mark.parametrize("kind", ["skip", "stop"])
def test_fault_as_a_row_group_is_answered(engines, kind):
    """The frame ends badly in each cycle around an answer: one decision, and the next is right."""
    engine = engines("none")
    images = pictures(engine.model, 2, seed=6)
    levels = {"skip": 2**31 - 1} if kind == "skip" else {"stop": -(2**31)}
    good = session.golden_frames(golden(engine, images, **{f"{kind}_threshold": levels[kind]}))
    schedule = camera.play(shots(images, even(engine)))
    whole = session.play(engine, schedule, good, **levels)
    assert whole.difference is None
    answer = whole.frames[0].rows[0].cycle
    seen = set()
    for cycle in range(answer - 6, answer + 3):
        result = session.play(engine, camera.cut(schedule, 0, cycle), [None, good[1]], **levels)
        assert result.difference is None, cycle - answer
        statuses = [frame.decision["status"] for frame in result.frames]
        assert statuses[1:] == [0] and not result.judge.stray, (cycle - answer, statuses)
        assert [r.row_group for r in result.frames[1].rows] == list(good[1].computed)
        assert result.counts["truncated"] + (statuses[0] == 0) >= 1
        seen.add(statuses[0])
    # whether a stop or the fault comes first, decides; a skip never ends a frame here
    assert seen == ({int(Status.TRUNCATED)} if kind == "skip" else {0, int(Status.TRUNCATED)})


def load_of(engine, weights):
    data = weights_image(engine.plan, weights)
    return data, zlib.crc32(data)


@pytest.mark.parametrize("variant", ["none", "full"])
@pytest.mark.parametrize("extreme", [False, True])
def test_loaded_weights_and_saturation(engines, variant, extreme):
    """Other weights through the port; black, white and noise; no accumulator overflows."""
    engine = engines(variant)
    model = engine.model
    weights = random_weights(model, 77, extreme=extreme)
    size = (1, model.in_channels, model.image_height, model.image_width)
    images = torch.cat(
        [
            torch.zeros(size, dtype=torch.uint8),
            torch.full(size, 255, dtype=torch.uint8),
            pictures(model, 1, seed=2),
        ]
    )
    data, digest = load_of(engine, weights)
    result = session.play(
        engine,
        camera.play(shots(images, even(engine))),
        session.golden_frames(golden(engine, images, weights)),
        load=data,
    )
    assert result.difference is None and len(result.frames) == 3
    assert result.judge.end["weights_digest"] == digest and not result.judge.end["load_error"]


def damaged(weights, layer, part, index, flip):
    """The same weights with one bit of one number flipped."""
    old = weights.layers[layer]
    tensor = getattr(old, part).clone()
    tensor.view(-1)[index] = int(tensor.view(-1)[index]) ^ flip
    return replace(weights, layers={**weights.layers, layer: replace(old, **{part: tensor})})


@pytest.mark.parametrize(
    "layer, part, index, flip, stage",
    [
        ("head1.block2", "weight", 7, 4, "head1.block2"),
        ("head0.block1", "shift", 1, 1, "head0.block1"),
        ("gru.update", "multiplier", 3, 32, "gru.update"),
        ("channel_attention.1", "bias", 2, 1 << 12, "channel_attention.output"),
        ("classifier.0", "weight", 0, 16, "logits"),
    ],
)
def test_one_bit_is_found(engines, layer, part, index, flip, stage):
    """A single wrong bit in the engine's weights is reported, at the right stage."""
    engine = engines("none")
    images = pictures(engine.model, 1)
    data, _ = load_of(engine, damaged(engine.weights, layer, part, index, flip))
    result = session.play(
        engine,
        camera.play(shots(images, even(engine))),
        session.golden_frames(golden(engine, images)),
        load=data,
    )
    assert result.difference is not None and result.difference.stage.startswith(stage)


def test_one_table_entry_is_found(engines):
    """A single wrong entry of the softmax table is reported."""
    engine = engines("full")
    images = pictures(engine.model, 1)
    result = golden(engine, images)
    table = engine.weights.exp_table
    for entry in range(1, 255):  # the first entry whose change these pictures show
        other = table.clone()
        other[entry] = table[entry + 1]
        weights = replace(engine.weights, exp_table=other)
        changed = golden(engine, images, weights).trace["attention0.weights"]
        if not torch.equal(changed, result.trace["attention0.weights"]):
            break
    data, _ = load_of(engine, weights)
    played = session.play(
        engine, camera.play(shots(images, even(engine))), session.golden_frames(result), load=data
    )
    assert played.difference is not None and "attention" in played.difference.stage


def test_truncated_load_is_refused(engines):
    """Half a weights image: an error, no digest, and frames are counted as dropped."""
    engine = engines("none")
    images = pictures(engine.model, 1)
    data, _ = load_of(engine, engine.weights)
    result = session.play(engine, camera.play(shots(images, even(engine))), [], load=data[:-1])
    assert result.frames == [] and result.counts["dropped"] == 1
    assert result.judge.end["load_error"] and result.judge.end["weights_digest"] == 0


def test_empty_weight_memory():
    """Memories that are empty at power-up: no frame before the first load, right ones after it."""
    model = VARIANTS["none"]
    shape = EngineConfig.parse(str(SHAPE), weight_memory="loaded")
    weights = random_weights(model, 1)
    engine = session.prepare(model, shape, weights, optimise="build")
    images = pictures(model, 1)
    schedule = camera.play(shots(images, even(engine)))
    before = session.play(engine, schedule, [])
    assert before.frames == [] and before.counts["dropped"] == 1
    assert before.judge.end["weights_digest"] == 0
    data, digest = load_of(engine, weights)
    after = session.play(engine, schedule, session.golden_frames(golden(engine, images)), load=data)
    assert after.difference is None and len(after.frames) == 1
    assert after.judge.end["weights_digest"] == digest


def sabotage(field, word, operation, change):
    """An engine whose program differs in one field."""
    model = VARIANTS["none"]
    weights = random_weights(model, 1)
    design = Rasca(model, SHAPE, weights)
    index = next(i for i, op in enumerate(design.plan.operations) if op.name == operation)
    design.plan.fields[word][index][field] += change
    return session.prepare(model, SHAPE, weights, design=design, optimise="build")


@pytest.mark.parametrize(
    "field, word, operation, change", [("wait", "walk", "ca2", -1), ("idle", "walk", "c3", 1)]
)
def test_one_cycle_is_found(field, word, operation, change):
    """One cycle of the program less gives a wrong value or another cycle count."""
    engine = sabotage(field, word, operation, change)
    images = pictures(engine.model, 2)
    result = session.play(
        engine,
        camera.play(shots(images, even(engine))),
        session.golden_frames(golden(engine, images)),
    )
    cycles = [result.group_starts(i) for i in range(2)]
    assert result.difference is not None or cycles != result.predicted()


def test_one_knot_is_found(monkeypatch):
    """One wrong knot of sigmoid and tanh is reported."""
    model = VARIANTS["none"]
    weights = random_weights(model, 1)
    knots = weights.knots.clone()
    knots[3] += 2
    with monkeypatch.context() as patch:  # weights of other knots are refused
        patch.setattr(golden_weights, "KNOTS", knots)
        engine = session.prepare(model, SHAPE, replace(weights, knots=knots), optimise="build")
    images = pictures(model, 1)
    result = session.play(
        engine,
        camera.play(shots(images, even(engine))),
        session.golden_frames(IntegerModel(model, weights).run(images, trace=True)),
    )
    assert result.difference is not None
