"""Biases of integer weights that make good what rounding does to the means, layer after layer.

Rounding is without a trend, but the network is not linear: ReLU and the maximum of two columns turn
an error of mean 0 into one above 0, the next layer carries it on, and the GRU adds it up over the
row groups, until all answers lean to one side. So here each layer, in running order, gets the bias
with which its sums have the mean that they have in the float network, on the inputs that the
integer network gives it (with the layers before it corrected already, and its state closed over the
row groups). The classifier's two layers are corrected on the last row group, which decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from golden import classifier, head_lane
from golden.config import ModelConfig
from golden.float_model import FloatModel
from golden.line_buffer import split_row_groups, to_signed
from golden.model import IntegerModel
from golden.weights import LayerWeights, Weights

_PICTURES = 64  # are enough: shifts are known to a few thousandths
_GROUPS_AT_ONCE = 256
_IMAGES_AT_ONCE = 8
_BIAS_LIMIT = 2**30  # of the classifier


class Origin(NamedTuple):
    """Where an array layer comes from: the float layer, its batch norm, the scale of its output."""

    layer: nn.Module
    norm: nn.Module | None
    output_scale: float


class _Mean:
    """Mean of what a kernel sees at each tap, over maps that come in parts."""

    def __init__(self, layer: LayerWeights, zero_point: int) -> None:
        self.rows, self.cols = layer.weight.shape[2:]
        self.zero_point, self.total, self.count = zero_point, 0.0, 0

    def add(self, maps: Tensor) -> _Mean:
        """Stored bytes [N, C, R, W] or [N, C, W]."""
        if maps.dim() == 3:
            maps = maps.unsqueeze(2)
        height, width, side = maps.shape[2] - self.rows + 1, maps.shape[3], self.cols // 2
        column_sums = maps.to(torch.float64).sum(dim=0)  # [C, R, W]
        padding = float(self.zero_point * maps.shape[0])
        padded = torch.nn.functional.pad(column_sums, (side, side), value=padding)
        taps = [
            padded[:, row : row + height, col : col + width].sum(dim=(1, 2))
            for row in range(self.rows)
            for col in range(self.cols)
        ]
        self.total = self.total + torch.stack(taps, dim=1).flatten()
        self.count += maps.shape[0] * height * width
        return self

    def value(self) -> Tensor:
        """float64 [C * rows * cols]."""
        return self.total / self.count


def corrected(
    config: ModelConfig,
    layer: LayerWeights,
    output_scale: float,
    wanted: Tensor,
    mean: Tensor,
) -> LayerWeights:
    """The layer with the biases that give its sums the means `wanted`.

    Parameters
    ----------
    wanted : float64 tensor [out]
        In real units.
    mean : float64 tensor [in * rows * cols]
        Of the stored inputs.
    """
    _, multiplier, shift = (column.double().flatten() for column in layer.columns())
    step = output_scale * multiplier / 2.0**shift
    bias = torch.round(wanted / step - layer.weight.flatten(1).double() @ mean)
    limit = 2 ** (config.acc_bits - 1)
    fits = (bias >= -limit) & (bias < limit)
    return replace(layer, bias=torch.where(fits, bias, layer.bias.double()).to(torch.int32))


@torch.no_grad()
def correct_biases(
    model: FloatModel, weights: Weights, origins: Mapping[str, Origin], images: Tensor
) -> Weights:
    """`weights` with all biases corrected.

    Parameters
    ----------
    model : FloatModel
        In eval mode; where `weights` come from.
    origins : mapping
        Of each array layer.
    images : uint8 tensor [B, in_channels, h, w]
        Calibration pictures; up to `_PICTURES` of them are used, spread evenly.
    """
    config = model.config
    images = images[:: -(-len(images) // _PICTURES)]
    wanted, last_states = _float_means(model, origins, images)
    weights = replace(weights, layers=dict(weights.layers))
    layers: dict[str, LayerWeights] = weights.layers

    def correct(name: str, mean: Tensor) -> None:
        scale = origins[name].output_scale
        layers[name] = corrected(config, layers[name], scale, wanted[name], mean)

    parts = []
    for head in range(config.heads):
        maps = split_row_groups(to_signed(images), config.rows_per_group).flatten(0, 1)
        for block in config.head_layers(head):
            name, zero_point = block.name, block.input_zero_point
            mean = _Mean(layers[name], zero_point)
            for part in maps.split(_GROUPS_AT_ONCE):
                mean.add(part)
            correct(name, mean.value())
            found = [
                head_lane.block(part, layers[name], zero_point)
                for part in maps.split(_GROUPS_AT_ONCE)
            ]
            maps = torch.cat(found)
        parts.append(maps.squeeze(2))
        if config.spatial:
            for part in ("key", "value"):
                name = f"attention{head}.{part}"
                correct(name, _Mean(layers[name], -128).add(parts[-1]).value())
    features = torch.cat(parts, dim=1).unflatten(0, (len(images), config.row_groups))
    for name, maps, zero_point in _in_the_loop(config, weights, features):
        correct(name, _Mean(layers[name], zero_point).add(maps).value())
    states = IntegerModel(config, weights).scan(features).state[:, -1]
    _correct_classifier(model, weights, states, last_states)
    return weights


def _float_means(
    model: FloatModel, origins: Mapping[str, Origin], images: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Mean of each array layer's sums, [out], after its batch norm; the last states [B, d, n]."""
    sums = {name: [0.0, 0] for name in origins}

    def look(name: str) -> Callable:
        def add(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            maps = output.double().transpose(0, 1).flatten(1)
            sums[name][0] = sums[name][0] + maps.sum(dim=1)
            sums[name][1] += maps.shape[1]

        return add

    hooks = [origin.layer.register_forward_hook(look(name)) for name, origin in origins.items()]
    try:
        # With a trace each layer is called by itself.
        states = [model(part, trace={}).states[:, -1] for part in images.split(_IMAGES_AT_ONCE)]
    finally:
        for hook in hooks:
            hook.remove()
    means = {}
    for name, (total, count) in sums.items():
        mean, norm = total / count, origins[name].norm
        if norm is not None:
            gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            mean = (mean - norm.running_mean.double()) * gain + norm.bias.double()
        means[name] = mean
    return means, torch.cat(states)


def _in_the_loop(
    config: ModelConfig, weights: Weights, features: Tensor
) -> Iterator[tuple[str, Tensor, int]]:
    """Each layer after the heads with its inputs [B T, in, n] and their zero point.

    The network runs anew for each, so a correction made meanwhile counts.
    """

    def run() -> dict[str, Tensor]:
        shape = features.shape[:2]
        trace = {
            stage.name: torch.zeros((*shape, stage.channels, stage.columns), dtype=torch.int16)
            for stage in config.stages
            if not stage.name.startswith("head")
        }
        IntegerModel(config, weights).scan(features, trace=trace)
        state = trace["gru.state"]
        before = torch.cat([torch.zeros_like(state[:, :1]), state[:, :-1]], dim=1)
        trace["features"] = features
        if config.spatial:
            attended = [trace[f"attention{head}.output"] for head in range(config.heads)]
            trace["features"] = torch.cat(attended, dim=2)
        return {name: maps.flatten(0, 1) for name, maps in (*trace.items(), ("state", before))}

    zero = config.feature_zero_point
    last = "features"
    if config.channel_attention:
        maps = run()
        yield "channel_attention.0", torch.cat([maps["state"], maps["features"]], dim=1), 0
        yield "channel_attention.1", run()["channel_attention.hidden"], -128
        last = "channel_attention.output"
    yield "projection.0", run()[last], zero
    yield "projection.1", run()["projection.0"], -128
    maps = run()
    joined = torch.cat([maps["state"], maps["projection.1"]], dim=1)
    yield "gru.reset", joined, 0
    yield "gru.update", joined, 0
    maps = run()
    yield "gru.candidate", torch.cat([maps["projection.1"], maps["gru.reset"]], dim=1), 0


def _correct_classifier(
    model: FloatModel, weights: Weights, states: Tensor, wanted: Tensor
) -> None:
    """Both layers, by their means on the last row group: whole and float states [B, d, n]."""
    layers: dict[str, LayerWeights] = weights.layers
    first, norm, swish, last = model.out_classifier.out_classifier
    hidden = norm(first(model.pool(wanted)))
    logits = last(swish(hidden)).double().mean(dim=0)
    mean = classifier.pool(states.to(torch.int64)).double().mean(dim=0)
    layer = layers["classifier.0"]
    step = classifier.HIDDEN_SCALE / 2.0 ** layer.shift.double()
    bias = hidden.double().mean(dim=0) / step - layer.weight.flatten(1).double() @ mean
    bias = bias.round().clamp(-_BIAS_LIMIT, _BIAS_LIMIT).to(torch.int32)
    layers["classifier.0"] = replace(layer, bias=bias)
    layer = layers["classifier.1"]
    found = classifier.classify(states, layers).double().mean(dim=0)
    bias = layer.bias.double() + logits / weights.scales["logit"] - found
    bias = bias.round().clamp(-_BIAS_LIMIT, _BIAS_LIMIT).to(torch.int32)
    layers["classifier.1"] = replace(layer, bias=bias)
