"""nextpnr's phases, by the lines of its log, and how runs of it are shown side by side."""

import re
import time
from collections.abc import Callable, Hashable

from rich.console import Console
from rich.status import Status

TOLD_S = 60
"""Seconds after which a run that is in the same phase is told of again where no terminal shows
them all."""
_PHASES = (
    (re.compile(r"Packing (.+?)\.\."), "packing, {0}"),
    (re.compile(r"Promoting globals"), "packing, global nets"),
    (re.compile(r"Creating initial analytic placement for (\d+) cells"), "placing, {0} cells"),
    (
        re.compile(r"at iteration #(\d+), .*legal = (\d+)"),
        "placing, pass {0}, wire length {1}",
    ),
    (re.compile(r"Running simulated annealing"), "placing, refinement"),
    (
        re.compile(r"at iteration #(\d+): temp.*wirelen = (\d+)"),
        "placing, refinement {0}, wire length {1}",
    ),
    (re.compile(r"Routing globals"), "routing, global nets"),
    (re.compile(r"Routing (\d+) arcs"), "routing, {0} wires"),
    (
        re.compile(r"^\s*\d+ \|\s*\d+\s+\d+ \|\s*\d+\s+\d+ \|\s*(\d+)\|"),
        "routing, {0} wires left",
    ),
    (re.compile(r"iter=(\d+) wires=\d+ overused=(\d+)"), "routing, pass {0}, {1} wires overused"),
    (re.compile(r"Routing complete"), "timing"),
)
"""What a line holds, and what that says; router1 has a table, router2 passes."""


class Phases:
    """A run of nextpnr.

    Attributes
    ----------
    text : str
        What it does: "packing", "placing", "routing" or "timing", and how far it is.
    """

    def __init__(self) -> None:
        self.text = "starts"

    @property
    def phase(self) -> str:
        return self.text.partition(",")[0]

    def read(self, line: str) -> bool:
        """Takes a line of the log; whether it said anything of the phase."""
        line = line.removeprefix("Info:")
        for pattern, text in _PHASES:
            found = pattern.search(line)
            if found:
                numbers = [f"{int(n):,}" if n.isdecimal() else n for n in found.groups()]
                self.text = text.format(*numbers)
                return True
        return False


class Runs:
    """Shows runs of nextpnr on a console: a live line, or a line a phase and a minute.

    Parameters
    ----------
    title : str
    console, status
        Where lines go, and the live line (of `console.status`).
    clock : callable
        Seconds, for the tests.
    """

    def __init__(
        self,
        title: str,
        console: Console,
        status: Status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.console, self.status, self.clock = title, console, status, clock
        self.begun = clock()
        self.runs: dict[Hashable, Phases] = {}
        self.told: dict[Hashable, tuple[str, float]] = {}

    def reader(self, name: Hashable = None) -> Callable[[str], None]:
        """What takes the lines of a run; `name`: what it is called beside others."""
        self.runs[name] = phases = Phases()

        def read(line: str) -> None:
            if phases.read(line):
                self._show(name)

        return read

    def done(self, name: Hashable = None) -> None:
        """A run is through."""
        self.runs.pop(name, None)

    def _show(self, name: Hashable) -> None:
        now = self.clock()
        passed = f"{self.title}, {now - self.begun:.0f} s: "
        texts = [self._of(one) for one in list(self.runs)]
        self.status.update(passed + "; ".join(texts))
        phase, when = self.told.get(name, ("", 0.0))
        here = self.runs[name].phase
        if not self.console.is_terminal and (here != phase or now >= when + TOLD_S):
            self.told[name] = here, now
            self.console.print(passed + self._of(name), soft_wrap=True)

    def _of(self, name: Hashable) -> str:
        text = self.runs[name].text
        return text if name is None else f"{name}: {text}"
