"""The serial engine's parts: a slow clock, one channel unit for the sums of all lanes."""

from collections.abc import Sequence

from amaranth.hdl import Module, ResetInserter, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.weights import Weights
from hw.path import array_ports, back_ports, camera_read, join, window_ports
from hw.plan import Plan
from hw.plan.latency import SerialLatency
from hw.plan.serial_owners import LOW, high_bits
from hw.serial.array import SerialArray
from hw.serial.starts import SerialStarts
from hw.serial.store import SerialStore
from hw.serial.unit import SerialUnit
from hw.serial.window import SerialWindow


def line_words(plan: Plan) -> int:
    """Words of the line buffer's bank: a power of two, the last one is never written."""
    return 1 << plan.line_buffer_words.bit_length()


class MapAccess(wiring.Signature):
    """Bytes written to maps and state, and reads of operands; from the way back to the window.

    Members
    -------
    write_en : Out(L), write_address : Out(range(bank_words)), write_mask : Out(P)
        Bytes of that word of these banks are written.
    write_low, write_high : Out(8)
        A byte for the lower and one for the upper half of the word.
    ask : Out(1), ask_bank : Out(range(L)), ask_address : Out(range(bank_words))
        A read wanted in this cycle.
    granted : In(1)
        It has the bank.
    words : In(8 * P), an array of L
        The banks' words, a cycle after the address.
    """

    def __init__(self, plan: Plan):
        engine, address = plan.engine, range(plan.bank_words)
        super().__init__(
            {
                "write_en": Out(engine.lanes),
                "write_address": Out(address),
                "write_mask": Out(engine.pixels),
                "write_low": Out(8),
                "write_high": Out(8),
                "ask": Out(1),
                "ask_bank": Out(range(engine.lanes)),
                "ask_address": Out(address),
                "granted": In(1),
                "words": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
            }
        )


class Sums(wiring.Signature):
    """Sums of all lanes, one after the other; from array to way back.

    Members
    -------
    ending : Out(1)
        Two cycles before `transfer`.
    transfer : Out(1), pulse
        A walk's sums move to the drain registers.
    low : Out(16), high : Out(signed)
        Of the sum at the head, see SerialArray: `high` a cycle later.
    shift : In(1)
        The next one.
    """

    def __init__(self, high_bits: int):
        super().__init__(
            {
                "ending": Out(1),
                "transfer": Out(1),
                "low": Out(LOW),
                "high": Out(signed(high_bits)),
                "shift": In(1),
            }
        )


class Window(wiring.Component):
    """SerialWindow behind the ports of hw.path.window_ports."""

    def __init__(self, plan: Plan):
        self.plan, self.latency = plan, plan.latency
        self.banks = SerialWindow(plan)
        super().__init__(window_ports(plan, camera_read(plan, line_words(plan)), MapAccess(plan)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.maps = banks = self.banks
        host = self.host
        join(m, wiring.flipped(self.maps), banks)
        bank = Signal.like(banks.host_bank, reset_less=True)
        word = 0
        for b, found in enumerate(banks.words):
            word = word | (found & (bank == b).replicate(len(found)))
        m.d.comb += [
            banks.step.eq(self.steps[0]),
            banks.later1.eq(self.steps[1]),
            banks.later2.eq(self.steps[2]),
            banks.first_group.eq(self.first_group),
            self.camera.read_address[0].eq(banks.camera_address),
            self.camera.read_en.eq(1),
            banks.camera_word.eq(self.camera.words[0]),
            self.operands.eq(banks.operands),
            banks.host_en.eq(host.en),
            banks.host_bank.eq(host.bank),
            banks.host_address.eq(host.address),
            host.done.eq(banks.host_done),
            host.data.eq(word),
        ]
        m.d.sync += [host.valid.eq(banks.host_done), bank.eq(banks.host_bank)]
        return m


class Array(wiring.Component):
    """SerialArray behind the ports of hw.path.array_ports.

    A weight word holds a byte for each lane, in both modes.
    """

    def __init__(self, plan: Plan):
        self.plan, self.latency = plan, plan.latency
        engine = plan.engine
        self.array = SerialArray(
            pixels=engine.pixels,
            lanes=engine.lanes,
            max_taps=plan.model.max_taps,
            cells=engine.cells,
        )
        super().__init__(array_ports(plan, Sums(self.array.high_bits)))

    def elaborate(self, platform):
        m = Module()
        m.submodules.array = array = self.array
        t, steps, sums = self.latency, self.steps, self.sums
        sooner, before, at = steps[t.transfer - 2 :]
        anew = Signal()
        if self.plan.engine.weight_memory == "initialised":
            # a reset from outside leaves accumulators; where weights are loaded, it lasts longer
            begun = Signal()
            m.d.sync += begun.eq(1)
            m.d.comb += anew.eq(~begun)
        m.d.comb += [
            self.weights.address.eq(steps[t.weight_address].weight),
            self.weights.read_en.eq(steps[t.weight_address].valid),
            array.weights.as_value().eq(self.weights.word),
            array.operands.eq(self.operands),
            array.add.eq(before.valid),
            array.transfer.eq(at.valid & at.last),
            array.clear.eq(self.reset | anew),
            array.shift.eq(sums.shift),
            sums.transfer.eq(array.transfer),
            sums.ending.eq(sooner.valid & sooner.last),
            sums.low.eq(array.low),
            sums.high.eq(array.high),
        ]
        return m


class Back(wiring.Component):
    """The one channel unit, and the store around it.

    Sums come as hw.serial.array counts them; hw.serial.starts makes of the bias what makes them
    those of a walk.

    Parameters
    ----------
    constants : sequence of int
        What the constant memory holds at power-up, words of hw.serial.store.

    Ports
    -----
    load : Out(write_port of the constant memory's words, 16 bits)

    and those of hw.path.back_ports.
    """

    def __init__(self, plan: Plan, weights: Weights, constants: Sequence[int] = ()):
        self.plan, self.latency = plan, plan.latency
        acc_bits, counts = plan.model.acc_bits, high_bits(plan.model.max_taps)
        self.unit = SerialUnit(acc_bits=acc_bits, high_bits=counts, knots=weights.knots.tolist())
        engine = plan.engine
        self.starts = SerialStarts(pixels=engine.pixels, lanes=engine.lanes, acc_bits=acc_bits)
        self.store = SerialStore(plan, constants)
        ports = back_ports(plan, Sums(counts), MapAccess(plan))
        super().__init__(ports | {"load": self.store.signature.members["load"]})

    def elaborate(self, platform):
        m = Module()
        assert isinstance(self.latency, SerialLatency)
        m.submodules.unit = unit = self.unit
        m.submodules.store = ResetInserter({"sync": self.reset})(self.store)
        m.submodules.starts = starts = ResetInserter({"sync": self.reset})(self.starts)
        store, sums = self.store, self.sums
        join(m, wiring.flipped(self.maps), store)
        wiring.connect(m, store.pooled, wiring.flipped(self.pool))
        wiring.connect(m, wiring.flipped(self.load), store.load)
        m.d.comb += [
            store.first_group.eq(self.first_group),
            sums.shift.eq(starts.shift),
            unit.low.eq(sums.low),
            unit.high.eq(sums.high),
            starts.ending.eq(sums.ending),
            starts.low.eq(sums.low),
            starts.bias.eq(store.bias),
            *[getattr(starts, name).eq(getattr(store, name)) for name in ("pool", "blend")],
            *[getattr(store, n).eq(getattr(starts, n)) for n in ("go", "begins", "running")],
            unit.bias.eq(starts.less),
            unit.shift.eq(store.scale),
            *[
                getattr(unit, name).eq(getattr(store, name))
                for name in ("multiplier", "fresh", "pool", "function", "factor", "a")
            ],
            store.byte.eq(unit.byte),
            self.state_done.eq(store.state_done),
        ]
        return m
