"""What the plan must know of each record of parts: `EngineConfig.parts` names one.

hw.parts has the hardware of the same names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from golden.config import ModelConfig
from hw.plan import parallel_owners, serial_owners
from hw.plan.back_words import BackWord, DrainWord, OperandWord, PaceWord, StoreWord
from hw.plan.beside import ClassifierTiming, SerialClassifierTiming, SoftmaxTiming
from hw.plan.engine_config import EngineConfig, default_shape
from hw.plan.owners import Owner
from hw.plan.rules import Rules
from hw.plan.schedule import Schedule
from hw.plan.serial_rules import SerialRules
from hw.plan.serial_schedule import SerialSchedule
from hw.plan.words import WalkWord, Word

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
    owners : tuple of Owner
        The parts that own memories and multipliers.
    registers : function of Plan
        Flip-flops of the engine, an estimate.
    clock_registers : function of Plan
        Those of hw.plan.awake's clocks but the engine's, by clock; "always": of the gates' own.
    gated_registers : function of Plan
        Those of the engine's clock that hardly any edge reaches behind gates of their own.
    sequencers : SequencerRegisters or None
        Those of the sequencers, where they were measured.
    zero_is_zero : bool
        The array multiplies what a map's bytes stand for: behind a ReLU 0..255, of 9 bits, where a
        byte is that less 128. Sums and biases have one bit more (`Plan.sum_bits`), and what biases
        hold for zero points is taken out of them.
    registers_within : int
        Per cent by which the estimate may be wrong.
    about : str
        What is special about it, in words.
    only_fpgas : bool
        It is not mapped to standard cells (sim.study.asic).
    usual : function of ModelConfig
        The shape "pixels,channels,lanes" that is used where the user names none.
    compared : function of int
        Shapes (P, C, L) that a report compares, for n columns of the state.
    """

    words: Mapping[str, type[Word]]
    rules: type[Rules]
    schedule: type[Schedule]
    classifier: Callable[[ModelConfig], ClassifierTiming | SerialClassifierTiming]
    owners: tuple[Owner, ...]
    registers: Callable[["Plan"], int]
    clock_registers: Callable[["Plan"], dict[str, int]]
    gated_registers: Callable[["Plan"], int]
    registers_within: int
    sequencers: parallel_owners.SequencerRegisters | None = None
    zero_is_zero: bool = False
    about: str = ""
    only_fpgas: bool = False
    usual: Callable[[ModelConfig], str]
    compared: Callable[[int], Iterable[tuple[int, int, int]]]


def _even(columns: int) -> int:
    return columns + columns % 2


PARTS = {
    "parallel": PartsModel(
        words={"walk": WalkWord, "drain": DrainWord, "operand": OperandWord, "store": StoreWord},
        rules=Rules,
        schedule=Schedule,
        classifier=ClassifierTiming.of,
        owners=parallel_owners.PARALLEL_OWNERS,
        registers=parallel_owners.registers,
        clock_registers=parallel_owners.clock_registers,
        gated_registers=parallel_owners.gated_registers,
        registers_within=3,
        sequencers=parallel_owners.EVERY_STEP,
        usual=lambda model: str(default_shape(model)),
        compared=lambda columns: product((columns,), (1, 2, 3, 5), (1, 2, 4)),
    ),
    "serial": PartsModel(
        words={"walk": WalkWord, "pace": PaceWord, "back": BackWord},
        rules=SerialRules,
        schedule=SerialSchedule,
        classifier=SerialClassifierTiming.of,
        owners=serial_owners.SERIAL_OWNERS,
        registers=serial_owners.registers,
        clock_registers=serial_owners.clock_registers,
        gated_registers=serial_owners.gated_registers,
        registers_within=10,
        about="for small FPGAs: one channel unit for all lanes, and memories that read in every "
        "cycle",
        only_fpgas=True,
        usual=lambda model: f"8,1,{max(2, model.heads)}",
        # those that hold the n columns in a word are compiled in no time
        compared=lambda columns: product(
            (_even(columns), _even(columns) + 4, 2 * _even(columns)), (1,), (2, 3, 4)
        ),
    ),
}
PARTS["packed"] = replace(
    PARTS["parallel"],
    about="where LUTs are short: a DSP cell of an ECP5 makes two products",
    only_fpgas=True,
)

PARTS["low_power"] = replace(
    PARTS["parallel"],
    registers=parallel_owners.few_registers,
    clock_registers=partial(parallel_owners.clock_registers, unit=parallel_owners.FEW_STAGES),
    gated_registers=parallel_owners.few_gated_registers,
    registers_within=3,
    sequencers=parallel_owners.FEW_STEPS,
    zero_is_zero=True,
    about="for silicon at a slow clock: sums follow their operands without a register between, a "
    "channel unit has few, and a zero switches nothing",
)


def parts_of(engine: EngineConfig) -> PartsModel:
    """The record that an engine is built from."""
    return PARTS[engine.parts]


def softmax_of(model: ModelConfig) -> SoftmaxTiming | None:
    """The softmax unit, for spatial attention."""
    return SoftmaxTiming(columns=model.n) if model.spatial else None


_NAMES = {
    place: name
    for parts in PARTS.values()
    for owner in parts.owners
    for name, place in owner.at.items()
}


def memory_name(block: str, name: str) -> str:
    """Name of the memory `name` of a block of the engine; numbers at its end do not matter.

    The banks of maps and state are "maps".
    """
    name = name.rstrip("0123456789")
    here = name if name.endswith("_program") else block
    return _NAMES.get(here) or _NAMES.get(f"{block} {name}") or f"{block} {name}"
