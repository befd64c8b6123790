"""The pictures of `make report`, as SVG text for the page: the same bytes for the same content.

Each is made as wide as a telephone shows it, so that its words can be read there; a wide screen
puts several side by side.
"""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hw.plan.cost import STALLS
from sim.study.explore_plots import COLOURS, FAINT, GRID, INK

WIDE = 3.5  # inches
SIZE = 8  # points, of all words
PALE = "#dfe4ec"
WARM = "#d1495b"
CAUSES = dict(zip(STALLS, ("#d1495b", "#e9a23b", "#7b5ea7", "#5c4a3d"), strict=True))
PARTS = {
    "heads": "#9cc3d9",
    "features": "#e9c46a",
    "spatial attention": "#c9b6df",
    "channel attention": "#d8b9a0",
    "projection": "#a9d5b8",
    "GRU": "#f0a8a0",
    "state": "#8f9aa7",
}


def _axes(height: float, title: str = "") -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDE, height), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.tick_params(which="both", length=0, colors=INK, labelsize=SIZE)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", fontsize=SIZE + 1, color=INK, pad=6)
    return figure, axes


def _label(axes: Any, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x, fontsize=SIZE, color=INK)
    axes.set_ylabel(y, fontsize=SIZE, color=INK)


def _key(figure: Figure, handles: Sequence[Any], columns: int = 3) -> None:
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=SIZE,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1,
    )


def _plain(axes: Any) -> None:
    """Numbers without exponents along a logarithmic axis."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _svg(figure: Figure, name: str, what: str) -> str:
    """The figure as an element of the page; `name` keeps its identifiers apart from the others'."""
    file = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    box = re.search(r'viewBox="[^"]*"', text)[0]
    head = f'<svg class="plot" role="img" aria-label="{what}" {box} xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'  # noqa: E501
    return re.sub(r"<svg\b[^>]*>", head, text, count=1).strip()


# ---- work ----


def work(found: Mapping[str, Any]) -> str:
    """Cycles of each layer: multipliers at work, multipliers without work, stalls by cause."""
    layers = found["layers"]
    figure, axes = _axes(0.9 + 0.19 * len(layers))
    places = range(len(layers))
    left = [0.0] * len(layers)
    idle = [one["steps"] - one["macs"] / found["multipliers"] for one in layers]
    bars = [
        ("multiplying", COLOURS[0], [one["macs"] / found["multipliers"] for one in layers]),
        ("multipliers idle", PALE, idle),
        *((cause, CAUSES[cause], [one["stalls"][cause] for one in layers]) for cause in STALLS),
    ]
    for _, colour, values in bars:
        axes.barh(places, values, left=left, color=colour, height=0.72)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for place, one in zip(places, layers, strict=True):
        axes.text(
            left[place] + 0.01 * max(left),
            place,
            f"{100 * one['utilisation']:.1f} %",
            va="center",
            fontsize=SIZE - 0.5,
            color=INK,
        )
    axes.set_xlim(0, 1.17 * max(left))
    axes.set_yticks(places, [one["name"] for one in layers])
    axes.invert_yaxis()
    axes.grid(True, axis="x", color=GRID, lw=0.8)
    _label(axes, "cycles of a row group")
    _key(figure, [Patch(color=colour, label=name) for name, colour, _ in bars])
    return _svg(figure, "work", "cycles of each layer by what the multipliers do")


# ---- memories ----


def sizes(found: Mapping[str, Any]) -> str:
    """All bytes by category, beside the authors' count and the paper's limit."""
    figure, axes = _axes(2.1)
    authors = found["authors_count"]
    rows = [
        (
            "all of it",
            {k.replace("_", " "): v for k, v in found["bytes_by_category"].items() if v},
        ),
        ("authors' count", {"weights": authors["weights"], "peak": authors["peak"]}),
    ]
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    colours = dict(zip(names, COLOURS, strict=False)) | {"peak": PARTS["GRU"]}
    for place, (_, parts) in enumerate(rows):
        left = 0.0
        for name, size in parts.items():
            axes.barh(place, size / 1e3, left=left, color=colours[name], height=0.6)
            left += size / 1e3
    limit = found["limit_bytes"] / 1e3
    axes.axvline(limit, color=WARM, lw=1, ls=(0, (4, 2)))
    axes.text(limit, -0.42, f"paper's limit {limit:g} ", color=WARM, fontsize=SIZE, ha="right")
    longest = max(sum(parts.values()) for _, parts in rows) / 1e3
    axes.set_xlim(0, 1.14 * max(limit, longest))
    axes.set_ylim(1.5, -0.7)
    totals = [f"{name}\n{sum(parts.values()) / 1e3:.1f}" for name, parts in rows]
    axes.set_yticks(range(len(rows)), totals)
    axes.grid(True, axis="x", color=GRID, lw=0.8)
    _label(axes, "KB (1,000 bytes)")
    _key(figure, [Patch(color=colours[name], label=name) for name in names])
    return _svg(figure, "sizes", "bytes of all memories beside the paper's limit of 60 KB")


def lifetimes(found: Mapping[str, Any]) -> str:
    """A bank of maps and state: words across, the operations of a row group downwards."""
    names = [one["name"] for one in found["operations"]]
    figure, axes = _axes(1.15 + 0.19 * len(names))
    axes.set_xlim(0, found["bank_words"])
    axes.set_ylim(len(names), 0)
    inch = (WIDE - 0.6) / found["bank_words"]  # of a word, about
    for one in found["maps"]:
        tall = one["to"] - one["from"] + 1
        box = Rectangle(
            (one["base"], one["from"]),
            one["words"],
            tall,
            facecolor=PARTS[one["part"]],
            edgecolor="white",
            linewidth=1.2,
        )
        axes.add_patch(box)
        # sideways where only that fits
        across = 0.065 * len(one["name"])
        if across < inch * one["words"] or tall > 1:
            axes.text(
                one["base"] + one["words"] / 2,
                one["from"] + tall / 2,
                one["name"],
                ha="center",
                va="center",
                fontsize=SIZE - 1,
                color=INK,
                rotation=0 if across < inch * one["words"] else 90,
                clip_on=True,
            )
    axes.set_yticks([place + 0.5 for place in range(len(names))], names)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    _label(axes, "word of a bank")
    used = [part for part in PARTS if any(one["part"] == part for one in found["maps"])]
    _key(figure, [Patch(color=PARTS[part], label=part) for part in used])
    return _svg(
        figure, "lifetimes", "which map is in which words of a bank, operation by operation"
    )


def lines(found: Mapping[str, Any]) -> str:
    """The rows of the line buffer: three row groups one after the other."""
    rows = found["lines"]
    figure, axes = _axes(1.9)
    period = rows[0]["arrives"] - rows[-1]["arrives"]
    period = round(-period * len(rows) / (len(rows) - 1))  # rows come evenly
    for group in (-1, 0, 1):
        alpha = 1.0 if group == 0 else 0.35
        for one in rows:
            at = group * period
            spans = (
                ("arrives", "there", PARTS["heads"]),
                ("there", "released", COLOURS[0]),
            )
            for start, end, colour in spans:
                axes.barh(
                    one["row"],
                    one[end] - one[start],
                    left=at + one[start],
                    color=colour,
                    height=0.66,
                    alpha=alpha,
                )
    axes.set_xlim(0, max(one["released"] for one in rows) * 1.02)
    axes.set_yticks(range(len(rows)), [f"row {one['row']}" for one in rows])
    axes.invert_yaxis()
    axes.grid(True, axis="x", color=GRID, lw=0.8)
    axes.locator_params(axis="x", nbins=5)
    _label(axes, "cycles from a row group's first pixel")
    handles = [
        Patch(color=PARTS["heads"], label="arriving"),
        Patch(color=COLOURS[0], label="whole, until it is let go"),
        Patch(color=PALE, label="pale: other groups"),
    ]
    _key(figure, handles, 2)
    return _svg(figure, "lines", "when each row of the line buffer arrives and is let go")


# ---- early termination ----


def scans(found: Mapping[str, Any]) -> str:
    """The person probability after each row group, and the thresholds."""
    early = found["early_termination"]
    shown = [one for one in early["pictures"] if one["person"]]
    chosen = early["thresholds"][0]
    figure, axes = _axes(2.3)
    few = len(shown) <= 4
    for number, one in enumerate(shown):
        at = range(len(one["person"]))
        colour = COLOURS[number % len(COLOURS)] if few else COLOURS[0]
        look = {"lw": 1.4 if few else 0.6, "alpha": 1 if few else 0.5}
        values = [100 * value for value in one["person"]]
        axes.plot(at, values, color=colour, label=_short(one["name"]), **look)
        last = one["last_row_group"]
        axes.plot([last], [values[last]], "o", ms=4, color=colour, clip_on=False)
    for level, name in ((chosen["stop"], "stop"), (chosen["skip"], "skip next")):
        if level is not None:
            axes.axhline(100 * level, color=WARM, lw=0.9, ls=(0, (4, 2)))
            axes.text(0, 100 * level + 1.5, name, color=WARM, fontsize=SIZE, va="bottom")
    axes.set_ylim(0, 109)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.grid(True, color=GRID, lw=0.8)
    _label(axes, "row group (dot: where the frame ends)", "person, %")
    if few:
        _key(figure, axes.get_legend_handles_labels()[0], 2)
    return _svg(figure, "scans", "person probability of each photograph over the row groups")


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


# ---- energy ----


def energy(found: Mapping[str, Any]) -> str:
    """A frame's energy by part at the sensor's rate, with bounds."""
    parts = {
        name: uj for name, uj in found["energy_uj"].items() if name != "total" and uj >= 0.0005
    }
    names = sorted(parts, key=lambda name: -parts[name])
    figure, axes = _axes(0.55 + 0.19 * len(names))
    places = range(len(names))
    values = [parts[name] for name in names]
    low = [parts[name] - found["energy_low_uj"][name] for name in names]
    high = [found["energy_high_uj"][name] - parts[name] for name in names]
    colours = [COLOURS[2] if name.startswith("sram") else COLOURS[0] for name in names]
    axes.scatter(values, places, color=colours, s=13, zorder=3)
    axes.errorbar(values, places, xerr=[low, high], fmt="none", ecolor=FAINT, elinewidth=2.4)
    axes.set_xscale("log")
    _plain(axes)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.grid(True, color=GRID, lw=0.8)
    _label(axes, "uJ a frame; lines: bounds")
    return _svg(figure, "energy", "energy of a frame by part, with bounds")


def shapes(found: Mapping[str, Any]) -> str:
    """Power over area of other arrays for the same sensor."""
    figure, axes = _axes(2.6)
    every, at = found["shapes"], ("area_mm2", "power_mw")
    best = sorted((one for one in every if one["best"]), key=lambda one: one["area_mm2"])
    axes.plot(
        [one["area_mm2"] for one in best],
        [one["power_mw"] for one in best],
        color=COLOURS[0],
        lw=1,
        alpha=0.6,
    )
    for one in every:
        axes.scatter(
            one["area_mm2"],
            one["power_mw"],
            s=22,
            facecolor=COLOURS[0] if one["best"] else "none",
            edgecolor=WARM if one["shape"] == found["shape"] else COLOURS[0],
            linewidth=1.6 if one["shape"] == found["shape"] else 0.8,
            zorder=3,
        )
    own = [one for one in every if one["shape"] == found["shape"]]
    spans = [max(one[key] for one in every) - min(one[key] for one in every) for key in at]
    named: list[dict[str, Any]] = []
    for one in [*own, *best]:  # as many names as have room
        apart = [
            [abs(one[key] - other[key]) / (span or 1) for key, span in zip(at, spans, strict=True)]
            for other in named
        ]
        if all(x > 0.15 or y > 0.09 for x, y in apart):
            named.append(one)
            axes.annotate(
                one["shape"],
                [one[key] for key in at],
                xytext=(-3, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=SIZE - 1,
                color=INK,
            )
    axes.margins(0.17, 0.12)
    axes.set_ylim(bottom=0)
    axes.grid(True, color=GRID, lw=0.8)
    _label(axes, "mm2 (estimate)", "mW")
    return _svg(figure, "shapes", "power over area of other shapes for the same sensor")


# ---- accuracy ----

_PANELS = (
    ("peak_kb", "peak memory, KB"),
    ("weights_kb", "weights, KB"),
    ("macs_m", "MACs, millions"),
)
_FAMILIES = {
    "RaScaNet": (COLOURS[0], "o"),
    "RaScaNet, early termination": (COLOURS[6], "o"),
    "MCUNet": (COLOURS[2], "s"),
    "MicroNets": (COLOURS[4], "^"),
    "MLPerf Tiny reference": (COLOURS[5], "D"),
    "ours, other pictures": (WARM, "*"),
    "ours, early termination": (WARM, "*"),
}


def accuracy(found: Mapping[str, Any]) -> list[str]:
    """Accuracy over peak memory, weights and MACs."""
    pictures = []
    for key, label in _PANELS:
        figure, axes = _axes(2.7)
        shown = [point for point in found["accuracy"] if key in point]
        for point in shown:
            colour, mark = _FAMILIES[point["family"]]
            early = "early termination" in point["name"]
            axes.scatter(
                point[key],
                point["accuracy"],
                marker=mark,
                s=70 if point["ours"] else 26,
                facecolor="none" if early else colour,
                edgecolor=colour,
                linewidth=1.1,
                zorder=3,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        _plain(axes)
        axes.set_xlim(
            0.7 * min(point[key] for point in shown), 1.4 * max(point[key] for point in shown)
        )
        axes.set_ylim(min(point["accuracy"] for point in shown) - 2, 95)
        axes.grid(True, color=GRID, lw=0.8)
        _label(axes, label, "accuracy, %")
        present = [name for name in _FAMILIES if any(p["family"] == name for p in shown)]
        handles = [
            Line2D(
                [], [], ls="", ms=5, label=name, color=_FAMILIES[name][0],
                marker=_FAMILIES[name][1],
                markerfacecolor="none" if "early" in name else _FAMILIES[name][0],
            )
            for name in present
        ]  # fmt: skip
        _key(figure, handles, 2)
        pictures.append(_svg(figure, f"accuracy-{key.split('_')[0]}", f"accuracy over {label}"))
    return pictures
