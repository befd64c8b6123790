"""Runs tests/sleep_tb.sv for some cycles, and writes what it counted."""

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from sim import runner


@cocotb.test()
async def side_by_side(tb):
    given = runner.arguments()
    tb.rst.value = 1
    Clock(tb.clk, 2, "step").start()
    await ClockCycles(tb.clk, 4)
    tb.rst.value = 0
    await ClockCycles(tb.clk, given["cycles"])
    names = ("cycle", "differences", "first_difference", "answers", "decisions", "faults")
    names += ("reads", "loads", "faulty_differences")
    found = {name: int(getattr(tb, name).value) for name in names}
    found["running"] = [int(tb.running[i].value) for i in range(4)]
    Path("found.json").write_text(json.dumps(found))
