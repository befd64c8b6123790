"""`make asic`: what an engine would take in silicon, with open tools.

rasca asic [--preset P] [--shape P,C,L] [--liberty FILE] [--clock MHZ]

Yosys maps the engine without its large memories to the cells of a Liberty file; SRAM macros are
chosen for those. OpenSTA gives the frequency where it is installed, and a simulation of the mapped
netlist the power. What is missing is said, and the rest is made. docs/asic.md has the keys of
summary.json and what the figures leave out.
"""

import json
import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from amaranth.back import rtlil
from rich.console import Console
from rich.table import Table

from boards import tools
from golden import files
from golden.command_line import load_weights
from golden.config import ModelConfig, preset
from golden.errors import DIFFERENT, CommandError, bad_input
from golden.weights import Weights
from hw import sleep
from hw.plan import Plan
from hw.plan.cost import cost
from hw.plan.engine_config import EngineConfig, Geometry, default_shape
from hw.plan.parts import memory_name
from hw.top import Rasca, flat_ports
from sim.study import activity, hand_over, liberty, rated
from sim.study.energy import Technology, technology
from sim.study.mapped import TOP, Cut, Netlist, cut_memories

DEBIAN = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""Where Debian's package qflow-tech-osu018 puts its library."""
SMALLEST_SRAM = 1024
"""Bits from which on a memory becomes an SRAM; smaller ones are flip-flops."""
WARM_UP = 1
"""Row groups before those whose power is taken: in the first one the state is 0."""

GROUP = 8
"""Fewest flip-flops with one enable that get a clock gate of their own."""

_COARSE = """{gate}read_rtlil design.il
hierarchy -check -top {top}
proc -norom
{keep}
flatten -noscopeinfo
synth -run coarse:fine -top {top}
write_json coarse.json"""
_BLOCK = """read_rtlil design.il
hierarchy -check -top {top}
proc -norom
flatten -noscopeinfo
synth -run coarse:fine -top {top}
write_json coarse.json"""
_RTL = """{gate}read_rtlil design.il
hierarchy -check -top {top}
proc -norom
{keep}
flatten -noscopeinfo
opt_expr
opt_clean
memory -nomap
opt_clean
write_json rtl.json"""
_FINE = """read_json cut.json
hierarchy -top {top}
opt -fast -full
memory_map
opt -undriven -fine
techmap
opt -fast"""
_GATED = """dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01
opt_merge
opt_clean
clockgate -pos {cell} {enable}:{clock}:{out} -min_net_size {group}
opt_clean"""
_MAPPED = """dfflibmap {liberty}
opt
abc {liberty} -constr cells.constr -D {period}
opt_clean -purge
setundef -zero
opt_clean -purge
write_json mapped.json"""
_GENERIC = """opt -full
opt_clean -purge
setundef -zero
opt_clean -purge
write_json mapped.json"""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A mapped engine: its netlist, the memories that were cut out, the yosys that did it."""

    netlist: Netlist
    cuts: list[Cut]
    library: liberty.Library | None


# ---- synthesis ----


_PARTS = "window|array|back|attention"  # of hw.engine: their blocks are told, not they


def _blocks(text: str) -> list[str]:
    """Modules of the design whose borders stay: the engine's blocks."""
    names = re.findall(r"^module \\(\S+)", text, flags=re.M)
    inner = rf"{TOP}\.engine\.({_PARTS})\.[^.]+"
    outer = rf"{TOP}\.engine\.(?!({_PARTS})$)[^.]+"
    return [name for name in names if re.fullmatch(f"{inner}|{outer}", name)]


def _same(design: dict[str, Any]) -> None:
    """Keeps one of modules that are equal but for names: lanes and units are mapped once."""
    kept: dict[str, str] = {}
    renamed = {}
    for name, module in design["modules"].items():
        key = json.dumps(
            [
                module["ports"],
                [
                    [cell["type"], cell["parameters"], cell["connections"]]
                    for cell in module["cells"].values()
                ],
            ],
            sort_keys=True,
        )
        renamed[name] = kept.setdefault(key, name)
    for name in [name for name, other in renamed.items() if name != other]:
        del design["modules"][name]
    for module in design["modules"].values():
        for cell in module["cells"].values():
            cell["type"] = renamed.get(cell["type"], cell["type"])


def _gate_clocks(design: dict[str, Any], gate: liberty.Cell) -> None:
    """Puts the library's cell where the design has a clock gate (hw.sleep), in place."""
    pins = dict(zip(("en", "clk", "gclk"), gate.gate, strict=True))
    ways = {pin: "output" if pin == gate.gate[2] else "input" for pin in gate.gate}
    del design["modules"][sleep.GATE]
    for module in design["modules"].values():
        module["cells"] = {
            name.removesuffix(".cell") if cell["type"] == sleep.GATE else name: cell
            for name, cell in module["cells"].items()
        }
        for cell in module["cells"].values():
            if cell["type"] == sleep.GATE:
                cell["type"], cell["port_directions"] = gate.name, ways
                cell["connections"] = {pins[p]: n for p, n in cell["connections"].items()}
    ports = {pin: {"direction": ways[pin], "bits": [2 + i]} for i, pin in enumerate(gate.gate)}
    design["modules"][gate.name] = {
        "attributes": {"blackbox": 1}, "ports": ports, "cells": {}, "netnames": {},
    }  # fmt: skip


def synthesise(
    design: Rasca,
    folder: Path,
    library: Sequence[Path] | None,
    clock_mhz: float,
    console: Console,
    group: int | None = None,
) -> Mapped:
    """Maps an engine; without a library to generic gates.

    group: so many flip-flops with one enable share a clock gate; None: they have none.

    Raises
    ------
    ValueError
        No Yosys, or a library that cannot be read, or that has no cell that is asked for.
    RuntimeError
        Yosys failed.
    """
    tools.tool("yosys")  # there is one
    cells = None if library is None else liberty.read(*library)
    if cells is not None:
        cells.check_gates()
    sleeps = design.plan.engine.sleep
    gate = cells.clock_gate if cells is not None and (sleeps or group) else None
    if gate is None and (sleeps or group):
        raise ValueError("clock gates need a library that has such a cell (LIBERTY=file)")
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("RTL"):
        text = rtlil.convert(design, name=TOP, ports=flat_ports(design), emit_src=False)
    (folder / "design.il").write_text(text)
    content, cuts = _cut(folder, _COARSE, "coarse", gate if sleeps else None, console)
    netlist = map_cells(folder, content, cells, clock_mhz, console, group)
    (folder / "netlist.v").write_text(netlist.verilog())
    return Mapped(netlist=netlist, cuts=cuts, library=cells)


def map_cells(
    folder: Path,
    content: dict[str, Any],
    cells: liberty.Library | None,
    clock_mhz: float,
    console: Console,
    group: int | None = None,
) -> Netlist:
    """Maps what Yosys' coarse synthesis left, as JSON, to cells; see `synthesise`."""
    (folder / "cut.json").write_text(json.dumps(content))
    script = _FINE
    if cells is None:
        script += "\n" + _GENERIC
    else:
        for name, content in zip(copies(cells), cells.texts, strict=True):
            (folder / name).write_text(content)  # a path that every Yosys can read
        inverter = cells.inverter
        load = 4 * max(pin.capacitance for pin in cells.cells[inverter].pins.values())
        (folder / "cells.constr").write_text(
            f"set_driving_cell {inverter}\nset_load {1000 * load:g} [all_outputs]\n"
        )
        if group:
            gate = cells.clock_gate
            enable, clock, out = gate.gate
            script += "\n" + _GATED.format(
                cell=gate.name, enable=enable, clock=clock, out=out, group=group
            )
        liberties = " ".join(f"-liberty {name}" for name in copies(cells))
        script += "\n" + _MAPPED.format(period=f"{1e6 / clock_mhz:.0f}", liberty=liberties)
    (folder / "map.ys").write_text(script.format(top=TOP) + "\n")
    tools.run([*tools.tool("yosys"), "map.ys"], folder, "map.log", console, "mapping")
    return Netlist(json.loads((folder / "mapped.json").read_text()))


def _cut(
    folder: Path, script: str, name: str, gate: liberty.Cell | None, console: Console
) -> tuple[dict[str, Any], list[Cut]]:
    """The design after a script of Yosys, which writes `name`.json: without its large memories,
    with the library's gates where it has clock gates (None: it has none); and those memories."""
    blocks = _blocks((folder / "design.il").read_text())
    keep = "\n".join(f"setattr -mod -set keep_hierarchy 1 {block}" for block in blocks)
    if gate is not None:
        ports = re.search(rf"module {sleep.GATE} .*?;", sleep.MODEL)[0]
        (folder / "gate.v").write_text(f"{ports}\nendmodule\n")
    read = "" if gate is None else "read_verilog -lib gate.v\n"
    (folder / f"{name}.ys").write_text(script.format(top=TOP, keep=keep, gate=read) + "\n")
    words = [*tools.tool("yosys"), f"{name}.ys"]
    tools.run(words, folder, f"{name}.log", console, "synthesis")
    content = json.loads((folder / f"{name}.json").read_text())
    _same(content)
    cuts = cut_memories(content, SMALLEST_SRAM)
    if gate is not None:
        _gate_clocks(content, gate)
    return content, cuts


def block_netlist(
    folder: Path, text: str, cells: liberty.Library, console: Console, group: int | None = None
) -> Netlist:
    """A block alone, from its RTLIL, mapped for 100 MHz; `group` as in `synthesise`."""
    (folder / "design.il").write_text(text)
    (folder / "coarse.ys").write_text(_BLOCK.format(top=TOP) + "\n")
    words = [*tools.tool("yosys"), "coarse.ys"]
    tools.run(words, folder, "coarse.log", console, "synthesis")
    content = json.loads((folder / "coarse.json").read_text())
    return map_cells(folder, content, cells, 100, console, group)


def copies(library: liberty.Library) -> list[str]:
    """Names of the library's files beside the netlist."""
    return [f"cells{number or ''}.lib" for number in range(len(library.texts))]


def block_of(path: Sequence[str]) -> str:
    """Name of a block in tables: its instance without what it is in, and without number; the rest
    is "frames", like the frame control: logic between the blocks."""
    if not path:
        return "frames"
    return re.sub(r"(\$?\d+)$", "", path[-1].removeprefix("engine.").split(".")[-1])


def areas(mapped: Mapped) -> dict[str, float]:
    """Cell area by block, lanes and units summed, in um2."""
    found: Counter[str] = Counter()
    for path, module in mapped.netlist.instances():
        found[block_of(path)] += sum(
            count * mapped.library.cells[kind].area
            for kind, count in mapped.netlist.cells(module).items()
            if kind in mapped.library.cells
        )
    return {name: round(area, 2) for name, area in sorted(found.items())}


def count_cells(mapped: Mapped) -> tuple[int, int]:
    """(cells, flip-flops among them); black boxes do not count."""
    cells = flip_flops = 0
    for _, module in mapped.netlist.instances():
        for kind, count in mapped.netlist.cells(module).items():
            if kind.startswith("sram_") or kind.startswith("$scopeinfo"):
                continue
            cells += count
            if mapped.library is not None:
                flip_flops += count * mapped.library.cells[kind].flip_flop
            else:
                flip_flops += count * ("DFF" in kind)
    return cells, flip_flops


# ---- timing ----

_STA = """{liberty}
read_verilog netlist.v
link_design {top}
create_clock -name clk -period {period:g} [get_ports clk]
report_checks -path_delay max -digits 4
exit
"""
_SLACK = re.compile(r"^\s*(-?[\d.]+)\s+slack \((?:MET|VIOLATED)\)", re.M)


def frequency(folder: Path, library: liberty.Library, clock_mhz: float) -> float | None:
    """Highest clock in MHz between registers, by OpenSTA; None where no path is timed.

    Raises
    ------
    RuntimeError
        OpenSTA reported an error (its exit status does not) or no slack.
    """
    period = 1e3 / clock_mhz / library.time_ns
    reads = "\n".join(f"read_liberty {name}" for name in copies(library))
    (folder / "sta.tcl").write_text(_STA.format(top=TOP, period=period, liberty=reads))
    done = subprocess.run(
        ["sta", "-no_splash", "-exit", "sta.tcl"], cwd=folder, capture_output=True, text=True
    )
    text = done.stdout + done.stderr
    (folder / "sta.log").write_text(text)
    wrong = [line for line in text.splitlines() if line.startswith("Error:")]
    found = _SLACK.search(text)
    if not wrong and not done.returncode and "No paths found" in text:
        return None
    if wrong or done.returncode or not found:
        said = wrong[0] if wrong else f"no slack in what it printed, exit status {done.returncode}"
        raise RuntimeError(f"OpenSTA failed (whole log: {folder / 'sta.log'}): {said}")
    return round(1e3 / ((period - float(found[1])) * library.time_ns), 2)


# ---- power ----


def stimulus(design: Rasca, names: list[str], widths: list[int], schedule, groups: int) -> str:
    """What the simulator plays: reset, weights a byte a cycle, then the camera's pixels.

    names, widths: of the input ports, in their order.
    """
    lines: list[str] = []

    def cycle(**ports: int) -> None:
        values = [
            f"{ports.get(name, 0):0{w}b}"[::-1] for name, w in zip(names, widths, strict=True)
        ]
        lines.append("c " + "".join(values))

    for _ in range(4):
        cycle(rst=1)
    cycle()
    image = design.engine.weights_image()
    cycle(load_valid=1, load_data=image[0])  # the engine is ready a cycle after it is asked
    for i, byte in enumerate(image):
        cycle(load_valid=1, load_data=byte, load_last=i + 1 == len(image))
    lines.append(f"events {WARM_UP - 1} {WARM_UP + groups - 1}")
    now, colours = -1, {}
    rows = schedule.lines[0][: design.plan.model.rows_per_group * (WARM_UP + groups + 1)]
    for at, rgb, flags in zip(schedule.cycle, schedule.rgb, schedule.flags, strict=True):
        if at > rows[-1]:
            break
        if at > now + 1:
            cycle(**colours)  # a camera's wires stay where they are
            lines.append(f"r {at - now - 2}")
        for name, shift in zip(design.pixels.signature.colours, (16, 8, 0), strict=False):
            colours[f"pixel_{name}"] = int(rgb) >> shift & 255
        cycle(
            pixel_valid=int(flags) & 1,
            pixel_sof=int(flags) >> 1 & 1,
            pixel_eol=int(flags) >> 2 & 1,
            frame_end=int(flags) >> 3 & 1,
            **colours,
        )
        now = int(at)
    cycle(**colours)
    lines.append(f"r {4 * design.plan.cycles_per_row_group}")
    return "\n".join(lines) + "\n"


def camera_of(design: Rasca, weights: Weights, groups: int, period: int | None = None):
    """The camera that plays the middle rows of a photograph after `WARM_UP` row groups above them,
    and the logits that must come out; a row group lasts `period` cycles, else as few as it can."""
    import torch

    from golden import images
    from golden.model import IntegerModel
    from sim import camera, session

    model = design.plan.model
    picture = images.default_images(model)[:1]
    first = max(0, (model.row_groups - groups) // 2 - WARM_UP)
    picture = torch.roll(picture, -model.rows_per_group * first, dims=2)
    logits = IntegerModel(model, weights).run(picture).logits[0].tolist()
    timing = camera.paced(period or design.plan.camera_period, model)
    shot = camera.Shot(camera.Picture.of(session.camera_image(picture[0])), timing)
    return logits, camera.play([shot])


def measure(
    design: Rasca,
    weights: Weights,
    mapped: Mapped,
    folder: Path,
    groups: int,
    console: Console,
    period: int | None = None,
) -> tuple[activity.Flat, activity.Counts]:
    """Simulates the mapped netlist over some row groups of a photograph; see `camera_of`.

    Raises
    ------
    ValueError
        A cell cannot be simulated.
    RuntimeError
        The simulator failed, or the netlist computes other logits than the golden model, or not in
        the predicted cycles.
    """
    plan = design.plan
    with console.status("activity: stimulus"):
        program = activity.compile_simulator(folder.parent)
        flat = activity.flatten(mapped.netlist)
        classes = range(plan.model.class_count)
        events = ("row_valid", *(f"row_logit{i}" for i in classes))
        text = activity.netlist_text(flat, mapped.library, events)
        (folder / "gates.txt").write_text(text)
        names = activity.input_ports(flat, mapped.library)
        widths = [len(flat.ports[name]) for name in names]
        logits, schedule = camera_of(design, weights, groups, period)
        played = stimulus(design, names, widths, schedule, groups)
        (folder / "stimulus.txt").write_text(played)
    words = [str(program.resolve()), "gates.txt", "stimulus.txt", "counts.txt"]
    tools.run(words, folder, "activity.log", console, "activity")
    rows = [line.split() for line in (folder / "activity.log").read_text().splitlines()]
    at = [int(row[0]) for row in rows]
    for group, (_, bits) in enumerate(rows):
        found = [signed_bits(bits[1 + 32 * i : 33 + 32 * i]) for i in classes]
        if found != logits[group]:
            raise RuntimeError(
                f"the mapped netlist is wrong: logits {found} after row group {group}, "
                f"not {logits[group]}"
            )
    counts = activity.read_counts(folder / "counts.txt")
    wanted = groups * (period or plan.camera_period)
    if counts.cycles != at[-1] - at[WARM_UP - 1] or abs(counts.cycles - wanted) > groups + 1:
        raise RuntimeError(
            f"{groups} row groups took {counts.cycles} cycles, {wanted} were predicted"
        )
    return flat, counts


def signed_bits(bits: str) -> int:
    """A two's complement number, lowest bit first."""
    return int(bits[::-1], 2) - (int(bits[-1]) << len(bits))


# ---- memories ----


def memory_of(path: Sequence[str]) -> str:
    """The name that reports give a memory, from where it is."""
    return memory_name(block_of(path[:-1]), path[-1])


def srams(mapped: Mapped, plan: Plan, technology: Technology) -> list[dict[str, Any]]:
    """Macros of every memory that was cut out, equal ones of a name together."""
    ports = {memory.name: memory.ports for memory in cost(plan).memories}
    found: dict[tuple[str, int, int], int] = Counter()
    where = {(cut.module, cut.cell): cut.memory for cut in mapped.cuts}
    for path, module in mapped.netlist.instances():
        for name, cell in mapped.netlist.modules[module]["cells"].items():
            if box := activity.BOX.fullmatch(cell["type"]):
                memory = memory_of((*path, where.get((module, name), name)))
                found[memory, int(box[1]), int(box[2])] += 1
    rows = []
    for (memory, words, bits), banks in sorted(found.items()):
        macro = technology.sram(words, bits, ports.get(memory, "1R1W"))
        rows.append(
            {
                "memory": memory,
                "words": words,
                "bits": bits,
                "banks": banks,
                "ports": ports.get(memory, "1R1W"),
                "macro": f"{macro.words}x{macro.bits}",
                "count": banks * macro.high * macro.wide,
                "area_um2": round(banks * macro.area_um2, 1),
            }
        )
    return rows


def power(
    flat: activity.Flat,
    counts: activity.Counts,
    library: liberty.Library,
    sram: list[dict[str, Any]],
    technology: Technology,
    clock_mhz: float,
    groups: int,
) -> dict[str, Any]:
    """mW at a clock, by kind and by block."""
    energy = activity.weigh(flat, library, counts)
    mw = clock_mhz / counts.cycles / 1e3  # pJ -> mW
    memories: Counter[str] = Counter()
    leakage = 0.0
    ports = {row["memory"]: row["ports"] for row in sram}
    for path, (kind, reads, writes) in activity.accesses(flat, counts).items():
        words, bits = (int(part) for part in activity.BOX.fullmatch(kind).groups())
        name = memory_of(path)
        macro = technology.sram(words, bits, ports.get(name, "1R1W"))
        memories[name] += reads * macro.read_pj + writes * macro.write_pj
        leakage += macro.leakage_nw
    parts = {
        "switching": energy.switching * mw,
        "internal": energy.internal * mw,
        "clock_pins": energy.clock * mw,
        "leakage": energy.leakage / 1e6,
        "sram": sum(memories.values()) * mw,
        "sram_leakage": leakage / 1e6,
    }
    blocks = {name: value * mw for name, value in activity.by_block(energy, block_of).items()}
    total = sum(parts.values())
    return {
        "clock_mhz": clock_mhz,
        "row_groups": groups,
        "cycles": counts.cycles,
        **{name: round(value, 6) for name, value in parts.items()},
        "total": round(total, 6),
        "energy_row_group_nj": round(total * counts.cycles / clock_mhz / groups, 4),
        "blocks": {name: round(value, 6) for name, value in blocks.items()},
        "memories": {name: round(value * mw, 6) for name, value in sorted(memories.items())},
    }


# ---- all of it ----


def find_library(given: str | Path | None) -> tuple[Path, ...] | None:
    """The Liberty files to map to: those given, else Debian's, else none."""
    if given is not None:
        return liberty.files(given)
    return (DEBIAN,) if DEBIAN.exists() else None


def study(
    model: ModelConfig,
    engine: EngineConfig,
    weights: Weights,
    *,
    library: Sequence[Path] | None,
    technology: Technology,
    clock_mhz: float,
    groups: int,
    folder: Path,
    console: Console,
    rate: float | None = None,
    export: Path | None = None,
) -> dict[str, Any]:
    """Area, frequency and power of an engine; the summary, also written to `folder`.

    groups: row groups whose power is taken, 0 for none.
    rate: frames/s of the sensor that power is of; None: the engine never waits. An engine that
        sleeps then, and flip-flops with an enable, get clock gates.
    export: where what place and route begins with is written, see sim.study.hand_over.

    Raises
    ------
    ValueError, RuntimeError
        As `synthesise`, `frequency` and `measure` do.
    """
    if not 0 < clock_mhz < math.inf:
        raise ValueError(f"clock must be above 0 MHz and finite, not {clock_mhz:g}")
    if groups > model.row_groups - WARM_UP:
        raise ValueError(
            f"row groups must be 0..{model.row_groups - WARM_UP} for the power of {model.name}, "
            f"not {groups}"
        )
    with files.claimed(folder):
        design = Rasca(model, engine, weights)
        return _study(
            design, weights, library, technology, clock_mhz, groups, folder, console, rate, export
        )


def _study(
    design: Rasca,
    weights: Weights,
    library: Sequence[Path] | None,
    technology: Technology,
    clock_mhz: float,
    groups: int,
    folder: Path,
    console: Console,
    rate: float | None,
    export: Path | None,
) -> dict[str, Any]:
    period = None if rate is None else rated.row_group_cycles(design.plan, clock_mhz, rate)
    model, engine = design.plan.model, design.plan.engine
    limits = [
        "after synthesis: no placement, no wires, no clock tree, no test logic",
        f"memories of {SMALLEST_SRAM} bits and more are SRAM macros of {technology.title}; what is "
        "around them (decoders of several macros, test) is left out",
    ]
    group = None if rate is None else GROUP
    mapped = synthesise(design, folder, library, clock_mhz, console, group)
    found, cells = mapped.library, count_cells(mapped)
    sram = srams(mapped, design.plan, technology)
    if export is not None:
        gate = found.clock_gate if engine.sleep else None
        content, cuts = _cut(folder, _RTL, "rtl", gate, console)
        hand_over.write(
            export,
            plan=design.plan,
            content=content,
            cuts=cuts,
            netlist=None if found is None else mapped.netlist,
            library=found,
            rows=sram,
            areas={} if found is None else areas(mapped),
            technology=technology,
            clock_mhz=clock_mhz,
            work=folder,
            console=console,
        )
    area: dict[str, float | None] = {"sram": round(sum(row["area_um2"] for row in sram), 1)}
    fmax, drawn, slept = None, None, None
    if found is None:
        limits.append(
            "no Liberty file: cells are generic gates, without area, frequency and power; "
            "apt install qflow-tech-osu018 brings one, LIBERTY=file names another"
        )
        area |= {"cells": None, "total": None}
    else:
        limits.append(f"library {found.name}, one corner: {found.corner}")
        blocks = areas(mapped)
        logic = round(sum(blocks.values()), 2)
        area = {**blocks, "cells": logic, **area, "total": round(logic + area["sram"], 2)}
        if shutil.which("sta"):
            fmax = frequency(folder, found, clock_mhz)
            limits.append(
                "frequency: paths between registers; those through an SRAM, a port or a wire are "
                "not timed"
            )
        else:
            limits.append(
                "no frequency: OpenSTA's sta is not on PATH; apt install opensta brings it"
            )
        if fmax is not None and fmax < clock_mhz:
            limits.append(f"the clock of {clock_mhz:g} MHz is faster than {fmax:g} MHz")
        if not groups:
            limits.append("no power: no row groups were asked for")
        elif not shutil.which("g++"):
            limits.append("no power: g++ is not on PATH; apt install g++ brings it")
        else:
            flat, counts = measure(design, weights, mapped, folder, groups, console, period)
            drawn = power(flat, counts, found, sram, technology, clock_mhz, groups)
            if rate is not None:
                slept = rated.at_rate(
                    flat, counts, found, block_of, drawn, design.plan, technology, rate
                )
                limits.append(
                    f"clock tree: {rated.TREE:.0%} of the clock pins' energy, assumed; "
                    f"{GROUP} flip-flops and more with one enable share a gate of the clock"
                )
            limits.append(
                "power: zero-delay activity (no glitches) of a photograph's middle rows, the "
                "second step of the tables' transitions, energies averaged over a table's "
                "conditions, loads of pins only"
            )
    summary = {
        "preset": model.name,
        "shape": str(engine),
        "weights_trained": not weights.untrained,
        "library": None if found is None else found.name,
        "technology": technology.name,
        "clock_mhz": clock_mhz,
        "area_um2": area,
        "sram": sram,
        "cells": cells[0],
        "flip_flops": cells[1],
        "fmax_mhz": fmax,
        "power_mw": drawn,
        "at_rate": slept,
        "cycles_row_group": design.plan.cycles_per_row_group,
        "limits": limits,
        "tool_versions": {"yosys": tools.tool_version("yosys")},
    }
    files.write(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """The table of areas, then what is known beside it."""
    area, drawn = summary["area_um2"], summary["power_mw"]
    table = Table("block", "area um2", "%", *(["mW"] if drawn else []))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, value in area.items():
        share = f"{100 * value / area['total']:.1f}" if value and area["total"] else ""
        row = [name, "" if value is None else f"{value:,.0f}", share]
        if drawn:
            known = {"cells": None, "sram": drawn["sram"], "total": drawn["total"]}
            power_of = drawn["blocks"].get(name, known.get(name))
            row.append("" if power_of is None else f"{power_of:.3f}")
        table.add_row(*row, end_section=name in ("cells", "sram"))
    console.print(table)
    macros = Table("memory", "words x bits", "banks", "macros", "area um2")
    for row in summary["sram"]:
        macros.add_row(
            row["memory"],
            f"{row['words']}x{row['bits']}",
            str(row["banks"]),
            f"{row['count']} x {row['macro']}",
            f"{row['area_um2']:,.0f}",
        )
    console.print(macros)
    fmax = summary["fmax_mhz"]
    console.print(
        f"{summary['cells']:,} cells, {summary['flip_flops']:,} of them flip-flops; "
        + (f"{fmax:g} MHz between registers" if fmax else "frequency not known")
    )
    if drawn:
        console.print(
            f"{drawn['total']:.3f} mW at {drawn['clock_mhz']:g} MHz over {drawn['cycles']:,} "
            f"cycles: clock pins {drawn['clock_pins']:.3f}, inside cells {drawn['internal']:.3f}, "
            f"loads {drawn['switching']:.3f}, SRAM {drawn['sram']:.3f}, leakage "
            f"{drawn['leakage'] + drawn['sram_leakage']:.4f}; "
            f"{drawn['energy_row_group_nj']:,.1f} nJ a row group"
        )
    if summary["at_rate"]:
        rated.show(summary["at_rate"], console)
    for line in summary["limits"]:
        console.print(f"- {line}")


def main(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    library: Annotated[str | None, typer.Option("--liberty", help="Liberty files")] = None,
    process: Annotated[
        str, typer.Option("--technology", help="of the SRAM macros, see technology.toml")
    ] = "ihp130",
    clock: Annotated[float, typer.Option(help="MHz that is aimed at and that power is for")] = 100,
    row_groups: Annotated[int, typer.Option(min=0, help="whose power is taken; 0: no power")] = 2,
    weights: Annotated[Path | None, typer.Option(help="safetensors file")] = None,
    sleeps: Annotated[
        bool,
        typer.Option("--power", help="clock gates; power of a sensor's frames"),
    ] = False,
    rate: Annotated[float, typer.Option("--fps", help="of that sensor")] = 30,
    low_power: Annotated[bool, typer.Option(help="few registers, for a slow clock")] = False,
    export: Annotated[
        Path | None, typer.Option(help="folder for what place and route begins with")
    ] = None,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/asic"),
) -> None:
    """Area, frequency and power of an engine in standard cells."""
    console = Console()
    try:
        with bad_input():
            model = preset(preset_name)
            parts = "low_power" if low_power else "parallel"
            engine = EngineConfig.parse(
                shape or str(default_shape(model)), "loaded", sleep=sleeps, parts=parts
            )
            Geometry(model, engine)
            if export is not None:
                files.check_folder(export)
            made = str(engine).replace(",", "_") + "_low_power" * low_power + "_power" * sleeps
            place = folder / model.name / made
            summary = study(
                model,
                engine,
                load_weights(weights, model),
                library=find_library(library),
                technology=technology(process),
                clock_mhz=clock,
                groups=row_groups,
                folder=place,
                console=console,
                rate=rate if sleeps else None,
                export=export,
            )
    except RuntimeError as error:
        raise CommandError(str(error), DIFFERENT) from None
    print_summary(summary, console)
    console.print(f"written to {place}" + (f" and {export}" if export else ""))
