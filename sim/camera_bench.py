"""The cocotb bench of sim/camera_tb.sv, which does everything itself: waits for its end."""

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def bench_pins(dut):
    """Until all pins are played."""
    while not int(dut.done.value):
        await Timer(20, "us")
