"""Folders of tests that cannot lie in a temporary place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"


@contextmanager
def in_build(name: str) -> Iterator[Path]:
    """An empty folder in build/, and none afterwards: some builds of Yosys see no other folder."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
