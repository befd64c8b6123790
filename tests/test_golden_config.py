"""ModelConfig: derived sizes, accounting, presets, and every error text."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from safetensors import safe_open

from golden import config as config_module
from golden.config import PRESETS, ModelConfig, preset
from golden.network import Activation, Part

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
    assert len(PRESETS) == 18
    assert len({config.digest for config in PRESETS.values()}) == 18
    assert all(config.name == name for name, config in PRESETS.items())


def test_grey_presets_differ_in_their_channels_only():
    for size in ("210x240", "175x200", "140x160", "105x120"):
        colour, grey = preset(f"vww_{size}"), preset(f"vww_{size}_grey")
        assert replace(colour, name=grey.name, in_channels=1) == grey
        first = colour.network[0].macs + colour.of_part(Part.HEAD, 1)[0].macs
        assert colour.array_macs_row_group - grey.array_macs_row_group == first * 2 // 3


def test_unknown_preset_lists_all():
    with pytest.raises(ValueError, match="vww_210x240_h3, .*|vww_105x120.*not 'vww'") as error:
        preset("vww")
    assert all(name in str(error.value) for name in PRESETS)
    with pytest.raises(ValueError, match=r"not 'vww_105x12_gray'; did you mean vww_105x120_grey"):
        preset("vww_105x12_gray")


@pytest.mark.parametrize(
    "name, network, digest",
    [
        (
            "vww_105x120",
            "9860430fc4a57d1a26fbe9ef7d5a1d5fe1dff730995eb2bf66453e53f19e1a33",
            "5ce97bbd56a3c69cf776c56ee4a6c61e9cdbe0c2ff46f8220732afbac8dd2853",
        ),
        (
            "vww_210x240",
            "7c2b26d225fdbac80a69bcad2a65fb97f4554bff5e22f5b76dbde59d9c88a7a8",
            "d9d202bff492d2902e372c1d1786907a48b7992b617bc9f53fac4a39ad757b86",
        ),
    ],
)
def test_digests_are_those_of_the_shipped_weights(name, network, digest):
    """What checkpoints carry never changes; what integers carry does with the arithmetic."""
    assert preset(name).network_digest == network and preset(name).digest == digest
    path = Path(config_module.__file__).with_name("default_weights") / f"{name}.safetensors"
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["rasca"])["config_digest"] == digest


# ---- the network as data ----


def test_the_table_of_the_paper():
    """Each layer as docs/network.md has it, with both attentions."""
    config = ModelConfig(**SMALL | dict(spatial_attention="full"))
    layers = {layer.name: layer for layer in config.network}
    first, second = layers["head1.block1"], layers["head1.block2"]
    assert (first.part, first.head, first.block) == (Part.HEAD, 1, 0)
    assert (first.reads, first.writes, first.in_channels, first.taps) == (
        ("X",), "head1.block1", 3, 27,
    )  # fmt: skip
    assert (first.rows_in, first.rows_out, first.columns_in, first.columns_out) == (5, 3, 67, 33)
    assert (first.pad_rows, first.pad_cols, first.pool, first.norm, first.bias) == (
        0, 1, True, True, False,
    )  # fmt: skip
    assert (first.input_zero_point, first.zero_point, second.input_zero_point) == (0, -128, -128)
    assert first.stages == tuple(f"head1.block1.row{row}" for row in range(3))
    last = layers["head1.block4"]
    assert (last.writes, last.first, last.stages) == ("C", 3, ("head1.block4",))
    score, mix = layers["attention1.score"], layers["attention1.mix"]
    assert not score.weighted and not mix.weighted
    assert (score.reads, score.operand, score.writes) == (("K.1",), "H", "A.1")
    assert (mix.reads, mix.operand, mix.writes, mix.first, mix.gates) == (
        ("A.1",), "V.1", "C", 3, ("C",),
    )  # fmt: skip
    assert layers["attention1.key"].inputs == (("C", 3, -128, 3),)
    hidden, gate = layers["channel_attention.0"], layers["channel_attention.1"]
    assert hidden.inputs == (("H", 6, 0, 0), ("C", 6, 0, 0))
    assert (gate.gates, gate.zero_point, gate.activation) == (("C",), 0, Activation.SIGMOID)
    candidate = layers["gru.candidate"]
    assert (candidate.reads, candidate.gates) == (("F", "HR"), ("H", "U"))
    assert (candidate.stages, candidate.input_zero_point) == (("gru.state",), 0)
    assert layers["classifier.1"].out_channels == 2
    assert [layer.name for layer in config.network if not layer.on_array] == [
        "classifier.0",
        "classifier.1",
    ]


SEVEN = SMALL | dict(
    head_channels=(2, 3, 2, 3, 4),
    head_kernels=((3, 3), (1, 3), (3, 1), (1, 3), (3, 3)),
)


def test_seven_rows_with_a_fifth_block():
    config = ModelConfig(**SEVEN)
    assert (config.rows_per_group, config.row_groups, config.n) == (7, 3, 2)
    assert config.widths == (67, 33, 16, 8, 4, 2)
    assert config.blocks[2] == (3, 1, 2) and config.features == 8
    rows = [(layer.rows_in, layer.rows_out) for layer in config.head_layers(0)]
    assert rows == [(7, 5), (5, 5), (5, 3), (3, 3), (3, 1)]
    assert config.head_layers(0)[2].pad_cols == 0
    head = 5 * 67 * 2 * 27 + 5 * 33 * 3 * 2 * 3 + 3 * 16 * 2 * 3 * 3 + 3 * 8 * 3 * 2 * 3
    head += 4 * 4 * 3 * 9
    rest = 2 * (14 * 1 + 1 * 8) + 2 * 3 * (8 * 6 + 6 * 6) + 2 * 3 * 6 * 12
    assert config.array_macs_row_group == 2 * head + rest
    weights = 2 * (2 * 27 + 3 * 6 + 2 * 9 + 3 * 6 + 4 * 27) + 14 + 8 + 3 * (48 + 36) + 3 * 72
    norm, bias = 2 * (2 * 14 + 12 + 1), 1 + 8 + 18 + 1 + 2
    assert config.parameters == weights + norm + bias + (6 + 2) + (6 + 1)
    assert config.peak_elements == 67 * (3 * 7 + 2 * 5)
    outputs = 2 * (5 * 67 * 2 + 5 * 33 * 3 + 3 * 16 * 2 + 3 * 8 * 3 + 4 * 4)
    group = 2 * head + rest + outputs + 2 * (1 + 8) + 3 * 6 * 2 + 7
    assert config.operations == 3 * group + 4 * (6 + 1 + 2 + 2)
    stages = [stage for stage in config.stages if stage.name.startswith("head1")]
    assert len(stages) == 5 + 5 + 3 + 3 + 1
    assert stages[-1] == ("head1.block5", 4, 2) and stages[5] == ("head1.block2.row0", 3, 16)


@pytest.mark.parametrize(
    "kernels, k",
    [
        ([(3, 3), (1, 3), (1, 3), (1, 3)], 3),
        ([(3, 3)] * 4, 9),
        ([(5, 3), (1, 1)], 5),
        ([(9, 3)], 9),
    ],
)
def test_any_blocks(kernels, k):
    config = ModelConfig(**SMALL | dict(head_kernels=kernels, head_channels=range_of(len(kernels))))
    assert config.rows_per_group == k and config.n == 67 >> len(kernels)
    assert config.head_layers(0)[-1].rows_out == 1


def range_of(count):
    return tuple(range(1, count + 1))


def test_three_classes():
    two, three = ModelConfig(**SMALL), ModelConfig(**SMALL | dict(classes=["no", "cat", "dog"]))
    assert (two.class_count, two.stop_index, two.stop_class) == (2, 1, "person")
    assert (three.class_count, three.stop_index, three.stop_class) == (3, 1, "cat")
    assert replace(three, stop_class="dog").stop_index == 2
    # One more output of the classifier (hidden 1) and of the confidence head (6 states).
    assert three.parameters - two.parameters == (1 + 1) + (6 + 1)
    assert three.operations - two.operations == (4 + 1) * (1 + 1) + 4 * (6 + 1)
    assert three.network[-1].out_channels == 3 and three.array_macs_frame == two.array_macs_frame


def test_digest_of_what_is_new():
    plain = ModelConfig(**SMALL)
    written = replace(plain, head_kernels=[[3, 3], [1, 3], [3, 3], [1, 3]], stop_class="person")
    assert written == plain and written.digest == plain.digest
    named = replace(plain, classes=("nothing", "cat"), stop_class="cat")
    assert named.digest == plain.digest
    three = replace(plain, classes=("no", "cat", "dog"), stop_class="cat")
    others = [
        replace(plain, stop_class="no_person"),
        three,
        replace(three, stop_class="dog"),
        replace(plain, head_kernels=((3, 1), (1, 3), (3, 3), (1, 3))),
        replace(plain, head_kernels=((3, 3), (3, 3), (3, 3), (1, 3))),
    ]
    assert len({config.digest for config in [plain, *others]}) == 6
    assert replace(three, classes=("a", "b", "c"), stop_class="b").digest == three.digest


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
        (dict(image_height=4), "image_height must be an integer, 5..65535, not 4"),
        (dict(image_width=15), "image_width must be an integer, 16..65535, not 15"),
        (dict(image_width=32.0), "image_width must be an integer, 16..65535, not 32.0"),
        (dict(heads=0), "heads must be an integer, 1..4, not 0"),
        (dict(heads=5), "heads must be an integer, 1..4, not 5"),
        (dict(heads=True), "heads must be an integer, 1..4, not True"),
        (dict(head_channels=(1, 2, 3)), r"head_channels must be four numbers, not \(1, 2, 3\)"),
        (dict(head_channels=6), "head_channels must be four numbers, not 6"),
        (dict(head_channels=(1, 0, 3, 4)), r"head_channels\[1\] must be an integer, at least 1"),
        (dict(state_channels=1), "state_channels must be an integer, 2..131071, not 1"),
        (dict(attention_hidden=0), "attention_hidden must be an integer, 1..131071, not 0"),
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
        (dict(image_width=16 * 4000, state_channels=9), "at most 33286 .*, not 36000"),
        (dict(image_height=65536), "image_height must be an integer, 5..65535, not 65536"),
        (dict(image_width=65536), "image_width must be an integer, 16..65535, not 65536"),
        (dict(state_channels=10**30), "state_channels must be an integer, 2..131071, not 10000"),
        (
            dict(attention_hidden=131072, channel_attention=False),  # of no use, but a mistake
            "attention_hidden must be an integer, 1..131071, not 131072",
        ),
        (dict(classifier_hidden=345), "classifier_hidden must be at most 344, not 345"),
        (dict(head_channels=range(4)), r"must be four numbers, not range\(0, 4\) \(one for each"),
        (dict(head_kernels=[]), r"head_kernels must be a list of 1..8 kernels .*, not \[\]"),
        (dict(head_kernels=[(3, 3)] * 9), "head_kernels must be a list of 1..8 kernels"),
        (dict(head_kernels=[(3, 3), 3]), r"head_kernels\[1\] must be \[rows, columns\], not 3"),
        (dict(head_kernels=[(2, 3)]), r"rows of head_kernels\[0\] must be 1, 3, 5, 7 or 9, not 2"),
        (dict(head_kernels=[(3, 5)]), r"columns of head_kernels\[0\] must be 1 or 3, not 5"),
        (dict(head_kernels=[(3, True)]), "must be 1 or 3, not True"),
        (
            dict(head_kernels=[(3, 3)] * 5),
            r"head_channels must be five numbers, not \(2, 3, 2, 3\) .*each of head_kernels",
        ),
        (
            dict(head_kernels=[(1, 3)] * 4),
            "rows that head_kernels reduce to one must be 3, 5, 7 or 9, not 1",
        ),
        (dict(head_kernels=[(9, 3), (3, 3)], head_channels=(1, 1)), "3, 5, 7 or 9, not 11"),
        (SEVEN | dict(image_height=6), "image_height must be an integer, 7..65535, not 6"),
        (SEVEN | dict(image_width=31), "image_width must be an integer, 32..65535, not 31"),
        (dict(classes=("a",)), r"classes must be a list of 2..16 names, not \('a',\)"),
        (dict(classes="ab"), "classes must be a list of 2..16 names, not 'ab'"),
        (dict(classes=[f"c{i}" for i in range(17)]), "classes must be a list of 2..16 names"),
        (dict(classes=("a", "")), r"classes\[1\] must be a text .*, not ''"),
        (dict(classes=("a", "b ")), r"classes\[1\] must be a text without blanks .*, not 'b '"),
        (dict(classes=("a", 1)), r"classes\[1\] must be a text .*, not 1"),
        (dict(classes=("a", "b", "a")), "classes must differ, not twice 'a'"),
        (dict(classes=("a", "0")), r"classes\[1\] must be a name \(or its number, 1\), not '0'"),
        (dict(stop_class="cat"), "stop_class must be one of no_person, person, not 'cat'"),
    ],
)
def test_errors_give_rule_and_value(change, text):
    with pytest.raises(ValueError, match=text):
        ModelConfig(**SMALL | change)
