"""boards/camera/sccb.py: what a slave reads, by a model that others wrote and by the rules."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards.camera.sccb import QuarterTimer, SccbBus, SccbMaster, Write
from sim import runner
from tests.bench_blocks import on_amaranth

TABLE = [
    Write(register=0x12, value=0x80, name="a", reason="reset", wait_ms=2),
    Write(register=0x00, value=0xFF, name="b", reason="extremes"),
    Write(register=0xFF, value=0x00, name="c", reason="extremes", wait_ms=1),
    Write(register=0x5A, value=0xA5, name="d", reason="bits"),
]
LONG = [Write(register=w.register << 8 | 0x3C, value=w.value, name="", reason="") for w in TABLE]


class Buses(wiring.Component):
    """Masters, each alone on a bus with one device (`*_o` is what the device does)."""

    def __init__(self, masters):
        self.masters = masters
        ports = {"start": In(1)}
        for name, master in masters.items():
            ports |= {f"{name}_{pin}": Out(1) for pin in ("sda", "scl", "busy", "done", "error")}
            ports |= {f"{name}_{pin}_o": In(1, init=1) for pin in ("sda", "scl")}
            ports[f"{name}_index"] = Out(master.index.shape())
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        for name, master in self.masters.items():
            m.submodules[name] = master
            m.d.comb += master.start.eq(self.start)
            for pin in ("busy", "done", "error", "index"):
                m.d.comb += getattr(self, f"{name}_{pin}").eq(getattr(master, pin))
            for pin in ("sda", "scl"):
                line = getattr(self, f"{name}_{pin}")
                m.d.comb += [
                    line.eq(~getattr(master, f"{pin}_oe") & getattr(self, f"{name}_{pin}_o")),
                    getattr(master, f"{pin}_i").eq(line),
                ]
        return m


def masters(device=0x24):
    return {
        "sccb": SccbMaster(table=TABLE, device=0x21, clock_hz=2_000_000, bus_hz=100_000),
        "i2c": SccbMaster(
            table=LONG,
            device=device,
            clock_hz=2_000_000,
            bus_hz=100_000,
            register_bytes=2,
            acknowledge=True,
            power_up_ms=0,
        ),
    }


def test_third_party_device():
    """Every byte of both tables as cocotbext-i2c's device reads it; it stretches the clock, too.

    Without the right device there is no acknowledge: SCCB does not care, I2C gives up in words.
    """
    build = runner.build(Buses(masters()), public=False, top="buses", optimise="build")
    short = [[w.register, w.value] for w in TABLE]
    long = [[w.register >> 8, w.register & 255, w.value] for w in LONG]
    given = {"period_ns": 500, "limit": 1000}
    good = [0, 1, 0, 3]
    for late in (0, 40_000):
        there = {
            "sccb": {"device": 0x21, "late_ns": 0, "state": good, "writes": short},
            "i2c": {"device": 0x24, "late_ns": late, "state": good, "writes": long},
        }
        runner.run(build, "tests.bench_sccb", arguments=given | there)
    away = {
        "sccb": {"device": 0x22, "late_ns": 0, "state": good, "writes": []},
        "i2c": {"device": 0x25, "late_ns": 0, "state": [0, 0, 1, 0], "writes": []},
    }
    runner.run(build, "tests.bench_sccb", arguments=given | away)
    wrong = there | {"i2c": there["i2c"] | {"writes": [*long[:3], [0, 0, 0]]}}
    with pytest.raises(runner.SimulationError, match="i2c: "):
        runner.run(build, "tests.bench_sccb", arguments=given | wrong)


class Slave:
    """What is on the bus, by its rules; refuses, holds SCL, or holds SDA when told.

    refuse: (transmission, byte) pairs without acknowledge.
    """

    def __init__(self, refuse=()):
        self.refuse, self.log, self.bits, self.active = set(refuse), [], [], False
        self.scl = self.sda = 1
        self.sda_o, self.clocks = 1, 0

    def look(self, scl, sda):
        if self.scl and scl and self.sda != sda:
            if sda:
                self.log.append("stop" if self.active else "free")
                self.active = False
            else:
                assert not self.active, "START inside a transmission"
                self.log.append([])
                self.active, self.bits = True, []
            self.sda_o = 1
        elif not self.scl and scl:
            self.clocks += 1
            if self.active:
                self.bits.append(sda)
        elif self.scl and not scl and self.active:
            number = sum(isinstance(e, list) for e in self.log) - 1
            if len(self.bits) == 8:
                transmission = [e for e in self.log if isinstance(e, list)][-1]
                self.sda_o = int((number, len(transmission)) in self.refuse)
                transmission.append(int("".join(map(str, self.bits)), 2))
            elif len(self.bits) == 9:
                self.sda_o, self.bits = 1, []
        self.scl, self.sda = scl, sda


def run(master, slave, cycles=None, hold=lambda cycle, slave: (1, 1)):
    """Starts the master; returns the cycle at which it was no longer busy, and its end.

    hold: (scl, sda) that the slave adds, by cycle.
    """
    bus, found = Buses({"x": master}), []

    async def testbench(ctx):
        ctx.set(bus.start, 1)
        edges = []
        for cycle in range(cycles or 2 * master.latency + 1000):
            await ctx.tick()
            ctx.set(bus.start, 0)
            scl, sda = hold(cycle, slave)
            ctx.set(bus.x_scl_o, scl)
            ctx.set(bus.x_sda_o, slave.sda_o & sda)
            before = slave.scl
            slave.look(ctx.get(bus.x_scl), ctx.get(bus.x_sda))
            ctx.set(bus.x_sda_o, slave.sda_o & sda)
            if slave.scl and not before:
                edges.append(cycle)
            if not ctx.get(bus.x_busy):
                break
        assert all(b - a >= master.bit_cycles for a, b in zip(edges, edges[1:], strict=False))
        found.extend([cycle, ctx.get(bus.x_done), ctx.get(bus.x_error), ctx.get(bus.x_index)])

    simulator = Simulator(bus)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return found


def master(acknowledge=True, **others):
    settings = {"table": TABLE[1:], "device": 0x21, "clock_hz": 100_000, "bus_hz": 6_000}
    settings |= {"acknowledge": acknowledge, "power_up_ms": 1, "retries": 2}
    return SccbMaster(**(settings | others))


def good(*writes):
    return [e for w in writes for e in ([0x42, w.register, w.value], "stop")]


@pytest.mark.parametrize("acknowledge", [False, True])
def test_bus(acknowledge):
    """START, bytes, STOP, nothing else; the bus never too fast; the time as `latency` says."""
    block, slave = master(acknowledge), Slave()
    assert run(block, slave) == [block.latency - 1, 1, 0, 2]
    assert slave.log == good(*TABLE[1:])


def test_no_acknowledge():
    """Tried again; given up after the retries, with the number of the write; SCCB goes on."""
    block, slave = master(), Slave(refuse=[(1, 0), (2, 2)])  # the second write's first two attempts
    assert run(block, slave)[1:] == [1, 0, 2]
    second = good(TABLE[2])
    assert slave.log == [
        *good(TABLE[1]),
        [0x42],
        "stop",
        *second,
        *second,
        *good(TABLE[3]),
    ]
    slave = Slave(refuse=[(n, 1) for n in range(1, 9)])
    assert run(master(), slave)[1:] == [0, 1, 1]
    assert slave.log == [*good(TABLE[1]), *([[0x42, 0xFF], "stop"] * 3)]
    slave = Slave(refuse=[(n, b) for n in range(9) for b in range(3)])
    assert run(master(False), slave)[1:] == [1, 0, 2] and slave.log == good(*TABLE[1:])


def test_stretching():
    """A slave may hold SCL low for a while: nothing changes but the time."""
    block, slave = master(), Slave()
    found = run(block, slave, hold=lambda cycle, s: (int(cycle % 97 < 60 or s.scl), 1))
    assert found[1:] == [1, 0, 2] and found[0] > block.latency
    assert slave.log == good(*TABLE[1:])


def test_scl_stuck():
    """SCL low for ever: an error, not a hang."""
    block = master()
    assert run(block, Slave(), 20000, lambda cycle, s: (0, 1))[1:] == [0, 1, 0]


def test_sda_stuck():
    """A slave in the middle of a byte is clocked free, then all is written; else it is an error."""
    block, slave = master(), Slave()
    found = run(block, slave, hold=lambda cycle, s: (1, int(s.clocks >= 6)))
    assert found[1:] == [1, 0, 2]
    assert [e for e in slave.log if e != "free"][-6:] == good(*TABLE[1:])
    assert run(block, Slave(), 20000, lambda cycle, s: (1, 0))[1:] == [0, 1, 0]


def test_start_again():
    """`start` while busy is nothing; after an error or the end it begins anew."""
    bus = Buses({"x": master(table=TABLE[1:2], retries=0, power_up_ms=0)})

    async def testbench(ctx):
        for sda, done, error in ((0, 0, 1), (1, 1, 0), (1, 1, 0)):
            ctx.set(bus.x_sda_o, sda)
            ctx.set(bus.start, 1)
            await ctx.tick()
            assert (ctx.get(bus.x_done), ctx.get(bus.x_error), ctx.get(bus.x_busy)) == (0, 0, 1)
            await ctx.tick().repeat(100)
            ctx.set(bus.start, 0)
            ctx.set(bus.x_sda_o, 0)  # acknowledges everything
            while ctx.get(bus.x_busy):
                await ctx.tick()
            assert (ctx.get(bus.x_done), ctx.get(bus.x_error)) == (done, error)

    simulator = Simulator(bus)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


# ---- the parts alone ----


def quartered(cycles, patience, holds, wrong=False):
    """Scenario: quarters, of each of which SCL is held for some cycles from its second one on.

    A quarter takes `cycles`, and where SCL is not free by then as many from there on; at last it is
    tired.

    wrong: each is expected a cycle shorter.
    """
    yield {"restart": 1, "run": 1, "released": 1}
    for number, held in enumerate(holds):
        tired = held > patience
        # its end would be told in the cycle after
        took = cycles if held < cycles - 1 else held + 2 + cycles
        for cycle in range(1, 3 * (cycles + patience)):
            out = yield {"run": 1, "released": cycle > held}
            # the step is told in the cycle after its quarter: the next one's first
            if out["step"]:
                assert out["tired"] == tired, f"quarter {number}: tired is {out['tired']}"
                break
        if tired:
            assert patience <= cycle <= patience + cycles, f"quarter {number}: {cycle} cycles"
        else:
            assert cycle == took - wrong + (number == 0), f"quarter {number}: {cycle}, not {took}"


@pytest.mark.parametrize("cycles, patience", [(2, 9), (5, 40), (16, 33)])
def test_quarter_timer(cycles, patience):
    holds = [0, 1, 0, cycles - 1, cycles + 3, 0, 2 * cycles, 10**6]
    on_amaranth(QuarterTimer(cycles=cycles, patience=patience), quartered(cycles, patience, holds))


def test_quarter_timer_differences_are_seen():
    with pytest.raises(AssertionError, match="quarter 0"):
        on_amaranth(QuarterTimer(cycles=5, patience=40), quartered(5, 40, [0], True))
    with pytest.raises(AssertionError, match="quarter"):
        on_amaranth(QuarterTimer(cycles=4, patience=40), quartered(5, 40, [0, 1]))
    with pytest.raises(AssertionError, match="quarter 0"):
        on_amaranth(QuarterTimer(cycles=5, patience=80), quartered(5, 40, [10**6]))


QUARTER = 5


def one_write(sent, slave, failed, log, busy_sda=0, held=0):
    """Scenario: a write; what the slave saw, whether it failed, and how long it took.

    busy_sda: clocks for which a slave holds SDA low from before the beginning; held: cycles for
    which SCL is held at its first rise.
    """
    word = int.from_bytes(bytes(sent), "big")
    late = held

    def lines():
        sda = slave.sda_o & (slave.clocks >= busy_sda)
        return {"sda_i": slave.sda & sda if slave.started else sda, "scl_i": slave.scl}

    slave.started = False
    out = yield lines()
    for _ in range(4):
        out = yield lines()
    for cycle in range(1, 4 * QUARTER * (9 * len(sent) + 20) + held):
        scl, sda = 1 - out["scl_oe"], 1 - out["sda_oe"]
        if scl and not slave.scl and late:
            late, scl = late - 1, 0
        low = slave.sda_o & (slave.clocks >= busy_sda)
        slave.look(scl, sda & low)
        slave.started = True
        out = yield lines() | {"start": cycle == 1, "bytes": word}
        if out["done"]:
            break
    assert out["done"] and out["failed"] == failed, f"failed is {out['failed']}, not {failed}"
    assert slave.log == log, f"{slave.log}, not {log}"
    if not failed and not held:
        quarters = 3 + 4 * 9 * len(sent) + 4
        assert abs(cycle - quarters * QUARTER) <= 3, f"{cycle} cycles, not {quarters} quarters"


def bus(acknowledge=True, size=3):
    return SccbBus(size=size, quarter=QUARTER, patience=60, acknowledge=acknowledge)


SENT = (0x42, 0x5A, 0xFF)


@pytest.mark.parametrize("sent", [SENT, (0x48, 0x12, 0x00, 0xA5)])
def test_bus_alone(sent):
    on_amaranth(bus(size=len(sent)), one_write(sent, Slave(), 0, [[*sent], "stop"]))


def test_bus_alone_without_acknowledge():
    """It ends with the byte that is refused; without `acknowledge` nobody looks."""
    on_amaranth(bus(), one_write(SENT, Slave(refuse=[(0, 1)]), 1, [[*SENT[:2]], "stop"]))
    on_amaranth(bus(False), one_write(SENT, Slave(refuse=[(0, 1)]), 0, [[*SENT], "stop"]))


def test_bus_alone_that_is_held():
    """SCL held for a while, and for longer than the patience; SDA held until it is clocked free."""
    on_amaranth(bus(), one_write(SENT, Slave(), 0, [[*SENT], "stop"], held=30))
    on_amaranth(bus(), one_write(SENT, Slave(), 1, [[]], held=500))  # given up in the first bit
    slave = Slave()
    slave.sda = 0
    on_amaranth(bus(), one_write(SENT, slave, 1, ["free", "free"], busy_sda=4))
    assert slave.clocks == 9 + 1  # ... and the STOP's


def test_bus_alone_differences_are_seen():
    other = (0x42, 0x5B, 0xFF)
    with pytest.raises(AssertionError, match="not"):
        on_amaranth(bus(), one_write(SENT, Slave(), 0, [[*other], "stop"]))
    with pytest.raises(AssertionError, match="failed is 0"):
        on_amaranth(bus(False), one_write(SENT, Slave(refuse=[(0, 1)]), 1, []))
    slow = SccbBus(size=3, quarter=QUARTER + 1, patience=60, acknowledge=True)
    with pytest.raises(AssertionError, match="quarters"):
        on_amaranth(slow, one_write(SENT, Slave(), 0, [[*SENT], "stop"]))


RIGHT = {"table": TABLE, "device": 0x21, "clock_hz": 12_000_000}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"table": []}, "table must have at least one write, not 0"),
        ({"device": 0x80}, "device must be 0..127, not 128"),
        ({"bus_hz": 400_001}, "bus_hz must be 1..400000, not 400001"),
        (
            {"clock_hz": 1_599_999},
            "clock_hz must be at least 16 * bus_hz = 1600000, not 1599999",
        ),
        ({"register_bytes": 3}, "register_bytes must be 1 or 2, not 3"),
        ({"retries": -1}, "retries must be at least 0, not -1"),
        ({"power_up_ms": -1}, "power_up_ms must be at least 0, not -1"),
        ({"stretch_us": 0}, "stretch_us must be at least 1, not 0"),
        ({"table": LONG}, "register must be 0..255 (register_bytes = 1), not 4668"),
    ],
)
def test_errors(wrong, message):
    SccbMaster(**RIGHT)
    with pytest.raises(ValueError) as error:
        SccbMaster(**(RIGHT | wrong))
    assert str(error.value) == message


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"register": 0x10000}, "register must be 0..65535, not 65536"),
        ({"value": 256}, "value must be 0..255, not 256"),
        ({"wait_ms": -1}, "wait_ms must be 0..65535, not -1"),
    ],
)
def test_write_errors(wrong, message):
    with pytest.raises(ValueError) as error:
        Write(**({"register": 0, "value": 0, "name": "", "reason": ""} | wrong))
    assert str(error.value) == message
