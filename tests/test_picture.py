"""boards/picture.py and `make host PICTURE=`: pieces of a preview become a picture file."""

import random

import numpy as np
import pytest
from PIL import Image

from boards import host, packets
from boards.packets import BoardStatus, Byte, Counters, Hello, Kind, Preview, Setting
from boards.picture import Picture
from tests.command import invoke

SCENE = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pieces(scene, width, seed=0):
    """All of a picture, in any order; (rows, columns, channels)."""
    rows, columns, channels = scene.shape
    found = [
        Preview(
            rows=rows,
            columns=columns,
            channels=channels,
            row=row,
            column=column,
            data=scene[row, column : column + width].tobytes(),
        )
        for row in range(rows)
        for column in range(0, columns, width)
    ]
    random.Random(seed).shuffle(found)
    return found


def test_pieces():
    """Whole when all have come, in any order and twice; another size begins anew."""
    picture = Picture()
    assert not picture.whole
    grey = SCENE[:, :, :1]
    for scene, width in ((SCENE, 3), (grey, 7), (grey[:4], 1)):
        for piece in pieces(scene, width):
            assert not picture.whole or picture.pixels.shape != scene.shape
            picture.take(piece)
            picture.take(piece)
        assert picture.whole and np.array_equal(picture.pixels, scene)
    picture.again()
    assert not picture.whole and picture.missing == 28
    assert np.array_equal(picture.pixels, grey[:4])


class Board:
    """A transport: packets of the host's tool in, what `answer(kind, payload)` gives out; a small
    one answers any byte with `answer`'s bytes."""

    def __init__(self, answer, small=False):
        self.answer, self.small = answer, small
        self.decoder, self.out, self.told = packets.Decoder(max_payload=4096), bytearray(), []

    def read(self, size):
        found = bytes(self.out[:size])
        del self.out[:size]
        return found

    def write(self, data):
        if self.small:
            self.out += self.answer(data)
            return
        for packet in self.decoder.feed(data):
            self.told.append(packet)
            for event in self.answer(*packet):
                kind = Kind[type(event).__name__.upper()]
                self.out += packets.encode(kind, event.pack())


def asked(monkeypatch, board, path, *words):
    monkeypatch.setattr(host, "open_port", lambda port, baud: board)
    return invoke("host", "--port", "p", "--picture", str(path), "--patience", 0.3, *words)


def answer(status=BoardStatus.PREVIEW, lost=0):
    """A board with SCENE before its camera, of which so many pieces never come."""

    def events(kind, payload):
        if kind == Kind.ASK:
            return [Hello(weights=7, status=status), Counters()]
        if kind == Kind.SETTINGS and payload[-1] & Setting.PREVIEW:
            assert payload[-1] == Setting.PREVIEW | Setting.COLOUR
            return pieces(SCENE, 3)[lost:]
        return []

    return events


def test_still(monkeypatch, tmp_path):
    """The file is what the camera sees; afterwards the board sends no more of it."""
    board, path = Board(answer()), tmp_path / "seen.png"
    found = asked(monkeypatch, board, path)
    assert found.exit_code == 0, found.output
    assert found.output == f"7 x 5 pixels, colour, written to {path}\n"
    assert np.array_equal(np.asarray(Image.open(path)), SCENE)
    assert board.told[-1] == (Kind.SETTINGS, bytes(9))


def test_small_board(monkeypatch, tmp_path):
    """Pieces between the bytes of events, a damaged one again later."""
    grey, path = SCENE[:, :, :1], tmp_path / "seen"
    sent = [packets.encode(Kind.PREVIEW, piece.pack()) for piece in pieces(grey, 4)]
    damaged = bytes([sent[0][0], *sent[0][1:-1], sent[0][-1] ^ 1])
    stream = b"\x80".join([damaged, *sent[1:], bytes([Byte.REPORT]), sent[0]])
    found = asked(monkeypatch, Board(lambda data: stream * bool(data), small=True), path, "--bytes")
    assert found.exit_code == 0, found.output
    assert found.output == f"7 x 5 pixels, grey, written to {path}\n"
    assert np.array_equal(np.asarray(Image.open(path)), grey[:, :, 0])


@pytest.mark.parametrize(
    "board, words, code, text",
    [
        (answer(status=0), (), 2, "expected a board that sends what its camera sees (make bitst"),
        (answer(lost=2), (), 3, "the picture did not come whole: "),
        (answer(lost=99), (), 3, "the board sent nothing of what its camera sees: does the camer"),
        (answer(), ("--watch",), 2, "expected --picture or --watch, not both"),
        (answer(), ("--image", "x.png"), 2, "expected --picture or --image, not both"),
        (answer(), ("--load",), 2, "expected --picture or --load, not both"),
    ],
)
def test_refused(monkeypatch, tmp_path, board, words, code, text):
    path = tmp_path / "seen.png"
    found = asked(monkeypatch, Board(board), path, *words)
    assert found.exit_code == code and f"rasca: {text}" in found.output, found.output
    assert not path.exists()


def test_silent_small_board(monkeypatch, tmp_path):
    board = Board(lambda data: b"\x80", small=True)
    found = asked(monkeypatch, board, tmp_path / "seen.png", "--bytes")
    assert found.exit_code == 3 and "the board sent nothing of what its camera" in found.output
