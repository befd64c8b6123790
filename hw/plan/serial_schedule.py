"""Start times where one channel unit takes the sums of all lanes (hw.serial)."""

import numpy as np

from hw.plan.operations import Function
from hw.plan.schedule import NEVER, Schedule


class SerialSchedule(Schedule):
    """The same for a value at a time, lane after lane (hw.serial.store)."""

    rest = 1  # sums are cleared between walks

    def value(self, op) -> int:
        """Cycles of a value."""
        return 4 if op.function == Function.BLEND else 2

    def values(self, op) -> int:
        """Values of a lane in a walk."""
        return self.g.engine.pixels // (2 if op.head_mode else 1)

    def good(self, index, op) -> bool:
        return self.operands_in_time(index, op)

    def _spacing(self, op) -> int:
        return self.value(op) * self.values(op) * self.g.engine.lanes

    def apart(self, previous, op) -> int:
        return self.spacing(previous) + self.t.switch

    def _write_offsets(self, op):
        e, words = self.g.engine, self.g.words(op.out_columns)
        offsets = np.full((op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.out_channels)
        group, lane = (c, e.lanes - 1) if op.head_mode else np.divmod(c, e.lanes)
        gated = op.function in (Function.CHANNEL, Function.RESET, Function.BLEND)
        late = 1 + self.t.write + (self.t.unit_gated if gated else self.t.unit_plain)
        late = late + self.value(op) * ((lane + 1) * self.values(op) - 1)
        for j in range(op.chunks):
            last = (group * op.chunks + j) * op.period + op.period - op.idle - 1
            word = j // 2 if op.head_mode else j
            offsets[:, word] = last + self.t.transfer + late
        return offsets

    def operands_in_time(self, index, op) -> bool:
        """Each operand byte has two cycles; in one of them the array must leave its bank alone."""
        e, number = self.g.engine, len(op.operands)
        following = self.ops[index + 1] if index + 1 < len(self.ops) else None
        own, others = self.bank_reads(op), self.bank_reads(following) if following else set()
        begin = 1 + (self.t.operand if number == 1 else self.t.operands)
        for w in range(op.walks):
            transfer = op.start + w * op.period + op.k + op.pause - 1 + self.t.transfer
            group, chunk = divmod(w, op.chunks)
            for lane in range(e.lanes):
                for place in range(e.pixels):
                    at = transfer + begin + self.value(op) * (lane * e.pixels + place)
                    for i, name in enumerate(op.operands):
                        slot = at + 2 * i
                        if name not in ("H", op.out):
                            there = self.ready[name][group * e.lanes + lane, chunk]
                            if there >= slot:
                                op.extra += int(there) + 1 - slot
                                return False
                        if all((t, lane) in own for t in (slot, slot + 1)):
                            raise ValueError(f"{op.name}: no cycle in which to read operand {name}")
                        if all((t, lane) in own | others for t in (slot, slot + 1)):
                            following.extra += 1
                            return False
        return True
