"""The sweep over both thresholds is what the integer model does with each pair of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from golden import early_termination
from golden import weights as weights_module
from golden.classifier import threshold
from golden.config import PRESETS
from golden.early_termination import Answers, Point, best, chosen, scans, stored, table
from golden.images import calibration_images
from golden.model import IntegerModel
from golden.quantise import default_weights
from golden.weights import EarlyTermination, Weights
from tests.command import invoke, refused

CONFIG = PRESETS["vww_105x120"]
BEGIN, END = "<!-- early_termination:begin -->", "<!-- early_termination:end -->"
TAUS, SKIPS = (0.6, 0.8, 0.95), (None, 0.1, 0.3)


@pytest.fixture(scope="module")
def model():
    return IntegerModel(CONFIG, default_weights(CONFIG))


@pytest.fixture
def data(tmp_path, model):
    rows = ["file,label"]
    for index, pixels in enumerate(calibration_images(CONFIG)[:12]):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{index % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    model.weights.save(tmp_path / "w.safetensors")
    return tmp_path


def run(data, *arguments):
    words = ["--preset", CONFIG.name, "--images", data, "--labels", data / "labels.csv"]
    words += ["--weights", data / "w.safetensors", "-o", data / "out", *arguments]
    return invoke("early-termination", *words)


def test_one_scan_serves_every_threshold(model):
    images = calibration_images(CONFIG)[::3]
    found = scans(model, images, SKIPS)
    scale = model.weights.scales["logit"]
    early = 0
    for skip in SKIPS:
        for tau in (None, *TAUS[:2]):
            stop = None if tau is None else threshold(tau, scale, up=True)
            level = None if skip is None else threshold(skip, scale, up=False)
            wanted = model.run(images, stop_threshold=stop, skip_threshold=level)
            person, used = found[skip].outcome(stop)
            assert np.array_equal(person, wanted.decision)
            assert np.array_equal(used, wanted.rows_used)
            early += int((wanted.rows_used < CONFIG.row_groups).sum())
    assert early > 10


def test_scan_by_hand():
    margin = np.array([[-5, 3, 9, 1], [2, 2, 2, -1], [9, 0, 0, 0]])
    computed = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 1, 0]], dtype=bool)
    scan = Answers(margin, (margin > 0).astype(int), computed, 1)
    person, used = scan.outcome(None)
    assert person.tolist() == [1, 0, 0] and used.tolist() == [3, 4, 3]
    person, used = scan.outcome(3)  # a group that was left out cannot stop
    assert person.tolist() == [1, 0, 1] and used.tolist() == [2, 4, 1]
    assert scan.stopped_at(10).tolist() == [3, 3, 3]
    decision, used = scan.outcome(0)  # whoever stops has the class stopped for, a tie as well
    assert decision.tolist() == [1, 1, 1] and used.tolist() == [2, 1, 1]


def test_scan_of_three_classes():
    """The decision is the largest logit's class; only the stop class ends a frame."""
    margin = np.array([[-9, -3, -4, -2], [-1, 4, 6, -5]])
    label = np.array([[0, 1, 1, 0], [1, 2, 2, 0]])
    scan = Answers(margin, label, np.ones((2, 4), dtype=bool), 2)
    assert scan.outcome(None)[0].tolist() == [0, 0]
    decision, used = scan.outcome(5)
    assert decision.tolist() == [0, 2] and used.tolist() == [4, 3]
    both = Answers.joined([scan, scan])
    assert both.outcome(5)[0].tolist() == [0, 2, 0, 2] and both.stop_index == 2


def test_command(data, model):
    result = run(data, "--tau", "0.6,0.8,0.95", "--skip", "off,0.1,0.3")
    assert result.exit_code == 0, result.output
    found = json.loads((data / "out/early_termination.json").read_text())
    assert found["images"] == 12 and found["weights_digest"] == model.weights.digest
    assert list(found) == "preset images weights_digest points best paper chosen".split()
    points = found["points"]
    assert found["paper"] == {"macs_saved": 0.171, "change": 0.0}
    assert found["best"] in points and found["best"]["change"] >= 0
    pairs = [(p["tau"], p["skip"]) for p in points]
    assert pairs == [(tau, skip) for skip in SKIPS for tau in (None, *TAUS)]
    first = points[0]
    assert first["macs_saved"] == 0 and first["change"] == 0 and first["mean_rows_used"] == 21
    for p in points:
        assert p["macs_saved"] == pytest.approx(1 - p["mean_rows_used"] / 21)
        assert p["change"] == pytest.approx(p["accuracy"] - first["accuracy"])
    rows = [p["mean_rows_used"] for p in points[1:4]]
    assert rows == sorted(rows) and rows[0] < 21  # a higher tau stops later
    text = (data / "out/early_termination.md").read_text()
    assert text == result.stdout
    assert text.count("\n| ") == len(points) + 1 and "17.1 %" in text
    with Image.open(data / "out/early_termination.png") as picture:
        assert picture.width > 1000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_page_gets_table_and_picture(data, model):
    page = data / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    result = run(data, "--tau", "0.9", "--skip", "off", "--page", page)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text == f"before\n{BEGIN}\n{result.stdout.strip()}\n{END}\nafter\n"
    assert model.weights.digest[:12] in text and "old" not in text
    assert (data / "early_termination.png").is_file()
    for content in (None, "no marks\n", f"{END}\n{BEGIN}\n"):
        page.unlink(missing_ok=True)
        if content is not None:
            page.write_text(content)
        result = run(data, "--page", page)
        assert result.exit_code == 2 and "page.md: must hold the lines" in result.stderr
        assert content is None or page.read_text() == content


def test_docs_page_is_of_the_shipped_weights(model):
    page = Path(__file__).resolve().parents[1] / "docs/early_termination.md"
    marked = page.read_text().partition(BEGIN)[2].partition(END)[0]
    assert f"integer model {model.weights.digest[:12]}" in marked
    assert "17.1 %" in marked and marked.count("\n| ") > 10


def test_the_first_point_has_no_early_termination(data):
    """Also where the user leaves "off" out."""
    run(data, "--tau", "0.9", "--skip", "0.1")
    found = json.loads((data / "out/early_termination.json").read_text())
    pairs = [(p["tau"], p["skip"]) for p in found["points"]]
    assert pairs == [(None, None), (0.9, None), (None, 0.1), (0.9, 0.1)]


def test_best_loses_nothing():
    def point(saved, change):
        rates = {"true_positive_rate": None, "false_positive_rate": 0.5}
        return Point(
            tau=0.9,
            skip=None,
            accuracy=0.8 + change,
            change=change,
            mean_rows_used=21 * (1 - saved),
            macs_saved=saved,
            **rates,
        )

    points = [point(0.0, 0.0), point(0.1, 0.01), point(0.2, 0.0), point(0.3, -0.001)]
    assert best(points) is points[2]
    lines = table(points).splitlines()
    assert "| 0.9 | off | 80.00 % | +0.00 | - | 50.00 % | 21.00 | 0.0 % |" in lines
    assert "20.0 %" in lines[-1] and "17.1 %" in lines[-1]


def point(tau, skip, change, saved):
    rates = {"true_positive_rate": None, "false_positive_rate": None}
    numbers = {"accuracy": 0.8 + change, "change": change, "macs_saved": saved}
    return Point(tau=tau, skip=skip, mean_rows_used=21 * (1 - saved), **numbers, **rates)


def test_chosen_thresholds_are_not_chance():
    """No more careful pair may lose: the luck of one line between others that do is not taken."""
    points = [
        point(None, None, 0.0, 0.0),
        point(0.7, None, 0.01, 0.3),  # lucky: 0.8 loses
        point(0.8, None, -0.001, 0.2),
        point(0.9, None, 0.0, 0.1),
        point(None, 0.2, -0.01, 0.4),
        point(0.9, 0.2, 0.0, 0.5),  # lucky: the same skip without a stop loses
        point(None, 0.1, 0.0, 0.05),
        point(0.9, 0.1, 0.0, 0.15),
    ]
    assert chosen(points) is points[-1] and best(points) is points[5]
    assert chosen(points[:3]) is points[0]  # nothing is safe: both rules off
    kept = stored(points[-1], 1930)
    assert (kept.tau, kept.skip, kept.images) == (0.9, 0.1, 1930)
    assert str(kept) == (
        "stop at 0.9, skip at 0.1: 15.0 % of the MACs saved, +0.00 points on 1,930 photographs"
    )


def test_store_writes_the_weights_and_their_card(data, model, monkeypatch):
    """One command; the digest stays, a card of other weights is left alone."""
    cards, digest = data / "docs", model.weights.digest
    cards.mkdir()
    card = cards / "model_card_w.md"
    marked = "<!-- thresholds:begin -->\n<!-- thresholds:end -->\n"
    monkeypatch.setattr(early_termination, "CARDS", cards)
    file = data / "w.safetensors"
    monkeypatch.setattr(early_termination, "shipped_file", lambda config: file)
    card.write_text(f"other weights\n{marked}")
    words = ("--tau", "0.6,0.9", "--skip", "off", "--store")
    result = run(data, *words)
    assert result.exit_code == 0, result.output
    kept = Weights.load(file, CONFIG)
    found = json.loads((data / "out/early_termination.json").read_text())["chosen"]
    assert asdict(kept.early) == found and found["images"] == 12 and kept.digest == digest
    assert f"\n\nBy default: {kept.early}.\n" in result.stdout
    assert card.read_text() == f"other weights\n{marked}"
    card.write_text(f"digest {digest[:12]}\n{marked}")
    run(data, *words)
    assert f"begin -->\nEarly termination by default: {kept.early}.\n<!--" in card.read_text()
    assert kept.early == Weights.load(file, CONFIG).early
    line = refused(
        *("early-termination", "--images", data, "--labels", data / "labels.csv", "-o", data),
        *("--checkpoint", "a.pt", "--store"),
    )
    assert "expected --store with --weights or none, not with --checkpoint" in line


def test_stored_thresholds_are_taken_where_asked(data, model):
    """By the word default; without it an explicit option, or none; the file's are checked."""
    early = EarlyTermination(
        tau=0.6, skip=None, images=12, accuracy=0.5, change=0.0, macs_saved=0.2
    )
    replace(model.weights, early=early).save(data / "w.safetensors")
    words = ["evaluate", "--images", data, "--labels", data / "labels.csv"]
    words += ["--weights", data / "w.safetensors", "--json", data / "out.json"]

    def rows(*more):
        result = invoke(*words, *more)
        assert result.exit_code == 0, result.output
        return json.loads((data / "out.json").read_text())["mean_rows_used"]

    assert rows() == 21 == rows("--skip", "default")
    assert rows("--tau", "default") == rows("--tau", 0.6) < rows("--tau", 0.99) <= 21
    picture = ["visualise", "--image", data / "0.png", "--weights", data / "w.safetensors"]
    for more, tau in (((), 0.6), (("--tau", 0.8), 0.8)):
        assert invoke(*picture, "-o", data / "scan", *more).exit_code == 0
        found = json.loads((data / "scan/scan.json").read_text())["early_termination"]
        assert found["tau"] == tau and found["skip"] is None
    replace(model.weights, early=None).save(data / "w.safetensors")
    assert "--tau default: expected weights with thresholds" in refused(*words, "--tau", "default")
    assert "a number for --skip or default, not 'no'" in refused(*words, "--skip", "no")
    assert EarlyTermination(**asdict(early)) == early
    with pytest.raises(ValueError, match="tau must lie inside 0..1, not 2"):
        replace(early, tau=2)


def test_thresholds_that_a_file_may_not_hold(tmp_path, model, monkeypatch):
    early = {"tau": 0.6, "images": 3}  # not all of it
    monkeypatch.setattr(weights_module, "asdict", lambda _: early)
    some = EarlyTermination(tau=None, skip=None, images=1, accuracy=0, change=0, macs_saved=0)
    replace(model.weights, early=some).save(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="not a Rasca weights file .bad metadata"):
        Weights.load(tmp_path / "w.safetensors", CONFIG)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--tau", "0.9,soon"), "tau must be probabilities or off, not 'soon'"),
        (("--tau", "0.9,1.5"), "tau must lie inside 0..1, not 1.5"),
        (("--skip", "0"), "skip must lie inside 0..1, not 0.0"),
        (("--labels", "none.csv"), "none.csv: no such file"),
        (("--checkpoint", "a.pt"), "expected --weights or --checkpoint, not both"),
    ],
)
def test_bad_input_is_one_line(arguments, text, data):
    result = run(data, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_heads_and_scan_are_run(model):
    """`IntegerModel.run` is `heads` and `scan`, for every field of the result."""
    images = calibration_images(CONFIG)[:2]
    whole = model.run(images, stop_threshold=50)
    rows = early_termination.split_row_groups(early_termination.to_signed(images), 5)
    features = model.heads(rows.flatten(0, 1))[0].unflatten(0, rows.shape[:2])
    parts = model.scan(features, stop_threshold=50)
    for field in ("state", "logits", "computed", "skipped", "stopped", "rows_used", "decision"):
        assert torch.equal(getattr(whole, field), getattr(parts, field))
