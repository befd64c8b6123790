"""Cameras: from a sensor's pins to the pixels that `hw.top.Rasca` takes.

Three blocks in a row, and the set-up of the sensor beside them::

    pins ─► dvp.DvpReceiver ─► framer.Framer ─► crossing.CameraCrossing ─► Rasca
            camera domain       camera domain    camera | sync
    sccb.SccbMaster (sync) writes the table of ov7670 or hm01b0

The camera domain's clock is the sensor's PCLK; it may stop at any time, and comes without reset.
"""

from amaranth.lib import data
from amaranth.lib.wiring import Out, Signature

SENSOR_PIXEL = data.StructLayout({"red": 8, "green": 8, "blue": 8, "sof": 1, "sol": 1})
"""A pixel as the receiver gives it: beginnings are marked (`sof` frame, `sol` line; a frame's
first pixel has both), because where PCLK stops with HREF nobody sees a line end."""

PIXEL = data.StructLayout({"red": 8, "green": 8, "blue": 8, "sof": 1, "eol": 1})
"""A pixel as the engine takes it: `sof` marks a frame's first, `eol` each line's last."""

FAULTS = data.StructLayout({"short_line": 1, "long_line": 1, "short_frame": 1, "long_frame": 1})
"""What can be wrong with a frame's geometry, as pulses."""


def pixels(layout: data.StructLayout) -> Signature:
    """A valid-only stream: `valid`, `pixel` (of that layout), `frame_end`.

    `frame_end` with a pixel in the same cycle: the frame ended before that pixel.
    """
    return Signature({"valid": Out(1), "pixel": Out(layout), "frame_end": Out(1)})
