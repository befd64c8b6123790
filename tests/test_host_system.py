"""boards/host_system.py: a host that sends anything at any time, with a stand-in for the engine."""

import zlib

import pytest
from amaranth.sim import Simulator

from boards import packets
from boards.flash import FlashLoader, flash_image
from boards.host_system import HostSystem
from boards.packets import Counters, Hello, Row, Setting, State, Taken
from hw.plan.engine_config import EngineConfig
from tests.test_event_system import DIVISOR, SpiFlash, StandIn
from tests.test_host_link import GREY

BYTE = 10 * DIVISOR


class Host:
    """A board's UART from outside; an engine that answers reads of the state, each with its channel
    and place, and takes weights while no frame is open."""

    def __init__(self, flash=None):
        self.engine = StandIn(GREY)
        self.engine.plan.engine = EngineConfig.parse("3,1,1")
        self.dut = HostSystem(rasca=self.engine, divisor=DIVISOR, flash=flash)
        self.levels, self.seen, self.reads = [], bytearray(), [None] * 3
        self.opened, self.loaded = False, bytearray()

    def send(self, *sent):
        """Bytes behind those that are still on their way."""
        for byte in b"".join(sent):
            bits = (0, *(byte >> i & 1 for i in range(8)), 1)
            self.levels += [bit for bit in bits for _ in range(DIVISOR)]

    async def tick(self, ctx, cycles=1):
        engine, pixels, load = self.engine, self.engine.pixels, self.engine.load
        for _ in range(cycles):
            ctx.set(self.dut.rx, self.levels.pop(0) if self.levels else 1)
            self.seen.append(ctx.get(self.dut.tx))
            state, answer = engine.state, self.reads.pop(0)
            ctx.set(state.valid, answer is not None)
            ctx.set(state.data, answer or 0)
            word = ctx.get(state.channel) << 8 | ctx.get(state.word) << 4
            self.reads.append(word if ctx.get(state.read) else None)
            ctx.set(load.ready, not self.opened)
            if ctx.get(load.valid) and not self.opened:
                self.loaded.append(ctx.get(load.data))
            first = ctx.get(pixels.valid) and ctx.get(pixels.sof)
            self.opened = bool(first or (self.opened and not ctx.get(pixels.frame_end)))
            await ctx.tick()

    async def through(self, ctx, sent=0):
        """Until all has come and been replayed, and the time of so many bytes from the board."""
        await self.tick(ctx, len(self.levels) + (12 + sent) * BYTE)

    async def pulse(self, ctx, *signals):
        for signal in signals:
            ctx.set(signal, 1)
        await self.tick(ctx)
        for signal in signals:
            ctx.set(signal, 0)

    def events(self):
        """What came since the last call, but for counters."""
        found, decoder, place = bytearray(), packets.Decoder(), 0
        while (start := self.seen.find(b"\0", place)) >= 0:
            middles = self.seen[start + DIVISOR // 2 :: DIVISOR][:10]
            found.append(sum(bit << i for i, bit in enumerate(middles[1:9])))
            assert middles[9]
            place = start + BYTE - DIVISOR // 2
        self.seen.clear()
        events = [packets.parse(packet) for packet in decoder.feed(bytes(found))]
        assert not decoder.errors
        return [event for event in events if not isinstance(event, Counters)]

    def run(self, testbench, *others):
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        for other in others:
            simulator.add_testbench(other, background=True)
        simulator.run()


@pytest.mark.parametrize("cycles", [100, 700, 1300])
def test_settings_end_the_state(cycles):
    """Settings without STATE while the state leaves: the link goes on, the next state is whole."""
    host = Host()

    async def testbench(ctx):
        wanted = packets.settings(Setting.HOST | Setting.STATE)
        host.send(wanted)
        await host.through(ctx, 31)
        host.events()
        host.send(packets.settings(Setting(0)))
        await host.tick(ctx, len(host.levels) - cycles)
        await host.pulse(ctx, host.engine.row.valid)
        await host.through(ctx, 40)
        host.send(packets.ask())
        await host.through(ctx, 70)
        *others, hello = host.events()
        assert isinstance(hello, Hello)
        states = [event for event in others if isinstance(event, State)]
        assert len(states) < GREY.state_channels
        host.send(wanted)
        await host.through(ctx)
        ctx.set(host.engine.row.group, 1)
        await host.pulse(ctx, host.engine.row.valid)
        await host.through(ctx, 70)
        row, *states = host.events()
        assert isinstance(row, Row) and row.row_group == 1
        assert [event.channel for event in states] == [*range(GREY.state_channels)]

    host.run(testbench)


LINE = packets.line(bytes(GREY.image_width), first=True)


def test_weights_end_a_frame():
    """They come in the middle of a host's frame, whose lines could come no more: they are taken,
    and the link goes on."""
    host = Host()

    async def testbench(ctx):
        host.send(packets.settings(Setting.HOST), LINE)
        await host.through(ctx)
        assert host.opened
        host.send(*packets.weights(b"weights", chunk=9), packets.settings(Setting.ECHO))
        await host.through(ctx, 40)
        assert host.loaded == b"weights"
        assert Taken(flags=Setting.ECHO) in host.events()

    host.run(testbench)


def test_another_source_ends_a_frame():
    """The camera's, or that of a host that is gone."""
    host = Host()
    camera = host.dut.camera.pixels

    async def testbench(ctx):
        await host.pulse(ctx, camera.valid, camera.sof)
        assert host.opened
        host.send(packets.settings(Setting.HOST))
        await host.through(ctx)
        assert not host.opened
        host.send(LINE)
        await host.through(ctx)
        assert host.opened
        host.send(packets.settings(Setting(0)))
        await host.through(ctx)
        assert not host.opened

    host.run(testbench)


def test_reload_ends_a_frame():
    """Weights are read anew from the flash in the middle of a frame of the camera's."""
    image = b"weights!"
    flash = FlashLoader(length=8, config="5a" * 32, divisor=2, wake_cycles=2, tries=1)
    host = Host(flash)
    there = SpiFlash(host.dut.spi, flash_image(image, "5a" * 32))
    camera = host.dut.camera.pixels

    async def testbench(ctx):
        ctx.set(host.engine.weights_digest, zlib.crc32(image))
        while ctx.get(flash.busy):
            await host.tick(ctx)
        await host.pulse(ctx, camera.valid, camera.sof)
        assert host.opened
        await host.pulse(ctx, host.dut.reload)
        await host.tick(ctx, 1000)
        assert ctx.get(flash.ready) and host.loaded == 2 * image

    host.run(testbench, there.run)
