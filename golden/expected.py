"""What a frame must come to, and the judge that compares an engine's answers with it.

`Expected` is what the golden model says of one frame; `Judge` takes the records of a simulation or
of a board as they come and finds the first difference, in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from golden.config import ModelConfig

MISSING = np.iinfo(np.int16).min
"""Stands for a value that was never written."""

STATUS = ("OK", "OVERRUN", "TRUNCATED", "LINE", "RESTART")
"""How a frame ended; only `OK` has a class."""


class Maps(Protocol):
    """Maps that an engine wrote for one row group, in the order of first writes."""

    stages: Mapping[str, np.ndarray]


class MapSource(Protocol):
    """Where maps come from, row group by row group."""

    def take(self) -> Maps:
        """Those of the row group whose event comes next."""
        ...


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


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the golden model says of one frame.

    computed: row groups that are worked on, in order.
    state: (T, d, n); logits: (T, K); trace: stage name to (T, channels, columns), or None.
    decision: the class, 0..K-1.
    status: index into STATUS; with any but OK there is no class to compare.
    """

    computed: tuple[int, ...]
    state: np.ndarray
    logits: np.ndarray
    decision: int
    trace: Mapping[str, np.ndarray] | None = None
    status: int = 0

    @classmethod
    def of(cls, result: Any, index: int = 0, status: int = 0) -> Expected:
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
class JudgedRow:
    """A compared row group."""

    frame: int
    row_group: int
    cycle: int
    state: np.ndarray
    logits: tuple[int, ...]
    compared: int
    difference: Difference | None


@dataclass
class Frame:
    """A frame as the engine saw it. `cycle` is that of its first walk step."""

    index: int
    cycle: int
    expected: Expected | None
    rows: list[JudgedRow] = field(default_factory=list)
    decision: dict[str, Any] | None = None


class Judge:
    """Compares records with expectations as they come.

    A record is a dict with ``kind``: ``frame`` (cycle), ``row`` (cycle, row_group, logits, state:
    words of P bytes in hex, lowest byte last, or "-" for one that came too late and is not
    compared), ``decision`` (status, rows_used, logits, label) or
    ``end``.

    Parameters
    ----------
    config : ModelConfig
    pixels : int
        P, bytes of a memory word.
    expected : sequence of Expected or None
        One for each frame that the engine begins, in order; None: nothing is compared.
    maps : MapSource or None
        None leaves the maps alone.
    """

    def __init__(
        self,
        config: ModelConfig,
        pixels: int,
        expected: Sequence[Expected | None],
        maps: MapSource | None = None,
    ) -> None:
        self.config, self.pixels, self.expected, self.maps = config, pixels, expected, maps
        self.frames: list[Frame] = []
        self.stray: list[dict[str, Any]] = []  # decisions about frames that never began a walk
        self.first: Difference | None = None
        self.end: dict[str, Any] | None = None

    def take(self, record: Mapping[str, Any]) -> JudgedRow | Frame | None:
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

    def _row(self, record: Mapping[str, Any]) -> JudgedRow:
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
                there = np.where(state == MISSING, MISSING, expected.state[group])
                parts = (
                    ("state", there, state),
                    ("logits", expected.logits[group][None, :], np.array([logits])),
                )
                for stage, golden, found in parts:
                    at = {"frame": frame.index, "row_group": group}
                    difference = difference or first_difference(stage, golden, found, **at)
                    compared += int(np.count_nonzero(golden != MISSING))
        row = JudgedRow(
            frame=frame.index,
            row_group=group,
            cycle=record["cycle"],
            state=state,
            logits=tuple(logits),
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
                *(
                    ("logits", label, int(golden), found)
                    for label, (golden, found) in enumerate(
                        zip(last, record["logits"], strict=True)
                    )
                ),
                ("label", 0, expected.decision, record["label"]),
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
        """(d, n) bytes from the words that the bench read, channel by channel; MISSING where one
        came too late."""
        words = text.split()
        values = np.full((len(words), self.pixels), MISSING, dtype=np.int16)
        for place, word in enumerate(words):
            if word != "-":
                values[place] = np.frombuffer(bytes.fromhex(word)[::-1], dtype=np.int8)
        return values.reshape(self.config.state_channels, -1)[:, : self.config.n]


def golden_frames(result: Any) -> list[Expected]:
    """Expectations of all pictures of a golden `Result`."""
    return [Expected.of(result, index) for index in range(result.state.shape[0])]
