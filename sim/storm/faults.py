"""What goes wrong at a camera's pins: random cases, each a bad frame (or two) and a good one.

A case follows from its number alone. Pins are words of sim.camera_models, one a PCLK period.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from boards.camera.sensor import Sensor
from golden.camera import UNITS
from sim.camera_models import CLOCK, HREF, VSYNC, Exposure, frame_pins
from sim.storm.design import SYNC_PS, Way, ways

FRONT = 2
"""PCLKs from a good frame's last pixel to the next case, at least."""
SHORT, LONG = 0.6, 1.5
"""Shares of a time-out that are surely below and above it."""
SLOWEST = 2  # camera, in row groups of the engine


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault at the pins.

    number : int, everything follows from it
    kind : str, of KINDS
    ps : int, PCLK's period; phase : int, ps after an edge of the engine's clock
    words : uint16 array, a word a PCLK period: the bad frames, then the good one
    at : int, index of the word at which the fault begins
    good : int, index of the good frame's first word
    lines : uint8 array [lines, bytes], what the good frame shows
    sensor : Sensor, with this case's blanking
    drawn : int, how many draws of that number were left away before
    parts : str or None, of the parallel ways' engines, see `ways`
    """

    number: int
    kind: str
    ps: int
    phase: int
    words: np.ndarray
    at: int
    good: int
    lines: np.ndarray
    sensor: Sensor
    drawn: int = 0
    parts: str | None = None

    @property
    def way(self) -> Way:
        """Sensor and engine that it is of."""
        return way_of(self.number, self.parts)

    def __str__(self) -> str:
        return (
            f"{self.kind} at PCLK {self.at}, PCLK {self.ps / SYNC_PS:.2f} cycles, "
            f"{self.sensor.line_clocks} a line"
        )


class Draw:
    """Random numbers of a case, and the frames that they make."""

    def __init__(self, way: Way, number: int, drawn: int = 0):
        self.way = way
        self.random = random.Random(f"storm {number}" + (f" {drawn}" if drawn else ""))
        self.bytes = np.random.default_rng(self.random.getrandbits(64))
        source, wanted = self.random, way.model
        sensor, binning = way.sensor, way.binning
        # a line as the engine can keep up with, at a PCLK that the crossing can keep up with
        slow = SLOWEST ** source.random()
        line = 1.03 * slow * way.plan.camera_period / (wanted.rows_per_group * binning)
        backlog = 1 - (way.depth - 6) / wanted.image_width
        slowest = line / (sensor.active_clocks + 3)
        fastest = max(0.3, way.spacing * backlog / (sensor.pixel_clocks * binning))
        assert fastest < slowest, f"{way.name}: PCLK between {fastest} and {slowest}"
        period = fastest * (slowest / fastest) ** source.random()
        self.ps = ceil(period * SYNC_PS)
        clocks = ceil(line * SYNC_PS / self.ps)
        vsync = source.choice((1, 2, 3, source.randint(4, 2 * clocks)))
        # so much that a frame that begins early does not bring its rows faster than others
        least = max(0, clocks - sensor.active_clocks - vsync)
        self.sensor = replace(
            sensor,
            line_clocks=clocks,
            vsync_clocks=vsync,
            back_clocks=least + source.choice((0, source.randint(0, clocks))),
            front_clocks=source.choice((FRONT, source.randint(FRONT, FRONT + clocks))),
        )
        self.unit = UNITS[sensor.pixel_format]
        self.line_bytes = sensor.active_clocks * sensor.data_bits // 8

    def cycles(self, clocks: float) -> float:
        return clocks * self.ps / SYNC_PS

    def clocks(self, cycles: float) -> int:
        return ceil(cycles * SYNC_PS / self.ps)

    def exposure(self) -> Exposure:
        """Random pictures: noise on a slope, so that states differ."""
        height = self.sensor.height
        noise = self.bytes.integers(0, 256, (height, self.line_bytes))
        slope = self.bytes.integers(0, 256) + self.bytes.integers(-12, 13) * np.arange(height)
        mixed = noise * self.bytes.integers(0, 5) // 4 + slope[:, None]
        return Exposure(tuple(np.clip(mixed, 0, 255).astype(np.uint8)))

    def pins(self, exposure: Exposure | None = None) -> np.ndarray:
        """A frame's words; between lines the data pins show a byte of their own."""
        words = frame_pins(self.sensor, self.exposure() if exposure is None else exposure)
        words = words.copy()
        byte = int(self.bytes.integers(0, 256)) >> (8 - self.sensor.data_bits)
        words[~self.high(words, HREF)] |= np.uint16(byte << 8)
        return words

    def high(self, words: np.ndarray, pin: int) -> np.ndarray:
        """Where VSYNC says "between frames", or HREF "pixels"."""
        level = self.sensor.vsync_high if pin == VSYNC else self.sensor.href_high
        return ((words & pin) != 0) == level

    def put(self, words: np.ndarray, pin: int, begin: int, end: int, on: bool) -> np.ndarray:
        """Words with a pin held from `begin` to `end`."""
        level = on == (self.sensor.vsync_high if pin == VSYNC else self.sensor.href_high)
        words = words.copy()
        words[begin:end] = words[begin:end] & ~np.uint16(pin) | np.uint16(pin * level)
        return words

    def line_start(self, line: int) -> int:
        sensor = self.sensor
        return sensor.vsync_clocks + sensor.back_clocks + line * sensor.line_clocks

    def idle(self, clocks: int) -> np.ndarray:
        """Words between lines and frames."""
        sensor = self.sensor
        word = CLOCK | VSYNC * (not sensor.vsync_high) | HREF * (not sensor.href_high)
        return np.full(clocks, word, dtype=np.uint16)

    def stop(self, words: np.ndarray, at: int, cycles: float) -> np.ndarray:
        """PCLK stands still there, and the pins with it."""
        still = np.full(self.clocks(cycles), words[at] & ~np.uint16(CLOCK))
        return np.concatenate([words[:at], still, words[at:]])


Bad = tuple[int, np.ndarray]
"""Where the fault begins, and the bad frame's words."""


def short_line(draw: Draw) -> Bad:
    line = draw.random.randrange(draw.sensor.height)
    missing = draw.random.choice((1, draw.random.randint(1, draw.line_bytes - draw.unit)))
    words = draw.pins(draw.exposure().short_line(line, missing))
    clocks = (draw.line_bytes - missing) * 8 // draw.sensor.data_bits
    return draw.line_start(line) + clocks, words


def long_line(draw: Draw) -> Bad:
    line = draw.random.randrange(draw.sensor.height)
    extra = draw.random.choice((draw.unit, draw.random.randint(1, draw.line_bytes)))
    words = draw.pins(draw.exposure().long_line(line, extra))
    return draw.line_start(line) + draw.sensor.active_clocks, words


def lines_missing_at_the_end(draw: Draw) -> Bad:
    count = draw.random.randint(1, draw.sensor.height - 1)
    words = draw.pins(draw.exposure().without_lines(count))
    return draw.line_start(draw.sensor.height - count), words


def lines_missing_inside(draw: Draw) -> Bad:
    """HREF does not rise for some lines; so few that it is no loss of the pixels."""
    height = draw.sensor.height
    first = draw.random.randrange(height)
    most = SHORT * draw.way.timeout / draw.cycles(draw.sensor.line_clocks)
    count = draw.random.randint(1, max(1, min(height - first, int(most))))
    begin, end = draw.line_start(first), draw.line_start(first + count)
    return begin, draw.put(draw.pins(), HREF, begin, end, False)


def lines_too_many(draw: Draw) -> Bad:
    count = draw.random.choice((1, draw.random.randint(1, draw.sensor.height)))
    words = draw.pins(draw.exposure().more_lines(count))
    return draw.line_start(draw.sensor.height), words


def frame_without_lines(draw: Draw) -> Bad:
    words = draw.pins()
    return 0, draw.put(words, HREF, 0, len(words), False)


def no_frame(draw: Draw) -> Bad:
    """A pause, short or so long that the open frame's pixels are missed."""
    share = draw.random.choice((draw.random.uniform(0.05, SHORT / 2), 2 * LONG))
    return 0, draw.idle(draw.clocks(share * draw.way.timeout))


def vsync_missing(draw: Draw) -> Bad:
    return 0, draw.pins(draw.exposure().without_vsync())


def vsync_late(draw: Draw) -> Bad:
    line = draw.random.randrange(1, draw.sensor.height)
    return draw.line_start(0), draw.pins(draw.exposure().late_vsync(line))


def starts_afresh(draw: Draw) -> Bad:
    words = draw.pins()
    at = draw.random.randrange(1, len(words))
    return at, words[:at]


def clock_pauses(draw: Draw) -> Bad:
    words = draw.pins()
    at = draw.random.randrange(1, len(words))
    return at, draw.stop(words, at, draw.random.uniform(0.01, SHORT) * draw.way.timeout)


def clock_stops(draw: Draw) -> Bad:
    words = draw.pins()
    at = draw.random.randrange(1, len(words))
    return at, draw.stop(words, at, draw.random.uniform(LONG, 1.2 * LONG) * draw.way.timeout)


def clock_stops_starts_afresh(draw: Draw) -> Bad:
    at, words = clock_stops(draw)
    still = np.flatnonzero((words & CLOCK) == 0)
    return at, words[: still[-1] + 1]


def edges_missing(draw: Draw) -> Bad:
    """PCLK stands still, the sensor goes on."""
    words = draw.pins()
    at = draw.random.randrange(1, len(words))
    most = draw.clocks(SHORT * draw.way.timeout)
    count = draw.random.choice((1, draw.random.randint(1, 40), draw.random.randint(1, most)))
    words[at : at + count] &= ~np.uint16(CLOCK)
    return at, words


def clock_is_off(draw: Draw) -> Bad:
    """PCLK stands still for long, the sensor goes on: with its frame, or with none."""
    words = draw.pins()
    at = draw.random.randrange(1, len(words))
    count = draw.clocks(LONG * draw.way.timeout)
    words = np.concatenate([words, draw.idle(max(0, at + count - len(words)) + FRONT)])
    words[at : at + count] &= ~np.uint16(CLOCK)
    return at, words


def href_drops(draw: Draw) -> Bad:
    line = draw.random.randrange(draw.sensor.height)
    begin = draw.line_start(line) + draw.random.randrange(draw.sensor.active_clocks)
    end = begin + draw.random.choice((1, 1, 2, draw.random.randint(1, 12)))
    return begin, draw.put(draw.pins(), HREF, begin, end, False)


def href_rises(draw: Draw) -> Bad:
    """Not beside a line, which would be longer."""
    words = draw.pins()
    length = draw.random.choice((1, 2, draw.random.randint(1, 12)))
    lines = draw.high(words, HREF)
    taken = np.convolve(lines, np.ones(2 * length + 5), "same") > 0
    free = np.flatnonzero(~taken[: len(words) - length - 2])
    if not len(free):  # no blanking is so long
        return href_drops(draw)
    begin = int(draw.random.choice(free.tolist()))
    return begin, draw.put(words, HREF, begin, begin + length, True)


def vsync_pulse(draw: Draw) -> Bad:
    words = draw.pins()
    begin = draw.random.randrange(draw.sensor.vsync_clocks, len(words) - 4)
    end = begin + draw.random.choice((1, 1, 2, 4))
    return begin, draw.put(words, VSYNC, begin, end, True)


def vsync_drops(draw: Draw) -> Bad:
    """VSYNC comes twice."""
    gap, again = draw.random.randint(1, 30), draw.random.randint(1, 30)
    pulse = draw.idle(draw.sensor.vsync_clocks + gap)
    pulse = draw.put(pulse, VSYNC, 0, draw.sensor.vsync_clocks, True)
    more = draw.put(draw.idle(again), VSYNC, 0, again, True)
    words = draw.pins()[draw.sensor.vsync_clocks :]
    return len(pulse) - gap, np.concatenate([pulse, more, words])


def href_stays_low(draw: Draw) -> Bad:
    """From some line on no more pixels come, for so long that they are missed."""
    line = draw.random.randrange(draw.sensor.height)
    begin = draw.line_start(line)
    words = draw.pins()[:begin]
    return begin, np.concatenate([words, draw.idle(draw.clocks(2 * LONG * draw.way.timeout))])


def href_stays_high(draw: Draw) -> Bad:
    line = draw.random.randrange(draw.sensor.height)
    words = draw.pins()
    begin = draw.line_start(line) + draw.sensor.active_clocks
    return begin, draw.put(words, HREF, begin, len(words), True)


def two(draw: Draw) -> Bad:
    """Two bad frames, one after the other."""
    kinds = [kind for kind in KINDS if kind != "two bad frames"]
    at, first = KINDS[draw.random.choice(kinds)].make(draw)
    _, second = KINDS[draw.random.choice(kinds)].make(draw)
    return at, np.concatenate([first, second])


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault: how it is made, and counters that it may raise, by docs/cameras.md: each
    alternative is a set of names, `n name` where it rises by more than one. () for what no frame
    suffers from."""

    make: Callable[[Draw], Bad]
    counted: tuple[tuple[str, ...], ...]


SL, LL, SF, LF, LC = "short_line", "long_line", "short_frame", "long_frame", "lost_clock"
KINDS = {
    "short line": FaultKind(short_line, ((SL,),)),
    "long line": FaultKind(long_line, ((LL,), ())),  # (): by no whole pixel
    "lines missing at the end": FaultKind(lines_missing_at_the_end, ((SF,),)),
    "lines missing inside": FaultKind(lines_missing_inside, ((SF,),)),
    "lines too many": FaultKind(lines_too_many, ((LF,),)),
    "frame without lines": FaultKind(frame_without_lines, ((SF,),)),
    "no frame": FaultKind(no_frame, ((), (LC,))),
    "VSYNC missing": FaultKind(vsync_missing, ((LF,),)),
    "VSYNC late": FaultKind(vsync_late, ((LF, SF), (LF, SL), (LF,))),
    "sensor starts afresh": FaultKind(starts_afresh, ((SL,), (SF,), ())),
    "clock pauses": FaultKind(clock_pauses, ((),)),
    "clock stops": FaultKind(clock_stops, ((LC,),)),
    "clock stops, sensor starts afresh": FaultKind(
        clock_stops_starts_afresh, ((LC,), (LC, SL), (LC, SF))
    ),
    "clock edges missing": FaultKind(edges_missing, ((), (SL,), (SF,), (LF,), (LL,))),
    # LL: off from a line's last clocks into the next line, whose pixels then join the first one's
    "clock off while the sensor goes on": FaultKind(
        clock_is_off, ((LC,), (LC, SL), (LC, LL), (LC, SF), (LC, LF))
    ),
    "HREF drops": FaultKind(href_drops, ((SL,),)),
    "HREF rises": FaultKind(href_rises, ((), (SL,), (LF,))),
    # SL: right behind VSYNC itself, which so ends in the first line of a sensor without back porch
    "VSYNC rises": FaultKind(vsync_pulse, ((SF,), ("2 " + SF,), ("2 " + SL,), (SF, SL), (SL,), ())),
    "VSYNC drops": FaultKind(vsync_drops, ((SF,),)),
    "HREF stays low": FaultKind(href_stays_low, ((SF,), (LC, SF), (LC, SL))),
    "HREF stays high": FaultKind(href_stays_high, ((LL,), ())),  # as with a long line
    "two bad frames": FaultKind(two, ()),
}


def way_of(number: int, parts: str | None = None) -> Way:
    """The way of a case: each in turn."""
    return ways(parts)[number % len(ways(parts))]


def case(number: int, drawn: int = 0, *, parts: str | None = None) -> Case:
    """The case of a number; `drawn`: its next draw, after so many that could not be decided."""
    draw = Draw(way_of(number, parts), number, drawn)
    # every kind in turn, whatever number a storm begins with
    kind = list(KINDS)[number // len(ways(parts)) % len(KINDS)]
    at, bad = KINDS[kind].make(draw)
    exposure = draw.exposure()
    return Case(
        number=number,
        kind=kind,
        ps=draw.ps,
        phase=draw.random.randrange(1, SYNC_PS),
        words=np.concatenate([bad, draw.pins(exposure)]),
        at=min(at, len(bad) - 1),
        good=len(bad),
        lines=np.stack(exposure.lines),
        sensor=draw.sensor,
        drawn=drawn,
        parts=parts,
    )
