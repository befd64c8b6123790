"""`make bitstream`: from a board's name to a bitstream, with open tools only.

rasca bitstream --board ulx3s [--preset P] [--shape P,C,L] [--weights FILE] [--seed N]

docs/boards.md has the keys of summary.json.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from boards import fit, reclock, timing
from boards.board import Board, Device
from boards.clocks import pll_of
from boards.family import DELAYS, FAMILIES, ROUTED, TOP, Family
from boards.outputs.output import chosen
from boards.progress import Runs
from boards.rtlil import allow_collisions
from boards.tools import run, tool, tool_version
from boards.uart import MIN_DIVISOR, baud_divisor
from golden import files
from golden.command_line import facts, load_weights
from golden.config import preset
from golden.errors import DIFFERENT, CommandError, bad_input
from hw.generate import plain_names
from hw.plan import Plan, compile_program
from hw.top import Rasca

MODULES = ("ulx3s", "orangecrab", "icebreaker", "upduino", "tang_nano_20k")


def boards() -> dict[str, Board]:
    """All boards by name, with all outputs that they may have."""
    found = [board for name in MODULES for board in import_module(f"boards.{name}").BOARDS]
    return {board.name: board for board in found}


def find_board(name: str, outputs: str = "") -> Board:
    """A board by its name, with the outputs that it always has and those named here.

    Raises
    ------
    ValueError
        Names the boards that there are, or the outputs that it may have.
    """
    known = boards()
    if name not in known:
        raise ValueError(f"board must be one of {', '.join(known)}, not {name!r}")
    return replace(known[name], outputs=chosen(known[name], outputs))


def synthesise(rtlil: str, family: str, folder: Path, console: Console) -> dict[str, Any]:
    """Yosys makes the netlist TOP.json of a design (module TOP) in `folder`, as it is placed.

    Returns it.

    Raises
    ------
    ValueError
        There is no Yosys.
    RuntimeError
        It failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TOP}.il").write_text(allow_collisions(plain_names(rtlil)))
    made = FAMILIES[family]
    script = f"read_rtlil {TOP}.il\n" + made.synthesis.format(top=TOP, json=f"{TOP}.json")
    (folder / f"{TOP}.ys").write_text(script + "\n")
    run([*tool("yosys"), f"{TOP}.ys"], folder, "yosys.log", console, "synthesis")
    netlist = json.loads((folder / f"{TOP}.json").read_text())
    if made.fold:
        console.print(made.fold(netlist))
        (folder / f"{TOP}.json").write_text(json.dumps(netlist))
    return netlist


def files_of(board: Board, rasca: Rasca) -> tuple[Any, dict[str, str]]:
    """The board's whole design (a `System`), and its RTLIL and constraints by file name."""
    from boards.system import System

    system = System(board=board, rasca=rasca)
    platform = board.platform()
    platform.add_resources(board.resources)
    files = platform.prepare(system, name=TOP, debug_verilog=False).files
    return system, {n: c if isinstance(c, str) else c.decode() for n, c in files.items()}


def design_of(board: Board, rasca: Rasca, folder: Path, console: Console) -> tuple[Any, str]:
    """The board's whole design (a `System`), and its RTLIL; its constraints go into `folder`."""
    with console.status("Verilog and constraints"):
        system, sources = files_of(board, rasca)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sources.items():
        if name.endswith(f".{FAMILIES[board.device.family].constraints}"):
            (folder / name).write_text(content)
    return system, sources[f"{TOP}.il"]


def with_clock(board: Board, mhz: float | None) -> Board:
    """The board with another clock for its engine, if one is given: what its PLL has next below.

    Raises
    ------
    ValueError
        The PLL has none near it.
    """
    if mhz is None:
        return board
    if not 1 <= mhz <= 400:
        raise ValueError(f"clock_mhz must be 1..400, not {mhz:g}")
    pll_of(board, 1e6 * mhz)
    return replace(board, clock_hz=1e6 * mhz)


def with_camera_clock(board: Board, mhz: float | None) -> Board:
    """The board with a camera that brings its own clock, if that is given.

    Raises
    ------
    ValueError
        The clock is out of range, or this board's camera takes the board's.
    """
    if mhz is None:
        return board
    found = replace(board, camera_clock_hz=1e6 * mhz)
    if not 3 <= mhz <= 36:
        raise ValueError(f"camera_mhz must be 3..36, not {mhz:g}")
    return found


def with_camera_module(board: Board, low_byte_first: bool, falling: bool) -> Board:
    """The board with a camera module whose bytes or pixel clock are the other way round.

    Raises
    ------
    ValueError
        The board has no camera, or one with a byte a pixel.
    """
    if not (low_byte_first or falling):
        return board
    if board.camera is None:
        raise ValueError(
            f"board must be one with a camera for LOW_BYTE_FIRST=1 and FALLING_EDGE=1, "
            f"not {board.name}"
        )
    board.camera.sensor.as_built(low_byte_first=low_byte_first)
    return replace(board, camera_low_byte_first=low_byte_first, camera_falling=falling)


def check_fit(board: Board, plan: Plan, console: Console) -> fit.Need:
    """Says in words what the engine takes of the device; ValueError where it does not fit."""
    device, wanted = board.device, fit.whole(board, plan)
    console.print(
        f"{plan.model.name} with shape {plan.engine} on {board.title} ({device.name}): about "
        f"{wanted.lut:,} of {device.lut:,} LUTs, {wanted.dsp} of {device.dsp} DSP blocks for "
        f"{plan.engine.multipliers} multipliers, {wanted.bram} of {device.bram} block RAMs"
        + (f", {wanted.spram} of {device.spram} SPRAMs" if device.spram else "")
    )
    short = wanted.short(device)
    if short:
        lacks = ", ".join(
            f"{a - b:,} {name} short ({a:,} wanted, {b:,} usable)" for name, (a, b) in short.items()
        )
        near = fit.nearest(board, plan.model)
        raise ValueError(
            f"{plan.model.name} with shape {plan.engine} does not fit {device.name}: "
            f"{lacks}; {near}"
        )
    return wanted


def carried_hz(board: Board, fmax_mhz: float) -> float:
    """The highest clock of the board's PLL that a design of this fmax carries; 0 if there is none.

    Its oscillator may be faster than it says (`Board.oscillator_error`); the clock is none above
    `Device.limit_hz`, and one that the UART's baud rate can be made of.
    """
    limit = min(1e6 * fmax_mhz / (1 + board.oscillator_error), board.device.limit_hz)
    try:
        while True:
            found = pll_of(board, limit).output_hz
            try:
                baud_divisor(found, board.baud)
                return found
            except ValueError:
                if found < MIN_DIVISOR * board.baud:
                    return 0.0
                limit = found * (1 - 1e-6)
    except ValueError:
        return 0.0


def summary_of(
    board: Board,
    plan: Plan,
    report: dict[str, Any],
    clock_hz: float,
    seconds: float,
    versions: dict[str, str],
    trained: bool = True,
    camera_rate: float | None = None,
    asked_hz: float | None = None,
    log: str = "",
) -> dict[str, Any]:
    """The figures of summary.json.

    trained: whether its weights are. camera_rate: frames/s of the camera as it is set up.
    asked_hz: of the engine's clock, asked of place and route; `clock_hz` if not given.
    log: of place and route.
    """
    device, early = board.device, timing.hold_violations(log)
    found = FAMILIES[device.family].utilisation(report)
    asked_hz = asked_hz or clock_hz
    fmax = timing.engine_fmax(report, asked_hz)
    cycles = plan.cycles_per_frame
    return {
        "board": board.name,
        "device": device.name,
        "preset": plan.model.name,
        "shape": str(plan.engine),
        "weights_trained": trained,
        "outputs": [output.name for output in board.outputs],
        "lut": found["lut"],
        "lut_available": device.lut,
        "ff": found["ff"],
        "dsp": found["dsp"],
        "dsp_available": device.dsp,
        "bram": found["bram"],
        "bram_available": device.bram,
        "spram": found.get("spram", 0),
        "fmax_mhz": round(fmax, 2),
        "clock_mhz": round(clock_hz / 1e6, 3),
        "clock_carried_mhz": round(carried_hz(board, fmax) / 1e6, 3),
        "asked_mhz": round(asked_hz / 1e6, 3),
        "timing_met": not early and timing.met(report, asked_hz, clock_hz, board.oscillator_error),
        "hold_violations": early,
        "cycles_frame": cycles,
        "frames_per_second": round(fmax * 1e6 / cycles, 1),
        "frames_per_second_clock": round(clock_hz / cycles, 1),
        "camera_line_rate_hz": round(plan.line_rate_hz(clock_hz), 1),
        "camera_frames_per_second": camera_rate and round(camera_rate, 1),
        "slowest": timing.slowest(report, asked_hz, clock_hz),
        "pin_delays": timing.pin_delays(report),
        "seconds": round(seconds, 1),
        "tool_versions": versions,
    }


AT_ONCE = 2
"""Runs of nextpnr side by side; each takes a core and up to 3 GB."""


def place_and_route(
    command: Sequence[str],
    device: Device,
    folder: Path,
    seeds: Sequence[int],
    asked_hz: float,
    console: Console,
) -> dict[int, float]:
    """nextpnr on the netlist in `folder` with each seed; the best one's files are left there.

    command: nextpnr and its options, but for files and the seed. asked_hz: of the engine's clock.

    Returns
    -------
    dict of int to float
        MHz that the engine's clock reaches, by seed.
    """
    family, title = FAMILIES[device.family], "place and route"

    def go(seed: int, place: Path, said: Console, read: Callable[[str], None]) -> None:
        there = "." if place == folder else ".."
        words = [*command, "--seed", str(seed), "--json", f"{there}/{TOP}.json"]
        words += [*family.file_words(there), "--report", "report.json"]
        words += ["--detailed-timing-report", *family.more_words]
        run(words, place, "nextpnr.log", said, title, read=read)

    def fmax(place: Path) -> float:
        return timing.engine_fmax(json.loads((place / "report.json").read_text()), asked_hz)

    if len(seeds) == 1:
        with console.status(title) as status:
            go(seeds[0], folder, console, Runs(title, console, status).reader())
        return {seeds[0]: fmax(folder)}
    places = {seed: folder / f"seed{seed}" for seed in seeds}

    def one(seed: int) -> float:
        places[seed].mkdir(exist_ok=True)
        name = f"seed {seed}"
        go(seed, places[seed], Console(quiet=True), runs.reader(name))
        runs.done(name)
        found = fmax(places[seed])
        console.print(f"seed {seed}: {found:.2f} MHz")
        return found

    console.print(f"{title} with {len(seeds)} seeds, {AT_ONCE} at once")
    with console.status(title) as status, ThreadPoolExecutor(AT_ONCE) as pool:
        runs = Runs(title, console, status)
        reached = dict(zip(seeds, pool.map(one, seeds), strict=True))
    best = places[max(seeds, key=lambda seed: reached[seed])]
    for name in (f"{TOP}.{family.result}", "report.json", "nextpnr.log"):
        shutil.copy(best / name, folder / name)
    if (best / DELAYS).exists():
        shutil.copy(best / DELAYS, folder / DELAYS)
    if (best / ROUTED).exists():
        (best / ROUTED).replace(folder / ROUTED)
    for place in places.values():
        (place / ROUTED).unlink(missing_ok=True)
    return reached


def untimed(family: Family, netlist: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """Of a routed design, what cells without times let the clock be; None where there are none.

    Returns
    -------
    dict of str to Any
        "cell" (type), "to_ns", "from_ns" (longest wires), "left_ns" (`Family.untimed_ns`),
        "limit_mhz".
    """
    if not family.untimed:
        return None
    wires = timing.untimed((folder / DELAYS).read_text(), family.untimed_cells(netlist))
    limit = 1e3 / (max(wires.values()) + family.untimed_ns)
    left = {"left_ns": family.untimed_ns, "limit_mhz": round(limit, 2)}
    return {"cell": family.untimed, **wires, **left}


def configured(
    device: Device, folder: Path, netlist: dict[str, Any], changed: reclock.Changes
) -> bool:
    """Whether a routed design's configuration was changed to these parameters of its cells."""
    configure = FAMILIES[device.family].configure
    return configure is not None and configure(folder, netlist, changed)


def build(
    board: Board,
    design: Callable[[], Rasca],
    folder: Path,
    seeds: Sequence[int],
    console: Console,
    trained: bool = True,
    fixed: bool = False,
) -> dict[str, Any]:
    """Synthesis, place and route, packing; returns the summary (also written).

    The board begins with its own clock. If the routed design carries another one of its PLL, the
    design is made again for that one. It differs in parameters of cells: for ECP5 and Gowin they
    are changed in what was routed, for iCE40 in the netlist, which is placed and routed as it was.
    A design that differs otherwise is synthesised, placed and routed again.

    design: makes the engine; it is asked for each clock. seeds: of place and route, at least one;
    of several the one whose clock is fastest is kept. trained: whether the weights are; the summary
    says it. fixed: the board's clock stays.

    Raises
    ------
    RuntimeError
        A tool failed.
    """
    begun = time.monotonic()
    device = board.device
    family = FAMILIES[device.family]
    names = ["yosys", family.place, family.pack]
    commands = {name: tool(name) for name in names}
    system, text = design_of(board, design(), folder, console)
    netlist = synthesise(text, device.family, folder, console)
    asked_hz = system.limit_hz
    place = [*commands[family.place], *family.device_words(device)]
    place += ["--freq", f"{asked_hz / 1e6:g}"] if family.frequency else []
    pack = [*commands[family.pack], *family.pack_words(device)]
    reached = place_and_route(place, device, folder, seeds, asked_hz, console)
    best = max(seeds, key=lambda seed: reached[seed])
    bound = untimed(family, netlist, folder)
    if bound:
        reached[best] = min(reached[best], bound["limit_mhz"])
    carried = carried_hz(board, reached[best])
    if carried and carried != system.pll.output_hz and not fixed:
        console.print(
            f"{reached[best]:.2f} MHz reached: the clock is {carried / 1e6:.2f} MHz, not "
            f"{system.pll.output_hz / 1e6:.2f}"
        )
        board = replace(board, clock_hz=carried)
        system, other = design_of(board, design(), folder, console)
        changed = reclock.changes(text, other)
        done = changed is not None and configured(device, folder, netlist, changed)
        if changed is None:
            netlist = synthesise(other, device.family, folder, console)
        else:
            reclock.apply(netlist, changed)
            (folder / f"{TOP}.json").write_text(json.dumps(netlist))
        if not done:
            place_and_route(place, device, folder, [best], asked_hz, console)
    (folder / ROUTED).unlink(missing_ok=True)
    run(pack, folder, "pack.log", console, "bitstream")
    report = family.counts(json.loads((folder / "report.json").read_text()), netlist)
    bound = untimed(family, netlist, folder)
    for clock in timing.engine_clocks(report, asked_hz) if bound else ():
        found = report["fmax"][clock]
        found["achieved"] = min(found["achieved"], bound["limit_mhz"])
    versions = {name: tool_version(name) for name in names}
    summary = summary_of(
        board,
        system.rasca.plan,
        report,
        system.pll.output_hz,
        time.monotonic() - begun,
        versions,
        trained,
        system.camera_frames_per_second,
        asked_hz,
        (folder / "nextpnr.log").read_text(),
    )
    if bound:
        summary["untimed"] = bound
    summary["seeds"] = {str(seed): round(fmax, 2) for seed, fmax in reached.items()}
    files.write(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def print_summary(summary: dict[str, Any], console: Console) -> None:
    table = facts()
    for key, value in summary.items():
        if key != "tool_versions":
            table.add_row(key.replace("_", " "), f"{value:,}" if type(value) is int else str(value))
    console.print(table)


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")],
    preset_name: Annotated[str | None, typer.Option("--preset", help="network")] = None,
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    weights: Annotated[Path | None, typer.Option(help="safetensors file")] = None,
    camera_mhz: Annotated[
        float | None, typer.Option(help="of the camera module's own oscillator, if it has one")
    ] = None,
    low_byte_first: Annotated[
        bool, typer.Option(help="the camera gives each pixel's lower byte first")
    ] = False,
    falling_edge: Annotated[
        bool, typer.Option(help="the camera's pins are right at PCLK's falling edge")
    ] = False,
    clock_mhz: Annotated[
        float | None, typer.Option(help="of the engine; else the highest that is carried")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="what the board shows besides, separated by commas")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of place and route; else the board's")] = None,
    seeds: Annotated[int, typer.Option(help="place and route with so many, keep the best")] = 1,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/bitstream"),
) -> None:
    """Builds the bitstream of a board."""
    console = Console()
    try:
        with bad_input():
            if not 1 <= seeds <= 100:
                raise ValueError(f"seeds must be 1..100, not {seeds}")
            board = with_camera_clock(find_board(board_name, outputs or ""), camera_mhz)
            board = with_camera_module(board, low_byte_first, falling_edge)
            board = with_clock(board, clock_mhz)
            model = preset(preset_name or board.preset, board.preset)
            try:
                engine = fit.configure(board, model, shape)
            except ValueError as error:
                near = fit.nearest(board, model)
                raise ValueError(f"{error}; {near}") from None
            check_fit(board, compile_program(model, engine), console)
            numbers = load_weights(weights, model)
            design = partial(Rasca, model, engine, numbers, readback=not board.events_only)
            place = folder / board.name / model.name
            with files.claimed(place):
                first = board.seed if seed is None else seed
                tried = range(first, first + seeds)
                summary = build(
                    board,
                    design,
                    place,
                    tried,
                    console,
                    trained=not numbers.untrained,
                    fixed=clock_mhz is not None,
                )
    except RuntimeError as error:
        raise CommandError(str(error), DIFFERENT) from None
    print_summary(summary, console)
    if not summary["timing_met"]:
        if summary["hold_violations"]:
            raise CommandError(
                f"timing not met: {summary['hold_violations']} edges come too early (nextpnr.log "
                "has them); another --seed may do",
                DIFFERENT,
            )
        wanted = summary["clock_mhz"] * (1 + board.oscillator_error)
        raise CommandError(
            f"timing not met: {summary['fmax_mhz']} MHz reached, {wanted:g} wanted; "
            "another --seed may do",
            DIFFERENT,
        )
    console.print(f"written to {place}")
