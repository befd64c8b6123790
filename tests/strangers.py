"""What a stranger may send, changed at random: each reader takes it or refuses it in one line.

    python -m tests.strangers SECONDS [SEED]

A file that is whole is cut, and bytes, pieces and numbers of it are changed. A reader may give a
value or raise ValueError; anything else is a fault.
"""

import io
import json
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from boards import packets
from boards.packets import Kind
from golden import checkpoint, config_file, images
from golden.config import ModelConfig
from golden.data import load_coco
from golden.random_weights import random_weights
from golden.weights import Weights
from sim.study import explore, liberty

MODEL = ModelConfig(
    name="tiny",
    image_height=10,
    image_width=8,
    heads=1,
    head_channels=(1, 1),
    head_kernels=((3, 3), (3, 3)),
    state_channels=2,
    attention_hidden=1,
)
CELLS = """library (t) { time_unit : "1ns"; voltage_map (VDD, 1.2); nom_voltage : 1.2;
 cell (inv) { area : 1; pin (a) { direction : input; capacitance : 0.1; }
  pin (y) { direction : output; function : "!a"; internal_power () { related_pin : "a";
   rise_power (scalar) { values ("0.1"); } fall_power (scalar) { values ("0.1"); } } } }
 cell (dff) { area : 4; ff (IQ, IQN) { next_state : "d & !(a | b)"; clocked_on : "c"; }
  leakage_power () { when : "d & a"; value : 0.5; }
  pin (d) { direction : input; } pin (c) { direction : input; clock : true; }
  pin (q) { direction : output; function : "IQ"; } } }
"""
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9}],
}


def _picture(kind: str) -> bytes:
    kept = io.BytesIO()
    Image.effect_mandelbrot((9, 7), (-2, -1, 1, 1), 20).convert("RGB").save(kept, kind)
    return kept.getvalue()


def _checkpoint() -> bytes:
    kept = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.arange(6.0).reshape(2, 3)}}, kept)
    return kept.getvalue()


def _weights(folder: Path) -> bytes:
    path = folder / "whole.safetensors"
    random_weights(MODEL, 1).save(path)
    return path.read_bytes()


def _packets(data: bytes) -> None:
    """Every packet that is found is read, or refused."""
    for decoder in (packets.Decoder(), packets.Mixed()):
        for one in decoder.feed(data):
            if isinstance(one, packets.Packet):
                try:
                    packets.parse(one)
                except ValueError as error:
                    assert "\n" not in str(error)


def _sent() -> bytes:
    said = [packets.Hello(weights=1, status=0).pack(), packets.Counters().pack()]
    kinds = [Kind.HELLO, Kind.COUNTERS]
    return b"".join(packets.encode(k, p) for k, p in zip(kinds, said, strict=True)) + b"\x80\x40"


def readers(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """For each kind of file a whole one, and what reads it."""
    Image.new("L", (9, 9)).save(folder / "a.png")
    yaml = "image_height: 10\nimage_width: 8\nclasses: [a, b]\nhead_kernels: [[3, 3], [3, 3]]\n"
    toml = "image_height = 10\nimage_width = 8\nhead_kernels = [[3, 3], [3, 3]]\n"
    space = b"space:\n- presets: [vww_105x120]\n  shapes: ['8,1,2']\n"
    fields = config_file.read_fields
    return {
        "checkpoint.pt": (_checkpoint(), checkpoint.read_state_dict),
        "weights.safetensors": (_weights(folder), lambda path: Weights.load(path, MODEL)),
        "network.yaml": (yaml.encode(), fields),
        "network.toml": (toml.encode(), fields),
        "network.json": (b'{"image_height": 10, "classes": ["a", "b"]}', fields),
        "space.yaml": (space, explore.read_space),
        "cells.lib": (CELLS.encode(), lambda path: liberty.read(path).inverter),
        "annotations.json": (json.dumps(COCO).encode(), lambda path: load_coco(path, folder)),
        **{
            f"picture.{kind}": (_picture(kind), lambda path: images.load_image(path, MODEL))
            for kind in ("png", "gif", "bmp", "jpeg", "tiff", "webp", "ppm")
        },
        "serial.bin": (_sent(), lambda path: _packets(path.read_bytes())),
    }


_NUMBERS = (b"0", b"-1", b"1e999", b"99999999999999999999", b"nan", b"[", b"{", b"(", b"*a", b"&a ")


def changed(whole: bytes, rng: random.Random) -> bytes:
    """One to four places of it are others."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 64))
        way = rng.randrange(7)
        if way == 0:
            del data[at : at + size]
        elif way == 1:
            data[at:at] = data[at : at + size] * rng.choice((1, 3, 200))
        elif way == 2:
            data[at : at + size] = rng.randbytes(size)
        elif way == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif way == 4:
            data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f")) * size
        elif way == 5:
            data[at : at + rng.choice((0, 1, size))] = rng.choice(_NUMBERS)
        else:
            del data[at:]
    return bytes(data)


def play(name: str, read: Callable[[Path], object], data: bytes, folder: Path) -> bool:
    """Whether it is taken; AssertionError with what came, if it is neither taken nor refused."""
    path = folder / name
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what it leaves out
            read(path)
    except ValueError as error:
        assert "\n" not in str(error), f"{name}: more than a line: {error}"
        return False
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
    return True


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        known, taken, played, faults = readers(folder), 0, 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, (whole, read) in known.items():
                rng = random.Random(f"{seed} {name}")
                try:
                    began = time.monotonic()
                    taken += play(name, read, changed(whole, rng), folder)
                    assert time.monotonic() - began < 20, f"{name}: took too long"
                except AssertionError as error:
                    faults += 1
                    print(f"seed {seed}: {error}", flush=True)
                played += 1
            seed += 1
    print(f"{played} files, {taken} taken, {played - taken - faults} refused, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
