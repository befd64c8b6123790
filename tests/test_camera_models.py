"""Misbehaving cameras at the pins of the whole front end: nothing hangs, all is counted, and the
next good frame is bit-exact. Small sensors with the two real ones' kinds of timing; the real sizes
are in test_camera_full."""

from dataclasses import replace

import numpy as np
import pytest
from skimage import data

from boards.camera.crossing import COUNTERS
from boards.camera.front import CameraFront
from boards.camera.sensor import Sensor
from golden import camera
from sim import camera_models as models

TIMEOUT = 1200  # cycles of sync

FREE = Sensor(  # as OV7670: VSYNC high between frames, PCLK never stops
    name="free",
    height=14,
    width=20,
    pixel_format="yuyv",
    clock_hz=1,
    line_clocks=49,
    vsync_clocks=3 * 49,
    back_clocks=100,
    front_clocks=70,
)
GATED = Sensor(  # HM01B0 could: FVLD high in the frame, PCLKO only in lines, four data pins
    name="gated",
    height=14,
    width=22,
    pixel_format="grey8",
    clock_hz=1,
    line_clocks=52,
    vsync_clocks=4 * 52,
    back_clocks=4,
    front_clocks=4,
    data_bits=4,
    msb_first=False,
    vsync_high=False,
    gated=True,
)
# as the boards set up the HM01B0
NIBBLES = replace(GATED, name="nibbles", gated=False)
# a module with the lower byte first, whose pins are right at the falling edge
OTHER_WAY = replace(FREE, name="other way", pixel_format="rgb565").as_built(
    low_byte_first=True, falling=True
)
# sensor, picture, binning, cycles of sync in a PCLK
KINDS = {
    "free": (FREE, 10, 12, 1, 0.8),
    "other way": (OTHER_WAY, 10, 12, 1, 0.8),
    "gated": (GATED, 5, 8, 2, 1.3),
    "nibbles": (NIBBLES, 5, 8, 2, 1.3),
}


def photographs(sensor, count):
    """Parts of a real picture, each another one."""
    whole = data.astronaut()
    size = sensor.height, sensor.width
    return [whole[10 + 90 * i :: 7, 30 * i :: 5][: size[0], : size[1]] for i in range(count)]


def wanted(sensor, front, exposure):
    """The events of a good frame."""
    decoded = camera.decode(np.stack(exposure.lines), sensor.pixel_format)
    framer = front.framer
    picture = camera.fit(decoded, framer.height, framer.width, framer.binning)
    marks = [
        (int(x == y == 0), int(x == framer.width - 1))
        for y in range(framer.height)
        for x in range(framer.width)
    ]
    pixels = picture.reshape(-1, 3).tolist()
    return [(*pixel, *mark) for pixel, mark in zip(pixels, marks, strict=True)] + ["end"]


def counts(**others):
    return dict.fromkeys((*COUNTERS, "lost"), 0) | others


# what happens to the middle frame, what is counted, and how much of it comes: "all" of it,
# "part" (a beginning, or nothing)
CASES = {
    "good": (lambda e, s: e, {}, "all"),
    "short line": (lambda e, s: e.short_line(7, 4), {"short_line": 1}, "part"),
    "very short line": (
        lambda e, s: e.short_line(7, len(e.lines[7]) - 4),
        {"short_line": 1},
        "part",
    ),
    "short first line": (lambda e, s: e.short_line(0, 4), {"short_line": 1}, "part"),
    "short last line": (lambda e, s: e.short_line(13, 4), {"short_line": 1}, "all"),
    "long line": (lambda e, s: e.long_line(6, 4), {"long_line": 1}, "part"),
    "long last line": (lambda e, s: e.long_line(13, 4), {"long_line": 1}, "all"),
    "two lines in one": (lambda e, s: e.long_line(5, len(e.lines[5])), {"long_line": 1}, "part"),
    "last lines missing": (lambda e, s: e.without_lines(5), {"short_frame": 1}, "part"),
    "last line missing": (lambda e, s: e.without_lines(1), {"short_frame": 1}, "all"),
    "one line": (lambda e, s: e.without_lines(13), {"short_frame": 1}, "part"),
    "a line more": (lambda e, s: e.more_lines(1), {"long_frame": 1}, "all"),
    "twice the lines": (lambda e, s: e.more_lines(14), {"long_frame": 1}, "all"),
    "VSYNC missing": (lambda e, s: e.without_vsync(), {"long_frame": 1}, "none"),
    "VSYNC late": (lambda e, s: e.late_vsync(4), {"long_frame": 1, "short_frame": 1}, "other"),
    "clock stops for a moment": (lambda e, s: e.stop(*at(s, 7), 600), {}, "all"),
    "clock stops": (lambda e, s: e.stop(*at(s, 7), 4000), {"lost_clock": 1}, "part"),
    "clock stops twice": (
        lambda e, s: e.stop(*at(s, 5), 4000).stop(*at(s, 9), 4000),
        {"lost_clock": 2},
        "part",
    ),
    "clock stops in blanking": (
        lambda e, s: e.stop(s.vsync_clocks, 4000),
        {"lost_clock": 1},
        "all",
    ),
    "starts afresh in a line": (lambda e, s: e.cut(*at(s, 8)), {"short_line": 1}, "part"),
    "starts afresh after a line": (
        lambda e, s: e.cut(at(s, 8)[0] - s.active_clocks // 2 - 1),
        {"short_frame": 1},
        "part",
    ),
}


def at(sensor, line):
    """Clock of the frame in the middle of a line."""
    start = sensor.vsync_clocks + sensor.back_clocks + line * sensor.line_clocks
    return (start + sensor.active_clocks // 2 - 1,)


def front_of(kind, **others):
    sensor, height, width, binning, _ = KINDS[kind]
    sizes = {"height": height, "width": width, "binning": binning}
    return CameraFront(**({"sensor": sensor, "timeout": TIMEOUT, "spacing": 1} | sizes | others))


def frames_of(events):
    """Frames as lists of pixels and their end, and the counters at each one's first pixel."""
    found, counters = [], []
    for _, event, now in events:
        if event != "end" and event[3]:
            found.append([])
            counters.append(now)
        found[-1].append(event)
    for frame in found:
        assert frame.count("end") == 1 and frame[-1] == "end"
    return found, counters


def check(sensor, front, events, good, cases=CASES, before=None):
    """Two good frames, then each of the cases and a good one: what comes, and what is counted.

    before: the counters when the pins begin. Returns the frames that come after all.
    """
    frames, counters = frames_of(events)
    place, before = 0, before or counts()
    # with a gated clock the first frame after power-up is lost
    for number in range(1 if sensor.gated else 0, 2):
        assert frames[place] == wanted(sensor, front, good[number]), "first"
        place += 1
    for (case, (_, counted, comes)), bad, next_good in zip(
        cases.items(), good[2::2], good[3::2], strict=True
    ):
        whole, following = (wanted(sensor, front, e) for e in (bad, next_good))
        part = frames[place]
        if comes == "all":
            assert part == whole, case
        elif comes == "part" and part != following:
            assert part[:-1] == whole[: len(part) - 1] and len(part) < len(whole), case
        if comes == "all" or comes in ("part", "other") and part != following:
            place += 1
        assert frames[place] == following, f"after {case}"
        now = counters[place]
        change = {name: now[name] - before.get(name, 0) for name in COUNTERS}
        assert change == {name: counted.get(name, 0) for name in COUNTERS}, case
        place, before = place + 1, now
    return frames[place:]


def all_cases(kind):
    """Exposures, and what they would be without anything wrong."""
    sensor = KINDS[kind][0]
    images = photographs(sensor, 4)
    good = [models.expose(sensor, images[i % 4]) for i in range(2 + 2 * len(CASES))]
    exposures = list(good)
    for i, (damage, *_) in enumerate(CASES.values()):
        exposures[2 + 2 * i] = damage(good[2 + 2 * i], sensor)
    return exposures, good


@pytest.mark.parametrize("kind", KINDS)
def test_misbehaviour(kind):
    """No camera, everything that can go wrong, and no camera again; good frames in between."""
    sensor, *_, period = KINDS[kind]
    front = front_of(kind)
    exposures, good = all_cases(kind)
    built = models.build(front)
    nothing = models.no_camera(4 * TIMEOUT)
    words = models.pins(sensor, exposures)
    clocks = {"sync_ps": 1000, "pclk_ps": round(1000 * period)}
    events, state = models.play(built, nothing, **clocks)
    assert events == [] and state == counts(lost_clock=1, lost=1)
    events, state = models.play(built, words, **clocks)
    assert check(sensor, front, events, good) == []
    faults = [counted for _, counted, _ in CASES.values()]
    assert state == counts(**{name: sum(f.get(name, 0) for f in faults) for name in COUNTERS})
    # plugged in in the middle of a frame, pulled out in the middle of another
    words = models.pins(sensor, good[:4])
    words = np.concatenate([nothing, words[at(sensor, 6)[0] :], nothing])
    events, state = models.play(built, words, **clocks)
    frames, counters = frames_of(events)
    assert frames[:3] == [wanted(sensor, front, e) for e in good[1:4]]
    assert counters[0] == {name: int(name == "lost_clock") for name in COUNTERS}
    assert state == counts(lost_clock=2, lost=1)
    # pins by chance, twice; the second good frame after each is whole
    noise = np.random.default_rng(1).integers(0, 1 << 16, (2, 6000), dtype=np.uint16)
    noise[1] |= models.CLOCK * (np.arange(6000) % 50 < 40).astype(np.uint16)
    noise[1] &= ~np.uint16(models.VSYNC * sensor.vsync_high)
    parts = [models.pins(sensor, good[:2]), noise[0], models.pins(sensor, good[:3]), noise[1]]
    events, state = models.play(built, np.concatenate([*parts, words]), **clocks)
    frames, _ = frames_of(events)
    first = 0
    for exposure in (good[1], good[2], good[1], good[2], good[3]):
        first = frames.index(wanted(sensor, front, exposure), first) + 1
    for wrong in (good[3::-1], [*good[:7], good[8], *good[8:]]):
        with pytest.raises(AssertionError):
            check(sensor, front, events, wrong)


def test_frames_without_lines():
    """VSYNC goes on but no line comes: a fault each time, where the clock lets it be seen."""
    good = [models.expose(FREE, image) for image in photographs(FREE, 2)]
    empty = models.Exposure(())
    front = front_of("free")
    words = models.pins(FREE, [good[0], empty, empty, good[1]])
    events, state = models.simulate(front, words, 1.0)
    assert [e for _, e, _ in events] == [e for g in good for e in wanted(FREE, front, g)]
    assert state == counts(short_frame=2)


def test_slow_engine_clock():
    """PCLK four times as fast as sync: frames are cut and counted, ends and beginnings match."""
    good = [models.expose(FREE, image) for image in photographs(FREE, 4)]
    front = front_of("free", depth=4, spacing=3)
    words = models.pins(FREE, good)
    events, state = models.simulate(front, words, 0.25)
    assert state == counts(overflow=4)
    for frame, exposure in zip(frames_of(events)[0], good, strict=True):
        whole = wanted(FREE, front, exposure)
        assert 4 < len(frame) < len(whole) and frame[:-1] == whole[: len(frame) - 1]


def test_differences_are_seen():
    good = [models.expose(FREE, photographs(FREE, 1)[0])]
    front = front_of("free")
    events, _ = models.simulate(front, models.pins(FREE, good), 1.0)
    lines = good[0].lines
    changed = models.Exposure((*lines[:6], lines[6] ^ 4, *lines[7:]))
    assert [e for _, e, _ in events] == wanted(FREE, front, good[0])
    assert [e for _, e, _ in events] != wanted(FREE, front, changed)


@pytest.mark.parametrize("sensor", [FREE, GATED, NIBBLES], ids=lambda sensor: sensor.name)
def test_pins(sensor):
    """The model's own timing: so many clocks a frame, lines where the sensor's figures say."""
    exposure = models.expose(sensor, photographs(sensor, 1)[0])
    words = models.frame_pins(sensor, exposure)
    assert len(words) == sensor.frame_clocks
    href = np.flatnonzero(np.diff((words & models.HREF) > 0) & (words[1:] & models.HREF > 0)) + 1
    first = sensor.vsync_clocks + sensor.back_clocks
    assert href.tolist() == [first + sensor.line_clocks * y for y in range(sensor.height)]
    assert ((words & models.HREF) > 0).sum() == sensor.height * sensor.active_clocks
    vsync = (words & models.VSYNC > 0) == sensor.vsync_high
    assert vsync[: sensor.vsync_clocks].all() and not vsync[sensor.vsync_clocks :].any()
    clocks = sensor.height * sensor.active_clocks if sensor.gated else len(words)
    assert (words & models.CLOCK).sum() == clocks
    stopped = models.frame_pins(sensor, exposure.stop(first + 5, 33))
    assert len(stopped) == len(words) + 33 and (stopped & models.CLOCK).sum() == clocks


def test_write(tmp_path):
    words = np.array([1, 1, 1, 0x1205, 0, 0], dtype=np.uint16)
    models.write(tmp_path / "pins", words)
    assert (tmp_path / "pins").read_text() == "3 1\n1 1205\n2 0\n"


def test_nibbles():
    line = np.array([0x12, 0xF0], dtype=np.uint8)
    assert models.nibbles(line, GATED).tolist() == [2, 1, 0, 15]


def test_errors():
    with pytest.raises(ValueError) as error:
        models.expose(FREE, np.zeros((14, 21, 3), dtype=np.uint8))
    assert str(error.value) == "an image must be 14 x 20 x 3 bytes, not (14, 21, 3) uint8"
