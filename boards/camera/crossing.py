"""From the camera's clock to the engine's: asynchronous FIFO, watch on the clock, fault counts."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from boards.camera import FAULTS
from boards.camera.fifo import CrossingFifo
from hw.interfaces import Pixels

COUNTERS = ("lost_clock", "overflow", "short_line", "long_line", "short_frame", "long_frame")
COUNT_BITS = 16  # of a counter, which stays at its largest value
BEAT = 8  # PCLKs between two changes of the sign of life: seen by any clock above a quarter of PCLK


class CameraCrossing(wiring.Component):
    """Pixels from the camera domain into `sync`, where nothing ever waits for the camera.

    A full FIFO drops the rest of the frame: the frame ends as soon as there is room, and the next
    one that finds room at its first pixel is taken. When no clock comes for `timeout` cycles, or
    no pixel of an open frame for twice as long, the frame ends, too, and pixels are ignored until
    the next `sof`. So each `sof` at `o` is followed by exactly one `frame_end`, whatever the
    camera does. At power-up there is no camera: that, too, is counted once after `timeout`.

    Parameters
    ----------
    timeout : int
        Cycles of `sync`, 16 or more; longer than 8 PCLKs, and than the longest time in which a
        good camera gives no clock (with a gated one: from frame to frame) or no pixel of the part
        (blanking, and from the part's last pixel to the frame's end). 20 ms is right for the
        cameras here.
    depth : int
        Words of the FIFO, a power of two, 4 or more.
    spacing : int
        At least so many cycles from pixel to pixel at `o`; see hw.plan.rules.Rules.
    channels : {3, 1}
        1: only red crosses, and comes in all colours (less than half of the FIFO).
    in_channels : {3, 1}
        Of the engine; 1 goes with one channel only.
    camera_domain : str

    Ports
    -----
    i : In(Pixels(3)), camera domain
        The framer's pixels.
    faults : In(FAULTS), camera domain
        What is wrong with a frame, as pulses.
    o : Out(Pixels(in_channels)), sync
        Never a pixel and `frame_end` in the same cycle.
    lost : Out(1)
        No clock comes (from `timeout` after power-up on).
    counts : Out(six times 16 bits, named as in COUNTERS)
        They saturate; lost_clock: the clock (or the pixels of a frame) stopped; overflow: frames
        cut or dropped by a full FIFO; the others: `faults`.

    `latency` (lower, upper): cycles from a pixel in an empty FIFO to `o`, as phases fall, after
    the camera clock's edge that wrote it.
    """

    def __init__(
        self,
        *,
        timeout: int,
        depth: int = 64,
        spacing: int = 3,
        channels: int = 3,
        in_channels: int = 3,
        camera_domain: str = "camera",
    ):
        if timeout < 16:
            raise ValueError(f"timeout must be at least 16 cycles, not {timeout}")
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, at least 4, not {depth}")
        if spacing < 1:
            raise ValueError(f"spacing must be at least 1 cycle, not {spacing}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {channels!r}")
        if in_channels not in (channels, 3):
            raise ValueError(
                f"in_channels must be {' or '.join(map(str, sorted({channels, 3})))}, "
                f"not {in_channels!r}"
            )
        self.colours = ("red", "green", "blue")[:channels]
        self.timeout, self.depth, self.spacing = timeout, depth, spacing
        self.camera_domain = camera_domain
        # the FIFO, the entry that is taken beforehand, the output register
        self.latency = tuple(cycles + 2 for cycles in CrossingFifo.latency)
        super().__init__(
            {
                "i": In(Pixels(3)),
                "faults": In(FAULTS),
                "o": Out(Pixels(in_channels)),
                "lost": Out(1),
                "counts": Out(data.StructLayout({name: 16 for name in COUNTERS})),
            }
        )

    def elaborate(self, platform):
        m = Module()
        camera = m.d[self.camera_domain]
        flags = ("sof", "eol", "valid", "end")
        entry = data.StructLayout(dict.fromkeys(self.colours, 8) | dict.fromkeys(flags, 1))
        m.submodules.fifo = fifo = CrossingFifo(
            width=entry.size, depth=self.depth, w_domain=self.camera_domain
        )

        # Camera domain. `dropping`: nothing is wanted until the next sof; `owed`: an end of frame
        # waits for room.
        dropping, owed = Signal(), Signal()
        offered, taken, put = Signal(), Signal(), Signal(entry)
        m.d.comb += [
            *(put[n].eq(getattr(self.i, n)) for n in (*self.colours, "sof", "eol")),
            put.valid.eq(self.i.valid & (self.i.sof | ~dropping)),
            put.end.eq(self.i.frame_end | owed),
            offered.eq(put.valid | put.end),
            fifo.w_data.eq(put),
            fifo.w_en.eq(offered),
            taken.eq(fifo.w_rdy),
        ]
        with m.If(offered):
            camera += owed.eq(~taken)
        with m.If(put.valid):
            camera += dropping.eq(~taken)

        # Sync domain: what came, one pixel in `spacing` cycles
        got, full = Signal(entry, reset_less=True), Signal()
        opened, ready, ended, used = Signal(), Signal(), Signal(), Signal()
        pause = Signal(range(self.spacing))
        abort = Signal()
        m.d.comb += [
            ready.eq(full & (pause == 0)),
            # an end that comes with a pixel takes a cycle of its own
            ended.eq(ready & opened & (got.end | got.valid & got.sof)),
            used.eq(ready & ~(ended & got.valid)),
            # taken beforehand: the FIFO's read address does not hang on what was read
            fifo.r_en.eq(~full | (used if self.spacing == 1 else 0)),
        ]
        with m.If(fifo.r_en):
            m.d.sync += [got.eq(fifo.r_data), full.eq(fifo.r_rdy)]
        with m.Elif(used):
            m.d.sync += full.eq(0)
        passes = ready & ~ended & got.valid & (got.sof | opened)
        m.d.sync += [
            self.o.valid.eq(passes),
            *(getattr(self.o, n).eq(got[n]) for n in ("sof", "eol")),
            *(
                getattr(self.o, n).eq(got[self.colours[i % len(self.colours)]])
                for i, n in enumerate(self.o.signature.colours)
            ),
            self.o.frame_end.eq(ended | abort),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(passes):
            m.d.sync += [opened.eq(1), pause.eq(self.spacing - 1)]
        with m.Elif(ended | abort):
            m.d.sync += opened.eq(0)

        gone = self._watch(m, camera, full, opened, abort)
        # Events cross as two-bit Gray counts: three between two looks are still right.
        events = {"overflow": put.valid & ~taken}
        events |= {name: self.faults[name] for name in FAULTS.members}
        for name, event in events.items():
            self._count(m, camera, name, event)
        stops = self.lost & ~gone | abort & ~self.lost
        self._add(m, self.counts.lost_clock, Cat(stops))
        return m

    def _watch(self, m, camera, ready, opened, abort):
        """A sign of life from the camera's clock, and the pixels of an open frame.

        Returns `lost` a cycle later.
        """
        beat, alive, before = Signal(range(2 * BEAT)), Signal(), Signal()
        camera += beat.eq(beat + 1)
        m.submodules.alive = FFSynchronizer(beat[-1], alive)
        idle, quiet = Signal(range(self.timeout + 1)), Signal(range(2 * self.timeout + 1))
        living, gone, stalled = Signal(), Signal(), Signal()
        m.d.comb += abort.eq(opened & ~ready & (self.lost | stalled))
        m.d.sync += [
            before.eq(alive),
            # pixels are a sign of life, too: after a stop they may be there before the beat
            living.eq((alive != before) | ready),
            gone.eq(self.lost),
        ]
        with m.If(living):
            m.d.sync += [idle.eq(0), self.lost.eq(0)]
        with m.Elif(~self.lost):
            m.d.sync += [idle.eq(idle + 1), self.lost.eq(idle == self.timeout - 1)]
        with m.If(ready):  # at once, or a frame's first pixel would be its last
            m.d.sync += self.lost.eq(0)
        with m.If(self.o.valid | ~opened):
            m.d.sync += [quiet.eq(0), stalled.eq(0)]
        with m.Elif(~stalled):
            m.d.sync += [quiet.eq(quiet + 1), stalled.eq(quiet == 2 * self.timeout - 3)]
        return gone

    def _count(self, m, camera, name, event):
        """Counts a pulse of the camera's domain."""
        count, here, last = Signal(2), Signal(2), Signal(2)
        gray = Signal(2, name=f"{name}_gray")
        seen = Signal(2, name=f"{name}_seen")
        following = (count + 1)[:2]
        with m.If(event):
            camera += [count.eq(following), gray.eq(following ^ following[1])]
        m.submodules[name] = FFSynchronizer(gray, seen)
        new = Signal(2, name=f"{name}_new")
        m.d.comb += [here.eq(seen ^ seen[1]), new.eq(here - last)]
        m.d.sync += last.eq(here)
        self._add(m, self.counts[name], new)

    @staticmethod
    def _add(m, total, new):
        """Adds a cycle later, without wrapping: a carry stays."""
        late, count = Signal.like(new), Signal(COUNT_BITS + 1)
        m.d.sync += late.eq(new)
        with m.If(~count[-1]):
            m.d.sync += count.eq(count + late)
        m.d.comb += total.eq(Mux(count[-1], (1 << COUNT_BITS) - 1, count))
