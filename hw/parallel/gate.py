"""Gate: what is done to a value after its activation, one byte a cycle.

The elementwise arithmetic of the conv-GRU and of both attentions.
"""

from collections.abc import Collection

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import rows, with_either
from hw.arithmetic.stages import Stages
from hw.common import delay
from hw.plan import Function
from hw.plan.functions import FUNCTIONS, Base, Code, X, Y, functions
from hw.plan.latency import PARALLEL


class Gate(wiring.Component):
    """base + (x * y + 128 >> 8), with x, y and base chosen by the function; see hw.plan.functions.

    Bit-exact model: hw.plan.functions.Meaning.byte; and golden: requant.relu, .signed,
    attention.channel_gate, .mix, activation.gate, .encode_unit, conv_gru.new_state.

    Parameters
    ----------
    signed_features : bool
        C has zero point 0 (spatial attention), not -128.
    spatial : bool
        MIX exists.
    cells : str
        Kind of adders, see hw.arithmetic.carry.
    stages : collection of int
        Those of 1..5 that end in registers.

    Ports
    -----
    function : In(Function)
    value : In(signed(10))
        Saturated requantised sum.
    unit : In(9), 0..256; tanh : In(signed(8))
        From Activation.
    a, b : In(8)
        Operand bytes: H or C in `a`; U or P in `b`.
    gain : In(9), 0..256
        Of MIX.
    byte : Out(8)
        `latency` cycles later.
    """

    latency = PARALLEL.gate
    stages = range(1, latency + 1)

    def __init__(
        self,
        *,
        signed_features: bool,
        spatial: bool,
        cells: str = "generic",
        stages: Collection[int] = stages,
    ):
        self.stages, self.latency = stages, len(stages)
        self.signed_features, self.cells = signed_features, cells
        self.functions = tuple(f for f in Function if spatial or f != Function.MIX)
        super().__init__(
            {
                "function": In(Function),
                "value": In(signed(10)),
                "unit": In(9),
                "tanh": In(signed(8)),
                "a": In(8),
                "b": In(8),
                "gain": In(9),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at = Stages(m, self.stages)
        # Stage 1: operands
        x, y = Signal(signed(10), reset_less=True), Signal(9, reset_less=True)
        base = Signal(signed(10), reset_less=True)
        state = self.a.as_signed()
        xs = {
            X.NONE: 0,
            X.STATE: state,
            X.STATE_LESS_TANH: state - self.tanh,
            X.FEATURE: state if self.signed_features else _offset(self.a),
            X.OTHER: _offset(self.b),
        }
        ys = {Y.UNIT: self.unit, Y.UPDATE: self.b + self.b[7], Y.GAIN: self.gain}
        bases = {Base.NONE: 0, Base.VALUE: self.value, Base.UNIT: self.unit, Base.TANH: self.tanh}
        at(1, x.eq(0), y.eq(self.unit), base.eq(self.value))
        with m.Switch(self.function):
            for function in self.functions:
                means = FUNCTIONS[function]
                with m.Case(function):
                    if means.x is not X.NONE:
                        at(1, x.eq(xs[means.x]))
                    if means.y is not Y.UNIT:
                        at(1, y.eq(ys[means.y]))
                    if means.base is not Base.VALUE:
                        at(1, base.eq(bases[means.base]))
        # Stages 2, 3: x * y; y is 256 at most, so that its highest bit stands alone
        quads = [Signal(signed(14), name=f"quad{i}", reset_less=True) for i in range(2)]
        for i, quad in enumerate(quads):
            low, high = (
                rows(m, x, y[k], y[k + 1], 12, self.cells, f"rows{k}") for k in (4 * i, 4 * i + 2)
            )
            at(2, quad.eq(low + (high << 2)))
        whole = Signal(signed(10), reset_less=True)
        at(2, whole.eq(Mux(y[8], x, 0)))
        product = Signal(signed(19), reset_less=True)
        high = (quads[1].shift_left(4), whole.shift_left(8))
        at(3, product.eq(with_either(m, quads[0], *high, 19, self.cells, "product")))
        base = delay(m, base, at.between(2, 3), "base", reset_less=True)
        # Stage 4: round half up, add: twice the half is a carry into the lowest bit
        total = Signal(signed(12), reset_less=True)
        half = product[7]
        at(4, total.eq((Cat(half, base).as_signed() + Cat(half, product[8:]).as_signed()) >> 1))
        # Stage 5: to the byte that is stored
        function = delay(m, self.function, at.between(1, 4), "function", reset_less=True)
        offset = _offset(total)
        codes = {
            Code.OFFSET: offset,
            Code.FEATURE: total if self.signed_features else offset,
            Code.UNIT: total - (total >= 128),
            Code.SATURATED: Mux(total > 127, 127, Mux(total < -128, -128, total)),
        }
        at(5, self.byte.eq(total))
        with m.Switch(function):
            for code, byte in codes.items():
                if coded := functions(lambda means, code=code: means.code is code, self.functions):
                    with m.Case(*coded):
                        at(5, self.byte.eq(byte))
        return m


def _offset(value):
    """A byte plus 128, or less 128: the same in 8 bits."""
    return Cat(value[:7], ~value[7])
