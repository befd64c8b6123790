"""Channel unit: what happens to a channel's sums between the array and the memory."""

from collections.abc import Collection
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.activation import Activation
from hw.arithmetic.requant import Requantiser
from hw.common import delay, one_of
from hw.parallel.gate import Gate
from hw.plan import Function
from hw.plan.functions import Saturation, Y, functions
from hw.plan.latency import PARALLEL


@dataclass(frozen=True, kw_only=True)
class UnitStages:
    """Stages that end in registers: of Requantiser, Activation and Gate. The one between the first
    two, which saturates, always does."""

    requantise: Collection[int]
    activate: Collection[int]
    gate: Collection[int]


EVERY = UnitStages(requantise=Requantiser.stages, activate=Activation.stages, gate=Gate.stages)
"""For a fast clock."""
FEW = UnitStages(requantise=(1, 4, 6), activate=(3, 5), gate=(3, 5))
"""For a slow one: hw.plan.latency.LOW_POWER."""


class ChannelUnit(wiring.Component):
    """Requantiser, activation and gate in a row; a byte a cycle.

    ::

        sum ─► Requantiser ─► saturate ─► Activation ─► Gate ─► byte
                  ▲ bias, multiplier, shift               ▲ operand bytes

    Bit-exact model: golden.requant, .activation, .attention, and .conv_gru.new_state.

    Parameters
    ----------
    acc_bits, wraps
        Width of the sums, see Requantiser.
    knots : sequence of int
        See Activation.
    signed_features, spatial : bool
        See Gate.
    cells : str
        Kind of adders, see hw.arithmetic.carry.
    stages : UnitStages

    Ports
    -----
    sum : In(signed(acc_bits + wraps))
        Head of the drain register.
    bias : In(signed(acc_bits + wraps)), multiplier : In(8), shift : In(5), with `sum`
        Constants of the channel; the shift minus one.
    function : In(Function), with `sum`
    a, b : In(8)
        Operand bytes, `operand_delay` cycles after `sum`.
    byte : Out(8)
        `latency` cycles after `sum`.
    """

    latency = PARALLEL.unit
    operand_delay = PARALLEL.requantise + PARALLEL.activate

    def __init__(
        self,
        *,
        acc_bits: int,
        wraps: bool = False,
        knots,
        signed_features: bool,
        spatial: bool,
        cells: str = "generic",
        stages: UnitStages = EVERY,
    ):
        self.acc_bits = acc_bits
        self.requantiser = Requantiser(
            acc_bits=acc_bits, wraps=wraps, cells=cells, stages=stages.requantise
        )
        self.activation = Activation(knots=knots, stages=stages.activate)
        self.gate = Gate(
            signed_features=signed_features, spatial=spatial, cells=cells, stages=stages.gate
        )
        self.operand_delay = self.requantiser.latency + 1 + self.activation.latency
        self.latency = self.operand_delay + self.gate.latency
        self.spatial = spatial
        super().__init__(
            {
                "sum": self.requantiser.signature.members["sum"],
                "bias": self.requantiser.signature.members["bias"],
                "multiplier": In(8),
                "shift": In(5),
                "function": In(Function),
                "a": In(8),
                "b": In(8),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.requantiser = requantiser = self.requantiser
        m.submodules.activation = activation = self.activation
        m.submodules.gate = gate = self.gate
        # the mix keeps its gain where other functions have their bias
        gains = functions(lambda means: means.y is Y.GAIN) if self.spatial else ()
        mixing = one_of(self.function, gains)
        m.d.comb += [
            requantiser.sum.eq(self.sum),
            requantiser.bias.eq(Mux(mixing, 0, self.bias)),
            requantiser.multiplier.eq(self.multiplier),
            requantiser.shift.eq(self.shift),
        ]
        # Stage 9: saturate as the function wants it
        function = delay(m, self.function, requantiser.latency, "function", reset_less=True)
        value = Signal(signed(10), reset_less=True)
        v = requantiser.value
        sign, above, below = v[-1], Signal(), Signal()
        filled = Signal(9)
        m.d.comb += filled.eq(Mux(above, 0x1FF, Mux(below, 0, v[:9])))
        with m.Switch(function):
            with m.Case(*functions(lambda means: means.saturation is Saturation.RELU)):
                m.d.comb += [above.eq(~sign & v[8:].any()), below.eq(sign)]
                m.d.sync += value.eq(filled[:8])
            with m.Case(*functions(lambda means: means.saturation is Saturation.SIGNED)):
                m.d.comb += [above.eq(~sign & v[7:].any()), below.eq(sign & ~v[7:].all())]
                m.d.sync += value.eq(Cat(filled[:7], sign).as_signed())
            with m.Default():  # Saturation.ACTIVATION
                m.d.comb += [above.eq(~sign & v[9:].any()), below.eq(sign & ~v[9:].all())]
                least = below | (sign & ~v[:9].any())
                m.d.sync += value.eq(Cat(filled[0] | least, filled[1:], sign).as_signed())
        m.d.comb += activation.value.eq(value)
        later = activation.latency
        m.d.comb += [
            gate.function.eq(delay(m, function, later + 1, "function_late", reset_less=True)),
            gate.value.eq(delay(m, value, later, "value", reset_less=True)),
            gate.unit.eq(activation.unit),
            gate.tanh.eq(activation.tanh),
            gate.a.eq(self.a),
            gate.b.eq(self.b),
            self.byte.eq(gate.byte),
        ]
        if self.spatial:
            m.d.comb += gate.gain.eq(
                delay(m, self.bias[:9], self.operand_delay, "gain", reset_less=True)
            )
        return m
