"""sim/cells/dp16kd.v: what Yosys makes of memories of many shapes does what they say."""

import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from boards import tools
from sim import cell_models, netlist, runner

BENCH = Path(__file__).with_name("dp16kd_tb.sv")
MODEL = cell_models.OURS / "dp16kd.v"
SCRIPT = """\
read_verilog -sv {bench}
synth_ecp5 -nodsp -top memories -json memories.json
rename memories memories_netlist
write_verilog -noattr memories.v
"""
OUTPUTS = {"p36": 5, "loose": 20}
"""Of the bench: the memory of which a bit is turned; the one that reads what is being written."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(cells of the netlist, which outputs differed: of the netlist, of the one with a fault)."""
    folder = tmp_path_factory.mktemp("memories")
    (folder / "memories.ys").write_text(SCRIPT.format(bench=BENCH))
    command = [*tools.tool("yosys"), "memories.ys"]
    tools.run(command, folder, "yosys.log", Console(quiet=True), "synthesis")
    text = (folder / "memories.v").read_text()
    simulation = runner.build(
        text + turned(text),
        top="dp16kd_tb",
        sources=[*cell_models.MODELS["ecp5"], BENCH],
        flags=netlist.FLAGS,
        public=False,
        optimise="build",
    )
    # not at random: words that the memories do not initialise are 0 on both sides
    runner.run(
        simulation,
        "tests.bench_dp16kd",
        arguments={"found": str(folder / "found.json")},
    )
    memories = json.loads((folder / "memories.json").read_text())["modules"]["memories"]["cells"]
    return memories, json.loads((folder / "found.json").read_text())


def turned(text: str) -> str:
    """The netlist again, with one bit of the first contents of p36 turned."""
    text = text.replace("module memories_netlist", "module memories_turned")
    end = text.index("\\p36.mem.0.0  (")
    at = text.rindex(".INITVAL_12(320'h", 0, end)
    at = text.index(")", at) - 1
    return f"{text[:at]}{int(text[at], 16) ^ 1:x}{text[at + 1 :]}"


def test_all_shapes(made):
    """Random traffic, first contents, resets, clock enables, byte enables, collisions."""
    assert made[1]["wrong"] == 1 << OUTPUTS["loose"]


def test_turned_bit_is_seen(made):
    assert made[1]["turned"] == 1 << OUTPUTS["loose"] | 1 << OUTPUTS["p36"]


def test_modes(made):
    """The netlist has every mode that the model knows, so that each was compared."""
    found = {name: set() for name in ("width", "pair", "WRITEMODE_A", "RESETMODE", "CLKBMUX")}
    for cell in made[0].values():
        if cell["type"] == "DP16KD":
            given = cell["parameters"]
            a, b = (int(given[f"DATA_WIDTH_{port}"], 2) for port in "AB")
            found["width"] |= {a, b}
            found["pair"] |= {b} if a == 36 else set()
            for name in ("WRITEMODE_A", "RESETMODE", "CLKBMUX"):
                found[name] |= {given[name]} if name in given else set()
            assert given["REGMODE_A"] == given["REGMODE_B"] == "NOREG"
    assert found == {
        "width": {1, 2, 4, 9, 18, 36},
        "pair": {9, 18, 36},
        "WRITEMODE_A": {"NORMAL", "WRITETHROUGH", "READBEFOREWRITE"},
        "RESETMODE": {"SYNC", "ASYNC"},
        "CLKBMUX": {"CLKB", "INV"},
    }


@pytest.mark.parametrize(
    "parameters, text",
    [
        ({"REGMODE_B": "REG"}, "REGMODE must be NOREG or OUTREG"),
        ({"RESETMODE": "ASYNC"}, "ASYNC_RESET_RELEASE the same"),
        ({"RESETMODE": "NONE", "ASYNC_RESET_RELEASE": "NONE"}, "RESETMODE must be SYNC or ASYNC"),
        ({"CSDECODE_A": "0b001"}, "CSDECODE must be 0b000"),
        ({"CLKAMUX": "CLKB"}, "CLKAMUX must be CLKA or INV"),
        ({"GSR": "ENABLED"}, "GSR must be AUTO or DISABLED"),
        ({"DATA_WIDTH_B": 36}, "36 bits are read only where 36 are written"),
        ({"DATA_WIDTH_A": 12}, "DATA_WIDTH must be 1, 2, 4, 9, 18 or 36"),
        ({"WRITEMODE_B": "OTHER"}, "WRITEMODE must be NORMAL, WRITETHROUGH or READBEFOREWRITE"),
        ({"OTHER": "1"}, "OTHER"),
        ({}, None),
    ],
)
def test_what_it_does_not_do(parameters, text, tmp_path):
    """Anything that Yosys does not make of a memory stops the build, in words."""
    given = ", ".join(
        f".{name}({value})" if isinstance(value, int) else f'.{name}("{value}")'
        for name, value in ({"GSR": "AUTO"} | parameters).items()
    )
    top = tmp_path / "top.v"
    top.write_text(f"module top (input clk);\nDP16KD #({given}) dut (.CLKA(clk));\nendmodule\n")
    program = runner.verilator_root() / "bin" / "verilator_bin"
    words = ["--lint-only", "-Wno-fatal", *netlist.FLAGS, "--top-module", "top", str(top)]
    done = subprocess.run(
        [str(program), *words, str(MODEL)], capture_output=True, text=True, env=runner.environment()
    )
    if text is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode and text in done.stderr
