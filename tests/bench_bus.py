"""Bench of the engine behind a bus: masters of cocotbext-axi and -wishbone (not ours) at all its
ports."""

import itertools
import json
import random
from pathlib import Path
from types import SimpleNamespace

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Lock, ReadOnly, RisingEdge, ValueChange, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSource,
)
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from hw.bus.registers import WORD, largest
from sim import runner
from tests.bench_wishbone import ACK, SIGNALS

PERIOD = 10  # ns
MAP = largest()
IRQ = {name: MAP["INTERRUPT"].field(name).mask for name in ("decision", "row", "fault", "loaded")}

LATEST = 18
"""Cycles from the write of a load's first word to the begin of a frame that then waits."""


def signed(number):
    return number - (number >> 31 << 32)


class Wishbone:
    """Registers behind Wishbone, asked as cocotbext-axi's master is: one access after the other,
    with idle cycles before so large a `share` of them."""

    def __init__(self, dut, chance):
        self.master = WishboneMaster(dut, "wb", dut.clk, timeout=2000, signals_dict=SIGNALS)
        self.master.log.setLevel("WARNING")
        self.lock, self.random, self.share = Lock(), chance, 0.0

    async def read(self, offset, size):
        return await self.access(offset, None)

    async def write(self, offset, data):
        return await self.access(offset, int.from_bytes(data, "little"))

    async def access(self, offset, data):
        idle = self.random.randrange(1, 6) if self.random.random() < self.share else 0
        async with self.lock:
            (found,) = await self.master.send_cycle([WBOp(offset // WORD, data, idle=idle)])
        answer = AxiResp.OKAY if found.ack == ACK else AxiResp.SLVERR
        return SimpleNamespace(resp=answer, data=int(found.datrd).to_bytes(WORD, "little"))


class Engine:
    """The engine, its masters, what it has said (`said`, a list of records), and whether the
    interrupt of each decision told of a fault (`faulty`)."""

    def __init__(self, dut, given, seed):
        self.dut, self.given, self.said, self.stalls = dut, given, [], 0
        self.faulty = []
        self.random = random.Random(seed)

    @classmethod
    async def begun(cls, dut, seed):
        self = cls(dut, runner.arguments(), seed)
        Clock(dut.clk, PERIOD, unit="ns").start()
        self.axi = hasattr(dut, "s_axi_awvalid")
        if self.axi:
            self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
            for half in (self.bus.write_if, self.bus.read_if):
                half.log.setLevel("WARNING")
        else:
            self.bus = Wishbone(dut, self.random)
        self.stream = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis"),
            dut.clk,
            dut.rst,
            byte_lanes=1,
        )
        self.stream.log.setLevel("WARNING")
        dut.rst.value = 1
        for _ in range(4):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        cocotb.start_soon(self.watch())
        return self

    async def watch(self):
        """Valid stays, and what goes with it, until ready; Wishbone answers a strobe, once, with
        one of both. Counts cycles in which pixels wait."""
        dut, held, answered = self.dut, {}, False
        channels = {"b": ("bresp",), "r": ("rdata", "rresp")} if self.axi else {}
        while True:
            await RisingEdge(dut.clk)
            for name, payload in channels.items():
                valid, ready = (
                    getattr(dut, f"s_axi_{name}{part}").value for part in ("valid", "ready")
                )
                now = [int(getattr(dut, f"s_axi_{one}").value) for one in payload]
                if name in held:
                    assert valid and now == held.pop(name), f"{name} was taken back"
                if valid and not ready:
                    held[name] = now
            self.stalls += not dut.s_axis_tready.value
            if not self.axi and not dut.rst.value:
                ack, err = bool(dut.wb_ack.value), bool(dut.wb_err.value)
                strobe = bool(dut.wb_cyc.value and dut.wb_stb.value)
                assert not (ack and err) and not (answered and (ack or err))
                assert strobe or not (ack or err), "an answer to nothing"
                answered = ack or err

    # ---- registers ----

    async def read(self, name, index=0):
        found = await self.bus.read(MAP[name].offset + 4 * index, 4)
        assert found.resp == AxiResp.OKAY
        return int.from_bytes(found.data, "little")

    async def write(self, name, value):
        data = (value & 0xFFFFFFFF).to_bytes(4, "little")
        assert (await self.bus.write(MAP[name].offset, data)).resp == AxiResp.OKAY

    async def field(self, name, field):
        one = MAP[name].field(field)
        return (await self.read(name) & one.mask) >> one.low

    async def until(self, name, field, value=1):
        while await self.field(name, field) != value:
            pass

    async def logits(self, name):
        return [signed(await self.read(name, i)) for i in range(self.given["classes"])]

    async def state(self):
        """Columns of each channel."""
        found, size = [], await self.read("STATE_WORD")
        for channel in range(self.given["channels"]):
            data = b""
            for word in range(-(-self.given["columns"] // size)):
                await self.write("STATE_SELECT", channel | word << 16)
                await self.until("STATUS", "state_valid")
                parts = [await self.read("STATE_DATA", i) for i in range(-(-size // 4))]
                data += b"".join(part.to_bytes(4, "little") for part in parts)[:size]
            found.append([byte - (byte >> 7 << 8) for byte in data[: self.given["columns"]]])
        return found

    async def listen(self, decisions):
        """Follows the interrupt; returns after so many decisions."""
        await self.write("INTERRUPT_MASK", IRQ["row"] | IRQ["decision"])
        rows = 0
        while decisions:
            while not self.dut.irq.value:
                await ValueChange(self.dut.irq)
            seen = await self.read("INTERRUPT")
            await self.write("INTERRUPT", seen)
            if seen & IRQ["row"]:
                rows += 1
                count, group = await self.read("ROWS"), await self.read("ROW")
                record = {"logits": await self.logits("ROW_LOGIT"), "state": await self.state()}
                assert not await self.field("STATUS", "state_stale")
                assert await self.read("ROWS") == count == rows
                self.said.append({"kind": "row", "group": group, **record})
            if seen & IRQ["decision"]:
                decisions -= 1
                self.faulty.append(bool(seen & IRQ["fault"]))
                self.said.append({"kind": "decision", **await self.decision()})

    async def decided(self, count):
        """Waits until so many decisions have been read."""
        while sum(one["kind"] == "decision" for one in self.said) < count:
            await RisingEdge(self.dut.clk)

    async def decision(self):
        fields = {name: await self.field("DECISION", name) for name in ("index", "status")}
        used = await self.field("DECISION", "rows_used")
        return fields | {"rows_used": used, "logits": await self.logits("DECISION_LOGIT")}

    # ---- pixels ----

    async def send(self, picture, lines=None, order=(0, 1, 2)):
        """A picture of bytes (h, w, channels); returns when it is sent."""
        for number, line in enumerate(picture[:lines]):
            words = [sum(pixel[c] << 8 * i for i, c in enumerate(order)) for pixel in line]
            start = [int(number == 0)] + [0] * (len(words) - 1)
            await self.stream.send(AxiStreamFrame(words, tuser=start))
        await self.stream.wait()

    def irregular(self, share):
        """Every master waits at random in so large a share of the cycles."""
        masters = [self.stream]
        if self.axi:
            writes, reads = self.bus.write_if, self.bus.read_if
            masters += [writes.aw_channel, writes.w_channel, writes.b_channel]
            masters += [reads.ar_channel, reads.r_channel]
        else:
            self.bus.share = share
        for one in masters:
            one.set_pause_generator(self.random.random() < share for _ in itertools.count())

    def pictures(self):
        return self.given["pictures"]

    async def load(self, image):
        """A weights image through the registers."""
        for at in range(0, len(image), 4):
            if at == 4:  # the first word waits for the engine
                await self.until("STATUS", "loading")
            await self.write("LOAD_DATA", int.from_bytes(image[at : at + 4], "little"))

    def done(self, name, **more):
        record = {"said": self.said, "stalls": self.stalls, **more}
        Path(self.given["folder"], f"{name}.json").write_text(json.dumps(record))

    async def counters(self):
        names = ("dropped", "overrun", "truncated", "line", "restart")
        return {name: await self.read(f"COUNT_{name.upper()}") for name in names}


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def photographs(dut):
    """Frame after frame as fast as there is room, registers read all the while."""
    engine = await Engine.begun(dut, 1)
    listening = cocotb.start_soon(engine.listen(2 * len(engine.pictures())))
    asked = stale = 0

    async def hammer():
        nonlocal asked, stale
        while True:
            stale += await engine.field("STATUS", "state_stale")
            name = engine.random.choice(["ID", "CONFIG_DIGEST", "IMAGE", "WEIGHTS_BYTES"])
            assert await engine.read(name) == engine.given["constants"][name]
            asked += 1

    asking = cocotb.start_soon(hammer())
    for picture in engine.pictures():
        await engine.send(picture)
    engine.irregular(0.4)
    await engine.write("CONTROL", MAP["CONTROL"].field("video_order").mask)
    for picture in engine.pictures():
        await engine.send(picture, order=(1, 2, 0))
    await listening
    asking.cancel()
    frames = await engine.read("FRAMES")
    counters = await engine.counters()
    engine.done("photographs", counters=counters, asked=asked, stale=stale, frames=frames)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def faults(dut):
    """A camera that does not wait, frames that are cut short, thresholds; unknown addresses."""
    engine = await Engine.begun(dut, 3)
    picture = engine.pictures()[0]
    found = await engine.bus.read(MAP["STATE_DATA"].end + 16, 4)
    assert found.resp == AxiResp.SLVERR and not any(found.data)
    written = await engine.bus.write(MAP["STATE_DATA"].end + 16, b"abcd")
    assert written.resp == AxiResp.SLVERR
    await engine.write("ID", 0)  # ignored
    assert await engine.read("ID") == engine.given["constants"]["ID"]
    await engine.write("STOP_THRESHOLD", 0x11223344)
    await engine.bus.write(MAP["STOP_THRESHOLD"].offset + 1, b"\xaa")  # a byte
    assert await engine.read("STOP_THRESHOLD") == 0x1122AA44

    listening = cocotb.start_soon(engine.listen(4))
    await engine.send(picture, lines=3)
    await engine.send(picture)
    await engine.decided(2)
    counts = [await engine.counters()]
    await engine.write("CONTROL", MAP["CONTROL"].field("camera").mask)
    for _ in range(4):
        await RisingEdge(dut.clk)
    stalls = engine.stalls
    await engine.send(picture)
    assert engine.stalls == stalls, "a camera was made to wait"
    await engine.decided(3)
    counts.append(await engine.counters())
    await engine.write("STOP_THRESHOLD", -(2**31))
    await engine.write("CONTROL", MAP["CONTROL"].field("stop_enable").mask)
    await engine.send(picture)
    await listening
    await ReadOnly()
    engine.done("faults", counters=counts, faulty=engine.faulty)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def weights(dut):
    """Other weights while a frame is worked on; a load without room, one that is given up.

    Behind it only what begins with a load: a reset leaves what the memories hold.
    """
    engine = await Engine.begun(dut, 2)
    image, picture = bytes.fromhex(engine.given["image"]), engine.pictures()[0]
    listening = cocotb.start_soon(engine.listen(2))
    before = await engine.read("WEIGHTS_DIGEST")
    await engine.send(picture)
    assert await engine.field("STATUS", "busy")
    await engine.write("LOAD_DATA", int.from_bytes(image[:4], "little"))
    assert not await engine.field("STATUS", "load_room")
    await engine.write("LOAD_DATA", 0)
    lost = await engine.field("STATUS", "load_lost")
    await engine.write("LOAD_CONTROL", 0)  # nothing is given up
    assert await engine.field("STATUS", "load_lost")
    await engine.write("LOAD_CONTROL", 1)
    assert not await engine.field("STATUS", "load_lost")
    assert await engine.field("STATUS", "load_room")
    assert await engine.read("WEIGHTS_DIGEST") == before
    # one word short of the whole, given up: after a word, and a byte before the end
    errors = []
    for length in (4, len(image) - len(image) % 4 - 4):
        await engine.load(image[:length])
        await engine.until("STATUS", "load_room")
        await engine.write("LOAD_CONTROL", 1)
        await engine.until("STATUS", "loading", 0)
        errors.append(await engine.field("STATUS", "load_error"))
        assert await engine.read("WEIGHTS_DIGEST") == 0
    sending = cocotb.start_soon(engine.send(picture))  # it waits for weights
    await engine.write("INTERRUPT", 15)
    await engine.load(image)
    while not await engine.read("WEIGHTS_DIGEST"):
        pass
    happened = await engine.read("INTERRUPT")
    await sending
    await listening
    after = await engine.read("WEIGHTS_DIGEST")
    engine.done(
        "weights",
        digests=[before, after],
        lost=lost,
        errors=errors,
        loaded=bool(happened & IRQ["loaded"]),
        error=await engine.field("STATUS", "load_error"),
        counters=await engine.counters(),
    )


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def hold(dut):
    """A load and a frame that begin at about the same time, the frame a cycle later each time."""
    engine = await Engine.begun(dut, 4)
    images = [bytes.fromhex(engine.given[name]) for name in ("image", "first_image")]
    picture, decisions = engine.pictures()[0], []
    await engine.load(images[1])
    await engine.until("STATUS", "loaded")
    await engine.until("STATUS", "loading", 0)

    async def late(cycles):
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        await engine.send(picture)

    for cycles in range(LATEST):
        sending = cocotb.start_soon(late(cycles))
        await engine.load(images[cycles % 2])
        await sending
        await engine.until("STATUS", "loading", 0)
        while await engine.read("FRAMES") == cycles:
            pass
        decisions.append(await engine.decision())
    engine.done("hold", decisions=decisions, counters=await engine.counters())


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def cut_short(dut):
    """A load behind a frame that was cut short: the next frame's first pixel ends it, and waits."""
    engine = await Engine.begun(dut, 5)
    images = [bytes.fromhex(engine.given[name]) for name in ("image", "first_image")]
    picture, decisions = engine.pictures()[0], []
    await engine.load(images[0])
    await engine.until("STATUS", "loading", 0)
    for lines, image in ((1, images[1]), (3, images[0])):
        count = await engine.read("FRAMES")
        await engine.send(picture, lines=lines)
        sending = cocotb.start_soon(engine.send(picture))
        await with_timeout(engine.load(image), 100, "us")
        while await engine.read("FRAMES") == count:
            pass
        decisions.append(await engine.decision())
        await sending
        while await engine.read("FRAMES") == count + 1:
            pass
        decisions.append(await engine.decision())
    engine.done("cut_short", decisions=decisions, counters=await engine.counters())
