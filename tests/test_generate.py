"""The generated Verilog: reproducible, labelled, and read by two tools without complaint."""

import json
import re
import subprocess
import sys

import pytest

from golden.config import ModelConfig
from golden.random_weights import random_weights
from hw import generate
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import runner
from tests.command import invoke

SMALL = ModelConfig(
    name="small",
    image_height=15,
    image_width=40,
    heads=2,
    head_channels=(3, 4, 5, 6),
    state_channels=8,
    spatial_attention="banded",
    channel_attention=True,
    in_channels=3,
)


def engine(seed=1):
    return Rasca(SMALL, EngineConfig.parse("5,2,2"), random_weights(SMALL, seed))


@pytest.fixture(scope="module")
def text():
    return generate.to_verilog(engine())


def test_same_bytes_and_header(text):
    design = engine()
    assert generate.to_verilog(design) == text
    assert f"digest {SMALL.digest}" in text and design.config_digest in text
    assert f"{design.engine.digest:08x}" in text
    assert not re.search(r"/(home|root|work|tmp)/", text)
    assert generate.to_verilog(engine(seed=2)) != text


def test_names_hold_no_brackets(text):
    r"""`\x[0]` would be bit 0 of x to Yosys' abc9 (tests/test_rtlil.py)."""
    names = set(re.findall(r"\\\S+", text))
    assert len(names) > 1000 and not [name for name in names if "[" in name]
    assert "\\operand.0" in names


def test_verilator_lint(text, tmp_path):
    """Verilator's default lint, less what Amaranth's Verilog is made of: it extends operands
    implicitly, compares with a range's end, and gives each case's default before the case."""
    path = tmp_path / "rasca.v"
    path.write_text(text)
    found = subprocess.run(
        [
            runner.verilator_root() / "bin" / "verilator_bin",
            "--lint-only",
            "--top-module",
            "rasca",
            "-Wno-WIDTHEXPAND",
            "-Wno-WIDTHTRUNC",
            "-Wno-CMPCONST",
            "-Wno-UNSIGNED",
            "-Wno-CASEINCOMPLETE",
            str(path),
        ],
        capture_output=True,
        text=True,
        env=runner.environment(),
    )
    assert found.returncode == 0, found.stderr[-3000:]


def test_yosys_reads_it(text, tmp_path):
    """Yosys elaborates it, finds no problem, and keeps the memories as memories."""
    path = tmp_path / "rasca.v"
    path.write_text(text)
    script = (
        "from pyosys import libyosys as ys; d = ys.Design();"
        f"[ys.run_pass(p, d) for p in ('read_verilog {path}', 'hierarchy -check -top rasca',"
        "'proc', 'check -assert', 'opt_clean')]"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
    assert "Warning" not in found.stdout


def test_register_count():
    text = """module a(clk);
  reg [3:0] count = 4'h0;
  reg flag;
  reg [7:0] comb;
  reg [7:0] mem [15:0];
  reg [7:0] _0_;
  always @* comb = count;
  always @(posedge clk) begin
    count <= count + 1;
    flag <= count[0];
    mem[count] <= comb;
    _0_ <= mem[count];
  end
endmodule
"""
    assert generate.register_bits(text) == 5


def run(*arguments):
    return invoke("verilog", *arguments)


def test_command(tmp_path):
    found = run("--preset", "vww_105x120", "--folder", str(tmp_path))
    assert found.exit_code == 0, found.output
    summary = json.loads((tmp_path / "rasca_vww_105x120_8_1_2.json").read_text())
    assert (tmp_path / summary["verilog"]).read_text().count("\n") == summary["verilog_lines"]
    assert (tmp_path / summary["weights_image"]).stat().st_size == summary["weights_image_bytes"]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--preset", "nosuch"), "nosuch"),
        (("--shape", "8,1"), "pixels,channels,lanes"),
        (("--shape", "8,1,3"), "lanes"),
        (("--shape", "2,1,1"), "pixels must be 3..64, not 2"),
        (("--weights", "nosuch.safetensors"), "no such file"),
    ],
)
def test_bad_input(arguments, text, tmp_path):
    found = run(*arguments, "--folder", str(tmp_path))
    assert found.exit_code == 2 and text in found.output and found.output.count("\n") == 1
