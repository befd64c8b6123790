"""Properties of clocks that stand still."""

from amaranth.hdl import EnableInserter, Instance, Module, Mux, Signal

from hw.line_buffer import PixelPlaces
from hw.sleep import GATE, MODEL, Awake
from sim.prove.bench import Bench, before, check, inputs


def gate(part=MODEL):
    """A gated clock has whole pulses only, and each for an enable before it.

    The clock is data here, a step a moment: it and the enable may do anything.
    """
    m = Module()
    clock, enable, gated = Signal(name="clock"), Signal(name="enable"), Signal(name="gated")
    m.submodules.gate = Instance(GATE, i_clk=clock, i_en=enable, o_gclk=gated)
    was, was_gated, was_enabled = (
        before(m, value, f"was{i}") for i, value in enumerate((clock, gated, enable))
    )
    begun = before(m, 1, "begun")
    check(m, clock, when=gated)
    check(m, gated == was_gated, when=begun & clock & was)
    check(m, gated == was_enabled, when=begun & clock & ~was)
    return Bench(m, [clock, enable], {"a pulse": gated}, verilog=part)


def awake(part, settle=5, brief=2):
    """A clock runs in each cycle with an event and `settle` cycles after it, and no longer.

    After a brief event for `brief` cycles; and where there are none, just as long.
    """
    m = Module()
    m.submodules.unit, m.submodules.plain = unit, plain = part(settle, brief), part(settle)
    m.d.comb += plain.event.eq(unit.event)
    due = {"event": Signal(settle, init=-1), "brief_event": Signal(brief)}  # a bit a cycle
    for name, cycles in due.items():
        m.d.sync += cycles.eq(Mux(getattr(unit, name), -1, cycles >> 1))
    kept = unit.event | due["event"].any()
    check(m, plain.awake == kept)
    check(m, unit.awake == (kept | unit.brief_event | due["brief_event"].any()))
    return Bench(m, inputs(unit), {"asleep": ~unit.awake, "brief": unit.awake & ~kept})


def receiver(part, settle, brief, row_groups=2, rows=2):
    """The line buffer's control, its clock standing still, does in each cycle what it else does."""
    m = Module()
    sizes = {"row_groups": row_groups, "rows": rows, "late_rows": 3, "bytewise": False}
    always, gated = part(**sizes), part(**sizes)
    m.submodules.awake = clock = Awake(settle, brief)
    m.submodules.always = always
    m.submodules.gated = EnableInserter(clock.awake)(gated)
    m.submodules.places = places = PixelPlaces(width=2, pixels=2, banks=1)
    pixel, end = Signal(name="pixel"), Signal(name="end")
    sof, eol, other = Signal(name="sof"), Signal(name="eol"), Signal(name="other")
    m.d.comb += [
        clock.brief_event.eq(pixel | end),
        # as hw.line_buffer.LineBuffer
        clock.event.eq(gated.starting | gated.end | gated.word_done | gated.control.fault | other),
    ]
    control = always.control
    signals = ("enable", "busy", "released", "take", "stop", "done")
    free = []
    for name in signals:
        wanted = Signal.like(getattr(control, name), name=f"wanted_{name}")
        kept = Signal.like(wanted, name=f"kept_{name}")
        pulse = name in ("take", "stop", "done")
        free.append(wanted)
        m.d.sync += kept.eq(getattr(control, name))
        with m.If(other):
            m.d.comb += getattr(control, name).eq(wanted)
        if not pulse:
            with m.Else():
                m.d.comb += getattr(control, name).eq(kept)
        m.d.comb += getattr(gated.control, name).eq(getattr(control, name))
    # stage 1 is the line buffer's; its registers have the same clock
    flags = {"starting": pixel & sof, "inner": pixel & ~sof, "eol": eol, "end": end}
    for name, value in flags.items():
        for unit, on in ((always, 1), (gated, clock.awake)):
            flag = Signal(name=f"{name}_{'a' if unit is always else 'g'}")
            with m.If(on):
                m.d.sync += flag.eq(value)
            m.d.comb += getattr(unit, name).eq(flag)
    m.d.comb += [places.starting.eq(always.starting), places.inner.eq(always.inner)]
    for unit in (always, gated):
        m.d.comb += [
            unit.sof.eq(sof),
            unit.last_column.eq(places.last_column),
            unit.word_end.eq(places.word_end),
        ]
    told = ("accept", "waiting", "receiving", "current", "rows", "fault", "status", "fault_current")
    for name in told:
        check(m, getattr(always.control, name) == getattr(gated.control, name))
    for name in ("taken", "word_done", "row_done"):
        check(m, getattr(always, name) == getattr(gated, name))
    return Bench(m, [pixel, end, sof, eol, other, *free], {"asleep": ~clock.awake})
