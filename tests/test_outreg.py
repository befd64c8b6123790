"""boards/outreg.py: registers behind block RAMs are taken into them where that changes nothing."""

import copy
import json
from pathlib import Path

import pytest
from rich.console import Console

from boards import outreg, tools
from sim import cell_models, netlist, runner

BENCH = Path(__file__).with_name("outreg_tb.sv")
NAMES = (
    *("plain", "enable", "reset", "half", "edges", "more", "one", "cleared"),
    *("always_", "narrow", "both", "reset9"),
)
"""The memories of the bench, in the order of their outputs."""
TAKEN = {"plain": 36, "enable": 36, "always_": 18, "narrow": 9, "both": 18}
"""Bits of those whose registers are taken in."""
KEPT = {
    "a flip-flop is reset": 2,
    "enables differ": 1,
    "a flip-flop has another clock": 1,
    "an output goes elsewhere, too": 1,
    "a flip-flop begins with 1": 1,
    "it is reset": 1,
}
WRONG = ("reset", "half", "edges", "one", "reset9")
"""Those that differ where all registers are taken in that stand alone behind an output."""
QUIET = Console(quiet=True)


def yosys(folder, *lines):
    (folder / "script.ys").write_text("\n".join(lines) + "\n")
    tools.run([*tools.tool("yosys"), "script.ys"], folder, "yosys.log", QUIET, "synthesis")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(netlist of Yosys, the folded one, what was folded, which memories differed)."""
    folder = tmp_path_factory.mktemp("late")
    yosys(
        folder,
        f"read_verilog -sv {BENCH}",
        "synth_ecp5 -nodsp -top late -json late.json",
    )
    before = json.loads((folder / "late.json").read_text())
    after, wrong = copy.deepcopy(before), copy.deepcopy(before)
    found = outreg.fold(after)
    with pytest.MonkeyPatch.context() as patch:  # whatever clock, enable and reset there are
        patch.setattr(
            outreg, "_reason", lambda cells, cell, *_: "it is reset" if is_reset(cell) else None
        )
        outreg.fold(wrong)
    text = ""
    for name, one in (("late_netlist", after), ("late_wrong", wrong)):
        (folder / f"{name}.json").write_text(json.dumps(one))
        yosys(
            folder,
            f"read_json {name}.json",
            f"rename late {name}",
            f"write_verilog -noattr {name}.v",
        )
        text += (folder / f"{name}.v").read_text()
    simulation = runner.build(
        text,
        top="outreg_tb",
        sources=[*cell_models.MODELS["ecp5"], BENCH],
        flags=netlist.FLAGS,
        public=False,
        optimise="build",
    )
    runner.run(simulation, "tests.bench_dp16kd", arguments={"found": str(folder / "found.json")})
    return before, after, found, json.loads((folder / "found.json").read_text())


def is_reset(cell):
    return any(cell["connections"][f"RST{port}"] != ["0"] for port in "AB")


def cells(design, kind):
    return {n: c for n, c in design["modules"]["late"]["cells"].items() if c["type"] == kind}


def test_equal(made):
    assert made[3]["wrong"] == 0


def test_what_must_not_be_taken_in_is_seen(made):
    """Another pass that folds the kept ones, too, makes another function of each."""
    assert made[3]["turned"] == sum(1 << NAMES.index(name) for name in WRONG)


def test_what_is_taken_in(made):
    before, after, found, _ = made
    assert found == {"ports": 6, "bits": sum(TAKEN.values()), "kept": KEPT}
    gone = len(cells(before, "TRELLIS_FF")) - len(cells(after, "TRELLIS_FF"))
    assert gone == found["bits"]
    for name, cell in cells(after, "DP16KD").items():
        modes = {cell["parameters"][f"REGMODE_{port}"] for port in "AB"}
        assert ("OUTREG" in modes) == (name.split(".")[0] in TAKEN), name
        wide = int(cell["parameters"]["DATA_WIDTH_B"], 2) == 36
        assert not wide or len(modes) == 1
        if name.split(".")[0] == "enable":
            assert isinstance(cell["connections"]["OCEB"][0], int)


def block(**changes):
    """A netlist of a block RAM with two bits at port A, each in a flip-flop."""
    ram = {
        "type": "DP16KD",
        "parameters": {"DATA_WIDTH_A": f"{2:032b}", "DATA_WIDTH_B": f"{2:032b}"},
        "connections": {"CLKA": [2], "RSTA": ["0"], "DOA0": [3], "DOA1": [4], "OCEA": ["1"]},
        "port_directions": {"CLKA": "input", "RSTA": "input", "DOA0": "output", "DOA1": "output"}
        | {"OCEA": "input"},
    }
    found = {"ram": ram}
    for i in (0, 1):
        pins = {"CLK": [2], "DI": [3 + i], "Q": [5 + i], "CE": [7], "LSR": ["0"]}
        found[f"flop{i}"] = {
            "type": "TRELLIS_FF",
            "parameters": {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"},
            "connections": pins,
            "port_directions": dict.fromkeys(pins, "input") | {"Q": "output"},
        }
    for name, (pins, parameters) in changes.items():
        found[name]["connections"] |= pins
        found[name]["parameters"] |= parameters
    ports = {"clk": [2], "q": [5, 6], "ce": [7], "o": [8]}
    return {
        "modules": {"top": {"cells": found, "ports": {n: {"bits": b} for n, b in ports.items()}}}
    }


@pytest.mark.parametrize(
    "changes, why",
    [
        ({}, None),
        ({"flop0": ({}, {"CEMUX": "CE"}), "flop1": ({}, {"CEMUX": "CE"})}, None),
        ({"ram": ({}, {"CLKAMUX": "INV"})}, "a flip-flop has another clock"),
        ({"flop1": ({"CLK": [7]}, {})}, "a flip-flop has another clock"),
        ({"flop1": ({}, {"LSRMUX": "INV"})}, "a flip-flop is reset"),
        ({"flop0": ({"LSR": [7]}, {})}, "a flip-flop is reset"),
        ({"flop0": ({}, {"REGSET": "SET"})}, "a flip-flop begins with 1"),
        ({"flop0": ({}, {"CEMUX": "INV"})}, "an enable is inverted"),
        ({"flop0": ({}, {"CEMUX": "0"})}, "an enable is inverted"),
        ({"flop0": ({}, {"CEMUX": "CE"})}, "enables differ"),
        ({"ram": ({"RSTA": [7]}, {})}, "it is reset"),
        ({"ram": ({"DOA1": [8]}, {})}, "an output goes to no flip-flop"),
        ({"ram": ({"DOA1": [7]}, {})}, "an output goes to no flip-flop"),
        ({"flop1": ({"DI": [3]}, {})}, "an output goes elsewhere, too"),
    ],
)
def test_each_reason(changes, why):
    design = block(**changes)
    found = outreg.fold(design)
    left = design["modules"]["top"]["cells"]
    if why is None:
        assert found == {"ports": 1, "bits": 2, "kept": {}} and list(left) == ["ram"]
        pins, given = left["ram"]["connections"], left["ram"]["parameters"]
        assert (pins["DOA0"], pins["DOA1"]) == ([5], [6]) and given["REGMODE_A"] == "OUTREG"
        assert pins["OCEA"] == ([7] if changes else ["1"]) and "REGMODE_B" not in given
    else:
        assert (
            found == {"ports": 0, "bits": 0, "kept": {why: 1}}
            and left == block(**changes)["modules"]["top"]["cells"]
        )
