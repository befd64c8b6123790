"""Files that Atheris makes: it keeps those by which a reader runs lines that it had not run yet.

    python -m sim.strangers.guided SEED SECONDS FOLDER NAME...

A process of its own, since readers are imported with Atheris' counters in them. It forks for each
kind, so that a crash or a hang costs one, and prints a line of JSON for it: `sim.strangers.main`.
FOLDER keeps what was found, and another run goes on with it.
"""

import importlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import atheris
import torch

HANG = 600
"""Seconds on the clock for one file; the processor may be another's most of the time."""
ROOM = 8 << 30
"""Bytes that a reader may ask for at all."""

# torch itself is too large for counters, but for its reader of pickles
with atheris.instrument_imports(include=["golden", "boards", "sim", "yaml", "tomllib", "PIL"]):
    from sim.strangers.kinds import kinds
    from sim.strangers.play import Tally, play
with atheris.instrument_imports(include=["torch"]):
    importlib.reload(torch._weights_only_unpickler)


def _fuzz(name: str, seed: int, seconds: float, folder: Path, work: Path) -> None:
    """Plays files of one kind, and ends the process."""
    kind, corpus = kinds(work)[name], folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, whole in enumerate(kind.whole):
        (corpus / f"whole{number}").write_bytes(whole)
    words = work / "words"
    texts = ("".join(f"\\x{byte:02x}" for byte in word) for word in kind.words)
    words.write_text("".join(f'"{text}"\n' for text in texts))
    tally, told, begun = Tally(), work / "tally", time.process_time()

    def one(data: bytes) -> None:
        tally.add(lambda: play(name, kind, data, work), data, folder / "faults" / name)
        spent = time.process_time() - begun
        if spent > seconds or tally.files % 1000 == 0:
            told.write_text(json.dumps(tally.told(spent)))
        if spent > seconds:
            os._exit(0)

    resource.setrlimit(resource.RLIMIT_DATA, (ROOM, ROOM))
    log = os.open(work / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = [f"-seed={seed + 1}", f"-timeout={HANG}", "-rss_limit_mb=0", "-max_len=8192"]
    options += [f"-dict={words}", f"-artifact_prefix={work}/", "-close_fd_mask=0", str(corpus)]
    atheris.Setup(["strangers", *options], one)
    atheris.Fuzz()


def main() -> None:
    seed, seconds, folder = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    for name in sys.argv[4:]:
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            child = os.fork()
            if not child:
                try:
                    _fuzz(name, seed, seconds, folder, work)
                finally:
                    os._exit(1)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            told = work / "tally"
            found = json.loads(told.read_text()) if told.exists() else Tally().told(0.0)
            if status:
                last, kept = work / name, folder / "faults" / name
                kept.mkdir(parents=True, exist_ok=True)
                if last.exists():
                    (kept / f"ended{seed}").write_bytes(last.read_bytes())
                log = (work / "log").read_text(errors="replace") if (work / "log").exists() else ""
                end = " ".join(log.split()[-60:])
                found["faults"].append(f"{name}: the process ended with {status}: {end}")
            print(json.dumps({"kind": name, **found}), flush=True)


if __name__ == "__main__":
    main()
