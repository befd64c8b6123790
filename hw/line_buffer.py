"""Camera line buffer: the rows of a row group, and the camera's side of the engine."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay, read_word
from hw.interfaces import CameraRead, Counters, LineControl, Pixels, Status
from hw.plan import Plan


class PixelPlaces(wiring.Component):
    """Column and word of each pixel, whether it belongs to a frame or not: each `sof` begins anew.

    Parameters
    ----------
    width : int
        Pixels of a line.
    pixels : int
        P, pixels of a word.
    banks : int
        Word i of a row lies in bank i mod banks.

    Ports
    -----
    starting, inner : In(1)
        A pixel is there, and it is marked `sof`, or not.
    last_column : Out(1)
        It is its line's last one.
    word_end : Out(1)
        ... or its word's.
    place : Out(P)
        Its place in the word, one-hot.
    bank : Out(banks)
        The word's bank, one-hot.
    group : Out(range(words))
        Index of the word in its bank's part of the row; of a starting pixel it is 0, whatever
        stands here.
    """

    def __init__(self, *, width: int, pixels: int, banks: int):
        self.width = width
        words = -(-width // pixels)
        super().__init__(
            {
                "starting": In(1),
                "inner": In(1),
                "last_column": Out(1),
                "word_end": Out(1),
                "place": Out(pixels),
                "bank": Out(banks),
                "group": Out(range(-(-words // banks))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width, starting = self.width, self.starting
        column, at_end = Signal(range(width)), Signal()  # the pixel's, and it is the last one
        position = Signal(len(self.place), init=1)  # one-hot place in the word
        bank = Signal(len(self.bank), init=1)
        m.d.comb += [
            self.last_column.eq(at_end & ~starting if width > 1 else 1),
            self.word_end.eq(self.last_column | (position[-1] & ~starting)),
            self.place.eq(Mux(starting, 1, position)),
            self.bank.eq(Mux(starting, 1, bank)),
        ]
        with m.If(starting | self.inner):
            m.d.sync += [
                column.eq(Mux(starting, 1, column + 1)),
                at_end.eq(Mux(starting, width == 2, column == width - 2)),
                position.eq(Mux(starting, 2, position.rotate_left(1))),
            ]
            with m.If(self.word_end):
                m.d.sync += [position.eq(1), bank.eq(bank.rotate_left(1))]
                with m.If(bank[-1]):
                    m.d.sync += self.group.eq(self.group + 1)
            with m.If(self.last_column):
                m.d.sync += [column.eq(0), at_end.eq(width == 1)]
            with m.If(self.last_column | starting):
                m.d.sync += [self.group.eq(0), bank.eq(1)]
        return m


class Receiver(wiring.Component):
    """Frames from the camera: which are accepted, and how they end.

    A frame begins with a pixel marked `sof`. It is accepted (`enable`) unless one is already
    waiting for the engine; else it is counted (`dropped`) and ignored. A frame that goes wrong ends
    at once, with one `fault` (its status and a count) in the next cycle, and pixels are ignored
    until the next `sof`. A first pixel that goes wrong inside another frame ends both: the fault of
    the frame before is told first, its own one a cycle later.

    Parameters
    ----------
    row_groups, rows : int
        Of a frame; k, of a row group.
    late_rows : int
        A row's last pixel -> the row is readable, less one cycle.
    bytewise : bool
        Pixels are written as they come: the first one's place must be free, not only its word's.

    Ports
    -----
    sof : In(1)
        Of the pixel on the wires, a cycle before `starting`.
    starting, inner, eol, end : In(1)
        As in PixelPlaces; with them, `eol` and `frame_end` of Pixels.
    last_column, word_end : In(1)
        As in PixelPlaces.
    writing : In(1)
        There is no time to write what this pixel completes.
    control : Out(LineControl), counts : Out(Counters())
        `accept`: the pixel begins a frame.
    taken : Out(1)
        The pixel belongs to a frame and may be written.
    word_done : Out(1)
        It completes a word; `taken` says whether the word may be written.
    row_done : Out(1)
        It completes a row.
    """

    def __init__(self, *, row_groups: int, rows: int, late_rows: int, bytewise: bool):
        self.rows, self.frame_rows = rows, row_groups * rows
        self.late_rows, self.bytewise = late_rows, bytewise
        flags = ("sof", "starting", "inner", "eol", "end", "last_column", "word_end", "writing")
        super().__init__(
            {
                **dict.fromkeys(flags, In(1)),
                "control": Out(LineControl(self.frame_rows)),
                "counts": Out(Counters()),
                **dict.fromkeys(("taken", "word_done", "row_done"), Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        control, starting, accept = self.control, self.starting, self.control.accept
        # A fault is many gates behind the pixel: it is a register, which hides what it ends.
        open_, held = Signal(), Signal()  # as if nothing had gone wrong in the cycle before
        failed, lost = Signal(), Signal()
        opened = control.receiving
        received = Signal(range(self.frame_rows + 1))
        last_row = Signal()  # all but one are
        allowed = Signal()
        here, going, wrong_end, late, row_ends, whole = (
            Signal(name=n) for n in ("here", "going", "wrong_end", "late", "row_ends", "whole")
        )
        restart, line_fault, overrun, truncated, bad, second = (
            Signal(name=n)
            for n in ("restart", "line_fault", "overrun", "truncated", "bad", "second")
        )
        m.d.comb += [
            opened.eq(open_ & ~failed),
            control.waiting.eq(held & ~lost),
            restart.eq(starting & opened),
            accept.eq(starting & control.enable & (~control.waiting | opened)),
            going.eq(self.inner & opened),
            here.eq(going | accept),
            wrong_end.eq(self.eol != self.last_column),
            late.eq(~allowed | self.writing),
            line_fault.eq(here & wrong_end),
            self.word_done.eq(here & ~wrong_end & self.word_end),
            overrun.eq((here if self.bytewise else self.word_done) & late),
            self.taken.eq(here & ~overrun),
            row_ends.eq(~wrong_end & self.last_column & ~late),
            self.row_done.eq(here & row_ends),
            whole.eq(going & row_ends & last_row),
            truncated.eq(self.end & opened & ~starting & ~whole),
            bad.eq(line_fault | overrun | truncated),
        ]
        # in a frame's first pixel `current` still speaks of the frame before
        m.d.sync += [
            failed.eq(bad),
            lost.eq(bad & (~control.current | starting)),
            # a first pixel's fault that waits for the one before: its frame was nobody's, and
            # until it is told only a first pixel may go wrong
            second.eq(bad & (restart | second)),
            control.fault.eq(restart | bad | second),
            control.fault_current.eq(
                (control.current | control.take) & (restart | ~starting) & ~second
            ),
        ]
        # what a frame's first pixel completes is its own affair, below
        with m.If(going & row_ends):
            m.d.sync += [
                received.eq(received + 1),
                last_row.eq(received == self.frame_rows - 2),
            ]
            with m.If(last_row):
                m.d.sync += open_.eq(0)
        with m.If(failed):
            m.d.sync += open_.eq(0)
        with m.If(lost):
            m.d.sync += held.eq(0)
        with m.If(control.done):
            m.d.sync += control.current.eq(0)
        with m.If(control.take):
            m.d.sync += [held.eq(0), control.current.eq(1)]
        with m.If(starting):
            m.d.sync += open_.eq(accept)
            with m.If(accept):
                m.d.sync += [
                    held.eq(1),
                    control.current.eq(0),
                    received.eq(0),
                    last_row.eq(self.frame_rows == 1),
                ]
        with m.If(restart & ~accept):
            m.d.sync += held.eq(0)
        with m.If(control.stop & control.current & ~starting):
            m.d.sync += open_.eq(0)
        self._allow(m, allowed, received)
        self._tell(m, second, restart, overrun, line_fault, truncated)
        # rows count once their last word is readable; a frame's count in no other one
        written = self.row_done
        for i in range(self.late_rows):
            later = Signal(name=f"written_{i + 1}")
            m.d.sync += later.eq(written & ~accept)
            written = later
        with m.If(accept):
            m.d.sync += control.rows.eq(0)
        with m.Elif(written):
            m.d.sync += control.rows.eq(control.rows + 1)
        return m

    def _allow(self, m, allowed, received):
        """Whether the present row may be written; looked at when a word is complete, and a row
        begins some pixels earlier."""
        control, k, before = self.control, self.rows, self.frame_rows - self.rows
        with m.If(control.current):
            m.d.sync += allowed.eq(received < control.released + k)
        with m.Elif(control.busy & ~(control.fault & control.fault_current)):
            m.d.sync += allowed.eq(received + before < control.released)
        with m.Else():
            m.d.sync += allowed.eq(received < k)
        if self.bytewise:
            # a frame's first pixel is written at once, before `received` speaks of its frame: row 0
            # goes where the engine has left row 0 of its last group, or is leaving the frame
            with m.If(self.sof):
                m.d.sync += allowed.eq(
                    ~control.busy
                    | (control.current & control.receiving)
                    | (control.fault & control.fault_current)
                    | (control.released > before)
                )

    def _tell(self, m, second, restart, overrun, line_fault, truncated):
        """Status and counts of what went wrong."""
        status, overran = self.control.status, Signal()  # the first pixel's that waits
        m.d.sync += overran.eq(overrun)
        with m.If(second):
            m.d.sync += status.eq(Mux(overran, Status.OVERRUN, Status.LINE))
        with m.Elif(restart):
            m.d.sync += status.eq(Status.RESTART)
        with m.Elif(overrun):
            m.d.sync += status.eq(Status.OVERRUN)
        with m.Elif(line_fault):
            m.d.sync += status.eq(Status.LINE)
        with m.Else():
            m.d.sync += status.eq(Status.TRUNCATED)
        dropped, decided = Signal(), Signal()
        m.d.sync += dropped.eq(self.starting & ~self.control.accept)
        # of a frame that is decided in the cycle of its fault, or of its pixel, none is told
        stop = self.control.stop
        m.d.comb += decided.eq((stop | delay(m, stop, 1, "stopped")) & self.control.fault_current)
        for kind, name in zip(Status, self.counts.signature.names, strict=True):
            count, more = getattr(self.counts, name), Signal(name=f"count_{name}")
            told = self.control.fault & ~decided & (status == kind)
            m.d.comb += more.eq(dropped if kind == Status.OK else told)
            with m.If(more & (count != 0xFFFF)):
                m.d.sync += count.eq(count + 1)


def to_signed(byte):
    """A camera's byte as the network takes it, p - 127 - (p >= 128); see golden.line_buffer."""
    return Mux(byte[7], byte[:7], Cat(byte[:7], 1) + 1)


class LineBuffer(wiring.Component):
    """Keeps the k rows of a row group; the camera never waits.

    Row r of every row group lives in slot r: it is overwritten by the same row of the next group,
    as soon as the engine has `released` it. A pixel p is stored as p - 127 - (p >= 128). Rows below
    the last whole group are dropped. See Receiver for what a frame is.

    How pixels become words is a subclass's.

    Bit-exact model: golden.line_buffer.

    Ports
    -----
    pixels : In(Pixels(in_channels))
    control : Out(LineControl(row_groups * k))
        `receiving`: a frame is being received.
    counts : Out(Counters())
    camera : In(CameraRead)
    event : Out(1)
        Only of an engine that sleeps: a word is complete, a frame begins, ends or has gone wrong;
        more follows than pixels' own places, see hw.plan.awake.
    """

    bytewise = False
    late_rows = 2  # row's last pixel -> readable, less one cycle and one for each colour
    latency = 1 + late_rows + 1
    """A row's last pixel on the wires -> it is counted in `rows`, without a cycle for each colour:
    pixel register, word register and write port, count."""

    def __init__(self, plan: Plan, *, words: int):
        self.plan, self.depth = plan, words
        model, engine = plan.model, plan.engine
        self.channels, self.row_words = model.in_channels, plan.geometry.groups(model.image_width)
        banks = plan.geometry.head_lanes
        self.places = PixelPlaces(width=model.image_width, pixels=engine.pixels, banks=banks)
        self.receiver = Receiver(
            row_groups=model.row_groups,
            rows=model.rows_per_group,
            late_rows=self.channels + self.late_rows,
            bytewise=self.bytewise,
        )
        super().__init__(
            {
                "pixels": In(Pixels(model.in_channels)),
                "control": Out(self.receiver.control.signature),
                "counts": Out(Counters()),
                "camera": In(CameraRead(banks=banks, words=words, pixels=engine.pixels)),
                **({"event": Out(1)} if engine.sleep else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.places = places = self.places
        m.submodules.receiver = receiver = self.receiver
        pixels = self.pixels
        # Stage 1: registered pixel
        flags = {
            "starting": pixels.valid & pixels.sof,
            "inner": pixels.valid & ~pixels.sof,
            "eol": pixels.eol,
            "end": pixels.frame_end,
        }
        for name, value in flags.items():
            flag = Signal(name=f"in_{name}")
            m.d.sync += flag.eq(value)
            m.d.comb += getattr(receiver, name).eq(flag)
        colours = []
        for name in pixels.signature.colours:
            byte = Signal(8, name=f"in_{name}", reset_less=True)
            raw = getattr(pixels, name)
            m.d.sync += byte.eq(raw if self.bytewise else to_signed(raw))
            colours.append(byte)
        m.d.comb += [
            places.starting.eq(receiver.starting),
            places.inner.eq(receiver.inner),
            receiver.sof.eq(pixels.sof),
            receiver.last_column.eq(places.last_column),
            receiver.word_end.eq(places.word_end),
            receiver.writing.eq(self._writing(m)),
        ]
        wiring.connect(m, receiver.control, wiring.flipped(self.control))
        wiring.connect(m, receiver.counts, wiring.flipped(self.counts))
        if self.plan.engine.sleep:
            m.d.comb += self.event.eq(
                receiver.starting | receiver.end | receiver.word_done | receiver.control.fault
            )
        self._store(m, colours)
        return m

    def _writing(self, m: Module):
        """What a word completed now cannot be written for."""
        raise NotImplementedError

    def _store(self, m: Module, colours: list[Signal]) -> None:
        """Memories, and what is written to them; `colours` are those of the registered pixel."""
        raise NotImplementedError


class WordLines(LineBuffer):
    """Packs pixels into words of P, one write port for a word at a time.

    Pixels may come in every cycle; only where a row's last word has fewer pixels than there are
    colours, the colours of two words need three cycles to leave, and a camera that does not give
    them overruns.
    """

    def __init__(self, plan: Plan):
        super().__init__(plan, words=plan.line_buffer_words)

    def _writing(self, m):
        short = self.plan.model.image_width % self.plan.engine.pixels
        if not 0 < short < self.channels:
            return 0
        # at a pixel a cycle the word's colours would meet those of the word before
        once = delay(m, self.receiver.word_done, 1, "word_done")
        return once | delay(m, once, 1, "word_done_long") & (self.channels == 3)

    def _store(self, m, colours):
        receiver, places = self.receiver, self.places
        starting, banks = receiver.starting, len(places.bank)
        slot = Signal(range(self.plan.model.rows_per_group))
        base = Signal(range(max(1, self.depth)))  # the slot's first word
        with m.If(receiver.row_done):
            with m.If(slot == self.plan.model.rows_per_group - 1):
                m.d.sync += [slot.eq(0), base.eq(0)]
            with m.Else():
                m.d.sync += [slot.eq(slot + 1), base.eq(base + self.channels * self.row_words)]
        with m.If(receiver.control.accept):
            m.d.sync += [slot.eq(0), base.eq(0)]
        # Stages 2..: colour c is c cycles late, so that one word leaves a cycle
        write_en, write_bank = Signal(), Signal(banks)
        write_address = Signal(range(self.depth))
        write_word = Signal(8 * self.plan.engine.pixels)
        place, at_bank = places.place, places.bank
        at_address = Signal.like(write_address)
        m.d.comb += at_address.eq(Mux(starting, 0, base + places.group))
        done = receiver.word_done & receiver.taken
        for c, byte in enumerate(colours):
            place = delay(m, place, 1 if c else 0, f"place{c}", reset_less=True)
            byte = delay(m, byte, c, f"late{c}", reset_less=True)
            word = Signal.like(write_word, name=f"packed{c}", reset_less=True)
            # what is there while no pixel comes is overwritten by the one that comes
            for i, here in enumerate(place):
                with m.If(here):
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
                    write_address.eq(at_address + c * self.row_words),
                    write_word.eq(word),
                ]
        for b in range(banks):
            self._bank(m, b, write_en & write_bank[b], write_address, write_word)

    def _bank(self, m, b, write_en, write_address, write_word):
        """A memory with a register at its address, and one behind its output where the record of
        parts has it."""
        memory = m.submodules[f"bank{b}"] = Memory(
            shape=len(write_word), depth=self.depth, init=[], attrs=NO_COLLISION
        )
        write, read = memory.write_port(), memory.read_port()
        address = Signal(range(self.depth), name=f"read_address{b}", reset_less=True)
        enable = Signal(name=f"read_enable{b}", init=1)
        m.d.sync += [
            address.eq(self.camera.read_address[b]),
            enable.eq(self.camera.read_en[b]),
        ]
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(enable),
            self.camera.words[b].eq(read_word(m, self.plan, read.data, f"word{b}")),
            write.en.eq(write_en),
            write.addr.eq(write_address),
            write.data.eq(write_word),
        ]


class ByteLines(LineBuffer):
    """Writes each colour's byte to its place at once, one colour a cycle; a single bank.

    A pixel's place must be free as it comes, and pixels come no closer than max(2, colours) cycles.
    The bank has a power of two of words; the last one is never written: zeros.
    """

    bytewise = True

    def __init__(self, plan: Plan):
        super().__init__(plan, words=1 << plan.line_buffer_words.bit_length())

    def _writing(self, m):
        # a pixel's colours are written one after the other, and the row's leave is a cycle late
        before = [self.receiver.starting | self.receiver.inner]
        for i in range(max(2, self.channels) - 1):
            before.append(delay(m, before[-1], 1, f"before{i}"))
        return Cat(*before[1:]).any()

    def _store(self, m, colours):
        receiver, places, row_words = self.receiver, self.places, self.row_words
        starting, k = receiver.starting, self.plan.model.rows_per_group
        slot = Signal(range(k))
        # where the word of the first colour is; over the other colours' at the end of a row
        pointer = Signal(range(self.depth))
        last = places.last_column
        with m.If(receiver.word_done):
            m.d.sync += pointer.eq(pointer + Mux(last, 1 + (self.channels - 1) * row_words, 1))
            with m.If(last & (slot == k - 1)):
                m.d.sync += pointer.eq(0)
        with m.If(receiver.row_done):
            m.d.sync += slot.eq(Mux(slot == k - 1, 0, slot + 1))
        with m.If(receiver.control.accept):
            m.d.sync += [pointer.eq(0), slot.eq(0)]
        memory = m.submodules.bank = Memory(
            shape=data.ArrayLayout(8, len(places.place)),
            depth=self.depth,
            init=[],
            attrs=NO_COLLISION,
        )
        write, read = memory.write_port(granularity=1), memory.read_port()
        left = Signal(range(self.channels + 1))
        held_place = Signal(len(places.place), reset_less=True)
        held_address = Signal(range(self.depth), reset_less=True)
        bytes_ = [Signal(8, name=f"byte{c}", reset_less=True) for c in range(self.channels)]
        m.d.sync += held_address.eq(held_address + row_words)
        for now, then in zip(bytes_, bytes_[1:], strict=False):
            m.d.sync += now.eq(then)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(receiver.taken):
            m.d.sync += [
                left.eq(self.channels),
                held_place.eq(places.place),
                held_address.eq(Mux(starting, 0, pointer)),
                *[now.eq(colour) for now, colour in zip(bytes_, colours, strict=True)],
            ]
        m.d.comb += [
            read.addr.eq(self.camera.read_address[0]),
            read.en.eq(self.camera.read_en[0]),
            self.camera.words[0].eq(Cat(*read.data)),
            write.en.eq(Mux(left != 0, held_place, 0)),
            write.addr.eq(held_address),
            *[d.eq(to_signed(bytes_[0])) for d in write.data],
        ]
