"""Interfaces that are chosen among, or held back."""

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import Out


def select(m: Module, condition, yes, no, out) -> None:
    """Gives `out` what `yes` says where `condition` is 1, else what `no` says.

    All three have one signature; members that go the other way are left alone.
    """
    for name, member in yes.signature.members.items():
        if member.flow is Out:
            m.d.comb += getattr(out, name).eq(Mux(condition, getattr(yes, name), getattr(no, name)))


def take_turns(m: Module, own, busy, other, transmitter) -> None:
    """A UART's transmitter gets bytes of two sources, from `other` whole packets.

    own, other : boards.outputs.output.PacketStream, from the sources; of `own` only `valid`,
        `data` and `ready` are looked at.
    busy : `own` is inside a packet; between two of its own there is a cycle without.
    """
    turn = Signal()
    with m.If(~turn):
        m.d.sync += turn.eq(other.valid & ~busy)
    with m.Elif(other.ready & other.last):
        m.d.sync += turn.eq(0)
    m.d.comb += [
        transmitter.valid.eq(Mux(turn, other.valid, own.valid)),
        transmitter.data.eq(Mux(turn, other.data, own.data)),
        own.ready.eq(transmitter.ready & ~turn),
        other.ready.eq(transmitter.ready & turn),
    ]


def hold(m: Module, condition, pixels, out) -> None:
    """Gives `out` the `pixels` (both hw.interfaces.Pixels). Where `condition` is 1 there are none,
    and a frame that is open ends: nobody would end it later."""
    for name in pixels.signature.members:
        value = getattr(pixels, name)
        if name == "valid":
            value = value & ~condition
        elif name == "frame_end":
            value = value | condition
        m.d.comb += getattr(out, name).eq(value)
