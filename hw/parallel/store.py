"""Store: pools the channel units' bytes, packs them into words and writes these to their places."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch, delay
from hw.plan import Plan, Target
from hw.plan.latency import PARALLEL


class Store(wiring.Component):
    """Follows the transfers, `PARALLEL.pack` cycles late, through the program's store words.

    Blocks 1-4 pool pairs of neighbouring pixels (max pool 1x2, Table 1): the stream of a lane
    holds one of a pair until the other comes. Where P is odd, a pair may straddle two walks (the
    first half waits) or two lanes (the drain of the even lane carries the odd lane's first pixel).
    Two lanes of a head, or two walks, fill one word.

    Channel index k of every lane is k cycles late from here on, so that the words of a lane leave
    one a cycle and no two of them want the same bank:

    - HEAD: bank of its head, word by word; SHARED: lane l writes bank l
    - CONCAT (block 4 into C) and SCORES: one word a cycle in all

    Columns beyond the map are written as padding. The state's columns are also summed and their
    maximum taken on the way, for the classifier.

    Ports
    -----
    transfer : in, a walk's sums move to the drain registers
    bytes : in, a byte per unit (unit k * L + l), the first one `PARALLEL.pack` after `transfer`
    write_en, write_address, write_data : to Maps, `PARALLEL.write` after a walk's last byte
        and as many more as the word's turn (write_op: the operation, for monitors)
    score_en, score_head, score_row, score_data : to the attention SRAM, likewise
    score_done : out, one cycle after a head's last row
    state_en : out, the word is of the state
    pool_en, pool_channel, pool_sum, pool_max : out, a channel's sum and maximum over the columns
    state_done : out, with a row group's last pooled channel
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine, model = plan.engine, plan.model
        lanes, word = engine.lanes, 8 * engine.pixels
        self.sum_bits = (128 * model.n).bit_length() + 1
        super().__init__(
            {
                "transfer": In(1),
                "bytes": In(data.ArrayLayout(8, engine.units)),
                "write_en": Out(lanes),
                "write_address": Out(range(plan.bank_words)),
                "write_data": Out(data.ArrayLayout(word, lanes)),
                "write_op": Out(range(len(plan.operations))),
                "score_en": Out(1),
                "score_head": Out(range(model.heads)),
                "score_row": Out(range(model.n)),
                "score_data": Out(word),
                "score_done": Out(1),
                "state_en": Out(1),
                "pool_en": Out(1),
                "pool_channel": Out(range(model.state_channels)),
                "pool_sum": Out(signed(self.sum_bits)),
                "pool_max": Out(signed(8)),
                "state_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan, engine, model = self.plan, self.plan.engine, self.plan.model
        lanes, channels, pixels = engine.lanes, engine.channels, engine.pixels
        heads, head_lanes = plan.geometry.heads, plan.geometry.head_lanes
        state_words = plan.geometry.state_words
        paired = head_lanes > 1
        pairs = max(1, head_lanes // 2)
        odd = pixels % 2
        units = engine.units
        fetch = WordFetch(m, plan, "store")
        word = fetch.word
        advance = delay(m, self.transfer, PARALLEL.pack - 1, "advance")

        # the walk that comes next
        group, chunk = Signal.like(word.groups), Signal.like(word.chunks)
        last_chunk = Signal()
        last_walk = Signal()
        group_address = Signal(range(plan.bank_words))
        finished = Signal(range(max(op.out_groups for op in plan.operations) * units + 1))
        head_bank = [Signal(range(lanes), name=f"head_bank{g}") for g in range(heads)]
        head_address = [
            Signal(range(plan.bank_words), name=f"head_address{g}") for g in range(heads)
        ]
        fresh = Signal(init=1)
        m.d.comb += [
            last_chunk.eq(chunk == word.chunks),
            last_walk.eq(last_chunk & (group == word.groups)),
            fetch.take.eq(advance & last_walk),
        ]

        # the walk whose bytes come now
        present = Signal(
            data.StructLayout(
                {
                    "pool": 1,
                    "pad": 1,
                    "blend": 1,
                    "odd_chunk": 1,
                    "complete": 1,
                    "first_chunk": 1,
                    "last_chunk": 1,
                    "last_group": 1,
                }
            )
        )
        target = Signal(Target)
        address = Signal(range(plan.bank_words))
        remaining = Signal.like(finished)
        first = Signal.like(word.first)
        row0 = Signal.like(finished)
        state_head = Signal.like(word.head)
        op = Signal(range(len(plan.operations)))
        here_bank = [Signal.like(b, name=f"here_bank{g}") for g, b in enumerate(head_bank)]
        here_address = [Signal.like(a, name=f"here_address{g}") for g, a in enumerate(head_address)]
        tail_mask = Signal(pixels)
        words_left = Signal(
            range(-(pairs << len(chunk)), max(f["last_word"] for f in plan.fields["store"]) + 1)
        )  # last word minus first word of walk
        first_word = Signal(range(pairs << len(chunk)))
        m.d.comb += first_word.eq(
            Mux(word.pool, (chunk >> 1) if not paired else chunk * pairs, chunk)
        )

        with m.If(advance):
            m.d.sync += [
                present.pool.eq(word.pool),
                present.pad.eq(word.pad),
                present.blend.eq(word.blend),
                present.odd_chunk.eq(chunk[0]),
                present.last_chunk.eq(last_chunk),
                present.first_chunk.eq(chunk == 0),
                present.last_group.eq(group == word.groups),
                present.complete.eq(~word.pool | chunk[0] | last_chunk if not paired else 1),
                target.eq(word.target),
                op.eq(fetch.index),
                state_head.eq(word.head),
                address.eq(word.base + group_address + Mux(word.pool, chunk >> 1, chunk)),
                remaining.eq(word.count - finished),
                row0.eq(finished),
                first.eq(Mux(group == 0, word.first, 0)),
                words_left.eq(word.last_word - first_word),
            ]
            for i in range(pixels):
                m.d.sync += tail_mask[i].eq(word.tail > i)
            for g in range(heads):
                bank_now = Mux(fresh, word[f"bank{g}"], head_bank[g])
                address_now = Mux(fresh, word[f"address{g}"], head_address[g])
                m.d.sync += [
                    here_bank[g].eq(bank_now),
                    here_address[g].eq(address_now + first_word),
                    head_bank[g].eq(bank_now),
                    head_address[g].eq(address_now),
                ]
                with m.If(last_chunk):
                    # the next channel group: C channels on, round the banks
                    wraps = Signal(name=f"wraps{g}")
                    m.d.comb += wraps.eq(bank_now + channels % lanes >= lanes)
                    m.d.sync += [
                        head_bank[g].eq(bank_now + channels % lanes - Mux(wraps, lanes, 0)),
                        head_address[g].eq(
                            address_now
                            + (channels // lanes) * state_words
                            + Mux(wraps, state_words, 0)
                        ),
                    ]
            m.d.sync += fresh.eq(0)
            with m.If(~last_chunk):
                m.d.sync += chunk.eq(chunk + 1)
            with m.Elif(~last_walk):
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    group_address.eq(group_address + word.stride * channels),
                    finished.eq(finished + Mux(word.pool, channels, units)),
                ]
            with m.Else():
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(0),
                    group_address.eq(0),
                    finished.eq(0),
                    fresh.eq(1),
                ]

        # Stage 0: position in the stream
        running, position = Signal(), Signal(range(pixels + 1))
        length = pixels - 1
        last_position = Signal()
        final = Mux(present.pool, length + 1, length) if paired and odd else length
        m.d.comb += last_position.eq(running & (position == final))
        m.d.sync += position.eq(position + 1)
        with m.If(last_position):
            m.d.sync += running.eq(0)
        with m.If(advance):
            m.d.sync += [running.eq(1), position.eq(0)]

        # which half of a pair is here, and the place of its byte in the word, for each kind of lane
        places, emits = [], []
        for i in range(head_lanes):
            kind = i % 2 if paired else 0
            emit = Signal(name=f"emit{i}")
            start = C(1, pixels)
            if not paired:
                second = position[0] ^ (present.odd_chunk if odd else 0)
                start = Mux(present.pool & present.odd_chunk, 1 << pixels // 2, 1)
            elif not odd or kind == 0:
                second = position[0]
            else:
                second = ~position[0] & (position != 0)
            if kind == 1:
                start = Mux(present.pool, 1 << (pixels + 1) // 2, 1)
            m.d.comb += emit.eq(
                running
                & (~present.pool | second)
                & (present.pool | (position != pixels) if paired and odd else 1)
            )
            ring, place = Signal(pixels, name=f"ring{i}"), Signal(pixels, name=f"place{i}")
            m.d.comb += place.eq(Mux(position == 0, start, ring))
            with m.If(running):
                m.d.sync += ring.eq(Mux(emit, place.rotate_left(1), place))
            pair = i // 2 if paired else 0
            # words_left < pair: beyond the row; == pair: the row's last word
            is_last = Signal(name=f"is_last{i}")
            m.d.comb += is_last.eq(words_left == Mux(present.pool, pair, 0))
            allowed = Signal(pixels, name=f"allowed{i}")
            m.d.comb += allowed.eq(Mux(emit, place & (Mux(is_last, tail_mask, ~0)), 0))
            places.append(allowed)
            emits.append(emit)
        begins = Signal()
        m.d.comb += begins.eq(
            running & (position == 0) & (~present.pool | ~present.odd_chunk if not paired else 1)
        )

        # Stage 1: pool; then k cycles late; then into the word
        words = [[None] * channels for _ in range(lanes)]
        bytes_ = [None] * units  # a cycle late
        late_begin, late_pad = begins, present.pad
        late_places = list(places)
        for k in range(channels):
            late_begin = delay(m, late_begin, 1, f"begin{k}")
            late_pad = delay(m, late_pad, 1, f"pad{k}", reset_less=True)
            late_places = [delay(m, p, 1, f"place{i}_{k}") for i, p in enumerate(late_places)]
            for lane in range(lanes):
                i = lane % head_lanes
                byte = self.bytes[k * lanes + lane].as_signed()
                hold = Signal(signed(8), name=f"hold{lane}_{k}", reset_less=True)
                pooled = Signal(signed(8), name=f"pooled{lane}_{k}", reset_less=True)
                with m.If(running & ~emits[i]):
                    m.d.sync += hold.eq(byte)
                m.d.sync += pooled.eq(Mux(present.pool & (hold > byte), hold, byte))
                bytes_[k * lanes + lane] = pooled
                late = delay(m, pooled, k, f"late{lane}_{k}", reset_less=True)
                register = Signal(8 * pixels, name=f"word{lane}_{k}", reset_less=True)
                for p in range(pixels):
                    with m.If(late_places[i][p]):
                        m.d.sync += register[8 * p : 8 * p + 8].eq(late)
                    with m.Elif(late_begin):
                        m.d.sync += register[8 * p : 8 * p + 8].eq(Cat(C(0, 7), late_pad))
                words[lane][k] = register

        # Stage 2: the words' turns; what they need is kept while the next walk's bytes come
        turn_target, turn_op = Signal.like(target), Signal.like(op)
        turn_address, turn_remaining = Signal.like(address), Signal.like(remaining)
        turn_first, turn_row = Signal.like(first), Signal.like(row0)
        turn_words_left, turn_half = Signal.like(words_left), Signal()
        turn_bank = [Signal.like(b, name=f"turn_bank{g}") for g, b in enumerate(head_bank)]
        turn_head_address = [
            Signal.like(a, name=f"turn_address{g}") for g, a in enumerate(head_address)
        ]
        turn_complete, turn_blend, turn_head = Signal(), Signal(), Signal.like(state_head)
        with m.If(last_position):
            m.d.sync += [
                turn_target.eq(target),
                turn_op.eq(op),
                turn_address.eq(address),
                turn_remaining.eq(remaining),
                turn_first.eq(first),
                turn_row.eq(row0),
                turn_words_left.eq(words_left),
                turn_half.eq(present.odd_chunk),
                turn_complete.eq(present.complete),
                turn_blend.eq(present.blend),
                turn_head.eq(state_head),
                *[t.eq(b) for t, b in zip(turn_bank, here_bank, strict=True)],
                *[t.eq(a) for t, a in zip(turn_head_address, here_address, strict=True)],
            ]
        finish = delay(m, last_position, 2, "finish")

        active = Signal()
        k, inner, outer, pair = (
            Signal(range(max(channels, 2)), name="turn_k"),
            Signal(range(max(lanes, heads, 2)), name="turn_inner"),
            Signal(range(units + 1), name="turn_unit"),
            Signal(range(max(2, pairs)), name="turn_pair"),
        )
        now = Signal()  # a word's turn is in this cycle
        m.d.comb += now.eq((finish | active) & turn_complete)
        m.d.sync += active.eq(finish | active)
        one_by_one = Signal()
        m.d.comb += one_by_one.eq((turn_target == Target.CONCAT) | (turn_target == Target.SCORES))
        at_k, at_inner = Signal.like(k), Signal.like(inner)
        m.d.comb += [at_k.eq(k), at_inner.eq(inner)]
        last_turn = Signal()
        with m.If(finish | active):
            m.d.sync += outer.eq(outer + 1)
            with m.Switch(turn_target):
                with m.Case(Target.CONCAT):
                    m.d.sync += k.eq(k + 1)
                    with m.If(k == channels - 1):
                        m.d.sync += [k.eq(0), inner.eq(inner + 1)]
                        with m.If(inner == heads - 1):
                            m.d.sync += [inner.eq(0), pair.eq(pair + 1)]
                            m.d.comb += last_turn.eq(pair == pairs - 1)
                with m.Case(Target.SCORES):
                    m.d.sync += inner.eq(inner + 1)
                    with m.If(inner == lanes - 1):
                        m.d.sync += [inner.eq(0), k.eq(k + 1)]
                        m.d.comb += last_turn.eq(k == channels - 1)
                with m.Default():
                    m.d.sync += k.eq(k + 1)
                    m.d.comb += last_turn.eq(k == channels - 1)
        with m.If(last_turn):
            m.d.sync += [active.eq(0), k.eq(0), inner.eq(0), pair.eq(0), outer.eq(0)]

        lane_word = []
        for lane in range(lanes):
            chosen = Signal(8 * pixels, name=f"lane_word{lane}")
            m.d.comb += chosen.eq(words[lane][0])
            with m.Switch(at_k):
                for i in range(1, channels):
                    with m.Case(i):
                        m.d.comb += chosen.eq(words[lane][i])
            lane_word.append(chosen)
        low = 8 * ((pixels + 1) // 2)
        pair_word = [
            [
                lane_word[g]
                if not paired
                else Cat(
                    lane_word[g * head_lanes + 2 * i][:low],
                    lane_word[g * head_lanes + 2 * i + 1][low:],
                )
                for i in range(pairs)
            ]
            for g in range(heads)
        ]

        bus = Signal(8 * pixels)
        bus_bank, bus_address = Signal(range(lanes)), Signal(range(plan.bank_words))
        step_bank, step_address = Signal.like(bus_bank), Signal.like(bus_address)
        with m.If(turn_target == Target.SCORES):
            for lane in range(lanes):
                with m.If(at_inner == lane):
                    m.d.comb += bus.eq(lane_word[lane])
        with m.Else():
            for g in range(heads):
                for i in range(pairs):
                    with m.If((at_inner == g) & (pair == i)):
                        m.d.comb += bus.eq(pair_word[g][i])
        # running place of a word of C: the next channel is in the next bank
        m.d.comb += [bus_bank.eq(step_bank), bus_address.eq(step_address)]
        with m.If(at_k == 0):
            for g in range(heads):
                with m.If(at_inner == g):
                    m.d.comb += [
                        bus_bank.eq(turn_bank[g]),
                        bus_address.eq(turn_head_address[g] + pair),
                    ]
        with m.If(bus_bank == lanes - 1):
            m.d.sync += [step_bank.eq(0), step_address.eq(bus_address + state_words)]
        with m.Else():
            m.d.sync += [step_bank.eq(bus_bank + 1), step_address.eq(bus_address)]

        # Stage 3: write port
        running_address, stride = Signal(range(plan.bank_words)), Signal.like(word.stride)
        turn_stride = Signal.like(word.stride)
        with m.If(advance):
            m.d.sync += stride.eq(word.stride)
        with m.If(last_position):
            m.d.sync += turn_stride.eq(stride)
        here = Signal.like(running_address)
        m.d.comb += here.eq(Mux(at_k == 0, turn_address, running_address))
        m.d.sync += running_address.eq(here + turn_stride)
        channel = Signal(range(units + 1))
        m.d.comb += channel.eq(at_k)
        m.d.sync += [
            self.write_en.eq(0),
            self.score_en.eq(0),
            self.write_op.eq(turn_op),
            self.write_address.eq(Mux(one_by_one, bus_address, here)),
            self.state_en.eq(now & turn_blend),
        ]
        for b in range(lanes):
            g, i = divmod(b, head_lanes)
            source = Mux(one_by_one, bus, lane_word[b])
            unit = Signal(range(units + 1), name=f"unit{b}")
            m.d.comb += unit.eq(at_k * lanes + b)
            enable = Signal(name=f"enable{b}")
            with m.Switch(turn_target):
                with m.Case(Target.HEAD):
                    if paired:
                        which = i % pairs
                        m.d.comb += enable.eq(
                            (at_k < turn_remaining)
                            & (turn_words_left >= which)
                            & (turn_half == i // pairs)
                        )
                        source = Mux(turn_target == Target.HEAD, pair_word[g][which], source)
                    else:
                        m.d.comb += enable.eq((at_k < turn_remaining) & (turn_words_left >= 0))
                with m.Case(Target.SHARED):
                    m.d.comb += enable.eq((unit < turn_remaining) & (unit >= turn_first))
                with m.Case(Target.CONCAT):
                    m.d.comb += enable.eq(
                        (at_k < turn_remaining) & (turn_words_left >= pair) & (bus_bank == b)
                    )
            m.d.sync += [self.write_en[b].eq(now & enable), self.write_data[b].eq(source)]
        last_row = Signal()
        m.d.sync += [
            self.score_en.eq(now & (turn_target == Target.SCORES) & (outer < turn_remaining)),
            self.score_row.eq(turn_row + outer),
            self.score_data.eq(bus),
            self.score_head.eq(turn_head),
            self.score_done.eq(last_row),
        ]
        m.d.comb += last_row.eq(self.score_en & (self.score_row == model.n - 1))

        # the state's columns, summed on the way; they are not pooled
        loads, begin = Signal(), Signal()
        m.d.sync += [
            loads.eq(running & present.blend & places[0].any()),
            begin.eq(present.first_chunk & (position == 0)),
        ]
        collect = delay(m, last_position & present.blend & present.last_chunk, 2, "collect")
        collect_row = Signal.like(finished)
        collect_last = Signal()
        with m.If(last_position):
            m.d.sync += [collect_row.eq(row0), collect_last.eq(present.last_group)]
        chain = []
        for u in range(units):
            byte = bytes_[u]
            total = Signal(signed(self.sum_bits), name=f"total{u}", reset_less=True)
            largest = Signal(signed(8), name=f"largest{u}", reset_less=True)
            with m.If(loads):
                m.d.sync += [
                    total.eq(Mux(begin, 0, total) + byte),
                    largest.eq(Mux(begin | (byte > largest), byte, largest)),
                ]
            chain.append(
                (
                    total,
                    largest,
                    Signal(signed(self.sum_bits), name=f"out_total{u}", reset_less=True),
                    Signal(signed(8), name=f"out_largest{u}", reset_less=True),
                )
            )
        for u, (total, largest, out_total, out_largest) in enumerate(chain):
            following = chain[u + 1][2:] if u + 1 < units else (out_total, out_largest)
            m.d.sync += [
                out_total.eq(Mux(collect, total, following[0])),
                out_largest.eq(Mux(collect, largest, following[1])),
            ]
        leaving, count = Signal(), Signal(range(units))
        out_channel = Signal.like(finished)
        out_last = Signal()
        with m.If(leaving):
            m.d.sync += [count.eq(count + 1), out_channel.eq(out_channel + 1)]
            with m.If(count == units - 1):
                m.d.sync += leaving.eq(0)
        with m.If(collect):
            m.d.sync += [
                leaving.eq(1),
                count.eq(0),
                out_channel.eq(collect_row),
                out_last.eq(collect_last),
            ]
        m.d.comb += [
            self.pool_en.eq(leaving & (out_channel < model.state_channels)),
            self.pool_channel.eq(out_channel),
            self.pool_sum.eq(chain[0][2]),
            self.pool_max.eq(chain[0][3]),
            self.state_done.eq(leaving & out_last & (out_channel == model.state_channels - 1)),
        ]
        return m
