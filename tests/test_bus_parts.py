"""Handshakes of both buses and of the stream, proved; the register bank behind Wishbone."""

import pytest
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import AxiLiteSlave
from hw.bus.bank import Bank
from hw.bus.load import WordLoad
from hw.bus.registers import largest
from hw.bus.stream import PixelSource
from hw.bus.wishbone import Wishbone, WishboneSlave
from sim import runner
from tests.formal import paths, prove

BITS = 4


def before(m, value, name):
    """A value a cycle ago."""
    late = Signal.like(value, name=name)
    m.d.sync += late.eq(value)
    return late


def bank_of(m, port):
    """Any bank: it answers whenever it likes, once, while asked; returns its free signals."""
    free, data, error = Signal(name="answers"), Signal(32, name="found"), Signal(name="none")
    m.d.sync += port.done.eq(free & port.valid & ~port.done)
    m.d.sync += [port.read_data.eq(data), port.error.eq(error)]
    return [free, data, error]


def axi(slave):
    """Properties of AXI4-Lite: what is valid stays; as many responses as requests."""
    m = Module()
    m.submodules.slave = slave
    bus = slave.bus
    free = bank_of(m, slave.port)
    begun = before(m, 1, "begun")
    for valid, ready, payload in (
        (bus.bvalid, bus.bready, bus.bresp),
        (bus.rvalid, bus.rready, bus.rdata ^ bus.rresp),
    ):
        waits, same = Signal(), Signal.like(payload)
        m.d.sync += [waits.eq(valid & ~ready), same.eq(payload)]
        m.d.comb += Assert(~(begun & waits) | (valid & (payload == same)))
    for name, asks, answers in (
        ("aw", bus.awvalid & bus.awready, bus.bvalid & bus.bready),
        ("w", bus.wvalid & bus.wready, bus.bvalid & bus.bready),
        ("ar", bus.arvalid & bus.arready, bus.rvalid & bus.rready),
    ):
        open_ = Signal(3, name=f"{name}_open")
        m.d.sync += open_.eq(open_ + asks - answers)
        answering = bus.rvalid if name == "ar" else bus.bvalid
        # one that is answered, one that is kept
        kept = ~getattr(bus, f"{name}ready")
        m.d.comb += Assert(open_ == kept + answering)
    # what makes the rest inductive
    port, busy = slave.port, Signal()
    kept = Mux(port.write, ~bus.awready & ~bus.wready & ~bus.bvalid, ~bus.arready & ~bus.rvalid)
    m.d.comb += [busy.eq(port.valid), Assert(~busy | kept), Assert(~port.done | busy)]
    ins = ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready")
    return m, [*(getattr(bus, name) for name in ins), *free]


def wishbone(slave):
    """Properties of Wishbone: an answer is of a strobe that stood before it, one of both kinds."""
    m = Module()
    m.submodules.slave = slave
    bus = slave.bus
    free = bank_of(m, slave.port)
    strobe = bus.cyc & bus.stb
    answer = bus.ack | bus.err
    asked = before(m, strobe & ~answer, "asked")
    answered = before(m, answer, "answered")
    m.d.comb += [
        Assert(~(bus.ack & bus.err)),
        Assert(~answer | (strobe & asked)),
        Assert(~(answer & answered)),
    ]
    return m, [bus.cyc, bus.stb, bus.we, bus.adr, bus.dat_w, bus.sel, *free]


def stream(source):
    """As many pixels leave as come, but those that are kept; each in its order, none twice."""
    m = Module()
    m.submodules.source = source
    came, left, number = Signal(3), Signal(3), Signal(8)
    took = source.stream.tvalid & source.stream.tready
    m.d.comb += Assume(source.stream.tdata == came)
    with m.If(took):
        m.d.sync += came.eq(came + 1)
    with m.If(source.pixels.valid):
        m.d.sync += left.eq(left + 1)
        m.d.comb += Assert(source.pixels.luma == left)
    inside = Signal(3)
    m.d.comb += [inside.eq(came - left), Assert(inside <= 3), number.eq(0)]
    ins = [source.stream.tdata, source.stream.tuser, source.stream.tlast, source.stream.tvalid]
    return m, [*ins, source.camera, source.hold, source.room.row, source.room.frame]


def pixels():
    return PixelSource(in_channels=1, spacing=2, delay=3)


def test_axi_lite(tmp_path):
    assert prove(*axi(AxiLiteSlave(BITS)), 12, tmp_path=tmp_path) == ""


def test_wishbone(tmp_path):
    assert prove(*wishbone(WishboneSlave(BITS)), 12, tmp_path=tmp_path) == ""


def test_stream(tmp_path):
    assert prove(*stream(pixels()), 12, tmp_path=tmp_path, bounded=True) == ""


class TakesBack(AxiLiteSlave):
    """Its read response does not wait."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        late = Signal()
        m.d.sync += late.eq(self.bus.rvalid)
        with m.If(late):
            m.d.sync += self.bus.rvalid.eq(0)
        return m


def test_a_broken_handshake_is_found(tmp_path):
    found = prove(*axi(TakesBack(BITS)), 12, tmp_path=tmp_path)
    assert "model found for base case: FAIL" in found, found


@pytest.mark.parametrize(
    "made, outputs, inputs",
    [
        (lambda: AxiLiteSlave(BITS), "bus__*", "bus__*"),
        (pixels, "stream__tready", "*"),
        (pixels, "pixels__*", "stream__*"),
    ],
    ids=["axi", "stream", "pixels"],
)
def test_nothing_passes_within_a_cycle(made, outputs, inputs, tmp_path):
    assert paths(made(), outputs, inputs, tmp_path=tmp_path) == ""


def test_a_path_is_found(tmp_path):
    """Wishbone's answer goes with the strobe."""
    found = paths(WishboneSlave(BITS), "bus__ack", "bus__stb", tmp_path=tmp_path)
    assert "selection is not empty" in found, found


class Behind(wiring.Component):
    """A bank and a loader of weights behind Wishbone.

    Ports
    -----
    wb : In(Wishbone), of the slave
    idle : In(1), the loader's `ready`
    taken, last : Out(1), data : Out(8), a byte that is taken
    set : In(4), bits of INTERRUPT; frames : In(32)
    """

    def __init__(self):
        self.map = largest()
        self.slave = WishboneSlave(self.map.address_bits)
        self.bank, self.load = Bank(self.map), WordLoad(image_bytes=11)
        super().__init__(
            {
                "wb": In(Wishbone(self.map.address_bits - 2)),
                "idle": In(1),
                "taken": Out(1),
                "last": Out(1),
                "data": Out(8),
                "set": In(4),
                "frames": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.slave, m.submodules.bank = slave, bank = self.slave, self.bank
        m.submodules.load = load = self.load
        wiring.connect(m, wiring.flipped(self.wb), slave.bus)
        wiring.connect(m, slave.port, bank.port)
        m.d.comb += [
            load.word.eq(bank.load_data.value),
            load.written.eq(bank.load_data_written),
            load.abort.eq(bank.load_control_written & bank.load_control.abort),
            bank.load_data_ready.eq(load.ready),
            bank.status.load_room.eq(load.room),
            bank.status.loading.eq(load.loading),
            bank.status.load_lost.eq(load.lost),
            bank.interrupt_set.eq(self.set),
            bank.frames.value.eq(self.frames),
            load.load.ready.eq(self.idle),
            self.taken.eq(load.load.valid & self.idle),
            self.last.eq(load.load.last),
            self.data.eq(load.load.data),
        ]
        return m


def test_bank_behind_wishbone():
    runner.simulate(Behind(), "tests.bench_wishbone", optimise="build", arguments={})
