"""Photographs at the real sensors' sizes and timing, through the whole front end, bit for bit."""

import numpy as np
import pytest
from skimage import data, transform

from boards.camera import hm01b0, ov7670
from boards.camera.crossing import COUNTERS
from boards.camera.front import CameraFront
from golden import camera
from golden.config import PRESETS
from sim import camera_models as models

# sensor, preset, binning, cycles of sync a PCLK (an engine's clock is 12 MHz and more)
KINDS = {
    "ov7670 qvga": (ov7670.sensor(), "vww_210x240", 1, 1.2),
    "hm01b0": (hm01b0.sensor(gated=True), "vww_105x120", 2, 2.0),
}


def photograph(name, sensor):
    picture = getattr(data, name)()
    size = sensor.height, sensor.width
    return (transform.resize(picture, size, anti_aliasing=True) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_photographs(kind):
    """A good frame, one in which the clock stops, a good one (after a lost one: a gated clock)."""
    sensor, preset, binning, cycles = KINDS[kind]
    height, width = PRESETS[preset].image_height, PRESETS[preset].image_width
    front = CameraFront(
        sensor=sensor,
        height=height,
        width=width,
        binning=binning,
        # longer than from frame to frame with a gated clock
        timeout=round(cycles * 25 * sensor.line_clocks),
    )
    good = [models.expose(sensor, photograph(n, sensor)) for n in ("astronaut", "coffee")]
    half = sensor.vsync_clocks + sensor.back_clocks + sensor.height // 2 * sensor.line_clocks + 100
    stopped = good[0].stop(half, 60 * sensor.line_clocks)
    lead = [good[0].without_lines(sensor.height - 30)] if sensor.gated else []
    words = models.pins(sensor, [*lead, good[0], stopped, good[1]])
    pclk_ps = round(10**12 / sensor.clock_hz)
    built = models.build(front)
    events, state = models.play(built, words, sync_ps=round(pclk_ps / cycles), pclk_ps=pclk_ps)
    assert state == dict.fromkeys((*COUNTERS, "lost"), 0) | {"lost_clock": 1}
    want = []
    for exposure in good:
        decoded = camera.decode(np.stack(exposure.lines), sensor.pixel_format)
        want.append(camera.fit(decoded, height, width, binning).reshape(-1, 3))
    found = [event for _, event, _ in events]
    cut = found.index("end", height * width + 1)
    pixels = np.array([e for e in found[: height * width] + found[cut + 1 : -1]])
    assert found[height * width] == found[-1] == "end"
    assert (pixels[:, :3] == np.concatenate(want)).all() and len(pixels) == 2 * height * width
    place = np.arange(len(pixels)) % (height * width)
    assert (pixels[:, 3] == (place == 0)).all()
    assert (pixels[:, 4] == (place % width == width - 1)).all()
    part = np.array(found[height * width + 1 : cut])[:, :3]
    assert height * width // 3 < len(part) < height * width
    assert (part == want[0][: len(part)]).all()
