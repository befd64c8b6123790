"""boards/camera/fifo.py: every entry once and in order, at any two clocks."""

import random
from collections import deque

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.camera import fifo
from boards.camera.fifo import CrossingFifo


class Bench(wiring.Component):
    """A FIFO between two clocks of the simulator."""

    def __init__(self, block):
        super().__init__({})
        self.block = block

    def elaborate(self, platform):
        m = Module()
        m.domains.camera = ClockDomain(reset_less=True)
        m.submodules += self.block
        return m


def play(depth, period, seed, writes=0.7, reads=0.7, cycles=600):
    """Random traffic at a writer's clock of `period` reader's cycles; what was seen of it.

    Returns the most entries that lay there, and how often each flag was away.
    """
    block, source = CrossingFifo(width=12, depth=depth, w_domain="camera"), random.Random(seed)
    there, most, stopped = deque(), 0, {"full": 0, "empty": 0}

    async def writer(ctx):
        nonlocal most
        for _ in range(int(cycles / period)):
            entry, wanted = source.getrandbits(12), source.random() < writes
            ctx.set(block.w_data, entry)
            ctx.set(block.w_en, wanted)
            _, _, ready = await ctx.tick("camera").sample(block.w_rdy)
            if wanted and ready:
                there.append(entry)
                most = max(most, len(there))
            stopped["full"] += not ready
        ctx.set(block.w_en, 0)

    async def reader(ctx):
        for cycle in range(cycles + 40):  # at last, what is left
            wanted = cycle > cycles or source.random() < reads
            ctx.set(block.r_en, wanted)
            _, _, ready, entry = await ctx.tick().sample(block.r_rdy, block.r_data)
            if ready:
                assert there, "an entry out of nothing"
                assert entry == there[0], f"{entry:03x} came, not {there[0]:03x}"
                if wanted:
                    there.popleft()
            stopped["empty"] += not ready

    simulator = Simulator(Bench(block))
    simulator.add_clock(1)
    simulator.add_clock(period, domain="camera", phase=0.013)
    simulator.add_testbench(writer)
    simulator.add_testbench(reader)
    simulator.run()
    assert not there, f"{len(there)} entries stayed"
    return most, stopped


@pytest.mark.parametrize("period", [0.31, 0.97, 1.51, 7.3])
def test_random(period):
    for depth in (4, 16):
        play(depth, period, seed=depth)


def test_all_of_it():
    """A reader that is away: as many entries as there is room for; then they all come."""
    most, stopped = play(8, 0.5, seed=1, writes=1, reads=0.05)
    assert most == 8 and stopped["full"]


def test_every_cycle():
    """A writer and a reader that never rest: an entry a cycle, without a gap once it flows."""
    _, stopped = play(16, 1.0, seed=2, writes=1, reads=1)
    assert not stopped["full"] and stopped["empty"] <= CrossingFifo.latency[1] + 40


def test_faults_are_seen(monkeypatch):
    """A FIFO that takes one entry too many, or tells one before it is there."""
    monkeypatch.setattr(fifo, "full", lambda written, read: written[0] & ~written[0])
    with pytest.raises(AssertionError):
        play(4, 0.5, seed=3, writes=1, reads=0.2)
    monkeypatch.undo()
    monkeypatch.setattr(fifo, "FFSynchronizer", early)
    with pytest.raises(AssertionError):
        play(4, 0.5, seed=3)


def early(i, o, o_domain):
    """A counter that comes a count too soon."""
    m = Module()
    m.d[o_domain] += o.eq(i ^ 1)
    return m


def test_depth():
    with pytest.raises(ValueError, match="depth must be a power of two, at least 4, not 6"):
        CrossingFifo(width=1, depth=6, w_domain="camera")
