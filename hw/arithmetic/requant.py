"""Requantiser: exact sum to a small number, one a cycle."""

from collections.abc import Collection

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import rows
from hw.arithmetic.stages import Stages
from hw.common import delay
from hw.plan.latency import PARALLEL


class Requantiser(wiring.Component):
    """((sum + bias) * multiplier + half) >> shift, round half up, saturated to 12 bits.

    Bit-exact model: golden.requant.requantise, then saturated to -2048..2047 (every user of it
    saturates to less).

    Parameters
    ----------
    acc_bits : int
        Width of `sum` and of `bias`, signed.
    wraps : bool
        They have one bit more each, but no more together.
    cells : str
        Kind of adders, see hw.arithmetic.carry.
    stages : collection of int
        Those of 1..8 that end in registers.

    Ports
    -----
    sum, bias : In(signed(acc_bits + wraps))
    multiplier : In(8)
    shift : In(5)
        The shift minus one (so 1..32 is meant).
    value : Out(signed(12))
        `latency` cycles later.
    """

    latency = PARALLEL.requantise - 1
    stages = range(1, latency + 1)

    def __init__(
        self,
        *,
        acc_bits: int,
        wraps: bool = False,
        cells: str = "generic",
        stages: Collection[int] = stages,
    ):
        if not 9 <= acc_bits <= 40:
            raise ValueError(f"acc_bits must be 9..40, not {acc_bits}")
        self.acc_bits, self.cells = acc_bits, cells
        self.stages, self.latency = stages, len(stages)
        super().__init__(
            {
                "sum": In(signed(acc_bits + wraps)),
                "bias": In(signed(acc_bits + wraps)),
                "multiplier": In(8),
                "shift": In(5),
                "value": Out(signed(12)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        n = self.acc_bits + 1
        at = Stages(m, self.stages)
        multiplier = delay(m, self.multiplier, at.between(1, 1), "multiplier", reset_less=True)
        shift = delay(m, self.shift, at.between(1, 4), "shift", reset_less=True)
        # Stage 1: bias
        total = Signal(signed(n), reset_less=True)
        at(1, total.eq(self.sum + self.bias))
        # Stages 2 to 4: multiply, a tree of adders
        pairs = [Signal(signed(n + 2), name=f"pair{i}", reset_less=True) for i in range(4)]
        for i, pair in enumerate(pairs):
            low, high = multiplier[2 * i], multiplier[2 * i + 1]
            at(2, pair.eq(rows(m, total, low, high, n + 2, self.cells, f"rows{i}")))
        quads = [Signal(signed(n + 4), name=f"quad{i}", reset_less=True) for i in range(2)]
        for i, quad in enumerate(quads):
            at(3, quad.eq(pairs[2 * i] + (pairs[2 * i + 1] << 2)))
        product = Signal(signed(n + 8), reset_less=True)
        at(4, product.eq(quads[0] + (quads[1] << 4)))
        # Stage 5: shift by whole bytes, of which 21 bits count: more of them saturate anyway
        coarse, over = Signal(signed(21), reset_less=True), Signal(reset_less=True)
        sign = delay(m, product[-1], at.between(5, 6), "sign", reset_less=True)
        with m.Switch(shift[3:]):
            for i in range(4):
                with m.Case(i):
                    rest = product >> (8 * i)
                    above = Cat(bit != product[-1] for bit in rest[20:])
                    at(5, coarse.eq(rest), over.eq(above.any()))
        # Stage 6: shift by one less than the rest, so that the last bit rounds
        low = delay(m, shift[:3], at.between(5, 5), "shift_low", reset_less=True)
        fine = Signal.like(coarse)
        at(6, fine.eq(coarse >> low))
        beyond = delay(m, over, at.between(6, 6), "over", reset_less=True)
        # Stage 7: saturate to -4096..4094, so that rounding does not leave the 12 bits
        short = Signal(signed(13), reset_less=True)
        least = Cat(bit != sign for bit in fine[12:]).any()
        most = ~sign & fine[:12].all()
        saturated = Mux(beyond | least | most, Mux(sign, -4096, 4094), fine[:13].as_signed())
        at(7, short.eq(saturated))
        # Stage 8: round half up
        at(8, self.value.eq((short >> 1) + short[0]))
        return m
