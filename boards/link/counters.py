"""Counters: a packet in the memory that is kept up to date."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards import packets
from boards.link.memory import HEADER, ROTATION, Layout
from boards.link.sender import Departure
from boards.packets import COUNTERS
from hw.interfaces import write_port


class CounterKeeper(wiring.Component):
    """16-bit counters that lie in the memory, one of them looked at every second rotation.

    A counter's bit 0 differs from its toggle: it is one behind. After reset all are cleared.

    Model: `boards.packets.Counters.pack`.

    Parameters
    ----------
    layout : Layout

    Ports
    -----
    toggles : In(11)
        For each of COUNTERS less the link's own a bit that changes with each count, 0 after reset.
        Two changes within 60 rotations and the time of two bytes on the UART may be taken for none.
    counts : In(3), pulses: the link's own, in the order of COUNTERS
    asked : In(1), pulse: the host wants the packet
    phase : In(2), of the memory; late : In(8), the memory's
    address : Out(range(depth)), write : In(write_port(depth, 8)), to the memory, phase 2
    packet : Out(Departure()), due when one of them moved, or it is asked for
    sender_address : In(range(depth)), where the sender is
    """

    def __init__(self, *, layout: Layout):
        self.layout = layout
        super().__init__(
            {
                "toggles": In(len(COUNTERS) - packets.LINK_COUNTERS),
                "counts": In(packets.LINK_COUNTERS),
                "asked": In(1),
                "phase": In(range(ROTATION)),
                "late": In(8),
                "address": Out(range(layout.depth)),
                "write": In(write_port(layout.depth, 8)),
                "packet": Out(Departure()),
                "sender_address": In(range(layout.depth)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        own = Signal(packets.LINK_COUNTERS)
        m.d.sync += own.eq(own ^ self.counts)
        come = Signal.like(self.toggles)  # a register: they come from everywhere
        m.d.sync += come.eq(self.toggles)
        toggles, place, count = Cat(come, own), self.address, len(COUNTERS)
        index = Signal(range(count))
        high, second, hit, clearing = Signal(), Signal(), Signal(), Signal(init=1)
        value = Signal(8)
        # The two bytes of the counter that the sender is at must belong together. It got there a
        # byte ago, and what has begun is through in four rotations.
        leaving, behind, beside = Signal(), Signal(), Signal()
        m.d.comb += [
            # the payload begins at 4: index + 2 words
            place.eq(self.layout.counters | Cat(high, (index + HEADER // 2)[:4])),
            self.write.en.eq(second & hit),
            self.write.addr.eq(place),
            self.write.data.eq(value),
            behind.eq(self.late[0] ^ toggles.bit_select(index, 1)),
            beside.eq(leaving & (self.sender_address[1:5] == place[1:5])),
        ]
        with m.If(self.phase == 0):
            with m.If(~second):
                m.d.sync += [
                    second.eq(1),
                    value.eq(Mux(clearing, 0, self.late + 1)),
                    hit.eq(high | clearing | (behind & ~beside)),
                ]
            with m.Else():
                m.d.sync += second.eq(0)
                with m.If(hit & ~high & (value == 0)):
                    m.d.sync += high.eq(1)
                with m.Else():
                    m.d.sync += [high.eq(0), index.eq(index + 1)]
                    with m.If(index == count - 1):
                        m.d.sync += [index.eq(0), clearing.eq(0)]
        with m.If(self.packet.sent):
            m.d.sync += leaving.eq(0)
        with m.If(self.packet.begun):
            m.d.sync += [self.packet.due.eq(0), leaving.eq(1)]
        with m.If(self.asked | ((self.phase == 2) & second & hit & ~clearing)):
            m.d.sync += self.packet.due.eq(1)
        return m
