"""What a channel unit makes of a sum: a line for each Function, for the units of both engines.

After saturation and activation every function is ::

    byte = code(base + (x * y + 128 >> 8))

One multiplier serves them all: (1 - U) N + U H = N + (H - N) U exactly, as N enters as 256 N.

Pure Python: `Meaning.byte` is what tests hold against golden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hw.plan.operations import Function


class Saturation(Enum):
    """Least and greatest value that is kept of a requantised sum."""

    RELU = (0, 255)
    SIGNED = (-128, 127)
    ACTIVATION = (-511, 511)
    """What sigmoid and tanh take."""

    def __call__(self, value: int) -> int:
        low, high = self.value
        return min(max(value, low), high)


class X(Enum):
    """What is multiplied: nothing, or an operand byte."""

    NONE = "0"
    STATE = "a"
    STATE_LESS_TANH = "a - tanh"
    FEATURE = "a, less its zero point"
    OTHER = "b + 128"
    """A feature of zero point -128, in spatial attention's mix."""


class Y(Enum):
    """What it is multiplied by, 0..256."""

    UNIT = "sigmoid"
    UPDATE = "b, a unit value's byte"
    GAIN = "a constant of the channel, where other functions have their bias"


class Base(Enum):
    """What the product is added to."""

    NONE = "0"
    VALUE = "the saturated sum"
    UNIT = "sigmoid"
    TANH = "tanh"


class Code(Enum):
    """How the result is stored in a byte."""

    PLAIN = "as it is"
    OFFSET = "less 128"
    FEATURE = "less 128 where the features' zero point is -128"
    UNIT = "a unit value 0..256: less 1 from 128 on, so that both ends are exact"
    SATURATED = "saturated to -128..127"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """A function. `operands`: maps whose bytes it takes: in `a`; two: in `a` and `b`."""

    saturation: Saturation
    x: X = X.NONE
    y: Y = Y.UNIT
    base: Base = Base.NONE
    code: Code = Code.PLAIN
    operands: int = 0

    @property
    def gated(self) -> bool:
        """Whether something is multiplied."""
        return self.x is not X.NONE

    def byte(self, value, *, unit=0, tanh=0, a=0, b=0, gain=0, zero_point=-128) -> int:
        """The stored byte, -128..255, of an unsaturated requantised sum.

        Parameters
        ----------
        value : int
        unit, tanh : int
            golden.activation.sigmoid and .tanh of it.
        a, b : int
            Operand bytes, -128..127.
        gain : int
            0..256.
        zero_point : int
            Of the features in C, -128 or 0.
        """
        value = self.saturation(value)
        x = {
            X.NONE: 0,
            X.STATE: a,
            X.STATE_LESS_TANH: a - tanh,
            X.FEATURE: a - zero_point,
            X.OTHER: b + 128,
        }[self.x]
        y = {Y.UNIT: unit, Y.UPDATE: (b & 255) + (b < 0), Y.GAIN: gain}[self.y]
        base = {Base.NONE: 0, Base.VALUE: value, Base.UNIT: unit, Base.TANH: tanh}[self.base]
        result = base + ((x * y + 128) >> 8)
        return {
            Code.PLAIN: result,
            Code.OFFSET: result - 128,
            Code.FEATURE: result + zero_point,
            Code.UNIT: result - (result >= 128),
            Code.SATURATED: min(max(result, -128), 127),
        }[self.code]


FUNCTIONS: dict[Function, Meaning] = {
    # F (Eq. 1), the heads' blocks, the channel attention's hidden layer; golden.requant.relu
    Function.RELU: Meaning(saturation=Saturation.RELU, base=Base.VALUE, code=Code.OFFSET),
    # K (Eq. 6), S (Eq. 7), V (Eq. 8); golden.requant.signed
    Function.SIGNED: Meaning(saturation=Saturation.SIGNED, base=Base.VALUE),
    # C * A of Eq. 13, A of Eq. 10-12; golden.attention.channel_gate
    Function.CHANNEL: Meaning(
        saturation=Saturation.ACTIVATION, x=X.FEATURE, code=Code.FEATURE, operands=1
    ),
    # H * R of Eq. 4, R of Eq. 2; golden.activation.gate
    Function.RESET: Meaning(saturation=Saturation.ACTIVATION, x=X.STATE, operands=1),
    # U (Eq. 3); golden.activation.encode_unit
    Function.UPDATE: Meaning(saturation=Saturation.ACTIVATION, base=Base.UNIT, code=Code.UNIT),
    # N + (H - N) U (Eq. 5), N of Eq. 4; golden.conv_gru.new_state
    Function.BLEND: Meaning(
        saturation=Saturation.ACTIVATION,
        x=X.STATE_LESS_TANH,
        y=Y.UPDATE,
        base=Base.TANH,
        operands=2,
    ),
    # P' = V A + gain * P (Eq. 9); P comes in `b`, V is the weight; golden.attention.mix
    Function.MIX: Meaning(
        saturation=Saturation.ACTIVATION,
        x=X.OTHER,
        y=Y.GAIN,
        base=Base.VALUE,
        code=Code.SATURATED,
        operands=1,
    ),
}

SPATIAL_FUNCTIONS = (Function.SIGNED, Function.MIX)
"""Functions that only spatial attention has."""
SERIAL_FUNCTIONS = tuple(function for function in Function if function not in SPATIAL_FUNCTIONS)
"""Functions of the serial engine."""


def functions(
    which: Callable[[Meaning], bool], among: tuple[Function, ...] = tuple(Function)
) -> tuple[Function, ...]:
    """Those of which something is true."""
    return tuple(function for function in among if which(FUNCTIONS[function]))
