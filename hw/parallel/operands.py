"""Operand sequencer: words that the gates take beside the stream of sums."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import choose
from hw.common import WordFetch, delay
from hw.plan import Plan


class Operands(wiring.Component):
    """Follows the transfers through the operand words of the row program, one walk ahead.

    A walk's operand words (H, U or C of its channels) come from the state SRAM, lane l from bank
    l, in cycles in which the array leaves the bank alone. Each unit has two registers, A and B:
    functions with one operand use them in turn, so that a fetch may go on beside a drain; BLEND has
    H in A and U in B, and MIX its weights V in A and P in B, which are fetched when the drain
    before has used them.

    Ports
    -----
    transfer : In(1)
        A walk's sums move to the drain registers.
    single : In(1), with `transfer`
        It takes one operand.
    a, b : Out(8), an array of units (unit k * L + l)
        An operand byte, ChannelUnit.operand_delay after the sum.
    values : Out(8 * P), an array of units
        Register A of each unit (weights of MIX).
    first_group : In(1)
        The walk sequencer is in a frame's first row group (H reads as zero).
    enable : Out(1), address : Out(range(bank_words))
        A read is wanted: Maps' operand_en, operand_address.
    done : In(1), valid : In(L)
        Maps' operand_done, operand_valid.
    words : In(8 * P), an array of L
        Maps' words.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        engine = plan.engine
        units, word = engine.units, 8 * engine.pixels
        super().__init__(
            {
                "transfer": In(1),
                "single": In(1),
                "a": Out(data.ArrayLayout(8, units)),
                "b": Out(data.ArrayLayout(8, units)),
                "values": Out(data.ArrayLayout(word, units)),
                "first_group": In(1),
                "enable": Out(1),
                "address": Out(range(plan.bank_words)),
                "done": In(1),
                "valid": In(engine.lanes),
                "words": In(data.ArrayLayout(word, engine.lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        fetch = WordFetch(m, self.plan, "operand")
        lead = self.plan.latency.operand_lead - self.plan.latency.operand_follow
        advance = delay(m, self.transfer, lead, "advance")
        offset, timer, begin = self._walks(m, fetch, advance)
        second, turn, k = self._fetch(m, fetch.word, advance, offset, timer, begin)
        registers = self._registers(m, fetch.word, second, turn, k)
        self._bytes(m, registers)
        return m

    def _walks(self, m, fetch, advance):
        """The walk whose operands come next: place of its words, cycles since it became the next,
        and how many of them go by before the first word is asked for."""
        plan, word = self.plan, fetch.word
        group, chunk = Signal.like(word.groups), Signal.like(word.chunks)
        last_chunk, last_walk, first_walk = Signal(), Signal(), Signal()
        holds = [f["hold"] for f in plan.fields["operand"]]
        longest = self.plan.latency.operand_follow + plan.engine.pixels + max(holds)
        timer = Signal(range(longest + 1))
        offset, group_offset = (
            Signal(range(plan.bank_words), name=n) for n in ("offset", "group_offset")
        )
        m.d.comb += [
            last_chunk.eq(chunk == word.chunks),
            last_walk.eq(last_chunk & (group == word.groups)),
            first_walk.eq((group == 0) & (chunk == 0)),
            fetch.take.eq(advance & last_walk),
        ]
        with m.If(timer != longest):
            m.d.sync += timer.eq(timer + 1)
        with m.If(advance):
            m.d.sync += [timer.eq(1), chunk.eq(chunk + 1), offset.eq(offset + 1)]
            with m.If(last_chunk):
                following = group_offset + plan.engine.channels * plan.geometry.state_words
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    group_offset.eq(following),
                    offset.eq(following),
                ]
            with m.If(last_walk):
                m.d.sync += [group.eq(0), group_offset.eq(0), offset.eq(0)]
        begin = self.plan.latency.operand_follow - 2 + Mux(first_walk, fetch.ahead.hold, 0)
        return offset, timer, begin

    def _fetch(self, m, word, advance, offset, timer, begin):
        """Asks for the walk's words: B's turn, the register of one operand, channel index."""
        channels, pixels = self.plan.engine.channels, self.plan.engine.pixels
        second, finished = Signal(), Signal(init=1)  # B's turn; all words asked for
        k = Signal(range(channels))
        k_offset = Signal(range(self.plan.bank_words))
        turn = Signal()  # functions with one operand: which register
        due_a, due_b, due = Signal(), Signal(), Signal()
        m.d.sync += [
            due_a.eq((timer >= begin) & ~advance),
            due_b.eq((timer >= begin + pixels) & ~advance),
        ]
        m.d.comb += [
            due.eq(Mux(word.both & (second | ~word.value), due_b, due_a)),
            self.enable.eq(word.fetch & due & ~finished),
            self.address.eq(Mux(second, word.b, word.a) + offset + k_offset),
        ]
        with m.If(self.done):
            m.d.sync += [k.eq(k + 1), k_offset.eq(k_offset + self.plan.geometry.state_words)]
            with m.If(k == channels - 1):
                m.d.sync += [k.eq(0), k_offset.eq(0), second.eq(1)]
                with m.If(~word.both | second):
                    m.d.sync += finished.eq(1)
                with m.If(~word.both):
                    m.d.sync += turn.eq(~turn)
        with m.If(advance):
            m.d.sync += [second.eq(0), finished.eq(0)]
        return second, turn, k

    def _registers(self, m, word, second, turn, k):
        """State SRAM -> registers A and B of each unit."""
        arrival = 1 + self.plan.latency.memory
        into = delay(m, Mux(word.both, second, turn), arrival, "into", reset_less=True)
        into_k = delay(m, k, arrival, "into_k", reset_less=True)
        state = delay(m, word.state & ~second, arrival, "state", reset_less=True)
        # the walk sequencer may be in the next frame when the last operands arrive
        late = self.plan.latency.transfer + self.plan.latency.operand + 3
        first_group = delay(m, self.first_group, late, "first_group", reset_less=True)
        units = []
        for u in range(self.plan.engine.units):
            this_k, lane = divmod(u, self.plan.engine.lanes)
            registers = []
            for r, name in enumerate("ab"):
                register = Signal(
                    8 * self.plan.engine.pixels, name=f"operand_{name}{u}", reset_less=True
                )
                with m.If(self.valid[lane] & (into == r) & (into_k == this_k)):
                    m.d.sync += register.eq(Mux(state & first_group, 0, self.words[lane]))
                registers.append(register)
            units.append(registers)
        return units

    def _bytes(self, m, units):
        """Registers -> bytes, position by position."""
        pixels, cells = self.plan.engine.pixels, self.plan.engine.cells
        start = delay(m, self.transfer, self.plan.latency.operand - 1, "start")
        single = delay(m, self.single, self.plan.latency.operand - 1, "single", reset_less=True)
        position, use_b, use_turn = Signal(range(pixels)), Signal(), Signal()
        with m.If(position != pixels - 1):
            m.d.sync += position.eq(position + 1)
        with m.If(start):
            m.d.sync += [
                position.eq(0),
                use_b.eq(single & use_turn),
                use_turn.eq(use_turn ^ single),
            ]
        from_b = delay(m, use_b, 1, "from_b", reset_less=True)
        for u, registers in enumerate(units):
            byte_a, byte_b = (Signal(8, name=f"byte_{n}{u}", reset_less=True) for n in "ab")
            for byte, register in zip((byte_a, byte_b), registers, strict=True):
                places = [register.word_select(i, 8) for i in range(pixels)]
                m.d.sync += byte.eq(choose(m, places, position, cells, f"chosen_{byte.name}"))
            m.d.comb += [
                self.a[u].eq(Mux(from_b, byte_b, byte_a)),
                self.b[u].eq(byte_b),
                self.values[u].eq(registers[0]),
            ]
