"""What a memory is. Each is described once, by the part that owns it (hw.plan.owners)."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

CATEGORIES = (
    "weights", "constants", "line_buffer", "maps", "state", "tables", "program", "buffers",
)  # fmt: skip
"""Of memories, in the order in which reports list them."""

FAULT_QUEUE = 4
"""Frames that may go wrong while the one before them is being finished."""
UNDECIDED = FAULT_QUEUE + 1
"""Frames without a decision, at most: no other is accepted before one of them has its own."""
STATUS_BITS = 3

BY_WALK, BY_CONSTANTS, BY_SOFTMAX, BY_STORE, BY_CAMERA, BY_CLASSIFIER = (
    *("walk", "constants", "softmax", "store", "camera", "classifier"),
)
"""Who reads or writes a memory: whose operation an access belongs to (sim/counters.py)."""


def serial_constant_words(lanes: int) -> int:
    """Serial parts: words of 16 bits that have the constants of a sum in each lane."""
    return 2 * lanes + ceil(lanes / 2)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """An addressable memory of the design.

    Attributes
    ----------
    name : str
    category : str
        One of `CATEGORIES`.
    words, bits, count : int
        Words of each of `count` equal banks, bits of a word.
    lives : str
        What is in it, and for how long.
    at : str
        Where the design has it: "block", or "block memory" in a block that has several. "": it is
        a part of `banks`.
    ports : str
        "1R1W", "1R" (programs, fixed tables), or "1RW": one port would do, since it is only written
        in cycles in which nobody looks at what is read.
    always_read : bool
        Its read ports have no enable: they read in every cycle.
    banks : str
        Memory in whose banks it lies; "" if it has its own.
    reader, writer : str
        Whose accesses these are.
    late : int
        Cycles from a step to its read, of one that the walk reads.
    logic : bool
        In logic where a family has no small memories.
    spram : bool
        A weights image fills it, in SPRAM where a device has some.
    """

    name: str
    category: str
    words: int
    bits: int
    count: int = 1
    lives: str = ""
    at: str = ""
    ports: str = "1R1W"
    always_read: bool = False
    banks: str = ""
    reader: str = BY_CLASSIFIER
    writer: str = BY_CLASSIFIER
    late: int = 0
    logic: bool = False
    spram: bool = False

    @property
    def bytes(self) -> float:
        return self.count * self.words * self.bits / 8


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a part does in a row group beside the array.

    Attributes
    ----------
    name : str
    cycles : int
        Of its own.
    macs, weights : int
        Products that the network needs, and weight bytes.
    reads, writes : dict of str to int
        Words by memory.
    """

    name: str
    cycles: int
    macs: int
    weights: int
    reads: dict[str, int]
    writes: dict[str, int]


def on_chip_bytes(listed: Iterable[Memory]) -> dict[str, int]:
    """Words x bits of every addressable memory, by category, and their sum."""
    bits = dict.fromkeys(CATEGORIES, 0)
    for memory in listed:
        bits[memory.category] += memory.words * memory.bits * memory.count
    found = {name: ceil(count / 8) for name, count in bits.items()}
    return {**found, "total": sum(found.values())}
