"""Bank: the registers of a map, between a bus and the engine."""

from amaranth.hdl import Cat, Const, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.registers import WORD, Access, Register, RegisterMap

BITS = 8 * WORD


class RegisterPort(wiring.Signature):
    """An access to a register; from bus to bank, one at a time.

    Parameters
    ----------
    address_bits : int
        Of a register's number: its offset / 4.

    Members
    -------
    valid : Out(1)
        Held, with what follows, up to `done`; 0 in the cycle after it.
    write : Out(1), address : Out(address_bits), data : Out(32)
    mask : Out(4)
        Bytes of `data` that are written.
    done : In(1), pulse
    read_data : In(32), with `done`
    error : In(1), with `done`
        There is no such register.
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {
                "valid": Out(1),
                "write": Out(1),
                "address": Out(address_bits),
                "data": Out(BITS),
                "mask": Out(WORD),
                "done": In(1),
                "read_data": In(BITS),
                "error": In(1),
            }
        )


def layout(register: Register) -> data.FlexibleLayout:
    """A register's fields, as a view of its 32 bits."""
    return data.FlexibleLayout(
        BITS,
        {
            one.name: data.Field(signed(one.bits) if one.signed else unsigned(one.bits), one.low)
            for one in register.fields
        },
    )


def members(registers: RegisterMap) -> dict:
    """Ports of a map on the engine's side, by the registers' names in lower case."""
    found = {}
    for one in registers.registers:
        shape, name = layout(one), one.port
        if one.access is Access.READ and not one.constant:
            found[name] = In(shape) if one.count is None else In(shape).array(one.count)
        elif one.access is Access.BOTH:
            first = {each.name: (one.value & each.mask) >> each.low for each in one.fields}
            found[name] = Out(shape, init=first)
        elif one.access is Access.WRITE:
            found[name] = Out(shape)
        elif one.access is Access.CLEAR:
            found[name] = Out(shape)
            found[f"{name}_set"] = In(shape)
        if one.written:
            found[f"{name}_written"] = Out(1)
        if one.waits:
            found[f"{name}_ready"] = In(1)
    return found


class Bank(wiring.Component):
    """The registers of a map.

    An access takes two cycles, a write to a register that waits as many as it is not ready.
    Writes to what can only be read are ignored, what can only be written reads as 0. Bytes that a
    write's `mask` leaves out stay, or are 0 in what can only be written; a write of none is none.

    Parameters
    ----------
    registers : RegisterMap

    Ports
    -----
    port : In(RegisterPort(address_bits - 2))
    (name) : In(layout)
        Of a register that can only be read: what it reads as; an array has an array of them.
    (name) : Out(layout)
        What was written. Of one whose bits are cleared by writing 1: its bits.
    (name)_set : In(layout)
        Sets bits of such a register; stronger than clearing.
    (name)_written : Out(1), pulse
        Bytes of it have just been written; of one that can only be written its value counts in this
        cycle.
    (name)_ready : In(1)
        Of one that waits: a write may be done.
    """

    def __init__(self, registers: RegisterMap):
        self.registers = registers
        number_bits = registers.address_bits - (WORD - 1).bit_length()
        super().__init__({"port": In(RegisterPort(number_bits)), **members(registers)})

    def elaborate(self, platform):
        m = Module()
        port = self.port
        serve, held = Signal(), Signal()
        m.d.comb += serve.eq(port.valid & ~port.done & ~held)
        m.d.sync += port.done.eq(serve)
        mask = Signal(BITS)
        m.d.comb += mask.eq(Cat(bit.replicate(8) for bit in port.mask))
        with m.If(serve):
            m.d.sync += [port.read_data.eq(0), port.error.eq(0)]
        for one in self.registers.registers:
            if one.written:
                m.d.sync += self._of(one, "_written").eq(0)
            if one.access is Access.CLEAR:
                now = self._of(one).as_value()
                m.d.sync += now.eq(now | self._of(one, "_set").as_value())
        with m.Switch(port.address):
            for one in self.registers.registers:
                for index in range(one.size):
                    with m.Case(one.offset // WORD + index):
                        self._access(m, one, index, serve, held, mask)
            with m.Default():
                with m.If(serve):
                    m.d.sync += port.error.eq(1)
        return m

    def _of(self, register: Register, suffix: str = ""):
        return getattr(self, register.port + suffix)

    def _access(self, m, one, index, serve, held, mask):
        """What reading and writing a register does; inside of the case of its address."""
        port = self.port
        writes = serve & port.write
        if one.waits:
            m.d.comb += held.eq(port.write & ~self._of(one, "_ready"))
        if one.constant:
            value = Const(one.value, BITS)
        elif one.access is Access.WRITE:
            value = Const(0, BITS)
        else:
            found = self._of(one)
            value = (found if one.count is None else found[index]).as_value()
        used = sum(each.mask for each in one.fields)
        with m.If(serve):
            m.d.sync += port.read_data.eq(value & used)
        if one.access is Access.READ:
            return
        now = self._of(one).as_value()
        with m.If(writes):
            if one.access is Access.CLEAR:
                m.d.sync += now.eq(now & ~(port.data & mask) | self._of(one, "_set").as_value())
            elif one.access is Access.WRITE:
                m.d.sync += now.eq(port.data & mask & used)
            else:
                m.d.sync += now.eq((now & ~mask | port.data & mask) & used)
            if one.written:
                m.d.sync += self._of(one, "_written").eq(port.mask.any())
