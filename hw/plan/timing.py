"""Latencies of the pipeline, in one place: blocks assert them, the compiler plans with them.

A *step* is the cycle in which the walk sequencer presents one multiply-accumulate of a walk. All
numbers count cycles from there, or from the *transfer* in which a walk's sums move into the drain
registers.
"""

import sys
from types import SimpleNamespace

# Step -> address registers of the activation memories: which banks, then who gets them. A one-tap
# step reads a cycle later, because a three-tap row needs its second word before its first product.
ADDRESS_THREE_TAP = 2
ADDRESS_ONE_TAP = 3
# Address register -> data behind the memory's output register.
MEMORY = 2
# Memory output -> operand register of the multipliers: arrival register, window, tap.
WINDOW = 3
# Operand register -> accumulator: the multiplier's two registers, accumulator.
MULTIPLY = 3
# Step -> transfer of its sums, for a walk's last step.
TRANSFER = ADDRESS_ONE_TAP + MEMORY + WINDOW + MULTIPLY
# Step -> the weight word is cut into the units' weights: selected, registered, operand register.
WEIGHT_CHOSEN = TRANSFER - MULTIPLY - 2
# Address register of the weight memory -> its word: memory, a piece's register, word register.
WEIGHT_MEMORY = 3
WEIGHT_ADDRESS = WEIGHT_CHOSEN - WEIGHT_MEMORY

# Transfer -> first sum at the drain's head: drain register, head register.
DRAIN = 2
# Channel unit, drain head -> output byte.
REQUANTISE = 9
ACTIVATE = 5
GATE = 5
UNIT = REQUANTISE + ACTIVATE + GATE
# First drained byte at the pack stage, counted from the transfer.
PACK = DRAIN + UNIT
# Last byte at the pack stage -> write port of the memory, without the unit's own lateness.
WRITE = 3
# Operand register's byte is selected this long after the transfer (first byte).
OPERAND = DRAIN + REQUANTISE + ACTIVATE - 1
# Address register of an operand read -> its word in the operand register.
OPERAND_READ = MEMORY + 1
# Transfer -> first operand address of the next walk: the register that it goes to is free then.
OPERAND_LEAD = OPERAND - OPERAND_READ
# As long before that the operand sequencer goes on to the next walk.
OPERAND_FOLLOW = 4
# A walk's constants need this many cycles, and one for each channel unit.
FOLLOW = 4
# As many more where the next walk belongs to another operation: its drain word is fetched first.
SWITCH = 2
# Fewest cycles of an operation: the walk sequencer fetches the next walk word meanwhile.
FETCH = 5
# Fewest idle cycles before a row group: the group counter and the camera's row flags follow it.
GROUP_TURN = 3
# Cycles between a frame's last row group and the next frame's first, beyond those: the frame is
# taken, the sequencer begins again.
FRAME_TURN = 2
# A row's last pixel on the wires -> the first step that may read the row, without the cycle that
# each further colour takes: pixel register, word register, write port, count, distance, flag,
# sequencer.
ROW = 7

# The compact engine: slow clocks, so that there is little between two registers. The
# memories' addresses have no register of their own. What is not named here is as above.
COMPACT = SimpleNamespace(
    ADDRESS_THREE_TAP=0,
    ADDRESS_ONE_TAP=1,
    MEMORY=1,
    # memory output -> window; its DSP cell's two registers, accumulator
    TRANSFER=1 + 1 + 1 + 3,
    WEIGHT_ADDRESS=2,
    # First `low` of a value -> operand bytes; byte of the functions without and with a gate.
    GATE_AT=15,
    UNIT_PLAIN=16,
    UNIT_GATED=20,
    # Byte -> write port of the memory.
    WRITE=1,
    # First `low` -> the two cycles in which its operand byte is read (two operands: both pairs).
    OPERAND=12,
    OPERANDS=10,
    # Last value's first `low` -> first transfer of another operation.
    SWITCH=20 + 5,
    FETCH=FETCH,
    GROUP_TURN=GROUP_TURN,
    FRAME_TURN=FRAME_TURN,
    ROW=ROW,
)


def of(engine):
    """The numbers of an engine: this module, or COMPACT."""
    return COMPACT if engine.compact else sys.modules[__name__]
