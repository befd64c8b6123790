"""hw/plan/functions.py against golden: bytes of each function, of values, units and operands."""

import itertools

import pytest
import torch

from golden import activation, attention, conv_gru, requant
from hw.plan import Function
from hw.plan.functions import FUNCTIONS, SERIAL_FUNCTIONS, SPATIAL_FUNCTIONS, Saturation, functions
from hw.plan.latency import SERIAL
from tests import serial, test_operands_unit_control

VALUES = (*range(-700, 700), -(2**20), 2**20)  # beyond what any function keeps
BYTES = range(-128, 128)


def golden_bytes(function, value, unit, tanh, a, b, gain, zero_point):
    """The same by the golden functions, for tensors."""
    return {
        Function.RELU: lambda: requant.relu(value),
        Function.SIGNED: lambda: requant.signed(value),
        Function.CHANNEL: lambda: attention.channel_gate(a, unit, zero_point),
        Function.RESET: lambda: activation.gate(a, unit),
        Function.UPDATE: lambda: activation.encode_unit(unit),
        Function.BLEND: lambda: conv_gru.new_state(a, tanh, activation.decode_unit(b & 255)),
        Function.MIX: lambda: requant.signed(value + activation.gate(b + 128, gain)),
    }[function]()


def cases(function):
    """(value, a, b, gain): all values; all operand bytes with ends of the others."""
    if not FUNCTIONS[function].gated:
        return [(value, 5, -5, 7) for value in VALUES]
    ends = (-(2**20), -511, -128, -1, 0, 1, 31, 511)
    if function in (Function.CHANNEL, Function.RESET):
        return [(value, 127, 5, 7) for value in VALUES] + [
            (value, a, 5, 7) for value, a in itertools.product(ends, BYTES)
        ]
    if function == Function.BLEND:
        return (
            [(value, -128, 126, 7) for value in VALUES]
            + [(value, a, b, 7) for value, a, b in itertools.product(ends, BYTES, (-128, 1, 127))]
            + [(value, a, b, 7) for value, a, b in itertools.product(ends, (-128, 127), BYTES)]
        )
    gains = (0, 1, 127, 128, 255, 256)
    return [(value, 5, -3, 255) for value in VALUES] + [
        (value, 5, b, gain) for value, b, gain in itertools.product(ends, BYTES, gains)
    ]


def found_and_wanted(function, zero_point, means, every=1):
    given = cases(function)[::every]
    value, a, b, gain = (torch.tensor(column) for column in zip(*given, strict=True))
    unit, tanh = activation.sigmoid(value), activation.tanh(value)
    wanted = golden_bytes(function, value, unit, tanh, a, b, gain, zero_point)
    found = [
        means.byte(v, unit=u, tanh=t, a=x, b=y, gain=g, zero_point=zero_point)
        for (v, x, y, g), u, t in zip(given, unit.tolist(), tanh.tolist(), strict=True)
    ]
    return found, wanted.tolist()


@pytest.mark.parametrize("function", Function)
@pytest.mark.parametrize("zero_point", [-128, 0])
def test_bytes(function, zero_point):
    found, wanted = found_and_wanted(function, zero_point, FUNCTIONS[function])
    assert found == wanted


def test_each_function_has_a_line():
    assert set(FUNCTIONS) == set(Function)
    assert set(SERIAL_FUNCTIONS) | set(SPATIAL_FUNCTIONS) == set(Function) and not set(
        SERIAL_FUNCTIONS
    ) & set(SPATIAL_FUNCTIONS)


def test_no_line_is_another_functions():
    """Each line differs from all others where golden's functions do."""
    for function, other in itertools.permutations(Function, 2):
        found, wanted = found_and_wanted(function, -128, FUNCTIONS[other], every=50)
        assert found != wanted, f"{function.name} as {other.name}"


def test_operands():
    """A function of no operand looks at none; one of two looks at both."""
    means = FUNCTIONS[Function.UPDATE]
    assert means.byte(3, unit=200) == means.byte(3, unit=200, a=9, b=9, gain=9) == 199
    blend = FUNCTIONS[Function.BLEND]
    assert len({blend.byte(0, a=a, b=b) for a, b in ((0, 0), (50, 50), (50, 90), (99, 50))}) == 4
    assert {f for f in Function if not FUNCTIONS[f].operands} == {
        f for f in Function if not FUNCTIONS[f].gated
    }


def test_functions():
    saturated = functions(lambda means: means.saturation is Saturation.ACTIVATION, SERIAL_FUNCTIONS)
    assert saturated == (Function.CHANNEL, Function.RESET, Function.UPDATE, Function.BLEND)
    assert functions(lambda means: False) == ()
    kept = [Saturation.ACTIVATION(value) for value in (-512, -511, 0, 511, 512)]
    assert kept == [-511, -511, 0, 511, 511]


@pytest.mark.parametrize("kind", ["heads", "two"])
def test_plan(kind):
    """The compiler gives each operation the operands that its function takes."""
    plan = test_operands_unit_control.plan_of(kind)
    functions_met = set()
    for op in plan.operations:
        assert len(op.operands) == FUNCTIONS[op.function].operands, op.name
        functions_met.add(op.function)
    assert functions_met >= set(SERIAL_FUNCTIONS)


@pytest.mark.parametrize("function", SERIAL_FUNCTIONS)
def test_serial_plan(function):
    """The serial engine's cycles of a value, and when it is written, follow from the table."""
    plan = serial.plan_of("two")
    rules, means = plan.rules, FUNCTIONS[function]
    op = next(op for op in plan.operations if op.function == function and not op.head_mode)
    assert rules.value(op) == max(1, means.operands)
    # first walk's transfer, first lane's last value, its byte
    transfer = op.pause + op.k - 1 + SERIAL.transfer
    last = 1 + rules.value(op) * (rules.positions(op) - 1)
    written = rules.write_offsets(op, op.idle, op.pause)[0, 0]
    assert written == transfer + last + SERIAL.unit + SERIAL.write
