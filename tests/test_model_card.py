"""The table of a model card, by hand and by command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from golden.config import PRESETS
from golden.evaluate import Answers
from golden.float_model import calibrated_model
from golden.images import calibration_images
from golden.model_card import roc_area, rows, table
from golden.quantise import quantise
from golden.weights import EarlyTermination, Weights
from tests.command import invoke

ROOT = Path(__file__).resolve().parents[1]

CONFIG = PRESETS["vww_105x120"]


def said(*differences):
    logits = np.array([[0.0, value] for value in differences])
    return Answers(logits, np.full(len(logits), 21), (logits[:, 1] > 0).astype(np.int64))


def test_area_under_roc():
    differences, labels = np.array([3.0, 1.0, 2.0, 1.0, 0.0]), np.array([1, 1, 0, 0, 0])
    # pairs: 3 is above all three; 1 is below 2, equal to 1, above 0
    assert roc_area(differences, labels == 1) == pytest.approx((3 + 0 + 0.5 + 1) / 6)
    assert roc_area(differences, np.ones(5, dtype=bool)) is None


def test_rows_by_hand():
    labels, origins = [1, 0, 1, 0, 1], ["b", "b", "b", "b", "a"]
    found = rows(origins, said(1, -1, -1, 1, 1), said(1, -1, 1, 1, -1), labels)
    assert [one["origin"] for one in found] == ["b", "a", "all"]
    b, a, whole = found
    assert b["images"] == [2, 2] and b["float"] == 0.5 and b["integer"] == 0.75
    assert b["of_label"] == [0.5, 1.0] and b["balanced"] == 0.75 and b["same"] == 0.75
    assert a["of_label"] == [None, 0.0] and a["roc_area"] is None and a["balanced"] == 0
    assert whole["integer"] == pytest.approx(0.6) and whole["images"] == [2, 3]
    assert "| a | 0 / 1 | 100.0 | 0.0 | - / 0.0 | 0.0 | 0.0 | - |" in table(found)


@pytest.fixture
def data(tmp_path):
    images = calibration_images(CONFIG)[:8]
    lines = ["file,label,origin"]
    for index, pixels in enumerate(images):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{index % 2},{'ab'[index // 4]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    model = calibrated_model(CONFIG, images).float()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pt")
    quantise(model, images).save(tmp_path / "w.safetensors")
    return tmp_path


def run(data, *words):
    given = ["--preset", CONFIG.name, "--images", data, "--labels", data / "labels.csv"]
    given += ["--checkpoint", data / "a.pt", "--weights", data / "w.safetensors", *words]
    return invoke("card", *given)


def test_command(data):
    page = data / "card.md"
    page.write_text("# Card\n<!-- accuracy:begin -->\nold\n<!-- accuracy:end -->\nend\n")
    result = run(data, "--page", page, "--json", data / "out.json")
    assert result.exit_code == 0, result.output
    found = json.loads((data / "out.json").read_text())
    assert [one["origin"] for one in found["rows"]] == ["a", "b", "all"]
    text = page.read_text()
    assert found["weights_digest"][:12] in text and "old" not in text and text.endswith("end\n")
    assert result.stdout.strip() in text and text.count("\n| ") == 4


def test_thresholds_are_printed_with_the_table(data):
    weights = Weights.load(data / "w.safetensors", CONFIG)
    assert "Early termination" not in run(data).stdout
    early = EarlyTermination(tau=0.9, skip=None, images=8, accuracy=0.5, change=0, macs_saved=0.1)
    replace(weights, early=early).save(data / "w.safetensors")
    assert f"\n\nEarly termination by default: {early}.\n" in run(data).stdout


@pytest.mark.parametrize(
    "words, text",
    [
        (("--page", "none.md"), "none.md: must hold the lines <!-- accuracy:begin -->"),
        (("--json", "none/out.json"), "expected an existing folder to write it to, not "),
        (("--weights", "none"), "none: no such file"),
        (("--checkpoint", "none.pt"), "none.pt: no such file"),
        (("--labels", "none.csv"), "none.csv: no such file"),
    ],
)
def test_bad_input_is_one_line(words, text, data, monkeypatch):
    monkeypatch.chdir(data)
    result = run(data, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_readme_says_how_good_the_weights_are_and_what_was_not_tried():
    """Its first screen, with the cards' own figures."""
    first = " ".join((ROOT / "README.md").read_text().splitlines()[:25])
    assert "no board has been tried by us" in first and "welcome as issues" in first
    for size in ("105x120", "210x240"):
        card = (ROOT / "docs" / f"model_card_vww_{size}.md").read_text()
        row = re.search(r"^\| all \| (\d+) / (\d+) \| [\d.]+ \| ([\d.]+) \|", card, flags=re.M)
        assert f"{row[3]} % ({size})" in first, (size, row[0])
        assert f"{int(row[1]) + int(row[2]):,} photographs" in first
