"""Float network, quantisation, and the integer network's distance from the float one."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from golden.config import ModelConfig, preset
from golden.float_model import FloatModel, calibrated_model, load_checkpoint
from golden.images import calibration_images
from golden.model import IntegerModel
from golden.quantise import (
    default_weights,
    dequantise,
    quantise,
    quantise_layer,
    random_weights,
)
from golden.weights import scale_name

SMALL = ModelConfig(
    name="small",
    image_height=60,
    image_width=72,
    heads=2,
    head_channels=(4, 7, 11, 16),
    state_channels=16,
)
VARIANTS = [
    dict(spatial_attention=spatial, channel_attention=channel)
    for spatial in ("none", "full", "banded")
    for channel in (True, False)
] + [dict(in_channels=1), dict(heads=3), dict(heads=1, head_channels=(3, 5, 8, 20))]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_integer_network_stays_near_the_float_one(variant):
    """On photographs: each stage's mean error over its own deviation, and the state by group.

    The float network is random, so it carries an error on without the damping of training; one step
    of the state is 0.008. Measured: stages up to 0.072, heads up to 8.3 steps, state 0.011 to 0.017
    in the mean of a group and 0.20 at most, logit difference up to 0.105 of its deviation.
    """
    config = replace(SMALL, **variant)
    images = calibration_images(config)[::2]
    model = calibrated_model(config, images)
    weights = quantise(model, images)
    result = IntegerModel(config, weights).run(images, trace=True)
    real, trace = dequantise(config, weights, result.trace), {}
    with torch.no_grad():
        floats = model(images, trace=trace)
    assert set(trace) == set(real)
    for stage, wanted in trace.items():
        error = (real[stage] - wanted).abs()
        assert error.mean() < 0.1 * wanted.std(), stage
        if stage.startswith("head"):  # no feedback yet: a few steps of the map
            assert error.max() < 12 * weights.scales[scale_name(stage)], stage
    error = (real["gru.state"] - floats.states).abs()
    assert error.mean(dim=(0, 2, 3)).max() < 0.025
    assert error.amax(dim=(0, 2, 3)).max() < 0.3
    difference = floats.logits[..., 1] - floats.logits[..., 0]
    error = (result.margin * weights.scales["logit"] - difference).abs()
    assert error.mean() < 0.15 * difference.std()


def test_calibrated_network_is_alive():
    images = calibration_images(SMALL)
    trace = {}
    with torch.no_grad():
        calibrated_model(SMALL, images)(images, trace=trace)
    for stage, maps in trace.items():
        assert (maps.std(dim=(0, 1, 3)) > 1e-3).double().mean() > 0.9, stage
    update, state = trace["gru.update"], trace["gru.state"]
    assert ((update < 0.01) | (update > 0.99)).double().mean() < 0.05
    assert (state.abs() > 0.99).double().mean() < 0.05 and state.std() > 0.2


def test_percentile_narrows_the_ranges():
    images = calibration_images(SMALL)[:6]
    model = calibrated_model(SMALL, images)
    whole, most = quantise(model, images), quantise(model, images, percentile=99.0)
    assert most.scales["head0.block4"] < whole.scales["head0.block4"]
    for value in (49, 100.1):
        with pytest.raises(ValueError, match=f"percentile must be 50..100, not {value}"):
            quantise(model, images, percentile=value)


def test_quantising_leaves_the_model_alone():
    images = calibration_images(SMALL)[:4]
    model = calibrated_model(SMALL, images).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    quantise(model, images)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        model.raster_cnn_1.conv_block2.conv.weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="not finite at head1.block2"):
        quantise(model, images)


def test_default_weights_are_deterministic(tmp_path):
    default_weights(SMALL).save(tmp_path / "a")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        default_weights(SMALL).save(tmp_path / "b")
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert default_weights(SMALL, seed=1).digest != default_weights(SMALL).digest


def one_layer(weight, bias, output_scale=1.0, acc_bits=20, zero=-128.0):
    weight = torch.tensor(weight, dtype=torch.float64)[None, :, None, None]
    count = weight.shape[1]
    return quantise_layer(
        weight,
        torch.tensor([bias], dtype=torch.float64),
        input_scale=torch.full((count,), 0.5),
        input_zero=torch.full((count,), zero),
        output_scale=output_scale,
        acc_bits=acc_bits,
        name="layer",
    )


def test_multiplier_is_exact_and_zero_points_are_folded():
    layer = one_layer([0.1, -0.2, 0.05], 0.7)
    scale = int(layer.multiplier) / 2 ** int(layer.shift)
    assert 0.1 / 127 <= scale < 0.1 / 127 * (1 + 1 / 128)  # largest weight 0.2, input scale 0.5
    weight = layer.weight.flatten().tolist()
    assert weight == [round(w * 0.5 / scale) for w in (0.1, -0.2, 0.05)]
    assert int(layer.bias) == round(0.7 / scale) + 128 * sum(weight)


def test_channel_without_weights_keeps_its_bias():
    layer = one_layer([0.0, 0.0], 41.3)
    assert not layer.weight.any()
    value = int(layer.bias) * int(layer.multiplier) / 2 ** int(layer.shift)
    assert value == pytest.approx(41.3, abs=0.01)


def test_large_bias_makes_weights_coarser_and_warns():
    with pytest.warns(UserWarning, match="layer: weights of 1 channels made coarser"):
        layer = one_layer([1e-4, 2e-5], 200.0, acc_bits=16)
    value = int(layer.bias) + 128 * int(layer.weight.sum())
    value -= 2 * 128 * int(layer.weight.sum())
    assert value * int(layer.multiplier) / 2 ** int(layer.shift) == pytest.approx(200, rel=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_layer([1e-4, 2e-5], 200.0, acc_bits=32)


def test_input_orders_follow_the_reads():
    """Float [C : H] and [F : H] become [H : C] and [H : F]; the candidate keeps [F : H * R]."""
    images = calibration_images(SMALL)[:2]
    model = calibrated_model(SMALL, images)
    d = SMALL.state_channels
    with torch.no_grad():
        first = model.raster_att.channel_prj.channel_att[0].weight
        first[:, SMALL.features :] = 0
        for conv in (model.cell.conv_reset, model.cell.conv_update, model.cell.conv_h):
            conv.weight[:, d:] = 0
    layers = quantise(model, images, together=False).layers
    for name in ("channel_attention.0", "gru.reset", "gru.update"):
        weight = layers[name].weight
        assert not weight[:, :d].any() and weight[:, d:].any()
    assert not layers["gru.candidate"].weight[:, d:].any()


def test_names_are_those_of_the_release():
    model = FloatModel(preset("vww_210x240_banded"))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names = set()
    for head in (0, 1):
        for block in (1, 2, 3, 4):
            names.add(f"raster_cnn_{head}.conv_block{block}.conv.weight")
            names |= {f"raster_cnn_{head}.conv_block{block}.bn.{part}" for part in norm}
        for part in ("key", "value"):
            names.add(f"raster_att.spatial_attention_{head}.{part}_conv.weight")
    for place in (0, 2):
        prefix = f"raster_att.channel_prj.channel_att.{place}"
        names |= {f"{prefix}.weight", f"{prefix}.bias"}
    for place in (0, 3):
        prefix = "raster_att.channel_prj.projection"
        names.add(f"{prefix}.{place}.weight")
        names |= {f"{prefix}.{place + 1}.{part}" for part in norm}
    for gate in ("reset", "update", "h"):
        names |= {f"raster_rnn.gru.cell.conv_{gate}.{part}" for part in ("weight", "bias")}
    prefix = "out_classifier.out_classifier"
    names |= {f"raster_confidence.out_classifier.1.{part}" for part in ("weight", "bias")}
    names |= {f"{prefix}.{place}.{part}" for place in (0, 3) for part in ("weight", "bias")}
    names |= {f"{prefix}.1.{part}" for part in norm}
    assert set(shapes) == names
    assert shapes["raster_cnn_1.conv_block3.conv.weight"] == (21, 11, 3, 3)
    assert shapes["raster_cnn_1.conv_block4.conv.weight"] == (42, 21, 1, 3)


@pytest.mark.parametrize("name", ["vww_210x240", "vww_105x120_full", "vww_210x240_h3"])
def test_parameters_are_counted_as_the_authors_do(name):
    config = preset(name)
    assert sum(p.numel() for p in FloatModel(config).parameters()) == config.parameters


def test_checkpoint(tmp_path):
    images = calibration_images(SMALL)[:2]
    model = calibrated_model(SMALL, images)
    state = model.float().state_dict()
    key = "raster_rnn.gru.cell.conv_h.weight"
    state[key] = state[key][..., None]  # a 1 x 1 kernel may be written in two dimensions
    torch.save({"state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt", SMALL)
    assert quantise(found, images).digest == quantise(model, images).digest
    grey = load_checkpoint(tmp_path / "a.pt", replace(SMALL, in_channels=1))
    first = "raster_cnn_0.conv_block1.conv.weight"
    assert torch.equal(grey.state_dict()[first], state[first].sum(dim=1, keepdim=True))
    with pytest.raises(ValueError, match="not a checkpoint of small: key raster_cnn_0.conv_block4"):
        load_checkpoint(tmp_path / "a.pt", replace(SMALL, head_channels=(4, 7, 11, 15)))
    with pytest.raises(
        ValueError, match="not a checkpoint of small: key raster_att.spatial_attention_0.* missing"
    ):
        load_checkpoint(tmp_path / "a.pt", replace(SMALL, spatial_attention="full"))
    with pytest.raises(ValueError, match="none.pt: no such file"):
        load_checkpoint(tmp_path / "none.pt", SMALL)
    (tmp_path / "b.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="b.pt: not a PyTorch checkpoint"):
        load_checkpoint(tmp_path / "b.pt", SMALL)
    torch.save([1, 2], tmp_path / "c.pt")
    with pytest.raises(ValueError, match="c.pt: not a checkpoint .no state_dict"):
        load_checkpoint(tmp_path / "c.pt", SMALL)


def test_training_forward_has_gradients():
    model = FloatModel(SMALL).train()
    result = model(calibration_images(SMALL)[:2])
    assert result.logits.shape == (2, 12, 2) and result.confidence.shape == (2, 12, 1)
    (result.logits.square().mean() + result.confidence.mean()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing


def test_random_weights_are_offered_here_too():
    assert random_weights(SMALL, 5).digest == random_weights(SMALL, 5).digest
