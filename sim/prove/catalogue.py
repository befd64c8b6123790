"""All properties: of which part, by which bench, with which method."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from amaranth.hdl import signed

from hw.plan import Function
from sim.prove import arithmetic, bus, camera, frames, host, link, loading, masters, sleep
from sim.prove.bench import Bench

METHODS = {
    "pdr": "for ever: an invariant is found (property directed reachability)",
    "unrolled": "for ever: no feedback, so that one result says all",
    "bounded": "so many cycles after the reset, in full",
}


@dataclass(frozen=True, kw_only=True)
class Property:
    """What is proved of a part.

    Attributes
    ----------
    name : str
    part : str
        "module:attribute", what the bench is made around.
    bench : function of the part
        Its first line says what holds.
    method : str
        One of METHODS.
    depth : int
        Cycles that are looked at; 0 for "pdr".
    quick : bool
        Proved in a second or two: `make test` does, too.
    """

    name: str
    part: str
    bench: Callable[..., Bench]
    method: str = "pdr"
    depth: int = 0
    quick: bool = True

    @property
    def module(self) -> str:
        return self.part.partition(":")[0]

    @property
    def claim(self) -> str:
        """What holds, in a line."""
        bench = self.bench.func if isinstance(self.bench, partial) else self.bench
        return bench.__doc__.strip().partition("\n")[0]

    def build(self, module=None) -> Bench:
        """The bench; `module`: in place of the part's own, a changed one."""
        module = module or import_module(self.module)
        return self.bench(getattr(module, self.part.partition(":")[2]))


def _unrolled(name, part, bench, latency) -> Property:
    return Property(
        name=name, part=part, bench=bench, method="unrolled", depth=latency + 1, quick=False
    )


_CROSSING = "boards.camera.crossing:CameraCrossing"
_FRAMER, _DVP = "boards.camera.framer:Framer", "boards.camera.dvp:DvpReceiver"
_RECEIVER, _FRAMES = "hw.line_buffer:Receiver", "hw.frames:FrameControl"
_MULTIPLIERS = "hw.arithmetic.multiplier:Multipliers"
_SCCB = "boards.camera.sccb"


def _of_both(name: str, bench: Callable[..., Bench]) -> tuple[Property, Property]:
    """Of lines that are written in words, and byte by byte."""
    bytewise = partial(bench, bytewise=True)
    return (
        Property(name=name, part=_RECEIVER, bench=bench, quick=False),
        Property(name=f"{name}, bytewise", part=_RECEIVER, bench=bytewise, quick=False),
    )


PROPERTIES = (
    Property(name="crossing: frames", part=_CROSSING, bench=camera.crossing_frames),
    Property(name="crossing: ends", part=_CROSSING, bench=camera.crossing_ends, quick=False),
    Property(
        name="crossing: order",
        part=_CROSSING,
        bench=camera.crossing_order,
        method="bounded",
        depth=16,
        quick=False,
    ),
    Property(
        name="crossing: FIFO",
        part="boards.camera.fifo:CrossingFifo",
        bench=partial(camera.fifo_order, depth=4),
        quick=False,
    ),
    *(
        Property(name=f"framer: binning {n}", part=_FRAMER, bench=partial(camera.framer, binning=n))
        for n in (1, 2)
    ),
    *(
        Property(
            name=f"receiver of pins: {name}",
            part=_DVP,
            bench=partial(camera.dvp, pixel_format=form, channels=channels, data_bits=bits),
        )
        for name, form, channels, bits in (
            ("rgb565", "rgb565", 3, 8),
            ("yuyv", "yuyv", 3, 8),
            ("uyvy, grey", "uyvy", 1, 8),
            ("yuyv, grey", "yuyv", 1, 8),
            ("grey8", "grey8", 1, 8),
            ("grey8, 4 pins", "grey8", 1, 4),
        )
    ),
    Property(name="set-up: quarters", part=f"{_SCCB}:QuarterTimer", bench=masters.quarters),
    Property(name="set-up: a write", part=f"{_SCCB}:SccbBus", bench=masters.sccb_bus, quick=False),
    Property(
        name="set-up: the table",
        part=f"{_SCCB}:SccbMaster",
        bench=masters.sccb,
        method="bounded",
        depth=480,
        quick=False,
    ),
    Property(
        name="flash: a load", part="boards.flash:FlashLoader", bench=masters.flash, quick=False
    ),
    Property(name="flash: a byte", part="boards.flash:SpiBytes", bench=masters.spi_bytes),
    Property(
        name="UART: recovers",
        part="boards.uart:UartReceiver",
        bench=link.uart,
        method="bounded",
        depth=140,
        quick=False,
    ),
    Property(
        name="packets: recovers",
        part="boards.link.parser:Parser",
        bench=link.parser,
        quick=False,
    ),
    Property(
        name="packets: events are copied",
        part="boards.link.copier:Copier",
        bench=link.copier,
        quick=False,
    ),
    *_of_both("lines: rows kept", frames.rows_kept),
    *_of_both("lines: overruns", frames.overruns),
    Property(name="lines: faults once", part=_RECEIVER, bench=frames.faults_once, quick=False),
    Property(name="lines: rows count", part=_RECEIVER, bench=frames.rows_told, quick=False),
    Property(name="lines: counts", part=_RECEIVER, bench=frames.counted, quick=False),
    Property(
        name="frames: FIFO of faults",
        part="amaranth.lib.fifo:SyncFIFO",
        bench=partial(camera.fifo_order, depth=4, clocks=False),
    ),
    Property(
        name="frames: decisions",
        part=_FRAMES,
        bench=frames.decisions,
        method="bounded",
        depth=32,
        quick=False,
    ),
    Property(name="frames: order", part="hw.frames:DecisionQueue", bench=frames.order, quick=False),
    Property(
        name="frames: ends",
        part=_FRAMES,
        bench=frames.ends,
        method="bounded",
        depth=64,
        quick=False,
    ),
    Property(name="frames: quiet while loading", part=_FRAMES, bench=loading.quiet),
    Property(name="loader: image", part="hw.loader:Loader", bench=loading.image),
    Property(name="loader: CRC", part="amaranth.lib.crc.catalog:CRC32_ISO_HDLC", bench=loading.crc),
    Property(name="loader: digest", part="hw.loader:Loader", bench=loading.digest),
    Property(name="bus: words of a load", part="hw.bus.load:WordLoad", bench=bus.words),
    Property(name="bus: AXI4-Lite", part="hw.bus.axi:AxiLiteSlave", bench=bus.axi),
    Property(name="bus: Wishbone", part="hw.bus.wishbone:WishboneSlave", bench=bus.wishbone),
    Property(name="bus: stream of pixels", part="hw.bus.stream:PixelSource", bench=bus.stream),
    Property(name="host: read", part="hw.host_read:HostRead", bench=host.host_read),
    Property(name="host: unnoticed", part="hw.parallel.maps:Maps", bench=host.maps),
    Property(name="host: serial", part="hw.serial.window:SerialWindow", bench=host.window),
    Property(name="sleep: gate", part="hw.sleep:MODEL", bench=sleep.gate),
    Property(name="sleep: awake", part="hw.sleep:Awake", bench=sleep.awake),
    Property(
        name="sleep: no pixel lost",
        part=_RECEIVER,
        bench=partial(sleep.receiver, settle=8, brief=2),
    ),
    *(
        _unrolled(
            f"requantiser: {bits} bits",
            "hw.arithmetic.requant:Requantiser",
            partial(arithmetic.requantiser, acc_bits=bits),
            8,
        )
        for bits in (9, 24)
    ),
    _unrolled("activation", "hw.arithmetic.activation:Activation", arithmetic.activations, 5),
    *(
        _unrolled(
            f"gate: {function.name}",
            "hw.parallel.gate:Gate",
            partial(arithmetic.gate, function=function),
            5,
        )
        for function in Function
    ),
    _unrolled("multiplier", _MULTIPLIERS, partial(arithmetic.multipliers, count=2), 2),
    *(
        _unrolled(
            f"tree multiplier: {name}",
            "hw.arithmetic.multiplier:TreeMultiplier",
            partial(arithmetic.tree, a_shape=a, b_shape=b),
            4,
        )
        for name, a, b in (("signed", signed(18), signed(8)), ("unsigned", 9, 12))
    ),
)
"""Each with a planted fault in tests/test_prove.py."""


def property_named(name: str) -> Property:
    return next(one for one in PROPERTIES if one.name == name)
