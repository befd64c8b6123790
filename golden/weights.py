"""The container of integer weights and its safetensors file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as _serialise
from torch import Tensor

from golden import files
from golden.activation import KNOTS
from golden.config import ModelConfig
from golden.errors import missing

_FIELDS = {
    "weight": torch.int8,
    "bias": torch.int32,
    "multiplier": torch.uint8,
    "shift": torch.uint8,
}
_CONSTANTS = ("bias", "multiplier", "shift")  # present in every layer
_METADATA_KEY = "rasca"  # one key: the order of several is not fixed in the file
_CONTENT = "content"
"""In the metadata: digest of all else in the file."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Constants of one layer.

    Attributes
    ----------
    weight : int8 tensor [out, in, rows, cols] or None
        -127..127. None for ``attention{h}.score`` and ``.mix``, whose operands are both data.
    bias : int32 tensor [out]
        Zero points folded in. For ``.score`` one zero, for ``.mix`` the gain 0..256.
    multiplier, shift : uint8 tensors [out]
        0..255 and 1..31 (``classifier.0``: multiplier 1; ``classifier.1``: 1 and shift 0).
    """

    weight: Tensor | None
    bias: Tensor
    multiplier: Tensor
    shift: Tensor

    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """(bias, multiplier, shift) as int64 columns [out, 1], for maps [..., out, columns]."""
        return tuple(
            part.to(torch.int64)[:, None] for part in (self.bias, self.multiplier, self.shift)
        )


def holds_integers(path: str | Path) -> bool:
    """Whether a file is one of `Weights.save`; False for any other or broken one."""
    try:
        with safe_open(path, framework="pt") as file:
            return _METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def holds_floats(path: str | Path) -> bool:
    """Whether a file looks like a float checkpoint, of `torch.save` or as safetensors."""
    try:
        with safe_open(path, framework="pt") as file:
            ours = _METADATA_KEY in (file.metadata() or {})
            return not ours and any(name.endswith("block1.conv.weight") for name in file.keys())
    except OSError:
        return False
    except SafetensorError:  # first, since a safetensors file may begin with any byte
        with Path(path).open("rb") as file:
            head = file.read(2)
        return head == b"PK" or head[:1] == b"\x80"  # a zip archive, a pickle


def constants(
    weight: Tensor | None,
    bias: Sequence[int] | Tensor,
    multiplier: Sequence[int] | Tensor,
    shift: Sequence[int] | Tensor,
) -> LayerWeights:
    """LayerWeights of plain numbers, in the types of the file; ranges are not checked here."""
    return LayerWeights(
        None if weight is None else weight.to(torch.int8),
        torch.as_tensor(bias).to(torch.int32),
        torch.as_tensor(multiplier).to(torch.uint8),
        torch.as_tensor(shift).to(torch.uint8),
    )


def layer_shapes(config: ModelConfig) -> dict[str, tuple[int, int, int, int] | None]:
    """Weight shape of every layer in a weights file, None for the two layers without weights."""
    shapes: dict[str, tuple[int, int, int, int] | None] = {
        s.name: (s.out_channels, s.in_channels, s.kernel_rows, s.kernel_cols) for s in config.layers
    }
    if config.spatial:
        for head in range(config.heads):
            shapes[f"attention{head}.score"] = None
            shapes[f"attention{head}.mix"] = None
    return shapes


def scale_name(stage: str) -> str:
    """Name of a stage's scale: the three rows of a block share one."""
    return stage.split(".row")[0]


@dataclass(frozen=True, kw_only=True)
class EarlyTermination:
    """Thresholds chosen for some weights, and what they did on the photographs of the choice.

    Attributes
    ----------
    tau, skip : float or None
        Probabilities at which a frame is stopped, and the next row group skipped; None: rule off.
    images : int
        Photographs, which training left out.
    accuracy, change : float
        With them, 0..1; less that without early termination.
    macs_saved : float
        Share of the array's multiply-accumulates.
    """

    tau: float | None
    skip: float | None
    images: int
    accuracy: float
    change: float
    macs_saved: float

    def __post_init__(self) -> None:
        for name in ("tau", "skip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must lie inside 0..1, not {value}")

    def __str__(self) -> str:
        stop, skip = ("off" if value is None else f"{value:g}" for value in (self.tau, self.skip))
        return (
            f"stop at {stop}, skip at {skip}: {100 * self.macs_saved:.1f} % of the MACs saved, "
            f"{100 * self.change:+.2f} points on {self.images:,} photographs"
        )


@dataclass(frozen=True, eq=False)
class Weights:
    """All constants of one network.

    Attributes
    ----------
    layers : mapping of str to LayerWeights
    knots : int16 tensor [17]
        Table of sigmoid and tanh: `golden.activation.KNOTS`, a constant of the engine's logic.
    exp_table : uint8 tensor [256] or None
        Table of the softmax; None without spatial attention.
    scales : mapping of str to float
        Real value of one step: of every stage by `scale_name` (but ``channel_attention.output``,
        whose parts keep the scale of each head's P), of ``logit``, ``pixel`` and ``classifier``
        (= x, 1/256). Only reports and thresholds need them.
    config_digest, config_name : str
        Of the ModelConfig these weights are for.
    untrained : bool
        Random: nobody trained them, and what the network answers means nothing.
    early : EarlyTermination or None
        The thresholds that come with them; no part of the digest.
    """

    layers: Mapping[str, LayerWeights]
    knots: Tensor
    exp_table: Tensor | None
    scales: Mapping[str, float]
    config_digest: str
    config_name: str = "unnamed"
    untrained: bool = False
    early: EarlyTermination | None = None

    @property
    def warning(self) -> str | None:
        """What every output that these weights answer for says, or None."""
        if not self.untrained:
            return None
        return (
            f"the weights of {self.config_name} are random, not trained: its answers mean nothing "
            "(WEIGHTS=file names others; make train and make import make them)"
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their name in the file, sorted."""
        found = {"knots": self.knots}
        if self.exp_table is not None:
            found["exp_table"] = self.exp_table
        for name, layer in self.layers.items():
            for part in _FIELDS:
                tensor = getattr(layer, part)
                if tensor is not None:
                    found[f"{name}.{part}"] = tensor
        return {name: found[name].contiguous() for name in sorted(found)}

    @property
    def digest(self) -> str:
        """Hex SHA-256 over names, shapes and bytes of all tensors (scales are left out)."""
        sha = hashlib.sha256()
        for name, tensor in self.tensors().items():
            sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; equal weights give equal bytes."""
        metadata = {
            "config": self.config_name,
            "config_digest": self.config_digest,
            "scales": dict(self.scales),
        }
        if self.untrained:
            metadata["untrained"] = True
        if self.early is not None:
            metadata["early_termination"] = asdict(self.early)
        metadata[_CONTENT] = _content(self, metadata)
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
        # safetensors refuses tensors that share memory, and two layers may share constants
        tensors = {name: tensor.clone() for name, tensor in self.tensors().items()}
        files.write(Path(path), _serialise(tensors, {_METADATA_KEY: text}))

    def check(self, config: ModelConfig, source: str = "weights") -> None:
        """Raise ValueError (one line that begins with `source`) if these do not fit `config`."""
        _check_digest(source, self.config_name, self.config_digest, config)
        shapes = layer_shapes(config)
        missing = sorted(set(shapes) - set(self.layers))
        extra = sorted(set(self.layers) - set(shapes))
        if missing:
            raise ValueError(f"{source}: layer {missing[0]} is missing")
        if extra:
            raise ValueError(f"{source}: layer {extra[0]} does not belong to {config.name}")
        for name, shape in shapes.items():
            _check_layer(source, name, shape, self.layers[name], config)
        _check_tensor(source, "knots", self.knots, (17,), torch.int16)
        if not torch.equal(self.knots, KNOTS):
            wanted, found = (" ".join(map(str, knots.tolist())) for knots in (KNOTS, self.knots))
            raise ValueError(f"{source}: knots must be every engine's ({wanted}), not {found}")
        if (self.exp_table is not None) != config.spatial:
            word = "missing" if config.spatial else "only for spatial attention"
            raise ValueError(f"{source}: exp_table is {word}")
        if self.exp_table is not None:
            _check_tensor(source, "exp_table", self.exp_table, (256,), torch.uint8)
            table = self.exp_table.to(torch.int64)
            if table[0] != 255 or bool((table.diff() > 0).any()):
                raise ValueError(f"{source}: exp_table must begin at 255 and never rise")
        for name in ["logit", *(scale_name(stage.name) for stage in config.stages)]:
            if name == "channel_attention.output":
                continue  # every head's part has its own: that of what went in
            value = self.scales.get(name)
            if not isinstance(value, float) or not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{source}: scale {name} must be a positive number, not {value!r}")

    @classmethod
    def load(cls, path: str | Path, config: ModelConfig) -> Weights:
        """Read a file and check it against `config`.

        Raises
        ------
        ValueError
            One line that begins with the path: no such file, not safetensors or cut short, other
            config, layer missing or too many, wrong shape or dtype, value out of range.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(missing(path))
        if holds_floats(path):
            raise ValueError(
                f"{path}: a float checkpoint: expected integer weights, not that; give it as "
                "CHECKPOINT=, or make "
                f"integers of it: make import CHECKPOINT={path} CALIBRATE=folder"
            )
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {})[_METADATA_KEY])
                found = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
        except KeyError as error:
            raise ValueError(f"{path}: not a Rasca weights file (no {error} metadata)") from error
        try:
            digest, label = str(metadata["config_digest"]), str(metadata["config"])
            scales = {str(key): float(value) for key, value in metadata["scales"].items()}
            kept = metadata.get("early_termination")
            early = None if kept is None else EarlyTermination(**kept)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: not a Rasca weights file (bad metadata: {error})") from error
        # first: all other differences would follow from this one
        _check_digest(path, label, digest, config)
        knots, exp_table = found.pop("knots", None), found.pop("exp_table", None)
        if knots is None:
            raise ValueError(f"{path}: knots are missing (expected 17, not none)")
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in found.items():
            layer, _, part = name.rpartition(".")
            if part not in _FIELDS or not layer:
                raise ValueError(f"{path}: tensor {name} does not belong to {config.name}")
            parts.setdefault(layer, {})[part] = tensor
        layers = {}
        for name, found_parts in parts.items():
            absent = [part for part in _CONSTANTS if part not in found_parts]
            if absent:
                raise ValueError(f"{path}: {name}.{absent[0]} is missing")
            constants = (found_parts[part] for part in _CONSTANTS)
            layers[name] = LayerWeights(found_parts.get("weight"), *constants)
        untrained = bool(metadata.get("untrained", False))
        weights = cls(layers, knots, exp_table, scales, digest, label, untrained, early)
        weights.check(config, str(path))
        said = str(metadata.pop(_CONTENT, "none"))
        if said != (came := _content(weights, metadata)):
            raise ValueError(
                f"{path}: damaged: expected what it was saved with (digest {said[:12]}), "
                f"not {came[:12]}"
            )
        return weights


def _content(weights: Weights, metadata: Mapping[str, object]) -> str:
    """Hex SHA-256 of the tensors and of the other metadata."""
    text = json.dumps(metadata, sort_keys=True)
    return hashlib.sha256((weights.digest + text).encode()).hexdigest()


def _check_digest(source: str | Path, name: str, digest: str, config: ModelConfig) -> None:
    """Raise ValueError unless weights of this name and digest were made for `config`."""
    if digest == config.network_digest:
        raise ValueError(
            f"{source}: integers of an older arithmetic (other knots of sigmoid and tanh), not "
            f"of {config.name} as it is now; make them anew from the float network: "
            "make import CHECKPOINT=file CALIBRATE=folder"
        )
    if digest != config.digest:
        raise ValueError(
            f"{source}: made for {name} (config digest {digest[:12]}), "
            f"not for {config.name} ({config.digest[:12]})"
        )


def _check_tensor(source: str, name: str, tensor: Tensor, shape: tuple, dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != tuple(shape):
        found = tuple(tensor.shape)
        raise ValueError(f"{source}: {name} must have shape {tuple(shape)}, not {found}")
    if tensor.dtype != dtype:
        raise ValueError(f"{source}: {name} must be {_word(dtype)}, not {_word(tensor.dtype)}")


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_range(source: str, name: str, tensor: Tensor, low: int, high: int) -> None:
    values = tensor.to(torch.int64)
    bad = values[(values < low) | (values > high)]
    if bad.numel():
        raise ValueError(f"{source}: {name} must be {low}..{high}, not {int(bad[0])}")


def _check_layer(
    source: str, name: str, shape: tuple | None, layer: LayerWeights, config: ModelConfig
) -> None:
    """Shapes, dtypes and ranges of one layer."""
    if shape is None and layer.weight is not None:
        raise ValueError(f"{source}: {name} must have no weight")
    if shape is not None:
        if layer.weight is None:
            raise ValueError(f"{source}: {name}.weight is missing")
        _check_tensor(source, f"{name}.weight", layer.weight, shape, torch.int8)
        _check_range(source, f"{name}.weight", layer.weight, -127, 127)
    out = 1 if shape is None else shape[0]
    for part in _CONSTANTS:
        _check_tensor(source, f"{name}.{part}", getattr(layer, part), (out,), _FIELDS[part])
    limit = 2 ** (config.acc_bits - 1)
    bias, multiplier, shift = (-limit, limit - 1), (0, 255), (1, 31)
    if name.endswith(".score"):
        bias = (0, 0)
    elif name.endswith(".mix"):
        bias = (0, 256)
    elif name.startswith("classifier"):
        bias, multiplier = (-(2**30), 2**30), (1, 1)
        if name == "classifier.1":
            shift = (0, 0)
    _check_range(source, f"{name}.bias", layer.bias, *bias)
    _check_range(source, f"{name}.multiplier", layer.multiplier, *multiplier)
    _check_range(source, f"{name}.shift", layer.shift, *shift)
