"""Datasheet of an engine, its timing constraints and its FuseSoC core file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from inspect import getdoc

from hw import interfaces
from hw.bus import axi, pages, stream, wishbone
from hw.bus.top import RascaBus
from hw.interfaces import LOGIT
from hw.kit.bench import pace
from hw.kit.waves import Wave
from hw.plan import Plan
from hw.plan.cost import cost, latency_at
from hw.top import Rasca

_MEMBER = re.compile(r"^((?:\w+, )*\w+) : (?:In|Out)\(.*?\)(?:\.array\(\w+\))?(?:, (.*))?$")
_NEXT = re.compile(r"(?<=\)), (?=\w+ : (?:In|Out)\()")


def meanings(signature: type) -> dict[str, str]:
    """What a docstring says of each member or port, by name; names of a line share its text."""
    found, names, words = {}, [], []
    for line in [*(getdoc(signature) or "").splitlines(), ""]:
        parts = [_MEMBER.match(part) for part in _NEXT.split(line)]
        if all(parts) or not line.startswith("    "):
            text = " ".join(filter(None, words))
            found |= dict.fromkeys(names, text[:1].upper() + text[1:])
            names, words = [], []
        if all(parts):
            names = [name for part in parts for name in part[1].split(", ")]
            words = [f"{part[2]}." for part in parts if part[2]]
        elif names:
            words.append(line.strip())
    return found


_PARTS = {
    "pixels": interfaces.Pixels,
    "thresholds": interfaces.Thresholds,
    "row": interfaces.RowEvent,
    "decision": interfaces.Decision,
    "counts": interfaces.Counters,
    "state": interfaces.StateRead,
    "load": interfaces.LoadPort,
    "stream": stream.VideoStream,
    "bus": (axi.AxiLite, wishbone.Wishbone),
}


def ports(design: Rasca | RascaBus) -> Iterator[tuple[str, str, int, str]]:
    """(name, in or out, bits, meaning) of each port of the Verilog."""
    yield "clk", "in", 1, "Clock; everything happens at its rising edge."
    loads = design.plan.engine.weight_memory == "loaded"
    then = "the weights are to be loaded anew" if loads else "the digest is that of the first ones"
    yield "rst", "in", 1, f"Reset, high, synchronous. Memories keep what they hold; {then}."
    owner = RascaBus if isinstance(design, RascaBus) else interfaces.Engine
    whole = meanings(owner)
    flow = {path: str(member.flow) for path, member, _ in design.signature.flatten(design)}
    for (path, flows), (name, signal) in zip(flow.items(), design.ports.items(), strict=True):
        part, *rest = path
        about = whole.get(part, "")
        if rest:
            kinds = _PARTS[part]
            kinds = kinds if isinstance(kinds, tuple) else (kinds,)
            texts = [meanings(kind).get(rest[0]) for kind in kinds]
            about = next((text for text in texts if text), about)
        yield name, "in" if flows == "In" else "out", len(signal), about


def datasheet(design: Rasca | RascaBus, name: str, waves: Mapping[str, Wave]) -> str:
    """The datasheet in Markdown.

    Parameters
    ----------
    design : Rasca or RascaBus
    name : str
        Of the Verilog file, without its suffix.
    waves : mapping of str to Wave
        Its waveforms, each drawn in wave_<name>.svg.
    """
    plan, bus = design.plan, isinstance(design, RascaBus)
    lines = [
        f"# {name}",
        "",
        f"RaScaNet `{plan.model.name}` on an array of {plan.engine} (pixels, channels, lanes).",
        "",
        *_table(("", ""), _parameters(design)),
        "",
        "## Ports",
        "",
        *_table(
            ("port", "direction", "bits", "meaning"),
            ((f"`{n}`", way, bits, about) for n, way, bits, about in ports(design)),
        ),
        "",
        "## Timing",
        "",
        *_table(("", "cycles"), _timing(plan)),
        "",
        "## Clock and reset",
        "",
        f"One clock, one synchronous reset, a cycle long or longer. `{name}.sdc` has the clock and"
        " what is left for the other side of each port. Registers have values at power-up, which"
        " FPGAs load; an ASIC needs the reset."
        + (
            " The weight memories are empty at power-up: no frame is accepted before a load."
            if plan.engine.weight_memory == "loaded"
            else " The weight memories hold the weights at power-up."
        ),
        "",
    ]
    lines += ["## Waveforms", ""]
    for key, wave in waves.items():
        lines += [f"{wave['head']['text']}:", "", f"![{key}](wave_{key}.svg)", ""]
    if bus:
        lines += ["## Registers", "", pages.table(design.registers), ""]
    which = "the decision, its logits" if bus else "every logit"
    end = "." if bus else ". `+groups=2` behind it ends after two row groups."
    lines += [
        "## Known answer",
        "",
        f"`tb.v` sends a photograph and compares {which} and the last state; here, one of",
        "",
        f"    iverilog -g2012 -o tb tb.v ../{name}.v && vvp tb",
        f"    verilator --binary -Wno-fatal --top-module tb tb.v ../{name}.v && obj_dir/Vtb",
        "",
        f"ends with PASS{end}",
        "",
    ]
    return "\n".join(lines)


def _table(head, rows) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]


def _parameters(design: Rasca | RascaBus) -> list[tuple[str, object]]:
    plan = design.plan
    model, found = plan.model, cost(plan)
    return [
        ("picture", f"{model.image_height} lines of {model.image_width} pixels"),
        ("colours", "red, green, blue" if model.in_channels == 3 else "luma"),
        ("row groups", f"{model.row_groups} of {model.rows_per_group} lines"),
        ("classes", ", ".join(f"{i} {one}" for i, one in enumerate(model.classes))),
        ("stop class", model.stop_class),
        ("state", f"{model.state_channels} channels of {model.n} bytes"),
        ("multipliers", plan.engine.multipliers),
        ("bytes on the chip", found.on_chip_bytes["total"]),
        ("weights image", f"{design.engine.loader.load_bytes} bytes"),
        ("shape of a logit", f"{LOGIT.width} bits, signed"),
        ("network, digest", f"`{model.digest}`"),
        ("configuration, digest", f"`{design.config_digest}`"),
        ("weights image, CRC-32", f"`{design.engine.digest:08x}`"),
    ]


def _timing(plan: Plan) -> list[tuple[str, object]]:
    found, closest = cost(plan), pace(plan)
    row_group = closest * plan.model.image_width * plan.model.rows_per_group
    even = latency_at(plan, row_group)
    return [
        ("work on a row group", plan.cycles_per_row_group),
        ("row group of an even camera, at least", plan.camera_period),
        ("pixel to pixel, at least", plan.rules.pixel_spacing),
        ("pixel to pixel of an even camera in whole cycles, at least", closest),
        ("last pixel to decision, at that pace", even[1]),
        ("last pixel to decision, of a slow camera", found.latency_cycles["frame"]),
        ("last pixel to the state's last word, likewise", found.latency_cycles["row_group"]),
        ("frame to frame, at least", plan.cycles_per_frame),
        ("last answer to decision", 1),
        ("last byte of a weights image to its digest", 3),
    ]


def sdc(name: str, design: Rasca | RascaBus, period_ns: float = 10.0) -> str:
    """Synopsys design constraints: the clock, and a fifth of it for the other side of each port."""
    return f"""\
# {name}: one clock. Change the period to yours.
set period {period_ns:g}
create_clock -name clk -period $period [get_ports clk]
set_clock_uncertainty [expr 0.02 * $period] [get_clocks clk]
set inputs [list {" ".join(n for n, way, *_ in ports(design) if way == "in" and n != "clk")}]
set outputs [list {" ".join(n for n, way, *_ in ports(design) if way == "out")}]
set_input_delay [expr 0.2 * $period] -clock clk [get_ports $inputs]
set_output_delay [expr 0.2 * $period] -clock clk [get_ports $outputs]
"""


def core(name: str, top: str, kit: str, bench: list[str]) -> str:
    """FuseSoC core file (CAPI2) that stands beside the Verilog.

    Parameters
    ----------
    name : str
        Of the Verilog file, without its suffix.
    top : str
        The module.
    kit : str
        Folder of the kit.
    bench : list of str
        Files of the known answer, tb.v first.
    """
    lines = [
        "CAPI=2:",
        f"name: ::{name}:0",
        "description: RaScaNet accelerator, generated",
        "filesets:",
        "  rtl:",
        "    files:",
        f"      - {name}.v: {{file_type: verilogSource}}",
        f"      - {name}.vlt: {{file_type: vlt}}",
        "  constraints:",
        "    files:",
        f"      - {kit}/{name}.sdc: {{file_type: SDC}}",
    ]
    lines += ["  bench:", "    files:", f"      - {kit}/{bench[0]}: {{file_type: verilogSource}}"]
    lines += [f"      - {kit}/{one}: {{file_type: user, copyto: {one}}}" for one in bench[1:]]
    lines += [
        "targets:",
        "  default:",
        "    filesets: [rtl]",
        f"    toplevel: {top}",
        "  lint:",
        "    default_tool: verilator",
        "    filesets: [rtl]",
        f"    toplevel: {top}",
        "    tools: {verilator: {mode: lint-only, verilator_options: [-Wall]}}",
        "  synth:",
        "    filesets: [rtl, constraints]",
        f"    toplevel: {top}",
        "  sim:",
        "    default_tool: icarus",
        "    filesets: [rtl, bench]",
        "    toplevel: tb",
        "    tools: {icarus: {iverilog_options: [-g2012]}}",
    ]
    return "\n".join([*lines, ""])
