"""What a board is: its device, what the device has, and what Rasca makes of it by default."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amaranth.build import Resource

from boards.camera.sccb import Write
from boards.camera.sensor import Sensor
from boards.outputs.output import Output


@dataclass(frozen=True, kw_only=True)
class Device:
    """An FPGA and its tools.

    Attributes
    ----------
    name : str
        As vendors write it.
    family : str
        Kind of cells, and which tools build: a row of boards.family.
    option : str
        nextpnr's name of it.
    package : str
        nextpnr's name of the package (Gowin: of the part); speed : grade (ECP5).
    lut, ff, dsp, bram, spram : int
        LUT4, flip-flops, DSP blocks (Gowin: multipliers of 9 x 9, two in one of 18 x 18), block
        RAMs (of 18 kbit; iCE40: of 4 kbit), SPRAMs.
    limit_hz : float
        The fastest clock that an engine gets: place and route are asked for it, and times that
        must last at least so long are counted in its cycles.
    density : float or None
        How densely nextpnr may place, of 1; its own choice (0.9) if None.
    """

    name: str
    family: str
    option: str
    package: str
    speed: str = ""
    lut: int
    ff: int
    dsp: int
    bram: int
    spram: int = 0
    limit_hz: float
    density: float | None = None


_LIMIT_HZ = {"6": 150e6, "7": 175e6, "8": 200e6}
"""By speed grade; above it no engine has come."""


def ecp5(size: str, package: str, speed: str = "6") -> Device:
    """LFE5U devices (data sheet FPGA-DS-02012, table 1.1); 12F is a 25F with another name."""
    lut, dsp, bram, option = {
        "12F": (24288, 28, 56, "12k"),
        "25F": (24288, 28, 56, "25k"),
        "45F": (43848, 72, 108, "45k"),
        "85F": (83640, 156, 208, "85k"),
    }[size]
    return Device(
        name=f"LFE5U-{size}",
        family="ecp5",
        option=option,
        package=package,
        speed=speed,
        lut=lut,
        ff=lut,
        dsp=dsp,
        bram=bram,
        limit_hz=_LIMIT_HZ[speed],
        # 0.9 puts the array of a large device where its wires have no room
        density=0.6 if size == "85F" else None,
    )


def gw2a_18(part: str, limit_hz: float = 150e6) -> Device:
    """GW2A-18 devices (data sheet DS102, table 1-1), by their part's number."""
    return Device(
        name=part.split("-")[0] + "-18",
        family="gowin",
        option="GW2A-18C",
        package=part,
        lut=20736,
        ff=15552,
        dsp=96,
        bram=46,
        limit_hz=limit_hz,
    )


UP5K = Device(
    name="iCE40UP5K",
    family="ice40",
    option="up5k",
    package="sg48",
    lut=5280,
    ff=5280,
    dsp=8,
    bram=30,
    spram=4,
    limit_hz=48e6,
)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera as a board's design sets it up.

    Attributes
    ----------
    sensor : Sensor
    table : list of Write
        Its set-up; `device`, `register_bytes`, `acknowledge` as in boards.camera.sccb.SccbMaster.
    clock_hz : float
        What the board feeds it.
    fixed : dict of str to int
        Pins that are held at a level.
    grey : Camera or None
        The camera as it is set up for a network of one channel, if that is another set-up.
    paced : callable or None
        paced(mclk_hz=, line_seconds=) gives the camera at that clock whose lines take at least so
        long, where it can be set up so.
    """

    sensor: Sensor
    table: list[Write]
    device: int
    register_bytes: int = 1
    acknowledge: bool = False
    clock_hz: float = 24e6
    fixed: dict[str, int] = field(default_factory=dict)
    grey: "Camera | None" = None
    paced: Callable[..., "Camera"] | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Attributes
    ----------
    name, title : str
        On the command line; for people.
    device : Device
    platform : callable
        Makes the amaranth-boards platform.
    preset, shape : str
        Built unless told otherwise; `shapes` has the shapes of further presets.
    clock_hz, oscillator_hz : float
        Of the engine, as its last build shipped it (a build begins with it and ships what the
        routed design carries); of the pin or oscillator that the PLL starts from.
    seed : int
        Of place and route, unless told otherwise: that build's.
    oscillator : str
        Resource name of that pin, or "SB_HFOSC".
    oscillator_error : float
        How much faster than that it may run, relative: the build must reach so much more.
    weights : str
        "initialised" (bitstream) or "loaded" (SPI flash), see hw.plan.engine_config.
    resources : list of Resource
        Further than those of the platform: UART, camera.
    uart : tuple
        Resource name and number.
    camera : Camera or None
    camera_clock_hz : float or None
        Of the oscillator that the camera's module has; None: the board gives it its clock. Only
        for a camera that can be paced (ValueError).
    camera_low_byte_first, camera_falling : bool
        The camera's module is as in Sensor.as_built.
    outputs : tuple of Output
        What it shows (boards.outputs): those that it always has, and those that may be had.
    parts : str
        Record of parts, see hw.plan.engine_config.
    arrays : tuple of (channels, lanes)
        To try for networks that have no shape here, the largest first; (): the board's own shape.
    events_only : bool
        The small system (boards.event_system): nothing comes from the host.
    program : str
        Command that programs the board; {file} is the bitstream.
    """

    name: str
    title: str
    device: Device
    platform: Callable[[], Any]
    preset: str
    shape: str
    shapes: dict[str, str] = field(default_factory=dict)
    clock_hz: float
    oscillator_hz: float
    oscillator: str
    seed: int = 1
    oscillator_error: float = 0.0
    weights: str = "initialised"
    resources: list[Resource] = field(default_factory=list)
    uart: tuple[str, int] = ("uart", 0)
    baud: int = 1_000_000
    camera: Camera | None = None
    camera_clock_hz: float | None = None
    camera_low_byte_first: bool = False
    camera_falling: bool = False
    outputs: tuple[Output, ...] = ()
    parts: str = "parallel"
    arrays: tuple[tuple[int, int], ...] = ((6, 2), (3, 4), (3, 2), (2, 2), (1, 2), (1, 1))
    events_only: bool = False
    program: str = ""

    def __post_init__(self) -> None:
        paced = self.camera is not None and self.camera.paced is not None
        if self.camera_clock_hz is not None and not paced:
            raise ValueError(
                f"{self.name} has no camera that brings its own clock: leave CAMERA_MHZ away"
            )
