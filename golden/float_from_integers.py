"""A float network from integer weights, to train on from them.

The network computes, up to rounding, what the integer weights compute. Each convolution before a
batch norm gets weights of the size that a fresh one has, and its batch norm the mean and variance
that its outputs have on some pictures, with a gain and an offset that undo both: so training sees
what it would see after a training of its own. The confidence head, which the integers do not hold,
is fresh.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from golden.activation import SIGMOID_SCALE, TANH_SCALE
from golden.classifier import HIDDEN_SCALE, SWISH_SCALE
from golden.config import ModelConfig
from golden.conv_gru import STATE_SCALE
from golden.float_model import FloatModel
from golden.quantise import feature_scales
from golden.weights import LayerWeights, Weights

_AT_ONCE = 32


def _real(
    layer: LayerWeights, output_scale: float, input_scale: Tensor, input_zero: Tensor
) -> tuple[Tensor, Tensor]:
    """Real weight [out, in, rows, cols] and bias [out] of an array layer."""
    bias, multiplier, shift = (column.double().flatten() for column in layer.columns())
    step = output_scale * multiplier / 2.0**shift
    weight = layer.weight.double()
    whole = bias + (weight.sum(dim=(2, 3)) * input_zero).sum(dim=1)
    return weight * step[:, None, None, None] / input_scale[:, None, None], whole * step


@torch.no_grad()
def float_from_integers(
    config: ModelConfig, weights: Weights, images: Tensor, dropout: float = 0.1
) -> FloatModel:
    """A float network in eval mode that gives the integer network's answers.

    Parameters
    ----------
    weights : Weights
        Of `config`.
    images : uint8 tensor [B, in_channels, h, w]
        Pictures that batch norm's statistics are measured on; a hundred are enough.
    dropout : float
        For training, as in `FloatModel`.
    """
    weights.check(config)
    model = FloatModel(config, dropout).eval()
    layers, scales = weights.layers, weights.scales
    d, c = config.state_channels, config.head_channels[-1]
    biases: dict[nn.Module, Tensor] = {}  # offsets that belong into the batch norm

    def put(
        name: str,
        conv: nn.Module,
        output_scale: float,
        parts: list[tuple[int, float, int]],
        norm: nn.Module | None = None,
        swap: int = 0,
    ) -> None:
        """`parts`: (channels, scale, zero point) of each joined input; `swap`: the first that many
        inputs come last in the float layer."""
        scale = torch.cat([torch.full((k,), s, dtype=torch.float64) for k, s, _ in parts])
        zero = torch.cat([torch.full((k,), z, dtype=torch.float64) for k, _, z in parts])
        weight, bias = _real(layers[name], output_scale, scale, zero)
        weight = weight.roll(-swap, dims=1)
        if norm is not None:
            # Uniform in +-1/sqrt(fan in), as torch starts; what is scaled here, the gain undoes.
            size = weight.flatten(1).square().mean(dim=1).sqrt().clamp(min=1e-12)
            factor = 1 / math.sqrt(3 * weight[0].numel()) / size
            weight = weight * factor[:, None, None, None]
            norm.weight.copy_(1 / factor)
            norm.running_var.fill_(1.0 - norm.eps)
            biases[norm] = bias
            norm.bias.copy_(bias)
        elif conv.bias is not None:
            conv.bias.copy_(bias)
        conv.weight.copy_(weight.reshape(conv.weight.shape))

    for head in range(config.heads):
        scale, blocks = 1.0, getattr(model, f"raster_cnn_{head}").children()
        for one, block in zip(config.head_layers(head), blocks, strict=True):
            part = (one.in_channels, scale, one.input_zero_point)
            put(one.name, block.conv, scales[one.name], [part], block.bn)
            scale = scales[one.name]
    zero = config.feature_zero_point
    features = [(c, scale, zero) for scale in feature_scales(config, scales)]
    if config.spatial:
        for head in range(config.heads):
            attend = getattr(model.raster_att, f"spatial_attention_{head}")
            parts = [(c, scales[config.head_layers(head)[-1].name], -128)]
            for conv, part in ((attend.key_conv, "key"), (attend.value_conv, "value")):
                put(f"attention{head}.{part}", conv, scales[f"attention{head}.{part}"], parts)
    state = (d, STATE_SCALE, 0)
    prj = model.raster_att.channel_prj
    if config.channel_attention:
        hidden = scales["channel_attention.hidden"]
        parts = [state, *features]
        put("channel_attention.0", prj.channel_att[0], hidden, parts, swap=d)
        parts = [(config.attention_hidden, hidden, -128)]
        put("channel_attention.1", prj.channel_att[2], SIGMOID_SCALE, parts)
    conv, norm = prj.projection[0], prj.projection[1]
    put("projection.0", conv, scales["projection.0"], features, norm)
    conv, norm = prj.projection[3], prj.projection[4]
    put("projection.1", conv, scales["projection.1"], [(d, scales["projection.0"], -128)], norm)
    feature = (d, scales["projection.1"], -128)
    put("gru.reset", model.cell.conv_reset, SIGMOID_SCALE, [state, feature], swap=d)
    put("gru.update", model.cell.conv_update, SIGMOID_SCALE, [state, feature], swap=d)
    put("gru.candidate", model.cell.conv_h, TANH_SCALE, [feature, state])
    first, norm, _, last = model.out_classifier.out_classifier
    layer = layers["classifier.0"]
    step = HIDDEN_SCALE / 2.0 ** layer.shift.double()
    first.weight.copy_(layer.weight.flatten(1).double() * (step * 127 * config.n)[:, None])
    first.bias.copy_(layer.bias.double() * step)
    norm.running_var.fill_(1.0 - norm.eps)
    biases[norm] = torch.zeros(len(step))
    layer = layers["classifier.1"]
    last.weight.copy_(layer.weight.flatten(1).double() * scales["logit"] / SWISH_SCALE)
    last.bias.copy_(layer.bias.double() * scales["logit"])
    _measure(model, biases, images)
    return model


def _measure(model: FloatModel, biases: dict[nn.Module, Tensor], images: Tensor) -> None:
    """Give each batch norm the statistics of its inputs, and a gain and an offset that undo them.

    Nothing that a batch norm gives changes, so all can be measured at once.
    """
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in biases}

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        flat = inputs[0].double().transpose(0, 1).flatten(1)
        sums[norm] += torch.stack(
            [torch.full((len(flat),), flat.shape[1]), flat.sum(1), flat.square().sum(1)]
        )

    hooks = [norm.register_forward_pre_hook(look) for norm in biases]
    try:
        for part in images.split(_AT_ONCE):
            model(part)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        variance = squares / count - mean.square()
        gain = norm.weight.double()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(biases[norm] + gain * mean)
