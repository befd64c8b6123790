"""Runs at the same time never spoil each other's files."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from golden import files
from golden.config import preset
from golden.errors import CommandError, bad_input
from golden.quantise import default_weights

ROOT = Path(__file__).resolve().parents[1]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    files.write(path, "old")
    assert path.stat().st_mode & 0o777 == 0o666 & ~_mask()
    with pytest.raises(ZeroDivisionError), files.writing(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    path.chmod(0o600)
    files.write(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link"
    link.symlink_to(path)
    files.write(link, "through")
    assert link.is_symlink() and path.read_text() == "through"
    # beside what the link points to: what is on another disk cannot be moved there in one step
    (tmp_path / "far").mkdir()
    link.unlink()
    link.symlink_to(tmp_path / "far" / "b.json")
    with files.writing(link) as part:
        assert part.parent == tmp_path / "far"
    assert link.is_symlink() and (tmp_path / "far" / "b.json").is_file()


@pytest.mark.parametrize("name", ["made", "to/be/made", "."])
def test_a_folder_is_checked_and_not_made(name, tmp_path):
    files.check_folder(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, wrong",
    [("file", "on the way"), ("file/in", "on the way"), ("a" * 300, "a shorter name")],
)
def test_a_folder_that_cannot_be(name, wrong, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=rf"{name}: expected .*{wrong}"), bad_input():
        files.check_folder(tmp_path / name)


def test_a_folder_that_is_read_only(monkeypatch, tmp_path):
    def refused(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "somewhere")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refused)
    with pytest.raises(CommandError, match=f"{tmp_path}/no: expected .* not a read-only disk"):
        with bad_input():
            files.check_folder(tmp_path / "no")


def _mask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_readers_and_writers_at_once(tmp_path):
    """Two writers of many files, a reader: never half a file, never a mixture at the end."""
    contents = [{name: word * 20000 for name in "abcd"} for word in ("x", "y")]
    files.write_all(tmp_path / "out", contents[0])
    wrong = []

    def work(content):
        for _ in range(20):
            files.write_all(tmp_path / "out", content)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        text = (tmp_path / "out" / "a").read_text()
        wrong += [] if len(text) == 20000 and len(set(text)) == 1 else [text]
    assert not wrong
    found = {(tmp_path / "out" / name).read_text()[0] for name in "abcd"}
    assert len(found) == 1 and len(list((tmp_path / "out").iterdir())) == 4


def test_a_claimed_folder_refuses_another_run(tmp_path):
    place = tmp_path / "build" / "x"
    with files.claimed(place):
        with pytest.raises(ValueError, match="not one that another run works in"):
            with files.claimed(place):
                raise AssertionError
    with files.claimed(place):
        pass
    assert list(place.iterdir()) == []


def test_a_run_takes_the_place_of_the_last_one(tmp_path):
    last = tmp_path / "preset" / "3,1,1"
    with files.run_folder(last, shown=("summary.json",)) as folder:
        (folder / "logs").mkdir()
        (folder / "logs" / "old.log").write_text("")
        (folder / "summary.json").write_text("1")
        assert not last.exists()
    with pytest.raises(KeyboardInterrupt), files.run_folder(last) as folder:
        (folder / "summary.json").write_text("broken off")
        raise KeyboardInterrupt
    assert (last / "summary.json").read_text() == (last.parent / "summary.json").read_text() == "1"
    with files.run_folder(last, shown=("summary.json",)) as folder:
        (folder / "summary.json").write_text("2")
        (folder / "waves.vcd").write_text("")
    assert sorted(path.name for path in last.iterdir()) == ["summary.json", "waves.vcd"]
    assert (last.parent / "summary.json").read_text() == "2"
    assert list((last.parent / files.RUNS).iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path):
    last = tmp_path / "a"
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path;"
        "from golden import files;"
        f"stack = files.run_folder(Path({str(last)!r})); stack.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    runs = tmp_path / files.RUNS
    assert len(list(runs.iterdir())) == 1
    with files.run_folder(last) as other:
        assert list(runs.iterdir()) == [other]
        with files.run_folder(last) as third:  # a live one is left alone
            assert sorted(runs.iterdir()) == sorted([other, third])


TINY = """
image_height = 10
image_width = 32
heads = 1
head_channels = [2, 2, 2, 2]
state_channels = 2
"""


def test_four_simulations_in_one_tree(tmp_path):
    """Same network and shape, one picture each; one of a fifth is stopped while they run."""
    import numpy as np
    from PIL import Image

    (tmp_path / "tiny.toml").write_text(TINY)
    weights = default_weights(preset(tmp_path / "tiny.toml"))
    replace(weights, untrained=False).save(tmp_path / "w.safetensors")  # else each run warns
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    code = (
        "import sys; from pathlib import Path; from sim import main, runner;"
        f"main.OUTPUT = Path({str(tmp_path / 'sim')!r});"
        "from rasca.__main__ import run; sys.exit(run(sys.argv[1:]))"
    )
    words = ["sim", "--preset", str(tmp_path / "tiny.toml"), "--shape", "3,1,1"]
    words += ["--weights", str(tmp_path / "w.safetensors")]

    def start(image, frames="2"):
        more = ["--image", str(tmp_path / f"{image}.png"), "--frames", frames]
        return subprocess.Popen(
            [sys.executable, "-c", code, *words, *more], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            # tests that run in the background may have it ignored, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    started = [start(image) for image in range(4)]
    stopped = start(0, "4000")
    out = ""
    while "frame" not in out and stopped.poll() is None:
        out += stopped.stdout.readline()
    time.sleep(0.5)
    os.kill(stopped.pid, signal.SIGINT)
    out, error = stopped.communicate(timeout=500)
    assert stopped.returncode == 130 and error == "rasca: stopped\n", error
    for process in started:
        out, error = process.communicate(timeout=500)
        assert process.returncode == 0 and error == "", (out, error)
        assert "first difference" not in out
    place = tmp_path / "sim" / "tiny"
    summary = json.loads((place / "3,1,1" / "summary.json").read_text())
    assert json.loads((place / "summary.json").read_text()) == summary
    assert summary["first_difference"] is None and summary["image"] in {
        f"{i}.png" for i in range(4)
    }
    assert list((place / files.RUNS).iterdir()) == []
