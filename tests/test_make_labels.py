"""The labels CSV that is written is the part that training leaves out."""

import csv

import pytest

from golden.data import held_out, load_any, load_table
from tests.command import invoke
from tests.test_data import coco, picture, voc  # noqa: F401


@pytest.fixture
def data(tmp_path):
    rows = ["file,label,origin,largest_person_box_fraction"]
    for index in range(40):
        picture(tmp_path / f"images/{index}.png", 30, 20, value=index)
        rows.append(f"images/{index}.png,{index % 2},{'ab'[index // 20]},{0.01 * index}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(*words):
    return invoke("labels", *words)


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_parts(data):
    out, shares = data / "out.csv", ("--held-out", 0.2, "--held-out-of", "b=0.6")
    samples = load_any(data)
    chosen = held_out(samples, {"": 0.2, "b": 0.6}).tolist()
    names = {
        part: {s.path.name for s, out in zip(samples, chosen, strict=True) if out == flag}
        for part, flag in (("validation", True), ("training", False))
    }
    assert len(names["validation"]) > 5
    for part, wanted in (*names.items(), ("all", names["validation"] | names["training"])):
        result = run(data, "-o", out, "--part", part, *shares)
        assert result.exit_code == 0, result.output
        assert f"{len(wanted)} of 40 pictures" in result.stdout
        assert {row["file"] for row in read(out)} == {f"images/{name}" for name in wanted}
    # Read again it is the data set itself, with all that is known of a picture.
    assert load_table(data, out) == samples
    links = data / "links"
    run(data, "-o", out, "--origin", "b", "--links", links)
    assert {p.resolve() for p in links.iterdir()} == {data / row["file"] for row in read(out)}
    assert {row["origin"] for row in read(out)} == {"b"}


def test_links_of_names_that_are_alike(tmp_path):
    """A folder's name joined to a file's may be another file's; a row may stand there twice."""
    names = ("a/b.png", "a_b.png", "c.png")
    for value, name in enumerate(names):
        picture(tmp_path / name, value=value)
    rows = "".join(f"{name},{name.count('c')}\n" for name in (*names, "c.png"))
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    result = run(tmp_path, "-o", tmp_path / "out.csv", "--links", tmp_path / "links")
    assert result.exit_code == 0, result.output
    found = [path.resolve() for path in (tmp_path / "links").iterdir()]
    assert sorted(found) == sorted(tmp_path / name for name in names)


def test_coco_and_voc(coco, voc, tmp_path):  # noqa: F811
    out = tmp_path / "out.csv"
    assert run(coco[0], "--images", coco[1], "-o", out).exit_code == 0
    assert [(row["file"], row["label"]) for row in read(out)] == [
        ("1.jpg", "1"),
        ("2.jpg", "0"),
        ("3.jpg", "0"),
    ]
    assert run(voc.parent, "-o", out).exit_code == 0
    assert read(out)[0]["file"] == "VOC2007/JPEGImages/000001.jpg"


@pytest.mark.parametrize(
    "words, text",
    [
        (("--part", "some"), "part must be one of all, training, validation, not 'some'"),
        (("--held-out", 1), "--held-out must be 0 to below 1, not 1.0"),
        (("--held-out-of", "b"), "must be ORIGIN=part"),
        (("--origin", "c"), "no picture in that part"),
        (("--images", "none"), "none: no such folder"),
        (("--links", "images"), "images: expected a file to write, not a folder"),
    ],
)
def test_bad_input_is_one_line(words, text, data, monkeypatch):
    monkeypatch.chdir(data)
    place = "labels.csv" if "--images" in words else "."
    result = run(place, "-o", "out.csv", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr
