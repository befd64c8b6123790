"""All that is the same on every board: UART, host link, weights from flash, engine."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards import packets
from boards.flash import FlashLoader
from boards.host_link import HostLink
from boards.packets import COUNTERS, Status
from boards.uart import UartReceiver, UartTransmitter
from hw.top import Rasca

ENGINE_COUNTERS = COUNTERS[: COUNTERS.index("lost_clock")]
CAMERA_COUNTERS = COUNTERS[len(ENGINE_COUNTERS) : -packets.LINK_COUNTERS]


class HostSystem(wiring.Component):
    """Engine between a camera's pixels (in the domain `sync`) and a UART.

    ::

        camera ───────────►┐
                           ├─► Rasca ─► events ─► HostLink ─► UartTransmitter
        UartReceiver ─► HostLink        ▲ weights
                                        └─ FlashLoader, then HostLink

    Pixels come from the camera until the host says otherwise. While weights are read from flash
    there are no pixels: they are not yet known to be good.

    Parameters
    ----------
    rasca : hw.top.Rasca
    divisor : int
        Clock cycles of a bit on the UART, see boards.uart.baud_divisor.
    flash : FlashLoader or None
        None: the weights are in the engine, or come from the host.

    Ports
    -----
    rx : In(1), asynchronous; tx : Out(1)
    camera_valid, camera_red, camera_green, camera_blue, camera_sof, camera_eol, camera_frame_end :
        In, as the engine's pixels
    camera_toggles : In(6), a bit of each of CAMERA_COUNTERS that changes with each count
    camera_ready, camera_failed : In(1), set-up is through, and how; a change to 1 sends a hello
    weights_ok : Out(1), the engine has weights and takes frames
    decision_valid, decision_person : Out(1)
    only with `flash`: reload : In(1), pulse; flash_problem : Out(3);
        flash_clock, flash_select, flash_mosi : Out(1); flash_miso : In(1)
    """

    def __init__(self, *, rasca: Rasca, divisor: int, flash: FlashLoader | None = None):
        self.rasca, self.divisor, self.flash = rasca, divisor, flash
        self.link = HostLink(model=rasca.plan.model, engine=rasca.plan.engine)
        ports = {
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
        }
        if flash is not None:
            ports |= {
                "reload": In(1),
                "flash_problem": Out(packets.Problem),
                "flash_clock": Out(1),
                "flash_select": Out(1, init=1),
                "flash_mosi": Out(1),
                "flash_miso": In(1),
            }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rasca = rasca = self.rasca
        m.submodules.link = link = self.link
        m.submodules.receiver = receiver = UartReceiver(divisor=self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self.divisor)
        m.d.comb += [
            receiver.pin.eq(self.rx),
            self.tx.eq(transmitter.pin),
            link.rx_valid.eq(receiver.valid),
            link.rx_data.eq(receiver.data),
            link.rx_error.eq(receiver.glitch | receiver.framing),
            transmitter.valid.eq(link.tx_valid),
            transmitter.data.eq(link.tx_data),
            link.tx_ready.eq(transmitter.ready),
        ]
        # Engine: what has the same name on both sides
        for name, member in link.signature.members.items():
            if hasattr(rasca, name) and not name.startswith(("pixel_", "load_", "frame_")):
                inner, outer = getattr(link, name), getattr(rasca, name)
                m.d.comb += inner.eq(outer) if member.flow is wiring.In else outer.eq(inner)

        busy = Const(0)
        if self.flash is not None:
            m.submodules.flash = flash = self.flash
            busy = flash.busy
            m.d.comb += [
                flash.reload.eq(self.reload),
                flash.load_ready.eq(rasca.load_ready),
                flash.weights_digest.eq(rasca.weights_digest),
                self.flash_problem.eq(flash.problem),
                self.flash_clock.eq(flash.clock),
                self.flash_select.eq(flash.select),
                self.flash_mosi.eq(flash.mosi),
                flash.miso.eq(self.flash_miso),
            ]
            for name in ("load_valid", "load_data", "load_last"):
                m.d.comb += getattr(rasca, name).eq(
                    Mux(busy, getattr(flash, name), getattr(link, name))
                )
        else:
            for name in ("load_valid", "load_data", "load_last"):
                m.d.comb += getattr(rasca, name).eq(getattr(link, name))
        m.d.comb += link.load_ready.eq(rasca.load_ready & ~busy)

        # Pixels
        colours = rasca.pixels.signature.colours
        for member, theirs in zip(
            ("valid", *colours, "sof", "eol", "frame_end"),
            ("valid", *("red", "green", "blue")[: len(colours)], "sof", "eol", "frame_end"),
            strict=True,
        ):
            from_host = getattr(link, theirs if theirs == "frame_end" else f"pixel_{theirs}")
            pixel = Mux(link.host, from_host, getattr(self, f"camera_{theirs}"))
            if member in ("valid", "frame_end"):
                pixel = pixel & ~busy
            m.d.comb += getattr(rasca.pixels, member).eq(pixel)

        # Counters, status, lamps
        counts = [getattr(rasca, f"count_{name}")[0] for name in ENGINE_COUNTERS]
        problem = self.flash.problem if self.flash is not None else 0
        set_up = self.camera_ready | self.camera_failed
        m.d.comb += [
            link.toggles.eq(Cat(*counts, self.camera_toggles)),
            link.status.eq(
                problem
                | Mux(busy, int(Status.LOADING), 0)
                | Mux(rasca.load_error, int(Status.LOAD_ERROR), 0)
                | Mux(self.camera_failed, int(Status.CAMERA_FAILED), 0)
            ),
            self.weights_ok.eq((rasca.weights_digest != 0) & ~busy),
            self.decision_valid.eq(rasca.decision_valid),
            self.decision_person.eq(rasca.decision_person),
        ]
        before = Signal()
        m.d.sync += before.eq(set_up)
        m.d.comb += link.announce.eq(
            (set_up & ~before) | (self.flash.done if self.flash is not None else 0)
        )
        return m
