"""ULX3S: LFE5U-12F, 25F, 45F or 85F, an OV7670 module on header J1."""

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth_boards import ulx3s

from boards.board import Board, Camera, ecp5
from boards.camera import ov7670
from boards.camera.wiring import ULX3S_OV7670, site
from boards.outputs.hdmi import Hdmi
from boards.outputs.lamps import Lamps
from boards.outputs.preview import Preview

_XCLK_HZ = 24e6
_CONNECTORS = {(c.name, c.number): c for c in ulx3s.ULX3S_85F_Platform.connectors}


def _camera() -> Resource:
    def pins(*names: str, way: str) -> Pins:
        found = [site(ULX3S_OV7670, name, _CONNECTORS) for name in names]
        return Pins(" ".join(found), dir=way)

    return Resource(
        "camera",
        0,
        *(Subsignal(name, pins(name, way="i")) for name in ("pclk", "vsync", "href")),
        Subsignal("data", pins(*(f"d{i}" for i in range(8)), way="i")),
        Subsignal("clock", pins("xclk", way="o")),
        Subsignal("scl", pins("sioc", way="io")),
        Subsignal("sda", pins("siod", way="io")),
        Attrs(IO_TYPE="LVCMOS33", PULLMODE="NONE"),
    )


def _set_up(pixel_format: str, grey: Camera | None = None) -> Camera:
    return Camera(
        sensor=ov7670.sensor(size="qvga", xclk_hz=int(_XCLK_HZ), pixel_format=pixel_format),
        table=ov7670.table(size="qvga", pixel_format=pixel_format),
        device=ov7670.DEVICE,
        clock_hz=_XCLK_HZ,
        grey=grey,
    )


def _board(size: str, name: str, shape: str, clock_hz: float) -> Board:
    return Board(
        name=name,
        title=f"ULX3S-{size}",
        device=ecp5(size, "CABGA381"),
        platform=getattr(ulx3s, f"ULX3S_{size}_Platform"),
        preset="vww_210x240",
        shape=shape,
        clock_hz=clock_hz,
        oscillator_hz=25e6,
        oscillator="clk25",
        resources=[_camera()],
        camera=_set_up("rgb565", grey=_set_up("yuyv")),
        outputs=(
            Lamps(heartbeat=("led", 0), person=("led", 1), fault=("led", 2)),
            Preview(),
            Hdmi(plain=("button_fire", 0)),
        ),
        program="openFPGALoader --board ulx3s {file}",
    )


BOARDS = [
    _board("85F", "ulx3s", "15,6,2", 96.875e6),
    _board("12F", "ulx3s-12f", "20,2,2", 112.5e6),
    _board("25F", "ulx3s-25f", "20,2,2", 117.8571e6),
    _board("45F", "ulx3s-45f", "15,5,2", 91.6667e6),
]
