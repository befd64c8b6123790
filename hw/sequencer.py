"""Walk sequencer: turns the row program into one multiply-accumulate step a cycle."""

from types import SimpleNamespace

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch
from hw.interfaces import WalkControl
from hw.plan import Plan, Source, bits_for


def step_layout(plan: Plan) -> data.StructLayout:
    """What a step says to the memories and to the array.

    Fields: `valid`; `source`, `weights` (enums of hw.plan); `one_tap`; `phase` 0..2 of a
    three-tap row; `address` of the row's word of this chunk group; `bank` one-hot (shared mode);
    `first_chunk`, `last_chunk`: no word to the left / right; `tail`: words of the last group;
    `state`: the word is the state (zero in a frame's first group); `pad`: padding byte is -128;
    `first`, `last` step of the walk; `weight` address and `part` of the weight word; `inner`:
    index of the input channel and `inner_row` of its bank row (spatial attention); `group`:
    output channel group; `head`.
    """
    widths = plan.field_widths("walk")
    engine = plan.engine
    return data.StructLayout(
        {
            "valid": 1,
            "source": 2,
            "weights": 2,
            "one_tap": 1,
            "phase": 2,
            "address": bits_for(max(plan.bank_words, plan.line_buffer_words)),
            "bank": engine.lanes,
            "first_chunk": 1,
            "last_chunk": 1,
            "tail": widths["tail"],
            "state": 1,
            "pad": 1,
            "first": 1,
            "last": 1,
            "weight": bits_for(plan.weight_words - 1),
            "part": bits_for(plan.geometry.head_lanes - 1),
            "inner": bits_for(max(op.segments[0].channels for op in plan.operations)),
            "inner_row": bits_for(max(op.segments[0].channels for op in plan.operations)),
            "group": widths["groups"],
            "head": widths["head"],
        }
    )


def needed_rows(plan: Plan) -> tuple[int, ...]:
    """The different numbers of camera rows that operations wait for, ascending."""
    return tuple(sorted({fields["need"] for fields in plan.fields["walk"]} - {0}))


def _facts_layout(needs) -> data.StructLayout:
    return data.StructLayout({"need": len(needs)} | _FACTS)


_FACTS = {
    **dict.fromkeys(("waits", "idles", "pauses", "releases", "one_row", "one_channel0"), 1),
    **dict.fromkeys(("one_channel1", "one_chunk", "one_group", "one_word"), 1),
    **dict.fromkeys(("one_step0", "one_step1", "one_step", "only_step"), 1),
}


def _facts(word, needs) -> dict:
    """What the sequencer asks of a walk word, as single bits."""
    return {
        "need": Cat(word.need == rows for rows in needs),
        "waits": word.wait != 0,
        "idles": word.idle != 0,
        "pauses": word.pause != 0,
        "releases": word.release != 0,
        "one_row": word.rows == 0,
        "one_channel0": word.last0 == 0,
        "one_channel1": word.last1 == 0,
        "one_chunk": word.chunks == 0,
        "one_group": word.groups == 0,
        "one_word": word.in_groups == 0,
        # segments, walks and operations of a single step
        "one_step0": word.one_tap & (word.rows == 0) & (word.last0 == 0),
        "one_step1": word.one_tap & (word.rows == 0) & (word.last1 == 0),
        "one_step": word.one_tap & (word.rows == 0) & (word.last0 == 0) & ~word.two,
        "only_step": word.one_tap
        & (Cat(word.rows, word.last0, word.two, word.chunks, word.groups) == 0),
    }


class WalkSequencer(wiring.Component):
    """Runs the walk words of the row program, one step a cycle, with no cycle lost in between.

    Loops, outermost first: operation, output channel group, chunk (group of P-pixel words),
    segment, input channel, kernel row, tap. An operation begins `wait` cycles after the one before
    it ended and not before its camera rows are there; `idle` cycles separate its walks, `pause`
    the two segments of a walk.

    Ports
    -----
    step : out step_layout(plan)
    op : out, index of the operation that the step belongs to
    control : In(WalkControl(needs, k))
    """

    latency = 1
    """`rows` -> the first step that they let begin."""

    def __init__(self, plan: Plan):
        self.plan, self.needs = plan, needed_rows(plan)
        super().__init__(
            {
                "step": Out(step_layout(plan)),
                "op": Out(range(len(plan.operations))),
                "control": In(WalkControl(self.needs, plan.model.rows_per_group)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        s = self._signals(m)
        # The loop from the counters to the counters sets the clock. So all that is known of a word
        # or of a counter's next value is worked out beforehand, one bit each.
        facts = _facts(s.fetch.ahead, self.needs)
        m.d["sync" if self.plan.latency.registered else "comb"] += [
            s.following_is[name].eq(fact) for name, fact in facts.items()
        ]
        self._tell(m, s)
        self._look_ahead(m, s)
        self._go_on(m, s)
        with m.If(s.run):
            self._end_of_segment(m, s)
        self._next_walk(m, s)
        self._next_operation(m, s)
        self._wait(m, s)
        return m

    def _signals(self, m) -> SimpleNamespace:
        """The sequencer's registers, and what is worked out of them in several places."""
        plan, step = self.plan, self.step
        fetch = WordFetch(m, plan, "walk", registered=plan.latency.registered)

        def largest(*names):
            return max(bits_for(fields[n]) for fields in plan.fields["walk"] for n in names)

        following, following_is = fetch.word, Signal(_facts_layout(self.needs), reset_less=True)
        now = Signal.like(following, name="now", reset_less=True)
        s = SimpleNamespace(
            run=step.valid,
            fetch=fetch,
            following=following,
            following_is=following_is,
            now=now,
            now_is=Signal.like(following_is, name="now_is"),
            # cycles until the next step, less two: negative in the last one
            waits=Signal(largest("wait", "idle", "pause"), name="waits"),
            warm=Signal(range(WordFetch.CYCLES + 1), name="warm"),  # since reset: the word is there
            # counters of the present step
            row=Signal.like(now.rows, name="row"),
            left=Signal(largest("last0", "last1"), name="left"),
            chunk=Signal.like(now.chunks, name="chunk"),
            group=Signal.like(now.groups, name="group"),
            group_weight=Signal.like(step.weight, name="group_weight"),
            # of the walk after this one, known two cycles after this one began
            next_chunk=Signal.like(now.chunks, name="next_chunk"),
            next_group=Signal.like(now.groups, name="next_group"),
            next_address=Signal.like(step.address, name="next_address"),
        )
        s.count = Signal(signed(len(s.waits) + 1), name="count")
        bits = (
            # a row group is under way; the pause is inside a walk, before an operation's first one
            *("busy", "inside", "changing", "counts", "second", "wrap"),
            # the step is the last one of its row, ... its segment, walk, operation
            *("tap_end", "row_end", "channel_end", "chunk_end", "group_end"),
            *("segment_end", "walk_end", "op_end", "last_op"),
            *("next_first", "next_last", "next_chunk_end", "next_group_end"),
            *("begin_op", "resume"),
        )
        for name in bits:
            setattr(s, name, Signal(name=name))
        return s

    def _tell(self, m, s):
        """What the step says, and what the frame control is told."""
        step, control = self.step, self.control
        m.d.comb += [
            s.wrap.eq(step.bank[-1] | (s.now.source != Source.SHARED)),
            step.last.eq(s.walk_end),
            step.source.eq(s.now.source),
            step.weights.eq(s.now.weights),
            step.one_tap.eq(s.now.one_tap),
            step.pad.eq(s.now.pad),
            step.tail.eq(s.now.tail),
            step.state.eq(Mux(s.second, 0, s.now.state0)),
            step.group.eq(s.group),
            step.head.eq(s.now.head),
            control.group_done.eq(s.run & s.op_end & s.last_op),
            control.group_first.eq(
                s.run & step.first & step.first_chunk & (s.group == 0) & (self.op == 0)
            ),
            control.release.eq(s.run & s.op_end & s.now_is.releases),
            control.released.eq(s.now.release),
        ]

    def _look_ahead(self, m, s):
        """The walk after this one."""
        m.d.sync += [
            s.next_chunk.eq(Mux(s.chunk_end, 0, s.chunk + 1)),
            s.next_group.eq(s.group + s.chunk_end),
        ]
        m.d.sync += [
            s.next_address.eq(s.now.base0 + s.next_chunk),
            s.next_first.eq(s.next_chunk == 0),
            s.next_last.eq(s.next_chunk == s.now.in_groups),
            s.next_chunk_end.eq(s.next_chunk == s.now.chunks),
            s.next_group_end.eq(s.next_group == s.now.groups),
        ]

    def _begin_walk(self, s, word, word_is) -> list:
        """Set the counters to the first step of a walk, less what depends on the chunk."""
        step, lanes = self.step, self.plan.engine.lanes
        return [
            step.first.eq(1),
            step.phase.eq(0),
            s.tap_end.eq(word.one_tap),
            s.row.eq(0),
            s.row_end.eq(word_is.one_row),
            s.second.eq(0),
            s.left.eq(word.last0),
            s.channel_end.eq(word_is.one_channel0),
            s.segment_end.eq(word_is.one_step0),
            s.walk_end.eq(word_is.one_step),
            step.inner.eq(0),
            step.inner_row.eq(0),
            step.bank.eq(C(1, lanes) << word.bank0),
            step.part.eq(0),
        ]

    def _go_on(self, m, s):
        """Steps inside a walk."""
        step, head_lanes = self.step, self.plan.geometry.head_lanes
        part_end = Signal()
        m.d.comb += part_end.eq(
            (step.part == head_lanes - 1) | (s.now.source >= Source.SHARED) if head_lanes > 1 else 1
        )
        next_tap_end, next_row_end, next_channel_end, next_segment_end = (
            Signal(name=f"next_{n}_end") for n in ("tap", "row", "channel", "segment")
        )
        m.d.comb += [
            next_tap_end.eq(Mux(s.tap_end, s.now.one_tap, step.phase == 1)),
            next_row_end.eq(
                Mux(s.tap_end, Mux(s.row_end, s.now_is.one_row, s.row + 1 == s.now.rows), s.row_end)
            ),
            next_channel_end.eq(Mux(s.tap_end & s.row_end, s.left == 1, s.channel_end)),
            next_segment_end.eq(next_tap_end & next_row_end & next_channel_end),
        ]
        with m.If(s.run):
            m.d.sync += [
                step.first.eq(0),
                s.tap_end.eq(next_tap_end),
                s.row_end.eq(next_row_end),
                s.channel_end.eq(next_channel_end),
                s.segment_end.eq(next_segment_end),
                s.walk_end.eq(next_segment_end & (s.second | ~s.now.two)),
                s.op_end.eq(next_segment_end & (s.second | ~s.now.two) & s.chunk_end & s.group_end),
            ]
            # weights: a word holds head_lanes steps in head mode; a channel group's begin a new one
            if head_lanes > 1:
                m.d.sync += step.part.eq(Mux(part_end, 0, step.part + 1))
            with m.If(part_end):
                m.d.sync += step.weight.eq(step.weight + 1)
            with m.If(s.tap_end):
                m.d.sync += [
                    step.phase.eq(0),
                    s.row.eq(Mux(s.row_end, 0, s.row + 1)),
                    step.address.eq(
                        step.address
                        + Mux(s.row_end, Mux(s.wrap, s.now.channel_step, 0), s.now.row_step)
                    ),
                ]
                with m.If(s.row_end):
                    m.d.sync += [
                        s.left.eq(s.left - 1),
                        step.inner.eq(step.inner + 1),
                        step.inner_row.eq(step.inner_row + s.wrap),
                        step.bank.eq(step.bank.rotate_left(1)),
                    ]
            with m.Else():
                m.d.sync += step.phase.eq(step.phase + 1)

    def _end_of_segment(self, m, s):
        """The walk's second segment, the end of the walk."""
        step, lanes = self.step, self.plan.engine.lanes
        with m.If(s.segment_end & s.now.two & ~s.second):
            m.d.sync += [
                s.second.eq(1),
                s.left.eq(s.now.last1),
                s.channel_end.eq(s.now_is.one_channel1),
                s.segment_end.eq(s.now_is.one_step1),
                s.walk_end.eq(s.now_is.one_step1),
                s.op_end.eq(s.now_is.one_step1 & s.chunk_end & s.group_end),
                step.address.eq(s.now.base1 + s.chunk),
                step.bank.eq(C(1, lanes) << s.now.bank1),
            ]
            with m.If(s.now_is.pauses):
                m.d.comb += [s.counts.eq(1), s.waits.eq(s.now.pause)]
                m.d.sync += [step.valid.eq(0), s.inside.eq(1)]
        with m.If(s.walk_end):
            m.d.sync += step.weight.eq(Mux(s.chunk_end, step.weight + 1, s.group_weight))
            with m.If(s.chunk_end):
                m.d.sync += s.group_weight.eq(step.weight + 1)
            with m.If(s.now_is.idles):
                m.d.comb += [s.counts.eq(1), s.waits.eq(s.now.idle)]
                m.d.sync += step.valid.eq(0)

    def _next_walk(self, m, s):
        """The next walk of the operation."""
        step = self.step
        with m.If((s.run & s.walk_end & ~s.now_is.idles) | (s.resume & ~s.inside & ~s.changing)):
            m.d.sync += [
                *self._begin_walk(s, s.now, s.now_is),
                step.address.eq(s.next_address),
                s.chunk.eq(s.next_chunk),
                s.group.eq(s.next_group),
                step.first_chunk.eq(s.next_first),
                step.last_chunk.eq(s.next_last),
                s.chunk_end.eq(s.next_chunk_end),
                s.group_end.eq(s.next_group_end),
                s.op_end.eq(s.now_is.one_step & s.next_chunk_end & s.next_group_end),
            ]

    def _next_operation(self, m, s):
        step, plan, control = self.step, self.plan, self.control
        m.d.comb += s.begin_op.eq(
            (s.run & s.op_end & (~s.last_op | control.again))
            | (~s.busy & control.more & (s.warm == WordFetch.CYCLES))
        )
        with m.If(s.warm != WordFetch.CYCLES):
            m.d.sync += s.warm.eq(s.warm + 1)
        with m.If(s.begin_op):
            m.d.comb += [s.fetch.take.eq(1), s.counts.eq(1), s.waits.eq(s.following.wait)]
            m.d.sync += [
                s.now.eq(s.following),
                s.now_is.eq(s.following_is),
                self.op.eq(s.fetch.index),
                s.last_op.eq(s.fetch.index == len(plan.operations) - 1),
                s.busy.eq(1),
                *self._begin_walk(s, s.following, s.following_is),
                step.address.eq(s.following.base0),
                s.chunk.eq(0),
                s.group.eq(0),
                step.first_chunk.eq(1),
                step.last_chunk.eq(s.following_is.one_word),
                s.chunk_end.eq(s.following_is.one_chunk),
                s.group_end.eq(s.following_is.one_group),
                s.op_end.eq(s.following_is.only_step),
                step.weight.eq(s.following.weight),
                s.group_weight.eq(s.following.weight),
                s.changing.eq(1),
                step.valid.eq(~s.following_is.waits & ~(s.following_is.need & ~control.rows).any()),
            ]
        with m.Elif(control.group_done):
            m.d.sync += [s.busy.eq(0), step.valid.eq(0)]

    def _wait(self, m, s):
        """Between operations, walks and segments, and for the camera's rows."""
        step, control = self.step, self.control
        with m.If(s.busy & ~s.run):
            with m.If(~s.count[-1]):
                m.d.sync += s.count.eq(s.count - 1)
            with m.Elif(s.inside | ~s.changing | ~(s.now_is.need & ~control.rows).any()):
                m.d.comb += s.resume.eq(1)
                m.d.sync += [step.valid.eq(1), s.inside.eq(0), s.changing.eq(0)]
        with m.If(s.counts):
            m.d.sync += s.count.eq(s.waits - 2)
        with m.If(s.run & ~s.begin_op):
            m.d.sync += s.changing.eq(0)


class LateSteps(wiring.Component):
    """The steps as they were some cycles ago; a reset makes all of them invalid.

    Parameters
    ----------
    count : int
        The oldest is so many cycles old.

    Ports
    -----
    step : In(step_layout(plan))
    reset : In(1)
    steps : Out(step_layout(plan)), an array of count + 1
        The first one is `step`.
    """

    def __init__(self, plan: Plan, count: int):
        layout = step_layout(plan)
        super().__init__(
            {"step": In(layout), "reset": In(1), "steps": Out(layout).array(count + 1)}
        )

    def elaborate(self, platform):
        m = Module()
        late = self.step
        for number, out in enumerate(self.steps):
            if number:
                later = Signal.like(late, name=f"step_{number}")
                m.d.sync += later.eq(late)
                with m.If(self.reset):
                    m.d.sync += later.valid.eq(0)
                late = later
            m.d.comb += out.eq(late)
        return m
