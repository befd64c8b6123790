# amaranth: UnusedElaboratable=no
"""The parts of hw/parallel/classifier.py alone, against golden/classifier.py; see test_classifier.

The pooled values, the order of the products, their two factors, what becomes of the sums.
"""

import random

import pytest
import torch

from golden import classifier as golden
from hw.parallel.classifier import X_BITS, Factors, Issue, PoolSum, Product, Results
from hw.plan.beside import POOL_STAGES, ClassifierTiming
from tests.bench_blocks import on_amaranth

# ---- PoolSum: p ----


def summed(channels: int, columns: int, seed: int, wrong: str = ""):
    """Scenario: channels of states with bubbles; each p three cycles later.

    wrong: "value", "channel" or "cycle" is expected otherwise.
    """
    source, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    state = torch.randint(-128, 128, (channels, columns), generator=generator)
    state[0], state[-1] = -128, 127
    right, late = golden.pool(state).tolist(), POOL_STAGES - 1 - (wrong == "cycle")
    due, cycle = {}, 0
    waiting = list(range(channels))
    while waiting or due:
        given = {}
        if waiting and source.random() < 0.7:
            channel = waiting.pop(source.randrange(len(waiting)))
            total, largest = int(state[channel].sum()), int(state[channel].max())
            given = {"en": 1, "channel": channel, "sum": total, "max": largest}
            due[cycle + late] = channel ^ (wrong == "channel"), right[channel] ^ (wrong == "value")
        out = yield {f"pooled__{name}": value for name, value in given.items()}
        wanted = due.pop(cycle, None)
        assert out["en"] == (wanted is not None), f"cycle {cycle}"
        assert wanted in (None, (out["channel"], out["value"])), f"cycle {cycle}: {wanted}"
        cycle += 1


@pytest.mark.parametrize("channels, columns", [(48, 15), (3, 1), (7, 512)])
def test_pool_sum(channels, columns):
    on_amaranth(PoolSum(channels=channels, columns=columns), summed(channels, columns, 1))


@pytest.mark.parametrize("wrong", ["value", "channel", "cycle"])
def test_pool_sum_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(PoolSum(channels=8, columns=15), summed(8, 15, 1, wrong))


def test_pool_sum_of_another_width_is_seen():
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(PoolSum(channels=8, columns=14), summed(8, 15, 1))


# ---- Issue: the order of the products ----


def products(timing: ClassifierTiming):
    """Cycle after `start` -> (kind, first, last, value's and weight's address, low digit)."""
    d, hidden, found = timing.channels, timing.hidden, {}
    cycle = POOL_STAGES
    for output in range(hidden):
        for i in range(d):
            found[cycle] = Product.FC1, i == 0, i == d - 1, i, output * d + i, None
            cycle += 1
        cycle += timing.fc1_wait if output < hidden - 1 else timing.swish_wait
    for output in range(hidden):
        for digit in (0, 1):
            found[cycle] = Product.SWISH, digit == 0, digit == 1, d + output, None, digit
            cycle += 1
    cycle += timing.fc2_wait
    for output in range(timing.classes):
        for i in range(hidden):
            weight = hidden * d + output * hidden + i
            found[cycle] = Product.FC2, i == 0, i == hidden - 1, d + i, weight, None
            cycle += 1
    return found


def issued(sizes, runs: int = 2, wrong: int | None = None):
    """Scenario: runs, the second after an abort in the middle; every product in its cycle.

    wrong: a product whose value's address is expected otherwise.
    """
    timing = ClassifierTiming(channels=sizes[0], hidden=sizes[1], classes=sizes[2])
    wanted = products(timing)
    if wrong is not None:
        cycle = sorted(wanted)[wrong]
        kind, first, last, value, weight, digit = wanted[cycle]
        wanted[cycle] = kind, first, last, value ^ 1, weight, digit
    # the last product's sum, its comparison, the answer
    assert max(wanted) + timing.capture + 3 + (sizes[2] > 2) == timing.cycles
    for run in range(runs):
        for cycle in range(max(wanted) + 3 if run % 2 == 0 else max(wanted) // 2):
            out = yield {"start": cycle == 0}
            right, where = wanted.get(cycle), f"run {run}, cycle {cycle}"
            assert out["begin"] == (cycle == POOL_STAGES - 1), where
            assert out["valid"] == (right is not None), where
            assert out["weight_en"] == (right is not None and right[0] != Product.SWISH), where
            if right is None:
                continue
            kind, first, last, value, weight, digit = right
            assert (out["kind"], out["first"], out["last"]) == (kind, first, last), where
            assert out["value"] == value, f"{where}: value {out['value']}, not {value}"
            assert weight is None or out["weight"] == weight, where
            assert digit is None or out["digit"] == digit, where
        yield {"abort": 1}
        out = yield {}
        assert not out["valid"]


SIZES = [(48, 12, 2), (4, 3, 2), (40, 1, 3), (1, 1, 16), (6, 20, 5)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_issue(sizes):
    timing = ClassifierTiming(channels=sizes[0], hidden=sizes[1], classes=sizes[2])
    on_amaranth(Issue(timing), issued(sizes, 3))


@pytest.mark.parametrize("place", [0, 17, 30])
def test_issue_differences_are_seen(place):
    sizes = (4, 3, 7)
    timing = ClassifierTiming(channels=sizes[0], hidden=sizes[1], classes=sizes[2])
    with pytest.raises(AssertionError, match="value"):
        on_amaranth(Issue(timing), issued(sizes, 1, place))
    with pytest.raises(AssertionError, match="run 0, cycle"):
        on_amaranth(Issue(ClassifierTiming(channels=4, hidden=4, classes=7)), issued(sizes, 1))


# ---- Factors: two factors, whose products are FC1's, the hard-swish's, FC2's ----


def factors(bits: int, seed: int, wrong: str = ""):
    """Scenario: values and weights a cycle, then x in two digits; what the multiplier is given.

    wrong: "product" expects one more, "cycle" a cycle earlier.
    """
    source, ends = random.Random(seed), [-(1 << bits - 1), (1 << bits - 1) - 1, 0]
    jobs = [(source.choice([*ends, source.randint(*ends[:2])]), source.randint(-128, 127), None)
            for _ in range(60)]  # fmt: skip
    edges = [-4096, 4095, -769, -768, -767, -1, 0, 767, 768, 769]
    for x in [*edges, *(source.randint(-4096, 4095) for _ in range(60))]:
        jobs += [(x, 0, 0), (x, 0, 1)]
    late = 3 - (wrong == "cycle")
    found = []
    for cycle in range(len(jobs) + 3):
        value, weight, _ = jobs[cycle] if cycle < len(jobs) else (0, 0, None)
        digit = jobs[cycle - 2][2] if 2 <= cycle < len(jobs) + 2 else None
        out = yield {
            "value": value,
            "weight": weight,
            "swish": digit is not None,
            "low_digit": digit == 0,
        }
        if late <= cycle < len(jobs) + late:
            found.append(out["a"] * out["b"])
    swish = iter(found[60:])
    for number, (value, weight, _) in enumerate(jobs[:60]):
        right = value * weight + (wrong == "product")
        assert found[number] == right, f"product {number}: {found[number]}, not {right}"
    for x, digit in [job[::2] for job in jobs[60:]]:
        if digit == 0:
            y = next(swish) + next(swish) + 128 >> 8
            right = int(golden.hard_swish(torch.tensor(x))) + (wrong == "product")
            assert y == right, f"product of {x}: {y}, not {right}"


@pytest.mark.parametrize("bits", [16, 18])
def test_operands(bits):
    on_amaranth(Factors(value_bits=bits), factors(bits, 1))


@pytest.mark.parametrize("wrong", ["product", "cycle"])
def test_operands_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="product"):
        on_amaranth(Factors(value_bits=16), factors(16, 1, wrong))


# ---- Results: x of FC1's sums, logits and margin of FC2's ----


def resulted(classes: int, stop_class: int, seed: int, runs: int = 20, wrong: str = ""):
    """Scenario: sums of FC1 with every shift, then those of FC2; some logits are equal.

    wrong: "x", "logit", "margin", "largest" or "cycle" is expected otherwise.
    """
    source = random.Random(seed)
    for run in range(runs):
        yield {"begin": 1}
        for _ in range(4):
            shift = source.randint(1, 31)
            edges = [-(2**31), 2**31 - 1, (4096 << shift) - (1 << shift - 1), -(4097 << shift)]
            total = source.choice([*edges, source.randint(-(4200 << shift), 4200 << shift)])
            total = min(max(total, -(2**31)), 2**31 - 1)
            right = min(max(total + (1 << shift - 1) >> shift, -4096), 4095) + (wrong == "x")
            yield {"fc1": 1, "sum": total, "shift": shift}
            for cycle in range(1, shift + 3):
                out = yield {"sum": source.getrandbits(31)}
                end = cycle == shift + 2 - (wrong == "cycle")
                assert out["x_valid"] == end, f"run {run}, shift {shift}: cycle {cycle}"
            assert out["x"] == right, f"run {run}, {total} >> {shift}: {out['x']}, not {right}"
        few = [source.randint(-(2**31), 2**31 - 1) for _ in range(1 + run % classes)]
        logits = [source.choice(few) for _ in range(classes)]
        for number, logit in enumerate(logits):
            for _ in range(source.randrange(3)):
                out = yield {"sum": source.getrandbits(31)}
                assert not out["complete"]
            yield {"fc2": 1, "sum": logit}
            assert number == 0 or not out["complete"]
        last = {"sum": logits[-1]}  # nothing follows it
        for _ in range(2 if classes > 2 else 1):
            assert not out["complete"]
            out = yield last
        where = f"run {run}, {logits}"
        assert out["complete"] or wrong == "cycle", where
        found = [out[f"logits__{i}"] for i in range(classes)]
        assert found == [logits[0] + (wrong == "logit"), *logits[1:]], f"{where}: {found}"
        right = int(golden.margin(torch.tensor(logits), stop_class)) + (wrong == "margin")
        assert out["margin"] == right, f"{where}: margin {out['margin']}, not {right}"
        if classes > 2:  # the first of the largest, but for the stop class
            others = logits[:stop_class] + [-(2**31) - 1] + logits[stop_class + 1 :]
            right = int(golden.decide(torch.tensor(others))) ^ (wrong == "largest")
            assert out["largest"] == right, f"{where}: {out['largest']}, not {right}"
        out = yield last
        assert not out["complete"], where


@pytest.mark.parametrize("classes, stop_class", [(2, 1), (2, 0), (3, 0), (5, 4), (16, 7)])
def test_results(classes, stop_class):
    part = Results(classes=classes, stop_class=stop_class)
    assert X_BITS == 13
    on_amaranth(part, resulted(classes, stop_class, 1))


@pytest.mark.parametrize("wrong", ["x", "logit", "margin", "largest", "cycle"])
def test_results_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="run 0"):
        on_amaranth(Results(classes=4, stop_class=2), resulted(4, 2, 1, 1, wrong))


def test_results_of_another_stop_class_are_seen():
    with pytest.raises(AssertionError, match="margin"):
        on_amaranth(Results(classes=4, stop_class=1), resulted(4, 2, 1))
