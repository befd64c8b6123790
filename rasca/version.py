"""The version of Rasca: that of pyproject.toml in a checkout, else of what was installed."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def version() -> str:
    """As `rasca --version` tells it."""
    if _PROJECT.is_file():
        text = _PROJECT.read_text(encoding="utf-8")
        return re.search(r'^version = "([^"]+)"', text, re.M)[1]
    return metadata.version("rasca")
