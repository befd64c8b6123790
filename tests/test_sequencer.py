# amaranth: UnusedElaboratable=no
"""hw/sequencer.py: its steps are those of a plain walk through the plan's operations."""

import random
from dataclasses import replace

import pytest

from golden.config import ModelConfig, preset
from hw.plan import Source, WeightSource, compile_program
from hw.plan.engine_config import EngineConfig
from hw.sequencer import WalkSequencer, needed_rows, step_layout
from sim.coverage.scenarios import PAUSE
from tests.bench_blocks import on_amaranth, on_verilator, unpack_struct

BASE = ModelConfig(
    name="steps",
    image_height=10,
    image_width=33,
    heads=2,
    head_channels=(2, 3, 2, 3),
    state_channels=5,
    attention_hidden=2,
)
KINDS = {  # model, shape
    "plain": (BASE, "4,2,2"),
    "passes": (replace(BASE, heads=3, in_channels=1, channel_attention=False), "5,2,1"),
    "two": (replace(BASE, spatial_attention="full"), "3,2,4"),
    "four": (replace(BASE, heads=1, image_width=29, spatial_attention="banded"), "3,1,4"),
    "pause": (PAUSE.model, str(PAUSE.shape)),
    "singles": (  # heads' kernels of one column: of the camera's rows, of a head's maps
        replace(BASE, head_kernels=((1, 1), (3, 3), (3, 1)), head_channels=(2, 3, 2)),
        "4,2,4",
    ),
}


def plan_of(kind):
    model, shape = KINDS.get(kind) or (preset(kind), "8,1,2")
    return compile_program(model, EngineConfig.parse(shape))


def steps_of(plan, op):
    """Plain loops over an operation's walks: fields of a step, or None for a cycle without one."""
    e, g = plan.engine, plan.geometry
    lanes = g.head_lanes if op.head_mode else 1
    groups = -(-op.in_words // lanes)
    weight_words = -(-op.k // lanes)
    for group in range(op.out_groups):
        for j in range(op.chunks):
            if group or j:
                yield from [None] * op.idle
            index, inner = 0, 0
            for number, segment in enumerate(op.segments):
                for c in range(segment.channels):
                    for y in range(op.kernel_rows):
                        fields = {
                            "source": op.source,
                            "one_tap": op.taps == 1,
                            "tail": op.in_words - lanes * (groups - 1),
                            "first_chunk": j == 0,
                            "last_chunk": j == groups - 1,
                            "state": segment.state,
                            "weights": op.weights,
                            "pad": op.zero_point == -128,
                            "group": group,
                            "head": op.heads[0] if op.heads else 0,
                        }
                        channels = segment.channels
                        if op.source == Source.CAMERA:
                            row = (op.row + y) * channels + c
                            fields["address"] = row * g.groups(plan.model.image_width) + j
                        elif op.source == Source.HEAD:
                            m = plan.maps[segment.map]
                            fields["address"] = (
                                m.base + ((op.in_row + y) * channels + c) * m.groups + j
                            )
                        elif op.source == Source.SHARED:
                            bank_row, bank = divmod(segment.first + c, e.lanes)
                            base = plan.maps[segment.map].base
                            fields["address"] = base + bank_row * g.state_words + j
                            fields["bank"] = 1 << bank
                        if op.weights == WeightSource.STATE:
                            fields |= {"inner": inner, "inner_row": c // e.lanes}
                        if op.weights == WeightSource.VALUE:
                            fields["inner"] = inner
                        for tap in range(op.taps):
                            if op.weights == WeightSource.MEMORY:
                                fields["weight"] = (
                                    op.weight_base + group * weight_words + index // lanes
                                )
                                fields["part"] = index % lanes
                            yield fields | {
                                "phase": tap,
                                "first": index == 0,
                                "last": index == op.k - 1,
                            }
                            index += 1
                    inner += 1
                if number == 0 and len(op.segments) > 1:
                    yield from [None] * op.pause


def program(case, seed: int, groups: int = 5, wrong: str = ""):
    """Scenario: row groups; `more` and the rows come early, in time or late by chance.

    wrong: "address", "weight", "cycle" or "release" is expected otherwise once.
    """
    plan = plan_of(case)
    layout, source, needs = step_layout(plan), random.Random(seed), needed_rows(plan)
    cycle, out = 0, None
    flags = 0
    waited = {"rows": 0, "more": 0}

    def check(fields, op_index, last_of_group, first_of_group, release):
        step = unpack_struct(layout, out["step"])
        assert step["valid"] == (fields is not None), (
            f"cycle {cycle}, {plan.operations[op_index].name}: valid is {step['valid']}"
        )
        where = f"cycle {cycle}, {plan.operations[op_index].name}"
        if fields is not None:
            got = {name: step[name] for name in fields}
            assert got == {n: int(v) for n, v in fields.items()}, where
            assert out["op"] == op_index, where
        assert out["control__group_done"] == last_of_group, where
        assert out["control__group_first"] == first_of_group, where
        assert out["control__release"] == bool(release), where
        if release:
            assert out["control__released"] == release, where

    # idle: nothing happens without `more`; the first word takes its time after reset
    for _ in range(8):
        out = yield {
            "control__rows": source.getrandbits(len(needs)),
            "control__again": source.getrandbits(1),
        }
        check(None, 0, False, False, 0)
    running = False
    for turn in range(groups):
        if not running:
            for _ in range(source.randrange(4)):
                out = yield {
                    "control__rows": source.getrandbits(len(needs)),
                    "control__again": source.getrandbits(1),
                }
                check(None, 0, False, False, 0)
                waited["more"] += 1
            out = yield {
                "control__more": 1,
                "control__again": source.getrandbits(1),
                "control__rows": flags,
            }
            check(None, 0, False, False, 0)
            cycle += 1
        for index, op in enumerate(plan.operations):
            if op.need_rows == needs[0]:
                flags = (1 << source.choice(range(len(needs) + 1))) - 1
            need = 1 << needs.index(op.need_rows) if op.need_rows else 0
            late = source.choice([0, 0, 1, 2, 40])
            # `before` cycles without a step; a step needs its flag in the cycle before it
            before = op.wait + op.idle
            seen = bool(flags & need)
            due = 0
            while due < before or (need and not seen):
                if due >= before + late - 1:
                    flags |= need
                if need and due >= before:
                    waited["rows"] += 1
                unseen = {
                    "control__more": source.getrandbits(1),
                    "control__again": source.getrandbits(1),
                }
                out = yield {"control__rows": flags, **unseen}
                check(None, index, False, False, 0)
                seen = bool(flags & need)
                due += 1
                cycle += 1
            steps = list(steps_of(plan, op))
            if wrong in ("address", "weight") and turn == 1 and index == 4:
                steps[-1][wrong] ^= 1
            if wrong == "cycle" and turn == 1 and index == 4:
                steps.insert(1, None)
            for number, fields in enumerate(steps):
                last = number == len(steps) - 1
                end = last and index == len(plan.operations) - 1
                again = source.getrandbits(1)
                if last and index < len(plan.operations) - 1:
                    following = plan.operations[index + 1]
                    if following.need_rows > needs[0] and source.getrandbits(1):
                        flags |= 1 << needs.index(following.need_rows)
                if end:
                    flags = source.choice([0, 7])
                out = yield {
                    "control__rows": flags,
                    "control__more": source.getrandbits(1),
                    "control__again": again,
                }
                release = op.release_rows if last else 0
                if wrong == "release" and turn == 1:
                    release += release > 0
                check(fields, index, end, index == 0 and number == 0, release)
                cycle += 1
            running = again
        running = again
    assert all(waited.values()), f"{case}: not waited for {waited}"


def aborted(case, seed: int):
    """Scenario: reset in the middle of groups; each time the program begins anew."""
    plan = plan_of(case)
    layout, source = step_layout(plan), random.Random(seed)
    first = next(fields for fields in steps_of(plan, plan.operations[0]) if fields)
    for _ in range(6):
        out = yield {"reset": 1}
        for _ in range(plan.operations[0].wait + plan.operations[0].idle + 10):
            out = yield {"control__more": 1, "control__again": 1, "control__rows": 7}
            step = unpack_struct(layout, out["step"])
            if step["valid"]:
                break
        assert out["control__group_first"] and {n: step[n] for n in first} == {
            n: int(v) for n, v in first.items()
        }
        for _ in range(source.randrange(plan.cycles_per_row_group)):
            yield {"control__more": 1, "control__again": 1, "control__rows": 7}


def paced(case):
    """Scenario: all rows there: groups begin as Plan.predict says."""
    plan = plan_of(case)
    groups = 3
    begins, cycle, free = [], 0, None
    for _ in range(8):  # until the first word is there
        yield {}
    ended = False
    while not ended:
        more = len(begins) < groups
        out = yield {"control__more": more, "control__again": more, "control__rows": 7}
        if free is None:
            free = cycle + 1
        if out["control__group_first"]:
            begins.append(cycle)
        ended = out["control__group_done"] and len(begins) == groups
        cycle += 1
    times = plan.predict([0] * 5 * plan.model.row_groups, row_groups=[0] * groups, start=free)
    assert [*begins, cycle] == times, f"{begins}, {cycle}, not {times}"


def test_verilator():
    blocks = {kind: WalkSequencer(plan_of(kind)) for kind in KINDS}
    jobs = [
        (kind, program, {"case": kind, "seed": 10 + i, "groups": 5}) for i, kind in enumerate(KINDS)
    ]
    jobs += [(kind, paced, {"case": kind}) for kind in ("plain", "pause")]
    jobs += [(kind, aborted, {"case": kind, "seed": 3}) for kind in ("passes", "four")]
    on_verilator(blocks, jobs)


def test_cases():
    """What the chosen cases stand for."""
    plans = [plan_of(kind) for kind in KINDS]
    operations = [op for plan in plans for op in plan.operations]
    assert {p.geometry.head_lanes for p in plans} == {1, 2, 4}
    assert any(p.geometry.passes > 1 for p in plans)
    assert {op.source for op in operations} == set(Source)
    assert {op.weights for op in operations} == set(WeightSource)
    assert all(any(getattr(op, name) for op in operations) for name in ("idle", "pause", "wait"))
    assert any(op.segments[0].first % p.engine.lanes for p in plans for op in p.operations)
    # the last words of a row whose outputs pooling drops
    assert any(op.in_columns % 2 for op in operations)


def test_preset():
    """A row group of a released shape."""
    on_amaranth(WalkSequencer(plan_of("vww_105x120")), shortened("vww_105x120", 1, 4000))


def shortened(case, seed, cycles):
    """The first cycles of a scenario."""
    scenario = program(case, seed)
    inputs = next(scenario)
    for _ in range(cycles):
        out = yield inputs
        inputs = scenario.send(out)


@pytest.mark.parametrize("wrong", ["address", "weight", "cycle", "release"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(WalkSequencer(plan_of("plain")), program("plain", 3, 2, wrong))
