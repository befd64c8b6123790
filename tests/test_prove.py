"""make prove: what holds for all inputs; and that each of its properties bites."""

import json
import random
import zlib

import numpy as np
import pytest
from amaranth.hdl import Assume

from golden.errors import BROKEN, DIFFERENT
from sim.prove import arithmetic, loading, main, mutants, solver
from sim.prove.catalogue import PROPERTIES, property_named
from tests.command import invoke

FAULTS = {
    # of a property's part: what stands there, and what does in its place
    "crossing: frames": ("got.end | got.valid & got.sof)", "got.end)"),
    "crossing: ends": ("stalled.eq(quiet == 2 * self.timeout - 3)", "stalled.eq(0)"),
    "crossing: order": ("full.eq(fifo.r_rdy)", "full.eq(1)"),
    "crossing: FIFO": (
        "room.eq(~full(written_next, taken_seen))",
        "room.eq(~full(written, taken_seen))",
    ),
    "framer: binning 1": ("over.eq(end | sof & opened)", "over.eq(end)"),
    "framer: binning 2": ("first = self.binning - 1", "first = self.binning + 1"),
    "receiver of pins: rgb565": ("now.eq(Mux(first, 0, place))", "now.eq(place)"),
    "receiver of pins: yuyv": ("valid.eq(give | second)", "valid.eq(give)"),
    "receiver of pins: uyvy, grey": ("place.eq(now + 1)", "place.eq(now)"),
    "receiver of pins: yuyv, grey": ('int(self.pixel_format == "uyvy")', "1"),
    "receiver of pins: grey8": ('"sof": sof | ended, "sol": sol | first', '"sof": sof, "sol": sol'),
    "receiver of pins: grey8, 4 pins": ("place = Mux(begins, 0, part)", "place = part"),
    "set-up: quarters": ("with m.If(over):  # a slave", "with m.If(1):  # a slave"),
    "set-up: a write": ("left.eq(left - 1)", "left.eq(left - (left != 3))"),
    "set-up: the table": ("self.done.eq(last),", "self.done.eq(1),"),
    "flash: a load": ("m.d.sync += start.eq(1)", "m.d.sync += start.eq(0)"),
    "flash: a byte": ("bits.eq(8), timer", "bits.eq(7), timer"),
    "UART: recovers": ("self.glitch.eq(line)", "self.glitch.eq(1)"),
    "packets: recovers": ("with m.If(left == 1):", "with m.If(left == 5):"),
    "packets: events are copied": ("again | (state & ~waiting.dumping)", "again"),
    "lines: rows kept": (
        "allowed.eq(received < control.released + k)",
        "allowed.eq(received <= control.released + k)",
    ),
    "lines: rows kept, bytewise": ("allowed.eq(received < k)", "allowed.eq(1)"),
    "lines: overruns": ("received < control.released + k", "received < control.released"),
    "lines: overruns, bytewise": ("| (control.fault & control.fault_current)\n", "\n"),
    "lines: faults once": ("second.eq(bad & (restart | second))", "second.eq(bad & restart)"),
    "lines: rows count": ("later.eq(written & ~accept)", "later.eq(written)"),
    "lines: counts": ("& ~decided & (status == kind)", "& (status == kind)"),
    "frames: FIFO of faults": ("self.w_rdy.eq(self.level != self.depth)", "self.w_rdy.eq(1)"),
    "frames: decisions": ("& ~self.loading & ~self._full(m)", "& ~self.loading"),
    "frames: order": (  # all that wait, wait for as many frames as the last one
        "one.eq(Mux(self.decided, two, one) + comes[1]),\n"
        "            two.eq(Mux(self.decided, 0, two) + comes[2]),",
        "one.eq(Mux(self.decided, two, Mux(comes[2], 0, one)) + comes[1]),\n"
        "            two.eq(Mux(self.decided, 0, two) + Mux(comes[2], 1 + one, 0)),",
    ),
    "frames: ends": ("[walking.eq(0), dropping.eq(0), tail", "[dropping.eq(0), tail"),
    "frames: quiet while loading": (
        "self.idle.eq(~self.busy & ~lines.enable & self.loading)",
        "self.idle.eq(~self.busy & self.loading)",
    ),
    "loader: image": ("complete.eq(finish & ~taken)", "complete.eq(finish)"),
    "loader: CRC": (
        "CRC32_ETHERNET = Algorithm(\n    crc_width=32,\n    polynomial=0x04c11db7",
        "CRC32_ETHERNET = Algorithm(\n    crc_width=32,\n    polynomial=0x04c11db3",
    ),
    "loader: digest": ("begin.eq(taken & begins)", "begin.eq(begins)"),
    "bus: words of a load": ("last.eq(at_end ^ ending)", "last.eq(at_end | ending)"),
    "bus: AXI4-Lite": ("with m.If(bus.rready):", "with m.If(bus.rvalid):"),
    "bus: Wishbone": ("bus.ack.eq(ack & strobe)", "bus.ack.eq(ack)"),
    "bus: stream of pixels": ("stream.tready.eq(~has_second)", "stream.tready.eq(1)"),
    "host: read": ("with m.If(remaining >= self.lanes):", "with m.If(remaining > self.lanes):"),
    "host: unnoticed": ("& ~self.read_en & ~granted),", "& ~granted),"),
    "host: serial": ("(self.host_bank == b) & ~reading", "(self.host_bank == b) & ~by_three"),
    "sleep: gate": ("if (!clk) held = en;", "held = en;"),
    "sleep: awake": ("init=self.settle)", "init=0)"),
    "sleep: no pixel lost": (
        "for i in range(self.late_rows):",
        "for i in range(9 + self.late_rows):",
    ),
    "requantiser: 9 bits": ("Mux(sign, -4096, 4094)", "Mux(sign, -4096, 4095)"),
    "requantiser: 24 bits": ("for bit in rest[20:])", "for bit in rest[22:])"),
    "activation": ("h.eq((Cat(half, base_later)", "h.eq((Cat(0, base_later)"),
    "gate: RELU": ("Code.OFFSET: offset,", "Code.OFFSET: total,"),
    "gate: SIGNED": ("half = product[7]\n", "half = ~product[7]\n"),
    "gate: CHANNEL": ("else _offset(self.a),", "else self.a,"),
    "gate: RESET": ("whole.eq(Mux(y[8], x, 0))", "whole.eq(0)"),
    "gate: UPDATE": ("total - (total >= 128)", "total - (total > 128)"),
    "gate: BLEND": ("Y.UPDATE: self.b + self.b[7]", "Y.UPDATE: self.b"),
    "gate: MIX": ("Mux(total > 127, 127,", "Mux(total > 128, 127,"),
    "multiplier": ("p1.eq(a1 * b1)", "p1.eq((a1 * b1)[:15])"),
    "tree multiplier: signed": ("value = low - high if last", "value = low + high if last"),
    "tree multiplier: unsigned": ("parts[i + 1][1] - shift)", "parts[i + 1][1] - shift & 3)"),
}


@pytest.mark.parametrize("one", [one for one in PROPERTIES if one.quick], ids=lambda one: one.name)
def test_a_quick_property_holds(one):
    assert solver.decide(one.build(), one.method, one.depth).holds


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    one = property_named(name)
    wrong = one.build(mutants.planted(one.module, *FAULTS[name]))
    method = "unrolled" if one.method == "unrolled" else "bounded"
    assert not solver.decide(wrong, method, one.depth or 160).holds


def test_every_property_has_a_planted_fault():
    assert list(FAULTS) == [one.name for one in PROPERTIES]


def test_what_must_be_possible_is_told():
    """An assumption that leaves nothing is seen."""
    one = property_named("sleep: awake")

    def build(nothing=False):
        bench = one.build()
        if nothing:
            bench.m.d.comb += Assume(bench.free[0])
        return bench

    assert all(cycle > 0 for cycle in solver.reached(build).values())
    nothing = solver.reached(lambda: build(nothing=True), depth=20)
    assert nothing == {"asleep": None, "brief": None}


def test_rows_are_products():
    """What solvers compare with is Python's product: all of 9 signed by 9 bits, 8 by 8 signed."""
    x, y = np.arange(-512, 512)[:, None], np.arange(512)
    assert np.array_equal(arithmetic.rows(x, y, 9), x * y)
    x, y = np.arange(-128, 128)[:, None], np.arange(-128, 128)
    assert np.array_equal(arithmetic.rows(x, y & 255, 8, True), x * y)
    assert np.array_equal(arithmetic.rows(x, y & 255, 8), x * (y & 255))


def test_the_step_of_a_crc_is_zlibs():
    """What solvers compare with is zlib's: all bytes at any place."""
    state, data = 0xFFFFFFFF, bytes(range(256)) + random.Random(0).randbytes(256)
    for count, byte in enumerate(data, 1):
        for i in range(8):
            state = loading.crc_bit(state, byte >> i & 1, lambda odd, a, b: a if odd else b)
        assert state ^ 0xFFFFFFFF == zlib.crc32(data[:count])


def test_a_fault_stands_once():
    with pytest.raises(ValueError, match="must stand once in hw.frames, not 0 times"):
        mutants.planted("hw.frames", "nothing like this", "")


def test_command(monkeypatch, tmp_path):
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- proofs:begin -->\n<!-- proofs:end -->\n")
    result = invoke("prove", "--only", "sleep: awake", "--page", page)
    assert result.exit_code == 0 and "1 of 1 hold" in result.output
    (found,) = json.loads((tmp_path / "prove.json").read_text())
    one = property_named("sleep: awake")
    assert {key: found[key] for key in ("name", "part", "claim", "method", "holds")} == {
        **{"name": one.name, "part": one.part, "claim": one.claim, "method": "pdr"},
        "holds": True,
    }
    assert f"| sleep: awake | {one.claim} | pdr | {found['depth']} |" in page.read_text()
    assert found["depth"] > 0 and found["seconds"] > 0 and found["reached"]["asleep"] > 0


def test_command_tells_what_fails(monkeypatch, tmp_path):
    one = property_named("sleep: awake")
    wrong = mutants.planted(one.module, *FAULTS[one.name])
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    monkeypatch.setattr("hw.sleep.Awake", wrong.Awake)
    result = invoke("prove", "--only", one.name)
    assert result.exit_code == DIFFERENT and "FAILS" in result.output


def test_command_tells_of_no_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    result = invoke("prove", "--only", "crossing: order", "--limit", "0.01")
    assert result.exit_code == BROKEN and "no answer within 0.01 s" in result.output
