"""The class activation map against a derivative by differences, and the picture files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from golden import visualise
from golden.classifier import classify, margin, threshold
from golden.config import PRESETS
from golden.images import calibration_images, default_images
from golden.model import IntegerModel
from golden.quantise import default_weights
from golden.random_weights import random_weights
from golden.weights import EarlyTermination
from tests.command import invoke

CONFIG = PRESETS["vww_105x120"]
WEIGHTS = random_weights(CONFIG, 3)


def states(count, seed=5):
    generator = torch.Generator().manual_seed(seed)
    size = (count, CONFIG.state_channels, CONFIG.n)
    return torch.randint(-127, 128, size, generator=generator)


def pool(state):
    return state.mean(dim=-1) + state.amax(dim=-1)


def test_float_classifier_is_the_integer_one_but_for_rounding():
    state = states(50)
    logits = classify(state, WEIGHTS.layers)
    whole = (logits[:, 1] - logits[:, 0]) * WEIGHTS.scales["logit"]
    real = visualise.logit_margin(pool(state / 127), WEIGHTS, CONFIG.n)
    # x and y are rounded once each: an error below 1/2 step of x and 1 of y for each hidden unit.
    weight = WEIGHTS.layers["classifier.1"].weight.double().abs().sum()
    bound = float(weight) * 8 * WEIGHTS.scales["logit"]
    assert float((whole - real).abs().max()) <= bound < 0.1 * float(whole.abs().max())


def test_class_activation_map_follows_its_equation():
    state = states(4)
    found = visualise.class_activation_map(state.numpy(), WEIGHTS)
    real = state.double() / 127
    wanted = np.zeros((4, CONFIG.n))
    for t in range(4):
        p, step = pool(real[t]), 1e-6
        for c in range(CONFIG.state_channels):
            up, down = p.clone(), p.clone()
            up[c] += step
            down[c] -= step
            difference = visualise.logit_margin(up, WEIGHTS, CONFIG.n)
            slope = float(difference - visualise.logit_margin(down, WEIGHTS, CONFIG.n))
            slope /= 2 * step
            peak = int(np.argmax(state[t, c].numpy()))  # numpy: the first one
            for j in range(CONFIG.n):
                value = float(real[t, c, j])
                wanted[t, j] += slope * (value / CONFIG.n + value * (j == peak))
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_first_of_equal_maxima_counts():
    state = torch.zeros((1, CONFIG.state_channels, CONFIG.n), dtype=torch.int64)
    state[0, :, 2] = state[0, :, 4] = 100
    found = visualise.class_activation_map(state.numpy(), WEIGHTS)[0]
    assert found[2] != found[4] and found[0] == 0
    assert np.isclose(found[2], found[4] * (CONFIG.n + 1))


def test_probability():
    assert visualise.probability(0.0) == 0.5
    assert visualise.probability(np.array([1e9, -1e9])).tolist() == [
        1.0,
        visualise.probability(-500),
    ]


def test_picture_of_two_scans(tmp_path):
    groups = CONFIG.row_groups
    state = states(groups).numpy()
    logits = classify(torch.as_tensor(state), WEIGHTS.layers).numpy()
    image = np.full((105, 120, 3), 90, np.uint8)
    scans = [
        visualise.Scan(
            name=name,
            image=image,
            states=state,
            logits=logits,
            computed=computed,
            label=label,
            config=CONFIG,
        )
        for name, computed, label in (
            ("whole", list(range(groups)), 0),
            ("stopped", [0, 1, 3, 4], 1),
        )
    ]
    path = tmp_path / "scan.png"
    visualise.draw(path, scans, WEIGHTS, stop=0.99, skip=0.005)
    with Image.open(path) as found:
        assert found.width > 1000 and found.height > 700
        assert len(np.unique(np.asarray(found.convert("L")))) > 50


@pytest.fixture(scope="module")
def weights():
    return replace(default_weights(CONFIG), early=None)  # thresholds are those of the options


def run(*arguments):
    return invoke("visualise", *arguments)


@pytest.mark.parametrize("tau, skip", [(None, None), (0.7, None), (0.8, 0.3)])
def test_scan_of_a_picture_is_the_integer_models(tau, skip, weights):
    images = calibration_images(CONFIG)[:6]
    scale = weights.scales["logit"]
    result = IntegerModel(CONFIG, weights).run(
        images,
        stop_threshold=None if tau is None else threshold(tau, scale, up=True),
        skip_threshold=None if skip is None else threshold(skip, scale, up=False),
    )
    for index, pixels in enumerate(images):
        scan = visualise.scan_image("a", pixels, weights, CONFIG, tau=tau, skip=skip)
        assert np.array_equal(scan.states, result.state[index])
        assert np.array_equal(scan.logits, result.logits[index])
        assert list(scan.computed) == result.computed[index].nonzero()[:, 0].tolist()
        assert scan.label == int(result.decision[index])
        assert np.array_equal(scan.image, pixels.permute(1, 2, 0))


def test_grey_networks_are_drawn_in_grey():
    config = replace(CONFIG, name="grey", in_channels=1)
    pixels = default_images(config)[0]
    scan = visualise.scan_image("a", pixels, random_weights(config, 1), config)
    assert scan.image.shape == (105, 120, 3) and (scan.image[..., 0] == scan.image[..., 2]).all()


def test_animation_has_a_picture_for_each_row_group(tmp_path, weights):
    pixels = default_images(CONFIG)[0]
    whole = visualise.scan_image("a", pixels, weights, CONFIG)
    early = replace(whole, computed=[0, 1, 3, 4], label=1)
    for name, scan, count in (("whole.gif", whole, 21), ("early.gif", early, 5)):
        visualise.animate(tmp_path / name, scan, weights, stop=0.9, skip=0.1)
        with Image.open(tmp_path / name) as found:
            assert found.n_frames == count and found.info["loop"] == 0
            times, sums = [], []
            for index in range(count):
                found.seek(index)
                times.append(found.info["duration"])
                sums.append(np.asarray(found.convert("L"), dtype=int).sum())
        assert times[-1] > times[0]  # the decision stays
        assert len(set(sums)) == count  # no picture is that of another group


def test_a_skipped_end_is_no_stop(tmp_path, weights):
    """The skip rule may leave out the last row group: the scan is shown to its end, no line."""
    pixels = default_images(CONFIG)[0]
    whole = visualise.scan_image("a", pixels, weights, CONFIG)
    skipped = replace(whole, computed=list(range(20)), label=0)
    stopped = replace(skipped, label=1)
    assert stopped.stopped and not skipped.stopped and not replace(whole, label=1).stopped
    sure = np.full(21, 0.25)
    assert visualise._verdict(skipped, sure) == "no person: 25.0 %, worked on 20 of 21"
    assert visualise._verdict(stopped, sure) == "person: 25.0 %, stops after 20 of 21"
    assert visualise._verdict(whole, sure).endswith("25.0 %")
    for scan, count in ((skipped, 21), (stopped, 20)):
        visualise.animate(tmp_path / "a.gif", scan, weights)
        with Image.open(tmp_path / "a.gif") as found:
            assert found.n_frames == count


def test_rows_left_out_are_pale_and_their_neighbours_are_not(tmp_path, weights):
    pixels = default_images(CONFIG)[0]
    whole = visualise.scan_image("a", pixels, weights, CONFIG)
    part = replace(whole, computed=[0, 1, 2, 4, 5], label=0)
    page = visualise._Page(6, 5.25)
    axes = page.place(0, 0, 6, 5.25)
    level = visualise._level(np.ones((21, CONFIG.n)), np.arange(21))
    visualise._draw_overlay(axes, part, level)
    shown = np.asarray(page.pixels(), dtype=int)
    height = len(shown) / CONFIG.image_height * 5
    red = [
        (shown[round((t + 0.5) * height), :, 0] - shown[round((t + 0.5) * height), :, 2]).mean()
        for t in range(21)
    ]
    assert all((value > 60) == (t in part.computed) for t, value in enumerate(red))
    assert all(value < 10 for t, value in enumerate(red) if t not in part.computed)


def test_command(tmp_path, weights):
    image, output = tmp_path / "cup.png", tmp_path / "out"
    Image.fromarray(default_images(CONFIG)[1].permute(1, 2, 0).numpy()).save(image)
    weights.save(tmp_path / "w.safetensors")
    for tau in (0.999999, 1e-6):
        result = run(
            "--image", image, "-o", output, "--weights", tmp_path / "w.safetensors", "--tau", tau
        )
        assert result.exit_code == 0, result.output
        found = json.loads((output / "scan.json").read_text())
        assert found["image"] == "cup.png" and len(found["probability"]) == 21
        assert np.shape(found["class_activation_map"]) == (21, CONFIG.n)
        used = found["early_termination"]["rows_used"]
        words = "it works on all of 21" if used == 21 else f"it stops after {used} of 21"
        assert words in result.stdout
        assert ("person" if found["probability"][-1] > 0.5 else "no_person") == found["decision"]
        with Image.open(output / "scan.gif") as animation:
            assert animation.n_frames == used
        with Image.open(output / "scan.png") as picture:
            heights = picture.height
    assert used == 1  # the first group is enough, and the picture has a second line
    assert found["early_termination"]["decision"] == "person" and heights > 900


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--image", "none.png"), "none.png: no such file"),
        (("--image", "text.png"), "text.png: not a readable picture"),
        (("--preset", "vww"), "preset must be one of"),
        (("--tau", "2"), "tau must lie inside 0..1, not 2.0"),
        (("--calibrate", "."), "--calibrate goes with --checkpoint"),
        (("--weights", "none"), "none: no such file"),
        (("--weights", "a", "--checkpoint", "b"), "expected --weights or --checkpoint, not both"),
    ],
)
def test_bad_input_is_one_line(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    result = run("--image", "a.png", "-o", "out", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr


def test_a_name_is_no_formula(tmp_path, weights):
    """Two dollar signs in a file's name ended the command: what is between them was set as TeX."""
    image = tmp_path / "a$_$b.png"
    Image.new("RGB", (40, 30), "grey").save(image)
    weights.save(tmp_path / "w.safetensors")
    result = run("--image", image, "-o", tmp_path / "out", "--weights", tmp_path / "w.safetensors")
    assert result.exit_code == 0, result.output
    found = Image.open(tmp_path / "out/scan.png").convert("L")
    # as wide as the same name with another sign of that kind
    other = image.rename(tmp_path / "a#_#b.png")
    run("--image", other, "-o", tmp_path / "two", "--weights", tmp_path / "w.safetensors")
    pictures = (np.asarray(found), np.asarray(Image.open(tmp_path / "two/scan.png").convert("L")))
    differs = np.flatnonzero((pictures[0] != pictures[1]).any(axis=0))
    assert 0 < np.ptp(differs) < 200


def test_a_rule_that_the_weights_leave_off(tmp_path, weights):
    """The weights' own thresholds are taken, also where they say that there is none to stop at."""
    early = EarlyTermination(
        tau=None, skip=0.01, images=9, accuracy=1.0, change=0.0, macs_saved=0.0
    )
    replace(weights, early=early).save(tmp_path / "w.safetensors")
    Image.new("RGB", (40, 30), "grey").save(tmp_path / "a.png")
    words = ("--image", tmp_path / "a.png", "-o", tmp_path, "--weights", tmp_path / "w.safetensors")
    assert "with no tau and skip 0.01 it" in run(*words).stdout
    found = json.loads((tmp_path / "scan.json").read_text())["early_termination"]
    assert (found["tau"], found["skip"]) == (None, 0.01)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_where_a_rule_is_drawn(classes, generator):
    """On the same side of the curve as the margin is of the threshold, however many rivals."""
    logits = torch.randn(4000, classes, dtype=torch.float64, generator=generator).numpy() * 3
    for label, q in ((0, 0.9), (1, 0.99), (1, 0.05)):
        sure, rule = (
            visualise.class_probability(logits, label),
            visualise.rule_probability(logits, label, q),
        )
        wanted = margin(torch.from_numpy(logits), label).numpy() >= np.log(q / (1 - q))
        assert ((sure >= rule) == wanted).all() and 0 < wanted.sum() < 4000
        if classes == 2:
            np.testing.assert_allclose(rule, q, rtol=1e-12)
