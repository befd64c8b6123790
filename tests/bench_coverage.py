"""Bench of tests/test_coverage.py."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from sim import runner


@cocotb.test()
async def bench_counter(dut):
    cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
    for value in (0, 1, 0):
        dut.rst.value = value
        await RisingEdge(dut.clk)
    for down, cycles in runner.arguments()["walks"]:
        dut.down.value = down
        for _ in range(cycles):
            await RisingEdge(dut.clk)
