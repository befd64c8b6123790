"""boards/camera/crossing.py: nothing lost or doubled at any two clocks, and no way to hang it."""

import random
from fractions import Fraction

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.camera import crossing
from boards.camera.crossing import COUNTERS, CameraCrossing
from hw.interfaces import Pixels
from hw.plan.rules import word_spacing
from sim.camera_models import members


class Bench(wiring.Component):
    """A crossing whose camera clock the test moves by hand."""

    def __init__(self, block):
        super().__init__({})
        self.block, self.clock = block, ClockDomain("camera", reset_less=True)

    def elaborate(self, platform):
        m = Module()
        m.domains += self.clock
        m.submodules += self.block
        return m


def frame(source, size, width=7):
    """Pixels of a frame."""
    return [
        (*(source.getrandbits(8) for _ in range(3)), int(i == 0), int(i % width == width - 1))
        for i in range(size)
    ]


def run(block, script, period, phase=0.0, after=60):
    """Plays a script at a camera clock of `period` cycles of sync.

    Script entries: a pixel; "end"; ("end", pixel) in one clock; an int, clocks without anything;
    a float, cycles without clock; a set of faults. Returns (cycle, event) pairs and the counters.
    """
    bench, found, cycle = Bench(block), [], 0
    counts = {}

    async def clock(ctx):
        await ctx.delay(period / 2)
        ctx.set(bench.clock.clk, 1)
        await ctx.delay(period / 2)
        ctx.set(bench.clock.clk, 0)
        ctx.set(block.i.valid, 0)
        ctx.set(block.i.frame_end, 0)
        ctx.set(block.faults, {n: 0 for n in COUNTERS[2:]})

    async def camera(ctx):
        await ctx.delay(phase)
        for entry in script:
            if isinstance(entry, float):
                await ctx.delay(entry)
                continue
            if isinstance(entry, int):
                for _ in range(entry):
                    await clock(ctx)
                continue
            if isinstance(entry, set):
                ctx.set(block.faults, {n: n in entry for n in COUNTERS[2:]})
                await clock(ctx)
                continue
            pixel = entry[1] if entry[0] == "end" else entry
            ctx.set(block.i.frame_end, entry == "end" or entry[0] == "end")
            if entry != "end":
                ctx.set(block.i.valid, 1)
                for signal, value in zip(members(block.i), pixel, strict=True):
                    ctx.set(signal, value)
            await clock(ctx)
        for _ in range(after):
            await ctx.tick()
        counts.update({name: ctx.get(block.counts[name]) for name in COUNTERS})
        counts["lost"] = ctx.get(block.lost)

    async def watch(ctx):
        nonlocal cycle
        async for _, _, valid, end, *pixel in ctx.tick().sample(
            block.o.valid, block.o.frame_end, *members(block.o)
        ):
            assert not (valid and end)
            if end:
                found.append((cycle, "end"))
            if valid:
                found.append((cycle, tuple(pixel)))
            cycle += 1

    simulator = Simulator(bench)
    simulator.add_clock(1)
    simulator.add_testbench(camera)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    pixels = [c for c, e in found if e != "end"]
    assert all(b - a >= block.spacing for a, b in zip(pixels, pixels[1:], strict=False))
    return found, counts


def zero(**others):
    return dict.fromkeys((*COUNTERS, "lost"), 0) | others


@pytest.mark.parametrize("period", [0.31, 0.97, 1.0, 1.51, 4.0, 7.3])
def test_good_frames(period):
    """Every pixel and end once, in order; pixels as close as the spacing allows."""
    source = random.Random(period)
    spacing = source.choice([1, 2, 3])
    block = CameraCrossing(timeout=400, depth=4 if period > 3 else 64, spacing=spacing)
    rest = max(0, round(spacing / period + 0.5) - 1)  # so that sync keeps up
    script, wanted = [5], []
    for number in range(4):
        pixels = frame(source, 40)
        for i, pixel in enumerate(pixels):
            # an end with the next frame's first pixel, or alone
            entry = ("end", pixel) if number % 2 and i == 0 else pixel
            script += [entry, rest, *([source.randrange(20)] if source.random() < 0.1 else [])]
            wanted += (["end"] if number % 2 and i == 0 else []) + [pixel]
        if number % 2:
            script += ["end", 3]
            wanted += ["end"]
        else:
            script += [6]
    found, counts = run(block, script, period)
    assert [event for _, event in found] == wanted
    assert counts == zero()


def test_one_channel():
    """Only red is taken; the rest is as with three."""
    source = random.Random(5)
    pixels = frame(source, 30)
    block = CameraCrossing(timeout=400, spacing=1, channels=1)
    grey = CameraCrossing(timeout=400, spacing=1, channels=1, in_channels=1)
    assert grey.o.signature == Pixels(1) and block.o.signature == Pixels(3)
    for crossing_ in (block, grey):
        found, _ = run(crossing_, [*pixels, "end", 9], 1.4)
        assert [e for _, e in found] == [(p[0], p[0], p[0], *p[3:]) for p in pixels] + ["end"]


def test_latency():
    """From the edge that writes to the output, over all phases: the bounds are met and reached."""
    block = CameraCrossing(timeout=1000, spacing=1)
    seen = set()
    for phase in (0.01, 0.3, 0.6, 0.9, 0.99):
        block = CameraCrossing(timeout=1000, spacing=1)
        # edges of sync are at 0.5, 1.5 ...; those of the camera at 3 and a phase
        found, _ = run(block, [(1, 2, 3, 1, 0)], 5.0, 0.5 + phase)
        # at cycle c a sample shows what the edge at c - 0.5 made
        written = 0.5 + phase + 2.5
        seen.add(found[0][0] - 0.5 - written)
    low, high = block.latency
    assert all(low - 1 <= s <= high for s in seen) and max(seen) - min(seen) < 1, seen
    assert low - 1 <= min(seen) < max(seen) <= low


def check_cut(found, frames):
    """What came is beginnings of frames, each with one end; returns the numbers of whole ones."""
    whole, at, events = [], -1, [e for _, e in found]
    index = 0
    while index < len(events):
        assert events[index] != "end", "an end without a frame"
        at = next(n for n in range(at + 1, len(frames)) if frames[n][0] == events[index])
        size = 0
        while index < len(events) and events[index] != "end":
            assert events[index] == frames[at][size]
            index, size = index + 1, size + 1
        assert index < len(events), "a frame without an end"
        index += 1
        if size == len(frames[at]):
            whole.append(at)
    return whole


@pytest.mark.parametrize("depth", [4, 16])
def test_overflow(depth):
    """Frames that come too fast are cut or left out, each counted; the next slow one is whole."""
    source = random.Random(depth)
    for together in (False, True):
        block = CameraCrossing(timeout=2000, depth=depth, spacing=3)
        frames, script = [], [3]
        for number in range(14):
            pixels = frame(source, source.choice([1, 30, 60]))
            frames.append(pixels)
            slow = number % 4 == 3
            for i, pixel in enumerate(pixels):
                first = i == 0 and number and together
                script += [("end", pixel) if first else pixel, 12 if slow else 0]
            if not together:
                script += ["end", source.choice([0, 1, 5])]
            if number % 4 == 2:
                script += [80]
        found, counts = run(block, [*script, 80, "end", 10], 0.8, after=200)
        whole = check_cut(found, frames)
        assert counts == zero(overflow=len(frames) - len(whole))
        assert {3, 7, 11} <= set(whole) and 2 < counts["overflow"] < 13


@pytest.mark.parametrize("moment", ["in a frame", "between frames", "before the first"])
def test_clock_stops(moment):
    """The frame ends, the rest of it is ignored, and the next is whole; a short stop is nothing."""
    source, timeout = random.Random(1), 100
    one, two, three = (frame(source, 30) for _ in range(3))
    block = CameraCrossing(timeout=timeout, spacing=1)
    short = [*one[:9], float(timeout - 40), *one[9:], "end", 20]
    long = float(3 * timeout)
    script = {
        "in a frame": [*short, *two[:11], long, *two[11:], "end", *three, "end", 20],
        "between frames": [*short, *two, "end", 9, long, *three, "end", 20],
        "before the first": [long, *short, *two, "end", *three, "end", 20],
    }[moment]
    found, counts = run(block, [20, *script], 1.3)
    cut = 11 if moment == "in a frame" else 30
    assert [e for _, e in found] == [*one, "end", *two[:cut], "end", *three, "end"]
    assert counts == zero(lost_clock=1)
    if cut == 11:
        cycles = [c for c, e in found]
        # the clock's sign of life may be up to 8 clocks older than the last pixel
        assert timeout - 2 * 8 * 1.3 < cycles[42] - cycles[41] <= timeout + 8


def test_no_camera():
    block = CameraCrossing(timeout=50)
    found, counts = run(block, [40.0], 1.0, after=1)
    assert (found, counts) == ([], zero())
    block = CameraCrossing(timeout=50)
    found, counts = run(block, [400.0], 1.0)
    assert (found, counts) == ([], zero(lost_clock=1, lost=1))


def test_pixels_stop():
    """The clock goes on but no pixel comes: the frame ends after twice the time, counted."""
    source, timeout = random.Random(2), 60
    one, two = frame(source, 20), frame(source, 20)
    block = CameraCrossing(timeout=timeout, spacing=1)
    found, counts = run(
        block, [*one[:5], 2 * timeout - 20, *one[5:9], 300, *two, "end"], 1.0, after=9
    )
    assert [e for _, e in found] == [*one[:9], "end", *two, "end"]
    assert counts == zero(lost_clock=1)
    cycles = [c for c, _ in found]
    assert cycles[9] - cycles[8] == 2 * timeout


def test_beginning_in_a_frame():
    """A frame begins inside another one without an end: the crossing puts it in between."""
    source = random.Random(3)
    one, two = frame(source, 9), frame(source, 9)
    found, counts = run(CameraCrossing(timeout=400, spacing=1), [*one[:4], *two, "end", 9], 2.0)
    assert [e for _, e in found] == [*one[:4], "end", *two, "end"] and counts == zero()


@pytest.mark.parametrize("period", [0.5, 1.0, 3.7])
def test_faults(period):
    """Each pulse counts, also several at once and in clocks next to each other."""
    source, right = random.Random(4), zero()
    script = []
    for _ in range(60):
        faults = {n for n in COUNTERS[2:] if source.random() < 0.4}
        script += [faults, source.choice([0, 0, 0, 3])]
        for name in faults:
            right[name] += 1
    _, counts = run(CameraCrossing(timeout=400), [*script, 9], period)
    assert counts == right


def test_counters_stay(monkeypatch):
    monkeypatch.setattr(crossing, "COUNT_BITS", 2)
    _, counts = run(CameraCrossing(timeout=400), [{"short_line"}, 1] * 9, 0.4)
    assert counts == zero(short_line=3)


def test_differences_are_seen():
    frames = [[(1, 1, 1, 1, 0), (2, 2, 2, 0, 1)]]
    with pytest.raises(AssertionError):
        check_cut([(0, frames[0][0]), (1, (2, 2, 3, 0, 1)), (2, "end")], frames)
    with pytest.raises(AssertionError, match="without an end"):
        check_cut([(0, frames[0][0])], frames)


@pytest.mark.parametrize(
    "width, pixels, channels, spacing",
    [(240, 15, 3, 1), (240, 16, 3, 1), (17, 4, 3, 3), (18, 4, 3, Fraction(3, 2)), (19, 4, 3, 1)]
    + [(17, 4, 1, 1), (120, 8, 3, 1), (20, 2, 3, Fraction(3, 2)), (5, 1, 3, 3)],
)
def test_pixel_spacing(width, pixels, channels, spacing):
    assert word_spacing(width=width, pixels=pixels, channels=channels) == spacing


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"timeout": 15}, "timeout must be at least 16 cycles, not 15"),
        ({"depth": 2}, "depth must be a power of two, at least 4, not 2"),
        ({"depth": 48}, "depth must be a power of two, at least 4, not 48"),
        ({"channels": 2}, "channels must be 1 or 3, not 2"),
        ({"in_channels": 1}, "in_channels must be 3, not 1"),
        ({"channels": 1, "in_channels": 2}, "in_channels must be 1 or 3, not 2"),
        ({"spacing": 0}, "spacing must be at least 1 cycle, not 0"),
    ],
)
def test_errors(wrong, message):
    with pytest.raises(ValueError) as error:
        CameraCrossing(**({"timeout": 100} | wrong))
    assert str(error.value) == message
