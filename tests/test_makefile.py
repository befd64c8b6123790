"""make passes on what it is given: each target's line, without running it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from golden import (
    ablation,
    accounting,
    early_termination,
    evaluate,
    fidelity,
    import_checkpoint,
    make_labels,
    model_card,
    visualise,
)
from golden import train as training

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")
SHIPPED = "golden/default_weights/vww_105x120.safetensors"


def line(target, **given):
    """The words of the Python line of a target, without interpreter and module."""
    words = [f"{key}={value}" for key, value in given.items()]
    # -o: as if the environment were there and fresh
    command = ["make", "-n", "-s", "-o", ".venv/.stamp", target, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return shlex.split(done.stdout.strip().rpartition("-m golden.")[2])[1:]


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


def test_train_forwards_everything():
    found = line("train", **TRAIN)
    wanted = """--data d --images i --preset vww_210x240 --epochs 3 --resume r.pt --output o
        --batch 8 --seed 5 --confidence none --held-out 0.2 --held-out-of a=0.1 --held-out-of b=0.3
        --cells c.json --quantised-epochs 2 --skip-bad"""
    assert found == wanted.split()
    assert line("train", DATA="my pictures") == [
        "--data",
        "my pictures",
        "--quantised-epochs",
        "1",
    ]


@pytest.mark.parametrize(
    "target, given, wanted",
    [
        ("accounting", {}, "--output build/accounting.json"),
        (
            "evaluate",
            dict(IMAGES="i", LABELS="l.csv"),
            f"--preset vww_105x120 --weights {SHIPPED} --images i --labels l.csv --model int"
            " --json build/evaluate.json",
        ),
        (
            "evaluate",
            dict(IMAGES="i", LABELS="l", CHECKPOINT="f", CALIBRATE="c", MODEL="float", TAU="0.9"),
            "--preset vww_105x120 --checkpoint f --calibrate c --images i --labels l"
            " --model float --tau 0.9 --json build/evaluate.json",
        ),
        (
            "early-termination",
            dict(IMAGES="i", LABELS="l", TAU="0.9,0.99", SKIP="off,0.1", PAGE="p.md"),
            f"--preset vww_105x120 --weights {SHIPPED} --images i --labels l --tau 0.9,0.99"
            " --skip off,0.1 --page p.md -o build/early_termination",
        ),
        (
            "visualise",
            dict(IMAGE="a.png", PRESET="vww_210x240", WEIGHTS="w"),
            "--preset vww_210x240 --image a.png --weights w -o build/visualise",
        ),
        (
            "ablation",
            dict(KIND="loss", DATA="d", SIZE="60x64", SEEDS="3"),
            "loss --data d --size 60x64 --seeds 3",
        ),
        (
            "import",
            dict(CHECKPOINT="f", CALIBRATE="c", PRESET="vww_210x240"),
            "f --preset vww_210x240 --calibrate c -o build/vww_210x240.safetensors",
        ),
        (
            "fidelity",
            dict(CHECKPOINT="f", CALIBRATE="c", IMAGES="i", LABELS="l"),
            "--preset vww_105x120 --checkpoint f --calibrate c --images i --labels l"
            " --json build/fidelity.json",
        ),
        (
            "labels",
            dict(DATA="d", PART="validation", HELD_OUT_OF="a=0.2", LINKS="n"),
            "d --part validation --held-out-of a=0.2 --links n -o build/labels.csv",
        ),
    ],
)
def test_other_targets(target, given, wanted):
    assert line(target, **given) == wanted.split()


@pytest.mark.parametrize(
    "target, app, given",
    [
        ("train", training.app, TRAIN),
        ("labels", make_labels.app, dict(DATA="d", PART="all", SPLIT="s", LINKS="n", SKIP_BAD="1")),
        ("import", import_checkpoint.app, dict(CHECKPOINT="f", CALIBRATE="c")),
        ("evaluate", evaluate.app, dict(IMAGES="i", LABELS="l", SKIP="0.1", LOGITS="x")),
        ("fidelity", fidelity.app, dict(CHECKPOINT="f", CALIBRATE="c", IMAGES="i", LABELS="l")),
        ("card", model_card.app, dict(CHECKPOINT="f", IMAGES="i", LABELS="l", PAGE="p.md")),
        ("early-termination", early_termination.app, dict(IMAGES="i", LABELS="l", PAGE="p")),
        ("visualise", visualise.app, dict(IMAGE="a", CHECKPOINT="f", CALIBRATE="c", SKIP="0.1")),
        ("ablation", ablation.app, dict(KIND="loss", DATA="d", HELD_OUT="0.1", EPOCHS="1")),
        ("accounting", accounting.app, {}),
    ],
)
def test_the_commands_know_these_options(target, app, given):
    """Parsed only: an option that a command has not got is an error here."""
    get_command(app).make_context(target, line(target, **given))


def test_help_names_every_target():
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    named = {row.split("\t")[0].split()[1] for row in done.stdout.splitlines()}
    text = (ROOT / "Makefile").read_text()
    phony = next(row for row in text.splitlines() if row.startswith(".PHONY:"))
    assert named == set(phony.split()[1:])
