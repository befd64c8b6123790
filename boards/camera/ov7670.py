"""OV7670: set-up over SCCB, and its timing as it is set up.

Register names and meanings are those of OmniVision's data sheet (version 1.4); values that it
calls reserved are marked so, and are what the public drivers agree on.

Clocks: the PLL is bypassed, so PCLK is XCLK (10..48 MHz) divided by the prescaler, 1..64; 24 MHz
are 30 frames/s. A line takes 784 pixel times, a frame 510 lines; a pixel time is two PCLKs. For
QVGA the sensor drops every second pixel and line after filtering and halves PCLK.
"""

from boards.camera.sccb import Write
from boards.camera.sensor import Sensor

DEVICE = 0x21
"""Seven bits: written as 0x42."""

SIZES = ("qvga", "vga")
PIXEL_FORMATS = ("rgb565", "yuyv")


def _check(size: str, pixel_format: str, divider: int) -> None:
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r}")
    if pixel_format not in PIXEL_FORMATS:
        raise ValueError(
            f"pixel_format must be one of {', '.join(PIXEL_FORMATS)}, not {pixel_format!r}"
        )
    if not 1 <= divider <= 64:
        raise ValueError(f"divider must be 1..64, not {divider}")


def sensor(
    *,
    size: str = "qvga",
    pixel_format: str = "rgb565",
    xclk_hz: int = 24_000_000,
    divider: int = 1,
) -> Sensor:
    """Timing after `table` with the same settings.

    VGA as in the data sheet's frame timing: VSYNC 3 lines, 17 lines to the first, 480 lines, 10
    to the next VSYNC; HREF 640 of 784 pixel times. QVGA in halved PCLKs: a line in every second
    line time.
    """
    _check(size, pixel_format, divider)
    if not 10_000_000 <= xclk_hz <= 48_000_000:
        raise ValueError(f"xclk_hz must be 10000000..48000000, not {xclk_hz}")
    line = 784 * 2  # PCLKs of a sensor line
    half = 2 if size == "qvga" else 1
    blank = line - 640 * 2
    lines = 480 // half
    # ten lines, and what is left of the last line's own time (QVGA: of its pair's)
    front = (10 * line + blank) // half + (line // half if half == 2 else 0)
    return Sensor(
        name=f"ov7670_{size}",
        height=lines,
        width=640 // half,
        pixel_format=pixel_format,
        clock_hz=xclk_hz // divider // half,
        line_clocks=line,
        vsync_clocks=3 * line // half,
        back_clocks=17 * line // half,
        front_clocks=front,
        vsync_high=True,
        href_high=True,
    )


def table(*, size: str = "qvga", pixel_format: str = "rgb565", divider: int = 1) -> list[Write]:
    """The writes in order; RGB565 and YUV as golden.camera reads them, full range."""
    _check(size, pixel_format, divider)
    rgb, qvga = pixel_format == "rgb565", size == "qvga"

    def write(register: int, value: int, name: str, reason: str, wait_ms: int = 0) -> Write:
        return Write(register=register, value=value, name=name, reason=reason, wait_ms=wait_ms)

    start = [
        write(0x12, 0x80, "COM7", "resets all registers; a millisecond at least", 10),
        write(0x6B, 0x0A, "DBLV", "PLL bypassed, regulator on"),
        write(0x11, 0x80 | divider - 1, "CLKRC", "prescaler (bit 7 is reserved, set by default)"),
        write(0x12, 0x04 if rgb else 0x00, "COM7", "RGB" if rgb else "YUV"),
        write(0x8C, 0x00, "RGB444", "no RGB444"),
        write(
            0x40,
            0xD0 if rgb else 0xC0,
            "COM15",
            "output range 00..FF" + (", RGB565" if rgb else ""),
        ),
        write(0x3A, 0x04, "TSLB", "bit 2 reserved; bit 3 clear: Y before U (V) in YUV"),
        write(0x15, 0x00, "COM10", "VSYNC high between frames, HREF high, PCLK never stops"),
        write(0x1E, 0x07, "MVFP", "no mirror, no flip (low bits reserved)"),
    ]
    scale = [
        write(0x0C, 0x04 if qvga else 0x00, "COM3", "down-sampling on" if qvga else "no scaling"),
        write(
            0x3E,
            0x19 if qvga else 0x00,
            "COM14",
            "manual scaling, PCLK halved" if qvga else "PCLK as it is",
        ),
        write(0x70, 0x3A, "SCALING_XSC", "horizontal scale at its default, no test pattern"),
        write(0x71, 0x35, "SCALING_YSC", "vertical scale at its default, no test pattern"),
        write(
            0x72,
            0x11 if qvga else 0x00,
            "SCALING_DCWCTR",
            "every second pixel and line, averaged" if qvga else "no down-sampling",
        ),
        write(
            0x73,
            0xF1 if qvga else 0xF0,
            "SCALING_PCLK_DIV",
            "the scaler's clock halved, too" if qvga else "the scaler's clock as it is",
        ),
        write(0xA2, 0x02, "SCALING_PCLK_DELAY", "scaling output delay at its default"),
    ]
    hstart, hstop = (0x16, 0x04) if qvga else (0x13, 0x01)
    window = [
        write(0x17, hstart, "HSTART", "window: first pixel, upper bits"),
        write(0x18, hstop, "HSTOP", "window: 640 pixels later, modulo the line's 784"),
        write(0x32, 0x24 if qvga else 0xB6, "HREF", "lower bits of both, edge offset"),
        write(0x19, 0x02, "VSTRT", "window: first line, upper bits"),
        write(0x1A, 0x7A, "VSTOP", "window: 480 lines later"),
        write(0x03, 0x0A, "VREF", "lower bits of both"),
    ]
    matrix = (0xB3, 0xB3, 0x00, 0x3D, 0xA7, 0xE4) if rgb else (0x80, 0x80, 0x00, 0x22, 0x5E, 0x80)
    colour = [
        write(0x4F + i, value, f"MTX{i + 1}", "colour matrix for " + ("RGB" if rgb else "YUV"))
        for i, value in enumerate(matrix)
    ] + [
        write(0x58, 0x9E, "MTXS", "its signs"),
        write(0x3D, 0xC0, "COM13", "gamma and saturation on, U before V"),
        write(0xB0, 0x84, "RSVD", "reserved; without it colours are wrong, all drivers write it"),
    ]
    gamma = (0x10, 0x1E, 0x35, 0x5A, 0x69, 0x76, 0x80, 0x88, 0x8F, 0x96, 0xA3, 0xAF, 0xC4, 0xD7)
    curve = [write(0x7A, 0x20, "SLOP", "gamma: slope of the last segment")] + [
        write(0x7B + i, value, f"GAM{i + 1}", "gamma curve")
        for i, value in enumerate((*gamma, 0xE8))
    ]
    control = [
        write(0x13, 0xE0, "COM8", "automatic control off while its limits change"),
        write(0x00, 0x00, "GAIN", "gain from its least"),
        write(0x10, 0x00, "AECH", "exposure from its least"),
        write(0x14, 0x38, "COM9", "gain at most 16 (low bits reserved)"),
        write(0x24, 0x95, "AEW", "exposure: upper limit of the stable range"),
        write(0x25, 0x33, "AEB", "exposure: lower limit"),
        write(0x26, 0xE3, "VPT", "exposure: limits of the fast range"),
        write(0xA5, 0x05, "BD50MAX", "50 Hz: banding steps at most"),
        write(0xAB, 0x07, "BD60MAX", "60 Hz: banding steps at most"),
        write(0x3B, 0x12, "COM11", "50 or 60 Hz found by itself, no night mode"),
        write(0x41, 0x08, "COM16", "white balance gain on"),
        write(
            0x13,
            0xE7,
            "COM8",
            "gain, exposure, white balance by themselves; fast, with banding filter",
            300,
        ),
    ]
    return start + scale + window + colour + curve + control
