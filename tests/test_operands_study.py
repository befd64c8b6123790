"""sim/study/operands.py: small lanes in a small library."""

import pytest
import torch
from rich.console import Console

from sim.study import operands
from sim.study.operands import WAYS, ZERO, Walk
from tests.places import in_build
from tests.test_rated import library as gated_library

ACC_BITS = 18
library = gated_library


@pytest.fixture(scope="module")
def place():
    with in_build("test_operands_study") as folder:
        yield folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(operands, "PIXELS", 2)
    monkeypatch.setattr(operands, "CHANNELS", 1)


def drawn(zeros, count=6, seed=1):
    """Walks of random bytes, of which `zeros` are the stored zero; one with another zero point."""
    source = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        k = int(torch.randint(1, 12, (1,), generator=source))
        pixels = torch.randint(-128, 128, (k, 2), generator=source)
        pixels[torch.rand((k, 2), generator=source) < zeros] = ZERO
        weights = torch.randint(-127, 128, (k, 1), generator=source)
        found.append(Walk(operands=pixels, weights=weights, zero_point=0 if i == 2 else ZERO))
    return found


def measured(way, found, library, place):
    folder = place / f"way{WAYS.index(way)}"
    return operands.measure(way, found, ACC_BITS, library.sources[0], folder, Console(quiet=True))


def test_all_ways_make_the_golden_sums_and_zeros_cost_less(small, library, place):
    """`measure` compares the sums; of zeros only, stored as 0, nothing is switched but the sums'
    beginnings."""
    few = [measured(way, drawn(0.5), library, place) for way in WAYS]
    none = [measured(way, drawn(1.0), library, place) for way in WAYS]
    for some, zeros in zip(few, none, strict=True):
        assert 0 < zeros.logic < some.logic and some.area == zeros.area > 0
    assert none[1].logic < none[0].logic
    assert none[2].clock < none[1].clock == few[1].clock


def test_wrong_sums_are_found(small, library, place, monkeypatch):
    right = operands.stimulus

    def wrong(found, way):
        cycles, sums = right(found, way)
        sums[-1][0] ^= 1
        return cycles, sums

    monkeypatch.setattr(operands, "stimulus", wrong)
    with pytest.raises(RuntimeError, match="makes other sums than the golden model"):
        measured(WAYS[0], drawn(0.5), library, place)
