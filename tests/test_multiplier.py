# amaranth: UnusedElaboratable=no
"""hw/arithmetic/multiplier.py: every kind equals a * b for all operands, on the cells' models."""

import pytest

from hw.arithmetic.multiplier import Multipliers
from hw.plan.engine_config import EngineConfig
from hw.serial.array import SerialArray
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, pack, unpack

PAIRS = [(a, b) for a in range(-128, 128) for b in range(-128, 128)]
KINDS = {
    "generic": {"count": 2},
    "ecp5": {"count": 2, "kind": "ecp5"},
    "ecp5_luts": {"count": 1, "kind": "ecp5", "dsps": 0},
    "ecp5_both": {"count": 2, "kind": "ecp5", "dsps": 1},
    "ice40": {"count": 2, "kind": "ice40"},
    "ice40_odd": {"count": 3, "kind": "ice40", "dsps": 2},
}


def products(count: int, late: int = 0, step: int = 1):
    """Scenario: every pair of operands in every place, other pairs in the other places."""
    latency = Multipliers.latency + late
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
        [(name, products, {"count": kind["count"]}) for name, kind in KINDS.items()],
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


@pytest.mark.parametrize(
    "options, text",
    [
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"count": 1, "kind": "xilinx"}, "kind must be generic, ecp5 or ice40, not 'xilinx'"),
        ({"count": 1, "dsps": -1}, "dsps must be at least 0, not -1"),
        ({"count": 5, "kind": "ice40", "dsps": 2}, "5 products need 3 SB_MAC16, not 2"),
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
    with pytest.raises(ValueError, match="cells must be generic, ecp5 or ice40, not 'asic'"):
        EngineConfig.parse("15,3,4", cells="asic")
    with pytest.raises(ValueError, match="dsps must be at least 0, not -2"):
        EngineConfig.parse("15,3,4", cells="ecp5", dsps=-2)
