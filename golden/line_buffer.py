"""What the camera side does to a picture: pixels to signed bytes, rows to row groups."""

from __future__ import annotations

import torch
from torch import Tensor


def to_signed(pixels: Tensor) -> Tensor:
    """``p - 127 - (p >= 128)``: 0..255 to -127..127, which is round((p / 255 - 0.5) * 2 * 127).

    127 and 128 both become 0; scale 1, zero point 0.
    """
    pixels = pixels.to(torch.int64)
    return pixels - 127 - (pixels >= 128).to(torch.int64)


def split_row_groups(image: Tensor, rows: int) -> Tensor:
    """Cut pictures [B, channels, h, w] into row groups [B, T, channels, k, w]; drop a remainder.

    `rows` is k (``ModelConfig.rows_per_group``).
    """
    batch, channels, height, width = image.shape
    groups = height // rows
    return (
        image[:, :, : groups * rows].reshape(batch, channels, groups, rows, width).transpose(1, 2)
    )
