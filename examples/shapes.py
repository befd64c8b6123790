"""A small set of pictures to try the tutorial with: drawn shapes, a folder for each class.

    python examples/shapes.py FOLDER [PICTURES OF EACH CLASS]

Classes: nothing (stripes and spots), circle, triangle, on noisy grounds of any colour. The same
numbers give the same pictures.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("nothing", "circle", "triangle")
SIZE = (96, 80)  # pixels across and down


def picture(kind: str, seed: int) -> Image.Image:
    """One picture of a class, RGB."""
    rng = random.Random(f"{kind} {seed}")
    dark, light = (tuple(rng.randrange(low, low + 90) for _ in range(3)) for low in (0, 150))
    ground, ink = (dark, light) if rng.random() < 0.5 else (light, dark)
    image = Image.new("RGB", SIZE, ground)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randrange(3, 7)):  # what is in every picture
        x, y = rng.randrange(SIZE[0]), rng.randrange(SIZE[1])
        shade = tuple(channel + rng.randrange(-25, 26) for channel in ground)
        draw.line((x, y, x + rng.randrange(-40, 41), y + rng.randrange(-40, 41)), shade, 3)
    radius = rng.randrange(16, 30)
    x = rng.randrange(radius, SIZE[0] - radius)
    y = rng.randrange(radius, SIZE[1] - radius)
    if kind == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), ink)
    elif kind == "triangle":
        turn = rng.uniform(0, math.tau)
        angles = (turn + corner * math.tau / 3 for corner in range(3))
        draw.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles], ink)
    noise = Image.frombytes("RGB", SIZE, rng.randbytes(3 * SIZE[0] * SIZE[1]))
    return Image.blend(image.filter(ImageFilter.GaussianBlur(0.6)), noise, 0.1)


def main(folder: Path, count: int = 48) -> None:
    """Writes the folders."""
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for seed in range(count):
            picture(kind, seed).save(folder / kind / f"{kind}_{seed:03}.png")
    print(f"{folder}: {count} pictures each of {', '.join(CLASSES)}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3 or not (sys.argv[2:] or ["1"])[0].isdecimal():
        sys.exit(f"expected FOLDER [PICTURES OF EACH CLASS], not {' '.join(sys.argv[1:])!r}")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
