"""Benches of proofs: a part, what is assumed of its inputs, and what is asserted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Assert, Module, Mux, Signal, Value


@dataclass(frozen=True)
class Bench:
    """A part with properties around it. Its one clock is `sync`; it begins as after a reset.

    Attributes
    ----------
    m : Module
        With `Assert` and `Assume`.
    free : sequence of Signal
        Any value in every cycle.
    reach : mapping of str to Value
        What must be possible: that the assumptions leave something to prove.
    verilog : str
        Modules that are no part's.
    """

    m: Module
    free: Sequence[Signal]
    reach: Mapping[str, Value] = field(default_factory=dict)
    verilog: str = ""


def before(m: Module, value, name: str) -> Signal:
    """A value a cycle ago; 0 after the reset."""
    late = Signal(Value.cast(value).shape(), name=name)
    m.d.sync += late.eq(value)
    return late


def some(m: Module, shape, name: str) -> tuple[Value, Signal]:
    """A value that is anything, but always the same; and the free signal that it is taken from."""
    free, kept, begun = Signal(shape, name=name), Signal(shape, name=f"{name}_kept"), Signal()
    value = Mux(begun, kept, free)
    m.d.sync += [begun.eq(1), kept.eq(value)]
    return value, free


def inputs(component, *but: str) -> list[Signal]:
    """All inputs of a component, but those that are named."""
    from amaranth.lib.wiring import Flow

    found = []
    for path, member, value in component.signature.flatten(component):
        if member.flow is Flow.In and path[0] not in but and "__".join(map(str, path)) not in but:
            found.append(Value.cast(value))
    return found


def check(m: Module, *claims, when=None) -> None:
    """Asserts each claim, in the cycles in which `when` is true."""
    for claim in claims:
        m.d.comb += Assert(claim if when is None else ~Value.cast(when).bool() | claim)
