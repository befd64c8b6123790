# amaranth: UnusedElaboratable=no
"""hw/arithmetic/multiplier.py: every kind equals a * b for all operands, on the cells' models."""

import json

import pytest
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.arithmetic.multiplier import REGISTERS, Multipliers
from hw.plan.engine_config import EngineConfig
from hw.serial.array import SerialArray
from sim import runner
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, pack, unpack

PAIRS = [(a, b) for a in range(-128, 128) for b in range(-128, 128)]
KINDS = {
    "generic": {"count": 2},
    "without": {"count": 1, "registers": 0},
    "ecp5": {"count": 2, "kind": "ecp5"},
    "ecp5_luts": {"count": 1, "kind": "ecp5", "dsps": 0},
    "ecp5_both": {"count": 2, "kind": "ecp5", "dsps": 1},
    "ice40": {"count": 2, "kind": "ice40"},
    "ice40_odd": {"count": 3, "kind": "ice40", "dsps": 2},
    "gowin": {"count": 2, "kind": "gowin"},
}


def products(count: int, late: int = 0, step: int = 1, registers: int = REGISTERS):
    """Scenario: every pair of operands in every place, other pairs in the other places."""
    latency = registers + late
    pairs = PAIRS[::step]
    sets = [[pairs[(i + 7919 * k) % len(pairs)] for k in range(count)] for i in range(len(pairs))]
    for cycle in range(len(sets) + latency):
        inputs = {}
        if cycle < len(sets):
            inputs = {name: pack([p[i] for p in sets[cycle]], 8) for i, name in enumerate("ab")}
        out = yield inputs
        if cycle >= latency:
            right = [a * b for a, b in sets[cycle - latency]]
            found = unpack(out["product"], 16, count, signed=True)
            assert found == right, f"{sets[cycle - latency]}: {found}, not {right}"


def test_all_operands():
    on_verilator(
        {name: Multipliers(**kind) for name, kind in KINDS.items()},
        [
            (
                name,
                products,
                {"count": kind["count"], "registers": kind.get("registers", REGISTERS)},
            )
            for name, kind in KINDS.items()
        ],
        **CELLS,
    )


def sums(late: int = 0, step: int = 1):
    """Scenario: the compact array's two sums of a cell grow by every pair of operands in turn.

    Operands change every second cycle; a product is added two cycles later, and the sums leave in
    the two cycles after that.
    """
    pairs = PAIRS[::step]
    sets = [[pairs[(i + 7919 * k) % len(pairs)] for k in range(2)] for i in range(len(pairs))]
    totals = [0, 0]
    for cycle in range(2 * len(sets) + 5):
        at, second = divmod(cycle, 2)
        inputs = {"clear": int(cycle < 2), "add": int(cycle >= 2 and not second)}
        inputs |= {"transfer": second, "shift": 1 - second}
        if at < len(sets):
            pixels, weights = zip(*sets[at], strict=True)
            inputs |= {"operands": pack(pixels, 8), "weights": pack(weights, 8)}
        out = yield inputs
        place = at - 2 - late
        if 0 <= place < len(sets):
            a, b = sets[place][second]
            totals[second] = totals[second] + a * b & 0xFFFF
            assert out["low"] == totals[second], f"sum {second} after {a} * {b}: {out['low']}"


def test_compact_array_on_all_operands():
    """The cell as the UP5K's boards have it: two products and two sums."""
    kinds = ("generic", "ice40")
    on_verilator(
        {k: SerialArray(pixels=1, lanes=2, max_taps=9, cells=k) for k in kinds},
        [(k, sums, {}) for k in kinds],
        **CELLS,
    )


@pytest.mark.parametrize("late", [-1, 1])
def test_differences_in_sums_are_seen(late):
    with pytest.raises(AssertionError):
        on_amaranth(SerialArray(pixels=1, lanes=2, max_taps=9), sums(late=late, step=31))


@pytest.mark.parametrize("late", [-1, 1])
def test_differences_are_seen(late):
    with pytest.raises(AssertionError):
        on_amaranth(Multipliers(count=2), products(2, late=late, step=31))


# ---- two products from a DSP cell ----


class Triples(wiring.Component):
    """Every x, y within -127..127 times every z, 16 of these at a time, in one cell for both.

    At last, as a look at what must not be: x = -128, whose borrow for a negative y is lost.

    Ports
    -----
    wrong, turned : Out(1)
        A product was another one; one of the last was.
    done : Out(1)
    """

    LANES = 16

    def __init__(self):
        super().__init__({"wrong": Out(1), "turned": Out(1), "done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        x, y, step = (Signal(signed(8), init=-127), Signal(signed(8), init=-127), Signal(4))
        last, ending = Signal(), Signal(range(16))
        with m.If(~last):
            m.d.sync += step.eq(step + 1)
            with m.If(step == 15):
                m.d.sync += y.eq(Mux(y == 127, -127, y + 1))
                with m.If(y == 127):
                    m.d.sync += x.eq(x + 1)
                    with m.If(x == 127):  # overflows to -128
                        m.d.sync += [last.eq(1), y.eq(-1)]
        with m.Else():
            m.d.sync += [ending.eq(ending + 1), self.done.eq(self.done | (ending == 15))]
        for lane in range(self.LANES):
            block = Multipliers(count=2, kind="ecp5", dsps=1, pairs=[(0, 1)])
            m.submodules[f"lane{lane}"] = block
            z = Signal(signed(8), name=f"z{lane}")
            m.d.comb += z.eq(step * self.LANES + lane)
            right = [Signal(signed(16), name=f"right{lane}_{k}_0") for k in range(2)]
            late = last
            m.d.comb += [right[0].eq(x * z), right[1].eq(y * z)]
            for i in range(block.latency):
                now = [Signal(signed(16), name=f"right{lane}_{k}_{i + 1}") for k in range(2)]
                m.d.sync += [new.eq(old) for new, old in zip(now, right, strict=True)]
                later = Signal(name=f"last{lane}_{i}")
                m.d.sync += later.eq(late)
                right, late = now, later
            filled = Signal(3, name=f"filled{lane}")
            with m.If(filled < block.latency):
                m.d.sync += filled.eq(filled + 1)
            m.d.comb += [
                *[a.eq(z) for a in (block.a[0], block.a[1])],
                block.b[0].eq(x),
                block.b[1].eq(y),
            ]
            equal = (block.product[0] == right[0]) & (block.product[1] == right[1])
            with m.If((filled == block.latency) & ~equal):
                with m.If(late):
                    m.d.sync += self.turned.eq(1)
                with m.Else():
                    m.d.sync += self.wrong.eq(1)
        return m


def test_two_products_of_all_triples(tmp_path):
    """16,646,400 of them; and -128, which is not allowed, is wrong."""
    build = runner.build(Triples(), top="triples", public=False, **CELLS)
    runner.run(build, "tests.bench_dp16kd", arguments={"found": str(tmp_path / "found.json")})
    assert json.loads((tmp_path / "found.json").read_text()) == {"wrong": 0, "turned": 1}


@pytest.mark.parametrize(
    "options, text",
    [
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"count": 1, "kind": "xilinx"}, "kind must be generic, ecp5, ice40 or gowin, not 'xi"),
        ({"count": 1, "dsps": -1}, "dsps must be at least 0, not -1"),
        (
            {"count": 2, "kind": "ice40", "pairs": []},
            "kind must be generic or ecp5 with pairs, not 'ice40'",
        ),
        (
            {"count": 2, "kind": "ecp5", "pairs": [(0, 2)]},
            r"pairs must be of different products 0..1, not \[\(0, 2\)\]",
        ),
        ({"count": 1, "registers": 1}, "registers must be 2, or 0 of generic products without"),
        ({"count": 1, "kind": "ecp5", "registers": 0}, "without pairs, not 0"),
        ({"count": 2, "registers": 0, "pairs": []}, "without pairs, not 0"),
        ({"count": 1, "a_bits": 9}, "a_bits must be 8 with registers, not 9"),
        ({"count": 5, "kind": "ice40", "dsps": 2}, "5 products need 3 SB_MAC16, not 2"),
        ({"count": 5, "kind": "gowin", "dsps": 4}, "5 products need 5 MULT9X9, not 4"),
    ],
)
def test_errors(options, text):
    with pytest.raises(ValueError, match=text):
        Multipliers(**options)


def test_dsps_of_the_lanes():
    """The array's DSP cells are shared out evenly, and none is lost."""
    engine = EngineConfig.parse("15,3,4", cells="ecp5", dsps=150)
    shares = [engine.lane_dsps(lane) for lane in range(4)]
    assert sum(shares) == 150 and max(shares) - min(shares) <= 1
    assert EngineConfig.parse("15,3,4", cells="ecp5").lane_dsps(0) is None
    with pytest.raises(ValueError, match="cells must be generic, ecp5, ice40 or gowin, not 'a"):
        EngineConfig.parse("15,3,4", cells="asic")
    with pytest.raises(ValueError, match="of a low-power engine must be generic, not ecp5"):
        EngineConfig.parse("15,3,4", cells="ecp5", parts="low_power")
    with pytest.raises(ValueError, match="dsps must be at least 0, not -2"):
        EngineConfig.parse("15,3,4", cells="ecp5", dsps=-2)
