"""Files that two runs at once never spoil for each other.

A file is replaced in one step, so that a reader sees the old or the new one whole. A run that makes
many files works in a folder of its own, which takes the place of the last run's at its end. A
command that must work in a fixed folder claims it, and another one there is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = (ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()) / "build"
"""Beside a checkout's sources; where they were installed, in the folder that a command runs in."""
RUNS = ".running"


def write(path: Path, content: str | bytes) -> None:
    """Write a file in one step; text as UTF-8."""
    with writing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def between(page: Path | str, old: str, mark: str, new: str) -> str:
    """The text of a page with `new` between its two marks; `page` is its name in errors.

    Raises
    ------
    ValueError
        It has not got ``<!-- mark:begin -->`` and ``<!-- mark:end -->`` once each, in that order.
    """
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(end) < old.index(begin):
        raise ValueError(
            f"{page}: must hold the lines {begin} and {end} once, not {old.count(begin)} and "
            f"{old.count(end)} times"
        )
    before, rest = old.split(begin)
    return f"{before}{begin}\n{new}\n{end}{rest.partition(end)[2]}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its ending, for what replaces it at the end of the block; of a
    link beside what it points to, which is replaced."""
    path = Path(path)
    target = path.resolve()
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, os.strerror(13), str(path))
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(number)
    part = Path(name)
    try:
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        part.replace(target)
    except OSError as error:  # writing itself does not say to which file
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def is_file(path: Path) -> bool:
    """Whether there is such a file; False, too, of a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_folder(folder: Path) -> None:
    """Whether a folder could be made, or is there, and files in it: before the work, not after it.

    Nothing is left behind, so that a command that is refused later leaves nothing either.

    Raises
    ------
    OSError
        As making it and writing to it would.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    try:
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        error.filename = str(folder)
        raise


def write_all(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write the files of a folder, all of this run's together."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for name, content in contents.items():
            write(folder / name, content)


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Alone among the processes that lock this folder, which must exist.

    Raises
    ------
    BlockingIOError
        Another one has it, and `wait` is False.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(number)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Alone in a folder in which a command works; it is made if it is not there.

    Raises
    ------
    ValueError
        Another run works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise ValueError(
                f"{folder}: expected a folder of this run's own, not one that another run works in"
            ) from None
        yield


@contextlib.contextmanager
def run_folder(last: Path, shown: Sequence[str] = ()) -> Iterator[Path]:
    """A new folder for a run; what is in it at the end replaces the last run's.

    A run that is broken off leaves nothing and touches nothing.

    Parameters
    ----------
    last : path
        The last run's files: each is replaced in one step, and all of them before another run's.
    shown : sequence of str
        Names of files that are copied to the folder above `last`, too.
    """
    runs = last.parent / RUNS
    runs.mkdir(parents=True, exist_ok=True)
    with locked(runs):
        _sweep(runs)
        folder = Path(tempfile.mkdtemp(dir=runs, prefix=f"{last.name}-"))
        own = contextlib.ExitStack()
        own.enter_context(locked(folder, wait=False))
    try:
        with own:
            yield folder
            with locked(last.parent):
                _publish(folder, last)
                for name in shown:
                    write(last.parent / name, (last / name).read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(runs: Path) -> None:
    """Remove what runs left that were killed: nobody holds their folders."""
    for folder in runs.iterdir():
        with contextlib.suppress(OSError), locked(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, last: Path) -> None:
    made = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir()]
    for name in made:
        (last / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(last / name)
    kept = {last / name for name in made}
    for path in sorted(last.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif path not in kept:
            path.unlink()
