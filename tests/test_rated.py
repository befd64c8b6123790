"""sim/study/rated.py: an engine whose clocks are gated, in a small library with such a gate."""

import json
import shutil
from copy import deepcopy
from dataclasses import replace

import pytest
from rich.console import Console

from hw.plan import awake
from hw.top import Rasca
from sim.study import activity, asic, liberty, rated
from sim.study.mapped import Netlist
from tests.test_asic import (
    COUNTER,
    ENGINE,
    LIBRARY,
    MODEL,
    ROOT,
    TECHNOLOGY,
    WEIGHTS,
    net,
    simulate,
)

GATE = """cell (ICG) { area : 12; cell_leakage_power : 12;
  clock_gating_integrated_cell : "latch_posedge";
  pin (EN) { direction : input; capacitance : 0.002; clock_gate_enable_pin : true; }
  pin (CK) { direction : input; capacitance : 0.006; clock : true; clock_gate_clock_pin : true;
    internal_power () { rise_power (edge) { values ("0.1, 0.1"); }
      fall_power (edge) { values ("0.3, 0.3"); } } }
  pin (GCK) { direction : output; clock_gate_out_pin : true; state_function : "CK * held";
    internal_power () { rise_power (edge) { values ("0.4, 0.4"); }
      fall_power (edge) { values ("0.6, 0.6"); } } } }
"""
FOR_TEST = GATE.replace("(ICG)", "(ICGT)").replace("latch_posedge", "latch_posedge_precontrol")
SLOWER = 4  # than the engine: so many times as long a row group


@pytest.fixture(scope="module")
def place():
    folder = ROOT / "build" / "test_rated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def library(place):
    path = place / "gated.lib"
    path.write_text(LIBRARY.rstrip().removesuffix("}") + FOR_TEST + GATE + "}\n")
    return liberty.read(path)


# ---- a counter, by hand ----


def gated():
    """The counter of tests/test_asic.py; its high bit has a clock of its own, with `enable`."""
    design = deepcopy(COUNTER)
    cells = design["modules"]["rasca"]["cells"]
    cells["gate"] = {"type": "ICG", "connections": {"EN": [7], "CK": [2], "GCK": [9]}}
    cells["high"]["connections"]["CK"] = [9]
    return design


def test_the_gate_of_the_library(library, place):
    assert library.clock_gate.name == "ICG" and library.clock_gate.gate == ("EN", "CK", "GCK")
    plain = place / "plain.lib"
    plain.write_text(LIBRARY)
    with pytest.raises(ValueError, match="library tiny has no clock-gating cell"):
        _ = liberty.read(plain).clock_gate


def test_a_gated_counter(library, place):
    """`enable` is 1 before the edges 2 to 13 of 17: the gate passes these. The high bit is then a
    second behind none: low ^ high as before, and it stays from the 13th edge on."""
    flat, counts, _ = simulate(gated(), library, place)
    clock = net(flat, "ICG", "GCK")
    assert activity.clock_gates(flat, library) == {
        clock: (flat.ports["clk"][0], flat.ports["enable"][0])
    }
    assert counts.changes[clock] == 2 * 12
    low, high = (net(flat, "DFF", "Q", i) for i in (0, 1))
    assert counts.changes[low] == 17
    # edge n sets high to low ^ high of before: at 2, 4, ..., 12
    assert counts.changes[high] == 6
    found = activity.registers(flat, library, counts, lambda path: "all")["all"]
    assert (found.count, found.edges, found.cycles, found.most) == (2, 17 + 12, 17, 17)
    assert found.clocked == pytest.approx(29 / 34)
    # clock pins: 0.2 pJ and 0.005 pF inside a flip-flop, 0.2 and 0.006 at the gate, 0.5 behind it
    energy = activity.weigh(flat, library, counts)
    half = 1.2**2 / 2
    wanted = 2 * 17 * (0.2 + 0.005 * half) + 2 * 12 * (0.2 + 0.005 * half)
    wanted += 2 * 17 * (0.2 + 0.006 * half) + 2 * 12 * 0.5
    assert energy.clock == pytest.approx(wanted)
    assert energy.gates == pytest.approx(2 * 17 * (0.2 + 0.006 * half) + 2 * 12 * 0.5)
    assert sum(energy.clock_blocks.values()) == pytest.approx(wanted)


def test_a_gate_behind_a_gate(library, place):
    """Edges pass both or none."""
    design = gated()
    cells = design["modules"]["rasca"]["cells"]
    cells["high"]["connections"]["CK"] = [10]
    cells["second"] = {"type": "ICG", "connections": {"EN": [3], "CK": [9], "GCK": [10]}}
    design["modules"]["rasca"]["cells"] = dict(reversed(cells.items()))  # in any order
    flat, counts, _ = simulate(design, library, place)
    gates = activity.clock_gates(flat, library)
    first, second = gates
    assert gates[second][0] == first
    assert counts.changes[first] == 2 * 12
    assert counts.changes[second] == 2 * 6  # low is 1 before every second edge


# ---- an engine ----


@pytest.fixture(scope="module")
def mapped(place, library):
    """The small engine, its clocks asleep between rows, and flip-flops by eights behind gates."""
    design = Rasca(MODEL, replace(ENGINE, sleep=True), WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asic, "SMALLEST_SRAM", 24)
        quiet = Console(quiet=True)
        return design, asic.synthesise(
            design, place / "mapped", list(library.sources), 100, quiet, asic.GROUP
        )


@pytest.fixture(scope="module")
def measured(mapped, place):
    design, found = mapped
    period = SLOWER * design.plan.camera_period
    quiet = Console(quiet=True)
    return asic.measure(design, WEIGHTS, found, place / "mapped", 2, quiet, period)


def test_the_gated_netlist_computes_the_same_and_sleeps_as_predicted(mapped, measured, library):
    """`measure` compares logits and cycles; clocks run as hw.plan.awake says."""
    design, _ = mapped
    plan, (flat, counts) = design.plan, measured
    period = SLOWER * plan.camera_period
    clock_mhz = 100.0
    rate = clock_mhz * 1e6 * MODEL.rows_per_group / (period * MODEL.image_height)
    assert rated.row_group_cycles(plan, clock_mhz, rate) == period
    sram = asic.srams(mapped[1], plan, TECHNOLOGY)
    drawn = asic.power(flat, counts, library, sram, TECHNOLOGY, clock_mhz, 2)
    found = rated.at_rate(flat, counts, library, asic.block_of, drawn, plan, TECHNOLOGY, rate)
    assert json.loads(json.dumps(found)) == found
    frame = clock_mhz * 1e6 / rate
    wanted = {name: cycles / frame for name, cycles in awake.running(plan, frame).items()}
    assert found["clocks"]["always"]["running"] == 1.0
    for name in ("engine", "camera"):
        assert found["clocks"][name]["running"] == pytest.approx(wanted[name], rel=0.1), name
    assert found["clocks"]["host"]["running"] == 0.0
    assert found["clocks"]["engine"]["clocked"] < 0.95  # the groups' own gates
    blocks, uj = found["blocks"], found["uj"]
    assert sum(one["clock_uj"] for one in blocks.values()) == pytest.approx(
        uj["clock pins"], abs=1e-3
    )
    assert sum(one["logic_uj"] for one in blocks.values()) == pytest.approx(uj["logic"], abs=1e-3)
    assert uj["clock tree"] == pytest.approx(rated.TREE * uj["clock pins"], abs=1e-3)
    assert sum(uj.values()) == pytest.approx(2 * uj["total"], rel=1e-3)
    assert found["model_uj"]["total"]["gates"] == uj["total"]
    assert found["gates"] > 4 + 5
    total = sum(one["flip_flops"] for one in blocks.values())
    assert total == asic.count_cells(mapped[1])[1]
    rated.show(found, Console(quiet=True))


def test_a_gate_that_stays_shut_is_found(mapped, place, library):
    """One group's gate never opens: other logits, or none."""
    design, found = mapped
    broken = deepcopy(found.netlist.modules)
    module = next(m for name, m in broken.items() if name.endswith("array.lane0"))
    gate = next(cell for cell in module["cells"].values() if cell["type"] == "ICG")
    gate["connections"]["EN"] = ["0"]
    wrong = replace(found, netlist=Netlist({"modules": broken}))
    (place / "broken").mkdir()
    with pytest.raises(RuntimeError):
        asic.measure(design, WEIGHTS, wrong, place / "broken", 1, Console(quiet=True))


def test_a_clock_that_is_too_slow(mapped):
    plan = mapped[0].plan
    with pytest.raises(ValueError, match="clock must be at least .* MHz for 1e[+]06 frames/s"):
        rated.row_group_cycles(plan, 100.0, 1e6)
