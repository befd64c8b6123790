"""A sensor's pins to the engine's decision: what the front end gives is played to a tiny engine."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from boards.camera.front import CameraFront
from boards.camera.sensor import Sensor
from golden import camera
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.interfaces import Status
from sim import camera_models as models
from sim import session
from tests.test_camera_models import at
from tests.test_engine import SHAPE, SMALL

FREE = Sensor(  # OV7670's way, a little larger than the network's picture
    name="free",
    height=31,
    width=44,
    pixel_format="yuyv",
    clock_hz=1,
    line_clocks=120,
    vsync_clocks=3 * 120,
    back_clocks=300,
    front_clocks=200,
)
NIBBLES = replace(  # HM01B0's, as the boards set it up
    FREE,
    name="nibbles",
    pixel_format="grey8",
    data_bits=4,
    msb_first=False,
    vsync_high=False,
    back_clocks=16,
    front_clocks=16,
)
LATE = 9
# what happens to a frame, the engine's status of it (None: it is not seen), what the front counts
BAD = {
    "clock stops": (lambda e, s: e.stop(*at(s, 15), 6000), Status.TRUNCATED, {"lost_clock": 1}),
    "short line": (lambda e, s: e.short_line(17, 8), Status.TRUNCATED, {"short_line": 1}),
    "long line": (lambda e, s: e.long_line(17, 8), Status.TRUNCATED, {"long_line": 1}),
    "missing lines": (lambda e, s: e.without_lines(9), Status.TRUNCATED, {"short_frame": 1}),
    "more lines": (lambda e, s: e.more_lines(3), Status.OK, {"long_frame": 1}),
    "VSYNC missing": (lambda e, s: e.without_vsync(), None, {"long_frame": 1}),
    "VSYNC late": (
        lambda e, s: e.late_vsync(LATE),
        Status.TRUNCATED,
        {"long_frame": 1, "short_frame": 1},
    ),
}


@pytest.fixture(scope="module")
def engine():
    return session.prepare(SMALL, SHAPE, random_weights(SMALL, 1), optimise="build")


@pytest.mark.parametrize("sensor", [FREE, NIBBLES], ids=lambda sensor: sensor.name)
def test_decisions(engine, sensor):
    """First no camera, then good and bad frames in turn: every value of the good ones as in the
    golden model, and the bad ones' statuses."""
    model, plan = engine.model, engine.plan
    # a PCLK so long that the lines come at the engine's pace, and a twentieth slower
    period = 1.05 * plan.camera_period / 5 / sensor.line_clocks
    spacing = plan.rules.pixel_spacing
    assert spacing == 3  # 41 pixels in words of 5: the last word has one
    front = CameraFront(
        sensor=sensor,
        height=model.image_height,
        width=model.image_width,
        timeout=round(2500 * period),
        spacing=spacing,
    )
    whole = data.astronaut()
    images = [whole[9 + 15 * i :: 9, 11 * i :: 8][:31, :44] for i in range(2 * len(BAD) + 1)]
    good = [models.expose(sensor, image) for image in images]
    exposures, statuses = list(good), dict.fromkeys(range(len(good)), 0)
    counted = Counter(lost_clock=1)
    for i, (name, (damage, status, counts)) in enumerate(BAD.items()):
        exposures[2 * i + 1] = damage(good[2 * i + 1], sensor)
        statuses[2 * i + 1] = status
        counted.update(counts)
        if name == "VSYNC late":  # what comes before its end is nobody's
            lines, first = good[2 * i + 1].lines, LATE + sensor.vsync_clocks // sensor.line_clocks
            good[2 * i + 1] = models.Exposure((*lines[first:], *lines[:first]))
    words = [models.no_camera(6000), models.pins(sensor, exposures, trail=0)]
    built = models.build(front)
    events, state = models.play(
        built, np.concatenate(words), sync_ps=1000, pclk_ps=round(1000 * period)
    )
    assert {name: n for name, n in state.items() if n} == counted
    seen = {i: status for i, status in statuses.items() if status is not None}
    decoded = [camera.decode(np.stack(good[i].lines), sensor.pixel_format) for i in seen]
    fitted = [camera.fit(d, model.image_height, model.image_width, 1) for d in decoded]
    batch = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).contiguous()
    expected = session.golden_frames(IntegerModel(model, engine.weights).run(batch, trace=True))
    expected = [
        replace(frame, status=int(status)) if status else frame
        for frame, status in zip(expected, seen.values(), strict=True)
    ]
    result = session.play(engine, models.schedule(events), expected)
    assert result.difference is None
    assert [frame.decision["status"] for frame in result.frames] == list(seen.values())
    whole_frames = [f for f, status in zip(result.frames, seen.values(), strict=True) if not status]
    assert {len(frame.rows) for frame in whole_frames} == {model.row_groups}
    cut = [*seen.values()].count(Status.TRUNCATED)
    assert {name: n for name, n in result.counts.items() if n} == {"truncated": cut}


def test_pixels_too_close(engine):
    """The same pixels a cycle apart are an overrun: the spacing of the crossing is needed."""
    model = engine.model
    lines = [
        (cycle, (1, 2, 3, int(y == x == 0), int(x == 40)), {})
        for y in range(model.image_height)
        for x in range(41)
        for cycle in [20 + y * engine.plan.camera_period // 4 + x]
    ]
    result = session.play(engine, models.schedule(lines), [])
    assert {name: n for name, n in result.counts.items() if n} == {"overrun": 1}
