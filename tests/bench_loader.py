"""Bench of hw/loader.py on Verilator: gaps, wrong ends, an engine that is busy in between."""

import random

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly

from sim import runner
from tests.bench_blocks import begin


async def watch(dut, names, memories):
    """Collects what is written, as the memories would."""
    ports = {
        name: [getattr(dut, f"{name}__{part}") for part in ("en", "addr", "data")] for name in names
    }
    while True:
        await FallingEdge(dut.clk)
        await ReadOnly()
        for name, (enable, address, data) in ports.items():
            if enable.value == 1:
                memories[name][int(address.value)] = int(data.value)


@cocotb.test()
async def bench_loads(dut):
    """Every load of the list: bytes, the digest that must follow (None: an error), final words."""
    given = runner.arguments()
    source = random.Random(given["seed"])
    memories = {name: {} for name in given["names"]}
    await begin(dut, dut.idle, dut.load_valid, dut.load_last)
    cocotb.start_soon(watch(dut, given["names"], memories))
    assert dut.loaded.value == 1
    assert int(dut.weights_digest.value) == given["digest"]
    for data, digest, words in given["loads"]:
        for memory in memories.values():
            memory.clear()
        position = 0
        while position < len(data):
            dut.idle.value = idle = source.random() < 0.8
            dut.load_valid.value = valid = source.random() < 0.8
            dut.load_data.value = data[position]
            dut.load_last.value = position == len(data) - 1
            await ReadOnly()
            assert dut.load_ready.value == idle
            if position:
                assert dut.loaded.value == 0
                assert int(dut.weights_digest.value) == 0
            await FallingEdge(dut.clk)
            position += idle and valid
        dut.load_valid.value = 0
        for _ in range(given["cycles"] - 1):
            assert dut.loaded.value == 0
            await FallingEdge(dut.clk)
        assert dut.loaded.value == (digest is not None)
        assert dut.load_error.value == (digest is None)
        assert int(dut.weights_digest.value) == (digest or 0)
        if digest is not None:
            for name, expected in words.items():
                got = [memories[name].get(address) for address in range(len(expected))]
                assert got == expected, f"{name}: {got}, not {expected}"
