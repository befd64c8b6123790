"""boards/camera/framer.py: golden.camera.fit on good frames, one fault for each bad one."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from boards.camera.framer import Framer
from golden import camera
from sim.camera_models import members

SIZES = {  # sensor, picture, binning, channels
    "whole": (4, 6, 4, 6, 1, 3),
    "centre": (9, 12, 4, 5, 1, 3),
    "binned": (11, 13, 4, 5, 2, 3),
    "binned whole": (6, 8, 3, 4, 2, 1),
    "grey": (7, 9, 5, 6, 1, 1),
    "one pixel": (3, 3, 1, 1, 2, 3),
    "one of one": (1, 1, 1, 1, 1, 3),
}


def framer(kind):
    names = ("sensor_height", "sensor_width", "height", "width", "binning", "channels")
    return Framer(**dict(zip(names, SIZES[kind], strict=True)), domain="sync")


def stream(frames, source, gaps):
    """Cycles (valid, end, colours, sof, sol): lines of frames; None is an end of frame alone.

    The end of a frame comes alone or together with the first pixel of the next.
    """
    for number, lines in enumerate(frames):
        together = lines and source.random() < 0.5
        if number and not together:
            yield 0, 1, (0, 0, 0), source.getrandbits(1), source.getrandbits(1)
        for y, line in enumerate(lines):
            for x, pixel in enumerate(line):
                while source.random() < gaps:
                    yield 0, 0, (1, 2, 3), source.getrandbits(1), source.getrandbits(1)
                end = bool(number) and together and x == y == 0
                yield 1, end, tuple(map(int, pixel)), x == y == 0, x == 0
    yield 0, 1, (0, 0, 0), 0, 0
    for _ in range(4):
        yield 0, 0, (0, 0, 0), 0, 0


def run(block, cycles):
    """Outputs by cycle: (valid, pixel, frame_end, faults)."""
    found = []

    async def testbench(ctx):
        for valid, end, colours, sof, sol in cycles:
            ctx.set(block.i.valid, valid)
            ctx.set(block.i.frame_end, end)
            for name, value in zip(("red", "green", "blue"), colours, strict=True):
                ctx.set(getattr(block.i, name), value)
            ctx.set(block.i.sof, sof)
            ctx.set(block.i.sol, sol)
            await ctx.tick()
            f = ctx.get(block.faults)
            pixel = tuple(ctx.get(signal) for signal in members(block.o))
            faults = [n for n in ("short_line", "long_line", "short_frame", "long_frame") if f[n]]
            found.append((ctx.get(block.o.valid), pixel, ctx.get(block.o.frame_end), faults))

    simulator = Simulator(block)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    return found


def events(found):
    """What left, in order; an end that comes with a pixel is before it."""
    for valid, pixel, end, faults in found:
        yield from faults
        if end:
            yield "end"
        if valid:
            yield pixel


def frame_events(block, lines):
    """A frame with the first thing that is wrong with it, as the documentation says."""
    height, width = block.sensor_height, block.sensor_width
    b, top, left = block.binning, block.top, block.left
    if not lines:
        return ["short_frame"]
    found, fault = [], None
    for y, line in enumerate(lines):
        if y == height:
            fault = "long_frame"
            break
        for x in range(min(len(line), width)):
            row, column = y - top, x - left
            if not (0 <= row < b * block.height and 0 <= column < b * block.width):
                continue
            if row % b != b - 1 or column % b != b - 1:
                continue
            square = np.array([lines[y - j][x - i] for i in range(b) for j in range(b)], int)
            mean = (square.sum(0) + b * b // 2) // (b * b)
            if block.channels == 1:
                mean = mean[[0, 0, 0]]
            first = row == b - 1 and column == b - 1
            found.append((*mean.tolist(), int(first), int(column == b * block.width - 1)))
        if len(line) != width:
            fault = "short_line" if len(line) < width else "long_line"
            break
    else:
        if len(lines) < height:
            fault = "short_frame"
    return [*found, *([fault] if fault else []), "end"]


def image(block, source):
    values = [0, 1, 254, 255, source.getrandbits(8), source.getrandbits(8)]
    size = (block.sensor_height, block.sensor_width, 3)
    return np.array([source.choice(values) for _ in range(np.prod(size))]).reshape(size)


def damage(lines, kind, source):
    """The lines of a frame with something wrong somewhere."""
    lines = [line[:] for line in lines]
    at = source.randrange(len(lines))
    if kind == "short_line":
        del lines[at][source.randrange(1, max(2, len(lines[at]))) :]
    elif kind == "long_line":
        lines[at] += lines[at][: source.randrange(1, 4)]
    elif kind == "short_frame":
        del lines[source.randrange(len(lines)) :]
    elif kind == "long_frame":
        lines += lines[: source.randrange(1, 3)]
    return lines


@pytest.mark.parametrize("kind", SIZES)
def test_good_frames(kind):
    """Pixels as in golden.camera.fit, marks, no fault; a pixel in any cycle or in every cycle."""
    for gaps in (0, 0.4):
        block, source = framer(kind), random.Random(gaps)
        images = [image(block, source) for _ in range(3)]
        images[1][:] = 255
        found = events(run(block, stream([i.tolist() for i in images], source, gaps)))
        wanted = []
        for picture in images:
            sizes = block.height, block.width, block.binning, block.channels
            fitted = camera.fit(picture.astype(np.uint8), *sizes)
            for y in range(block.height):
                for x in range(block.width):
                    marks = (int(x == y == 0), int(x == block.width - 1))
                    wanted.append((*fitted[y, x].tolist(), *marks))
            wanted.append("end")
        assert list(found) == wanted


@pytest.mark.parametrize("kind", SIZES)
def test_faults(kind):
    """Bad frames among good ones: their first fault, once, and an end; the others whole."""
    block, source = framer(kind), random.Random(kind)
    frames, wanted = [], []
    for number in range(30):
        lines = image(block, source).tolist()
        if number % 5:
            fault = ("short_line", "long_line", "short_frame", "long_frame")[number % 4]
            lines = damage(lines, fault, source)
        frames.append(lines)
        wanted += frame_events(block, lines)
    found = list(events(run(block, stream(frames, source, 0.2))))
    assert found == wanted
    names = {name for name in wanted if isinstance(name, str)}
    assert names >= {"long_line", "short_frame", "long_frame", "end"}
    assert "short_line" in names or block.sensor_width == 1


def test_beginning():
    """Half a frame, before the first frame begins, is nothing; then an end of frame alone is."""
    block = framer("whole")
    half = [(1, 0, (9, 9, 9), 0, x % 6 == 0) for x in range(12)]
    end = (0, 1, (0, 0, 0), 0, 0)
    idle = (0, 0, (0, 0, 0), 0, 0)
    assert list(events(run(block, [*half, end, idle, idle, idle]))) == []
    assert list(events(run(block, [*half, end, idle, end, idle, idle]))) == ["short_frame"]


def test_frame_without_end():
    """A beginning inside a frame ends that, too."""
    block = framer("one of one")
    pixel = (1, 0, (9, 8, 7), 1, 1)
    found = list(events(run(block, [pixel, pixel, (0, 0, (0, 0, 0), 0, 0)] + [pixel] * 2)))
    assert found == [(9, 8, 7, 1, 1), "end", (9, 8, 7, 1, 1), "end", (9, 8, 7, 1, 1)]


@pytest.mark.parametrize("kind", ["whole", "binned whole"])
def test_latency(kind):
    block = framer(kind)
    lines = np.zeros((block.sensor_height, block.sensor_width, 3), int).tolist()
    found = run(block, stream([lines], random.Random(0), 0))
    first = (block.binning - 1) * (block.sensor_width + 1)  # cycle of the square's last pixel
    # a value set before an edge stands at the output after `latency` edges
    assert [v for v, *_ in found].index(1) == first + block.latency - 1


def test_differences_are_seen():
    block, source = framer("binned"), random.Random(1)
    picture = image(block, source)
    found = list(events(run(block, stream([picture.tolist()], source, 0))))
    picture[block.top, block.left, 1] ^= 8
    assert found != frame_events(block, picture.tolist())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"binning": 3}, "binning must be 1 or 2, not 3"),
        ({"channels": 2}, "channels must be 1 or 3, not 2"),
        ({"height": 0}, "height must be at least 1, not 0"),
        ({"width": 0}, "width must be at least 1, not 0"),
        ({"height": 6}, "height * binning must be at most the sensor's 10, not 12"),
        ({"width": 11}, "width * binning must be at most the sensor's 20, not 22"),
    ],
)
def test_errors(wrong, message):
    right = {"sensor_height": 10, "sensor_width": 20, "height": 5, "width": 10, "binning": 2}
    Framer(**right)
    with pytest.raises(ValueError) as error:
        Framer(**(right | wrong))
    assert str(error.value) == message
