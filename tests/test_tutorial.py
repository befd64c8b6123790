"""docs/tutorial.md, run as it stands: each command of the page in order, on the drawn shapes.

What takes minutes or a board (bitstream, program, host) is parsed by the same table as make's, and
the engine that it would build is fitted to the board.
"""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from boards import fit
from boards.build import find_board
from golden.config import preset
from golden.data import load_any
from golden.weights import Weights
from hw.plan import compile_program
from rasca import make
from sim import main as sim_main
from tests.command import invoke, parse

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
ONLY_CHECKED = ("bitstream", "program", "host")


def blocks(page):
    """The lines of the page's fenced blocks, which a reader would type."""
    return [
        line
        for block in re.findall(r"^```\n(.*?)^```$", page, flags=re.M | re.S)
        for line in block.splitlines()
    ]


def words_of(line):
    """(target, its variables) of a make line; one that make would refuse raises."""
    _, target, *given = shlex.split(line)
    values = dict(one.split("=", 1) for one in given)
    make.check([target], values)
    return target, values


def run(line, folder):
    """As a shell in the checkout would; the output."""
    if line.startswith("python "):
        script, *words = shlex.split(line)[1:]
        before, sys.argv = sys.argv, [script, *words]
        try:
            runpy.run_path(script, run_name="__main__")
        finally:
            sys.argv = before
        return ""
    target, values = words_of(line)
    words = make.words(target, values)
    parse(words)
    if target in ONLY_CHECKED:
        return ""
    result = invoke(*words, from_make=True)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


def test_the_page_runs(tmp_path, monkeypatch):
    (tmp_path / "build").mkdir()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sim_main, "OUTPUT", tmp_path / "build/sim")
    monkeypatch.setattr("golden.files.BUILD", tmp_path / "build")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network only waits for more of them
    lines = blocks(PAGE.read_text(encoding="utf-8"))
    try:
        said = {line.split()[1]: run(line, tmp_path) for line in lines}
    finally:
        torch.set_num_threads(threads)
    order = "labels train visualise evaluate early-termination sim report bitstream flash-image"
    order += " program host"
    assert [name for name in said if not name.endswith(".py")] == order.split()
    network = preset("examples/shapes.toml")
    weights = Weights.load("build/train/shapes/weights.safetensors", network)
    assert weights.early is not None and not weights.untrained
    found = json.loads(Path("build/evaluate.json").read_text())
    assert found["images"] > 20 and found["accuracy"] > 0.5  # a third by chance
    assert "8 of 8 equal" in said["sim"] and "(circle_00" in said["sim"]
    assert Path("build/report/shapes/report.html").is_file()
    assert Path("build/visualise/scan.gif").is_file()


def test_engine_of_the_page_fits_its_board():
    """What `make bitstream` would begin with."""
    network, board = preset(str(ROOT / "examples/shapes.toml")), find_board("icebreaker")
    plan = compile_program(network, fit.configure(board, network, None))
    assert not fit.need(plan, board.device).short(board.device)
    assert board.weights == "loaded"  # as the page says of it


def test_a_wrong_line_is_seen(tmp_path, monkeypatch):
    """The test above would fail on an option or a value that is none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(make.VariableError, match="expected one of .* not EPOCH="):
        run("make train DATA=x EPOCH=3", tmp_path)
    with pytest.raises(AssertionError, match="x: no such folder"):
        run("make train DATA=x EPOCHS=3", tmp_path)
    with pytest.raises(make.VariableError, match="expected BOARD="):
        run("make program PRESET=x", tmp_path)
    assert blocks("```\na\nb\n```\n    c\n```\nd\n```\n") == ["a", "b", "d"]


def test_readme_links_the_page():
    assert "(docs/tutorial.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_shapes_are_the_same_every_time(tmp_path):
    shapes = runpy.run_path(str(ROOT / "examples/shapes.py"))
    shapes["main"](tmp_path / "a", 3)
    shapes["main"](tmp_path / "b", 3)
    classes = preset(str(ROOT / "examples/shapes.toml")).classes
    samples = load_any(tmp_path / "a", classes=classes)
    assert [sample.label for sample in samples] == [0] * 3 + [1] * 3 + [2] * 3
    pixels = [np.asarray(Image.open(sample.path).convert("RGB")) for sample in samples]
    for sample, one in zip(samples, pixels, strict=True):
        other = tmp_path / "b" / sample.path.relative_to(tmp_path / "a")
        assert other.read_bytes() == sample.path.read_bytes()
        assert one.shape == (80, 96, 3)
    assert len({one.tobytes() for one in pixels}) == 9
