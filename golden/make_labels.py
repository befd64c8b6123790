"""A labels CSV of a data set, or of its training or validation part.

    rasca labels DATA [--images DIR] [--split S] [--origin O] [--part validation
        --held-out 0.05 --held-out-of coco=0.2] [--links NEW_DIR] [--preset P] -o labels.csv

DATA is what `golden.train` takes. The CSV (columns ``file,label,origin``, the largest person box's
part of the picture, where it is known, and ``rule``, which made the labels) is for
`golden.evaluate`, `golden.fidelity` and `golden.early_termination`, or to train on: with the same
``--held-out`` options its validation part is the one that training left out.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from golden import files
from golden.command_line import bad_input, progress_bar, writable
from golden.config import TWO_CLASSES, preset
from golden.data import held_out, load_any, read_shares, rule_of, tell_unknown

PARTS = ("all", "training", "validation")


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="as for golden.train")],
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file to write")],
    images: Annotated[str | None, typer.Option(help="pictures of a .json or .csv")] = None,
    split: Annotated[str, typer.Option(help="of Pascal VOC")] = "trainval",
    origin: Annotated[list[str] | None, typer.Option(help="only these, any number")] = None,
    part: Annotated[str, typer.Option(help=", ".join(PARTS))] = "all",
    held: Annotated[float, typer.Option("--held-out", help="validation part")] = 0.1,
    held_of: Annotated[
        list[str] | None, typer.Option("--held-out-of", help="ORIGIN=part, any number")
    ] = None,
    preset_name: Annotated[
        str | None, typer.Option("--preset", help="network whose classes the labels are of")
    ] = None,
    links: Annotated[
        Path | None, typer.Option(help="new folder of links to the pictures, for --calibrate")
    ] = None,
    rule: Annotated[str, typer.Option(help="of COCO's labels: box or area")] = "box",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out pictures that cannot be read")
    ] = False,
) -> None:
    """Writes a labels CSV."""
    with bad_input():
        if part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, not {part!r}")
        writable(output, links)
        classes = TWO_CLASSES if preset_name is None else preset(preset_name).classes
        if not 0 <= held < 1:
            raise ValueError(f"held_out must be 0 to below 1, not {held}")
        shares = read_shares(held_of or [], held)
        with progress_bar("pictures") as bar:
            task = bar.add_task("checking", total=None)
            samples = load_any(
                data,
                images,
                split=split,
                rule=rule,
                classes=classes,
                skip_bad=skip_bad,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        tell_unknown(shares, samples)
        said = rule_of(data, rule)
        chosen = held_out(samples, shares).tolist()
        kept = [
            sample
            for sample, out in zip(samples, chosen, strict=True)
            if part == "all" or out == (part == "validation")
            if not origin or sample.origin in origin
        ]
        if not kept:
            what = f"of {', '.join(origin)}" if origin else "at all"
            raise ValueError(
                f"{data}: no picture in that part: expected some in part {part} {what}, not none"
            )
        place = Path(data)
        folder = Path(images) if images else place if place.is_dir() else place.parent
        with (
            files.writing(output) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("file", "label", "origin", "largest_person_box_fraction", "rule"))
            for sample in kept:
                name = sample.path.relative_to(folder).as_posix()
                writer.writerow((name, sample.label, sample.origin, sample.fraction, said))
        if links is not None:
            links.mkdir()
            for sample in kept:
                name = sample.path.relative_to(folder).as_posix().replace("/", "_")
                target = sample.path.resolve()
                while (links / name).is_symlink() and (links / name).resolve() != target:
                    name = f"_{name}"  # a_b.png beside a/b.png
                if not (links / name).is_symlink():  # else a row that stands there twice
                    (links / name).symlink_to(target)
    typer.echo(f"{output}: {len(kept)} of {len(samples)} pictures, files relative to {folder}")
