"""An asynchronous FIFO whose flags are registers."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


def full(written, read) -> Signal:
    """Whether Gray counters of what was written and read say that every entry is taken."""
    apart = (written ^ read)[-2:].all()
    return apart & (written[:-2] == read[:-2])


class CrossingFifo(wiring.Component):
    """Entries from one clock to another, in order.

    Clifford Cummings' second style: Gray counters of one bit more than the address cross through
    two flip-flops. Each side keeps its counter and the number after it, so that neither a flag nor
    an address waits for a sum: `amaranth.lib.fifo.AsyncFIFO` compares counters, then adds what the
    comparison says, then addresses its memory, all in one cycle, which set the clock of whole
    boards.

    Nothing is reset: counters of both sides only mean something together.

    Parameters
    ----------
    width, depth : int
        Bits of an entry; entries, a power of two, at least 4.
    w_domain, r_domain : str

    Ports
    -----
    w_data : In(width), w_en : In(1), w_domain
        An entry is written with `w_en` and `w_rdy`.
    w_rdy : Out(1)
        There is room.
    r_data : Out(width), r_rdy : Out(1), r_domain
        The oldest entry is there; it is taken with `r_en`.
    r_en : In(1)

    `latency` (lower, upper): cycles of r_domain from the edge that wrote into an empty FIFO to
    `r_rdy`, as phases fall.
    """

    latency = (3, 4)

    def __init__(self, *, width: int, depth: int, w_domain: str, r_domain: str = "sync"):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, at least 4, not {depth}")
        self.width, self.depth = width, depth
        self.w_domain, self.r_domain = w_domain, r_domain
        super().__init__(
            {
                "w_data": In(width),
                "w_en": In(1),
                "w_rdy": Out(1, init=1),
                "r_data": Out(width),
                "r_rdy": Out(1),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        write, read = m.d[self.w_domain], m.d[self.r_domain]
        writes, reads, room, there = Signal(), Signal(), Signal(init=1), Signal()
        written, at_write, _, written_next = self._counter(m, write, "written", writes)
        taken, at_read, after_read, taken_next = self._counter(m, read, "taken", reads)
        written_seen, taken_seen = Signal.like(written), Signal.like(taken)
        m.submodules.written = FFSynchronizer(written, written_seen, o_domain=self.r_domain)
        m.submodules.taken = FFSynchronizer(taken, taken_seen, o_domain=self.w_domain)
        memory = m.submodules.storage = Memory(shape=self.width, depth=self.depth, init=[])
        w_port = memory.write_port(domain=self.w_domain)
        r_port = memory.read_port(domain=self.r_domain)
        write += room.eq(~full(written_next, taken_seen))
        read += there.eq(taken_next != written_seen)
        m.d.comb += [
            writes.eq(self.w_en & room),
            reads.eq(self.r_en & there),
            self.w_rdy.eq(room),
            self.r_rdy.eq(there),
            w_port.addr.eq(at_write),
            w_port.data.eq(self.w_data),
            w_port.en.eq(writes),
            r_port.addr.eq(Mux(reads, after_read, at_read)),
            self.r_data.eq(r_port.data),
        ]
        return m

    def _counter(self, m, domain, name, moves):
        """A side's counter: in Gray code, its entry, the entry after it, the Gray code to come."""
        bits = self.depth.bit_length()
        here, after, gray, gray_next = (
            Signal(bits, init=init, name=f"{name}_{part}", reset_less=True)
            for part, init in (("here", 0), ("after", 1), ("gray", 0), ("gray_next", 0))
        )
        m.d.comb += gray_next.eq(Mux(moves, after ^ (after >> 1), gray))
        domain += gray.eq(gray_next)
        with m.If(moves):
            domain += [here.eq(after), after.eq(after + 1)]
        return gray, here[:-1], after[:-1], gray_next
