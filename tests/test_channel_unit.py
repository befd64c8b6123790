# amaranth: UnusedElaboratable=no
"""hw/parallel/channel_unit.py against golden/: requantiser, activation and gate in a row."""

import random

import pytest
import torch

from golden import activation, attention, conv_gru, requant
from hw.arithmetic.activation import Activation
from hw.arithmetic.requant import Requantiser
from hw.parallel.channel_unit import EVERY, FEW, ChannelUnit
from hw.parallel.gate import Gate
from hw.plan import Function
from hw.plan.latency import LOW_POWER, PARALLEL
from tests import test_activation
from tests.bench_blocks import CELLS, on_amaranth, on_verilator

KINDS = {  # acc_bits, knots, signed_features, spatial
    "plain": (23, "default", False, False),
    "spatial": (22, "default", True, True),
    "odd": (32, "odd", False, True),
    "few": (23, "default", True, True),
    "wraps": (23, "default", False, False),
}
STAGES = {"few": FEW, "wraps": FEW}


def unit(kind):
    acc_bits, knots, signed_features, spatial = KINDS[kind]
    return ChannelUnit(
        acc_bits=acc_bits,
        wraps=kind == "wraps",
        knots=test_activation.KNOTS[knots],
        signed_features=signed_features,
        spatial=spatial,
        stages=STAGES.get(kind, EVERY),
    )


def cases(acc_bits: int, spatial: bool, seed: int, count: int = 3000):
    """Sums with their constants, function and operands; nothing stays for longer than a cycle.

    Half of them come as walks: one function and one set of constants for some sums.
    """
    source = random.Random(seed)
    functions = [f for f in Function if spatial or f != Function.MIX]
    high = (1 << acc_bits - 1) - 1
    found = []
    while len(found) < count:
        function = source.choice(functions)
        shift = source.randint(1, 31)
        multiplier = source.choice([0, 1, 128, 255, source.randint(1, 255)])
        bias = source.choice([0, -high - 1, high, source.randint(-high, high)])
        if function == Function.MIX:
            bias = source.choice([0, 1, 128, 256, source.randint(0, 256)])
        for _ in range(source.choice([1, 1, 1, 15])):
            # a requantised value anywhere in and some way beyond what the functions keep
            wanted = source.choice([source.randint(-600, 600), source.randint(-3000, 3000)])
            total = (wanted << shift) // max(1, multiplier)
            total -= 0 if function == Function.MIX else bias
            total = min(max(total + source.randint(-1, 1), -high - 1), high)
            found.append(
                {
                    "sum": total,
                    "bias": bias,
                    "multiplier": multiplier,
                    "shift": shift,
                    "function": int(function),
                    "a": source.randint(-128, 127),
                    "b": source.randint(-128, 127),
                }
            )
    return found


def expected(found, knots, signed_features: bool):
    """Stored bytes 0..255."""
    column = {name: torch.tensor([case[name] for case in found]) for name in found[0]}
    a, b, mixing = column["a"], column["b"], column["function"] == Function.MIX
    table = torch.tensor(knots)
    bias = torch.where(mixing, 0, column["bias"])
    value = requant.requantise(column["sum"], bias, column["multiplier"], column["shift"])
    gain = torch.where(mixing, column["bias"], 0)
    sigmoid = activation.sigmoid(value, table)
    zero_point = 0 if signed_features else -128
    results = {
        Function.RELU: requant.relu(value),
        Function.SIGNED: requant.signed(value),
        Function.CHANNEL: attention.channel_gate(a, sigmoid, zero_point),
        Function.RESET: activation.gate(a, sigmoid),
        Function.UPDATE: activation.encode_unit(sigmoid),
        Function.BLEND: conv_gru.new_state(
            a, activation.tanh(value, table), activation.decode_unit(b & 255)
        ),
        Function.MIX: requant.signed(value + activation.gate(b + 128, gain)),
    }
    chosen = torch.stack([results[f] for f in Function]).gather(0, column["function"][None])[0]
    return (chosen & 255).tolist()


def bytes_of(kind: str, seed: int, late: int = 0, operands_late: int = 0, change: str = ""):
    """Scenario: a sum a cycle, its operands `operand_delay` later, its byte `latency` later.

    change: what one case's constant is changed in, after the bytes were computed.
    """
    acc_bits, knots, signed_features, spatial = KINDS[kind]
    found = cases(acc_bits, spatial, seed)
    right = expected(found, test_activation.KNOTS[knots], signed_features)
    if change:
        bit = 1 << 12 if change == "bias" else 1
        for victim in found:
            changed = victim | {change: victim[change] ^ bit}
            table = test_activation.KNOTS[knots]
            if changed["shift"] in range(1, 32) and (
                expected([changed], table, signed_features)
                != expected([victim], table, signed_features)
            ):
                victim.update(changed)
                break
    if kind == "wraps":  # the same together, beyond the bits of each
        bits = acc_bits + 1
        for i, case in enumerate(found):
            less = random.Random(i).getrandbits(bits)
            found[i] = case | {
                name: (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
                for name, value in (("sum", case["sum"] - less), ("bias", case["bias"] + less))
            }
    block = unit(kind)
    latency, delay = block.latency + late, block.operand_delay + operands_late
    for cycle in range(len(found) + latency):
        inputs = {}
        if cycle < len(found):
            case = found[cycle]
            inputs = {n: case[n] for n in ("sum", "bias", "multiplier", "function")}
            inputs["shift"] = case["shift"] - 1
        if 0 <= cycle - delay < len(found):
            inputs |= {n: found[cycle - delay][n] for n in "ab"}
        out = yield inputs
        if cycle >= latency:
            index = cycle - latency
            assert out["byte"] == right[index], (
                f"input {index}: {found[index]}: {out['byte']}, not {right[index]}"
            )


def test_verilator():
    from tests.bench_units import rack

    on_verilator(
        rack(), [(f"unit_{kind}", bytes_of, {"kind": kind, "seed": 4}) for kind in KINDS], **CELLS
    )


def test_cases():
    """Nearly all bytes, and the ends of each function, are met."""
    found = cases(23, True, 4)
    right = expected(found, test_activation.KNOTS["default"], False)
    assert len(set(right)) >= 250
    for function in Function:
        bytes_met = {b for c, b in zip(found, right, strict=True) if c["function"] == function}
        assert len(bytes_met) > 20, function
        if function in (Function.RELU, Function.SIGNED, Function.MIX):
            assert {128, 127} <= bytes_met  # -128 and 127
        if function == Function.UPDATE:
            assert {0, 255, 127, 128} & bytes_met >= {0, 255}


def test_differences_are_seen():
    """A constant's bit, the operands' cycle, the byte's cycle."""
    for wrong in (
        {"late": -1},
        {"late": 1},
        {"operands_late": -1},
        {"operands_late": 1},
        {"change": "multiplier"},
        {"change": "shift"},
        {"change": "bias"},
    ):
        with pytest.raises(AssertionError, match="input"):
            on_amaranth(unit("spatial"), bytes_of("spatial", 8, **wrong))
    for wrong in ({"late": 1}, {"operands_late": -1}):
        with pytest.raises(AssertionError, match="input"):
            on_amaranth(unit("few"), bytes_of("few", 8, **wrong))


def test_latency():
    """The unit's latency is its parts'; its operands meet the activation's value."""
    parts = [Requantiser.latency, 1, Activation.latency]
    assert unit("plain").operand_delay == sum(parts)
    assert unit("plain").latency == sum(parts) + Gate.latency
    for kind, record in (("plain", PARALLEL), ("few", LOW_POWER)):
        assert unit(kind).operand_delay == record.requantise + record.activate
        assert unit(kind).latency == record.unit
