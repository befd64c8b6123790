"""Spatial attention: products of which neither factor is a weight (Eq. 7 and 9 of the paper)."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay, read_word
from hw.parallel.parts import AttentionFeed
from hw.parallel.softmax import Softmax
from hw.path import steps_of
from hw.plan import Plan, Source, WeightSource


class StateCopy(wiring.Component):
    """A second copy of the state, read as the weights of S = H^T K.

    The maps' banks are busy with K in the same cycles.

    Ports
    -----
    write_en : In(L)
        Banks that are written.
    address : In(range(depth)), with `write_en`
        In all of them; 0 is channel 0's.
    data : In(8 * P), an array of L
        A word for each bank.
    read_en : In(1), bank : In(L), row : In(range(depth))
        Channel `row * L + bank` (bank one-hot), one cycle before the address register.
    word : Out(8 * P)
        `memory` after the address register.
    """

    def __init__(self, plan: Plan):
        self.plan, self.latency = plan, plan.latency
        self.lanes, self.word_bits = plan.engine.lanes, 8 * plan.engine.pixels
        self.depth = plan.state.words
        super().__init__(
            {
                "write_en": In(self.lanes),
                "address": In(range(self.depth)),
                "data": In(data.ArrayLayout(self.word_bits, self.lanes)),
                "read_en": In(1),
                "bank": In(self.lanes),
                "row": In(range(self.depth)),
                "word": Out(self.word_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row = Signal.like(self.row, reset_less=True)
        m.d.sync += row.eq(self.row)
        bank = delay(m, self.bank, 2, "bank", reset_less=True)  # address register, memory
        chosen = 0
        for b in range(self.lanes):
            memory = m.submodules[f"bank{b}"] = Memory(
                shape=self.word_bits, depth=self.depth, init=[], attrs=NO_COLLISION
            )
            write, read = memory.write_port(), memory.read_port()
            enable = Signal(name=f"read_enable{b}")
            m.d.sync += enable.eq(self.read_en & self.bank[b])
            m.d.comb += [
                read.addr.eq(row),
                read.en.eq(enable),
                write.en.eq(self.write_en[b]),
                write.addr.eq(self.address),
                write.data.eq(self.data[b]),
            ]
            chosen = chosen | Mux(bank[b], read.data, 0)
        m.d.comb += self.word.eq(read_word(m, self.plan, chosen, "output"))
        return m


class Attention(wiring.Component):
    """Softmax of the scores, and bytes of the state (S = H^T K) or of V (V A) as weights.

    Parameters
    ----------
    exp_table : sequence of int
        What the softmax unit's table holds at power-up.

    Ports
    -----
    steps : In(step_layout(plan)), an array of transfer + 1
        A step, and as it was so many cycles ago.
    reset : In(1)
        What is under way is dropped.
    first_group : In(1)
        Steps belong to a frame's first row group: the state reads as zero.
    feed : In(AttentionFeed(plan))
    write_en : In(L)
        Banks of the maps that are written; with the state where `feed.state_en`.
    write_address : In(range(bank_words)), with `write_en`
    write_data : In(8 * P), an array of L
        A word for each bank.
    word : Out(8 * P)
        A row of A, for the window.
    weights : Out(8), an array of C * L
        For the array.
    table : Out(write_port(256, 8))
        Of the softmax unit's table.
    """

    def __init__(self, plan: Plan, exp_table: Sequence[int]):
        model, engine = plan.model, plan.engine
        self.plan, self.latency = plan, plan.latency
        self.copy = StateCopy(plan)
        self.softmax = Softmax(
            heads=model.heads,
            columns=model.n,
            pixels=engine.pixels,
            banded=model.spatial_attention == "banded",
            exp_table=exp_table,
            read_cycles=plan.latency.memory,
        )
        super().__init__(
            {
                "steps": steps_of(plan, self.latency.transfer),
                "reset": In(1),
                "first_group": In(1),
                "feed": In(AttentionFeed(plan)),
                "write_en": In(engine.lanes),
                "write_address": In(range(plan.bank_words)),
                "write_data": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
                "word": Out(8 * engine.pixels),
                "weights": Out(data.ArrayLayout(8, engine.units)),
                "table": self.softmax.signature.members["table"],
            }
        )

    def elaborate(self, platform):
        m = Module()
        t, feed, steps = self.latency, self.feed, self.steps
        m.submodules.state_copy = copy = self.copy
        m.submodules.softmax = softmax = self.softmax
        before, at = steps[t.address_one_tap - 1], steps[t.address_one_tap]
        m.d.comb += [
            copy.write_en.eq(Mux(feed.state_en, self.write_en, 0)),
            copy.address.eq(self.write_address - self.plan.state.base),
            copy.data.eq(self.write_data),
            copy.read_en.eq(before.valid & (before.weights == WeightSource.STATE)),
            copy.bank.eq(before.bank),
            copy.row.eq(before.inner_row),
            # rows of A for the array, at the same time as a one-tap word of the maps
            softmax.r_en.eq(at.valid & (at.source == Source.ATTENTION)),
            softmax.r_row.eq(at.inner),
            softmax.r_head.eq(at.head),
            self.word.eq(softmax.r_data),
            softmax.w_en.eq(feed.score_en),
            softmax.w_head.eq(feed.score_head),
            softmax.w_row.eq(feed.score_row),
            softmax.w_data.eq(feed.score_data),
            softmax.abort.eq(self.reset),
        ]
        wiring.connect(m, wiring.flipped(self.table), softmax.table)
        # one head after the other, in the order in which their scores are written
        heads = self.plan.model.heads
        due, following = Signal(range(heads + 1)), Signal(range(heads))
        go = Signal()
        m.d.comb += [
            go.eq((feed.score_done | (due != 0)) & ~softmax.busy),
            softmax.start.eq(go),
            softmax.start_head.eq(following),
        ]
        m.d.sync += due.eq(due + feed.score_done - go)
        with m.If(go):
            m.d.sync += following.eq(Mux(following == heads - 1, 0, following + 1))
        with m.If(self.reset):
            m.d.sync += [due.eq(0), following.eq(0)]
        self._weights(m)
        return m

    def _weights(self, m):
        """A unit's byte: of V, of its own row; of the state, the column that is its channel."""
        plan, t = self.plan, self.latency
        pixels, units = plan.engine.pixels, plan.engine.units
        arrival = t.address_one_tap + t.memory
        late = self.steps[arrival]
        zero = delay(m, self.first_group, arrival, "no_state", reset_less=True)
        for u in range(units):
            byte = Signal(8, name=f"byte{u}", reset_less=True)
            value = self.feed.values[u].word_select(late.inner[: pixels.bit_length()], 8)
            state = 0
            for group in range(-(-plan.model.n // units)):
                column = group * units + u
                if column < pixels:
                    byte_of = self.copy.word.word_select(column, 8)
                    state = state | Mux(late.group == group, byte_of, 0)
            m.d.sync += byte.eq(Mux(late.weights == WeightSource.VALUE, value, Mux(zero, 0, state)))
            m.d.comb += self.weights[u].eq(byte)
