"""Windows: bring the right P pixels of the right words before every lane's multipliers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay, own_singles
from hw.plan import Plan, Source
from hw.sequencer import step_layout


class Windows(wiring.Component):
    """Words from the memories to one operand word of P bytes per lane.

    A three-tap row of a convolution arrives as words i-1, i, i+1 in three cycles; the taps are the
    window shifted by one pixel to the left, not at all, and to the right. The lanes of a head
    stand on neighbouring words, so that a lane's neighbours come from the lanes beside it and only
    the ends from words of their own::

        head mode, 2 lanes:   left byte | word 2j | word 2j+1 | right byte
        shared mode:          left byte | word j | right byte      for every lane

    A one-tap row is a single word: that of its bank for all lanes, or (head mode) each lane's own.

    Words beyond the row, the state in a frame's first group and the pixels left and right of a row
    are replaced by the padding byte.

    Parameters
    ----------
    tap_registered : bool
        Whether a tap is chosen in a cycle of its own.

    Ports
    -----
    step : In(step_layout(plan))
    first_group : In(1), with `step`
        It belongs to a frame's first row group.
    camera_words : In(8 * P), an array of Lh
        Words of the line buffer, `latency.memory` cycles after their address.
    map_words : In(8 * P), an array of L
        Words of Maps, likewise.
    attention_word : In(8 * P)
        A row of A, likewise.
    operands : Out(8 * P), an array of L
        `latency.transfer - latency.multiply` after the step.
    """

    def __init__(self, plan: Plan, tap_registered: bool = True):
        self.plan, self.tap_registered = plan, tap_registered
        self.one_tap = own_singles(plan)
        word = 8 * plan.engine.pixels
        lanes, head_lanes = plan.engine.lanes, plan.geometry.head_lanes
        super().__init__(
            {
                "step": In(step_layout(plan)),
                "first_group": In(1),
                "camera_words": In(data.ArrayLayout(word, head_lanes)),
                "map_words": In(data.ArrayLayout(word, lanes)),
                "attention_word": In(word),
                "operands": Out(data.ArrayLayout(word, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = self.plan.latency
        assert t.window == 2 + self.tap_registered, "arrival register, window, tap"
        three, one = t.address_three_tap + t.memory, t.address_one_tap + t.memory
        steps = [self.step]
        for i in range(one + 2):
            later = Signal.like(self.step, name=f"step_{i + 1}")
            m.d.sync += later.eq(steps[-1])
            steps.append(later)
        zero_now = Signal()
        m.d.comb += zero_now.eq(self.first_group & self.step.state)
        zero = delay(m, zero_now, one + 1, "zero")
        shared, shared_word = self._shared(m, steps[three], steps[one])
        arrived, left, right = self._arrive(m, steps[three], steps[one], shared_word)
        windows, edges = self._windows(
            m, (steps[three + 1], steps[one + 1]), zero, shared, arrived, left
        )
        self._taps(m, steps[one + 2], windows, edges, right)
        return m

    def _shared(self, m, arrive, arrive_one):
        """Stage 1: the word for all lanes, out of one bank; registered and as it comes."""
        word = 8 * self.plan.engine.pixels
        one = arrive_one.valid & arrive_one.one_tap & (arrive_one.source[1] if self.one_tap else 1)
        bank = Signal(self.plan.engine.lanes)
        m.d.comb += bank.eq(Mux(one, arrive_one.bank, arrive.bank))
        chosen = 0
        for b, map_word in enumerate(self.map_words):
            chosen = chosen | Mux(bank[b], map_word, 0)
        if self.plan.model.spatial:
            chosen = Mux(one & (arrive_one.source == Source.ATTENTION), self.attention_word, chosen)
        shared_word = Signal(word)
        m.d.comb += shared_word.eq(chosen)
        shared = Signal(word, reset_less=True)
        with m.If(one | (arrive.valid & (arrive.phase == 1))):
            m.d.sync += shared.eq(shared_word)
        return shared, shared_word

    def _arrive(self, m, arrive, arrive_one, shared_word):
        """Stage 1: each lane's own word; the bytes left and right of a head's words."""
        word, head_lanes = 8 * self.plan.engine.pixels, self.plan.geometry.head_lanes
        by_head = arrive.valid & ~arrive.source[1] & (~arrive.one_tap if self.one_tap else 1)
        arrived, left, right = [], [], []
        for g in range(self.plan.geometry.heads):
            words = []
            for i in range(head_lanes):
                map_word, camera_word = self.map_words[g * head_lanes + i], self.camera_words[i]
                source = Mux(arrive.source == Source.CAMERA, camera_word, map_word)
                register = Signal(word, name=f"arrived{g}_{i}", reset_less=True)
                with m.If(by_head & (arrive.phase == (0 if i < head_lanes - 1 else 1))):
                    m.d.sync += register.eq(source)
                if self.one_tap:  # all lanes' at once; a three-tap row comes no earlier after it
                    with m.If(arrive_one.valid & arrive_one.one_tap & ~arrive_one.source[1]):
                        m.d.sync += register.eq(
                            Mux(arrive_one.source == Source.CAMERA, camera_word, map_word)
                        )
                words.append(source)
                arrived.append(register)
            left_byte = Signal(8, name=f"left{g}", reset_less=True)
            right_byte = Signal(8, name=f"right{g}", reset_less=True)
            three = arrive.valid & ~arrive.one_tap
            before = Mux(arrive.source[1], shared_word, words[-1])[word - 8 :]
            after = Mux(arrive.source[1], shared_word, words[0])[:8]
            with m.If(three & (arrive.phase == 0)):
                m.d.sync += left_byte.eq(Mux(arrive.first_chunk, _pad(arrive), before))
            with m.If(three & (arrive.phase == 2)):
                m.d.sync += right_byte.eq(Mux(arrive.last_chunk, _pad(arrive), after))
            left.append(left_byte)
            right.append(right_byte)
        return arrived, left, right

    def _windows(self, m, loads, zero, shared, arrived, left):
        """Stage 2: a window for each lane; the byte left of each head's."""
        (row, one), pixels = loads, self.plan.engine.pixels
        head_lanes = self.plan.geometry.head_lanes
        row_ready = row.valid & ~row.one_tap & (row.phase == 1)
        one_ready = one.valid & one.one_tap
        windows, edges = [], []
        for lane in range(self.plan.engine.lanes):
            window = Signal(8 * pixels, name=f"window{lane}", reset_less=True)
            single = Mux(one.source[1], shared, arrived[lane]) if self.one_tap else shared
            with m.If(one_ready):
                m.d.sync += window.eq(Mux(zero, 0, single))
            with m.Elif(row_ready):
                place = lane % head_lanes
                short = row.tail <= place if place < 2 ** len(row.tail) - 1 else 1
                beyond = row.last_chunk & short & ~row.source[1]
                own = Mux(row.source[1], shared, arrived[lane])
                m.d.sync += window.eq(Mux(beyond, Cat([_pad(row)] * pixels), own))
            windows.append(window)
        for g in range(self.plan.geometry.heads):
            edge = Signal(8, name=f"window_left{g}", reset_less=True)
            with m.If(row_ready):
                m.d.sync += edge.eq(left[g])
            edges.append(edge)
        return windows, edges

    def _taps(self, m, tap, windows, edges, right):
        """Stage 3: the window, or shifted by a byte."""
        word, head_lanes = 8 * self.plan.engine.pixels, self.plan.geometry.head_lanes
        domain = m.d["sync" if self.tap_registered else "comb"]
        for lane, window in enumerate(windows):
            g, i = divmod(lane, head_lanes)
            before, after = edges[g], right[g]
            if i > 0:
                before = Mux(tap.source[1], before, windows[lane - 1][word - 8 :])
            if i < head_lanes - 1:
                after = Mux(tap.source[1], after, windows[lane + 1][:8])
            operand = Signal(word, name=f"operand{lane}", reset_less=True)
            with m.If(tap.one_tap | (tap.phase == 1)):
                domain += operand.eq(window)
            with m.Elif(tap.phase == 0):
                domain += operand.eq(Cat(before, window[: word - 8]))
            with m.Else():
                domain += operand.eq(Cat(window[8:], after))
            m.d.comb += self.operands[lane].eq(operand)


def _pad(step):
    """The padding byte of a step's map: 0 or -128."""
    return Cat([0] * 7, step.pad)
