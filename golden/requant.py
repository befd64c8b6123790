"""The one rounding rule of the array: sums to bytes (docs/architecture.md, "requantise")."""

from __future__ import annotations

import math

from torch import Tensor

PRE_ACTIVATION_LIMIT = 511  # sigmoid and tanh look at 9 bits and a sign


def requantise(acc: Tensor, bias: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """``((acc + bias) * multiplier + 2**(shift-1)) >> shift``, not yet saturated.

    Parameters
    ----------
    acc : int64 tensor
        Exact sums.
    bias, multiplier, shift : int64 tensors that broadcast against `acc`
        multiplier 0..255, shift 0..31. Shift 0 (the classifier's last layer only) adds no half.

    Returns
    -------
    int64 tensor
        Ties go up at both signs (2.5 -> 3, -2.5 -> -2): ``>>`` is the floor.
    """
    half = (1 << shift) >> 1
    return ((acc + bias) * multiplier + half) >> shift


def relu(value: Tensor) -> Tensor:
    """Saturate to 0..255 and store minus 128: a ReLU map with zero point -128."""
    return value.clamp(0, 255) - 128


def signed(value: Tensor) -> Tensor:
    """Saturate to -128..127: a signed map with zero point 0."""
    return value.clamp(-128, 127)


def pre_activation(value: Tensor) -> Tensor:
    """Saturate to -511..511: what sigmoid and tanh take."""
    return value.clamp(-PRE_ACTIVATION_LIMIT, PRE_ACTIVATION_LIMIT)


LARGEST_RATIO = 127.5
"""Of a requantisation: multiplier 255, shift 1."""


def fixed_point(ratio: float) -> tuple[int, int]:
    """The smallest ``multiplier / 2**shift >= ratio`` with an 8-bit multiplier.

    Parameters
    ----------
    ratio : float
        Positive, at most 127.5.

    Returns
    -------
    (multiplier, shift)
        Multiplier 128..255, less than 1/128 above `ratio`, for ratios from 2^-24 to 127.5;
        below, the shift stays 31 and the multiplier gets small.

    Raises
    ------
    ValueError
        A ratio that no multiplier 1..255 and shift 1..31 reaches.
    """
    if not (ratio > 0 and math.isfinite(ratio)):
        raise ValueError(f"a requantisation ratio must be positive and finite, not {ratio}")
    shift = 31
    while shift > 1 and math.ceil(ratio * 2**shift) > 255:
        shift -= 1
    multiplier = math.ceil(ratio * 2**shift)
    if multiplier > 255:
        raise ValueError(f"a requantisation ratio must be at most {LARGEST_RATIO}, not {ratio}")
    return multiplier, shift
