"""Properties of frames: line buffer and frame control together, with any camera and any engine.

The engine is what the walk sequencer and the classifier promise (hw.sequencer, hw.frames): a row
group at a time, which ends after all of its rows were there and let go; then its state, then its
answer, before the next group ends. When each of these comes is left open.
"""

from amaranth.hdl import Assume, Cat, Module, Mux, Signal
from amaranth.lib import wiring

from hw.frames import FrameControl
from hw.interfaces import Status
from hw.line_buffer import PixelPlaces, Receiver
from hw.plan.memory import UNDECIDED
from sim.prove.bench import Bench, before, check, inputs

ROW_GROUPS, ROWS, WIDTH = 2, 2, 2


class System:
    """Receiver, frame control and an engine that is as slow as it likes.

    Attributes
    ----------
    pixel, sof, eol, end : Signal
        Of the registered pixel; free.
    unloaded : Signal
        The memories hold no weights; 0 where a bench leaves it.
    quick : dict of str to Signal
        1: what the engine does next it does at once. Free.
    free : list of Signal
        All that is.
    """

    def __init__(self, receiver=Receiver, control=FrameControl, *, bytewise=False, width=WIDTH):
        self.m = m = Module()
        sizes = {"row_groups": ROW_GROUPS, "rows": ROWS}
        m.submodules.lines = lines = receiver(**sizes, late_rows=3, bytewise=bytewise)
        m.submodules.frames = frames = control(**sizes, needs=(1, 2), classes=2, stop_class=1)
        m.submodules.places = places = PixelPlaces(width=width, pixels=width, banks=1)
        self.lines, self.frames = lines, frames
        wiring.connect(m, lines.control, frames.lines)
        self.pixel, self.sof, self.eol, self.end = (
            Signal(name=name) for name in ("pixel", "sof", "eol", "end")
        )
        now = [self.pixel & self.sof, self.pixel & ~self.sof, self.eol, self.end]
        names = ("starting", "inner", "eol", "end")
        for name, value in zip(names, now, strict=True):
            flag = Signal(name=f"in_{name}")
            m.d.sync += flag.eq(value)
            m.d.comb += getattr(lines, name).eq(flag)
        m.d.comb += [
            places.starting.eq(lines.starting),
            places.inner.eq(lines.inner),
            lines.sof.eq(self.sof),
            lines.last_column.eq(places.last_column),
            lines.word_end.eq(places.word_end),
        ]
        if bytewise:  # as hw.line_buffer.ByteLines, of one colour
            m.d.sync += lines.writing.eq(lines.starting | lines.inner)
        self.free = [self.pixel, self.sof, self.eol, self.end]
        self._engine()
        loading, self.unloaded = Signal(name="loading"), Signal()
        m.d.comb += [frames.loading.eq(loading), frames.loaded.eq(~self.unloaded)]
        self.free += [loading]

    def _engine(self):
        m, frames = self.m, self.frames
        walks, answer = frames.walks, frames.answer
        go = {
            name: Signal(name=f"go_{name}") for name in ("begin", "release", "done", "state", "say")
        }
        stop, skip, index = (Signal(name=name) for name in ("stop", "skip", "index"))
        self.free += [*go.values(), index, stop, skip]
        working, age = Signal(), Signal(2)  # on a group, for so long
        let_go = Signal(range(ROWS + 1))
        state_due, answer_due = Signal(), Signal()
        may_end = (let_go == ROWS) & ~state_due & ~answer_due & ~frames.start
        begins, ends = Signal(), Signal()
        m.d.comb += [
            begins.eq(~working & walks.more & go["begin"] & ~frames.reset),
            ends.eq(working & may_end & go["done"]),
            walks.group_first.eq(begins | working & (age == 0)),
            walks.group_done.eq(ends),
            # `age`: what is told of the rows belongs to this group
            walks.release.eq(
                working & (age == 3) & go["release"] & walks.rows[1] & (let_go != ROWS)
            ),
            walks.released.eq(let_go + 1),
            frames.state_done.eq(state_due & go["state"]),
            answer.valid.eq(answer_due & go["say"]),
            answer.stop.eq(stop),
            answer.skip.eq(skip),
            answer.index.eq(index),
        ]
        with m.If(working & (age != 3)):
            m.d.sync += age.eq(age + 1)
        with m.If(begins):
            m.d.sync += [working.eq(1), age.eq(1), let_go.eq(0)]
        with m.If(walks.release):
            m.d.sync += let_go.eq(let_go + 1)
        with m.If(ends):
            m.d.sync += [working.eq(walks.again), age.eq(0), let_go.eq(0), state_due.eq(1)]
        with m.If(frames.state_done):
            m.d.sync += state_due.eq(0)
        with m.If(frames.start):
            m.d.sync += answer_due.eq(1)
        with m.If(answer.valid | frames.forget):
            m.d.sync += answer_due.eq(0)
        with m.If(frames.reset):
            m.d.sync += [working.eq(0), state_due.eq(0), age.eq(0)]
        self.quick = go


def decisions(part):
    """Each frame that is accepted has one decision; none is open once nothing is busy.

    A frame may be accepted whenever nothing is loaded and fewer than UNDECIDED are open.
    """
    system = System(control=part)
    m, frames = system.m, system.frames
    accept = frames.lines.accept
    open_, idle = Signal(3), Signal(3)
    m.d.sync += open_.eq(open_ + accept - frames.decision.valid)
    m.d.sync += idle.eq(Mux(frames.busy | accept, 0, idle + (idle != 7)))
    check(m, ~frames.decision.valid | (open_ != 0))
    check(m, open_ == 0, when=idle == 7)
    may = before(m, ~frames.loading, "may")
    check(m, frames.lines.enable == (may & (open_ < UNDECIDED)))
    good = frames.decision.valid & (frames.decision.status == Status.OK)
    return Bench(
        m,
        system.free,
        {"a decision": good, "a fault": frames.decision.valid & ~good, "all": open_ == UNDECIDED},
    )


def order(part):
    """Any one frame's decision comes behind those of the frames before it, with its own status.

    What is told of the engine's frames is what frame control tells: one is worked on, one more may
    wait for its answer; answers are four cycles apart, as long as it takes to tell of the faults
    between them.
    """
    m = Module()
    m.submodules.queue = queue = part(classes=2)
    go = {name: Signal(name=name) for name in ("take", "end", "decide", "fault", "own", "pick")}
    told, open_ = queue.decision.valid, Signal(range(UNDECIDED + 1))
    working, answering = Signal(), Signal()
    whole = Signal()  # the frame that is worked on: another one has begun behind it
    age, since = Signal(2), Signal(2)  # of the frame that is worked on; of the last decision
    take, end, own, other = (Signal(name=name) for name in ("takes", "ends", "owns", "others"))
    m.d.comb += [
        take.eq(go["take"] & ~working & (open_ < UNDECIDED - 1)),
        end.eq(go["end"] & working & (age == 3) & ~answering & ~own & ~queue.decided),
        queue.decided.eq(go["decide"] & (since == 3) & (answering | working & (age == 3))),
        own.eq(go["fault"] & go["own"] & working & ~whole & (answering | ~queue.decided)),
        other.eq(go["fault"] & ~go["own"] & (open_ < UNDECIDED)),
        queue.fault.eq(own | other),
        queue.behind.eq(answering + (working & ~own)),
    ]
    m.d.sync += [
        working.eq(take | working & ~end & ~own & ~(queue.decided & ~answering)),
        answering.eq(end | answering & ~queue.decided),
        whole.eq(~take & (whole | working & other)),
        age.eq(Mux(take, 0, age + (age != 3))),
        since.eq(Mux(queue.decided, 0, since + (since != 3))),
        open_.eq(open_ + take + other - told),
    ]
    # one of them
    picked, its_turn, done = Signal(), Signal(), Signal()
    ahead, worked_on = Signal.like(open_), Signal()
    wrong, status = Signal(), Signal(Status)
    now = go["pick"] & ~picked & (take | other)
    with m.If(now):
        # a fault of the cycle in which another frame is taken is that of a frame before it
        m.d.sync += [picked.eq(1), wrong.eq(~take), worked_on.eq(take), status.eq(queue.status)]
        m.d.sync += ahead.eq(open_ + (take & other) - told)
    with m.Else():
        with m.If(told & (ahead != 0)):
            m.d.sync += ahead.eq(ahead - 1)
        with m.If(worked_on & own):
            m.d.sync += [wrong.eq(1), status.eq(queue.status)]
        with m.If(own | end | (queue.decided & ~answering)):
            m.d.sync += worked_on.eq(0)
    m.d.comb += its_turn.eq(picked & ~done & told & (ahead == 0))
    m.d.sync += done.eq(done | its_turn)
    check(m, queue.decision.status == Mux(wrong, status, Status.OK), when=its_turn)
    return Bench(
        m,
        [*go.values(), *inputs(queue, "decided", "fault", "behind")],
        {"a fault": its_turn & wrong, "none": its_turn & ~wrong, "of two": picked & (ahead == 4)},
    )


def _row(system):
    """Row of the pixel that is there, of its frame."""
    m, lines = system.m, system.lines
    row, now = Signal(range(ROW_GROUPS * ROWS + 1)), Signal(range(ROW_GROUPS * ROWS + 1))
    m.d.comb += now.eq(Mux(lines.starting, 0, row))
    m.d.sync += row.eq(now + lines.row_done)
    return now


def rows_kept(part, bytewise=False):
    """A row that the engine still needs is not written: the frame ends as an overrun instead.

    Row r of the frame that comes lies where row r - k lay, and in its first k rows where the frame
    before has its last ones.
    """
    system = System(receiver=part, bytewise=bytewise)
    m, lines = system.m, system.lines
    control = lines.control
    now = _row(system)
    writes = lines.taken & (1 if bytewise else lines.word_done)
    own = control.current & ~lines.starting | control.take
    spoiled = (control.fault & control.fault_current) | (control.current & lines.starting)
    before = control.busy & ~spoiled
    last = (ROW_GROUPS - 1) * ROWS
    kept = Mux(
        own,
        (now < ROWS) | (now < control.released + ROWS),
        Mux(before, (now < ROWS) & (now + last < control.released), now < ROWS),
    )
    check(m, kept, when=writes)
    return Bench(
        m, system.free, {"a later row": writes & (now == 3), "while busy": writes & before}
    )


def overruns(part, bytewise=False):
    """A frame ends as an overrun only where the engine needed the row, or a byte's write is due.

    As it was a cycle before the pixel is there: so long it takes to be known.
    """
    # of two pixels a word would be complete before its frame is known
    system = System(receiver=part, bytewise=bytewise, width=3)
    m, lines = system.m, system.lines
    control, last = lines.control, (ROW_GROUPS - 1) * ROWS
    now = _row(system)
    over = (control.accept | lines.inner & control.receiving) & ~lines.taken
    leaves = control.fault & control.fault_current  # the engine its frame
    current = before(m, control.current, "was_current")
    busy = before(m, control.busy & ~leaves, "was_busy")
    released = before(m, control.released, "was_released")
    ends = before(m, control.current & control.receiving, "was_received")  # by a new one
    first = busy & ~ends & (released <= last)
    own = (now >= ROWS) & (now >= released + ROWS)
    other = Mux(busy, (now >= ROWS) | (now + last >= released), now >= ROWS)
    needed = Mux(lines.starting & bytewise, first, Mux(current, own, other))
    check(m, needed | lines.writing, when=over)
    reach = {"a later row": over & current}
    return Bench(m, system.free, reach | ({"a first pixel": over & first} if bytewise else {}))


def _faults(system):
    """What goes wrong in a cycle: the frame that another begins in; the pixel's frame, and how."""
    m, lines = system.m, system.lines
    control = lines.control
    now = _row(system)
    whole = lines.row_done & (now == ROW_GROUPS * ROWS - 1)
    here = control.accept | lines.inner & control.receiving
    line, over = here & (lines.eol != lines.last_column), here & ~lines.taken
    restart, bad, status = Signal(), Signal(), Signal(Status)
    m.d.comb += [
        restart.eq(lines.starting & control.receiving),
        bad.eq(line | over | lines.end & control.receiving & ~lines.starting & ~whole),
        status.eq(Mux(over, Status.OVERRUN, Mux(line, Status.LINE, Status.TRUNCATED))),
    ]
    return restart, bad, status


def faults_once(part):
    """A fault ends a frame, is told once with its own status, and one counter goes up by one.

    In the next cycle; a first pixel's own behind that of the frame which it ends. None counts the
    fault of a frame that the engine decides just then.
    """
    system = System(receiver=part)
    m, control, counts = system.m, system.lines.control, system.lines.counts
    restart, bad, own = _faults(system)
    due, waits, kept, status = Signal(), Signal(), Signal(Status), Signal(Status)
    m.d.sync += [
        due.eq(restart | bad | waits),
        status.eq(Mux(waits, kept, Mux(restart, Status.RESTART, own))),
        waits.eq(bad & (restart | waits)),
        kept.eq(own),
    ]
    check(m, control.fault == due, ~(waits & restart))
    check(m, control.status == status, when=due)
    check(m, ~control.receiving, when=before(m, bad, "was_bad"))
    stop = control.stop
    decided = (stop | before(m, stop, "stopped")) & control.fault_current
    late, told = before(m, due & ~decided, "late"), before(m, status, "told")
    for kind, name in zip(Status, counts.signature.names, strict=True):
        if kind != Status.OK:
            count = getattr(counts, name)
            was = before(m, count, f"{name}_before")
            check(m, count == was + (late & (told == kind) & ~was.all()))
    return Bench(m, system.free, {"a fault": late, "two": waits, "a third": waits & bad})


def rows_told(part):
    """A row counts once it is readable, so many cycles behind its last pixel, and in its own frame.

    For ever, also with rows that are shorter than that.
    """
    system = System(receiver=part)
    m, lines = system.m, system.lines
    control, late = lines.control, lines.late_rows
    done, own = Signal(range(ROW_GROUPS * ROWS + 1)), Signal(late)  # all; those that come yet
    m.d.sync += [
        done.eq(Mux(control.accept, 0, done + lines.row_done)),
        own.eq(Mux(control.accept, 0, Cat(lines.row_done, own))),
    ]
    coming = sum(own[i] for i in range(late))
    check(m, control.rows + coming == done)
    cut = control.accept & own.any()
    return Bench(m, system.free, {"all rows": control.rows == ROW_GROUPS * ROWS, "a cut": cut})


def counted(part):
    """A counter goes up by one for each fault that becomes a decision, and for no other.

    In the next cycle. That each of those faults becomes a decision is "frames: decisions".
    """
    system = System(receiver=part)
    m, queue, counts = system.m, system.frames.decisions, system.lines.counts
    late, told = before(m, queue.fault, "late"), before(m, queue.status, "told")
    for kind, name in zip(Status, counts.signature.names, strict=True):
        if kind != Status.OK:
            count = getattr(counts, name)
            was = before(m, count, f"{name}_before")
            check(m, count == was + (late & (told == kind) & ~was.all()))
    control = system.frames.lines
    decided = control.stop & control.fault & control.fault_current
    return Bench(m, system.free, {"a fault": late, "decided as it is cut": decided})


def ends(part, bound=40):
    """With an engine that goes on, all is idle so many cycles after the camera's last sign."""
    system = System(control=part)
    m, frames = system.m, system.frames
    quiet, begun = Signal(range(2 * bound)), Signal()
    for signal in system.quick.values():
        m.d.comb += Assume(signal)
    # the camera says that its frame is over, and then nothing
    with m.If(system.end & ~system.pixel):
        m.d.sync += [quiet.eq(1), begun.eq(1)]
    with m.Elif(system.pixel):
        m.d.sync += [quiet.eq(0), begun.eq(0)]
    with m.Elif(begun & (quiet != bound)):
        m.d.sync += quiet.eq(quiet + 1)
    check(m, ~frames.busy, when=quiet == bound)
    return Bench(m, system.free, {"idle": (quiet == bound) & ~frames.busy})
