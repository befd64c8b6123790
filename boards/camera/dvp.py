"""Receiver of a parallel camera port (DVP): VSYNC, HREF, PCLK and data pins to pixels."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.camera import SensorPixels
from golden.camera import BLUE_U, GREEN_U, GREEN_V, RED_V, UNITS, check_format


def times(value, factor: int):
    """`value` times a constant as shifts and additions: a product would be given a DSP."""
    terms, place = [], 0
    while factor:
        if factor & 1:  # a run of ones costs a subtraction and an addition
            digit = 2 - (factor & 3)
            terms.append((value << place) if digit > 0 else -(value << place))
            factor -= digit
        factor >>= 1
        place += 1
    return sum(terms[1:], terms[0])


class DvpReceiver(wiring.Component):
    """Pixels at the sensor's size, with the beginnings of frames and lines marked.

    A frame begins with the first pixel after VSYNC, so what comes before the first VSYNC has no
    `sof`. Bytes count from the beginning of each line; those that make no whole pixel are lost.
    Line lengths are not looked at: that is the framer's task.

    Bit-exact model: golden.camera.decode.

    Parameters
    ----------
    pixel_format : {'rgb565', 'rgb565_le', 'yuyv', 'uyvy', 'grey8'}
        The order of the bytes; golden.camera.FORMATS. YUV needs whole pairs of pixels.
    channels : {3, 1}
        1: YUV gives Y in all three colours and has no conversion. Not with RGB565.
    data_bits : {8, 4, 1}
        Data pins in use (`data[:data_bits]`); 4 and 1 only with grey8, in 2 and 8 clocks a pixel.
    msb_first : bool
        With 4 or 1 data pins: a byte's upper bits come first.
    vsync_high : bool
        VSYNC is high between frames (OV7670); False: it is high in a frame (HM01B0's FVLD).
    href_high : bool
        Pixels come while HREF is high.
    gated : bool
        PCLK stops outside the lines. VSYNC and HREF are then not sampled but reset a flip-flop
        each, which the next clock sets again; the frame before power-up's first VSYNC is lost.
    falling : bool
        The pins are read, and all of the domain works, at PCLK's falling edge. The domain that the
        receiver is put into must have its `edge`.

    Ports
    -----
    vsync, href : In(1), data : In(8)
        The sensor's pins, all synchronous to PCLK.
    o : Out(SensorPixels())
        `frame_end` is a pulse when VSYNC begins; with a gated clock, when the first clock of the
        next frame comes.

    `latency`: clocks from a pixel's last byte on the pins to `o`, of a pair's first pixel with
    YUV in colour (the second is a clock later).
    """

    def __init__(
        self,
        *,
        pixel_format: str,
        channels: int = 3,
        data_bits: int = 8,
        msb_first: bool = True,
        vsync_high: bool = True,
        href_high: bool = True,
        gated: bool = False,
        falling: bool = False,
        domain: str = "camera",
    ):
        check_format(pixel_format, channels)
        if data_bits not in (1, 4, 8):
            raise ValueError(f"data_bits must be 8, 4 or 1, not {data_bits!r}")
        if data_bits != 8 and pixel_format != "grey8":
            raise ValueError(f"data_bits must be 8 with {pixel_format}, not {data_bits}")
        self.pixel_format, self.channels = pixel_format, channels
        self.data_bits, self.msb_first = data_bits, msb_first
        self.vsync_high, self.href_high = vsync_high, href_high
        self.gated, self.domain = gated, domain
        self.edge = "neg" if falling else "pos"
        self.converts = channels == 3 and pixel_format in ("yuyv", "uyvy")
        self.latency = 5 if self.converts else 3
        super().__init__({"vsync": In(1), "href": In(1), "data": In(8), "o": Out(SensorPixels())})

    def elaborate(self, platform):
        m = Module()
        sync = m.d[self.domain]
        vsync, href = Signal(), Signal()
        m.d.comb += [
            vsync.eq(self.vsync if self.vsync_high else ~self.vsync),
            href.eq(self.href if self.href_high else ~self.href),
        ]

        # Stage 1: pins; `begins` marks a line's first clock, `over` the end of a frame
        active, begins, over, pins = Signal(), Signal(), Signal(), Signal(self.data_bits)
        sync += [active.eq(href & ~vsync), pins.eq(self.data)]
        if self.gated:
            # at power-up it looks as if VSYNC had just been here: that is no frame's end
            fresh, before = self._fresh(m, "frame", vsync), Signal(init=1)
            sync += before.eq(fresh)
            m.d.comb += [over.eq(fresh & ~before), begins.eq(self._fresh(m, "line", ~href | vsync))]
        else:
            between, before, running = Signal(), Signal(), Signal()
            sync += [between.eq(vsync), before.eq(between), running.eq(active)]
            m.d.comb += [over.eq(between & ~before), begins.eq(~running)]

        # Stage 2: bytes
        have, byte, first, ended = Signal(), Signal(8), Signal(), Signal()
        parts = 8 // self.data_bits
        sync += [have.eq(0), ended.eq(over)]
        if parts == 1:
            sync += [have.eq(active), byte.eq(pins), first.eq(begins)]
        else:
            part = Signal(range(parts))
            place = Mux(begins, 0, part)
            with m.If(active):
                last = place == parts - 1
                sync += [
                    part.eq(Mux(last, 0, place + 1)),
                    have.eq(last),
                    byte.eq(Cat(pins, byte) if self.msb_first else Cat(byte, pins)[-8:]),
                ]
                with m.If(begins):
                    sync += first.eq(1)
                with m.Elif(have):
                    sync += first.eq(0)

        # Stage 3: pixels. A frame's end passes in the clock of the byte that came with it.
        out = self.o
        sof, sol = Signal(), Signal()  # of the next pixel
        give = Signal()
        with m.If(ended):
            sync += sof.eq(1)
        with m.If(give):
            sync += [sof.eq(0), sol.eq(0)]
        with m.Elif(have & first):
            sync += sol.eq(1)
        marks = {"sof": sof | ended, "sol": sol | first}
        if self.pixel_format == "grey8":
            m.d.comb += give.eq(have)
            self._give(sync, out, give, [byte] * 3, marks)
            sync += out.frame_end.eq(ended)
        else:
            self._pairs(m, sync, have, byte, first, ended, sof, sol, give)
        return m

    def _fresh(self, m: Module, name: str, reset):
        """1 in stage 1 if `reset` has been high since the clock before."""
        domain = ClockDomain(
            f"{self.domain}_{name}", async_reset=True, local=True, clk_edge=self.edge
        )
        m.domains += domain
        seen, fresh = Signal(name=f"{name}_seen"), Signal(name=f"{name}_fresh", init=1)
        m.d.comb += [domain.clk.eq(ClockSignal(self.domain)), domain.rst.eq(reset)]
        m.d[domain.name] += seen.eq(1)
        m.d[self.domain] += fresh.eq(~seen)
        return fresh

    @staticmethod
    def _give(sync, out, give, colours, marks):
        sync += out.valid.eq(give)
        for name, colour in zip(SensorPixels.colours, colours, strict=True):
            sync += getattr(out, name).eq(colour)
        sync += [getattr(out, name).eq(mark) for name, mark in marks.items()]

    def _pairs(self, m, sync, have, byte, first, ended, sof, sol, give):
        """Formats of two bytes a pixel."""
        out = self.o
        place = Signal(2)  # byte of the group of four
        now = Signal(2)
        m.d.comb += now.eq(Mux(first, 0, place))
        with m.If(have):
            sync += place.eq(now + 1)
        marks = {"sof": sof | ended, "sol": sol}
        if UNITS[self.pixel_format] == 2:
            before = Signal(8)
            with m.If(have & ~now[0]):
                sync += before.eq(byte)
            m.d.comb += give.eq(have & now[0])
            high, low = (before, byte) if self.pixel_format == "rgb565" else (byte, before)
            low_green = Cat(low[5:], high[:3])
            colours = [
                Cat(high[-3:], high[-5:]),
                Cat(low_green[-2:], low_green),
                Cat(low[2:5], low[:5]),
            ]
            self._give(sync, out, give, colours, marks)
            sync += out.frame_end.eq(ended)
            return
        luma = int(self.pixel_format == "uyvy")  # parity of the bytes that are Y
        if not self.converts:
            m.d.comb += give.eq(have & (now[0] == luma))
            # with Y first, the line begins with this very byte
            self._give(sync, out, give, [byte] * 3, marks | {"sol": sol | first})
            sync += out.frame_end.eq(ended)
            return

        # A pair is whole with its fourth byte; the second pixel leaves a clock after the first.
        # It may be the last of its frame, so the frame's end leaves a clock later, too.
        held = [Signal(8, name=f"byte{i}") for i in range(3)]
        for i, register in enumerate(held):
            with m.If(have & (now == i)):
                sync += register.eq(byte)
        m.d.comb += give.eq(have & (now == 3))
        four = [*held, byte]
        ys = four[luma::2]
        valid, second, y, later = Signal(), Signal(), Signal(8), Signal(8)
        u, v = Signal(signed(8)), Signal(signed(8))
        tags, tags_next, ends = Signal(2), Signal(2), Signal(3)
        sync += [
            second.eq(give),
            valid.eq(give | second),
            tags_next.eq(tags),
            ends.eq(Cat(ended, ends)),
        ]
        with m.If(give):
            sync += [
                y.eq(ys[0]),
                later.eq(ys[1]),
                # minus 128: the sign bit turned round
                u.eq(four[1 - luma] ^ 0x80),
                v.eq(four[3 - luma] ^ 0x80),
                tags.eq(Cat(sof, sol)),
            ]
        with m.Elif(second):
            sync += [y.eq(later), tags.eq(0)]
        # Stage 4: sums
        sums = [Signal(signed(18), name=f"sum_{name}") for name in ("red", "green", "blue")]
        base = (y << 8) + 128
        green = times(u, GREEN_U) + times(v, GREEN_V)
        valid_next = Signal()
        sync += [
            sums[0].eq(base + times(v, RED_V)),
            sums[1].eq(base - green),
            sums[2].eq(base + times(u, BLUE_U)),
            valid_next.eq(valid),
        ]
        # Stage 5: clamped
        clamped = [Mux(s[17], 0, Mux(s[16], 255, s[8:16])) for s in sums]
        self._give(sync, out, valid_next, clamped, {"sof": tags_next[0], "sol": tags_next[1]})
        sync += out.frame_end.eq(ends[-1])
