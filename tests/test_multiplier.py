# amaranth: UnusedElaboratable=no
"""hw/multiplier.py: every kind equals a * b for all pairs of operands, on the cells' own models."""

import pytest

from hw.config import EngineConfig
from hw.multiplier import Multipliers
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
