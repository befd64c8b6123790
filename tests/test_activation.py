# amaranth: UnusedElaboratable=no
"""hw/arithmetic/activation.py against golden/activation.py."""

import random
import re

import pytest
import torch

from golden import activation as golden
from hw.arithmetic.activation import Activation
from hw.parallel.channel_unit import FEW
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, stream

KNOTS = {
    "default": golden.KNOTS.tolist(),
    "steep": [0, *(min(256, 63 * i) for i in range(1, 17))],  # the largest step
    "flat": [256] * 17,
    "odd": [3, 3, 4, 67, 68, 70, 100, 101, 102, 103, 150, 155, 160, 190, 200, 254, 255],
}


def compare(out, expected, index):
    unit, tanh = expected
    assert (out["unit"], out["tanh"]) == expected, (
        f"input {index}: {out['unit']}, {out['tanh']}, not {unit}, {tanh}"
    )


def every_input(knots, latency: int = Activation.latency, order: int = 0):
    """Scenario: all 1023 inputs, in order, then shuffled."""
    values = list(range(-511, 512))
    shuffled = values[:]
    random.Random(order).shuffle(shuffled)
    values += shuffled
    tensor, table = torch.tensor(values), torch.tensor(knots)
    expected = zip(
        golden.sigmoid(tensor, table).tolist(), golden.tanh(tensor, table).tolist(), strict=True
    )
    return stream(latency, [{"value": v} for v in values], expected, compare)


def test_verilator():
    from tests.bench_units import rack

    jobs = [(f"activation_{n}", every_input, {"knots": k}) for n, k in KNOTS.items()]
    jobs.append(
        ("activation_few", every_input, {"knots": KNOTS["odd"], "latency": len(FEW.activate)})
    )
    on_verilator(rack(), jobs, **CELLS)


def test_differences_are_seen():
    """A knot that is one off; a cycle more or less."""
    right = KNOTS["default"]
    for place in (0, 7, 10):
        knots = right[:]
        knots[place] += -1 if place else 1
        with pytest.raises(AssertionError):
            on_amaranth(Activation(knots=knots), every_input(right))
    for cycles in (-1, 1):
        with pytest.raises(AssertionError):
            on_amaranth(Activation(knots=right), every_input(right, Activation.latency + cycles))


@pytest.mark.parametrize(
    "knots",
    [[0] * 16, [0] * 18, [-1] + [0] * 16, [0] * 16 + [257], [5, 4] + [5] * 15, [0] + [64] * 16],
)
def test_errors(knots):
    text = f"knots must be 17 numbers in 0..256 that rise by 0..63 each, not {knots}"
    with pytest.raises(ValueError, match=re.escape(text)):
        Activation(knots=knots)
