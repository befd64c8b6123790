"""The screen: a beam in, colours out."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards.video.activation import Heat
from boards.video.timing import Beam
from golden import screen as golden
from golden.screen import CELL, FAULT_DIGITS, FRAME_DIGITS, LETTERS, PAGE, SLOT, Layout
from golden.video import HEAT_BITS, probability_table
from hw.interfaces import Decision, Pixels, RowEvent

DIGITS = FRAME_DIGITS + FAULT_DIGITS
ZERO = LETTERS.index("0")


class Scoreboard(wiring.Component):
    """What a screen says in words and bars: probabilities, the decision, decimal counters.

    Model: golden.video.probability.

    Parameters
    ----------
    classes, row_groups, stop_class : int
    scale : float
        Of a logit.
    counters : int
        Bits of `toggles`.

    Ports
    -----
    row : In(RowEvent(K)), decision : In(Decision(K))
    toggles : In(counters), each change is a fault
        One is counted a cycle: a bit that changes twice before its turn may count for none.
    en : Out(1), pulse; group : Out(range(row_groups)), probability : Out(8)
        Of a row group, four cycles after its event.
    page : Out(range(K + 2)), 1 before the first decision, 2 + class after it
    digits : Out(4).array(9)
        Frames that were decided, faults; from left to right.
    """

    def __init__(
        self, *, classes: int, row_groups: int, stop_class: int, scale: float, counters: int
    ):
        self.stop_class = stop_class
        self.table, self.shift = probability_table(scale)
        super().__init__(
            {
                "row": In(RowEvent(classes)),
                "decision": In(Decision(classes)),
                "toggles": In(counters),
                "en": Out(1),
                "group": Out(range(row_groups)),
                "probability": Out(8),
                "page": Out(range(classes + 2), init=1),
                "digits": Out(4).array(DIGITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        logits = list(self.row.logits)
        stop = logits.pop(self.stop_class)
        # Stage 1: the strongest rival, which is one of few
        rival, own, after = Signal(signed(32)), Signal(signed(32)), Signal(4)
        best = logits[0]
        for other in logits[1:]:
            best = Mux(other > best, other, best)
        m.d.sync += [
            *(rival.eq(best), own.eq(stop)),
            after.eq(Cat(self.row.valid, after[:3])),
        ]
        # Stage 2: the margin; stage 3: the table's index; stage 4: the table
        margin, index = Signal(signed(33)), Signal(8)
        steps = margin >> self.shift
        m.d.sync += [
            margin.eq(own - rival),
            index.eq(Mux(steps < -128, -128, Mux(steps > 127, 127, steps))),
        ]
        m.submodules.table = table = Memory(shape=8, depth=256, init=self.table)
        read = table.read_port()
        m.d.comb += [
            read.addr.eq(index),
            self.probability.eq(read.data),
            self.en.eq(after[3]),
        ]
        with m.If(self.row.valid):
            m.d.sync += self.group.eq(self.row.group)
        decided = Signal()
        m.d.comb += decided.eq(self.decision.valid & (self.decision.status == 0))
        with m.If(decided):
            m.d.sync += self.page.eq(self.decision.index + 2)
        # a register, for they come from everywhere; of several changes the lowest goes first
        come, counted, new = (
            Signal.like(self.toggles, name=name) for name in ("come", "counted", "new")
        )
        fault = Signal()
        m.d.comb += new.eq(come ^ counted)
        m.d.sync += [
            come.eq(self.toggles),
            counted.eq(counted ^ (new & -new)),
            fault.eq(new.any()),
        ]
        self._count(m, decided, self.digits[:FRAME_DIGITS])
        self._count(m, fault, self.digits[FRAME_DIGITS:])
        return m

    @staticmethod
    def _count(m, carry, digits):
        """Decimal digits, the highest first, that count pulses; after all nines comes 0."""
        for digit in reversed(list(digits)):
            full = Signal()
            m.d.comb += full.eq(carry & (digit == 9))
            with m.If(carry):
                m.d.sync += digit.eq(Mux(full, 0, digit + 1))
            carry = full


class Screen(wiring.Component):
    """Draws a scan: the picture that the camera sees with the activation over it, bars, text.

    What it draws of lies in memories with two clocks, written in `sync`. Page, digits and the
    latest row group are copied in `sync` when the beam has left the picture, and stand still while
    it is drawn.

    Bit-exact model: golden.screen.compose.

    Parameters
    ----------
    layout : Layout
    domain : str
        Of the beam.

    Ports
    -----
    pixels : In(Pixels(in_channels)), sync; a frame ends before the next one begins
    heat : In(Heat(row_groups, n)), sync
    en : In(1), pulse, group : In(range(row_groups)), probability : In(8), sync
        A row group's.
    page : In(range(K + 2)), digits : In(4).array(9), sync
    plain : In(1), asynchronous
        The picture without the activation.
    beam : In(Beam(mode))
    red, green, blue : Out(8); active, hsync, vsync : Out(1)
        Of the beam `latency` cycles ago; black where it is not active.
    """

    latency = 3

    def __init__(self, *, layout: Layout, domain: str = "video"):
        self.layout, self.domain = layout, domain
        model, mode = layout.model, layout.mode
        self.grey = model.in_channels == 1
        super().__init__(
            {
                "pixels": In(Pixels(model.in_channels)),
                "heat": In(Heat(model.row_groups, model.n)),
                "en": In(1),
                "group": In(range(model.row_groups)),
                "probability": In(8),
                "page": In(range(model.class_count + 2)),
                "digits": In(4).array(DIGITS),
                "plain": In(1),
                "beam": In(Beam(mode)),
                **dict.fromkeys(("red", "green", "blue"), Out(8)),
                "active": Out(1),
                "hsync": Out(1, init=1),
                "vsync": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beam, video = self.beam, m.d[self.domain]
        page, digits, latest = self._standing(m)
        shows, group, last, kept, heat = self._picture(m)
        # of a row group: whether it is the latest, and there is one here
        now, scanned = Signal(), Signal()
        m.d.comb += [
            now.eq(group == latest),
            scanned.eq(group != self.layout.model.row_groups),
        ]
        bar, dim, strong = self._bars(m, group, scanned & ~last)
        bright = self._late(m, now, 2)
        marked = self._late(m, now & scanned & last, 2)
        dot, line = self._text(m, page, digits)

        # Stage 3: the colour
        stops = Signal()
        m.d.comb += stops.eq(page == 2 + self.layout.model.stop_index)
        out = Cat(self.red, self.green, self.blue)
        seen = self._late(m, beam.active, 2)
        words = {
            name: Const(sum(value << 8 * i for i, value in enumerate(colour)), 24)
            for name, colour in (
                ("stop", golden.STOP_COLOUR),
                ("other", golden.OTHER_COLOUR),
                ("now", golden.NOW_COLOUR),
                ("dim", golden.DIM),
                ("count", golden.COUNT_COLOUR),
            )
        }
        with m.If(~seen):
            video += out.eq(0)
        with m.Elif(dot):
            video += out.eq(Mux(line, words["count"], Mux(stops, words["stop"], words["now"])))
        with m.Elif(bar):
            video += out.eq(Mux(bright, words["now"], Mux(strong, words["stop"], words["other"])))
        with m.Elif(dim):
            video += out.eq(words["dim"])
        with m.Elif(shows & marked):
            video += out.eq(words["now"])
        with m.Elif(shows):
            video += out.eq(self._tinted(kept, heat))
        with m.Else():
            video += out.eq(0)
        for name in ("active", "hsync", "vsync"):
            m.d.comb += getattr(self, name).eq(self._late(m, getattr(beam, name), 3))
        return m

    def _late(self, m, value, cycles, init=0):
        """A signal some cycles later."""
        for i in range(cycles):
            late = Signal.like(value, init=init, name=f"late{i}")
            m.d[self.domain] += late.eq(value)
            value = late
        return value

    def _standing(self, m):
        """Page, digits, latest row group: copied as a picture's last line is left."""
        sources = [self.page, *self.digits, self.group]
        left, seen, before = Signal(), Signal(), Signal()
        m.d[self.domain] += left.eq(self.beam.y >= self.layout.mode.height)
        m.submodules.left = FFSynchronizer(left, seen)
        m.d.sync += before.eq(seen)
        copies = [Signal.like(source, name=f"standing{i}") for i, source in enumerate(sources)]
        with m.If(seen & ~before):
            m.d.sync += [copy.eq(source) for copy, source in zip(copies, sources, strict=True)]
        return copies[0], copies[1:-1], copies[-1]

    def _picture(self, m):
        """(inside, row group, whether its last line, kept, heat): row group and line with the beam,
        all else two cycles later."""
        layout, beam, video = self.layout, self.beam, m.d[self.domain]
        model = layout.model
        bits = 8 if self.grey else 9
        m.submodules.frame = frame = Memory(shape=bits, depth=layout.rows * layout.columns, init=[])
        self._write(m, frame.write_port())
        read = frame.read_port(domain=self.domain)
        # along a line: pixel, and the column of the state
        wide, high = layout.picture
        across, x = Signal(range(layout.zoom)), Signal(range(layout.columns))
        whole = model.image_width * layout.unit
        share, cell = Signal(range(whole)), Signal(range(model.n))
        over = Signal()
        m.d.comb += over.eq(share >= whole - model.n)
        with m.If(beam.x == layout.mode.total[0] - 1):
            video += [across.eq(0), x.eq(0), share.eq(0), cell.eq(0)]
        with m.Else():
            video += [
                across.eq(across + 1),
                share.eq(Mux(over, share + model.n - whole, share + model.n)),
            ]
            with m.If(over & (cell != model.n - 1)):
                video += cell.eq(cell + 1)
            with m.If(across == layout.zoom - 1):
                video += [across.eq(0), x.eq(x + 1)]
        # down the picture: the line's first address, the row group
        down, start = Signal(range(layout.zoom)), Signal(range(layout.rows * layout.columns))
        line, group = Signal(range(layout.group_lines)), Signal(range(model.row_groups + 1))
        scanned, last = Signal(), Signal()
        m.d.comb += [
            last.eq(line == layout.group_lines - 1),
            scanned.eq(group != model.row_groups),
        ]
        with m.If(beam.x == layout.mode.total[0] - 1):
            video += [down.eq(down + 1), line.eq(line + 1)]
            with m.If(down == layout.zoom - 1):
                video += [down.eq(0), start.eq(start + layout.columns)]
            with m.If(last):
                video += line.eq(0)
                with m.If(scanned):
                    video += group.eq(group + 1)
            with m.If(beam.y == layout.mode.total[1] - 1):
                video += [down.eq(0), start.eq(0), line.eq(0), group.eq(0)]

        span = 1 << (model.n - 1).bit_length()
        m.submodules.heat = heats = Memory(
            shape=signed(HEAT_BITS), depth=model.row_groups * span, init=[]
        )
        put, get = heats.write_port(), heats.read_port(domain=self.domain)
        width = span.bit_length() - 1
        inside, lit, plain = Signal(), Signal(), Signal()
        m.submodules.plain = FFSynchronizer(self.plain, plain, o_domain=self.domain)
        m.d.comb += [
            read.addr.eq(start + x),
            *(put.en.eq(self.heat.en), put.data.eq(self.heat.value)),
            put.addr.eq(self.heat.group << width | self.heat.column),
            get.addr.eq(group << width | cell),
            inside.eq((beam.x < wide) & (beam.y < high)),
            lit.eq(self._late(m, scanned, 1)),
        ]
        kept, heat = Signal(bits), Signal(signed(HEAT_BITS))
        video += [kept.eq(read.data), heat.eq(Mux(lit & ~plain, get.data, 0))]
        return self._late(m, inside, 2), group, last, kept, heat

    def _write(self, m, port):
        """Each `step`-th pixel of each `step`-th row, one behind the other."""
        pixels, bits = self.pixels, self.layout.step.bit_length() - 1
        x, y = Signal(max(bits, 1)), Signal(max(bits, 1))
        skip = Cat(x, y).any() if bits else Const(0)
        # a register before the memory's far ends
        colours = [getattr(pixels, name) for name in pixels.signature.colours]
        kept = colours[0] if self.grey else Cat(colour[5:] for colour in colours)
        place = Signal.like(port.addr)
        m.d.sync += [port.en.eq(pixels.valid & ~skip), port.data.eq(kept), port.addr.eq(place)]
        with m.If(pixels.valid):
            m.d.sync += x.eq(x + 1)
            with m.If(pixels.eol):
                m.d.sync += [x.eq(0), y.eq(y + 1)]
            with m.If(~skip):
                m.d.sync += place.eq(place + 1)
        with m.If(pixels.frame_end):
            m.d.sync += [x.eq(0), y.eq(0), place.eq(0)]

    def _tinted(self, kept, heat):
        """A pixel under the activation."""
        if self.grey:
            body = [kept] * 3
        else:
            parts = [kept[3 * i : 3 * i + 3] for i in range(3)]
            body = [Cat(part[1:], part, part) for part in parts]
        much = Mux(heat < 0, -heat, heat)[:HEAT_BITS]
        more, less = much << 3, much << 2
        colours = [
            Mux(heat < 0, body[0] - less, body[0] + more),
            body[1] - less,
            Mux(heat < 0, body[2] + more, body[2] - less),
        ]
        return Cat(Mux(value < 0, 0, Mux(value > 255, 255, value))[:8] for value in colours)

    def _bars(self, m, group, here):
        """(a bar's, the mark's, at least a half): two cycles after the beam."""
        layout, beam, video = self.layout, self.beam, m.d[self.domain]
        m.submodules.bars = bars = Memory(shape=8, depth=layout.model.row_groups, init=[])
        put, get = bars.write_port(), bars.read_port(domain=self.domain)
        left, shift = layout.bar_left, layout.bar_shift
        right = left + (255 >> shift)
        place, beside = Signal(range(256)), Signal()
        bar, dim, strong = Signal(), Signal(), Signal()
        m.d.comb += [
            *(put.en.eq(self.en), put.addr.eq(self.group), put.data.eq(self.probability)),
            get.addr.eq(group),
        ]
        # Stage 1: the memory; Stage 2: how long it is
        video += [
            place.eq(beam.x - left),
            beside.eq((beam.x >= left) & (beam.x <= right) & here),
            bar.eq(beside & (place <= get.data >> shift)),
            dim.eq(beside & (place == 128 >> shift)),
            strong.eq(get.data[7]),
        ]
        return bar, dim, strong

    def _text(self, m, page, digits):
        """(a letter's dot, the line of text): two cycles after the beam."""
        layout, beam = self.layout, self.beam
        scale = layout.text_scale.bit_length() - 1
        pages = [code for page_ in layout.pages for code in page_]
        m.submodules.words = words = Memory(shape=6, depth=len(pages), init=pages)
        m.submodules.font = font = Memory(shape=CELL, depth=len(golden.font()), init=golden.font())
        code, rows = words.read_port(domain=self.domain), font.read_port(domain=self.domain)
        tops = [layout.text_top(line) for line in range(2)]
        high = CELL << scale
        line, written = Signal(), Signal()
        row = Signal(range(CELL))
        m.d.comb += [
            line.eq(beam.y >= tops[1]),
            written.eq(
                (beam.x < layout.text_columns * (CELL << scale))
                & Mux(
                    line,
                    beam.y < tops[1] + high,
                    (beam.y >= tops[0]) & (beam.y < tops[0] + high),
                )
            ),
            row.eq((beam.y - Mux(line, tops[1], tops[0])) >> scale),
            code.addr.eq(Cat(beam.x[3 + scale :], Const(0, 6))[:6] | Mux(line, 0, page) * PAGE),
        ]
        # Stage 1: the letter, or the digit in its place; stage 2: its row of dots
        letter = Signal(6)
        slots = Array(digits)
        m.d.comb += [
            letter.eq(Mux(code.data >= SLOT, ZERO + slots[(code.data - SLOT)[:4]], code.data)),
            rows.addr.eq(Cat(self._late(m, row, 1), letter)),
        ]
        column, there = self._late(m, beam.x[scale : 3 + scale], 2), self._late(m, written, 2)
        return there & rows.data.bit_select(column, 1), self._late(m, line, 2)
