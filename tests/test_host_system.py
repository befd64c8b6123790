"""boards/host_system.py: a host that sends anything at any time, with a stand-in for the engine."""

import pytest
from amaranth.sim import Simulator

from boards import packets
from boards.host_system import HostSystem
from boards.packets import Decision, Hello, Row, Setting, State
from hw.plan.engine_config import EngineConfig
from tests.test_event_system import DIVISOR, StandIn, received
from tests.test_host_link import GREY

BYTE = 10 * DIVISOR
EVENTS = (Row, State, Decision, Hello)


class Host:
    """A board's UART from outside, and an engine that answers reads of the state."""

    def __init__(self):
        self.engine = StandIn(GREY)
        self.engine.plan.engine = EngineConfig.parse("3,1,1")
        self.dut = HostSystem(rasca=self.engine, divisor=DIVISOR)
        self.levels, self.stream = [], bytearray()

    def send(self, *sent):
        """Bytes behind those that are still on their way."""
        for byte in b"".join(sent):
            bits = (0, *(byte >> i & 1 for i in range(8)), 1)
            self.levels += [bit for bit in bits for _ in range(DIVISOR)]

    async def tick(self, ctx, cycles=1):
        for _ in range(cycles):
            ctx.set(self.dut.rx, self.levels.pop(0) if self.levels else 1)
            await ctx.tick()

    async def through(self, ctx, sent=0):
        """Until all has come and been replayed, and the time of so many bytes from the board."""
        await self.tick(ctx, len(self.levels) + (12 + sent) * BYTE)

    async def row(self, ctx, group):
        ctx.set(self.engine.row.group, group)
        ctx.set(self.engine.row.valid, 1)
        await self.tick(ctx)
        ctx.set(self.engine.row.valid, 0)

    def events(self):
        """What came since the last call, but for counters."""
        decoder = packets.Decoder()
        found = [packets.parse(packet) for packet in decoder.feed(bytes(self.stream))]
        assert not decoder.errors
        self.stream.clear()
        return [event for event in found if isinstance(event, EVENTS)]

    async def _listen(self, ctx):
        while True:
            byte = await received(ctx, self.dut.tx)
            self.stream += b"" if byte is None else bytes([byte])

    async def _state(self, ctx):
        """Each word is its channel and its place."""
        state = self.engine.state
        while True:
            read = ctx.get(state.read)
            word = ctx.get(state.channel) << 8 | ctx.get(state.word) << 4
            await ctx.tick()
            ctx.set(state.valid, 0)
            if read:
                await ctx.tick().repeat(2)
                ctx.set(state.valid, 1)
                ctx.set(state.data, word)

    def run(self, testbench):
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        for other in (self._listen, self._state):
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
        await host.row(ctx, 0)
        await host.through(ctx, 40)
        host.send(packets.ask())
        await host.through(ctx, 70)
        *others, hello = host.events()
        assert isinstance(hello, Hello)
        states = [event for event in others if isinstance(event, State)]
        assert len(states) < GREY.state_channels
        host.send(wanted)
        await host.through(ctx)
        await host.row(ctx, 1)
        await host.through(ctx, 70)
        row, *states = host.events()
        assert isinstance(row, Row) and row.row_group == 1
        assert [event.channel for event in states] == [*range(GREY.state_channels)]

    host.run(testbench)
