"""What a camera sees, put together of the pieces that a board sends; and a file of it."""

import contextlib
import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from boards import packets
from boards.connection import Connection, Transport
from boards.packets import Event, Hello, Preview, Setting
from boards.port import BoardError
from golden import files


@dataclass
class Picture:
    """Pieces of a preview in their places.

    A piece of another size or kind than those before begins a new picture. A board sends all
    pieces again and again, each of another frame: what moves is torn between them.

    Attributes
    ----------
    pixels : numpy.ndarray
        (rows, columns, channels) bytes, 0 where nothing has come; (0, 0, 1) before the first piece.
    missing : int
        Pixels that have not come yet.
    pieces : int
        So many came, of all pictures.
    """

    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 1), np.uint8))
    missing: int = 0
    pieces: int = 0
    _there: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool), repr=False)

    @property
    def whole(self) -> bool:
        """Every pixel has come at least once."""
        return self.pixels.size > 0 and self.missing == 0

    def take(self, piece: Preview) -> None:
        """Put a piece in its place."""
        size = (piece.rows, piece.columns, piece.channels)
        if self.pixels.shape != size:
            self.pixels = np.zeros(size, np.uint8)
            self._there = np.zeros(size[:2], bool)
            self.missing = self._there.size
        part = np.frombuffer(piece.data, np.uint8).reshape(-1, piece.channels)
        where = (piece.row, slice(piece.column, piece.column + len(part)))
        self.missing -= int((~self._there[where]).sum())
        self._there[where] = True
        self.pixels[where] = part
        self.pieces += 1

    def again(self) -> None:
        """From now on no pixel has come; those there stay to be seen."""
        self._there[:] = False
        self.missing = self._there.size

    def png(self) -> bytes:
        """The bytes of a PNG file."""
        from PIL import Image

        found, grey = io.BytesIO(), self.pixels.shape[2] == 1
        Image.fromarray(self.pixels[:, :, 0] if grey else self.pixels).save(found, format="PNG")
        return found.getvalue()


def still(events: Iterable[Event], console: Console) -> Picture:
    """The first whole picture that these events bring; how far it is stands on the terminal.

    Raises
    ------
    BoardError
        The events end before.
    """
    picture = Picture()
    with console.status("picture") as status:
        for event in events:
            if isinstance(event, Preview):
                picture.take(event)
                size = picture.pixels[:, :, 0].size
                status.update(f"picture: {100 * (size - picture.missing) // size} %")
            if picture.whole:
                return picture
    if not picture.pieces:
        raise BoardError("the board sent nothing of what its camera sees: does the camera run?")
    raise BoardError(
        f"the picture did not come whole: {picture.missing:,} of "
        f"{picture.pixels[:, :, 0].size:,} pixels are missing"
    )


def ask(board: Connection, hello: Hello, console: Console) -> Picture:
    """What the board's camera sees.

    Raises
    ------
    ValueError
        The board cannot send it.
    BoardError
        It did not come whole.
    """
    if not hello.status & packets.BoardStatus.PREVIEW:
        raise ValueError(
            "expected a board that sends what its camera sees (make bitstream OUTPUTS=preview), "
            "not this one"
        )
    board.send(packets.settings(Setting.PREVIEW | Setting.COLOUR))
    try:
        return still(board.awaited(Preview), console)
    finally:
        with contextlib.suppress(BoardError):  # of a connection that was lost
            board.send(packets.settings(Setting(0)))


def small_pieces(transport: Transport, patience: float) -> Iterator[Preview]:
    """Pieces of what a small board's camera sees, which any byte asks for; ends after `patience`
    seconds without one."""
    decoder, end = packets.Mixed(), time.monotonic() + patience
    transport.write(packets.SMALL_ASK)
    while time.monotonic() < end:
        for found in decoder.feed(transport.read(256)):
            if isinstance(found, packets.Packet):
                end = time.monotonic() + patience
                yield Preview.parse(found.payload)


def save(found: Picture, path: Path, console: Console) -> None:
    """As a PNG file; says so."""
    rows, columns, channels = found.pixels.shape
    files.write(path, found.png())
    kind = "grey" if channels == 1 else "colour"
    console.print(f"{columns} x {rows} pixels, {kind}, written to {path}")
