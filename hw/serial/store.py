"""The compact engine's way back: drain, constants, operands and writes, one value at a time."""

from types import SimpleNamespace

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import delay, word_layout
from hw.plan import Function, Plan, Target
from hw.plan.latency import SERIAL
from hw.plan.memory import SERIAL_CONSTANT_WORDS as WORDS
from hw.serial.unit import FIRST_SHIFT, SHIFT_BITS
from hw.weight_sram import WeightSram

BYTES = 2  # cycles of a value
BLEND = 4  # ... of one that needs two operands


def constant_words(bias: int, multiplier: int, shift: int) -> list[int]:
    """Words of a sum's constants: the bias' lower and upper half; multiplier, shift."""
    factor = multiplier | (shift - FIRST_SHIFT) % (1 << SHIFT_BITS) << 8
    return [bias & 0xFFFF, bias >> 16 & 0xFFFF, factor, 0]


class SerialConstants(wiring.Component):
    """Constants of the sums, lane after lane, from a memory of 16 bits with one port.

    A lane's are read two cycles before its first sum, a word a cycle: each is there when the sum
    is, and not before the lane's before is through with it.

    Ports
    -----
    settled : in, the operation is a new one: base, in, is its first block of constants
    chunks : in, of a row, less one: walks that have the same constants
    go : in, two cycles before a lane's first sum
    bias, multiplier, scale : out, see SerialUnit
    load_en, load_address, load_data : in, writes the memory (`constant_words`)
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        widths = plan.field_widths("back")
        depth = WORDS * plan.constant_words
        self.memory = WeightSram(
            depth=depth, bits=16, init=constants, cells=plan.engine.cells, compact=True
        )
        super().__init__(
            {
                "settled": In(1),
                "base": In(widths["constant"]),
                "chunks": In(widths["chunks"]),
                "go": In(1),
                "bias": Out(signed(plan.model.acc_bits)),
                "multiplier": Out(8),
                "scale": Out(SHIFT_BITS),
                "load_en": In(1),
                "load_address": In(range(depth)),
                "load_data": In(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.constant_memory = memory = self.memory
        lanes = self.plan.engine.lanes
        reading = Signal(2)
        with m.If(self.go | (reading != 0)):
            m.d.sync += reading.eq(reading + 1)
        lane, chunk = Signal(range(lanes)), Signal.like(self.chunks)
        block = Signal(range(-(-self.plan.constant_words // lanes)))
        with m.If(reading == WORDS - 1):
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == lanes - 1):
                m.d.sync += [lane.eq(0), chunk.eq(chunk + 1)]
                with m.If(chunk == self.chunks):
                    m.d.sync += [chunk.eq(0), block.eq(block + 1)]
        with m.If(self.settled):
            m.d.sync += block.eq(self.base)
        low = Signal(16, reset_less=True)
        high = Signal(len(self.bias) - 16, reset_less=True)
        multiplier, scale = Signal(8, reset_less=True), Signal(SHIFT_BITS, reset_less=True)
        for number, target in enumerate((low, high, Cat(multiplier, scale)), 1):
            with m.If(reading == number):
                m.d.sync += target.eq(memory.word)
        m.d.comb += [
            self.bias.eq(Cat(low, high)),
            self.multiplier.eq(multiplier),
            self.scale.eq(scale),
            memory.read_en.eq(self.go | (reading != 0)),
            memory.address.eq(Cat(reading, block * lanes + lane)),
            memory.write_en.eq(self.load_en),
            memory.write_address.eq(self.load_address),
            memory.write_data.eq(self.load_data),
        ]
        return m


class SerialStore(wiring.Component):
    """Follows the transfers through the `back` words of the row program.

    A walk's sums leave lane after lane. Three places have counters of their own, some cycles apart:
    the head of the drain, the operand bytes that are read beside the stream, and the bytes that are
    written. They share the operation's word, so that an operation's last byte is written before the
    next one's first transfer.

    Each byte goes to its place at once; bytes right of a row are written as padding. The state's
    columns are summed and their maximum taken on the way, for the classifier.

    Ports
    -----
    ending : in, a cycle before transfer : in
    shift, at, pool, function : out, bias, multiplier, scale : out; see SerialUnit
    first_group : in, the walk sequencer is in a frame's first row group (H reads as zero)
    ask, ask_bank, ask_address : out, granted : in, words : in, see SerialWindow; a, b : out
    byte, written : in, see SerialUnit
    write_en, write_address, write_mask, write_low, write_high : out, see SerialWindow
    write_op : out, the operation, for monitors
    pool_en, pool_channel, pool_sum, pool_max, state_done : out, see hw.parallel.store
    load_en, load_address, load_data : in, writes the constant memory (`constant_words`)
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        engine, model = plan.engine, plan.model
        self.constants = SerialConstants(plan, constants)
        self.sum_bits = (128 * model.n).bit_length() + 1
        address = range(plan.bank_words)
        super().__init__(
            {
                "ending": In(1),
                "transfer": In(1),
                "shift": Out(1),
                "at": Out(SERIAL.unit_gated + 1),
                "pool": Out(1),
                "function": Out(Function),
                "bias": Out(signed(model.acc_bits)),
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
                "load_address": In(range(WORDS * plan.constant_words)),
                "load_data": In(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = SERIAL
        plan, engine, model = self.plan, self.plan.engine, self.plan.model
        lanes, pixels, half = engine.lanes, engine.pixels, engine.pixels // 2
        state_words = plan.geometry.state_words

        # the operation's word: so few that LUTs hold them, before the register that they need
        fields = plan.fields["back"]
        layout = word_layout(plan, "back")
        rom = m.submodules.back_program = Memory(
            shape=layout, depth=len(fields), init=fields, attrs={"ram_style": "logic"}
        )
        port = rom.read_port()
        word, index = port.data, Signal(range(len(fields)))
        take, moved, settled = Signal(), Signal(init=1), Signal()
        m.d.comb += port.addr.eq(index)
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
            """Counters of a value's place: position in its lane, lane, when these end."""
            position = Signal(range(pixels), name=f"{name}_position")
            lane = Signal(range(lanes), name=f"{name}_lane")
            last, lane_end, walk_end = (
                Signal(name=f"{name}_{n}") for n in ("last", "lane_end", "walk_end")
            )
            m.d.comb += [
                last.eq(position == Mux(turned, pixels - 2, Mux(self.pool, half, pixels) - 1)),
                lane_end.eq(go & last),
                walk_end.eq(lane_end & (lane == lanes - 1)),
            ]
            with m.If(go):
                following = Mux(position == pixels - 1, 0, position + 1)
                m.d.sync += position.eq(Mux(last, home, following))
            with m.If(known):
                m.d.sync += position.eq(home)
            with m.If(lane_end):
                m.d.sync += lane.eq(Mux(walk_end, 0, lane + 1))
            return SimpleNamespace(
                position=position, lane=lane, last=last, lane_end=lane_end, walk_end=walk_end
            )

        # ---- drain: the sums, and their constants ----
        running, beat = Signal(), Signal(2)
        last_beat = Signal()
        m.d.comb += last_beat.eq(running & (beat == Mux(blend, BLEND - 1, BYTES - 1)))
        drain = places("drain", last_beat)
        m.d.sync += beat.eq(Mux(last_beat | self.transfer, 0, beat + 1))
        with m.If(drain.walk_end):
            m.d.sync += running.eq(0)
        with m.If(self.transfer):
            m.d.sync += running.eq(1)
        # a byte without a gate is written earlier, and then forgotten
        at = [running & (beat == 0)]
        for i in range(t.unit_gated):
            goes_on = at[-1] & ~plain if i == t.unit_plain else at[-1]
            at.append(delay(m, goes_on, 1, f"at{i}"))
        m.submodules.constants = constants = self.constants
        lane_ends = running & drain.last & (beat == Mux(blend, BLEND - BYTES, 0))
        m.d.comb += [
            self.shift.eq(running & (self.pool | last_beat)),
            self.at.eq(Cat(*at)),
            constants.settled.eq(settled),
            constants.base.eq(word.constant),
            constants.chunks.eq(word.chunks),
            constants.go.eq(self.ending | (lane_ends & (drain.lane != lanes - 1))),
            *[
                getattr(constants, name).eq(getattr(self, name))
                for name in ("load_en", "load_address", "load_data")
            ],
            self.bias.eq(constants.bias),
            self.multiplier.eq(constants.multiplier),
            self.scale.eq(constants.scale),
        ]

        # ---- operands: a byte in two cycles, in one of which the array leaves the bank alone ----
        # places and addresses are worked out a cycle before they are asked for
        start, pending, second = Signal(), Signal(), Signal()
        second_next, moves = Signal(), Signal()
        m.d.comb += [
            second_next.eq(blend & (at[t.operand - 1] | at[t.operand])),
            moves.eq(at[t.operand]),
            self.ask.eq(start | pending),
        ]
        m.d.sync += [
            start.eq(word.fetch & (at[t.operand - 1] | (blend & at[t.operands - 1]))),
            second.eq(second_next),
            pending.eq(start & ~self.granted),
        ]
        operand = places("operand", moves)
        place = Signal.like(operand.position, reset_less=True)
        bank = Signal.like(operand.lane, reset_less=True)
        address = Signal(range(plan.bank_words), reset_less=True)
        offset = Signal(range(plan.bank_words))
        with m.If(operand.walk_end):
            m.d.sync += offset.eq(offset + 1)
        with m.If(settled):
            m.d.sync += offset.eq(0)
        m.d.sync += [
            place.eq(operand.position),
            bank.eq(operand.lane),
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
        put = places("write", self.written)
        place, bank, done = put.position, put.lane, put.walk_end
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
            counted_last.eq(put.lane_end & last_chunk & blend),
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
