"""sim/study/operands.py: small lanes in a small library."""

import random

import pytest
import torch
from amaranth.back import rtlil
from amaranth.hdl import Value
from rich.console import Console

from golden.command_line import load_weights
from golden.config import preset
from hw.parallel.head_lane import HeadLane
from sim.study import activity, asic, energy, operands
from sim.study.mapped import TOP
from sim.study.operands import WAYS, ZERO, Walk, walks
from tests.places import in_build
from tests.test_asic import simulate
from tests.test_rated import library as gated_library

ACC_BITS = 18
library = gated_library


@pytest.fixture(scope="module")
def place():
    with in_build("test_operands_study") as folder:
        yield folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(operands, "PIXELS", 2)
    monkeypatch.setattr(operands, "CHANNELS", 1)


def drawn(zeros, count=6, seed=1):
    """Walks of random bytes, of which `zeros` are the stored zero; one with another zero point."""
    source = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        k = int(torch.randint(1, 12, (1,), generator=source))
        pixels = torch.randint(-128, 128, (k, 2), generator=source)
        pixels[torch.rand((k, 2), generator=source) < zeros] = ZERO
        weights = torch.randint(-127, 128, (k, 1), generator=source)
        found.append(Walk(operands=pixels, weights=weights, zero_point=0 if i == 2 else ZERO))
    return found


def measured(way, found, library, place):
    folder = place / f"way{WAYS.index(way)}"
    return operands.measure(way, found, ACC_BITS, library.sources[0], folder, Console(quiet=True))


def test_all_ways_make_the_golden_sums_and_zeros_cost_less(small, library, place):
    """`measure` compares the sums; of zeros only, stored as 0, nothing is switched but the sums'
    beginnings."""
    few = [measured(way, drawn(0.5), library, place) for way in WAYS]
    none = [measured(way, drawn(1.0), library, place) for way in WAYS]
    for some, zeros in zip(few, none, strict=True):
        assert 0 < zeros.logic < some.logic and some.area == zeros.area > 0
    assert none[1].logic < none[0].logic
    assert none[2].clock < none[1].clock == few[1].clock


def test_wrong_sums_are_found(small, library, place, monkeypatch):
    right = operands.stimulus

    def wrong(found, way):
        cycles, sums = right(found, way)
        sums[-1][0] ^= 1
        return cycles, sums

    monkeypatch.setattr(operands, "stimulus", wrong)
    with pytest.raises(RuntimeError, match="makes other sums than the golden model"):
        measured(WAYS[0], drawn(0.5), library, place)


# ---- the engine's own lane ----


def lane_edges(library, folder, registers):
    """Edges that pass each clock gate of a lane of two pixels, in 300 random cycles, sorted; and
    how many would if the sums of a pixel that is 0 rest: the sums' two, the drain's."""
    lane = HeadLane(
        pixels=2, channels=1, acc_bits=12, operand_bits=8 + (not registers), registers=registers
    )
    members = lane.signature.members
    ports = {name: (Value.cast(getattr(lane, name)), None) for name in members}
    folder.mkdir(exist_ok=True)
    text = rtlil.convert(lane, name=TOP, ports=ports, emit_src=False)
    netlist = asic.block_netlist(folder, text, library, Console(quiet=True), asic.GROUP)
    flat, source, lines = activity.flatten(netlist), random.Random(5), []
    names = activity.input_ports(flat, library)
    told, edges = {"valid": 0, "first": 0, "transfer": 0}, [0, 0, 0]
    for _ in range(300):
        pixels = [source.choice([0, 0, source.randint(1, 255)]) for _ in range(2)]
        inputs = {name: source.randrange(2) for name in told}
        inputs |= {"weights": source.getrandbits(8)}
        inputs["operand"] = sum(p << len(lane.operand[0]) * i for i, p in enumerate(pixels))
        for i, pixel in enumerate(pixels):
            edges[i] += told["valid"] and bool(told["first"] or pixel)
        edges[2] += told["transfer"]
        told = {name: inputs[name] for name in told}  # a cycle ahead
        bits = (f"{inputs.get(n, 0):0{len(flat.ports[n])}b}"[::-1] for n in names)
        lines.append("c " + "".join(bits))
    stimulus = "\n".join(["start", *lines, lines[0], "stop"]) + "\n"  # the last one's edge
    _, counts, _ = simulate(netlist, library, folder, stimulus, ())
    return sorted(counts.changes[net] // 2 for net in activity.clock_gates(flat, library)), edges


def test_sums_of_zeros_are_not_clocked(library, place):
    """... in the low-power record; elsewhere all of them are with every step."""
    found, wanted = lane_edges(library, place / "rests", 0)
    assert found == sorted(wanted)
    found, wanted = lane_edges(library, place / "works", 2)
    assert max(found) > max(wanted) and len(found) == 2


def test_changes_in_the_rows():
    """By hand, of a pixel and a weight. 3 * 5, as stored: rows 1..7 have 3, 15, 15, ... after 0:
    2 + 6 * 4 changes; 3 * 5 again has none, and back to 0 as many. Of -128 less its zero point
    nothing is left to change."""
    pixels, weights = torch.tensor([[0], [3], [3], [0]]), torch.tensor([[0], [5], [5], [0]])
    walk = Walk(operands=pixels, weights=weights, zero_point=0)
    for way in WAYS[:2]:
        assert operands.row_changes([walk], way) == pytest.approx(2 * (2 + 6 * 4) / 3)
    zeros = torch.full((4, 1), ZERO)
    walk = Walk(operands=zeros, weights=weights, zero_point=ZERO)
    assert operands.row_changes([walk], WAYS[1]) == 0 < operands.row_changes([walk], WAYS[0])


def test_the_models_figures_are_those_counted():
    """[array_activity] of technology.toml: within 3 % of what the trained presets have."""
    activity_of = energy.array_activity()
    for way, wanted in zip(WAYS, (activity_of.stored, activity_of.zeros), strict=False):
        found = []
        for name in ("vww_105x120", "vww_210x240"):
            model = preset(name)
            found.append(operands.row_changes(list(walks(model, load_weights(None, model))), way))
        assert sum(found) / 2 == pytest.approx(wanted, rel=0.03), found
