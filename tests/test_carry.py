# amaranth: UnusedElaboratable=no
"""hw/arithmetic/carry.py: what is made of an ECP5's cells equals the plain arithmetic."""

import random

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic import carry
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, pack, stream

WIDTHS = {"even": 8, "odd": 5}
COUNTS = (2, 3, 5, 8, 11, 15, 16, 17)


class Sums(wiring.Component):
    """All sums of hw.arithmetic.carry for operands of one width, a cycle later."""

    def __init__(self, width: int, cells: str):
        self.width, self.cells = width, cells
        super().__init__(
            {
                "x": In(signed(width)),
                "y": In(signed(width)),
                "z": In(signed(width)),
                "low": In(1),
                "high": In(1),
                "rows": Out(signed(width + 2)),
                "rows_less": Out(signed(width + 2)),
                "cleared": Out(signed(width)),
                "either": Out(signed(width + 1)),
            }
        )

    def elaborate(self, platform):
        m, width, cells = Module(), self.width, self.cells
        x, y, z, low, high = self.x, self.y, self.z, self.low, self.high
        m.d.sync += [
            self.rows.eq(carry.rows(m, x, low, high, width + 2, cells, "row")),
            self.rows_less.eq(carry.rows(m, x, low, high, width + 2, cells, "less", less=True)),
            self.cleared.eq(carry.cleared(m, x, y, low, width, cells, "clear")),
            self.either.eq(carry.with_either(m, x, y, z, width + 1, cells, "or")),
        ]
        return m


class Choice(wiring.Component):
    """One of `count` values of three bits, a cycle later."""

    def __init__(self, count: int, cells: str):
        self.count, self.cells = count, cells
        values = data.ArrayLayout(3, count)
        super().__init__({"values": In(values), "index": In(range(count)), "chosen": Out(3)})

    def elaborate(self, platform):
        m = Module()
        values = [self.values[i] for i in range(self.count)]
        m.d.sync += self.chosen.eq(carry.choose(m, values, self.index, self.cells, "choice"))
        return m


def wrapped(value: int, width: int) -> int:
    return (value + (1 << width - 1)) % (1 << width) - (1 << width - 1)


def compare(out, right, index):
    for name, value in right.items():
        assert out[name] == value, f"input {index}: {name} is {out[name]}, not {value}"


def sums(width: int, wrong: str = ""):
    """Scenario: the operands' ends and chance. wrong: that output is expected one off once."""
    source = random.Random(width)
    ends = [-(1 << width - 1), (1 << width - 1) - 1, 0, -1, 1]
    inputs, results = [], []
    for _ in range(3000):
        x, y, z = (source.choice([*ends, source.randint(*ends[:2])]) for _ in range(3))
        low, high = source.getrandbits(1), source.getrandbits(1)
        inputs.append({"x": x, "y": y, "z": z, "low": low, "high": high})
        results.append(
            {
                "rows": low * x + 2 * high * x,
                "rows_less": low * x - 2 * high * x,
                "cleared": wrapped(x + (0 if low else y), width),
                "either": wrapped(x + (y | z), width + 1),
            }
        )
    if wrong:
        results[50][wrong] ^= 1
    return stream(1, inputs, results, compare)


def choices(count: int, wrong: bool = False):
    source = random.Random(count)
    inputs, results = [], []
    for i in range(40 * count):
        values, index = [source.getrandbits(3) for _ in range(count)], i % count
        inputs.append({"values": pack(values, 3), "index": index})
        results.append({"chosen": values[index] ^ (wrong and i == 50)})
    return stream(1, inputs, results, compare)


def test_verilator():
    blocks, jobs = {}, []
    for cells in ("generic", "ecp5"):
        for name, width in WIDTHS.items():
            blocks[f"{name}_{cells}"] = Sums(width, cells)
            jobs.append((f"{name}_{cells}", sums, {"width": width}))
        for count in COUNTS:
            blocks[f"choose{count}_{cells}"] = Choice(count, cells)
            jobs.append((f"choose{count}_{cells}", choices, {"count": count}))
    on_verilator(blocks, jobs, **CELLS)


@pytest.mark.parametrize("wrong", ["rows", "rows_less", "cleared", "either"])
def test_a_wrong_sum_is_seen(wrong):
    with pytest.raises(AssertionError, match=f"input 50: {wrong}"):
        on_amaranth(Sums(5, "generic"), sums(5, wrong))


def test_a_wrong_choice_is_seen():
    with pytest.raises(AssertionError, match="input 50: chosen"):
        on_amaranth(Choice(5, "generic"), choices(5, wrong=True))
