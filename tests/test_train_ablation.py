"""Ablations on tiny data."""

import json
from dataclasses import replace

import pytest

from golden.ablation import KINDS, run, variants
from golden.config import preset
from tests.test_train import CONFIG, OPTIONS, made

NAMES = {
    "heads": ["1 head", "2 heads", "3 heads"],
    "loss": ["none", "trivial", "proposed"],
    "attention": ["none", "channel", "spatial", "both"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_table(kind, tmp_path):
    rows = run(kind, CONFIG, made(), replace(OPTIONS, epochs=1), tmp_path, tell=lambda text: None)
    assert [row["variant"] for row in rows] == NAMES[kind]
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows) and all(line.count("|") == 6 for line in lines)
    sizes = [row["parameters"] for row in rows]
    assert sizes == sorted(sizes) and (len(set(sizes)) == 1) == (kind == "loss")


def test_heads_at_the_large_preset_are_the_presets():
    config = preset("vww_210x240")
    found = variants("heads", config)
    assert found["1 head"][0] == preset("vww_210x240_h1")
    assert found["2 heads"][0].digest == config.digest
    assert found["3 heads"][0] == preset("vww_210x240_h3")


def test_other_kind():
    with pytest.raises(ValueError, match="must be one of heads, loss, attention, not 'size'"):
        variants("size", CONFIG)
