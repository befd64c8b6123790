"""All that is the same on every board: UART, host link, weights from flash, engine."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards import packets
from boards.flash import FlashLoader, Spi
from boards.held import Held
from boards.host_link import HostLink
from boards.outputs.output import PacketStream
from boards.packets import COUNTERS, BoardStatus
from boards.switches import hold, select, take_turns
from boards.uart import UartReceiver, UartTransmitter
from hw.interfaces import Decision, Pixels, RowEvent, StateRead
from hw.top import Rasca

ENGINE_COUNTERS = COUNTERS[: COUNTERS.index("lost_clock")]
CAMERA_COUNTERS = COUNTERS[len(ENGINE_COUNTERS) : -packets.LINK_COUNTERS]


class CameraPort(wiring.Signature):
    """A camera's pixels and what is told of it; from the camera's side to the system's.

    Parameters
    ----------
    in_channels : {1, 3}

    Members
    -------
    pixels : Out(Pixels(in_channels))
    toggles : Out(6)
        A bit of each of CAMERA_COUNTERS that changes with each count.
    ready, failed : Out(1)
        Its set-up is through, and how; one of them, and it stays.
    """

    def __init__(self, in_channels: int):
        super().__init__(
            {
                "pixels": Out(Pixels(in_channels)),
                "toggles": Out(len(CAMERA_COUNTERS)),
                "ready": Out(1),
                "failed": Out(1),
            }
        )

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class HostSystem(wiring.Component):
    """Engine between a camera's pixels (in the domain `sync`) and a UART.

    ::

        camera ───────────►┐
                           ├─► Rasca ─► events ─► HostLink ─► UartTransmitter
        UartReceiver ─► HostLink        ▲ weights
                                        └─ FlashLoader, then HostLink

    Pixels come from the camera until the host says otherwise; then a frame that is open ends, as it
    does when weights come from a host that was sending pixels. While weights are read from flash
    there are no pixels: they are not yet known to be good.

    Parameters
    ----------
    rasca : hw.top.Rasca
    divisor : int or Held
        Clock cycles of a bit on the UART, see boards.uart.baud_divisor.
    flash : FlashLoader or None
        None: the weights are in the engine, or come from the host.

    Ports
    -----
    rx : In(1), asynchronous; tx : Out(1)
    camera : In(CameraPort(in_channels)); the first 1 of `ready` and `failed` sends a hello
    weights_ok : Out(1), the engine has weights and takes frames
    row : Out(RowEvent(K)), decision : Out(Decision(K)), the engine's
    toggles : Out(11), of the engine and the camera, as in boards.host_link
    state : In(StateRead(P)), reads of an output; not answered while the host gets the state
    packets : In(PacketStream()), of an output; they leave between the link's own
    asked, colour : Out(1), the host wants a preview; in colour
    only with `flash`: reload : In(1), pulse; flash_problem : Out(3); spi : Out(Spi())
    """

    def __init__(self, *, rasca: Rasca, divisor: int | Held, flash: FlashLoader | None = None):
        self.rasca, self.divisor, self.flash = rasca, divisor, flash
        model = rasca.plan.model
        self.link = HostLink(model=model, engine=rasca.plan.engine)
        ports = {
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "camera": In(CameraPort(model.in_channels)),
            "weights_ok": Out(1),
            "row": Out(RowEvent(model.class_count)),
            "decision": Out(Decision(model.class_count)),
            "toggles": Out(len(ENGINE_COUNTERS) + len(CAMERA_COUNTERS)),
            "state": In(StateRead(rasca.plan.engine.pixels)),
            "packets": In(PacketStream()),
            "asked": Out(1),
            "colour": Out(1),
        }
        if flash is not None:
            ports |= {"reload": In(1), "flash_problem": Out(packets.Problem), "spi": Out(Spi())}
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
            self.asked.eq(link.preview),
            self.colour.eq(link.colour),
            link.weights_digest.eq(rasca.weights_digest),
        ]
        own = PacketStream().create(path=("own",))
        m.d.comb += [
            *(own.valid.eq(link.tx_valid), own.data.eq(link.tx_data)),
            link.tx_ready.eq(own.ready),
        ]
        take_turns(m, own, link.tx_busy, self.packets, transmitter)
        connect(m, link.thresholds, rasca.thresholds)
        select(m, link.state_wanted, link.state, self.state, rasca.state)
        for reader, mine in ((link.state, link.state_wanted), (self.state, ~link.state_wanted)):
            m.d.comb += [
                reader.valid.eq(rasca.state.valid & mine),
                reader.data.eq(rasca.state.data),
            ]
        connect(m, rasca.row, link.row)
        connect(m, rasca.row, flipped(self.row))
        connect(m, rasca.decision, link.decision)
        connect(m, rasca.decision, flipped(self.decision))
        busy = self._weights(m)

        pixels = Pixels(rasca.plan.model.in_channels).create(path=("chosen",))
        select(m, link.host, link.pixels, self.camera.pixels, pixels)
        was = Signal()
        m.d.sync += was.eq(link.host)
        # the link is full of weights that wait for the frame's end: no line can come behind them
        waits = link.host & link.load.valid
        hold(m, busy | (link.host ^ was) | waits, pixels, rasca.pixels)

        # Counters, status, lamps
        camera, flash = self.camera, self.flash
        counts = [getattr(rasca.counts, name)[0] for name in ENGINE_COUNTERS]
        before, set_up = Signal(), camera.ready | camera.failed
        m.d.sync += before.eq(set_up)
        m.d.comb += [
            self.toggles.eq(Cat(*counts, camera.toggles)),
            link.toggles.eq(self.toggles),
            link.status.eq(
                (flash.problem if flash is not None else 0)
                | Mux(busy, int(BoardStatus.LOADING), 0)
                | Mux(rasca.load.error, int(BoardStatus.LOAD_ERROR), 0)
                | Mux(camera.failed, int(BoardStatus.CAMERA_FAILED), 0)
                | Mux(self.packets.there, int(BoardStatus.PREVIEW), 0)
            ),
            link.announce.eq((set_up & ~before) | (flash.done if flash is not None else 0)),
            self.weights_ok.eq((rasca.weights_digest != 0) & ~busy),
        ]
        return m

    def _weights(self, m):
        """Weights from the flash, then from the host; whether they come from the flash now."""
        rasca, link, flash = self.rasca, self.link, self.flash
        if flash is None:
            connect(m, link.load, rasca.load)
            return Const(0)
        m.submodules.flash = flash
        connect(m, flash.spi, flipped(self.spi))
        select(m, flash.busy, flash.load, link.load, rasca.load)
        m.d.comb += [
            flash.reload.eq(self.reload),
            flash.weights_digest.eq(rasca.weights_digest),
            self.flash_problem.eq(flash.problem),
            flash.load.ready.eq(rasca.load.ready),
            link.load.ready.eq(rasca.load.ready & ~flash.busy),
        ]
        return flash.busy
