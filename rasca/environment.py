"""Sets up .venv with the versions of requirements.lock, each checked by its hash.

`make` runs it whenever the lock is newer than the stamp that it leaves. Standard library only, and
any Python 3 can run it far enough to be told which ones will do. PyTorch is a step of its own: the
package index may have its build for NVIDIA GPUs only, with several GB of CUDA beside it, which
nothing here needs.
"""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python that are tested."""
LOCK = "requirements.lock"
STAMP = ".venv/.stamp"
TORCH_INDEX = "TORCH_INDEX"
TORCH = "TORCH"
_SHOWN = re.compile(r"\s*(Downloading|Processing|Building wheel|Successfully installed) ?(.*)")


class SetUpError(Exception):
    """Why there is no .venv: what was expected, and what came."""


def supported(version):
    """Whether this version of Python, (major, minor, ...), is one of those tested."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def _name(version):
    return ".".join(map(str, version[:2]))


def version_of(python):
    """(major, minor) of an interpreter, None where it does not run."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(python), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None
    words = done.stdout.split()
    return tuple(map(int, words)) if done.returncode == 0 and len(words) == 2 else None


def check_version(version=sys.version_info):
    """SetUpError for a Python that is not tested."""
    if not supported(version):
        raise SetUpError(
            f"expected Python {_name(OLDEST)} to {_name(NEWEST)} as python3, not {_name(version)}"
        )


def choose_python():
    """The interpreter that makes .venv: this one, or another on PATH if this one will not do."""
    if supported(sys.version_info):
        return sys.executable
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        name = f"python3.{minor}"
        if version_of(name) == (3, minor):
            return name
    check_version()


class Console:
    """Runs pip and shows what it loads."""

    def __init__(self, python):
        self.pip = [str(python), "-m", "pip", "--disable-pip-version-check"]

    def show(self, text):
        print(text, flush=True)

    def install(self, *words):
        """pip install; a line for each file that it loads, with its size."""
        tail = []
        command = [*self.pip, "install", "--progress-bar", "off", *words]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout:
                tail = [*tail[-11:], line.rstrip()]
                found = _SHOWN.match(line)
                if found and found[1] != "Successfully installed":
                    what = found[2].partition(" (from")[0].rpartition("/")[2]
                    self.show(f"  {found[1].lower()} {what}")
        if process.returncode:
            said = [line for line in tail if line.startswith("ERROR")] or tail[-1:]
            raise SetUpError(f"expected pip to install {words[-1]}, but: {' '.join(said)}")

    def report(self, *words):
        """What pip would install: metadata and address of each package."""
        command = [*self.pip, "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--report", "-", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise SetUpError(f"expected pip to find {words[-1]}, but: {' '.join(said)}")
        return json.loads(done.stdout)["install"]

    def installed(self, name):
        """Version of a package in .venv, None if it is not there."""
        code = f"from importlib.metadata import version; print(version({name!r}))"
        done = subprocess.run([self.pip[0], "-c", code], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None


def pinned(root, name):
    """The version of a package that pyproject.toml pins."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(rf'"{name}==([^"]+)"', text)[1]


def for_gpus(found):
    """Whether a wheel of PyTorch is the one that needs CUDA's packages here."""
    needs = found["metadata"].get("requires_dist", [])
    return sys.platform == "linux" and any(re.match(r"(nvidia|cuda)-", one) for one in needs)


def size_of(address):
    """Size of a file on a package index, in words; "" where it does not say."""
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return f"{int(answer.headers['Content-Length']) / 1e6:,.0f} MB"
    except (OSError, TypeError, ValueError):
        return ""


def install_torch(root, console, options):
    """PyTorch, the build for CPUs unless TORCH=cuda asks for the other one.

    Raises
    ------
    SetUpError
        There is none, or only the one for GPUs; the text says what to give.
    """
    version = pinned(root, "torch")
    have = console.installed("torch")
    if have is not None and have.partition("+")[0] == version:
        return
    wanted, index = f"torch=={version}", options.get(TORCH_INDEX)
    kind = options.get(TORCH) or "cpu"
    if kind not in ("cpu", "cuda"):
        raise SetUpError(f"expected TORCH=cpu or TORCH=cuda, not {kind!r}")
    if index:
        console.install("--no-deps", "--index-url", index, wanted)
        return
    (found,) = console.report("--no-deps", wanted)
    if for_gpus(found):
        size = size_of(found["download_info"]["url"])
        if kind != "cuda":
            raise SetUpError(
                f"expected PyTorch {version} for CPUs (200 MB), but this package index has the "
                f"build for NVIDIA GPUs only ({size or 'over 500 MB'}, and several GB of CUDA with "
                f"it): {TORCH_INDEX}=address names an index of CPU builds (PyTorch's installation "
                f"page tells it), {TORCH}=cuda takes this one"
            )
        console.show(f"  PyTorch for NVIDIA GPUs: {size}, and several GB of CUDA packages")
        console.install(wanted)
        return
    console.install("--no-deps", wanted)


def is_fresh(root):
    stamp, lock = root / STAMP, root / LOCK
    return stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime


@contextlib.contextmanager
def alone(folder, show):
    """One set-up at a time; another one waits."""
    number = os.open(str(folder), os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            show("another set-up of .venv is running; waiting for it")
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def set_up(root, options, console=None):
    """Make .venv what the lock says; nothing to do if it is.

    options: TORCH_INDEX and TORCH, where they are given.
    """
    folder = root / ".venv"
    python = folder / "bin" / "python"
    folder.mkdir(exist_ok=True)
    console = console or Console(python)
    with alone(folder, console.show):
        if is_fresh(root):
            return
        if not (folder / "pyvenv.cfg").exists():
            console.show(f"making .venv with Python {_name(sys.version_info)}")
            venv.create(folder, with_pip=True)
        found = version_of(python)
        if found is None or not supported(found):
            came = "none that runs" if found is None else _name(found)
            raise SetUpError(
                f"expected Python {_name(OLDEST)} to {_name(NEWEST)} in .venv, not {came}; "
                "remove the folder"
            )
        lock = root / LOCK
        count = len(re.findall(r"^\w[\w.-]*==", lock.read_text(encoding="utf-8"), re.M))
        console.show(f"installing {count} packages of {LOCK} and PyTorch into .venv")
        install_torch(root, console, options)
        console.install("--no-deps", "--require-hashes", "--requirement", str(lock))
        (root / STAMP).touch()


def given():
    """TORCH_INDEX and TORCH; the variables of make's targets are checked before hours pass."""
    from rasca import make

    values = make.given()
    inherited = int(os.environ.get("MAKELEVEL", "0") or 0) > 1
    make.check(os.environ.get(make.GOALS, "").split(), values, inherited)
    return {name: values.get(name) or os.environ.get(name) for name in (TORCH_INDEX, TORCH)}


def main():
    sys.path.insert(0, str(ROOT))
    try:
        if not supported(sys.version_info):
            python = choose_python()
            os.execvp(python, [python, *sys.argv])
        set_up(ROOT, given())
    except (SetUpError, ValueError, OSError) as error:
        print("rasca: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rasca: stopped; the next make goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
