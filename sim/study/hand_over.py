"""`make asic EXPORT=folder`: what place and route begins with.

The engine in Verilog without its large memories, constraints, the list of SRAM macros with their
ports and sizes, hints for a floorplan, and configurations to begin from for OpenROAD-flow-scripts
and LibreLane. docs/asic.md says what is in which file.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from boards import tools
from golden import files
from hw.plan import Plan
from hw.plan.cost import cost
from sim.study import liberty
from sim.study.energy import Technology
from sim.study.mapped import TOP, Cut, Netlist, box_ports

RTL, MAPPED, MACROS = "rasca.v", "rasca_mapped.v", "macros.v"
SDC = "rasca.sdc"
PORT_SHARE = 0.2
"""Of a clock period: what is outside an input, and outside an output."""
UNCERTAINTY = 0.05
"""Of a clock period, for the tree that is not there yet."""
UTILISATION = 0.55
"""Of the core's area without macros: cells."""
HALO_UM = 10.0
EDGES = {
    "line buffer": "left",
    "maps": "bottom",
    "state copy": "bottom",
    "weights": "right",
    "constants": "top",
}
"""Where a memory's macros would stand: the picture comes in on the left, weights on the right; what
is not named, at the top."""

WRITE = """read_json export.json
hierarchy -check -top {top}
write_verilog -noattr {rtl}"""


def plain(design: dict[str, Any]) -> None:
    """Names of modules without dots or signs, in place."""
    names = {name: re.sub(r"\W", "_", name) for name in design["modules"]}
    assert len(set(names.values())) == len(names)
    design["modules"] = {names[name]: module for name, module in design["modules"].items()}
    for module in design["modules"].values():
        for cell in module["cells"].values():
            cell["type"] = names.get(cell["type"], cell["type"])


def macros(
    content: Mapping[str, Any], cuts: list[Cut], rows: list[dict[str, Any]], technology: Technology
) -> list[dict[str, Any]]:
    """The black boxes of the netlist, by module: ports, instances, and the macros of a technology.

    rows: the memories, as summary.json has them ("sram").
    """
    where: dict[str, list[str]] = {}
    netlist = Netlist(dict(content))
    kinds = {cut.box: cut for cut in cuts}
    for path, module in netlist.instances():
        for name, cell in netlist.modules[module]["cells"].items():
            if cell["type"] in kinds:
                where.setdefault(cell["type"], []).append("/".join((*path, name)))
    found = []
    for box, cut in sorted(kinds.items()):
        mine = [row for row in rows if (row["words"], row["bits"]) == (cut.words, cut.bits)]
        ports = "1R1W" if any(row["ports"] == "1R1W" for row in mine) else "1RW"
        macro = technology.sram(cut.words, cut.bits, ports)
        found.append(
            {
                "module": box,
                "words": cut.words,
                "bits": cut.bits,
                "memories": [row["memory"] for row in mine],
                "ports": ports,
                "pins": {
                    pin: {"direction": way, "bits": size}
                    for pin, (way, size) in box_ports(cut.words, cut.bits).items()
                },
                "instances": where.get(box, []),
                "macro": f"{macro.words}x{macro.bits}",
                "high": macro.high,
                "wide": macro.wide,
                "area_um2": round(macro.area_um2, 1),
                "side_um": round(math.sqrt(macro.area_um2), 1),
            }
        )
    return found


def macro_verilog(found: list[dict[str, Any]]) -> str:
    """A black box for each: what stands there is the process's own macros, side by side."""
    lines = [
        "// Memories that were cut out of the engine: words are written whole; read_data comes a",
        "// cycle after read_address where read_en is 1, and stays otherwise.",
    ]
    for one in found:
        pins = one["pins"]
        lines += ["(* blackbox *)", f"module {one['module']} ({', '.join(pins)});"]
        for pin, port in pins.items():
            wide = f"[{port['bits'] - 1}:0] " if port["bits"] > 1 else ""
            lines.append(f"  {port['direction']} {wide}{pin};")
        lines.append("endmodule")
    return "\n".join(lines) + "\n"


def constraints(
    ports: Mapping[str, Any], gates: list[tuple[str, str]], clock_mhz: float, time_ns: float
) -> str:
    """SDC: the clock, those behind the gates at its roots, delays at the ports.

    Parameters
    ----------
    ports : of the top module, as Yosys' JSON has them
    gates : list of (instance, pin)
        Of the gates, and where their clock comes out.
    clock_mhz : float
    time_ns : float
        The library's unit of time.
    """
    period = 1e3 / clock_mhz / time_ns
    names = {"input": [], "output": []}
    for name, port in ports.items():
        if name != "clk":
            wide = len(port["bits"]) > 1
            names[port["direction"]].append(f"{{{name}[*]}}" if wide else name)
    lines = [
        f"# {clock_mhz:g} MHz; one clock, that every input comes with and every output leaves with",
        f"set period {period:.4f}",
        "create_clock -name clk -period $period [get_ports clk]",
        f"set_clock_uncertainty [expr {UNCERTAINTY} * $period] [get_clocks clk]",
    ]
    if gates:
        lines.append("# clocks behind the gates: of clk's edges some, all of them in step with it")
    for instance, pin in gates:
        clock = instance.removesuffix("_gate")
        lines.append(
            f"create_generated_clock -name {clock} -source [get_ports clk] -divide_by 1 "
            f"[get_pins -hierarchical *{instance}/{pin}]"
        )
    if gates:
        lines.append("# an input of a cycle opens a gate in that cycle: before the clock's edge")
        lines.append(f"set_clock_gating_check -setup [expr {UNCERTAINTY} * $period] -hold 0")
    for direction, way in (("input", "set_input_delay"), ("output", "set_output_delay")):
        lines.append(
            f"{way} [expr {PORT_SHARE} * $period] -clock clk "
            f"[get_ports {{{' '.join(names[direction])}}}]"
        )
    return "\n".join(lines) + "\n"


def floorplan(
    found: list[dict[str, Any]], areas: Mapping[str, float], plan: Plan, technology: Technology
) -> dict[str, Any]:
    """Hints: the core's size, and the edge at which each macro would stand.

    areas: of the blocks' cells in um2, "" if they were not mapped.
    """
    cells = sum(areas.values()) or cost(plan).register_bits * technology["logic_area"]
    sram = sum(one["area_um2"] * len(one["instances"]) for one in found)
    halo = sum(((one["side_um"] + 2 * HALO_UM) ** 2) * len(one["instances"]) for one in found)
    side = math.sqrt(cells / UTILISATION + halo)
    return {
        "core_um": [round(side, 1), round(side, 1)],
        "utilisation": round((cells + sram) / side**2, 3),
        "cells_um2": round(cells, 1),
        "cells_estimated": not areas,
        "macros_um2": round(sram, 1),
        "halo_um": HALO_UM,
        "blocks_um2": dict(areas),
        "macros": [
            {
                "instance": instance,
                "module": one["module"],
                "side_um": one["side_um"],
                "edge": next((EDGES[name] for name in one["memories"] if name in EDGES), "top"),
            }
            for one in found
            for instance in one["instances"]
        ],
    }


def openroad(plan_of: Mapping[str, Any], found: list[dict[str, Any]]) -> str:
    """config.mk of OpenROAD-flow-scripts."""
    boxes = " ".join(one["module"] for one in found)
    return f"""# make DESIGN_CONFIG=<this file> in OpenROAD-flow-scripts' flow folder.
# Macros' own files go to macros/: NAME.lef, NAME.lib, NAME.gds for each of
# {boxes}
RASCA := $(dir $(lastword $(MAKEFILE_LIST)))
export DESIGN_NAME = {TOP}
export PLATFORM ?= ihp-sg13g2
export VERILOG_FILES = $(RASCA){RTL} $(RASCA){MACROS}
# mapped already: export SYNTH_NETLIST_FILES = $(RASCA){MAPPED}
export SDC_FILE = $(RASCA){SDC}
export SYNTH_HIERARCHICAL = 1
export ADDITIONAL_LEFS = $(wildcard $(RASCA)macros/*.lef)
export ADDITIONAL_LIBS = $(wildcard $(RASCA)macros/*.lib)
export ADDITIONAL_GDS = $(wildcard $(RASCA)macros/*.gds)
export CORE_UTILIZATION = {100 * plan_of["utilisation"]:.0f}
export CORE_ASPECT_RATIO = 1
export PLACE_DENSITY = {UTILISATION + 0.1:.2f}
export MACRO_PLACE_HALO = {HALO_UM:g} {HALO_UM:g}
"""


def librelane(
    plan_of: Mapping[str, Any], found: list[dict[str, Any]], period_ns: float
) -> dict[str, Any]:
    """config.json of LibreLane."""
    return {
        "meta": {"version": 2},
        "DESIGN_NAME": TOP,
        "VERILOG_FILES": [f"dir::{RTL}"],
        "EXTRA_VERILOG_MODELS": [f"dir::{MACROS}"],
        "CLOCK_PORT": "clk",
        "CLOCK_PERIOD": round(period_ns, 4),
        "PNR_SDC_FILE": f"dir::{SDC}",
        "SIGNOFF_SDC_FILE": f"dir::{SDC}",
        "FP_SIZING": "relative",
        "FP_CORE_UTIL": round(100 * plan_of["utilisation"]),
        "PL_TARGET_DENSITY_PCT": round(100 * UTILISATION + 10),
        "FP_MACRO_HORIZONTAL_HALO": HALO_UM,
        "FP_MACRO_VERTICAL_HALO": HALO_UM,
        "MACROS": {
            one["module"]: {
                "gds": [f"dir::macros/{one['module']}.gds"],
                "lef": [f"dir::macros/{one['module']}.lef"],
                "lib": {"*": [f"dir::macros/{one['module']}.lib"]},
                "instances": {
                    instance.replace("/", "."): {"location": None, "orientation": None}
                    for instance in one["instances"]
                },
            }
            for one in found
        },
    }


def write(
    folder: Path,
    *,
    plan: Plan,
    content: dict[str, Any],
    cuts: list[Cut],
    netlist: Netlist | None,
    library: liberty.Library | None,
    rows: list[dict[str, Any]],
    areas: Mapping[str, float],
    technology: Technology,
    clock_mhz: float,
    work: Path,
    console: Console,
) -> None:
    """Writes all files to `folder`.

    Parameters
    ----------
    content : dict
        The engine before it is mapped, as Yosys' JSON, memories and clock gates replaced; modules
        get other names in it.
    cuts : list of Cut
        Those memories.
    netlist : Netlist or None
        Mapped; None: to generic gates, which no flow has a use for.
    rows : list of dict
        The memories, as summary.json has them ("sram").
    areas : Mapping of str to float
        Of the blocks' cells, in um2; empty without a library.
    work : Path
        Where Yosys works.

    Raises
    ------
    RuntimeError
        Yosys failed.
    """
    plain(content)
    (work / "export.json").write_text(json.dumps(content))
    script = WRITE.format(top=TOP, rtl=RTL)
    (work / "export.ys").write_text(script + "\n")
    yosys = tools.tool("yosys")
    tools.run([*yosys, "export.ys"], work, "export.log", console, "export")
    found = macros(content, cuts, rows, technology)
    gates = []
    if library is not None and plan.engine.sleep:
        gate = library.clock_gate
        modules = content["modules"].values()
        gates = sorted(
            (name, gate.gate[2])
            for module in modules
            for name, cell in module["cells"].items()
            if cell["type"] == gate.name
        )
    hints = floorplan(found, areas, plan, technology)
    time_ns = 1.0 if library is None else library.time_ns
    ports = content["modules"][TOP]["ports"]
    config = librelane(hints, found, 1e3 / clock_mhz)
    text = {
        RTL: (work / RTL).read_text(),
        MACROS: macro_verilog(found),
        "macros.json": json.dumps(found, indent=1) + "\n",
        SDC: constraints(ports, gates, clock_mhz, time_ns),
        "floorplan.json": json.dumps(hints, indent=1) + "\n",
        "config.mk": openroad(hints, found),
        "config.json": json.dumps(config, indent=1) + "\n",
    }
    if netlist is not None:
        text[MAPPED] = netlist.verilog()
    files.write_all(folder, text)
