"""Windows: bring the right P pixels of the right words before every lane's multipliers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay
from hw.plan import Plan, Source
from hw.plan.latency import PARALLEL
from hw.sequencer import step_layout


class Windows(wiring.Component):
    """Words from the memories to one operand word of P bytes per lane.

    A three-tap row of a convolution arrives as words i-1, i, i+1 in three cycles; the taps are the
    window shifted by one pixel to the left, not at all, and to the right. The lanes of a head
    stand on neighbouring words, so that a lane's neighbours come from the lanes beside it and only
    the ends from words of their own::

        head mode, 2 lanes:   left byte | word 2j | word 2j+1 | right byte
        shared mode:          left byte | word j | right byte      for every lane

    Words beyond the row, the state in a frame's first group and the pixels left and right of a row
    are replaced by the padding byte.

    Ports
    -----
    step : in, step_layout(plan)
    first_group : in, the step belongs to a frame's first row group
    camera_words : in, Lh words of the line buffer, `PARALLEL.memory` cycles after their address
    map_words : in, L words of the state SRAM, likewise
    attention_word : in, a word of the attention SRAM, likewise
    operands : out, L words of P bytes, valid `PARALLEL.transfer - PARALLEL.multiply` after the step
    """

    def __init__(self, plan: Plan):
        self.plan = plan
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
        plan = self.plan
        pixels, lanes = plan.engine.pixels, plan.engine.lanes
        head_lanes, heads = plan.geometry.head_lanes, plan.geometry.heads
        word = 8 * pixels
        spatial = plan.model.spatial_attention != "none"

        steps = [self.step]
        for i in range(PARALLEL.transfer - PARALLEL.multiply - 1):
            later = Signal.like(self.step, name=f"step_{i + 1}")
            m.d.sync += later.eq(steps[-1])
            steps.append(later)
        zero_now = Signal()
        m.d.comb += zero_now.eq(self.first_group & self.step.state)

        arrive = steps[PARALLEL.address_three_tap + PARALLEL.memory]  # of a three-tap row
        arrive_one = steps[PARALLEL.address_one_tap + PARALLEL.memory]  # of a one-tap row
        loading = PARALLEL.address_one_tap + PARALLEL.memory + 1
        load_row = steps[PARALLEL.address_three_tap + PARALLEL.memory + 1]
        load_one, tap = steps[loading], steps[loading + 1]
        zero = delay(m, zero_now, loading, "zero")

        def pad_byte(step):
            return Cat([0] * 7, step.pad)

        def pad_word(step):
            return Cat(*[pad_byte(step)] * pixels)

        # Stage 1: arrival registers
        by_head = arrive.valid & ~arrive.source[1]
        one = arrive_one.valid & arrive_one.one_tap
        bank = Signal(lanes)
        m.d.comb += bank.eq(Mux(one, arrive_one.bank, arrive.bank))
        shared_word = Signal(word)
        chosen = 0
        for b in range(lanes):
            chosen = chosen | Mux(bank[b], self.map_words[b], 0)
        if spatial:
            chosen = Mux(one & (arrive_one.source == Source.ATTENTION), self.attention_word, chosen)
        m.d.comb += shared_word.eq(chosen)
        shared = Signal(word, reset_less=True)
        with m.If(one | (arrive.valid & (arrive.phase == 1))):
            m.d.sync += shared.eq(shared_word)

        arrived = []
        left, right = [], []
        for g in range(heads):
            words = []
            for i in range(head_lanes):
                source = Mux(
                    arrive.source == Source.CAMERA,
                    self.camera_words[i],
                    self.map_words[g * head_lanes + i],
                )
                register = Signal(word, name=f"arrived{g}_{i}", reset_less=True)
                with m.If(by_head & (arrive.phase == (0 if i < head_lanes - 1 else 1))):
                    m.d.sync += register.eq(source)
                words.append(source)
                arrived.append(register)
            left_byte = Signal(8, name=f"left{g}", reset_less=True)
            right_byte = Signal(8, name=f"right{g}", reset_less=True)
            with m.If(arrive.valid & ~arrive.one_tap & (arrive.phase == 0)):
                m.d.sync += left_byte.eq(
                    Mux(
                        arrive.first_chunk,
                        pad_byte(arrive),
                        Mux(arrive.source[1], shared_word, words[-1])[word - 8 :],
                    )
                )
            with m.If(arrive.valid & ~arrive.one_tap & (arrive.phase == 2)):
                m.d.sync += right_byte.eq(
                    Mux(
                        arrive.last_chunk,
                        pad_byte(arrive),
                        Mux(arrive.source[1], shared_word, words[0])[:8],
                    )
                )
            left.append(left_byte)
            right.append(right_byte)

        # Stage 2: windows
        row_ready = load_row.valid & ~load_row.one_tap & (load_row.phase == 1)
        one_ready = load_one.valid & load_one.one_tap
        windows, window_left = [], []
        for lane in range(lanes):
            g, i = divmod(lane, head_lanes)
            window = Signal(word, name=f"window{lane}", reset_less=True)
            with m.If(one_ready):
                m.d.sync += window.eq(Mux(zero, 0, shared))
            with m.Elif(row_ready):
                beyond = load_row.last_chunk & (load_row.tail <= i) & ~load_row.source[1]
                m.d.sync += window.eq(
                    Mux(beyond, pad_word(load_row), Mux(load_row.source[1], shared, arrived[lane]))
                )
            windows.append(window)
        for g in range(heads):
            edge = Signal(8, name=f"window_left{g}", reset_less=True)
            with m.If(row_ready):
                m.d.sync += edge.eq(left[g])
            window_left.append(edge)

        # Stage 3: taps
        for lane in range(lanes):
            g, i = divmod(lane, head_lanes)
            before = window_left[g]
            after = right[g]
            if i > 0:
                before = Mux(tap.source[1], before, windows[lane - 1][word - 8 :])
            if i < head_lanes - 1:
                after = Mux(tap.source[1], after, windows[lane + 1][:8])
            operand = Signal(word, name=f"operand{lane}", reset_less=True)
            with m.If(tap.one_tap | (tap.phase == 1)):
                m.d.sync += operand.eq(windows[lane])
            with m.Elif(tap.phase == 0):
                m.d.sync += operand.eq(Cat(before, windows[lane][: word - 8]))
            with m.Else():
                m.d.sync += operand.eq(Cat(windows[lane][8:], after))
            m.d.comb += self.operands[lane].eq(operand)
        return m
