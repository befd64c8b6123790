"""Data sets, the person rule, sampling and augmentation, on small data made here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from golden.config import ModelConfig
from golden.data import (
    Augmenter,
    Sample,
    covered,
    crop_labels,
    held_out,
    jitter,
    load_any,
    load_coco,
    load_table,
    load_voc,
    person_label,
    random_views,
    read_pictures,
    sampling_weights,
)

CONFIG = ModelConfig(
    name="tiny",
    image_height=20,
    image_width=32,
    heads=1,
    head_channels=(2, 3, 4, 5),
    state_channels=4,
)


def picture(path, width=100, height=100, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, dtype=np.uint8)).save(path)


@pytest.fixture
def coco(tmp_path):
    """Three pictures of 200x100: 0.5% exactly, a little less, a dog; the fourth is missing."""
    for number in (1, 2, 3):
        picture(tmp_path / "train" / f"{number}.jpg", 200, 100)
    boxes = [
        (1, 1, [0, 0, 10, 10], 0),
        (2, 1, [0, 0, 10, 9.9], 0),
        (2, 1, [100, 50, 10, 9], 1),
        (3, 18, [0, 0, 200, 100], 0),
    ]
    names = [(n, f"{n}.jpg") for n in (1, 2, 3)]
    content = {
        "images": [dict(id=n, file_name=name, width=200, height=100) for n, name in names],
        "categories": [dict(id=1, name="person"), dict(id=18, name="dog")],
        "annotations": [
            dict(id=i, image_id=n, category_id=c, bbox=b, iscrowd=k, area=b[2] * b[3])
            for i, (n, c, b, k) in enumerate(boxes, 1)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path, tmp_path / "train", content


def test_coco_is_relabelled_by_the_half_percent_rule(coco, capsys):
    path, folder, _ = coco
    samples = load_coco(path, folder)
    assert [sample.label for sample in samples] == [1, 0, 0]
    assert samples[0].persons == ((0.0, 0.0, 0.05, 0.1),)
    assert samples[2].persons == () and samples[2].fraction == 0
    assert samples == load_any(path, folder)
    assert capsys.readouterr().out == ""


def test_coco_errors(coco, tmp_path):
    path, folder, content = coco
    with pytest.raises(ValueError, match="absent.json: no such file"):
        load_coco(tmp_path / "absent.json", folder)
    with pytest.raises(ValueError, match="absent: no such folder"):
        load_coco(path, tmp_path / "absent")
    with pytest.raises(ValueError, match="COCO annotations need --images"):
        load_any(path)
    (folder / "2.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 missing files \(2.jpg\); --skip-bad leaves them out"):
        load_coco(path, folder)
    assert len(load_coco(path, folder, skip_bad=True)) == 2
    whole = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(whole[: len(whole) // 2])
    rule = r"1 missing files \(2.jpg\), 1 files that are no readable picture \(3.jpg\); --skip-bad"
    with pytest.raises(ValueError, match=rule):
        load_coco(path, folder)
    assert [s.path.name for s in load_coco(path, folder, skip_bad=True)] == ["1.jpg"]
    path.write_text(json.dumps({**content, "categories": [dict(id=18, name="dog")]}))
    with pytest.raises(ValueError, match="no category 'person'"):
        load_coco(path, folder)
    for broken in ("{", "[1]"):
        path.write_text(broken)
        with pytest.raises(ValueError, match="not COCO annotations"):
            load_coco(path, folder)


VOC = """<annotation><size><width>200</width><height>100</height><depth>3</depth></size>
<object><name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>
<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object></annotation>"""


@pytest.fixture
def voc(tmp_path):
    year = tmp_path / "VOC2007"
    rows = {
        "000001": ("person", (1, 1, 10, 10)),  # 10x10 of 200x100: 0.5%
        "000002": ("person", (1, 1, 10, 9)),
        "000003": ("car", (1, 1, 200, 100)),
    }
    (year / "Annotations").mkdir(parents=True)
    for name, (kind, box) in rows.items():
        picture(year / "JPEGImages" / f"{name}.jpg", 200, 100)
        (year / "Annotations" / f"{name}.xml").write_text(VOC.format(name=kind, box=box))
    listed = year / "ImageSets" / "Main" / "trainval.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(rows) + "\n")
    return year


def test_voc(voc):
    samples = load_voc(voc)
    assert [sample.label for sample in samples] == [1, 0, 0]
    assert samples[0].persons == ((0.0, 0.0, 0.05, 0.1),)
    assert {sample.origin for sample in samples} == {"voc2007"}
    assert samples == load_any(voc) == load_any(voc.parent)


def test_voc_with_a_picture_that_cannot_be_read(voc):
    (voc / "JPEGImages" / "000002.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"1 files that are no readable picture \(000002.jpg\)"):
        load_voc(voc)
    seen = []
    samples = load_voc(voc, skip_bad=True, progress=lambda *at: seen.append(at))
    assert [s.path.stem for s in samples] == ["000001", "000003"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_voc_test_split(voc):
    (voc / "ImageSets" / "Main" / "test.txt").write_text("000003\n")
    assert [s.path.stem for s in load_any(voc.parent, split="test")] == ["000003"]


def test_voc_errors(voc):
    with pytest.raises(ValueError, match="test.txt: no such file"):
        load_voc(voc, "test")
    (voc / "JPEGImages" / "000001.jpg").unlink()
    (voc / "Annotations" / "000002.xml").write_text("<annotation>")
    (voc / "Annotations" / "000003.xml").write_text("<annotation/>")
    rule = r"1 missing files \(000001.jpg\), 2 XML files that cannot be read \(000002.xml, 000003"
    with pytest.raises(ValueError, match=rule):
        load_voc(voc)
    with pytest.raises(ValueError, match="no usable picture"):
        load_voc(voc, skip_bad=True)


@pytest.fixture
def table(tmp_path):
    lines = ["file,label,origin,source,largest_person_box_fraction"]
    for number in range(4):
        picture(tmp_path / f"{number}.png", value=60 * number)
        fraction = "" if number == 3 else 0.1 * number
        lines.append(f"{number}.png,{number % 2},{'ab'[number // 2]},x,{fraction}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_table(table):
    samples = load_any(table)
    assert [s.label for s in samples] == [0, 1, 0, 1]
    assert [s.origin for s in samples] == ["a", "a", "b", "b"]
    assert [s.fraction for s in samples] == [0.0, 0.1, 0.2, None]
    assert all(s.persons is None for s in samples)


def test_table_beside_its_pictures(table, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "some.csv").write_text("file,label\n1.png,1\n0.png,0\n")
    assert [s.path for s in load_any(other / "some.csv", table)] == [
        table / "1.png",
        table / "0.png",
    ]
    assert load_any(table / "labels.csv") == load_any(table)


def test_table_errors(table):
    with pytest.raises(ValueError, match="absent: no such folder"):
        load_any(table / "absent")
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text.replace("x,0.1", "x,much"))
    with pytest.raises(ValueError, match="fraction of 1.png must be a number, not 'much'"):
        load_table(table)
    (table / "labels.csv").write_text("file,label\n0.png,0\n1.png,2\n9.png,1\n")
    with pytest.raises(ValueError, match="2 of 3 rows are bad"):
        load_table(table)
    assert len(load_table(table, skip_bad=True)) == 1


def test_rule_after_a_crop():
    box = (0.0, 0.0, 0.1, 0.1)  # 1% of the picture
    assert covered(box) == pytest.approx(0.01) and person_label([box]) == 1
    assert covered(box, (0.05, 0.0, 1.05, 1.0)) == pytest.approx(0.005)
    assert person_label([box], (0.5, 0.5, 1.0, 1.0)) == 0  # cropped away
    tiny = (0.4, 0.4, 0.45, 0.45)  # 0.25%, but 1% of the middle
    assert person_label([tiny]) == 0 and person_label([tiny], (0.25, 0.25, 0.75, 0.75)) == 1
    assert person_label([tiny, tiny]) == 0  # two do not add up
    samples = [
        Sample(path=None, label=1, persons=(box,)),
        Sample(path=None, label=0, persons=(tiny,)),
        Sample(path=None, label=1),
        Sample(path=None, label=1, persons=(box,)),
    ]
    crops = [(0.5, 0.5, 1, 1), (0.25, 0.25, 0.75, 0.75), (0.5, 0.5, 1, 1), (-0.1, -0.1, 1.1, 1.1)]
    assert crop_labels(samples, torch.tensor(crops)).tolist() == [0, 1, 1, 1]


def test_pictures_are_cached(table, tmp_path):
    samples, cache, seen = load_table(table), tmp_path / "cache", []
    first = read_pictures(samples, CONFIG, cache, lambda done, total: seen.append((done, total)))
    assert first.shape == (4, 3, 20, 32) and first[2].unique().tolist() == [120]
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    assert torch.equal(read_pictures(samples, CONFIG, cache), first)
    assert len(list(cache.iterdir())) == 1
    assert torch.equal(read_pictures(samples, CONFIG), first)  # without a cache
    read_pictures(samples[:2], CONFIG, cache)
    assert len(list(cache.iterdir())) == 2


def made(counts):
    return [
        Sample(path=None, label=label, origin=origin)
        for (origin, label), count in counts.items()
        for _ in range(count)
    ]


def test_origin_does_not_tell_the_label():
    samples = made({("a", 0): 10, ("a", 1): 1000, ("b", 0): 9, ("b", 1): 9, ("c", 1): 500})
    usable = torch.ones(len(samples), dtype=torch.bool)
    usable[:3] = False
    weights = sampling_weights(samples, usable)
    mass = {}
    for sample, weight in zip(samples, weights.tolist(), strict=True):
        cell = (sample.origin, sample.label)
        mass[cell] = mass.get(cell, 0) + weight
    assert (weights[:3] == 0).all() and weights.sum() == pytest.approx(1)
    assert mass["a", 0] == pytest.approx(mass["a", 1])
    assert mass["b", 0] == pytest.approx(mass["b", 1])
    assert mass["c", 1] < 0.12


def test_cells_set_the_masses_and_a_label_must_not_vanish():
    samples = made({("a", 0): 2, ("a", 1): 4, ("b", 1): 3})
    usable = torch.ones(9, dtype=torch.bool)
    weights = sampling_weights(samples, usable, {"a": (1, 1)})
    assert weights.tolist() == pytest.approx([0.25] * 2 + [0.125] * 4 + [0] * 3)
    with pytest.raises(ValueError, match="no picture of label 0 to train on"):
        sampling_weights(samples, usable, {"b": (1, 1)})


def test_held_out_part_depends_on_the_name_only(tmp_path):
    samples = [Sample(path=tmp_path / f"{n}.jpg", label=0, origin="ab"[n % 2]) for n in range(400)]
    chosen = held_out(samples, {"a": 0.5, "": 0.1})
    assert chosen.dtype == torch.bool
    assert 60 < chosen[::2].sum() < 140 and 5 < chosen[1::2].sum() < 40
    assert torch.equal(held_out(samples[100:], {"a": 0.5, "": 0.1}), chosen[100:])
    assert not held_out(samples, {"a": 0.0}).any() and held_out(samples, 1.0).all()


def test_views():
    generator = torch.Generator().manual_seed(1)
    careful = torch.arange(4000) % 2 == 0
    views = random_views(careful, 0.875, generator)
    width = views.crop[:, 2] - views.crop[:, 0]
    assert width.max() <= 1.05 + 1e-6 and width[careful].min() > 0.77
    assert 0.6 < width.min() < 0.68
    assert 0.45 < (views.transform[:, 0, 0] < 0).float().mean() < 0.55  # mirrored
    inside = width <= 1
    assert views.crop[inside, 0].min() >= -1e-6 and views.crop[inside, 2].max() <= 1 + 1e-6


def test_batches_are_repeatable_and_in_range():
    generator = torch.Generator().manual_seed(2)
    samples = made({("a", 0): 6, ("a", 1): 6})
    larger = torch.randint(0, 256, (12, 3, 28, 42), generator=generator, dtype=torch.uint8)
    exact = torch.randint(0, 256, (12, 3, 20, 32), generator=generator, dtype=torch.uint8)
    augmenter = Augmenter(samples, larger, exact)
    index = torch.arange(12).repeat(20)
    first, labels, transform = augmenter.batch(index, torch.Generator().manual_seed(5))
    again, *_ = augmenter.batch(index, torch.Generator().manual_seed(5))
    other, *_ = augmenter.batch(index, torch.Generator().manual_seed(6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (240, 3, 20, 32) and torch.equal(first, first.round())
    assert first.min() >= 0 and first.max() <= 255
    assert torch.equal(labels, torch.tensor([s.label for s in samples]).repeat(20))
    plain = (first == exact[index].float()).flatten(1).all(dim=1)
    assert torch.equal(transform[plain], torch.eye(2, 3).expand(int(plain.sum()), 2, 3))
    assert 0.04 < plain.float().mean() < 0.25


def test_jitter_of_one_channel():
    images = torch.full((8, 1, 4, 4), 100.0)
    changed = jitter(images.clone(), torch.Generator().manual_seed(0))
    assert changed.shape == images.shape and not torch.equal(changed, images)
