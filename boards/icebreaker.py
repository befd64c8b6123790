"""iCEBreaker: iCE40 UP5K, an HM01B0 on PMODs 1A and 1B."""

from functools import partial

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth_boards.icebreaker import ICEBreakerPlatform

from boards.board import UP5K, Board, Camera
from boards.camera import hm01b0
from boards.camera.wiring import ICEBREAKER_HM01B0, Wiring, site
from boards.outputs.lamps import Lamps
from boards.outputs.preview import Preview

MCLK_HZ = 12e6


def camera_resource(wiring: Wiring, platform) -> Resource:
    """An HM01B0's pins on a board."""
    connectors = {(c.name, c.number): c for c in platform.connectors}

    def pins(*names: str, way: str) -> Pins:
        return Pins(" ".join(site(wiring, name, connectors) for name in names), dir=way)

    return Resource(
        "camera",
        0,
        Subsignal("pclk", pins("pclk", way="i")),
        Subsignal("vsync", pins("fvld", way="i")),
        Subsignal("href", pins("lvld", way="i")),
        Subsignal("data", pins(*(f"d{i}" for i in range(wiring.data_bits)), way="i")),
        Subsignal("clock", pins("mclk", way="o")),
        Subsignal("scl", pins("scl", way="io")),
        Subsignal("sda", pins("sda", way="io")),
        Subsignal("trig", pins("trig", way="o")),
        Attrs(IO_STANDARD="SB_LVCMOS"),
    )


def camera(data_bits: int, *, mclk_hz: float = MCLK_HZ, line_seconds: float = 0) -> Camera:
    """An HM01B0 as it is set up on these boards; see Camera.paced."""
    settings = hm01b0.pace(mclk_hz=mclk_hz, data_bits=data_bits, line_seconds=line_seconds)
    return Camera(
        sensor=hm01b0.sensor(mclk_hz=int(mclk_hz), data_bits=data_bits, **settings),
        table=hm01b0.table(data_bits=data_bits, **settings),
        device=hm01b0.DEVICE,
        register_bytes=2,
        acknowledge=True,
        clock_hz=MCLK_HZ,
        fixed={"trig": 0},
        paced=partial(camera, data_bits),
    )


BOARDS = [
    Board(
        name="icebreaker",
        title="iCEBreaker",
        device=UP5K,
        platform=ICEBreakerPlatform,
        preset="vww_105x120_grey",
        shape="8,1,2",
        shapes=dict.fromkeys(("vww_105x120", "vww_210x240", "vww_210x240_grey"), "8,1,2"),
        clock_hz=42.75e6,
        seed=4,
        oscillator_hz=12e6,
        oscillator="clk12",
        weights="loaded",
        parts="serial",
        arrays=(),
        events_only=True,
        resources=[camera_resource(ICEBREAKER_HM01B0, ICEBreakerPlatform)],
        camera=camera(ICEBREAKER_HM01B0.data_bits),
        outputs=(Lamps(person=("led_g", 0), fault=("led_r", 0)), Preview()),
        program="iceprog {file}",
    )
]
