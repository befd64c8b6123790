"""What the front end (and the model that drives it) must know of a sensor as it is set up."""

from dataclasses import dataclass, replace

from golden.camera import SWAPPED, check_format


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A sensor's picture and timing.

    Parameters
    ----------
    name : str
    height, width : int
        Lines of a frame and pixels of a line, as they come over the pins.
    pixel_format, data_bits, msb_first, vsync_high, href_high, gated, falling
        As in boards.camera.dvp.DvpReceiver.
    clock_hz : int
        PCLK.
    line_clocks : int
        PCLKs from line to line, all blanking included.
    vsync_clocks, front_clocks, back_clocks : int
        PCLKs of VSYNC, from the last line's end to VSYNC, from VSYNC's end to the first line.
    """

    name: str
    height: int
    width: int
    pixel_format: str
    clock_hz: int
    line_clocks: int
    vsync_clocks: int
    front_clocks: int
    back_clocks: int
    data_bits: int = 8
    msb_first: bool = True
    vsync_high: bool = True
    href_high: bool = True
    gated: bool = False
    falling: bool = False

    def __post_init__(self) -> None:
        check_format(self.pixel_format)
        for name in ("height", "width", "clock_hz", "vsync_clocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("front_clocks", "back_clocks"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.line_clocks <= self.active_clocks:
            raise ValueError(
                f"line_clocks must be above the line's own {self.active_clocks}, "
                f"not {self.line_clocks}"
            )

    def as_built(self, *, low_byte_first: bool = False, falling: bool = False) -> "Sensor":
        """The sensor on a module that gives each pixel's two bytes, or PCLK, the other way round.

        Raises
        ------
        ValueError
            `low_byte_first` of a sensor with one byte a pixel.
        """
        pixel_format = self.pixel_format
        if low_byte_first:
            if pixel_format not in SWAPPED:
                raise ValueError(
                    f"the camera must have two bytes a pixel for LOW_BYTE_FIRST=1, not one "
                    f"({self.name}, {pixel_format})"
                )
            pixel_format = SWAPPED[pixel_format]
        return replace(self, pixel_format=pixel_format, falling=self.falling ^ falling)

    @property
    def pixel_clocks(self) -> int:
        """PCLKs of a pixel."""
        return (1 if self.pixel_format == "grey8" else 2) * 8 // self.data_bits

    @property
    def active_clocks(self) -> int:
        """PCLKs of a line's pixels."""
        return self.pixel_clocks * self.width

    @property
    def frame_clocks(self) -> int:
        """PCLKs from frame to frame."""
        lines = (self.height - 1) * self.line_clocks + self.active_clocks
        return self.vsync_clocks + self.back_clocks + lines + self.front_clocks

    @property
    def frames_per_second(self) -> float:
        return self.clock_hz / self.frame_clocks

    @property
    def line_hz(self) -> float:
        """Lines a second while lines come."""
        return self.clock_hz / self.line_clocks
