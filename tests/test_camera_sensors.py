"""boards/camera/sensor, ov7670, hm01b0: the timing figures and the register tables."""

import pytest

from boards.camera import hm01b0, ov7670
from boards.camera.front import CameraFront
from boards.camera.sccb import SccbMaster
from boards.camera.sensor import Sensor
from golden.config import PRESETS

SENSOR = {
    "name": "s",
    "height": 3,
    "width": 4,
    "pixel_format": "rgb565",
    "clock_hz": 1000,
    "line_clocks": 10,
    "vsync_clocks": 1,
    "front_clocks": 0,
    "back_clocks": 2,
}


def test_sensor():
    sensor = Sensor(**SENSOR)
    assert (sensor.pixel_clocks, sensor.active_clocks, sensor.frame_clocks) == (2, 8, 31)
    assert sensor.frames_per_second == 1000 / 31 and sensor.line_hz == 100
    bits = Sensor(**(SENSOR | {"pixel_format": "grey8", "data_bits": 1, "line_clocks": 33}))
    assert (bits.pixel_clocks, bits.active_clocks) == (8, 32)


@pytest.mark.parametrize(
    "data_bits, line_us, found",
    [
        (4, 0, (2, 376)),  # as quick as may be
        (4, 100, (2, 500)),
        (8, 100, (2, 500)),
        (8, 37.6, (1, 376)),
        (4, 376, (8, 470)),
        (1, 10, (8, 376)),
        (4, 1000, (8, 1250)),
    ],
)
def test_hm01b0_pace(data_bits, line_us, found):
    """Lines at 10 MHz: long enough, with the slowest pixels that do it."""
    settings = hm01b0.pace(mclk_hz=10e6, data_bits=data_bits, line_seconds=line_us / 1e6)
    assert (settings["divider"], settings["line_pixels"]) == found


def test_ov7670_timing():
    """The data sheet's figures: 784 pixel times of two PCLKs, 510 lines, 30 frames/s at 24 MHz."""
    vga, qvga = ov7670.sensor(size="vga"), ov7670.sensor(size="qvga")
    assert vga.frame_clocks == 784 * 2 * 510
    assert (vga.height, vga.width, vga.active_clocks) == (480, 640, 1280)
    assert (vga.vsync_clocks, vga.back_clocks) == (3 * 1568, 17 * 1568)
    assert round(vga.frames_per_second, 2) == 30.01
    # the same frame in half as many clocks, a line in every second line time
    assert (qvga.height, qvga.width, qvga.active_clocks) == (240, 320, 640)
    assert qvga.frame_clocks * 2 == vga.frame_clocks and qvga.clock_hz * 2 == vga.clock_hz
    assert qvga.line_hz * 2 == vga.line_hz
    slow = ov7670.sensor(xclk_hz=25_000_000, divider=5)
    assert (slow.clock_hz, slow.frame_clocks) == (2_500_000, qvga.frame_clocks)
    assert {w.register: w.value for w in ov7670.table(divider=5)}[0x11] == 0x84


def test_hm01b0_timing():
    """376 pixel times a line, 260 lines; 30 frames/s from 24 MHz divided by 8, on any pins."""
    for bits, clocks in ((8, 1), (4, 2), (1, 8)):
        sensor = hm01b0.sensor(data_bits=bits)
        assert sensor.frame_clocks == 376 * 260 * clocks
        assert sensor.clock_hz == 3_000_000 * clocks
        assert round(sensor.frames_per_second, 1) == 30.7
    fast = hm01b0.sensor(data_bits=8, divider=1, mclk_hz=6_000_000)
    assert round(fast.frames_per_second, 1) == 61.4
    long = hm01b0.sensor(line_pixels=752)
    assert long.frame_clocks == 2 * hm01b0.sensor().frame_clocks
    values = {w.register: w.value for w in hm01b0.table(line_pixels=752)}
    assert (values[0x0342], values[0x0343]) == (2, 0xF0)


@pytest.mark.parametrize("pixel_format", ov7670.PIXEL_FORMATS)
@pytest.mark.parametrize("size", ov7670.SIZES)
def test_ov7670_table(size, pixel_format):
    """Reset first, and alone; the format as golden.camera reads it; the window is the picture."""
    table = ov7670.table(size=size, pixel_format=pixel_format)
    assert (table[0].name, table[0].value) == ("COM7", 0x80) and table[0].wait_ms >= 1
    values = {write.register: write.value for write in table}
    assert values[0x12] == (4 if pixel_format == "rgb565" else 0)
    assert values[0x40] & 0x30 == (0x10 if pixel_format == "rgb565" else 0)
    assert values[0x40] & 0xC0 == 0xC0  # 00..FF, as the conversion takes it
    assert values[0x3A] & 8 == 0 and values[0x3D] & 1 == 0  # Y U Y V
    assert values[0x15] & 0x2A == 0  # polarities; PCLK runs in blanking
    qvga = size == "qvga"
    assert bool(values[0x0C] & 4) == bool(values[0x3E] & 0x18) == (values[0x72] == 0x11) == qvga
    start = values[0x17] << 3 | values[0x32] & 7
    stop = values[0x18] << 3 | values[0x32] >> 3 & 7
    assert (start + 640) % 784 == stop
    first = values[0x19] << 2 | values[0x03] & 3
    assert (values[0x1A] << 2 | values[0x03] >> 2 & 3) - first == 480
    assert values[0x11] & 0x3F == 0 and values[0x6B] & 0xC0 == 0  # PCLK is XCLK
    SccbMaster(table=table, device=ov7670.DEVICE, clock_hz=25_000_000)
    written = [write.register for write in table]
    twice = {r for r in written if written.count(r) > 1}
    assert twice == {0x12, 0x13}
    assert all(write.name and write.reason for write in table)


@pytest.mark.parametrize("data_bits, bits", [(8, 0x02), (4, 0x42), (1, 0x22)])
def test_hm01b0_table(data_bits, bits):
    table = hm01b0.table(data_bits=data_bits)
    assert (table[0].register, table[0].value) == (0x0103, 1) and table[0].wait_ms
    # in force, then pictures: the last two
    assert [(w.register, w.value) for w in table[-2:]] == [(0x0104, 1), (0x0100, 1)]
    values = {write.register: write.value for write in table}
    assert len(values) == len(table)
    assert values[0x3059] == bits and values[0x3060] == 0x08 and values[0x3010] == 1
    assert values[0x0340] << 8 | values[0x0341] == 260
    assert values[0x0342] << 8 | values[0x0343] == 376
    assert values[0x2105] << 8 | values[0x2106] == 258
    others = hm01b0.table(data_bits=8, gated=True, msb_first=True, divider=1)
    assert {w.register: w.value for w in others}[0x3060] == 0x08 | 0x20 | 0x10 | 3
    settings = {"register_bytes": 2, "acknowledge": True}
    SccbMaster(table=table, device=hm01b0.DEVICE, clock_hz=12_000_000, **settings)
    assert all(write.name and write.reason for write in table)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit(name):
    """Each preset has a part of each sensor's picture; the small ones half of it, binned.

    A grey one takes the luma of YUYV: RGB565 has none to give.
    """
    preset = PRESETS[name]
    colour = [ov7670.sensor()] if preset.in_channels == 3 else []
    for sensor in (*colour, ov7670.sensor(pixel_format="yuyv"), hm01b0.sensor()):
        binning = 2 if 2 * preset.image_height <= sensor.height else 1
        CameraFront(
            sensor=sensor,
            height=preset.image_height,
            width=preset.image_width,
            binning=binning,
            channels=preset.in_channels,
            timeout=100000,
        )


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: Sensor(**(SENSOR | {"pixel_format": "bayer"})),
            "pixel_format must be one of rgb565, rgb565_le, yuyv, uyvy, grey8, not 'bayer'",
        ),
        (lambda: Sensor(**(SENSOR | {"width": 0})), "width must be at least 1, not 0"),
        (
            lambda: Sensor(**(SENSOR | {"vsync_clocks": 0})),
            "vsync_clocks must be at least 1, not 0",
        ),
        (
            lambda: Sensor(**(SENSOR | {"back_clocks": -1})),
            "back_clocks must be at least 0, not -1",
        ),
        (
            lambda: Sensor(**(SENSOR | {"line_clocks": 8})),
            "line_clocks must be above the line's own 8, not 8",
        ),
        (lambda: ov7670.sensor(size="cif"), "size must be one of qvga, vga, not 'cif'"),
        (
            lambda: ov7670.table(pixel_format="uyvy"),
            "pixel_format must be one of rgb565, yuyv, not 'uyvy'",
        ),
        (
            lambda: ov7670.sensor(xclk_hz=9_999_999),
            "xclk_hz must be 10000000..48000000, not 9999999",
        ),
        (lambda: ov7670.table(divider=65), "divider must be 1..64, not 65"),
        (lambda: hm01b0.table(line_pixels=375), "line_pixels must be 376..65535, not 375"),
        (lambda: hm01b0.table(data_bits=2), "data_bits must be 8, 4 or 1, not 2"),
        (lambda: hm01b0.table(divider=3), "divider must be 8, 4, 2 or 1, not 3"),
        (
            lambda: hm01b0.sensor(data_bits=1, divider=4),
            "data_bits * divider must be at least 8 (PCLK cannot be above MCLK), not 4",
        ),
        (
            lambda: hm01b0.sensor(mclk_hz=40_000_000),
            "mclk_hz must be 3000000..36000000, not 40000000",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
