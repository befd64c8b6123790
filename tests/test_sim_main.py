"""The command line's answers to bad input: one clear line, status 2, no stack trace."""

import pytest

from golden.command_line import refresh
from golden.config import PRESETS
from golden.random_weights import random_weights
from hw.plan import compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.memory import on_chip_bytes
from sim import main, runner
from tests import command


def refused(*arguments):
    """The one line that the program says on refusing."""
    return command.refused("sim", *arguments)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--preset", "vww_1x1"], ["vww_105x120", "'vww_1x1'"]),
        (["--shape", "8,1"], ["pixels,channels,lanes", "8,1,2"[:3]]),
        (["--shape", "8,1,6"], ["nearest usable", "6"]),
        (["--shape", "8,99,2"], ["channels", "99"]),
        (["--preset", "vww_210x240_full", "--shape", "8,1,2"], ["at least 15", "8"]),
        (["--image", "no/such/picture.png"], ["no/such/picture.png", "no such file"]),
        (["--weights", "no/such.safetensors"], ["no/such.safetensors", "no such file"]),
        (["--frames", 0], ["at least 1", "0"]),
        (["--camera", "fast"], ["paced or blanking", "'fast'"]),
        (["--tau", 1.5], ["inside 0..1", "1.5"]),
        (["--skip", 0], ["inside 0..1", "0"]),
    ],
)
def test_bad_option(arguments, words):
    line = refused(*arguments)
    assert all(word in line for word in words), line


def test_unreadable_picture(tmp_path):
    path = tmp_path / "words.png"
    path.write_text("not a picture")
    assert "words.png: not a readable picture" in refused("--image", path)
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "no picture in it" in refused("--image", folder)


def test_wrong_weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    random_weights(PRESETS["vww_140x160"], 1).save(path)
    line = refused("--weights", path)
    assert "made for vww_140x160" in line and "not for vww_105x120" in line
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a whole safetensors file" in refused("--weights", path)


def test_option_that_is_no_number():
    assert refused("--frames", "two") == "rasca: expected a whole number for --frames, not 'two'"


def test_the_table_is_of_the_engines_as_they_are():
    """The README's measured lines, one of each bench: what the plans say now."""
    lines = [line for line in (runner.ROOT / "README.md").read_text().splitlines()
             if line.startswith("| `vww_")]  # fmt: skip
    assert len(lines) == len(main.BENCHES)
    for line, (name, text, parts) in zip(lines, main.BENCHES, strict=True):
        plan = compile_program(PRESETS[name], EngineConfig.parse(text, parts=parts))
        array = f"{text} compact" if parts == "serial" else text
        begin = (
            f"| `{name}` | {array} | {plan.engine.multipliers} | {plan.cycles_per_frame:,} "
            f"| **{100 * plan.utilisation():.2f} %** |"
        )
        assert line.startswith(begin), f"{line}: not {begin}"
        assert line.endswith(f"| {on_chip_bytes(plan.memories)['total']:,} |"), line


def test_table_between_markers(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n")
    refresh(path, "bench", "new")
    assert path.read_text() == "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n"
    with pytest.raises(ValueError, match="page.md: must hold the lines <!-- other:begin -->"):
        refresh(path, "other", "new")
