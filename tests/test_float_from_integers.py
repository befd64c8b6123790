"""The fast training step, and float networks made of integer weights."""

from dataclasses import replace

import pytest
import torch

from golden.config import ModelConfig, preset
from golden.float_from_integers import float_from_integers
from golden.float_model import calibrated_model
from golden.images import calibration_images
from golden.line_buffer import split_row_groups, to_signed
from golden.model import IntegerModel
from golden.quantise import default_weights, quantise
from golden.train import initial_model

SMALL = ModelConfig(
    name="small",
    image_height=40,
    image_width=56,
    heads=2,
    head_channels=(4, 7, 11, 16),
    state_channels=12,
)
VARIANTS = [
    {},
    dict(in_channels=1, heads=1),
    dict(channel_attention=False),
    dict(spatial_attention="full"),
    dict(spatial_attention="banded", channel_attention=False),
]


@pytest.mark.parametrize("training", [False, True])
def test_matrix_products_are_the_same_function(training, generator):
    """Without a trace the row groups run as joined products: outputs, gradients and statistics."""
    images = torch.randint(0, 256, (3, 3, 40, 56), generator=generator, dtype=torch.uint8)
    models = [initial_model(SMALL, 0.0, 1).double().train(training) for _ in range(2)]
    results = [model(images, trace=trace) for model, trace in zip(models, (None, {}), strict=True)]
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    for result in results:
        (result.logits.square().sum() + result.confidence.sum()).backward()
    for (name, one), two in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-10, atol=1e-10, msg=name)
    for one, two in zip(models[0].buffers(), models[1].buffers(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_float_network_of_integers(variant):
    """The same answers up to the integer network's own rounding; heads also in training mode."""
    config = replace(SMALL, **variant)
    images = calibration_images(config)
    weights = quantise(calibrated_model(config, images), images)
    model = float_from_integers(config, weights, images, dropout=0.0)
    found = IntegerModel(config, weights).run(images)
    wanted = (found.margin * weights.scales["logit"]).float()
    with torch.no_grad():
        logits = model(images).logits
        rows = split_row_groups(to_signed(images).float(), 5).flatten(0, 1)
        heads = [model.train(mode).raster_cnn_0(rows)[-1] for mode in (False, True)]
    difference = logits[..., 1] - logits[..., 0]
    assert (difference - wanted).abs().mean() < 0.1 * wanted.std()
    # Batch norm's statistics are those of the pictures, so training changes nothing at first.
    torch.testing.assert_close(*heads, rtol=1e-3, atol=1e-3)


def test_weights_have_the_size_of_fresh_ones():
    """Learning rates and weight decay are meant for those."""
    config = preset("vww_105x120")
    images = calibration_images(config)
    made = float_from_integers(config, default_weights(config), images)
    fresh = initial_model(config, 0.0, 0).state_dict()
    for name, value in made.named_parameters():
        if name.endswith((".conv.weight", "projection.0.weight", "projection.3.weight")):
            assert 0.8 < value.std() / fresh[name].std() < 1.25, name


def test_same_answers_on_photographs():
    """The shipped weights on scikit-image's photographs: no answer changes but next to the edge."""
    config = preset("vww_105x120")
    images = calibration_images(config)
    weights = default_weights(config)
    with torch.no_grad():
        logits = float_from_integers(config, weights, images)(images).logits[:, -1]
    found = IntegerModel(config, weights).run(images).margin[:, -1] * weights.scales["logit"]
    difference = logits[:, 1] - logits[:, 0]
    sure = difference.abs() > 0.2
    assert sure.double().mean() > 0.8
    assert torch.equal((difference > 0)[sure], (found > 0)[sure])
