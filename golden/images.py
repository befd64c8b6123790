"""Pictures from files and from scikit-image's wheel, stretched to a model's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from golden.config import ModelConfig

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
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


def stretch(image: Image.Image, config: ModelConfig) -> Tensor:
    """A Pillow picture as uint8 [in_channels, h, w]: bilinear with antialiasing, aspect not kept.

    One channel is the luma of the picture (Pillow's ITU-R 601).
    """
    image = image.convert("RGB")
    if config.in_channels == 1:
        image = image.convert("L")
    size = (config.image_width, config.image_height)
    pixels = np.array(image.resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)
    tensor = torch.from_numpy(pixels)
    return tensor[None] if config.in_channels == 1 else tensor.permute(2, 0, 1).contiguous()


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a readable picture ({text})") from error


def check_image(path: str | Path) -> None:
    """Decode a picture file and forget it; ValueError as in `load_image`."""
    _open(Path(path))


def load_image(path: str | Path, config: ModelConfig) -> Tensor:
    """One picture file as uint8 [in_channels, h, w].

    Raises
    ------
    ValueError
        One line with the path: no such file, or not a picture.
    """
    return stretch(_open(Path(path)), config)


def list_images(folder: str | Path) -> list[Path]:
    """The picture files of a folder, sorted by name; ValueError if there is no such thing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: no picture in it (looked for {', '.join(SUFFIXES)})")
    return found


def load_folder(folder: str | Path, config: ModelConfig) -> tuple[list[Path], Tensor]:
    """All pictures of a folder, sorted by name: their paths and uint8 [B, in_channels, h, w]."""
    paths = list_images(folder)
    return paths, torch.stack([load_image(path, config) for path in paths])


def _bundled(name: str) -> Image.Image:
    import skimage  # here, because it takes long to import and only these two functions need it

    return _open(Path(skimage.__file__).parent / "data" / name)


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
