"""OrangeCrab r0.2: LFE5U-25F, no camera; pixels and weights from a host's UART at pins 0 and 1."""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import UARTResource

from boards.board import Board, ecp5
from boards.outputs.lamps import Lamps

BOARDS = [
    Board(
        name="orangecrab",
        title="OrangeCrab r0.2 25F",
        device=ecp5("25F", "CSFBGA285", speed="8"),
        platform=OrangeCrabR0_2_25FPlatform,
        preset="vww_210x240",
        shape="15,1,1",
        clock_hz=160e6,
        oscillator_hz=48e6,
        oscillator="clk",
        resources=[
            UARTResource(
                0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
            )
        ],
        outputs=(
            Lamps(heartbeat=("rgb_led", "b"), person=("rgb_led", "g"), fault=("rgb_led", "r")),
        ),
        program="dfu-util -a 0 -D {file}",
    )
]
