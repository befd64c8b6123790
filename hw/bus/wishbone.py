"""Wishbone: registers on that bus."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.bank import BITS, RegisterPort
from hw.bus.registers import WORD


class Wishbone(wiring.Signature):
    """Wishbone B4, classic cycles, 32 bits of data in bytes; from master to slave.

    Parameters
    ----------
    address_bits : int
        Of a register's number: the bus's byte address without its lowest two bits.

    Members
    -------
    cyc, stb, we : Out(1)
    adr : Out(address_bits)
    dat_w : Out(32), sel : Out(4)
    dat_r : In(32)
    ack, err : In(1)
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {
                "cyc": Out(1),
                "stb": Out(1),
                "we": Out(1),
                "adr": Out(address_bits),
                "dat_w": Out(BITS),
                "sel": Out(WORD),
                "dat_r": In(BITS),
                "ack": In(1),
                "err": In(1),
            }
        )


class WishboneSlave(wiring.Component):
    """Answers each strobe with `ack`, or `err` where there is no such register.

    Both are registers, and 0 while no strobe stands. A master that takes its strobe back before the
    answer gets none; what it wrote may have been written.

    Parameters
    ----------
    address_bits : int
        Of a byte address.

    Ports
    -----
    bus : In(Wishbone(address_bits - 2))
    port : Out(RegisterPort(address_bits - 2))
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {"bus": In(Wishbone(address_bits - 2)), "port": Out(RegisterPort(address_bits - 2))}
        )

    def elaborate(self, platform):
        m = Module()
        bus, port = self.bus, self.port
        strobe, given_up, answer = Signal(), Signal(), Signal()
        ack, err = Signal(), Signal()
        m.d.comb += [
            strobe.eq(bus.cyc & bus.stb),
            answer.eq(port.done & ~given_up),
            bus.ack.eq(ack & strobe),
            bus.err.eq(err & strobe),
        ]
        m.d.sync += [ack.eq(answer & strobe & ~port.error), err.eq(answer & strobe & port.error)]
        with m.If(~port.valid):
            with m.If(strobe & ~ack & ~err):
                m.d.sync += [
                    port.valid.eq(1),
                    given_up.eq(0),
                    port.write.eq(bus.we),
                    port.address.eq(bus.adr),
                    port.data.eq(bus.dat_w),
                    port.mask.eq(bus.sel),
                ]
        with m.Else():
            with m.If(~strobe):
                m.d.sync += given_up.eq(1)
            with m.If(port.done):
                m.d.sync += [port.valid.eq(0), bus.dat_r.eq(port.read_data)]
        return m
