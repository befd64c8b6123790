"""Start times of the operations of one steady row group.

Scheduling is static. The operations run in order, and an operation starts so that each word that it
reads is there just in time; the `wait` that this takes is solved here, so the hardware has no
scoreboard. Only camera rows are waited for at run time.
"""

import numpy as np

from hw.plan.latency import Latency
from hw.plan.operations import Function, Source, Target, Weights

NEVER = 10**9


class Schedule:
    """Start times of one steady row group: solves `idle`, `pause` and `wait` of every operation."""

    def __init__(self, model, geometry, ops, maps, classifier_cycles, attention_unit):
        self.model, self.g, self.ops, self.maps = model, geometry, ops, maps
        self.classifier_cycles, self.attention_unit = classifier_cycles, attention_unit
        self.head_wait = self.t.group_turn
        self.made = {}  # see `kept`
        self.spacings = {}
        self.placed = []  # timing of the operations when `place` was last through
        self.checked = {}  # operation -> what `operands_in_time` found good

    rest = 0  # fewest idle cycles between walks

    @property
    def t(self) -> Latency:
        """Latencies of the engine."""
        return self.g.engine.latency

    # -- rules that hold for any two neighbouring transfers
    def drain_length(self, op) -> int:
        """Positions of a drain: one more where two lanes share an odd pair (Store)."""
        paired = self.g.head_lanes > 1 and self.g.engine.pixels % 2
        return self.g.engine.pixels + (1 if op.head_mode and paired else 0)

    def slots(self, op) -> int:
        """Cycles in which an operation's words of one walk are written."""
        e, g = self.g.engine, self.g
        if op.target == Target.CONCAT:
            return e.channels * g.heads * max(1, g.head_lanes // 2)
        return e.units if op.target == Target.SCORES else e.channels

    def spacing(self, op) -> int:
        """Fewest cycles between transfers of this operation, whatever K is."""
        if op.name not in self.spacings:
            self.spacings[op.name] = self._spacing(op)
        return self.spacings[op.name]

    def _spacing(self, op) -> int:
        e = self.g.engine
        cycles = self.drain_length(op) + self.slots(op) - e.channels
        cycles = max(cycles, self.slots(op) + 1, self.t.follow + self.constant_words(op))
        if op.function == Function.BLEND:
            cycles = max(cycles, e.units + 1)
        return cycles

    def apart(self, previous, op) -> int:
        """Fewest cycles between the last transfer of an operation and the next one's first."""
        return max(self.spacing(previous), self.spacing(op) + self.t.switch)

    def constant_words(self, op) -> int:
        """Constants of a walk: one per channel unit, lanes of a head share theirs."""
        e = self.g.engine
        return e.channels * self.g.heads if op.head_mode else e.units

    # -- reads
    def kept(self, name, op, make):
        """`make(op)`, made anew only when the operation's timing has changed: few ever do."""
        key, timing_now = (name, op.name), (op.idle, op.pause)
        if self.made.get(key, (None,))[0] != timing_now:
            self.made[key] = timing_now, make(op)
        return self.made[key][1]

    def read_times(self, op):
        """Per segment: (input channel, word) -> earliest offset from the operation's first step
        of an address register that reads it; arrays of shape (rows * channels, words)."""
        return self.kept("read", op, self._read_times)

    def _read_times(self, op):
        lanes = self.g.head_lanes if op.head_mode else 1
        words = np.full(op.in_words, NEVER)  # without the offset of a row of the kernel
        for j in range(op.chunks):
            if op.taps == 1:
                words[j] = j * op.period + self.t.address_one_tap
                continue
            for phase, read in self.phase_words(j, lanes):
                for word in read:
                    if 0 <= word < op.in_words:
                        at = j * op.period + phase + self.t.address_three_tap
                        words[word] = min(words[word], at)
        found, offset = [], 0
        for segment in op.segments:
            row, c = np.divmod(np.arange(op.kernel_rows * segment.channels), segment.channels)
            at = offset + op.taps * (c * op.kernel_rows + row)
            found.append((segment, np.where(words < NEVER, at[:, None] + words, NEVER)))
            offset += op.taps * op.kernel_rows * segment.channels + op.pause
        return found

    @staticmethod
    def phase_words(j, lanes):
        """Words read in each phase of a three-tap row by the lanes of a head, chunk group j."""
        base = lanes * j
        yield 0, [base - 1, *range(base, base + lanes - 1)]
        yield 1, [base + lanes - 1]
        yield 2, [base + lanes]

    # -- writes
    def write_times(self, op):
        """(channel, word) -> cycle of the write port, for the map that an operation writes."""
        offsets = self.kept("write", op, self._write_offsets)
        start, times = self.made.get(("written", op.name), (None, None))
        if start != (op.start, op.idle, op.pause):
            times = np.where(offsets < NEVER, op.start + offsets, 0)
            self.made["written", op.name] = (op.start, op.idle, op.pause), times
        return times

    def _write_offsets(self, op):
        """The same from the operation's first step; NEVER where nothing is written."""
        e, g = self.g.engine, self.g
        words = g.words(op.out_columns)
        offsets = np.full((op.first + op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.first, op.first + op.out_channels)
        group, unit = np.divmod(c, e.channels if op.head_mode else e.units)
        late = unit if op.head_mode or op.target == Target.SCORES else unit // e.lanes
        drained = self.t.transfer + self.t.pack + self.drain_length(op) - 1 + self.t.write
        for j in range(op.chunks):
            last = (group * op.chunks + j) * op.period + op.period - op.idle - 1
            if not op.head_mode:
                targets = [(0, j)]
            elif g.head_lanes == 1:
                targets = [(0, j // 2)]
            else:
                pairs = g.head_lanes // 2
                targets = [(i, pairs * j + i) for i in range(pairs)]
            for pair, word in targets:
                if word < words:
                    slot = late
                    if op.target == Target.CONCAT:
                        slot = late + (pair * g.heads + g.heads - 1) * e.channels
                    offsets[op.first :, word] = last + drained + slot
        return offsets

    def solve(self):
        """Fill in the times of every operation; returns the cycles of a row group."""
        for op in self.ops:
            op.idle = max(self.rest, self.spacing(op) - op.k)
        for _ in range(2000):
            total = self.place()
            if all(self.good(i, op) for i, op in enumerate(self.ops) if op.operands):
                return total
        raise ValueError("no schedule found in which operands come in time")

    def good(self, index, op) -> bool:
        """`operands_in_time`, asked again only when something up to the next operation moved."""
        now = op.hold, [(o.start, o.idle, o.pause) for o in self.ops[: index + 2]]
        if self.checked.get(index) != now:
            if not self.operands_in_time(index, op):
                return False
            self.checked[index] = now
        return True

    def slower(self, op, cycles=1):
        """Give the operand fetches of an operation more room in every walk."""
        channels = self.g.engine.channels
        if (
            len(op.segments) == 2
            and self.g.engine.lanes == 1
            and op.pause < 2 * len(op.operands) * channels
            and op.segments[0].channels > self.g.engine.pixels + 24
        ):
            op.pause += 1  # the only bank is read in every cycle: let go of it in mid-walk
        else:
            op.idle += cycles

    def place(self):
        """One pass over the operations with the present idle and pause fields."""
        ready = self.ready = {}
        now, softmax_free, previous = self.head_wait, 0, self.ops[-1]
        timings = [self.head_wait, *((op.idle, op.pause, op.extra) for op in self.ops)]
        pairs = zip(timings, self.placed, strict=False)
        moved = next((i for i, (a, b) in enumerate(pairs) if a != b), len(self.placed))
        self.placed = timings
        for index, op in enumerate(self.ops):
            if index + 1 < moved:  # all as before up to here
                now = op.last_step + 1
                previous = op
                softmax_free = self.note_writes(op, softmax_free)
                continue
            # transfers may not follow each other faster than either operation's drain allows
            apart = self.apart(previous, op)
            start = now + op.idle + max(0, apart - op.period)
            for segment, first in self.read_times(op):
                if segment.map == "X" or segment.state:
                    continue
                there = ready[("A", op.heads[0]) if segment.map == "A" else segment.map]
                rows = slice(segment.first, segment.first + first.shape[0])
                need = (there[rows, : first.shape[1]] + 1 - first)[first < NEVER]
                start = max(start, int(need.max(initial=0)))
            start = max(
                start, now + self.t.fetch - op.walks * op.period + op.idle, now + op.idle + op.extra
            )
            op.start, op.wait = start, start - now - op.idle
            if op is self.ops[0]:
                op.wait += self.head_wait
            now = op.last_step + 1
            previous = op
            softmax_free = self.note_writes(op, softmax_free)
        # the classifier's answer must come before the next group touches the state
        state = ready["H"]
        answer = int(state.max()) + self.g.engine.units + 8 + self.classifier_cycles
        short = answer - (now + int(state.min()))
        if short > 0:
            self.head_wait += short
            return self.place()
        return now

    def note_writes(self, op, softmax_free) -> int:
        """Enters in `ready` what an operation writes; returns when the softmax is free again."""
        ready, times = self.ready, self.write_times(op)
        if op.target == Target.SCORES:
            h, begin = op.heads[0], max(int(times.max()) + 1, softmax_free)
            unit = self.attention_unit
            op.softmax_start = begin
            ready["A", h] = np.array([[begin + unit.row_ready(j)] for j in range(self.model.n)]) - 1
            return begin + unit.cycles
        # rows of the map that this operation writes
        if op.target == Target.CONCAT:
            firsts = [h * op.out_channels for h in op.heads]
        elif op.function == Function.MIX:
            firsts = [op.heads[0] * op.out_channels]
        elif op.out.startswith("V"):
            firsts = [op.first]
        else:
            firsts = [op.row * op.out_channels] if op.out.startswith("B2") else [0]
        for row in firsts:
            size = row + op.out_channels
            if op.out not in ready or ready[op.out].shape[0] < size:
                grown = np.zeros((size, times.shape[1]), np.int64)
                if op.out in ready:
                    grown[: ready[op.out].shape[0]] = ready[op.out]
                ready[op.out] = grown
            ready[op.out][row:size] = times[op.first :]
        return softmax_free

    def operands_in_time(self, index, op) -> bool:
        """Replays an operation's operand fetches cycle by cycle.

        Returns False after it gave the operation more time: `hold` lets the first walk's fetch
        begin later (its words are still being written), `extra` its first step, `idle` or `pause`
        every walk.
        """
        e = self.g.engine
        busy = [self.bank_at(other) for other in self.ops[index : index + 2]]
        transfers = [self.ops[index - 1].last_step + self.t.transfer] + [
            op.start + w * op.period + op.k + op.pause - 1 + self.t.transfer
            for w in range(op.walks)
        ]
        lead = self.t.operand_lead
        free = lead - self.t.operand_follow + 1  # all fetched when the sequencer goes on
        value = op.weights == Weights.VALUE
        length = self.drain_length(op) if len(op.operands) > 1 or value else 0

        def unready(name, at, row, chunk):
            if name in ("H", op.out):
                return 0
            words = self.ready[name][row * e.lanes : (row + e.channels) * e.lanes, chunk]
            return max(0, int(words.max(initial=0)) + 1 - at)

        for w in range(op.walks):
            row, chunk = (w // op.chunks) * e.channels, w % op.chunks
            begin = transfers[w] + (op.hold if w == 0 else 0)
            late, at = 0, begin + lead + (0 if value else length)
            if value:
                missing = unready(op.operand_value, at, row, chunk)
                at = self.fetch(at, busy)
                first_use = op.start + w * op.period + self.t.weight_chosen
                late = at + self.t.operand_read - first_use
                at = max(at, begin + lead + length)
            else:
                missing = 0
            for name in op.operands:
                missing = max(missing, unready(name, at, row, chunk))
                at = self.fetch(at, busy)
            late = max(late, at - (transfers[w + 1] + free))
            # late even if the array left all banks alone?
            alone = (
                begin + lead + length + len(op.operands) * e.channels - (transfers[w + 1] + free)
            )
            if missing and w == 0:
                op.hold += missing
            elif late > 0 and w == 0 and (alone > 0 or value):
                op.extra += max(alone, 1)
            elif missing or late > 0:
                self.slower(op, max(1, late if value else 1))
            else:
                continue
            return False
        return True

    def fetch(self, at, busy) -> int:
        """Cycle after the last address of one operand's words (one per bank and channel index).

        busy: functions as `bank_at` gives them.
        """
        e = self.g.engine
        for _ in range(e.channels):
            pending = set(range(e.lanes))
            while pending:
                pending &= {bank(at) for bank in busy}
                at += 1
        return at

    def bank_at(self, op):
        """Function of the cycle: the bank whose address register an operation's array read takes
        then, -1 for none."""
        if op.source != Source.SHARED:
            return lambda at: -1
        chunks = self.kept("bank", op, self._banks)
        first = op.start + (self.t.address_one_tap if op.taps == 1 else self.t.address_three_tap)
        period, walks, count = op.period, op.walks, op.chunks

        def bank(at):
            walk, offset = divmod(at - first, period)
            return chunks[walk % count][offset] if 0 <= walk < walks else -1

        return bank

    def _banks(self, op):
        """The bank of each cycle of a walk, by chunk."""
        found = []
        for j in range(op.chunks):
            banks = []
            for number, segment in enumerate(op.segments):
                for c in range(segment.channels):
                    bank = (segment.first + c) % self.g.engine.lanes
                    for phase in range(op.taps):
                        read = op.taps == 1 or 0 <= j + phase - 1 < op.in_words
                        banks.append(bank if read else -1)
                if number == 0:
                    banks += [-1] * op.pause
            found.append(banks + [-1] * (op.period - len(banks)))
        return found

    def bank_reads(self, op):
        """Set of (cycle of the address register, bank) that an operation's array reads occupy."""
        bank = self.bank_at(op)
        cycles = range(op.start, op.last_step + self.t.address_one_tap + 1)
        return {(at, bank(at)) for at in cycles if bank(at) >= 0}
