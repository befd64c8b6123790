# amaranth: UnusedElaboratable=no
"""The parts of hw/parallel/store.py alone: Places, Packer, Turns, PoolQueue; see also test_store.

What a walk is, and where its words belong, is taken from the plan's map of places (`locate`), which
tells the test bench of a whole engine what a written word is.
"""

import random

import pytest
import torch

from golden import head_lane
from hw.parallel.packer import Packer
from hw.parallel.places import Places, turn_layout, walk_layout
from hw.parallel.store import PoolQueue
from hw.parallel.turns import Turns
from hw.plan import Target
from hw.pool import sum_shape
from tests.bench_blocks import on_amaranth, pack, pack_struct, unpack, unpack_struct
from tests.test_store import plan_of

KINDS = ("single", "odd", "paired", "oddpair", "four", "spatial")


def walks(plan):
    """(index, operation, channel group, chunk) of a row group."""
    for index, op in enumerate(plan.operations):
        for walk in range(op.walks):
            yield index, op, *divmod(walk, op.chunks)


def words_of(plan, op, chunk):
    """(pair of lanes, word of the row) that a walk fills, or goes on to fill."""
    if not op.head_mode:
        return [(0, chunk)]
    pairs = plan.geometry.head_lanes // 2
    return [(i, pairs * chunk + i) for i in range(pairs)] if pairs else [(0, chunk // 2)]


def channels_of(plan, op, group):
    """(unit, place of the head, channel) of the channels that a walk makes; a head's lanes make
    the same ones, its first one is named."""
    e, g = plan.engine, plan.geometry
    for unit in range(e.units):
        k, lane = divmod(unit, e.lanes)
        head, i = divmod(lane, g.head_lanes) if op.head_mode else (0, 0)
        channel = group * e.channels + k if op.head_mode else group * e.units + unit - op.first
        if i == 0 and 0 <= channel < op.out_channels:
            yield unit, head, channel


def turn_of(plan, index, op, group, chunk):
    """Fields of `turn_layout` for a walk, less those that say where its words go."""
    e, pairs = plan.engine, max(1, plan.geometry.head_lanes // 2)
    paired = plan.geometry.head_lanes > 1
    done = group * (e.channels if op.head_mode else e.units)
    first_word = words_of(plan, op, chunk)[0][1]
    return {
        "target": int(op.target),
        "op": index,
        "head": op.heads[0] if op.heads else 0,
        "remaining": op.first + op.out_channels - done,
        "first": op.first if group == 0 else 0,
        "row": done,
        "words_left": plan.geometry.words(op.out_columns) - 1 - first_word,
        "odd_chunk": chunk & 1,
        "complete": paired or not op.head_mode or chunk & 1 or chunk + 1 == op.chunks,
        "blend": op.writes_state,
    }, pairs


def walk_of(plan, op, group, chunk):
    """Likewise of `walk_layout`."""
    pixels, words = plan.engine.pixels, plan.geometry.words(op.out_columns)
    return {
        "pool": op.head_mode,
        "pad": op.out_zero_point == -128,
        "first_chunk": chunk == 0,
        "last_chunk": chunk + 1 == op.chunks,
        "last_group": group + 1 == op.out_groups,
        "tail": (1 << op.out_columns - (words - 1) * pixels) - 1,
    }


# ---- Places ----


def placed(kind: str, seed: int, wrong: str = ""):
    """Scenario: each walk's fields, a cycle after `advance`; two row groups.

    wrong: a field, which is expected otherwise once.
    """
    plan, source = plan_of(kind), random.Random(seed)
    layout, spots = walk_layout(plan), [plan._places(op) for op in plan.operations]
    middle = sum(1 for _ in walks(plan)) // 2
    for _ in range(4):  # the first word is fetched
        yield {}
    for turn in range(2):
        for number, (index, op, group, chunk) in enumerate(walks(plan)):
            yield {"advance": 1}
            for _ in range(source.randrange(3, 6)):
                out = yield {}
            found = unpack_struct(layout, out["walk"])
            inner = unpack_struct(turn_layout(plan), found.pop("turn"))
            wanted = walk_of(plan, op, group, chunk)
            turns, _ = turn_of(plan, index, op, group, chunk)
            if number == middle and wrong in wanted:
                wanted[wrong] ^= 1
            if number == middle and wrong in turns:
                turns[wrong] = int(turns[wrong]) ^ 1
            where = f"group {turn}, {op.name}, walk {group}.{chunk}"
            assert found == wanted, f"{where}: {found}, not {wanted}"
            assert {name: inner[name] for name in turns} == turns, f"{where}: {inner}, not {turns}"
            if op.target != Target.SCORES:
                check_place(plan, op, spots[index], group, chunk, inner, where, wrong)


def check_place(plan, op, spots, group, chunk, turn, where, wrong):
    """Base and stride, or a head's bank and address, lead to the words that the plan names."""
    e, g, width = plan.engine, plan.geometry, widths_of(plan)
    banks = unpack(turn["banks"], width[0], g.heads)
    addresses = unpack(turn["addresses"], width[1], g.heads)
    for unit, head, channel in channels_of(plan, op, group):
        k, lane = divmod(unit, e.lanes)
        for pair, word in words_of(plan, op, chunk):
            if word >= g.words(op.out_columns):
                continue
            if op.target == Target.CONCAT:
                row, bank = divmod(banks[head] + k, e.lanes)
                address = addresses[head] + row * g.state_words + pair
            else:
                bank = head * g.head_lanes + word % g.head_lanes if op.head_mode else lane
                address = turn["base"] + k * turn["stride"]
            address += wrong == "address"
            stage = op.stages[head if op.head_mode else 0]
            place = spots.get((bank, address % plan.bank_words), ("nothing",))
            assert place[:3] == (stage, channel, word * e.pixels), f"{where}, unit {unit}: {place}"


def widths_of(plan):
    """Bits of a bank's number and of an address."""
    layout = turn_layout(plan)
    return [layout[name].shape.elem_shape.width for name in ("banks", "addresses")]


@pytest.mark.parametrize("kind", [*KINDS, "passes"])
def test_places(kind):
    on_amaranth(Places(plan_of(kind)), placed(kind, 1))


@pytest.mark.parametrize("wrong", ["tail", "last_chunk", "words_left", "row", "address"])
def test_places_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="group 0"):
        on_amaranth(Places(plan_of("oddpair")), placed("oddpair", 1, wrong))


def test_places_of_another_program_are_seen(monkeypatch):
    """A row program whose fields are wrong: base addresses, chunks."""
    for field in ("base", "chunks"):
        plan = plan_of("single")
        plan.fields["store"][2][field] ^= 1
        with pytest.raises(AssertionError, match="group 0"):
            on_amaranth(Places(plan), placed("single", 1))


# ---- Packer ----


class Streams:
    """Bytes of an operation's walks, and the columns that they are of."""

    def __init__(self, plan, op, source):
        self.plan, self.op, self.rows = plan, op, {}
        self.source = source

    def byte(self, unit, group, chunk, position):
        """Of a unit at a position of a walk's stream."""
        op, e, g = self.op, self.plan.engine, self.plan.geometry
        k, lane = divmod(unit, e.lanes)
        head, i = divmod(lane, g.head_lanes) if op.head_mode else (unit, 0)
        column = (chunk * g.head_lanes + i) * e.pixels if op.head_mode else chunk * e.pixels
        column += position  # an even lane's last one is the odd one's first
        if position == e.pixels and i % 2:
            return self.source.getrandbits(8)  # nobody looks at it
        row = self.rows.setdefault((head, group, k), {})
        byte = self.source.choice([-128, 127, self.source.randint(-128, 127)])
        return row.setdefault(column, byte)

    def columns(self, unit, group):
        """The output row of a unit's channel, so far as it is there; padded."""
        plan, op = self.plan, self.op
        k, lane = divmod(unit, plan.engine.lanes)
        head = lane // plan.geometry.head_lanes if op.head_mode else unit
        row = self.rows[head, group, k]
        values = torch.tensor([row.get(x, -128) for x in range(2 * op.out_columns + 2)])
        if op.head_mode:
            values = head_lane.pool_pairs(values[None, : 2 * op.out_columns])[0]
        wanted = values[: op.out_columns].tolist()
        return [*wanted, *[op.out_zero_point] * (2 * plan.engine.pixels)]


def packed(kind: str, seed: int, wrong: str = ""):
    """Scenario: walks of every operation, one at a time; the words that they fill.

    wrong: "pair" pools the pairs one column on, "pad" pads with 0 for -128, "late" looks a cycle
    before the words are there.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, g = plan.engine, plan.geometry
    layout, low = walk_layout(plan), (e.pixels + 1) // 2
    streams = {}
    for index, op, group, chunk in walks(plan):
        stream = streams.setdefault(index, Streams(plan, op, source))
        turn, _ = turn_of(plan, index, op, group, chunk)
        inner = pack_struct(turn_layout(plan), turn)
        walk = pack_struct(layout, walk_of(plan, op, group, chunk)) | inner << layout["turn"].offset
        yield {"advance": 1, "walk": walk}
        length, state = plan.rules.positions(op), []
        seen = {}
        for cycle in range(length + 3 + e.channels):
            given = [0] * e.units
            if cycle < length:
                given = [stream.byte(u, group, chunk, cycle) for u in range(e.units)]
            out = yield {"walk": walk, "bytes": pack(given, 8)}
            where = f"{op.name}, walk {group}.{chunk}, cycle {cycle}"
            assert out["last"] == (cycle == length - 1), where
            assert out["first"] == (cycle == 0) or cycle >= length, where
            if not op.head_mode:
                inside = cycle < length and chunk * e.pixels + cycle < op.out_columns
                assert out["counts"] == inside, where
                state.append(unpack(out["late"], 8, e.units, signed=True))
            words = unpack(out["words"], 8 * e.pixels, e.units)
            for k in range(e.channels):
                if cycle == length + 1 + k - (wrong == "late"):
                    seen |= {u: words[u] for u in range(k * e.lanes, (k + 1) * e.lanes)}
        if not op.head_mode:  # a cycle late
            assert state[1][0] == stream.byte(0, group, chunk, 0), where
        if not turn["complete"]:
            continue
        for unit in range(e.units):
            k, lane = divmod(unit, e.lanes)
            i = lane % g.head_lanes if op.head_mode else 0
            pair, word = words_of(plan, op, chunk)[i // 2 if op.head_mode else 0]
            if word >= g.words(op.out_columns):
                continue
            wanted = stream.columns(unit, group)[word * e.pixels :]
            if wrong == "pair":
                wanted = stream.columns(unit, group)[word * e.pixels + 1 :]
            if wrong == "pad":
                wanted = [value if value != -128 else 0 for value in wanted]
            found = unpack(seen[unit], 8, e.pixels, signed=True)
            places = range(e.pixels)
            if op.head_mode and g.head_lanes > 1:  # each lane of two fills its half
                places = range(low, e.pixels) if i % 2 else range(low)
            for place in places:
                assert found[place] == wanted[place], f"{where}, unit {unit}, place {place}"


@pytest.mark.parametrize("kind", KINDS)
def test_packer(kind):
    on_amaranth(Packer(plan_of(kind)), packed(kind, 2))


@pytest.mark.parametrize("wrong", ["pair", "pad", "late"])
def test_packer_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="walk"):
        on_amaranth(Packer(plan_of("odd")), packed("odd", 2, wrong))


# ---- Turns ----


def turned(kind: str, seed: int, wrong: str = ""):
    """Scenario: each walk's words, each to its place in its cycle, none twice.

    wrong: "bank", "cycle", "word" or "row" (of scores) is expected otherwise once.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, g, bits = plan.engine, plan.geometry, 8 * plan.engine.pixels
    low = 8 * ((e.pixels + 1) // 2)
    widths = widths_of(plan)
    spots = [{place[:3]: at for at, place in plan._places(op).items()} for op in plan.operations]
    spoilt = False
    for index, op, group, chunk in walks(plan):
        turn, _ = turn_of(plan, index, op, group, chunk)
        words = [source.getrandbits(bits) for _ in range(e.units)]
        wanted, scores = {}, {}  # cycle after `last` -> ...
        banks, addresses = [0] * g.heads, [0] * g.heads
        for unit, head, channel in channels_of(plan, op, group):
            k, lane = divmod(unit, e.lanes)
            for pair, word in words_of(plan, op, chunk):
                if word >= g.words(op.out_columns):
                    continue
                content = words[unit]
                if op.head_mode and g.head_lanes > 1:
                    one, two = (words[unit + 2 * pair + i] for i in (0, 1))
                    content = one & (1 << low) - 1 | two >> low << low
                if op.target == Target.SCORES:
                    scores[3 + k * e.lanes + lane] = op.heads[0], channel, content
                    continue
                stage = op.stages[head if op.head_mode else 0]
                bank, address = spots[index][stage, channel, word * e.pixels]
                slot = k
                if op.target == Target.CONCAT:
                    slot += e.channels * (head + g.heads * pair)
                    if k == 0 and pair == 0:
                        banks[head], addresses[head] = bank, address
                elif pair == 0:
                    turn.setdefault("base", address)
                    if k == 1 and lane == head * g.head_lanes:
                        turn.setdefault("stride", address - turn["base"])
                wanted[3 + slot, bank] = address, content
        if wrong and not spoilt and turn["complete"]:
            spoilt = spoil(wanted, scores, wrong)
        turn |= {"banks": pack(banks, widths[0]), "addresses": pack(addresses, widths[1])}
        value = pack_struct(turn_layout(plan), turn)
        span = max(e.channels * g.heads * max(1, g.head_lanes // 2), e.units) + 5
        for cycle in range(span):
            out = yield {
                "last": cycle == 0,
                "walk": value,
                "words": pack(words, bits) if cycle >= 2 else source.getrandbits(bits),
            }
            where = f"{op.name}, walk {group}.{chunk}, cycle {cycle}"
            for bank in range(e.lanes):
                right = wanted.pop((cycle, bank), None) if turn["complete"] else None
                assert out["write_en"] >> bank & 1 == (right is not None), f"{where}, bank {bank}"
                if right:
                    got = out["write_address"], unpack(out["write_data"], bits, e.lanes)[bank]
                    assert got == right, f"{where}, bank {bank}: {got}, not {right}"
                    assert (out["write_op"], out["state_en"]) == (index, op.writes_state), where
            right = scores.get(cycle)
            assert out["score_en"] == (right is not None), where
            if right:
                got = out["score_head"], out["score_row"], out["score_data"]
                assert got == right, f"{where}: {got}, not {right}"
            before = scores.get(cycle - 1)
            assert out["score_done"] == bool(before and before[1] == plan.model.n - 1), where
        assert not wanted or not turn["complete"], f"{where}: {wanted} left"


def spoil(wanted, scores, wrong):
    """Something that must be noticed; whether there was any."""
    if wrong == "row":
        for cycle in list(scores)[:1]:
            head, row, word = scores[cycle]
            scores[cycle] = head, row + 1, word
        return bool(scores)
    for cycle, bank in list(wanted)[:1]:
        address, word = wanted.pop((cycle, bank))
        word ^= wrong == "word"
        wanted[cycle + (wrong == "cycle"), bank ^ (wrong == "bank")] = address, word
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_turns(kind):
    on_amaranth(Turns(plan_of(kind)), turned(kind, 3))


@pytest.mark.parametrize("wrong", ["bank", "cycle", "word", "row"])
def test_turns_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="walk"):
        on_amaranth(Turns(plan_of("spatial")), turned("spatial", 3, wrong))


# ---- PoolQueue ----


def queued(kind: str, seed: int, wrong: str = ""):
    """Scenario: walks of the state; its channels leave one a cycle, those beyond it do not.

    wrong: "sum", "max", "channel" or "done" is expected otherwise.
    """
    plan, source = plan_of(kind), random.Random(seed)
    units, n, d = plan.engine.units, plan.model.n, plan.model.state_channels
    bits, groups = sum_shape(n).width, plan.operations[-1].out_groups
    for group in range(groups):
        sums = [source.randint(-128 * n, 127 * n) for _ in range(units)]
        maxima = [source.randint(-128, 127) for _ in range(units)]
        given = {"row": group * units, "last": group == groups - 1}
        yield {"collect": 1, "sums": pack(sums, bits), "maxima": pack(maxima, 8)} | given
        for unit in range(units + source.randrange(3)):
            channel = group * units + unit
            out = yield {"sums": source.getrandbits(bits), "maxima": source.getrandbits(8)}
            there = unit < units and channel < d
            assert out["pooled__en"] == there, f"group {group}, unit {unit}"
            done = there and channel == d - 1 - (wrong == "done")
            assert out["state_done"] == done, f"group {group}, unit {unit}: done"
            if there:
                found = [out[f"pooled__{name}"] for name in ("channel", "sum", "max")]
                right = [channel, sums[unit], maxima[unit]]
                if wrong in ("channel", "sum", "max"):
                    right[("channel", "sum", "max").index(wrong)] ^= 1
                assert found == right, f"group {group}, unit {unit}: {found}, not {right}"


@pytest.mark.parametrize("kind", KINDS)
def test_pool_queue(kind):
    on_amaranth(PoolQueue(plan_of(kind)), queued(kind, 4))


@pytest.mark.parametrize("wrong", ["sum", "max", "channel", "done"])
def test_pool_queue_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="group"):
        on_amaranth(PoolQueue(plan_of("paired")), queued("paired", 4, wrong))
