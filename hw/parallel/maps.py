"""State SRAM: maps and state in L banks of P-byte words, one read and one write port each."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay, read_word
from hw.plan import Plan


class Maps(wiring.Component):
    """Banks and their read arbitration: the array first, then operands, then the host.

    The array never waits. An operand read asks for one address in all banks and gets each bank in
    the first cycle in which the array leaves it alone. A host read (`host_*`) asks for one bank and
    comes last.

    Ports
    -----
    read_en : In(L)
        Banks that the array reads, one cycle before the address registers.
    read_address : In(range(bank_words)), an array of L
        Likewise, an address for each bank.
    words : Out(8 * P), an array of L
        `latency.memory` cycles after the address registers.
    operand_en : In(1), operand_address : In(range(bank_words))
        An operand read is wanted (held until `operand_done`).
    operand_done : Out(1)
        The last bank is granted in this cycle.
    operand_valid : Out(L)
        `words` of these banks are the answer to an operand read.
    host_en : In(1), host_bank : In(range(L)), host_address : In(range(bank_words))
        A host read is wanted (held until `host_done`).
    host_done : Out(1)
        It is granted.
    host_valid : Out(L)
        The word among `words` that is the answer.
    write_en : In(L)
        Banks that are written.
    write_address : In(range(bank_words)), with `write_en`
        In all of them.
    write_data : In(8 * P), an array of L
        A word for each bank.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        lanes, word = plan.engine.lanes, 8 * plan.engine.pixels
        self.depth = plan.bank_words
        address = range(self.depth)
        super().__init__(
            {
                "read_en": In(lanes),
                "read_address": In(data.ArrayLayout(Signal(address).shape(), lanes)),
                "words": Out(data.ArrayLayout(word, lanes)),
                "operand_en": In(1),
                "operand_address": In(address),
                "operand_done": Out(1),
                "operand_valid": Out(lanes),
                "host_en": In(1),
                "host_bank": In(range(lanes)),
                "host_address": In(address),
                "host_done": Out(1),
                "host_valid": Out(lanes),
                "write_en": In(lanes),
                "write_address": In(address),
                "write_data": In(data.ArrayLayout(word, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, word = self.plan.engine.lanes, 8 * self.plan.engine.pixels
        granted, waiting = Signal(lanes), Signal(lanes)  # operand banks: now, and done before
        all_banks = (1 << lanes) - 1
        done = Signal(lanes)
        host = Signal(lanes)
        m.d.comb += [
            granted.eq(Mux(self.operand_en, ~waiting & ~self.read_en, 0)),
            done.eq(waiting | granted),
            self.operand_done.eq(self.operand_en & (done == all_banks)),
            host.eq(Mux(self.host_en, (1 << self.host_bank)[:lanes], 0) & ~self.read_en & ~granted),
            self.host_done.eq(host != 0),
        ]
        m.d.sync += waiting.eq(Mux(self.operand_done, 0, done))
        with m.If(~self.operand_en):
            m.d.sync += waiting.eq(0)
        # address register, memory, and an output register where there is one
        m.d.comb += [
            self.operand_valid.eq(delay(m, granted, 1 + self.plan.latency.memory, "granted")),
            self.host_valid.eq(delay(m, host, 1 + self.plan.latency.memory, "host")),
        ]
        for b in range(lanes):
            memory = m.submodules[f"bank{b}"] = Memory(
                shape=word, depth=self.depth, init=[], attrs=NO_COLLISION
            )
            write, read = memory.write_port(), memory.read_port()
            address = Signal(range(self.depth), name=f"address{b}", reset_less=True)
            enable = Signal(name=f"enable{b}")
            m.d.sync += enable.eq(self.read_en[b] | granted[b] | host[b])
            m.d.sync += address.eq(
                Mux(
                    self.read_en[b],
                    self.read_address[b],
                    Mux(granted[b], self.operand_address, self.host_address),
                )
            )
            m.d.comb += [
                read.addr.eq(address),
                read.en.eq(enable),
                self.words[b].eq(read_word(m, self.plan, read.data, f"word{b}")),
                write.en.eq(self.write_en[b]),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data[b]),
            ]
        return m
