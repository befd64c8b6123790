"""Spatial attention (Eq. 6-9) and channel attention (Eq. 10-13) on integers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from golden import requant
from golden.activation import KNOTS, gate, sigmoid
from golden.array import convolve, exact_matmul, told
from golden.weights import LayerWeights

BAND = 2  # the release keeps |row - column| <= 2
WEIGHT_SCALE = 1 / 127  # of the softmax's output


def make_exp_table(step: float) -> Tensor:
    """``round(255 exp(-i * step))``, i = 0..255, as uint8; step is the scale of S (> 0)."""
    return torch.tensor([round(255 * math.exp(-i * step)) for i in range(256)], dtype=torch.uint8)


def score(state: Tensor, key: Tensor, layer: LayerWeights, banded: bool) -> Tensor:
    """S = requantise(H^T K), signed (in Eq. 7; 1/sqrt(d) is in the multiplier).

    Parameters
    ----------
    state, key : integer tensors [N, d, n]
    layer : LayerWeights
        One multiplier and shift, no weight.
    banded : bool
        Put 0 where |row - column| > 2 (masked entries still take part in the softmax, as exp(0)).

    Returns
    -------
    int64 tensor [N, n, n]
        Row: state position, column: feature position.
    """
    acc = exact_matmul(state.transpose(1, 2), key)
    result = requant.signed(told(layer, requant.requantise(acc, *layer.columns())))
    if banded:
        place = torch.arange(result.shape[-1])
        result = result * ((place[:, None] - place[None, :]).abs() <= BAND)
    return result


def softmax(scores: Tensor, exp_table: Tensor) -> Tensor:
    """Softmax of each row of S: bytes 0..127 of scale 1/127 (in Eq. 7).

    The row's sum of e is at least exp_table[0] = 255, so the reciprocal r is at most 2040; a row
    adds up to 127 within its rounding (n / 2 + 1).
    """
    distance = scores.amax(dim=-1, keepdim=True) - scores
    e = exp_table.to(torch.int64)[distance]
    total = e.sum(dim=-1, keepdim=True)
    reciprocal = (127 * 4096 + (total >> 1)) // total
    return (e * reciprocal + 2048) >> 12


def mix(value: Tensor, weights: Tensor, features: Tensor, layer: LayerWeights) -> Tensor:
    """P' = signed(requantise(V A) + (((P + 128) * gain + 128) >> 8)) (Eq. 9).

    Parameters
    ----------
    value : integer tensor [N, c, n]
        V, zero point 0.
    weights : integer tensor [N, n, n]
        A, row j = state position j.
    features : integer tensor [N, c, n]
        P, zero point -128.
    layer : LayerWeights
        One multiplier and shift; its bias is the gain, 0..256.

    Returns
    -------
    int64 tensor [N, c, n]
        Zero point 0. Saturated once, after the sum.
    """
    gain, multiplier, shift = layer.columns()
    attended = requant.requantise(
        exact_matmul(value, weights), torch.zeros_like(gain), multiplier, shift
    )
    value = attended + gate(features.to(torch.int64) + 128, gain)
    return requant.signed(told(layer, value))


def spatial_attention(
    features: Tensor,
    state: Tensor,
    layers: Mapping[str, LayerWeights],
    exp_table: Tensor,
    index: int,
    banded: bool,
) -> dict[str, Tensor]:
    """Spatial attention of one head: P (zero point -128) and H to P' (zero point 0)."""
    name = f"attention{index}"
    key = requant.signed(convolve(features, layers[f"{name}.key"], -128))  # Eq. 6
    scores = score(state, key, layers[f"{name}.score"], banded)
    weights = softmax(scores, exp_table)
    value = requant.signed(convolve(features, layers[f"{name}.value"], -128))  # Eq. 8
    return {
        f"{name}.key": key,
        f"{name}.score": scores,
        f"{name}.weights": weights,
        f"{name}.value": value,
        f"{name}.output": mix(value, weights, features, layers[f"{name}.mix"]),
    }


def channel_gate(features: Tensor, unit: Tensor, zero_point: int) -> Tensor:
    """C * A: ``(((C - zp) * A + 128) >> 8) + zp``; C keeps its zero point (in Eq. 13)."""
    return gate(features - zero_point, unit) + zero_point


def channel_attention(
    features: Tensor,
    state: Tensor,
    layers: Mapping[str, LayerWeights],
    zero_point: int,
    knots: Tensor = KNOTS,
) -> dict[str, Tensor]:
    """Channel attention: A (Eq. 10-12) and C * A (of Eq. 13).

    Parameters
    ----------
    features : int64 tensor [N, c * M, n]
        C = [P_1 : ... : P_M].
    state : int64 tensor [N, d, n]
    layers : mapping
        ``channel_attention.0`` (inputs in the order [H : C]) and ``.1``.
    zero_point : int
        Of C.
    knots : integer tensor of 17
    """
    # Kernel 1 has no padding, so maps of two zero points may meet: the bias has both folded in.
    joined = torch.cat([state, features], dim=1)
    hidden = requant.relu(convolve(joined, layers["channel_attention.0"], 0))
    unit = sigmoid(convolve(hidden, layers["channel_attention.1"], -128), knots)
    return {
        "channel_attention.hidden": hidden,
        "channel_attention.output": channel_gate(features, unit, zero_point),
    }
