# amaranth: UnusedElaboratable=no
"""After synthesis: netlists of tiny engines equal the golden model; a turned bit is noticed."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from boards import build
from boards.family import FAMILIES
from golden.command_line import Photographs
from golden.config import ModelConfig
from golden.random_weights import random_weights
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import cell_models, netlist, runner
from tests.command import invoke

LUTS = Path(__file__).with_name("turned_luts.v")
TABLES = {name: family.table for name, family in FAMILIES.items()}
TURNED = 12  # lookup tables with a bit that can be turned
NOTICED = {"ice40": 3, "ecp5": 3, "gowin": 2}  # at least; Gowin's sums are in no lookup tables
CONSOLE = Console(quiet=True)
CASES = {
    "ice40": (
        {"heads": 2, "head_channels": (2, 2, 2, 2), "attention_hidden": 2, "classifier_hidden": 2},
        EngineConfig.parse("4,1,2", "loaded", cells="ice40", parts="serial"),
    ),
    "ecp5": (
        {"heads": 1, "head_channels": (2, 3, 4, 4), "spatial_attention": "none"},
        # of nine products six in pairs, one in a cell of its own, two in LUTs
        EngineConfig.parse("3,3,1", cells="ecp5", parts="packed", dsps=4),
    ),
    "gowin": (
        {"heads": 1, "head_channels": (2, 2, 2, 2), "spatial_attention": "none"},
        EngineConfig.parse("3,1,1", cells="gowin"),
    ),
}


def turnable(found: dict, family: str) -> None:
    """Makes a bit of some lookup tables turnable: one that its constant inputs let be reached."""
    rng, tables = random.Random(1), found["modules"][build.TOP]["cells"]
    table = TABLES[family]
    names = sorted(name for name, cell in tables.items() if cell["type"] == table.cell)
    for number, name in enumerate(rng.sample(names, TURNED)):
        cell = tables[name]
        nets = [cell["connections"][pin][0] for pin in table.inputs]
        fixed = {place: int(net) for place, net in enumerate(nets) if net in ("0", "1")}
        reached = [b for b in range(16) if all(b >> p & 1 == v for p, v in fixed.items())]
        cell["type"] = f"turned_{family}"
        cell["parameters"] |= {"BIT": f"{rng.choice(reached):032b}", "NUMBER": f"{number:032b}"}


EVERY = {"gowin": pytest.mark.every}
PARAMS = [pytest.param(name, marks=EVERY.get(name, ())) for name in CASES]


@pytest.fixture(scope="module", params=PARAMS)
def made(request, tmp_path_factory):
    """(Rasca, netlist, compiled netlist, picture) of a tiny engine with turnable bits."""
    sizes, engine = CASES[request.param]
    model = ModelConfig(name="tiny", image_height=20, image_width=64, state_channels=4, **sizes)
    weights, folder = random_weights(model, 1), tmp_path_factory.mktemp(request.param)
    rasca = Rasca(model, engine, weights)
    found = netlist.netlist_of(rasca, request.param, folder, CONSOLE)
    cells = netlist.cells(found)
    turnable(found, request.param)
    text = netlist.to_verilog(found, folder, CONSOLE)
    compiled = netlist.prepare(rasca, weights, text, sources=(LUTS,), optimise="build")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 64), dtype=np.uint8)
    return rasca, cells, compiled, torch.from_numpy(pixels)


def test_engine_alone_has_readback():
    """Also where the board is built without: the bench waits for each word of the state."""
    sizes, shape = CASES["ice40"]
    model = ModelConfig(name="tiny", image_height=20, image_width=64, state_channels=4, **sizes)
    board, weights = build.find_board("icebreaker"), random_weights(model, 1)
    assert board.events_only
    alone, whole = (netlist.engine_of(board, model, shape, weights, w) for w in (False, True))
    assert alone.engine.readback and not whole.engine.readback


def play(made, row_groups=4, *plusargs):
    rasca, _, compiled, pixels = made
    loaded = rasca.plan.engine.weight_memory == "loaded"
    image = rasca.engine.weights_image() if loaded else None
    return netlist.play(compiled, pixels, row_groups, load=image, plusargs=plusargs)


def test_equal(made):
    """State, logits and decision at the ports; the memories, multipliers and LUTs are cells."""
    rasca, cells, _, _ = made
    result = play(made)
    assert netlist.complaint(result, 4, rasca.engine.digest) is None
    assert [row.compared for row in result.frames[0].rows] == [rasca.plan.model.n * 4 + 2] * 4
    kinds = {"ice40": ("SB_LUT4", "SB_MAC16", "SB_RAM40_4K", "SB_SPRAM256KA"),
             "ecp5": ("LUT4", "MULT18X18D", "DP16KD", "TRELLIS_DPR16X4"),
             "gowin": ("LUT4", "ALU", "MULT9X9", "SDPX9B", "RAM16SDP4")}  # fmt: skip
    assert all(cells[kind] > 0 for kind in kinds[rasca.plan.engine.cells])
    assert sum(cells.values()) > 4000 and "$scopeinfo" not in cells


def test_some_row_groups(made):
    """A frame that breaks off: so many row groups are compared, the decision says why."""
    result = play(made, 2)
    assert netlist.complaint(result, 2, made[0].engine.digest) is None
    assert len(result.frames[0].rows) == 2
    assert netlist.complaint(result, 4, made[0].engine.digest) == "2 row groups came, not 4"


def test_turned_bits(made):
    """Of single bits of random lookup tables, turned one at a time, many are noticed.

    Not all: what serves faults or the loader's errors does nothing in a good frame.
    """
    found = []
    for number in range(TURNED):
        try:
            result = play(made, 4, f"+turn={number}")
            found.append(netlist.complaint(result, 4, made[0].engine.digest))
        except runner.SimulationError:  # it never came to an end
            found.append("hangs")
        except ValueError as error:  # a row, say, that no frame is there for
            found.append(str(error))
    least = NOTICED[made[0].plan.engine.cells]
    assert sum(text is not None for text in found) >= least, found


def test_complaints(made):
    result = play(made)
    digest = made[0].engine.digest
    assert netlist.complaint(result, 4, digest ^ 1) == (
        f"weights_digest is {digest:08x}, not {digest ^ 1:08x}"
    )
    result.frames[0].decision = None
    assert netlist.complaint(result, 4, digest) == "no decision came"
    result.frames.clear()
    assert netlist.complaint(result, 4, digest) == "0 row groups came, not 4"


def test_stricter():
    """iCE40's block RAM: bits that are written while they are read come out inverted."""
    runner.simulate(
        netlist.stricter(cell_models.MODELS["ice40"][0].read_text()),
        "tests.bench_netlist",
        top="SB_RAM40_4K",
        flags=netlist.FLAGS,
        optimise="build",
        public=False,
    )


# ---- command ----


def command(*words):
    return invoke("netlist", *words)


@pytest.mark.parametrize("wrong", [False, True])
def test_command(made, wrong, monkeypatch, tmp_path):
    """Table, summary.json and exit status, of the netlist that is there.

    wrong: the golden model has other weights, which is a difference.
    """
    rasca, cells, compiled, pixels = made
    model = rasca.plan.model
    board = next(b for b in build.boards().values() if b.device.family == rasca.plan.engine.cells)
    if wrong:
        compiled = replace(compiled, weights=random_weights(model, 2))
    found = {"modules": {build.TOP: {"cells": {name: {"type": name} for name in cells}}}}
    shown = Photographs(pixels=pixels[None], names=("noise",))
    for name, value in {
        "preset": model,
        "Rasca": rasca,
        "load_weights": compiled.weights,
        "load_photographs": shown,
        "netlist_of": found,
        "to_verilog": "",
        "prepare": compiled,
    }.items():
        monkeypatch.setattr(netlist, name, lambda *_, value=value, **_more: value)
    monkeypatch.setattr(netlist.fit, "configure", lambda *_: rasca.plan.engine)
    (tmp_path / board.name / "tiny").mkdir(parents=True)
    result = command("--board", board.name, "--folder", str(tmp_path), "--row-groups", "2")
    assert result.exit_code == (1 if wrong else 0), result.output
    summary = json.loads((tmp_path / board.name / "tiny" / "summary.json").read_text())
    assert set(summary) == {
        *("board", "device", "part", "preset", "shape", "image", "weights_digest", "config_digest"),
        *("netlist_digest", "cells", "models", "row_groups", "row_groups_equal", "wrong"),
        *("values_compared", "decision", "cycles", "seconds", "tool_versions"),
    }
    assert summary["board"] == board.name and summary["image"] == "noise"
    assert summary["cells"] == dict.fromkeys(cells, 1) and summary["row_groups"] == 2
    assert summary["row_groups_equal"] == (0 if wrong else 2)
    assert set(summary["seconds"]) == {"synthesis", "build", "simulate"}
    assert (summary["wrong"] is not None) == wrong and summary["decision"] is None
    if wrong:
        assert "rasca: first difference: frame 0, row group 0, stage state" in result.output
    else:
        assert "row groups equal" in result.output


@pytest.mark.parametrize(
    "words, text",
    [
        (["--board", "ulx4s"], "board must be one of ulx3s"),
        (["--preset", "vww"], "vww"),
        (["--row-groups", "22"], "--row-groups must be 1..19 or 21, not 22"),
        (["--row-groups", "20"], "--row-groups must be 1..19 or 21, not 20"),
        (["--row-groups", "0"], "--row-groups must be 1..19 or 21, not 0"),
        (["--shape", "8,1,1"], "at least 2 lanes"),
        (["--image", "nowhere.png"], "nowhere.png"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_bad_input(words, text):
    result = command(*words)
    assert result.exit_code == 2 and text in result.output
    assert result.output.startswith("rasca: ") and result.output.count("\n") == 1


def test_failing_tools(monkeypatch, tmp_path):
    """A tool that fails is exit status 3, one that is missing 2; both are said."""

    def fails(*_):
        raise RuntimeError("synthesis failed")

    monkeypatch.setattr(netlist, "netlist_of", fails)
    result = command("--folder", str(tmp_path))
    assert result.exit_code == 3 and "rasca: synthesis failed" in result.output

    def missing(name):
        raise ValueError(f"{name}: not found; pip install pyosys brings it")

    monkeypatch.setattr(netlist.tools, "tool", missing)
    result = command("--folder", str(tmp_path))
    assert result.exit_code == 2 and "pip install pyosys brings it" in result.output
