"""Mixup, label smoothing, a teacher, a training by the clock, and what a GPU would meet."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from golden import data as data_module
from golden import train as train_module
from golden.boxes import Boxes
from golden.config import preset
from golden.data import Augmenter
from golden.float_model import FloatModel
from golden.loss import TEACHER_SHARE, Loss, rascanet_loss, soft_labels
from golden.teacher import digest_of, load_teacher, teach
from golden.train import (
    Average,
    Mixed,
    _Asked,
    _loss,
    _signed,
    choose_device,
    epochs_within,
    fit,
    initial_model,
    resized,
)
from golden.training_run import on_cpu
from tests.command import refused
from tests.test_train import CONFIG, OPTIONS, made, train
from tests.test_train import pictures as pictures  # a fixture

# ---- mixup, label smoothing ----


def test_soft_labels_by_hand():
    labels = torch.tensor([0, 2])
    assert torch.equal(soft_labels(labels, 3), torch.eye(3)[labels])
    found = soft_labels(labels, 3, smoothing=0.3)
    assert torch.allclose(found, torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    taught = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    found = soft_labels(labels, 3, taught=taught, follow=torch.tensor([True, False]))
    wanted = torch.tensor([1.0, 0, 0]).lerp(taught[0], TEACHER_SHARE)
    assert torch.allclose(found, torch.stack([wanted, torch.tensor([0.0, 0, 1])]))


@pytest.mark.parametrize("kind", ["proposed", "boxes"])
def test_without_options_the_loss_is_as_it_was(kind, generator):
    """Labels given as probabilities of 0 and 1 are the labels."""
    data = made(8)
    samples = [replace(s, persons=((0.1, 0.0, 0.9, 1.0),) * s.label) for s in data.samples]
    logits = torch.randn(8, 4, 2, generator=generator)
    confidence = torch.rand(8, 4, 1, generator=generator)
    labels = torch.tensor([s.label for s in samples])
    view = torch.eye(2, 3).expand(8, 2, 3)
    boxes = Boxes(samples).targets(torch.arange(8), view, 4) if kind == "boxes" else None
    options = replace(OPTIONS, confidence=kind)
    hard = _loss(logits, confidence, _Asked(labels, None, boxes), options)
    soft = _loss(logits, confidence, _Asked(labels, soft_labels(labels, 2), boxes), options)
    for one, two in zip(hard, soft, strict=True):
        torch.testing.assert_close(one, two)
    smooth = soft_labels(labels, 2, smoothing=0.2)
    other = _loss(logits, confidence, _Asked(labels, smooth, boxes), options)
    assert other.classification != hard.classification and other.confidence == hard.confidence


def test_mixed_pictures_and_losses(generator):
    mixed = Mixed(0.75, torch.tensor([1, 2, 0]))
    maps = torch.tensor([0.0, 4.0, 8.0])
    assert mixed.of(maps).tolist() == [1.0, 5.0, 6.0]
    one, two = (Loss(*map(torch.tensor, values)) for values in ((1.0, 2.0, 3.0), (5.0, 6.0, 7.0)))
    assert [float(part) for part in mixed.loss(one, two)] == [2.0, 3.0, 4.0]
    # the cross-entropy with a mixed label is the mixed cross-entropy
    logits, labels = torch.randn(3, 4, 2, generator=generator), torch.tensor([0, 1, 1])
    confidence = torch.rand(3, 4, 1, generator=generator)
    pair = [
        rascanet_loss(logits, confidence, part, kind="none")
        for part in (labels, labels[mixed.other])
    ]
    eye = torch.eye(2)
    wanted = eye[labels[mixed.other]].lerp(eye[labels], mixed.share)
    found = functional.cross_entropy(logits[:, -1], wanted)
    torch.testing.assert_close(mixed.loss(*pair).classification, found)


def test_mixed_is_drawn_from_the_generator():
    def drawn(seed):
        return Mixed.drawn(0.4, 6, torch.Generator().manual_seed(seed))

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert one.share == same.share != other.share and torch.equal(one.other, same.other)
    assert sorted(one.other.tolist()) == list(range(6))
    shares = [drawn(seed).share for seed in range(300)]
    assert 0 <= min(shares) < 0.05 and 0.95 < max(shares) <= 1
    assert np.mean(shares) == pytest.approx(0.5, abs=0.07)


def test_options_train_and_resume(tmp_path):
    options = replace(OPTIONS, epochs=2, mixup=0.4, label_smoothing=0.2)
    list(fit(CONFIG, made(), options, tmp_path / "whole"))
    list(fit(CONFIG, made(), options, tmp_path / "parts", stop_after=1))
    last = tmp_path / "parts/last.pt"
    list(fit(CONFIG, made(), options, tmp_path / "parts", resume=last))
    rows = [
        json.loads((tmp_path / f"{name}/log.jsonl").read_text().splitlines()[1])["loss"]
        for name in ("whole", "parts")
    ]
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    with pytest.raises(ValueError, match="mixup was 0.4 in that run, not 0.0"):
        list(fit(CONFIG, made(), replace(options, mixup=0.0), tmp_path / "x", resume=last))


def test_checkpoints_of_before_these_options_resume(tmp_path):
    list(fit(CONFIG, made(), replace(OPTIONS, epochs=2), tmp_path, stop_after=1))
    older = torch.load(tmp_path / "last.pt", weights_only=True)
    for key in ("mixup", "label_smoothing", "teacher"):
        del older["options"][key]
    torch.save(older, tmp_path / "older.pt")
    again = fit(CONFIG, made(), replace(OPTIONS, epochs=2), tmp_path, resume=tmp_path / "older.pt")
    assert next(again).epoch == 2
    again.close()
    options = replace(OPTIONS, epochs=2, mixup=0.1)
    with pytest.raises(ValueError, match="mixup was 0.0 in that run, not 0.1"):
        list(fit(CONFIG, made(), options, tmp_path, resume=tmp_path / "older.pt"))


# ---- a teacher ----


def test_a_student_learns_what_its_teacher_says(tmp_path):
    """Against the labels, where the teacher says the opposite of them: it is believed in part."""
    data = made()
    labels = torch.tensor([s.label for s in data.samples])
    eye = torch.eye(2)
    sure = {}
    for name, taught in (("good", eye[labels]), ("bad", eye[1 - labels])):
        options = replace(OPTIONS, epochs=6, average=0.0, teacher=name)
        list(fit(CONFIG, data, options, tmp_path / name, taught=taught))
        model = FloatModel(CONFIG)
        state = torch.load(tmp_path / name / "final.pt", weights_only=True)["state_dict"]
        model.load_state_dict(state)
        with torch.no_grad():
            found = model.eval()(data.exact).logits[:, -1].softmax(dim=1)
        sure[name] = float(found[torch.arange(len(labels)), labels].mean())
    assert sure["good"] > 0.6 and abs(sure["bad"] - 0.5) < 0.1  # half labels, half the opposite


def test_teacher_is_found_by_its_layers(tmp_path):
    """A float file of any preset, whatever its size, or of the student's own network."""
    student = resized(preset("vww_105x120"), "50x64")
    large = initial_model(preset("vww_175x200"), 0.0, 1)
    save_file(large.state_dict(), tmp_path / "large.safetensors")
    found = load_teacher(tmp_path / "large.safetensors", student)
    assert (
        found.config.digest == preset("vww_210x240").digest
    )  # of those with its layers the largest
    assert not found.training and torch.equal(
        found.cell.conv_h.weight, large.cell.conv_h.weight.detach()
    )
    torch.save({"state_dict": initial_model(CONFIG, 0.0, 1).state_dict()}, tmp_path / "own.pt")
    assert load_teacher(tmp_path / "own.pt", CONFIG).config.name == "tiny"
    with pytest.raises(ValueError, match="expected a float checkpoint of vww_105x120_at_50x64 or"):
        load_teacher(tmp_path / "own.pt", student)
    three = replace(student, classes=("none", "cat", "dog"), stop_class=None)
    with pytest.raises(ValueError, match="must have shape"):
        load_teacher(tmp_path / "large.safetensors", three)


def test_teacher_speaks_of_each_picture(pictures):
    samples = data_module.load_any(pictures / "data")
    torch.save({"state_dict": initial_model(CONFIG, 0.0, 1).state_dict()}, pictures / "own.pt")
    teacher, seen = load_teacher(pictures / "own.pt", CONFIG), []
    found = teach([teacher], samples, torch.device("cpu"), None, lambda *at: seen.append(at))
    assert found.shape == (24, 2) and seen[-1] == (24, 24)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(24))
    pixels = data_module.read_pictures(samples[:3], CONFIG)
    logits = teacher(pixels).logits[:, -1]
    torch.testing.assert_close(found[:3], logits.softmax(dim=1), rtol=1e-4, atol=1e-5)


def test_several_teachers_and_a_grey_student(pictures):
    """The mean of their logits; each sees the pictures in its own colours and size."""
    samples = data_module.load_any(pictures / "data")[:3]
    grey = replace(CONFIG, in_channels=1)
    torch.save({"state_dict": initial_model(grey, 0.0, 1).state_dict()}, pictures / "grey.pt")
    large = initial_model(preset("vww_105x120"), 0.0, 2)
    torch.save({"state_dict": large.state_dict()}, pictures / "large.pt")
    teachers = [load_teacher(pictures / f"{name}.pt", grey) for name in ("grey", "large")]
    assert [one.config.in_channels for one in teachers] == [1, 3]
    logits = [one(data_module.read_pictures(samples, one.config)).logits[:, -1] for one in teachers]
    found = teach(teachers, samples, torch.device("cpu"))
    right = (sum(logits) / 2).softmax(dim=1)
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, logits[1].softmax(dim=1), atol=1e-3)  # both count
    with pytest.raises(ValueError, match="must have shape"):  # grey does not teach colours
        load_teacher(pictures / "grey.pt", CONFIG)


def test_command_with_a_teacher(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    model = initial_model(preset("vww_105x120"), 0.0, 7)
    torch.save({"state_dict": model.state_dict()}, "teacher.pt")
    words = (
        "--teacher",
        "teacher.pt",
        "--teacher",
        "teacher.pt",
        "--size",
        "20x32",
        "--held-out",
        0.3,
        "--mixup",
        0.2,
    )
    result = train(pictures, *words)
    assert result.exit_code == 0, result.output
    row = json.loads((pictures / "out/log.jsonl").read_text())
    assert row["augmented_per_second"] > row["images_per_second"] > 0
    kept = torch.load(pictures / "out/last.pt", weights_only=True)["options"]
    assert kept["teacher"] == "+".join([digest_of(Path("teacher.pt"))] * 2) and kept["mixup"] == 0.2


@pytest.mark.parametrize(
    "words, text",
    [
        (("--mixup", -1), "--mixup must be at least 0, not -1"),
        (("--label-smoothing", 1), "--label-smoothing must be 0 to below 1, not 1.0"),
        (("--teacher", "none.pt"), "none.pt: no such file"),
        (("--teacher", "data/0.png"), "data/0.png: not a PyTorch checkpoint"),
        (("--minutes", 0), "--minutes must be positive, not 0"),
        (("--minutes", 1, "--resume", "last.pt"), "expected --epochs of the run that is gone"),
        (("--device", "meta"), "device must be auto, cpu or cuda, not 'meta'"),
    ],
)
def test_bad_input_is_one_line(words, text, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    line = refused("train", "--data", "data", "--epochs", 1, "-o", "out", *words)
    assert text in line


def test_fit_wants_both_or_none(tmp_path):
    for options, taught in (
        (replace(OPTIONS, teacher="x"), None),
        (OPTIONS, torch.zeros(64, 2)),
    ):
        with pytest.raises(ValueError, match="teacher must be given together"):
            list(fit(CONFIG, made(), options, tmp_path, taught=taught))


# ---- by the clock ----


def test_epochs_within_a_time(tmp_path, monkeypatch):
    """As many as fit by the speed of the trial, validation included; the trial leaves nothing."""

    class Row:
        images_per_second, seconds = 100.0, 2.0

    seen = []

    def trial(config, data, options, folder, **more):
        seen.append((len(data.samples), options.epochs, more))
        folder.mkdir(parents=True)
        yield from (Row, Row)

    monkeypatch.setattr(train_module, "fit", trial)
    data, options = made(), replace(OPTIONS, batch=16)
    taught = torch.zeros(64, 2)
    usable = int((~data.held_out).sum())
    epochs, speed = epochs_within(31, CONFIG, data, options, tmp_path, taught=taught)
    # an epoch: all pictures at 100 a second, and what the trial's 2 s were longer than its pictures
    whole = usable / 100 + 2 - usable // 16 * 16 / 100
    assert speed == 100 and epochs == int(31 / whole)
    assert seen[0][:2] == (64, 2) and len(seen[0][2]["taught"]) == 64
    assert list(tmp_path.iterdir()) == []
    assert epochs_within(-5, CONFIG, data, options, tmp_path)[0] == 1
    # fewer pictures than a batch: an epoch is one step, its pictures are drawn again
    options, Row.seconds = replace(OPTIONS, batch=64), 0.64
    assert epochs_within(10, CONFIG, data, options, tmp_path)[0] == int(10 / 0.64)


def test_command_by_the_clock(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    monkeypatch.setattr(train_module, "_AT_THE_END", 0.0)
    words = ("--minutes", 1e-6, "--size", "20x32", "--held-out", 0.3)
    result = train(pictures, *words)
    assert result.exit_code == 0, result.output
    assert "images/s: EPOCHS=1 for 1e-06 minutes" in result.stderr
    assert len((pictures / "out/log.jsonl").read_text().splitlines()) == 1
    assert not (pictures / "out/trial").exists()
    kept = torch.load(pictures / "out/last.pt", weights_only=True)["options"]
    assert kept["epochs"] == 1  # so that RESUME= with EPOCHS=1 goes on


# ---- what a GPU would meet ----


@pytest.mark.parametrize(
    "kind, variant",
    [
        ("boxes", {}),
        ("proposed", {}),
        ("proposed", dict(spatial_attention="full")),
        ("boxes", dict(channel_attention=False, in_channels=1)),
    ],
    ids=str,
)
def test_a_step_on_another_device(kind, variant):
    """On PyTorch's meta device, which computes shapes only: where a tensor of the CPU meets one of
    another device, it refuses as a GPU does."""
    config, data, meta = replace(CONFIG, **variant), made(), torch.device("meta")
    samples = [replace(s, persons=((0.1, 0.0, 0.9, 1.0),) * s.label) for s in data.samples]
    larger, exact = (part[:, : config.in_channels].to(meta) for part in (data.larger, data.exact))
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, 64, (16,), generator=generator)
    images, labels, transform = Augmenter(samples, larger, exact).batch(index, generator)
    assert images.device == meta and labels.device == transform.device == torch.device("cpu")
    mixed = Mixed.drawn(0.4, 16, generator)
    model = initial_model(config, 0.1, 0).to(meta).train()
    mean = Average(model, 0.9)
    optimiser = torch.optim.AdamW(model.parameters())
    result = model(_signed(mixed.of(images)))
    boxes = Boxes(samples).targets(index, transform, config.row_groups)
    soft = soft_labels(labels, 2, taught=torch.rand(16, 2), follow=labels == 1)
    asked = _Asked(labels, soft, boxes if kind == "boxes" else None)
    options = replace(OPTIONS, confidence=kind)
    own, other = (
        _loss(result.logits, result.confidence, asked.on(meta, order), options)
        for order in (None, mixed.other)
    )
    mixed.loss(own, other).total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0, foreach=False)
    optimiser.step()
    mean.add(model)
    assert all(p.grad.device == meta for p in model.parameters() if p.grad is not None)
    with pytest.raises(RuntimeError, match="device"):  # the fake sees it
        _loss(result.logits, result.confidence, asked, options)


@pytest.mark.parametrize(
    "variant",
    [{}, dict(spatial_attention="full"), dict(channel_attention=False)],
    ids=str,
)
def test_products_in_bfloat16(variant, generator):
    """As on a GPU, with the CPU's autocast: forward and backward, near the float32 network."""
    config = replace(CONFIG, **variant)
    model = initial_model(config, 0.0, 0).train()
    images = made().exact[:16]
    labels = torch.arange(16) % 2
    found = []
    for short in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            result = model(images)
        assert result.states.dtype == torch.float32  # kept long over the row groups
        loss = rascanet_loss(result.logits.float(), result.confidence.float(), labels)
        loss.total.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append((result.logits.float().detach(), gradient))
    (logits, gradient), (near, other) = found
    assert float((logits - near).abs().max()) < 0.05 * float(logits.abs().max()) + 0.05
    assert functional.cosine_similarity(gradient, other, dim=0) > 0.9


def test_states_for_a_checkpoint_are_on_the_cpu():
    class Elsewhere(torch.Tensor):
        def cpu(self):
            return torch.ones(2)

    there = torch.zeros(2).as_subclass(Elsewhere)
    found = on_cpu({"state": {0: {"step": there}}, "groups": [{"lr": 0.1, "params": [0]}]})
    assert type(found["state"][0]["step"]) is torch.Tensor
    assert found["groups"] == [{"lr": 0.1, "params": [0]}]


def test_devices(monkeypatch):
    assert choose_device("cpu") == choose_device("auto") or torch.cuda.is_available()
    # three processes on a machine with two GPUs: each takes the next one
    monkeypatch.setattr(train_module.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    for rank, wanted in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert choose_device("auto") == torch.device("cuda", wanted)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
