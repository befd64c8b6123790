"""The classifier on every state (Eq. 14) and early termination's thresholds (Sec. 3.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from golden.requant import requantise
from golden.weights import LayerWeights

HIDDEN_SCALE = 1 / 256  # of x
HIDDEN_LIMIT = 4096  # x is 13 bits signed
SWISH_SCALE = 1 / 1536  # of y: 1/256 and the hard-swish's 1/6


def pool(state: Tensor) -> Tensor:
    """p = sum over columns + n * their maximum: [..., d, n] to [..., d], scale 1 / (127 n)."""
    return state.sum(dim=-1) + state.shape[-1] * state.amax(dim=-1)


def hidden(pooled: Tensor, layer: LayerWeights) -> Tensor:
    """x = saturate13((W1 p + b1 + half) >> shift): [..., d] to [..., z], scale 1/256."""
    weight = layer.weight.reshape(layer.weight.shape[0], -1).to(torch.int64)
    bias, multiplier, shift = (column.flatten() for column in layer.columns())
    value = requantise(pooled @ weight.T, bias, multiplier, shift)
    return value.clamp(-HIDDEN_LIMIT, HIDDEN_LIMIT - 1)


def hard_swish(x: Tensor) -> Tensor:
    """y = (x * clip(x + 768, 0, 1536) + 128) >> 8, scale 1/1536, within -576..24570."""
    return (x * (x + 768).clamp(0, 1536) + 128) >> 8


def classify(state: Tensor, layers: Mapping[str, LayerWeights]) -> Tensor:
    """Logits [..., K] (int64, 32 bits, one scale for all) of states [..., d, n]."""
    y = hard_swish(hidden(pool(state.to(torch.int64)), layers["classifier.0"]))
    layer = layers["classifier.1"]
    weight = layer.weight.reshape(len(layer.bias), -1).to(torch.int64)
    return y @ weight.T + layer.bias.to(torch.int64)


def decide(logits: Tensor) -> Tensor:
    """The class of the largest logit, 0..K-1; of equal ones the lowest."""
    return logits.argmax(dim=-1)


def margin(logits: Tensor, label: int) -> Tensor:
    """Logit of a class less the largest other one, [..., K] to [...]."""
    others = torch.cat([logits[..., :label], logits[..., label + 1 :]], dim=-1)
    # One of them, not their maximum: gradients go to the first of equal ones.
    largest = others.gather(-1, others.detach().argmax(dim=-1, keepdim=True)).squeeze(-1)
    return logits[..., label] - largest


def threshold(probability: float, scale: float, *, up: bool) -> int:
    """Integer threshold for a `margin`: ln(q / (1 - q)) / scale, rounded up or down.

    Parameters
    ----------
    probability : float
        q, inside 0..1.
    scale : float
        Real value of one step of a logit (``Weights.scales['logit']``).
    up : bool
        True for stopping (``margin >= threshold``), False for skipping (``<=``).

    Raises
    ------
    ValueError
        q not inside 0..1, or a scale that is not positive.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie inside 0..1, not {probability}")
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be positive and finite, not {scale}")
    steps = math.log(probability / (1 - probability)) / scale
    return math.ceil(steps) if up else math.floor(steps)
