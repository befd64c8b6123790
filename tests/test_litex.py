"""examples/litex: a CPU uses the engine; the whole of it where compiler and LiteX are at hand."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict

import pytest
import torch

from examples.litex import run
from golden.config import preset
from golden.errors import CommandError
from golden.images import default_images
from golden.quantise import default_weights
from hw.bus.top import RascaBus
from tests.test_driver import MODEL, SHAPE, STRICT

STUBS = {
    "generated/csr.h": """
        uint32_t uart_txfull_read(void);
        uint32_t uart_txempty_read(void);
        void uart_rxtx_write(uint32_t v);
        void engine_ev_enable_write(uint32_t v);
        void camera_width_write(uint32_t v);
        void camera_dma_base_write(uint64_t v);
        void camera_dma_length_write(uint32_t v);
        void camera_dma_enable_write(uint32_t v);
    """,
    "generated/mem.h": """
        #define ENGINE_BASE 0x90000000u
    """,
    "irq.h": """
        #define ENGINE_INTERRUPT 1
        uint32_t irq_pending(void);
        uint32_t irq_getmask(void);
        void irq_setmask(uint32_t mask);
        void irq_setie(uint32_t on);
    """,
}
"""What LiteX generates or brings, as the program uses it."""


def test_requirements_are_pinned():
    entries = re.split(r"^(?=\w)", (run.HERE / "requirements.txt").read_text(), flags=re.M)[1:]
    pins = dict(re.match(r"([\w.-]+)==([\w.]+) ", entry).groups() for entry in entries)
    assert pins["litex"] == "2024.12" and "pythondata-cpu-vexriscv" in pins
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("litex") / "given"
    model, weights = MODEL, default_weights(MODEL)
    design = RascaBus("wishbone", model, SHAPE, weights)
    picture = torch.arange(model.image_height * model.image_width, dtype=torch.int32)
    pixels = (picture % 251).to(torch.uint8).reshape(1, model.image_height, model.image_width)
    run.given(folder, design, model, pixels)
    return folder, design, pixels


def test_data_of_the_program(given):
    """Weights as the loader takes them, a word a pixel."""
    folder, design, pixels = given
    assert (folder / "weights.bin").read_bytes() == design.engine.weights_image()
    size = len(design.engine.weights_image())
    assert f"WEIGHTS_BYTES = {size} " in (folder / "given.h").read_text()
    words = memoryview((folder / "photograph.bin").read_bytes()).cast("I").tolist()
    assert words == pixels.flatten().tolist()
    names = re.findall(r'^(\w+): .incbin "(\w+)\.bin"', (folder / "data.S").read_text(), re.M)
    assert names == [("weights", "weights"), ("photograph", "photograph")]


def test_program_is_c99(given, tmp_path):
    """Against the driver as it is; and every line that is expected of it is there."""
    folder, _, pixels = given
    for name, text in STUBS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"#include <stdint.h>\n{text}")
    source = run.HERE / "main.c"
    command = ["gcc", *STRICT, "-fsyntax-only", f"-I{folder}", f"-I{tmp_path}", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = run.expected(MODEL, default_weights(MODEL), pixels)
    for line in lines:
        text = re.sub(r"-?\d+$", "", line)
        assert text in source.read_text() or line.startswith("answer "), line
    assert len(lines) == 8 + MODEL.class_count


def test_page_shows_what_is_printed():
    model = preset("vww_105x120")
    pixels = default_images(model)[0]
    lines = run.expected(model, default_weights(model), pixels)
    lines = [re.sub(r"^logit .*", "logit ...", line) for line in (*lines, run.EQUAL)]
    shown = "\n".join(f"    {line}" for line in lines)
    assert f"\n{shown}\n" in (run.HERE / "README.md").read_text()


@pytest.mark.parametrize(
    "words, line",
    [
        (
            ("--compiler", "no-such-gcc"),
            "litex: expected a GCC for RISC-V on PATH, not 'no-such-gcc'",
        ),
        (("--shape", "8,1"), "litex: a shape is three whole numbers"),
        (("--preset", "none"), "litex: preset must be one of"),
    ],
)
def test_refused(words, line, capsys, tmp_path):
    assert run.main(words, tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith(line) and said.count("\n") == 1


def test_no_package_index(monkeypatch, tmp_path):
    """One line, and nothing that the next run would take for an installed LiteX."""
    monkeypatch.setattr(run, "HERE", tmp_path)
    (tmp_path / "requirements.txt").write_text("litex==0 --hash=sha256:0\n")
    monkeypatch.setattr(run.venv, "create", lambda folder, **_: folder.mkdir())
    monkeypatch.setattr(run.subprocess, "run", lambda *_: subprocess.CompletedProcess((), 1))
    with pytest.raises(CommandError, match="expected LiteX from the Python package index"):
        run.tools(tmp_path / "venv")
    assert not (tmp_path / "venv" / "requirements.txt").exists()


needs = pytest.mark.skipif(
    not any(map(shutil.which, run.COMPILERS)) or not (run.FOLDER / "venv").is_dir(),
    reason="no GCC for RISC-V, or examples.litex.run has not installed LiteX",
)


@needs
def test_whole(tmp_path, capsys):
    """A tiny engine in the SoC; with another weight in the ROM the CPU tells other logits."""
    (tmp_path / "tiny.json").write_text(json.dumps(asdict(MODEL)))
    words = ("--preset", str(tmp_path / "tiny.json"), "--shape", "4,1,2")
    assert run.main(words, tmp_path / "run") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == run.EQUAL and said[0] == "init 0"
    rom = tmp_path / "run" / "soc" / "soc_rom.init"
    lines = rom.read_text().splitlines()
    image = (tmp_path / "run" / "given" / "weights.bin").read_bytes()
    first = lines.index(next(one for one in lines if one.endswith(image[:4][::-1].hex())))
    lines[first + 8] = f"{int(lines[first + 8], 16) ^ 0x40404040:08x}"
    rom.write_text("\n".join([*lines, ""]))
    other = run.printed(tmp_path / "run" / "soc" / "work" / "Vsoc")
    assert other[:5] == said[:5] and other != said[:-1]
