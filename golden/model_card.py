"""The accuracy table of a model card: float and integer, by origin.

    rasca card --preset P --checkpoint FILE --weights W.safetensors --images DIR
        --labels CSV [--page FILE.md] [--json OUT]

The CSV has a column ``origin`` (`golden.make_labels` writes one). Prints the table, or puts it
between the marks of a page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from golden import files
from golden.classifier import margin
from golden.command_line import bad_input, load_network, progress_bar, refresh, writable
from golden.config import preset
from golden.data import load_table
from golden.evaluate import Answers, answers
from golden.float_model import load_checkpoint

MARK = "accuracy"


def roc_area(margins: np.ndarray, positive: np.ndarray) -> float | None:
    """Share of (positive, other) pairs in the right order of margins; equal ones count half."""
    ones, zeros = margins[positive], margins[~positive]
    if not len(ones) or not len(zeros):
        return None
    pairs = ones[:, None] - zeros[None, :]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def row(
    name: str, real: Answers, whole: Answers, labels: np.ndarray, chosen: np.ndarray, stop: int
) -> dict:
    """The figures of the `chosen` photographs (bool [N]); `stop`: whose margin the ROC is of."""
    classes = range(whole.logits.shape[1])
    margins = margin(torch.from_numpy(whole.logits), stop).numpy()
    truth, decision = labels[chosen], whole.decision[chosen]
    of_label = [
        float((decision[truth == label] == label).mean()) if (truth == label).any() else None
        for label in classes
    ]
    known = [share for share in of_label if share is not None]
    return {
        "origin": name,
        "images": [int((truth == label).sum()) for label in classes],
        "float": float((real.decision[chosen] == truth).mean()),
        "integer": float((decision == truth).mean()),
        "of_label": of_label,
        "balanced": sum(known) / len(known),
        "same": float((real.decision[chosen] == decision).mean()),
        "roc_area": roc_area(margins[chosen], truth == stop),
    }


def rows(
    origins: Sequence[str], real: Answers, whole: Answers, labels: Sequence[int], stop: int = 1
) -> list:
    """A row for each origin, those with most pictures of the rarest label first, and all."""
    names, truth = np.asarray(origins), np.asarray(labels)
    found = [row(name, real, whole, truth, names == name, stop) for name in sorted(set(origins))]
    found.sort(key=lambda one: -min(one["images"]))
    return [*found, row("all", real, whole, truth, np.ones(len(truth), dtype=bool), stop)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown; percent."""
    labels = " / ".join(map(str, range(len(found[0]["images"]))))
    lines = [
        f"| origin | pictures {labels} | float | integer | integer, label {labels} | "
        "labels balanced | same answer | area under ROC |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    ]
    for one in found:
        area = one["roc_area"]
        cells = (
            one["origin"] or "(none)",
            " / ".join(map(str, one["images"])),
            _percent(one["float"]),
            _percent(one["integer"]),
            " / ".join(map(_percent, one["of_label"])),
            _percent(one["balanced"]),
            _percent(one["same"]),
            "-" if area is None else f"{area:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    checkpoint: Annotated[Path, typer.Option(help="the float network")],
    images: Annotated[Path, typer.Option(help="folder that the CSV's files are relative to")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns file, label and origin")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    weights: Annotated[
        Path | None, typer.Option(help="its integer weights; the shipped ones, if not given")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Markdown file whose marked part gets the table")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="figures, too")] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out rows that cannot be used")] = False,
) -> None:
    """Accuracy of a network and of its integers, by origin."""
    with bad_input():
        config = preset(preset_name)
        writable(json_file)
        if page is not None:
            refresh(page, MARK, None)
        network = load_checkpoint(checkpoint, config)
        integers = load_network(
            config, kind="int", weights=weights, checkpoint=None, calibrate=None
        )
        with progress_bar("photographs") as bar:
            task = bar.add_task("checking", total=None)
            samples = load_table(
                images,
                labels,
                classes=config.classes,
                skip_bad=skip_bad,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        paths = [sample.path for sample in samples]
        real, whole = (answers(one, config, paths) for one in (network, integers))
        truth = [sample.label for sample in samples]
        found = rows([sample.origin for sample in samples], real, whole, truth, config.stop_index)
        title = (
            f"{config.name}, weights {integers.digest[:12]}, {len(samples)} photographs, percent"
        )
        text = f"{title}\n\n{table(found)}"
        if integers.early is not None:
            text += f"\n\nEarly termination by default: {integers.early}."
        if page is not None:
            refresh(page, MARK, text)
        if json_file is not None:
            content = {"preset": config.name, "weights_digest": integers.digest, "rows": found}
            files.write(json_file, json.dumps(content, indent=2) + "\n")
    typer.echo(text)
