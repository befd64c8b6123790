"""Wrong input of every kind to every command: one line with what was expected and what came,
status 2, nothing written."""

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rasca.__main__ as command_line
from golden.config import PRESETS
from golden.errors import CommandError, bad_input, said
from golden.random_weights import random_weights
from rasca import commands
from tests.command import invoke

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "golden" / "default_weights" / "vww_105x120.safetensors"

# what stands for a file of some kind in the lines below
FILES = {
    "PIC": "pic.png",
    "TEXT": "text.txt",
    "EMPTY": "empty",
    "NONE": "none/such",
    "UNDER": "text.txt/out",  # a folder that cannot be made
    "PICS": "pics",
    "CSV": "pics/labels.csv",
    "OTHER": "other.safetensors",  # weights of another network
    "BROKEN": "broken.safetensors",
    "CKPT": "a.pt",
    "JUNK": "junk.pt",
    "BADTOML": "bad.toml",
    "BADYAML": "bad.yaml",
    "HALFTOML": "half.toml",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("inputs")
    (place / "empty").mkdir()
    (place / "pics").mkdir()
    (place / "text.txt").write_text("words\n")
    for name in ("pic.png", "pics/0.png", "pics/1.png"):
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(place / name)
    (place / "pics" / "labels.csv").write_text("file,label\n0.png,0\n1.png,1\n")
    random_weights(PRESETS["vww_140x160"], 1).save(place / "other.safetensors")
    (place / "broken.safetensors").write_bytes(SHIPPED.read_bytes()[:5000])
    torch.save({"state_dict": {"a": torch.zeros(1)}}, place / "a.pt")
    (place / "junk.pt").write_bytes(b"junk")
    (place / "bad.toml").write_text(
        "image_height = 105\nimage_width = 120\nhead_channels = [4, 4, 4, 4]\n"
        "state_channels = 4\nheads = 9\n"
    )
    (place / "half.toml").write_text("image_height = \n")
    (place / "bad.yaml").write_text("[1, 2\n")
    return place


# A line each: what is given; words that the answer holds. Of a kind: missing, empty, no number,
# out of range, another type of file, a name that nothing has, a place that cannot be written.
NETWORK = """
--preset none | preset must be one of | 'none'
--preset NONE.toml | none/such.toml | no such file
--preset BADTOML | bad.toml | heads
--preset HALFTOML | half.toml
--preset EMPTY | not 'empty'
--preset= | a value after --preset
"""
SHAPE = """
--shape 8,1 | three whole numbers | 8,1
--shape a,b,c | three whole numbers | a,b,c
--shape 99,1,2 | pixels must be | 99
"""
WEIGHTS = """
--weights NONE | none/such
--weights EMPTY | empty
--weights TEXT | text.txt
--weights OTHER | vww_140x160
--weights BROKEN | broken.safetensors
"""
LIBERTY = """
--liberty NONE | none/such
--liberty EMPTY | empty
--liberty TEXT | text.txt
"""
FOLDER = """
--folder UNDER | text.txt
"""
LABELLED = """
--images NONE --labels CSV | none/such
--images TEXT --labels CSV | text.txt
--images PICS --labels NONE | none/such
--images PICS --labels EMPTY | empty
--images PICS --labels TEXT | text.txt
--images PICS | --labels | nothing
--labels CSV | --images | nothing
"""
CHECKPOINT = """
--checkpoint NONE | none/such
--checkpoint EMPTY | empty
--checkpoint JUNK | junk.pt
--checkpoint CKPT | a.pt
"""
TABLE = {
    "sim": (
        NETWORK,
        SHAPE,
        WEIGHTS,
        """
        --image NONE | none/such
        --image TEXT | text.txt
        --image EMPTY | no picture
        --image= | a value after --image
        --frames two | a whole number for --frames | 'two'
        --frames 1.5 | a whole number for --frames | '1.5'
        --frames 0 | --frames must be at least 1 | 0
        --frames -3 | at least 1 | -3
        --frames | a value after --frames
        --frames --shape | a value after --frames | the option --shape
        --camera fast | paced or blanking | 'fast'
        --tau two | a number for --tau | 'two'
        --picture NONE/a.png | none/such
        --tau 0 | --tau must lie inside 0..1 | 0
        --tau nan | --tau must lie inside 0..1 | nan
        --tau inf | --tau must lie inside 0..1 | inf
        --skip 1 | --skip must lie inside 0..1 | 1
        --taus 0.9 | an option of rasca sim | --taus | nearest is --tau
        --trace=yes | --trace without a value
        words | options only | 'words'
        """,
    ),
    "bench": ("--preset x | an option of rasca bench | --preset",),
    "verilog": (
        NETWORK,
        SHAPE,
        WEIGHTS,
        FOLDER,
        "--weight-memory rom | initialised | 'rom'",
        "--bus apb | axi or wishbone | 'apb'",
    ),
    "onnx": (NETWORK, WEIGHTS, FOLDER, CHECKPOINT),
    "fuzz": (
        """
        --count x | a whole number for --count | 'x'
        --count 0 | --count must be at least 1 | 0
        --seed x | a whole number for --seed | 'x'
        """,
    ),
    "storm": (
        """
        --count x | a whole number for --count | 'x'
        --count 0 | --count must be at least 1 | 0
        --seed x | a whole number for --seed | 'x'
        --seed -1 | --seed must be at least 0 | -1
        """,
    ),
    "prove": (
        """
        --only nothing | part of a property's name | 'nothing'
        --limit x | a number for --limit | 'x'
        --limit 0 | --limit must be above 0 | 0
        --page NONE | none/such
        """,
    ),
    "mutate": (
        """
        --count x | a whole number for --count | 'x'
        --count 0 | --count must be at least 1 | 0
        --seed -1 | --seed must be at least 0 | -1
        --block nothing | part of a block's name | 'nothing'
        """,
    ),
    "coverage": (
        """
        --only nothing | part of a simulation's name | 'nothing'
        --page NONE | none/such
        """,
    ),
    "strangers": (
        """
        --minutes x | a number for --minutes | 'x'
        --minutes 0 | --minutes must be above 0 | 0
        --minutes nan | --minutes must be above 0 | nan
        --seed -1 | at least 0 for --seed | -1
        --kind nothing | as a kind | 'nothing'
        """,
    ),
    "asic": (
        NETWORK,
        SHAPE,
        LIBERTY,
        WEIGHTS,
        FOLDER,
        """
        --technology 7nm | ihp130 | '7nm'
        --clock fast | a number for --clock | 'fast'
        --clock 0 | clock must be above 0 | 0
        --clock nan | clock must be | nan
        --clock inf | clock must be | inf
        --row-groups -1 | at least 0 for --row-groups | -1
        --row-groups 99 | --row-groups must be | 99
        """,
    ),
    "explore": (
        LIBERTY,
        """
        --space NONE.yaml | none/such.yaml
        --space EMPTY | empty
        --space TEXT | text.txt
        --space BADYAML | bad.yaml
        --space HALFTOML | half.toml
        --workers x | a whole number for --workers | 'x'
        --workers -1 | at least 0 for --workers | -1
        --synthesise -1 | at least 0 for --synthesise | -1
        --folder UNDER --workers 0 | text.txt
        """,
    ),
    "report": (
        NETWORK,
        SHAPE,
        LIBERTY,
        WEIGHTS,
        FOLDER,
        """
        --clock-mhz nan | --clock-mhz must be a number above 0 | 'nan'
        --clock-mhz -5 | --clock-mhz must be a number above 0 | '-5'
        --fps fast | --fps must be a number above 0 | 'fast'
        --fps 0 | --fps must be a number above 0 | '0'
        --tech 7nm | ihp130 | '7nm'
        --images NONE | none/such
        --images EMPTY | no picture
        --images TEXT | text.txt
        """,
    ),
    "bitstream": (
        """
        | --board | nothing
        --board none | ulx3s | 'none'
        --board ulx3s --preset none | preset must be one of | 'none'
        --board ulx3s --shape 8 | three whole numbers | 8
        --board ulx3s --weights NONE | none/such
        --board ulx3s --seed x | a whole number for --seed | 'x'
        --board icebreaker --low-byte-first | two bytes a pixel | hm01b0
        --board orangecrab --falling-edge | one with a camera | orangecrab
        --board ulx3s --folder UNDER | text.txt
        """,
    ),
    "bitstreams": (
        """
        --board none | ulx3s | 'none'
        --seed x | a whole number for --seed | 'x'
        """,
    ),
    "netlist": (
        """
        --board none | icebreaker | 'none'
        --preset none | preset must be one of | 'none'
        --row-groups x | a whole number for --row-groups | 'x'
        --row-groups 0 | --row-groups must be | 0
        --shape 8 | three whole numbers | 8
        --image NONE | none/such
        --image TEXT | text.txt
        --weights TEXT | text.txt
        --folder UNDER | text.txt
        """,
    ),
    "screen": (
        """
        --board none | ulx3s | 'none'
        --board icebreaker | outputs of icebreaker must be one of preview | 'hdmi'
        --preset none | preset must be one of | 'none'
        --shape 8 | three whole numbers | 8
        --image NONE | none/such
        --image TEXT | text.txt
        --weights TEXT | text.txt
        --picture UNDER | text.txt
        --folder UNDER | text.txt
        """,
    ),
    "program": (
        """
        | --board | nothing
        --board none | ulx3s | 'none'
        --board ulx3s --preset none | preset must be one of | 'none'
        --board ulx3s --folder NONE | none/such | no bitstream
        """,
    ),
    "train": (
        """
        | --data | nothing
        --data NONE | none/such
        --data EMPTY | empty
        --data TEXT | text.txt
        --data CSV --images NONE | none/such
        --data PICS --preset none | preset must be one of | 'none'
        --data PICS --epochs x | a whole number for --epochs | 'x'
        --data PICS --epochs 0 | --epochs must be at least 1 | 0
        --data PICS --batch 1 | --batch must be at least 2 | 1
        --data PICS --seed x | a whole number for --seed | 'x'
        --data PICS --learning-rate 0 | learning | 0
        --data PICS --learning-rate nan | learning | nan
        --data PICS --confidence much | proposed | 'much'
        --data PICS --mixup -1 | --mixup must be at least 0 | -1
        --data PICS --label-smoothing 1 | --label-smoothing must be | 1
        --data PICS --teacher NONE | none/such
        --data PICS --teacher JUNK | junk.pt
        --data PICS --minutes 0 | --minutes must be positive | 0
        --data PICS --minutes 1 --resume NONE | --epochs of the run | --minutes
        --data PICS --held-out 1 | --held-out must be | 1
        --data PICS --held-out nan | --held-out must be | nan
        --data PICS --held-out-of a | ORIGIN=part | 'a'
        --data PICS --cells NONE | none/such
        --data PICS --cells TEXT | text.txt
        --data PICS --resume NONE | none/such
        --data PICS --resume JUNK | junk.pt
        --data PICS --begin-with NONE | none/such
        --data PICS --begin-with OTHER | vww_140x160
        --data PICS --quantised-epochs -1 | --quantised-epochs must be | -1
        --data PICS --output UNDER | text.txt
        """,
    ),
    "labels": (
        """
        -o out.csv | DATA | nothing
        PICS | --output | nothing
        NONE -o out.csv | none/such
        TEXT -o out.csv | text.txt
        EMPTY -o out.csv | empty
        PICS -o EMPTY | empty | folder
        PICS -o NONE/a.csv | none/such
        PICS -o out.csv --part some | training | 'some'
        PICS -o out.csv --preset none | preset must be one of | 'none'
        PICS -o out.csv --held-out x | a number for --held-out | 'x'
        PICS -o out.csv --held-out 2 | --held-out must be | 2
        PICS -o out.csv --links EMPTY | empty
        PICS -o out.csv --origin none | no picture in that part
        """,
    ),
    "import": (
        """
        --calibrate PICS | FILE | nothing
        CKPT | --calibrate | nothing
        NONE --calibrate PICS | none/such
        EMPTY --calibrate PICS | empty
        JUNK --calibrate PICS | junk.pt
        CKPT --calibrate PICS | a.pt
        OTHER --calibrate PICS | other.safetensors
        CKPT --calibrate PICS --preset none | preset must be one of | 'none'
        CKPT --calibrate PICS --count 0 | --count must be at least 1 | 0
        CKPT --calibrate PICS -o EMPTY | empty | folder
        CKPT --calibrate PICS -o NONE/a | none/such
        """,
    ),
    "evaluate": (
        LABELLED,
        """
        --images PICS --labels CSV --preset none | preset must be one of | 'none'
        --images PICS --labels CSV --weights NONE | none/such
        --images PICS --labels CSV --weights OTHER | vww_140x160
        --images PICS --labels CSV --model both | float or int | 'both'
        --images PICS --labels CSV --model float | --checkpoint
        --images PICS --labels CSV --checkpoint NONE | none/such
        --images PICS --labels CSV --checkpoint JUNK | junk.pt
        --images PICS --labels CSV --calibrate PICS | --calibrate goes with --checkpoint
        --images PICS --labels CSV --tau 2 | --tau must lie inside 0..1 | 2
        --images PICS --labels CSV --skip x | a number for --skip | 'x'
        --images PICS --labels CSV --json NONE/a.json | none/such
        --images PICS --labels CSV --logits EMPTY | empty | folder
        """,
    ),
    "fidelity": (
        """
        --checkpoint CKPT --calibrate PICS --images PICS | --labels | nothing
        --checkpoint NONE --calibrate PICS --images PICS --labels CSV | none/such
        --checkpoint CKPT --calibrate PICS --images PICS --labels CSV | a.pt
        --checkpoint CKPT --calibrate PICS --images PICS --labels CSV --count 0 | --count must be
        --checkpoint CKPT --calibrate PICS --images PICS --labels CSV --draws -1 | --draws must be
        """,
    ),
    "card": (
        """
        --checkpoint NONE --images PICS --labels CSV | none/such
        --checkpoint CKPT --images PICS --labels CSV | a.pt
        --checkpoint CKPT --images PICS --labels CSV --page TEXT | text.txt | must hold the lines
        --checkpoint CKPT --images PICS --labels CSV --json NONE/a | none/such
        """,
    ),
    "early-termination": (
        """
        --images PICS --labels CSV | --output | nothing
        -o out --images PICS --labels NONE | none/such
        -o out --images PICS --labels CSV --tau 0.9,soon | --tau must be | 'soon'
        -o out --images PICS --labels CSV --skip 7 | --skip must lie inside 0..1 | 7
        -o out --images PICS --labels CSV --page NONE | none/such
        -o out --images PICS --labels CSV --checkpoint CKPT --store | --store with --weights
        -o UNDER --images PICS --labels CSV | text.txt
        """,
    ),
    "visualise": (
        """
        -o out | --image | nothing
        --image PIC | --output | nothing
        -o out --image NONE | none/such
        -o out --image TEXT | text.txt
        -o out --image EMPTY | empty
        -o out --image PIC --tau 5 | --tau must lie inside 0..1 | 5
        -o out --image PIC --weights TEXT | text.txt
        -o out --image PIC --checkpoint JUNK | junk.pt
        -o out --image PIC --calibrate PICS | --calibrate goes with --checkpoint
        -o UNDER --image PIC | text.txt
        """,
    ),
    "ablation": (
        """
        --data PICS | KIND | nothing
        none --data PICS | heads, loss, attention | 'none'
        loss | --data | nothing
        loss --data NONE | none/such
        loss --data PICS --size big | HEIGHTxWIDTH | 'big'
        loss --data PICS --size 3x3 | image_
        loss --data PICS --seeds 0 | --seeds must be at least 1 | 0
        loss --data PICS --epochs x | a whole number for --epochs | 'x'
        loss --data PICS --output UNDER | text.txt
        """,
    ),
    "accounting": (
        """
        --output NONE/a.json | none/such
        --output EMPTY | empty | folder
        --json=1 | --json without a value
        """,
    ),
    "flash-image": (
        """
        --board none | icebreaker | 'none'
        --board ulx3s | weights in the bitstream
        --offset x | number | 'x'
        --offset 0x41 | 0x40000 | 0x41
        --weights TEXT | text.txt
        --shape 8 | three whole numbers | 8
        --folder UNDER | text.txt
        """,
    ),
    "host": (
        """
        | --port | nothing
        --port NONE | none/such
        --port TEXT | text.txt
        --port NONE --bytes | --bytes goes with --watch, --picture
        --port NONE --picture UNDER | text.txt
        --port NONE --picture a.png --watch | --picture or --watch, not both
        --port NONE --web --web-port 0 | none/such
        --web --replay NONE | none/such
        --web --replay TEXT | packets of a board
        --web --port NONE --web-port x | a whole number for --web-port | 'x'
        --port NONE --baud fast | a whole number for --baud | 'fast'
        --port NONE --frames x | a whole number for --frames | 'x'
        --port NONE --patience x | a number for --patience | 'x'
        """,
    ),
    "docs": (
        """
        --page x | an option of rasca docs | --page
        --folder | a value after --folder
        """,
    ),
    "release": (
        """
        --preset none | preset must be one of | 'none'
        --folder TEXT | text.txt | a file
        """,
    ),
    "drawing": ("--page x | an option of rasca drawing | --page",),
    "registers": ("--page x | an option of rasca registers | --page",),
    "wiring": ("--page x | an option of rasca wiring | --page",),
}
CASES = [
    (command, *(part.strip() for part in line.split("|")))
    for command, parts in TABLE.items()
    for part in parts
    for line in part.strip().splitlines()
]


def filled(word):
    """A word of the table with the files' names in it."""
    for key, name in FILES.items():
        if word == key or word.startswith((f"{key}/", f"{key}.")):
            return name + word[len(key) :]
    return word


@pytest.fixture
def here(place, monkeypatch):
    """The folder of the inputs, in which the command runs."""
    monkeypatch.chdir(place)
    return place


def files_in(place):
    return sorted(path for path in place.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:2]))
def test_refused_in_one_line(case, here):
    command, given, *words = case
    before = files_in(here)
    found = invoke(command, *map(filled, given.split()))
    assert found.exit_code == 2, found.output
    assert found.stdout == "" or command in PROGRESS, found.stdout
    lines = found.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("rasca: "), found.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert BOTH.search(lines[0]), f"says not both what was expected and what came: {lines[0]}"
    assert names_what_came(given, lines[0]), f"does not name what was given: {lines[0]}"
    assert files_in(here) == before


BOTH = re.compile(
    r"\bexpected .+, (not|but)\b.+|\bexpected .+, but: .+|\b(must|is) .+, not .+"
    r"|\bmade for .+, not for .+|: not an? .+( \(|: ).+"
)
"""What was expected and what came; "not an A (B)" is short for "expected an A, not B"."""


def names_what_came(given, line):
    """Whether a value that was given stands in the line, or that there was none."""
    words = [filled(word.partition("=")[2] or word) for word in given.split()]
    values = [word for word in words[:-1] if not re.match("-+[a-z]", word)] + words[-1:]
    values += [part for value in values for part in re.split("[,x]", value) if part.isalnum()]
    return "nothing" in line or "option" in line or any(value in line for value in values)


@pytest.mark.parametrize(
    "line, whole",
    [
        ("--tau must lie inside 0..1, not 2.0", True),
        ("x.png: no such file (expected an existing file, not a folder)", True),
        ("x.pt: not a PyTorch checkpoint (error)", True),
        ("x.pt: no such file", False),
        ("x.pt: not a PyTorch checkpoint", False),
        ("--tau must lie inside 0..1", False),
        ("library t has no inverter", False),
    ],
)
def test_the_rule_of_a_whole_answer(line, whole):
    assert bool(BOTH.search(line)) is whole


PROGRESS = ("bitstream", "netlist", "screen")
"""Commands that say what they are about to do before they try."""


def test_table_is_whole():
    assert set(TABLE) == set(commands.COMMANDS) and len(CASES) > 100


# ---- what is common to all ----


@pytest.mark.parametrize(
    "words, said_",
    [
        (["smi"], "expected a command (sim, bench, "),
        (["--hlep"], "not '--hlep'"),
        (["sim", "--tau="], "expected a value after --tau, not nothing"),
        (["report", "--fps", "a\nb"], "not 'a\\nb'"),
    ],
)
def test_refused_before_any_command(words, said_):
    found = invoke(*words)
    assert found.exit_code == 2 and found.stderr.count("\n") == 1 and said_ in found.stderr


def test_help():
    found = invoke("--help")
    assert found.exit_code == 0 and found == invoke() == invoke("help")
    for name, one in commands.COMMANDS.items():
        assert f"  {name} " in found.stdout and one.summary in found.stdout
    for name in ("report", "labels"):
        text = invoke(name, "--help").stdout
        for one in commands.COMMANDS[name].variables:
            assert one.option in text


def test_help_is_fast():
    code = (
        "import sys; from rasca.__main__ import run; run(['--help']);"
        "assert not set(sys.modules) & {'torch', 'numpy', 'amaranth', 'typer', 'rich'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_errors_of_the_disk_anywhere(number, monkeypatch):
    """Also outside of what checks the input."""

    def fail(words):
        raise OSError(number, os.strerror(number), "build/x")

    monkeypatch.setattr(command_line, "_command", lambda name, words: fail(words))
    found = invoke("report")
    assert found.exit_code == 2 and found.stderr.count("\n") == 1
    assert found.stderr.startswith("rasca: build/x: expected ")
    assert os.strerror(number) in found.stderr


def limited():
    """In the child: no file may hold a byte, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize(
    "words",
    [
        ["report", "--folder", "out"],
        ["accounting", "-o", "a"],
        ["visualise", "--image", ROOT / "docs" / "explore.png", "-o", "out"],
    ],
    ids=lambda words: words[0],
)
def test_no_room_to_write(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rasca", *words], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    *progress, last = done.stderr.splitlines()
    assert last.startswith("rasca: ") and "expected room to write" in last
    assert all("photographs" in line for line in progress)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_full_standard_output():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rasca", "--help"], stdout=full, stderr=subprocess.PIPE,
            text=True, cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("rasca: ")
    assert "No space left" in done.stderr and done.stderr.count("\n") == 1


def test_reader_that_leaves():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "rasca", "--help"], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(writing)
    assert done.returncode == 141 and done.stderr == b""


def test_a_fault_of_its_own_is_no_bad_input(monkeypatch):
    """It keeps its traceback, and has a status that is none of the others."""
    monkeypatch.setattr(command_line, "_command", lambda name, words: 1 // 0)
    found = invoke("report")
    assert found.exit_code == 70 and "Traceback" in found.stderr
    assert found.stderr.endswith("please report it with the lines above\n")


def test_errors_in_words():
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a/b")
    assert said(error).startswith("a/b: expected an existing file or folder")
    with pytest.raises(CommandError, match="^two lines$"), bad_input():
        raise ValueError("two\nlines")
    with pytest.raises(KeyError), bad_input():
        raise KeyError("a fault of the program")
