"""Labels of every row group from person boxes."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from golden.boxes import Boxes, Targets, boxes_loss
from golden.data import Sample, crop_labels, load_table, person_label, random_views
from golden.loss import rascanet_loss

SAME = torch.eye(2, 3)


def sample(persons, label=1):
    return Sample(path=Path("a.png"), label=label, persons=persons)


def targets(samples, transforms=None, groups=10):
    count = len(samples)
    transforms = SAME.expand(count, 2, 3) if transforms is None else torch.stack(transforms)
    return Boxes(samples).targets(torch.arange(count), transforms, groups)


def test_row_groups_by_hand():
    """A person from 25% to 75% of the height, one too small to count, nobody, and boxes unknown."""
    found = targets(
        [
            sample([(0.2, 0.25, 0.4, 0.75)]),
            sample([(0.2, 0.25, 0.25, 0.3)], 0),
            sample([], 0),
            sample(None, 1),
        ]
    )
    assert found.labels.tolist() == [1, 0, 0, 1]
    assert found.known.tolist() == [True, True, True, False]
    assert found.meets[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    # Half of 25% of the person is scanned at 31.25%, all of it at 37.5%: the fourth group.
    assert found.seen[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert found.weight[0].tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    for index in (1, 2):
        assert not found.seen[index].any() and not found.meets[index].any()
        assert found.weight[index].all()
    assert not found.weight[3].any()


def test_views_move_the_boxes():
    """Mirror, shift and zoom: output to input coordinates."""
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    lower_half = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])
    person = sample([(0.0, 0.5, 0.3, 0.75)])
    plain, mirrored, zoomed = targets([person] * 3, [SAME, mirror, lower_half]).meets
    assert torch.equal(plain, mirrored)
    assert zoomed.tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    upper_half = torch.tensor([[1.0, 0, 0], [0, 0.4, -0.6]])
    gone = targets([person], [upper_half])
    assert gone.labels.tolist() == [0] and not gone.seen.any()


def test_labels_are_those_of_the_person_rule(generator):
    """On random views without a turn, where the rule on the crop is the same thing."""
    low = torch.rand(200, 2, generator=generator) * 0.9
    high = low + torch.rand(200, 2, generator=generator) * 0.15
    samples = [sample([tuple(box)]) for box in torch.cat([low, high.clamp(max=1)], 1).tolist()]
    views = random_views(torch.zeros(200, dtype=torch.bool), 0.875, generator)
    straight = views.transform[:, 0, 1] == 0
    found = Boxes(samples).targets(torch.arange(200), views.transform, 21)
    wanted = [
        person_label(one.persons, tuple(side for side in crop))
        for one, crop in zip(samples, views.crop.clamp(0, 1).tolist(), strict=True)
    ]
    same = found.labels == torch.tensor(wanted)
    assert straight.sum() > 50 and same[straight].double().mean() > 0.97  # views beyond the picture
    assert (found.labels == 1).any() and (found.labels == 0).any()
    # Whoever makes a person has been scanned by the end.
    assert torch.equal(found.seen[:, -1], found.labels)


def test_loss_leaves_pictures_without_boxes_out(generator):
    logits = torch.randn(2, 10, 2, generator=generator, requires_grad=True)
    confidence = torch.rand(2, 10, 1, generator=generator)
    one = targets([sample(None, 0), sample([(0.1, 0.1, 0.9, 0.9)])])
    boxes_loss(logits, confidence, one, 0.0).total.backward()
    assert not logits.grad[0, :-1].any() and logits.grad[0, -1].any()
    assert logits.grad[1].flatten(1).any(dim=1).sum() > 8
    none = Targets(*(part[:1] for part in one))
    labels = torch.tensor([0])
    found = boxes_loss(logits[:1], confidence[:1], none, 0.3)
    wanted = rascanet_loss(logits[:1], confidence[:1], labels, alpha=0.3)
    torch.testing.assert_close(found.total, wanted.total)


def write(path, head, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    for name in "abc":
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
    write(tmp_path / "labels.csv", ["file", "label"], ["a.png", 1], ["b.png", 0], ["c.png", 1])
    return tmp_path


def test_boxes_beside_the_labels(folder):
    head = ["file", "x0", "y0", "x1", "y1"]
    write(folder / "boxes.csv", head, ["a.png", 0, 0.1, 0.5, 1], ["c.png", 0.1, 0.1, 0.2, 0.2])
    persons = [one.persons for one in load_table(folder)]
    assert persons == [((0.0, 0.1, 0.5, 1.0),), None, ((0.1, 0.1, 0.2, 0.2),)]
    write(folder / "boxes_known.csv", ["file"], ["a.png"], ["b.png"])
    persons = [one.persons for one in load_table(folder)]
    assert persons == [((0.0, 0.1, 0.5, 1.0),), (), None]


@pytest.mark.parametrize("row", [["a.png", 0, 0.1, 0.5, 1.2], ["a.png", 0.5, 0, 0.5, 1], ["a.png"]])
def test_bad_boxes_are_named(row, folder):
    write(folder / "boxes.csv", ["file", "x0", "y0", "x1", "y1"], ["b.png", 0, 0, 1, 1], row)
    with pytest.raises(ValueError, match=r"boxes\.csv: line 3 must be file, x0, y0, x1, y1"):
        load_table(folder)


def test_label_stays_what_the_file_says(folder):
    """Boxes change labels of crops, not that of a whole picture in reports."""
    write(folder / "boxes.csv", ["file", "x0", "y0", "x1", "y1"], ["b.png", 0, 0, 1, 1])
    one = load_table(folder)[1]
    assert one.label == 0 and one.persons == ((0.0, 0.0, 1.0, 1.0),)
    assert targets([replace(one, label=0)]).labels.tolist() == [1]


def test_the_area_rule_holds_for_row_groups_too():
    """A box of 1 % whose mask is 0.3 % is nobody by the area rule, in a picture and in its rows."""
    box = (0.2, 0.2, 0.3, 0.3)
    one, two = (replace(sample([box]), fills=(fill,)) for fill in (0.3, 0.6))
    found = targets([replace(one, label=0), two, sample([box])])
    assert found.labels.tolist() == [0, 1, 1]
    assert found.labels.tolist() == [person_label([box], fills=f) for f in ([0.3], [0.6], None)]
    assert found.seen.any(dim=1).tolist() == [False, True, True]
    assert not found.meets[0].any() and found.weight[0].all()
    closer = torch.tensor([[0.5, 0, -0.5], [0, 0.5, -0.5]])  # a quarter of the picture: 1.2 %
    assert targets([one], [closer]).labels.tolist() == [1]
    # exactly 0.5 % is enough for a box, not for an area
    half = replace(sample([(0.0, 0.0, 0.1, 0.1)]), fills=(0.5,))
    assert targets([half, sample([(0.0, 0.0, 0.1, 0.05)])]).labels.tolist() == [0, 1]


def test_rows_that_no_group_reads():
    """Of 24 rows groups of 5 read 20: group t ends after 5 (t + 1) rows, not after 6 (t + 1)."""
    index = torch.arange(2)
    samples = [sample([(0.0, 5 / 24, 1.0, 10 / 24)]), sample([(0.0, 21 / 24, 1.0, 1.0)])]
    view = SAME.expand(2, 2, 3)
    found = Boxes(samples).targets(index, view, 4, read=20 / 24)
    assert found.meets.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert found.seen.tolist() == [[0, 1, 1, 1], [0, 0, 0, 0]]
    # a person below all groups: the picture's label says so, its last row group must not deny it
    assert found.labels.tolist() == [1, 1] and found.weight[1].tolist() == [1, 1, 1, 0]


def test_known_boxes_need_their_column(folder):
    """Without it none would be known, and all boxes would be dropped without a word."""
    write(folder / "boxes.csv", ["file", "x0", "y0", "x1", "y1"], ["a.png", 0, 0.1, 0.5, 1])
    write(folder / "boxes_known.csv", ["name"], ["a.png"])
    rule = r"boxes_known\.csv: no column 'file' \(expected file, not name\)"
    with pytest.raises(ValueError, match=rule):
        load_table(folder)


def test_boxes_are_of_persons(folder):
    """Of another pair of classes the labels stay, whatever persons are in the pictures."""
    write(folder / "boxes.csv", ["file", "x0", "y0", "x1", "y1"], ["b.png", 0, 0, 1, 1])
    for classes in (("no_cat", "cat"), ("nothing", "cat", "dog")):
        found = load_table(folder, classes=classes)
        assert [one.persons for one in found] == [None] * 3
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3)
        assert crop_labels(found, whole).tolist() == [1, 0, 1]
