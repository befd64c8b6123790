"""How near the integer model comes to the float one, for several ways to calibrate.

    rasca fidelity --preset P --checkpoint FILE --calibrate DIR --images DIR
        --labels CSV [--json OUT]

Prints a line for each way to scale the weights (per output channel or per layer), to choose the
ranges of the maps and to round the weights; "error" is that of the logits' differences
(`Distance.error`).
docs/quantisation.md has what this found and what was chosen.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from golden import files
from golden.command_line import CALIBRATION_COUNT, bad_input, calibration_pictures, writable
from golden.config import preset
from golden.evaluate import Answers, answers, load_labels, scores
from golden.float_model import load_checkpoint
from golden.quantise import quantise

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
    error : float
        Root mean square of the error of the logits less the first one, over the float ones'
        deviation.
    """

    same: float
    accuracy: float
    gain: float
    error: float


def distance(found: Answers, wanted: Answers, labels: list[int]) -> Distance:
    """The integer model's answers (`found`) beside the float model's (`wanted`)."""
    accuracy = scores(found.decision, labels)["accuracy"]
    real, whole = (one.logits[:, 1:] - one.logits[:, :1] for one in (wanted, found))
    return Distance(
        same=float((found.decision == wanted.decision).mean()),
        accuracy=accuracy,
        gain=accuracy - scores(wanted.decision, labels)["accuracy"],
        error=float(np.sqrt(((real - whole) ** 2).mean()) / real.std()),
    )


def main(
    checkpoint: Annotated[Path, typer.Option(help="float checkpoint")],
    calibrate: Annotated[Path, typer.Option(help="folder of pictures to calibrate on")],
    images: Annotated[Path, typer.Option(help="folder that the CSV's files are relative to")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns file and label")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    count: Annotated[int, typer.Option(help="pictures to calibrate on")] = CALIBRATION_COUNT,
    json_file: Annotated[Path | None, typer.Option("--json", help="figures, too")] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out rows that cannot be used")] = False,
) -> None:
    """Compares ways to calibrate."""
    with bad_input():
        config = preset(preset_name)
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        writable(json_file)
        model = load_checkpoint(checkpoint, config)
        labelled = load_labels(labels, images, skip_bad, config.classes)
        pictures = calibration_pictures(calibrate, config, count, skip_bad=skip_bad)
        wanted = answers(model, config, labelled.paths)
        accuracy = 100 * scores(wanted.decision, labelled.labels)["accuracy"]
        print(
            f"{config.name}, {checkpoint.name}: float accuracy {accuracy:.2f} % on "
            f"{len(labelled)} photographs; calibrated on {len(pictures)}\n\n"
            f"{HEAD}",
            flush=True,
        )
        figures: dict[str, Any] = {
            "preset": config.name,
            "checkpoint": checkpoint.name,
            "images": len(labelled),
            "float_accuracy": accuracy / 100,
            "ways": [],
        }
        for names, way in WAYS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                weights = quantise(model, pictures, **way)
            found = distance(answers(weights, config, labelled.paths), wanted, labelled.labels)
            cells = (
                *names,
                f"{100 * found.same:.2f} %",
                f"{100 * found.accuracy:.2f} %",
                f"{100 * found.gain:+.2f}",
                f"{100 * found.error:.2f} %",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            figures["ways"].append(dict(zip(NAMES, names, strict=True)) | asdict(found))
        if json_file is not None:
            files.write(json_file, json.dumps(figures, indent=2) + "\n")
