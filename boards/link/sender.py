"""Sender: whole packets from the memory to the UART, and their CRC behind them."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from boards.link.memory import HEADER, ROTATION, SLOTS, Layout
from boards.packets import CRC_BYTES, SETTINGS_BYTES, Counters, Hello

_HIGH = slice(8, 16)  # of the CRC
PACKETS = ("slots", "state", "hello", "counters", "taken")
"""Packets that leave, the first that is due first; of `SLOTS` slots the one filled first."""


class Departure(wiring.Signature):
    """A packet that lies whole in the memory; from whoever made it to the sender.

    Members
    -------
    due : Out(1)
        It is to leave.
    begun : In(1), pulse
        It begins to leave.
    sent : In(1), pulse
        Its last byte is taken, its place is free.
    """

    def __init__(self):
        super().__init__({"due": Out(1), "begun": In(1), "sent": In(1)})

    def __eq__(self, other):
        return type(self) is type(other)


class Sender(wiring.Component):
    """Sends what is due, in the order of PACKETS; a byte is offered in each phase 3.

    Model: `boards.packets.encode`.

    Parameters
    ----------
    layout : Layout

    Ports
    -----
    slots, state, hello, counters, taken : In(Departure())
    phase : In(2), of the memory
    address : Out(range(depth)), of the memory, read in phase 1; late : In(8), the memory's
    tx_valid : Out(1), tx_data : Out(8), tx_ready : In(1)
        Bytes. An offer lasts a cycle; what is not taken is offered again.
    busy : Out(1)
        A packet has begun to leave.
    """

    def __init__(self, *, layout: Layout):
        self.layout = layout
        super().__init__(
            {
                **dict.fromkeys(PACKETS, In(Departure())),
                "phase": In(range(ROTATION)),
                "address": Out(range(layout.depth)),
                "late": In(8),
                "tx_valid": Out(1),
                "tx_data": Out(8),
                "tx_ready": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        layout, address = self.layout, self.address
        slot = Signal(range(SLOTS))
        bits = layout.slot_room.bit_length() - 1
        places = {
            "slots": layout.slots | Cat(Const(0, bits), slot),
            "state": layout.state,
            "hello": layout.hello,
            "counters": layout.counters,
            "taken": layout.taken,
        }
        sizes = {
            "slots": layout.event_bytes,
            "state": layout.state_bytes,
            "hello": HEADER + len(Hello(weights=0, status=0).pack()),
            "counters": HEADER + len(Counters().pack()),
            "taken": HEADER + SETTINGS_BYTES,
        }
        left = Signal(range(max(sizes.values()) + CRC_BYTES + 1))
        number = Signal(range(len(PACKETS)))
        first, tail, sending, taken = Signal(), Signal(), Signal(), Signal()
        # the sync byte is not in the CRC
        m.submodules.crc = crc = ResetInserter(first)(CRC16_IBM_3740(8).create())
        m.d.comb += [
            tail.eq(left <= CRC_BYTES),
            sending.eq(left != 0),
            self.busy.eq(sending),
            self.tx_valid.eq(sending & (self.phase == 3)),
            # feeding the CRC its own high byte shifts the low one up
            self.tx_data.eq(Mux(tail, crc.crc[_HIGH], self.late)),
            taken.eq(self.tx_valid & self.tx_ready),
            crc.valid.eq(taken),
            crc.data.eq(self.tx_data),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), address.eq(address + 1), first.eq(0)]
            with m.If(left == 1):
                for i, name in enumerate(PACKETS):
                    m.d.comb += getattr(self, name).sent.eq(number == i)
        m.d.sync += slot.eq(slot + self.slots.sent)
        # before the sender's turn to read
        with m.If(~sending & (self.phase == 3)):
            m.d.sync += first.eq(1)
            for i, name in enumerate(PACKETS):
                packet = getattr(self, name)
                with (m.Elif if i else m.If)(packet.due):
                    m.d.comb += packet.begun.eq(1)
                    m.d.sync += [
                        left.eq(sizes[name] + CRC_BYTES),
                        address.eq(places[name]),
                        number.eq(i),
                    ]
        return m
