"""AXI4-Stream video: pixels for the engine."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.interfaces import Pixels, Room


class VideoStream(wiring.Signature):
    """AXI4-Stream video, a pixel a transfer; from source to engine.

    Parameters
    ----------
    in_channels : int
        3 (colours) or 1 (luma).

    Members
    -------
    tdata : Out(8 * in_channels)
        A pixel: red, green, blue, lowest first; or luma. CONTROL.video_order changes that.
    tuser : Out(1)
        A frame's first pixel.
    tlast : Out(1)
        A line's last pixel.
    tvalid : Out(1), tready : In(1)
        A pixel is taken in a cycle with both.
    """

    def __init__(self, in_channels: int):
        super().__init__(
            {
                "tdata": Out(8 * in_channels),
                "tuser": Out(1),
                "tlast": Out(1),
                "tvalid": Out(1),
                "tready": In(1),
            }
        )


class PixelSource(wiring.Component):
    """Passes a stream's pixels on as they find room, or as they come.

    Two pixels are kept, so that nothing goes from an input to `tready` within a cycle. The first
    one of a row waits until the engine has seen all before it and there is room; the others leave
    at the spacing that the line buffer can take.

    Parameters
    ----------
    in_channels : int
        3 or 1.
    spacing : int
        Cycles from pixel to pixel where the stream waits.
    delay : int
        A pixel on `pixels` -> `room` knows of it.

    Ports
    -----
    stream : In(VideoStream(in_channels))
    camera : In(1)
        Nothing waits: `tready` is 1 from the third cycle after.
    video_order : In(1)
        A colour pixel's bytes are green, blue, red, lowest first; else red, green, blue.
    hold : In(1)
        No frame may begin, but a camera's; whoever holds waits for the end of the one before.
    room : In(Room())
    pixels : Out(Pixels(in_channels))
        A stream does not say that a frame is over: `frame_end` is set while a frame's first pixel
        is held, as the frame before cannot go on.
    """

    latency = 2
    """A pixel is taken -> `pixels`: kept, registered."""

    def __init__(self, *, in_channels: int, spacing: int, delay: int):
        self.spacing, self.delay = spacing, delay
        super().__init__(
            {
                "stream": In(VideoStream(in_channels)),
                "camera": In(1),
                "video_order": In(1),
                "hold": In(1),
                "room": In(Room()),
                "pixels": Out(Pixels(in_channels)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stream, pixels = self.stream, self.pixels
        kept = data.StructLayout({"data": len(stream.tdata), "start": 1, "last": 1})
        first, second, incoming = (
            Signal(kept, name=n, reset_less=True) for n in ("first", "second", "incoming")
        )
        has_first, has_second, come, go = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            incoming.data.eq(stream.tdata),
            incoming.start.eq(stream.tuser),
            incoming.last.eq(stream.tlast),
            stream.tready.eq(~has_second),
            come.eq(stream.tvalid & stream.tready),
        ]
        with m.If(~has_first | go):
            m.d.sync += [
                has_first.eq(has_second | come),
                first.eq(Mux(has_second, second, incoming)),
                has_second.eq(0),
            ]
        with m.Elif(come):
            m.d.sync += [has_second.eq(1), second.eq(incoming)]

        settled = self.delay
        since = Signal(range(settled + 1), init=settled)
        inside, may = Signal(), Signal()  # the pixel before was not its line's last
        begins = Signal()  # a frame's first pixel is there, and the engine has seen all before it
        with m.If(go):
            m.d.sync += [since.eq(0), inside.eq(~first.last)]
        with m.Elif(since != settled):
            m.d.sync += since.eq(since + 1)
        m.d.comb += begins.eq(has_first & first.start & (since == settled))
        with m.If(first.start):
            m.d.comb += may.eq(begins & self.room.frame & ~self.hold)
        with m.Elif(inside):
            m.d.comb += may.eq(since >= self.spacing - 1 if self.spacing > 1 else 1)
        with m.Else():
            m.d.comb += may.eq((since == settled) & self.room.row)
        m.d.comb += go.eq(has_first & (self.camera | may))

        m.d.sync += [
            pixels.valid.eq(go),
            pixels.sof.eq(first.start),
            pixels.eol.eq(first.last),
            # held, it could not end a frame that was cut short, which would never end
            pixels.frame_end.eq(begins & self.hold & ~self.camera),
        ]
        for name, byte in self._colours(first.data).items():
            m.d.sync += getattr(pixels, name).eq(byte)
        return m

    def _colours(self, word):
        names = self.pixels.signature.colours
        parts = [word.word_select(i, 8) for i in range(len(names))]
        if len(names) == 1:
            return {names[0]: parts[0]}
        swapped = dict(zip(("green", "blue", "red"), parts, strict=True))
        return {
            name: Mux(self.video_order, swapped[name], plain)
            for name, plain in zip(names, parts, strict=True)
        }
