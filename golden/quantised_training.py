"""Quantisation-aware training that ends in exactly the integer model.

The network computes in the hardware's own units: every map holds the stored whole numbers, every
layer ends in the array's one rounding rule. Sums are taken in float32 where that is exact
(`exact_type`), and requantised in float64, in which all of it is. Brevitas
quantises the weights (per channel, narrow range, 8 bits) and passes gradients straight through
roundings and, inside the limits only, through saturations. Scales of maps are those of calibration;
batch norm is frozen. What training sees is therefore bit for bit `golden.model.IntegerModel` on
the weights that `golden.quantise.quantise_ranges` makes; tests/test_train_quantised.py checks it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden import activation, attention, classifier
from golden.config import ARITHMETIC, ModelConfig
from golden.data import Augmenter, sampling_weights
from golden.float_model import FloatModel, FloatResult, load_checkpoint
from golden.line_buffer import split_row_groups, to_signed
from golden.loss import ALPHA, rascanet_loss
from golden.model import IntegerModel
from golden.quantise import LayerSource, calibrate, quantise_ranges
from golden.training_run import (
    Data,
    Epoch,
    add_row,
    average,
    begin_log,
    by_origin,
    gathered,
    kept_cells,
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
BATCH = 32
"""Pictures of a step, all processes together."""


_MOST = 255  # of any stored number that a weight is multiplied with: maps after a ReLU are 0..255
_FEW_CHANNELS = 6  # up to here, a map's pool is faster with its channels apart


def exact_type(taps: int) -> torch.dtype:
    """The type in which a sum of `taps` products of a weight and a byte is exact in any order.

    float32 holds all whole numbers up to 2**24; no part of the sum is larger than taps * 127 * 255.
    """
    return torch.float32 if taps * 127 * _MOST < 2**24 else torch.float64


class _Layer(NamedTuple):
    """An array layer: whole weight [out, in, rows, cols], bias and requantisation [out]."""

    weight: Tensor
    bias: Tensor
    ratio: Tensor

    def matrix(self) -> Tensor:
        """[columns * in, out], a column's inputs together: for maps with their channels last."""
        return self.weight.squeeze(2).permute(2, 1, 0).flatten(0, 1)

    def requantised(self, acc: Tensor, low: float, high: float, last: bool = True) -> Tensor:
        """The sums [..., out], or [N, out, rows, columns], as saturated whole numbers."""
        bias, ratio = (part if last else part[:, None, None] for part in (self.bias, self.ratio))
        return _Requantise.apply(acc, bias, ratio, low, high)


class _Exact(torch.autograd.Function):
    """The value of `exact` with the gradient of `smooth`: for tables."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.to(smooth.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Requantise(torch.autograd.Function):
    """clamp(floor((acc + bias) * ratio + 1/2)): exact in float64, gradient inside the limits only.

    The product has at most 25 + 8 bits, and ``ratio`` is a multiple of a power of two.
    """

    @staticmethod
    def forward(
        ctx: Any, acc: Tensor, bias: Tensor, ratio: Tensor, low: float, high: float
    ) -> Tensor:
        value = (acc + bias).mul_(ratio).add_(0.5).floor_()  # bias is float64, so all of it is
        ctx.save_for_backward((value >= low).logical_and_(value <= high), ratio)
        ctx.shape = bias.shape
        return value.clamp_(low, high).to(acc.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        inside, ratio = ctx.saved_tensors
        gradient = (gradient * inside).mul_(ratio.to(gradient.dtype))
        return gradient, gradient.sum_to_size(ctx.shape).double(), None, None, None


class _Looked(torch.autograd.Function):
    """A table's entry for -511..511, with the gradient of the curve behind it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, table: Tensor, curve: str) -> Tensor:
        ctx.save_for_backward(value)
        ctx.curve = curve
        return table[(value + 511).to(torch.int32)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        if ctx.curve == "sigmoid":  # 256 sigmoid(v / 64)
            unit = torch.sigmoid(value / 64)
            return gradient * (4 * unit * (1 - unit)), None, None
        return gradient * ((1 - torch.tanh(value / 128).square()) * (127 / 128)), None, None


_ARGUMENTS = torch.arange(-511, 512)
_SIGMOID = activation.sigmoid(_ARGUMENTS)
_STORED = activation.decode_unit(activation.encode_unit(_SIGMOID)).float()  # as U is read back
_SIGMOID, _TANH = _SIGMOID.float(), activation.tanh(_ARGUMENTS).float()


def _gate(value: Tensor, unit: Tensor) -> Tensor:
    """`golden.activation.gate`; exact: products are below 2**17."""
    return floor_ste((value * unit).mul_(1 / 256).add_(0.5))


def _wide(maps: Tensor) -> Tensor:
    """Each column between its neighbours, 0 outside: [B, n, C] to [B, n, 3 C]."""
    padded = functional.pad(maps, (0, 0, 1, 1))
    return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)


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

    def _whole(self, source: LayerSource, layer: LayerWeights) -> _Layer:
        """A layer in whole numbers, with gradient; its maps are stored without a zero point."""
        ratio = layer.multiplier.double() / 2.0 ** layer.shift.double()
        step = source.output_scale * ratio
        folded = source.weight * source.input_scale[None, :, None, None]
        zero, bits = torch.zeros((), dtype=torch.float64), torch.tensor(8.0)
        weight = self.weight_quantiser.to_int(step[:, None, None, None], zero, bits, folded)
        kind = exact_type(weight[0].numel())
        return _Layer(weight.to(kind), round_ste(source.bias / step), ratio)

    def forward(self, images: Tensor) -> FloatResult:
        """States and logits in real units, confidence, of uint8 or signed pixels [B, C, h, w].

        Maps after a ReLU are 0..255 here, not that less 128: then padding is 0, and the zero point
        need not be folded into the bias. After the heads maps have their channels last, and what
        does not need the state is computed for all row groups at once.
        """
        config, sources = self.config, {}
        weights = quantise_ranges(self.model, self.ranges, sources)
        layers = {
            name: self._whole(source, weights.layers[name]) for name, source in sources.items()
        }
        pixels = (to_signed(images) if images.dtype == torch.uint8 else images).float()
        batch, groups = pixels.shape[0], config.row_groups
        rows = split_row_groups(pixels, config.rows_per_group).flatten(0, 1)
        parts = []
        for head in range(config.heads):
            maps = rows
            for block in config.head_layers(head):
                layer = layers[block.name]
                side = layer.weight.shape[3] // 2
                maps = maps.to(layer.weight.dtype)
                maps = functional.conv2d(maps, layer.weight, padding=(0, side))
                if maps.shape[1] > _FEW_CHANNELS:
                    maps = maps.contiguous(memory_format=torch.channels_last)
                # Requantisation never falls with the sum: the larger of two gives the larger byte.
                maps = functional.max_pool2d(maps, (1, 2))
                maps = layer.requantised(maps, 0, 255, last=False)
            parts.append(maps.squeeze(2).unflatten(0, (batch, groups)).permute(1, 0, 3, 2))
        seen: list[Tensor | None] = [None] * groups
        if config.channel_attention and not config.spatial:
            layer = layers["channel_attention.0"]
            part = layer.matrix()[config.state_channels :]
            seen = list((torch.cat(parts, dim=3).to(part.dtype) @ part).unbind(0))
        state = pixels.new_zeros((batch, config.n, config.state_channels))
        states = []
        for t in range(groups):
            state = self._step(layers, weights, [part[t] for part in parts], seen[t], state)
            states.append(state)
        stacked = torch.stack(states, dim=1)
        pooled = (stacked.sum(dim=2) + config.n * stacked.amax(dim=2)).double()
        confidence = self.model.confidence((pooled / (127 * config.n)).flatten(0, 1))
        return FloatResult(
            stacked.transpose(2, 3) / 127,
            self._classify(pooled, weights) * weights.scales["logit"],
            confidence.unflatten(0, (batch, groups)),
        )

    def _step(
        self,
        layers: Mapping[str, _Layer],
        weights: Weights,
        parts: list[Tensor],
        seen: Tensor | None,
        state: Tensor,
    ) -> Tensor:
        """The state [B, n, d] after a row group; `seen`: the features' part of the attention."""
        config, d = self.config, self.config.state_channels

        def sums(name: str, maps: Tensor) -> Tensor:
            matrix = layers[name].matrix()
            return maps.to(matrix.dtype) @ matrix

        def run(name: str, maps: Tensor, low: int, high: int) -> Tensor:
            return layers[name].requantised(sums(name, maps), low, high).float()

        if config.spatial:
            parts = [self._attend(run, weights, i, part, state) for i, part in enumerate(parts)]
        features = torch.cat(parts, dim=2)
        if config.channel_attention:
            name = "channel_attention.0"
            if seen is None:
                acc = sums(name, torch.cat([state, features], dim=2))
            else:
                matrix = layers[name].matrix()[:d]
                acc = seen + state.to(matrix.dtype) @ matrix
            hidden = layers[name].requantised(acc, 0, 255)
            unit = run("channel_attention.1", hidden, -511, 511)
            features = _gate(features, _Looked.apply(unit, _SIGMOID, "sigmoid"))
        maps = run("projection.0", _wide(features), 0, 255)
        maps = run("projection.1", _wide(maps), 0, 255)
        joined = torch.cat([state, maps], dim=2)
        reset = _Looked.apply(run("gru.reset", joined, -511, 511), _SIGMOID, "sigmoid")
        update = _Looked.apply(run("gru.update", joined, -511, 511), _STORED, "sigmoid")
        joined = torch.cat([maps, _gate(state, reset)], dim=2)
        candidate = _Looked.apply(run("gru.candidate", joined, -511, 511), _TANH, "tanh")
        return candidate + _gate(state - candidate, update)

    def _attend(
        self, run: Callable, weights: Weights, head: int, features: Tensor, state: Tensor
    ) -> Tensor:
        name, ratios = f"attention{head}", {}
        nothing = torch.zeros(1, dtype=torch.float64)
        for part in ("score", "mix"):
            layer = weights.layers[f"{name}.{part}"]
            ratios[part] = layer.multiplier.double() / 2.0 ** layer.shift.double()
        key = run(f"{name}.key", features, -128, 127)
        scores = state @ key.transpose(1, 2)
        scores = _Requantise.apply(scores, nothing, ratios["score"], -128, 127)
        if self.config.spatial_attention == "banded":
            place = torch.arange(scores.shape[-1])
            scores = scores * ((place[:, None] - place[None, :]).abs() <= attention.BAND)
        exact = attention.softmax(scores.detach().to(torch.int64), weights.exp_table)
        smooth = 127 * (scores * weights.scales[f"{name}.score"]).softmax(dim=-1)
        value = run(f"{name}.value", features, -128, 127)
        mixed = _Exact.apply(smooth, exact).transpose(1, 2) @ value
        mixed = _Requantise.apply(mixed, nothing, ratios["mix"], -math.inf, math.inf)
        gain = weights.layers[f"{name}.mix"].bias.float()
        return (mixed + _gate(features, gain)).clamp(-128, 127)

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
    batch: int = BATCH,
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
        "arithmetic": ARITHMETIC,
    }
    options |= {"confidence": confidence, "alpha": alpha, "seed": seed, "processes": count}
    options |= {"cells": kept_cells(cells)}
    generator = torch.Generator().manual_seed(seed * 1000 + rank)
    found: dict[str, Any] = {"epoch": 0}
    if resume is None:
        float_model = load_checkpoint(folder / "final.pt", config)
        chosen = usable[torch.linspace(0, len(usable) - 1, min(calibration, len(usable))).long()]
        ranges = calibrate(float_model, data.exact[chosen])
    else:
        found = read_resumable(resume, config, options, more={"ranges"}, data=data)
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
    if rank == 0:
        begin_log(log, found["epoch"])
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
        spent = time.monotonic() - begun
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
            images_per_second=round(steps * batch / spent, 1),
        )
        if rank == 0:
            add_row(log, row)
            save_checkpoint(
                folder / "quantised_last.pt",
                model.model,
                optimizer=optimiser.state_dict(),
                epoch=epoch,
                digest=config.network_digest,
                options=options,
                **data.digests,
                random=randoms,
                ranges=ranges,
            )
            if epoch == epochs:
                weights.save(folder / "weights.safetensors")
        yield row
