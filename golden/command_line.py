"""What the commands share: outputs, progress, all cores, and a network from its files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from golden import files
from golden import images as pictures
from golden.config import ModelConfig
from golden.errors import bad_input, note
from golden.float_model import FloatModel, load_checkpoint
from golden.quantise import USUAL_PERCENTILE, default_weights, quantise, trained_weights
from golden.weights import Weights

__all__ = ["bad_input", "note"]
CALIBRATION_COUNT = 256  # pictures of a larger folder, evenly over its sorted names
_In, _Out = TypeVar("_In"), TypeVar("_Out")


def writable(*paths: Path | None) -> None:
    """ValueError for an output whose folder does not exist; before the work, not after it."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path}: expected a file to write, not a folder")
        if not path.absolute().parent.is_dir():
            folder = path.absolute().parent
            raise ValueError(f"{path}: expected an existing folder to write it to, not {folder}")


def refresh(page: Path, mark: str, text: str | None) -> None:
    """Put `text` between the two marks of a Markdown page; None only looks for them.

    Raises
    ------
    ValueError
        No such page, or without ``<!-- mark:begin -->`` and ``<!-- mark:end -->``.
    """
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    new = files.between(page, old, mark, text or "")
    if text is not None:
        files.write(page, new)


def facts() -> Table:
    """A table of names and values without a head; long values (digests) go on in the next line."""
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def check_probability(name: str, value: float | None) -> None:
    """ValueError unless None or inside 0..1."""
    if value is not None and not 0 < value < 1:
        raise ValueError(f"{name} must lie inside 0..1, not {value}")


STORED = "default"
"""What stands for the threshold that comes with the weights, where a probability is asked for."""


def read_probability(name: str, text: str | None) -> float | str | None:
    """A probability, `STORED`, or None where nothing is given.

    Raises
    ------
    ValueError
        No number, or not inside 0..1.
    """
    if text is None or text == STORED:
        return text
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"expected a number for --{name} or {STORED}, not {text!r}") from None
    check_probability(name, value)
    return value


def stored_or(name: str, value: float | str | None, network: FloatModel | Weights) -> float | None:
    """`value`, or in place of `STORED` the threshold (tau or skip) that comes with the weights.

    Raises
    ------
    ValueError
        None comes with them.
    """
    if value != STORED:
        return value
    early = network.early if isinstance(network, Weights) else None
    if early is None:
        raise ValueError(
            f"--{name} {STORED}: expected weights with thresholds, not these, which have none; "
            "make early-termination STORE=1 chooses and stores some"
        )
    return getattr(early, name)


def progress_bar(unit: str) -> Progress:
    """A bar with count and time left on standard error, if that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def in_parallel(
    function: Callable[[_In], _Out], work: Sequence[_In], sizes: Iterable[int], what: str, unit: str
) -> list[_Out]:
    """``[function(item) for item in work]`` on all cores, with progress.

    Each call computes in one thread, and as many calls run at once as there are cores: matrices of
    this size are too small to be shared by threads (two threads on one batch are slower than one).

    Parameters
    ----------
    sizes : iterable of int
        Units of each item, for the progress.
    what, unit : str
        Words for the progress.
    """
    sizes = list(sizes)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    results: list[_Out] = []
    try:
        with progress_bar(unit) as bar, ThreadPoolExecutor(cores()) as pool:
            total, done, told = sum(sizes), 0, 0
            task = bar.add_task(what, total=total)
            for result, size in zip(pool.map(function, work), sizes, strict=True):
                results.append(result)
                bar.advance(task, size)
                done += size
                if not bar.console.is_terminal and done >= told + total / 10:  # a log, say
                    told = done
                    note(f"{what}: {done} of {total} {unit}")
    finally:
        torch.set_num_threads(before)
    return results


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def calibration_pictures(
    folder: str | Path | None,
    config: ModelConfig,
    count: int = CALIBRATION_COUNT,
    *,
    skip_bad: bool = False,
) -> Tensor:
    """Pictures to calibrate on, uint8 [B, in_channels, h, w].

    Parameters
    ----------
    folder : path or None
        All pictures in it and in its folders, or `count` of them spread evenly over their sorted
        names. None takes scikit-image's photographs.
    skip_bad : bool
        Leave pictures out that cannot be read, with a note, instead of refusing the folder.

    Raises
    ------
    ValueError
        No such folder, no picture in it, or one that cannot be read (named).
    """
    if folder is None:
        return pictures.calibration_images(config)
    found = pictures.list_images(folder, deep=True)
    count = min(count, len(found))
    chosen = [found[index * len(found) // count] for index in range(count)]
    if skip_bad:
        chosen = pictures.usable(chosen, skip_bad=True, tell=note)
    return pictures.load_images(chosen, config)


def load_network(
    config: ModelConfig,
    *,
    kind: str,
    weights: Path | None,
    checkpoint: Path | None,
    calibrate: Path | None,
    skip_bad: bool = False,
) -> FloatModel | Weights:
    """A float model (`kind` float) or integer weights (int), from what the user gave.

    Without weights and checkpoint: the integer weights that come with the network. skip_bad: as
    for `calibration_pictures`.

    Raises
    ------
    ValueError
        Both of weights and checkpoint, neither where no weights come with the network, a float
        network from integer weights, or any fault of the file.
    """
    if kind not in ("float", "int"):
        raise ValueError(f"model must be float or int, not {kind!r}")
    if weights is not None and checkpoint is not None:
        raise ValueError("expected --weights or --checkpoint, not both")
    if weights is not None:
        if kind == "float":
            raise ValueError(
                "--model float needs --checkpoint: expected floats, not --weights, which "
                "holds integers"
            )
        if calibrate is not None:
            raise ValueError(
                "--calibrate goes with --checkpoint: expected one, not --weights, which are "
                "calibrated already"
            )
        return load_weights(weights, config)
    if checkpoint is None:
        shipped = None if kind == "float" or calibrate is not None else trained_weights(config)
        if shipped is not None:
            return shipped
        if kind == "float":
            raise ValueError(
                "--model float needs --checkpoint: expected one, not nothing; the shipped "
                "weights are integers"
            )
        if calibrate is not None:
            raise ValueError("--calibrate goes with --checkpoint: expected one, not nothing")
        raise ValueError(
            f"no trained weights come with {config.name}: expected --weights or --checkpoint, "
            "not nothing"
        )
    model = load_checkpoint(checkpoint, config)
    if kind == "float":
        return model
    if calibrate is None:
        note("no --calibrate: calibrated on scikit-image's photographs")
    with Console(stderr=True).status("calibrating"):
        seen = calibration_pictures(calibrate, config, skip_bad=skip_bad)
        return quantise(model, seen, percentile=USUAL_PERCENTILE)


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """The pictures of a run: bytes [B, in_channels, h, w] and their names."""

    pixels: Tensor
    names: tuple[str, ...]


def load_photographs(
    path: str | None, model: ModelConfig, frames: int, skip_bad: bool = False
) -> Photographs:
    """The pictures of the frames in order; fewer pictures than frames begin again.

    skip_bad: leave files of a folder out that cannot be read, with a note.
    """
    if path is None:
        pixels = pictures.default_images(model)
        names = [Path(name).stem for name in pictures.DEFAULT_PHOTOGRAPHS]
    elif Path(path).is_dir():
        found, pixels = pictures.load_folder(
            path, model, count=frames, skip_bad=skip_bad, tell=note
        )
        names = [file.name for file in found]
    else:
        pixels = pictures.load_image(path, model)[None]
        names = [Path(path).name]
    order = [index % len(names) for index in range(frames)]
    return Photographs(pixels=pixels[order], names=tuple(names[index] for index in order))


def load_weights(path: str | Path | None, model: ModelConfig) -> Weights:
    """A weights file, or the default weights; random ones are kept under build/weights/.

    Says so on standard error if nobody trained them.
    """
    weights = Weights.load(path, model) if path is not None else trained_weights(model)
    if weights is None:
        weights = _random(model)
    if weights.warning:
        note(weights.warning)
    return weights


def _random(model: ModelConfig) -> Weights:
    golden = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in golden)).hexdigest()
    kept = files.BUILD / "weights" / f"{model.digest[:12]}-{code[:12]}.safetensors"
    if kept.exists():
        with contextlib.suppress(ValueError):  # made by a run that was cut short
            return Weights.load(kept, model)
    weights = default_weights(model)
    kept.parent.mkdir(parents=True, exist_ok=True)
    weights.save(kept)
    return weights
