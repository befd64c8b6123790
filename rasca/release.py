"""`make release`: wheel, bitstreams, Verilog kits and their digests, under build/release/<version>.

Of the last commit: a checkout with changes is refused. The same commit, the same bitstreams and the
same tools give the same bytes: every file in an archive has the commit's time (or that of
SOURCE_DATE_EPOCH), no owner, and its place in the order of the names. What is not there is left
out, and said.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from golden import files
from golden.command_line import bad_input
from golden.config import preset
from golden.errors import BROKEN, CommandError
from rasca.version import version

ROOT = files.ROOT
KITS = ("vww_105x120", "vww_140x160", "vww_175x200", "vww_210x240")
"""Networks whose engines, on their usual arrays, are released as Verilog."""
SUMS = "SHA256SUMS"
BITSTREAMS = ("rasca.bit", "rasca.bin")


# ---- archives that are the same twice ----


def packed(folder: str, contents: Mapping[str, bytes], epoch: int) -> bytes:
    """A .tar.gz of a folder: files by their names, the licence and the digests of both."""
    contents = {**contents, "LICENSE": (ROOT / "LICENSE").read_bytes()}
    contents[SUMS] = sums(contents).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(contents.items()):
            one = tarfile.TarInfo(f"{folder}/{name}")
            one.size, one.mtime, one.mode = len(content), epoch, 0o644
            archive.addfile(one, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=epoch)


def repacked(wheel: bytes, epoch: int) -> bytes:
    """A wheel with its files in order, of one time and one mode; their contents stay."""
    made = io.BytesIO()
    date = time.gmtime(max(epoch, 315_532_800))[:6]  # a ZIP begins in 1980
    with zipfile.ZipFile(io.BytesIO(wheel)) as old, zipfile.ZipFile(made, "w") as new:
        # RECORD is last in a wheel
        for name in sorted(old.namelist(), key=lambda name: (name.endswith("/RECORD"), name)):
            one = zipfile.ZipInfo(name, date)
            one.external_attr = 0o100644 << 16
            one.compress_type = zipfile.ZIP_DEFLATED
            one.create_system = 3
            new.writestr(one, old.read(name), compresslevel=9)
    return made.getvalue()


def sums(contents: Mapping[str, bytes]) -> str:
    """What `sha256sum --check` reads."""
    return "".join(f"{digest(content)}  {name}\n" for name, content in sorted(contents.items()))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- what is in a release ----


def git(*words: str) -> bytes:
    """What git prints.

    Raises
    ------
    ValueError
        There is no git, or this is no checkout.
    """
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True)
    except FileNotFoundError:
        raise ValueError("expected git, which is not on PATH") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise ValueError(f"expected a git checkout with a commit, not {ROOT}: {said}")
    return done.stdout


def wheel(source: Path, place: Path, epoch: int) -> tuple[str, bytes]:
    """Name and bytes of the wheel of a source tree, which building writes into.

    Raises
    ------
    RuntimeError
        pip's last lines, if it fails.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(place), str(source)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"expected pip to build a wheel, but: {done.stderr[-2000:].strip()}")
    (found,) = place.glob("*.whl")
    return found.name, repacked(found.read_bytes(), epoch)


def wheel_of_commit(epoch: int) -> tuple[str, bytes]:
    """The same of the last commit."""
    with tempfile.TemporaryDirectory(prefix="rasca-release-") as name:
        source = Path(name) / "source"
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as tree:
            tree.extractall(source, filter="data")
        return wheel(source, Path(name), epoch)


def bitstreams(build: Path, results: Path) -> tuple[dict[str, bytes], list[str]]:
    """Files of the bitstreams that were built, by their names in the archive, and lines about the
    ones of which only the figures are kept.

    Parameters
    ----------
    build : path
        Where `make bitstream` writes, <board>/<preset>/.
    results : path
        The kept figures, bitstream_<board>_<preset>.json.
    """
    contents, missing = {}, []
    kept = {
        path.stem.removeprefix("bitstream_"): path
        for path in sorted(results.glob("bitstream_*.json"))
    }
    for summary in sorted(build.glob("*/*/summary.json")):
        folder = summary.parent
        found = [folder / name for name in BITSTREAMS if (folder / name).is_file()]
        key = f"{folder.parent.name}_{folder.name}"
        if not found:
            continue
        for path in (summary, *found):
            contents[f"{folder.parent.name}/{folder.name}/{path.name}"] = path.read_bytes()
        figures = json.loads(summary.read_text(encoding="utf-8"))
        if not figures.get("timing_met", True):
            missing.append(f"bitstream {key}: its timing is not met")
        if key in kept and _clock(figures) != _clock(json.loads(kept.pop(key).read_text())):
            missing.append(f"bitstream {key}: it is not the build that docs/results.md tells of")
        kept.pop(key, None)
    for key in kept:
        board, _, name = key.partition("_")
        missing.append(
            f"bitstream {key}: not built here; make bitstream BOARD={board} PRESET={name}"
        )
    return contents, missing


def _clock(figures: Mapping[str, Any]) -> tuple:
    return figures.get("shape"), figures.get("clock_mhz"), figures.get("lut")


def verilog(name: str) -> tuple[str, dict[str, bytes]]:
    """Folder of an engine's archive and its files: Verilog, weights, kit, as `make verilog` makes
    them.

    Parameters
    ----------
    name : str
        A preset, or a network's file.
    """
    from hw.generate import main as generate

    model = preset(name)
    with tempfile.TemporaryDirectory(prefix="rasca-release-") as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            generate(preset_name=name, folder=Path(folder))
        made = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    return f"rasca-{version()}-verilog-{model.name}", made


def manifest(commit: str, epoch: int, made: Mapping[str, bytes], missing: Sequence[str]) -> str:
    """release.json."""
    content = {
        "version": version(),
        "commit": commit,
        "epoch": epoch,
        "files": [
            {"name": name, "bytes": len(content), "sha256": digest(content)}
            for name, content in sorted(made.items())
        ],
        "missing": list(missing),
    }
    return json.dumps(content, indent=1) + "\n"


def main(
    presets: Annotated[
        list[str] | None, typer.Option("--preset", help="network whose engine is released")
    ] = None,
    build: Annotated[Path, typer.Option(help="where make bitstream writes")] = Path(
        "build/bitstream"
    ),
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/release"),
) -> None:
    """Builds wheel, bitstreams' archive and Verilog kits of the last commit, with digests."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        names = presets or list(KITS)
        for name in names:
            preset(name)
        files.check_folder(folder)
        commit = git("rev-parse", "HEAD").decode().strip()
        told = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct").decode()
        if not told.strip().isdecimal():
            raise ValueError(f"expected seconds in SOURCE_DATE_EPOCH, not {told!r}")
        epoch = int(told)
        changed = git("status", "--porcelain", "--untracked-files=no").decode().split("\n")[0]
        if changed:
            raise ValueError(f"expected every change committed, not a changed {changed[3:]}")
    made: dict[str, bytes] = {}
    try:
        with console.status("wheel"):
            name, content = wheel_of_commit(epoch)
            made[name] = content
    except RuntimeError as error:
        raise CommandError(" ".join(str(error).split()), BROKEN) from None
    with bad_input():
        found, missing = bitstreams(build, ROOT / "docs" / "results")
    if found:
        name = f"rasca-{version()}-bitstreams"
        made[f"{name}.tar.gz"] = packed(name, found, epoch)
    else:
        missing.insert(0, f"no bitstream in {build}")
    for one in names:
        name, contents = verilog(one)
        made[f"{name}.tar.gz"] = packed(name, contents, epoch)
    made["release.json"] = manifest(commit, epoch, made, missing).encode()
    made[SUMS] = sums(made).encode()
    with bad_input(), files.run_folder(folder / version()) as place:
        for name, content in made.items():
            (place / name).write_bytes(content)
    for name, content in sorted(made.items()):
        console.print(f"{digest(content)[:12]}  {len(content):>11,}  {name}")
    for line in missing:
        console.print(f"missing: {line}")
    console.print(f"{folder / version()}: {len(made)} files")
