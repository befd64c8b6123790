"""The serial engine's way back: drain, constants, operands and writes, one value at a time."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch, delay, one_of, word_layout
from hw.interfaces import Pooled, write_port
from hw.plan import Function, Plan, Target
from hw.plan.functions import SERIAL_FUNCTIONS, functions
from hw.plan.latency import SERIAL
from hw.plan.memory import SERIAL_CONSTANT_WORDS
from hw.plan.serial_rules import VALUE
from hw.pool import StatePool
from hw.serial.unit import FIRST_SHIFT, SHIFT_BITS
from hw.weight_sram import WeightSram

BYTES, BLEND = VALUE, 2 * VALUE
"""Cycles of a value; of one that takes two operands."""


def constant_words(bias: int, multiplier: int, shift: int) -> list[int]:
    """Words of a sum's constants: the bias' lower and upper half; multiplier, shift."""
    factor = multiplier | (shift - FIRST_SHIFT) % (1 << SHIFT_BITS) << 8
    return [bias & 0xFFFF, bias >> 16 & 0xFFFF, factor]


class SerialConstants(wiring.Component):
    """Constants of the sums, lane after lane, from a memory of 16 bits with one port.

    A lane's are read from three cycles before its first sum on, a word a cycle: the bias is there
    when hw.serial.starts takes something off it, multiplier and shift not before the values of the
    lane before are through with them.

    Ports
    -----
    settled : In(1)
        The operation is a new one.
    base : In(of the back word), with `settled`
        Where its constants begin.
    chunks : In(of the back word)
        Walks that have the same constants, less one.
    go : In(1)
        Three cycles before a lane's first sum; not within four cycles of the one before, and two of
        `settled`.
    bias : Out(signed(acc_bits)), multiplier : Out(8), scale : Out(4)
        As SerialUnit takes them (`scale`: its `shift`).
    load : Out(write_port(3 * constants, 16))
        Of the memory, words of `constant_words`.
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        widths = plan.field_widths("back")
        depth = SERIAL_CONSTANT_WORDS * plan.constant_words
        self.memory = WeightSram(
            depth=depth, bits=16, init=constants, cells=plan.engine.cells, registered=False
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
        lane, chunk = Signal(range(lanes)), Signal.like(self.chunks)
        address, walk = Signal.like(memory.address), Signal.like(memory.address)
        fresh, walk_end, again = Signal(), Signal(), Signal()
        m.d.sync += fresh.eq(self.settled)
        m.d.comb += [
            walk_end.eq((reading == 3) & (lane == lanes - 1)),  # nothing is read
            again.eq(chunk != self.chunks),
        ]
        with m.If(reading == 3):
            m.d.sync += lane.eq(Mux(lane == lanes - 1, 0, lane + 1))
        with m.If(walk_end):
            m.d.sync += chunk.eq(Mux(again, chunk + 1, 0))
        with m.If((walk_end & again) | fresh):
            m.d.sync += address.eq(walk)
        with m.Elif(memory.read_en):
            m.d.sync += address.eq(address + 1)
        with m.If((walk_end & ~again) | self.settled):
            m.d.sync += walk.eq(Mux(self.settled, self.base, address))
        low_not = Signal(16, reset_less=True)  # inverted: see hw.serial.starts
        high = Signal(len(self.bias) - 16, reset_less=True)
        multiplier, scale = Signal(8, reset_less=True), Signal(SHIFT_BITS, reset_less=True)
        with m.If(reading == 1):
            m.d.sync += low_not.eq(~memory.word)
        with m.If(reading == 2):
            m.d.sync += high.eq(memory.word)
        # the last word is held for a cycle
        with m.If(delay(m, reading == 3, 1, "held")):
            m.d.sync += Cat(multiplier, scale).eq(memory.word)
        m.d.comb += [
            self.bias.eq(Cat(~low_not, high)),
            self.multiplier.eq(multiplier),
            self.scale.eq(scale),
            memory.read_en.eq(self.go | (reading == 1) | (reading == 2)),
            memory.address.eq(address),
        ]
        return m


class ValueCounter(wiring.Component):
    """Place of a value that passes by: the values of a lane, lane after lane.

    Ports
    -----
    go : In(1)
        A value passes.
    known : In(1)
        A new operation's `turned` and `pool` are there.
    turned : In(1)
        The first value of a lane is its last pixel's (see SerialWindow).
    pool : In(1)
        A lane has half as many values.
    position : Out(range(P)), lane : Out(range(L))
        Of the value that passes next.
    last, before_last : Out(1)
        It is its lane's last; the one before that.
    first : Out(1)
        It is its lane's first.
    lane_end, walk_end : Out(1)
        A lane's, a walk's last value passes.
    """

    def __init__(self, *, pixels: int, lanes: int):
        self.pixels, self.lanes = pixels, lanes
        inputs = dict.fromkeys(("go", "known", "turned", "pool"), In(1))
        ends = ("last", "before_last", "first", "lane_end", "walk_end")
        outputs = dict.fromkeys(ends, Out(1))
        super().__init__(
            inputs | {"position": Out(range(pixels)), "lane": Out(range(lanes))} | outputs
        )

    def elaborate(self, platform):
        m = Module()
        pixels, position, lane = self.pixels, self.position, self.lane
        home = Signal.like(position)
        length = Mux(self.pool, pixels // 2, pixels)
        m.d.comb += [
            home.eq(Mux(self.turned, pixels - 1, 0)),
            self.first.eq(position == home),
            self.last.eq(position == Mux(self.turned, pixels - 2, length - 1)),
            self.before_last.eq(position == Mux(self.turned, pixels - 3, length - 2)),
            self.lane_end.eq(self.go & self.last),
            self.walk_end.eq(self.lane_end & (lane == self.lanes - 1)),
        ]
        with m.If(self.go):
            following = Mux(position == pixels - 1, 0, position + 1)
            m.d.sync += position.eq(Mux(self.last, home, following))
        with m.If(self.known):
            m.d.sync += position.eq(home)
        with m.If(self.lane_end):
            m.d.sync += lane.eq(Mux(self.walk_end, 0, lane + 1))
        return m


def _of_operation(plan: Plan) -> dict:
    """Ports of what works on an operation: its word, and facts of it that are registers."""
    return {
        "word": In(word_layout(plan, "back")),
        "settled": In(1),
        "known": In(1),
        "blend": In(1),
        "turned": In(1),
        "pool": In(1),
    }


class SerialOperands(wiring.Component):
    """Operand bytes beside the stream of sums: a byte in two cycles.

    In one of the two the array leaves the bank alone. Places and addresses are worked out a cycle
    before they are asked for.

    Ports
    -----
    word : In(back word)
        Of the operation.
    settled : In(1), known : In(1), pulses
        It is a new one; a cycle later: so are the following.
    blend, turned, pool : In(1)
        It takes two operands; one-tap words are turned by a byte; sums go in pairs.
    first_group : In(1)
        H reads as zero.
    at : In(unit_gated + 1)
        Bit i is set i cycles after the first `low` of a value.
    ask : Out(1), ask_bank : Out(range(L)), ask_address : Out(range(bank_words))
        A read wanted in this cycle.
    granted : In(1)
        It has the bank.
    words : In(8 * P), an array of L
        The banks' words, a cycle after `granted`.
    a, b : Out(8)
        The value's operand bytes, with bit `gate_at` of `at`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine = plan.engine
        super().__init__(
            {
                **_of_operation(plan),
                "first_group": In(1),
                "at": In(SERIAL.unit_gated + 1),
                "ask": Out(1),
                "ask_bank": Out(range(engine.lanes)),
                "ask_address": Out(range(plan.bank_words)),
                "granted": In(1),
                "words": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
                "a": Out(8),
                "b": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t, at, word, engine = SERIAL, self.at, self.word, self.plan.engine
        start, pending, second, second_next = (
            Signal(name=n) for n in ("start", "pending", "second", "second_next")
        )
        m.d.comb += [
            second_next.eq(self.blend & (at[t.operand - 1] | at[t.operand])),
            self.ask.eq(start | pending),
        ]
        m.d.sync += [
            start.eq(word.fetch & (at[t.operand - 1] | (self.blend & at[t.operands - 1]))),
            second.eq(second_next),
            pending.eq(start & ~self.granted),
        ]
        m.submodules.counter = counter = ValueCounter(pixels=engine.pixels, lanes=engine.lanes)
        place = Signal.like(counter.position, reset_less=True)
        bank = Signal.like(counter.lane, reset_less=True)
        address = Signal(range(self.plan.bank_words), reset_less=True)
        offset = Signal(range(self.plan.bank_words))
        with m.If(counter.walk_end):
            m.d.sync += offset.eq(offset + 1)
        with m.If(self.settled):
            m.d.sync += offset.eq(0)
        m.d.sync += [
            place.eq(counter.position),
            bank.eq(counter.lane),
            address.eq(Mux(second_next, word.b, word.a) + offset),
        ]
        m.d.comb += [
            *[getattr(counter, n).eq(getattr(self, n)) for n in ("known", "turned", "pool")],
            counter.go.eq(at[t.operand]),
            self.ask_bank.eq(bank),
            self.ask_address.eq(address),
        ]
        self._take(m, place, bank, second)
        return m

    def _take(self, m, place, bank, second):
        """The byte that was asked for, out of its bank's word."""
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
        for b in range(self.plan.engine.lanes):
            chosen = chosen | Mux(got_bank == b, self.words[b], 0)
        m.d.comb += byte.eq(chosen.word_select(got_place, 8))
        with m.If(got & got_second):
            m.d.sync += self.b.eq(byte)
        with m.If(got & ~got_second):
            m.d.sync += self.a.eq(Mux(self.word.state & self.first_group, 0, byte))


class SerialWriter(wiring.Component):
    """Bytes to their places, each at once; bytes right of a row are written as padding.

    Ports
    -----
    word : In(back word)
        Of the operation.
    settled : In(1), known : In(1), pulses
        It is a new one; a cycle later: so are the following.
    blend, turned, pool : In(1)
        It takes two operands; one-tap words are turned by a byte; sums go in pairs.
    byte : In(8), written : In(1)
        A value's byte is there: at most in every second cycle, and two after `known`.
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
                **_of_operation(plan),
                "byte": In(8),
                "written": In(1),
                "write_en": Out(engine.lanes),
                "write_address": Out(range(plan.bank_words)),
                "write_mask": Out(engine.pixels),
                "write_low": Out(8),
                "write_high": Out(8),
                "bank": Out(range(engine.lanes)),
                "pad": Out(1),
                "first": Out(1),
                "last": Out(1),
                "take": Out(1),
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
        offset = Signal(range(self.plan.bank_words))
        concat, row_end, in_chunk, in_group = (
            Signal(name=n) for n in ("concat", "row_end", "in_chunk", "in_group")
        )
        m.d.comb += [
            *[getattr(put, n).eq(getattr(self, n)) for n in ("known", "turned", "pool")],
            put.go.eq(self.written),
            concat.eq(word.target == Target.CONCAT),
            in_chunk.eq(chunk == word.chunks),
            in_group.eq(group == word.groups),
            # the row's last word
            row_end.eq((chunk[1:] == word.chunks[1:]) & (self.pool | in_chunk)),
        ]
        # What is asked with a byte is a register: there is at most one in two cycles.
        last_chunk, walk_end, op_end, whole, upper_pad = (
            Signal(name=n, reset_less=True)
            for n in ("last_chunk", "walk_end", "op_end", "whole", "upper_pad")
        )
        pad, first, target = (
            Signal(shape, name=n, reset_less=True)
            for n, shape in (("padded", 1), ("first_column", 1), ("target", lanes))
        )
        here = Signal(range(pixels), reset_less=True)
        base = Signal(range(self.plan.bank_words))  # a later bank's may be wider than base0
        walk_ends, column, bank_base = Signal(), Signal.like(here), word.base0
        for b in range(1, lanes):
            bank_base = Mux(bank == b, word[f"base{b}"], bank_base)
        valid = ~(in_group & (bank > word.last_lane) & (word.target == Target.SHARED))
        m.d.comb += [
            walk_ends.eq(put.last & (bank == lanes - 1)),
            column.eq(place + Mux(self.pool & chunk[0], half, 0)),
        ]
        m.d.sync += [
            last_chunk.eq(in_chunk),
            walk_end.eq(walk_ends),
            op_end.eq(walk_ends & in_chunk & in_group),
            whole.eq(~self.pool | chunk[0] | in_chunk),
            here.eq(column),
            pad.eq(row_end & (column >= word.tail)),
            upper_pad.eq(self.pool & in_chunk & ~chunk[0]),
            first.eq((chunk == 0) & put.first),
            base.eq(bank_base),
            *[target[b].eq(valid & (Mux(concat, channel_bank, bank) == b)) for b in range(lanes)],
        ]
        done = Signal()
        m.d.comb += [
            self.pad.eq(pad),
            self.bank.eq(bank),
            self.first.eq(first),
            self.last.eq(put.lane_end & last_chunk),
            self.take.eq(self.written & op_end),
            done.eq(self.written & walk_end),
        ]
        padding = Cat(C(0, 7), word.pad)
        m.d.sync += [
            self.write_low.eq(Mux(self.pad, padding, self.byte)),
            self.write_high.eq(Mux(self.pad | upper_pad, padding, self.byte)),
            self.write_address.eq(base + offset),
            self.write_mask.eq((1 << here) | Mux(upper_pad, 1 << (here + half), 0)),
            self.write_en.eq(Mux(self.written, target, 0)),
        ]
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
    byte : In(signed(8))
        A cycle after `counts`.
    pooled : Out(Pooled(state_channels, n))
        A channel of the state, pooled over its columns.
    state_done : Out(1)
        With a row group's last pooled channel.
    """

    def __init__(self, plan: Plan):
        engine, model = plan.engine, plan.model
        # channels whose columns are there at once: chunks of all lanes' go on in turn
        self.pool = StatePool(
            channels=engine.lanes if plan.geometry.state_words > 1 else 1, columns=model.n
        )
        self.channels = model.state_channels
        super().__init__(
            {
                "begin": In(1),
                **dict.fromkeys(("counts", "first", "pad", "last"), In(1)),
                "bank": In(range(engine.lanes)),
                "byte": In(signed(8)),
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
            m.d.comb += [pool.bytes[i].eq(self.byte), pool.load[i].eq(counted & here)]
            if i:
                with m.If(told == i):
                    m.d.comb += [
                        pooled.sum.eq(pool.sums[i]),
                        pooled.max.eq(pool.maxima[i]),
                    ]
        return m


class SerialStore(wiring.Component):
    """Follows the transfers through the `back` words of the row program.

    A walk's sums leave lane after lane. Three places have counters of their own, some cycles apart:
    the head of the drain, the operand bytes that are read beside the stream, and the bytes that are
    written. They share the operation's word, so that an operation's last byte is written before the
    next one's first transfer. A cycle after a new word is `settled`, what is asked of it everywhere
    is `known` as registers: long before the first transfer.

    Ports
    -----
    ending : In(1)
        Two cycles before `transfer`.
    transfer : In(1)
        A walk's sums move to the drain registers.
    shift : Out(1)
        The drain registers move by one (SerialArray).
    at : Out(unit_gated + 1)
        Bit i is set i cycles after the first `low` of a value (SerialUnit).
    pool : Out(1), function : Out(Function)
        Of the operation: sums go in pairs; what becomes of them.
    bias : Out(signed(acc_bits)), multiplier : Out(8), scale : Out(4)
        The sum's constants, as SerialUnit takes them (`scale`: its `shift`).
    a, b : Out(8)
        The value's operand bytes, with bit `gate_at` of `at`.
    first_group : In(1)
        The walk sequencer is in a frame's first row group (H reads as zero).
    ask : Out(1), ask_bank : Out(range(L)), ask_address : Out(range(bank_words))
        A read of the maps, wanted in this cycle.
    granted : In(1)
        It has the bank.
    words : In(8 * P), an array of L
        The banks' words, a cycle after `granted`.
    byte : In(8), written : In(1)
        A value's byte is there.
    write_en : Out(L), write_address : Out(range(bank_words)), write_mask : Out(P)
        Bytes of that word of these banks are written, a cycle after `written`.
    write_low, write_high : Out(8)
        A byte for the lower and one for the upper half of the word.
    write_op : Out(range(operations))
        The operation, for monitors.
    pooled : Out(Pooled(state_channels, n))
        A channel of the state, pooled over its columns.
    state_done : Out(1)
        With a row group's last pooled channel.
    load : Out(write_port(3 * constants, 16))
        Of the constant memory, words of `constant_words`.
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        self.constants = SerialConstants(plan, constants)
        self.operands, self.writer = SerialOperands(plan), SerialWriter(plan)
        self.pooling = SerialPool(plan)
        writes = [f"write_{name}" for name in ("en", "address", "mask", "low", "high")]
        self._same = {  # ports that are a part's own
            self.constants: ["bias", "multiplier", "scale"],
            self.operands: ["ask", "ask_bank", "ask_address", "granted", "words", "a", "b"],
            self.writer: ["byte", "written", *writes],
            self.pooling: ["state_done"],
        }
        members = {
            name: part.signature.members[name]
            for part, names in self._same.items()
            for name in names
        }
        super().__init__(
            {
                "ending": In(1),
                "transfer": In(1),
                "shift": Out(1),
                "at": Out(SERIAL.unit_gated + 1),
                "pool": Out(1),
                "function": Out(Function),
                "first_group": In(1),
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
        # in LUTs, before the registers of what is asked everywhere
        fetch = WordFetch(m, self.plan, "back", registered=False, in_logic=True)
        word = fetch.word
        settled, known, first = Signal(), Signal(), Signal()
        blend, plain, turned = (Signal(name=n) for n in ("blend", "plain", "turned"))
        m.d.comb += fetch.take.eq(writer.take)
        m.d.sync += [
            settled.eq(fetch.moved),
            known.eq(settled),
            blend.eq(
                one_of(word.function, functions(lambda means: means.operands > 1, SERIAL_FUNCTIONS))
            ),
            plain.eq(
                one_of(word.function, functions(lambda means: not means.gated, SERIAL_FUNCTIONS))
            ),
            turned.eq(word.turned),
            self.pool.eq(word.pool),
            self.function.eq(word.function),
            self.write_op.eq(fetch.index),
        ]
        with m.If(settled):
            m.d.sync += first.eq(self.first_group)
        facts = {
            "word": word,
            "settled": settled,
            "known": known,
            "blend": blend,
            "turned": turned,
            "pool": self.pool,
        }
        for part in (operands, writer):
            m.d.comb += [getattr(part, name).eq(value) for name, value in facts.items()]
        self._drain(m, facts, plain)
        wiring.connect(m, wiring.flipped(self.load), constants.load)
        wiring.connect(m, pooling.pooled, wiring.flipped(self.pooled))
        m.d.comb += [
            operands.first_group.eq(first),
            operands.at.eq(self.at),
            pooling.begin.eq(settled),
            pooling.counts.eq(self.written & blend),
            *[getattr(pooling, n).eq(getattr(writer, n)) for n in ("bank", "first", "pad", "last")],
            pooling.byte.eq(writer.write_low.as_signed()),
        ]
        for part, names in self._same.items():
            for name in names:
                inner, outer = getattr(part, name), getattr(self, name)
                inward = part.signature.members[name].flow is In
                m.d.comb += inner.eq(outer) if inward else outer.eq(inner)
        return m

    def _drain(self, m, facts, plain):
        """The sums at the head of the drain, and their constants."""
        t, lanes, blend, constants = (
            SERIAL,
            self.plan.engine.lanes,
            facts["blend"],
            self.constants,
        )
        m.submodules.drain = drain = ValueCounter(pixels=self.plan.engine.pixels, lanes=lanes)
        running, beat, last_beat = Signal(), Signal(2), Signal()
        m.d.comb += [
            last_beat.eq(running & (beat == Mux(blend, BLEND - 1, BYTES - 1))),
            drain.go.eq(last_beat),
            *[getattr(drain, n).eq(facts[n]) for n in ("known", "turned", "pool")],
        ]
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
        # the next lane's first sum comes in four cycles
        lane_ends = at[0] & Mux(blend, drain.last, drain.before_last) & (drain.lane != lanes - 1)
        m.d.comb += [
            self.shift.eq(running & (self.pool | last_beat)),
            self.at.eq(Cat(*at)),
            constants.settled.eq(facts["settled"]),
            constants.base.eq(facts["word"].constant),
            constants.chunks.eq(facts["word"].chunks),
            constants.go.eq(self.ending | delay(m, lane_ends, 1, "lane_ends")),
        ]
