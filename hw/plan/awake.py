"""Cycles in which the clocks of hw.sleep run, at a camera whose pixels come evenly.

The engine's follow from the row program and the camera's rows, as the prediction of cycles does;
the camera's from its pixels, wherever nothing else keeps it awake.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hw.plan.latency import ParallelLatency
from hw.plan.replay import timeline

if TYPE_CHECKING:
    from hw.plan.plan import Plan

CLOCKS = ("host", "engine", "classifier", "camera", "units")
"""Domains: loader and host read; walks, window, array, way back, weights, softmax; classifier; line
buffer and frames; the parallel parts' channel units, inside the engine's."""

SETTLE_HOST = 8
"""A byte, or the answer to a read -> the host's side stands still: three cycles, a pulse."""
SETTLE_ANSWER = 8
"""The classifier is no longer busy -> it stands still: the answer, a pulse."""
SETTLE_ROW = 8
"""A row is seen by the walks -> the camera's side stands still: decision and fault queue."""


def settles(plan: "Plan") -> dict[str, int]:
    """Cycles that each clock runs after its last event (the camera's: a word, a frame's begin or
    end); "units" only where that is one."""
    found = {
        "host": SETTLE_HOST,
        "engine": plan.settled,
        "classifier": SETTLE_ANSWER,
        "camera": plan.row_delay + SETTLE_ROW,
    }
    t = plan.latency
    if isinstance(t, ParallelLatency):
        # from the transfer to the last sum's byte
        sums = max(plan.rules.positions(op) for op in plan.operations)
        found["units"] = t.drain + sums + t.unit
    return found


def settle_pixel(plan: "Plan") -> int:
    """Cycles that the camera's clock runs after a pixel that ends no word: until its last colour is
    in its place."""
    return plan.model.in_channels + 1


def running(plan: "Plan", cycles: float) -> dict[str, float]:
    """Cycles of a frame in which each clock runs, within 3 % (tests/test_sleep.py).

    Parameters
    ----------
    plan : Plan
    cycles : float
        From frame to frame, of a sensor whose pixels come evenly over all of them, rows below the
        last row group included. The host neither loads nor reads.
    """
    settle = settles(plan)
    pixel = cycles / (plan.model.image_height * plan.model.image_width)
    spans = list(_walking(plan, pixel, settle["engine"]))
    answering = list(_answering(plan, pixel, settle["classifier"]))
    engine, classifier, both = (_length(some) for some in (spans, answering, [*spans, *answering]))
    left = max(0.0, cycles - both)
    camera = both + left * _receiving(plan, pixel, settle["camera"])
    found = {"host": 0.0, "engine": engine, "classifier": classifier, "camera": camera}
    if "units" in settle:
        found["units"] = _draining(plan, pixel, 1 + settle["units"])
    return {name: min(value, cycles) for name, value in found.items()}


def _receiving(plan: "Plan", pixel: float, settle: int) -> float:
    """Share of the cycles in which the camera's clock runs for its pixels."""
    model = plan.model
    width, word = model.image_width, plan.engine.pixels
    pixels = [(at * pixel, at * pixel + 1 + settle_pixel(plan)) for at in range(width)]
    ends = {*range(word - 1, width, word), width - 1}
    # a word is complete in the cycle after; rows below the last row group have none
    words = [(at * pixel, at * pixel + 2 + settle) for at in ends]
    used = model.row_groups * model.rows_per_group / model.image_height
    return sum(
        share * min(1.0, _length(spans) / (width * pixel))
        for share, spans in ((used, [*pixels, *words]), (1 - used, pixels))
    )


def _steps(plan: "Plan", pixel: float):
    """The operations of a frame that finds the engine idle."""
    width = plan.model.image_width

    def ready(row: int) -> int:
        return int((row * width + width - 1) * pixel) + plan.row_delay

    return timeline(plan, ready, range(plan.model.row_groups), first=lambda row: 0)


def _walking(plan: "Plan", pixel: float, settle: int) -> Iterator[tuple[float, float]]:
    """(from, to) of the cycles in which the engine's clock runs."""
    begun = end = plan.frame_take
    for step in _steps(plan, pixel):
        stands = end + step.op.wait + step.op.idle  # unless its rows are there
        if step.start > stands + settle:
            yield begun, stands + settle
            begun = step.start - 1
        end = step.end
    yield begun, end + settle


def _answering(plan: "Plan", pixel: float, settle: int) -> Iterator[tuple[float, float]]:
    """(from, to) of those of the classifier's."""
    last, channels = plan.operations[-1], plan.model.state_channels
    # a walk's channels are pooled one after the other; the serial parts' as their sums come
    together = 1 if plan.rules.one_byte else min(channels, plan.engine.units)
    apart = last.walks * last.period * together // channels
    for step in _steps(plan, pixel):
        if step.op is not last:
            continue
        done = step.end + plan.answer - plan.classifier_cycles - last.last_step
        for burst in range(-(-channels // together)):
            at = done - burst * apart
            yield at - together, at + settle
        yield done, done + plan.classifier_cycles + settle


def _draining(plan: "Plan", pixel: float, after: int) -> float:
    """Cycles of a frame in which sums leave: `after` from each transfer, or until the next one."""
    total, before = 0.0, None
    for step in _steps(plan, pixel):
        op = step.op
        first = step.start + op.period - op.idle
        total += min(after, first - before) if before is not None else 0
        total += (op.walks - 1) * min(after, op.period)
        before = first + (op.walks - 1) * op.period
    return total + after


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """Cycles in at least one of the spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
