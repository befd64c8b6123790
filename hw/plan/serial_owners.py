"""Memories and multipliers of the serial parts (hw.serial), see hw.plan.owners."""

from typing import TYPE_CHECKING, ClassVar

from hw.plan.beside import SerialClassifierTiming
from hw.plan.memory import BY_CONSTANTS, serial_constant_words
from hw.plan.owners import (
    Banks,
    FaultQueue,
    LineBuffer,
    Owner,
    Programs,
    WeightMemory,
    classified,
    multiplier,
    written,
)

if TYPE_CHECKING:
    from hw.plan.plan import Plan

LOW = 16
"""Bits of a sum that a DSP cell of hw.serial.array accumulates."""


def high_bits(max_taps: int) -> int:
    """Bits of a count of the multiples of 2**16 that a walk's sum may pass."""
    passes = (max_taps * 128 * 127 + (1 << LOW) - 1) >> LOW
    return max(2, passes.bit_length() + 1)


def start_words(pixels: int, lanes: int) -> int:
    """Words of the memory of hw.serial.starts: pixel, lane, and a bit of words that stay 0."""
    pixel, lane = (pixels - 1).bit_length(), (lanes - 1).bit_length()
    return (1 << pixel + lane) + ((lanes - 1) << pixel) + pixels


def constant_memory_words(plan: "Plan") -> int:
    """Words of 16 bits of the constant memory."""
    lanes = plan.engine.lanes
    return plan.constant_words // lanes * serial_constant_words(lanes)


class SerialBanks(Banks):
    """Maps and state, hw.serial.window: they read in every cycle, and are written by bytes."""

    def reads(self, plan, op):
        e = plan.engine
        state = sum(s.channels * op.kernel_rows * op.taps for s in op.segments if s.state)
        # an operand is read for two bytes of a lane at a time, one lane after the other
        state = op.walks * (state + op.reads_state_operand * e.lanes * e.pixels // 2)
        yield "state", state
        yield "maps", -state  # of the reads in every cycle

    def writes(self, plan, op):
        values = op.chunks * plan.rules.positions(op)
        yield written(op), op.out_channels * values * len(op.layers)


class SerialBack(Owner):
    """hw.serial.store, .starts and .unit: constants, accumulators, activations, one multiplier of
    each kind."""

    at: ClassVar = {
        "constants": "constant_memory",
        "activation": "unit table",
        "starts": "starts",
    }

    def memories(self, plan):
        yield self.memory(
            "constants",
            category="constants",
            words=constant_memory_words(plan),
            bits=16,
            lives="bias, multiplier and shift of every output channel, loaded once",
            ports="1RW",
            reader=BY_CONSTANTS,
            spram=True,
        )
        yield self.memory(
            "activation",
            category="tables",
            words=512,
            bits=8,
            lives="table of sigmoid and tanh",
            ports="1R",
            always_read=True,
        )

        yield self.memory(
            "starts",
            category="buffers",
            words=start_words(plan.engine.pixels, plan.engine.lanes),
            bits=LOW,
            lives="accumulators as a walk found them; zeros for the first one after a reset",
            always_read=True,
            reader=BY_CONSTANTS,
            writer=BY_CONSTANTS,
        )

    def reads(self, plan, op):
        yield "constants", op.walks * serial_constant_words(plan.engine.lanes)

    def writes(self, plan, op):
        yield "starts", op.walks * plan.engine.multipliers

    def multipliers(self, plan):
        yield multiplier("requantise", 1, plan.model.acc_bits + 1, 8)
        yield multiplier("gate", 1, 10, 9)


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
        yield classified(plan, {}, "classifier")

    def multipliers(self, plan):
        yield multiplier("classifier", 1, 32, 1)


SERIAL_OWNERS = (
    WeightMemory(),
    SerialBack(),
    LineBuffer(),
    SerialBanks(),
    Programs(),
    SerialClassifier(),
    FaultQueue(),
)


def registers(plan: "Plan") -> int:
    """Flip-flops, estimated: fitted to elaborated engines, 4,1,2 to 16,1,2."""
    engine = plan.engine
    high = high_bits(plan.model.max_taps)
    told = 32 * plan.model.class_count
    return 1820 + told + 100 * engine.lanes + round(engine.multipliers * (74.3 + 2 * high))


def clock_registers(plan: "Plan") -> dict[str, int]:
    """As in parallel_owners."""
    camera = 345 + 32 * (plan.model.class_count - 2)
    classifier = 207 + 32 * plan.model.class_count
    return {"host": 123, "classifier": classifier, "camera": camera, "always": 20}


def gated_registers(plan: "Plan") -> int:
    """None: these engines are not mapped to silicon."""
    return 0
