"""Row engine: the blocks put together, and the frames that run through them."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.weights import Weights as NetworkWeights
from hw import image
from hw.common import NO_COLLISION, delay
from hw.line_buffer import LineBuffer, Status
from hw.loader import Loader, image_bytes, image_digest
from hw.parallel.channel_unit import ChannelUnit
from hw.parallel.classifier import Classifier
from hw.parallel.head_lane import HeadLane
from hw.parallel.maps import Maps
from hw.parallel.operands import Operands
from hw.parallel.softmax import Softmax
from hw.parallel.store import Store
from hw.parallel.unit_control import UnitControl
from hw.parallel.window import Windows
from hw.plan import Plan, Source, Weights
from hw.plan.latency import PARALLEL
from hw.plan.memory import FAULT_QUEUE, STATUS_BITS
from hw.sequencer import WalkSequencer
from hw.weight_sram import WeightSram


class StateCopy(wiring.Component):
    """A second copy of the state, read as the weights of S = H^T K (spatial attention only).

    The maps' banks are busy with K in the same cycles.

    Ports
    -----
    write_en : in, L bits; address, data : in, like Maps's; address 0 is channel 0's
    read_en, bank, row : in, channel `row * L + bank` (bank one-hot), one cycle before the address
        register
    word : out, `PARALLEL.memory` after the address register
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.lanes, self.word_bits = plan.engine.lanes, 8 * plan.engine.pixels
        self.depth = plan.state.words
        super().__init__(
            {
                "write_en": In(self.lanes),
                "address": In(range(self.depth)),
                "data": In(data.ArrayLayout(self.word_bits, self.lanes)),
                "read_en": In(1),
                "bank": In(self.lanes),
                "row": In(range(self.depth)),
                "word": Out(self.word_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row = Signal.like(self.row, reset_less=True)
        m.d.sync += row.eq(self.row)
        bank = delay(m, self.bank, 1 + PARALLEL.memory - 1, "bank", reset_less=True)
        chosen = 0
        for b in range(self.lanes):
            memory = m.submodules[f"bank{b}"] = Memory(
                shape=self.word_bits, depth=self.depth, init=[], attrs=NO_COLLISION
            )
            write, read = memory.write_port(), memory.read_port()
            enable = Signal(name=f"read_enable{b}")
            m.d.sync += enable.eq(self.read_en & self.bank[b])
            m.d.comb += [
                read.addr.eq(row),
                read.en.eq(enable),
                write.en.eq(self.write_en[b]),
                write.addr.eq(self.address),
                write.data.eq(self.data[b]),
            ]
            chosen = chosen | Mux(bank[b], read.data, 0)
        m.d.sync += self.word.eq(chosen)
        return m


class RowEngine(wiring.Component):
    """RaScaNet, a row group at a time.

    ::

                    ┌──────────────────────────────── Maps ◄───────────────────────────┐
        pixels ─► LineBuffer ─► Windows ─► HeadLane x L ─► ChannelUnit x C*L ─► Store ─┘
                    ▲              ▲           ▲ weights      ▲ constants, operands │
                 WalkSequencer ────┴───────────┘       UnitControl, Operands        ▼
                    └── transfer ──────────────────────────► (follows)          Classifier

    Frames: a frame begins when the line buffer has one waiting and the walk sequencer is free, so
    that it follows the one before without a gap. After each row group the classifier gives the
    logits (`row_valid`); after the last group that was worked on, the decision.

    Early termination (Sec. 3.5): at `logit1 - logit0 >= stop_threshold` the frame ends with
    "person"; work on the next group that has begun is dropped, the state stays as it was. At
    `<= skip_threshold` the next group is left out.

    Bit-exact model: golden.model.IntegerModel.

    Ports: see hw.top.Rasca, whose ports these are, less the loader's.
    """

    def __init__(self, plan: Plan, weights: NetworkWeights):
        self.plan = plan
        self.sections = image.sections(plan)
        self.words = image.memory_words(plan, weights)
        # what the memories hold at power-up
        full = plan.engine.weight_memory == "initialised"
        self._blocks(weights, self.words if full else dict.fromkeys(self.words))
        self.digest = image_digest(self.sections, image.flat_words(plan, self.words))
        self.loader = Loader(sections=self.sections, digest=self.digest if full else None)
        super().__init__(
            {
                "pixel_valid": In(1),
                "pixel_red": In(8),
                "pixel_green": In(8),
                "pixel_blue": In(8),
                "pixel_sof": In(1),
                "pixel_eol": In(1),
                "frame_end": In(1),
                "stop_enable": In(1),
                "stop_threshold": In(signed(32)),
                "skip_enable": In(1),
                "skip_threshold": In(signed(32)),
                "row_valid": Out(1),
                "row_group": Out(16),
                "row_logit0": Out(signed(32)),
                "row_logit1": Out(signed(32)),
                "decision_valid": Out(1),
                "decision_person": Out(1),
                "decision_logit0": Out(signed(32)),
                "decision_logit1": Out(signed(32)),
                "decision_rows_used": Out(16),
                "decision_status": Out(Status),
                "count_overrun": Out(16),
                "count_truncated": Out(16),
                "count_line": Out(16),
                "count_restart": Out(16),
                "count_dropped": Out(16),
                "busy": Out(1),
                "state_read": In(1),
                "state_channel": In(16),
                "state_word": In(16),
                "state_valid": Out(1),
                "state_data": Out(8 * plan.engine.pixels),
                "load_valid": In(1),
                "load_data": In(8),
                "load_last": In(1),
                "load_ready": Out(1),
                "load_error": Out(1),
                "weights_digest": Out(32),
                "frame_start": Out(1),
            }
        )

    def _blocks(self, weights: NetworkWeights, first: dict) -> None:
        """Makes the blocks; `first`: what their memories hold at power-up."""
        plan, model = self.plan, self.plan.model
        spatial = model.spatial_attention != "none"
        self.lines = LineBuffer(plan)
        self.sequencer = WalkSequencer(plan)
        self.windows = Windows(plan)
        self.maps = Maps(plan)
        self.drain = UnitControl(plan, first["constants"] or ())
        self.operands = Operands(plan)
        self.store = Store(plan)
        self.units = [
            ChannelUnit(
                acc_bits=model.acc_bits,
                knots=weights.knots.tolist(),
                signed_features=spatial,
                spatial=spatial,
                cells=plan.engine.cells,
            )
            for _ in range(plan.engine.units)
        ]
        g = plan.geometry
        pair = g.head_lanes > 1 and plan.engine.pixels % 2 == 1
        self.lanes = [
            HeadLane(
                pixels=plan.engine.pixels,
                channels=plan.engine.channels,
                acc_bits=model.acc_bits,
                shares_pair=pair and lane % 2 == 0,
                cells=plan.engine.cells,
                dsps=plan.engine.lane_dsps(lane),
            )
            for lane in range(plan.engine.lanes)
        ]
        self.classifier = Classifier(
            channels=model.state_channels,
            hidden=model.classifier_hidden,
            columns=model.n,
            bias_bits=image.CLASSIFIER_BIAS_BITS,
            weights=first["classifier_weights"],
            constants=first["classifier_constants"],
        )
        self.attention = (
            Softmax(
                heads=model.heads,
                columns=model.n,
                pixels=plan.engine.pixels,
                banded=model.spatial_attention == "banded",
                exp_table=self.words["exp_table"],
            )
            if spatial
            else None
        )
        self.weights = WeightSram(
            depth=plan.weight_words,
            bits=8 * plan.engine.units,
            init=first["weights"] or (),
            cells=plan.engine.cells,
        )

    def elaborate(self, platform):
        m = Module()
        abort = Signal()
        # A register, because it goes everywhere: what comes out of the pipeline meanwhile is
        # ignored. The first walk's constants are read when the pipeline leaves its reset.
        idle_reset = Signal()
        m.d.sync += idle_reset.eq(abort | ~self.loader.loaded)
        m.submodules.lines = self.lines
        m.submodules.maps = self.maps
        for name in ("windows", "sequencer", "drain", "operands", "store"):
            m.submodules[name] = ResetInserter({"sync": idle_reset})(getattr(self, name))
        m.submodules.classifier = self.classifier
        m.submodules.loader = self.loader
        for lane, block in enumerate(self.lanes):
            m.submodules[f"lane{lane}"] = block
        for u, block in enumerate(self.units):
            m.submodules[f"unit{u}"] = block
        if self.attention is not None:
            m.submodules.attention = self.attention
        first_group = Signal()
        self._frames(m, abort, idle_reset, first_group)
        self._array(m, idle_reset, first_group)
        self._host(m)
        return m

    # ---- frames, row groups, early termination ----

    def _frames(self, m, abort, idle_reset, first_group):
        plan, lines, sequencer = self.plan, self.lines, self.sequencer
        store, classifier = self.store, self.classifier
        row_groups = plan.model.row_groups
        walking = Signal()  # the walk sequencer is on a frame
        group = Signal(range(row_groups + 2))
        base_row = Signal(range(5 * row_groups + 11))
        used = Signal(range(row_groups + 1))
        # the row group whose state and logits come next
        ended_group, ended_used, ended_last = Signal.like(group), Signal.like(used), Signal()
        tail = Signal()  # its last walks are still being drained
        answering = Signal()  # ... or its classifier runs
        last_group = Signal()  # long known when the group ends
        take, drop = Signal(), Signal()
        loaded = self.loader.loaded & ~self.loader.load_valid
        m.d.sync += last_group.eq(group == row_groups - 1)

        # a frame that went wrong is dropped once the one before it is through
        dropping = Signal()
        m.d.comb += drop.eq(dropping & ~tail)

        group_done, state_done = Signal(), Signal()
        m.d.comb += [
            group_done.eq(sequencer.group_done & ~idle_reset),
            state_done.eq(store.state_done & ~idle_reset),
        ]
        # the sequencer stops between frames, so that it does not hang on what the camera does
        m.d.comb += take.eq(lines.waiting & ~walking)
        m.d.comb += [
            # an abort resets the sequencer, whatever it is told
            sequencer.more.eq(walking & ~dropping),
            sequencer.again.eq(~last_group & ~dropping),
            first_group.eq(group == 0),
            self.frame_start.eq(sequencer.group_first & first_group & ~idle_reset),
            self.busy.eq(walking | answering | lines.receiving | lines.waiting),
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
                base_row.eq(base_row + 5),
            ]
            with m.If(last_group):
                m.d.sync += walking.eq(0)
        with m.If(take):
            m.d.sync += [walking.eq(1), group.eq(0), base_row.eq(0), used.eq(0)]
        with m.If(state_done):
            m.d.sync += tail.eq(0)
        m.d.comb += lines.done.eq((group_done & last_group) | drop)

        # camera rows
        ahead = Signal(signed(len(base_row) + 1), reset_less=True)
        m.d.sync += ahead.eq(Mux(lines.current, lines.rows - base_row, 5))
        for i in range(3):
            m.d.sync += sequencer.rows[i].eq(ahead >= 3 + i)
        m.d.sync += lines.enable.eq(loaded)
        released = Signal(range(5 * row_groups + 11))
        with m.If(sequencer.release & ~idle_reset):
            m.d.sync += released.eq(base_row + sequencer.released)
        with m.If(take):
            m.d.sync += released.eq(0)
        m.d.comb += [
            lines.busy.eq(walking & ~dropping),
            lines.released.eq(released),
            lines.take.eq(take),
            lines.pixel_valid.eq(self.pixel_valid),
            lines.red.eq(self.pixel_red),
            lines.green.eq(self.pixel_green),
            lines.blue.eq(self.pixel_blue),
            lines.sof.eq(self.pixel_sof),
            lines.eol.eq(self.pixel_eol),
            lines.frame_end.eq(self.frame_end),
        ]

        # classifier and decision
        answer = classifier.o_valid
        finish, stop, skip = Signal(), Signal(), Signal()
        skip_last = Signal()
        m.d.comb += [
            classifier.p_en.eq(store.pool_en),
            classifier.p_channel.eq(store.pool_channel),
            classifier.p_sum.eq(store.pool_sum),
            classifier.p_max.eq(store.pool_max),
            classifier.stop_enable.eq(self.stop_enable),
            classifier.stop_threshold.eq(self.stop_threshold),
            classifier.skip_enable.eq(self.skip_enable),
            classifier.skip_threshold.eq(self.skip_threshold),
            classifier.abort.eq(drop & ~ended_last),
            stop.eq(answer & classifier.stop & ~ended_last & ~dropping),
            skip.eq(answer & classifier.skip & ~classifier.stop & ~ended_last & ~dropping),
            skip_last.eq(ended_group == row_groups - 2),
            finish.eq(answer & (ended_last | stop | (skip & skip_last))),
            self.row_valid.eq(answer & (ended_last | ~dropping)),
            self.row_group.eq(ended_group),
            self.row_logit0.eq(classifier.logit0),
            self.row_logit1.eq(classifier.logit1),
            abort.eq(stop | skip | drop),
            lines.stop.eq(stop | (skip & skip_last)),
        ]
        m.d.sync += classifier.start.eq(state_done)
        if self.attention is not None:
            m.d.comb += self.attention.abort.eq(idle_reset)
        with m.If(answer):
            m.d.sync += answering.eq(0)
        with m.If(abort & ~(drop & ended_last)):
            m.d.sync += answering.eq(0)
        with m.If(abort):
            m.d.sync += [walking.eq(0), dropping.eq(0), tail.eq(0)]
        with m.If(lines.fault & lines.fault_current & walking & ~lines.stop):
            m.d.sync += dropping.eq(1)
        with m.If(skip & ~skip_last):
            m.d.sync += [
                walking.eq(1),
                group.eq(group + 1),
                base_row.eq(base_row + 5),
                released.eq(base_row + 5),
            ]
        # Decisions leave in the order of their frames: a fault of a frame waits for the decision on
        # the one before it.
        m.submodules.faults = faults = SyncFIFO(width=STATUS_BITS, depth=FAULT_QUEUE)
        before = Signal()
        # a frame that is decided in the cycle of its fault, or of its pixel, has its one decision
        stopped = delay(m, lines.stop, 1, "stopped")
        m.d.sync += [
            faults.w_en.eq(lines.fault & ~((lines.stop | stopped) & lines.fault_current)),
            faults.w_data.eq(lines.status),
        ]
        with m.If(
            lines.fault & ~finish & ((walking & ~lines.fault_current) | (answering & ended_last))
        ):
            m.d.sync += before.eq(1)
        with m.Elif(finish):
            m.d.sync += before.eq(0)
        m.d.sync += self.decision_valid.eq(0)
        with m.If(finish):
            m.d.sync += [
                self.decision_valid.eq(1),
                self.decision_status.eq(Status.OK),
                self.decision_person.eq(stop | self._person()),
                self.decision_logit0.eq(classifier.logit0),
                self.decision_logit1.eq(classifier.logit1),
                self.decision_rows_used.eq(ended_used),
            ]
        with m.Elif(faults.r_rdy & ~before):
            m.d.comb += faults.r_en.eq(1)
            m.d.sync += [
                self.decision_valid.eq(1),
                self.decision_status.eq(faults.r_data),
                self.decision_person.eq(0),
                self.decision_logit0.eq(0),
                self.decision_logit1.eq(0),
                self.decision_rows_used.eq(0),
            ]
        m.d.comb += [
            self.count_dropped.eq(lines.counts[0]),
            self.count_overrun.eq(lines.counts[int(Status.OVERRUN)]),
            self.count_truncated.eq(lines.counts[int(Status.TRUNCATED)]),
            self.count_line.eq(lines.counts[int(Status.LINE)]),
            self.count_restart.eq(lines.counts[int(Status.RESTART)]),
        ]

        # weights may be written while nothing runs, nor can begin to
        m.d.comb += [
            self.loader.idle.eq(
                ~walking & ~answering & ~lines.receiving & ~lines.waiting & ~lines.enable
            ),
            self.loader.load_valid.eq(self.load_valid),
            self.loader.load_data.eq(self.load_data),
            self.loader.load_last.eq(self.load_last),
            self.load_ready.eq(self.loader.load_ready),
            self.load_error.eq(self.loader.load_error),
            self.weights_digest.eq(self.loader.weights_digest),
        ]

    def _person(self):
        return self.classifier.logit1 > self.classifier.logit0

    # ---- the array: addresses, weights, sums, bytes ----

    def _steps(self, m, count, idle_reset):
        """The sequencer's step, and as it was 1 .. `count` cycles ago."""
        steps = [self.sequencer.step]
        for i in range(count):
            later = Signal.like(steps[0], name=f"step_{i + 1}")
            m.d.sync += later.eq(steps[-1])
            with m.If(idle_reset):
                m.d.sync += later.valid.eq(0)
            steps.append(later)
        return steps

    def _array(self, m, idle_reset, first_group):
        plan, engine, g = self.plan, self.plan.engine, self.plan.geometry
        lanes, channels, head_lanes = engine.lanes, engine.channels, g.head_lanes
        lines, maps, windows, drain, store = (
            self.lines,
            self.maps,
            self.windows,
            self.drain,
            self.store,
        )
        operands = self.operands
        spatial = plan.model.spatial_attention != "none"
        steps = self._steps(m, PARALLEL.transfer, idle_reset)
        step = steps[0]

        # Stage 1: addresses. Words left of, of and right of the chunk group in the three phases.
        row = Mux(
            step.phase == 0, step.address - 1, Mux(step.phase == 2, step.address + 1, step.address)
        )
        one = steps[1].valid & steps[1].one_tap & (steps[1].source == Source.SHARED)
        three = step.valid & ~step.one_tap & (step.source == Source.SHARED)
        beside = ((step.phase == 0) & step.first_chunk) | ((step.phase == 2) & step.last_chunk)
        for b in range(lanes):
            i = b % head_lanes
            # in head mode the last bank brings the word on the left, the first the one on the right
            if head_lanes == 1:
                reads, own = ~beside, row
            else:
                reads = step.phase == 0
                own = step.address
                if i == head_lanes - 1:
                    reads = (step.phase == 0) & ~step.first_chunk | (step.phase == 1)
                    own = Mux(step.phase == 0, step.address - 1, step.address)
                if i == 0:
                    reads = reads | ((step.phase == 2) & ~step.last_chunk)
                    own = Mux(step.phase == 2, step.address + 1, step.address)
            by_head = step.valid & (step.source == Source.HEAD) & reads
            m.d.sync += [
                maps.read_en[b].eq(
                    by_head | (three & step.bank[b] & ~beside) | (one & steps[1].bank[b])
                ),
                maps.read_address[b].eq(
                    Mux(
                        one & steps[1].bank[b],
                        steps[1].address,
                        Mux(step.source == Source.HEAD, own, row),
                    )
                ),
            ]
            if b < head_lanes:
                m.d.sync += [
                    lines.read_en[b].eq(step.valid & (step.source == Source.CAMERA) & reads),
                    lines.read_address[b].eq(own),
                ]
        m.d.comb += [
            windows.step.eq(step),
            windows.first_group.eq(first_group),
            windows.camera_words.eq(lines.words),
            windows.map_words.eq(maps.words),
        ]

        # weights: in head mode a word holds the steps of several parts
        m.submodules.weights = self.weights
        word, load = self.weights.word, self.loader.weights
        before = steps[PARALLEL.weight_address - 1]
        weight_read = Signal()
        m.d.sync += weight_read.eq(
            before.valid & (before.weights == Weights.MEMORY) & (before.part == 0)
        )
        m.d.comb += [
            self.weights.read_en.eq(weight_read),
            self.weights.write_en.eq(load.en),
            self.weights.write_address.eq(load.addr),
            self.weights.write_data.eq(load.data),
            self.weights.address.eq(steps[PARALLEL.weight_address].weight),
        ]
        chosen_at = steps[PARALLEL.weight_chosen]
        other = [None] * engine.units
        if spatial:
            other = self._data_weights(m, steps, first_group)
        group_bytes = channels * g.heads
        for lane in range(lanes):
            head = lane // head_lanes
            for k in range(channels):
                u = k * lanes + lane
                own = Mux(chosen_at.source[1], word.word_select(u, 8), 0)
                for part in range(head_lanes):
                    own = own | Mux(
                        ~chosen_at.source[1] & (chosen_at.part == part),
                        word.word_select(part * group_bytes + head * channels + k, 8),
                        0,
                    )
                if spatial:
                    own = Mux(chosen_at.weights == Weights.MEMORY, own, other[u])
                chosen = Signal(8, name=f"weight_chosen{u}", reset_less=True)
                operand = Signal(8, name=f"weight{u}", reset_less=True)
                m.d.sync += [chosen.eq(own), operand.eq(chosen)]
                m.d.comb += self.lanes[lane].weights[k].eq(operand)

        # multipliers, sums, drains
        transfer = Signal()
        ending = steps[PARALLEL.transfer - 1].valid & steps[PARALLEL.transfer - 1].last
        m.d.sync += transfer.eq(ending & ~idle_reset)
        adding = steps[PARALLEL.transfer - 1 - HeadLane.lead]
        for lane, block in enumerate(self.lanes):
            m.d.comb += [
                block.operand.eq(windows.operands[lane]),
                block.valid.eq(adding.valid),
                block.first.eq(adding.first),
                block.transfer.eq(ending),
            ]
            if block.shares_pair:
                m.d.comb += block.extra.eq(self.lanes[lane + 1].lowest)

        # channel units
        m.d.comb += [
            drain.transfer.eq(transfer),
            store.transfer.eq(transfer),
            operands.transfer.eq(transfer),
            operands.single.eq(drain.single),
            operands.first_group.eq(first_group),
            operands.words.eq(maps.words),
            operands.done.eq(maps.operand_done),
            operands.valid.eq(maps.operand_valid),
            maps.operand_en.eq(operands.enable),
            maps.operand_address.eq(operands.address),
        ]
        constants = self.loader.constants
        m.d.comb += [
            drain.load_en.eq(constants.en),
            drain.load_address.eq(constants.addr),
            drain.load_data.eq(constants.data),
        ]
        for u, unit in enumerate(self.units):
            k, lane = divmod(u, lanes)
            active = drain.active[u]
            m.d.comb += [
                unit.sum.eq(self.lanes[lane].head[k]),
                unit.bias.eq(active.bias),
                unit.multiplier.eq(active.multiplier),
                unit.shift.eq(active.shift),
                unit.function.eq(drain.function),
                unit.a.eq(operands.a[u]),
                unit.b.eq(operands.b[u]),
                store.bytes[u].eq(unit.byte),
            ]

        # words to the maps
        m.d.comb += [
            maps.write_en.eq(store.write_en),
            maps.write_address.eq(store.write_address),
            maps.write_data.eq(store.write_data),
        ]
        weights, constants = self.loader.classifier_weights, self.loader.classifier_constants
        m.d.comb += [
            self.classifier.w_en.eq(weights.en),
            self.classifier.w_addr.eq(weights.addr),
            self.classifier.w_data.eq(weights.data),
            self.classifier.c_en.eq(constants.en),
            self.classifier.c_addr.eq(constants.addr),
            self.classifier.c_data.eq(constants.data),
        ]

    def _data_weights(self, m, steps, first_group):
        """Spatial attention: bytes of the state (S) or of V (V A) as weights, per unit."""
        plan, engine = self.plan, self.plan.engine
        attention, store, windows = self.attention, self.store, self.windows
        m.submodules.state_copy = copy = StateCopy(plan)
        base = plan.state.base
        m.d.comb += [
            copy.write_en.eq(Mux(store.state_en, store.write_en, 0)),
            copy.address.eq(store.write_address - base),
            copy.data.eq(store.write_data),
            copy.read_en.eq(
                steps[PARALLEL.address_one_tap - 1].valid
                & (steps[PARALLEL.address_one_tap - 1].weights == Weights.STATE)
            ),
            copy.bank.eq(steps[PARALLEL.address_one_tap - 1].bank),
            copy.row.eq(steps[PARALLEL.address_one_tap - 1].inner_row),
        ]
        # rows of A for the array, at the same time as a one-tap word of the maps
        at = steps[PARALLEL.address_one_tap]
        m.d.comb += [
            attention.r_en.eq(at.valid & (at.source == Source.ATTENTION)),
            attention.r_row.eq(at.inner),
            attention.r_head.eq(at.head),
            windows.attention_word.eq(attention.r_data),
            attention.w_en.eq(store.score_en),
            attention.w_head.eq(store.score_head),
            attention.w_row.eq(store.score_row),
            attention.w_data.eq(store.score_data),
        ]
        # softmax, one head after the other, in the order in which their scores are written
        heads = plan.model.heads
        due, following = Signal(range(heads + 1)), Signal(range(heads))
        go = Signal()
        m.d.comb += [
            go.eq((store.score_done | (due != 0)) & ~attention.busy),
            attention.start.eq(go),
            attention.start_head.eq(following),
        ]
        m.d.sync += due.eq(due + store.score_done - go)
        with m.If(go):
            m.d.sync += following.eq(Mux(following == heads - 1, 0, following + 1))
        with m.If(attention.abort):
            m.d.sync += [due.eq(0), following.eq(0)]
        table = self.loader.exp_table
        m.d.comb += [
            attention.t_en.eq(table.en),
            attention.t_addr.eq(table.addr),
            attention.t_data.eq(table.data),
        ]
        arrival = PARALLEL.address_one_tap + PARALLEL.memory
        zero, late = delay(m, first_group, arrival, "no_state", reset_less=True), steps[arrival]
        chosen = []
        groups = -(-plan.model.n // engine.units)
        for u in range(engine.units):
            byte = Signal(8, name=f"data_weight{u}", reset_less=True)
            value = self.operands.values[u].word_select(late.inner[: engine.pixels.bit_length()], 8)
            state = 0
            for group in range(groups):
                column = group * engine.units + u
                if column < engine.pixels:
                    state = state | Mux(late.group == group, copy.word.word_select(column, 8), 0)
            m.d.sync += byte.eq(Mux(late.weights == Weights.VALUE, value, Mux(zero, 0, state)))
            chosen.append(byte)
        return chosen

    # ---- host: reading the state ----

    def _host(self, m):
        plan, maps = self.plan, self.maps
        lanes, state_words = plan.engine.lanes, plan.geometry.state_words
        base = plan.state.base
        remaining = Signal(16)
        row = Signal(range(plan.bank_words))
        seeking, asking = Signal(), Signal()
        # channel -> bank and row by repeated subtraction: a host is slow anyway
        with m.If(self.state_read):
            m.d.sync += [
                seeking.eq(1),
                asking.eq(0),
                remaining.eq(self.state_channel),
                row.eq(base + self.state_word),
            ]
        with m.Elif(seeking):
            with m.If(remaining >= lanes):
                m.d.sync += [remaining.eq(remaining - lanes), row.eq(row + state_words)]
            with m.Else():
                m.d.sync += [seeking.eq(0), asking.eq(1)]
        with m.Elif(maps.host_done):
            m.d.sync += asking.eq(0)
        m.d.comb += [
            maps.host_en.eq(asking),
            maps.host_bank.eq(remaining),
            maps.host_address.eq(row),
        ]
        self._answer(m)

    def _answer(self, m):
        """The word that a host asked for."""
        maps, word = self.maps, 0
        for b in range(self.plan.engine.lanes):
            word = word | Mux(maps.host_valid[b], maps.words[b], 0)
        m.d.sync += [self.state_valid.eq(maps.host_valid.any()), self.state_data.eq(word)]

    # ---- what it is made of ----

    def weights_image(self) -> bytes:
        """Byte stream for the loader port that holds the weights of this engine."""
        return image_bytes(self.sections, image.flat_words(self.plan, self.words))
