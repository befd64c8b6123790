"""Memory image of the serial engine."""

from golden.weights import Weights
from hw.image import walk_words, weights_section
from hw.loader import Section
from hw.plan import Plan
from hw.plan.beside import SerialClassifierTiming
from hw.plan.serial_owners import constant_memory_words
from hw.serial import classifier
from hw.serial.store import constant_words


def words(plan: Plan, weights: Weights) -> dict[str, list[int]]:
    """Contents of every weight-carrying memory, by section.

    Returns
    -------
    dict
        `weights`: words of L bytes; `constants`: words of hw.serial.store; `classifier`: words of
        hw.serial.classifier.

    Raises
    ------
    ValueError
        If the weights are for another network, or have a shift that the unit cannot do.
    """
    walks, constants = walk_words(plan, weights)
    _check_shifts(plan, weights)
    layers = weights.layers["classifier.0"], weights.layers["classifier.1"]
    return {
        "weights": walks,
        "constants": constant_words(constants, plan.engine.lanes),
        "classifier": classifier.words(*layers),
    }


def _check_shifts(plan: Plan, weights: Weights) -> None:
    limits = plan.engine.limits
    first, last = limits.shifts
    for layer in plan.model.array_layers:
        found = weights.layers[layer.name].shift
        if found.min() < first or found.max() > last:
            raise ValueError(
                f"a {limits.called} engine's shifts are {first}..{last}, but {layer.name} has "
                f"{found.min()}..{found.max()}"
            )


def sections(plan: Plan) -> list[Section]:
    """The loader's sections: the memories that a weights image fills, in its order."""
    return [
        weights_section(plan),
        Section("constants", constant_memory_words(plan), 16),
        Section("classifier", SerialClassifierTiming.of(plan.model).words, 16),
    ]
