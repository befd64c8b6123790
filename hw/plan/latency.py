"""Latencies of the pipeline, in one place: the parts assert theirs, the compiler plans with them.

A *step* is the cycle in which the walk sequencer presents one multiply-accumulate of a walk. All
numbers count cycles from there, or from the *transfer* in which a walk's sums move on.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What every engine has.

    Attributes
    ----------
    address_three_tap, address_one_tap : int
        Step -> the addresses of the activation memories. A one-tap step reads a cycle later,
        because a three-tap row needs its second word before its first product.
    memory : int
        Address -> data: behind the memory's output register 2, else 1.
    window : int
        Memory output -> operand register of the multipliers.
    multiply : int
        Operand register -> accumulator.
    weight_address : int
        Step -> address of its word in the weight memory.
    write : int
        Last byte of a word -> write port of the memory.
    switch : int
        Parallel: as many more cycles between transfers where the next walk belongs to another
        operation, whose drain word is fetched first. Serial: last cycle of a walk's sums at the
        head -> first transfer of another operation.
    fetch : int
        Fewest cycles of an operation: the walk sequencer fetches the next walk word meanwhile.
    group_turn : int
        Fewest idle cycles before a row group: the group counter and the camera's row flags follow.
    frame_turn : int
        Cycles between a frame's last row group and the next frame's first, beyond those: the frame
        is taken, the sequencer begins again.
    frame_take : int
        A frame's first pixel on the wires -> the cycle from which on its first row group is waited
        for: pixel register, line buffer, the frame is taken, the sequencer begins.
    registered : bool
        There are registers behind the walk program's words and the weight memory's pieces.
    row : int
        A row's last pixel on the wires -> the first step that may read the row, without the cycle
        that each colour takes: pixel register, word register, write port, count, distance, flag,
        sequencer.
    """

    address_three_tap: int
    address_one_tap: int
    memory: int
    window: int
    multiply: int
    weight_address: int
    write: int
    switch: int
    fetch: int = 5
    group_turn: int = 3
    frame_turn: int = 2
    frame_take: int = 4
    registered: bool = True
    row: int = 7

    @property
    def transfer(self) -> int:
        """Step -> transfer of its sums, for a walk's last step."""
        return self.address_one_tap + self.memory + self.window + self.multiply


@dataclass(frozen=True, kw_only=True)
class ParallelLatency(Latency):
    """Of the engine with a channel unit for each sum of a lane.

    Attributes
    ----------
    weight_memory : int
        Address of the weight memory -> its word: memory, a piece's register, word register.
    weight : int
        That word -> operand register of the multipliers.
    drain : int
        Transfer -> first sum at the drain's head: drain register, head register.
    requantise, activate, gate : int
        Of a channel unit: drain head -> requantised value -> activation's byte -> output byte.
    operand_follow : int
        As long before a walk's first operand address the operand sequencer goes on to the walk.
    follow : int
        A walk's constants need this many cycles, and one for each channel unit.
    """

    weight_memory: int
    weight: int
    drain: int
    requantise: int
    activate: int
    gate: int
    operand_follow: int
    follow: int

    @property
    def weight_chosen(self) -> int:
        """Step -> the weight word is cut into the units' weights."""
        return self.transfer - self.multiply - self.weight

    @property
    def unit(self) -> int:
        """Channel unit, drain head -> output byte."""
        return self.requantise + self.activate + self.gate

    @property
    def pack(self) -> int:
        """Transfer -> the first drained byte is at the pack stage."""
        return self.drain + self.unit

    @property
    def operand(self) -> int:
        """Transfer -> the operand register's first byte is selected."""
        return self.drain + self.requantise + self.activate - 1

    @property
    def operand_read(self) -> int:
        """Address register of an operand read -> its word in the operand register."""
        return self.memory + 1

    @property
    def operand_lead(self) -> int:
        """Transfer -> first operand address of the next walk: its register is free then."""
        return self.operand - self.operand_read


@dataclass(frozen=True, kw_only=True)
class SerialLatency(Latency):
    """Of the engine with one channel unit, whose values follow each other.

    The first `low` of a value is the cycle after its sums' transfer or later: see the schedule.

    Attributes
    ----------
    gate_at : int
        First `low` of a value -> its operand bytes.
    unit : int
        First `low` -> byte.
    operand, operands : int
        First `low` of a pair of values -> the two cycles in which the word of its operand bytes is
        read. With two operands: `operands` for the second one, then `operand` for the first.
    switch_operands : int
        As many more cycles than `switch` before an operation that takes operands.
    """

    gate_at: int
    unit: int
    operand: int
    operands: int
    switch_operands: int


PARALLEL = ParallelLatency(
    address_three_tap=2,
    address_one_tap=3,
    memory=2,
    window=3,  # arrival register, window, tap
    multiply=3,  # the multiplier's two registers, accumulator
    weight_address=3,
    weight_memory=3,
    weight=2,  # chosen, operand
    drain=2,
    requantise=9,
    activate=5,
    gate=5,
    write=3,  # without the unit's own lateness
    operand_follow=4,
    follow=4,
    switch=2,
)
"""hw.parallel: a fast clock, a register after every level or two of logic."""

LOW_POWER = replace(
    PARALLEL,
    memory=1,  # no output register
    window=2,  # no tap register
    multiply=1,  # accumulator
    weight_address=2,
    weight=1,
    requantise=4,
    activate=2,
    gate=2,
)
"""The parallel parts for a slow clock: few registers, hw.parallel.channel_unit.FEW."""

SERIAL = SerialLatency(
    registered=False,
    # the memories' addresses have no register of their own
    address_three_tap=0,
    address_one_tap=1,
    memory=1,
    window=1,
    multiply=3,  # its DSP cell's two registers, accumulator
    weight_address=2,
    gate_at=12,
    unit=16,
    write=1,
    operand=9,
    operands=7,
    # the unit's function is another one two cycles after the word that follows the last byte
    switch=16 + 3 - 11,
    switch_operands=4,  # operands are asked for before
)
"""hw.serial: slow clocks, so that there is little between two registers."""

PACKED = replace(PARALLEL, multiply=PARALLEL.multiply + 1)
"""hw.parallel with two products from a DSP cell, which are taken apart in a cycle of their own."""

LATENCIES: dict[str, Latency] = {
    "parallel": PARALLEL,
    "serial": SERIAL,
    "packed": PACKED,
    "low_power": LOW_POWER,
}
"""By the name of a record of parts, see `EngineConfig.parts`."""

for _latency in (PARALLEL, PACKED, LOW_POWER):
    if _latency.weight_address != _latency.weight_chosen - _latency.weight_memory:
        raise AssertionError("a weight word must be there when it is cut into the units' weights")
