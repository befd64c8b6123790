"""Compiler launcher for Verilator's make file: keeps the objects of the run-time library.

Verilator compiles its own library (``verilated*.cpp``, 10 s and more) anew for each design. The
make file puts ``$(OBJCACHE)`` before each compiler call; this script keeps the objects of that
library in a folder, by digest of the command line, and passes everything else through.
Use: ``python objcache.py CACHE_FOLDER g++ ...``. Standard library only: it must start fast.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    cache, command = Path(arguments[0]), arguments[1:]
    source = Path(command[-1])
    output = Path(command[command.index("-o") + 1]) if "-o" in command else None
    if "-c" not in command or output is None or not source.name.startswith("verilated"):
        return subprocess.run(command, check=False).returncode
    key = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    kept = cache / f"{output.stem}-{key}.o"
    if kept.exists():
        shutil.copyfile(kept, output)
        return 0
    status = subprocess.run(command, check=False).returncode
    if status == 0:
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f".{kept.name}.{os.getpid()}"
        shutil.copyfile(output, partial)
        partial.replace(kept)  # atomic: another process sees the whole file or none
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
