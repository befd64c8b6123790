"""Places: where the words of the walk go whose bytes come next."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch
from hw.plan import Plan, Target


def turn_layout(plan: Plan) -> data.StructLayout:
    """What a walk's words are written by.

    Fields: `target`; `op`, index of the operation; `head` (of scores); `base` address of the walk's
    words, `stride` from channel to channel; `remaining` channels of the output, counted from the
    walk's first; `first` channel that counts; `row`: the walk's first channel; `words_left`: the
    row's last word less the walk's first one; `odd_chunk`; `complete`: the words are, with this
    walk; `blend`: they are the state's; `banks`, `addresses`: of each head's first word of C.
    """
    g, pairs = plan.geometry, pairs_of(plan)
    widths = plan.field_widths("store")
    channels = range(max(op.out_groups for op in plan.operations) * plan.engine.units + 1)
    last_words = max(f["last_word"] for f in plan.fields["store"])
    address = Signal(range(plan.bank_words)).shape()
    return data.StructLayout(
        {
            "target": Target,
            "op": Signal(range(len(plan.operations))).shape(),
            "head": widths["head"],
            "base": address,
            "stride": widths["stride"],
            "remaining": Signal(channels).shape(),
            "first": widths["first"],
            "row": Signal(channels).shape(),
            "words_left": Signal(range(-(pairs << widths["chunks"]), last_words + 1)).shape(),
            **dict.fromkeys(("odd_chunk", "complete", "blend"), 1),
            "banks": data.ArrayLayout(Signal(range(plan.engine.lanes)).shape(), g.heads),
            "addresses": data.ArrayLayout(address, g.heads),
        }
    )


def walk_layout(plan: Plan) -> data.StructLayout:
    """A walk whose bytes come.

    Fields: `turn`, see `turn_layout`; `pool`: pairs of bytes make one; `pad`: padding is -128;
    `first_chunk`, `last_chunk` of its channel group; `last_group` of its operation; `tail`: bytes
    of the row's last word, a bit each.
    """
    bits = ("pool", "pad", "first_chunk", "last_chunk", "last_group")
    return data.StructLayout(
        {"turn": turn_layout(plan), **dict.fromkeys(bits, 1), "tail": plan.engine.pixels}
    )


def pairs_of(plan: Plan) -> int:
    """Pairs of lanes of a head that make a pooled word each; 1 where a lane makes its own."""
    return max(1, plan.geometry.head_lanes // 2)


class Places(wiring.Component):
    """Goes through the store words of the row program, walk by walk.

    Ports
    -----
    advance : In(1)
        The next walk's bytes come from the next cycle on.
    walk : Out(walk_layout(plan))
        The walk that began last.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__({"advance": In(1), "walk": Out(walk_layout(plan))})

    def elaborate(self, platform):
        m = Module()
        plan, engine = self.plan, self.plan.engine
        paired, walk, turn = plan.geometry.head_lanes > 1, self.walk, self.walk.turn
        fetch = WordFetch(m, plan, "store")
        word = fetch.word

        # the walk that comes next
        group, chunk = Signal.like(word.groups), Signal.like(word.chunks)
        last_chunk, last_walk, fresh = Signal(), Signal(), Signal(init=1)
        group_address = Signal(range(plan.bank_words))
        finished = Signal.like(turn.row)
        pairs = pairs_of(plan)
        first_word = Signal(range(pairs << len(chunk)))
        m.d.comb += [
            last_chunk.eq(chunk == word.chunks),
            last_walk.eq(last_chunk & (group == word.groups)),
            fetch.take.eq(self.advance & last_walk),
            first_word.eq(Mux(word.pool, chunk * pairs if paired else chunk >> 1, chunk)),
        ]

        with m.If(self.advance):
            m.d.sync += [
                walk.pool.eq(word.pool),
                walk.pad.eq(word.pad),
                walk.first_chunk.eq(chunk == 0),
                walk.last_chunk.eq(last_chunk),
                walk.last_group.eq(group == word.groups),
                turn.blend.eq(word.blend),
                turn.odd_chunk.eq(chunk[0]),
                turn.complete.eq(1 if paired else ~word.pool | chunk[0] | last_chunk),
                turn.target.eq(word.target),
                turn.op.eq(fetch.index),
                turn.head.eq(word.head),
                turn.stride.eq(word.stride),
                turn.base.eq(word.base + group_address + Mux(word.pool, chunk >> 1, chunk)),
                turn.remaining.eq(word.count - finished),
                turn.row.eq(finished),
                turn.first.eq(Mux(group == 0, word.first, 0)),
                turn.words_left.eq(word.last_word - first_word),
                fresh.eq(0),
            ]
            for i in range(engine.pixels):
                if i < 2 ** len(word.tail) - 1:  # none is larger than the largest
                    m.d.sync += walk.tail[i].eq(word.tail > i)
            for head in range(plan.geometry.heads):
                self._head(m, head, word, fresh, last_chunk, first_word)
            with m.If(~last_chunk):
                m.d.sync += chunk.eq(chunk + 1)
            with m.Elif(~last_walk):
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    group_address.eq(group_address + word.stride * engine.channels),
                    finished.eq(finished + Mux(word.pool, engine.channels, engine.units)),
                ]
            with m.Else():
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(0),
                    group_address.eq(0),
                    finished.eq(0),
                    fresh.eq(1),
                ]
        return m

    def _head(self, m, head, word, fresh, last_chunk, first_word):
        """Where a head's words of C go: a channel group is C channels on, round the banks."""
        lanes, channels = self.plan.engine.lanes, self.plan.engine.channels
        state_words, turn = self.plan.geometry.state_words, self.walk.turn
        bank = Signal(range(lanes), name=f"bank{head}")
        address = Signal(range(self.plan.bank_words), name=f"address{head}")
        bank_now = Mux(fresh, word[f"bank{head}"], bank)
        address_now = Mux(fresh, word[f"address{head}"], address)
        m.d.sync += [
            turn.banks[head].eq(bank_now),
            turn.addresses[head].eq(address_now + first_word),
            bank.eq(bank_now),
            address.eq(address_now),
        ]
        with m.If(last_chunk):
            wraps = Signal(name=f"wraps{head}")
            more, on = (channels // lanes) * state_words, channels % lanes
            m.d.comb += wraps.eq(bank_now + on >= lanes)
            m.d.sync += [
                bank.eq(bank_now + on - Mux(wraps, lanes, 0)),
                address.eq(address_now + more + Mux(wraps, state_words, 0)),
            ]
