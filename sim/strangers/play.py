"""A file and its reader: taken, refused in one line, or a fault."""

import hashlib
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sim.strangers.kinds import RAN, Kind

LONGEST = 10
"""Seconds of the processor for one file."""
LARGEST = 128 << 20
"""Bytes by which one file may make the process larger than any file before it."""
_ACTS = ("os.", "shutil.", "socket.", "subprocess.", "ctypes.dlopen", "pty.", "webbrowser.", RAN)
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr")


class _Watch:
    """What a reader does besides reading, as the interpreter tells of it (PEP 578)."""

    def __init__(self) -> None:
        self.on, self.seen = False, []
        sys.addaudithook(self._event)

    def _event(self, event: str, given: tuple) -> None:
        if not self.on:
            return
        writes = event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or (event.startswith(_ACTS) and event not in _HARMLESS):
            self.seen.append(event)


_watch: list[_Watch] = []  # a hook cannot be taken off again


def _watching() -> _Watch:
    if not _watch:
        _watch.append(_Watch())
    return _watch[0]


def _largest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


_NUMBERS = (b"0", b"-1", b"1e999", b"99999999999999999999", b"nan", b"[", b"{", b"(", b"*a", b"&a ")


def changed(kind: Kind, rng: random.Random) -> bytes:
    """One of its whole contents, of which one to four places are others."""
    data = bytearray(rng.choice(kind.whole))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 64))
        way = rng.randrange(7)
        if way == 0:
            del data[at : at + size]
        elif way == 1:
            data[at:at] = data[at : at + size] * rng.choice((1, 3, 200))
        elif way == 2:
            data[at : at + size] = rng.randbytes(size)
        elif way == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif way == 4:
            data[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f")) * size
        elif way == 5:
            data[at : at + rng.choice((0, 1, size))] = rng.choice((*_NUMBERS, *kind.words))
        else:
            del data[at:]
    return bytes(data)


def play(name: str, kind: Kind, data: bytes, folder: Path) -> bool:
    """Whether a file is taken.

    Raises
    ------
    AssertionError
        It is neither taken nor refused in one line; it took too much time or memory; something was
        written or run meanwhile.
    """
    path = folder / name
    path.write_bytes(kind.packed(data))
    watch, began, large = _watching(), time.process_time(), _largest()
    watch.seen.clear()
    watch.on = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what it leaves out
            kind.read(path)
        taken = True
    except ValueError as error:
        assert "\n" not in str(error), f"{name}: more than a line: {error}"
        taken = False
    except Exception as error:
        raise AssertionError(f"{name}: {_where(error)}{type(error).__name__}: {error}") from error
    finally:
        watch.on = False
    took, grown = time.process_time() - began, _largest() - large
    assert not watch.seen, f"{name}: did more than read: {', '.join(watch.seen)}"
    assert took < LONGEST, f"{name}: took {took:.0f} s"
    assert grown < LARGEST, f"{name}: took {grown >> 20} MiB"
    return taken


@dataclass
class Tally:
    """What became of files: `faults` are told once each by their first words."""

    files: int = 0
    taken: int = 0
    refused: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, one: Callable[[], bool], data: bytes, folder: Path) -> None:
        """Play a file; one that is at fault is kept in the folder."""
        self.files += 1
        try:
            if one():
                self.taken += 1
            else:
                self.refused += 1
        except AssertionError as error:
            text = str(error)
            key = " ".join(text.split()[:3])
            if key not in self.faults:
                kept = folder / hashlib.sha256(data).hexdigest()[:12]
                folder.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(data)
                self.faults[key] = f"{text[:300]} ({kept.name})"

    def told(self, seconds: float) -> dict:
        """As a line of runs.jsonl has it."""
        return {
            "seconds": round(seconds, 1),
            "files": self.files,
            "taken": self.taken,
            "refused": self.refused,
            "faults": [*self.faults.values()],
        }


def _where(error: BaseException) -> str:
    """File and line of the innermost place."""
    at = error.__traceback__
    while at.tb_next is not None:
        at = at.tb_next
    return f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}: "
