"""The paper's ablations, one command each, on whatever data is given.

    python -m golden.ablation heads|loss|attention --data DATA [--preset P] [--epochs N]

Trains every variant from the same start and on the same draws, prints a table (accuracy on the
validation part, parameters, array MACs) and writes it as ``table.md`` and ``table.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from golden.command_line import bad_input, note
from golden.config import PRESETS, ModelConfig, preset
from golden.data import load_any
from golden.train import Data, TrainConfig, fit

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
    tell: Callable[[str], None] = note,
) -> list[dict]:
    """Train all variants; one row each, also written to `folder`."""
    rows = []
    for name, (network, confidence) in variants(kind, config).items():
        chosen = replace(options, confidence=confidence)
        place = folder / name.replace(" ", "_")
        for result in fit(network, data, chosen, place):
            tell(f"{name}: epoch {result.epoch} of {options.epochs}, loss {result.loss:.4f}")
        last = result.validation["all"]
        rows.append(
            dict(
                variant=name,
                accuracy=last["accuracy"],
                balanced=last["balanced"],
                parameters=network.parameters,
                array_macs=network.array_macs_frame,
                images=last["images"],
                epochs=options.epochs,
            )
        )
    (folder / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    (folder / "table.md").write_text(table(kind, rows))
    return rows


def table(kind: str, rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [f"| {kind} | accuracy | labels balanced | parameters | array MACs |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        lines.append(
            f"| {row['variant']} | {row['accuracy']:.1%} | {row['balanced']:.1%} | "
            f"{row['parameters']:,} | {row['array_macs']:,} |"
        )
    return "\n".join(lines) + "\n"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    kind: Annotated[str, typer.Argument(help="heads, loss or attention")],
    data: Annotated[str, typer.Option(help="folder with labels.csv, VOC, or COCO .json")],
    images: Annotated[str | None, typer.Option(help="pictures of a COCO .json")] = None,
    preset_name: Annotated[str, typer.Option("--preset")] = "vww_105x120",
    epochs: Annotated[int, typer.Option()] = 10,
    batch: Annotated[int, typer.Option()] = 64,
    seed: Annotated[int, typer.Option()] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="folder")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad")] = False,
) -> None:
    """Trains the variants of one ablation and prints a table."""
    with bad_input():
        config = preset(preset_name)
        variants(kind, config)  # before the pictures are read
        options = TrainConfig(epochs=epochs, batch=batch, seed=seed, held_out=0.2)
        folder = Path("build/train/ablation") / kind if output is None else output
        folder.mkdir(parents=True, exist_ok=True)
        read = Data.read(load_any(data, images, skip_bad=skip_bad), config, options.held_out)
        if not bool(read.held_out.any()):
            raise ValueError("too few pictures: the validation part is empty")
        typer.echo(table(kind, run(kind, config, read, options, folder)), nl=False)


if __name__ == "__main__":
    sys.exit(app())
