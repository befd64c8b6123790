"""The float network (docs/network.md), with the parameter names of the authors' checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.attention import BAND
from golden.checkpoint import fit_state_dict, read_state_dict
from golden.config import ModelConfig
from golden.line_buffer import split_row_groups, to_signed
from golden.network import Layer

_FEW_CHANNELS = 6  # up to here, a picture's pool is faster with its channels apart


class FloatResult(NamedTuple):
    """Of B pictures with T row groups.

    Attributes
    ----------
    states : tensor [B, T, d, n]
    logits : tensor [B, T, K]
        Of the classifier on each state.
    confidence : tensor [B, T, K-1]
        Of the confidence head (training only), 0..1, for every class but the first.
    """

    states: Tensor
    logits: Tensor
    confidence: Tensor


class _Block(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        kernel, padding = (layer.kernel_rows, layer.kernel_cols), (layer.pad_rows, layer.pad_cols)
        channels = layer.out_channels
        self.conv = nn.Conv2d(layer.in_channels, channels, kernel, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.bn(self.conv(maps))
        if maps.shape[1] > _FEW_CHANNELS:
            maps = maps.contiguous(memory_format=torch.channels_last)
        return functional.relu(functional.max_pool2d(maps, (1, 2)))  # ReLU of half as many


class _Head(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        for layer in config.head_layers(0):
            self.add_module(f"conv_block{layer.block + 1}", _Block(layer))

    def forward(self, rows: Tensor) -> list[Tensor]:
        maps = [rows]
        for block in self.children():
            maps.append(block(maps[-1]))
        return maps[1:]


class _SpatialAttention(nn.Module):
    """Eq. 6-9 of one head."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        channels = config.head_channels[-1]
        self.key_conv = nn.Conv1d(channels, config.state_channels, 1, bias=False)
        self.value_conv = nn.Conv1d(channels, channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.banded = config.spatial_attention == "banded"

    def forward(self, features: Tensor, state: Tensor) -> dict[str, Tensor]:
        key, value = self.key_conv(features), self.value_conv(features)
        score = (state / math.sqrt(state.shape[1])).transpose(1, 2) @ key
        if self.banded:
            place = torch.arange(score.shape[-1], device=score.device)
            score = score * ((place[:, None] - place[None, :]).abs() <= BAND)
        weights = score.softmax(dim=-1)
        output = features + self.dropout(value) @ weights
        return {"key": key, "score": score, "weights": weights, "value": value, "output": output}


class _ChannelProjection(nn.Module):
    """Channel attention (Eq. 10-12, C * A of Eq. 13) and projection (Eq. 1, 13)."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        d, features, hidden = config.state_channels, config.features, config.attention_hidden
        if config.channel_attention:
            self.channel_att = nn.Sequential(
                nn.Conv1d(features + d, hidden, 1),
                nn.ReLU(),
                nn.Conv1d(hidden, features, 1),
                nn.Sigmoid(),
            )
        self.projection = nn.Sequential(
            nn.Conv1d(features, d, 3, padding=1, bias=False),
            nn.BatchNorm1d(d),
            nn.ReLU(),
            nn.Conv1d(d, d, 3, padding=1, bias=False),
            nn.BatchNorm1d(d),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, state: Tensor) -> dict[str, Tensor]:
        stages = {}
        if hasattr(self, "channel_att"):
            hidden = self.channel_att[:2](torch.cat([features, state], dim=1))
            features = features * self.channel_att[2:](hidden)
            stages = {"channel_attention.hidden": hidden, "channel_attention.output": features}
        first = self.projection[:3](features)
        last = self.dropout(self.projection[3:](first))
        return stages | {"projection.0": first, "projection.1": last}


class _Attention(nn.Module):
    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        if config.spatial:
            for head in range(config.heads):
                self.add_module(f"spatial_attention_{head}", _SpatialAttention(config, dropout))
        self.channel_prj = _ChannelProjection(config, dropout)


class _GruCell(nn.Module):
    """Eq. 2-5, inputs in the order [F : H]."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.conv_reset = nn.Conv1d(2 * d, d, 1)
        self.conv_update = nn.Conv1d(2 * d, d, 1)
        self.conv_h = nn.Conv1d(2 * d, d, 1)

    def forward(self, features: Tensor, state: Tensor) -> dict[str, Tensor]:
        joined = torch.cat([features, state], dim=1)
        reset = state * torch.sigmoid(self.conv_reset(joined))
        update = torch.sigmoid(self.conv_update(joined))
        candidate = torch.tanh(self.conv_h(torch.cat([features, reset], dim=1)))
        new = (1 - update) * candidate + update * state
        return {"gru.reset": reset, "gru.update": update, "gru.state": new}


def _wrap(path: str, module: nn.Module) -> nn.Module:
    """Put a module under a dotted path of otherwise empty modules."""
    for name in reversed(path.split(".")):
        parent = nn.Module()
        parent.add_module(name, module)
        module = parent
    return module


class FloatModel(nn.Module):
    """RaScaNet in floating point.

    Parameters
    ----------
    config : ModelConfig
    dropout : float
        Of the head's output, the attention value, the projection's end and the classifier's input,
        in training only (the release: 0.1).
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        d, hidden = config.state_channels, config.classifier_hidden
        for head in range(config.heads):
            self.add_module(f"raster_cnn_{head}", _Head(config))
        self.raster_att = _Attention(config, dropout)
        self.raster_rnn = _wrap("gru.cell", _GruCell(d))
        confidence = nn.Sequential(nn.Dropout(dropout), nn.Linear(d, config.class_count - 1))
        self.raster_confidence = _wrap("out_classifier", confidence)
        self.out_classifier = _wrap(
            "out_classifier",
            nn.Sequential(
                nn.Linear(d, hidden),
                nn.BatchNorm1d(hidden),
                nn.Hardswish(),
                nn.Linear(hidden, config.class_count),
            ),
        )
        self.dropout = nn.Dropout(dropout)

    @property
    def cell(self) -> _GruCell:
        """The GRU's three convolutions."""
        return self.raster_rnn.gru.cell

    def pool(self, states: Tensor) -> Tensor:
        """p = mean + maximum over columns: [..., d, n] to [..., d] (Eq. 14)."""
        return states.mean(dim=-1) + states.amax(dim=-1)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits [N, K] of p [N, d]."""
        return self.out_classifier.out_classifier(self.dropout(pooled))

    def confidence(self, pooled: Tensor) -> Tensor:
        """Confidence [N, K-1] of p [N, d]."""
        return torch.sigmoid(self.raster_confidence.out_classifier(pooled))

    def forward(self, images: Tensor, trace: dict[str, Tensor] | None = None) -> FloatResult:
        """Whole frames.

        Parameters
        ----------
        images : tensor [B, in_channels, h, w]
            uint8, or floats that hold signed pixels (-127..127) already.
        trace : dict or None
            Filled with stage name to [B, T, channels, columns] (the names of the integer trace).
        """
        config = self.config
        dtype = next(self.parameters()).dtype
        pixels = to_signed(images).to(dtype) if images.dtype == torch.uint8 else images.to(dtype)
        batch, groups = pixels.shape[0], config.row_groups
        rows = split_row_groups(pixels, config.rows_per_group).flatten(0, 1)
        parts = []
        for head in range(config.heads):
            maps = getattr(self, f"raster_cnn_{head}")(rows)
            parts.append(self.dropout(maps[-1]).squeeze(2).unflatten(0, (batch, groups)))
            if trace is not None:
                for layer, block in zip(config.head_layers(head), maps, strict=True):
                    for row, stage in enumerate(layer.stages):
                        trace[stage] = block[:, :, row].unflatten(0, (batch, groups))
        if trace is None and config.channel_attention and not config.spatial:
            states = self._scan(torch.cat(parts, dim=2))  # [B, T, n, d]
            pooled = self.pool(states.transpose(2, 3)).flatten(0, 1)
            return FloatResult(
                states.transpose(2, 3),
                self.classify(pooled).unflatten(0, (batch, groups)),
                self.confidence(pooled).unflatten(0, (batch, groups)),
            )
        state = pixels.new_zeros((batch, config.state_channels, config.n))
        steps: list[dict[str, Tensor]] = []
        for t in range(groups):
            steps.append(self._step([part[:, t] for part in parts], state))
            state = steps[-1]["gru.state"]
        states = torch.stack([step["gru.state"] for step in steps], dim=1)
        if trace is not None:
            for name in steps[0]:
                trace[name] = torch.stack([step[name] for step in steps], dim=1)
        pooled = self.pool(states).flatten(0, 1)
        return FloatResult(
            states,
            self.classify(pooled).unflatten(0, (batch, groups)),
            self.confidence(pooled).unflatten(0, (batch, groups)),
        )

    def _scan(self, features: Tensor) -> Tensor:
        """`_step` over all row groups as plain matrix products: [B, T, F, n] to [B, T, n, d].

        Maps have their channels last and pictures and columns joined, [B n, channels]. What does
        not need the state is computed for all row groups at once; gates share a product.
        """
        batch, _, width, n = features.shape
        d, cell, project = self.config.state_channels, self.cell, self.raster_att.channel_prj
        squeeze, excite = project.channel_att[0], project.channel_att[2]
        conv1, norm1, _, conv2, norm2, _ = project.projection
        maps = features.permute(1, 0, 3, 2).flatten(1, 2)  # [T, B n, F]
        squeeze_features, squeeze_state = squeeze.weight.squeeze(-1).split([width, d], dim=1)
        hidden = functional.linear(maps, squeeze_features, squeeze.bias)
        gates_weight = torch.cat([cell.conv_reset.weight, cell.conv_update.weight]).squeeze(-1)
        gates_bias = torch.cat([cell.conv_reset.bias, cell.conv_update.bias])

        def wide(maps: Tensor) -> Tensor:
            """Each column beside its left and right one: [B n, C] to [B n, 3 C]."""
            padded = functional.pad(maps.unflatten(0, (batch, n)), (0, 0, 1, 1))
            return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2).flatten(0, 1)

        taps1, taps2 = (conv.weight.permute(0, 2, 1).flatten(1) for conv in (conv1, conv2))
        # Where autocast makes products short, the state keeps its precision over the row groups.
        kind = torch.promote_types(maps.dtype, torch.float32)
        state, states = maps.new_zeros(batch * n, d, dtype=kind), []
        for now, seen in zip(maps.unbind(0), hidden.unbind(0), strict=True):
            attend = torch.relu(torch.addmm(seen, state, squeeze_state.t()))
            now = now * torch.sigmoid(
                functional.linear(attend, excite.weight.squeeze(-1), excite.bias)
            )
            now = torch.relu(norm1(functional.linear(wide(now), taps1)))
            now = torch.relu(norm2(functional.linear(wide(now), taps2)))
            now = project.dropout(now)
            joined = torch.cat([now, state], dim=1)
            gates = torch.sigmoid(functional.linear(joined, gates_weight, gates_bias))
            reset, update = gates.split(d, dim=1)
            joined = torch.cat([now, state * reset], dim=1)
            candidate = torch.tanh(
                functional.linear(joined, cell.conv_h.weight.squeeze(-1), cell.conv_h.bias)
            )
            state = torch.lerp(candidate.to(kind), state, update.to(kind))
            states.append(state)
        return torch.stack(states).unflatten(1, (batch, n)).transpose(0, 1)

    def _step(self, parts: list[Tensor], state: Tensor) -> dict[str, Tensor]:
        """Everything after the heads for one row group; `parts` are P_1 .. P_M."""
        stages: dict[str, Tensor] = {}
        if self.config.spatial:
            for head, features in enumerate(parts):
                attend = getattr(self.raster_att, f"spatial_attention_{head}")
                found = attend(features, state)
                stages.update({f"attention{head}.{key}": maps for key, maps in found.items()})
                parts = [*parts[:head], found["output"], *parts[head + 1 :]]
        stages.update(self.raster_att.channel_prj(torch.cat(parts, dim=1), state))
        stages.update(self.cell(stages["projection.1"], state))
        return stages

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """As in torch, but tensors of the same size in another shape are reshaped.

        The release may write a 1-wide kernel as (out, in), (out, in, 1) or (out, in, 1, 1). For a
        one-channel config, block 1's weights for colour are summed over the colours.
        """
        fitted = dict(state_dict)
        for key, own in self.state_dict().items():
            value = fitted.get(key)
            if value is None or value.shape == own.shape:
                continue
            if key.endswith("conv_block1.conv.weight") and own.shape[1] == 1:
                value = value.sum(dim=1, keepdim=True)
            if value.numel() == own.numel():
                fitted[key] = value.reshape(own.shape)
        return super().load_state_dict(fitted, strict=strict, assign=assign)


def load_checkpoint(path: str | Path, config: ModelConfig) -> FloatModel:
    """A model with the weights of a checkpoint in the released layout, in eval mode.

    Parameters
    ----------
    path : path
        ``torch.save`` of a dict with ``state_dict``, or of the state dict itself.

    Raises
    ------
    ValueError
        One line with the path (and the key): no such file, code in it, not a checkpoint, key
        missing or unknown, wrong shape, value that is not finite.
    """
    model = FloatModel(config)
    source = f"{path}: not a checkpoint of {config.name}"
    model.load_state_dict(fit_state_dict(read_state_dict(path), model.state_dict(), source))
    return model.eval()


def _initialise(model: FloatModel, generator: torch.Generator) -> None:
    """Weights with a spread that keeps every map lively; batch norm with mild offsets."""

    def normal(parameter: Tensor, spread: float, mean: float = 0.0) -> None:
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(values * spread + mean)

    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel()
        if parameter.dim() > 1:
            # Inputs have a mean square of about 1/2 (ReLU after batch norm; gates and state less).
            gain = 2.0 if "key_conv" in name else 0.7 if "value_conv" in name else 1.4
            normal(parameter, gain / math.sqrt(fan_in))
        elif name.endswith(("bn.weight", "projection.1.weight", "projection.4.weight")):
            normal(parameter, 0.15, 1.0)
        elif name.endswith("out_classifier.1.weight"):
            normal(parameter, 0.15, 1.0)
        elif "conv_update" in name:
            normal(parameter, 0.3, 0.7)  # remember somewhat longer than a row group
        else:
            normal(parameter, 0.2)


@torch.no_grad()
def calibrated_model(config: ModelConfig, images: Tensor, seed: int = 0) -> FloatModel:
    """A seeded random network in float64 that is alive on `images`, in eval mode.

    Batch norm takes its statistics from one pass over `images`; the last layer is scaled and
    shifted so that the logits less the first one have mean 0 and deviation 2 over all row groups.

    Parameters
    ----------
    images : uint8 tensor [B, in_channels, h, w]
        At least two.
    """
    model = FloatModel(config, dropout=0.0).double()
    _initialise(model, torch.Generator().manual_seed(seed))
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain average over all passes
    model.train()
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    logits = model(images).logits.flatten(0, 1)
    last = model.out_classifier.out_classifier[3]
    gain = 2.0 / (logits[:, 1:] - logits[:, :1]).flatten().std().clamp(min=1e-6)
    last.weight.mul_(gain)
    last.bias.sub_(logits.mean(dim=0)).mul_(gain)
    return model
