"""A board on a terminal of its own, of which only the cable and the camera's pace are modelled."""

import contextlib
import os
import pty
import select
import threading
import time
import tty

from boards import packets
from boards.packets import Counters, Decision, Hello, Kind
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
