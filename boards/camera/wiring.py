"""Which camera pin goes to which pin of which board; boards.camera.pages tells it to people."""

from dataclasses import dataclass, field
<<<<<<< HEAD
from pathlib import Path

from golden import files

DOCS = Path(__file__).resolve().parents[2] / "docs"
=======
>>>>>>> main


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A camera on a board.

    Parameters
    ----------
    board, camera : str
    connector : str
        Name of the connectors in amaranth-boards' board file ("gpio", "pmod", "j").
    pins : dict of str to (int, str)
        Signal to (connector number, pin); d0.. are the data pins.
    labels : dict of str to str
        What is printed beside the pin on the board.
    fixed : dict of str to str
        Camera pins that go to a supply.
    """

    board: str
    camera: str
    connector: str
    pins: dict[str, tuple[int, str]]
    labels: dict[str, str]
    fixed: dict[str, str] = field(default_factory=dict)

    @property
    def data_bits(self) -> int:
        return sum(name[0] == "d" and name[1:].isdigit() for name in self.pins)


def _ulx3s() -> Wiring:
    # PCLK on GP0, which reaches the clock network; the rest in the order of the module's header
    order = "pclk xclk vsync href sioc siod d7 d6 d5 d4 d3 d2 d1 d0".split()
    pins = {name: (0, f"{i // 2}{'+-'[i % 2]}") for i, name in enumerate(order)}
    labels = {name: f"{'GP' if i % 2 == 0 else 'GN'}{i // 2}" for i, name in enumerate(order)}
    fixed = {"3V3": "3.3 V", "GND": "GND", "RESET": "3.3 V", "PWDN": "GND"}
    return Wiring(
        board="ULX3S",
        camera="OV7670 module",
        connector="gpio",
        pins=pins,
        labels=labels,
        fixed=fixed,
    )


_HM01B0_FIXED = {"VCC": "3.3 V", "GND": "GND", "INT": "open"}

ULX3S_OV7670 = _ulx3s()
UPDUINO_HM01B0 = Wiring(
    board="UPduino v3",
    camera="HM01B0",
    connector="j",
    # PCLK on 37, which reaches the clock network; 35 stays free for the PLL
    pins={
        "d0": (0, "7"),
        "d1": (0, "8"),
        "d2": (0, "9"),
        "d3": (0, "10"),
        "fvld": (0, "11"),
        "lvld": (0, "13"),
        "pclk": (0, "14"),
        "mclk": (0, "15"),
        "scl": (0, "16"),
        "sda": (0, "17"),
        "trig": (0, "18"),
    },
    labels=dict(
        zip(
            "d0 d1 d2 d3 fvld lvld pclk mclk scl sda trig".split(),
            "23 25 26 27 32 31 37 34 43 36 42".split(),
            strict=True,
        )
    ),
    fixed=_HM01B0_FIXED,
)
ICEBREAKER_HM01B0 = Wiring(
    board="iCEBreaker",
    camera="HM01B0",
    connector="pmod",
    # PCLK on PMOD 1A's last pin (44), which reaches the clock network
    pins={
        "d0": (0, "1"),
        "d1": (0, "2"),
        "d2": (0, "3"),
        "d3": (0, "4"),
        "fvld": (0, "7"),
        "lvld": (0, "8"),
        "pclk": (0, "10"),
        "mclk": (1, "1"),
        "scl": (1, "2"),
        "sda": (1, "3"),
        "trig": (1, "4"),
    },
    labels={
        "d0": "1A 1",
        "d1": "1A 2",
        "d2": "1A 3",
        "d3": "1A 4",
        "fvld": "1A 7",
        "lvld": "1A 8",
        "pclk": "1A 10",
        "mclk": "1B 1",
        "scl": "1B 2",
        "sda": "1B 3",
        "trig": "1B 4",
    },
    fixed=_HM01B0_FIXED,
)
WIRINGS = {"ulx3s": ULX3S_OV7670, "upduino": UPDUINO_HM01B0, "icebreaker": ICEBREAKER_HM01B0}


def site(wiring: Wiring, name: str, connectors: dict) -> str:
    """FPGA pin of a signal; connectors: `platform.connectors` of amaranth-boards' board."""
    number, pin = wiring.pins[name]
    return connectors[wiring.connector, number].mapping[pin]
<<<<<<< HEAD


def table(wiring: Wiring, connectors: dict) -> str:
    """The wiring as a table of Markdown."""
    rows = [f"| {wiring.camera} | {wiring.board} | FPGA pin |", "|---|---|---|"]
    for name in wiring.pins:
        rows.append(
            f"| {name.upper()} | {wiring.labels[name]} | {site(wiring, name, connectors)} |"
        )
    rows += [f"| {name} | {place} | |" for name, place in wiring.fixed.items()]
    return "\n".join(rows) + "\n"


# The module's header of two rows, seen from the lens side.
MODULE = (
    ("3V3", "GND"),
    ("SIOC", "SIOD"),
    ("VSYNC", "HREF"),
    ("PCLK", "XCLK"),
    ("D7", "D6"),
    ("D5", "D4"),
    ("D3", "D2"),
    ("D1", "D0"),
    ("RESET", "PWDN"),
)


def drawing() -> str:
    """The OV7670 module's header beside the ULX3S' J1, wire by wire, as SVG."""
    step, top, width = 34, 78, 760
    height = top + 9 * step + 34
    colours = ("#4477aa", "#228833", "#aa3377", "#b58900", "#117788", "#884400", "#555555")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="116" y="30" text-anchor="middle" font-size="16">OV7670 module</text>',
        '<text x="644" y="30" text-anchor="middle" font-size="16">ULX3S, header J1</text>',
        f'<rect x="24" y="44" width="184" height="{9 * step + 44}" rx="8" fill="#f2f2f2" '
        'stroke="#888888"/>',
        f'<rect x="552" y="44" width="184" height="{9 * step + 44}" rx="8" fill="#f2f2f2" '
        'stroke="#888888"/>',
    ]
    spots = {}
    for row, pair in enumerate(MODULE):
        y = top + row * step
        out.append(f'<text x="128" y="{y + 5}" text-anchor="end">{pair[0]} , {pair[1]}</text>')
        spots |= {name: (150 + 32 * side, y) for side, name in enumerate(pair)}
    board = [("3.3 V", "3.3 V"), ("GND", "GND")] + [(f"GP{i}", f"GN{i}") for i in range(7)]
    places = {}
    for row, pair in enumerate(board):
        y = top + row * step
        out.append(f'<text x="632" y="{y + 5}">{pair[0]} , {pair[1]}</text>')
        places |= {(label, side): (578 + 32 * side, y) for side, label in enumerate(pair)}
    wires = [("3V3", ("3.3 V", 0), "#cc3311"), ("RESET", ("3.3 V", 1), "#cc3311")]
    wires += [("GND", ("GND", 0), "#222222"), ("PWDN", ("GND", 1), "#222222")]
    for name, label in ULX3S_OV7670.labels.items():
        wire = (name.upper(), (label, int(label[1] == "N")), colours[int(label[2:])])
        wires.append(wire)
    for name, place, colour in wires:
        (x0, y0), (x1, y1) = spots[name], places[place]
        out.append(
            f'<path d="M {x0} {y0} C {x0 + 200} {y0 + 12}, {x1 - 200} {y1 - 12}, {x1} {y1}" '
            f'fill="none" stroke="{colour}" stroke-width="2" opacity="0.85"/>'
        )
    for x, y in [*spots.values(), *places.values()]:
        out.append(f'<circle cx="{x}" cy="{y}" r="5" fill="#ffffff" stroke="#333333"/>')
    out.append(
        f'<text x="380" y="{height - 10}" text-anchor="middle" font-size="12" fill="#555555">'
        "Wires under 15 cm; a ground wire beside PCLK and XCLK helps. 4.7 kohm from SIOC and "
        "SIOD to 3.3 V.</text>"
    )
    return "\n".join([*out, "</svg>", ""])


def boards() -> dict[str, dict]:
    """Connectors of the boards, from amaranth-boards."""
    from amaranth_boards.icebreaker import ICEBreakerPlatform
    from amaranth_boards.ulx3s import ULX3S_85F_Platform
    from amaranth_boards.upduino_v3 import UpduinoV3Platform

    platforms = {
        "ulx3s": ULX3S_85F_Platform,
        "upduino": UpduinoV3Platform,
        "icebreaker": ICEBreakerPlatform,
    }
    return {
        name: {(c.name, c.number): c for c in platform.connectors}
        for name, platform in platforms.items()
    }


def refresh(text: str) -> str:
    """docs/cameras.md with its tables as they are here."""
    for name, connectors in boards().items():
        rows = table(WIRINGS[name], connectors).rstrip("\n")
        text = files.between("docs/cameras.md", text, name, rows)
    return text


def main() -> None:
    """Writes the drawing and the tables of the camera's wires."""
    files.write(DOCS / "ov7670_ulx3s.svg", drawing())
    page = DOCS / "cameras.md"
    files.write(page, refresh(page.read_text()))
=======
>>>>>>> main
