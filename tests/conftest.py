"""Shared by all tests.

A block's bench lives beside its test and runs in the simulator's own process::

    def test_requantise():
        runner.simulate(Requantise(...), __name__, bench="bench_requantise", arguments={"n": 9})

    @cocotb.test()
    async def bench_requantise(dut):
        n = runner.arguments()["n"]
"""

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the cores are shared out among the workers


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded random source, the same for every run."""
    return torch.Generator().manual_seed(20210617)
