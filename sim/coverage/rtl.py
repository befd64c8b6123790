"""Line and toggle coverage of the generated Verilog, by module.

Verilator counts how often a block or a branch is entered, and how often a bit rises and falls.
Modules of different engines that are the same block are one here (`block_of`), and what happens in
one simulation need not happen in another: a line is its text, a bit its signal's name and number.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_POINT = re.compile(r"C '(.*)' (\d+)$")
_CODED = re.compile(r"__0([0-9A-Fa-f]{2})")
_TOGGLE = re.compile(r"(.*?)(?:\[(\d+)\])?:([01]->[01])$")


@dataclass(frozen=True)
class Point:
    """A thing that is counted.

    Attributes
    ----------
    module : str
    what : "line" or "toggle"
    place : tuple
        Of a line: its text, without the numbers of nameless wires, and which of its ways. Of a
        toggle: signal, bit, ``0->1`` or ``1->0``.
    """

    module: str
    what: str
    place: tuple


def block_of(module: str) -> str:
    """A module's name without numbers, and from the engine on."""
    name = re.sub(r"\$\d+", "", module.lstrip("\\"))
    name = re.sub(r"\d+", "", name)
    return re.sub(r"^(storm\.)?(rasca\.)?(?=.)", "", name)


def points(counts: Path, text: str) -> Iterator[tuple[Point, int]]:
    """What Verilator wrote of the design with that text; benches and monitors are left out."""
    lines = text.splitlines()
    for row in counts.read_text(errors="replace").splitlines():
        found = _POINT.match(row)
        if not found:
            continue
        fields = dict(part.split("\2", 1) for part in found[1].split("\1") if "\2" in part)
        if Path(fields["f"]).name != "design.v":
            continue
        kind, module = fields["page"].removeprefix("v_").split("/", 1)
        if module.startswith("counters"):  # sim.counters' own
            continue
        block = block_of(module)
        if kind == "toggle":
            name, bit, way = _TOGGLE.match(fields["o"]).groups()
            name = _CODED.sub(lambda code: chr(int(code[1], 16)), name)
            name = re.sub(r"(\$\d+)+$", "", name)  # one more wire with what another one has
            if name and "." not in name:  # a part of a wire that is there as a whole
                yield Point(block, "toggle", (name, int(bit or 0), way)), int(found[2])
        else:
            if "verilog_backend" in lines[int(fields["l"]) - 1]:  # of no use, for old simulators
                continue
            line = re.sub(r"\\(?:port)?(?:\$\d+)+", "$", lines[int(fields["l"]) - 1]).strip()
            yield Point(block, "line", (line, fields["o"])), int(found[2])


@dataclass
class Module:
    """Points of a module, and which of them came up.

    Attributes
    ----------
    lines, toggles : dict from place to count
    """

    lines: dict[tuple, int] = field(default_factory=lambda: defaultdict(int))
    toggles: dict[tuple, int] = field(default_factory=lambda: defaultdict(int))

    def still(self) -> list[str]:
        """Signals of which a bit never changed, or only once: ``name[3, 7-9]``."""
        bits: dict[str, set[int]] = defaultdict(set)
        whole: dict[str, set[int]] = defaultdict(set)
        for (name, bit, _), count in self.toggles.items():
            whole[name].add(bit)
            if not count:
                bits[name].add(bit)
        return [
            name if found == whole[name] else f"{name}[{_ranges(found)}]"
            for name, found in sorted(bits.items())
        ]

    def unrun(self) -> list[str]:
        """Lines of which a way was never taken."""
        return sorted(f"{text} ({way})" for (text, way), count in self.lines.items() if not count)


def _ranges(numbers: Iterable[int]) -> str:
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, one)) for one in found)


class Coverage:
    """Sums over simulations, by record of parts and module."""

    def __init__(self) -> None:
        self.modules: dict[str, Module] = defaultdict(Module)

    def add(self, folder: Path, prefix: str = "") -> None:
        """All runs of a folder (`sim.runner.covering`). prefix: before the modules' names."""
        for counts in sorted(folder.glob("*.dat")):
            text = (folder / f"{counts.stem.rpartition('-')[0]}.v").read_text()
            for point, count in points(counts, text):
                module = self.modules[prefix + point.module]
                (module.lines if point.what == "line" else module.toggles)[point.place] += count
