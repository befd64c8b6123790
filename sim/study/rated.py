"""Energy of a mapped engine's frame at a sensor's rate, where its clocks are gated.

By block, beside the report's model (sim.study.energy); and how many of the clock's edges reach the
flip-flops. docs/asic.md has the keys.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from hw.plan import Plan
from hw.plan.cost import cost
from sim.study import activity, liberty
from sim.study import energy as energies
from sim.study.energy import Technology

TREE = 0.4
"""Energy of a clock tree's buffers and wires, times that of the clock pins: assumed, as in
technology.toml's `register`."""
CLOCK_OF = {
    "loader": "host",
    "host_read": "host",
    "classifier": "classifier",
    "lines": "camera",
    "frames": "camera",
    "sleep": "always",
    "unit": "units",
}
"""Clock (hw.plan.awake.CLOCKS) of the blocks that do not have the engine's."""
COMPARED = {
    "mac": ("lane",),
    "channel units": ("unit",),
    "classifier": ("classifier",),
}
"""Parts of the report's model, and the blocks whose logic they are."""

SEQUENCERS = ("sequencer", "steps", "addresses", "control")
"""Blocks of the sequencers: compared with their clock pins and tree, which are nearly all they
take. Words of operands and store are sequenced inside these blocks and stay with them."""


def row_group_cycles(plan: Plan, clock_mhz: float, rate: float) -> int:
    """Cycles of a row group at a sensor of `rate` frames/s whose pixels come evenly.

    Raises
    ------
    ValueError
        The clock is too slow for it.
    """
    model = plan.model
    groups = model.image_height / model.rows_per_group
    cycles = int(clock_mhz * 1e6 / (rate * groups) + 1e-6)
    if cycles < plan.camera_period:
        need = math.ceil(plan.camera_period * rate * groups / 1e4) / 100
        raise ValueError(
            f"clock must be at least {need:g} MHz for {rate:g} frames/s, not {clock_mhz:g}"
        )
    return cycles


def at_rate(
    flat: activity.Flat,
    counts: activity.Counts,
    library: liberty.Library,
    block_of: Callable[[Sequence[str]], str],
    drawn: Mapping[str, Any],
    plan: Plan,
    technology: Technology,
    rate: float,
) -> dict[str, Any]:
    """uJ of a frame at a sensor's rate, by block and beside the report's model; how many of the
    clock's edges reach the flip-flops.

    block_of: as in sim.study.asic. drawn: its power, of row groups at that rate.
    """
    clock_mhz = drawn["clock_mhz"]
    frame = clock_mhz * 1e6 / rate  # cycles
    uj = frame / counts.cycles / 1e6  # pJ -> uJ a frame
    energy = activity.weigh(flat, library, counts)
    every = activity.by_block(energy, block_of)
    clock = activity.by_block(replace(energy, blocks=energy.clock_blocks), block_of)
    registers = activity.registers(flat, library, counts, block_of)
    none = activity.Registers(cycles=counts.cycles)
    blocks = {
        name: {
            "flip_flops": registers.get(name, none).count,
            "clocked": round(registers.get(name, none).clocked, 4),
            "clock_uj": round(clock[name] * uj, 5),
            "logic_uj": round((every[name] - clock[name]) * uj, 5),
        }
        for name in every
    }
    mw_uj = 1e3 / rate  # mW -> uJ a frame
    found = {
        "logic": (drawn["switching"] + drawn["internal"]) * mw_uj,
        "clock pins": drawn["clock_pins"] * mw_uj,
        "clock tree": TREE * drawn["clock_pins"] * mw_uj,
        "sram": drawn["sram"] * mw_uj,
        "leakage": (drawn["leakage"] + drawn["sram_leakage"]) * mw_uj,
    }
    model = energies.energy(cost(plan), technology, clock_mhz, rate)
    compared = {
        name: [sum(blocks[block]["logic_uj"] for block in parts if block in blocks), model[name]]
        for name, parts in COMPARED.items()
    }
    sram = sum(value for name, value in model.items() if name.startswith("sram"))
    own = [blocks[name] for name in SEQUENCERS if name in blocks]
    compared |= {
        "sequencers": [sum((1 + TREE) * one["clock_uj"] + one["logic_uj"] for one in own),
                       energies.sequencers(cost(plan), technology, clock_mhz, rate)],
        "registers and clock": [found["clock pins"] + found["clock tree"],
                                model["registers and clock"]],
        "sram": [found["sram"], sram],
        "leakage": [found["leakage"], model["leakage"]],
        "total": [sum(found.values()), model["total"]],
    }  # fmt: skip
    return {
        "frames_per_s": rate,
        "gates": sum(bool(library.cells[i.kind].gate) for i in flat.instances
                     if i.kind in library.cells),
        "gates_uj": round(energy.gates * uj, 4),
        "uj": {name: round(value, 4) for name, value in found.items()}
        | {"total": round(sum(found.values()), 4)},
        "blocks": blocks,
        "clocks": _clocks(registers),
        "model_uj": {
            name: {"gates": round(ours, 4), "model": round(theirs, 4)}
            for name, (ours, theirs) in compared.items()
        },
    }  # fmt: skip


def _clocks(registers: Mapping[str, activity.Registers]) -> dict[str, dict[str, Any]]:
    """By clock: flip-flops, the share of the cycles in which it runs, and the share of its
    flip-flops that its edges reach then."""
    found: dict[str, activity.Registers] = {}
    for block, one in registers.items():
        here = found.setdefault(CLOCK_OF.get(block, "engine"), replace(one, count=0, edges=0))
        here.count += one.count
        here.edges += one.edges
        here.most = max(here.most, one.most)
    return {
        name: {
            "flip_flops": one.count,
            "running": round(one.most / one.cycles, 5),
            "clocked": round(one.edges / (one.count * one.most), 4) if one.most else 0.0,
        }
        for name, one in sorted(found.items())
    }


def show(found: Mapping[str, Any], console: Console) -> None:
    """Where a frame's energy goes at the sensor's rate."""
    table = Table("block", "flip-flops", "clocked", "clock uJ", "logic uJ")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, one in found["blocks"].items():
        table.add_row(
            name,
            f"{one['flip_flops']:,}",
            f"{100 * one['clocked']:.1f} %",
            f"{one['clock_uj']:.3f}",
            f"{one['logic_uj']:.3f}",
        )
    console.print(table)
    beside = Table("uJ of a frame", "at the gates", "report's model")
    for name, one in found["model_uj"].items():
        beside.add_row(name, f"{one['gates']:.3f}", f"{one['model']:.3f}")
    console.print(beside)
    for name, one in found["clocks"].items():
        console.print(
            f"clock {name}: {one['flip_flops']:,} flip-flops, runs in {100 * one['running']:.2f} % "
            f"of the cycles; its edges reach {100 * one['clocked']:.1f} % of them then"
        )
    console.print(
        f"{found['uj']['total']:.3f} uJ a frame at {found['frames_per_s']:g} frames/s, "
        f"{found['gates']} clock gates, {found['gates_uj']:.3f} uJ of it"
    )
