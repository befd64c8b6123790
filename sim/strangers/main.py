"""`make strangers`: files of strangers, changed by the thousand. See docs/verification.md.

Exit status: 0 each was taken or refused in one line, 1 one was not, 2 input that cannot be used.
"""

import hashlib
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from golden import files
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input
from golden.files import BUILD, ROOT
from sim.session import code_digest

OUTPUT = BUILD / "strangers"
RUNS = "runs.jsonl"
CODE = ("boards", "golden", "sim")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A line of runs.jsonl: files of one kind that were played in a run.

    Attributes
    ----------
    way : str
        ``random`` or ``guided``.
    seconds : float
        Of the processor.
    faults : list of str
        What was neither taken nor refused in one line, each sort once, with the name of its file.
    code : str
        Digest of the code that read them.
    """

    kind: str
    way: str
    seed: int
    seconds: float
    files: int
    taken: int
    refused: int
    faults: list[str]
    code: str


def digest() -> str:
    return hashlib.sha256(code_digest(*CODE).encode()).hexdigest()[:12]


def read(path: Path) -> list[Run]:
    """All runs of a file; a line that was cut off does not count."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(Run(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def add(path: Path, run: Run) -> None:
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write(("" if whole else "\n") + json.dumps(asdict(run)) + "\n")


def chosen(text: str | None, names: list[str]) -> list[str]:
    """Those with the text in their name; all without one."""
    found = [name for name in names if text is None or text in name]
    if not found:
        raise ValueError(f"expected part of {', '.join(names)} as a kind, not {text!r}")
    return found


def least_first(names: list[str], before: list[Run], way: str) -> list[str]:
    """Kinds in the order of the time that they have had: a run that was stopped is gone on with."""
    spent = dict.fromkeys(names, 0.0)
    for run in before:
        if run.way == way and run.kind in spent:
            spent[run.kind] += run.seconds
    return sorted(names, key=spent.__getitem__)


def at_random(names: list[str], seed: int, seconds: float, folder: Path) -> Iterator[dict]:
    """Whole files changed at random, `seconds` of each kind."""
    from sim.strangers.kinds import kinds
    from sim.strangers.play import Tally, changed, play

    with tempfile.TemporaryDirectory() as place:
        known = kinds(Path(place))
        for name in names:
            kind, tally, begun = known[name], Tally(), time.process_time()
            for number in range(seed * 1_000_000, (seed + 1) * 1_000_000):
                data = changed(kind, random.Random(f"{number} {name}"))
                tally.add(
                    lambda kind=kind, name=name, data=data: play(name, kind, data, Path(place)),
                    data,
                    folder / "faults" / name,
                )
                if time.process_time() - begun > seconds:
                    break
            yield {"kind": name, **tally.told(time.process_time() - begun)}


def guided(names: list[str], seed: int, seconds: float, folder: Path) -> Iterator[dict]:
    """Files that Atheris makes, `seconds` of each kind, in a process of their own."""
    command = [sys.executable, "-m", "sim.strangers.guided", str(seed), str(seconds), str(folder)]
    with (folder / "guided.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *names], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
        )
        with process:
            try:
                for line in process.stdout:
                    yield json.loads(line)
            except BaseException:
                process.terminate()
                raise
    if process.returncode:
        raise CommandError(f"Atheris ended with {process.returncode}: see {log.name}", BROKEN)


def check_atheris() -> None:
    """ValueError where it is not installed."""
    if importlib.util.find_spec("atheris") is None:
        raise ValueError(
            "expected the package atheris, which is not there: pip install --require-hashes "
            "--no-deps -r requirements-atheris.lock brings it"
        )


def main(
    minutes: Annotated[float, typer.Option(help="of the processor, for all kinds together")] = 1,
    seed: Annotated[int, typer.Option(help="of the changes", min=0)] = 0,
    kind: Annotated[str | None, typer.Option(help="part of the kinds' names")] = None,
    with_atheris: Annotated[
        bool, typer.Option("--guided", help="files that reach new lines of the readers (Atheris)")
    ] = False,
) -> None:
    """Changes files that a stranger may send and gives them to their readers."""
    console = Console(highlight=False, soft_wrap=True)
    from sim.strangers.kinds import NAMES

    with bad_input():
        if not 0 < minutes < 1e6:
            raise ValueError(f"--minutes must be above 0, not {minutes:g}")
        names = chosen(kind, list(NAMES))
        if with_atheris:
            check_atheris()
        OUTPUT.mkdir(parents=True, exist_ok=True)
        files.check_folder(OUTPUT)
    path, code, way = OUTPUT / RUNS, digest(), "guided" if with_atheris else "random"
    names = least_first(names, read(path), way)
    mine, play = [], guided if with_atheris else at_random
    wide = max(map(len, names))
    console.print(f"{'kind':<{wide}}     files     taken   refused  seconds  faults")
    for found in play(names, seed, 60 * minutes / len(names), OUTPUT):
        run = Run(**found, way=way, seed=seed, code=code)
        add(path, run)
        mine.append(run)
        counts = " ".join(f"{n:>9,}" for n in (run.files, run.taken, run.refused))
        console.print(f"{run.kind:<{wide}} {counts} {run.seconds:>8.1f} {len(run.faults):>7}")
        for text in run.faults:
            console.print(f"{run.kind}: {text}", markup=False)
    console.print(f"this run: {summed(mine)}")
    console.print(f"{path}: {summed(read(path))}")
    if any(run.faults for run in mine):
        raise typer.Exit(DIFFERENT)


def summed(runs: list[Run]) -> str:
    """Sums in words."""
    files, taken, refused = (
        sum(getattr(r, n) for r in runs) for n in ("files", "taken", "refused")
    )
    seconds, faults = sum(run.seconds for run in runs), sum(len(run.faults) for run in runs)
    return (
        f"{files:,} files in {seconds / 60:.1f} minutes: {taken:,} taken, {refused:,} refused, "
        f"{faults} faults"
    )
