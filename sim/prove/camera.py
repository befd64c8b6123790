"""Properties of a camera's way to the engine: receiver, framer, clock crossing."""

from amaranth.hdl import Cat, DomainRenamer, EnableInserter, Module, Mux, Signal

from golden.camera import UNITS
from sim.prove.bench import Bench, check, inputs


def _two_clocks(m: Module, unit):
    """Both clocks as any order of their edges: in a step either has one, or both, or none."""
    edges = {"camera": Signal(name="camera_edge"), "sync": Signal(name="sync_edge")}
    m.submodules.unit = DomainRenamer({"camera": "sync"})(EnableInserter(edges)(unit))
    return edges


def _crossing(part, spacing=2):
    m = Module()
    unit = part(timeout=16, depth=4, spacing=spacing, channels=1, in_channels=1)
    edges = _two_clocks(m, unit)
    return m, unit, edges, [*inputs(unit), *edges.values()]


def crossing_frames(part):
    """Each `sof` is followed by one `frame_end`, which never comes with a pixel; and spacing."""
    m, unit, edges, free = _crossing(part)
    o = unit.o
    opened, since = Signal(), Signal(range(unit.spacing + 1), init=unit.spacing)
    with m.If(edges["sync"]):
        m.d.sync += since.eq(since + (since != unit.spacing))
        with m.If(o.valid):
            m.d.sync += [opened.eq(1), since.eq(1)]
        with m.If(o.frame_end):
            m.d.sync += opened.eq(0)
    check(m, ~(o.valid & o.frame_end))
    check(m, o.sof ^ opened, since == unit.spacing, when=o.valid)
    check(m, opened, when=o.frame_end)
    return Bench(m, free, {"an end": o.frame_end, "a later pixel": o.valid & ~o.sof})


def crossing_ends(part):
    """An open frame without pixels ends, whatever the camera's clock does."""
    m, unit, edges, free = _crossing(part)
    unit.timeout = 4  # below what it is made with: the sizes of its counters are another matter
    opened, quiet = Signal(), Signal(range(2 * unit.timeout + 8))
    with m.If(edges["sync"]):
        with m.If(opened & ~unit.o.valid & ~unit.o.frame_end):
            m.d.sync += quiet.eq(quiet + 1)
        with m.Else():
            m.d.sync += quiet.eq(0)
        with m.If(unit.o.valid):
            m.d.sync += opened.eq(1)
        with m.If(unit.o.frame_end):
            m.d.sync += opened.eq(0)
    check(m, quiet < 2 * unit.timeout)
    return Bench(m, free, {"long quiet": quiet == 2 * unit.timeout - 1})


def crossing_order(part):
    """Between two pixels of an open frame none is lost, and none comes twice.

    Any one pixel is marked, and the next: the second follows the first, and nothing else does.
    """
    m, unit, edges, _ = _crossing(part, spacing=1)
    mark = Signal(name="mark")
    marked, second, last = Signal(), Signal(), Signal()
    first = Signal()
    m.d.comb += [first.eq(mark & ~marked), unit.i.red.eq(Cat(first, marked & ~second))]
    with m.If(edges["camera"] & unit.i.valid):
        m.d.sync += [marked.eq(marked | first), second.eq(marked)]
    with m.If(edges["sync"] & unit.o.valid):
        m.d.sync += last.eq(unit.o.luma[0])
    check(m, unit.o.luma[1] == last, when=unit.o.valid & ~unit.o.sof)
    return Bench(
        m,
        [*inputs(unit, "i__red"), *edges.values(), mark],
        {"both": unit.o.valid & ~unit.o.sof & last},
    )


def fifo_order(part, depth, clocks=True):
    """What goes into the FIFO comes out once, in its order; no more is in it than there is room.

    As in `crossing_order`; `clocks`: it is between two of them.
    """
    m = Module()
    if clocks:
        unit = part(width=2, depth=depth, w_domain="camera", r_domain="sync")
        edges = _two_clocks(m, unit)
        free = list(edges.values())
    else:
        m.submodules.unit = unit = part(width=2, depth=depth)
        edges, free = {"camera": 1, "sync": 1}, []
    put, get, mark = Signal(name="put"), Signal(name="get"), Signal(name="mark")
    marked, second, last, first = Signal(), Signal(), Signal(), Signal()
    m.d.comb += [
        first.eq(mark & ~marked),
        unit.w_data.eq(Cat(first, marked & ~second)),
        unit.w_en.eq(put),
        unit.r_en.eq(get),
    ]
    went, came = edges["camera"] & put & unit.w_rdy, edges["sync"] & get & unit.r_rdy
    with m.If(went):
        m.d.sync += [marked.eq(marked | first), second.eq(marked)]
    with m.If(came):
        m.d.sync += last.eq(unit.r_data[0])
    inside = Signal(range(2 * depth))
    m.d.sync += inside.eq(inside + went - came)
    check(m, unit.r_data[1] == last, when=came)
    check(m, inside <= depth)
    check(m, inside != 0, when=came)
    return Bench(
        m, [put, get, mark, *free], {"both": came & last, "full": (inside == depth) & ~unit.w_rdy}
    )


def _framer(part, binning):
    m = Module()
    unit = part(
        sensor_height=2 * binning + 1,
        sensor_width=2 * binning + 1,
        height=2,
        width=2,
        binning=binning,
        channels=1,
        domain="sync",
    )
    m.submodules.unit = unit
    return m, unit


def framer(part, binning=1):
    """Whatever the sensor sends: a frame that leaves is whole, or ends with one fault."""
    m, unit = _framer(part, binning)
    o, fault = unit.o, unit.faults.as_value().any()
    opened, count = Signal(), Signal(3)
    now = Mux(o.valid & o.sof, 0, count)
    with m.If(o.frame_end):
        m.d.sync += opened.eq(0)
    with m.If(o.valid):
        m.d.sync += [opened.eq(1), count.eq(now + 1)]
    check(m, o.sof == (now == 0), now < 4, o.eol == now[0], when=o.valid)
    check(m, opened | o.sof, when=o.valid)
    check(m, ~opened | o.frame_end, when=o.valid & o.sof)
    check(m, (count == 4) | fault, when=o.frame_end & opened)
    check(m, unit.faults.as_value() & (unit.faults.as_value() - 1) == 0)
    whole = o.frame_end & opened & (count == 4) & ~fault
    return Bench(m, inputs(unit), {"a whole frame": whole, "a fault": fault})


def dvp(part, pixel_format="rgb565", channels=3, data_bits=8):
    """For any pins: a frame begins with its first pixel, a line has what bytes it has."""
    m = Module()
    unit = part(pixel_format=pixel_format, channels=channels, data_bits=data_bits, domain="sync")
    m.submodules.unit = unit
    o = unit.o
    due = Signal()  # the next pixel is a frame's first
    with m.If(o.frame_end):
        m.d.sync += due.eq(1)
    with m.If(o.valid):
        m.d.sync += due.eq(0)
    check(m, o.sof == (due | o.frame_end), when=o.valid)
    # lines and bytes, from the pins
    inside, ran = unit.href & ~unit.vsync, Signal()
    alone = UNITS[pixel_format] == 4 and not unit.converts  # Y of two bytes
    clocks = 2 if alone else 8 // data_bits * UNITS[pixel_format]
    at = 0 if alone and pixel_format == "yuyv" else clocks - 1
    count, given = Signal(range(clocks)), Signal()
    m.d.sync += [ran.eq(inside), given.eq(0)]
    place, fresh = Signal.like(count), Signal()
    m.d.comb += place.eq(Mux(ran, count, 0))
    with m.If(inside):
        m.d.sync += [count.eq(place + 1), given.eq(place == at)]
        with m.If(place == clocks - 1):
            m.d.sync += count.eq(0)
        with m.If(~ran):
            m.d.sync += fresh.eq(1)
    with m.If(given):
        m.d.sync += fresh.eq(inside & ~ran)
    shown = [given, fresh]
    for i in range(unit.latency - 1):
        late = [Signal(name=f"{name}{i}") for name in ("line", "first")]
        m.d.sync += [a.eq(b) for a, b in zip(late, shown, strict=True)]
        shown = late
    if unit.converts:  # two pixels a group, the second a clock later
        second = Signal()
        m.d.sync += second.eq(shown[0])
        check(m, o.valid == (shown[0] | second))
        check(m, o.sol == (shown[1] & shown[0]), when=o.valid)
    else:
        check(m, o.valid == shown[0])
        check(m, o.sol == shown[1], when=o.valid)
    return Bench(m, inputs(unit), {"a frame": o.valid & o.sof, "a line": o.valid & o.sol & ~o.sof})
