"""sim/study/asic.py: a small engine in a small library that this file makes up."""

import json
import re
import shutil
import stat
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
from rich.console import Console

from boards import tools
from golden.config import ModelConfig
from golden.random_weights import random_weights
from hw.plan.cost import cost
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from rasca import make
from sim.study import activity, asic, liberty
from sim.study.energy import technology
from sim.study.mapped import Netlist, box_ports, cut_memories
from tests.command import invoke, parse, refused
from tests.places import in_build

ROOT = Path(__file__).resolve().parents[1]
MODEL = ModelConfig(
    name="tiny",
    image_height=20,
    image_width=16,
    heads=1,
    head_channels=(1, 2, 1, 2),
    state_channels=3,
    in_channels=1,
)
ENGINE = EngineConfig(pixels=3, channels=1, lanes=1, weight_memory="loaded")
WEIGHTS = random_weights(MODEL, 3)
TECHNOLOGY = technology("ihp130")
GROUPS = 2
VOLTS = 1.2


def _table(kind, low, high, template="pair"):
    """Values over load 0.001, 0.101 pF: `low` and `high`, the same at both transitions."""
    return f'{kind} ({template}) {{ values ("{low}, {low}", "{high}, {high}"); }}'


def _cell(name, area, function, inputs, energy):
    """A gate; `energy`: pJ of a change at the smallest and the largest load."""
    pins = "".join(
        f"pin ({pin}) {{ direction : input; capacitance : {load}; }}\n"
        for pin, load in inputs.items()
    )
    arcs = "".join(
        f"timing () {{ related_pin : {pin}; timing_sense : non_unate; "
        + " ".join(
            _table(kind, 0.05 + 0.01 * i, 0.5)
            for kind in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
        )
        + " }\n"
        for i, pin in enumerate(inputs)
    )
    power = _table("rise_power", *energy) + _table("fall_power", *energy)
    return f"""cell ({name}) {{ area : {area}; cell_leakage_power : {area};
        {pins} pin (Y) {{ direction : output; function : "{function}";
        {arcs} internal_power () {{ {power} }} }} }}
        """


LIBRARY = f"""
/* made up for tests */
library (tiny) {{
  delay_model : table_lookup;  time_unit : "1ns";  voltage_unit : "1V";  current_unit : "1uA";
  pulling_resistance_unit : "1kohm";  leakage_power_unit : "1nW";  capacitive_load_unit (1, pf);
  nom_voltage : {VOLTS};  nom_temperature : 25;
  lu_table_template (pair) {{
    variable_1 : total_output_net_capacitance;  variable_2 : input_net_transition;
    index_1 ("0.001, 0.101");  index_2 ("0.01, 0.1");
  }}
  lu_table_template (edge) {{ variable_1 : input_net_transition; index_1 ("0.01, 0.1"); }}
  {_cell("INV", 2, "!A", {"A": 0.002}, (0.01, 0.02))}
  {_cell("BUF", 3, "A", {"A": 0.002}, (0.01, 0.02))}
  {_cell("NAND2", 4, "!(A B)", {"A": 0.002, "B": 0.003}, (0.02, 0.04))}
  {_cell("NOR2", 4, "(A+B)'", {"A": 0.002, "B": 0.003}, (0.02, 0.04))}
  {_cell("XOR2", 9, "A ^ B", {"A": 0.004, "B": 0.004}, (0.04, 0.08))}
  cell (DFF) {{
    area : 20;  cell_leakage_power : 20;
    ff (IQ, IQN) {{ next_state : "D"; clocked_on : "CK"; }}
    pin (D) {{ direction : input; capacitance : 0.002;
      timing () {{ related_pin : "CK"; timing_type : setup_rising;
        rise_constraint (scalar) {{ values ("0.1"); }}
        fall_constraint (scalar) {{ values ("0.1"); }} }} }}
    pin (CK) {{ direction : input; capacitance : 0.005; clock : true;
      internal_power () {{ rise_power (edge) {{ values ("0.1, 0.1"); }}
        fall_power (edge) {{ values ("0.3, 0.3"); }} }} }}
    pin (Q) {{ direction : output; function : "IQ";
      timing () {{ related_pin : "CK"; timing_type : rising_edge;
        {_table("cell_rise", 0.2, 0.6)} {_table("cell_fall", 0.2, 0.6)}
        {_table("rise_transition", 0.1, 0.5)} {_table("fall_transition", 0.1, 0.5)} }}
      internal_power () {{ {_table("rise_power", 0.1, 0.2)} {_table("fall_power", 0.1, 0.2)} }} }}
  }}
}}
"""


@pytest.fixture(scope="session")
def place():
    with in_build("test_asic") as folder:
        yield folder


@pytest.fixture(scope="session")
def library_file(place):
    path = place / "tiny library.lib"
    path.write_text(LIBRARY)
    return path


@pytest.fixture(scope="session")
def library(library_file):
    return liberty.read(library_file)


@pytest.fixture(scope="session")
def mapped(place, library_file):
    """The small engine with all its larger memories cut out, and its design."""
    design = Rasca(MODEL, ENGINE, WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asic, "SMALLEST_SRAM", 24)
        found = asic.synthesise(design, place / "mapped", [library_file], 100, Console(quiet=True))
    return design, found


@pytest.fixture(scope="session")
def measured(mapped, place):
    design, found = mapped
    quiet = Console(quiet=True)
    return asic.measure(design, WEIGHTS, found, place / "mapped", GROUPS, quiet)


def without(monkeypatch, *names):
    """As if these programs were not there."""
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in names else which(name))


# ---- Liberty ----


def test_the_library_is_read(library):
    assert (library.name, library.corner, library.time_ns) == ("tiny", "1.2 V, 25 C", 1)
    assert library.inverter == "INV"
    assert {name: cell.area for name, cell in library.cells.items()} == {
        "INV": 2, "BUF": 3, "NAND2": 4, "NOR2": 4, "XOR2": 9, "DFF": 20,
    }  # fmt: skip
    assert [name for name, cell in library.cells.items() if cell.flip_flop] == ["DFF"]
    flop = library.cells["DFF"]
    assert flop.pins["CK"].clock and not flop.pins["D"].clock
    assert flop.pins["CK"].capacitance == 0.005
    assert flop.pins["CK"].energy(0) == pytest.approx(0.2)  # mean of rising and falling
    assert flop.leakage == 20


def test_energy_follows_the_load(library):
    pin = library.cells["NAND2"].pins["Y"]
    for load, energy in ((0.001, 0.02), (0.051, 0.03), (0.101, 0.04), (0, 0.02), (9, 0.04)):
        assert pin.energy(load) == pytest.approx(energy)


def test_the_second_transition_is_taken_and_units_are_applied(place):
    text = """library (u) { time_unit : "10ps"; capacitive_load_unit (10, ff);
        leakage_power_unit : "1pW"; voltage_unit : "100mV"; nom_voltage : 9
        lu_table_template (t) { variable_1 : input_transition_time;
            variable_2 : total_output_net_capacitance;
            index_1 ("1, 2, 3"); index_2 ("0 , 10"); }
        cell (F) { area : 1; ff (a, b) { next_state : "d"; clocked_on : "c"; }
            leakage_power () { value : 2000; } leakage_power () { value : 4000; }
            pin (q) { direction : output; capacitance : 2;
            internal_power () { rise_power (t) { values ("0,0", "1, 3", "9,9"); }
                                fall_power (t) { values ("0,0", "5, 7", "9,9"); } } } } }"""
    path = place / "units.lib"
    path.write_text(text)
    found = liberty.read(path)
    assert found.time_ns == pytest.approx(0.01) and found.voltage == pytest.approx(0.9)
    cell = found.cells["F"]
    assert cell.leakage == pytest.approx(3)
    assert cell.pins["q"].capacitance == pytest.approx(0.02)
    # 10 fF x (0.1 V)^2 = 1e-4 pJ; half way at 5 x 10 fF
    assert cell.pins["q"].energy(0.05) == pytest.approx(4e-4)


@pytest.mark.parametrize(
    "text, said",
    [
        ("not a library", "expected : or ( after 'not', not 'a'"),
        ("library (a) { cell (b) { area : 1; }", "is not closed"),
        ("library (a) { }", "no flip-flop"),
        ("cell (a) { }", "expected one library in it, not 0"),
        ("library (a", "expected a closing bracket, not the end"),
        ('library (a) { time_unit : "fast"; }', "expected a unit such as 1ns, not 'fast'"),
        ('library (a) { x : "open; }', "expected a statement, not"),
        (LIBRARY.replace('"0.1, 0.1"', '"0.1"', 1), "a table has 1 values, its axes 2"),
    ],
)
def test_a_bad_library_is_one_line(text, said, place):
    path = place / "bad.lib"
    path.write_text(text)
    with pytest.raises(ValueError, match="bad.lib is no Liberty file that can be read: ") as error:
        liberty.read(path)
    assert said in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="none.lib: expected an existing file"):
        liberty.read(place / "none.lib")


@pytest.mark.parametrize(
    "function, table",
    [
        ("!A", "1010"),
        ("A'", "1010"),
        ("(!(A B))", "1110"),
        ("A*B", "0001"),
        ("A & !B", "0100"),
        ("A+B", "0111"),
        ("A|B'", "1101"),
        ("A^B", "0110"),
        ("A B + A' B'", "1001"),
        ("!A ^ B & A", "0001"),
        ("1", "1111"),
        ("(A)' + 0", "1010"),
    ],
)
def test_functions(function, table):
    assert liberty.table(function, ("A", "B")) == table


@pytest.mark.parametrize("function", ["A C", "(A", "A B )", "A + ", "A $ B"])
def test_a_function_that_cannot_be_read(function):
    with pytest.raises(ValueError, match="cannot be read"):
        liberty.table(function, ("A", "B"))


# ---- a counter, by hand ----

# Two flip-flops that count, and in a block of its own a gate that lets the sum out.
#   low' = !low (3), high' = low ^ high (5), y = !(high & enable) (8)
COUNTER = {
    "modules": {
        "rasca": {
            "ports": {
                "clk": {"direction": "input", "bits": [2]},
                "enable": {"direction": "input", "bits": [7]},
                "y": {"direction": "output", "bits": [8]},
            },
            "cells": {
                "flip": {"type": "INV", "connections": {"A": [3], "Y": [4]}},
                "low": {"type": "DFF", "connections": {"D": [4], "CK": [2], "Q": [3]}},
                "carry": {"type": "XOR2", "connections": {"A": [3], "B": [5], "Y": [6]}},
                "high": {"type": "DFF", "connections": {"D": [6], "CK": [2], "Q": [5]}},
                "block7": {
                    "type": "gate",
                    "connections": {"a": [5], "byte": [7, "1"], "y": [8]},
                },
            },
        },
        "gate": {
            "ports": {
                "a": {"direction": "input", "bits": [20]},
                "byte": {"direction": "input", "bits": [21, 22]},
                "y": {"direction": "output", "bits": [23]},
            },
            "cells": {
                "nand": {"type": "NAND2", "connections": {"A": [20], "B": [21], "Y": [23]}},
            },
        },
    }
}
# 12 cycles with enable, 5 without it
STIMULUS = "start\nc 1\nr 11\nc 0\nr 4\nstop\n"


def simulate(design, library, place, stimulus=STIMULUS, events=("y",)):
    flat = activity.flatten(design if isinstance(design, Netlist) else Netlist(design))
    (place / "gates.txt").write_text(activity.netlist_text(flat, library, events))
    (place / "stimulus.txt").write_text(stimulus)
    program = activity.compile_simulator(place)
    words = [str(program.resolve()), "gates.txt", "stimulus.txt", "counts.txt"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return flat, activity.read_counts(place / "counts.txt"), done.stdout


def net(flat, kind, pin, number=0):
    """Number of the net at a pin of the number-th cell of a kind."""
    found = [instance for instance in flat.instances if instance.kind == kind]
    return found[number].pins[pin][0]


def check_by_hand(flat, counts):
    """The counter's changes: low in each of 17 cycles, high in every second one (after 2, 4, ...,
    16); y falls and rises with it while enable is 1 (after 2, 4, ..., 12), rises at the 13th edge,
    when enable falls while high is 0: that is no change, y being 1 already."""
    assert counts.cycles == 17
    assert counts.changes[net(flat, "DFF", "Q", 0)] == 17
    assert counts.changes[net(flat, "DFF", "Q", 1)] == 8
    # low ^ high: 0 1 1 0 0 1 1 0 ...: a change at the odd edges
    assert counts.changes[net(flat, "XOR2", "Y")] == 9
    assert counts.changes[net(flat, "INV", "Y")] == 17
    assert counts.changes[net(flat, "NAND2", "Y")] == 6
    assert counts.changes[flat.ports["enable"][0]] == 2
    # low is 1 after the 1st, 3rd, ... 17th edge; 16 whole cycles lie between the first and the last
    assert counts.ones[net(flat, "DFF", "Q", 0)] == 8


def test_changes_are_those_counted_by_hand(library, place):
    flat, counts, printed = simulate(COUNTER, library, place)
    check_by_hand(flat, counts)
    # y is watched: a line at each cycle in which it is 1
    events = [int(line.split()[0]) for line in printed.splitlines()]
    high = [cycle for cycle in range(1, 18) if cycle // 2 % 2]  # of these, enable is 1 up to 12
    assert events == [cycle for cycle in range(1, 18) if cycle not in high or cycle > 12]


def test_the_check_by_hand_can_fail(library, place):
    """The same check refuses a counter whose carry is wired differently, or another time."""
    wrong = deepcopy(COUNTER)
    wrong["modules"]["rasca"]["cells"]["carry"]["type"] = "NAND2"
    with pytest.raises((AssertionError, IndexError)):
        check_by_hand(*simulate(wrong, library, place)[:2])
    with pytest.raises(AssertionError):
        check_by_hand(*simulate(COUNTER, library, place, STIMULUS.replace("r 4", "r 3"))[:2])


def test_energy_is_that_computed_by_hand(library, place):
    flat, counts, _ = simulate(COUNTER, library, place)
    energy = activity.weigh(flat, library, counts)
    half = VOLTS**2 / 2
    # loads, pF: low drives INV.A and XOR2.A, high XOR2.B and NAND2.A, the others one pin each
    switching = half * (
        17 * (0.002 + 0.004) + 8 * (0.004 + 0.002) + 17 * 0.002 + 9 * 0.002 + 2 * 0.003
    )

    def at(load, low, high):
        return low + (high - low) * (max(load, 0.001) - 0.001) / 0.1

    inside = 17 * at(0.006, 0.1, 0.2) + 8 * at(0.006, 0.1, 0.2)
    inside += 17 * at(0.002, 0.01, 0.02) + 9 * at(0.002, 0.04, 0.08) + 6 * at(0, 0.02, 0.04)
    assert energy.switching == pytest.approx(switching)
    assert energy.internal == pytest.approx(inside)
    # two flip-flops, two changes a cycle: 0.005 pF and 0.2 pJ inside
    assert energy.clock == pytest.approx(17 * 2 * 2 * (half * 0.005 + 0.2))
    assert energy.leakage == 20 + 20 + 9 + 2 + 4
    assert energy.dynamic == pytest.approx(sum(energy.blocks.values()))
    assert set(energy.blocks) == {(), ("block7",)}
    named = activity.by_block(energy, asic.block_of)
    assert set(named) == {"frames", "block"}


def test_verilator_counts_the_same(library, place):
    """Another simulator, on the Verilog that the netlist is written as."""
    from sim import runner

    netlist = Netlist(COUNTER)
    gates = {"INV": "~A", "NAND2": "~(A & B)", "XOR2": "A ^ B"}
    models = "".join(
        f"module {name} (input A, {'input B, ' if 'B' in text else ''}output Y);\n"
        f"assign Y = {text};\nendmodule\n"
        for name, text in gates.items()
    )
    models += """module DFF (input D, input CK, output reg Q);
        initial Q = 0;
        always @(posedge CK) Q <= D;
        endmodule\n"""
    folder = place / "verilator"
    folder.mkdir()
    (folder / "design.v").write_text(netlist.verilog() + models)
    (folder / "main.cpp").write_text("""
        #include "Vrasca.h"
        #include "verilated.h"
        #include "verilated_saif_c.h"
        int main() {
            VerilatedContext context;
            context.traceEverOn(true);
            Vrasca top{&context};
            VerilatedSaifC saif;
            top.trace(&saif, 99);
            top.clk = 0;
            top.eval();
            saif.open("saif");
            saif.dump(uint64_t(0));
            for (int i = 1; i < 35; ++i) {
                top.clk = i & 1;
                top.eval();
                top.enable = i < 25;
                top.eval();
                saif.dump(uint64_t(i));
            }
            saif.close();
        }""")
    words = [str(runner.verilator_root() / "bin" / "verilator_bin"), "--cc", "--exe", "--build"]
    words += ["--trace-saif", "--trace-underscore", "-Wno-fatal", "-Wno-lint", "--Mdir", "obj"]
    words += ["--top-module", "rasca", "-o", "count", "main.cpp", "design.v"]
    quick = runner.environment(("-O0", "-O0", "-O0"))
    tools.run(words, folder, "log", Console(quiet=True), "verilator", quick)
    tools.run(["obj/count"], folder, "log", Console(quiet=True), "count")
    flat, counts, _ = simulate(COUNTER, library, place)
    lines = [line.split() for line in (folder / "saif").read_text().splitlines()]
    found = {
        line[0].strip("("): int(line[-1].strip(")")) for line in lines if "(TC" in line
    }  # last one wins: the same net on both sides of a border has the same count
    names = netlist.nets["rasca"]
    for kind, pin, number, bit in (
        ("DFF", "Q", 0, 3), ("DFF", "Q", 1, 5), ("XOR2", "Y", 0, 6), ("INV", "Y", 0, 4),
        ("NAND2", "Y", 0, 8),
    ):  # fmt: skip
        # Verilator takes a net for 0 before the first time: one that begins with 1 has one more
        begins = names[bit] in (names[4], names[8])
        assert found[names[bit]] - begins == counts.changes[net(flat, kind, pin, number)], kind
    assert found["clk"] == 2 * counts.cycles


@pytest.mark.parametrize(
    "change, said",
    [
        ({"connections": {"D": [4], "CK": [7], "Q": [3]}}, "not clocked by the rising clock"),
        ({"type": "INV", "connections": {"A": [4], "Y": [3]}}, "drive each other in a ring"),
    ],
)
def test_what_cannot_be_simulated(change, said, library, place):
    wrong = deepcopy(COUNTER)
    wrong["modules"]["rasca"]["cells"]["low"].update(change)
    with pytest.raises((ValueError, RuntimeError), match=said):
        simulate(wrong, library, place)


def test_events_that_do_not_come(library, place):
    stimulus = "events 0 9\nc 1\nr 4\n"
    with pytest.raises(RuntimeError, match="the last event did not come"):
        simulate(COUNTER, library, place, stimulus)
    for text, said in (("c 11\n", "not as many as ports"), ("q\n", "what is q")):
        with pytest.raises(RuntimeError, match=said):
            simulate(COUNTER, library, place, text)


# ---- memories ----


def memory(**changed):
    """A memory as Yosys writes it: 40 words of 30 bits."""
    given = {"SIZE": 40, "WIDTH": 30, "RD_PORTS": 1, "WR_PORTS": 1, "RD_CLK_ENABLE": 1, **changed}
    parameters = {name: f"{value:032b}" for name, value in given.items()}
    bits = given["WIDTH"]
    return {
        "type": "$mem_v2",
        "parameters": {**parameters, "MEMID": "\\bank0"},
        "connections": {
            "RD_CLK": [2], "RD_EN": [3], "RD_ADDR": list(range(10, 18)), "RD_DATA": [4] * bits,
            "WR_EN": [5] * bits, "WR_ADDR": list(range(20, 28)), "WR_DATA": [6] * bits,
        },
    }  # fmt: skip


def test_memories_are_cut_out():
    design = {"modules": {"m": {"cells": {"a": memory(), "b": memory()}}}}
    cuts = cut_memories(design, 1200)
    assert [(cut.cell, cut.memory, cut.box) for cut in cuts] == [
        ("a", "bank0", "sram_40x30"),
        ("b", "bank0", "sram_40x30"),
    ]
    cell = design["modules"]["m"]["cells"]["a"]
    assert cell["type"] == "sram_40x30"
    sizes = {name: len(bits) for name, bits in cell["connections"].items()}
    assert sizes == {name: size for name, (_, size) in box_ports(40, 30).items()}
    assert sizes["read_address"] == 6
    assert design["modules"]["sram_40x30"]["attributes"] == {"blackbox": 1}


@pytest.mark.parametrize(
    "changed", [{"SIZE": 39}, {"RD_PORTS": 2}, {"WR_PORTS": 0}, {"RD_CLK_ENABLE": 0}, "lanes"]
)
def test_memories_that_stay(changed):
    """Small ones, tables, memories with other ports, and such that are written in part."""
    cell = memory(**(changed if changed != "lanes" else {}))
    if changed == "lanes":
        cell["connections"]["WR_EN"] = [5] * 15 + [6] * 15
    design = {"modules": {"m": {"cells": {"a": cell}}}}
    assert cut_memories(design, 1200) == []
    assert design["modules"]["m"]["cells"]["a"]["type"] == "$mem_v2"


def test_macros_of_the_engine(mapped):
    design, found = mapped
    rows = {row["memory"]: row for row in asic.srams(found, design.plan, TECHNOLOGY)}
    assert {"weights", "maps", "line buffer", "constants"} <= set(rows)
    plan = design.plan
    assert (rows["maps"]["words"], rows["maps"]["bits"]) == (plan.bank_words, 24)
    assert rows["maps"]["ports"] == "1R1W" and rows["weights"]["ports"] == "1RW"
    for row in rows.values():
        macro = TECHNOLOGY.sram(row["words"], row["bits"], row["ports"])
        assert row["macro"] == f"{macro.words}x{macro.bits}"
        assert row["count"] == row["banks"] * macro.high * macro.wide
        assert row["area_um2"] == pytest.approx(row["banks"] * macro.area_um2, abs=0.1)


# ---- the engine ----


def test_areas_are_those_of_yosys(mapped, place):
    _, found = mapped
    (place / "mapped" / "stat.ys").write_text(
        "read_json mapped.json\nhierarchy -top rasca\nflatten\nstat -liberty cells.lib\n"
    )
    words = [*tools.tool("yosys"), "stat.ys"]
    tools.run(words, place / "mapped", "stat.log", Console(quiet=True), "stat")
    text = (place / "mapped" / "stat.log").read_text()
    area = [line for line in text.splitlines() if "Chip area for" in line and "rasca" in line][-1]
    assert sum(asic.areas(found).values()) == pytest.approx(float(area.split(":")[-1]), rel=1e-6)
    flops = [line.split() for line in text.splitlines() if line.split()[-1:] == ["DFF"]]
    cells, flip_flops = asic.count_cells(found)
    assert flip_flops == int(flops[-1][0]) and flip_flops < cells
    assert {"lane", "unit", "sequencer", "store", "classifier", "frames"} <= set(asic.areas(found))


def test_the_netlist_is_plain_verilog(mapped, place):
    text = (place / "mapped" / "netlist.v").read_text()
    assert "signed" not in text and "(*" not in text and "$" not in text
    assigns = [line for line in text.splitlines() if line.strip().startswith("assign")]
    assert not [line for line in assigns if "{" in line]


def test_the_netlist_counts_what_the_cost_model_counts(mapped, measured):
    """Reads and writes of the mapped netlist's memories in two row groups, exactly."""
    design, _ = mapped
    flat, counts = measured
    assert counts.cycles == GROUPS * design.plan.camera_period
    counted = cost(design.plan)
    reads, writes = counted.reads_row_group, counted.writes_row_group
    seen = {}
    for path, (_, read, written) in activity.accesses(flat, counts).items():
        seen[asic.memory_of(path)] = (read, written)
    wanted = {name: (GROUPS * reads.get(name, 0), GROUPS * writes.get(name, 0)) for name in seen}
    state = (GROUPS * reads["state"], GROUPS * writes["state"])  # in the maps' banks
    wanted["maps"] = tuple(a + b for a, b in zip(wanted["maps"], state, strict=True))
    assert seen == wanted
    assert {"weights", "constants", "line buffer", "maps", "classifier values"} <= set(seen)


def test_power_adds_up(mapped, measured, library):
    design, found = mapped
    flat, counts = measured
    sram = asic.srams(found, design.plan, TECHNOLOGY)
    drawn = asic.power(flat, counts, library, sram, TECHNOLOGY, 50, GROUPS)
    names = ("switching", "internal", "clock_pins", "leakage", "sram", "sram_leakage")
    assert drawn["total"] == pytest.approx(sum(drawn[name] for name in names), abs=1e-5)
    assert all(drawn[name] > 0 for name in names)
    logic = sum(drawn[name] for name in names[:3])
    assert sum(drawn["blocks"].values()) == pytest.approx(logic, abs=1e-4)
    assert sum(drawn["memories"].values()) == pytest.approx(drawn["sram"], abs=1e-5)
    flip_flops = asic.count_cells(found)[1]
    clock = flip_flops * 2 * (VOLTS**2 / 2 * 0.005 + 0.2) * 50 / 1e3
    assert drawn["clock_pins"] == pytest.approx(clock, abs=1e-5)
    energy = drawn["total"] * counts.cycles / 50 / GROUPS  # mW x us = nJ
    assert drawn["energy_row_group_nj"] == pytest.approx(energy, rel=1e-4)
    twice = asic.power(flat, counts, library, sram, TECHNOLOGY, 100, GROUPS)
    assert twice["sram"] == pytest.approx(2 * drawn["sram"], rel=1e-4)
    assert twice["leakage"] == drawn["leakage"]


def test_a_wrong_netlist_is_found(mapped, place):
    """One gate of the classifier turned into another: the logits tell."""
    design, found = mapped
    broken = deepcopy(found.netlist)
    module = next(m for path, m in broken.instances() if asic.block_of(path) == "classifier")
    cells = broken.modules[module]["cells"].values()
    turned = 0
    for cell in cells:
        if cell["type"] == "XOR2":
            cell["type"] = "NAND2"
            turned += 1
    assert turned
    folder = place / "broken"
    folder.mkdir()
    wrong = asic.Mapped(netlist=broken, cuts=found.cuts, library=found.library)
    with pytest.raises(RuntimeError, match="mapped netlist is wrong|activity failed"):
        asic.measure(design, WEIGHTS, wrong, folder, 1, Console(quiet=True))


# ---- OpenSTA ----

STA = """#!/usr/bin/env python3
import sys
from pathlib import Path
assert sys.argv[1:] == ["-no_splash", "-exit", "sta.tcl"], sys.argv
script = Path("sta.tcl").read_text().splitlines()
assert script[:3] == ["read_liberty cells.lib", "read_verilog netlist.v", "link_design rasca"]
assert script[3] == "create_clock -name clk -period 8 [get_ports clk]", script[3]
assert "library (tiny)" in Path("cells.lib").read_text()
assert "module rasca" in Path("netlist.v").read_text()
{said}
"""
REPORT = '''print("""Startpoint: c1/c2 (rising edge-triggered flip-flop clocked by clk)
             9.8195   data required time
            -5.8195   data arrival time
-------------------------------------------------------------
             {slack}   slack ({met})

""")'''


def fake_sta(monkeypatch, tmp_path, said):
    program = tmp_path / "sta"
    program.write_text(STA.format(said=said))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.parametrize(
    "slack, met, fmax", [("4.0000", "MET", 250.0), ("-2.0000", "VIOLATED", 100.0)]
)
def test_frequency(mapped, library, place, monkeypatch, tmp_path, slack, met, fmax):
    fake_sta(monkeypatch, tmp_path, REPORT.format(slack=slack, met=met))
    assert asic.frequency(place / "mapped", library, 125) == fmax


def test_nothing_timed(mapped, library, place, monkeypatch, tmp_path):
    fake_sta(monkeypatch, tmp_path, 'print("No paths found.")')
    assert asic.frequency(place / "mapped", library, 125) is None


@pytest.mark.parametrize(
    "said, text",
    [
        ('print("Error: sta.tcl, 3 module x not found.")', "Error: sta.tcl, 3 module x not found"),
        (REPORT.format(slack="4.0", met="MET") + "\nprint('Error: late')", "Error: late"),
        ("pass", "no slack in what it printed, exit status 0"),
        ("sys.exit(3)", "no slack in what it printed, exit status 3"),
    ],
)
def test_sta_fails_though_it_exits_with_0(
    mapped, library, place, monkeypatch, tmp_path, said, text
):
    fake_sta(monkeypatch, tmp_path, said)
    with pytest.raises(RuntimeError, match="OpenSTA failed") as error:
        asic.frequency(place / "mapped", library, 125)
    assert text in str(error.value)


# ---- the command ----


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(asic, "preset", lambda name: MODEL)
    monkeypatch.setattr(asic, "load_weights", lambda path, model: WEIGHTS)


KEYS = (
    "preset shape weights_trained library technology clock_mhz area_um2 sram cells flip_flops "
    "fmax_mhz power_mw at_rate cycles_row_group limits tool_versions"
)


@pytest.fixture
def made(mapped, place, monkeypatch):
    """Yosys has done its work already."""

    def synthesise(design, folder, *_):
        shutil.copytree(place / "mapped", folder, dirs_exist_ok=True)
        return mapped[1]

    monkeypatch.setattr(asic, "synthesise", synthesise)


def run(*words):
    return invoke("asic", "--shape", "3,1,1", *words)


def test_all_of_it(tiny, made, library_file, place, monkeypatch, tmp_path):
    fake_sta(monkeypatch, tmp_path, REPORT.format(slack="4.0000", met="MET"))
    words = ["--liberty", str(library_file), "--clock", "125", "--row-groups", "1"]
    result = run(*words, "--folder", str(place / "whole"))
    assert result.exit_code == 0, result.output
    folder = place / "whole" / "tiny" / "3_1_1"
    text = (folder / "summary.json").read_text()
    found = json.loads(text)
    assert list(found) == KEYS.split()
    page = (ROOT / "docs" / "asic.md").read_text()
    for key in [*found, *found["power_mw"], *found["sram"][0]]:
        assert f"`{key}`" in page, key
    assert str(ROOT) not in text
    area = found["area_um2"]
    blocks = [name for name in area if name not in ("cells", "sram", "total")]
    assert area["cells"] == pytest.approx(sum(area[name] for name in blocks))
    assert area["sram"] == pytest.approx(sum(row["area_um2"] for row in found["sram"]))
    assert area["total"] == pytest.approx(area["cells"] + area["sram"])
    assert found["fmax_mhz"] == 250 and found["library"] == "tiny"
    assert found["power_mw"]["row_groups"] == 1
    assert set(found["power_mw"]["blocks"]) == set(blocks)
    for word in ("no wires", "no clock tree", "one corner: 1.2 V, 25 C", "zero-delay"):
        assert any(word in line for line in found["limits"]), word
    for word in ("lane", "250 MHz between registers", "weights", "mW at 125 MHz", "no wires"):
        assert word in result.output, word


def test_what_is_missing_is_said_and_the_rest_made(tiny, made, library_file, place, monkeypatch):
    without(monkeypatch, "sta", "g++")
    result = run("--liberty", str(library_file), "--folder", str(place / "part"))
    assert result.exit_code == 0, result.output
    found = json.loads((place / "part" / "tiny" / "3_1_1" / "summary.json").read_text())
    assert found["fmax_mhz"] is None and found["power_mw"] is None
    assert found["area_um2"]["total"] > found["area_um2"]["cells"] > 0
    for word in ("apt install opensta", "apt install g++"):
        assert sum(word in line for line in found["limits"]) == 1, word
        assert word in " ".join(result.output.split())


def test_without_a_library(tiny, place, monkeypatch):
    monkeypatch.setattr(asic, "DEBIAN", place / "none.lib")
    monkeypatch.setattr(asic, "SMALLEST_SRAM", 24)
    result = run("--folder", str(place / "generic"))
    assert result.exit_code == 0, result.output
    found = json.loads((place / "generic" / "tiny" / "3_1_1" / "summary.json").read_text())
    assert found["library"] is None and found["area_um2"]["total"] is None
    assert found["cells"] > found["flip_flops"] > 100
    assert found["area_um2"]["sram"] > 0
    assert any("apt install qflow-tech-osu018" in line for line in found["limits"])


def test_debians_library_is_found(place, library_file, monkeypatch):
    monkeypatch.setattr(asic, "DEBIAN", library_file)
    assert asic.find_library(None) == (library_file,)
    assert asic.find_library(Path("other")) == (Path("other"),)
    monkeypatch.setattr(asic, "DEBIAN", place / "none.lib")
    assert asic.find_library(None) is None


@pytest.mark.parametrize(
    "words, said",
    [
        (["--liberty", "none.lib"], "none.lib: expected an existing file"),
        (["--clock", "0"], "clock must be above 0 MHz"),
        (["--row-groups", "4"], "--row-groups must be 0..3 for the power of tiny, not 4"),
        (["--technology", "7nm"], "technology must be one of ihp130"),
        (["--shape", "3,1"], "a shape is three whole numbers"),
        (["--shape", "3,1,3"], "3 lanes a head"),
    ],
)
def test_errors_are_one_line(tiny, words, said, tmp_path):
    result = run(*words, "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    "words, said",
    [
        ("asic --clock fast", "expected a number for --clock, not 'fast'"),
        ("explore --workers two", "expected a whole number for --workers, not 'two'"),
        ("explore --workers -1", "expected at least 0 for --workers, not '-1'"),
        ("report --compact=maybe", "expected --compact without a value, not with 'maybe'"),
        ("report --frames 3", "expected an option of rasca report, not --frames"),
    ],
)
def test_options_that_cannot_be_read_are_one_line(words, said, tmp_path):
    assert refused(*words.split(), "--folder", tmp_path).startswith(f"rasca: {said}")
    assert not list(tmp_path.iterdir())


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"g\+\+ is not installed"):
        activity.compile_simulator(tmp_path)


def test_make_passes_everything_on():
    given = dict(
        PRESET="p", SHAPE="1,2,3", LIBERTY="my lib", TECH="t", CLOCK_MHZ="5", ROW_GROUPS="3",
        WEIGHTS="w", POWER="1", FPS="5", LOW_POWER="1", EXPORT="my folder",
    )  # fmt: skip
    usage = (ROOT / "docs" / "asic.md").read_text()
    assert {*given, "SIZE"} == {"SIZE", *re.findall(r"\[([A-Z_]+)=", usage.split("\n")[2])}
    found = make.words("asic", given)
    assert found == [
        "asic", "--preset", "p", "--shape", "1,2,3", "--liberty", "my lib", "--technology", "t",
        "--clock", "5", "--row-groups", "3", "--weights", "w", "--power", "--fps", "5",
        "--low-power", "--export", "my folder",
    ]  # fmt: skip
    parse(found)
