# amaranth: UnusedElaboratable=no
"""sim/screen.py: what `make screen` finds in a cable, and what it refuses. The whole board in
simulation is the command itself."""

from types import SimpleNamespace

import numpy as np
import pytest

from boards import build, fit
from boards.system import System
from golden import screen as golden
from golden import video
from golden.config import preset
from golden.random_weights import random_weights
from hw.top import Rasca
from sim import screen
from tests.command import refused
from tests.test_video import LOW, MODEL, shown

LAYOUT = golden.Layout(mode=LOW, model=MODEL, step=1)


def cable(picture, pictures=2):
    """Bits of a cable that shows a picture again and again; the blue channel has the syncs."""
    mode = LOW
    width, height = mode.total
    words = []
    for y in range(height):
        low = not mode.height + mode.front[1] <= y < mode.height + mode.front[1] + mode.sync[1]
        disparity = [0, 0, 0]
        for x in range(width):
            start = mode.width + mode.front[0]
            control = low << 1 | (not start <= x < start + mode.sync[0])
            line = [video.CONTROL[control], video.CONTROL[0], video.CONTROL[0]]
            if y < mode.height and x < mode.width:
                for i, value in enumerate(picture[y, x][::-1].tolist()):
                    line[i], disparity[i] = video.tmds_encode(value, disparity[i])
            words.append([*line, 0b0000011111])
    bits = np.array(words)[:, :, None] >> np.arange(10) & 1
    return np.tile(bits.transpose(1, 0, 2).reshape(4, -1), (1, pictures + 1))


@pytest.mark.parametrize("wrong", ["nothing", "a pixel", "a line's length"])
def test_judge(monkeypatch, wrong):
    """Equal pictures are; a pixel's lowest bit, and a line that is a word short, are told."""
    monkeypatch.setattr(screen, "layout", lambda system: LAYOUT)
    _, what = shown(MODEL, LAYOUT)
    picture = golden.compose(LAYOUT, what).astype(int)
    if wrong == "a pixel":
        picture[9, 5, 1] ^= 1
    bits = cable(picture)
    if wrong == "a line's length":  # in the blanking of the picture that is looked at
        width, height = LOW.total
        at = 10 * (width * (2 * height + 4) + LOW.width + 1)
        bits = np.delete(bits, slice(at, at + 10), axis=1)
    record = screen.Cable(bits=bits, build_seconds=0, seconds=0)
    found, said = screen.judge(None, what, record)
    assert np.array_equal(found, picture)
    assert (
        said
        == {
            "nothing": None,
            "a pixel": "1 pixels differ, the first at column 5 of line 9",
            "a line's length": "lines of (seen, all) pixels (104, 113), not (104, 114)",
        }[wrong]
    )


def test_refused():
    """A board without a screen; an engine that the camera outruns."""
    said = refused("screen", "--board", "icebreaker")
    assert "outputs of icebreaker must be one of preview, not 'hdmi'" in said
    with pytest.raises(ValueError, match=r"ulx3s must have a screen \(OUTPUTS=hdmi\)"):
        screen.output(SimpleNamespace(board=build.find_board("ulx3s")))
    board, model = build.find_board("ulx3s-12f", "hdmi"), preset("vww_210x240")
    rasca = Rasca(model, fit.configure(board, model, "15,1,1"), random_weights(model, 1))
    text = "shape must be one that keeps up with 7,653 lines a second of the camera, not 15,1,1"
    with pytest.raises(ValueError, match=text):
        screen.check_pace(System(board=board, rasca=rasca))
