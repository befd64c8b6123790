"""The serial engine's way back: drain, constants, operands and writes, one value at a time."""

from collections.abc import Sequence

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch, delay, one_of, word_layout
from hw.interfaces import Pooled, write_port
from hw.plan import Function, Plan, Target
from hw.plan.functions import SERIAL_FUNCTIONS, functions
from hw.plan.latency import SERIAL
from hw.plan.serial_owners import constant_memory_words
from hw.pool import StatePool
from hw.serial.unit import FIRST_SHIFT, SHIFT_BITS
from hw.weight_sram import WeightSram

HIGH_BITS = 16 - SHIFT_BITS
"""Bits of a bias' upper part: a word has the shift beside it."""


def constant_words(constants: Sequence[tuple[int, int, int]], lanes: int) -> list[int]:
    """Words of the sums' constants (bias, multiplier, shift), so many lanes' at a time.

    For each lane the bias' lower 16 bits; those above, and the shift. With lanes 0, 2, ... a word
    more, their multiplier and, in the upper byte, that of the lane after them.
    """
    words = []
    for first in range(0, len(constants), lanes):
        group = constants[first : first + lanes]
        for lane, (bias, multiplier, shift) in enumerate(group):
            coded = (shift - FIRST_SHIFT) % (1 << SHIFT_BITS) << HIGH_BITS
            words += [bias & 0xFFFF, bias >> 16 & (1 << HIGH_BITS) - 1 | coded]
            if lane % 2 == 0:
                following = group[lane + 1][1] if lane + 1 < lanes else 0
                words.append(multiplier | following << 8)
    return words


class SerialConstants(wiring.Component):
    """Constants of the sums, lane after lane, from a memory of 16 bits with one port.

    A lane's are read from three cycles before its first sum on, a word a cycle, the third one for
    two lanes: the bias is there when hw.serial.starts takes something off it; multiplier and shift
    are when the unit takes them, as `fresh` says.

    Ports
    -----
    settled : In(1)
        The operation is a new one.
    base : In(of the pace word), with `settled`
        Where its constants begin.
    chunks, groups : In(of the pace word)
        Walks that have the same constants, less one; how often others follow.
    go : In(1)
        Three cycles before a lane's first sum; at least four cycles after the one before, and two
        after `settled`.
    bias : Out(signed(acc_bits)), multiplier : Out(8), scale : Out(4), fresh : Out(1)
        As SerialUnit takes them (`scale`: its `shift`).
    op_end : Out(1)
        The operation's last constants are read.
    load : Out(write_port(constant_memory_words(plan), 16))
        Of the memory, words of `constant_words`.
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        widths = plan.field_widths("pace")
        depth = constant_memory_words(plan)
        self.memory = WeightSram(
            depth=depth, bits=16, init=constants, cells=plan.engine.cells, registered=False
        )
        super().__init__(
            {
                "settled": In(1),
                "base": In(widths["constant"]),
                "chunks": In(widths["chunks"]),
                "groups": In(widths["groups"]),
                "go": In(1),
                "bias": Out(signed(plan.model.acc_bits)),
                "multiplier": Out(8),
                "scale": Out(SHIFT_BITS),
                "fresh": Out(1),
                "op_end": Out(1),
                "load": Out(write_port(depth, 16)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.constant_memory = memory = self.memory
        wiring.connect(m, wiring.flipped(self.load), memory.write)
        lanes = self.plan.engine.lanes
        reading = Signal(2)
        with m.If(self.go | (reading != 0)):
            m.d.sync += reading.eq(reading + 1)
        lane = Signal(range(lanes))
        chunk, group = Signal.like(self.chunks), Signal.like(self.groups)
        address, walk = Signal.like(memory.address), Signal.like(memory.address)
        fresh, walk_end, again, in_group, reads = (
            Signal(name=n) for n in ("fresh", "walk_end", "again", "in_group", "reads")
        )
        # counts change three cycles, and more, before the next walk's end
        m.d.sync += [
            fresh.eq(self.settled),
            again.eq(chunk != self.chunks),
            in_group.eq(group == self.groups),
        ]
        m.d.comb += [
            walk_end.eq((reading == 3) & (lane == lanes - 1)),  # nothing is read
            self.op_end.eq(walk_end & ~again & in_group),
        ]
        with m.If(reading == 3):
            m.d.sync += lane.eq(Mux(lane == lanes - 1, 0, lane + 1))
        with m.If(walk_end):
            m.d.sync += chunk.eq(Mux(again, chunk + 1, 0))
        with m.If((walk_end & again) | fresh):
            m.d.sync += address.eq(walk)
        with m.Elif(reads):
            m.d.sync += address.eq(address + 1)
        with m.If((walk_end & ~again) | self.settled):
            m.d.sync += [
                walk.eq(Mux(self.settled, self.base, address)),
                group.eq(Mux(self.settled, 0, group + 1)),
            ]
        low_not = Signal(16, reset_less=True)  # inverted: see hw.serial.starts
        high = Signal(len(self.bias) - 16, reset_less=True)
        scale = Signal(SHIFT_BITS, reset_less=True)
        multipliers = Signal(16, reset_less=True)  # the lane's, and that of the one after it
        with m.If(reading == 1):
            m.d.sync += low_not.eq(~memory.word)
        with m.If(reading == 2):
            m.d.sync += [high.eq(memory.word), scale.eq(memory.word[HIGH_BITS:])]
        with m.If(reading == 3):
            m.d.sync += multipliers.eq(Mux(lane[0], multipliers[8:], memory.word))
        m.d.comb += [
            self.bias.eq(Cat(~low_not, high)),
            self.multiplier.eq(multipliers[:8]),
            self.scale.eq(scale),
            self.fresh.eq(delay(m, reading == 3, 3, "fresh")),
            reads.eq(self.go | (reading == 1) | ((reading == 2) & ~lane[0])),
            # a word is taken in the cycle after: an SPRAM may go on reading, its select is slow
            memory.read_en.eq(1 if memory.spram else reads),
            memory.address.eq(address),
        ]
        return m


class ValueCounter(wiring.Component):
    """Place of a value that passes by: the values of a lane, lane after lane.

    Ports
    -----
    go : In(1)
        A value passes.
    settled : In(1)
        A new operation's `turned` and `pool` are there.
    turned : In(1)
        The first value of a lane is its last pixel's (see SerialWindow).
    pool : In(1)
        A lane has half as many values.
    position : Out(range(P)), lane : Out(range(L))
        Of the value that passes next.
    last, first : Out(1)
        It is its lane's last; its first.
    lane_end, walk_end : Out(1)
        A lane's, a walk's last value passes.
    """

    def __init__(self, *, pixels: int, lanes: int):
        self.pixels, self.lanes = pixels, lanes
        inputs = dict.fromkeys(("go", "settled", "turned", "pool"), In(1))
        outputs = dict.fromkeys(("last", "first", "lane_end", "walk_end"), Out(1))
        super().__init__(
            inputs | {"position": Out(range(pixels)), "lane": Out(range(lanes))} | outputs
        )

    def elaborate(self, platform):
        m = Module()
        pixels, position, lane = self.pixels, self.position, self.lane
        home, final = Signal.like(position), Signal.like(position)
        length = Mux(self.pool, pixels // 2, pixels)
        m.d.sync += final.eq(Mux(self.turned, pixels - 2, length - 1))
        m.d.comb += [
            home.eq(Mux(self.turned, pixels - 1, 0)),
            self.first.eq(position == home),
            self.last.eq(position == final),
            self.lane_end.eq(self.go & self.last),
            self.walk_end.eq(self.lane_end & (lane == self.lanes - 1)),
        ]
        with m.If(self.go):
            following = Mux(position == pixels - 1, 0, position + 1)
            m.d.sync += position.eq(Mux(self.last, home, following))
        with m.If(self.settled):
            m.d.sync += position.eq(home)
        with m.If(self.lane_end):
            m.d.sync += lane.eq(Mux(self.walk_end, 0, lane + 1))
        return m


class SerialOperands(wiring.Component):
    """Operand bytes beside the stream of sums: those of two values in two cycles.

    In one of the two the array leaves the bank alone. Where a value takes two operands (and two
    cycles), the second one's are asked for first. Their words are turned by a byte (SerialWindow),
    as operands are of operations with one tap only: the first two values are the last pixel's and
    the first one's.

    Ports
    -----
    word : In(back word)
        Of the operation.
    settled : In(1)
        It is a new one, whose values are still `operands` cycles away.
    blend : In(1)
        It takes two operands.
    first_group : In(1)
        H reads as zero.
    at : In(unit + 1)
        Bit i is set i cycles after the first `low` of a value.
    ask : Out(1), ask_bank : Out(range(L)), ask_address : Out(range(bank_words))
        A read wanted in this cycle.
    granted : In(1)
        It has the bank.
    words : In(8 * P), an array of L
        The banks' words, a cycle after `granted`.
    factor, a : Out(8)
        The value's operand bytes as SerialUnit takes them, with bit `gate_at` of `at`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine = plan.engine
        words = zip(plan.operations, plan.fields["back"], strict=True)
        assert all(fields["turned"] for op, fields in words if op.operands)
        super().__init__(
            {
                "word": In(word_layout(plan, "back")),
                **dict.fromkeys(("settled", "blend", "first_group"), In(1)),
                "at": In(SERIAL.unit + 1),
                "ask": Out(1),
                "ask_bank": Out(range(engine.lanes)),
                "ask_address": Out(range(plan.bank_words)),
                "granted": In(1),
                "words": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
                "factor": Out(8),
                "a": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t, at, word, engine = SERIAL, self.at, self.word, self.plan.engine
        # two cycles before the first ask, whether a value is the second one of two; later likewise
        sooner, later = t.operands - 1, t.operand - 1
        odd = [Signal(name=f"odd{sooner}", reset_less=True)]
        m.d.sync += odd[0].eq((odd[0] ^ at[sooner]) & ~self.settled)
        odd.append(delay(m, odd[0], 1, f"odd{sooner + 1}", reset_less=True))
        odd.append(delay(m, odd[1], 1, f"odd{later}", reset_less=True))
        assert later == sooner + 2
        before, start, starts, pending = (
            Signal(name=n) for n in ("before", "start", "starts", "pending")
        )
        m.d.comb += [
            before.eq(self.blend & at[sooner] & ~odd[0]),
            starts.eq(before | (at[later] & ~odd[2])),
            self.ask.eq(start | pending),
        ]
        m.d.sync += [start.eq(word.fetch & starts), pending.eq(start & ~self.granted)]
        pairs, lanes = engine.pixels // 2, engine.lanes
        pair, lane = Signal(range(pairs)), Signal(range(lanes))
        offset = Signal(range(self.plan.bank_words))
        place = Signal.like(pair, reset_less=True)
        bank = Signal.like(lane, reset_less=True)
        address = Signal(range(self.plan.bank_words), reset_less=True)
        other = Signal(reset_less=True)  # it is the first operand of two that is asked for
        with m.If(at[sooner + 1] & odd[1]):
            m.d.sync += pair.eq(Mux(pair == pairs - 1, 0, pair + 1))
            with m.If(pair == pairs - 1):
                m.d.sync += lane.eq(Mux(lane == lanes - 1, 0, lane + 1))
                with m.If(lane == lanes - 1):
                    m.d.sync += offset.eq(offset + 1)
        with m.If(self.settled):
            m.d.sync += [pair.eq(0), lane.eq(0), offset.eq(0)]
        with m.If(starts):
            m.d.sync += [
                place.eq(pair),
                bank.eq(lane),
                address.eq(Mux(before, word.b, word.a) + offset),
                other.eq(self.blend & ~before),
            ]
        m.d.comb += [self.ask_bank.eq(bank), self.ask_address.eq(address)]
        self._take(m, place, bank, other)
        return m

    def _take(self, m, place, bank, other):
        """The two bytes that were asked for, out of their bank's word, one after the other."""
        got, got_other = Signal(), Signal(reset_less=True)
        got_place = Signal.like(place, reset_less=True)
        got_bank = Signal.like(bank, reset_less=True)
        m.d.sync += [
            got.eq(self.granted),
            got_other.eq(other),
            got_place.eq(place),
            got_bank.eq(bank),
        ]
        chosen = 0
        for b in range(self.plan.engine.lanes):
            chosen = chosen | Mux(got_bank == b, self.words[b], 0)
        two, zero = Signal(16), self.word.state & self.first_group
        factor, a = (Signal(16, name=f"{n}_pair", reset_less=True) for n in ("factor", "a"))
        m.d.comb += two.eq(Cat(chosen[-8:], chosen[:-8]).word_select(got_place, 16))
        with m.If(got & ~got_other):
            m.d.sync += factor.eq(Mux(zero & ~self.blend, 0, two))
        with m.If(got & got_other):
            m.d.sync += a.eq(Mux(zero, 0, two))
        # the next two factors may be there with the second one of these
        used = self.at[SERIAL.gate_at]
        second, kept = Signal(reset_less=True), Signal(8, reset_less=True)
        m.d.sync += second.eq((second ^ used) & ~self.settled)
        with m.If(used & ~second):
            m.d.sync += kept.eq(factor[8:])
        m.d.comb += [
            self.factor.eq(Mux(second, kept, factor[:8])),
            self.a.eq(Mux(second, a[8:], a[:8])),
        ]


class SerialWriter(wiring.Component):
    """Bytes to their places, each at once; bytes right of a row are written as padding.

    Ports
    -----
    word : In(back word)
        Of the operation.
    settled : In(1)
        It is a new one.
    coming : In(1)
        There is a value's byte in the next cycle.
    written : In(1)
        There is one now: `coming` a cycle later.
    byte : In(8), with `written`
    write_en : Out(L), write_address : Out(range(bank_words)), write_mask : Out(P)
        Bytes of that word of these banks are written, a cycle after `written`.
    write_low, write_high : Out(8)
        A byte for the lower and one for the upper half of the word.
    bank : Out(range(L)), with `written`
    pad : Out(1), with `written`
        The byte is beyond the row.
    first, last : Out(1), with `written`
        It is its channel's first; its channel's last.
    take : Out(1)
        An operation's last byte.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine = plan.engine
        super().__init__(
            {
                "word": In(word_layout(plan, "back")),
                **dict.fromkeys(("settled", "coming", "written"), In(1)),
                "byte": In(8),
                "write_en": Out(engine.lanes),
                "write_address": Out(range(plan.bank_words)),
                "write_mask": Out(engine.pixels),
                "write_low": Out(8),
                "write_high": Out(8),
                "bank": Out(range(engine.lanes)),
                **dict.fromkeys(("pad", "first", "last", "take"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word, engine = self.word, self.plan.engine
        lanes, pixels, half = engine.lanes, engine.pixels, engine.pixels // 2
        m.submodules.counter = put = ValueCounter(pixels=pixels, lanes=lanes)
        place, bank = put.position, put.lane
        chunk, group = Signal.like(word.chunks), Signal.like(word.groups)
        channel_bank = Signal(range(lanes))  # CONCAT: of the present channel
        concat, row_end, in_chunk, in_group, walk_ends = (
            Signal(name=n) for n in ("concat", "row_end", "in_chunk", "in_group", "walk_ends")
        )
        m.d.comb += [
            put.go.eq(self.coming),
            put.settled.eq(self.settled),
            put.turned.eq(word.turned),
            put.pool.eq(word.pool),
            concat.eq(word.target == Target.CONCAT),
            in_chunk.eq(chunk == word.chunks),
            in_group.eq(group == word.groups),
            # the row's last word
            row_end.eq((chunk[1:] == word.chunks[1:]) & (word.pool | in_chunk)),
            walk_ends.eq(put.last & (bank == lanes - 1)),
        ]
        with m.If(put.walk_end):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(in_chunk):
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    channel_bank.eq(Mux(channel_bank == lanes - 1, 0, channel_bank + 1)),
                ]
        # What is asked with a byte is a register.
        last_chunk, lane_end, walk_end, op_end, whole, upper_pad, same_row = (
            Signal(name=n, reset_less=True)
            for n in (
                *("last_chunk", "lane_end", "walk_end", "op_end", "whole", "upper_pad"),
                "same_row",
            )
        )
        pad, first, target = (
            Signal(shape, name=n, reset_less=True)
            for n, shape in (("padded", 1), ("first_column", 1), ("target", lanes))
        )
        here = Signal(range(pixels), reset_less=True)
        base = Signal(range(self.plan.bank_words))  # a later bank's may be wider than base0
        column, bank_base = Signal.like(here), word.base0
        for b in range(1, lanes):
            bank_base = Mux(bank == b, word[f"base{b}"], bank_base)
        valid = ~(in_group & (bank > word.last_lane) & (word.target == Target.SHARED))
        m.d.comb += column.eq(place + Mux(word.pool & chunk[0], half, 0))
        m.d.sync += [
            last_chunk.eq(in_chunk),
            lane_end.eq(put.last),
            walk_end.eq(walk_ends),
            op_end.eq(walk_ends & in_chunk & in_group),
            whole.eq(~word.pool | chunk[0] | in_chunk),
            same_row.eq(concat & (channel_bank != lanes - 1)),
            here.eq(column),
            pad.eq(row_end & (column >= word.tail)),
            upper_pad.eq(word.pool & in_chunk & ~chunk[0]),
            first.eq((chunk == 0) & put.first),
            base.eq(bank_base),
            self.bank.eq(bank),
            *[target[b].eq(valid & (Mux(concat, channel_bank, bank) == b)) for b in range(lanes)],
        ]
        m.d.comb += [
            self.pad.eq(pad),
            self.first.eq(first),
            self.last.eq(self.written & lane_end & last_chunk),
            self.take.eq(self.written & op_end),
        ]
        offset, padding = Signal(range(self.plan.bank_words)), Cat(C(0, 7), word.pad)
        m.d.sync += [
            self.write_low.eq(Mux(self.pad, padding, self.byte)),
            self.write_high.eq(Mux(self.pad | upper_pad, padding, self.byte)),
            self.write_address.eq(base + offset),
            self.write_mask.eq((1 << here) | Mux(upper_pad, 1 << (here + half), 0)),
            self.write_en.eq(Mux(self.written, target, 0)),
        ]
        with m.If(self.written & walk_end):
            with m.If(whole):
                m.d.sync += offset.eq(offset + 1)
            with m.If(last_chunk & same_row):
                m.d.sync += offset.eq(offset + 1 - self.plan.geometry.state_words)
        with m.If(self.take):
            m.d.sync += [group.eq(0), offset.eq(0), channel_bank.eq(0)]
        return m


class SerialPool(wiring.Component):
    """The state's columns, summed as they are written.

    Ports
    -----
    begin : In(1)
        A new operation.
    counts : In(1)
        A byte of the state comes, `byte` in the next cycle.
    bank : In(range(L)), with `counts`
        Lane of the byte's channel.
    first, last : In(1), with `counts`
        It is its channel's first; its channel's last.
    pad : In(1), with `counts`
        It is beyond the row.
    byte : In(signed(8)), next : In(signed(8))
        A cycle after `counts`; with it (of a byte that is no padding).
    pooled : Out(Pooled(state_channels, n))
        A channel of the state, pooled over its columns.
    state_done : Out(1)
        With a row group's last pooled channel.
    """

    def __init__(self, plan: Plan):
        engine, model = plan.engine, plan.model
        # channels whose columns are there at once: chunks of all lanes' go on in turn
        self.pool = StatePool(
            channels=engine.lanes if plan.geometry.state_words > 1 else 1,
            columns=model.n,
            ahead=True,
        )
        self.channels = model.state_channels
        super().__init__(
            {
                "begin": In(1),
                **dict.fromkeys(("counts", "first", "pad", "last"), In(1)),
                "bank": In(range(engine.lanes)),
                **dict.fromkeys(("byte", "next"), In(signed(8))),
                "pooled": Out(Pooled(model.state_channels, model.n)),
                "state_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool = pool = self.pool
        pooled = self.pooled
        counted, last = Signal(), Signal()
        begin, pad = Signal(reset_less=True), Signal(reset_less=True)
        bank, told = Signal.like(self.bank), Signal.like(self.bank)
        channel = Signal(range(self.channels + 1))
        m.d.sync += [
            counted.eq(self.counts),
            begin.eq(self.first),  # which may be padding
            pad.eq(self.pad),
            bank.eq(self.bank),
            last.eq(self.last & self.counts),
            pooled.en.eq(last),
            told.eq(bank),
        ]
        with m.If(pooled.en):
            m.d.sync += channel.eq(channel + 1)
        with m.If(self.begin):
            m.d.sync += channel.eq(0)
        m.d.comb += [
            pool.begin.eq(begin),
            pool.pad.eq(pad),
            pooled.channel.eq(channel),
            pooled.sum.eq(pool.sums[0]),
            pooled.max.eq(pool.maxima[0]),
            self.state_done.eq(pooled.en & (channel == self.channels - 1)),
        ]
        for i in range(pool.channels):
            here = (bank == i) if pool.channels > 1 else 1
            m.d.comb += [
                pool.bytes[i].eq(self.byte),
                pool.next[i].eq(self.next),
                pool.load[i].eq(counted & here),
            ]
            if i:
                with m.If(told == i):
                    m.d.comb += [
                        pooled.sum.eq(pool.sums[i]),
                        pooled.max.eq(pool.maxima[i]),
                    ]
        return m


class SerialStore(wiring.Component):
    """Follows the transfers through the `pace` and `back` words of the row program.

    A walk's sums leave lane after lane. Constants, operand bytes and bytes that are written have
    counters of their own, some cycles apart. How sums leave is in one word, which goes on when an
    operation's last one has left; the other one goes on when its last byte is written, before
    anybody asks the next operation's values for what is in it.

    Ports
    -----
    go : In(1), begins : In(1), running : In(1)
        Of SerialStarts: constants are wanted; a value's first cycle at the head; there is one.
    pool : Out(1), blend : Out(1)
        How sums leave, see there.
    function : Out(Function)
        What becomes of them, for SerialUnit.
    bias : Out(signed(acc_bits)), multiplier : Out(8), scale : Out(4), fresh : Out(1)
        The sum's constants, as SerialUnit takes them (`scale`: its `shift`).
    factor, a : Out(8)
        The value's operand bytes, as SerialUnit takes them.
    first_group : In(1)
        The walk sequencer is in a frame's first row group (H reads as zero).
    ask : Out(1), ask_bank : Out(range(L)), ask_address : Out(range(bank_words))
        A read of the maps, wanted in this cycle.
    granted : In(1)
        It has the bank.
    words : In(8 * P), an array of L
        The banks' words, a cycle after `granted`.
    byte : In(8)
        A value's byte, `unit` cycles after it began.
    write_en : Out(L), write_address : Out(range(bank_words)), write_mask : Out(P)
        Bytes of that word of these banks are written, a cycle later.
    write_low, write_high : Out(8)
        A byte for the lower and one for the upper half of the word.
    write_op : Out(range(operations))
        The operation, for monitors.
    pooled : Out(Pooled(state_channels, n))
        A channel of the state, pooled over its columns.
    state_done : Out(1)
        With a row group's last pooled channel.
    load : Out(write_port(constant_memory_words(plan), 16))
        Of the constant memory, words of `constant_words`.
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        self.constants = SerialConstants(plan, constants)
        self.operands, self.writer = SerialOperands(plan), SerialWriter(plan)
        self.pooling = SerialPool(plan)
        writes = [f"write_{name}" for name in ("en", "address", "mask", "low", "high")]
        self._same = {  # ports that are a part's own
            self.constants: ["go", "bias", "multiplier", "scale", "fresh"],
            self.operands: ["ask", "ask_bank", "ask_address", "granted", "words", "factor", "a"],
            self.writer: ["byte", *writes],
            self.pooling: ["state_done"],
        }
        members = {
            name: part.signature.members[name]
            for part, names in self._same.items()
            for name in names
        }
        super().__init__(
            {
                **dict.fromkeys(("begins", "running", "first_group"), In(1)),
                "pool": Out(1),
                "blend": Out(1),
                "function": Out(Function),
                "write_op": Out(range(len(plan.operations))),
                "load": self.constants.signature.members["load"],
                "pooled": self.pooling.signature.members["pooled"],
                **members,
            }
        )

    def elaborate(self, platform):
        m = Module()
        constants, operands, writer, pooling = (
            self.constants,
            self.operands,
            self.writer,
            self.pooling,
        )
        m.submodules.constants, m.submodules.operands = constants, operands
        m.submodules.writer, m.submodules.pooling = writer, pooling
        first = self._pace(m)
        # in LUTs, before registers
        fetch = WordFetch(m, self.plan, "back", registered=False, in_logic=True)
        word, settled, blend, first_here = fetch.word, Signal(), Signal(), Signal()
        two = functions(lambda means: means.operands > 1, SERIAL_FUNCTIONS)
        m.d.comb += [fetch.take.eq(writer.take), self.function.eq(word.function)]
        m.d.sync += [
            settled.eq(fetch.moved),
            blend.eq(one_of(word.function, two)),
            self.write_op.eq(fetch.index),
        ]
        with m.If(settled):
            m.d.sync += first_here.eq(first)
        at = [self.begins]
        for i in range(SERIAL.unit):
            at.append(delay(m, at[-1], 1, f"at{i}"))
        wiring.connect(m, wiring.flipped(self.load), constants.load)
        wiring.connect(m, pooling.pooled, wiring.flipped(self.pooled))
        m.d.comb += [
            *[part.word.eq(word) for part in (operands, writer)],
            *[part.settled.eq(settled) for part in (operands, writer)],
            operands.blend.eq(blend),
            operands.first_group.eq(first_here),
            operands.at.eq(Cat(*at)),
            writer.coming.eq(at[-2]),
            writer.written.eq(at[-1]),
            pooling.begin.eq(settled),
            pooling.counts.eq(at[-1] & blend),
            *[getattr(pooling, n).eq(getattr(writer, n)) for n in ("bank", "first", "pad", "last")],
            pooling.byte.eq(writer.write_low.as_signed()),
            pooling.next.eq(writer.byte.as_signed()),
        ]
        for part, names in self._same.items():
            for name in names:
                inner, outer = getattr(part, name), getattr(self, name)
                inward = part.signature.members[name].flow is In
                m.d.comb += inner.eq(outer) if inward else outer.eq(inner)
        return m

    def _pace(self, m):
        """How sums leave; returns whether the operation is of a frame's first row group."""
        constants = self.constants
        fetch = WordFetch(m, self.plan, "pace", registered=False, in_logic=True)
        word, settled, over, first = fetch.word, Signal(), Signal(), Signal()
        m.d.comb += [
            fetch.take.eq(over & ~self.running),
            constants.settled.eq(settled),
            constants.base.eq(word.constant),
            constants.chunks.eq(word.chunks),
            constants.groups.eq(word.groups),
        ]
        m.d.sync += [
            settled.eq(fetch.moved),
            over.eq((over | constants.op_end) & ~fetch.take),
            self.pool.eq(word.pool),
            self.blend.eq(word.blend),
        ]
        with m.If(settled):
            m.d.sync += first.eq(self.first_group)
        return first
