"""The link's one memory of bytes: where things lie in it, and whose turn it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards import packets
from hw.common import NO_COLLISION
from hw.interfaces import write_port

SLOTS = 4
"""Events that wait for the UART, beside the ones being copied."""
HEADER = packets.HEAD_BYTES
BLOCK_BYTES = 32
"""Room of the hello and of the counters packet."""
ROTATION = 4
"""Cycles in which each user of the memory gets its turn."""


def room(size: int) -> int:
    """Bytes of the smallest power of two that holds `size`."""
    return 1 << (size - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things lie in the link's memory: the host's bytes first, packets at the top.

    Each packet begins at a multiple of its room, a power of two.

    Attributes
    ----------
    buffer : int
        Bytes of the host's longest payload.
    event_bytes, state_bytes : int
        Bytes of a row or decision packet and of a state packet, without CRC.
    """

    buffer: int
    event_bytes: int
    state_bytes: int

    @property
    def slot_room(self) -> int:
        """Bytes of a slot for an event."""
        return room(self.event_bytes)

    @property
    def depth(self) -> int:
        """Bytes of the memory: a power of two."""
        return room(self.buffer + sum(self._rooms.values()))

    @property
    def _rooms(self) -> dict[str, int]:
        return {
            "slots": SLOTS * self.slot_room,
            "hello": BLOCK_BYTES,
            "counters": BLOCK_BYTES,
            "state": room(self.state_bytes),
            "taken": room(HEADER + packets.SETTINGS_BYTES),
        }

    def _place(self, name: str) -> int:
        """From the top, large ones first: each begins at a multiple of its own size."""
        rooms = self._rooms
        order = sorted(rooms, key=lambda other: -rooms[other])
        return self.depth - sum(rooms[other] for other in order[: order.index(name) + 1])

    @property
    def lowest(self) -> int:
        """Where the packets begin; a longer payload would run into them."""
        return min(self.slots, self.hello, self.counters, self.state, self.taken)

    @property
    def slots(self) -> int:
        """Address of the first event's slot; the others follow it."""
        return self._place("slots")

    @property
    def hello(self) -> int:
        """Address of the hello packet."""
        return self._place("hello")

    @property
    def counters(self) -> int:
        """Address of the counters packet."""
        return self._place("counters")

    @property
    def state(self) -> int:
        """Address of the packet of a channel of the state."""
        return self._place("state")

    @property
    def taken(self) -> int:
        """Address of the packet of the settings as they were taken."""
        return self._place("taken")


class LinkMemory(wiring.Component):
    """A memory with one read and one write port that has four users in turn, without arbitration.

    ====== =============== ===============
    phase  read            write
    ====== =============== ===============
    0      replay          parser
    1      sender          copier
    2      counters        counters
    3                      replay
    ====== =============== ===============

    A write passes a register: a byte written in a phase is there for the phase after the next.

    Parameters
    ----------
    depth : int
        Bytes.
    init : sequence of int
        The memory at power-up.

    Ports
    -----
    phase : Out(2), counts without end from 0
    parser_write, copier_write, counters_write, replay_write : Out(write_port(depth, 8))
        Looked at in the user's phase only.
    replay_address, sender_address, counters_address : In(range(depth)), likewise
    data : Out(8), what was asked for in the cycle before
    late : Out(8), `data` a cycle later, for what needs time
    """

    def __init__(self, *, depth: int, init: Sequence[int] = ()):
        self.depth = depth
        self.memory = Memory(shape=8, depth=depth, init=init, attrs=NO_COLLISION)
        super().__init__(
            {
                "phase": Out(range(ROTATION)),
                "parser_write": Out(write_port(depth, 8)),
                "copier_write": Out(write_port(depth, 8)),
                "counters_write": Out(write_port(depth, 8)),
                "replay_write": Out(write_port(depth, 8)),
                "replay_address": In(range(depth)),
                "sender_address": In(range(depth)),
                "counters_address": In(range(depth)),
                "data": Out(8),
                "late": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        read, write = self.memory.read_port(), self.memory.write_port()
        # what is written is far behind its choice: a register before the memory
        chosen = write_port(self.depth, 8).flip().create(path=("chosen",))
        reads = (self.replay_address, self.sender_address, self.counters_address)
        writes = (self.parser_write, self.copier_write, self.counters_write, self.replay_write)
        with m.Switch(self.phase):
            for phase, port in enumerate(writes):
                with m.Case(phase):
                    if phase < len(reads):
                        m.d.comb += read.addr.eq(reads[phase])
                    m.d.comb += [
                        chosen.en.eq(port.en),
                        chosen.addr.eq(port.addr),
                        chosen.data.eq(port.data),
                    ]
        m.d.sync += [
            self.phase.eq(self.phase + 1),
            write.en.eq(chosen.en),
            write.addr.eq(chosen.addr),
            write.data.eq(chosen.data),
        ]
        # what is read is long on its way: a register before anything is made of it
        late = Signal(8, reset_less=True)
        m.d.sync += late.eq(read.data)
        m.d.comb += [self.data.eq(read.data), self.late.eq(late)]
        return m
