"""RTLIL of Amaranth, made ready for synthesis."""

import re

_MODULE = re.compile(r"^module .*?^end$", re.M | re.S)
_FREE = re.compile(r"^  attribute \\no_rw_check 1\n(?:  attribute .*\n)*  memory .* (\\\S+)$", re.M)
_READ = re.compile(r"^  cell \$memrd_v2 .*?^  end$", re.M | re.S)


def allow_collisions(text: str) -> str:
    """Tells Yosys which memories may give anything when a word is read while it is written.

    Its passes look at the attribute `no_rw_check` (hw.common.NO_COLLISION) only where they find a
    memory's read port themselves. Amaranth's text has the ports already, each with a mask of write
    ports; without the mask's bits the attribute does nothing, and a register of the written word, a
    comparison of the addresses and a multiplexer a bit are added.
    """

    def read_port(found: re.Match, free: set[str]) -> str:
        cell = found[0]
        if re.search(r'\\MEMID "\\(.*)"', cell)[1] not in free:
            return cell
        return re.sub(
            r"(\\COLLISION_X_MASK) (\d+)'0+",
            lambda mask: f"{mask[1]} {mask[2]}'{'1' * int(mask[2]) or '0'}",
            cell,
        )

    def module(found: re.Match) -> str:
        free = set(_FREE.findall(found[0]))
        return _READ.sub(lambda cell: read_port(cell, free), found[0]) if free else found[0]

    return _MODULE.sub(module, text)
