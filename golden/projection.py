"""The projection of the attended features (Eq. 1, 13) on integers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from golden import requant
from golden.array import convolve
from golden.weights import LayerWeights


def projection(
    features: Tensor, layers: Mapping[str, LayerWeights], zero_point: int
) -> dict[str, Tensor]:
    """Two 1x3 convolutions with ReLU (Eq. 1, 13): C (zero point given) to F (zero point -128)."""
    first = requant.relu(convolve(features, layers["projection.0"], zero_point))
    return {
        "projection.0": first,
        "projection.1": requant.relu(convolve(first, layers["projection.1"], -128)),
    }
