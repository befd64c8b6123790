"""Sigmoid and tanh by interpolation between seventeen knots, one value a cycle."""

from collections.abc import Collection, Iterable
from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.stages import Stages
from hw.common import delay
from hw.plan.latency import PARALLEL


def segments(knots: Iterable[int]) -> tuple[list[int], list[int]]:
    """The knots, and the step from each to the next.

    Raises
    ------
    ValueError
        They are not 17 numbers in 0..256 that rise by 0..63 each.
    """
    knots = [int(k) for k in knots]
    steps = [b - a for a, b in pairwise(knots)]
    inside = knots and knots[0] >= 0 and knots[-1] <= 256
    if len(knots) != 17 or not inside or not all(0 <= s <= 63 for s in steps):
        raise ValueError(f"knots must be 17 numbers in 0..256 that rise by 0..63 each, not {knots}")
    return knots, steps


class Activation(wiring.Component):
    """sigmoid(v / 64) as a unit value 0..256, or tanh(v / 128) in 1/127.

    Eq. 2-4 of the paper. Both come from h = 256 tanh(|v| / 128) by linear interpolation between
    knots every 32 steps. The knots are constants in logic, not a memory, since every channel unit
    needs its own.

    Bit-exact model: golden.activation.sigmoid, .tanh

    Parameters
    ----------
    knots : sequence of 17 int
        0..256, not decreasing, steps of at most 63.
    stages : collection of int
        Those of 1..5 that end in registers.

    Ports
    -----
    value : In(signed(10)), -511..511
    unit : Out(9), 0..256
        Sigmoid, `latency` cycles later.
    tanh : Out(signed(8)), -127..127
        Likewise.
    """

    latency = PARALLEL.activate
    stages = range(1, latency + 1)

    def __init__(self, *, knots, stages: Collection[int] = stages):
        self.stages, self.latency = stages, len(stages)
        self.knots, self.steps = segments(knots)
        super().__init__({"value": In(signed(10)), "unit": Out(9), "tanh": Out(signed(8))})

    def elaborate(self, platform):
        m = Module()
        at = Stages(m, self.stages)
        # Stage 1: magnitude
        magnitude = Signal(9, reset_less=True)
        at(1, magnitude.eq(Mux(self.value < 0, -self.value, self.value)))
        negative = delay(m, self.value[-1], at.between(1, 4), "negative", reset_less=True)
        # Stage 2: knot and slope of the segment
        base, slope = Signal(9, reset_less=True), Signal(6, reset_less=True)
        fraction = Signal(5, reset_less=True)
        at(
            2,
            base.eq(Array(self.knots[:16])[magnitude[5:]]),
            slope.eq(Array(self.steps)[magnitude[5:]]),
            fraction.eq(magnitude[:5]),
        )
        # Stage 3: product
        product = Signal(11, reset_less=True)
        at(3, product.eq(slope * fraction))
        base_later = delay(m, base, at.between(3, 3), "base", reset_less=True)
        # Stage 4: h
        h = Signal(9, reset_less=True)
        half = product[4]  # rounds: twice it is a carry into the lowest bit
        at(4, h.eq((Cat(half, base_later) + Cat(half, product[5:])) >> 1))
        # Stage 5: both functions
        unit, size = Signal(8), Signal(7)
        m.d.comb += [unit.eq((h + 1) >> 1), size.eq(((h << 7) - h + 128) >> 8)]
        at(
            5,
            self.unit.eq(Mux(negative, 128 - unit, 128 + unit)),
            self.tanh.eq(Mux(negative, -size, size)),
        )
        return m
