"""The runner: builds are kept, benches get their arguments, failures say what happened."""

import io
import time

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from rich.console import Console

from sim import runner


class Multiply(Component):
    """y = a * b, one cycle later."""

    a: In(8)
    b: In(8)
    y: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.a * self.b)
        return m


WRAPPER = """
module tb (input logic clk, input logic rst, output logic [15:0] y);
    multiply dut (.clk, .rst, .a(8'd3), .b(8'd5), .y);
endmodule
"""


@cocotb.test()
async def bench_product(dut):
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 0
    if hasattr(dut, "a"):
        dut.a.value, dut.b.value = 3, 5
    for _ in range(3):
        await RisingEdge(dut.clk)
    await ReadOnly()
    assert int(dut.y.value) == runner.arguments()["product"], "a wrong product"


def test_build_is_kept_and_benches_get_arguments(tmp_path):
    first = runner.build(Multiply(), folder=tmp_path)
    again = runner.build(Multiply(), folder=tmp_path)
    other = runner.build(Multiply(), folder=tmp_path, flags=["-Wno-WIDTH"])
    assert not first.cached and again.cached and first.folder == again.folder
    assert not other.cached and other.folder != first.folder
    runner.run(first, __name__, bench="bench_product", arguments={"product": 15})
    with pytest.raises(runner.SimulationError) as failure:
        runner.run(first, __name__, bench="bench_product", arguments={"product": 16})
    assert "bench_product failed" in str(failure.value) and "a wrong product" in str(failure.value)
    with pytest.raises(runner.SimulationError):
        runner.run(first, __name__, bench="bench_of_another_name")
    with pytest.raises(ValueError, match="without trace=True"):
        runner.run(first, __name__, waves=tmp_path / "waves.vcd")


def test_wrapper_and_waves(tmp_path):
    wrapper = tmp_path / "tb.sv"
    wrapper.write_text(WRAPPER)
    text = runner.verilog(Multiply(), "multiply")
    assert text == runner.verilog(Multiply(), "multiply")
    options = {"top": "tb", "sources": [wrapper], "public": False, "folder": tmp_path}
    build = runner.build(text, trace=True, **options)
    waves = tmp_path / "waves.vcd"
    runner.run(build, __name__, bench="bench_product", arguments={"product": 15}, waves=waves)
    assert "multiply" not in waves.read_text() and "$var" in waves.read_text()


def test_no_compiler_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(runner.SimulationError, match=r"not found: g\+\+, make, ar; apt") as e:
        runner.build("module nothing; endmodule", top="nothing", folder=tmp_path / "build")
    assert "\n" not in str(e.value)


def test_errors_of_a_build(tmp_path):
    with pytest.raises(runner.SimulationError, match="compiling top failed"):
        runner.build("module top; nonsense endmodule", folder=tmp_path)
    with pytest.raises(ValueError, match="optimise must be one of run, build, not 'slow'"):
        runner.build("module top; endmodule", optimise="slow")
    spaces = tmp_path / "a folder"
    with pytest.raises(runner.SimulationError, match="spaces in its name"):
        runner.build("module top; endmodule", folder=spaces)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_lives_while_it_compiles(terminal, monkeypatch, tmp_path):
    """Seconds and files on a terminal, nothing elsewhere; nothing where all is compiled."""

    def compiles(kept, *_):
        work = kept / "work"
        work.mkdir()
        for name in ("Vtop_1.cpp", "Vtop_2.cpp", "Vtop_1.o", "Vtop.h", "verilated.o"):
            (work / name).touch()
        time.sleep(0.3)

    monkeypatch.setattr(runner, "_compile", compiles)
    monkeypatch.setattr(runner, "WATCH_S", 0.02)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=90)
    for again in (False, True):
        with runner.compiling(console, "compiling") as tell:
            calls = []
            build = runner.build(
                "module top; endmodule",
                folder=tmp_path,
                tell=lambda *at, tell=tell, calls=calls: (calls.append(at), tell(*at)),
            )
        assert build.cached is again and bool(calls) is not again
    found = console.file.getvalue()
    assert ("compiling: 0 s, 1 of 2 files" in found) is terminal
    assert terminal or not found


def test_one_file_that_includes_all_has_no_count(tmp_path):
    (tmp_path / "Vtop__ALL.cpp").touch()
    calls = []
    with runner._watched(tmp_path, lambda *at: calls.append(at)):
        time.sleep(2.5 * runner.WATCH_S)
    assert calls and {at[1:] for at in calls} == {(0, 0)}
    assert [at[0] for at in calls] == sorted(at[0] for at in calls)
