"""Softmax: the score and weight rows of every head's spatial attention, and the unit between."""

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arithmetic.multiplier import TreeMultiplier
from hw.common import NO_COLLISION
from hw.interfaces import write_port
from hw.plan.beside import QUOTIENT_BITS, SoftmaxTiming

BAND = 2


class Softmax(wiring.Component):
    """Memory of the spatial attention S and A, with one softmax unit for all heads.

    Eq. 7 of the paper, for each row (state position) of S over its n columns::

        s = 0 where banded and |row - column| > 2
        e = exp_table[max(s) - s]
        r = (127 * 4096 + (sum(e) >> 1)) // sum(e)
        a = (e * r + 2048) >> 12

    Bit-exact model: golden.attention.softmax (the band: golden.attention.score).

    The scores come row by row from the drain (``w_*``), the array reads the weights (``r_*``) as
    words of P bytes of which those beyond n are 0. S and A are two memories, each with one write
    and one read port: the array may read A while the unit still reads S, and the drain may write
    S at any time. The products S = H^T K and V A are the array's (Eq. 7, 9); P' (Eq. 9) and
    C * A (Eq. 13) are the channel unit's (hw/parallel/channel_unit.py).

    The unit is a pipeline of four stages of `row_cycles` each, every one serial over the columns
    (the divider over its quotient bits)::

        S ─► band, maximum ─► exp, sum ─► divide ─► normalise ─► A
                 s └──── delay ───┘ e └──── delay ────┘

    A row's s and e wait in one delay memory of 16 bits. A one-bit shift register that
    follows each row gives the stages their signals; there is no other control.

    Parameters
    ----------
    heads : int
        M, at least 1.
    columns : int
        n, at least 1.
    pixels : int
        P, bytes of a word, at least n.
    banded : bool
        The release's form of the attention.
    exp_table : sequence of 256 int
        First contents of the table, 0..255; entry 0 must be 255, in a table loaded later, too
        (the divider relies on it).
    read_cycles : {1, 2}
        ``r_en`` -> ``r_data``: A's memory, and a register behind it.

    Attributes
    ----------
    row_cycles : int
        From a row to the next, ``max(n, 12)``.
    row_ready(j) : int
        From ``start`` to the first cycle in which ``r_row`` may be row j, to read its A,
        ``j * row_cycles + 3n + 39``.
    cycles : int
        From the cycle with ``start`` to the first with ``busy`` = 0,
        ``(n - 1) * row_cycles + 3n + 39``.

    Ports
    -----
    w_en : In(1), w_head : In(range(heads)), w_row : In(range(columns)), w_data : In(8 * pixels)
        Write a row of scores, column 0 in the lowest byte, signed; bytes beyond n do not matter.
    start : In(1), start_head : In(range(heads))
        Pulse, from the cycle after the last of the head's n rows was written: make the head's A.
        Ignored while busy.
    abort : In(1)
        Back to idle; rows of A may have been written or not. Wins over ``start``, which may come
        again in the next cycle.
    busy : Out(1)
        From the cycle after ``start`` until the last row is written.
    r_en : In(1), r_head : In(range(heads)), r_row : In(range(columns))
        Read a row of A.
    r_data : Out(8 * pixels)
        The row, exactly `read_cycles` after its ``r_en``; stays as long after the next.
    table : Out(write_port(256, 8))
        Write an entry while idle.
    """

    def __init__(
        self,
        *,
        heads: int,
        columns: int,
        pixels: int,
        banded: bool,
        exp_table: Sequence[int],
        read_cycles: int = 2,
    ):
        if read_cycles not in (1, 2):
            raise ValueError(f"read_cycles must be 1 or 2, not {read_cycles!r}")
        self.read_cycles = read_cycles
        if heads < 1:
            raise ValueError(f"heads must be at least 1, not {heads}")
        if columns < 1:
            raise ValueError(f"columns must be at least 1, not {columns}")
        if pixels < columns:
            raise ValueError(
                f"pixels must be at least columns ({columns}), a row is a word, not {pixels}"
            )
        if not isinstance(banded, bool):
            raise ValueError(f"banded must be True or False, not {banded!r}")
        exp_table = [int(value) for value in exp_table]
        if len(exp_table) != 256:
            raise ValueError(f"exp_table must have 256 entries, not {len(exp_table)}")
        if any(not 0 <= value <= 255 for value in exp_table):
            raise ValueError("entries of exp_table must be 0..255")
        if exp_table[0] != 255:
            raise ValueError(f"entry 0 of exp_table must be 255, not {exp_table[0]}")
        self.heads, self.columns, self.pixels = heads, columns, pixels
        self.banded, self.exp_table = banded, exp_table
        self._timing = SoftmaxTiming(columns=columns)
        self._head_bits = max(1, (heads - 1).bit_length())
        self._row_bits = max(1, (columns - 1).bit_length())
        super().__init__(
            {
                "w_en": In(1),
                "w_head": In(self._head_bits),
                "w_row": In(self._row_bits),
                "w_data": In(8 * pixels),
                "start": In(1),
                "start_head": In(self._head_bits),
                "abort": In(1),
                "busy": Out(1),
                "r_en": In(1),
                "r_head": In(self._head_bits),
                "r_row": In(self._row_bits),
                "r_data": Out(8 * pixels),
                "table": Out(write_port(256, 8)),
            }
        )

    @property
    def memory_shapes(self) -> dict[str, tuple[int, int]]:
        """Words and bits of the memories beside the table."""
        return self.shapes(heads=self.heads, columns=self.columns, pixels=self.pixels)

    @staticmethod
    def shapes(*, heads: int, columns: int, pixels: int) -> dict[str, tuple[int, int]]:
        """Words and bits of the memories beside the table, without building a unit."""
        return SoftmaxTiming(columns=columns).shapes(heads=heads, pixels=pixels)

    @staticmethod
    def timing(*, columns: int) -> SoftmaxTiming:
        """Timing of a unit for n columns, without building one."""
        return SoftmaxTiming(columns=columns)

    @property
    def row_cycles(self) -> int:
        """Cycles from a row to the next."""
        return self._timing.row_cycles

    @property
    def cycles(self) -> int:
        """``start`` -> the first cycle with ``busy`` = 0."""
        return self._timing.cycles

    def row_ready(self, row: int) -> int:
        """Cycles from ``start`` to the first cycle in which ``r_row`` may be this row."""
        return self._timing.row_ready(row)

    def elaborate(self, platform):
        m = Module()
        memories = {
            name: Memory(shape=unsigned(bits), depth=depth, init=[], attrs=NO_COLLISION)
            for name, (depth, bits) in self.memory_shapes.items()
        }
        memories["table"] = Memory(
            shape=unsigned(8), depth=256, init=self.exp_table, attrs=NO_COLLISION
        )
        for name, memory in memories.items():
            m.submodules[name] = memory
        self._outside(m, memories)
        head, row, at = self._rows(m)
        score = self._scores(m, memories["scores"].read_port(), head, row, at)
        maximum = self._maximum(m, score, at)
        e, late = _data(8, "e"), _data(16, "late")
        self._delay(m, memories["delayed"], Cat(score, e), late)
        # Exp, stage 1: distance from the maximum.  Stages 2, 3: table and its output register
        below, table = _data(8, "below"), memories["table"].read_port()
        m.d.sync += [below.eq(maximum - late[:8].as_signed()), e.eq(table.data)]
        m.d.comb += [table.addr.eq(below), table.en.eq(self.busy)]
        ratio = self._ratio(m, e, at)
        self._normalise(m, memories["weights"].write_port(), ratio, late[8:], head, at)
        return m

    def _outside(self, m, memories):
        """Ports of the scores, of the weights and of the table."""
        scores, weights = memories["scores"].write_port(), memories["weights"].read_port()
        m.d.comb += [
            scores.en.eq(self.w_en),
            scores.addr.eq(Cat(self.w_row, self.w_head)),
            scores.data.eq(self.w_data),
            weights.en.eq(self.r_en),
            weights.addr.eq(Cat(self.r_row, self.r_head)),
        ]
        m.d["sync" if self.read_cycles == 2 else "comb"] += self.r_data.eq(weights.data)
        wiring.connect(m, wiring.flipped(self.table), memories["table"].write_port())

    def _rows(self, m):
        """Head and row that are addressed; bit i of `at`: a row was, i cycles ago."""
        period = self.row_cycles
        head, row, step = Signal(self._head_bits), Signal(self._row_bits), Signal(range(period))
        issuing, addressed = Signal(), Signal()
        follow = Signal(self._timing.write)
        at = Cat(addressed, follow)
        m.d.comb += addressed.eq(issuing & (step == 0))
        m.d.sync += [follow.eq(at), step.eq(step + 1)]
        with m.If(step == period - 1):
            m.d.sync += [step.eq(0), row.eq(row + 1)]
            with m.If(row == self.columns - 1):
                m.d.sync += issuing.eq(0)
        with m.If(self.start & ~self.busy):
            m.d.sync += [
                self.busy.eq(1),
                issuing.eq(1),
                head.eq(self.start_head),
                step.eq(0),
                row.eq(0),
            ]
        with m.If(self.abort):
            m.d.sync += [issuing.eq(0), follow.eq(0)]
        return head, row, at

    def _scores(self, m, read, head, row, at):
        """A row's scores, column by column."""
        # Stage 1: scores read.  Stage 2: output register; holds for the whole row.
        m.d.comb += [read.en.eq(at[0]), read.addr.eq(Cat(row, head))]
        word = _data(8 * self.pixels, "word")
        column = _data(range(self.row_cycles), "column")
        distance = _data(signed(self._row_bits + 1), "distance")  # column - row
        m.d.sync += [word.eq(read.data), column.eq(column + 1), distance.eq(distance + 1)]
        with m.If(at[1]):
            m.d.sync += [column.eq(0), distance.eq(-row)]
        # Stage 3: column and band.  Stage 4: score
        byte, inside, score = (
            _data(shape, name)
            for shape, name in ((signed(8), "byte"), (1, "inside"), (signed(8), "score"))
        )
        m.d.sync += [
            byte.eq(word[: 8 * self.columns].word_select(column, 8).as_signed()),
            inside.eq(((distance >= -BAND) & (distance <= BAND)) if self.banded else 1),
            score.eq(Mux(inside, byte, 0)),
        ]
        return score

    def _maximum(self, m, score, at):
        """Stage 5: maximum so far; taken when it is whole, it waits for the delayed scores."""
        when = self._timing
        highest, whole, maximum = (
            _data(signed(8), name) for name in ("highest", "whole", "maximum")
        )
        rises = Signal(signed(9))
        m.d.comb += rises.eq(highest - score)
        with m.If(at[when.score] | rises[-1]):
            m.d.sync += highest.eq(score)
        with m.If(at[when.score + self.columns]):
            m.d.sync += whole.eq(highest)
        with m.If(at[when.score + when.delay - 1]):
            m.d.sync += maximum.eq(whole)
        return maximum

    def _delay(self, m, memory, now, late):
        """A ring; the entry read next is the oldest, one after the entry written."""
        read, write = memory.read_port(), memory.write_port()
        oldest = Signal.like(read.addr, name="oldest")
        newest = Signal.like(read.addr, name="newest")
        m.d.sync += [
            oldest.eq(Mux(oldest == self._timing.delay - 2, 0, oldest + 1)),
            newest.eq(oldest),
            late.eq(read.data),
        ]
        m.d.comb += [
            read.addr.eq(oldest),
            write.addr.eq(newest),
            read.en.eq(self.busy),
            write.en.eq(self.busy),
            write.data.eq(now),
        ]

    def _ratio(self, m, e, at):
        """Sum of a row's e, and its reciprocal r."""
        when = self._timing
        # Exp, stage 4: sum
        total = _data(range(255 * self.columns + 1), "total")
        m.d.sync += total.eq(Mux(at[when.exp], 0, total) + e)
        # Divide: restoring, a quotient bit a cycle. 127 * 4096 is 254 << 11, so the first
        # remainder is 254 and what the rounding term carries over; it is below the sum.
        divisor, remainder = _data(total.shape(), "divisor"), _data(total.shape(), "remainder")
        quotient, ratio = _data(QUOTIENT_BITS, "quotient"), _data(QUOTIENT_BITS, "ratio")
        trial = Signal(signed(len(total) + 2))
        m.d.comb += trial.eq(Cat(quotient[-1], remainder) - divisor)
        with m.If(at[when.sum]):
            m.d.sync += [
                divisor.eq(total),
                remainder.eq((total >> QUOTIENT_BITS + 1) + (127 * 4096 >> QUOTIENT_BITS)),
                quotient.eq(total >> 1),
            ]
        with m.Else():
            m.d.sync += [
                remainder.eq(Mux(trial < 0, Cat(quotient[-1], remainder), trial)),
                quotient.eq(Cat(trial >= 0, quotient)),
            ]
        with m.If(at[when.quotient]):
            m.d.sync += ratio.eq(quotient)
        return ratio

    def _normalise(self, m, write, ratio, late_e, head, at):
        """A row's weights into its word, and this to its place."""
        n, when = self.columns, self._timing
        multiplier = TreeMultiplier(a_shape=QUOTIENT_BITS, b_shape=8)
        m.submodules.multiplier = multiplier
        # product in its stages, then round
        a = _data(8, "a")
        m.d.comb += [multiplier.a.eq(ratio), multiplier.b.eq(late_e)]
        m.d.sync += a.eq(multiplier.o[12:] + multiplier.o[11])
        # Word: each a in its byte; written when it is whole
        place = _data(range(self.row_cycles), "place")
        m.d.sync += place.eq(place + 1)
        with m.If(at[when.weight - 1]):
            m.d.sync += place.eq(0)
        filled = [_data(8, f"filled{i}") for i in range(n)]
        for index, target in enumerate(filled):
            with m.If(place == index):
                m.d.sync += target.eq(a)
        row = Signal(self._row_bits)
        m.d.comb += [
            write.en.eq(at[when.write]),
            write.addr.eq(Cat(row, head)),
            write.data.eq(Cat(*filled)),
        ]
        with m.If(at[when.write]):
            m.d.sync += row.eq(row + 1)
            with m.If(row == n - 1):
                m.d.sync += self.busy.eq(0)
        with m.If(self.start & ~self.busy):
            m.d.sync += row.eq(0)
        with m.If(self.abort):
            m.d.sync += self.busy.eq(0)


def _data(shape, name: str) -> Signal:
    """A register that holds data only: no reset."""
    return Signal(shape, name=name, reset_less=True)
