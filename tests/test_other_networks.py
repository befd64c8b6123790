"""Networks beyond the paper's: k = 7 with a fifth block, three classes, one channel; all at once.

Each goes through everything that the paper's goes through: float model, quantisation, integer
model, quantised training, class activation map, early termination, training from a folder.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from golden import classifier, visualise
from golden.config import ModelConfig, preset
from golden.early_termination import scans
from golden.evaluate import float_answers, integer_answers, scores
from golden.float_from_integers import float_from_integers
from golden.float_model import FloatModel, calibrated_model, load_checkpoint
from golden.images import calibration_images
from golden.loss import rascanet_loss
from golden.model import IntegerModel
from golden.quantise import calibrate, dequantise, quantise
from golden.quantised_training import QuantisedModel
from golden.random_weights import random_weights
from golden.weights import Weights
from tests.command import invoke

SEVEN = ModelConfig(
    name="seven",
    image_height=30,
    image_width=96,
    heads=2,
    head_channels=(4, 6, 8, 10, 12),
    head_kernels=((3, 3), (1, 3), (3, 3), (1, 1), (3, 3)),
    state_channels=12,
)
THREE = ModelConfig(
    name="three",
    image_height=25,
    image_width=64,
    heads=2,
    head_channels=(4, 6, 8, 10),
    state_channels=12,
    classes=("nothing", "cat", "dog"),
    stop_class="dog",
)
GREY = replace(preset("vww_105x120_grey"), name="grey", image_height=25, image_width=64)
NINE = ModelConfig(
    name="nine",
    image_height=36,
    image_width=64,
    heads=1,
    head_channels=(6, 8, 10),
    head_kernels=((5, 3), (3, 1), (3, 3)),
    state_channels=10,
    in_channels=1,
    spatial_attention="full",
    classes=tuple(f"c{label}" for label in range(5)),
    stop_class="c3",
)
THIRD = replace(NINE, name="third", image_height=23, head_kernels=((3, 3), (1, 3), (1, 3)))
NETWORKS = {config.name: config for config in (SEVEN, THREE, GREY, NINE, THIRD)}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """Config, float network, its integers, pictures."""
    config = NETWORKS[request.param]
    images = calibration_images(config)[::2]
    model = calibrated_model(config, images, seed=3)
    return config, model, quantise(model, images), images


def test_shapes_of_the_float_network(network):
    config, model, _, images = network
    trace = {}
    result = model(images[:2], trace=trace)
    shape = (2, config.row_groups)
    assert result.states.shape == (*shape, config.state_channels, config.n)
    assert result.logits.shape == (*shape, config.class_count)
    assert result.confidence.shape == (*shape, config.class_count - 1)
    assert list(trace) == [stage.name for stage in config.stages]
    for stage in config.stages:
        assert trace[stage.name].shape == (*shape, stage.channels, stage.columns)
    own = sum(parameter.numel() for parameter in model.parameters())
    assert own == config.parameters
    fast = model(images[:2])  # without a trace: another way through the same network
    assert torch.allclose(fast.logits, result.logits, rtol=1e-6, atol=1e-9)


def test_operations_are_those_of_the_layers(network):
    """MACs, biases and BatchNorm2d outputs counted where torch makes them."""
    config, model, _, images = network
    found = {"group": 0, "classifier": 0, "confidence": 0}

    def look(layer, inputs, output):
        groups = config.row_groups
        count = output.numel()
        if isinstance(layer, nn.BatchNorm2d):
            found["group"] += count // groups
            return
        ops = count * (layer.weight[0].numel() + (layer.bias is not None))
        part = "group"
        if isinstance(layer, nn.Linear):
            part = "confidence" if layer in confidence else "classifier"
        found[part] += ops // (1 if output.shape[0] == 1 and part == "group" else groups)

    confidence = list(model.raster_confidence.modules())
    for layer in model.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
            layer.register_forward_hook(look)
    before = [layer for layer in model.modules() if layer._forward_hooks]
    model(images[:1], trace={})
    for layer in before:
        layer._forward_hooks.clear()
    heads = sum(layer.macs + layer.sums for name, layer in named(config) if "block" in name)
    later = found["group"] - heads  # each row group calls those layers once more
    group = heads + later // config.row_groups + found["confidence"]
    wanted = config.row_groups * group + (config.row_groups + 1) * found["classifier"]
    assert config.operations == wanted


def named(config):
    return [(layer.name, layer) for layer in config.network]


def test_integers_are_near_the_float_network(network):
    """The bound of tests/test_golden_quantise.py: a step or two of each map."""
    config, model, weights, images = network
    real, whole = {}, IntegerModel(config, weights).run(images[::3], trace=True)
    model(images[::3], trace=real)
    found = dequantise(config, weights, whole.trace)
    for name in (stage.name for stage in config.stages):
        error = (found[name] - real[name]).square().mean().sqrt()
        spread = real[name].std()
        assert error < 0.15 * spread, (name, float(error / spread))
    logits = model(images[::3]).logits
    error = whole.logits * weights.scales["logit"] - logits
    assert error.square().mean().sqrt() < 0.2 * (logits - logits.mean(-1, keepdim=True)).std()


def test_quantised_training_is_the_integer_model(network):
    """Bit for bit, forward; and it can learn."""
    config, model, _, images = network
    quantised = QuantisedModel(model_copy(model), calibrate(model, images)).train()
    weights = quantised.export()
    whole = IntegerModel(config, weights).run(images[:5])
    result = quantised(images[:5])
    assert torch.equal((result.states * 127).round().to(torch.int16), whole.state)
    assert torch.equal((result.logits / weights.scales["logit"]).round().long(), whole.logits)
    assert result.confidence.shape == (5, config.row_groups, config.class_count - 1)
    labels = torch.arange(5) % config.class_count
    rascanet_loss(result.logits, result.confidence, labels).total.backward()
    gradients = [p.grad for name, p in quantised.named_parameters() if ".bn." not in name]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    assert all(bool((g != 0).any()) for g in gradients)


def model_copy(model):
    copy = FloatModel(model.config).double()
    copy.load_state_dict(model.state_dict())
    return copy.eval()


def test_files(network, tmp_path):
    """Weights and checkpoints; those of another network are refused."""
    config, model, weights, images = network
    weights.save(tmp_path / "w.safetensors")
    again = Weights.load(tmp_path / "w.safetensors", config)
    assert again.digest == weights.digest
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pt")
    same = load_checkpoint(tmp_path / "a.pt", config)
    found, wanted = (one.double()(images[:1]).logits for one in (same, model))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)  # a file holds float32
    other = replace(config, head_kernels=None, head_channels=(1, 2, 3, 4), name="other")
    for load, path in ((Weights.load, "w.safetensors"), (load_checkpoint, "a.pt")):
        with pytest.raises(ValueError, match=path):
            load(tmp_path / path, other)


def test_float_from_integers(network):
    config, _, weights, images = network
    model = float_from_integers(config, weights, images)
    whole = IntegerModel(config, weights).run(images)
    logits = whole.logits[:, -1] * weights.scales["logit"]
    spread = (logits - logits.mean(-1, keepdim=True)).std()
    error = (model(images).logits[:, -1] - logits).square().mean().sqrt()
    assert error < 0.25 * spread


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("extreme", [False, True])
def test_random_weights(name, extreme):
    config = NETWORKS[name]
    weights = random_weights(config, 5, extreme=extreme)
    result = IntegerModel(config, weights).run(calibration_images(config)[:2], trace=True)
    assert result.logits.shape == (2, config.row_groups, config.class_count)
    assert list(result.trace) == [stage.name for stage in config.stages]
    if not extreme:
        # Two hidden channels of channel attention may both be dead by chance.
        dead = [stage for stage, maps in result.trace.items() if len(maps.unique()) <= 3]
        assert dead in ([], ["channel_attention.hidden"])


def test_class_activation_map_of_any_class(network):
    """Against differences of the margin, with the largest other class taken anew."""
    config, _, weights, images = network
    state = IntegerModel(config, weights).run(images[:1]).state[0]
    t = config.row_groups - 1
    for label in range(config.class_count):
        found = visualise.class_activation_map(state.numpy(), weights, label)[t]
        real = state[t].double() / 127
        pooled, step = real.mean(-1) + real.amax(-1), 1e-7
        slopes = []
        for channel in range(config.state_channels):
            moved = []
            for sign in (1, -1):
                p = pooled.clone()
                p[channel] += sign * step
                moved.append(float(visualise.logit_margin(p, weights, config.n, label)))
            slopes.append((moved[0] - moved[1]) / (2 * step))
        first = torch.zeros_like(real).scatter_(-1, state[t].argmax(-1, keepdim=True), 1.0)
        wanted = (torch.tensor(slopes)[:, None] * (real / config.n + real * first)).sum(0).numpy()
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


# ---- classes ----


def test_decision_and_margin():
    logits = torch.tensor([[3, 5, 5], [5, 3, 5], [1, 1, 1], [-4, -2, -9]])
    assert classifier.decide(logits).tolist() == [1, 0, 0, 1]
    assert classifier.margin(logits, 1).tolist() == [0, -2, 0, 2]
    assert classifier.margin(logits, 0).tolist() == [-2, 0, 0, -2]
    pair = torch.randint(-5, 6, (50, 2), generator=torch.Generator().manual_seed(1))
    assert torch.equal(classifier.margin(pair, 1), pair[:, 1] - pair[:, 0])
    assert torch.equal(classifier.decide(pair), (pair[:, 1] > pair[:, 0]).long())


@pytest.mark.parametrize("name", ["three", "nine"])
def test_early_termination_watches_the_stop_class(name):
    config = NETWORKS[name]
    images = calibration_images(config)
    model = calibrated_model(config, images, seed=1)
    weights = quantise(model, images)
    integer, scale = IntegerModel(config, weights), weights.scales["logit"]
    plain = integer.run(images)
    assert torch.equal(plain.decision, plain.logits[:, -1].argmax(-1))
    tau = skip = 0.6
    stop = classifier.threshold(tau, scale, up=True)
    level = classifier.threshold(1 - skip, scale, up=False)
    early = integer.run(images, stop_threshold=stop, skip_threshold=level)
    index, ended = config.stop_index, 0
    for b in range(len(images)):
        used = early.computed[b].nonzero().flatten().tolist()
        margins = []
        for t in used:
            logits = early.logits[b, t].tolist()
            margins.append(logits[index] - max(logits[:index] + logits[index + 1 :]))
        assert margins == early.margin[b, used].tolist()
        assert all(m < stop for m in margins[:-1])
        assert bool(early.stopped[b]) == (margins[-1] >= stop)
        for t, m in zip(used, margins, strict=True):
            if t + 1 < config.row_groups and m <= level:
                assert bool(early.skipped[b, t + 1])
        if early.stopped[b]:
            assert int(early.decision[b]) == index
            ended += 1
    assert 0 < ended
    found = scans(integer, images, [None, 1 - skip])[1 - skip]
    decision, used = found.outcome(stop)
    assert np.array_equal(decision, early.decision) and np.array_equal(used, early.rows_used)
    whole = integer_answers(integer, images, tau, 1 - skip)
    assert np.array_equal(whole.decision, early.decision)
    real = float_answers(model, images, tau, 1 - skip)
    assert real.logits.shape == (len(images), config.class_count)
    assert (real.decision == whole.decision).mean() > 0.7


def test_scores_of_one_class():
    decision = np.array([0, 1, 2, 2, 1, 2])
    found = scores(decision, [0, 1, 2, 1, 0, 0], positive=2)
    assert found["accuracy"] == 0.5
    assert found["true_positive_rate"] == 1.0 and found["false_positive_rate"] == 2 / 5


def test_pictures_of_three_classes(tmp_path):
    weights = random_weights(THREE, 3)
    pixels = calibration_images(THREE)[0]
    scan = visualise.scan_image("a", pixels, weights, THREE, tau=0.9)
    visualise.draw(tmp_path / "a.png", [scan], weights, stop=0.9)
    with Image.open(tmp_path / "a.png") as found:
        assert found.width > 900
    text = visualise._verdict(replace(scan, label=1), np.full(THREE.row_groups, 0.25))
    assert text.startswith("cat: dog 25.0 %")
    found = visualise.summary(scan, scan, weights, 0.9, None)
    assert found["decision"] in THREE.classes
    logits = scan.logits[-1] * weights.scales["logit"]
    chance = math.exp(logits[2]) / sum(math.exp(value) for value in logits)
    assert found["probability"][-1] == pytest.approx(chance, abs=1e-4)
    assert json.dumps(found)


# ---- from a folder to integers ----

TOML = {
    "seven": """image_height = 21
image_width = 64
heads = 1
state_channels = 8
blocks = [
    {rows = 3, columns = 3, channels = 3},
    {rows = 1, columns = 3, channels = 4},
    {rows = 3, columns = 3, channels = 4},
    {rows = 1, columns = 3, channels = 5},
    {rows = 3, columns = 3, channels = 6},
]
""",
    "three": """image_height = 15
image_width = 32
heads = 1
head_channels = [3, 4, 4, 6]
state_channels = 8
classes = ["nothing", "cat", "dog"]
stop_class = "dog"
""",
    "grey": """image_height = 15
image_width = 32
heads = 1
head_channels = [3, 4, 4, 6]
state_channels = 8
in_channels = 1
""",
}


@pytest.mark.filterwarnings("ignore:.*made coarser")  # after one epoch anything may happen
@pytest.mark.parametrize("name", TOML)
def test_trained_from_a_folder(name, tmp_path):
    """An epoch each of float and quantised training by the command, network and data from files."""
    (tmp_path / f"{name}.toml").write_text(TOML[name])
    config = preset(tmp_path / f"{name}.toml")
    rng = np.random.default_rng(1)
    for label, word in enumerate(config.classes):
        (tmp_path / "data" / word).mkdir(parents=True)
        for index in range(16):
            pixels = rng.integers(0, 120, (20, 40, 3)) + 100 * label // (config.class_count - 1)
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture.save(tmp_path / "data" / word / f"{word}{index}.png")
    words = ("--preset", tmp_path / f"{name}.toml", "--data", tmp_path / "data", "--epochs", 1)
    words += ("--batch", 8, "--held-out", 0.2, "--quantised-epochs", 1, "-o", tmp_path / "out")
    result = invoke("train", *words)
    assert result.exit_code == 0, result.output
    log = json.loads((tmp_path / "out" / "quantised_log.jsonl").read_text())
    labels = [key for key in log["validation"]["all"] if key.startswith("label")]
    assert math.isfinite(log["loss"]) and len(labels) == config.class_count
    weights = Weights.load(tmp_path / "out" / "weights.safetensors", config)
    trained = load_checkpoint(tmp_path / "out" / "final.pt", config)
    assert trained.config == config
    rows = ["file,label", *(f"{word}/{word}{index}.png,{word}" for word in config.classes
                            for index in range(4))]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    words = ("--preset", tmp_path / f"{name}.toml", "--images", tmp_path / "data")
    path = tmp_path / "out" / "weights.safetensors"
    words += ("--labels", tmp_path / "labels.csv", "--weights", path)
    words += ("--json", tmp_path / "e.json", "--logits", tmp_path / "l.csv", "--tau", 0.9)
    result = invoke("evaluate", *words)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "e.json").read_text())["images"] == 4 * config.class_count
    head = (tmp_path / "l.csv").read_text().splitlines()[0].split(",")
    assert head == ["file", *(f"logit{k}" for k in range(config.class_count)), "rows_used"]
    assert weights.config_digest == config.digest
