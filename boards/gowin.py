"""Gowin block RAMs of which one port only writes and the other only reads, as such.

Yosys makes most of a design's memories to blocks of two equal ports (DPB, DPX9B). nextpnr knows no
times of the second one's address and output then, but all of a block that writes at one port and
reads at the other (SDPB, SDPX9B). Both hold the same, in the same places, under the same addresses.
"""

from typing import Any

Bit = int | str  # a net, or a constant
_KINDS = {"DPB": ("SDPB", 32), "DPX9B": ("SDPX9B", 36)}
"""Type of two ports, the other one, its bits."""


def simple(netlist: dict[str, Any]) -> dict[str, int]:
    """Changes Yosys' JSON netlist in place; returns how many blocks are "simple" now, "left" as
    they were.

    A port only writes if nobody reads its outputs; the other must never write. The simple block has
    one enable for writing, so that of the two at least one must be constant.
    """
    found = {"simple": 0, "left": 0}
    for module in netlist["modules"].values():
        cells = module["cells"].values()
        read = {bit for port in module["ports"].values() for bit in port["bits"]}
        nets = [0]
        for cell in cells:
            for pin, bits in cell["connections"].items():
                nets += [bit for bit in bits if isinstance(bit, int)]
                if cell["port_directions"][pin] != "output":
                    read.update(bits)
        free = max(nets) + 1
        levels: dict[Bit, str] = {"0": "0", "1": "1"}  # of nets that never change
        for cell in cells:
            for kind, pin, level in (("VCC", "V", "1"), ("GND", "G", "0")):
                if cell["type"] == kind:
                    levels[cell["connections"][pin][0]] = level
        for cell in cells:
            if cell["type"] not in _KINDS:
                continue
            ways = [_ways(cell, *ports, read, levels) for ports in ("AB", "BA")]
            ports = next((ports for ports in ways if ports), None)
            if ports is None:
                found["left"] += 1
                continue
            _change(cell, *ports, free)
            free += 36
            found["simple"] += 1
    return found


def _ways(
    cell: dict[str, Any], writer: str, reader: str, read: set[Bit], levels: dict[Bit, str]
) -> tuple[str, str, list[Bit]] | None:
    """(writer, reader, enable of writing) if a block can be seen so."""
    pins = cell["connections"]
    enable, write = pins[f"CE{writer}"], pins[f"WRE{writer}"]
    if levels.get(pins[f"WRE{reader}"][0]) != "0" or read & set(pins[f"DO{writer}"]):
        return None
    if levels.get(enable[0]) == "1" or enable == write:
        return writer, reader, write
    return (writer, reader, enable) if levels.get(write[0]) == "1" else None


def _change(cell: dict[str, Any], writer: str, reader: str, enable: list[Bit], free: int) -> None:
    old, given = cell["connections"], cell["parameters"]
    cell["type"], bits = _KINDS[cell["type"]]
    w, r = ("AB".index(port) for port in (writer, reader))
    data, word = old[f"DI{writer}"], old[f"DO{reader}"]
    cell["connections"] = {
        **{"CLKA": old[f"CLK{writer}"], "CEA": enable, "RESETA": ["0"]},
        **{"CLKB": old[f"CLK{reader}"], "CEB": old[f"CE{reader}"]},
        **{"RESETB": old[f"RESET{reader}"], "OCE": old[f"OCE{reader}"]},
        **{"ADA": old[f"AD{writer}"], "ADB": old[f"AD{reader}"]},
        **{"BLKSELA": old[f"BLKSEL{writer}"], "BLKSELB": old[f"BLKSEL{reader}"]},
        "DI": data + ["0"] * (bits - len(data)),
        "DO": word + list(range(free, free + bits - len(word))),
    }
    cell["port_directions"] = {
        pin: "output" if pin == "DO" else "input" for pin in cell["connections"]
    }
    cell["parameters"] = {
        **{name: value for name, value in given.items() if name.startswith("INIT")},
        "READ_MODE": given[f"READ_MODE{r}"],
        **{f"BIT_WIDTH_{i}": given[f"BIT_WIDTH_{port}"] for i, port in enumerate((w, r))},
        **{f"BLK_SEL_{i}": given[f"BLK_SEL_{port}"] for i, port in enumerate((w, r))},
        "RESET_MODE": given["RESET_MODE"],
    }
