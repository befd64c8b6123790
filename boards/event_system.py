"""The small boards' system: engine, weights from flash, a byte to the host for each decision."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.flash import FlashLoader
from boards.host_system import CAMERA_COUNTERS
from boards.packets import Byte, Status
from boards.uart import UartTransmitter
from hw.top import Rasca


class EventSystem(wiring.Component):
    """What `HostSystem` is, less what a small FPGA has no room for: nothing comes from the host.

    For each decision one byte leaves: bits 0..2 status (hw.line_buffer.Status), bit 7 person. When
    the weights have been read, and when the camera has been set up, a report says how: bit 6, and
    the status byte of boards.packets.Status. There is no early termination. A byte that the UART
    has no time for is replaced by the next.

    Parameters
    ----------
    rasca : hw.top.Rasca
    divisor : int
        Clock cycles of a bit on the UART, see boards.uart.baud_divisor.
    flash : FlashLoader

    Ports
    -----
    As HostSystem's of the same names.
    """

    def __init__(self, *, rasca: Rasca, divisor: int, flash: FlashLoader):
        self.rasca, self.divisor, self.flash = rasca, divisor, flash
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "camera_valid": In(1),
                "camera_red": In(8),
                "camera_green": In(8),
                "camera_blue": In(8),
                "camera_sof": In(1),
                "camera_eol": In(1),
                "camera_frame_end": In(1),
                "camera_toggles": In(len(CAMERA_COUNTERS)),
                "camera_ready": In(1),
                "camera_failed": In(1),
                "weights_ok": Out(1),
                "decision_valid": Out(1),
                "decision_person": Out(1),
                "flash_clock": Out(1),
                "flash_select": Out(1, init=1),
                "flash_mosi": Out(1),
                "flash_miso": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rasca = rasca = self.rasca
        m.submodules.flash = flash = self.flash
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self.divisor)
        waiting, before = Signal(), Signal()
        byte = Signal(8)
        set_up = self.camera_ready | self.camera_failed
        m.d.sync += before.eq(set_up)
        with m.If(transmitter.ready):
            m.d.sync += waiting.eq(0)
        with m.If(flash.done | (set_up & ~before)):
            m.d.sync += [
                waiting.eq(1),
                byte.eq(
                    int(Byte.REPORT)
                    | flash.problem
                    | Mux(flash.busy, int(Status.LOADING), 0)
                    | Mux(self.camera_failed, int(Status.CAMERA_FAILED), 0)
                ),
            ]
        with m.If(rasca.decision_valid):
            m.d.sync += [
                waiting.eq(1),
                byte.eq(rasca.decision_status | Mux(rasca.decision_person, int(Byte.PERSON), 0)),
            ]
        colours = [
            getattr(rasca.pixels, ours).eq(theirs)
            for ours, theirs in zip(
                rasca.pixels.signature.colours,
                (self.camera_red, self.camera_green, self.camera_blue),
                strict=False,
            )
        ]
        m.d.comb += [
            self.tx.eq(transmitter.pin),
            transmitter.valid.eq(waiting),
            transmitter.data.eq(byte),
            flash.reload.eq(0),
            *[getattr(rasca, name).eq(0) for name in ("state_read", "stop_enable", "skip_enable")],
            flash.load_ready.eq(rasca.load_ready),
            flash.weights_digest.eq(rasca.weights_digest),
            self.flash_clock.eq(flash.clock),
            self.flash_select.eq(flash.select),
            self.flash_mosi.eq(flash.mosi),
            flash.miso.eq(self.flash_miso),
            rasca.load_valid.eq(flash.load_valid),
            rasca.load_data.eq(flash.load_data),
            rasca.load_last.eq(flash.load_last),
            rasca.pixel_valid.eq(self.camera_valid & ~flash.busy),
            *colours,
            rasca.pixel_sof.eq(self.camera_sof),
            rasca.pixel_eol.eq(self.camera_eol),
            rasca.frame_end.eq(self.camera_frame_end & ~flash.busy),
            self.weights_ok.eq(flash.ready),
            self.decision_valid.eq(rasca.decision_valid),
            self.decision_person.eq(rasca.decision_person),
        ]
        return m
