"""What all tests share: modules in C start undisturbed by the tests' own rules."""

import gc
import importlib.util
import sys
import warnings
from importlib.machinery import ExtensionFileLoader

import pytest

from tests.conftest import undisturbed


def disturbed():
    """What an importing test may find: a warning, and garbage whose end is one."""
    warnings.warn("of the module", ResourceWarning, stacklevel=1)
    return gc.isenabled()


def test_start_up_of_modules_in_c():
    with pytest.raises(ResourceWarning):
        disturbed()
    assert undisturbed(disturbed)() is False and gc.isenabled()
    gc.disable()
    try:
        assert undisturbed(disturbed)() is False and not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ZeroDivisionError):
        undisturbed(lambda: 1 // 0)()
    assert gc.isenabled()
    with pytest.raises(ResourceWarning):  # an error again
        disturbed()


def test_every_module_in_c_starts_so(monkeypatch):
    """The import system's own loader does it, whoever imports."""
    for name in ("create_module", "exec_module"):
        assert hasattr(getattr(ExtensionFileLoader, name), "__wrapped__")
    spec = importlib.util.find_spec("matplotlib._path")
    assert isinstance(spec.loader, ExtensionFileLoader)
    seen = []
    loading = ExtensionFileLoader.create_module.__wrapped__
    monkeypatch.setattr(
        ExtensionFileLoader,
        "create_module",
        undisturbed(lambda *words: (seen.append(gc.isenabled()), loading(*words))[1]),
    )
    monkeypatch.delitem(sys.modules, "matplotlib._path", raising=False)
    importlib.util.module_from_spec(spec)
    assert seen == [False] and gc.isenabled()
