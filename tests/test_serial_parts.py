# amaranth: UnusedElaboratable=no
"""The parts of hw/serial/store.py alone: operands, writer, pool; see also test_serial_store.

What is asked and written is told by the plan's maps and golden's pooling.
"""

import random

import pytest
import torch
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from golden import classifier as golden
from hw.common import word_layout
from hw.plan import Function, Target
from hw.plan.functions import FUNCTIONS
from hw.plan.latency import SERIAL
from hw.serial.store import SerialOperands, SerialPool, SerialWriter
from tests.bench_blocks import on_amaranth, pack_struct
from tests.serial import KINDS, plan_of
from tests.test_serial_store import content_of


def facts_of(plan, index):
    """Ports that say which operation it is."""
    return {"word": pack_struct(word_layout(plan, "back"), plan.fields["back"][index])}


def values(plan, op):
    """(walk, group, chunk, lane, column of the row) of an operation's values, as they leave."""
    e = plan.engine
    count = e.pixels // 2 if op.head_mode else e.pixels
    for walk in range(op.walks):
        group, chunk = divmod(walk, op.chunks)
        for lane in range(e.lanes):
            for i in range(count):
                pixel = i if op.head_mode or op.taps > 1 else (i - 1) % e.pixels
                yield walk, group, chunk, lane, chunk * count + pixel


# ---- operands ----


class Fetching(wiring.Component):
    """SerialOperands beside banks that never change.

    Ports: the operands', less those to the banks, and `busy`: the array reads all of them.
    """

    def __init__(self, plan, offset=0):
        self.plan, self.operands, self.offset = plan, SerialOperands(plan), offset
        members = self.operands.signature.members
        between = ("ask", "ask_bank", "ask_address", "granted", "words")
        self.same = {name: members[name] for name in members if name not in between}
        super().__init__(self.same | {"busy": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.operands = part = self.operands
        for name, member in self.same.items():
            inner, outer = getattr(part, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        m.d.comb += part.granted.eq(part.ask & ~self.busy)
        for bank, words in enumerate(content_of(self.plan)):
            memory = m.submodules[f"bank{bank}"] = Memory(
                shape=8 * self.plan.engine.pixels, depth=len(words), init=words
            )
            read = memory.read_port()
            m.d.comb += read.en.eq(part.granted & (part.ask_bank == bank))
            m.d.comb += [
                read.addr.eq(part.ask_address + self.offset),
                part.words[bank].eq(read.data),
            ]
        return m


def fetched(kind: str, seed: int, wrong: str = ""):
    """Scenario: values of each operation, back to back; the array has the banks at random, but
    never in two cycles that follow each other.

    wrong: "byte" expects a bit otherwise, "state" H in the first group, "cycle" a byte when it is
    not there yet.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, t, content = plan.engine, SERIAL, content_of(plan)
    compared, busy = 0, False
    for index, op in enumerate(plan.operations):
        facts = facts_of(plan, index) | {"first_group": index % 2 or op.reads_state_operand}
        facts |= {"blend": op.function == Function.BLEND}
        yield facts | {"settled": 1}
        listed = list(values(plan, op))  # whole walks: counters are back at their first values
        listed = listed[: len(listed) if op.operands else len(listed) // op.walks]
        period = max(1, len(op.operands))
        when = t.operand if wrong == "cycle" else t.gate_at
        for cycle in range(period * len(listed) + t.unit + 1):
            at = sum(
                1 << i
                for i in range(t.unit + 1)
                if (cycle - i) % period == 0 and 0 <= (cycle - i) // period < len(listed)
            )
            busy = not busy and source.random() < 0.6
            out = yield facts | {"at": at, "busy": busy}
            number, rest = divmod(cycle - when, period)
            if rest or not 0 <= number < len(listed):
                continue
            _, group, chunk, lane, column = listed[number]
            ports = ("a", "factor") if len(op.operands) == 2 else ("factor",)
            for name, operand in zip(ports, op.operands, strict=False):
                m = plan.maps[operand]
                byte = content[lane][m.base + group * m.groups + chunk]
                byte = byte >> 8 * (column % e.pixels) & 255
                if operand == "H" and facts["first_group"] and wrong != "state":
                    byte = 0
                byte ^= wrong == "byte"
                where = f"{op.name}, value {number}"
                assert out[name] == byte, f"{where}: {name} is {out[name]}, not {byte}"
                compared += 1
    assert compared


@pytest.mark.parametrize("kind", KINDS)
def test_operands(kind):
    on_amaranth(Fetching(plan_of(kind)), fetched(kind, 1))


@pytest.mark.parametrize("wrong", ["byte", "state", "cycle"])
def test_operand_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="value"):
        on_amaranth(Fetching(plan_of("two")), fetched("two", 1, wrong))


def test_operands_of_the_next_word_are_seen():
    with pytest.raises(AssertionError, match="value"):
        on_amaranth(Fetching(plan_of("two"), offset=1), fetched("two", 1))


# ---- writer ----


def written(kind: str, seed: int, wrong: str = ""):
    """Scenario: bytes of every operation, most at once; the words that stand there in the end.

    wrong: "byte" and "pad" expect a byte of a word, and of what is beyond a row, otherwise; "last"
    each channel's last byte one later, "bank" the next bank.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, pixels = plan.engine, plan.engine.pixels
    for index, op in enumerate(plan.operations):
        facts = facts_of(plan, index)
        yield facts | {"settled": 1}
        yield facts | {"coming": 1}
        memory, rows, listed = {}, {}, list(values(plan, op))
        spots = {place[:3]: at for at, place in plan._places(op).items()}
        before = None
        for number, (walk, group, chunk, lane, column) in enumerate([*listed, listed[-1]]):
            byte, ends = source.getrandbits(8), number == len(listed)
            at_once = number + 1 >= len(listed) or source.random() < 0.7
            pauses = 0 if at_once else source.randint(1, 3)
            coming = number + 1 < len(listed) and not pauses
            out = yield facts | {"written": not ends, "byte": byte, "coming": coming}
            note(out, memory, pixels, e.lanes)
            if ends:
                break
            where = f"{op.name}, walk {group}.{chunk}, lane {lane}, column {column}"
            channel = group if op.head_mode else group * e.lanes + lane
            rows.setdefault((lane, channel), {})[column] = byte
            following = listed[number + 1] if number + 1 < len(listed) else None
            lane_end = following is None or following[3] != lane or following[0] != walk
            ends = chunk + 1 == op.chunks and lane_end
            starts = chunk == 0 and (before is None or before[3] != lane or before[0] != walk)
            found = out["bank"], out["first"], out["last"], out["take"]
            right = (
                lane ^ (wrong == "bank"),
                starts,
                ends ^ (wrong == "last"),
                following is None,
            )
            assert found == right, f"{where}: {found}, not {right}"
            assert out["pad"] == (column >= op.out_columns), f"{where}: pad"
            before = listed[number]
            for i in range(pauses):
                coming = i + 1 == pauses
                out = yield facts | {"byte": source.getrandbits(8), "coming": coming}
                note(out, memory, pixels, e.lanes)
        check_rows(plan, op, rows, memory, spots, wrong)


def note(out, memory, pixels, lanes):
    """Enters what is written."""
    for bank in range(lanes):
        for i in range(pixels):
            if out["write_en"] >> bank & 1 and out["write_mask"] >> i & 1:
                byte = out["write_high"] if 2 * i >= pixels else out["write_low"]
                memory[bank, out["write_address"], i] = byte


def check_rows(plan, op, rows, memory, spots, wrong):
    """The rows stand at the plan's places, padded; nothing else was written."""
    pixels, wanted = plan.engine.pixels, {}
    for (lane, channel), row in rows.items():
        if channel >= op.out_channels:
            continue
        stage = op.stages[lane if op.head_mode else 0]
        for word in range(plan.geometry.words(op.out_columns)):
            bank, address = spots[stage, channel, word * pixels]
            for i in range(pixels):
                column = word * pixels + i
                byte = row[column] if column < op.out_columns else op.out_zero_point & 255
                spoilt = {"byte": column == 1, "pad": column >= op.out_columns}
                wanted[bank, address, i] = byte ^ spoilt.get(wrong, False)
    assert memory == wanted, f"{op.name}: {sorted(memory.items() ^ wanted.items())[:3]}"


@pytest.mark.parametrize("kind", KINDS)
def test_writer(kind):
    on_amaranth(SerialWriter(plan_of(kind)), written(kind, 2))


@pytest.mark.parametrize("wrong", ["byte", "pad", "last", "bank"])
def test_writer_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="c1"):
        on_amaranth(SerialWriter(plan_of("four")), written("four", 2, wrong))


@pytest.mark.parametrize("field", ["base1", "tail", "last_lane"])
def test_writer_of_another_program_is_seen(field, monkeypatch):
    """Words of the row program with a wrong field."""
    plan = plan_of("four")
    monkeypatch.setitem(globals(), "plan_of", lambda kind: plan)
    for word in plan.fields["back"]:
        word[field] ^= 1
    with pytest.raises(AssertionError, match="c1|ca1"):
        on_amaranth(SerialWriter(plan), written("four", 2))


# ---- pool ----


def pooled(kind: str, seed: int, wrong: str = ""):
    """Scenario: two states, byte by byte as the writer tells them, a value in one cycle or two;
    sums and maxima of each channel.

    wrong: "sum", "max", "channel" or "done" is expected otherwise; "next": the byte that comes next
    is told otherwise.
    """
    plan, generator = plan_of(kind), torch.Generator().manual_seed(seed)
    op = plan.operations[-1]
    assert op.writes_state and op.function == Function.BLEND
    d, n = plan.model.state_channels, plan.model.n
    for turn in range(2):
        state = torch.randint(-128, 128, (d, n), generator=generator)
        state[0], found = -128, []
        yield {"begin": 1}
        listed, byte = list(values(plan, op)), 0
        ends = {(g, lane): i for i, (_, g, _, lane, _) in enumerate(listed)}
        starts = {(g, lane): i for i, (_, g, _, lane, _) in reversed([*enumerate(listed)])}
        for number in range(len(listed) + 4):
            given = {"byte": byte}
            if number < len(listed):
                _, group, chunk, lane, column = listed[number]
                channel = group * plan.engine.lanes + lane
                pad = column >= n
                given |= {
                    "counts": 1,
                    "bank": lane,
                    "first": starts[group, lane] == number,
                    "last": ends[group, lane] == number,
                    "pad": pad,
                }
                byte = op.out_zero_point if pad else int(state[channel, column])
                # nobody looks at it for a padding
                given["next"] = int(torch.randint(-128, 128, (), generator=generator))
                if not pad and wrong != "next":
                    given["next"] = byte
            for step in [given, {"byte": byte}][: 1 + number % 3 % 2]:
                out = yield step
                if out["pooled__en"]:
                    found.append([out[f"pooled__{name}"] for name in ("channel", "sum", "max")])
                done = out["pooled__en"] and out["pooled__channel"] == d - 1 - (wrong == "done")
                assert out["state_done"] == done, f"state {turn}, value {number}: done"
        wanted = [[c, int(row.sum()), int(row.max())] for c, row in enumerate(state)]
        assert [s + n * most for _, s, most in wanted] == golden.pool(state).tolist()
        if wrong in ("channel", "sum", "max"):
            wanted[1][("channel", "sum", "max").index(wrong)] ^= 1
        assert found == wanted, f"state {turn}: {found}, not {wanted}"


@pytest.mark.parametrize("kind", KINDS)
def test_pool(kind):
    on_amaranth(SerialPool(plan_of(kind)), pooled(kind, 3))


@pytest.mark.parametrize("wrong", ["sum", "max", "channel", "done", "next"])
def test_pool_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="state 0"):
        on_amaranth(SerialPool(plan_of("two")), pooled("two", 3, wrong))


def test_targets():
    """What the shapes stand for."""
    found = [op for kind in KINDS for op in plan_of(kind).operations]
    assert {op.target for op in found} == {Target.HEAD, Target.SHARED, Target.CONCAT}
    assert {len(op.operands) for op in found} == {0, 1, 2}
    assert all(bool(op.operands) == FUNCTIONS[op.function].gated for op in found)
