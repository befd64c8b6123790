"""Bench of iCE40's block RAM with the stricter rule of sim/netlist.py."""

import cocotb
from cocotb.triggers import Timer


async def edge(dut, **pins):
    """One edge of both clocks; what is read."""
    for name, value in pins.items():
        getattr(dut, name).value = value
    for level in (0, 1):
        dut.RCLK.value = dut.WCLK.value = level
        await Timer(5, "ns")
    return int(dut.RDATA.value)


@cocotb.test()
async def bench_collision(dut):
    """A word is written, then half of it again while it, another, and again it are read."""
    await edge(dut, RE=0, RCLKE=1, WE=1, WCLKE=1, WADDR=7, WDATA=0x1234, MASK=0)
    await edge(dut, WADDR=8, WDATA=0x5678)
    assert await edge(dut, RE=1, RADDR=7, WADDR=7, WDATA=0xABCD, MASK=0xFF00) == 0x12CB
    assert await edge(dut, RADDR=7, WADDR=8, WDATA=0x9999, MASK=0) == 0x12CD
    assert await edge(dut, RADDR=8, WE=0) == 0x9999
