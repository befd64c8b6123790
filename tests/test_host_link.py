"""boards/host_link.py byte by byte, with a stand-in for the engine."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from boards import packets
from boards.host_link import HostLink
from boards.link.memory import ROTATION, SLOTS
from boards.packets import COUNTERS, Counters, Decision, Hello, Row, Setting, State, Taken
from golden.config import ModelConfig
from hw.plan.engine_config import EngineConfig, config_digest

GREY = ModelConfig(
    name="grey",
    image_height=10,
    image_width=83,  # five columns of state: two words
    heads=1,
    head_channels=(1, 1, 2, 2),
    state_channels=3,
    spatial_attention="none",
    channel_attention=False,
    in_channels=1,
)
COLOUR = replace(GREY, name="colour", image_width=16, in_channels=3)
SHAPE = EngineConfig.parse("3,1,1")


class Bench:
    """Feeds a link cycle by cycle and keeps all that comes out."""

    def __init__(self, ctx, dut, seed=0, byte_time=12):
        self.ctx, self.dut, self.source = ctx, dut, random.Random(seed)
        self.byte_time, self.cycle = byte_time, 0
        self.to_send, self.send_at = [], 0
        self.decoder, self.events, self.pixels, self.loaded = packets.Decoder(), [], [], []
        self.sent_until = 0
        self.toggles = [0] * len(dut.toggles)
        self.state = {}  # (channel, word) -> value
        self.reads, self.answer = [], None
        self.loader_ready = 1.0
        self.uart_stopped = False

    async def tick(self, cycles=1):
        ctx, dut, source = self.ctx, self.dut, self.source
        for _ in range(cycles):
            valid = bool(self.to_send) and self.cycle >= self.send_at
            ctx.set(dut.rx_valid, valid)
            if valid:
                ctx.set(dut.rx_data, self.to_send.pop(0))
                self.send_at = self.cycle + source.choice([2 * ROTATION, 2 * ROTATION + 1, 13])
            ready = self.cycle >= self.sent_until and not self.uart_stopped
            ctx.set(dut.tx_ready, ready)
            load_ready = source.random() < self.loader_ready
            ctx.set(dut.load.ready, load_ready)
            if self.answer is not None and self.answer[0] <= self.cycle:
                ctx.set(dut.state.valid, 1)
                ctx.set(dut.state.data, self.answer[1])
                self.answer = None
            else:
                ctx.set(dut.state.valid, 0)
                ctx.set(dut.state.data, source.getrandbits(len(dut.state.data)))
            if ready and ctx.get(dut.tx_valid):
                self.sent_until = self.cycle + self.byte_time
                for packet in self.decoder.feed(bytes([ctx.get(dut.tx_data)])):
                    self.events.append(packets.parse(packet))
            pixels = dut.pixels
            if ctx.get(pixels.valid):
                names = pixels.signature.colours
                colours = bytes(ctx.get(getattr(pixels, name)) for name in names)
                self.pixels.append((colours, ctx.get(pixels.sof), ctx.get(pixels.eol)))
            if ctx.get(pixels.frame_end):
                self.pixels.append("end")
            if load_ready and ctx.get(dut.load.valid):
                self.loaded.append((ctx.get(dut.load.data), ctx.get(dut.load.last)))
            if ctx.get(dut.state.read):
                at = (ctx.get(dut.state.channel), ctx.get(dut.state.word))
                self.reads.append(at)
                assert self.answer is None
                self.answer = (self.cycle + source.choice([2, 3, 9]), self.state[at])
            await ctx.tick()
            self.cycle += 1

    async def send(self, data):
        """All bytes, and time for settings to be replayed."""
        self.to_send += data
        while self.to_send:
            await self.tick()
        await self.tick(12 * ROTATION)

    async def settle(self, cycles=None):
        """Until nothing has come for some packets' time."""
        quiet = cycles or 40 * self.byte_time + 300
        seen, last = len(self.events), self.cycle
        while self.cycle < last + quiet:
            await self.tick()
            if len(self.events) != seen:
                seen, last = len(self.events), self.cycle

    async def begin(self):
        """Past the hello that follows a reset."""
        await self.settle()
        events, self.events = self.events, []
        return events

    def take(self, kind=None):
        """The events so far, of one kind only if asked; they are forgotten."""
        found, self.events = self.events, []
        return found if kind is None else [event for event in found if isinstance(event, kind)]

    async def row(self, group, logits):
        row = self.dut.row
        self.ctx.set(row.group, group)
        for signal, value in zip(row.logits, logits, strict=True):
            self.ctx.set(signal, value)
        await self.pulse(row.valid)

    async def decision(self, index=0, used=0, status=0):
        decision = self.dut.decision
        for name, value in (("index", index), ("rows_used", used), ("status", status)):
            self.ctx.set(getattr(decision, name), value)
        await self.pulse(decision.valid)

    async def pulse(self, signal):
        self.ctx.set(signal, 1)
        await self.tick()
        self.ctx.set(signal, 0)

    def toggle(self, name):
        index = COUNTERS.index(name)
        self.toggles[index] ^= 1
        value = sum(bit << i for i, bit in enumerate(self.toggles))
        self.ctx.set(self.dut.toggles, value)

    def new_state(self):
        """Random contents for the state port; returns the bytes that belong to each channel."""
        dut, model = self.dut, self.dut.model
        pixels = dut.engine.pixels
        words = -(-model.n // pixels)
        found = []
        for channel in range(model.state_channels):
            data = self.source.randbytes(words * pixels)
            for word in range(words):
                part = data[word * pixels : (word + 1) * pixels]
                self.state[channel, word] = int.from_bytes(part, "little")
            found.append(data[: model.n])
        return found


def simulate(testbench, model=GREY, seed=0, **options):
    dut = HostLink(model=model, engine=SHAPE)

    async def whole(ctx):
        await testbench(Bench(ctx, dut, seed, **options))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(whole)
    simulator.run()


def lines(source, model, count):
    return [source.randbytes(model.image_width * model.in_channels) for _ in range(count)]


def shown(data, model, sof=0):
    """A line as the engine sees it."""
    colours = model.in_channels
    pixels = [data[i : i + colours] for i in range(0, len(data), colours)]
    end = len(pixels) - 1
    return [(pixel, int(sof and i == 0), int(i == end)) for i, pixel in enumerate(pixels)]


def test_hello():
    """After reset, when asked, when announced; with counters when asked."""

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        ctx.set(dut.status, 0x5A)
        digest = bytes.fromhex(config_digest(GREY, SHAPE))[:8]
        expected = Hello(
            weights=0,
            status=0x5A,
            model=bytes.fromhex(GREY.digest)[:8],
            config=digest,
            shape=(3, 1, 1),
        )
        assert await bench.begin() == [expected]
        ctx.set(dut.weights_digest, 0xFEDCBA98)
        await bench.send(packets.ask())
        await bench.settle()
        found = bench.take()
        assert len(found) == 2
        assert replace(expected, weights=0xFEDCBA98) in found and Counters() in found
        ctx.set(dut.status, 1)
        await bench.pulse(dut.announce)
        await bench.settle()
        assert bench.take() == [replace(expected, weights=0xFEDCBA98, status=1)]
        assert bench.decoder.errors == bench.decoder.skipped == 0

    simulate(testbench)


@pytest.mark.parametrize("model", [GREY, COLOUR], ids=["grey", "colour"])
def test_lines(model):
    """Pixels, marks and the frame's end; a line leaves while the next one comes."""

    async def testbench(bench):
        await bench.begin()
        sent = lines(bench.source, model, 4)
        for packet in packets.frame(sent):
            bench.to_send += packet
        await bench.send(b"")
        await bench.tick(ROTATION * len(sent[0]) + 20)
        expected = [p for i, data in enumerate(sent) for p in shown(data, model, i == 0)]
        assert bench.pixels == [*expected, "end"]
        # a short line is the engine's to judge
        bench.pixels.clear()
        colours = model.in_channels
        await bench.send(packets.line(sent[0][: 2 * colours]))
        assert bench.pixels == shown(sent[0][: 2 * colours], model)
        await bench.settle()
        assert not bench.take()

    simulate(testbench, model)


@pytest.mark.parametrize(
    "flags, seen",
    [
        (Setting.PREVIEW, (1, 0, 0)),
        (Setting.PREVIEW | Setting.COLOUR, (1, 1, 0)),
        (Setting.STATE, (0, 0, 0)),
        (Setting.STATE | Setting.HOST, (0, 0, 1)),
    ],
)
def test_outputs_are_told(flags, seen):
    """Whether a preview is wanted, in colour; whether the state is, with the host's pixels only."""

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        await bench.begin()
        await bench.send(packets.settings(flags))
        await bench.tick(20 * ROTATION)
        signals = (dut.preview, dut.colour, dut.state_wanted)
        assert tuple(ctx.get(signal) for signal in signals) == seen

    simulate(testbench)


def test_settings():
    """All bits; early termination is off while its thresholds move, and only then."""

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        await bench.begin()
        limits = dut.thresholds
        signals = (dut.host, limits.stop_enable, limits.skip_enable)

        def found():
            thresholds = ctx.get(limits.stop), ctx.get(limits.skip)
            return (*(ctx.get(signal) for signal in signals), *thresholds)

        assert found() == (0, 0, 0, 0, 0)
        await bench.send(packets.settings(Setting.HOST, stop=-5))
        await bench.tick(20 * ROTATION)
        assert found() == (1, 1, 0, -5, 0)
        bench.to_send += packets.settings(Setting(0), stop=0x12345678, skip=-(2**31))
        enables = set()
        while found()[1:3] != (1, 1):
            await bench.tick()
            if found()[3:] not in ((-5, 0), (0x12345678, -(2**31))):
                enables.add(found()[1:3])
        assert enables == {(0, 0)}
        assert found() == (0, 1, 1, 0x12345678, -(2**31))
        await bench.send(packets.settings(Setting.HOST))
        await bench.tick(20 * ROTATION)
        assert found() == (1, 0, 0, 0, 0)
        # a line does not touch them
        await bench.send(packets.settings(Setting(0), stop=9))
        await bench.tick(20 * ROTATION)
        bench.to_send += packets.line(bytes(83))
        while bench.to_send or not bench.pixels or not bench.pixels[-1][2]:
            await bench.tick()
            assert found() == (0, 1, 0, 9, 0)

    simulate(testbench)


def test_settings_are_told_as_they_were_taken():
    """When they ask for it: the very bytes; a second one while the first answer leaves, too."""

    async def testbench(bench):
        await bench.begin()
        for flags, stop, skip in ((0, 7, None), (31, -5, 9), (2, None, -(2**31)), (0, None, None)):
            await bench.send(packets.settings(Setting(flags), stop=stop, skip=skip))
            await bench.settle()
            assert not bench.take()
            echoed = Setting(flags) | Setting.ECHO
            await bench.send(packets.settings(echoed, stop=stop, skip=skip))
            await bench.settle()
            (found,) = bench.take()
            assert isinstance(found, Taken) and (found.stop, found.skip) == (stop, skip)
            limits = bench.dut.thresholds
            enables = [bench.ctx.get(limits.stop_enable), bench.ctx.get(limits.skip_enable)]
            assert enables == [stop is not None, skip is not None]
        # others leave before it, and it tells the newest
        bench.uart_stopped = True
        await bench.send(packets.settings(Setting.ECHO, stop=1))
        await bench.row(0, (1, 2))
        await bench.send(packets.settings(Setting.ECHO | Setting.ROWS, stop=2))
        await bench.row(1, (1, 2))
        await bench.tick(20 * ROTATION)
        bench.uart_stopped = False
        await bench.settle()
        *_, last = bench.take()
        assert isinstance(last, Taken) and last.stop == 2
        # others that ask for none do not take it back
        bench.uart_stopped = True
        await bench.row(0, (1, 2))
        await bench.send(packets.settings(Setting.ECHO, stop=3))
        await bench.send(packets.settings(Setting(0), skip=4))
        bench.uart_stopped = False
        await bench.settle()
        assert bench.take(Taken) == [Taken(flags=Setting.SKIP, skip=4)]

    simulate(testbench)


def test_weights():
    """Every byte once, whatever the loader does; last with the image's last byte only."""

    async def testbench(bench):
        await bench.begin()
        image = bench.source.randbytes(200)
        for ready in (1.0, 0.6):
            bench.loader_ready = ready
            bench.loaded.clear()
            for packet in packets.weights(image, chunk=bench.dut.line_bytes):
                await bench.send(packet)
            await bench.tick(400)
            assert bench.loaded == [(byte, int(i == 199)) for i, byte in enumerate(image)]
        # the loader is busy: the next packet is refused, and told of
        bench.loader_ready, bench.loaded = 0.0, []
        first, second = packets.weights(image[:100], chunk=50)
        bench.loaded.clear()
        await bench.send(first)
        await bench.send(second)
        bench.loader_ready = 1.0
        await bench.tick(600)
        (counters,) = bench.take(Counters)
        assert counters.since(Counters()) in ({"packet": 1}, {})
        assert bytes(byte for byte, _ in bench.loaded) == image[:50]

    simulate(testbench)


@pytest.mark.parametrize("classes", [2, 3, 16])
def test_events(classes):
    """Rows and decisions, also a fault in the cycle after a decision; frames are counted."""
    names = tuple(f"class {i}" for i in range(classes))
    model = replace(GREY, classes=names, stop_class=names[1])

    async def testbench(bench):
        def some():
            return tuple(bench.source.randrange(-(2**31), 2**31) for _ in range(classes))

        quiet = (40 + 4 * classes) * bench.byte_time  # longer than the longest packet
        await bench.begin()
        logits = some()
        await bench.row(1, logits)
        await bench.settle(quiet)
        assert not bench.take()  # rows are not asked for
        await bench.decision(index=1, used=2)
        await bench.settle(quiet)
        assert bench.take() == [Decision(frame=0, index=1, status=0, rows_used=2, logits=logits)]
        await bench.send(packets.settings(Setting.ROWS))
        for frame in range(1, 4):
            first, last, index = some(), some(), bench.source.randrange(classes)
            await bench.row(0, first)
            await bench.settle(quiet)
            await bench.row(1, last)
            await bench.decision(index=index, used=2)
            await bench.decision(status=frame)
            await bench.settle(quiet)
            number = 2 * frame - 1
            assert bench.take() == [
                Row(frame=number, row_group=0, logits=first),
                Row(frame=number, row_group=1, logits=last),
                Decision(frame=number, index=index, status=0, rows_used=2, logits=last),
                Decision(frame=number + 1, index=0, status=frame, rows_used=0, logits=last),
            ]
        assert bench.decoder.errors == bench.decoder.skipped == 0

    simulate(testbench, model)


def test_event_queue():
    """SLOTS and the ones being copied wait for a slow UART; what is lost is counted."""

    async def testbench(bench):
        await bench.begin()
        await bench.send(packets.settings(Setting.ROWS))
        bench.uart_stopped = True
        for group in range(SLOTS + 4):
            await bench.row(group % 2, (group, -group))
            await bench.tick(20 * ROTATION)
        bench.uart_stopped = False
        await bench.settle()
        rows = bench.events[:-1]
        # the newest of those that could not be copied is the one that was
        assert [row.logits[0] for row in rows] == [*range(SLOTS), SLOTS + 3]
        assert bench.events[-1].since(Counters()) == {"event": 3}

    simulate(testbench)


def test_a_row_that_waits_keeps_its_group():
    """The engine goes on to the next group, whose number stands before its own event."""

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        await bench.begin()
        await bench.send(packets.settings(Setting.ROWS))
        bench.uart_stopped = True
        for group in range(SLOTS + 1):
            await bench.row(group % 2, (group, -group))
            await bench.tick(20 * ROTATION)
        ctx.set(dut.row.group, 1 - SLOTS % 2)
        bench.uart_stopped = False
        await bench.settle()
        rows = [(row.row_group, row.logits) for row in bench.take(Row)]
        assert rows == [(group % 2, (group, -group)) for group in range(SLOTS + 1)]

    simulate(testbench)


@pytest.mark.parametrize("cycles", [1, 45])
def test_an_event_that_is_being_copied_goes_whole(cycles):
    """Another row takes its place, or that of the decision before; one event is lost, counted."""

    async def testbench(bench):
        lost = 0

        async def only(row):
            nonlocal lost
            lost += 1
            await bench.settle()
            events = bench.take()  # in any order
            assert [event for event in events if not isinstance(event, Counters)] == [row]
            (counters,) = [event for event in events if isinstance(event, Counters)]
            assert counters.since(Counters()) == {"event": lost}

        await bench.begin()
        await bench.send(packets.settings(Setting.ROWS))
        await bench.row(0, (1, -1))
        await bench.tick(cycles)
        await bench.row(1, (5, -5))
        await only(Row(frame=0, row_group=1, logits=(5, -5)))
        await bench.decision(index=1, used=2)
        await bench.tick(cycles)
        await bench.row(0, (7, -7))
        await only(Row(frame=0, row_group=0, logits=(7, -7)))

    simulate(testbench)


def test_late_events():
    """With all slots full a fault keeps its place before the next frame's events, and a row its
    group while the engine is on the next one."""

    async def testbench(bench):
        await bench.begin()
        await bench.send(packets.settings(Setting.ROWS))
        bench.uart_stopped = True
        for number in range(SLOTS + 1):
            await bench.decision(status=1 + number % 4)
            await bench.tick(20 * ROTATION)
        await bench.row(1, (3, 4))
        bench.ctx.set(bench.dut.row.group, 2)
        await bench.decision(index=1, used=2)
        await bench.tick(20 * ROTATION)
        bench.uart_stopped = False
        await bench.settle()
        lost = Decision(frame=SLOTS, index=0, status=1 + SLOTS % 4, rows_used=0, logits=(3, 4))
        assert bench.take()[SLOTS:] == [
            lost,
            Row(frame=SLOTS + 1, row_group=1, logits=(3, 4)),
            replace(lost, frame=SLOTS + 1, index=1, status=0, rows_used=2),
        ]

    simulate(testbench)


def test_hello_while_weights_are_loaded():
    """The weights come or go in any cycle of its copy: it tells a digest that was there."""

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        await bench.begin()
        digests = (0x12345678, 0)
        for cycles in range(0, 7 * ROTATION):
            ctx.set(dut.weights_digest, digests[cycles % 2])
            await bench.pulse(dut.announce)
            await bench.tick(cycles)
            ctx.set(dut.weights_digest, digests[1 - cycles % 2])
            await bench.settle(45 * bench.byte_time)
            (hello,) = bench.take()
            assert hello.weights in digests, f"{cycles}: {hello.weights:08x}"

    simulate(testbench)


def test_state():
    """Every byte of the state after a row; lines wait for it; without HOST there is none."""

    async def testbench(bench):
        await bench.begin()
        await bench.send(packets.settings(Setting.HOST | Setting.STATE))
        for group in (0, 1):
            expected = bench.new_state()
            await bench.row(group, (group, 7))
            bench.reads.clear()
            sent = lines(bench.source, GREY, 1)[0]
            bench.pixels.clear()
            bench.to_send += packets.line(sent)
            while not bench.pixels:
                await bench.tick()
            # the last byte of the state has been read
            assert len(bench.reads) == GREY.state_channels * GREY.n
            if group:
                await bench.decision(used=2)
            await bench.settle()
            events = bench.take()
            assert [e for e in events if not isinstance(e, Decision)] == [
                Row(frame=0, row_group=group, logits=(group, 7)),
                *(
                    State(frame=0, channel=channel, row_group=group, data=data)
                    for channel, data in enumerate(expected)
                ),
            ]
            assert bench.pixels == shown(sent, GREY)
        # a second line while the first is held: refused
        bench.uart_stopped = True
        await bench.row(0, (1, 1))
        await bench.send(packets.line(bytes(83)))
        await bench.send(packets.line(bytes([1]) * 83))
        bench.pixels.clear()
        bench.uart_stopped = False
        await bench.settle()
        assert bench.pixels == shown(bytes(83), GREY)
        # a packet for each sync byte and the counters that tell of the refusal
        (counters,) = bench.take(Counters)
        assert counters["packet"] == 1
        await bench.send(packets.settings(Setting.STATE | Setting.ROWS))
        await bench.row(0, (1, 1))
        await bench.settle()
        assert [type(event) for event in bench.take()] == [Row]

    simulate(testbench)


def test_damaged_packets():
    """Any flipped bit: the packet does nothing, is counted, and the next one is taken."""

    async def testbench(bench):
        await bench.begin()
        before = Counters()
        good = packets.line(bytes(range(6)))
        for place in range(len(good)):
            damaged = bytearray(good)
            damaged[place] ^= 1 << bench.source.randrange(8)
            bench.pixels.clear()
            await bench.send(damaged)
            # whatever it took for a length, this is more
            await bench.send(bytes(bench.dut.line_bytes))
            assert not bench.pixels
            await bench.send(good)
            await bench.tick(20 * ROTATION)
            assert bench.pixels == shown(bytes(range(6)), COLOUR)
            await bench.send(packets.ask())
            await bench.settle(200)
            counters = bench.take(Counters)[-1]
            assert counters.since(before) == ({"packet": 1} if place else {})
            before = counters

    simulate(testbench, COLOUR, byte_time=4)


def test_noise_on_the_line():
    """An error of the receiver ends a packet at once and is counted."""

    async def testbench(bench):
        await bench.begin()
        packet = packets.line(bytes(30))
        for cut in (1, 2, 3, 4, 5, 20, len(packet) - 1):
            await bench.send(packet[:cut])
            await bench.pulse(bench.dut.rx_error)
            await bench.send(packet)
            await bench.tick(30 * ROTATION)
            assert len(bench.pixels) == 30
            bench.pixels.clear()
        await bench.settle()
        assert bench.take(Counters)[-1].since(Counters()) == {"uart": 7}

    simulate(testbench)


def test_bad_heads():
    """Unknown kinds and lengths beyond the buffer are given up at once."""

    async def testbench(bench):
        await bench.begin()
        assert bench.dut.layout.lowest == 0x60
        for head in (b"\xa5\x01", b"\xa5\x90", b"\xa5\x88\x60\x00", b"\xa5\x8c\x5f\x01"):
            await bench.send(head)
            await bench.send(packets.line(bytes(83)))
            await bench.tick(83 * ROTATION)
            assert len(bench.pixels) == 83
            bench.pixels.clear()
        # nothing in it: nothing to do
        for kind in (packets.Kind.LINE, packets.Kind.SETTINGS, packets.Kind.WEIGHTS):
            await bench.send(packets.encode(kind))
            await bench.tick(30 * ROTATION)
        await bench.send(packets.encode(packets.Kind.ASK, b"123"))
        await bench.settle()
        assert not bench.pixels and not bench.loaded
        assert len(bench.take(Hello)) == 1
        await bench.send(packets.ask())
        await bench.settle()
        assert bench.take(Counters)[-1].since(Counters()) == {"packet": 7}

    simulate(testbench)


def test_counters():
    """Each of them alone, through the carry; two at once; a packet whenever one moved."""

    async def testbench(bench):
        await bench.begin()
        expected = dict.fromkeys(COUNTERS, 0)
        names = COUNTERS[: -packets.LINK_COUNTERS]
        for name in names:
            bench.toggle(name)
            expected[name] += 1
            await bench.settle(900)
            assert bench.take()[-1].values == tuple(expected.values())
        for _ in range(20):
            for name in bench.source.sample(names, 2):
                bench.toggle(name)
                expected[name] += 1
            await bench.tick(70 * ROTATION)
        # near the carry, without 200 counts
        place = bench.dut.layout.counters + 4 + 2 * COUNTERS.index("dropped")
        odd = expected["dropped"] & 1
        bench.ctx.set(bench.dut.memory.memory.data[place], 250 + odd)
        expected["dropped"] = 250 + odd
        while max(expected.values()) < 258:
            bench.toggle("dropped")
            expected["dropped"] += 1
            await bench.tick(70 * ROTATION)
        await bench.settle(900)
        found = bench.take(Counters)
        assert found[-1].values == tuple(expected.values())
        # no packet shows a low byte without its carry
        for sooner, later in zip(found, found[1:], strict=False):
            pairs = zip(sooner.values, later.values, strict=True)
            assert all(a <= b <= max(255, a + 9) for a, b in pairs)

    simulate(testbench, byte_time=4 * ROTATION + 3)


def test_errors():
    with pytest.raises(ValueError, match="state_channels must be at most 256, not 257"):
        HostLink(model=replace(GREY, state_channels=257), engine=SHAPE)
    with pytest.raises(
        ValueError, match="a state packet must have at most 255 bytes, but 252 columns make 256"
    ):
        HostLink(model=replace(GREY, image_width=252 * 16), engine=EngineConfig.parse("16,1,1"))
