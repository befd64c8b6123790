"""Framer: the sensor's picture cut and binned to the network's size, its geometry checked."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards.camera import FAULTS, SensorPixels
from golden.camera import crop
from hw.interfaces import Pixels


class State(enum.Enum, shape=2):
    """Where the sensor's frame is."""

    IDLE = 0  # no frame has ended yet: what comes may be half a frame
    EMPTY = 1  # between two frames
    OPEN = 2
    BAD = 3  # a fault: nothing more of this frame is wanted


class Framer(wiring.Component):
    """The centre of the sensor's picture, as it is or in squares of four (rounded mean).

    A frame has exactly `sensor_height` lines of exactly `sensor_width` pixels. The first thing
    that is wrong with a frame is reported once (`faults`), ends the frame (`frame_end`), and
    nothing more of it leaves. A fault that shows only after the part has left is reported all the
    same; the picture is good then. A line that is too short shows when the next one begins.

    Bit-exact model: golden.camera.fit.

    Parameters
    ----------
    sensor_height, sensor_width : int
        Lines and pixels as they come.
    height, width : int
        The network's picture.
    binning : {1, 2}
    channels : {3, 1}
        1: only red is worked on, and comes in all three colours (a third of the line memory).

    Ports
    -----
    i : In(SensorPixels())
        At the sensor's size.
    o : Out(Pixels(3))
        At the network's; one `frame_end` for each frame with `sof`.
    faults : Out(FAULTS), pulses
        short_line, long_line, short_frame (no lines at all, too), long_frame.

    `latency`: clocks from a pixel at `i` (the last of its square) to `o`.
    """

    def __init__(
        self,
        *,
        sensor_height: int,
        sensor_width: int,
        height: int,
        width: int,
        binning: int = 1,
        channels: int = 3,
        domain: str = "camera",
    ):
        if binning not in (1, 2):
            raise ValueError(f"binning must be 1 or 2, not {binning!r}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {channels!r}")
        for name, wanted, there in (
            ("height", height, sensor_height),
            ("width", width, sensor_width),
        ):
            if wanted < 1:
                raise ValueError(f"{name} must be at least 1, not {wanted}")
            if binning * wanted > there:
                raise ValueError(
                    f"{name} * binning must be at most the sensor's {there}, not {binning * wanted}"
                )
        self.sensor_height, self.sensor_width = sensor_height, sensor_width
        self.height, self.width = height, width
        self.binning, self.channels, self.domain = binning, channels, domain
        self.top, self.left = (
            crop(sensor_height, height, binning),
            crop(sensor_width, width, binning),
        )
        self.latency = 2
        super().__init__(
            {
                "i": In(SensorPixels()),
                "o": Out(Pixels(3)),
                "faults": Out(FAULTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        sync = m.d[self.domain]

        # Stage 1: the pixel
        pixel = SensorPixels().create(path=("pixel",))
        sync += [getattr(pixel, name).eq(getattr(self.i, name)) for name in pixel.signature.members]
        valid, end = pixel.valid, pixel.frame_end

        state = Signal(State)
        column = Signal(range(self.sensor_width + 1))  # pixels of this line so far
        row = Signal(range(self.sensor_height))  # this line
        over, opened, whole_line, last_row = Signal(), Signal(), Signal(), Signal()
        sof, sol, more = Signal(), Signal(), Signal()
        faults = self.faults
        fault, found = Signal(), Signal(FAULTS)
        m.d.comb += [
            opened.eq(state == State.OPEN),
            sof.eq(valid & pixel.sof),
            sol.eq(valid & pixel.sol & ~pixel.sof & opened & ~end),
            more.eq(valid & ~pixel.sol & ~pixel.sof & opened & ~end),
            over.eq(end | sof & opened),
            whole_line.eq(column == self.sensor_width),
            last_row.eq(row == self.sensor_height - 1),
            found.short_line.eq(opened & (sol | over) & ~whole_line),
            found.long_line.eq(more & whole_line),
            found.long_frame.eq(sol & whole_line & last_row),
            found.short_frame.eq(
                Mux(opened, over & whole_line & ~last_row, over & (state == State.EMPTY))
            ),
            fault.eq(found.as_value().any()),
        ]
        take = Signal()
        x, y = Signal.like(column), Signal.like(row)
        m.d.comb += [
            take.eq(sof | (sol | more) & ~fault),
            x.eq(Mux(more, column, 0)),
            y.eq(Mux(sof, 0, Mux(sol, row + 1, row))),
        ]
        with m.If(over):
            sync += state.eq(State.EMPTY)
        with m.Elif(fault):
            sync += state.eq(State.BAD)
        with m.If(take):
            sync += [column.eq(x + 1), row.eq(y)]
        with m.If(sof):
            sync += state.eq(State.OPEN)

        # what is asked of a place, asked of all that it may be at once
        def of_x(asked):
            return Mux(more, asked(column), asked(0))

        def of_y(asked):
            return Mux(sof, asked(0), Mux(sol, asked(row, 1), asked(row)))

        give, colours, at_start, at_end = self._part(m, sync, pixel, take, of_x, of_y)
        out = self.o
        # Stage 2: out
        sync += [
            out.valid.eq(give),
            out.sof.eq(at_start),
            out.eol.eq(at_end),
            out.frame_end.eq(opened & (over | fault)),
            faults.eq(found),
        ]
        for i, name in enumerate(out.signature.colours):
            sync += getattr(out, name).eq(colours[i % self.channels])
        return m

    def _part(self, m, sync, pixel, take, of_x, of_y):
        """Whether the pixel is the network's, its colours, whether it begins or ends.

        of_x, of_y: the answer to a question about its column, its row.
        """
        channels = [getattr(pixel, name) for name in pixel.signature.colours[: self.channels]]
        down, along = self.binning * self.height, self.binning * self.width
        u, v = Signal(range(along)), Signal(range(down))
        inside = Signal()

        def between(low, count):
            return lambda v, more=0: (v >= low - more) & (v < low + count - more)

        def equals(value):
            return lambda v, more=0: v == value - more

        m.d.comb += [
            u.eq(of_x(lambda x: x - self.left)),
            v.eq(of_y(lambda y, more=0: y - self.top + more)),
            inside.eq(take & of_x(between(self.left, along)) & of_y(between(self.top, down))),
        ]
        first = self.binning - 1  # the last pixel of the first square
        at_start = of_x(equals(self.left + first)) & of_y(equals(self.top + first))
        at_end = of_x(equals(self.left + along - 1))
        give = Signal()
        if self.binning == 1:
            m.d.comb += give.eq(inside)
            return give, channels, at_start, at_end
        # A pair of pixels at a time; the upper line's pairs wait in the memory, which is read
        # in the clock of a pair's first pixel and looked at no earlier than a clock later.
        m.d.comb += give.eq(inside & u[0] & v[0])
        memory = m.submodules.pairs = Memory(
            shape=9 * self.channels, depth=self.width, init=[], attrs={"no_rw_check": True}
        )
        write = memory.write_port(domain=self.domain)
        read = memory.read_port(domain=self.domain)
        sums, colours = [], []
        for i, colour in enumerate(channels):
            held, upper = Signal(8, name=f"held{i}"), read.data[9 * i : 9 * i + 9]
            with m.If(inside & ~u[0]):
                sync += held.eq(colour)
            sums.append((held + colour)[:9])
            colours.append((upper + sums[-1] + 2)[2:10])
        m.d.comb += [
            write.addr.eq(u[1:]),
            write.data.eq(Cat(sums)),
            write.en.eq(inside & u[0] & ~v[0]),
            read.addr.eq(u[1:]),
            read.en.eq(inside & ~u[0] & v[0]),
        ]
        return give, colours, at_start, at_end
