"""Post-training quantisation: a float network and calibration pictures to integer weights.

Formats: docs/architecture.md, section 1. Batch norm is folded in float64; weights get one scale per
output channel, after the scale of each input channel was folded into its column. A channel's scale
is widened by under 1/128 so that ``multiplier / 2**shift`` is exact: rounding weights and rounding
maps are the only errors.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.activation import KNOTS, SIGMOID_SCALE, TANH_SCALE, decode_unit
from golden.attention import WEIGHT_SCALE, make_exp_table
from golden.bias_correction import Origin, correct_biases
from golden.classifier import HIDDEN_SCALE, SWISH_SCALE
from golden.config import PRESETS, ModelConfig
from golden.conv_gru import STATE_SCALE
from golden.float_model import FloatModel, calibrated_model
from golden.images import calibration_images
from golden.network import RELU_ZERO_POINT, Activation, Part
from golden.random_weights import random_weights
from golden.requant import fixed_point
from golden.weights import LayerWeights, Weights, constants, scale_name

__all__ = ["default_weights", "dequantise", "quantise", "random_weights"]

_IMAGES_AT_ONCE = 8
_CALIBRATED_PIXELS = 24 * 240 * 320  # all calibration pictures up to that size
_DAMPING = 0.01  # of the mean variance, in `round_weights`
USUAL_PERCENTILE = 99.999
"""Of the commands: the few largest values of a map depend on the draw of the pictures."""
TRAINED = Path(__file__).with_name("default_weights")


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """One thread: sums over threads may be added in another order on the next run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fold(weight: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer without bias and the batch norm after it, in float64."""
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * gain
    return weight.double() * gain.reshape(-1, *[1] * (weight.dim() - 1)), bias


class _Spread:
    """How the absolute values of a map are spread: a histogram that widens as larger ones come."""

    BINS = 4096

    def __init__(self) -> None:
        self.top = 0.0  # the largest value itself
        self.high = 0.0  # right edge of the last bin, a power of two
        self.zeros = 0
        self.counts = torch.zeros(self.BINS, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        values = values.detach().abs().flatten().double()
        top = float(values.max())  # NaN if there is one
        if not math.isfinite(top):
            self.top = top
            return
        if top > 0 and self.high == 0:
            self.high = 2.0 ** math.ceil(math.log2(top))
        while top > self.high:
            halved = self.counts.reshape(-1, 2).sum(dim=1)
            self.counts = torch.cat([halved, torch.zeros_like(halved)])
            self.high *= 2
        self.top = max(self.top, top) if math.isfinite(self.top) else self.top
        self.zeros += int((values == 0).sum())
        values = values[values > 0]
        if len(values):
            self.counts += torch.histc(values, self.BINS, 0, self.high)

    def percentile(self, percentile: float) -> float:
        """The value below which that share of all values lies, to a bin's width."""
        if percentile >= 100 or self.top == 0:
            return self.top
        below = self.zeros + self.counts.cumsum(0)
        wanted = percentile / 100 * float(below[-1])
        place = int((below < wanted).sum())
        return min(self.top, (place + 1) * self.high / self.BINS)

    def least_error(self, levels: int) -> float:
        """The range that makes the mean square of rounding and saturation least."""
        if self.top == 0:
            return 0.0
        middle = (torch.arange(self.BINS, dtype=torch.float64) + 0.5) * self.high / self.BINS
        found = []
        for percent in range(10, 101):
            high = self.top * percent / 100
            inside = float(self.counts[middle <= high].sum()) * (high / levels) ** 2 / 12
            outside = float((self.counts * (middle - high).clamp(min=0) ** 2).sum())
            found.append((inside + outside, high))
        return min(found)[1]


class Moments:
    """Mean and covariance of what a layer's kernel sees: [K] and [K, K], K = in * rows * cols."""

    def __init__(self, taps: int) -> None:
        self.count = 0
        self.total = torch.zeros(taps, dtype=torch.float64)
        self.products = torch.zeros(taps, taps, dtype=torch.float64)

    def add(self, layer: nn.Module, values: Tensor) -> None:
        """Inputs of `layer`, as it gets them."""
        if not isinstance(layer, nn.Linear):
            maps, kernel = values.reshape(*values.shape[:2], -1, values.shape[-1]), layer.weight
            rows = kernel.shape[2] if kernel.dim() == 4 else 1
            cols = kernel.shape[-1]
            values = functional.unfold(maps, (rows, cols), padding=(0, cols // 2))
            values = values.transpose(1, 2).flatten(0, 1)
        self.count += len(values)
        self.total += values.sum(dim=0, dtype=torch.float64)
        self.products += (values.T @ values).double()

    def scaled(self, scale: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mean, covariance) of inputs divided by `scale` [K], its taps first put in `order`."""
        mean = self.total / self.count
        covariance = self.products / self.count - mean[:, None] * mean[None, :]
        if order is not None:
            mean, covariance = mean[order], covariance[order][:, order]
        return mean / scale, covariance / (scale[:, None] * scale[None, :])


def _observe(
    model: FloatModel, images: Tensor, percentile: float, least_error: bool
) -> tuple[dict[str, float], dict[nn.Module, Moments]]:
    """Ranges of |value| that the bytes of every stage will cover; moments of every layer's input.

    The rows of a block share a range.
    """
    spreads: dict[str, _Spread] = {}
    moments: dict[nn.Module, Moments] = {}
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))]

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.setdefault(layer, Moments(layer.weight[0].numel())).add(layer, inputs[0])

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        for part in images.split(_IMAGES_AT_ONCE):
            trace: dict[str, Tensor] = {}
            model(part, trace=trace)
            for stage, maps in trace.items():
                spreads.setdefault(scale_name(stage), _Spread()).add(maps)
    finally:
        for hook in hooks:
            hook.remove()
    ranges, relu = {}, relu_scales(model.config)
    for name, spread in spreads.items():
        if not math.isfinite(spread.top):
            raise ValueError(f"the float network gives values that are not finite at {name}")
        if least_error:
            value = spread.least_error(255 if name in relu else 127)
        else:
            value = spread.percentile(percentile)
        ranges[name] = value if value > 0 else 1.0  # a dead map: any scale will do
    return ranges, moments


def round_weights(weight: Tensor, step: Tensor, covariance: Tensor) -> Tensor:
    """Integers -127..127 whose sums come nearest to those of real weights, on inputs as seen.

    Each tap is rounded in turn, the one with the most varied input first, and what its rounding did
    to the sum is made good by the taps still to come, as far as their inputs go along with it
    (optimal brain quantisation; Frantar et al., GPTQ, 2022).

    Parameters
    ----------
    weight : float64 tensor [out, K]
    step : float64 tensor [out]
        Value of 1.
    covariance : float64 tensor [K, K]
        Of the inputs.
    """
    spread = covariance.diagonal()
    order = spread.argsort(descending=True, stable=True)
    # Inputs that hardly vary, or not enough of them, must not run away with their weights.
    damping = _DAMPING * float(spread.mean().clamp(min=1e-12))
    matrix = covariance[order][:, order] + damping * torch.eye(len(order), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    factor = torch.linalg.cholesky(inverse, upper=True)
    rest = weight[:, order].clone()
    whole = torch.empty_like(rest)
    for tap in range(rest.shape[1]):
        whole[:, tap] = torch.round(rest[:, tap] / step).clamp(-127, 127)
        error = (rest[:, tap] - whole[:, tap] * step) / factor[tap, tap]
        rest[:, tap:] -= error[:, None] * factor[tap, tap:]
    result = torch.empty_like(whole)
    result[:, order] = whole
    return result


def quantise_layer(
    weight: Tensor,
    bias: Tensor,
    *,
    input_scale: Tensor,
    input_zero: Tensor,
    output_scale: float,
    acc_bits: int,
    name: str,
    seen: tuple[Tensor, Tensor] | None = None,
    per_channel: bool = True,
) -> LayerWeights:
    """One array layer.

    Parameters
    ----------
    weight : float64 tensor [out, in, rows, cols]
    bias : float64 tensor [out]
    input_scale, input_zero : tensors [in]
        Scale and zero point of each input channel.
    output_scale : float
        Of the map, or of the pre-activation.
    acc_bits : int
        Signed bits of the bias.
    name : str
        For the warning.
    seen : (mean [K], covariance [K, K]) or None
        Of the inputs, in steps of their scale (`Moments.scaled`): then the weights are rounded
        together, and the bias makes good what is left of the error in the mean. None rounds each
        weight to the nearest.
    per_channel : bool
        A weight scale for each output channel; False: one for the whole layer (to compare).

    Warns
    -----
    UserWarning
        If a bias does not fit beside weights of full precision: then the channel's weights are made
        coarser until it does.
    """
    folded = weight * input_scale[None, :, None, None]
    limit = 2 ** (acc_bits - 1)

    def fold_bias(whole: Tensor, step: float, offset: float) -> int:
        zero = int((whole.sum(dim=(1, 2)) * input_zero).sum())
        return round(offset / step) - zero

    rows, steps, biases, multipliers, shifts, coarse = [], [], [], [], [], 0
    for row, offset in zip(folded, bias.tolist(), strict=True):
        largest = float((row if per_channel else folded).abs().max())
        # A channel without weights still needs a scale, for its bias.
        ratio = largest / 127 / output_scale if largest > 0 else 2.0**-8
        ratio = max(ratio, 2.0**-24)  # below, the multiplier would lose bits
        widened = False
        while True:
            multiplier, shift = fixed_point(ratio)
            step = output_scale * multiplier / 2**shift
            whole = torch.round(row / step).clamp(-127, 127)
            folded_bias = fold_bias(whole, step, offset)
            if -limit <= folded_bias < limit:
                break
            ratio, widened = 2 * ratio, True
        coarse += widened and largest > 0
        rows.append(whole)
        steps.append(step)
        biases.append(folded_bias)
        multipliers.append(multiplier)
        shifts.append(shift)
    if seen is not None:
        mean, covariance = seen
        step = torch.tensor(steps, dtype=torch.float64)
        better = round_weights(folded.flatten(1), step, covariance)
        drift = (better * step[:, None] - folded.flatten(1)) @ mean
        for index, whole in enumerate(better.reshape(folded.shape)):
            offset = float(bias[index] - drift[index])
            folded_bias = fold_bias(whole, steps[index], offset)
            if -limit <= folded_bias < limit:  # else the plain rounding stays, which fits
                rows[index], biases[index] = whole, folded_bias
    if coarse:
        warnings.warn(
            f"{name}: weights of {coarse} channels made coarser, so that their bias fits",
            stacklevel=2,
        )
    return constants(torch.stack(rows), biases, multipliers, shifts)


def _quantise_classifier(
    model: FloatModel, config: ModelConfig, moments: Mapping[nn.Module, Moments] | None
) -> tuple[dict, float]:
    """Both classifier layers and the scale of the logits (Eq. 14)."""

    def rounded(
        layer: nn.Module, weight: Tensor, step: Tensor, unit: float
    ) -> tuple[Tensor, Tensor]:
        """Whole weights, and what the bias is to make good; `unit`: scale of the inputs."""
        if moments is None:
            return torch.round(weight / step[:, None]).clamp(-127, 127), torch.zeros(len(weight))
        scale = torch.full(weight.shape[1:], unit, dtype=torch.float64)
        mean, covariance = moments[layer].scaled(scale)
        whole = round_weights(weight, step, covariance)
        return whole, (whole * step[:, None] - weight) @ mean

    first, norm, _, last = model.out_classifier.out_classifier
    weight, bias = _fold(first.weight, norm)
    bias = bias + first.bias.double() * norm.weight.double() / torch.sqrt(
        norm.running_var.double() + norm.eps
    )
    # W1 p is to have scale 2**-shift of x, whose scale is 1/256; one step of p is 1 / (127 n).
    weight = weight / (127 * config.n) / HIDDEN_SCALE
    bias = bias / HIDDEN_SCALE
    shifts = []
    for row, offset in zip(weight, bias.tolist(), strict=True):
        shift = 31
        while shift > 1 and (
            float(row.abs().max()) * 2**shift > 127.49 or abs(offset) * 2**shift > 2**30
        ):
            shift -= 1
        shifts.append(shift)
        if float(row.abs().max()) * 2**shift > 127.5:
            warnings.warn("classifier.0: a weight is too large and was clipped", stacklevel=3)
    step = 2.0 ** -torch.tensor(shifts, dtype=torch.float64)
    whole, drift = rounded(first, weight, step, 1 / (127 * config.n))
    biases = torch.round((bias - drift) / step).clamp(-(2**30), 2**30).to(torch.int64)
    layers = {"classifier.0": constants(whole[:, :, None, None], biases, [1] * len(shifts), shifts)}
    # All outputs share one scale, or argmax and thresholds would be wrong.
    weight, bias = last.weight.double(), last.bias.double()
    scale = max(
        float(weight.abs().max()) * SWISH_SCALE / 127, float(bias.abs().max()) / 2**30, 1e-30
    )
    whole, drift = rounded(
        last,
        weight * SWISH_SCALE,
        torch.full((len(weight),), scale, dtype=torch.float64),
        SWISH_SCALE,
    )
    biases = torch.round((bias - drift) / scale).clamp(-(2**30), 2**30).to(torch.int64)
    layers["classifier.1"] = constants(
        whole[:, :, None, None], biases, [1] * len(whole), [0] * len(whole)
    )
    return layers, scale


@torch.no_grad()
def quantise(
    model: FloatModel,
    images: Tensor,
    *,
    percentile: float = 100.0,
    least_error: bool = False,
    together: bool = True,
    per_channel: bool = True,
    correct: bool = True,
) -> Weights:
    """Integer weights of a float network.

    Parameters
    ----------
    model : FloatModel
        Used in eval mode and left as it was.
    images : uint8 tensor [B, in_channels, h, w]
        Calibration pictures.
    percentile : float
        Of the absolute values of a map that its range covers: 100 takes the maximum; a little less
        (99.99) gives finer steps and saturates the rest.
    least_error : bool
        Instead, the range of each map with the least mean square error of rounding and saturation.
    together : bool
        Round the weights of a channel together, by the inputs seen (`round_weights`), and correct
        its bias; False rounds each to the nearest.
    per_channel : bool
        A weight scale for each output channel of an array layer; False: one for the whole layer.
    correct : bool
        Correct all biases on what the integer network itself gives (`golden.bias_correction`).

    Raises
    ------
    ValueError
        Percentile not in 50..100, a network with values that are not finite, or one whose scales
        no multiplier reaches.
    """
    if not 50 <= percentile <= 100:
        raise ValueError(f"percentile must be 50..100, not {percentile}")
    training = model.training
    model.eval()
    try:
        with _repeatable():
            ranges, moments = _observe(model, images, percentile, least_error)
            origins: dict[str, Origin] = {}
            weights = quantise_ranges(
                model,
                ranges,
                moments=moments if together else None,
                per_channel=per_channel,
                origins=origins,
            )
            return correct_biases(model, weights, origins, images) if correct else weights
    finally:
        model.train(training)


@torch.no_grad()
def calibrate(model: FloatModel, images: Tensor, *, percentile: float = 100.0) -> dict[str, float]:
    """Range of |value| of every stage by `scale_name`, in eval mode: for `quantise_ranges`."""
    training = model.training
    model.eval()
    try:
        with _repeatable():
            return _observe(model, images, percentile, False)[0]
    finally:
        model.train(training)


class LayerSource(NamedTuple):
    """The real numbers behind one array layer, inputs in the integer model's order."""

    weight: Tensor
    bias: Tensor
    input_scale: Tensor
    input_zero: Tensor
    output_scale: float


def quantise_ranges(
    model: FloatModel,
    ranges: Mapping[str, float],
    sources: dict[str, LayerSource] | None = None,
    *,
    moments: Mapping[nn.Module, Moments] | None = None,
    per_channel: bool = True,
    origins: dict[str, Origin] | None = None,
) -> Weights:
    """Integer weights of a network in eval mode whose maps have these ranges.

    Parameters
    ----------
    sources : dict or None
        Filled with what each array layer was made of (with gradient, if that is on).
    moments : mapping or None
        What the layers' inputs look like: then weights are rounded together (`round_weights`). None
        rounds each one to the nearest.
    per_channel : bool
        As in `quantise`.
    origins : dict or None
        Filled with the float layers behind each array layer, for `correct_biases`.
    """
    config = model.config
    d, c = config.state_channels, config.head_channels[-1]
    relu = relu_scales(config)
    scales = {name: high / 255 for name, high in ranges.items() if name in relu}
    scales |= {"pixel": 1.0, "gru.state": STATE_SCALE, "gru.reset": STATE_SCALE}
    scales |= {"gru.update": 1 / 256, "classifier": HIDDEN_SCALE}
    layers: dict[str, LayerWeights] = {}

    def add(
        name: str,
        module: nn.Module,
        weight: Tensor,
        bias: Tensor,
        parts: list,
        output_scale: float,
        swap: int = 0,
        norm: nn.Module | None = None,
    ) -> None:
        """Quantise one layer.

        `module` is the float layer, `norm` the batch norm folded into it; `parts`: (channels,
        scale, zero point) of each joined input; `swap`: the first that many input channels of the
        float layer come last here.
        """
        while weight.dim() < 4:
            weight = weight.unsqueeze(2)  # 1-D kernels get one row
        weight = weight.roll(-swap, dims=1)
        scale = torch.cat([torch.full((k,), s, dtype=torch.float64) for k, s, _ in parts])
        seen = None
        if moments is not None:
            kernel = weight[0, 0].numel()
            order = torch.arange(scale.numel() * kernel).roll(-swap * kernel)
            seen = moments[module].scaled(scale.repeat_interleave(kernel), order)
        source = LayerSource(
            weight.double(),
            bias.double(),
            scale,
            torch.cat([torch.full((k,), z, dtype=torch.float64) for k, _, z in parts]),
            output_scale,
        )
        if sources is not None:
            sources[name] = source
        if origins is not None:
            origins[name] = Origin(module, norm, output_scale)
        layers[name] = quantise_layer(
            source.weight.detach(),
            source.bias.detach(),
            input_scale=source.input_scale,
            input_zero=source.input_zero,
            output_scale=output_scale,
            acc_bits=config.acc_bits,
            name=name,
            seen=seen,
            per_channel=per_channel,
        )

    for head in range(config.heads):
        scale, blocks = 1.0, getattr(model, f"raster_cnn_{head}").children()
        for layer, block in zip(config.head_layers(head), blocks, strict=True):
            name, part = layer.name, (layer.in_channels, scale, layer.input_zero_point)
            folded = _fold(block.conv.weight, block.bn)
            add(name, block.conv, *folded, [part], scales[name], norm=block.bn)
            scale = scales[name]

    exp_table = None
    relu_scale_of = [scales[config.head_layers(head)[-1].name] for head in range(config.heads)]
    of_features = list(relu_scale_of)
    if config.spatial:
        # One table serves all heads, so they share the scale of S.
        step = max(ranges[f"attention{head}.score"] for head in range(config.heads)) / 127
        exp_table = make_exp_table(step)
        for head in range(config.heads):
            name, relu_scale = f"attention{head}", relu_scale_of[head]
            attend = getattr(model.raster_att, f"spatial_attention_{head}")
            root = math.sqrt(d)
            # S and V A have no weights to widen, so K and V take the widening.
            score = fixed_point(STATE_SCALE * ranges[f"{name}.key"] / 127 / (root * step))
            key_scale = score[0] / 2 ** score[1] * root * step / STATE_SCALE
            gain = min(256, math.floor(256 * relu_scale * 127 / ranges[f"{name}.output"]))
            if gain < 1:
                raise ValueError(f"{name}: the attended values are too large beside the features")
            output_scale = 256 * relu_scale / gain
            mix = fixed_point(ranges[f"{name}.value"] / 127 * WEIGHT_SCALE / output_scale)
            value_scale = mix[0] / 2 ** mix[1] * output_scale / WEIGHT_SCALE
            parts = [(c, relu_scale, -128)]
            for conv, part, scale in (
                (attend.key_conv, "key", key_scale),
                (attend.value_conv, "value", value_scale),
            ):
                nothing = torch.zeros(len(conv.weight))
                add(f"{name}.{part}", conv, conv.weight, nothing, parts, scale)
            layers[f"{name}.score"] = constants(None, [0], [score[0]], [score[1]])
            layers[f"{name}.mix"] = constants(None, [gain], [mix[0]], [mix[1]])
            scales |= {f"{name}.key": key_scale, f"{name}.score": step}
            scales |= {f"{name}.weights": WEIGHT_SCALE, f"{name}.value": value_scale}
            scales[f"{name}.output"] = of_features[head] = output_scale

    features = [(c, scale, config.feature_zero_point) for scale in of_features]
    state = (d, STATE_SCALE, 0)
    prj = model.raster_att.channel_prj
    if config.channel_attention:
        first, second = prj.channel_att[0], prj.channel_att[2]
        name, parts = "channel_attention.hidden", [state, *features]
        swap = config.features  # float order [C : H], integer order [H : C]
        add("channel_attention.0", first, first.weight, first.bias, parts, scales[name], swap)
        parts = [(config.attention_hidden, scales[name], -128)]
        add("channel_attention.1", second, second.weight, second.bias, parts, SIGMOID_SCALE)
    for name, place, parts in (
        ("projection.0", 0, features),
        ("projection.1", 3, [(d, scales["projection.0"], -128)]),
    ):
        conv = prj.projection[place]
        norm = prj.projection[place + 1]
        add(name, conv, *_fold(conv.weight, norm), parts, scales[name], norm=norm)
    feature = (d, scales["projection.1"], -128)
    for name, conv in (("reset", model.cell.conv_reset), ("update", model.cell.conv_update)):
        parts = [state, feature]  # float order [F : H], integer order [H : F]
        add(f"gru.{name}", conv, conv.weight, conv.bias, parts, SIGMOID_SCALE, d)
    conv = model.cell.conv_h
    add("gru.candidate", conv, conv.weight, conv.bias, [feature, state], TANH_SCALE)

    with torch.no_grad():
        found, scales["logit"] = _quantise_classifier(model, config, moments)
    layers.update(found)
    weights = Weights(layers, KNOTS.clone(), exp_table, scales, config.digest, config.name)
    weights.check(config, "quantised weights")
    return weights


def relu_scales(config: ModelConfig) -> set[str]:
    """Scales of the maps after a ReLU, by `scale_name`: 0..255 with zero point -128."""
    return {
        scale_name(stage)
        for layer in config.network
        if layer.activation is Activation.RELU
        for stage in layer.stages
    }


def feature_scales(config: ModelConfig, scales: Mapping[str, float]) -> list[float]:
    """Scale of each head's part of C."""
    last = Part.MIX if config.spatial else Part.HEAD
    return [scales[config.of_part(last, head)[-1].stages[-1]] for head in range(config.heads)]


def dequantise(
    config: ModelConfig, weights: Weights, trace: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Real values (float64) of an integer trace's stored bytes, by stage."""
    real, relu = {}, relu_scales(config)
    for name, stored in trace.items():
        values = stored.to(torch.float64)
        if name == "gru.update":
            real[name] = decode_unit(stored.to(torch.int64)).to(torch.float64) / 256
        elif name == "channel_attention.output":
            scale = torch.tensor(feature_scales(config, weights.scales), dtype=torch.float64)
            scale = scale.repeat_interleave(config.head_channels[-1])
            real[name] = (values - config.feature_zero_point) * scale[:, None]
        else:
            zero = RELU_ZERO_POINT if scale_name(name) in relu else 0
            real[name] = (values - zero) * weights.scales[scale_name(name)]
    return real


def trained_weights(config: ModelConfig) -> Weights | None:
    """The trained weights that come with Rasca, or None if there are none for `config`.

    The presets that have some: a file in ``golden/default_weights`` and a model card in docs/.
    """
    path = shipped_file(config)
    return None if path is None else Weights.load(path, config)


def shipped_file(config: ModelConfig) -> Path | None:
    """Where the trained weights of `config` are, or None."""
    for name, known in PRESETS.items():
        path = TRAINED / f"{name}.safetensors"
        if known.digest == config.digest and path.is_file():
            return path
    return None


def default_weights(config: ModelConfig, seed: int = 0) -> Weights:
    """Trained weights where there are some (and `seed` is 0), else those of a random network.

    The random network is seeded and calibrated on scikit-image's photographs: its answers mean
    nothing, but every map is alive (`Weights.untrained` says which of both they are). No download;
    the same call gives the same bytes.
    """
    trained = trained_weights(config) if seed == 0 else None
    if trained is not None:
        return trained
    with _repeatable():
        images = calibration_images(config)
        # large pictures say as much in fewer
        most = max(2, _CALIBRATED_PIXELS // (config.image_height * config.image_width))
        images = images[:: -(-len(images) // min(len(images), most))]
        made = quantise(calibrated_model(config, images, seed), images, correct=False)
    return replace(made, untrained=True)
