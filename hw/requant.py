"""Requantiser: exact sum to a small number, one a cycle."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.common import delay


class Requantiser(wiring.Component):
    """((sum + bias) * multiplier + half) >> shift, round half up, saturated to 12 bits.

    Bit-exact model: golden.requant.requantise, then saturated to -2048..2047 (every user of it
    saturates to less).

    Parameters
    ----------
    acc_bits : int
        Width of `sum` and of `bias`, signed.

    Ports
    -----
    sum, bias : in, signed(acc_bits)
    multiplier : in, 8 bits
    shift : in, 5 bits, the shift minus one (so 1..32 is meant)
    value : out, signed(12), `latency` cycles later
    """

    latency = timing.REQUANTISE - 1

    def __init__(self, *, acc_bits: int):
        if not 9 <= acc_bits <= 40:
            raise ValueError(f"acc_bits must be 9..40, not {acc_bits}")
        self.acc_bits = acc_bits
        super().__init__(
            {
                "sum": In(signed(acc_bits)),
                "bias": In(signed(acc_bits)),
                "multiplier": In(8),
                "shift": In(5),
                "value": Out(signed(12)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        n = self.acc_bits + 1
        multiplier = delay(m, self.multiplier, 1, "multiplier", reset_less=True)
        shift = delay(m, self.shift, 4, "shift", reset_less=True)
        # Stage 1: bias
        total = Signal(signed(n), reset_less=True)
        m.d.sync += total.eq(self.sum + self.bias)
        # Stages 2 to 4: multiply, a tree of adders
        pairs = [Signal(signed(n + 2), name=f"pair{i}", reset_less=True) for i in range(4)]
        for i, pair in enumerate(pairs):
            m.d.sync += pair.eq(
                Mux(multiplier[2 * i], total, 0) + (Mux(multiplier[2 * i + 1], total, 0) << 1)
            )
        quads = [Signal(signed(n + 4), name=f"quad{i}", reset_less=True) for i in range(2)]
        for i, quad in enumerate(quads):
            m.d.sync += quad.eq(pairs[2 * i] + (pairs[2 * i + 1] << 2))
        product = Signal(signed(n + 8), reset_less=True)
        m.d.sync += product.eq(quads[0] + (quads[1] << 4))
        # Stages 5, 6: shift by one less, so that the last bit rounds
        coarse, fine = Signal.like(product), Signal.like(product)
        low = delay(m, shift[:3], 1, "shift_low", reset_less=True)
        m.d.sync += [coarse.eq(product >> (shift[3:] << 3)), fine.eq(coarse >> low)]
        # Stage 7: saturate early, so that the rounding adder is short
        short = Signal(signed(13), reset_less=True)
        m.d.sync += short.eq(Mux(fine > 4095, 4095, Mux(fine < -4096, -4096, fine)))
        # Stage 8: round half up
        rounded = Signal(signed(13))
        m.d.comb += rounded.eq((short >> 1) + short[0])
        m.d.sync += self.value.eq(Mux(rounded > 2047, 2047, rounded))
        return m
