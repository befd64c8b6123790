"""The kit beside the Verilog: the known answer runs, the datasheet says what is so."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import asdict

import pytest
import yaml
from amaranth.hdl import Module
from amaranth.sim import Simulator

from golden.random_weights import random_weights
from hw.bus.registers import Access
from hw.bus.top import BUSES, RascaBus
from hw.frames import FrameControl
from hw.generate import to_verilog
from hw.kit import bus_waves, waves, whole
from hw.kit.datasheet import meanings, ports
from hw.kit.whole import kit
from hw.loader import Loader, Section
from hw.top import Rasca
from sim import runner
from tests.command import invoke
from tests.test_bus import SHAPE, TINY
from tests.test_driver import MODEL
from tests.test_driver import SHAPE as SERIAL

ENGINES = {
    "colour": (TINY, SHAPE),
    "loaded": (MODEL, SERIAL),
    "axi": (TINY, SHAPE),
    "wishbone": (MODEL, SERIAL),
}
needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("vvp") is None,
    reason="Icarus Verilog is not installed",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of kits by the engine, made when first asked for, with their designs."""
    found = {}

    def of(kind):
        if kind not in found:
            model, shape = ENGINES[kind]
            weights = random_weights(model, 4)
            bus, top = kind in BUSES, f"rasca_{kind}" if kind in BUSES else "rasca"
            named = (kind,) if bus else ()
            design = (RascaBus if bus else Rasca)(*named, model, shape, weights)
            folder = tmp_path_factory.mktemp("kit")
            (folder / "engine_kit").mkdir()
            (folder / "engine.v").write_text(to_verilog(design, top))
            for name, text in kit(design, weights, "engine", top).items():
                place = folder if name.endswith(".core") else folder / "engine_kit"
                (place / name).write_text(text)
            found[kind] = design, folder / "engine_kit"
        return found[kind]

    return of


def icarus(folder, *words):
    build = "iverilog -g2012 -o tb tb.v ../engine.v"
    done = subprocess.run(build.split(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return subprocess.run(["vvp", "tb", *words], cwd=folder, capture_output=True, text=True)


@needs_icarus
@pytest.mark.parametrize("kind", ["colour", "loaded"])
def test_known_answer(made, kind):
    """Passes; the cycles are those of the datasheet; a part of it, too."""
    design, folder = made(kind)
    model, sheet = design.plan.model, (folder / "datasheet.md").read_text()
    line = next(one for one in sheet.splitlines() if one.endswith("&& vvp tb"))
    assert line.strip() == "iverilog -g2012 -o tb tb.v ../engine.v && vvp tb"
    done = icarus(folder)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout
    assert f"PASS: {model.row_groups} row groups" in done.stdout
    cycles = re.search(r"(\d+) cycles after the last pixel", done.stdout)[1]
    assert f"| last pixel to decision, at that pace | {cycles} |" in sheet
    if kind != "colour":
        return
    part = icarus(folder, "+groups=1")
    assert part.returncode == 0 and "PASS: 1 row groups" in part.stdout


@needs_icarus
@pytest.mark.parametrize("bus", BUSES)
def test_known_answer_behind_a_bus(made, bus):
    """By stream and registers; without weights at power-up they go in by the registers, too."""
    design, folder = made(bus)
    done = icarus(folder)
    model = design.plan.model
    words = model.state_channels * design.plan.geometry.state_words
    assert done.returncode == 0, done.stdout
    assert f"PASS: {model.class_count} logits, {words} words of the state" in done.stdout


@needs_icarus
@pytest.mark.parametrize(
    "kind, file",
    [
        ("colour", "logits.hex"),
        ("colour", "state.hex"),
        ("colour", "picture.hex"),
        ("axi", "state.hex"),
        ("axi", "picture.hex"),
    ],
)
def test_one_digit_is_found(made, kind, file, tmp_path):
    _, folder = made(kind)
    shutil.copytree(folder.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "engine_kit" / file
    text = path.read_text()
    path.write_text(f"{int(text[0], 16) ^ 8:x}{text[1:]}")
    done = icarus(path.parent)
    assert done.returncode != 0 and "FAIL" in done.stdout + done.stderr


@needs_icarus
@pytest.mark.parametrize("bus", BUSES)
def test_an_engine_that_never_answers_ends_the_bench(made, bus, tmp_path):
    _, folder = made(bus)
    shutil.copytree(folder.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "engine_kit" / "tb.v"
    path.write_text(path.read_text().replace("go <= 1;", "go <= 0;"))
    done = icarus(path.parent)
    assert done.returncode != 0 and "FAIL: nothing more after" in done.stdout + done.stderr


def test_known_answer_in_verilator(made):
    """The same text; the flags are for the compiler, which this Verilator does not know."""
    _, folder = made("colour")
    words = "--binary -Wno-fatal --top-module tb tb.v ../engine.v".split()
    assert f"verilator {' '.join(words)} && obj_dir/Vtb" in (folder / "datasheet.md").read_text()
    done = subprocess.run(
        [
            runner.verilator_root() / "bin" / "verilator_bin",
            *words,
            *("-CFLAGS", "-std=c++20 -fcoroutines", "--output-split", "0"),
        ],
        cwd=folder,
        env=runner.environment(runner.OPTIMISE["build"]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    done = subprocess.run(["obj_dir/Vtb"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout


@pytest.mark.parametrize("bus", [None, "axi", "wishbone"])
def test_every_port_is_told(bus):
    """Name, direction, width as in the Verilog, and a meaning."""
    weights = random_weights(TINY, 1)
    design = Rasca(TINY, SHAPE, weights) if bus is None else RascaBus(bus, TINY, SHAPE, weights)
    text = to_verilog(design)
    top = text[text.index("\nmodule rasca(") :].partition("endmodule")[0]
    found = {
        name: (way, int(high or 0) + 1)
        for way, high, name in re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);", top, re.M)
    }
    told = {name: (way, bits) for name, way, bits, _ in ports(design)}
    assert told == found
    assert not [name for name, *_, about in ports(design) if len(about) < 6]


def test_meanings_of_a_docstring():
    class Some:
        """A thing.

        Members
        -------
        a : Out(1), pulse
            One.
        b, c : In(8), d : Out(x).array(K)
            Others,
            of two lines.
        """

    others = "Others, of two lines."
    assert meanings(Some) == {"a": "Pulse. One.", "b": others, "c": others, "d": others}


def check_wave(wave):
    """Every lane has a letter a cycle, a text for every value, and a drawing that is XML."""
    lanes = wave["signal"]
    assert len({len(lane["wave"]) for lane in lanes}) == 1, wave
    for lane in lanes:
        assert set(lane["wave"]) <= set("p01=x.|")
        assert lane["wave"].count("=") == len(lane.get("data", []))
        breaks = [i for i, letter in enumerate(lane["wave"]) if letter == "|"]
        assert breaks == [i for i, c in enumerate(lanes[0]["wave"]) if c == "|"]
    root = ElementTree.fromstring(waves.svg(wave))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {lane["name"] for lane in lanes} <= set(texts)


@pytest.mark.parametrize("channels, spacing", [(3, 1), (3, 3), (1, 2)])
def test_waves(channels, spacing):
    for wave in waves.waves(channels, spacing).values():
        check_wave(wave)
    first = waves.waves(channels, spacing)["pixels"]["signal"][1]["wave"]
    apart = [i for i, letter in enumerate(first) if letter == "1"]
    if spacing > 1:
        assert apart[1] - apart[0] == spacing


def levels(wave, name):
    """What a lane is in each cycle: its letter, of a value its text."""
    (lane,) = [each for each in wave["signal"] if each["name"] == name]
    found, texts = [], iter(lane.get("data", ()))
    for letter in lane["wave"]:
        now = found[-1] if letter == "." else next(texts) if letter == "=" else letter
        found.append(now)
    return found


def test_the_drawn_load_is_one():
    """Its stream is an image; the rest is what loader and frame control make of that."""
    wave = waves.waves(3, 1)["load"]
    wave = {"signal": [lane | {"wave": lane["wave"].replace("|", ".")} for lane in wave["signal"]]}
    names = [lane["name"] for lane in wave["signal"]][1:]
    lanes = [levels(wave, name) for name in names]
    drawn = [dict(zip(names, bits, strict=True)) for bits in zip(*lanes, strict=True)]
    data = [i for i, now in enumerate(drawn) if now["load_valid"] + now["load_ready"] == "11"]
    # a byte a cycle, the one that is left out among them
    assert [drawn[i]["load_data"] for i in data] == ["0", "1", "2", "2", "n-2", "n-1"]
    loader = Loader(sections=[Section("only", len(data), 8)], digest=1)
    frames = FrameControl(row_groups=2, rows=5, needs=(3, 4, 5), classes=2, stop_class=1)
    m = Module()
    m.submodules.loader, m.submodules.frames = loader, frames
    m.d.comb += [
        frames.loaded.eq(loader.loaded),
        frames.loading.eq(loader.load_valid),
        loader.idle.eq(frames.idle),
    ]
    digests = {"old": 1, "0": 0, "CRC-32": zlib.crc32(bytes(len(data)))}

    async def bench(ctx):
        await ctx.tick().repeat(9)
        for cycle, now in enumerate(drawn):
            for name in ("load_valid", "load_last"):
                ctx.set(getattr(loader, name), int(now[name]))
            assert ctx.get(loader.load_ready) == int(now["load_ready"]), f"cycle {cycle}"
            assert ctx.get(loader.weights_digest) == digests[now["weights_digest"]], (
                f"cycle {cycle}"
            )
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("bus", BUSES)
def test_waves_of_a_bus(bus, monkeypatch):
    """Recorded ones keep to the bus's rules; lanes are ports, accesses are of registers there."""
    model = MODEL if bus == "wishbone" else TINY
    shape = SERIAL if bus == "wishbone" else SHAPE
    design = RascaBus(bus, model, shape, random_weights(model, 4))
    names = {name for name, *_ in ports(design)} | {"clk", "registers"}
    drawn = whole.waves_of(design)
    assert set(drawn) == {"pixels", "write", "read", "row", "decision", "state", "load"}
    registers = {one.name: one.access for one in design.registers.registers}
    for wave in drawn.values():
        check_wave(wave)
        assert {lane["name"] for lane in wave["signal"]} <= names
        for lane in wave["signal"]:
            for text in lane.get("data", ()) if lane["name"] == "registers" else ():
                way, name, *_ = re.split(r"[ :]+", text)
                refused = {"read": Access.WRITE, "write": Access.READ}[way]
                assert registers[name] is not refused

    wave = drawn["pixels"]
    went = [
        "11" == a + b
        for a, b in zip(levels(wave, "s_axis_tvalid"), levels(wave, "s_axis_tready"), strict=True)
    ]
    data = [text for text, gone in zip(levels(wave, "s_axis_tdata"), went, strict=True) if gone]
    assert len(set(data)) == len(data) == 6 and "x" not in data
    for name, marked in (("s_axis_tuser", [0]), ("s_axis_tlast", [2, 5])):
        bits = [bit for bit, gone in zip(levels(wave, name), went, strict=True) if gone]
        assert [i for i, bit in enumerate(bits) if bit == "1"] == marked
    held = levels(wave, "s_axis_tready")
    assert max(len(run) for run in "".join(held).split("1")) > design.plan.rules.pixel_spacing

    read = "s_axi_rdata" if bus == "axi" else "wb_dat_r"
    assert [text for text in levels(drawn["read"], read) if text != "x"] == ["52534341"]
    monkeypatch.setattr(bus_waves, "VALUE", 0xABCD)
    again = whole.waves_of(design)["write"]
    written = levels(again, "s_axi_wdata" if bus == "axi" else "wb_dat_w")
    assert set(written) == {"x", "0000ABCD"}
    ends = "s_axi_bvalid" if bus == "axi" else "wb_ack"
    assert levels(again, ends).count("1") == 1 and levels(again, ends)[-1] == "0"


def test_a_bus_that_never_answers_is_not_drawn(monkeypatch):
    monkeypatch.setattr(bus_waves, "_LONGEST", 2)
    with pytest.raises(RuntimeError, match="pixels are left"):
        bus_waves.bus_waves("axi", 3, 1, 2)


def test_core_and_constraints(made):
    design, folder = made("loaded")
    text = (folder.parent / "engine.core").read_text()
    assert text.startswith("CAPI=2:\n")
    core = yaml.safe_load(text.partition("\n")[2])
    listed = [
        name
        for files in core["filesets"].values()
        for one in files["files"]
        for name in one
        if name != "engine.vlt"
    ]
    assert all((folder.parent / name).is_file() for name in listed) and len(listed) == 7
    assert core["targets"]["sim"]["filesets"] == ["rtl", "bench"]
    sdc = (folder / "engine.sdc").read_text()
    names = set(re.findall(r"\w+", " ".join(re.findall(r"\[list (.*)\]", sdc))))
    assert names == {name for name, *_ in ports(design)} - {"clk"}


def test_command(tmp_path):
    """make verilog writes it beside the Verilog."""
    preset = tmp_path / "tiny.json"
    preset.write_text(json.dumps(asdict(TINY)))
    words = ("--preset", preset, "--shape", str(SHAPE), "--folder", tmp_path)
    assert invoke("verilog", *words).exit_code == 0
    place = tmp_path / "rasca_tiny_5_1_1_kit"
    assert {"tb.v", "picture.hex", "logits.hex", "state.hex", "datasheet.md"} <= {
        one.name for one in place.iterdir()
    }
    assert (tmp_path / "rasca_tiny_5_1_1.core").is_file()
    assert "../rasca_tiny_5_1_1.v" in (place / "tb.v").read_text()
    assert invoke("verilog", *words, "--bus", "wishbone").exit_code == 0
    place = tmp_path / "rasca_tiny_5_1_1_wishbone_kit"
    assert "rasca_wishbone dut" in (place / "tb.v").read_text()
    sheet = (place / "datasheet.md").read_text()
    assert "**LOAD_DATA**" in sheet
    drawn = re.findall(r"!\[\w+\]\((wave_\w+\.svg)\)", sheet)
    assert len(drawn) == 7 and all((place / name).is_file() for name in drawn)
