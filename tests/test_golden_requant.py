"""The rounding rule, and the multiplier that the quantiser picks."""

from fractions import Fraction
from math import floor

import pytest
import torch

from golden.requant import fixed_point, pre_activation, relu, requantise, signed


def requantise_one(acc, bias, multiplier, shift):
    values = (torch.tensor([v]) for v in (acc, bias, multiplier, shift))
    return int(requantise(*values))


@pytest.mark.parametrize(
    "acc, expected",
    [(5, 3), (-5, -2), (3, 2), (-3, -1), (1, 1), (-1, 0), (4, 2), (-4, -2), (0, 0)],
)
def test_ties_go_up_at_both_signs(acc, expected):
    assert requantise_one(acc, 0, 1, 1) == expected
    assert requantise_one(acc - 7, 7, 1, 1) == expected
    assert requantise_one(acc, 0, 128, 8) == expected  # the same half, by multiplier and shift


def test_equals_exact_rounding(generator):
    count = 4000
    acc = torch.randint(-(2**31), 2**31, (count,), generator=generator)
    bias = torch.randint(-(2**31), 2**31, (count,), generator=generator)
    multiplier = torch.randint(0, 256, (count,), generator=generator)
    shift = torch.randint(1, 32, (count,), generator=generator)
    shift[:4], multiplier[:4] = torch.tensor([1, 31, 1, 31]), torch.tensor([255, 255, 0, 0])
    acc[:2] = bias[:2] = -(2**31)
    got = requantise(acc, bias, multiplier, shift).tolist()
    rows = zip(acc.tolist(), bias.tolist(), multiplier.tolist(), shift.tolist(), strict=True)
    half = Fraction(1, 2)
    assert got == [floor(Fraction((a + b) * m, 2**s) + half) for a, b, m, s in rows]


def test_saturation():
    values = torch.tensor([-(2**40), -513, -129, -128, -1, 0, 127, 128, 255, 256, 2**40])
    assert relu(values).tolist() == [-128] * 6 + [-1, 0, 127, 127, 127]
    assert signed(values).tolist() == [-128, -128, -128, -128, -1, 0, 127, 127, 127, 127, 127]
    limits = pre_activation(values).tolist()
    assert (limits[0], limits[1], limits[2], limits[-1]) == (-511, -511, -129, 511)


@pytest.mark.parametrize("ratio", [127.5, 1.0, 0.5, 0.0078125, 0.3, 1e-3, 7.7e-6, 2.0**-24])
def test_fixed_point_widens_by_under_a_128th(ratio):
    multiplier, shift = fixed_point(ratio)
    assert 128 <= multiplier <= 255 and 1 <= shift <= 31
    assert ratio <= multiplier / 2**shift < ratio * (1 + 1 / 128)


def test_fixed_point_at_its_ends():
    assert fixed_point(1e-12) == (1, 31)
    for ratio in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive and finite"):
            fixed_point(ratio)
    with pytest.raises(ValueError, match="at most 127.5, not 128.0"):
        fixed_point(128.0)
