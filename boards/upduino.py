"""UPduino v3: iCE40 UP5K with its internal oscillator, an HM01B0 on the left header."""

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from boards.board import UP5K, Board
from boards.camera.wiring import UPDUINO_HM01B0
from boards.icebreaker import camera, camera_resource
from boards.outputs.lamps import Lamps
from boards.outputs.preview import Preview

_UART = Resource(
    "uart",
    0,
    Subsignal("rx", Pins("3", dir="i")),
    Subsignal("tx", Pins("4", dir="o")),
    Attrs(IO_STANDARD="SB_LVCMOS"),
)

BOARDS = [
    Board(
        name="upduino",
        title="UPduino v3",
        device=UP5K,
        platform=UpduinoV3Platform,
        preset="vww_105x120_grey",
        shape="8,1,2",
        shapes=dict.fromkeys(("vww_105x120", "vww_210x240", "vww_210x240_grey"), "8,1,2"),
        clock_hz=36.75e6,
        oscillator_hz=12e6,
        oscillator="SB_HFOSC",
        oscillator_error=0.1,
        weights="loaded",
        parts="serial",
        arrays=(),
        events_only=True,
        # good to 10 %: the host has to try
        baud=115_200,
        resources=[_UART, camera_resource(UPDUINO_HM01B0, UpduinoV3Platform)],
        camera=camera(UPDUINO_HM01B0.data_bits),
        outputs=(Lamps(person=("rgb_led", "g"), fault=("rgb_led", "r")), Preview()),
        program="iceprog {file}",
    )
]
