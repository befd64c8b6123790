# amaranth: UnusedElaboratable=no
"""hw/sleep.py: with clocks that stand still all is as without, in every cycle."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from amaranth.hdl import ClockSignal, Module, ResetSignal, Value
from amaranth.sim import Simulator

from golden.config import ModelConfig
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw import sleep
from hw.generate import to_verilog
from hw.interfaces import flat_name
from hw.plan import awake, config_digest
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import camera, fuzz, runner, session

BENCH = Path(__file__).with_name("sleep_tb.sv")
MODEL = ModelConfig(
    name="small",
    image_height=10,
    image_width=20,
    heads=2,
    head_channels=(2, 3, 2, 2),
    state_channels=4,
    attention_hidden=2,
    classifier_hidden=3,
)
SHAPES = {
    "parallel": EngineConfig(pixels=4, channels=1, lanes=2),
    "serial": EngineConfig(pixels=4, channels=1, lanes=2, parts="serial"),
}


sleep_awake = sleep.Awake


class Late(sleep.Awake):
    """A fault: events open the gate in the cycle after their own."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = sleep_awake(self.settle, self.brief)
        m.d.sync += inner.event.eq(self.event)
        if self.brief:
            m.d.sync += inner.brief_event.eq(self.brief_event)
        m.d.comb += self.awake.eq(inner.awake)
        return m


def network(kind):
    """Network, weights, and the shape: softmax beside the array where there can be one."""
    shape = SHAPES[kind]
    spatial = "full" if shape.limits.spatial else "none"
    model = replace(MODEL, spatial_attention=spatial)
    weights = random_weights(model, 3)
    for name, layer in weights.layers.items():
        if not name.startswith("classifier"):
            layer.shift.clamp_(*shape.limits.shifts)
    return model, weights, shape


def wires(design, *, faulty):
    """The ports of the engines, for the bench: inputs once, outputs of all."""
    others = ["asleep", *(["faulty"] if faulty else [])]
    lines, pins = [], {name: [] for name in ("awake", *others)}
    differ = {"asleep": [], "faulty": ["0"]}
    for path, member, signal in design.signature.flatten(design):
        name, bits = flat_name(path, 2), len(Value.cast(signal))
        wide = f"[{bits - 1}:0] " if bits > 1 else ""
        if member.flow.name == "In":
            lines.append(f"logic {wide}{name} = 0;")
        else:
            lines.append(f"wire {wide}{name};")
        for way, found in pins.items():
            own = name
            if way != "awake" and member.flow.name == "Out":
                own = f"{way}_{name}"
                lines.append(f"wire {wide}{own};")
                differ[way].append(f"{name} != {own}")
            found.append(f".{name}({own})")
    for way, found in pins.items():
        lines.append(f"{way} engine_{way} (.clk, .rst, {', '.join(found)});")
    lines.append(
        f"wire [{len(differ['asleep']) - 1}:0] differ = {{{', '.join(differ['asleep'])}}};"
    )
    lines.append(f"wire differ_faulty = {' || '.join(differ['faulty'])};")
    clocks = sleep.CLOCKS[:4]
    gates = [f"engine_asleep.engine.sleep.{name}.awake" for name in reversed(clocks)]
    lines.append(f"wire [3:0] runs = {{{', '.join(gates)}}};")
    return "\n".join(lines) + "\n"


@cache
def made(kind):
    """The engine that never sleeps; the Verilog of it, and of the one that sleeps."""
    model, weights, shape = network(kind)
    awake = Rasca(model, shape, weights)
    asleep = Rasca(model, replace(shape, sleep=True), weights)
    return awake, to_verilog(awake, "awake"), to_verilog(asleep, "asleep")


def side_by_side(kind, folder, monkeypatch, *, cycles):
    """What the bench counted; of the serial engine also with a fault."""
    model, weights, shape = network(kind)
    awake, *texts = made(kind)
    if kind == "serial":
        monkeypatch.setattr(sleep, "Awake", Late)
        faulty = Rasca(model, replace(shape, sleep=True), weights)
        texts.append(to_verilog(faulty, "faulty").removesuffix(sleep.MODEL))
    (folder / "wires.svh").write_text(wires(awake, faulty=kind == "serial"))
    build = runner.build(
        "".join(texts),
        top="tb",
        sources=[BENCH],
        parameters={
            "WIDTH": model.image_width,
            "HEIGHT": model.image_height,
            "CHANNELS": model.state_channels,
            "WORDS": -(-model.n // shape.pixels),
            "IMAGE": awake.engine.loader.load_bytes,
            "LEAST": max(shape.limits.pixel_cycles, model.in_channels) - 1,
            "SLOW": 2 * awake.plan.camera_period // (5 * model.image_width),
        },
        flags=[f"-I{folder}"],
        optimise="build",
        public=False,
        folder=folder,
    )
    work = folder / "run"
    work.mkdir()
    (work / "image.hex").write_text(awake.engine.weights_image().hex("\n"))
    runner.run(
        build,
        "tests.bench_sleep",
        arguments={"cycles": cycles},
        plusargs=["+verilator+seed+4"],
        folder=work,
    )
    return json.loads((work / "found.json").read_text())


@pytest.mark.parametrize("kind", SHAPES)
def test_every_output_in_every_cycle(kind, tmp_path, monkeypatch):
    """Frames, faults, early termination, reads of the state and loads by chance: all outputs are as
    without sleep; those of clocks that wake a cycle late are not."""
    found = side_by_side(kind, tmp_path, monkeypatch, cycles=100_000)
    assert found["differences"] == 0, found
    assert (found["faulty_differences"] > 0) == (kind == "serial"), found
    for name in ("answers", "decisions", "faults", "reads", "loads"):
        assert found[name] >= 3, found
    host, engine, classifier, camera = found["running"]
    assert host < min(engine, classifier) and max(engine, classifier) < camera, found
    assert engine < 0.6 * found["cycle"] and camera < 0.8 * found["cycle"], found


def test_what_sleeps_has_another_digest():
    model, _, shape = network("parallel")
    assert config_digest(model, shape) != config_digest(model, replace(shape, sleep=True))


def ungated(gate, platform):
    """In a ClockGate's place: a clock that always runs."""
    m = Module()
    m.d.comb += [
        ClockSignal(gate.domain).eq(ClockSignal()),
        ResetSignal(gate.domain).eq(ResetSignal()),
    ]
    return m


def test_an_engine_that_has_no_weights_sleeps(monkeypatch):
    """All clocks stand still until the first byte of an image."""
    monkeypatch.setattr(sleep.ClockGate, "elaborate", ungated)
    model, weights, shape = network("serial")
    shape = replace(shape, sleep=True, weight_memory="loaded")
    engine = Rasca(model, shape, weights).engine
    awake_now = {name: clock.awake for name, clock in engine.sleep.clocks.items()}

    async def bench(ctx):
        await ctx.tick().repeat(2 + max(awake.settles(engine.plan).values()))
        await ctx.tick().repeat(2 + max(awake.settles(engine.plan).values()))
        assert not any(ctx.get(one) for one in awake_now.values())
        ctx.set(engine.load.valid, 1)
        assert all(ctx.get(one) for one in awake_now.values())

    simulator = Simulator(engine)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("cells", ["ecp5", "ice40"])
def test_fpgas_have_no_gate(cells):
    with pytest.raises(ValueError, match=f"sleep must be off with the cells of {cells}"):
        EngineConfig(pixels=4, channels=1, lanes=2, cells=cells, sleep=True)


def test_the_gates_model_comes_with_the_verilog_of_what_sleeps():
    _, awake, text = made("parallel")
    assert text.count(f"{sleep.GATE} ") == 1 + len(sleep.CLOCKS) and sleep.MODEL in text
    assert sleep.GATE not in awake
    # every register is clocked by a gate, but for what wakes them
    for module in re.split(r"^endmodule", text, flags=re.M):
        if re.search(r"posedge clk\b", module):
            name = re.search(r"^module \\?(\S+)", module, flags=re.M)[1]
            assert name.startswith("asleep.engine.sleep."), name


def test_clocks_run_as_long_as_predicted(tmp_path):
    """A slow camera: frames bit for bit, clocks within 3 %."""
    slower = 6  # than the engine
    model, weights, shape = network("parallel")
    shape = replace(shape, sleep=True)
    engine = session.prepare(model, shape, weights, optimise="build", folder=tmp_path)
    pixels = fuzz.pictures(model, 5, 3)
    expected = session.golden_frames(IntegerModel(model, weights).run(pixels, trace=True))
    timing = camera.paced(slower * engine.plan.camera_period, model)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    result = session.play(engine, camera.play(shots), expected)
    assert result.difference is None
    assert [result.group_starts(frame) for frame in range(3)] == result.predicted()
    cycles = result.clocks[2][0] - result.clocks[1][0]
    wanted = awake.running(engine.plan, cycles)
    ran = result.ran(1)
    # the bench reads the state, which wakes everything but the units
    host = ran.pop("host")
    assert 0 < host < 0.02
    for name, share in ran.items():
        least = wanted[name] / cycles + host * (name != "units")
        assert share == pytest.approx(least, rel=0.03), name
    assert ran["engine"] < 1.2 / slower
