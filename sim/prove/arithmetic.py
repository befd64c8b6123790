"""Arithmetic against its golden formula: pipelines, unrolled once, are compared for all inputs."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed
from torch import arange

from golden import activation
from hw.arithmetic.activation import Activation
from hw.plan.functions import FUNCTIONS, Base, Code, X, Y
from sim.prove.bench import Bench, check, inputs


def _later(m: Module, value, cycles: int, name: str):
    for i in range(cycles):
        late = Signal.like(value, name=f"{name}{i}")
        m.d.sync += late.eq(value)
        value = late
    return value


def rows(x, y, bits: int, negative: bool = False):
    """x * y as at school, neighbouring rows added first; `y` has so many bits, and perhaps a sign.

    The solvers find nothing in a product that is put together otherwise than what it is compared
    with. Works on numbers, too: tests compare it with Python's product.
    """
    terms = [(x & -(y >> i & 1)) << i for i in range(bits)]
    if negative:
        terms[-1] = -terms[-1]
    while len(terms) > 1:
        pairs = [sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
        terms = pairs
    return terms[0]


def _compare(m: Module, unit, result, expected):
    """They are equal once the first operands are through."""
    age = Signal(range(unit.latency + 1))
    m.d.sync += age.eq(age + (age != unit.latency))
    there = age == unit.latency
    check(m, result == expected, when=there)
    return {"a result": there}


def requantiser(part, acc_bits):
    """golden.requant.requantise, saturated, for any sum, bias, multiplier and shift."""
    m = Module()
    m.submodules.unit = unit = part(acc_bits=acc_bits)
    exact = rows(unit.sum + unit.bias, unit.multiplier, 8)
    # half is 2**(shift-1) of a shift that is one more
    value = ((exact >> unit.shift) + 1) >> 1
    low = Mux(value < -2048, -2048, Mux(value > 2047, 2047, value))
    expected = Signal(signed(12))
    m.d.comb += expected.eq(low)
    there = _compare(m, unit, unit.value, _later(m, expected, unit.latency, "expected"))
    return Bench(m, inputs(unit), there)


def activations(part=Activation):
    """golden.activation.sigmoid and .tanh of every value."""
    m = Module()
    m.submodules.unit = unit = part(knots=activation.KNOTS)
    values = arange(-512, 512)
    tables = [fn(values).tolist() for fn in (activation.sigmoid, activation.tanh)]
    place = (unit.value + 512)[:10]
    expected = [Signal.like(out, name=f"wanted{i}") for i, out in enumerate((unit.unit, unit.tanh))]
    m.d.comb += [e.eq(Array(t)[place]) for e, t in zip(expected, tables, strict=True)]
    late = [_later(m, e, unit.latency, f"late{i}") for i, e in enumerate(expected)]
    inside = _later(m, unit.value != -512, unit.latency, "inside")
    equal = (unit.unit == late[0]) & (unit.tanh == late[1])
    there = _compare(m, unit, ~inside | equal, 1)
    return Bench(m, inputs(unit), there)


def gate(part, function, signed_features=False):
    """hw.plan.functions.Meaning.byte of one function, for any operands."""
    m = Module()
    m.submodules.unit = unit = part(signed_features=signed_features, spatial=True)
    means = FUNCTIONS[function]
    a, b = unit.a.as_signed(), unit.b.as_signed()
    zero = 0 if signed_features else -128
    x = {
        X.NONE: 0,
        X.STATE: a,
        X.STATE_LESS_TANH: a - unit.tanh,
        X.FEATURE: a - zero,
        X.OTHER: b + 128,
    }[means.x]
    y = {Y.UNIT: unit.unit, Y.UPDATE: unit.b + (b < 0), Y.GAIN: unit.gain}[means.y]
    base = {Base.NONE: 0, Base.VALUE: unit.value, Base.UNIT: unit.unit, Base.TANH: unit.tanh}
    result = Value.cast(base[means.base]) + ((rows(x, Value.cast(y), 9) + 128) >> 8)
    byte = {
        Code.PLAIN: result,
        Code.OFFSET: result - 128,
        Code.FEATURE: result + zero,
        Code.UNIT: result - (result >= 128),
        Code.SATURATED: Mux(result > 127, 127, Mux(result < -128, -128, result)),
    }[means.code]
    expected = Signal(8)
    m.d.comb += [expected.eq(byte), unit.function.eq(function)]
    # units and gains are 0..256
    low, high = means.saturation.value
    fits = (unit.unit <= 256) & (unit.gain <= 256) & (unit.value >= low) & (unit.value <= high)
    fits &= unit.tanh != -128
    late = _later(m, expected, unit.latency, "late")
    inside = _later(m, fits, unit.latency, "inside")
    there = _compare(m, unit, ~inside | (unit.byte == late), 1)
    return Bench(m, inputs(unit, "function"), there)


def multipliers(part, count, pairs=None):
    """a * b of any bytes, in plain logic."""
    m = Module()
    m.submodules.unit = unit = part(count=count, kind="generic", pairs=pairs)
    equal = 1
    for i in range(count):
        product = Signal(signed(16), name=f"wanted{i}")
        m.d.comb += product.eq(unit.a[i] * unit.b[i])
        equal &= unit.product[i] == _later(m, product, unit.latency, f"late{i}_")
    return Bench(m, inputs(unit), _compare(m, unit, equal, 1))


def tree(part, a_shape, b_shape):
    """The tree of adders' product of any two numbers."""
    m = Module()
    m.submodules.unit = unit = part(a_shape=a_shape, b_shape=b_shape)
    product = Signal.like(unit.o, name="product")
    m.d.comb += product.eq(rows(unit.a, unit.b.as_unsigned(), len(unit.b), unit.b.shape().signed))
    late = _later(m, product, unit.latency, "late")
    return Bench(m, inputs(unit), _compare(m, unit, unit.o, late))
