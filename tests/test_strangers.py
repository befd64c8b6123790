"""What a stranger may send is refused in one line, and before it takes time or memory."""

import gzip
import io
import json
import os
import random
import zipfile

import pytest
import torch
import typer
from PIL import Image

from golden import checkpoint, config_file, files, images, training_run
from golden.data import load_coco, load_table, load_voc, read_boxes
from golden.weights import Weights
from sim.strangers import kinds as kinds_module
from sim.strangers import main
from sim.strangers.kinds import MODEL, NAMES, RAN, Kind, kinds
from sim.strangers.play import Tally, changed, play
from sim.study import explore, liberty


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("known")


@pytest.fixture(scope="module")
def known(place):
    return kinds(place)


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_are_taken_or_refused(name, known, place):
    kind = known[name]
    taken = [play(name, kind, whole, place) for whole in kind.whole]
    # of checkpoints the whole ones with code in them are refused
    evil = {"checkpoint.pt": 4, "pickle.pt": 3}.get(name, 0)
    assert taken == [True] * (len(taken) - evil) + [False] * evil
    for seed in range(20):
        play(name, kind, changed(kind, random.Random(f"{seed} {name}")), place)


def test_all_are_played(known):
    assert tuple(known) == NAMES


def two_lines(path):
    raise ValueError("a\nb")


BAD = {
    "two lines": (two_lines, "more than a line"),
    "IndexError": (lambda path: path.read_bytes()[99], "test_strangers.py:[0-9]+: IndexError"),
    "writes": (lambda path: path.write_text("a"), "did more than read: open"),
    "removes": (lambda path: path.unlink(), "did more than read: os.remove"),
    "calls": (lambda path: os.system("true"), "did more than read: os.system"),
    "runs": (lambda path: exec(f"import sys; sys.audit({RAN!r})"), "did more than read: rasca.ran"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_neither_is_found(what, tmp_path):
    read, text = BAD[what]
    with pytest.raises(AssertionError, match=f"a.bin: {text}"):
        play("a.bin", Kind((b"x",), read), b"x", tmp_path)


@pytest.mark.parametrize("most, text", [("LONGEST", "took 0 s"), ("LARGEST", "took 0 MiB")])
def test_what_takes_long_or_much_is_found(most, text, monkeypatch, tmp_path):
    monkeypatch.setattr(f"sim.strangers.play.{most}", 0)
    with pytest.raises(AssertionError, match=f"a.bin: {text}"):
        play("a.bin", Kind((b"x",), lambda path: None), b"x", tmp_path)


def test_the_command(monkeypatch, tmp_path, capsys):
    """A reader that fails now and then: its file is kept, its fault told once, and status 1."""

    def read(path):
        if len(path.read_bytes()) < 8:
            raise KeyError("a")

    monkeypatch.setattr(
        kinds_module, "kinds", lambda folder: {"serial.bin": Kind((b"ab" * 9,), read)}
    )
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    for seed in (1, 2):
        with pytest.raises(typer.Exit) as ended:
            main.main(minutes=0.003, seed=seed, kind="serial", with_atheris=False)
        assert ended.value.exit_code == 1
    runs = main.read(tmp_path / main.RUNS)
    assert [run.seed for run in runs] == [1, 2] and {run.code for run in runs} == {main.digest()}
    for run in runs:
        assert run.files > run.taken > 0 and not run.refused and len(run.faults) == 1
        kept = tmp_path / "faults" / "serial.bin" / run.faults[0].split("(")[-1].rstrip(")")
        assert len(kept.read_bytes()) < 8
    said = capsys.readouterr().out
    assert "KeyError" in said and f"{sum(run.files for run in runs):,} files in" in said
    with (tmp_path / main.RUNS).open("a") as file:
        file.write('{"kind": "cut')
    main.add(tmp_path / main.RUNS, runs[0])
    assert main.read(tmp_path / main.RUNS) == [*runs, runs[0]]


def test_kinds_that_had_least_come_first():
    one = {
        "way": "guided",
        "seed": 0,
        "files": 1,
        "taken": 1,
        "refused": 0,
        "faults": [],
        "code": "",
    }
    before = [
        main.Run(kind="a", seconds=2.0, **one),
        main.Run(kind="b", seconds=1.5, **one),
        main.Run(kind="b", seconds=1.0, **one),
        main.Run(kind="c", seconds=9.0, **one | {"way": "random"}),
    ]
    assert main.least_first(["a", "b", "c"], before, "guided") == ["c", "a", "b"]
    assert main.least_first(["a", "b", "c"], before, "random") == ["a", "b", "c"]


def test_atheris_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(main.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="expected the package atheris, .*requirements-atheris"):
        main.check_atheris()


def test_a_tally_keeps_each_sort_once(tmp_path):
    tally = Tally()

    def fails():
        raise AssertionError("a.bin: b.py:3: KeyError: x")

    for one in (lambda: True, lambda: False, fails, fails):
        tally.add(one, b"data", tmp_path)
    told = tally.told(1.25)
    assert json.loads(json.dumps(told)) == told
    assert (told["files"], told["taken"], told["refused"], len(told["faults"])) == (4, 1, 1, 1)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"data"]


# ---- what was found, or thought of ----


def test_pillow_may_raise_anything(monkeypatch, tmp_path):
    """AVIF's reader raises RuntimeError, PNG's AssertionError."""
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    for error in (RuntimeError("Failed to decode frame 0"), AssertionError(), MemoryError("a\nb")):

        def fails(*given, error=error, **named):
            raise error

        monkeypatch.setattr(images.Image, "open", fails)
        text = str(error).split("\n")[0] or type(error).__name__
        with pytest.raises(ValueError, match=rf"a.png: not a readable picture \({text}\)$"):
            images.load_image(path, MODEL)


def test_names_that_no_file_can_have(tmp_path):
    """Longer than any, or with a 0 in them: they are missing, as others are."""
    assert not files.is_file(tmp_path / ("a" * 5000)) and not files.is_file(tmp_path / "a\0")
    notes = {"1": {"label": 1, "objects": []}}
    for name in ("a" * 5000, "a\0b"):
        content = {"images": [{"id": 1, "file_name": name}], "annotations": notes}
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="a.json: 1 missing files"):
            load_coco(tmp_path / "a.json", tmp_path)


def test_tables_that_are_none(tmp_path):
    for name in ("boxes_known.csv", "boxes.csv"):
        (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\n")
        for content in (b"file,x0,y0,x1,y1\n\xff", b"file\n" + b"a" * 200_000):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=f"{name}: not a readable CSV file"):
                read_boxes(tmp_path)
        (tmp_path / name).write_text("file\n")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="trainval.txt: must be a list of names"):
        load_voc(tmp_path)


PART = "file,label,largest_person_box_fraction\n"


@pytest.mark.parametrize(
    "text, said",
    [
        ('file,"a\nb"\n', "no column 'label' .expected file and label, not file, a b"),
        ('file,label\n"a\nb",1\n', "1 missing files .a b"),
        (
            'file,label,largest_person_box_fraction\n"a\nb.png",1,x\n',
            "fraction of a b.png must be a",
        ),
        (
            'file,label,largest_person_box_fraction\n"a\nb.png",1,2\n',
            "fraction of a b.png must be 0",
        ),
    ],
)
def test_names_of_two_lines_are_told_in_one(text, said, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a\nb.png")
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as told:
        load_table(tmp_path, path)
    assert "\n" not in str(told.value)


def test_a_picture_of_two_lines_is_told_in_one(tmp_path):
    notes = {"1": {"label": 1, "objects": []}}
    content = {"images": [{"id": 1, "file_name": "a\nb"}], "annotations": notes}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1 missing files .a b"):
        load_coco(tmp_path / "a.json", tmp_path)


def test_a_broken_library_is_told_in_a_line(tmp_path):
    path = tmp_path / "a.lib"
    path.write_text("library (a) { b (c\n, d: e; }")
    with pytest.raises(ValueError, match="a.lib is no Liberty file that can be read") as told:
        liberty.read(path)
    assert "\n" not in str(told.value)


def packed_zeros(path, count):
    """A checkpoint whose zeros are compressed, as torch.save never does."""
    plain = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(count)}}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def test_an_archive_that_unpacks_to_more(tmp_path):
    path = tmp_path / "bomb.pt"
    packed_zeros(path, 1 << 20)
    with pytest.raises(ValueError, match="bomb.pt: refused: .* at most its own .* not 4,19"):
        checkpoint.read_state_dict(path)
    with pytest.raises(ValueError, match="bomb.pt: refused"):
        training_run.check_packed(path)


def test_a_view_of_any_shape(tmp_path):
    path = tmp_path / "view.pt"
    torch.save({"state_dict": {"a": torch.zeros(1).expand(1 << 20, 1 << 20)}}, path)
    with pytest.raises(ValueError, match="view.pt: a must have at most the file's .* not 4,398"):
        checkpoint.read_state_dict(path)


def lines_of_merges(count):
    lines = ["a0: &a0 {b: 1, c: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, count)]
    return "\n".join(lines)


def test_merges(tmp_path):
    path = tmp_path / "laughs.yaml"
    path.write_text(lines_of_merges(60))
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="laughs.yaml.*tag:yaml.org,2002:merge"):
            read(path)


@pytest.mark.parametrize("ending", ["yaml", "toml", "json"])
def test_a_large_file_of_fields(ending, tmp_path):
    path = tmp_path / f"large.{ending}"
    path.write_text(" " * (config_file.MOST_BYTES + 1))
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="must have at most 1,048,576 bytes, not 1,048,577"):
            read(path)


@pytest.mark.parametrize("ending", ["yaml", "toml", "json"])
def test_brackets_in_brackets(ending, tmp_path):
    path = tmp_path / f"deep.{ending}"
    path.write_text(("a = " if ending == "toml" else "") + "[" * 2000)
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="deep"):
            read(path)


def test_groups_in_groups(tmp_path):
    path = tmp_path / "deep.lib"
    path.write_text("library (a) {" + "b (c) {" * 20000)
    with pytest.raises(ValueError, match="deep.lib is no Liberty file that can be read"):
        liberty.read(path)


def test_long_functions():
    assert liberty.value("!" * 100 + "a", {"a": 1}) == 1
    with pytest.raises(ValueError, match="at most 200 words, not 5001"):
        liberty.value("!" * 5000 + "a", {"a": 1})


def test_a_library_that_unpacks_to_more(monkeypatch, tmp_path):
    monkeypatch.setattr(liberty, "MOST_BYTES", 1 << 20)
    path = tmp_path / "bomb.lib.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 21)))
    with pytest.raises(ValueError, match="bomb.lib.gz: must unpack to at most 1,048,576 bytes"):
        liberty.read(path)
    path.write_bytes(b"\n" * (1 + (1 << 20)))
    with pytest.raises(ValueError, match="must have at most 1,048,576 bytes, not 1,048,577"):
        liberty.read(path)


def test_deep_metadata(tmp_path):
    from safetensors.torch import save_file

    from golden.weights import _METADATA_KEY

    path = tmp_path / "deep.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={_METADATA_KEY: "[" * 100_000})
    with pytest.raises(ValueError, match="deep.safetensors: not a whole safetensors file"):
        Weights.load(path, MODEL)
