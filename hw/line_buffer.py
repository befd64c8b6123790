"""Camera line buffer: five rows of pixels, and the camera's side of the engine."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay
from hw.interfaces import Status
from hw.plan import Plan
from hw.plan.latency import PARALLEL


class LineBuffer(wiring.Component):
    """Packs pixels into words and keeps the five rows of a row group; the camera never waits.

    Row r of every row group lives in slot r: it is overwritten by the same row of the next group,
    as soon as the engine has `released` it. A pixel p is stored as p - 127 - (p >= 128)
    (golden.line_buffer.to_signed). Rows below the last whole group are dropped.

    A frame begins with a pixel marked `sof`. It is accepted unless one is already waiting for the
    engine; else it is counted (`dropped`) and ignored. A frame that goes wrong ends at once, with
    one `fault` (its status and a count) in the next cycle, and pixels are ignored until the next
    `sof`. Pixels may come in every cycle; only where a row's last word has fewer pixels than there
    are colours, the colours of two words need three cycles to leave, and a camera that does not
    give them overruns.

    Bit-exact model: golden.line_buffer.

    Ports
    -----
    pixel_valid, red, green, blue, sof, eol : in, a pixel; one channel: `red`
    frame_end : in, the camera says that the frame is over
    enable : in, frames may be accepted
    busy : in, the engine works on a frame; released : in, rows of it that it no longer needs
    take : in, the engine begins the waiting frame; what goes wrong in the same cycle is its own
    stop : in, the engine needs no more rows of the frame that it works on
    done : in, the engine has finished its frame
    waiting : out, a frame waits for the engine
    current : out, the frame being received is the one that the engine works on
    rows : out, complete rows of the frame being received, readable
    fault, status : out, a frame ended badly; fault_current : out, it was the engine's
    counts : out, per Status (0: dropped frames), 16 bits, saturating, a cycle after the fault
    read_en : in, banks that are read; read_address : in, an address per bank, both one cycle
        before the address registers; words : out, `PARALLEL.memory` after them
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        lanes, word = plan.geometry.head_lanes, 8 * plan.engine.pixels
        self.compact = plan.engine.compact
        self.depth = plan.line_buffer_words
        if self.compact:  # the last word is never written: zeros
            self.depth = 1 << self.depth.bit_length()
        self.frame_rows = 5 * plan.model.row_groups
        address = Signal(range(self.depth)).shape()
        rows = Signal(range(self.frame_rows + 1)).shape()
        super().__init__(
            {
                "pixel_valid": In(1),
                "red": In(8),
                "green": In(8),
                "blue": In(8),
                "sof": In(1),
                "eol": In(1),
                "frame_end": In(1),
                "enable": In(1),
                "busy": In(1),
                "released": In(rows),
                "take": In(1),
                "stop": In(1),
                "done": In(1),
                "waiting": Out(1),
                "current": Out(1),
                "receiving": Out(1),
                "rows": Out(rows),
                "fault": Out(1),
                "status": Out(Status),
                "fault_current": Out(1),
                "counts": Out(data.ArrayLayout(16, len(Status))),
                "read_en": In(lanes, init=(1 << lanes) - 1),
                "read_address": In(data.ArrayLayout(address, lanes)),
                "words": Out(data.ArrayLayout(word, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan = self.plan
        pixels, lanes = plan.engine.pixels, plan.geometry.head_lanes
        channels, width = plan.model.in_channels, plan.model.image_width
        row_words = plan.geometry.groups(width)
        frame_rows = self.frame_rows

        # Stage 1: registered pixel
        starting, inner, eol, end = (
            Signal(name=f"in_{n}") for n in ("starting", "inner", "eol", "end")
        )
        m.d.sync += [
            starting.eq(self.pixel_valid & self.sof),
            inner.eq(self.pixel_valid & ~self.sof),
            eol.eq(self.eol),
            end.eq(self.frame_end),
        ]
        colours = []
        for name in ("red", "green", "blue")[:channels]:
            raw = getattr(self, name)
            byte = Signal(8, name=f"in_{name}", reset_less=True)
            if self.compact:
                m.d.sync += byte.eq(raw)
            else:
                m.d.sync += byte.eq(Mux(raw[7], raw[:7], Cat(raw[:7], 1) + 1))
            colours.append(byte)

        # the frame
        # A fault is many gates behind the pixel: it is a register, which hides what it ends.
        open_, held = Signal(), Signal()  # as if nothing had gone wrong in the cycle before
        failed, lost = Signal(), Signal()
        opened = self.receiving
        m.d.comb += [opened.eq(open_ & ~failed), self.waiting.eq(held & ~lost)]
        column, at_end = Signal(range(width)), Signal()  # the pixel's, and it is the last one
        position = Signal(pixels, init=1)  # one-hot place in the word
        group = Signal(range(row_words))  # word of the row within its bank
        bank = Signal(lanes, init=1)
        received = Signal(range(frame_rows + 1))
        slot, slot_base = Signal(range(5)), Signal(range(max(1, self.depth)))
        here, last_column, word_end, word_done, row_done = (
            Signal(name=n) for n in ("here", "last_column", "word_end", "word_done", "row_done")
        )
        going, wrong_end, late, row_ends = (
            Signal(name=n) for n in ("going", "wrong_end", "late", "row_ends")
        )
        restart, accept, line_fault, overrun, truncated = (
            Signal(name=n) for n in ("restart", "accept", "line_fault", "overrun", "truncated")
        )
        allowed, writing, whole = Signal(), Signal(), Signal()
        m.d.comb += [
            restart.eq(starting & opened),
            accept.eq(starting & self.enable & (~self.waiting | opened)),
            going.eq(inner & opened),
            here.eq(going | accept),
            last_column.eq(at_end & ~starting if width > 1 else 1),
            wrong_end.eq(eol != last_column),
            late.eq(~allowed | writing),
            line_fault.eq(here & wrong_end),
            word_done.eq(here & ~wrong_end & word_end),
            overrun.eq((here if self.compact else word_done) & late),
            row_ends.eq(~wrong_end & last_column & ~late),
            row_done.eq(here & row_ends),
            whole.eq(going & row_ends & (received == frame_rows - 1)),
            truncated.eq(end & opened & ~starting & ~whole),
        ]
        # A row's last word may have fewer pixels than there are colours: at a pixel a cycle its
        # colours would meet those of the word before at the write port.
        if self.compact:
            # where the word of the first colour is; over the other colours' at the end of a row
            pointer = Signal(range(self.depth))
            with m.If(word_done):
                m.d.sync += pointer.eq(
                    pointer + Mux(last_column, 1 + (channels - 1) * row_words, 1)
                )
                with m.If(last_column & (slot == 4)):
                    m.d.sync += pointer.eq(0)
            with m.If(starting & accept):
                m.d.sync += pointer.eq(0)
            # a pixel's colours are written one after the other, and `allowed` is a cycle late
            before = [starting | inner]
            for i in range(max(2, channels) - 1):
                before.append(delay(m, before[-1], 1, f"before{i}"))
            m.d.comb += writing.eq(Cat(*before[1:]).any())
        elif 0 < width % pixels < channels:
            once = delay(m, word_done, 1, "word_done")
            m.d.comb += writing.eq(once | delay(m, once, 1, "word_done_long") & (channels == 3))
        # looked at when a word is complete; a row begins some pixels earlier
        with m.If(self.current):
            m.d.sync += allowed.eq(received < self.released + 5)
        with m.Elif(self.busy & ~(self.fault & self.fault_current)):
            m.d.sync += allowed.eq(received + (frame_rows - 5) < self.released)
        with m.Else():
            m.d.sync += allowed.eq(received < 5)
        if self.compact:
            # a frame's first pixel is written at once, before `received` speaks of its frame: row 0
            # goes where the engine has left row 0 of its last group, or is leaving the frame
            with m.If(self.sof):
                m.d.sync += allowed.eq(
                    ~self.busy | (self.current & opened) | (self.released > frame_rows - 5)
                )

        bad = Signal()
        m.d.comb += bad.eq(line_fault | overrun | truncated)
        # in a frame's first pixel `current` still speaks of the frame before
        m.d.sync += [
            failed.eq(bad),
            lost.eq(bad & (~self.current | starting)),
            self.fault.eq(restart | bad),
            self.fault_current.eq((self.current | self.take) & (restart | ~starting)),
        ]
        with m.If(restart):
            m.d.sync += self.status.eq(Status.RESTART)
        with m.Elif(overrun):
            m.d.sync += self.status.eq(Status.OVERRUN)
        with m.Elif(line_fault):
            m.d.sync += self.status.eq(Status.LINE)
        with m.Else():
            m.d.sync += self.status.eq(Status.TRUNCATED)

        # A pixel's place is counted whether it belongs to a frame or not: each `sof` begins anew.
        m.d.comb += word_end.eq(last_column | (position[-1] & ~starting))
        with m.If(starting | inner):
            m.d.sync += [
                column.eq(Mux(starting, 1, column + 1)),
                at_end.eq(Mux(starting, width == 2, column == width - 2)),
                position.eq(Mux(starting, 2, position.rotate_left(1))),
            ]
            with m.If(word_end):
                m.d.sync += [position.eq(1), bank.eq(bank.rotate_left(1))]
                with m.If(bank[-1]):
                    m.d.sync += group.eq(group + 1)
            with m.If(last_column):
                m.d.sync += [column.eq(0), at_end.eq(width == 1)]
            with m.If(last_column | starting):
                m.d.sync += [group.eq(0), bank.eq(1)]
        with m.If(row_done):
            m.d.sync += received.eq(received + 1)
            with m.If(slot == 4):
                m.d.sync += [slot.eq(0), slot_base.eq(0)]
            with m.Else():
                m.d.sync += [slot.eq(slot + 1), slot_base.eq(slot_base + channels * row_words)]
            with m.If(received == frame_rows - 1):
                m.d.sync += open_.eq(0)
        with m.If(failed):
            m.d.sync += open_.eq(0)
        with m.If(lost):
            m.d.sync += held.eq(0)
        with m.If(self.done):
            m.d.sync += self.current.eq(0)
        with m.If(self.take):
            m.d.sync += [held.eq(0), self.current.eq(1)]
        with m.If(starting):
            m.d.sync += open_.eq(accept)
            with m.If(accept):
                m.d.sync += [
                    held.eq(1),
                    self.current.eq(0),
                    received.eq(0),
                    slot.eq(0),
                    slot_base.eq(0),
                ]
        with m.If(restart & ~accept):
            m.d.sync += held.eq(0)
        with m.If(self.stop & self.current & ~starting):
            m.d.sync += open_.eq(0)

        for status in Status:
            counted = {
                Status.OK: starting & ~accept,
                Status.RESTART: restart,
                Status.OVERRUN: overrun,
                Status.LINE: line_fault & ~overrun,
                Status.TRUNCATED: truncated & ~line_fault & ~overrun,
            }[status]
            count, more = self.counts[int(status)], Signal(name=f"count_{status.name.lower()}")
            m.d.sync += more.eq(counted)
            with m.If(more & (count != 0xFFFF)):
                m.d.sync += count.eq(count + 1)

        if self.compact:
            self._write_bytes(
                m,
                here & ~overrun,
                colours,
                Mux(starting, 1, position),
                Mux(starting, 0, pointer),
                row_words,
            )
        # rows count once their last word is readable
        written = delay(m, row_done, channels + 2, "written")
        with m.If(starting & accept):
            m.d.sync += self.rows.eq(0)
        with m.Elif(written & (self.rows != received)):
            m.d.sync += self.rows.eq(self.rows + 1)

        if self.compact:
            return m
        # Stages 2..: colour c is c cycles late, so that one word leaves a cycle
        write_en, write_bank = Signal(), Signal(lanes)
        write_address, write_word = Signal(range(self.depth)), Signal(8 * pixels)
        place = Signal(pixels)
        m.d.comb += [
            place.eq(Mux(starting, 1, position)),
            write_bank.eq(0),
            write_address.eq(0),
            write_word.eq(0),
        ]
        start_bank, start_address = Signal(lanes), Signal.like(write_address)
        m.d.comb += [
            start_bank.eq(Mux(starting, 1, bank)),
            start_address.eq(Mux(starting, 0, slot_base + group)),
        ]
        done = word_done & ~overrun
        at_bank, at_address = start_bank, start_address
        for c, byte in enumerate(colours):
            place = delay(m, place, 1 if c else 0, f"place{c}", reset_less=True)
            byte = delay(m, byte, c, f"late{c}", reset_less=True)
            word = Signal(8 * pixels, name=f"packed{c}", reset_less=True)
            # what is there while no pixel comes is overwritten by the one that comes
            for i in range(pixels):
                with m.If(place[i]):
                    m.d.sync += word[8 * i : 8 * i + 8].eq(byte)
                with m.Elif(place[0]):
                    m.d.sync += word[8 * i : 8 * i + 8].eq(0)
            done = delay(m, done, 1, f"done{c}")
            at_bank = delay(m, at_bank, 1, f"bank{c}", reset_less=True)
            at_address = delay(m, at_address, 1, f"address{c}", reset_less=True)
            with m.If(done):
                m.d.comb += [
                    write_en.eq(1),
                    write_bank.eq(at_bank),
                    write_address.eq(at_address + c * row_words),
                    write_word.eq(word),
                ]

        for b in range(lanes):
            memory = m.submodules[f"bank{b}"] = Memory(
                shape=8 * pixels, depth=self.depth, init=[], attrs=NO_COLLISION
            )
            write, read = memory.write_port(), memory.read_port()
            address = Signal(range(self.depth), name=f"read_address{b}", reset_less=True)
            enable = Signal(name=f"read_enable{b}", init=1)
            output = Signal(8 * pixels, name=f"word{b}", reset_less=True)
            m.d.sync += [
                address.eq(self.read_address[b]),
                enable.eq(self.read_en[b]),
                output.eq(read.data),
            ]
            m.d.comb += [
                read.addr.eq(address),
                read.en.eq(enable),
                self.words[b].eq(output),
                write.en.eq(write_en & write_bank[b]),
                write.addr.eq(write_address),
                write.data.eq(write_word),
            ]
        assert PARALLEL.memory == 2
        return m

    def _write_bytes(self, m, go, raw, place, address, row_words):
        """Compact: each colour's byte goes to its place at once, one colour a cycle.

        `raw`: bytes of the pixel that came a cycle ago, as the camera sends them.
        """
        pixels = self.plan.engine.pixels
        memory = m.submodules.bank = Memory(
            shape=data.ArrayLayout(8, pixels), depth=self.depth, init=[], attrs=NO_COLLISION
        )
        write, read = memory.write_port(granularity=1), memory.read_port()
        m.d.comb += [
            read.addr.eq(self.read_address[0]),
            read.en.eq(self.read_en[0]),
            self.words[0].eq(Cat(*read.data)),
        ]
        left = Signal(range(len(raw) + 1))
        held_place = Signal(pixels, reset_less=True)
        held_address = Signal(range(self.depth), reset_less=True)
        bytes_ = [Signal(8, name=f"byte{c}", reset_less=True) for c in range(len(raw))]
        m.d.sync += held_address.eq(held_address + row_words)
        for now, then in zip(bytes_, bytes_[1:], strict=False):
            m.d.sync += now.eq(then)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(go):
            m.d.sync += [left.eq(len(raw)), held_place.eq(place), held_address.eq(address)]
            m.d.sync += [now.eq(colour) for now, colour in zip(bytes_, raw, strict=True)]
        byte = bytes_[0]
        m.d.comb += [
            write.en.eq(Mux(left != 0, held_place, 0)),
            write.addr.eq(held_address),
            *[d.eq(Mux(byte[7], byte[:7], Cat(byte[:7], 1) + 1)) for d in write.data],
        ]
