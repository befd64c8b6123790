"""ECP5 block RAMs whose output goes to a register: the register is taken into the block.

A DP16KD has a register of its own behind its output (REGMODE, Lattice FPGA-TN-02204): an edge later
by the clock, but 0.95 ns behind it instead of 5.8. Yosys never asks for it. Here, in the netlist
that Yosys made, flip-flops that do nothing but take a port's outputs become that register.

A port's outputs share one register, which takes the port's clock and an enable of its own (OCE):
all that are read must go to a flip-flop each, and these must agree in clock, enable, and in having
no reset. 36 bits are read at port B, and leave by the pins of both ports: all are registered with
port B's clock and enable, in the mode of the port whose pins they leave by. Anything else stays as
it is; `fold` says why.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

Bit = int | str  # a net, or a constant
NOT_READ = "nothing is read"


@dataclass
class _Sinks:
    """Who reads a net: (cell, pin) of each; cell None for a port of the module."""

    users: dict[int, list[tuple[str | None, str]]]

    @classmethod
    def of(cls, module: dict[str, Any]) -> "_Sinks":
        users: dict[int, list[tuple[str | None, str]]] = {}
        for name, cell in module["cells"].items():
            for pin, bits in cell["connections"].items():
                if cell["port_directions"][pin] != "output":
                    for bit in bits:
                        if isinstance(bit, int):
                            users.setdefault(bit, []).append((name, pin))
        for name, port in module["ports"].items():
            for bit in port["bits"]:
                if isinstance(bit, int):
                    users.setdefault(bit, []).append((None, name))
        return cls(users)

    def __getitem__(self, bit: int) -> list[tuple[str | None, str]]:
        return self.users.get(bit, [])


def fold(netlist: dict[str, Any]) -> dict[str, Any]:
    """Changes Yosys' JSON netlist in place.

    Returns
    -------
    dict
        "ports" and "bits" that were folded; "kept", how many ports were not, by reason (of those
        with an output that is read).
    """
    found: dict[str, Any] = {"ports": 0, "bits": 0}
    kept: Counter[str] = Counter()
    for module in netlist["modules"].values():
        cells, sinks = module["cells"], _Sinks.of(module)
        for cell in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
            for ports in _read_ports(cell):
                flops = _flops(cells, sinks, cell, ports)
                why = flops
                if isinstance(flops, dict):
                    why = _reason(cells, cell, ports, flops)
                if why is None:
                    _take_in(cells, cell, ports, flops)
                    found["ports"] += 1
                    found["bits"] += len(flops)
                elif why != NOT_READ:
                    kept[why] += 1
    return found | {"kept": dict(kept)}


def _number(cell: dict[str, Any], name: str) -> int:
    value = cell["parameters"][name]
    return int(value, 2) if isinstance(value, str) else value


def _wide(cell: dict[str, Any]) -> bool:
    return _number(cell, "DATA_WIDTH_B") == 36


def _read_ports(cell: dict[str, Any]) -> tuple[str, ...]:
    """Ports that share an output register, first the one whose clock it takes.

    "A" and "B", or "BA" where 36 bits are read.
    """
    return ("BA",) if _wide(cell) else ("A", "B")


def _pin(cell: dict[str, Any], name: str, without: str = "0") -> Bit:
    bits = cell["connections"].get(name) or [without]
    return without if bits[0] == "x" else bits[0]


def _flops(cells: dict[str, Any], sinks: _Sinks, cell: dict[str, Any], ports: str) -> Any:
    """By output pin that is read the flip-flop that alone does so; or why there is none."""
    found: dict[str, str] = {}
    for pin, bits in cell["connections"].items():
        if pin[:2] != "DO" or pin[2] not in ports or not (bits and sinks[bits[0]]):
            continue
        flops = [
            name
            for name, where in sinks[bits[0]]
            if name is not None and where == "DI" and cells[name]["type"] == "TRELLIS_FF"
        ]
        if not flops:
            return "an output goes to no flip-flop"
        if len(sinks[bits[0]]) > 1:
            return "an output goes elsewhere, too"
        found[pin] = flops[0]
    return found or NOT_READ


def _enable(flop: dict[str, Any]) -> tuple[str, Bit]:
    """(kind, net) of a flip-flop's clock enable."""
    kind = str(flop["parameters"].get("CEMUX", "1")).strip()
    return kind, "1" if kind in "01" else _pin(flop, "CE", "1")


def _reason(
    cells: dict[str, Any], cell: dict[str, Any], ports: str, flops: dict[str, str]
) -> str | None:
    """Why the registers behind a port stay outside; None if they need not."""

    def clock(which: dict[str, Any], pin: str) -> tuple[Bit, bool]:
        return _pin(which, pin), which["parameters"].get(f"{pin}MUX", pin) == "INV"

    if _pin(cell, f"RST{ports[0]}") != "0":
        return "it is reset"
    registers = [cells[name] for name in flops.values()]
    for flop in registers:
        given = flop["parameters"]
        if clock(flop, "CLK") != clock(cell, f"CLK{ports[0]}"):
            return "a flip-flop has another clock"
        if _pin(flop, "LSR") != "0" or given.get("LSRMUX", "LSR") == "INV":
            return "a flip-flop is reset"
        if given.get("REGSET", "RESET") == "SET":
            return "a flip-flop begins with 1"
        if _enable(flop)[0] not in ("1", "CE"):
            return "an enable is inverted"
    if len({_enable(flop) for flop in registers}) > 1:
        return "enables differ"
    return None


def _take_in(
    cells: dict[str, Any], cell: dict[str, Any], ports: str, flops: dict[str, str]
) -> None:
    _, enable = _enable(cells[next(iter(flops.values()))])
    for port in ports:
        cell["parameters"][f"REGMODE_{port}"] = "OUTREG"
    cell["connections"][f"OCE{ports[0]}"] = [enable]
    cell["port_directions"][f"OCE{ports[0]}"] = "input"
    for pin, name in flops.items():
        cell["connections"][pin] = cells.pop(name)["connections"]["Q"]
