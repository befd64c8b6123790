"""Host link: packets between a byte stream and the engine's ports."""

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards import packets
from boards.link.copier import Copier
from boards.link.counters import CounterKeeper
from boards.link.events import Events
from boards.link.memory import HEADER, SLOTS, Layout, LinkMemory
from boards.link.parser import Parser
from boards.link.replay import Replay
from boards.link.sender import Sender
from boards.packets import COUNTERS, Hello, Kind
from golden.config import ModelConfig
from hw.interfaces import Decision, LoadPort, Pixels, RowEvent, StateRead, Thresholds
from hw.plan.engine_config import EngineConfig, config_digest


class HostLink(wiring.Component):
    """Packets of docs/packets.md to and from the ports of `hw.top.Rasca`.

    ::

        bytes ─► Parser ─► ┌────────────┐ ─► Replay ─► pixels, weights, settings
                           │ LinkMemory │ ◄► CounterKeeper
        Events ─► Copier ─►└────────────┘ ─► Sender ─► bytes

    One memory of bytes. A payload from the host lies in it until its CRC is right, then it is
    replayed, a byte every `ROTATION` cycles. Everything that leaves is first a whole packet in the
    memory: the copier writes events, the state and the hello there; the counters are kept there.
    In each rotation every user of the memory has its own cycle.

    Events: a row or a decision is copied at once (a rotation a byte); `SLOTS` packets may wait for
    the UART. An event that comes while one of its kind still waits to be copied is lost and
    counted. State: copied channel by channel after a row; lines from the host wait until it is
    through, so that the engine cannot reach the next row group's last layer. Host: at most the
    lines of a row group ahead.

    Model: `boards.packets` (no part of the integer model).

    Parameters
    ----------
    model : ModelConfig
        At most 256 state channels.
    engine : EngineConfig

    Attributes
    ----------
    line_bytes : int
        Bytes of a line packet's payload, and most of a weights packet's.
    layout : Layout

    Ports
    -----
    rx_valid : In(1), rx_data : In(8)
        Bytes from the host, at least ``2 * ROTATION`` cycles apart; the data stays `ROTATION`.
    rx_error : In(1), pulse: noise on the line; the packet is given up
    tx_valid : Out(1), tx_data : Out(8), tx_ready : In(1)
        Bytes to the host. The offer is withdrawn if it is not taken, and made again.
    tx_busy : Out(1), within a packet; not for three cycles after one, whatever waits
    toggles : In(11)
        For each of COUNTERS less the link's own a bit that changes with each count (bit 0 of a
        counter), 0 after reset; see `CounterKeeper`.
    status : In(8), status byte of the hello; announce : In(1), pulse: send a hello
    weights_digest : In(32), of the hello
    host : Out(1), pixels come from the host
    preview, colour : Out(1), the host wants a preview; in colour
    state_wanted : Out(1), the host wants the state
    pixels : Out(Pixels(in_channels)); thresholds : Out(Thresholds()); load : Out(LoadPort())
        From the host's packets.
    row : In(RowEvent(K)), decision : In(Decision(K))
        The logits of a decision's packet are the last row's.
    state : Out(StateRead(P))
    """

    def __init__(self, *, model: ModelConfig, engine: EngineConfig):
        if model.state_channels > 256:
            raise ValueError(f"state_channels must be at most 256, not {model.state_channels}")
        self.model, self.engine = model, engine
        self.line_bytes = model.image_width * model.in_channels
        state_bytes = HEADER + 4 + model.n
        if state_bytes - HEADER > packets.MAX_PAYLOAD:
            raise ValueError(
                f"a state packet must have at most {packets.MAX_PAYLOAD} bytes, "
                f"but {model.n} columns make {state_bytes - HEADER}"
            )
        classes = model.class_count
        self.layout = layout = Layout(
            buffer=max(self.line_bytes, packets.SETTINGS_BYTES),
            event_bytes=HEADER + packets.event_bytes(classes),
            state_bytes=state_bytes,
        )
        self.memory = LinkMemory(depth=layout.depth, init=self.contents())
        self.parser = Parser(layout=layout)
        self.replay = Replay(layout=layout, in_channels=model.in_channels)
        self.events = Events(classes=classes, row_groups=model.row_groups)
        self.copier = Copier(model=model, pixels=engine.pixels, layout=layout)
        self.counters = CounterKeeper(layout=layout)
        self.sender = Sender(layout=layout)
        super().__init__(
            {
                "rx_valid": In(1),
                "rx_data": In(8),
                "rx_error": In(1),
                "tx_valid": Out(1),
                "tx_data": Out(8),
                "tx_ready": In(1),
                "tx_busy": Out(1),
                "toggles": In(len(COUNTERS) - packets.LINK_COUNTERS),
                "status": In(8),
                "announce": In(1),
                "weights_digest": In(32),
                "host": Out(1),
                "preview": Out(1),
                "colour": Out(1),
                "state_wanted": Out(1),
                "pixels": Out(Pixels(model.in_channels)),
                "thresholds": Out(Thresholds()),
                "load": Out(LoadPort()),
                "row": In(RowEvent(classes)),
                "decision": In(Decision(classes)),
                "state": Out(StateRead(engine.pixels)),
            }
        )

    def hello(self) -> Hello:
        """What this link says of its engine, with no weights and status 0."""
        return Hello(
            weights=0,
            status=0,
            model=bytes.fromhex(self.model.digest)[: packets.DIGEST_BYTES],
            config=bytes.fromhex(config_digest(self.model, self.engine))[: packets.DIGEST_BYTES],
            shape=(self.engine.pixels, self.engine.channels, self.engine.lanes),
        )

    def contents(self) -> list[int]:
        """The memory at power-up: packets without what changes."""
        layout = self.layout
        blocks = {
            layout.hello: (Kind.HELLO, self.hello().pack()),
            layout.counters: (Kind.COUNTERS, packets.Counters().pack()),
            layout.state: (Kind.STATE, bytes(layout.state_bytes - HEADER)),
            layout.taken: (Kind.TAKEN, packets.Taken(flags=0).pack()),
        }
        for slot in range(SLOTS):
            event = bytes(layout.event_bytes - HEADER)
            blocks[layout.slots + slot * layout.slot_room] = (Kind.ROW, event)
        found = bytearray(layout.depth)
        for place, (kind, payload) in blocks.items():
            packet = packets.encode(kind, payload)[: -packets.CRC_BYTES]
            assert place >= layout.buffer
            found[place : place + len(packet)] = packet
        return list(found)

    def elaborate(self, platform):
        m = Module()
        parts = ("memory", "parser", "replay", "events", "copier", "counters", "sender")
        memory, parser, replay, events, copier, counters, sender = (
            getattr(self, name) for name in parts
        )
        for name in parts:
            m.submodules[name] = getattr(self, name)
        connect(m, parser.write, memory.parser_write)
        connect(m, copier.write, memory.copier_write)
        connect(m, counters.write, memory.counters_write)
        connect(m, replay.write, memory.replay_write)
        connect(m, parser.payload, replay.payload)
        connect(m, replay.pixels, flipped(self.pixels))
        connect(m, replay.thresholds, flipped(self.thresholds))
        connect(m, replay.load, flipped(self.load))
        connect(m, flipped(self.row), events.row)
        connect(m, flipped(self.decision), events.decision)
        connect(m, events.waiting, copier.waiting)
        connect(m, copier.state, flipped(self.state))
        connect(m, copier.slots, sender.slots)
        connect(m, copier.state_packet, sender.state)
        connect(m, copier.hello, sender.hello)
        connect(m, counters.packet, sender.counters)
        connect(m, replay.taken, sender.taken)
        for part in (parser, replay, copier, counters, sender):
            m.d.comb += part.phase.eq(memory.phase)
        m.d.comb += [
            parser.rx_valid.eq(self.rx_valid),
            parser.rx_data.eq(self.rx_data),
            parser.rx_error.eq(self.rx_error),
            memory.replay_address.eq(replay.address),
            memory.sender_address.eq(sender.address),
            memory.counters_address.eq(counters.address),
            replay.data.eq(memory.data),
            replay.hold.eq(events.waiting.dumping),
            self.host.eq(replay.host),
            self.preview.eq(replay.preview),
            self.colour.eq(replay.colour),
            self.state_wanted.eq(replay.state),
            self.tx_busy.eq(sender.busy),
            events.rows.eq(replay.rows),
            events.state.eq(replay.state),
            Cat(copier.logits).eq(Cat(self.row.logits)),
            copier.greet.eq(parser.asked | self.announce),
            copier.weights_digest.eq(self.weights_digest),
            copier.board_status.eq(self.status),
            counters.toggles.eq(self.toggles),
            counters.counts.eq(Cat(self.rx_error, parser.refused, events.lost)),
            counters.asked.eq(parser.asked),
            counters.late.eq(memory.late),
            counters.sender_address.eq(sender.address),
            sender.late.eq(memory.late),
            self.tx_valid.eq(sender.tx_valid),
            self.tx_data.eq(sender.tx_data),
            sender.tx_ready.eq(self.tx_ready),
        ]
        return m
