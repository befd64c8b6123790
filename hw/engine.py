"""Row engine: the parts put together, from the camera's pixels to decisions."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring

from golden.weights import Weights
from hw.frames import FrameControl
from hw.host_read import HostRead
from hw.interfaces import Engine
from hw.loader import Loader, image_bytes, image_digest
from hw.parts import PARTS, Parts
from hw.path import join
from hw.plan import Plan
from hw.room import RoomControl
from hw.sequencer import LateSteps, WalkSequencer
from hw.sleep import Sleep, add_clocks, clocked


class RowEngine(wiring.Component):
    """RaScaNet, a row group at a time.

    ::

                                           ┌───────────────── written words ───────┐
                                           ▼                                       │
        pixels ─► LineBuffer ──────────► window ─► array ─► (transfer) ─► back ────┤
                   ▲   │ frames            ▲         ▲ weights             ▲       │ pooled state
                   │   ▼                   │ steps   │                     │       ▼
                   FrameControl ◄─► WalkSequencer ───┘                  Loader   classifier
                        ▲                                                          │
                        └───────────────────────── logits ◄────────────────────────┘

    What is in the second line is of the record of parts that the engine's configuration names
    (hw.parts); hw.path has their ports. All else is the same in every engine.

    Bit-exact model: golden.model.IntegerModel.

    Parameters
    ----------
    plan : Plan
    weights : golden.weights.Weights
        First contents of the weight memories, where they are to have any.
    readback : bool
        Whether a host can read the state.
    room : bool
        Whether it tells a source of pixels that can wait when to, and a host when the state is
        written anew.

    Attributes
    ----------
    room_delay : int
        A pixel on the wires -> `room` knows what came of it and of all before it.

    Ports: those of hw.interfaces.Engine.

    Raises
    ------
    ValueError
        If the weights are for another network, or such as a part cannot do.
    """

    def __init__(self, plan: Plan, weights: Weights, *, readback: bool = True, room: bool = False):
        self.plan, self.readback = plan, readback
        model, engine = plan.model, plan.engine
        self.parts: Parts = PARTS[engine.parts]
        assert plan.latency == self.parts.latency, "the plan is made for other parts"
        words = self.parts.words(plan, weights)
        self.sections = self.parts.sections(plan)
        self.image_words = self.parts.flat_words(plan, words)
        self.digest = image_digest(self.sections, self.image_words)
        full = engine.weight_memory == "initialised"
        first = words if full else dict.fromkeys(words)  # what the memories hold at power-up
        self.loader = Loader(sections=self.sections, digest=self.digest if full else None)

        self.lines = self.parts.lines(plan)
        self.sequencer = WalkSequencer(plan)
        self.steps = LateSteps(plan, plan.latency.transfer)
        self.window = self.parts.window(plan)
        self.weights = self.parts.weights(plan, first["weights"] or ())
        self.array = self.parts.array(plan)
        self.back = self.parts.back(plan, weights, first["constants"] or ())
        self.classifier = self.parts.classifier(plan, first)
        # the softmax unit's table is no secret: it is there from the start
        self.attention = self.parts.attention(plan, words) if model.spatial else None
        self.frames = FrameControl(
            row_groups=model.row_groups,
            rows=model.rows_per_group,
            needs=self.sequencer.needs,
            classes=model.class_count,
            stop_class=model.stop_index,
        )
        before_step = (self.lines, self.frames.camera, self.sequencer)
        assert plan.latency.row == sum(part.latency for part in before_step)
        self.sleep = Sleep(plan) if engine.sleep else None
        if readback:
            self.host_read = HostRead(
                lanes=engine.lanes,
                words=plan.bank_words,
                pixels=engine.pixels,
                base=plan.state.base,
                state_words=plan.geometry.state_words,
                tells=engine.sleep,
            )
        self.room_control = None
        if room:
            self.room_control = RoomControl(row_groups=model.row_groups, rows=model.rows_per_group)
            self.room_delay = self.lines.latency + model.in_channels + self.room_control.latency
        super().__init__(
            Engine(
                in_channels=model.in_channels,
                classes=model.class_count,
                pixels=engine.pixels,
                room=room,
            )
        )

    def elaborate(self, platform):
        m = Module()
        frames, loader, lines, classifier = self.frames, self.loader, self.lines, self.classifier
        reset = frames.reset
        self._add(m, "sequencer", "engine", ResetInserter({"sync": reset})(self.sequencer))
        for name, clock in (
            ("frames", "camera"), ("loader", "host"), ("lines", "camera"),
            ("steps", "engine"), ("classifier", "classifier"),
        ):  # fmt: skip
            self._add(m, name, clock)
        # camera, frames, host
        wiring.connect(m, wiring.flipped(self.pixels), lines.pixels)
        wiring.connect(m, lines.counts, wiring.flipped(self.counts))
        wiring.connect(m, lines.control, frames.lines)
        wiring.connect(m, frames.walks, self.sequencer.control)
        wiring.connect(m, wiring.flipped(self.thresholds), classifier.thresholds)
        wiring.connect(m, classifier.answer, frames.answer)
        wiring.connect(m, frames.row, wiring.flipped(self.row))
        wiring.connect(m, frames.decision, wiring.flipped(self.decision))
        m.d.comb += [
            classifier.start.eq(frames.start),
            classifier.abort.eq(frames.forget),
            frames.state_done.eq(self.back.state_done),
            frames.loaded.eq(loader.loaded),
            frames.loading.eq(self.load.valid),
            loader.idle.eq(frames.idle),
            self.weights_digest.eq(loader.weights_digest),
            self.busy.eq(frames.busy),
            self.frame_start.eq(frames.frame_start),
            self.steps.step.eq(self.sequencer.step),
            self.steps.reset.eq(reset),
        ]
        join(
            m,
            wiring.flipped(self.load),
            loader,
            {n: f"load_{n}" for n in self.load.signature.members},
        )
        if self.readback:
            self._add(m, "host_read", "host")
            wiring.connect(m, wiring.flipped(self.state), self.host_read.state)
            wiring.connect(m, self.host_read.maps, self.window.host)
        if self.room_control is not None:
            m.submodules.room_control = room = self.room_control
            for name in ("enable", "waiting", "receiving", "current", "busy", "rows", "released"):
                m.d.comb += getattr(room, name).eq(getattr(lines.control, name))
            wiring.connect(m, room.room, wiring.flipped(self.room))
            # the last operation writes the state, not before the answer to the group before it
            last = self.sequencer.op == len(self.plan.operations) - 1
            steps, writing, answered = Signal(), Signal(), Signal()
            m.d.comb += steps.eq(self.sequencer.step.valid & last & ~reset)
            m.d.sync += answered.eq(frames.row.valid)
            with m.If(steps):
                m.d.sync += [self.stale.eq(1), writing.eq(1)]
            with m.If(self.sequencer.control.group_done | reset):
                m.d.sync += writing.eq(0)
            # which may have begun then; but an answer that drops it does so before it writes
            with m.If(frames.row.valid):
                m.d.sync += self.stale.eq(steps | writing)
            with m.If(answered & reset):
                m.d.sync += self.stale.eq(0)
        self._path(m, reset)
        if self.sleep is not None:
            self._sleep(m, reset)
        # weights
        for section in self.sections:
            part, port = self.parts.loads[section.name]
            wiring.connect(m, getattr(loader, section.name), getattr(getattr(self, part), port))
        return m

    def _add(self, m, name, clock, part=None):
        """A part with its clock, one of hw.sleep.CLOCKS."""
        part = getattr(self, name) if part is None else part
        m.submodules[name] = clocked(part, clock, self.sleep is not None)

    def _sleep(self, m, reset):
        """What wakes the clocks."""
        m.submodules.sleep = sleep = self.sleep
        add_clocks(m, sleep)
        frames, classifier = self.frames, self.classifier
        m.d.comb += [
            sleep.pixel.eq(self.pixels.valid | self.pixels.frame_end),
            sleep.line.eq(self.lines.event),
            sleep.load.eq(self.load.valid),
            # without weights it is held in its reset
            sleep.standing.eq(self.sequencer.standing | (reset & ~self.loader.loaded)),
            sleep.drop.eq(reset & self.loader.loaded),
            sleep.pooled.eq(self.back.pool.en),
            sleep.start.eq(frames.start),
            sleep.forget.eq(frames.forget),
            sleep.classifying.eq(classifier.busy),
            sleep.transfer.eq(self.back.sums.transfer),
        ]
        if self.readback:
            m.d.comb += [
                sleep.read.eq(self.state.read),
                sleep.reading.eq(self.host_read.reading),
            ]

    def _path(self, m, reset):
        """From the steps to written words."""
        window, array, back, attention = self.window, self.array, self.back, self.attention
        for name in ("window", "weights", "array", "back"):
            self._add(m, name, "engine")
        wiring.connect(m, window.camera, self.lines.camera)
        wiring.connect(m, array.sums, back.sums)
        wiring.connect(m, back.maps, window.maps)
        wiring.connect(m, back.pool, self.classifier.pooled)
        join(m, array.weights, self.weights)
        first_group = self.frames.first_group
        m.d.comb += [
            array.operands.eq(window.operands),
            *[part.reset.eq(reset) for part in (window, array, back)],
            *[part.first_group.eq(first_group) for part in (window, back)],
        ]
        followers = [window, array]
        if attention is not None:
            self._add(m, "attention", "engine")
            followers.append(attention)
            wiring.connect(m, back.attention, attention.feed)
            m.d.comb += [
                attention.reset.eq(reset),
                attention.first_group.eq(first_group),
                attention.write_en.eq(back.maps.write_en),
                attention.write_address.eq(back.maps.write_address),
                attention.write_data.eq(back.maps.write_data),
                window.attention_word.eq(attention.word),
                array.others.eq(attention.weights),
            ]
        for part in followers:
            for theirs, ours in zip(part.steps, self.steps.steps, strict=True):
                m.d.comb += theirs.eq(ours)

    def weights_image(self) -> bytes:
        """Byte stream for the loader port that holds the weights of this engine."""
        return image_bytes(self.sections, self.image_words)
