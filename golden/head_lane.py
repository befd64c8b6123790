"""One CNN head: four blocks of convolution, ReLU and 1x2 pool (NETWORK.md, "CNN head")."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from golden import requant
from golden.array import convolve
from golden.weights import LayerWeights


def pool_pairs(maps: Tensor) -> Tensor:
    """Maximum of neighbouring columns; an odd last column is dropped."""
    even = maps.shape[-1] // 2 * 2
    return maps[..., 0:even:2].maximum(maps[..., 1:even:2])


def block(maps: Tensor, layer: LayerWeights, zero_point: int) -> Tensor:
    """Convolution, ReLU, pool: bytes [N, C, R, W] to [N, out, Ro, W // 2], zero point -128."""
    return pool_pairs(requant.relu(convolve(maps, layer, zero_point)))


def head(rows: Tensor, layers: Mapping[str, LayerWeights], index: int) -> dict[str, Tensor]:
    """All four blocks of head `index`.

    Parameters
    ----------
    rows : integer tensor [N, in_channels, 5, w]
        Signed pixels.
    layers : mapping
        Layer name to weights.
    index : int
        Which head.

    Returns
    -------
    dict
        Stage name to stored bytes [N, channels, columns]; the last one, ``head{h}.block4``, is P.
    """
    stages: dict[str, Tensor] = {}
    maps, zero_point = rows, 0  # pixels are signed; padding a picture with 0 is mid-grey
    for number in (1, 2, 3, 4):
        name = f"head{index}.block{number}"
        maps = block(maps, layers[name], zero_point)
        zero_point = -128
        if number <= 2:
            stages.update({f"{name}.row{row}": maps[:, :, row] for row in range(3)})
        else:
            stages[name] = maps[:, :, 0]
    return stages
