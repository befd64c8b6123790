"""Model configuration: the sizes of one RaScaNet, all sizes derived from them, named presets.

One `ModelConfig` describes the network, `ModelConfig.network` is its table of layers; `hw/`
describes the engine that runs it. docs/network.md has the equations and the two ways to count work
(array MACs and the authors' OPs).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from golden.config_file import SUFFIXES, nearest, read_fields, shown
from golden.network import RELU_ZERO_POINT, Block, Layer, Part, table

PAPER_KERNELS = ((3, 3), (1, 3), (3, 3), (1, 3))  # rows x columns of a head's four blocks
TWO_CLASSES = ("no_person", "person")
SPATIAL_VARIANTS = ("none", "full", "banded")
ROWS = (3, 5, 7, 9)  # of a row group
MOST_CLASSES = 16
_KERNEL_ROWS, _KERNEL_COLUMNS = (1, 3, 5, 7, 9), (1, 3)
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
ARITHMETIC = 2
"""Version of the integer model's arithmetic: another one gives other answers with the same weights.
1: the knots of sigmoid and tanh all taken from the curve. 2: `golden.activation.KNOTS`."""
_LARGEST_SIDE = 2**16 - 1
"""Of a picture: events and decisions count row groups in 16 bits, JPEG files pixels."""
_MOST_PRODUCTS = 2**17 - 1
"""Of two bytes in an accumulator of 32 bits."""
_CLASSIFIER_LIMIT = 2**30  # half of the classifier's 32-bit accumulator; its bias has the rest


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
        raise ValueError(f"{name} must be an integer, {rule}, not {shown(value)}")


def _check_among(name: str, value: object, known: tuple[int, ...]) -> None:
    """Raise ValueError unless `value` is one of these integers."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in known:
        *most, last = map(str, known)
        raise ValueError(f"{name} must be {', '.join(most)} or {last}, not {shown(value)}")


def _is_list(value: object) -> bool:
    return isinstance(value, (tuple, list))


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One RaScaNet.

    Parameters
    ----------
    name : str
        Label only; not part of the digest.
    image_height, image_width : int
        Pixels; the picture is stretched to them. Height >= k, width >= 2 ** blocks (each block
        halves it). ``height mod k`` rows at the bottom are dropped.
    heads : int
        M, 1..4.
    head_channels : tuple of int
        Output channels of each block (>= 1), the same in all heads.
    state_channels : int
        d, >= 2.
    attention_hidden, classifier_hidden : int or None
        Width of the middle layer of channel attention and classifier; None stands for
        ``max(1, d // 4)`` and is replaced by that number.
    spatial_attention : {'none', 'full', 'banded'}
        Eq. 6-9 left out, as in the paper, or with the release's band of +-2.
    channel_attention : bool
        Eq. 10-12, and C * A in Eq. 13.
    in_channels : int
        3 (RGB) or 1 (luma).
    head_kernels : tuple of (rows, columns), or None
        Kernel of each block: rows 1, 3, 5, 7 or 9, columns 1 or 3. Without padding in rows they
        must reduce k = 3, 5, 7 or 9 rows to one. None stands for the paper's four
        (``PAPER_KERNELS``, k = 5) and is replaced by them.
    classes : tuple of str
        Names of the 2..16 classes, in the order of the labels. The first one is "nothing": the
        confidence head has no output for it. The names are no part of the digest.
    stop_class : str or None
        The class that early termination looks for; None stands for the second one and is replaced
        by its name.

    Raises
    ------
    ValueError
        With the rule and the value.
    """

    name: str
    image_height: int
    image_width: int
    heads: int
    head_channels: tuple[int, ...]
    state_channels: int
    attention_hidden: int | None = None
    classifier_hidden: int | None = None
    spatial_attention: str = "none"
    channel_attention: bool = True
    in_channels: int = 3
    head_kernels: tuple[tuple[int, int], ...] | None = None
    classes: tuple[str, ...] = TWO_CLASSES
    stop_class: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a text that is not empty, not {shown(self.name)}")
        self._check_blocks()
        _check_int("image_height", self.image_height, self.rows_per_group, _LARGEST_SIDE)
        _check_int("image_width", self.image_width, 2 ** len(self.head_channels), _LARGEST_SIDE)
        _check_int("heads", self.heads, 1, 4)
        _check_int("state_channels", self.state_channels, 2, _MOST_PRODUCTS)
        for field, most in (("attention_hidden", _MOST_PRODUCTS), ("classifier_hidden", None)):
            if getattr(self, field) is None:
                object.__setattr__(self, field, max(1, self.state_channels // 4))
            _check_int(field, getattr(self, field), 1, most)
        if self.spatial_attention not in SPATIAL_VARIANTS:
            raise ValueError(
                f"spatial_attention must be one of {', '.join(SPATIAL_VARIANTS)}, "
                f"not {shown(self.spatial_attention)}"
            )
        if not isinstance(self.channel_attention, bool):
            raise ValueError(
                f"channel_attention must be True or False, not {shown(self.channel_attention)}"
            )
        _check_among("in_channels", self.in_channels, (1, 3))
        self._check_classes()
        if self.max_taps > _MOST_PRODUCTS:
            raise ValueError(
                f"products in one accumulator must be at most {_MOST_PRODUCTS} (32 bits), "
                f"not {self.max_taps}"
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

    def _check_blocks(self) -> None:
        kernels = PAPER_KERNELS if self.head_kernels is None else self.head_kernels
        if not _is_list(kernels) or not 1 <= len(kernels) < len(_NUMBERS):
            raise ValueError(
                f"head_kernels must be a list of 1..{len(_NUMBERS) - 1} kernels [rows, columns], "
                f"not {shown(kernels)}"
            )
        for index, kernel in enumerate(kernels):
            name = f"head_kernels[{index}]"
            if not _is_list(kernel) or len(kernel) != 2:
                raise ValueError(f"{name} must be [rows, columns], not {shown(kernel)}")
            _check_among(f"rows of {name}", kernel[0], _KERNEL_ROWS)
            _check_among(f"columns of {name}", kernel[1], _KERNEL_COLUMNS)
        channels, count = self.head_channels, _NUMBERS[len(kernels)]
        if not _is_list(channels) or len(channels) != len(kernels):
            which = "the paper's blocks" if self.head_kernels is None else "head_kernels"
            raise ValueError(
                f"head_channels must be {count} number{'s' * (count != 'one')}, "
                f"not {shown(channels)} (one for each of {which})"
            )
        for index, number in enumerate(channels):
            _check_int(f"head_channels[{index}]", number, 1)
        object.__setattr__(self, "head_kernels", tuple((r, c) for r, c in kernels))
        object.__setattr__(self, "head_channels", tuple(channels))
        _check_among("rows that head_kernels reduce to one", self.rows_per_group, ROWS)

    def _check_classes(self) -> None:
        classes = self.classes
        if not _is_list(classes) or not 2 <= len(classes) <= MOST_CLASSES:
            raise ValueError(
                f"classes must be a list of 2..{MOST_CLASSES} names, not {shown(classes)}"
            )
        for index, name in enumerate(classes):
            if not isinstance(name, str) or not name or name != name.strip():
                raise ValueError(
                    f"classes[{index}] must be a text without blanks at its ends, not {shown(name)}"
                )
            if name in classes[:index]:
                raise ValueError(f"classes must differ, not twice {shown(name)}")
            if name.isdecimal() and name != str(index):  # labels are numbers, too
                raise ValueError(
                    f"classes[{index}] must be a name (or its number, {index}), not {shown(name)}"
                )
        object.__setattr__(self, "classes", tuple(classes))
        if self.stop_class is None:
            object.__setattr__(self, "stop_class", classes[1])
        if self.stop_class not in self.classes:
            raise ValueError(
                f"stop_class must be one of {', '.join(classes)}, not {shown(self.stop_class)}"
            )

    # ---- sizes ----

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of a head."""
        return tuple(
            Block(rows, columns, channels)
            for (rows, columns), channels in zip(self.head_kernels, self.head_channels, strict=True)
        )

    @property
    def rows_per_group(self) -> int:
        """k: rows that the blocks reduce to one."""
        return 1 + sum(rows - 1 for rows, _ in self.head_kernels)

    @property
    def row_groups(self) -> int:
        """T, row groups a frame."""
        return self.image_height // self.rows_per_group

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the picture and after the pool of each block (floor halving)."""
        return tuple(self.image_width >> block for block in range(len(self.head_channels) + 1))

    @property
    def n(self) -> int:
        """Width of the state and of every map after the heads."""
        return self.widths[-1]

    @property
    def features(self) -> int:
        """Channels of C = [P_1 : ... : P_M]."""
        return self.heads * self.head_channels[-1]

    @property
    def class_count(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def stop_index(self) -> int:
        """Label of the class that early termination looks for."""
        return self.classes.index(self.stop_class)

    @property
    def spatial(self) -> bool:
        """True with either form of spatial attention."""
        return self.spatial_attention != "none"

    @property
    def feature_zero_point(self) -> int:
        """Zero point of C: -128 for the heads' ReLU maps, 0 for the P' of spatial attention."""
        return 0 if self.spatial else RELU_ZERO_POINT

    # ---- layers ----

    @cached_property
    def network(self) -> tuple[Layer, ...]:
        """The whole table of layers, products of two maps of data included."""
        return table(self)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All weighted layers in running order (classifier last; it is not on the array)."""
        return tuple(layer for layer in self.network if layer.weighted)

    @property
    def array_layers(self) -> tuple[Layer, ...]:
        """The weighted layers that run on the multiplier array."""
        return tuple(layer for layer in self.layers if layer.on_array)

    def head_layers(self, head: int) -> tuple[Layer, ...]:
        """The convolutions of one head."""
        return self.of_part(Part.HEAD, head)

    def of_part(self, part: Part, head: int | None = None) -> tuple[Layer, ...]:
        """The layers of one part (of one head)."""
        return tuple(
            layer
            for layer in self.network
            if layer.part is part and (head is None or layer.head == head)
        )

    @cached_property
    def stages(self) -> tuple[StageShape, ...]:
        """Every traced map of a row group, in running order (docs/architecture.md, "Stages")."""
        return tuple(
            StageShape(stage, layer.out_channels, layer.columns_out)
            for layer in self.network
            for stage in layer.stages
        )

    # ---- widths of numbers ----

    @property
    def max_taps(self) -> int:
        """K_max, the most products in one accumulator of the array (S and V A included)."""
        return max(layer.taps for layer in self.network if layer.on_array)

    @property
    def acc_bits(self) -> int:
        """Bits of a signed accumulator (and of a bias): any sum of max_taps byte products fits."""
        return (self.max_taps * 128 * 128).bit_length() + 1

    # ---- accounting (docs/network.md, "Accounting") ----

    @property
    def array_macs_row_group(self) -> int:
        """Array MACs of one row group: S and V A dense, also when banded."""
        return sum(layer.macs for layer in self.network if layer.on_array)

    @property
    def array_macs_frame(self) -> int:
        """Array MACs of a whole frame."""
        return self.array_macs_row_group * self.row_groups

    @property
    def _confidence(self) -> int:
        """Parameters (and OPs) of the confidence head: an output for every class but the first."""
        return (self.class_count - 1) * (self.state_channels + 1)

    @property
    def parameters(self) -> int:
        """Trainable parameters as the authors count them (batch norm, confidence head included)."""
        return self._confidence + sum(
            layer.out_channels * (layer.taps + 2 * layer.norm + layer.bias) for layer in self.layers
        )

    @property
    def peak_elements(self) -> int:
        """Largest input + output of one layer, in elements (the authors' peak memory)."""
        return max(
            layer.in_channels * layer.rows_in * layer.columns_in + layer.sums
            for layer in self.array_layers
        )

    @property
    def operations(self) -> int:
        """OPs a frame, the authors' rule: MACs of weighted layers, biases, BatchNorm2d outputs.

        Their count knows no batch norm but that of the heads, and runs the classifier once more at
        the end.
        """

        def ops(layers: tuple[Layer, ...]) -> int:
            return sum(
                layer.macs + layer.sums * (layer.bias + (layer.norm and layer.part is Part.HEAD))
                for layer in layers
            )

        group = ops(self.array_layers) + self._confidence
        classifier = ops(self.of_part(Part.CLASSIFIER))
        return self.row_groups * group + (self.row_groups + 1) * classifier

    # ---- identity ----

    @property
    def digest(self) -> str:
        """Hex SHA-256 of `network_digest` and `ARITHMETIC`: what integer weights are for.

        Weights files, images, engines and boards carry it, so that none takes weights which an
        engine of another arithmetic would answer otherwise with.
        """
        return hashlib.sha256(f"{self.network_digest} {ARITHMETIC}".encode()).hexdigest()

    @property
    def network_digest(self) -> str:
        """Hex SHA-256 of the canonical JSON of all fields but the names: of the float network.

        What came later (kernels, more classes, another class to stop at) is in it only where it is
        not the paper's, so that networks keep the digest that their checkpoints carry.
        """
        later = ("name", "head_kernels", "classes", "stop_class")
        parts: dict[str, Any] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in later
        }
        if self.head_kernels != PAPER_KERNELS:
            parts["head_kernels"] = self.head_kernels
        if self.class_count != 2:
            parts["classes"] = self.class_count
        if self.stop_index != 1:
            parts["stop_class"] = self.stop_index
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
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
    for name, *_ in rows:
        label = f"{name}_grey"
        presets[label] = replace(presets[name], name=label, in_channels=1)
    return presets


PRESETS: dict[str, ModelConfig] = _presets()


USUAL = "vww_105x120"
"""The preset that a command takes where none is named."""


def resized(config: ModelConfig, size: str | None) -> ModelConfig:
    """The same network for pictures of ``HEIGHTxWIDTH``; ValueError if that is no size."""
    if size is None:
        return config
    height, by, width = size.partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size must be HEIGHTxWIDTH, not {size!r}")
    name = f"{config.name}_at_{size}"
    return replace(config, name=name, image_height=int(height), image_width=int(width))


def preset(name: str | Path, usual: str = USUAL) -> ModelConfig:
    """The preset of that name, or the network of a file.

    Parameters
    ----------
    name : str or path
        ``NAME@HEIGHTxWIDTH`` is a network for pictures of another size, of `usual` without a NAME;
        ``PRESET_at_HEIGHTxWIDTH``, which such a one is called, is the same.
        NAME is one of `PRESETS`, or a path that ends in .toml, .yaml, .yml or .json: a file with
        the fields of `ModelConfig`. ``name`` may be absent (it is the file's, without its ending);
        ``blocks = [{rows = 3, columns = 3, channels = 6}, ...]`` may stand instead of
        ``head_channels`` and ``head_kernels``.

    Raises
    ------
    ValueError
        One line: no such preset (with the list and the nearest one), no such file; or the path, the
        field, the rule and the value.
    """
    if isinstance(name, str) and name in PRESETS:
        return PRESETS[name]
    if isinstance(name, str) and "@" in name and not name.lower().endswith(SUFFIXES):
        plain, _, size = name.rpartition("@")
        config = preset(plain or usual)
        same = size == f"{config.image_height}x{config.image_width}"
        return config if same else resized(config, size)
    plain, at, size = str(name).rpartition("_at_")
    if at and plain in PRESETS:
        return resized(PRESETS[plain], size)
    path = Path(name)
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        return _from_fields(path, read_fields(path))
    raise ValueError(
        f"preset must be one of {', '.join(PRESETS)}, or a file ({', '.join(SUFFIXES)}), "
        f"not {shown(str(name))}{nearest(str(name), PRESETS)}"
    )


def _from_fields(path: Path, found: Mapping[str, Any]) -> ModelConfig:
    """The network of a file's fields; every error begins with the path."""
    values = dict(found)
    known = {field.name: field for field in fields(ModelConfig)}
    try:
        for key in values:
            if key not in known and key != "blocks":
                raise ValueError(
                    f"{shown(key)} is no field; there are {', '.join(known)} and blocks"
                    f"{nearest(str(key), [*known, 'blocks'])}"
                )
        if "blocks" in values:
            for key in ("head_channels", "head_kernels"):
                if key in values:
                    raise ValueError(f"give either blocks or {key}, not both")
            blocks = _read_blocks(values.pop("blocks"))
            values["head_channels"] = tuple(block.channels for block in blocks)
            values["head_kernels"] = tuple((block.rows, block.columns) for block in blocks)
        values.setdefault("name", path.stem)
        text = str(values["name"])
        good = all(letter.isalnum() or letter in "_-." for letter in text) and text.isascii()
        if not good or text.startswith("."):
            raise ValueError(
                f"name must be of letters, digits, '_', '-' and '.', and not begin with '.' (it "
                f"names files), "
                f"not {shown(values['name'])}"
            )
        for key, field in known.items():
            if key not in values and field.default is MISSING:
                also = " (or blocks)" if key == "head_channels" else ""
                raise ValueError(f"{key} is missing{also}")
        return ModelConfig(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_blocks(value: Any) -> list[Block]:
    if not _is_list(value) or not value:
        raise ValueError(f"blocks must be a list of blocks, not {shown(value)}")
    blocks = []
    for index, item in enumerate(value):
        name = f"blocks[{index}]"
        if not isinstance(item, Mapping) or set(item) != set(Block._fields):
            raise ValueError(
                f"{name} must have {', '.join(Block._fields)} and nothing else, not {shown(item)}"
            )
        block = Block(**item)
        _check_among(f"{name}.rows", block.rows, _KERNEL_ROWS)
        _check_among(f"{name}.columns", block.columns, _KERNEL_COLUMNS)
        _check_int(f"{name}.channels", block.channels, 1)
        blocks.append(block)
    return blocks
