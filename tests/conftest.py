"""Shared by all tests.

A block's bench lives beside its test and runs in the simulator's own process::

    def test_requantise():
        runner.simulate(Requantise(...), __name__, bench="bench_requantise", arguments={"n": 9})

    @cocotb.test()
    async def bench_requantise(dut):
        n = runner.arguments()["n"]
"""

import functools
import gc
import os
import warnings
from importlib.machinery import ExtensionFileLoader

import pytest
import torch

from tests import properties

properties.register()


def undisturbed(start):
    """The start-up of a module in C, during which warnings are none and no garbage is collected.

    Warnings are errors here, and a test may be the first to import matplotlib, say: an error that
    comes up inside of such a start-up, of the module or of any object that happens to be collected
    then, leaves it as a SystemError of the importing test.
    """

    @functools.wraps(start)
    def started(*words):
        collects = gc.isenabled()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return start(*words)
        finally:
            if collects:
                gc.enable()

    return started


for _name in ("create_module", "exec_module"):
    setattr(ExtensionFileLoader, _name, undisturbed(getattr(ExtensionFileLoader, _name)))

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the cores are shared out among the workers


def pytest_addoption(parser):
    parser.addoption("--every", action="store_true", help="also the cases marked with `every`")


def pytest_collection_modifyitems(config, items):
    """What is marked with `every` runs only when asked for: make test ARGS=--every."""
    if not config.getoption("--every"):
        left = [item for item in items if item.get_closest_marker("every")]
        items[:] = [item for item in items if not item.get_closest_marker("every")]
        config.hook.pytest_deselected(items=left)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded random source, the same for every run."""
    return torch.Generator().manual_seed(20210617)
