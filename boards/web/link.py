"""Keeps a feed filled from a serial port, for as long as a page is served.

Each link has a thread of its own. Whatever happens at the port ends in words in the feed; only the
first connection may fail loudly, before a page is there.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards import packets
from boards.connection import Connection, known_model
from boards.packets import BoardStatus, Byte, Decision, Hello, Row, Setting, Taken
from boards.picture import Picture
from boards.port import BoardError, Port, open_port
from boards.web.feed import Feed, Known
from boards.web.known import known
from golden.errors import one_line
from golden.expected import STATUS

READ = 4096
"""Bytes that are taken from the port at once."""
RETRY_S = 1.0
"""Seconds between attempts to find a board that is gone."""
ASK_S = 1.0
"""Seconds between questions, of which a board that lives answers each."""
ECHO_S = 1.0
"""Seconds within which a board says which settings it took."""
SETTLE_S = 0.5
"""Seconds after settings in which frames that began before may still lack their rows."""
PICTURE_S = 2.0
"""Seconds without a piece of a picture after which a small board is asked again."""
END_S = 2.0
"""Seconds that a thread gets to end in."""
MOST_WISHES = 8
"""Settings that may wait for the thread."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Settings that a page asks for; thresholds that are off are None."""

    stop: int | None = None
    skip: int | None = None
    colour: bool = False


class Link:
    """A thread that reads a port until `close`.

    Parameters
    ----------
    feed : Feed
    port : str
    baud : int
    patience : float
        Seconds after which a silent board is given up.
    """

    def __init__(self, feed: Feed, port: str, baud: int, patience: float = 3.0) -> None:
        self.feed, self.port, self.baud, self.patience = feed, port, baud, patience
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._transport: Port | None = None

    def start(self) -> None:
        """The first connection; from then on the thread keeps it.

        Raises
        ------
        ValueError
            The port cannot be opened, or what comes from it are no packets.
        BoardError
            Nobody answers.
        """
        try:
            self._connect()
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and frees the port."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(END_S)
        self._close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._transport is None:
                    self._connect()
                self._serve()
            except (BoardError, ValueError, OSError) as error:
                self._close()
                self.feed.say("lost", f"Not connected, and trying again: {one_line(error)}.")
                self._over.wait(RETRY_S)
            except BaseException:
                self.feed.say(
                    "lost", "The host tool has a fault of its own; its terminal has more."
                )
                raise

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _connect(self) -> None:
        raise NotImplementedError

    def _serve(self) -> None:
        """Reads until `close`."""
        raise NotImplementedError


class BoardLink(Link):
    """A board that speaks packets: found again when it is gone, its settings sent again.

    Parameters
    ----------
    preset_name, weights_file
        As the host tool has them: a network that is no preset, weights that do not come with it.
    """

    def __init__(
        self,
        feed: Feed,
        port: str,
        baud: int,
        patience: float = 3.0,
        *,
        preset_name: str | None = None,
        weights_file: str | Path | None = None,
    ) -> None:
        super().__init__(feed, port, baud, patience)
        self._preset_name, self._weights_file = preset_name, weights_file
        self._wishes: queue.Queue[tuple[Wish, Future[Taken | None]]] = queue.Queue(MOST_WISHES)
        self._waiting: list[tuple[float, Wish, Future[Taken | None]]] = []
        self._wish = Wish()
        self._board: Connection | None = None
        self._hello: Hello | None = None
        self._identified: tuple[Any, ...] = ()
        self._finding: threading.Thread | None = None
        self._questioned = False  # an answer is on its way
        self._told = (0, 0)  # of the decoder's errors and skipped bytes
        self._sent_at = self._asked_at = self._heard_at = 0.0
        self._rows_since = 0

    def wish(self, wish: Wish) -> Future[Taken | None]:
        """Settings for the board; the result is what it says it took, None if it does not say.

        Raises
        ------
        ValueError
            Too many wait already, or a threshold has more than 32 bits.
        """
        packets.settings(Setting(0), stop=wish.stop, skip=wish.skip)
        future: Future[Taken | None] = Future()
        try:
            self._wishes.put_nowait((wish, future))
        except queue.Full:
            raise ValueError("the board is busy with earlier settings: try again") from None
        return future

    # ---- the thread ----

    def _connect(self) -> None:
        self.feed.say("starting", f"Asking the board at {self.port} who it is.")
        self._transport = open_port(self.port, self.baud)
        self._board = board = Connection(self._transport, self.patience)
        try:
            hello = board.greet()
        except BoardError as error:
            if board.seen and not board.found:
                raise ValueError(one_line(error)) from None
            raise
        self.feed.begin()
        self._questioned = False
        self._told = (board.decoder.errors, board.decoder.skipped)
        self._heard_at = self._asked_at = time.monotonic()
        self._take(hello)
        self._send_settings()
        self.feed.say("up", f"Connected to {self.port}.")

    def _serve(self) -> None:
        while not self._over.is_set():
            self._grant()
            self._read()
            self._identify()
            now = time.monotonic()
            if now - self._heard_at > self.patience:
                raise BoardError(
                    f"the board has sent nothing for {self.patience:g} s "
                    "(is it on, and does its cable sit?)"
                )
            if now - self._asked_at > ASK_S:
                self._asked_at = now
                self._questioned = True
                self._send(packets.ask())

    def _send(self, packet: bytes) -> None:
        assert self._transport is not None
        self._transport.write(packet)

    def _read(self) -> None:
        assert self._transport is not None and self._board is not None
        decoder = self._board.decoder
        for packet in decoder.feed(self._transport.read(READ)):
            self._heard_at = time.monotonic()
            try:
                event = packets.parse(packet)
            except ValueError:
                self.feed.count(strange=1)
            else:
                self._take(event)
        errors, skipped = self._told
        self._told = (decoder.errors, decoder.skipped)
        self.feed.count(damaged=decoder.errors - errors, noise=decoder.skipped - skipped)

    def _take(self, event: packets.Event) -> None:
        if isinstance(event, Hello):
            self._greeted(event)
        elif isinstance(event, Taken):
            self._taken(event)
        elif isinstance(event, Row):
            self._rows_since += 1
        elif isinstance(event, Decision):
            # rows were asked for: a board that sends none has been reset
            late = time.monotonic() - self._sent_at > SETTLE_S
            if not event.status and not self._rows_since and late:
                self._send_settings()
            self._rows_since = 0
        self.feed.take(event)

    def _taken(self, taken: Taken) -> None:
        """Answers the wish that was taken and those before it, which it took the place of; all of
        them, if the board took something else."""
        ends = [
            place
            for place, (_, wish, _) in enumerate(self._waiting, 1)
            if (wish.stop, wish.skip) == (taken.stop, taken.skip)
        ]
        end = ends[-1] if ends else len(self._waiting)
        answered, self._waiting = self._waiting[:end], self._waiting[end:]
        for _, _, future in answered:
            answer(future, taken)

    def _greeted(self, hello: Hello) -> None:
        """A hello that nobody asked for tells of a reset: all settings are gone."""
        before, self._hello = self._hello, hello
        if self._sent_at and before is not None:
            if not self._questioned:
                self.feed.begin()
            if not self._questioned or hello.status != before.status:  # a preview, say
                self._send_settings()
        self._questioned = False

    def _identify(self) -> None:
        """Has the newest hello looked up, one after the other, whatever a board says and how
        often."""
        hello, busy = self._hello, self._finding
        if hello is None or self._is(hello) or (busy is not None and busy.is_alive()):
            return
        self._identified = (hello.model, hello.shape, hello.weights)
        self._finding = identify(self.feed, hello, self._preset_name, self._weights_file, self._is)

    def _is(self, hello: Hello) -> bool:
        return self._identified == (hello.model, hello.shape, hello.weights)

    def _send_settings(self) -> None:
        assert self._hello is not None
        flags = Setting.ROWS | Setting.ECHO
        if self._hello.status & BoardStatus.PREVIEW:
            flags |= Setting.PREVIEW | (Setting.COLOUR if self._wish.colour else 0)
        self.feed.asked(self._wish.stop, self._wish.skip)
        self._send(packets.settings(flags, stop=self._wish.stop, skip=self._wish.skip))
        self._sent_at, self._rows_since = time.monotonic(), 0

    def _grant(self) -> None:
        """Sends what pages wish for, and answers them that the board left without an answer."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._wish, future = self._wishes.get_nowait()
                self._waiting.append((time.monotonic() + ECHO_S, self._wish, future))
                self._send_settings()
        now = time.monotonic()
        for end, _, future in self._waiting:
            if now > end:
                answer(future, None)
        self._waiting = [one for one in self._waiting if one[0] >= now]

    def _close(self) -> None:
        super()._close()
        gone = [future for _, _, future in self._waiting]
        self._waiting = []
        with contextlib.suppress(queue.Empty):
            while True:
                self._wish, future = self._wishes.get_nowait()  # it is sent to a board that is back
                gone.append(future)
        for future in gone:
            answer(future, BoardError("the board is gone; it gets these when it is back"))
        self._sent_at = 0.0


def answer(future: Future[Taken | None], found: Taken | BoardError | None) -> None:
    """To a page, which may have stopped waiting."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(found, BoardError):
            future.set_exception(found)
        else:
            future.set_result(found)


def identify(
    feed: Feed,
    hello: Hello,
    preset_name: str | None,
    weights_file: str | Path | None,
    still: Callable[[Hello], bool] = lambda hello: True,
) -> threading.Thread:
    """Finds out what a board holds: the network at once, the weights beside the thread that reads
    the port, since it takes seconds.

    still : whether the answer is still wanted.
    """
    model = known_model(hello, preset_name)
    text = "being compared with those known here"
    feed.identify(None if model is None else Known(model=model, weights=None, text=text))

    def work() -> None:
        assert model is not None
        found = known(hello, model, weights_file)
        if still(hello):
            feed.identify(found)

    thread = threading.Thread(target=work if model is not None else lambda: None, daemon=True)
    thread.start()
    return thread


class SmallLink(Link):
    """A small board: a byte for each decision, and pieces of pictures between them."""

    def _connect(self) -> None:
        self._transport = open_port(self.port, self.baud)
        self._mixed = packets.Mixed()
        self._asked_at, self._errors, self._picture = -math.inf, 0, Picture()
        self.feed.begin()
        self.feed.say(
            "up",
            f"Listening to {self.port}. A small board is silent until it decides.",
        )

    def _serve(self) -> None:
        assert self._transport is not None
        while not self._over.is_set():
            if time.monotonic() - self._asked_at > PICTURE_S:
                self._ask()
            for found in self._mixed.feed(self._transport.read(READ)):
                if isinstance(found, int):
                    self._byte(found)
                else:
                    self._piece(found)
            self.feed.count(damaged=self._mixed.errors - self._errors)
            self._errors = self._mixed.errors

    def _ask(self) -> None:
        """For a picture; the board sends one at a time."""
        assert self._transport is not None
        self._asked_at = time.monotonic()
        self._transport.write(packets.SMALL_ASK)

    def _byte(self, byte: int) -> None:
        lost, problem = byte & Byte.LOST, byte & BoardStatus.PROBLEM
        index, known_here = packets.class_of(byte), self.feed.known
        classes = packets.MAX_CLASSES if known_here is None else known_here.model.class_count
        if byte & Byte.REPORT and problem in packets.PROBLEM_TEXT and byte < 2 * Byte.REPORT:
            self.feed.small_report(byte & ~Byte.REPORT)
        elif byte & Byte.REPORT or index >= classes or lost >= len(STATUS):
            self.feed.count(noise=1)
        else:
            self.feed.small_decision(index, lost)

    def _piece(self, packet: packets.Packet) -> None:
        try:
            piece = packets.Preview.parse(packet.payload)
        except ValueError:
            self.feed.count(strange=1)
            return
        self._asked_at = time.monotonic()
        self.feed.take(piece)
        self._picture.take(piece)
        if self._picture.whole:
            self._picture.again()
            self._ask()
