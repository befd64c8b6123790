"""Pins of a board's design: buffers under names of their own."""

from amaranth.hdl import Module, Value
from amaranth.lib import io


def read(m: Module, name: str, port: io.PortLike) -> Value:
    """What an input says, as it comes."""
    buffer = m.submodules[f"pin_{name}"] = io.Buffer("i", port)
    return buffer.i


def drive(m: Module, name: str, port: io.PortLike, value) -> None:
    """An output has this value."""
    buffer = m.submodules[f"pin_{name}"] = io.Buffer("o", port)
    m.d.comb += buffer.o.eq(value)


def open_drain(m: Module, name: str, port: io.PortLike, low) -> Value:
    """A pin that is pulled low where `low` is 1; returns what it says."""
    buffer = m.submodules[f"pin_{name}"] = io.Buffer("io", port)
    m.d.comb += [buffer.o.eq(0), buffer.oe.eq(low)]
    return buffer.i
