"""Where the serial engine's accumulators stood when a walk began."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION
from hw.plan.serial_owners import LOW, start_words


class SerialStarts(wiring.Component):
    """Bias of each value, less what its accumulator had before the walk.

    An accumulator of SerialArray goes on from walk to walk: a walk begins with what the one before
    it ended with. Every transfer's P x L lower halves pass by at the head of the drain in the same
    order, with a shift each, whatever the operation; they are kept in a memory as they pass, and
    come out again beside those of the next transfer::

        less = bias - (the value's `low` one transfer before; 0 for the first one after a reset)

    A word is read two cycles before its value is at the head (a cycle, where values do not go in
    pairs: there their second cycle counts), and taken off the bias in the two halves in which the
    unit adds it. After a reset words of zeros are read, beyond those that are written: an abort may
    come while a walk's values are leaving.

    Parameters
    ----------
    count : int
        P x L, at least 8.
    acc_bits : int
        Of a bias.

    Ports
    -----
    ending : In(1)
        Two cycles before a transfer.
    pool : In(1)
        The transfer's values go in pairs, a shift a cycle from the cycle after the transfer on;
        else a value has two cycles or more, and the shift is in its last one. Not while a transfer
        is less than two cycles away, or its values are leaving.
    begins : In(1)
        A value's first cycle at the head (every second one's, with `pool`).
    shift : In(1)
        A value's last cycle at the head.
    low : In(16)
        Of the accumulator that is at the head.
    bias : In(signed(acc_bits))
        A value's lower 16 bits are read a cycle before it is at the head (with `pool`; else in that
        cycle), those above a cycle later.
    less : Out(signed(acc_bits + 1))
        Its lower 16 bits with the value's `low`, those above a cycle later; without `pool` a cycle
        after these.
    """

    def __init__(self, *, count: int, acc_bits: int):
        self.count = count
        super().__init__(
            {
                **dict.fromkeys(("ending", "pool", "begins", "shift"), In(1)),
                "low": In(LOW),
                "bias": In(signed(acc_bits)),
                "less": Out(signed(acc_bits + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        memory = m.submodules.starts = Memory(
            shape=LOW, depth=start_words(self.count), init=[], attrs=NO_COLLISION
        )
        write, read = memory.write_port(), memory.read_port()
        there, here = Signal(range(self.count)), Signal(range(self.count))
        first, pairs, goes_on = Signal(init=1), Signal(), Signal()  # of what is read
        last = there == self.count - 1
        m.d.comb += [
            goes_on.eq(Mux(self.pool, pairs, self.begins)),
            read.addr.eq(Cat(there, first)),
            write.addr.eq(here),
            write.data.eq(self.low),
            write.en.eq(self.shift),
        ]
        m.d.sync += pairs.eq(self.ending | (pairs & ~last))
        with m.If(goes_on):
            m.d.sync += there.eq(Mux(last, 0, there + 1))
            with m.If(last):
                m.d.sync += first.eq(0)
        with m.If(self.shift):
            m.d.sync += here.eq(Mux(here == self.count - 1, 0, here + 1))
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
