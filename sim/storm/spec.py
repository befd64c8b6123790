"""What the documentation makes of any pins: frames, counters, decisions.

Written from docs/cameras.md and the docstrings of boards.camera and hw.line_buffer, not from the
RTL; it works on whole lines, knows no registers but the two latencies that are documented, and
wants nothing of how the parts tell each other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from golden import camera
from sim.camera_models import CLOCK, HREF, VSYNC
from sim.storm.design import SYNC_PS, Way
from sim.storm.faults import Case

NEAR = 0.2
"""A pause this near to a time-out, as a share of it, is not decided here."""


class NearTimeoutError(ValueError):
    """A pause so near to a time-out that both answers are right."""


@dataclass
class Line:
    """A line's pixels: for each the PCLK edge of its last byte."""

    edges: np.ndarray
    data: np.ndarray
    begin: int


@dataclass
class Frame:
    """A frame from its first pixel on; all times are PCLK edges.

    lines : whole ones, and perhaps a part of one
    close : of what ends it
    cut : where the crossing ended it before that (edge after which nothing of it passes), or None
    ended_ps : when it was over for the engine, in ps
    """

    lines: list[Line] = field(default_factory=list)
    close: int = 0
    cut: int | None = None
    ended_ps: int = 0


@dataclass
class Wanted:
    """What must come of a frame that the engine takes.

    case : index of the case in which it was whole, or over
    picture : uint8 [height, width, 3] as far as it came, zeros below
    rows : whole rows of the network's picture
    due_ps : when all of it was there, or the frame was over
    """

    case: int
    picture: np.ndarray
    rows: int
    due_ps: int


@dataclass
class Outcome:
    """Of a run: the frames that the engine takes, in order, and for each case what is counted."""

    frames: list[Wanted]
    counts: list[Counter]


@dataclass
class Edges:
    """All PCLK edges of a run: time in ps, and pins."""

    ps: np.ndarray
    words: np.ndarray
    starts: list[int]  # ps, of each case's first word

    @classmethod
    def of(cls, cases: Sequence[Case]) -> Edges:
        now, times, words, starts = 0, [], [], []
        for case in cases:
            # a mark: the engine's next rising edge (its first is half a period after 0)
            half = SYNC_PS // 2
            now = ((now - half) // SYNC_PS + 1) * SYNC_PS + half + case.phase
            starts.append(now)
            at = np.flatnonzero(case.words & CLOCK)
            times.append(now + at * case.ps + case.ps // 2)
            words.append(case.words[at])
            now += len(case.words) * case.ps
        return cls(np.concatenate(times), np.concatenate(words), starts)


class Specification:
    """The way's documentation, applied to a run's pins."""

    def __init__(self, way: Way, edges: Edges, cases: int):
        self.way, self.edges = way, edges
        self.counts = [Counter() for _ in range(cases)]
        self.frames: list[Frame] = []

    def outcome(self) -> Outcome:
        self._geometry()
        self._losses()
        frames = [wanted for frame in self.frames if (wanted := self._wanted(frame))]
        return Outcome(frames, self.counts)

    def _case(self, ps: int) -> int:
        """The case that runs at a time."""
        return max(0, bisect_right(self.edges.starts, ps) - 1)

    def _count(self, name: str, ps: int) -> None:
        self.counts[self._case(ps)][name] += 1

    # ---- receiver: "A frame begins with the first pixel after VSYNC"; "bytes count from the
    # beginning of each line; those that make no whole pixel are lost"

    def _receive(self) -> list[tuple[int, Line | None]]:
        """Lines that have pixels, and frame ends (None), at their edges."""
        sensor, words = self.way.sensor, self.edges.words
        vsync = ((words & VSYNC) != 0) == sensor.vsync_high
        active = ((words & HREF) != 0) == sensor.href_high
        active &= ~vsync
        rise = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
        found: list[tuple[int, Line | None]] = [
            (int(edge), None) for edge in np.flatnonzero(vsync & ~np.append(False, vsync[:-1]))
        ]
        bits = sensor.data_bits
        for begin, end in rise.reshape(-1, 2).tolist():
            shown = (words[begin:end] >> 8).astype(np.uint8) & (1 << bits) - 1
            parts = 8 // bits
            shown = shown[: len(shown) // parts * parts].reshape(-1, parts).astype(np.int64)
            order = np.arange(parts) * bits
            data = (shown << (order[::-1] if sensor.msb_first else order)).sum(1).astype(np.uint8)
            unit = camera.UNITS[sensor.pixel_format]
            data = data[: len(data) // unit * unit]
            if not len(data):
                continue
            last = begin + np.arange(1, len(data) // unit + 1) * unit * parts - 1
            if unit == 4:  # two pixels, the second leaves a clock later
                last = np.stack([last, last + 1], 1).reshape(-1)
            found.append((int(last[0]), Line(last, data, begin)))
        return sorted(found, key=lambda one: one[0])

    # ---- framer: "exactly `sensor_height` lines of exactly `sensor_width` pixels"; "the first
    # thing that is wrong with a frame is reported once, ends the frame"

    def _geometry(self) -> None:
        height, width = self.way.sensor.height, self.way.sensor.width
        state, frame = "before the first", Frame()
        late = self.way.front.receiver.converts  # a frame's end leaves as late as a second pixel

        def close(edge: int, name: str | None) -> None:
            frame.close = edge
            if name is not None:
                self._count(name, int(self.edges.ps[edge]))

        for edge, line in self._receive():
            if line is None:
                last = frame.lines[-1] if frame.lines else None
                if state == "open":
                    short = len(last.edges) < width
                    few = len(frame.lines) < height
                    name = "short_line" if short else "short_frame" if few else None
                    close(edge + late, name)
                elif state == "between":
                    self._count("short_frame", int(self.edges.ps[edge]))
                state = "between"
                continue
            if state == "between":
                state, frame = "open", Frame()
                self.frames.append(frame)
            elif state == "open":
                if len(frame.lines[-1].edges) < width:
                    close(edge, "short_line")
                    state = "over"
                elif len(frame.lines) == height:
                    close(edge, "long_frame")
                    state = "over"
            if state != "open":
                continue
            frame.lines.append(line)
            if len(line.edges) > width:
                close(int(line.edges[width]), "long_line")
                state = "over"
                line.edges = line.edges[:width]
        if state == "open":  # the run's end
            frame.close = len(self.edges.ps) - 1

    # ---- crossing: "lost_clock: no PCLK for the time-out, or no pixel of an open frame for twice
    # as long"; the frame is cut, and what follows of it is ignored

    def _losses(self) -> None:
        ps, latency = self.edges.ps, self.way.latency
        timeout = self.way.timeout * SYNC_PS
        pauses = np.diff(ps)
        for edge in np.flatnonzero(pauses > timeout * (1 - NEAR)).tolist():
            if pauses[edge] < timeout * (1 + NEAR):
                raise NearTimeoutError(f"no PCLK for {pauses[edge] / timeout:.2f} of the time-out")
            self._count("lost_clock", int(ps[edge]) + timeout)
            for frame in self.frames:
                opened = self._opened(frame)
                if opened is None or frame.cut is not None:
                    continue
                if opened + latency <= edge < frame.close + latency:
                    frame.cut, frame.ended_ps = edge - latency, int(ps[edge]) + timeout
        for frame in self.frames:
            if self._opened(frame) is None:
                continue
            marks = [edge for _, edges in self._rows(frame) for edge in edges]
            marks.append(frame.close)
            for before, after in zip(marks, marks[1:], strict=False):
                if frame.cut is not None and before > frame.cut:
                    break
                pause = ps[after] - ps[before]
                if pause < 2 * timeout * (1 - NEAR):
                    continue
                if frame.cut is not None and after > frame.cut:
                    pause = frame.ended_ps - ps[before]  # the clock was lost in that pause
                    if pause < 2 * timeout * (1 - NEAR):
                        break
                if pause < 2 * timeout * (1 + NEAR):
                    raise NearTimeoutError(f"no pixel for {pause / timeout:.2f} of the time-out")
                self._count("lost_clock", int(ps[before]) + 2 * timeout)
                frame.cut, frame.ended_ps = before, int(ps[before]) + 2 * timeout
                break

    # ---- the part that is the network's

    def _rows(self, frame: Frame) -> list[tuple[int, tuple[int, int]]]:
        """Of each row of the part that came whole: its number, its first and last pixel's edge.

        A row that came in part is there, too, with the number -1, and the edge of what came last.
        """
        model, sensor, binning = self.way.model, self.way.sensor, self.way.binning
        top = camera.crop(sensor.height, model.image_height, binning)
        left = camera.crop(sensor.width, model.image_width, binning)
        right = left + binning * model.image_width
        found = []
        for row in range(model.image_height):
            number = top + binning * (row + 1) - 1
            if number >= len(frame.lines):
                break
            edges = frame.lines[number].edges
            came = min(right, len(edges)) - left
            came -= came % binning
            if came < binning:
                break
            place = (int(edges[left + binning - 1]), int(edges[left + came - 1]))
            found.append((row if left + came == right else -1, place))
        return found

    def _opened(self, frame: Frame) -> int | None:
        """Edge of the part's first pixel, None if it did not come."""
        rows = self._rows(frame)
        return rows[0][1][0] if rows else None

    def _wanted(self, frame: Frame) -> Wanted | None:
        """What the engine gets of a frame."""
        if self._opened(frame) is None:
            return None
        way, model, ps = self.way, self.way.model, self.edges.ps
        cut = frame.close if frame.cut is None else frame.cut
        rows = [(row, last) for row, (_, last) in self._rows(frame) if row >= 0 and last <= cut]
        picture = np.zeros((model.image_height, model.image_width, 3), np.uint8)
        if rows:
            self._fill(frame, picture, len(rows))
        needed = model.row_groups * model.rows_per_group
        whole = len(rows) >= needed
        if frame.cut is None:
            frame.ended_ps = int(ps[min(frame.close + way.latency, len(ps) - 1)])
        ended = int(ps[rows[needed - 1][1]]) if whole else frame.ended_ps
        return Wanted(self._case(ended), picture, len(rows), ended)

    def _fill(self, frame: Frame, picture: np.ndarray, rows: int) -> None:
        way, sensor = self.way, self.way.sensor
        model, binning = way.model, way.binning
        size = sensor.pixel_clocks * sensor.data_bits // 8 * sensor.width
        data = np.zeros((sensor.height, size), np.uint8)
        for place, line in enumerate(frame.lines[: sensor.height]):
            data[place, : len(line.data)] = line.data[:size]
        pixels = camera.decode(data, sensor.pixel_format)
        fitted = camera.fit(pixels, model.image_height, model.image_width, binning)
        picture[:rows] = fitted[:rows]


def outcome(way: Way, cases: Sequence[Case]) -> tuple[Outcome, Edges]:
    """What must come of the cases, one after the other.

    Raises
    ------
    NearTimeoutError
        A pause is as long as a time-out, so that two outcomes are right.
    """
    edges = Edges.of(cases)
    return Specification(way, edges, len(cases)).outcome(), edges
