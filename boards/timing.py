"""What nextpnr's report says of a routed design: its clocks, and the slowest classes of paths."""

import re
from collections.abc import Collection, Mapping
from typing import Any

CLASSES = 5
_CELL = re.compile(
    r"_(?:TRELLIS_\w+?|SB_\w+?|LUT\d|CCU2C|PFUMX|L6MUX21|DFF[A-Z]*|ALU|MUX2_LUT\d)_.*"
    r"|\$.*|_(?:DFF|LUT)?LC$"
)
"""What Yosys and nextpnr put behind a signal's name to name a cell."""
_INDEX = re.compile(r"\[\d+\]|_+\d+(?=$|\.)|\d+(?=$|\.)")
_PIN = re.compile(r"\d+$")
_REGISTER = {"DI": "D", "M": "D", "I": "D", "LSR": "reset", "SR": "reset"}
_REGISTER |= {"CE": "enable", "CEN": "enable"}
_REGISTER |= dict.fromkeys(("RESET", "SET", "PRESET", "CLEAR"), "reset")
"""nextpnr's pins of a flip-flop in words (of an iCE40's logic cell: I0..I3)."""
_HOLD = re.compile(r"(\d+) Hold/min time violations")
_PINS = "<async>"
_WIRE = re.compile(r"\(INTERCONNECT (\S+)/\S+ (\S+)/\S+ \([\d.]+:[\d.]+:([\d.]+)\)")


def frequencies(report: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(clock net, reached, asked for) in MHz."""
    return [
        (name, float(found["achieved"]), float(found["constraint"]))
        for name, found in report["fmax"].items()
    ]


def engine_clocks(report: Mapping[str, Any], asked_hz: float) -> dict[str, float]:
    """MHz that is reached by net of the engine's clock, which is asked for `asked_hz`.

    Several where nextpnr asks the same of others, too.
    """
    clocks = frequencies(report)
    near = min(abs(asked * 1e6 - asked_hz) for _, _, asked in clocks) + asked_hz / 1000
    return {name: found for name, found, asked in clocks if abs(asked * 1e6 - asked_hz) <= near}


def engine_fmax(report: Mapping[str, Any], asked_hz: float) -> float:
    """MHz that the engine's clock reaches; of several that are asked the same, the slowest."""
    return min(engine_clocks(report, asked_hz).values())


def met(report: Mapping[str, Any], asked_hz: float, clock_hz: float, error: float) -> bool:
    """Whether the engine's clock reaches `clock_hz`, every other one what is asked of it.

    error: how much faster all clocks may be than they should, relative.
    """
    engine = engine_clocks(report, asked_hz)
    return all(
        reached >= (clock_hz / 1e6 if name in engine else asked) * (1 + error)
        for name, reached, asked in frequencies(report)
    )


def hold_violations(log: str) -> int:
    """How many endpoints nextpnr's log says that an edge comes to too early; it says so if any."""
    return max((int(found) for found in _HOLD.findall(log)), default=0)


def pin_delays(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The longest ways from pins to registers, and back, by clock; clocks' own ways not counted.

    Returns
    -------
    list of dict
        "from" and "to" ("pins" or a clock's net), "delay_ns".
    """
    found = []
    for path in report.get("critical_paths", ()):
        ends = path["from"], path["to"]
        if (ends[0] == _PINS) == (ends[1] == _PINS):
            continue
        names = ["pins" if end == _PINS else end.split()[-1].split("$")[-1] for end in ends]
        delay = sum(piece["delay"] for piece in path["path"])
        found.append({"from": names[0], "to": names[1], "delay_ns": round(delay, 2)})
    return found


def untimed(sdf: str, cells: Collection[str]) -> dict[str, float]:
    """The longest wires to and from cells whose own times nextpnr does not know.

    Paths through their pins are in none of its figures: beside such a wire, what a cell takes
    before and after its clock's edge must find room in a period.

    Parameters
    ----------
    sdf : str
        nextpnr's file of delays.
    cells : names

    Returns
    -------
    dict of str to float
        "to_ns", "from_ns".
    """
    longest = {"to_ns": 0.0, "from_ns": 0.0}
    for line in sdf.splitlines():
        found = _WIRE.search(line)
        if found is None:
            continue
        first, last = (name.replace("\\", "") for name in found.groups()[:2])
        for key, name in (("to_ns", last), ("from_ns", first)):
            if name in cells:
                longest[key] = max(longest[key], float(found[3]) / 1000)
    return {key: round(delay, 2) for key, delay in longest.items()}


def signal(cell: str) -> str:
    """A cell's name as that of its signal: the path of modules, without any index."""
    plain = _CELL.sub("", cell)
    return ".".join(filter(None, _INDEX.sub("", plain).split("."))) or cell


def slowest(
    report: Mapping[str, Any], asked_hz: float, clock_hz: float, most: int = CLASSES
) -> list[dict[str, Any]]:
    """The classes of endpoints in the engine's clock that the latest edges come to.

    A class is all pins of one kind (data, enable, reset, or a block's pin) of one signal, indices
    left out.

    Returns
    -------
    list of dict
        Slowest first: "to" and "from" as path of modules and signal ("from": the last cell before
        the slowest pin, of the slowest class where its path starts), "pin", "count" of pins,
        "delay_ns" and "slack_ns" (at `clock_hz`) of the slowest.
    """
    engine = engine_clocks(report, asked_hz)
    edges = {f"{edge} {name}" for name in engine for edge in ("posedge", "negedge")}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for net in report["detailed_net_timings"]:
        if net["event"] not in edges:
            continue
        for end in net["endpoints"]:
            if end["event"] not in edges:
                continue
            pin = _PIN.sub("", end["port"])
            key = signal(end["cell"]), _REGISTER.get(pin, pin)
            one = found.setdefault(key, {"count": 0, "delay": -1.0})
            one["count"] += 1
            if end["delay"][1] > one["delay"]:
                one |= {"delay": end["delay"][1], "from": net["driver"]}
    ranked = sorted(found.items(), key=lambda item: (-item[1]["delay"], item[0]))[:most]
    classes = [
        {
            "from": signal(one["from"]),
            "to": name,
            "pin": pin,
            "count": one["count"],
            "delay_ns": round(one["delay"], 2),
            "slack_ns": round(1e9 / clock_hz - one["delay"], 2),
        }
        for (name, pin), one in ranked
    ]
    for path in report.get("critical_paths", ()):
        start, end = path["path"][0]["from"]["cell"], path["path"][-1]["to"]["cell"]
        if {path["from"], path["to"]} <= edges and classes and signal(end) == classes[0]["to"]:
            classes[0]["from"] = signal(start)
    return classes
