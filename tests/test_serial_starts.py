# amaranth: UnusedElaboratable=no
"""hw/serial/starts.py behind hw/serial/array.py: the sums of walks that follow each other at once,
values that leave in every mode, aborts at any moment."""

import random
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Cat, Module, ResetInserter, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.plan.serial_owners import high_bits, start_words
from hw.serial.array import SerialArray
from hw.serial.starts import SerialStarts
from sim.cell_models import MODELS
from tests.bench_blocks import on_amaranth, on_verilator, pack

ACC, TAPS = 21, 60
SHAPES = {"eight": (4, 2), "twelve": (6, 2), "sixteen": (4, 4)}  # pixels, lanes
CYCLES = {"pool": 1, "plain": 1, "blend": 2}  # of a sum at the head
TO_SUM = 3
"""Operands -> their products are in the accumulators."""


class Beside(wiring.Component):
    """Array, starts, and the two sums with which SerialUnit begins."""

    def __init__(self, pixels: int, lanes: int, cells: str = "generic"):
        self.array = SerialArray(pixels=pixels, lanes=lanes, max_taps=TAPS, cells=cells)
        self.starts = SerialStarts(pixels=pixels, lanes=lanes, acc_bits=ACC)
        members, mine = self.array.signature.members, self.starts.signature.members
        ports = {name: members[name] for name in ("operands", "weights", "add", "transfer")}
        self.mine = ("ending", "pool", "blend", "bias", "go", "begins", "shift", "running")
        ports |= {name: mine[name] for name in self.mine}
        super().__init__(ports | {"abort": In(1), "total": Out(signed(ACC + 1))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = self.array
        m.submodules.starts = starts = ResetInserter({"sync": self.abort})(self.starts)
        for name in ("operands", "weights", "add", "transfer"):
            m.d.comb += getattr(array, name).eq(getattr(self, name))
        for name in self.mine:
            inner, outer = getattr(starts, name), getattr(self, name)
            inward = starts.signature.members[name].flow is In
            m.d.comb += inner.eq(outer) if inward else outer.eq(inner)
        below, upper = Signal(17), Signal(ACC + 1 - 16)
        m.d.comb += [
            array.clear.eq(self.abort),
            array.shift.eq(starts.shift),
            starts.low.eq(array.low),
            upper.eq(array.high + starts.less[16:].as_signed() + below[16]),
        ]
        m.d.sync += [
            below.eq(array.low + starts.less[:16]),
            self.total.eq(Cat(below[:16], upper).as_signed()),
        ]
        return m


@dataclass
class Times:
    """Inputs by cycle, totals that are wanted, and (cycle, what is said in it)."""

    inputs: dict = field(default_factory=dict)
    totals: dict = field(default_factory=dict)
    said: set = field(default_factory=set)

    def at(self, cycle: int, **inputs) -> None:
        self.inputs.setdefault(cycle, {}).update(inputs)

    def forget(self, cycle: int) -> None:
        """Of an abort: what would come from there on does not."""
        self.inputs = {at: each for at, each in self.inputs.items() if at < cycle}
        self.totals = {at: each for at, each in self.totals.items() if at < cycle}
        self.said = {(at, name) for at, name in self.said if at <= cycle}


def timeline(pixels: int, lanes: int, seed: int, walks: int) -> tuple[Times, int]:
    """Walks as close as each mode lets them; every few of them one is aborted."""
    source, count, times = random.Random(seed), pixels * lanes, Times()
    cycle, free, mode, left = 4, 0, "pool", 0
    for _ in range(walks):
        changed = left == 0
        if changed:
            mode, left = source.choice(list(CYCLES)), source.randint(1, 4)
        left -= 1
        each = CYCLES[mode]
        steps = source.randint(1, TAPS)
        # a transfer when the sums of the one before have left, an operation's some cycles later
        cycle = max(cycle, free + 5 * changed - steps - TO_SUM + 1)
        ends = source.random() < 0.4  # products as large as they can be
        sums = [0] * count
        for step in range(steps):
            words = [source.choice((-128, 127)) for _ in range(count)]
            if not ends:
                words = [source.randint(-128, 127) for _ in range(count)]
            weights = [source.choice((-127, 127) if ends else (-5, 3, 127)) for _ in range(lanes)]
            times.at(cycle + step, operands=pack(words, 8), weights=pack(weights, 8))
            times.at(cycle + step + 2, add=1)
            sums = [sums[i] + words[i] * weights[i // pixels] for i in range(count)]
        transfer = cycle + steps - 1 + TO_SUM
        free = transfer + count * each
        times.at(transfer - 2, ending=1)
        times.at(transfer, transfer=1)
        for now in range(transfer - 2, free + 1):
            times.at(now, pool=int(mode == "pool"), blend=int(mode == "blend"))
        for i, total in enumerate(sums):
            head = transfer + 1 + i * each
            bias = source.randint(-(1 << ACC - 1), (1 << ACC - 1) - 1)
            times.at(head - 1, bias_low=bias & 0xFFFF)
            times.at(head, bias_high=bias >> 16)
            times.said |= {(head + late, "running") for late in range(each)}
            if mode != "pool" or i % 2 == 0:
                times.said.add((head, "begins"))
            if i % pixels == 0:
                times.said.add((head - 3, "go"))
            times.said.add((head + each - 1, "shift"))
            times.totals[head + 2] = total + bias
        cycle += steps
        if source.random() < 0.3:
            # in its steps, or in its values
            cycle = source.randint(cycle - steps + 1, free)
            there = times.inputs.get(cycle, {})
            times.forget(cycle)
            kept = {n: there.get(n, 0) for n in ("pool", "blend", "ending")}
            times.at(cycle, abort=1, **kept)
            cycle, free, left = cycle + source.randint(2, 9), cycle, 0
    return times, max(times.inputs) + 4


def scenario(kind: str, seed: int, walks: int = 60, wrong: str = ""):
    """wrong: "total" (of one value), "abort" (not told to the block), "go", "begins", "shift",
    "running" (said once more)."""
    times, cycles = timeline(*SHAPES[kind], seed, walks)
    source = random.Random(seed)
    if wrong == "total":
        times.totals[max(times.totals)] += 1 << 16
    elif wrong and wrong != "abort":
        times.said.add((max(times.totals), wrong))
    for cycle in range(cycles):
        inputs = dict(times.inputs.get(cycle, {}))
        low = inputs.pop("bias_low", source.getrandbits(16))
        high = inputs.pop("bias_high", source.randint(-16, 15))
        if wrong == "abort":
            inputs.pop("abort", None)
        out = yield inputs | {"bias": high << 16 | low}
        for name in ("go", "begins", "shift", "running"):
            wanted = (cycle, name) in times.said
            assert out[name] == wanted, f"cycle {cycle}: {name} is {out[name]}"
        if cycle in times.totals:
            wanted = times.totals[cycle]
            assert out["total"] == wanted, f"cycle {cycle}: {out['total']}, not {wanted}"
    kinds = [name for inputs in times.inputs.values() for name in inputs]
    assert kinds.count("abort") > walks // 8 and len(times.totals) > 3 * walks


@pytest.mark.parametrize("kind", SHAPES)
def test_amaranth(kind):
    on_amaranth(Beside(*SHAPES[kind]), scenario(kind, 1, 30))


def test_cells():
    """Long, also in an FPGA's cells."""
    blocks = {
        f"{kind}_{cells}": Beside(*SHAPES[kind], cells)
        for kind in SHAPES
        for cells in ("generic", "ice40")
    }
    jobs = [
        (name, scenario, {"kind": name.split("_")[0], "seed": 2, "walks": 200}) for name in blocks
    ]
    on_verilator(blocks, jobs, sources=MODELS["ice40"])


@pytest.mark.parametrize("wrong", ["total", "abort", "go", "begins", "shift", "running"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Beside(*SHAPES["eight"]), scenario("eight", 1, 30, wrong))


@pytest.mark.parametrize("taps", [1, 3, 4, 8, 60, 192, 252, 253, 256, 1024, 131071])
def test_bits(taps):
    """The count's range, where sums are as large as they can be, from any start."""
    largest, bits = taps * 128 * 127, high_bits(taps)
    for start in (0, 1, 0xFFFF):
        for total in (largest, -largest):
            assert -(1 << bits - 1) <= (start + total) >> 16 < 1 << bits - 1
    assert bits == 2 or largest + 0xFFFF >= 1 << 16 + bits - 2  # and no wider


def test_words():
    """As many as there are sums, and the zeros, where P and L are powers of two."""
    shapes = ((4, 2), (8, 2), (6, 2), (6, 4), (4, 3))
    assert [start_words(*shape) for shape in shapes] == [16, 32, 30, 62, 28]
