# amaranth: UnusedElaboratable=no
"""A small design of a Gowin's cells, placed, routed and packed; and the same for another clock.

nextpnr takes a minute before it has placed anything, so it runs with --every only.
"""

import json
from pathlib import Path

import pytest
from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.memory import Memory
from rich.console import Console

from boards import build, pins, reclock
from boards.clocks import pll_of
from boards.family import FAMILIES, TOP
from boards.held import Held, number
from hw.arithmetic.multiplier import Multipliers

BOARD = build.find_board("tang_nano_20k")
CELLS = {"rPLL": 1, "MULT9X9": 3, "SDP": 1, "RAM16SDP4": 2, "TBUF": 2, "IBUF": 2}


class Cells(wiring.Component):
    """PLL, number in lookup tables, multipliers, block RAM, LUT RAM, pins of either direction."""

    def __init__(self, clock_hz: float, count: int):
        self.pll, self.count = pll_of(BOARD, clock_hz), count
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        clock, second, locked = (Signal(name=name) for name in ("clock", "second", "locked"))
        source = pins.read(m, "clk", platform.request(BOARD.oscillator, dir="-"))
        self.pll.add_to(m, source, (clock, second), locked)
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        m.submodules.products = products = Multipliers(count=3, kind="gowin")
        m.submodules.large = large = Memory(
            shape=36, depth=512, init=range(7, 519), attrs={"no_rw_check": True}
        )
        m.submodules.small = small = Memory(shape=8, depth=16, init=range(16))
        count, parity = Signal(24), Signal()
        held = number(m, "held", self.count, Held(cycles=self.count, most=40, cells="gowin"))
        uart = platform.request("uart", 0, dir="-")
        m.d.sync += [count.eq(count + 1), parity.eq(Cat(*products.product).xor())]
        read, write = large.read_port(), large.write_port()
        look, put = small.read_port(domain="comb"), small.write_port()
        m.d.comb += [
            *(read.addr.eq(count), write.addr.eq(count >> 3), look.addr.eq(count)),
            write.data.eq(Cat(products.product[0], count)),
            write.en.eq(pins.read(m, "rx", uart.rx)),
            *(put.addr.eq(count >> 2), put.data.eq(count), put.en.eq(count[6])),
            *(products.a[i].eq(read.data[8 * i :]) for i in range(3)),
            *(products.b[i].eq(look.data + held) for i in range(3)),
        ]
        pins.drive(m, "tx", uart.tx, parity)
        pins.drive(m, "led", platform.request("led", 0, dir="-"), count[-1])
        return m


def sources(clock_hz: float, count: int) -> dict[str, str]:
    files = BOARD.platform().prepare(Cells(clock_hz, count), name=TOP, debug_verilog=False).files
    return {name: c if isinstance(c, str) else c.decode() for name, c in files.items()}


@pytest.mark.every
def test_packed_and_for_another_clock():
    """Every cell has its place, the pins theirs; of two clocks a few lines of what is packed."""
    folder, quiet, family = Path("build/test_gowin"), Console(quiet=True), FAMILIES["gowin"]
    first, other = sources(60e6, 5), sources(99e6, 9)
    netlist = build.synthesise(first[f"{TOP}.il"], "gowin", folder, quiet)
    (folder / f"{TOP}.cst").write_text(first[f"{TOP}.cst"])
    words = [*build.tool(family.place), *family.device_words(BOARD.device), "--freq", "100"]
    reached = build.place_and_route(words, BOARD.device, folder, [1], 100e6, quiet)
    assert reached[1] > 60
    routed = json.loads((folder / f"{TOP}.{family.result}").read_text())
    (cells,) = (module["cells"] for module in routed["modules"].values() if module["cells"])
    placed = [c["type"] for c in cells.values() if "NEXTPNR_BEL" in c["attributes"]]
    assert {name: placed.count(name) for name in CELLS} == CELLS
    assert family.untimed_cells(netlist) == {f"products.dsp{i}" for i in range(3)}

    def packed():
        words = [*build.tool(family.pack), *family.pack_words(BOARD.device)]
        build.run(words, folder, "pack.log", quiet, "bitstream")
        return (folder / f"{TOP}.{family.bitstream}").read_text().splitlines()

    before = packed()
    changed = reclock.changes(first[f"{TOP}.il"], other[f"{TOP}.il"])
    assert set(changed) == {"pll", "held2", "held3"}  # 5 and 9
    assert build.configured(BOARD.device, folder, netlist, changed)
    after = packed()
    assert 0 < sum(a != b for a, b in zip(before, after, strict=True)) < 20
    assert not build.configured(BOARD.device, folder, netlist, changed)  # they are not as before
