"""Cameras: which pixel comes at which clock cycle, good and bad.

A camera never waits for the engine, so a whole run's pixels are known beforehand: a `Schedule`,
which the bench (sim/tb.sv) plays. Build one from pictures and their timing::

    schedule = play([Shot(Picture.of(image), paced(plan.camera_period, config))] * 2)

A frame's four faults (docs/architecture.md, "Frames") are pictures (`truncated`, `short_line`,
`long_line`, `restarted`) or a timing (`paced` with ``speed`` above 1 overruns).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from pathlib import Path

import numpy as np

from golden.config import ModelConfig
from hw.plan.latency import PARALLEL

VALID, START, LINE_END, FRAME_END = 1, 2, 4, 8
"""Flags of a schedule entry: a pixel, first of a frame, last of a line, the frame is over."""


@dataclass(frozen=True)
class Picture:
    """One frame as the camera sends it: lines of (pixels, 3) bytes.

    end: the camera says after the last line that the frame is over.
    """

    lines: tuple[np.ndarray, ...]
    end: bool = True

    @classmethod
    def of(cls, image: np.ndarray) -> "Picture":
        """A good frame from a (height, width, 3) image of bytes."""
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"an image must be height x width x 3 bytes, not {image.shape} {image.dtype}"
            )
        return cls(lines=tuple(image))

    def truncated(self, lines: int) -> "Picture":
        """Only the first lines, then the end of the frame."""
        return replace(self, lines=self.lines[:lines])

    def restarted(self, lines: int) -> "Picture":
        """Only the first lines, and no end: the next frame's start comes inside this one."""
        return replace(self, lines=self.lines[:lines], end=False)

    def short_line(self, line: int, missing: int = 1) -> "Picture":
        """One line lacks its last pixels."""
        return self._with(line, self.lines[line][:-missing])

    def long_line(self, line: int, extra: int = 1) -> "Picture":
        """One line has pixels too many."""
        return self._with(line, np.concatenate([self.lines[line], self.lines[line][:extra]]))

    def _with(self, line: int, pixels: np.ndarray) -> "Picture":
        return replace(self, lines=(*self.lines[:line], pixels, *self.lines[line + 1 :]))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When pixels come, in clock cycles.

    pixel: cycles from pixel to pixel, at least 1; pixel i of a stretch comes at floor(i * pixel).
    line_blank, frame_blank: pause after each line, and after each frame.
    gap_pixel, gap_line, gap_frame: largest random pause beside that (uniform from 0).
    seed: of the random pauses.
    """

    pixel: Fraction
    line_blank: Fraction = Fraction(0)
    frame_blank: Fraction = Fraction(0)
    gap_pixel: int = 0
    gap_line: int = 0
    gap_frame: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pixel < 1:
            raise ValueError(f"pixel must be at least 1 cycle, not {float(self.pixel):g}")


def paced(
    cycles_per_row_group: int,
    config: ModelConfig,
    speed: float = 1,
    spacing: Fraction = Fraction(1),
) -> Timing:
    """Evenly at the engine's own pace: pixel i of a row group at floor(i * cycles / (k * width)).

    Between frames it pauses as long as the engine does.

    speed: 1.1 is a camera a tenth too fast (an overrun), 0.9 one that lets the engine wait.
    spacing: cycles from pixel to pixel, at least.
    """
    pixels = config.rows_per_group * config.image_width
    pixel = Fraction(cycles_per_row_group, pixels) / Fraction(speed).limit_denominator(10000)
    return Timing(pixel=max(spacing, pixel), frame_blank=Fraction(PARALLEL.frame_turn))


def blanking(
    cycles_per_row_group: int, config: ModelConfig, spacing: Fraction = Fraction(1)
) -> Timing:
    """As sensors do it: 784 pixel clocks a line of 640, 510 lines a frame of 480 (OV7670).

    The line time is a tenth longer than the engine's pace, so that no line is lost though the
    pixels of a line come closer together, but not closer than `spacing` (`Rules.even_spacing`).
    """
    line = Fraction(cycles_per_row_group, config.rows_per_group) * Fraction(11, 10)
    pixel = max(spacing, line * Fraction(640, 784) / config.image_width)
    line_blank = max(Fraction(0), line - pixel * config.image_width)
    frame_blank = (
        (pixel * config.image_width + line_blank) * config.image_height * Fraction(30, 480)
    )
    return Timing(pixel=pixel, line_blank=line_blank, frame_blank=frame_blank)


@dataclass(frozen=True)
class Shot:
    """A picture and the timing with which it is sent."""

    picture: Picture
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """All pixels of a run in order of time.

    cycle: clock cycle of each entry, strictly rising.
    rgb: 0xRRGGBB of each entry.
    flags: VALID, START, LINE_END, FRAME_END, or'ed.
    starts: per shot, the cycle of its first pixel.
    lines: per shot, the cycle of the last pixel of each of its lines.
    """

    cycle: np.ndarray
    rgb: np.ndarray
    flags: np.ndarray
    starts: tuple[int, ...]
    lines: tuple[tuple[int, ...], ...]

    def write(self, path: Path) -> None:
        """Text file that sim/tb.sv plays: one entry a line, cycle (decimal), rgb, flags (hex)."""
        rows = zip(self.cycle.tolist(), self.rgb.tolist(), self.flags.tolist(), strict=True)
        path.write_text("".join(f"{cycle} {rgb:06x} {flags:x}\n" for cycle, rgb, flags in rows))


def play(shots: Sequence[Shot], *, start: int = 16) -> Schedule:
    """Lines up the shots, the first pixel at cycle `start`."""
    cycles: list[np.ndarray] = []
    words: list[np.ndarray] = []
    marks: list[np.ndarray] = []
    starts: list[int] = []
    lines: list[tuple[int, ...]] = []
    now = Fraction(start)
    earliest = start  # first cycle that is still free
    for number, shot in enumerate(shots):
        timing = shot.timing
        random = np.random.default_rng([timing.seed, number])
        ends: list[int] = []
        for index, line in enumerate(shot.picture.lines):
            count = len(line)
            scale = lcm(now.denominator, timing.pixel.denominator)
            first, step = int(now * scale), int(timing.pixel * scale)
            times = np.array([(first + i * step) // scale for i in range(count)], dtype=np.int64)
            if timing.gap_pixel:
                times += np.cumsum(random.integers(0, timing.gap_pixel + 1, count))
            times += max(0, earliest - int(times[0]))
            flags = np.full(count, VALID)
            flags[0] |= START if index == 0 else 0
            flags[-1] |= LINE_END
            cycles.append(times)
            words.append(line.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))
            marks.append(flags)
            last = int(times[-1])
            earliest = last + 1
            if index == 0:
                starts.append(int(times[0]))
            ends.append(last)
            pause = timing.line_blank + int(random.integers(0, timing.gap_line + 1))
            now += count * timing.pixel
            if timing.gap_pixel:
                now = max(now, Fraction(earliest))
            now += pause
        if shot.picture.end:
            cycles.append(np.array([earliest]))
            words.append(np.array([0]))
            marks.append(np.array([FRAME_END]))
            earliest += 1
        now += timing.frame_blank + int(random.integers(0, timing.gap_frame + 1))
        lines.append(tuple(ends))
    return Schedule(
        cycle=np.concatenate(cycles),
        rgb=np.concatenate(words),
        flags=np.concatenate(marks),
        starts=tuple(starts),
        lines=tuple(lines),
    )


def cut(schedule: Schedule, shot: int, cycle: int) -> Schedule:
    """A schedule in which a shot, not the last one, ends in a cycle, whatever was to come of it."""
    keep = (schedule.cycle < cycle) | (schedule.cycle >= schedule.starts[shot + 1])
    at = int((schedule.cycle < cycle).sum())
    lines = [*schedule.lines]
    lines[shot] = tuple(line for line in lines[shot] if line < cycle)
    return replace(
        schedule,
        cycle=np.insert(schedule.cycle[keep], at, cycle),
        rgb=np.insert(schedule.rgb[keep], at, 0),
        flags=np.insert(schedule.flags[keep], at, FRAME_END),
        lines=tuple(lines),
    )
