# amaranth: UnusedElaboratable=no
"""The walk sequencer's counters one by one, against plain loops over a plan's operations."""

import random

import pytest

from hw.plan import Source
from hw.sequencer import LateSteps, Pause, Taps, Walks, needed_rows, step_layout
from tests.bench_blocks import on_amaranth, pack, pack_struct, unpack_struct
from tests.test_sequencer import KINDS, plan_of, steps_of


def facts_of(layout, word, needs):
    """The bits of a walk word that hw.sequencer asks for, from their names."""
    channels = [word["last0"] + 1, word["last1"] + 1]
    steps = [(1 if word["one_tap"] else 3) * (word["rows"] + 1) * count for count in channels]
    walk = sum(steps) if word["two"] else steps[0]
    found = {
        "need": pack([word["need"] == rows for rows in needs], 1),
        "waits": word["wait"] > 0,
        "idles": word["idle"] > 0,
        "pauses": word["pause"] > 0,
        "releases": word["release"] > 0,
        "one_row": word["rows"] == 0,
        "two_rows": word["rows"] == 1,
        "two_channels0": channels[0] == 2,
        "two_channels1": channels[1] == 2,
        "one_channel0": channels[0] == 1,
        "one_channel1": channels[1] == 1,
        "one_chunk": word["chunks"] == 0,
        "one_group": word["groups"] == 0,
        "one_word": word["in_groups"] == 0,
        "one_step0": steps[0] == 1,
        "one_step1": steps[1] == 1,
        "one_step": walk == 1,
    }
    return pack_struct(layout, {name: int(value) for name, value in found.items()})


def walks_of(plan, op):
    """Steps of each of an operation's walks, without the cycles that have none."""
    steps = [fields for fields in steps_of(plan, op) if fields]
    return [steps[i : i + op.k] for i in range(0, len(steps), op.k)]


def some_operations(plan, source, count=12):
    """(operation, its walk word) by chance, each kind of source among them."""
    pairs = list(zip(plan.operations, plan.fields["walk"], strict=True))
    kinds = [next(p for p in pairs if p[0].source == s) for s in {op.source for op, _ in pairs}]
    return [*kinds, *source.choices(pairs, k=count)]


def taps(kind, seed, wrong=""):
    """Scenario: walks by chance, with cycles without a step in them and before them.

    wrong: "address", "part_end" or "op_end" is expected otherwise once.
    """
    plan, source = plan_of(kind), random.Random(seed)
    block = Taps(plan, needed_rows(plan))
    word_layout, facts_layout = block.word.shape(), block.facts.shape()
    head_lanes, checked = plan.geometry.head_lanes, 0
    for op, fields in some_operations(plan, source):
        word = pack_struct(word_layout, fields)
        facts = facts_of(facts_layout, fields, needed_rows(plan))
        walks = walks_of(plan, op)
        number = source.randrange(len(walks))
        walk, last_walk = walks[number], number == len(walks) - 1
        chunk = number % op.chunks
        held = {"word": word, "facts": facts, "chunk": chunk, "last_walk": last_walk}
        for _ in range(source.randint(1, 3)):  # what begins may be told again until it does
            yield {
                "begin": 1,
                "moves": 1,
                "begin_word": word,
                "begin_facts": facts,
                "begin_address": walk[0].get("address", 0),
            }
        lanes = head_lanes if op.head_mode else 1
        first_segment = op.segments[0].channels * op.kernel_rows * op.taps
        for index, step in enumerate(walk):
            while source.random() < 0.2:
                yield held
            out = yield held | {"run": 1, "moves": 1}
            last = index == op.k - 1
            right = {
                "first": index == 0,
                "last": last,
                "op_end": last and last_walk,
                "second": index >= first_segment,
                "between": len(op.segments) > 1 and index == first_segment - 1,
                "part_end": index % lanes == lanes - 1 or lanes == 1,
                "phase": index % op.taps,
            }
            names = ["address", "inner", "inner_row"] + ["bank"] * (op.source == Source.SHARED)
            names += ["part"] * (op.head_mode and head_lanes > 1)
            right |= {name: step[name] for name in names if name in step}
            if wrong in right and checked == 40:
                right[wrong] ^= 1
            checked += 1
            for name, value in right.items():
                assert out[name] == value, f"{op.name}, step {index}: {name} is {out[name]}"


@pytest.mark.parametrize("kind", KINDS)
def test_taps(kind):
    plan = plan_of(kind)
    on_amaranth(Taps(plan, needed_rows(plan)), taps(kind, 5))


@pytest.mark.parametrize("wrong", ["address", "part_end", "op_end"])
def test_differences_of_taps_are_seen(wrong):
    plan = plan_of("two")
    with pytest.raises(AssertionError, match=f"{wrong} is"):
        on_amaranth(Taps(plan, needed_rows(plan)), taps("two", 5, wrong))


def walks(kind, seed, apart=3, wrong=""):
    """Scenario: all walks of operations by chance; the next one begins `apart` cycles later or
    more. wrong: so named is expected otherwise once."""
    plan, source = plan_of(kind), random.Random(seed)
    block = Walks(plan, needed_rows(plan))
    word_layout, facts_layout = block.word.shape(), block.begin_facts.shape()
    seen = 0
    for op, fields in some_operations(plan, source):
        word = pack_struct(word_layout, fields)
        facts = facts_of(facts_layout, fields, needed_rows(plan))
        for _ in range(source.randint(1, 3)):
            yield {"begin": 1, "begin_facts": facts}
        lanes = plan.geometry.head_lanes if op.head_mode else 1
        groups = -(-op.in_words // lanes)
        for number in range(op.walks):
            group, chunk = divmod(number, op.chunks)
            right = {
                "group": group,
                "chunk": chunk,
                "first": chunk == 0,
                "last": chunk == groups - 1,
                "chunk_end": chunk == op.chunks - 1,
                "is_last": number == op.walks - 1,
            }
            wait = source.choice([apart, apart, apart + 1, apart + 5])
            for cycle in range(1, wait + 1):
                advance = cycle == wait and number + 1 < op.walks
                out = yield {"word": word, "advance": advance}
                told = dict(right)
                if cycle >= 3:  # the next one is known
                    told["next_address"] = fields["base0"] + (chunk + 1) % op.chunks
                if number + 1 == op.walks:
                    told.pop("next_address", None)
                if wrong in told and number == 1:
                    seen += 1
                    told[wrong] ^= seen == 1
                for name, value in told.items():
                    where = f"{op.name}, walk {number}: {name} is {out[name]}"
                    if name == "next_address":
                        value &= (1 << len(block.next_address)) - 1
                    assert out[name] == value, where


@pytest.mark.parametrize("kind", KINDS)
def test_walks(kind):
    plan = plan_of(kind)
    on_amaranth(Walks(plan, needed_rows(plan)), walks(kind, 6))


@pytest.mark.parametrize("wrong", ["chunk", "last", "is_last", "next_address"])
def test_differences_of_walks_are_seen(wrong):
    plan = plan_of("plain")
    with pytest.raises(AssertionError, match=f"{wrong} is"):
        on_amaranth(Walks(plan, needed_rows(plan)), walks("plain", 6, wrong=wrong))


def test_the_next_walk_is_not_known_before():
    """A walk that is advanced too soon takes over what the counters have not yet."""
    plan = plan_of("plain")
    with pytest.raises(AssertionError, match="walk"):
        on_amaranth(Walks(plan, needed_rows(plan)), walks("plain", 6, apart=1))


def pauses(longest, seed, wrong=0):
    """Scenario: pauses of all lengths, in which some cycles do not count, held or not.

    wrong: pauses are expected to be so much longer.
    """
    source, left = random.Random(seed), None
    for _ in range(1500):
        counting, hold = source.random() < 0.8, source.random() < 0.3
        load = left is None or (counting and left <= 1 and source.random() < 0.5)
        load = load or source.random() < 0.02
        cycles = source.choice([1, 2, 3, source.randint(1, longest), source.randint(0, longest)])
        out = yield {"load": load, "cycles": cycles - 2, "counting": counting, "hold": hold}
        if left is not None:
            ends = counting and left <= 1
            assert out["ends"] == ends, f"{left} left: ends is {out['ends']}"
            assert out["resume"] == (ends and not hold), f"{left} left: resume"
            if counting and left > 1:
                left -= 1
        if load:
            left = cycles + wrong


@pytest.mark.parametrize("kind", ["plain", "pause"])
def test_pause(kind):
    plan = plan_of(kind)
    longest = max(f[n] for f in plan.fields["walk"] for n in ("wait", "idle", "pause"))
    on_amaranth(Pause(plan), pauses(longest, 7))
    with pytest.raises(AssertionError, match="ends"):
        on_amaranth(Pause(plan), pauses(longest, 7, wrong=1))


def late_steps(kind, count, seed, wrong=False):
    """Scenario: steps by chance; all that were before a reset are invalid after it.

    wrong: resets are not expected to do anything.
    """
    plan, source = plan_of(kind), random.Random(seed)
    layout = step_layout(plan)
    bits = layout.size
    valid = 1 << layout["valid"].offset
    before = []  # the newest first
    for cycle in range(300):
        step, reset = source.getrandbits(bits), source.random() < 0.05
        out = yield {"step": step, "reset": reset}
        for number, right in enumerate([step, *before]):
            got = out[f"steps__{number}"]
            assert got == right, (
                f"cycle {cycle}, {number} ago: {unpack_struct(layout, got)}, "
                f"not {unpack_struct(layout, right)}"
            )
        before = [step, *before][:count]
        if reset and not wrong:
            before = [late & ~valid for late in before]


def test_late_steps():
    plan, count = plan_of("two"), plan_of("two").latency.transfer
    on_amaranth(LateSteps(plan, count), late_steps("two", count, 8))
    with pytest.raises(AssertionError, match="ago"):
        on_amaranth(LateSteps(plan, count), late_steps("two", count, 8, wrong=True))
