"""The serial engine's one channel unit: bias, pool, requantise, activation, gate; bytes out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arithmetic.activation import segments
from hw.common import delay, one_of
from hw.plan import Function
from hw.plan.functions import SERIAL_FUNCTIONS, Base, Code, Saturation, X, Y, functions
from hw.plan.latency import SERIAL
from hw.plan.limits import SERIAL as SERIAL_LIMITS

FIRST_SHIFT, LAST_SHIFT = SERIAL_LIMITS.shifts
"""Shifts that the unit can do."""
SHIFT_BITS = (LAST_SHIFT - FIRST_SHIFT).bit_length()
KEPT = 12
"""Bits of a shifted sum: what -512..511 takes, a bit to round, and one for the rounded value."""


def table(knots) -> list[int]:
    """Contents of the activation memory: of |v| in 0..511, half (0..128), then size (0..127).

    sigmoid = 128 +- half, tanh = +- size; see golden.activation.
    """
    knots, steps = segments(knots)
    found = []
    for v in range(512):
        base, step = knots[v >> 5], steps[v >> 5]
        found.append(base + ((step * (v & 31) + 16) >> 5))
    return [(h + 1) >> 1 for h in found] + [(h * 127 + 128) >> 8 for h in found]


def _rows(y, x, at):
    """Row `at` of y * x: x where y's bit is set."""
    return Mux(y[at], x, 0) << at


def _with_carry(a, b, carry):
    """a + b + carry, modulo the length of both, in one chain."""
    assert len(a) == len(b)
    return (Cat(1, a) + Cat(carry, b))[1 : len(a) + 1]


def _digits(m, name, y, x, bits, strobe, special=None):
    """x * y, shifted right by 4, in three stages; the last 8 bits are never used.

    Four rows a cycle, the lower digit first. `strobe`: x (of so many bits) and y (8 bits) are there
    for the first time. `special`: y is 256.
    """
    digit = Mux(strobe, y[:4], y[4:8])
    pairs = [Signal(signed(bits + 2), name=f"{name}_pair{i}", reset_less=True) for i in range(2)]
    upper = Mux(digit[2], x, 0)
    odd = digit[3]
    if special is not None:  # twice the highest row
        now = special & ~strobe
        upper, odd = Mux(digit[2], x, Mux(now, x << 1, 0)), digit[3] | now
    m.d.sync += [
        pairs[0].eq(_rows(digit, x, 0) + _rows(digit, x, 1)),
        pairs[1].eq(upper + (Mux(odd, x, 0) << 1)),
    ]
    quad = Signal(signed(bits + 4), name=f"{name}_quad", reset_less=True)
    m.d.sync += quad.eq(pairs[0] + (pairs[1] << 2))
    before = Signal(signed(bits), name=f"{name}_before", reset_less=True)
    m.d.sync += before.eq(quad >> 4)
    return before + quad


class SerialUnit(wiring.Component):
    """Sums of all lanes one after the other, a value every two cycles (four for BLEND).

    The functions of a channel never fall, so that the larger of two neighbouring sums gives the
    larger of their two bytes: it pools (max pool 1x2, Table 1) before it requantises, and has two
    cycles for each value. Both multiplications take their 8-bit factor in two digits.

    Bit-exact model: golden.requant, golden.activation, then hw.plan.functions.Meaning.byte.

    Parameters
    ----------
    acc_bits, high_bits : int
        Of a bias; of `high`.
    knots : sequence of int
        See hw.arithmetic.activation.

    Ports
    -----
    low : In(16), high : In(signed(high_bits))
        Of the sum, as SerialArray gives it (high a cycle later).
    bias : In(signed(acc_bits + 1))
        What is to be added, see hw.serial.starts. Its lower 16 bits with `low`, those above with
        `high`.
    multiplier : In(8), shift : In(4)
        With bit 3 of `at`; the shift less FIRST_SHIFT.
    pool : In(1)
        Sums go in pairs.
    function : In(Function)
        The same from the first `low` to the byte.
    at : In(unit_gated + 1)
        Bit i is set i cycles after the first `low` of a value.
    a, b : In(8)
        Operand bytes, with bit `gate_at` of `at`.
    byte : Out(8), written : Out(1)
        The value's byte is there.
    """

    def __init__(self, *, acc_bits: int, high_bits: int, knots):
        self.acc_bits, self.high_bits = acc_bits, high_bits
        self.table = table(knots)
        super().__init__(
            {
                "low": In(16),
                "high": In(signed(high_bits)),
                "bias": In(signed(acc_bits + 1)),
                "multiplier": In(8),
                "shift": In(SHIFT_BITS),
                "pool": In(1),
                "function": In(Function),
                "at": In(SERIAL.unit_gated + 1),
                "a": In(8),
                "b": In(8),
                "byte": Out(8),
                "written": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total, value, multiplier, shifts = self._pooled(m)
        product = _digits(m, "scale", multiplier, value, len(total), self.at[4])
        dropped, beyond = self._shifted(m, product, len(total) + 8, shifts)
        self._gated(m, self._saturated(m, dropped, beyond))
        return m

    def _is(self, m, name, which):
        """Whether something is true of the function: a register, which is right long before it is
        asked for (stage 11)."""
        found = Signal(name=name, reset_less=True)
        m.d.sync += found.eq(one_of(self.function, functions(which, SERIAL_FUNCTIONS)))
        return found

    def _pooled(self, m):
        """Stages 1, 2: the sum with its bias; the larger of two; constants that stay with it."""
        at = self.at
        # Stage 1: bias, the lower half first
        n = max(self.acc_bits, 16 + self.high_bits) + 1
        below = Signal(17, reset_less=True)
        total = Signal(signed(n), reset_less=True)
        high = Signal(signed(n - 16))
        added = Signal.like(high)
        m.d.comb += [high.eq(self.high), added.eq(self.bias[16:].as_signed())]
        upper = _with_carry(high, added, below[16])
        m.d.sync += [
            below.eq(self.low + self.bias[:16]),
            total.eq(Cat(below[:16], upper).as_signed()),
        ]
        # Stage 2: the larger of two
        # the first is kept inverted, so that comparing them is a sum
        hold_not, value = Signal.like(total), Signal.like(total)
        smaller = Signal()
        m.d.comb += smaller.eq((total + hold_not)[-1])
        with m.If(at[2]):
            m.d.sync += hold_not.eq(~total)
        multiplier, shifts = Signal(8, reset_less=True), [self.shift]
        for i, strobe in enumerate((3, 5, 7, 9)):
            later = Signal(SHIFT_BITS, name=f"shift_at{i}", reset_less=True)
            with m.If(at[strobe]):
                m.d.sync += later.eq(shifts[-1])
            shifts.append(later)
        with m.If(at[3]):
            m.d.sync += [
                value.eq(Mux(self.pool & smaller, ~hold_not, total)),
                multiplier.eq(self.multiplier),
            ]
        return total, value, multiplier, shifts

    def _shifted(self, m, product, bits, shifts):
        """Stages 6 to 9: the shift, less one, that rounds; and whether bits were lost."""
        # large ones first: bits that no later shift brings into the result only say that it is
        # beyond what is kept
        dropped = Signal(signed(bits - (FIRST_SHIFT - 1)), reset_less=True)
        m.d.sync += dropped.eq(product >> (FIRST_SHIFT - 1 - 4))
        beyond = 0
        for stage, i in enumerate(reversed(range(SHIFT_BITS))):
            width = min(len(dropped), KEPT + (1 << i) - 1)
            shift = shifts[1 + (stage + 4) // 2][i]
            moved = Signal.like(dropped, name=f"moved{i}")
            m.d.comb += moved.eq(Mux(shift, dropped >> (1 << i), dropped))
            top = moved[width - 1 :]
            later = Signal(signed(width), name=f"shifted{i}", reset_less=True)
            outside = Signal(name=f"beyond{i}", reset_less=True)
            m.d.sync += [
                later.eq(Cat(moved[: width - 1], moved[-1])),
                outside.eq(beyond | (top.any() & ~top.all())),
            ]
            dropped, beyond = later, outside
        return dropped, beyond

    def _saturated(self, m, dropped, beyond):
        """Stage 10: round half up; Stage 11: saturate as the function wants it."""
        short, outside, negative = Signal(signed(KEPT)), Signal(), Signal()
        rounded = Signal(signed(KEPT), reset_less=True)
        m.d.comb += short.eq(dropped)
        m.d.sync += [
            rounded.eq((short >> 1) + short[0]),
            negative.eq(dropped[-1]),
            outside.eq(beyond),
        ]
        relu = self._is(m, "relu", lambda means: means.saturation is Saturation.RELU)
        (relu_low, relu_high), (low, high) = Saturation.RELU.value, Saturation.ACTIVATION.value
        clamped = Signal(10, reset_less=True)
        low_out = Mux(relu, negative, rounded < low)
        high_out = Mux(relu, rounded > relu_high, rounded > high)
        m.d.sync += clamped.eq(rounded)
        with m.If(Mux(outside, negative, low_out)):
            m.d.sync += clamped.eq(Mux(relu, relu_low, low))
        with m.Elif(Mux(outside, ~negative, high_out)):
            m.d.sync += clamped.eq(Mux(relu, relu_high, high))
        return clamped

    def _gated(self, m, clamped):
        """Stages 12 to 17: activation, gate, byte."""
        at, t = self.at, SERIAL
        feature_x = self._is(m, "feature_x", lambda means: means.x is X.FEATURE)
        other_y = self._is(m, "other_y", lambda means: means.y is Y.UPDATE)
        tanh_base = self._is(m, "tanh_base", lambda means: means.base is Base.TANH)
        offset = self._is(m, "offset", lambda means: means.code is Code.OFFSET)
        plainly = self._is(m, "ungated", lambda means: not means.gated)
        # Stage 12: activation memory
        v10 = clamped.as_signed()
        memory = m.submodules.table = Memory(shape=8, depth=1024, init=self.table)
        read = memory.read_port()
        m.d.comb += read.addr.eq(Cat(Mux(v10 < 0, -v10, v10)[:9], tanh_base))
        plain = delay(m, clamped[:8], 1, "plain", reset_less=True)
        sign = delay(m, v10 < 0, 1, "sign", reset_less=True)
        # Stage 13: operands of the gate. Each is one sum behind the slow memory: what it takes off
        # is added inverted, and the 1 that this lacks is the carry
        inverted = Signal(signed(9))  # for a negative sum less than 0: -1 - the memory's
        unit, tanh, less = Signal(9), Signal(signed(8)), Signal(signed(9))
        m.d.comb += [
            inverted.eq(Cat(read.data ^ sign.replicate(8), sign)),
            unit.eq(_with_carry(inverted, Const(128, signed(9)), sign)),
            tanh.eq(inverted + sign),
            less.eq(Mux(tanh_base, ~inverted, 0)),
        ]
        x, y = Signal(signed(9), reset_less=True), Signal(9, reset_less=True)
        base, simple = Signal(signed(8), reset_less=True), Signal(8, reset_less=True)
        a9 = Cat(self.a, self.a[7]).as_signed()
        feature = Cat(self.a[:7], ~self.a[7])
        # a unit value less one from 128 on, where it is stored as a byte
        coded = _with_carry(inverted[:8], Cat((~sign).replicate(7), sign), sign & read.data.any())
        with m.If(at[t.gate_at]):
            m.d.sync += [
                x.eq(Mux(feature_x, feature, _with_carry(a9, less, tanh_base & ~sign))),
                y.eq(Mux(other_y, self.b + self.b[7], unit)),
                base.eq(Mux(tanh_base, tanh, 0)),
                simple.eq(Mux(offset, Cat(plain[:7], ~plain[7]), coded)),
            ]
        # Stages 14 to 17: x * y, rounded, and the base
        product = _digits(m, "gate", y, x, 9, at[t.gate_at + 1], special=y[8])
        result = Signal(8, reset_less=True)
        m.d.sync += result.eq((product >> 4) + product[3] + base)
        m.d.comb += [
            self.byte.eq(Cat(result[:7], result[7] ^ feature_x)),
            self.written.eq(at[t.unit_gated]),
        ]
        with m.If(plainly):
            m.d.comb += [self.byte.eq(simple), self.written.eq(at[t.unit_plain])]
