"""Quantisation-aware training that ends in exactly the integer model.

The network computes in the hardware's own units: every map holds the stored whole numbers (as
float64, in which all of it is exact), every layer ends in the array's one rounding rule. Brevitas
quantises the weights (per channel, narrow range, 8 bits) and passes gradients straight through
roundings and, inside the limits only, through saturations. Scales of maps are those of calibration;
batch norm is frozen. What training sees is therefore bit for bit `golden.model.IntegerModel` on
the weights that `golden.quantise.quantise_ranges` makes; tests/test_train_quantised.py checks it.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden import activation, attention, classifier
from golden.config import ModelConfig
from golden.float_model import FloatModel, FloatResult
from golden.line_buffer import split_row_groups, to_signed
from golden.quantise import LayerSource, calibrate, quantise_ranges
from golden.weights import LayerWeights, Weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Brevitas 0.13 uses torch.jit, which torch 2.13 deprecates
    from brevitas.core.function_wrapper import Identity
    from brevitas.core.quant import IntQuant
    from brevitas.function.ops_ste import floor_ste, round_ste
    from brevitas.function.ops_ste import tensor_clamp_ste as clamp_through

LEARNING_RATE = 2e-4


class _Exact(torch.autograd.Function):
    """The value of `exact` with the gradient of `smooth`: for tables."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.to(smooth.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _gate(value: Tensor, unit: Tensor) -> Tensor:
    """`golden.activation.gate`."""
    return floor_ste(value * unit / 256 + 0.5)


def _relu(value: Tensor) -> Tensor:
    return value.clamp(0, 255) - 128


def _sigmoid(value: Tensor) -> Tensor:
    """Unit value 0..256."""
    value = value.clamp(-511, 511)
    exact = activation.sigmoid(value.detach().to(torch.int64))
    return _Exact.apply(torch.sigmoid(value / 64) * 256, exact)


def _tanh(value: Tensor) -> Tensor:
    value = value.clamp(-511, 511)
    return _Exact.apply(
        torch.tanh(value / 128) * 127, activation.tanh(value.detach().to(torch.int64))
    )


class QuantisedModel(nn.Module):
    """The integer model with gradients.

    Parameters
    ----------
    model : FloatModel
        Trained here in place; batch norm keeps its statistics.
    ranges : mapping
        Of `golden.quantise.calibrate`; fixed from here on.
    """

    def __init__(self, model: FloatModel, ranges: Mapping[str, float]) -> None:
        super().__init__()
        self.model = model.double().eval()
        self.config = model.config
        self.ranges = dict(ranges)
        self.weight_quantiser = IntQuant(narrow_range=True, signed=True, input_view_impl=Identity())

    def train(self, mode: bool = True) -> QuantisedModel:
        """Batch norm stays frozen and dropout off, whatever the mode."""
        super().train(mode)
        self.model.eval()
        return self

    def export(self) -> Weights:
        """The integer weights: those that the forward pass uses."""
        with torch.no_grad():
            return quantise_ranges(self.model, self.ranges)

    def _whole(self, source: LayerSource, layer: LayerWeights) -> tuple[Tensor, Tensor]:
        """Whole weights and bias of a layer, with gradient."""
        ratio = layer.multiplier.double() / 2.0 ** layer.shift.double()
        step = (source.output_scale * ratio)[:, None, None, None]
        folded = source.weight * source.input_scale[None, :, None, None]
        zero, bits = torch.zeros((), dtype=torch.float64), torch.tensor(8.0)
        weight = self.weight_quantiser.to_int(step, zero, bits, folded)
        bias = round_ste(source.bias / step.flatten())
        return weight, bias - (weight.sum(dim=(2, 3)) * source.input_zero).sum(dim=1)

    @staticmethod
    def _requantise(acc: Tensor, bias: Tensor, layer: LayerWeights) -> Tensor:
        shape = (-1, *[1] * (acc.dim() - 2))
        ratio = layer.multiplier.double() / 2.0 ** layer.shift.double()
        return floor_ste((acc + bias.reshape(shape)) * ratio.reshape(shape) + 0.5)

    def forward(self, images: Tensor) -> FloatResult:
        """States and logits in real units, confidence, of uint8 or signed pixels [B, C, h, w]."""
        config, sources = self.config, {}
        weights = quantise_ranges(self.model, self.ranges, sources)
        layers = weights.layers
        whole = {name: self._whole(source, layers[name]) for name, source in sources.items()}

        def run(name: str, maps: Tensor, zero_point: int) -> Tensor:
            weight, bias = whole[name]
            flat = maps.dim() == 3
            maps = maps.unsqueeze(2) if flat else maps
            side = weight.shape[3] // 2
            maps = functional.pad(maps, (side, side), value=zero_point)
            found = self._requantise(functional.conv2d(maps, weight), bias, layers[name])
            return found.squeeze(2) if flat else found

        pixels = to_signed(images).double() if images.dtype == torch.uint8 else images.double()
        batch, groups = pixels.shape[0], config.row_groups
        rows = split_row_groups(pixels).flatten(0, 1)
        parts = []
        for head in range(config.heads):
            maps, zero = rows, 0
            for number in (1, 2, 3, 4):
                maps = _relu(run(f"head{head}.block{number}", maps, zero))
                maps, zero = functional.max_pool2d(maps, (1, 2)), -128
            parts.append(maps.squeeze(2).unflatten(0, (batch, groups)))
        state = pixels.new_zeros((batch, config.state_channels, config.n))
        states = []
        for t in range(groups):
            state = self._step(run, weights, [part[:, t] for part in parts], state)
            states.append(state)
        stacked = torch.stack(states, dim=1)
        pooled = stacked.sum(dim=-1) + config.n * stacked.amax(dim=-1)
        confidence = self.model.confidence((pooled / (127 * config.n)).flatten(0, 1))
        return FloatResult(
            stacked / 127,
            self._classify(pooled, weights) * weights.scales["logit"],
            confidence.unflatten(0, (batch, groups)),
        )

    def _step(self, run, weights: Weights, parts: list[Tensor], state: Tensor) -> Tensor:
        config = self.config
        if config.spatial:
            parts = [self._attend(run, weights, i, part, state) for i, part in enumerate(parts)]
        features, zero = torch.cat(parts, dim=1), config.feature_zero_point
        if config.channel_attention:
            joined = torch.cat([state, features], dim=1)
            hidden = _relu(run("channel_attention.0", joined, 0))
            features = _gate(features - zero, _sigmoid(run("channel_attention.1", hidden, -128)))
            features = features + zero
        maps = _relu(run("projection.0", features, zero))
        maps = _relu(run("projection.1", maps, -128))
        joined = torch.cat([state, maps], dim=1)
        reset = _gate(state, _sigmoid(run("gru.reset", joined, 0)))
        update = _sigmoid(run("gru.update", joined, 0))
        stored = activation.encode_unit(update.detach().to(torch.int64))
        update = _Exact.apply(update, activation.decode_unit(stored))
        candidate = _tanh(run("gru.candidate", torch.cat([maps, reset], dim=1), 0))
        return candidate + _gate(state - candidate, update)

    def _attend(self, run, weights: Weights, head: int, features: Tensor, state: Tensor) -> Tensor:
        name, layers = f"attention{head}", weights.layers
        nothing = torch.zeros(1, dtype=torch.float64)
        key = run(f"{name}.key", features, -128).clamp(-128, 127)
        scores = self._requantise(state.transpose(1, 2) @ key, nothing, layers[f"{name}.score"])
        scores = scores.clamp(-128, 127)
        if self.config.spatial_attention == "banded":
            place = torch.arange(scores.shape[-1])
            scores = scores * ((place[:, None] - place[None, :]).abs() <= attention.BAND)
        exact = attention.softmax(scores.detach().to(torch.int64), weights.exp_table)
        smooth = 127 * (scores * weights.scales[f"{name}.score"]).softmax(dim=-1)
        mixed = run(f"{name}.value", features, -128).clamp(-128, 127) @ _Exact.apply(smooth, exact)
        mixed = self._requantise(mixed, nothing, layers[f"{name}.mix"])
        return (mixed + _gate(features + 128, layers[f"{name}.mix"].bias.double())).clamp(-128, 127)

    def _classify(self, pooled: Tensor, weights: Weights) -> Tensor:
        """Whole logits [..., 2] of whole p [..., d]."""
        first, norm, _, last = self.model.out_classifier.out_classifier
        layer = weights.layers["classifier.0"]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        power = 2.0 ** layer.shift.double()
        scale = gain / classifier.HIDDEN_SCALE * power
        weight = round_ste(first.weight * (scale / (127 * self.config.n))[:, None])
        weight = clamp_through(weight, torch.tensor(-127.0).double(), torch.tensor(127.0).double())
        # The exact bias: rounding order of a product must not decide a bit.
        smooth = (first.bias - norm.running_mean) * scale + norm.bias * power / (
            classifier.HIDDEN_SCALE
        )
        bias = _Exact.apply(smooth, layer.bias)
        weight = _Exact.apply(weight, layer.weight.flatten(1))
        hidden = floor_ste((pooled @ weight.T + bias) / power + 0.5)
        limit = classifier.HIDDEN_LIMIT
        hidden = hidden.clamp(-limit, limit - 1)
        swish = floor_ste(hidden * (hidden + 768).clamp(0, 1536) / 256 + 0.5)
        layer, scale = weights.layers["classifier.1"], weights.scales["logit"]
        weight = _Exact.apply(last.weight * classifier.SWISH_SCALE / scale, layer.weight.flatten(1))
        return swish @ weight.T + _Exact.apply(last.bias / scale, layer.bias)


def finish(
    config: ModelConfig,
    data,
    folder: Path,
    epochs: int,
    cells: Mapping[str, Any] | None = None,
    *,
    batch: int = 32,
    learning_rate: float = LEARNING_RATE,
    calibration: int = 256,
    steps: int | None = None,
    seed: int = 0,
) -> Weights:
    """Quantisation-aware training of ``final.pt``; writes ``weights.safetensors`` in `folder`.

    Parameters
    ----------
    data : golden.train.Data
    epochs : int
        >= 1.
    calibration : int
        Pictures of the training part that the ranges are measured on.
    steps : int or None
        Of an epoch; None: as many as fill the training part once.
    """
    from golden.data import Augmenter, sampling_weights
    from golden.float_model import load_checkpoint
    from golden.loss import rascanet_loss

    float_model = load_checkpoint(folder / "final.pt", config)
    usable = (~data.held_out).nonzero().flatten()
    chosen = usable[torch.linspace(0, len(usable) - 1, min(calibration, len(usable))).long()]
    model = QuantisedModel(float_model, calibrate(float_model, data.exact[chosen])).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    augmenter = Augmenter(data.samples, data.larger, data.exact)
    probability = sampling_weights(data.samples, ~data.held_out, cells)
    generator = torch.Generator().manual_seed(seed)
    steps = max(1, len(usable) // batch) if steps is None else steps
    for at in range(epochs * steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * at / (epochs * steps)))
        index = torch.multinomial(probability, batch, replacement=True, generator=generator)
        images, labels = augmenter.batch(index, generator)
        result = model(images.to(torch.uint8))
        loss = rascanet_loss(result.logits, result.confidence, labels)
        optimiser.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
    weights = model.export()
    with contextlib.suppress(FileNotFoundError):
        (folder / "weights.safetensors").unlink()
    weights.save(folder / "weights.safetensors")
    return weights
