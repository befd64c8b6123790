"""Early termination (Sec. 3.5): accuracy and MACs saved over both thresholds.

    rasca early-termination --preset P (--weights W.safetensors | --checkpoint FILE
        [--calibrate DIR]) --images DIR --labels CSV -o DIR [--tau 0.9,0.99] [--skip off,0.005]
        [--page FILE.md] [--store]

Stop: a row group whose margin says at least tau for the stop class decides that class and ends the
frame.
Skip: after one at or below the other threshold, the next row group is left out. Writes
early_termination.{md,json,png}, and with --store the thresholds that were chosen (`chosen`) into
the weights file and the weights' model card. All of it on the integer model, by the comparisons
that the engine makes (`golden.classifier.threshold`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from golden import files
from golden.classifier import decide, threshold
from golden.command_line import (
    bad_input,
    check_probability,
    in_parallel,
    load_network,
    note,
    refresh,
)
from golden.config import ModelConfig, preset
from golden.evaluate import BATCH, load_labels, scores
from golden.images import load_image
from golden.line_buffer import split_row_groups, to_signed
from golden.model import IntegerModel, Result
from golden.quantise import shipped_file
from golden.weights import EarlyTermination, Weights

TAUS = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
SKIPS = (None, 0.005, 0.05, 0.2)  # None: the rule is off
PAPER = "Paper, 210x240 on Visual Wake Words"
PAPER_SAVED = 0.171  # of the MACs, without loss of accuracy
MARK, CARD_MARK = "early_termination", "thresholds"
CARDS = files.ROOT / "docs"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the integer model says after every row group, for N photographs.

    Attributes
    ----------
    margin : int64 array [N, T]
        Of the stop class.
    label : int64 array [N, T]
        Class of the largest logit.
    computed : bool array [N, T]
        False where the skip rule left a row group out.
    stop_index : int
    """

    margin: np.ndarray
    label: np.ndarray
    computed: np.ndarray
    stop_index: int

    @classmethod
    def of(cls, result: Result, stop_index: int) -> Answers:
        """Of a run without a stop threshold."""
        labels = decide(result.logits)
        return cls(result.margin.numpy(), labels.numpy(), result.computed.numpy(), stop_index)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The scans of all batches, in order."""
        names = ("margin", "label", "computed")
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(*arrays, parts[0].stop_index)

    def _hit(self, stop: int | None) -> np.ndarray:
        if stop is None:
            return np.zeros_like(self.computed)
        return self.computed & (self.margin >= stop)

    def stopped_at(self, stop: int | None) -> np.ndarray:
        """Row group at which each frame ends: the first that reaches `stop`, or the last one.

        A stop changes nothing of what came before it, so one scan serves every threshold.
        """
        hit = self._hit(stop)
        return np.where(hit.any(axis=1), hit.argmax(axis=1), hit.shape[1] - 1)

    def outcome(self, stop: int | None) -> tuple[np.ndarray, np.ndarray]:
        """(decision, row groups worked on) of each photograph."""
        last = self.stopped_at(stop)
        reached = np.arange(self.margin.shape[1]) <= last[:, None]
        used = (self.computed & reached).sum(axis=1)
        # A row group that was skipped repeats the logits before it, so the last one decides.
        final = np.take_along_axis(self.label, last[:, None], axis=1)[:, 0]
        return np.where(self._hit(stop).any(axis=1), self.stop_index, final), used


@dataclass(frozen=True, kw_only=True)
class Point:
    """One pair of thresholds (None: rule off).

    ``change``: accuracy less that without early termination. ``macs_saved``: share of the array
    MACs of whole frames.
    """

    tau: float | None
    skip: float | None
    accuracy: float
    change: float
    true_positive_rate: float | None
    false_positive_rate: float | None
    mean_rows_used: float
    macs_saved: float


def scans(
    model: IntegerModel, images: Tensor, skips: Sequence[float | None]
) -> dict[float | None, Answers]:
    """A scan of uint8 [B, in_channels, h, w] for each skip threshold; the heads run only once."""
    rows = split_row_groups(to_signed(images), model.config.rows_per_group)
    features = model.heads(rows.flatten(0, 1))[0].unflatten(0, rows.shape[:2])
    scale = model.weights.scales["logit"]
    found = {}
    for skip in skips:
        level = None if skip is None else threshold(skip, scale, up=False)
        result = model.scan(features, skip_threshold=level)
        found[skip] = Answers.of(result, model.config.stop_index)
    return found


def sweep(
    weights: Weights,
    config: ModelConfig,
    paths: Sequence[Path],
    labels: Sequence[int],
    taus: Sequence[float],
    skips: Sequence[float | None],
) -> list[Point]:
    """Every pair of thresholds on picture files, without early termination first."""
    model = IntegerModel(config, weights)
    skips = [None, *(skip for skip in skips if skip is not None)]

    def work(part: Sequence[Path]) -> dict[float | None, Answers]:
        return scans(model, torch.stack([load_image(path, config) for path in part]), skips)

    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    found = in_parallel(work, parts, map(len, parts), "integer model", "photographs")
    points: list[Point] = []
    for skip in skips:
        scan = Answers.joined([part[skip] for part in found])
        for tau in (None, *taus):  # the very first point is the one without early termination
            stop = None if tau is None else threshold(tau, weights.scales["logit"], up=True)
            decision, used = scan.outcome(stop)
            rates = scores(decision, labels, config.stop_index)
            rows, accuracy = float(used.mean()), rates["accuracy"]
            points.append(
                Point(
                    tau=tau,
                    skip=skip,
                    change=accuracy - (points[0].accuracy if points else accuracy),
                    mean_rows_used=rows,
                    macs_saved=1 - rows / config.row_groups,
                    **rates,
                )
            )
    return points


def best(points: Sequence[Point]) -> Point:
    """Most MACs saved without any loss of accuracy."""
    return max((p for p in points if p.change >= 0), key=lambda p: p.macs_saved)


def chosen(points: Sequence[Point]) -> Point:
    """The pair to take by default: most MACs saved where neither it nor a more careful one loses.

    More careful is a higher stop threshold and a lower skip threshold, or a rule off. Accuracy
    jumps about by a few photographs, so a pair that loses nothing among others that do is chance.
    """

    def careful(one: Point, than: Point) -> bool:
        stop = one.tau is None or (than.tau is not None and one.tau >= than.tau)
        return stop and (one.skip is None or (than.skip is not None and one.skip <= than.skip))

    def safe(point: Point) -> bool:
        return all(other.change >= 0 for other in points if careful(other, point))

    return max(filter(safe, points), key=lambda point: point.macs_saved)


def stored(point: Point, images: int) -> EarlyTermination:
    """What weights keep of a point."""
    return EarlyTermination(
        tau=point.tau,
        skip=point.skip,
        images=images,
        accuracy=point.accuracy,
        change=point.change,
        macs_saved=point.macs_saved,
    )


def _text(value: float | None) -> str:
    return "off" if value is None else f"{value:g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def table(points: Sequence[Point]) -> str:
    """All points and the paper's claim, in Markdown."""
    lines = [
        "| stop at | skip at | accuracy | change (points) | true positives | false positives | "
        "row groups | MACs saved |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for p in points:
        cells = (
            _text(p.tau),
            _text(p.skip),
            _percent(p.accuracy),
            f"{100 * p.change:+.2f}",
            _percent(p.true_positive_rate),
            _percent(p.false_positive_rate),
            f"{p.mean_rows_used:.2f}",
            f"{100 * p.macs_saved:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    top = best(points)
    lines += [
        "",
        f"{PAPER}: {100 * PAPER_SAVED:.1f} % of the MACs saved, no loss of accuracy. "
        f"Here, without loss: {100 * top.macs_saved:.1f} % (stop: {_text(top.tau)}, skip: "
        f"{_text(top.skip)}; {100 * top.change:+.2f} points; the best of these lines on these very "
        "photographs).",
    ]
    return "\n".join(lines)


def draw(path: Path, points: Sequence[Point], title: str) -> None:
    """The plot: MACs saved and accuracy over tau, and one over the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    ink, faint, paper = "#1d2433", "#9aa3b2", "#d1495b"
    shades = ("#1d2433", "#2a6f97", "#3fa7a0", "#c98a1b", "#8257a5", "#5b8c3a")
    figure = Figure(figsize=(13.2, 4.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    saved, accuracy, trade = figure.subplots(1, 3)
    skips = list(dict.fromkeys(p.skip for p in points))
    taus = [p.tau for p in points if p.skip is None and p.tau is not None]
    places = {None: len(taus), **{tau: k for k, tau in enumerate(taus)}}
    lines: dict[tuple, list] = {}  # rules that come to the same are drawn as one line
    for skip in skips:
        line = sorted((p for p in points if p.skip == skip), key=lambda p: places[p.tau])
        key = tuple((p.accuracy, p.macs_saved) for p in line)
        lines.setdefault(key, [line, []])[1].append(
            "no skipping" if skip is None else f"skip at {skip:g}"
        )
    for number, (line, names) in enumerate(lines.values()):
        look = {
            "color": shades[number % len(shades)],
            "marker": "o",
            "ms": 4,
            "lw": 1.6,
            "label": "\n".join(names),
        }
        where = [places[p.tau] for p in line]
        saved.plot(where, [100 * p.macs_saved for p in line], **look)
        accuracy.plot(where, [100 * p.accuracy for p in line], **look)
        trade.plot([100 * p.macs_saved for p in line], [100 * p.change for p in line], **look)
    halo = [withStroke(linewidth=3, foreground="white")]  # labels stay clear of curves under them
    span = max(1e-9, max(p.macs_saved for p in points))
    named: list[float] = []
    for p in sorted(points, key=lambda p: p.macs_saved):
        if p.skip is None and all(abs(p.macs_saved - other) > 0.07 * span for other in named):
            named.append(p.macs_saved)
            trade.annotate(
                _text(p.tau),
                (100 * p.macs_saved, 100 * p.change),
                xytext=(0, -13),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=ink,
                zorder=6,
                path_effects=halo,
            )
    saved.axhline(100 * PAPER_SAVED, color=paper, lw=1, ls=(0, (4, 2)))
    saved.annotate(
        "paper: 17.1 %",
        (0.98, 100 * PAPER_SAVED),
        xycoords=saved.get_yaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=paper,
        fontsize=8.5,
        zorder=6,
        path_effects=halo,
    )
    trade.axhline(0, color=faint, lw=0.8)
    trade.scatter([100 * PAPER_SAVED], [0], marker="*", s=150, color=paper, zorder=5)
    trade.annotate(
        "paper",
        (100 * PAPER_SAVED, 0),
        xytext=(0, 8),
        textcoords="offset points",
        color=paper,
        fontsize=8.5,
        ha="center",
        zorder=6,
        path_effects=halo,
    )
    for axes, head in (
        (saved, "MACs saved, %"),
        (accuracy, "accuracy, %"),
        (trade, "change of accuracy, points"),
    ):
        axes.set_title(head, loc="left", fontsize=10.5, color=ink, pad=10)
        axes.grid(True, color="#e6e9ef", lw=0.8)
        axes.tick_params(length=0, colors=ink, labelsize=8.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
    for axes in (saved, accuracy):
        axes.set_xticks(range(len(taus) + 1), [*map(_text, taus), "off"])
        axes.set_xlabel("stop at probability", fontsize=9, color=ink)
    for axes in (accuracy, trade):  # a tenth of a point is noise: no axis of less than a point
        low, high = axes.get_ylim()
        middle, half = (low + high) / 2, max(high - low, 1.2) / 2
        axes.set_ylim(middle - half, middle + half)
    trade.set_xlabel("MACs saved, % (numbers: stop at)", fontsize=9, color=ink)
    saved.legend(frameon=False, fontsize=8.5, labelcolor=ink)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=ink)
    with files.writing(path) as part:
        figure.savefig(part)


def _probabilities(text: str, name: str) -> list[float | None]:
    """A list such as "off,0.005,0.02"."""
    found: list[float | None] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = None if part == "off" else float(part)
        except ValueError:
            raise ValueError(f"{name} must be probabilities or off, not {part!r}") from None
        check_probability(name, value)
        found.append(value)
    return found


def main(
    images: Annotated[Path, typer.Option(help="folder that the CSV's files are relative to")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns file and label")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder to write to")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    weights: Annotated[
        Path | None, typer.Option(help="integer weights; the shipped ones, if not given")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="float checkpoint")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="folder of pictures for --checkpoint")
    ] = None,
    tau: Annotated[str, typer.Option(help="stop thresholds")] = ",".join(map(_text, TAUS)),
    skip: Annotated[str, typer.Option(help="skip thresholds")] = ",".join(map(_text, SKIPS)),
    page: Annotated[
        Path | None, typer.Option(help="Markdown file whose marked part gets the table")
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out rows that cannot be used")] = False,
    store: Annotated[
        bool, typer.Option("--store", help="the chosen thresholds into the weights and their card")
    ] = False,
) -> None:
    """Sweeps both thresholds of early termination."""
    with bad_input():
        config = preset(preset_name)
        if store and checkpoint is not None:
            raise ValueError("expected --store with --weights or none, not with --checkpoint")
        taus = [value for value in _probabilities(tau, "tau") if value is not None]
        skips = _probabilities(skip, "skip")
        network = load_network(
            config,
            kind="int",
            weights=weights,
            checkpoint=checkpoint,
            calibrate=calibrate,
            skip_bad=skip_bad,
        )
        labelled = load_labels(labels, images, skip_bad, config.classes)
        files.check_folder(output)
        if page is not None:
            refresh(page, MARK, None)  # before the work, not after it
        points = sweep(network, config, labelled.paths, labelled.labels, taus, skips)
        title = f"{config.name}, {len(labelled)} photographs, integer model {network.digest[:12]}"
        pick = stored(chosen(points), len(labelled))
        text = f"{title}\n\n{table(points)}\n\nBy default: {pick}.\n"
        content = {
            "preset": config.name,
            "images": len(labelled),
            "weights_digest": network.digest,
            "points": [asdict(p) for p in points],
            "best": asdict(best(points)),
            "paper": {"macs_saved": PAPER_SAVED, "change": 0.0},
            "chosen": asdict(pick),
        }
        made = {".md": text, ".json": json.dumps(content, indent=2) + "\n"}
        files.write_all(output, {f"early_termination{end}": part for end, part in made.items()})
        draw(output / "early_termination.png", points, title)
        if page is not None:
            refresh(page, MARK, text.strip())
            draw(page.with_name("early_termination.png"), points, title)
    typer.echo(text, nl=False)
    if store:
        with bad_input():
            for name in store_in(network, pick, config, weights):
                note(f"{name}: {pick}")


def store_in(
    network: Weights, pick: EarlyTermination, config: ModelConfig, path: Path | None
) -> list[Path]:
    """Write thresholds into a weights file (None: the shipped one) and its card; what was written.

    The card is that of the shipped weights; one without the marks ``thresholds``, or of other
    weights, is left as it is.
    """
    shipped = shipped_file(config)
    path = shipped if path is None else path
    replace(network, early=pick).save(path)
    written = [path]
    card = None if shipped is None else CARDS / f"model_card_{shipped.stem}.md"
    if card is not None and path.resolve() == shipped.resolve() and card.is_file():
        text = card.read_text(encoding="utf-8")
        if network.digest[:12] in text and f"<!-- {CARD_MARK}:begin -->" in text:
            refresh(card, CARD_MARK, f"Early termination by default: {pick}.")
            written.append(card)
    return written
