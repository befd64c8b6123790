"""Soft answers of float networks for another one to learn (Hinton et al., 2015).

A teacher sees each whole picture once, at its own size, before the training; of several the mean of
their logits counts. The probabilities are kept. So they cost one evaluation each, however many
epochs follow, and a view whose label is another than the picture's does not learn them
(`golden.loss.soft_labels`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from golden.checkpoint import fit_state_dict, read_state_dict
from golden.config import PRESETS, ModelConfig
from golden.data import Sample, read_pictures
from golden.errors import missing
from golden.float_model import FloatModel

_AT_ONCE = 64


def digest_of(path: Path) -> str:
    """Twelve digits of a file's SHA-256; ValueError if there is none."""
    if not path.is_file():
        raise ValueError(missing(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def load_teacher(path: Path, student: ModelConfig) -> FloatModel:
    """The float network of a checkpoint, in eval mode, whichever network it is of.

    Parameters
    ----------
    student : ModelConfig
        Its classes are the teacher's, too. A network of colours teaches one of grey pictures.

    Raises
    ------
    ValueError
        One line with the path: no readable checkpoint, or of no preset and not of `student`.
    """
    found = read_state_dict(path)
    known = [student, *reversed([one for one in PRESETS.values() if _suits(one, student)])]
    # the weights do not tell the size: the largest; those of colours would fit a grey one, summed
    known.sort(key=lambda one: (-one.in_channels, -one.image_height))
    faults = {}
    for config in known:
        model = FloatModel(replace(config, classes=student.classes, stop_class=student.stop_class))
        try:
            model.load_state_dict(fit_state_dict(found, model.state_dict(), str(path)))
        except ValueError as error:
            faults[config.name] = str(error)
            continue
        return model.eval().requires_grad_(False)
    raise ValueError(
        f"{path}: expected a float checkpoint of {student.name} or of a preset, not this one: "
        f"{faults[student.name].removeprefix(f'{path}: ')}"
    )


def _suits(config: ModelConfig, student: ModelConfig) -> bool:
    return config.in_channels >= student.in_channels


@torch.no_grad()
def teach(
    teachers: Sequence[FloatModel],
    samples: Sequence[Sample],
    device: torch.device,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Probabilities of the classes, [N, K] on the CPU, by the last row group of each picture.

    Parameters
    ----------
    teachers : sequence of FloatModel
        At least one; of several their logits' mean.
    device : torch.device
        Where they compute.
    cache, progress
        As in `golden.data.read_pictures`.
    """
    logits = []
    for teacher in teachers:
        pictures = read_pictures(samples, teacher.config, cache, progress)
        teacher = teacher.to(device)
        parts = [
            teacher(part.to(device)).logits[:, -1].float().cpu()
            for part in pictures.split(_AT_ONCE)
        ]
        logits.append(torch.cat(parts))
    return torch.stack(logits).mean(dim=0).softmax(dim=1)
