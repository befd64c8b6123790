"""Packer: bytes of the channel units, pooled and packed into words."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay
from hw.parallel.places import walk_layout
from hw.plan import Plan


class Packer(wiring.Component):
    """Pools pairs of neighbouring pixels (max pool 1x2, Table 1) and fills a word of each unit.

    The stream of a lane holds one of a pair until the other comes. Where P is odd, a pair may
    straddle two walks (the first half waits) or two lanes (the drain of the even lane carries the
    odd lane's first pixel). Two lanes of a head, or two walks, fill one word.

    Channel index k of every lane is k cycles late from here on, so that the words of a lane may
    leave one a cycle. Columns beyond the map are filled with padding.

    Bit-exact model: golden.head_lane.pool_pairs.

    Ports
    -----
    advance : In(1)
        A walk's first byte comes in the next cycle.
    walk : In(walk_layout(plan))
        From that cycle on.
    bytes : In(8), an array of units (unit k * L + l)
        Pixel by pixel.
    words : Out(8 * P), likewise
        Two cycles after the last byte that goes into them, and k more.
    last : Out(1)
        The walk's last byte is here.
    first : Out(1)
        ... its first.
    counts : Out(1)
        The byte here is a column of the map (functions that do not pool).
    late : Out(signed(8)), an array of units
        A byte, pooled, a cycle late.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        units, word = plan.engine.units, 8 * plan.engine.pixels
        super().__init__(
            {
                "advance": In(1),
                "walk": In(walk_layout(plan)),
                "bytes": In(data.ArrayLayout(8, units)),
                "words": Out(data.ArrayLayout(word, units)),
                "last": Out(1),
                "first": Out(1),
                "counts": Out(1),
                "late": Out(data.ArrayLayout(signed(8), units)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        walk, pixels = self.walk, self.plan.engine.pixels
        paired, odd = self.plan.geometry.head_lanes > 1, pixels % 2
        # Stage 0: position in the stream; of pairs that straddle two lanes the even lane has both
        running, position = Signal(), Signal(range(pixels + 1))
        length = pixels - 1
        final = Mux(walk.pool, length + 1, length) if paired and odd else length
        begins = Signal()
        m.d.comb += [
            self.last.eq(running & (position == final)),
            self.first.eq(position == 0),
            begins.eq(running & self.first & (1 if paired else ~walk.pool | ~walk.turn.odd_chunk)),
        ]
        m.d.sync += position.eq(position + 1)
        with m.If(self.last):
            m.d.sync += running.eq(0)
        with m.If(self.advance):
            m.d.sync += [running.eq(1), position.eq(0)]
        lanes = [self._lane(m, i, running, position) for i in range(self.plan.geometry.head_lanes)]
        m.d.comb += self.counts.eq(running & lanes[0][0].any())
        self._words(m, running, begins, lanes)
        return m

    def _lane(self, m, i, running, position):
        """Of a head's lane i: place of the byte in its word, 0: none; whether a pair is whole."""
        walk, pixels = self.walk, self.plan.engine.pixels
        paired, odd = self.plan.geometry.head_lanes > 1, pixels % 2
        emit = Signal(name=f"emit{i}")
        start = C(1, pixels)
        if not paired:
            second = position[0] ^ (walk.turn.odd_chunk if odd else 0)
            start = Mux(walk.pool & walk.turn.odd_chunk, 1 << pixels // 2, 1)
        elif not odd or i % 2 == 0:
            second = position[0]
        else:
            second = ~position[0] & (position != 0)
        if paired and i % 2:
            start = Mux(walk.pool, 1 << (pixels + 1) // 2, 1)
        m.d.comb += emit.eq(
            running
            & (~walk.pool | second)
            & (walk.pool | (position != pixels) if paired and odd else 1)
        )
        ring, place = Signal(pixels, name=f"ring{i}"), Signal(pixels, name=f"place{i}")
        m.d.comb += place.eq(Mux(position == 0, start, ring))
        with m.If(running):
            m.d.sync += ring.eq(Mux(emit, place.rotate_left(1), place))
        pair = i // 2 if paired else 0
        # words_left < pair: beyond the row; == pair: the row's last word
        is_last, allowed = Signal(name=f"is_last{i}"), Signal(pixels, name=f"allowed{i}")
        m.d.comb += [
            is_last.eq(walk.turn.words_left == Mux(walk.pool, pair, 0)),
            allowed.eq(Mux(emit, place & (Mux(is_last, walk.tail, ~0)), 0)),
        ]
        return allowed, emit

    def _words(self, m, running, begins, lanes_of_head):
        walk, pixels, lanes = self.walk, self.plan.engine.pixels, self.plan.engine.lanes
        # Stage 1: pool; then k cycles late; then into the word
        late_begin, late_pad = begins, walk.pad
        late_places = [place for place, _ in lanes_of_head]
        for k in range(self.plan.engine.channels):
            late_begin = delay(m, late_begin, 1, f"begin{k}")
            late_pad = delay(m, late_pad, 1, f"pad{k}", reset_less=True)
            late_places = [delay(m, p, 1, f"place{i}_{k}") for i, p in enumerate(late_places)]
            for lane in range(lanes):
                unit, i = k * lanes + lane, lane % len(lanes_of_head)
                byte = self.bytes[unit].as_signed()
                hold = Signal(signed(8), name=f"hold{unit}", reset_less=True)
                pooled = Signal(signed(8), name=f"pooled{unit}", reset_less=True)
                with m.If(running & ~lanes_of_head[i][1]):
                    m.d.sync += hold.eq(byte)
                m.d.sync += pooled.eq(Mux(walk.pool & (hold > byte), hold, byte))
                late = delay(m, pooled, k, f"late{unit}", reset_less=True)
                word = Signal(8 * pixels, name=f"word{unit}", reset_less=True)
                for p in range(pixels):
                    with m.If(late_places[i][p]):
                        m.d.sync += word[8 * p : 8 * p + 8].eq(late)
                    with m.Elif(late_begin):
                        m.d.sync += word[8 * p : 8 * p + 8].eq(Cat(C(0, 7), late_pad))
                m.d.comb += [self.late[unit].eq(pooled), self.words[unit].eq(word)]
