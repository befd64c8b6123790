"""TMDS: a byte of a colour, or two control bits, as ten bits."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.video import CONTROL


def ones(bits):
    """How many of a signal's bits are 1."""
    found = Const(0, 1)
    for bit in bits:
        found = found + bit
    return found


class TmdsEncoder(wiring.Component):
    """A channel's encoder. Nothing is sent of the disparity outside an active period.

    Bit-exact model: golden.video.tmds_encode.

    Parameters
    ----------
    domain : str

    Ports
    -----
    active : In(1)
        A byte of the picture; else `control`.
    data : In(8); control : In(2), C1 and C0
    word : Out(10), bit 0 leaves first

    `latency`: 2.
    """

    latency = 2

    def __init__(self, *, domain: str = "video"):
        self.domain = domain
        super().__init__({"active": In(1), "data": In(8), "control": In(2), "word": Out(10)})

    def elaborate(self, platform):
        m = Module()
        sync, data = m.d[self.domain], self.data
        # Stage 1: fewer changes
        count, xor = Signal(4), Signal()
        m.d.comb += [
            count.eq(ones(data)),
            xor.eq(~((count > 4) | ((count == 4) & ~data[0]))),
        ]
        bits = [data[0]]
        for i in range(1, 8):
            bits.append(bits[-1] ^ data[i] ^ ~xor)
        changes, active, control, by_xor = Signal(8), Signal(), Signal(2), Signal()
        sync += [
            *(changes.eq(Cat(bits)), by_xor.eq(xor)),
            *(active.eq(self.active), control.eq(self.control)),
        ]
        # Stage 2: as many ones as zeros
        disparity, more = Signal(signed(5)), Signal(signed(5))
        even, same, inverted = Signal(), Signal(), Signal()
        m.d.comb += [
            more.eq((ones(changes) << 1) - 8),
            even.eq((disparity == 0) | (more == 0)),
            same.eq((disparity > 0) == (more > 0)),
            inverted.eq(Mux(even, ~by_xor, same)),
        ]
        with m.If(active):
            sync += [
                self.word.eq(Cat(changes ^ inverted.replicate(8), by_xor, inverted)),
                disparity.eq(
                    disparity
                    + Mux(inverted, -more, more)
                    + Mux(even, 0, Mux(inverted, by_xor << 1, 0) - Mux(inverted | by_xor, 0, 2))
                ),
            ]
        with m.Else():
            words = Array(Const(word, 10) for word in CONTROL)
            sync += [self.word.eq(words[control]), disparity.eq(0)]
        return m
