"""boards/link/: each part of the host link alone, against what its documentation says."""

import itertools
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from amaranth.hdl import Const, Module
from amaranth.sim import Simulator

from boards import packets
from boards.host_link import HostLink
from boards.link.copier import Copier, StateBytes
from boards.link.counters import CounterKeeper
from boards.link.events import Events, class_byte
from boards.link.memory import BLOCK_BYTES, HEADER, ROTATION, SLOTS, Layout, LinkMemory, room
from boards.link.parser import Parser, what
from boards.link.replay import Replay
from boards.link.sender import PACKETS, Sender
from boards.packets import COUNTERS, Counters, Decision, Hello, Kind, Row, Setting, State
from hw.plan.engine_config import EngineConfig
from tests.bench_blocks import on_amaranth, pack
from tests.test_host_link import COLOUR, GREY, SHAPE

LAYOUT = Layout(buffer=83, event_bytes=16, state_bytes=13)


def simulate(dut, testbench, *others, memory=None):
    """The test, others beside it; the memory is the first in each cycle."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    if memory is not None:
        simulator.add_testbench(memory.run, background=True)
    simulator.add_testbench(testbench)
    for other in others:
        simulator.add_testbench(other, background=True)
    simulator.run()


async def pulse(ctx, signal):
    """A cycle of it."""
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


class Bytes:
    """A stand-in for LinkMemory: gives a part its phase, takes its writes, answers its reads."""

    def __init__(self, dut, *, turn, writes=None, init=b"", depth=None):
        self.dut, self.turn, self.cycle = dut, turn, 0
        self.writes = turn if writes is None else writes
        self.data = bytearray(init) or bytearray(depth)
        self.written = []

    async def run(self, ctx):
        """Beside the test: takes a write at once, gives a read in `data` and `late`."""
        dut, late, now = self.dut, 0, 0
        while True:
            phase = self.cycle % ROTATION
            ctx.set(dut.phase, phase)
            if hasattr(dut, "data"):
                ctx.set(dut.data, now)
            if hasattr(dut, "late"):
                ctx.set(dut.late, late)
            late, place = now, 0
            if phase == self.writes and hasattr(dut, "write") and ctx.get(dut.write.en):
                self.written.append((ctx.get(dut.write.addr), ctx.get(dut.write.data)))
                self.data[self.written[-1][0]] = self.written[-1][1]
            if phase == self.turn and hasattr(dut, "address"):
                place = ctx.get(dut.address)
            now = self.data[place]
            await ctx.tick()
            self.cycle += 1


# ---- memory ----


@pytest.mark.parametrize("buffer", [9, 83, 105, 720])
@pytest.mark.parametrize("classes", [2, 3, 6, 16])
@pytest.mark.parametrize("state", [9, 13, 60, 257])
def test_layout(buffer, classes, state):
    """Packets lie above the payload, each at a multiple of its room, none in another."""
    layout = Layout(buffer=buffer, event_bytes=8 + 4 * classes, state_bytes=state)
    slot = layout.slot_room
    assert slot == room(8 + 4 * classes) >= 8 + 4 * classes > slot // 2
    places = [(layout.slots + i * slot, slot) for i in range(SLOTS)]
    places += [(layout.hello, BLOCK_BYTES), (layout.counters, BLOCK_BYTES)]
    places += [(layout.state, room(state)), (layout.taken, 16)]
    assert all(place % size == 0 for place, size in places)
    ends = [(place, place + size) for place, size in sorted(places)]
    assert all(end <= following for (_, end), (following, _) in pairwise(ends))
    assert buffer <= ends[0][0] == layout.lowest and ends[-1][1] == layout.depth
    assert layout.depth == room(layout.depth) < 2 * (buffer + sum(size for _, size in places))


def test_memory():
    """Each user has its phase: others' writes and addresses do nothing there."""
    source = random.Random(1)
    dut = LinkMemory(depth=32, init=range(32))
    writes = ("parser_write", "copier_write", "counters_write", "replay_write")
    reads = ("replay_address", "sender_address", "counters_address")

    async def testbench(ctx):
        model, coming, data = list(range(32)), None, None
        for cycle in range(600):
            phase = cycle % ROTATION
            assert ctx.get(dut.phase) == phase
            if data is not None:  # what was read a cycle before, and what two
                assert ctx.get(dut.data) == data
            for name in writes:
                port = getattr(dut, name)
                for signal in (port.en, port.addr, port.data):
                    ctx.set(signal, source.getrandbits(8))
            for name in reads:
                ctx.set(getattr(dut, name), source.randrange(32))
            data = write = None
            if phase < len(reads):
                place = ctx.get(getattr(dut, reads[phase]))
                # what is just being written may be anything
                data = model[place] if not coming or coming[0] != place else None
            port = getattr(dut, writes[phase])
            write = (ctx.get(port.addr), ctx.get(port.data)) if ctx.get(port.en) else None
            if coming:
                model[coming[0]] = coming[1]
            coming, before = write, ctx.get(dut.data)
            await ctx.tick()
            assert ctx.get(dut.late) == before

    simulate(dut, testbench)


# ---- parser ----


async def feed(ctx, parser, data, gap=2 * ROTATION):
    """Bytes as a UART brings them."""
    for byte in data:
        ctx.set(parser.rx_valid, 1)
        ctx.set(parser.rx_data, byte)
        await ctx.tick()
        ctx.set(parser.rx_valid, 0)
        for _ in range(gap - 1):
            await ctx.tick()


def parsed(script, waiting=0, started=0):
    """Payloads, asks and refusals that bytes lead to; None in the script: noise."""
    dut, found = Parser(layout=LAYOUT), []
    memory = Bytes(dut, turn=0, depth=LAYOUT.depth)
    payload = dut.payload

    async def testbench(ctx):
        ctx.set(payload.waiting, waiting)
        ctx.set(payload.started, started)
        for data in script:
            if data is None:
                ctx.set(dut.rx_error, 1)
                await ctx.tick()
                ctx.set(dut.rx_error, 0)
            else:
                await feed(ctx, dut, data)

    async def watch(ctx):
        while True:
            await ctx.tick()
            if ctx.get(payload.valid):
                end = ctx.get(payload.end)
                flags = ctx.get(payload.first) | ctx.get(payload.last) << 1
                found.append((ctx.get(payload.what), flags, bytes(memory.data[:end])))
            if ctx.get(dut.asked):
                found.append("asked")
            if ctx.get(dut.refused):
                found.append("refused")

    simulate(dut, testbench, watch, memory=memory)
    return found


def test_parser():
    """Every kind with its payload in the memory; noise before and after is nobody's."""
    line = bytes(range(83))
    found = parsed(
        [b"abc", packets.ask(), packets.line(line, first=True), b"x", packets.line(b"1", last=True)]
        + packets.weights(b"weights", chunk=9)
        + [packets.settings(Setting.HOST, stop=-2)]
    )
    settings = b"\xfe\xff\xff\xff\0\0\0\0\x09"
    assert found == [
        "asked",
        (what(Kind.LINE), 1, line),
        (what(Kind.LINE), 2, b"1"),
        (what(Kind.WEIGHTS), 2, b"weights"),
        (what(Kind.SETTINGS), 0, settings),
    ]


def test_parser_refuses():
    """What is wrong is told once and does nothing; an error of the line is the UART's to count."""
    good = packets.line(b"12345")
    for place in range(1, len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1
        # what a wrong length leaves open is closed by noise
        found = parsed([bytes(damaged), bytes(300), None, good])
        assert found == ["refused", (what(Kind.LINE), 0, b"12345")], place
    assert parsed([good[:5], None, good]) == [(what(Kind.LINE), 0, b"12345")]
    assert parsed([packets.encode(Kind.LINE), packets.encode(Kind.HELLO, b"1")]) == ["refused"] * 2
    too_long = packets.line(bytes(LAYOUT.lowest))
    assert parsed([too_long[:4], good]) == ["refused", (what(Kind.LINE), 0, b"12345")]
    # the payload before has not begun to leave, or is not through when this one ends
    assert parsed([good[:4]], waiting=1) == ["refused"]
    assert parsed([good], waiting=1, started=1) == ["refused"]
    assert parsed([packets.ask()], waiting=1) == ["asked"]


# ---- replay ----


async def hand(ctx, dut, memory, kind, data, first=0, last=0, limit=2000):
    """A payload, until it is through."""
    memory.data[: len(data)] = data
    given = {"what": what(kind), "first": first, "last": last, "end": len(data), "valid": 1}
    for name, value in given.items():
        ctx.set(getattr(dut.payload, name), value)
    await ctx.tick()
    ctx.set(dut.payload.valid, 0)
    for cycle in range(limit):
        if not ctx.get(dut.payload.waiting):
            return cycle
        await ctx.tick()
    raise AssertionError("it never ends")


@pytest.mark.parametrize("channels", [1, 3])
def test_replay_of_lines(channels):
    """Pixels with their marks, a byte a rotation; a line that has not begun waits."""
    dut, source = Replay(layout=LAYOUT, in_channels=channels), random.Random(channels)
    memory, seen = Bytes(dut, turn=0, depth=LAYOUT.depth), []
    line = source.randbytes(12)

    async def testbench(ctx):
        cycles = await hand(ctx, dut, memory, Kind.LINE, line, first=1)
        assert 12 * ROTATION <= cycles <= 14 * ROTATION
        await hand(ctx, dut, memory, Kind.LINE, line, last=1)
        ctx.set(dut.hold, 1)
        with pytest.raises(AssertionError):
            await hand(ctx, dut, memory, Kind.LINE, line)
        assert len(seen) == 2 * 12 // channels + 1
        ctx.set(dut.hold, 0)
        await ctx.tick().repeat(3 * ROTATION)
        ctx.set(dut.hold, 1)  # once begun, it goes on
        await ctx.tick().repeat(14 * ROTATION)
        assert not ctx.get(dut.payload.waiting) and len(seen) == 3 * 12 // channels + 1

    async def watch(ctx):
        pixels = dut.pixels
        while True:
            await ctx.tick()
            if ctx.get(pixels.valid):
                colours = [ctx.get(getattr(pixels, n)) for n in pixels.signature.colours]
                seen.append((bytes(colours), ctx.get(pixels.sof), ctx.get(pixels.eol)))
            if ctx.get(pixels.frame_end):
                seen.append("end")
            assert not ctx.get(dut.load.valid)

    simulate(dut, testbench, watch, memory=memory)
    parts = [line[i : i + channels] for i in range(0, 12, channels)]
    marked = [(p, int(i == 0), int(i == len(parts) - 1)) for i, p in enumerate(parts)]
    assert seen[: len(parts)] == marked
    plain = [(p, 0, eol) for p, _, eol in marked]
    assert seen[len(parts) :] == [*plain, "end", *plain]


def test_replay_of_settings_and_weights():
    """Thresholds are whole when they count; weights wait for the loader."""
    dut, source = Replay(layout=LAYOUT, in_channels=1), random.Random(3)
    memory = Bytes(dut, turn=0, writes=ROTATION - 1, depth=LAYOUT.depth)
    taken, limits = [], dut.thresholds
    weights = source.randbytes(40)
    echo = slice(LAYOUT.taken + HEADER, LAYOUT.taken + HEADER + packets.SETTINGS_BYTES)

    async def begins(ctx):
        await pulse(ctx, dut.taken.begun)
        await ctx.tick()

    async def ends(ctx):
        await pulse(ctx, dut.taken.sent)

    async def testbench(ctx):
        ctx.set(dut.hold, 1)  # of lines only
        for flags, stop, skip in (
            *((31, -3, 2**31 - 1), (2, 5, 0), (4, 0, 0), (0, 1, 2)),
            *((128 | 8, -(2**31), 7), (128, 0, 0), (128 | 31, 6, 5), (1, 3, 4)),
        ):
            payload = packets.settings(Setting(flags), stop=stop, skip=skip)[4:-2]
            payload = payload[:-1] + bytes([flags])
            await hand(ctx, dut, memory, Kind.SETTINGS, payload)
            found = [ctx.get(s) for s in (dut.host, dut.rows, dut.state)]
            assert found == [flags & 1, flags >> 1 & 1, flags >> 2 & flags & 1]
            assert (ctx.get(limits.stop), ctx.get(limits.skip)) == (stop, skip)
            enables = (ctx.get(limits.stop_enable), ctx.get(limits.skip_enable))
            assert enables == (flags >> 3 & 1, flags >> 4 & 1)
            # what was taken lies in its packet, which leaves if that was asked for
            assert memory.data[echo] == payload
            await ctx.tick()
            assert ctx.get(dut.taken.due) == flags >> 7
            await begins(ctx)
            assert not ctx.get(dut.taken.due)
            await ends(ctx)
        # an answer stays due, whatever comes; one that leaves is followed by another
        for flags, due in ((128, 1), (0, 1), ("begins", 0), (0, 1), ("ends", 1), ("begins", 0)):
            if flags == "begins":
                await begins(ctx)
            elif flags == "ends":
                await ends(ctx)
            else:
                await hand(ctx, dut, memory, Kind.SETTINGS, bytes(8) + bytes([flags]))
            await ctx.tick()
            assert ctx.get(dut.taken.due) == due, flags
        await ends(ctx)
        await hand(ctx, dut, memory, Kind.SETTINGS, bytes(9))
        await ctx.tick()
        assert not ctx.get(dut.taken.due)
        memory.written.clear()
        for last in (0, 1):
            await hand(ctx, dut, memory, Kind.WEIGHTS, weights, last=last)

    async def loader(ctx):
        while True:
            ready = source.getrandbits(1)
            ctx.set(dut.load.ready, ready)
            if ready and ctx.get(dut.load.valid):
                taken.append((ctx.get(dut.load.data), ctx.get(dut.load.last)))
            await ctx.tick()

    async def watch(ctx):
        """While they move, both are off."""
        before = (0, 0)
        while True:
            await ctx.tick()
            now = (ctx.get(limits.stop), ctx.get(limits.skip))
            if now != before:
                assert not ctx.get(limits.stop_enable) and not ctx.get(limits.skip_enable)
            before = now
            assert not ctx.get(dut.pixels.valid) and not ctx.get(dut.pixels.frame_end)

    simulate(dut, testbench, loader, watch, memory=memory)
    assert taken == [(b, 0) for b in weights] + [(b, int(i == 39)) for i, b in enumerate(weights)]
    assert not memory.written


# ---- state bytes ----


def state_bytes(n, channels, pixels, seed, wrong=False):
    """Scenario: channels by chance, byte by byte, some left in the middle; each byte is read from
    the engine for itself, which answers when it likes; an answer up to the cycle of the read is
    another reader's. wrong: the next column's is expected."""
    source, columns = random.Random(seed), -(-n // pixels) * pixels
    state = [[source.getrandbits(8) for _ in range(columns)] for _ in range(channels)]
    for _ in range(40):
        channel = source.randrange(channels)
        whole = source.random() < 0.7
        yield {"begin": 1, "channel": channel}
        for column in range(n if whole else source.randrange(n)):
            for _ in range(source.choice([0, 0, 3])):
                out = yield {"channel": channel}
                assert not out["valid"] and not out["state__read"]
            late, reads, given = None, 0, {"want": 1, "channel": channel}
            for cycle in itertools.count():
                answer = late == 0
                others = cycle < 2 and source.getrandbits(1)
                data = pack(state[channel][column - column % pixels :][:pixels], 8)
                noise = source.getrandbits(8 * pixels)
                out = yield given | {
                    "state__valid": answer or others,
                    "state__data": data if answer else noise,
                }
                late = None if late is None else late - 1
                if out["state__read"]:
                    place = out["state__channel"], out["state__word"]
                    assert place == (channel, column // pixels), f"byte {column}: {place}"
                    late, reads = source.choice([0, 1, 7]), reads + 1
                if out["valid"]:
                    break
            assert reads == 1
            right = state[channel][column + wrong if column + wrong < columns else 0]
            for take in (0, 0, 1):  # it stays until it is taken
                out = yield {"channel": channel, "take": take}
                assert out["valid"] and out["byte"] == right, f"byte {column}: {out['byte']}"
    yield {}


@pytest.mark.parametrize("n, channels, pixels", [(13, 5, 4), (8, 3, 8), (1, 1, 3), (15, 9, 15)])
def test_state_bytes(n, channels, pixels):
    block = StateBytes(columns=n, channels=channels, pixels=pixels)
    on_amaranth(block, state_bytes(n, channels, pixels, 3))


def test_differences_of_state_bytes_are_seen():
    with pytest.raises(AssertionError, match="byte"):
        on_amaranth(StateBytes(columns=13, channels=5, pixels=4), state_bytes(13, 5, 4, 3, True))


# ---- events, copier ----


def test_class_byte():
    """The RTL's is the packets'."""
    values = {}
    for index in range(packets.MAX_CLASSES):
        bits = max(1, index.bit_length())
        values[index] = class_byte(Const(index, bits))

    async def look(ctx):
        for index, value in values.items():
            assert ctx.get(value) == packets.class_byte(index)

    simulator = Simulator(Module())
    simulator.add_testbench(look)
    simulator.run()


def test_events():
    """What waits, what is lost; a copied event makes room."""
    dut = Events(classes=3, row_groups=4)
    waiting = dut.waiting

    async def event(ctx, signal):
        ctx.set(signal, 1)
        lost = ctx.get(dut.lost)
        assert ctx.get(waiting.changed) == ctx.get(dut.row.valid)
        await ctx.tick()
        ctx.set(signal, 0)
        return lost

    async def row(ctx):
        return await event(ctx, dut.row.valid)

    async def decide(ctx, index, used, status):
        for name, value in (("index", index), ("rows_used", used), ("status", status)):
            ctx.set(getattr(dut.decision, name), value)
        return await event(ctx, dut.decision.valid)

    async def copied(ctx, **kinds):
        ctx.set(waiting.copied, kinds)
        await ctx.tick()
        ctx.set(waiting.copied, {})

    def pending(ctx):
        found = ctx.get(waiting.pending)
        return found.row, found.decision, found.fault

    async def testbench(ctx):
        assert not await row(ctx) and pending(ctx) == (0, 0, 0)  # nobody wants rows
        ctx.set(dut.rows, 1)
        assert not await row(ctx) and pending(ctx) == (1, 0, 0) and not ctx.get(waiting.dumping)
        assert await row(ctx)  # the one before waits still
        assert not await decide(ctx, 2, 4, 0) and not await decide(ctx, 0, 0, 3)
        assert pending(ctx) == (1, 1, 1)
        assert (ctx.get(waiting.index), ctx.get(waiting.rows_used)) == (2, 4)
        assert ctx.get(waiting.status) == 3 and await decide(ctx, 0, 0, 1)
        await copied(ctx, row=1)
        assert pending(ctx) == (0, 1, 1)
        await copied(ctx, decision=1)
        await copied(ctx, fault=1)
        assert pending(ctx) == (0, 0, 0)
        await decide(ctx, 1, 1, 0)
        assert await row(ctx) and pending(ctx) == (1, 0, 0)  # its logits are gone
        await copied(ctx, row=1)
        ctx.set(dut.state, 1)
        assert not await row(ctx) and ctx.get(waiting.dumping)
        await copied(ctx, row=1)
        assert await row(ctx)
        await copied(ctx, row=1)
        await pulse(ctx, waiting.dumped)
        assert not ctx.get(waiting.dumping) and not await row(ctx)
        # a fault in the cycle of a row
        ctx.set(dut.row.valid, 1)
        assert await decide(ctx, 0, 0, 1) and await decide(ctx, 0, 0, 1)
        ctx.set(dut.row.valid, 0)
        await copied(ctx, row=1)
        assert await decide(ctx, 0, 0, 1)

    simulate(dut, testbench)


def test_events_in_their_order():
    """A fault is older than what waits if it waited as a row came, or came with it; the row group
    is that of the event."""
    dut = Events(classes=2, row_groups=4)
    waiting = dut.waiting

    async def comes(ctx, *signals, group=0, status=1):
        ctx.set(dut.row.group, group)
        ctx.set(dut.decision.status, status)
        for signal in signals:
            ctx.set(signal, 1)
        await ctx.tick()
        for signal in signals:
            ctx.set(signal, 0)
        ctx.set(dut.row.group, 3)

    async def testbench(ctx):
        row, decision = dut.row.valid, dut.decision.valid
        ctx.set(dut.rows, 1)
        for number in range(4):
            await comes(ctx, row, group=number)
            assert ctx.get(waiting.group) == number and not ctx.get(waiting.before)
        await comes(ctx, decision, status=0)
        await comes(ctx, decision)
        assert not ctx.get(waiting.before)
        await comes(ctx, row)
        assert ctx.get(waiting.before)
        await comes(ctx, decision, status=0)
        assert ctx.get(waiting.before)
        await comes(ctx, decision)  # the one before is lost
        assert not ctx.get(waiting.before)
        ctx.set(waiting.copied, {"fault": 1})
        await ctx.tick()
        ctx.set(waiting.copied, {})
        await comes(ctx, row, decision)
        assert ctx.get(waiting.before)
        await comes(ctx, row, decision, status=0)
        assert ctx.get(waiting.before)
        ctx.set(waiting.copied, {"fault": 1})
        await comes(ctx, row)  # it is being copied
        ctx.set(waiting.copied, {})
        await comes(ctx, row)
        assert not ctx.get(waiting.before)

    simulate(dut, testbench)


@pytest.mark.parametrize("classes", [2, 3, 5, 16])
def test_copier(classes):
    """Whole packets lie in the memory: rows and decisions in their slots, the state, the hello."""
    names = tuple(f"class {i}" for i in range(classes))
    model = replace(GREY, classes=names, stop_class=names[1])
    link = HostLink(model=model, engine=SHAPE)
    layout, source = link.layout, random.Random(classes)
    dut = Copier(model=model, pixels=3, layout=layout)
    memory = Bytes(dut, turn=1, init=bytes(link.contents()))
    waiting, words = dut.waiting, {}

    def at(place, event, kind):
        packet = packets.encode(kind, event.pack())[: -packets.CRC_BYTES]
        return bytes(memory.data[place : place + len(packet)]) == packet

    async def until(ctx, signal, limit=400):
        for _ in range(limit):
            if ctx.get(signal):
                return
            await ctx.tick()
        raise AssertionError("it never comes")

    async def copied(ctx, kind, **values):
        for name, value in values.items():
            ctx.set(getattr(waiting, name), value)
        ctx.set(waiting.pending, {kind: 1})
        for _ in range(500):
            done = ctx.get(waiting.copied)[kind]
            await ctx.tick()
            if done:
                break
        else:
            raise AssertionError(f"{kind} is never copied")
        ctx.set(waiting.pending, {})

    async def testbench(ctx):
        logits = [source.randrange(-(2**31), 2**31) for _ in range(classes)]
        for signal, value in zip(dut.logits, logits, strict=True):
            ctx.set(signal, value)
        ctx.set(waiting.group, 1)
        ctx.set(dut.weights_digest, 0x12345678)
        ctx.set(dut.board_status, 0x2A)
        hello = replace(link.hello(), weights=0x12345678, status=0x2A)
        await until(ctx, dut.hello.due)  # after reset
        assert at(layout.hello, hello, Kind.HELLO)
        place, room_ = layout.slots, layout.slot_room
        logits = tuple(logits)
        await copied(ctx, "row")
        assert at(place, Row(frame=0, row_group=1, logits=logits), Kind.ROW)
        index = classes - 1
        await copied(ctx, "decision", index=index, rows_used=2)
        event = Decision(frame=0, index=index, status=0, rows_used=2, logits=logits)
        assert at(place + room_, event, Kind.DECISION)
        await copied(ctx, "fault", status=4)
        event = Decision(frame=1, index=0, status=4, rows_used=0, logits=logits)
        assert at(place + 2 * room_, event, Kind.DECISION)
        await copied(ctx, "row")
        assert at(place + 3 * room_, Row(frame=2, row_group=1, logits=logits), Kind.ROW)
        # all slots are full: the next one waits
        ctx.set(waiting.pending, {"row": 1})
        await ctx.tick().repeat(60 * ROTATION)
        assert at(place, Row(frame=0, row_group=1, logits=logits), Kind.ROW)
        ctx.set(dut.slots.sent, 1)
        await ctx.tick()
        ctx.set(dut.slots.sent, 0)
        await copied(ctx, "row")
        assert at(place, Row(frame=2, row_group=1, logits=logits), Kind.ROW)
        ctx.set(waiting.dumping, 1)
        for channel in range(model.state_channels):
            data = source.randbytes(6)
            words.update(
                {(channel, i): int.from_bytes(data[3 * i :][:3], "little") for i in (0, 1)}
            )
            await until(ctx, dut.state_packet.due)
            event = State(frame=2, channel=channel, row_group=1, data=data[: model.n])
            assert at(layout.state, event, Kind.STATE)
            ctx.set(dut.state_packet.sent, 1)
            await ctx.tick()
            ctx.set(dut.state_packet.sent, 0)
        # asked for again it says what holds then, but not while one may be leaving; and once
        ctx.set(dut.weights_digest, 0x9ABCDEF0)
        ctx.set(dut.board_status, 0x15)
        ctx.set(dut.greet, 1)
        await ctx.tick()
        ctx.set(dut.greet, 0)
        await ctx.tick().repeat(20 * ROTATION)
        assert ctx.get(dut.hello.due) and at(layout.hello, hello, Kind.HELLO)
        hello = replace(hello, weights=0x9ABCDEF0, status=0x15)
        for again in (True, False):
            ctx.set(dut.hello.sent, 1)
            await ctx.tick()
            ctx.set(dut.hello.sent, 0)
            await ctx.tick().repeat(20 * ROTATION)
            assert ctx.get(dut.hello.due) == again
            assert at(layout.hello, hello, Kind.HELLO)

    async def state(ctx):
        """The engine's answers, late; and the end of the copy, which ends the wish for it."""
        answer = None
        while True:
            now, answer = answer, None
            ctx.set(dut.state.valid, now is not None)
            ctx.set(dut.state.data, now or 0)
            if ctx.get(dut.state.read):
                answer = words[ctx.get(dut.state.channel), ctx.get(dut.state.word)]
            if ctx.get(waiting.dumped):
                await ctx.tick()
                ctx.set(waiting.dumping, 0)
            else:
                await ctx.tick()

    simulate(dut, testbench, state, memory=memory)


KINDS = ("row", "decision", "fault")


class CopierBench:
    """A copier of two classes; all that it waits for is moved by hand."""

    def __init__(self):
        self.link = HostLink(model=GREY, engine=SHAPE)
        self.dut = Copier(model=GREY, pixels=3, layout=self.link.layout)
        self.memory = Bytes(self.dut, turn=1, init=bytes(self.link.contents()))

    def slot(self, number):
        """The packet in a slot."""
        layout = self.link.layout
        place = layout.slots + number % SLOTS * layout.slot_room
        return bytes(self.memory.data[place : place + layout.event_bytes])

    async def begin(self, ctx):
        """Past the hello that follows a reset."""
        await ctx.tick().repeat(15 * ROTATION)
        assert ctx.get(self.dut.hello.due)

    async def row(self, ctx, group, logits):
        """Its event, in whose cycle nothing else ends."""
        for signal, value in zip(self.dut.logits, logits, strict=True):
            ctx.set(signal, value)
        ctx.set(self.dut.waiting.changed, 1)
        assert not ctx.get(self.dut.waiting.copied.as_value())
        await ctx.tick()
        ctx.set(self.dut.waiting.group, group)
        ctx.set(self.dut.waiting.changed, 0)

    async def copied(self, ctx, kind, limit=18 * ROTATION):
        """Whether that event is copied within so many cycles; if so, it waits no more."""
        waiting = self.dut.waiting
        ctx.set(waiting.pending, {kind: 1})
        for _ in range(limit):
            done = ctx.get(waiting.copied.as_value())
            assert done in (0, 1 << KINDS.index(kind))
            await ctx.tick()
            if done:
                ctx.set(waiting.pending, {})
                return True
        return False


@pytest.mark.parametrize("kind", ["row", "decision"])
def test_a_packet_is_of_one_event(kind):
    """A row comes in any cycle of a copy: the event before it has its packet, or none."""
    bench = CopierBench()
    dut, seen = bench.dut, []
    first, second = (0x01020304, -0x01020304), (0x05060708, -0x05060708)

    def packet(row_group, logits):
        if kind == "row" or row_group:
            event = Row(frame=sum(seen) * (kind == "decision"), row_group=row_group, logits=logits)
            return packets.encode(Kind.ROW, event.pack())[: -packets.CRC_BYTES]
        event = Decision(frame=sum(seen), index=1, status=0, rows_used=0, logits=logits)
        return packets.encode(Kind.DECISION, event.pack())[: -packets.CRC_BYTES]

    async def testbench(ctx):
        await bench.begin(ctx)
        ctx.set(dut.waiting.index, 1)
        number = 0
        for cycles in (*range(6), *range(9, 53, 7), *range(54, 70)):
            await bench.row(ctx, 0, first)
            copied = await bench.copied(ctx, kind, cycles)
            await bench.row(ctx, 1, second)
            assert await bench.copied(ctx, "row")
            if copied:
                assert bench.slot(number) == packet(0, first), cycles
            seen.append(copied)
            number += copied
            assert bench.slot(number) == packet(1, second), cycles
            number += 1
            for _ in range(1 + copied):
                await pulse(ctx, dut.slots.sent)

    simulate(dut, testbench, memory=bench.memory)
    assert seen == sorted(seen) and 5 < sum(seen) < 15


def test_events_go_first():
    """In whatever phase they come, then a channel of the state, then the hello; while all slots are
    full the others do."""
    bench = CopierBench()
    dut, memory, layout = bench.dut, bench.memory, bench.link.layout
    departures = (dut.slots, dut.state_packet, dut.hello)

    async def testbench(ctx):
        await bench.begin(ctx)
        ctx.set(dut.state.valid, 1)
        await pulse(ctx, dut.hello.sent)
        for phase in range(ROTATION):
            while memory.cycle % ROTATION != phase:
                await ctx.tick()
            memory.written.clear()
            ctx.set(dut.waiting.dumping, 1)
            ctx.set(dut.greet, 1)
            assert await bench.copied(ctx, "decision")
            ctx.set(dut.greet, 0)
            await ctx.tick().repeat(25 * ROTATION)
            ctx.set(dut.waiting.dumping, 0)
            rooms = [place & -16 for place, _ in memory.written]
            order = [room for i, room in enumerate(rooms) if room not in rooms[:i]]
            slot = layout.slots + phase * layout.slot_room
            assert order == [slot, layout.state, layout.hello], phase
            for packet in departures:
                assert ctx.get(packet.due)
                await pulse(ctx, packet.sent)
        for _ in range(SLOTS):
            assert await bench.copied(ctx, "fault")
        await pulse(ctx, dut.greet)
        assert not await bench.copied(ctx, "fault")
        assert ctx.get(dut.hello.due)

    simulate(dut, testbench, memory=memory)


@pytest.mark.parametrize("before, order", [(0, "row decision fault"), (1, "fault row decision")])
def test_an_older_fault_goes_first(before, order):
    bench, seen = CopierBench(), []
    waiting = bench.dut.waiting

    async def testbench(ctx):
        await bench.begin(ctx)
        ctx.set(waiting.before, before)
        left = set(KINDS)
        while left:
            ctx.set(waiting.pending, dict.fromkeys(left, 1))
            done = ctx.get(waiting.copied.as_value())
            await ctx.tick()
            if done:
                seen.append(KINDS[done.bit_length() - 1])
                left.remove(seen[-1])
        assert [bench.slot(number)[HEADER] for number in range(3)] == [0, before, 1]

    simulate(bench.dut, testbench, memory=bench.memory)
    assert seen == order.split()


@pytest.mark.parametrize("digests", [(0, 0x12345678), (0x12345678, 0)])
def test_a_hello_is_of_one_moment(digests):
    """The weights come or go in any cycle of its copy, and the status with them."""
    bench, seen = CopierBench(), []
    dut, place = bench.dut, bench.link.layout.hello + HEADER

    def set_(ctx, number):
        ctx.set(dut.weights_digest, digests[number])
        ctx.set(dut.board_status, number)

    async def testbench(ctx):
        set_(ctx, 0)
        await bench.begin(ctx)
        for cycles in range(1, 8 * ROTATION):
            await pulse(ctx, dut.hello.sent)
            set_(ctx, 0)
            await ctx.tick().repeat(2 * ROTATION - bench.memory.cycle % ROTATION)
            await pulse(ctx, dut.greet)
            await ctx.tick().repeat(cycles)
            set_(ctx, 1)
            for _ in range(20 * ROTATION):
                if ctx.get(dut.hello.due):
                    break
                await ctx.tick()
            said = bytes(bench.memory.data[place : place + Hello.MOVING])
            number = said[-1]
            assert said == digests[number].to_bytes(4, "little") + bytes([number]), cycles
            seen.append(number)
            await ctx.tick().repeat(10 * ROTATION)
            assert bytes(bench.memory.data[place : place + Hello.MOVING]) == said
            assert ctx.get(dut.hello.due)

    simulate(dut, testbench, memory=bench.memory)
    assert seen == sorted(seen, reverse=True) and set(seen) == {0, 1}


def test_a_channel_that_nobody_wants_is_given_up():
    """In any phase of its copy: events go on, and the next state begins with its first channel."""
    bench = CopierBench()
    dut, memory, layout = bench.dut, bench.memory, bench.link.layout

    async def testbench(ctx):
        await bench.begin(ctx)
        for cycles in range(1, 8 * ROTATION):
            ctx.set(dut.state.valid, 1)
            ctx.set(dut.waiting.dumping, 1)
            while not ctx.get(dut.state_packet.due):
                await ctx.tick()
            assert memory.data[layout.state + HEADER + 1] == 0  # the channel
            await pulse(ctx, dut.state_packet.sent)
            ctx.set(dut.state.valid, 0)
            await ctx.tick().repeat(cycles)
            ctx.set(dut.waiting.dumping, 0)
            assert await bench.copied(ctx, "fault")
            await pulse(ctx, dut.slots.sent)
            assert not ctx.get(dut.state_packet.due)

    simulate(dut, testbench, memory=memory)


def test_frames_are_counted_to_256():
    """The number of a decision's packet; after 255 comes 0."""
    bench = CopierBench()

    async def testbench(ctx):
        await bench.begin(ctx)
        for number in range(257):
            assert await bench.copied(ctx, "fault")
            assert bench.slot(number)[HEADER] == number % 256
            await pulse(ctx, bench.dut.slots.sent)

    simulate(bench.dut, testbench, memory=bench.memory)


# ---- counters, sender ----


def test_counters():
    """Cleared after reset; each count is there after some rotations, through the carry."""
    dut, source = CounterKeeper(layout=LAYOUT), random.Random(7)
    memory = Bytes(dut, turn=2, init=bytes(source.randbytes(LAYOUT.depth)))
    place = LAYOUT.counters + HEADER
    expected = [0] * len(COUNTERS)
    bits = 0

    def values():
        data = bytes(memory.data[place : place + 2 * len(COUNTERS)])
        return list(Counters.parse(data).values)

    async def testbench(ctx):
        nonlocal bits
        around = bytes(memory.data[:place]), bytes(memory.data[place + 2 * len(COUNTERS) :])
        await ctx.tick().repeat(70 * ROTATION)
        assert values() == expected and not ctx.get(dut.packet.due)
        for _ in range(40):
            for index in source.sample(range(len(COUNTERS)), 3):
                expected[index] += 1
                own = index - len(dut.toggles)
                if own < 0:
                    bits ^= 1 << index
                    ctx.set(dut.toggles, bits)
                else:
                    ctx.set(dut.counts, 1 << own)
                    await ctx.tick()
                    ctx.set(dut.counts, 0)
            await ctx.tick().repeat(70 * ROTATION)
            assert values() == expected and ctx.get(dut.packet.due)
            ctx.set(dut.packet.begun, 1)
            await ctx.tick()
            ctx.set(dut.packet.begun, 0)
            await ctx.tick()
            assert not ctx.get(dut.packet.due)
            ctx.set(dut.packet.sent, 1)
            await ctx.tick()
            ctx.set(dut.packet.sent, 0)
        memory.data[place : place + 2] = (0x1FE + (expected[0] & 1)).to_bytes(2, "little")
        expected[0] = 0x1FE + (expected[0] & 1)
        while expected[0] < 0x202:
            bits ^= 1
            ctx.set(dut.toggles, bits)
            expected[0] += 1
            await ctx.tick().repeat(70 * ROTATION)
            assert values() == expected
        assert around == (bytes(memory.data[:place]), bytes(memory.data[place + 28 :]))
        ctx.set(dut.asked, 1)
        await ctx.tick()
        ctx.set(dut.asked, 0)
        await ctx.tick()
        assert ctx.get(dut.packet.due)

    simulate(dut, testbench, memory=memory)


def test_counters_while_they_leave():
    """The word that the sender is at stays as it is until it has left."""
    dut = CounterKeeper(layout=LAYOUT)
    memory = Bytes(dut, turn=2, depth=LAYOUT.depth)
    place = LAYOUT.counters + HEADER

    async def testbench(ctx):
        await ctx.tick().repeat(70 * ROTATION)
        ctx.set(dut.packet.begun, 1)
        await ctx.tick()
        ctx.set(dut.packet.begun, 0)
        ctx.set(dut.sender_address, place + 1)
        ctx.set(dut.toggles, 0b11)
        await ctx.tick().repeat(70 * ROTATION)
        assert memory.data[place] == 0 and memory.data[place + 2] == 1
        ctx.set(dut.sender_address, place + 2)
        await ctx.tick().repeat(70 * ROTATION)
        assert memory.data[place] == 1
        # the packet is gone, the sender stays where it was
        await pulse(ctx, dut.packet.sent)
        ctx.set(dut.toggles, 0b01)
        await ctx.tick().repeat(70 * ROTATION)
        assert memory.data[place + 2] == 2

    simulate(dut, testbench, memory=memory)


@pytest.mark.parametrize("patience", [1.0, 0.05])
def test_sender(patience):
    """What is due in its order, each packet with its CRC; slots one after the other."""
    source = random.Random(int(20 * patience))
    dut = Sender(layout=LAYOUT)
    memory = Bytes(dut, turn=1, depth=LAYOUT.depth)
    sent, out = [], bytearray()
    sizes = {
        "slots": LAYOUT.event_bytes,
        "state": LAYOUT.state_bytes,
        "hello": HEADER + len(Hello(weights=0, status=0).pack()),
        "counters": HEADER + len(Counters().pack()),
        "taken": HEADER + packets.SETTINGS_BYTES,
    }
    contents = {}
    for name, size in sizes.items():
        for slot in range(SLOTS if name == "slots" else 1):
            place = getattr(LAYOUT, name) + slot * LAYOUT.slot_room
            data = source.randbytes(size - HEADER)
            packet = packets.encode(source.randrange(256), data)
            memory.data[place : place + size] = packet[:size]
            contents[name, slot] = packet

    async def testbench(ctx):
        due = dict.fromkeys(PACKETS, 1) | {"slots": SLOTS + 1}
        limit = int(3 * ROTATION * sum(map(len, contents.values())) / patience)
        while any(due.values()):
            limit -= 1
            assert limit, f"still due: {due}"
            for name in PACKETS:
                ctx.set(getattr(dut, name).due, due[name] > 0)
            ctx.set(dut.tx_ready, source.random() < patience)
            if ctx.get(dut.tx_valid) and ctx.get(dut.tx_ready):
                out.append(ctx.get(dut.tx_data))
            for name in PACKETS:
                if ctx.get(getattr(dut, name).begun):
                    sent.append(name)
                if ctx.get(getattr(dut, name).sent):
                    assert sent[-1] == name
                    due[name] -= 1
            await ctx.tick()
        ctx.set(dut.counters.due, 0)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.tx_valid)

    simulate(dut, testbench, memory=memory)
    assert sent == ["slots"] * (SLOTS + 1) + ["state", "hello", "counters", "taken"]
    wanted = [contents["slots", i % SLOTS] for i in range(SLOTS + 1)]
    wanted += [contents[name, 0] for name in PACKETS[1:]]
    assert bytes(out) == b"".join(wanted)


def test_parts_of_two_classes_are_as_they_were():
    """The memory of two classes: boards in the field, and their images, have this layout."""
    link = HostLink(model=COLOUR, engine=EngineConfig.parse("3,1,1"))
    found = link.layout
    assert (found.slot_room, found.event_bytes) == (16, 16)
    assert (found.depth, found.slots, found.counters) == (256, 0xC0, 0x80)
