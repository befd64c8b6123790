"""A released or self-trained checkpoint to integer weights.

    rasca import FILE --preset P --calibrate DIR -o W.safetensors

Reads the file as data only (no code of its pickle runs), checks every key, shape and value, folds
batch norm in float64, calibrates on the pictures of a folder and quantises.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from golden import files
from golden.command_line import (
    CALIBRATION_COUNT,
    bad_input,
    calibration_pictures,
    note,
    writable,
)
from golden.config import preset
from golden.evaluate import float_answers, integer_answers
from golden.float_model import load_checkpoint
from golden.model import IntegerModel
from golden.quantise import USUAL_PERCENTILE, quantise

_TRIED = 64  # pictures that are put through both models at the end


def main(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help="torch checkpoint")],
    calibrate: Annotated[Path, typer.Option(help="folder of pictures")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="safetensors file; build/PRESET.safetensors"),
    ] = None,
    count: Annotated[
        int, typer.Option(help="pictures to take of a larger folder")
    ] = CALIBRATION_COUNT,
    skip_bad: Annotated[bool, typer.Option(help="leave out pictures that cannot be read")] = False,
) -> None:
    """Imports a checkpoint as integer weights."""
    with bad_input():
        config = preset(preset_name)
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        if output is None:
            output = Path("build") / f"{config.name}.safetensors"
            files.check_folder(output.parent)
        else:
            writable(output)
        model = load_checkpoint(checkpoint, config)
        status = Console(stderr=True).status("reading pictures")
        with status, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = calibration_pictures(calibrate, config, count, skip_bad=skip_bad)
            status.update(f"calibrating on {len(images)} pictures")
            weights = quantise(model, images, percentile=USUAL_PERCENTILE)
            status.update("comparing with the float model")
            tried = images[:: max(1, len(images) // _TRIED)][:_TRIED]
            wanted = float_answers(model, tried)
            found = integer_answers(IntegerModel(config, weights), tried)
        output.parent.mkdir(exist_ok=True)
        weights.save(output)
        for warning in caught:
            if issubclass(warning.category, UserWarning):
                note(str(warning.message))
    same = int((wanted.decision == found.decision).sum())
    typer.echo(
        f"{output}: {config.name}, calibrated on {len(images)} pictures, digest "
        f"{weights.digest[:12]}; same answer as the float model on {same} of {len(tried)} of them"
    )
