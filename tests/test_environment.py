"""The set-up of .venv: from a lock with hashes, PyTorch for CPUs, one at a time."""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from rasca import environment, make
from rasca.environment import SetUpError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / environment.LOCK).read_text()
CPU = {"metadata": {"requires_dist": ["filelock"]}, "download_info": {"url": "file:///torch"}}
GPU = {
    "metadata": {"requires_dist": ["filelock", 'nvidia-cublas==13; platform_system == "Linux"']},
    "download_info": {"url": "file:///none"},
}


def test_lock_holds_every_pin_with_hashes():
    locked = {}
    for entry in re.split(r"^(?=\w)", LOCK, flags=re.M)[1:]:
        name, version = re.match(r"([\w.-]+)==([\w.]+)", entry).groups()
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)) > 0, name
        locked.setdefault(name.lower().replace("_", "-"), set()).add(version)
    for pin in PROJECT["dependencies"]:
        name, version = re.match(r"([\w.-]+)(?:\[.*\])?==(.*)", pin).groups()
        assert locked.get(name) == (None if name == "torch" else {version}), pin
    assert not [name for name in locked if name.startswith(("torch", "nvidia", "cuda", "triton"))]
    assert len(locked) > 70


def test_no_file_names_a_package_index():
    for name in ("pyproject.toml", "requirements.lock", "rasca/environment.py", "Makefile"):
        assert "://" not in (ROOT / name).read_text(), name


def test_versions_of_python():
    low, high = environment.OLDEST, environment.NEWEST
    assert PROJECT["requires-python"] == f">=3.{low[1]},<3.{high[1] + 1}"
    assert environment.supported((3, 11, 2)) and environment.supported(high)
    for version in ((3, 10, 13), (3, high[1] + 1, 0), (2, 7)):
        with pytest.raises(SetUpError, match=rf"to 3\.{high[1]} as python3, not {version[0]}\."):
            environment.check_version(version)
    assert environment.version_of(sys.executable) == sys.version_info[:2]
    assert environment.version_of("no-such-python") is None


class Pip:
    """Stands for pip; notes what is asked of it."""

    def __init__(self, torch=None, found=CPU):
        self.torch, self.found, self.asked, self.shown = torch, found, [], []
        self.started, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def show(self, text):
        self.shown.append(text)

    def install(self, *words):
        self.asked.append(words)
        self.started.set()
        self.go_on.wait(30)

    def report(self, *words):
        return [self.found]

    def installed(self, name):
        return self.torch


@pytest.fixture
def root(tmp_path):
    """A project whose .venv has an interpreter."""
    for name in ("pyproject.toml", environment.LOCK):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("")
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


def test_torch_first_then_the_lock_with_hashes(root):
    pip = Pip()
    environment.set_up(root, {}, pip)
    torch, rest = pip.asked
    assert torch == ("--no-deps", f"torch=={environment.pinned(root, 'torch')}")
    assert "--require-hashes" in rest and "--no-deps" in rest
    assert rest[-1] == str(root / environment.LOCK)
    assert environment.is_fresh(root)
    environment.set_up(root, {}, pip)  # nothing to do
    assert len(pip.asked) == 2
    os.utime(root / environment.STAMP, (0, 0))
    environment.set_up(root, {}, Pip(torch=f"{environment.pinned(root, 'torch')}+cpu"))


def test_torch_for_gpus_is_not_taken_without_being_asked_for(root, monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", "linux")
    pip = Pip(found=GPU)
    with pytest.raises(SetUpError, match=r"for NVIDIA GPUs only \(over 500 MB.*TORCH_INDEX="):
        environment.set_up(root, {}, pip)
    assert pip.asked == [] and not environment.is_fresh(root)
    wanted = f"torch=={environment.pinned(root, 'torch')}"
    environment.install_torch(root, pip, {"TORCH": "cuda"})
    environment.install_torch(root, pip, {"TORCH_INDEX": "file:///index"})
    assert pip.asked == [(wanted,), ("--no-deps", "--index-url", "file:///index", wanted)]
    with pytest.raises(SetUpError, match="expected TORCH=cpu or TORCH=cuda, not 'rocm'"):
        environment.install_torch(root, pip, {"TORCH": "rocm"})


def test_one_set_up_at_a_time(root):
    first, second = Pip(), Pip()
    first.go_on.clear()
    threads = [
        threading.Thread(target=environment.set_up, args=(root, {}, pip)) for pip in (first, second)
    ]
    threads[0].start()
    assert first.started.wait(30)
    threads[1].start()
    while not second.shown:
        pass
    assert second.shown == ["another set-up of .venv is running; waiting for it"]
    first.go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(first.asked) == 2 and second.asked == []


def test_a_venv_of_another_python_is_refused(root):
    (root / ".venv" / "bin" / "python").unlink()
    with pytest.raises(SetUpError, match="in .venv, not none that runs; remove the folder"):
        environment.set_up(root, {}, Pip())


def test_pips_errors_are_one_line(root, tmp_path):
    with pytest.raises(SetUpError, match="expected pip to install nothing-like-it==1, but: ERROR"):
        environment.Console(sys.executable).install("--no-index", "nothing-like-it==1")


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_wrong_variables_are_refused_before_anything_is_loaded(tmp_path):
    for name in ("Makefile", "pyproject.toml", environment.LOCK):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("rasca", "golden"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors")
        )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    path = f"{tmp_path / 'bin'}:{kept['PATH']}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        ["make", "report", "PRESTE=x"], capture_output=True, text=True, cwd=tmp_path,
        env={**kept, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("rasca: ") and "the nearest is PRESET=\n" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_variables_of_the_set_up_are_known_everywhere():
    assert make.check(["sim"], {"TORCH_INDEX": "x", "TORCH": "cpu", "PYTHON": "p"}) == []
