# amaranth: UnusedElaboratable=no
"""hw/parallel/softmax.py against golden/attention.py."""

import random

import pytest
import torch
from amaranth.sim import Simulator

from golden import attention as golden
from hw.parallel.softmax import Softmax
from hw.plan.beside import SoftmaxTiming
from sim import runner

TABLE = golden.make_exp_table(0.05)
SIZES = [  # heads, columns, pixels, banded
    (1, 1, 1, False),
    (1, 1, 2, True),
    (2, 2, 5, False),
    (2, 7, 8, False),
    (2, 7, 8, True),
    (3, 12, 13, True),
    (1, 13, 13, False),
    (2, 15, 15, True),
    (4, 15, 16, False),
    (1, 30, 30, False),
]


def random_scores(count, columns, generator):
    """Scores of `count` heads: all the same, both ends, one peak, then random spreads."""
    scores = torch.randint(-128, 128, (count, columns, columns), generator=generator)
    scores = scores >> torch.randint(0, 7, (count, 1, 1), generator=generator)
    scores[0] = 127
    scores[1 % count, :, ::2], scores[1 % count, :, 1::2] = -128, 127
    scores[2 % count], scores[2 % count, :, 0] = -128, 127
    return scores


def expected(scores, table, banded):
    """A of raw scores of one head."""
    if banded:
        place = torch.arange(scores.shape[-1])
        scores = scores * ((place[:, None] - place[None, :]).abs() <= golden.BAND)
    return golden.softmax(scores, table)


def words(rows, fill=()):
    """Rows of bytes as words, column 0 lowest, `fill` above."""
    return [
        sum((int(value) & 0xFF) << 8 * i for i, value in enumerate([*row, *fill])) for row in rows
    ]


def build(heads, columns, pixels, banded, table=TABLE, read_cycles=2):
    return Softmax(
        heads=heads,
        columns=columns,
        pixels=pixels,
        banded=banded,
        exp_table=table.tolist(),
        read_cycles=read_cycles,
    )


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


async def write(ctx, dut, head, rows):
    for row, word in enumerate(rows):
        ctx.set(dut.w_en, 1)
        ctx.set(dut.w_head, head)
        ctx.set(dut.w_row, row)
        ctx.set(dut.w_data, word)
        await ctx.tick()
    ctx.set(dut.w_en, 0)


async def run(ctx, dut, head, *, early=0, longer=0):
    """A run from the cycle of ``start``; gives the rows, each read in the cycle it is ready.

    For the test of the tests: read ``early`` cycles before, expect ``longer`` cycles of work.
    """
    ready = {dut.row_ready(row) - early: row for row in range(dut.columns)}
    cycles = dut.cycles + longer
    rows = [None] * dut.columns
    ctx.set(dut.start, 1)
    ctx.set(dut.start_head, head)
    for cycle in range(cycles + dut.read_cycles + 1):
        if cycle:
            assert ctx.get(dut.busy) == (cycle < cycles)
        ctx.set(dut.r_en, cycle in ready)
        if cycle in ready:
            ctx.set(dut.r_row, ready[cycle])
            ctx.set(dut.r_head, head)
        if cycle - dut.read_cycles in ready:
            rows[ready[cycle - dut.read_cycles]] = ctx.get(dut.r_data)
        await ctx.tick()
        ctx.set(dut.start, 0)
    return rows


def check(dut, scores, table, *, banded=None, **options):
    banded = dut.banded if banded is None else banded

    async def testbench(ctx):
        for index, head_scores in enumerate(scores):
            head = index % dut.heads
            fill = [index * 37 + 255] * (dut.pixels - dut.columns)
            await write(ctx, dut, head, words(head_scores, fill))
            rows = await run(ctx, dut, head, **options)
            assert rows == words(expected(head_scores, table, banded))

    simulate(dut, testbench)


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(sizes, generator):
    heads, columns, pixels, banded = sizes
    dut = build(*sizes)
    when = Softmax.timing(columns=columns)
    assert (dut.cycles, dut.row_cycles) == (when.cycles, when.row_cycles)
    assert [dut.row_ready(row) for row in range(columns)] == [
        when.row_ready(row) for row in range(columns)
    ]
    # the three ends, each with its head, and as many of random spreads
    check(dut, random_scores(6, columns, generator), TABLE)


def test_sums_of_every_size(generator):
    """Rows whose exponentials sum to anything up to 30 * 255: the quotient's rounding counts."""
    dut, source = build(1, 30, 30, False), random.Random(5)
    rows = torch.full((4, 30, 30), 127)
    for matrix in rows:
        for row in matrix:
            row[1:] -= source.randrange(60)  # about as large, or much smaller
            row[: source.randrange(30)] = 127
    sums = TABLE.to(torch.int64)[127 - rows].sum(dim=-1).flatten().tolist()
    assert sum(total >= 4096 for total in sums) > 20 and min(sums) < 2000
    check(dut, rows, TABLE)


def test_rows_without_a_register(generator):
    dut = build(*SIZES[0], read_cycles=1)
    check(dut, random_scores(3, dut.columns, generator), TABLE)


@pytest.mark.parametrize("step", [0.0005, 0.02, 0.4, 9.0])
def test_tables(step, generator):
    """From a flat table (the largest sum) to a single entry (the smallest, 255, r = 2040)."""
    table = golden.make_exp_table(step)
    check(build(1, 15, 15, False, table), random_scores(4, 15, generator), table)


def test_abort(generator):
    """Abort at any time, a right run at once; a start while busy is ignored; heads keep their A."""
    dut = build(2, 7, 8, False)
    scores = random_scores(8, 7, generator)
    source = random.Random(1)

    async def testbench(ctx):
        await write(ctx, dut, 1, words(scores[0]))
        right = words(expected(scores[0], TABLE, False))
        assert await run(ctx, dut, 1) == right
        for index in range(1, len(scores)):
            await write(ctx, dut, 0, words(scores[index]))
            ctx.set(dut.start, 1)
            ctx.set(dut.start_head, 0)
            await ctx.tick()
            ctx.set(dut.start_head, 1)  # still 1: ignored
            for _ in range(source.randrange(dut.cycles)):
                await ctx.tick()
            ctx.set(dut.abort, 1)
            await ctx.tick()
            ctx.set(dut.abort, 0)
            ctx.set(dut.start, 0)
            for _ in range(source.choice([0, 0, 5, 30])):
                assert not ctx.get(dut.busy)
                await ctx.tick()
            rows = await run(ctx, dut, 0)
            assert rows == words(expected(scores[index], TABLE, False))
        for row in range(dut.columns):
            ctx.set(dut.r_en, 1)
            ctx.set(dut.r_head, 1)
            ctx.set(dut.r_row, row)
            for _ in range(dut.read_cycles):
                await ctx.tick()
                ctx.set(dut.r_en, 0)
            assert ctx.get(dut.r_data) == right[row]
            await ctx.tick()
            assert ctx.get(dut.r_data) == right[row]

    simulate(dut, testbench)


def test_abort_everywhere(generator):
    """Abort in every part of a run; a pause of any length; then a right run."""
    dut = build(1, 4, 4, False)
    scores = random_scores(4, 4, generator)[3]
    right = words(expected(scores, TABLE, False))
    assert len(set(right)) == 4

    async def testbench(ctx):
        await write(ctx, dut, 0, words(scores))
        for cycle in range(0, dut.cycles, 2):
            ctx.set(dut.start, 1)
            for _ in range(cycle + 1):
                await ctx.tick()
                ctx.set(dut.start, 0)
            ctx.set(dut.abort, 1)
            await ctx.tick()
            ctx.set(dut.abort, 0)
            for _ in range(cycle * 7 % 31):
                assert not ctx.get(dut.busy)
                await ctx.tick()
            assert await run(ctx, dut, 0) == right, f"abort {cycle} cycles after start"

    simulate(dut, testbench)


def test_start_while_busy(generator):
    """It is ignored, whatever head it names; and where it comes with an abort there is no start."""
    dut = build(2, 7, 8, False)
    scores = random_scores(5, 7, generator)[3:]
    right = [words(expected(one, TABLE, False), [0]) for one in scores]
    source = random.Random(3)

    async def testbench(ctx):
        async def started(head):
            ctx.set(dut.start, 1)
            ctx.set(dut.start_head, head)
            for cycle in range(dut.cycles):
                assert ctx.get(dut.busy) == (cycle > 0)
                await ctx.tick()
                ctx.set(dut.start, source.getrandbits(1) and cycle < dut.cycles - 2)
                ctx.set(dut.start_head, source.getrandbits(1))
            assert not ctx.get(dut.busy)

        for head in (0, 1):
            await write(ctx, dut, head, words(scores[head], [0]))
            await started(head)
        # nobody's scores, so that a run that should not be would show
        for head in (0, 1):
            await write(ctx, dut, head, words(random_scores(4, 7, generator)[3], [0]))
        ctx.set(dut.start, 1)
        ctx.set(dut.abort, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.abort, 0)
        for _ in range(dut.cycles):
            assert not ctx.get(dut.busy)
            await ctx.tick()
        for head in (0, 1):
            for row in range(7):
                ctx.set(dut.r_en, 1)
                ctx.set(dut.r_head, head)
                ctx.set(dut.r_row, row)
                await ctx.tick().repeat(dut.read_cycles)
                assert ctx.get(dut.r_data) == right[head][row], (head, row)

    simulate(dut, testbench)


def test_back_to_back(generator):
    """The next head starts in the first cycle that is not busy; both heads' rows stay."""
    dut = build(2, 7, 8, True)
    scores = random_scores(5, 7, generator)[3:]

    async def testbench(ctx):
        for head in (0, 1):
            await write(ctx, dut, head, words(scores[head]))
        for head in (0, 1, 0):
            ctx.set(dut.start, 1)
            ctx.set(dut.start_head, head)
            for cycle in range(dut.cycles):
                assert ctx.get(dut.busy) == (cycle > 0)
                await ctx.tick()
                ctx.set(dut.start, 0)
        for head in (1, 0):
            right = words(expected(scores[head], TABLE, True))
            for cycle in range(dut.columns + dut.read_cycles):
                # one read a cycle
                ctx.set(dut.r_en, cycle < dut.columns)
                ctx.set(dut.r_head, head)
                ctx.set(dut.r_row, min(cycle, dut.columns - 1))
                if cycle >= dut.read_cycles:
                    assert ctx.get(dut.r_data) == right[cycle - dut.read_cycles]
                await ctx.tick()
            assert ctx.get(dut.r_data) == right[-1]

    simulate(dut, testbench)


def test_load_table(generator):
    """A table written while idle is the one used."""
    table = golden.make_exp_table(0.2)
    dut = build(1, 7, 7, False)
    scores = random_scores(4, 7, generator)[3]

    async def testbench(ctx):
        for address, value in enumerate(table.tolist()):
            ctx.set(dut.table.en, 1)
            ctx.set(dut.table.addr, address)
            ctx.set(dut.table.data, value)
            await ctx.tick()
        ctx.set(dut.table.en, 0)
        await write(ctx, dut, 0, words(scores))
        assert await run(ctx, dut, 0) == words(expected(scores, table, False))

    simulate(dut, testbench)


@pytest.mark.parametrize("sizes", [(2, 15, 15, False)])
def test_verilator(sizes, generator):
    """The released width, as Verilog: scores of one head written while the other is worked on."""
    dut = build(*sizes)
    runs = [
        (index % 2, words(scores), words(expected(scores, TABLE, sizes[3])))
        for index, scores in enumerate(random_scores(24, sizes[1], generator))
    ]
    arguments = {
        "runs": runs,
        "cycles": dut.cycles,
        "ready": [dut.row_ready(row) for row in range(dut.columns)],
        "read_cycles": dut.read_cycles,
        "seed": 2,
    }
    runner.simulate(dut, "tests.bench_softmax", arguments=arguments)


def test_differences_are_seen(generator):
    """A table entry, the band, a cycle: each makes the comparison fail."""
    scores = random_scores(4, 7, generator)[3:]
    check(build(1, 7, 8, True), scores, TABLE)
    for banded in (False, True):
        with pytest.raises(AssertionError):
            check(build(1, 7, 8, banded), scores, TABLE, banded=not banded)
    for options in (dict(early=1), dict(longer=1), dict(longer=-1)):
        with pytest.raises(AssertionError):
            check(build(1, 7, 8, True), scores, TABLE, **options)
    # A row of two scores, 10 apart, shows entry 10 of the table.
    scores = torch.zeros(1, 7, 7, dtype=torch.int64)
    scores[:, :, 3] = -10
    check(build(1, 7, 8, False), scores, TABLE)
    changed = TABLE.clone()
    changed[10] ^= 1 << 4
    with pytest.raises(AssertionError):
        check(build(1, 7, 8, False, changed), scores, TABLE)


GOOD = dict(heads=2, columns=7, pixels=8, banded=False, exp_table=TABLE.tolist())


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(heads=0), "heads must be at least 1, not 0"),
        (dict(columns=0), "columns must be at least 1, not 0"),
        (dict(pixels=6), r"pixels must be at least columns \(7\), a row is a word, not 6"),
        (dict(banded=1), "banded must be True or False, not 1"),
        (dict(read_cycles=0), "read_cycles must be 1 or 2, not 0"),
        (dict(exp_table=[255] * 255), "exp_table must have 256 entries, not 255"),
        (dict(exp_table=[255] * 255 + [256]), "entries of exp_table must be 0..255"),
        (dict(exp_table=[254] * 256), "entry 0 of exp_table must be 255, not 254"),
    ],
)
def test_errors(changes, message):
    Softmax(**GOOD)
    with pytest.raises(ValueError, match=message):
        Softmax(**(GOOD | changes))


def test_timing_errors():
    with pytest.raises(ValueError, match="columns must be at least 1, not 0"):
        SoftmaxTiming(columns=0)
    for row in (-1, 7):
        with pytest.raises(ValueError, match=f"row must be 0..6, not {row}"):
            SoftmaxTiming(columns=7).row_ready(row)
