"""A compiled row program: what the hardware is built from and what reports read.

One list of operations is the source of everything: the words of the sequencers' ROMs, the address
map, the number of cycles of a row group and the counts in reports.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from golden.config import ModelConfig
from hw.plan import replay
from hw.plan.banks import Map, allocate
from hw.plan.build import build_operations
from hw.plan.engine_config import EngineConfig, Geometry
from hw.plan.latency import Latency
from hw.plan.memory import CATEGORIES, Memory
from hw.plan.operations import (
    STATE,
    Operation,
    Target,
    weight_words,
)
from hw.plan.owners import Owner
from hw.plan.parts import parts_of, softmax_of
from hw.plan.rules import NEVER, Rules
from hw.plan.words import Layout, Word, bits_for, field_widths

Place = tuple[str, int, int, int]

SETTLE = 8
"""Cycles after the last word is written: it is read, pooled, told of."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A compiled row program, complete: whatever else is known of an engine follows from it.

    Attributes
    ----------
    model : ModelConfig
    engine : EngineConfig
    geometry : Geometry
    operations : tuple of Operation
        In order, with addresses and times.
    maps : dict of str to Map
    bank_words : int
        Words of a bank of maps and state.
    cycles_per_row_group : int
        Steady-state cycles of a row group.
    rules : Rules
        When an operation's words are read and written.
    words : dict of str to tuple of Word
        The row program: for each sequencer ("walk", "drain", "operand", "store"; serial: "walk",
        "pace", "back") a word an operation.
    """

    model: ModelConfig
    engine: EngineConfig
    geometry: Geometry
    operations: tuple[Operation, ...]
    maps: Mapping[str, Map]
    bank_words: int
    cycles_per_row_group: int
    rules: Rules
    words: Mapping[str, tuple[Word, ...]]

    # ---- the program ----

    @cached_property
    def fields(self) -> dict[str, list[dict[str, int]]]:
        """The words as numbers: by program, a dict of field values for each operation."""
        return {name: [word.values() for word in words] for name, words in self.words.items()}

    def field_widths(self, word: str) -> dict[str, int]:
        """Bits of each field of a program's words."""
        return field_widths(self.fields[word])

    @property
    def latency(self) -> Latency:
        """Latencies of the engine's parts."""
        return self.engine.latency

    @property
    def zero_is_zero(self) -> bool:
        """See hw.plan.parts.PartsModel."""
        return parts_of(self.engine).zero_is_zero

    @property
    def sum_bits(self) -> int:
        """Bits of a signed sum of the array, and of a bias. Where zeros are zero, one more than any
        sum of bytes has, for products of 9-bit operands; a sum and its bias together have as many
        in every engine."""
        return self.model.acc_bits + self.zero_is_zero

    @property
    def state(self) -> Map:
        """The state's place in the banks."""
        return self.maps[STATE]

    # ---- memories ----

    @property
    def line_buffer_words(self) -> int:
        """Words per bank of the line buffer: k rows."""
        model = self.model
        rows = model.rows_per_group * model.in_channels
        return rows * self.geometry.groups(model.image_width)

    @property
    def owners(self) -> tuple[Owner, ...]:
        """The parts that own memories and multipliers."""
        return parts_of(self.engine).owners

    @cached_property
    def memories(self) -> tuple[Memory, ...]:
        """Every addressable memory of the design."""
        found = [memory for owner in self.owners for memory in owner.memories(self)]
        return tuple(sorted(found, key=lambda memory: CATEGORIES.index(memory.category)))

    @property
    def multipliers_beside_array(self) -> list[dict]:
        """Multipliers that are not in the array: purpose, how many, operand bits."""
        return [one for owner in self.owners for one in owner.multipliers(self)]

    @cached_property
    def weight_words(self) -> int:
        """Words of the weight memory."""
        return max(op.weight_base + self.weight_words_of(op) for op in self.operations)

    @cached_property
    def constant_words(self) -> int:
        """Constants in their memory."""
        return max(op.constant_base + op.constants for op in self.operations)

    def weight_words_of(self, op: Operation) -> int:
        """Words of C * L bytes that an operation's weights take."""
        return weight_words(op, self.geometry)

    # ---- cycles ----

    @property
    def row_delay(self) -> int:
        """Cycles from a row's last pixel on the wires to the first step that may read the row."""
        return self.latency.row + self.model.in_channels

    @property
    def frame_turn(self) -> int:
        """Cycles from a frame's last row group to the next frame's first one."""
        return self.latency.frame_turn

    @property
    def frame_take(self) -> int:
        """Cycles from a frame's first pixel on the wires until its first group is waited for."""
        return self.latency.frame_take

    @property
    def cycles_per_frame(self) -> int:
        """Cycles from frame to frame where the camera is never waited for."""
        return self.model.row_groups * self.cycles_per_row_group + self.frame_turn

    def line_rate_hz(self, clock_hz: float) -> float:
        """Lines a second of the fastest even camera that the engine keeps up with at a clock."""
        return self.model.rows_per_group * clock_hz / self.camera_period

    @property
    def macs_per_row_group(self) -> int:
        return sum(op.macs for op in self.operations)

    def utilisation(self) -> float:
        """Array MACs over multipliers x cycles, steady state."""
        return self.macs_per_row_group / (self.engine.multipliers * self.cycles_per_row_group)

    @property
    def classifier_cycles(self) -> int:
        """A run of the classifier."""
        return parts_of(self.engine).classifier(self.model).cycles

    @cached_property
    def answer(self) -> int:
        """Cycle of the steady row group in which the classifier answers."""
        last = self.operations[-1]
        state = last.last_step + self.rules.answer_late(last, self.model.state_channels)
        return state + 1 + self.classifier_cycles

    @cached_property
    def state_touched(self) -> int:
        """Cycle of the steady row group in which the first byte of its state is written."""
        last = self.operations[-1]
        return last.start + self.rules.first_write(last, last.idle, last.pause)

    @property
    def state_stays(self) -> int:
        """Fewest cycles from a row group's event until the next one's first byte of the state is
        written: a host that reads the state has so long. More where the camera is
        waited for, few where the classifier takes longer than all the rest."""
        return self.cycles_per_row_group + self.state_touched - self.answer

    @cached_property
    def settled(self) -> int:
        """Cycles after a step in which all that it has set going has come to its end."""
        late = [int(self.write_times(op).max()) - op.last_step for op in self.operations]
        last = self.operations[-1]
        late.append(self.rules.answer_late(last, self.model.state_channels))
        return max(late) + SETTLE

    @cached_property
    def camera_period(self) -> int:
        """Fewest cycles of a row group at which a camera with even pixels never overruns.

        The camera pauses `frame_turn` cycles between frames, as the engine does. The period is
        `cycles_per_row_group` but for two kinds of networks. Some spend most of a row group in the
        blocks that read the camera's rows: these need rows longer than k rows can be kept. Others
        work on a row group faster than its pixels can be written (`Rules.even_spacing`).
        """
        return replay.shortest_period(self)

    def write_times(self, op: Operation) -> np.ndarray:
        """(channel, word) -> cycle of the write port in the steady row group, for the map that an
        operation writes; 0 where nothing is written. `op.first` dummy channels come first."""
        offsets = self.rules.write_offsets(op, op.idle, op.pause)
        return np.where(offsets < NEVER, op.start + offsets, 0)

    def array_reads(self, op: Operation) -> set[tuple[int, int]]:
        """(cycle of the address, bank) of an operation's reads of n-wide maps."""
        banks = self.rules.banks(op, op.idle, op.pause)
        first = op.start + self.rules.first_address(op)
        return {(first + i, int(bank)) for i, bank in enumerate(banks) if bank >= 0}

    def predict(
        self,
        rows_ready: Sequence[int],
        row_groups: Iterable[int] | None = None,
        start: int = 0,
    ) -> list[int]:
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
        steps = list(replay.timeline(self, rows_ready.__getitem__, groups, start))
        first = self.operations[0]
        return [*(s.start for s in steps if s.op is first), steps[-1].end if steps else start]

    # ---- where a word belongs ----

    def locate(self, op_index: int, bank: int, address: int) -> Place | None:
        """What an operation writes at a bank's address.

        Returns
        -------
        (stage, channel, first_column, valid_columns) or None
        """
        return self._located[op_index].get((bank, address))

    @cached_property
    def _located(self) -> list[dict[tuple[int, int], Place]]:
        return [self._places(op) for op in self.operations]

    def _places(self, op: Operation) -> dict[tuple[int, int], Place]:
        g, e = self.geometry, self.engine
        places: dict[tuple[int, int], Place] = {}
        if op.target == Target.SCORES:
            return places
        m = self.maps[op.out]
        for index, stage in enumerate(op.stages):
            for c in range(op.out_channels):
                for w in range(g.words(op.out_columns)):
                    if op.target == Target.HEAD:
                        lane, group = w % g.head_lanes, w // g.head_lanes
                        row = op.out_row * op.out_channels + c
                        at = (index * g.head_lanes + lane, m.base + row * m.groups + group)
                    else:
                        channel = c + op.first + op.operand_first * e.lanes
                        if op.target == Target.CONCAT:
                            channel = op.layers[index].first + c
                        at = (channel % e.lanes, m.base + (channel // e.lanes) * m.groups + w)
                    first = w * e.pixels
                    places[at] = (stage, c, first, min(e.pixels, op.out_columns - first))
        return places

    # ---- what is lost ----

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What this shape wastes on this network, in words."""
        g, e = self.geometry, self.engine
        found = []
        for op in self.operations:
            words, lanes = g.words(2 * op.out_columns), op.chunks * g.head_lanes
            if op.head_mode and g.head_lanes > 1 and lanes > words and op.row == 0:
                found.append(
                    f"{op.name}: {words} chunks of {e.pixels} pixels on {g.head_lanes} lanes a "
                    f"head: {lanes - words} of {lanes} lane walks idle"
                )
        if g.passes > 1 and g.heads > 1:
            found.append(f"{self.model.heads} heads run in {g.passes} passes of {g.heads}")
        if self.camera_period > 2 * self.cycles_per_row_group:
            why = (
                f"the first block reads {self.model.blocks[0].rows} of "
                f"{self.model.rows_per_group} rows at once, while the camera brings the next ones"
            )
            if self.camera_period == replay.writing_period(self):
                why = (
                    "even pixels of the camera come no closer than "
                    f"{float(self.rules.even_spacing):.3g} cycles"
                )
            found.append(
                f"{why}: a row group takes {self.camera_period:,} cycles at an even camera, "
                f"{self.cycles_per_row_group:,} of them work"
            )
        if (wait := self.operations[0].wait - self.latency.group_turn) > 0:
            found.append(
                f"the classifier takes {self.classifier_cycles:,} cycles, so that a row group "
                f"takes {wait:,} more than its work; its state stays for {self.state_stays:,} "
                "cycles after its row event"
            )
        if self.utilisation() < 0.5:
            found.append(
                f"this shape uses {self.utilisation():.0%} of its multipliers on this network"
            )
        return tuple(found)


def compile_program(model: ModelConfig, engine: EngineConfig) -> Plan:
    """Compile the row program of a network on an array.

    Raises
    ------
    ValueError
        If the shape cannot carry the network.
    """
    geometry, parts = Geometry(model, engine), parts_of(engine)
    operations, maps = build_operations(model, geometry)
    maps, bank_words = allocate(maps)
    rules = parts.rules(geometry)
    classifier = parts.classifier(model).cycles
    schedule = parts.schedule(rules, operations, classifier, softmax_of(model))
    times, cycles = schedule.solve()
    operations = tuple(replace(op, times=t) for op, t in zip(operations, times, strict=True))
    lines = model.rows_per_group * model.in_channels * geometry.groups(model.image_width)
    layout = Layout(geometry=geometry, maps=maps, address_bits=bits_for(max(bank_words, lines)))
    return Plan(
        model=model,
        engine=engine,
        geometry=geometry,
        operations=operations,
        maps=maps,
        bank_words=bank_words,
        cycles_per_row_group=cycles,
        rules=rules,
        words={
            name: tuple(word.of(op, layout) for op in operations)
            for name, word in parts.words.items()
        },
    )
