"""What every command says when it cannot go on, and with which exit status.

Standard library only: the command line catches these before anything large is imported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

DIFFERENT = 1
"""Exit status: something is not as the golden model, or the target, has it."""
BAD_INPUT = 2
"""Exit status: what was given cannot be used."""
BROKEN = 3
"""Exit status: the simulator failed, or the connection to a board was lost."""
INTERRUPTED = 128 + 2
"""Exit status after Ctrl-C, as shells have it."""


class CommandError(Exception):
    """The end of a command: a text for the user, and an exit status.

    Parameters
    ----------
    text : str
        What was expected and what came instead.
    status : int
        `BAD_INPUT` if not given.
    """

    def __init__(self, text: str, status: int = BAD_INPUT) -> None:
        super().__init__(text)
        self.status = status


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turn an error in what the user gave into one line and exit status 2.

    Raises
    ------
    CommandError
        For a ValueError or an OSError within.
    """
    try:
        yield
    except ValueError as error:
        raise CommandError(one_line(error)) from None
    except OSError as error:
        raise CommandError(said(error)) from None


def check_size(path: Path, most: int) -> None:
    """ValueError for a file of more bytes: before anything of it is read."""
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: must have at most {most:,} bytes, not {size:,}")


def note(text: str) -> None:
    """A line to standard error."""
    print(f"rasca: {text}", file=sys.stderr, flush=True)


def one_line(error: BaseException | str) -> str:
    """Its text without line breaks, and without what a terminal would obey; so are names and words
    that a file brings into an error."""
    words = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def missing(path: Path, what: str = "file") -> str:
    """What to say of a path that is not the file, or folder, that was expected."""
    came = "a folder" if path.is_dir() else "a file" if path.exists() else "a name that nothing has"
    return f"{path}: no such {what} (expected an existing {what}, not {came})"


_EXPECTED = {
    errno.ENOENT: "an existing {what}, not a name that nothing has",
    errno.ENOTDIR: "a folder on the way, not a file",
    errno.EISDIR: "a file, not a folder",
    errno.EEXIST: "a name that nothing has, not an existing one",
    errno.EACCES: "one that this user may read and write, not a forbidden one",
    errno.EPERM: "one that this user may change, not a protected one",
    errno.EROFS: "a place that can be written, not a read-only disk",
    errno.ENOSPC: "room to write, not a full disk",
    errno.EFBIG: "room to write, not a limit that the file reaches",
    errno.EDQUOT: "room to write, not a used up quota",
    errno.ENAMETOOLONG: "a shorter name, not one of {length} characters",
    errno.ELOOP: "a file, not links in a circle",
}


def said(error: OSError) -> str:
    """An error of the operating system in one line: which file, what was expected, what came."""
    if error.errno is None:  # one of a library, in words of its own
        return one_line(error) or type(error).__name__
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    if error.errno not in _EXPECTED:
        return f"{name}expected to be usable, but: {os.strerror(error.errno)}"
    wanted = _EXPECTED[error.errno].format(what="file or folder", length=len(name) - 2)
    return f"{name}expected {wanted} ({os.strerror(error.errno)})"
