"""Numbers that follow from the clock and that synthesis leaves alone."""

from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal

from boards.family import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Held:
    """A count of clock cycles, made of lookup tables: one a bit, whose table is that bit.

    Netlists of two clocks are then the same but for parameters of cells, so that they are placed
    and routed alike (docs/boards_timing.md, "The clock that is shipped").

    Attributes
    ----------
    cycles : int
    most : int
        The largest number that any clock asks for: as wide are the registers that count it.
    cells : str
        Whose lookup tables, see boards.family.
    """

    cycles: int
    most: int
    cells: str

    def __post_init__(self) -> None:
        if self.cells not in FAMILIES:
            raise ValueError(f"cells must be one of {', '.join(FAMILIES)}, not {self.cells!r}")
        if not 0 <= self.cycles <= self.most:
            raise ValueError(f"cycles must be 0..{self.most}, not {self.cycles}")


def number(m: Module, name: str, value: int, held: Held | None) -> Signal | Const:
    """`value`, which is at most `held.most`, in lookup tables of `m`; a constant without `held`."""
    if held is None:
        return Const(value)
    lut = FAMILIES[held.cells].table
    found = Signal(range(held.most + 1), name=name)
    for i in range(len(found)):
        pins = {f"i_{pin}": Const(0) for pin in lut.inputs} | {f"o_{lut.output}": found[i]}
        bit = Const(0xFFFF * (value >> i & 1), 16)
        table = {f"p_{lut.table}": bit}
        m.submodules[f"{name}{i}"] = Instance(lut.cell, a_keep=1, **table, **pins)
    return found
