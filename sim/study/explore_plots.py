"""Pictures of a sweep: the objectives, and what they hang on, against each other."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from golden import files
from sim.study.point import SAME

INK, FAINT, GRID = "#1d2433", "#9aa3b2", "#e6e9ef"
COLOURS = ("#2a6f97", "#d1495b", "#e9a23b", "#3c8d6e", "#7b5ea7", "#5c4a3d", "#4fb0c6", "#8f9aa7")
MARKS = "o^vsDPX*"
LABELS = {
    "multipliers": "multipliers",
    "slowest_clock_mhz": "slowest clock that keeps up, MHz",
    "on_chip_bytes": "bytes on the chip",
    "area_mm2": "mm2",
    "sensor_uj": "uJ a frame at the sensor's rate",
}
PANELS = (
    ("area_mm2", "sensor_uj", "Area and energy"),
    ("on_chip_bytes", "sensor_uj", "Bytes and energy"),
    ("slowest_clock_mhz", "sensor_uj", "A slower clock, less energy"),
    ("multipliers", "slowest_clock_mhz", "More multipliers, a slower clock"),
)


def _family(name: str) -> tuple[str, str]:
    """A preset's picture size, and its variant ("" for the plain one)."""
    match = re.fullmatch(r"(.*?\d+x\d+)_?(.*)", name)
    return (match[1], match[2]) if match else (name, "")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """All points of the first point's use; those on a front joined by lines.

    found: the content of explore.json.
    """
    every = found["points"]
    first = {name: every[0][name] for name in SAME[1:]}
    front = set(found["pareto"])
    shown = [
        (point, i in front)
        for i, point in enumerate(every)
        if all(point[name] == first[name] for name in first)
    ]
    sizes = list(dict.fromkeys(_family(point["preset"])[0] for point, _ in shown))
    kinds = list(dict.fromkeys(_family(point["preset"])[1] for point, _ in shown))
    figure = Figure(figsize=(11, 8.6), layout="constrained", facecolor="white")
    panels = figure.subplots(2, 2)
    for axes, (x, y, title) in zip(panels.flat, PANELS, strict=True):
        for name in dict.fromkeys(point["preset"] for point, _ in shown):
            size, kind = _family(name)
            colour = shade(COLOURS[sizes.index(size) % len(COLOURS)], kinds.index(kind), len(kinds))
            mark = MARKS[kinds.index(kind) % len(MARKS)]
            own = [(p[x], p[y], on) for p, on in shown if p["preset"] == name]
            for on in (False, True):
                at = [(a, b) for a, b, there in own if there == on]
                axes.scatter(
                    [a for a, _ in at],
                    [b for _, b in at],
                    s=26 if on else 12,
                    marker=mark,
                    facecolor=colour if on else "none",
                    edgecolor=colour,
                    linewidth=0.8,
                    alpha=0.9 if on else 0.35,
                    zorder=3 if on else 2,
                )
            # what is least in these two alone
            least, line = float("inf"), []
            for a, b, _ in sorted(own):
                if b < least:
                    least = b
                    line.append((a, b))
            axes.plot(
                [a for a, _ in line], [b for _, b in line], color=colour, lw=1, alpha=0.6, zorder=1
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis, key in ((axes.xaxis, x), (axes.yaxis, y)):
            _ticks(axis, [point[key] for point, _ in shown])
        axes.set_xlabel(LABELS[x], color=INK, fontsize=9)
        axes.set_ylabel(LABELS[y], color=INK, fontsize=9)
        axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=8)
        axes.grid(True, color=GRID, lw=0.8)
        axes.tick_params(which="both", length=0, colors=INK, labelsize=8)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_axisbelow(True)
    handles = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], marker="o", ls="", ms=5, label=name)
        for i, name in enumerate(sizes)
    ]
    handles += [
        Line2D(
            [],
            [],
            color=shade("#4a4f5a", i, len(kinds)),
            marker=MARKS[i % len(MARKS)],
            ls="",
            ms=5,
            label=kind or "plain",
        )
        for i, kind in enumerate(kinds)
        if len(kinds) > 1
    ]
    rate = every[0]["sensor_frames_per_s"]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(10, len(handles)),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        title=f"{first['technology']}, {rate:g} frames/s with the slowest clock that keeps up; "
        "filled: on the Pareto front of energy, area and bytes; lines: least of the two shown",
        title_fontsize=8.5,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(path) as part:
        figure.savefig(part, dpi=110, metadata={"Software": None})


def shade(colour: str, index: int, count: int) -> str:
    """A colour of its own for each variant: from the plain one's to a light one."""
    part = 0.65 * index / max(1, count - 1)
    mixed = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + part * (255 - c)):02x}" for c in mixed)


def _ticks(axis: Any, values: list[float]) -> None:
    """Round numbers at 1, 2, 5 of each decade, or the whole range's when it is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    wide = max(values) > 30 * min(values)
    axis.set_major_locator(LogLocator(subs=(1,) if wide and max(values) > 1e4 else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
