"""Row groups and the camera, replayed: when each operation runs while rows come in.

Prediction, the shortest camera period, latencies and reports all ask `timeline`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from hw.plan.operations import Operation

if TYPE_CHECKING:
    from hw.plan.plan import Plan


class Step(NamedTuple):
    """An operation of a row group: `start` is the cycle of its first step, `end` the first one
    after its last."""

    group: int
    op: Operation
    start: int
    end: int


def timeline(
    plan: "Plan",
    ready: Callable[[int], int],
    groups: Iterable[int],
    start: int = 0,
    frames: bool = False,
    first: Callable[[int], int] | None = None,
) -> Iterator[Step]:
    """The operations of row groups in order.

    Parameters
    ----------
    plan : Plan
    ready : function of int
        For a row, k to a row group, the first cycle in which a step may read it.
    groups : iterable of int
        The row groups that are worked on.
    start : int
        First cycle in which the engine is free.
    frames : bool
        Row groups go on from frame to frame: the engine takes a new one in between.
    first : function of int
        For the first row of a frame, the cycle of its first pixel on the wires: nothing of the
        frame is begun, nor waited for, before.
    """
    now, k = start, plan.model.rows_per_group
    for group in groups:
        if frames and group and group % plan.model.row_groups == 0:
            now += plan.frame_turn
        if first is not None and group % plan.model.row_groups == 0:
            now = max(now, first(k * group) + plan.frame_take)
        for op in plan.operations:
            begin = now + op.wait + op.idle
            if op.need_rows:
                begin = max(begin, ready(k * group + op.need_rows - 1))
            now = begin + op.walks * op.period - op.idle
            yield Step(group, op, begin, now)


def releases(plan: "Plan", steps: Iterable[Step]) -> Iterator[tuple[int, Step]]:
    """(row, the step in whose end it is let go of) of a timeline that begins with group 0."""
    released = 0
    for step in steps:
        if step.op.release_rows:
            through = plan.model.rows_per_group * step.group + step.op.release_rows
            for row in range(released, through):
                yield row, step
            released = through


@dataclass(frozen=True)
class EvenCamera:
    """A camera whose pixels come evenly, and that pauses between frames as the engine does.

    Attributes
    ----------
    plan : Plan
    period : int
        Cycles of a row group.
    """

    plan: "Plan"
    period: int

    def pixel(self, row: int, column: int) -> int:
        """Cycle in which a pixel is on the wires; rows count on from frame to frame."""
        model = self.plan.model
        k, width = model.rows_per_group, model.image_width
        turns = row // (k * model.row_groups) * self.plan.frame_turn
        return (row * width + column) * self.period // (k * width) + turns

    def first(self, row: int) -> int:
        """Cycle of a row's first pixel."""
        return self.pixel(row, 0)

    def last(self, row: int) -> int:
        """Cycle of a row's last pixel."""
        return self.pixel(row, self.plan.model.image_width - 1)

    def ready(self, row: int) -> int:
        """First cycle in which a step may read a row."""
        return self.last(row) + self.plan.row_delay


def keeps_up(plan: "Plan", period: int, groups: int = 12, early: int = 0) -> bool:
    """Whether each row is let go of before the camera's next word for its place.

    early: cycles by which that word may come before an even camera's.
    """
    camera, k = EvenCamera(plan, period), plan.model.rows_per_group
    # the first write is that of a whole word, or of a pixel
    first = 0 if plan.rules.one_byte else min(plan.engine.pixels, plan.model.image_width) - 1
    steps = timeline(plan, camera.ready, range(groups), frames=True, first=camera.first)
    # a pixel may come a cycle earlier after a row's end in another frame: its phase differs
    return all(
        step.end < camera.pixel(row + k, first) - early for row, step in releases(plan, steps)
    )


def writing_period(plan: "Plan") -> int:
    """Fewest cycles of a row group in which an even camera's pixels can be written."""
    model = plan.model
    return ceil(plan.rules.even_spacing * model.rows_per_group * model.image_width)


def shortest_period(plan: "Plan") -> int:
    """Fewest cycles of a row group at which an even camera never overruns."""
    low = high = max(plan.cycles_per_row_group, writing_period(plan))
    if keeps_up(plan, low):
        return low
    while not keeps_up(plan, high):
        low, high = high, 4 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps_up(plan, middle) else (middle, high)
    return high


def latency_at(plan: "Plan", period: int) -> tuple[int, int]:
    """Cycles from a row group's last pixel on the wires to its last word of the state, and from a
    frame's last pixel to the decision, at an even camera of `period` cycles a row group.

    Of a frame that begins when the engine is idle; the worst row group counts.
    """
    camera, k, last = EvenCamera(plan, period), plan.model.rows_per_group, plan.operations[-1]
    late = [
        step.end - camera.last(k * step.group + k - 1)
        for step in timeline(plan, camera.ready, range(plan.model.row_groups), first=camera.first)
        if step.op is last
    ]
    # the last operation's words, and the answer, as the compiler placed them
    end = last.last_step + 1
    state = int(plan.write_times(last).max()) - end
    return max(late) + state, late[-1] + plan.answer + 1 - end
