"""Packets between a board and its host: layout, CRC, and a decoder that finds its way back.

Pure Python, shared by the host tool, the tests and the RTL (`boards.host_link` takes its constants
from here), so that a number stands in one place.

A packet is::

    0xA5 | kind | length, low byte first | payload | CRC-16, high byte first

The CRC is CRC-16/CCITT-FALSE over kind, length and payload. With the high byte first, the CRC over
kind .. CRC of a good packet is 0, which is what the RTL looks for. All other numbers go low byte
first. See docs/packets.md for the tables.
"""

import struct
from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import NamedTuple

SYNC = 0xA5
HEAD_BYTES = 4  # sync, kind, length
CRC_BYTES = 2
CRC_START = 0xFFFF
FORMAT = 1
"""Version of the packets, in `Hello`. Anything that breaks an old host raises it."""
MAX_PAYLOAD = 255
"""Longest payload to the host; what claims more is no packet."""
DIGEST_BYTES = 8
"""Bytes of a SHA-256 digest that travel in `Hello` and in a flash image."""


class Kind(IntEnum):
    """What a packet is. To the board: bits 2, 3 say what, bits 0, 1 are `Flag`."""

    HELLO = 0x01
    ROW = 0x02
    STATE = 0x03
    DECISION = 0x04
    COUNTERS = 0x05
    PREVIEW = 0x06
    TAKEN = 0x07

    ASK = 0x80
    SETTINGS = 0x84
    LINE = 0x88
    WEIGHTS = 0x8C


class Flag(IntFlag):
    """Low bits of the kind of a packet to the board."""

    FIRST = 1  # line: the frame's first
    LAST = 2  # line: the frame's last; weights: the image's last bytes


class Setting(IntFlag):
    """Last byte of a settings packet; the numbers are bit masks."""

    HOST = 1  # pixels come from the host, not from the camera
    ROWS = 2  # report each row group
    STATE = 4  # ... and the whole state after it; works with HOST only
    STOP = 8
    SKIP = 16
    PREVIEW = 32  # send what the camera sees, piece by piece, without end
    COLOUR = 64  # ... in colour, where there is one
    ECHO = 128  # answer with `Taken`; a board that is older than that does not


COUNTERS = (
    # the engine's
    "overrun",
    "truncated",
    "line",
    "restart",
    "dropped",
    # the camera's
    "lost_clock",
    "overflow",
    "short_line",
    "long_line",
    "short_frame",
    "long_frame",
    # the link's own
    "uart",  # glitches and bytes without a stop bit
    "packet",  # wrong CRC, too long, unknown, or while the buffer was still full
    "event",  # events that found the queue full
)
"""Counters in the order of the packet, 16 bits each; the link's own wrap, the others stay."""

LINK_COUNTERS = 3
"""So many at the end of COUNTERS are the link's own."""


class Problem(IntEnum):
    """Why the weights in flash were not taken: low bits of the status byte in `Hello`."""

    NONE = 0
    BLANK = 1
    MAGIC = 2
    LENGTH = 3
    CONFIG = 4
    CRC = 5


_REMEDY = "make flash-image PRESET= of the bitstream's network makes the right one"
PROBLEM_TEXT = {
    Problem.NONE: "no problem",
    Problem.BLANK: "the flash does not answer, or holds nothing where the weights should be",
    Problem.MAGIC: "what the flash holds is no weights image",
    Problem.LENGTH: f"the weights image in flash has another length than this engine's: {_REMEDY}",
    Problem.CONFIG: "the weights image in flash is for another configuration of the engine: "
    + _REMEDY,
    Problem.CRC: "the weights image in flash is damaged",
}


CLASS_BITS = (7, 3, 4, 5)
"""Where the bits of a decision's class lie in its byte, lowest first; a frame's status (0..7) lies
below them. Of two classes the second is "person", bit 7."""


def class_byte(index: int) -> int:
    """The bits of a class, 0..15, in a decision's byte."""
    return sum((index >> i & 1) << place for i, place in enumerate(CLASS_BITS))


def class_of(byte: int) -> int:
    """The class in a decision's byte."""
    return sum((byte >> place & 1) << i for i, place in enumerate(CLASS_BITS))


class Byte(IntFlag):
    """What a small board sends (boards.event_system): single bytes.

    After a frame: why it was lost (0 is well), and its decision (`class_of`). With REPORT, when
    weights or the camera's set-up have come to an end: `BoardStatus`, as in `Hello`.
    """

    LOST = 7  # mask
    REPORT = 64


SMALL_ASK = b"\xff"
"""Asks a small board for a picture; any byte does."""


class BoardStatus(IntFlag):
    """Bits of the status byte in `Hello` above the `Problem`."""

    PROBLEM = 7  # mask
    LOADING = 8  # weights are being read from flash
    LOAD_ERROR = 16  # the last weights image through the loader had a wrong length
    CAMERA_FAILED = 32  # set-up of the camera failed
    PREVIEW = 64  # the board can send what its camera sees


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, first bit highest, starts as 0xFFFF.

    The RTL takes it from Amaranth's catalogue, by its later name CRC16_IBM_3740.
    """
    return crc_hqx(data, CRC_START)


def encode(kind: int, payload: bytes = b"") -> bytes:
    """A whole packet."""
    if not 0 <= kind < 256:
        raise ValueError(f"kind must be 0..255, not {kind}")
    if len(payload) > 0xFFFF:
        raise ValueError(f"a payload must have at most 65535 bytes, not {len(payload)}")
    body = struct.pack("<BH", kind, len(payload)) + payload
    return bytes([SYNC]) + body + struct.pack(">H", crc16(body))


class Packet(NamedTuple):
    """A good packet."""

    kind: int
    payload: bytes


@dataclass
class Decoder:
    """Takes bytes as they come, gives whole packets.

    After a wrong CRC the search goes on behind the sync byte that led astray, so that a damaged
    byte costs one packet and noise costs none.

    Parameters
    ----------
    max_payload : int
        What claims to be longer is no packet.

    Attributes
    ----------
    errors : int
        Sync bytes that did not begin a good packet.
    skipped : int
        Bytes that belong to no packet.
    """

    max_payload: int = MAX_PAYLOAD
    errors: int = 0
    skipped: int = 0
    _buffer: bytearray = field(default_factory=bytearray, repr=False)

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are whole with these bytes. Exhaust it before the next call."""
        self._buffer += data
        while True:
            start = self._buffer.find(SYNC)
            drop = len(self._buffer) if start < 0 else start
            self.skipped += drop
            del self._buffer[:drop]
            if len(self._buffer) < HEAD_BYTES:
                return
            kind, length = struct.unpack_from("<BH", self._buffer, 1)
            whole = HEAD_BYTES + length + CRC_BYTES
            if length <= self.max_payload:
                if len(self._buffer) < whole:
                    return
                if crc16(self._buffer[1:whole]) == 0:
                    payload = bytes(self._buffer[HEAD_BYTES : whole - CRC_BYTES])
                    del self._buffer[:whole]
                    yield Packet(kind, payload)
                    continue
            self.errors += 1
            self.skipped += 1
            del self._buffer[:1]


@dataclass
class Mixed:
    """Takes the bytes of a small board (boards.event_system): events, and packets between them.

    No event begins as a packet does. After a wrong CRC the whole packet is dropped: of its bytes
    nothing would tell them from events.

    Attributes
    ----------
    errors : int
        Packets with a wrong CRC, and sync bytes that no preview follows.
    """

    errors: int = 0
    _buffer: bytearray = field(default_factory=bytearray, repr=False)

    def feed(self, data: bytes) -> Iterator[int | Packet]:
        """Events and whole packets as they came. Exhaust it before the next call."""
        self._buffer += data
        while self._buffer:
            if self._buffer[0] != SYNC:
                yield self._buffer.pop(0)
                continue
            if len(self._buffer) < HEAD_BYTES:
                return
            kind, length = struct.unpack_from("<BH", self._buffer, 1)
            if kind != Kind.PREVIEW or length > MAX_PAYLOAD:
                self.errors += 1
                del self._buffer[:1]
                continue
            whole = HEAD_BYTES + length + CRC_BYTES
            if len(self._buffer) < whole:
                return
            packet, self._buffer = bytes(self._buffer[:whole]), self._buffer[whole:]
            if crc16(packet[1:]):
                self.errors += 1
            else:
                yield Packet(kind, packet[HEAD_BYTES:-CRC_BYTES])


# ---- to the host ----


def _unpack(layout: str, payload: bytes, name: str) -> tuple:
    size = struct.calcsize(layout)
    if len(payload) != size:
        raise ValueError(f"a {name} packet must have {size} bytes, not {len(payload)}")
    return struct.unpack(layout, payload)


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What the board is. `weights`: CRC-32 of the image in its memories, 0 without one."""

    weights: int
    status: int
    format: int = FORMAT
    model: bytes = bytes(DIGEST_BYTES)
    config: bytes = bytes(DIGEST_BYTES)
    shape: tuple[int, int, int] = (0, 0, 0)

    LAYOUT = f"<IBB{DIGEST_BYTES}s{DIGEST_BYTES}s3B"
    MOVING = 5  # bytes at the front that change; the rest is constant

    def pack(self) -> bytes:
        fields = (self.weights, self.status, self.format, self.model, self.config, *self.shape)
        return struct.pack(self.LAYOUT, *fields)

    @classmethod
    def parse(cls, payload: bytes) -> "Hello":
        if len(payload) > cls.MOVING and payload[cls.MOVING] != FORMAT:
            raise ValueError(
                f"the board speaks packet format {payload[cls.MOVING]}, this host {FORMAT}"
            )
        weights, status, number, model, config, *shape = _unpack(cls.LAYOUT, payload, "hello")
        return cls(
            weights=weights,
            status=status,
            format=number,
            model=model,
            config=config,
            shape=tuple(shape),
        )

    @property
    def problem(self) -> Problem:
        return Problem(self.status & BoardStatus.PROBLEM)


SETTINGS_LAYOUT = "<iiB"
SETTINGS_BYTES = struct.calcsize(SETTINGS_LAYOUT)


def _settings(flags: Setting, stop: int | None, skip: int | None) -> bytes:
    for threshold, bit in ((stop, Setting.STOP), (skip, Setting.SKIP)):
        flags = flags & ~bit if threshold is None else flags | bit
        if threshold is not None and not -(1 << 31) <= threshold < 1 << 31:
            raise ValueError(f"a threshold must fit 32 bits, not {threshold}")
    return struct.pack(SETTINGS_LAYOUT, stop or 0, skip or 0, flags)


PLACE_LAYOUT = "<BBH"
"""Row, state and decision begin alike: frame, a byte of their own, row group."""
MAX_CLASSES = 16


def event_bytes(classes: int) -> int:
    """Bytes of the payload of a row or a decision with so many logits."""
    return struct.calcsize(PLACE_LAYOUT) + 4 * classes


def _pack_event(frame: int, info: int, group: int, logits: Sequence[int]) -> bytes:
    return struct.pack(f"{PLACE_LAYOUT}{len(logits)}i", frame, info, group, *logits)


def _parse_event(payload: bytes, name: str) -> tuple[int, int, int, tuple[int, ...]]:
    """Frame, the byte between, row group, logits: as many as there are."""
    classes = (len(payload) - event_bytes(0)) // 4
    if not 2 <= classes <= MAX_CLASSES or len(payload) != event_bytes(classes):
        raise ValueError(
            f"a {name} packet must have {event_bytes(0)} bytes and 4 for each of 2..{MAX_CLASSES} "
            f"classes, not {len(payload)}"
        )
    frame, info, group, *logits = struct.unpack(f"{PLACE_LAYOUT}{classes}i", payload)
    return frame, info, group, tuple(logits)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row group's logits, one a class. `frame` counts decision packets, mod 256."""

    frame: int
    row_group: int
    logits: tuple[int, ...]

    def pack(self) -> bytes:
        return _pack_event(self.frame, 0, self.row_group, self.logits)

    @classmethod
    def parse(cls, payload: bytes) -> "Row":
        frame, _, group, logits = _parse_event(payload, "row")
        return cls(frame=frame, row_group=group, logits=logits)


@dataclass(frozen=True, kw_only=True)
class State:
    """One channel of the state; `data`: n bytes, two's complement."""

    frame: int
    channel: int
    row_group: int
    data: bytes

    def pack(self) -> bytes:
        return struct.pack(PLACE_LAYOUT, self.frame, self.channel, self.row_group) + self.data

    @classmethod
    def parse(cls, payload: bytes) -> "State":
        size = struct.calcsize(PLACE_LAYOUT)
        frame, channel, group = _unpack(PLACE_LAYOUT, payload[:size], "state")
        return cls(frame=frame, channel=channel, row_group=group, data=payload[size:])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """End of a frame. With any status but 0 (OK) class and logits mean nothing."""

    frame: int
    index: int
    status: int
    rows_used: int
    logits: tuple[int, ...]

    def pack(self) -> bytes:
        info = class_byte(self.index) | self.status
        return _pack_event(self.frame, info, self.rows_used, self.logits)

    @classmethod
    def parse(cls, payload: bytes) -> "Decision":
        frame, info, used, logits = _parse_event(payload, "decision")
        return cls(
            frame=frame,
            index=class_of(info),
            status=info & Byte.LOST,
            rows_used=used,
            logits=logits,
        )


@dataclass(frozen=True, kw_only=True)
class Counters:
    """All counters since reset, in the order of COUNTERS."""

    values: tuple[int, ...] = (0,) * len(COUNTERS)

    LAYOUT = f"<{len(COUNTERS)}H"

    def pack(self) -> bytes:
        return struct.pack(self.LAYOUT, *self.values)

    @classmethod
    def parse(cls, payload: bytes) -> "Counters":
        return cls(values=_unpack(cls.LAYOUT, payload, "counters"))

    def __getitem__(self, name: str) -> int:
        return self.values[COUNTERS.index(name)]

    def since(self, before: "Counters") -> dict[str, int]:
        """What happened since an earlier packet; only those that moved."""
        pairs = zip(COUNTERS, self.values, before.values, strict=True)
        return {name: now - then & 0xFFFF for name, now, then in pairs if now != then}


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A piece of what the camera sees: pixels of one row, from `column` on.

    Attributes
    ----------
    rows, columns : int
        Of the whole picture, 1..255.
    channels : int
        Bytes of a pixel: 1 grey, 3 red, green, blue.
    row, column : int
        Of the piece's first pixel.
    data : bytes
        Its pixels, to the right.
    """

    rows: int
    columns: int
    channels: int
    row: int
    column: int
    data: bytes

    LAYOUT = "<5B"

    def pack(self) -> bytes:
        fields = (self.rows, self.columns, self.channels, self.row, self.column)
        return struct.pack(self.LAYOUT, *fields) + self.data

    @classmethod
    def parse(cls, payload: bytes) -> "Preview":
        size = struct.calcsize(cls.LAYOUT)
        rows, columns, channels, row, column = _unpack(cls.LAYOUT, payload[:size], "preview")
        data = payload[size:]
        if channels not in (1, 3):
            raise ValueError(f"a preview must have 1 or 3 bytes a pixel, not {channels}")
        width, rest = divmod(len(data), channels)
        if rest or not width or row >= rows or column + width > columns:
            raise ValueError(
                f"a preview of {columns} x {rows} pixels must bring some inside it, whole ones, "
                f"not {len(data)} bytes of {channels} a pixel from row {row}, column {column} on"
            )
        return cls(rows=rows, columns=columns, channels=channels, row=row, column=column, data=data)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The settings that the board took; thresholds that are off are None."""

    flags: int
    stop: int | None = None
    skip: int | None = None

    def pack(self) -> bytes:
        return _settings(Setting(self.flags), self.stop, self.skip)

    @classmethod
    def parse(cls, payload: bytes) -> "Taken":
        stop, skip, flags = _unpack(SETTINGS_LAYOUT, payload, "taken")
        return cls(
            flags=flags,
            stop=stop if flags & Setting.STOP else None,
            skip=skip if flags & Setting.SKIP else None,
        )


Event = Hello | Row | State | Decision | Counters | Preview | Taken
_PARSERS = {
    Kind.HELLO: Hello,
    Kind.ROW: Row,
    Kind.STATE: State,
    Kind.DECISION: Decision,
    Kind.COUNTERS: Counters,
    Kind.PREVIEW: Preview,
    Kind.TAKEN: Taken,
}


def parse(packet: Packet) -> Event:
    """What a packet to the host says; ValueError if it is none of those."""
    if packet.kind not in _PARSERS:
        raise ValueError(f"the board sent a packet of unknown kind {packet.kind:#04x}")
    return _PARSERS[Kind(packet.kind)].parse(packet.payload)


# ---- to the board ----


def ask() -> bytes:
    """The board answers with hello and counters."""
    return encode(Kind.ASK)


def settings(flags: Setting, *, stop: int | None = None, skip: int | None = None) -> bytes:
    """Source of the pixels, reports, early termination (None: off)."""
    return encode(Kind.SETTINGS, _settings(flags, stop, skip))


def line(pixels: bytes, *, first: bool = False, last: bool = False) -> bytes:
    """A line: red, green, blue of each pixel, or grey."""
    return encode(Kind.LINE | (Flag.FIRST if first else 0) | (Flag.LAST if last else 0), pixels)


def frame(lines: Sequence[bytes]) -> list[bytes]:
    """The lines of a picture."""
    end = len(lines) - 1
    return [line(data, first=i == 0, last=i == end) for i, data in enumerate(lines)]


def weights(data: bytes, *, chunk: int) -> list[bytes]:
    """A weights image in packets of nearly the same size, at most `chunk` bytes.

    A board replays a packet while the next one comes, which must not be much shorter.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    count = -(-len(data) // chunk)
    cuts = [len(data) * i // count for i in range(count + 1)]
    return [
        encode(Kind.WEIGHTS | (Flag.LAST if end == len(data) else 0), data[start:end])
        for start, end in zip(cuts, cuts[1:], strict=False)
    ]
