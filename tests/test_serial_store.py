# amaranth: UnusedElaboratable=no
"""hw/serial/store.py: each value's constants, operands, place, in plain Python; pooled state.

The scenario plays the parts around it: the array's drain, the unit (which gives any bytes), banks.
"""

import random

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.plan import Function, Target
from hw.plan.functions import SERIAL_FUNCTIONS
from hw.plan.latency import SERIAL
from hw.plan.memory import serial_constant_words
from hw.serial.starts import SerialStarts
from hw.serial.store import SerialConstants, SerialStore, ValueCounter, constant_words
from hw.serial.unit import FIRST_SHIFT
from tests.bench_blocks import on_amaranth, on_verilator
from tests.serial import KINDS, plan_of


def constants_of(plan, seed: int = 1):
    """(bias, multiplier, shift) of every sum."""
    source, high = random.Random(seed), 1 << plan.model.acc_bits - 1
    return [
        (source.randint(-high, high - 1), source.randint(0, 255), source.randint(9, 24))
        for _ in range(plan.constant_words)
    ]


def content_of(plan, seed: int = 2):
    """Words of the banks: maps that are operands."""
    source, bits = random.Random(seed), 8 * plan.engine.pixels
    return [
        [source.getrandbits(bits) for _ in range(plan.bank_words)] for _ in range(plan.engine.lanes)
    ]


class Beside(wiring.Component):
    """SerialStore with SerialStarts, beside banks that never change.

    Ports: the store's, less those to the banks, and `busy`: the array reads all of them; of
    SerialStarts `ending` and `shift`.
    """

    def __init__(self, plan):
        words = constant_words(constants_of(plan), plan.engine.lanes)
        self.plan, self.store = plan, SerialStore(plan, words)
        e = plan.engine
        self.starts = SerialStarts(pixels=e.pixels, lanes=e.lanes, acc_bits=plan.model.acc_bits)
        self.paced = ("go", "begins", "running")
        names = ("ask", "ask_bank", "ask_address", "granted", "words", "load", "go", "running")
        members = self.store.signature.members
        self.same = {name: members[name] for name in members if name not in (*names, "begins")}
        told = {"busy": In(1), "ending": In(1), "shift": Out(1), "begins": Out(1)}
        super().__init__(self.same | told)

    def elaborate(self, platform):
        m = Module()
        m.submodules.store, m.submodules.starts = store, starts = self.store, self.starts
        m.d.comb += [
            starts.ending.eq(self.ending),
            *[getattr(starts, name).eq(getattr(store, name)) for name in ("pool", "blend")],
            *[getattr(store, name).eq(getattr(starts, name)) for name in self.paced],
            self.shift.eq(starts.shift),
            self.begins.eq(starts.begins),
        ]
        for name, member in self.same.items():
            if member.is_port:
                inner, outer = getattr(store, name), getattr(self, name)
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        wiring.connect(m, store.pooled, wiring.flipped(self.pooled))
        m.d.comb += store.granted.eq(store.ask & ~self.busy)
        for bank, words in enumerate(content_of(self.plan)):
            memory = m.submodules[f"bank{bank}"] = Memory(
                shape=8 * self.plan.engine.pixels, depth=len(words), init=words
            )
            read, found = memory.read_port(), Signal(8 * self.plan.engine.pixels)
            granted = Signal(name=f"granted{bank}")
            m.d.sync += granted.eq(store.granted & (store.ask_bank == bank))
            m.d.comb += [read.addr.eq(store.ask_address), found.eq(Mux(granted, read.data, 0))]
            m.d.comb += store.words[bank].eq(found)
        return m


class Group:
    """What a row group's walks must lead to."""

    def __init__(self, plan, source, first_group):
        self.plan, self.source, self.content = plan, source, content_of(plan)
        self.transfers, self.values, self.words, self.pooled = {}, [], [], []
        for index, op in enumerate(plan.operations):
            self.operation(index, op, first_group)

    def operation(self, index, op, first_group):
        plan, e = self.plan, self.plan.engine
        constants = constants_of(plan)
        m, words = plan.maps[op.out], plan.geometry.words(op.out_columns)
        step = e.pixels // 2 if op.head_mode else e.pixels
        rows = {}  # (lane, group) -> {column: byte}
        for walk in range(op.walks):
            group, chunk = divmod(walk, op.chunks)
            last = op.start + walk * op.period + op.period - op.idle - 1
            self.transfers[last + SERIAL.transfer] = op
            for lane in range(e.lanes):
                for i in range(step):
                    # a single word's last pixel comes first
                    pixel = i if op.head_mode or op.taps > 1 else (i - 1) % e.pixels
                    byte = self.source.choice([-128, 127, self.source.randint(-128, 127)])
                    rows.setdefault((lane, group), {})[chunk * step + pixel] = byte
                    constant = constants[op.constant_base + group * e.lanes + lane]
                    value = {
                        "op": op,
                        "sum": lane * e.pixels + (2 * i if op.head_mode else i),
                        "constant": constant,
                        "byte": byte & 255,
                    }
                    ports = ("a", "factor") if len(op.operands) == 2 else ("factor",)
                    for name, operand in zip(ports, op.operands, strict=False):
                        operand_map = plan.maps[operand]
                        address = operand_map.base + group * operand_map.groups + chunk
                        word = self.content[lane][address]
                        zero = operand == "H" and first_group
                        value[name] = 0 if zero else word >> 8 * pixel & 255
                    self.values.append(value)
        for (lane, group), row in rows.items():
            place = lane if op.head_mode else 0
            channel = group if op.head_mode else group * e.lanes + lane
            if channel >= op.out_channels:
                continue
            bytes_ = [
                row[column] if column < op.out_columns else op.out_zero_point
                for column in range(words * e.pixels)
            ]
            for w in range(words):
                bank, line = lane, op.out_row * op.out_channels + channel
                if op.target == Target.CONCAT:
                    line = op.heads[place] * op.out_channels + channel
                if op.target != Target.HEAD:
                    bank, line = line % e.lanes, line // e.lanes
                at = bank, m.base + line * m.groups + w
                self.words.append(((index, at), bytes_[w * e.pixels : (w + 1) * e.pixels]))
            if op.function == Function.BLEND:
                kept = bytes_[: op.out_columns]
                self.pooled.append((channel, sum(kept), max(kept)))


def traffic(kind: str, seed: int, groups: int = 2, wrong: str = ""):
    """Scenario: row groups at the plan's cycles; the array has the banks in cycles at random, but
    never in two that follow each other.

    wrong: "constant", "operand", "byte", "address", "sum", "max", "late" (a word is there a cycle
    before the plan says) or "early" (the state is touched a cycle after it) is expected otherwise.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, pixels = plan.engine, plan.engine.pixels
    busy = False
    for _ in range(8):  # the first operation's word is fetched
        yield {"first_group": 1}
    for turn in range(groups):
        group = Group(plan, source, turn == 0)
        mutate(group, wrong)
        memory, pooled, written, touched = {}, [], {}, {}
        values, late = iter(group.values), []  # late: (cycle, value) of the bytes that come
        ready, head, bias, constant = [], 0, 0, ()
        span = max(group.transfers) + 2 * pixels * e.lanes + SERIAL.unit + 10
        for cycle in range(span):
            busy = not busy and source.random() < 0.6
            byte = late.pop(0)[1]["byte"] if late and late[0][0] == cycle else None
            out = yield {
                "ending": cycle + 2 in group.transfers,
                "first_group": turn == 0,
                "byte": source.getrandbits(8) if byte is None else byte,
                "busy": busy,
            }
            where = f"group {turn}, cycle {cycle}"
            if out["begins"]:
                now = next(values)
                late.append((cycle + SERIAL.unit, now))
                ready.append((cycle, now))
                assert head == now["sum"], f"{where}: sum {head}, not {now['sum']}"
                right = bias == now["constant"][0] & 0xFFFF
                assert right, f"{where}: bias, low, a cycle before"
            bias = out["bias"] & 0xFFFF
            for began, now in ready:
                check(out, cycle - began, now, f"{where}, {now['op'].name}")
            if out["fresh"]:
                constant = out["multiplier"], out["scale"]
            for began, now in ready:  # what the unit then has
                _, multiplier, shift = now["constant"]
                right = cycle - began != 3 or constant == (multiplier, shift - FIRST_SHIFT)
                assert right, f"{where}: {constant}"
            ready = [(began, now) for began, now in ready if cycle - began < SERIAL.unit]
            head = 0 if cycle in group.transfers else head + out["shift"]
            for bank in range(e.lanes):
                for i in range(pixels):
                    if out["write_en"] >> bank & 1 and out["write_mask"] >> i & 1:
                        found = out["write_high"] if 2 * i >= pixels else out["write_low"]
                        key = out["write_op"], (bank, out["write_address"])
                        memory.setdefault(key, {})[i] = found
                        written[key] = cycle
                        touched.setdefault(out["write_op"], cycle)
            if out["pooled__en"]:
                pooled.append(tuple(out[f"pooled__{name}"] for name in ("channel", "sum", "max")))
            done = out["pooled__en"] and out["pooled__channel"] == plan.model.state_channels - 1
            assert out["state_done"] == done, where
        assert next(values, None) is None, f"group {turn}: values are left"
        assert pooled == group.pooled, f"group {turn}: {pooled}, not {group.pooled}"
        wanted = {
            key: dict(enumerate(byte & 255 for byte in bytes_)) for key, bytes_ in group.words
        }
        assert memory == wanted, f"group {turn}: {difference(memory, wanted)}"
        for (op, place), cycle in written.items():
            _, channel, column, _ = plan.locate(op, *place)
            last = plan.write_times(plan.operations[op])[channel, column // pixels]
            assert cycle <= last - (wrong == "late"), f"group {turn}: {op}, {place} at {cycle}"
        first = plan.state_touched + (wrong == "early")
        assert touched[len(plan.operations) - 1] == first, f"group {turn}: the state"


def difference(memory, wanted):
    """The first word that is not as wanted."""
    for key in sorted(memory.keys() | wanted.keys()):
        if memory.get(key) != wanted.get(key):
            return f"operation and place {key}: {memory.get(key)}, not {wanted.get(key)}"


def mutate(group, wrong):
    """One thing that must be noticed."""
    middle = len(group.values) // 2
    if wrong == "constant":
        bias, multiplier, shift = group.values[middle]["constant"]
        group.values[middle]["constant"] = bias, multiplier ^ 1, shift
    elif wrong == "operand":
        value = next(value for value in group.values if "a" in value)
        value["a"] ^= 1
    elif wrong in ("byte", "address"):
        (op, (bank, address)), bytes_ = group.words[len(group.words) // 2]
        group.words[len(group.words) // 2] = (
            (op, (bank, address ^ (wrong == "address"))),
            [bytes_[0] ^ (wrong == "byte"), *bytes_[1:]],
        )
    elif wrong in ("sum", "max"):
        channel, total, largest = group.pooled[1]
        group.pooled[1] = channel, total + (wrong == "sum"), largest + (wrong == "max")


def check(out, age, now, where):
    """A value's constants and operands, so many cycles after it came to the head."""
    if age == 0:
        assert out["bias"] >> 16 == now["constant"][0] >> 16, f"{where}: bias, high"
        assert out["blend"] == (now["op"].function == Function.BLEND), where
    if age in (0, 3):
        assert out["pool"] == now["op"].head_mode, where
    if 9 <= age <= SERIAL.unit:
        assert out["function"] == now["op"].function, where
    if age == SERIAL.gate_at:
        for name in ("factor", "a"):
            if name in now:
                assert out[name] == now[name], f"{where}: {name} is {out[name]}, not {now[name]}"


@pytest.mark.parametrize("kind", KINDS)
def test_amaranth(kind):
    on_amaranth(Beside(plan_of(kind)), traffic(kind, 3))


def test_verilator():
    blocks = {kind: Beside(plan_of(kind)) for kind in KINDS}
    on_verilator(blocks, [(kind, traffic, {"kind": kind, "seed": 4}) for kind in KINDS])


WRONG = ["constant", "operand", "byte", "address", "sum", "max", "late", "early"]


@pytest.mark.parametrize("wrong", WRONG)
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="group"):
        on_amaranth(Beside(plan_of("two")), traffic("two", 5, 1, wrong))


def loaded(kind: str):
    """Scenario: constants written; then the first operation's, lane after lane."""
    plan = plan_of(kind)
    words = constant_words(constants_of(plan), plan.engine.lanes)
    for address, word in enumerate(words):
        yield {"load__en": 1, "load__addr": address, "load__data": word}
    for block in (0, 2):
        for lane in range(plan.engine.lanes):
            base = block * serial_constant_words(plan.engine.lanes)
            yield {"settled": lane == 0, "base": base, "chunks": 3}
            yield {}
            yield {"go": 1, "chunks": 3}
            fresh = []
            for _ in range(6):
                out = yield {"chunks": 3}
                fresh.append(out["fresh"])
            assert fresh == [0, 0, 0, 0, 0, 1]
            bias, multiplier, shift = constants_of(plan)[block * plan.engine.lanes + lane]
            found = out["bias"], out["multiplier"], out["scale"]
            assert found == (bias, multiplier, shift - FIRST_SHIFT), f"block {block}, lane {lane}"


def test_constant_words():
    """Two lanes' multipliers share a word; an odd number of lanes has the last one's alone."""
    three = [(-1, 200, 9), (0x12345, 3, 24), (5, 255, 10)]
    assert constant_words(three + three[::-1], 3) == [
        *(0xFFFF, 0x0FFF, 3 << 8 | 200, 0x2345, 0xF001, 5, 0x1000, 255),
        *(5, 0x1000, 3 << 8 | 255, 0x2345, 0xF001, 0xFFFF, 0x0FFF, 200),
    ]
    assert serial_constant_words(3) == 8 and serial_constant_words(2) == 5


def test_constants():
    on_amaranth(SerialConstants(plan_of("two")), loaded("two"))


@pytest.mark.parametrize("pool, turned", [(0, 0), (1, 0), (0, 1)])
def test_counter(pool, turned):
    """Values of a lane, lane after lane; the next one is as the first."""
    pixels, lanes = 6, 3

    def scenario():
        yield {"settled": 1, "pool": pool, "turned": turned}
        source, count = random.Random(1), pixels // 2 if pool else pixels
        for _ in range(3):
            for lane in range(lanes):
                for i in range(count):
                    while source.random() < 0.3:
                        yield {"pool": pool, "turned": turned}
                    out = yield {"go": 1, "pool": pool, "turned": turned}
                    last = i == count - 1
                    assert out["position"] == ((i - 1) % pixels if turned else i)
                    assert (out["lane"], out["first"], out["last"]) == (lane, i == 0, last)
                    assert out["lane_end"] == last
                    assert out["walk_end"] == (last and lane == lanes - 1)

    on_amaranth(ValueCounter(pixels=pixels, lanes=lanes), scenario())


def test_plans():
    """What the shapes stand for."""
    plans = [plan_of(kind) for kind in KINDS]
    operations = [op for plan in plans for op in plan.operations]
    assert {op.target for op in operations} == {Target.HEAD, Target.SHARED, Target.CONCAT}
    assert {op.function for op in operations} == set(SERIAL_FUNCTIONS)
    assert {plan.geometry.state_words for plan in plans} == {1, 2}
    assert any(op.out_channels % plan.engine.lanes for plan in plans for op in plan.operations)
    assert any(op.out_columns % plan.engine.pixels for plan in plans for op in plan.operations)
    assert any(op.chunks % 2 for op in operations if op.head_mode)
