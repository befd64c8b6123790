"""golden/camera.py: the conversions against their definitions, exactly or within a bound."""

import numpy as np
import pytest

from golden import camera
from sim.camera_models import encode


def everything(bits):
    """All values of so many bytes, as columns."""
    grid = np.arange(256**bits, dtype=np.int64)
    return [(grid >> 8 * i & 255).astype(np.uint8) for i in range(bits)]


def test_rgb565():
    """All words: the upper bits are the sensor's, 0 and full scale stay, 255 / 31 within half."""
    high, low = everything(2)
    rgb = camera.rgb565_to_rgb(high, low).astype(int)
    word = high.astype(int) << 8 | low
    fields = np.stack([word >> 11, word >> 5 & 63, word & 31], -1)
    assert (rgb >> np.array([3, 2, 3]) == fields).all()
    exact = fields * 255 / np.array([31, 63, 31])
    assert np.abs(rgb - exact).max() < 1  # repeating bits is at most one off a rounded division
    assert rgb[word == 0].tolist() == [[0, 0, 0]]
    assert rgb[word == 0xFFFF].tolist() == [[255, 255, 255]]
    assert rgb[word == 0xF800].tolist() == [[255, 0, 0]]


def test_yuv():
    """Every Y, U, V near BT.601 in real numbers: at most one off, never wrapped."""
    steps = np.array([0, 1, 16, 127, 128, 129, 200, 254, 255])
    y, u, v = (x.reshape(-1) for x in np.meshgrid(np.arange(256), np.arange(256), steps))
    for swap in (False, True):
        a, b = (v, u) if swap else (u, v)
        rgb = camera.yuv_to_rgb(y.astype(np.uint8), a.astype(np.uint8), b.astype(np.uint8))
        real = np.stack(
            [
                y + 1.402 * (b - 128),
                y - 0.344136 * (a - 128) - 0.714136 * (b - 128),
                y + 1.772 * (a - 128),
            ],
            -1,
        )
        error = np.abs(rgb.astype(float) - np.clip(real, 0, 255))
        # half from the last rounding, and 128 / 512 for each rounded coefficient
        assert error.max() <= 0.5 + 2 * 128 / 512
    grey = np.arange(256, dtype=np.uint8)
    assert (camera.yuv_to_rgb(grey, grey * 0 + 128, grey * 0 + 128) == grey[:, None]).all()


@pytest.mark.parametrize(
    "y, u, v, rgb",
    [  # worked by hand
        (0, 0, 0, (0, 136, 0)),  # (88 + 183) * 128 / 256 = 135.5 goes up
        (255, 255, 255, (255, 121, 255)),
        (76, 85, 255, (254, 0, 0)),  # pure red as JPEG writes it
        (128, 128, 128, (128, 128, 128)),
    ],
)
def test_yuv_values(y, u, v, rgb):
    got = camera.yuv_to_rgb(*(np.array(x, dtype=np.uint8) for x in (y, u, v)))
    assert tuple(got.tolist()) == rgb


def test_decode():
    data = np.array([[10, 20, 30, 40]], dtype=np.uint8)
    pair = camera.yuv_to_rgb(*(np.array(x, dtype=np.uint8) for x in ([10, 30], [20] * 2, [40] * 2)))
    assert (camera.decode(data, "yuyv")[0] == pair).all()
    swapped = np.array([[20, 10, 40, 30]], dtype=np.uint8)
    assert (camera.decode(swapped, "uyvy")[0] == pair).all()
    assert camera.decode(data, "yuyv", 1)[0].tolist() == [[10] * 3, [30] * 3]
    assert camera.decode(swapped, "uyvy", 1)[0].tolist() == [[10] * 3, [30] * 3]
    assert camera.decode(data, "grey8")[0].tolist() == [[x] * 3 for x in (10, 20, 30, 40)]
    red = np.array([[0xF8, 0, 0, 0x1F]], dtype=np.uint8)
    assert camera.decode(red, "rgb565")[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    swapped = red.reshape(-1, 2)[:, ::-1].reshape(red.shape)
    assert camera.decode(swapped, "rgb565_le").tolist() == camera.decode(red, "rgb565").tolist()
    assert camera.decode(red, "rgb565_le").tolist() != camera.decode(red, "rgb565").tolist()


@pytest.mark.parametrize(
    "pixel_format, bound", [("rgb565", 7), ("rgb565_le", 7), ("yuyv", 2), ("uyvy", 2)]
)
def test_a_picture_survives(pixel_format, bound):
    """What a sensor would send of smooth colours comes back: the steps of 5 bits, or of U and V."""
    line = np.arange(256, dtype=np.uint8).repeat(2)
    image = np.stack([line, line[::-1], line // 2 + 30], -1)[None]
    got = camera.decode(encode(image, pixel_format), pixel_format)
    assert np.abs(got.astype(int) - image).max() <= bound


def test_fit():
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    assert (camera.fit(image, 9, 13, 1) == image).all()
    assert (camera.fit(image, 4, 6, 1) == image[2:6, 3:9]).all()
    small = camera.fit(image, 3, 5, 2)
    for y in range(3):
        for x in range(5):
            square = image[1 + 2 * y : 3 + 2 * y, 1 + 2 * x : 3 + 2 * x].reshape(4, 3).astype(int)
            assert small[y, x].tolist() == ((square.sum(0) + 2) // 4).tolist()
    assert (camera.fit(image, 3, 5, 2, 1) == small[:, :, :1]).all()


@pytest.mark.parametrize("four, mean", [((0, 0, 0, 1), 0), ((0, 0, 1, 1), 1), ((255,) * 4, 255)])
def test_fit_rounds_half_up(four, mean):
    image = np.array(four, dtype=np.uint8).reshape(2, 2, 1).repeat(3, 2)
    assert camera.fit(image, 1, 1, 2).tolist() == [[[mean] * 3]]


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: camera.decode(np.zeros((1, 4)), "grey8"),
            "data must have 2 dimensions of bytes, not 2 of float64",
        ),
        (
            lambda: camera.decode(np.zeros((1, 4), np.uint8), "yuy2"),
            "pixel_format must be one of rgb565, rgb565_le, yuyv, uyvy, grey8, not 'yuy2'",
        ),
        (
            lambda: camera.decode(np.zeros((1, 4), np.uint8), "grey8", 2),
            "channels must be 1 or 3, not 2",
        ),
        (
            lambda: camera.decode(np.zeros((1, 6), np.uint8), "yuyv"),
            "a line must be a multiple of 4 bytes, not 6",
        ),
        (
            lambda: camera.decode(np.zeros((1, 6), np.uint8), "rgb565", 1),
            "pixel_format must be yuyv, uyvy or grey8 for one channel, not rgb565",
        ),
        (
            lambda: camera.fit(np.zeros((4, 4), np.uint8), 1, 1, 1),
            "image must have 3 dimensions of bytes, not 2 of uint8",
        ),
        (
            lambda: camera.fit(np.zeros((4, 4, 3), np.uint8), 1, 1, 3),
            "binning must be 1 or 2, not 3",
        ),
        (
            lambda: camera.fit(np.zeros((4, 4, 3), np.uint8), 3, 2, 2),
            "height * binning must be at most the sensor's 4, not 6",
        ),
        (
            lambda: camera.fit(np.zeros((4, 4, 3), np.uint8), 2, 5, 1),
            "width * binning must be at most the sensor's 4, not 5",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
