"""Softmax, score, mix and channel gate."""

import pytest
import torch

from golden.attention import channel_gate, make_exp_table, mix, score, softmax
from golden.weights import constants


@pytest.mark.parametrize("n", [1, 2, 7, 15, 60])
@pytest.mark.parametrize("step", [0.001, 0.03, 0.5])
def test_softmax_rows(n, step, generator):
    scores = torch.randint(-128, 128, (50, n, n), generator=generator)
    weights = softmax(scores, make_exp_table(step))
    assert weights.min() >= 0 and weights.max() <= 127
    assert ((weights.sum(dim=-1) - 127).abs() <= n / 2 + 1).all()
    float_weights = (scores.double() * step).softmax(dim=-1)
    # half a step of 1/127 and the rounding of the table (1/510 of the largest) and the reciprocal
    assert (weights.double() / 127 - float_weights).abs().max() < 0.011


def test_softmax_extremes():
    table = make_exp_table(10.0)
    one_hot = torch.full((1, 1, 9), -128)
    one_hot[0, 0, 4] = 127
    assert softmax(one_hot, table).flatten().tolist() == [0, 0, 0, 0, 127, 0, 0, 0, 0]
    assert softmax(torch.zeros(1, 1, 1, dtype=torch.int64), table).item() == 127
    assert softmax(torch.full((1, 1, 2), -128), table).flatten().tolist() == [64, 64]


def test_score_band_puts_zero_not_minus_infinity(generator):
    state = torch.randint(-127, 128, (2, 3, 6), generator=generator)
    key = torch.randint(-128, 128, (2, 3, 6), generator=generator)
    layer = constants(None, [0], [200], [14])
    full, banded = (score(state, key, layer, flag) for flag in (False, True))
    for row in range(6):
        for column in range(6):
            acc = (state[:, :, row] * key[:, :, column]).sum(dim=1)
            expected = ((acc * 200 + 2**13) >> 14).clamp(-128, 127)
            assert torch.equal(full[:, row, column], expected)
            inside = abs(row - column) <= 2
            assert torch.equal(banded[:, row, column], expected if inside else 0 * expected)


def test_mix_saturates_once_after_the_sum():
    value = torch.tensor([[[-128, 127]]])
    weights = torch.tensor([[[127, 0], [0, 127]]])
    features = torch.tensor([[[127, -128]]])  # 255 and 0
    layer = constants(None, [256], [255], [8])
    left = ((-128 * 127 * 255 + 128) >> 8) + 255
    right = (127 * 127 * 255 + 128) >> 8
    expected = [max(-128, min(127, v)) for v in (left, right)]
    assert mix(value, weights, features, layer).flatten().tolist() == expected
    # -200 + 255 = 55: were the first term saturated to a byte alone, 127 would come out
    layer = constants(None, [256], [252], [14])
    term = (-128 * 127 * 252 + 2**13) >> 14
    assert term < -128 and int(mix(value, weights, features, layer)[0, 0, 0]) == term + 255


@pytest.mark.parametrize("zero_point", [0, -128])
def test_channel_gate_keeps_the_zero_point(zero_point):
    stored = torch.arange(-128, 128)
    assert torch.equal(channel_gate(stored, torch.tensor(256), zero_point), stored)
    nothing = channel_gate(stored, torch.tensor(0), zero_point)
    assert torch.equal(nothing, torch.full_like(stored, zero_point))
    half = channel_gate(stored, torch.tensor(128), zero_point)
    assert half.min() >= -128 and half.max() <= 127
