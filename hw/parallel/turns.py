"""Turns: each word to its place in its cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay
from hw.parallel.places import pairs_of, turn_layout
from hw.plan import Plan, Target


class Turns(wiring.Component):
    """Writes a walk's words so that no two of them want the same bank.

    - HEAD: bank of its head, word by word; SHARED: lane l writes bank l; channel index by index
    - CONCAT (the last block into C) and SCORES: one word a cycle in all

    What the words need is kept while the next walk's bytes come.

    Ports
    -----
    last : In(1)
        A walk's last byte is at the packer.
    walk : In(turn_layout(plan)), with `last`
        What it is.
    words : In(8 * P), an array of units (unit k * L + l)
        See Packer.
    write_en : Out(L)
        Banks that are written.
    write_address : Out(range(bank_words))
        In all of them.
    write_data : Out(8 * P), an array of L
        A word for each bank.
    write_op : Out(range(operations))
        The operation, for monitors.
    state_en : Out(1)
        The words are of the state.
    score_en : Out(1), score_head : Out(range(heads)), score_row : Out(range(n))
        A row of S is written.
    score_data : Out(8 * P), with `score_en`
    score_done : Out(1)
        One cycle after a head's last row.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine, model = plan.engine, plan.model
        lanes, word = engine.lanes, 8 * engine.pixels
        super().__init__(
            {
                "last": In(1),
                "walk": In(turn_layout(plan)),
                "words": In(data.ArrayLayout(word, engine.units)),
                "write_en": Out(lanes),
                "write_address": Out(range(plan.bank_words)),
                "write_data": Out(data.ArrayLayout(word, lanes)),
                "write_op": Out(range(len(plan.operations))),
                "state_en": Out(1),
                "score_en": Out(1),
                "score_head": Out(range(model.heads)),
                "score_row": Out(range(model.n)),
                "score_data": Out(word),
                "score_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        engine, heads = self.plan.engine, self.plan.geometry.heads
        turn = Signal.like(self.walk)
        with m.If(self.last):
            m.d.sync += turn.eq(self.walk)
        finish = delay(m, self.last, 2, "finish")

        # Stage 2: whose turn it is
        active, now = Signal(), Signal()
        k, inner, outer, pair = (
            Signal(range(max(engine.channels, 2)), name="k"),
            Signal(range(max(engine.lanes, heads, 2)), name="inner"),
            Signal(range(engine.units + 1), name="outer"),
            Signal(range(max(2, pairs_of(self.plan))), name="pair"),
        )
        m.d.comb += now.eq((finish | active) & turn.complete)
        m.d.sync += active.eq(finish | active)
        last_turn = Signal()
        with m.If(finish | active):
            m.d.sync += outer.eq(outer + 1)
            with m.Switch(turn.target):
                with m.Case(Target.CONCAT):
                    m.d.sync += k.eq(k + 1)
                    with m.If(k == engine.channels - 1):
                        m.d.sync += [k.eq(0), inner.eq(inner + 1)]
                        with m.If(inner == heads - 1):
                            m.d.sync += [inner.eq(0), pair.eq(pair + 1)]
                            m.d.comb += last_turn.eq(pair == pairs_of(self.plan) - 1)
                with m.Case(Target.SCORES):
                    m.d.sync += inner.eq(inner + 1)
                    with m.If(inner == engine.lanes - 1):
                        m.d.sync += [inner.eq(0), k.eq(k + 1)]
                        m.d.comb += last_turn.eq(k == engine.channels - 1)
                with m.Default():
                    m.d.sync += k.eq(k + 1)
                    m.d.comb += last_turn.eq(k == engine.channels - 1)
        with m.If(last_turn):
            m.d.sync += [active.eq(0), k.eq(0), inner.eq(0), pair.eq(0), outer.eq(0)]

        lane_words, pair_words = self._choose(m, k)
        bus = self._bus(m, turn, inner, pair, lane_words, pair_words)
        bank, address = self._bus_place(m, turn, k, inner, pair)
        self._write(m, turn, now, k, pair, lane_words, pair_words, (bus, bank, address))
        self._scores(m, turn, now, outer, bus)
        return m

    def _choose(self, m, k):
        """Word of each lane with channel index k; of each head and pair of lanes."""
        lanes, channels, pixels = (
            getattr(self.plan.engine, name) for name in ("lanes", "channels", "pixels")
        )
        heads, head_lanes = self.plan.geometry.heads, self.plan.geometry.head_lanes
        lane_words = []
        for lane in range(lanes):
            chosen = Signal(8 * pixels, name=f"lane_word{lane}")
            m.d.comb += chosen.eq(self.words[lane])
            with m.Switch(k):
                for i in range(1, channels):
                    with m.Case(i):
                        m.d.comb += chosen.eq(self.words[i * lanes + lane])
            lane_words.append(chosen)
        if head_lanes == 1:
            return lane_words, [[word] for word in lane_words]
        low = 8 * ((pixels + 1) // 2)
        pair_words = [
            [
                Cat(lane_words[first][:low], lane_words[first + 1][low:])
                for first in range(head * head_lanes, (head + 1) * head_lanes, 2)
            ]
            for head in range(heads)
        ]
        return lane_words, pair_words

    def _bus(self, m, turn, inner, pair, lane_words, pair_words):
        """The word that goes alone, to C or to the scores."""
        bus = Signal(8 * self.plan.engine.pixels)
        with m.If(turn.target == Target.SCORES):
            for lane, word in enumerate(lane_words):
                with m.If(inner == lane):
                    m.d.comb += bus.eq(word)
        with m.Else():
            for head, words in enumerate(pair_words):
                for i, word in enumerate(words):
                    with m.If((inner == head) & (pair == i)):
                        m.d.comb += bus.eq(word)
        return bus

    def _bus_place(self, m, turn, k, inner, pair):
        """Bank and address of a word of C: the next channel is in the next bank."""
        lanes = self.plan.engine.lanes
        bank, address = Signal(range(lanes)), Signal(range(self.plan.bank_words))
        next_bank, next_address = Signal.like(bank), Signal.like(address)
        m.d.comb += [bank.eq(next_bank), address.eq(next_address)]
        with m.If(k == 0):
            for head in range(self.plan.geometry.heads):
                with m.If(inner == head):
                    m.d.comb += [
                        bank.eq(turn.banks[head]),
                        address.eq(turn.addresses[head] + pair),
                    ]
        with m.If(bank == lanes - 1):
            m.d.sync += [
                next_bank.eq(0),
                next_address.eq(address + self.plan.geometry.state_words),
            ]
        with m.Else():
            m.d.sync += [next_bank.eq(bank + 1), next_address.eq(address)]
        return bank, address

    def _write(self, m, turn, now, k, pair, lane_words, pair_words, alone):
        """Stage 3: write ports; `alone`: the one word, its bank and its address."""
        head_lanes, lanes = self.plan.geometry.head_lanes, self.plan.engine.lanes
        paired, pairs = head_lanes > 1, pairs_of(self.plan)
        bus, bus_bank, bus_address = alone
        one_by_one, by_head = Signal(), turn.target == Target.HEAD
        running, here = Signal(range(self.plan.bank_words)), Signal(range(self.plan.bank_words))
        m.d.comb += [
            one_by_one.eq((turn.target == Target.CONCAT) | (turn.target == Target.SCORES)),
            here.eq(Mux(k == 0, turn.base, running)),
        ]
        m.d.sync += [
            running.eq(here + turn.stride),
            self.write_op.eq(turn.op),
            self.write_address.eq(Mux(one_by_one, bus_address, here)),
            self.state_en.eq(now & turn.blend),
        ]
        for b in range(lanes):
            head, i = divmod(b, head_lanes)
            source = Mux(one_by_one, bus, lane_words[b])
            unit, enable = Signal(range(self.plan.engine.units + 1)), Signal(name=f"enable{b}")
            m.d.comb += unit.eq(k * lanes + b)
            inside = k < turn.remaining
            if paired:
                which, half = i % pairs, i // pairs
                source = Mux(by_head, pair_words[head][which], source)
                mine = (turn.words_left >= which) & (turn.odd_chunk == half)
            else:
                mine = turn.words_left >= 0
            with m.Switch(turn.target):
                with m.Case(Target.HEAD):
                    m.d.comb += enable.eq(inside & mine)
                with m.Case(Target.SHARED):
                    m.d.comb += enable.eq((unit < turn.remaining) & (unit >= turn.first))
                with m.Case(Target.CONCAT):
                    m.d.comb += enable.eq(inside & (turn.words_left >= pair) & (bus_bank == b))
            m.d.sync += [self.write_en[b].eq(now & enable), self.write_data[b].eq(source)]

    def _scores(self, m, turn, now, outer, bus):
        last_row = Signal()
        m.d.sync += [
            self.score_en.eq(now & (turn.target == Target.SCORES) & (outer < turn.remaining)),
            self.score_row.eq(turn.row + outer),
            self.score_data.eq(bus),
            self.score_head.eq(turn.head),
            self.score_done.eq(last_row),
        ]
        m.d.comb += last_row.eq(self.score_en & (self.score_row == self.plan.model.n - 1))
