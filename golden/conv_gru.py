"""The convolutional GRU (Eq. 2-5) on integers; state, candidate and H * R have scale 1/127."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from golden.activation import KNOTS, decode_unit, encode_unit, gate, sigmoid, tanh
from golden.array import convolve
from golden.weights import LayerWeights

STATE_SCALE = 1 / 127


def new_state(state: Tensor, candidate: Tensor, update: Tensor) -> Tensor:
    """H' = N + ((H - N) * U + 128 >> 8) (Eq. 5): exactly N at U = 0, exactly H at U = 256.

    `update` is a unit value 0..256. The result lies between N and H, so it never saturates.
    """
    return candidate + gate(state - candidate, update)


def conv_gru(
    features: Tensor, state: Tensor, layers: Mapping[str, LayerWeights], knots: Tensor = KNOTS
) -> dict[str, Tensor]:
    """One step of the GRU.

    Parameters
    ----------
    features : int64 tensor [N, d, n]
        F, zero point -128.
    state : int64 tensor [N, d, n]
        H, zero point 0.
    layers : mapping
        ``gru.reset``, ``gru.update`` (inputs [H : F]) and ``gru.candidate`` ([F : H * R]).
    knots : integer tensor of 17

    Returns
    -------
    dict
        ``gru.reset`` (H * R), ``gru.update`` (the stored byte 0..255) and ``gru.state`` (H').
    """
    joined = torch.cat([state, features], dim=1)
    reset = gate(state, sigmoid(convolve(joined, layers["gru.reset"], 0), knots))
    # U waits in memory for the candidate, so the blend sees what a byte can hold.
    update = encode_unit(sigmoid(convolve(joined, layers["gru.update"], 0), knots))
    joined = torch.cat([features, reset], dim=1)
    candidate = tanh(convolve(joined, layers["gru.candidate"], 0), knots)
    return {
        "gru.reset": reset,
        "gru.update": update,
        "gru.state": new_state(state, candidate, decode_unit(update)),
    }
