"""ONNX in ONNX Runtime: the integer network bit for bit, the float one within rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.config import ModelConfig
from golden.float_model import calibrated_model
from golden.random_weights import random_weights
from golden.weights import Weights
from tests.command import invoke, refused
from tests.networks import network

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from golden import onnx_export  # noqa: E402

SMALL = ModelConfig(
    name="small",
    image_height=22,
    image_width=41,
    heads=2,
    head_channels=(3, 4, 5, 6),
    state_channels=9,
    in_channels=3,
)
VARIANTS = {
    "channel attention": SMALL,
    "full": replace(SMALL, spatial_attention="full"),
    "banded": replace(SMALL, spatial_attention="banded", image_width=83),
    "banded alone": replace(SMALL, spatial_attention="banded", channel_attention=False),
    "plain": replace(SMALL, channel_attention=False, in_channels=1),
    "four classes": replace(SMALL, classes=tuple("abcd"), stop_class="c", heads=1),
    **{f"blocks {kind}": network(kind, 3) for kind in ("one", "seven", "camera")},
}


def pictures(config, count=3):
    """Noise, and the extremes."""
    generator = torch.Generator().manual_seed(2)
    size = (count, config.in_channels, config.image_height, config.image_width)
    found = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    found[0], found[1, :, ::2] = 255, 0
    return found


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("kind", VARIANTS)
def test_bit_exact(kind, extreme):
    """Every state and every logit, of pictures and of random states."""
    config = VARIANTS[kind]
    weights = random_weights(config, 5, extreme=extreme)
    made = onnx_export.models(weights, config)
    found = onnx_export.differences(made, config, weights, pictures(config))
    assert set(found.values()) == {0} and len(found) == 5, found


@pytest.mark.parametrize(
    "layer", ["head1.block2", "attention0.score", "gru.update", "classifier.1"]
)
def test_one_bit_is_found(layer):
    config = VARIANTS["full"]
    weights = random_weights(config, 5)
    old = weights.layers[layer]
    part = "multiplier" if layer == "attention0.score" else "weight"
    tensor = getattr(old, part).clone()
    tensor.view(-1)[0] = int(tensor.view(-1)[0]) ^ 4
    other = replace(weights, layers=weights.layers | {layer: replace(old, **{part: tensor})})
    found = onnx_export.differences(
        onnx_export.models(other, config), config, weights, pictures(config)
    )
    assert sum(found.values())


@pytest.mark.parametrize("kind", ["channel attention", "full", "banded alone", "four classes"])
def test_float(kind):
    """The float network: float32 against float64, sums in another order."""
    config = VARIANTS[kind]
    images = pictures(config)
    float_model = calibrated_model(config, images).float().eval()
    made = onnx_export.models(float_model, config)
    with torch.no_grad():
        wanted = float_model.double()(images)
    decision, logits, states = onnx_export.session(made["picture"]).run(
        ["decision", "group_logits", "group_states"], {"picture": images.numpy()}
    )
    np.testing.assert_allclose(states, wanted.states.numpy(), atol=2e-4)
    np.testing.assert_allclose(logits, wanted.logits.numpy(), atol=2e-3)
    assert np.array_equal(decision, wanted.logits[:, -1].argmax(-1).numpy())


def test_names_and_operators():
    """Standard operators only; nodes are named after layers, and every name is one value."""
    config = VARIANTS["full"]
    made = onnx_export.models(random_weights(config, 5), config)["row_group"]
    assert {each.domain for each in made.opset_import} == {""}
    assert {each.domain for each in made.graph.node} == {""}
    names = [each.name for each in made.graph.node]
    assert len(set(names)) == len(names) and all(names)
    for layer in config.layers:
        assert any(name.startswith(f"{layer.name}/") or name == layer.name for name in names), layer
    facts = {each.key: each.value for each in made.metadata_props}
    assert facts["network digest"] == config.digest and facts["kind"] == "integer"
    shapes = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*made.graph.input, *made.graph.output)
    }
    assert shapes == {
        "rows": ["N", 3, 5, 41],
        "state": ["N", 9, 2],
        "state_out": ["N", 9, 2],
        "logits": ["N", 2],
    }


def test_command(tmp_path):
    found = invoke("onnx", "--preset", "vww_105x120_grey", "--folder", tmp_path)
    assert found.exit_code == 0, found.output
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "vww_105x120_grey_picture.onnx",
        "vww_105x120_grey_row_group.onnx",
    ]
    assert "values that differ" in found.output
    assert "no such file" in refused("onnx", "--checkpoint", tmp_path / "none.pt")


def test_a_difference_is_an_exit_status(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_export, "differences", lambda *_: {"logits": 2})
    found = invoke("onnx", "--folder", tmp_path)
    assert found.exit_code == 1 and "expected the integer model's values" in found.stderr


def test_weights_of_another_network():
    other = random_weights(VARIANTS["full"], 1)
    assert isinstance(other, Weights)
    with pytest.raises(ValueError, match="made for small"):
        onnx_export.models(other, SMALL)
