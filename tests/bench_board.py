"""Bench of a whole board: cocotbext-uart between its pins and a pseudo terminal.

Whoever opens the terminal talks to the board as to a serial port.
"""

import os
import pty
import tty
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.uart import UartSink, UartSource

from sim import runner
from tests.board import DIVISOR, OFFSET, PERIOD

POLL = 200  # cycles: four bytes on the line


@cocotb.test()
async def bench_terminal(dut):
    """Until the file `stop` is there."""
    given = runner.arguments()
    for place, byte in enumerate(bytes.fromhex(given["image"])):
        dut.flash.memory[OFFSET + place].value = byte
    baud = 1e9 / (PERIOD * DIVISOR)
    talker, listener = UartSource(dut.rx, baud=baud), UartSink(dut.tx, baud=baud)
    for model in (talker, listener):
        model.log.setLevel("WARNING")
    Clock(dut.clk, PERIOD, "ns", impl="gpi").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    while given["image"] and dut.dut.flash.busy.value:
        await ClockCycles(dut.clk, 100)
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    port, stop = Path(given["port"]), Path(given["stop"])
    part = port.with_suffix(".part")
    part.write_text(os.ttyname(slave))
    part.rename(port)
    while not stop.exists():
        await ClockCycles(dut.clk, POLL)
        if talker.count() < 64:
            try:
                talker.write_nowait(os.read(master, 4096))
            except BlockingIOError:
                pass
        if not listener.empty():
            os.write(master, bytes(listener.read_nowait()))
