"""hw/plan/engine_config.py: shapes, and how a network lies on them."""

from dataclasses import replace
from math import ceil, gcd

import pytest

from golden.config import PRESETS, ModelConfig, preset
from hw.plan.engine_config import EngineConfig, Geometry, config_digest, default_shape

SMALL = ModelConfig(
    name="small",
    image_height=10,
    image_width=52,
    heads=2,
    head_channels=(2, 3, 4, 5),
    state_channels=4,
)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(pixels=2), "pixels must be 3..64, not 2"),
        (dict(pixels=65), "pixels must be 3..64, not 65"),
        (dict(channels=0), r"channels must be 1..pixels \(15\), not 0: the words of a lane's"),
        (dict(channels=16), r"channels must be 1..pixels \(15\), not 16"),
        (dict(lanes=0), "lanes must be 1..16, not 0"),
        (dict(lanes=17), "lanes must be 1..16, not 17"),
    ],
)
def test_errors(changes, message):
    good = dict(pixels=15, channels=3, lanes=2)
    EngineConfig(**good)
    with pytest.raises(ValueError, match=message):
        EngineConfig(**good | changes)


def test_ends():
    for pixels, channels, lanes in ((3, 1, 1), (3, 3, 16), (64, 64, 1)):
        engine = EngineConfig(pixels=pixels, channels=channels, lanes=lanes)
        assert engine.multipliers == pixels * channels * lanes
        assert engine.units == channels * lanes
        assert EngineConfig.parse(str(engine)) == engine


@pytest.mark.parametrize("text", ["", "15", "15,3", "15,3,2,1", "a,b,c", "15;3;2", "1.5,1,1"])
def test_parse_errors(text):
    message = "a shape is three whole numbers .* for example 15,3,2, not"
    with pytest.raises(ValueError, match=message):
        EngineConfig.parse(text)


def test_parse_checks():
    assert EngineConfig.parse(" 8, 1,2 ") == EngineConfig(pixels=8, channels=1, lanes=2)
    with pytest.raises(ValueError, match="lanes must be 1..16, not 0"):
        EngineConfig.parse("8,1,0")


@pytest.mark.parametrize(
    "name, shape",
    [
        ("vww_105x120", "8,1,2"),
        ("vww_140x160", "10,5,2"),
        ("vww_175x200", "13,3,2"),
        ("vww_210x240", "15,3,2"),
    ],
)
def test_default_shape(name, shape):
    assert str(default_shape(preset(name))) == shape


def test_default_shape_fits():
    """Every preset and any width has a default shape that carries it."""
    for model in PRESETS.values():
        Geometry(model, default_shape(model))
    for width in range(16, 400, 23):
        model = replace(SMALL, image_width=width, spatial_attention="full")
        Geometry(model, default_shape(model))


def test_digest():
    """Names do not count; every field of network and array does."""
    engine = EngineConfig(pixels=4, channels=2, lanes=2)
    digest = config_digest(SMALL, engine)
    assert digest == config_digest(replace(SMALL, name="other"), engine)
    others = [
        config_digest(replace(SMALL, **{field: value}), engine)
        for field, value in (
            ("image_height", 15),
            ("image_width", 53),
            ("heads", 1),
            ("state_channels", 5),
            ("spatial_attention", "full"),
            ("channel_attention", False),
            ("in_channels", 1),
        )
    ]
    others += [
        config_digest(SMALL, replace(engine, **{field: 1 + getattr(engine, field)}))
        for field in ("pixels", "channels", "lanes")
    ]
    assert len({digest, *others}) == 1 + len(others)
    assert len(digest) == 64 and int(digest, 16) >= 0


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
@pytest.mark.parametrize("lanes", range(1, 17))
def test_heads_on_lanes(heads, lanes):
    """All lanes work, lanes of a head are 1 or even, and an impossible number names a near one."""
    model = replace(SMALL, heads=heads)
    engine = EngineConfig(pixels=3, channels=1, lanes=lanes)
    each = lanes // gcd(heads, lanes)
    if each == 1 or each % 2 == 0:
        g = Geometry(model, engine)
        assert g.heads * g.head_lanes == lanes and g.heads * g.passes == heads
        assert g.head_lanes == each
        return
    text = f"lanes = {lanes} gives {each} lanes a head with {heads} heads; that must be 1 or even"
    with pytest.raises(ValueError, match=text) as error:
        Geometry(model, engine)
    near = int(str(error.value).rsplit(" ", 1)[1])
    Geometry(model, EngineConfig(pixels=3, channels=1, lanes=near))
    for other in range(1, 17):  # none is nearer
        if abs(other - lanes) < abs(near - lanes):
            with pytest.raises(ValueError):
                Geometry(model, EngineConfig(pixels=3, channels=1, lanes=other))


def test_attention_needs_one_word():
    model = replace(SMALL, image_width=80, spatial_attention="banded")
    Geometry(model, EngineConfig(pixels=5, channels=1, lanes=1))
    message = "state's 5 columns in one word: pixels must be at least 5, not 4"
    with pytest.raises(ValueError, match=message):
        Geometry(model, EngineConfig(pixels=4, channels=1, lanes=1))
    Geometry(replace(model, spatial_attention="none"), EngineConfig(pixels=4, channels=1, lanes=1))


@pytest.mark.parametrize("parts", ["parallel", "packed", "low_power"])
def test_columns_of_the_state(parts):
    """The classifier's operand carries a channel's sum and columns times its maximum."""
    engine = EngineConfig(pixels=4, channels=1, lanes=1, parts=parts)
    Geometry(replace(SMALL, image_width=16 * 513 - 1), engine)
    message = "columns of the state.* must be at most 512, not 513 .image_width 8208, halved"
    with pytest.raises(ValueError, match=message):
        Geometry(replace(SMALL, image_width=16 * 513), engine)


def test_the_highest_picture():
    engine = EngineConfig(pixels=4, channels=1, lanes=1)
    Geometry(replace(SMALL, image_height=65_535), engine)  # as many rows as there may be


def test_geometry_counts():
    """Words hold a row, groups spread them over banks, chunks cover what pooling keeps."""
    for lanes in (1, 2, 4, 8):
        for pixels in (3, 4, 7):
            g = Geometry(SMALL, EngineConfig(pixels=pixels, channels=1, lanes=lanes))
            for columns in range(1, 60):
                words = len({column // pixels for column in range(columns)})
                assert g.words(columns) == words
                assert g.groups(columns) == ceil(words / g.head_lanes)
                kept = columns // 2 * 2
                assert g.chunks(columns) == len({c // (pixels * g.head_lanes) for c in range(kept)})
            assert g.state_words == g.words(SMALL.n)
            assert g.bank_words(lanes + 1) == 2 * g.state_words
