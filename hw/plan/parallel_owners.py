"""Memories and multipliers of the parallel parts (hw.parallel), see hw.plan.owners."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hw.plan.beside import ClassifierTiming, SoftmaxTiming
from hw.plan.memory import BY_CONSTANTS, BY_SOFTMAX, BY_STORE, BY_WALK, Beside, Memory
from hw.plan.operations import Source, Target, WeightSource
from hw.plan.owners import (
    Banks,
    FaultQueue,
    LineBuffer,
    Owner,
    Programs,
    WeightMemory,
    classified,
    multiplier,
    products,
)

if TYPE_CHECKING:
    from hw.plan.plan import Plan


class UnitControl(Owner):
    """hw.parallel.unit_control: constants, and the units' own multipliers."""

    at: ClassVar = {"constants": "control constants"}

    def memories(self, plan):
        yield self.memory(
            "constants",
            category="constants",
            words=plan.constant_words,
            bits=plan.sum_bits + 13,
            lives="bias, multiplier and shift of every output channel, loaded once",
            ports="1RW",
            reader=BY_CONSTANTS,
        )

    def reads(self, plan, op):
        yield "constants", op.walks * plan.geometry.constant_words(op.head_mode)

    def multipliers(self, plan):
        units = plan.engine.units
        yield multiplier("requantise", units, plan.model.acc_bits + 1, 8)
        yield multiplier("activation", units, 6, 5)
        yield multiplier("gate", units, 10, 9)


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
        yield classified(plan, {
            # a hard-swish is two products
            "classifier values": products(plan) + 2 * plan.model.classifier_hidden,
            "classifier weights": products(plan),
            "classifier constants": plan.model.classifier_hidden + plan.model.class_count,
        }, "classifier values")  # fmt: skip

    def multipliers(self, plan):
        yield multiplier("classifier", 1, 18, 8)


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
            yield multiplier("softmax", 1, 11, 8)


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
        if op.weights == WeightSource.STATE:
            yield "state copy", op.walks * op.k

    def writes(self, plan, op):
        if op.writes_state and plan.model.spatial:
            yield "state copy", op.out_channels * plan.geometry.words(op.out_columns)


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


def registers(plan: "Plan") -> int:
    """Flip-flops, estimated: see hw.plan.cost.registers.

    A multiplier has its operands, product, sum and drain register; the rest was fitted to the
    flip-flops of elaborated engines, 8,1,2 to 15,3,4, with and without spatial attention.
    """
    engine, spatial = plan.engine, plan.model.spatial
    pixels, units = engine.pixels, engine.units
    bits = engine.multipliers * (8 + 8 + 16 + 2 * plan.model.acc_bits)
    bits += units * (297 + 32.3 * pixels + 73 * engine.channels) + engine.lanes * 72.4 * pixels
    return round(3530 + bits + spatial * (279 + 132 * units + 38 * pixels))


def few_registers(plan: "Plan") -> int:
    """The same of the low-power record: a multiplier has its sum and drain register, a channel unit
    few registers and one of its weight; lanes have no operand, memories no output register, and
    there are fewer old steps."""
    engine, geometry = plan.engine, plan.geometry
    outputs = engine.lanes + geometry.head_lanes + plan.model.spatial
    less = (16 + 16) * engine.multipliers + STEPS_LESS
    less += 8 * engine.pixels * (engine.lanes + outputs) + plan.sum_bits + 13
    less += engine.units * (8 + EVERY_STAGE.of(plan) - FEW_STAGES.of(plan))
    # a bit of each sum and drain register; of a unit's head, of its bias twice
    more = (plan.sum_bits - plan.model.acc_bits) * (2 * engine.multipliers + 3 * engine.units)
    return registers(plan) - less + more


STEPS_LESS = 3 * 50
"""Bits of three steps."""


@dataclass(frozen=True)
class UnitRegisters:
    """Flip-flops of a channel unit: `fixed`, `a_bit` for each bit of a sum, `spatial` with spatial
    attention."""

    fixed: int
    a_bit: int
    spatial: int

    def of(self, plan: "Plan") -> int:
        """Those of a plan's units."""
        model = plan.model
        return self.fixed + self.a_bit * model.acc_bits + self.spatial * model.spatial


EVERY_STAGE = UnitRegisters(373, 8, 126)
"""hw.parallel.channel_unit.EVERY, exactly."""
FEW_STAGES = UnitRegisters(146, 2, 54)
"""hw.parallel.channel_unit.FEW, exactly."""


def clock_registers(plan: "Plan", unit: UnitRegisters = EVERY_STAGE) -> dict[str, int]:
    """Flip-flops of the clocks of hw.plan.awake but the engine's; "always": of the gates' own."""
    model, pixels = plan.model, plan.engine.pixels
    words = 8 * (model.in_channels + plan.geometry.head_lanes) + 4
    camera = 340 + pixels * words + 8 * plan.geometry.head_lanes + 32 * (model.class_count - 2)
    units = plan.engine.units * unit.of(plan)
    return {"host": 154, "classifier": 520, "camera": camera, "units": units, "always": 25}


def gated_registers(plan: "Plan") -> int:
    """Flip-flops of the engine's clock that hardly any edge reaches where each enable of eight and
    more has a gate: drain, operands and words of the store move once a walk, not once a step.

    Fitted to the edges counted in mapped engines, 8,1,2 and 15,3,2 (`make asic POWER=1`).
    """
    return round(509 + plan.engine.multipliers * (38.8 + plan.model.acc_bits))


RESTING = 0.325
"""Of the edges of the array's steps, those that a sum rests in, since its pixel is 0: of trained
networks on photographs (sim.study.operands, clock of the third way and of the second)."""


def few_gated_registers(plan: "Plan") -> int:
    """The same of the low-power record, whose sums of a zero rest; fitted to 15,3,2 and 15,3,4."""
    bits = plan.sum_bits
    return round(509 + plan.engine.multipliers * (32.2 + bits + RESTING * bits))


@dataclass(frozen=True)
class SequencerRegisters:
    """Flip-flops of the sequencers: walks, their steps and addresses, and unit control.

    `fixed`, and `a_unit` for each channel unit's constants; `reached`: those that an edge reaches
    while the engine's clock runs, where each enable of eight and more has a gate. As mapped
    (`make asic POWER=1`): 8,1,2, from which 15,3,2 differs by 2 %.
    """

    fixed: int
    a_unit: int
    reached: int


EVERY_STEP = SequencerRegisters(1085, 74, 989)
FEW_STEPS = SequencerRegisters(798, 74, 706)
"""With the steps of the low-power record; 15,3,2, mapped before a zero was 0 there, less what its
memories' output registers took (103, as elaborated)."""
