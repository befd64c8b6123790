"""Reading a PyTorch checkpoint as data: no code of its pickle runs, every key is checked by name.

The layout is that of the authors' release and of our own training: a dict with ``state_dict`` (or
``model_state_dict``, ``model``, ``net``; whatever else is in it is not looked at), or the state
dict itself, with or without ``module.`` and the like before its keys; that one also as
``.safetensors``, as the float networks behind the shipped weights are.
"""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from golden.errors import missing, one_line
from golden.weights import holds_integers

_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "module")
"""Where in a checkpoint training scripts put the weights, and what wrappers put before a key."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
LONGEST_NAME = 100
"""Of what a pickle asks for, as far as it is told."""
_COUNTER = "num_batches_tracked"  # of batch norm; takes no part in anything here


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The ``state_dict`` of a file.

    Raises
    ------
    ValueError
        One line with the path: no such file, a pickle that asks for code, not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(missing(path))
    if path.suffix == ".safetensors" or holds_integers(path):
        return _without_prefix(_read_safetensors(path))
    check_packed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle's age; what matters is told below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        asked = _code_asked_for(path, str(error))
        if asked:
            asked = one_line(asked[:LONGEST_NAME])
            raise ValueError(
                f"{path}: refused: its pickle asks for {asked}, which is code; "
                "only tensors and plain values are read (where the file is trusted, save its "
                "weights alone: torch.save(model.state_dict(), file))"
            ) from error
        raise ValueError(f"{path}: not a PyTorch checkpoint ({type(error).__name__})") from error
    if isinstance(found, Mapping):
        found = next((found[key] for key in _PLACES if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path}: not a checkpoint (no state_dict of tensors)")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(
                f"{path}: not a checkpoint (no state_dict of tensors: {key!r} is a "
                f"{type(value).__name__})"
            )
        if value.is_meta or value.layout != torch.strided or value.is_quantized:
            kind = "meta (without values)" if value.is_meta else "sparse"
            kind = "quantised by torch" if value.is_quantized else kind
            raise ValueError(f"{path}: {key} must be a dense float tensor, not {kind}")
        # a view of a few values can have any shape
        size, most = value.numel() * value.element_size(), path.stat().st_size
        if size > most:
            raise ValueError(
                f"{path}: {key} must have at most the file's {most:,} bytes, not {size:,}"
            )
    return _without_prefix(dict(found))


def check_packed(path: Path) -> None:
    """Refuse an archive that is larger inside than outside: torch.save does not compress.

    Raises
    ------
    ValueError
        In a line that begins with the path.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = sum(one.file_size for one in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return  # none, or a broken one: torch says so
    outside = path.stat().st_size
    if inside > outside:
        raise ValueError(
            f"{path}: refused: its archive must unpack to at most its own {outside:,} bytes, "
            f"not {inside:,}"
        )


def _without_prefix(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The keys without what wrappers (DataParallel, torch.compile, Lightning) put before them."""
    while True:
        prefix = next((one for one in _PREFIXES if all(key.startswith(one) for key in found)), None)
        if prefix is None:
            return found
        found = {key.removeprefix(prefix): value for key, value in found.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if holds_integers(path):
        raise ValueError(
            f"{path}: integer weights: expected a float checkpoint, not those; they need no "
            f"import: WEIGHTS={path}"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({one_line(error)})") from error


def _code_asked_for(path: Path, message: str) -> str | None:
    """The name that a refused pickle would have imported; nothing of it runs here either."""
    named = re.search(r"GLOBAL ([A-Za-z_]\w*(?:\.\w+)+)", message)
    if named:
        return named[1]
    texts: list[str] = []  # a plain pickle, of a protocol that torch does not write
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if operation.name == "STACK_GLOBAL" and len(texts) > 1:
                    return ".".join(texts[-2:])
                if isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # not a pickle at all
        return None
    return None


def fit_state_dict(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Tensors of a file in the shapes of a model.

    Parameters
    ----------
    found, wanted : mapping of str to tensor
        Of the file, and of the model (whose ``num_batches_tracked`` are taken: the file's are
        ignored and may be absent).
    source : str
        Beginning of every error.

    Returns
    -------
    dict
        A 1-wide kernel may be written with or without its dimensions of size 1; block 1's weights
        for colour are summed for a one-channel model. The values are not otherwise touched.

    Raises
    ------
    ValueError
        One line that names the first key that is missing, unknown, of a wrong type or shape, or
        that holds a value which is not finite (or a variance below 0), and how many others.
    """
    faults: list[str] = []
    fitted: dict[str, Tensor] = {}
    for key, own in wanted.items():
        if key.endswith(_COUNTER):
            fitted[key] = own
        elif key not in found:
            faults.append(f"key {key} is missing")
        else:
            value = _reshaped(key, found[key], own)
            fault = _fault(key, found[key], value, own)
            if fault:
                faults.append(fault)
            else:
                fitted[key] = value
    faults += [
        f"key {key} does not belong there"
        for key in found
        if key not in wanted and not key.endswith(_COUNTER)
    ]
    if faults:
        more = f"; {len(faults) - 1} more like this" if len(faults) > 1 else ""
        raise ValueError(f"{source}: {faults[0]}{more}")
    return fitted


def _reshaped(key: str, value: Tensor, own: Tensor) -> Tensor:
    """`value` in the shape of `own` where they differ in dimensions of size 1 only."""
    if key.endswith("conv_block1.conv.weight") and own.shape[1] == 1 and value.dim() == 4:
        value = value.sum(dim=1, keepdim=True)

    def core(tensor: Tensor) -> tuple:
        kernel = tuple(size for size in tensor.shape[2:] if size != 1)
        return tuple(tensor.shape[:2]) + kernel

    same = own.dim() >= 2 and value.dim() >= 2 and core(value) == core(own)
    return value.reshape(own.shape) if same else value


def _fault(key: str, raw: Tensor, value: Tensor, own: Tensor) -> str | None:
    if not raw.is_floating_point():
        kind = str(raw.dtype).removeprefix("torch.")
        return f"key {key} must hold floating-point numbers, not {kind}"
    if value.shape != own.shape:
        return f"key {key} must have shape {tuple(own.shape)}, not {tuple(raw.shape)}"
    bad = int((~torch.isfinite(raw)).sum())
    if bad:
        word = "NaN" if bool(torch.isnan(raw).any()) else "infinite"
        return f"key {key} holds {bad} of {raw.numel()} values that are not finite ({word})"
    if key.endswith("running_var") and bool((raw < 0).any()):
        return f"key {key} holds a variance below 0"
    return None
