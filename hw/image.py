"""Memory image: what the walks of every engine take, as words of its memories.

hw.parallel.image and hw.serial.image have the rest; hw.parts.weights_image makes the whole.
"""

from golden.weights import LayerWeights, Weights
from hw.loader import Section
from hw.plan import Operation, Plan, WeightSource


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
        bias, *scale = (int(v[channel]) for v in (layer.bias, layer.multiplier, layer.shift))
        if plan.zero_is_zero and op.zero_point:  # the operands are without it
            bias += op.zero_point * int(layer.weight[channel].sum())
        return (bias, *scale)

    if op.weights != WeightSource.MEMORY:
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


def walk_words(plan: Plan, weights: Weights) -> tuple[list[int], list[tuple]]:
    """What the walks take from their memories, in order.

    Returns
    -------
    list of int
        Weight words of C * L bytes.
    list of (bias, multiplier, shift)
        Constants, one per channel unit and channel group.

    Raises
    ------
    ValueError
        If the weights are for another network.
    """
    weights.check(plan.model)
    words, constants, seen = [], [], set()
    for op in plan.operations:
        if op.layer.name in seen:
            continue
        seen.add(op.layer.name)
        layers = [weights.layers[layer.name] for layer in op.layers]
        if op.weights == WeightSource.MEMORY:
            words += _operation_weights(plan, op, layers)
        constants += _operation_constants(plan, op, layers)
    assert len(words) == plan.weight_words
    assert len(constants) == plan.constant_words
    return words, constants


def weights_section(plan: Plan) -> Section:
    """The loader's first section in every engine."""
    return Section("weights", plan.weight_words, 8 * plan.engine.units)
