"""Pooling of the state over its columns: sums and maxima, as bytes pass by."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


def sum_shape(columns: int):
    """Shape of a sum over so many signed bytes."""
    return signed((128 * columns).bit_length() + 1)


class StatePool(wiring.Component):
    """Sum and maximum of each of some channels, a column a cycle.

    The pooling of Eq. 14; bit-exact model: the two terms of golden.classifier.pool.

    Parameters
    ----------
    channels : int
        Channels that are pooled side by side.
    columns : int
        n, columns of the state.
    ahead : bool
        Bytes are known a cycle before: whether one is the largest is a register then, and the loop
        from a maximum to itself holds no more than a comparison.

    Ports
    -----
    bytes : In(signed(8)), an array of `channels`
        A column of each channel.
    next : In(signed(8)), an array of `channels`
        Only with `ahead`: `bytes` of the next cycle, if there is a `load` in it.
    load : In(channels)
        Channels whose byte counts in this cycle.
    begin : In(1), with `load`
        It is the channel's first one.
    pad : In(1), with `load`
        It is beyond the map: nothing is added, and it is no maximum.
    sums : Out(signed, holds 128 * columns), an array of `channels`
        A cycle after the byte.
    maxima : Out(signed(8)), an array of `channels`
        Likewise.
    """

    def __init__(self, *, channels: int, columns: int, ahead: bool = False):
        self.channels, self.ahead = channels, ahead
        bytes_ = In(data.ArrayLayout(signed(8), channels))
        super().__init__(
            {
                "bytes": bytes_,
                **({"next": bytes_} if ahead else {}),
                "load": In(channels),
                "begin": In(1),
                "pad": In(1),
                "sums": Out(data.ArrayLayout(sum_shape(columns), channels)),
                "maxima": Out(data.ArrayLayout(signed(8), channels)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for i in range(self.channels):
            byte = self.bytes[i]
            total = Signal.like(self.sums[i], name=f"total{i}", reset_less=True)
            largest = Signal.like(self.maxima[i], name=f"largest{i}", reset_less=True)
            taken = Mux(self.pad, -128, byte)
            larger, takes = Signal(name=f"larger{i}", reset_less=True), Signal(name=f"takes{i}")
            m.d.comb += takes.eq(self.begin | (~self.pad & larger))
            if self.ahead:
                following = self.next[i]
                m.d.sync += larger.eq(
                    Mux(self.load[i] & takes, following > taken, following > largest)
                )
            else:
                m.d.comb += larger.eq(byte > largest)
            with m.If(self.load[i]):
                m.d.sync += total.eq(Mux(self.begin, 0, total) + Mux(self.pad, 0, byte))
                with m.If(takes):
                    m.d.sync += largest.eq(taken)
            m.d.comb += [self.sums[i].eq(total), self.maxima[i].eq(largest)]
        return m
