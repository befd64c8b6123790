"""Networks, states and scenarios for the classifiers of both engines."""

import random

import torch

from golden import classifier as golden
from golden.weights import LayerWeights
from hw.parallel.classifier import Classifier, constant_words
from hw.serial.classifier import SerialClassifier, words

KINDS = {  # part, (channels, hidden, columns), classes, stop class
    "released": (Classifier, (48, 12, 15), 2, 1),
    "first": (Classifier, (9, 3, 7), 2, 0),
    "two": (Classifier, (6, 2, 4), 2, 1),
    "three": (Classifier, (6, 1, 15), 3, 1),
    "last": (Classifier, (5, 4, 2), 5, 4),
    "sixteen": (Classifier, (12, 2, 3), 16, 0),
    "serial": (SerialClassifier, (24, 6, 15), 2, 1),
    "serial one": (SerialClassifier, (1, 1, 1), 2, 1),
    "serial first": (SerialClassifier, (6, 2, 7), 2, 0),
    "serial three": (SerialClassifier, (5, 1, 15), 3, 2),
    "serial five": (SerialClassifier, (4, 3, 2), 5, 1),
    "serial sixteen": (SerialClassifier, (2, 2, 7), 16, 0),
    "serial widest": (SerialClassifier, (1, 1, 128), 2, 1),
}


def layer(weight, bias, shift):
    """A layer of kernel 1."""
    count = len(bias)
    return LayerWeights(
        weight=weight.to(torch.int8).reshape(count, -1, 1, 1),
        bias=torch.as_tensor(bias, dtype=torch.int32),
        multiplier=torch.ones(count, dtype=torch.uint8),
        shift=torch.as_tensor(shift, dtype=torch.uint8),
    )


def random_layers(
    channels, hidden, columns, source, generator, extreme=False, classes=2, longest=31
):
    """Constants that leave x spread over and beyond its 13 bits, shifts from 1 to `longest`."""
    low, high = (-127, 128) if not extreme else (126, 128)
    first = torch.randint(low, high, (hidden, channels), generator=generator)
    last = torch.randint(low, high, (classes, hidden), generator=generator)
    if extreme:
        last = last * torch.tensor([[-1], [1]])
    typical = max(1, (columns * 127 * 127).bit_length() - 12)
    shifts = [min(longest, typical + source.choice([-1, 0, 1, 2])) for _ in range(hidden)]
    for index, shift in enumerate(source.sample([1, longest], min(2, hidden - 1))):
        shifts[index] = shift
    biases = [source.randint(-2048, 2048) << max(0, shift - 2) for shift in shifts]
    biases = [max(-(2**26), min(2**26 - 1, bias)) for bias in biases]
    ends = [source.randint(-(2**29), 2**29) for _ in range(classes)]
    return {
        "classifier.0": layer(first, biases, shifts),
        "classifier.1": layer(last, ends, [0] * classes),
    }


def random_states(count, channels, columns, generator):
    """States: all low, all high, then random ones of random spread."""
    states = torch.randint(-128, 128, (count, channels, columns), generator=generator)
    spread = torch.randint(0, 7, (count, 1, 1), generator=generator)
    states = states >> spread
    states[0], states[1 % count] = -128, 127
    return states


def images(layers, bias_bits=27):
    """Contents of the parallel one's weight memory and of its constants memory."""
    first, last = layers["classifier.0"], layers["classifier.1"]
    weights = first.weight.flatten().tolist() + last.weight.flatten().tolist()
    pairs = list(zip(first.bias.tolist(), first.shift.tolist(), strict=True))
    return weights, constant_words(pairs, last.bias.tolist(), bias_bits=bias_bits)


def pooled(state):
    """What the row engine feeds: (sum, maximum) of each channel."""
    return [(int(row.sum()), int(row.max())) for row in state]


def network(kind: str, seed: int):
    """Layers of a kind of classifier. Every other seed: close logits, some of them always equal."""
    part, sizes, classes, _ = KINDS[kind]
    source, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    longest = 31 if part is Classifier else 19
    layers = random_layers(*sizes, source, generator, classes=classes, longest=longest)
    if seed % 2:
        last = layers["classifier.1"]
        last.bias[:] = torch.tensor([source.randint(-(2**18), 2**18) for _ in range(classes)])
        for index in range(classes):
            other = source.randrange(classes)
            last.weight[index], last.bias[index] = last.weight[other], last.bias[other]
    return layers


def block(kind: str, seed: int | None):
    """A classifier; seed None: with nothing in its memories."""
    part, (channels, hidden, columns), classes, stop_class = KINDS[kind]
    more = {}
    if seed is not None:
        layers = network(kind, seed)
        if part is Classifier:
            more["weights"], more["constants"] = images(layers)
        else:
            more["words"] = words(layers["classifier.0"], layers["classifier.1"])
    return part(
        channels=channels,
        hidden=hidden,
        columns=columns,
        classes=classes,
        stop_class=stop_class,
        **more,
    )


def load(kind: str, seed: int):
    """Part of a scenario: writes a network."""
    layers = network(kind, seed)
    if KINDS[kind][0] is Classifier:
        memories = dict(zip(("weights", "constants"), images(layers), strict=True))
    else:
        memories = {"load": words(layers["classifier.0"], layers["classifier.1"])}
    for name, content in memories.items():
        bits = 8 if name == "weights" else 32
        for address, word in enumerate(content):
            word &= (1 << bits) - 1
            yield {f"{name}__en": 1, f"{name}__addr": address, f"{name}__data": word}


def feed(state, source):
    """Part of a scenario: the channels, shuffled and with bubbles, then the start."""
    channels = list(enumerate(pooled(state)))
    source.shuffle(channels)
    for channel, (total, largest) in channels:
        while source.random() < 0.2:
            yield {}
        yield {
            "pooled__en": 1,
            "pooled__channel": channel,
            "pooled__sum": total,
            "pooled__max": largest,
        }
    out = yield {"start": 1}
    assert not out["busy"] and not out["answer__valid"]


def answers(kind: str, seed: int, count: int = 9, loaded: bool = False, wrong: str = ""):
    """Scenario: runs one after the other, every third begun before and aborted, once as late as may
    be; thresholds at, just below and just above the margin, each enabled or not.

    An answer's logits stay until the next answer.

    wrong: "logit", "index", "stop", "skip" or "cycle" is expected otherwise.
    """
    told: dict[str, int] = {}
    scenario = _answers(kind, seed, count, loaded, wrong, told)
    inputs = next(scenario)
    while True:
        out = yield inputs
        if not out["answer__valid"]:
            found = {name: out[name] for name in told}
            assert found == told, f"logits {found}, not {told} still"
        try:
            inputs = scenario.send(out)
        except StopIteration:
            return


def _answers(kind, seed, count, loaded, wrong, told):
    """The scenario of `answers`; told: gets each answer's logits."""
    part, (channels, _, columns), classes, stop_class = KINDS[kind]
    source, generator = random.Random(seed), torch.Generator().manual_seed(seed + 1)
    layers, cycles = network(kind, seed), block(kind, None).cycles - (wrong == "cycle")
    states = random_states(count, channels, columns, generator)
    if loaded:
        yield from load(kind, seed)
    for run, state in enumerate(states):
        logits = golden.classify(state, layers)
        index, margin = int(golden.decide(logits)), int(golden.margin(logits, stop_class))
        if run % 3 == 2:
            yield from feed(state.flip(0), source)
            for _ in range(cycles - 2 if run == 2 else source.randrange(cycles - 2)):
                out = yield {}
                assert not out["answer__valid"]
            yield {"abort": 1}
            out = yield {}
            assert not out["busy"]
        enables = source.choice([3, 3, 1, 2, 0])
        limit = min(max(margin + run % 3 - 1, -(2**31)), 2**31 - 1)
        given = {
            "thresholds__stop_enable": enables & 1,
            "thresholds__stop": limit,
            "thresholds__skip_enable": enables >> 1,
            "thresholds__skip": limit,
        }
        wanted = {
            "index": index,
            "stop": enables & 1 and margin >= limit,
            "skip": enables >> 1 and margin <= limit,
            **{f"logits__{i}": logit for i, logit in enumerate(logits.tolist())},
        }
        if wrong:
            wanted[{"logit": "logits__1"}.get(wrong, wrong)] = wanted.get(wrong, 0) ^ 1
        yield from feed(state, source)
        for cycle in range(1, cycles + 1):
            # those of other cycles do not count
            other = dict.fromkeys(given, source.getrandbits(1))
            out = yield given if cycle >= cycles - 2 else other
            assert out["answer__valid"] == (cycle == cycles), f"run {run}, cycle {cycle}"
        wanted.pop("cycle", None)
        found = {name: out[f"answer__{name}"] for name in wanted}
        assert found == wanted, f"run {run}: {found}, not {wanted}"
        told |= {f"answer__{name}": value for name, value in found.items() if "logit" in name}
        out = yield {}
        assert not out["answer__valid"]
