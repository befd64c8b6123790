"""Data sets with faults: counted, named, refused; and the two rules of Visual Wake Words."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golden.data import (
    class_of,
    crop_labels,
    load_any,
    load_classes,
    load_coco,
    load_table,
    load_voc,
    person_label,
    rule_of,
)
from golden.labels import read_labels
from tests.command import invoke, refused
from tests.test_data import VOC, picture, voc  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[1]
PERSON = {"id": 1, "name": "person"}


def write(folder, annotations, images=None, categories=(PERSON,), **more):
    """Two pictures of 100 x 100 and their annotation file."""
    for name in ("a.jpg", "b.jpg"):
        picture(folder / name)
    both = [
        dict(id=i, file_name=f"{n}.jpg", width=100, height=100) for i, n in ((1, "a"), (2, "b"))
    ]
    content = {"images": both if images is None else images, "categories": list(categories), **more}
    if annotations is not None:
        content["annotations"] = annotations
    (folder / "c.json").write_text(json.dumps(content))
    return folder / "c.json"


def note(image=1, bbox=(5, 5, 10, 10), **more):
    return dict(id=1, image_id=image, category_id=1, bbox=bbox, area=100, iscrowd=0) | more


# ---- COCO ----


@pytest.mark.parametrize("annotations", [None, [], {}])
def test_a_list_of_test_pictures_has_no_labels(annotations, tmp_path):
    """Today's code calls them all "no person"."""
    path = write(tmp_path, annotations)
    with pytest.raises(ValueError, match="no annotations in it, so no label is known"):
        load_coco(path, tmp_path)


NAN = float("nan")


@pytest.mark.parametrize(
    "entry, said",
    [
        (note(bbox=[NAN, 5, 10, 10]), "entries with a bbox that is not finite"),
        (note(bbox=[5, 5, float("inf"), 10]), "entries with a bbox that is not finite"),
        (note(bbox=[5, 5, -10, 10]), "entries with a negative bbox"),
        (note(bbox=[5, 5, 10, -10]), "entries with a negative bbox"),
        (note(bbox=[500, 5, 10, 10]), "entries with a bbox outside the picture"),
        (note(bbox=[-50, 5, 10, 10]), "entries with a bbox outside the picture"),
        (note(bbox=None), "entries with a bbox that is not four numbers"),
        (note(bbox="5 5 10 10"), "entries with a bbox that is not four numbers"),
        (note(bbox=[5, 5, 10]), "entries with a bbox that is not four numbers"),
        (note(bbox=["5", 5, 10, 10]), "entries with a bbox that is no number"),
        ({k: v for k, v in note().items() if k != "bbox"}, "entries without bbox"),
        ({k: v for k, v in note().items() if k != "category_id"}, "entries without category_id"),
    ],
)
def test_a_broken_annotation_is_no_answer(entry, said, tmp_path):
    path = write(tmp_path, [entry, note(2)])
    with pytest.raises(ValueError) as error:
        load_coco(path, tmp_path)
    assert str(error.value) == f"{path}: 1 {said} (a.jpg); --skip-bad leaves them out"
    (sample,) = load_coco(path, tmp_path, skip_bad=True)
    assert sample.path.name == "b.jpg" and sample.label == 1


IMAGE = dict(id=1, file_name="a.jpg", width=100, height=100)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"width": None}, "entries with a size that is no number (a.jpg)"),
        ({"width": 0, "height": 0}, "entries with a size of 0 (a.jpg)"),
        ({"width": "100"}, "entries with a size that is no number (a.jpg)"),
        ({"file_name": None}, "entries without a file_name (images[0])"),
        ({"file_name": 7}, "entries without a file_name (images[0])"),
        ("width", "entries without width (a.jpg)"),
        ("id", "entries without id (a.jpg)"),
    ],
)
def test_a_broken_entry_of_a_picture(change, said, tmp_path):
    if isinstance(change, str):
        entry = {key: value for key, value in IMAGE.items() if key != change}
    else:
        entry = IMAGE | change
    path = write(tmp_path, [note(), note(2)], [entry, IMAGE | {"id": 2, "file_name": "b.jpg"}])
    with pytest.raises(ValueError) as error:
        load_coco(path, tmp_path)
    assert str(error.value) == f"{path}: 1 {said}; --skip-bad leaves them out"
    assert [s.path.name for s in load_coco(path, tmp_path, skip_bad=True)] == ["b.jpg"]


def test_faults_of_the_whole_file(tmp_path):
    twice = [IMAGE, IMAGE | {"file_name": "b.jpg"}]
    with pytest.raises(ValueError, match=r"1 entries with an id twice \(b.jpg\)"):
        load_coco(write(tmp_path, [note()], twice), tmp_path)
    with pytest.raises(ValueError, match="no annotation belongs to a picture of its list"):
        load_coco(write(tmp_path, [note("1"), note("2")]), tmp_path)
    with pytest.raises(ValueError, match="1 annotations without image_id"):
        load_coco(write(tmp_path, [note(None)]), tmp_path)
    for broken in ({"images": {}}, {"images": 3}, []):
        (tmp_path / "c.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="c.json: not COCO annotations"):
            load_coco(tmp_path / "c.json", tmp_path)
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="c.json: not COCO annotations"):
        load_coco(tmp_path / "c.json", tmp_path)


@pytest.mark.parametrize("name", ["person", "Person", "PERSON", " person "])
def test_the_class_may_be_written_in_any_case(name, tmp_path):
    path = write(tmp_path, [note()], categories=[{"id": 1, "name": name}])
    assert [sample.label for sample in load_coco(path, tmp_path)] == [1, 0]


def test_boxes_that_leave_the_picture_a_little_are_cut(tmp_path):
    path = write(tmp_path, [note(bbox=[-5, -5, 10, 10]), note(2, bbox=[3, 3, 0, 9])])
    one, two = load_coco(path, tmp_path)
    assert one.persons == ((0, 0, 0.05, 0.05),) and (one.label, two.label) == (0, 0)


# ---- the rule ----


def test_the_area_rule_of_the_public_scripts(tmp_path):
    """A box of 1 % whose mask is 0.3 %: the paper says person, its scripts say no."""
    path = write(tmp_path, [note(area=30), note(2, area=51)])
    box, area = (load_coco(path, tmp_path, rule=rule) for rule in ("box", "area"))
    assert [s.label for s in box] == [1, 1] and [s.label for s in area] == [0, 1]
    exactly = write(tmp_path, [note(area=50), note(2, bbox=[0, 0, 5, 10])])
    assert [s.label for s in load_coco(exactly, tmp_path, rule="area")] == [0, 1]
    assert [s.label for s in load_coco(exactly, tmp_path)] == [1, 1]  # 0.5 % is enough for a box
    # 30 of 100 pixels filled: in a crop of a quarter it is 1.2 % of the crop
    assert area[0].fills == pytest.approx((0.3,))
    assert person_label(area[0].persons, (0, 0, 0.5, 0.5), area[0].fills) == 1
    import torch

    assert crop_labels(area[:1], torch.tensor([[0, 0, 0.5, 0.5]])).tolist() == [1]
    with pytest.raises(ValueError, match="rule must be box or area, not 'mask'"):
        load_any(path, tmp_path, rule="mask")
    for entry in (note(area=NAN), note(area=-1), {k: v for k, v in note().items() if k != "area"}):
        bad = write(tmp_path, [entry, note(2)])
        with pytest.raises(ValueError, match=r"1 entries with.* area.*\(a.jpg\)"):
            load_coco(bad, tmp_path, rule="area")
    assert rule_of(path) == "box" and rule_of(path, "area") == "area"


def test_the_area_rule_needs_areas(voc, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="the area rule needs the areas of COCO annotations"):
        load_any(voc, rule="area")
    assert rule_of(voc) == "box"


def test_ready_made_visual_wake_words(tmp_path):
    """The JSON of TensorFlow's scripts: picture to objects and label."""
    ready = {
        "1": {"objects": [{"area": 51.0, "bbox": [5, 5, 10, 10]}], "label": 1},
        "2": {"objects": [], "label": 0},
    }
    path = write(tmp_path, ready, categories=())
    one, two = load_any(path, tmp_path)
    assert (one.label, two.label) == (1, 0) and rule_of(path) == "area"
    assert one.persons == ((0.05, 0.05, 0.15, 0.15),) and one.fills == pytest.approx((0.51,))
    for broken, said in (
        ({"1": ready["1"]}, r"1 entries with no label \(b.jpg\)"),
        (ready | {"2": {"objects": [], "label": 2}}, r"labels other than 0 and 1 \(b.jpg\)"),
        (ready | {"2": {"objects": []}}, r"1 entries without label \(b.jpg\)"),
    ):
        path = write(tmp_path, broken)
        with pytest.raises(ValueError, match=said):
            load_coco(path, tmp_path)
        assert len(load_coco(path, tmp_path, skip_bad=True)) == 1


def test_figures_say_their_rule(tmp_path):
    path = write(tmp_path, [note(area=30), note(2, area=51)])
    out = tmp_path / "labels.csv"
    words = ["labels", path, "--images", tmp_path, "--rule", "area", "-o", out]
    subprocess.run([sys.executable, "-m", "rasca", *map(str, words)], check=True, cwd=ROOT)
    with out.open() as file:
        assert [(row["label"], row["rule"]) for row in csv.DictReader(file)] == [
            ("0", "area"), ("1", "area"),
        ]  # fmt: skip
    assert read_labels(out, tmp_path).rule == "area"
    out.write_text("file,label\na.jpg,1\n")
    assert read_labels(out, tmp_path).rule is None


# ---- VOC ----


@pytest.mark.parametrize(
    "box, said",
    [
        ((90, 90, 1, 1), "swapped corners of a box"),
        ((1, 90, 10, 1), "swapped corners of a box"),
        (("nan", 1, 10, 10), "a box that is not finite"),
        ((300, 1, 310, 10), "a box outside the picture"),
    ],
)
def test_a_broken_box_of_voc(box, said, voc):  # noqa: F811
    """Today's code calls these "no person"."""
    (voc / "Annotations" / "000001.xml").write_text(VOC.format(name="person", box=box))
    with pytest.raises(ValueError, match=rf"1 XML files with {said} \(000001.xml\)"):
        load_voc(voc)
    assert [s.path.stem for s in load_voc(voc, skip_bad=True)] == ["000002", "000003"]


def test_a_class_of_voc_in_capitals(voc):  # noqa: F811
    (voc / "Annotations" / "000001.xml").write_text(VOC.format(name="Person", box=(1, 1, 90, 90)))
    assert load_voc(voc)[0].label == 1


# ---- boxes turn with their pictures ----


def lying(path, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, exif=exif)


@pytest.mark.parametrize(
    "orientation, said, box",
    [
        (6, (100, 50), (0.6, 0.0, 1.0, 0.1)),  # of the stored frame: turned with it
        (6, (50, 100), (0.0, 0.0, 0.2, 0.2)),  # made on the upright picture
        (3, (100, 50), (0.9, 0.6, 1.0, 1.0)),
        (1, (100, 50), (0.0, 0.0, 0.1, 0.4)),
    ],
)
def test_boxes_of_coco_and_voc(orientation, said, box, tmp_path):
    images = [dict(id=1, file_name="a.jpg", width=said[0], height=said[1])]
    path = write(tmp_path, [note(bbox=[0, 0, 10, 20])], images)
    lying(tmp_path / "a.jpg", (100, 50), orientation)
    (sample,) = load_coco(path, tmp_path)
    assert sample.persons[0] == pytest.approx(box) and sample.label == 1


# ---- folders of classes ----


def test_folders_of_classes(tmp_path):
    for name in ("person/1.png", "person/more/2.png", "No-Person/3.png", ".git/4.png"):
        picture(tmp_path / name)
    (tmp_path / "person" / "._1.png").write_bytes(b"\0\5\26\7")
    samples = load_any(tmp_path)
    assert [(s.path.name, s.label) for s in samples] == [("3.png", 0), ("1.png", 1), ("2.png", 1)]
    (tmp_path / "person" / "1.png").write_text("broken")
    with pytest.raises(ValueError, match=r"1 files that are no readable picture \(1.png\)"):
        load_any(tmp_path)
    assert len(load_any(tmp_path, skip_bad=True)) == 2
    picture(tmp_path / "dog" / "5.png")
    with pytest.raises(ValueError, match="dog: must be one of no_person, person, not 'dog'"):
        load_any(tmp_path)
    assert rule_of(tmp_path) == "given"


def test_folders_of_many_classes(tmp_path):
    classes = ("nothing", "cat", "Big Dog")
    for name in ("big_dog/1.png", "cat/2.png", "nothing/3.png"):
        picture(tmp_path / name)
    samples = load_classes(tmp_path, classes=classes)
    assert [(s.path.name, s.label) for s in samples] == [("3.png", 0), ("2.png", 1), ("1.png", 2)]
    with pytest.raises(ValueError, match="no folder bird"):
        load_classes(tmp_path, classes=(*classes, "bird"))
    picture(tmp_path / "2" / "4.png")
    with pytest.raises(ValueError, match="class Big Dog has 2, too"):
        load_classes(tmp_path, classes=classes)
    with pytest.raises(ValueError, match="has persons, not the classes nothing, cat"):
        load_any(tmp_path / "x.json", classes=classes)


def test_names_of_classes():
    two = ("no_person", "person")
    for name in ("person", "Person", "1"):
        assert class_of(name, two) == 1
    for name in ("no_person", "non-person", "not person", "background", "0"):
        assert class_of(name, two) == 0
    assert class_of("2", two) is None and class_of("background", ("a", "b")) is None


def test_tables(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\na.png,0\nb.png,1\nc.png,2\n")
    with pytest.raises(ValueError, match="1 labels other than 0 and 1"):
        load_any(tmp_path)
    assert [s.label for s in load_any(tmp_path, classes=("x", "y", "z"))] == [0, 1, 2]
    for fraction in ("nan", "-1", "7"):
        (tmp_path / "labels.csv").write_text(
            f"file,label,largest_person_box_fraction\na.png,1,{fraction}\n"
        )
        with pytest.raises(ValueError, match=f"must be 0..1, not '{fraction}'"):
            load_table(tmp_path)


def test_what_is_left_out_is_told(tmp_path, capsys):
    """In a line on standard error: of every kind of data set, by every command."""
    for name in ("person/a.png", "person/broken.png", "no_person/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "person" / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "labels.csv"
    line = refused("labels", tmp_path, "-o", out, from_make=True)
    assert line.endswith("no readable picture (broken.png); SKIP_BAD=1 leaves them out")
    found = invoke("labels", tmp_path, "-o", out, "--skip-bad")
    assert found.exit_code == 0 and "2 of 2 pictures" in found.stdout
    assert found.stderr == (
        f"rasca: {tmp_path}: left out: 1 files that are no readable picture (broken.png)\n"
    )
    out.write_text(out.read_text() + "person/broken.png,1,x,,box\n")
    assert len(load_table(tmp_path, skip_bad=True)) == 2
    assert "labels.csv: left out: 1 of 3 rows are bad" in capsys.readouterr().err


def test_a_file_with_two_labels(tmp_path):
    """One of them is wrong; the same row twice is not."""
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    lines = "file,label\na.png,0\nb.png,1\n./a.png,1\nb.png,1\nc.png,0\n"
    (tmp_path / "labels.csv").write_text(lines)
    with pytest.raises(ValueError, match=r"2 of 5 rows are bad: 2 rows of a file with two labels"):
        load_table(tmp_path)
    samples = load_table(tmp_path, skip_bad=True)
    assert [(s.path.name, s.label) for s in samples] == [("b.png", 1), ("b.png", 1), ("c.png", 0)]


def test_origin_is_that_of_the_row(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,label,origin\na.png,1,x\na.png,1,y\n")
    assert [s.origin for s in load_table(tmp_path)] == ["x", "y"]


def test_classes_that_differ_in_case_only():
    classes = ("Cat", "cat", "a b", "a_b")
    assert [class_of(name, classes) for name in classes] == [0, 1, 2, 3]
    assert class_of("CAT", classes) is None and class_of("A-B", classes) is None


def test_the_rule_of_a_labels_file_goes_on(tmp_path):
    """What made the labels is known from a file that says it, also in what is made of that file."""
    picture(tmp_path / "a.png")
    table = tmp_path / "labels.csv"
    for column, rule in ((("area",), "area"), (("box",), "box"), (("area", "box"), "given")):
        rows = "".join(f"a.png,1,{one}\n" for one in column)
        table.write_text("file,label,rule\n" + rows)
        assert rule_of(table) == rule_of(tmp_path) == rule
    table.write_text("file,label\na.png,1\n")
    assert rule_of(table) == "given"
    table.write_text("file,label,rule\na.png,1,area\n")
    out = tmp_path / "again.csv"
    assert invoke("labels", table, "-o", out).exit_code == 0
    assert read_labels(out, tmp_path).rule == "area"


def test_the_rule_of_a_file_with_a_byte_order_mark(tmp_path):
    ready = {"1": {"objects": [], "label": 0}, "2": {"objects": [], "label": 0}}
    path = write(tmp_path, ready)
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert len(load_coco(path, tmp_path)) == 2 and rule_of(path) == "area"


def test_options_of_another_kind_of_data_set(voc, tmp_path):  # noqa: F811
    """Nothing that was asked for is left out without a word."""
    for name in ("one/person/1.png", "one/no_person/2.png", "two/1.png"):
        picture(tmp_path / name)
    (tmp_path / "two/labels.csv").write_text("file,label\n1.png,0\n")
    for data in (voc, voc.parent, tmp_path / "one", tmp_path / "two"):
        with pytest.raises(ValueError, match="--images goes with a .json or .csv file"):
            load_any(data, tmp_path)
    for data in (tmp_path / "one", tmp_path / "two", tmp_path / "two/labels.csv"):
        with pytest.raises(ValueError, match="has no splits, as Pascal VOC has, not 'test'"):
            load_any(data, split="test")


def test_an_origin_that_no_picture_has_is_told(tmp_path, capsys):
    """A slip of the pen would leave that origin with the share of all others."""
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,label,origin\na.png,1,coco\nb.png,0,coco\n")
    words = ("labels", table, "-o", tmp_path / "out.csv", "--held-out-of")
    found = invoke(*words, "Coco=0.5")
    assert found.exit_code == 0
    assert found.stderr == "rasca: --held-out-of: no picture is of Coco; there are coco\n"
    assert invoke(*words, "coco=0.5").stderr == ""
