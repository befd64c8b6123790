"""The same where one channel unit takes the sums of all lanes, one after the other (hw.serial)."""

from fractions import Fraction

import numpy as np

from hw.plan.functions import FUNCTIONS
from hw.plan.operations import Operation
from hw.plan.rules import NEVER, Rules


class SerialRules(Rules):
    """The same for a value at a time, lane after lane (hw.serial.store)."""

    one_byte = True
    programs_always_read = ("pace", "back")

    @property
    def even_spacing(self) -> Fraction:
        """Each colour of a pixel is written in a cycle of its own."""
        return Fraction(max(self.e.limits.pixel_cycles, self.g.model.in_channels))

    def value(self, op: Operation) -> int:
        """Cycles from a value to the next: one; two where two sums make it or two operands meet in
        it, whose words are read for two values at a time, each in one of two cycles."""
        return 2 if op.head_mode else max(1, FUNCTIONS[op.function].operands)

    def positions(self, op: Operation) -> int:
        """Values of a lane that leave after a walk: it pools first."""
        return self.e.pixels // (2 if op.head_mode else 1)

    def spacing(self, op: Operation) -> int:
        return self.value(op) * self.positions(op) * self.e.lanes

    def apart(self, previous: Operation, op: Operation) -> int:
        more = self.t.switch_operands if op.operands else 0
        return self.spacing(previous) + self.t.switch + more

    def turn(self, previous: Operation, op: Operation) -> int:
        # the byte left of a row comes when the word of a one-tap step would
        return max(0, self.first_address(previous) - self.first_address(op))

    def write_offsets(self, op: Operation, idle: int, pause: int) -> np.ndarray:
        e, words, period = self.e, self.g.words(op.out_columns), idle + pause + op.k
        offsets = np.full((op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.out_channels)
        group, lane = (c, e.lanes - 1) if op.head_mode else np.divmod(c, e.lanes)
        late = 1 + self.t.unit + self.t.write
        late = late + self.value(op) * ((lane + 1) * self.positions(op) - 1)
        for j in range(op.chunks):
            last = (group * op.chunks + j) * period + period - idle - 1
            word = j // 2 if op.head_mode else j
            if word < words:
                offsets[:, word] = last + self.t.transfer + late
        return offsets

    def first_write(self, op: Operation, idle: int, pause: int) -> int:
        # the offsets of words are those of their last bytes
        before = self.value(op) * (self.positions(op) - 1)
        return super().first_write(op, idle, pause) - before

    def answer_late(self, op: Operation, channels: int) -> int:
        # the last byte's sum leaves in the cycle after it is written
        return int(self.write_offsets(op, 0, 0).max()) - (op.walks * op.k - 1) + 1
