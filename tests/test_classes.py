# amaranth: UnusedElaboratable=no
"""hw/parallel/classifier.py, hw/serial/classifier.py against golden/classifier.py: 2 to 16 classes,
any stop class, equal logits, early termination; both simulators."""

import itertools

import pytest

from golden import classifier as golden
from hw.parallel.classifier import Classifier
from hw.serial.classifier import SerialClassifier, words
from tests.bench_blocks import on_amaranth, on_verilator
from tests.classifiers import KINDS, answers, block, network, random_states


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("released", "serial")])
@pytest.mark.parametrize("seed", [4, 5])
def test_answers(kind, seed):
    on_amaranth(block(kind, seed), answers(kind, seed))


@pytest.mark.parametrize("kind", ["last", "serial one", "serial five"])
def test_load(kind):
    on_amaranth(block(kind, None), answers(kind, 6, count=3, loaded=True))


def test_verilator():
    kinds = ("released", "sixteen", "serial", "serial first", "serial sixteen")
    seeds = {"released": 6, "serial": 6}
    blocks = {kind.replace(" ", "_"): block(kind, seeds.get(kind, 7)) for kind in kinds}
    jobs = [
        (
            kind.replace(" ", "_"),
            answers,
            {"kind": kind, "seed": seeds.get(kind, 7), "count": 24 if kind == "released" else 9},
        )
        for kind in kinds
    ]
    on_verilator(blocks, jobs)


@pytest.mark.parametrize("wrong", ["logit", "index", "stop", "skip", "cycle"])
@pytest.mark.parametrize("kind", ["three", "serial three"])
def test_differences_are_seen(kind, wrong):
    with pytest.raises(AssertionError, match="run"):
        on_amaranth(block(kind, 5), answers(kind, 5, wrong=wrong))


def test_networks(generator):
    """What the seeds stand for: the class is each of them; equal logits; both signs of margins."""
    indices, equal, signs = set(), 0, set()
    for kind, seed in itertools.product(KINDS, (4, 5)):
        _, (channels, _, columns), classes, stop_class = KINDS[kind]
        states = random_states(9, channels, columns, generator)
        logits = golden.classify(states, network(kind, seed))
        indices |= set(golden.decide(logits).tolist())
        equal += int((logits.sort(dim=-1).values.diff() == 0).sum())
        signs |= set(golden.margin(logits, stop_class).sign().tolist())
        assert logits.shape[-1] == classes
    assert len(indices) > 2 and equal > 20 and signs == {-1, 0, 1}


@pytest.mark.parametrize("part", [Classifier, SerialClassifier])
def test_cycles(part):
    """A class more takes an FC2 output more; the largest of the others a cycle of the parallel."""

    def cycles(classes):
        return part(channels=8, hidden=3, columns=7, classes=classes).cycles

    output = 3 if part is Classifier else 4 + 16 + 11 * 3 + 1
    assert cycles(3) == cycles(2) + output + (part is Classifier)
    assert cycles(16) == cycles(3) + 13 * output


def test_errors():
    good = {"channels": 4, "hidden": 2, "columns": 7}
    for classes, stop_class, rule in (
        (1, 0, "classes must be 2..16, not 1"),
        (17, 0, "classes must be 2..16, not 17"),
        (3, 3, "stop_class must be 0..2, not 3"),
        (3, -1, "stop_class must be 0..2, not -1"),
    ):
        with pytest.raises(ValueError, match=rule):
            SerialClassifier(**good, classes=classes, stop_class=stop_class)
    for columns in (0, 129):
        with pytest.raises(ValueError, match=f"columns must be 1..128, not {columns}"):
            SerialClassifier(**good | {"columns": columns})
    layers = network("serial", 4)
    layers["classifier.0"].shift[0] = 20
    with pytest.raises(ValueError, match="shifts must be 1..19, not 20"):
        words(layers["classifier.0"], layers["classifier.1"])
