"""A compiled row program: what the hardware is built from and what reports read.

One list of operations is the source of everything: the words of the sequencers' ROMs, the address
map, the number of cycles of a row group and the counts in reports.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from golden.config import ModelConfig
from hw.plan.banks import Map, allocate
from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming
from hw.plan.engine_config import EngineConfig, Geometry
from hw.plan.memory import Memory
from hw.plan.operations import Operation, Target, Weights, build_operations
from hw.plan.schedule import Schedule
from hw.plan.serial_schedule import SerialSchedule
from hw.plan.words import bits_for, encode


@dataclass
class Plan:
    """A compiled row program: what the hardware is built from and what reports read.

    Attributes
    ----------
    operations : list of Operation
        In order, with addresses and times.
    cycles_per_row_group : int
        Steady-state cycles of a row group.
    fields : dict of str to list of dict
        Row program words ("walk", "drain", "operand", "store"): one dict of field values per
        operation.
    memories : list of Memory
        Every addressable memory of the design (filled from the blocks by `compile_program`).
    warnings : list of str
        What this shape wastes on this network, in words.
    """

    model: ModelConfig
    engine: EngineConfig
    geometry: Geometry
    operations: list[Operation]
    maps: dict[str, Map]
    bank_words: int
    cycles_per_row_group: int
    schedule: Schedule
    memories: list[Memory] = field(default_factory=list)
    multipliers_beside_array: list[dict] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fields: dict[str, list[dict[str, int]]] = field(default_factory=dict)

    @property
    def line_buffer_words(self) -> int:
        """Words per bank of the line buffer: five rows."""
        g = self.geometry
        return 5 * self.model.in_channels * g.groups(self.model.image_width)

    @property
    def row_delay(self) -> int:
        """Cycles from a row's last pixel on the wires to the first step that may read the row."""
        return self.engine.latency.row + self.model.in_channels

    @property
    def macs_per_row_group(self) -> int:
        return sum(op.macs for op in self.operations)

    @property
    def weight_words(self) -> int:
        last = self.operations[-1]
        return last.weight_base + self.weight_words_of(last)

    @property
    def constant_words(self) -> int:
        last = self.operations[-1]
        return last.constant_base + last.constants

    def weight_words_of(self, op: Operation) -> int:
        """Words of C * L bytes that an operation's weights take."""
        if op.weights != Weights.MEMORY:
            return 0
        lanes = self.geometry.head_lanes if op.head_mode else 1
        return op.out_groups * ceil(op.k / lanes)

    @property
    def frame_turn(self) -> int:
        """Cycles from a frame's last row group to the next frame's first one."""
        return self.engine.latency.frame_turn

    @property
    def cycles_per_frame(self) -> int:
        """Cycles from frame to frame where the camera is never waited for."""
        return self.model.row_groups * self.cycles_per_row_group + self.frame_turn

    def utilisation(self) -> float:
        """Array MACs over multipliers x cycles, steady state."""
        return self.macs_per_row_group / (self.engine.multipliers * self.cycles_per_row_group)

    def field_widths(self, word: str) -> dict[str, int]:
        """Bits of each field of a program word: what its largest value needs."""
        return {
            name: bits_for(max(f[name] for f in self.fields[word])) for name in self.fields[word][0]
        }

    def locate(self, op_index: int, bank: int, address: int):
        """What an operation writes at a bank's address.

        Returns
        -------
        (stage, channel, first_column, valid_columns) or None
        """
        if not hasattr(self, "_located"):
            self._located = [None] * len(self.operations)
        if self._located[op_index] is None:
            self._located[op_index] = self._places(self.operations[op_index])
        return self._located[op_index].get((bank, address))

    def _places(self, op: Operation):
        g, e = self.geometry, self.engine
        places = {}
        if op.target == Target.SCORES:
            return places
        m = self.maps[op.out]
        words = g.words(op.out_columns)
        for index, stage in enumerate(op.stages):
            for c in range(op.out_channels):
                for w in range(words):
                    if op.target == Target.HEAD:
                        row = op.row * op.out_channels if op.out.startswith("B2") else 0
                        at = (
                            index * g.head_lanes + w % g.head_lanes,
                            m.base + (row + c) * m.groups + w // g.head_lanes,
                        )
                    else:
                        channel = c + op.first + op.operand_first * e.lanes
                        if op.target == Target.CONCAT:
                            channel = op.heads[index] * op.out_channels + c
                        at = (channel % e.lanes, m.base + (channel // e.lanes) * m.groups + w)
                    first = w * e.pixels
                    places[at] = (stage, c, first, min(e.pixels, op.out_columns - first))
        return places

    @cached_property
    def camera_period(self) -> int:
        """Fewest cycles of a row group at which a camera with even pixels never overruns.

        The camera pauses `frame_turn` cycles between frames, as the engine does. The period is
        `cycles_per_row_group` but for networks that spend most of a row group in blocks 1 and 2:
        these need rows longer than five rows can be kept.
        """
        low, high = self.cycles_per_row_group, 4 * self.cycles_per_row_group
        if self._keeps_up(low):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._keeps_up(middle) else (middle, high)
        return high

    def _keeps_up(self, period: int, groups: int = 12) -> bool:
        """Whether each row is released before the camera's next word for its place."""
        width, frame = self.model.image_width, self.model.row_groups

        def cycle(row, column):
            turns = row // (5 * frame) * self.frame_turn
            return (row * width + column) * period // (5 * width) + turns

        ready = [cycle(row, width - 1) + self.row_delay for row in range(5 * groups)]
        # the first write is that of a whole word, or (compact) of a pixel
        first = 0 if self.engine.compact else min(self.engine.pixels, width) - 1
        released, now = 0, 0
        for t in range(groups):
            now += self.frame_turn if t and t % frame == 0 else 0
            for op in self.operations:
                now += op.wait + op.idle
                if op.need_rows:
                    now = max(now, ready[5 * t + op.need_rows - 1])
                now += op.walks * op.period - op.idle
                if op.release_rows:
                    rows = range(released, 5 * t + op.release_rows)
                    if any(now > cycle(row + 5, first) for row in rows):
                        return False
                    released = 5 * t + op.release_rows
        return True

    def predict(self, rows_ready, row_groups=None, start: int = 0) -> list[int]:
        """Cycle of the first step of each row group of a frame.

        Parameters
        ----------
        rows_ready : sequence of int
            For each row of the frame, the first cycle in which a step may read it.
        row_groups : iterable of int, optional
            The groups that are worked on (all).
        start : int
            First cycle in which the engine is free.

        Returns
        -------
        list of int
            First step of each group, then the first cycle after the last one.
        """
        groups = range(self.model.row_groups) if row_groups is None else row_groups
        times, now = [], start
        for t in groups:
            for op in self.operations:
                now += op.wait + op.idle
                if op.need_rows:
                    now = max(now, rows_ready[5 * t + op.need_rows - 1])
                if op is self.operations[0]:
                    times.append(now)
                now += op.walks * op.period - op.idle
        return [*times, now]


def compile_program(model: ModelConfig, engine: EngineConfig) -> Plan:
    """Compile the row program of a network on an array.

    Raises
    ------
    ValueError
        If the shape cannot carry the network.
    """
    classifier = SerialClassifierTiming if engine.compact else ClassifierTiming
    geometry = Geometry(model, engine)
    ops, maps = build_operations(model, geometry)
    bank_words = allocate(maps)
    unit = None
    if model.spatial_attention != "none":
        unit = SoftmaxTiming(columns=model.n)
    schedule = (SerialSchedule if engine.compact else Schedule)(
        model,
        geometry,
        ops,
        maps,
        classifier.of(model).cycles,
        unit,
    )
    plan = Plan(
        model=model,
        engine=engine,
        geometry=geometry,
        operations=ops,
        maps=maps,
        bank_words=bank_words,
        cycles_per_row_group=0,
        schedule=schedule,
    )
    weight = constant = 0
    shared: dict[str, Operation] = {}
    for op in ops:
        op.constants = schedule.constant_words(op) * (
            op.out_groups if op.weights == Weights.MEMORY else 1
        )
        op.constant_step = schedule.constant_words(op) if op.weights == Weights.MEMORY else 0
        if op.layers[0] in shared:  # the rows of blocks 1 and 2 use the same weights
            op.weight_base = shared[op.layers[0]].weight_base
            op.constant_base = shared[op.layers[0]].constant_base
            continue
        shared[op.layers[0]] = op
        op.weight_base, op.constant_base = weight, constant
        weight += plan.weight_words_of(op)
        constant += op.constants
    plan.cycles_per_row_group = schedule.solve()
    encode(plan)
    _warn(plan)
    return plan


def _warn(plan: Plan):
    """Say in words what the shape wastes."""
    g, e, model = plan.geometry, plan.engine, plan.model
    for op in plan.operations:
        if (
            op.head_mode
            and g.head_lanes > 1
            and op.chunks * g.head_lanes > g.words(2 * op.out_columns)
        ):
            idle = op.chunks * g.head_lanes - g.words(2 * op.out_columns)
            if op.row == 0:
                plan.warnings.append(
                    f"{op.name}: {g.words(2 * op.out_columns)} chunks of {e.pixels} "
                    f"pixels on {g.head_lanes} lanes a head: {idle} of "
                    f"{op.chunks * g.head_lanes} lane walks idle"
                )
    if g.passes > 1 and g.heads > 1:
        plan.warnings.append(f"{model.heads} heads run in {g.passes} passes of {g.heads}")
    if plan.utilisation() < 0.5:
        plan.warnings.append(
            f"this shape uses {plan.utilisation():.0%} of its multipliers on this network"
        )
