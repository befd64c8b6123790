"""What the plan must know of each record of parts: `EngineConfig.parts` names one.

hw.parts has the hardware of the same names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from golden.config import ModelConfig
from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming
from hw.plan.engine_config import EngineConfig
from hw.plan.schedule import Rules, Schedule
from hw.plan.serial_schedule import SerialRules, SerialSchedule
from hw.plan.words import BackWord, DrainWord, OperandWord, StoreWord, WalkWord, Word

if TYPE_CHECKING:
    from hw.plan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class PartsModel:
    """A record of parts, as the compiler sees it; its latencies are `EngineConfig.latency`.

    Attributes
    ----------
    words : dict of str to type
        The row program's words, by sequencer.
    rules, schedule : type
        When words are read and written, and how start times are solved.
    classifier : function of ModelConfig
        Cycles and memories of the classifier.
    multipliers : function of Plan
        Those beside the array: purpose, how many, operand bits.
    """

    words: Mapping[str, type[Word]]
    rules: type[Rules]
    schedule: type[Schedule]
    classifier: Callable[[ModelConfig], ClassifierTiming | SerialClassifierTiming]
    multipliers: Callable[["Plan"], list[dict]]


def _multipliers(plan: "Plan") -> list[dict]:
    units = plan.engine.units
    found = [
        {"purpose": "requantise", "count": units, "bits": [plan.model.acc_bits + 1, 8]},
        {"purpose": "activation", "count": units, "bits": [6, 5]},
        {"purpose": "gate", "count": units, "bits": [10, 9]},
        {"purpose": "classifier", "count": 1, "bits": [18, 8]},
    ]
    if plan.model.spatial:
        found.append({"purpose": "softmax", "count": 1, "bits": [11, 8]})
    return found


def _serial_multipliers(plan: "Plan") -> list[dict]:
    return [
        {"purpose": "requantise", "count": 1, "bits": [plan.model.acc_bits + 1, 4]},
        {"purpose": "gate", "count": 1, "bits": [10, 4]},
        {"purpose": "classifier", "count": 1, "bits": [32, 1]},
    ]


PARTS = {
    "parallel": PartsModel(
        words={"walk": WalkWord, "drain": DrainWord, "operand": OperandWord, "store": StoreWord},
        rules=Rules,
        schedule=Schedule,
        classifier=ClassifierTiming.of,
        multipliers=_multipliers,
    ),
    "serial": PartsModel(
        words={"walk": WalkWord, "back": BackWord},
        rules=SerialRules,
        schedule=SerialSchedule,
        classifier=SerialClassifierTiming.of,
        multipliers=_serial_multipliers,
    ),
}


def parts_of(engine: EngineConfig) -> PartsModel:
    """The record that an engine is built from."""
    return PARTS[engine.parts]


def softmax_of(model: ModelConfig) -> SoftmaxTiming | None:
    """The softmax unit, for spatial attention."""
    return SoftmaxTiming(columns=model.n) if model.spatial else None
