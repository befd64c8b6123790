"""The small boards' system: engine, weights from flash, a byte to the host for each decision."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

from boards.flash import FlashLoader, Spi
from boards.held import Held
from boards.host_system import CAMERA_COUNTERS, ENGINE_COUNTERS, CameraPort
from boards.link.events import class_byte
from boards.outputs.output import PacketStream
from boards.packets import BoardStatus, Byte
from boards.switches import hold, take_turns
from boards.uart import UartTransmitter
from hw.interfaces import Decision, RowEvent
from hw.top import Rasca


class EventSystem(wiring.Component):
    """What `HostSystem` is, less what a small FPGA has no room for: nothing comes from the host.

    For each decision one byte leaves: bits 0..2 status (hw.interfaces.Status), above them the class
    (boards.packets.class_byte; of two classes bit 7, person). When the weights have been read, and
    when the camera has been set up, a report says how: bit 6, and the status byte of
    boards.packets.BoardStatus. There is no early termination. A byte that the UART has no time for
    is replaced by the next. An output's packets leave between these bytes.

    Parameters
    ----------
    rasca : hw.top.Rasca
        Made without read-back, which nobody would ask for.
    divisor : int or Held
        Clock cycles of a bit on the UART, see boards.uart.baud_divisor.
    flash : FlashLoader

    Ports
    -----
    rx : In(1), asynchronous; tx : Out(1)
    camera : In(CameraPort(in_channels)); the first 1 of `ready` and `failed` sends a report
    weights_ok : Out(1), the engine has weights and takes frames
    row : Out(RowEvent(K)), decision : Out(Decision(K)), the engine's
    toggles : Out(11), as in boards.host_system
    packets : In(PacketStream()), of an output
    asked : Out(1), pulse: a byte comes from the host; colour : Out(1), 0
    spi : Out(Spi())
    """

    def __init__(self, *, rasca: Rasca, divisor: int | Held, flash: FlashLoader):
        self.rasca, self.divisor, self.flash = rasca, divisor, flash
        model = rasca.plan.model
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "camera": In(CameraPort(model.in_channels)),
                "weights_ok": Out(1),
                "row": Out(RowEvent(model.class_count)),
                "decision": Out(Decision(model.class_count)),
                "toggles": Out(len(ENGINE_COUNTERS) + len(CAMERA_COUNTERS)),
                "packets": In(PacketStream()),
                "asked": Out(1),
                "colour": Out(1),
                "spi": Out(Spi()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rasca = rasca = self.rasca
        m.submodules.flash = flash = self.flash
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self.divisor)
        camera, decision = self.camera, rasca.decision
        waiting, before = Signal(), Signal()
        byte = Signal(8)
        set_up = camera.ready | camera.failed
        m.d.sync += before.eq(set_up)
        own = PacketStream().create(path=("own",))
        take_turns(m, own, 0, self.packets, transmitter)  # a byte is a packet
        with m.If(own.ready):
            m.d.sync += waiting.eq(0)
        with m.If(flash.done | (set_up & ~before)):
            m.d.sync += [
                waiting.eq(1),
                byte.eq(
                    int(Byte.REPORT)
                    | flash.problem
                    | Mux(flash.busy, int(BoardStatus.LOADING), 0)
                    | Mux(camera.failed, int(BoardStatus.CAMERA_FAILED), 0)
                ),
            ]
        with m.If(decision.valid):
            m.d.sync += [waiting.eq(1), byte.eq(decision.status | class_byte(decision.index))]
        connect(m, flash.load, rasca.load)
        connect(m, flash.spi, flipped(self.spi))
        connect(m, decision, flipped(self.decision))
        connect(m, rasca.row, flipped(self.row))
        line, before_line = Signal(init=1), Signal(init=1)
        m.submodules.line = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before_line.eq(line)
        hold(m, flash.busy, camera.pixels, rasca.pixels)
        m.d.comb += [
            self.tx.eq(transmitter.pin),
            own.valid.eq(waiting),
            own.data.eq(byte),
            self.toggles.eq(
                Cat(*(getattr(rasca.counts, n)[0] for n in ENGINE_COUNTERS), camera.toggles)
            ),
            self.asked.eq(before_line & ~line),
            flash.weights_digest.eq(rasca.weights_digest),
            self.weights_ok.eq(flash.ready),
        ]
        return m
