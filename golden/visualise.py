"""The network at work (Fig. 5-7): what the state looks at, how sure it is, as the scan goes down.

    rasca visualise --image FILE -o DIR [--preset P] [--weights W.safetensors |
        --checkpoint FILE [--calibrate DIR]] [--tau 0.99] [--skip 0.005]

Writes scan.png (class activation map of every row group, probability of the class looked for, where
early termination stops), scan.gif (the same as it happens) and scan.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from golden import files
from golden.classifier import HIDDEN_LIMIT, HIDDEN_SCALE, SWISH_SCALE, margin, threshold
from golden.command_line import (
    bad_input,
    load_network,
    load_weights,
    read_probability,
    stored_or,
)
from golden.config import ModelConfig, preset
from golden.conv_gru import STATE_SCALE
from golden.images import load_image
from golden.model import IntegerModel
from golden.weights import Weights

_PALE = (0.95, 0.955, 0.965, 0.9)  # over rows that were skipped or not read
INK, FAINT, WARM, COOL = "#1d2433", "#9aa3b2", "#d1495b", "#2a6f97"
_DPI = 130
USUAL_TAU = 0.99  # where none comes with the weights: the release's
_LAST_MS, _FRAME_MS = 2500, 4200  # of the GIF: its last picture, and all others together


def logit_margin(pooled: torch.Tensor, weights: Weights, n: int, label: int = 1) -> torch.Tensor:
    """Logit of a class less the largest other one, in float: [..., d] to [...].

    pooled: p = mean + max over the n columns of H. The classifier of Eq. 14 (docs/network.md), its
    integer weights put back on their real scales.
    """
    first, second = weights.layers["classifier.0"], weights.layers["classifier.1"]
    hidden = len(first.bias)
    step = STATE_SCALE / n  # of the integer p = sum + n * max
    x = (pooled.double() / step) @ first.weight.reshape(hidden, -1).double().T + first.bias.double()
    x = x / 2.0 ** first.shift.double() * HIDDEN_SCALE
    x = x.clamp(-HIDDEN_LIMIT * HIDDEN_SCALE, (HIDDEN_LIMIT - 1) * HIDDEN_SCALE)
    y = x * (x + 3).clamp(0, 6) / 6
    weight = second.weight.reshape(-1, hidden).double()
    return (
        margin((y / SWISH_SCALE) @ weight.T + second.bias.double(), label) * weights.scales["logit"]
    )


def class_activation_map(states: np.ndarray, weights: Weights, label: int = 1) -> np.ndarray:
    """CAM_t[j] of Fig. 6 for integer states (T, d, n): (T, n), in float.

    sum over c of g_c (H[c, j] / n + H[c, j] * [j is the first maximum of channel c]), where
    g = d(margin of the class) / dp at p_t. Warm (positive) columns speak for the class.
    """
    state = torch.as_tensor(np.asarray(states)).double() * STATE_SCALE
    n = state.shape[-1]
    pooled = (state.mean(dim=-1) + state.amax(dim=-1)).requires_grad_()
    (slope,) = torch.autograd.grad(logit_margin(pooled, weights, n, label).sum(), pooled)
    first_maximum = torch.zeros_like(state).scatter_(-1, state.argmax(dim=-1, keepdim=True), 1.0)
    share = state / n + state * first_maximum
    return (slope[..., None] * share).sum(dim=1).numpy()


def probability(logit: np.ndarray | float) -> np.ndarray:
    """Probability of a class beside one other, from the real difference of their logits."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logit, dtype=float), -500, 500)))


def class_probability(logits: np.ndarray, label: int) -> np.ndarray:
    """Softmax probability of a class from real logits [..., K]."""
    logits = np.asarray(logits, dtype=float)
    others = np.delete(logits, label, axis=-1) - logits[..., label, None]
    return 1 / (1 + np.exp(np.clip(others, -500, 500)).sum(axis=-1))


def rule_probability(logits: np.ndarray, label: int, q: float) -> np.ndarray:
    """The softmax probability that a class has where its margin is just at a threshold of q, from
    real logits [..., K]: q itself beside one other class; less beside more, since the rules of
    early termination look at the strongest of them only."""
    others = np.delete(np.asarray(logits, dtype=float), label, axis=-1)
    rivals = np.exp(others - others.max(axis=-1, keepdims=True)).sum(axis=-1)
    return 1 / (1 + (1 - q) / q * rivals)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One frame to draw.

    image: (h, w, 3) bytes as the engine saw it.
    states, logits: (T, d, n) and (T, K) integers after each row group.
    computed: row groups worked on; the others are drawn as not read or skipped.
    label: the decision.
    config: names of the classes, the one that is looked for (the stop class), k.
    """

    name: str
    image: np.ndarray
    states: np.ndarray
    logits: np.ndarray
    computed: Sequence[int]
    label: int
    config: ModelConfig

    @property
    def sought(self) -> bool:
        """The class that is looked for was found."""
        return self.label == self.config.stop_index

    @property
    def colour(self) -> str:
        """Of the decision."""
        return WARM if self.sought else COOL

    @property
    def last(self) -> int:
        """The row group that decided."""
        return max(self.computed)

    @property
    def stopped(self) -> bool:
        """Ended early with the class looked for: the rest was not read (a skipped end was)."""
        return self.sought and self.last < len(self.states) - 1

    def until(self, group: int) -> Scan:
        """The same scan when no more than row groups 0..group had been read."""
        return replace(self, computed=[t for t in self.computed if t <= group])


class _Page:
    """A figure on which axes are placed in inches from the lower left."""

    def __init__(self, across: float, down: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.across, self.down = across, down
        self.figure = Figure(figsize=(across, down), dpi=_DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self.figure.set_facecolor("white")

    def place(self, left: float, bottom: float, width: float, height: float) -> Any:
        across, down = self.across, self.down
        return self.figure.add_axes((left / across, bottom / down, width / across, height / down))

    def pixels(self) -> Image.Image:
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3].copy())


def literal(text: str) -> str:
    """For matplotlib, which sets what is between two dollar signs as a formula."""
    return text.replace("$", r"\$")


def words(name: str) -> str:
    """A class's name in a sentence."""
    return name.replace("_", " ")


def _bare(axes: Any, height: int, width: int) -> None:
    """Axes of a picture: no ticks, no frame."""
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _sure(scan: Scan, weights: Weights) -> np.ndarray:
    """Probability of the class that is looked for after each row group."""
    return class_probability(scan.logits * weights.scales["logit"], scan.config.stop_index)


def _level(map_: np.ndarray, done: np.ndarray) -> np.ndarray:
    """A class activation map as -1..1 of nearly its largest value in the row groups done."""
    limit = max(1e-9, float(np.quantile(np.abs(map_[done]), 0.98)))
    return np.clip(map_ / limit, -1, 1)


def _draw_overlay(axes: Any, scan: Scan, level: np.ndarray) -> None:
    """The photograph in grey with each row group's band coloured by the state at that moment."""
    height, width = scan.image.shape[:2]
    groups = len(scan.states)
    depth = groups * scan.config.rows_per_group
    done = np.zeros(groups, dtype=bool)
    done[list(scan.computed)] = True
    grey = scan.image @ np.array([0.299, 0.587, 0.114]) / 255
    back = np.repeat((0.30 + 0.62 * grey)[..., None], 3, axis=2)
    axes.imshow(back, interpolation="lanczos", aspect="equal")
    colour = _diverging(level)
    colour[~done] = _PALE
    extent = (-0.5, width - 0.5, depth - 0.5, -0.5)
    axes.imshow(colour, extent=extent, interpolation="nearest", aspect="equal")
    _bare(axes, height, width)


def _draw_curve(
    axes: Any,
    scan: Scan,
    weights: Weights,
    sure: np.ndarray,
    stop: float | None,
    skip: float | None,
) -> None:
    """The class's probability as the scan goes down, with the rules of early termination: straight
    lines of two classes, else where its margin would be at the threshold (`rule_probability`)."""
    height, groups, last = scan.image.shape[0], len(scan.states), scan.last
    middle = (np.arange(groups) + 0.5) * scan.config.rows_per_group - 0.5
    shown, rows = sure[: last + 1], middle[: last + 1]
    for side, shade in ((shown >= 0.5, WARM), (shown <= 0.5, COOL)):
        axes.fill_betweenx(
            rows, 0.5, shown, where=side, interpolate=True, color=shade, alpha=0.13, lw=0
        )
    axes.plot(shown, rows, color=INK, lw=1.8, solid_capstyle="round")
    used = list(scan.computed)
    axes.scatter(sure[used], middle[used], s=9, color=INK, zorder=3)
    for rule, name in ((stop, "stop"), (skip, "skip next")):
        if rule is None:
            continue
        look = {"color": WARM if name == "stop" else COOL, "lw": 1, "ls": (0, (4, 2))}
        if scan.config.class_count == 2:
            axes.axvline(rule, **look)
        else:
            logits = scan.logits * weights.scales["logit"]
            line = rule_probability(logits, scan.config.stop_index, rule)
            axes.plot(line, middle, **look)
            rule = float(line[-1])
        axes.annotate(
            name,
            (rule, 0.03),
            xytext=(-3 if rule > 0.5 else 3, 0),
            textcoords="offset points",
            xycoords=axes.get_xaxis_transform(),
            color=look["color"],
            fontsize=8,
            rotation=90,
            ha="right" if rule > 0.5 else "left",
            va="bottom",
        )
    axes.scatter([sure[last]], [middle[last]], s=70, color=scan.colour, zorder=4, clip_on=False)
    axes.axvline(0.5, color=FAINT, lw=0.8)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"], fontsize=9)
    sought = literal(words(scan.config.stop_class))
    axes.set_xlabel(f"{sought}, %", color=INK, fontsize=9, labelpad=2)
    axes.yaxis.tick_right()
    ticks = np.array([*range(0, groups, max(1, round(groups / 7))), groups])
    places = ticks * scan.config.rows_per_group - 0.5
    axes.set_yticks(places, [str(tick) for tick in ticks], fontsize=9)
    axes.yaxis.set_label_position("right")
    axes.set_ylabel("row groups read", color=INK, fontsize=9)
    axes.grid(True, color="#e6e9ef", lw=0.8)
    axes.tick_params(length=0, colors=INK)
    axes.tick_params(axis="y", pad=14)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _title(axes: Any, text: str, *, bold: bool = False, colour: str = INK) -> None:
    weight = "bold" if bold else "normal"
    text = literal(text)
    axes.set_title(text, loc="left", fontsize=10.5, color=colour, pad=7, fontweight=weight)


def _verdict(scan: Scan, sure: np.ndarray) -> str:
    used, groups = len(scan.computed), len(scan.states)
    config, which = scan.config, ""
    if config.class_count > 2 and not scan.sought:  # the probability is that of another class
        which = f"{words(config.stop_class)} "
    how = "stops after" if scan.stopped else "worked on"
    return f"{words(config.classes[scan.label])}: {which}{100 * sure[scan.last]:.1f} %" + (
        f", {how} {used} of {groups}" if used < groups else ""
    )


def _draw_key(axes: Any, name: str) -> None:
    """What the colours mean."""
    axes.imshow(_diverging(np.linspace(-1, 1, 128)[None, :], floor=0.25), aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    text = {"transform": axes.transAxes, "va": "center", "fontsize": 8.5, "color": INK}
    name = literal(name)
    axes.text(-0.04, 0.5, f"against {name}", ha="right", **text)
    axes.text(1.04, 0.5, f"for {name}", ha="left", **text)


def draw(
    path: Path,
    scans: Sequence[Scan],
    weights: Weights,
    *,
    stop: float | None = None,
    skip: float | None = None,
) -> None:
    """Writes the PNG: a line of three panels for each scan.

    The photograph; the class activation map over it, each row group's band coloured by the state
    at that moment; and the probability of the class looked for as the scan goes down. stop, skip:
    probabilities of the early termination rules, drawn as lines.
    """
    height, width = scans[0].image.shape[:2]
    # All in inches: three panels of the same height, so that rows line up across them.
    wide, gap, margin, head, foot = 3.9, 0.22, 0.25, 0.5, 0.62
    tall, narrow = wide * height / width, 2.7
    page = _Page(
        margin + 2 * wide + 2 * gap + 0.1 + narrow + 0.62,
        len(scans) * (tall + head + 0.28) + foot - 0.1,
    )
    for line, scan in enumerate(scans):
        groups, last = len(scan.states), scan.last
        bottom = page.down - (line + 1) * (tall + head) - line * 0.28
        photo = page.place(margin, bottom, wide, tall)
        overlay = page.place(margin + wide + gap, bottom, wide, tall)
        curve = page.place(margin + 2 * wide + 2 * gap + 0.1, bottom, narrow, tall)
        photo.imshow(scan.image, interpolation="lanczos", aspect="equal")
        _bare(photo, height, width)
        map_ = class_activation_map(scan.states, weights, scan.config.stop_index)
        _draw_overlay(overlay, scan, _level(map_, np.asarray(list(scan.computed))))
        if scan.stopped:
            at = (last + 1) * scan.config.rows_per_group - 0.5
            for axes in (photo, overlay):
                axes.axhline(at, color=WARM, lw=1.6)
            if height - at > 0.08 * height:  # else the words would not fit
                overlay.text(
                    width / 2,
                    (at + height) / 2,
                    "not read",
                    color=INK,
                    ha="center",
                    va="center",
                    fontsize=11,
                )
        sure = _sure(scan, weights)
        _draw_curve(curve, scan, weights, sure, stop, skip)
        _title(photo, scan.name, bold=True)
        pale = " (pale: left out)" if len(scan.computed) < groups else ""
        _title(overlay, f"class activation by row group{pale}")
        _title(curve, _verdict(scan, sure), bold=True, colour=scan.colour)
    key = page.place(margin + wide + gap + 1.2, 0.2, 1.5, 0.09)
    _draw_key(key, words(scans[0].config.stop_class))
    about = f"{scans[0].config.name}, weights {weights.digest[:12]}"
    with files.writing(path) as part:
        page.figure.savefig(part, metadata={"Title": about})


def animate(
    path: Path,
    scan: Scan,
    weights: Weights,
    *,
    stop: float | None = None,
    skip: float | None = None,
) -> None:
    """Writes the GIF of one scan: a picture for each row group up to the one that decided."""
    height, width = scan.image.shape[:2]
    wide, gap, margin, head, foot = 3.9, 0.32, 0.2, 0.45, 0.55
    tall, narrow = wide * height / width, 2.7
    across = margin + wide + gap + narrow + 0.62
    computed = np.asarray(list(scan.computed))
    map_ = class_activation_map(scan.states, weights, scan.config.stop_index)
    level = _level(map_, computed)
    sure, groups, sought = _sure(scan, weights), len(scan.states), words(scan.config.stop_class)
    pages = []
    # A skipped last row group is shown, too; after a stop there is nothing more.
    shown = scan.last + 1 if scan.stopped else groups
    for group in range(shown):
        now = scan.until(group)
        page = _Page(across, tall + head + foot)
        overlay = page.place(margin, foot, wide, tall)
        curve = page.place(margin + wide + gap, foot, narrow, tall)
        now = replace(now, label=int(scan.logits[now.last].argmax()))
        _draw_overlay(overlay, now, level)
        _draw_curve(curve, now, weights, sure, stop, skip)
        ended = group == shown - 1
        at = (group + 1) * scan.config.rows_per_group - 0.5
        overlay.axhline(at, color=WARM if ended and scan.stopped else INK, lw=1.6)
        _title(overlay, f"row group {group + 1} of {groups}", bold=True)
        if ended:
            _title(curve, _verdict(scan, sure), bold=True, colour=scan.colour)
        else:
            word = "" if group in now.computed else " (skipped)"
            _title(curve, f"{100 * sure[now.last]:.0f} % {sought}{word}")
        _draw_key(page.place(margin + 1.2, 0.2, 1.5, 0.09), sought)
        pages.append(page.pixels())
    # One palette for all pictures, of one in the middle and the last one: colours do not flicker.
    both = Image.new("RGB", (pages[-1].width, 2 * pages[-1].height))
    both.paste(pages[len(pages) // 2], (0, 0))
    both.paste(pages[-1], (0, pages[-1].height))
    palette = both.quantize(256, method=Image.Quantize.MEDIANCUT)
    frames = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    times = [max(60, _FRAME_MS // groups)] * (len(frames) - 1) + [_LAST_MS]
    with files.writing(path) as part:
        frames[0].save(part, save_all=True, append_images=frames[1:], duration=times, loop=0)


def _diverging(level: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Blue to red with opacity by strength, for levels -1..1: (..., 4)."""
    warm, cool = np.array([0.86, 0.20, 0.18]), np.array([0.10, 0.42, 0.75])
    strength = np.abs(level)
    colour = np.empty((*level.shape, 4))
    colour[..., :3] = np.where(level[..., None] > 0, warm, cool)
    colour[..., 3] = floor + (0.82 - floor) * strength**0.8
    return colour


def scan_image(
    name: str,
    pixels: torch.Tensor,
    weights: Weights,
    config: ModelConfig,
    *,
    tau: float | None = None,
    skip: float | None = None,
) -> Scan:
    """The integer model on one picture, uint8 [in_channels, h, w]; tau, skip: probabilities."""
    scale = weights.scales["logit"]
    result = IntegerModel(config, weights).run(
        pixels[None],
        stop_threshold=None if tau is None else threshold(tau, scale, up=True),
        skip_threshold=None if skip is None else threshold(skip, scale, up=False),
    )
    return Scan(
        name=name,
        image=pixels.expand(3, -1, -1).permute(1, 2, 0).numpy(),
        states=result.state[0].numpy(),
        logits=result.logits[0].numpy(),
        computed=result.computed[0].nonzero()[:, 0].tolist(),
        label=int(result.decision[0]),
        config=config,
    )


def summary(
    whole: Scan, early: Scan, weights: Weights, tau: float | None, skip: float | None
) -> dict[str, Any]:
    """The contents of scan.json: probabilities (of the class looked for) to four decimals, the map
    as drawn."""
    sure = _sure(whole, weights)
    map_ = class_activation_map(whole.states, weights, whole.config.stop_index)
    return {
        "image": whole.name,
        "weights_trained": not weights.untrained,
        "decision": whole.config.classes[whole.label],
        "probability": [round(float(value), 4) for value in sure],
        "class_activation_map": map_.round(4).tolist(),
        "early_termination": {
            "tau": tau,
            "skip": skip,
            "decision": early.config.classes[early.label],
            "rows_used": len(early.computed),
            "computed": list(early.computed),
        },
    }


def main(
    image: Annotated[Path, typer.Option(help="picture file")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder to write to")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    weights_file: Annotated[Path | None, typer.Option("--weights", help="integer weights")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="float checkpoint")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="folder of pictures for --checkpoint")
    ] = None,
    tau_text: Annotated[
        str | None,
        typer.Option("--tau", help="stop at this probability; the weights' own, else 0.99"),
    ] = None,
    skip_text: Annotated[
        str | None,
        typer.Option(
            "--skip", help="skip the next row group at or below this one; the weights' own, if any"
        ),
    ] = None,
) -> None:
    """Draws what the network looks at, row group by row group."""
    with bad_input():
        config = preset(preset_name)
        asked = {"tau": read_probability("tau", tau_text)}
        asked["skip"] = read_probability("skip", skip_text)
        pixels = load_image(image, config)
        with Console(stderr=True).status("weights"):
            if weights_file is None and checkpoint is None and calibrate is None:
                weights = load_weights(None, config)
            else:
                weights = load_network(
                    config,
                    kind="int",
                    weights=weights_file,
                    checkpoint=checkpoint,
                    calibrate=calibrate,
                )
        tau, skip = (stored_or(name, value, weights) for name, value in asked.items())
        if tau_text is None:
            tau = USUAL_TAU if weights.early is None else weights.early.tau
        if skip_text is None and weights.early is not None:
            skip = weights.early.skip
        files.check_folder(output)
        with Console(stderr=True).status("drawing"):
            whole = scan_image(image.name, pixels, weights, config)
            early = scan_image(
                "with early termination", pixels, weights, config, tau=tau, skip=skip
            )
            output.mkdir(parents=True, exist_ok=True)
            shorter = len(early.computed) < len(whole.computed)
            scans = [whole, early] if shorter else [whole]
            draw(output / "scan.png", scans, weights, stop=tau, skip=skip)
            animate(output / "scan.gif", early, weights, stop=tau, skip=skip)
        figures = summary(whole, early, weights, tau, skip)
        files.write(output / "scan.json", json.dumps(figures) + "\n")
    rules = "no tau" if tau is None else f"tau {tau:g}"
    rules += "" if skip is None else f" and skip {skip:g}"
    word = "stops after" if early.stopped else "works on"
    ending = f"{word} {len(early.computed)}" if shorter else "works on all"
    typer.echo(
        f"{image.name}: {_verdict(whole, _sure(whole, weights))}; with {rules} it {ending} of "
        f"{config.row_groups} row groups. {output}/scan.png, scan.gif, scan.json"
    )
