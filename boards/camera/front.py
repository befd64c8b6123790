"""The whole camera front end: a sensor's pins in, the engine's pixels out."""

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from boards.camera.crossing import COUNTERS, CameraCrossing
from boards.camera.dvp import DvpReceiver
from boards.camera.framer import Framer
from boards.camera.sensor import Sensor
from hw.interfaces import Pixels


class CameraFront(wiring.Component):
    """Receiver, framer and crossing of one sensor; it brings the camera domain itself.

    Parameters
    ----------
    sensor : Sensor
    height, width, binning, channels : as in Framer
    timeout, depth, spacing : as in CameraCrossing

    Ports
    -----
    pclk : In(1)
        The clock pin.
    vsync, href : In(1), data : In(8)
        The sensor's pins.
    o : Out(Pixels(channels)), sync
    lost : Out(1), sync
        No clock comes.
    counts : Out(six times 16 bits, named as in crossing.COUNTERS), sync
        They saturate.
    """

    def __init__(
        self,
        *,
        sensor: Sensor,
        height: int,
        width: int,
        binning: int = 1,
        channels: int = 3,
        timeout: int,
        depth: int = 64,
        spacing: int = 3,
    ):
        self.sensor = sensor
        self.receiver = DvpReceiver(
            pixel_format=sensor.pixel_format,
            channels=channels,
            data_bits=sensor.data_bits,
            msb_first=sensor.msb_first,
            vsync_high=sensor.vsync_high,
            href_high=sensor.href_high,
            gated=sensor.gated,
            falling=sensor.falling,
        )
        # of a grey sensor one colour is enough
        colours = 1 if sensor.pixel_format == "grey8" else channels
        self.framer = Framer(
            sensor_height=sensor.height,
            sensor_width=sensor.width,
            height=height,
            width=width,
            binning=binning,
            channels=colours,
        )
        self.crossing = CameraCrossing(
            timeout=timeout,
            depth=depth,
            spacing=spacing,
            channels=colours,
            in_channels=channels,
        )
        super().__init__(
            {
                "pclk": In(1),
                "vsync": In(1),
                "href": In(1),
                "data": In(8),
                "o": Out(Pixels(channels)),
                "lost": Out(1),
                "counts": Out(data.StructLayout({name: 16 for name in COUNTERS})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.camera = ClockDomain(reset_less=True, local=True, clk_edge=self.receiver.edge)
        m.submodules.receiver = receiver = self.receiver
        m.submodules.framer = framer = self.framer
        m.submodules.crossing = crossing = self.crossing
        m.d.comb += [
            ClockSignal("camera").eq(self.pclk),
            receiver.vsync.eq(self.vsync),
            receiver.href.eq(self.href),
            receiver.data.eq(self.data),
            crossing.faults.eq(framer.faults),
            self.lost.eq(crossing.lost),
            self.counts.eq(crossing.counts),
        ]
        wiring.connect(m, receiver.o, framer.i)
        wiring.connect(m, framer.o, crossing.i)
        wiring.connect(m, crossing.o, wiring.flipped(self.o))
        return m
