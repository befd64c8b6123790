"""Quantisation-aware training computes the integer model, bit for bit, and can be trained."""

import copy
import json
import time
from dataclasses import replace

import pytest
import torch

from golden import quantised_training
from golden.config import ARITHMETIC, PRESETS
from golden.float_model import calibrated_model
from golden.images import calibration_images
from golden.loss import rascanet_loss
from golden.model import IntegerModel
from golden.quantise import calibrate, quantise, quantise_ranges
from golden.quantised_training import QuantisedModel, exact_type, finish
from golden.train import draw_curves, fit, initial_model
from golden.weights import Weights
from tests.test_train import CONFIG, OPTIONS, made

VARIANTS = [
    {},
    dict(spatial_attention="full"),
    dict(spatial_attention="banded"),
    dict(channel_attention=False),
    dict(heads=1, in_channels=1, image_width=52),
    dict(heads=1, state_channels=180),  # too many products for float32
]


def same(model, images):
    """The trained model's forward pass is the integer model on the exported weights."""
    weights = model.export()
    wanted = IntegerModel(model.config, weights).run(images)
    with torch.no_grad():
        found = model(images)
    assert torch.equal((found.states * 127).round().to(torch.int16), wanted.state)
    logits = found.logits / weights.scales["logit"]
    assert torch.equal(logits.round().to(torch.int64), wanted.logits)
    assert (logits - logits.round()).abs().max() < 1e-6


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_forward_is_the_integer_model_before_and_after_training(variant):
    config = replace(CONFIG, **variant)
    images = calibration_images(config)[:8]
    model = calibrated_model(config, images, seed=3)
    model = QuantisedModel(model, calibrate(model, images)).train()
    same(model, images)
    before = model.export().digest
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.003)
    labels = torch.arange(8) % 2
    losses = []
    for _ in range(6):
        result = model(images)
        loss = rascanet_loss(result.logits, result.confidence, labels).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert model.export().digest != before
    same(model, images)


@pytest.mark.parametrize("taps", [1, 63, 297, 518])
def test_sums_in_float32_are_exact(taps, generator):
    """In any order, up to the largest products that there are; one tap more takes float64."""
    weight = torch.randint(0, 2, (taps, 8), generator=generator) * 254 - 127
    maps = torch.randint(250, 256, (16, taps), generator=generator)
    weight[:, 0], maps[0] = 127, 255
    assert exact_type(taps) == torch.float32 and exact_type(519) == torch.float64
    for order in (torch.arange(taps), torch.randperm(taps, generator=generator)):
        found = maps[:, order].float() @ weight[order].float()
        assert torch.equal(found.long(), maps @ weight)


def test_presets_are_computed_in_float32():
    for config in PRESETS.values():
        layers = config.layers
        taps = [one.in_channels * one.kernel_rows * one.kernel_cols for one in layers]
        assert {exact_type(number) for number in taps} == {torch.float32}, config.name


def test_a_type_that_is_too_short_is_seen(monkeypatch):
    """The comparison with the integer model fails where sums are rounded."""
    images = calibration_images(CONFIG)[:8]
    model = calibrated_model(CONFIG, images, seed=3)
    model = QuantisedModel(model, calibrate(model, images)).train()
    same(model, images)
    monkeypatch.setattr(quantised_training, "exact_type", lambda taps: torch.bfloat16)
    with pytest.raises((AssertionError, IndexError)):  # or no entry of a table
        same(model, images)


def test_every_weight_gets_a_gradient():
    images = calibration_images(CONFIG)[:8]
    model = calibrated_model(CONFIG, images, seed=3)
    model = QuantisedModel(model, calibrate(model, images)).train()
    result = model(images)
    rascanet_loss(result.logits, result.confidence, torch.arange(8) % 2).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name


def test_ranges_are_those_of_quantise():
    images = calibration_images(CONFIG)[:8]
    model = calibrated_model(CONFIG, images)
    with torch.no_grad():
        apart = quantise_ranges(model, calibrate(model, images))
    assert dict(apart.scales) == dict(quantise(model, images).scales)


def test_finish_writes_weights(tmp_path):
    data = made()
    list(fit(CONFIG, data, replace(OPTIONS, epochs=6), tmp_path))
    seen = []
    rounds = list(finish(CONFIG, data, tmp_path, 2, batch=16, progress=lambda *at: seen.append(at)))
    assert seen == [(step, 6) for step in range(1, 7)]
    read = Weights.load(tmp_path / "weights.safetensors", CONFIG)
    decisions = IntegerModel(CONFIG, read).run(data.exact[data.held_out]).decision
    labels = torch.tensor([s.label for s in data.samples])[data.held_out]
    share = float((decisions == labels).float().mean())
    assert share > 0.7
    assert rounds[-1].validation["all"]["accuracy"] == pytest.approx(share)  # the integer model's
    assert all(row.images_per_second > 0 for row in rounds)
    lines = (tmp_path / "quantised_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    draw_curves(tmp_path / "quantised_log.jsonl", tmp_path / "curves.png", "tiny")


def test_resuming_gives_the_same_weights(tmp_path):
    data = made()
    list(fit(CONFIG, data, replace(OPTIONS, epochs=1), tmp_path))
    list(finish(CONFIG, data, tmp_path, 3, batch=16))
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").unlink()
    rounds = finish(CONFIG, data, tmp_path, 3, batch=16)
    next(rounds), rounds.close()  # as if it had been killed after the first epoch
    assert not (tmp_path / "weights.safetensors").exists()
    last = tmp_path / "quantised_last.pt"
    again = finish(CONFIG, data, tmp_path, 3, batch=16, resume=last)
    assert [row.epoch for row in again] == [2, 3]
    assert (tmp_path / "weights.safetensors").read_bytes() == whole
    with pytest.raises(ValueError, match="quantised_epochs was 3 in that run, not 4"):
        list(finish(CONFIG, data, tmp_path, 4, batch=16, resume=last))
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        list(finish(CONFIG, data, tmp_path, 3, batch=16, resume=tmp_path / "last.pt"))
    older = torch.load(last, weights_only=True)
    del older["options"]["arithmetic"]  # as before there was more than one
    torch.save(older, last)
    with pytest.raises(ValueError, match=f"arithmetic was 1 in that run, not {ARITHMETIC}"):
        list(finish(CONFIG, data, tmp_path, 3, batch=16, resume=last))


def test_a_step_costs_less_than_two_float_ones(generator):
    """Processor time of one thread, the least of three steps; `pytest -s` tells the ratio."""
    config, threads = PRESETS["vww_105x120"], torch.get_num_threads()
    images = torch.randint(0, 256, (32, 3, 105, 120), generator=generator, dtype=torch.uint8)
    labels = torch.arange(32) % 2
    model = initial_model(config, 0.0, 0)
    ranges = calibrate(model, images[:8])
    spent = []
    torch.set_num_threads(1)
    try:
        for network in (model.train(), QuantisedModel(copy.deepcopy(model), ranges).train()):
            times = []
            for _ in range(4):
                begun = time.process_time()
                result = network(images)
                rascanet_loss(result.logits, result.confidence, labels).total.backward()
                times.append(time.process_time() - begun)
            spent.append(min(times[1:]))
    finally:
        torch.set_num_threads(threads)
    print(
        f"\nms a picture: float {spent[0] / 32e-3:.1f}, quantised {spent[1] / 32e-3:.1f}, "
        f"{spent[1] / spent[0]:.2f} float steps"
    )
    assert spent[1] < 2 * spent[0]
