"""A routed design for another clock: numbers are changed where they lie, nothing is placed again.

Two designs of a board that differ in the clock differ in parameters of cells (boards/system.py):
of the PLL, of lookup tables that hold numbers (boards/held.py). Neither place nor time of anything
depends on them. For ECP5 they are changed in nextpnr's configuration, which is text, for Gowin in
the routed design, which is a netlist.
"""

import mmap
import re
from pathlib import Path
from typing import Any

Changes = dict[str, dict[str, str]]
"""By cell, its parameters with new values: as Yosys' JSON has them, bits."""
_PLL = ("CLKI_DIV", "CLKFB_DIV", "CLKOP_DIV", "CLKOS_DIV", "CLKOP_CPHASE", "CLKOS_CPHASE")
_BEL = re.compile(rb'"NEXTPNR_BEL": "X(\d+)/Y(\d+)/(SLICE[A-D])\.(K[01])"')


def changes(before: str, after: str) -> Changes | None:
    """What parameters differ between two designs in RTLIL; None if anything else does, too.

    Names of cells are those after synthesis: their path without the top module.
    """
    lines = before.splitlines(), after.splitlines()
    if len(lines[0]) != len(lines[1]):
        return None
    found: Changes = {}
    path = cell = ""
    for old, new in zip(*lines, strict=True):
        if old.startswith("module "):
            path = old.split("\\")[-1]
        elif old.startswith("  cell "):
            cell = ".".join([*path.split(".")[1:], old.split(" \\")[-1]])
        if old == new or (old.lstrip().startswith("attribute ") and _head(old) == _head(new)):
            continue
        if not old.startswith("    parameter ") or _head(old) != _head(new):
            return None
        _, name, value = new.split()
        bits = value.partition("'")[2] if "'" in value else f"{int(value):032b}"
        found.setdefault(cell, {})[name[1:]] = bits
    return found


def _head(line: str) -> list[str]:
    return line.split()[:2]


def apply(netlist: dict[str, Any], changed: Changes) -> None:
    """Sets the parameters in Yosys' JSON netlist of one module, in place."""
    for name, parameters in changed.items():
        _cells(netlist, changed)[name]["parameters"] |= parameters


def _cells(netlist: dict[str, Any], changed: Changes) -> dict[str, Any]:
    """Of the module that has those that change."""
    modules = [module["cells"] for module in netlist["modules"].values()]
    return next(cells for cells in modules if changed.keys() <= cells.keys())


def rewrite(routed: dict[str, Any], netlist: dict[str, Any], changed: Changes) -> bool:
    """Sets the parameters in a routed design, in place; whether all could be set.

    What is there before must be what the netlist says. Inputs of a lookup table may have changed
    places, which is nothing to one that is constant.
    """
    modules = [module["cells"] for module in routed["modules"].values()]
    after = next((cells for cells in modules if changed.keys() <= cells.keys()), None)
    if after is None:
        return False
    before = _cells(netlist, changed)
    for name, parameters in changed.items():
        old, there = before[name], after[name]
        if there["type"] != old["type"]:
            return False
        if old["type"] == "LUT4" and not {*parameters.values()} <= {"0" * 16, "1" * 16}:
            return False
        if any(there["parameters"].get(key) != old["parameters"][key] for key in parameters):
            return False
    for name, parameters in changed.items():
        after[name]["parameters"] |= parameters
    return True


def configuration(text: str, routed: Path, netlist: dict[str, Any], changed: Changes) -> str | None:
    """nextpnr-ecp5's configuration with the parameters; None where they are not such as it can set.

    What is there before must be what the netlist says.

    Parameters
    ----------
    text : str
        The configuration (--textcfg).
    routed : Path
        The routed design (--write): where the lookup tables are.
    netlist : dict
        What was routed.
    changed : Changes
    """
    cells = _cells(netlist, changed)
    words = []
    for name, parameters in changed.items():
        kind, old = cells[name]["type"], cells[name]["parameters"]
        if kind == "EHXPLLL" and parameters.keys() <= set(_PLL):
            for key, bits in parameters.items():
                pair = (f"{int(value, 2) - key.endswith('_DIV'):07b}" for value in (old[key], bits))
                words.append((rf"^word: {key} ", *pair))
        # inputs of a table may have changed places, which is nothing to one that is constant
        elif kind == "LUT4" and {*parameters.values(), old["INIT"]} <= {"0" * 16, "1" * 16}:
            tile, word = _site(routed, name)
            before = rf"^\.tile {tile}:PLC2\n(?:[^\n]+\n)*?word: {word} "
            words.append((before, old["INIT"], parameters["INIT"]))
        else:
            return None
    for before, old, new in words:
        text, count = re.subn(rf"({before}){old}$", rf"\g<1>{new}", text, flags=re.M)
        if count != 1:
            return None
    return text


def _site(routed: Path, name: str) -> tuple[str, str]:
    """(tile, word) in the configuration of a lookup table."""
    with routed.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        at = text.find(b'"%s": {' % name.encode(), text.find(b'"cells": {'))
        site = _BEL.search(text, at, text.find(b'"connections"', at)) if at >= 0 else None
        if site is None:
            raise RuntimeError(f"{routed}: no place of the lookup table {name}")
        x, y, part, half = (group.decode() for group in site.groups())
    return f"R{y}C{x}", f"{part}.{half}.INIT"
