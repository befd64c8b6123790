"""Every addressable memory of the design, from the row program alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming

if TYPE_CHECKING:
    from hw.plan.plan import Plan

SERIAL_CONSTANT_WORDS = 4
"""Serial engine: words of 16 bits from one sum's constants to the next; the last is not used."""

FAULT_QUEUE = 4  # frames that may go wrong while the one before them is being finished
STATUS_BITS = 3


@dataclass(frozen=True)
class Memory:
    """An addressable memory of the design; `always_read`: its read ports have no enable."""

    name: str
    category: str
    words: int
    bits: int
    count: int = 1
    always_read: bool = False

    @property
    def bytes(self) -> float:
        return self.count * self.words * self.bits / 8


_PLACES = {
    "lines": "line buffer",
    "maps": "maps",
    "weights": "weights",
    "state_copy": "state copy",
    "faults": "fault queue",
    "control constants": "constants",
    "constant_memory": "constants",
    "softmax table": "exp table",
    "softmax scores": "attention scores",
    "softmax delayed": "attention delayed",
    "softmax weights": "attention weights",
    "unit table": "activation",
    "classifier_memory": "classifier",
}


def memory_name(block: str, name: str) -> str:
    """Name in `memories` of the memory `name` of a block of the engine; numbers do not matter.

    The banks of maps and state are "maps".
    """
    name = name.rstrip("0123456789")
    if name.endswith("_program"):
        return name.replace("_", " ")
    return _PLACES.get(block) or _PLACES.get(f"{block} {name}") or f"{block} {name}"


def memories(plan: "Plan") -> list[Memory]:
    """Every addressable memory of the design.

    The words of the state are a part of the same banks as the maps.
    """
    engine, model = plan.engine, plan.model
    word, state = 8 * engine.pixels, plan.state.words
    if engine.compact:
        return _compact(plan)
    classifier = ClassifierTiming.of(model).shapes(columns=model.n)
    found = [
        Memory("weights", "weights", plan.weight_words, 8 * engine.units),
        Memory("classifier weights", "weights", *classifier["weights"]),
        Memory("constants", "constants", plan.constant_words, model.acc_bits + 13),
        Memory("classifier constants", "constants", *classifier["constants"]),
        Memory(
            "line buffer", "line_buffer", plan.line_buffer_words, word, plan.geometry.head_lanes
        ),
        Memory("maps", "maps", plan.bank_words - state, word, engine.lanes),
        Memory("state", "state", state, word, engine.lanes),
    ]
    for name in plan.fields:
        bits = sum(plan.field_widths(name).values())
        found.append(Memory(f"{name} program", "program", len(plan.operations), bits))
    found += [
        Memory("classifier values", "buffers", *classifier["values"]),
        Memory("fault queue", "buffers", FAULT_QUEUE, STATUS_BITS),
    ]
    if model.spatial:
        shapes = SoftmaxTiming(columns=model.n).shapes(heads=model.heads, pixels=engine.pixels)
        found.append(Memory("exp table", "tables", 256, 8))
        found += [Memory(f"attention {name}", "buffers", *shape) for name, shape in shapes.items()]
        found.append(Memory("state copy", "state", state, word, engine.lanes))
    return found


def _compact(plan: "Plan") -> list[Memory]:
    """The compact engine's: one memory of the classifier, a table of the activations.

    Weights, constants and the walk program have a read enable, the others have none: they read in
    every cycle. Reads of the banks of maps and state that nobody asked for count as the maps'.
    """
    engine, model = plan.engine, plan.model
    word, state = 8 * engine.pixels, plan.state.words
    classifier = SerialClassifierTiming.of(model).words
    values = model.state_channels + model.classifier_hidden
    found = [
        Memory("weights", "weights", plan.weight_words, 8 * engine.units),
        Memory("constants", "constants", SERIAL_CONSTANT_WORDS * plan.constant_words, 16),
        Memory("classifier", "weights", classifier + values, 16, 1, True),
        Memory("line buffer", "line_buffer", plan.line_buffer_words, word, 1, True),
        Memory("maps", "maps", plan.bank_words - state, word, engine.lanes, True),
        Memory("state", "state", state, word, engine.lanes),
        Memory("activation", "tables", 1024, 8, 1, True),
    ]
    for name in plan.fields:
        bits = sum(plan.field_widths(name).values())
        always = name == "back"  # in logic on FPGAs
        found.append(Memory(f"{name} program", "program", len(plan.operations), bits, 1, always))
    return [*found, Memory("fault queue", "buffers", FAULT_QUEUE, STATUS_BITS)]
