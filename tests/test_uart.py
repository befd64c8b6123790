"""boards/uart.py: alone, back to back, against a third party's model, and what can go wrong."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards.held import Held
from boards.uart import BYTE_BITS, UartReceiver, UartTransmitter, baud_divisor
from sim import runner

DIVISORS = [4, 5, 12, 25]


def simulate(dut, *testbenches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()


class Both(wiring.Component):
    """A transmitter and a receiver on pins of their own."""

    def __init__(self, divisor):
        self.transmitter = UartTransmitter(divisor=divisor)
        self.receiver = UartReceiver(divisor=divisor)
        super().__init__(
            {
                "valid": In(1),
                "data": In(8),
                "ready": Out(1),
                "tx": Out(1),
                "rx": In(1),
                "got": Out(1),
                "byte": Out(8),
                "glitch": Out(1),
                "framing": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = t = self.transmitter
        m.submodules.receiver = r = self.receiver
        m.d.comb += [
            t.valid.eq(self.valid),
            t.data.eq(self.data),
            self.ready.eq(t.ready),
            self.tx.eq(t.pin),
            r.pin.eq(self.rx),
            self.got.eq(r.valid),
            self.byte.eq(r.data),
            self.glitch.eq(r.glitch),
            self.framing.eq(r.framing),
        ]
        return m


@pytest.mark.parametrize("divisor", DIVISORS)
def test_transmitter(divisor):
    """Every bit of every cycle; bytes without a gap, and with gaps."""
    dut = UartTransmitter(divisor=divisor)
    source = random.Random(divisor)
    sent = [(source.randrange(256), source.choice([0, 0, 1, 3, 50])) for _ in range(20)]
    expected = [1]  # the pin is registered
    for byte, gap in sent:
        bits = [0, *(byte >> i & 1 for i in range(8)), 1]
        expected += [1] * gap + [bit for bit in bits for _ in range(divisor)]

    async def testbench(ctx):
        seen = []
        for byte, gap in sent:
            for _ in range(gap):
                assert ctx.get(dut.ready)
                seen.append(ctx.get(dut.pin))
                await ctx.tick()
            ctx.set(dut.valid, 1)
            ctx.set(dut.data, byte)
            assert ctx.get(dut.ready)
            seen.append(ctx.get(dut.pin))
            await ctx.tick()
            ctx.set(dut.valid, 0)
            ctx.set(dut.data, source.randrange(256))
            for _ in range(BYTE_BITS * divisor - 1):
                assert not ctx.get(dut.ready)
                seen.append(ctx.get(dut.pin))
                await ctx.tick()
        assert seen == expected[: len(seen)]
        assert ctx.get(dut.pin) and ctx.get(dut.ready)

    simulate(dut, testbench)


def wave(bytes_, cycles):
    """The pin over time, bits of a fractional number of cycles."""
    bits = [bit for byte in bytes_ for bit in (0, *(byte >> i & 1 for i in range(8)), 1)]
    return [bits[int(at / cycles)] for at in range(int(len(bits) * cycles))]


async def play(ctx, dut, levels, found):
    for level in levels:
        ctx.set(dut.pin, level)
        await ctx.tick()
        for name in ("valid", "glitch", "framing"):
            if ctx.get(getattr(dut, name)):
                found.append(ctx.get(dut.data) if name == "valid" else name)


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("off", [-0.03, 0, 0.03])
def test_receiver(divisor, off):
    """Every byte value, back to back, from a clock that is off by more than the tolerance."""
    dut = UartReceiver(divisor=divisor)
    source = random.Random(1)
    # in four cycles the middle is known to a quarter of a bit only
    off = off if divisor > 5 else off / 2
    sent = [*range(256)] if divisor == 4 else [0, 255, 0x55, *source.randbytes(30)]

    async def testbench(ctx):
        found = []
        await play(ctx, dut, [1] * 20, found)
        await play(ctx, dut, wave(sent, divisor * (1 + off)), found)
        await play(ctx, dut, [1] * 20, found)
        assert found == sent

    simulate(dut, testbench)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_glitches(divisor):
    """Short lows and a missing stop bit are told, once each, and the next byte is right."""
    dut = UartReceiver(divisor=divisor)

    async def testbench(ctx):
        found = []
        await play(ctx, dut, [1] * 20, found)
        assert not found  # not even after reset
        await play(ctx, dut, [0] + [1] * 3 * divisor, found)
        assert found == ["glitch"]
        await play(ctx, dut, wave([0x5A], divisor), found)
        await play(ctx, dut, [1] * 20, found)
        assert found == ["glitch", 0x5A]
        await play(ctx, dut, [0] * 40 * divisor + [1] * divisor, found)
        assert found == ["glitch", 0x5A, "framing"]
        await play(ctx, dut, wave([0xC3, 0], divisor), found)
        await play(ctx, dut, [1] * 20, found)
        assert found == ["glitch", 0x5A, "framing", 0xC3, 0]

    simulate(dut, testbench)


def test_data_stays():
    """As long as the docstring says."""
    dut = UartReceiver(divisor=8)

    async def testbench(ctx):
        levels = [1] * 10 + wave([0x3C, 0xFF], 8) + [1] * 10
        held = []
        for level in levels:
            ctx.set(dut.pin, level)
            await ctx.tick()
            held.append((ctx.get(dut.valid), ctx.get(dut.data)))
        at = [i for i, (valid, _) in enumerate(held) if valid]
        assert len(at) == 2
        assert {data for _, data in held[at[0] : at[0] + dut.divisor]} == {0x3C}

    simulate(dut, testbench)


LUTS = {
    "ecp5": "module LUT4 (input A, B, C, D, output Z);\nparameter INIT = 0;\n"
    "assign Z = INIT[{D, C, B, A}];\nendmodule\n",
    "ice40": "module SB_LUT4 (input I0, I1, I2, I3, output O);\nparameter LUT_INIT = 0;\n"
    "assign O = LUT_INIT[{I3, I2, I1, I0}];\nendmodule\n",
    "gowin": "module LUT4 (input I0, I1, I2, I3, output F);\nparameter INIT = 0;\n"
    "assign F = INIT[{I3, I2, I1, I0}];\nendmodule\n",
}


@pytest.mark.parametrize("cells", [None, *LUTS])
def test_third_party(cells, tmp_path):
    """cocotbext-uart reads what we send and sends what we read."""
    divisor, sources = 5, []
    if cells:  # one that lookup tables hold, which counters of more bits count
        sources = [tmp_path / "luts.v"]
        sources[0].write_text(LUTS[cells])
    runner.simulate(
        Both(Held(cycles=divisor, most=40, cells=cells) if cells else divisor),
        "tests.bench_uart",
        arguments={"divisor": divisor, "seed": divisor, "count": 150},
        optimise="build",
        sources=sources,
    )


def test_divisor():
    assert baud_divisor(12e6, 1e6) == 12
    assert baud_divisor(48e6, 3e6) == 16
    assert baud_divisor(25e6, 115200) == 217
    for off in (0.981, 1.019):
        assert baud_divisor(25e6 * off, 1e6) == 25
    for clock, baud, text in (
        (12e6, 4e6, r"at least 4 cycles: 4e\+06 baud needs a clock of 1.6e\+07 Hz, not 1.2e\+07"),
        (12e6, 3.2e6, r"within 2 %: 1.2e\+07 Hz / 4 is -6.2 % off 3.2e\+06 baud"),
        (25e6, 3e6, r"within 2 %: 2.5e\+07 Hz / 8 is \+4.2 % off 3e\+06 baud"),
        (0, 1, "clock and baud rate must be positive, not 0 and 1"),
        (1, 0, "clock and baud rate must be positive, not 1 and 0"),
    ):
        with pytest.raises(ValueError, match=text):
            baud_divisor(clock, baud)
    for block in (UartReceiver, UartTransmitter):
        with pytest.raises(ValueError, match="divisor must be at least 4, not 3"):
            block(divisor=3)
        with pytest.raises(ValueError, match="divisor must be at least 4, not 3"):
            block(divisor=Held(cycles=3, most=9, cells="ecp5"))
    with pytest.raises(ValueError, match=r"cycles must be 0\.\.4, not 5"):
        Held(cycles=5, most=4, cells="ecp5")
    with pytest.raises(ValueError, match="cells must be one of ecp5, ice40, gowin, not 'asic'"):
        Held(cycles=5, most=5, cells="asic")
