# amaranth: UnusedElaboratable=no
"""hw/parallel/classifier.py against golden/classifier.py; see also test_classes."""

import random

import pytest
import torch
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from golden import classifier as golden
from hw.arithmetic.multiplier import TreeMultiplier
from hw.parallel.classifier import Classifier, constant_words
from hw.plan.beside import ClassifierTiming
from tests.classifiers import images, layer, pooled, random_layers, random_states

SIZES = [  # channels, hidden, columns
    (2, 1, 1),
    (1, 1, 7),
    (3, 2, 15),
    (10, 3, 7),
    (32, 2, 2),
    (33, 9, 12),
    (40, 10, 7),
    (2, 30, 3),
    (1, 1, 512),
]


def build(sizes, layers, bias_bits=27, **changes):
    channels, hidden, columns = sizes
    weights, constants = images(layers, bias_bits)
    arguments = dict(
        channels=channels,
        hidden=hidden,
        columns=columns,
        bias_bits=bias_bits,
        weights=weights,
        constants=constants,
    )
    return Classifier(**(arguments | changes))


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


async def feed(ctx, dut, state, order=None):
    values = pooled(state)
    for channel in order or range(len(values)):
        ctx.set(dut.pooled.en, 1)
        ctx.set(dut.pooled.channel, channel)
        ctx.set(dut.pooled.sum, values[channel][0])
        ctx.set(dut.pooled.max, values[channel][1])
        await ctx.tick()
    ctx.set(dut.pooled.en, 0)


async def start(ctx, dut):
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


def outputs(ctx, dut):
    answer = dut.answer
    return [ctx.get(port) for port in (*answer.logits, answer.stop, answer.skip, answer.index)]


async def finish(ctx, dut, cycles):
    """Steps from the cycle after ``start`` to that of ``answer.valid``; gives the logits."""
    before = outputs(ctx, dut)
    for _ in range(cycles - 1):
        assert ctx.get(dut.busy) and not ctx.get(dut.answer.valid)
        assert outputs(ctx, dut) == before
        await ctx.tick()
    assert ctx.get(dut.answer.valid), f"no answer {cycles} cycles after start"
    assert not ctx.get(dut.busy)
    return outputs(ctx, dut)[:-3]


def check(dut, layers, states, cycles):
    """Runs the states one after the other and compares logits and cycles."""

    async def testbench(ctx):
        for state in states:
            await feed(ctx, dut, state)
            await start(ctx, dut)
            got = await finish(ctx, dut, cycles)
            assert got == golden.classify(state, layers).tolist()
            await ctx.tick()
            assert not ctx.get(dut.answer.valid)

    simulate(dut, testbench)


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(sizes, generator):
    source = random.Random(str(sizes))
    layers = random_layers(*sizes, source, generator)
    dut = build(sizes, layers)
    assert dut.cycles == ClassifierTiming(channels=sizes[0], hidden=sizes[1]).cycles
    check(dut, layers, random_states(4, sizes[0], sizes[2], generator), dut.cycles)


@pytest.mark.parametrize("bias_bits", [27, 32])
def test_extremes(bias_bits, generator):
    """Largest weights: both ends of x and y, and the width of the accumulator."""
    sizes = (48, 5, 15)
    layers = random_layers(*sizes, random.Random(1), generator, extreme=True)
    dut = build(sizes, layers, bias_bits)
    check(dut, layers, random_states(4, sizes[0], sizes[2], generator), dut.cycles)


def test_hard_swish_points():
    """x at, just below and just above every corner of the hard-swish and of saturation."""
    points = [-4097, -4096, -769, -768, -767, -385, -384, -383, -1, 0, 1, 767, 768, 769, 4095, 4096]
    # One channel of p = 2 and weight 0: x is the bias, rounded; odd biases are ties.
    biases = [2 * point + tie for point in points for tie in (-1, 0)]
    hidden = len(biases)
    weight = torch.zeros(hidden, 1)
    # A weight of 1 for one y at a time would take many runs; distinct digits show them all.
    ends = torch.tensor([[(7 * i) % 127 - 63 for i in range(hidden)], [1] * hidden])
    layers = {
        "classifier.0": layer(weight, biases, [1] * hidden),
        "classifier.1": layer(ends, [0, 0], [0, 0]),
    }
    x = golden.hidden(torch.tensor([2]), layers["classifier.0"])
    assert {-4096, -768, -384, 0, 768, 4095} <= set(x.tolist())
    dut = build((1, hidden, 1), layers)
    check(dut, layers, torch.ones(1, 1, 1, dtype=torch.int64), dut.cycles)


@pytest.mark.parametrize("hidden", [1, 2, 8, 30])
def test_longest_shifts(hidden):
    """The last x comes as late as it may, and must come before it is read and before any y.

    With a bias of 2**30 and a shift of 31, x is 0 or 1, the sign of the sum: it changes every run.
    """
    channels = 2
    signs = torch.tensor([[1 - 2 * (i % 2)] * channels for i in range(hidden)])
    ends = torch.tensor([[1 + i for i in range(hidden)], [-1] * hidden])
    layers = {
        "classifier.0": layer(signs, [2**30] * hidden, [31] * hidden),
        "classifier.1": layer(ends, [0, 0], [0, 0]),
    }
    # 2**30 does not fit 31 signed bits, but 32
    dut = build((channels, hidden, 1), layers, bias_bits=32)
    states = torch.tensor([5, -5, 5, -5])[:, None, None].expand(-1, channels, 1)
    assert (
        golden.classify(states[0], layers).tolist() != golden.classify(states[1], layers).tolist()
    )
    check(dut, layers, states, dut.cycles)


def test_abort_everywhere(generator):
    """Abort in every cycle of a run, the longest shift: no output changes; a right run at once."""
    sizes = (1, 2, 1)
    layers = random_layers(*sizes, random.Random(9), generator)
    layers["classifier.0"] = layer(torch.tensor([[1], [-1]]), [2**30, 900], [31, 2])
    layers["classifier.1"] = layer(torch.tensor([[0, 1], [1, 0]]), [-875, 0], [0, 0])
    dut = build(sizes, layers, bias_bits=32)
    # the run that is aborted would have another answer than those before and behind it
    states = torch.tensor([[[7]], [[-9]], [[60]]])
    right = golden.classify(states, layers).tolist()
    assert golden.decide(golden.classify(states, layers)).tolist() == [1, 0, 1]
    assert right[0] != right[1] != right[2] != right[0]

    async def testbench(ctx):
        for cycle in range(dut.cycles):
            which = cycle % 3
            await feed(ctx, dut, states[(cycle + 1) % 3])
            await start(ctx, dut)
            for _ in range(cycle):
                await ctx.tick()
            before = outputs(ctx, dut)
            ctx.set(dut.abort, 1)
            await ctx.tick()
            ctx.set(dut.abort, 0)
            assert outputs(ctx, dut) == before, f"abort in cycle {cycle}"
            await feed(ctx, dut, states[which])
            await start(ctx, dut)
            assert await finish(ctx, dut, dut.cycles) == right[which], f"abort in cycle {cycle}"

    simulate(dut, testbench)


def test_abort_and_busy(generator):
    """Abort in every part of a run, at once a right run; start while busy, with the answer."""
    sizes = channels, hidden, columns = (5, 4, 7)
    source = random.Random(3)
    layers = random_layers(*sizes, source, generator)
    dut = build(sizes, layers)
    states = random_states(14, channels, columns, generator)

    async def testbench(ctx):
        for state in states[2:]:
            right = golden.classify(state, layers).tolist()
            await feed(ctx, dut, states[source.randrange(2)])
            await start(ctx, dut)
            before = outputs(ctx, dut)
            for _ in range(source.randrange(dut.cycles)):
                await ctx.tick()
                assert not ctx.get(dut.answer.valid)
            ctx.set(dut.abort, 1)
            ctx.set(dut.start, source.random() < 0.5)
            await ctx.tick()
            ctx.set(dut.abort, 0)
            ctx.set(dut.start, 0)
            assert not ctx.get(dut.busy) and not ctx.get(dut.answer.valid)
            assert outputs(ctx, dut) == before
            await feed(ctx, dut, state, source.sample(range(channels), channels))
            await start(ctx, dut)
            ctx.set(dut.start, 1)  # while busy: ignored, up to the last cycle
            assert await finish(ctx, dut, dut.cycles) == right
            # in the answer's cycle: taken; p is still there
            await ctx.tick()
            ctx.set(dut.start, 0)
            assert await finish(ctx, dut, dut.cycles) == right
        # an aborted run never answers
        await start(ctx, dut)
        ctx.set(dut.abort, 1)
        await ctx.tick()
        ctx.set(dut.abort, 0)
        for _ in range(dut.cycles + 5):
            assert not ctx.get(dut.answer.valid)
            await ctx.tick()

    simulate(dut, testbench)


def test_decision(generator):
    """Thresholds at, below and above the difference; ends of the range; each enable."""
    sizes = (2, 1, 1)
    # Logits at the two ends: the difference takes 33 bits.
    for ends in ([-(2**31) + 2**22, 2**31 - 2**22], [2**31 - 2**22, -(2**31) + 2**22], [5, 9]):
        layers = random_layers(*sizes, random.Random(4), generator)
        layers["classifier.1"] = layer(torch.tensor([[3], [-2]]), [0, 0], [0, 0])
        layers["classifier.1"].bias[:] = torch.tensor(ends, dtype=torch.int32)
        dut = build(sizes, layers)
        state = random_states(3, 2, 1, generator)[2]

        async def testbench(ctx, dut=dut, layers=layers, state=state):
            logits = golden.classify(state, layers).tolist()
            difference = logits[1] - logits[0]
            near = [difference - 1, difference, difference + 1, -(2**31), 2**31 - 1]
            await feed(ctx, dut, state)
            for threshold in near:
                if not -(2**31) <= threshold < 2**31:
                    continue
                for enables in range(4):
                    stop_enable, skip_enable = enables & 1, enables >> 1
                    ctx.set(dut.thresholds.stop, threshold)
                    ctx.set(dut.thresholds.skip, threshold)
                    ctx.set(dut.thresholds.stop_enable, stop_enable)
                    ctx.set(dut.thresholds.skip_enable, skip_enable)
                    await start(ctx, dut)
                    assert await finish(ctx, dut, dut.cycles) == logits
                    assert ctx.get(dut.answer.stop) == (stop_enable and difference >= threshold)
                    assert ctx.get(dut.answer.skip) == (skip_enable and difference <= threshold)

        simulate(dut, testbench)


def test_load(generator):
    """Memories written while idle hold the new network."""
    sizes = (6, 2, 7)
    source = random.Random(5)
    old, new = (random_layers(*sizes, source, generator) for _ in range(2))
    dut = Classifier(channels=sizes[0], hidden=sizes[1], columns=sizes[2])
    state = random_states(3, sizes[0], sizes[2], generator)[2]

    async def testbench(ctx):
        for layers in (old, new):
            weights, constants = images(layers)
            for address, value in enumerate(weights):
                ctx.set(dut.weights.en, 1)
                ctx.set(dut.weights.addr, address)
                ctx.set(dut.weights.data, value & 0xFF)
                await ctx.tick()
            ctx.set(dut.weights.en, 0)
            for address, value in enumerate(constants):
                ctx.set(dut.constants.en, 1)
                ctx.set(dut.constants.addr, address)
                ctx.set(dut.constants.data, value)
                await ctx.tick()
            ctx.set(dut.constants.en, 0)
            await feed(ctx, dut, state)
            await start(ctx, dut)
            got = await finish(ctx, dut, dut.cycles)
            assert got == golden.classify(state, layers).tolist()

    simulate(dut, testbench)


def test_differences_are_seen(generator):
    """A weight bit, a bias bit, a shift, a cycle: each makes the comparison fail."""
    sizes = channels, hidden, columns = (4, 2, 7)
    layers = random_layers(*sizes, random.Random(7), generator)
    layers["classifier.0"] = layer(torch.full((hidden, channels), 3), [5, 900], [6, 6])
    weights, constants = images(layers)
    states = random_states(5, channels, columns, generator)
    right = build(sizes, layers)
    check(right, layers, states, right.cycles)
    for cycles in (right.cycles - 1, right.cycles + 1):
        with pytest.raises(AssertionError):
            check(build(sizes, layers), layers, states, cycles)
    for address in range(len(weights)):
        changed = list(weights)
        changed[address] ^= 1
        with pytest.raises(AssertionError):
            check(build(sizes, layers, weights=changed), layers, states, right.cycles)
    for address, bit in ((0, 6), (1, 27), (hidden, 0), (hidden + 1, 0)):
        changed = list(constants)
        changed[address] ^= 1 << bit
        with pytest.raises(AssertionError):
            check(build(sizes, layers, constants=changed), layers, states, right.cycles)


GOOD = dict(channels=8, hidden=2, columns=7)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(channels=0), "channels must be at least 1, not 0"),
        (dict(hidden=0), "hidden must be 1..344, not 0"),
        (dict(hidden=345), "hidden must be 1..344, not 345"),
        (dict(columns=0), "columns must be 1..512, not 0"),
        (dict(columns=513), "columns must be 1..512, not 513"),
        (dict(channels=67, columns=512), r"channels \* columns must be at most 33286 .* not 34304"),
        (dict(classes=1), "classes must be 2..16, not 1"),
        (dict(classes=17), "classes must be 2..16, not 17"),
        (dict(classes=3, stop_class=3), "stop_class must be 0..2, not 3"),
        (dict(bias_bits=1), "bias_bits must be 2..32, not 1"),
        (dict(bias_bits=33), "bias_bits must be 2..32, not 33"),
        (dict(weights=[0] * 19), r"weights must be hidden \* \(channels \+ 2\) = 20 .* not 19"),
        (dict(weights=[0] * 19 + [128]), "weights must be -128..127"),
        (dict(constants=[0] * 3), r"constants must be hidden \+ 2 = 4 words, not 3"),
        (dict(constants=[0] * 3 + [1 << 32]), "constants must be words of 32 bits"),
    ],
)
def test_errors(changes, message):
    Classifier(**GOOD)
    with pytest.raises(ValueError, match=message):
        Classifier(**(GOOD | changes))


def test_constant_words():
    assert constant_words([(-1, 31), (5, 1)], [-1, 7], bias_bits=8) == [0x1FFF, 0x105, 2**32 - 1, 7]
    with pytest.raises(ValueError, match="an FC1 bias must fit 8 signed bits, not 128"):
        constant_words([(128, 1)], [], bias_bits=8)
    for shift in (0, 32):
        with pytest.raises(ValueError, match=f"an FC1 shift must be 1..31, not {shift}"):
            constant_words([(0, shift)], [])
    with pytest.raises(ValueError, match="an FC2 bias must fit 32 signed bits, not 2147483648"):
        constant_words([], [2**31])


@pytest.mark.parametrize(
    "a_shape, b_shape",
    [
        (signed(18), signed(8)),
        (unsigned(11), unsigned(8)),
        (signed(5), signed(3)),
        (signed(1), unsigned(5)),
        (unsigned(4), signed(2)),
    ],
)
def test_multiplier(a_shape, b_shape):
    dut = TreeMultiplier(a_shape=a_shape, b_shape=b_shape)

    def values(shape, source):
        low = -(1 << shape.width - 1) if shape.signed else 0
        high = low + (1 << shape.width) - 1
        return [low, high, 0, *(source.randint(low, high) for _ in range(17))]

    source = random.Random(8)
    pairs = [(a, b) for a in values(a_shape, source) for b in values(b_shape, source)]

    async def testbench(ctx):
        for index in range(len(pairs) + dut.latency):
            if index < len(pairs):
                ctx.set(dut.a, pairs[index][0])
                ctx.set(dut.b, pairs[index][1])
            if index >= dut.latency:
                a, b = pairs[index - dut.latency]
                assert ctx.get(dut.o) == a * b
            await ctx.tick()

    simulate(dut, testbench)


def test_multiplier_errors():
    with pytest.raises(ValueError, match="a must have at least 1 bit, not 0"):
        TreeMultiplier(a_shape=0, b_shape=2)
    with pytest.raises(ValueError, match="b must have at least 2 bits, not 1"):
        TreeMultiplier(a_shape=1, b_shape=1)
