"""What the plan must know of each record of parts: `EngineConfig.parts` names one.

hw.parts has the hardware of the same names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from golden.config import ModelConfig
from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming
from hw.plan.engine_config import EngineConfig
from hw.plan.owners import PARALLEL_OWNERS, SERIAL_OWNERS, Owner
from hw.plan.schedule import Rules, Schedule
from hw.plan.serial_schedule import SerialRules, SerialSchedule
from hw.plan.words import BackWord, DrainWord, OperandWord, StoreWord, WalkWord, Word


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
    owners : tuple of Owner
        The parts that own memories and multipliers.
    """

    words: Mapping[str, type[Word]]
    rules: type[Rules]
    schedule: type[Schedule]
    classifier: Callable[[ModelConfig], ClassifierTiming | SerialClassifierTiming]
    owners: tuple[Owner, ...]


PARTS = {
    "parallel": PartsModel(
        words={"walk": WalkWord, "drain": DrainWord, "operand": OperandWord, "store": StoreWord},
        rules=Rules,
        schedule=Schedule,
        classifier=ClassifierTiming.of,
        owners=PARALLEL_OWNERS,
    ),
    "serial": PartsModel(
        words={"walk": WalkWord, "back": BackWord},
        rules=SerialRules,
        schedule=SerialSchedule,
        classifier=SerialClassifierTiming.of,
        owners=SERIAL_OWNERS,
    ),
}


def parts_of(engine: EngineConfig) -> PartsModel:
    """The record that an engine is built from."""
    return PARTS[engine.parts]


def softmax_of(model: ModelConfig) -> SoftmaxTiming | None:
    """The softmax unit, for spatial attention."""
    return SoftmaxTiming(columns=model.n) if model.spatial else None
