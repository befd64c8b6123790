# amaranth: UnusedElaboratable=no
"""hw/parallel/gate.py (the gate) against golden/: activation, attention, conv_gru, requant."""

import itertools
import random

import pytest
import torch

from golden import activation, attention, conv_gru, requant
from hw.parallel.channel_unit import FEW
from hw.parallel.gate import Gate
from hw.plan import Function
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, stream

KINDS = {  # signed_features, spatial
    "plain": (False, False),
    "spatial": (True, True),
    "mixed": (False, True),
}
BYTES = [-128, -127, -65, -2, -1, 0, 1, 2, 64, 126, 127]
UNITS = [0, 1, 2, 127, 128, 129, 254, 255, 256]
GAINS = [0, 1, 127, 128, 129, 255, 256]
CODES = [0, 1, 126, 127, 128, 129, 254, 255]  # of unit values 0, 1, 126, 127, 129, ..., 256
TANHS = [-127, -126, -1, 0, 1, 126, 127]


def cases(spatial: bool, seed: int, count: int = 1000):
    """Inputs of the gate: each function with its operands' corners, then chance; mixed."""
    source = random.Random(seed)
    found = []

    def add(function, **given):
        """What the function does not look at is noise."""
        noise = {
            "value": source.randint(-511, 511),
            "unit": source.randint(0, 256),
            "tanh": source.randint(-127, 127),
            "a": source.randint(-128, 127),
            "b": source.randint(-128, 127),
            "gain": source.randint(0, 256),
        }
        found.append({"function": int(function), **noise, **given})

    for value in range(256):
        add(Function.RELU, value=value)
        add(Function.SIGNED, value=value - 128)
    for unit in range(257):
        add(Function.UPDATE, unit=unit)
    for a, unit in itertools.product(BYTES, UNITS):
        add(Function.CHANNEL, a=a, unit=unit)
        add(Function.RESET, a=a, unit=unit)
    for a, code, tanh in itertools.product(BYTES, CODES, TANHS):
        add(Function.BLEND, a=a, b=(code ^ 128) - 128, tanh=tanh)
    values = [-511, -384, -383, -256, -129, -128, -1, 0, 1, 126, 127, 128, 511]
    if spatial:
        for value, b, gain in itertools.product(values, BYTES, GAINS):
            add(Function.MIX, value=value, b=b, gain=gain)
    functions = [f for f in Function if spatial or f != Function.MIX]
    for _ in range(count):
        function = source.choice(functions)
        ends = {Function.RELU: (0, 255), Function.SIGNED: (-128, 127)}.get(function, (-511, 511))
        add(function, value=source.randint(*ends))
    source.shuffle(found)
    return found


def expected(found, signed_features: bool):
    """Bytes 0..255 by the golden functions."""
    column = {name: torch.tensor([case[name] for case in found]) for name in found[0]}
    value, unit, tanh, a, b = (column[n] for n in ("value", "unit", "tanh", "a", "b"))
    zero_point = 0 if signed_features else -128
    results = {
        Function.RELU: requant.relu(value),
        Function.SIGNED: requant.signed(value),
        Function.CHANNEL: attention.channel_gate(a, unit, zero_point),
        Function.RESET: activation.gate(a, unit),
        Function.UPDATE: activation.encode_unit(unit),
        Function.BLEND: conv_gru.new_state(a, tanh, activation.decode_unit(b & 255)),
        Function.MIX: requant.signed(value + activation.gate(b + 128, column["gain"])),
    }
    chosen = torch.stack([results[f] for f in Function])
    chosen = chosen.gather(0, column["function"][None])[0]
    assert int(chosen.min()) >= -128 and int(chosen.max()) <= 255
    return (chosen & 255).tolist()


def gated(
    signed_features: bool,
    spatial: bool,
    seed: int,
    latency: int = Gate.latency,
    wrong: int | None = None,
):
    """Scenario: an input a cycle, functions mixed."""
    found = cases(spatial, seed)
    right = expected(found, signed_features)
    if wrong is not None:
        right[wrong] ^= 1

    def compare(out, byte, index):
        assert out["byte"] == byte, f"input {index}: {found[index]}: {out['byte']}, not {byte}"

    return stream(latency, found, right, compare)


def test_verilator():
    from tests.bench_units import rack

    jobs = [
        (f"gate_{name}", gated, {"signed_features": s, "spatial": m, "seed": i})
        for i, (name, (s, m)) in enumerate(KINDS.items())
    ]
    jobs.append(("gate_ecp5", gated, {"signed_features": False, "spatial": True, "seed": 7}))
    jobs.append(
        (
            "gate_few",
            gated,
            {"signed_features": True, "spatial": True, "seed": 8, "latency": len(FEW.gate)},
        )
    )
    on_verilator(rack(), jobs, **CELLS)


def test_ends_are_exact():
    """Unit value 0 gives nothing of an operand, 256 all of it."""
    for byte in range(-128, 128):
        a = torch.tensor(byte)
        ends = {u: int(activation.gate(a, torch.tensor(u))) for u in (0, 256)}
        assert ends == {0: 0, 256: byte}


def test_differences_are_seen():
    """Each function's golden value one off; the wrong kind of features; a cycle more or less."""
    found = cases(True, 9)
    for function in Function:
        wrong = next(i for i, case in enumerate(found) if case["function"] == function)
        with pytest.raises(AssertionError, match=f"input {wrong}: "):
            on_amaranth(Gate(signed_features=True, spatial=True), gated(True, True, 9, wrong=wrong))
    with pytest.raises(AssertionError):
        on_amaranth(Gate(signed_features=False, spatial=True), gated(True, True, 9))
    for cycles in (-1, 1):
        with pytest.raises(AssertionError):
            on_amaranth(
                Gate(signed_features=True, spatial=True),
                gated(True, True, 9, latency=Gate.latency + cycles),
            )
