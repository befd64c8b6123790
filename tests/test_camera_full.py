# amaranth: UnusedElaboratable=no
"""The two cameras at their real size and timing, as the boards set them up: photographs through the
whole front end, bit for bit, and what goes wrong with cameras."""

import numpy as np
import pytest
from skimage import data, transform

from boards import build, fit
from boards.camera.front import CameraFront
from boards.system import CLOCK_TIMEOUT_MS, System
from golden.config import preset
from golden.quantise import default_weights
from hw.top import Rasca
from sim import camera_models as models
from tests.test_camera_models import at, check, counts

# cycles of sync in a PCLK; the engine's own clock for the slow HM01B0, less than it for the OV7670
BOARDS = {"ulx3s": 1.2, "icebreaker": 2.75}
# as in test_camera_models: what happens, what is counted, how much of the frame comes
CASES = {
    "VSYNC missing": (lambda e, s: e.without_vsync(), {"long_frame": 1}, "none"),
    "VSYNC late": (
        lambda e, s: e.late_vsync(s.height // 3),
        {"long_frame": 1, "short_frame": 1},
        "other",
    ),
    "short line": (lambda e, s: e.short_line(s.height // 2, 4), {"short_line": 1}, "part"),
    "long line": (lambda e, s: e.long_line(s.height // 2, 4), {"long_line": 1}, "part"),
    "clock stops": (
        lambda e, s: e.stop(*at(s, s.height // 2), round(s.clock_hz * 1.5 * TIMEOUT)),
        {"lost_clock": 1},
        "part",
    ),
}
TIMEOUT = CLOCK_TIMEOUT_MS / 1000


def photograph(name, sensor):
    picture = getattr(data, name)()
    size = sensor.height, sensor.width
    return (transform.resize(picture, size, anti_aliasing=True) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("name", BOARDS)
def test_cameras(name):
    """No camera, then good frames and each of CASES in turn: nothing hangs, all is counted, and the
    next good frame is right."""
    board = build.find_board(name)
    model = preset(board.preset)
    rasca = Rasca(model, fit.configure(board, model, None), default_weights(model))
    system = System(board=board, rasca=rasca)
    sensor, cycles = system.camera.sensor, BOARDS[name]
    front = CameraFront(
        sensor=sensor,
        height=model.image_height,
        width=model.image_width,
        binning=system.binning,
        timeout=round(cycles * sensor.clock_hz * TIMEOUT),
    )
    shown = [models.expose(sensor, photograph(n, sensor)) for n in ("astronaut", "coffee")]
    good = [shown[i % 2] for i in range(2 + 2 * len(CASES))]
    exposures = list(good)
    for i, (damage, *_) in enumerate(CASES.values()):
        exposures[2 + 2 * i] = damage(good[2 + 2 * i], sensor)
    nothing = models.no_camera(round(sensor.clock_hz * 2 * TIMEOUT))
    words = np.concatenate([nothing, models.pins(sensor, exposures)])
    pclk_ps = round(10**12 / sensor.clock_hz)
    built = models.build(front)
    events, state = models.play(built, words, sync_ps=round(pclk_ps / cycles), pclk_ps=pclk_ps)
    before = counts(lost_clock=1)
    assert check(sensor, front, events, good, CASES, before) == []
    for _, counted, _ in CASES.values():
        before |= {fault: before[fault] + count for fault, count in counted.items()}
    assert state == before
