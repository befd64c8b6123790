"""docs/row_group.svg: a row group going through memories and array, operation by operation.

Every figure in it is the plan's (`hw.plan`): which map lies in which words from when to when, what
an operation reads and writes, in which cycles, with which weights. It moves by CSS alone. Shown for
as long as it takes an operation would often be over in a blink, so that each gets a time of its own
besides; the bars of the lower edge are to scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from golden import files
from golden.config import preset
from golden.network import Part
from hw.plan import EngineConfig, Function, Operation, Plan, Source, Target, compile_program

PRESET, SHAPE = "vww_105x120", "8,1,2"
LEAST_S, SHARED_S = 1.6, 16.0
"""Seconds that each operation is shown for at least, and that all share by their cycles."""
STILL = "c3"
"""The operation that is shown where nothing moves."""

BLUE, RED, AMBER, GREY, INK, PALE = "#2a6f97", "#d1495b", "#e09f3e", "#5b6577", "#1d2433", "#eef3f8"

PARTS = {
    Part.KEY: "spatial attention, key (Eq. 6)",
    Part.SCORE: "spatial attention, scores and softmax (Eq. 7)",
    Part.VALUE: "spatial attention, value (Eq. 8)",
    Part.MIX: "spatial attention, output (Eq. 9)",
    Part.ATTENTION_HIDDEN: "channel attention, hidden layer (Eq. 10-12)",
    Part.ATTENTION_GATE: "channel attention, gate (Eq. 10-13)",
    Part.PROJECTION: "projection (Eq. 1, 13)",
    Part.RESET: "conv-GRU, reset gate (Eq. 2, 4)",
    Part.UPDATE: "conv-GRU, update gate (Eq. 3)",
    Part.CANDIDATE: "conv-GRU, candidate and new state (Eq. 4, 5)",
}
FUNCTIONS = {
    Function.RELU: "requantise, ReLU",
    Function.SIGNED: "requantise",
    Function.CHANNEL: "sigmoid, times C",
    Function.RESET: "sigmoid, times H",
    Function.UPDATE: "sigmoid",
    Function.BLEND: "tanh, N + (H - N) U",
    Function.MIX: "add to P",
}


def plan() -> Plan:
    """Of the engine that is drawn."""
    return compile_program(preset(PRESET), EngineConfig.parse(SHAPE))


# ---- in words ----


def what(op: Operation) -> str:
    """What an operation computes."""
    layer = op.layer
    if layer.part == Part.HEAD:
        row = f", row {op.row + 1} of {layer.rows_out}" if layer.rows_out > 1 else ""
        count = len(op.layers)
        heads = f"{count} heads at once" if count > 1 else f"head {layer.head + 1}"
        return f"block {layer.block + 1}{row}, {heads}"
    return PARTS[layer.part]


def reads(op: Operation) -> list[str]:
    """Names of the maps that it reads, operands too; X is the line buffer."""
    return list(dict.fromkeys([*(one.map for one in op.segments), *op.operands]))


def rows_read(op: Operation) -> range:
    """Rows of the line buffer that it reads."""
    if op.source != Source.CAMERA:
        return range(0)
    return range(op.in_row, op.in_row + op.kernel_rows)


def cycles(op: Operation) -> int:
    """From its first step to its last one."""
    return op.last_step - op.start + 1


def busy(plan: Plan, op: Operation) -> float:
    """Its products over what the array could have made in that time."""
    return op.macs / (plan.engine.multipliers * cycles(op))


def table(plan: Plan) -> str:
    """The operations of a row group, in Markdown."""
    lines = [
        "| | computes | reads | writes | cycles | walks x steps | multipliers busy |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for op in plan.operations:
        seen = ["line buffer" if name == "X" else f"`{name}`" for name in reads(op)]
        cells = (
            f"`{op.name}`",
            what(op),
            ", ".join(seen),
            f"`{op.out}`",
            f"{op.start:,} to {op.last_step:,}",
            f"{op.walks:,} x {op.k:,}",
            f"{100 * busy(plan, op):.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    answer = plan.answer - plan.cycles_per_row_group
    lines.append(
        f"| | all of it | | | {plan.cycles_per_row_group:,} cycles | | "
        f"{100 * plan.utilisation():.1f} % |"
    )
    return (
        "\n".join(lines) + f"\n\nThe classifier answers in cycle {answer:,} of the next row group: "
        f"{plan.classifier_cycles:,} cycles, beside the array."
    )


# ---- drawn ----


class Clock:
    """When each operation is shown, in percent of the animation."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        shares = [
            LEAST_S + SHARED_S * cycles(op) / plan.cycles_per_row_group for op in plan.operations
        ]
        self.seconds = sum(shares)
        ends = [0.0]
        for share in shares:
            ends.append(ends[-1] + 100 * share / self.seconds)
        self.ends = ends
        self.rules: dict[tuple[int, int], str] = {}

    def shown(self, first: int, last: int) -> str:
        """Class of what is seen from one operation to the end of another one (inclusive)."""
        if (first, last) not in self.rules:
            self.rules[first, last] = f"s{len(self.rules)}"
        return self.rules[first, last]

    def style(self) -> Iterator[str]:
        """The rules of all classes."""
        still = next(i for i, op in enumerate(self.plan.operations) if op.name == STILL)
        for (first, last), name in self.rules.items():
            begin, end = self.ends[first], self.ends[last + 1]
            frames = "0%{opacity:1}" if first == 0 else f"0%{{opacity:0}}{begin:.3f}%{{opacity:1}}"
            if last + 1 < len(self.ends) - 1:
                frames += f"{end:.3f}%{{opacity:0}}"
            shown = int(first <= still <= last)
            moves = f"animation:{name} {self.seconds:.1f}s step-end infinite"
            yield f".{name}{{opacity:{shown};{moves}}}"
            yield f"@keyframes {name}{{{frames}}}"

    def cursor(self, left: float, width: float) -> Iterator[str]:
        """The rule of the mark that goes along the bars."""
        whole = self.plan.cycles_per_row_group
        frames = []
        for op, begin, end in zip(self.plan.operations, self.ends[:-1], self.ends[1:], strict=True):
            for share, at in ((begin, op.start), (end - 0.001, op.last_step)):
                frames.append(f"{share:.3f}%{{transform:translateX({width * at / whole:.1f}px)}}")
        still = next(op for op in self.plan.operations if op.name == STILL)
        yield (
            f".cursor{{transform:translateX({width * still.start / whole:.1f}px);"
            f"animation:cursor {self.seconds:.1f}s linear infinite}}"
        )
        yield f"@keyframes cursor{{{''.join(frames)}}}"


def _text(x: float, y: float, words: str, **more: object) -> str:
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:g}" y="{y:g}"{given}>{escape(words)}</text>'


def _box(x: float, y: float, width: float, height: float, **more: object) -> str:
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:.1f}"{given}/>'


def _arrow(path: str, colour: str, shown: str) -> str:
    mark = {BLUE: "blue", AMBER: "amber", RED: "red"}[colour]
    return f'<path class="{shown}" d="{path}" stroke="{colour}" marker-end="url(#{mark})"/>'


def _line_buffer(plan: Plan, clock: Clock) -> Iterator[str]:
    """Five rows: kept, read, let go."""
    count = plan.model.rows_per_group
    last = len(plan.operations) - 1
    yield _text(100, 78, "line buffer", text_anchor="middle", font_weight="bold")
    for row in range(count):
        y = 92 + 30 * row
        until = next((i for i, op in enumerate(plan.operations) if op.release_rows > row), last)
        yield _box(30, y, 140, 24, fill="#ffffff", stroke="#c9d5e2")
        yield _box(30, y, 140, 24, fill="#cfe0ec", stroke=BLUE, **{"class": clock.shown(0, until)})
        for index, op in enumerate(plan.operations):
            if row in rows_read(op):
                shown = clock.shown(index, index)
                yield _box(30, y, 140, 24, fill="#7fb0d0", **{"class": shown})
        yield _text(40, y + 16, f"row {row + 1}", font_size=12)
        if until < last:
            shown = clock.shown(until + 1, last)
            yield _text(164, y + 16, "next group's", font_size=11, fill=GREY, text_anchor="end",
                        **{"class": shown})  # fmt: skip
    yield _text(100, 262, f"{count} x {plan.model.image_width} pixels", text_anchor="middle",
                font_size=12, fill=GREY)  # fmt: skip


def _banks(plan: Plan, clock: Clock) -> Iterator[str]:
    """The words of a bank of maps and state, and what lies in them."""
    left, top, width, height = 225, 92, 150, 300
    scale = height / plan.bank_words
    ends = len(plan.operations) - 1
    yield _text(left + width / 2, 78, "maps and state", text_anchor="middle", font_weight="bold")
    yield _box(left, top, width, height, fill="#ffffff", stroke="#c9d5e2")
    for name, one in plan.maps.items():
        y, tall = top + one.base * scale, one.words * scale
        alive = clock.shown(max(0, one.born), min(ends, one.dies))
        fill = "#f6d5da" if name == "H" else "#dfe8f0"
        yield _box(left + 2, y + 1, width - 4, tall - 2, fill=fill, **{"class": alive})
        for index, op in enumerate(plan.operations):
            if name in reads(op):
                yield _box(left + 2, y + 1, width - 4, tall - 2, fill="none", stroke=BLUE,
                           stroke_width=3, **{"class": clock.shown(index, index)})  # fmt: skip
            if name == op.out:
                yield _box(left + width - 16, y + 1, 14, tall - 2, fill=AMBER,
                           **{"class": clock.shown(index, index)})  # fmt: skip
        words = "H, the state" if name == "H" else name
        yield _text(left + 10, y + tall / 2 + 4, words, font_size=12, **{"class": alive})
    banks = plan.engine.lanes
    yield _text(left + width / 2, top + height + 20,
                f"{banks} banks of {plan.bank_words} words of {plan.engine.pixels} bytes",
                text_anchor="middle", font_size=12, fill=GREY)  # fmt: skip


def _array(plan: Plan, clock: Clock) -> Iterator[str]:
    """The multipliers, and the unit that makes bytes of their sums."""
    shape = plan.engine
    left, top, width = 470, 120, 250
    yield _text(left + width / 2, 78, "multiplier array", text_anchor="middle", font_weight="bold")
    rows = shape.channels * shape.lanes
    wide, tall = width / shape.pixels, 72 / rows
    for row in range(rows):
        for pixel in range(shape.pixels):
            # neighbours beat one after the other, so that the eye sees a stream
            late = 0.06 * (pixel + row)
            yield _box(left + pixel * wide + 2, top + row * tall + 2, wide - 4, tall - 4, rx=3,
                       fill=BLUE, style=f"animation-delay:-{late:.2f}s",
                       **{"class": "beat"})  # fmt: skip
    yield _text(left + width / 2, top - 14, f"{shape.pixels} pixels x {shape.channels} channel"
                f"{'s' if shape.channels > 1 else ''} x {shape.lanes} lanes",
                text_anchor="middle", font_size=12, fill=GREY)  # fmt: skip
    yield _box(left, 262, width, 56, rx=7, fill="#ffffff", stroke=BLUE, stroke_width=1.6)
    yield _text(left + width / 2, 282, "channel units", text_anchor="middle", font_weight="bold")
    for index, op in enumerate(plan.operations):
        yield _text(left + width / 2, 304, FUNCTIONS[op.function], text_anchor="middle",
                    font_size=13, **{"class": clock.shown(index, index)})  # fmt: skip


def _weights(plan: Plan, clock: Clock) -> Iterator[str]:
    """The weight memory, and the words of the operation that runs."""
    left, top, width, height = 810, 92, 150, 300
    scale = height / plan.weight_words
    yield _text(left + width / 2, 78, "weights", text_anchor="middle", font_weight="bold")
    yield _box(left, top, width, height, fill="#ffffff", stroke="#c9d5e2")
    drawn = set()
    for index, op in enumerate(plan.operations):
        count = plan.weight_words_of(op)
        y, tall = top + op.weight_base * scale, max(2.0, count * scale)
        if op.weight_base not in drawn:
            drawn.add(op.weight_base)
            yield _box(left + 2, y, width - 4, tall - 0.8, fill="#dfe8f0")
        shown = clock.shown(index, index)
        yield _box(left + 2, y, width - 4, tall - 0.8, fill=BLUE, **{"class": shown})
        yield _text(left + width, top + height + 20, f"words {op.weight_base:,} to "
                    f"{op.weight_base + count - 1:,} of {plan.weight_words:,}",
                    text_anchor="end", font_size=12, fill=GREY, **{"class": shown})  # fmt: skip


def _ways(plan: Plan, clock: Clock) -> Iterator[str]:
    """What goes where."""
    yield '<g fill="none" stroke-width="3">'
    for index, op in enumerate(plan.operations):
        shown = clock.shown(index, index)
        if op.source == Source.CAMERA:
            yield _arrow("M174 104C196 62 220 61 300 61C410 61 424 104 462 136", BLUE, shown)
        else:
            yield _arrow("M379 170C410 170 420 158 462 158", BLUE, shown)
        if op.operands:
            yield _arrow("M379 250C420 250 420 278 462 278", BLUE, shown)
        yield _arrow("M806 158H728", BLUE, shown)
        yield _arrow("M595 214V256", BLUE, shown)
        if op.target in (Target.HEAD, Target.SHARED, Target.CONCAT):
            yield _arrow("M466 300C430 300 420 330 383 330", RED if op.out == "H" else AMBER, shown)
    yield "</g>"


def _bars(plan: Plan, clock: Clock) -> Iterator[str]:
    """The cycles of the row group, to scale, and what is said of the operation that runs."""
    left, top, width = 30, 506, 930
    whole = plan.cycles_per_row_group
    for index, op in enumerate(plan.operations):
        x, wide = left + width * op.start / whole, width * cycles(op) / whole
        yield _box(x, top, wide - 0.6, 26, fill="#b7cbdb")
        yield _box(x, top, wide - 0.6, 26, fill=BLUE, **{"class": clock.shown(index, index)})
        shown = clock.shown(index, index)
        if wide > 9 * len(op.name):
            for colour, seen_when in ((INK, {}), ("#ffffff", {"class": shown})):
                yield _text(x + wide / 2, top + 17, op.name, text_anchor="middle", font_size=11,
                            fill=colour, **seen_when)  # fmt: skip
        yield _text(30, 452, f"{op.name}: {what(op)}", font_size=17, font_weight="bold",
                    **{"class": shown})  # fmt: skip
        seen = ", ".join("the line buffer" if name == "X" else name for name in reads(op))
        yield _text(30, 476, f"reads {seen}; writes {op.out}", font_size=13, fill=GREY,
                    **{"class": shown})  # fmt: skip
        yield _text(960, 452, f"cycles {op.start:,} to {op.last_step:,}", font_size=15,
                    text_anchor="end", **{"class": shown})  # fmt: skip
        yield _text(960, 476, f"{op.walks:,} walks of {op.k:,} steps, {op.macs:,} products, "
                    f"{100 * busy(plan, op):.1f} % of the multipliers busy", font_size=13,
                    fill=GREY, text_anchor="end", **{"class": shown})  # fmt: skip
    yield f'<path class="cursor" d="M{left} {top - 5}v36" stroke="{RED}" stroke-width="2.5"/>'
    answer = plan.answer - whole
    begin = max(0, answer - plan.classifier_cycles)
    yield _box(left + width * begin / whole, top + 32, width * (answer - begin) / whole, 6,
               fill=RED)  # fmt: skip
    yield _text(left + width * answer / whole + 6, top + 40,
                f"classifier, on the state of the row group before: answer in cycle {answer:,}",
                font_size=12, fill=GREY)  # fmt: skip
    yield _text(left + width, top + 40, f"{whole:,} cycles, to scale", font_size=12, fill=GREY,
                text_anchor="end")  # fmt: skip


def svg(plan: Plan) -> str:
    """The drawing."""
    clock = Clock(plan)
    model = plan.model
    parts = [
        part
        for draw in (_line_buffer, _banks, _array, _weights, _ways, _bars)
        for part in draw(plan, clock)
    ]
    style = [
        ".beat{animation:beat .9s ease-in-out infinite}",
        "@keyframes beat{0%,100%{opacity:1}50%{opacity:.35}}",
        *clock.style(),
        *clock.cursor(30, 930),
        "@media (prefers-reduced-motion:reduce){*{animation:none!important}}",
    ]
    tips = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
        for name, colour in (("blue", BLUE), ("amber", AMBER), ("red", RED))
    )
    words = (
        f"One row group of {model.name} on an array of {SHAPE}: blue is read, amber is written, "
        "red is the state"
    )
    return "\n".join(
        (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 990 570" '
            'font-family="Helvetica, Arial, sans-serif" font-size="14" '
            f'fill="{INK}">',
            f"<title>{escape(words)}</title>",
            f"<style>{''.join(style)}</style>",
            f"<defs>{tips}</defs>",
            '<rect width="990" height="570" rx="10" fill="#ffffff"/>',
            _box(14, 54, 962, 368, rx=9, fill=PALE),
            _text(495, 34, words, text_anchor="middle", font_size=15, fill=INK),
            *parts,
            "</svg>\n",
        )
    )


PICTURE = files.ROOT / "docs" / "row_group.svg"
PAGE = files.ROOT / "docs" / "how_it_works.md"
MARK = "row_group"


def main() -> None:
    """Draws docs/row_group.svg and writes the table in docs/how_it_works.md."""
    found = plan()
    files.write(PICTURE, svg(found))
    old = PAGE.read_text(encoding="utf-8")
    files.write(PAGE, files.between(PAGE, old, MARK, table(found)))
