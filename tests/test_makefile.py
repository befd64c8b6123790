"""make hands everything on as it was typed, and refuses what a target does not know."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rasca import commands, make
from rasca.__main__ import load
from rasca.site import reference
from tests.command import invoke, parse, refused

ROOT = Path(__file__).resolve().parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")
TRAIN = dict(
    DATA="d",
    IMAGES="i",
    PRESET="vww_210x240",
    EPOCHS="3",
    RESUME="r.pt",
    OUTPUT="o",
    BATCH="8",
    SEED="5",
    CONFIDENCE="none",
    HELD_OUT="0.2",
    HELD_OUT_OF="a=0.1 b=0.3",
    CELLS="c.json",
    QUANTISED="2",
    SKIP_BAD="1",
)


def line(target, **given):
    """The words of a target's command, without its name."""
    name, *words = make.words(target, given)
    assert name == target
    return words


def test_train_forwards_everything():
    found = line("train", **TRAIN)
    wanted = """--data d --images i --preset vww_210x240 --epochs 3 --resume r.pt --output o
        --batch 8 --seed 5 --confidence none --held-out 0.2 --held-out-of a=0.1 --held-out-of b=0.3
        --cells c.json --quantised-epochs 2 --skip-bad --integers"""
    assert found == wanted.split()
    assert line("train", DATA="my pictures") == [
        "--data",
        "my pictures",
        "--integers",
    ]


@pytest.mark.parametrize(
    "target, given, wanted",
    [
        ("accounting", {}, "--output build/accounting.json"),
        (
            "evaluate",
            dict(IMAGES="i", LABELS="l.csv"),
            "--images i --labels l.csv --json build/evaluate.json",
        ),
        (
            "evaluate",
            dict(IMAGES="i", LABELS="l", CHECKPOINT="f", CALIBRATE="c", MODEL="float", TAU="0.9"),
            "--images i --labels l --checkpoint f --calibrate c --model float --tau 0.9"
            " --json build/evaluate.json",
        ),
        (
            "early-termination",
            dict(IMAGES="i", LABELS="l", TAU="0.9,0.99", SKIP="off,0.1", PAGE="p.md"),
            "--images i --labels l --tau 0.9,0.99 --skip off,0.1 --page p.md"
            " -o build/early_termination",
        ),
        (
            "visualise",
            dict(IMAGE="a.png", PRESET="vww_210x240", WEIGHTS="w"),
            "--image a.png --preset vww_210x240 --weights w -o build/visualise",
        ),
        (
            "ablation",
            dict(KIND="loss", DATA="d", SIZE="60x64", SEEDS="3"),
            "--data d --size 60x64 --seeds 3 -- loss",
        ),
        (
            "import",
            dict(CHECKPOINT="f", CALIBRATE="c", PRESET="vww_210x240"),
            "--calibrate c --preset vww_210x240 -- f",
        ),
        (
            "fidelity",
            dict(CHECKPOINT="f", CALIBRATE="c", IMAGES="i", LABELS="l"),
            "--checkpoint f --calibrate c --images i --labels l --json build/fidelity.json",
        ),
        (
            "labels",
            dict(DATA="d", PART="validation", HELD_OUT_OF="a=0.2", LINKS="n"),
            "--part validation --held-out-of a=0.2 --links n -o build/labels.csv -- d",
        ),
        ("sim", dict(TRACE="1", TAU="0.9"), "--tau 0.9 --trace"),
        ("sim", dict(TRACE="0", TAU=""), ""),
        ("host", dict(PORT="p", LOAD="1", BYTES="1"), "--port p --load --bytes"),
        ("host", dict(WEB="1", REPLAY="r", WEB_PORT="80"), "--web --replay r --web-port 80"),
    ],
)
def test_other_targets(target, given, wanted):
    assert line(target, **given) == wanted.split()


@pytest.mark.parametrize("target", commands.COMMANDS)
def test_the_commands_know_these_options(target):
    """Parsed only: an option that a command has not got, or cannot be left out, is an error."""
    command = commands.COMMANDS[target]
    values = {"flag": "1", "list": "a=0.5 b=0.5", "value": "1"}
    every = {one.name: values[one.kind] for one in command.variables}
    needed = {one.name: "1" for one in command.variables if one.needed}
    for given in (every, needed):
        parse(make.words(target, given))
    assert reference.untold(load(target)) == [], "an option without a help text"


def test_help_names_every_target_and_variable():
    found = invoke("make", "help").stdout
    named = {row.split("\t")[0].split()[1] for row in found.splitlines()}
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.search(r"^COMMANDS := (.*)$", text, re.M)[1].split()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].replace("$(COMMANDS)", "").split()
    assert named == {*listed, *phony}
    for row, (name, one) in zip(found.splitlines(), commands.targets().items(), strict=True):
        assert row.startswith(f"  make {name}\t")
        for variable in one.variables:
            assert f" {variable.name}=" in row or f"[{variable.name}=" in row


def test_needed_variables_and_flags():
    words = "expected IMAGE=file, not nothing"
    with pytest.raises(make.VariableError, match=words):
        make.words("visualise", {"IMAGE": ""})
    with pytest.raises(make.VariableError, match="expected TRACE=1 or TRACE=0, not 'yes'"):
        make.words("sim", {"TRACE": "yes"})


# ---- through make ----


@pytest.fixture
def run(tmp_path):
    """Runs make with a Python that says what reached it; gives (exit status, that, stderr)."""
    python = tmp_path / "python"
    code = (
        "import json, sys; from rasca import make; target = sys.argv[1];"
        "values, left = make.values_of(target);"
        "print(json.dumps([make.words(target, values) if target in make.COMMANDS else values,"
        "left]))"
    )
    python.write_text(f"#!/bin/sh\nshift 3\nexec {sys.executable} -c '{code}' \"$@\"\n")
    python.chmod(0o755)

    def call(*words, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        done = subprocess.run(
            ["make", "-s", "-o", ".venv/.stamp", f"PYTHON={python}", *words],
            capture_output=True, text=True, cwd=ROOT, env={**kept, **environment},
        )  # fmt: skip
        found = [json.loads(row) for row in done.stdout.splitlines()]
        return done.returncode, found, done.stderr

    return call


VALUES = [
    "it's.png",
    "two  words.png",
    "$(shell touch made)",
    "$HOME`id`$$x ${x}",
    'a"b\\c\\\\d',
    "semi; touch made #hash",
    "line\nbreak\ttab",
    "blanks behind  ",  # make itself drops those before
    "ünïcode=equals, -- --preset",
    "-dash",
    "*?[]~&|<>!%",
]


@needs_make
@pytest.mark.parametrize("value", VALUES)
def test_values_arrive_as_they_were_typed(run, value):
    status, found, error = run("visualise", f"IMAGE={value}", "PRESET=b")
    assert status == 0, error
    assert found == [
        [["visualise", "--image", value, "--preset", "b", "-o", "build/visualise"], []]
    ]
    assert not (ROOT / "made").exists()


@needs_make
def test_environment_and_overrides(run):
    """As in make: the environment counts where the command line says nothing."""
    _, found, _ = run("report", "FPS:=30", PRESET="it's $x", FPS="5", BOARD="other")
    assert found[0][0] == ["report", "--preset", "it's $x", "--fps", "30"]
    _, found, _ = run("-k", "-j2", "fuzz", "N=3", "N=4")
    assert found[0][0] == ["fuzz", "--count", "4"]
    _, found, _ = run("test", 'ARGS=-k "a or b"')
    assert found[0][0] == {"ARGS": '-k "a or b"'} | {"PYTHON": found[0][0]["PYTHON"]}


@needs_make
def test_several_targets_share_their_variables(run):
    status, found, error = run("sim", "report", "PRESET=p", "FRAMES=3", "FPS=2")
    assert status == 0, error
    assert found[0][0] == ["sim", "--preset", "p", "--frames", "3"]
    assert found[1][0] == ["report", "--preset", "p", "--fps", "2"]
    status, _, error = run("sim", "report", "PRESET=p", "BOARD=x")
    assert status == 2 and "for make sim report, not BOARD=" in error


@needs_make
def test_an_outer_makes_variables_are_left_alone(run):
    flags = {"MAKELEVEL": "1", "MAKEFLAGS": " -- CC=clang PRESET=p"}
    status, found, _ = run("report", **flags)
    assert status == 0
    assert found == [[["report", "--preset", "p"], ["CC"]]]


@needs_make
@pytest.mark.parametrize(
    "words, said",
    [
        (["report", "preset=x"], "not preset=; the nearest is PRESET="),
        (["report", "SHAPES="], "not SHAPES=; the nearest is SHAPE="),
        (["report", "FOO=1"], "expected one of PRESET=, SIZE=, SHAPE=, CLOCK_MHZ=, TECH=, FPS=, "
                              "LIBERTY=, IMAGES=, WEIGHTS=, SKIP_BAD=, COMPACT=, LOW_POWER=, "
                              "AWAKE= for make report, not FOO="),
        (["report", "BOARD=ulx3s"], "not BOARD=, which is for make bitstream, netlist, screen, "
                                    "program, flash-image"),
        (["bench", "PRESET=x"], "expected no variable for make bench, not PRESET="),
        (["FPS=30"], "for make help, not FPS=, which is for make asic, report"),
        (["clean", "ALL=1"], "expected no variable for make clean, not ALL="),
        (["sim", "FRAME=1"], "not FRAME=; the nearest is FRAMES="),
        (["train"], "expected DATA=folder, COCO .json or .csv, not nothing"),
        (["train", "DATA=d", "EPOCHS=two"], "expected a whole number for EPOCHS=, not 'two'"),
        (["train", "DATA=d", "HELD_OUT=x"], "expected a number for HELD_OUT=, not 'x'"),
        (["sim", "TRACE=yes"], "expected TRACE=1 or TRACE=0, not 'yes'"),
        (["sim", "FRAMES=0"], "FRAMES= must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_refused_in_one_line(words, said):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.stamp", f"PYTHON={sys.executable}", *words],
        capture_output=True, text=True, cwd=ROOT, env=kept,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    mine = [row for row in done.stderr.splitlines() if not row.startswith("make:")]
    assert len(mine) == 1 and mine[0].startswith("rasca: ") and mine[0].endswith(said), done.stderr


def test_the_command_line_has_its_own_names():
    assert refused("fuzz", "--count", "x") == "rasca: expected a whole number for --count, not 'x'"
    assert refused("fuzz", "--count", "x", from_make=True).endswith("for N=, not 'x'")
    assert refused("make", "none") == "rasca: expected a target of make, not 'none'"
