"""One CNN head: blocks of convolution, ReLU and 1x2 pool (docs/network.md, "CNN heads")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from golden import requant
from golden.array import convolve
from golden.network import Layer
from golden.weights import LayerWeights


def pool_pairs(maps: Tensor) -> Tensor:
    """Maximum of neighbouring columns; an odd last column is dropped."""
    even = maps.shape[-1] // 2 * 2
    return maps[..., 0:even:2].maximum(maps[..., 1:even:2])


def block(maps: Tensor, layer: LayerWeights, zero_point: int) -> Tensor:
    """Convolution, ReLU, pool: bytes [N, C, R, W] to [N, out, Ro, W // 2], zero point -128."""
    return pool_pairs(requant.relu(convolve(maps, layer, zero_point)))


def head(
    rows: Tensor, layers: Mapping[str, LayerWeights], network: Sequence[Layer]
) -> dict[str, Tensor]:
    """All blocks of one head.

    Parameters
    ----------
    rows : integer tensor [N, in_channels, k, w]
        Signed pixels.
    layers : mapping
        Layer name to weights.
    network : sequence of Layer
        The head's blocks (``ModelConfig.head_layers``).

    Returns
    -------
    dict
        Stage name to stored bytes [N, channels, columns]; the last one is P.
    """
    stages: dict[str, Tensor] = {}
    maps = rows
    for layer in network:
        maps = block(maps, layers[layer.name], layer.input_zero_point)
        stages.update({stage: maps[:, :, row] for row, stage in enumerate(layer.stages)})
    return stages
