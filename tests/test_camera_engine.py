"""A sensor's pins to the engine's decision: what the front end gives is played to a tiny engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from boards.camera.crossing import pixel_spacing
from boards.camera.front import CameraFront
from boards.camera.sensor import Sensor
from golden import camera
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.line_buffer import Status
from sim import camera_models as models
from sim import session
from tests.test_engine import SHAPE, SMALL

SENSOR = Sensor(  # OV7670's way, a little larger than the network's picture
    name="small",
    height=31,
    width=44,
    pixel_format="yuyv",
    clock_hz=1,
    line_clocks=120,
    vsync_clocks=3 * 120,
    back_clocks=300,
    front_clocks=200,
)
BAD = [  # what happens to a frame, the engine's status of it, the front end's count
    (lambda e: e.stop(660 + 15 * 120, 1500), Status.TRUNCATED, "lost_clock"),
    (lambda e: e.short_line(17, 8), Status.TRUNCATED, "short_line"),
    (lambda e: e.without_lines(9), Status.TRUNCATED, "short_frame"),
    (lambda e: e.more_lines(3), Status.OK, "long_frame"),
]


@pytest.fixture(scope="module")
def engine():
    return session.prepare(SMALL, SHAPE, random_weights(SMALL, 1), optimise="build")


def test_decisions(engine):
    """Good and bad frames in turn: every value of the good ones as in the golden model, and the bad
    ones' statuses."""
    model, plan = engine.model, engine.plan
    # a PCLK so long that the lines come at the engine's pace, and a twentieth slower
    period = 1.05 * plan.camera_period / 5 / SENSOR.line_clocks
    spacing = pixel_spacing(
        width=model.image_width, pixels=engine.shape.pixels, channels=model.in_channels
    )
    assert spacing == 3  # 41 pixels in words of 5: the last word has one
    front = CameraFront(
        sensor=SENSOR,
        height=model.image_height,
        width=model.image_width,
        timeout=round(500 * period),
        spacing=spacing,
    )
    whole = data.astronaut()
    count = 2 * len(BAD) + 1
    images = [whole[9 + 20 * i :: 9, 15 * i :: 8][:31, :44] for i in range(count)]
    good = [models.expose(SENSOR, image) for image in images]
    exposures = list(good)
    for i, (damage, *_) in enumerate(BAD):
        exposures[2 * i + 1] = damage(good[2 * i + 1])
    words = models.pins(SENSOR, exposures, trail=0)
    built = models.build(front)
    events, state = models.play(built, words, sync_ps=1000, pclk_ps=round(1000 * period))
    assert {name: n for name, n in state.items() if n} == {counted: 1 for *_, counted in BAD}
    decoded = [camera.decode(np.stack(e.lines), "yuyv") for e in good]
    fitted = [camera.fit(d, model.image_height, model.image_width, 1) for d in decoded]
    batch = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).contiguous()
    expected = session.golden_frames(IntegerModel(model, engine.weights).run(batch, trace=True))
    statuses = [0] * count
    for i, (_, status, _) in enumerate(BAD):
        statuses[2 * i + 1] = int(status)
        if status:
            expected[2 * i + 1] = replace(expected[2 * i + 1], status=int(status))
    result = session.play(engine, models.schedule(events), expected)
    assert result.difference is None
    assert [frame.decision["status"] for frame in result.frames] == statuses
    whole_frames = [f for f, status in zip(result.frames, statuses, strict=True) if not status]
    assert {len(frame.rows) for frame in whole_frames} == {model.row_groups}
    assert {name: n for name, n in result.counts.items() if n} == {"truncated": 3}


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
