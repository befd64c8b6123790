"""The weights file: round trip, deterministic bytes, and one clear line for every fault."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from golden.activation import KNOTS
from golden.config import ModelConfig
from golden.random_weights import random_weights
from golden.weights import _METADATA_KEY, Weights

SHIPPED = Path(__file__).resolve().parents[1] / "golden" / "default_weights"
CONFIG = ModelConfig(
    name="tiny",
    image_height=10,
    image_width=32,
    heads=2,
    head_channels=(2, 3, 2, 3),
    state_channels=4,
    spatial_attention="full",
)


@pytest.fixture(scope="module")
def weights():
    return random_weights(CONFIG, 1)


def test_round_trip_and_bytes(tmp_path, weights):
    weights.save(tmp_path / "a")
    random_weights(CONFIG, 1).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = Weights.load(tmp_path / "a", CONFIG)
    assert found.digest == weights.digest != random_weights(CONFIG, 2).digest
    assert found.scales == weights.scales and found.config_name == "tiny"
    found.save(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("variant", ["none", "full", "banded"])
@pytest.mark.parametrize("channel_attention", [False, True])
def test_random_weights_are_valid(variant, channel_attention, extreme):
    config = replace(CONFIG, spatial_attention=variant, channel_attention=channel_attention)
    found = random_weights(config, 3, extreme)
    found.check(config)
    if extreme:
        values = torch.cat(
            [x.weight.flatten() for x in found.layers.values() if x.weight is not None]
        )
        assert set(values.tolist()) == {-127, 127}


def test_random_weights_of_one_tap():
    """A channel whose only weight is 0 would want a ratio beyond what requantisation has."""
    config = replace(
        CONFIG,
        in_channels=1,
        head_channels=(9, 1, 1, 1),
        head_kernels=((3, 1), (3, 1), (1, 1), (1, 1)),
        spatial_attention="none",
    )
    found = random_weights(config, 13)
    one = [x for x in found.layers.values() if x.weight is not None and not x.weight.any()]
    assert [(int(x.multiplier), int(x.shift)) for x in one] == [(255, 1)]
    found.check(config)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="none.safetensors: no such file"):
        Weights.load(tmp_path / "none.safetensors", CONFIG)


@pytest.mark.parametrize("length", [0, 5, 100, 3000, -1])
def test_truncated_file(tmp_path, weights, length):
    path = tmp_path / "w"
    weights.save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="not a whole safetensors file") as error:
        Weights.load(path, CONFIG)
    assert "\n" not in str(error.value)


def test_other_safetensors_file(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(ValueError, match="not a Rasca weights file"):
        Weights.load(tmp_path / "w", CONFIG)


@pytest.mark.parametrize("metadata", ["{}", '{"config_digest": "x"}', "[]", '{"scales": 3}'])
def test_bad_metadata(tmp_path, metadata):
    save_file({"a": torch.zeros(1)}, tmp_path / "w", {"rasca": metadata})
    with pytest.raises(ValueError, match="not a Rasca weights file .bad metadata"):
        Weights.load(tmp_path / "w", CONFIG)


def test_other_config(tmp_path, weights):
    weights.save(tmp_path / "w")
    other = replace(CONFIG, name="other", channel_attention=False)
    text = f"made for tiny .config digest {CONFIG.digest[:12]}., not for other .{other.digest[:12]}"
    with pytest.raises(ValueError, match=text):
        Weights.load(tmp_path / "w", other)
    with pytest.raises(ValueError, match=text):
        weights.check(other)


def change(layer, **parts):
    """A fault: new tensors for a layer."""
    return lambda layers: layers.update({layer: replace(layers[layer], **parts)})


def filled(size, value, dtype):
    return torch.full(size, value, dtype=dtype)


I8, I32, U8 = torch.int8, torch.int32, torch.uint8


@pytest.mark.parametrize(
    "fault, text",
    [
        (lambda layers: layers.pop("gru.reset"), "layer gru.reset is missing"),
        (
            lambda layers: layers.update({"gru.more": layers["gru.reset"]}),
            "layer gru.more does not belong to tiny",
        ),
        (
            change("gru.reset", weight=torch.zeros(4, 7, 1, 1, dtype=I8)),
            r"gru.reset.weight must have shape \(4, 8, 1, 1\), not \(4, 7, 1, 1\)",
        ),
        (
            change("gru.reset", weight=torch.zeros(4, 8, 1, 1)),
            "gru.reset.weight must be int8, not float32",
        ),
        (change("gru.reset", weight=None), "gru.reset.weight is missing"),
        (
            change("gru.reset", weight=filled((4, 8, 1, 1), -128, I8)),
            "gru.reset.weight must be -127..127, not -128",
        ),
        (change("gru.reset", bias=torch.zeros(3, dtype=I32)), r"bias must have shape \(4,\)"),
        (change("gru.reset", bias=torch.zeros(4)), "bias must be int32, not float32"),
        (
            change("gru.reset", bias=filled((4,), 2**19, I32)),
            "bias must be -524288..524287, not 524288",
        ),
        (change("gru.reset", multiplier=torch.zeros(4, dtype=I8)), "multiplier must be uint8"),
        (change("gru.reset", shift=filled((4,), 0, U8)), "shift must be 1..31, not 0"),
        (change("gru.reset", shift=filled((4,), 32, U8)), "shift must be 1..31, not 32"),
        (
            change("classifier.0", multiplier=filled((1,), 2, U8)),
            "classifier.0.multiplier must be 1..1, not 2",
        ),
        (change("classifier.1", shift=filled((2,), 1, U8)), "classifier.1.shift must be 0..0"),
        (
            change("classifier.1", bias=filled((2,), -(2**31), I32)),
            "classifier.1.bias must be -1073741824..1073741824, not -2147483648",
        ),
        (change("attention1.score", bias=filled((1,), 1, I32)), "score.bias must be 0..0, not 1"),
        (change("attention0.mix", bias=filled((1,), 257, I32)), "mix.bias must be 0..256, not 257"),
        (
            change("attention0.mix", weight=torch.zeros(1, dtype=I8)),
            "attention0.mix must have no weight",
        ),
        (change("attention0.mix", shift=torch.zeros(2, dtype=U8)), r"shape \(1,\), not \(2,\)"),
    ],
)
def test_layer_faults(tmp_path, weights, fault, text):
    layers = dict(weights.layers)
    fault(layers)
    replace(weights, layers=layers).save(tmp_path / "w")
    with pytest.raises(ValueError, match=text) as error:
        Weights.load(tmp_path / "w", CONFIG)
    assert str(error.value).startswith(str(tmp_path / "w")) and "\n" not in str(error.value)


ONE_OTHER = KNOTS + (torch.arange(17) == 7).to(torch.int16)


@pytest.mark.parametrize(
    "part, text",
    [
        (dict(knots=torch.zeros(16, dtype=torch.int16)), r"knots must have shape \(17,\)"),
        (dict(knots=torch.zeros(17)), "knots must be int16, not float32"),
        (
            dict(knots=ONE_OTHER),
            r"knots must be every engine's \(0 63 119 .* 240 .*\), not .* 241 ",
        ),
        (dict(exp_table=None), "exp_table is missing"),
        (dict(exp_table=torch.zeros(255, dtype=U8)), r"exp_table must have shape \(256,\)"),
        (dict(exp_table=torch.zeros(256, dtype=I8)), "exp_table must be uint8, not int8"),
        (dict(exp_table=torch.zeros(256, dtype=U8)), "exp_table must begin at 255"),
        (dict(exp_table=torch.tensor([255, 0] + [1] * 254, dtype=U8)), "never rise"),
        (dict(scales={}), "scale logit must be a positive number, not None"),
    ],
)
def test_table_and_scale_faults(tmp_path, weights, part, text):
    replace(weights, **part).save(tmp_path / "w")
    with pytest.raises(ValueError, match=text):
        Weights.load(tmp_path / "w", CONFIG)


@pytest.mark.parametrize(
    "name, text",
    [
        ("knots", "knots are missing"),
        ("gru.reset.bias", "gru.reset.bias is missing"),
        ("gru.reset.shift", "gru.reset.shift is missing"),
    ],
)
def test_missing_tensor(tmp_path, weights, name, text):
    tensors = weights.tensors()
    del tensors[name]
    save_tensors(tmp_path / "w", tensors, weights)
    with pytest.raises(ValueError, match=text):
        Weights.load(tmp_path / "w", CONFIG)


def test_extra_tensor(tmp_path, weights):
    save_tensors(tmp_path / "w", weights.tensors() | {"more": torch.zeros(1)}, weights)
    with pytest.raises(ValueError, match="tensor more does not belong to tiny"):
        Weights.load(tmp_path / "w", CONFIG)


def test_exp_table_without_spatial_attention(tmp_path, weights):
    config = replace(CONFIG, spatial_attention="none")
    found = replace(random_weights(config, 1), exp_table=weights.exp_table)
    with pytest.raises(ValueError, match="exp_table is only for spatial attention"):
        found.check(config)


def save_tensors(path, tensors, weights):
    metadata = {"config": "tiny", "config_digest": CONFIG.digest, "scales": dict(weights.scales)}
    save_file(tensors, path, {"rasca": json.dumps(metadata)})


def test_integers_of_an_older_arithmetic_are_refused(tmp_path, weights):
    """They carry the digest of the float network alone, as all did then."""
    replace(weights, config_digest=CONFIG.network_digest).save(tmp_path / "w")
    text = "integers of an older arithmetic .*make import CHECKPOINT=file CALIBRATE=folder"
    with pytest.raises(ValueError, match=text) as error:
        Weights.load(tmp_path / "w", CONFIG)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=text):
        replace(weights, config_digest=CONFIG.network_digest).check(CONFIG)


def test_a_damaged_file_is_refused(tmp_path):
    """By the digest of all that it was saved with, and without one."""
    path = tmp_path / "a.safetensors"
    found = random_weights(CONFIG, 1)
    found.save(path)
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[_METADATA_KEY])
    assert len(metadata["content"]) == 64
    old = metadata | {"config": "other"}
    text = "a.safetensors: damaged: expected what it was saved with .digest [0-9a-f]{12}., not"
    save_file(found.tensors(), path, {_METADATA_KEY: json.dumps(old)})
    with pytest.raises(ValueError, match=text):
        Weights.load(path, CONFIG)
    del old["content"]
    save_file(found.tensors(), path, {_METADATA_KEY: json.dumps(old)})
    with pytest.raises(ValueError, match=r"saved with \(digest none\), not [0-9a-f]{12}$"):
        Weights.load(path, CONFIG)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_files_have_a_digest(path):
    with safe_open(path, framework="pt") as file:
        assert "content" in json.loads(file.metadata()[_METADATA_KEY])
