"""No path through a bus's slave within a cycle; the state's window; the register bank behind
Wishbone.

The handshakes are proved: sim/prove/bus.py.
"""

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import AxiLiteSlave
from hw.bus.bank import Bank
from hw.bus.load import WordLoad
from hw.bus.registers import WORD, RegisterMap, largest
from hw.bus.state import StateWindow
from hw.bus.stream import PixelSource
from hw.bus.wishbone import Wishbone, WishboneSlave
from hw.host_read import HostRead
from hw.interfaces import WordRead
from sim import runner
from tests.bench_blocks import on_amaranth, pack
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


def taken_back(stands, gap, delay):
    """Scenario: a strobe that stands for some cycles, none for some, and another one that stays;
    the bank takes its time. Address 3 is no register's."""
    done, waits = None, 0
    for cycle in range(60):
        address = 3 if cycle < stands else 2
        strobe = cycle < stands or cycle >= stands + gap
        inputs = {"bus__cyc": strobe, "bus__stb": 1, "bus__adr": address}
        if done is not None:
            inputs |= {"port__done": 1, "port__read_data": 0x100 + done, "port__error": done == 3}
            done = None
        out = yield inputs
        if "port__done" in inputs:
            waits = 0
        elif out["port__valid"]:
            waits += 1
            if waits == delay:
                done = out["port__address"]
        answers = out["bus__ack"], out["bus__err"]
        if not strobe:
            assert answers == (0, 0)
        elif answers != (0, 0) and cycle < stands:  # it stood long enough
            return
        elif answers != (0, 0):
            assert answers == (1, 0) and out["bus__dat_r"] == 0x102
            return
    raise AssertionError("no answer")


def test_a_strobe_that_was_taken_back_has_no_answer():
    for stands, gap, delay in itertools.product(range(1, 5), range(1, 4), range(1, 4)):
        on_amaranth(WishboneSlave(BITS), taken_back(stands, gap, delay))


MAPS = {"lanes": 2, "words": 24, "pixels": 5}


class Window(wiring.Component):
    """A state window and the host read that it asks; a word has 5 bytes.

    Ports
    -----
    ask : In(1), channel, word : In(16), valid : Out(1), first, second : Out(32), of the window
    maps : Out(WordRead), of the host read
    """

    def __init__(self):
        self.window, self.read = StateWindow(pixels=5), HostRead(**MAPS, base=4, state_words=2)
        super().__init__(
            {
                "ask": In(1),
                **dict.fromkeys(("channel", "word"), In(16)),
                "valid": Out(1),
                **dict.fromkeys(("first", "second"), Out(32)),
                "maps": Out(WordRead(**MAPS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.window, m.submodules.read = window, read = self.window, self.read
        wiring.connect(m, window.state, read.state)
        wiring.connect(m, read.maps, wiring.flipped(self.maps))
        for name in ("ask", "channel", "word"):
            m.d.comb += getattr(window, name).eq(getattr(self, name))
        m.d.comb += [
            self.valid.eq(window.valid),
            self.first.eq(window.data[0]),
            self.second.eq(window.data[1]),
        ]
        return m


def window_asked(after, count):
    """Scenario: words of the state asked for in any cycle, the maps' answers `after` cycles behind
    their grants. What is valid is the word asked for last."""
    chance = random.Random(after)
    bytes_of = {
        (bank, row): [chance.randrange(256) for _ in range(5)]
        for bank in range(MAPS["lanes"])
        for row in range(MAPS["words"])
    }
    flying, wanted, seen, waited, cycle = {}, None, 0, 0, 0
    while seen < count:
        inputs = {"maps__done": chance.random() < 0.7}
        if cycle in flying:
            inputs |= {"maps__valid": 1, "maps__data": pack(flying.pop(cycle), 8)}
        ask = chance.random() < (0.03 if chance.random() < 0.5 else 0.4)
        if ask:
            channel, word = chance.randrange(20), chance.randrange(2)
            inputs |= {"ask": 1, "channel": channel, "word": word}
        out = yield inputs
        if out["valid"]:
            assert wanted is not None and waited > 1, f"cycle {cycle}: nothing, or too early"
            assert out["first"] == pack(wanted[:4], 8), f"cycle {cycle}"
            assert out["second"] == wanted[4]
            seen += 1
        else:
            assert waited < 60, "no answer"
        if out["maps__en"] and inputs["maps__done"]:
            flying[cycle + after] = bytes_of[out["maps__bank"], out["maps__address"]]
        waited += 1
        if ask:
            wanted, waited = bytes_of[channel % 2, 4 + channel // 2 * 2 + word], 1
        cycle += 1


@pytest.mark.parametrize("after", [1, 3, 4])
def test_the_windows_word_is_the_one_asked_for_last(after):
    on_amaranth(Window(), window_asked(after, 300))


SOME = RegisterMap(
    registers=tuple(largest()[name] for name in ("INTERRUPT", "LOAD_DATA", "LOAD_CONTROL"))
)


def written(name, data, mask, **more):
    """Scenario's part: a write; returns what each cycle of it and one after it said."""
    access = {"port__valid": 1, "port__write": 1, "port__address": SOME[name].offset // WORD}
    access |= {"port__data": data, "port__mask": mask, "load_data_ready": 1} | more
    said = []
    while not said or not said[-1]["port__done"]:
        said.append((yield access))
    said.append((yield {"load_data_ready": 1}))
    return said


def bit_set_around_its_clearing(late):
    """Scenario: an event, and the write that clears its bit, as close to each other as may be."""
    yield {"interrupt_set": 0b0010}
    out = yield {}
    assert out["interrupt"] == 0b0010
    access = written("INTERRUPT", 0b0010, 0b1111)
    if late < 0:
        yield {"interrupt_set": 0b0010}
    inputs = next(access)
    for cycle in range(3):
        out = yield inputs | {"interrupt_set": 0b0010 * (cycle == late)}
        try:
            inputs = access.send(out)
        except StopIteration:
            inputs = {}
    out = yield {}
    assert out["interrupt"] == (0b0010 if late >= 0 else 0), f"an event {late} cycles behind"


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_what_happens_as_a_bit_is_cleared_is_not_lost(late):
    on_amaranth(Bank(SOME), bit_set_around_its_clearing(late))


def bytes_that_are_not_written():
    """Scenario: writes of some bytes, or of none, of what can only be written."""

    def told(said, name):
        return [out[name] for out in said if out[f"{name}_written"]]

    for data, mask, wanted in (
        (0xFFFFFFFF, 0b0001, [1]),
        (0, 0b0001, [0]),
        (1, 0b1111, [1]),
        (0, 0b0010, [0]),  # what it was told before is not told again
        (1, 0b1110, [0]),
        (1, 0b0000, []),
    ):
        said = yield from written("LOAD_CONTROL", data, mask)
        assert told(said, "load_control") == wanted, f"{data} with bytes {mask:04b}"
    for mask, wanted in ((0b1111, [0x04030201]), (0b0000, []), (0b0110, [0x00030200])):
        said = yield from written("LOAD_DATA", 0x04030201, mask)
        assert told(said, "load_data") == wanted, f"bytes {mask:04b}"


def test_bytes_that_are_not_written_say_nothing():
    on_amaranth(Bank(SOME), bytes_that_are_not_written())


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
