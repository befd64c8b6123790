"""Interfaces that are chosen among, or held back."""

from amaranth import Module, Mux
from amaranth.lib.wiring import In, Out

from hw.interfaces import Engine, flat_name


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


def engine_ports(m: Module, rasca):
    """The engine's ports, whose names are flat, as hw.interfaces.Engine."""
    model, classes = rasca.plan.model, rasca.plan.model.class_count
    signature = Engine(
        in_channels=model.in_channels, classes=classes, pixels=rasca.plan.engine.pixels
    )
    ports = signature.create(path=("engine",))
    for path, member, signal in signature.flatten(ports):
        name = flat_name(path, classes)
        port = getattr(rasca, "pixel_red" if name == "pixel_luma" else name)
        m.d.comb += port.eq(signal) if member.flow is In else signal.eq(port)
    return ports
