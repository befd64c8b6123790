"""Plays cases to the RTL; compares what comes with the specification and the golden model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from golden import camera
from golden.expected import STATUS
from golden.model import IntegerModel
from sim import runner
from sim.camera_models import VSYNC
from sim.storm import spec
from sim.storm.design import COUNTERS, SYNC_PS, Way, ways
from sim.storm.faults import KINDS, SLOWEST, Case, Draw, case

MOMENTS = ("idle", "first group", "middle group", "last group")
"""What the engine is at when a fault begins: no frame, or a frame's row groups, with the wait for
their rows."""
OK, TRUNCATED = STATUS.index("OK"), STATUS.index("TRUNCATED")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Of early termination; None is off."""

    stop: int | None = None
    skip: int | None = None

    @classmethod
    def of(cls, way: Way) -> Thresholds:
        """Such that about one row group in six stops, and one in six skips."""
        model = way.model
        size = (32, model.in_channels, model.image_height, model.image_width)
        generator = torch.Generator().manual_seed(5)
        noise = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        logits = IntegerModel(model, way.weights).run(noise).logits
        margin = (logits[..., 1] - logits[..., 0]).flatten().double()
        low, high = torch.quantile(margin, torch.tensor([0.17, 0.83]).double()).tolist()
        return cls(stop=round(high), skip=round(low))


@dataclass
class Log:
    """What the bench wrote (sim/storm_tb.sv)."""

    marks: list[tuple[int, np.ndarray]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    rows: list[tuple[int, int, list[int], np.ndarray]] = field(default_factory=list)
    decisions: list[tuple[int, int, int, int, list[int]]] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    busy: int = 0
    lost: int = 0

    @classmethod
    def read(cls, text: str, way: Way) -> Log:
        log, model = cls(), way.model
        for line in text.splitlines():
            kind, *words = line.split()
            cycle = int(words[0], 16)
            if kind in "me":
                total = int(words[1], 16)
                counts = [total >> 16 * i & 0xFFFF for i in range(len(COUNTERS))]
                log.marks.append((cycle, np.array(counts)))
                if kind == "e":
                    log.busy, log.lost = int(words[2], 16), int(words[3], 16)
            elif kind == "f":
                log.begun.append(cycle)
            elif kind == "r":
                data = b"".join(bytes.fromhex(word)[::-1] for word in words[4:])
                state = np.frombuffer(data, np.int8).reshape(model.state_channels, -1)
                logits = [_signed(word) for word in words[2:4]]
                log.rows.append((cycle, int(words[1], 16), logits, state[:, : model.n]))
            elif kind == "d":
                status, index, used = (int(word, 16) for word in words[1:4])
                logits = [_signed(word) for word in words[4:]]
                log.decisions.append((cycle, status, index, used, logits))
            else:
                log.missed.append(cycle)
        return log


def _signed(word: str) -> int:
    value = int(word, 16)
    return value - (value >> 31 << 32)


@dataclass
class Verdict:
    """Of a case.

    moment : of MOMENTS
    counted : how much each counter rose
    wanted : how much it should have
    frames, cycles : decisions that were compared, and the engine's cycles
    good : the good frame's state, logits and decision are right
    wrong : the first thing that is not as it should be, None if all is
    cut : the next case's clock stops before the good frame has passed the crossing
    """

    case: Case
    moment: str
    counted: Counter
    wanted: Counter
    frames: int
    cycles: int
    good: bool = False
    wrong: str | None = None
    cut: bool = False


def lead(first: Case) -> Case:
    """The good frame before a case: that of the case before it on the same way."""
    before = case(first.number - len(ways(first.parts)), parts=first.parts)
    return replace(before, kind="lead", words=before.words[before.good :], at=0, good=0)


def rest(way: Way, last: Case) -> Case:
    """The last good frame's end, and time for its decision."""
    draw = Draw(way, last.number)
    words = draw.idle(40 + draw.clocks(bound(way)))
    return replace(last, kind="rest", words=draw.put(words, VSYNC, 0, 3, True), at=0, good=0)


def bound(way: Way) -> int:
    """Cycles after which a frame whose last pixel has come, or that is over, has its decision.

    The engine may be at the row group before, and the classifier behind; a camera that is slow
    takes some PCLKs to the FIFO.
    """
    line = SLOWEST * way.plan.camera_period / way.model.rows_per_group
    return 2 * max(way.plan.answer, way.plan.cycles_per_row_group) + round(line) + 200


def simulate(
    way: Way,
    built: runner.Build,
    cases: Sequence[Case],
    thresholds: Thresholds,
    plusargs: Sequence[str] = (),
) -> Log:
    """Plays the cases, one after the other."""
    with TemporaryDirectory(prefix="rasca-storm-") as temporary:
        pins, log = Path(temporary) / "pins.txt", Path(temporary) / "log.txt"
        with pins.open("w") as file:
            for one in cases:
                file.write(f"0 0 {one.phase}\n")
                edges = np.flatnonzero(np.diff(one.words.astype(np.int64), prepend=-1))
                counts = np.diff(edges, append=len(one.words)).tolist()
                for count, word in zip(counts, one.words[edges].tolist(), strict=True):
                    file.write(f"{count} {word:x} {one.ps}\n")
        given = [f"+pins={pins}", f"+log={log}", *plusargs]
        for name in ("stop", "skip"):
            value = getattr(thresholds, name)
            given += [] if value is None else [f"+{name}={value}"]
        runner.run(built, "sim.camera_bench", plusargs=given)
        return Log.read(log.read_text(), way)


class Judge:
    """Compares a run's log with what must come of its cases."""

    def __init__(self, way: Way, cases: Sequence[Case], thresholds: Thresholds, log: Log):
        self.way, self.cases, self.log = way, cases, log
        self.outcome, self.edges = spec.outcome(way, cases)
        self.thresholds = thresholds
        self.wrong: dict[int, str] = {}  # case -> the first thing
        self.truncated = [0] * len(cases)
        self.right: list[bool] = []  # per frame

    def verdicts(self) -> list[Verdict]:
        """Of each case but those that lead and rest."""
        self._frames()
        self._counters()
        self._end()
        found = []
        for index in range(1, len(self.cases) - 1):
            one, wanted = self.cases[index], self.outcome.counts[index].copy()
            wanted["truncated"] = self.truncated[index]
            cut = self._cut(index)
            found.append(
                Verdict(
                    case=one,
                    moment=self._moment(one, index),
                    counted=self._rise(index),
                    wanted=+wanted,
                    frames=sum(frame.case == index for frame in self.outcome.frames),
                    cycles=self.log.marks[index + 1][0] - self.log.marks[index][0],
                    good=not cut and self._good(index),
                    wrong=self.wrong.get(index),
                    cut=cut,
                )
            )
        return found

    def _say(self, index: int, text: str) -> None:
        # what leads belongs to the first case, what rests to the last one
        self.wrong.setdefault(min(max(index, 1), len(self.cases) - 2), text)

    def _golden(self) -> Any:
        model = self.way.model
        pictures = np.stack([frame.picture for frame in self.outcome.frames])
        batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)[:, : model.in_channels].contiguous()
        return IntegerModel(model, self.way.weights).run(
            batch, stop_threshold=self.thresholds.stop, skip_threshold=self.thresholds.skip
        )

    def _frames(self) -> None:
        golden, log, model = self._golden(), self.log, self.way.model
        frames, before, place = self.outcome.frames, 0, 0
        limit = bound(self.way)
        for number, frame in enumerate(frames):
            if number >= len(log.decisions):
                due = frame.due_ps // SYNC_PS
                self._say(frame.case, f"frame {number}: no decision, due at cycle {due}")
                return
            cycle, status, index, used, logits = log.decisions[number]
            told = f"frame {number}, decision at cycle {cycle}"
            rows = []
            while place < len(log.rows) and log.rows[place][0] < cycle:
                rows.append(log.rows[place])
                place += 1
            computed = np.flatnonzero(golden.computed[number].numpy()).tolist()
            there = [group for group in computed if group < frame.rows // model.rows_per_group]
            whole = frame.rows >= model.row_groups * model.rows_per_group
            may = {OK} if whole else {OK, TRUNCATED} if there == computed else {TRUNCATED}
            self.truncated[frame.case] += status == TRUNCATED
            if status not in may:
                names = " or ".join(STATUS[one] for one in sorted(may))
                self._say(frame.case, f"{told}: {STATUS[status]}, not {names}")
                return
            wanted = (0, 0, [0, 0])
            if status == OK:
                last = golden.logits[number, computed[-1]].tolist()
                wanted = (int(golden.decision[number]), len(computed), last)
            wrong = None
            if (index, used, logits) != wanted:
                wrong = f"class, row groups, logits {(index, used, logits)}, not {wanted}"
            groups = [row[1] for row in rows]
            if groups != there[: len(groups)] or (status == OK and groups != computed):
                wrong = wrong or f"row groups {groups} were answered, not {there}"
            for row_cycle, group, answer, state in rows:
                if group >= model.row_groups:
                    continue
                if answer != golden.logits[number, group].tolist():
                    wrong = wrong or f"row group {group} at cycle {row_cycle}: wrong logits"
                if (state != golden.state[number, group].numpy()).any():
                    wrong = wrong or f"row group {group} at cycle {row_cycle}: wrong state"
            late = cycle - max(before, frame.due_ps // SYNC_PS)
            if late > limit:
                wrong = wrong or f"{late} cycles after it was due, not at most {limit}"
            before = cycle
            self.right.append(wrong is None)
            if wrong:
                self._say(frame.case, f"{told}: {wrong}")
        for cycle, *_ in log.decisions[len(frames) :]:
            self._say(len(self.cases), f"a decision at cycle {cycle} on no frame")

    def _rise(self, index: int) -> Counter:
        before, after = self.log.marks[index][1], self.log.marks[index + 1][1]
        rise = ((after - before) & 0xFFFF).tolist()
        return +Counter(dict(zip(COUNTERS, rise, strict=True)))

    def _counters(self) -> None:
        inner = range(1, len(self.cases) - 1)
        for index in range(len(self.cases)):
            wanted = self.outcome.counts[index].copy()
            wanted["truncated"] = self.truncated[index]
            found = self._rise(index)
            if found != +wanted:
                self._say(index, f"counters rose by {_text(found)}, not {_text(wanted)}")
            allowed = KINDS[self.cases[index].kind].counted if index in inner else ()
            names = _names(self.outcome.counts[index])
            if allowed and names not in [tuple(sorted(one)) for one in allowed]:
                self._say(index, f"the specification counts {names}, not one of {allowed}")

    def _end(self) -> None:
        for cycle in self.log.missed:
            self._say(len(self.cases), f"the state could not be read by cycle {cycle}")
        if self.log.busy or self.log.lost:
            self._say(len(self.cases), "the engine is busy, or the clock lost, at the end")

    def _cut(self, index: int) -> bool:
        """Whether PCLK stops for long while the good frame's last pixel is behind the pins."""
        ps, latency = self.edges.ps, self.way.latency
        after = int(np.searchsorted(ps, self.edges.starts[index + 1]))
        pauses = np.diff(ps[after - 1 : after + latency])
        return bool((pauses > self.way.timeout * SYNC_PS).any())

    def _good(self, index: int) -> bool:
        """Whether the case's good frame is right; it must be the case's last one."""
        one, model = self.cases[index], self.way.model
        numbers = [n for n, frame in enumerate(self.outcome.frames) if frame.case == index]
        if not numbers or numbers[-1] >= len(self.right):
            return False
        frame = self.outcome.frames[numbers[-1]]
        pixels = camera.decode(one.lines, self.way.sensor.pixel_format)
        size = model.image_height, model.image_width, self.way.binning
        if (frame.picture != camera.fit(pixels, *size)).any():
            self._say(index, "the specification has another good frame")
            return False
        return self.right[numbers[-1]]

    def _moment(self, one: Case, index: int) -> str:
        """What the engine is at when the fault begins."""
        cycle = (self.edges.starts[index] + one.at * one.ps) // SYNC_PS
        begun = [at for at in self.log.begun if at <= cycle][-1:]
        told = [at for at, *_ in self.log.decisions if at <= cycle][-1:]
        if not begun or (told and told[0] > begun[0]):
            return MOMENTS[0]
        groups = [group for at, group, *_ in self.log.rows if begun[0] < at <= cycle]
        group = groups[-1] + 1 if groups else 0
        last = self.way.model.row_groups - 1
        return MOMENTS[1 if group == 0 else 3 if group >= last else 2]


def _names(counts: Counter) -> tuple[str, ...]:
    return tuple(sorted(name if n == 1 else f"{n} {name}" for name, n in counts.items() if n))


def _text(counts: Counter) -> str:
    return ", ".join(_names(counts)) or "nothing"


def play(
    way: Way,
    built: runner.Build,
    cases: Sequence[Case],
    thresholds: Thresholds | None = None,
    plusargs: Sequence[str] = (),
) -> list[Verdict]:
    """Verdicts of cases of one way, played one after the other."""
    thresholds = Thresholds() if thresholds is None else thresholds
    run = [lead(cases[0]), *cases, rest(way, cases[-1])]
    log = simulate(way, built, run, thresholds, plusargs)
    return Judge(way, run, thresholds, log).verdicts()


def check(
    way: Way,
    built: runner.Build,
    cases: Sequence[Case],
    thresholds: Thresholds | None = None,
) -> list[Verdict]:
    """Like `play`; after a wrong case the rest is played again, because it says little then.

    A case that cannot be decided (spec.NearTimeoutError) is drawn anew; one that only its neighbour
    makes so is played with another one, and one whose good frame the next case cuts by itself.
    """
    found: list[Verdict] = []
    left = list(cases)
    while left:
        try:
            verdicts = play(way, built, left, thresholds)
        except spec.NearTimeoutError:
            if len(left) > 1:
                parts = left[: len(left) // 2], left[len(left) // 2 :]
                return found + [v for part in parts for v in check(way, built, part, thresholds)]
            left = [case(left[0].number, left[0].drawn + 1, parts=left[0].parts)]
            continue
        wrong = next((i for i, one in enumerate(verdicts) if one.wrong), len(verdicts) - 1)
        for one in verdicts[: wrong + 1]:
            found += check(way, built, [one.case], thresholds) if one.cut else [one]
        left = left[wrong + 1 :]
    return found
