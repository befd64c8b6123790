"""Sets up .venv with the pinned dependencies of pyproject.toml. Standard library only.

`make` runs it whenever pyproject.toml is newer than the stamp that it leaves.
"""

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".venv/.stamp"


def main() -> int:
    folder = ROOT / ".venv"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = folder / "bin" / "python"
    if not python.exists():
        print("making .venv", flush=True)
        venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    print("installing the dependencies of pyproject.toml into .venv", flush=True)
    status = subprocess.run([*command, *project["dependencies"]], check=False).returncode
    if status == 0:
        (ROOT / STAMP).touch()
    return status


if __name__ == "__main__":
    sys.exit(main())
