"""Pictures from files and from scikit-image's wheel, stretched to a model's size.

One loader for simulation, host tool, training, evaluation and calibration. What a file's content
becomes (docs/pictures.md has the same table):

- orientation: turned upright as its EXIF says (boxes of a data set are turned with it).
- bit depth: 1 and 8 bits as they are; of 16 bits the upper 8; a PGM's or PPM's other depths by
  the file's own maximum.
  Refused: 16 bits whose largest value has only 14 bits or less (the depth is not known then: 12-bit
  samples look like that), 32-bit integers and floats (no value is known to be white), and 16-bit
  TIFFs whose 0 is white.
- alpha: laid over white, as viewers show it. Palettes: their colours.
- CMYK and YCbCr: to RGB by Pillow's formulas; LAB and others without such a formula are refused.
  Colour profiles (ICC) are not applied: values are sRGB's, as in training.
- animations, several pages or pictures in a file: the first one.
- refused: files of other formats than `FORMATS`, cut or broken ones, and more than `MOST_PIXELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from golden.config import ModelConfig
from golden.errors import missing

# All inside scikit-image's wheel: nothing is downloaded.
DEFAULT_PHOTOGRAPHS = ("astronaut.png", "coffee.png")
CALIBRATION_PHOTOGRAPHS = (
    *DEFAULT_PHOTOGRAPHS,
    "chelsea.png",
    "motorcycle_left.png",
    "camera.png",
    "coins.png",
    "brick.png",
    "grass.png",
)
SUFFIXES = (*(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),)
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow's names
MOST_PIXELS = 1 << 27
"""134 million: more than any camera gives; larger files are refused before they are unpacked."""
RULE = 2
"""Number of the loader's rule; pictures that were kept by another one are decoded again."""
Image.MAX_IMAGE_PIXELS = None  # `_open` checks the size, and without Pillow's warning
_NAMED = 3  # bad files named; the rest is counted
_ORIENTATION = 0x0112  # EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UNKNOWN_RANGE = {
    "I": "32-bit integers, of which none is known to be white",
    "F": "floats, of which none is known to be white",
    "LAB": "colours in LAB",
    "HSV": "colours in HSV",
}


def stretch(image: Image.Image, config: ModelConfig) -> Tensor:
    """A Pillow picture of 8 bits as uint8 [in_channels, h, w]: bilinear with antialiasing, aspect
    not kept.

    One channel is the luma of the picture (Pillow's ITU-R 601).
    """
    image = image.convert("RGB")
    if config.in_channels == 1:
        image = image.convert("L")
    size = (config.image_width, config.image_height)
    pixels = np.array(image.resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)
    tensor = torch.from_numpy(pixels)
    return tensor[None] if config.in_channels == 1 else tensor.permute(2, 0, 1).contiguous()


class Checked(NamedTuple):
    """What a picture file says of itself: its stored size in pixels, and its EXIF orientation."""

    width: int
    height: int
    orientation: int  # 1..8, 1 where none or no valid one is given


def _open(path: Path) -> tuple[Image.Image, Checked]:
    """A picture upright in 8 bits, RGB or L, and what its file says."""
    if not path.is_file():
        raise ValueError(missing(path))
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{width} x {height} pixels, at most {MOST_PIXELS:,} are read")
            deep = _is_deep(image)
            found = _said(image)
            image.load()
            picture = _eight_bits(image, deep)
            turn = _TURNS.get(found.orientation)
            if turn is not None and image.format != "TIFF":  # Pillow has turned those
                picture = picture.transpose(turn)
            return picture, found
    except Exception as error:  # what readers of eight formats raise on broken files has no end
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            text = f"none of {', '.join(FORMATS)}"
        raise ValueError(f"{path}: not a readable picture ({text})") from error


def _said(image: Image.Image) -> Checked:
    width, height = image.size
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow's errors about broken EXIF are of many types; pixels may be whole
        orientation = 1
    if image.format == "TIFF":
        width, height = (
            int(image.tag_v2.get(tag, side)) for tag, side in ((256, width), (257, height))
        )
    return Checked(width, height, orientation if orientation in _TURNS else 1)


def _is_deep(image: Image.Image) -> bool:
    """Whether samples have 16 bits in the file; of a PGM's or PPM's other maxima all is known."""
    args = [one if isinstance(one, tuple) else (one,) for one in (tile[3] for tile in image.tile)]
    return any(";16" in str(one) or (image.format == "PPM" and 65535 in one) for one in args)


def _eight_bits(image: Image.Image, deep: bool) -> Image.Image:
    """8 bits, RGB or L. deep: 16 bits in the file, of which Pillow may keep the upper ones."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        if image.format == "TIFF" and image.tag_v2.get(262) == 0:
            raise ValueError("16 bits a sample, and 0 is white")
        values = np.asarray(image)
        if deep or mode != "I":
            _check_depth(int(values.max()))
        return Image.fromarray((values >> 8).astype(np.uint8))
    if mode in _UNKNOWN_RANGE:
        raise ValueError(f"{_UNKNOWN_RANGE[mode]}: save it with 8 or 16 bits a sample")
    kind = "L" if mode in ("1", "L") else "RGB"
    if deep:  # before white shows through
        _check_depth(max(high for _, high in _extrema(image.convert(kind))) << 8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert(kind)


def _extrema(picture: Image.Image) -> list[tuple[int, int]]:
    found = picture.getextrema()
    return list(found) if isinstance(found[0], tuple) else [found]


def _check_depth(highest: int) -> None:
    if 0 < highest < 1 << 14:
        raise ValueError(
            f"16 bits a sample, but none above {highest:,} of 65,535: its depth is not known, "
            "save it with 8 bits"
        )


def turned(
    box: tuple[float, float, float, float], orientation: int
) -> tuple[float, float, float, float]:
    """A box (left, top, right, bottom, 0..1) of a stored picture in the upright one."""
    left, top, right, bottom = box
    if orientation in (5, 6, 7, 8):
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        top, bottom = 1 - bottom, 1 - top
    return left, top, right, bottom


def check_image(path: str | Path) -> Checked:
    """Decode a picture file; ValueError as in `load_image`."""
    return _open(Path(path))[1]


def load_image(path: str | Path, config: ModelConfig) -> Tensor:
    """One picture file as uint8 [in_channels, h, w].

    Raises
    ------
    ValueError
        One line with the path: no such file, or not a picture that can be used.
    """
    return stretch(_open(Path(path))[0], config)


def is_picture(path: Path) -> bool:
    """Whether a file in a folder is taken for a picture: by its ending, and not hidden (``._x.jpg``
    of macOS is none)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def list_images(folder: str | Path, *, deep: bool = False) -> list[Path]:
    """The picture files of a folder, sorted; ValueError if there is no such thing.

    deep: and of the folders in it. Hidden files and folders are left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(missing(folder, "folder"))
    found = folder.rglob("*") if deep else folder.iterdir()
    paths = sorted(
        path
        for path in found
        if is_picture(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise ValueError(
            f"{folder}: no picture in it (looked for {', '.join(SUFFIXES)}; expected at least one, "
            f"not {'other files only' if any(folder.iterdir()) else 'an empty folder'})"
        )
    return paths


def usable(
    paths: Sequence[Path], *, skip_bad: bool, tell: Callable[[str], None] | None = None
) -> list[Path]:
    """The pictures that can be read.

    Parameters
    ----------
    skip_bad : bool
        Leave the others out; `tell` gets a line about them.

    Raises
    ------
    ValueError
        One line: the first one that cannot be read, without `skip_bad`; or none can.
    """
    good, bad = [], []
    for path in paths:
        try:
            check_image(path)
            good.append(path)
        except ValueError as error:
            if not skip_bad:
                raise ValueError(f"{error}; SKIP_BAD=1 leaves such files out") from error
            bad.append((path.name, error))
    if not good:
        raise (
            bad[0][1]
            if len(bad) == 1
            else ValueError(
                f"{paths[0].parent}: none of {len(paths)} pictures can be read ({bad[0][1]})"
            )
        )
    if bad and tell is not None:
        names = ", ".join(name for name, _ in bad[:_NAMED]) + ", ..." * (len(bad) > _NAMED)
        tell(f"left out: {len(bad)} of {len(paths)} pictures that cannot be read ({names})")
    return good


def load_folder(
    folder: str | Path,
    config: ModelConfig,
    *,
    count: int | None = None,
    skip_bad: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[Path], Tensor]:
    """Pictures of a folder, sorted by name: their paths and uint8 [B, in_channels, h, w].

    count: only the first ones. skip_bad, tell: as for `usable`.
    """
    paths = list_images(folder)
    if skip_bad:
        paths = usable(paths, skip_bad=True, tell=tell)
    paths = paths[:count]
    return paths, load_images(paths, config)


def load_images(paths: Sequence[Path], config: ModelConfig) -> Tensor:
    """Pictures as uint8 [B, in_channels, h, w]; errors say how bad ones can be left out."""
    try:
        return torch.stack([load_image(path, config) for path in paths])
    except ValueError as error:
        if len(paths) == 1:
            raise
        raise ValueError(f"{error}; SKIP_BAD=1 leaves such files out") from error


def _bundled(name: str) -> Image.Image:
    import skimage  # here, because it takes long to import and only these two functions need it

    return _open(Path(skimage.__file__).parent / "data" / name)[0]


def default_images(config: ModelConfig) -> Tensor:
    """Two photographs of scikit-image, uint8 [2, in_channels, h, w]: a person, a coffee cup."""
    return torch.stack([stretch(_bundled(name), config) for name in DEFAULT_PHOTOGRAPHS])


def calibration_images(config: ModelConfig) -> Tensor:
    """24 pictures for calibration, uint8 [24, in_channels, h, w].

    Eight photographs of scikit-image: each whole, its upper left 3/4 mirrored, its lower right 2/3
    turned dark (half the brightness).
    """
    found = []
    for name in CALIBRATION_PHOTOGRAPHS:
        image = _bundled(name).convert("RGB")
        width, height = image.size
        upper = image.crop((0, 0, width * 3 // 4, height * 3 // 4))
        lower = image.crop((width // 3, height // 3, width, height))
        found += [
            stretch(image, config),
            stretch(upper.transpose(Image.Transpose.FLIP_LEFT_RIGHT), config),
            stretch(lower.point(lambda value: value // 2), config),
        ]
    return torch.stack(found)


def camera_image(image: Tensor) -> np.ndarray:
    """Bytes [channels, h, w] as a camera sends them, (h, w, 3); one channel on all three."""
    array = image.permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))
