"""What the command lines of golden/ share: errors in one line, and a network from its files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from typer.exceptions import TyperException

from golden import images as pictures
from golden.config import ModelConfig
from golden.float_model import FloatModel, load_checkpoint
from golden.quantise import default_weights, quantise
from golden.weights import Weights

BAD_INPUT, INTERRUPTED = 2, 128 + 2  # exit status, as shells have it
BUILD = Path(__file__).resolve().parent.parent / "build"
CALIBRATION_COUNT = 256  # pictures of a larger folder, evenly over its sorted names
_In, _Out = TypeVar("_In"), TypeVar("_Out")


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turn an error in what the user gave into one line and exit status 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"rasca: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(BAD_INPUT) from None


def run(main: Callable[..., None]) -> NoReturn:
    """As `typer.run`, with options that cannot be read told in one line, too."""
    app = typer.Typer(add_completion=False)
    app.command()(main)
    try:
        status = app(standalone_mode=False)
    except TyperException as error:
        note(" ".join(error.format_message().split()))
        status = BAD_INPUT
    except typer.Abort:
        status = INTERRUPTED
    raise SystemExit(status or 0)


def note(text: str) -> None:
    """A line to standard error."""
    typer.echo(f"rasca: {text}", err=True)


def writable(*paths: Path | None) -> None:
    """ValueError for an output whose folder does not exist; before the work, not after it."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path}: is a folder, not a file to write")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: no folder {path.absolute().parent} to write it to")


def refresh(page: Path, mark: str, text: str | None) -> None:
    """Put `text` between the two marks of a Markdown page; None only looks for them.

    Raises
    ------
    ValueError
        No such page, or without ``<!-- mark:begin -->`` and ``<!-- mark:end -->``.
    """
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, found, rest = old.partition(begin)
    _, also, after = rest.partition(end)
    if not found or not also:
        raise ValueError(f"{page}: must hold the lines {begin} and {end}")
    if text is not None:
        page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def check_probability(name: str, value: float | None) -> None:
    """ValueError unless None or inside 0..1."""
    if value is not None and not 0 < value < 1:
        raise ValueError(f"{name} must lie inside 0..1, not {value}")


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
    folder: str | Path | None, config: ModelConfig, count: int = CALIBRATION_COUNT
) -> Tensor:
    """Pictures to calibrate on, uint8 [B, in_channels, h, w].

    Parameters
    ----------
    folder : path or None
        All pictures in it and in its folders, or `count` of them spread evenly over their sorted
        names. None takes scikit-image's photographs.

    Raises
    ------
    ValueError
        No such folder, no picture in it, or one that cannot be read (named).
    """
    if folder is None:
        return pictures.calibration_images(config)
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in pictures.SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: no picture in it (looked for {', '.join(pictures.SUFFIXES)})")
    count = min(count, len(found))
    chosen = [found[index * len(found) // count] for index in range(count)]
    return torch.stack([pictures.load_image(path, config) for path in chosen])


def load_network(
    config: ModelConfig,
    *,
    kind: str,
    weights: Path | None,
    checkpoint: Path | None,
    calibrate: Path | None,
) -> FloatModel | Weights:
    """A float model (`kind` float) or integer weights (int), from what the user gave.

    Raises
    ------
    ValueError
        Both or neither of weights and checkpoint, a float network from integer weights, or any
        fault of the file.
    """
    if kind not in ("float", "int"):
        raise ValueError(f"model must be float or int, not {kind!r}")
    if (weights is None) == (checkpoint is None):
        raise ValueError("give either --weights or --checkpoint")
    if weights is not None:
        if kind == "float":
            raise ValueError("--model float needs --checkpoint: --weights holds integers only")
        if calibrate is not None:
            raise ValueError("--calibrate goes with --checkpoint: --weights are calibrated already")
        return Weights.load(weights, config)
    model = load_checkpoint(checkpoint, config)
    if kind == "float":
        return model
    if calibrate is None:
        note("no --calibrate: calibrated on scikit-image's photographs")
    with Console(stderr=True).status("calibrating"):
        return quantise(model, calibration_pictures(calibrate, config))


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """The pictures of a run: bytes [B, in_channels, h, w] and their names."""

    pixels: Tensor
    names: tuple[str, ...]


def load_photographs(path: str | None, model: ModelConfig, frames: int) -> Photographs:
    """The pictures of the frames in order; fewer pictures than frames begin again."""
    if path is None:
        pixels = pictures.default_images(model)
        names = [Path(name).stem for name in pictures.DEFAULT_PHOTOGRAPHS]
    elif Path(path).is_dir():
        found, pixels = pictures.load_folder(path, model)
        names = [file.name for file in found]
    else:
        pixels = pictures.load_image(path, model)[None]
        names = [Path(path).name]
    order = [index % len(names) for index in range(frames)]
    return Photographs(pixels=pixels[order], names=tuple(names[index] for index in order))


def load_weights(path: str | None, model: ModelConfig) -> Weights:
    """A weights file, or the default weights, which are kept under build/weights/."""
    if path is not None:
        return Weights.load(path, model)
    golden = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in golden)).hexdigest()
    kept = BUILD / "weights" / f"{model.digest[:12]}-{code[:12]}.safetensors"
    if kept.exists():
        with contextlib.suppress(ValueError):  # made by a run that was cut short
            return Weights.load(kept, model)
    weights = default_weights(model)
    kept.parent.mkdir(parents=True, exist_ok=True)
    weights.save(kept)
    return weights
