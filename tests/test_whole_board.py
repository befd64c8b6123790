# amaranth: UnusedElaboratable=no
"""The whole iCEBreaker after synthesis, with a tiny network and a small camera."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from boards import build
from boards.clocks import pll_of
from boards.packets import BoardStatus, Byte, Problem
from golden.config import ModelConfig
from golden.random_weights import random_weights
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import camera_models, netlist, runner, whole_board
from tests.test_netlist import command

MODEL = ModelConfig(
    name="tiny",
    image_height=20,
    image_width=64,
    heads=2,
    head_channels=(2, 2, 2, 2),
    state_channels=4,
    attention_hidden=2,
    classifier_hidden=2,
)
ENGINE = EngineConfig.parse("4,1,2", "loaded", cells="ice40", parts="serial")
CONSOLE = Console(quiet=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(system, RTLIL, weights, netlist, compiled netlist, exposure, run of a whole frame)."""
    board = build.find_board("icebreaker")
    camera = board.camera
    small = replace(
        camera.sensor,
        height=44,
        width=136,
        # as fast as the clock that the board gives it
        clock_hz=int(pll_of(board, board.clock_hz).second_hz),
        line_clocks=1200,
        vsync_clocks=4000,
    )
    # the last registers of its set-up are enough, each takes 0.4 ms
    board = replace(board, camera=replace(camera, sensor=small, table=camera.table[-3:]))
    board = replace(board, camera=replace(board.camera, paced=None))
    weights, folder = random_weights(MODEL, 1), tmp_path_factory.mktemp("board")
    system, files = build.files_of(board, Rasca(MODEL, ENGINE, weights, readback=False))
    design = files[f"{build.TOP}.il"]
    found = netlist.netlist_of(design, "ice40", folder, CONSOLE)
    verilog = netlist.to_verilog(found, folder, CONSOLE) + netlist.models("ice40")[0]
    module = found["modules"][build.TOP]
    built = whole_board.prepare(system, module, verilog, netlist.STRICT, optimise="build")
    pixels = np.random.default_rng(2).integers(0, 256, (44, 136, 3), dtype=np.uint8)
    exposure = camera_models.expose(small, pixels)
    run = whole_board.play(system, built, exposure, netlist.RANDOM)
    return system, design, weights, found, built, exposure, run


def test_equal(made):
    """Weights from flash, registers, a frame, its byte: all as it should be."""
    system, _, weights, _, _, exposure, run = made
    found = whole_board.judge(system, weights, run, exposure, 4)
    assert found["wrong"] is None and found["row_groups_equal"] == 4
    assert found["values_compared"] == 4 * (MODEL.state_channels * MODEL.n + 2)
    *reports, byte = found["uart"]
    assert len(reports) == 2 and byte == 128 * (found["decision"] == "person")
    assert found["power_up_ms"] > 10  # before that the camera wants no set-up


def test_differences_are_seen(made):
    """Each thing that is judged can fail."""
    system, _, weights, _, _, exposure, run = made

    def wrong(groups=4, **changes):
        return whole_board.judge(system, weights, replace(run, **changes), exposure, groups)

    state, logits = run.rows[1]
    rows = [run.rows[0], (state ^ np.eye(*state.shape, 1, dtype=np.int16), logits), *run.rows[2:]]
    assert wrong(rows=rows)["wrong"] == (
        f"first difference: frame 0, row group 1, stage state, channel 0, column 1: "
        f"the golden model has {state[0, 1]}, the engine has {state[0, 1] ^ 1}"
    )
    assert wrong(rows=rows)["row_groups_equal"] == 3
    rows = [(state, logits + 1) for state, logits in run.rows]
    assert "row group 0, stage logits, channel 0" in wrong(rows=rows)["wrong"]
    assert wrong(rows=run.rows[:3])["wrong"] == "3 row groups came, not 4"
    assert wrong(groups=2)["wrong"] == "4 row groups came, not 2"
    first, second, byte = sent = run.found["sent"]
    for other in ([], [first, second, byte ^ 128], [first, 0x45, byte], [first, byte], sent * 2):
        text = f"bytes {other} came over the UART, not two reports and {byte}"
        assert wrong(found=run.found | {"sent": other})["wrong"] == text
    writes = [*run.found["writes"][:-1], [1, 2, 3]]
    text = wrong(found=run.found | {"writes": writes})["wrong"]
    assert text.startswith("the camera's registers were written with [[")
    assert wrong(found=run.found | {"fault": 1})["wrong"] == "lamp fault is 1, not 0"
    assert "lamp person is" in wrong(found=run.found | {"person": 1 - byte // 128})["wrong"]


def waits(system, us):
    """Times that last at least so long are counted in cycles of the fastest clock."""
    return round(us * system.limit_hz / system.pll.output_hz)


def test_other_weights_are_refused(made, monkeypatch):
    """A flash with a turned bit: the board does not get ready, lamp and UART say so."""
    system, *_, built, exposure, _ = made
    image = system.rasca.engine.weights_image()
    monkeypatch.setattr(whole_board, "LIMIT_US", waits(system, 12_000))
    turned = bytes([image[0] ^ 1]) + image[1:]
    original = whole_board.flash.flash_image

    def spoilt(content, config):
        return original(image, config).replace(image, turned)

    monkeypatch.setattr(whole_board.flash, "flash_image", spoilt)
    report = Byte.REPORT | Problem.CRC
    text = rf"not ready after .*3 .*fault lamp on, bytes \[.*\b{report}\b.*\]"
    with pytest.raises(runner.SimulationError, match=text):
        whole_board.play(system, built, exposure, netlist.RANDOM)


def test_no_camera(made, monkeypatch):
    """Nobody answers on the camera's wires: the board does not get ready, lamp and UART say so."""
    system, *_, built, exposure, _ = made
    monkeypatch.setattr(whole_board, "LIMIT_US", waits(system, 20_000))
    deaf = replace(system.camera, device=system.camera.device ^ 1)
    monkeypatch.setattr(system, "camera", deaf)
    text = rf"0 registers .*fault lamp on, bytes \[.*\b{Byte.REPORT | BoardStatus.CAMERA_FAILED}\]"
    with pytest.raises(runner.SimulationError, match=text):
        whole_board.play(system, built, exposure, netlist.RANDOM)


def test_command(made, monkeypatch, tmp_path):
    """A frame that breaks off, through the command, on the netlist that is there."""
    system, design, weights, found, built, exposure, _ = made
    for name, value in {
        "preset": MODEL,
        "Rasca": system.rasca,
        "load_weights": weights,
        "netlist_of": found,
        "to_verilog": "",
    }.items():
        monkeypatch.setattr(netlist, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(netlist.fit, "configure", lambda *_: ENGINE)
    monkeypatch.setattr(build, "files_of", lambda *_: (system, {f"{build.TOP}.il": design}))
    monkeypatch.setattr(whole_board, "photograph", lambda *_: (exposure, "noise"))
    monkeypatch.setattr(whole_board, "prepare", lambda *_, **_more: built)
    place = tmp_path / "icebreaker" / "tiny" / "whole"
    place.mkdir(parents=True)
    words = ["--whole", "--folder", str(tmp_path), "--row-groups", "2"]
    result = command(*words)
    assert result.exit_code == 0, result.output
    summary = json.loads((place / "summary.json").read_text())
    assert set(summary) == {
        *("board", "device", "part", "preset", "shape", "image", "weights_digest", "config_digest"),
        *("netlist_digest", "cells", "models", "row_groups", "row_groups_equal", "wrong"),
        *("values_compared", "decision", "uart", "power_up_ms", "cycles", "seconds"),
        "tool_versions",
    }
    assert summary["part"] == "board"
    assert summary["row_groups_equal"] == summary["row_groups"] in (2, 3)
    assert summary["models"] == ["ice40_pins.v", "Yosys ice40/cells_sim.v"]
    assert summary["cells"]["SB_PLL40_PAD"] == 1 and summary["decision"] is None


def test_other_boards():
    result = command("--board", "ulx3s", "--whole")
    assert result.exit_code == 2
    assert result.output == "rasca: the whole board is simulated of icebreaker, not 'ulx3s'\n"
