"""Training's forward pass on a CPU: the network of `FloatModel`, about five times as fast.

PyTorch's convolutions are slow with so few channels; ``cpu_heads.cpp`` does the heads (compiled by
g++ at the first use, kept under build/), and the work of a row group is done as matrix products on
[pictures, columns, channels]. Parameters, batch-norm statistics and gradients are `FloatModel`'s
own; tests/test_train.py compares both. Without g++, with spatial attention, without channel
attention or with a batch that does not fill vectors of 16 row groups, `FloatModel` itself runs.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from golden.config import ROWS_PER_GROUP, ModelConfig
from golden.float_model import FloatModel

LANES = 16
_SOURCE = Path(__file__).with_suffix(".cpp")
_BUILD = Path("build/train/cpu_heads")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")


@functools.cache
def _library(sizes: tuple[tuple[int, int, int], ...]) -> ctypes.CDLL | None:
    """The compiled kernels for these (inputs, outputs, kernel rows), or None without a compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    define = "-DSIZES=" + " ".join(f"SIZE({i}, {o}, {r})" for i, o, r in sizes)
    key = hashlib.sha256(f"{define}{_FLAGS}{_SOURCE.read_text()}".encode()).hexdigest()[:16]
    path = _BUILD / f"{key}.so"
    if not path.is_file():
        _BUILD.mkdir(parents=True, exist_ok=True)
        part = _BUILD / f"{key}.{os.getpid()}.part"
        done = subprocess.run(
            [compiler, *_FLAGS, define, "-o", str(part), str(_SOURCE)], capture_output=True
        )
        if done.returncode:
            return None
        part.replace(path)  # several processes may come here at once
    return ctypes.CDLL(str(path.resolve()))


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


class _Block(torch.autograd.Function):
    """Convolution, batch norm, ReLU, pool of maps [groups / 16, channels, rows, columns, 16]."""

    @staticmethod
    def forward(ctx, library, maps, weight, gamma, beta, norm, training):
        blocks, channels, rows_in, width, _ = maps.shape
        out, _, kernel_rows, _ = weight.shape
        rows = rows_in - kernel_rows + 1
        weight = weight.contiguous()
        sums = torch.empty(2 * out, dtype=torch.float64)
        y = torch.empty(blocks, out, rows, width, LANES)
        size = (ctypes.c_long(blocks), channels, out, kernel_rows, rows_in, width)
        pointers = (_pointer(maps), _pointer(weight), _pointer(y))
        if library.conv_forward(*pointers, *size, _pointer(sums)):
            raise RuntimeError(f"no kernel of {channels} inputs and {out} outputs was compiled")
        if training:
            count = blocks * LANES * rows * width
            mean = sums[:out] / count
            variance = (sums[out:] / count - mean * mean).clamp(min=0)
            with torch.no_grad():
                norm.num_batches_tracked += 1
                norm.running_mean.lerp_(mean.float(), norm.momentum)
                unbiased = variance * (count / max(1, count - 1))
                norm.running_var.lerp_(unbiased.float(), norm.momentum)
        else:
            mean, variance = norm.running_mean.double(), norm.running_var.double()
        rstd = 1 / torch.sqrt(variance + norm.eps)
        gain = gamma.double() * rstd
        offset = (beta.double() - mean * gain).float()
        gain, mean, rstd = gain.float(), mean.float(), rstd.float()
        pooled = torch.empty(blocks, out, rows, width // 2, LANES)
        shape = (ctypes.c_long(blocks), out, rows, width)
        library.pool_forward(*map(_pointer, (y, gain, offset, pooled)), *shape)
        ctx.save_for_backward(maps, weight, y, gain, offset, mean, rstd)
        ctx.library, ctx.shape, ctx.size = library, shape, size
        return pooled

    @staticmethod
    def backward(ctx, gradient):
        maps, weight, y, gain, offset, mean, rstd = ctx.saved_tensors
        gradient = gradient.contiguous()
        slope, shift = (torch.empty(len(gain), dtype=torch.float64) for _ in range(2))
        y = y.clone()
        constants = map(_pointer, (y, gradient, gain, offset, mean, rstd))
        ctx.library.pool_backward(*constants, *ctx.shape, _pointer(slope), _pointer(shift))
        inner = torch.empty_like(maps) if ctx.needs_input_grad[1] else None
        outer = torch.empty(weight.shape, dtype=torch.float64)
        ctx.library.conv_backward(*map(_pointer, (maps, weight, y, inner, outer)), *ctx.size)
        return None, inner, outer.float(), slope.float(), shift.float(), None, None


def _neighbours(maps: Tensor) -> Tensor:
    """[B, n, C] to [B, n, 3 C]: left, own, right column."""
    edge = maps.new_zeros(maps.shape[0], 1, maps.shape[2])
    left, right = torch.cat([edge, maps[:, :-1]], 1), torch.cat([maps[:, 1:], edge], 1)
    return torch.cat([left, maps, right], dim=2)


def _fast(model: FloatModel, library: ctypes.CDLL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    config, dropout = model.config, model.dropout
    batch, groups = pixels.shape[0], config.row_groups
    d, n, c = config.state_channels, config.n, config.in_channels
    rows = pixels[:, :, : groups * ROWS_PER_GROUP].unflatten(2, (groups, ROWS_PER_GROUP))
    rows = rows.transpose(1, 2).reshape(batch * groups // LANES, LANES, -1).transpose(1, 2)
    rows = rows.reshape(-1, c, ROWS_PER_GROUP, config.image_width, LANES).contiguous()
    parts = []
    for head in range(config.heads):
        maps = rows
        for block in getattr(model, f"raster_cnn_{head}").children():
            norm = block.bn
            weights = (block.conv.weight, norm.weight, norm.bias)
            maps = _Block.apply(library, maps, *weights, norm, model.training)
        parts.append(maps[:, :, 0].permute(0, 3, 2, 1).reshape(batch, groups, n, -1))
    features = dropout(torch.cat(parts, dim=3)).transpose(0, 1).contiguous()  # T B n c
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
    state = pixels.new_zeros(batch, n, d)
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
    """Whether the kernels know this network (a compiler is looked for later)."""
    return not config.spatial and config.channel_attention


def training_forward(model: FloatModel) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Function from signed pixels [B, C, h, w] to logits [B, T, 2] and confidence [B, T]."""
    config, library = model.config, None
    if supported(config) and next(model.parameters()).dtype == torch.float32:
        sizes = {(s.in_channels, s.out_channels, s.kernel_rows) for s in config.head_layers(0)}
        library = _library(tuple(sorted(sizes)))

    def forward(pixels: Tensor) -> tuple[Tensor, Tensor]:
        if library is None or pixels.shape[0] * config.row_groups % LANES or pixels.is_cuda:
            result = model(pixels)
            return result.logits, result.confidence
        return _fast(model, library, pixels)

    return forward
