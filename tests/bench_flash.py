"""Bench of boards/flash.py: cocotbext-qspi's flash model with good and bad contents."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from sim import runner


@cocotb.test()
async def bench_contents(dut):
    """Each of the cases: bytes that are changed, what the pin does; outcome and tries."""
    given = runner.arguments()
    memory = dut.flash.memory
    good = bytes.fromhex(given["image"])
    for place, byte in enumerate(good):
        memory[given["offset"] + place].value = byte
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    dut.flash.powered_up.value = 0  # as a configuration may leave it
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    digest = 0
    for number, case in enumerate(given["cases"]):
        for place, byte in case["changes"].items():
            memory[given["offset"] + int(place)].value = byte
        dut.stuck.value = case["stuck"]
        before = int(dut.selected.value)
        if number:
            dut.reload.value = 1
            await RisingEdge(dut.clk)
            dut.reload.value = 0
            await ClockCycles(dut.clk, 3)
        cycles = 0
        while dut.dut.flash.busy.value:
            assert not dut.weights_ok.value
            await ClockCycles(dut.clk, 10)
            cycles += 10
            assert cycles < 50 * len(good) * given["tries"], f"case {case}: no end"
        await ClockCycles(dut.clk, 5)
        problem = case["problem"]
        found = (
            int(dut.dut.flash.ready.value),
            int(dut.dut.flash.failed.value),
            int(dut.flash_problem.value),
            int(dut.weights_ok.value),
            int(dut.dut.rasca.weights_digest.value),
        )
        # a wrong header leaves the weights alone that are in the engine
        if problem in (0, given["crc_problem"]):
            digest = 0 if problem else given["digest"]
        expected = (int(not problem), int(bool(problem)), problem, int(bool(digest)), digest)
        assert found == expected, f"case {case}: {found}, not {expected}"
        # 0xAB and a read in each try
        tries = given["tries"] if problem else 1
        assert int(dut.selected.value) - before == 2 * tries, f"case {case}"
        for place in case["changes"]:
            memory[given["offset"] + int(place)].value = good[int(place)]
