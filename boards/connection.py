"""A connection to a board: packets over a byte stream, and who is at the other end of it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from boards import packets
from boards.packets import Counters, Hello, Setting
from boards.port import BoardError
from golden.config import PRESETS, ModelConfig, preset
from golden.weights import Weights

FLUSH = bytes(1024)
"""More than the longest line of pictures up to 341 pixels wide in colour: whatever packet the board
is in the middle of comes to an end. Of wider ones it may take a second greeting."""
ASKS = 5
"""The last weights are still on their way into the memories when the first answer leaves."""
QUIET, DRAIN = 0.05, 0.5
"""Seconds without a packet that are quiet; and after which it is waited no longer for that."""
LOAD_TRIES = 2  # what was left over of an earlier load spoils the first


class Transport(Protocol):
    """A byte stream, as `serial.Serial` with a time-out is one."""

    def read(self, size: int) -> bytes:
        """At most so many bytes; fewer, or none, after a short time."""
        ...

    def write(self, data: bytes) -> int | None: ...


@dataclass
class Connection:
    """Packets to and from a board.

    Parameters
    ----------
    transport : Transport
    patience : float
        Seconds after which the board is given up: without any packet, or without what is wanted.
    """

    transport: Transport
    patience: float = 3.0
    decoder: packets.Decoder = field(default_factory=packets.Decoder)
    seen: int = 0  # bytes that came
    found: int = 0  # packets in them

    def send(self, packet: bytes) -> None:
        self.transport.write(packet)

    def events(
        self, patience: float | None = None, limit: float | None = None
    ) -> Iterator[packets.Event]:
        """Packets as they come; ends after `patience` seconds without one, and after `limit`
        seconds in any case, if it is given."""
        patience = self.patience if patience is None else patience
        quiet = time.monotonic() + patience
        end = None if limit is None else time.monotonic() + limit
        while (now := time.monotonic()) < quiet and (end is None or now < end):
            data = self.transport.read(256)
            self.seen += len(data)
            for packet in self.decoder.feed(data):
                self.found += 1
                yield packets.parse(packet)
                quiet = time.monotonic() + patience

    def drain(self) -> None:
        """Drops what comes until it is quiet; a board with a camera never is."""
        for _ in self.events(QUIET, limit=DRAIN):
            pass

    def awaited(self, *kinds: type) -> Iterator[packets.Event]:
        """Packets as they come; ends after `patience` seconds without one of these kinds, and
        after ten times as long in any case."""
        end = time.monotonic() + self.patience
        for event in self.events(limit=10 * self.patience):
            if isinstance(event, kinds):
                end = time.monotonic() + self.patience
            elif time.monotonic() > end:
                return
            yield event

    def expect(self, kind: type, what: str) -> packets.Event:
        """The next packet of one kind; others are dropped."""
        seen, found = self.seen, self.found
        for event in self.events(limit=self.patience):
            if isinstance(event, kind):
                return event
        why = ""
        if self.found == found:
            why = (
                "; nothing came at all"
                if self.seen == seen
                else (f"; {self.seen - seen} bytes came, but no packet: is the baud rate right?")
            )
        raise BoardError(f"the board sent no {what} within {self.patience:g} s{why}")

    def greet(self) -> Hello:
        """What the board is; from now on it sends decisions only."""
        self.send(FLUSH)
        self.send(packets.settings(Setting(0)))
        self.drain()
        self.send(packets.ask())
        return self.expect(Hello, "hello (is this its port, and the baud rate right?)")

    def counters(self) -> Counters:
        self.send(packets.ask())
        return self.expect(Counters, "counters")


def known_model(hello: Hello, name: str | None = None) -> ModelConfig | None:
    """The network that the board has, if it is `name`'s (a preset or a file) or a preset."""
    for model in ([] if name is None else [preset(name)]) + list(PRESETS.values()):
        if hello.model.hex() == model.digest[: 2 * packets.DIGEST_BYTES]:
            return model
    return None


def board_model(hello: Hello, name: str | None) -> ModelConfig:
    """The network that the board has; it must be `name`'s, if there is one."""
    has, wanted = known_model(hello, name), None if name is None else preset(name)
    digest = hello.model.hex()
    if has is None and wanted is None:
        raise ValueError(f"the board's network, digest {digest}, is none of the presets")
    if wanted is not None and (has is None or has.digest != wanted.digest):
        its = "no preset" if has is None else has.name
        raise ValueError(f"the board holds another network than {name}: {its}, digest {digest}")
    assert has is not None
    return has


def weights_image(hello: Hello, model: ModelConfig, weights: Weights) -> bytes:
    """The image of these weights for the array that the board has."""
    from hw import parts
    from hw.plan import compile_program
    from hw.plan.engine_config import EngineConfig

    pixels, channels, lanes = hello.shape
    plan = compile_program(model, EngineConfig(pixels=pixels, channels=channels, lanes=lanes))
    return parts.weights_image(plan, weights)


def check_weights(hello: Hello, image: bytes) -> None:
    """ValueError unless the board holds exactly these weights."""
    if hello.weights == 0:
        why = packets.PROBLEM_TEXT[hello.problem] if hello.problem else "nothing was loaded"
        if hello.status & packets.BoardStatus.LOADING:
            why = "they are still being loaded"
        raise ValueError(f"the board has no weights: {why}")
    if hello.weights != zlib.crc32(image):
        raise ValueError(
            f"the board holds other weights: their digest is {hello.weights:08x}, "
            f"not {zlib.crc32(image):08x}"
        )


def load(board: Connection, model: ModelConfig, image: bytes) -> Hello:
    """Sends a weights image and asks whether it has arrived."""
    hello = None
    for _ in range(LOAD_TRIES):
        for packet in packets.weights(image, chunk=model.image_width * model.in_channels):
            board.send(packet)
        for _ in range(ASKS):
            board.send(packets.ask())
            hello = board.expect(Hello, "hello after its weights")
            if hello.weights == zlib.crc32(image):
                return hello
            if hello.weights or hello.status & packets.BoardStatus.LOAD_ERROR:
                break
            board.drain()
    assert hello is not None
    wrong = hello.status & packets.BoardStatus.LOAD_ERROR
    raise BoardError(
        f"the weights did not arrive after {LOAD_TRIES} tries: "
        + ("bytes are missing" if wrong else f"their digest there is {hello.weights:08x}")
    )
