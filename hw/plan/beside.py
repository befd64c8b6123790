"""What works beside the array: classifier and softmax unit, their cycles and memories.

The hardware takes its numbers from here, and its tests hold it to them.
"""

from dataclasses import dataclass
from math import ceil

from golden.config import MOST_CLASSES, ModelConfig

Y_BITS = 16  # y = hard-swish(x): -576..24570
CLASSES = range(2, MOST_CLASSES + 1)  # numbers of classes that there may be
SHIFT_BITS = 5
MAX_SHIFT = 31
POOL_STAGES = 4  # pooled -> the write port of the value memory
CLASSIFIER_BIAS_BITS = 32
QUOTIENT_BITS = 11  # r = 127 * 4096 / sum is at most 2040, since a row's sum is at least 255
TOP = 19  # where x stands in the serial classifier's accumulator at last: its upper 13 bits
CONSTANTS = 3  # words before an output's weights there: bias, low and high half, and shift
FACTOR_BITS = 11
WAIT = 3  # start -> the last p is written


def check_classes(classes: int, stop_class: int) -> None:
    """ValueError where there is no such number of classes, or no such stop class among them."""
    if classes not in CLASSES:
        raise ValueError(f"classes must be {CLASSES[0]}..{CLASSES[-1]}, not {classes}")
    if not 0 <= stop_class < classes:
        raise ValueError(f"stop_class must be 0..{classes - 1}, not {stop_class}")


def tree_cycles(bits: int) -> int:
    """Latency of a pipelined tree of adders (TreeMultiplier) for a factor of so many bits."""
    return (bits - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class ClassifierTiming:
    """When the parallel engine's classifier does what, and what memories it has.

    "Issue" is the cycle in which a value's read address stands.
    """

    channels: int
    hidden: int
    classes: int = 2

    @classmethod
    def of(cls, model: ModelConfig) -> "ClassifierTiming":
        """Of a network's classifier."""
        return cls(
            channels=model.state_channels,
            hidden=model.classifier_hidden,
            classes=model.class_count,
        )

    @property
    def capture(self) -> int:
        """Issue of the last product of a sum -> the sum stands in the accumulator."""
        return 5 + tree_cycles(8)

    @property
    def x_ready(self) -> int:
        """Issue of the last product of an FC1 sum -> x may be read: longest shift, round, write."""
        return self.capture + 1 + (MAX_SHIFT - 1) + 4

    @property
    def y_ready(self) -> int:
        """Issue of the last product of a hard-swish -> y may be read."""
        return self.capture + 2

    @property
    def fc1_wait(self) -> int:
        """Between two FC1 outputs: the serial shift of the first must be through."""
        return max(0, MAX_SHIFT + 1 - self.channels)

    @property
    def swish_wait(self) -> int:
        """Last FC1 product -> first hard-swish: the last x comes in time, and before any y."""
        return max(self.x_ready - 2 * (self.hidden - 1), self.x_ready - self.y_ready) - 1

    @property
    def fc2_wait(self) -> int:
        """End of the hard-swish phase -> first FC2 product: the last y is read in time."""
        return max(0, self.y_ready - self.hidden)

    @property
    def cycles(self) -> int:
        """``start`` -> ``answer.valid``: last p written, products, last sum, comparison, answer."""
        fc1 = self.hidden * self.channels + (self.hidden - 1) * self.fc1_wait
        swish = self.swish_wait + 2 * self.hidden
        fc2 = self.fc2_wait + self.classes * self.hidden
        largest = self.classes > 2  # the margin waits for the largest of the others
        return POOL_STAGES + fc1 + swish + fc2 - 1 + self.capture + 3 + largest

    def shapes(
        self, *, columns: int, bias_bits: int = CLASSIFIER_BIAS_BITS
    ) -> dict[str, tuple[int, int]]:
        """Words and bits of its memories, for a state of n columns."""
        value_bits = max((256 * columns - 1).bit_length() + 1, Y_BITS)
        return {
            "values": (self.channels + self.hidden, value_bits),
            "weights": (self.hidden * (self.channels + self.classes), 8),
            "constants": (self.hidden + self.classes, max(32, bias_bits + SHIFT_BITS)),
        }


@dataclass(frozen=True, kw_only=True)
class SerialClassifierTiming:
    """The same of the serial engine's: a bit of a weight a cycle, one memory."""

    channels: int
    hidden: int
    classes: int = 2

    @classmethod
    def of(cls, model: ModelConfig) -> "SerialClassifierTiming":
        """Of a network's classifier."""
        return cls(
            channels=model.state_channels,
            hidden=model.classifier_hidden,
            classes=model.class_count,
        )

    @property
    def cycles(self) -> int:
        """``start`` -> ``answer.valid``, the same for all data."""
        sum_begins, product = 4 + 16, 3 + 8
        fc1 = self.hidden * (sum_begins + product * self.channels + TOP + 1)
        swish = self.hidden * (2 + FACTOR_BITS + 1)
        fc2 = self.classes * (sum_begins + product * self.hidden + 1)
        return WAIT + 1 + fc1 + swish + fc2 + 1

    @property
    def words(self) -> int:
        """Words of weights, two each, and constants."""
        rows = (self.hidden, self.channels), (self.classes, self.hidden)
        return sum(outputs * (CONSTANTS + ceil(inputs / 2)) for outputs, inputs in rows)


@dataclass(frozen=True, kw_only=True)
class SoftmaxTiming:
    """When the softmax unit does what, for n columns.

    "Addressed" is the cycle in which the address of a row's scores stands at the memory.

    Parameters
    ----------
    columns : int
        n, at least 1.
    """

    columns: int

    def __post_init__(self):
        if self.columns < 1:
            raise ValueError(f"columns must be at least 1, not {self.columns}")

    @property
    def row_cycles(self) -> int:
        """Cycles from a row to the next: the columns, or the divider's load and steps."""
        return max(self.columns, QUOTIENT_BITS + 1)

    @property
    def delay(self) -> int:
        """Cycles in the delay memory: e waits for the divider (s and its maximum wait as long)."""
        return self.columns + QUOTIENT_BITS + 2

    @property
    def score(self) -> int:
        """Row addressed -> its first score stands at the delay memory: read, select, band."""
        return 4

    @property
    def exp(self) -> int:
        """Row addressed -> its first e stands at the delay memory: subtract, table, register."""
        return self.score + self.delay + 3

    @property
    def sum(self) -> int:
        """Row addressed -> its sum stands."""
        return self.exp + self.columns

    @property
    def quotient(self) -> int:
        """Row addressed -> its r stands in the divider: load, steps."""
        return self.sum + 1 + QUOTIENT_BITS

    @property
    def normalise(self) -> int:
        """Row addressed -> its first e stands at the multiplier."""
        return self.exp + self.delay

    @property
    def weight(self) -> int:
        """Row addressed -> its first a stands, for its byte of the word: multiply, round."""
        return self.normalise + tree_cycles(8) + 1

    @property
    def write(self) -> int:
        """Row addressed -> its word of A stands at the memory."""
        return self.weight + self.columns

    def row_ready(self, row: int) -> int:
        """Cycles from ``start`` to the first in which ``r_row`` may be this row, to read its A."""
        if not 0 <= row < self.columns:
            raise ValueError(f"row must be 0..{self.columns - 1}, not {row}")
        return 1 + row * self.row_cycles + self.write + 1

    @property
    def cycles(self) -> int:
        """``start`` -> the first cycle with ``busy`` = 0: the last row has been written."""
        return self.row_ready(self.columns - 1)

    def shapes(self, *, heads: int, pixels: int) -> dict[str, tuple[int, int]]:
        """Words and bits of the memories beside the table."""
        rows = (heads << max(1, (self.columns - 1).bit_length()), 8 * pixels)
        return {"scores": rows, "weights": rows, "delayed": (self.delay - 1, 16)}
