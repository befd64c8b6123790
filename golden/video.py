"""What a screen shows of a scan, pixel by pixel, and DVI's code for it.

TMDS: Digital Visual Interface 1.0, section 3.3: ten bits for a byte of a colour, and one of four
words for two control bits. The integer models of boards/video.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golden.config import ModelConfig
from golden.visualise import probability as of_margin
from golden.weights import Weights

CONTROL = (0b1101010100, 0b0010101011, 0b0101010100, 0b1010101011)
"""Words of the control bits C1, C0 (of the blue channel: vertical and horizontal sync)."""


def tmds_encode(data: int, disparity: int) -> tuple[int, int]:
    """(word, disparity after it) of a byte, figure 3-5. Bit 0 is sent first.

    disparity: ones less zeros that were sent, 0 where an active period begins; even, -8..8.
    """
    ones = data.bit_count()
    xor = not (ones > 4 or (ones == 4 and not data & 1))
    bits = data & 1
    for i in range(1, 8):
        bits |= ((bits >> (i - 1) ^ data >> i ^ (not xor)) & 1) << i
    more = 2 * bits.bit_count() - 8  # ones less zeros
    if disparity == 0 or more == 0:
        inverted = not xor
        disparity += -more if inverted else more
    elif (disparity > 0) == (more > 0):
        inverted = True
        disparity += 2 * xor - more
    else:
        inverted = False
        disparity += more - 2 * (not xor)
    return (bits ^ 0xFF * inverted) | xor << 8 | inverted << 9, disparity


def tmds_decode(word: int) -> int:
    """The byte of a word, figure 3-6."""
    bits = word & 0xFF ^ 0xFF * (word >> 9)
    changes = bits ^ bits << 1 & 0xFF
    return changes if word >> 8 & 1 else changes ^ 0xFE


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A picture's timing; both syncs are low when active.

    Attributes
    ----------
    clock_hz : float
        Of a pixel.
    width, height : int
        Pixels, lines that are seen.
    front, sync, back : (int, int)
        Of a line in pixels, of a picture in lines: before, within and after the sync.
    """

    clock_hz: float
    width: int
    height: int
    front: tuple[int, int]
    sync: tuple[int, int]
    back: tuple[int, int]

    @property
    def total(self) -> tuple[int, int]:
        """Pixels of a line and lines of a picture, with what is not seen."""
        size = (self.width, self.height)
        return tuple(
            sum(parts) for parts in zip(size, self.front, self.sync, self.back, strict=True)
        )

    @property
    def pictures_per_second(self) -> float:
        return self.clock_hz / math.prod(self.total)


VGA = Mode(clock_hz=25e6, width=640, height=480, front=(16, 10), sync=(96, 2), back=(48, 33))
"""640 x 480 at 59.5 Hz: VESA's has 25.175 MHz."""

# ---- the class activation map as the hardware has it ----

SLOPE_LIMIT = 127
HEAT_BITS = 5
FULL = 3.0
"""A column that speaks for the class with so much of the margin is fully lit."""


def slopes(weights: Weights, model: ModelConfig) -> tuple[np.ndarray, int]:
    """Weights of the state's channels in the activation map, and how far its sums are shifted.

    The gradient of the stop class's margin by p (golden.visualise.class_activation_map), where
    every hidden unit of the classifier is half open (hard-swish at 0 has the slope 1/2): so it does
    not depend on the state. Of several other classes their mean is the rival.

    Returns
    -------
    numpy.ndarray
        (d,) int8, the largest of them +-127.
    int
    """
    first, second = (weights.layers[f"classifier.{i}"] for i in range(2))
    inner = first.weight.reshape(len(first.shift), -1).double().numpy()
    outer = second.weight.reshape(len(second.bias), -1).double().numpy()
    others = np.delete(outer, model.stop_index, axis=0).mean(axis=0)
    # x = W1 p / 2**shift; hard-swish y = x (x + 768) / 2**8 has the slope 3 at x = 0
    real = (outer[model.stop_index] - others) * 3 / 2.0 ** first.shift.double().numpy() @ inner
    largest = np.abs(real).max() or 1.0
    whole = np.round(real / largest * SLOPE_LIMIT).astype(np.int8)
    # a heat of 16 is FULL: sums are in steps of largest / 127 logit steps
    unit = largest / SLOPE_LIMIT * weights.scales["logit"]
    return whole, max(0, round(math.log2(FULL / unit / 2 ** (HEAT_BITS - 1))))


def heat(state: np.ndarray, slope: np.ndarray, shift: int) -> np.ndarray:
    """Activation of the columns, (n,) -16..15, of a state (d, n): the sum over the channels of
    g H[c, j] and, where j is the channel's first maximum, of g n H[c, j]."""
    state = np.asarray(state, np.int64)
    columns = state.shape[1]
    sums = (slope.astype(np.int64)[:, None] * state).sum(axis=0)
    for values, g in zip(state, slope.tolist(), strict=True):
        first = int(values.argmax())
        sums[first] += g * columns * int(values[first])
    limit = 1 << (HEAT_BITS - 1)
    return np.clip(sums >> shift, -limit, limit - 1)


PROBABILITY_STEPS = 128


def probability_table(scale: float) -> tuple[list[int], int]:
    """Probability 0..255 of a margin, and how far that is shifted before: of -128..127, the table's
    index as an unsigned byte. scale: of a logit. The last steps are more than 6 (0.998)."""
    shift = max(0, math.ceil(math.log2(6 / scale / PROBABILITY_STEPS)))
    steps = [i if i < PROBABILITY_STEPS else i - 2 * PROBABILITY_STEPS for i in range(256)]
    reals = (np.array(steps) + 0.5) * 2**shift * scale
    return np.round(255 * of_margin(reals)).astype(int).tolist(), shift


def probability(logits: Sequence[int], stop: int, table: Sequence[int], shift: int) -> int:
    """0..255 of a row group's logits: of the stop class beside its strongest rival."""
    margin = logits[stop] - max(value for i, value in enumerate(logits) if i != stop)
    limit = PROBABILITY_STEPS
    return table[min(limit - 1, max(-limit, margin >> shift)) & 0xFF]


def deserialise(bits: np.ndarray, mode: Mode) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The last whole picture in the bits of a cable, as a screen finds it.

    The clock's bits say where words begin; control words of the blue channel carry the syncs.

    Parameters
    ----------
    bits : numpy.ndarray
        (4, N) 0 or 1: blue, green, red, clock, in the order in which they are sent.
    mode : Mode
        What must come: pixels of a line, lines, syncs.

    Returns
    -------
    numpy.ndarray
        (height, width, 3) bytes.
    list of (int, int)
        Of each line of the picture, from one horizontal sync to the next, pixels seen and in all.

    Raises
    ------
    ValueError
        There is no clock, no whole picture, or one of another size.
    """
    clock = bits[3].astype(int)
    rises = np.flatnonzero((clock[1:] == 1) & (clock[:-1] == 0)) + 1
    steps = np.diff(rises)
    if len(steps) == 0 or not (steps == 10).any():
        raise ValueError("expected a clock of ten bits a pixel, not none")
    start = int(rises[np.flatnonzero(steps == 10)[0]])
    count = (bits.shape[1] - start) // 10
    groups = bits[:, start : start + 10 * count].reshape(4, count, 10).astype(np.int64)
    words = groups @ (1 << np.arange(10))
    if len(set(words[3].tolist())) != 1:
        raise ValueError("expected the clock's word everywhere, not another one")
    bytes_ = np.array([tmds_decode(word) for word in range(1024)])
    syncs = np.full(1024, -1)
    for value, word in enumerate(CONTROL):
        syncs[word] = value
    found = syncs[words[0]]
    if (syncs[words[1:3]] >= 0).any(axis=0)[found < 0].any():
        raise ValueError("expected all channels to be active together")
    # a picture from one vertical sync's end to the next one's: low when active
    vertical = np.where(found >= 0, found >> 1, 1)
    ends = np.flatnonzero((vertical[1:] == 1) & (vertical[:-1] == 0)) + 1
    if len(ends) < 2:
        raise ValueError(f"expected a whole picture, not {count} words with {len(ends)} syncs")
    part = slice(int(ends[-2]), int(ends[-1]))
    active, levels = found[part] < 0, np.where(found[part] >= 0, found[part] & 1, 1)
    starts = np.flatnonzero((levels[1:] == 0) & (levels[:-1] == 1)) + 1
    lines = [(int(active[a:b].sum()), int(b - a)) for a, b in zip(starts, starts[1:], strict=False)]
    pixels = bytes_[words[:3, part][:, active]]
    if pixels.shape[1] != mode.width * mode.height:
        raise ValueError(
            f"expected {mode.width} x {mode.height} pixels, not {pixels.shape[1]:,} of a picture"
        )
    picture = pixels[::-1].T.reshape(mode.height, mode.width, 3)
    return picture.astype(np.uint8), lines
