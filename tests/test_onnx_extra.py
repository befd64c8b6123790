"""The extras of make onnx, docs and strangers: pinned with hashes, and named where missing."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from golden.errors import CommandError
from golden.onnx_export import needs

ROOT = Path(__file__).resolve().parents[1]


def locked(name):
    """Version by package of a lock; each has hashes."""
    found = {}
    for entry in re.split(r"^(?=\w)", (ROOT / name).read_text(), flags=re.M)[1:]:
        package, version = re.match(r"([\w.-]+)==([\w.]+)", entry).groups()
        assert "--hash=sha256:" in entry, package
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("extra_name", ["atheris", "docs", "onnx"])
def test_lock_has_the_pins(extra_name):
    """And nothing that the other lock has in another version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    file = f"requirements-{extra_name}.lock"
    extra, whole = locked(file), locked("requirements.lock")
    for pin in project["optional-dependencies"][extra_name]:
        name, version = pin.split("==")
        assert extra[name] == {version}
    for name in extra.keys() & whole.keys():
        assert extra[name] <= whole[name], name
    assert "://" not in (ROOT / file).read_text()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match="expected the package onnx, which .*onnx.lock brings"):
        needs("onnx", "onnxruntime")
