"""What the engine wrote against what the golden model computed: the first difference, in words.

`MapLog` turns the bench's log of memory writes into the maps of each row group; `Judge` takes the
bench's records as they come and compares maps, state, logits and decision of each row group.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.config import ModelConfig

MISSING = np.iinfo(np.int16).min
"""Stands for a value that was never written."""

UNSIGNED = ("gru.update",)
"""Stages whose bytes are unit values, 0..255; all others are signed."""

STATUS = ("OK", "OVERRUN", "TRUNCATED", "LINE", "RESTART")

Locate = Callable[[int, int, int], tuple[str, int, int, int] | None]
"""(operation, bank, address) -> (stage, channel, first column, valid columns), None for no map."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that is not what it should be. `simulated` is None when it was never written."""

    frame: int
    row_group: int
    stage: str
    channel: int
    column: int
    expected: int
    simulated: int | None

    def __str__(self) -> str:
        came = (
            "nothing was written" if self.simulated is None else f"the engine has {self.simulated}"
        )
        return (
            f"frame {self.frame}, row group {self.row_group}, stage {self.stage}, "
            f"channel {self.channel}, column {self.column}: "
            f"the golden model has {self.expected}, {came}"
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def first_difference(
    stage: str, expected: np.ndarray, simulated: np.ndarray, *, frame: int, row_group: int
) -> Difference | None:
    """The first differing value of a (channels, columns) map, channel by channel."""
    wrong = np.argwhere(np.asarray(expected) != np.asarray(simulated))
    if not len(wrong):
        return None
    channel, column = (int(index) for index in wrong[0])
    value = int(simulated[channel, column])
    return Difference(
        frame=frame,
        row_group=row_group,
        stage=stage,
        channel=channel,
        column=column,
        expected=int(expected[channel, column]),
        simulated=None if value == MISSING else value,
    )


@dataclass
class Maps:
    """What one pass over the row program wrote: stage name to map, in the order of first writes."""

    stages: dict[str, np.ndarray] = field(default_factory=dict)
    complete: bool = False  # the last operation has written; an aborted pass never gets there


class MapLog:
    """Reads the log of sim/tb.sv while it grows.

    The log has no row groups. A pass over the row program begins where the operation number falls,
    or with operation 0 after a frame's first walk step; the pass that belongs to a row event is the
    last complete one before it (the next one may have begun, or been aborted).

    Parameters
    ----------
    path : Path
    locate : (operation, bank, address) -> (stage, channel, first column, valid columns) or None
    stages : stage name -> (channels, columns)
    pixels : int
        P, bytes of a memory word.
    operations : int
        Of the row program.
    banded : bool
        Scores are logged before the band is put on them.
    """

    def __init__(
        self,
        path: Path,
        locate: Locate,
        stages: Mapping[str, tuple[int, int]],
        pixels: int,
        operations: int,
        banded: bool = False,
    ) -> None:
        self.path, self.locate, self.pixels = path, locate, pixels
        self.sizes, self.last_operation = dict(stages), operations - 1
        self.banded = banded
        self.places: dict[tuple[int, int, int], tuple[str, int, int, int] | None] = {}
        self.passes: list[Maps] = [Maps()]
        self.steps: list[list[int]] = []  # per frame start: MAC steps per operation before it
        self.groups: list[list[int]] = [[]]  # per frame start: first steps of row groups before it
        self.unknown = 0  # written words that belong to no map
        self.operation = -1
        self.fresh = False
        self.lines = self._lines()

    def take(self) -> Maps:
        """The maps of the row group whose event comes next in the log."""
        self._read(until_row=True)
        done = [number for number, found in enumerate(self.passes) if found.complete]
        if not done:
            return Maps()
        maps = self.passes[done[-1]]
        self.passes = self.passes[done[-1] + 1 :] or [Maps()]
        return maps

    def finish(self) -> None:
        """Reads the rest of the log (step counts of the last frame)."""
        self._read(until_row=False)

    def _lines(self) -> Iterator[str]:
        with self.path.open() as file:
            part = ""
            while True:
                part += file.readline()
                if part.endswith("\n"):
                    yield part
                    part = ""
                else:
                    yield ""

    def _read(self, until_row: bool) -> None:
        for line in self.lines:
            if not line:
                return
            kind, *words = line.split()
            if kind == "w":
                self._write(*(int(word, 16) for word in words[1:]))
            elif kind in ("k", "a"):
                self._attention(kind, *(int(word, 16) for word in words[1:]))
            elif kind == "s":
                operation, steps = map(int, words)
                if operation == 0:
                    self.steps.append([])
                self.steps[-1].append(steps)
            elif kind == "f":
                self.fresh = True
                self.groups.append([])
            elif kind == "g":
                self.groups[-1].append(int(words[0]))
            elif kind == "r" and until_row:
                return

    def _write(
        self, operation: int, banks: int, address: int, data: int, mask: int | None = None
    ) -> None:
        if operation < self.operation or (self.fresh and operation == 0):
            self.passes.append(Maps())
            self.fresh = False
        self.operation = operation
        maps, width = self.passes[-1], self.pixels
        maps.complete |= operation == self.last_operation
        stages = maps.stages
        bank = 0
        while banks:
            if banks & 1:
                key = (operation, bank, address)
                if key not in self.places:
                    self.places[key] = self.locate(*key)
                place = self.places[key]
                if place is None:
                    self.unknown += 1
                else:
                    stage, channel, first, valid = place
                    if stage not in stages:
                        stages[stage] = np.full(self.sizes[stage], MISSING, dtype=np.int16)
                    word = (data >> (bank * width * 8)) & ((1 << width * 8) - 1)
                    kind = np.uint8 if stage in UNSIGNED else np.int8
                    values = np.frombuffer(word.to_bytes(width, "little"), dtype=kind)
                    if mask is None:
                        stages[stage][channel, first : first + valid] = values[:valid]
                    for i in range(valid if mask is not None else 0):
                        if mask >> i & 1:
                            stages[stage][channel, first + i] = values[i]
            banks >>= 1
            bank += 1

    def _attention(self, kind: str, head: int, row: int, data: int) -> None:
        """A row of scores as it is written, or a row of A as the array reads it."""
        stage = f"attention{head}.{'score' if kind == 'k' else 'weights'}"
        _, n = self.sizes[stage]
        values = np.frombuffer(data.to_bytes(self.pixels, "little"), dtype=np.int8)[:n].copy()
        if self.banded and kind == "k":
            values[np.abs(np.arange(n) - row) > 2] = 0
        maps = self.passes[-1].stages
        if stage not in maps:
            maps[stage] = np.full(self.sizes[stage], MISSING, dtype=np.int16)
        maps[stage][row] = values


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the golden model says of one frame.

    computed: row groups that are worked on, in order.
    state: (T, d, n); logits: (T, 2); trace: stage name to (T, channels, columns), or None.
    status: index into STATUS; with any but OK there is no class to compare.
    """

    computed: tuple[int, ...]
    state: np.ndarray
    logits: np.ndarray
    decision: int
    trace: Mapping[str, np.ndarray] | None = None
    status: int = 0

    @classmethod
    def of(cls, result: Any, index: int = 0, status: int = 0) -> "Expected":
        """One frame of a golden `Result`."""
        trace = result.trace
        return cls(
            computed=tuple(np.flatnonzero(result.computed[index].numpy()).tolist()),
            state=result.state[index].numpy(),
            logits=result.logits[index].numpy(),
            decision=int(result.decision[index]),
            trace=trace and {name: maps[index].numpy() for name, maps in trace.items()},
            status=status,
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A compared row group."""

    frame: int
    row_group: int
    cycle: int
    state: np.ndarray
    logits: tuple[int, int]
    compared: int
    difference: Difference | None


@dataclass
class Frame:
    """A frame as the engine saw it. `cycle` is that of its first walk step."""

    index: int
    cycle: int
    expected: Expected | None
    rows: list[Row] = field(default_factory=list)
    decision: dict[str, Any] | None = None


class Judge:
    """Compares records with expectations as they come.

    Parameters
    ----------
    config : ModelConfig
    pixels : int
        P, bytes of a memory word.
    expected : sequence of Expected or None
        One for each frame that the engine begins, in order; None: nothing is compared.
    maps : MapLog or None
        None leaves the maps alone.
    """

    def __init__(
        self,
        config: ModelConfig,
        pixels: int,
        expected: Sequence[Expected | None],
        maps: MapLog | None = None,
    ) -> None:
        self.config, self.pixels, self.expected, self.maps = config, pixels, expected, maps
        self.frames: list[Frame] = []
        self.stray: list[dict[str, Any]] = []  # decisions about frames that never began a walk
        self.first: Difference | None = None
        self.end: dict[str, Any] | None = None

    def take(self, record: Mapping[str, Any]) -> Row | Frame | None:
        """Judges one record of the bench; returns the row, or the frame that was decided."""
        kind = record["kind"]
        if kind == "frame":
            index = len(self.frames)
            expected = self.expected[index] if index < len(self.expected) else None
            self.frames.append(Frame(index=index, cycle=record["cycle"], expected=expected))
        elif kind == "row":
            return self._row(record)
        elif kind == "decision":
            return self._decision(record)
        elif kind == "end":
            self.end = dict(record)
        return None

    def _open(self) -> Frame | None:
        return next((frame for frame in self.frames if frame.decision is None), None)

    def _row(self, record: Mapping[str, Any]) -> Row:
        frame = self._open()
        if frame is None:
            raise ValueError(f"a row event at cycle {record['cycle']} outside any frame")
        group, expected = record["row_group"], frame.expected
        state, logits = self._state(record["state"]), record["logits"]
        difference, compared = None, 0
        maps = self.maps.take() if self.maps is not None else None
        if expected is not None:
            number = len(frame.rows)
            due = expected.computed[number] if number < len(expected.computed) else None
            if group != due:
                value = -1 if due is None else due
                difference = self._differ(frame, group, "row_group", 0, value, group)
            else:
                if maps is not None and expected.trace is not None:
                    difference, compared = self._maps(frame, group, maps, expected.trace)
                parts = (
                    ("state", expected.state[group], state),
                    ("logits", expected.logits[group][None, :], np.array([logits])),
                )
                for stage, golden, found in parts:
                    at = {"frame": frame.index, "row_group": group}
                    difference = difference or first_difference(stage, golden, found, **at)
                    compared += golden.size
        row = Row(
            frame=frame.index,
            row_group=group,
            cycle=record["cycle"],
            state=state,
            logits=(logits[0], logits[1]),
            compared=compared,
            difference=difference,
        )
        self.first = self.first or difference
        frame.rows.append(row)
        return row

    def _maps(
        self, frame: Frame, group: int, found: Maps, trace: Mapping[str, np.ndarray]
    ) -> tuple[Difference | None, int]:
        """Compares all maps of one row group; stages in the order in which they were written."""
        order = [*found.stages, *(name for name in trace if name not in found.stages)]
        first, compared = None, 0
        for stage in order:
            golden = trace[stage][group]
            blank = np.full(golden.shape, MISSING, dtype=np.int16)
            at = {"frame": frame.index, "row_group": group}
            difference = first_difference(stage, golden, found.stages.get(stage, blank), **at)
            first = first or difference
            compared += golden.size
        return first, compared

    def _decision(self, record: Mapping[str, Any]) -> Frame | None:
        frame = self._open()
        if frame is None:
            self.stray.append(dict(record))
            return None
        frame.decision, expected = dict(record), frame.expected
        if expected is None:
            return frame
        group = frame.rows[-1].row_group if frame.rows else 0
        pairs = [("status", 0, expected.status, record["status"])]
        if expected.status == 0:
            last = expected.logits[expected.computed[-1]]
            pairs += [
                ("rows_used", 0, len(expected.computed), record["rows_used"]),
                ("rows", 0, len(expected.computed), len(frame.rows)),
                ("logits", 0, int(last[0]), record["logits"][0]),
                ("logits", 1, int(last[1]), record["logits"][1]),
                ("person", 0, expected.decision, record["person"]),
            ]
        for name, column, golden, found in pairs:
            if golden != found and self.first is None:
                stage = f"decision.{name}"
                self.first = self._differ(frame, group, stage, column, golden, found)
        return frame

    def _differ(
        self, frame: Frame, group: int, stage: str, column: int, expected: int, found: int
    ) -> Difference:
        return Difference(
            frame=frame.index,
            row_group=group,
            stage=stage,
            channel=0,
            column=column,
            expected=expected,
            simulated=found,
        )

    def _state(self, text: str) -> np.ndarray:
        """(d, n) bytes from the words that the bench read, channel by channel."""
        words = [bytes.fromhex(word)[::-1] for word in text.split()]
        values = np.frombuffer(b"".join(words), dtype=np.int8)
        channels = self.config.state_channels
        return values.reshape(channels, -1)[:, : self.config.n].astype(np.int16)
