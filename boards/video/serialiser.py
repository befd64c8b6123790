"""Words of ten bits out of a pin at twice the rate of a fast clock."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

BITS = 10
CLOCK_WORD = 0b0000011111
"""What the clock's pair sends: a word of its own."""


class Serialiser(wiring.Component):
    """Three channels and the clock, two bits each in a cycle of `shift`.

    `shift` is five times as fast as `video`. The two need no phase: a bit that changes with each
    pixel crosses through two flip-flops and says when the words, which stand still for five cycles,
    are taken.

    Parameters
    ----------
    domain, fast : str
        The two domains.

    Ports
    -----
    words : In(10).array(3), video
    pairs : Out(2).array(4), shift
        Blue, green, red, clock; bit 0 first.
    """

    def __init__(self, *, domain: str = "video", fast: str = "shift"):
        self.domain, self.fast = domain, fast
        super().__init__({"words": In(BITS).array(3), "pairs": Out(2).array(4)})

    def elaborate(self, platform):
        m = Module()
        slow, fast = m.d[self.domain], m.d[self.fast]
        beat, seen, before, take = (Signal(name=n) for n in ("beat", "seen", "before", "take"))
        slow += beat.eq(~beat)
        m.submodules.beat = FFSynchronizer(beat, seen, o_domain=self.fast)
        fast += [before.eq(seen), take.eq(seen ^ before)]
        words = [*self.words, Const(CLOCK_WORD, BITS)]
        for i, word in enumerate(words):
            held = Signal(BITS, name=f"held{i}")
            fast += held.eq(held >> 2)
            with m.If(take):
                fast += held.eq(word)
            m.d.comb += self.pairs[i].eq(Cat(held[:2]))
        return m
