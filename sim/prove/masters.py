"""Masters of the camera's set-up and of the flash: whatever the other side does, they end."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.camera.sccb import Write
from sim.prove.bench import Bench, before, check, inputs


def quarters(part):
    """A quarter of a bit ends in time, however long SCL is held."""
    m = Module()
    m.submodules.unit = unit = part(cycles=4, patience=5)
    bound = (unit.cycles + 1) * (unit.patience + 1) + 1  # SCL may fall in each of them again
    age, running = Signal(range(2 * bound)), Signal()
    with m.If(unit.restart):
        m.d.sync += running.eq(1)
    m.d.sync += age.eq(age + 1)
    with m.If(unit.restart | unit.step | ~unit.run | ~running):
        m.d.sync += age.eq(0)
    check(m, age <= bound)
    return Bench(m, inputs(unit), {"a held one": age > unit.cycles + unit.patience})


class _AnyQuarter(wiring.Component):
    """Quarters that end when they like."""

    def __init__(self):
        names = ("restart", "run", "released", "free_step", "free_tired")
        super().__init__(dict.fromkeys(names, In(1)) | dict.fromkeys(("step", "tired"), Out(1)))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.step.eq(self.free_step & self.run), self.tired.eq(self.free_tired)]
        return m


def sccb_bus(part, acknowledge=True):
    """A write ends after its bits' quarters, whatever both pins do and however long these are."""
    m = Module()
    m.submodules.unit = unit = part(size=1, quarter=4, patience=4, acknowledge=acknowledge)
    m.submodules.other, unit.quarters = unit.quarters, _AnyQuarter()
    quarters = unit.quarters
    asked, busy = Signal(name="asked"), Signal()
    bound = 4 * (9 * unit.size + 2)
    steps = Signal(range(2 * bound))
    m.d.comb += unit.start.eq(asked & ~busy)
    with m.If(unit.start):
        m.d.sync += [busy.eq(1), steps.eq(0)]
    with m.Elif(unit.done):
        m.d.sync += busy.eq(0)
    with m.If(quarters.step):
        m.d.sync += steps.eq(steps + 1)
    check(m, ~unit.done | (busy & quarters.step), steps < bound)
    free = [quarters.free_step, quarters.free_tired, asked]
    return Bench(m, [*inputs(unit, "start"), *free], {"the end": unit.done})


def sccb(part, acknowledge=True):
    """A table ends, whatever SDA does: with its last write, or with an error.

    Nobody holds SCL here; how long that may last is `quarters`'.
    """
    m = Module()
    unit = part(
        table=[Write(register=1, value=2, name="a", reason="")],
        device=0x21,
        clock_hz=16,
        bus_hz=1,
        acknowledge=acknowledge,
        retries=0,
        power_up_ms=0,
        stretch_us=1,
    )
    unit.quarter = unit.stretch_cycles = 2  # below what it is made with: sccb_bus has any
    m.submodules.unit = unit
    m.d.comb += unit.scl_i.eq(~unit.scl_oe)
    # 29 bits of four quarters, each with the time that SCL takes to be seen
    bound = 4 * 29 * (unit.quarter + 2) + 8
    age = Signal(range(2 * bound))
    m.d.sync += age.eq(0)
    with m.If(unit.busy):
        m.d.sync += age.eq(age + 1)
    check(m, age <= bound, ~(unit.busy & (unit.done | unit.error)))
    return Bench(m, inputs(unit, "scl_i"), {"the end": unit.done | unit.error})


def flash(part):
    """A load that is busy goes on to the next bit, whatever the flash answers.

    While the engine takes its bytes; how many there are is counted down.
    """
    m = Module()
    unit = part(length=3, config="00" * 32, divisor=2, wake_cycles=1, tries=2)
    m.submodules.unit = unit
    m.d.comb += unit.load.ready.eq(1)
    rises = unit.spi.clock & ~before(m, unit.spi.clock, "clock")
    # between two bytes: looked at, passed on, asked for; or given up and woken anew
    bound = 16
    still = Signal(range(2 * bound))
    m.d.sync += still.eq(0)
    with m.If(unit.busy & ~rises):
        m.d.sync += still.eq(still + 1)
    check(m, still <= bound, unit.busy + unit.ready + unit.failed == 1)
    return Bench(
        m, inputs(unit, "load__ready"), {"the image": unit.load.valid, "given up": unit.failed}
    )


def spi_bytes(part):
    """A byte takes its eight bits, each with one pulse of the clock, and no longer."""
    m = Module()
    m.submodules.unit = unit = part(divisor=2)
    length = 8 * unit.divisor + 1
    age, bits, start = Signal(range(length + 2), init=length + 1), Signal(4), Signal(name="asked")
    busy = age < length
    m.d.comb += unit.start.eq(start & ~busy)
    with m.If(age <= length):
        m.d.sync += age.eq(age + 1)
    rises = unit.clock & ~before(m, unit.clock, "clock")
    with m.If(rises):
        m.d.sync += bits.eq(bits + 1)
    with m.If(unit.start):
        m.d.sync += [age.eq(1), bits.eq(0)]
    check(m, unit.last_bit == (age == length), ~rises | busy)
    check(m, bits == 8, when=unit.last_bit)
    return Bench(m, [*inputs(unit, "start"), start], {"a byte": unit.last_bit})
