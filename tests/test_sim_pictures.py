"""The class activation map against a derivative by differences, and the picture file."""

import numpy as np
import torch
from PIL import Image

from golden.classifier import classify
from golden.config import PRESETS
from golden.random_weights import random_weights
from sim import pictures

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
    real = pictures.logit_difference(pool(state / 127), WEIGHTS, CONFIG.n)
    # x and y are rounded once each: an error below 1/2 step of x and 1 of y for each hidden unit.
    weight = WEIGHTS.layers["classifier.1"].weight.double().abs().sum()
    bound = float(weight) * 8 * WEIGHTS.scales["logit"]
    assert float((whole - real).abs().max()) <= bound < 0.1 * float(whole.abs().max())


def test_class_activation_map_follows_its_equation():
    state = states(4)
    found = pictures.class_activation_map(state.numpy(), WEIGHTS)
    real = state.double() / 127
    wanted = np.zeros((4, CONFIG.n))
    for t in range(4):
        p, step = pool(real[t]), 1e-6
        for c in range(CONFIG.state_channels):
            up, down = p.clone(), p.clone()
            up[c] += step
            down[c] -= step
            difference = pictures.logit_difference(up, WEIGHTS, CONFIG.n)
            slope = float(difference - pictures.logit_difference(down, WEIGHTS, CONFIG.n))
            slope /= 2 * step
            peak = int(np.argmax(state[t, c].numpy()))  # numpy: the first one
            for j in range(CONFIG.n):
                value = float(real[t, c, j])
                wanted[t, j] += slope * (value / CONFIG.n + value * (j == peak))
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_first_of_equal_maxima_counts():
    state = torch.zeros((1, CONFIG.state_channels, CONFIG.n), dtype=torch.int64)
    state[0, :, 2] = state[0, :, 4] = 100
    found = pictures.class_activation_map(state.numpy(), WEIGHTS)[0]
    assert found[2] != found[4] and found[0] == 0
    assert np.isclose(found[2], found[4] * (CONFIG.n + 1))


def test_probability():
    assert pictures.probability(0.0) == 0.5
    assert pictures.probability(np.array([1e9, -1e9])).tolist() == [1.0, pictures.probability(-500)]


def test_picture_of_two_scans(tmp_path):
    groups = CONFIG.row_groups
    state = states(groups).numpy()
    logits = classify(torch.as_tensor(state), WEIGHTS.layers).numpy()
    image = np.full((105, 120, 3), 90, np.uint8)
    scans = [
        pictures.Scan(
            name=name, image=image, states=state, logits=logits, computed=computed, person=person
        )
        for name, computed, person in (
            ("whole", list(range(groups)), False),
            ("stopped", [0, 1, 3, 4], True),
        )
    ]
    path = tmp_path / "scan.png"
    pictures.draw(path, scans, WEIGHTS, stop=0.99, skip=0.005)
    with Image.open(path) as found:
        assert found.width > 1000 and found.height > 700
        assert len(np.unique(np.asarray(found.convert("L")))) > 50
