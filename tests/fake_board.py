"""A board on a terminal of its own, of which only the cable and the camera's pace are modelled."""

import contextlib
import os
import pty
import select
import threading
import time
import tty
from dataclasses import replace

from boards import packets
from boards.packets import (
    BoardStatus,
    Counters,
    Decision,
    Hello,
    Kind,
    Preview,
    Row,
    Setting,
    Taken,
)
from golden.config import preset

MODEL = preset("vww_105x120")
HELLO = Hello(weights=0xD5271961, status=0, model=bytes.fromhex(MODEL.digest)[:8], shape=(8, 1, 2))
NO = {"person": False} if "person" in Decision.__dataclass_fields__ else {"index": 0}


class FakeBoard:
    """Answers what it is asked for.

    Parameters
    ----------
    rate : float
        Decisions a second that its camera brings about, 0 for none.
    mode : str
        "ok"; "gone": the cable is pulled at the first line of a picture; "gone_early": after the
        first question; "garbage": noise instead of packets; "silent": nothing.
    """

    def __init__(self, mode="ok", rate=0.0):
        self.mode, self.rate = mode, rate
        self.master, self.slave = pty.openpty()
        for end in (self.master, self.slave):
            tty.setraw(end)
        self.port = os.ttyname(self.slave)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self._pull()

    def _pull(self):
        for end in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(end)
        self.master = self.slave = -1

    def _run(self):
        ask, buffer, following, count = packets.ask(), b"", time.monotonic(), 0
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                if select.select([self.master], [], [], 0.002)[0]:
                    buffer += os.read(self.master, 4096)
            if self.mode == "silent":
                continue
            while ask in buffer:
                buffer = buffer[buffer.find(ask) + len(ask) :]
                if self.mode == "gone_early":
                    return self._pull()
                if self.mode != "garbage":
                    for kind, content in ((Kind.HELLO, HELLO), (Kind.COUNTERS, Counters())):
                        os.write(self.master, packets.encode(kind, content.pack()))
            lines = (bytes([packets.SYNC, kind]) for kind in (Kind.LINE, Kind.LINE | 1))
            if self.mode == "gone" and any(head in buffer for head in lines):
                return self._pull()
            buffer = buffer[-4096:]
            if self.rate and time.monotonic() >= following:
                following, count = time.monotonic() + 1 / self.rate, count + 1
                said = Decision(frame=count & 255, status=0, rows_used=21, logits=(5, -5), **NO)
                sent = packets.encode(Kind.DECISION, said.pack())
                os.write(self.master, os.urandom(30) if self.mode == "garbage" else sent)


class CameraBoard:
    """A board whose camera runs, at `folder`/port: does what its settings say, says what it took.

    Parameters
    ----------
    folder : path
        Where the link to its terminal lies, which stays when the board is plugged in again.
    rate : float
        Frames a second.
    echo : bool
        False: a board of before `Setting.ECHO`.
    hello : Hello
    wrong : int
        Added to the stop threshold that it takes.
    """

    GROUPS = 21

    def __init__(self, folder, rate=20.0, echo=True, hello=HELLO, wrong=0):
        self.rate, self.echo, self.hello, self.wrong = rate, echo, hello, wrong
        self.link = folder / "port"
        self.settings, self.asked = [], 0
        self.counts = [0] * len(packets.COUNTERS)
        self._ends = None
        self.over, self._do = threading.Event(), []
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def port(self):
        return str(self.link)

    def __enter__(self):
        self._plug()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self._unplug()

    def do(self, what):
        """Has the thread do something between two frames: "plug", "unplug", "reset", or a call."""
        done = threading.Event()
        self._do.append((what, done))
        assert done.wait(20)

    def send(self, *events):
        for event in events:
            kind = Kind[type(event).__name__.upper()]
            self._write(packets.encode(kind, event.pack()))

    def _write(self, data):
        with contextlib.suppress(BlockingIOError):  # nobody reads: as on a line, it is gone
            os.write(self._ends[0], data)

    def _plug(self):
        self._ends = pty.openpty()
        for end in self._ends:
            tty.setraw(end)
        os.set_blocking(self._ends[0], False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._ends[1]))
        self._reset()

    def _unplug(self):
        if self._ends:
            self.link.unlink()
            for end in self._ends:
                os.close(end)
            self._ends = None

    def _reset(self):
        self.now, self.frame = Taken(flags=0), 0
        self.decoder = packets.Decoder(max_payload=4096)
        self.send(self.hello)

    def _run(self):
        following = time.monotonic()
        while not self.over.is_set():
            while self._do:
                what, done = self._do.pop(0)
                what() if callable(what) else getattr(self, f"_{what}")()
                done.set()
            if not self._ends:
                time.sleep(0.005)
                continue
            if select.select([self._ends[0]], [], [], 0.002)[0]:
                for packet in self.decoder.feed(os.read(self._ends[0], 4096)):
                    self._take(packet)
            if self.rate and time.monotonic() >= following:
                following = time.monotonic() + 1 / self.rate
                self._frame()

    def _take(self, packet):
        if packet.kind == Kind.ASK:
            self.asked += 1
            self.send(self.hello, Counters(values=tuple(self.counts)))
        elif packet.kind == Kind.SETTINGS:
            self.now = Taken.parse(packet.payload)
            if self.wrong and self.now.stop is not None:
                self.now = replace(self.now, stop=self.now.stop + self.wrong)
            self.settings.append(self.now)
            if self.echo and self.now.flags & Setting.ECHO:
                self.send(self.now)

    def _frame(self):
        """Each row more sure than the one before; the odd frames end with a person."""
        sign, used = (1 if self.frame % 2 else -1), 0
        if self.now.flags & Setting.PREVIEW and self.hello.status & BoardStatus.PREVIEW:
            for row in range(4):
                line = bytes([40 * row + 9 * self.frame & 255] * 6)
                self.send(Preview(rows=4, columns=6, channels=1, row=row, column=0, data=line))
        for group in range(self.GROUPS):
            logits, used = (0, sign * 50_000 * (group + 1)), group + 1
            if self.now.flags & Setting.ROWS:
                self.send(Row(frame=self.frame, row_group=group, logits=logits))
            if self.now.stop is not None and logits[1] >= self.now.stop:
                break
        self.send(
            Decision(frame=self.frame, index=int(sign > 0), status=0, rows_used=used, logits=logits)
        )
        self.frame = self.frame + 1 & 255
