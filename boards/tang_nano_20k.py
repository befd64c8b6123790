"""Sipeed Tang Nano 20K: Gowin GW2AR-18, no camera; pixels from a host over its USB."""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import ButtonResources, LEDResources, UARTResource

from boards.board import Board, gw2a_18
from boards.outputs.lamps import Lamps

PART = "GW2AR-LV18QN88C8/I7"
_IO = Attrs(IO_TYPE="LVCMOS33")


class TangNano20kPlatform(GowinPlatform):
    """The board's own oscillator, lamps, buttons, and the serial port behind its USB (BL616).

    amaranth-boards has it not. Pins: Sipeed's schematic.
    """

    part = PART
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _IO),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_IO),
        *ButtonResources(pins="88 87", attrs=_IO),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(IO_TYPE="LVCMOS33", PULL_MODE="UP")),
    ]
    connectors = []


BOARDS = [
    Board(
        name="tang_nano_20k",
        title="Tang Nano 20K",
        device=gw2a_18(PART),
        platform=TangNano20kPlatform,
        preset="vww_210x240",
        shape="15,2,1",
        clock_hz=75e6,
        oscillator_hz=27e6,
        oscillator="clk27",
        outputs=(Lamps(heartbeat=("led", 0), person=("led", 1), fault=("led", 2)),),
        program="openFPGALoader --board tangnano20k {file}",
    )
]
