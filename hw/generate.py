"""Generator: plain Verilog of the engine, the same bytes every time.

rasca verilog --preset vww_210x240 --shape 15,3,2
"""

import contextlib
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from amaranth.back import verilog
from rich.console import Console

from golden import files
from golden.command_line import facts, load_weights
from golden.config import preset
from golden.errors import bad_input
from hw import sleep
from hw.bus import pages
from hw.bus.top import RascaBus, check_bus
from hw.kit import whole
from hw.plan.engine_config import EngineConfig, Geometry, default_shape
from hw.top import Rasca, flat_ports

WAIVERS = (
    (
        "WIDTHEXPAND",
        "Operator * expects * bits on the ?HS*",
        "Amaranth sizes each result and leaves the shorter operand to Verilog, which extends it",
    ),
    ("WIDTHTRUNC", "Logical operator LOGNOT expects 1 bit*", "Yosys writes x == 0 as !x"),
    (
        "WIDTHTRUNC",
        "Operator ASSIGNW expects * RHS's SHIFTR generates*",
        "the word chosen of an array is the low end of the shifted array",
    ),
    ("CASEINCOMPLETE", "", "Yosys gives a signal's default before the case, not in it"),
    ("PROCASSINIT", "", "registers have values at power-up, which FPGAs load"),
    ("UNUSEDSIGNAL", "", "each field of a word has a name, also where only others are used"),
    ("VARHIDDEN", "", "a memory may have the name of the part that it is in"),
    ("DECLFILENAME", "", "the file is named after network and shape, the module is rasca"),
)
"""What Verilator's lint finds in correct Verilog: rule, message (any if empty), reason."""

_ZERO_WIDE = re.compile(r"(?:^ *\(\*.*\*\)\n)*^ *wire \[-1:0\] (\S+?) ?;\n", flags=re.M)


def waivers(file: str) -> str:
    """Verilator's control file for the lint of a file of this name, and of no other."""
    lines = ["`verilator_config"]
    for rule, message, reason in WAIVERS:
        match = f' -match "{message}"' if message else ""
        lines += [f"// {reason}", f'lint_off -rule {rule} -file "*{file}"{match}']
    return "\n".join(lines) + "\n"


def no_zero_wide(text: str) -> str:
    """Verilog without declarations of signals of no bits: [-1:0] would be two, and nothing uses
    them."""
    return _ZERO_WIDE.sub("", text)


def plain_names(text: str) -> str:
    r"""Verilog or RTLIL whose names hold no brackets: `\sums[0]` is `\sums.0`.

    Amaranth calls an array's first element so, and Yosys' abc9 takes that for bit 0 of `\sums`: it
    ends with "Assert `count_id(wire->name) == 0' failed" or makes one net of two.

    Raises
    ------
    ValueError
        If a name is there already that another one would get.
    """
    names = set(re.findall(r"\\\S+", text))
    plain = {name: name.replace("[", ".").replace("]", "") for name in names if "[" in name}
    for name, new in plain.items():
        if new in names:
            raise ValueError(f"names must stay apart, but {name} would be {new}, which is there")
    return re.sub(r"\\\S+", lambda name: plain.get(name[0], name[0]), text)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is looked for meanwhile: an elaboration's objects live to its end, and looking
    through them again and again takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def to_verilog(design: Rasca | RascaBus, name: str = "rasca", warning: str | None = None) -> str:
    """Verilog of an engine, with what it was made of in its header.

    name : of its module.

    Returns
    -------
    str
        The header names the network, the shape and the digests of configuration and weights image;
        it holds no date and no path, and `warning` where there is one. No name holds brackets, see
        `plain_names`.
    """
    with uncollected():
        text = verilog.convert(design, name=name, ports=flat_ports(design), emit_src=False)
    text = no_zero_wide(plain_names(text))
    plan = design.plan
    if plan.engine.sleep:
        text += sleep.MODEL
    header = [
        "Rasca: INT8 row engine for RaScaNet",
        f"network       {plan.model.name}, digest {plan.model.digest}",
        f"shape         {plan.engine} (pixels, channels, lanes): "
        f"{plan.engine.multipliers} multipliers",
        f"configuration {design.config_digest}",
        *([f"WARNING       {warning}"] if warning else []),
        f"weights image CRC-32 {design.engine.digest:08x}",
        f"row group     {plan.cycles_per_row_group} cycles",
        *(
            [f"clocks        {', '.join(sleep.CLOCKS)}: each behind a {sleep.GATE}"]
            * plan.engine.sleep
        ),
    ]
    return "".join(f"// {line}\n" for line in header) + text


def register_bits(text: str) -> int:
    """Flip-flops of a design, counted in its Verilog: bits of the registers that a clock edge sets.

    Memories do not count; registers that synthesis finds equal or unused do.
    """
    bits = 0
    for module in re.split(r"^endmodule", text, flags=re.M):
        widths = {}
        for high, name in re.findall(
            r"^ *(?:\w+ )?reg (?:signed )?(?:\[(\d+):0\] )?(\S+?)(?: =.*)?;", module, flags=re.M
        ):
            widths[name] = int(high) + 1 if high else 1
        clocked = set(re.findall(r"^ *(\S+)(?:\[[^]]*\])? <= ", module, flags=re.M))
        # a memory's own output latch is written as a register _0_
        bits += sum(
            widths[name] for name in clocked if name in widths and not re.fullmatch(r"_\d+_", name)
        )
    return bits


def main(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    weights: Annotated[Path | None, typer.Option(help="safetensors file")] = None,
    weight_memory: Annotated[
        str, typer.Option(help="initialised, or loaded: empty until an image is loaded")
    ] = "initialised",
    sleeps: Annotated[
        bool, typer.Option("--sleep", help="clocks stand still while nothing is to be done")
    ] = False,
    bus: Annotated[
        str | None, typer.Option(help="axi or wishbone: registers, and video by AXI4-Stream")
    ] = None,
    low_power: Annotated[bool, typer.Option(help="few registers, for a slow clock")] = False,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/verilog"),
) -> None:
    """Writes the Verilog of an engine, its weights image and a summary of both."""
    console = Console()
    with bad_input():
        if bus is not None:
            check_bus(bus)
        model = preset(preset_name)
        engine = EngineConfig.parse(
            shape or str(default_shape(model)),
            weight_memory,
            sleep=sleeps,
            parts="low_power" if low_power else "parallel",
        )
        Geometry(model, engine)  # says what does not fit, before anything is built
        numbers = load_weights(weights, model)
        design = (
            Rasca(model, engine, numbers) if bus is None else RascaBus(bus, model, engine, numbers)
        )
    plan = design.plan
    name = f"rasca_{model.name}_{str(engine).replace(',', '_')}{'_low_power' * low_power}"
    top = "rasca"
    if bus is not None:
        name, top = f"{name}_{bus}", f"rasca_{bus}"
    text = to_verilog(design, top, numbers.warning)
    image = design.engine.weights_image()
    summary = {
        "preset": model.name,
        "shape": str(engine),
        "verilog": f"{name}.v",
        "verilog_lines": text.count("\n"),
        "lint_waivers": f"{name}.vlt",
        "weights_image": f"{name}.weights.bin",
        "weights_image_bytes": len(image),
        "weights_image_crc32": f"{design.engine.digest:08x}",
        "weights_trained": not numbers.untrained,
        "config_digest": design.config_digest,
        "cycles_per_row_group": plan.cycles_per_row_group,
        "mac_utilisation": plan.utilisation(),
        "warnings": plan.warnings,
    }
    if bus is not None:
        summary |= {"bus": bus, "top": top, "registers": pages.HEADER, "svd": f"{name}.svd"}
        summary |= {"ipxact": f"{name}.ipxact.xml", "driver": "rasca.c"}
    contents = {
        f"{name}.v": text,
        f"{name}.vlt": waivers(f"{name}.v"),
        f"{name}.weights.bin": image,
        f"{name}.json": json.dumps(summary, indent=1) + "\n",
    }
    if bus is not None:
        about = f"RaScaNet {model.name}, {engine}"
        contents |= {
            pages.HEADER: pages.c_header(design.registers),
            **pages.driver(),
            summary["svd"]: pages.svd(design.registers, name=name.upper(), description=about),
            summary["ipxact"]: pages.ipxact(design.registers, name=name, description=about),
        }
    kit = whole.kit(design, numbers, name, top)
    core = f"{name}.core"
    contents[core] = kit.pop(core)
    files.write_all(folder, contents)
    files.write_all(folder / whole.folder(name), kit)
    table = facts()
    shown = summary | {"mac_utilisation": f"{100 * plan.utilisation():.2f} %"}
    for key, value in shown.items():
        if key != "warnings":
            table.add_row(key.replace("_", " "), str(value))
    console.print(table)
    for line in plan.warnings:
        console.print(f"warning: {line}")
    console.print(f"written to {folder}")
