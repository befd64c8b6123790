"""Walk sequencer: turns the row program into one multiply-accumulate step a cycle."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import WordFetch, word_layout
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
    **dict.fromkeys(("one_step0", "one_step1", "one_step"), 1),
    **dict.fromkeys(("two_rows", "two_channels0", "two_channels1"), 1),
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
        "two_rows": word.rows == 1,
        "two_channels0": word.last0 == 1,
        "two_channels1": word.last1 == 1,
        "one_channel0": word.last0 == 0,
        "one_channel1": word.last1 == 0,
        "one_chunk": word.chunks == 0,
        "one_group": word.groups == 0,
        "one_word": word.in_groups == 0,
        # segments and walks of a single step
        "one_step0": word.one_tap & (word.rows == 0) & (word.last0 == 0),
        "one_step1": word.one_tap & (word.rows == 0) & (word.last1 == 0),
        "one_step": word.one_tap & (word.rows == 0) & (word.last0 == 0) & ~word.two,
    }


class Taps(wiring.Component):
    """Counters inside a walk: segment, input channel, kernel row, tap.

    The loop from these counters to themselves sets the clock. So each has a bit that says that it
    is at its end, worked out a cycle before, from one that says that it is the step before.

    Ports
    -----
    run : In(1)
        There is a step in this cycle; the counters go on after it.
    word : In(walk word), facts : In(_facts_layout)
        Of the operation under way.
    chunk : In(of the walk word's `chunks`)
        Chunk of the walk.
    last_walk : In(1)
        The walk is the operation's last one.
    begin : In(1)
        The next step, if there is one, is the first one of a walk, of which the following speak.
    moves : In(1)
        `run` or `begin`; apart, as there is a shorter way to know.
    begin_word : In(walk word), begin_facts : In(_facts_layout), with `begin`
        Of its operation.
    begin_address : In(of the step's `address`), with `begin`
        Of its first word.
    first, last : Out(1)
        The step is the first, the last one of its walk.
    op_end : Out(1)
        ... the last one of its operation.
    second : Out(1)
        It reads the second segment.
    phase, address, bank, inner, inner_row, part : Out(of the same field of the step)
        Fields of `step_layout`.
    part_end : Out(1)
        The next step takes another word of weights.
    between : Out(1)
        The step is the last one of a walk's first segment.
    """

    def __init__(self, plan: Plan, needs):
        self.plan = plan
        step, word, facts = step_layout(plan), word_layout(plan, "walk"), _facts_layout(needs)
        self.left_bits = max(
            bits_for(f[n]) for f in plan.fields["walk"] for n in ("last0", "last1")
        )
        ends = dict.fromkeys(("first", "last", "op_end", "second", "part_end", "between"), Out(1))
        fields = ("phase", "address", "bank", "inner", "inner_row", "part")
        super().__init__(
            {
                "run": In(1),
                "word": In(word),
                "facts": In(facts),
                "chunk": In(word["chunks"].shape),
                "last_walk": In(1),
                "begin": In(1),
                "moves": In(1),
                "begin_word": In(word),
                "begin_facts": In(facts),
                "begin_address": In(step["address"].shape),
                **ends,
                **{name: Out(step[name].shape) for name in fields},
            }
        )

    def elaborate(self, platform):
        m = Module()
        word, facts = self.word, self.facts
        head_lanes = self.plan.geometry.head_lanes
        row, left = Signal.like(word.rows), Signal(self.left_bits)
        tap_end, row_end, channel_end = (Signal(name=f"{n}_end") for n in ("tap", "row", "channel"))
        next_tap_end, next_row_end, next_channel_end, next_segment_end = (
            Signal(name=f"next_{n}_end") for n in ("tap", "row", "channel", "segment")
        )
        row_near, left_near = Signal(), Signal()  # one more row, channel to go
        # held ready, as much hangs on them: tap_end & row_end; the port of that name; the segment
        # is the walk's last one
        kernel_end, between, last_segment = Signal(), Signal(), Signal()
        wrap = Signal()
        m.d.comb += [
            wrap.eq(self.bank[-1] | (word.source != Source.SHARED)),
            self.between.eq(between),
            self.op_end.eq(self.last & self.last_walk),
            self.part_end.eq(
                (self.part == head_lanes - 1) | (word.source >= Source.SHARED)
                if head_lanes > 1
                else 1
            ),
            next_tap_end.eq(Mux(tap_end, word.one_tap, self.phase[0])),  # of three
            next_row_end.eq(Mux(tap_end, Mux(row_end, facts.one_row, row_near), row_end)),
            next_channel_end.eq(Mux(kernel_end, left_near, channel_end)),
            next_segment_end.eq(next_tap_end & next_row_end & next_channel_end),
        ]
        with m.If(self.moves):
            m.d.sync += [
                self.first.eq(0),
                tap_end.eq(next_tap_end),
                row_end.eq(next_row_end),
                channel_end.eq(next_channel_end),
                kernel_end.eq(next_tap_end & next_row_end),
                between.eq(next_segment_end & ~last_segment),
                self.last.eq(next_segment_end & last_segment),
            ]
            if head_lanes > 1:
                m.d.sync += self.part.eq(Mux(self.part_end, 0, self.part + 1))
            # one choice behind the sum
            elsewhere = Mux(self.begin, self.begin_address, word.base1 + self.chunk)
            to_next = Mux(row_end, Mux(wrap, word.channel_step, 0), word.row_step)
            with m.If(tap_end | self.between | self.begin):
                m.d.sync += self.address.eq(
                    Mux(self.between | self.begin, elsewhere, self.address + to_next)
                )
            with m.If(tap_end):
                m.d.sync += [
                    self.phase.eq(0),
                    row.eq(Mux(row_end, 0, row + 1)),
                    row_near.eq(Mux(row_end, facts.two_rows, row + 2 == word.rows)),
                ]
            with m.Else():
                m.d.sync += self.phase.eq(self.phase + 1)
            with m.If(kernel_end):
                m.d.sync += [
                    left.eq(left - 1),
                    left_near.eq(left == 2),
                    self.inner.eq(self.inner + 1),
                    self.inner_row.eq(self.inner_row + wrap),
                    self.bank.eq(self.bank.rotate_left(1)),
                ]
            with m.If(between):
                m.d.sync += [
                    between.eq(0),
                    last_segment.eq(1),
                    self.second.eq(1),
                    left.eq(word.last1),
                    left_near.eq(facts.two_channels1),
                    channel_end.eq(facts.one_channel1),
                    self.last.eq(facts.one_step1),
                    self.bank.eq(C(1, len(self.bank)) << word.bank1),
                ]
            with m.If(self.begin):
                m.d.sync += [
                    self.first.eq(1),
                    self.phase.eq(0),
                    tap_end.eq(self.begin_word.one_tap),
                    row.eq(0),
                    row_near.eq(self.begin_facts.two_rows),
                    row_end.eq(self.begin_facts.one_row),
                    self.second.eq(0),
                    left.eq(self.begin_word.last0),
                    left_near.eq(self.begin_facts.two_channels0),
                    channel_end.eq(self.begin_facts.one_channel0),
                    kernel_end.eq(self.begin_word.one_tap & self.begin_facts.one_row),
                    between.eq(self.begin_facts.one_step0 & self.begin_word.two),
                    last_segment.eq(~self.begin_word.two),
                    self.last.eq(self.begin_facts.one_step),
                    self.inner.eq(0),
                    self.inner_row.eq(0),
                    self.bank.eq(C(1, len(self.bank)) << self.begin_word.bank0),
                    self.part.eq(0),
                ]
        return m


class Walks(wiring.Component):
    """Output channel group and chunk of the walk under way, and of the one after it.

    The next walk is known two cycles after this one began.

    Ports
    -----
    word : In(walk word)
        Of the operation under way.
    advance : In(1), pulse
        The next walk of the operation begins with the next step.
    begin : In(1)
        If another operation does: the next walk is its first one.
    begin_facts : In(_facts_layout), with `begin`
        Of that operation.
    chunk, group : Out(of the walk word's `chunks` and `groups`)
        Of the walk under way.
    first, last : Out(1)
        No word to the left of the chunk, to the right.
    chunk_end : Out(1)
        Of the operation's chunks it is the last one.
    is_last : Out(1)
        The walk is the operation's last one.
    next_address : Out(of the step's `address`)
        First word of the next walk.
    """

    def __init__(self, plan: Plan, needs):
        step, word = step_layout(plan), word_layout(plan, "walk")
        ends = ("first", "last", "chunk_end", "is_last")
        super().__init__(
            {
                "word": In(word),
                "advance": In(1),
                "begin": In(1),
                "begin_facts": In(_facts_layout(needs)),
                "chunk": Out(word["chunks"].shape),
                "group": Out(word["groups"].shape),
                **dict.fromkeys(ends, Out(1)),
                "next_address": Out(step["address"].shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        chunk, group = Signal.like(self.chunk, name="next_chunk"), Signal.like(self.group)
        first, last, chunk_end, group_end = (
            Signal(name=f"next_{n}") for n in ("first", "last", "chunk_end", "group_end")
        )
        m.d.sync += [
            chunk.eq(Mux(self.chunk_end, 0, self.chunk + 1)),
            group.eq(self.group + self.chunk_end),
            self.next_address.eq(self.word.base0 + chunk),
            first.eq(chunk == 0),
            last.eq(chunk == self.word.in_groups),
            chunk_end.eq(chunk == self.word.chunks),
            group_end.eq(group == self.word.groups),
        ]
        with m.If(self.advance):
            m.d.sync += [
                self.chunk.eq(chunk),
                self.group.eq(group),
                self.first.eq(first),
                self.last.eq(last),
                self.chunk_end.eq(chunk_end),
                self.is_last.eq(chunk_end & group_end),
            ]
        with m.If(self.begin):
            m.d.sync += [
                self.chunk.eq(0),
                self.group.eq(0),
                self.first.eq(1),
                self.last.eq(self.begin_facts.one_word),
                self.chunk_end.eq(self.begin_facts.one_chunk),
                self.is_last.eq(self.begin_facts.one_chunk & self.begin_facts.one_group),
            ]
        return m


class Pause(wiring.Component):
    """Counts the cycles between two steps.

    Ports
    -----
    load : In(1), pulse
        A pause begins with the next cycle.
    cycles : In(signed, holds the longest), with `load`
        Of the pause, less two.
    counting : In(1)
        There is no step in this cycle.
    hold : In(1)
        The pause lasts as long as this does, too.
    ends : Out(1)
        It is the last cycle of the pause, if nothing holds it.
    resume : Out(1)
        ... and nothing does.
    """

    def __init__(self, plan: Plan):
        longest = max(f[n] for f in plan.fields["walk"] for n in ("wait", "idle", "pause"))
        super().__init__(
            {
                "load": In(1),
                "cycles": In(signed(bits_for(longest) + 1)),
                "counting": In(1),
                "hold": In(1),
                "ends": Out(1),
                "resume": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = Signal.like(self.cycles)  # negative in the last cycle
        m.d.comb += [
            self.ends.eq(self.counting & count[-1]),
            self.resume.eq(self.ends & ~self.hold),
        ]
        with m.If(self.counting & ~count[-1]):
            m.d.sync += count.eq(count - 1)
        with m.If(self.load):
            m.d.sync += count.eq(self.cycles)
        return m


class WalkSequencer(wiring.Component):
    """Runs the walk words of the row program, one step a cycle, with no cycle lost in between.

    Loops, outermost first: operation (here), output channel group and chunk (`Walks`), segment,
    input channel, kernel row, tap (`Taps`). An operation begins `wait` cycles after the one before
    it ended and not before its camera rows are there; `idle` cycles separate its walks, `pause`
    the two segments of a walk (`Pause`).

    Ports
    -----
    step : Out(step_layout(plan))
        What is multiplied in this cycle, if it is `valid`.
    op : Out(range(operations))
        The operation that the step belongs to.
    control : In(WalkControl(needs, k))

    Attributes
    ----------
    standing : Signal
        It waits for camera rows or for a row group, and would not move with the clock's next edge
        (but for what settles in a few cycles). Only driven where the plan's engine sleeps.
    """

    latency = 1
    """`rows` -> the first step that they let begin."""

    def __init__(self, plan: Plan):
        self.plan, self.needs = plan, needed_rows(plan)
        self.taps, self.walks = Taps(plan, self.needs), Walks(plan, self.needs)
        self.pause = Pause(plan)
        super().__init__(
            {
                "step": Out(step_layout(plan)),
                "op": Out(range(len(plan.operations))),
                "control": In(WalkControl(self.needs, plan.model.rows_per_group)),
            }
        )
        self.standing = Signal()

    def elaborate(self, platform):
        m = Module()
        last_index = len(self.plan.operations) - 1
        step, run, control = self.step, self.step.valid, self.control
        taps, walks, pause = self.taps, self.walks, self.pause
        m.submodules.taps, m.submodules.walks, m.submodules.pause = taps, walks, pause
        fetch, following_is, following_pause = self._fetch(m)
        following = fetch.word
        now, now_is = Signal.like(following, name="now", reset_less=True), Signal.like(following_is)
        now_pause = Signal.like(following_pause, name="now_pause")

        busy = Signal()  # a row group is under way
        inside = Signal()  # the pause is inside a walk
        changing = Signal()  # the pause is before an operation's first walk
        held = Signal()  # between steps: busy & (inside | changing), as much hangs on it
        # cycles since reset, until the word is there: the last one stays
        warm = Signal(WordFetch.CYCLES)
        m.d.sync += warm.eq(Cat(1, warm))
        last_op = Signal()
        begin_op, advance = Signal(), Signal()
        # Whether an operation begins hangs on much. What nobody looks at before there is a step is
        # set as soon as it may begin, and again until it does, for a walk after a pause as well.
        may_begin = Signal()
        m.d.comb += [
            control.group_done.eq(run & taps.op_end & last_op),
            control.group_first.eq(
                run & taps.first & walks.first & ~walks.group.any() & ~self.op.any()
            ),
            control.release.eq(run & taps.op_end & now_is.releases),
            control.released.eq(now.release),
            begin_op.eq(
                (run & taps.op_end & (~last_op | control.again)) | (~busy & control.more & warm[-1])
            ),
            may_begin.eq(Mux(run, taps.op_end, ~busy)),
            # only an operation's first walk is held
            advance.eq((run & taps.last & ~now_is.idles) | (pause.ends & ~inside & ~changing)),
            walks.word.eq(now),
            walks.advance.eq(advance),
            walks.begin.eq(may_begin),
            walks.begin_facts.eq(following_is),
            taps.run.eq(run),
            taps.word.eq(now),
            taps.facts.eq(now_is),
            taps.chunk.eq(walks.chunk),
            taps.last_walk.eq(walks.is_last),
            taps.begin.eq(Mux(run, taps.last, ~held)),
            taps.moves.eq(run | ~held),
            taps.begin_word.eq(Mux(may_begin, following.as_value(), now.as_value())),
            taps.begin_facts.eq(Mux(may_begin, following_is.as_value(), now_is.as_value())),
            taps.begin_address.eq(Mux(may_begin, following.base0, walks.next_address)),
        ]
        self._say(m, now)
        self._weight(m, may_begin, following)

        # one of these begins with a step's cycle, an operation's wait instead of a walk's idle
        with m.If(run & taps.between & now_is.pauses):
            m.d.comb += [pause.load.eq(1), pause.cycles.eq(now_pause.pause)]
            m.d.sync += [step.valid.eq(0), inside.eq(1)]
        with m.If(run & taps.last & now_is.idles):
            m.d.comb += [pause.load.eq(1), pause.cycles.eq(now_pause.idle)]
            m.d.sync += step.valid.eq(0)
        with m.If(may_begin):
            m.d.comb += [pause.load.eq(1), pause.cycles.eq(following_pause.wait)]
            m.d.sync += [
                now.eq(following),
                now_is.eq(following_is),
                now_pause.eq(following_pause),
            ]
        with m.If(begin_op):
            m.d.comb += fetch.take.eq(1)
            m.d.sync += [
                self.op.eq(fetch.index),
                last_op.eq(fetch.index == last_index),
                busy.eq(1),
                changing.eq(1),
                held.eq(1),
                step.valid.eq(~following_is.waits & ~(following_is.need & ~control.rows).any()),
            ]
        with m.Elif(control.group_done):
            m.d.sync += [busy.eq(0), step.valid.eq(0)]

        rows_missing = (now_is.need & ~control.rows).any()
        m.d.comb += [
            pause.counting.eq(busy & ~run),
            pause.hold.eq(~inside & changing & rows_missing),
        ]
        if self.plan.engine.sleep:
            waits = Mux(busy, pause.ends & pause.hold, ~control.more)
            m.d.comb += self.standing.eq(warm[-1] & ~run & waits)
        with m.If(pause.resume):
            m.d.sync += [step.valid.eq(1), inside.eq(0), changing.eq(0), held.eq(0)]
        with m.If(run & ~begin_op):
            m.d.sync += [changing.eq(0), held.eq(taps.between & now_is.pauses)]
        return m

    def _fetch(self, m):
        """The next operation's word; what is asked of it; its pauses, counted as `Pause` does."""
        registered = self.plan.latency.registered
        fetch = WordFetch(m, self.plan, "walk", registered=registered)
        facts = Signal(_facts_layout(self.needs), name="following_is", reset_less=True)
        cycles = self.pause.cycles.shape()
        layout = data.StructLayout(dict.fromkeys(("wait", "idle", "pause"), cycles))
        pauses = Signal(layout, name="following_pause", reset_less=True)
        # a cycle after a word that has no register
        m.d.sync += [
            *[facts[name].eq(fact) for name, fact in _facts(fetch.ahead, self.needs).items()],
            *[pauses[name].eq(fetch.ahead[name] - 2) for name in layout.members],
        ]
        return fetch, facts, pauses

    def _say(self, m, now):
        """The step's fields but `valid` and `weight`."""
        step, taps, walks = self.step, self.taps, self.walks
        for name in ("phase", "address", "bank", "inner", "inner_row", "part", "first", "last"):
            m.d.comb += step[name].eq(getattr(taps, name))
        for name in ("source", "weights", "one_tap", "pad", "tail", "head"):
            m.d.comb += step[name].eq(now[name])
        m.d.comb += [
            step.state.eq(Mux(taps.second, 0, now.state0)),
            step.group.eq(walks.group),
            step.first_chunk.eq(walks.first),
            step.last_chunk.eq(walks.last),
        ]

    def _weight(self, m, may_begin, following):
        """Weights are read in order; each chunk of a channel group begins at the group's first."""
        step, taps, walks, run = self.step, self.taps, self.walks, self.step.valid
        group_weight = Signal.like(step.weight)
        with m.If(run & taps.part_end):
            m.d.sync += step.weight.eq(step.weight + 1)
        with m.If(run & taps.last):
            m.d.sync += step.weight.eq(Mux(walks.chunk_end, step.weight + 1, group_weight))
            with m.If(walks.chunk_end):
                m.d.sync += group_weight.eq(step.weight + 1)
        with m.If(may_begin):
            m.d.sync += [step.weight.eq(following.weight), group_weight.eq(following.weight)]


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
