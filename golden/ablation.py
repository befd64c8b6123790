"""The paper's ablations, one command each, on whatever data is given.

    rasca ablation heads|loss|attention --data DATA [--preset P] [--size HxW]
        [--epochs N] [--seeds N]

Trains every variant from the same starts and on the same draws, prints a table (accuracy on the
validation part, parameters, array MACs) and writes it as ``table.md`` and ``table.json``. A small
``--size`` and several ``--seeds`` make a cheap try that also says how much of it is chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from golden import files
from golden.command_line import bad_input, note, progress_bar
from golden.config import PRESETS, ModelConfig, preset
from golden.data import load_any
from golden.train import Data, TrainConfig, fit, resized

KINDS = ("heads", "loss", "attention")


def variants(kind: str, config: ModelConfig) -> dict[str, tuple[ModelConfig, str]]:
    """Name to (network, labels of the confidence term) of one ablation.

    heads (Table 1): 1, 2, 3 heads; at 210x240 with the presets' channels, elsewhere with those
    that a head of the config has. loss: proposed, trivial, none. attention (Table 3): none,
    channel, spatial, both.

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
            found["1 head" if count == 1 else f"{count} heads"] = (network, "proposed")
        return found
    if kind == "loss":
        return {label: (config, label) for label in ("none", "trivial", "proposed")}
    if kind == "attention":
        rows = (("none", "none", False), ("channel", "none", True))
        rows += (("spatial", "full", False), ("both", "full", True))
        return {
            name: (
                replace(
                    config,
                    name=f"{config.name}_{name}",
                    spatial_attention=spatial,
                    channel_attention=channel,
                ),
                "proposed",
            )
            for name, spatial, channel in rows
        }
    raise ValueError(f"ablation must be one of {', '.join(KINDS)}, not {kind!r}")


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
    for name, (network, confidence) in variants(kind, config).items():
        found = []
        for seed in range(options.seed, options.seed + seeds):
            chosen = replace(options, confidence=confidence, seed=seed)
            place = folder / f"{name.replace(' ', '_')}_{seed}"
            for result in fit(network, data, chosen, place):
                tell(
                    f"{name}, seed {seed}: epoch {result.epoch} of {options.epochs}, "
                    f"loss {result.loss:.4f}"
                )
            found.append(result.validation["all"])
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
                epochs=options.epochs,
                seeds=seeds,
            )
        )
    files.write(folder / "table.json", json.dumps(rows, indent=2) + "\n")
    files.write(folder / "table.md", table(kind, rows))
    return rows


def table(kind: str, rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [f"| {kind} | accuracy | labels balanced | least-largest | parameters | array MACs |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        low, high = row["balanced_range"]
        lines.append(
            f"| {row['variant']} | {row['accuracy']:.1%} | {row['balanced']:.1%} | "
            f"{low:.1%}-{high:.1%} | {row['parameters']:,} | {row['array_macs']:,} |"
        )
    return "\n".join(lines) + "\n"


def main(
    kind: Annotated[str, typer.Argument(help="heads, loss or attention")],
    data: Annotated[str, typer.Option(help="folder with labels.csv, VOC, COCO .json, .csv")],
    images: Annotated[str | None, typer.Option(help="pictures of a .json or .csv")] = None,
    preset_name: Annotated[str, typer.Option("--preset")] = "vww_105x120",
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH instead of the preset's")] = None,
    epochs: Annotated[int, typer.Option()] = 10,
    batch: Annotated[int, typer.Option()] = 64,
    seed: Annotated[int, typer.Option(help="the first one")] = 0,
    seeds: Annotated[int, typer.Option(help="runs of each variant")] = 1,
    held: Annotated[float, typer.Option("--held-out", help="validation part")] = 0.2,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="folder")] = None,
    rule: Annotated[str, typer.Option(help="of COCO's labels: box or area")] = "box",
    skip_bad: Annotated[bool, typer.Option("--skip-bad")] = False,
) -> None:
    """Trains the variants of one ablation and prints a table."""
    with bad_input(), ExitStack() as own:
        config = resized(preset(preset_name), size)
        variants(kind, config)  # before the pictures are read
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1, not {seeds}")
        options = TrainConfig(epochs=epochs, batch=batch, seed=seed, held_out=held)
        folder = Path("build/train/ablation") / kind if output is None else output
        own.enter_context(files.claimed(folder))
        with progress_bar("pictures") as bar:
            task = bar.add_task("reading", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            samples = load_any(data, images, rule=rule, skip_bad=skip_bad, progress=tell)
            read = Data.read(samples, config, held, progress=tell)
        if not bool(read.held_out.any()):
            raise ValueError("too few pictures: the validation part is empty")
        typer.echo(table(kind, run(kind, config, read, options, folder, seeds)), nl=False)
