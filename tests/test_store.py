# amaranth: UnusedElaboratable=no
"""hw/parallel/store.py: pooling, packing, places of every operation's words in plain Python."""

import random
from dataclasses import replace

import pytest

from golden.config import ModelConfig
from hw.parallel.store import Store
from hw.plan import Function, Target, compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from tests.bench_blocks import on_amaranth, on_verilator, pack, unpack

BASE = ModelConfig(
    name="store",
    image_height=5,
    image_width=16 * 4 + 9,
    heads=2,
    head_channels=(3, 2, 5, 3),
    state_channels=7,
    attention_hidden=3,
)
KINDS = {  # model, shape
    # a lane a head: even and odd words (pairs that straddle two walks), state of several words
    "single": (BASE, "4,2,2"),
    "odd": (replace(BASE, image_width=43), "3,3,1"),
    "passes": (replace(BASE, heads=3, image_width=33, head_channels=(3, 2, 3, 3)), "5,3,1"),
    # two and four lanes a head; odd words (pairs that straddle two lanes)
    "paired": (BASE, "4,1,4"),
    "oddpair": (replace(BASE, heads=1, image_width=73), "3,2,2"),
    "four": (replace(BASE, heads=1, channel_attention=False), "3,1,4"),
    # words of S; a head's V and P' between others
    "spatial": (
        replace(BASE, heads=3, head_channels=(3, 2, 5, 4), spatial_attention="full"),
        "4,2,3",
    ),
}

TWICE = ("oddpair", "paired")  # these run two row groups


def plan_of(kind):
    model, shape = KINDS[kind]
    return compile_program(model, EngineConfig.parse(shape))


class Outcome:
    """What the walks of a steady row group must lead to, from the bytes of every stream."""

    first = PARALLEL.pack  # transfer -> the stream's first byte

    def __init__(self, plan, source, content=None):
        self.plan = plan
        self.content = {} if content is None else content  # (bank, address) -> word
        e, g = plan.engine, plan.geometry
        self.streams = {}  # cycle -> {unit: byte}, of `bytes`
        self.transfers = {}
        self.writes = {}  # (bank, cycle) -> (operation, address, word)
        self.scores = {}  # cycle -> (head, row, word)
        self.pooled = []  # (channel, sum, maximum)
        self.done = {}
        for index, op in enumerate(plan.operations):
            self.operation(index, op, source, e, g)

    def draw(self, op, channel, column, source, spread):
        """A byte of an operation's channel, and what stands for it in the stream."""
        byte = source.choice([-128, 127, source.randint(-128, 127)]) >> spread
        return byte, byte & 255

    def operation(self, index, op, source, e, g):
        plan = self.plan
        positions = plan.rules.positions(op)
        spread = source.choice([0, 0, 3])
        bytes_of = {}  # (head or None, channel) -> bytes of the columns
        shown = {}
        for walk in range(op.walks):
            group, j = divmod(walk, op.chunks)
            transfer = op.start + walk * op.period + op.k + op.pause - 1 + PARALLEL.transfer
            self.transfers[transfer] = op
            for position in range(positions):
                given = self.streams.setdefault(transfer + self.first + position, {})
                for lane in range(e.lanes):
                    for k in range(e.channels):
                        unit = k * e.lanes + lane
                        if op.head_mode:
                            head, i = divmod(lane, g.head_lanes)
                            key = (head, group * e.channels + k)
                            column = (j * g.head_lanes + i) * e.pixels + position
                        else:
                            key = (None, group * e.units + unit)
                            column = j * e.pixels + position
                        row = bytes_of.setdefault(key, {})
                        if position == e.pixels and (not op.head_mode or i % 2):
                            given[unit] = source.getrandbits(8)  # nobody looks at it
                            continue
                        if column not in row:
                            row[column], shown[key, column] = self.draw(
                                op, key, column, source, spread
                            )
                        given[unit] = shown[key, column]

        def word_of(row, w):
            """Word w of an output row, padded beyond the map."""
            values = []
            for column in range(w * e.pixels, (w + 1) * e.pixels):
                if column >= op.out_columns:
                    values.append(op.out_zero_point)
                elif op.head_mode:
                    values.append(max(row[2 * column], row[2 * column + 1]))
                else:
                    values.append(row[column])
            return pack(values, 8)

        words = g.words(op.out_columns)
        times = plan.write_times(op)
        m = plan.maps.get(op.out)
        pairs = max(1, g.head_lanes // 2)
        for place, head in enumerate(op.heads if op.head_mode else [None]):
            for c in range(op.out_channels):
                row = bytes_of[None if head is None else place, op.first + c]
                for w in range(words):
                    cycle = int(times[op.first + c, w])
                    word = word_of(row, w)
                    if op.target == Target.SCORES:
                        assert cycle not in self.scores
                        self.scores[cycle] = (op.heads[0], c, word)
                        if c == op.out_channels - 1:
                            self.done[cycle + 1] = op.heads[0]
                        continue
                    if op.target == Target.HEAD:
                        # words of a row over the banks of the head
                        bank = place * g.head_lanes + w % g.head_lanes
                        line = op.out_row * op.out_channels + c
                        address = m.base + line * m.groups + w // g.head_lanes
                    else:
                        channel = op.first + c + op.operand_first * e.lanes
                        if op.target == Target.CONCAT:
                            channel = head * op.out_channels + c
                            # one word a cycle: channels, then heads, then pairs of lanes; the
                            # compiler plans with the last head
                            slot = c % e.channels + e.channels * (place + g.heads * (w % pairs))
                            planned = e.channels * (w % pairs * g.heads + g.heads - 1)
                            cycle += slot - c % e.channels - planned
                        bank = channel % e.lanes
                        address = m.base + channel // e.lanes * m.groups + w
                    assert (bank, cycle) not in self.writes, "two words want a bank"
                    self.writes[bank, cycle] = (index, address, word)
                    self.content[bank, address] = word
                if op.function == Function.BLEND:
                    values = [row[x] for x in range(op.out_columns)]
                    self.pooled.append((c, sum(values), max(values)))


def traffic(kind: str, seed: int, groups: int = 1, wrong: str = ""):
    """Scenario: row groups one after the other, at the plan's cycles; every write is compared.

    wrong: "byte", "pad", "address", "cycle", "sum" or "score" is expected otherwise once.
    """
    plan = plan_of(kind)
    e = plan.engine
    source = random.Random(seed)
    found, pooled = [], []
    late = []  # of the group before: what comes when the next one has begun
    for turn in range(groups + 1):
        outcome = Outcome(plan, source)
        if wrong and turn == 0:
            mutate(outcome, wrong)
        if turn == groups:
            outcome.streams, outcome.transfers = {}, {}
        gap = source.choice([0, 30])
        pooled += outcome.pooled if turn < groups else []
        span = plan.cycles_per_row_group + gap
        if turn == groups:  # only what is still under way
            span = max(c for c in (*late[1].done, *(c for _, c in late[1].writes))) - late[0]
            span += plan.engine.units + PARALLEL.write + 5
        for cycle in range(span):
            before = cycle + late[0] if late else None
            given = dict(outcome.streams.get(cycle, {}))
            transfer = cycle in outcome.transfers
            if late:
                given |= late[1].streams.get(before, {})
                transfer |= before in late[1].transfers
            out = yield {
                "transfer": transfer,
                "bytes": pack([given.get(u, source.getrandbits(8)) for u in range(e.units)], 8),
            }
            enabled = out["write_en"]
            words = unpack(out["write_data"], 8 * e.pixels, e.lanes)
            for bank in range(e.lanes):
                wanted = late[1].writes.get((bank, before)) if late else None
                if turn < groups:
                    wanted = wanted or outcome.writes.get((bank, cycle))
                where = f"group {turn}, cycle {cycle}, bank {bank}"
                assert enabled >> bank & 1 == (wanted is not None), f"{where}: {wanted}"
                if wanted is not None:
                    got = out["write_op"], out["write_address"], words[bank]
                    assert got == wanted, f"{where}: {got}, not {wanted}"
                    if bank == 0:
                        blend = plan.operations[wanted[0]].function == Function.BLEND
                        assert out["state_en"] == blend, where
            score = late[1].scores.get(before) if late else None
            done = late[1].done.get(before) if late else None
            if turn < groups:
                score = score or outcome.scores.get(cycle)
                done = outcome.done.get(cycle) if done is None else done
            where = f"group {turn}, cycle {cycle}"
            assert out["score_en"] == (score is not None), f"{where}: {score}"
            if score is not None:
                got = out["score_head"], out["score_row"], out["score_data"]
                assert got == score, f"{where}: {got}, not {score}"
            assert out["score_done"] == (done is not None), f"{where}: row done"
            if done is not None:
                assert out["score_head"] == done, where
            if out["pooled__en"]:
                found.append((out["pooled__channel"], out["pooled__sum"], out["pooled__max"]))
            last = out["pooled__en"] and out["pooled__channel"] == plan.model.state_channels - 1
            assert out["state_done"] == last, f"{where}: state done"
        # channels beyond the state are not told, the others once
        told = found == pooled[: len(found)]
        assert told and len(found) >= plan.model.state_channels * turn, (
            f"group {turn}: {found}, not {pooled}"
        )
        late = [plan.cycles_per_row_group + gap, outcome]
    assert found == pooled


def mutate(outcome, wrong):
    """One thing that must be noticed."""
    if wrong == "sum":
        channel, total, largest = outcome.pooled[-1]
        outcome.pooled[-1] = (channel, total + 1, largest)
    elif wrong == "max":
        channel, total, largest = outcome.pooled[0]
        outcome.pooled[0] = (channel, total, largest + 1)
    elif wrong == "score":
        cycle = max(outcome.scores)
        head, row, word = outcome.scores[cycle]
        outcome.scores[cycle] = (head, row, word ^ 1)
    else:
        key = sorted(outcome.writes, key=lambda k: (k[1], k[0]))[len(outcome.writes) // 2]
        index, address, word = outcome.writes[key]
        if wrong == "cycle":
            outcome.writes[key[0], key[1] + 1] = outcome.writes.pop(key)
        elif wrong == "byte":
            outcome.writes[key] = (index, address, word ^ 1 << 7)
        else:
            outcome.writes[key] = (index, address ^ 1, word)


def test_verilator():
    kinds = [kind for kind in KINDS if kind not in ("single", "passes")]
    on_verilator(
        {kind: Store(plan_of(kind)) for kind in kinds},
        [
            (kind, traffic, {"kind": kind, "seed": 11, "groups": 1 + (kind in TWICE)})
            for kind in kinds
        ],
    )


@pytest.mark.parametrize("kind", ["single", "passes"])
def test_amaranth(kind):
    on_amaranth(Store(plan_of(kind)), traffic(kind, 12))


@pytest.mark.parametrize("wrong", ["byte", "address", "cycle", "sum", "max", "score"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="group"):
        on_amaranth(Store(plan_of("spatial")), traffic("spatial", 12, wrong=wrong))


def aborted(kind: str, seed: int):
    """Scenario: reset in the middle of a row group, again and again; then a whole one is right."""
    plan, source = plan_of(kind), random.Random(seed)
    for _ in range(6):
        outcome = Outcome(plan, source)
        for cycle in range(source.randrange(plan.cycles_per_row_group)):
            given = outcome.streams.get(cycle, {})
            yield {
                "transfer": cycle in outcome.transfers,
                "bytes": pack([given.get(u, 0) for u in range(plan.engine.units)], 8),
            }
        out = yield {"reset": 1}
        for _ in range(source.randrange(3, 30)):
            out = yield {}
            assert not out["write_en"] and not out["score_en"] and not out["pooled__en"]
    yield from traffic(kind, seed + 1)


@pytest.mark.parametrize("kind", ["oddpair", "odd"])
def test_abort(kind):
    on_amaranth(Store(plan_of(kind)), aborted(kind, 5))


def test_plans():
    """What the shapes stand for."""
    found = [plan_of(kind) for kind in KINDS]
    lanes = {(p.geometry.head_lanes > 1, p.engine.pixels % 2) for p in found}
    assert lanes == {(False, 0), (False, 1), (True, 0), (True, 1)}
    assert {p.geometry.head_lanes for p in found} == {1, 2, 4}
    assert {op.target for p in found for op in p.operations} == set(Target)
    assert any(p.geometry.state_words > 1 for p in found)
    assert any(p.geometry.passes > 1 for p in found)
    assert any(op.out_channels % p.engine.units for p in found for op in p.operations)
    assert any(op.first for p in found for op in p.operations)
    assert any(op.out_columns % p.engine.pixels for p in found for op in p.operations)
