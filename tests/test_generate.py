"""The generated Verilog: reproducible, labelled, and read by two tools without complaint."""

import fnmatch
import functools
import gc
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

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


TINY = replace(
    SMALL,
    name="tiny",
    image_width=34,
    heads=1,
    state_channels=2,
    spatial_attention="full",
    channel_attention=False,
    in_channels=1,
)
# fields of no bits (one head, one lane, one channel) are in the second
SHAPES = {
    "banded": (SMALL, EngineConfig.parse("5,2,2")),
    "full": (TINY, EngineConfig.parse("4,1,1")),
    "serial": (
        replace(SMALL, spatial_attention="none"),
        EngineConfig(pixels=4, channels=1, lanes=2, parts="serial"),
    ),
}


@functools.cache
def generated(shape):
    """The text of one of SHAPES."""
    model, engine_config = SHAPES[shape]
    return generate.to_verilog(Rasca(model, engine_config, random_weights(model, 1)))


@pytest.fixture
def text():
    return generated("banded")


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


def lint(path, *before):
    """Verilator's strictest lint of a file, behind others."""
    return subprocess.run(
        [
            runner.verilator_root() / "bin" / "verilator_bin",
            *("--lint-only", "-Wall", "--top-module", "rasca", *before, path),
        ],
        capture_output=True,
        text=True,
        env=runner.environment(),
    )


def written(folder, text):
    """The text as a file, with the waivers for it."""
    path, control = folder / "engine.v", folder / "engine.vlt"
    path.write_text(text)
    control.write_text(generate.waivers(path.name))
    return path, control


@pytest.mark.parametrize("shape", SHAPES)
def test_verilator_finds_nothing(shape, tmp_path):
    path, control = written(tmp_path, generated(shape))
    found = lint(path, control)
    assert found.returncode == 0 and found.stderr == "", found.stderr[-3000:]


def test_each_waiver_is_needed_and_has_a_reason(tmp_path):
    """A rule that nothing breaks is not waived; the waivers are for the one file."""
    seen = ""
    for shape in SHAPES:
        path, _ = written(tmp_path, generated(shape))
        seen += lint(path).stderr
    for rule, message, reason in generate.WAIVERS:
        found = re.findall(rf"^%Warning-{rule}: \S+ (.*)", seen, flags=re.M)
        assert any(fnmatch.fnmatch(line, f"*{message}*") for line in found), rule
        control = generate.waivers(path.name)
        assert f'// {reason}\nlint_off -rule {rule} -file "*engine.v"' in control
    other = path.rename(tmp_path / "other.v")
    assert lint(other, tmp_path / "engine.vlt").returncode != 0


@pytest.mark.parametrize(
    "planted",
    [
        # a register one bit too narrow
        lambda text: re.sub(
            r"reg \[(\d+):0\] sum0_0 = ",
            lambda found: f"reg [{int(found[1]) - 1}:0] sum0_0 = ",
            text,
        ),
        # a port of an instance without its highest bit
        lambda text: text.replace(".pixels__red(pixel_red)", ".pixels__red(pixel_red[6:0])"),
        # one bit into a signal of several
        lambda text: text.replace("endmodule", "wire [3:0] planted = pixel_sof;\nendmodule", 1),
    ],
    ids=["register", "port", "assignment"],
)
def test_a_planted_width_error_is_found(planted, text, tmp_path):
    wrong = planted(text)
    assert wrong != text
    path, control = written(tmp_path, wrong)
    found = lint(path, control)
    assert found.returncode != 0 and "-WIDTH" in found.stderr, found.stderr


def test_no_signal_has_no_bits(monkeypatch):
    """Yosys declares one as [-1:0], which is two; its attributes go with it."""
    text = "  (* a *)\n  (* init = 1'h0 *)\n  wire [-1:0] \\x.y ;\n  (* b *)\n  wire [0:0] z;\n"
    assert generate.no_zero_wide(text) == "  (* b *)\n  wire [0:0] z;\n"
    text = generated("full")
    monkeypatch.setattr(generate, "no_zero_wide", lambda text: text)
    whole = generated.__wrapped__("full")
    assert "[-1:0]" in whole and "[-1:0]" not in text
    for module in whole.split("endmodule"):
        for name in re.findall(r"wire \[-1:0\] (\S+?) ?;", module):
            assert len(re.findall(rf"(?<![\w$.\\]){re.escape(name)}(?![\w$.])", module)) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_yosys_reads_it(shape, tmp_path):
    """Yosys elaborates it, finds no problem, and keeps the memories as memories."""
    path, _ = written(tmp_path, generated(shape))
    script = (
        "from pyosys import libyosys as ys; d = ys.Design();"
        f"[ys.run_pass(p, d) for p in ('read_verilog {path}', 'hierarchy -check -top rasca',"
        "'proc', 'check -assert', 'opt_clean')]"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
    lines = [line for line in found.stdout.splitlines() if "Warning" in line]
    # a memory of one word is none: the loader's flag, and some of this small network's
    one_word = rf"Replacing memory \\{'' if shape == 'full' else 'changed '}"
    assert [line for line in lines if not re.search(one_word, line)] == []


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("shape", SHAPES)
def test_icarus_reads_it(shape, tmp_path):
    path, _ = written(tmp_path, generated(shape))
    found = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-s", "rasca", "-o", tmp_path / "out", path],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0 and found.stdout + found.stderr == "", found.stderr[-3000:]


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
    found = lint(tmp_path / summary["verilog"], tmp_path / summary["lint_waivers"])
    assert found.returncode == 0 and found.stderr == "", found.stderr[-3000:]
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


def test_no_garbage_is_looked_for_meanwhile(monkeypatch):
    """Elaboration takes a third less so; after it, and after a failure, all is as it was."""
    seen = []

    def convert(*_, **__):
        seen.append(gc.isenabled())
        raise RuntimeError("broken")

    design = engine()
    monkeypatch.setattr(generate.verilog, "convert", convert)
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with pytest.raises(RuntimeError, match="broken"):
                generate.to_verilog(design)
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
    assert seen == [False, False]
