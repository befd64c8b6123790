"""A design as Yosys writes it in JSON: memories cut out, cells counted, plain Verilog written."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sim.study.liberty import Library

TOP = "rasca"
_CONSTANT = {"0": "1'b0", "1": "1'b1", "x": "1'b0", "z": "1'b0"}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A memory that became a black box: `cell` in `module`, `words` of `bits`."""

    module: str
    cell: str
    memory: str
    words: int
    bits: int

    @property
    def box(self) -> str:
        return f"sram_{self.words}x{self.bits}"


def _number(text: Any) -> int:
    return int(text, 2) if isinstance(text, str) else int(text)


def box_ports(words: int, bits: int) -> dict[str, tuple[str, int]]:
    """Ports of a memory's black box: name to direction and bits."""
    address = max(1, (words - 1).bit_length())
    return {
        "clk": ("input", 1),
        "read_en": ("input", 1),
        "read_address": ("input", address),
        "read_data": ("output", bits),
        "write_en": ("input", 1),
        "write_address": ("input", address),
        "write_data": ("input", bits),
    }


def cut_memories(design: dict[str, Any], smallest_bits: int) -> list[Cut]:
    """Replaces memories by black boxes, in place; the others are left to become flip-flops.

    Cut are memories of at least `smallest_bits` with one write port, for whole words, and one
    clocked read port. Memories that are never written are tables: they become gates.
    """
    cuts = []
    for module, content in design["modules"].items():
        for name, cell in content["cells"].items():
            if cell["type"] != "$mem_v2":
                continue
            p, c = cell["parameters"], cell["connections"]
            words, bits = _number(p["SIZE"]), _number(p["WIDTH"])
            one = _number(p["RD_PORTS"]) == 1 and _number(p["WR_PORTS"]) == 1
            if not one or words * bits < smallest_bits or not _number(p["RD_CLK_ENABLE"]):
                continue
            if len(set(c["WR_EN"])) != 1:
                continue
            cut = Cut(
                module=module,
                cell=name,
                memory=p["MEMID"].removeprefix("\\"),
                words=words,
                bits=bits,
            )
            cuts.append(cut)
            ports = box_ports(words, bits)
            wires = {
                "clk": c["RD_CLK"],
                "read_en": c["RD_EN"],
                "read_address": c["RD_ADDR"],
                "read_data": c["RD_DATA"],
                "write_en": c["WR_EN"][:1],
                "write_address": c["WR_ADDR"],
                "write_data": c["WR_DATA"],
            }
            wide = {port: wires[port][: ports[port][1]] for port in ports}
            cell.update(
                type=cut.box,
                parameters={},
                attributes={"keep": 1},
                port_directions={port: direction for port, (direction, _) in ports.items()},
                connections=wide,
            )
    for cut in cuts:
        at, ports = 2, {}
        for port, (direction, size) in box_ports(cut.words, cut.bits).items():
            ports[port] = {"direction": direction, "bits": list(range(at, at + size))}
            at += size
        design["modules"].setdefault(
            cut.box,
            {"attributes": {"blackbox": 1}, "ports": ports, "cells": {}, "netnames": {}},
        )
    return cuts


class Netlist:
    """A mapped design: modules of library cells, of each other and of black boxes.

    Parameters
    ----------
    design : dict
        What Yosys' `write_json` wrote.
    top : str
        Name of the top module.
    """

    def __init__(self, design: dict[str, Any], top: str = TOP):
        self.top = top
        self.modules = {
            name: module
            for name, module in design["modules"].items()
            if not int(str(module.get("attributes", {}).get("blackbox", 0)), 2)
        }
        self.names = {name: f"block{i}" for i, name in enumerate(self.modules)}
        self.names[top] = top
        self.nets = {name: self._nets(name) for name in self.modules}

    def _port(self, module: str, name: str) -> str:
        """Verilog name of a port: the top's own, else none that Verilog might want for itself."""
        return name if module == self.top else "p_" + re.sub(r"\W", "_", name)

    def _nets(self, name: str) -> dict[Any, str]:
        """Verilog name of every net of a module."""
        module, found = self.modules[name], {}
        for port, value in module["ports"].items():
            own, wide = self._port(name, port), len(value["bits"]) > 1
            for i, bit in enumerate(value["bits"]):
                found.setdefault(bit, f"{own}[{i}]" if wide else own)
        for cell in module["cells"].values():
            for bits in cell["connections"].values():
                for bit in bits:
                    found.setdefault(bit, f"n{bit}")
        return found | _CONSTANT

    def instances(self, module: str | None = None, path: tuple[str, ...] = ()):
        """(path, module) of the top and of every block within, depth first."""
        module = module or self.top
        yield path, module
        for name, cell in self.modules[module]["cells"].items():
            if cell["type"] in self.modules:
                yield from self.instances(cell["type"], (*path, name))

    def cells(self, module: str) -> Counter:
        """Library cells and black boxes of a module itself, by type."""
        return Counter(
            cell["type"]
            for cell in self.modules[module]["cells"].values()
            if cell["type"] not in self.modules
        )

    def loads(self, module: str, library: Library) -> dict[Any, float]:
        """Capacitance in pF that each net drives: pins of library cells, no wires.

        Pins behind the port of a block are counted in the block, where the net goes on.
        """
        found: dict[Any, float] = {}
        for cell in self.modules[module]["cells"].values():
            if cell["type"] in library.cells:
                pins = library.cells[cell["type"]].pins
                for pin, bits in cell["connections"].items():
                    if pins[pin].direction == "input":
                        found[bits[0]] = found.get(bits[0], 0.0) + pins[pin].capacitance
        return found

    def verilog(self) -> str:
        """Structural Verilog that every reader takes: no attributes, no expressions."""
        return "\n".join(self._module(name) for name in self.modules)

    def _module(self, name: str) -> str:
        module, nets = self.modules[name], self.nets[name]
        ports = {self._port(name, port): value for port, value in module["ports"].items()}
        lines = [f"module {self.names[name]} ({', '.join(ports)});"]
        for port, value in ports.items():
            size = len(value["bits"])
            lines.append(f"  {value['direction']} {f'[{size - 1}:0] ' if size > 1 else ''}{port};")
        inner = sorted({net for bit, net in nets.items() if isinstance(bit, int)})
        lines += [f"  wire {net};" for net in inner if re.fullmatch(r"n\d+", net)]
        for port, value in ports.items():
            for i, bit in enumerate(value["bits"]):
                own = f"{port}[{i}]" if len(value["bits"]) > 1 else port
                if value["direction"] == "output" and nets[bit] != own:
                    lines.append(f"  assign {own} = {nets[bit]};")
        for i, (own, cell) in enumerate(module["cells"].items()):
            pins = []
            for pin, bits in cell["connections"].items():
                found = [nets[bit] for bit in reversed(bits)]
                value = found[0] if len(found) == 1 else "{" + ", ".join(found) + "}"
                if cell["type"] in self.modules:
                    pin = self._port(cell["type"], pin)
                pins.append(f".{pin}({value})")
            kind = self.names.get(cell["type"], cell["type"])
            # clock gates at a clock's root keep their names, for constraints
            instance = own if re.fullmatch(r"[a-z]+_gate", own) else f"c{i}"
            lines.append(f"  {kind} {instance} ({', '.join(pins)});")
        return "\n".join([*lines, "endmodule", ""])
