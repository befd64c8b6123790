"""Plays recorded packets to a feed, as a board would send them, again and again.

`make sim` leaves such a recording (`sim/recording.py`); whatever a board sends over its port into a
file is one, too.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from boards import packets
from boards.packets import Decision, Event, Hello, Row
from boards.web.feed import Feed
from boards.web.link import identify

NAME = "replay.bin"
"""The recording in a run's folder."""
MOST_BYTES = 64 << 20
"""Of a recording."""
SCAN_S, PAUSE_S = 2.5, 1.5
"""Seconds for the row groups of a frame, and after its decision."""


def read(path: str | Path) -> list[Event]:
    """The packets of a recording; `path` is the file, or the folder of a run.

    Raises
    ------
    ValueError
        Too large, or no packets in it.
    OSError
        It cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NAME
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise ValueError(
            f"{path}: expected a recording of at most {MOST_BYTES >> 20} MiB, "
            f"not of {path.stat().st_size >> 20}"
        )
    events: list[Event] = []
    for packet in packets.Decoder().feed(path.read_bytes()):
        try:
            events.append(packets.parse(packet))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if not any(isinstance(event, Row | Decision) for event in events):
        raise ValueError(
            f"{path}: expected packets of a board, with rows or decisions "
            f"(make sim leaves them in {NAME}), not {len(events)} packets without any"
        )
    return events


class Replay:
    """A thread that plays a recording until `close`.

    Parameters
    ----------
    feed : Feed
    events : sequence of Event
    preset_name, weights_file
        As the host tool has them.
    speed : float
        So many times as fast.
    """

    def __init__(
        self,
        feed: Feed,
        events: Sequence[Event],
        *,
        preset_name: str | None = None,
        weights_file: str | Path | None = None,
        speed: float = 1.0,
    ) -> None:
        self.feed, self._events, self._speed = feed, list(events), speed
        self._names = (preset_name, weights_file)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Says what is replayed, and begins."""
        for event in self._events:
            if isinstance(event, Hello):
                self.feed.take(event)
                identify(self.feed, event, *self._names).join()
                break
        self.feed.say(
            "replay",
            f"A replay of {self.feed.source}, again and again and slower than it was; no board.",
        )
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        known = self.feed.known
        groups = known.model.row_groups if known is not None else 32
        while not self._over.is_set():
            self.feed.begin()
            for event in self._events:
                self.feed.take(event)
                pause = {Row: SCAN_S / groups, Decision: PAUSE_S}.get(type(event), 0.0)
                if pause and self._over.wait(pause / self._speed):
                    return
