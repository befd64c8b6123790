"""The class activation map, column by column, from the state while it stays on chip."""

from collections.abc import Sequence
from enum import Enum

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.config import ModelConfig
from golden.video import HEAT_BITS
from hw.interfaces import RowEvent, StateRead


class _Step(Enum):
    """What is done."""

    IDLE = 0
    READ = 1
    COLUMNS = 2
    MAXIMUM = 3
    HALVES = 4
    PRODUCT = 5
    SUM = 6
    LEAVE = 7


class Heat(wiring.Signature):
    """Activation of a column; from the map to the screen.

    Parameters
    ----------
    row_groups, columns : int

    Members
    -------
    en : Out(1), pulse
    group : Out(range(row_groups)), column : Out(range(columns))
    value : Out(signed(5))
    """

    def __init__(self, row_groups: int, columns: int):
        super().__init__(
            {
                "en": Out(1),
                "group": Out(range(row_groups)),
                "column": Out(range(columns)),
                "value": Out(signed(HEAT_BITS)),
            }
        )

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class ColumnSums(wiring.Component):
    """A sum for each column of products of its bytes with a slope.

    Parameters
    ----------
    slope : sequence of int
        -127..127, one a channel.
    columns, most : int
        n; so often at most a product is added to a column for each channel.

    Ports
    -----
    channel : In(range(channels))
        Of the slope that is taken, from a cycle before `valid` on.
    valid : In(1), column : In(range(n)), value : In(signed(8))
        A byte to be multiplied.
    fresh : In(1)
        The column begins anew with it.
    ask : In(1)
        Instead of `valid`: what is the sum of `column`?
    answer : Out(1), answered : Out(range(n)), sum : Out(signed, holds all products)
        The answer two cycles later, and whose it is.

    `latency`: cycles from `valid` until the sum is there; two to a question that sees it.
    """

    latency = 3

    def __init__(self, *, slope: Sequence[int], columns: int, most: int):
        self.slope, self.columns = slope, columns
        worst = sum(abs(g) for g in slope) * 128 * most
        super().__init__(
            {
                "channel": In(range(len(slope))),
                "valid": In(1),
                "column": In(range(columns)),
                "value": In(signed(8)),
                "fresh": In(1),
                "ask": In(1),
                "answer": Out(1),
                "answered": Out(range(columns)),
                "sum": Out(signed(worst.bit_length() + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = len(self.slope)
        m.submodules.slopes = slopes = Memory(shape=signed(8), depth=depth, init=self.slope)
        m.submodules.sums = sums = Memory(shape=self.sum.shape(), depth=self.columns, init=[])
        slope, add = slopes.read_port(), sums.write_port()
        look = sums.read_port(domain="comb")
        # Stage 1: products with half a slope; stage 2: their sum
        low, high, product = Signal(signed(12)), Signal(signed(12)), Signal(signed(16))
        m.d.sync += [
            low.eq(self.value * slope.data[:4]),
            high.eq(self.value * slope.data[4:].as_signed()),
            product.eq((high << 4) + low),
        ]
        now = (self.valid, self.column, self.fresh, self.ask)
        for i in range(2):
            later = tuple(Signal.like(s, name=f"late{i}") for s in now)
            m.d.sync += [a.eq(b) for a, b in zip(later, now, strict=True)]
            now = later
        valid, column, fresh, ask = now
        # Stage 3: the column's sum
        m.d.comb += [
            slope.addr.eq(self.channel),
            look.addr.eq(column),
            *(add.en.eq(valid), add.addr.eq(column)),
            add.data.eq(Mux(fresh, 0, look.data) + product),
            *(self.sum.eq(look.data), self.answer.eq(ask), self.answered.eq(column)),
        ]
        return m


class ActivationMap(wiring.Component):
    """After each row group the state is read once, a channel after the other, through the engine's
    read-back; a multiplier and a sum for each column make the map of it.

    A channel counts twice: each of its columns, and n times its first maximum (pooling is the mean
    and the maximum). A row group whose answer comes before the map of the one before is done takes
    its place: what has not left of that one never does. Cycles of a row group: for each channel its
    reads, and ``2 n + 3``; then n.

    Bit-exact model: golden.video.heat.

    Parameters
    ----------
    model : ModelConfig
    pixels : int
        P, bytes of a word of the state.
    slope : sequence of int
        Of each channel, -127..127; shift : of the sums. golden.video.slopes.

    Ports
    -----
    row : In(RowEvent(K))
    state : Out(StateRead(P))
    heat : Out(Heat(row_groups, n))
    """

    def __init__(self, *, model: ModelConfig, pixels: int, slope: Sequence[int], shift: int):
        if len(slope) != model.state_channels:
            raise ValueError(
                f"slope must have {model.state_channels} values, one a channel, not {len(slope)}"
            )
        self.model, self.pixels = model, pixels
        self.slope, self.shift = [int(g) for g in slope], shift
        super().__init__(
            {
                "row": In(RowEvent(model.class_count)),
                "state": Out(StateRead(pixels)),
                "heat": Out(Heat(model.row_groups, model.n)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        model, state, heat = self.model, self.state, self.heat
        n, words = model.n, -(-model.n // self.pixels)
        m.submodules.sums = sums = ColumnSums(slope=self.slope, columns=n, most=1 + n)
        assert sums.latency == 3  # HALVES, PRODUCT, SUM
        channel, word, column = (Signal(range(size)) for size in (model.state_channels, words, n))
        place = Signal(range(self.pixels))
        kept = Signal(8 * self.pixels)
        largest, best = Signal(signed(8)), Signal(range(n))
        valid, at, value = Signal(), Signal(range(n)), Signal(signed(8))
        fresh, asks = Signal(), Signal()
        m.d.sync += [valid.eq(0), asks.eq(0), state.read.eq(0)]
        m.d.comb += [
            *(sums.channel.eq(channel), state.channel.eq(channel), state.word.eq(word)),
            *(sums.valid.eq(valid), sums.column.eq(at), sums.value.eq(value)),
            *(sums.fresh.eq(fresh), sums.ask.eq(asks)),
        ]
        limit = 1 << (HEAT_BITS - 1)
        shown = Signal.like(sums.sum)
        step = Signal(_Step)
        leaving = Signal()  # else the answer is to a question of the map before
        m.d.comb += [
            shown.eq(sums.sum >> self.shift),
            leaving.eq((step == _Step.LEAVE) | (step == _Step.IDLE)),
        ]
        m.d.sync += [
            heat.en.eq(sums.answer & leaving & ~self.row.valid),
            heat.column.eq(sums.answered),
            heat.value.eq(Mux(shown < -limit, -limit, Mux(shown >= limit, limit - 1, shown))),
        ]
        byte = kept[:8].as_signed()
        with m.Switch(step):
            with m.Case(_Step.READ):
                with m.If(state.valid & ~state.read):
                    m.d.sync += [kept.eq(state.data), place.eq(0), step.eq(_Step.COLUMNS)]
            with m.Case(_Step.COLUMNS):
                m.d.sync += [
                    valid.eq(1),
                    at.eq(column),
                    value.eq(byte),
                    fresh.eq(channel == 0),
                    kept.eq(kept >> 8),
                    place.eq(place + 1),
                    column.eq(column + 1),
                ]
                with m.If((column == 0) | (byte > largest)):
                    m.d.sync += [largest.eq(byte), best.eq(column)]
                with m.If(column == n - 1):
                    m.d.sync += [column.eq(0), word.eq(0), step.eq(_Step.MAXIMUM)]
                with m.Elif(place == self.pixels - 1):
                    m.d.sync += [word.eq(word + 1), state.read.eq(1), step.eq(_Step.READ)]
            with m.Case(_Step.MAXIMUM):
                m.d.sync += [
                    valid.eq(1),
                    at.eq(best),
                    value.eq(largest),
                    fresh.eq(0),
                    column.eq(column + 1),
                ]
                with m.If(column == n - 1):
                    m.d.sync += [column.eq(0), step.eq(_Step.HALVES)]
            with m.Case(_Step.HALVES):  # of the channel's last maximum
                m.d.sync += step.eq(_Step.PRODUCT)
            with m.Case(_Step.PRODUCT):
                m.d.sync += step.eq(_Step.SUM)
            with m.Case(_Step.SUM):
                m.d.sync += channel.eq(channel + 1)
                with m.If(channel == model.state_channels - 1):
                    m.d.sync += step.eq(_Step.LEAVE)
                with m.Else():
                    m.d.sync += [state.read.eq(1), step.eq(_Step.READ)]
            with m.Case(_Step.LEAVE):
                m.d.sync += [asks.eq(1), at.eq(column), column.eq(column + 1)]
                with m.If(column == n - 1):
                    m.d.sync += step.eq(_Step.IDLE)
        with m.If(self.row.valid):
            m.d.sync += [
                *(channel.eq(0), word.eq(0), column.eq(0), heat.group.eq(self.row.group)),
                *(valid.eq(0), asks.eq(0), state.read.eq(1), step.eq(_Step.READ)),
            ]
        return m
