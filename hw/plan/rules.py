"""What array and way back ask of the walks of an operation, whatever their times."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from hw.plan.engine_config import Geometry
from hw.plan.latency import Latency
from hw.plan.operations import Function, Operation, Source, Target

NEVER = 10**9


def word_spacing(*, width: int, pixels: int, channels: int) -> Fraction:
    """Cycles from pixel to pixel where a line buffer writes a word of each colour at a time.

    There is one for every `pixels`, and at a row's end: a word of fewer pixels than there are
    colours needs more cycles than it has pixels.
    """
    fewest = min(pixels, width % pixels or pixels)
    return max(Fraction(1), Fraction(channels, fewest))


class Rules:
    """What the array and the way back ask of an operation's walks, whatever their times.

    Offsets count cycles from the operation's first step.

    Parameters
    ----------
    geometry : Geometry
    """

    one_byte = False
    """Bytes are written one at a time, not words."""
    programs_always_read: tuple[str, ...] = ()
    """Programs whose ROMs have no read enable."""

    def __init__(self, geometry: Geometry):
        self.g, self.e = geometry, geometry.engine

    @property
    def t(self) -> Latency:
        """Latencies of the parts."""
        return self.e.latency

    # ---- the camera ----

    @property
    def pixel_spacing(self) -> int:
        """Cycles from pixel to pixel that no frame of the network can overrun by itself."""
        return ceil(self.even_spacing)

    @property
    def even_spacing(self) -> Fraction:
        """The same of even pixels: pixel i comes in cycle floor(i * spacing), in any phase."""
        model = self.g.model
        return word_spacing(
            width=model.image_width, pixels=self.e.pixels, channels=model.in_channels
        )

    # ---- of any two neighbouring transfers ----

    def positions(self, op: Operation) -> int:
        """Sums of a lane that leave after a walk, one a cycle: one more where two lanes share an
        odd pair."""
        paired = self.g.head_lanes > 1 and self.e.pixels % 2
        return self.e.pixels + (1 if op.head_mode and paired else 0)

    def slots(self, op: Operation) -> int:
        """Cycles in which an operation's words of one walk are written."""
        e, g = self.e, self.g
        if op.target == Target.CONCAT:
            return e.channels * g.heads * max(1, g.head_lanes // 2)
        return e.units if op.target == Target.SCORES else e.channels

    def spacing(self, op: Operation) -> int:
        """Fewest cycles between transfers of this operation, whatever K is."""
        e, slots = self.e, self.slots(op)
        constants = self.t.follow + self.g.constant_words(op.head_mode)
        cycles = max(self.positions(op) + slots - e.channels, slots + 1, constants)
        return max(cycles, e.units + 1) if op.function == Function.BLEND else cycles

    def apart(self, previous: Operation, op: Operation) -> int:
        """Fewest cycles between the last transfer of an operation and the next one's first."""
        return max(self.spacing(previous), self.spacing(op) + self.t.switch)

    def turn(self, previous: Operation, op: Operation) -> int:
        """Fewest cycles from an operation's last step to the next one's first, less one.

        A three-tap row reads earlier than a one-tap row: in head mode not in the cycle of that
        one's last read (shared words have none there, left of the first one).
        """
        late = self.first_address(previous) - self.first_address(op)
        return max(0, late) if previous.head_mode else 0

    # ---- reads ----

    def read_offsets(self, op: Operation, idle: int, pause: int) -> list[np.ndarray]:
        """For each segment: (rows * channels, word) -> earliest offset of an address that reads it,
        NEVER for words that no walk reads."""
        lanes = self.g.head_lanes if op.head_mode else 1
        period = idle + pause + op.k
        words = np.full(op.in_words, NEVER)  # without the offset of a row of the kernel
        for j in range(op.chunks):
            for phase, read in self.phases(op, j, lanes):
                for word in read:
                    if 0 <= word < op.in_words:
                        words[word] = min(words[word], j * period + phase)
        found, offset = [], 0
        for segment in op.segments:
            row, c = np.divmod(np.arange(op.kernel_rows * segment.channels), segment.channels)
            at = offset + op.taps * (c * op.kernel_rows + row)
            found.append(np.where(words < NEVER, at[:, None] + words, NEVER))
            offset += op.taps * op.kernel_rows * segment.channels + pause
        return found

    def phases(self, op: Operation, j: int, lanes: int) -> Iterator[tuple[int, Sequence[int]]]:
        """Offsets of the reads of a kernel's row, with the words that the lanes of a head read
        then; chunk group j."""
        base = lanes * j
        if op.taps == 1:
            yield self.t.address_one_tap, range(base, base + lanes)
            return
        at = self.t.address_three_tap
        yield at, [base - 1, *range(base, base + lanes - 1)]
        yield at + 1, [base + lanes - 1]
        yield at + 2, [base + lanes]

    def banks(self, op: Operation, idle: int, pause: int) -> np.ndarray:
        """The bank that the array reads in each cycle of an operation's walks, -1 for none.

        Empty where it reads no n-wide map. Counts from `first_address`.
        """
        if op.source != Source.SHARED:
            return np.empty(0, int)
        walks = []
        for j in range(op.chunks):
            one = [op.taps == 1 or 0 <= j + phase - 1 < op.in_words for phase in range(op.taps)]
            banks: list[int] = []
            for number, segment in enumerate(op.segments):
                for c in range(segment.channels):
                    bank = (segment.first + c) % self.e.lanes
                    banks += [bank if read else -1 for read in one]
                if number == 0:
                    banks += [-1] * pause
            walks += banks + [-1] * idle
        return np.tile(np.array(walks), op.out_groups)

    def first_address(self, op: Operation) -> int:
        """Offset of the first address."""
        return self.t.address_one_tap if op.taps == 1 else self.t.address_three_tap

    # ---- writes ----

    def write_offsets(self, op: Operation, idle: int, pause: int) -> np.ndarray:
        """(channel, word) -> offset of the write port, for the map that an operation writes; NEVER
        where nothing is written. The first `Operation.first` channels are dummies."""
        g, e = self.g, self.e
        words, period = g.words(op.out_columns), idle + pause + op.k
        offsets = np.full((op.first + op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.first, op.first + op.out_channels)
        group, unit = np.divmod(c, e.channels if op.head_mode else e.units)
        late = unit if op.head_mode or op.target == Target.SCORES else unit // e.lanes
        drained = self.t.transfer + self.t.pack + self.positions(op) - 1 + self.t.write
        for j in range(op.chunks):
            last = (group * op.chunks + j) * period + period - idle - 1
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

    def first_write(self, op: Operation, idle: int, pause: int) -> int:
        """Offset of the first cycle in which the map that an operation writes is touched."""
        return int(self.write_offsets(op, idle, pause)[op.first :].min())

    def answer_late(self, op: Operation, channels: int) -> int:
        """Last step of the operation that writes the state -> its last channel has been pooled, and
        the classifier may begin."""
        e = self.e
        units_before = (op.out_groups - 1) * e.units
        last_byte = self.t.transfer + self.t.pack + e.pixels - 1
        # sums and maxima leave unit by unit, the last channel's in the end
        return last_byte + 3 + (channels - 1 - units_before)
