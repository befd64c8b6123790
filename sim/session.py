"""One run of the engine: build it, play a camera to it, compare all it does with the golden model.

`prepare` builds (or finds) the simulation of a network on an array; `play` runs it while this
process reads the records and compares. What comes back, `Session`, knows the cycles as simulated
and as predicted. `make sim`, `make fuzz` and the whole-engine tests all go through here.
"""

import hashlib
import json
import os
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from golden.config import ModelConfig
from golden.expected import Difference, Expected, Frame, Judge, JudgedRow
from golden.expected import golden_frames as golden_frames
from golden.images import camera_image as camera_image
from golden.weights import Weights
from hw.plan.awake import CLOCKS
from sim import camera, cell_models, counters, runner
from sim.compare import MapLog

BENCH = Path(__file__).with_name("tb.sv")
KEEP_LOOPS = ("--unroll-count", "1")
"""The counters' loops written out would be as much C++ as the whole engine."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A network on an array, ready to simulate.

    `seconds`: what preparing it took; `counted`: it has the counters of sim/counters.py.
    """

    model: ModelConfig
    shape: Any
    weights: Weights
    plan: Any
    verilog: str
    build: runner.Build
    seconds: float
    counted: bool = True


def prepare(
    model: ModelConfig,
    shape: Any,
    weights: Weights,
    *,
    plan: Any = None,
    design: Any = None,
    netlist: str | None = None,
    sources: Sequence[Path] = (),
    flags: Sequence[str] = (),
    optimise: str = "run",
    trace: bool = False,
    folder: Path | None = None,
    tell: runner.Tell | None = None,
) -> Engine:
    """Elaborates and compiles the engine (what exists is used).

    plan, design: instead of the ones made here (tests that break something on purpose).
    netlist: Verilog of the engine after synthesis, whose `plan` is given; it has no names but its
        ports', so that maps are not compared. sources, flags: the netlist's cells' models, and what
        the simulator wants for them; those of an array's cells come by themselves.
    tell: how far the compile is (`runner.build`).
    """
    from hw.generate import to_verilog

    started = time.monotonic()
    if netlist is not None:
        made, text = plan, netlist
    elif design is None:
        made, text = _elaborated(model, shape, weights, keep=folder is None)
    else:
        made, text = design.plan, to_verilog(design)
    plan = made if plan is None else plan
    models, includes = cell_models.of_array("generic" if netlist else shape.cells)
    defines = {
        "SPATIAL": model.spatial,
        "BYTE_WRITES": plan.rules.one_byte,
        "GREY": model.in_channels == 1,
        **{f"CLASS{i}": True for i in range(2, model.class_count)},
        "PORTS_ONLY": netlist is not None,
        "SLEEP": shape.sleep,
    }
    build = runner.build(
        text if netlist is not None else text + counters.monitor(plan, text),
        top="tb",
        sources=[BENCH, *models, *sources],
        parameters={
            "PIXELS": shape.pixels,
            "LANES": shape.lanes,
            "OPERATIONS": len(plan.operations),
            "CHANNELS": model.state_channels,
            "WORDS": -(-model.n // shape.pixels),
            "MEMORY": plan.latency.memory,
            "CLASSES": model.class_count,
        },
        defines={n: 1 for n, on in defines.items() if on},
        flags=[*KEEP_LOOPS, *includes, *flags],
        optimise=optimise,
        public=False,
        trace=trace,
        folder=folder,
        tell=tell,
    )
    seconds = time.monotonic() - started
    return Engine(
        model=model,
        shape=shape,
        weights=weights,
        plan=plan,
        verilog=text,
        build=build,
        seconds=seconds,
        counted=netlist is None,
    )


def code_digest(*packages: str) -> str:
    """Of all Python and SystemVerilog files of some of the project's packages."""
    sha = hashlib.sha256()
    for package in packages:
        for file in sorted((runner.ROOT / package).rglob("*")):
            if file.suffix in (".py", ".sv"):
                sha.update(file.read_bytes())
    return sha.hexdigest()


def _elaborated(model: ModelConfig, shape: Any, weights: Weights, *, keep: bool) -> tuple[Any, str]:
    """Plan and Verilog of an engine, kept by all that they follow from: they take seconds."""
    from hw.generate import to_verilog
    from hw.top import Rasca

    identity = f"{model} {shape!r} {weights.digest} {version('amaranth')}"
    sha = hashlib.sha256((identity + code_digest("golden", "hw")).encode())
    kept = runner.BUILD / "elaborated" / f"{sha.hexdigest()[:20]}.pickle"
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    design = Rasca(model, shape, weights)
    made = (design.plan, to_verilog(design))
    if not keep:
        return made
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_bytes(pickle.dumps(made))
    part.replace(kept)
    return made


def gone_early(judge: Judge, stays: int) -> Difference | None:
    """The first row group whose state was written over less than `stays` cycles after its event."""
    maps = judge.maps
    assert isinstance(maps, MapLog)
    rows = [(frame.index, row.row_group) for frame in judge.frames for row in frame.rows]
    for (frame, group), stayed in zip(rows, maps.stays, strict=False):
        if stayed is not None and stayed < stays:
            return Difference(
                frame=frame,
                row_group=group,
                stage="state.stays",
                channel=0,
                column=0,
                expected=stays,
                simulated=stayed,
            )
    return None


@dataclass(frozen=True, kw_only=True)
class Session:
    """What happened: frames and rows in `judge`, step counts and first steps in `judge.maps`.

    row_groups: what the counters saw, up to the first row group that was aborted.
    clocks: of an engine that sleeps, at each frame's first step: the cycle, and by clock the cycles
        in which it has run.
    """

    engine: Engine
    schedule: camera.Schedule
    judge: Judge
    seconds: float
    row_groups: list[counters.RowGroup]
    clocks: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def ran(self, frame: int) -> dict[str, float]:
        """Share of the cycles from a frame's first step to the next one's in which each clock ran;
        nothing of an engine that never sleeps."""
        if not 0 <= frame < len(self.clocks) - 1:
            return {}
        (start, before), (end, after) = self.clocks[frame : frame + 2]
        return {name: (after[name] - before[name]) / (end - start) for name in after}

    @property
    def difference(self) -> Difference | None:
        """The first difference, None if all is equal."""
        return self.judge.first

    @property
    def frames(self) -> list[Frame]:
        return self.judge.frames

    @property
    def counts(self) -> dict[str, int]:
        """The engine's fault counters at the end."""
        assert self.judge.end is not None
        return self.judge.end["counts"]

    def group_starts(self, frame: int) -> list[int]:
        """Cycle of the first step of each row group begun in a frame (aborted ones, too)."""
        assert self.judge.maps is not None
        return self.judge.maps.groups[frame + 1]

    def steps(self, frame: int) -> list[int]:
        """MAC steps per operation in a frame that another one followed."""
        assert self.judge.maps is not None
        return self.judge.maps.steps[frame + 1]

    def row_groups_of(self, frame: int) -> list[counters.RowGroup]:
        """The counters of a frame before which all were whole."""
        count = self.engine.model.row_groups
        return self.row_groups[frame * count : (frame + 1) * count]

    def predicted(self, shots: Sequence[int] | None = None) -> list[list[int]]:
        """Per frame: the predicted cycle of the first step of each row group.

        shots: index of the shot that each frame came from; all of them, good ones, if not given.
        """
        plan, free, found = self.engine.plan, 0, []
        for index in range(len(self.schedule.lines)) if shots is None else shots:
            rows = [cycle + plan.row_delay for cycle in self.schedule.lines[index]]
            whole = len(rows) // plan.model.rows_per_group
            groups = range(min(plan.model.row_groups, whole))
            free = max(free, self.schedule.starts[index] + plan.frame_take)
            *starts, end = plan.predict(rows, groups, free)
            free = end + plan.frame_turn
            found.append(starts)
        return found


def play(
    engine: Engine,
    schedule: camera.Schedule,
    expected: Sequence[Expected | None],
    *,
    stop: int | None = None,
    skip: int | None = None,
    free_frames: int = 0,
    frame_starts: int = 0,
    row_groups: int = 0,
    load: bytes | None = None,
    on_record: Callable[[JudgedRow | Frame | None, Judge], None] | None = None,
    folder: Path | None = None,
    waves: Path | None = None,
    patience: int | None = None,
    plusargs: Sequence[str] = (),
) -> Session:
    """Plays a schedule to the engine and compares.

    expected: for each frame that the engine begins; None compares nothing of that frame.
    stop, skip: integer thresholds of early termination, None for off.
    free_frames: so many frames are decided before the thresholds come into force.
    frame_starts: end as soon as so many frames have begun and all but the last are decided;
        0 plays everything.
    row_groups: end as soon as so many row groups are answered; 0 does not.
    load: weights image sent through the loader port first.
    on_record: called with each compared row and each decided frame, as they come.
    folder: where logs are kept; a temporary one when not given.
    patience: cycles after the last pixel until the bench gives up.
    plusargs: for the simulator.
    """
    model, plan, shape = engine.model, engine.plan, engine.shape
    slow = 4 * plan.cycles_per_row_group + 20000
    with TemporaryDirectory(prefix="rasca-") as temporary, ExitStack() as ends:
        work = (Path(temporary) if folder is None else folder).resolve()
        work.mkdir(parents=True, exist_ok=True)
        names = ("schedule.txt", "records.jsonl", "writes.log", "weights.bin", "counters.log")
        pixels, records, log, image, counts = (work / name for name in names)
        clocks = work / "clocks.log"
        schedule.write(pixels)
        for path in (records, log):
            path.write_text("")
        if load is not None:
            image.write_bytes(load)
        maps = MapLog(
            log,
            plan.locate,
            {stage.name: (stage.channels, stage.columns) for stage in model.stages},
            shape.pixels,
            len(plan.operations),
            model.spatial_attention == "banded",
        )
        ends.callback(maps.close)
        judge = Judge(model, shape.pixels, expected, maps)
        arguments = {
            "records": str(records),
            "load": None if load is None else str(image),
            "stop_threshold": stop,
            "skip_threshold": skip,
            "free_frames": free_frames,
            "frame_starts": frame_starts,
            "row_groups": row_groups,
            "limit": int(schedule.cycle[-1]) + (slow if patience is None else patience),
            # of a netlist nobody sees when the state is written over
            "state_stays": None if engine.counted else plan.state_stays,
            "quiet_polls": 2 + plan.cycles_per_row_group // 2000,
        }
        outcome: list[Any] = []

        def simulate() -> None:
            try:
                seconds = runner.run(
                    engine.build,
                    "sim.bench",
                    arguments=arguments,
                    plusargs=[
                        f"+schedule={pixels}",
                        f"+log={log}",
                        f"+counters={counts}",
                        f"+clocks={clocks}",
                        *plusargs,
                    ],
                    waves=waves,
                    folder=work / "run",
                )
                outcome.append(seconds)
            except BaseException as error:  # handed to the waiting thread below
                outcome.append(error)

        thread = threading.Thread(target=simulate, daemon=True)
        thread.start()
        with records.open() as file, runner.ended_with(engine.build, thread):
            part, over = "", False
            while True:
                over = over or not thread.is_alive()
                part += file.readline()
                if part.endswith("\n"):
                    found = judge.take(json.loads(part))
                    part = ""
                    if on_record is not None and found is not None:
                        on_record(found, judge)
                elif over:
                    break
                else:
                    time.sleep(0.02)
        thread.join()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        maps.finish()
        judge.first = judge.first or gone_early(judge, plan.state_stays)
        counted = counters.read(counts, plan) if engine.counted else []
        ran = _ran(clocks) if shape.sleep else []
    return Session(
        engine=engine,
        schedule=schedule,
        judge=judge,
        seconds=outcome[0],
        row_groups=counted,
        clocks=ran,
    )


def _ran(file: Path) -> list[tuple[int, dict[str, int]]]:
    """What sim/tb.sv wrote of the clocks."""
    rows = [[int(word) for word in line.split()] for line in file.read_text().splitlines()]
    return [(cycle, dict(zip(CLOCKS, ran, strict=True))) for cycle, *ran in rows]
