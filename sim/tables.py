"""Figures of a run: summary.json of `make sim`, what the multipliers were lost to, byte counts."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from hw.generate import register_bits
from hw.plan.cost import cost
from hw.plan.memory import on_chip_bytes
from sim import counters
from sim.session import Engine, Session

CAUSES = ("waits", "gaps", "channels", "columns")
"""What multiplier cycles are lost to, see `losses`."""


def steps_per_row_group(plan: Any) -> list[int]:
    """MAC steps of each operation in a row group."""
    return [op.walks * op.k for op in plan.operations]


def frame_cycles(session: Session, frame: int) -> tuple[int, int]:
    """(cycles from a frame's first walk to the next frame's, of them idle for want of rows).

    Idle are the cycles without a MAC step beyond the gaps and waits that the program itself has,
    and the turn between frames.
    """
    plan, frames = session.engine.plan, session.frames
    wall = frames[frame + 1].cycle - frames[frame].cycle
    groups = len(frames[frame].rows)
    gaps = groups * (plan.cycles_per_row_group - sum(steps_per_row_group(plan)))
    gaps += plan.frame_turn
    return wall, wall - sum(session.steps(frame)) - gaps


def cycles_per_row_group(session: Session, frame: int) -> list[int]:
    """First step to first step of the next row group, for each row group of a frame."""
    starts = [*session.group_starts(frame), session.frames[frame + 1].cycle]
    return [later - sooner for sooner, later in zip(starts, starts[1:], strict=False)]


def wasted_macs(session: Session, frame: int) -> int:
    """Array MACs of row groups that were begun and aborted."""
    plan = session.engine.plan
    groups = len(session.frames[frame].rows)
    per_group = steps_per_row_group(plan)
    found = 0.0
    for op, steps, each in zip(plan.operations, session.steps(frame), per_group, strict=True):
        found += op.macs * (steps - groups * each) / each
    return round(found)


def losses(engine: Engine) -> dict[str, float]:
    """Share of the multipliers' cycles in a steady row group that makes no array MAC, by cause.

    waits: before an operation, for maps that are still draining. gaps: between walks that are
    shorter than a drain. channels: units without an output channel. columns: pixels of a word
    without a column. The four and the utilisation make 1.
    """
    plan, shape = engine.plan, engine.shape
    whole = plan.cycles_per_row_group * shape.multipliers
    found = dict.fromkeys(CAUSES, 0.0)
    unused = whole - sum(op.macs for op in plan.operations)
    for op in plan.operations:
        found["gaps"] += op.walks * (op.period - op.k) * shape.multipliers
        units = shape.channels if op.head_mode else shape.units
        full = op.walks * op.k * shape.multipliers
        found["channels"] += full * (1 - op.out_channels / (op.out_groups * units))
    stepping = sum(op.walks * op.k for op in plan.operations) * shape.multipliers
    found["waits"] = whole - stepping - found["gaps"]
    found["columns"] = unused - found["waits"] - found["gaps"] - found["channels"]
    return {name: lost / whole for name, lost in found.items()}


def summary(
    session: Session,
    *,
    preset: str,
    image: str,
    frame: int,
    timed: int,
    weights_digest: str,
    config_digest: str,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The contents of summary.json.

    frame: the frame that the figures are of (the last whole one).
    timed: the frame whose cycles are told: `frame`, or one without early termination.
    """
    engine, judge = session.engine, session.judge
    model, shape, plan = engine.model, engine.shape, engine.plan
    last = session.frames[frame]
    wall, idle = frame_cycles(session, timed)
    cycles = wall - idle
    decision = last.decision or {}
    counted = counters.frame(session.row_groups_of(timed), cost(plan))
    return {
        "preset": preset,
        "shape": {
            "pixels": shape.pixels,
            "channels": shape.channels,
            "lanes": shape.lanes,
            "multipliers": shape.multipliers,
        },
        "image": image,
        "weights_digest": weights_digest,
        "weights_trained": not engine.weights.untrained,
        "config_digest": config_digest,
        "rows": model.row_groups,
        "rows_equal": sum(row.difference is None for row in last.rows),
        "values_compared": sum(row.compared for row in last.rows),
        "first_difference": judge.first.as_dict() if judge.first else None,
        "cycles_per_row_group": cycles_per_row_group(session, timed),
        "cycles_frame": cycles,
        "cycles_frame_predicted": plan.cycles_per_frame,
        "cycles_frame_wall": wall,
        "counters_equal": counted["difference"] is None,
        "counters": counted,
        "macs_frame": model.array_macs_frame,
        "mac_utilisation": model.array_macs_frame
        / (shape.multipliers * (cycles - plan.frame_turn)),
        "multipliers_beside_array": plan.multipliers_beside_array,
        "on_chip_bytes": on_chip_bytes(plan.memories),
        "registers_bytes": ceil(register_bits(engine.verilog) / 8),
        "logits": [
            value * engine.weights.scales["logit"]
            for value in decision.get("logits", [0] * model.class_count)
        ],
        "decision": model.classes[decision.get("label", 0)],
        "rows_used": len(last.rows),
        "macs_wasted": wasted_macs(session, frame),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The README's table of measured figures, in Markdown."""
    head = (
        "| network | array | multipliers | cycles a frame | utilisation | lost to: waits | gaps | "
        "channels | columns | on-chip bytes |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    )
    rows = []
    for line in lines:
        shape, lost = line["shape"], line["lost"]
        exact = line["cycles_frame"] == line["cycles_frame_predicted"]
        cells = (
            f"`{line['preset']}`",
            f"{shape['pixels']},{shape['channels']},{shape['lanes']}"
            + (" compact" if line.get("compact") else ""),
            str(shape["multipliers"]),
            f"{line['cycles_frame']:,}" + ("" if exact else " (not as predicted)"),
            f"**{100 * line['mac_utilisation']:.2f} %**",
            *(f"{round(100 * lost[name], 2) + 0.0:.2f} %" for name in CAUSES),
            f"{line['on_chip_bytes']['total']:,}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join((*head, *rows))
