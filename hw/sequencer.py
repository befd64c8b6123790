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
        fetch = WordFetch(m, self.plan, "walk", registered=self.plan.latency.registered)
        r = self._registers(m, fetch)
        self._tell(m, r)
        self._walk_after(m, r)
        self._inside_walk(m, r)
        self._next_walk(m, r)
        self._next_operation(m, r, fetch)
        self._wait(m, r)
        return m

    def _registers(self, m, fetch):
        """Words and counters of the present step and of the next ones.

        The loop from the counters to the counters sets the clock. So all that is known of a word or
        of a counter's next value is worked out beforehand, one bit each.
        """
        plan = self.plan
        r = SimpleNamespace(following=fetch.word)
        r.following_is = Signal(_facts_layout(self.needs), reset_less=True, name="following_is")
        r.now = Signal.like(r.following, name="now", reset_less=True)
        r.now_is = Signal.like(r.following_is, name="now_is")
        facts = _facts(fetch.ahead, self.needs)
        domain = "sync" if plan.latency.registered else "comb"
        m.d[domain] += [r.following_is[name].eq(fact) for name, fact in facts.items()]

        def most(*names):
            return max(bits_for(f[n]) for f in plan.fields["walk"] for n in names)

        bits = (
            "busy",  # a row group is under way
            "inside",  # the pause is inside a walk
            "changing",  # the pause is before an operation's first walk
            "counts",
            "second",  # segment
            "last_op",
            # of the counters, each with a bit that says that it is at its end
            *(f"{n}_end" for n in ("tap", "row", "channel", "chunk", "group")),
            # ... and what these come to: the step is the last one of its segment, walk, operation
            *("segment_end", "walk_end", "op_end", "wrap"),
            *("begin_op", "resume", "part_end"),
            # of the walk after this one
            *(f"next_{n}" for n in ("first", "last", "chunk_end", "group_end")),
        )
        for name in bits:
            setattr(r, name, Signal(name=name))
        # cycles until the next step, less two: negative in the last one
        r.waits = Signal(most("wait", "idle", "pause"), name="waits")
        r.count = Signal(signed(len(r.waits) + 1), name="count")
        r.left = Signal(most("last0", "last1"), name="left")
        r.row = Signal.like(r.now.rows, name="row")
        for name in ("chunk", "next_chunk"):
            setattr(r, name, Signal.like(r.now.chunks, name=name))
        for name in ("group", "next_group"):
            setattr(r, name, Signal.like(r.now.groups, name=name))
        r.group_weight = Signal.like(self.step.weight, name="group_weight")
        r.next_address = Signal.like(self.step.address, name="next_address")
        return r

    def _tell(self, m, r):
        """What is said of the present step."""
        step, run, control = self.step, self.step.valid, self.control
        m.d.comb += [
            r.wrap.eq(step.bank[-1] | (r.now.source != Source.SHARED)),
            step.last.eq(r.walk_end),
            step.source.eq(r.now.source),
            step.weights.eq(r.now.weights),
            step.one_tap.eq(r.now.one_tap),
            step.pad.eq(r.now.pad),
            step.tail.eq(r.now.tail),
            step.state.eq(Mux(r.second, 0, r.now.state0)),
            step.group.eq(r.group),
            step.head.eq(r.now.head),
            control.group_done.eq(run & r.op_end & r.last_op),
            control.group_first.eq(
                run & step.first & step.first_chunk & (r.group == 0) & (self.op == 0)
            ),
            control.release.eq(run & r.op_end & r.now_is.releases),
            control.released.eq(r.now.release),
        ]

    def _walk_after(self, m, r):
        """The walk after this one, known two cycles after this one began."""
        m.d.sync += [
            r.next_chunk.eq(Mux(r.chunk_end, 0, r.chunk + 1)),
            r.next_group.eq(r.group + r.chunk_end),
            r.next_address.eq(r.now.base0 + r.next_chunk),
            r.next_first.eq(r.next_chunk == 0),
            r.next_last.eq(r.next_chunk == r.now.in_groups),
            r.next_chunk_end.eq(r.next_chunk == r.now.chunks),
            r.next_group_end.eq(r.next_group == r.now.groups),
        ]

    def _begin_walk(self, r, word, word_is):
        """Sets the counters to the first step of a walk, less what depends on the chunk."""
        step, lanes = self.step, self.plan.engine.lanes
        return [
            step.first.eq(1),
            step.phase.eq(0),
            r.tap_end.eq(word.one_tap),
            r.row.eq(0),
            r.row_end.eq(word_is.one_row),
            r.second.eq(0),
            r.left.eq(word.last0),
            r.channel_end.eq(word_is.one_channel0),
            r.segment_end.eq(word_is.one_step0),
            r.walk_end.eq(word_is.one_step),
            step.inner.eq(0),
            step.inner_row.eq(0),
            step.bank.eq(C(1, lanes) << word.bank0),
            step.part.eq(0),
        ]

    def _inside_walk(self, m, r):
        """Steps inside a walk."""
        step, run = self.step, self.step.valid
        lanes, head_lanes = self.plan.engine.lanes, self.plan.geometry.head_lanes
        m.d.comb += r.part_end.eq(
            (step.part == head_lanes - 1) | (r.now.source >= Source.SHARED) if head_lanes > 1 else 1
        )
        next_tap_end, next_row_end, next_channel_end, next_segment_end = (
            Signal(name=f"next_{n}_end") for n in ("tap", "row", "channel", "segment")
        )
        m.d.comb += [
            next_tap_end.eq(Mux(r.tap_end, r.now.one_tap, step.phase == 1)),
            next_row_end.eq(
                Mux(r.tap_end, Mux(r.row_end, r.now_is.one_row, r.row + 1 == r.now.rows), r.row_end)
            ),
            next_channel_end.eq(Mux(r.tap_end & r.row_end, r.left == 1, r.channel_end)),
            next_segment_end.eq(next_tap_end & next_row_end & next_channel_end),
        ]
        with m.If(run):
            m.d.sync += [
                step.first.eq(0),
                r.tap_end.eq(next_tap_end),
                r.row_end.eq(next_row_end),
                r.channel_end.eq(next_channel_end),
                r.segment_end.eq(next_segment_end),
                r.walk_end.eq(next_segment_end & (r.second | ~r.now.two)),
                r.op_end.eq(next_segment_end & (r.second | ~r.now.two) & r.chunk_end & r.group_end),
            ]
            # weights: a word holds head_lanes steps in head mode; a channel group's begin a new
            # one
            if head_lanes > 1:
                m.d.sync += step.part.eq(Mux(r.part_end, 0, step.part + 1))
            with m.If(r.part_end):
                m.d.sync += step.weight.eq(step.weight + 1)
            with m.If(r.tap_end):
                m.d.sync += [
                    step.phase.eq(0),
                    r.row.eq(Mux(r.row_end, 0, r.row + 1)),
                    step.address.eq(
                        step.address
                        + Mux(r.row_end, Mux(r.wrap, r.now.channel_step, 0), r.now.row_step)
                    ),
                ]
                with m.If(r.row_end):
                    m.d.sync += [
                        r.left.eq(r.left - 1),
                        step.inner.eq(step.inner + 1),
                        step.inner_row.eq(step.inner_row + r.wrap),
                        step.bank.eq(step.bank.rotate_left(1)),
                    ]
            with m.Else():
                m.d.sync += step.phase.eq(step.phase + 1)
            with m.If(r.segment_end & r.now.two & ~r.second):
                m.d.sync += [
                    r.second.eq(1),
                    r.left.eq(r.now.last1),
                    r.channel_end.eq(r.now_is.one_channel1),
                    r.segment_end.eq(r.now_is.one_step1),
                    r.walk_end.eq(r.now_is.one_step1),
                    r.op_end.eq(r.now_is.one_step1 & r.chunk_end & r.group_end),
                    step.address.eq(r.now.base1 + r.chunk),
                    step.bank.eq(C(1, lanes) << r.now.bank1),
                ]
                with m.If(r.now_is.pauses):
                    m.d.comb += [r.counts.eq(1), r.waits.eq(r.now.pause)]
                    m.d.sync += [step.valid.eq(0), r.inside.eq(1)]
            with m.If(r.walk_end):
                m.d.sync += step.weight.eq(Mux(r.chunk_end, step.weight + 1, r.group_weight))
                with m.If(r.chunk_end):
                    m.d.sync += r.group_weight.eq(step.weight + 1)
                with m.If(r.now_is.idles):
                    m.d.comb += [r.counts.eq(1), r.waits.eq(r.now.idle)]
                    m.d.sync += step.valid.eq(0)

    def _next_walk(self, m, r):
        """The next walk of the operation."""
        step, run = self.step, self.step.valid
        with m.If((run & r.walk_end & ~r.now_is.idles) | (r.resume & ~r.inside & ~r.changing)):
            m.d.sync += [
                *self._begin_walk(r, r.now, r.now_is),
                step.address.eq(r.next_address),
                r.chunk.eq(r.next_chunk),
                r.group.eq(r.next_group),
                step.first_chunk.eq(r.next_first),
                step.last_chunk.eq(r.next_last),
                r.chunk_end.eq(r.next_chunk_end),
                r.group_end.eq(r.next_group_end),
                r.op_end.eq(r.now_is.one_step & r.next_chunk_end & r.next_group_end),
            ]

    def _next_operation(self, m, r, fetch):
        """The next operation, or the row group's end."""
        step, run, control = self.step, self.step.valid, self.control
        warm = Signal(range(WordFetch.CYCLES + 1))  # cycles since reset, until the word is there
        m.d.comb += r.begin_op.eq(
            (run & r.op_end & (~r.last_op | control.again))
            | (~r.busy & control.more & (warm == WordFetch.CYCLES))
        )
        with m.If(warm != WordFetch.CYCLES):
            m.d.sync += warm.eq(warm + 1)
        with m.If(r.begin_op):
            m.d.comb += [fetch.take.eq(1), r.counts.eq(1), r.waits.eq(r.following.wait)]
            m.d.sync += [
                r.now.eq(r.following),
                r.now_is.eq(r.following_is),
                self.op.eq(fetch.index),
                r.last_op.eq(fetch.index == len(self.plan.operations) - 1),
                r.busy.eq(1),
                *self._begin_walk(r, r.following, r.following_is),
                step.address.eq(r.following.base0),
                r.chunk.eq(0),
                r.group.eq(0),
                step.first_chunk.eq(1),
                step.last_chunk.eq(r.following_is.one_word),
                r.chunk_end.eq(r.following_is.one_chunk),
                r.group_end.eq(r.following_is.one_group),
                r.op_end.eq(r.following_is.only_step),
                step.weight.eq(r.following.weight),
                r.group_weight.eq(r.following.weight),
                r.changing.eq(1),
                step.valid.eq(~r.following_is.waits & ~(r.following_is.need & ~control.rows).any()),
            ]
        with m.Elif(control.group_done):
            m.d.sync += [r.busy.eq(0), step.valid.eq(0)]

    def _wait(self, m, r):
        """Cycles without a step: counted, then until the camera's rows are there."""
        step, run, control = self.step, self.step.valid, self.control
        with m.If(r.busy & ~run):
            with m.If(~r.count[-1]):
                m.d.sync += r.count.eq(r.count - 1)
            with m.Elif(r.inside | ~r.changing | ~(r.now_is.need & ~control.rows).any()):
                m.d.comb += r.resume.eq(1)
                m.d.sync += [step.valid.eq(1), r.inside.eq(0), r.changing.eq(0)]
        with m.If(r.counts):
            m.d.sync += r.count.eq(r.waits - 2)
        with m.If(run & ~r.begin_op):
            m.d.sync += r.changing.eq(0)


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
