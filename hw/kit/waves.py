"""Waveforms of an engine's ports: WaveDrom's JSON, and a drawing of it.

A wave has a letter a cycle: `p` a clock, `0` and `1`, `=` a value (its text is the next of `data`),
`.` as in the cycle before, `x` anything, `|` some cycles left out.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from hw.interfaces import Pixels

Lane = dict
Wave = dict


def _lane(name: str, wave: str, data: str = "") -> Lane:
    return {"name": name, "wave": wave} | ({"data": data.split()} if data else {})


def waves(in_channels: int, spacing: int) -> dict[str, Wave]:
    """The waveforms of an engine by their names.

    Parameters
    ----------
    in_channels : int
        3 or 1.
    spacing : int
        Closest cycles from pixel to pixel.
    """
    gap = "." * (spacing - 1)
    off = ("0" + "." * (spacing - 2)) if spacing > 1 else ""
    unknown = ("x" + "." * (spacing - 2)) if spacing > 1 else ""

    def pixels(values: str, name: str) -> Lane:
        a, b, c, d = ("=" + unknown,) * 4
        return _lane(name, f"x{a}{b}|{c}x..{d}|", values)

    def flag(name: str, first: int, last: int, second: int) -> Lane:
        """A flag of the line's first, its last, and the next line's first pixel."""
        one = "1" + off if spacing > 1 else "1"
        zero = "0" + gap
        return _lane(
            name,
            f"0{one if first else zero}{zero}|{one if last else zero}0..{one if second else zero}|",
        )

    valid = "1" + off
    clock = "p" + "." * (2 * spacing) + "|" + "." * (2 * spacing + 3) + "|"
    return {
        "pixels": {
            "signal": [
                _lane("clk", clock),
                _lane("pixel_valid", f"0{valid}{valid}|{valid}0..{valid}|"),
                *[
                    pixels("0,0 0,1 0,w-1 1,0", f"pixel_{name}")
                    for name in Pixels(in_channels).colours
                ],
                flag("pixel_sof", 1, 0, 0),
                flag("pixel_eol", 0, 1, 0),
            ],
            "head": {"text": "A frame's first line, blanking, its second line"},
        },
        "row": {
            "signal": [
                _lane("clk", "p.....|"),
                _lane("row_valid", "0.10..|"),
                _lane("row_group", "x.=x..|", "g"),
                _lane("row_logit0", "=.=...|", "before logit"),
                _lane("row_logit1", "=.=...|", "before logit"),
            ],
            "head": {"text": "A row group is answered; the logits stay until the next answer"},
        },
        "decision": {
            "signal": [
                _lane("clk", "p.....|"),
                _lane("row_valid", "0.10..|"),
                _lane("decision_valid", "0..10.|"),
                _lane("decision_...", "=..=..|", "before this"),
            ],
            "head": {"text": "The last row group's answer is the frame's decision a cycle later"},
        },
        "state": {
            "signal": [
                _lane("clk", "p....|...."),
                _lane("state_read", "0.10.|...."),
                _lane("state_channel", "x.=x.|....", "channel"),
                _lane("state_word", "x.=x.|....", "word"),
                _lane("state_valid", "0....|.10."),
                _lane("state_data", "x....|.=x.", "bytes"),
            ],
            "head": {"text": "A word of the state is read"},
        },
        "load": {
            "signal": [
                _lane("clk", "p......|......."),
                _lane("load_valid", "0.1....|..0...."),
                _lane("load_data", "x.=..==|==x....", "0 1 2 n-2 n-1"),
                _lane("load_last", "0......|.10...."),
                _lane("load_ready", "0...1..|...0..."),
                _lane("weights_digest", "=....=.|....=..", "old 0 CRC-32"),
            ],
            "head": {"text": "Weights are loaded once the engine is between frames"},
        },
    }


_WIDTH, _HEIGHT, _LINE, _NAMES, _TOP = 30, 16, 26, 130, 34


def svg(wave: Wave) -> str:
    """A drawing of a waveform."""
    lanes = wave["signal"]
    cycles = max(len(lane["wave"]) for lane in lanes)
    width, height = _NAMES + cycles * _WIDTH + 10, _TOP + len(lanes) * _LINE + 6
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_NAMES}" y="18" font-size="13">{escape(wave["head"]["text"])}</text>',
    ]
    for number, lane in enumerate(lanes):
        out += _drawn(lane, _TOP + number * _LINE)
    return "\n".join([*out, "</svg>", ""])


def _drawn(lane: Lane, top: int) -> list[str]:
    out = [f'<text x="{_NAMES - 8}" y="{top + 12}" text-anchor="end">{escape(lane["name"])}</text>']
    texts = iter(lane.get("data", ()))
    high, low, before = top, top + _HEIGHT, ""
    path = []
    stretches: list[tuple[str, int, int]] = []  # kind, first and last cycle of a value
    for cycle, letter in enumerate(lane["wave"]):
        x = _NAMES + cycle * _WIDTH
        if letter == "|":
            out.append(
                f'<path d="M{x + 12} {low + 3}l3 -22M{x + 17} {low + 3}l3 -22" stroke="#888888"/>'
            )
        now = before if letter in ".|" else letter
        if now == "p":
            path.append(f"M{x} {low}V{high}H{x + _WIDTH // 2}V{low}H{x + _WIDTH}")
        elif now in "01":
            level = {"0": low, "1": high}[now]
            start = f"V{level}" if before in ("0", "1") else f"M{x} {level}"
            path.append(f"{start}H{x + _WIDTH}")
        elif letter in "=x":
            stretches.append((letter, x, x + _WIDTH))
        else:
            kind, first, _ = stretches.pop()
            stretches.append((kind, first, x + _WIDTH))
        before = now
    for kind, first, last in stretches:
        fill = "#eeeeee" if kind == "x" else "#ffffff"
        out.append(
            f'<rect x="{first}" y="{high}" width="{last - first}" height="{_HEIGHT}" '
            f'fill="{fill}" stroke="#333333"/>'
        )
        if kind == "=":
            out.append(
                f'<text x="{(first + last) // 2}" y="{top + 12}" text-anchor="middle" '
                f'font-size="10">{escape(next(texts))}</text>'
            )
    if path:
        out.append(f'<path d="{"".join(path)}" fill="none" stroke="#0055aa"/>')
    return out
