"""Cameras: timing of pixels, faults, and the file that the bench plays."""

from fractions import Fraction

import numpy as np
import pytest

from golden.config import PRESETS
from hw.plan.latency import PARALLEL
from sim.camera import (
    FRAME_END,
    LINE_END,
    START,
    VALID,
    Picture,
    Shot,
    Timing,
    blanking,
    paced,
    play,
)

CONFIG = PRESETS["vww_105x120"]


def image(height=10, width=7):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def even(pixel=2):
    return Timing(pixel=Fraction(pixel))


def test_paced_is_the_engines_own_pace():
    cycles = 30497  # no multiple of the 600 pixels of a row group
    picture = Picture.of(np.zeros((105, 120, 3), np.uint8))
    schedule = play([Shot(picture, paced(cycles, CONFIG))] * 2, start=100)
    pixels = schedule.cycle[schedule.flags & VALID != 0].reshape(2, 21, 600)
    for frame in range(2):
        for group in (0, 1, 20):
            at = 100 + (frame * 21 + group) * cycles + frame * PARALLEL.frame_turn
            assert pixels[frame, group].tolist() == [at + i * cycles // 600 for i in range(600)]


def test_every_pixel_comes_once_with_its_marks():
    schedule = play([Shot(Picture.of(image()), even())])
    pixels = schedule.flags & VALID != 0
    bytes_ = np.stack([schedule.rgb >> 16, schedule.rgb >> 8 & 255, schedule.rgb & 255], axis=1)
    assert (bytes_[pixels].reshape(10, 7, 3) == image()).all()
    assert np.flatnonzero(schedule.flags & START).tolist() == [0]
    assert np.flatnonzero(schedule.flags & LINE_END).tolist() == list(range(6, 70, 7))
    assert np.flatnonzero(schedule.flags & FRAME_END).tolist() == [70]
    assert schedule.starts == (16,)
    assert schedule.lines[0] == tuple(schedule.cycle[6:70:7].tolist())


def test_faults_of_a_picture():
    good = Picture.of(image())
    assert len(good.truncated(4).lines) == 4 and good.truncated(4).end
    assert len(good.restarted(4).lines) == 4 and not good.restarted(4).end
    assert [len(line) for line in good.short_line(2).lines] == [7, 7, 6] + [7] * 7
    assert [len(line) for line in good.long_line(2, 3).lines] == [7, 7, 10] + [7] * 7
    schedule = play([Shot(good.restarted(4), even()), Shot(good, even())])
    assert (schedule.flags & FRAME_END != 0).sum() == 1
    assert (schedule.flags & START != 0).sum() == 2


@pytest.mark.parametrize(
    "timing",
    [
        even(1),
        Timing(pixel=Fraction(1), gap_pixel=2, gap_line=30, gap_frame=99, seed=4),
        Timing(pixel=Fraction(7, 5), line_blank=Fraction(9, 4), frame_blank=Fraction(50)),
    ],
)
def test_time_only_goes_forward(timing):
    schedule = play([Shot(Picture.of(image()), timing)] * 3)
    assert (np.diff(schedule.cycle) > 0).all()
    again = play([Shot(Picture.of(image()), timing)] * 3)
    assert (again.cycle == schedule.cycle).all()


def test_blanking_is_slower_than_the_engine_and_bursts():
    timing = blanking(30490, CONFIG)
    line = timing.pixel * 120 + timing.line_blank
    assert 5 * line == Fraction(30490) * Fraction(11, 10)
    assert timing.line_blank / line == Fraction(144, 784)
    assert timing.frame_blank == line * 105 * Fraction(30, 480)


def test_blanking_keeps_pixels_apart():
    apart = Fraction(30490, 5 * 120)  # as even pixels are
    timing = blanking(30490, CONFIG, apart)
    assert timing.pixel == apart and timing.line_blank == 120 * apart / 10
    assert paced(1, CONFIG, spacing=apart).pixel == apart


def test_speed_of_an_overrun():
    assert paced(6000, CONFIG, speed=2).pixel == paced(6000, CONFIG).pixel / 2
    assert paced(1, CONFIG).pixel == 1  # no more than a pixel a cycle


def test_errors_in_words():
    with pytest.raises(ValueError, match="pixel must be at least 1 cycle, not 0.5"):
        Timing(pixel=Fraction(1, 2))
    with pytest.raises(ValueError, match="height x width x 3 bytes"):
        Picture.of(np.zeros((3, 4), np.uint8))


def test_file_for_the_bench(tmp_path):
    path = tmp_path / "schedule.txt"
    play([Shot(Picture.of(np.full((1, 2, 3), 0xA5, np.uint8)), even(3))], start=5).write(path)
    assert path.read_text() == "5 a5a5a5 3\n8 a5a5a5 5\n9 000000 8\n"
