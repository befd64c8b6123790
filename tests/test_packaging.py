"""`pip install .` brings `rasca` with all its files; the facade."""

import doctest
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rasca
from rasca import release, version

ROOT = Path(__file__).resolve().parents[1]


def tracked(*folders):
    """Paths of the repository's files, relative to its root; None where that is not known."""
    done = subprocess.run(
        ["git", "ls-files", "--", *folders], capture_output=True, text=True, cwd=ROOT
    )
    return None if done.returncode else done.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the tree: building writes beside its sources."""
    place = tmp_path_factory.mktemp("wheel")
    files = tracked()
    if files is None:
        pytest.skip("no git")
    source = place / "source"
    for name in files:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    name, content = release.wheel(source, place, 1_700_000_000)
    (place / name).write_bytes(content)
    return place / name


def test_wheel_holds_every_file_and_nothing_else(wheel):
    wanted = {
        name
        for name in tracked("boards", "golden", "hw", "rasca", "sim")
        if (ROOT / name).is_file()
    }
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
        assert {one.date_time[:3] for one in file.infolist()} == {(2023, 11, 14)}
    assert found == wanted


def test_clean_environment_has_the_command(wheel, tmp_path):
    """Installed without its dependencies: what needs them says so in a line."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)

    def run(*words):
        command = [tmp_path / "venv" / "bin" / "rasca", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    status, out, _ = run("--help")
    assert status == 0 and "sim " in out and "flash-image " in out
    assert run("--version") == (0, f"rasca {version.version()}\n", "")
    status, out, error = run("report")
    assert (status, out) == (2, "") and error.count("\n") == 1
    assert error.startswith("rasca: expected the package ")
    code = "import rasca; print(rasca.presets.__name__, rasca.__file__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith(f"presets {tmp_path / 'venv'}")


# ---- facade ----


def test_five_lines():
    found = doctest.testmod(rasca, optionflags=doctest.ELLIPSIS)
    assert found.attempted >= 5 and found.failed == 0


def test_facade_imports_nothing_until_it_is_used():
    code = (
        "import sys, rasca; names = set(sys.modules);"
        "assert not names & {'torch', 'numpy', 'amaranth', 'typer', 'golden', 'hw'}, names;"
        "rasca.plan('vww_105x120', '8,1,2'); names = set(sys.modules);"
        "assert not names & {'torch', 'amaranth'}, names"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_facade_refuses_in_words():
    with pytest.raises(ValueError, match="preset must be one of"):
        rasca.plan("vww_1x1")
    with pytest.raises(ValueError, match="three whole numbers"):
        rasca.plan("vww_105x120", "8,1")
    for bad in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="picture must be uint8"):
            rasca.classify("vww_105x120", bad)


def test_facade_knows_untrained_networks_and_early_termination():
    grey = rasca.photograph().mean(axis=2).astype(np.uint8)
    answer = rasca.classify("vww_140x160_full", grey, tau=0.5001, skip=0.4999)
    assert not answer.trained and 1 <= answer.rows_used <= 28
    whole = rasca.classify("vww_105x120", rasca.photograph())
    assert whole.trained and whole.rows_used == 21
    assert whole.label == ("person" if whole.logits[-1, 1] > whole.logits[-1, 0] else "no_person")
