"""`make sim` as a user gets it: whole frames of the presets, the files it writes, its status."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boards.packets import Decision, Preview, Row, State
from boards.picture import Picture
from boards.web import replay
from golden.config import PRESETS
from golden.images import default_images
from golden.model import IntegerModel
from golden.quantise import default_weights
from golden.weights import EarlyTermination
from hw.plan.latency import PARALLEL
from hw.plan.memory import CATEGORIES
from sim import main, session
from sim import tables as report
from tests import command

ROOT = Path(__file__).resolve().parents[1]
KEYS = (
    "preset shape image weights_digest weights_trained config_digest rows rows_equal "
    "values_compared first_difference cycles_per_row_group cycles_frame "
    "cycles_frame_predicted cycles_frame_wall "
    "counters_equal counters macs_frame mac_utilisation multipliers_beside_array on_chip_bytes "
    "registers_bytes logits decision rows_used macs_wasted seconds"
).split()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs `sim` into a folder of its own; gives status, output and the summary."""
    monkeypatch.setattr(main, "OUTPUT", tmp_path)

    def invoke(*arguments, preset="vww_105x120"):
        words = ["sim", "--preset", preset, *map(str, arguments)]
        result = command.invoke(*words)
        path = tmp_path / preset / "summary.json"
        assert path.exists(), result.output
        return result.exit_code, result.output, json.loads(path.read_text())

    return invoke


def check_summary(summary, preset):
    model = PRESETS[preset]
    assert list(summary) == KEYS
    values = sum(stage.channels * stage.columns for stage in model.stages)
    values += model.state_channels * model.n + 2
    assert summary["rows"] == summary["rows_equal"] == summary["rows_used"] == model.row_groups
    assert summary["values_compared"] == values * model.row_groups
    assert summary["first_difference"] is None
    assert summary["cycles_frame"] == summary["cycles_frame_predicted"]
    check_counters(summary)
    assert summary["macs_frame"] == model.array_macs_frame and summary["macs_wasted"] == 0
    sizes = summary["on_chip_bytes"]
    assert list(sizes) == [*CATEGORIES, "total"]
    assert sizes["total"] == sum(sizes[name] for name in CATEGORIES)
    multipliers = summary["shape"]["multipliers"]
    worked = summary["cycles_frame"] - PARALLEL.frame_turn  # of the row groups
    share = summary["macs_frame"] / (multipliers * worked)
    assert summary["mac_utilisation"] == pytest.approx(share)


def check_counters(summary):
    """What was counted is what was predicted, in every layer and memory."""
    counters = summary["counters"]
    assert summary["counters_equal"] is True and counters["difference"] is None
    assert counters["row_groups"] == summary["rows"]
    cycles = 0
    for layer in counters["layers"].values():
        predicted = layer["predicted"]
        assert (layer["cycles"], layer["steps"]) == (predicted["cycles"], predicted["steps"])
        assert layer["stalls"] == {**predicted["stalls"], "camera": layer["stalls"]["camera"]}
        cycles += layer["cycles"]
    assert cycles == summary["cycles_frame"] - PARALLEL.frame_turn
    for memory in counters["memories"].values():
        assert {kind: memory[kind] for kind in ("reads", "writes")} == memory["predicted"]
    assert counters["memories"]["state"]["writes"] > 0


def test_two_photographs(run, tmp_path):
    status, output, summary = run()
    assert status == 0, output
    check_summary(summary, "vww_105x120")
    assert summary["shape"] == {"pixels": 8, "channels": 1, "lanes": 2, "multipliers": 16}
    # from the first walk of a frame to that of the next, as report.json has it
    assert summary["cycles_frame_wall"] == summary["cycles_frame"] == 640_859
    *groups, last = summary["cycles_per_row_group"]
    assert set(groups) == {summary["cycles_frame"] // 21}
    assert last == groups[0] + PARALLEL.frame_turn
    assert summary["mac_utilisation"] >= 0.88 and summary["on_chip_bytes"]["total"] <= 41000
    assert summary["image"] == "coffee"
    logits = summary["logits"]
    assert summary["decision"] == ("person" if logits[1] > logits[0] else "no_person")
    assert output.count(" yes ") == 42
    beside = tmp_path / "vww_105x120" / "8,1,2"
    assert json.loads((beside / "summary.json").read_text()) == summary
    with Image.open(beside.parent / "scan.png") as picture:
        assert picture.width > 1000
    check_recording(beside.parent, summary)


def check_recording(folder, summary):
    """As a board would have told it: every row with its state, the pictures, the decision."""
    model, sent = PRESETS["vww_105x120"], replay.read(folder)
    rows, ends = ([one for one in sent if isinstance(one, kind)] for kind in (Row, Decision))
    assert len(rows) == 42 and [(end.frame, end.rows_used) for end in ends] == [(0, 21), (1, 21)]
    scale = default_weights(model).scales["logit"]
    assert [value * scale for value in ends[1].logits] == pytest.approx(summary["logits"])
    golden = IntegerModel(model, default_weights(model)).run(default_images(model))
    states = [one.data for one in sent if isinstance(one, State)]
    wanted = golden.state.reshape(-1, model.n).numpy().astype(np.int8)
    assert states == [row.tobytes() for row in wanted]
    seen = Picture()
    for piece in sent:
        if isinstance(piece, Preview):
            seen.take(piece)
    assert seen.whole and np.array_equal(seen.pixels, default_images(model)[1].permute(1, 2, 0))


def test_early_termination(run, tmp_path):
    # thresholds from what the weights make of the pictures, whichever weights are shipped
    model = PRESETS["vww_105x120"]
    weights = default_weights(model)
    found = IntegerModel(model, weights).run(default_images(model))
    chance = 1 / (1 + np.exp(-found.margin.numpy() * weights.scales["logit"]))
    tau = round(float(chance[1, :-1].max()) - 1e-4, 5)
    skip = round(float(np.median(chance[0])), 5)
    status, output, summary = run("--frames", 2, "--tau", tau)
    assert status == 0, output
    assert summary["rows_used"] < summary["rows"] and summary["decision"] == "person"
    assert summary["rows_equal"] == summary["rows_used"]
    assert 0 <= summary["macs_wasted"] < summary["macs_frame"] / 21
    assert summary["cycles_frame"] == summary["cycles_frame_predicted"]
    assert f"{summary['rows_used']} of 21 row groups" in output
    # the word default takes what the weights hold, and an option given wins; both are told
    early = EarlyTermination(tau=tau, skip=skip, images=7, accuracy=0, change=0, macs_saved=0.1)
    replace(weights, early=early).save(tmp_path / "w.safetensors")
    words = ("--frames", 1, "--weights", tmp_path / "w.safetensors", "--skip", "default")
    status, output, summary = run(*words, "--tau", 0.999999, "--picture", tmp_path / "copy.png")
    assert status == 0, output
    assert summary["rows_used"] < summary["rows"]
    check_counters(summary)
    assert f"thresholds  {early} (TAU=default SKIP=default)" in output
    assert "(astronaut)" in output
    copy = (tmp_path / "copy.png").read_bytes()
    assert copy == (tmp_path / "vww_105x120/scan.png").read_bytes()


def test_blanking_camera(run):
    status, output, summary = run("--frames", 1, "--camera", "blanking")
    assert status == 0, output
    assert summary["rows_equal"] == 21
    assert summary["cycles_frame"] == summary["cycles_frame_predicted"]
    assert summary["cycles_frame_wall"] > 1.1 * summary["cycles_frame"]
    assert sum(layer["stalls"]["camera"] for layer in summary["counters"]["layers"].values()) > 0
    check_counters(summary)
    assert "idle beside" in output


@pytest.mark.parametrize("preset", ["vww_105x120_full", "vww_105x120_banded", "vww_210x240"])
def test_whole_frame_of_a_preset(run, preset):
    status, output, summary = run("--frames", 1, preset=preset)
    assert status == 0, output
    check_summary(summary, preset)
    if preset == "vww_210x240":
        assert summary["mac_utilisation"] >= 0.95 and summary["on_chip_bytes"]["total"] <= 62000
        assert summary["cycles_frame"] * summary["shape"]["multipliers"] > 55248480


def test_a_difference_is_status_1(run, monkeypatch):
    true = session.golden_frames

    def turned(result):
        frames = true(result)
        maps = {name: part.copy() for name, part in frames[0].trace.items()}
        maps["head1.block3"][2, 5, 7] ^= 1
        return [replace(frames[0], trace=maps), *frames[1:]]

    monkeypatch.setattr(session, "golden_frames", turned)
    status, output, summary = run("--frames", 1)
    assert status == 1
    wrong = summary["first_difference"]
    assert (wrong["stage"], wrong["row_group"]) == ("head1.block3", 2)
    assert (wrong["channel"], wrong["column"]) == (5, 7)
    assert wrong["expected"] == wrong["simulated"] ^ 1 and summary["rows_equal"] == 20
    line = output.strip().splitlines()[-1]
    assert line.startswith("rasca: first difference: frame 0, row group 2, stage head1.block3")


def test_a_count_that_is_not_predicted_is_status_1(run, monkeypatch):
    true = report.cost

    def wrong(plan):
        found = true(plan)
        *parts, last = found.operations
        last = replace(last, reads={**last.reads, "state": last.reads["state"] + 1})
        return replace(found, operations=(*parts, last))

    monkeypatch.setattr(report, "cost", wrong)
    status, output, summary = run("--frames", 1)
    assert status == 1 and summary["counters_equal"] is False
    assert summary["first_difference"] is None
    line = output.strip().splitlines()[-1]
    assert line == f"rasca: counters: {summary['counters']['difference']}"
    assert line.startswith("rasca: counters: row group 0 of the run, n: ")
    assert "reads of state, predicted" in line


def test_pictures_of_a_folder(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, level in (("b.png", 200), ("a.png", 30)):
        Image.new("RGB", (50, 40), (level, 90, 255 - level)).save(folder / name)
    status, output, summary = run("--image", folder)
    assert status == 0 and summary["image"] == "b.png"
    status, output, summary = run("--image", folder / "a.png", "--frames", 1)
    assert status == 0 and summary["image"] == "a.png"


def test_readme_shows_what_the_first_command_draws():
    """docs/scan.png is of the shipped weights: after new ones, make sim PICTURE=docs/scan.png."""
    assert "](docs/scan.png)" in (ROOT / "README.md").read_text(encoding="utf-8")
    weights = default_weights(PRESETS["vww_105x120"])
    with Image.open(ROOT / "docs/scan.png") as picture:
        assert picture.text["Title"] == f"vww_105x120, weights {weights.digest[:12]}"
