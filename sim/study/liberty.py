"""Liberty files: what a study needs of a standard-cell library.

A small reader of its own: areas, pin capacitances, leakage, energy tables. Delays stay with the
timing tool, functions with Yosys.

Power as OpenSTA sums it, with every input 0 and 1 half of the time: conditions (`when`) of a supply
pin are weighed by how often they hold; supply pins are added up, of leakage the primary power pins.
"""

import gzip
import re
import shlex
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from golden.errors import check_size, one_line, said

_SYNTAX = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([{}();:,])|([^\s{}();:,"]+))', re.S)
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.S)
MOST_BYTES = 1 << 29
"""Of a file, unpacked: several times the largest open library."""
MOST_WORDS = 200
"""Of a function: brackets in brackets are read one in the other."""
_MOST_NAMES = 12  # pins in a condition whose truth table is worked out
_PREFIX = {"m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "": 1.0}
_SMALLEST_UNIT, _LARGEST = 1e-24, 1e30
"""A unit in seconds, watts, ...; any number of a library, in its units."""


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
        return _number(self.attributes.get(name, default))


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
    """A pin of a cell: `capacitance` in pF, energy tables in pJ, each with its weight."""

    direction: str
    capacitance: float
    function: str
    clock: bool
    rise: tuple[tuple[float, Table], ...]
    fall: tuple[tuple[float, Table], ...]

    def energy(self, load: float) -> float:
        """Energy in pJ inside the cell for one change of this pin: mean of rising and falling,
        and of the tables' conditions, which nobody watches here; summed over the supply pins."""
        return sum(weight * table.at(load) for weight, table in (*self.rise, *self.fall)) / 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: `area` in the library's unit (um2), `leakage` in nW.

    `state`: for a flip-flop, the attributes of its `ff` group (next_state, clocked_on, clear,
    preset) and "names", those of its state and of its inverse. `gate`: for an integrated
    clock-gating cell of the rising clock that has no pin for test.
    """

    name: str
    area: float
    leakage: float
    state: dict[str, Any] | None
    pins: dict[str, Pin]
    usable: bool = True  # not marked `dont_use`
    gate: tuple[str, str, str] | None = None  # a clock gate's pins: enable, clock, gated clock

    @property
    def flip_flop(self) -> bool:
        return self.state is not None


@dataclass(frozen=True, kw_only=True)
class Library:
    """A standard-cell library at one corner.

    `sources`: the files that it was read from, and `texts`, what was in them (for other tools).
    """

    name: str
    voltage: float
    temperature: float
    time_ns: float  # the library's unit of time
    cells: dict[str, Cell]
    sources: tuple[Path, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def corner(self) -> str:
        return f"{self.voltage:g} V, {self.temperature:g} C"

    @property
    def inverter(self) -> str:
        """The smallest inverter: it drives the inputs while gates are chosen."""
        found = [cell for cell in self.cells.values() if cell.usable and _inverts(cell)]
        if not found:
            raise self._lacks("inverter")
        return min(found, key=lambda cell: cell.area).name

    @property
    def clock_gate(self) -> Cell:
        """The smallest integrated clock-gating cell.

        Raises
        ------
        ValueError
            There is none of the rising clock without a pin for test.
        """
        found = [cell for cell in self.cells.values() if cell.gate]
        if not found:
            raise self._lacks("clock-gating cell (clock_gating_integrated_cell : latch_posedge)")
        return min(found, key=lambda cell: cell.area)

    def check_gates(self) -> None:
        """ValueError for a library to which nothing can be mapped.

        It has no inverter, or no NAND, AND, NOR or OR of two inputs, without which ABC, after
        minutes, takes it for none.
        """
        _ = self.inverter
        if not any(cell.usable and _is_gate(cell) for cell in self.cells.values()):
            raise self._lacks("NAND, AND, NOR or OR of two inputs")

    def _lacks(self, what: str) -> ValueError:
        return ValueError(
            f"library {self.name} has no {what} (expected at least one, not none among its "
            f"{len(self.cells)} cells)"
        )


def value(function: str, of: dict[str, int]) -> int:
    """A Liberty function's value: ! and ' bind most, then ^, then AND (& * or a blank), then OR.

    Raises
    ------
    ValueError
        It cannot be read, or names a pin that is not in `of`.
    """
    words = re.findall(r"[\w.\[\]]+|[^\s]", function)
    if len(words) > MOST_WORDS:
        raise ValueError(f"a function must have at most {MOST_WORDS} words, not {len(words)}")
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

    try:
        found = either()
    except RecursionError:
        raise ValueError(f"function {function[:40]!r}... has too many brackets") from None
    if at < len(words):
        raise ValueError(f"function {function!r} cannot be read at {peek()!r}")
    return found


@lru_cache(maxsize=4096)
def table(function: str, inputs: tuple[str, ...]) -> str:
    """Values of a function for the inputs 0, 1, 2, ... (the first one is the lowest bit)."""
    rows = [{name: i >> k & 1 for k, name in enumerate(inputs)} for i in range(1 << len(inputs))]
    return "".join(str(value(function, row)) for row in rows)


def _inverts(cell: Cell) -> bool:
    """Whether its truth table is an inverter's, however its function is written."""
    return _table_of(cell, 1) == "10"


def _is_gate(cell: Cell) -> bool:
    """Whether it is an AND, NAND, OR or NOR of two inputs."""
    return _table_of(cell, 2) in ("0001", "1110", "0111", "1000")


def _table_of(cell: Cell, count: int) -> str | None:
    """Truth table of a gate of so many inputs and one output; None of any other cell."""
    inputs = [name for name, pin in cell.pins.items() if pin.direction == "input"]
    outputs = [pin for pin in cell.pins.values() if pin.direction in ("output", "inout")]
    if cell.state is not None or len(inputs) != count or len(outputs) != 1:
        return None
    try:
        return table(outputs[0].function, tuple(inputs))
    except ValueError:
        return None


def _share(condition: str) -> float:
    """How often a `when` holds if all its pins are 0 and 1 half of the time; 1 without one."""
    if not condition:
        return 1.0
    names = tuple(dict.fromkeys(re.findall(r"[A-Za-z_][\w.\[\]]*", condition)))
    if len(names) > _MOST_NAMES:
        return 1.0
    try:
        ones = table(condition, names).count("1")
    except ValueError:
        return 1.0
    return ones / (1 << len(names))


def _rail(power: "Group") -> str:
    """The supply pin that a power is of; the older `power_level` says it, too."""
    return power.attributes.get("related_pg_pin", power.attributes.get("power_level", ""))


def _weighed(powers: list[tuple["Group", Any]]) -> tuple[tuple[float, Any], ...]:
    """(weight, what) of powers of one pin: the weights of each supply pin add up to 1."""
    shares = [_share(power.attributes.get("when", "")) for power, _ in powers]
    sums: dict[str, float] = {}
    for (power, _), share in zip(powers, shares, strict=True):
        sums[_rail(power)] = sums.get(_rail(power), 0.0) + share
    return tuple(
        (share / sums[_rail(power)], what)
        for (power, what), share in zip(powers, shares, strict=True)
        if sums[_rail(power)]
    )


def _gate(cell: "Group") -> tuple[str, str, str] | None:
    """Enable, clock and output of a clock gate; None of any other cell, and of one for test."""
    if cell.attributes.get("clock_gating_integrated_cell", "") != "latch_posedge":
        return None
    found = {
        role: [
            name
            for pin in cell.all("pin")
            for name in pin.names
            if pin.attributes.get(f"clock_gate_{role}_pin", "") == "true"
        ]
        for role in ("enable", "clock", "out")
    }
    if any(len(names) != 1 for names in found.values()):
        return None
    return found["enable"][0], found["clock"][0], found["out"][0]


def _leakage(cell: "Group", default: float) -> float:
    """Leakage of a cell in the library's unit: what it says of itself, else of its conditions.

    What has no `when` is for the time in which no condition holds, or for all of it.
    """
    if "cell_leakage_power" in cell.attributes:
        return cell.number("cell_leakage_power")
    kinds = {
        name: pin.attributes.get("pg_type", "") for pin in cell.all("pg_pin") for name in pin.names
    }
    rails: dict[str, list[Group]] = {}
    for leak in cell.all("leakage_power"):
        if kinds.get(_rail(leak), "primary_power") == "primary_power":
            rails.setdefault(_rail(leak), []).append(leak)
    if not cell.all("leakage_power"):
        return default
    total = 0.0
    for leaks in rails.values():
        held = [
            (_share(one.attributes["when"]), one.number("value"))
            for one in leaks
            if "when" in one.attributes
        ]
        always = [one.number("value") for one in leaks if "when" not in one.attributes]
        time = sum(share for share, _ in held)
        total += sum(share * value for share, value in held) / max(1.0, time)
        if always:
            total += max(0.0, 1 - time) * sum(always) / len(always)
        elif 0 < time < 1:  # the rest of the time as in these conditions
            total += (1 / time - 1) * sum(share * value for share, value in held)
    return total


def _tokens(text: str):
    text = _COMMENT.sub(lambda match: match[1] or " ", text)
    text = re.sub(r"\\\s*?\n", " ", text)
    # a statement may end with its line
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _SYNTAX.match(text, at)
        if match is None:
            raise ValueError(f"expected a statement, not {text[at : at + 20]!r}")
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
                raise ValueError("expected a closing bracket, not the end")
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
                raise ValueError(f"expected : or ( after {name!r}, not {peek() or 'the end'!r}")

    whole = Group("", [])
    statements(whole)
    libraries = whole.all("library")
    if len(libraries) != 1 or peek():
        came = f"{len(libraries)}" if len(libraries) != 1 else f"{peek()!r} behind it"
        raise ValueError(f"expected one library in it, not {came}")
    return libraries[0]


def _unit(text: str) -> float:
    """ "1ns" or "10pW" to seconds, watts."""
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([munpf]?)[a-z]+\s*", text.lower())
    value = _number(match[1]) * _PREFIX[match[2]] if match else 0.0
    if not _SMALLEST_UNIT <= value <= 1:
        raise ValueError(f"expected a unit such as 1ns, not {text!r}")
    return value


def _number(text: str | float) -> float:
    """Small enough that nothing made of it is infinite."""
    value = float(text)
    if not abs(value) < _LARGEST:  # a nan is not, either
        raise ValueError(f"expected a number below {_LARGEST:g}, not {text}")
    return value


def _numbers(texts: list[str]) -> tuple[float, ...]:
    return tuple(_number(word) for text in texts for word in text.replace(",", " ").split())


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
            scaled = tuple(step * unit for step in steps)
            if any(first >= second for first, second in pairwise(scaled)):
                raise ValueError(f"expected index_{i} of a table to rise, not {steps}")
            axes.append(("load" if load else "transition", scaled))
    values = tuple(value * energy / 1e-12 for value in _numbers(group.lists.get("values", [])))
    size = 1
    for _, steps in axes:
        size *= len(steps)
    if len(values) != size:
        raise ValueError(f"a table has {len(values)} values, its axes {size}")
    return Table(tuple(axes), values)


def files(given: str | Path) -> tuple[Path, ...]:
    """The files that an option names: one, or several with blanks or commas between them.

    Raises
    ------
    ValueError
        None are named.
    """
    if Path(given).exists():  # its name may have blanks
        return (Path(given),)
    try:
        words = shlex.split(str(given).replace(",", " "))
    except ValueError:
        words = [str(given)]
    if not all(word.endswith((".lib", ".gz")) for word in words):
        words = [str(given)]  # of one file that is not there
    return tuple(Path(word) for word in words)


def read(*paths: Path) -> Library:
    """A library from its files, each Liberty text or that text compressed by gzip.

    Raises
    ------
    ValueError
        In one line: no such file, no Liberty file, no flip-flop, a cell in two of the files, or
        files of different corners.
    """
    parts, texts = [], []
    for path in paths:
        try:
            check_size(path, MOST_BYTES)
            content = path.read_bytes()
            if content[:2] == b"\x1f\x8b":
                with gzip.open(path) as file:
                    content = file.read(MOST_BYTES + 1)
                if len(content) > MOST_BYTES:
                    raise ValueError(
                        f"{path}: must unpack to at most {MOST_BYTES:,} bytes, not more"
                    )
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected a whole gzip file, but: {error}") from None
        except OSError as error:
            raise ValueError(said(error)) from None
        text = content.decode(errors="replace")
        try:
            parts.append(_library(parse(text)))
        except (ValueError, IndexError, KeyError, RecursionError) as error:
            reason = one_line(error)
            raise ValueError(f"{path} is no Liberty file that can be read: {reason}") from None
        texts.append(text)
    cells: dict[str, Cell] = {}
    for path, part in zip(paths, parts, strict=True):
        if part.corner != parts[0].corner:
            raise ValueError(f"{path} is of {part.corner}, {paths[0]} of {parts[0].corner}")
        for name, cell in part.cells.items():
            if name in cells:
                raise ValueError(f"{path}: cell {name} is in another of the files, too")
            cells[name] = cell
    if not any(cell.flip_flop for cell in cells.values()):
        what = "it has" if len(paths) == 1 else f"the {len(paths)} files have"
        named = ", ".join(map(str, paths))
        raise ValueError(
            f"{named} is no Liberty file that can be read: {what} no flip-flop, expected one"
        )
    return Library(
        name=" + ".join(part.name for part in parts),
        voltage=parts[0].voltage,
        temperature=parts[0].temperature,
        time_ns=parts[0].time_ns,
        cells=cells,
        sources=tuple(paths),
        texts=tuple(texts),
    )


def _library(tree: Group) -> Library:
    attributes = tree.attributes
    seconds = _unit(attributes.get("time_unit", "1ns"))
    watts = _unit(attributes.get("leakage_power_unit", "1nW"))
    volts = _unit(attributes.get("voltage_unit", "1V"))
    farads = _unit("".join(tree.lists.get("capacitive_load_unit", ["1", "pf"])))
    energy = farads * volts * volts  # the unit of internal_power
    templates = {g.names[0]: g for g in tree.groups if g.kind.endswith("_template") and g.names}
    cells = {}
    for group in tree.all("cell"):
        pins = {}
        found = [(pin, name, {}) for pin in group.all("pin") for name in pin.names]
        for bundle in [*group.all("bus"), *group.all("bundle")]:
            for pin in bundle.all("pin"):
                found += [(pin, name, bundle.attributes) for name in pin.names]
        for pin, name, outer in found:
            tables: dict[str, list[tuple[Group, Table]]] = {"rise": [], "fall": []}
            for power in pin.all("internal_power"):
                for kind, into in tables.items():
                    both = [*power.all(f"{kind}_power"), *power.all("power")]
                    into += [(power, _table(t, templates, energy, farads, seconds)) for t in both]
            pins[name] = Pin(
                direction=pin.attributes.get("direction", outer.get("direction", "")),
                capacitance=pin.number("capacitance") * farads / 1e-12,
                function=pin.attributes.get("function", ""),
                clock=pin.attributes.get("clock", "") == "true",
                rise=_weighed(tables["rise"]),
                fall=_weighed(tables["fall"]),
            )
        leakage = _leakage(group, tree.number("default_cell_leakage_power"))
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
            usable=group.attributes.get("dont_use", "") != "true",
            gate=_gate(group),
        )
    return Library(
        name=tree.names[0],
        voltage=tree.number("nom_voltage", 1.0) * volts,
        temperature=tree.number("nom_temperature", 25),
        time_ns=seconds / 1e-9,
        cells=cells,
    )
