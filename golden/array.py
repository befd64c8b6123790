"""The multiplier array: exact sums of byte products, for a convolution or for two data operands."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from golden.requant import requantise
from golden.weights import LayerWeights

WATCHERS: list[Callable[[LayerWeights, Tensor], None]] = []
"""Are told of each layer's values, requantised and not yet saturated (sim.coverage)."""


def told(layer: LayerWeights, value: Tensor) -> Tensor:
    """The value; whoever watches is told of it."""
    for watcher in WATCHERS:
        watcher(layer, value)
    return value


def exact_matmul(left: Tensor, right: Tensor) -> Tensor:
    """Integer matrix product of signed bytes, exact, as int64.

    The products run in float32 where no partial sum can pass 2^24 (each product is at most 2^14)
    and in float64 elsewhere (exact below 2^53); a matrix product adds products in some order and
    does nothing else, so each partial sum is an integer that the type holds. No transform-domain
    convolution (Winograd, FFT) may be put in its place.
    """
    kind = torch.float32 if left.shape[-1] * 128 * 128 <= 2**24 else torch.float64
    return torch.matmul(left.to(kind), right.to(kind)).to(torch.int64)


def windows(maps: Tensor, kernel_rows: int, kernel_cols: int, zero_point: int) -> Tensor:
    """Patches of maps [N, C, R, W] as [N, C * kernel_rows * kernel_cols, Ro * W].

    Columns are padded with `zero_point` (which stands for the real value 0), rows are not:
    Ro = R - kernel_rows + 1. Kernels are 1 or 3 columns wide.
    """
    side = kernel_cols // 2
    if side:
        maps = torch.nn.functional.pad(maps, (side, side), value=zero_point)
    patches = maps.unfold(2, kernel_rows, 1).unfold(3, kernel_cols, 1)  # N C Ro W kr kc
    count, channels, rows, cols = patches.shape[:4]
    patches = patches.permute(0, 1, 4, 5, 2, 3)
    return patches.reshape(count, channels * kernel_rows * kernel_cols, rows * cols)


def convolve(maps: Tensor, layer: LayerWeights, zero_point: int) -> Tensor:
    """Convolution and requantisation of stored bytes, not yet saturated.

    Parameters
    ----------
    maps : integer tensor [N, C, R, W] or [N, C, W]
        Stored bytes (zero point not subtracted: the bias has it folded in).
    layer : LayerWeights
    zero_point : int
        Stored value of the real 0, used as padding.

    Returns
    -------
    int64 tensor [N, out, Ro, W] or [N, out, W]
    """
    flat = maps.dim() == 3
    if flat:
        maps = maps.unsqueeze(2)
    out, _, kernel_rows, kernel_cols = layer.weight.shape
    weight = layer.weight.reshape(out, -1)
    small = weight.shape[1] * 128 * 128 <= 2**24
    patches = windows(
        maps.to(torch.float32 if small else torch.float64), kernel_rows, kernel_cols, zero_point
    )
    acc = exact_matmul(weight, patches)
    value = told(layer, requantise(acc, *layer.columns()))
    rows = maps.shape[2] - kernel_rows + 1
    return value if flat else value.reshape(value.shape[0], out, rows, maps.shape[3])
