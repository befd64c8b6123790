"""Power of a mapped netlist from what really switches in it: a simulation counts, Liberty weighs.

Each net's changes over some row groups of a photograph, times the energy that the library gives
for one: in the load that it drives, and inside the cell. Zero delay, so no glitches; no wires, no
clock tree.
"""

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.study.liberty import Cell, Library, table
from sim.study.mapped import Netlist

SIMULATOR = Path(__file__).with_name("gates.cpp")
BOX = re.compile(r"sram_(\d+)x(\d+)")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A library cell or a memory: its pins' nets by number in the whole design."""

    path: tuple[str, ...]
    kind: str
    pins: dict[str, list[int]]


@dataclass
class Flat:
    """A netlist without borders: nets have numbers, 0 and 1 are the constants."""

    nets: int
    ports: dict[str, list[int]]
    instances: list[Instance]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a simulation counted in `cycles`: by net, its changes and the cycles with a 1."""

    cycles: int
    changes: list[int]
    ones: list[int]


@dataclass(kw_only=True)
class Energy:
    """Energy over some time in pJ, `leakage` in nW; `blocks`: by instance, without leakage."""

    switching: float = 0.0  # of the loads
    internal: float = 0.0
    clock: float = 0.0  # of the clock's pins, both parts
    gates: float = 0.0  # of these, clock gates'
    leakage: float = 0.0
    blocks: dict[tuple[str, ...], float] = field(default_factory=dict)
    clock_blocks: dict[tuple[str, ...], float] = field(default_factory=dict)  # of `clock`

    @property
    def dynamic(self) -> float:
        return self.switching + self.internal + self.clock


def flatten(netlist: Netlist) -> Flat:
    """Numbers every net once, whatever borders it crosses."""
    parent: list[int] = [0, 1]  # of nets that are one

    def root(net: int) -> int:
        while parent[net] != net:
            parent[net] = parent[parent[net]]
            net = parent[net]
        return net

    def join(a: int, b: int) -> None:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)

    found = []

    def module_nets(module: str) -> Callable[[Any], int]:
        numbers: dict[int, int] = {}

        def number(bit: Any) -> int:
            if not isinstance(bit, int):
                return 1 if bit == "1" else 0
            if bit not in numbers:
                numbers[bit] = len(parent)
                parent.append(len(parent))
            return numbers[bit]

        return number

    def enter(module: str, path: tuple[str, ...], number: Callable[[Any], int]) -> None:
        for name, cell in netlist.modules[module]["cells"].items():
            if cell["type"] in netlist.modules:
                inner = module_nets(cell["type"])
                ports = netlist.modules[cell["type"]]["ports"]
                for port, bits in cell["connections"].items():
                    for outside, inside in zip(bits, ports[port]["bits"], strict=True):
                        join(number(outside), inner(inside))
                enter(cell["type"], (*path, name), inner)
            elif not cell["type"].startswith("$"):
                pins = {pin: [number(b) for b in bits] for pin, bits in cell["connections"].items()}
                found.append((path, name, cell["type"], pins))

    top = module_nets(netlist.top)
    ports = {
        name: [top(bit) for bit in port["bits"]]
        for name, port in netlist.modules[netlist.top]["ports"].items()
    }
    enter(netlist.top, (), top)
    names: dict[int, int] = {0: 0, 1: 1}

    def final(net: int) -> int:
        return names.setdefault(root(net), len(names))

    instances = [
        Instance(
            path=(*path, name) if BOX.fullmatch(kind) else path,
            kind=kind,
            pins={pin: [final(net) for net in nets] for pin, nets in pins.items()},
        )
        for path, name, kind, pins in found
    ]
    flat_ports = {name: [final(net) for net in nets] for name, nets in ports.items()}
    return Flat(nets=len(names), ports=flat_ports, instances=instances)


def clock_gates(flat: Flat, library: Library) -> dict[int, tuple[int, int]]:
    """Net of each gated clock -> the clock that it passes, and its enable; that clock's gate comes
    before it."""
    found = {}
    for instance in flat.instances:
        if (cell := library.cells.get(instance.kind)) and cell.gate:
            enable, clock, out = (instance.pins[pin][0] for pin in cell.gate)
            found[out] = clock, enable
    ordered: dict[int, tuple[int, int]] = {}

    def add(net: int) -> None:
        if net in found and net not in ordered:
            add(found[net][0])
            ordered[net] = found[net]

    for net in found:
        add(net)
    return ordered


def clock_pin(cell: Cell) -> str:
    """Name of a flip-flop's clock pin, as far as it is clocked by a pin's rising edge."""
    return cell.state.get("clocked_on", "").strip("() ")


def _flop(cell: Cell, pins: dict[str, int], clocks: set[int], fresh: Callable[[], int]):
    """Lines of a flip-flop: its state and what its outputs make of it."""
    on = clock_pin(cell)
    if on not in pins or pins[on] not in clocks:
        raise ValueError(f"{cell.name} is not clocked by the rising clock but by {on!r}")
    own, inverse = [*cell.state["names"], "", ""][:2]
    pins_of = {
        way: [name for name, pin in cell.pins.items() if pin.direction == way and name in pins]
        for way in ("input", "output")
    }
    inputs, outputs = [name for name in pins_of["input"] if name != on], pins_of["output"]
    plain = [name for name in outputs if cell.pins[name].function.strip("() ") == own]
    state = pins[plain[0]] if plain else fresh()
    nets = [pins[name] for name in inputs]
    used = (*inputs, own)
    tables = {
        key: table(cell.state[key], used)
        for key in ("next_state", "clear", "preset")
        if key in cell.state
    }
    following = [
        "0" if tables.get("clear", "")[i : i + 1] == "1"
        else "1" if tables.get("preset", "")[i : i + 1] == "1"
        else bit
        for i, bit in enumerate(tables["next_state"])
    ]  # fmt: skip
    lines = [f"flop {state} {''.join(following)} {' '.join(map(str, [*nets, state]))}"]
    for name in outputs:
        if pins[name] != state:
            function = re.sub(rf"\b{inverse}\b", f"(!{own})", cell.pins[name].function)
            lines.append(f"gate {pins[name]} {table(function, (own,))} {state}")
    return lines


def netlist_text(flat: Flat, library: Library, events: Iterable[str] = ()) -> str:
    """What the simulator reads; `events`: output ports that it watches, the first of one bit.

    Raises
    ------
    ValueError
        A cell cannot be simulated.
    """
    count = flat.nets
    clock = on = flat.ports["clk"][0]
    gates = clock_gates(flat, library)
    clocks = {clock, *gates}

    def fresh() -> int:
        nonlocal count
        count += 1
        return count - 1

    lines = [f"clock {net} {passed} {enable}" for net, (passed, enable) in gates.items()]

    def clocked_by(net: int) -> None:
        nonlocal on
        if net != on:
            lines.append(f"on {net}")
            on = net

    for instance in flat.instances:
        if box := BOX.fullmatch(instance.kind):
            pins = instance.pins
            if pins["clk"][0] not in clocks:
                raise ValueError(f"memory {'.'.join(instance.path)} is not clocked by the clock")
            clocked_by(pins["clk"][0])
            order = ("read_en", "read_address", "read_data", "write_en", "write_address")
            nets = [net for port in (*order, "write_data") for net in pins[port]]
            lines.append(f"sram {box[1]} {box[2]} {' '.join(map(str, nets))}")
            continue
        cell = library.cells[instance.kind]
        pins = {name: nets[0] for name, nets in instance.pins.items()}
        if cell.gate:
            continue
        if cell.flip_flop:
            made = _flop(cell, pins, clocks, fresh)
            clocked_by(pins[clock_pin(cell)])
            lines += made
            continue
        inputs = tuple(name for name, pin in cell.pins.items() if pin.direction == "input")
        for name, pin in cell.pins.items():
            if pin.direction == "output" and name in pins:
                nets = " ".join(str(pins[i]) for i in inputs)
                lines.append(f"gate {pins[name]} {table(pin.function, inputs)} {nets}")
    for name in input_ports(flat, library):
        lines += [f"in {net}" for net in flat.ports[name]]
    for name in events:
        lines += [f"watch {net}" for net in flat.ports[name]]
    return "\n".join([f"nets {count}", *lines, ""])


def input_ports(flat: Flat, library: Library) -> list[str]:
    """Ports that the stimulus gives, in its order: all that nothing drives, less the clock."""
    driven = {0, 1}
    for instance in flat.instances:
        for pin, nets in instance.pins.items():
            cell = library.cells.get(instance.kind)
            way = cell.pins[pin].direction if cell else ("output" if pin == "read_data" else "")
            if way == "output":
                driven.update(nets)
    return [name for name, nets in flat.ports.items() if name != "clk" and nets[0] not in driven]


def compile_simulator(folder: Path) -> Path:
    """The simulator, compiled once.

    Raises
    ------
    RuntimeError
        No compiler, or it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "gates"
    if not program.exists() or program.stat().st_mtime < SIMULATOR.stat().st_mtime:
        try:
            done = subprocess.run(
                ["g++", "-std=c++17", "-O2", "-o", str(program), str(SIMULATOR)],
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise RuntimeError("g++ is not installed; apt install g++ brings it") from None
        if done.returncode:
            raise RuntimeError(f"compiling {SIMULATOR.name} failed: {done.stderr[-400:]}")
    return program


def read_counts(path: Path) -> Counts:
    """What the simulator wrote."""
    with path.open() as file:
        cycles = int(file.readline().split()[1])
        rows = [line.split() for line in file]
    return Counts(
        cycles=cycles, changes=[int(row[1]) for row in rows], ones=[int(row[2]) for row in rows]
    )


def weigh(flat: Flat, library: Library, counts: Counts) -> Energy:
    """Energy of all that switched; the clock changes twice a cycle."""
    energy = Energy()
    half = library.voltage**2 / 2
    clock = flat.ports["clk"][0]
    changes = list(counts.changes)
    changes[clock] = 2 * counts.cycles
    clocks = {clock, *clock_gates(flat, library)}
    changes[0] = changes[1] = 0
    loads = [0.0] * flat.nets  # pF, of pins only
    for instance in flat.instances:
        cell = library.cells.get(instance.kind)
        for name, nets in instance.pins.items():
            if cell and cell.pins[name].direction == "input":
                loads[nets[0]] += cell.pins[name].capacitance
    known: dict[tuple[str, str, float], float] = {}  # the same few tables again and again

    def inside_pin(kind: str, name: str, load: float) -> float:
        key = kind, name, round(load, 5)
        if key not in known:
            known[key] = library.cells[kind].pins[name].energy(key[2])
        return known[key]

    for instance in flat.instances:
        cell = library.cells.get(instance.kind)
        if cell is None:
            continue
        energy.leakage += cell.leakage
        here = beating = 0.0
        for name, (net, *_) in instance.pins.items():
            pin, count = cell.pins[name], changes[net]
            if pin.direction == "input":
                load, inside = pin.capacitance * half * count, 0.0
            else:
                load, inside = 0.0, loads[net]
            inside = inside_pin(instance.kind, name, inside) * count
            if net in clocks:
                energy.clock += load + inside
                beating += load + inside
            else:
                energy.switching += load
                energy.internal += inside
            here += load + inside
        energy.gates += beating if cell.gate else 0.0
        path, into = instance.path, energy.clock_blocks
        energy.blocks[path] = energy.blocks.get(path, 0.0) + here
        into[path] = into.get(path, 0.0) + beating
    return energy


@dataclass(kw_only=True)
class Registers:
    """Flip-flops, and how many of their clock's edges reach them: `edges` in all, of `cycles` for
    each; `most`: the edges of the one that has most."""

    count: int = 0
    edges: int = 0
    cycles: int = 0
    most: int = 0

    @property
    def clocked(self) -> float:
        """Share of the register cycles that are clocked."""
        return self.edges / (self.count * self.cycles) if self.count else 0.0


def registers(
    flat: Flat, library: Library, counts: Counts, name: Callable[[tuple[str, ...]], str]
) -> dict[str, Registers]:
    """Flip-flops and their edges by the blocks that `name` puts together."""
    clock, found = flat.ports["clk"][0], {}
    for instance in flat.instances:
        cell = library.cells.get(instance.kind)
        if cell is None or not cell.flip_flop:
            continue
        net = instance.pins[clock_pin(cell)][0]
        here = found.setdefault(name(instance.path), Registers(cycles=counts.cycles))
        edges = counts.cycles if net == clock else counts.changes[net] // 2
        here.count += 1
        here.edges += edges
        here.most = max(here.most, edges)
    return dict(sorted(found.items()))


def accesses(flat: Flat, counts: Counts) -> dict[tuple[str, ...], tuple[str, int, int]]:
    """Path of every memory -> (its box, reads, writes)."""
    found = {}
    for instance in flat.instances:
        if BOX.fullmatch(instance.kind):
            nets = (instance.pins["read_en"][0], instance.pins["write_en"][0])
            each = [counts.cycles if net == 1 else counts.ones[net] for net in nets]
            found[instance.path] = (instance.kind, *each)
    return found


def by_block(energy: Energy, name: Callable[[tuple[str, ...]], str]) -> Mapping[str, float]:
    """Dynamic energy of the blocks that `name` puts together."""
    found: dict[str, float] = {}
    for path, value in energy.blocks.items():
        found[name(path)] = found.get(name(path), 0.0) + value
    return dict(sorted(found.items()))
