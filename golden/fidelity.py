"""How near the integer model comes to the float one, for several ways to calibrate.

    rasca fidelity --preset P --checkpoint FILE --calibrate DIR --images DIR
        --labels CSV [--draws 3 [--count 96] [--seed 0]] [--json OUT]

With --draws: so many random draws of calibration pictures, calibrated as `make import` does, and
whether each one keeps `LIMITS`; exit status 1 if one does not. Else prints a line for each way to
scale the weights (per output channel or per layer), to choose the ranges of the maps and to round
the weights; "error" is that of the logits' differences (`Distance.error`).
docs/quantisation.md has what this found and what was chosen.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from golden import files
from golden.classifier import margin
from golden.command_line import CALIBRATION_COUNT, bad_input, calibration_pictures, note, writable
from golden.config import ModelConfig, preset
from golden.errors import DIFFERENT
from golden.evaluate import Answers, answers, load_labels, scores
from golden.float_model import FloatModel, load_checkpoint
from golden.images import list_images, load_images, usable
from golden.quantise import USUAL_PERCENTILE, quantise
from golden.weights import Weights

_RANGES: dict[str, dict[str, Any]] = {
    "maximum": {"percentile": 100.0},
    "percentile 99.999": {"percentile": 99.999},
    "percentile 99.99": {"percentile": 99.99},
    "percentile 99.9": {"percentile": 99.9},
    "least square error": {"least_error": True},
}
WAYS: dict[tuple[str, str, str], dict[str, Any]] = {
    (scale, name, word): {**way, "together": word == "together", "per_channel": scale == "channel"}
    for scale in ("layer", "channel")
    for word in ("nearest", "together")
    for name, way in _RANGES.items()
}
NAMES = ("weight_scale", "ranges", "rounding")
HEAD = (
    "| a weight scale per | ranges of the maps | weights rounded | same answer | accuracy | "
    "less float's | error |\n|---|---|---|---:|---:|---:|---:|"
)


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Integer answers beside float ones.

    Attributes
    ----------
    same : float
        Share of photographs with the same answer.
    accuracy : float
        Of the integer model.
    gain : float
        Its accuracy less the float model's.
    error : float or None
        Root mean square of the error of the logits less the first one, over the float ones'
        deviation; None where these have none (one photograph).
    """

    same: float
    accuracy: float
    gain: float
    error: float | None


def distance(found: Answers, wanted: Answers, labels: list[int]) -> Distance:
    """The integer model's answers (`found`) beside the float model's (`wanted`)."""
    accuracy = scores(found.decision, labels)["accuracy"]
    real, whole = (one.logits[:, 1:] - one.logits[:, :1] for one in (wanted, found))
    deviation = float(real.std())
    return Distance(
        same=float((found.decision == wanted.decision).mean()),
        accuracy=accuracy,
        gain=accuracy - scores(wanted.decision, labels)["accuracy"],
        error=float(np.sqrt(((real - whole) ** 2).mean()) / deviation) if deviation else None,
    )


LIMITS = {"same": 0.99, "gain": 0.005, "shift": 0.03}
"""Least share of equal answers; most that the accuracy and the mean of the margin may change."""
DRAW_HEAD = (
    "| draw | same answer | accuracy | less float's | mean shift | deviation | kept |\n"
    "|---:|---:|---:|---:|---:|---:|---|"
)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Integer answers beside float ones, of one draw of calibration pictures.

    Attributes
    ----------
    same, accuracy, gain : float
        As in `Distance`.
    shift, deviation : float
        Mean and deviation of the stop class's margin less the float one's.
    """

    same: float
    accuracy: float
    gain: float
    shift: float
    deviation: float

    @property
    def kept(self) -> bool:
        """Within `LIMITS`."""
        close = 1e-9  # half a point of 200 photographs is one photograph, whatever is rounded
        near = abs(self.gain) <= LIMITS["gain"] + close and abs(self.shift) <= LIMITS["shift"]
        return self.same >= LIMITS["same"] - close and near

    @classmethod
    def of(cls, found: Answers, wanted: Answers, labels: list[int], stop: int) -> Draw:
        """Of the integer model's answers (`found`) and the float model's."""
        near = distance(found, wanted, labels)
        whole, real = (
            margin(torch.from_numpy(one.logits), stop).numpy() for one in (found, wanted)
        )
        return cls(
            same=near.same,
            accuracy=near.accuracy,
            gain=near.gain,
            shift=float((whole - real).mean()),
            deviation=float((whole - real).std()),
        )


def drawn(
    folder: Path, config: ModelConfig, count: int, seed: int, *, skip_bad: bool = False
) -> Tensor:
    """So many pictures of a folder by chance, uint8 [count, in_channels, h, w]."""
    found = list_images(folder, deep=True)
    if len(found) < count:
        raise ValueError(f"{folder}: expected at least {count} pictures, not {len(found)}")
    generator = torch.Generator().manual_seed(seed)
    chosen = [found[index] for index in torch.randperm(len(found), generator=generator)[:count]]
    return load_images(usable(chosen, skip_bad=skip_bad, tell=note), config)


def main(
    checkpoint: Annotated[Path, typer.Option(help="float checkpoint")],
    calibrate: Annotated[Path, typer.Option(help="folder of pictures to calibrate on")],
    images: Annotated[Path, typer.Option(help="folder that the CSV's files are relative to")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns file and label")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    count: Annotated[int, typer.Option(help="pictures to calibrate on")] = CALIBRATION_COUNT,
    draws: Annotated[
        int, typer.Option(help="random draws of --count pictures instead of ways to calibrate")
    ] = 0,
    seed: Annotated[int, typer.Option(help="of the first draw")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="figures, too")] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out rows that cannot be used")] = False,
) -> None:
    """Compares ways to calibrate, or draws of the pictures that are calibrated on."""
    kept = True
    with bad_input():
        config = preset(preset_name)
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        if draws < 0:
            raise ValueError(f"draws must be at least 0, not {draws}")
        writable(json_file)
        model = load_checkpoint(checkpoint, config)
        labelled = load_labels(labels, images, skip_bad, config.classes)
        if draws:
            sets = [
                drawn(calibrate, config, count, seed + number, skip_bad=skip_bad)
                for number in range(draws)
            ]
        else:
            sets = [calibration_pictures(calibrate, config, count, skip_bad=skip_bad)]
        wanted = answers(model, config, labelled.paths)
        accuracy = 100 * scores(wanted.decision, labelled.labels)["accuracy"]
        print(
            f"{config.name}, {checkpoint.name}: float accuracy {accuracy:.2f} % on "
            f"{len(labelled)} photographs; calibrated on {len(sets[0])}\n\n"
            f"{DRAW_HEAD if draws else HEAD}",
            flush=True,
        )
        figures: dict[str, Any] = {
            "preset": config.name,
            "checkpoint": checkpoint.name,
            "images": len(labelled),
            "float_accuracy": accuracy / 100,
            "ways": [],
        }
        if draws:
            figures["draws"] = []
        for number, pictures in enumerate(sets[:draws]):
            whole = answers(
                _quantised(model, pictures, percentile=USUAL_PERCENTILE), config, labelled.paths
            )
            one = Draw.of(whole, wanted, labelled.labels, config.stop_index)
            cells = (
                f"{seed + number}",
                f"{100 * one.same:.2f} %",
                f"{100 * one.accuracy:.2f} %",
                f"{100 * one.gain:+.2f}",
                f"{one.shift:+.3f}",
                f"{one.deviation:.3f}",
                "yes" if one.kept else "no",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            figures["draws"].append({"seed": seed + number, **asdict(one), "kept": one.kept})
            kept &= one.kept
        for names, way in () if draws else WAYS.items():
            weights = _quantised(model, sets[0], **way)
            found = distance(answers(weights, config, labelled.paths), wanted, labelled.labels)
            cells = (
                *names,
                f"{100 * found.same:.2f} %",
                f"{100 * found.accuracy:.2f} %",
                f"{100 * found.gain:+.2f}",
                "-" if found.error is None else f"{100 * found.error:.2f} %",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            figures["ways"].append(dict(zip(NAMES, names, strict=True)) | asdict(found))
        if json_file is not None:
            files.write(json_file, json.dumps(figures, indent=2) + "\n")
    if not kept:
        note(
            f"expected in every draw at least {100 * LIMITS['same']:g} % the same answer, the "
            f"accuracy within {100 * LIMITS['gain']:g} points, the mean within {LIMITS['shift']:g}"
        )
        raise typer.Exit(DIFFERENT)


def _quantised(model: FloatModel, pictures: Tensor, **way: Any) -> Weights:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return quantise(model, pictures, **way)
