"""Model configuration: the sizes of one RaScaNet, all sizes derived from them, named presets.

One `ModelConfig` describes the network; `hw/` describes the engine that runs it. NETWORK.md is the
source of the layer shapes and of the two ways to count work (array MACs and the authors' OPs).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import NamedTuple

ROWS_PER_GROUP = 5  # k: the four blocks reduce exactly 5 rows to 1, so it is no parameter
SPATIAL_VARIANTS = ("none", "full", "banded")
_CLASSIFIER_LIMIT = 2**30  # half of the classifier's 32-bit accumulator; its bias has the rest


class LayerShape(NamedTuple):
    """Name and weight shape of one weighted layer, in the order in which the engine runs them."""

    name: str
    in_channels: int
    out_channels: int
    kernel_rows: int
    kernel_cols: int

    @property
    def taps(self) -> int:
        """Products that meet in one accumulator (bias not counted)."""
        return self.in_channels * self.kernel_rows * self.kernel_cols


class StageShape(NamedTuple):
    """Name and size of one map of a row group (traces, monitors, difference reports)."""

    name: str
    channels: int
    columns: int


def _check_int(name: str, value: object, low: int, high: int | None = None) -> None:
    """Raise ValueError unless `value` is an int in low..high (no bool, no float)."""
    rule = f"at least {low}" if high is None else f"{low}..{high}"
    good = isinstance(value, int) and not isinstance(value, bool) and value >= low
    if not good or (high is not None and value > high):
        raise ValueError(f"{name} must be an integer, {rule}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One RaScaNet.

    Parameters
    ----------
    name : str
        Label only; not part of the digest.
    image_height, image_width : int
        Pixels; the picture is stretched to them. Height >= 5, width >= 16 (four halvings leave
        >= 1). ``height mod 5`` rows at the bottom are dropped.
    heads : int
        M, 1..4.
    head_channels : tuple of 4 int
        Output channels of blocks 1..4 (>= 1 each), the same in all heads.
    state_channels : int
        d, >= 2.
    attention_hidden, classifier_hidden : int or None
        Width of the middle layer of channel attention and classifier; None stands for
        ``max(1, d // 4)`` and is replaced by that number.
    spatial_attention : {'none', 'full', 'banded'}
        Eq. 6-9 left out, as in the paper, or with the release's band of +-2.
    channel_attention : bool
        Eq. 10-12.
    in_channels : int
        3 (RGB) or 1 (luma).

    Raises
    ------
    ValueError
        With the rule and the value.
    """

    name: str
    image_height: int
    image_width: int
    heads: int
    head_channels: tuple[int, int, int, int]
    state_channels: int
    attention_hidden: int | None = None
    classifier_hidden: int | None = None
    spatial_attention: str = "none"
    channel_attention: bool = True
    in_channels: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a text that is not empty, not {self.name!r}")
        _check_int("image_height", self.image_height, ROWS_PER_GROUP)
        _check_int("image_width", self.image_width, 16)
        _check_int("heads", self.heads, 1, 4)
        if not isinstance(self.head_channels, (tuple, list)) or len(self.head_channels) != 4:
            raise ValueError(f"head_channels must be four numbers, not {self.head_channels!r}")
        for index, channels in enumerate(self.head_channels):
            _check_int(f"head_channels[{index}]", channels, 1)
        object.__setattr__(self, "head_channels", tuple(self.head_channels))
        _check_int("state_channels", self.state_channels, 2)
        for field in ("attention_hidden", "classifier_hidden"):
            if getattr(self, field) is None:
                object.__setattr__(self, field, max(1, self.state_channels // 4))
            _check_int(field, getattr(self, field), 1)
        if self.spatial_attention not in SPATIAL_VARIANTS:
            raise ValueError(
                f"spatial_attention must be one of {', '.join(SPATIAL_VARIANTS)}, "
                f"not {self.spatial_attention!r}"
            )
        if not isinstance(self.channel_attention, bool):
            raise ValueError(
                f"channel_attention must be True or False, not {self.channel_attention!r}"
            )
        if self.in_channels not in (1, 3) or isinstance(self.in_channels, bool):
            raise ValueError(f"in_channels must be 1 or 3, not {self.in_channels!r}")
        if self.acc_bits > 32:
            raise ValueError(
                f"products in one accumulator must be at most 131071 (32 bits), not {self.max_taps}"
            )
        pooled = 2 * self.n * 127 * self.state_channels * 127
        if pooled > _CLASSIFIER_LIMIT:
            raise ValueError(
                f"state_channels * n must be at most {_CLASSIFIER_LIMIT // (2 * 127 * 127)} "
                f"(classifier accumulator), not {self.state_channels * self.n}"
            )
        if self.classifier_hidden * 24570 * 127 > _CLASSIFIER_LIMIT:
            raise ValueError(
                f"classifier_hidden must be at most {_CLASSIFIER_LIMIT // (24570 * 127)}, "
                f"not {self.classifier_hidden}"
            )

    # ---- sizes ----

    @property
    def row_groups(self) -> int:
        """T, row groups a frame."""
        return self.image_height // ROWS_PER_GROUP

    @property
    def widths(self) -> tuple[int, int, int, int, int]:
        """Width of the picture and after the pool of blocks 1..4 (floor halving)."""
        w = self.image_width
        return (w, w // 2, w // 4, w // 8, w // 16)

    @property
    def n(self) -> int:
        """Width of the state and of every map after block 4."""
        return self.widths[4]

    @property
    def features(self) -> int:
        """Channels of C = [P_1 : ... : P_M]."""
        return self.heads * self.head_channels[3]

    @property
    def spatial(self) -> bool:
        """True with either form of spatial attention."""
        return self.spatial_attention != "none"

    @property
    def feature_zero_point(self) -> int:
        """Zero point of C: -128 for the heads' ReLU maps, 0 for the P' of spatial attention."""
        return 0 if self.spatial else -128

    def head_layers(self, head: int) -> list[LayerShape]:
        """The four convolutions of one head."""
        c1, c2, c3, c4 = self.head_channels
        return [
            LayerShape(f"head{head}.block1", self.in_channels, c1, 3, 3),
            LayerShape(f"head{head}.block2", c1, c2, 1, 3),
            LayerShape(f"head{head}.block3", c2, c3, 3, 3),
            LayerShape(f"head{head}.block4", c3, c4, 1, 3),
        ]

    @property
    def layers(self) -> list[LayerShape]:
        """All weighted layers in running order (classifier last; it is not on the array)."""
        d, c, f = self.state_channels, self.head_channels[3], self.features
        layers = [layer for head in range(self.heads) for layer in self.head_layers(head)]
        if self.spatial:
            for head in range(self.heads):
                layers += [
                    LayerShape(f"attention{head}.key", c, d, 1, 1),
                    LayerShape(f"attention{head}.value", c, c, 1, 1),
                ]
        if self.channel_attention:
            layers += [
                LayerShape("channel_attention.0", d + f, self.attention_hidden, 1, 1),
                LayerShape("channel_attention.1", self.attention_hidden, f, 1, 1),
            ]
        return layers + [
            LayerShape("projection.0", f, d, 1, 3),
            LayerShape("projection.1", d, d, 1, 3),
            LayerShape("gru.reset", 2 * d, d, 1, 1),
            LayerShape("gru.update", 2 * d, d, 1, 1),
            LayerShape("gru.candidate", 2 * d, d, 1, 1),
            LayerShape("classifier.0", d, self.classifier_hidden, 1, 1),
            LayerShape("classifier.1", self.classifier_hidden, 2, 1, 1),
        ]

    @property
    def array_layers(self) -> list[LayerShape]:
        """The weighted layers that run on the multiplier array."""
        return [layer for layer in self.layers if not layer.name.startswith("classifier")]

    @property
    def stages(self) -> list[StageShape]:
        """Every traced map of a row group, in running order (docs/architecture.md, "Stages")."""
        d, n, widths = self.state_channels, self.n, self.widths
        c1, c2, c3, c4 = self.head_channels
        stages = []
        for head in range(self.heads):
            for block, channels in ((1, c1), (2, c2)):
                stages += [
                    StageShape(f"head{head}.block{block}.row{row}", channels, widths[block])
                    for row in range(3)
                ]
            stages.append(StageShape(f"head{head}.block3", c3, widths[3]))
            stages.append(StageShape(f"head{head}.block4", c4, n))
        if self.spatial:
            for head in range(self.heads):
                sizes = {"key": d, "score": n, "weights": n, "value": c4, "output": c4}
                stages += [StageShape(f"attention{head}.{k}", v, n) for k, v in sizes.items()]
        if self.channel_attention:
            stages.append(StageShape("channel_attention.hidden", self.attention_hidden, n))
            stages.append(StageShape("channel_attention.output", self.features, n))
        names = ("projection.0", "projection.1", "gru.reset", "gru.update", "gru.state")
        return stages + [StageShape(name, d, n) for name in names]

    # ---- widths of numbers ----

    @property
    def max_taps(self) -> int:
        """K_max, the most products in one accumulator of the array (S and V A included)."""
        products = [layer.taps for layer in self.array_layers]
        if self.spatial:
            products += [self.state_channels, self.n]
        return max(products)

    @property
    def acc_bits(self) -> int:
        """Bits of a signed accumulator (and of a bias): any sum of max_taps byte products fits."""
        return (self.max_taps * 128 * 128).bit_length() + 1

    # ---- accounting ----

    def _conv_columns(self, layer: LayerShape) -> tuple[int, int]:
        """Output rows and columns of a layer's convolution, before any pool."""
        part, _, block = layer.name.partition(".block")
        if not part.startswith("head"):
            return 1, self.n
        return (3 if block in "12" else 1), self.widths[int(block) - 1]

    def layer_macs(self, layer: LayerShape) -> int:
        """Products of one array layer in a row group, dense: padding and odd columns count."""
        rows, columns = self._conv_columns(layer)
        return layer.taps * layer.out_channels * rows * columns

    @property
    def _weighted_macs(self) -> int:
        return sum(self.layer_macs(layer) for layer in self.array_layers)

    @property
    def array_macs_row_group(self) -> int:
        """Array MACs of one row group (NETWORK.md): S and V A dense, also when banded."""
        data = (self.state_channels + self.head_channels[3]) * self.n * self.n * self.heads
        return self._weighted_macs + (data if self.spatial else 0)

    @property
    def array_macs_frame(self) -> int:
        """Array MACs of a whole frame."""
        return self.array_macs_row_group * self.row_groups

    @property
    def parameters(self) -> int:
        """Trainable parameters as the authors count them (batch norm, confidence head included)."""
        d = self.state_channels
        weights = sum(layer.taps * layer.out_channels for layer in self.layers)
        norm = 2 * (self.heads * sum(self.head_channels) + 2 * d + self.classifier_hidden)
        bias = 3 * d + self.classifier_hidden + 2
        if self.channel_attention:
            bias += self.attention_hidden + self.features
        return weights + norm + bias + d + 1

    @property
    def peak_elements(self) -> int:
        """Largest input + output of one layer, in elements (the authors' peak memory)."""
        peak = 0
        for layer in self.array_layers:
            rows, columns = self._conv_columns(layer)
            rows_in = rows + layer.kernel_rows - 1
            peak = max(peak, columns * (layer.in_channels * rows_in + layer.out_channels * rows))
        return peak

    @property
    def operations(self) -> int:
        """OPs a frame, the authors' rule: MACs of weighted layers, biases, BatchNorm2d outputs."""
        d, z = self.state_channels, self.classifier_hidden
        group = self._weighted_macs + 3 * d * self.n
        if self.channel_attention:
            group += (self.attention_hidden + self.features) * self.n
        for head in range(self.heads):
            for layer in self.head_layers(head):
                rows, columns = self._conv_columns(layer)
                group += layer.out_channels * rows * columns
        classifier = d * z + z + 2 * z + 2
        return self.row_groups * (group + d + 1) + (self.row_groups + 1) * classifier

    # ---- identity ----

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical JSON of all fields but the name."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__ if key != "name"}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _presets() -> dict[str, ModelConfig]:
    large, small = (6, 11, 21, 42), (5, 9, 18, 32)
    rows = [
        ("vww_210x240", 210, 240, 2, large, 48),
        ("vww_175x200", 175, 200, 2, large, 48),
        ("vww_140x160", 140, 160, 2, small, 40),
        ("vww_105x120", 105, 120, 2, small, 40),
    ]
    presets = {}
    for name, height, width, heads, channels, d in rows:
        base = ModelConfig(
            name=name,
            image_height=height,
            image_width=width,
            heads=heads,
            head_channels=channels,
            state_channels=d,
        )
        presets[name] = base
        for variant in ("full", "banded"):
            label = f"{name}_{variant}"
            presets[label] = replace(base, name=label, spatial_attention=variant)
    base = presets["vww_210x240"]
    # The paper does not print these channels. A search over (c1..c4) for its 56.2 M / 47.0 KB and
    # 57.5 M / 48.4 KB found 56.24 M / 47.01 KB (one head) and 57.54 M / 48.42 KB (three).
    for heads, channels in ((1, (8, 16, 37, 66)), (3, (5, 8, 16, 33))):
        label = f"vww_210x240_h{heads}"
        presets[label] = replace(base, name=label, heads=heads, head_channels=channels)
    return presets


PRESETS: dict[str, ModelConfig] = _presets()


def preset(name: str) -> ModelConfig:
    """The preset of that name; ValueError with the list of names if there is none."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
