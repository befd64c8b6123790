"""Twenty random networks on random arrays: every value equal, every cycle as predicted."""

from dataclasses import replace

import pytest

from sim import fuzz
from tests.command import invoke, refused

CASES = [fuzz.case(seed) for seed in range(20)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed{case.seed}")
def test_case(case, tmp_path):
    assert fuzz.check(case, tmp_path) is None, str(case)


def test_cases_cover_every_kind():
    models = [case.model for case in CASES]
    assert {model.heads for model in models} == {1, 2, 3, 4}
    assert {model.spatial_attention for model in models} == {"none", "full", "banded"}
    assert {model.channel_attention for model in models} == {True, False}
    assert {model.in_channels for model in models} == {1, 3}
    assert {case.cameras for case in CASES} == {"paced", "blanking", "gaps"}
    assert {case.extreme for case in CASES} == {True, False}
    assert any(case.shape.lanes > case.model.heads for case in CASES)
    assert any(case.model.n > case.shape.pixels for case in CASES)
    assert any(case.model.image_width % (2 * case.shape.pixels) for case in CASES)
    assert any(case.model.image_height % 5 for case in CASES)


def test_the_same_seed_is_the_same_case():
    assert fuzz.case(7) == fuzz.case(7) != fuzz.case(8)


def test_a_failing_case_is_told(monkeypatch):
    monkeypatch.setattr(fuzz, "check", lambda case, folder: "wrong" if case.seed == 5 else None)
    result = invoke("fuzz", "--count", 3, "--seed", 4)
    assert result.exit_code == 1
    assert "2 of 3 equal" in result.output and "make fuzz N=1 SEED=5" in result.output
    assert refused("fuzz", "--count", 0) == "rasca: --count must be at least 1, not 0"


def test_a_wrong_value_is_found(monkeypatch, tmp_path):
    """The check itself bites: one bit of the golden model's state turned."""
    true = fuzz.session.golden_frames

    def turned(result):
        frames = true(result)
        state = frames[1].state.copy()
        state[-1, 0, 0] ^= 1
        return [frames[0], replace(frames[1], state=state)]

    monkeypatch.setattr(fuzz.session, "golden_frames", turned)
    wrong = fuzz.check(fuzz.case(1), tmp_path)
    assert wrong.startswith("frame 1, row group 2, stage state, channel 0, column 0")
