"""The picture of a scan: what the state looks at, row group by row group, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golden.classifier import HIDDEN_LIMIT, HIDDEN_SCALE, SWISH_SCALE
from golden.config import ROWS_PER_GROUP
from golden.conv_gru import STATE_SCALE
from golden.weights import Weights


def logit_difference(pooled: torch.Tensor, weights: Weights, n: int) -> torch.Tensor:
    """logit1 - logit0 in float from p = mean + max over the n columns of H: [..., d] to [...].

    The classifier of NETWORK.md, its integer weights put back on their real scales.
    """
    first, second = weights.layers["classifier.0"], weights.layers["classifier.1"]
    hidden = len(first.bias)
    step = STATE_SCALE / n  # of the integer p = sum + n * max
    x = (pooled.double() / step) @ first.weight.reshape(hidden, -1).double().T + first.bias.double()
    x = x / 2.0 ** first.shift.double() * HIDDEN_SCALE
    x = x.clamp(-HIDDEN_LIMIT * HIDDEN_SCALE, (HIDDEN_LIMIT - 1) * HIDDEN_SCALE)
    y = x * (x + 3).clamp(0, 6) / 6
    logits = (y / SWISH_SCALE) @ second.weight.reshape(2, hidden).double().T + second.bias.double()
    return (logits[..., 1] - logits[..., 0]) * weights.scales["logit"]


def class_activation_map(states: np.ndarray, weights: Weights) -> np.ndarray:
    """CAM_t[j] of Fig. 6 for integer states (T, d, n): (T, n), in float.

    sum over c of g_c (H[c, j] / n + H[c, j] * [j is the first maximum of channel c]), where
    g = d(logit1 - logit0) / dp at p_t. Warm (positive) columns speak for a person.
    """
    state = torch.as_tensor(np.asarray(states)).double() * STATE_SCALE
    n = state.shape[-1]
    pooled = (state.mean(dim=-1) + state.amax(dim=-1)).requires_grad_()
    (slope,) = torch.autograd.grad(logit_difference(pooled, weights, n).sum(), pooled)
    first_maximum = torch.zeros_like(state).scatter_(-1, state.argmax(dim=-1, keepdim=True), 1.0)
    share = state / n + state * first_maximum
    return (slope[..., None] * share).sum(dim=1).numpy()


def probability(logit: np.ndarray | float) -> np.ndarray:
    """Person probability of a real logit difference."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logit, dtype=float), -500, 500)))


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One frame to draw.

    image: (h, w, 3) bytes as the engine saw it.
    states, logits: (T, d, n) and (T, 2) integers after each row group.
    computed: row groups worked on; the others are drawn as not read or skipped.
    """

    name: str
    image: np.ndarray
    states: np.ndarray
    logits: np.ndarray
    computed: Sequence[int]
    person: bool


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
    at that moment; and the person probability as the scan goes down. stop, skip: probabilities of
    the early termination rules, drawn as lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink, faint, warm, cool = "#1d2433", "#9aa3b2", "#d1495b", "#2a6f97"
    height, width = scans[0].image.shape[:2]
    # All in inches: three panels of the same height, so that rows line up across them.
    wide, gap, margin, head, foot = 3.9, 0.22, 0.25, 0.5, 0.62
    tall, narrow = wide * height / width, 2.7
    across = margin + 2 * wide + 2 * gap + 0.1 + narrow + 0.62
    down = len(scans) * (tall + head + 0.28) + foot - 0.1
    figure = Figure(figsize=(across, down), dpi=130)
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")

    def place(left: float, bottom: float, w: float, h: float) -> Any:
        return figure.add_axes((left / across, bottom / down, w / across, h / down))

    for line, scan in enumerate(scans):
        groups = len(scan.states)
        depth = groups * ROWS_PER_GROUP
        done = np.zeros(groups, dtype=bool)
        done[list(scan.computed)] = True
        last = max(scan.computed)
        bottom = down - (line + 1) * (tall + head) - line * 0.28
        photo = place(margin, bottom, wide, tall)
        overlay = place(margin + wide + gap, bottom, wide, tall)
        curve = place(margin + 2 * wide + 2 * gap + 0.1, bottom, narrow, tall)
        grey = scan.image @ np.array([0.299, 0.587, 0.114]) / 255
        back = np.repeat((0.30 + 0.62 * grey)[..., None], 3, axis=2)
        unread = np.repeat(~done, ROWS_PER_GROUP)
        back[:depth][unread] = 0.93 + 0.05 * back[:depth][unread]

        photo.imshow(scan.image, interpolation="lanczos", aspect="equal")
        overlay.imshow(back, interpolation="lanczos", aspect="equal")
        map_ = class_activation_map(scan.states, weights)
        limit = max(1e-9, float(np.quantile(np.abs(map_[done]), 0.98)))
        level = np.clip(map_ / limit, -1, 1)
        colour = _diverging(level)
        colour[~done, :, 3] = 0
        overlay.imshow(
            colour,
            extent=(-0.5, width - 0.5, depth - 0.5, -0.5),
            interpolation="nearest",
            aspect="equal",
        )
        for axes in (photo, overlay):
            axes.set_xlim(-0.5, width - 0.5)
            axes.set_ylim(height - 0.5, -0.5)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        if last < groups - 1:
            at = (last + 1) * ROWS_PER_GROUP - 0.5
            for axes in (photo, overlay):
                axes.axhline(at, color=warm, lw=1.6)
            overlay.text(
                width / 2,
                (at + height) / 2,
                "not read",
                color=faint,
                ha="center",
                va="center",
                fontsize=11,
            )

        sure = probability((scan.logits[:, 1] - scan.logits[:, 0]) * weights.scales["logit"])
        middle = (np.arange(groups) + 0.5) * ROWS_PER_GROUP - 0.5
        shown = sure[: last + 1]
        rows = middle[: last + 1]
        for side, shade in ((shown >= 0.5, warm), (shown <= 0.5, cool)):
            curve.fill_betweenx(
                rows, 0.5, shown, where=side, interpolate=True, color=shade, alpha=0.13, lw=0
            )
        curve.plot(shown, middle[: last + 1], color=ink, lw=1.8, solid_capstyle="round")
        used = list(scan.computed)
        curve.scatter(sure[used], middle[used], s=9, color=ink, zorder=3)
        for rule, name in ((stop, "stop"), (skip, "skip next")):
            if rule is None:
                continue
            shade = warm if name == "stop" else cool
            curve.axvline(rule, color=shade, lw=1, ls=(0, (4, 2)))
            curve.annotate(
                name,
                (rule, 0.03),
                xytext=(-3 if rule > 0.5 else 3, 0),
                textcoords="offset points",
                xycoords=curve.get_xaxis_transform(),
                color=shade,
                fontsize=8,
                rotation=90,
                ha="right" if rule > 0.5 else "left",
                va="bottom",
            )
        mark = warm if scan.person else cool
        curve.scatter([sure[last]], [middle[last]], s=70, color=mark, zorder=4, clip_on=False)
        curve.axvline(0.5, color=faint, lw=0.8)
        curve.set_xlim(-0.02, 1.02)
        curve.set_ylim(height - 0.5, -0.5)
        curve.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"], fontsize=9)
        curve.yaxis.tick_right()
        ticks = np.linspace(0, groups, 7).astype(int)
        curve.set_yticks(ticks * ROWS_PER_GROUP - 0.5, [str(tick) for tick in ticks], fontsize=9)
        curve.yaxis.set_label_position("right")
        curve.set_ylabel("row groups read", color=ink, fontsize=9)
        curve.grid(True, color="#e6e9ef", lw=0.8)
        curve.tick_params(length=0, colors=ink)
        curve.tick_params(axis="y", pad=7)
        for spine in curve.spines.values():
            spine.set_visible(False)

        titles = {"loc": "left", "fontsize": 10.5, "color": ink, "pad": 7}
        photo.set_title(scan.name, fontweight="bold", **titles)
        overlay.set_title("class activation, row group by row group", **titles)
        verdict = "person" if scan.person else "no person"
        after = f" after {len(used)} of {groups}" if len(used) < groups else ""
        curve.set_title(
            f"{verdict}: {100 * sure[last]:.1f} %{after}",
            fontweight="bold",
            **{**titles, "color": mark},
        )
    key = place(margin + wide + gap + 1.2, 0.2, 1.5, 0.09)
    key.imshow(_diverging(np.linspace(-1, 1, 128)[None, :], floor=0.25), aspect="auto")
    key.set_xticks([])
    key.set_yticks([])
    for spine in key.spines.values():
        spine.set_visible(False)
    text = {"transform": key.transAxes, "va": "center", "fontsize": 8.5, "color": ink}
    key.text(-0.04, 0.5, "against a person", ha="right", **text)
    key.text(1.04, 0.5, "for a person", ha="left", **text)
    figure.savefig(path)


def _diverging(level: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Blue to red with opacity by strength, for levels -1..1: (..., 4)."""
    warm, cool = np.array([0.86, 0.20, 0.18]), np.array([0.10, 0.42, 0.75])
    strength = np.abs(level)
    colour = np.empty((*level.shape, 4))
    colour[..., :3] = np.where(level[..., None] > 0, warm, cool)
    colour[..., 3] = floor + (0.82 - floor) * strength**0.8
    return colour
