"""HM01B0: set-up over I2C, and its timing as it is set up.

Grey, 324 x 324; here its QVGA window of 324 x 244. FVLD is high in a frame, LVLD in a line, both
change with PCLKO. Data pins: 8, 4 or 1, with one, two or eight PCLKs a pixel. The boards with this
sensor (the UPduino shield, Arducam's module) bring out D0..D3 or D0 alone, so 4 is the default.

Register names and meanings: Himax' data sheet and the comments of its reference set-up; the
analogue values are those of that set-up.
"""

from math import ceil

from boards.camera.sccb import Write
from boards.camera.sensor import Sensor

DEVICE = 0x24
HEIGHT, WIDTH = 244, 324
LINE_PIXELS, FRAME_LINES = 376, 260
"""Least LINE_LENGTH_PCK, and FRAME_LENGTH_LINES: pixel times of a line, lines of a frame."""
DIVIDERS = {8: 0, 4: 1, 2: 2, 1: 3}
"""MCLK to the pixel rate, as the last two bits of OSC_CLK_DIV."""
BIT_CONTROL = {8: 0x02, 4: 0x42, 1: 0x22}


def _check(data_bits: int, divider: int, line_pixels: int) -> None:
    if not LINE_PIXELS <= line_pixels <= 0xFFFF:
        raise ValueError(f"line_pixels must be {LINE_PIXELS}..65535, not {line_pixels}")
    if data_bits not in BIT_CONTROL:
        raise ValueError(f"data_bits must be 8, 4 or 1, not {data_bits!r}")
    if divider not in DIVIDERS:
        raise ValueError(f"divider must be 8, 4, 2 or 1, not {divider!r}")
    if data_bits * divider < 8:
        raise ValueError(
            f"data_bits * divider must be at least 8 (PCLK cannot be above MCLK), "
            f"not {data_bits * divider}"
        )


def pace(*, mclk_hz: float, data_bits: int, line_seconds: float) -> dict[str, int]:
    """`divider` and `line_pixels` of lines that take at least so long, and hardly longer.

    The slowest pixels that do it: they are kind to the wires.
    """
    usable = [divider for divider in DIVIDERS if data_bits * divider >= 8]
    fit = [d for d in usable if LINE_PIXELS * d <= line_seconds * mclk_hz]
    divider = max(fit, default=min(usable))
    line_pixels = max(LINE_PIXELS, ceil(line_seconds * mclk_hz / divider))
    _check(data_bits, divider, line_pixels)
    return {"divider": divider, "line_pixels": line_pixels}


def sensor(
    *,
    mclk_hz: int = 24_000_000,
    divider: int = 8,
    data_bits: int = 4,
    line_pixels: int = LINE_PIXELS,
    gated: bool = False,
    msb_first: bool = False,
) -> Sensor:
    """Timing after `table` with the same settings; longer lines wait for a slower engine.

    FVLD is low for the 16 lines without pixels, seen in the middle of the blanking of line 244.
    """
    _check(data_bits, divider, line_pixels)
    if not 3_000_000 <= mclk_hz <= 36_000_000:
        raise ValueError(f"mclk_hz must be 3000000..36000000, not {mclk_hz}")
    clocks = 8 // data_bits
    line, blank = line_pixels * clocks, (line_pixels - WIDTH) * clocks
    return Sensor(
        name="hm01b0",
        height=HEIGHT,
        width=WIDTH,
        pixel_format="grey8",
        data_bits=data_bits,
        msb_first=msb_first,
        clock_hz=mclk_hz // divider * clocks,
        line_clocks=line,
        vsync_clocks=(FRAME_LINES - HEIGHT) * line,
        front_clocks=blank // 2,
        back_clocks=blank - blank // 2,
        vsync_high=False,
        href_high=True,
        gated=gated,
    )


def table(
    *,
    divider: int = 8,
    data_bits: int = 4,
    line_pixels: int = LINE_PIXELS,
    gated: bool = False,
    msb_first: bool = False,
) -> list[Write]:
    """The writes in order; the last one starts the pictures."""
    _check(data_bits, divider, line_pixels)

    def write(register: int, value: int, name: str, reason: str, wait_ms: int = 0) -> Write:
        return Write(register=register, value=value, name=name, reason=reason, wait_ms=wait_ms)

    def pair(register: int, value: int, name: str, reason: str) -> list[Write]:
        return [
            write(register, value >> 8, f"{name}_H", reason),
            write(register + 1, value & 255, f"{name}_L", reason),
        ]

    clock = 0x08 | gated << 5 | msb_first << 4 | DIVIDERS[divider]
    analogue = {
        0x3044: (0x0A, "longer settling of the correlated double sampling"),
        0x3045: (0x00, "the same for reset and signal"),
        0x3047: (0x0A, "longer settling of the correlated double sampling"),
        0x3050: (0xC0, "negative offset up to four times"),
        0x3051: (0x42, "as Himax sets it"),
        0x3052: (0x50, "as Himax sets it"),
        0x3053: (0x00, "as Himax sets it"),
        0x3054: (0x03, "lowest clamping of the source follower"),
        0x3055: (0xF7, "against dark sun"),
        0x3056: (0xF8, "longer gap between the converter's phases"),
        0x3057: (0x29, "more power for the converter, no missing codes"),
        0x3058: (0x1F, "dark sun correction on"),
        0x3064: (0x00, "as Himax sets it"),
        0x3065: (0x04, "pads pulled to 0"),
    }
    longest = FRAME_LINES - 2
    return [
        write(0x0103, 0x01, "SW_RESET", "all registers to their defaults, standby", 20),
        write(0x3067, 0x00, "ANA_REGISTER_17", "internal oscillator off: MCLK is the clock"),
        write(
            0x3060,
            clock,
            "OSC_CLK_DIV",
            "pixel rate MCLK / divider; bit 5 gated PCLKO, bit 4 upper bits first",
        ),
        write(0x3059, BIT_CONTROL[data_bits], "BIT_CONTROL", f"{data_bits} data pins"),
        *(write(r, v, f"ANA_{r:04X}", reason) for r, (v, reason) in analogue.items()),
        write(0x1012, 0x00, "VSYNC_HSYNC_PIXEL_SHIFT_EN", "FVLD and LVLD where the pixels are"),
        write(0x0101, 0x00, "IMG_ORIENTATION", "no mirror, no flip"),
        write(0x0383, 0x01, "READOUT_X", "every column"),
        write(0x0387, 0x01, "READOUT_Y", "every line"),
        write(0x0390, 0x00, "BINNING_MODE", "no binning: the framer bins"),
        write(0x3010, 0x01, "QVGA_WIN_EN", "324 x 244 of the 324 x 324"),
        *pair(0x0340, FRAME_LINES, "FRAME_LEN_LINES", "lines of a frame, 16 without pixels"),
        *pair(0x0342, line_pixels, "LINE_LEN_PCK", "pixel times of a line, 324 with pixels"),
        write(0x3011, 0x70, "BIT_WIDTH", "8 bits a pixel, not 6"),
        write(0x1000, 0x43, "BLC_CFG", "black level correction on, filtered"),
        write(0x1001, 0x43, "BLC_DITHER", "its dithering on"),
        write(0x1002, 0x43, "BLC_DARKPIXEL", "its threshold of a dark pixel"),
        write(0x1003, 0x08, "BLC_TGT", "black is 8"),
        write(0x1006, 0x01, "BLI_EN", "black level inside the picture on"),
        write(0x1007, 0x08, "BLC2_TGT", "black is 8 there, too"),
        write(0x1008, 0x01, "DPC_CTRL", "defect pixels corrected, grey sensor"),
        write(0x1009, 0xA0, "CLUSTER_THR_HOT", "threshold of a hot cluster"),
        write(0x100A, 0x60, "CLUSTER_THR_COLD", "threshold of a cold cluster"),
        write(0x100B, 0x90, "SINGLE_THR_HOT", "threshold of a hot pixel"),
        write(0x100C, 0x40, "SINGLE_THR_COLD", "threshold of a cold pixel"),
        write(0x0350, 0x7F, "DGAIN_CONTROL", "digital gain in all phases"),
        write(0x2000, 0x07, "STATISTIC_CTRL", "exposure statistics on"),
        write(0x2100, 0x01, "AE_CTRL", "exposure by itself"),
        write(0x2101, 0x64, "AE_TARGET_MEAN", "mean brightness 100"),
        write(0x2102, 0x0A, "AE_MIN_MEAN", "least mean"),
        write(0x2103, 0x03, "CONVERGE_IN_TH", "content within so much"),
        write(0x2104, 0x05, "CONVERGE_OUT_TH", "moves again beyond so much"),
        *pair(0x2105, longest, "MAX_INTG", "longest exposure: a frame less two lines"),
        write(0x2108, 0x04, "MAX_AGAIN_FULL", "largest analogue gain 16"),
        write(0x210B, 0xC0, "MAX_DGAIN", "largest digital gain 3"),
        *pair(0x0202, longest // 2, "INTEGRATION", "exposure to begin with"),
        write(0x0205, 0x00, "ANALOG_GAIN", "gain 1 to begin with"),
        write(0x2150, 0x00, "MD_CTRL", "no motion detection"),
        write(0x0104, 0x01, "GRP_PARAM_HOLD", "what was written comes into force"),
        write(0x0100, 0x01, "MODE_SELECT", "pictures without end"),
    ]
