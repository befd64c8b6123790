"""Latencies of the pipeline, in one place: blocks assert them, the compiler plans with them.

A *step* is the cycle in which the walk sequencer presents one multiply-accumulate of a walk. All
numbers count cycles from there, or from the *transfer* in which a walk's sums move into the drain
registers.
"""

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

# Channel unit, drain head -> output byte.
REQUANTISE = 9
ACTIVATE = 5
GATE = 5
UNIT = REQUANTISE + ACTIVATE + GATE
# First drained byte at the pack stage, counted from the transfer.
PACK = 1 + UNIT
# Last byte at the pack stage -> write port of the memory, without the unit's own lateness.
WRITE = 3
# Operand register's byte is selected this long after the transfer (first byte).
OPERAND = 1 + REQUANTISE + ACTIVATE - 1
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
# Cycles between a frame's last row group and the next frame's first, beyond those.
FRAME_TURN = 0
# A row's last pixel on the wires -> the first step that may read the row, without the cycle that
# each further colour takes: pixel register, word register, write port, count, distance, flag,
# sequencer.
ROW = 7
