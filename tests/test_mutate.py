"""make mutate: faults that are drawn, proofs and tests that find them, and what survives."""

import json

import pytest

from golden import files
from sim.prove import mutants, mutate
from tests.command import invoke

HOST = "hw.host_read"


def test_faults_of_a_block():
    """Each is one place of its text, and a seed draws the same ones."""
    text, found = mutants.source(HOST), mutate.all_of(HOST)
    assert len(found) > 10
    for one, changed in found:
        assert changed != text and one.was in " ".join(text.split())
        assert f"({one.now})" in changed
        compile(changed, one.block, "exec")
    assert mutate.drawn([HOST], 5, 3) == mutate.drawn([HOST], 5, 3) != mutate.drawn([HOST], 5, 4)


def test_blocks_take_turns():
    blocks = [one.block for one, _ in mutate.drawn(["hw.bus.axi", HOST], 6, 0)]
    assert blocks == ["hw.bus.axi", HOST] * 3


def fault(was, now):
    ((one, text),) = [
        found for found in mutate.all_of(HOST) if (found[0].was, found[0].now) == (was, now)
    ]
    return one, text


def test_a_property_finds_one():
    assert mutate.by_properties(*fault("remaining - self.lanes", "remaining + self.lanes")) == (
        "host: read"
    )


def test_tests_find_one(monkeypatch, tmp_path):
    monkeypatch.setattr(mutate, "OUTPUT", tmp_path)
    one, text = fault("remaining - self.lanes", "remaining + self.lanes")
    assert mutate.by_tests(one, text)
    assert not mutate.by_tests(one, mutants.source(HOST))


def test_tests_that_hang_find_one(monkeypatch, tmp_path):
    """They are given seconds of the processor: one is too few to begin with."""
    monkeypatch.setattr(mutate, "OUTPUT", tmp_path)
    monkeypatch.setattr(mutate, "TEST_LIMIT", 1)
    assert mutate.by_tests(mutate.Mutant(HOST, 1, "", ""), mutants.source(HOST))


def test_blocks_have_their_tests():
    """Files and tests that BLOCKS names are there: else pytest's error would pass for a find."""
    for names in mutate.BLOCKS.values():
        for name in names.split():
            file, _, function = name.partition("::")
            text = (files.ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"\ndef {function or 'test_'}" in text, name


def test_whether_a_read_is_told_is_no_property():
    assert mutate.by_properties(*fault("seeking | asking", "seeking & asking")) is None


@pytest.mark.parametrize("text", ["1 +", "raise KeyError"])
def test_what_cannot_be_built(text):
    assert mutate.by_properties(mutate.Mutant(HOST, 1, "", ""), text) == mutate.UNBUILT


def test_command(monkeypatch, tmp_path):
    monkeypatch.setattr(mutate, "OUTPUT", tmp_path)
    monkeypatch.setattr(mutate, "by_tests", lambda one, text: False)
    result = invoke("mutate", "--count", 3, "--block", "host_read", "--seed", 1)
    rows = json.loads((tmp_path / "mutants.json").read_text())
    assert result.exit_code == 0 and len(rows) == 3
    found = sum(row["found"] == "proof" for row in rows)
    assert f"faults: proofs {found}, tests 0" in result.output
    assert all(row["by"] or "NOT FOUND" in result.output for row in rows)
