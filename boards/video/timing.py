"""Where the beam is: pixel and line of a picture, and the syncs."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from golden.video import Mode


class Beam(wiring.Signature):
    """A place in a picture; from the timing to what draws.

    Parameters
    ----------
    mode : Mode

    Members
    -------
    x : Out(range(total width)), y : Out(range(total height))
        Counted from the first pixel that is seen; `x` below the width and `y` below the height are.
    active : Out(1)
        It is seen.
    first : Out(1)
        A line's first pixel. With `y` 0 the picture's.
    hsync, vsync : Out(1)
        Active low.
    """

    def __init__(self, mode: Mode):
        width, height = mode.total
        super().__init__(
            {
                "x": Out(range(width)),
                "y": Out(range(height)),
                "active": Out(1),
                "first": Out(1),
                "hsync": Out(1, init=1),
                "vsync": Out(1, init=1),
            }
        )

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class VideoTiming(wiring.Component):
    """Counts pixels and lines without end.

    Model: golden.video.Mode.

    Parameters
    ----------
    mode : Mode
    domain : str

    Ports
    -----
    beam : Out(Beam(mode))
    """

    def __init__(self, *, mode: Mode, domain: str = "video"):
        self.mode, self.domain = mode, domain
        super().__init__({"beam": Out(Beam(mode))})

    def elaborate(self, platform):
        m = Module()
        mode, beam, sync = self.mode, self.beam, m.d[self.domain]
        width, height = mode.total
        ends = Signal()
        m.d.comb += ends.eq(beam.x == width - 1)
        sync += beam.x.eq(beam.x + 1)
        with m.If(ends):
            sync += [beam.x.eq(0), beam.y.eq(beam.y + 1)]
            with m.If(beam.y == height - 1):
                sync += beam.y.eq(0)
        start, top = mode.width + mode.front[0], mode.height + mode.front[1]
        m.d.comb += [
            beam.active.eq((beam.x < mode.width) & (beam.y < mode.height)),
            beam.first.eq(beam.x == 0),
            beam.hsync.eq(~((beam.x >= start) & (beam.x < start + mode.sync[0]))),
            beam.vsync.eq(~((beam.y >= top) & (beam.y < top + mode.sync[1]))),
        ]
        return m
