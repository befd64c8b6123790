"""A training's files: a full disk, a kill between two of them, a run that is gone on with."""

import contextlib
import errno
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden import data as data_module
from golden import quantised_training, train
from golden.data import read_pictures
from golden.errors import CommandError, bad_input
from golden.quantised_training import finish
from golden.train import draw_curves, fit, initial_model, read_cells
from golden.training_run import save_checkpoint
from golden.weights import Weights
from tests.command import refused
from tests.test_train import CONFIG, OPTIONS, made
from tests.test_train import pictures as pictures  # a fixture


@contextlib.contextmanager
def room(count):
    """Files of so many bytes at most, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_finds_no_room(tmp_path):
    """One line with its name, nothing left of it, and the one before it as it was."""
    last, model = tmp_path / "last.pt", initial_model(CONFIG, 0.0, 0)
    save_checkpoint(last, model, epoch=1)
    before = last.read_bytes()
    with pytest.raises(CommandError, match=r"last.pt: expected room to write"), bad_input():
        with room(len(before) // 2):
            save_checkpoint(last, model, epoch=2)
    assert last.read_bytes() == before and list(tmp_path.iterdir()) == [last]


def test_pictures_that_find_no_room(pictures):
    """The file is written, not mapped: a map on a full disk ends the process by a signal."""
    samples, cache = data_module.load_any(pictures / "data"), pictures / "cache"
    with pytest.raises(OSError) as error, room(20_000):
        read_pictures(samples, CONFIG, cache)
    assert error.value.errno == errno.EFBIG and Path(error.value.filename).suffix == ".npy"
    assert list(cache.iterdir()) == []
    assert torch.equal(read_pictures(samples, CONFIG, cache), read_pictures(samples, CONFIG))


def rows(log):
    return [json.loads(line)["epoch"] for line in log.read_text().splitlines()]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_killed_while_it_wrote(lost, tmp_path):
    """The log is of what the checkpoint knows: a row beyond it, or half a one, is made again."""
    options, log = replace(OPTIONS, epochs=3), tmp_path / "log.jsonl"
    list(fit(CONFIG, made(), options, tmp_path, stop_after=2))
    text = log.read_text()
    row = text.splitlines()[1]
    log.write_text(
        text + row.replace('"epoch": 2', '"epoch": 3') + "\n" if lost else text + row[:50]
    )
    list(fit(CONFIG, made(), options, tmp_path, resume=tmp_path / "last.pt"))
    assert rows(log) == [1, 2, 3] and log.read_text().startswith(text)
    draw_curves(log, tmp_path / "curves.png", "tiny")


def test_a_quantised_run_killed_while_it_wrote(tmp_path):
    data, log = made(), tmp_path / "quantised_log.jsonl"
    list(fit(CONFIG, data, replace(OPTIONS, epochs=1), tmp_path))
    run = finish(CONFIG, data, tmp_path, 2, batch=8, steps=1)
    next(run)
    run.close()
    log.write_text(log.read_text() + '{"epoch": 2, "lo')
    last = tmp_path / "quantised_last.pt"
    list(finish(CONFIG, data, tmp_path, 2, batch=8, steps=1, resume=last))
    assert rows(log) == [1, 2]


def test_old_integers_stay_until_the_new_ones_are_there(tmp_path, monkeypatch):
    data, path = made(), tmp_path / "weights.safetensors"
    list(fit(CONFIG, data, replace(OPTIONS, epochs=1), tmp_path))
    train._quantise(CONFIG, data, tmp_path)
    old = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Weights, "save", full)
    with pytest.raises(OSError):
        train._quantise(CONFIG, data, tmp_path)
    with pytest.raises(OSError):
        list(finish(CONFIG, data, tmp_path, 1, batch=8, steps=1))
    assert path.read_bytes() == old


def test_cells_must_stay_when_resuming(tmp_path):
    """They are the sampling: other ones give another network than the unbroken run."""
    data, cells = made(), {"a": [1.0, 1.0]}
    options = replace(OPTIONS, epochs=2)
    list(fit(CONFIG, data, options, tmp_path, stop_after=1, cells=cells))
    last = tmp_path / "last.pt"
    for other, said in (({"a": [1.0, 2.0]}, r"\{'a': \[1.0, 2.0\]\}"), (None, "None")):
        with pytest.raises(ValueError, match=rf"cells was {{'a': \[1.0, 1.0\]}} .*, not {said}"):
            next(fit(CONFIG, data, options, tmp_path / "x", resume=last, cells=other))
    again = fit(CONFIG, data, options, tmp_path, resume=last, cells=cells)
    assert next(again).epoch == 2
    older = torch.load(last, weights_only=True)  # of before they were kept
    del older["options"]["cells"]
    torch.save(older, tmp_path / "older.pt")
    list(fit(CONFIG, data, replace(options, epochs=2), tmp_path, resume=tmp_path / "older.pt"))


@pytest.mark.parametrize(
    "text", ['{"a": "12"}', '{"a": [1, 1, 5]}', '{"a": [-1, 1]}', '{"a": [NaN, 1]}',
             '{"a": [Infinity, 1]}', '{"a": [true, 1]}', '{"a": ["3", 1]}'],
)  # fmt: skip
def test_masses_are_numbers_of_every_label(text, tmp_path):
    """What is no mass was taken for one, or ended in a traceback when the first batch was drawn."""
    path = tmp_path / "cells.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="cells.json: not a table of origin to two masses"):
        read_cells(path)


def test_quantised_batches_are_checked_before_the_float_training(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    monkeypatch.setattr(train, "processes", lambda: (0, 3))
    words = ("--data", "data", "--epochs", 1, "--batch", 9, "-o", "out", "--quantised-epochs", 1)
    line = refused("train", *words)
    wanted = f"a multiple of 3 processes, not {quantised_training.BATCH}"
    assert wanted in line and not (pictures / "out").exists()


def test_an_origin_is_no_formula(tmp_path):
    """Two dollar signs in an origin ended the training after its first epoch."""
    part = dict(images=200, accuracy=0.5, label0=0.5, label1=0.5, balanced=0.5)
    row = dict(epoch=1, loss=0.7, classification=0.6, confidence=2.0, accuracy=0.5)
    row["validation"] = {"all": part, "a$_$b": part}
    (tmp_path / "log.jsonl").write_text(json.dumps(row) + "\n")
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png", "tiny")
