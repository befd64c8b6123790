"""Blocks stay small enough to read: no `elaborate` is over 100 lines."""

from tests import structure


def test_no_long_elaborate():
    long = [f"{place}, {lines} lines" for lines, place in structure.elaborates() if lines > 100]
    assert not long


def test_a_long_one_is_seen(monkeypatch, tmp_path):
    body = "        pass\n" * 120
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "x.py").write_text(f"class X:\n    def elaborate(self, platform):\n{body}")
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    assert structure.elaborates() == [(121, "hw/x.py:X")]
