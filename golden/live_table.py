"""A line on the terminal for each row group as it is compared, and one for each decision."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.text import Text

from golden.config import ModelConfig
from golden.expected import STATUS, Frame, Judge, JudgedRow
from golden.visualise import class_probability, words
from golden.weights import Weights


class LiveTable:
    """Prints one line for each row group as it is compared, and one for each decision.

    Parameters
    ----------
    console : Console
    config : ModelConfig
        Names of the classes; the probability shown is that of its stop class.
    weights : Weights
        Scale of the logits.
    first : int
        Frame that is called 0; those before it are only timed.
    """

    def __init__(self, console: Console, config: ModelConfig, weights: Weights, first: int) -> None:
        self.console, self.config = console, config
        self.scale, self.first = weights.scales["logit"], first
        self.before: dict[int, int] = {}
        watched = words(config.stop_class)[:20]
        head = f"{'frame':>5} {'group':>6} {'cycles':>9} {'compared':>9}  {'equal':5}  {watched:>7}"
        console.print(Text(head, style="bold"))

    def show(self, found: JudgedRow | Frame, judge: Judge) -> None:
        """What `Judge.take` returned."""
        if isinstance(found, JudgedRow):
            self._row(found, judge)
        elif found.decision is not None and found.expected is not None:
            decision = found.decision
            word = words(self.config.classes[decision["label"]])
            status = STATUS[decision["status"]]
            self.console.print(
                f"{self._name(found.index):>5} decision: {word}, status {status}, "
                f"{len(found.rows)} row groups"
            )

    def _row(self, row: JudgedRow, judge: Judge) -> None:
        if judge.frames[row.frame].expected is None:
            return
        before = self.before.get(row.frame, judge.frames[row.frame].cycle)
        self.before[row.frame] = row.cycle
        logits = np.array(row.logits) * self.scale
        sure = float(class_probability(logits, self.config.stop_index))
        line = Text(f"{self._name(row.frame):>5} {row.row_group:>6} {row.cycle - before:>9,} ")
        line.append(f"{row.compared:>9,}  ")
        if row.difference is None:
            line.append("yes    ", style="green")
        else:
            line.append("NO     ", style="bold red")
        line.append(f"{100 * sure:>6.1f}% ")
        line.append("█" * round(20 * sure), style="red" if sure > 0.5 else "blue")
        self.console.print(line)

    def _name(self, frame: int) -> str:
        return str(frame - self.first) if frame >= self.first else "timed"
