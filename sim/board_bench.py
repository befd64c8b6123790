"""The cocotb bench of sim/board_tb.sv: camera registers over I2C, decisions over the UART."""

import json
from pathlib import Path
from typing import Any

import cocotb
from cocotb.simtime import get_sim_time
from cocotb.triggers import RisingEdge, Timer
from cocotbext.i2c.i2c_device import I2cDevice
from cocotbext.uart import UartSink

from sim import runner

POLL_US = 50
REST_US = 1000  # after the last pin has moved


class Registers(I2cDevice):
    """Acknowledges everything and keeps the bytes of each write."""

    def __init__(self, address: int, **pins: Any) -> None:
        self.addr, self.writes, self.bytes = address, [], []
        super().__init__(**pins)

    def handle_start(self) -> None:
        self.bytes = []

    async def handle_write(self, data: int) -> None:
        self.bytes.append(data)

    def handle_stop(self) -> None:
        self.writes.append(self.bytes)


@cocotb.test()
async def bench_board(dut: Any) -> None:
    """Power-up until weights and camera are ready, then pictures; what the board wrote and sent."""
    given = runner.arguments()
    camera = Registers(given["device"], sda=dut.sda, sda_o=dut.sda_o, scl=dut.scl, scl_o=dut.scl_o)
    uart = UartSink(dut.tx, baud=given["baud"])
    for model in (camera, uart):
        model.log.setLevel("WARNING")
    waited = 0
    while dut.fault.value or len(camera.writes) < given["writes"]:
        await Timer(POLL_US, "us")
        waited += POLL_US
        assert waited < given["limit_us"], (
            f"not ready after {waited} us: {len(camera.writes)} registers of the camera written, "
            f"fault lamp {'on' if dut.fault.value else 'off'}, bytes {list(uart.read_nowait())}"
        )
    dut.play.value = 1
    await RisingEdge(dut.done)
    await Timer(REST_US, "us")
    found = {
        "writes": camera.writes,
        "sent": list(uart.read_nowait()),
        "person": int(dut.person.value),
        "fault": int(dut.fault.value),
        "power_up_us": waited,
        "us": round(get_sim_time("us")),
    }
    Path(given["found"]).write_text(json.dumps(found))
