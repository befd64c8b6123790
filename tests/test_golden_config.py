"""ModelConfig: derived sizes, accounting, presets, and every error text."""

from dataclasses import FrozenInstanceError, replace

import pytest

from golden.config import PRESETS, ModelConfig, preset

SMALL = dict(
    name="small",
    image_height=23,
    image_width=67,
    heads=2,
    head_channels=(2, 3, 2, 3),
    state_channels=6,
)


@pytest.mark.parametrize(
    "name, parameters, peak, operations, group, frame",
    [
        ("vww_210x240", 47_033, 7_920, 56_335_340, 1_315_440, 55_248_480),
        ("vww_210x240_banded", 54_593, 7_920, 61_098_140, 1_469_340, 61_712_280),
        ("vww_210x240_full", 54_593, 7_920, 61_098_140, 1_469_340, 61_712_280),
        ("vww_105x120", 31_775, 3_600, 9_705_603, 451_440, 9_480_240),
        ("vww_105x120_banded", 36_383, 3_600, 10_382_979, 490_752, 10_305_792),
    ],
)
def test_accounting_is_that_of_the_print(name, parameters, peak, operations, group, frame):
    config = preset(name)
    assert config.parameters == parameters
    assert config.peak_elements == peak
    assert config.operations == operations
    assert config.array_macs_row_group == group
    assert config.array_macs_frame == frame


@pytest.mark.parametrize(
    "name, operations, parameters",
    [("vww_210x240_h1", 56.2e6, 47_000), ("vww_210x240_h3", 57.5e6, 48_400)],
)
def test_other_head_counts_come_near_table_1(name, operations, parameters):
    assert preset(name).operations == pytest.approx(operations, rel=0.002)
    assert preset(name).parameters == pytest.approx(parameters, rel=0.002)


def test_accounting_by_hand_with_odd_widths():
    """67 -> 33 -> 16 -> 8 -> 4: a convolution's odd last column counts, the pool drops it."""
    config = ModelConfig(**SMALL)
    assert config.widths == (67, 33, 16, 8, 4)
    assert (config.n, config.row_groups, config.features) == (4, 4, 6)
    head = 3 * 67 * 2 * 27 + 3 * 33 * 3 * 2 * 3 + 16 * 2 * 3 * 9 + 8 * 3 * 2 * 3
    rest = 4 * (12 * 1 + 1 * 6) + 4 * 3 * (6 * 6 + 6 * 6) + 4 * 3 * 6 * 12
    assert config.array_macs_row_group == 2 * head + rest
    spatial = replace(config, spatial_attention="banded")
    products = 2 * (4 * 3 * 6 + 4 * 3 * 3 + 6 * 16 + 3 * 16)
    assert spatial.array_macs_row_group == 2 * head + rest + products


def test_presets_of_the_release():
    config = preset("vww_210x240")
    assert (config.row_groups, config.n, config.attention_hidden) == (42, 15, 12)
    assert config.acc_bits == 23  # 252 products in projection.0
    assert preset("vww_175x200").widths == (200, 100, 50, 25, 12)
    assert preset("vww_105x120").n == 7
    assert len(PRESETS) == 14
    assert len({config.digest for config in PRESETS.values()}) == 14
    assert all(config.name == name for name, config in PRESETS.items())


def test_unknown_preset_lists_all():
    with pytest.raises(ValueError, match="vww_210x240_h3, .*|vww_105x120.*not 'vww'") as error:
        preset("vww")
    assert all(name in str(error.value) for name in PRESETS)


def test_layers_in_running_order():
    config = replace(preset("vww_105x120_full"), heads=1)
    names = [layer.name for layer in config.layers]
    assert names == [
        *(f"head0.block{number}" for number in (1, 2, 3, 4)),
        "attention0.key",
        "attention0.value",
        "channel_attention.0",
        "channel_attention.1",
        "projection.0",
        "projection.1",
        "gru.reset",
        "gru.update",
        "gru.candidate",
        "classifier.0",
        "classifier.1",
    ]
    assert config.layers[2].taps == 81
    bare = replace(config, spatial_attention="none", channel_attention=False)
    assert not any("attention" in layer.name for layer in bare.layers)
    assert not any("attention" in stage.name for stage in bare.stages)
    assert bare.feature_zero_point == -128 and config.feature_zero_point == 0


def test_accumulator_width_counts_data_products_too():
    config = ModelConfig(**SMALL | dict(image_width=16 * 60, spatial_attention="full"))
    assert config.n == 60 and config.max_taps == 60  # V A sums over the n columns
    assert config.acc_bits == (60 * 128 * 128).bit_length() + 1


def test_smallest_config():
    config = ModelConfig(
        name="dot",
        image_height=5,
        image_width=16,
        heads=1,
        head_channels=(1, 1, 1, 1),
        state_channels=2,
        in_channels=1,
    )
    assert (config.row_groups, config.n) == (1, 1)
    assert (config.attention_hidden, config.classifier_hidden) == (1, 1)


def test_digest_is_of_the_network_not_of_the_name():
    config = ModelConfig(**SMALL)
    assert replace(config, name="other").digest == config.digest
    assert replace(config, attention_hidden=1).digest == config.digest  # the default, written out
    assert replace(config, channel_attention=False).digest != config.digest
    assert ModelConfig(**SMALL | dict(head_channels=[2, 3, 2, 3])).digest == config.digest
    with pytest.raises(FrozenInstanceError):
        config.heads = 1


@pytest.mark.parametrize(
    "change, text",
    [
        (dict(name=""), "name must be a text that is not empty, not ''"),
        (dict(image_height=4), "image_height must be an integer, at least 5, not 4"),
        (dict(image_width=15), "image_width must be an integer, at least 16, not 15"),
        (dict(image_width=32.0), "image_width must be an integer, at least 16, not 32.0"),
        (dict(heads=0), "heads must be an integer, 1..4, not 0"),
        (dict(heads=5), "heads must be an integer, 1..4, not 5"),
        (dict(heads=True), "heads must be an integer, 1..4, not True"),
        (dict(head_channels=(1, 2, 3)), r"head_channels must be four numbers, not \(1, 2, 3\)"),
        (dict(head_channels=6), "head_channels must be four numbers, not 6"),
        (dict(head_channels=(1, 0, 3, 4)), r"head_channels\[1\] must be an integer, at least 1"),
        (dict(state_channels=1), "state_channels must be an integer, at least 2, not 1"),
        (dict(attention_hidden=0), "attention_hidden must be an integer, at least 1, not 0"),
        (dict(classifier_hidden=-1), "classifier_hidden must be an integer, at least 1, not -1"),
        (
            dict(spatial_attention="some"),
            "spatial_attention must be one of none, full, banded, not 'some'",
        ),
        (dict(channel_attention=1), "channel_attention must be True or False, not 1"),
        (dict(in_channels=2), "in_channels must be 1 or 3, not 2"),
        (dict(in_channels=True), "in_channels must be 1 or 3, not True"),
        (
            dict(head_channels=(1, 15000, 1, 1)),
            r"must be at most 131071 \(32 bits\), not 135000",
        ),
        (dict(image_width=16 * 6000), "at most 33286 .*, not 36000"),
        (dict(classifier_hidden=345), "classifier_hidden must be at most 344, not 345"),
    ],
)
def test_errors_give_rule_and_value(change, text):
    with pytest.raises(ValueError, match=text):
        ModelConfig(**SMALL | change)
