"""Random but valid integer weights for hardware tests: no calibration, all ranges used."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from golden.activation import KNOTS
from golden.attention import WEIGHT_SCALE, make_exp_table
from golden.config import ModelConfig
from golden.conv_gru import STATE_SCALE
from golden.network import Activation, Layer, Part
from golden.requant import LARGEST_RATIO, fixed_point
from golden.weights import LayerWeights, Weights, constants, scale_name

# Root mean square of a map's (byte - zero point) that the random constants aim at.
_PIXEL, _RELU, _SIGNED, _STATE, _RESET = 70.0, 90.0, 45.0, 60.0, 35.0
_PRE_ACTIVATION = 110.0  # of -511..511: gates spread, few of them saturated


def _input_moments(layer: Layer, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Zero point and root mean square of each input channel of a layer."""
    sizes = {"X": _PIXEL, "H": _STATE, "HR": _RESET}
    if config.spatial and layer.part not in (Part.KEY, Part.VALUE):
        sizes["C"] = _SIGNED
    if config.channel_attention and layer.part is Part.PROJECTION and "C" in layer.reads:
        sizes["C"] = sizes.get("C", _RELU) * 0.6  # gated
    zero = torch.cat([torch.full((part.channels,), part.zero_point) for part in layer.inputs])
    size = torch.cat(
        [torch.full((part.channels,), sizes.get(part.map, _RELU)) for part in layer.inputs]
    )
    return zero.to(torch.int64), size.to(torch.float64)


def _target(layer: Layer) -> tuple[float, float]:
    """Spread and largest offset of a layer's values before saturation."""
    if layer.activation is Activation.NONE:
        return _SIGNED, 10.0
    if layer.activation in (Activation.SIGMOID, Activation.TANH):
        return _PRE_ACTIVATION, 60.0
    return 100.0, 40.0


def random_weights(config: ModelConfig, seed: int, extreme: bool = False) -> Weights:
    """Random constants; the same seed gives the same bytes.

    Parameters
    ----------
    config : ModelConfig
    seed : int
    extreme : bool
        False: maps spread over their whole range on any lively picture, with channels of different
        loudness; gates mostly between their ends. True: every weight +127 or -127 (whole channels
        of one sign among them), biases at both ends of their range, multipliers 0, 1, 128, 255 and
        shifts 1..31 mixed, so that most maps saturate: for overflow, not for realism.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, size: int) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator, dtype=torch.float64)

    layers: dict[str, LayerWeights] = {}
    for shape in config.layers:
        size = (shape.out_channels, shape.in_channels, shape.kernel_rows, shape.kernel_cols)
        weight = torch.randint(-127, 128, size, generator=generator)
        if extreme:
            weight = torch.where(weight >= 0, 127, -127)
            weight[0] = 127
            weight[1:2] = -127
        if shape.part is Part.CLASSIFIER:
            layers[shape.name] = _random_classifier(shape, config, weight, generator, extreme)
        elif extreme:
            layers[shape.name] = _extreme_layer(config, weight, generator)
        else:
            zero, rms = _input_moments(shape, config)
            taps = weight.to(torch.float64).square().sum(dim=(2, 3))
            spread = (taps * rms.square()).sum(dim=1).sqrt().clamp(min=1.0)
            target, offset = _target(shape)
            gain = 2.0 ** uniform(-0.8, 0.8, shape.out_channels)
            ratios = (target * gain / spread).clamp(max=LARGEST_RATIO)  # few weights, near 0
            pairs = [fixed_point(float(r)) for r in ratios]
            multiplier = torch.tensor([pair[0] for pair in pairs])
            shift = torch.tensor([pair[1] for pair in pairs])
            steps = uniform(-offset, offset, shape.out_channels) * 2.0**shift / multiplier
            folded = (weight.sum(dim=(2, 3)) * zero).sum(dim=1)
            limit = 2 ** (config.acc_bits - 1)
            bias = (steps.round().to(torch.int64) - folded).clamp(-limit, limit - 1)
            layers[shape.name] = constants(weight, bias, multiplier, shift)
    exp_table = None
    if config.spatial:
        exp_table = make_exp_table(0.04)
        for head in range(config.heads):
            score = fixed_point(60.0 / (_STATE * _SIGNED * math.sqrt(config.state_channels)))
            mix = fixed_point(_SIGNED / (_SIGNED * 127 / math.sqrt(config.n)))
            gain = int(torch.randint(64, 257, (1,), generator=generator))
            if extreme:
                score, mix, gain = (255, 9), (255, 8), 256
            layers[f"attention{head}.score"] = constants(None, [0], [score[0]], [score[1]])
            layers[f"attention{head}.mix"] = constants(None, [gain], [mix[0]], [mix[1]])
    scales = {scale_name(stage.name): 1.0 for stage in config.stages}
    scales |= {"gru.state": STATE_SCALE, "gru.reset": STATE_SCALE, "gru.update": 1 / 256}
    scales |= {name: WEIGHT_SCALE for name in scales if name.endswith(".weights")}
    scales |= {"pixel": 1.0, "classifier": 1 / 256, "logit": 1e-5}
    weights = Weights(layers, KNOTS.clone(), exp_table, scales, config.digest, config.name)
    weights.check(config, "random weights")
    return weights


def _extreme_layer(config: ModelConfig, weight: Tensor, generator: torch.Generator) -> LayerWeights:
    """Constants at their ends, mixed over the channels."""
    limit = 2 ** (config.acc_bits - 1)
    out = weight.shape[0]

    def choose(values: list[int]) -> Tensor:
        return torch.tensor(values)[torch.randint(len(values), (out,), generator=generator)]

    middle = int(weight[0].numel() * 127 * 64)
    bias = choose([-limit, limit - 1, 0, 0, middle, -middle, 1, -1])
    multiplier = choose([0, 1, 128, 255, 255, 200])
    return constants(weight, bias, multiplier, choose([1, 2, 14, 18, 20, 22, 24, 31]))


def _random_classifier(
    shape: Layer,
    config: ModelConfig,
    weight: Tensor,
    generator: torch.Generator,
    extreme: bool,
) -> LayerWeights:
    """Power-of-two constants: x spreads over much of -4096..4095 (and beyond if extreme)."""
    out = shape.out_channels
    one = torch.ones(out, dtype=torch.int64)
    if shape.name == "classifier.1":
        bias = torch.randint(-(2**17), 2**17, (out,), generator=generator)
        if extreme:
            bias = torch.tensor([2**30, -(2**30)]).repeat(out)[:out]
        return constants(weight, bias, one, 0 * one)
    spread = 73 * config.n * 120 * math.sqrt(config.state_channels)  # of W1 p
    shift = max(1, min(31, math.floor(math.log2(spread / 1500))))
    bias = torch.randint(-(2**9), 2**9, (out,), generator=generator) << shift
    if extreme:
        bias = torch.where(bias >= 0, 2**30, -(2**30))
        return constants(weight, bias, one, one)
    return constants(weight, bias.clamp(-(2**30), 2**30), one, shift * one)
