"""The parts that own memories, as the plan sees them: sizes, lifetimes, reads and writes.

A part here is what a component of hw is there; the hardware takes its sizes from the plan, and
sim/counters.py counts in the running design what `reads` and `writes` tell.
"""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, ClassVar

from hw.plan.memory import (
    BY_CAMERA,
    BY_STORE,
    BY_WALK,
    FAULT_QUEUE,
    STATUS_BITS,
    Beside,
    Memory,
)
from hw.plan.operations import Operation, Source, Target, WeightSource

if TYPE_CHECKING:
    from hw.plan.plan import Plan

Access = Iterator[tuple[str, int]]


class Owner:
    """A part with memories; what it does not say is nothing."""

    at: ClassVar[dict[str, str]] = {}
    """Its memories, and where the design has them: see `Memory.at`."""

    def memory(self, name: str, **fields) -> Memory:
        """One of its memories."""
        return Memory(name=name, at=self.at.get(name, ""), **fields)

    def memories(self, plan: "Plan") -> Iterator[Memory]:
        """Its memories."""
        yield from ()

    def reads(self, plan: "Plan", op: Operation) -> Access:
        """(memory, words) that an operation reads, all banks together; but for memories that read
        in every cycle."""
        yield from ()

    def writes(self, plan: "Plan", op: Operation) -> Access:
        """(memory, words) that an operation writes."""
        yield from ()

    def beside(self, plan: "Plan") -> Iterator[Beside]:
        """What it does in a row group beside the array."""
        yield from ()

    def multipliers(self, plan: "Plan") -> Iterator[dict]:
        """Multipliers that are not in the array: purpose, how many, operand bits."""
        yield from ()


def multiplier(purpose: str, count: int, *bits: int) -> dict:
    return {"purpose": purpose, "count": count, "bits": list(bits)}


# ---- both engines ----


class WeightMemory(Owner):
    """hw.weight_sram: a word has a byte for each channel unit."""

    at: ClassVar = {"weights": "weights"}

    def memories(self, plan):
        yield self.memory(
            "weights",
            category="weights",
            words=plan.weight_words,
            bits=8 * plan.engine.units,
            lives="weights of the array's layers, loaded once",
            ports="1RW",
            reader=BY_WALK,
            late=plan.latency.weight_address,
            spram=True,
        )

    def reads(self, plan, op):
        if op.weights == WeightSource.MEMORY:
            # a word holds the weights of as many steps as a head has lanes
            lanes = plan.geometry.head_lanes if op.head_mode else 1
            yield "weights", op.walks * ceil(op.k / lanes)


class Programs(Owner):
    """The row program's ROMs, hw.common.WordFetch."""

    LIVES: ClassVar = {
        "walk": "row program: what is read",
        "drain": "row program: functions and constants",
        "operand": "row program: bytes beside the stream",
        "store": "row program: what is written",
        "pace": "row program: how sums leave, and their constants",
        "back": "row program: functions, operands, what is written",
    }
    at: ClassVar = {f"{name} program": f"{name}_program" for name in LIVES}

    def memories(self, plan):
        always = plan.rules.programs_always_read
        for name in plan.words:
            yield self.memory(
                f"{name} program",
                category="program",
                words=len(plan.operations),
                bits=sum(plan.field_widths(name).values()),
                lives=self.LIVES[name],
                ports="1R",
                always_read=name in always,
                logic=name in ("walk", "pace", "back"),
            )

    def reads(self, plan, op):
        for name in plan.words:
            if name not in plan.rules.programs_always_read:
                yield f"{name} program", 1


class LineBuffer(Owner):
    """hw.line_buffer: k rows of the picture."""

    at: ClassVar = {"line buffer": "lines"}

    def memories(self, plan):
        serial = plan.rules.one_byte
        yield self.memory(
            "line buffer",
            category="line_buffer",
            words=plan.line_buffer_words,
            bits=8 * plan.engine.pixels,
            count=plan.geometry.head_lanes,
            lives=f"{number_word(plan.model.rows_per_group)} picture rows, each overwritten once "
            "the engine has let it go",
            always_read=serial,
            reader=BY_WALK,
            late=plan.latency.address_three_tap,
            writer=BY_CAMERA,
        )

    def reads(self, plan, op):
        if op.source == Source.CAMERA and not plan.rules.one_byte:
            (segment,) = op.segments
            yield "line buffer", _row_words(plan, op, segment.channels)

    def beside(self, plan):
        model = plan.model
        pixels = model.rows_per_group * model.image_width
        row = plan.geometry.words(model.image_width)
        words = pixels if plan.rules.one_byte else model.rows_per_group * row
        yield Beside(
            name="camera",
            cycles=pixels,
            macs=0,
            weights=0,
            reads={},
            writes={"line buffer": model.in_channels * words},
        )


def number_word(rows: int) -> str:
    """k in words."""
    return {3: "three", 5: "five", 7: "seven", 9: "nine"}[rows]


def _row_words(plan: "Plan", op: Operation, channels: int) -> int:
    """Words of a map that the walks of an operation read, of some of its channels, in one head."""
    lanes = plan.geometry.head_lanes if op.head_mode else 1
    per_row = float(lanes)
    if op.taps == 3:
        # the word on the left and on the right, where there is one
        edges = 2 * op.chunks - 1 - (op.chunks == ceil(op.in_words / lanes))
        per_row = (op.chunks * lanes + edges) / op.chunks
    return round(channels * op.kernel_rows * op.walks * per_row)


class Banks(Owner):
    """Maps and state, hw.parallel.maps."""

    at: ClassVar = {"maps": "maps"}

    def memories(self, plan):
        always = plan.rules.one_byte
        shape = {"bits": 8 * plan.engine.pixels, "count": plan.engine.lanes}
        yield self.memory(
            "maps",
            category="maps",
            words=plan.bank_words - plan.state.words,
            lives="the maps of a row group, one over the other by lifetime (drawing)",
            always_read=always,
            reader=BY_WALK,
            writer=BY_STORE,
            **shape,
        )
        yield self.memory(
            "state",
            category="state",
            words=plan.state.words,
            lives="H from row group to row group, rewritten in place, in the banks of the maps",
            banks="maps",
            reader=BY_WALK,
            writer=BY_STORE,
            **shape,
        )

    def reads(self, plan, op):
        g, e, state = plan.geometry, plan.engine, plan.state
        if op.source in (Source.HEAD, Source.SHARED):
            heads = g.heads if op.head_mode else 1
            for segment in op.segments:
                words = _row_words(plan, op, segment.channels)
                yield "state" if segment.state else "maps", words * heads
        # operands: one word a channel unit's lane, the same address in all banks
        fetched = [plan.maps[name].base for name in (op.operand_value, *op.operands) if name]
        if op.operand_value:  # P lies `operand_first` channels into C
            fetched[1] += op.operand_first * g.state_words
        mask = (1 << (plan.bank_words - 1).bit_length()) - 1
        for base in fetched:
            inside = sum(
                state.base <= (base + offset & mask) < state.base + state.words
                for offset in _offsets(plan, op)
            )
            yield "state", inside * e.lanes
            yield "maps", (op.walks * e.channels - inside) * e.lanes

    def writes(self, plan, op):
        if op.target != Target.SCORES:
            words = plan.geometry.words(op.out_columns)
            yield written(op), op.out_channels * words * len(op.layers)


def written(op: Operation) -> str:
    return "state" if op.writes_state else "maps"


def _offsets(plan: "Plan", op: Operation) -> Iterator[int]:
    """Offsets of the operand words of all walks."""
    channels, state_words = plan.engine.channels, plan.geometry.state_words
    for group in range(op.out_groups):
        for chunk in range(op.chunks):
            for k in range(channels):
                yield (group * channels + k) * state_words + chunk


class FaultQueue(Owner):
    """hw.frames."""

    at: ClassVar = {"fault queue": "faults"}

    def memories(self, plan):
        yield self.memory(
            "fault queue",
            category="buffers",
            words=FAULT_QUEUE,
            bits=STATUS_BITS,
            lives="frames that went wrong, until they are told",
            logic=True,
        )


def products(plan: "Plan") -> int:
    model = plan.model
    return model.classifier_hidden * (model.state_channels + model.class_count)


def classified(plan: "Plan", reads: dict[str, int], values: str) -> Beside:
    """A run of the classifier: p, x and y are written among its values."""
    written = plan.model.state_channels + 2 * plan.model.classifier_hidden
    return Beside(
        name="classifier",
        cycles=plan.classifier_cycles,
        macs=products(plan),
        weights=products(plan),
        reads=reads,
        writes={values: written},
    )
