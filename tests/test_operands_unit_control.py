# amaranth: UnusedElaboratable=no
"""hw/parallel/operands.py, drain.py: what each walk's gates and requantisers are given."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from golden.config import ModelConfig
from hw.parallel.channel_unit import ChannelUnit
from hw.parallel.maps import Maps
from hw.parallel.operands import Operands
from hw.parallel.unit_control import UnitControl, constant_layout
from hw.plan import Function, Target, WeightSource, compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from tests.bench_blocks import on_amaranth, on_verilator, pack, unpack, unpack_struct

BASE = ModelConfig(
    name="operands",
    image_height=10,
    image_width=16 * 3 + 5,
    heads=2,
    head_channels=(2, 3, 3, 5),
    state_channels=9,
    attention_hidden=3,
)
KINDS = {  # model, shape
    "one": (replace(BASE, heads=1), "4,2,1"),
    "two": (BASE, "3,2,2"),
    "four": (replace(BASE, channel_attention=False), "5,1,4"),
    "heads": (replace(BASE, heads=3, spatial_attention="full"), "6,1,3"),
    # with fetches that are held back until their words are written
    "held": (
        replace(
            BASE,
            image_width=32,
            head_channels=(1, 7, 7, 2),
            state_channels=11,
            spatial_attention="banded",
            in_channels=1,
        ),
        "8,3,1",
    ),
    "later": (
        replace(
            BASE,
            image_width=58,
            heads=3,
            head_channels=(1, 6, 8, 5),
            state_channels=4,
            spatial_attention="full",
            channel_attention=False,
        ),
        "7,2,8",
    ),
    # the only bank is let go of in mid-walk
    "pause": (
        replace(BASE, image_width=16, heads=1, head_channels=(1, 1, 1, 2), state_channels=30),
        "3,3,1",
    ),
}


def plan_of(kind):
    model, shape = KINDS[kind]
    return compile_program(model, EngineConfig.parse(shape))


def constants_of(plan, seed=1):
    source, bits = random.Random(seed), plan.model.acc_bits
    return [
        {
            "bias": source.randint(-(1 << bits - 1), (1 << bits - 1) - 1),
            "multiplier": source.randint(0, 255),
            "shift": source.randint(0, 31),
        }
        for _ in range(plan.constant_words)
    ]


def walks(plan, gaps):
    """(row group, operation, group, chunk, first step, last step): groups at the plan's pace, with
    gaps as they come from waiting for rows (before the operations that wait for them)."""
    base = 0
    for turn, gap in enumerate(gaps):
        for op in plan.operations:
            if op.need_rows:
                base += gap[op.need_rows - 3]
            for walk in range(op.walks):
                first = base + op.start + walk * op.period
                yield turn, op, *divmod(walk, op.chunks), first, first + op.k + op.pause - 1
        base += plan.cycles_per_row_group


def random_gaps(source, groups):
    return [[source.choice([0, 0, 1, 25]) for _ in range(3)] for _ in range(groups)]


def drained(kind: str, seed: int, wrong: str = "", load: bool = False):
    """Scenario: function and constants of every walk's units, from its first sum to its last.

    wrong: "constant" has a bit changed, "cycle" a transfer a cycle early.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e, g = plan.engine, plan.geometry
    layout = constant_layout(plan.model.acc_bits)
    constants = constants_of(plan, 2 if load else 1)
    if load:
        for address, constant in enumerate(constants):
            word = sum(
                (constant[n] & ((1 << layout[n].width) - 1)) << layout[n].offset for n in constant
            )
            yield {"load__en": 1, "load__addr": address, "load__data": word}
        yield {"reset": 1}  # as the engine does: constants of the first walk are fetched again
    if wrong == "constant":
        constants[len(constants) // 2]["bias"] ^= 1
    transfers = {}
    for _, op, group, _, _, last in walks(plan, random_gaps(source, 2)):
        transfers[last + PARALLEL.transfer] = (op, group)
    if wrong == "cycle":  # a transfer comes before its walk's constants
        times = sorted(transfers)
        hurry = next(
            b
            for a, b in zip(times, times[1:], strict=False)
            if transfers[b][0] is not transfers[a][0] and transfers[b][1] == 0
        )
        early = times[times.index(hurry) - 1] + 2
        transfers[early] = transfers.pop(hurry)
    present, ends = None, 0
    for cycle in range(max(transfers) + e.pixels + 2 + PARALLEL.drain):
        walk, began = transfers.get(cycle), transfers.get(cycle - PARALLEL.drain)
        out = yield {"transfer": walk is not None}
        if began is not None:
            present, ends = began, cycle - 1 + plan.rules.positions(began[0])
        if present is not None and cycle <= ends:
            op, group = present
            assert out["function"] == op.function, f"cycle {cycle}, {op.name}"
            active = unpack(out["active"], layout.size, e.units)
            for unit in range(e.units):
                k, lane = divmod(unit, e.lanes)
                place = unit
                if op.head_mode:
                    place = lane // g.head_lanes * e.channels + k
                right = constants[op.constant_base + group * op.constant_step + place]
                got = unpack_struct(layout, active[unit])
                assert got == right, f"cycle {cycle}, {op.name}, unit {unit}: {got}, not {right}"
        if walk is not None:
            single = len(walk[0].operands) == 1 and not walk[0].operand_value
            assert out["single"] == single, f"cycle {cycle}, {walk[0].name}"


def fetched(kind: str, seed: int, wrong: str = ""):
    """Scenario: operand bytes of every walk, beside a state SRAM that the array reads as planned.

    Operands' maps are written when the plan has them written. Frames of two row groups: H reads as
    zero in each first one.
    wrong: "byte" writes the state one bit wrong, "group" has no zeros, "cycle" looks a cycle late.
    """
    plan, source = plan_of(kind), random.Random(seed)
    e = plan.engine
    lanes, bits, words = e.lanes, 8 * e.pixels, plan.geometry.state_words
    # what the program's order of things makes of the memory
    content = [[source.getrandbits(bits) for _ in range(plan.bank_words)] for _ in range(lanes)]
    begin = [row[:] for row in content]
    frame = 2
    found = list(walks(plan, random_gaps(source, frame + 1)))
    transfers = {last + PARALLEL.transfer: op for _, op, _, _, _, last in found}
    ends, busy = {}, set()  # the array's bank reads: (cycle of the address register, bank)
    writes = {}  # cycle -> {bank: (address, word)}
    right = {}  # cycle -> [(port, unit, byte, text)]
    weights = {}  # cycle -> ({unit: word}, text)
    maps = {name for op in plan.operations for name in [*op.operands, op.operand_value]} - {""}

    def operand(name, op, group, chunk, turn):
        """Word per unit (k, lane) that makes a channel."""
        m, values = plan.maps[name], {}
        for unit in range(e.units):
            if op.first <= group * e.units + unit < op.first + op.out_channels:
                row = (0 if name.startswith("V") else op.operand_first) + (
                    group * e.channels + unit // lanes
                )
                zero = name == "H" and turn % frame == 0 and wrong != "group"
                values[unit] = 0 if zero else content[unit % lanes][m.base + row * words + chunk]
        return values

    def walk_operands(turn, op, group, chunk, first, last):
        at = last + PARALLEL.transfer + PARALLEL.drain + ChannelUnit.operand_delay
        at += wrong == "cycle"
        ports = dict(zip("ab", op.operands, strict=False))
        if op.weights == WeightSource.VALUE:
            ports = {"b": op.operands[0]}
            values = operand(op.operand_value, op, group, chunk, turn)
            use = first + PARALLEL.address_one_tap + PARALLEL.memory
            for cycle in range(use, use + op.k):
                weights[cycle] = (values, f"{op.name}, group {group}")
        for port, name in ports.items():
            for unit, word in operand(name, op, group, chunk, turn).items():
                for position in range(e.pixels):
                    right.setdefault(at + position, []).append(
                        (
                            port,
                            unit,
                            word >> 8 * position & 255,
                            f"row group {turn}, {op.name}, walk {group}.{chunk}",
                        )
                    )

    def operation_writes(op, shift):
        """The operation's words come to the memory when the plan has them come."""
        times = plan.write_times(op)
        for (bank, address), (stage, c, first, _) in plan._places(op).items():
            word = first // e.pixels
            cycle = int(times[op.first + c, word]) + shift
            if op.target == Target.CONCAT:  # the plan has all heads as late as the last one
                cycle -= e.channels * (plan.geometry.heads - 1 - op.stages.index(stage))
            content[bank][address] = source.getrandbits(bits)
            there = writes.setdefault(cycle, {})
            assert bank not in there and {a for a, _ in there.values()} <= {address}
            there[bank] = (address, content[bank][address] ^ (wrong == "byte" and op.out == "H"))

    for turn, op, group, chunk, first, last in found:
        if op.operands:
            walk_operands(turn, op, group, chunk, first, last)
        if group == 0 and chunk == 0:
            shift = first - op.start
            busy |= {(at + shift, bank) for at, bank in plan.array_reads(op)}
        if (group + 1) * (chunk + 1) == op.walks and op.out in maps:
            operation_writes(op, shift)
        ends[turn] = last + 1  # the group counter moves with the group's last step
    firsts = {cycle: turn + 1 for turn, cycle in ends.items()}
    for address in range(plan.bank_words):
        yield {
            "write_en": (1 << lanes) - 1,
            "write_address": address,
            "write_data": pack([begin[b][address] for b in range(lanes)], bits),
        }
    turn, compared = 0, 0
    for cycle in range(max(right) + 1):
        turn = firsts.get(cycle, turn)
        op = transfers.get(cycle)
        single = source.getrandbits(1)
        if op is not None:
            single = len(op.operands) == 1 and not op.operand_value
        # the array's address register is a cycle after what it asks for
        reads = [(cycle + 1, bank) in busy for bank in range(lanes)]
        there = writes.get(cycle, {})
        written = {"write_en": sum(1 << bank for bank in there)}
        for bank, (address, word) in there.items():
            written["write_address"] = address
            written["write_data"] = written.get("write_data", 0) | word << bits * bank
        out = yield {
            "transfer": op is not None,
            "single": single,
            "first_group": turn % frame == 0,
            "read_en": sum(on << bank for bank, on in enumerate(reads)),
            **written,
        }
        for port, unit, byte, text in right.get(cycle, ()):
            got = out[port] >> 8 * unit & 255
            assert got == byte, f"cycle {cycle}, {text}, unit {unit}: {port} is {got}, not {byte}"
            compared += 1
        values, text = weights.get(cycle, ({}, ""))
        for unit, word in values.items():
            got = out["values"] >> bits * unit & (1 << bits) - 1
            assert word == got, f"cycle {cycle}, {text}, unit {unit}: values"
    assert compared


class Fetch(wiring.Component):
    """Operands with their state SRAM, the array's reads and the writes from outside."""

    def __init__(self, plan):
        self.operands, self.maps = Operands(plan), Maps(plan)
        ports = self.operands.signature.members
        sram = self.maps.signature.members
        super().__init__(
            {
                name: ports[name]
                for name in ("transfer", "single", "first_group", "a", "b", "values")
            }
            | {name: sram[name] for name in ("read_en", "write_en", "write_address", "write_data")}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.operands = operands = self.operands
        m.submodules.maps = maps = self.maps
        m.d.comb += [
            operands.transfer.eq(self.transfer),
            operands.single.eq(self.single),
            operands.first_group.eq(self.first_group),
            operands.words.eq(maps.words),
            operands.done.eq(maps.operand_done),
            operands.valid.eq(maps.operand_valid),
            maps.operand_en.eq(operands.enable),
            maps.operand_address.eq(operands.address),
            self.a.eq(operands.a),
            self.b.eq(operands.b),
            self.values.eq(operands.values),
            maps.read_en.eq(self.read_en),
            maps.write_en.eq(self.write_en),
            maps.write_address.eq(self.write_address),
            maps.write_data.eq(self.write_data),
        ]
        return m


def drain(plan):
    return UnitControl(plan, constants_of(plan))


def test_verilator():
    plans = {kind: plan_of(kind) for kind in KINDS}
    drains, fetches = ("two", "heads", "later"), ("one", "two", "heads", "held", "pause")
    blocks = {f"drain_{kind}": drain(plans[kind]) for kind in drains}
    blocks |= {f"fetch_{kind}": Fetch(plans[kind]) for kind in fetches}
    jobs = [(f"drain_{kind}", drained, {"kind": kind, "seed": 5}) for kind in drains]
    jobs.append(("drain_two", drained, {"kind": "two", "seed": 6, "load": True}))
    jobs += [(f"fetch_{kind}", fetched, {"kind": kind, "seed": 5}) for kind in fetches]
    on_verilator(blocks, jobs)


@pytest.mark.parametrize("wrong", ["constant", "cycle"])
def test_drain_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(drain(plan_of("two")), drained("two", 7, wrong))


@pytest.mark.parametrize("wrong", ["byte", "group", "cycle"])
def test_operand_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Fetch(plan_of("two")), fetched("two", 7, wrong))


def test_a_fetch_too_early_is_seen():
    """Without `hold` a fetch comes before its words are written."""
    plan = plan_of("held")
    for fields in plan.fields["operand"]:
        fields["hold"] = 0
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Fetch(plan), fetched("held", 7))


@pytest.mark.parametrize("kind", ["four", "later"])
def test_amaranth(kind):
    """Two more shapes, with many lanes."""
    on_amaranth(Fetch(plan_of(kind)), fetched(kind, 8))


def test_plans():
    """What the shapes stand for."""
    found = [op for kind in KINDS for op in plan_of(kind).operations]
    assert {op.function for op in found} == set(Function)
    assert {len(op.operands) for op in found} == {0, 1, 2}
    fetching = [op for op in found if op.operands]
    assert all(
        any(getattr(op.times, name) for op in fetching)
        for name in ("hold", "extra", "idle", "pause")
    )
