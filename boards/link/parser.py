"""Parser: the host's bytes into the memory, until a packet is whole and right."""

from enum import IntEnum

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from boards import packets
from boards.link.memory import ROTATION, Layout
from boards.packets import Flag, Kind
from hw.interfaces import write_port

assert Flag.FIRST == 1 and Flag.LAST == 2


def what(kind: Kind) -> int:
    """The bits that tell the packets from the host apart."""
    return kind >> 2 & 3


class Payload(wiring.Signature):
    """A payload that lies in the memory, from parser to replay.

    Parameters
    ----------
    buffer : int
        Bytes of the longest.

    Members
    -------
    valid : Out(1), pulse: it is whole and right; not while `waiting`
    what : Out(2), `what` of its kind
    first, last : Out(1), the flags of its kind
    end : Out(bits of `buffer`, at least 9), its length in bytes, at least 1
    waiting : In(1), the payload before is still there
    started : In(1), ... and its first bytes have left
    """

    def __init__(self, buffer: int):
        super().__init__(
            {
                "valid": Out(1),
                "what": Out(2),
                "first": Out(1),
                "last": Out(1),
                "end": Out(max(9, buffer.bit_length())),
                "waiting": In(1),
                "started": In(1),
            }
        )

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class _State(IntEnum):
    """What comes next."""

    SYNC = 0
    KIND = 1
    LENGTH = 2
    LENGTH_HIGH = 3
    PAYLOAD = 4
    CRC = 5
    CRC_LOW = 6


class Parser(wiring.Component):
    """Finds packets in the host's bytes; a payload lies in the memory from 0 on until its CRC is
    right.

    A packet is given up at an error of the line, at a kind that is none of the host's, and at a
    length that would run into the packets at the memory's top or come while the payload before has
    not begun to leave. It is dropped if its CRC is wrong, if it is empty (but for `Kind.ASK`), or
    if it ends while the payload before is still there.

    Model: `boards.packets.encode`.

    Parameters
    ----------
    layout : Layout

    Ports
    -----
    rx_valid : In(1), rx_data : In(8)
        Bytes, at least ``2 * ROTATION`` cycles apart; the data stays `ROTATION` cycles.
    rx_error : In(1), pulse: noise on the line
    phase : In(2), of the memory
    write : In(write_port(depth, 8)), to the memory, phase 0
    payload : Out(Payload(buffer))
    asked : Out(1), pulse: a packet of `Kind.ASK` was there
    refused : Out(1), pulse: a packet was given up or dropped, but for errors of the line
    """

    def __init__(self, *, layout: Layout):
        self.layout = layout
        super().__init__(
            {
                "rx_valid": In(1),
                "rx_data": In(8),
                "rx_error": In(1),
                "phase": In(range(ROTATION)),
                "write": In(write_port(layout.depth, 8)),
                "payload": Out(Payload(layout.buffer)),
                "asked": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        payload, lowest = self.payload, self.layout.lowest
        state = Signal(_State)
        kind, flags = Signal(2), Signal(2)
        left = Signal.like(payload.end)  # bytes of the payload
        place = Signal.like(left)
        finished, good, bad, store = Signal(), Signal(), Signal(), Signal()
        m.submodules.crc = crc = ResetInserter(state == _State.SYNC)(CRC16_IBM_3740(8).create())
        m.d.comb += [crc.valid.eq(self.rx_valid), crc.data.eq(self.rx_data)]
        length = Cat(left[:8], self.rx_data)
        # what fits below the packets is harmless, and easier to tell
        step = lowest & -lowest
        too_long = length[step.bit_length() - 1 :] >= lowest // step
        m.d.sync += [finished.eq(0), bad.eq(0)]
        with m.Switch(state):
            with m.Case(_State.SYNC):
                m.d.sync += place.eq(0)
                with m.If(self.rx_valid & (self.rx_data == packets.SYNC)):
                    m.d.sync += state.eq(_State.KIND)
            with m.Case(_State.KIND):
                with m.If(self.rx_valid):
                    m.d.sync += [Cat(flags, kind).eq(self.rx_data), state.eq(_State.LENGTH)]
                    with m.If(self.rx_data[4:] != Kind.ASK >> 4):
                        m.d.sync += [bad.eq(1), state.eq(_State.SYNC)]
            with m.Case(_State.LENGTH):
                with m.If(self.rx_valid):
                    m.d.sync += [left[:8].eq(self.rx_data), state.eq(_State.LENGTH_HIGH)]
            with m.Case(_State.LENGTH_HIGH):
                with m.If(self.rx_valid):
                    m.d.sync += left[8:].eq(self.rx_data)
                    with m.If(length == 0):
                        m.d.sync += state.eq(_State.CRC)
                    # a payload that has not begun to leave would be overwritten
                    with m.Elif(too_long | (payload.waiting & ~payload.started)):
                        m.d.sync += [bad.eq(1), state.eq(_State.SYNC)]
                    with m.Else():
                        m.d.sync += state.eq(_State.PAYLOAD)
            with m.Case(_State.PAYLOAD):
                with m.If(self.rx_valid):
                    m.d.sync += store.eq(1)
                with m.If(store & (self.phase == 0)):
                    m.d.sync += [store.eq(0), place.eq(place + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.d.sync += state.eq(_State.CRC)
            with m.Case(_State.CRC):
                with m.If(self.rx_valid):
                    m.d.sync += state.eq(_State.CRC_LOW)
            with m.Case(_State.CRC_LOW):
                with m.If(self.rx_valid):
                    m.d.sync += [finished.eq(1), state.eq(_State.SYNC)]
        with m.If(self.rx_error):
            m.d.sync += [state.eq(_State.SYNC), store.eq(0)]
        ask = kind == what(Kind.ASK)
        m.d.comb += [
            self.write.en.eq(store),
            self.write.addr.eq(place),
            self.write.data.eq(self.rx_data),
            # a short packet may be here before a long one has been replayed
            good.eq(finished & crc.match_detected & (ask | (~payload.waiting & (place != 0)))),
            self.asked.eq(good & ask),
            self.refused.eq(bad | (finished & ~good)),
            payload.valid.eq(good & ~ask),
            payload.what.eq(kind),
            Cat(payload.first, payload.last).eq(flags),
            payload.end.eq(place),
        ]
        return m
