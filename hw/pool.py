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

    Ports
    -----
    bytes : In(signed(8)), an array of `channels`
        A column of each channel.
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

    def __init__(self, *, channels: int, columns: int):
        self.channels = channels
        super().__init__(
            {
                "bytes": In(data.ArrayLayout(signed(8), channels)),
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
            with m.If(self.load[i]):
                m.d.sync += total.eq(Mux(self.begin, 0, total) + Mux(self.pad, 0, byte))
                with m.If(self.begin | (~self.pad & (byte > largest))):
                    m.d.sync += largest.eq(Mux(self.pad, -128, byte))
            m.d.comb += [self.sums[i].eq(total), self.maxima[i].eq(largest)]
        return m
