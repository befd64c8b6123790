"""boards/flash_image.py: the file, its summary, and what is refused."""

import json
import zlib

import pytest
import typer
from typer.testing import CliRunner

from boards import flash_image
from boards.flash import FlashLoader
from golden.config import preset
from golden.random_weights import random_weights
from hw.config import EngineConfig
from hw.top import Rasca


def run(*arguments):
    app = typer.Typer()
    app.command()(flash_image.main)
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_command(tmp_path):
    model = preset("vww_105x120")
    weights = random_weights(model, 3)
    weights.save(tmp_path / "w.safetensors")
    design = Rasca(model, EngineConfig.parse("8,1,2", "loaded"), weights)
    image = design.engine.weights_image()
    found = run("--weights", tmp_path / "w.safetensors", "--folder", tmp_path)
    assert found.exit_code == 0, found.output
    summary = json.loads((tmp_path / "vww_105x120_8_1_2.flash.json").read_text())
    content = (tmp_path / summary["image"]).read_bytes()
    assert content == flash_image.flash_image(image, design.config_digest)
    assert len(content) == summary["bytes"] == summary["weights_bytes"] + 20
    assert summary["weights_crc32"] == f"{zlib.crc32(image):08x}"
    assert summary["offset"] == "0x40000" and "-o 0x40000" in summary["write"]
    assert int(summary["end"], 0) == 0x40000 + len(content)
    # the loader of that engine reads there what was written
    loader = FlashLoader(length=len(image), config=design.config_digest, divisor=2, wake_cycles=1)
    assert loader.offset == 0x40000 and loader.length == summary["weights_bytes"]


@pytest.mark.parametrize(
    "offset, text",
    [
        (0x40001, "offset must be a multiple of 0x10000, not 0x40001"),
        (0x10000, "offset must be at least 0x20000, behind the bitstream of 104090 bytes"),
        (0x400000, "offset must leave room for 29 bytes in a flash of 4194304, not 0x400000"),
    ],
)
def test_places(tmp_path, offset, text):
    with pytest.raises(ValueError, match=text):
        flash_image.write(bytes(9), "00" * 32, tmp_path, "x", offset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--preset", "nosuch"), "nosuch"),
        (("--offset", "here"), "offset must be a number, not 'here'"),
        (("--weights", "nosuch.safetensors"), "no such file"),
        (("--shape", "8,1"), "pixels,channels,lanes"),
    ],
)
def test_bad_input(tmp_path, arguments, text):
    found = run(*arguments, "--folder", tmp_path)
    assert found.exit_code == 2 and text in found.output and found.output.count("\n") == 1
