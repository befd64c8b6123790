"""Cameras: from a sensor's pins to the pixels that `hw.top.Rasca` takes.

Three blocks in a row, and the set-up of the sensor beside them::

    pins ─► dvp.DvpReceiver ─► framer.Framer ─► crossing.CameraCrossing ─► Rasca
            camera domain       camera domain    camera | sync
    sccb.SccbMaster (sync) writes the table of ov7670 or hm01b0

The camera domain's clock is the sensor's PCLK; it may stop at any time, and comes without reset.
"""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

FAULTS = data.StructLayout({"short_line": 1, "long_line": 1, "short_frame": 1, "long_frame": 1})
"""What can be wrong with a frame's geometry, as pulses."""


class SensorPixels(wiring.Signature):
    """Pixels as the receiver gives them, at the sensor's size; a valid-only stream.

    Beginnings are marked, because where PCLK stops with HREF nobody sees a line end. From the
    framer on pixels are hw.interfaces.Pixels.

    Members
    -------
    valid : Out(1)
    red, green, blue : Out(8), with `valid`
    sof, sol : Out(1), with `valid`
        The first pixel of a frame, of a line; a frame's first pixel has both.
    frame_end : Out(1), pulse
        With a pixel in the same cycle: the frame ended before that pixel.
    """

    colours = ("red", "green", "blue")
    """Names of the colour members."""

    def __init__(self):
        marks = dict.fromkeys(("valid", "sof", "sol", "frame_end"), Out(1))
        super().__init__(marks | dict.fromkeys(self.colours, Out(8)))

    def __eq__(self, other):
        return type(self) is type(other)
