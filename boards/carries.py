"""ECP5 carry chains as nextpnr takes them with the fewest LUTs.

nextpnr-ecp5 feeds the carry input of a chain, constant or not, through a cell (two LUTs) of its
own at the chain's beginning, and brings a carry output out through another at its end. Here, in
the netlist that Yosys made, chains lose what they do not need: the net of an output that nothing
reads, and a constant carry input. For that a chain's first position must not pass the carry input
on; see `_free_start`.
"""

from collections.abc import Iterator
from typing import Any

Bit = int | str  # a net, or a constant
_INPUTS = "ABCD"


def tidy(netlist: dict[str, Any]) -> dict[str, int]:
    """Changes Yosys' JSON netlist in place; returns how many chains were changed, by how.

    Keys: "opened", carry outputs that nothing read; "moved", chains that begin one position later;
    "split", chains whose first position became a carry cell and a LUT.
    """
    found = {"opened": 0, "moved": 0, "split": 0}
    for module in netlist["modules"].values():
        cells = module["cells"]
        read = {bit for port in module["ports"].values() for bit in port["bits"]}
        users: dict[Bit, list[tuple[str, str]]] = {}
        for name, cell in cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] != "output":
                    for bit in bits:
                        if isinstance(bit, int):
                            users.setdefault(bit, []).append((name, port))
        read.update(users)
        for cell in cells.values():
            carry = cell["connections"].get("COUT", ["x"])
            if cell["type"] == "CCU2C" and carry != ["x"] and not read.intersection(carry):
                cell["connections"]["COUT"] = ["x"]
                found["opened"] += 1
        for chain in list(_chains(cells, users)):
            how = _free_start(cells, chain, users, read)
            if how:
                found[how] += 1
    return found


def _chains(cells: dict[str, Any], users: dict[Bit, list[tuple[str, str]]]) -> Iterator[list[str]]:
    """Names of the cells of each chain that begins with a constant."""
    for name, cell in cells.items():
        if cell["type"] != "CCU2C" or cell["connections"]["CIN"][0] not in ("0", "1"):
            continue
        chain = [name]
        while True:
            carry = cells[chain[-1]]["connections"]["COUT"][0]
            following = [user for user, port in users.get(carry, ()) if port == "CIN"]
            if not following:
                break
            chain.append(following[0])
        yield chain


def _table(init: str) -> list[int]:
    """Bits of a LUT's INIT by index, A the lowest of it."""
    return [int(bit) for bit in reversed(init[-16:].rjust(16, "0"))]


def _free_start(
    cells: dict[str, Any],
    chain: list[str],
    users: dict[Bit, list[tuple[str, str]]],
    read: set[Bit],
) -> str | None:
    """Makes a chain independent of its carry input; returns how, or None where it cannot be.

    A position's sum is ``L4 ^ cin`` and its carry ``L4 ? cin : L2``: L4 a LUT of A, B, C, D, L2 one
    of A and B, the lowest four bits of L4's table. With L4 = 0 the carry is L2 alone. Where the
    chain's last position is free, all move up one, behind such a position with L2 = cin. Else the
    first position becomes one, if its carry is a function of two inputs; its sum is a LUT beside.
    """
    first, last = cells[chain[0]], cells[chain[-1]]
    carry = first["connections"]["CIN"][0]
    if any(cells[name]["parameters"][f"INJECT1_{i}"] != "NO" for name in chain for i in (0, 1)):
        return None
    tapped = any(
        port != "CIN"
        for name in chain
        for _, port in users.get(cells[name]["connections"]["COUT"][0], ())
    )
    if not tapped and last["connections"]["COUT"] == ["x"] and not _is_read(last, 1, read):
        positions = [_position(cells[name], i) for name in chain for i in (0, 1)]
        positions = [_carry_only({}, [int(carry)] * 4), *positions[:-1]]
        for index, position in enumerate(positions):
            _put(cells[chain[index // 2]], index % 2, position)
        first["connections"]["CIN"] = ["x"]
        return "moved"
    inputs = [first["connections"][f"{name}0"][0] for name in _INPUTS]
    table = _table(first["parameters"]["INIT0"])
    # an input that is not connected is 1, as nextpnr has it
    known = {i: bit != "0" for i, bit in enumerate(inputs) if isinstance(bit, str)}
    indices = [i for i in range(16) if all(i >> k & 1 == value for k, value in known.items())]
    carries = {i: int(carry) if table[i] else table[i & 3] for i in indices}
    needs = [
        k
        for k in range(4)
        if k not in known and any(carries[i] != carries[i ^ (1 << k)] for i in indices)
    ]
    if len(needs) > 2:
        return None
    if _is_read(first, 0, read):
        invert = carry == "1"
        name = f"{chain[0]}$sum"
        while name in cells:
            name += "_"
        cells[name] = {
            "hide_name": 1,
            "type": "LUT4",
            "parameters": {"INIT": "".join(str(bit ^ invert) for bit in reversed(table))},
            "attributes": {},
            "port_directions": {**dict.fromkeys(_INPUTS, "input"), "Z": "output"},
            "connections": {
                **{port: [bit] for port, bit in zip(_INPUTS, inputs, strict=True)},
                "Z": first["connections"]["S0"],
            },
        }
    start = sum(value << k for k, value in known.items())
    short = [carries[start | sum((i >> j & 1) << k for j, k in enumerate(needs))] for i in range(4)]
    wires = {"AB"[j]: inputs[k] for j, k in enumerate(needs)}
    _put(first, 0, _carry_only(wires, short))
    first["connections"]["CIN"] = ["x"]
    return "split"


def _is_read(cell: dict[str, Any], half: int, read: set[Bit]) -> bool:
    return bool(read.intersection(cell["connections"][f"S{half}"]))


def _position(cell: dict[str, Any], half: int) -> dict[str, Any]:
    found = {port: cell["connections"][f"{port}{half}"] for port in (*_INPUTS, "S")}
    return found | {"INIT": cell["parameters"][f"INIT{half}"]}


def _carry_only(wires: dict[str, Bit], table: list[int]) -> dict[str, Any]:
    """A position without a sum: its carry is a table of A and B. C and D are 1, where L4 is 0."""
    init = "0" * 12 + "".join(str(bit) for bit in reversed(table))
    return {port: [wires.get(port, "1")] for port in _INPUTS} | {"S": [], "INIT": init}


def _put(cell: dict[str, Any], half: int, position: dict[str, Any]) -> None:
    for port in (*_INPUTS, "S"):
        cell["connections"][f"{port}{half}"] = position[port]
    cell["parameters"][f"INIT{half}"] = position["INIT"]
