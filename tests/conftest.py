"""Shared by all tests. Benches live beside their tests and run in the simulator's own process.

    def test_requantise():
        runner.simulate(Requantise(...), __name__, bench="bench_requantise", arguments={...})

    @cocotb.test()
    async def bench_requantise(dut): ...
"""

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded random source, the same for every run."""
    return torch.Generator().manual_seed(20210617)
