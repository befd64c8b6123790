"""Properties of a host's reads: each is answered as asked, and the engine never notices."""

from types import SimpleNamespace

from amaranth.hdl import Assume, Module, Signal, Value
from amaranth.lib.wiring import Flow

from sim.prove.bench import Bench, before, check, inputs, some


def host_read(part, lanes=2, base=1, state_words=2):
    """The word that was asked for last is asked of its bank, once; its answer alone is told."""
    m = Module()
    unit = part(lanes=lanes, words=16, pixels=1, base=base, state_words=state_words)
    m.submodules.unit = unit
    state, maps = unit.state, unit.maps
    channel, word, due = Signal(3), Signal(1), Signal()
    coming, replaced = Signal(), Signal()  # a granted word; it is not the one asked for last
    age = Signal(4)
    m.d.comb += [Assume(state.channel < 8), Assume(state.word < state_words)]
    m.d.comb += Assume(~maps.valid | coming)
    m.d.sync += age.eq(age + (due & ~maps.en & ~coming))
    with m.If(maps.valid):
        m.d.sync += [coming.eq(0), replaced.eq(0)]
    with m.If(maps.en & maps.done):
        m.d.sync += [due.eq(0), coming.eq(1)]
    with m.If(state.read):
        m.d.sync += [channel.eq(state.channel), word.eq(state.word), due.eq(1), age.eq(0)]
        m.d.sync += replaced.eq(maps.en & maps.done | coming & ~maps.valid)
    address = base + (channel >> (lanes.bit_length() - 1)) * state_words + word
    check(m, due, maps.bank == channel[: lanes.bit_length() - 1], when=maps.en)
    check(m, maps.address == address, ~coming, when=maps.en)
    check(m, age <= 1 + 8 // lanes)
    check(m, state.valid == (maps.valid & ~replaced), state.data == maps.data)
    reach = {"a read": maps.en & (channel == 7), "not told": maps.valid & replaced}
    return Bench(m, inputs(unit), reach)


def maps(part, lanes=2):
    """Array and operands see the same words in the same cycles, whatever the host reads."""
    m = Module()
    plan = SimpleNamespace(
        engine=SimpleNamespace(lanes=lanes, pixels=1),
        bank_words=2,
        latency=SimpleNamespace(memory=2),
    )
    units = [part(plan), part(plan)]
    m.submodules.unit, m.submodules.alone = unit, alone = units
    for name in unit.signature.members:
        member = unit.signature.members[name]
        if member.flow.name == "In" and not name.startswith("host"):
            m.d.comb += getattr(alone, name).eq(getattr(unit, name))
    reading = unit.read_en
    for i in range(3):
        late = Signal(lanes, name=f"reading{i}")
        m.d.sync += late.eq(reading)
        reading = late
    check(m, unit.operand_done == alone.operand_done)
    check(m, unit.operand_valid == alone.operand_valid)
    for b in range(lanes):
        due = reading[b] | unit.operand_valid[b]
        check(m, unit.words[b] == alone.words[b], when=due)
    told = unit.host_valid.any()
    check(m, ~(reading & unit.host_valid).any())
    return Bench(m, inputs(unit), {"an answer": told})


def window(part, lanes=2, pixels=2):
    """The serial array sees the same, whatever the host reads, and the host its word.

    Steps are any, also such as no program has.
    """
    m = Module()
    operation = SimpleNamespace(head_mode=True, taps=1, segments=[SimpleNamespace(channels=1)])
    plan = SimpleNamespace(
        engine=SimpleNamespace(lanes=lanes, pixels=pixels),
        bank_words=2,
        line_buffer_words=2,
        weight_words=1,
        geometry=SimpleNamespace(head_lanes=1),
        operations=[operation],
        field_widths=lambda word: dict.fromkeys(("tail", "groups", "head"), 1),
    )
    units = [part(plan), part(plan)]
    m.submodules.unit, m.submodules.alone = unit, alone = units
    for name, member in unit.signature.members.items():
        if member.flow is Flow.In and not name.startswith("host"):
            m.d.comb += Value.cast(getattr(alone, name)).eq(Value.cast(getattr(unit, name)))
    check(m, unit.granted == alone.granted, unit.camera_address == alone.camera_address)
    asked, asked_bank = before(m, unit.granted, "asked"), before(m, unit.ask_bank, "asked_bank")
    # any one word of the banks, as it was written
    (bank, free_bank), (address, free_address) = some(m, 1, "bank"), some(m, 1, "address")
    kept, done = Signal(8 * pixels), Signal()
    here = unit.write_en.bit_select(bank, 1) & (unit.write_address == address)
    for i in range(pixels):
        with m.If(here & unit.write_mask[i]):
            byte = unit.write_low if 2 * i < pixels else unit.write_high
            m.d.sync += kept[8 * i : 8 * i + 8].eq(byte)
    own = (unit.host_bank == bank) & (unit.host_address == address)
    m.d.sync += done.eq(unit.host_done & own & ~here)
    held = before(m, kept, "held")
    for b in range(lanes):
        check(m, unit.operands[b] == alone.operands[b])
        check(m, unit.words[b] == alone.words[b], when=asked & (asked_bank == b))
        check(m, unit.words[b] == held, when=done & (bank == b))
    free = [*inputs(unit), free_bank, free_address]
    return Bench(m, free, {"an answer": done & (held != 0), "an operand": asked})
