"""Ablations on tiny data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golden.ablation import KINDS, part_of, run, variants
from golden.config import preset
from golden.train import resized
from tests.command import invoke
from tests.test_train import CONFIG, OPTIONS, made

NAMES = {
    "heads": ["1 head", "2 heads", "3 heads"],
    "loss": ["none", "trivial", "proposed"],
    "attention": ["none", "channel", "spatial", "both"],
    "boxes": ["proposed", "boxes"],
    "pictures": ["a quarter", "a half", "all"],
    "epochs": ["a quarter", "a half", "all"],
}
CURVES = ("pictures", "epochs")


@pytest.mark.parametrize("kind", KINDS)
def test_table(kind, tmp_path):
    options, told = replace(OPTIONS, epochs=1), []
    rows = run(kind, CONFIG, made(), options, tmp_path, seeds=2, tell=told.append)
    assert len(told) == 2 * sum(row["epochs"] for row in rows)
    assert [row["variant"] for row in rows] == NAMES[kind]
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    lines = (tmp_path / "table.md").read_text().splitlines()
    bars = 8 if kind in CURVES else 7
    assert len(lines) == 2 + len(rows) and all(line.count("|") == bars for line in lines)
    for row in rows:  # the mean of both runs, which are not the same one
        place = tmp_path / row["variant"].replace(" ", "_")
        logs = [Path(f"{place}_{seed}/log.jsonl").read_text().splitlines() for seed in (0, 1)]
        runs = [json.loads(log[-1]) for log in logs]
        assert runs[0]["loss"] != runs[1]["loss"]
        found = [one["validation"]["all"]["balanced"] for one in runs]
        assert row["balanced"] == pytest.approx(sum(found) / 2)
        assert row["balanced_range"] == [min(found), max(found)]
    sizes = [row["parameters"] for row in rows]
    same = kind not in ("heads", "attention")
    assert sizes == sorted(sizes) and (len(set(sizes)) == 1) == same
    if kind == "pictures":  # as many draws of fewer pictures
        used = [row["trained_on"] for row in rows]
        assert used == [12, 24, 48] and [row["epochs"] for row in rows] == [4, 2, 1]
    else:
        assert {row["trained_on"] for row in rows} == {48}


def test_epochs_of_a_curve():
    """Each one with a schedule of its own; none has less than an epoch."""
    found = variants("epochs", CONFIG)
    assert [8 // one.rounds for one in found.values()] == [2, 4, 8]
    assert {one.pictures for one in found.values()} == {1}


def test_parts_of_the_pictures():
    """By cell, a quarter within the half; the validation part stays whole."""
    data = made()
    whole, half, quarter = (part_of(data, share) for share in (1, 2, 4))
    assert whole is data
    names = [{s.path.name for s in part.samples} for part in (quarter, half, whole)]
    assert names[0] < names[1] < names[2]
    for part in (quarter, half):
        assert int(part.held_out.sum()) == int(data.held_out.sum())
        cells = {
            (s.origin, s.label)
            for s, out in zip(part.samples, part.held_out.tolist(), strict=True)
            if not out
        }
        assert len(cells) == 4
        place = [s.path.name for s in data.samples].index(part.samples[-1].path.name)
        assert (part.exact[-1] == data.exact[place]).all()
        assert (part.larger[-1] == data.larger[place]).all()


def test_heads_at_the_large_preset_are_the_presets():
    config = preset("vww_210x240")
    found = variants("heads", config)
    assert found["1 head"][0] == preset("vww_210x240_h1")
    assert found["2 heads"][0].digest == config.digest
    assert found["3 heads"][0] == preset("vww_210x240_h3")


def test_other_kind():
    with pytest.raises(
        ValueError,
        match="must be one of heads, loss, attention, boxes, pictures, epochs, not 'size'",
    ):
        variants("size", CONFIG)


@pytest.fixture
def pictures(tmp_path):
    """48 pictures that are light (a person, say) or dark, with a labels file."""
    rows = ["file,label"]
    for index in range(48):
        noise = np.random.default_rng(index).integers(0, 140, (30, 40, 3)) + 90 * (index % 2)
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{index % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def command(*words):
    return invoke("ablation", *words)


def test_command_on_a_folder_of_pictures(pictures, monkeypatch):
    """Any data, any size: also one that no preset has."""
    monkeypatch.chdir(pictures)
    result = command("loss", "--data", ".", "--size", "20x32", "--epochs", 1, "--batch", 8)
    assert result.exit_code == 0, result.output
    found = json.loads(Path("build/train/ablation/loss/table.json").read_text())
    assert [row["variant"] for row in found] == NAMES["loss"]
    assert found[0]["array_macs"] == resized(preset("vww_105x120"), "20x32").array_macs_frame
    assert "| proposed |" in result.stdout


@pytest.mark.parametrize(
    "words, text",
    [
        (
            ("size", "--data", "."),
            "must be one of heads, loss, attention, boxes, pictures, epochs, not 'size'",
        ),
        (("loss", "--data", "none"), "none: no such folder"),
        (("loss", "--data", ".", "--size", "20"), "size must be HEIGHTxWIDTH, not '20'"),
        (("loss", "--data", ".", "--size", "2x32"), "image_height"),
        (("loss", "--data", ".", "--seeds", "0"), "seeds must be at least 1, not 0"),
        (("loss", "--data", ".", "--held-out", "0"), "the validation part is empty"),
        (("boxes", "--data", "."), "expected person boxes for the ablation boxes, not none"),
    ],
)
def test_bad_input_is_one_line(words, text, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    result = command(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_a_network_of_three_classes(tmp_path, monkeypatch):
    """Its classes are those of the labels; person boxes are not of them."""
    monkeypatch.chdir(tmp_path)
    fields = dict(
        image_height=20, image_width=32, heads=1, head_channels=[2, 3, 4, 5], state_channels=4
    )
    classes = ["nothing", "circle", "triangle"]
    Path("three.json").write_text(json.dumps(dict(fields, classes=classes)))
    for index in range(48):
        path = Path("data") / classes[index % 3] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 70, (30, 40, 3)) + 90 * (index % 3)
        Image.fromarray(noise.astype(np.uint8)).save(path)
    words = ("--data", "data", "--preset", "three.json", "--epochs", 1, "--batch", 8)
    result = command("loss", *words)
    assert result.exit_code == 0, result.output
    found = json.loads(Path("build/train/ablation/loss/table.json").read_text())
    assert [row["variant"] for row in found] == NAMES["loss"]
    result = command("boxes", *words)
    assert result.exit_code == 2
    assert "the ablation boxes is for no_person, person, not for nothing, circle" in result.stderr
