"""Bench of boards/uart.py: cocotbext-uart at the other end of both pins."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.uart import UartSink, UartSource

from sim import runner

PERIOD = 100  # ns: cocotbext-uart counts a bit in whole ns


async def collect(dut, found):
    while True:
        await RisingEdge(dut.clk)
        if dut.got.value:
            found.append(int(dut.byte.value))
        assert not dut.glitch.value and not dut.framing.value


@cocotb.test()
async def bench_bytes(dut):
    """Both ways at once."""
    given = runner.arguments()
    source = random.Random(given["seed"])
    baud = 1e9 / (PERIOD * given["divisor"])
    dut.valid.value = 0
    talker, listener = UartSource(dut.rx, baud=baud), UartSink(dut.tx, baud=baud)
    for model in (talker, listener):
        model.log.setLevel("WARNING")
    Clock(dut.clk, PERIOD, "ns").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 3 * given["divisor"])
    there, back = source.randbytes(given["count"]), source.randbytes(given["count"])
    received = []
    cocotb.start_soon(collect(dut, received))
    talker.write_nowait(there)
    for byte in back:
        for _ in range(source.choice([0, 0, 0, 1, 100])):
            await FallingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.valid.value = 1
        dut.data.value = byte
        await RisingEdge(dut.clk)
        while not dut.ready.value:
            await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.valid.value = 0
    await talker.wait()
    await ClockCycles(dut.clk, 20 * given["divisor"])
    assert bytes(received) == there
    assert bytes(listener.read_nowait()) == back
