"""Training's forward pass: the network of `FloatModel`, two times as fast on a CPU.

PyTorch's convolutions and pools are slow with so few channels. The heads go through PyTorch's
compiler, with the pool as a maximum of two slices, and the work of a row group is done as matrix
products on [pictures, columns, channels]. Parameters, batch-norm statistics and gradients are
`FloatModel`'s own; tests/test_train.py compares both. With spatial attention or without channel
attention `FloatModel` itself runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from golden.config import ModelConfig
from golden.float_model import FloatModel
from golden.line_buffer import split_row_groups


def _heads(model: FloatModel, rows: Tensor) -> list[Tensor]:
    """Maps of block 4 of each head, [B T, c, n]."""
    found = []
    for head in range(model.config.heads):
        maps = rows
        for block in getattr(model, f"raster_cnn_{head}").children():
            maps = functional.relu(block.bn(block.conv(maps)))
            width = maps.shape[-1] // 2 * 2
            maps = torch.maximum(maps[..., 0:width:2], maps[..., 1:width:2])
        found.append(maps[:, :, 0])
    return found


def _neighbours(maps: Tensor) -> Tensor:
    """[B, n, C] to [B, n, 3 C]: left, own, right column."""
    edge = maps.new_zeros(maps.shape[0], 1, maps.shape[2])
    left, right = torch.cat([edge, maps[:, :-1]], 1), torch.cat([maps[:, 1:], edge], 1)
    return torch.cat([left, maps, right], dim=2)


def _row_groups(model: FloatModel, parts: list[Tensor], batch: int) -> tuple[Tensor, Tensor]:
    """Attention, conv-GRU and both classifiers over all row groups, from the heads' maps."""
    config, dropout = model.config, model.dropout
    groups, d, n = config.row_groups, config.state_channels, config.n
    maps = [part.transpose(1, 2).reshape(batch, groups, n, -1) for part in parts]
    features = dropout(torch.cat(maps, dim=3)).transpose(0, 1).contiguous()  # T B n c
    prj, cell, count = model.raster_att.channel_prj, model.cell, config.features
    first, second = prj.channel_att[0], prj.channel_att[2]
    asked = functional.linear(features, first.weight[:, :count, 0], first.bias)
    layers = [
        (prj.projection[i].weight.permute(0, 2, 1).flatten(1), prj.projection[i + 1])
        for i in (0, 3)
    ]
    gates = (cell.conv_reset, cell.conv_update, cell.conv_h)
    of_feature = torch.cat([conv.weight[:, :d, 0] for conv in gates])
    bias = torch.cat([conv.bias for conv in gates])
    of_state = torch.cat([conv.weight[:, d:, 0] for conv in gates[:2]])
    state = features.new_zeros(batch, n, d)
    states = []
    for t in range(groups):
        hidden = torch.relu(asked[t] + functional.linear(state, first.weight[:, count:, 0]))
        gate = torch.sigmoid(functional.linear(hidden, second.weight[:, :, 0], second.bias))
        maps = features[t] * gate
        for weight, norm in layers:
            maps = functional.linear(_neighbours(maps), weight).flatten(0, 1)
            maps = torch.relu(norm(maps)).unflatten(0, (batch, n))
        own = functional.linear(prj.dropout(maps), of_feature, bias)
        gate = torch.sigmoid(own[..., : 2 * d] + functional.linear(state, of_state))
        reset, update = gate[..., :d], gate[..., d:]
        inner = functional.linear(state * reset, cell.conv_h.weight[:, d:, 0])
        state = torch.lerp(torch.tanh(own[..., 2 * d :] + inner), state, update)
        states.append(state)
    stacked = torch.stack(states, dim=1).transpose(2, 3)
    pooled = model.pool(stacked).flatten(0, 1)
    return (
        model.classify(pooled).unflatten(0, (batch, groups)),
        model.confidence(pooled).unflatten(0, (batch, groups)),
    )


def supported(config: ModelConfig) -> bool:
    """Whether this network has the fast form."""
    return not config.spatial and config.channel_attention


def can_compile() -> bool:
    """Whether PyTorch's compiler has the C++ compiler that it needs."""
    return shutil.which("g++") is not None


def training_forward(
    model: FloatModel, *, compiled: bool = False
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Function from signed pixels [B, C, h, w] to logits [B, T, 2] and confidence [B, T].

    compiled: the heads go through torch.compile; its first call takes a minute or two.
    """
    if not supported(model.config):

        def plain(pixels: Tensor) -> tuple[Tensor, Tensor]:
            result = model(pixels)
            return result.logits, result.confidence

        return plain

    def heads(rows: Tensor) -> list[Tensor]:
        return _heads(model, rows)

    run = torch.compile(heads) if compiled else heads

    def fast(pixels: Tensor) -> tuple[Tensor, Tensor]:
        rows = split_row_groups(pixels).flatten(0, 1)
        return _row_groups(model, run(rows), pixels.shape[0])

    return fast
