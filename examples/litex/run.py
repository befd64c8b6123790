"""A CPU uses the engine: a LiteX SoC (VexRiscv), simulated, and its answer compared.

    .venv/bin/python -m examples.litex.run [--preset vww_105x120] [--shape 8,1,2]

Needs a GCC for RISC-V (`apt-get install gcc-riscv64-unknown-elf`, or another one by --compiler) and
the Python package index, from which requirements.txt comes once, into build/litex/venv. Everything
else is Rasca's own: Verilog behind Wishbone, driver, Verilator. What the CPU prints on its UART is
compared with the integer model; the exit status is 1 where a line differs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from golden import files
from golden.command_line import load_weights
from golden.config import ModelConfig, preset
from golden.errors import CommandError, bad_input
from golden.images import stretch
from golden.model import IntegerModel
from golden.weights import Weights
from hw.bus import pages
from hw.bus.top import RascaBus
from hw.generate import to_verilog
from hw.plan.engine_config import EngineConfig, default_shape
from sim import runner

HERE = Path(__file__).resolve().parent
FOLDER = files.BUILD / "litex"
COMPILERS = ("riscv64-unknown-elf-gcc", "riscv32-unknown-elf-gcc", "riscv-none-elf-gcc")
CYCLES = 40_000_000
"""After so many the simulation gives up."""
EQUAL = "every line as the integer model has it"


def tools(folder: Path) -> Path:
    """The Python that has LiteX; made when the requirements are others than last time."""
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = (HERE / "requirements.txt").read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        words = ["-m", "pip", "-q", "--disable-pip-version-check", "install", "--require-hashes"]
        done = subprocess.run([python, *words, "-r", HERE / "requirements.txt"])
        if done.returncode:
            raise CommandError("expected LiteX from the Python package index, see pip's lines", 1)
        stamp.write_text(wanted)
    return python


def expected(model: ModelConfig, weights: Weights, pixels: torch.Tensor) -> list[str]:
    """The lines that the CPU prints if all is well (`main.c`)."""
    result = IntegerModel(model, weights).run(pixels[None])
    logits = result.logits[0, -1].tolist()
    return [
        "init 0",
        "load 0",
        "interrupt: weights are loaded",
        "interrupt: a decision",
        "status 0",
        f"row groups {model.row_groups}",
        *(f"logit {each}" for each in logits),
        "faults 0",
        f"answer {model.classes[int(result.decision[0])]}",
    ]


def given(folder: Path, design: RascaBus, model: ModelConfig, pixels: torch.Tensor) -> None:
    """Driver, and the data that the program holds: weights, a photograph with a word a pixel."""
    image = design.engine.weights_image()
    words = torch.zeros(model.image_height, model.image_width, 4, dtype=torch.uint8)
    words[..., : model.in_channels] = pixels.permute(1, 2, 0)
    names = ", ".join(f'"{one}"' for one in model.classes)
    lines = [
        "#include <stdint.h>",
        f"enum {{ WEIGHTS_BYTES = {len(image)} }};",
        "extern const uint8_t weights[];",
        "extern const uint32_t photograph[];",
        f"static const char *const CLASSES[] = {{{names}}};",
    ]
    data = [".section .rodata"]
    for name in ("weights", "photograph"):
        data += [f".global {name}", ".balign 4", f'{name}: .incbin "{name}.bin"']
    texts = {"given.h": lines, "data.S": data}
    contents = {name: "\n".join([*text, ""]) for name, text in texts.items()}
    contents |= {"weights.bin": image, "photograph.bin": words.numpy().tobytes()}
    contents |= {pages.HEADER: pages.c_header(design.registers), **pages.driver()}
    files.write_all(folder, contents)


def simulation(folder: Path) -> Path:
    """The SoC as a program."""
    verilator = runner.verilator_root() / "bin" / "verilator_bin"
    words = ["--cc", "--exe", "--top-module", "soc", "--Mdir", "work", "-Wno-fatal", "-Wno-lint"]
    sources = (folder / "sources.txt").read_text().split()
    for command in (
        [verilator, *words, "-O3", "--x-assign", "fast", *sources, HERE / "sim.cpp"],
        ["make", "-C", "work", "-f", "Vsoc.mk"],
    ):
        logged(command, folder / "simulation.log", cwd=folder, env=runner.environment())
    return folder / "work" / "Vsoc"


def logged(command: Sequence[str | Path], log: Path, **options) -> None:
    """A command whose output goes to a file, which an error names."""
    with log.open("a") as file:
        done = subprocess.run(command, stdout=file, stderr=file, **options)
    if done.returncode:
        raise CommandError(f"{Path(command[0]).name} ended with {done.returncode}, see {log}", 1)


def printed(program: Path) -> list[str]:
    """Lines that the CPU of a simulation says."""
    words = [program, str(CYCLES)]
    # its memories' contents lie beside the SoC
    done = subprocess.run(words, cwd=program.parents[1], stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def build(options: argparse.Namespace, folder: Path) -> tuple[Path, list[str]]:
    """The simulation, and what its CPU is to say."""
    with bad_input():
        model = preset(options.preset)
        shape = options.shape or str(default_shape(model))
        engine = EngineConfig.parse(shape, "loaded")  # no weights before the CPU brings them
        weights = load_weights(options.weights, model)
        with Image.open(options.image) as picture:
            pixels = stretch(picture, model)
        design = RascaBus("wishbone", model, engine, weights)
    if shutil.which(options.compiler) is None:
        raise CommandError(f"expected a GCC for RISC-V on PATH, not {options.compiler!r}")
    shutil.rmtree(folder, ignore_errors=True)
    given(folder / "given", design, model, pixels)
    files.write(folder / "engine.v", to_verilog(design, "rasca_wishbone"))
    command = [tools(FOLDER / "venv"), HERE / "soc.py", folder / "engine.v", folder / "given"]
    logged([*command, folder / "soc", options.compiler], folder / "soc.log")
    return simulation(folder / "soc"), expected(model, weights, pixels)


def parser() -> argparse.ArgumentParser:
    import skimage

    from golden.images import DEFAULT_PHOTOGRAPHS

    photograph = Path(skimage.__path__[0], "data", DEFAULT_PHOTOGRAPHS[0])
    made = argparse.ArgumentParser(
        prog="examples.litex.run", description=__doc__.partition("\n")[0]
    )
    made.add_argument("--preset", default="vww_105x120", help="network")
    made.add_argument("--shape", help="pixels,channels,lanes")
    made.add_argument("--weights", type=Path, help="safetensors file")
    made.add_argument("--image", type=Path, default=photograph, help="photograph")
    found = next((one for one in COMPILERS if shutil.which(one)), COMPILERS[0])
    made.add_argument("--compiler", default=found, help="GCC for RISC-V")
    return made


def main(words: Sequence[str] | None = None, folder: Path = FOLDER / "run") -> int:
    """Exit status: 0 equal, 1 not, 2 for input that cannot be used."""
    try:
        program, wanted = build(parser().parse_args(words), folder)
    except CommandError as error:
        print(f"litex: {error}", file=sys.stderr)
        return error.status
    said = printed(program)
    print(*said, sep="\n")
    if said != wanted:
        print("expected, by the integer model:", *wanted, sep="\n  ")
        return 1
    print(EQUAL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
