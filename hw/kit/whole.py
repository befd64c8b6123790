"""The kit of an engine: every file that lies beside its Verilog."""

from __future__ import annotations

import json

from golden.weights import Weights
from hw.bus.top import RascaBus
from hw.kit import bus_bench
from hw.kit.bench import known_answer
from hw.kit.datasheet import core, datasheet, sdc
from hw.kit.waves import svg, waves
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
    drawn = {}
    if isinstance(design, RascaBus):
        answer = bus_bench.known_answer(design, weights, name)
    else:
        answer = known_answer(plan, weights, design.engine.weights_image(), name)
        for key, wave in waves(plan.model.in_channels, plan.rules.pixel_spacing).items():
            drawn[f"wave_{key}.json"] = json.dumps(wave, indent=1) + "\n"
            drawn[f"wave_{key}.svg"] = svg(wave)
    return {
        f"{name}.core": core(name, top, folder(name), [*answer]),
        "datasheet.md": datasheet(design, name),
        f"{name}.sdc": sdc(name, design),
        **answer,
        **drawn,
    }


def folder(name: str) -> str:
    """Name of the kit's folder."""
    return f"{name}_kit"
