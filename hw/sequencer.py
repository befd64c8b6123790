"""Walk sequencer: turns the row program into one multiply-accumulate step a cycle."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.common import WordFetch, word_layout
from hw.program import Plan, Source, bits_for


def step_layout(plan: Plan) -> data.StructLayout:
    """What a step says to the memories and to the array.

    Fields: `valid`; `source`, `weights` (enums of hw.program); `one_tap`; `phase` 0..2 of a
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
    more : in, there is a row group to go on with (looked at when idle and at a group's last step)
    rows : in 3 bits, rows 3, 4, 5 of the present group are in the line buffer
    group_done : out, this is the last step of a row group
    group_first : out, this is the first step of a row group
    released : out 3 bits, with `release`: rows of the group that will not be read again
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "step": Out(step_layout(plan)),
                "op": Out(range(len(plan.operations))),
                "more": In(1),
                "rows": In(3),
                "group_done": Out(1),
                "group_first": Out(1),
                "release": Out(1),
                "released": Out(3),
                "running": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan = self.plan
        lanes, head_lanes = plan.engine.lanes, plan.geometry.head_lanes
        fetch = WordFetch(m, plan, "walk")
        following = fetch.word
        now = Signal(word_layout(plan, "walk"), reset_less=True)
        step = self.step
        count = Signal(
            max(bits_for(f[n]) for f in plan.fields["walk"] for n in ("wait", "idle", "pause"))
        )
        warm = Signal(range(WordFetch.CYCLES + 1))  # cycles since reset, until the word is there

        busy = Signal()  # a row group is under way
        inside = Signal()  # the pause is inside a walk
        changing = Signal()  # the pause is before an operation's first walk
        run = step.valid
        m.d.comb += self.running.eq(busy)

        # counters of the present step
        tap, row = Signal(2), Signal.like(now.rows)
        left = Signal(max(bits_for(f[n]) for f in plan.fields["walk"] for n in ("last0", "last1")))
        second = Signal()
        chunk, group = Signal.like(now.chunks), Signal.like(now.groups)
        group_weight = Signal.like(step.weight)
        wrap = Signal()

        last_tap, last_row, last_channel, last_segment = (
            Signal(name=f"last_{n}") for n in ("tap", "row", "channel", "segment")
        )
        last_chunk, last_group, walk_end, op_end = (
            Signal(name=n) for n in ("last_chunk", "last_group", "walk_end", "op_end")
        )
        m.d.comb += [
            last_tap.eq(now.one_tap | (tap == 2)),
            last_row.eq(row == now.rows),
            last_channel.eq(left == 0),
            last_segment.eq(~now.two | second),
            walk_end.eq(last_tap & last_row & last_channel & last_segment),
            last_chunk.eq(chunk == now.chunks),
            last_group.eq(group == now.groups),
            op_end.eq(run & walk_end & last_chunk & last_group),
            wrap.eq(step.bank[-1] | (now.source != Source.SHARED)),
            step.last.eq(walk_end),
            step.phase.eq(tap),
            step.source.eq(now.source),
            step.weights.eq(now.weights),
            step.one_tap.eq(now.one_tap),
            step.pad.eq(now.pad),
            step.tail.eq(now.tail),
            step.first_chunk.eq(chunk == 0),
            step.last_chunk.eq(chunk == now.in_groups),
            step.state.eq(Mux(second, 0, now.state0)),
            step.group.eq(group),
            step.head.eq(now.head),
        ]
        last_op = len(plan.operations) - 1
        m.d.comb += [
            self.group_done.eq(op_end & (self.op == last_op)),
            self.group_first.eq(run & step.first & (chunk == 0) & (group == 0) & (self.op == 0)),
            self.release.eq(op_end & (now.release != 0)),
            self.released.eq(now.release),
        ]

        def begin_walk(word, first, chunk_index):
            """Set the counters to the first step of a walk."""
            return [
                step.valid.eq(1),
                step.first.eq(1),
                tap.eq(0),
                row.eq(0),
                second.eq(0),
                left.eq(word.last0),
                step.inner.eq(0),
                step.inner_row.eq(0),
                step.address.eq(word.base0 + chunk_index),
                step.bank.eq(C(1, lanes) << word.bank0),
                step.part.eq(0),
            ]

        # rows that the operation waits for
        def rows_ok(word):
            return (word.need == 0) | Cat(self.rows).bit_select((word.need - 3)[:2], 1)

        with m.If(run):
            m.d.sync += step.first.eq(0)
            # weights: a word holds head_lanes steps in head mode
            if head_lanes > 1:
                part_end = Signal()
                m.d.comb += part_end.eq(
                    (step.part == head_lanes - 1) | (now.source >= Source.SHARED)
                )
                m.d.sync += step.part.eq(Mux(part_end, 0, step.part + 1))
            else:
                part_end = 1
            with m.If(part_end):
                m.d.sync += step.weight.eq(step.weight + 1)
            with m.If(~last_tap):
                m.d.sync += tap.eq(tap + 1)
            with m.Else():
                m.d.sync += tap.eq(0)
                with m.If(~last_row):
                    m.d.sync += [row.eq(row + 1), step.address.eq(step.address + now.row_step)]
                with m.Else():
                    m.d.sync += [
                        row.eq(0),
                        left.eq(left - 1),
                        step.inner.eq(step.inner + 1),
                        step.bank.eq(step.bank.rotate_left(1)),
                    ]
                    with m.If(wrap):
                        m.d.sync += [
                            step.address.eq(step.address + now.channel_step),
                            step.inner_row.eq(step.inner_row + 1),
                        ]
            with m.If(last_tap & last_row & last_channel & ~last_segment):
                m.d.sync += [
                    second.eq(1),
                    left.eq(now.last1),
                    step.address.eq(now.base1 + chunk),
                    step.bank.eq(C(1, lanes) << now.bank1),
                ]
                with m.If(now.pause != 0):
                    m.d.sync += [step.valid.eq(0), inside.eq(1), count.eq(now.pause)]
            with m.If(walk_end):
                m.d.sync += begin_walk(now, True, Mux(last_chunk, 0, chunk + 1))
                m.d.sync += chunk.eq(Mux(last_chunk, 0, chunk + 1))
                with m.If(~last_chunk):
                    m.d.sync += step.weight.eq(group_weight)
                with m.Else():
                    # a channel group's weights begin a new word
                    m.d.sync += [
                        group.eq(group + 1),
                        step.weight.eq(step.weight + 1),
                        group_weight.eq(step.weight + 1),
                    ]
                with m.If(now.idle != 0):
                    m.d.sync += [step.valid.eq(0), count.eq(now.idle)]

        begin_op = Signal()
        m.d.comb += begin_op.eq(
            (op_end & (~self.group_done | self.more))
            | (~busy & self.more & (warm == WordFetch.CYCLES))
        )
        with m.If(warm != WordFetch.CYCLES):
            m.d.sync += warm.eq(warm + 1)
        with m.If(begin_op):
            m.d.comb += fetch.take.eq(1)
            m.d.sync += [
                now.eq(following),
                self.op.eq(fetch.index),
                busy.eq(1),
                chunk.eq(0),
                group.eq(0),
                *begin_walk(following, True, 0),
                step.weight.eq(following.weight),
                group_weight.eq(following.weight),
                changing.eq(1),
                count.eq(following.wait),
            ]
            with m.If((following.wait != 0) | ~rows_ok(following)):
                m.d.sync += step.valid.eq(0)
        with m.Elif(self.group_done):
            m.d.sync += [busy.eq(0), step.valid.eq(0)]

        with m.If(busy & ~run):
            with m.If(count > 1):
                m.d.sync += count.eq(count - 1)
            with m.Elif(inside | ~changing | rows_ok(now)):
                m.d.sync += [step.valid.eq(1), inside.eq(0), changing.eq(0)]
        with m.If(run & ~begin_op):
            m.d.sync += changing.eq(0)
        return m

    @property
    def latency(self) -> int:
        """Cycles from a step to the transfer of its sums."""
        return timing.TRANSFER
