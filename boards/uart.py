"""UART, 8N1: bytes to and from a pin."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from boards.held import Held, number

TOLERANCE = 0.02
"""Of a ten-bit byte read in the middle of its bits, half a bit is 5 %; the other end needs some."""
MIN_DIVISOR = 4
BYTE_BITS = 10  # start, eight, stop


def baud_divisor(clock_hz: float, baud: float) -> int:
    """Clock cycles of a bit; ValueError if the clock cannot make this baud rate."""
    if baud <= 0 or clock_hz <= 0:
        raise ValueError(f"clock and baud rate must be positive, not {clock_hz:g} and {baud:g}")
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR:
        raise ValueError(
            f"a bit must take at least {MIN_DIVISOR} cycles: {baud:g} baud needs a clock of "
            f"{MIN_DIVISOR * baud:g} Hz, not {clock_hz:g}"
        )
    off = clock_hz / (divisor * baud) - 1
    if abs(off) > TOLERANCE:
        raise ValueError(
            f"the baud rate must be met within {100 * TOLERANCE:g} %: {clock_hz:g} Hz / {divisor} "
            f"is {100 * off:+.1f} % off {baud:g} baud"
        )
    return divisor


def _cycles(divisor: int | Held) -> tuple[int, Held | None]:
    cycles, held = (divisor.cycles, divisor) if isinstance(divisor, Held) else (divisor, None)
    if cycles < MIN_DIVISOR:
        raise ValueError(f"divisor must be at least {MIN_DIVISOR}, not {cycles}")
    return cycles, held


class UartTransmitter(wiring.Component):
    """Sends bytes.

    Parameters
    ----------
    divisor : int or Held
        Clock cycles of a bit, see `baud_divisor`; as lookup tables, if `Held`.

    Ports
    -----
    valid : In(1), data : In(8), ready : Out(1)
        A byte is taken in the cycle with both.
    pin : Out(1)
        1 while nothing is sent. Registered.

    Cycles: ``10 * divisor`` a byte, without gaps while ``valid``.
    """

    def __init__(self, *, divisor: int | Held):
        self.divisor, self.held = _cycles(divisor)
        super().__init__(
            {"valid": In(1), "data": In(8), "ready": Out(1), "pin": Out(1, init=1)},
        )

    def elaborate(self, platform):
        m = Module()
        reload = number(m, "reload", self.divisor - 1, self.held)
        timer = Signal(reload.shape())
        # the bits still to be sent behind the one on the pin; 1 with nothing but 0 above it: none
        bits = Signal(BYTE_BITS, init=1)
        tick, last = Signal(), Signal()
        m.d.comb += [
            tick.eq(timer == 0),
            last.eq(bits == 1),
            self.ready.eq(tick & last),
        ]
        m.d.sync += timer.eq(timer - 1)
        with m.If(tick):
            with m.If(~last):
                m.d.sync += [Cat(self.pin, bits).eq(bits), timer.eq(reload)]
            with m.Elif(self.valid):
                m.d.sync += [
                    self.pin.eq(0),
                    bits.eq(Cat(self.data, 1, 1)),
                    timer.eq(reload),
                ]
            with m.Else():
                m.d.sync += timer.eq(0)
        return m


class UartReceiver(wiring.Component):
    """Receives bytes. The pin passes two flip-flops.

    Parameters
    ----------
    divisor : int or Held
        Clock cycles of a bit, see `baud_divisor`; as lookup tables, if `Held`.

    Ports
    -----
    pin : In(1), asynchronous
    valid : Out(1), pulse; data : Out(8), stays until the first bit of the next byte, at least
        ``divisor`` cycles
    glitch : Out(1), pulse: a start bit that was over before its middle; nothing was received
    framing : Out(1), pulse: no stop bit; the byte is dropped, the next start bit needs a 1 before
        it (so that a broken line counts once)
    """

    def __init__(self, *, divisor: int | Held):
        self.divisor, self.held = _cycles(divisor)
        super().__init__(
            {
                "pin": In(1),
                "valid": Out(1),
                "data": Out(8),
                "glitch": Out(1),
                "framing": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.pin, line, init=1)
        reload = number(m, "reload", self.divisor - 1, self.held)
        half = number(m, "half", (self.divisor - 1) // 2 - 1, self.held)
        timer = Signal(reload.shape())
        # a 1 that the start bit puts at the top and that eight bits push out at the bottom
        marker = Signal(8)
        shift = self.data
        starting, full = Signal(), Signal()
        m.d.sync += [
            timer.eq(timer - 1),
            self.valid.eq(0),
            self.glitch.eq(0),
            self.framing.eq(0),
        ]
        with m.FSM():
            with m.State("IDLE"):
                # the edge was up to a cycle ago; one cycle is the step into START
                m.d.sync += timer.eq(half)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                with m.If(timer == 0):
                    m.d.sync += timer.eq(reload)
                    m.d.comb += starting.eq(~line)
                    m.d.sync += self.glitch.eq(line)
                    with m.If(line):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "BITS"
            with m.State("BITS"):
                with m.If(timer == 0):
                    m.d.sync += timer.eq(reload)
                    with m.If(full):
                        m.d.sync += [self.valid.eq(line), self.framing.eq(~line)]
                        with m.If(line):
                            m.next = "IDLE"
                        with m.Else():
                            m.next = "BREAK"
                    with m.Else():
                        m.d.sync += shift.eq(Cat(shift[1:], line))
                        m.d.sync += Cat(full, marker).eq(marker)
            with m.State("BREAK"):
                with m.If(line):
                    m.next = "IDLE"
        with m.If(starting):
            m.d.sync += [full.eq(0), marker.eq(1 << 7)]
        return m
