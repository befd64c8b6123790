"""The serial engine's banks, and the windows that bring P pixels before its multipliers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay, own_singles
from hw.plan import Plan, Source
from hw.sequencer import step_layout


class SerialWindow(wiring.Component):
    """Maps and state in L banks, written byte by byte; one window of P bytes per lane.

    A window is a shift register: a three-tap row loads word i with the byte left of it before its
    first pixel, and moves by a byte for the second and the third tap::

        left byte | word i (without its last byte)   ►   word i   ►   word i + 1's first byte ...

    A word of a one-tap row is loaded in the same way, its last byte before the first: a bit of the
    window has one source to load from, and multiplier p has pixel p - 1 (`turned` in the row
    program's back word). In head mode, whose pixels are pooled in pairs, it is loaded as it is.

    Lane l reads bank l, or the line buffer, or (shared mode) the bank of the input channel. What a
    lane does not take in this cycle is zero: the line buffer then reads a word that is always 0.
    A bank that the array leaves alone is there for an operand, then for the host.

    Ports
    -----
    step, later1, later2 : In(step_layout(plan))
        A step; the same one and two cycles later.
    first_group : In(1), with `step`
        It belongs to a frame's first row group.
    camera_address : Out(range(line buffer's words)), all ones: a word of zeros
    camera_word : In(8 * P)
        A cycle later.
    operands : Out(8 * P), an array of L
        `transfer` less three cycles after the step.
    ask : In(1), ask_bank : In(range(L)), ask_address : In(range(bank_words))
        A read wanted in this cycle.
    granted : Out(1)
        It has the bank.
    host_en : In(1), host_bank : In(range(L)), host_address : In(range(bank_words))
        A read that comes last.
    host_done : Out(1)
        It has the bank.
    words : Out(8 * P), an array of L
        The banks' words, a cycle after the address.
    write_en : In(L), write_address : In(range(bank_words)), write_mask : In(P)
        Bytes of that word of these banks are written.
    write_low, write_high : In(8)
        A byte for the lower and one for the upper half of the word.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.one_tap = own_singles(plan)
        lanes, pixels = plan.engine.lanes, plan.engine.pixels
        word, address = 8 * pixels, range(plan.bank_words)
        super().__init__(
            {
                "step": In(step_layout(plan)),
                "later1": In(step_layout(plan)),
                "later2": In(step_layout(plan)),
                "first_group": In(1),
                "camera_address": Out(plan.line_buffer_words.bit_length()),
                "camera_word": In(word),
                "operands": Out(data.ArrayLayout(word, lanes)),
                "ask": In(1),
                "ask_bank": In(range(lanes)),
                "ask_address": In(address),
                "granted": Out(1),
                "host_en": In(1),
                "host_bank": In(range(lanes)),
                "host_address": In(address),
                "host_done": Out(1),
                "words": Out(data.ArrayLayout(word, lanes)),
                "write_en": In(lanes),
                "write_address": In(address),
                "write_mask": In(pixels),
                "write_low": In(8),
                "write_high": In(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beside, reads = self._addresses(m)
        words, taking = self._banks(m, beside, reads)
        self._windows(m, beside, words, taking)
        return m

    def _addresses(self, m):
        """Stage 0: what a step reads; a one-tap step a cycle later."""
        step, later = self.step, self.later1
        row = Signal(len(step.address))
        beside, three, one, by_head, one_own = (
            Signal(name=n) for n in ("beside", "three", "one", "by_head", "one_own")
        )
        m.d.comb += [
            row.eq(step.address + Mux(step.phase == 2, 1, 0) - Mux(step.phase == 0, 1, 0)),
            beside.eq(
                ((step.phase == 0) & step.first_chunk) | ((step.phase == 2) & step.last_chunk)
            ),
            three.eq(step.valid & ~step.one_tap & (step.source == Source.SHARED)),
            by_head.eq(step.valid & (step.source == Source.HEAD)),
            one.eq(later.valid & later.one_tap),
            one_own.eq(0),
            self.camera_address.eq(
                Mux(step.valid & (step.source == Source.CAMERA) & ~beside, row, ~0)
            ),
        ]
        if self.one_tap:
            m.d.comb += [
                by_head.eq(step.valid & (step.source == Source.HEAD) & ~step.one_tap),
                one.eq(later.valid & later.one_tap & (later.source == Source.SHARED)),
                one_own.eq(later.valid & later.one_tap & (later.source == Source.HEAD)),
            ]
            with m.If(step.one_tap):
                m.d.comb += self.camera_address.eq(~0)
            with m.If(later.valid & later.one_tap & (later.source == Source.CAMERA)):
                m.d.comb += self.camera_address.eq(later.address)
        return beside, (row, three, one, by_head, one_own)

    def _banks(self, m, beside, reads):
        """The banks' words, and of each lane those that it takes, a bit each."""
        row, three, one, by_head, one_own = reads
        lanes, pixels = self.plan.engine.lanes, self.plan.engine.pixels
        step, later = self.step, self.later1
        zero = delay(m, self.first_group & step.state, 1, "zero", reset_less=True)
        takes = Signal(data.ArrayLayout(lanes, lanes))
        taking = Signal.like(takes, reset_less=True)
        m.d.sync += taking.eq(takes)
        words, host_done = [], 0
        for b in range(lanes):
            memory = m.submodules[f"bank{b}"] = Memory(
                shape=data.ArrayLayout(8, pixels),
                depth=self.plan.bank_words,
                init=[],
                attrs=NO_COLLISION,
            )
            write, read = memory.write_port(granularity=1), memory.read_port()
            by_one, by_three, reading, asked, hosted = (
                Signal(name=f"{n}{b}") for n in ("by_one", "by_three", "reading", "asked", "hosted")
            )
            m.d.comb += [
                by_one.eq((one & later.bank[b]) | one_own),
                by_three.eq(((three & step.bank[b]) | by_head) & ~beside),
                reading.eq(by_one | by_three),
                asked.eq(self.ask & (self.ask_bank == b) & ~reading),
                hosted.eq(self.host_en & (self.host_bank == b) & ~reading & ~asked),
                read.addr.eq(Mux(by_one, later.address, Mux(by_three, row, self.ask_address))),
                write.en.eq(Mux(self.write_en[b], self.write_mask, 0)),
                write.addr.eq(self.write_address),
                *[
                    write.data[i].eq(self.write_low if 2 * i < pixels else self.write_high)
                    for i in range(pixels)
                ],
            ]
            with m.If(hosted):
                m.d.comb += read.addr.eq(self.host_address)
            with m.If(asked):
                m.d.comb += self.granted.eq(1)
            host_done = host_done | hosted
            for lane in range(lanes):
                m.d.comb += takes[lane][b].eq(
                    (by_one & ~zero & (1 if lane == b else ~one_own))
                    | (by_three & (1 if lane == b else three))
                )
            word = Signal(8 * pixels, name=f"word{b}")
            m.d.comb += [word.eq(Cat(*read.data)), self.words[b].eq(word)]
            words.append(word)
        m.d.comb += self.host_done.eq(host_done)
        return words, taking

    def _windows(self, m, beside, words, taking):
        """Stage 1: windows."""
        later1, later2, step = self.later1, self.later2, self.step
        width = 8 * self.plan.engine.pixels
        edge_pad = delay(m, step.pad & beside, 1, "edge_pad", reset_less=True)
        row_load, one_load, is_right = (
            Signal(name=n) for n in ("row_load", "one_load", "is_right")
        )
        m.d.comb += [
            row_load.eq(later1.valid & ~later1.one_tap & (later1.phase == 1)),
            is_right.eq(later1.phase == 2),
            one_load.eq(later2.valid & later2.one_tap),
        ]
        for lane in range(self.plan.engine.lanes):
            from_bank, arrived = (Signal(width, name=f"{n}{lane}") for n in ("from", "here"))
            chosen = 0
            for b, word in enumerate(words):
                chosen = chosen | Mux(taking[lane][b], word, 0)
            m.d.comb += [from_bank.eq(chosen), arrived.eq(from_bank | self.camera_word)]
            # the byte left of a row's word, then the word's last byte, then the one right of it
            side = Signal(8, name=f"beside{lane}", reset_less=True)
            window = Signal(width, name=f"window{lane}", reset_less=True)
            last = arrived[width - 8 :]
            m.d.sync += side.eq(Mux(is_right, arrived[:8], last) | (edge_pad << 7))
            # when a one-tap word arrives the line buffer reads zeros
            loaded = Cat(Mux(one_load, from_bank[width - 8 :], side), arrived[: width - 8])
            m.d.sync += window.eq(Mux(one_load | row_load, loaded, Cat(window[8:], side)))
            if self.one_tap:
                with m.If(one_load & (later2.source != Source.SHARED)):
                    m.d.sync += window.eq(arrived)
            m.d.comb += self.operands[lane].eq(window)
