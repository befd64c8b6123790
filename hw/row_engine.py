"""Row engine: the blocks put together, and the frames that run through them."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.weights import Weights as NetworkWeights
from hw import image
from hw.common import NO_COLLISION, delay
from hw.frames import FrameControl
from hw.host_read import HostRead
from hw.interfaces import Counters, Engine
from hw.line_buffer import LineBuffer
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

    Bit-exact model: golden.model.IntegerModel.

    Parameters
    ----------
    readback : bool
        Whether a host can read the state.

    Ports: see hw.interfaces.Engine.
    """

    def __init__(self, plan: Plan, weights: NetworkWeights, *, readback: bool = True):
        self.plan = plan
        self.sections = image.sections(plan)
        self.words = image.memory_words(plan, weights)
        # what the memories hold at power-up
        full = plan.engine.weight_memory == "initialised"
        self._blocks(weights, self.words if full else dict.fromkeys(self.words))
        self.digest = image_digest(self.sections, image.flat_words(plan, self.words))
        self.loader = Loader(sections=self.sections, digest=self.digest if full else None)
        model, engine = plan.model, plan.engine
        classes = model.class_count
        self.frames = FrameControl(
            row_groups=model.row_groups,
            rows=model.rows_per_group,
            needs=(3, 4, 5),
            classes=classes,
            stop_class=model.stop_index,
        )
        self.host_read = HostRead(
            lanes=engine.lanes,
            words=plan.bank_words,
            pixels=engine.pixels,
            base=plan.state.base,
            state_words=plan.geometry.state_words,
        )
        self.readback = readback
        super().__init__(
            Engine(in_channels=model.in_channels, classes=classes, pixels=engine.pixels)
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
        reset = self.frames.reset
        m.submodules.lines = self.lines
        m.submodules.maps = self.maps
        for name in ("windows", "sequencer", "drain", "operands", "store"):
            m.submodules[name] = ResetInserter({"sync": reset})(getattr(self, name))
        m.submodules.classifier = self.classifier
        for lane, block in enumerate(self.lanes):
            m.submodules[f"lane{lane}"] = block
        for u, block in enumerate(self.units):
            m.submodules[f"unit{u}"] = block
        if self.attention is not None:
            m.submodules.attention = self.attention
            m.d.comb += self.attention.abort.eq(reset)
        self._edges(m)
        self._array(m, reset, self.frames.first_group)
        return m

    def _edges(self, m):
        """What is the same whatever the array is: frames, weights, host."""
        m.submodules.frames = frames = self.frames
        m.submodules.loader = loader = self.loader
        lines, sequencer, classifier, store = (
            self.lines,
            self.sequencer,
            self.classifier,
            self.store,
        )
        for name, member in frames.lines.signature.members.items():
            ours, theirs = getattr(frames.lines, name), getattr(lines, name)
            m.d.comb += ours.eq(theirs) if member.flow is In else theirs.eq(ours)
        walks = frames.walks
        m.d.comb += [
            lines.pixel_valid.eq(self.pixels.valid),
            lines.sof.eq(self.pixels.sof),
            lines.eol.eq(self.pixels.eol),
            lines.frame_end.eq(self.pixels.frame_end),
            sequencer.more.eq(walks.more),
            sequencer.again.eq(walks.again),
            sequencer.rows.eq(walks.rows),
            walks.group_first.eq(sequencer.group_first),
            walks.group_done.eq(sequencer.group_done),
            walks.release.eq(sequencer.release),
            walks.released.eq(sequencer.released),
            frames.state_done.eq(store.state_done),
            classifier.start.eq(frames.start),
            classifier.abort.eq(frames.forget),
            classifier.p_en.eq(store.pool_en),
            classifier.p_channel.eq(store.pool_channel),
            classifier.p_sum.eq(store.pool_sum),
            classifier.p_max.eq(store.pool_max),
            classifier.stop_enable.eq(self.thresholds.stop_enable),
            classifier.stop_threshold.eq(self.thresholds.stop),
            classifier.skip_enable.eq(self.thresholds.skip_enable),
            classifier.skip_threshold.eq(self.thresholds.skip),
            frames.answer.valid.eq(classifier.o_valid),
            frames.answer.logits[0].eq(classifier.logit0),
            frames.answer.logits[1].eq(classifier.logit1),
            frames.answer.index.eq(self._person()),
            frames.answer.stop.eq(classifier.stop),
            frames.answer.skip.eq(classifier.skip),
            frames.loaded.eq(loader.loaded),
            frames.loading.eq(self.load.valid),
            loader.idle.eq(frames.idle),
            loader.load_valid.eq(self.load.valid),
            loader.load_data.eq(self.load.data),
            loader.load_last.eq(self.load.last),
            self.load.ready.eq(loader.load_ready),
            self.load.error.eq(loader.load_error),
            self.weights_digest.eq(loader.weights_digest),
            self.busy.eq(frames.busy),
            self.frame_start.eq(frames.frame_start),
        ]
        for number, name in enumerate(self.pixels.signature.colours):
            m.d.comb += getattr(lines, ("red", "green", "blue")[number]).eq(
                getattr(self.pixels, name)
            )
        for number, name in enumerate(Counters.names):
            m.d.comb += getattr(self.counts, name).eq(lines.counts[number])
        wiring.connect(m, frames.row, wiring.flipped(self.row))
        wiring.connect(m, frames.decision, wiring.flipped(self.decision))
        if self.readback:
            m.submodules.host_read = self.host_read
            wiring.connect(m, wiring.flipped(self.state), self.host_read.state)
            self._host(m, self.host_read.maps)

    def _person(self):
        return self.classifier.logit1 > self.classifier.logit0

    # ---- the array: addresses, weights, sums, bytes ----

    def _steps(self, m, count, reset):
        """The sequencer's step, and as it was 1 .. `count` cycles ago."""
        steps = [self.sequencer.step]
        for i in range(count):
            later = Signal.like(steps[0], name=f"step_{i + 1}")
            m.d.sync += later.eq(steps[-1])
            with m.If(reset):
                m.d.sync += later.valid.eq(0)
            steps.append(later)
        return steps

    def _array(self, m, reset, first_group):
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
        steps = self._steps(m, PARALLEL.transfer, reset)
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
        m.d.sync += transfer.eq(ending & ~reset)
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

    def _host(self, m, read):
        """Connects the host's read to the maps."""
        maps, word = self.maps, 0
        for b in range(self.plan.engine.lanes):
            word = word | Mux(maps.host_valid[b], maps.words[b], 0)
        m.d.comb += [
            maps.host_en.eq(read.en),
            maps.host_bank.eq(read.bank),
            maps.host_address.eq(read.address),
            read.done.eq(maps.host_done),
        ]
        m.d.sync += [read.valid.eq(maps.host_valid.any()), read.data.eq(word)]

    # ---- what it is made of ----

    def weights_image(self) -> bytes:
        """Byte stream for the loader port that holds the weights of this engine."""
        return image_bytes(self.sections, image.flat_words(self.plan, self.words))
