"""Copier: events, the state and the hello into the memory, as packets."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.link.events import Waiting, class_byte
from boards.link.memory import HEADER, ROTATION, SLOTS, Layout
from boards.link.sender import Departure
from boards.packets import Hello, Kind
from golden.config import ModelConfig
from hw.interfaces import LOGIT, StateRead, write_port


class StateBytes(wiring.Component):
    """A channel of the state byte by byte: a word is read for each, so that only one is kept.

    Parameters
    ----------
    columns : int
        n, bytes of a channel.
    channels : int
    pixels : int
        P, bytes of a word.

    Ports
    -----
    begin : In(1), the next byte is a channel's first
    want : In(1), a byte is wanted, until `valid`
    channel : In(range(channels))
    valid : Out(1), byte : Out(8), until `take`
    take : In(1), pulse
    state : Out(StateRead(P))
    """

    def __init__(self, *, columns: int, channels: int, pixels: int):
        self.words, self.pixels = -(-columns // pixels), pixels
        super().__init__(
            {
                "begin": In(1),
                "want": In(1),
                "channel": In(range(channels)),
                "valid": Out(1),
                "byte": Out(8),
                "take": In(1),
                "state": Out(StateRead(pixels)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        state, reading = self.state, Signal()
        column, word = Signal(range(self.pixels)), Signal(range(self.words))
        m.d.comb += [state.channel.eq(self.channel), state.word.eq(word)]
        m.d.sync += state.read.eq(0)
        with m.If(self.begin):
            m.d.sync += [column.eq(0), word.eq(0), reading.eq(0)]
        with m.Elif(self.want & ~self.valid & ~reading):
            m.d.sync += [state.read.eq(1), reading.eq(1)]
        with m.If(self.take):
            m.d.sync += self.valid.eq(0)
        # an answer in the cycle of the read is that of one before it, maybe another reader's
        with m.If(reading & state.valid & ~state.read):
            m.d.sync += [
                reading.eq(0),
                self.valid.eq(1),
                self.byte.eq(state.data.word_select(column, 8)),
                column.eq(column + 1),
            ]
            with m.If(column == self.pixels - 1):
                m.d.sync += [column.eq(0), word.eq(word + 1)]
        return m


class Copier(wiring.Component):
    """Writes packets where they leave from, a byte a rotation: an event into the next free slot,
    a channel of the state, or what changes in the hello, in this order; an event that finds no free
    slot lets the others go first. The copy of a row or a decision begins anew when its logits
    change: a packet is always of one event. A channel that nobody waits for any more is given up:
    its words are no longer answered.

    The memory has all else of a packet from the beginning: the sync byte, the length, and of the
    state and the hello also the kind.

    Model: `pack` of the events in `boards.packets`.

    Parameters
    ----------
    model : ModelConfig
    pixels : int
        P, bytes of a word of the state.
    layout : Layout

    Ports
    -----
    phase : In(2), of the memory; write : In(write_port(depth, 8)), to the memory, phase 1
    waiting : In(Waiting(K, row_groups))
    logits : In(signed(32)).array(K), of the last row event
    greet : In(1), pulse: a hello is to leave
    weights_digest : In(32), board_status : In(8), of the hello
        A digest that comes or goes begins the hello's copy anew: all of it is of one moment.
    state : Out(StateRead(P))
    slots, state_packet, hello : Out(Departure())
        An event's packet, a channel's, the hello's.
    """

    def __init__(self, *, model: ModelConfig, pixels: int, layout: Layout):
        self.model, self.layout = model, layout
        self.bytes = StateBytes(columns=model.n, channels=model.state_channels, pixels=pixels)
        super().__init__(
            {
                "phase": In(range(ROTATION)),
                "write": In(write_port(layout.depth, 8)),
                "waiting": In(Waiting(classes=model.class_count, row_groups=model.row_groups)),
                "logits": In(LOGIT).array(model.class_count),
                "greet": In(1),
                "weights_digest": In(32),
                "board_status": In(8),
                "state": Out(StateRead(pixels)),
                "slots": Out(Departure()),
                "state_packet": Out(Departure()),
                "hello": Out(Departure()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bytes = state_bytes = self.bytes
        wiring.connect(m, wiring.flipped(self.state), state_bytes.state)
        layout, model = self.layout, self.model
        # the job, one-hot: an event, a channel of the state, the hello
        event, state, greeting, working = Signal(), Signal(), Signal(), Signal()
        offset = Signal(range(max(layout.slot_room, layout.state_bytes)))
        is_row, is_fault = Signal(), Signal()
        channel, greet = Signal(range(model.state_channels)), Signal(init=1)
        slot, free = self._slots(m)
        with m.If(self.greet):
            m.d.sync += greet.eq(1)
        waiting = self.waiting
        pending = waiting.pending
        older = pending.fault & waiting.before
        with m.If(~working):
            m.d.sync += [offset.eq(HEADER), event.eq(0), state.eq(0), greeting.eq(0)]
            # two cycles before the first byte, and all that hangs on the last job has settled
            with m.If((self.phase == ROTATION - 1) & ~waiting.changed):
                with m.If(pending.as_value().any() & free):
                    m.d.sync += [
                        event.eq(1),
                        working.eq(1),
                        offset.eq(1),  # the kind
                        is_row.eq(pending.row & ~older),
                        is_fault.eq(older | (~pending.row & ~pending.decision)),
                    ]
                with m.Elif(waiting.dumping & ~pending.row & ~self.state_packet.due):
                    m.d.sync += [state.eq(1), working.eq(1)]
                with m.Elif(greet & ~self.hello.due):
                    m.d.sync += [greeting.eq(1), working.eq(1), greet.eq(0)]

        wrote, ended, keep, state_part = Signal(), Signal(), Signal(), Signal()
        again, done = Signal(), Signal()
        m.d.comb += [
            # of a fault the logits do not count
            again.eq(waiting.changed & event & ~is_fault),
            done.eq(wrote & ended & ~again),
            keep.eq(~offset[2:].any() & offset[1]),  # the length is there
            state_part.eq(state & offset[3:].any()),
            state_bytes.begin.eq(~working),
            state_bytes.want.eq(state_part),
            state_bytes.channel.eq(channel),
            state_bytes.take.eq(wrote),
            wrote.eq(working & (self.phase == 1) & (~state_part | state_bytes.valid)),
            self.write.en.eq(wrote & ~keep),
            self.write.addr.eq(self._place(greeting, state, offset, slot)),
            ended.eq(
                (event & (offset == layout.event_bytes - 1))
                | (state & (offset == layout.state_bytes - 1))
                | (greeting & (offset == HEADER + Hello.MOVING - 1))
            ),
        ]
        frame = self._frame(m, done & event & ~is_row)
        self._bytes(m, offset, frame, channel, greeting, state, is_row, is_fault)
        m.d.comb += [
            waiting.copied.row.eq(done & event & is_row),
            waiting.copied.decision.eq(done & event & ~is_row & ~is_fault),
            waiting.copied.fault.eq(done & event & is_fault),
            waiting.dumped.eq(done & state & (channel == model.state_channels - 1)),
        ]
        with m.If(self.state_packet.sent):
            m.d.sync += self.state_packet.due.eq(0)
        with m.If(self.hello.sent):
            m.d.sync += self.hello.due.eq(0)
        with m.If(wrote):
            m.d.sync += offset.eq(offset + 1)
            with m.If(ended):
                m.d.sync += working.eq(0)
                with m.If(state):
                    m.d.sync += [self.state_packet.due.eq(1), channel.eq(channel + 1)]
                    with m.If(channel == model.state_channels - 1):
                        m.d.sync += channel.eq(0)
        self._greet(m, greeting, working, greet)
        with m.If(again | (state & ~waiting.dumping)):
            m.d.sync += working.eq(0)
        with m.If(~waiting.dumping):
            m.d.sync += channel.eq(0)
        return m

    def _greet(self, m, greeting, working, greet):
        """The hello is whole, or begins anew because the weights came or went."""
        there, was = Signal(), Signal()
        m.d.sync += [there.eq(self.weights_digest.any()), was.eq(there)]
        # it speaks of the cycle before, so that the copy's end waits for it
        with m.If(greeting & (there ^ was)):
            m.d.sync += [working.eq(0), greeting.eq(0), greet.eq(1)]
        with m.Elif(greeting & ~working):
            m.d.sync += self.hello.due.eq(1)

    def _slots(self, m):
        """The slot for the next event, and whether it is free."""
        slot, used = Signal(range(SLOTS)), Signal(range(SLOTS + 1))
        pushed, just_pushed, just_popped = Signal(), Signal(), Signal()
        m.d.comb += [
            pushed.eq(self.waiting.copied.as_value().any()),
            self.slots.due.eq(used != 0),
        ]
        m.d.sync += [
            slot.eq(slot + pushed),
            just_pushed.eq(pushed),
            just_popped.eq(self.slots.sent),
            used.eq(used + just_pushed - just_popped),
        ]
        return slot, used != SLOTS

    def _frame(self, m, decided):
        """Number of the frame: of decision packets before."""
        frame = Signal(8)
        with m.If(decided):
            m.d.sync += frame.eq(frame + 1)
        return frame

    def _place(self, greeting, state, offset, slot):
        """Where the byte goes."""
        layout, bits = self.layout, self.layout.slot_room.bit_length() - 1
        slots = layout.slots | Cat(offset[:bits], slot)
        return Mux(greeting, layout.hello | offset, Mux(state, layout.state | offset, slots))

    def _bytes(self, m, offset, frame, channel, greeting, state, is_row, is_fault):
        """The byte: the kind, four of place, then logits or state; of the hello what changes."""
        info, group, value = Signal(8), Signal(16), self.write.data
        with m.If(state):
            m.d.comb += info.eq(channel)
        with m.Elif(~is_row):
            m.d.comb += info.eq(Mux(is_fault, self.waiting.status, class_byte(self.waiting.index)))
        waiting = self.waiting
        used = Mux(is_fault, 0, waiting.rows_used)
        m.d.comb += group.eq(Mux(state | is_row, waiting.group, used))
        fields = Cat(frame, info, group)
        tail = offset[3:].any()
        with m.If(~tail & ~offset[2]):
            m.d.comb += value.eq(Mux(is_row, Kind.ROW, Kind.DECISION))
        with m.Elif(~tail):
            now = Mux(greeting, self.weights_digest, fields)
            m.d.comb += value.eq(now.word_select(offset[:2], 8))
        with m.Elif(greeting):
            m.d.comb += value.eq(self.board_status)
        with m.Elif(state):
            m.d.comb += value.eq(self.bytes.byte)
        with m.Else():
            # the first logit's byte is at offset 8; turned so that no subtraction is needed
            size = 4 * self.model.class_count
            bits = (size - 1).bit_length()
            whole = [
                Cat(*self.logits)[8 * i : 8 * i + 8] if i < size else Const(0, 8)
                for i in ((place - 8) % (1 << bits) for place in range(1 << bits))
            ]
            m.d.comb += value.eq(Cat(whole).word_select(offset[:bits], 8))
