"""cocotb side of test_sccb: the master's writes as cocotbext-i2c's device (not ours) reads them."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer
from cocotbext.i2c.i2c_device import I2cDevice

from sim import runner


class Registers(I2cDevice):
    """Takes every write apart: (bytes before STOP). Late acknowledges stretch the clock."""

    def __init__(self, addr, late_ns, **pins):
        self.addr, self.late_ns, self.writes, self.bytes = addr, late_ns, [], []
        super().__init__(**pins)

    def handle_start(self):
        self.bytes = []

    async def handle_write(self, data):
        self.bytes.append(data)
        if self.late_ns:
            await Timer(self.late_ns, "ns")

    def handle_stop(self):
        self.writes.append(self.bytes)


@cocotb.test()
async def bench_table(dut):
    """All writes of both masters, in order, and what stands there at the end."""
    given = runner.arguments()
    Clock(dut.clk, given["period_ns"], unit="ns", impl="gpi").start()
    devices = {}
    for name in ("sccb", "i2c"):
        pins = {
            f"{p}{o}": getattr(dut, f"{name}_{p}{o}") for p in ("sda", "scl") for o in ("", "_o")
        }
        devices[name] = Registers(given[name]["device"], given[name]["late_ns"], **pins)
    dut.rst.value = 1
    dut.start.value = 0
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 3)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    for _ in range(given["limit"]):
        await ClockCycles(dut.clk, 100)
        if not int(dut.sccb_busy.value) and not int(dut.i2c_busy.value):
            break
    for name, device in devices.items():
        state = [int(getattr(dut, f"{name}_{n}").value) for n in ("busy", "done", "error", "index")]
        assert state == given[name]["state"], f"{name}: {state}"
        assert device.writes == given[name]["writes"], f"{name}: {device.writes}"
