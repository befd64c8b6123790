"""The picture that a screen shows of a scan: layout, lettering, colours.

The integer model of boards.video.screen.

::

    ┌──────────────────────┬────────┐
    │ what the camera sees │ ███    │  a bar for each row group, beside its rows: its probability
    │ with the activation  │ █████  │
    │ over it              │ ██     │
    ├──────────────────────┴────────┤
    │ PERSON                        │  the last decision
    │ FRAMES 00123 FAULTS 0004      │
    └───────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from golden.config import ModelConfig
from golden.video import Mode

FRAME_DIGITS, FAULT_DIGITS = 5, 4
LETTERS = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
"""By code, 0 first."""
SLOT = 48
"""From this code on: the digits of the counters, from left to right."""
PAGE = 64
"""Places of a line of text; line 1 is page 0, line 0 page 1 + what was decided."""
CELL = 8
"""Pixels of a letter each way, at scale 1."""

_FONT = """
.###. ####. .#### ####. ##### ##### .#### #...# .###. ..### #...# #.... #...#
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #..#. #.... ##.##
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.#
##### ####. #.... #...# ####. ####. #..## ##### ..#.. ...#. ##... #.... #.#.#
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...#
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...#
#...# ####. .#### ####. ##### #.... .#### #...# .###. .##.. #...# ##### #...#

#...# .###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# #####
##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....#
#.#.# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.
#..## #...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..
#...# #...# #.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#...
#...# #...# #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #....
#...# .###. #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. #####

.###. ..#.. .###. ####. ...#. ##### .###. ##### .###. .###. .....
#...# .##.. #...# ....# ..##. #.... #.... ....# #...# #...# .....
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# .....
#.#.# ..#.. ...#. .###. #..#. ....# ####. ..#.. .###. .#### .###.
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....# .....
#...# ..#.. .#... ....# ...#. ....# #...# ..#.. #...# ....# .....
.###. .###. ##### ####. ...#. ####. .###. ..#.. .###. .###. .....
"""


def font() -> list[int]:
    """Rows of all letters, CELL each: a byte, the leftmost pixel its bit 0."""
    rows = [[0] * CELL]  # the blank
    for block in _FONT.strip().split("\n\n"):
        lines = [line.split() for line in block.splitlines()]
        for glyph in zip(*lines, strict=True):
            bits = [sum(1 << i for i, dot in enumerate(row) if dot == "#") for row in glyph]
            rows.append(bits + [0] * (CELL - len(bits)))
    return [row for letter in rows for row in letter]


def codes(text: str, width: int) -> list[int]:
    """A line's codes; `#` is the next digit of the counters, what has no letter is blank."""
    found, slot = [], SLOT
    for letter in text.upper()[:width].ljust(width):
        if letter == "#":
            found.append(slot)
            slot += 1
        else:
            found.append(max(0, LETTERS.find(letter)))
    return found


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things are on the screen.

    Attributes
    ----------
    mode : Mode
    model : ModelConfig
    step : int
        Each `step`-th row and pixel of the network's picture is kept.
    """

    mode: Mode
    model: ModelConfig
    step: int

    def __post_init__(self) -> None:
        if self.unit < 1:
            raise ValueError(
                f"a picture of {self.model.image_width} x {self.model.image_height} must fit "
                f"{3 * self.mode.width // 4} x {7 * self.mode.height // 8} of the screen"
            )

    @property
    def rows(self) -> int:
        """Of the kept picture; columns : likewise."""
        return -(-self.model.image_height // self.step)

    @property
    def columns(self) -> int:
        return -(-self.model.image_width // self.step)

    @property
    def unit(self) -> int:
        """Pixels of the screen to a pixel of the network's picture; `zoom`: of the kept one."""
        wide = 3 * self.mode.width // 4 // (self.columns * self.step)
        return min(wide, 7 * self.mode.height // 8 // (self.rows * self.step))

    @property
    def zoom(self) -> int:
        return self.unit * self.step

    @property
    def group_lines(self) -> int:
        """Lines of the screen of a row group."""
        return self.unit * self.model.rows_per_group

    @property
    def picture(self) -> tuple[int, int]:
        """Width and height of the picture on the screen."""
        return self.columns * self.zoom, self.rows * self.zoom

    @property
    def bar_left(self) -> int:
        return 3 * self.mode.width // 4 + self.mode.width // 40

    @property
    def bar_shift(self) -> int:
        """Right shift of a probability that gives the length of its bar."""
        room = self.mode.width // 4 - 2 * (self.mode.width // 40)
        return next(s for s in range(8) if 255 >> s < room)

    @property
    def text_scale(self) -> int:
        return 2 if self.mode.height >= 480 else 1

    @property
    def text_columns(self) -> int:
        return min(PAGE, self.mode.width // (CELL * self.text_scale))

    def text_top(self, line: int) -> int:
        """First line of the screen of a line of text, 0 or 1."""
        return self.mode.height - self.mode.height // 8 + self.text_scale * (1 + 10 * line)

    @property
    def pages(self) -> list[list[int]]:
        """Codes of line 1, of line 0 before any decision, and of each class."""
        counts = f"FRAMES {'#' * FRAME_DIGITS} FAULTS {'#' * FAULT_DIGITS}"
        names = [name.replace("_", " ") for name in self.model.classes]
        return [codes(text, PAGE) for text in (counts, "NO DECISION YET", *names)]


def keep(image: np.ndarray, step: int) -> np.ndarray:
    """What is kept of a picture (h, w, channels): three bits of each of three colours, or a byte of
    grey; as numbers (rows, columns)."""
    small = np.asarray(image)[::step, ::step].astype(np.int64)
    if small.shape[2] == 1:
        return small[:, :, 0]
    return (small >> 5) @ (1, 8, 64)


def colours(kept: np.ndarray, grey: bool) -> np.ndarray:
    """Bytes (..., 3) of what was kept."""
    if grey:
        return np.repeat(kept[..., None], 3, axis=-1)
    parts = np.stack([kept >> 3 * i & 7 for i in range(3)], axis=-1)
    return parts << 5 | parts << 2 | parts >> 1


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is to be seen at a moment.

    kept : (rows, columns), see `keep`.
    heat : (T, n) -16..15; probability : (T,) 0..255.
    latest : the row group answered last.
    decision : class, or None before the first one.
    frames, faults : counters.
    """

    kept: np.ndarray
    heat: np.ndarray
    probability: np.ndarray
    latest: int
    decision: int | None
    frames: int
    faults: int


STOP_COLOUR, OTHER_COLOUR, NOW_COLOUR = (255, 96, 0), (0, 96, 255), (255, 255, 255)
DIM, COUNT_COLOUR = (48, 48, 48), (160, 160, 160)


def compose(layout: Layout, shown: Shown) -> np.ndarray:
    """The screen, (height, width, 3) bytes."""
    mode, model = layout.mode, layout.model
    screen = np.zeros((mode.height, mode.width, 3), np.int64)
    wide, high = layout.picture
    ys, xs = np.arange(mode.height), np.arange(mode.width)
    picture = np.kron(shown.kept, np.ones((layout.zoom, layout.zoom), np.int64))
    body = colours(picture, model.in_channels == 1)
    groups = ys // layout.group_lines
    scanned = groups < model.row_groups
    # the activation, positive towards red, negative towards blue
    cells = xs[:wide] * model.n // (model.image_width * layout.unit)
    cells = np.minimum(cells, model.n - 1)
    rows = np.minimum(groups[:high], model.row_groups - 1)
    value = np.where(scanned[:high, None], shown.heat[rows][:, cells], 0)
    warm, cold = value.clip(0), (-value).clip(0)
    toward = np.stack([8 * warm, 0 * value, 8 * cold], axis=-1)
    away = np.stack([4 * cold, 4 * (warm + cold), 4 * warm], axis=-1)
    screen[:high, :wide] = np.clip(body + toward - away, 0, 255)
    last = ys % layout.group_lines == layout.group_lines - 1
    now = last & (groups == shown.latest) & scanned
    screen[:high, :wide][now[:high]] = NOW_COLOUR
    # bars
    for y in np.flatnonzero(scanned & ~last):
        p = int(shown.probability[groups[y]])
        left, length = layout.bar_left, (p >> layout.bar_shift) + 1
        screen[y, left + (128 >> layout.bar_shift)] = DIM
        colour = STOP_COLOUR if p >= 128 else OTHER_COLOUR
        screen[y, left : left + length] = NOW_COLOUR if groups[y] == shown.latest else colour
    # text
    pages, letters = layout.pages, np.array(font())
    digits = f"{shown.frames:0{FRAME_DIGITS}d}{shown.faults:0{FAULT_DIGITS}d}"
    page = 1 if shown.decision is None else 2 + shown.decision
    stops = shown.decision == model.stop_index
    for line, (number, colour) in enumerate(
        ((page, STOP_COLOUR if stops else NOW_COLOUR), (0, COUNT_COLOUR))
    ):
        top, scale = layout.text_top(line), layout.text_scale
        for column, code in enumerate(pages[number][: layout.text_columns]):
            if code >= SLOT:
                code = LETTERS.index(digits[code - SLOT])
            rows = letters[CELL * code : CELL * (code + 1)]
            dots = rows[:, None] >> np.arange(CELL) & 1
            dots = np.kron(dots, np.ones((scale, scale), np.int64)).astype(bool)
            part = screen[top : top + CELL * scale, CELL * scale * column :][:, : CELL * scale]
            part[dots[: len(part)]] = colour  # a low screen cuts them
    return screen.astype(np.uint8)
