"""Replay: a payload from the memory to the engine."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.link.memory import HEADER, ROTATION, Layout
from boards.link.parser import Payload, what
from boards.link.sender import Departure
from boards.packets import SETTINGS_BYTES, Kind, Setting
from hw.interfaces import LoadPort, Pixels, Thresholds, write_port

assert SETTINGS_BYTES == 9  # two thresholds of 32 bits, flags


class Replay(wiring.Component):
    """Lines as pixels, settings, and weights: a byte a rotation, weights when the loader takes
    them.

    The bytes of settings are written as they are taken into a packet that is sent back if they ask
    for that. One answer tells the newest of settings that come before it leaves. Settings that come
    while it leaves may be mixed into it; then another one, which is whole, follows, whether they
    ask or not.

    Parameters
    ----------
    layout : Layout
    in_channels : {1, 3}

    Ports
    -----
    payload : In(Payload(buffer)), what lies in the memory from 0 on
    hold : In(1), a line that has not begun waits
    phase : In(2), of the memory
    address : Out(range(depth)), of the memory, read in phase 0; data : In(8), the memory's `data`
    write : In(write_port(depth, 8)), to the memory, phase 3
    taken : Out(Departure()), the settings as they were taken
    pixels : Out(Pixels(in_channels)), of lines; `frame_end` after the last byte of a last line
    thresholds : Out(Thresholds()), of the last settings; both off while new ones come
    load : Out(LoadPort()), of weights; `error` is not looked at
    host : Out(1), pixels come from the host
    rows, state : Out(1), rows and the state are wanted; the state with `host` only
    preview, colour : Out(1), a preview is wanted; in colour
    """

    def __init__(self, *, layout: Layout, in_channels: int):
        self.in_channels, self.layout = in_channels, layout
        super().__init__(
            {
                "payload": In(Payload(layout.buffer)),
                "hold": In(1),
                "phase": In(range(ROTATION)),
                "address": Out(range(layout.depth)),
                "data": In(8),
                "write": In(write_port(layout.depth, 8)),
                "taken": Out(Departure()),
                "pixels": Out(Pixels(in_channels)),
                "thresholds": Out(Thresholds()),
                "load": Out(LoadPort()),
                "host": Out(1),
                "rows": Out(1),
                "state": Out(1),
                "preview": Out(1),
                "colour": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        payload, load = self.payload, self.load
        waiting, started = payload.waiting, payload.started
        end, of_kind = Signal.like(payload.end), Signal(2)
        first, last = Signal(), Signal()
        line, settings, weights = (
            of_kind == what(kind) for kind in (Kind.LINE, Kind.SETTINGS, Kind.WEIGHTS)
        )
        address = self.address
        have, ended, take, final = Signal(), Signal(), Signal(), Signal()
        ready, begun = Signal(), Signal()  # have and waiting, when `final` is right
        byte, pixel = Signal(8), Signal(8 * self.in_channels)
        colour = Signal(self.in_channels, init=1)
        with m.If(payload.valid):
            m.d.sync += [
                waiting.eq(1),
                end.eq(payload.end),
                of_kind.eq(payload.what),
                first.eq(payload.first),
                last.eq(payload.last),
            ]
        m.d.comb += [
            byte.eq(pixel[-8:]),
            take.eq(ready & (~weights | load.ready)),
            ended.eq(waiting & started & ~have & final),
        ]
        # known a cycle ahead (what it hangs on stands still in phase 0), so that the byte's clock
        # enable comes from a flip-flop; once begun, a line goes on
        goes = Signal()
        m.d.sync += goes.eq(
            (self.phase == 0) & waiting & begun & ~have & ~final & (started | ~(line & self.hold))
        )
        with m.If(goes):
            m.d.sync += [
                pixel.eq(Cat(pixel[8:], self.data)),
                have.eq(1),
                address.eq(address + 1),
            ]
        m.d.sync += [
            # `address` runs one ahead of the byte at hand
            final.eq(address == end),
            ready.eq(have & ~take),
            begun.eq(waiting),
        ]
        with m.If(take):
            m.d.sync += [have.eq(0), started.eq(1)]
            with m.If(line):
                m.d.sync += colour.eq(colour.rotate_left(1))
            with m.If(self.pixels.valid):
                m.d.sync += first.eq(0)
        with m.If(ended):
            m.d.sync += [waiting.eq(0), started.eq(0), address.eq(0), colour.eq(1)]
        self._settings(m, take & settings, final, byte, waiting & settings)
        pixels = self.pixels
        m.d.comb += [
            Cat(getattr(pixels, name) for name in pixels.signature.colours).eq(pixel),
            pixels.valid.eq(take & line & colour[-1]),
            pixels.sof.eq(first),
            pixels.eol.eq(final),
            pixels.frame_end.eq(ended & line & last),
            load.valid.eq(ready & weights),
            load.data.eq(byte),
            load.last.eq(final & last),
        ]
        return m

    def _settings(self, m, take, final, byte, moving):
        """Thresholds, low bytes first, then the flags."""
        thresholds, flags = Signal(64), Signal(7)
        m.d.comb += [
            self.write.en.eq(take),  # in phase 3, as a byte that was read in phase 0 is ready then
            self.write.addr.eq(self.layout.taken | (self.address + HEADER - 1)[:4]),
            self.write.data.eq(byte),
        ]
        leaving = Signal()
        with m.If(self.taken.sent):
            m.d.sync += leaving.eq(0)
        with m.If(self.taken.begun):
            m.d.sync += [self.taken.due.eq(0), leaving.eq(1)]
        with m.If(take):
            with m.If(final):
                m.d.sync += flags.eq(byte)
                with m.If((byte & Setting.ECHO).any() | leaving):
                    m.d.sync += self.taken.due.eq(1)
            with m.Else():
                m.d.sync += thresholds.eq(Cat(thresholds[8:], byte))
        out = self.thresholds
        m.d.comb += [
            Cat(out.stop, out.skip).eq(thresholds),
            out.stop_enable.eq((flags & Setting.STOP).any() & ~moving),
            out.skip_enable.eq((flags & Setting.SKIP).any() & ~moving),
            self.host.eq((flags & Setting.HOST).any()),
            self.rows.eq((flags & Setting.ROWS).any()),
            self.state.eq((flags & Setting.STATE).any() & self.host),
            self.preview.eq((flags & Setting.PREVIEW).any()),
            self.colour.eq((flags & Setting.COLOUR).any()),
        ]
