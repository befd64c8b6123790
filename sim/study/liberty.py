"""Liberty files: what a study needs of a standard-cell library.

A small reader of its own: areas, pin capacitances, leakage, energy tables. Delays stay with the
timing tool, functions with Yosys.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

_SYNTAX = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([{}();:,])|([^\s{}();:,"]+))', re.S)
_PREFIX = {"m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "": 1.0}


@dataclass
class Group:
    """`kind (names) { ... }`: simple attributes, complex ones, groups within."""

    kind: str
    names: list[str]
    attributes: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, kind: str) -> list["Group"]:
        return [group for group in self.groups if group.kind == kind]

    def number(self, name: str, default: float = 0.0) -> float:
        return float(self.attributes.get(name, default))


@dataclass(frozen=True)
class Table:
    """A look-up table over load (pF) and transition (ns), either of which may be missing."""

    axes: tuple[tuple[str, tuple[float, ...]], ...]  # ("load" or "transition", steps)
    values: tuple[float, ...]

    def at(self, load: float) -> float:
        """Value at a load; of the transitions the second step of the table's axis is taken.

        Linear between the steps, the nearest step outside of them.
        """
        values, points = list(self.values), []
        for kind, steps in self.axes:
            points.append((load if kind == "load" else steps[min(1, len(steps) - 1)], steps))
        for point, steps in reversed(points):  # the last axis is the fastest
            at = min(max(point, steps[0]), steps[-1])
            i = max(0, min(bisect_right(steps, at) - 1, len(steps) - 2))
            rows = [values[k : k + len(steps)] for k in range(0, len(values), len(steps))]
            if len(steps) == 1:
                values = [row[0] for row in rows]
                continue
            part = (at - steps[i]) / (steps[i + 1] - steps[i])
            values = [row[i] + part * (row[i + 1] - row[i]) for row in rows]
        return values[0]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A pin of a cell: `capacitance` in pF, energy tables in pJ."""

    direction: str
    capacitance: float
    function: str
    clock: bool
    rise: tuple[Table, ...]
    fall: tuple[Table, ...]

    def energy(self, load: float) -> float:
        """Energy in pJ inside the cell for one change of this pin: mean of rising and falling,
        and of the table's conditions, which nobody watches here."""
        parts = [part for part in (self.rise, self.fall) if part]
        means = [sum(table.at(load) for table in part) / len(part) for part in parts]
        return sum(means) / 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: `area` in the library's unit (um2), `leakage` in nW.

    `state`: for a flip-flop, the attributes of its `ff` group (next_state, clocked_on, clear,
    preset) and "names", those of its state and of its inverse.
    """

    name: str
    area: float
    leakage: float
    state: dict[str, Any] | None
    pins: dict[str, Pin]

    @property
    def flip_flop(self) -> bool:
        return self.state is not None


@dataclass(frozen=True, kw_only=True)
class Library:
    """A standard-cell library at one corner."""

    name: str
    voltage: float
    temperature: float
    time_ns: float  # the library's unit of time
    cells: dict[str, Cell]

    @property
    def corner(self) -> str:
        return f"{self.voltage:g} V, {self.temperature:g} C"

    @property
    def inverter(self) -> str:
        """The smallest inverter: it drives the inputs while gates are chosen."""
        found = [
            cell
            for cell in self.cells.values()
            for pin in cell.pins.values()
            if re.fullmatch(r"\(?(!\s*\w+|\w+\s*')\)?", pin.function) and len(_logic(cell)) == 2
        ]
        if not found:
            raise ValueError(f"library {self.name} has no inverter")
        return min(found, key=lambda cell: cell.area).name


def value(function: str, of: dict[str, int]) -> int:
    """A Liberty function's value: ! and ' bind most, then ^, then AND (& * or a blank), then OR.

    Raises
    ------
    ValueError
        It cannot be read, or names a pin that is not in `of`.
    """
    words = re.findall(r"[\w.\[\]]+|[^\s]", function)
    at = 0

    def peek() -> str:
        return words[at] if at < len(words) else ""

    def atom() -> int:
        nonlocal at
        word = peek()
        at += 1
        if word == "!":
            return 1 - atom()
        if word == "(":
            found = either()
            if peek() != ")":
                raise ValueError(f"function {function!r} cannot be read")
            at += 1
        elif word in ("0", "1"):
            found = int(word)
        elif word in of:
            found = of[word]
        else:
            raise ValueError(f"function {function!r} cannot be read at {word!r}")
        while peek() == "'":
            at += 1
            found = 1 - found
        return found

    def odd() -> int:
        nonlocal at
        found = atom()
        while peek() == "^":
            at += 1
            found ^= atom()
        return found

    def both() -> int:
        nonlocal at
        found = odd()
        while peek() and peek() not in "+|)":
            if peek() in "&*":
                at += 1
            found &= odd()
        return found

    def either() -> int:
        nonlocal at
        found = both()
        while peek() and peek() in "+|":
            at += 1
            found |= both()
        return found

    found = either()
    if at < len(words):
        raise ValueError(f"function {function!r} cannot be read at {peek()!r}")
    return found


@lru_cache(maxsize=4096)
def table(function: str, inputs: tuple[str, ...]) -> str:
    """Values of a function for the inputs 0, 1, 2, ... (the first one is the lowest bit)."""
    rows = [{name: i >> k & 1 for k, name in enumerate(inputs)} for i in range(1 << len(inputs))]
    return "".join(str(value(function, row)) for row in rows)


def _logic(cell: Cell) -> list[Pin]:
    return [pin for pin in cell.pins.values() if pin.direction in ("input", "output")]


def _tokens(text: str):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"\\\s*?\n", " ", text)
    # a statement may end with its line
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _SYNTAX.match(text, at)
        if match is None:
            raise ValueError(f"cannot be read from {text[at : at + 20]!r}")
        newline = "\n" in text[at : match.start(match.lastindex)]
        at = match.end()
        yield match.group(match.lastindex), newline


def parse(text: str) -> Group:
    """The tree of a Liberty file; ValueError where it is none."""
    tokens = list(_tokens(text))
    at = 0

    def peek():
        return tokens[at][0] if at < len(tokens) else ""

    def arguments() -> list[str]:
        nonlocal at
        found = []
        at += 1
        while peek() != ")":
            if not peek():
                raise ValueError("a bracket is not closed")
            if peek() != ",":
                found.append(peek().strip('"'))
            at += 1
        at += 1
        return found

    def statements(group: Group) -> None:
        nonlocal at
        while peek() and peek() != "}":
            name = peek()
            at += 1
            if name == ";":
                continue
            if peek() == ":":
                at += 1
                words = []
                while peek() not in (";", "}", "") and not (words and tokens[at][1]):
                    words.append(peek().strip('"'))
                    at += 1
                group.attributes[name] = " ".join(words)
            elif peek() == "(":
                names = arguments()
                if peek() == "{":
                    at += 1
                    inner = Group(name, names)
                    statements(inner)
                    if peek() != "}":
                        raise ValueError(f"{name} ({', '.join(names)}) is not closed")
                    at += 1
                    group.groups.append(inner)
                else:
                    group.lists.setdefault(name, []).extend(names)
            else:
                raise ValueError(f"{name!r} is followed by {peek()!r}")

    whole = Group("", [])
    statements(whole)
    libraries = whole.all("library")
    if len(libraries) != 1 or peek():
        raise ValueError("there is not one library in it")
    return libraries[0]


def _unit(text: str) -> float:
    """ "1ns" or "10pW" to seconds, watts."""
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([munpf]?)[a-zA-Z]+\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is no unit")
    return float(match[1]) * _PREFIX[match[2]]


def _numbers(texts: list[str]) -> tuple[float, ...]:
    return tuple(float(word) for text in texts for word in text.replace(",", " ").split())


def _table(group: Group, templates: dict[str, Group], energy: float, farads: float, seconds: float):
    """A table with its axes in pF and ns, its values in pJ."""
    template = templates.get(group.names[0] if group.names else "scalar", Group("", []))
    axes = []
    for i in (1, 2, 3):
        steps = _numbers(group.lists.get(f"index_{i}", template.lists.get(f"index_{i}", [])))
        variable = template.attributes.get(f"variable_{i}", "")
        if steps:
            load = "capacitance" in variable
            unit = farads / 1e-12 if load else seconds / 1e-9
            axes.append(("load" if load else "transition", tuple(step * unit for step in steps)))
    values = tuple(value * energy / 1e-12 for value in _numbers(group.lists.get("values", [])))
    size = 1
    for _, steps in axes:
        size *= len(steps)
    if len(values) != size:
        raise ValueError(f"a table has {len(values)} values, its axes {size}")
    return Table(tuple(axes), values)


def read(path: Path) -> Library:
    """A library from its file.

    Raises
    ------
    ValueError
        In one line: no such file, or no Liberty file.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    try:
        return _library(parse(text))
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{path} is no Liberty file that can be read: {error}") from None


def _library(tree: Group) -> Library:
    attributes = tree.attributes
    seconds = _unit(attributes.get("time_unit", "1ns"))
    watts = _unit(attributes.get("leakage_power_unit", "1nW"))
    volts = _unit(attributes.get("voltage_unit", "1V"))
    size, unit = tree.lists.get("capacitive_load_unit", ["1", "pf"])
    farads = float(size) * _PREFIX[unit.lower()[0]]
    energy = farads * volts * volts  # the unit of internal_power
    templates = {g.names[0]: g for g in tree.groups if g.kind.endswith("_template") and g.names}
    cells = {}
    for group in tree.all("cell"):
        pins = {}
        found = [(pin, name) for pin in group.all("pin") for name in pin.names]
        for bundle in [*group.all("bus"), *group.all("bundle")]:
            found += [(pin, name) for pin in bundle.all("pin") for name in pin.names]
        for pin, name in found:
            tables: dict[str, list[Table]] = {"rise": [], "fall": []}
            for power in pin.all("internal_power"):
                for kind, into in tables.items():
                    both = [*power.all(f"{kind}_power"), *power.all("power")]
                    into += [_table(t, templates, energy, farads, seconds) for t in both]
            pins[name] = Pin(
                direction=pin.attributes.get("direction", ""),
                capacitance=pin.number("capacitance") * farads / 1e-12,
                function=pin.attributes.get("function", ""),
                clock=pin.attributes.get("clock", "") == "true",
                rise=tuple(tables["rise"]),
                fall=tuple(tables["fall"]),
            )
        leaks = [leak.number("value") for leak in group.all("leakage_power")]
        leakage = group.number("cell_leakage_power", sum(leaks) / max(1, len(leaks)))
        name, state = group.names[0], None
        if group.all("ff"):
            flop = group.all("ff")[0]
            state = {**flop.attributes, "names": flop.names}
        cells[name] = Cell(
            name=name,
            area=group.number("area"),
            leakage=leakage * watts / 1e-9,
            state=state,
            pins=pins,
        )
    if not any(cell.flip_flop for cell in cells.values()):
        raise ValueError("it has no flip-flop")
    return Library(
        name=tree.names[0],
        voltage=float(attributes.get("nom_voltage", 1.0)) * volts,
        temperature=float(attributes.get("nom_temperature", 25)),
        time_ns=seconds / 1e-9,
        cells=cells,
    )
