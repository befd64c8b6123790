"""Memory image of the parallel engine."""

from golden.weights import Weights
from hw.image import walk_words, weights_section
from hw.loader import Section
from hw.parallel.classifier import constant_words
from hw.parallel.unit_control import constant, constant_layout
from hw.plan import Plan
from hw.plan.beside import CLASSIFIER_BIAS_BITS, ClassifierTiming


def words(plan: Plan, weights: Weights) -> dict[str, list]:
    """Contents of every weight-carrying memory, by section.

    Returns
    -------
    dict
        `weights`: words of C * L bytes; `constants`: as hw.parallel.unit_control has them;
        `classifier_weights`: signed bytes; `classifier_constants`: words; `exp_table` (spatial
        attention only): bytes.

    Raises
    ------
    ValueError
        If the weights are for another network.
    """
    walks, constants = walk_words(plan, weights)
    first, second = weights.layers["classifier.0"], weights.layers["classifier.1"]
    found = {
        "weights": walks,
        "constants": [constant(*c) for c in constants],
        "classifier_weights": [
            *first.weight.flatten().tolist(),
            *second.weight.flatten().tolist(),
        ],
        "classifier_constants": constant_words(
            list(zip(first.bias.tolist(), first.shift.tolist(), strict=True)),
            second.bias.tolist(),
            bias_bits=CLASSIFIER_BIAS_BITS,
        ),
    }
    if weights.exp_table is not None:
        found["exp_table"] = weights.exp_table.tolist()
    return found


def sections(plan: Plan) -> list[Section]:
    """The loader's sections: the memories that a weights image fills, in its order."""
    model = plan.model
    classifier = ClassifierTiming.of(model).shapes(columns=model.n)
    found = [
        weights_section(plan),
        Section("constants", plan.constant_words, constant_layout(plan.sum_bits).size),
        Section("classifier_weights", *classifier["weights"]),
        Section("classifier_constants", *classifier["constants"]),
    ]
    return found + ([Section("exp_table", 256, 8)] if model.spatial else [])


def flat_words(plan: Plan, words: dict[str, list]) -> dict[str, list[int]]:
    """The same words as plain numbers, as the loader's stream carries them."""
    layout = constant_layout(plan.sum_bits)
    return words | {"constants": [layout.const(c).as_value().value for c in words["constants"]]}
