"""Properties of the loader: what it says is what the memories hold, and nothing runs meanwhile."""

from amaranth.hdl import Cat, Module, Mux, Signal

from hw.loader import Section
from sim.prove.bench import Bench, before, check, inputs
from sim.prove.frames import System

SECTIONS = (Section("first", 2, 9), Section("second", 1, 3))
BYTES = 5


def image(part):
    """`loaded` stands for a whole image, each byte of it in the memories, and comes in time."""
    m = Module()
    m.submodules.unit = unit = part(sections=SECTIONS, digest=None)
    taken = unit.load_valid & unit.load_ready
    # the stream, as it is meant: bytes up to `load_last`
    count, whole, long_ = Signal(range(BYTES + 1)), Signal(), Signal()
    data = [Signal(8, name=f"byte{i}") for i in range(BYTES)]
    with m.If(taken):
        m.d.sync += whole.eq(0)
        with m.If(~long_):
            m.d.sync += count.eq(count + 1)
            for i, byte in enumerate(data):
                with m.If(count == i):
                    m.d.sync += byte.eq(unit.load_data)
            with m.If(count == BYTES - 1):
                m.d.sync += [count.eq(0), whole.eq(unit.load_last), long_.eq(~unit.load_last)]
        with m.If(unit.load_last):
            m.d.sync += [count.eq(0), long_.eq(0)]
    memory = [Signal(9, name="first0"), Signal(9, name="first1"), Signal(3, name="second0")]
    with m.If(unit.first.en):
        for place in range(2):
            with m.If(unit.first.addr == place):
                m.d.sync += memory[place].eq(unit.first.data)
    with m.If(unit.second.en):
        m.d.sync += memory[2].eq(unit.second.data)
    check(m, whole, when=unit.loaded)
    wanted = (Cat(data[0], data[1][0]), Cat(data[2], data[3][0]), data[4][:3])
    check(m, *(word == want for word, want in zip(memory, wanted, strict=True)), when=unit.loaded)
    # and in time
    since = Signal(range(unit.cycles + 2))
    with m.If(~whole):
        m.d.sync += since.eq(0)
    with m.Elif(since != unit.cycles):
        m.d.sync += since.eq(since + 1)
    check(m, unit.loaded, when=whole & ~taken & (since == unit.cycles))
    return Bench(m, inputs(unit), {"loaded": unit.loaded})


def crc_bit(state, bit, select=Mux):
    """CRC-32 as zlib's: the register behind another bit, the lowest of a byte first.

    It begins with all ones, and the CRC is its complement.
    """
    return state >> 1 ^ select((state ^ bit) & 1, 0xEDB88320, 0)


def _behind(m, state, byte):
    for i in range(8):
        following = Signal(32, name=f"behind{i}")
        m.d.comb += following.eq(crc_bit(state, byte[i]))
        state = following
    return state


def crc(part):
    """CRC-32 of any bytes, beginning anew at any of them: the definition, bit by bit."""
    m = Module()
    m.submodules.unit = unit = part(data_width=8).create()
    state = Signal(32, init=0xFFFFFFFF)
    begun = Mux(unit.start, 0xFFFFFFFF, state)
    m.d.sync += state.eq(Mux(unit.valid, _behind(m, begun, unit.data), begun))
    check(m, unit.crc == ~state)
    free = [unit.start, unit.data, unit.valid]
    return Bench(m, free, {"a byte": unit.crc != 0})


def digest(part):
    """`weights_digest` is the CRC of the image's bytes from its first to its last; else it is 0.

    What a CRC is, is `crc`'s.
    """
    m = Module()
    m.submodules.unit = unit = part(sections=SECTIONS, digest=None)
    taken = unit.load_valid & unit.load_ready
    count, long_ = Signal(range(BYTES + 1)), Signal()
    with m.If(taken):
        m.d.sync += count.eq(Mux(count == BYTES - 1, 0, count + 1))
        m.d.sync += long_.eq(long_ | (count == BYTES - 1))
        with m.If(unit.load_last):
            m.d.sync += [count.eq(0), long_.eq(0)]
    # each byte a cycle later, and nothing else
    valid, byte = before(m, taken & ~long_, "valid"), before(m, unit.load_data, "byte")
    begin = before(m, taken & (count == 0) & ~long_, "begin")
    crc, fed = unit.crc, Signal(range(BYTES + 1))
    check(m, crc.valid == valid, crc.start == begin)
    check(m, crc.data == byte, when=valid)
    with m.If(valid):
        m.d.sync += fed.eq(Mux(begin, 1, fed + 1))
    check(m, fed == BYTES, when=unit.loaded)
    check(m, unit.weights_digest == Mux(unit.loaded, crc.crc, 0))
    return Bench(m, inputs(unit), {"a digest": unit.loaded})


def quiet(part):
    """While weights are written nothing runs, and no frame begins before the image is whole."""
    system = System(control=part)
    m, frames, lines = system.m, system.frames, system.lines
    loading, last = frames.loading, Signal(name="last")
    taken, whole = Signal(), Signal(init=1)
    m.d.comb += [taken.eq(loading & frames.idle), system.unloaded.eq(~whole)]
    with m.If(taken):
        m.d.sync += whole.eq(last)
    check(m, ~frames.busy, ~frames.walks.group_first, ~lines.control.accept, when=taken)
    check(m, whole, when=lines.control.accept)
    return Bench(
        m, [*system.free, last], {"a load": taken & ~whole, "a frame": lines.control.accept}
    )
