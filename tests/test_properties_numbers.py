"""Properties of the integer rules and of labels, for whatever Hypothesis draws
(tests/properties.py), against exact integers and fractions."""

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from golden import activation, attention, classifier, requant
from golden.boxes import Boxes
from golden.data import LEAST_FRACTION, Sample, crop_labels, person_label
from golden.images import _TURNS, turned
from tests import properties

HALF = Fraction(1, 2)
SUM = st.integers(-(2**31), 2**31 - 1)
BYTE, SIGNED = st.integers(0, 255), st.integers(-128, 127)


def tensor(*values):
    return torch.tensor(values, dtype=torch.int64)


# ---- fixed point ----


@given(acc=SUM, bias=SUM, multiplier=BYTE, shift=st.integers(0, 31))
@example(acc=-(2**31), bias=-(2**31), multiplier=255, shift=31)
@example(acc=-5, bias=0, multiplier=1, shift=1)
def test_requantise_rounds_half_up(acc, bias, multiplier, shift):
    found = requant.requantise(tensor(acc), tensor(bias), tensor(multiplier), tensor(shift))
    exact = Fraction((acc + bias) * multiplier, 2**shift)
    assert found.tolist() == [floor(exact + HALF)]
    value = int(found)
    assert requant.relu(found).tolist() == [min(max(value, 0), 255) - 128]
    assert requant.signed(found).tolist() == [min(max(value, -128), 127)]
    assert requant.pre_activation(found).tolist() == [min(max(value, -511), 511)]


@given(ratio=st.floats(2.0**-31, requant.LARGEST_RATIO))
@example(ratio=2.0**-31)
@example(ratio=127.5)
@example(ratio=0.998046875)
def test_the_smallest_fixed_point_that_is_not_less(ratio):
    multiplier, shift = requant.fixed_point(ratio)
    value = Fraction(multiplier, 2**shift)
    assert 1 <= multiplier <= 255 and 1 <= shift <= 31 and value >= Fraction(ratio)
    others = [Fraction(-(-Fraction(ratio) * 2**s // 1), 2**s) for s in range(1, 32)]
    assert value == min(one for s, one in enumerate(others, 1) if one * 2**s <= 255)


@given(value=SIGNED, unit=st.integers(0, 256))
@example(value=1, unit=128)
@example(value=-1, unit=128)
def test_a_gate_rounds_half_up(value, unit):
    assert activation.gate(tensor(value), tensor(unit)).tolist() == [
        floor(Fraction(value * unit, 256) + HALF)
    ]


@given(unit=st.integers(0, 256))
@example(unit=127)
@example(unit=128)
@example(unit=129)
def test_unit_bytes(unit):
    byte = activation.encode_unit(tensor(unit))
    assert 0 <= int(byte) <= 255
    assert activation.decode_unit(byte).tolist() == [127 if unit == 128 else unit]


@given(value=st.integers(-(2**20), 2**20), step=st.integers(0, 40))
def test_activations_are_odd_and_never_fall(value, step):
    one, next_one, other = tensor(value), tensor(value + step), tensor(-value)
    assert activation.tanh(next_one) >= activation.tanh(one) == -activation.tanh(other)
    assert activation.sigmoid(next_one) >= activation.sigmoid(one)
    assert activation.sigmoid(one) + activation.sigmoid(other) == 256


@given(scores=st.lists(SIGNED, min_size=1, max_size=24), scale=st.floats(1e-3, 0.5), add=SIGNED)
def test_a_softmax_is_near_the_exact_one(scores, scale, add):
    """Of its table's numbers, within 1 of 127; what is added to all scores is nothing."""
    table = attention.make_exp_table(scale)
    found = attention.softmax(tensor(scores), table)[0].tolist()
    weights = [int(table[max(scores) - score]) for score in scores]
    exact = [Fraction(127 * weight, sum(weights)) for weight in weights]
    assert all(0 <= a <= 127 and abs(a - b) <= 1 for a, b in zip(found, exact, strict=True))
    assert attention.softmax(tensor([score + add for score in scores]), table)[0].tolist() == found


@given(x=st.integers(-4096, 4095))
def test_hard_swish_rounds_half_up(x):
    exact = Fraction(x * min(max(x + 768, 0), 1536), 256)
    assert int(classifier.hard_swish(tensor(x))) == floor(exact + HALF)


@given(logits=st.lists(SUM, min_size=2, max_size=16), data=st.data())
def test_decision_and_margin(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    assert int(classifier.decide(tensor(*logits))) == logits.index(max(logits))
    others = logits[:label] + logits[label + 1 :]
    assert int(classifier.margin(tensor(*logits), label)) == logits[label] - max(others)


# ---- labels ----

GRID = 64
"""Corners lie on a grid whose steps are exact in floating point."""


@st.composite
def boxes(draw, least=0):
    left, right = sorted(draw(st.lists(st.integers(0, GRID), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, GRID), min_size=2, max_size=2, unique=True)))
    assume(right - left >= least and bottom - top >= least)
    return left, top, right, bottom


def part(box, crop):
    """Exact part of a crop that a box covers."""
    width = max(0, min(box[2], crop[2]) - max(box[0], crop[0]))
    height = max(0, min(box[3], crop[3]) - max(box[1], crop[1]))
    return Fraction(width * height, (crop[2] - crop[0]) * (crop[3] - crop[1]))


def real(box):
    return tuple(side / GRID for side in box)


def sample(found, fills=None):
    persons = None if found is None else tuple(map(real, found))
    return Sample(path=Path("a.png"), label=1, persons=persons, fills=fills)


PERSONS = st.lists(boxes(), max_size=4)


@given(found=st.none() | PERSONS, crop=boxes(least=1))
@example(found=[(0, 0, 8, 8)], crop=(0, 0, 64, 64))
def test_a_label_after_a_crop(found, crop):
    """A box that covers at least 0.5% of what is seen; unchanged where none is known."""
    label = crop_labels([sample(found)], torch.tensor([real(crop)]))
    least = Fraction(LEAST_FRACTION).limit_denominator(1000)
    wanted = 1 if found is None else any(part(box, crop) >= least for box in found)
    assert label.tolist() == [int(wanted)]


@given(found=PERSONS, crop=boxes(least=1), data=st.data())
def test_a_label_by_the_area_rule(found, crop, data):
    """More than 0.5% must be filled; all filled it is the box rule, but for exactly 0.5%."""
    fills = tuple(data.draw(st.integers(0, 16)) / 16 for _ in found)
    least = Fraction(LEAST_FRACTION).limit_denominator(1000)
    wanted = any(
        part(box, crop) * Fraction(fill) > least for box, fill in zip(found, fills, strict=True)
    )
    label = crop_labels([sample(found, fills)], torch.tensor([real(crop)]))
    assert label.tolist() == [int(wanted)]
    assert person_label(tuple(map(real, found)), real(crop)) >= int(wanted)


@given(found=PERSONS, crop=boxes(least=4), mirror=st.booleans(), groups=st.integers(1, 21))
@example(found=[(0, 0, 64, 64)], crop=(0, 0, 64, 64), mirror=False, groups=7)
def test_the_labels_of_row_groups(found, crop, mirror, groups):
    """Of a view without a turn: by rows of the crop, exact where nothing lies at a limit."""
    left, top, right, bottom = (2 * side - 1 for side in real(crop))
    sign = -1 if mirror else 1
    view = [
        [sign * (right - left) / 2, 0, (left + right) / 2],
        [0, (bottom - top) / 2, (top + bottom) / 2],
    ]
    got = Boxes([sample(found)]).targets(torch.tensor([0]), torch.tensor([view]), groups)
    least, height = Fraction(1, 200), crop[3] - crop[1]
    met, seen = [False] * groups, [False] * groups
    for box in found:
        whole = part(box, crop)
        assume(abs(whole - least) > Fraction(1, 10**4))
        if whole < least:
            continue
        first = Fraction(max(box[1], crop[1]) - crop[1], height)
        last = Fraction(min(box[3], crop[3]) - crop[1], height)
        width = whole / (last - first)
        for group in range(groups):
            begin, end = Fraction(group, groups), Fraction(group + 1, groups)
            met[group] |= end > first and begin < last
            scanned = max(0, min(end, last) - first)
            assume(abs(scanned * width - least) > Fraction(1, 10**4))
            assume(abs(scanned - (last - first) / 4) > Fraction(1, 10**4))
            assume(abs(end - first) > Fraction(1, 1000) and abs(begin - last) > Fraction(1, 1000))
            seen[group] |= scanned * width >= least and scanned >= (last - first) / 4
    assert got.labels.tolist() == [int(any(met))] == [int(any(seen))]
    assert got.meets[0].tolist() == met and got.seen[0].tolist() == seen
    begun = [any(met[: group + 1]) for group in range(groups)]
    asked = [a or not b for a, b in zip(seen, begun, strict=True)]
    assert got.weight[0].tolist() == asked


@given(box=boxes(), orientation=st.sampled_from((1, *_TURNS)))
def test_a_box_turns_with_its_picture(box, orientation):
    """As Pillow turns the pixels."""
    picture = np.zeros((GRID, GRID), np.uint8)
    picture[box[1] : box[3], box[0] : box[2]] = 1
    upright = Image.fromarray(picture)
    if orientation in _TURNS:
        upright = upright.transpose(_TURNS[orientation])
    rows, columns = np.nonzero(np.asarray(upright))
    wanted = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert turned(real(box), orientation) == tuple(side / GRID for side in wanted)
    assert len(rows) == (box[2] - box[0]) * (box[3] - box[1])


# ---- each of them can fail ----

PLANTED = {
    "rounds down": (
        (requant, "requantise", lambda a, b, m, s: ((a + b) * m) >> s),
        test_requantise_rounds_half_up,
    ),
    "saturates late": (
        (requant, "signed", lambda value: value.clamp(-128, 128)),
        test_requantise_rounds_half_up,
    ),
    "next shift": (
        (requant, "fixed_point", lambda ratio: (255, 1)),
        test_the_smallest_fixed_point_that_is_not_less,
    ),
    "gate": ((activation, "gate", lambda a, b: (a * b + 127) >> 8), test_a_gate_rounds_half_up),
    "unit": ((activation, "encode_unit", lambda unit: unit - (unit > 128).long()), test_unit_bytes),
    "tanh": (
        (activation, "tanh", lambda value: value.clamp(-128, 127)),
        test_activations_are_odd_and_never_fall,
    ),
    "softmax": (
        (attention, "softmax", lambda s, table: torch.full_like(s, 127 // s.shape[-1])),
        test_a_softmax_is_near_the_exact_one,
    ),
    "swish": (
        (classifier, "hard_swish", lambda x: (x * (x + 768).clamp(0, 1535) + 128) >> 8),
        test_hard_swish_rounds_half_up,
    ),
    "last of equal ones": (
        (classifier, "decide", lambda x: len(x) - 1 - x.flip(-1).argmax(-1)),
        test_decision_and_margin,
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_found(what, monkeypatch):
    (module, name, wrong), found_by = PLANTED[what]
    monkeypatch.setattr(module, name, wrong)
    properties.fails(found_by, monkeypatch)


def test_a_planted_turn_is_found(monkeypatch):
    monkeypatch.setitem(_TURNS, 6, _TURNS[8])
    properties.fails(test_a_box_turns_with_its_picture, monkeypatch)


@pytest.mark.parametrize("found_by", [test_a_label_after_a_crop, test_a_label_by_the_area_rule])
def test_a_planted_label_is_found(found_by, monkeypatch):
    monkeypatch.setattr("golden.data.covered", lambda box, crop: 0.01)
    properties.fails(found_by, monkeypatch)


def test_a_planted_row_group_is_found(monkeypatch):
    monkeypatch.setattr("golden.boxes.SEEN_PART", 0.3)
    properties.fails(test_the_labels_of_row_groups, monkeypatch)
