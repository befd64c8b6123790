"""Memory image: the integer weights as words of the engine's memories."""

from golden.weights import LayerWeights
from golden.weights import Weights as NetworkWeights
from hw.loader import Section
from hw.parallel.classifier import constant_words
from hw.parallel.unit_control import constant, constant_layout
from hw.plan import Operation, Plan, Weights
from hw.plan.beside import CLASSIFIER_BIAS_BITS, SerialClassifierTiming
from hw.serial.classifier import words as compact_words
from hw.serial.store import WORDS
from hw.serial.store import constant_words as compact_constants


def _pack(values, bits: int) -> int:
    """Pack signed numbers of `bits` bits into one word, the first lowest."""
    word = 0
    for i, value in enumerate(values):
        word |= (int(value) & ((1 << bits) - 1)) << (bits * i)
    return word


def _operation_weights(plan: Plan, op: Operation, layers: list[LayerWeights]) -> list[int]:
    """Weight words of an operation in the order of the walks."""
    g, e = plan.geometry, plan.engine
    words = []
    tensors = [layer.weight.tolist() for layer in layers]
    for group in range(op.out_groups):
        if op.head_mode:
            steps = []
            for c in range(op.segments[0].channels):
                for ky in range(op.kernel_rows):
                    for kx in range(op.taps):
                        steps.append(
                            [
                                tensor[o][c][ky][kx]
                                if (o := group * e.channels + k) < op.out_channels
                                else 0
                                for tensor in tensors
                                for k in range(e.channels)
                            ]
                        )
            for i in range(0, len(steps), g.head_lanes):
                words.append(_pack([w for step in steps[i : i + g.head_lanes] for w in step], 8))
        else:
            (tensor,) = tensors
            outs = [group * e.units + u - op.first for u in range(e.units)]
            inputs = sum(s.channels for s in op.segments)
            for c in range(inputs):
                for kx in range(op.taps):
                    words.append(
                        _pack(
                            [tensor[o][c][0][kx] if 0 <= o < op.out_channels else 0 for o in outs],
                            8,
                        )
                    )
    return words


def _operation_constants(
    plan: Plan, op: Operation, layers: list[LayerWeights]
) -> list[tuple[int, int, int]]:
    """Bias, multiplier and shift of an operation, one per channel unit and channel group."""
    g, e = plan.geometry, plan.engine
    zero = (0, 0, 1)

    def taken(layer, channel):
        return tuple(int(v[channel]) for v in (layer.bias, layer.multiplier, layer.shift))

    if op.weights != Weights.MEMORY:
        return [taken(layers[0], 0)] * op.constants
    found = []
    for group in range(op.out_groups):
        if op.head_mode:
            found += [
                taken(layer, o) if (o := group * e.channels + k) < op.out_channels else zero
                for layer in layers
                for k in range(e.channels)
            ]
        else:
            outs = [group * e.units + u - op.first for u in range(e.units)]
            found += [taken(layers[0], o) if 0 <= o < op.out_channels else zero for o in outs]
    assert len(found) == op.constants and g.heads == plan.geometry.heads
    return found


def memory_words(plan: Plan, weights: NetworkWeights) -> dict[str, list]:
    """Contents of every weight-carrying memory.

    Returns
    -------
    dict
        `weights`: words of C * L bytes; `constants`: as hw.parallel.unit_control has them;
        `classifier_weights`: signed bytes; `classifier_constants`: words; `exp_table` (spatial
        attention only): bytes. Compact: `constants`, words of hw.serial.store; `classifier`, words
        of hw.serial.classifier.

    Raises
    ------
    ValueError
        If the weights are for another network.
    """
    weights.check(plan.model)
    words: dict[str, list] = {"weights": [], "constants": []}
    seen = set()
    for op in plan.operations:
        if op.layer.name in seen:
            continue
        seen.add(op.layer.name)
        layers = [weights.layers[layer.name] for layer in op.layers]
        if op.weights == Weights.MEMORY:
            words["weights"] += _operation_weights(plan, op, layers)
        words["constants"] += _operation_constants(plan, op, layers)
    assert len(words["weights"]) == plan.weight_words
    assert len(words["constants"]) == plan.constant_words
    first, second = weights.layers["classifier.0"], weights.layers["classifier.1"]
    if plan.engine.compact:
        return words | {
            "constants": [word for c in words["constants"] for word in compact_constants(*c)],
            "classifier": compact_words(first, second),
        }
    words["constants"] = [constant(*c) for c in words["constants"]]
    words["classifier_weights"] = [
        *first.weight.flatten().tolist(),
        *second.weight.flatten().tolist(),
    ]
    words["classifier_constants"] = constant_words(
        list(zip(first.bias.tolist(), first.shift.tolist(), strict=True)),
        second.bias.tolist(),
        bias_bits=CLASSIFIER_BIAS_BITS,
    )
    if weights.exp_table is not None:
        words["exp_table"] = weights.exp_table.tolist()
    return words


def sections(plan: Plan) -> list[Section]:
    """The loader's sections: the memories that a weights image fills, in its order."""
    model = plan.model
    found = [Section("weights", plan.weight_words, 8 * plan.engine.units)]
    if plan.engine.compact:
        count = SerialClassifierTiming(
            channels=model.state_channels, hidden=model.classifier_hidden
        ).words
        return [
            *found,
            Section("constants", WORDS * plan.constant_words, 16),
            Section("classifier", count, 16),
        ]
    found += [
        Section("constants", plan.constant_words, model.acc_bits + 13),
        Section("classifier_weights", model.classifier_hidden * (model.state_channels + 2), 8),
        Section("classifier_constants", model.classifier_hidden + 2, CLASSIFIER_BIAS_BITS + 5),
    ]
    if model.spatial_attention != "none":
        found.append(Section("exp_table", 256, 8))
    return found


def flat_words(plan: Plan, words: dict[str, list]) -> dict[str, list[int]]:
    """The same words as plain numbers, as the loader's stream carries them."""
    if plan.engine.compact:
        return words
    layout = constant_layout(plan.model.acc_bits)
    return words | {"constants": [layout.const(c).as_value().value for c in words["constants"]]}
