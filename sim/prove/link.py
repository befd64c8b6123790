"""Properties of a board's link: UART, packets, what is copied for the host."""

from types import SimpleNamespace

from amaranth.hdl import Assume, Module, Mux, Signal

from boards.link.memory import ROTATION, Layout
from boards.packets import SYNC, Kind, crc16
from boards.uart import BYTE_BITS, UartTransmitter
from golden.config import ModelConfig
from sim.prove.bench import Bench, check, inputs, some


def uart(part, divisor=4):
    """After anything on the line and a byte's time of rest, the next byte is received."""
    m = Module()
    m.submodules.unit = unit = part(divisor=divisor)
    m.submodules.other = other = UartTransmitter(divisor=divisor)
    noise, clean = Signal(name="noise"), Signal(name="clean")
    byte, free = some(m, 8, "byte")
    rest = BYTE_BITS * divisor + 2  # and two flip-flops
    done = rest + BYTE_BITS * divisor + 4
    age = Signal(range(done + 2))  # since the line is clean
    with m.If(clean | (age != 0)):
        m.d.sync += age.eq(age + (age <= done))
    m.d.comb += [
        other.data.eq(byte),
        other.valid.eq(age == rest),
        unit.pin.eq(Mux(age == 0, noise, other.pin)),
    ]
    came = Signal(2)
    with m.If((age > rest) & unit.valid):
        m.d.sync += came.eq(came + (came != 3))
    check(m, ~unit.framing, ~unit.glitch, when=age > rest)
    check(m, unit.data == byte, when=(age > rest) & unit.valid)
    check(m, came == 1, when=age == done)
    return Bench(m, [noise, clean, free], {"received": (age == done) & (came == 1)})


def parser(part):
    """After any bytes and as many that are no SYNC as a packet may have, a packet is taken."""
    m = Module()
    layout = SimpleNamespace(buffer=1, lowest=4, depth=8)
    m.submodules.unit = unit = part(layout=layout)
    phase, since = Signal(2), Signal(range(2 * ROTATION), init=2 * ROTATION - 1)
    m.d.sync += phase.eq(phase + 1)
    full = since == 2 * ROTATION - 1
    comes = Signal(name="comes")
    byte, free = Signal(8), Signal(8, name="other_byte")
    m.d.comb += [unit.phase.eq(phase), unit.rx_valid.eq(comes & full), unit.rx_data.eq(byte)]
    kept = Signal(8)
    with m.If(unit.rx_valid):
        m.d.sync += [since.eq(0), kept.eq(byte)]
    with m.Elif(~full):
        m.d.sync += since.eq(since + 1)
    longest = 6 + layout.lowest
    # 0: anything; then so many bytes that are no SYNC; then a packet
    quiet, begin = Signal(range(longest + 8)), Signal(name="begin")
    data = bytes([SYNC, Kind.ASK, 0, 0])
    body = [*data, *_crc(data[1:])]
    m.d.comb += byte.eq(Mux(full, free, kept))
    for i, each in enumerate(body):
        with m.If(full & (quiet == longest + i)):
            m.d.comb += byte.eq(each)
    with m.If(unit.rx_valid & ((quiet != 0) | begin) & (quiet != longest + len(body))):
        m.d.sync += quiet.eq(quiet + 1)
    inside = (quiet != 0) & (quiet < longest) | (quiet == 0) & begin
    m.d.comb += Assume(~(unit.rx_valid & inside & (byte == SYNC)))
    m.d.comb += Assume(~(unit.rx_error & (quiet != 0)))
    ended, late = Signal(), Signal()
    m.d.sync += [ended.eq(unit.rx_valid & (quiet == longest + len(body) - 1)), late.eq(ended)]
    check(m, unit.asked, when=ended)
    free_inputs = inputs(unit, "phase", "rx_valid", "rx_data")
    return Bench(m, [*free_inputs, comes, free, begin], {"a packet": ended})


def copier(part):
    """An event that waits is copied in time, also when nobody answers for the state any more."""
    m = Module()
    model = ModelConfig(
        name="copied",
        image_height=5,
        image_width=16,
        heads=1,
        head_channels=(1, 1, 1, 1),
        state_channels=2,
        spatial_attention="none",
        channel_attention=False,
        in_channels=1,
    )
    # packets shorter than they are: one byte of logits, one of the state
    layout = Layout(buffer=1, event_bytes=9, state_bytes=9)
    m.submodules.unit = unit = part(model=model, pixels=1, layout=layout)
    waiting, state, phase = unit.waiting, unit.state, Signal(2)
    m.d.sync += phase.eq(phase + 1)
    comes, waits = Signal(name="comes"), Signal()
    with m.If(waiting.copied.fault):
        m.d.sync += waits.eq(0)
    with m.Elif(comes):
        m.d.sync += waits.eq(1)
    m.d.comb += [
        unit.phase.eq(phase),
        waiting.pending.fault.eq(waits),
        unit.slots.sent.eq(unit.slots.due & (phase == 3)),
    ]
    # a word is answered within some cycles, if the state is wanted all the time
    asked, late, slowest = Signal(), Signal(2), 3
    with m.If(state.valid | ~waiting.dumping):
        m.d.sync += [asked.eq(0), late.eq(0)]
    with m.Elif(asked):
        m.d.sync += late.eq(late + 1)
    with m.If(state.read & waiting.dumping):
        m.d.sync += [asked.eq(1), late.eq(0)]
    m.d.comb += Assume(~(asked & (late == slowest) & waiting.dumping & ~state.valid))
    # a channel, or a hello, that has begun; and the event
    other = ROTATION * (layout.state_bytes + 2)
    bound = other + ROTATION * (layout.event_bytes + 1)
    age = Signal(range(2 * bound))
    m.d.sync += age.eq(Mux(waits & ~waiting.copied.fault, age + 1, 0))
    check(m, age <= bound)
    given = inputs(unit, "phase", "waiting__pending", "waiting__changed", "slots__sent")
    return Bench(m, [*given, comes], {"copied": waiting.copied.fault, "a channel": waiting.dumped})


def _crc(data: bytes) -> bytes:
    return crc16(data).to_bytes(2, "big")
