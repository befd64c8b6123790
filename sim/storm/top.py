"""A camera's whole path as one design, for the bench."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from boards.camera.crossing import COUNTERS
from boards.camera.front import CameraFront
from hw.top import Rasca


class Top(wiring.Component):
    """Front end and engine.

    Ports
    -----
    pclk, vsync, href : in, unsigned(1); data : in, unsigned(8)
        As in boards.camera.front.CameraFront, with its `lost` and its counters (`front`).
    thresholds, row, decision, counts, state, busy, frame_start
        As in hw.interfaces.Engine.
    """

    engine_ports = ("thresholds", "row", "decision", "counts", "state", "busy", "frame_start")

    def __init__(self, front: CameraFront, rasca: Rasca):
        self.camera, self.rasca = front, rasca
        members = rasca.signature.members
        super().__init__(
            {
                "pclk": In(1),
                "vsync": In(1),
                "href": In(1),
                "data": In(8),
                "lost": Out(1),
                "front": Out(data.StructLayout({name: 16 for name in COUNTERS})),
                **{name: members[name] for name in self.engine_ports},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.camera = camera = self.camera
        m.submodules.rasca = rasca = self.rasca
        m.d.comb += [
            *(getattr(camera, n).eq(getattr(self, n)) for n in ("pclk", "vsync", "href", "data")),
            self.lost.eq(camera.lost),
            self.front.eq(camera.counts),
            self.busy.eq(rasca.busy),
            self.frame_start.eq(rasca.frame_start),
        ]
        wiring.connect(m, camera.o, rasca.pixels)
        for name in self.engine_ports[:-2]:
            wiring.connect(m, getattr(rasca, name), wiring.flipped(getattr(self, name)))
        return m
