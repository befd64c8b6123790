"""When a walk's sums are at the head of the drain, and where their accumulators stood before."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay
from hw.plan.serial_owners import LOW, start_words


class _Place(wiring.Component):
    """Counts the sums of a walk, lane after lane.

    Ports
    -----
    go : In(1)
        A sum is taken.
    pixel : Out(range(P)), lane : Out(range(L))
        Of the sum that is taken next.
    lane_end, last : Out(1)
        It is its lane's last; the walk's last.
    """

    def __init__(self, *, pixels: int, lanes: int):
        self.pixels, self.lanes = pixels, lanes
        ends = dict.fromkeys(("lane_end", "last"), Out(1))
        places = {"pixel": Out(range(pixels)), "lane": Out(range(lanes))}
        super().__init__({"go": In(1)} | places | ends)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.lane_end.eq(self.pixel == self.pixels - 1),
            self.last.eq(self.lane_end & (self.lane == self.lanes - 1)),
        ]
        with m.If(self.go):
            m.d.sync += self.pixel.eq(Mux(self.lane_end, 0, self.pixel + 1))
            with m.If(self.lane_end):
                m.d.sync += self.lane.eq(Mux(self.last, 0, self.lane + 1))
        return m


class SerialStarts(wiring.Component):
    """Paces the drain: a sum a cycle at its head; and the bias of each, less what its accumulator
    had before the walk.

    An accumulator of SerialArray goes on from walk to walk: a walk begins with what the one before
    it ended with. Every transfer's P x L lower halves pass by at the head of the drain in the same
    order, with a shift each, whatever the operation; they are kept in a memory as they pass, and
    come out again beside those of the next transfer::

        less = bias - (the value's `low` one transfer before; 0 for the first one after a reset)

    A word is read two cycles before its value is at the head, and taken off the bias in the two
    halves in which the unit adds it. After a reset words of zeros are read, beyond those that are
    written: an abort may come while a walk's values are leaving.

    Parameters
    ----------
    pixels, lanes : int
        P, L.
    acc_bits : int
        Of a bias.

    Ports
    -----
    ending : In(1)
        Two cycles before a transfer, whose first sum is at the head in the cycle after it.
    pool, blend : In(1)
        The transfer's values are made of two sums each, in two cycles; each of one, in two cycles.
        From the cycle after `ending` until the values have left.
    go : Out(1)
        Three cycles before a lane's first sum is at the head.
    begins : Out(1)
        A value's first cycle at the head.
    shift : Out(1)
        A sum's last cycle at the head.
    running : Out(1)
        A sum is at the head.
    low : In(16)
        Of the accumulator that is at the head.
    bias : In(signed(acc_bits))
        A value's lower 16 bits are read a cycle before it is at the head, those above in the first
        cycle there.
    less : Out(signed(acc_bits + 1))
        Its lower 16 bits with the value's `low`, those above a cycle later.
    """

    def __init__(self, *, pixels: int, lanes: int, acc_bits: int):
        self.pixels, self.lanes = pixels, lanes
        super().__init__(
            {
                **dict.fromkeys(("ending", "pool", "blend"), In(1)),
                **dict.fromkeys(("go", "begins", "shift", "running"), Out(1)),
                "low": In(LOW),
                "bias": In(signed(acc_bits)),
                "less": Out(signed(acc_bits + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        memory = m.submodules.starts = Memory(
            shape=LOW, depth=start_words(self.pixels, self.lanes), init=[], attrs=NO_COLLISION
        )
        write, read = memory.write_port(), memory.read_port()
        m.submodules.there = there = _Place(pixels=self.pixels, lanes=self.lanes)
        m.submodules.here = here = _Place(pixels=self.pixels, lanes=self.lanes)
        # two cycles before the head; the second one of two
        ahead, second, first = Signal(), Signal(), Signal(init=1)
        m.d.sync += [
            ahead.eq(self.ending | (ahead & ~(there.go & there.last))),
            second.eq(~self.ending & ~second),
        ]
        running = delay(m, ahead, 2, "running")
        halves = delay(m, second, 2, "second")
        m.d.comb += [
            there.go.eq(ahead & (~self.blend | second)),
            self.go.eq(self.ending | (there.go & there.lane_end & ~there.last)),
            self.running.eq(running),
            self.begins.eq(running & ~(halves & (self.pool | self.blend))),
            self.shift.eq(running & (~self.blend | halves)),
            here.go.eq(self.shift),
            read.addr.eq(Cat(there.pixel, there.lane, first)),
            write.addr.eq(Cat(here.pixel, here.lane)),
            write.data.eq(self.low),
            write.en.eq(self.shift),
        ]
        with m.If(there.go & there.last):
            m.d.sync += first.eq(0)
        # as a sum of what is in registers, without an inverter for each bit of the memory's word
        low, borrow = Signal(LOW, reset_less=True), Signal(reset_less=True)
        high = Signal(signed(len(self.less) - LOW), reset_less=True)
        less = Signal(LOW + 1)
        m.d.comb += [
            less.eq(read.data + ~self.bias[:LOW]),
            self.less.eq(Cat(low, high)),
        ]
        m.d.sync += [
            low.eq(~less[:LOW]),
            borrow.eq(less[LOW]),
            high.eq(self.bias[LOW:].as_signed() - borrow),
        ]
        return m
