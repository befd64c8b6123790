# amaranth: UnusedElaboratable=no
"""boards/flash_image.py: the file, its summary, and what is refused."""

import json
import zlib

import pytest

from boards import build, fit, flash_image
from boards.system import System
from golden.config import preset
from golden.random_weights import random_weights
from hw.top import Rasca
from tests.command import invoke


def run(*arguments):
    return invoke("flash-image", *arguments)


@pytest.mark.parametrize("name, network", [("icebreaker", None), ("upduino", "vww_140x160")])
def test_command(tmp_path, name, network):
    """What is written is what the loader in that board's bitstream reads."""
    board = build.find_board(name)
    model = preset(network or board.preset)
    weights = random_weights(model, 3)
    weights.save(tmp_path / "w.safetensors")
    words = ("--preset", network) if network else ()
    common = ("--weights", tmp_path / "w.safetensors", "--folder", tmp_path)
    found = run("--board", name, *words, *common)
    assert found.exit_code == 0, found.output
    summary = json.loads((tmp_path / f"{name}_{model.name}.flash.json").read_text())
    content = (tmp_path / summary["image"]).read_bytes()
    design = Rasca(model, fit.configure(board, model, None), weights)
    loader = System(board=board, rasca=design).flash
    image = design.engine.weights_image()
    assert content == flash_image.flash_image(image, loader.config)
    assert loader.offset == 0x40000 and loader.length == summary["weights_bytes"] == len(image)
    assert len(content) == summary["bytes"] == summary["weights_bytes"] + 20
    assert summary["weights_crc32"] == f"{zlib.crc32(image):08x}"
    assert summary["offset"] == "0x40000" and "-o 0x40000" in summary["write"]
    assert int(summary["end"], 0) == 0x40000 + len(content)


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
        (("--offset", "0x20000"), "offset must be 0x40000, where every bitstream reads its"),
        (("--weights", "nosuch.safetensors"), "no such file"),
        (("--shape", "8,1"), "pixels,channels,lanes"),
        (
            ("--board", "ulx3s"),
            "expected a board that loads its weights from flash (icebreaker, upduino), not ulx3s",
        ),
        (
            ("--weights", "golden/default_weights/vww_210x240.safetensors"),
            "made for vww_210x240 (config digest d9d202bff492), not for vww_105x120_grey",
        ),
    ],
)
def test_bad_input(tmp_path, arguments, text):
    found = run(*arguments, "--folder", tmp_path)
    assert found.exit_code == 2 and text in found.output and found.output.count("\n") == 1
