"""boards/event_system.py: the bytes of a small board, with a stand-in for the engine."""

import zlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.event_system import EventSystem
from boards.flash import OFFSET, FlashLoader, flash_image
from boards.host import said_byte
from boards.host_system import CAMERA_COUNTERS, ENGINE_COUNTERS
from boards.packets import COUNTERS, LINK_COUNTERS, BoardStatus, Byte, Problem, class_byte
from hw.interfaces import Engine
from tests.test_host_link import COLOUR

DIVISOR = 4
NAMES = tuple(f"class {i}" for i in range(16))


class StandIn(wiring.Component):
    """An engine's ports, which the test moves."""

    def __init__(self, model):
        self.plan = SimpleNamespace(model=model)
        super().__init__(Engine(in_channels=model.in_channels, classes=model.class_count, pixels=3))

    def elaborate(self, platform):
        return Module()


async def received(ctx, pin, limit=400):
    """The next byte on a UART's pin, or None."""
    for _ in range(limit):
        await ctx.tick()
        if not ctx.get(pin):
            break
    else:
        return None
    await ctx.tick().repeat(DIVISOR // 2)
    byte = 0
    for i in range(8):
        await ctx.tick().repeat(DIVISOR)
        byte |= ctx.get(pin) << i
    await ctx.tick().repeat(DIVISOR)
    assert ctx.get(pin)
    return byte


class SpiFlash:
    """A flash that answers reads (0x03) with what lies at the loader's offset."""

    def __init__(self, spi, data):
        self.spi, self.data = spi, data

    async def run(self, ctx):
        """Beside the test: takes a bit as the clock rises, shows the next one as it falls."""
        spi, bits, command, before = self.spi, 0, 0, 0
        while True:
            clock = ctx.get(spi.clock)
            if ctx.get(spi.select):
                bits = command = 0
            elif clock and not before:
                command, bits = command << 1 | ctx.get(spi.mosi), bits + 1
            elif before and not clock and bits >= 32:
                assert command >> bits - 32 == 0x03 << 24 | OFFSET
                place, bit = divmod(bits - 32, 8)
                ctx.set(spi.miso, self.data[place] >> 7 - bit & 1 if place < len(self.data) else 1)
            before = clock
            await ctx.tick()


def simulate(dut, testbench, *others):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    for other in others:
        simulator.add_testbench(other, background=True)
    simulator.run()


def bytes_of(dut, found):
    """A testbench that appends all that leaves."""

    async def run(ctx):
        while True:
            byte = await received(ctx, dut.tx)
            found.extend([] if byte is None else [byte])

    return run


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("set_up", ["ready", "failed"])
def test_weights_and_camera(good, set_up):
    """Good weights: all of them in the engine, said so, pixels; a wrong checksum and a camera that
    cannot be set up are said, too."""
    engine, image = StandIn(COLOUR), b"\x01weights"
    flash = FlashLoader(length=8, config="5a" * 32, divisor=2, wake_cycles=2, tries=1)
    dut = EventSystem(rasca=engine, divisor=DIVISOR, flash=flash)
    camera, loaded, found = dut.camera, [], []
    problem = 0 if good else Problem.CRC
    failed = BoardStatus.CAMERA_FAILED if set_up == "failed" else 0

    async def testbench(ctx):
        ctx.set(engine.load.ready, 1)
        ctx.set(engine.weights_digest, zlib.crc32(image) ^ (not good) << 31)
        ctx.set(camera.pixels.valid, 1)
        await ctx.tick().repeat(100)
        assert not found
        ctx.set(getattr(camera, set_up), 1)
        while ctx.get(flash.busy):
            assert not ctx.get(engine.pixels.valid) and not ctx.get(dut.weights_ok)
            await ctx.tick()
        assert found == [Byte.REPORT | BoardStatus.LOADING | failed]
        await ctx.tick().repeat(12 * DIVISOR)
        assert found[1:] == [Byte.REPORT | problem | failed]
        assert ctx.get(dut.weights_ok) == good and ctx.get(engine.pixels.valid)
        spoilt = [] if good else [1]
        assert [byte for byte, _ in loaded[:8]] == [*image]
        assert [last for _, last in loaded] == [0] * 7 + [1] + spoilt

    async def loader(ctx):
        while True:
            if ctx.get(engine.load.valid):
                loaded.append((ctx.get(engine.load.data), ctx.get(engine.load.last)))
            await ctx.tick()

    there = SpiFlash(dut.spi, flash_image(image, "5a" * 32))
    simulate(dut, testbench, loader, there.run, bytes_of(dut, found))


def test_newest():
    """Of what comes while a byte leaves the newest follows, whatever waits."""
    engine = StandIn(COLOUR)
    flash = FlashLoader(length=8, config="00" * 32, divisor=2, wake_cycles=5000, tries=1)
    dut = EventSystem(rasca=engine, divisor=DIVISOR, flash=flash)
    decision, found = engine.decision, []

    async def decide(ctx, status):
        ctx.set(decision.status, status)
        ctx.set(decision.valid, 1)
        await ctx.tick()
        ctx.set(decision.valid, 0)
        await ctx.tick().repeat(3)

    async def testbench(ctx):
        for status in (1, 2, 3):
            await decide(ctx, status)
        await ctx.tick().repeat(24 * DIVISOR)
        assert found == [1, 3]
        await decide(ctx, 4)
        ctx.set(dut.camera.ready, 1)
        await ctx.tick().repeat(3)
        await decide(ctx, 2)
        await ctx.tick().repeat(36 * DIVISOR)
        assert found == [1, 3, 4, 2]

    simulate(dut, testbench, bytes_of(dut, found))


def test_toggles():
    """Bit 0 of each of the engine's counters, then the camera's bits."""
    engine = StandIn(COLOUR)
    flash = FlashLoader(length=8, config="00" * 32, divisor=2, wake_cycles=2, tries=1)
    dut = EventSystem(rasca=engine, divisor=DIVISOR, flash=flash)

    async def testbench(ctx):
        for place, name in enumerate(COUNTERS[:-LINK_COUNTERS]):
            if name in ENGINE_COUNTERS:
                ctx.set(getattr(engine.counts, name), 3)
            else:
                ctx.set(dut.camera.toggles, 1 << CAMERA_COUNTERS.index(name))
            assert ctx.get(dut.toggles) == 1 << place, name
            if name in ENGINE_COUNTERS:
                ctx.set(getattr(engine.counts, name), 2)
        ctx.set(dut.camera.toggles, 0)
        assert not ctx.get(dut.toggles)

    simulate(dut, testbench)


@pytest.mark.parametrize("classes", [2, 3, 16])
def test_bytes(classes):
    """Each decision and fault, each report; pixels only when the weights are there."""
    model = replace(COLOUR, classes=NAMES[:classes], stop_class=NAMES[1])
    engine = StandIn(model)
    flash = FlashLoader(length=8, config="00" * 32, divisor=2, wake_cycles=2, tries=1)
    dut = EventSystem(rasca=engine, divisor=DIVISOR, flash=flash)
    camera, decision = dut.camera, engine.decision

    async def decide(ctx, index, status=0):
        ctx.set(decision.index, index)
        ctx.set(decision.status, status)
        ctx.set(decision.valid, 1)
        await ctx.tick()
        ctx.set(decision.valid, 0)
        return await received(ctx, dut.tx)

    async def testbench(ctx):
        ctx.set(camera.pixels.valid, 1)
        ctx.set(camera.pixels.red, 77)
        await ctx.tick()
        assert not ctx.get(engine.pixels.valid) and not ctx.get(dut.weights_ok)
        assert await received(ctx, dut.tx, 4000) == Byte.REPORT | Problem.BLANK
        assert ctx.get(engine.pixels.valid) and ctx.get(engine.pixels.red) == 77
        ctx.set(camera.failed, 1)
        assert await received(ctx, dut.tx) == 0x60 | Problem.BLANK
        for index in range(classes):
            byte = await decide(ctx, index)
            assert byte == class_byte(index)
            assert NAMES[index] in said_byte(byte, model).lower()
        if classes == 2:
            assert byte == 0x80
        assert await decide(ctx, 0, 3) == 3
        assert await received(ctx, dut.tx) is None
        # an output's packet is not broken by an event, which leaves after it
        ctx.set(dut.packets.valid, 1)
        ctx.set(decision.valid, 1)
        await ctx.tick()
        ctx.set(decision.valid, 0)
        found = []
        for index in range(3):
            ctx.set(dut.packets.data, 0xA0 + index)
            ctx.set(dut.packets.last, index == 2)
            await ctx.tick().until(dut.packets.ready)
            found.append(await received(ctx, dut.tx))
        ctx.set(dut.packets.valid, 0)
        found.append(await received(ctx, dut.tx))
        assert found == [0xA0, 0xA1, 0xA2, 3]
        # any byte from the host asks, once for each of its falling edges
        asked = 0
        for level in (1, 0, 0, 0, 1, 1, 1, 1):
            ctx.set(dut.rx, level)
            await ctx.tick()
            asked += ctx.get(dut.asked)
        assert asked == 1

    simulate(dut, testbench)
