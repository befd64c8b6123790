"""Top level with a bus: the engine, its registers and its stream, with plain Verilog ports."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.config import ModelConfig
from golden.weights import Weights
from hw.bus.axi import AxiLite, AxiLiteSlave
from hw.bus.bank import Bank
from hw.bus.events import Events
from hw.bus.load import WordLoad
from hw.bus.registers import COUNTERS, RegisterMap, registers
from hw.bus.state import StateWindow
from hw.bus.stream import PixelSource, VideoStream
from hw.bus.wishbone import Wishbone, WishboneSlave
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca

BUSES = {"axi": "s_axi", "wishbone": "wb"}
"""Buses of the registers, and how their ports' names begin."""
STREAM = "s_axis"
"""How the names of the stream's ports begin."""


class RascaBus(wiring.Component):
    """The whole accelerator behind a bus.

    Parameters
    ----------
    bus : str
        One of BUSES.
    model, engine, weights
        As in hw.top.Rasca.

    Attributes
    ----------
    bus_name : str
        `bus`.
    registers : RegisterMap
    ports : dict of str to Signal
        By their names in Verilog.

    Ports
    -----
    stream : In(VideoStream(in_channels))
    bus : In(AxiLite(address_bits))
        As the standard has it; or Wishbone(address_bits - 2).
    irq : Out(1)
        High while a bit of INTERRUPT is set that is set in INTERRUPT_MASK.

    Raises
    ------
    ValueError
        No such bus; and as hw.top.Rasca.
    """

    def __init__(self, bus: str, model: ModelConfig, engine: EngineConfig, weights: Weights):
        check_bus(bus)
        self.bus_name = bus
        self.rasca = rasca = Rasca(model, engine, weights, room=True)
        self.plan, self.engine, self.config_digest = rasca.plan, rasca.engine, rasca.config_digest
        size = rasca.engine.loader.load_bytes
        self.registers: RegisterMap = registers(model, engine, size)
        bits = self.registers.address_bits
        if bus == "axi":
            self.slave, side = AxiLiteSlave(bits), AxiLite(bits)
        else:
            self.slave, side = WishboneSlave(bits), Wishbone(bits - 2)
        self.bank = Bank(self.registers)
        self.source = PixelSource(
            in_channels=model.in_channels,
            spacing=self.plan.rules.pixel_spacing,
            delay=rasca.engine.room_delay,
        )
        self.load = WordLoad(image_bytes=size)
        self.window = StateWindow(pixels=engine.pixels)
        self.events = Events(classes=model.class_count)
        super().__init__(
            {"stream": In(VideoStream(model.in_channels)), "bus": In(side), "irq": Out(1)}
        )
        names = {"stream": STREAM, "bus": BUSES[bus], "irq": "irq"}
        self.ports: dict[str, Signal] = {
            "_".join((names[path[0]], *path[1:])): Value.cast(signal)
            for path, _, signal in self.signature.flatten(self)
        }

    def elaborate(self, platform):
        m = Module()
        rasca, bank, source, load = self.rasca, self.bank, self.source, self.load
        window, events = self.window, self.events
        for name in ("rasca", "slave", "bank", "source", "load", "window", "events"):
            m.submodules[name] = getattr(self, name)
        wiring.connect(m, wiring.flipped(self.bus), self.slave.bus)
        wiring.connect(m, self.slave.port, bank.port)
        wiring.connect(m, wiring.flipped(self.stream), source.stream)
        wiring.connect(m, source.pixels, rasca.pixels)
        wiring.connect(m, rasca.room, source.room)
        wiring.connect(m, load.load, rasca.load)
        wiring.connect(m, window.state, rasca.state)
        wiring.connect(m, rasca.row, events.row)
        wiring.connect(m, rasca.decision, events.decision)
        control, thresholds = bank.control, rasca.thresholds
        m.d.comb += [
            # stream
            source.camera.eq(control.camera),
            source.video_order.eq(control.video_order),
            source.hold.eq(load.hold),
            # thresholds
            thresholds.stop_enable.eq(control.stop_enable),
            thresholds.skip_enable.eq(control.skip_enable),
            thresholds.stop.eq(bank.stop_threshold.value),
            thresholds.skip.eq(bank.skip_threshold.value),
            # weights
            load.word.eq(bank.load_data.value),
            load.written.eq(bank.load_data_written),
            load.abort.eq(bank.load_control_written & bank.load_control.abort),
            bank.load_data_ready.eq(load.ready),
            bank.weights_digest.value.eq(rasca.weights_digest),
            events.loaded.eq(rasca.weights_digest.any()),
            # state
            window.ask.eq(bank.state_select_written),
            window.channel.eq(bank.state_select.channel),
            window.word.eq(bank.state_select.word),
        ]
        for register, word in zip(bank.state_data, window.data, strict=True):
            m.d.comb += register.value.eq(word)
        self._tell(m)
        return m

    def _tell(self, m):
        """What the engine says, in registers."""
        rasca, bank, load, events = self.rasca, self.bank, self.load, self.events
        decision, happened, enabled = rasca.decision, bank.interrupt_set, bank.interrupt_mask
        m.d.comb += [
            bank.status.busy.eq(rasca.busy),
            bank.status.loaded.eq(events.loaded),
            bank.status.load_room.eq(load.room),
            bank.status.loading.eq(load.loading),
            bank.status.load_error.eq(rasca.load.error),
            bank.status.load_lost.eq(load.lost),
            bank.status.state_valid.eq(self.window.valid),
            bank.status.state_stale.eq(rasca.stale),
            bank.frames.value.eq(events.frames),
            bank.decision.index.eq(decision.index),
            bank.decision.status.eq(decision.status),
            bank.decision.rows_used.eq(decision.rows_used),
            bank.rows.value.eq(events.rows),
            bank.row.group.eq(events.group),
            happened.decision.eq(events.decision_now),
            happened.row.eq(events.row_now),
            happened.fault.eq(events.fault_now),
            happened.loaded.eq(events.loaded_now),
        ]
        m.d.sync += self.irq.eq((bank.interrupt.as_value() & enabled.as_value()).any())
        for name in COUNTERS:
            m.d.comb += getattr(bank, f"count_{name}").value.eq(getattr(rasca.counts, name))
        for register, logit in zip(bank.decision_logit, decision.logits, strict=True):
            m.d.comb += register.value.eq(logit)
        for register, logit in zip(bank.row_logit, events.row_logits, strict=True):
            m.d.comb += register.value.eq(logit)


def check_bus(bus: str) -> None:
    """ValueError unless there is such a bus."""
    if bus not in BUSES:
        raise ValueError(f"expected --bus {' or '.join(BUSES)}, not {bus!r}")
