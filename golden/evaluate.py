"""Accuracy of a network on labelled photographs.

    rasca evaluate --preset P (--weights W.safetensors | --checkpoint FILE
        [--calibrate DIR]) --images DIR --labels CSV --model float|int [--tau T] [--skip S]
        --json OUT [--logits OUT.csv] [--skip-bad]

The integer model here is `golden.model.IntegerModel`, the one that the RTL equals in every bit;
there is no second one for speed.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from golden import classifier, files
from golden.command_line import (
    bad_input,
    in_parallel,
    load_network,
    note,
    progress_bar,
    read_probability,
    stored_or,
    writable,
)
from golden.config import TWO_CLASSES, ModelConfig, preset
from golden.float_model import FloatModel
from golden.images import load_image
from golden.labels import Labelled, read_labels
from golden.line_buffer import split_row_groups, to_signed
from golden.model import IntegerModel
from golden.weights import Weights

BATCH = 32  # photographs that go through a network together


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said of N photographs.

    Attributes
    ----------
    logits : float64 array [N, K]
        Of the deciding row group, in real units (integers times the logit scale).
    rows_used : int64 array [N]
        Row groups worked on.
    decision : int64 array [N]
        The class, 0..K-1.
    """

    logits: np.ndarray
    rows_used: np.ndarray
    decision: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers of all batches, in order."""
        fields = ("logits", "rows_used", "decision")
        return cls(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def integer_answers(
    model: IntegerModel, images: Tensor, tau: float | None = None, skip: float | None = None
) -> Answers:
    """The integer model on uint8 [B, in_channels, h, w]; tau and skip are probabilities."""
    scale = model.weights.scales["logit"]
    result = model.run(
        images,
        stop_threshold=None if tau is None else classifier.threshold(tau, scale, up=True),
        skip_threshold=None if skip is None else classifier.threshold(skip, scale, up=False),
    )
    return Answers(
        result.logits[:, -1].double().numpy() * scale,
        result.rows_used.numpy(),
        result.decision.numpy(),
    )


@torch.no_grad()
def float_answers(
    model: FloatModel, images: Tensor, tau: float | None = None, skip: float | None = None
) -> Answers:
    """The float model, with the same rules of early termination (`IntegerModel.run`)."""
    config = model.config
    batch, groups = images.shape[0], config.row_groups
    dtype = next(model.parameters()).dtype
    pixels = to_signed(images).to(dtype)
    rows = split_row_groups(pixels, config.rows_per_group).flatten(0, 1)
    parts = [
        getattr(model, f"raster_cnn_{head}")(rows)[-1].squeeze(2).unflatten(0, (batch, groups))
        for head in range(config.heads)
    ]
    state = torch.zeros((batch, config.state_channels, config.n), dtype=dtype)
    logits = torch.zeros((batch, config.class_count), dtype=dtype)
    used = torch.zeros(batch, dtype=torch.int64)
    stopped, skip_next = (torch.zeros(batch, dtype=torch.bool) for _ in range(2))
    for t in range(groups):
        work = ~stopped & ~skip_next
        found = model._step([part[:, t] for part in parts], state)["gru.state"]
        state = torch.where(work[:, None, None], found, state)
        logits = torch.where(work[:, None], model.classify(model.pool(state)), logits)
        used += work
        margin = classifier.margin(logits, config.stop_index)
        if tau is not None:
            stopped |= work & (margin >= math.log(tau / (1 - tau)))
        skip_next = torch.zeros_like(stopped)
        if skip is not None:
            skip_next = work & ~stopped & (margin <= math.log(skip / (1 - skip)))
    decision = torch.where(stopped, config.stop_index, classifier.decide(logits))
    return Answers(logits.double().numpy(), used.numpy(), decision.numpy())


def answers(
    network: FloatModel | Weights,
    config: ModelConfig,
    paths: Sequence[Path],
    *,
    tau: float | None = None,
    skip: float | None = None,
) -> Answers:
    """A network on picture files, on all cores, with progress."""
    integer = IntegerModel(config, network) if isinstance(network, Weights) else None

    def work(part: Sequence[Path]) -> Answers:
        images = torch.stack([load_image(path, config) for path in part])
        if integer is not None:
            return integer_answers(integer, images, tau, skip)
        return float_answers(network, images, tau, skip)

    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    word = "float" if integer is None else "integer"
    found = in_parallel(work, parts, map(len, parts), f"{word} model", "photographs")
    return Answers.joined(found)


def scores(
    decision: np.ndarray, labels: Sequence[int], positive: int = 1
) -> dict[str, float | None]:
    """Accuracy; true and false positive rate of one class, None where one has no photograph."""
    truth = np.asarray(labels)
    found = decision == positive
    hits = {value: found[(truth == positive) == value] for value in (True, False)}
    rates = {value: float(hit.mean()) if len(hit) else None for value, hit in hits.items()}
    return {
        "accuracy": float((decision == truth).mean()),
        "true_positive_rate": rates[True],
        "false_positive_rate": rates[False],
    }


def report(
    found: Answers, labels: Sequence[int], config: ModelConfig, seconds: float
) -> dict[str, Any]:
    """The contents of the JSON file."""
    rows = float(found.rows_used.mean())
    return {
        "images": len(labels),
        **scores(found.decision, labels, config.stop_index),
        "mean_rows_used": rows,
        "mean_macs": rows * config.array_macs_row_group,
        "seconds": round(seconds, 3),
    }


def write_logits(path: Path, names: Sequence[str], found: Answers) -> None:
    """CSV: file, logit0, logit1, ..., rows_used."""
    with files.writing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        heads = (f"logit{label}" for label in range(found.logits.shape[1]))
        writer.writerow(("file", *heads, "rows_used"))
        for name, values, rows in zip(names, found.logits, found.rows_used, strict=True):
            writer.writerow((name, *(repr(float(value)) for value in values), int(rows)))


def load_labels(
    labels: Path, images: Path, skip_bad: bool, classes: Sequence[str] = TWO_CLASSES
) -> Labelled:
    """`read_labels` with progress; tells what was left out."""
    with progress_bar("photographs") as bar:
        task = bar.add_task("checking", total=None)
        found = read_labels(
            labels,
            images,
            classes=classes,
            skip_bad=skip_bad,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if found.bad is not None:
        note(f"{labels}: left out: {found.bad}")
    return found


def main(
    images: Annotated[Path, typer.Option(help="folder that the CSV's files are relative to")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns file and label")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    json_file: Annotated[Path | None, typer.Option("--json", help="figures, too")] = None,
    kind: Annotated[str, typer.Option("--model", help="float or int")] = "int",
    weights: Annotated[
        Path | None, typer.Option(help="integer weights; the shipped ones, if not given")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="float checkpoint")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="folder of pictures for --checkpoint with --model int")
    ] = None,
    tau_text: Annotated[
        str | None, typer.Option("--tau", help="stop at this probability, or: default")
    ] = None,
    skip_text: Annotated[
        str | None,
        typer.Option("--skip", help="skip the next row group at or below this one, or: default"),
    ] = None,
    logits: Annotated[Path | None, typer.Option(help="CSV of the logits of each file")] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out rows that cannot be used")] = False,
) -> None:
    """Measures a network on labelled photographs."""
    with bad_input():
        config = preset(preset_name)
        asked = {"tau": read_probability("tau", tau_text)}
        asked["skip"] = read_probability("skip", skip_text)
        writable(json_file, logits)
        network = load_network(
            config,
            kind=kind,
            weights=weights,
            checkpoint=checkpoint,
            calibrate=calibrate,
            skip_bad=skip_bad,
        )
        tau, skip = (stored_or(name, value, network) for name, value in asked.items())
        labelled = load_labels(labels, images, skip_bad, config.classes)
        start = time.perf_counter()
        found = answers(network, config, labelled.paths, tau=tau, skip=skip)
        seconds = time.perf_counter() - start
        figures = report(found, labelled.labels, config, seconds)
        figures["rule"] = labelled.rule
        if json_file is not None:
            files.write(json_file, json.dumps(figures, indent=2) + "\n")
        if logits is not None:
            write_logits(logits, labelled.files, found)
    typer.echo(
        f"{figures['images']} photographs, {kind} model of {config.name}: accuracy "
        f"{100 * figures['accuracy']:.2f} %, {figures['mean_rows_used']:.2f} of "
        f"{config.row_groups} row groups, {figures['images'] / seconds:.1f} photographs/s"
    )
