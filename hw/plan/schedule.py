"""Start times of the operations of one steady row group.

Scheduling is static. The operations run in order, and an operation starts so that each word that it
reads is there just in time; the `wait` that this takes is solved here, so the hardware has no
scoreboard. Only camera rows are waited for at run time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hw.plan.beside import SoftmaxTiming
from hw.plan.operations import STATE, Function, Operation, Source, Target, Times, WeightSource
from hw.plan.rules import NEVER, Rules


@dataclass
class Draft:
    """An operation while its times are being solved; see Times."""

    op: Operation
    start: int = 0
    idle: int = 0
    pause: int = 0
    wait: int = 0
    hold: int = 0
    extra: int = 0
    checked: tuple = field(default=())  # for what its operands were found good

    @property
    def period(self) -> int:
        return self.idle + self.pause + self.op.k

    @property
    def last_step(self) -> int:
        return self.start + self.op.walks * self.period - self.idle - 1

    @property
    def moment(self) -> tuple[int, int, int]:
        return self.start, self.idle, self.pause

    def times(self) -> Times:
        """The solution."""
        return Times(
            start=self.start,
            idle=self.idle,
            pause=self.pause,
            wait=self.wait,
            hold=self.hold,
            extra=self.extra,
        )


class Schedule:
    """Solves the times of every operation.

    Parameters
    ----------
    rules : Rules
    operations : sequence of Operation
    classifier_cycles : int
        Of a run of the classifier: its answer comes before the next group touches the state.
    softmax : SoftmaxTiming or None
    """

    def __init__(
        self,
        rules: Rules,
        operations: Sequence[Operation],
        classifier_cycles: int,
        softmax: SoftmaxTiming | None,
    ):
        self.rules, self.g, self.e, self.t = rules, rules.g, rules.e, rules.t
        self.drafts = [Draft(op) for op in operations]
        self.classifier_cycles, self.softmax = classifier_cycles, softmax
        self.head_wait = self.t.group_turn
        self.ready: dict[str, np.ndarray] = {}
        self.made: dict[tuple, object] = {}
        self.placed: list = []  # timing of the operations when `place` was last through

    def solve(self) -> tuple[list[Times], int]:
        """Times of the operations, and the cycles of a row group.

        Raises
        ------
        ValueError
            If there is no schedule in which all operands come in time.
        """
        for draft in self.drafts:
            draft.idle = max(0, self.rules.spacing(draft.op) - draft.op.k)
        for _ in range(2000):
            total = self.place()
            if all(self.good(i) for i, draft in enumerate(self.drafts) if draft.op.operands):
                return [draft.times() for draft in self.drafts], total
        raise ValueError("no schedule found in which operands come in time")

    def kept(self, make, draft: Draft):
        """`make(op, idle, pause)`, made anew only for new arguments."""
        key = make.__name__, draft.op.name, draft.idle, draft.pause
        if key not in self.made:
            self.made[key] = make(draft.op, draft.idle, draft.pause)
        return self.made[key]

    # ---- one pass ----

    def place(self) -> int:
        """Start times from the present idle and pause cycles; returns the row group's."""
        while True:
            total = self.pass_through()
            # the classifier's answer must come before the next group touches the state, and before
            # its last step, with which it is the group that answers are of
            answer = int(self.ready[STATE].max()) + self.e.units + 8 + self.classifier_cycles
            last = self.drafts[-1]  # the one that writes the state
            touched = last.start + self.kept(self.rules.first_write, last)
            short = answer - (total + min(touched, last.last_step))
            if short <= 0:
                return total
            self.head_wait += short

    def pass_through(self) -> int:
        """The same, whatever the classifier needs."""
        self.ready = {}
        now, softmax_free, previous = self.head_wait, 0, self.drafts[-1]
        timings = [self.head_wait, *((d.idle, d.pause, d.extra) for d in self.drafts)]
        pairs = zip(timings, self.placed, strict=False)
        moved = next((i for i, (a, b) in enumerate(pairs) if a != b), len(self.placed))
        self.placed = timings
        for index, draft in enumerate(self.drafts):
            if index + 1 >= moved:  # before, all is as it was
                self.begin(draft, now, previous)
                if index == 0:
                    draft.wait += self.head_wait
            now, previous = draft.last_step + 1, draft
            softmax_free = self.note_writes(draft, softmax_free)
        return now

    def begin(self, draft: Draft, now: int, previous: Draft) -> None:
        """Start of an operation, where the one before ends with cycle `now` - 1."""
        op = draft.op
        # transfers may not follow each other faster than either operation's drain allows
        apart = self.rules.apart(previous.op, op)
        start = now + draft.idle + max(0, apart - draft.period)
        reads = self.kept(self.rules.read_offsets, draft)
        for segment, first in zip(op.segments, reads, strict=True):
            if op.source == Source.CAMERA or segment.state:
                continue
            row = segment.first + op.in_row * segment.channels
            there = self.ready[segment.map][row : row + first.shape[0], : first.shape[1]]
            need = (there + 1 - first)[first < NEVER]
            start = max(start, int(need.max(initial=0)))
        fetched = now + self.t.fetch - op.walks * draft.period + draft.idle
        turn = self.rules.turn(previous.op, op)
        draft.start = max(start, fetched, now + turn, now + draft.idle + draft.extra)
        draft.wait = draft.start - now - draft.idle

    def write_times(self, draft: Draft) -> np.ndarray:
        """(channel, word) -> cycle of the write port; 0 where nothing is written."""
        offsets = self.kept(self.rules.write_offsets, draft)
        return np.where(offsets < NEVER, draft.start + offsets, 0)

    def note_writes(self, draft: Draft, softmax_free: int) -> int:
        """Enters in `ready` what an operation writes; returns when the softmax is free again."""
        op, ready, times = draft.op, self.ready, self.write_times(draft)
        if op.target == Target.SCORES:
            begin, unit = max(int(times.max()) + 1, softmax_free), self.softmax
            rows = [[begin + unit.row_ready(j)] for j in range(op.in_columns)]
            ready[op.out] = np.array(rows) - 1
            return begin + unit.cycles
        # rows of the map that this operation writes
        if op.head_mode and op.target == Target.CONCAT:
            firsts = [layer.first for layer in op.layers]
        elif op.function == Function.MIX:
            firsts = [op.layer.first]
        else:
            firsts = [op.first + op.out_row * op.out_channels]
        for row in firsts:
            size = row + op.out_channels
            if op.out not in ready or ready[op.out].shape[0] < size:
                grown = np.zeros((size, times.shape[1]), np.int64)
                if op.out in ready:
                    grown[: ready[op.out].shape[0]] = ready[op.out]
                ready[op.out] = grown
            ready[op.out][row:size] = times[op.first :]
        return softmax_free

    # ---- operands ----

    def good(self, index: int) -> bool:
        """`operands_in_time`, asked again only when something up to the next operation moved."""
        draft = self.drafts[index]
        now = draft.hold, *(d.moment for d in self.drafts[: index + 2])
        if draft.checked != now:
            if not self.operands_in_time(index):
                return False
            draft.checked = now
        return True

    def slower(self, draft: Draft, cycles: int) -> None:
        """Give the operand fetches of an operation more room in every walk."""
        op, channels = draft.op, self.e.channels
        if (
            len(op.segments) == 2
            and self.e.lanes == 1
            and draft.pause < 2 * len(op.operands) * channels
            and op.segments[0].channels > self.e.pixels + 24
        ):
            draft.pause += 1  # the only bank is read in every cycle: let go of it in mid-walk
        else:
            draft.idle += cycles

    def operands_in_time(self, index: int) -> bool:
        """Replays an operation's operand fetches cycle by cycle.

        Returns False after it gave the operation more time: `hold` lets the first walk's fetch
        begin later (its words are still being written), `extra` its first step, `idle` or `pause`
        every walk.
        """
        e, t, draft = self.e, self.t, self.drafts[index]
        op = draft.op
        busy = [self.reading(other) for other in self.drafts[index : index + 2]]
        last = draft.start + op.k + draft.pause - 1
        transfers = [self.drafts[index - 1].last_step + t.transfer]
        transfers += [last + w * draft.period + t.transfer for w in range(op.walks)]
        lead = t.operand_lead
        free = lead - t.operand_follow + 1  # all fetched when the sequencer goes on
        value = op.weights == WeightSource.VALUE
        length = self.rules.positions(op) if len(op.operands) > 1 or value else 0

        def unready(name: str, at: int, row: int, chunk: int) -> int:
            if name in (STATE, op.out):
                return 0
            words = self.ready[name][row * e.lanes : (row + e.channels) * e.lanes, chunk]
            return max(0, int(words.max(initial=0)) + 1 - at)

        for w in range(op.walks):
            row, chunk = (w // op.chunks) * e.channels, w % op.chunks
            begin = transfers[w] + (draft.hold if w == 0 else 0)
            late, at = 0, begin + lead + (0 if value else length)
            missing = 0
            if value:
                missing = unready(op.operand_value, at, row, chunk)
                at = self.fetch(at, busy)
                first_use = draft.start + w * draft.period + t.weight_chosen
                late = at + t.operand_read - first_use
                at = max(at, begin + lead + length)
            for name in op.operands:
                missing = max(missing, unready(name, at, row, chunk))
                at = self.fetch(at, busy)
            late = max(late, at - (transfers[w + 1] + free))
            # late even if the array left all banks alone?
            alone = (
                begin + lead + length + len(op.operands) * e.channels - (transfers[w + 1] + free)
            )
            if missing and w == 0:
                draft.hold += missing
            elif late > 0 and w == 0 and (alone > 0 or value):
                draft.extra += max(alone, 1)
            elif missing or late > 0:
                self.slower(draft, max(1, late if value else 1))
            else:
                continue
            return False
        return True

    def reading(self, draft: Draft) -> tuple[int, np.ndarray]:
        """First cycle, and the bank that the array reads in each from there on; -1: none."""
        banks = self.kept(self.rules.banks, draft)
        return draft.start + self.rules.first_address(draft.op), banks

    def fetch(self, at: int, busy: Sequence[tuple[int, np.ndarray]]) -> int:
        """Cycle after the last address of one operand's words (one per bank and channel index),
        each bank's in the first cycle in which the array leaves it alone.

        busy: as `reading` gives them.
        """
        for _ in range(self.e.channels):
            pending = set(range(self.e.lanes))
            while pending:
                pending &= {
                    int(banks[at - first]) for first, banks in busy if 0 <= at - first < len(banks)
                }
                at += 1
        return at
