"""Quantisation-aware training that ends in exactly the integer model.

The network computes in the hardware's own units: every map holds the stored whole numbers (as
float64, in which all of it is exact), every layer ends in the array's one rounding rule. Brevitas
quantises the weights (per channel, narrow range, 8 bits) and passes gradients straight through
roundings and, inside the limits only, through saturations. Scales of maps are those of calibration;
batch norm is frozen. What training sees is therefore bit for bit `golden.model.IntegerModel` on
the weights that `golden.quantise.quantise_ranges` makes; tests/test_train_quantised.py checks it.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden import activation, attention, classifier
from golden.config import ModelConfig
from golden.data import Augmenter, sampling_weights
from golden.float_model import FloatModel, FloatResult, load_checkpoint
from golden.line_buffer import split_row_groups, to_signed
from golden.loss import ALPHA, rascanet_loss
from golden.model import IntegerModel
from golden.quantise import LayerSource, calibrate, quantise_ranges
from golden.training_run import (
    Data,
    Epoch,
    average,
    by_origin,
    gathered,
    processes,
    read_resumable,
    save_checkpoint,
)
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
        rows = split_row_groups(pixels, config.rows_per_group).flatten(0, 1)
        parts = []
        for head in range(config.heads):
            maps = rows
            for block in config.head_layers(head):
                maps = _relu(run(block.name, maps, block.input_zero_point))
                maps = functional.max_pool2d(maps, (1, 2))
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
    data: Data,
    folder: Path,
    epochs: int,
    cells: Mapping[str, Any] | None = None,
    *,
    resume: Path | None = None,
    batch: int = 32,
    learning_rate: float = LEARNING_RATE,
    confidence: str = "proposed",
    alpha: float = ALPHA,
    calibration: int = 256,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """Quantisation-aware training of ``final.pt`` in `folder`; yields after each epoch.

    Leaves ``quantised_last.pt`` and ``quantised_log.jsonl`` there after each epoch and, at the end,
    ``weights.safetensors``. Its accuracy on the validation part is that of
    `golden.model.IntegerModel` on the weights as they are then. With several processes each one
    takes its part of every batch and gradients are averaged.

    Parameters
    ----------
    epochs : int
        >= 1.
    resume : path or None
        A ``quantised_last.pt`` to go on with, of a run with the same options.
    confidence, alpha : str, float
        As in `golden.loss.rascanet_loss`.
    calibration : int
        Pictures of the training part that the ranges are measured on.
    steps : int or None
        Of an epoch; None: as many as fill the training part once.

    Raises
    ------
    ValueError
        A batch that the processes cannot share, or a checkpoint of another run.
    """
    rank, count = processes()
    if batch % count:
        raise ValueError(f"batch must be a multiple of {count} processes, not {batch}")
    usable = (~data.held_out).nonzero().flatten()
    steps = max(1, len(usable) // batch) if steps is None else steps
    options = {
        "quantised_epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "steps": steps,
    }
    options |= {"confidence": confidence, "alpha": alpha, "seed": seed, "processes": count}
    generator = torch.Generator().manual_seed(seed * 1000 + rank)
    found: dict[str, Any] = {"epoch": 0}
    if resume is None:
        float_model = load_checkpoint(folder / "final.pt", config)
        chosen = usable[torch.linspace(0, len(usable) - 1, min(calibration, len(usable))).long()]
        ranges = calibrate(float_model, data.exact[chosen])
    else:
        found = read_resumable(
            resume, config, options, more={"ranges"}, validation=data.validation_digest
        )
        float_model, ranges = FloatModel(config).double(), found["ranges"]
        float_model.load_state_dict(found["state_dict"])
    model = QuantisedModel(float_model, ranges).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    if resume is not None:
        optimiser.load_state_dict(found["optimizer"])
        generator.set_state(found["random"][rank])
    augmenter = Augmenter(data.samples, data.larger, data.exact)
    probability = sampling_weights(data.samples, ~data.held_out, cells, config.class_count)
    validation = data.held_out.nonzero().flatten()
    log = folder / "quantised_log.jsonl"
    if rank == 0 and resume is None:
        log.write_text("")
    for epoch in range(found["epoch"] + 1, epochs + 1):
        begun, sums = time.monotonic(), torch.zeros(4)
        for step in range(steps):
            at = (epoch - 1) * steps + step
            rate = learning_rate * 0.5 * (1 + math.cos(math.pi * at / (epochs * steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            index = torch.multinomial(
                probability, batch // count, replacement=True, generator=generator
            )
            images, labels, _ = augmenter.batch(index, generator)
            result = model(images.to(torch.uint8))
            loss = rascanet_loss(
                result.logits, result.confidence, labels, kind=confidence, alpha=alpha
            )
            optimiser.zero_grad()
            loss.total.backward()
            average([p.grad for p in model.parameters() if p.grad is not None])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            right = (result.logits[:, -1].argmax(dim=1) == labels).float().mean()
            values = (loss.total, loss.classification, loss.confidence, right)
            sums += torch.stack([value.detach().float() for value in values])
            if progress is not None:
                progress(at + 1, epochs * steps)
        sums /= steps
        average([sums])
        weights = model.export()
        table = {}
        if rank == 0 and len(validation):
            kept = [data.samples[i] for i in validation.tolist()]
            integer = IntegerModel(config, weights)
            parts = [integer.run(part) for part in data.exact[validation].split(64)]
            table = by_origin(kept, torch.cat([part.decision for part in parts]))
        randoms = gathered(generator.get_state())
        row = Epoch(
            epoch=epoch,
            loss=float(sums[0]),
            classification=float(sums[1]),
            confidence=float(sums[2]),
            accuracy=float(sums[3]),
            rate=rate,
            seconds=time.monotonic() - begun,
            validation=table,
        )
        if rank == 0:
            with log.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            save_checkpoint(
                folder / "quantised_last.pt",
                model.model,
                optimizer=optimiser.state_dict(),
                epoch=epoch,
                digest=config.digest,
                options=options,
                validation=data.validation_digest,
                random=randoms,
                ranges=ranges,
            )
            if epoch == epochs:
                (folder / "weights.safetensors").unlink(missing_ok=True)
                weights.save(folder / "weights.safetensors")
        yield row
