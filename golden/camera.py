"""Integer model of the camera front end: a sensor's bytes to the network's picture, bit for bit.

`decode` is boards.camera.dvp, `fit` is boards.camera.framer.
"""

from __future__ import annotations

import numpy as np

UNITS = {"rgb565": 2, "rgb565_le": 2, "yuyv": 4, "uyvy": 4, "grey8": 1}
"""Bytes that make whole pixels. RGB565: two bytes a pixel, high byte first, or (`_le`) low byte
first; Y U Y V or U Y V Y for two pixels; a byte a pixel."""
FORMATS = tuple(UNITS)
SWAPPED = {"rgb565": "rgb565_le", "yuyv": "uyvy"}
"""The same with the two bytes of each pixel in the other order."""
SWAPPED |= {other: one for one, other in SWAPPED.items()}

RED_V, GREEN_U, GREEN_V, BLUE_U = 359, 88, 183, 454
"""1.402, 0.344136, 0.714136, 1.772 (ITU-R BT.601, full range as in JPEG) times 256, rounded."""


def check_format(pixel_format: str, channels: int = 3) -> None:
    """Raises ValueError unless such a sensor can feed a network of so many channels."""
    if pixel_format not in FORMATS:
        raise ValueError(f"pixel_format must be one of {', '.join(FORMATS)}, not {pixel_format!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    if channels == 1 and UNITS[pixel_format] == 2:
        raise ValueError(
            f"pixel_format must be yuyv, uyvy or grey8 for one channel, not {pixel_format}"
        )


def _check(name: str, array: np.ndarray, dimensions: int) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != dimensions or array.dtype != np.uint8:
        raise ValueError(
            f"{name} must have {dimensions} dimensions of bytes, not {array.ndim} of {array.dtype}"
        )
    return array


def rgb565_to_rgb(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """RRRRRGGG GGGBBBBB to [..., 3] bytes; upper bits are repeated below: 0 and full stay so."""
    word = high.astype(np.int64) << 8 | low
    red, green, blue = word >> 11, word >> 5 & 63, word & 31
    colours = (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)
    return np.stack(colours, -1).astype(np.uint8)


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Y, U, V bytes (128 is no colour) to [..., 3] bytes, rounded to nearest and clamped.

    ::

        red   = (256 y + 359 (v - 128) + 128) >> 8
        green = (256 y -  88 (u - 128) - 183 (v - 128) + 128) >> 8
        blue  = (256 y + 454 (u - 128) + 128) >> 8
    """
    y, u, v = (np.asarray(x).astype(np.int64) for x in (y, u, v))
    u, v = u - 128, v - 128
    sums = (256 * y + RED_V * v, 256 * y - GREEN_U * u - GREEN_V * v, 256 * y + BLUE_U * u)
    return np.clip(np.stack([s + 128 >> 8 for s in sums], -1), 0, 255).astype(np.uint8)


def decode(data: np.ndarray, pixel_format: str, channels: int = 3) -> np.ndarray:
    """A frame's bytes, [lines, bytes of a line], as [lines, pixels, 3]: what the receiver gives.

    Grey, and Y alone where the network has one channel, comes as red = green = blue.

    Raises
    ------
    ValueError
        Unknown format, channels, or a line that is no whole number of pixels (pairs with YUV).
    """
    data = _check("data", data, 2)
    check_format(pixel_format, channels)
    unit = UNITS[pixel_format]
    if data.shape[1] % unit:
        raise ValueError(f"a line must be a multiple of {unit} bytes, not {data.shape[1]}")
    if pixel_format == "grey8":
        return np.stack([data] * 3, -1)
    if unit == 2:
        low = int(pixel_format == "rgb565")
        return rgb565_to_rgb(data[:, 1 - low :: 2], data[:, low::2])
    first = int(pixel_format == "uyvy")
    y = data[:, first::2]
    if channels == 1:
        return np.stack([y] * 3, -1)
    u, v = (data[:, 1 - first + at :: 4].repeat(2, 1) for at in (0, 2))
    return yuv_to_rgb(y, u, v)


def crop(sensor: int, wanted: int, binning: int) -> int:
    """First pixel (or line) of the centred part of a sensor's line (or frame)."""
    return (sensor - binning * wanted) // 2


def fit(image: np.ndarray, height: int, width: int, binning: int, channels: int = 3) -> np.ndarray:
    """The centre of [lines, pixels, 3], binned: what the framer gives, [height, width, 3].

    binning: 1, or 2: each pixel is (a + b + c + d + 2) >> 2 of a square of four.
    channels: with 1, red is the picture, and comes in all three places.

    Raises
    ------
    ValueError
        The part is larger than the picture, or binning is neither 1 nor 2.
    """
    image = _check("image", image, 3)
    if binning not in (1, 2):
        raise ValueError(f"binning must be 1 or 2, not {binning!r}")
    for name, there, wanted in (
        ("height", image.shape[0], height),
        ("width", image.shape[1], width),
    ):
        if binning * wanted > there:
            raise ValueError(
                f"{name} * binning must be at most the sensor's {there}, not {binning * wanted}"
            )
    top, left = (
        crop(image.shape[0], height, binning),
        crop(image.shape[1], width, binning),
    )
    part = image[top : top + binning * height, left : left + binning * width].astype(np.int64)
    if channels == 1:
        part = part[:, :, :1].repeat(3, 2)
    if binning == 2:
        part = part.reshape(height, 2, width, 2, 3).sum((1, 3)) + 2 >> 2
    return part.astype(np.uint8)
