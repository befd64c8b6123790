"""AXI4-Lite: registers on that bus."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.bank import BITS, RegisterPort
from hw.bus.registers import WORD

OKAY, SLVERR = 0, 2
"""Responses: done; there is no such register."""


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32 bits of data; from master to slave.

    Parameters
    ----------
    address_bits : int
        Of a byte address.

    Members
    -------
    awaddr : Out(address_bits), awprot : Out(3), awvalid : Out(1), awready : In(1)
    wdata : Out(32), wstrb : Out(4), wvalid : Out(1), wready : In(1)
    bresp : In(2), bvalid : In(1), bready : Out(1)
    araddr : Out(address_bits), arprot : Out(3), arvalid : Out(1), arready : In(1)
    rdata : In(32), rresp : In(2), rvalid : In(1), rready : Out(1)
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {
                "awaddr": Out(address_bits),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(BITS),
                "wstrb": Out(WORD),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(address_bits),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiLiteSlave(wiring.Component):
    """Takes turns with what comes to write and to read; one access at a time.

    Every output is a register or the opposite of one: nothing goes from an input to an output
    within a cycle. Addresses that are no register's get SLVERR. The protection bits are ignored,
    and the lowest two of an address.

    Parameters
    ----------
    address_bits : int
        Of a byte address.

    Ports
    -----
    bus : In(AxiLite(address_bits))
    port : Out(RegisterPort(address_bits - 2))
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {"bus": In(AxiLite(address_bits)), "port": Out(RegisterPort(address_bits - 2))}
        )

    def elaborate(self, platform):
        m = Module()
        bus, port = self.bus, self.port
        write_address, read_address = Signal.like(port.address), Signal.like(port.address)
        addressed, filled, asked = Signal(), Signal(), Signal()
        writing, turn = Signal(), Signal()  # turn: what reads is next
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [addressed.eq(1), write_address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [filled.eq(1), port.data.eq(bus.wdata), port.mask.eq(bus.wstrb)]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [asked.eq(1), read_address.eq(bus.araddr[2:])]
        may_write, may_read = Signal(), Signal()
        m.d.comb += [
            bus.awready.eq(~addressed),
            bus.wready.eq(~filled),
            bus.arready.eq(~asked),
            port.write.eq(writing),
            port.address.eq(Mux(writing, write_address, read_address)),
            may_write.eq(addressed & filled & ~bus.bvalid),
            may_read.eq(asked & ~bus.rvalid),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        response = Mux(port.error, SLVERR, OKAY)
        with m.If(~port.valid):
            with m.If(may_write & ~(may_read & turn)):
                m.d.sync += [port.valid.eq(1), writing.eq(1), turn.eq(1)]
            with m.Elif(may_read):
                m.d.sync += [port.valid.eq(1), writing.eq(0), turn.eq(0)]
        with m.Elif(port.done):
            m.d.sync += port.valid.eq(0)
            with m.If(writing):
                m.d.sync += [addressed.eq(0), filled.eq(0), bus.bvalid.eq(1)]
                m.d.sync += bus.bresp.eq(response)
            with m.Else():
                m.d.sync += [asked.eq(0), bus.rvalid.eq(1), bus.rresp.eq(response)]
                m.d.sync += bus.rdata.eq(port.read_data)
        return m
