"""Bench of the register bank: cocotbext-wishbone's master (not ours) at its bus."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from hw.bus.registers import WORD, Access, largest

MAP = largest()
SIGNALS = {
    "cyc": "cyc",
    "stb": "stb",
    "we": "we",
    "adr": "adr",
    "datwr": "dat_w",
    "datrd": "dat_r",
    "ack": "ack",
    "err": "err",
    "sel": "sel",
}
ACK, ERR = 1, 2


class Host:
    def __init__(self, dut):
        self.dut = dut
        self.master = WishboneMaster(dut, "wb_", dut.clk, timeout=60, signals_dict=SIGNALS)

    async def access(self, name, data=None, *, sel=None, reply=ACK, offset=0):
        place = (MAP[name].offset if isinstance(name, str) else name) // WORD + offset
        (found,) = await self.master.send_cycle([WBOp(place, data, sel=sel)])
        assert found.ack == reply, (name, found.ack)
        return int(found.datrd)


async def begun(dut):
    Clock(dut.clk, 10, unit="ns").start()
    for name in ("idle", "set", "frames"):
        getattr(dut, name).value = 0
    host = Host(dut)
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    return host


@cocotb.test(timeout_time=100, timeout_unit="us")
async def registers(dut):
    """Each reads as the map says, and takes what it may."""
    host = await begun(dut)
    dut.frames.value = 0x89ABCDEF
    for one in MAP.registers:
        first = await host.access(one.name)
        wanted = one.value or 0
        if one.name == "STATUS":
            wanted = one.field("load_room").mask
        if one.name == "FRAMES":
            wanted = 0x89ABCDEF
        assert first == wanted, one.name
        if one.access is Access.BOTH:
            used = sum(each.mask for each in one.fields)
            await host.access(one.name, 0xFFFFFFFF)
            assert await host.access(one.name) == used
            await host.access(one.name, 0, sel=0b0110)
            assert await host.access(one.name) == used & 0xFF0000FF
        elif one.access is Access.READ:
            await host.access(one.name, ~first & 0xFFFFFFFF)
            assert await host.access(one.name) == first
    for hole in (0x70, 0x7C, 0x140, 0x1FC):
        assert await host.access(hole, reply=ERR) == 0
        await host.access(hole, 5, reply=ERR)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def interrupt(dut):
    """A bit stays until a 1 is written to it; what happens meanwhile is not lost."""
    host = await begun(dut)
    dut.set.value = 0b0101
    await RisingEdge(dut.clk)
    dut.set.value = 0
    assert await host.access("INTERRUPT") == 0b0101
    await host.access("INTERRUPT", 0b1111, sel=0b1110)  # the other bytes
    assert await host.access("INTERRUPT") == 0b0101
    await host.access("INTERRUPT", 0b0001)
    assert await host.access("INTERRUPT") == 0b0100
    dut.set.value = 0b0100
    await host.access("INTERRUPT", 0b1111)
    dut.set.value = 0
    assert await host.access("INTERRUPT") == 0b0100


@cocotb.test(timeout_time=100, timeout_unit="us")
async def load(dut):
    """Eleven bytes in three words; a word without room; a load that is given up at every byte."""
    host = await begun(dut)
    taken = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            if dut.taken.value:
                taken.append((int(dut.data.value), int(dut.last.value)))

    cocotb.start_soon(watch())

    async def status(name):
        one = MAP["STATUS"].field(name)
        return bool(await host.access("STATUS") & one.mask)

    async def write(words):
        await host.access("LOAD_DATA", words[0])
        while not await status("loading"):
            pass
        for word in words[1:]:
            await host.access("LOAD_DATA", word)

    words = (0x04030201, 0x08070605, 0xFF0B0A09)
    whole = [(byte, int(byte == 11)) for byte in range(1, 12)]
    await host.access("LOAD_DATA", words[0])
    for _ in range(30):
        await RisingEdge(dut.clk)
    assert not taken and not await status("load_room") and not await status("load_lost")
    await host.access("LOAD_DATA", words[1])  # nobody takes it
    assert await status("load_lost") and not await status("loading")
    dut.idle.value = 1
    while not await status("loading"):
        pass
    assert await status("load_lost")
    for word in words[1:]:
        await host.access("LOAD_DATA", word)
    while await status("loading"):
        pass
    assert taken == whole
    await host.access("LOAD_CONTROL", 1)
    assert not await status("load_lost") and taken == whole

    for count in range(1, 12):  # bytes that are taken
        taken.clear()
        await write(words[: (count + 3) // 4])
        while len(taken) < count:
            await RisingEdge(dut.clk)
        dut.idle.value = 0
        await host.access("LOAD_CONTROL", 1)
        stopped = len(taken)
        dut.idle.value = 1
        for _ in range(20):
            await RisingEdge(dut.clk)
        assert await status("load_room") and not await status("loading")
        assert taken[:stopped] == whole[:stopped]
        if stopped < 11:  # never the image's length with an end there
            assert [last for _, last in taken].count(1) == 1 and taken[-1][1] == 1
            assert len(taken) == stopped + 1 + (stopped == 10)
        taken.clear()
        await write(words)
        while await status("loading"):
            pass
        assert taken == whole
