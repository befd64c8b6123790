"""The simulations of `rasca coverage`: small engines of all records of parts, and cameras' faults.

Each is compared with the golden model as `make fuzz` and `make storm` do it.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from golden.config import ModelConfig
from golden.model import IntegerModel
from hw.plan import compile_program
from hw.plan.engine_config import EngineConfig
from sim import fuzz
from sim.coverage import bins
from sim.storm import judge
from sim.storm.design import WAYS
from sim.storm.faults import KINDS, case, way_of


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A simulation.

    Attributes
    ----------
    name : str
        In words.
    prefix : str
        Before the names of its modules: ``serial: `` of that record's, whose blocks have the same
        names.
    play : function of (folder, bins)
        Builds, plays, compares; AssertionError with the difference. It counts bins.
    """

    name: str
    prefix: str
    play: Callable[[Path, Counter], None]


SEEDS = {
    354: "one lane, no attention, six classes, a head of four kernels",
    938: "four heads, full spatial attention, a frame that breaks off",
    1097: "banded spatial attention, five blocks, six classes",
    836: "spatial attention, a word as wide as the state",
    846: "words narrower than the state",
    1414: "three blocks, clocks asleep",
    197: "few registers, banded, one lane, clocks asleep, a frame that breaks off",
    737: "few registers, two columns of lanes, weights at their ends",
    1263: "serial",
    1111: "serial, three blocks, clocks asleep",
    503: "serial, colour, gaps between pixels",
    1055: "serial, a block of one tap, clocks asleep, a frame that breaks off",
}
"""Of `make fuzz`: what each is here for."""


def _paced(seed: int, shape: str, **sizes) -> fuzz.Case:
    """A case of its own: a network of these sizes, its camera as fast as the engine."""
    return fuzz.Case(
        seed=seed,
        model=ModelConfig(**sizes),
        shape=EngineConfig.parse(shape),
        cameras="paced",
        extreme=False,
    )


PAUSE = _paced(
    0,
    "3,3,1",
    name="pause",
    image_height=10,
    image_width=16,
    heads=1,
    head_channels=(1, 1, 1, 2),
    state_channels=30,
    attention_hidden=2,
)
"""No random engine lets go of its only bank between two segments: 25 channels more than pixels."""
HEADS = _paced(
    1,
    "4,2,6",
    name="heads",
    image_height=15,
    image_width=44,
    heads=3,
    head_channels=(3, 5, 4, 6),
    state_channels=20,
    attention_hidden=4,
)
"""No random engine above has bytes between words of more than one head."""
FAULTS = 4 * len(KINDS) * 2
"""Of `make storm`: each kind on each way, with early termination and without."""


def _engine(name: str, wanted: fuzz.Case) -> Scenario:
    def play(folder: Path, found: Counter) -> None:
        plan = compile_program(wanted.model, wanted.shape)
        found.update(bins.of_words(plan) + bins.of_operations(plan))
        for one in (wanted, fuzz.loaded(wanted, random.Random(0))):
            weights = fuzz.weights_of(one)
            with bins.values(weights, found):
                pixels = fuzz.pictures(one.model, one.seed, fuzz.FRAMES)
                IntegerModel(one.model, weights).run(pixels)
        wrong = fuzz.check(wanted, folder)
        assert wrong is None, wrong

    prefix = "serial: " if wanted.shape.parts == "serial" else ""
    return Scenario(name=name, prefix=prefix, play=play)


def _camera(name: str) -> Scenario:
    way = WAYS[name]

    def play(folder: Path, found: Counter) -> None:
        built = way.build(optimise="build")
        cases = [case(number) for number in range(FAULTS) if way_of(number) is way]
        for half, limits in ((cases[::2], None), (cases[1::2], judge.Thresholds.of(way))):
            for one in judge.check(way, built, half, limits):
                assert one.wrong is None, f"{one.case}: {one.wrong}"

    prefix = "serial: " if way.shape.parts == "serial" else ""
    return Scenario(name=f"storm, {name}", prefix=prefix, play=play)


def scenarios() -> list[Scenario]:
    engines = [
        _engine(f"fuzz {seed}: {why}", fuzz.case(seed, silicon=True)) for seed, why in SEEDS.items()
    ]
    pause = _engine("one lane, a pause between two segments", PAUSE)
    heads = _engine("three heads of two lanes, rows of eleven words", HEADS)
    return [*engines, pause, heads, *map(_camera, WAYS)]
