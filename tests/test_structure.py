"""Blocks stay small enough to read: no `elaborate` is over 100 lines, every port has its line."""

import ast

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


def test_every_port_is_told():
    """With its direction and its shape, in the docstring of its component or signature."""
    assert not structure.untold()
    assert len([name for _, node in structure.classes() for name in structure.ports(node)]) > 500


def test_an_untold_port_is_seen():
    text = """
class X(wiring.Component):
    '''Ports
    a, b : In(1)
    c : see Y
    '''

    def __init__(self):
        names = ("d", "e")
        super().__init__({"a": In(1), "b": In(1), "c": Out(2), **dict.fromkeys(("f",), In(1))})
"""
    (node,) = ast.parse(text).body
    assert [*structure.ports(node)] == ["a", "b", "c", "f"]
    assert structure.told(node) == {"a", "b"}
