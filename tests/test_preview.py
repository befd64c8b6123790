"""boards/outputs/preview.py: pieces of rows as packets, against the frames that they are of."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from boards import packets
from boards.event_system import EventSystem
from boards.flash import FlashLoader
from boards.held import Held
from boards.host_system import HostSystem
from boards.outputs import preview
from boards.outputs.preview import PreviewSender, scale, stride
from boards.packets import BoardStatus, Preview, Row, Setting
from boards.picture import Picture
from hw.interfaces import Pixels
from hw.plan.engine_config import EngineConfig
from tests.test_event_system import StandIn, received
from tests.test_host_link import COLOUR

SIZE = {"height": 9, "width": 16}
CASES = {
    "grey": dict(scale=1, stride=4, piece=16, in_channels=1, colours=1),
    "pieces, the last one short": dict(scale=1, stride=1, piece=11, in_channels=1, colours=1),
    "registers": dict(scale=1, stride=2, piece=8, in_channels=1, colours=1),
    "every second": dict(scale=2, stride=3, piece=8, in_channels=1, colours=1),
    "a grey sensor's three": dict(scale=1, stride=4, piece=9, in_channels=3, colours=1),
    "one pixel": dict(scale=16, stride=1, piece=1, in_channels=1, colours=1),
    "nearly all rows further": dict(scale=1, stride=8, piece=16, in_channels=1, colours=1),
    "colour": dict(scale=2, stride=2, piece=9, in_channels=3, colours=3),
    "pulsed": dict(scale=4, stride=2, piece=4, in_channels=1, colours=1, pulsed=True),
}


class Bench:
    """Frames in, packets out; every piece must be of one of the frames that have begun."""

    def __init__(self, ctx, dut, seed=0, byte_time=3):
        self.ctx, self.dut, self.source = ctx, dut, random.Random(seed)
        self.byte_time, self.cycle, self.taken_at = byte_time, 0, -99
        self.decoder, self.pieces, self.frames = packets.Decoder(), [], []
        self.spacing = dut.colours
        self.restless = False  # `colour` changes its mind in any cycle
        self.pulses = ()  # with the last byte of these pieces, counted from 1, `want` is pulsed

    async def tick(self, cycles=1):
        ctx, out = self.ctx, self.dut.packets
        for _ in range(cycles):
            ready = self.cycle >= self.taken_at + self.byte_time
            if self.restless:
                ctx.set(self.dut.colour, self.source.getrandbits(1))
            ctx.set(out.ready, ready)
            if ready and ctx.get(out.valid):
                self.taken_at = self.cycle
                data = ctx.get(out.data)
                self.pieces += [packets.parse(p) for p in self.decoder.feed(bytes([data]))]
                # `last` goes with a packet's last byte
                assert ctx.get(out.last) == (not self.decoder._buffer)
                if ctx.get(out.last) and len(self.pieces) in self.pulses:
                    ctx.set(self.dut.want, 1)
            await ctx.tick()
            if self.pulses:
                ctx.set(self.dut.want, 0)
            self.cycle += 1

    async def frame(self, until=None):
        """A random frame, of which only the first `until` pixels come."""
        ctx, pixels = self.ctx, self.dut.pixels
        names = pixels.signature.colours
        rng = np.random.default_rng(len(self.frames))
        picture = rng.integers(0, 256, (SIZE["height"], SIZE["width"], len(names)), dtype=np.uint8)
        if self.dut.colours == 1:
            picture[:] = picture[:, :, :1]
        self.frames.append(picture)
        for index, pixel in enumerate(picture.reshape(-1, len(names))[:until]):
            for name, value in zip(names, pixel, strict=True):
                ctx.set(getattr(pixels, name), int(value))
            ctx.set(pixels.sof, index == 0)
            ctx.set(pixels.eol, (index + 1) % SIZE["width"] == 0)
            ctx.set(pixels.valid, 1)
            await self.tick()
            ctx.set(pixels.valid, 0)
            await self.tick(self.spacing - 1 + self.source.choice([0, 0, 1, 2]))
        ctx.set(pixels.frame_end, 1)
        await self.tick()
        ctx.set(pixels.frame_end, 0)
        await self.tick(self.source.choice([1, 40]))

    def seen(self, frame, coloured):
        """A frame as it is to be sent."""
        small = self.frames[frame][:: self.dut.scale, :: self.dut.scale].astype(int)
        if self.dut.colours == 1:
            return small[:, :, :1]
        red, green, blue = (small[:, :, i] for i in range(3))
        return small if coloured else ((red + 2 * green + blue + 2) // 4)[:, :, None]

    def check(self, piece, among):
        """The frame, one of these, that a piece is of; its order among the pieces of a picture."""
        coloured = piece.channels == 3
        assert (piece.rows, piece.columns) == self.seen(0, coloured).shape[:2]
        pixels = np.frombuffer(piece.data, np.uint8).reshape(-1, piece.channels)
        place = (piece.row, slice(piece.column, piece.column + len(pixels)))
        found = [f for f in among if np.array_equal(self.seen(f, coloured)[place], pixels)]
        assert len(found) == 1, piece
        return found[0]


def simulate(options, testbench, **more):
    dut = PreviewSender(**SIZE, **options)

    async def whole(ctx):
        await testbench(Bench(ctx, dut, **more))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(whole)
    simulator.run()


def in_order(dut, channels=1):
    """(row, column) of all pieces of a picture."""
    width = dut.piece // channels
    return [
        (i * dut.stride % dut.rows, column)
        for column in range(0, dut.columns, width)
        for i in range(dut.rows)
    ]


@pytest.mark.parametrize("case", [name for name in CASES if name != "pulsed"])
def test_pictures(case):
    """All pieces in their order, each of one frame and whole; a picture; then the next one."""

    async def testbench(bench):
        dut = bench.dut
        await bench.frame()
        assert not bench.pieces and not bench.ctx.get(dut.packets.valid)
        bench.ctx.set(dut.want, 1)
        order = in_order(dut)
        while len(bench.pieces) < len(order) + 3:
            await bench.frame()
            assert len(bench.frames) < 200
        at = [(piece.row, piece.column) for piece in bench.pieces]
        assert at == (len(at) * order)[: len(at)] and len(set(order)) == len(order)
        frames = [bench.check(piece, range(1, len(bench.frames))) for piece in bench.pieces]
        assert frames == sorted(frames)
        picture = Picture()
        for piece in bench.pieces[: len(order)]:
            assert not picture.whole
            picture.take(piece)
        assert picture.whole and bench.decoder.errors == bench.decoder.skipped == 0
        # nothing more when it is wanted no longer, but for the piece that has begun
        bench.ctx.set(dut.want, 0)
        await bench.frame()
        await bench.tick(200)
        count = len(bench.pieces)
        await bench.frame()
        assert len(bench.pieces) == count

    simulate(CASES[case], testbench)


def test_colour():
    """Colour and grey by turns: each piece is what it says, and pictures of both come whole."""

    async def testbench(bench):
        dut, picture = bench.dut, Picture()
        bench.ctx.set(dut.want, 1)
        for coloured in (1, 0, 1):
            bench.ctx.set(dut.colour, coloured)
            await bench.frame()
            bench.pieces.clear()
            for _ in range(60):
                await bench.frame()
                for piece in bench.pieces:
                    bench.check(piece, range(len(bench.frames)))
                    picture.take(piece)
                bench.pieces.clear()
                if picture.whole:
                    break
            assert picture.whole and picture.pixels.shape == (5, 8, 3 if coloured else 1)

    simulate(CASES["colour"], testbench)


def test_colour_changes_in_any_cycle():
    """Each piece is in colour or grey from its first pixel to its last one."""

    async def testbench(bench):
        bench.restless = True
        bench.ctx.set(bench.dut.want, 1)
        while len(bench.pieces) < 30:
            await bench.frame()
            assert len(bench.frames) < 60
        for piece in bench.pieces:
            bench.check(piece, range(len(bench.frames)))
        assert {piece.channels for piece in bench.pieces} == {1, 3}

    simulate(CASES["colour"], testbench)


def test_pulsed():
    """A picture for a pulse, one more for those that come while it is sent, in any cycle."""

    async def testbench(bench):
        dut = bench.dut
        whole = len(in_order(dut))

        async def pulse():
            bench.ctx.set(dut.want, 1)
            await bench.tick()
            bench.ctx.set(dut.want, 0)

        async def settle():
            for _ in range(8):
                await bench.frame()
            found = len(bench.pieces)
            bench.pieces.clear()
            return found

        assert await settle() == 0
        await pulse()
        assert await settle() == whole
        bench.byte_time = 10**6  # the first piece does not leave
        await pulse()
        await bench.frame()
        await pulse()
        await pulse()
        bench.byte_time = 3
        assert await settle() == 2 * whole
        assert await settle() == 0
        # in the cycle in which the picture ends, without and with one that came before
        for earlier in ((), (1,)):
            bench.pulses = (*earlier, whole)
            await pulse()
            assert await settle() == 2 * whole
        bench.pulses = ()
        assert await settle() == 0

    simulate(CASES["pulsed"], testbench)


@pytest.mark.parametrize("until", [1, 16 + 5, 4 * 16 + 15])
def test_cut_frames(until):
    """A frame that ends early takes its piece with it: no packet has pixels of two frames."""

    async def testbench(bench):
        bench.ctx.set(bench.dut.want, 1)
        for number in range(24):
            await bench.frame(until if number % 2 else None)
        assert len(bench.pieces) >= 10
        for piece in bench.pieces:
            bench.check(piece, range(len(bench.frames)))
        at = [(piece.row, piece.column) for piece in bench.pieces]
        order = in_order(bench.dut)
        assert at == (9 * order)[: len(at)]

    simulate(CASES["pieces, the last one short"], testbench)


def test_rate():
    """As many pieces of each frame as `stride` says of a UART that is just as fast."""
    found = []

    async def testbench(bench):
        dut, ctx = bench.dut, bench.ctx
        bench.source = SimpleNamespace(choice=lambda among: 0)  # a pixel a cycle
        step = stride(dut.rows, 16, dut.piece, 10)  # in cycles: a bit takes a tenth
        assert step == dut.stride == 4 and bench.byte_time == 1
        ctx.set(dut.want, 1)
        for _ in range(9):
            await bench.frame()
        found.extend(bench.pieces)

    simulate(CASES["registers"] | {"stride": 4}, testbench, byte_time=1)
    # 18 pieces of a picture; in nine frames 9 * 9 rows come, a fourth of which is sent
    assert len(found) >= 18


def test_stride():
    """The smallest that leaves time for a piece and an event, and reaches all rows."""
    # a row in 0.2 ms, a piece of 120 bytes and an event in 1.55 ms
    assert stride(105, 200e-6, 120, 1_000_000) == 8
    assert stride(104, 200e-6, 120, 1_000_000) == 9
    assert stride(105, 10e-3, 8, 1_000_000) == 1
    assert stride(105, 200e-6, 120, 2_000_000) == 4
    # a piece takes more than a frame: the 17th row is row 1 of 8, two frames later
    assert stride(8, 200e-6, 120, 500_000) == 1 and stride(8, 200e-6, 120, 550_000) == 7
    assert stride(1, 200e-6, 120, 1_000_000) == stride(2, 200e-6, 120, 1_000_000) == 1
    for rows in range(1, 40):  # each may be asked for
        found = stride(rows, 1e-3, 120, 115_200)
        PreviewSender(
            height=rows, width=8, scale=1, stride=found, piece=8, in_channels=1, colours=1
        )
    assert [scale(*size) for size in ((105, 120), (210, 240), (121, 1), (960, 961))] == [
        1,
        2,
        2,
        16,
    ]


@pytest.mark.parametrize(
    "change, text",
    [
        ({"scale": 3}, "scale must be a power of two, not 3"),
        ({"width": 256}, "at most 255 rows and columns, not 9 and 256"),
        ({"piece": 251}, r"piece must be 1\.\.250 bytes, not 251"),
        ({"piece": 2, "colours": 3}, r"piece must be 3\.\.250 bytes, not 2"),
        ({"piece": 7}, "a piece in registers must be grey and divide 16 columns, not 7 bytes of 1"),
        ({"piece": 4, "colours": 3}, "must be grey and divide 16 columns, not 4 bytes of 3"),
        ({"stride": 3}, "stride must have no factor in common with 9 rows, not 3"),
        ({"stride": Held(cycles=6, most=9, cells="ice40")}, "in common with 9 rows, not 6"),
        ({"stride": 0}, r"stride must be 1\.\.8, not 0"),
        ({"stride": 10}, r"stride must be 1\.\.8, not 10"),
        ({"stride": Held(cycles=11, most=11, cells="ice40")}, r"stride must be 1\.\.8, not 11"),
        ({"scale": 16, "piece": 1, "stride": 2}, r"stride must be 1\.\.1, not 2"),
    ],
)
def test_refused(change, text):
    options = SIZE | {"scale": 1, "stride": 1, "piece": 16, "in_channels": 3, "colours": 1}
    with pytest.raises(ValueError, match=text):
        PreviewSender(**options | change)


def test_packet_is_what_it_says():
    """The bytes around the pixels, from the packet's own layout."""
    piece = packets.Preview(rows=1, columns=1, channels=1, row=0, column=0, data=b"1")
    packet = packets.encode(packets.Kind.PREVIEW, piece.pack())
    assert len(packet) == preview.AROUND + 1


class Full(wiring.Component):
    """A large board's system with a preview; the camera's pixels go to both."""

    def __init__(self):
        self.engine = StandIn(COLOUR)
        self.engine.plan.engine = EngineConfig.parse("3,1,1")
        self.host = HostSystem(rasca=self.engine, divisor=4)
        self.sender = PreviewSender(
            height=4, width=16, scale=2, stride=1, piece=12, in_channels=3, colours=3
        )
        super().__init__({"pixels": In(Pixels(3))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.sender = self.host, self.sender
        wiring.connect(m, wiring.flipped(self.pixels), self.sender.pixels)
        wiring.connect(m, self.sender.packets, self.host.packets)
        m.d.comb += [
            self.sender.want.eq(self.host.asked),
            self.sender.colour.eq(self.host.colour),
        ]
        return m


def said(dut, camera):
    """What a board says on its UART while the camera's test bench runs."""
    stream, over = bytearray(), []

    async def scene(ctx):
        await camera(ctx)
        over.append(True)

    async def uart(ctx):
        while not over:
            byte = await received(ctx, dut.host.tx)
            if byte is not None:
                stream.append(byte)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(scene)
    simulator.add_testbench(uart)
    simulator.run()
    return bytes(stream)


def test_large_board():
    """Settings in, pictures in colour out between the row events, each packet whole; the hello says
    that there are any."""
    dut = Full()
    scene = np.random.default_rng(6).integers(0, 256, (4, 16, 3), dtype=np.uint8)
    bits = []
    for byte in packets.settings(Setting.PREVIEW | Setting.COLOUR | Setting.ROWS):
        bits += [0, *(byte >> i & 1 for i in range(8)), 1]

    async def camera(ctx):
        line, cycle = [bit for bit in bits for _ in range(4)], 0

        async def tick():
            nonlocal cycle
            ctx.set(dut.host.rx, line[cycle - 2000] if 0 <= cycle - 2000 < len(line) else 1)
            await ctx.tick()
            cycle += 1

        for number in range(54):
            for index, pixel in enumerate(scene.reshape(-1, 3).tolist()):
                for name, value in zip(("red", "green", "blue"), pixel, strict=True):
                    ctx.set(getattr(dut.pixels, name), value)
                ctx.set(dut.pixels.eol, index % 16 == 15)
                ctx.set(dut.pixels.valid, 1)
                await tick()
                ctx.set(dut.pixels.valid, 0)
                await tick()
                await tick()
            ctx.set(dut.pixels.frame_end, 1)
            await tick()
            ctx.set(dut.pixels.frame_end, 0)
            row = dut.engine.row
            ctx.set(row.logits[1], -number)
            ctx.set(row.valid, number % 8 == 0)
            await tick()
            ctx.set(row.valid, 0)

    stream = said(dut, camera)
    decoder, picture = packets.Decoder(), Picture()
    found = [packets.parse(packet) for packet in decoder.feed(stream)]
    assert decoder.errors == decoder.skipped == 0
    assert found[0].status & BoardStatus.PREVIEW
    pieces = [event for event in found if isinstance(event, Preview)]
    for piece in pieces:
        picture.take(piece)
    assert len(pieces) >= 4 and picture.whole and np.array_equal(picture.pixels, scene[::2, ::2])
    rows = [event for event in found if isinstance(event, Row)]
    assert len(rows) >= 3 and all(row.logits[1] % 8 == 0 for row in rows)


class Small(wiring.Component):
    """A small board's system with a preview; the camera's pixels go to both."""

    def __init__(self):
        flash = FlashLoader(length=8, config="00" * 32, divisor=2, wake_cycles=2, tries=1)
        self.engine = StandIn(replace(COLOUR, in_channels=1))
        self.host = EventSystem(rasca=self.engine, divisor=4, flash=flash)
        self.sender = PreviewSender(
            height=5, width=16, scale=1, stride=2, piece=16, in_channels=1, colours=1, pulsed=True
        )
        super().__init__({"pixels": In(Pixels(1))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.sender = self.host, self.sender
        wiring.connect(m, wiring.flipped(self.pixels), self.sender.pixels)
        wiring.connect(m, self.sender.packets, self.host.packets)
        m.d.comb += self.sender.want.eq(self.host.asked)
        return m


def test_small_board():
    """A byte in, one picture out, in whole packets between the bytes of decisions; then silence."""
    dut = Small()
    scene = np.random.default_rng(5).integers(0, 256, (5, 16, 1), dtype=np.uint8)

    async def camera(ctx):
        ctx.set(dut.host.rx, 1)
        for number in range(36):
            for index, value in enumerate(scene.ravel()):
                ctx.set(dut.pixels.luma, int(value))
                ctx.set(dut.pixels.eol, index % 16 == 15)
                ctx.set(dut.pixels.valid, 1)
                await ctx.tick()
                ctx.set(dut.pixels.valid, 0)
                await ctx.tick().repeat(3)
                # the start bit of a byte that is all ones
                ctx.set(dut.host.rx, not (number == 2 and index < 1))
            ctx.set(dut.pixels.frame_end, 1)
            await ctx.tick()
            ctx.set(dut.pixels.frame_end, 0)
            decision = dut.engine.decision
            ctx.set(decision.valid, 1)
            await ctx.tick()
            ctx.set(decision.valid, 0)

    stream = said(dut, camera)
    mixed, picture = packets.Mixed(), Picture()
    found = list(mixed.feed(stream))
    pieces = [packets.parse(one) for one in found if not isinstance(one, int)]
    for piece in pieces:
        picture.take(piece)
    assert len(pieces) == 5 and picture.whole and np.array_equal(picture.pixels, scene)
    events = [one for one in found if isinstance(one, int)]
    assert len(events) >= 10 and set(events) <= {0, 0x41} and mixed.errors == 0
    assert isinstance(found[-1], int) and isinstance(found[0], int)
