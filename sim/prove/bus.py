"""Properties of the register buses, of the stream of pixels, and of a load in words."""

from amaranth.hdl import Assume, Cat, Module, Mux, Signal

from hw.bus.load import HOLD
from sim.prove.bench import Bench, before, check, inputs

BITS = 4  # of an address


def bank_of(m, port):
    """Any bank: it answers whenever it likes, once, while asked; returns its free signals."""
    free, data, error = Signal(name="answers"), Signal(32, name="found"), Signal(name="none")
    m.d.sync += port.done.eq(free & port.valid & ~port.done)
    m.d.sync += [port.read_data.eq(data), port.error.eq(error)]
    return [free, data, error]


def axi(part):
    """AXI4-Lite: what is valid stays; as many responses as requests."""
    m = Module()
    m.submodules.slave = slave = part(BITS)
    bus = slave.bus
    free = bank_of(m, slave.port)
    begun = before(m, 1, "begun")
    for valid, ready, payload in (
        (bus.bvalid, bus.bready, bus.bresp),
        (bus.rvalid, bus.rready, bus.rdata ^ bus.rresp),
    ):
        waits, same = Signal(), Signal.like(payload)
        m.d.sync += [waits.eq(valid & ~ready), same.eq(payload)]
        check(m, valid & (payload == same), when=begun & waits)
    for name, asks, answers in (
        ("aw", bus.awvalid & bus.awready, bus.bvalid & bus.bready),
        ("w", bus.wvalid & bus.wready, bus.bvalid & bus.bready),
        ("ar", bus.arvalid & bus.arready, bus.rvalid & bus.rready),
    ):
        open_ = Signal(3, name=f"{name}_open")
        m.d.sync += open_.eq(open_ + asks - answers)
        answering = bus.rvalid if name == "ar" else bus.bvalid
        # one that is answered, one that is kept
        check(m, open_ == ~getattr(bus, f"{name}ready") + answering)
    port = slave.port
    kept = Mux(port.write, ~bus.awready & ~bus.wready & ~bus.bvalid, ~bus.arready & ~bus.rvalid)
    check(m, kept, when=port.valid)
    check(m, port.valid, when=port.done)
    return Bench(m, [*inputs(slave, "port"), *free], {"answers": bus.rvalid & bus.bvalid})


def wishbone(part):
    """Wishbone: one answer to the strobe that stands, what the bank has said to it."""
    m = Module()
    m.submodules.slave = slave = part(BITS)
    bus = slave.bus
    free = bank_of(m, slave.port)
    strobe = bus.cyc & bus.stb
    answer = bus.ack | bus.err
    asked = before(m, strobe & ~answer, "asked")
    answered = before(m, answer, "answered")
    check(m, ~(bus.ack & bus.err), ~(answer & answered))
    check(m, strobe & asked, when=answer)
    # the access is that of the strobe that has stood since
    port, own = slave.port, Signal()
    request = Cat(bus.we, bus.adr, bus.dat_w, bus.sel)
    kept = Signal.like(request)
    with m.If(~port.valid):
        m.d.sync += [own.eq(strobe & ~answer), kept.eq(request)]
    with m.Elif(~strobe):
        m.d.sync += own.eq(0)
    check(m, Cat(port.write, port.address, port.data, port.mask) == kept, when=port.valid & own)
    due = before(m, port.done & own & strobe, "due")
    data, error = before(m, port.read_data, "data"), before(m, port.error, "error")
    check(m, answer == (due & strobe))
    check(m, bus.dat_r == data, bus.err == error, when=answer)
    reach = {"an answer": bus.ack, "an error": bus.err, "none": port.done & ~own}
    return Bench(m, [*inputs(slave, "port"), *free], reach)


def stream(part, spacing=2, delay=3):
    """As many pixels leave as come, but those that are kept; each in its order, none twice.

    Where the stream waits, none leaves sooner than it may.
    """
    m = Module()
    m.submodules.source = source = part(in_channels=1, spacing=spacing, delay=delay)
    taken, pixels = source.stream, source.pixels
    came, left = Signal(3), Signal(3)
    m.d.comb += Assume(taken.tdata[:5] == Cat(came, taken.tuser, taken.tlast))
    with m.If(taken.tvalid & taken.tready):
        m.d.sync += came.eq(came + 1)
    since, line_end = Signal(range(delay + 2), init=delay + 1), Signal(init=1)  # the pixel before
    with m.If(pixels.valid):
        m.d.sync += [left.eq(left + 1), since.eq(1), line_end.eq(pixels.eol)]
    with m.Elif(since != delay + 1):
        m.d.sync += since.eq(since + 1)
    inside = (came - left)[:3]
    check(m, pixels.luma[:5] == Cat(left, pixels.sof, pixels.eol), when=pixels.valid)
    check(m, inside <= 3)
    waits, hold = before(m, ~source.camera, "waits"), before(m, source.hold, "holds")
    row, frame = (before(m, getattr(source.room, name), name) for name in ("row", "frame"))
    starts = pixels.sof | line_end
    may = Mux(pixels.sof, frame & ~hold, ~line_end | row)
    apart = Mux(starts, since == delay + 1, since >= spacing)
    check(m, may & apart, when=pixels.valid & waits)
    # nothing of the frame before is on its way
    check(m, hold & waits & ~pixels.valid & (since == delay + 1), when=pixels.frame_end)
    reach = {"both kept": inside == 2, "close": pixels.valid & waits & (since == spacing)}
    return Bench(m, inputs(source), reach | {"an end": pixels.frame_end})


def words(part, image_bytes=6):
    """A load in words: an image's bytes in order, none before the hold, its last one marked."""
    m = Module()
    m.submodules.unit = unit = part(image_bytes=image_bytes)
    load = unit.load
    taken, count = load.valid & load.ready, Signal(range(image_bytes + 1))
    aborted, begun = Signal(), Signal()  # the load at hand ends early; it has begun
    kept, left = Signal(32), Signal(3)
    at_end = count == image_bytes - 1
    with m.If(unit.abort):
        m.d.sync += aborted.eq((begun | taken) & ~(taken & load.last))
    with m.If(taken):
        m.d.sync += [begun.eq(~load.last), kept.eq(kept >> 8), left.eq(left - 1)]
        m.d.sync += count.eq(Mux(load.last | at_end, 0, count + 1))
        with m.If(load.last):
            m.d.sync += [aborted.eq(0), left.eq(0)]
    with m.If(unit.written & (left == 0) & ~aborted):
        m.d.sync += [kept.eq(unit.word), left.eq(4)]
    with m.If(unit.abort):
        m.d.sync += left.eq(0)
    held = Signal(range(HOLD + 1))  # cycles that `hold` has stood
    m.d.sync += held.eq(Mux(unit.hold, Mux(held == HOLD, HOLD, held + 1), 0))
    check(m, held == HOLD, when=load.valid)
    # a marked end that is none of an image tells the loader of an error
    check(m, load.last == (at_end ^ aborted), when=taken)
    check(m, load.data == kept[:8], when=taken & ~aborted)
    return Bench(m, inputs(unit), {"an image": taken & load.last & ~aborted, "ends": aborted})
