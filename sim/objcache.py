"""Compiler launcher for Verilator's make file: keeps what is the same in every design.

The make file puts ``$(OBJCACHE)`` before each compiler call. Kept in a folder, by digest of the
command line and of what it reads that may change:

- objects of the run-time library (``verilated*.cpp``, 10 s and more) and of cocotb's main program
  (``verilator.cpp``), which knows a design by the header of its top only;
- the library's headers, compiled, for designs of one file.

Everything else is passed through. Use: ``python objcache.py CACHE_FOLDER g++ ...``. Standard
library only: it must start fast.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HEADERS = ("verilated.h", "verilated_dpi.h")
"""What a design's own header includes first."""


def main(arguments: list[str]) -> int:
    cache, command = Path(arguments[0]), arguments[1:]
    source = Path(command[-1])
    output = Path(command[command.index("-o") + 1]) if "-o" in command else None
    if "-c" not in command or output is None:
        return run(command)
    if source.name.endswith("__ALL.cpp"):
        headers = compiled_headers(cache, command)
        return run([*command[:-1], "-include", str(headers), str(source)] if headers else command)
    if not source.name.startswith(("verilated", "verilator")):
        return run(command)
    design = [Path("Vtop.h")] if source.name == "verilator.cpp" else []
    kept = cache / f"{output.stem}-{digest(command, source, *design)}.o"
    if kept.exists():
        shutil.copyfile(kept, output)
        return 0
    status = run(command)
    if status == 0:
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{kept.name}.{os.getpid()}"
        shutil.copyfile(output, partial)
        partial.replace(kept)  # atomic: another process sees the whole file or none
    return status


def run(command: list[str]) -> int:
    return subprocess.run(command, check=False).returncode


def digest(command: list[str], *files: Path) -> str:
    """Of a command line, and of files that it reads."""
    sha = hashlib.sha256("\0".join(command).encode())
    for file in files:
        sha.update(file.read_bytes())
    return sha.hexdigest()[:16]


def compiled_headers(cache: Path, command: list[str]) -> Path | None:
    """The library's headers, compiled with a command's flags; None where they are not to be had.

    The compiler looks for ``x.h.gch`` where ``x.h`` is included, and takes it if its own version
    and flags made it.
    """
    places = [Path(word[2:]) for word in command if word.startswith("-I")]
    found = [next((p / name for p in places if (p / name).exists()), None) for name in HEADERS]
    if None in found:
        return None
    at = command.index("-o")
    flags = [w for w in (*command[1:at], *command[at + 2 : -1]) if w not in ("-c", "-MMD", "-I.")]
    kept = cache / f"headers-{digest([command[0], *flags], *found)}"
    header = kept / "headers.h"
    if kept.exists():
        return header
    partial = cache / f".{kept.name}.{os.getpid()}"
    partial.mkdir(parents=True)
    text = partial / header.name
    text.write_text("".join(f'#include "{name}"\n' for name in HEADERS))
    made = run([command[0], *flags, "-x", "c++-header", "-o", f"{text}.gch", str(text)]) == 0
    if made:
        with contextlib.suppress(OSError):  # another process was first
            partial.rename(kept)
    shutil.rmtree(partial, ignore_errors=True)
    return header if kept.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
