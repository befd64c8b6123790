"""Frames: which frame and row group the engine is on, when it ends, and what is told of it."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.common import delay
from hw.interfaces import LOGIT, Answer, Decision, LineControl, RowEvent, Status, WalkControl
from hw.plan.beside import check_classes
from hw.plan.memory import FAULT_QUEUE, STATUS_BITS, UNDECIDED


class CameraRows(wiring.Component):
    """Counts a frame's camera rows: those that are there, and those that are no longer needed.

    Parameters
    ----------
    row_groups : int
        Row groups of a frame.
    rows : int
        k, camera rows of a row group.
    needs : sequence of int
        As in WalkControl.

    Ports
    -----
    take : In(1)
        A frame begins with its first row group.
    next : In(1)
        The next row group begins.
    skip : In(1)
        A row group is left out: the next one begins and has released the rows before it.
    release : In(1), group_released : In(range(k + 1))
        As in WalkControl.
    current : In(1), received : In(range(row_groups * k + 1))
        As in LineControl (`received`: its `rows`). A frame that is not being received is there.
    flags : Out(len(needs))
        So many rows of the present group are there, a bit for each of `needs`; two cycles late.
    released : Out(range(row_groups * k + 1))
        Rows of the frame that are no longer needed.
    """

    latency = 2
    """`received` -> `flags`: distance, flag."""

    def __init__(self, *, row_groups: int, rows: int, needs: Sequence[int]):
        self.row_groups, self.rows, self.needs = row_groups, rows, tuple(needs)
        super().__init__(
            {
                "take": In(1),
                "next": In(1),
                "skip": In(1),
                "release": In(1),
                "group_released": In(range(rows + 1)),
                "current": In(1),
                "received": In(range(row_groups * rows + 1)),
                "flags": Out(len(self.needs)),
                "released": Out(range(row_groups * rows + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        k = self.rows
        # a group that ends as its frame is stopped may count two groups beyond the last
        base = Signal(range(k * (self.row_groups + 2) + 1))  # first row of the present group
        following, released = Signal.like(base), Signal.like(base)
        m.d.comb += [following.eq(base + k), self.released.eq(released)]
        with m.If(self.next | self.skip):
            m.d.sync += base.eq(following)
        with m.If(self.release):
            m.d.sync += released.eq(base + self.group_released)
        with m.If(self.skip):
            m.d.sync += released.eq(following)
        with m.If(self.take):
            m.d.sync += [base.eq(0), released.eq(0)]
        ahead = Signal(signed(len(base) + 1), reset_less=True)
        m.d.sync += ahead.eq(Mux(self.current, self.received - base, k))
        for flag, need in zip(self.flags, self.needs, strict=True):
            m.d.sync += flag.eq(ahead >= need)
        return m


class DecisionQueue(wiring.Component):
    """Tells what has become of the frames, in their order.

    A frame that the camera spoils waits for the decision on the one before it, which the engine may
    still be working on.

    Parameters
    ----------
    classes : int
        K.

    Ports
    -----
    decided : In(1), pulse
        The engine has come to a decision.
    index : In(range(K)), logits : In(signed(32)).array(K), rows_used : In(16), with `decided`
        As in Decision.
    fault : In(1), pulse
        A frame ended badly, which is not the one being decided in this cycle.
    status : In(Status), with `fault`
    behind : In(2), with `fault`
        Frames before that one that are still to be decided, with that of `decided` in this cycle.
    decision : Out(Decision(K))
        A cycle after `decided`, two or more after `fault`.
    """

    def __init__(self, *, classes: int):
        self.classes = classes
        super().__init__(
            {
                "decided": In(1),
                "index": In(range(classes)),
                "logits": In(LOGIT).array(classes),
                "rows_used": In(16),
                "fault": In(1),
                "status": In(Status),
                "behind": In(2),
                "decision": Out(Decision(classes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.faults = faults = SyncFIFO(width=STATUS_BITS, depth=FAULT_QUEUE)
        m.d.sync += [faults.w_en.eq(self.fault), faults.w_data.eq(self.status)]
        # statuses in the queue that wait for none, one, two frames of the engine
        free, one, two = (
            Signal(range(FAULT_QUEUE + 1), name=name) for name in ("free", "one", "two")
        )
        left, comes = Signal(2), [Signal(name=f"comes{n}") for n in range(3)]
        m.d.comb += left.eq(self.behind - self.decided)
        m.d.comb += [now.eq(self.fault & (left == n)) for n, now in enumerate(comes)]
        m.d.sync += [
            free.eq(free + Mux(self.decided, one, 0) + comes[0] - faults.r_en),
            one.eq(Mux(self.decided, two, one) + comes[1]),
            two.eq(Mux(self.decided, 0, two) + comes[2]),
        ]
        told = self.decision
        m.d.sync += told.valid.eq(0)
        with m.If(self.decided):
            m.d.sync += [
                told.valid.eq(1),
                told.status.eq(Status.OK),
                told.index.eq(self.index),
                told.rows_used.eq(self.rows_used),
                *[out.eq(logit) for out, logit in zip(told.logits, self.logits, strict=True)],
            ]
        with m.Elif(faults.r_rdy & (free != 0)):
            m.d.comb += faults.r_en.eq(1)
            m.d.sync += [
                told.valid.eq(1),
                told.status.eq(faults.r_data),
                told.index.eq(0),
                told.rows_used.eq(0),
                *[out.eq(0) for out in told.logits],
            ]
        return m


class FrameControl(wiring.Component):
    """Frames, row groups, early termination.

    A frame begins when the line buffer has one waiting and the walk sequencer is free, so that it
    follows the one before without a gap. A row group's state and logits come some time after its
    last step, while the next group is worked on already. After the last group's logits, or as a
    threshold says so, the decision leaves.

    Early termination (Sec. 3.5): on `stop` the frame ends with the stop class; on `skip` the next
    group is left out. Either drops the group that has begun, by a reset of the pipeline; the state
    stays as it was. A frame that the camera spoils is dropped once the one before it is through.

    Each frame that is accepted has one decision; while `UNDECIDED` have none, none is accepted.

    Parameters
    ----------
    row_groups, rows, needs : as in CameraRows
    classes, stop_class : int
        K, and the class that the stop threshold speaks of.

    Ports
    -----
    lines : In(LineControl(row_groups * rows))
    walks : Out(WalkControl(needs, rows))
    state_done : In(1), pulse
        The last byte of a row group's state has been pooled.
    start : Out(1), pulse
        The classifier may begin, a cycle later.
    forget : Out(1), pulse
        The classifier is to drop what it is on.
    answer : In(Answer(classes))
    loaded : In(1)
        The memories hold weights.
    loading : In(1)
        A load is to begin: no frame is accepted any more.
    idle : Out(1)
        Nothing runs nor can begin, as `loading` was set a cycle before: weights may be written. A
        register.
    reset : Out(1)
        Empties the pipeline: all but line buffer, memories and classifier. A register, because it
        goes everywhere: what comes out of the pipeline meanwhile is ignored.
    first_group : Out(1)
        The walk sequencer is on a frame's first row group: the state reads as zero.
    row : Out(RowEvent(classes)), decision : Out(Decision(classes))
    busy, frame_start : Out(1)
        As in interfaces.Engine.
    """

    def __init__(
        self, *, row_groups: int, rows: int, needs: Sequence[int], classes: int, stop_class: int
    ):
        check_classes(classes, stop_class)
        self.row_groups, self.classes, self.stop_class = row_groups, classes, stop_class
        self.camera = CameraRows(row_groups=row_groups, rows=rows, needs=needs)
        self.decisions = DecisionQueue(classes=classes)
        super().__init__(
            {
                "lines": In(LineControl(row_groups * rows)),
                "walks": Out(WalkControl(needs, rows)),
                "state_done": In(1),
                "start": Out(1),
                "forget": Out(1),
                "answer": In(Answer(classes)),
                "loaded": In(1),
                "loading": In(1),
                "idle": Out(1),
                "reset": Out(1),
                "first_group": Out(1),
                "row": Out(RowEvent(classes)),
                "decision": Out(Decision(classes)),
                "busy": Out(1),
                "frame_start": Out(1),
            }
        )
        self.abort = Signal()  # what is under way is dropped: `reset` in the next cycle

    def elaborate(self, platform):
        m = Module()
        lines, walks, answer = self.lines, self.walks, self.answer
        walking = Signal()  # the walk sequencer is on a frame
        group, used = Signal(range(self.row_groups + 2)), Signal(range(self.row_groups + 1))
        last_group = Signal()  # long known when the group ends
        # the row group whose state and logits come next
        ended_group, ended_used, ended_last = Signal.like(group), Signal.like(used), Signal()
        tail = Signal()  # its last walks are still being drained
        answering = Signal()  # ... or its classifier runs
        dropping, drop = Signal(), Signal()  # the frame went wrong
        take, group_done, state_done = Signal(), Signal(), Signal()
        stop, skip, skip_last, finish = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            # a group that ends as its frame is dropped does not count
            group_done.eq(walks.group_done & ~self.reset & ~drop),
            state_done.eq(self.state_done & ~self.reset),
            # the sequencer stops between frames, so that it does not hang on what the camera does
            take.eq(lines.waiting & ~walking),
            drop.eq(dropping & ~tail),
            stop.eq(answer.valid & answer.stop & ~ended_last & ~dropping),
            skip.eq(answer.valid & answer.skip & ~answer.stop & ~ended_last & ~dropping),
            skip_last.eq(ended_group == self.row_groups - 2),
            finish.eq(answer.valid & (ended_last | stop | (skip & skip_last))),
            self.abort.eq(stop | skip | drop),
        ]
        m.d.sync += [
            last_group.eq(group == self.row_groups - 1),
            self.reset.eq(self.abort | ~self.loaded),
            self.start.eq(state_done),
        ]

        with m.If(group_done):
            m.d.sync += [
                ended_group.eq(group),
                ended_last.eq(last_group),
                ended_used.eq(used + 1),
                used.eq(used + 1),
                tail.eq(1),
                answering.eq(1),
                group.eq(group + 1),
            ]
            with m.If(last_group):
                m.d.sync += walking.eq(0)
        with m.If(take):
            m.d.sync += [walking.eq(1), group.eq(0), used.eq(0)]
        with m.If(state_done):
            m.d.sync += tail.eq(0)
        with m.If(answer.valid | (self.abort & ~(drop & ended_last))):
            m.d.sync += answering.eq(0)
        with m.If(self.abort):
            m.d.sync += [walking.eq(0), dropping.eq(0), tail.eq(0)]
        with m.If(lines.fault & lines.fault_current & walking & ~lines.stop):
            m.d.sync += dropping.eq(1)
        with m.If(skip & ~skip_last):
            m.d.sync += [walking.eq(1), group.eq(group + 1)]

        m.d.comb += [
            # an abort resets the sequencer, whatever it is told
            walks.more.eq(walking & ~dropping),
            walks.again.eq(~last_group & ~dropping),
            lines.busy.eq(walking & ~dropping),
            lines.take.eq(take),
            lines.stop.eq(stop | (skip & skip_last)),
            lines.done.eq((group_done & last_group) | drop),
            self.forget.eq(drop & ~ended_last),
            self.first_group.eq(group == 0),
            self.frame_start.eq(walks.group_first & self.first_group & ~self.reset),
            self.busy.eq(walking | answering | lines.receiving | lines.waiting),
        ]
        # once it is so, it stays: no frame is accepted while a load is to begin
        m.d.sync += self.idle.eq(~self.busy & ~lines.enable & self.loading)
        m.d.sync += lines.enable.eq(self.loaded & ~self.loading & ~self._full(m))
        self._camera_rows(m, take, group_done, skip & ~skip_last)
        self._tell(m, finish, ended_group, ended_used)
        # a frame that is decided in the cycle of its fault, or of its pixel, has its one decision
        stopped = delay(m, lines.stop, 1, "stopped")
        m.d.comb += [
            self.decisions.fault.eq(lines.fault & ~((lines.stop | stopped) & lines.fault_current)),
            self.decisions.status.eq(lines.status),
            # on a frame that is being dropped itself there will be no decision
            self.decisions.behind.eq(
                (walking & ~dropping & ~lines.fault_current) + (answering & ended_last)
            ),
        ]
        return m

    def _full(self, m):
        """No frame may be accepted in the next cycle: as many are undecided as may be."""
        open_, following = Signal(UNDECIDED), Signal(UNDECIDED)  # so many ones
        accept, told = self.lines.accept, self.decision.valid
        m.d.comb += following.eq(open_)
        with m.If(accept & ~told):
            m.d.comb += following.eq(Cat(1, open_))
        with m.If(~accept & told):
            m.d.comb += following.eq(open_ >> 1)
        m.d.sync += open_.eq(following)
        return following[-1]

    def _camera_rows(self, m, take, following, skip):
        m.submodules.camera = camera = self.camera
        m.d.comb += [
            camera.take.eq(take),
            camera.next.eq(following),
            camera.skip.eq(skip),
            camera.release.eq(self.walks.release & ~self.reset),
            camera.group_released.eq(self.walks.released),
            camera.current.eq(self.lines.current),
            camera.received.eq(self.lines.rows),
            self.walks.rows.eq(camera.flags),
            self.lines.released.eq(camera.released),
        ]

    def _tell(self, m, finish, group, used):
        m.submodules.decisions = decisions = self.decisions
        m.d.comb += [
            # each answer, also in the cycle in which its frame is dropped: the logits have changed
            self.row.valid.eq(self.answer.valid),
            self.row.group.eq(group),
            decisions.decided.eq(finish),
            decisions.index.eq(Mux(self.answer.stop, self.stop_class, self.answer.index)),
            decisions.rows_used.eq(used),
        ]
        for number, logit in enumerate(self.answer.logits):
            m.d.comb += [self.row.logits[number].eq(logit), decisions.logits[number].eq(logit)]
        wiring.connect(m, decisions.decision, wiring.flipped(self.decision))
