"""Verilog models of FPGAs' cells, by family: Yosys' own where it has one."""

from pathlib import Path

from boards.tools import YOSYS_SHARE

OURS = Path(__file__).with_name("cells")
MODELS = {
    "ice40": (YOSYS_SHARE / "ice40" / "cells_sim.v",),
    # Yosys has no models of these; of modules with one name, the first is taken
    "ecp5": (OURS / "dp16kd.v", OURS / "mult18x18d.v", YOSYS_SHARE / "ecp5" / "cells_sim.v"),
    "gowin": (OURS / "gowin_bsram.v", OURS / "mult9x9.v", YOSYS_SHARE / "gowin" / "cells_sim.v"),
}
INCLUDES = tuple(f"-I{YOSYS_SHARE / family}" for family in ("ecp5", "lattice"))
"""Options of Verilator, for what the models include."""


def of_array(cells: str) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Models and options for an array's multiplier cells, of `hw.plan.engine_config.CELLS`."""
    return ((), ()) if cells == "generic" else (MODELS[cells], INCLUDES)
