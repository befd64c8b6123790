"""`make screen`: a whole board with a screen, simulated from a camera's pins to the DVI cable.

rasca screen [--board ulx3s-12f] [--preset vww_105x120] [--shape P,C,L] [--image FILE]

The board's design (System: PLLs, camera front end, engine, outputs) as it goes into synthesis, the
cells that it instantiates modelled; an OV7670 sends a photograph; the bits of the cable's four
pairs are decoded as a screen does it, and compared pixel by pixel with golden.screen.compose of
what the golden model makes of the photograph.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from boards import build, fit, tools
from boards.system import System
from golden import files, screen, video
from golden.command_line import load_weights, writable
from golden.config import preset
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input
from golden.model import IntegerModel
from golden.weights import Weights
from hw.generate import plain_names
from hw.top import Rasca
from sim import camera_models, cell_models, netlist, runner, whole_board

BENCH = Path(__file__).with_name("screen_tb.sv")
PINS = Path(__file__).with_name("cells") / "ecp5_pins.v"
FLAGS = ("--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines")
REST_US = 6000
"""After the camera's last line: the engine is through, its decision was counted."""
PICTURES = 2.1
"""So many pictures of the screen are recorded: a whole one is among them."""


@dataclass(frozen=True, kw_only=True)
class Cable:
    """What was recorded: bits as in golden.video.deserialise, seconds of the simulation."""

    bits: np.ndarray
    build_seconds: float
    seconds: float


def output(system: System) -> Any:
    """The board's screen; ValueError if it has none."""
    for found in system.board.outputs:
        if found.name == "hdmi":
            return found
    raise ValueError(f"{system.board.name} must have a screen (OUTPUTS=hdmi)")


def layout(system: System) -> screen.Layout:
    """Of the board's screen."""
    plan = system.rasca.plan
    return output(system).layout(plan, fit.free_blocks(system.board, plan))


def check_pace(system: System) -> None:
    """ValueError unless the engine keeps up with the camera: else no frame is decided."""
    plan, sensor = system.rasca.plan, system.camera.sensor
    most = system.binning * plan.line_rate_hz(system.pll.output_hz)
    if most < sensor.line_hz:
        raise ValueError(
            f"shape must be one that keeps up with {sensor.line_hz:,.0f} lines a second of the "
            f"camera, not {plan.engine} with {most:,.0f}"
        )


def to_verilog(rtlil: str, folder: Path, console: Console) -> str:
    """A design that is not synthesised, as Verilog.

    Raises
    ------
    RuntimeError
        Yosys failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "screen.il").write_text(plain_names(rtlil))
    script = "read_rtlil screen.il\nproc\nmemory_collect\nwrite_verilog -noattr screen.v\n"
    (folder / "screen.ys").write_text(script)
    tools.run([*tools.tool("yosys"), "screen.ys"], folder, "screen.log", console, "Verilog")
    return (folder / "screen.v").read_text()


def play(
    system: System, verilog: str, exposure: camera_models.Exposure, optimise: str = "run"
) -> Cable:
    """Compiles and powers up the board, sends a frame, records the cable."""
    sensor, mode = system.camera.sensor, output(system).mode
    built = runner.build(
        # of modules with one name, the first is taken
        PINS.read_text() + verilog,
        top="screen_tb",
        sources=[BENCH, *cell_models.MODELS["ecp5"]],
        parameters={
            "REST": REST_US,
            "RECORD": round(1e6 * PICTURES / mode.pictures_per_second),
            "OSCILLATOR_PS": round(1e12 / system.board.oscillator_hz),
            "BIT_PS": round(1e11 / mode.clock_hz),
        },
        flags=[flag for flag in netlist.FLAGS if flag != "--no-timing"] + [*FLAGS],
        optimise=optimise,
        public=False,
    )
    with TemporaryDirectory(prefix="rasca-screen-") as temporary:
        pins, cable = (Path(temporary) / name for name in ("pins.txt", "cable.txt"))
        camera_models.write(pins, camera_models.pins(sensor, [exposure]))
        pclk_ps = round(1e12 / sensor.clock_hz)
        seconds = runner.run(
            built,
            "sim.screen_bench",
            plusargs=[f"+pins={pins}", f"+pclk={pclk_ps}", f"+cable={cable}"],
        )
        letters = np.frombuffer(cable.read_bytes(), np.uint8)
    bits = np.stack([letters >> i & 1 for i in range(4)])
    return Cable(bits=bits, build_seconds=built.seconds, seconds=seconds)


def expected(system: System, weights: Weights, picture: torch.Tensor) -> screen.Shown:
    """What there is to be seen after one frame, (channels, h, w) bytes."""
    model = system.rasca.plan.model
    golden = IntegerModel(model, weights).run(picture[None])
    slope, shift = video.slopes(weights, model)
    table, by = video.probability_table(weights.scales["logit"])
    return screen.Shown(
        kept=screen.keep(picture.permute(1, 2, 0).numpy(), layout(system).step),
        heat=np.stack([video.heat(state.numpy(), slope, shift) for state in golden.state[0]]),
        probability=np.array(
            [
                video.probability(logits.tolist(), model.stop_index, table, by)
                for logits in golden.logits[0]
            ]
        ),
        latest=model.row_groups - 1,
        decision=int(golden.decision[0]),
        frames=1,
        faults=0,
    )


def judge(system: System, shown: screen.Shown, cable: Cable) -> tuple[np.ndarray, str | None]:
    """The picture on the screen, and what is wrong with it; None if nothing is."""
    there = layout(system)
    picture, lines = video.deserialise(cable.bits, there.mode)
    odd = {line for line in lines if line not in ((0, there.mode.total[0]), _line(there.mode))}
    if odd:
        return picture, f"lines of (seen, all) pixels {sorted(odd)[0]}, not {_line(there.mode)}"
    different = np.argwhere((picture != screen.compose(there, shown)).any(axis=-1))
    if len(different):
        y, x = different[0].tolist()
        return picture, f"{len(different):,} pixels differ, the first at column {x} of line {y}"
    return picture, None


def _line(mode: video.Mode) -> tuple[int, int]:
    return mode.width, mode.total[0]


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")] = "ulx3s-12f",
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    weights: Annotated[str | None, typer.Option(help="safetensors file")] = None,
    image: Annotated[str | None, typer.Option(help="picture file")] = None,
    picture: Annotated[Path | None, typer.Option(help="copy what the screen shows there")] = None,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/screen"),
) -> None:
    """Simulates a board with a screen and looks at its cable."""
    console = Console(highlight=False)
    with bad_input():
        writable(picture)
        board = build.find_board(board_name, "hdmi")
        model = preset(preset_name)
        engine = fit.configure(board, model, shape)
        numbers = load_weights(weights, model)
        rasca = Rasca(model, engine, numbers)
        tools.tool("yosys")
        system, sources = build.files_of(board, rasca)
        check_pace(system)
        exposure, name = whole_board.photograph(system, image)
        place = folder / board.name / model.name
    console.print(f"{model.name} with shape {engine}: {name} on {board.title} and its screen")
    try:
        with bad_input(), files.claimed(place):
            verilog = to_verilog(sources[f"{build.TOP}.il"], place, console)
            with console.status("the whole board"):
                cable = play(system, verilog, exposure)
            shown = expected(system, numbers, whole_board.seen(system, exposure))
            found, wrong = judge(system, shown, cable)
    except (RuntimeError, runner.SimulationError) as error:
        raise CommandError(str(error), BROKEN) from None
    Image.fromarray(found).save(place / "screen.png")
    if picture is not None:
        with bad_input():
            files.write(picture, (place / "screen.png").read_bytes())
    summary = {
        "board": board.name,
        "preset": model.name,
        "shape": str(engine),
        "image": name,
        "weights_digest": numbers.digest,
        "pixels": found[:, :, 0].size,
        "wrong": wrong,
        "decision": model.classes[shown.decision],
        "bits": cable.bits.size,
        "seconds": {"build": round(cable.build_seconds, 1), "simulate": round(cable.seconds, 1)},
    }
    files.write(place / "summary.json", json.dumps(summary, indent=1) + "\n")
    if wrong:
        raise CommandError(wrong, DIFFERENT)
    console.print(
        f"{summary['pixels']:,} pixels equal, decoded of {cable.bits.size:,} bits; "
        f"{summary['decision']}; written to {place}"
    )
