"""Start times where one channel unit takes the sums of all lanes (hw.serial)."""

import numpy as np

from hw.plan.operations import STATE
from hw.plan.schedule import Schedule


class SerialSchedule(Schedule):
    """Solves the times of every operation."""

    def operands_in_time(self, index: int) -> bool:
        """Two values' operand bytes have two cycles; in one of them the array must leave their bank
        alone."""
        e, draft = self.e, self.drafts[index]
        op = draft.op
        following = self.drafts[index + 1] if index + 1 < len(self.drafts) else None
        number = len(op.operands)
        # (walk, lane, pair of values, operand): the first of the two cycles
        walk, lane, pair, which = np.indices((op.walks, e.lanes, e.pixels // 2, number))
        begin = 1 + np.where(which == 0, self.t.operand, self.t.operands)
        slot = draft.start + walk * draft.period + op.k + draft.pause - 1 + self.t.transfer + begin
        slot = slot + self.rules.value(op) * (lane * e.pixels + 2 * pair)

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
            if draft.idle > self.rules.spacing(op):
                raise ValueError(
                    f"{op.name}: no cycle in which to read operand {op.operands[first % number]}"
                )
            draft.idle += 1  # an odd number of channels: a bank is read twice from walk to walk
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
