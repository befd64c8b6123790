"""Bench of hw/parallel/softmax.py on Verilator; scores and expected weights come from the test.

Rows are written for one head while the unit works on another, and each row of A is read in the
first cycle in which it may be.
"""

import random

import cocotb
from cocotb.triggers import FallingEdge

from sim import runner
from tests.bench_blocks import begin


async def write(dut, head, words):
    """Writes a head's rows in order, one a cycle."""
    for row, word in enumerate(words):
        dut.w_en.value = 1
        dut.w_head.value, dut.w_row.value, dut.w_data.value = head, row, word
        await FallingEdge(dut.clk)
    dut.w_en.value = 0


async def run(dut, given, head, expected, meanwhile, abort_after=None):
    """One run of a head, each row read as early as it may be. ``meanwhile``: (head, words)."""
    dut.start.value, dut.start_head.value = 1, head
    reads = {cycle: row for row, cycle in enumerate(given["ready"])}
    answers = {cycle + given["read_cycles"]: row for cycle, row in reads.items()}
    words = list(enumerate(meanwhile[1])) if meanwhile else []
    for cycle in range(given["cycles"] + given["read_cycles"] + 1):
        row = reads.get(cycle)
        dut.r_en.value = row is not None
        if row is not None:
            dut.r_row.value, dut.r_head.value = row, head
        if cycle in answers:
            got, right = int(dut.r_data.value), expected[answers[cycle]]
            assert got == right, f"row {answers[cycle]}: {got:x}, not {right:x}"
        if cycle:
            assert dut.busy.value == (cycle < given["cycles"]), f"busy in cycle {cycle}"
        dut.w_en.value = bool(words) and cycle % 3 == 1
        if words and cycle % 3 == 1:
            dut.w_row.value, dut.w_data.value = words.pop(0)
            dut.w_head.value = meanwhile[0]
        if cycle == abort_after:
            dut.abort.value = 1
            await FallingEdge(dut.clk)
            dut.abort.value = 0
            dut.r_en.value = dut.w_en.value = 0
            assert dut.busy.value == 0
            return
        await FallingEdge(dut.clk)
        dut.start.value = 0
    assert not words


@cocotb.test()
async def bench_runs(dut):
    """Heads in turn; every fourth run is aborted first."""
    given = runner.arguments()
    source = random.Random(given["seed"])
    await begin(dut, dut.w_en, dut.start, dut.abort, dut.r_en, dut.table__en)
    runs = given["runs"]
    await write(dut, runs[0][0], runs[0][1])
    for index, (head, _, expected) in enumerate(runs):
        after = runs[index + 1] if index + 1 < len(runs) else None
        if index % 4 == 3:
            await run(dut, given, head, expected, None, source.randrange(1, given["cycles"]))
        await run(dut, given, head, expected, after)
