# amaranth: UnusedElaboratable=no
"""hw/parallel/head_lane.py: its sums are those inside golden.head_lane (array.exact_matmul)."""

import random
from dataclasses import dataclass

import pytest
import torch

from golden.array import exact_matmul
from hw.parallel.head_lane import HeadLane
from hw.plan.latency import LATENCIES, PARALLEL
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, pack, unpack

SHAPES = {  # pixels, channels, acc_bits, shares_pair, kind of cells
    "smallest": (3, 1, 20, False, "generic"),
    "odd": (5, 3, 23, True, "generic"),
    "even": (8, 2, 23, False, "generic"),
    "ecp5": (7, 2, 23, True, "ecp5"),
    "wide": (15, 4, 26, True, "generic"),
    # two products from a DSP cell: three pairs, two pairs of which both channels are left, and more
    # DSP cells than there are pairs
    "packed": (5, 3, 23, True, "ecp5"),
    "packed_spare": (3, 2, 22, False, "ecp5"),
    "packed_generic": (4, 3, 23, False, "generic"),
    "low_power": (5, 3, 24, True, "generic"),
}
NINE = ("low_power",)  # operands of 9 bits, -128..255, and half of them 0
DSPS = {"ecp5": 3, "packed": 3, "packed_spare": 5}


def lane(name):
    pixels, channels, acc_bits, shares_pair, cells = SHAPES[name]
    more = {"registers": 0, "operand_bits": 9} if name in NINE else {}
    return HeadLane(
        pixels=pixels,
        channels=channels,
        acc_bits=acc_bits,
        shares_pair=shares_pair,
        cells=cells,
        dsps=DSPS.get(name),
        packed=name.startswith("packed"),
        **more,
    )


def latency(name):
    record = name.split("_")[0] if name.startswith("packed") else name
    return LATENCIES.get(record, PARALLEL).multiply


@dataclass(eq=False)
class Walk:
    operands: torch.Tensor  # K x P
    weights: torch.Tensor  # K x C
    extra: list[int]  # the neighbour's sums
    late: int  # operand -> sum
    begin: int = 0
    cycles: tuple = ()  # of its steps

    @property
    def sums(self):
        """C x P."""
        return exact_matmul(self.weights.t(), self.operands)

    @property
    def transfer(self) -> int:
        return self.cycles[-1] + self.late


def walks(name: str, seed: int, count: int = 120):
    """Random walks: some back to back, some with gaps inside; extremes first."""
    pixels, channels, acc_bits, shares_pair, _ = SHAPES[name]
    source = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    high = (1 << acc_bits - 1) - 1
    least = -127 if name.startswith("packed") else -128
    most = 255 if name in NINE else 127
    largest = (255, 127) if name in NINE else (-128, least)
    longest = high // (largest[0] * largest[1])
    positions = pixels + shares_pair
    found, now, free = [], HeadLane.lead, 0
    for index in range(count):
        k = min(longest, 40) if index < 4 else source.choice([1, 2, 3, 7, 20])
        a = torch.randint(-128, most + 1, (k, pixels), generator=generator)
        if name in NINE:
            a[torch.rand((k, pixels), generator=generator) < 0.5] = 0
        w = torch.randint(least, 128, (k, channels), generator=generator)
        if index < 4:
            a[:], w[:] = (-128, most)[index & 1], (least, 127)[index >> 1]
        if index == 4:  # the largest sum that the accumulator was made for
            k = longest
            a, w = torch.full((k, pixels), largest[0]), torch.full((k, channels), largest[1])
        gaps = source.random() < 0.5
        begin, cycles = now, []
        for _ in range(k):
            while gaps and source.random() < 0.3:
                now += 1
            cycles.append(now)
            now += 1
        # its transfer must leave the one before the time for its positions
        late = max(0, free - (cycles[-1] + latency(name)))
        cycles[-1] += late
        now = cycles[-1] + 1
        extra = [source.randint(-high, high) for _ in range(channels)]
        walk = Walk(a, w, extra, latency(name), begin, tuple(cycles))
        found.append(walk)
        free = walk.transfer + positions
        if source.random() < 0.3:
            now += source.randint(1, 2 * pixels)
    return found


def sums(name: str, seed: int, wrong: str = ""):
    """Scenario. Every cycle's unused inputs are noise.

    wrong: "weight" changes one weight, "valid" adds a step, "late" looks a cycle too late.
    """
    pixels, channels, acc_bits, shares_pair, _ = SHAPES[name]
    source, bits = random.Random(seed), 8 + (name in NINE)
    found = walks(name, seed)
    steps = {cycle: (walk, i) for walk in found for i, cycle in enumerate(walk.cycles)}
    transfers = {walk.transfer: walk for walk in found}
    due = {}  # cycle -> walk, position
    for walk in found:
        for position in range(pixels + shares_pair):
            due[walk.transfer + PARALLEL.drain + position + (wrong == "late")] = (walk, position)
    if wrong == "weight":
        steps[found[3].cycles[0]] = (Walk(found[3].operands, found[3].weights ^ 1, [], 0), 0)
    # a cycle inside a walk that is no step of it, and not the neighbour's
    stray = next(c for w in found[5:] for c in range(w.cycles[0], w.cycles[-1]) if c not in steps)
    last = max(due)
    lead = HeadLane.lead
    checked = 0
    for cycle in range(last + 1):
        inputs = {
            "operand": source.getrandbits(bits * pixels),
            "weights": source.getrandbits(8 * channels),
            "first": source.getrandbits(1),
            "extra": source.getrandbits(acc_bits * channels),
        }
        if cycle in steps:
            walk, i = steps[cycle]
            inputs |= {
                "operand": pack(walk.operands[i].tolist(), bits),
                "weights": pack(walk.weights[i].tolist(), 8),
            }
        later = cycle - (latency(name) - 1) + lead
        if later in steps:
            inputs |= {"valid": 1, "first": steps[later][1] == 0}
        elif wrong == "valid" and later == stray:
            inputs["valid"], inputs["first"] = 1, 0
        inputs["transfer"] = cycle + lead in transfers
        if cycle in transfers:
            inputs["extra"] = pack(transfers[cycle].extra, acc_bits)
        out = yield inputs
        if cycle in transfers:
            lowest = unpack(out["lowest"], acc_bits, channels, signed=True)
            assert lowest == transfers[cycle].sums[:, 0].tolist(), f"lowest in cycle {cycle}"
        if cycle in due:
            walk, position = due[cycle]
            head = unpack(out["head"], acc_bits, channels, signed=True)
            right = walk.extra if position == pixels else walk.sums[:, position].tolist()
            assert head == right, (
                f"walk {found.index(walk)}, position {position}: {head}, not {right}"
            )
            checked += 1
    assert checked == len(due)


def test_walks():
    """Walks back to back, gaps inside walks, transfers as near as they may be, the largest sum."""
    for name, (pixels, _, acc_bits, shares_pair, _) in SHAPES.items():
        found = walks(name, 3)
        pairs = list(zip(found, found[1:], strict=False))
        assert any(b.cycles[0] == a.cycles[-1] + 1 for a, b in pairs)
        assert any(b.transfer - a.transfer == pixels + shares_pair for a, b in pairs)
        assert any(w.cycles[-1] - w.cycles[0] >= len(w.cycles) for w in found)
        largest = int(found[4].sums.max())
        assert largest.bit_length() == acc_bits - 1 and largest + 2**15 >= 1 << acc_bits - 1


def test_verilator():
    on_verilator(
        {name: lane(name) for name in SHAPES},
        [(name, sums, {"name": name, "seed": 3}) for name in SHAPES],
        **CELLS,
    )


@pytest.mark.parametrize("wrong", ["weight", "valid", "late"])
def test_differences_are_seen(wrong):
    for name in ("smallest", "odd", "low_power"):
        with pytest.raises(AssertionError):
            on_amaranth(lane(name), sums(name, 4, wrong))


def test_latency():
    for name in SHAPES:
        assert lane(name).latency == latency(name)
    assert latency("packed") == PARALLEL.multiply + 1
    assert latency("low_power") == 1
