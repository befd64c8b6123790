"""Writes a camera's registers: SCCB (OmniVision's write-only relative of I2C), or I2C."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


@dataclass(frozen=True, kw_only=True)
class Write:
    """One register: address, value, name and reason (documentation), pause after it in ms."""

    register: int
    value: int
    name: str
    reason: str
    wait_ms: int = 0

    def __post_init__(self) -> None:
        for field, high in (("register", 0xFFFF), ("value", 0xFF), ("wait_ms", 0xFFFF)):
            if not 0 <= getattr(self, field) <= high:
                raise ValueError(f"{field} must be 0..{high}, not {getattr(self, field)}")


class QuarterTimer(wiring.Component):
    """Quarters of a bus's bit. One ends no sooner than `cycles` after SCL is as it shall be, or
    when the patience with a slave that holds SCL has come to an end.

    Parameters
    ----------
    cycles : int
        Of a quarter, at least 2.
    patience : int
        Cycles.

    Ports
    -----
    restart : In(1), pulse: a quarter begins
    run : In(1), quarters follow one another
    released : In(1), SCL is as it shall be: high, or pulled low by us
    step : Out(1), pulse: a quarter has ended, the cycle before
    tired : Out(1), with `step`: because patience has
    """

    def __init__(self, *, cycles: int, patience: int):
        self.cycles, self.patience = cycles, patience
        super().__init__(
            {"restart": In(1), "run": In(1), "released": In(1), "step": Out(1), "tired": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        # cycles that are left, less one: negative when they are over
        timer = Signal(range(-1, self.cycles - 1), reset_less=True)
        patience = Signal(range(-1, self.patience), reset_less=True)
        held, over = Signal(), Signal()  # some of the patience is gone; the quarter is over
        tired, timed = patience[-1], timer[-1]
        m.d.comb += over.eq(self.run & timed & (self.released & ~held | tired))
        m.d.sync += [self.step.eq(over), self.tired.eq(tired)]
        with m.If(self.run):
            with m.If(~timed):
                m.d.sync += timer.eq(timer - 1)
            with m.Elif(over | self.released):  # it was held: now it is high for its whole time
                m.d.sync += [timer.eq(self.cycles - 2), held.eq(0)]
                with m.If(over):  # a slave that lets go now and then tires us, too
                    m.d.sync += patience.eq(self.patience - 1)
            with m.Else():
                m.d.sync += [held.eq(1), patience.eq(patience - 1)]
        with m.If(self.restart):
            m.d.sync += [timer.eq(self.cycles - 2), held.eq(0), patience.eq(self.patience - 1)]
        return m


class _Phase(enum.Enum, shape=2):
    IDLE = 0
    START = 1
    BITS = 2
    STOP = 3


class SccbBus(wiring.Component):
    """One write on the bus: START, bytes with a released ninth bit each, STOP.

    If SDA is low when it begins, a slave is in the middle of a byte: then nine clocks free it,
    and the write has failed.

    Parameters
    ----------
    size : int
        Bytes of a write, device and register included.
    quarter : int
        Cycles of a quarter of a bit.
    patience : int
        Cycles for which a slave may hold SCL; longer is a failure.
    acknowledge : bool
        Whether the ninth bits are looked at: a high one is a failure, and ends the write.

    Ports
    -----
    start : In(1), pulse, while not busy; bytes : In(8 * size), with it: first byte at the top
    done : Out(1), pulse; failed : Out(1), with it
    scl_i, sda_i : In(1), the pins (synchronised here); scl_oe, sda_oe : Out(1), pull low
    """

    def __init__(self, *, size: int, quarter: int, patience: int, acknowledge: bool):
        self.size, self.acknowledge = size, acknowledge
        self.quarters = QuarterTimer(cycles=quarter, patience=patience)
        super().__init__(
            {
                "start": In(1),
                "bytes": In(8 * size),
                "done": Out(1),
                "failed": Out(1),
                "scl_i": In(1, init=1),
                "sda_i": In(1, init=1),
                "scl_oe": Out(1),
                "sda_oe": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        scl, sda = Signal(init=1), Signal(init=1)
        m.submodules.scl = FFSynchronizer(self.scl_i, scl, init=1)
        m.submodules.sda = FFSynchronizer(self.sda_i, sda, init=1)
        m.submodules.quarters = quarters = self.quarters
        low_scl, low_sda, failed = self.scl_oe, self.sda_oe, self.failed
        sent = Cat(Cat(1, self.bytes.word_select(i, 8)) for i in range(self.size))
        bits = len(sent)
        # what is set before it is used has no reset: a counter's bits then share their controls
        shift, left, in_byte = (
            Signal(shape, name=name, reset_less=True)
            for name, shape in (("shift", bits), ("left", range(bits + 1)), ("in_byte", range(9)))
        )
        state, phase, freeing = Signal(_Phase), Signal(2), Signal()
        running = Signal()  # not IDLE: a flip-flop, as the timer's longest way begins there
        m.d.comb += [
            quarters.restart.eq(self.start),
            quarters.run.eq(running),
            # a released SCL that is still low: the slave holds it
            quarters.released.eq(low_scl | scl),
        ]
        step = quarters.step
        with m.If(step):
            m.d.sync += phase.eq(phase + 1)
            with m.If(quarters.tired):
                m.d.sync += failed.eq(1)
        with m.Switch(state):
            with m.Case(_Phase.START):
                # quarters: free; SDA falls; SCL falls. Nine clocks that free SDA have no START.
                with m.If(step & (phase == 0)):
                    m.d.sync += low_sda.eq(~freeing)
                with m.If(step & (phase == 1)):
                    m.d.sync += low_scl.eq(1)
                with m.If(step & (phase == 2)):
                    m.d.sync += [phase.eq(0), state.eq(_Phase.BITS), low_sda.eq(~shift[-1])]
            with m.Case(_Phase.BITS):
                # quarters: SCL low with the new bit; SCL rises; the ninth is read; SCL falls
                with m.If(step & (phase == 0)):
                    m.d.sync += low_scl.eq(0)
                with m.If(step & (phase == 2)):
                    m.d.sync += low_scl.eq(1)
                    if self.acknowledge:
                        with m.If((in_byte == 8) & sda & ~freeing):
                            m.d.sync += failed.eq(1)
                with m.If(step & (phase == 3)):
                    m.d.sync += [
                        shift.eq(Cat(1, shift)),
                        left.eq(left - 1),
                        in_byte.eq(Mux(in_byte == 8, 0, in_byte + 1)),
                        low_sda.eq(~shift[-2]),
                    ]
                    with m.If((left == 1) | failed & ~freeing):
                        m.d.sync += [state.eq(_Phase.STOP), low_sda.eq(1)]
            with m.Case(_Phase.STOP):
                # quarters: both low; SCL rises; SDA rises; free
                with m.If(step & (phase == 0)):
                    m.d.sync += low_scl.eq(0)
                with m.If(step & (phase == 1)):
                    m.d.sync += low_sda.eq(0)
                with m.If(step & (phase == 3)):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [state.eq(_Phase.IDLE), running.eq(0)]
        with m.If(self.start):
            m.d.sync += [
                shift.eq(Mux(sda, sent, Const(-1, bits))),
                left.eq(Mux(sda, bits, 9)),
                freeing.eq(~sda),
                failed.eq(~sda),
                in_byte.eq(0),
                phase.eq(0),
                state.eq(_Phase.START),
                running.eq(1),
            ]
        return m


class _State(enum.Enum, shape=2):
    IDLE = 0
    PAUSE = 1
    FETCH = 2
    WRITE = 3


class SccbMaster(wiring.Component):
    """Writes a table, register after register, each as START, device, address, value, STOP.

    Lines are open drain: `*_oe` pulls low, a resistor (or the FPGA's weak pull-up) makes them high.
    SCCB leaves the ninth bit of each byte undefined, so only with `acknowledge` is it looked at:
    a write without acknowledge is tried again, up to `retries` times, then `error` stands and the
    table is not gone on with. A slave may hold SCL low; after `stretch_us` that is a failure, too.
    A slave that holds SDA low, because a reset came in the middle of a byte, is clocked free.

    Parameters
    ----------
    table : sequence of Write
    device : int
        Seven bits.
    clock_hz : int
        Of `sync`.
    bus_hz : int
        At most 400,000; the bus is never faster than this.
    register_bytes : {1, 2}
    acknowledge : bool
    retries : int
        Further attempts for each write.
    power_up_ms : int
        Pause before the first write.
    stretch_us : int

    Ports
    -----
    start : In(1), pulse
        The table from its beginning (while not `busy`).
    busy : Out(1)
    done, error : Out(1)
        How it ended, until the next start.
    index : Out(range(len(table)))
        The write at hand, or that failed.
    scl_i, sda_i : In(1)
        The pins (synchronised here).
    scl_oe, sda_oe : Out(1)
        Pull low.

    `bit_cycles`: cycles of a bit without stretching; `latency`: of the whole table without
    failures, from `start` to `done`.
    """

    def __init__(
        self,
        *,
        table: Sequence[Write],
        device: int,
        clock_hz: int,
        bus_hz: int = 100_000,
        register_bytes: int = 1,
        acknowledge: bool = False,
        retries: int = 3,
        power_up_ms: int = 10,
        stretch_us: int = 1000,
    ):
        if not table:
            raise ValueError("table must have at least one write, not 0")
        if not 0 <= device <= 0x7F:
            raise ValueError(f"device must be 0..127, not {device}")
        if not 1 <= bus_hz <= 400_000:
            raise ValueError(f"bus_hz must be 1..400000, not {bus_hz}")
        if clock_hz < 16 * bus_hz:
            raise ValueError(
                f"clock_hz must be at least 16 * bus_hz = {16 * bus_hz}, not {clock_hz}"
            )
        if register_bytes not in (1, 2):
            raise ValueError(f"register_bytes must be 1 or 2, not {register_bytes!r}")
        if retries < 0:
            raise ValueError(f"retries must be at least 0, not {retries}")
        if power_up_ms < 0:
            raise ValueError(f"power_up_ms must be at least 0, not {power_up_ms}")
        if stretch_us < 1:
            raise ValueError(f"stretch_us must be at least 1, not {stretch_us}")
        for write in table:
            if write.register >> 8 * register_bytes:
                raise ValueError(
                    f"register must be 0..{(1 << 8 * register_bytes) - 1} "
                    f"(register_bytes = {register_bytes}), not {write.register}"
                )
        self.table, self.device, self.acknowledge = tuple(table), device, acknowledge
        self.register_bytes, self.retries = register_bytes, retries
        self.quarter = -(-clock_hz // (4 * bus_hz))
        self.ms_cycles = -(-clock_hz // 1000)
        self.power_up_ms = power_up_ms
        self.stretch_cycles = max(4, -(-clock_hz * stretch_us // 1_000_000))
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(1),
                "index": Out(range(len(self.table))),
                "scl_i": In(1, init=1),
                "sda_i": In(1, init=1),
                "scl_oe": Out(1),
                "sda_oe": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = 8 * self.register_bytes
        most = max(w.wait_ms for w in self.table)
        wait_bits = max(most, self.power_up_ms, 1).bit_length()
        # pauses are counted below zero: in the table, too
        waits = [(w.wait_ms - 1) % (2 << wait_bits) for w in self.table]
        words = [
            w.register << 8 | w.value | wait << size + 8
            for w, wait in zip(self.table, waits, strict=True)
        ]
        rom = m.submodules.table = Memory(
            shape=size + 9 + wait_bits, depth=len(words), init=words, attrs={"ram_style": "block"}
        )
        port = rom.read_port()
        word = Signal.like(port.data, name="word", reset_less=True)
        m.d.sync += word.eq(port.data)
        wait = word[8 + size :].as_signed()
        m.submodules.bus = bus = SccbBus(
            size=2 + self.register_bytes,
            quarter=self.quarter,
            patience=self.stretch_cycles,
            acknowledge=self.acknowledge,
        )
        state, last = Signal(_State), Signal()
        # both less one: negative when they are over
        pause = Signal(signed(wait_bits + 1), reset_less=True)
        prescale = Signal(range(-1, self.ms_cycles - 1), reset_less=True)
        fetched = Signal()
        tries = Signal(range(self.retries + 1))
        m.d.comb += [
            port.addr.eq(self.index),
            self.busy.eq(state != _State.IDLE),
            bus.start.eq(fetched),  # the table's word is there
            bus.bytes.eq(Cat(word[: 8 + size], Const(self.device << 1, 8))),
            bus.scl_i.eq(self.scl_i),
            bus.sda_i.eq(self.sda_i),
            self.scl_oe.eq(bus.scl_oe),
            self.sda_oe.eq(bus.sda_oe),
        ]
        ended = Signal()  # a cycle late, as much hangs on it
        m.d.sync += [fetched.eq(state == _State.FETCH), ended.eq(bus.done)]
        with m.Switch(state):
            with m.Case(_State.IDLE):
                with m.If(self.start):
                    m.d.sync += [
                        self.done.eq(0),
                        self.error.eq(0),
                        self.index.eq(0),
                        tries.eq(0),
                        last.eq(0),
                        pause.eq(self.power_up_ms - 1),
                        prescale.eq(self.ms_cycles - 2),
                        state.eq(_State.PAUSE),
                    ]
            with m.Case(_State.PAUSE):
                with m.If(pause[-1]):
                    m.d.sync += [
                        self.done.eq(last),
                        state.eq(Mux(last, _State.IDLE, _State.FETCH)),
                    ]
                with m.Elif(~prescale[-1]):
                    m.d.sync += prescale.eq(prescale - 1)
                with m.Else():
                    m.d.sync += [pause.eq(pause - 1), prescale.eq(self.ms_cycles - 2)]
            with m.Case(_State.FETCH):
                m.d.sync += state.eq(_State.WRITE)
            with m.Case(_State.WRITE):
                with m.If(ended):
                    self._next(m, state, bus.failed, tries, pause, wait, last)
        return m

    def _next(self, m, state, failed, tries, pause, wait, last):
        """After a STOP: again, the next write, or the end."""
        with m.If(failed):
            with m.If(tries == self.retries):
                m.d.sync += [self.error.eq(1), state.eq(_State.IDLE)]
            with m.Else():
                m.d.sync += [tries.eq(tries + 1), state.eq(_State.FETCH)]
        with m.Else():
            m.d.sync += [tries.eq(0), pause.eq(wait), state.eq(_State.PAUSE)]
            with m.If(self.index == len(self.table) - 1):
                m.d.sync += last.eq(1)
            with m.Else():
                m.d.sync += self.index.eq(self.index + 1)

    @property
    def bit_cycles(self) -> int:
        return 4 * self.quarter

    @property
    def latency(self) -> int:
        quarters = 3 + 4 * 9 * (2 + self.register_bytes) + 4
        pauses = self.power_up_ms + sum(write.wait_ms for write in self.table)
        writes = len(self.table)
        return pauses * self.ms_cycles + writes * (quarters * self.quarter + 5) + 2
