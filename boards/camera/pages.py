"""The cameras' wires for people: the drawing and the tables of docs/cameras.md."""

from pathlib import Path

from boards.camera.wiring import ULX3S_OV7670, WIRINGS, Wiring, site
from golden import command_line, files

DOCS = Path(__file__).resolve().parents[2] / "docs"


def table(wiring: Wiring, connectors: dict) -> str:
    """The wiring as a table of Markdown."""
    rows = [f"| {wiring.camera} | {wiring.board} | FPGA pin |", "|---|---|---|"]
    for name in wiring.pins:
        rows.append(
            f"| {name.upper()} | {wiring.labels[name]} | {site(wiring, name, connectors)} |"
        )
    rows += [f"| {name} | {place} | |" for name, place in wiring.fixed.items()]
    return "\n".join(rows)


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


def refresh(page: Path) -> None:
    """docs/cameras.md with its tables as they are here.

    Raises
    ------
    ValueError
        No such page, or one without a table's marks.
    """
    for name, connectors in boards().items():
        command_line.refresh(page, name, table(WIRINGS[name], connectors))


def main() -> None:
    """Writes the drawing and the tables of the camera's wires."""
    files.write(DOCS / "ov7670_ulx3s.svg", drawing())
    refresh(DOCS / "cameras.md")
