"""`make netlist`: the engine as Yosys made it for a board, simulated against the golden model.

rasca netlist --board icebreaker [--preset P] [--image FILE] [--row-groups N] [--whole]

The engine with the board's configuration (hw.top.Rasca) is synthesised by the script of
`make bitstream`; the netlist runs on models of the family's cells. Pixels, weights, logits,
decisions and the state pass through the netlist's ports; a board that tells events only is built
without the state's, but not its engine here, so that the state is compared. With --whole it is the
netlist of `make bitstream` itself, see sim/whole_board.py. What is undefined after power-up, or
read before it was written, is random. See docs/netlist.md for the keys of summary.json.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from amaranth.back import rtlil
from rich.console import Console
from rich.table import Table

from boards import build, fit, tools
from boards.board import Board
from boards.system import System
from golden import files
from golden.command_line import Photographs, load_photographs, load_weights
from golden.config import ModelConfig, preset
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input
from golden.expected import STATUS, Expected, Frame, Judge, JudgedRow
from golden.live_table import LiveTable
from golden.model import IntegerModel
from golden.weights import Weights
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca, flat_ports
from sim import camera, runner, session, whole_board
from sim.camera_models import Exposure
from sim.cell_models import INCLUDES, MODELS, OURS

STRICT = ("--x-assign", "unique", "--x-initial", "unique", "-Werror-USERFATAL")
FLAGS = ("--no-timing", *STRICT, *INCLUDES)
RANDOM = ("+verilator+rand+reset+2", "+verilator+seed+1")
"""What nothing defines is random, the same in each run."""


def stricter(text: str) -> str:
    """Yosys' iCE40 cells, whose block RAM gives inverted what is written with the same edge.

    Theirs gives what was there before. The device promises nothing, and a netlist may not count on
    it either: memories with hw.common.NO_COLLISION get no logic for that case.
    """
    found = "RDATA_I <= memory[RADDR[7:0]] & ~RMASK_I;"
    assert text.count(found) == 1
    written = "WCLK && WE && WCLKE && WADDR[7:0] == RADDR[7:0] ? ~WMASK_I : 16'b0"
    return text.replace(found, f"RDATA_I <= (memory[RADDR[7:0]] ^ ({written})) & ~RMASK_I;")


def models(family: str) -> tuple[str, tuple[Path, ...]]:
    """The cells' models: as text, and as files."""
    if family == "ice40":
        return stricter(MODELS[family][0].read_text()), ()
    return "", MODELS[family]


def engine_of(
    board: Board, model: ModelConfig, engine: EngineConfig, weights: Weights, whole: bool
) -> Rasca:
    """The board's engine; alone it always has the port through which its state is compared."""
    return Rasca(model, engine, weights, readback=not (whole and board.events_only))


def netlist_of(design: Any, family: str, folder: Path, console: Console) -> dict[str, Any]:
    """Yosys' netlist, as its JSON has it, of an Amaranth component or of RTLIL.

    Raises
    ------
    ValueError
        There is no Yosys.
    RuntimeError
        It failed.
    """
    text = design
    if not isinstance(design, str):
        ports = flat_ports(design) if isinstance(design, Rasca) else None
        text = rtlil.convert(design, name=build.TOP, ports=ports, emit_src=False)
    return build.synthesise(text, family, folder, console)


def cells(netlist: dict[str, Any]) -> dict[str, int]:
    """How many cells there are of each type."""
    found = Counter(cell["type"] for cell in netlist["modules"][build.TOP]["cells"].values())
    return {name: found[name] for name in sorted(found) if not name.startswith("$")}


def to_verilog(netlist: dict[str, Any], folder: Path, console: Console) -> str:
    """The netlist as Verilog, written by Yosys."""
    netlist = deepcopy(netlist)
    for cell in netlist["modules"][build.TOP]["cells"].values():
        # an output without a net (boards.carries) may not be tied to a constant; an input without
        # one stays undefined, which is random
        ways, nets = cell["port_directions"], cell["connections"].items()
        cell["connections"] = {
            pin: bits for pin, bits in nets if bits != ["x"] or ways[pin] == "input"
        }
    (folder / "netlist.json").write_text(json.dumps(netlist))
    script = "read_json netlist.json\nwrite_verilog -noattr netlist.v\n"
    (folder / "netlist.ys").write_text(script)
    command = [*tools.tool("yosys"), "netlist.ys"]
    tools.run(command, folder, "netlist.log", console, "netlist")
    return (folder / "netlist.v").read_text()


def prepare(
    rasca: Rasca,
    weights: Weights,
    verilog: str,
    *,
    sources: tuple[Path, ...] = (),
    optimise: str = "run",
    tell: runner.Tell | None = None,
) -> session.Engine:
    """Compiles the netlist of an engine; `sources`: beside the cells' models; `tell`: how
    far it is."""
    text, files = models(rasca.plan.engine.cells)
    return session.prepare(
        rasca.plan.model,
        rasca.plan.engine,
        weights,
        plan=rasca.plan,
        netlist=verilog + text,
        sources=(*files, *sources),
        flags=FLAGS,
        optimise=optimise,
        tell=tell,
    )


def play(
    engine: session.Engine,
    pixels: torch.Tensor,
    row_groups: int,
    *,
    load: bytes | None,
    on_record: Any = None,
    plusargs: tuple[str, ...] = (),
) -> session.Session:
    """Sends a picture, or as many lines of it as so many row groups need, and compares.

    pixels: (channels, h, w) bytes. load: weights image that is sent first.

    Raises
    ------
    ValueError
        The frame cannot break off after so many row groups.
    """
    model = engine.model
    check_row_groups(model, row_groups)
    golden = IntegerModel(model, engine.weights).run(pixels[None])
    expected = session.golden_frames(golden)[0]
    picture = camera.Picture.of(session.camera_image(pixels))
    if row_groups < model.row_groups:
        picture, expected = cut(picture, expected, row_groups, model.rows_per_group)
    timing = camera.paced(engine.plan.camera_period, model)
    return session.play(
        engine,
        camera.play([camera.Shot(picture, timing)]),
        [expected],
        load=load,
        on_record=on_record,
        plusargs=(*RANDOM, *plusargs),
    )


def check_row_groups(model: ModelConfig, row_groups: int) -> None:
    """ValueError if a frame cannot break off after so many row groups, see `cut`."""
    most = (model.image_height - 1) // model.rows_per_group - 1
    if row_groups != model.row_groups and not 1 <= row_groups <= most:
        raise ValueError(f"row groups must be 1..{most} or {model.row_groups}, not {row_groups}")


def cut(
    picture: camera.Picture, expected: Expected, row_groups: int, rows: int
) -> tuple[camera.Picture, Expected]:
    """A frame that breaks off while the row group after `row_groups` of `rows` rows is worked
    on."""
    lines = rows * (row_groups + 1) + 1
    short = replace(expected, computed=tuple(range(row_groups)), status=STATUS.index("TRUNCATED"))
    return picture.truncated(lines), short


def complaint(result: session.Session, row_groups: int, digest: int) -> str | None:
    """What is not as the golden model has it, None if all is; `digest`: of the weights."""
    if result.difference is not None:
        return f"first difference: {result.difference}"
    rows = result.frames[0].rows if result.frames else []
    if len(rows) != row_groups:
        return f"{len(rows)} row groups came, not {row_groups}"
    if result.frames[0].decision is None:
        return "no decision came"
    found = result.judge.end["weights_digest"]
    if found != digest:
        return f"weights_digest is {found:08x}, not {digest:08x}"
    return None


def simulate_engine(
    rasca: Rasca,
    weights: Weights,
    image: Photographs,
    row_groups: int,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Synthesises and simulates an engine; what summary.json says of it."""
    family = rasca.plan.engine.cells
    begun = time.monotonic()
    netlist = netlist_of(rasca, family, folder, console)
    verilog = to_verilog(netlist, folder, console)
    synthesised = time.monotonic() - begun
    with runner.compiling(console, "compiling the netlist") as tell:
        compiled = prepare(rasca, weights, verilog, tell=tell)
    console.print(f"simulation: {compiled.seconds:.0f} s")
    table = LiveTable(console, rasca.plan.model, weights, 0)

    def show(found: JudgedRow | Frame, judge: Judge) -> None:
        if isinstance(found, JudgedRow) or found.decision["status"] == 0:
            table.show(found, judge)

    loaded = rasca.plan.engine.weight_memory == "loaded"
    result = play(
        compiled,
        image.pixels[0],
        row_groups,
        load=rasca.engine.weights_image() if loaded else None,
        on_record=show,
    )
    rows = [row for frame in result.frames for row in frame.rows]
    decision = result.frames[0].decision if result.frames else None
    whole = decision is not None and STATUS[decision["status"]] == "OK"
    return {
        "image": image.names[0],
        **described(netlist, verilog, MODELS[family]),
        "row_groups": len(rows),
        "row_groups_equal": sum(row.difference is None for row in rows),
        "values_compared": sum(row.compared for row in rows),
        "wrong": complaint(result, row_groups, rasca.engine.digest),
        "decision": rasca.plan.model.classes[decision["label"]] if whole else None,
        "cycles": result.judge.end["cycle"],
        "seconds": took(synthesised, compiled.seconds, result.seconds),
    }


def simulate_board(
    system: System,
    design: str,
    weights: Weights,
    image: tuple[Exposure, str],
    row_groups: int,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Synthesises and simulates a whole board (`design`: its RTLIL); likewise."""
    begun = time.monotonic()
    netlist = netlist_of(design, "ice40", folder, console)
    verilog = to_verilog(netlist, folder, console)
    synthesised = time.monotonic() - begun
    with runner.compiling(console, "compiling the netlist") as tell:
        text, _ = models("ice40")
        cells = netlist["modules"][build.TOP]
        built = whole_board.prepare(system, cells, verilog + text, STRICT, tell=tell)
    console.print(f"simulation: {built.seconds:.0f} s")
    exposure, name = image
    with console.status("power-up and a frame"):
        sent = whole_board.cut(system, exposure, row_groups)
        run = whole_board.play(system, built, sent, RANDOM)
    return {
        "image": name,
        **described(netlist, verilog, (whole_board.PINS, *MODELS["ice40"])),
        **whole_board.judge(system, weights, run, exposure, row_groups),
        "cycles": round(run.found["us"] * system.pll.output_hz / 1e6),
        "seconds": took(synthesised, built.seconds, run.seconds),
    }


def described(netlist: dict[str, Any], verilog: str, files: Sequence[Path]) -> dict[str, Any]:
    """What a netlist is made of, and the models that it runs on."""
    return {
        "netlist_digest": hashlib.sha256(verilog.encode()).hexdigest(),
        "cells": cells(netlist),
        "models": [
            file.name if file.parent == OURS else f"Yosys {file.parent.name}/{file.name}"
            for file in files
        ],
    }


def took(synthesis: float, build: float, simulate: float) -> dict[str, float]:
    """`seconds` of summary.json."""
    spent = {"synthesis": synthesis, "build": build, "simulate": simulate}
    return {name: round(value, 1) for name, value in spent.items()}


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")] = "icebreaker",
    preset_name: Annotated[str | None, typer.Option("--preset", help="network")] = None,
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    weights: Annotated[str | None, typer.Option(help="safetensors file")] = None,
    image: Annotated[str | None, typer.Option(help="picture file")] = None,
    row_groups: Annotated[int, typer.Option(help="how many are simulated")] = 3,
    whole: Annotated[bool, typer.Option(help="the whole board, not the engine alone")] = False,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/netlist"),
) -> None:
    """Synthesises a board's engine, or the whole board, and simulates the netlist."""
    console = Console(highlight=False)
    with bad_input():
        board = build.find_board(board_name)
        model = preset(preset_name or board.preset, board.preset)
        check_row_groups(model, row_groups)
        if whole:
            whole_board.check_board(board)
        engine = fit.configure(board, model, shape)
        numbers = load_weights(weights, model)
        rasca = engine_of(board, model, engine, numbers, whole)
        tools.tool("yosys")
        place = folder / board.name / model.name
        if whole:
            place /= "whole"
            system, sources = build.files_of(board, rasca)
            shown = whole_board.photograph(system, image)
        else:
            photographs = load_photographs(image, model, 1)
    part = "the whole board" if whole else "the engine"
    console.print(f"{model.name} with shape {engine}: {part} on {board.title}")
    try:
        with bad_input(), files.claimed(place):
            if whole:
                design = sources[f"{build.TOP}.il"]
                found = simulate_board(system, design, numbers, shown, row_groups, place, console)
            else:
                found = simulate_engine(rasca, numbers, photographs, row_groups, place, console)
    except (RuntimeError, runner.SimulationError) as error:
        raise CommandError(str(error), BROKEN) from None
    summary = {
        "board": board.name,
        "device": board.device.name,
        "part": "board" if whole else "engine",
        "preset": model.name,
        "shape": str(engine),
        "weights_digest": numbers.digest,
        "config_digest": rasca.config_digest,
        **found,
        "tool_versions": {"yosys": tools.tool_version("yosys")},
    }
    files.write(place / "summary.json", json.dumps(summary, indent=1) + "\n")
    tell = Table(show_header=False)
    for key, value in summary.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count:,}" if type(count) is int else f"{name} {count}"
                              for name, count in value.items())  # fmt: skip
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        tell.add_row(key.replace("_", " "), f"{value:,}" if type(value) is int else str(value))
    console.print(tell)
    if found["wrong"]:
        raise CommandError(found["wrong"], DIFFERENT)
    console.print(f"written to {place}")
