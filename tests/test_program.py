"""hw/plan: what every compiled program must hold to, on presets and random networks."""

from dataclasses import replace
from math import ceil

import pytest

from golden.config import PRESETS, preset
from hw.plan import Function, Source, Target, WeightSource, compile_program
from hw.plan.engine_config import EngineConfig, default_shape
from hw.plan.latency import PARALLEL
from hw.plan.schedule import Schedule
from sim import fuzz
from tests.networks import KERNELS, network

# Cycles of a row group as they were when the schedule was settled. A change shows here first.
CYCLES = {
    ("vww_210x240", "15,1,1"): 88210,
    ("vww_210x240", "15,3,2"): 14842,
    ("vww_210x240", "15,3,4"): 7453,
    ("vww_105x120", "8,1,2"): 30517,
}
MORE = (
    "vww_140x160",
    "vww_175x200",
    "vww_210x240_full",
    "vww_105x120_banded",
    "vww_210x240_h1",
    "vww_210x240_h3",
)
SEEDS = range(24)


def _cases():
    for name, shape in CYCLES:
        yield pytest.param((preset(name), EngineConfig.parse(shape)), id=f"{name}-{shape}")
    for name in MORE:
        yield pytest.param((preset(name), default_shape(preset(name))), id=name)
    for kind in KERNELS:
        for seed, shape in enumerate(("8,2,1", "6,1,2", "5,2,4", "4,3,4")):
            model = replace(network(kind, seed), heads=2, spatial_attention="none")
            yield pytest.param((model, EngineConfig.parse(shape)), id=f"{kind}-{shape}")
    for seed in SEEDS:
        case = fuzz.case(seed)
        yield pytest.param((case.model, case.shape), id=f"seed{seed}")


plans = {}


@pytest.fixture(params=list(_cases()))
def compiled(request):
    """A plan; each is compiled once for all tests."""
    if request.param not in plans:
        plans[request.param] = compile_program(*request.param)
    return plans[request.param]


def walks(plan):
    """(operation, group, chunk, first step, last step) of all walks of the steady row group."""
    for op in plan.operations:
        for walk in range(op.walks):
            first = op.start + walk * op.period
            yield op, walk // op.chunks, walk % op.chunks, first, first + op.k + op.pause - 1


@pytest.mark.parametrize("name, shape", CYCLES)
def test_cycles(name, shape):
    plan = compile_program(preset(name), EngineConfig.parse(shape))
    assert plan.cycles_per_row_group == CYCLES[name, shape]


def test_work_is_the_networks(compiled):
    """The operations carry exactly the model's MACs, all its array layers and all its stages."""
    model = compiled.model
    layers = {
        layer.name
        for op in compiled.operations
        for layer in op.layers
        if op.weights == WeightSource.MEMORY
    }
    assert layers == {layer.name for layer in model.array_layers}
    stages = [stage for op in compiled.operations for stage in op.stages]
    wanted = {s.name for s in model.stages if not s.name.endswith(".weights")}
    assert len(stages) == len(set(stages)) and set(stages) == wanted
    sizes = {s.name: (s.channels, s.columns) for s in model.stages}
    for op in compiled.operations:
        for stage in op.stages:
            assert (op.out_channels, op.out_columns) == sizes[stage]
    assert compiled.macs_per_row_group == model.array_macs_row_group


def test_walks_cover_the_outputs(compiled):
    """Each walk has its K steps, and the walks of an operation make all its outputs."""
    e, g = compiled.engine, compiled.geometry
    taps = {layer.name: layer.taps for layer in compiled.model.array_layers}
    for op in compiled.operations:
        if op.weights == WeightSource.MEMORY:
            assert {taps[layer.name] for layer in op.layers} == {op.k}, op.name
        lanes = 1 if op.head_mode else e.lanes
        assert (op.out_groups - 1) * e.channels * lanes < op.first + op.out_channels
        assert op.out_groups * e.channels * lanes >= op.first + op.out_channels
        across = e.pixels * (g.head_lanes if op.head_mode else 1)
        kept = 2 * op.out_columns if op.head_mode else op.out_columns
        assert op.chunks == ceil(kept / across)


def test_maps(compiled):
    """No two maps alive together share a word; all lie inside the banks; H lives on."""
    maps = list(compiled.maps.values())
    for m in maps:
        assert 0 <= m.base and m.base + m.words <= compiled.bank_words, m.name
        assert m.born <= m.dies
    for i, a in enumerate(maps):
        for b in maps[:i]:
            if a.born <= b.dies and b.born <= a.dies:
                apart = a.base + a.words <= b.base or b.base + b.words <= a.base
                assert apart, f"{a.name} and {b.name}"
    state = compiled.maps["H"]
    assert (state.born, state.dies) == (0, len(compiled.operations))
    # at least the most words that are alive at once; on the released shapes no more
    need = max(
        sum(m.words for m in maps if m.born <= t <= m.dies) for t in range(len(compiled.operations))
    )
    assert need <= compiled.bank_words <= need * 1.1 + 1


def test_maps_are_written_before_they_are_read(compiled):
    born = {"X": -1, "A": -1}
    for index, op in enumerate(compiled.operations):
        for segment in op.segments:
            assert segment.state or segment.map in born, f"{op.name} reads {segment.map}"
        born.setdefault(op.out, index)


def test_spacing(compiled):
    """Transfers leave each other the time for drain, words' turns, constants and state's sums."""
    e, g = compiled.engine, compiled.geometry
    odd = g.head_lanes > 1 and e.pixels % 2
    found = [(op, last + PARALLEL.transfer) for op, _, _, _, last in walks(compiled)]
    first_again = (found[0][0], found[0][1] + compiled.cycles_per_row_group)
    for (before, at), (after, then) in zip(found, [*found[1:], first_again], strict=True):
        apart = then - at
        assert apart >= e.pixels + (1 if before.head_mode and odd else 0)
        constants = e.channels * g.heads if after.head_mode else e.units
        switch = PARALLEL.switch if before is not after else 0
        assert apart >= PARALLEL.follow + constants + switch
        if before.target == Target.CONCAT:
            assert apart > e.channels * g.heads * max(1, g.head_lanes // 2)
        if before.target == Target.SCORES or before.function == Function.BLEND:
            assert apart > e.units
    for op in compiled.operations:
        assert op.cycles >= PARALLEL.fetch


def written(plan):
    """Map -> {(channel, word): last cycle of the write port} of each operation's words."""
    for op in plan.operations:
        if op.target == Target.SCORES:
            continue
        times = plan.write_times(op)
        if op.target == Target.CONCAT:
            firsts = [h * op.out_channels for h in op.heads]
        elif op.function == Function.MIX:
            firsts = [op.heads[0] * op.out_channels]
        else:
            firsts = [op.out_row * op.out_channels + op.first]
        yield (
            op,
            {
                (first + c, w): int(times[op.first + c, w])
                for first in firsts
                for c in range(op.out_channels)
                for w in range(times.shape[1])
            },
        )


def test_words_are_there_in_time(compiled):
    """A word is in its bank before an address register asks for it: all reads, step by step."""
    g = compiled.geometry
    there, state = {}, {}
    for op, words in written(compiled):
        lanes = g.head_lanes if op.head_mode else 1
        for walk in range(op.walks):
            j, at = walk % op.chunks, op.start + walk * op.period
            for number, segment in enumerate(op.segments):
                ready = there.get(segment.map)
                for c in range(segment.channels * op.kernel_rows):
                    row = c % op.kernel_rows * segment.channels + c // op.kernel_rows
                    row += op.in_row * segment.channels
                    if op.source in (Source.CAMERA, Source.ATTENTION) or segment.state:
                        pass
                    elif op.taps == 1:
                        read = at + PARALLEL.address_one_tap
                        for word in range(lanes * j, min(lanes * j + lanes, op.in_words)):
                            assert ready[segment.first + row, word] < read, op.name
                    else:
                        for lane in range(lanes):
                            for phase in range(3):
                                word = lanes * j + lane + phase - 1
                                if not 0 <= word < op.in_words:
                                    continue
                                # lanes beside each other share words: each is read once
                                when = (
                                    0
                                    if lane + phase - 1 < lanes - 1
                                    else (1 if lane + phase - 1 == lanes - 1 else 2)
                                )
                                address = at + when + PARALLEL.address_three_tap
                                assert ready[segment.first + row, word] < address, op.name
                    at += op.taps
                if number == 0 and len(op.segments) > 1:
                    at += op.pause
        if op.out == "H":
            state = words
        there.setdefault(op.out, {}).update(words)
    # the state of a row group must be there when the next one reads it
    for op in compiled.operations:
        if any(s.state for s in op.segments) or "H" in op.operands:
            assert max(state.values()) < op.start + compiled.cycles_per_row_group
            break


def test_bounds(compiled):
    """Every address that a program word can make lies in its memory; fields fit their widths."""
    depth = compiled.bank_words
    back = compiled.fields["back" if compiled.engine.parts == "serial" else "store"]
    for op, fields in zip(compiled.operations, back, strict=True):
        if op.target != Target.SCORES:
            assert all(value < depth for name, value in fields.items() if name.startswith("base"))
            assert all(
                bank < compiled.engine.lanes and address < depth
                for (bank, address) in compiled._places(op)
            )
        if compiled.engine.parts != "serial":
            assert fields["count"] <= op.out_groups * compiled.engine.units
    for word, rows in compiled.fields.items():
        widths = compiled.field_widths(word)
        assert len(rows) == len(compiled.operations)
        for fields in rows:
            assert all(0 <= value < 1 << widths[name] for name, value in fields.items())
    spans = {}
    for op in compiled.operations:
        words = compiled.weight_words_of(op)
        if words:
            spans[op.layer.name] = (op.weight_base, op.weight_base + words)
            lanes = compiled.geometry.head_lanes if op.head_mode else 1
            assert words == op.out_groups * ceil(op.k / lanes)
    place = 0
    for begin, end in spans.values():
        assert begin == place
        place = end
    assert place == compiled.weight_words
    last = max(op.constant_base + op.constants for op in compiled.operations)
    assert last == compiled.constant_words


def test_locate(compiled):
    """Bank and address <-> stage, channel, column: every column of every stage once."""
    columns = {s.name: (s.channels, s.columns) for s in compiled.model.stages}
    for index, op in enumerate(compiled.operations):
        met = set()
        if op.target == Target.SCORES:
            assert compiled.locate(index, 0, 0) is None
            continue
        for bank in range(compiled.engine.lanes):
            for address in range(compiled.bank_words):
                place = compiled.locate(index, bank, address)
                if place is None:
                    continue
                stage, channel, first, valid = place
                assert 1 <= valid <= compiled.engine.pixels
                for column in range(first, first + valid):
                    assert (stage, channel, column) not in met
                    met.add((stage, channel, column))
        whole = {
            (stage, c, x)
            for stage in op.stages
            for c in range(columns[stage][0])
            for x in range(columns[stage][1])
        }
        assert met == whole, op.name
        # ... and it is where the map lies
        m = compiled.maps[op.out]
        for bank, address in compiled._places(op):
            assert m.base <= address < m.base + m.words
            assert compiled.locate(index, bank, address) is not None
    assert compiled.locate(0, 0, 10**6) is None


def test_predict(compiled):
    """Rows all there: groups follow each other in the steady number of cycles. A late row delays
    its group by as much, and those after it."""
    groups, cycles = compiled.model.row_groups, compiled.cycles_per_row_group
    k, rows0 = compiled.model.rows_per_group, compiled.model.blocks[0].rows
    rows = [0] * (k * groups)
    times = compiled.predict(rows)
    first = compiled.operations[0]
    assert times[0] == first.wait + first.idle
    # the last entry is the first free cycle, not a group's first step
    assert [b - a for a, b in zip(times[:-1], times[1:-1], strict=False)] == [cycles] * (groups - 1)
    assert times[-1] - times[-2] == cycles - first.wait - first.idle
    assert compiled.predict(rows, start=1000) == [t + 1000 for t in times]
    assert compiled.predict(rows, row_groups=[0]) == [times[0], times[0] + times[-1] - times[-2]]
    late = rows[:]
    t = groups - 1
    late[k * t + rows0 - 1] = times[t] + 17
    delayed = compiled.predict(late)
    assert delayed[:t] == times[:t] and delayed[t] == times[t] + 17
    assert delayed[-1] == times[-1] + 17
    # further rows of the first block are waited for by those operations, not by the group
    for y in range(1, k - rows0 + 1):
        op = next(o for o in compiled.operations if o.need_rows == y + rows0)
        late = rows[:]
        late[k * t + rows0 - 1 + y] = times[t] + op.start - first.start + 5
        delayed = compiled.predict(late)
        assert delayed[t] == times[t] and delayed[-1] == times[-1] + 5


def test_utilisation(compiled):
    used = compiled.macs_per_row_group / compiled.cycles_per_row_group
    assert compiled.utilisation() == pytest.approx(used / compiled.engine.multipliers)
    assert 0 < compiled.utilisation() < 1


def test_same_every_time():
    for name in ("vww_105x120_full", "vww_210x240"):
        model = PRESETS[name]
        first, second = (compile_program(model, default_shape(model)) for _ in range(2))
        assert first.fields == second.fields


@pytest.mark.parametrize(
    "changes, shape, message",
    [
        (
            {},
            "8,1,6",
            r"lanes = 6 gives 3 lanes a head with 2 heads; that must be 1 or even \(two "
            "lanes make one pooled word\\); the nearest usable number is 4",
        ),
        (
            dict(spatial_attention="full"),
            "6,1,2",
            "spatial attention needs the state's 7 columns in one word: pixels must be at least 7, "
            "not 6",
        ),
    ],
)
def test_impossible(changes, shape, message):
    model = replace(preset("vww_105x120"), **changes)
    with pytest.raises(ValueError, match=message):
        compile_program(model, EngineConfig.parse(shape))


def test_no_schedule(monkeypatch):
    """Operands that never come in time end in an error in words, not in a loop."""
    monkeypatch.setattr(Schedule, "operands_in_time", lambda self, index: False)
    monkeypatch.setattr(Schedule, "place", lambda self: 0)
    with pytest.raises(ValueError, match="no schedule found in which operands come in time"):
        compile_program(fuzz.case(1).model, fuzz.case(1).shape)


def test_warnings():
    model = preset("vww_105x120")
    assert compile_program(model, EngineConfig.parse("8,1,2")).warnings == ()
    idle = compile_program(model, EngineConfig.parse("8,1,8")).warnings
    assert "c3: 4 chunks of 8 pixels on 4 lanes a head: 0 of 4 lane walks idle" not in idle
    assert any("lane walks idle" in text for text in idle)
    # one head at a time on one lane wastes nothing
    assert compile_program(model, EngineConfig.parse("8,1,1")).warnings == ()
    model = replace(model, heads=4)
    two = compile_program(model, EngineConfig.parse("8,1,2")).warnings
    assert "4 heads run in 2 passes of 2" in two
    slow = compile_program(replace(model, classifier_hidden=344), EngineConfig.parse("8,4,4"))
    told = f"its state stays for {slow.state_stays:,} cycles after its row event"
    assert slow.operations[0].wait > slow.latency.group_turn
    assert any(
        text.startswith(f"the classifier takes {slow.classifier_cycles:,} cycles, ")
        and text.endswith(told)
        for text in slow.warnings
    )
    grey = replace(model, heads=1, head_channels=(1, 1, 1, 1), image_width=840, in_channels=1)
    small = replace(grey, channel_attention=False, classifier_hidden=1, state_channels=2)
    fast = compile_program(small, EngineConfig.parse("32,1,16"))
    assert fast.camera_period == 5 * 840 > 2 * fast.cycles_per_row_group
    assert (
        "even pixels of the camera come no closer than 1 cycles: a row group takes 4,200 "
        f"cycles at an even camera, {fast.cycles_per_row_group:,} of them work" in fast.warnings
    )
    wasteful = compile_program(preset("vww_105x120"), EngineConfig.parse("32,1,16")).warnings
    assert any(
        text.startswith("this shape uses ") and "% of its multipliers" in text for text in wasteful
    )


def test_a_wrong_program_is_seen():
    """Cycles and places taken away by one: the properties above find it."""
    case = fuzz.case(3)
    compiled = compile_program(case.model, case.shape)
    test_spacing(compiled)
    test_words_are_there_in_time(compiled)
    reader = max(
        (op for op in compiled.operations if op.source == Source.SHARED and op.wait),
        key=lambda op: op.wait,
    )
    early = replace(reader, times=replace(reader.times, start=reader.start - reader.wait))
    operations = tuple(early if op is reader else op for op in compiled.operations)
    wrong = replace(compiled, operations=operations)
    with pytest.raises(AssertionError):
        test_words_are_there_in_time(wrong)
        test_spacing(wrong)
    over = replace(compiled.maps["F"], base=compiled.state.base)
    with pytest.raises(AssertionError, match="H"):
        test_maps(replace(compiled, maps={**compiled.maps, "F": over}))
