"""The compact engine's way back: drain, constants, operands and writes, one value at a time."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.common import NO_COLLISION, delay, word_layout
from hw.compact_unit import FIRST_SHIFT, SHIFT_BITS
from hw.program import Function, Plan, Target

BYTES = 2  # cycles of a value
BLEND = 4  # ... of one that needs two operands


class CompactStore(wiring.Component):
    """Follows the transfers through the `back` words of the row program.

    A walk's sums leave lane after lane. Three places have counters of their own, some cycles apart:
    the head of the drain, the operand bytes that are read beside the stream, and the bytes that are
    written. They share the operation's word, so that an operation's last byte is written before the
    next one's first transfer.

    Each byte goes to its place at once; bytes right of a row are written as padding. The state's
    columns are summed and their maximum taken on the way, for the classifier.

    Ports
    -----
    transfer : in; shift, at, pool, function : out, bias, multiplier, scale : out; see CompactUnit
    first_group : in, the walk sequencer is in a frame's first row group (H reads as zero)
    ask, ask_bank, ask_address : out, granted : in, words : in, see CompactWindow; a, b : out
    byte, written : in, see CompactUnit
    write_en, write_address, write_mask, write_low, write_high : out, see CompactWindow
    write_op : out, the operation, for monitors
    pool_en, pool_channel, pool_sum, pool_max, state_done : out, see hw.store
    load_en, load_address, load_data : in, writes the constant memory
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        engine, model = plan.engine, plan.model
        acc = model.acc_bits
        self.layout = data.StructLayout({"bias": signed(acc), "multiplier": 8, "shift": 5})
        self.constants = Memory(
            shape=self.layout, depth=plan.constant_words, init=constants, attrs=NO_COLLISION
        )
        self.sum_bits = (128 * model.n).bit_length() + 1
        address = range(plan.bank_words)
        super().__init__(
            {
                "transfer": In(1),
                "shift": Out(1),
                "at": Out(timing.COMPACT.UNIT_GATED + 1),
                "pool": Out(1),
                "function": Out(Function),
                "bias": Out(signed(acc)),
                "multiplier": Out(8),
                "scale": Out(SHIFT_BITS),
                "first_group": In(1),
                "ask": Out(1),
                "ask_bank": Out(range(engine.lanes)),
                "ask_address": Out(address),
                "granted": In(1),
                "words": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
                "a": Out(8),
                "b": Out(8),
                "byte": In(8),
                "written": In(1),
                "write_en": Out(engine.lanes),
                "write_address": Out(address),
                "write_mask": Out(engine.pixels),
                "write_low": Out(8),
                "write_high": Out(8),
                "write_op": Out(range(len(plan.operations))),
                "pool_en": Out(1),
                "pool_channel": Out(range(model.state_channels)),
                "pool_sum": Out(signed(self.sum_bits)),
                "pool_max": Out(signed(8)),
                "state_done": Out(1),
                "load_en": In(1),
                "load_address": In(range(plan.constant_words)),
                "load_data": In(self.layout.size),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = timing.COMPACT
        plan, engine, model = self.plan, self.plan.engine, self.plan.model
        lanes, pixels, half = engine.lanes, engine.pixels, engine.pixels // 2
        state_words = plan.geometry.state_words

        # the operation's word: the memory's own output
        fields = plan.fields["back"]
        layout = word_layout(plan, "back")
        rom = m.submodules.back_program = Memory(
            shape=layout, depth=len(fields), init=fields, attrs={"ram_style": "block"}
        )
        port = rom.read_port()
        word, index = port.data, Signal(range(len(fields)))
        take, moved, settled = Signal(), Signal(init=1), Signal()
        m.d.comb += [port.addr.eq(index), port.en.eq(moved)]
        m.d.sync += [moved.eq(take), settled.eq(moved)]
        with m.If(take):
            m.d.sync += index.eq(Mux(index == len(fields) - 1, 0, index + 1))
        first, known = Signal(), Signal()
        m.d.sync += known.eq(settled)
        with m.If(settled):
            m.d.sync += first.eq(self.first_group)
        # what is asked of the word everywhere, a cycle later: long before the first transfer
        blend, plain, turned = (Signal(name=n) for n in ("blend", "plain", "turned"))
        m.d.sync += [
            blend.eq(word.function == Function.BLEND),
            plain.eq((word.function == Function.RELU) | (word.function == Function.UPDATE)),
            turned.eq(word.turned),
            self.pool.eq(word.pool),
            self.function.eq(word.function),
        ]

        home = Signal(range(pixels))  # of a lane's first value
        m.d.comb += home.eq(Mux(turned, pixels - 1, 0))

        def places(name, go):
            """Counters of a value's place: lane, position; when the walk's last value goes."""
            position = Signal(range(pixels), name=f"{name}_position")
            lane = Signal(range(lanes), name=f"{name}_lane")
            lane_end, walk_end = Signal(name=f"{name}_lane_end"), Signal(name=f"{name}_walk_end")
            end = Mux(turned, pixels - 2, Mux(self.pool, half - 1, pixels - 1))
            m.d.comb += [
                lane_end.eq(go & (position == end)),
                walk_end.eq(lane_end & (lane == lanes - 1)),
            ]
            with m.If(go):
                following = Mux(position == pixels - 1, 0, position + 1)
                m.d.sync += position.eq(Mux(lane_end, home, following))
            with m.If(known):
                m.d.sync += position.eq(home)
            with m.If(lane_end):
                m.d.sync += lane.eq(Mux(walk_end, 0, lane + 1))
            return position, lane, lane_end, walk_end

        # ---- drain: the sums, and their constants ----
        running, beat = Signal(), Signal(2)
        last_beat = Signal()
        m.d.comb += last_beat.eq(running & (beat == Mux(blend, BLEND - 1, BYTES - 1)))
        _, lane, _, walk_end = places("drain", last_beat)
        m.d.sync += beat.eq(Mux(last_beat | self.transfer, 0, beat + 1))
        with m.If(walk_end):
            m.d.sync += running.eq(0)
        with m.If(self.transfer):
            m.d.sync += running.eq(1)
        chunk, block = Signal.like(word.chunks), Signal(range(-(-plan.constant_words // lanes)))
        with m.If(walk_end):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(chunk == word.chunks):
                m.d.sync += [chunk.eq(0), block.eq(block + 1)]
        with m.If(settled):
            m.d.sync += block.eq(word.constant)
        # a byte without a gate is written earlier, and then forgotten
        at = [running & (beat == 0)]
        for i in range(t.UNIT_GATED):
            goes_on = at[-1] & ~plain if i == t.UNIT_PLAIN else at[-1]
            at.append(delay(m, goes_on, 1, f"at{i}"))
        m.submodules.constants = memory = self.constants
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            self.shift.eq(running & (self.pool | last_beat)),
            self.at.eq(Cat(*at)),
            read.addr.eq(block * lanes + lane),
            write.en.eq(self.load_en),
            write.addr.eq(self.load_address),
            write.data.eq(self.load_data),
            self.bias.eq(read.data.bias),
            self.multiplier.eq(read.data.multiplier),
            self.scale.eq(read.data.shift - (FIRST_SHIFT - 1)),
        ]

        # ---- operands: a byte in two cycles, in one of which the array leaves the bank alone ----
        # places and addresses are worked out a cycle before they are asked for
        start, pending, second = Signal(), Signal(), Signal()
        second_next, moves = Signal(), Signal()
        m.d.comb += [
            second_next.eq(blend & (at[t.OPERAND - 1] | at[t.OPERAND])),
            moves.eq(at[t.OPERAND]),
            self.ask.eq(start | pending),
        ]
        m.d.sync += [
            start.eq(word.fetch & (at[t.OPERAND - 1] | (blend & at[t.OPERANDS - 1]))),
            second.eq(second_next),
            pending.eq(start & ~self.granted),
        ]
        position, lane, _, operand_end = places("operand", moves)
        place, bank = Signal.like(position, reset_less=True), Signal.like(lane, reset_less=True)
        address = Signal(range(plan.bank_words), reset_less=True)
        offset = Signal(range(plan.bank_words))
        with m.If(operand_end):
            m.d.sync += offset.eq(offset + 1)
        with m.If(settled):
            m.d.sync += offset.eq(0)
        m.d.sync += [
            place.eq(position),
            bank.eq(lane),
            address.eq(Mux(second_next, word.b, word.a) + offset),
        ]
        m.d.comb += [self.ask_bank.eq(bank), self.ask_address.eq(address)]
        got, got_second = Signal(), Signal(reset_less=True)
        got_place = Signal.like(place, reset_less=True)
        got_bank = Signal.like(bank, reset_less=True)
        m.d.sync += [
            got.eq(self.granted),
            got_second.eq(second),
            got_place.eq(place),
            got_bank.eq(bank),
        ]
        byte = Signal(8)
        chosen = 0
        for b in range(lanes):
            chosen = chosen | Mux(got_bank == b, self.words[b], 0)
        m.d.comb += byte.eq(chosen.word_select(got_place, 8))
        with m.If(got & got_second):
            m.d.sync += self.b.eq(byte)
        with m.If(got & ~got_second):
            m.d.sync += self.a.eq(Mux(word.state & first, 0, byte))

        # ---- bytes to their places ----
        place, bank, lane_end, done = places("write", self.written)
        chunk, group = Signal.like(word.chunks), Signal.like(word.groups)
        channel_bank = Signal(range(lanes))  # CONCAT: of the present channel
        offset = Signal(range(plan.bank_words))
        last_chunk, last_group, whole, concat, row_end = (
            Signal(name=n) for n in ("last_chunk", "last_group", "whole", "concat", "row_end")
        )
        here = Signal(range(pixels))
        pad, upper_pad = Signal(), Signal()
        m.d.comb += [
            last_chunk.eq(chunk == word.chunks),
            last_group.eq(group == word.groups),
            whole.eq(~self.pool | chunk[0] | last_chunk),
            concat.eq(word.target == Target.CONCAT),
            # the row's last word
            row_end.eq((chunk[1:] == word.chunks[1:]) & (self.pool | last_chunk)),
            here.eq(place + Mux(self.pool & chunk[0], half, 0)),
            pad.eq(row_end & (here >= word.tail)),
            upper_pad.eq(self.pool & last_chunk & ~chunk[0]),
            take.eq(done & last_chunk & last_group),
        ]
        base = word.base0
        for b in range(1, lanes):
            base = Mux(bank == b, word[f"base{b}"], base)
        padding = Cat(C(0, 7), word.pad)
        m.d.sync += [
            self.write_low.eq(Mux(pad, padding, self.byte)),
            self.write_high.eq(Mux(pad | upper_pad, padding, self.byte)),
            self.write_address.eq(base + offset),
            self.write_mask.eq((1 << here) | Mux(upper_pad, 1 << (here + half), 0)),
            self.write_op.eq(index),
        ]
        valid = ~(last_group & (bank > word.last_lane) & (word.target == Target.SHARED))
        for b in range(lanes):
            m.d.sync += self.write_en[b].eq(
                self.written & valid & (Mux(concat, channel_bank, bank) == b)
            )
        with m.If(done):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(whole):
                m.d.sync += offset.eq(offset + 1)
            with m.If(last_chunk):
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    channel_bank.eq(Mux(channel_bank == lanes - 1, 0, channel_bank + 1)),
                ]
                with m.If(concat & (channel_bank != lanes - 1)):
                    m.d.sync += offset.eq(offset + 1 - state_words)
        with m.If(take):
            m.d.sync += [group.eq(0), offset.eq(0), channel_bank.eq(0)]

        # ---- the state's columns, summed on the way ----
        sums = lanes if state_words > 1 else 1
        totals = [
            (
                Signal(signed(self.sum_bits), name=f"total{i}", reset_less=True),
                Signal(signed(8), name=f"largest{i}", reset_less=True),
            )
            for i in range(sums)
        ]
        counted, begin, padded = Signal(), Signal(reset_less=True), Signal(reset_less=True)
        counted_bank, counted_last = Signal.like(bank), Signal()
        m.d.sync += [
            counted.eq(self.written & blend),
            begin.eq((chunk == 0) & (place == home)),  # which may be padding
            padded.eq(pad),
            counted_bank.eq(bank),
            counted_last.eq(lane_end & last_chunk & blend),
        ]
        byte = self.write_low.as_signed()
        for i, (total, largest) in enumerate(totals):
            with m.If(counted & (counted_bank == i if sums > 1 else 1)):
                m.d.sync += total.eq(Mux(begin, 0, total) + Mux(padded, 0, byte))
                with m.If(begin | (~padded & (byte > largest))):
                    m.d.sync += largest.eq(Mux(padded, -128, byte))
        pooled = Signal.like(bank)
        channel = Signal(range(model.state_channels + 1))
        m.d.sync += [self.pool_en.eq(counted_last), pooled.eq(counted_bank)]
        with m.If(self.pool_en):
            m.d.sync += channel.eq(channel + 1)
        with m.If(settled):
            m.d.sync += channel.eq(0)
        m.d.comb += [
            self.pool_channel.eq(channel),
            self.pool_sum.eq(totals[0][0]),
            self.pool_max.eq(totals[0][1]),
            self.state_done.eq(self.pool_en & (channel == model.state_channels - 1)),
        ]
        for i in range(1, sums):
            with m.If(pooled == i):
                m.d.comb += [self.pool_sum.eq(totals[i][0]), self.pool_max.eq(totals[i][1])]
        return m
