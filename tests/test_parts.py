# amaranth: UnusedElaboratable=no
"""hw/parts.py: a record of parts with other latencies, without touching those that use them."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from golden.config import ModelConfig
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw import parts
from hw.generate import register_bits, to_verilog
from hw.image import walk_words
from hw.parallel.parts import Array
from hw.plan import WeightSource, compile_program, config_digest, latency, limits
from hw.plan import parts as plan_parts
from hw.plan.cost import cost
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PACKED
from hw.top import Rasca
from sim import camera, counters, fuzz, session

MODEL = ModelConfig(
    name="late",
    image_height=10,
    image_width=34,
    heads=2,
    head_channels=(3, 4, 5, 2),
    state_channels=6,
)
LATE = replace(PACKED, multiply=PACKED.multiply + 1)
"""One more register before the multipliers: sums, transfers and all that follows are later."""


@pytest.fixture
def late(monkeypatch):
    """A shape of a fourth record, made of PACKED."""
    record = replace(parts.PACKED, latency=LATE, array=partial(Array, registers=1, packed=True))
    monkeypatch.setitem(latency.LATENCIES, "late", LATE)
    monkeypatch.setitem(limits.LIMITS, "late", limits.PACKED)
    monkeypatch.setitem(plan_parts.PARTS, "late", plan_parts.PARTS["parallel"])
    monkeypatch.setitem(parts.PARTS, "late", record)
    return EngineConfig(pixels=4, channels=2, lanes=2, parts="late")


def test_another_record(late, tmp_path):
    """It computes the same, in the cycles that the compiler predicts for its latencies."""
    engine = computes_the_same(MODEL, late, tmp_path)
    plain = compile_program(MODEL, replace(late, parts="parallel"))
    assert engine.plan.cycles_per_row_group > plain.cycles_per_row_group
    assert config_digest(MODEL, late) != config_digest(MODEL, plain.engine)


def test_the_low_power_record(tmp_path):
    """With all that there is beside the array; its clocks sleep."""
    model = replace(MODEL, name="low", spatial_attention="full", image_width=64)
    shape = EngineConfig(pixels=5, channels=2, lanes=2, parts="low_power", sleep=True)
    engine = computes_the_same(model, shape, tmp_path)
    fast = replace(shape, parts="parallel")
    plain = register_bits(to_verilog(Rasca(model, fast, random_weights(model, 3))))
    assert register_bits(engine.verilog) < 0.8 * plain
    assert engine.plan.cycles_per_row_group < compile_program(model, fast).cycles_per_row_group


def test_zeros_that_are_zero():
    """Of a few sums of each layer, of all taps: bytes and the file's bias, or what the bytes stand
    for and the image's, make the same number, and it has the bits of the adder behind them."""
    shape = EngineConfig(pixels=4, channels=2, lanes=2, parts="low_power")
    plan, weights = compile_program(MODEL, shape), random_weights(MODEL, 3)
    plain = compile_program(MODEL, replace(shape, parts="parallel"))
    assert plan.sum_bits == plain.sum_bits + 1 == MODEL.acc_bits + 1
    image, stored = (walk_words(one, weights)[1] for one in (plan, plain))
    source, moved = torch.Generator().manual_seed(1), 0
    for op in plan.operations:
        if op.weights != WeightSource.MEMORY or op.row:
            continue
        kernels = weights.layers[op.layer.name].weight.flatten(1).long()
        for place in range(min(op.constants, op.out_channels, shape.channels)):
            byte = torch.randint(-128, 128, (kernels.shape[1],), generator=source)
            bias, old = (found[op.constant_base + place][0] for found in (image, stored))
            total = int(((byte - op.zero_point) * kernels[place]).sum()) + bias
            assert total == int((byte * kernels[place]).sum()) + old, op.name
            assert image[op.constant_base + place][1:] == stored[op.constant_base + place][1:]
            for part in (total, bias, total - bias):
                assert -(1 << plan.sum_bits - 1) <= part < 1 << plan.sum_bits - 1
            moved += bias != old
    assert moved >= len(MODEL.head_channels)
    # where both factors are data, no bias could make up for it
    spatial = replace(MODEL, name="low", spatial_attention="full")
    for op in compile_program(spatial, shape).operations:
        assert op.weights == WeightSource.MEMORY or op.zero_point == 0


def computes_the_same(model, shape, folder):
    """Two frames of an engine: bit for bit, in the predicted cycles; the engine."""
    weights = random_weights(model, 3)
    design = Rasca(model, shape, weights)
    engine = session.prepare(model, shape, weights, design=design, optimise="build", folder=folder)
    pixels = fuzz.pictures(model, 5, 2)
    expected = session.golden_frames(IntegerModel(model, weights).run(pixels, trace=True))
    timing = camera.paced(design.plan.camera_period, model)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    result = session.play(engine, camera.play(shots), expected)
    assert result.difference is None
    assert [result.group_starts(frame) for frame in range(2)] == result.predicted()
    assert counters.difference(result.row_groups, cost(design.plan)) is None
    return engine


def test_parts_must_have_the_plans_latencies(monkeypatch, late):
    """An array without the register is found as the engine is made, or elaborated."""
    monkeypatch.setitem(parts.PARTS, "late", replace(parts.PACKED, latency=LATE))
    design = Rasca(MODEL, late, random_weights(MODEL, 3))
    with pytest.raises(AssertionError):
        design.engine.array.elaborate(None)
    monkeypatch.setitem(parts.PARTS, "late", parts.PARALLEL)
    with pytest.raises(AssertionError, match="the plan is made for other parts"):
        Rasca(MODEL, late, random_weights(MODEL, 3))


def test_every_record_is_known_to_the_compiler():
    assert set(parts.PARTS) == set(plan_parts.PARTS) == set(latency.LATENCIES)
    assert set(parts.PARTS) == set(limits.LIMITS)
    for name, record in parts.PARTS.items():
        assert record.latency == latency.LATENCIES[name]
        shape = EngineConfig(pixels=4, channels=1, lanes=2, parts=name)
        sections = record.sections(compile_program(MODEL, shape))
        assert {section.name for section in sections} <= set(record.loads)


def test_without_readback():
    """The state's ports are there, and nothing reads the state."""
    shape = EngineConfig(pixels=4, channels=2, lanes=2)
    design = Rasca(MODEL, shape, random_weights(MODEL, 3), readback=False)
    text = to_verilog(design)
    assert "host_read" not in text and "state_valid" in text


def test_three_classes_of_seven_grey_rows(tmp_path):
    """k = 7, K = 3, one channel: thresholds on the stop class's margin end and thin frames out."""
    model = replace(
        MODEL,
        name="three",
        image_height=21,
        image_width=18,
        head_kernels=((3, 3), (3, 3), (1, 3), (3, 3)),
        classes=("a", "b", "c"),
        stop_class="c",
        in_channels=1,
    )
    weights = random_weights(model, 5)
    shape = EngineConfig(pixels=3, channels=1, lanes=1)
    engine = session.prepare(model, shape, weights, optimise="build", folder=tmp_path)
    golden, pixels = IntegerModel(model, weights), fuzz.pictures(model, 1, 2)
    margins = sorted(golden.run(pixels).margin.flatten().tolist())
    timing = camera.paced(engine.plan.camera_period, model)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    middle, used = margins[len(margins) // 2], set()
    for stop, skip in ((None, None), (middle, None), (None, middle)):
        found = golden.run(pixels, trace=True, stop_threshold=stop, skip_threshold=skip)
        expected = session.golden_frames(found)
        result = session.play(engine, camera.play(shots), expected, stop=stop, skip=skip)
        assert result.difference is None
        assert all(frame.decision is not None for frame in result.frames)
        used.add(tuple(frame.decision["rows_used"] for frame in result.frames))
    assert len(used) == 3
