# amaranth: UnusedElaboratable=no
"""hw/parallel/parts.py and attention.py: each part alone, and the three wrappers as elaborated."""

import random
from collections import deque
from dataclasses import replace

import pytest
import torch
from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden import activation, attention
from golden.random_weights import random_weights
from hw.common import own_singles
from hw.image import walk_words
from hw.parallel.attention import Attention, StateCopy
from hw.parallel.image import words as image_words
from hw.parallel.maps import Maps
from hw.parallel.parts import Addresses, Back, UnitWeights, Window
from hw.path import join
from hw.plan import Function, Source, WeightSource, compile_program
from hw.plan.beside import SoftmaxTiming
from hw.plan.engine_config import EngineConfig
from hw.plan.functions import FUNCTIONS
from hw.plan.latency import PARALLEL
from hw.sequencer import step_layout
from tests import test_store
from tests.bench_blocks import on_amaranth, pack, pack_struct, unpack
from tests.test_sequencer import BASE, KINDS, plan_of, steps_of

ONE = PARALLEL.address_one_tap + PARALLEL.memory  # step -> its word


# ---- Addresses ----


def reads_of(plan, step):
    """{bank: word} of a step of three taps, by the row's own words."""
    lanes, head_lanes = plan.engine.lanes, plan.geometry.head_lanes
    across = 1 if step["source"] == Source.SHARED else head_lanes
    first = across * step["address"]
    asked = {  # the words left of, of, and right of the lanes' own
        0: range(first - 1, first + across - 1),
        1: range(first + across - 1, first + across),
        2: range(first + across, first + across + 1),
    }[step["phase"]]
    found = {}
    for word in asked:
        if word < first and step["first_chunk"]:
            continue
        if word >= first + across and step["last_chunk"]:
            continue
        banks = [word % across + head for head in range(0, lanes, across)]
        if step["source"] == Source.SHARED:
            banks = [b for b in range(lanes) if step["bank"] >> b & 1]
        found |= {bank: word // across for bank in banks}
    return found


def addresses(kind, seed, wrong=""):
    """Scenario: steps by chance, each with any other one before it.

    wrong: "word" is expected one on, "edge" beside the row as well.
    """
    plan, source = plan_of(kind), random.Random(seed)
    layout, lanes = step_layout(plan), plan.engine.lanes
    head_lanes = plan.geometry.head_lanes
    bits = {
        "camera": (plan.line_buffer_words - 1).bit_length(),
        "map": (plan.bank_words - 1).bit_length(),
    }
    words = min(plan.line_buffer_words, plan.bank_words) // 2
    right, told = None, 0
    alone = own_singles(plan)  # heads have rows of one tap
    for cycle in range(1200):
        steps = []
        for one in (0, 1):  # now, and in the cycle before
            which = source.choice([Source.CAMERA, Source.HEAD, Source.SHARED, Source.SHARED])
            single = (which == Source.SHARED or alone) and source.random() < 0.5
            step = {
                "valid": source.random() < 0.8,
                "source": int(which),
                "one_tap": single,
                "phase": 0 if single else source.randrange(3),
                "address": source.randrange(1, words - 1),
                "bank": 1 << source.randrange(lanes),
                "first_chunk": source.getrandbits(1),
                "last_chunk": source.getrandbits(1),
            }
            if one and not single and source.random() < 0.5:
                step["valid"] = 0
            steps.append({name: int(value) for name, value in step.items()})
        now, before = steps
        out = yield {"step": pack_struct(layout, now), "later": pack_struct(layout, before)}
        if right is not None:
            for port, banks in right.items():
                count = head_lanes if port == "camera" else lanes
                enabled = unpack(out[f"{port}_en"], 1, count)
                got = unpack(out[f"{port}_address"], bits[port], count)
                found = {b: got[b] for b in range(count) if enabled[b]}
                assert found == banks, f"cycle {cycle}, {port}: {found}, not {banks}"
                told += len(banks)
        right = {"camera": {}, "map": {}}
        if now["valid"] and not now["one_tap"]:
            port = "camera" if now["source"] == Source.CAMERA else "map"
            seen = now | ({"first_chunk": 0} if wrong == "edge" else {})
            found = reads_of(plan, seen)
            right[port] = {b: w for b, w in found.items() if port == "map" or b < head_lanes}
        if before["valid"] and before["one_tap"]:
            port = "camera" if before["source"] == Source.CAMERA else "map"
            if before["source"] == Source.SHARED:
                banks = [before["bank"].bit_length() - 1]
            else:
                banks = range(head_lanes if port == "camera" else lanes)
            if right[port].keys() & set(banks):  # the plan does not let them meet
                right = None
                continue
            right[port] |= dict.fromkeys(banks, before["address"])
        if wrong == "word":
            right["map"] = {bank: word + 1 for bank, word in right["map"].items()}
    assert told > 500


@pytest.mark.parametrize("kind", ["plain", "passes", "two", "four", "singles"])
def test_addresses(kind):
    plan = plan_of(kind)
    on_amaranth(Addresses(plan, plan.line_buffer_words), addresses(kind, 2))


@pytest.mark.parametrize("wrong", ["word", "edge"])
def test_differences_of_addresses_are_seen(wrong):
    plan = plan_of("two")
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Addresses(plan, plan.line_buffer_words), addresses("two", 2, wrong))


# ---- UnitWeights ----


def unit_weights(kind, registers, wrong=0):
    """Scenario: the image's words, step by step of every operation; out comes each unit's own
    weight of the layer. wrong: a cycle later is expected."""
    plan = plan_of(kind)
    weights = random_weights(plan.model, 3)
    stored, _ = walk_words(plan, weights)
    layout, e, g = step_layout(plan), plan.engine, plan.geometry
    late = 2 + registers + wrong
    source, due = random.Random(4), deque([None] * late)
    some = {op.layer.name: op for op in plan.operations}.values()
    for op in some:
        if op.weights == WeightSource.MEMORY:
            tensors = [weights.layers[layer.name].weight.tolist() for layer in op.layers]
        for fields in [step for step in steps_of(plan, op) if step][: 3 * op.k]:
            others = [source.getrandbits(8) for _ in range(e.units)]
            own = op.weights == WeightSource.MEMORY
            step = {"valid": 1, "source": int(op.source), "weights": int(op.weights)}
            step |= {"part": fields["part"]} if own else {}
            word = stored[fields["weight"]] if own else source.getrandbits(8 * e.units)
            inputs = {"step": pack_struct(layout, step), "word": word}
            inputs |= {"others": pack(others, 8)} if plan.model.spatial else {}
            right = dict(enumerate(others))
            if own:
                right = {}
                index = indices(plan, op, fields)
                for unit in range(e.units):
                    k, lane = divmod(unit, e.lanes)
                    tensor = tensors[lane // g.head_lanes if op.head_mode else 0]
                    out_channel = fields["group"] * e.channels + k
                    if not op.head_mode:
                        out_channel = fields["group"] * e.units + unit - op.first
                    if 0 <= out_channel < op.out_channels:
                        c, y, x = index
                        right[unit] = tensor[out_channel][c][y][x] & 255
            due.append((op.name, right))
            out = yield inputs
            wanted = due.popleft()
            if wanted is not None:
                got = unpack(out["weights"], 8, e.units)
                for unit, byte in wanted[1].items():
                    assert got[unit] == byte, f"{wanted[0]}, unit {unit}: {got[unit]}, not {byte}"


def indices(plan, op, step):
    """(input channel, kernel row, column) that a step's weight word is of."""
    lanes = plan.geometry.head_lanes if op.head_mode else 1
    words = -(-op.k // lanes)
    index = (step["weight"] - op.weight_base - step["group"] * words) * lanes + step["part"]
    column = index % op.taps
    return index // op.taps // op.kernel_rows, index // op.taps % op.kernel_rows, column


@pytest.mark.parametrize("kind, registers", [("plain", 0), ("two", 0), ("four", 1), ("passes", 0)])
def test_unit_weights(kind, registers):
    on_amaranth(UnitWeights(plan_of(kind), registers), unit_weights(kind, registers))


def test_differences_of_unit_weights_are_seen():
    with pytest.raises(AssertionError, match="unit"):
        on_amaranth(UnitWeights(plan_of("two")), unit_weights("two", 0, wrong=1))


# ---- StateCopy ----


def copies(kind, seed, wrong=0):
    """Scenario: words are written to some banks and read again, one or none a cycle.

    wrong: a cycle later is expected.
    """
    plan, source = plan_of(kind), random.Random(seed)
    lanes, bits, depth = plan.engine.lanes, 8 * plan.engine.pixels, plan.state.words
    content, right = {}, {}
    late = 1 + PARALLEL.memory + wrong
    for cycle in range(900):
        enabled = source.getrandbits(lanes) if source.random() < 0.7 else 0
        address = source.randrange(depth)
        words = [source.getrandbits(bits) for _ in range(lanes)]
        asked = source.choice([key for key in content] or [None])
        inputs = {"write_en": enabled, "address": address, "data": pack(words, bits)}
        if asked is not None and source.random() < 0.8:
            inputs |= {"read_en": 1, "bank": 1 << asked[0], "row": asked[1]}
            # written in the cycle of the read itself: nobody knows
            right[cycle + late] = asked
        out = yield inputs
        # a read that was asked for a cycle ago is done with the words written before
        key = right.get(cycle + late - 1)
        if isinstance(key, tuple):
            meets = enabled >> key[0] & 1 and address == key[1]
            right[cycle + late - 1] = None if meets else content[key]
        wanted = right.get(cycle)
        if isinstance(wanted, int):
            assert out["word"] == wanted, f"cycle {cycle}: {out['word']:x}, not {wanted:x}"
        content |= {(b, address): words[b] for b in range(lanes) if enabled >> b & 1}


@pytest.mark.parametrize("kind", ["two", "four"])
def test_state_copy(kind):
    on_amaranth(StateCopy(plan_of(kind)), copies(kind, 5))
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(StateCopy(plan_of(kind)), copies(kind, 5, wrong=1))


# ---- Attention ----


def told_steps(layout, history):
    """Inputs of a part that takes the step, and what it was before."""
    return {f"steps__{i}": pack_struct(layout, step) for i, step in enumerate(history) if step}


SPATIAL = {  # one lane a head and several; a word of S with bytes beyond the row
    "full": (replace(BASE, heads=3, image_width=73, spatial_attention="full"), "5,2,3"),
    "banded": (replace(BASE, image_width=103, spatial_attention="banded"), "7,1,4"),
}


def spatial_plan(kind):
    model, shape = SPATIAL[kind]
    return compile_program(model, EngineConfig.parse(shape))


def scores_to_weights(kind, seed, wrong=""):
    """Scenario: scores of all heads and a state come in; rows of A leave, and bytes of the state
    and of V as weights.

    wrong: "row" and "weight" are expected otherwise once.
    """
    plan, source = spatial_plan(kind), random.Random(seed)
    model, e, n = plan.model, plan.engine, plan.model.n
    layout, pixels = step_layout(plan), plan.engine.pixels
    banded = model.spatial_attention == "banded"
    table = attention.make_exp_table(0.03)
    state = [[source.randint(-128, 127) for _ in range(n)] for _ in range(model.state_channels)]
    for first in range(0, model.state_channels, e.lanes):  # beside words of other maps
        rows = state[first : first + e.lanes]
        words = [pack(row, 8) for row in rows] + [0] * (e.lanes - len(rows))
        address = plan.state.base + first // e.lanes
        write = {"write_address": address, "write_data": pack(words, 8 * pixels)}
        yield write | {"write_en": (1 << len(rows)) - 1, "feed__state_en": 1}
        noise = source.getrandbits(8 * pixels * e.lanes)
        yield write | {"write_en": (1 << e.lanes) - 1, "write_data": noise}
    scores = torch.randint(-128, 128, (model.heads, n, n), generator=_generator(seed))
    for head in range(model.heads):
        for row in range(n):
            noise = [source.getrandbits(8) for _ in range(pixels - n)]
            yield {
                "feed__score_en": 1,
                "feed__score_head": head,
                "feed__score_row": row,
                "feed__score_data": pack([*scores[head, row].tolist(), *noise], 8),
            }
        yield {"feed__score_done": 1}
    for _ in range(model.heads * (SoftmaxTiming(columns=n).cycles + 2)):
        yield {}
    if banded:
        place = torch.arange(n)
        scores = scores * ((place[:, None] - place[None, :]).abs() <= attention.BAND)
    right = attention.softmax(scores, table).tolist()

    values = [[source.randint(-128, 127) for _ in range(pixels)] for _ in range(e.units)]
    feed = {"feed__values": pack([pack(v, 8) for v in values], 8 * pixels)}
    history = deque([None] * (PARALLEL.transfer + 1), PARALLEL.transfer + 1)
    wanted, zeros = {}, {}
    jobs = [("row", h, r) for h in range(model.heads) for r in range(n)]
    groups = range(-(-n // e.units))
    jobs += [("state", c, g) for c in range(model.state_channels) for g in groups]
    jobs = source.sample(3 * jobs, 3 * len(jobs))
    for cycle in range(len(jobs) + 12):
        step, zero = None, source.getrandbits(1)
        if cycle < len(jobs):
            job, one, two = jobs[cycle]
            step = {"valid": 1, "one_tap": 1}
            if job == "row":
                step |= {"source": int(Source.ATTENTION), "weights": int(WeightSource.VALUE)}
                step |= {"head": one, "inner": two}
                row = [*right[one][two]]
                if wrong == "row" and cycle > 20:
                    row[0] ^= 1
                wanted[cycle + ONE, "word"] = row
                bytes_ = {u: values[u][two] for u in range(e.units)}
            else:
                step |= {"source": int(Source.SHARED), "weights": int(WeightSource.STATE)}
                step |= {"bank": 1 << one % e.lanes, "inner_row": one // e.lanes, "group": two}
                columns = {u: two * e.units + u for u in range(e.units)}
                bytes_ = {u: 0 if zero else state[one][c] for u, c in columns.items() if c < n}
            if wrong == "weight" and cycle > 20:
                bytes_ = {u: b ^ 1 for u, b in bytes_.items()}
            wanted[cycle + PARALLEL.weight_chosen, "weights"] = bytes_
            zeros[cycle] = zero
        history.appendleft(step)
        out = yield told_steps(layout, history) | feed | {"first_group": zeros.get(cycle, 0)}
        if (cycle, "word") in wanted:
            got = unpack(out["word"], 8, n)
            assert got == wanted[cycle, "word"], f"cycle {cycle}: a row of A is {got}"
        got = unpack(out["weights"], 8, e.units, signed=True)
        for u, byte in wanted.get((cycle, "weights"), {}).items():
            assert got[u] == byte, f"cycle {cycle}: unit {u}'s weight is {got[u]}, not {byte}"


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def attention_of(kind):
    return Attention(spatial_plan(kind), attention.make_exp_table(0.03).tolist())


@pytest.mark.parametrize("kind", SPATIAL)
def test_attention(kind):
    on_amaranth(attention_of(kind), scores_to_weights(kind, 6))


def dropped_scores(kind, seed):
    """Scenario: a reset while scores come, or as one head's or the next one's are worked on; again
    and again, and then all of it is right."""
    plan, source = spatial_plan(kind), random.Random(seed)
    model, n = plan.model, plan.model.n
    written = 2 * -(-model.state_channels // plan.engine.lanes)
    softmax = SoftmaxTiming(columns=n).cycles
    cycles = [written + 1, written + n + 2, written + n + 2 + softmax]
    cycles += [source.randrange(written, written + model.heads * (n + softmax)) for _ in range(4)]
    for turn, count in enumerate(cycles):
        scenario = scores_to_weights(kind, seed + 1 + turn)
        inputs = next(scenario)
        for _ in range(count):
            inputs = scenario.send((yield inputs))
        yield {"reset": 1}
    yield from scores_to_weights(kind, seed)


@pytest.mark.parametrize("kind", SPATIAL)
def test_attention_of_a_frame_that_is_dropped(kind):
    on_amaranth(attention_of(kind), dropped_scores(kind, 6))


@pytest.mark.parametrize("wrong, text", [("row", "a row of A is"), ("weight", "weight is")])
def test_differences_of_attention_are_seen(wrong, text):
    with pytest.raises(AssertionError, match=text):
        on_amaranth(attention_of("banded"), scores_to_weights("banded", 6, wrong))


# ---- Window ----


def windows(kind, seed, wrong=""):
    """Scenario: steps of operations of every source; what comes before the multipliers are the
    columns of the rows in the banks, which are written first; host and operands read them, too.

    wrong: "tap" and "head" are expected otherwise.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, g, pixels = plan.engine, plan.geometry, plan.engine.pixels
    lanes, head_lanes, bits = e.lanes, g.head_lanes, 8 * e.pixels
    layout = step_layout(plan)

    def memory(banks, words):
        return [[[source.getrandbits(8) for _ in range(pixels)] for _ in range(words)]
                for _ in range(banks)]  # fmt: skip

    maps = memory(lanes, plan.bank_words)
    film = memory(head_lanes, plan.line_buffer_words)
    for address in range(plan.bank_words):
        word = pack([pack(bank[address], 8) for bank in maps], bits)
        yield {
            "maps__write_en": (1 << lanes) - 1,
            "maps__write_address": address,
            "maps__write_data": word,
        }
    history = deque([None] * (PARALLEL.transfer + 1), PARALLEL.transfer + 1)
    asked, wanted, given, cycle = deque([0] * (1 + PARALLEL.memory)), {}, {}, 0
    address_bits = max(1, (plan.line_buffer_words - 1).bit_length())
    some = list({(op.source, op.taps, op.weights): op for op in plan.operations}.values())
    for op in [*some, *source.choices(plan.operations, k=4)]:
        zero = source.getrandbits(1)
        across = head_lanes if op.head_mode else 1
        steps = list(steps_of(plan, op))[: 5 * op.period]
        for number, step in enumerate([*steps, *[None] * 12]):
            if step is not None:
                step = {name: int(v) for name, v in step.items()} | {"valid": 1}
                chunk = number // op.period % op.chunks
                at = cycle + PARALLEL.transfer - PARALLEL.multiply
                wanted[at] = [None] * lanes
                if op.source == Source.ATTENTION:
                    row = [source.getrandbits(8) for _ in range(pixels)]
                    given[cycle + ONE] = pack(row, 8)
                    wanted[at] = [row] * lanes
                for lane in range(lanes) if op.source != Source.ATTENTION else ():
                    head, i = divmod(lane, head_lanes)
                    if wrong == "head":
                        head = 0
                    base = step["address"] - chunk

                    def word(w, op=op, step=step, base=base, head=head):
                        if op.source == Source.CAMERA:
                            return film[w % head_lanes][base + w // head_lanes]
                        if op.source == Source.HEAD:
                            return maps[head * head_lanes + w % head_lanes][base + w // head_lanes]
                        return maps[step["bank"].bit_length() - 1][base + w]

                    own = across * chunk + (i if op.head_mode else 0)
                    if own >= op.in_words:
                        continue  # beyond the row: nobody looks at it
                    row = [byte for w in range(op.in_words) for byte in word(w)]
                    if step["state"] and zero:
                        row = [0] * len(row)
                    tap = 1 if op.taps == 1 else step["phase"]
                    tap = 2 - tap if wrong == "tap" else tap
                    columns = range(own * pixels + tap - 1, (own + 1) * pixels + tap - 1)
                    pad = op.zero_point & 255
                    wanted[at][lane] = [row[c] if 0 <= c < len(row) else pad for c in columns]
            history.appendleft(step)
            inputs = told_steps(layout, history) | {"first_group": zero}
            inputs["camera__words"] = asked.popleft()
            if plan.model.spatial:
                inputs["attention_word"] = given.get(cycle, source.getrandbits(bits))
            out = yield inputs
            places = unpack(out["camera__read_address"], address_bits, head_lanes)
            enabled = unpack(out["camera__read_en"], 1, head_lanes)
            asked.append(pack([
                pack(film[b][places[b]], 8) if enabled[b] and places[b] < len(film[b])
                else source.getrandbits(bits) for b in range(head_lanes)
            ], bits))  # fmt: skip
            operands = unpack(out["operands"], bits, lanes)
            for lane, right in enumerate(wanted.get(cycle, ())):
                got = unpack(operands[lane], 8, pixels)
                assert right is None or got == right, (
                    f"cycle {cycle}, {op.name}, lane {lane}: {got}, not {right}"
                )
            cycle += 1
    # nobody else reads: at once
    for bank in range(lanes):
        address = source.randrange(plan.bank_words)
        host = {"host__en": 1, "host__bank": bank, "host__address": address}
        out = yield host | {"maps__operand_en": 1, "maps__operand_address": address}
        assert out["maps__operand_done"] and not out["host__done"]
        out = yield host
        assert out["host__done"]
        answers = []
        for _ in range(6):
            out = yield {}
            answers.append((out["host__valid"], out["host__data"], out["maps__operand_valid"]))
            if out["maps__operand_valid"]:
                words = unpack(out["maps__words"], bits, lanes)
                assert words == [pack(maps[b][address], 8) for b in range(lanes)]
        assert [valid for valid, _, _ in answers].count(1) == 1
        assert sum(valid == (1 << lanes) - 1 for _, _, valid in answers) == 1
        assert pack(maps[bank][address], 8) in [word for valid, word, _ in answers if valid]


@pytest.mark.parametrize("kind", KINDS)
def test_window(kind):
    on_amaranth(Window(plan_of(kind)), windows(kind, 7))


@pytest.mark.parametrize("wrong", ["tap", "head"])
def test_differences_of_the_window_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Window(plan_of("two")), windows("two", 7, wrong))


# ---- Back ----


SMALL = replace(BASE, image_height=5, image_width=37, head_channels=(1, 2, 1, 3), state_channels=3)
WAYS = {  # one lane a head, an odd pair of lanes, all functions
    "single": (SMALL, "4,2,2"),
    "oddpair": (replace(SMALL, heads=1), "3,2,2"),
    "spatial": (replace(SMALL, spatial_attention="full", attention_hidden=1), "4,1,2"),
}


def way_plan(kind):
    model, shape = WAYS[kind]
    return compile_program(model, EngineConfig.parse(shape))


class Way(wiring.Component):
    """The way back with the banks that it writes and takes operands from."""

    def __init__(self, plan):
        self.spatial = plan.model.spatial
        weights = random_weights(plan.model, 9)
        self.back = Back(plan, weights, image_words(plan, weights)["constants"])
        self.banks = Maps(plan)
        sums, lanes = self.back.signature.members["sums"].signature.members, plan.engine.lanes
        super().__init__(
            {
                "transfer": In(1),
                "heads": In(sums["heads"].shape),
                "first_group": In(1),
                "read_en": In(lanes),
                "write_en": Out(lanes),
                "write_address": Out(range(plan.bank_words)),
                "write_data": Out(data.ArrayLayout(8 * plan.engine.pixels, lanes)),
                "pool": self.back.signature.members["pool"],
                "state_done": Out(1),
                **({"feed": self.back.signature.members["attention"]} if self.spatial else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self.spatial:
            wiring.connect(m, self.back.attention, wiring.flipped(self.feed))
        m.submodules.back = back = self.back
        m.submodules.banks = banks = self.banks
        join(m, back.maps, banks)
        wiring.connect(m, back.pool, wiring.flipped(self.pool))
        m.d.comb += [
            back.sums.transfer.eq(self.transfer),
            back.sums.heads.eq(self.heads),
            back.first_group.eq(self.first_group),
            banks.read_en.eq(self.read_en),
            self.write_en.eq(back.maps.write_en),
            self.write_address.eq(back.maps.write_address),
            self.write_data.eq(back.maps.write_data),
            self.state_done.eq(back.state_done),
        ]
        return m


class FromSums(test_store.Outcome):
    """What a row group's walks must lead to, from their sums: golden's rounding and activations,
    hw.plan.functions with the operands' bytes (tests/test_functions.py holds it to golden)."""

    first = PARALLEL.drain

    def __init__(self, plan, source, content, first_group):
        weights = random_weights(plan.model, 9)
        _, self.constants = walk_words(plan, weights)
        self.first_group = first_group
        reach = torch.arange(-511, 512)
        self.sigmoid = activation.sigmoid(reach, weights.knots.to(torch.int64)).tolist()
        self.tanh = activation.tanh(reach, weights.knots.to(torch.int64)).tolist()
        super().__init__(plan, source, content)

    def draw(self, op, channel, column, source, spread):
        plan, e, g = self.plan, self.plan.engine, self.plan.geometry
        head, c = channel
        if op.head_mode:
            group, place = divmod(c, e.channels)
            unit = head * e.channels + place
            k = place
        else:
            group, unit = divmod(c, e.units)
            k = unit // e.lanes
        bias, multiplier, shift = self.constants[op.constant_base + group * op.constant_step + unit]
        mixing, top = op.function == Function.MIX, 1 << plan.model.acc_bits - 1
        wanted = source.choice([source.randint(-160, 160), source.randint(-700, 700)])
        total = (wanted << shift) // max(1, multiplier) - (0 if mixing else bias)
        total = min(max(total, -top), top - 1)
        value = ((total + (0 if mixing else bias)) * multiplier + (1 << shift - 1)) >> shift
        operands = {}
        for port, name in zip("b" if mixing else "ab", op.operands, strict=False):
            chunk, byte = divmod(column, e.pixels)
            row = op.operand_first + group * e.channels + k
            address = plan.maps[name].base + row * g.state_words + chunk
            word = self.content.get((unit % e.lanes, address), 0)
            if name == "H" and self.first_group:
                word = 0
            operands[port] = unpack(word, 8, e.pixels, signed=True)[byte]
        place = min(max(value, -511), 511) + 511
        byte = FUNCTIONS[op.function].byte(
            value,
            unit=self.sigmoid[place],
            tanh=self.tanh[place],
            gain=bias if mixing else 0,
            zero_point=0 if plan.model.spatial else -128,
            **operands,
        )
        return ((byte + 128) & 255) - 128, total & (2 * top - 1)


def ways(kind, seed, wrong=""):
    """Scenario: two row groups of a frame at the plan's cycles; every written word, and the pooled
    state. wrong: "word" and "pool" are expected otherwise once; "zero": no first group."""
    plan, source = way_plan(kind), random.Random(seed)
    e, bits = plan.engine, plan.model.acc_bits
    content, streams, writes, transfers, pooled, scores = {}, {}, {}, set(), [], {}
    reads, span = {}, plan.cycles_per_row_group
    for turn in range(2):
        outcome = FromSums(plan, source, content, turn == 0 or wrong == "zero")
        begin = turn * span
        for cycle, given in outcome.streams.items():
            streams.setdefault(begin + cycle, {}).update(given)
        writes |= {(b, begin + c): w[1:] for (b, c), w in outcome.writes.items()}
        transfers |= {begin + cycle for cycle in outcome.transfers}
        scores |= {begin + cycle: score for cycle, score in outcome.scores.items()}
        pooled += outcome.pooled
        for op in plan.operations:
            for cycle, bank in plan.array_reads(op):
                reads.setdefault(begin + cycle - 1, set()).add(bank)
    if wrong == "word":
        key = min(writes, key=lambda key: key[1])
        writes[key] = (writes[key][0], writes[key][1] ^ 1)
    if wrong == "pool":
        pooled[0] = (pooled[0][0], pooled[0][1] + 1, pooled[0][2])
    first, last = plan.operations[0].start, max(cycle for _, cycle in writes)
    found, ended = [], 0
    for cycle in range(last + e.units + 20):
        given = streams.get(cycle, {})
        heads = [given.get(u, source.getrandbits(bits)) for u in range(e.units)]
        out = yield {
            "transfer": cycle in transfers,
            "heads": pack(heads, bits),
            "first_group": cycle < span + first - 1,
            "read_en": pack([b in reads.get(cycle, ()) for b in range(e.lanes)], 1),
        }
        words = unpack(out["write_data"], 8 * e.pixels, e.lanes)
        for bank in range(e.lanes):
            right = writes.get((bank, cycle))
            got = (out["write_address"], words[bank]) if out["write_en"] >> bank & 1 else None
            assert got == right, f"cycle {cycle}, bank {bank}: {got}, not {right}"
        if out["pool__en"]:
            found.append((out["pool__channel"], out["pool__sum"], out["pool__max"]))
            assert found == pooled[: len(found)], f"pooled: {found}, not {pooled}"
        if plan.model.spatial:
            names = [f"feed__score_{name}" for name in ("head", "row", "data")]
            got = tuple(out[name] for name in names) if out["feed__score_en"] else None
            assert got == scores.get(cycle), f"cycle {cycle}: scores {got}"
        ended += out["state_done"]
    assert found == pooled and ended == 2, f"pooled: {found}, not {pooled}"


@pytest.mark.parametrize("kind", WAYS)
def test_back(kind):
    on_amaranth(Way(way_plan(kind)), ways(kind, 8))


@pytest.mark.parametrize("wrong, text", [("word", "bank"), ("pool", "pooled"), ("zero", "bank")])
def test_differences_of_the_way_back_are_seen(wrong, text):
    with pytest.raises(AssertionError, match=text):
        on_amaranth(Way(way_plan("oddpair")), ways("oddpair", 8, wrong))
