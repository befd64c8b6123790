"""boards/event_system.py: the bytes of a small board, with a stand-in for the engine."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.event_system import EventSystem
from boards.flash import FlashLoader
from boards.host import said_byte
from boards.packets import Byte, Problem, class_byte
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

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
