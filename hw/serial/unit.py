"""The serial engine's one channel unit: bias, pool, requantise, activation, gate; bytes out."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arithmetic.activation import segments
from hw.common import delay, one_of
from hw.plan import Function
from hw.plan.functions import SERIAL_FUNCTIONS, Base, Code, Saturation, X, functions
from hw.plan.limits import SERIAL as SERIAL_LIMITS

FIRST_SHIFT, LAST_SHIFT = SERIAL_LIMITS.shifts
"""Shifts that the unit can do."""
SHIFT_BITS = (LAST_SHIFT - FIRST_SHIFT).bit_length()
KEPT = 12
"""Bits of a shifted sum: what -512..511 takes, a bit to round, and one for the rounded value."""


def table(knots) -> list[int]:
    """Contents of the activation memory: of |v| in 0..511, the size of tanh (0..127), and in bit 7
    how much larger that of sigmoid is (0 or 1).

    sigmoid = 128 +- (size + bit 7), tanh = +- size; see golden.activation.
    """
    knots, steps = segments(knots)
    found = []
    for v in range(512):
        h = knots[v >> 5] + ((steps[v >> 5] * (v & 31) + 16) >> 5)
        size = (h * 127 + 128) >> 8
        found.append(size | ((h + 1 >> 1) - size) << 7)
    return found


def _with_carry(a, b, carry):
    """a + b + carry, modulo the length of both, in one chain."""
    assert len(a) == len(b)
    return (Cat(1, a) + Cat(carry, b))[1 : len(a) + 1]


DIGITS = 0b01010101
"""What is added to a factor, so that its pairs of bits become digits -1, 0, 1, 2 (as 0..3)."""


def _product(m, name, x, digits, bits):
    """x times a number of four digits, in two stages. What comes out has the sum floor(it / 64).

    A digit is a pair of bits, see DIGITS. x times -1 is its complement: a carry has the 1 that it
    lacks, the last digit's comes out beside the sum. `bits`: of the product that count.
    """

    def of(i):
        digit, double = digits[2 * i : 2 * i + 2], x << 1
        row = Signal(signed(len(x) + 1), name=f"{name}_row{i}")
        m.d.comb += row.eq(Mux(digit[1], Mux(digit[0], double, x), Mux(digit[0], 0, ~x)))
        return row, digit == 0

    def total(suffix, width, a, b, carry):
        """In `width` bits, registered."""
        wide = [Signal(signed(width), name=f"{name}_{suffix}{i}") for i in range(2)]
        found = Signal(signed(width), name=f"{name}_{suffix}", reset_less=True)
        m.d.comb += [wide[0].eq(a), wide[1].eq(b)]
        m.d.sync += found.eq(_with_carry(*wide, carry))
        return found

    (r0, c0), (r1, c1), (r2, c2), (r3, c3) = (of(i) for i in range(4))
    low = total("low", min(bits, len(x) + 4), r0, r1 << 2, c0)
    high = total("high", min(bits - 4, len(x) + 4), r2, r3 << 2, c2)
    carry = delay(m, c1, 1, f"{name}_carry", reset_less=True)
    both = total("both", bits - 2, low >> 2, high << 2, carry)
    return both >> 4, delay(m, c3, 2, f"{name}_lacks", reset_less=True)


class SerialUnit(wiring.Component):
    """Sums of all lanes one after the other, a value every cycle at most.

    The functions of a channel never fall, so that the larger of two neighbouring sums gives the
    larger of their two bytes: it pools (max pool 1x2, Table 1) before it requantises. Both
    multiplications take their factor in digits -1, 0, 1, 2 of base 4: a row of each is one LUT a
    bit. Factors of the gate are the operand (channel's feature, reset's state) or the update; what
    they multiply, comes from the activation memory.

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
    fresh : In(1)
        Three cycles after a lane's first `low`.
    multiplier : In(8), shift : In(4)
        With `fresh`, of the lane; the shift less FIRST_SHIFT.
    pool : In(1)
        Sums go in pairs, until three cycles after the last one's `low`.
    function : In(Function)
        From nine cycles after the first `low` to the byte.
    factor, a : In(8)
        Operand bytes, `gate_at` cycles after the value's `low`: the one of functions that take one,
        or the second one; and the first one of two.
    byte : Out(8)
        The value's byte, `unit` cycles after its (first) `low`.
    """

    def __init__(self, *, acc_bits: int, high_bits: int, knots):
        self.acc_bits, self.high_bits = acc_bits, high_bits
        self.table = table(knots)
        super().__init__(
            {
                "low": In(16),
                "high": In(signed(high_bits)),
                "bias": In(signed(acc_bits + 1)),
                "fresh": In(1),
                "multiplier": In(8),
                "shift": In(SHIFT_BITS),
                "pool": In(1),
                "function": In(Function),
                "factor": In(8),
                "a": In(8),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        value = self._pooled(m)
        digits, shifts = self._constants(m)
        scaled = self._scaled(m, value, digits)
        self._gated(m, self._saturated(m, *self._shifted(m, scaled, shifts)))
        return m

    def _is(self, m, name, which):
        """Whether something is true of the function: a register."""
        found = Signal(name=name, reset_less=True)
        m.d.sync += found.eq(one_of(self.function, functions(which, SERIAL_FUNCTIONS)))
        return found

    def _pooled(self, m):
        """Stages 1 to 3: the sum with its bias; the larger of two."""
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
        # Stage 3: of two the larger, else the one that was there a cycle before; kept inverted, so
        # that comparing them is a sum
        before_not, value = Signal.like(total), Signal.like(total)
        smaller = Signal()
        m.d.comb += smaller.eq((total + before_not)[-1])
        m.d.sync += [
            before_not.eq(~total),
            value.eq(Mux(self.pool & ~smaller, total, ~before_not)),
        ]
        return value

    def _constants(self, m):
        """The multiplier's digits at stage 4; bits of the shift at stages 7 and 8."""
        digits, shift = Signal(9, reset_less=True), Signal(SHIFT_BITS, reset_less=True)
        with m.If(self.fresh):
            m.d.sync += [digits.eq(self.multiplier + DIGITS), shift.eq(self.shift)]
        later, strobe, half = [], delay(m, self.fresh, 3, "fresh"), SHIFT_BITS // 2
        for name, part in (("large", shift[half:]), ("small", shift[:half])):
            later.append(Signal(len(part), name=f"{name}_shift", reset_less=True))
            with m.If(strobe):
                m.d.sync += later[-1].eq(part)
            strobe = delay(m, strobe, 1, f"fresh_{name}")
        return digits, later

    def _scaled(self, m, value, digits):
        """Stages 4 to 6: value * multiplier, shifted right by 8."""
        whole, lacks = _product(m, "scale", value, digits[:8], len(value) + 8)
        most = delay(m, Mux(digits[8], value, 0), 2, "scale_most", reset_less=True)
        scaled = Signal(signed(len(value)), reset_less=True)
        sums = [Signal(signed(len(value) + 2), name=f"scaled{i}") for i in range(2)]
        m.d.comb += [sums[0].eq(whole), sums[1].eq(Cat(C(0, 2), most))]
        m.d.sync += scaled.eq(_with_carry(*sums, lacks)[2:].as_signed())
        return scaled

    def _shifted(self, m, scaled, shifts):
        """Stages 7, 8: the shift, less one, that rounds; and whether bits were lost."""
        # large ones first: bits that no later shift brings into the result only say that it is
        # beyond what is kept
        assert FIRST_SHIFT - 1 == 8  # as it comes
        dropped, beyond, i = scaled, 0, SHIFT_BITS
        for shift in shifts:
            for bit in reversed(shift):
                i -= 1
                width = min(len(dropped), KEPT + (1 << i) - 1)
                moved = Signal.like(dropped, name=f"moved{i}")
                kept = Signal(signed(width), name=f"kept{i}")
                top = moved[width - 1 :]
                m.d.comb += [
                    moved.eq(Mux(bit, dropped >> (1 << i), dropped)),
                    kept.eq(Cat(moved[: width - 1], moved[-1])),
                ]
                dropped, beyond = kept, beyond | (top.any() & ~top.all())
            later = Signal.like(dropped, name=f"shifted{i}", reset_less=True)
            outside = Signal(name=f"beyond{i}", reset_less=True)
            m.d.sync += [later.eq(dropped), outside.eq(beyond)]
            dropped, beyond = later, outside
        return dropped, beyond

    def _saturated(self, m, dropped, beyond):
        """Stage 9: round half up; Stage 10: saturate as the function wants it."""
        short, outside, negative = Signal(signed(KEPT)), Signal(), Signal()
        rounded = Signal(signed(KEPT), reset_less=True)
        m.d.comb += short.eq(dropped)
        m.d.sync += [
            rounded.eq((short >> 1) + short[0]),
            negative.eq(dropped[-1]),
            outside.eq(beyond),
        ]
        self._relu = relu = self._is(m, "relu", lambda means: means.saturation is Saturation.RELU)
        (relu_low, relu_high), (low, high) = Saturation.RELU.value, Saturation.ACTIVATION.value
        clamped = Signal(10, reset_less=True)
        # what is beyond them, from the upper bits: comparisons would be carry chains
        assert (relu_low, relu_high, low, high) == (0, 255, -511, 511)
        below, above = rounded[-1], rounded[9:-1]
        low_out = below & (relu | ~above.all() | ~rounded[:9].any())
        high_out = ~below & (above.any() | relu & rounded[8])
        m.d.sync += clamped.eq(rounded)
        with m.If(Mux(outside, negative, low_out)):
            m.d.sync += clamped.eq(Mux(relu, relu_low, low))
        with m.Elif(Mux(outside, ~negative, high_out)):
            m.d.sync += clamped.eq(Mux(relu, relu_high, high))
        return clamped

    def _gated(self, m, clamped):
        """Stages 11 to 15: activation, gate, byte::

            byte = base + (x * factor + 128 >> 8)

        x: the sigmoid, or a less tanh. base: of a function without a gate its value.
        """
        relu = self._relu
        feature = self._is(m, "feature", lambda means: means.x is X.FEATURE)
        state = self._is(m, "state", lambda means: means.x is X.STATE)
        tanh = self._is(m, "tanh", lambda means: means.base is Base.TANH)
        unit = self._is(m, "unit_code", lambda means: means.code is Code.UNIT)
        offset = self._is(m, "offset", lambda means: means.code in (Code.OFFSET, Code.FEATURE))
        baseless = self._is(m, "baseless", lambda means: means.base is Base.NONE)
        plainly = self._is(m, "ungated", lambda means: not means.gated)
        # Stage 11: activation memory
        v10 = clamped.as_signed()
        memory = m.submodules.table = Memory(shape=8, depth=512, init=self.table)
        read = memory.read_port()
        m.d.comb += read.addr.eq(Mux(v10 < 0, -v10, v10)[:9])
        plain = delay(m, clamped[:8], 1, "plain", reset_less=True)
        sign = delay(m, v10 < 0, 1, "sign", reset_less=True)
        # Stage 12: what is multiplied, and what it is added to
        size, more = read.data[:7], read.data[7]
        x = Signal(signed(10), reset_less=True)
        turned, begin, inverted = Signal(10), Signal(10), Signal()
        m.d.comb += [
            inverted.eq(sign ^ tanh),
            turned.eq(Cat(size ^ inverted.replicate(7), inverted.replicate(3))),
            begin.eq(Mux(tanh, Cat(self.a, self.a[7].replicate(2)), 128)),
        ]
        m.d.sync += x.eq(_with_carry(turned, begin, inverted ^ (more & ~tanh)))
        base, carry = Signal(8, reset_less=True), Signal(reset_less=True)
        # a unit value is 127 or 128 more, less one from 128 on: as it is stored
        below, above = Signal(reset_less=True), Signal(reset_less=True)
        moved = Cat(size ^ sign.replicate(7), sign)
        coded = Mux(sign, ~more & size.any(), more)
        m.d.sync += [
            base.eq(Mux(baseless, 0, Mux(relu, plain, moved))),
            carry.eq(Mux(unit, coded, tanh & sign)),
            below.eq(unit & ~sign),
            above.eq(unit & sign),
        ]
        digits, factor = Signal(10, reset_less=True), self.factor
        whole = Cat(factor[:7], factor[7] ^ feature, (state & factor[7]).replicate(2))
        summed = _with_carry(whole, C(DIGITS, 10), tanh & factor[7])
        m.d.sync += digits.eq(Mux(plainly, DIGITS, summed))
        # Stages 13, 14: the product; the base, with what a fifth digit adds
        product, lacks = _product(m, "gate", x, digits[:8], 16)
        less, most = digits[9], digits[8] & ~digits[9]
        added = Mux(less, ~x[:8], Mux(most, x[:8], 0)) | Cat(below.replicate(7), above)
        based = Signal(8, reset_less=True)
        m.d.sync += based.eq(_with_carry(base, added[:8], carry | less))
        based = delay(m, based, 1, "based", reset_less=True)
        # Stage 15: rounded
        result, sums = Signal(8, reset_less=True), [Signal(10, name=f"sum{i}") for i in range(2)]
        m.d.comb += [sums[0].eq(product), sums[1].eq(Cat(C(0b10, 2), based))]
        m.d.sync += result.eq(_with_carry(*sums, lacks)[2:])
        m.d.comb += self.byte.eq(Cat(result[:7], result[7] ^ offset))
