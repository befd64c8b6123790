"""Random small networks on random arrays: each bit-exact, and its cycles, stalls, reads and writes
exactly as predicted (sim/counters.py, hw/plan/cost.py). Every fourth one has the serial parts; some
multiply in an FPGA's cells.

Most of a case's time is elaboration and compile, so the engine plays twice: with the
weights that it has from the beginning, then with others that are loaded, another camera and early
termination.

    rasca fuzz --count 20 --seed 0

A seed always makes the same case; the line of a failing one says how to run it alone. Each result
is written down as it comes (`Results`), so that many cases may be run in parts.
"""

import hashlib
import json
import random
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import ceil, gcd
from pathlib import Path
from typing import Annotated

import torch
import typer

from golden.config import PAPER_KERNELS, SPATIAL_VARIANTS, ModelConfig
from golden.errors import DIFFERENT, CommandError
from golden.expected import Expected
from golden.model import IntegerModel
from golden.random_weights import random_weights
from golden.weights import Weights
from hw.parts import weights_image
from hw.plan import Plan
from hw.plan.cost import cost
from hw.plan.engine_config import CELLS, EngineConfig
from hw.plan.limits import LIMITS
from hw.plan.replay import keeps_up
from sim import camera, counters, runner, session

FRAMES = 2
RESULTS = runner.BUILD / "fuzz" / "cases.jsonl"
FAR = 0.2
"""Share of the networks that have one size at an end of what is allowed."""
ASLEEP = 0.3
"""Share of the engines whose clocks sleep."""
LOW_POWER = 0.2
"""Share of the parallel engines that have the low-power record's parts."""
PACKED = 0.15
"""Share of the parallel engines that can be packed and are: two products from an ECP5's cell."""
IN_CELLS = 0.1
"""Share of the others that multiply in an FPGA's cells, where their clocks do not sleep."""
MOST_HIDDEN = 344  # of the classifier: what its sums have room for
CAMERAS = ("paced", "blanking", "gaps")
MOST_UNITS = 8  # channel units: they are most of what is compiled


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, an array, and how pixels come."""

    seed: int
    model: ModelConfig
    shape: EngineConfig
    cameras: str  # one of CAMERAS
    extreme: bool  # weights at their ends
    cut: bool = False  # then comes a frame that breaks off inside its walks, and one more

    def __str__(self) -> str:
        model = self.model
        size = f"{model.image_height}x{model.image_width}x{model.in_channels}"
        heads = f"{model.heads} x {','.join(map(str, model.head_channels))}"
        parts = [size, heads, f"d {model.state_channels}", model.spatial_attention]
        parts += [] if model.channel_attention else ["no channel attention"]
        if model.head_kernels != PAPER_KERNELS:
            parts.append(" ".join(f"{rows}x{columns}" for rows, columns in model.head_kernels))
        parts += [f"{model.class_count} classes"] if model.class_count > 2 else []
        shape = f"{self.shape.limits.called or 'shape'} {self.shape}"
        parts += [shape, self.cameras] + (["extreme"] if self.extreme else [])
        parts += ["a frame cut"] if self.cut else []
        parts += ["asleep"] if self.shape.sleep else []
        if self.shape.cells != "generic":
            dsps = self.shape.dsps
            parts.append(self.shape.cells + ("" if dsps is None else f", {dsps} DSP cells"))
        return " | ".join(parts)


def case(seed: int, *, silicon: bool = False) -> Case:
    """A valid case: sizes that nothing divides, every variant, small enough to build in seconds.

    silicon: the same without an FPGA's cells.
    """
    rng = random.Random(seed)
    parts = "serial" if seed % 4 == 3 else "parallel"
    limits = LIMITS[parts]
    spatial = rng.choice(SPATIAL_VARIANTS) if limits.spatial else "none"
    heads = rng.randint(limits.least_lanes if limits.whole_heads else 1, 4)
    width = rng.choice((rng.randint(16, 75), rng.randint(64, 120)))
    n = width // 16
    if limits.whole_heads:
        pixels, channels = 2 * rng.randint(2, 5), limits.most_channels
        lanes = rng.choice([count for count in range(2, heads + 1) if heads % count == 0])
        each = lanes
    else:
        smallest = max(3, n) if spatial != "none" else 3  # a row of S is one word
        pixels = rng.randint(smallest, smallest + rng.choice((1, 5)))
        lanes = rng.choice([count for count in range(1, 9) if _usable(count, heads)])
        channels = rng.randint(1, min(pixels, 4, max(1, MOST_UNITS // lanes)))
        each = 1
    d = each * rng.randint(ceil(2 / each), 13 // each)
    height = rng.choice((5, 10, 13, 15, 17))
    wide = (*(rng.randint(1, 9) for _ in range(3)), each * rng.randint(1, 9 // each))
    model = ModelConfig(
        name=f"fuzz{seed}",
        image_height=height,
        image_width=width,
        heads=heads,
        head_channels=wide,
        state_channels=d,
        attention_hidden=rng.randint(1, 5),
        classifier_hidden=rng.randint(1, 6),
        spatial_attention=spatial,
        channel_attention=rng.random() < 0.75,
        in_channels=rng.choice((3, 3, 1)),
    )
    far = random.Random(f"far {seed}")  # the cases of before stay as they were
    if far.random() < FAR:
        model = _far(model, far, least=limits.least_lanes)
    elif far.random() < 0.5:
        model = replace(model, **_blocks(far, model))
    if parts == "parallel" and random.Random(f"record {seed}").random() < LOW_POWER:
        parts = "low_power"  # of the same shapes
    shape = EngineConfig(
        pixels=pixels,
        channels=channels,
        lanes=lanes,
        parts=parts,
        sleep=random.Random(f"sleep {seed}").random() < ASLEEP,
    )
    return Case(
        seed=seed,
        model=model,
        shape=shape if silicon else _in_cells(shape, model, random.Random(f"DSP cells {seed}")),
        cameras=rng.choice(("paced", *CAMERAS)),
        extreme=rng.random() < 0.2,
        cut=random.Random(f"cut {seed}").random() < 0.5,
    )


def _in_cells(shape: EngineConfig, model: ModelConfig, rng: random.Random) -> EngineConfig:
    """The shape with the multiplier cells of an FPGA, or as it is."""
    if shape.parts == "parallel" and not model.spatial and rng.random() < PACKED:
        wanted = shape.multipliers // 2
        most = rng.choice((None, wanted, rng.randint(0, wanted)))
        return replace(shape, parts="packed", cells="ecp5", dsps=most, sleep=False)
    if shape.sleep or shape.limits.generic or rng.random() >= IN_CELLS:
        return shape
    cells = rng.choice([kind for kind in CELLS if kind != "generic"])
    most = rng.choice((None, rng.randint(0, shape.multipliers))) if cells == "ecp5" else None
    return replace(shape, cells=cells, dsps=most)


def _blocks(rng: random.Random, model: ModelConfig) -> dict:
    """Fields of a head of two to five blocks, of k = 3 to 9 rows, and of two to six classes."""
    pairs = rng.randint(1, 4)  # of rows that the kernels take off a row group
    kernels, left = [], pairs
    while left:
        tall = 2 if left > 1 and rng.random() < 0.2 else 1
        kernels.append((1 + 2 * tall, rng.choice((1, 3, 3, 3))))
        left -= tall
    # a row of scores is one word, chosen for four blocks
    least = max(len(kernels), 4 if model.spatial else 2)
    most = max(least, 5 if model.image_width >= 64 else 4)
    flat = rng.randint(least, most) - len(kernels)
    kernels += [(1, rng.choice((1, 3, 3))) for _ in range(flat)]
    rng.shuffle(kernels)
    classes = tuple(f"class{index}" for index in range(rng.choice((2, 2, 3, 4, 6))))
    return {
        "head_kernels": tuple(kernels),
        "head_channels": (*(rng.randint(1, 9) for _ in kernels[1:]), model.head_channels[-1]),
        "image_height": (1 + 2 * pairs) * rng.randint(1, 3) + rng.randint(0, 2),
        "classes": classes,
        "stop_class": rng.choice(classes),
    }


def _far(model: ModelConfig, far: random.Random, least: int) -> ModelConfig:
    """The same network with one size at an end of what is allowed, for `least` lanes."""
    kinds = ["hidden", "hidden", "narrow", "low"] + ["wide"] * (model.spatial_attention == "none")
    kind = far.choice(kinds)
    if kind == "hidden":  # the classifier takes longer than all the rest
        hidden = far.choice((MOST_HIDDEN, far.randint(60, MOST_HIDDEN)))
        return replace(model, classifier_hidden=hidden, image_height=far.choice((5, 10)))
    if kind == "narrow":  # one column of the state
        return replace(model, image_width=far.randint(16, 31))
    if kind == "low":
        return replace(model, image_height=5, in_channels=1)
    # a camera's whole line; few channels, so that it is done in a minute
    return replace(
        model,
        image_height=5,
        image_width=1920,
        head_channels=(1, 1, 1, model.head_channels[-1]),
        classifier_hidden=least,
    )


def _usable(lanes: int, heads: int) -> bool:
    """Lanes of a head must be 1 or even."""
    each = lanes // gcd(lanes, heads)
    return each == 1 or each % 2 == 0


def pictures(model: ModelConfig, seed: int, count: int) -> torch.Tensor:
    """Noise on a slope, some of it saturated: (count, channels, h, w) bytes."""
    generator = torch.Generator().manual_seed(seed)
    size = (count, model.in_channels, model.image_height, model.image_width)
    noise = torch.randint(-90, 91, size, generator=generator)
    slope = torch.linspace(-60, 320, model.image_width).to(torch.int64)
    return (noise + slope).clamp(0, 255).to(torch.uint8)


def check(wanted: Case, folder: Path | None = None) -> str | None:
    """Runs a case; None if all is equal, else what is not."""
    weights = weights_of(wanted)
    engine = session.prepare(wanted.model, wanted.shape, weights, optimise="build", folder=folder)
    if wrong := _as_built(wanted, engine):
        return wrong
    wrong = _as_loaded(wanted, engine)
    return wrong and f"loaded, with thresholds: {wrong}"


def _as_built(wanted: Case, engine: session.Engine) -> str | None:
    """Good frames, then one that is cut and one more: values, cycles, counters."""
    count = FRAMES + 2 * wanted.cut
    pixels = pictures(wanted.model, wanted.seed, count)
    model = IntegerModel(wanted.model, engine.weights)
    golden = session.golden_frames(model.run(pixels, trace=True))
    expected: list[Expected | None] = [*golden]
    timing = timing_of(wanted, engine.plan)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    schedule = camera.play(shots)
    cycle = break_off(schedule, engine.plan, wanted.seed) if wanted.cut else None
    if cycle is not None:
        schedule, expected[FRAMES] = camera.cut(schedule, FRAMES, cycle), None
    result = session.play(engine, schedule, expected)
    if result.difference is not None:
        return str(result.difference)
    if len(result.frames) != count or any(frame.decision is None for frame in result.frames):
        return f"{len(result.frames)} frames begun, {count} sent: {result.counts}"
    if result.counts["truncated"] != expected.count(None) or sum(result.counts.values()) > 1:
        return f"{expected.count(None)} frames cut: {result.counts}"
    for frame, predicted in enumerate(result.predicted()[:FRAMES]):
        simulated = result.group_starts(frame)
        if simulated != predicted:
            return f"frame {frame}: row groups begin at {simulated}, predicted {predicted}"
    whole = FRAMES * wanted.model.row_groups
    answers = [
        start + engine.plan.answer for n in range(FRAMES) for start in result.group_starts(n)
    ]
    # counting ends as the cut frame's row group is aborted: no later answer is told
    told = whole if cycle is None else sum(answer < cycle for answer in answers)
    if len(result.row_groups) < told or (not wanted.cut and len(result.row_groups) > whole):
        return f"counters of {len(result.row_groups)} row groups"
    return counters.difference(result.row_groups[:whole], cost(engine.plan))


def _as_loaded(wanted: Case, engine: session.Engine) -> str | None:
    """Other weights through the loader, another camera, thresholds that some margins pass."""
    rng = random.Random(f"loaded {wanted.seed}")
    other = loaded(wanted, rng)
    weights = weights_of(other)
    pixels, model = pictures(other.model, other.seed, FRAMES), IntegerModel(other.model, weights)
    stop, skip = thresholds(model.run(pixels).margin.flatten().tolist(), rng)
    golden = model.run(pixels, trace=True, stop_threshold=stop, skip_threshold=skip)
    timing = timing_of(other, engine.plan)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    result = session.play(
        engine,
        camera.play(shots),
        session.golden_frames(golden),
        stop=stop,
        skip=skip,
        load=weights_image(engine.plan, weights),
    )
    if result.difference is not None:
        return str(result.difference)
    if [frame.decision is not None for frame in result.frames] != [True] * FRAMES:
        return f"{len(result.frames)} frames begun, {FRAMES} sent: {result.counts}"
    return f"faults counted: {result.counts}" if any(result.counts.values()) else None


def loaded(wanted: Case, rng: random.Random) -> Case:
    """The case whose weights and pictures come second."""
    return replace(
        wanted,
        seed=wanted.seed + 1,
        extreme=not wanted.extreme,
        cameras=rng.choice([way for way in CAMERAS if way != wanted.cameras]),
    )


def thresholds(margins: list[int], rng: random.Random) -> tuple[int, int]:
    """Of early termination: some of the margins say stop, some say skip (of 32 bits, margins have
    33)."""
    low, high = sorted(min(max(m, -(2**31)), 2**31 - 1) for m in rng.choices(margins, k=2))
    return high, low


def break_off(schedule: camera.Schedule, plan: Plan, seed: int) -> int | None:
    """A cycle in which the engine works on the first frame after the good ones; None where that may
    be over before the engine has begun it."""
    rows = schedule.lines[FRAMES]
    free = schedule.lines[FRAMES - 1][-1] + plan.cycles_per_row_group
    begun = max(free, rows[plan.model.rows_per_group - 1]) + 2 * plan.row_delay
    last = rows[plan.model.row_groups * plan.model.rows_per_group - 1] - 1
    return random.Random(f"cut {seed}").randint(begun, last) if begun < last else None


def weights_of(wanted: Case) -> Weights:
    """Random weights, with the shifts that the engine can do."""
    weights = random_weights(wanted.model, wanted.seed, extreme=wanted.extreme)
    for name, layer in weights.layers.items():
        if not name.startswith("classifier"):
            layer.shift.clamp_(*wanted.shape.limits.shifts)
    return weights


def timing_of(wanted: Case, plan: Plan) -> camera.Timing:
    """The camera of a case."""
    cycles, rules = plan.camera_period, plan.rules
    if wanted.cameras == "blanking":
        return camera.blanking(cycles, wanted.model, rules.even_spacing)
    even = camera.paced(cycles, wanted.model)
    if wanted.cameras == "paced":
        return even
    # A late line's first pixel comes with the next cycle in which it can be written, a pixel a line
    # early, where the rows that are kept have room for that.
    pixel = even.pixel + Fraction(1)
    early = ceil(pixel) * wanted.model.rows_per_group
    closest = Fraction(rules.pixel_spacing if rules.one_byte else 0)
    if not keeps_up(plan, cycles, early=early):
        closest = pixel
    return camera.Timing(
        pixel=pixel,
        line_blank=closest,
        gap_pixel=3,
        gap_line=40,
        gap_frame=2 * cycles,
        seed=wanted.seed,
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a case: a line of build/fuzz/cases.jsonl.

    difference: None if all was equal.
    code: digest of the project's code and of the tools' versions.
    """

    seed: int
    equal: bool
    difference: str | None
    seconds: float
    case: str
    code: str


class Results:
    """Results of all runs, a JSON object a line, the newest of a seed last.

    A line is appended as a case ends: what was stopped goes on where it was, and two processes may
    run different seeds at once.

    Parameters
    ----------
    file : Path
    code : str
        Digest of the code as it is now.
    """

    def __init__(self, file: Path, code: str) -> None:
        self.file, self.code = file, code

    def read(self) -> dict[int, Result]:
        """The newest result of each seed; a line that was cut off does not count."""
        found: dict[int, Result] = {}
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            try:
                result = Result(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[result.seed] = result
        return found

    def known(self, seed: int) -> Result | None:
        """The result of a seed that need not be run again: it was equal, with this very code."""
        result = self.read().get(seed)
        return result if result and result.equal and result.code == self.code else None

    def add(self, result: Result) -> None:
        """Append a result."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.file.exists() or self.file.read_bytes()[-1:] in (b"", b"\n")
        with self.file.open("a") as file:
            file.write(("" if whole else "\n") + json.dumps(asdict(result)) + "\n")

    def __str__(self) -> str:
        found = self.read().values()
        mine = [result for result in found if result.code == self.code]
        counts = [f"{sum(r.equal for r in some):,} of {len(some):,}" for some in (found, mine)]
        return f"{counts[0]} seeds so far, {counts[1]} with the code as it is"


def results() -> Results:
    """Those of this project as it is."""
    code = session.code_digest("golden", "hw", "sim") + runner.tools_version()
    return Results(RESULTS, hashlib.sha256(code.encode()).hexdigest()[:12])


def main(
    count: Annotated[int, typer.Option(help="how many cases")] = 20,
    seed: Annotated[int, typer.Option(help="of the first case")] = 0,
    only: Annotated[
        str, typer.Option(help="of these the cases whose line has that text, packed for example")
    ] = "",
) -> None:
    """Runs `count` random cases from `seed` on."""
    if count < 1:
        raise CommandError(f"count must be at least 1, not {count}")
    seeds = [number for number in range(seed, seed + count) if only in str(case(number))]
    if not seeds:
        raise CommandError(f"only must be in the line of one of {count} cases, not {only!r}")
    failed, kept = [], results()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_scratch()))
    try:
        for done, number in enumerate(seeds, start=1):
            result = kept.known(number)
            how = "known" if result else "equal"
            if result is None:
                result = _run(number, folder, kept.code)
                kept.add(result)
            if not result.equal:
                how = "FAILED"
                failed.append(number)
            typer.echo(
                f"{done:>5}/{len(seeds)} {number:>6} {how:6} {result.seconds:5.1f} s  {result.case}"
            )
            if not result.equal:
                typer.echo(f"       {result.difference}\n       again: make fuzz N=1 SEED={number}")
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    typer.echo(f"{len(seeds) - len(failed)} of {len(seeds)} equal")
    typer.echo(f"build/fuzz/{kept.file.name}: {kept}")
    if failed:
        raise typer.Exit(DIFFERENT)


def _run(number: int, folder: Path, code: str) -> Result:
    wanted, started = case(number), time.monotonic()
    try:
        wrong = check(wanted, folder)
    except (ValueError, runner.SimulationError) as error:
        wrong = str(error)
    return Result(
        seed=number,
        equal=wrong is None,
        difference=wrong,
        seconds=round(time.monotonic() - started, 1),
        case=str(wanted),
        code=code,
    )


def _scratch() -> Path:
    """Builds of fuzz cases are thrown away; they live beside the others."""
    folder = runner.BUILD / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
