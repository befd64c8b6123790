"""Host link: packets between a byte stream and the engine's ports."""

from dataclasses import dataclass
from enum import IntEnum

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards import packets
from boards.packets import COUNTERS, Flag, Hello, Kind, Setting
from golden.config import ModelConfig
from hw.common import NO_COLLISION
from hw.plan.engine_config import EngineConfig, config_digest

SLOTS = 4  # events that wait for the UART, beside the ones being copied
SLOT_BYTES = 16
HEADER = packets.HEAD_BYTES
BLOCK_BYTES = 32  # room of the hello and of the counters packet
ROTATION = 4
"""Cycles in which each user of the memory gets its turn."""

_CRC_SHIFT = 8


def crc_next(crc, byte):
    """Amaranth expression of `packets.crc16` after one byte more."""
    x = Cat(*(crc[8 + i] ^ byte[i] for i in range(8)))
    x = Cat(*(x[i] ^ x[i + 4] for i in range(4)), *(x[i] for i in range(4, 8)))
    bits = []
    for i in range(16):
        terms = [crc[i - 8]] if i >= 8 else []
        terms += [x[i - place] for place in (0, 5, 12) if 0 <= i - place < 8]
        bit = terms[0]
        for term in terms[1:]:
            bit = bit ^ term
        bits.append(bit)
    return Cat(*bits)


def _crc_before_sync() -> int:
    """The CRC from which the sync byte leads to CRC_START: so it can run over whole packets."""
    for high in range(256):
        found = packets.CRC_START
        # one byte: crc' = crc << 8 ^ table(crc >> 8 ^ byte); undo it for each guess of crc >> 8
        table = packets.crc16(bytes([high ^ packets.SYNC]), 0)
        low = (found ^ table) >> 8
        if packets.crc16(bytes([packets.SYNC]), high << 8 | low) == found:
            return high << 8 | low
    raise AssertionError("the CRC is no CRC")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things lie in the link's memory: the host's bytes first, packets at the top."""

    buffer: int
    state_bytes: int

    @property
    def state_room(self) -> int:
        """Power of two that holds a state packet."""
        return 1 << (self.state_bytes - 1).bit_length()

    @property
    def depth(self) -> int:
        """Bytes: a power of two."""
        return 1 << (self.buffer + self._packets - 1).bit_length()

    @property
    def _packets(self) -> int:
        return SLOTS * SLOT_BYTES + 2 * BLOCK_BYTES + self.state_room

    def _place(self, name: str) -> int:
        """From the top, large ones first: each begins at a multiple of its own size."""
        rooms = {
            "slots": SLOTS * SLOT_BYTES,
            "hello": BLOCK_BYTES,
            "counters": BLOCK_BYTES,
            "state": self.state_room,
        }
        order = sorted(rooms, key=lambda other: -rooms[other])
        return self.depth - sum(rooms[other] for other in order[: order.index(name) + 1])

    @property
    def lowest(self) -> int:
        """Where the packets begin; a longer payload would run into them."""
        return min(self.slots, self.hello, self.counters, self.state)

    @property
    def slots(self) -> int:
        return self._place("slots")

    @property
    def hello(self) -> int:
        return self._place("hello")

    @property
    def counters(self) -> int:
        return self._place("counters")

    @property
    def state(self) -> int:
        return self._place("state")


class Parse(IntEnum):
    """Where the parser is in a packet: what comes next."""

    SYNC = 0
    KIND = 1
    LENGTH = 2
    LENGTH_HIGH = 3
    PAYLOAD = 4
    CRC = 5
    CRC_LOW = 6


class Replay:
    """A payload between parser and engine."""

    def __init__(self, length):
        self.waiting = Signal(name="replay_waiting")
        self.started = Signal(name="replay_started")  # bytes have left
        self.end = Signal(length, name="replay_end")
        self.what = Signal(2, name="replay_what")
        self.first, self.last = Signal(name="replay_first"), Signal(name="replay_last")


def what(kind: Kind) -> int:
    """The bits that tell the packets from the host apart."""
    return kind >> 2 & 3


class HostLink(wiring.Component):
    """Packets of docs/boards.md to and from the ports of `hw.top.Rasca`.

    ::

        bytes ─► parser ─► ┌────────┐ ─► replay ─► pixels, weights, settings
                           │ memory │
        events ─► copier ─►└────────┘ ─► sender ─► bytes

    One memory of bytes. A payload from the host lies in it until its CRC is right, then it is
    replayed, a byte every `ROTATION` cycles. Everything that leaves is first a whole packet in the
    memory: the copier writes events, the state and the hello there; the counters are kept there
    (`_counters`). In each rotation every user of the memory has its own cycle:

    ====== =============== ===============
    phase  read            write
    ====== =============== ===============
    0      replay          parser
    1      sender          copier
    2      counters        counters
    ====== =============== ===============

    What sender and counters read is in a register two cycles later.

    Events: a row or a decision is copied at once (16 rotations); `SLOTS` packets may wait for the
    UART. An event that comes while one of its kind still waits to be copied is lost and counted.
    State: copied channel by channel after a row; lines from the host wait until it is through, so
    that the engine cannot reach the next row group's last layer. Host: at most five lines ahead.

    Model: `boards.packets` (no part of the integer model).

    Parameters
    ----------
    model : ModelConfig
        At most 256 state channels.
    engine : EngineConfig

    Attributes
    ----------
    line_bytes : int
        Bytes of a line packet's payload, and most of a weights packet's.
    layout : Layout

    Ports
    -----
    rx_valid : In(1), rx_data : In(8)
        Bytes from the host, at least ``2 * ROTATION`` cycles apart; the data stays `ROTATION`.
    rx_error : In(1), pulse: noise on the line; the packet is given up
    tx_valid : Out(1), tx_data : Out(8), tx_ready : In(1)
        Bytes to the host. The offer is withdrawn if it is not taken, and made again.
    toggles : In(11)
        For each of COUNTERS less the link's own a bit that changes with each count (bit 0 of a
        counter), 0 after reset. Two changes within 60 rotations and the time of two bytes on the
        UART may be taken for none.
    status : In(8), status byte of the hello; announce : In(1), pulse: send a hello
    host : Out(1), pixels come from the host
    pixel_valid, pixel_red, pixel_green, pixel_blue, pixel_sof, pixel_eol, frame_end : Out
    stop_enable, stop_threshold, skip_enable, skip_threshold : Out
    row_valid, row_group, row_logit0, row_logit1 : In
    decision_valid, decision_person, decision_rows_used, decision_status : In
        The decision's logits are the last row's.
    state_read, state_channel, state_word : Out; state_valid, state_data : In
    load_valid, load_data, load_last : Out; load_ready : In
    weights_digest : In(32)
    """

    def __init__(self, *, model: ModelConfig, engine: EngineConfig):
        if model.state_channels > 256:
            raise ValueError(f"state_channels must be at most 256, not {model.state_channels}")
        self.model, self.engine = model, engine
        self.line_bytes = model.image_width * model.in_channels
        self.state_bytes = HEADER + 4 + model.n
        if self.state_bytes - HEADER > packets.MAX_PAYLOAD:
            raise ValueError(
                f"a state packet must have at most {packets.MAX_PAYLOAD} bytes, "
                f"but {model.n} columns make {self.state_bytes - HEADER}"
            )
        self.layout = Layout(
            buffer=max(self.line_bytes, packets.SETTINGS_BYTES), state_bytes=self.state_bytes
        )
        self.memory = Memory(
            shape=8, depth=self.layout.depth, init=self.contents(), attrs=NO_COLLISION
        )
        super().__init__(
            {
                "rx_valid": In(1),
                "rx_data": In(8),
                "rx_error": In(1),
                "tx_valid": Out(1),
                "tx_data": Out(8),
                "tx_ready": In(1),
                "toggles": In(len(COUNTERS) - packets.LINK_COUNTERS),
                "status": In(8),
                "announce": In(1),
                "host": Out(1),
                "pixel_valid": Out(1),
                "pixel_red": Out(8),
                "pixel_green": Out(8),
                "pixel_blue": Out(8),
                "pixel_sof": Out(1),
                "pixel_eol": Out(1),
                "frame_end": Out(1),
                "stop_enable": Out(1),
                "stop_threshold": Out(signed(32)),
                "skip_enable": Out(1),
                "skip_threshold": Out(signed(32)),
                "row_valid": In(1),
                "row_group": In(16),
                "row_logit0": In(signed(32)),
                "row_logit1": In(signed(32)),
                "decision_valid": In(1),
                "decision_person": In(1),
                "decision_rows_used": In(16),
                "decision_status": In(3),
                "state_read": Out(1),
                "state_channel": Out(16),
                "state_word": Out(16),
                "state_valid": In(1),
                "state_data": In(8 * engine.pixels),
                "load_valid": Out(1),
                "load_data": Out(8),
                "load_last": Out(1),
                "load_ready": In(1),
                "weights_digest": In(32),
            }
        )

    def hello(self) -> Hello:
        """What this link says of its engine, with no weights and status 0."""
        return Hello(
            weights=0,
            status=0,
            model=bytes.fromhex(self.model.digest)[: packets.DIGEST_BYTES],
            config=bytes.fromhex(config_digest(self.model, self.engine))[: packets.DIGEST_BYTES],
            shape=(self.engine.pixels, self.engine.channels, self.engine.lanes),
        )

    def contents(self) -> list[int]:
        """The memory at power-up: packets without what changes."""
        layout = self.layout
        blocks = {
            layout.hello: (Kind.HELLO, self.hello().pack()),
            layout.counters: (Kind.COUNTERS, packets.Counters().pack()),
            layout.state: (Kind.STATE, bytes(self.state_bytes - HEADER)),
        }
        for slot in range(SLOTS):
            blocks[layout.slots + slot * SLOT_BYTES] = (Kind.ROW, bytes(packets.EVENT_BYTES))
        found = bytearray(layout.depth)
        for place, (kind, payload) in blocks.items():
            packet = packets.encode(kind, payload)[: -packets.CRC_BYTES]
            assert place >= layout.buffer
            found[place : place + len(packet)] = packet
        return list(found)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self.memory
        self._read, write = memory.read_port(), memory.write_port()
        # what is written is far behind its choice: a register before the memory
        self._write = Signal(
            data.StructLayout({"en": 1, "addr": range(self.layout.depth), "data": 8})
        )
        m.d.sync += [
            write.en.eq(self._write.en),
            write.addr.eq(self._write.addr),
            write.data.eq(self._write.data),
        ]
        # what is read is long on its way: a register before anything is made of it
        self._read_late = Signal(8, reset_less=True)
        m.d.sync += self._read_late.eq(self._read.data)
        self._phase = Signal(range(ROTATION))
        m.d.sync += self._phase.eq(self._phase + 1)
        self._own = Signal(packets.LINK_COUNTERS)  # toggles of the link's own counters
        self._asked = Signal()  # by the host, for hello and counters
        self._dumping = Signal()  # the state is being copied
        self._replay(m, self._parser(m))
        self._copier(m)
        self._counters(m)
        self._sender(m)
        return m

    def _in_phase(self, m, phase):
        return m.If(self._phase == phase)

    # ---- from the host ----

    def _parser(self, m):
        """Bytes to the memory; a payload that may be replayed."""
        limit = self.layout.buffer
        state = Signal(Parse)
        kind, flags = Signal(2), Signal(2)
        left = Signal(max(9, limit.bit_length()))  # bytes of the payload
        place = Signal.like(left)
        crc = Signal(16)
        finished, good, bad, store = Signal(), Signal(), Signal(), Signal()
        replay = Replay(place.shape())
        length = Cat(left[:8], self.rx_data)
        # what fits below the packets is harmless, and easier to tell
        step = self.layout.lowest & -self.layout.lowest
        too_long = length[step.bit_length() - 1 :] >= self.layout.lowest // step
        m.d.sync += [finished.eq(0), bad.eq(0)]
        with m.If(self.rx_valid):
            m.d.sync += crc.eq(crc_next(crc, self.rx_data))
        with m.Switch(state):
            with m.Case(Parse.SYNC):
                m.d.sync += [crc.eq(packets.CRC_START), place.eq(0)]
                with m.If(self.rx_valid & (self.rx_data == packets.SYNC)):
                    m.d.sync += state.eq(Parse.KIND)
            with m.Case(Parse.KIND):
                with m.If(self.rx_valid):
                    m.d.sync += [Cat(flags, kind).eq(self.rx_data), state.eq(Parse.LENGTH)]
                    with m.If(self.rx_data[4:] != Kind.ASK >> 4):
                        m.d.sync += [bad.eq(1), state.eq(Parse.SYNC)]
            with m.Case(Parse.LENGTH):
                with m.If(self.rx_valid):
                    m.d.sync += [left[:8].eq(self.rx_data), state.eq(Parse.LENGTH_HIGH)]
            with m.Case(Parse.LENGTH_HIGH):
                with m.If(self.rx_valid):
                    m.d.sync += left[8:].eq(self.rx_data)
                    with m.If(length == 0):
                        m.d.sync += state.eq(Parse.CRC)
                    # a payload that has not begun to leave would be overwritten
                    with m.Elif(too_long | (replay.waiting & ~replay.started)):
                        m.d.sync += [bad.eq(1), state.eq(Parse.SYNC)]
                    with m.Else():
                        m.d.sync += state.eq(Parse.PAYLOAD)
            with m.Case(Parse.PAYLOAD):
                with m.If(self.rx_valid):
                    m.d.sync += store.eq(1)
                with m.If(store & (self._phase == 0)):
                    m.d.sync += [store.eq(0), place.eq(place + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.d.sync += state.eq(Parse.CRC)
            with m.Case(Parse.CRC):
                with m.If(self.rx_valid):
                    m.d.sync += state.eq(Parse.CRC_LOW)
            with m.Case(Parse.CRC_LOW):
                with m.If(self.rx_valid):
                    m.d.sync += [finished.eq(1), state.eq(Parse.SYNC)]
        with m.If(self.rx_error):
            m.d.sync += [state.eq(Parse.SYNC), store.eq(0)]
        with self._in_phase(m, 0):
            m.d.comb += [
                self._write.en.eq(store),
                self._write.addr.eq(place),
                self._write.data.eq(self.rx_data),
            ]
        ask = kind == what(Kind.ASK)
        m.d.comb += [
            # a short packet may be here before a long one has been replayed
            good.eq(finished & (crc == 0) & (ask | (~replay.waiting & (place != 0)))),
            self._asked.eq(good & ask),
        ]
        m.d.sync += self._own[0].eq(self._own[0] ^ self.rx_error)
        m.d.sync += self._own[1].eq(self._own[1] ^ (bad | (finished & ~good)))
        with m.If(good & ~ask):
            m.d.sync += [
                replay.waiting.eq(1),
                replay.end.eq(place),
                replay.what.eq(kind),
                Cat(replay.first, replay.last).eq(flags),
            ]
        return replay

    def _replay(self, m, replay):
        """A payload to the engine, a byte a rotation; weights when the loader takes them."""
        waiting, started, first, last = replay.waiting, replay.started, replay.first, replay.last
        line, settings, weights = (
            replay.what == what(kind) for kind in (Kind.LINE, Kind.SETTINGS, Kind.WEIGHTS)
        )
        colours = self.model.in_channels
        address = Signal(range(self.layout.depth))
        have, ended, take, final = Signal(), Signal(), Signal(), Signal()
        ready, begun = Signal(), Signal()  # have and waiting, when `final` is right
        byte, pixel = Signal(8), Signal(8 * colours)
        colour = Signal(colours, init=1)
        thresholds, flags = Signal(64), Signal(5)
        m.d.comb += [
            byte.eq(pixel[-8:]),
            take.eq(ready & (~weights | self.load_ready)),
            ended.eq(waiting & started & ~have & final),
        ]
        with self._in_phase(m, 0):
            m.d.comb += self._read.addr.eq(address)
        with self._in_phase(m, 1):
            # once begun, a line goes on
            with m.If(waiting & begun & ~have & ~final & (started | ~(line & self._dumping))):
                m.d.sync += [
                    pixel.eq(Cat(pixel[8:], self._read.data)),
                    have.eq(1),
                    address.eq(address + 1),
                ]
        m.d.sync += [
            # `address` runs one ahead of the byte at hand
            final.eq(address == replay.end),
            ready.eq(have & ~take),
            begun.eq(waiting),
        ]
        with m.If(take):
            m.d.sync += [have.eq(0), started.eq(1)]
            with m.If(line):
                m.d.sync += colour.eq(colour.rotate_left(1))
            with m.If(self.pixel_valid):
                m.d.sync += first.eq(0)
            with m.If(settings):
                with m.If(final):
                    m.d.sync += flags.eq(byte)
                with m.Else():
                    m.d.sync += thresholds.eq(Cat(thresholds[8:], byte))
        with m.If(ended):
            m.d.sync += [waiting.eq(0), started.eq(0), address.eq(0), colour.eq(1)]
        names = ("red", "green", "blue")[:colours]
        for i, name in enumerate(names):
            m.d.comb += getattr(self, f"pixel_{name}").eq(pixel[8 * i : 8 * i + 8])
        m.d.comb += [
            self.pixel_valid.eq(take & line & colour[-1]),
            self.pixel_sof.eq(first),
            self.pixel_eol.eq(final),
            self.frame_end.eq(ended & line & last),
            self.load_valid.eq(ready & weights),
            self.load_data.eq(byte),
            self.load_last.eq(final & last),
            self.host.eq((flags & Setting.HOST).any()),
            # thresholds move while new ones come
            self.stop_enable.eq((flags & Setting.STOP).any() & ~(waiting & settings)),
            self.skip_enable.eq((flags & Setting.SKIP).any() & ~(waiting & settings)),
            Cat(self.stop_threshold, self.skip_threshold).eq(thresholds),
        ]
        self._rows = (flags & Setting.ROWS).any()
        self._state = (flags & Setting.STATE).any() & self.host

    # ---- to the host ----

    def _copier(self, m):
        """Events, state and hello into the memory as packets."""
        layout, pixels = self.layout, self.engine.pixels
        # the job, one-hot: an event, a channel of the state, the hello
        event, state, greeting, working = Signal(), Signal(), Signal(), Signal()
        offset = Signal(range(max(SLOT_BYTES, self.state_bytes)))
        # events wait here until they are copied; a fault may come in the cycle after a decision
        row, decision, fault = Signal(), Signal(), Signal()
        person, used = Signal(), Signal(range(self.model.row_groups + 1))
        status = Signal(3)
        is_row, is_fault = Signal(), Signal()
        frame = Signal(8)
        channel = Signal(range(self.model.state_channels))
        column, word = Signal(range(pixels)), Signal(range(-(-self.model.n // pixels)))
        hello = Signal(init=1)
        self._hello_due, self._state_due = Signal(), Signal()
        self._slot_in, self._slot_out = Signal(range(SLOTS)), Signal(range(SLOTS))
        self._slots_used = Signal(range(SLOTS + 1))
        pushed, self._popped = Signal(), Signal()
        just_pushed, just_popped = Signal(), Signal()

        lost, ok = Signal(), Signal()
        m.d.comb += ok.eq(self.decision_status == 0)
        with m.If(self.row_valid):
            m.d.sync += row.eq(self._rows | self._state)
            m.d.sync += decision.eq(0)
            with m.If(self._state):
                m.d.sync += self._dumping.eq(1)
            m.d.comb += lost.eq(row | decision | self._dumping)
        with m.If(self.decision_valid):
            with m.If(ok):
                m.d.sync += [
                    decision.eq(1),
                    person.eq(self.decision_person),
                    used.eq(self.decision_rows_used),
                ]
            with m.Else():
                m.d.sync += [fault.eq(1), status.eq(self.decision_status)]
                m.d.comb += lost.eq(fault)
        m.d.sync += self._own[2].eq(self._own[2] ^ lost)
        with m.If(self._asked | self.announce):
            m.d.sync += hello.eq(1)

        room = Signal()
        # long after the last one was pushed
        m.d.comb += room.eq((self._phase == ROTATION - 1) & (self._slots_used != SLOTS))
        ended, wrote = Signal(), Signal()
        byte, byte_ready = Signal(8), Signal()  # of the state
        state_part = Signal()
        with m.If(~working):
            m.d.sync += [offset.eq(HEADER), event.eq(0), state.eq(0), greeting.eq(0)]
            with m.If((row | decision | fault) & room):
                m.d.sync += [
                    event.eq(1),
                    working.eq(1),
                    offset.eq(1),  # the kind
                    is_row.eq(row),
                    is_fault.eq(~row & ~decision),
                ]
            with m.Elif(self._dumping & ~row & ~self._state_due):
                m.d.sync += [state.eq(1), working.eq(1)]
            with m.Elif(hello & ~self._hello_due):
                m.d.sync += [greeting.eq(1), working.eq(1), hello.eq(0)]

        # the bytes: four of place, then logits or state; of the hello the digest and the status
        info, group = Signal(8), Signal(16)
        with m.If(state):
            m.d.comb += info.eq(channel)
        with m.Elif(~is_row):
            m.d.comb += info.eq(Mux(is_fault, status, Cat(Const(0, packets.PERSON_BIT), person)))
        groups = self.row_group[: self.model.row_groups.bit_length()]
        m.d.comb += group.eq(Mux(state | is_row, groups, Mux(is_fault, 0, used)))
        value, place = Signal(8), Signal(range(layout.depth))
        head, tail, keep = Signal(), Signal(), Signal()
        fields, logits = Cat(frame, info, group), Cat(self.row_logit0, self.row_logit1)
        m.d.comb += [
            tail.eq(offset[3:].any()),
            head.eq(~tail & ~offset[2]),
            keep.eq(head & offset[1]),  # the length is there
            state_part.eq(state & tail),
        ]
        with m.If(head):
            m.d.comb += value.eq(Mux(is_row, Kind.ROW, Kind.DECISION))
        with m.Elif(~tail):
            now = Mux(greeting, self.weights_digest, fields)
            m.d.comb += value.eq(now.word_select(offset[:2], 8))
        with m.Elif(greeting):
            m.d.comb += value.eq(self.status)
        with m.Elif(state):
            m.d.comb += value.eq(byte)
        with m.Else():
            m.d.comb += value.eq(logits.word_select(offset[:3], 8))
        with m.If(greeting):
            m.d.comb += place.eq(layout.hello | offset)
        with m.Elif(state):
            m.d.comb += place.eq(layout.state | offset)
        with m.Else():
            m.d.comb += place.eq(layout.slots | Cat(offset[:4], self._slot_in))
        m.d.comb += wrote.eq(working & (self._phase == 1) & (~state_part | byte_ready))
        with self._in_phase(m, 1):
            m.d.comb += [
                self._write.en.eq(wrote & ~keep),
                self._write.addr.eq(place),
                self._write.data.eq(value),
            ]
        m.d.comb += [
            ended.eq(
                (event & (offset == SLOT_BYTES - 1))
                | (state & (offset == self.state_bytes - 1))
                | (greeting & (offset == HEADER + Hello.MOVING - 1))
            ),
            pushed.eq(wrote & ended & event),
        ]
        with m.If(wrote):
            m.d.sync += [offset.eq(offset + 1), byte_ready.eq(0)]
            with m.If(ended):
                m.d.sync += working.eq(0)
                with m.If(state):
                    m.d.sync += [self._state_due.eq(1), channel.eq(channel + 1)]
                    with m.If(channel == self.model.state_channels - 1):
                        m.d.sync += [channel.eq(0), self._dumping.eq(0)]
                with m.Elif(greeting):
                    m.d.sync += self._hello_due.eq(1)
                with m.Elif(is_row):
                    m.d.sync += row.eq(0)
                with m.Else():
                    m.d.sync += frame.eq(frame + 1)
                    with m.If(is_fault):
                        m.d.sync += fault.eq(0)
                    with m.Else():
                        m.d.sync += decision.eq(0)
        m.d.sync += [
            self._slot_in.eq(self._slot_in + pushed),
            just_pushed.eq(pushed),
            just_popped.eq(self._popped),
            self._slots_used.eq(self._slots_used + just_pushed - just_popped),
        ]

        # the state: a word is read for each of its bytes, so that only one byte is kept
        reading = Signal()
        m.d.comb += [self.state_channel.eq(channel), self.state_word.eq(word)]
        m.d.sync += self.state_read.eq(0)
        with m.If(~working):
            m.d.sync += [column.eq(0), word.eq(0), reading.eq(0)]
        with m.Elif(state_part & ~byte_ready & ~reading):
            m.d.sync += [self.state_read.eq(1), reading.eq(1)]
        with m.If(reading & self.state_valid):
            m.d.sync += [
                reading.eq(0),
                byte_ready.eq(1),
                byte.eq(self.state_data.word_select(column, 8)),
                column.eq(column + 1),
            ]
            with m.If(column == pixels - 1):
                m.d.sync += [column.eq(0), word.eq(word + 1)]

    def _counters(self, m):
        """16-bit counters in the memory, one looked at every second rotation.

        A counter's bit 0 differs from its toggle: it is one behind. After reset all are cleared.
        """
        toggles = Cat(self.toggles, self._own)
        self._address = Signal(range(self.layout.depth))  # the sender's
        count = len(COUNTERS)
        index = Signal(range(count))
        high, second, hit, clearing = Signal(), Signal(), Signal(), Signal(init=1)
        value = Signal(8)
        self._counters_due, self._counters_leave = Signal(), Signal()
        place = Signal(range(self.layout.depth))
        base = self.layout.counters
        # the payload begins at 4: index + 2 words
        m.d.comb += place.eq(base | Cat(high, (index + HEADER // 2)[:4]))
        with self._in_phase(m, 2):
            m.d.comb += [
                self._read.addr.eq(place),
                self._write.en.eq(second & hit),
                self._write.addr.eq(place),
                self._write.data.eq(value),
            ]
        # The two bytes of the counter that the sender is at must belong together. It got there a
        # byte ago, and what has begun is through in four rotations.
        behind, leaving = Signal(), Signal()
        m.d.comb += [
            behind.eq(self._read_late[0] ^ toggles.bit_select(index, 1)),
            leaving.eq(self._counters_leave & (self._address[1:5] == place[1:5])),
        ]
        with self._in_phase(m, 0):
            with m.If(~second):
                m.d.sync += [
                    second.eq(1),
                    value.eq(Mux(clearing, 0, self._read_late + 1)),
                    hit.eq(high | clearing | (behind & ~leaving)),
                ]
            with m.Else():
                m.d.sync += second.eq(0)
                with m.If(hit & ~high & (value == 0)):
                    m.d.sync += high.eq(1)
                with m.Else():
                    m.d.sync += [high.eq(0), index.eq(index + 1)]
                    with m.If(index == count - 1):
                        m.d.sync += [index.eq(0), clearing.eq(0)]
        with m.If(self._asked | ((self._phase == 2) & second & hit & ~clearing)):
            m.d.sync += self._counters_due.eq(1)

    def _sender(self, m):
        """Whole packets from the memory, and their CRC behind them."""
        layout = self.layout
        address = self._address
        left = Signal(range(max(BLOCK_BYTES, self.state_bytes) + packets.CRC_BYTES + 1))
        crc = Signal(16)
        start = _crc_before_sync()
        sending = Signal()
        sizes = {
            "hello": HEADER + len(self.hello().pack()),
            "counters": HEADER + len(packets.Counters().pack()),
            "state": self.state_bytes,
            "slots": SLOT_BYTES,
        }
        order = list(sizes)
        number, tail = Signal(range(len(order))), Signal()
        m.d.comb += [
            tail.eq(left <= packets.CRC_BYTES),
            sending.eq(left != 0),
            self.tx_valid.eq(sending & (self._phase == 3)),
            # feeding the CRC its own high byte shifts the low one up
            self.tx_data.eq(Mux(tail, crc[_CRC_SHIFT:], self._read_late)),
        ]
        with self._in_phase(m, 1):
            m.d.comb += self._read.addr.eq(address)
        with m.If(self.tx_valid & self.tx_ready):
            m.d.sync += [
                left.eq(left - 1),
                address.eq(address + 1),
                crc.eq(crc_next(crc, self.tx_data)),
            ]
            # what has left may be overwritten
            with m.If(left == 1):
                m.d.sync += self._counters_leave.eq(0)
                with m.Switch(number):
                    with m.Case(order.index("slots")):
                        m.d.comb += self._popped.eq(1)
                        m.d.sync += self._slot_out.eq(self._slot_out + 1)
                    with m.Case(order.index("state")):
                        m.d.sync += self._state_due.eq(0)
                    with m.Case(order.index("hello")):
                        m.d.sync += self._hello_due.eq(0)
        # before the sender's turn to read
        with m.If(~sending & (self._phase == 3)):
            m.d.sync += crc.eq(start)

            def send(name, place):
                m.d.sync += [
                    left.eq(sizes[name] + packets.CRC_BYTES),
                    address.eq(place),
                    number.eq(order.index(name)),
                ]

            with m.If(self._slots_used != 0):
                send("slots", layout.slots | Cat(Const(0, 4), self._slot_out))
            with m.Elif(self._state_due):
                send("state", layout.state)
            with m.Elif(self._hello_due):
                send("hello", layout.hello)
            with m.Elif(self._counters_due):
                send("counters", layout.counters)
                m.d.sync += [self._counters_due.eq(self._asked), self._counters_leave.eq(1)]
        assert Flag.FIRST == 1 and Flag.LAST == 2
