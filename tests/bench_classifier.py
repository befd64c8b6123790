"""Bench of hw/parallel/classifier.py on Verilator; stimulus and expected logits are the test's."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from sim import runner


async def begin(dut):
    """Clock, reset, every input at 0."""
    for handle in (dut.p_en, dut.start, dut.abort, dut.w_en, dut.c_en):
        handle.value = 0
    dut.stop_enable.value = 1
    dut.skip_enable.value = 1
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(3):
        await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def cycle(dut):
    """To the middle of the next cycle: the place to set inputs."""
    await FallingEdge(dut.clk)


async def start(dut, pooled, source):
    """Feeds the channels, shuffled and with bubbles, and gives the start pulse."""
    order = list(range(len(pooled)))
    source.shuffle(order)
    for channel in order:
        while source.random() < 0.2:
            await cycle(dut)
        dut.p_en.value = 1
        dut.p_channel.value = channel
        dut.p_sum.value, dut.p_max.value = pooled[channel]
        await cycle(dut)
        dut.p_en.value = 0
    dut.start.value = 1
    await cycle(dut)
    dut.start.value = 0


@cocotb.test()
async def bench_runs(dut):
    """Runs one after the other; every third is aborted and started again."""
    given = runner.arguments()
    source = random.Random(given["seed"])
    await begin(dut)
    for index, (pooled, logits) in enumerate(given["runs"]):
        difference = logits[1] - logits[0]
        offset = index % 3 - 1
        threshold = max(-(2**31), min(2**31 - 1, difference + offset))
        dut.stop_threshold.value = threshold
        dut.skip_threshold.value = threshold
        if index % 3 == 2:
            await start(dut, pooled[::-1], source)
            for _ in range(source.randrange(given["cycles"] - 1)):
                await cycle(dut)
                assert dut.o_valid.value == 0
            dut.abort.value = 1
            await cycle(dut)
            dut.abort.value = 0
            assert dut.busy.value == 0
        await start(dut, pooled, source)
        for _ in range(given["cycles"] - 1):
            await ReadOnly()
            assert dut.o_valid.value == 0
            await cycle(dut)
        assert dut.o_valid.value == 1
        got = [dut.logit0.value.to_signed(), dut.logit1.value.to_signed()]
        assert got == logits, f"run {index}: {got}, not {logits}"
        assert dut.stop.value == (difference >= threshold)
        assert dut.skip.value == (difference <= threshold)
        await cycle(dut)
        assert dut.o_valid.value == 0
