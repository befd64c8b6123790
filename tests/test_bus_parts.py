"""No path through a bus's slave within a cycle; the register bank behind Wishbone.

The handshakes are proved: sim/prove/bus.py.
"""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import AxiLiteSlave
from hw.bus.bank import Bank
from hw.bus.load import WordLoad
from hw.bus.registers import largest
from hw.bus.stream import PixelSource
from hw.bus.wishbone import Wishbone, WishboneSlave
from sim import runner
from tests.formal import paths

BITS = 4


def pixels():
    return PixelSource(in_channels=1, spacing=2, delay=3)


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
