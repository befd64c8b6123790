"""The parts that own memories, as the plan sees them: sizes, lifetimes, reads and writes.

A part here is what a component of hw is there; the hardware takes its sizes from the plan, and
sim/counters.py counts in the running design what `reads` and `writes` tell.
"""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, ClassVar

from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming
from hw.plan.memory import (
    BY_CAMERA,
    BY_CONSTANTS,
    BY_SOFTMAX,
    BY_STORE,
    BY_WALK,
    FAULT_QUEUE,
    SERIAL_CONSTANT_WORDS,
    STATUS_BITS,
    Beside,
    Memory,
)
from hw.plan.operations import Operation, Source, Target, Weights

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


def _multiplier(purpose: str, count: int, *bits: int) -> dict:
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
        if op.weights == Weights.MEMORY:
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
                logic=name in ("walk", "back"),
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
            lives=f"{_number(plan.model.rows_per_group)} picture rows, each overwritten once the "
            "engine has let it go",
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


def _number(rows: int) -> str:
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
            yield _written(op), op.out_channels * words * len(op.layers)


def _written(op: Operation) -> str:
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


# ---- parallel parts ----


class UnitControl(Owner):
    """hw.parallel.unit_control: constants, and the units' own multipliers."""

    at: ClassVar = {"constants": "control constants"}

    def memories(self, plan):
        yield self.memory(
            "constants",
            category="constants",
            words=plan.constant_words,
            bits=plan.model.acc_bits + 13,
            lives="bias, multiplier and shift of every output channel, loaded once",
            ports="1RW",
            reader=BY_CONSTANTS,
        )

    def reads(self, plan, op):
        yield "constants", op.walks * plan.geometry.constant_words(op.head_mode)

    def multipliers(self, plan):
        units = plan.engine.units
        yield _multiplier("requantise", units, plan.model.acc_bits + 1, 8)
        yield _multiplier("activation", units, 6, 5)
        yield _multiplier("gate", units, 10, 9)


class Classifier(Owner):
    """hw.parallel.classifier."""

    at: ClassVar = {
        f"classifier {name}": f"classifier {name}" for name in ("weights", "constants", "values")
    }

    def memories(self, plan):
        shapes = ClassifierTiming.of(plan.model).shapes(columns=plan.model.n)

        def one(name: str, category: str, lives: str, ports: str) -> Memory:
            words, bits = shapes[name]
            return self.memory(
                f"classifier {name}",
                category=category,
                words=words,
                bits=bits,
                lives=lives,
                ports=ports,
            )

        yield one("weights", "weights", "weights of the classifier, loaded once", "1RW")
        yield one("constants", "constants", "the classifier's biases, loaded once", "1RW")
        yield one("values", "buffers", "sums and maxima of H, then the middle layer", "1R1W")

    def beside(self, plan):
        yield _classified(plan, {
            # a hard-swish is two products
            "classifier values": _products(plan) + 2 * plan.model.classifier_hidden,
            "classifier weights": _products(plan),
            "classifier constants": plan.model.classifier_hidden + plan.model.class_count,
        }, "classifier values")  # fmt: skip

    def multipliers(self, plan):
        yield _multiplier("classifier", 1, 18, 8)


def _products(plan: "Plan") -> int:
    model = plan.model
    return model.classifier_hidden * (model.state_channels + model.class_count)


def _classified(plan: "Plan", reads: dict[str, int], values: str) -> Beside:
    """A run of the classifier: p, x and y are written among its values."""
    written = plan.model.state_channels + 2 * plan.model.classifier_hidden
    return Beside(
        name="classifier",
        cycles=plan.classifier_cycles,
        macs=_products(plan),
        weights=_products(plan),
        reads=reads,
        writes={values: written},
    )


class Softmax(Owner):
    """hw.parallel.softmax, with spatial attention."""

    at: ClassVar = {
        "exp table": "softmax table",
        "attention scores": "softmax scores",
        "attention weights": "softmax weights",
        "attention delayed": "softmax delayed",
    }

    def memories(self, plan):
        if not plan.model.spatial:
            return
        yield self.memory(
            "exp table",
            category="tables",
            words=256,
            bits=8,
            lives="exponentials of the softmax, loaded once",
            ports="1RW",
            reader=BY_SOFTMAX,
        )
        unit = SoftmaxTiming(columns=plan.model.n)
        shapes = unit.shapes(heads=plan.model.heads, pixels=plan.engine.pixels)
        for name, lives, reader, writer in (
            ("scores", "rows of S, until the softmax takes them", BY_SOFTMAX, BY_STORE),
            ("weights", "rows of A, the softmax of S", BY_WALK, BY_SOFTMAX),
            ("delayed", "exponentials on their way to the division", BY_SOFTMAX, BY_SOFTMAX),
        ):
            yield self.memory(
                f"attention {name}",
                category="buffers",
                words=shapes[name][0],
                bits=shapes[name][1],
                lives=lives,
                reader=reader,
                writer=writer,
                late=plan.latency.address_one_tap,
            )

    def reads(self, plan, op):
        if op.source == Source.ATTENTION:
            yield "attention weights", op.walks * op.k

    def writes(self, plan, op):
        if op.target == Target.SCORES:
            yield "attention scores", op.out_channels

    def beside(self, plan):
        if not plan.model.spatial:
            return
        rows = plan.model.heads * plan.model.n
        # the table and the delay memory run as long as the unit is busy
        busy = plan.model.heads * (SoftmaxTiming(columns=plan.model.n).cycles - 1)
        yield Beside(
            name="softmax",
            cycles=busy,
            macs=0,
            weights=0,
            reads={"attention scores": rows, "exp table": busy, "attention delayed": busy},
            writes={"attention weights": rows, "attention delayed": busy},
        )

    def multipliers(self, plan):
        if plan.model.spatial:
            yield _multiplier("softmax", 1, 11, 8)


class StateCopy(Owner):
    """The state once more, whose bytes are weights of S = H^T K."""

    at: ClassVar = {"state copy": "state_copy"}

    def memories(self, plan):
        if plan.model.spatial:
            yield self.memory(
                "state copy",
                category="state",
                words=plan.state.words,
                bits=8 * plan.engine.pixels,
                count=plan.engine.lanes,
                lives="H once more: the weights of S = H^T K",
                reader=BY_WALK,
                writer=BY_STORE,
                late=plan.latency.address_one_tap,
            )

    def reads(self, plan, op):
        if op.weights == Weights.STATE:
            yield "state copy", op.walks * op.k

    def writes(self, plan, op):
        if op.writes_state and plan.model.spatial:
            yield "state copy", op.out_channels * plan.geometry.words(op.out_columns)


# ---- serial parts ----


class SerialBanks(Banks):
    """Maps and state, hw.serial.window: they read in every cycle, and are written by bytes."""

    def reads(self, plan, op):
        e = plan.engine
        state = sum(s.channels * op.kernel_rows * op.taps for s in op.segments if s.state)
        # an operand is read for each byte of a lane, one lane after the other
        state = op.walks * (state + op.reads_state_operand * e.lanes * e.pixels)
        yield "state", state
        yield "maps", -state  # of the reads in every cycle

    def writes(self, plan, op):
        values = op.chunks * plan.rules.positions(op)
        yield _written(op), op.out_channels * values * len(op.layers)


class SerialBack(Owner):
    """hw.serial.store and hw.serial.unit: constants, activations, one multiplier of each kind."""

    at: ClassVar = {"constants": "constant_memory", "activation": "unit table"}

    def memories(self, plan):
        yield self.memory(
            "constants",
            category="constants",
            words=SERIAL_CONSTANT_WORDS * plan.constant_words,
            bits=16,
            lives="bias, multiplier and shift of every output channel, loaded once",
            ports="1RW",
            reader=BY_CONSTANTS,
            spram=True,
        )
        yield self.memory(
            "activation",
            category="tables",
            words=1024,
            bits=8,
            lives="table of sigmoid and tanh",
            ports="1R",
            always_read=True,
        )

    def reads(self, plan, op):
        yield "constants", op.walks * plan.engine.lanes * SERIAL_CONSTANT_WORDS

    def multipliers(self, plan):
        yield _multiplier("requantise", 1, plan.model.acc_bits + 1, 4)
        yield _multiplier("gate", 1, 10, 4)


class SerialClassifier(Owner):
    """hw.serial.classifier: one memory for all that it has."""

    at: ClassVar = {"classifier": "classifier_memory"}

    def memories(self, plan):
        model = plan.model
        values = model.state_channels + model.classifier_hidden
        yield self.memory(
            "classifier",
            category="weights",
            words=SerialClassifierTiming.of(model).words + values,
            bits=16,
            lives="weights, biases, sums and middle layer of the classifier",
            ports="1RW",
            always_read=True,
            spram=True,
        )

    def beside(self, plan):
        yield _classified(plan, {}, "classifier")

    def multipliers(self, plan):
        yield _multiplier("classifier", 1, 32, 1)


PARALLEL_OWNERS = (
    WeightMemory(),
    UnitControl(),
    LineBuffer(),
    Banks(),
    Programs(),
    Softmax(),
    Classifier(),
    FaultQueue(),
    StateCopy(),
)
SERIAL_OWNERS = (
    WeightMemory(),
    SerialBack(),
    LineBuffer(),
    SerialBanks(),
    Programs(),
    SerialClassifier(),
    FaultQueue(),
)

_NAMES = {
    place: name for owner in (*PARALLEL_OWNERS, *SERIAL_OWNERS) for name, place in owner.at.items()
}


def memory_name(block: str, name: str) -> str:
    """Name of the memory `name` of a block of the engine; numbers at its end do not matter.

    The banks of maps and state are "maps".
    """
    name = name.rstrip("0123456789")
    here = name if name.endswith("_program") else block
    return _NAMES.get(here) or _NAMES.get(f"{block} {name}") or f"{block} {name}"
