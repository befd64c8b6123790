"""What the engine wrote: `MapLog` turns the bench's log into the maps of each row group.

`golden.expected.Judge` compares them with what the golden model computed.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from golden.expected import MISSING

UNSIGNED = ("gru.update",)
"""Stages whose bytes are unit values, 0..255; all others are signed."""

Locate = Callable[[int, int, int], tuple[str, int, int, int] | None]
"""(operation, bank, address) -> (stage, channel, first column, valid columns), None for no map."""


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
        self.stays: list[int | None] = []  # per row event: cycles until its state is written over
        self.event = 0  # cycle of the last one
        self.unknown = 0  # written words that belong to no map
        self.operation = -1
        self.fresh = False
        self.lines = self._lines()

    def close(self) -> None:
        """Closes the log: a generator that is collected may leave its file open."""
        self.lines.close()

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

    def _lines(self) -> Generator[str, None, None]:
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
                cycle, *write = (int(word, 16) for word in words)
                self._write(*write)
                if self.stays[-1:] == [None] and self.operation == self.last_operation:
                    self.stays[-1] = cycle - self.event
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
            elif kind == "r":
                self.event = int(words[0])
                self.stays.append(None)
                if until_row:
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
