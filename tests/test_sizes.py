"""Pictures of any size: SIZE=HxW with every command that takes a network."""

import inspect
import json
from dataclasses import asdict, replace

import pytest

from golden import quantise
from golden.config import PRESETS, preset, resized
from golden.random_weights import random_weights
from hw.plan import compile_program, default_shape
from rasca import commands
from rasca.__main__ import load, sized
from tests.command import invoke, parse, refused
from tests.test_bus import TINY


def test_preset_of_a_size():
    small = preset("vww_105x120@240x320")
    assert small == replace(
        PRESETS["vww_105x120"], name="vww_105x120_at_240x320", image_height=240, image_width=320
    )
    assert preset("@240x320") == small == preset(small.name)
    assert preset("@240x320", "vww_210x240").heads == 2
    assert preset("@210x240", "vww_210x240") is PRESETS["vww_210x240"]
    with pytest.raises(ValueError, match="preset must be one of .*, not 'none'"):
        preset("none@240x320")


def test_file_of_a_size(tmp_path):
    file = tmp_path / "a@b.json"
    file.write_text(json.dumps(asdict(TINY)))
    assert preset(str(file)) == TINY
    assert preset(f"{file}@20x30") == resized(TINY, "20x30")


@pytest.mark.parametrize("size", ["20", "20x", "x20", "axb", "20x30x40", "-5x20", " 5x20", "2.x3"])
def test_no_size(size):
    with pytest.raises(ValueError, match=f"size must be HEIGHTxWIDTH, not '{size}'"):
        preset(f"@{size}")
    assert refused("verilog", "--size", size) == (
        f"rasca: --size must be HEIGHTxWIDTH, not '{size}'"
    )
    line = refused("verilog", "--size", size, from_make=True)
    assert line == f"rasca: SIZE= must be HEIGHTxWIDTH, not '{size}'"


def test_sizes_that_no_network_has():
    assert "image_height must be an integer, 5..65535" in refused("report", "--size", "4x120")
    assert "image_width must be an integer, 16..65535" in refused("report", "--size", "105x15")


def test_every_command_that_takes_a_network():
    """Has the option, and make the variable; not where several networks are named."""
    for name, one in commands.COMMANDS.items():
        several = {word: p.nargs != 1 or p.multiple for p in load(name).params for word in p.opts}
        assert ("--size" in several) == (several.get("--preset") is False), name
        if one.target:
            assert bool(one.variable("SIZE")) == bool(one.variable("PRESET")), name


def test_the_option_is_the_presets_suffix():
    seen = []

    def command(preset_name: str = "vww_105x120", more: "int" = 3) -> None:
        seen.append((preset_name, more))

    made = sized(command)
    made(preset_name="vww_105x120", more=4, size="20x30")
    made(preset_name=None, more=3, size="20x30")
    made(preset_name="x", more=3)
    assert seen == [("vww_105x120@20x30", 4), ("@20x30", 3), ("x", 3)]
    assert sized(len) is len
    kinds = {one.name: one.annotation for one in inspect.signature(made).parameters.values()}
    assert kinds["more"] is int and list(kinds) == ["preset_name", "more", "size"]
    assert parse(["verilog", "--size", "20x30"])["size"] == "20x30"
    assert parse(["verilog"])["size"] is None


@pytest.mark.parametrize("size, words", [("240x320", 1), ("480x640", 1), ("1080x1920", 2)])
def test_large_pictures_have_a_shape(size, words):
    model = preset(f"@{size}")
    shape = default_shape(model)
    plan = compile_program(model, shape)
    assert plan.geometry.state_words == words and shape.pixels * words == model.n
    assert plan.cycles_per_row_group > 60000


def test_bytes_follow_the_width_only():
    from hw.plan.cost import on_chip_bytes

    found = [
        on_chip_bytes(compile_program(model, default_shape(model)).memories)["total"]
        for model in (preset("@240x320"), preset("@480x320"), preset("@240x640"))
    ]
    assert found[0] == found[1] < found[2]


def test_report_of_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = invoke("report", "--size", "240x320")
    assert found.exit_code == 0, found.output
    (file,) = tmp_path.rglob("report.json")
    assert file.parent.name == "vww_105x120_at_240x320"


def test_calibration_of_large_pictures(monkeypatch):
    """Fewer of them; up to 240x320 all."""
    seen = []

    class Stop(Exception):
        pass

    def made(config, images, seed):
        seen.append(len(images))
        raise Stop

    monkeypatch.setattr(quantise, "calibrated_model", made)
    for size in ("240x320", "480x640", "1080x1920"):
        with pytest.raises(Stop):
            quantise.default_weights(preset(f"@{size}"))
    assert seen == [24, 6, 2]
    assert random_weights(preset("@20x40"), 1)
