# amaranth: UnusedElaboratable=no
"""A real bitstream: synthesis, place and route and packing of a whole, small system."""

import json
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from boards import build, fit, tools
from golden.config import ModelConfig, preset
from golden.random_weights import random_weights
from hw.plan import compile_program
from hw.top import Rasca

MODEL = ModelConfig(
    name="tiny", image_height=15, image_width=64, heads=1, head_channels=(2, 3, 4, 4),
    state_channels=4, spatial_attention="none",
)  # fmt: skip


PLL = {
    f"{clock}_{name}"
    for clock in ("CLKI", "CLKFB", "CLKOP", "CLKOS")
    for name in ("DIV", "CPHASE", "FPHASE")
}
RECIPE = re.compile(r"<!-- recipe:begin -->\n```python\n(.*)```\n<!-- recipe:end -->", re.S)


@pytest.fixture(scope="module")
def board():
    """The board that docs/boards.md adds, in the way that it says."""
    page = (Path(__file__).resolve().parent.parent / "docs" / "boards.md").read_text()
    module = ModuleType("boards.colorlight")
    exec(compile(RECIPE.search(page)[1], "boards/colorlight.py", "exec"), module.__dict__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(build, "MODULES", (*build.MODULES, "colorlight"))
        yield build.find_board("colorlight")


@pytest.fixture(scope="module")
def made(board):
    """That board's engine and host link with a tiny network; yowasp's tools cannot read /tmp."""
    design = partial(Rasca, MODEL, fit.configure(board, MODEL, "4,1,1"), random_weights(MODEL, 1))
    folder = Path("build/test_bitstream")
    return folder, build.build(board, design, folder, (1, 2), Console())


def test_recipe(board):
    """Its own network fits."""
    model = preset(board.preset)
    plan = compile_program(model, fit.configure(board, model, None))
    assert not fit.need(plan, board.device).short(board.device)


def test_summary(made):
    folder, summary = made
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["timing_met"] and summary["fmax_mhz"] >= summary["clock_mhz"]
    # both seeds are told of, the better one is kept
    assert set(summary["seeds"]) == {"1", "2"}
    assert summary["fmax_mhz"] == max(summary["seeds"].values())
    assert summary["clock_mhz"] == summary["clock_carried_mhz"] <= summary["fmax_mhz"]
    assert summary["dsp"] == 4 and 0 < summary["lut"] < summary["lut_available"]
    assert summary["ff"] > 1000 and summary["bram"] > 0
    assert all(summary["tool_versions"].values())


def test_it_ships_the_clock_that_it_carries(made, board):
    """The clock is not the board's own: the same cells and wires, with numbers for another clock.

    PLL and numbers are read from what is packed."""
    folder, summary = made
    assert 0.95 * summary["fmax_mhz"] <= summary["clock_mhz"] != board.clock_hz / 1e6
    best = max(summary["seeds"], key=summary["seeds"].get)
    first, shipped = (
        (folder / place / "rasca.config").read_text() for place in (f"seed{best}", ".")
    )
    pairs = [
        pair
        for pair in zip(first.splitlines(), shipped.splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    kinds = {re.match(r"word: (\w+(\.K\d\.\w+)?) ", line)[1] for pair in pairs for line in pair}
    assert {kind for kind in kinds if not kind.endswith(".INIT")} < PLL
    # a table that holds a bit of a number is all ones or all zeros
    bits = [line.split()[-1] for pair in pairs for line in pair if ".INIT" in line]
    assert not (folder / build.ROUTED).exists()
    assert bits and set(bits) == {"0" * 16, "1" * 16}
    words = dict(re.findall(r"^word: (\w+) ([01]+)$", shipped, re.M))
    divide = {name: int(words[f"{name}_DIV"], 2) + 1 for name in ("CLKI", "CLKFB")}
    mhz = board.oscillator_hz / 1e6 / divide["CLKI"] * divide["CLKFB"]
    assert summary["clock_mhz"] == pytest.approx(mhz, abs=1e-3)
    report = json.loads((folder / "report.json").read_text())
    assert mhz <= min(found["achieved"] for found in report["fmax"].values())


def test_bitstream_is_of_the_device(made):
    """The preamble, and the command that checks the IDCODE of an LFE5U-25F (0x41111043)."""
    bits = (made[0] / "rasca.bit").read_bytes()
    start = bits.index(b"\xff\xff\xbd\xb3")
    assert b"\xe2\x00\x00\x00\x41\x11\x10\x43" in bits[start : start + 64]


def test_same_netlist_same_bytes(made):
    """Packing again gives the same bitstream."""
    folder, _ = made
    command = [*tools.tool("ecppack"), "rasca.config", "again.bit", "--compress"]
    tools.run(command, folder, "again.log", Console(), "bitstream")
    assert (folder / "again.bit").read_bytes() == (folder / "rasca.bit").read_bytes()
