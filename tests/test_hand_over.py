"""sim/study/hand_over.py: what `make asic EXPORT=folder` writes, read back."""

import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from boards import tools
from hw.plan.awake import CLOCKS
from hw.top import Rasca
from sim.study import asic, hand_over
from sim.study.mapped import TOP
from tests.places import in_build
from tests.test_asic import ENGINE, MODEL, ROOT, TECHNOLOGY, WEIGHTS
from tests.test_rated import library as gated_library

QUIET = Console(quiet=True)
FILES = {
    "rasca.v", "rasca_mapped.v", "macros.v", "macros.json", "rasca.sdc", "floorplan.json",
    "config.mk", "config.json",
}  # fmt: skip
library = gated_library


@pytest.fixture(scope="module")
def place():
    with in_build("test_hand_over") as folder:
        yield folder


@pytest.fixture(scope="module")
def made(place, library):
    """The small engine, asleep between rows, and the folder that is handed over."""
    design = Rasca(MODEL, replace(ENGINE, sleep=True), WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asic, "SMALLEST_SRAM", 24)
        found = asic.study(
            MODEL,
            design.plan.engine,
            WEIGHTS,
            library=list(library.sources),
            technology=TECHNOLOGY,
            clock_mhz=50,
            groups=0,
            folder=place / "work",
            console=QUIET,
            rate=30,
            export=place / "out",
        )
    return found, place / "out"


def yosys(folder, script):
    """What Yosys prints last as JSON: `stat` of a script."""
    (folder / "back.ys").write_text(script + "\ntee -o back.json stat -json\n")
    tools.run([*tools.tool("yosys"), "back.ys"], folder, "back.log", QUIET, "reading")
    return json.loads((folder / "back.json").read_text())


def copy(made, place, name):
    """The folder once more, with the library beside it."""
    folder = place / name
    shutil.copytree(made[1], folder)
    shutil.copy(place / "gated.lib", folder / "cells.lib")
    return folder


READ = "read_liberty -lib cells.lib\nread_verilog {} macros.v\nhierarchy -check -top rasca\n"


def boxes(found):
    """Cells of all instances by kind, from `stat`."""
    modules = {name.removeprefix("\\"): module for name, module in found["modules"].items()}
    count = Counter()

    def enter(module):
        for kind, number in modules[module]["num_cells_by_type"].items():
            for _ in range(number if kind in modules else 0):
                enter(kind)
            count[kind] += 0 if kind in modules and not kind.startswith("sram_") else number

    enter(TOP)
    return +count


def test_the_files(made):
    assert {path.name for path in made[1].iterdir()} == FILES
    for path in made[1].iterdir():
        assert str(made[1].parent) not in path.read_text(), path.name


def test_yosys_reads_the_engine_back(made, place):
    """With all memories outside, one gate at the root of each clock, and the registers that it
    had when it was written."""
    folder = copy(made, place, "rtl")
    script = READ.format("rasca.v") + "proc\nopt_clean\ncheck -assert\nmemory_collect"
    found = boxes(yosys(folder, script))
    rows = made[0]["sram"]
    wanted = Counter()
    for row in rows:
        wanted[f"sram_{row['words']}x{row['bits']}"] += row["banks"]
    assert {kind: n for kind, n in found.items() if kind.startswith("sram_")} == wanted
    assert found["ICG"] == len(CLOCKS)


def test_yosys_reads_the_netlist_back(made, place, library):
    folder = copy(made, place, "netlist")
    found = boxes(yosys(folder, READ.format("rasca_mapped.v") + "check -assert -mapped"))
    cells = {kind: n for kind, n in found.items() if kind in library.cells}
    assert sum(cells.values()) == made[0]["cells"]
    assert cells["DFF"] == made[0]["flip_flops"]
    assert set(found) - set(cells) == {one["module"] for one in macros(made)}


def macros(made):
    return json.loads((made[1] / "macros.json").read_text())


def test_a_memory_that_is_missing_is_found(made, place):
    folder = copy(made, place, "less")
    text = (folder / "macros.v").read_text()
    name = macros(made)[0]["module"]
    text = re.sub(rf"module {name} .*?endmodule\n", "", text, flags=re.S)
    (folder / "macros.v").write_text(text)
    with pytest.raises(RuntimeError, match=f"\\\\{name}' referenced"):
        yosys(folder, READ.format("rasca.v"))


def test_macros(made):
    """Every memory is in the list, with its instances; sizes are the technology's."""
    found, rows = macros(made), made[0]["sram"]
    assert {name for one in found for name in one["memories"]} == {row["memory"] for row in rows}
    assert sum(len(one["instances"]) for one in found) == sum(row["banks"] for row in rows)
    text = (made[1] / "macros.v").read_text()
    page = (ROOT / "docs" / "asic.md").read_text()
    for one in found:
        assert text.count(f"module {one['module']} (") == 1
        assert one["side_um"] ** 2 == pytest.approx(one["area_um2"], rel=0.01)
        for key in one:
            assert f"`{key}`" in page, key
    hints = json.loads((made[1] / "floorplan.json").read_text())
    assert len(hints["macros"]) == sum(len(one["instances"]) for one in found)
    assert {one["edge"] for one in hints["macros"]} <= {"left", "right", "top", "bottom"}
    width, height = hints["core_um"]
    assert hints["cells_um2"] + hints["macros_um2"] == pytest.approx(
        hints["utilisation"] * width * height, rel=0.01
    )
    assert hints["cells_um2"] == pytest.approx(made[0]["area_um2"]["cells"], rel=1e-3)


def test_constraints(made):
    """Every port has its delay, every clock its gate, and both netlists have that gate."""
    text = (made[1] / "rasca.sdc").read_text()
    design = Rasca(MODEL, replace(ENGINE, sleep=True), WEIGHTS)
    ways = {"input": set(), "output": set()}
    for way, names in re.findall(r"^set_(\w+)_delay .* \[get_ports \{(.*)\}\]$", text, flags=re.M):
        ways[way] = {name.strip("{}").removesuffix("[*]") for name in names.split()}
    outputs = {name for name in ways["output"] if name in design.ports}
    assert outputs == ways["output"] and ways["input"] - set(design.ports) == {"rst"}
    assert ways["input"] | ways["output"] == set(design.ports) | {"rst"}
    assert "create_clock -name clk -period $period [get_ports clk]" in text
    assert "set period 20.0000" in text  # 50 MHz, ns
    made_clocks = re.findall(
        r"create_generated_clock -name (\w+) -source \[get_ports clk\] -divide_by 1 "
        r"\[get_pins -hierarchical \*(\w+)/(\w+)\]", text,
    )  # fmt: skip
    assert {name for name, *_ in made_clocks} == set(CLOCKS)
    for netlist in ("rasca.v", "rasca_mapped.v"):
        verilog = (made[1] / netlist).read_text()
        for name, gate, pin in made_clocks:
            assert gate == f"{name}_gate"
            assert re.search(rf"\bICG \\?{gate} \(\s*[^;]*\.{pin}\(", verilog), (netlist, gate)


def test_configurations(made):
    """Of both flows: files that are there, and each macro with its instances."""
    config = json.loads((made[1] / "config.json").read_text())
    named = [*config["VERILOG_FILES"], *config["EXTRA_VERILOG_MODELS"], config["PNR_SDC_FILE"]]
    assert {name.removeprefix("dir::") for name in named} <= FILES
    assert config["CLOCK_PERIOD"] == 20 and config["DESIGN_NAME"] == TOP
    assert set(config["MACROS"]) == {one["module"] for one in macros(made)}
    text = (made[1] / "config.mk").read_text()
    for name in re.findall(r"\$\(RASCA\)([\w.]+)", text):
        assert name in FILES or name == "macros", name
    assert re.search(r"export CORE_UTILIZATION = \d\d$", text, flags=re.M)


def test_opensta_takes_the_constraints(made, place):
    if not shutil.which("sta"):
        pytest.skip("OpenSTA's sta is not on PATH")
    folder = copy(made, place, "sta")
    (folder / "back.tcl").write_text(
        "read_liberty cells.lib\nread_verilog rasca_mapped.v\nlink_design rasca\n"
        "read_sdc rasca.sdc\nreport_checks\nexit\n"
    )
    words = ["sta", "-no_splash", "-exit", "back.tcl"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert "Error" not in done.stdout + done.stderr and "slack" in done.stdout


def test_without_a_library(place):
    """One clock, no netlist of cells."""
    design = Rasca(MODEL, ENGINE, WEIGHTS)
    text = hand_over.constraints(
        {"clk": {"direction": "input", "bits": [2]}, "a": {"direction": "input", "bits": [3, 4]}},
        [], 100, 1.0,
    )  # fmt: skip
    assert "generated" not in text and "{a[*]}" in text
    hints = hand_over.floorplan([], {}, design.plan, TECHNOLOGY)
    assert hints["cells_estimated"] and hints["macros_um2"] == 0
