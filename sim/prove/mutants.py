"""Parts with a fault that was put in: what proofs and tests are worth."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType


def source(module: str) -> str:
    return Path(import_module(module).__file__).read_text(encoding="utf-8")


def changed(module: str, text: str) -> ModuleType:
    """A module made of another text than its own; the own one stays what all others import."""
    own = import_module(module)
    found = ModuleType(module)
    found.__file__, found.__package__ = own.__file__, own.__package__
    sys.modules[module] = found  # dataclasses look for their module
    try:
        exec(compile(text, own.__file__, "exec"), found.__dict__)
    finally:
        sys.modules[module] = own
    return found


def planted(module: str, old: str, new: str) -> ModuleType:
    """A module in which one place is another.

    Raises
    ------
    ValueError
        `old` does not stand there exactly once.
    """
    text = source(module)
    if text.count(old) != 1:
        raise ValueError(f"{old!r} must stand once in {module}, not {text.count(old)} times")
    return changed(module, text.replace(old, new))
