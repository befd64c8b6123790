"""The paper's ablations and the learning curve, one command each, on whatever data is given.

    rasca ablation heads|loss|attention|boxes|pictures|epochs --data DATA [--preset P] [--size HxW]
        [--epochs N] [--seeds N]

Trains every variant from the same starts and on the same draws (pictures: as many draws), prints a
table (accuracy on the validation part, parameters, array MACs) and writes it as ``table.md`` and
``table.json``. A small ``--size`` and several ``--seeds`` make a cheap try that also says how much
of it is chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer

from golden import files
from golden.boxes import check_persons
from golden.command_line import bad_input, note, progress_bar
from golden.config import PRESETS, ModelConfig, preset, resized
from golden.data import load_any
from golden.train import Data, TrainConfig, fit

KINDS = ("heads", "loss", "attention", "boxes", "pictures", "epochs")
_SHARES = {"a quarter": 4, "a half": 2, "all": 1}


class Variant(NamedTuple):
    """What one line of a table trains.

    network : ModelConfig
    confidence : str, labels of the confidence term.
    pictures : int, one picture of so many of the training part is used.
    rounds : int, the epochs are divided by it.
    """

    network: ModelConfig
    confidence: str = "proposed"
    pictures: int = 1
    rounds: int = 1


def variants(kind: str, config: ModelConfig) -> dict[str, Variant]:
    """Name to what is trained, of one ablation.

    heads (Table 1): 1, 2, 3 heads; at 210x240 with the presets' channels, elsewhere with those
    that a head of the config has. loss: proposed, trivial, none. attention (Table 3): none,
    channel, spatial, both. boxes: labels of the row groups proposed or from boxes. pictures: a
    quarter, a half, all of the training part, with as many draws. epochs: a quarter, a half, all
    of them, each with a whole schedule.

    Raises
    ------
    ValueError
        Another kind.
    """
    if kind == "heads":
        found = {}
        for count in (1, 2, 3):
            label = f"{config.name}_h{count}"
            network = PRESETS.get(label, replace(config, name=label, heads=count))
            found["1 head" if count == 1 else f"{count} heads"] = Variant(network)
        return found
    if kind in ("loss", "boxes"):
        labels = ("none", "trivial", "proposed") if kind == "loss" else ("proposed", "boxes")
        return {label: Variant(config, label) for label in labels}
    if kind == "attention":
        rows = (("none", "none", False), ("channel", "none", True))
        rows += (("spatial", "full", False), ("both", "full", True))
        return {
            name: Variant(
                replace(
                    config,
                    name=f"{config.name}_{name}",
                    spatial_attention=spatial,
                    channel_attention=channel,
                )
            )
            for name, spatial, channel in rows
        }
    if kind == "pictures":
        return {name: Variant(config, pictures=part) for name, part in _SHARES.items()}
    if kind == "epochs":
        return {name: Variant(config, rounds=part) for name, part in _SHARES.items()}
    raise ValueError(f"ablation must be one of {', '.join(KINDS)}, not {kind!r}")


def part_of(data: Data, one_of: int) -> Data:
    """One picture of so many of each (origin, label) cell of the training part, and the whole
    validation part. A quarter lies in the half.
    """
    if one_of == 1:
        return data
    seen: dict[tuple[str, int], int] = {}
    kept = []
    for index, (sample, out) in enumerate(zip(data.samples, data.held_out.tolist(), strict=True)):
        if not out:
            cell = (sample.origin, sample.label)
            seen[cell] = seen.get(cell, -1) + 1
        if out or seen[cell] % one_of == 0:
            kept.append(index)
    places = torch.tensor(kept)
    return Data(
        [data.samples[index] for index in kept],
        data.larger[places],
        data.exact[places],
        data.held_out[places],
    )


def run(
    kind: str,
    config: ModelConfig,
    data: Data,
    options: TrainConfig,
    folder: Path,
    seeds: int = 1,
    tell: Callable[[str], None] = note,
) -> list[dict]:
    """Train all variants; one row each, also written to `folder`.

    Parameters
    ----------
    seeds : int
        >= 1: runs of each variant, from ``options.seed`` on; the figures are means over them, and
        ``balanced_range`` has the least and the largest.
    """
    rows = []
    for name, variant in variants(kind, config).items():
        network, found, losses = variant.network, [], []
        # An epoch of fewer pictures has fewer draws, so there are more of them.
        epochs = max(1, options.epochs * variant.pictures // variant.rounds)
        used = part_of(data, variant.pictures)
        for seed in range(options.seed, options.seed + seeds):
            chosen = replace(options, confidence=variant.confidence, epochs=epochs, seed=seed)
            place = folder / f"{name.replace(' ', '_')}_{seed}"
            for result in fit(network, used, chosen, place):
                tell(
                    f"{name}, seed {seed}: epoch {result.epoch} of {epochs}, loss {result.loss:.4f}"
                )
            found.append(result.validation["all"])
            losses.append(result.classification)
        balanced = [one["balanced"] for one in found]
        rows.append(
            dict(
                variant=name,
                accuracy=sum(one["accuracy"] for one in found) / seeds,
                balanced=sum(balanced) / seeds,
                balanced_range=[min(balanced), max(balanced)],
                parameters=network.parameters,
                array_macs=network.array_macs_frame,
                images=found[0]["images"],
                epochs=epochs,
                seeds=seeds,
                trained_on=int((~used.held_out).sum()),
                loss=sum(losses) / seeds,
            )
        )
    files.write(folder / "table.json", json.dumps(rows, indent=2) + "\n")
    files.write(folder / "table.md", table(kind, rows))
    return rows


def table(kind: str, rows: list[dict]) -> str:
    """The rows as Markdown."""
    curve = kind in ("pictures", "epochs")
    last = ("pictures", "epochs", "cross-entropy") if curve else ("parameters", "array MACs")
    lines = [f"| {kind} | accuracy | labels balanced | least-largest | {' | '.join(last)} |"]
    lines.append("|---|---:|---:|---:|" + "---:|" * len(last))
    for row in rows:
        low, high = row["balanced_range"]
        if curve:
            more = f"{row['trained_on']:,} | {row['epochs']} | {row['loss']:.3f}"
        else:
            more = f"{row['parameters']:,} | {row['array_macs']:,}"
        lines.append(
            f"| {row['variant']} | {row['accuracy']:.1%} | {row['balanced']:.1%} | "
            f"{low:.1%}-{high:.1%} | {more} |"
        )
    return "\n".join(lines) + "\n"


def main(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS))],
    data: Annotated[str, typer.Option(help="folder with labels.csv, VOC, COCO .json, .csv")],
    images: Annotated[str | None, typer.Option(help="pictures of a .json or .csv")] = None,
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH instead of the preset's")] = None,
    epochs: Annotated[int, typer.Option(help="of each training")] = 10,
    batch: Annotated[int, typer.Option(help="pictures of a step")] = 64,
    seed: Annotated[int, typer.Option(help="the first one")] = 0,
    seeds: Annotated[int, typer.Option(help="runs of each variant")] = 1,
    held: Annotated[float, typer.Option("--held-out", help="validation part")] = 0.2,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="folder")] = None,
    rule: Annotated[str, typer.Option(help="of COCO's labels: box or area")] = "box",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out pictures that cannot be read")
    ] = False,
) -> None:
    """Trains the variants of one ablation and prints a table."""
    with bad_input(), ExitStack() as own:
        config = resized(preset(preset_name), size)
        variants(kind, config)  # before the pictures are read
        if kind == "boxes":
            check_persons(config.classes, "the ablation boxes")
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {seeds}")
        options = TrainConfig(epochs=epochs, batch=batch, seed=seed, held_out=held)
        folder = Path("build/train/ablation") / kind if output is None else output
        own.enter_context(files.claimed(folder))
        with progress_bar("pictures") as bar:
            task = bar.add_task("reading", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            samples = load_any(
                data,
                images,
                rule=rule,
                classes=config.classes,
                skip_bad=skip_bad,
                progress=tell,
            )
            read = Data.read(samples, config, held, progress=tell)
        if not bool(read.held_out.any()):
            raise ValueError("too few pictures: the validation part is empty")
        if kind == "boxes" and all(sample.persons is None for sample in samples):
            raise ValueError(f"{data}: expected person boxes for the ablation boxes, not none")
        typer.echo(table(kind, run(kind, config, read, options, folder, seeds)), nl=False)
