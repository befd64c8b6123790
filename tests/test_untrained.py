"""Weights that nobody trained: every output that they answer for says so."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer
from amaranth.hdl import Elaboratable, Fragment, Module
from PIL import Image
from safetensors import safe_open

from boards import build, flash_image
from golden import command_line, quantise
from golden.config import preset
from golden.weights import Weights
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from tests.command import invoke as run
from tests.test_boards import REPORT

ROOT = Path(__file__).resolve().parents[1]
TINY = """name = "tiny"
image_height = 20
image_width = 32
heads = 1
head_channels = [2, 3, 4, 5]
state_channels = 4
classifier_hidden = 6
"""
SAID = "the weights of tiny are random, not trained: its answers mean nothing"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line.files, "BUILD", tmp_path / "build")
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def weights(tiny):
    return quantise.default_weights(preset(tiny))


def test_one_place_decides(weights, tmp_path):
    shipped = quantise.default_weights(preset("vww_105x120"))
    assert not shipped.untrained and shipped.warning is None
    assert weights.untrained and weights.warning.startswith(SAID)
    weights.save(tmp_path / "w.safetensors")
    config = preset(tmp_path / "tiny.toml")
    again = Weights.load(tmp_path / "w.safetensors", config)
    assert again.untrained and again.digest == weights.digest
    replace(weights, untrained=False).save(tmp_path / "t.safetensors")
    assert not Weights.load(tmp_path / "t.safetensors", config).untrained
    with safe_open(tmp_path / "t.safetensors", "pt") as file:  # files of trained ones stay equal
        assert "untrained" not in file.metadata()["rasca"]


def test_whoever_loads_them_says_so(tiny, capsys, tmp_path):
    config = preset(tiny)
    for _ in range(2):  # the second time from where they are kept
        assert command_line.load_weights(None, config).untrained
        assert f"rasca: {SAID}" in capsys.readouterr().err
    command_line.load_weights(None, config).save(tmp_path / "w.safetensors")
    capsys.readouterr()
    for kept in (True, False):
        more = dict(kind="int", checkpoint=None, calibrate=None) if kept else {}
        load = command_line.load_network if kept else command_line.load_weights
        given = (config,) if kept else (tmp_path / "w.safetensors", config)
        load(*given, **(more | {"weights": tmp_path / "w.safetensors"} if kept else more))
        assert capsys.readouterr().err.count(SAID) == 1
    command_line.load_weights(None, preset("vww_105x120"))
    assert capsys.readouterr().err == ""


def test_visualise(tiny, tmp_path):
    Image.new("RGB", (32, 20)).save(tmp_path / "a.png")
    words = ["--image", tmp_path / "a.png", "--preset", tiny, "-o", tmp_path / "out"]
    done = run("visualise", *map(str, words))
    assert done.exit_code == 0 and f"rasca: {SAID}" in done.stderr
    assert json.loads((tmp_path / "out" / "scan.json").read_text())["weights_trained"] is False


def test_verilog(tiny, tmp_path):
    done = run(
        "verilog", "--preset", str(tiny), "--shape", "4,1,1", "--folder", str(tmp_path / "v")
    )
    assert done.exit_code == 0 and f"rasca: {SAID}" in done.stderr
    (summary,) = (tmp_path / "v").glob("*.json")
    assert json.loads(summary.read_text())["weights_trained"] is False
    head = summary.with_suffix(".v").read_text()[:2000]
    assert f"// WARNING       {SAID}" in head


def test_bitstream_and_flash_image(weights, tmp_path):
    config = preset(tmp_path / "tiny.toml")
    plan = Rasca(config, EngineConfig(pixels=4, channels=1, lanes=1), weights).plan
    board = build.find_board("ulx3s-25f")
    for trained in (True, False):
        found = build.summary_of(board, plan, REPORT, 75e6, 1, {}, trained)
        assert found["weights_trained"] is trained
        image = flash_image.write(bytes(64), "0" * 64, tmp_path, "x", flash_image.OFFSET, trained)
        assert image["weights_trained"] is trained


def test_the_builder_passes_it_on(tiny, monkeypatch, tmp_path):
    asked = []

    def made(board, rasca, place, seed, console, trained, **_):
        asked.append(trained)
        return {"timing_met": True}

    monkeypatch.setattr(build, "build", made)
    monkeypatch.setattr(build, "check_fit", lambda *_: None)
    monkeypatch.setattr(build, "print_summary", lambda *_: None)
    monkeypatch.setattr(
        build.fit, "configure", lambda *_: EngineConfig(pixels=4, channels=1, lanes=1)
    )
    monkeypatch.setattr(build, "Rasca", lambda *_, **__: SimpleNamespace(plan=None))
    for name in (str(tiny), "vww_105x120"):
        words = ["--board", "ulx3s-25f", "--preset", name, "--folder", str(tmp_path)]
        assert run("bitstream", *words).exit_code == 0
    assert asked == [False, True]


def test_no_warning_of_an_engine_that_was_not_elaborated(tiny, tmp_path):
    """make fuzz, bitstream and report ask some engines for their plan only."""
    code = (
        "import sys; from rasca.__main__ import run\n"
        "from rasca.commands import COMMANDS, Command\n"
        "COMMANDS['x'] = Command('tests.test_untrained:left', '')\n"
        "sys.exit(run(['x', '--preset', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0 and "UnusedElaboratable" not in done.stderr, done.stderr


def left(preset_name: Annotated[str, typer.Option("--preset")]) -> None:
    """An engine that nobody elaborates, after something else was: from then on Amaranth warns."""

    class Empty(Elaboratable):
        def elaborate(self, platform):
            return Module()

    Fragment.get(Empty(), None)
    model = preset(preset_name)
    Rasca(model, EngineConfig(pixels=4, channels=1, lanes=1), quantise.default_weights(model))
