"""What each record of parts can carry: `EngineConfig.limits`, asked before anything is compiled."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of a record of parts.

    Attributes
    ----------
    called : str
        A user's word for it; "" for the usual one, which has none.
    spatial : bool
        It has spatial attention.
    even_pixels : bool
        P must be even.
    most_channels : int or None
        C at most.
    least_lanes : int
        L at least.
    rule : str
        The last three in words, for errors.
    whole_heads : bool
        A lane works on heads of its own, and on channels of its own: L must divide the heads, and
        both the state's channels and a head's last ones.
    shifts : (int, int)
        First and last shift of a requantised sum.
    sum_bits : int
        Bits of a sum at most.
    columns : int
        Columns of the state at most: the classifier's memory has room for sum + columns * maximum.
    pixel_cycles : int
        Fewest cycles from pixel to pixel, whatever the colours.
    generic : bool
        No FPGA's cells make its multipliers.
    """

    called: str = ""
    spatial: bool = True
    even_pixels: bool = False
    most_channels: int | None = None
    least_lanes: int = 1
    rule: str = ""
    whole_heads: bool = False
    shifts: tuple[int, int] = (1, 31)
    sum_bits: int = 32
    columns: int = 512
    pixel_cycles: int = 1
    generic: bool = False

    def carries(self, *, pixels: int, channels: int, lanes: int) -> bool:
        """Whether there is such a shape, of those that any engine may have."""
        return not (
            (self.even_pixels and pixels % 2)
            or (self.most_channels is not None and channels > self.most_channels)
            or lanes < self.least_lanes
        )


PARALLEL = Limits()
SERIAL = Limits(
    called="compact",
    spatial=False,
    even_pixels=True,  # a word's halves are written apart
    most_channels=1,
    least_lanes=2,
    rule="even pixels, 1 channel and at least 2 lanes, for example 8,1,2",
    whole_heads=True,  # operand bytes are read in cycles in which the array reads another bank
    shifts=(9, 24),
    sum_bits=28,  # a constant's upper word has its shift beside the bias
    columns=128,  # a word of the classifier has 16 bits
    pixel_cycles=2,
)

PACKED = Limits(
    called="packed",
    spatial=False,  # its weights are within +-127, which operands that are data need not be
)

LOW_POWER = Limits(called="low-power", generic=True)

LIMITS = {"parallel": PARALLEL, "serial": SERIAL, "packed": PACKED, "low_power": LOW_POWER}
"""By the name of a record of parts, see `EngineConfig.parts`."""
