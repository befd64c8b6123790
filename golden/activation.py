"""Sigmoid and tanh from one table of 17 knots, and the byte that holds a unit value.

Both saturate their argument to -511..511 themselves. ``sigmoid(v) / 256`` is within 0.004 of
``1 / (1 + exp(-v / 64))`` and ``tanh(v) / 127`` within 0.009 of ``tanh(v / 128)`` for every v
(tests/test_golden_activation.py measures both).
"""

from __future__ import annotations

import torch
from torch import Tensor

from golden.requant import pre_activation

SIGMOID_SCALE = 1 / 64  # of the pre-activation
TANH_SCALE = 1 / 128
# Of every network and every engine: round(256 tanh(i / 4)), but knot 2 one more and knots 7, 10 and
# 12 one less. So the mean of sigmoid along a chord is right: half of h is rounded up, and an update
# gate that is too near to 1 keeps in the state what it should forget, row group for row group.
KNOTS = torch.tensor(
    [0, 63, 119, 163, 195, 217, 232, 240, 247, 250, 252, 254, 254, 255, 256, 256, 256],
    dtype=torch.int16,
)


def tanh_magnitude(value: Tensor, knots: Tensor = KNOTS) -> Tensor:
    """``256 * tanh(|v| / 128)``, 0..256: chords between knots 32 steps apart.

    Parameters
    ----------
    value : int64 tensor
        Pre-activation, saturated here to -511..511.
    knots : integer tensor of 17
        0..256, rising.
    """
    knots = knots.to(torch.int64)
    magnitude = pre_activation(value).abs()
    index, rest = magnitude >> 5, magnitude & 31
    low = knots[index]
    return low + (((knots[index + 1] - low) * rest + 16) >> 5)


def sigmoid(value: Tensor, knots: Tensor = KNOTS) -> Tensor:
    """Unit value 0..256 (0..1) of a pre-activation of scale 1/64: (1 + tanh(x / 2)) / 2."""
    half = (tanh_magnitude(value, knots) + 1) >> 1
    return torch.where(value >= 0, 128 + half, 128 - half)


def tanh(value: Tensor, knots: Tensor = KNOTS) -> Tensor:
    """Signed byte -127..127 (scale 1/127) of a pre-activation of scale 1/128."""
    magnitude = (tanh_magnitude(value, knots) * 127 + 128) >> 8
    return torch.where(value >= 0, magnitude, -magnitude)


def encode_unit(unit: Tensor) -> Tensor:
    """Unit value 0..256 to a byte 0..255: 128 shares 127's code, so that both ends are exact."""
    return unit - (unit >= 128).to(unit.dtype)


def decode_unit(byte: Tensor) -> Tensor:
    """Byte 0..255 back to a unit value: 0..127 as they are, 128..255 one more."""
    return byte + (byte >= 128).to(byte.dtype)


def gate(value: Tensor, unit: Tensor) -> Tensor:
    """``(value * unit + 128) >> 8``: exactly 0 at unit 0 and exactly the value at unit 256."""
    return (value * unit + 128) >> 8
