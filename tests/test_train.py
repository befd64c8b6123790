"""Training on tiny data that the tests make: fast kernels, schedule, resuming, two processes."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from golden.config import ModelConfig, preset
from golden.data import Sample, read_shares
from golden.float_model import FloatModel, load_checkpoint
from golden.images import calibration_images
from golden.model import IntegerModel
from golden.quantise import default_weights, trained_weights
from golden.train import (
    Average,
    Data,
    TrainConfig,
    by_origin,
    draw_curves,
    fit,
    initial_model,
    read_cells,
)
from golden.weights import Weights
from tests.command import invoke

CONFIG = ModelConfig(
    name="tiny",
    image_height=20,
    image_width=32,
    heads=2,
    head_channels=(2, 3, 4, 5),
    state_channels=8,
)
OPTIONS = TrainConfig(epochs=4, batch=16, learning_rate=0.01, held_out=0.25)


def made(count=64, seed=0):
    """Pictures that are light (a person, say) or dark."""
    generator = torch.Generator().manual_seed(seed)
    labels = [index % 2 for index in range(count)]
    light = torch.tensor(labels)[:, None, None, None] * 90

    def pictures(height, width):
        noise = torch.randint(0, 160, (count, 3, height, width), generator=generator)
        return (noise + light).to(torch.uint8)

    samples = [
        Sample(path=Path(f"{index}.png"), label=label, origin="ab"[index // 4 % 2])
        for index, label in enumerate(labels)
    ]
    held = torch.arange(count) % 4 < 2
    held &= torch.arange(count) % 16 < 8
    return Data(samples, pictures(28, 44), pictures(20, 32), held)


def test_start_from_a_checkpoint(pictures, monkeypatch):
    """--begin-with goes on from a network with a new schedule; not together with --resume."""
    monkeypatch.chdir(pictures)
    config = preset("vww_105x120")
    begun = initial_model(config, 0.0, 7)
    torch.save({"state_dict": begun.state_dict()}, "begun.pt")
    result = train(pictures, "--begin-with", "begun.pt", "--learning-rate", 1e-9, "--held-out", 0.3)
    assert result.exit_code == 0, result.output
    after = load_checkpoint(pictures / "out/final.pt", config)
    for (name, one), two in zip(begun.named_parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6, msg=name)
    result = train(pictures, "--begin-with", "begun.pt", "--resume", "begun.pt")
    assert result.exit_code == 2 and "give --begin-with or --resume, not both" in result.output


def test_start_from_integers(pictures, monkeypatch):
    """The shipped weights, hardly trained, answer as the integers do."""
    monkeypatch.chdir(pictures)
    config = preset("vww_105x120")
    default_weights(config).save(pictures / "whole.safetensors")
    words = ("--begin-with", "whole.safetensors", "--learning-rate", 1e-9, "--held-out", 0.3)
    result = train(pictures, *words)
    assert result.exit_code == 0, result.output
    after = load_checkpoint(pictures / "out/final.pt", config)
    images = calibration_images(config)[:8]
    with torch.no_grad():
        logits = after(images).logits[:, -1]
    weights = default_weights(config)
    found = IntegerModel(config, weights).run(images).margin[:, -1] * weights.scales["logit"]
    # One epoch has moved the statistics of batch norm towards these few made-up pictures.
    assert torch.corrcoef(torch.stack([logits[:, 1] - logits[:, 0], found.float()]))[0, 1] > 0.9


def test_start_from_a_float_safetensors(pictures, monkeypatch):
    """As the float networks behind the shipped weights are kept; integers are told from it."""
    monkeypatch.chdir(pictures)
    config = preset("vww_105x120")
    begun = initial_model(config, 0.0, 7)
    save_file(begun.state_dict(), "begun.safetensors")
    words = ("--begin-with", "begun.safetensors", "--learning-rate", 1e-9, "--held-out", 0.3)
    result = train(pictures, *words)
    assert result.exit_code == 0, result.output
    after = load_checkpoint(pictures / "out/final.pt", config)
    assert torch.allclose(after.cell.conv_h.weight, begun.cell.conv_h.weight, atol=1e-6)
    default_weights(config).save(pictures / "whole.safetensors")
    with pytest.raises(ValueError, match="whole.safetensors: integer weights: expected a float"):
        load_checkpoint("whole.safetensors", config)
    (pictures / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="bad.safetensors: not a safetensors file"):
        load_checkpoint("bad.safetensors", config)


def test_training_learns_and_writes(tmp_path):
    rounds = list(fit(CONFIG, made(), replace(OPTIONS, epochs=12), tmp_path))
    assert rounds[-1].loss < rounds[0].loss
    assert rounds[-1].validation["all"]["balanced"] > 0.85
    assert set(rounds[-1].validation) == {"a", "b", "all"}
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    model = load_checkpoint(tmp_path / "final.pt", CONFIG)
    assert isinstance(model, FloatModel)
    draw_curves(tmp_path / "log.jsonl", tmp_path / "curves.png", "tiny")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_average_follows_the_network():
    """A running mean, of batch norm's statistics, too; in the first steps it forgets the start."""
    model = initial_model(CONFIG, 0.0, 0)
    mean = Average(model, 0.9)
    parameter = model.cell.conv_h.bias
    for step in range(200):
        with torch.no_grad():
            parameter.fill_(float(step >= 150))
            model.out_classifier.out_classifier[1].running_mean.fill_(3.0)
        mean.add(model)
        if step == 20:
            assert mean.model.cell.conv_h.bias.abs().max() < 1e-5  # the start is forgotten
    torch.testing.assert_close(mean.model.cell.conv_h.bias, torch.full((8,), 1 - 0.9**50))
    assert (mean.model.out_classifier.out_classifier[1].running_mean > 2.9).all()


def test_boxes_train(tmp_path):
    """With boxes the early row groups learn, too."""
    data = made()
    samples = [replace(s, persons=((0.1, 0.0, 0.9, 1.0),) * s.label) for s in data.samples]
    data = replace(data, samples=samples)
    losses = []
    for kind in ("none", "boxes"):
        options = replace(OPTIONS, epochs=10, confidence=kind, average=0.0)
        list(fit(CONFIG, data, options, tmp_path / kind))
        model = load_checkpoint(tmp_path / kind / "final.pt", CONFIG)
        with torch.no_grad():
            logits = model(data.exact).logits[:, 0]  # a quarter of the picture
        labels = torch.tensor([s.label for s in samples])
        losses.append(float(torch.nn.functional.cross_entropy(logits, labels)))
    assert losses[1] < losses[0] - 0.01


def states(folder):
    return torch.load(folder / "final.pt", weights_only=True)["state_dict"]


def test_resuming_gives_the_same_network(tmp_path):
    torch.set_num_threads(1)  # sums over threads may come in another order
    list(fit(CONFIG, made(), OPTIONS, tmp_path / "whole"))
    list(fit(CONFIG, made(), OPTIONS, tmp_path / "parts", stop_after=2))
    assert not (tmp_path / "parts" / "final.pt").exists()
    again = fit(CONFIG, made(), OPTIONS, tmp_path / "parts", resume=tmp_path / "parts" / "last.pt")
    assert [result.epoch for result in again] == [3, 4]
    whole, parts = states(tmp_path / "whole"), states(tmp_path / "parts")
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 4


def test_resume_errors(tmp_path):
    data = made()
    list(fit(CONFIG, data, OPTIONS, tmp_path, stop_after=1))
    last = tmp_path / "last.pt"

    def refused(config, options, path):
        list(fit(config, data, options, tmp_path / "x", resume=path))

    with pytest.raises(ValueError, match="absent.pt: no such file"):
        refused(CONFIG, OPTIONS, tmp_path / "absent.pt")
    with pytest.raises(ValueError, match="alpha was 0.05 in that run, not 0.1"):
        refused(CONFIG, replace(OPTIONS, alpha=0.1), last)
    with pytest.raises(ValueError, match="made for another network than tiny"):
        refused(replace(CONFIG, state_channels=9), OPTIONS, last)
    other = replace(data, held_out=~data.held_out)
    with pytest.raises(ValueError, match="another validation part than in that run"):
        list(fit(CONFIG, other, OPTIONS, tmp_path / "x", resume=last))
    *some, trained = data.samples
    for more in ({"label": 1 - trained.label}, {"fills": (0.5,)}, {"path": Path("x.png")}):
        other = replace(data, samples=[*some, replace(trained, **more)])
        with pytest.raises(ValueError, match=r"other pictures or labels than in that run; see --d"):
            list(fit(CONFIG, other, OPTIONS, tmp_path / "x", resume=last))
    moved = [replace(sample, path="elsewhere" / sample.path) for sample in reversed(data.samples)]
    assert replace(data, samples=moved, held_out=data.held_out.flip(0)).digests == data.digests
    older = torch.load(last, weights_only=True)  # written before these were kept
    del older["validation"], older["labels"]
    torch.save(older, tmp_path / "older.pt")
    refused_not = fit(CONFIG, data, OPTIONS, tmp_path / "x", resume=tmp_path / "older.pt")
    assert next(refused_not).epoch == 2
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        refused(CONFIG, OPTIONS, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no")
    with pytest.raises(ValueError, match="not a PyTorch checkpoint"):
        refused(CONFIG, OPTIONS, tmp_path / "text.pt")


@pytest.mark.parametrize("kind", ["proposed", "trivial", "none"])
def test_losses_train(kind, tmp_path):
    [result] = fit(CONFIG, made(), replace(OPTIONS, epochs=1, confidence=kind), tmp_path)
    assert (result.confidence > 0) == (kind != "none")


def test_two_processes_keep_one_network(tmp_path):
    """torchrun with two processes: equal networks, gradients averaged, one log."""
    script = tmp_path / "both.py"
    root = Path(__file__).resolve().parents[1]
    script.write_text(
        f"""import sys; sys.path.insert(0, {str(root)!r})
import torch, torch.distributed as dist
from pathlib import Path
from golden.train import fit, initial_model, join_processes, leave_processes
from tests.test_train import CONFIG, OPTIONS, made
torch.set_num_threads(1)
join_processes()
model = initial_model(CONFIG, 0.05, 0)
for result in fit(CONFIG, made(), OPTIONS, Path(sys.argv[1]), start=model):
    pass
flat = torch.cat([p.detach().flatten() for p in model.parameters()])
found = [torch.empty_like(flat) for _ in range(2)]
dist.all_gather(found, flat)
assert dist.get_world_size() == 2 and torch.equal(*found)
leave_processes()
"""
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == OPTIONS.epochs
    load_checkpoint(tmp_path / "out" / "final.pt", CONFIG)


def test_fresh_networks_remember():
    update = initial_model(CONFIG, 0.0, 0).cell.conv_update.bias
    assert update.min() >= 0 and update.max() > 0.5
    same = initial_model(CONFIG, 0.0, 0).cell.conv_update.bias
    assert torch.equal(update, same)


def test_schedule():
    options = TrainConfig(epochs=1, learning_rate=1.0, warmup=0.1)
    rates = [options.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and rates[99] < 0.01
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_table_by_origin():
    data = made(8)
    right = torch.tensor([s.label for s in data.samples])
    right[0] = 1  # a picture of origin a and label 0
    table = by_origin(data.samples, right)
    assert table["b"] == dict(images=4, accuracy=1.0, label0=1.0, label1=1.0, balanced=1.0)
    assert table["a"]["label0"] == 0.5 and table["all"]["accuracy"] == 7 / 8


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (dict(epochs=0), "epochs must be at least 1, not 0"),
        (dict(batch=1), "batch must be at least 2, not 1"),
        (dict(learning_rate=0), "learning_rate must be positive, not 0"),
        (dict(warmup=0.6), "warmup must be 0..0.5, not 0.6"),
        (dict(alpha=-1), "alpha must be at least 0, not -1"),
        (dict(weight_decay=-1), "weight_decay must be at least 0, not -1"),
        (dict(dropout=1), "dropout must be 0 to below 1, not 1"),
        (dict(held_out=1), "held_out must be 0 to below 1, not 1"),
        (dict(confidence="x"), "confidence labels must be one of"),
    ],
)
def test_options(change, rule):
    with pytest.raises(ValueError, match=rule):
        replace(OPTIONS, **change)


def test_cells_file(tmp_path):
    path = tmp_path / "cells.json"
    path.write_text('{"a": [1, 2]}')
    assert read_cells(path) == {"a": [1.0, 2.0]} and read_cells(None) is None
    with pytest.raises(ValueError, match="absent.json: no such file"):
        read_cells(tmp_path / "absent.json")
    for text in ("[1]", '{"a": 1}', '{"a": [1]}', "{"):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a table of origin to two masses"):
            read_cells(path)


def test_shares():
    assert read_shares(["a=0.5", "b=0"], 0.1) == {"": 0.1, "a": 0.5, "b": 0.0}
    for text in ("a", "=0.5", "a=1", "a=x"):
        with pytest.raises(ValueError, match=f"must be ORIGIN=part .*, not '{text}'"):
            read_shares([text], 0.1)


@pytest.mark.parametrize("name", ["vww_105x120", "vww_210x240"])
def test_shipped_weights_are_taken(name):
    config = preset(name)
    weights = default_weights(config)
    assert weights.digest == default_weights(config).digest
    assert weights.digest != default_weights(config, seed=1).digest
    assert trained_weights(replace(config, name="renamed")).digest == weights.digest
    assert trained_weights(replace(config, state_channels=36)) is None
    card = Path(__file__).resolve().parents[1] / "docs" / f"model_card_{name}.md"
    assert weights.digest[:12] in card.read_text()


def test_every_shipped_network_has_its_card_and_its_float_network():
    root = Path(__file__).resolve().parents[1]
    folder = root / "golden" / "default_weights"
    names = sorted(path.stem for path in folder.glob("*.safetensors"))
    assert {"vww_105x120", "vww_140x160", "vww_175x200", "vww_210x240"} <= set(names)
    for name in names:
        config = preset(name)
        card = (root / "docs" / f"model_card_{name}.md").read_text()
        assert trained_weights(config).digest[:12] in card
        begin = re.search(r"START=(golden/default_weights/float/\S+)", card)[1]
        load_checkpoint(root / begin, config)


@pytest.fixture
def pictures(tmp_path):
    """24 pictures that are light (a person, say) or dark, with a labels file."""
    (tmp_path / "data").mkdir()
    rows = ["file,label,origin"]
    for index in range(24):
        noise = np.random.default_rng(index).integers(0, 140, (30, 40, 3)) + 90 * (index % 2)
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"data/{index}.png")
        rows.append(f"{index}.png,{index % 2},made")
    (tmp_path / "data/labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def train(folder, *words):
    given = ["--data", folder / "data", "--epochs", 1, "--batch", 8, "-o", folder / "out", *words]
    return invoke("train", *given)


def test_command_from_pictures_to_integers(pictures, monkeypatch):
    """Float training, quantised training, curves; both checkpoints can be imported."""
    monkeypatch.chdir(pictures)
    out = pictures / "out"
    result = train(pictures, "--quantised-epochs", 1, "--held-out", 0.3)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("rasca: epoch 1 of 1: loss ") == 2
    for name in ("curves", "quantised_curves"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    network = preset("vww_105x120")
    Weights.load(out / "weights.safetensors", network)
    for name in ("last.pt", "final.pt", "quantised_last.pt"):
        words = [out / name, "--preset", network.name, "--calibrate", "data", "-o", name + ".w"]
        done = invoke("import", *words)
        assert done.exit_code == 0, done.output
        Weights.load(pictures / f"{name}.w", network)
    # A finished run is gone on with: only what is left is done.
    first = (out / "weights.safetensors").read_bytes()
    for name, lines in (("last.pt", 1), ("quantised_last.pt", 0)):
        words = ("--quantised-epochs", 1, "--held-out", 0.3, "--resume", out / name)
        result = train(pictures, *words)
        assert result.exit_code == 0, result.output
        assert result.stderr.count("rasca: epoch 1 of 1") == lines
        assert (out / "weights.safetensors").read_bytes() == first


def test_command_with_two_processes(pictures):
    """torchrun over the whole command: each process reads, trains and stops in order."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "rasca", "train", "--data", str(pictures / "data")]
    command += ["--epochs", "1", "--batch", "8", "-o", str(pictures / "out"), "--held-out", "0.3"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--quantised-epochs", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=pictures,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    Weights.load(pictures / "out/weights.safetensors", preset("vww_105x120"))
    for name in ("log.jsonl", "quantised_log.jsonl"):
        assert len((pictures / "out" / name).read_text().splitlines()) == 1
    assert done.stderr.count("rasca: epoch 1 of 1: loss ") == 2  # one process tells


@pytest.mark.parametrize(
    "words, text",
    [
        (("--data", ""), "expected a value after --data, not nothing"),
        (("--data", "none"), "none: no such folder"),
        (("--preset", "vww"), "preset must be one of"),
        (("--batch", 1), "batch must be at least 2, not 1"),
        (("--confidence", "much"), "confidence labels must be one of"),
        (("--confidence", "boxes"), "no person boxes, which --confidence boxes needs"),
        (("--average", 1), "average must be 0 to below 1, not 1"),
        (("--augmentation", 2), "augmentation must be 0..1, not 2"),
        (("--device", "abacus"), "device 'abacus': "),
        (("--size", "small"), "size must be HEIGHTxWIDTH, not 'small'"),
        (("--resume", "none.pt"), "none.pt: no such file"),
        (("--cells", "none.json"), "none.json: no such file"),
        (("--held-out-of", "made"), "--held-out-of must be ORIGIN=part"),
        (("--quantised-epochs", -1), "--quantised-epochs must be at least 0, not -1"),
    ],
)
def test_bad_input_is_one_line(words, text, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    result = train(pictures, *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_smaller_pictures_first(pictures, monkeypatch):
    """The weights hang on no size, so a network learns at a small one and goes on at its own."""
    monkeypatch.chdir(pictures)
    first = train(pictures, "--size", "40x48", "--held-out", 0.3)
    assert first.exit_code == 0 and "images/s" in first.stderr
    name = "small.pt"
    (pictures / "out/final.pt").rename(pictures / name)
    result = train(pictures, "--begin-with", name, "--held-out", 0.3, "--integers")
    assert result.exit_code == 0, result.output
    Weights.load(pictures / "out/weights.safetensors", preset("vww_105x120"))


def test_bad_pictures_are_refused_or_left_out(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    (pictures / "data/3.png").write_text("no picture")
    result = train(pictures)
    assert result.exit_code == 2
    assert "1 of 24 rows are bad: 1 files that are no readable picture (3.png)" in result.stderr
    assert train(pictures, "--skip-bad").exit_code == 0


def test_curves_of_any_log(tmp_path):
    """One epoch, no validation part, origins with one label or few pictures."""

    def row(epoch, validation):
        found = dict(epoch=epoch, loss=0.7, classification=0.6, confidence=2.0, accuracy=0.5)
        return json.dumps({**found, "rate": 0.1, "seconds": 1.0, "validation": validation})

    all_ = dict(images=200, accuracy=0.5, label0=0.5, label1=0.5, balanced=0.5)
    one_label = dict(images=150, accuracy=0.5, label1=0.5, balanced=0.5)
    parts = {"all": all_, "": all_, "a": one_label, "b": {**all_, "images": 3}}
    for name, lines in (
        ("one", [row(1, {})]),
        ("more", [row(1, parts), row(2, parts), row(3, parts)]),
    ):
        (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
        draw_curves(tmp_path / "log.jsonl", tmp_path / f"{name}.png", name)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50
