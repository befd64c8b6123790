"""The kit of an engine: every file that lies beside its Verilog."""

from __future__ import annotations

import json

from golden.weights import Weights
from hw.bus.top import RascaBus
from hw.kit import bus_bench
from hw.kit.bench import known_answer
from hw.kit.bus_waves import bus_waves
from hw.kit.datasheet import core, datasheet, sdc
from hw.kit.waves import Wave, svg, waves
from hw.top import Rasca


def kit(design: Rasca | RascaBus, weights: Weights, name: str, top: str) -> dict[str, str]:
    """Files by their names; all but the core file belong into a folder of the kit's own.

    Parameters
    ----------
    design : Rasca or RascaBus
    weights : Weights
    name : str
        Of the Verilog file, without its suffix.
    top : str
        Its module.
    """
    plan = design.plan
    if isinstance(design, RascaBus):
        answer = bus_bench.known_answer(design, weights, name)
    else:
        answer = known_answer(plan, weights, design.engine.weights_image(), name)
    drawn = {}
    found = waves_of(design)
    for key, wave in found.items():
        drawn[f"wave_{key}.json"] = json.dumps(wave, indent=1) + "\n"
        drawn[f"wave_{key}.svg"] = svg(wave)
    return {
        f"{name}.core": core(name, top, folder(name), [*answer]),
        "datasheet.md": datasheet(design, name, found),
        f"{name}.sdc": sdc(name, design),
        **answer,
        **drawn,
    }


def waves_of(design: Rasca | RascaBus) -> dict[str, Wave]:
    """Waveforms of its ports by their names."""
    channels, spacing = design.plan.model.in_channels, design.plan.rules.pixel_spacing
    if isinstance(design, RascaBus):
        return bus_waves(design.bus_name, channels, spacing, design.engine.room_delay)
    return waves(channels, spacing)


def folder(name: str) -> str:
    """Name of the kit's folder."""
    return f"{name}_kit"
