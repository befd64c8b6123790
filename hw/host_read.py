"""Host read: from a channel and word of the state to a read of the maps' banks."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.interfaces import StateRead, WordRead


class HostRead(wiring.Component):
    """Finds the bank and the address of a word of the state, asks for it, passes the answer on.

    Channel c lies in bank c mod L, row `base + c // L * state_words + word`. The division is a
    repeated subtraction: a host is slow anyway. A second `read` before the answer takes the place
    of the first: it waits for an answer that is still to come from the maps, which is not told. An
    answer in the cycle of a `read` is that of the read before.

    Parameters
    ----------
    lanes, words, pixels : int
        L banks of `words` words of P bytes.
    base : int
        Address of the state's first word in each bank.
    state_words : int
        Words of a channel.
    tells : bool
        Whether `reading` is driven.

    Ports
    -----
    state : In(StateRead(P))
    maps : Out(WordRead(lanes=L, words=words, pixels=P))

    Attributes
    ----------
    reading : Signal
        A word is sought or asked for.
    """

    def __init__(
        self,
        *,
        lanes: int,
        words: int,
        pixels: int,
        base: int,
        state_words: int,
        tells: bool = False,
    ):
        self.lanes, self.words, self.tells = lanes, words, tells
        self.reading = Signal()
        self.base, self.state_words = base, state_words
        super().__init__(
            {
                "state": In(StateRead(pixels)),
                "maps": Out(WordRead(lanes=lanes, words=words, pixels=pixels)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        state, maps = self.state, self.maps
        remaining, row = Signal(16), Signal(range(self.words))
        seeking, asking, coming = Signal(), Signal(), Signal()
        if self.tells:
            m.d.comb += self.reading.eq(seeking | asking)
        with m.If(state.read):
            m.d.sync += [
                seeking.eq(1),
                asking.eq(0),
                remaining.eq(state.channel),
                row.eq(self.base + state.word),
            ]
        with m.Elif(seeking):
            with m.If(remaining >= self.lanes):
                m.d.sync += [remaining.eq(remaining - self.lanes), row.eq(row + self.state_words)]
            with m.Elif(~coming):
                m.d.sync += [seeking.eq(0), asking.eq(1)]
        with m.Elif(maps.done):
            m.d.sync += asking.eq(0)
        with m.If(asking & maps.done):
            m.d.sync += coming.eq(1)
        with m.Elif(maps.valid):
            m.d.sync += coming.eq(0)
        m.d.comb += [
            maps.en.eq(asking),
            maps.bank.eq(remaining),
            maps.address.eq(row),
            # one that comes while another word is sought was asked for before
            state.valid.eq(maps.valid & ~seeking),
            state.data.eq(maps.data),
        ]
        return m
