"""State window: a word of the state that a host has asked for."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.registers import WORD
from hw.interfaces import StateRead


class StateWindow(wiring.Component):
    """Asks the engine for a word and keeps it.

    Parameters
    ----------
    pixels : int
        P, bytes of a word.

    Ports
    -----
    ask : In(1), pulse
    channel, word : In(16), with `ask`
    state : Out(StateRead(P))
    valid : Out(1)
        `data` is what was asked for; 0 from the cycle after `ask`.
    data : Out(32).array(ceil(P / 4))
        The leftmost column in the lowest byte, 0 beyond the word.
    """

    def __init__(self, *, pixels: int):
        self.words = -(-pixels // WORD)
        super().__init__(
            {
                "ask": In(1),
                "channel": In(16),
                "word": In(16),
                "state": Out(StateRead(pixels)),
                "valid": Out(1),
                "data": Out(8 * WORD).array(self.words),
            }
        )

    def elaborate(self, platform):
        m = Module()
        state = self.state
        m.d.comb += [
            state.read.eq(self.ask),
            state.channel.eq(self.channel),
            state.word.eq(self.word),
        ]
        with m.If(state.valid):
            m.d.sync += self.valid.eq(1)
            for index, part in enumerate(self.data):
                m.d.sync += part.eq(state.data[8 * WORD * index : 8 * WORD * (index + 1)])
        with m.If(self.ask):
            m.d.sync += self.valid.eq(0)
        return m
