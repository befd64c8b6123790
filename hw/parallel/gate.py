"""Gate: what is done to a value after its activation, one byte a cycle.

The elementwise arithmetic of the conv-GRU and of both attentions.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import rows, with_either
from hw.common import delay
from hw.plan import Function
from hw.plan.latency import PARALLEL


class Gate(wiring.Component):
    """base + (x * y + 128) >> 8, with x, y and base chosen by the function.

    ========  =======================  ===========================  =================
    function  result                   equation of the paper        golden
    ========  =======================  ===========================  =================
    RELU      value - 128              F (1)                        requant.relu
    SIGNED    value                    K (6), S (7), V (8)          requant.signed
    CHANNEL   C * A                    in (13), A of (10-12)        attention.channel_gate
    RESET     H * R                    in (4), R of (2)             activation.gate
    UPDATE    U as a unit byte         (3)                          activation.encode_unit
    BLEND     N + (H - N) * U          (5)                          conv_gru.new_state
    MIX       V A + gain * P           (9)                          attention.mix
    ========  =======================  ===========================  =================

    One multiplier serves them all: (1 - U) N + U H = N + (H - N) U exactly, as N enters as 256 N.

    Parameters
    ----------
    signed_features : bool
        C has zero point 0 (spatial attention), not -128.
    spatial : bool
        MIX exists.
    cells : str
        Kind of adders, see hw.arithmetic.carry.

    Ports
    -----
    function : in, Function
    value : in, signed(10), saturated requantised sum
    unit, tanh : in, from Activation
    a, b : in 8 bits, operand bytes: H or C in `a`; U or P in `b`
    gain : in 9 bits, of MIX
    byte : out 8 bits, `latency` cycles later
    """

    latency = PARALLEL.gate

    def __init__(self, *, signed_features: bool, spatial: bool, cells: str = "generic"):
        self.signed_features, self.spatial, self.cells = signed_features, spatial, cells
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
        # Stage 1: operands
        x, y = Signal(signed(10), reset_less=True), Signal(9, reset_less=True)
        base = Signal(signed(10), reset_less=True)
        state, feature = self.a.as_signed(), Signal(signed(9))
        m.d.comb += feature.eq(
            self.a.as_signed() if self.signed_features else Cat(self.a[:7], ~self.a[7])
        )
        m.d.sync += [x.eq(0), y.eq(self.unit), base.eq(self.value)]
        with m.Switch(self.function):
            with m.Case(Function.CHANNEL):
                m.d.sync += [x.eq(feature), base.eq(0)]
            with m.Case(Function.RESET):
                m.d.sync += [x.eq(state), base.eq(0)]
            with m.Case(Function.UPDATE):
                m.d.sync += base.eq(self.unit)
            with m.Case(Function.BLEND):
                m.d.sync += [x.eq(state - self.tanh), base.eq(self.tanh), y.eq(self.b + self.b[7])]
            if self.spatial:
                with m.Case(Function.MIX):
                    m.d.sync += [x.eq(Cat(self.b[:7], ~self.b[7])), y.eq(self.gain)]
        # Stages 2, 3: x * y; y is 256 at most, so that its highest bit stands alone
        quads = [Signal(signed(14), name=f"quad{i}", reset_less=True) for i in range(2)]
        for i, quad in enumerate(quads):
            low, high = (
                rows(m, x, y[k], y[k + 1], 12, self.cells, f"rows{k}") for k in (4 * i, 4 * i + 2)
            )
            m.d.sync += quad.eq(low + (high << 2))
        whole = Signal(signed(10), reset_less=True)
        m.d.sync += whole.eq(Mux(y[8], x, 0))
        product = Signal(signed(19), reset_less=True)
        m.d.sync += product.eq(
            with_either(
                m, quads[0], quads[1].shift_left(4), whole.shift_left(8), 19, self.cells, "product"
            )
        )
        base = delay(m, base, 2, "base", reset_less=True)
        # Stage 4: round half up, add: twice the half is a carry into the lowest bit
        total = Signal(signed(12), reset_less=True)
        half = product[7]
        m.d.sync += total.eq(
            (Cat(half, base).as_signed() + Cat(half, product[8:]).as_signed()) >> 1
        )
        # Stage 5: to the byte that is stored
        function = delay(m, self.function, 4, "function", reset_less=True)
        m.d.sync += self.byte.eq(total)
        with m.Switch(function):
            with m.Case(Function.RELU):
                m.d.sync += self.byte.eq(Cat(total[:7], ~total[7]))
            if not self.signed_features:
                with m.Case(Function.CHANNEL):
                    m.d.sync += self.byte.eq(Cat(total[:7], ~total[7]))
            with m.Case(Function.UPDATE):
                m.d.sync += self.byte.eq(total - (total >= 128))
            if self.spatial:
                with m.Case(Function.MIX):
                    m.d.sync += self.byte.eq(Mux(total > 127, 127, Mux(total < -128, -128, total)))
        return m
