"""Why an ECP5's engine never sleeps: what nextpnr-ecp5 knows of DCCA, its gate for clocks.

If a later nextpnr holds the gate's enable to a time, this fails, and `cells="ecp5"` may sleep.
"""

import json

import pytest
from rich.console import Console

from boards.tools import run, tool

# an enable between registers and a gate; registers behind it, a register that reads them
DESIGN = """
module top(input clk, input in, output reg out);
  reg enable;
  reg [3:0] count = 0, slow;
  wire gated;
  always @(posedge clk) begin
    count <= count + in;
    enable <= ^count;
    out <= ^slow;
  end
  DCCA gate(.CLKI(clk), .CE(enable & ~count[0]), .CLKO(gated));
  always @(posedge gated) slow <= {slow[2:0], count[3]};
endmodule
"""
PINS = """LOCATE COMP "clk" SITE "G2";
FREQUENCY PORT "clk" 100 MHZ;
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    (folder / "top.v").write_text(DESIGN)
    (folder / "top.lpf").write_text(PINS)
    (folder / "top.ys").write_text("read_verilog top.v\nsynth_ecp5 -top top -json top.json\n")
    place = (
        *("--25k", "--package", "CABGA381", "--json", "top.json", "--lpf", "top.lpf"),
        *("--lpf-allow-unconstrained", "--detailed-timing-report", "--report", "report.json"),
    )
    console = Console(quiet=True)
    run([*tool("yosys"), "top.ys"], folder, "yosys.log", console, "synthesis")
    run([*tool("nextpnr-ecp5"), *place], folder, "nextpnr.log", console, "place and route")
    return json.loads((folder / "report.json").read_text())


def test_the_enable_of_a_gate_is_held_to_no_time(report):
    ends = {
        (end["cell"], net["driver"])
        for net in report["detailed_net_timings"]
        for end in net["endpoints"]
    }
    cells = {cell for cell, _ in ends}
    assert any(cell.startswith("enable") for cell in cells)  # registers' inputs are
    assert not any(cell.startswith("gate") for cell in cells)


def test_ways_between_a_clock_and_the_gated_one_are_told_and_no_more(report):
    """Each clock has a limit; the ways across have a length, which nothing is asked of."""
    assert len(report["fmax"]) == 2
    across = [p for p in report["critical_paths"] if "gated" in p["from"] + p["to"]]
    across = [p for p in across if p["from"] != p["to"]]
    assert len(across) == 2
    assert not any("constraint" in p for p in across)
