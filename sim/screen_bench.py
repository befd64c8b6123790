"""The cocotb bench of sim/screen_tb.sv, which does all itself."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge


@cocotb.test()
async def bench_screen(dut: Any) -> None:
    """Until the cable is recorded."""
    await RisingEdge(dut.done)
