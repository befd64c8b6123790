"""Walk sequencer: turns the row program into one multiply-accumulate step a cycle."""

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
        plan = self.plan
        lanes, head_lanes = plan.engine.lanes, plan.geometry.head_lanes
        step, run, control = self.step, self.step.valid, self.control
        fetch = WordFetch(m, plan, "walk", registered=plan.latency.registered)
        following, following_is = fetch.word, Signal(_facts_layout(self.needs), reset_less=True)
        now, now_is = Signal.like(following, name="now", reset_less=True), Signal.like(following_is)
        # The loop from the counters to the counters sets the clock. So all that is known of a word
        # or of a counter's next value is worked out beforehand, one bit each.
        facts = [
            following_is[name].eq(fact) for name, fact in _facts(fetch.ahead, self.needs).items()
        ]
        m.d["sync" if plan.latency.registered else "comb"] += facts

        busy = Signal()  # a row group is under way
        inside = Signal()  # the pause is inside a walk
        changing = Signal()  # the pause is before an operation's first walk
        # cycles until the next step, less two: negative in the last one
        waits = Signal(
            max(bits_for(f[n]) for f in plan.fields["walk"] for n in ("wait", "idle", "pause"))
        )
        count = Signal(signed(len(waits) + 1))
        counts = Signal()
        warm = Signal(range(WordFetch.CYCLES + 1))  # cycles since reset, until the word is there

        # counters of the present step, each with a bit that says that it is at its end
        row, second = Signal.like(now.rows), Signal()
        left = Signal(max(bits_for(f[n]) for f in plan.fields["walk"] for n in ("last0", "last1")))
        chunk, group = Signal.like(now.chunks), Signal.like(now.groups)
        tap_end, row_end, channel_end, chunk_end, group_end = (
            Signal(name=f"{n}_end") for n in ("tap", "row", "channel", "chunk", "group")
        )
        group_weight = Signal.like(step.weight)
        # ... and what these come to: the step is the last one of its segment, walk, operation
        segment_end, walk_end, op_end, wrap = (
            Signal(name=n) for n in ("segment_end", "walk_end", "op_end", "wrap")
        )
        last_op = Signal()
        m.d.comb += [
            wrap.eq(step.bank[-1] | (now.source != Source.SHARED)),
            step.last.eq(walk_end),
            step.source.eq(now.source),
            step.weights.eq(now.weights),
            step.one_tap.eq(now.one_tap),
            step.pad.eq(now.pad),
            step.tail.eq(now.tail),
            step.state.eq(Mux(second, 0, now.state0)),
            step.group.eq(group),
            step.head.eq(now.head),
            control.group_done.eq(run & op_end & last_op),
            control.group_first.eq(
                run & step.first & step.first_chunk & (group == 0) & (self.op == 0)
            ),
            control.release.eq(run & op_end & now_is.releases),
            control.released.eq(now.release),
        ]

        # the walk after this one, known two cycles after this one began
        next_chunk, next_group = Signal.like(chunk), Signal.like(group)
        m.d.sync += [
            next_chunk.eq(Mux(chunk_end, 0, chunk + 1)),
            next_group.eq(group + chunk_end),
        ]
        next_address = Signal.like(step.address)
        next_first, next_last, next_chunk_end, next_group_end = (
            Signal(name=f"next_{n}") for n in ("first", "last", "chunk_end", "group_end")
        )
        m.d.sync += [
            next_address.eq(now.base0 + next_chunk),
            next_first.eq(next_chunk == 0),
            next_last.eq(next_chunk == now.in_groups),
            next_chunk_end.eq(next_chunk == now.chunks),
            next_group_end.eq(next_group == now.groups),
        ]

        def begin_walk(word, word_is):
            """Set the counters to the first step of a walk, less what depends on the chunk."""
            return [
                step.first.eq(1),
                step.phase.eq(0),
                tap_end.eq(word.one_tap),
                row.eq(0),
                row_end.eq(word_is.one_row),
                second.eq(0),
                left.eq(word.last0),
                channel_end.eq(word_is.one_channel0),
                segment_end.eq(word_is.one_step0),
                walk_end.eq(word_is.one_step),
                step.inner.eq(0),
                step.inner_row.eq(0),
                step.bank.eq(C(1, lanes) << word.bank0),
                step.part.eq(0),
            ]

        # steps inside a walk
        part_end = Signal()
        m.d.comb += part_end.eq(
            (step.part == head_lanes - 1) | (now.source >= Source.SHARED) if head_lanes > 1 else 1
        )
        next_tap_end, next_row_end, next_channel_end, next_segment_end = (
            Signal(name=f"next_{n}_end") for n in ("tap", "row", "channel", "segment")
        )
        m.d.comb += [
            next_tap_end.eq(Mux(tap_end, now.one_tap, step.phase == 1)),
            next_row_end.eq(
                Mux(tap_end, Mux(row_end, now_is.one_row, row + 1 == now.rows), row_end)
            ),
            next_channel_end.eq(Mux(tap_end & row_end, left == 1, channel_end)),
            next_segment_end.eq(next_tap_end & next_row_end & next_channel_end),
        ]
        with m.If(run):
            m.d.sync += [
                step.first.eq(0),
                tap_end.eq(next_tap_end),
                row_end.eq(next_row_end),
                channel_end.eq(next_channel_end),
                segment_end.eq(next_segment_end),
                walk_end.eq(next_segment_end & (second | ~now.two)),
                op_end.eq(next_segment_end & (second | ~now.two) & chunk_end & group_end),
            ]
            # weights: a word holds head_lanes steps in head mode; a channel group's begin a new one
            if head_lanes > 1:
                m.d.sync += step.part.eq(Mux(part_end, 0, step.part + 1))
            with m.If(part_end):
                m.d.sync += step.weight.eq(step.weight + 1)
            with m.If(tap_end):
                m.d.sync += [
                    step.phase.eq(0),
                    row.eq(Mux(row_end, 0, row + 1)),
                    step.address.eq(
                        step.address + Mux(row_end, Mux(wrap, now.channel_step, 0), now.row_step)
                    ),
                ]
                with m.If(row_end):
                    m.d.sync += [
                        left.eq(left - 1),
                        step.inner.eq(step.inner + 1),
                        step.inner_row.eq(step.inner_row + wrap),
                        step.bank.eq(step.bank.rotate_left(1)),
                    ]
            with m.Else():
                m.d.sync += step.phase.eq(step.phase + 1)
            with m.If(segment_end & now.two & ~second):
                m.d.sync += [
                    second.eq(1),
                    left.eq(now.last1),
                    channel_end.eq(now_is.one_channel1),
                    segment_end.eq(now_is.one_step1),
                    walk_end.eq(now_is.one_step1),
                    op_end.eq(now_is.one_step1 & chunk_end & group_end),
                    step.address.eq(now.base1 + chunk),
                    step.bank.eq(C(1, lanes) << now.bank1),
                ]
                with m.If(now_is.pauses):
                    m.d.comb += [counts.eq(1), waits.eq(now.pause)]
                    m.d.sync += [step.valid.eq(0), inside.eq(1)]
            with m.If(walk_end):
                m.d.sync += step.weight.eq(Mux(chunk_end, step.weight + 1, group_weight))
                with m.If(chunk_end):
                    m.d.sync += group_weight.eq(step.weight + 1)
                with m.If(now_is.idles):
                    m.d.comb += [counts.eq(1), waits.eq(now.idle)]
                    m.d.sync += step.valid.eq(0)

        # the next walk of the operation
        begin_op, resume = Signal(), Signal()
        with m.If((run & walk_end & ~now_is.idles) | (resume & ~inside & ~changing)):
            m.d.sync += [
                *begin_walk(now, now_is),
                step.address.eq(next_address),
                chunk.eq(next_chunk),
                group.eq(next_group),
                step.first_chunk.eq(next_first),
                step.last_chunk.eq(next_last),
                chunk_end.eq(next_chunk_end),
                group_end.eq(next_group_end),
                op_end.eq(now_is.one_step & next_chunk_end & next_group_end),
            ]

        # the next operation
        m.d.comb += begin_op.eq(
            (run & op_end & (~last_op | control.again))
            | (~busy & control.more & (warm == WordFetch.CYCLES))
        )
        with m.If(warm != WordFetch.CYCLES):
            m.d.sync += warm.eq(warm + 1)
        with m.If(begin_op):
            m.d.comb += [fetch.take.eq(1), counts.eq(1), waits.eq(following.wait)]
            m.d.sync += [
                now.eq(following),
                now_is.eq(following_is),
                self.op.eq(fetch.index),
                last_op.eq(fetch.index == len(plan.operations) - 1),
                busy.eq(1),
                *begin_walk(following, following_is),
                step.address.eq(following.base0),
                chunk.eq(0),
                group.eq(0),
                step.first_chunk.eq(1),
                step.last_chunk.eq(following_is.one_word),
                chunk_end.eq(following_is.one_chunk),
                group_end.eq(following_is.one_group),
                op_end.eq(following_is.only_step),
                step.weight.eq(following.weight),
                group_weight.eq(following.weight),
                changing.eq(1),
                step.valid.eq(~following_is.waits & ~(following_is.need & ~control.rows).any()),
            ]
        with m.Elif(control.group_done):
            m.d.sync += [busy.eq(0), step.valid.eq(0)]

        with m.If(busy & ~run):
            with m.If(~count[-1]):
                m.d.sync += count.eq(count - 1)
            with m.Elif(inside | ~changing | ~(now_is.need & ~control.rows).any()):
                m.d.comb += resume.eq(1)
                m.d.sync += [step.valid.eq(1), inside.eq(0), changing.eq(0)]
        with m.If(counts):
            m.d.sync += count.eq(waits - 2)
        with m.If(run & ~begin_op):
            m.d.sync += changing.eq(0)
        return m


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
