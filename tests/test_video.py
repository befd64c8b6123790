"""boards/video/ block by block, against golden/video.py and golden/screen.py."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from boards.video.activation import ActivationMap
from boards.video.display import Display
from boards.video.screen import Scoreboard, Screen
from boards.video.serialiser import BITS, CLOCK_WORD, Serialiser
from boards.video.timing import VideoTiming
from boards.video.tmds import TmdsEncoder
from golden import screen as golden
from golden import video
from golden.command_line import load_photographs
from golden.config import ModelConfig, preset
from golden.model import IntegerModel
from golden.quantise import default_weights
from golden.random_weights import random_weights
from golden.screen import Layout, Shown
from golden.visualise import class_activation_map

MODEL = ModelConfig(
    name="tiny",
    image_height=21,
    image_width=64,
    heads=1,
    head_channels=(1, 2, 2, 4),
    state_channels=4,
    spatial_attention="none",
    channel_attention=False,
)
GREY = replace(
    MODEL, name="grey", in_channels=1, classes=("none", "cat", "a dog"), stop_class="a dog"
)
MODE = video.Mode(clock_hz=25e6, width=104, height=160, front=(5, 2), sync=(7, 3), back=(9, 4))
HIGH = video.Mode(clock_hz=25e6, width=104, height=480, front=(1, 1), sync=(1, 1), back=(1, 1))
LOW = video.Mode(clock_hz=25e6, width=104, height=28, front=(3, 1), sync=(4, 2), back=(3, 1))


def simulate(dut, testbench, **clocks):
    simulator = Simulator(dut)
    for domain, period in (clocks or {"video": 40e-9}).items():
        simulator.add_clock(period, domain=domain)
    simulator.add_testbench(testbench)
    simulator.run()


# ---- TMDS ----


def reached():
    """A way to each disparity: the bytes that lead there from 0."""
    ways, todo = {0: ()}, [0]
    while todo:
        at = todo.pop(0)
        for byte in range(256):
            _, then = video.tmds_encode(byte, at)
            if then not in ways:
                ways[then] = (*ways[at], byte)
                todo.append(then)
    return ways


def test_tmds_model():
    """All bytes at all disparities: decoded again; the disparity is that of the bits sent; words of
    a byte have few changes, control words many."""

    def changes(word):
        return (word ^ word >> 1 & (1 << BITS - 1) - 1).bit_count() - (word >> BITS - 1)

    ways = reached()
    assert sorted(ways) == list(range(-8, 9, 2))
    for at in ways:
        for byte in range(256):
            word, then = video.tmds_encode(byte, at)
            assert video.tmds_decode(word) == byte and word not in video.CONTROL
            assert then - at == 2 * word.bit_count() - BITS
            assert changes(word & 0x1FF) <= 5
    assert all(changes(word) >= 7 for word in video.CONTROL)
    # by hand, from the figure: 0x10 has one 1, so XOR: q_m = 1 1111 0000, balanced
    assert video.tmds_encode(0x10, 0) == (0b0111110000, 0)
    assert video.tmds_encode(0x00, 0) == (0b0100000000, -8)
    assert video.tmds_encode(0xFF, 0) == (0b1000000000, -8)


def test_tmds():
    """Every byte at every disparity, control words between, a long line; one bit more is seen."""
    ways = list(reached().items())
    sent, expected = [], []
    for number, (_, way) in enumerate(ways):
        for byte in range(256):
            sent += [(0, 0, number & 3), *((1, b, 0) for b in way), (1, byte, 0)]
            disparity = 0
            expected.append(video.CONTROL[number & 3])
            for b in (*way, byte):
                word, disparity = video.tmds_encode(b, disparity)
                expected.append(word)
    # a line of them: a disparity that is not quite right shows some bytes later
    source, disparity = random.Random(1), 0
    sent.append((0, 0, 0))
    expected.append(video.CONTROL[0])
    for _ in range(3000):
        byte = source.getrandbits(8)
        word, disparity = video.tmds_encode(byte, disparity)
        sent.append((1, byte, 0))
        expected.append(word)
    dut, found = TmdsEncoder(), []

    async def testbench(ctx):
        for active, data, control in [*sent, *[(0, 0, 0)] * dut.latency]:
            ctx.set(dut.active, active)
            ctx.set(dut.data, data)
            ctx.set(dut.control, control)
            found.append(ctx.get(dut.word))
            await ctx.tick("video")

    simulate(dut, testbench)
    assert found[dut.latency :] == expected
    expected[4321] ^= 1
    assert found[dut.latency :] != expected


# ---- timing ----


def test_modes():
    """VGA's figures, and the hertz that 25 MHz make of it."""
    assert video.VGA.total == (800, 525)
    assert video.VGA.pictures_per_second == pytest.approx(59.52, abs=0.01)


def test_timing():
    """A picture's pixels and syncs, counted; neither of its sizes is a power of two."""
    mode = video.Mode(clock_hz=1, width=6, height=4, front=(1, 2), sync=(2, 1), back=(3, 2))
    dut, found = VideoTiming(mode=mode), []

    async def testbench(ctx):
        names = ("x", "y", "active", "first", "hsync", "vsync")
        for _ in range(2 * 12 * 9):
            found.append(tuple(ctx.get(getattr(dut.beam, name)) for name in names))
            await ctx.tick("video")

    simulate(dut, testbench)
    expected = [
        (x, y, int(x < 6 and y < 4), int(x == 0), int(x not in (7, 8)), int(y != 6))
        for y in range(9)
        for x in range(12)
    ]
    assert found == 2 * expected


# ---- bits ----


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.7])
def test_serialiser(phase):
    """Whatever the phase: each word once, whole, bit 0 first, all channels in step."""
    dut, source, bits = Serialiser(), random.Random(1), []
    words = [[source.getrandbits(BITS) for _ in range(3)] for _ in range(40)]

    async def slow(ctx):
        for triple in words:
            for channel, word in zip(dut.words, triple, strict=True):
                ctx.set(channel, word)
            await ctx.tick("video")

    async def fast(ctx):
        for _ in range(5 * 40):
            _, _, *pairs = await ctx.tick("shift").sample(*dut.pairs)
            bits.append(pairs)

    simulator = Simulator(dut)
    simulator.add_clock(50e-9, domain="video")
    simulator.add_clock(10e-9, domain="shift", phase=10e-9 * (0.05 + phase))
    simulator.add_testbench(slow)
    simulator.add_testbench(fast)
    simulator.run()
    streams = [[pair[i] >> j & 1 for pair in bits for j in range(2)] for i in range(4)]
    clock = [CLOCK_WORD >> i & 1 for i in range(BITS)]
    start = next(i for i in range(40, 80) if streams[3][i : i + 2 * BITS] == 2 * clock)
    found = []
    for at in range(start, len(bits) * 2 - BITS, BITS):
        assert streams[3][at : at + BITS] == clock
        found.append([sum(streams[i][at + j] << j for j in range(BITS)) for i in range(3)])
    first = words.index(found[0])
    assert found == words[first : first + len(found)] and len(found) >= 30


# ---- activation ----


def states(model, count):
    rng = np.random.default_rng(3)
    found = [rng.integers(-128, 128, (model.state_channels, model.n)) for _ in range(count)]
    found[0][:] = found[0][:, :1]  # all equal: the first is the maximum
    found[1][:], found[2][:] = -128, 127
    return found


@pytest.mark.parametrize("pixels, wrong", [(3, False), (4, True), (4, False), (7, False)])
def test_activation(pixels, wrong):
    """Every column of random and of extreme states, once, words of the state that are late; a state
    with one byte changed is told apart. A row group before the last one is done takes its place: in
    the middle, or when some of the columns have come, of which no other one follows."""
    slope, shift = [127, -127, 1, -64], 12
    dut = ActivationMap(model=MODEL, pixels=pixels, slope=slope, shift=shift)
    cases, source, found = states(MODEL, 8 + MODEL.n), random.Random(1), []
    words = -(-MODEL.n // pixels)
    cut = {8 + i: 1 + i for i in range(MODEL.n)}  # after so many columns
    order = [*range(8), *cut, 7]

    async def testbench(ctx):
        answer = None
        for group in order:
            state = cases[group].copy()
            if wrong and group == 3:
                state[0, 1] ^= 64
            ctx.set(dut.row.group, group % MODEL.row_groups)
            ctx.set(dut.row.valid, 1)
            heats = []
            for cycle in range(40 if group == 1 else 260):
                if answer and answer[0] <= cycle:
                    ctx.set(dut.state.valid, 1)
                    ctx.set(dut.state.data, answer[1])
                    answer = None
                else:
                    ctx.set(dut.state.valid, 0)
                    ctx.set(dut.state.data, source.getrandbits(8 * pixels))
                await ctx.tick()
                ctx.set(dut.row.valid, 0)
                if ctx.get(dut.state.read):
                    channel, word = ctx.get(dut.state.channel), ctx.get(dut.state.word)
                    assert channel < len(state) and word < words
                    part = state[channel, pixels * word : pixels * (word + 1)]
                    data = int.from_bytes(part.astype(np.int8).tobytes(), "little")
                    answer = (cycle + source.choice([2, 3, 9]), data)
                if ctx.get(dut.heat.en):
                    assert ctx.get(dut.heat.group) == group % MODEL.row_groups
                    heats.append((ctx.get(dut.heat.column), ctx.get(dut.heat.value)))
                    if len(heats) == cut.get(group):
                        break
            answer = None
            found.append(heats)

    simulate(dut, testbench, sync=1e-8)
    assert found[1] == []
    same = []
    for heats, group in zip(found, order, strict=True):
        expected = video.heat(cases[group], np.array(slope), shift).tolist()
        same.append(heats == list(enumerate(expected))[: cut.get(group)])
    assert same == [True, False, True, not wrong, *[True] * (len(order) - 4)]


@pytest.mark.parametrize("name", ["vww_105x120", "vww_210x240"])
def test_slopes(name):
    """The largest is 127; with them heat goes with the exact map of the paper's figure (how closely
    hangs on the weights: 0.83 to 0.96 with those of today), and uses its five bits."""
    model = preset(name)
    weights = default_weights(model)
    slope, shift = video.slopes(weights, model)
    assert slope.dtype == np.int8 and np.abs(slope.astype(int)).max() == 127

    def heats(slope):
        return np.stack([video.heat(state, slope, shift) for state in states_])

    hottest = 0
    shots = load_photographs(None, model, 2).pixels
    for states_ in IntegerModel(model, weights).run(shots).state.numpy():
        exact = class_activation_map(states_, weights, model.stop_index)
        found, wrong = heats(slope), heats(np.roll(slope, 1))  # a channel with its neighbour's
        assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.75
        assert np.corrcoef(exact.ravel(), wrong.ravel())[0, 1] < 0.75
        # FULL is 16, within the power of two and how far the hidden units are open
        assert 0.4 < np.polyfit(exact.ravel(), found.ravel(), 1)[0] * video.FULL / 16 < 1.5
        assert -16 <= found.min() < 0
        hottest = max(hottest, found.max())
    assert 8 <= hottest <= 15


def test_slopes_are_one_a_channel():
    with pytest.raises(ValueError, match="slope must have 4 values, one a channel, not 3"):
        ActivationMap(model=MODEL, pixels=3, slope=[1, 2, 3], shift=1)


# ---- words and bars ----


def test_probability_table():
    """Rises from 0 to 255 and is a half at a margin of 0."""
    for scale in (1e-6, 3e-5, 0.1, 1.0):
        table, shift = video.probability_table(scale)
        rising = table[128:] + table[:128]
        assert rising == sorted(rising) and rising[0] <= 1 and rising[-1] >= 254
        assert 126 <= video.probability([0, 0], 1, table, shift) <= 190
        assert video.probability([5, 2**31 - 1], 1, table, shift) == 255
        assert video.probability([2**31 - 1, -(2**31)], 1, table, shift) <= 1


@pytest.mark.parametrize("classes, stop", [(2, 1), (3, 0)])
def test_scoreboard(classes, stop):
    """Probabilities of random and extreme logits, pages, counters with their carries."""
    scale, source = 2e-8, random.Random(2)
    dut = Scoreboard(classes=classes, row_groups=9, stop_class=stop, scale=scale, counters=3)
    table, shift = video.probability_table(scale)

    async def testbench(ctx):
        edges = [-(2**31), -1, 0, 1, 2**31 - 1]
        for number in range(60):
            logits = [
                source.choice([*edges, source.randrange(-(2**28), 2**28)]) for _ in range(classes)
            ]
            for signal, value in zip(dut.row.logits, logits, strict=True):
                ctx.set(signal, value)
            ctx.set(dut.row.group, number % 9)
            ctx.set(dut.row.valid, 1)
            for cycle in range(7):
                await ctx.tick()
                ctx.set(dut.row.valid, 0)  # and what else stands there is nobody's
                ctx.set(dut.row.group, source.randrange(9))
                for signal in dut.row.logits:
                    ctx.set(signal, source.randrange(-(2**31), 2**31))
                assert ctx.get(dut.en) == (cycle == 3)
                if cycle == 3:
                    found = (ctx.get(dut.group), ctx.get(dut.probability))
            assert found == (number % 9, video.probability(logits, stop, table, shift)), logits

        def digits():
            return int("".join(str(ctx.get(digit)) for digit in dut.digits))

        assert ctx.get(dut.page) == 1 and digits() == 0
        # one bit after the other, then several in a cycle, which are counted one by one
        toggles, changes = 0, {i: [i % 3] for i in range(7)} | {9: [0, 2], 11: [1], 14: [0, 1, 2]}
        for number in range(120):
            status, index = number % 6 == 5, number % classes
            ctx.set(dut.decision.status, int(status))
            ctx.set(dut.decision.index, index)
            ctx.set(dut.decision.valid, 1)
            toggles ^= sum(1 << bit for bit in changes.get(number, ()))
            ctx.set(dut.toggles, toggles)
            await ctx.tick()
            if not status:
                assert ctx.get(dut.page) == 2 + index
        ctx.set(dut.decision.valid, 0)
        await ctx.tick().repeat(3)
        assert digits() == 100 * 10**golden.FAULT_DIGITS + 7 + 2 + 1 + 3

    simulate(dut, testbench, sync=1e-8)


# ---- the screen ----


def shown(model, layout, seed=0, **fields):
    """Anything that a screen may be asked to show."""
    rng = np.random.default_rng(seed)
    size = (model.image_height, model.image_width, model.in_channels)
    image = rng.integers(0, 256, size, dtype=np.uint8)
    heat = rng.integers(-16, 16, (model.row_groups, model.n))
    heat.flat[:3] = (-16, 15, 0)
    what = Shown(
        kept=golden.keep(image, layout.step),
        heat=heat,
        probability=rng.permutation([0, 255, 128, 127, 1, 60, 200, 254])[: model.row_groups],
        latest=model.row_groups - 2,
        decision=model.stop_index,
        frames=12345,
        faults=678,
    )
    return image, replace(what, **fields)


async def send(ctx, pixels, image, count):
    """A frame of so many pixels."""
    names = pixels.signature.colours
    width = image.shape[1]
    for index, pixel in enumerate(image.reshape(-1, len(names))[:count]):
        for name, value in zip(names, pixel, strict=True):
            ctx.set(getattr(pixels, name), int(value))
        ctx.set(pixels.valid, 1)
        ctx.set(pixels.eol, index % width == width - 1)
        await ctx.tick()
    ctx.set(pixels.valid, 0)
    ctx.set(pixels.frame_end, 1)
    await ctx.tick()
    ctx.set(pixels.frame_end, 0)


def say(ctx, dut, what):
    """The numbers that a screen copies between two pictures."""
    ctx.set(dut.page, 1 if what.decision is None else 2 + what.decision)
    text = f"{what.frames:0{golden.FRAME_DIGITS}d}{what.faults:0{golden.FAULT_DIGITS}d}"
    for digit, value in zip(dut.digits, text, strict=True):
        ctx.set(digit, int(value))
    ctx.set(dut.group, what.latest)


async def fill(ctx, dut, image, what):
    """What the other parts would have written; of the frame before, some pixels of its second row
    have come."""
    await send(ctx, dut.pixels, 255 - image, image.shape[1] + 5)
    await send(ctx, dut.pixels, image, None)
    order = [g for g in range(len(what.heat)) if g != what.latest] + [what.latest]
    for group in order:
        for column, value in enumerate(what.heat[group]):
            for name, content in (("group", group), ("column", column), ("value", int(value))):
                ctx.set(getattr(dut.heat, name), content)
            ctx.set(dut.heat.en, 1)
            await ctx.tick()
        ctx.set(dut.heat.en, 0)
        ctx.set(dut.group, group)
        ctx.set(dut.probability, int(what.probability[group]))
        ctx.set(dut.en, 1)
        await ctx.tick()
        ctx.set(dut.en, 0)
    say(ctx, dut, what)


class Drawn:
    """A screen with its timing, filled, and the pictures that it then draws.

    The numbers of each of `whats` stand as the beam leaves the picture before, and at no other
    time. Only these `lines` of a picture are drawn; others must be black.
    """

    def __init__(self, layout, image, whats, plain, lines):
        m = Module()
        m.submodules.screen = dut = Screen(layout=layout)
        m.submodules.timing = timing = VideoTiming(mode=layout.mode)
        connect(m, timing.beam, dut.beam)
        mode, model = layout.mode, layout.model
        self.pictures = [np.zeros((mode.height, mode.width, 3), int) for _ in whats]
        filled, out = [], Cat(dut.active, dut.red, dut.green, dut.blue)
        source = random.Random(1)

        async def sync(ctx):
            ctx.set(dut.plain, plain)
            await fill(ctx, dut, image, whats[0])
            filled.append(True)

        def say_anything(ctx):
            ctx.set(dut.page, source.randrange(model.class_count + 2))
            ctx.set(dut.group, source.randrange(model.row_groups))
            for digit in dut.digits:
                ctx.set(digit, source.randrange(10))

        async def video_(ctx):
            width, height = mode.total
            while not filled:
                await ctx.tick("video")
            # to the end of a picture: the next one is drawn of what is there now
            ctx.set(timing.beam.x, 0)
            ctx.set(timing.beam.y, mode.height)
            await ctx.tick("video").repeat(dut.latency)
            for picture, then in zip(self.pictures, [*whats[1:], whats[-1]], strict=True):
                await ctx.tick("video").repeat(width // 2)
                say_anything(ctx)
                await ctx.tick("video").repeat(width * (height - mode.height) - width // 2)
                for y, after in zip(lines, [*lines[1:], mode.height], strict=True):
                    say_anything(ctx)
                    if after != y + 1:
                        ctx.set(timing.beam.y, after - 1)
                    if after == mode.height:
                        say(ctx, dut, then)
                    for x in range(width):
                        colour, active = divmod(ctx.get(out), 2)
                        assert active == (x < mode.width)
                        if active:
                            picture[y, x] = list(colour.to_bytes(3, "little"))
                        else:
                            assert colour == 0
                        await ctx.tick("video")

        simulator = Simulator(m)
        simulator.add_clock(7e-9)
        simulator.add_clock(40e-9, domain="video")
        simulator.add_testbench(sync)
        simulator.add_testbench(video_)
        simulator.run()


SCREENS = {
    "grey and every second": Layout(mode=LOW, model=GREY, step=2),
    "two lines a row, large letters": Layout(
        mode=HIGH, model=replace(MODEL, image_width=32), step=2
    ),
    "colour": Layout(mode=MODE, model=MODEL, step=1),
}


@pytest.mark.parametrize("case", SCREENS)
def test_screen(case):
    """Every pixel of a picture, whatever is said while it is drawn; that is seen in the next one;
    one bit of what is shown is seen."""
    layout = SCREENS[case]
    model, high = layout.model, layout.mode.height >= 480
    plain = model is GREY
    image, what = shown(model, layout, decision=None if plain else 1)
    whats, lines = [what], range(layout.mode.height)
    if plain:
        whats.append(replace(what, latest=0, decision=1))
    if high:
        assert layout.unit == layout.text_scale == 2
        end = layout.text_top(1) + 2 * golden.CELL
        lines = [*range(layout.picture[1] + 2), *range(layout.text_top(0) - 1, end + 1)]
    drawn = Drawn(layout, image, whats, plain, lines).pictures
    if plain:  # a button takes the activation off
        dark = [replace(one, heat=0 * one.heat) for one in whats]
        assert (golden.compose(layout, dark[0]) != golden.compose(layout, what)).any()
        whats = dark
    expected = [golden.compose(layout, one) for one in whats]
    for found, right in zip(drawn, expected, strict=True):
        different = np.argwhere((found != right).any(axis=-1))
        assert not len(different), (len(different), different[0], different[-1])
    changes = [{"latest": 0}, {"probability": what.probability ^ 64}]
    # beside a high screen's few letters, below a low one's end
    changes += [{"frames": 12344}] if case == "colour" else []
    for change in changes:
        assert (golden.compose(layout, replace(whats[0], **change)) != expected[0]).any()


def test_layout():
    """A picture that does not fit is refused; letters; a line's codes."""
    small = replace(MODE, width=80)
    with pytest.raises(ValueError, match="a picture of 64 x 21 must fit 60 x 140 of the screen"):
        Layout(mode=small, model=MODEL, step=1)
    assert len(golden.font()) == golden.CELL * len(golden.LETTERS)
    assert golden.codes("a#9#?", 7) == [1, 48, 36, 49, 0, 0, 0]
    assert len({tuple(golden.font()[8 * i : 8 * i + 8]) for i in range(len(golden.LETTERS))}) == 38


# ---- all of it, to the cable ----


def displayed():
    """The bits of a cable while a small scan goes on, and what there is to be seen."""
    weights = random_weights(MODEL, 1)
    layout = Layout(mode=LOW, model=MODEL, step=1)
    dut = Display(layout=layout, weights=weights, pixels=4, counters=2)
    image, what = shown(MODEL, layout, seed=2)
    slope, shift = video.slopes(weights, MODEL)
    table, by = video.probability_table(weights.scales["logit"])
    scans = states(MODEL, MODEL.row_groups)
    logits = [(0, int((g - 1.5) * 0.8 / weights.scales["logit"])) for g in range(MODEL.row_groups)]
    what = replace(
        what,
        heat=np.stack([video.heat(state, slope, shift) for state in scans]),
        probability=np.array([video.probability(pair, 1, table, by) for pair in logits]),
        latest=MODEL.row_groups - 1,
        frames=2,
        faults=1,
    )
    bits, filled = [], []

    async def sync(ctx):
        for row in image:
            for x, pixel in enumerate(row):
                for name, value in zip(("red", "green", "blue"), pixel, strict=True):
                    ctx.set(getattr(dut.pixels, name), int(value))
                ctx.set(dut.pixels.valid, 1)
                ctx.set(dut.pixels.eol, x == len(row) - 1)
                await ctx.tick()
        ctx.set(dut.pixels.valid, 0)
        for group, (state, pair) in enumerate(zip(scans, logits, strict=True)):
            for signal, value in zip(dut.row.logits, pair, strict=True):
                ctx.set(signal, value)
            ctx.set(dut.row.group, group)
            ctx.set(dut.row.valid, 1)
            for _ in range(120):
                await ctx.tick()
                ctx.set(dut.row.valid, 0)
                ctx.set(dut.state.valid, 0)
                if ctx.get(dut.state.read):
                    words = state[ctx.get(dut.state.channel)].astype(np.int8).tobytes()
                    await ctx.tick()
                    ctx.set(dut.state.data, int.from_bytes(words, "little"))
                    ctx.set(dut.state.valid, 1)
        ctx.set(dut.decision.index, what.decision)
        ctx.set(dut.decision.valid, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.decision.valid, 0)
        ctx.set(dut.toggles, 2)
        await ctx.tick().repeat(4)
        filled.append(True)

    async def cable(ctx):
        while not filled:
            await ctx.tick("shift")
        width, height = LOW.total
        for _ in range(5 * width * (2 * height + 6)):
            _, _, pairs = await ctx.tick("shift").sample(Cat(*dut.pairs))
            bits.append(pairs)

    simulator = Simulator(dut)
    simulator.add_clock(16e-9)
    simulator.add_clock(40e-9, domain="video")
    simulator.add_clock(8e-9, domain="shift")
    simulator.add_testbench(sync)
    simulator.add_testbench(cable)
    simulator.run()
    pairs = np.array(bits)
    streams = np.stack(
        [np.stack([pairs >> 2 * i & 1, pairs >> 2 * i + 1 & 1], -1) for i in range(4)]
    )
    return streams.reshape(4, -1), golden.compose(layout, what)


def test_display():
    """What a screen finds in the bits of the cable is the picture, pixel by pixel; each line has
    its length; bits that are turned, a lost one, a missing clock are noticed."""
    bits, expected = displayed()
    picture, lines = video.deserialise(bits, LOW)
    assert np.array_equal(picture, expected)
    width, height = LOW.total
    assert len(lines) >= height - 2 and {line for line in lines if line[0]} == {(LOW.width, width)}
    for channel in range(3):
        turned = bits.copy()
        turned[channel] ^= 1
        try:
            assert not np.array_equal(video.deserialise(turned, LOW)[0], expected)
        except ValueError:
            pass
    swapped = bits[[2, 1, 0, 3]]
    with pytest.raises(ValueError, match="expected 104 x 28 pixels, not 104 of a picture"):
        video.deserialise(swapped, LOW)
    with pytest.raises(ValueError, match="expected a clock of ten bits a pixel, not none"):
        video.deserialise(bits * 0, LOW)
    with pytest.raises(ValueError, match="expected the clock's word everywhere, not another one"):
        video.deserialise(np.delete(bits, 5000, axis=1), LOW)
    with pytest.raises(ValueError, match="expected 105 x 28 pixels, not 2,912 of a picture"):
        video.deserialise(bits, replace(LOW, width=105))
