"""Interfaces that are chosen among, or held back."""

from amaranth import Module, Mux
from amaranth.lib.wiring import Out


def select(m: Module, condition, yes, no, out) -> None:
    """Gives `out` what `yes` says where `condition` is 1, else what `no` says.

    All three have one signature; members that go the other way are left alone.
    """
    for name, member in yes.signature.members.items():
        if member.flow is Out:
            m.d.comb += getattr(out, name).eq(Mux(condition, getattr(yes, name), getattr(no, name)))


def hold(m: Module, condition, pixels, out) -> None:
    """Gives `out` the `pixels` (both hw.interfaces.Pixels), none of them where `condition` is 1."""
    for name in pixels.signature.members:
        value = getattr(pixels, name)
        if name in ("valid", "frame_end"):
            value = value & ~condition
        m.d.comb += getattr(out, name).eq(value)
