"""Liberty files as libraries write them: small files with the constructs of each."""

import copy
import gzip
import json
import random
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from boards import tools
from sim.study import asic, liberty
from tests.test_asic import LIBRARY

ROOT = Path(__file__).resolve().parents[1]
FLOP = """cell (DFF) {{ area : 9; ff (IQ,IQN) {{ next_state : "D"; clocked_on : "CK"; }}
  pin (D) {{ direction : input; }} pin (CK) {{ direction : input; clock : true; }}
  pin (Q) {{ direction : output; function : "IQ"; }} }}""".format()
HEAD = """time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW";
  capacitive_load_unit (1,pf); nom_voltage : 1.2; nom_temperature : 25;
  power_lut_template (p) { variable_1 : input_transition_time; index_1 ("1, 2"); }
"""


def inverter(function: str, more: str = "", name: str = "INV", area: float = 1) -> str:
    return f"""cell ({name}) {{ area : {area}; {more} pin (A) {{ direction : input; }}
      pin (Y) {{ direction : output; function : {function}; }} }}"""


def read(tmp_path: Path, text: str, name: str = "t.lib") -> liberty.Library:
    path = tmp_path / name
    path.write_text(f"library (t) {{ {HEAD} {text} }}")
    return liberty.read(path)


# ---- numbers ----

POWER = """cell (BUF) {{ area : {area}; pin (Y) {{ direction : output; internal_power () {{
    related_pin : "A"; power (p) {{ index_1 ("{steps}"); values ("{values}"); }} }} }} }}"""


@pytest.mark.parametrize("head, cell, text", [
    (("1ns", "0ns"), {}, "expected a unit such as 1ns, not '0ns'"),
    (("1ns", "1e-30ns"), {}, "expected a unit such as 1ns, not '1e-30ns'"),
    (("1ns", "2e9ns"), {}, "expected a unit such as 1ns, not '2e9ns'"),
    (("1V", "0V"), {}, "expected a unit such as 1ns, not '0V'"),
    (("(1,pf)", "(0,pf)"), {}, "expected a unit such as 1ns, not '0pf'"),
    (("1.2", "nan"), {}, "expected a number below 1e+30, not nan"),
    (("25", "1e999"), {}, "expected a number below 1e+30, not 1e999"),
    ((), {"area": "inf"}, "expected a number below 1e+30, not inf"),
    ((), {"values": "0, nan"}, "expected a number below 1e+30, not nan"),
    ((), {"steps": "2, 2"}, "expected index_1 of a table to rise, not (2.0, 2.0)"),
    ((), {"steps": "2, 1"}, "expected index_1 of a table to rise, not (2.0, 1.0)"),
    ((), {"steps": "1e-310, 1e-320, 1"}, "expected index_1 of a table to rise, not"),
])  # fmt: skip
def test_numbers_of_which_nothing_can_be_made(tmp_path, monkeypatch, head, cell, text):
    given = {"area": "1", "steps": "1, 2", "values": "3, 4"}
    if head:
        assert HEAD.count(head[0]) == 1
        monkeypatch.setitem(globals(), "HEAD", HEAD.replace(*head))
    with pytest.raises(ValueError, match=re.escape(text)) as error:
        read(tmp_path, POWER.format(**given | cell) + FLOP)
    assert "\n" not in str(error.value)


def test_units_with_and_without_a_prefix(tmp_path):
    for unit, farads in (("(1,pf)", 1e-12), ("(1000, ff)", 1e-12), ("(1,F)", 1), ("(2,nF)", 2e-9)):
        head = HEAD.replace("(1,pf)", unit)
        cell = "cell (C) { pin (A) { direction : input; capacitance : 3; } }"
        (tmp_path / "c.lib").write_text(f"library (t) {{ {head} {cell} {FLOP} }}")
        pin = liberty.read(tmp_path / "c.lib").cells["C"].pins["A"]
        assert pin.capacitance == pytest.approx(3 * farads / 1e-12)


# ---- functions ----


@pytest.mark.parametrize(
    "function",
    [
        '"!A"', '"(!A)"', '"!(A)"', '"((!A))"', '"(A)\'"', '"A\'"', '"A ^ 1"', '"!A"', '"! A"',
        '"!(!(!A))"', '"1 ^ A"', '"(A\' 1)"', "!A", '"!A + 0"', '"!(A A)"',
    ],
)  # fmt: skip
def test_an_inverter_is_known_by_its_truth_table(function, tmp_path):
    assert read(tmp_path, inverter(function) + FLOP).inverter == "INV"


@pytest.mark.parametrize("function", ['"A"', '"!(!A)"', '"A ^ 0"', '"1"', '"B"', '"A $"'])
def test_what_is_no_inverter(function, tmp_path):
    with pytest.raises(ValueError, match="library t has no inverter"):
        read(tmp_path, inverter(function) + FLOP).inverter  # noqa: B018


def test_the_smallest_inverter_that_may_be_used(tmp_path):
    cells = [
        inverter('"!A"', name="BIG", area=4),
        inverter('"!A"', name="BANNED", area=1, more="dont_use : true;"),
        inverter('"!(A)"', name="SMALL", area=2),
    ]
    assert read(tmp_path, "".join(cells) + FLOP).inverter == "SMALL"


@pytest.mark.parametrize(
    "function, enough",
    [("A B", True), ("!(A B)", True), ("A + B", True), ("(A|B)'", True), ("A ^ B", False)],
)
def test_a_library_without_gates_is_refused_before_anything_is_mapped(function, enough, tmp_path):
    two = f"""cell (G) {{ area : 1;
      pin (A) {{ direction : input; }} pin (B) {{ direction : input; }}
      pin (Y) {{ direction : output; function : "{function}"; }} }}"""
    found = read(tmp_path, inverter('"!A"') + two + FLOP)
    if enough:
        return found.check_gates()
    with pytest.raises(
        ValueError, match="no NAND, AND, NOR or OR of two inputs .expected at least"
    ):
        found.check_gates()
    banned = two.replace("area", "dont_use : true; area").replace(function, "A B")
    with pytest.raises(ValueError, match="no NAND"):
        read(tmp_path, inverter('"!A"') + banned + FLOP).check_gates()


# ---- power ----


def test_power_of_each_supply_pin_is_added(tmp_path):
    """As OpenSTA: internal power over all supply pins, leakage over the primary power pins."""

    def energy(rail: str) -> str:
        tables = '{kind}_power (p) {{ values ("2, 2"); }}'
        both = tables.format(kind="rise") + tables.format(kind="fall")
        return f'internal_power () {{ related_pin : "A"; related_pg_pin : {rail}; {both} }}'

    leaks = [
        ("!A", "VDD", 200), ("A", "VDD", 100), ("!A", "VSS", 7), ("A", "VSS", 7),
        (None, "VDD", 150), (None, "VSS", 7),
    ]  # fmt: skip
    leakage = "".join(
        f"leakage_power () {{ value : {value}; {f'when : {chr(34)}{when}{chr(34)};' * bool(when)}"
        f" related_pg_pin : {rail}; }}"
        for when, rail, value in leaks
    )
    cell = f"""cell (INV) {{ area : 1; pg_pin (VDD) {{ pg_type : primary_power; }}
      pg_pin (VSS) {{ pg_type : primary_ground; }} {leakage} pin (A) {{ direction : input; }}
      pin (Y) {{ direction : output; function : "!A"; {energy("VDD")} {energy("VSS")} }} }}"""
    found = read(tmp_path, cell + FLOP).cells["INV"]
    assert found.leakage == pytest.approx(150)
    assert found.pins["Y"].energy(0) == pytest.approx(4)
    older = cell.replace("related_pg_pin", "power_level").replace(
        "internal_power", "internal_power"
    )
    assert read(tmp_path, older + FLOP).cells["INV"].pins["Y"].energy(0) == pytest.approx(4)


@pytest.mark.parametrize(
    "leakage, nanowatts",
    [
        ("cell_leakage_power : 5; leakage_power () { value : 9; }", 5),  # NanGate, IHP
        ('leakage_power () { value : "3"; when : "A"; }'
         'leakage_power () { value : "1"; when : "!A"; }', 2),  # gf180, sky130
        ('leakage_power () { value : 8; when : "A & B"; } leakage_power () { value : 4; }', 5),
        ('leakage_power () { value : 8; when : "A & B"; }', 8),  # nothing is said of the rest
        ('leakage_power () { value : 8; when : "A B"; }'
         'leakage_power () { value : 2; when : "A\'"; }', 4),  # 2/3 of what is told of is !A
        ("", 0.5),
    ],
)  # fmt: skip
def test_leakage_is_weighed_by_the_time_that_a_condition_holds(leakage, nanowatts, tmp_path):
    cell = inverter('"!A"', more=leakage)
    found = read(tmp_path, "default_cell_leakage_power : 0.5;" + cell + FLOP)
    assert found.cells["INV"].leakage == pytest.approx(nanowatts)


def test_energy_is_weighed_by_the_time_that_a_condition_holds(tmp_path):
    powers = "".join(
        f'internal_power () {{ when : "{when}"; power (p) {{ values ("{v}, {v}"); }} }}'
        for when, v in (("B C", 6), ("!(B C)", 2))
    )
    cell = f"""cell (AND) {{ area : 1; pin (A, B, C) {{ direction : input; }}
      pin (Y) {{ direction : output; function : "A B C"; {powers} }} }}"""
    found = read(tmp_path, cell + inverter('"!A"') + FLOP).cells["AND"]
    assert found.pins["Y"].energy(0) == pytest.approx((6 + 3 * 2) / 4)


# ---- how libraries are written ----

STYLES = {
    "yosys": """// test comment "with a quote
/* another { */
library(demo) { // the rest
  cell(NOT) { area: 3; pin(A) { direction: input; } pin(Y) { direction: output; function: "A'"; } }
  cell(DFF) { area: 18; ff(IQ, IQN) { clocked_on: C; next_state: D; }
    pin(C) { direction: input; clock: true; } pin(D) { direction: input; }
    pin(Q) { direction: output; function: "IQ"; } } }""",
    "ihp": """library (sg13g2) {
  comment : "see https://ihp.example // here"; delay_model : "table_lookup";
  capacitive_load_unit(1.0,pf); time_unit : "1ns"; define("process","timing","string");
  operating_conditions ("typ") { process : 1; voltage : 1.2; tree_type : "balanced_tree"; }
  cell (inv_1) { area : 5.4; cell_footprint : "inv"; pin (A) { direction : "input"; }
    pin (Y) { direction : "output"; function : "!(A)"; } }
  cell (dff) { area : 50; ff (IQ,IQN) { clocked_on : "CLK"; next_state : "D"; clear : "RESET_B'"; }
    pin (CLK) { clock : true; direction : "input"; } pin (D) { direction : "input"; }
    pin (RESET_B) { direction : "input"; }
    pin (Q) { direction : "output"; function : "IQ"; } } }""",
    "sky130": """library ("sky130_fd_sc_hd__tt") { technology("cmos"); bus_naming_style : "%s[%d]";
  time_unit : "1ns"; voltage_map("VGND", 0.0000000000); leakage_power_unit : "1nW";
  capacitive_load_unit(1.0000000000, "pf");
  input_voltage ("CMOS") { vil : 0.3 * VDD; vimin : -0.5; }
  cell ("inv_1") { leakage_power () { value : 0.1; when : "A"; } area : 3.7536000000;
    pg_pin ("VGND") { pg_type : "primary_ground"; } pin ("A") { direction : "input"; }
    pin ("Y") { direction : "output"; function : "(!A)"; } }
  cell ("dfxtp_1") { area : 20; ff ("IQ","IQ_N") { clocked_on : "CLK"; next_state : "D"; }
    pin ("CLK") { clock : "true"; direction : "input"; } pin ("D") { direction : "input"; }
    pin ("Q") { direction : "output"; function : "IQ"; } } }""",
    "gf180": """library ("gf180mcu") { time_unit : "1ns"; nom_voltage : 5 ;
  capacitive_load_unit (1,pf);
  cell ("inv_1") { area : 8.78 ; leakage_power() { when : "!I" ; value : "0.00011"; }
    pin ( "I" ) { direction : input ; } pin ( "ZN" ) { direction : output ; function : "(!I)" ; } }
  cell ("dffq_1") { area : 65 ;
    ff ( "IQ1" , "IQN1" ) { next_state : "D" ; clocked_on : "CLK" ; }
    pin ( "CLK" ) { clock : true ; direction : input ; } pin ( "D" ) { direction : input ; }
    pin ( "Q" ) { direction : output ; function : "IQ1" ; } } }""",
    "asap7": """library (asap7sc7p5t_INVBUF) { time_unit : "1ps"; capacitive_load_unit (1,ff);
  leakage_power_unit : "1pW"; define ("original_pin", "pin", "string");
  cell (INVx1_ASAP7_75t_R) { area : 0.04374; pg_pin (VDD) { pg_type : primary_power; }
    pin (A) { direction : input; } pin (Y) { direction : "output"; function : "(!A)"; } }
  cell (DFFHQN) { area : 0.29; ff (IQ,IQN) { clocked_on : "CLK"; next_state : "!D"; }
    pin (CLK) { direction : input; } pin (D) { direction : input; }
    pin (QN) { direction : output; function : "IQ"; } } }""",
    "nangate": """/* Nangate */
library (NangateOpenCellLibrary) {
  time_unit\t: "1ns" ;
  leakage_power_unit : "1nW"
  capacitive_load_unit (1,ff);
  library_features (report_delay_calculation, report_power_calculation);
  lu_table_template (t) { variable_1 : input_net_transition; index_1 ("0.1, \\
      0.2"); }
  cell (INV_X1) { area : 0.532; cell_leakage_power : 14.353185;
    pin (A) { direction : input; } pin (ZN) { direction : output; function : "!A"; } }
  cell (DFF_X1) { area : 4.5; ff ("IQ" , "IQN") { next_state : "D"; clocked_on : "CK"; }
    pin (D) { direction : input; } pin (CK) { direction : input; clock : true; }
    pin (Q) { direction : output; function : "IQ"; } pin (QN) { direction : output;
      function	: "IQN"; } }
}
""",
    "osu": """library (osu018_stdcells) {
  delay_model : table_lookup; in_place_swap_mode : match_footprint; time_unit : "1ns";
  capacitive_load_unit (1,pf); slew_lower_threshold_pct_rise : 30.0;
  cell (INVX1) { cell_footprint : inv; area : 16; cell_leakage_power : 0.0221741;
    pin(A) { direction : input; } pin(Y) { direction : output; function : "(!A)"; } }
  cell (DFFPOSX1) { area : 96;
    ff ("DS0000","P0002") { next_state : "D"; clocked_on : "CLK"; }
    pin(D) { direction : input; } pin(CLK) { direction : input; clock : true; }
    pin(Q) { direction : output; function : "DS0000"; } } }""",
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_librarys_style_is_read(style, packed, tmp_path):
    path = tmp_path / ("t.lib.gz" if packed else "t.lib")
    content = STYLES[style].encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    found = liberty.read(path)
    assert len(found.cells) == 2 and found.cells[found.inverter].area < 20
    assert found.texts == (STYLES[style],)


# ---- Yosys' own reading is the oracle ----


def yosys_reads(path: Path) -> dict:
    """Cells as Yosys builds them: area, ports, gates and flip-flops."""
    folder = ROOT / "build" / "test_liberty" / path.name  # some builds of Yosys see no other folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.lib").write_text(path.read_text())
    (folder / "read.ys").write_text(
        "read_liberty -ignore_miss_func -ignore_miss_data_latch t.lib\nwrite_json t.json\n"
    )
    words = [*tools.tool("yosys"), "read.ys"]
    tools.run(words, folder, "read.log", Console(quiet=True), "reading")
    return json.loads((folder / "t.json").read_text())["modules"]


GATES = {
    "$_NOT_": lambda a: 1 - a,
    "$_AND_": lambda a, b: a & b,
    "$_OR_": lambda a, b: a | b,
    "$_XOR_": lambda a, b: a ^ b,
}


def truth(module: dict, output: str, inputs: tuple[str, ...]) -> str:
    """Table of an output for the inputs 0, 1, 2, ..., the first one the lowest bit."""
    drivers = {cell["connections"]["Y"][0]: cell for cell in module["cells"].values()}

    def value(bit, known):
        if bit in known:
            return known[bit]
        cell = drivers[bit]
        wires = [cell["connections"][port][0] for port in "AB" if port in cell["connections"]]
        return GATES[cell["type"]](*(value(wire, known) for wire in wires))

    found = ""
    for i in range(1 << len(inputs)):
        known = {"0": 0, "1": 1}
        for k, name in enumerate(inputs):
            known[module["ports"][name]["bits"][0]] = i >> k & 1
        found += str(value(module["ports"][output]["bits"][0], known))
    return found


def compared(path: Path) -> int:
    """Holds the reader against Yosys; how many truth tables were compared."""
    found, wanted, tables = liberty.read(path), yosys_reads(path), 0
    for name, module in wanted.items():
        cell = found.cells[name]
        assert cell.area == pytest.approx(float(module["attributes"]["area"]))
        ports = {port: one["direction"] for port, one in module["ports"].items()}
        known = {pin: one.direction for pin, one in cell.pins.items() if one.direction in SIDES}
        assert known == ports
        kinds = {one["type"] for one in module["cells"].values()}
        assert cell.flip_flop == any(kind.startswith(("$_DFF", "$_SDFF")) for kind in kinds)
        inputs = tuple(port for port, side in ports.items() if side == "input")
        for port, side in ports.items():
            if side == "output" and kinds <= set(GATES):
                function = cell.pins[port].function
                assert liberty.table(function, inputs) == truth(module, port, inputs), function
                tables += 1
    inverters = [
        name
        for name, module in wanted.items()
        if len(module["ports"]) == 2
        and any(
            truth(module, out, (ins,)) == "10"
            for ins in module["ports"]
            for out in module["ports"]
            if [module["ports"][p]["direction"] for p in (ins, out)] == ["input", "output"]
            and {one["type"] for one in module["cells"].values()} <= set(GATES)
        )
    ]
    assert found.inverter in inverters
    return tables


SIDES = ("input", "output", "inout")


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_read_as_yosys_reads_it(style, tmp_path):
    path = tmp_path / f"{style}.lib"
    path.write_text(STYLES[style])
    assert compared(path) == 1


def test_a_real_library_is_read_as_yosys_reads_it():
    path = ROOT.parent / "shared" / "data" / "liberty" / "sg13g2_stdcell_typ_1p20V_25C.lib"
    if not path.is_file():
        pytest.skip("the library of IHP is not there")
    assert compared(path) > 50


def random_function(rng: random.Random, depth: int = 3) -> str:
    """A function of A, B and C with every operator in every place."""
    if depth == 0 or rng.random() < 0.2:
        word = rng.choice("ABC")
        return rng.choice((word, f"!{word}", f"{word}'"))
    parts = [random_function(rng, depth - 1) for _ in range(rng.choice((1, 2, 2, 3)))]
    text = parts[0]
    for part in parts[1:]:
        text += rng.choice((" ", "*", " & ", "+", " | ", "^", " ^ ")) + part
    form = rng.choice(("{}", "({})", "!({})", "({})'"))
    return form.format(text)


def test_functions_are_read_as_yosys_reads_them(tmp_path):
    rng = random.Random(12)
    pins = "".join(f"pin ({name}) {{ direction : input; }} " for name in "ABC")
    cells = "".join(
        f"""cell (F{i}) {{ area : 1; {pins}
        pin (Y) {{ direction : output; function : "{random_function(rng)}"; }} }}"""
        for i in range(200)
    )
    path = tmp_path / "functions.lib"
    path.write_text(f"library (t) {{ {HEAD} {cells} {inverter(chr(34) + '!A' + chr(34))} {FLOP} }}")
    assert compared(path) == 201


def test_the_comparison_finds_an_error(tmp_path, monkeypatch):
    """One bit of one table, one pin and one area are enough."""
    path = tmp_path / "t.lib"
    path.write_text(STYLES["ihp"])
    compared(path)
    table = liberty.table
    monkeypatch.setattr(liberty, "table", lambda *words: table(*words)[::-1])
    with pytest.raises((AssertionError, ValueError)):
        compared(path)
    monkeypatch.setattr(liberty, "table", table)
    changes = (
        lambda modules: modules["inv_1"]["attributes"].update(area="5.5"),
        lambda modules: modules["inv_1"]["ports"]["A"].update(direction="output"),
        lambda modules: modules["dff"].update(cells={}),
    )
    whole = yosys_reads(path)
    for change in changes:
        broken = copy.deepcopy(whole)
        change(broken)
        monkeypatch.setattr(sys.modules[__name__], "yosys_reads", lambda _, broken=broken: broken)
        with pytest.raises(AssertionError):
            compared(path)


def test_a_library_of_several_files(tmp_path):
    one, two = tmp_path / "inv.lib", tmp_path / "seq.lib.gz"
    head = (
        'time_unit : "1ps"; nom_voltage : 0.7; nom_temperature : 25; leakage_power_unit : "1{u}W";'
    )
    cell = inverter('"!(A)"', more="cell_leakage_power : 4;")
    one.write_text(f"library (inv) {{ {head.format(u='p')} {cell} }}")
    two.write_bytes(gzip.compress(f"library (seq) {{ {head.format(u='n')} {FLOP} }}".encode()))
    assert liberty.files(f"{one} {two}") == liberty.files(f"{one},{two}") == (one, two)
    found = liberty.read(*liberty.files(f"{one} {two}"))
    assert (found.name, found.time_ns) == ("inv + seq", pytest.approx(1e-3))
    assert set(found.cells) == {"INV", "DFF"} and found.inverter == "INV"
    assert found.cells["INV"].leakage == pytest.approx(4e-3)  # in its own file's unit
    with pytest.raises(ValueError, match="cell INV is in another of the files"):
        liberty.read(one, one, two)
    with pytest.raises(ValueError, match="no flip-flop"):
        liberty.read(one)
    hot = tmp_path / "hot.lib"
    hot.write_text(f"library (hot) {{ nom_temperature : 125; {FLOP} }}")
    with pytest.raises(ValueError, match=r"hot.lib is of 1 V, 125 C, .*inv.lib of 0.7 V, 25 C"):
        liberty.read(one, hot)
    two.write_bytes(two.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"seq.lib.gz: ") as error:
        liberty.read(one, two)
    assert "\n" not in str(error.value)


def test_a_name_with_blanks_is_one_file(tmp_path):
    path = tmp_path / "my own.lib"
    path.write_text("")
    assert liberty.files(path) == (path,)
    assert liberty.files("not there, at all") == (Path("not there, at all"),)
    assert liberty.files("a.lib b.lib.gz") == (Path("a.lib"), Path("b.lib.gz"))


def test_yosys_maps_to_several_files():
    folder = ROOT / "build" / "test_liberty"  # some builds of Yosys see no other folder
    folder.mkdir(parents=True, exist_ok=True)
    first, flop = LIBRARY.index("  cell (INV)"), LIBRARY.index("  cell (DFF)")
    texts = f"{LIBRARY[:flop]} }}", f"{LIBRARY[:first]} // flops\n{LIBRARY[flop:]}"
    for number, text in enumerate(texts):
        (folder / f"{number}.lib").write_text(text)
    found = liberty.read(folder / "0.lib", folder / "1.lib")
    for name, text in zip(asic.copies(found), found.texts, strict=True):
        (folder / name).write_text(text)
    names = " ".join(f"-liberty {name}" for name in asic.copies(found))
    assert names == "-liberty cells.lib -liberty cells1.lib"
    (folder / "cells.constr").write_text("set_driving_cell INV\nset_load 1 [all_outputs]\n")
    (folder / "t.v").write_text(
        "module t(input c, a, b, output reg q); always @(posedge c) q <= a ^ b; endmodule"
    )
    script = "read_verilog t.v\nsynth -run coarse:fine -top t\ntechmap\n"
    (folder / "map.ys").write_text(script + asic._MAPPED.format(liberty=names, period="1000"))
    tools.run([*tools.tool("yosys"), "map.ys"], folder, "map.log", Console(quiet=True), "mapping")
    module = json.loads((folder / "mapped.json").read_text())["modules"]["t"]
    assert {cell["type"] for cell in module["cells"].values()} == {"XOR2", "DFF"}
