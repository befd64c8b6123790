"""Load: a weights image that comes as words of 32 bits."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.registers import WORD
from hw.interfaces import LoadPort

HOLD = 8
"""Cycles from `hold` to the first byte: a pixel let through before has begun its frame."""


class WordLoad(wiring.Component):
    """Turns words into bytes and marks the image's last one.

    The first word stays until the engine is between frames; then a byte leaves a cycle. A word that
    comes when the one before is still here waits if the engine is taking bytes, else it is lost.

    Parameters
    ----------
    image_bytes : int
        Length of an image.

    Ports
    -----
    word : In(32), written : In(1), pulse: a word has come
    ready : Out(1)
        One may come; with `room` = 0 it is lost.
    abort : In(1), pulse
        The load is given up: it ends as one that was cut short.
    room : Out(1)
        A word is taken.
    loading : Out(1)
        The engine takes bytes.
    lost : Out(1)
        A word was lost; until `abort`.
    hold : Out(1)
        No frame is to begin.
    load : Out(LoadPort())
    """

    def __init__(self, *, image_bytes: int):
        self.image_bytes = image_bytes
        super().__init__(
            {
                "word": In(8 * WORD),
                "written": In(1),
                "ready": Out(1),
                "abort": In(1),
                "room": Out(1),
                "loading": Out(1),
                "lost": Out(1),
                "hold": Out(1),
                "load": Out(LoadPort()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        load = self.load
        kept, left = Signal(8 * WORD, reset_less=True), Signal(range(WORD + 1))
        taken_bytes = Signal(range(self.image_bytes))
        at_end, last, taken, ending = Signal(), Signal(), Signal(), Signal()
        wait = Signal(range(HOLD + 1))
        m.d.comb += [
            at_end.eq(taken_bytes == self.image_bytes - 1),
            # an end in words would be taken for the whole image there
            last.eq(at_end ^ ending),
            load.valid.eq((left != 0) & (wait == HOLD)),
            load.data.eq(kept[:8]),
            load.last.eq(last),
            taken.eq(load.valid & load.ready),
            # a word that was written is here a cycle later
            self.room.eq((left == 0) & ~self.written),
            self.ready.eq(self.room | ~(self.loading | self.written)),
            self.hold.eq((left != 0) | self.loading),
        ]
        with m.If(~self.hold):
            m.d.sync += wait.eq(0)
        with m.Elif(wait != HOLD):
            m.d.sync += wait.eq(wait + 1)

        with m.If(taken):
            m.d.sync += [
                self.loading.eq(~last),
                kept.eq(kept[8:]),
                left.eq(left - 1),
                taken_bytes.eq(taken_bytes + 1),
            ]
            with m.If(at_end):
                m.d.sync += taken_bytes.eq(0)
            with m.If(last):
                m.d.sync += [left.eq(0), taken_bytes.eq(0), ending.eq(0)]
            with m.Elif(ending):
                m.d.sync += left.eq(1)
        with m.If(self.written):
            with m.If(left == 0):
                m.d.sync += [left.eq(WORD), kept.eq(self.word)]
            with m.Else():
                m.d.sync += self.lost.eq(1)
        with m.If(self.abort):
            begun = (self.loading | taken) & ~(taken & last)
            m.d.sync += [self.lost.eq(0), left.eq(begun), ending.eq(begun)]
        return m
