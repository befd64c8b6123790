"""boards/camera/dvp.py: pins to pixels, against the bytes counted by hand and golden.camera."""

import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.camera.dvp import DvpReceiver, times
from golden import camera
from sim.camera_models import CLOCK, HREF, VSYNC, drive

KINDS = {
    "rgb565": {"pixel_format": "rgb565"},
    "rgb565 low byte first": {"pixel_format": "rgb565_le"},
    "rgb565 falling edge": {"pixel_format": "rgb565", "falling": True},
    "rgb565 falling edge gated": {"pixel_format": "rgb565", "falling": True, "gated": True},
    "rgb565 gated": {"pixel_format": "rgb565", "gated": True, "vsync_high": False},
    "yuyv": {"pixel_format": "yuyv", "href_high": False},
    "uyvy gated": {"pixel_format": "uyvy", "gated": True},
    "yuyv one channel": {"pixel_format": "yuyv", "channels": 1, "gated": True},
    "uyvy one channel": {"pixel_format": "uyvy", "channels": 1},
    "grey": {"pixel_format": "grey8", "vsync_high": False, "href_high": False},
    "grey gated": {"pixel_format": "grey8", "gated": True, "href_high": False},
    "grey nibbles": {"pixel_format": "grey8", "data_bits": 4, "vsync_high": False, "gated": True},
    "grey low nibble first": {"pixel_format": "grey8", "data_bits": 4, "msb_first": False},
    "grey bits": {"pixel_format": "grey8", "data_bits": 1},
    "grey low bit first": {
        "pixel_format": "grey8",
        "data_bits": 1,
        "msb_first": False,
        "gated": True,
    },
}


class Bench(wiring.Component):
    """A receiver whose clock the test moves by hand."""

    def __init__(self, receiver):
        super().__init__({})
        self.receiver = receiver
        self.clock = ClockDomain("camera", reset_less=True, clk_edge=receiver.edge)

    def elaborate(self, platform):
        m = Module()
        m.domains += self.clock
        m.submodules += self.receiver
        return m


def receive(receiver, words):
    """What comes out, with the number of the clock after which it stands there."""
    bench = Bench(receiver)
    found, clocks = [], 0
    simulator = Simulator(bench)

    async def testbench(ctx):
        nonlocal clocks

        def look():
            nonlocal clocks
            out = receiver.o
            if ctx.get(out.frame_end):
                found.append((clocks, "end"))
            if ctx.get(out.valid):
                names = ("red", "green", "blue", "sof", "sol")
                found.append((clocks, tuple(ctx.get(getattr(out, name)) for name in names)))
            clocks += 1

        pins = receiver.vsync, receiver.href, receiver.data
        await drive(ctx, words, 1e-8, bench.clock.clk, *pins, look, receiver.edge == "neg")

    simulator.add_testbench(testbench)
    simulator.run()
    return found


def expected(receiver, words):
    """The documentation, clock by clock, with the clock at which each event must stand there.

    A frame's end comes when VSYNC begins (seen at a clock), with a gated clock at the first clock
    after it; bytes count from the line's beginning.
    """
    found, clocks = [], 0
    before, running, low, data, sof = receiver.gated, False, True, [], False
    vsync_seen, line, first = True, [], False
    bits, fmt = receiver.data_bits, receiver.pixel_format
    colour = receiver.channels == 3
    unit = camera.UNITS[fmt]
    for word in words.tolist():
        vsync = bool(word & VSYNC) == receiver.vsync_high
        href = bool(word & HREF) == receiver.href_high
        vsync_seen |= vsync
        low |= vsync or not href
        if not word & CLOCK:
            continue
        active = href and not vsync
        fresh = vsync_seen if receiver.gated else vsync
        if fresh and not before:
            # with YUV in colour it waits for the pair's second pixel
            found.append((clocks + receiver.latency - 1 + receiver.converts, "end"))
            sof = True
        before = fresh
        begins = low if receiver.gated else not running
        running, low, vsync_seen = active, not active, vsync  # as the pins still are
        if active:
            if begins:
                data, line, first = [], [], True
            line.append(word >> 8 & (1 << bits) - 1)
            if len(line) == 8 // bits:
                order = line[::-1] if receiver.msb_first else line
                data.append(sum(v << bits * i for i, v in enumerate(order)))
                line = []
                at, pixels = clocks + receiver.latency - 1, []
                if fmt in ("yuyv", "uyvy") and not colour:  # Y alone, as soon as it is there
                    if len(data) % 2 == (fmt == "yuyv"):
                        pixels = [[data[-1]] * 3]
                elif len(data) == unit:
                    shown = np.array([data], dtype=np.uint8)
                    pixels, data = camera.decode(shown, fmt)[0].tolist(), []
                for i, pixel in enumerate(pixels):
                    found.append((at + i, (*pixel, int(sof), int(first))))
                    sof = first = False
        clocks += 1
    # an end and a pixel in the same clock: the end is first
    found.sort(key=lambda event: (event[0], event[1] != "end"))
    return [event for event in found if event[0] < clocks]


def noise(receiver, seed, count=1500):
    """Lines of all lengths, VSYNC where it falls, clocks missing: pin words by chance."""
    source = random.Random(seed)
    words, href, vsync = [], False, False
    still = 0
    for _ in range(count):
        href ^= source.random() < (0.05 if href else 0.25)
        vsync ^= source.random() < (0.3 if vsync else 0.01)
        if still:
            still -= 1
        elif source.random() < 0.01:
            still = source.randrange(20)
        clock = not still and (href or not receiver.gated or source.random() < 0.2)
        word = source.choice([0, 255, source.getrandbits(8)]) << 8
        word |= CLOCK * clock
        word |= VSYNC * (vsync == receiver.vsync_high) | HREF * (href == receiver.href_high)
        words.append(word)
    return np.array(words)


@pytest.mark.parametrize("kind", KINDS)
def test_receiver(kind):
    """Everything by chance: each pixel, mark and end in its clock."""
    receiver = DvpReceiver(**KINDS[kind])
    words = noise(receiver, 1)
    got, right = receive(receiver, words), expected(receiver, words)
    assert got == right
    pixels = [e for _, e in right if e != "end"]
    assert len(pixels) > 20 and sum(p[3] for p in pixels) > 1 and len(right) - len(pixels) > 1
    assert sum(p[4] for p in pixels) > 4


def test_no_frame_before_vsync():
    """Power-up in the middle of a frame: pixels, but no beginning of a frame."""
    for gated in (False, True):
        receiver = DvpReceiver(pixel_format="grey8", gated=gated)
        line = [CLOCK | HREF | value << 8 for value in range(5)] + [0 if gated else CLOCK] * 3
        words = np.array(line * 2 + [VSYNC | (0 if gated else CLOCK)] * 3 + line * 2)
        pixels = [e for _, e in receive(receiver, words) if e != "end"]
        assert [p[3] for p in pixels].index(1) == 10 and sum(p[3] for p in pixels) == 1


def test_differences_are_seen():
    receiver = DvpReceiver(**KINDS["yuyv"])
    words = noise(receiver, 0)
    words[700] ^= 1 << 13
    changed = words.copy()
    changed[:] ^= 1 << 15
    assert receive(receiver, words) != expected(receiver, changed)


@pytest.mark.parametrize("factor", [1, 2, 3, 88, 183, 255, 359, 454])
def test_times(factor):
    m, value, product = Module(), Signal(signed(8)), Signal(signed(20))
    m.d.comb += product.eq(times(value, factor))
    simulator = Simulator(m)

    async def testbench(ctx):
        for x in range(-128, 128):
            ctx.set(value, x)
            assert ctx.get(product) == x * factor

    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"pixel_format": "rgb555"},
            "pixel_format must be one of rgb565, rgb565_le, yuyv, uyvy, grey8, not 'rgb555'",
        ),
        ({"pixel_format": "grey8", "channels": 4}, "channels must be 1 or 3, not 4"),
        (
            {"pixel_format": "rgb565", "channels": 1},
            "pixel_format must be yuyv, uyvy or grey8 for one channel, not rgb565",
        ),
        ({"pixel_format": "grey8", "data_bits": 2}, "data_bits must be 8, 4 or 1, not 2"),
        ({"pixel_format": "yuyv", "data_bits": 4}, "data_bits must be 8 with yuyv, not 4"),
    ],
)
def test_errors(wrong, message):
    with pytest.raises(ValueError) as error:
        DvpReceiver(**wrong)
    assert str(error.value) == message
