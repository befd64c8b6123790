"""The small boards' system: engine, weights from flash, a byte to the host for each decision."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards.flash import FlashLoader, Spi
from boards.held import Held
from boards.host_system import CameraPort
from boards.link.events import class_byte
from boards.packets import BoardStatus, Byte
from boards.switches import hold
from boards.uart import UartTransmitter
from hw.interfaces import Decision
from hw.top import Rasca


class EventSystem(wiring.Component):
    """What `HostSystem` is, less what a small FPGA has no room for: nothing comes from the host.

    For each decision one byte leaves: bits 0..2 status (hw.interfaces.Status), above them the class
    (boards.packets.class_byte; of two classes bit 7, person). When the weights have been read, and
    when the camera has been set up, a report says how: bit 6, and the status byte of
    boards.packets.BoardStatus. There is no early termination. A byte that the UART has no time for
    is replaced by the next.

    Parameters
    ----------
    rasca : hw.top.Rasca
        Made without read-back, which nobody would ask for.
    divisor : int or Held
        Clock cycles of a bit on the UART, see boards.uart.baud_divisor.
    flash : FlashLoader

    Ports
    -----
    tx : Out(1)
    camera : In(CameraPort(in_channels)); a change of `ready` or `failed` to 1 sends a report
    weights_ok : Out(1), the engine has weights and takes frames
    decision : Out(Decision(K)), the engine's
    spi : Out(Spi())
    """

    def __init__(self, *, rasca: Rasca, divisor: int | Held, flash: FlashLoader):
        self.rasca, self.divisor, self.flash = rasca, divisor, flash
        model = rasca.plan.model
        super().__init__(
            {
                "tx": Out(1, init=1),
                "camera": In(CameraPort(model.in_channels)),
                "weights_ok": Out(1),
                "decision": Out(Decision(model.class_count)),
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
        with m.If(transmitter.ready):
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
        hold(m, flash.busy, camera.pixels, rasca.pixels)
        m.d.comb += [
            self.tx.eq(transmitter.pin),
            transmitter.valid.eq(waiting),
            transmitter.data.eq(byte),
            flash.weights_digest.eq(rasca.weights_digest),
            self.weights_ok.eq(flash.ready),
        ]
        return m
