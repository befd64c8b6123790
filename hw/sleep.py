"""Sleep: clocks that stand still while an edge would change nothing.

A few clocks, each with one gate at its root: `CLOCKS`. A clock runs in each cycle with an event (a
pixel, a row that lets the sequencer go on, a byte or a read of the host) and some cycles longer,
until all that the event has set going is through. The event itself opens the gate, in its own
cycle, so that what comes out is the same, in the same cycles, as with a clock that always runs.
"""

from amaranth.hdl import ClockDomain as Domain
from amaranth.hdl import ClockSignal, DomainRenamer, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.plan import Plan
from hw.plan.awake import CLOCKS, settle_pixel, settles

GATE = "rasca_clock_gate"
"""Name of the gate's module in Verilog: `clk`, `en`, `gclk`."""

MODEL = f"""
// Clock gate: passes a whole pulse of clk where en was 1 before it. In silicon an integrated
// clock-gating cell takes its place.
module {GATE} (input clk, input en, output gclk);
  reg held;
  /* verilator lint_off LATCH */
  always @*
    if (!clk) held = en;
  /* verilator lint_on LATCH */
  assign gclk = clk & held;
endmodule
"""
"""The gate's behaviour in Verilog."""


class ClockGate(wiring.Component):
    """A gate at the root of a clock: `MODEL` says what it does.

    Parameters
    ----------
    domain : str
        Whose clock is made, of that of "sync"; both have the same reset, which opens the gate.

    Ports
    -----
    en : In(1)
        There is an edge at the end of this cycle.
    """

    def __init__(self, domain: str):
        self.domain = domain
        super().__init__({"en": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cell = Instance(
            GATE,
            i_clk=ClockSignal(),
            i_en=self.en | ResetSignal(),
            o_gclk=ClockSignal(self.domain),
        )
        m.d.comb += ResetSignal(self.domain).eq(ResetSignal())
        return m


class Awake(wiring.Component):
    """Whether a clock runs: in each cycle with an event and `settle` cycles after it.

    Parameters
    ----------
    settle : int
        It also runs so many cycles after the reset.
    brief : int
        Cycles after a brief event, 0..settle; 0: there are none.

    Ports
    -----
    event : In(1)
    brief_event : In(1)
        Only where there are such.
    awake : Out(1)
    """

    def __init__(self, settle: int, brief: int = 0):
        self.settle, self.brief = settle, brief
        brief_event = {"brief_event": In(1)} if brief else {}
        super().__init__({"event": In(1), **brief_event, "awake": Out(1)})

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(self.settle + 1), init=self.settle)
        brief_event = self.brief_event if self.brief else 0
        with m.If(self.event):
            m.d.sync += left.eq(self.settle)
        if self.brief:
            with m.Elif(brief_event & (left <= self.brief)):
                m.d.sync += left.eq(self.brief)
        with m.Elif(left.any()):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.awake.eq(self.event | brief_event | left.any())
        return m


class Sleep(wiring.Component):
    """The clocks of `CLOCKS`, and when they run.

    Parameters
    ----------
    plan : Plan

    Ports
    -----
    pixel : In(1)
        A pixel or the end of a frame is on the wires.
    line : In(1)
        LineBuffer's `event`.
    load, read : In(1)
        A byte of the image, a read of the state is asked for.
    reading : In(1)
        The read is under way.
    standing : In(1)
        The walk sequencer would not move, or there are no weights.
    drop : In(1)
        Walks are dropped, while the memories hold weights.
    pooled, start, forget, classifying : In(1)
        The classifier is given a channel; begins; drops what it is on; is busy.
    transfer : In(1)
        A walk's sums move to the drain registers.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        brief = {"camera": settle_pixel(plan)}
        self.clocks = {
            name: Awake(settle, brief.get(name, 0)) for name, settle in settles(plan).items()
        }
        events = ("pixel", "line", "load", "read", "reading", "standing", "drop", "pooled", "start")
        super().__init__(dict.fromkeys((*events, "forget", "classifying", "transfer"), In(1)))

    def elaborate(self, platform):
        m = Module()
        host, engine, classifier, camera = (self.clocks[name] for name in CLOCKS[:4])
        m.d.comb += [
            host.event.eq(self.load | self.read | self.reading),
            # it has the memories that the host loads and reads
            engine.event.eq(host.awake | ~self.standing | self.drop),
            classifier.event.eq(
                host.awake | self.pooled | self.start | self.forget | self.classifying
            ),
            # frame control hears of all that the others do
            camera.event.eq(self.line | host.awake | engine.awake | classifier.awake),
            camera.brief_event.eq(self.pixel),
        ]
        if "units" in self.clocks:
            m.d.comb += self.clocks["units"].event.eq(self.transfer)
        for name, clock in self.clocks.items():
            m.submodules[name] = clock
            m.submodules[f"{name}_gate"] = gate = ClockGate(name)
            m.d.comb += gate.en.eq(clock.awake)
        return m


def add_clocks(m: Module, sleep: Sleep) -> None:
    """Declares the clocks in a module, for what is in it."""
    m.domains += [Domain(name, local=True) for name in sleep.clocks]


def clocked(part, clock: str, sleep: bool):
    """A part whose clock is one of `CLOCKS`; its own where nothing sleeps."""
    return DomainRenamer(clock)(part) if sleep else part
