"""sim/coverage: what Verilator counts, and bins; what is not exercised is a hole."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
import typer
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.errors import CommandError
from golden.model import IntegerModel
from hw.plan import compile_program
from hw.plan.engine_config import EngineConfig
from sim import fuzz, runner
from sim.coverage import bins, main, reasons, rtl, scenarios
from tests.test_sequencer import KINDS


class Counts(wiring.Component):
    """Up to 7 or, with `down`, back."""

    down: In(1)
    value: Out(3)

    def elaborate(self, platform):
        m = Module()
        with m.If(self.down):
            m.d.sync += self.value.eq(self.value - 1)
        with m.Else():
            m.d.sync += self.value.eq(self.value + 1)
        return m


def covered(folder, walks):
    """Coverage of the counter that is walked so."""
    found = rtl.Coverage()
    with runner.covering(folder):
        built = runner.build(Counts(), top="counts", optimise="build", public=False)
        runner.run(built, "tests.bench_coverage", arguments={"walks": walks})
    found.add(folder)
    return found.modules["counts"]


def test_what_is_not_exercised_is_a_hole(tmp_path):
    """Both ways and all bits: none. Up only, and not far: the way down and the highest bit."""
    whole = covered(tmp_path / "whole", [(0, 9), (1, 9), (0, 9)])
    assert not whole.still() and not whole.unrun()
    assert {place[0] for place in whole.toggles} >= {"value", "down", "clk"} and whole.lines
    part = covered(tmp_path / "part", [(0, 3)])
    assert set(part.still()) >= {"down", "value[2]"} and not {"value[0]", "value"} & set(
        part.still()
    )
    assert part.unrun() and all("down" in line or "if" in line for line in part.unrun())
    # together: nothing is missing
    both = rtl.Coverage()
    for name in ("whole", "part"):
        both.add(tmp_path / name)
    assert not both.modules["counts"].still() and not both.modules["counts"].unrun()


def test_nothing_is_counted_elsewhere(tmp_path):
    with runner.covering(tmp_path / "a"):
        assert runner._covering == [tmp_path / "a"]
    assert runner._covering == []


def written(kind, page, line, what, count, file="design.v"):
    fields = {"f": f"/x/{file}", "l": line, "n": 1, "t": kind, "page": page, "o": what, "h": "h"}
    return "C '" + "".join(f"\1{key}\2{value}" for key, value in fields.items()) + f"' {count}\n"


TEXT = "module x;\n  wire y;\n      if (\\$12 ) z\nendmodule\n"


def test_points(tmp_path):
    """Names are decoded, without numbers of modules and of nameless wires; benches are left out."""
    counts = tmp_path / "abc-0.dat"
    counts.write_text(
        "# SystemC::Coverage-3\n"
        + written("toggle", "v_toggle/rasca.engine.back.unit3$17", 2, "a___05Fb[2]:0->1", 4)
        + written("toggle", "v_toggle/storm.rasca.engine.back.unit", 2, "a___05Fb[2]:1->0", 0)
        + written("toggle", "v_toggle/rasca.engine.back.unit3", 2, "__02412:0->1", 4)
        + written("toggle", "v_toggle/rasca.engine.back.unit3", 2, "a___05Fb__02417[2]:1->0", 0)
        + written("toggle", "v_toggle/rasca.engine.back.unit3", 2, "a___05Fb__02ec:1->0", 0)
        + written("branch", "v_branch/rasca.engine", 3, "cond_then", 0)
        + written("line", "v_line/rasca.engine", 3, "block", 7)
        + written("line", "v_line/counters", 1, "block", 7)
        + written("line", "v_line/tb", 1, "block", 7, "tb.sv")
    )
    (tmp_path / "abc.v").write_text(TEXT)
    found = rtl.Coverage()
    found.add(tmp_path, "serial: ")
    assert set(found.modules) == {"serial: engine.back.unit", "serial: engine"}
    unit, engine = (found.modules[f"serial: engine{end}"] for end in (".back.unit", ""))
    assert dict(unit.toggles) == {("a__b", 2, "0->1"): 4, ("a__b", 2, "1->0"): 0}
    assert unit.still() == ["a__b"]
    assert dict(engine.lines) == {("if ($ ) z", "cond_then"): 0, ("if ($ ) z", "block"): 7}
    assert engine.unrun() == ["if ($ ) z (cond_then)"]


def test_ranges():
    module = rtl.Module()
    for bit in range(12):
        module.toggles[("a", bit, "0->1")] = bit in (3, 5, 6)
    assert module.still() == ["a[0-2, 4, 7-11]"]


# ---- bins ----


def test_words_and_walks_of_a_program():
    """By hand: what the smallest engine's program has, and what it has not."""
    one = fuzz.case(1263)  # serial, two heads of four blocks, channel attention
    plan = compile_program(one.model, one.shape)
    words, walks = bins.of_words(plan), bins.of_operations(plan)
    assert words["back: function UPDATE"] == 1 and words["back: function MIX"] == 0
    assert words["walk: source CAMERA"] == 3 and words["walk: source ATTENTION"] == 0
    assert words["walk: two 1"] == 4 and sum(words[f"walk: two {v}"] for v in "01") == 15
    assert walks["head.block, RELU: padding left and right"] == 8
    assert walks["head.block, RELU: one tap"] == 0 and walks["gru.update, UPDATE: one tap"] == 1
    assert walks["gru.update, UPDATE: two segments"] == 1
    names = set(bins.universe())
    assert set(words) | set(walks) <= names and len(names) == len(bins.universe())


def test_each_kind_of_layer_has_its_function():
    assert {kind: function.name for kind, function in bins.functions().items()} == {
        "head.block": "RELU",
        "attention.key": "SIGNED",
        "attention.score": "SIGNED",
        "attention.value": "SIGNED",
        "attention.mix": "MIX",
        "channel_attention.0": "RELU",
        "channel_attention.1": "CHANNEL",
        "projection.0": "RELU",
        "projection.1": "RELU",
        "gru.reset": "RESET",
        "gru.update": "UPDATE",
        "gru.candidate": "BLEND",
    }


def test_saturation_is_counted():
    """Of weights at their ends both ends come up; of weights of 0, none."""
    one = fuzz.case(1436)
    pixels = fuzz.pictures(one.model, 1, 1)
    counted = []
    for scale in (1, 0):
        weights = fuzz.weights_of(replace(one, extreme=True))
        for layer in weights.layers.values():
            if layer.weight is not None:
                layer.weight.mul_(scale)
            layer.bias.mul_(scale)
        found = Counter()
        with bins.values(weights, found):
            IntegerModel(one.model, weights).run(pixels)
        counted.append(found)
    ends = ("gru.update, UPDATE: below", "gru.reset, RESET: above", "head.block, RELU: above")
    assert all(counted[0][end] for end in ends) and not any(counted[1][end] for end in ends)
    size = one.model.state_channels * one.model.n * one.model.row_groups
    edges = [counted[1][f"gru.update, UPDATE: {edge}"] for edge in bins.EDGES]
    assert edges == [0, size, 0]
    assert sum(counted[0][f"gru.update, UPDATE: {edge}"] for edge in bins.EDGES) == size


def test_no_program_fills_a_bin_that_has_a_reason():
    for seed in (354, 938, 1263):
        one = fuzz.case(seed)
        plan = compile_program(one.model, one.shape)
        found = bins.of_words(plan) + bins.of_operations(plan)
        assert [name for name in found if reasons.reason("bin", name)] == []


def test_a_long_first_segment_pauses():
    """In one lane; the bin has no reason, for it can be filled."""
    model, shape = KINDS["pause"]
    words = bins.of_words(compile_program(model, EngineConfig.parse(shape)))
    assert words["walk: pause more"] and reasons.reason("bin", "walk: pause more") is None


def test_holes_in_bins():
    assert bins.holes({"a": 1, "b": 0}, ["a", "b", "c"]) == ["b", "c"]


# ---- the command ----


def test_the_scenarios():
    """Every record of parts, both attentions, sleep, cuts; each sensor's way."""
    cases = [fuzz.case(seed, silicon=True) for seed in scenarios.SEEDS]
    assert {one.shape.parts for one in cases} == {"parallel", "low_power", "serial"}
    assert {one.model.spatial_attention for one in cases} == {"none", "full", "banded"}
    for what in ("cut", "extreme"):
        assert {getattr(one, what) for one in cases} == {False, True}
    assert {one.shape.sleep for one in cases} == {False, True}
    lets_go = compile_program(scenarios.PAUSE.model, scenarios.PAUSE.shape)
    assert any(op.pause for op in lets_go.operations)
    names = [one.name for one in scenarios.scenarios()]
    assert len(set(names)) == len(names) and sum(name.startswith("storm") for name in names) == 4


@pytest.fixture
def played(monkeypatch, tmp_path):
    """The command with one simulation that leaves a hole, and one that comes out wrong."""

    def walked(folder, counted):
        counted.update({"walk: two 1": 3})
        built = runner.build(Counts(), top="counts", optimise="build", public=False)
        runner.run(built, "tests.bench_coverage", arguments={"walks": [(0, 3)]})

    def wrong(folder, counted):
        raise AssertionError("row group 3")

    some = [
        scenarios.Scenario(name="walked", prefix="", play=walked),
        scenarios.Scenario(name="wrong", prefix="", play=wrong),
    ]
    monkeypatch.setattr(scenarios, "scenarios", lambda: some)
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    monkeypatch.setattr(reasons, "REASONS", (("counts", "down", "nobody pulls it"),))
    return tmp_path / "coverage.json"


def test_the_command(played, capsys):
    main.main(only="walked", page=None)
    found = json.loads(played.read_text())
    (module,) = found["modules"]
    assert {"what": "down", "reason": "nobody pulls it"} in module["still"]
    assert {"what": "value[2]", "reason": None} in module["still"]
    assert 0 < module["toggled"] < module["toggles"] and module["lines_run"] < module["lines"]
    assert {"bin": "walk: two 1", "count": 3, "reason": None} in found["bins"]
    said = capsys.readouterr().out
    assert "counts: value[2]" in said and "counts: down" not in said
    assert "nothing in bin walk: two 0: ?" in said and "1 of " in said


def test_a_difference_is_status_1(played, capsys):
    with pytest.raises(typer.Exit) as ended:
        main.main(only="wrong", page=None)
    assert ended.value.exit_code == 1 and "DIFFERENT: row group 3" in capsys.readouterr().out
    assert json.loads(played.read_text())["simulations"][0]["equal"] is False


def test_a_name_that_none_has():
    with pytest.raises(CommandError, match="part of a simulation's name, not 'nothing'"):
        main.main(only="nothing", page=None)


def test_the_table_of_a_page():
    hole = {"what": "a", "reason": None}
    one = {
        **{"lines": 4, "lines_run": 2, "toggles": 10, "toggled": 9, "unrun": [hole]},
        "still": [hole | {"reason": "because"}],
    }
    some = [one | {"module": name} for name in ("serial: engine.back.unit", "serial: engine.back")]
    assert main.table({"modules": some}).splitlines()[2:] == [
        "| `serial: engine.back` | 8 | 50.0 % | 20 | 90.0 % | 4 | 2 |",
        "| all | 8 | 50.0 % | 20 | 90.0 % | 4 | 2 |",
    ]


def test_reasons_are_of_whole_names(monkeypatch):
    monkeypatch.setattr(reasons, "REASONS", (("engine", r"a\d", "x"),))
    assert reasons.reason("engine", "a1") == "x"
    assert reasons.reason("engine", "a12") is None and reasons.reason("engine.b", "a1") is None


def test_watchers_are_gone_afterwards():
    from golden import array

    one = fuzz.case(1263)
    weights = fuzz.weights_of(one)
    with pytest.raises(KeyError), bins.values(weights, Counter()):
        assert len(array.WATCHERS) == 1
        raise KeyError
    assert not array.WATCHERS
    value = torch.tensor([1])
    assert array.told(next(iter(weights.layers.values())), value) is value
