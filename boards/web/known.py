"""What is known here of the network and the weights that a board says it has."""

from __future__ import annotations

import zlib
from pathlib import Path

from boards.connection import weights_image
from boards.packets import Hello
from boards.web.feed import Known
from golden.command_line import load_weights
from golden.config import ModelConfig, preset
from golden.errors import one_line

MOST_MULTIPLIERS = 4096
"""Of an array whose weights image is made: a hello may say anything."""


def known(hello: Hello, model: ModelConfig, weights_file: str | Path | None) -> Known:
    """The board's weights by their digest. Takes seconds: the weights image is made for the array
    that the board has."""
    pixels, channels, lanes = hello.shape
    if hello.weights == 0:
        return Known(model=model, weights=None, text="none")
    try:
        if pixels * channels * lanes > MOST_MULTIPLIERS:
            raise ValueError(f"an array of {pixels * channels * lanes} multipliers")
        weights = load_weights(weights_file, model)
        image = weights_image(hello, model, weights)
    except (ValueError, OSError) as error:
        return Known(model=model, weights=None, text=f"cannot be compared: {one_line(error)}")
    named = "those that come with Rasca" if weights_file is None else f"those of {weights_file}"
    if zlib.crc32(image) != hello.weights:
        return Known(
            model=model,
            weights=None,
            text=f"not {named}: probabilities cannot be told (WEIGHTS=file names others)",
        )
    return Known(model=model, weights=weights, text=named)


def assumed(preset_name: str) -> Known:
    """The network of a small board, which does not say what it is."""
    return Known(model=preset(preset_name), weights=None, text="not told")
