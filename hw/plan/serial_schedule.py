"""Start times where one channel unit takes the sums of all lanes (hw.serial)."""

import numpy as np

from hw.plan.operations import STATE, Function, Operation
from hw.plan.schedule import NEVER, Rules, Schedule


class SerialRules(Rules):
    """The same for a value at a time, lane after lane (hw.serial.store)."""

    rest = 1  # sums are cleared between walks
    one_byte = True
    programs_always_read = ("back",)

    def value(self, op: Operation) -> int:
        """Cycles of a value."""
        return 4 if op.function == Function.BLEND else 2

    def positions(self, op: Operation) -> int:
        """Values of a lane that leave after a walk: it pools first."""
        return self.e.pixels // (2 if op.head_mode else 1)

    def spacing(self, op: Operation) -> int:
        return self.value(op) * self.positions(op) * self.e.lanes

    def apart(self, previous: Operation, op: Operation) -> int:
        return self.spacing(previous) + self.t.switch

    def write_offsets(self, op: Operation, idle: int, pause: int) -> np.ndarray:
        e, words, period = self.e, self.g.words(op.out_columns), idle + pause + op.k
        offsets = np.full((op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.out_channels)
        group, lane = (c, e.lanes - 1) if op.head_mode else np.divmod(c, e.lanes)
        gated = op.function in (Function.CHANNEL, Function.RESET, Function.BLEND)
        late = 1 + self.t.write + (self.t.unit_gated if gated else self.t.unit_plain)
        late = late + self.value(op) * ((lane + 1) * self.positions(op) - 1)
        for j in range(op.chunks):
            last = (group * op.chunks + j) * period + period - idle - 1
            word = j // 2 if op.head_mode else j
            if word < words:
                offsets[:, word] = last + self.t.transfer + late
        return offsets

    def answer_late(self, op: Operation, channels: int) -> int:
        # the last byte's sum leaves in the cycle after it is written
        return int(self.write_offsets(op, 0, 0).max()) - (op.walks * op.k - 1) + 1


class SerialSchedule(Schedule):
    """Solves the times of every operation."""

    def operands_in_time(self, index: int) -> bool:
        """Each operand byte has two cycles; in one of them the array must leave its bank alone."""
        e, draft = self.e, self.drafts[index]
        op = draft.op
        following = self.drafts[index + 1] if index + 1 < len(self.drafts) else None
        number = len(op.operands)
        # (walk, lane, place, operand): the first of the two cycles
        walk, lane, place, which = np.indices((op.walks, e.lanes, e.pixels, number))
        begin = 1 + (self.t.operand if number == 1 else self.t.operands)
        slot = draft.start + walk * draft.period + op.k + draft.pause - 1 + self.t.transfer + begin
        slot = slot + self.rules.value(op) * (lane * e.pixels + place) + 2 * which

        there = np.full(slot.shape, -1)
        for i, name in enumerate(op.operands):
            if name not in (STATE, op.out):
                group, chunk = np.divmod(np.arange(op.walks), op.chunks)
                channel = group[:, None] * e.lanes + np.arange(e.lanes)
                there[..., i] = self.ready[name][channel, chunk[:, None]][:, :, None]
        own = [self.read(draft, slot + i) == lane for i in (0, 1)]
        both = own
        if following:
            both = [own[i] | (self.read(following, slot + i) == lane) for i in (0, 1)]
        unready, never, late = there >= slot, own[0] & own[1], both[0] & both[1]
        wrong = (unready | never | late).ravel()
        if not wrong.any():
            return True
        first = int(wrong.argmax())
        if unready.flat[first]:
            draft.extra += int(there.flat[first]) + 1 - int(slot.flat[first])
        elif never.flat[first]:
            raise ValueError(
                f"{op.name}: no cycle in which to read operand {op.operands[first % number]}"
            )
        else:
            following.extra += 1
        return False

    def read(self, draft, cycles: np.ndarray) -> np.ndarray:
        """Banks that the array reads for an operation in some cycles, -1 for none."""
        first, banks = self.reading(draft)
        if not len(banks):
            return np.full(cycles.shape, -1)
        at = cycles - first
        inside = (at >= 0) & (at < len(banks))
        return np.where(inside, banks[np.clip(at, 0, len(banks) - 1)], -1)
