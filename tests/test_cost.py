"""hw/plan/cost.py against the running RTL: presets (with --every each), the compact engine,
latencies, and bites.

Cycles, stalls, reads and writes of each operation in each row group must be equal, exactly. Random
networks are compared in the same way in test_sim_fuzz.py, whole frames in test_sim_run.py.
"""

import re
from dataclasses import replace

import pytest

from golden.command_line import load_weights
from golden.config import PRESETS, ModelConfig
from golden.random_weights import random_weights
from hw import generate
from hw.generate import register_bits
from hw.plan import Plan, compile_program
from hw.plan.cost import STALLS, cost, registers
from hw.plan.engine_config import EngineConfig, default_shape
from hw.plan.parts import memory_name
from hw.plan.replay import latency_at
from hw.top import Rasca
from sim import camera, counters, fuzz, session

GROUPS = 3  # the first has no row group before it, the third is a steady one
WHOLE = ("vww_105x120", "vww_105x120_full", "vww_105x120_banded", "vww_210x240")
"""Presets that test_sim_run.py simulates, too: the same simulation serves both."""
ALSO = (
    "vww_140x160_grey",
    "vww_175x200",
    "vww_175x200_banded",
    "vww_210x240_full",
    "vww_210x240_h1",
)
"""With WHOLE each size, each attention, another number of heads, and grey."""
COMPACT = ("vww_105x120", "vww_210x240", "vww_210x240_h3")

SMALL = ModelConfig(
    name="cost",
    image_height=15,
    image_width=42,
    heads=2,
    head_channels=(2, 3, 4, 6),
    state_channels=6,
    attention_hidden=3,
    classifier_hidden=2,
)


def shot(model, timing, rows=None):
    picture = camera.Picture.of(session.camera_image(fuzz.pictures(model, 1, 1)[0]))
    return camera.Shot(picture if rows is None else picture.restarted(rows), timing)


def counted(engine, groups=GROUPS):
    """The counters of a frame's first row groups."""
    timing = camera.paced(engine.plan.camera_period, engine.model)
    schedule = camera.play([shot(engine.model, timing, 5 * groups)])
    found = session.play(engine, schedule, [None], row_groups=groups).row_groups
    assert len(found) == groups
    return found


# ---- counters ----


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in WHOLE + ALSO else pytest.mark.every) for n in PRESETS],
)
def test_preset(name):
    model = PRESETS[name]
    weights = load_weights(None, model) if name in WHOLE else random_weights(model, 1)
    optimise = "run" if name in WHOLE else "build"
    engine = session.prepare(model, default_shape(model), weights, optimise=optimise)
    check(engine)
    assert registers(engine.plan) == pytest.approx(register_bits(engine.verilog), rel=0.03)


@pytest.mark.parametrize("name", COMPACT)
def test_compact_preset(name):
    model = PRESETS[name]
    shape = EngineConfig.parse(f"8,1,{model.heads}", parts="serial")
    engine = session.prepare(model, shape, random_weights(model, 1), optimise="build")
    check(engine)
    assert registers(engine.plan) == pytest.approx(register_bits(engine.verilog), rel=0.1)


def check(engine):
    found, predicted = counted(engine), cost(engine.plan)
    assert counters.difference(found, predicted) is None
    cycles = [sum(part.cycles for part in group.operations) for group in found]
    waited = [sum(part.stalls["camera"] for part in group.operations) for group in found]
    steady = engine.plan.cycles_per_row_group
    assert [a - b for a, b in zip(cycles, waited, strict=True)] == [steady] * GROUPS
    assert predicted.macs_row_group == engine.model.array_macs_row_group


def test_layers_are_the_operations():
    """Whatever an operation has is in its layer, and nothing else is."""
    for model, shape in ((PRESETS["vww_105x120_full"], "8,1,2"), (SMALL, "5,1,1")):
        found = cost(compile_program(model, EngineConfig.parse(shape)))
        assert sum(layer.cycles for layer in found.layers) == found.cycles_row_group
        for name in ("macs", "cycles", "steps", "slots", "values"):
            for layer in found.layers:
                parts = [op for op in found.operations if op.layer == layer.name]
                assert getattr(layer, name) == sum(getattr(part, name) for part in parts)
        for layer in (*found.layers, *found.operations):
            assert set(layer.stalls) == set(STALLS)
            assert layer.cycles == layer.steps + sum(layer.stalls.values())
        for memory in found.memories:
            for kind in ("reads", "writes"):
                parts = [getattr(part, kind) for part in (*found.layers, *found.beside)]
                each = sum(part.get(memory.name, 0) for part in parts)
                assert getattr(memory, kind) == found.row_groups * each


# ---- latency ----


@pytest.mark.parametrize("parts", ["parallel", "serial"])
def test_latency(parts, tmp_path):
    """From the last pixel to the state's last word and to the decision, to the cycle."""
    shape = EngineConfig.parse("4,1,2", parts=parts)
    engine = session.prepare(SMALL, shape, random_weights(SMALL, 1), optimise="build")
    plan = engine.plan
    slow = 5 * (plan.cycles_per_row_group + 1000)
    for period in (slow, plan.camera_period):
        schedule = camera.play([shot(SMALL, camera.paced(period, SMALL))])
        result = session.play(engine, schedule, [None], folder=tmp_path)
        written = state_written(tmp_path / "writes.log", len(plan.operations) - 1)
        pixels = schedule.lines[0][4::5]
        late = [last - pixel for last, pixel in zip(written, pixels, strict=True)]
        decided = result.frames[0].decision["cycle"] - pixels[-1]
        assert (max(late), decided) == latency_at(plan, period)
    assert cost(plan).latency_cycles == dict(
        zip(("row_group", "frame"), latency_at(plan, slow), strict=True)
    )


def state_written(log, operation):
    """Cycle of the last word of the state in each row group."""
    found, before = [], -1
    for line in log.read_text().splitlines():
        if line.startswith("w "):
            cycle, op = (int(word, 16) for word in line.split()[1:3])
            if op == operation:
                found[-1:] = [cycle] if before == operation else [*found[-1:], cycle]
            before = op
    return found


# ---- the counters themselves ----


def test_a_wrong_engine_is_found(monkeypatch):
    """A cycle more in one walk, a read enable that is stuck: both are told."""
    shape = EngineConfig.parse("4,1,2")
    design = Rasca(SMALL, shape, random_weights(SMALL, 1))
    names = [op.name for op in design.plan.operations]
    design.plan.fields["walk"][names.index("c3")]["idle"] += 1
    true = generate.to_verilog

    def stuck(made):
        text = true(made)
        enable = r"if \(\S+\) (begin\n +_\d+_ <= piece0\[)"
        assert len(re.findall(enable, text)) == 1
        return re.sub(enable, r"if (1'h1) \1", text)

    monkeypatch.setattr(generate, "to_verilog", stuck)
    engine = session.prepare(SMALL, shape, None, design=design, optimise="build")
    predicted = cost(compile_program(SMALL, shape))
    found = list(counters.differences(counted(engine), predicted))
    c3 = predicted.operations[names.index("c3")]
    walks = design.plan.operations[names.index("c3")].walks
    for group in range(GROUPS):
        where = f"row group {group} of the run, c3: "
        assert f"{where}{c3.cycles + walks - 1} cycles, predicted {c3.cycles}" in found
        assert any(line.startswith(where) and "reads of weights" in line for line in found)
    about = {line.split(": ")[1].split(" ", 1)[1].split(",")[0] for line in found}
    # the first walk's wait is as long as before: one of its cycles is a gap now
    assert about == {"cycles", "gap cycles", "wait cycles", "reads of weights"}
    assert counters.difference(counted(engine), predicted) == found[0]


@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_a_wrong_prediction_is_found(kind):
    """One word less, in an operation and beside the array."""
    plan = compile_program(SMALL, EngineConfig.parse("4,1,2"))
    true = cost(plan)
    group = counters.RowGroup(
        operations=tuple(
            counters.Counted(
                cycles=part.cycles + 7,
                steps=part.steps,
                stalls={**part.stalls, "camera": 7},
                reads=dict(part.reads),
                writes=dict(part.writes),
            )
            for part in true.operations
        ),
        beside=counters.Counted(
            cycles=0,
            steps=0,
            stalls={},
            reads={k: v for part in true.beside for k, v in part.reads.items()},
            writes={k: v for part in true.beside for k, v in part.writes.items()},
        ),
    )
    assert counters.difference([group], true) is None
    for name in ("operations", "beside"):
        *parts, last = getattr(true, name)
        memory, words = next(iter(getattr(last, kind).items()))
        less = replace(last, **{kind: {**getattr(last, kind), memory: words - 1}})
        wrong = replace(true, **{name: (*parts, less)})
        place = "n" if name == "operations" else "beside the array"
        assert counters.difference([group], wrong) == (
            f"row group 0 of the run, {place}: {words} {kind} of {memory}, predicted {words - 1}"
        )


def test_memories_in_verilog():
    text = """\
module \\rasca.engine.maps$7 (clk);
  reg [63:0] bank0 [167:0];
  initial begin
    bank0[0] = 64'h0;
  end
  always @(posedge clk) begin
    if (\\$en [0])
      bank0[address][7:0] <= data[7:0];
    if (\\$en [1])
      bank0[address][15:8] <= data[15:8];
  end
  reg [63:0] _0_;
  always @(posedge clk) begin
    if (\\read__en$26 ) begin
      _0_ <= bank0[{ 1'h0, low[3:0] }];
    end
  end
  reg [2:0] \\bank$80  [3:0];
  reg [63:0] _1_;
  always @(posedge clk) begin
    _1_ <= \\bank$80 [row];
  end
  reg [2:0] storage [3:0];
  assign r_data = storage[r_port__addr];
endmodule
"""
    path = "tb.dut.engine.\\maps$7 ."
    assert list(counters.rams(text)) == [
        counters.Ram(
            block="maps",
            name="bank0",
            read_enable=f"{path}\\read__en$26 ",
            read_address=f"{{ 1'h0, {path}low[3:0] }}",
            write_enable=f"{path}\\$en [0] | {path}\\$en [1]",
            write_address=f"{path}address",
        ),
        counters.Ram(block="maps", name="bank", read_address=f"{path}row"),
        counters.Ram(block="maps", name="storage"),
    ]


@pytest.mark.parametrize("parts", ["parallel", "serial"])
def test_ports_are_those_in_verilog(parts):
    """A memory is read only if and only if the Verilog never writes it."""
    plan = compile_program(SMALL, EngineConfig.parse("4,1,2", "loaded", parts=parts))
    text = generate.to_verilog(Rasca(SMALL, plan.engine, random_weights(SMALL, 1)))
    written = {}
    for ram in counters.rams(text):
        name = memory_name(ram.block, ram.name)
        written[name] = written.get(name, False) or ram.write_enable != ""
    ports = {memory.name: memory.ports for memory in cost(plan).memories}
    ports.pop("state")  # in the maps' banks
    read_only = {name for name, kind in ports.items() if kind == "1R"}
    assert {name for name in ports if not written[name]} == read_only
    assert read_only
    if parts == "serial":
        assert ports["activation"] == "1R" and ports["classifier"] == "1RW"


def test_a_memory_that_nobody_knows(monkeypatch):
    plan = compile_program(SMALL, EngineConfig.parse("4,1,2"))
    text = generate.to_verilog(Rasca(SMALL, plan.engine, random_weights(SMALL, 1)))
    assert "module counters" in counters.monitor(plan, text)
    more = "module \\rasca.engine.spare (clk);\n  reg [7:0] heap [3:0];\nendmodule\n"
    rule = "hw.plan.memory and the Verilog do not have the same memories: "
    with pytest.raises(ValueError, match=rule + "spare heap"):
        counters.monitor(plan, text + more)
    listed = [memory for memory in plan.memories if memory.name != "constants"]
    monkeypatch.setattr(Plan, "memories", listed)
    with pytest.raises(ValueError, match=rule + "constants"):
        counters.monitor(replace(plan), text)
