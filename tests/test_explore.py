"""sim/study/explore.py: spaces, their points, runs that are stopped, and what comes out."""

import itertools
import json
import math
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from golden.config import PRESETS, preset
from hw.plan import compile_program
from hw.plan.cost import cost
from hw.plan.engine_config import EngineConfig
from rasca import make
from sim.study import asic, explore, point
from sim.study.energy import energy, technology
from sim.study.explore_plots import draw
from sim.study.point import Design, Point, Use
from tests.command import invoke, parse

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "presets": ["vww_105x120", "vww_105x120_full"],
    "shapes": ["8,1,2"],
    "pixels": ["n"],
    "channels": [1, 2],
    "lanes": [1, 2],
    "technologies": ["ihp130", "45nm"],
}
USE = Use(technology="ihp130", clock_mhz=50.0, frames_per_s=0.0)
ASLEEP = EngineConfig.parse("8,1,2", "loaded", sleep=True)
KEYS = (
    "preset shape weight_memory parts sleep technology clock_mhz frames_per_s sram_area "
    "multipliers cycles_row_group cycles_frame mac_utilisation on_chip_bytes area_mm2 energy_uj "
    "pj_per_mac power_mw fastest_frames_per_s sensor_frames_per_s slowest_clock_mhz sensor_uj "
    "sensor_mw"
).split()


def run(*words):
    return invoke("explore", *words, "--workers", "0")


def written(folder, content=SMALL, name="small.json"):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


# ---- spaces ----


def test_the_default_space():
    wanted = explore.points(explore.DEFAULT_SPACE)
    assert len(wanted) == len(set(wanted)) >= 1000
    assert {one.design.preset for one in wanted} == set(PRESETS)
    assert len({one.use.technology for one in wanted}) == 3
    assert {one.use.sram_area for one in wanted} == {1.1, 2.0}
    assert {one.design.parts for one in wanted} == {"parallel", "low_power"}
    assert all(one.design.sleep for one in wanted)
    for design in {one.design for one in wanted}:
        assert design == point.resolve(design)


FORMATS = {
    "a.json": json.dumps({"space": [SMALL]}),
    "b.json": json.dumps(SMALL),
    "c.toml": """[[space]]
        presets = ["vww_105x120", "vww_105x120_full"]
        shapes = ["8, 1,2"]
        pixels = ["n"]
        channels = [1, 2]
        lanes = [1, 2]
        technologies = ["ihp130", "45nm"]""",
    "d.yaml": """
presets: [vww_105x120, vww_105x120_full]
shapes: ["8,1,2"]
pixels: [n]
channels: [1, 2]
lanes: [1, 2]
technologies: [ihp130, 45nm]
""",
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    path = tmp_path / name
    path.write_text(FORMATS[name])
    assert explore.points(explore.read_space(path)) == explore.points([SMALL])


def test_the_example_of_the_docs_is_possible(tmp_path):
    page = (ROOT / "docs" / "explore.md").read_text()
    path = tmp_path / "example.yaml"
    path.write_text(page.split("```yaml")[1].split("```")[0])
    wanted = explore.points(explore.read_space(path))
    assert len(wanted) == 2 * 18 * 2 + 2 * 3
    tasks = {}
    for one in wanted:
        tasks.setdefault(one.design, []).append(one.use)
    for design, uses in tasks.items():
        assert not [result for result in point.evaluate(design, uses) if "error" in result]
    for key in [*explore.KEYS, *KEYS]:
        assert f"`{key}`" in page, key


def test_points_are_in_order_and_each_once():
    wanted = explore.points([SMALL, SMALL])
    assert len(wanted) == 2 * 5 * 2
    assert wanted[0] == Point(
        Design(preset="vww_105x120", shape="8,1,2"),
        Use(technology="ihp130", clock_mhz=100.0, frames_per_s=0.0),
    )
    assert [one.design.shape for one in wanted[:10:2]] == [
        "8,1,2", "7,1,1", "7,1,2", "7,2,1", "7,2,2",
    ]  # fmt: skip
    more = {**SMALL, "clocks_mhz": [1, 2.5], "frames_per_s": [0, 30]}
    assert len(explore.points([more])) == 4 * len(wanted)
    both = {**SMALL, "parts": ["parallel", "low_power"], "sleep": [True, False]}
    assert len(explore.points([both])) == 4 * len(wanted)
    assert len(explore.points([{**SMALL, "sram_areas": [1, 1.1, 3]}])) == 3 * len(wanted)
    wide = explore.points([{**SMALL, "pixels": ["n+2", 9], "shapes": ["n+2,1,1"]}])
    assert {one.design.shape[0] for one in wide} == {"9"}


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("a.txt", "", "must end with .yaml, .toml or .json"),
        ("a.json", "{", "cannot be read: not a JSON file (Expecting"),
        ("a.toml", "a = [", "cannot be read: not a TOML file ("),
        ("a.yaml", "a: [", "cannot be read: not a YAML file ("),
        ("a.json", "[]", "has no points"),
        ("a.json", "3", "block 1: must be keys with lists"),
        ("a.json", '[{"shapes": ["8,1,1"]}, {"shape": []}]', "block 2: 'shape' must be one of"),
        ("a.json", '{"shapes": []}', "shapes must be a list with something in it"),
        ("a.json", '{"shapes": "8,1,1"}', "shapes must be a list"),
        ("a.json", '{"shapes": [8]}', "shapes must be texts, not 8"),
        ("a.json", '{"lanes": ["two"]}', "lanes must be whole numbers, not 'two'"),
        ("a.json", '{"lanes": ["n"]}', "lanes must be whole numbers, not 'n'"),
        ("a.json", '{"pixels": [1.5]}', "pixels must be whole numbers, not 1.5"),
        ("a.json", '{"pixels": ["north"]}', "pixels must be whole numbers, not 'north'"),
        ("a.json", '{"clocks_mhz": [true]}', "clocks_mhz must be numbers, not True"),
        ("a.json", '{"sleep": [1]}', "sleep must be true or false, not 1"),
        ("a.json", '{"pixels": [8], "lanes": [1]}', "needs shapes, or pixels, channels and lanes"),
    ],
)
def test_a_space_that_cannot_be_read(name, text, said, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    result = run("--space", path, "--folder", tmp_path)
    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1


NO_FILE = (
    "expected an existing file or folder, not a name that nothing has (No such file or directory)"
)


def test_no_such_space(tmp_path):
    result = run("--space", tmp_path / "none.yaml", "--folder", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"none.yaml: {NO_FILE}\n")


def test_no_such_library(tmp_path):
    result = run("--space", written(tmp_path), "--folder", tmp_path / "out", "--synthesise", 1,
                 "--liberty", tmp_path / "none.lib")  # fmt: skip
    assert result.exit_code == 2
    assert result.stderr.endswith(f"none.lib: {NO_FILE}\n")
    assert not (tmp_path / "out").exists()


# ---- points ----


def test_figures_are_the_cost_models():
    design = Design(preset="vww_105x120", shape="8,1,2")
    slow = Use(technology="45nm", clock_mhz=50.0, frames_per_s=10.0)
    found = point.evaluate(design, [USE, slow])
    assert [list(result) for result in found] == [KEYS, KEYS]
    counted = cost(compile_program(preset("vww_105x120"), ASLEEP))
    for result, use, rate in zip(found, (USE, slow), (None, 10.0), strict=True):
        tech = technology(use.technology)
        joules = energy(counted, tech, 50, rate)["total"]
        assert result["energy_uj"] == pytest.approx(joules, abs=1e-4)
        assert result["cycles_frame"] == counted.cycles_frame
        assert result["on_chip_bytes"] == counted.on_chip_bytes["total"]
        assert result["multipliers"] == 16 == counted.multipliers
        assert result["pj_per_mac"] == pytest.approx(1e6 * joules / counted.macs_frame, abs=1e-4)
        assert result["mac_utilisation"] == pytest.approx(counted.mac_utilisation, abs=1e-6)
        frames = rate or 50e6 / counted.cycles_frame
        assert result["power_mw"] == pytest.approx(joules * frames / 1e3, abs=1e-4)
        sram = sum(
            memory.count * tech.memory(memory).area_um2
            for memory in counted.memories
            if memory.name != "state"
        )
        area = sram + counted.register_bits * tech["logic_area"]
        assert result["area_mm2"] == pytest.approx(area / 1e6, abs=1e-4)


def test_sleep_and_few_registers_save_energy():
    """In this order, at a sensor's rate; and the front and the line name the record."""
    kinds = [("parallel", False), ("parallel", True), ("low_power", True)]
    design = Design(preset="vww_105x120", shape="8,1,2")
    slow = replace(USE, frames_per_s=10.0)
    results = [
        point.evaluate(replace(design, parts=parts, sleep=sleep), [slow])[0]
        for parts, sleep in kinds
    ]
    joules = [one["energy_uj"] for one in results]
    assert joules[0] > 1.5 * joules[1] and joules[1] > 1.1 * joules[2]
    assert results[1]["area_mm2"] > results[2]["area_mm2"]
    # its biases have a bit more, for zeros that are 0: that many bytes, and nothing else
    assert results[2]["on_chip_bytes"] - results[1]["on_chip_bytes"] < 100
    assert point.pareto(results) == [1, 2] and point.pareto([results[0], results[2]]) == [0, 1]
    (entry,) = point.choose(results, [2])
    assert entry["why"].startswith("vww_105x120 8,1,2 low-power in ihp130")


def test_larger_macros_that_save_energy():
    """More area for less energy, nothing else; with the table's factor it is the table's choice."""
    design = Design(preset="vww_210x240", shape="15,3,2")
    uses = [replace(USE, sram_area=factor) for factor in (1.0, point.SRAM_AREA, 2.0, 4.0)]
    found = point.evaluate(design, uses)
    for less, more in itertools.pairwise(found):
        assert less["area_mm2"] <= more["area_mm2"] and less["energy_uj"] >= more["energy_uj"]
        assert less["cycles_frame"] == more["cycles_frame"]
        assert less["on_chip_bytes"] == more["on_chip_bytes"]
    assert found[1]["area_mm2"] < found[2]["area_mm2"]
    assert found[1]["energy_uj"] > found[2]["energy_uj"]
    tech = technology(USE.technology)
    assert tech.area_slack == point.SRAM_AREA
    macro = replace(tech, area_slack=2.0).sram(4096, 32)
    least = tech.sram(4096, 32)
    assert macro.read_pj < least.read_pj and macro.area_um2 <= 2 * least.area_um2 / 1.0
    # they are compared with each other: which macros to take is what is asked
    assert len(point.pareto(found)) >= 2


@pytest.mark.parametrize(
    "design, use, said",
    [
        ({"shape": "8,1,3"}, {}, "lanes = 3 gives 3 lanes a head"),
        ({"shape": "2,1,1"}, {}, "pixels must be 3..64, not 2"),
        ({"shape": "8"}, {}, "a shape is three whole numbers"),
        ({"preset": "vww"}, {}, "preset must be one of"),
        ({"weight_memory": "tape"}, {}, "weight_memory must be"),
        ({"parts": "serial"}, {}, "parts must be one of parallel, low_power, not 'serial'"),
        ({}, {"technology": "7nm"}, "technology must be one of"),
        ({}, {"clock_mhz": 0.0}, "clocks_mhz must be above 0, not 0"),
        ({}, {"frames_per_s": -1.0}, "frames_per_s must be at least 0, not -1"),
        ({}, {"frames_per_s": 1e6}, "need a clock of at least"),
        ({}, {"sram_area": 0.9}, "sram_areas must be at least 1, not 0.9"),
    ],
)
def test_impossible_points(design, use, said):
    wanted = Design(**{"preset": "vww_105x120", "shape": "8,1,1", **design})
    changed = Use(**{"technology": "ihp130", "clock_mhz": 50.0, "frames_per_s": 0.0, **use})
    found = point.evaluate(wanted, [changed, USE])
    assert said in found[0]["error"] and found[0]["impossible"]
    assert "\n" not in found[0]["error"]
    assert ("error" in found[1]) == bool(design)


def dominated(a, b):
    """b betters a."""
    pairs = [(a[name], b[name]) for name in point.OBJECTIVES]
    return all(y <= x for x, y in pairs) and any(y < x for x, y in pairs)


def test_pareto_front():
    rng = random.Random(7)
    results = [
        {
            "preset": rng.choice("ab"),
            "technology": rng.choice("xy"),
            "clock_mhz": 1,
            "frames_per_s": 0,
            "sram_area": 1.1,
            **{name: rng.randint(0, 4) for name in point.OBJECTIVES},
        }
        for _ in range(300)
    ]
    same = ("preset", "technology")
    wanted = [
        i
        for i, a in enumerate(results)
        if not any(dominated(a, b) for b in results if all(a[name] == b[name] for name in same))
    ]
    assert point.pareto(results) == wanted
    assert 4 < len(wanted) < 150
    assert point.pareto([]) == []


def test_a_point_is_taken_and_the_line_says_why():
    """At the sensor's rate with the slowest clock: a wide array may rest, a narrow one may not."""
    shapes = ("8,1,1", "8,1,2", "8,2,2", "8,3,2")
    uses = [replace(USE, clock_mhz=100.0, sram_area=area) for area in (1.1, 2.0)]
    results = [
        one
        for shape in shapes
        for one in point.evaluate(Design(preset="vww_105x120", shape=shape), uses)
    ]
    one = results[2]  # 8,1,2
    counted = cost(compile_program(preset("vww_105x120"), ASLEEP))
    assert one["sensor_frames_per_s"] == 30
    least = 30 * max(counted.cycles_frame, 105 / 5 * counted.camera_period) / 1e6
    assert one["slowest_clock_mhz"] == pytest.approx(least, abs=1e-4)
    joules = energy(counted, technology("ihp130"), one["slowest_clock_mhz"] * 1.0001, 30)["total"]
    assert one["sensor_uj"] == pytest.approx(joules, rel=1e-3)
    assert one["sensor_mw"] == pytest.approx(one["sensor_uj"] * 30 / 1e3, abs=1e-4)
    front = point.pareto(results)
    (entry,) = point.choose(results, front)
    assert entry["point"] in front
    products = {i: math.prod(results[i][name] for name in point.OBJECTIVES) for i in front}
    assert products[entry["point"]] == min(products.values())
    for word in ("vww_105x120 8,", " mW at 30 frames/s", " MHz", " mm2", " bytes", "least product"):
        assert word in entry["why"], word
    assert "\n" not in entry["why"]
    slow = [{**one, "clock_mhz": 0.5 * one["slowest_clock_mhz"]} for one in results]
    assert point.choose(slow, point.pareto(slow)) == []


def test_few_points_of_a_space_are_on_a_front(tmp_path):
    """A space for one process and one rate: today 20 of 20 were on "a front"."""
    space = {
        "presets": ["vww_105x120"],
        "pixels": ["n", "n+1"],
        "channels": [1, 2, 3],
        "lanes": [1, 2, 4],
        "technologies": ["22nm"],
        "frames_per_s": [30],
    }
    result = run("--space", written(tmp_path, space), "--folder", tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "small" / "explore.json").read_text())
    assert len(found["points"]) >= 12 and len(found["pareto"]) < len(found["points"]) / 2
    (entry,) = found["chosen"]
    assert f"take {entry['why']}" in " ".join(result.output.split())


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
def test_numbers_that_are_none(value, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(f"presets: [vww_105x120]\nshapes: ['8,1,2']\nclocks_mhz: [{value}]\n")
    with pytest.raises(ValueError, match="clocks_mhz must be numbers, not"):
        explore.read_space(path)


def test_variants_of_a_network_have_colours_of_their_own():
    from sim.study.explore_plots import COLOURS, shade

    for count in (2, 5, 8):
        assert len({shade(COLOURS[0], i, count) for i in range(count)}) == count
    assert shade(COLOURS[0], 0, 1) == COLOURS[0]


# ---- runs ----


def test_a_run(tmp_path):
    result = run("--space", written(tmp_path), "--folder", tmp_path)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "small"
    found = json.loads((folder / "explore.json").read_text())
    assert list(found) == [
        "digest",
        "objectives",
        "points",
        "pareto",
        "chosen",
        "failed",
        "synthesised",
    ]
    # full attention and 7 columns: the shape 8,1,2 is possible as well
    assert len(found["points"]) == 20 and found["failed"] == []
    assert all(list(one) == KEYS for one in found["points"])
    wanted = [one.key() for one in explore.points([SMALL])]
    assert "\N{HORIZONTAL ELLIPSIS}" not in result.output
    assert [{key: one[key] for key in KEYS[:9]} for one in found["points"]] == wanted
    assert found["pareto"] == point.pareto(found["points"])
    assert found["chosen"] == point.choose(found["points"], found["pareto"])
    assert len(found["chosen"]) == 4  # networks x technologies
    assert (folder / "explore.png").read_bytes()[:4] == b"\x89PNG"
    for word in ("vww_105x120_full", "take vww_105x120 ", "20 points", "on a Pareto front"):
        assert word in result.output, word
    widest = max(len(line) for line in result.output.splitlines())
    assert widest <= 80


def test_impossible_points_are_told_and_the_others_go_on(tmp_path):
    space = {**SMALL, "presets": ["vww_105x120", "vww_1"], "shapes": ["8,1,3", "8,9,1"]}
    result = run("--space", written(tmp_path, space), "--folder", tmp_path)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert len(lines) == 2 + 2 + 4  # vww_1 with n columns: its four shapes
    assert lines[0].startswith("impossible: vww_105x120 8,1,3: lanes = 3 gives")
    assert lines[0].endswith("(2 points)")
    assert any("channels must be 1..pixels (8), not 9" in line for line in lines)
    assert sum("preset must be one of" in line for line in lines) == 6
    found = json.loads((tmp_path / "small" / "explore.json").read_text())
    assert (len(found["points"]), len(found["failed"])) == (8, 16)
    assert all(entry["impossible"] for entry in found["failed"])


def test_nothing_possible(tmp_path):
    space = {"presets": ["vww_105x120"], "shapes": ["2,1,1"]}
    result = run("--space", written(tmp_path, space), "--folder", tmp_path)
    assert result.exit_code == 2
    assert "pixels must be 3..64, not 2 (3 points)" in result.stderr
    assert not (tmp_path / "small" / "explore.png").exists()


def test_a_failure_does_not_lose_the_others(tmp_path, monkeypatch):
    true = point.cost

    def broken(plan):
        if str(plan.engine) == "7,2,1":
            raise KeyError("a mistake\nof ours")
        return true(plan)

    monkeypatch.setattr(point, "cost", broken)
    result = run("--space", written(tmp_path), "--folder", tmp_path)
    assert result.exit_code == 1
    assert "failed: vww_105x120 7,2,1: KeyError: 'a mistake" in result.stderr
    found = json.loads((tmp_path / "small" / "explore.json").read_text())
    assert (len(found["points"]), len(found["failed"])) == (16, 4)
    assert not any(entry["impossible"] for entry in found["failed"])
    monkeypatch.setattr(point, "cost", true)  # mended: only these are worked out again
    result = run("--space", tmp_path / "small.json", "--folder", tmp_path)
    assert result.exit_code == 0
    assert "16 of 20 points were done before" in result.output and "4 points in" in result.output


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("explore.json", "explore.png")}


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    space = written(tmp_path)
    assert run("--space", space, "--folder", tmp_path / "whole").exit_code == 0
    whole = files(tmp_path / "whole" / "small")
    true, asked = point.evaluate, []

    def stop_at_fourth(design, uses):
        asked.append(design)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return true(design, uses)

    monkeypatch.setattr(explore, "evaluate", stop_at_fourth)
    result = run("--space", space, "--folder", tmp_path)
    assert result.exit_code == 130
    assert "the same command goes on from here" in result.stderr
    progress = tmp_path / "small" / "progress.jsonl"
    assert len(progress.read_text().splitlines()) == 1 + 3 * 2
    # cut off in the middle of a line: its design is worked out again
    progress.write_text(progress.read_text()[:-40])
    result = run("--space", space, "--folder", tmp_path)
    assert result.exit_code == 0
    assert "5 of 20 points were done before" in result.output
    assert "15 points in" in result.output
    assert len(asked) == 4 + 8 and asked[4] == asked[2]
    assert files(tmp_path / "small") == whole
    # and once more: nothing is left to do
    result = run("--space", space, "--folder", tmp_path)
    assert "20 of 20 points were done before" in result.output and len(asked) == 12
    assert files(tmp_path / "small") == whole
    result = run("--space", space, "--folder", tmp_path, "--fresh")
    assert "done before" not in result.output and len(asked) == 22
    assert files(tmp_path / "small") == whole


def test_old_results_of_other_code_are_not_used(tmp_path, monkeypatch):
    space = written(tmp_path)
    assert run("--space", space, "--folder", tmp_path).exit_code == 0
    monkeypatch.setattr(explore, "digest", lambda wanted: "another")
    result = run("--space", space, "--folder", tmp_path)
    assert "20 points in" in result.output and "done before" not in result.output


# A cluster of one worker by its address, then a local one, then an address where nobody is.
CLUSTERS = """
import sys
from pathlib import Path
from dask.distributed import LocalCluster
from rasca.__main__ import run
from sim.study import explore
if __name__ == "__main__":
    space, folder = Path(sys.argv[1]), Path(sys.argv[2])
    def main(name, **more):
        explore.main(**{"space": space, "workers": None, "cluster": None, "synthesise_count": 0,
                        "library": None, "fresh": False, "folder": folder / name, **more})
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None,
                      local_directory=str(folder), silence_logs="ERROR") as cluster:
        main("cluster", cluster=cluster.scheduler_address)
    main("local", workers=1)
    explore.CONNECT = 0.3
    words = ["--space", str(space), "--folder", str(folder), "--cluster", "tcp://127.0.0.1:9"]
    sys.exit(run(["explore", *words]))
"""


def test_workers_give_the_same_bytes(tmp_path):
    space = written(tmp_path)
    assert run("--space", space, "--folder", tmp_path / "here").exit_code == 0
    script = tmp_path / "clusters.py"
    script.write_text(CLUSTERS)
    done = subprocess.run(
        [sys.executable, str(script), str(space), str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "HOME": "."},
    )  # fmt: skip
    for name in ("cluster", "local"):
        assert files(tmp_path / name / "small") == files(tmp_path / "here" / "small"), name
    assert "rasca: no cluster at tcp://127.0.0.1:9: " in done.stderr
    assert done.returncode == 2


# ---- what comes out ----


def test_points_are_synthesised(tmp_path, monkeypatch):
    asked = []

    def study(model, engine, weights, *, groups, technology, clock_mhz, folder, **_):
        asked.append((model.name, str(engine), technology.name, clock_mhz, groups))
        assert engine.weight_memory == "loaded"
        if len(asked) == 2:
            raise RuntimeError("yosys\nfell over")
        found = {"library": "x", "cells": 7, "flip_flops": 3, "fmax_mhz": None}
        return {**found, "area_um2": {"total": 5}, "limits": []}

    monkeypatch.setattr(asic, "study", study)
    space = written(tmp_path)
    result = run("--space", space, "--folder", tmp_path, "--synthesise", 3)
    assert result.exit_code == 1, result.output  # one of them was not made
    found = json.loads((tmp_path / "small" / "explore.json").read_text())["synthesised"]
    assert len(asked) == len(set(asked)) == len(found) == 3
    assert [entry["cells"] for entry in found if "cells" in entry] == [7, 7]
    assert found[1]["error"] == "yosys fell over" and "failed: yosys fell over" in result.output
    multipliers = [eval(shape.replace(",", "*")) for _, shape, *_ in asked]
    assert multipliers == sorted(multipliers) and multipliers[0] < multipliers[-1]
    assert run("--space", space, "--folder", tmp_path, "--synthesise", 1).exit_code == 0
    assert len(asked) == 4


def test_any_space_can_be_drawn(tmp_path):
    found = point.evaluate(Design(preset="vww_105x120", shape="8,1,2"), [USE])
    for results in (found, found * 2):
        draw({"points": results, "pareto": [0]}, tmp_path / "one.png")
    other = [{**found[0], "preset": name} for name in map("net{}".format, range(20))]
    draw({"points": other, "pareto": []}, tmp_path / "many.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("one.png", "many.png")]
    assert min(sizes) > 10_000


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("who", ["WORKERS", "CLUSTER"])
def test_make_passes_everything_on(who):
    given = {"SPACE": "my s.yaml", who: "3", "SYNTHESISE": "2", "LIBERTY": "l", "FRESH": "1"}
    found = make.words("explore", given)
    assert found == [
        "explore",
        *itertools.chain(
            ("--space", "my s.yaml"), (f"--{who.lower()}", "3"), ("--synthesise", "2"),
            ("--liberty", "l"), ("--fresh",),
        )
    ]  # fmt: skip
    parse(found)
