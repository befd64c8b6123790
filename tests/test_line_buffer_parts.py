# amaranth: UnusedElaboratable=no
"""The line buffer's two parts alone: where a pixel belongs, and which frames are accepted."""

import random

import pytest
from amaranth.sim import Simulator

from hw.interfaces import Status
from hw.line_buffer import PixelPlaces, Receiver
from tests.bench_blocks import on_amaranth
from tests.test_line_buffer import plan_of, traffic

# ---- PixelPlaces ----

SIZES = [  # width, pixels of a word, banks: all divides, nothing does, a word or two, a pixel
    (16, 4, 2),
    (17, 5, 3),
    (23, 3, 4),
    (3, 8, 1),
    (2, 2, 2),
    (1, 3, 1),
]


def places(size, seed, wrong=""):
    """Scenario: pixels and cycles without one; some begin a frame, wherever the last one was.

    wrong: an output that is expected otherwise once.
    """
    width, pixels, banks = size
    source, column, told = random.Random(seed), None, 0
    for cycle in range(1500):
        here = source.random() < 0.8
        starting = here and (column is None or source.random() < 0.03)
        out = yield {"starting": starting, "inner": here and not starting}
        if not here:
            continue
        column = 0 if starting else column
        word = column // pixels
        right = {
            "last_column": column == width - 1,
            "word_end": column == width - 1 or column % pixels == pixels - 1,
            "place": 1 << column % pixels,
            "bank": 1 << word % banks,
        }
        if not starting:
            right["group"] = word // banks
        told += 1
        if wrong in right and told > 300:
            right[wrong] ^= 1
        for name, value in right.items():
            assert out[name] == value, f"cycle {cycle}, column {column}: {name} is {out[name]}"
        column = (column + 1) % width


@pytest.mark.parametrize("size", SIZES)
def test_places(size):
    width, pixels, banks = size
    on_amaranth(PixelPlaces(width=width, pixels=pixels, banks=banks), places(size, 1))


@pytest.mark.parametrize("wrong", ["last_column", "word_end", "place", "bank", "group"])
def test_differences_of_places_are_seen(wrong):
    with pytest.raises(AssertionError, match=f"{wrong} is"):
        on_amaranth(PixelPlaces(width=17, pixels=5, banks=3), places((17, 5, 3), 1, wrong))


# ---- Receiver ----


class Late:
    """Outputs of the receiver with the names of the line buffer's; it has no words."""

    def __init__(self, out):
        self.out = out

    def __getitem__(self, name):
        return 0 if name == "camera__words" else self.out[name]


def received(kind, seed, cycles, wrong=""):
    """Scenario: the line buffer's traffic with frames of every kind (tests/test_line_buffer.py), of
    which the receiver is told what the register and PixelPlaces tell it.

    Beside what `traffic` looks at: what may be written, from the outputs and inputs of the cycle.
    wrong: "rows" and "count" are expected otherwise, "taken" takes what overruns.
    """
    plan = plan_of(kind)
    width, pixels = plan.model.image_width, plan.engine.pixels
    bytewise = plan.engine.parts == "serial"
    space = max(2, plan.model.in_channels) - 1
    frames = traffic(kind, seed, cycles, wrong=wrong if wrong != "taken" else "", words=False)
    inputs, pixel, column, since = next(frames), {}, 0, 99
    overrun = None
    while True:
        starting = bool(pixel.get("valid") and pixel.get("sof"))
        inner = bool(pixel.get("valid") and not pixel.get("sof"))
        column = 0 if starting else column
        given = {
            "starting": starting,
            "inner": inner,
            "eol": pixel.get("eol", 0),
            "end": pixel.get("frame_end", 0),
            "last_column": column == width - 1,
            "word_end": column == width - 1 or column % pixels == pixels - 1,
            "writing": bytewise and since <= space,
        }
        now = {name.removeprefix("pixels__"): v for name, v in inputs.items() if "pixels" in name}
        control = {name: v for name, v in inputs.items() if name.startswith("control__")}
        out = yield given | control | {"sof": now["sof"]}

        where = f"column {column}"
        if overrun is not None:  # of the cycle before: it shows now
            told = out["control__fault"] and out["control__status"] == Status.OVERRUN
            assert told == overrun, f"{where}: overrun is {told}"
        here = (starting and out["control__accept"]) or (inner and out["control__receiving"])
        wrong_end = bool(given["eol"]) != given["last_column"]
        whole = bool(here and not wrong_end and given["word_end"])
        restart = starting and out["control__receiving"]
        lost = (here if bytewise else whole) and not out["taken"] and not restart
        overrun = None if restart else bool(lost) ^ (wrong == "taken")
        assert not (starting and out["control__accept"]) or control["control__enable"], where
        assert not out["taken"] or here, f"{where}: taken"
        assert out["word_done"] == whole, f"{where}: word_done"
        if whole and out["taken"]:
            assert out["row_done"] == given["last_column"], f"{where}: row_done"
        if starting or inner:
            column, since = (column + 1) % width, 0
        since += 1
        pixel = now
        try:
            inputs = frames.send(Late(out))
        except StopIteration:
            return


def receiver_of(kind):
    plan = plan_of(kind)
    bytewise = plan.engine.parts == "serial"
    return Receiver(
        row_groups=plan.model.row_groups,
        rows=plan.model.rows_per_group,
        late_rows=plan.model.in_channels + 2,
        bytewise=bytewise,
    )


@pytest.mark.parametrize("kind, seed", [("exact", 38), ("grey", 22), ("bytes", 3)])
def test_receiver(kind, seed):
    on_amaranth(receiver_of(kind), received(kind, seed, 8000))


@pytest.mark.parametrize("wrong", ["rows", "count", "taken"])
def test_differences_of_the_receiver_are_seen(wrong):
    with pytest.raises(AssertionError):
        on_amaranth(receiver_of("exact"), received("exact", 38, 4000, wrong))


FAULTS = {  # of a counter: the cycles of a frame that it counts
    "dropped": [{"starting": 1}],
    "overrun": [{"starting": 1, "enable": 1}, {"inner": 1, "word_end": 1, "writing": 1}],
    "truncated": [{"starting": 1, "enable": 1}, {"end": 1}],
    "line": [{"starting": 1, "enable": 1}, {"inner": 1, "eol": 1}],
    "restart": [{"starting": 1, "enable": 1}, {"starting": 1, "enable": 1}, {"end": 1}],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_counter_stops_at_its_limit(name):
    receiver, found = receiver_of("exact"), []

    async def testbench(ctx):
        count = getattr(receiver.counts, name)
        ctx.set(count, 65533)
        for _ in range(4):
            for cycle in FAULTS[name]:
                for port in ("starting", "inner", "eol", "end", "word_end", "writing"):
                    ctx.set(getattr(receiver, port), cycle.get(port, 0))
                ctx.set(receiver.control.enable, cycle.get("enable", 0))
                await ctx.tick()
            for port in ("starting", "inner", "end"):
                ctx.set(getattr(receiver, port), 0)
            await ctx.tick().repeat(4)
            found.append(ctx.get(count))

    simulator = Simulator(receiver)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    assert found == [65534, 65535, 65535, 65535]
