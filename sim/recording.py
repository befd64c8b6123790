"""What a run would have looked like on a board's UART, for `rasca host --web --replay`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from boards.packets import (
    COUNTERS,
    DIGEST_BYTES,
    MAX_PAYLOAD,
    BoardStatus,
    Counters,
    Decision,
    Event,
    Hello,
    Kind,
    Preview,
    Row,
    Setting,
    State,
    Taken,
    encode,
)
from golden.expected import Frame
from hw import parts
from hw.plan.engine_config import config_digest
from sim.session import Session

MOST_FRAMES = 16
"""The last ones of a longer run."""


def pieces(image: np.ndarray, rows: range) -> Iterator[Preview]:
    """Some rows of a picture, (h, w, channels) bytes, in pieces as long as they may be."""
    height, width, channels = image.shape
    step = (MAX_PAYLOAD - struct.calcsize(Preview.LAYOUT)) // channels
    for row in rows:
        for column in range(0, width, step):
            yield Preview(
                rows=height,
                columns=width,
                channels=channels,
                row=row,
                column=column,
                data=image[row, column : column + step].tobytes(),
            )


def scan(frame: Frame, number: int, image: np.ndarray, rows_per_group: int) -> Iterator[Event]:
    """A frame: its lines, and after each row group what the engine said of it."""
    assert frame.decision is not None and frame.expected is not None
    said = {row.row_group: row for row in frame.rows}
    height, width, _ = image.shape
    for group in range(len(frame.expected.state)):
        if max(height, width) <= 255:  # else a preview has no room for its size
            yield from pieces(image, range(rows_per_group * group, rows_per_group * (group + 1)))
        if group in said:
            row = said[group]
            yield Row(frame=number, row_group=group, logits=row.logits)
            for channel, data in enumerate(row.state):
                bytes_ = data.astype(np.int8).tobytes()
                yield State(frame=number, channel=channel, row_group=group, data=bytes_)
    yield Decision(
        frame=number,
        index=frame.decision["label"],
        status=frame.decision["status"],
        rows_used=frame.decision["rows_used"],
        logits=tuple(frame.decision["logits"]),
    )


def events(
    result: Session,
    frames: Sequence[Frame],
    images: Sequence[np.ndarray],
    stop: int | None,
    skip: int | None,
) -> Iterator[Event]:
    """All that the board would have sent: what it is, its settings, the frames, its counters.

    frames, images: those of the photographs, in order; an image is (h, w, 3) bytes.
    stop, skip: integer thresholds, None for off.
    """
    engine, model = result.engine, result.engine.model
    shape = engine.shape
    yield Hello(
        weights=zlib.crc32(parts.weights_image(engine.plan, engine.weights)),
        status=BoardStatus.PREVIEW,
        model=bytes.fromhex(model.digest)[:DIGEST_BYTES],
        config=bytes.fromhex(config_digest(model, shape))[:DIGEST_BYTES],
        shape=(shape.pixels, shape.channels, shape.lanes),
    )
    flags = Setting.ROWS | Setting.STATE | Setting.PREVIEW | Setting.COLOUR
    for value, bit in ((stop, Setting.STOP), (skip, Setting.SKIP)):
        flags |= bit if value is not None else Setting(0)
    yield Taken(flags=flags, stop=stop, skip=skip)
    yield Counters()
    chosen = list(zip(frames, images, strict=True))[-MOST_FRAMES:]
    for number, (frame, image) in enumerate(chosen):
        yield from scan(frame, number, image[:, :, : model.in_channels], model.rows_per_group)
    counts = [result.counts.get(name, 0) & 0xFFFF for name in COUNTERS]
    yield Counters(values=tuple(counts))


def packed(sent: Iterator[Event]) -> bytes:
    """As bytes on the line."""
    return b"".join(encode(Kind[type(one).__name__.upper()], one.pack()) for one in sent)
