"""`make explore`: many networks, arrays and technologies by the cost model, and the best of them.

rasca explore [--space FILE] [--workers N | --cluster ADDRESS] [--synthesise N]

The points of a space (docs/explore.md has its keys) are worked out in parallel by Dask, on this
machine or on a cluster. Results are kept as they come: a run that was stopped goes on where it was,
and ends with the same files.
"""

import hashlib
import itertools
import json
import math
import os
import re
import signal
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from golden import files
from golden.config import PRESETS, preset
from golden.config_file import MOST_BYTES, read_yaml
from golden.errors import (
    BAD_INPUT,
    DIFFERENT,
    INTERRUPTED,
    CommandError,
    bad_input,
    check_size,
    one_line,
    said,
)
from sim.study import energy, liberty
from sim.study.point import (
    OBJECTIVES,
    SAME,
    SRAM_AREA,
    Design,
    Point,
    Use,
    called,
    choose,
    evaluate,
    pareto,
    resolve,
)

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "presets": "texts",
    "shapes": "texts",
    "pixels": "counts",
    "channels": "counts",
    "lanes": "counts",
    "weight_memories": "texts",
    "parts": "texts",
    "sleep": "flags",
    "technologies": "texts",
    "clocks_mhz": "numbers",
    "frames_per_s": "numbers",
    "sram_areas": "numbers",
}
_WITHOUT_SPATIAL = [name for name, model in PRESETS.items() if not model.spatial]
# small macros, or such that take less energy; a fast clock, or few registers
_EACH = {"sram_areas": [SRAM_AREA, 2], "parts": ["parallel", "low_power"]}
DEFAULT_SPACE = [
    # a word holds the state's n columns, or one pixel more
    {"presets": "all", "pixels": ["n", "n+1"], "channels": [1, 2, 3, 5], "lanes": [1, 2, 4]}
    | _EACH,
    # narrower arrays; spatial attention wants the n columns in a word
    {"presets": _WITHOUT_SPATIAL, "pixels": [5, 8], "channels": [1, 2, 3], "lanes": [1, 2]} | _EACH,
]
"""What is explored where no file is given, in all technologies of the table at 100 MHz."""
PROGRESS, RESULT = "progress.jsonl", "explore.json"
CONNECT = 30  # s to wait for a cluster


# ---- the space ----


def read_space(path: Path) -> list[dict[str, Any]]:
    """Blocks of a space from a YAML, TOML or JSON file.

    Raises
    ------
    ValueError
        In one line: what is wrong with the file.
    """
    try:
        check_size(path, MOST_BYTES)
        text = path.read_text()
        if path.suffix == ".toml":
            content = tomllib.loads(text)
        elif path.suffix == ".json":
            content = json.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            import yaml

            try:
                content = read_yaml(text)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from None
        else:
            raise ValueError(
                f"its name must end with .yaml, .toml or .json, not with {path.suffix or 'nothing'}"
            )
    except OSError as error:
        raise ValueError(said(error)) from None
    except (ValueError, RecursionError) as error:
        reason = one_line(error)
        if "must have at most" in reason:
            raise ValueError(reason) from None
        if "must end" not in reason:
            reason = f"not a {path.suffix[1:].upper()} file ({reason})"
        raise ValueError(f"{path} cannot be read: {reason}") from None
    blocks = content.get("space", content) if isinstance(content, dict) else content
    blocks = blocks if isinstance(blocks, list) else [blocks]
    for number, block in enumerate(blocks, 1):
        _check(block, f"{path}, block {number}")
    if not blocks:
        raise ValueError(f"{path} has no points (expected at least one block, not none)")
    return blocks


def _check(block: Any, where: str) -> None:
    if not isinstance(block, dict) or not block:
        raise ValueError(f"{where}: must be keys with lists, as docs/explore.md shows")
    for key, value in block.items():
        if key not in KEYS:
            raise ValueError(f"{where}: {key!r} must be one of {', '.join(KEYS)}")
        if value == "all" and key in ("presets", "technologies"):
            continue
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where}: {key} must be a list with something in it, not {value!r}")
        for item in value:
            number = isinstance(item, (int, float)) and not isinstance(item, bool)
            if KEYS[key] == "texts" and not isinstance(item, str):
                raise ValueError(f"{where}: {key} must be texts, not {item!r}")
            if KEYS[key] == "flags" and not isinstance(item, bool):
                raise ValueError(f"{where}: {key} must be true or false, not {item!r}")
            if KEYS[key] == "numbers" and not (number and math.isfinite(item)):
                raise ValueError(f"{where}: {key} must be numbers, not {item!r}")
            column = key == "pixels" and re.fullmatch(r"n(\+\d+)?", str(item))
            if KEYS[key] == "counts" and not (number and isinstance(item, int) or column):
                raise ValueError(f"{where}: {key} must be whole numbers, not {item!r}")
    if "shapes" not in block and not {"pixels", "channels", "lanes"} <= set(block):
        raise ValueError(f"{where}: needs shapes, or pixels, channels and lanes")


def points(blocks: Iterable[Mapping[str, Any]]) -> list[Point]:
    """All points of the blocks in order, each once."""
    found: dict[Point, None] = {}
    for block in blocks:
        presets = block.get("presets", "all")
        shapes = list(block.get("shapes", ()))
        if "pixels" in block:
            each = itertools.product(*(block[key] for key in ("pixels", "channels", "lanes")))
            shapes += [",".join(map(str, shape)) for shape in each]
        technologies = block.get("technologies", "all")
        uses = [
            Use(
                technology=process,
                clock_mhz=float(clock),
                frames_per_s=float(rate),
                sram_area=float(area),
            )
            for process in (energy.names() if technologies == "all" else technologies)
            for clock in block.get("clocks_mhz", [100])
            for rate in block.get("frames_per_s", [0])
            for area in block.get("sram_areas", [SRAM_AREA])
        ]
        for name in PRESETS if presets == "all" else presets:
            for shape in shapes:
                for memory, parts, asleep in itertools.product(
                    block.get("weight_memories", ["loaded"]),
                    block.get("parts", ["parallel"]),
                    block.get("sleep", [True]),
                ):
                    design = Design(
                        preset=name,
                        shape=shape.replace(" ", ""),
                        weight_memory=memory,
                        parts=parts,
                        sleep=asleep,
                    )
                    if name in PRESETS:
                        design = resolve(design)
                    found.update({Point(design, use): None for use in uses})
    return list(found)


def digest(wanted: list[Point]) -> str:
    """Of the points and of everything that their figures depend on."""
    text = hashlib.sha256(json.dumps([point.key() for point in wanted]).encode())
    more = (
        "golden/config.py",
        "golden/network.py",
        "golden/network.py",
        "sim/study/point.py",
        "sim/study/energy.py",
        "sim/study/technology.toml",
    )
    for path in sorted([*(ROOT / "hw").rglob("*.py"), *(ROOT / name for name in more)]):
        text.update(path.name.encode() + b"\0" + path.read_bytes())
    return text.hexdigest()


# ---- working them out ----


def done_before(path: Path, key: str) -> list[dict[str, Any]]:
    """Results of an earlier run of the same space by the same code."""
    found: list[dict[str, Any]] = []
    if not path.exists():
        return found
    for number, line in enumerate(path.read_text().splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            break  # cut off in the middle of a line
        if number == 0:
            if entry != {"digest": key}:
                return []
            continue
        if entry.get("impossible", True):  # what failed by mistake is tried again
            found.append(entry)
    return found


def run(
    wanted: list[Point],
    folder: Path,
    console: Console,
    *,
    workers: int | None = None,
    cluster: str | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Results of all points in their order, and how many of them were worked out now.

    workers: processes here; 0: this one; None: as many as there are cores. cluster: the address of
    a Dask scheduler instead, whose workers have this checkout.
    """
    path, key = folder / PROGRESS, digest(wanted)
    before = done_before(path, key)
    names = {json.dumps(point.key()): point for point in wanted}

    def point_of(entry: Mapping[str, Any]) -> str:
        return json.dumps({name: entry[name] for name in wanted[0].key()})

    results = {point_of(entry): entry for entry in before}
    results = {name: entry for name, entry in results.items() if name in names}
    if results:
        console.print(f"{len(results):,} of {len(wanted):,} points were done before")
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:  # without what was cut off
        lines = [{"digest": key}, *results.values()]
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    tasks: dict[Design, list[Use]] = {}
    for point in wanted:
        if json.dumps(point.key()) not in results:
            tasks.setdefault(point.design, []).append(point.use)
    with (
        path.open("a") as file,
        Progress(console=console, transient=True) as progress,
        _source(tasks, workers, cluster, console) as batches,
    ):
        bar = progress.add_task("points", total=len(wanted), completed=len(results))
        for batch in batches:
            for entry in batch:
                file.write(json.dumps(entry) + "\n")
                results[point_of(entry)] = entry
            file.flush()
            progress.update(bar, completed=len(results))
    now = sum(map(len, tasks.values()))
    return [results[json.dumps(point.key())] for point in wanted], now


@contextmanager
def _source(
    tasks: Mapping[Design, list[Use]], workers: int | None, cluster: str | None, console: Console
) -> Iterator[Iterator[list[dict[str, Any]]]]:
    """Results of the tasks as they come, whoever works them out."""
    count = (os.cpu_count() or 1) if workers is None else workers
    if not tasks:
        yield iter(())
        return
    if cluster is None and count == 0:
        yield (evaluate(design, uses) for design, uses in tasks.items())
        return
    import dask
    from dask.distributed import Client, KilledWorker, LocalCluster, as_completed

    dask.config.set(
        {
            "distributed.admin.tick.limit": "1h",  # no advice about slow machines
            # a task that ends its worker twice has failed, and none that only waited there
            "distributed.scheduler.allowed-failures": 1,
            "distributed.scheduler.worker-saturation": 1.0,
            "distributed.deploy.lost-worker-timeout": "1h",  # its nanny starts another one
        }
    )
    with tempfile.TemporaryDirectory(prefix="rasca-") as scratch:
        local = None
        try:
            if cluster is None:
                with console.status(f"starting {count} workers"), _workers_keep_calm():
                    local = LocalCluster(
                        n_workers=count,
                        threads_per_worker=1,
                        dashboard_address=None,
                        local_directory=scratch,
                        silence_logs="CRITICAL",
                    )
            client = Client(local or cluster, timeout=CONNECT)
        except (OSError, RuntimeError, ValueError) as error:  # a time-out is an OSError
            what = "workers cannot be started" if cluster is None else f"no cluster at {cluster}"
            raise ValueError(f"{what}: {' '.join(str(error).split())}") from None
        try:
            futures = {
                client.submit(evaluate, design, uses, pure=False): (design, uses)
                for design, uses in tasks.items()
            }

            def results() -> Iterator[list[dict[str, Any]]]:
                for future in as_completed(futures):
                    design, uses = futures[future]
                    try:
                        batch = future.result()
                    except KilledWorker:
                        batch = _lost(design, uses, "its worker died, twice")
                    except Exception as error:  # `evaluate` itself raises none
                        text = " ".join(str(error).split())
                        batch = _lost(design, uses, f"{type(error).__name__}: {text}")
                    yield batch

            yield results()
        finally:
            client.close()
            if local is not None:
                local.close()


def _lost(design: Design, uses: Iterable[Use], text: str) -> list[dict[str, Any]]:
    return [{**Point(design, use).key(), "error": text, "impossible": False} for use in uses]


@contextmanager
def _workers_keep_calm() -> Iterator[None]:
    """What is started within never sees the interrupt that a terminal sends to all: this process
    ends its workers itself. One that comes meanwhile is seen afterwards."""
    resource_tracker.ensure_running()  # when it starts, it lets the interrupt through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- what comes out ----


def summary(wanted: list[Point], results: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of explore.json."""
    good = [result for result in results if "error" not in result]
    return {
        "digest": digest(wanted),
        "objectives": list(OBJECTIVES),
        "points": good,
        "pareto": (front := pareto(good)),
        "chosen": choose(good, front),
        "failed": [result for result in results if "error" in result],
        "synthesised": [],
    }


def failures(found: Mapping[str, Any]) -> list[str]:
    """A line for each design that has no result, and why."""
    lines: dict[str, int] = {}
    for entry in found["failed"]:
        kind = "impossible" if entry["impossible"] else "failed"
        line = f"{kind}: {entry['preset']} {entry['shape']}: {entry['error']}"
        lines[line] = lines.get(line, 0) + 1
    return [f"{line} ({count} points)" if count > 1 else line for line, count in lines.items()]


def best(found: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(what it is best at, point) by network, in the first point's use."""
    if not found["points"]:
        return []
    first = found["points"][0]
    front = [found["points"][i] for i in found["pareto"]]
    front = [point for point in front if all(point[name] == first[name] for name in SAME[1:])]
    goals = {
        "energy": lambda p: p["sensor_uj"],
        "area": lambda p: p["area_mm2"],
        "bytes": lambda p: (p["on_chip_bytes"], p["sensor_uj"]),
        "clock": lambda p: p["slowest_clock_mhz"],
    }
    taken = [found["points"][entry["point"]] for entry in found["chosen"]]
    rows = []
    for name in dict.fromkeys(point["preset"] for point in front):
        own = [point for point in front if point["preset"] == name]
        chosen: dict[int, tuple[list[str], dict[str, Any]]] = {}
        for goal, measure in goals.items():
            point = min(own, key=measure)
            chosen.setdefault(id(point), ([], point))[0].append(goal)
        for point in own:
            if any(point is one for one in taken):
                chosen.setdefault(id(point), ([], point))[0].append("all: take it")
        rows += [(", ".join(goals_met), point) for goals_met, point in chosen.values()]
    return rows


COLUMNS = {
    "multi-\npliers": lambda p: f"{p['multipliers']:,}",
    "clock\nMHz": lambda p: f"{p['slowest_clock_mhz']:.1f}",
    "mW": lambda p: f"{p['sensor_mw']:.2f}",
    "mm2": lambda p: f"{p['area_mm2']:.2f}",
    "bytes": lambda p: f"{p['on_chip_bytes']:,}",
    "macros": lambda p: f"{p['sram_area']:g}",
}


def print_best(found: Mapping[str, Any], console: Console) -> None:
    """The table of the best points."""
    rows = best(found)
    if not rows:
        return
    first = rows[0][1]
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("shape", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("best in", overflow="fold")
    seen = None
    for goal, point in rows:
        if point["preset"] != seen:
            seen = point["preset"]
            table.add_row(f"[bold]{seen}[/]")
        table.add_row(f"  {called(point)}", *(show(point) for show in COLUMNS.values()), goal)
    console.print(table)
    console.print(
        f"in {first['technology']}; clock: the slowest that keeps up with "
        f"{first['sensor_frames_per_s']:g} frames/s, mW at that; macros: of at most so many times "
        "the least area"
    )
    shown = {id(point) for _, point in rows}
    for entry in found["chosen"]:
        if id(found["points"][entry["point"]]) in shown:
            console.print(f"take {entry['why']}")
    if not found["chosen"]:
        console.print(
            f"no point keeps up with {first['sensor_frames_per_s']:g} frames/s at its clock"
        )


def synthesise(
    found: dict[str, Any], count: int, library: str | None, folder: Path, console: Console
) -> None:
    """Maps `count` designs of the Pareto front, spread over it, and notes what came of them."""
    from golden.quantise import default_weights
    from hw.plan.engine_config import EngineConfig
    from sim.study import asic

    fields = ("preset", "shape", "parts", "technology", "clock_mhz")
    front = [found["points"][i] for i in found["pareto"]]
    designs = {(p["multipliers"], p["preset"], p["shape"], p["parts"]): p for p in front}
    ordered = [designs[key] for key in sorted(designs)]
    step = max(1, (len(ordered) - 1) / max(1, count - 1))
    chosen = {round(i * step): None for i in range(count) if round(i * step) < len(ordered)}
    for point in (ordered[i] for i in chosen):
        model = preset(point["preset"])
        entry = {name: point[name] for name in fields}
        console.print(f"{point['preset']} {called(point)}")
        try:
            made = asic.study(
                model,
                EngineConfig.parse(point["shape"], "loaded", parts=point["parts"]),
                default_weights(model),
                library=asic.find_library(library),
                technology=energy.technology(point["technology"]),
                clock_mhz=point["clock_mhz"],
                groups=0,
                folder=folder / "asic" / point["preset"] / re.sub("[, ]", "_", called(point)),
                console=console,
            )
            names = ("library", "cells", "flip_flops", "fmax_mhz", "area_um2")
            entry |= {name: made[name] for name in names}
        except (ValueError, RuntimeError) as error:
            entry["error"] = " ".join(str(error).split())
            console.print(f"failed: {entry['error']}")
        found["synthesised"].append(entry)


def main(
    space: Annotated[Path | None, typer.Option(help="YAML, TOML or JSON file")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="0: in this process")] = None,
    cluster: Annotated[str | None, typer.Option(help="address of a Dask scheduler")] = None,
    synthesise_count: Annotated[
        int, typer.Option("--synthesise", min=0, help="points to map to cells")
    ] = 0,
    library: Annotated[str | None, typer.Option("--liberty", help="Liberty files")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="forget what was done before")] = False,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/explore"),
) -> None:
    """Sweeps a space with the cost model; tables, plots and a JSON file of what is best."""
    console = Console()
    place = folder / (space.stem if space else "default")
    began = time.monotonic()
    try:
        with bad_input():
            wanted = points(read_space(space) if space else DEFAULT_SPACE)
            if library is not None:
                liberty.read(*liberty.files(library)).check_gates()
            with files.claimed(place):
                if fresh:
                    (place / PROGRESS).unlink(missing_ok=True)
                results, now = run(wanted, place, console, workers=workers, cluster=cluster)
    except KeyboardInterrupt:
        raise CommandError("stopped; the same command goes on from here", INTERRUPTED) from None
    seconds = time.monotonic() - began
    found = summary(wanted, results)
    for line in failures(found):
        typer.echo(line, err=True)
    print_best(found, console)
    if now:
        console.print(f"{now:,} points in {seconds:.1f} s, {now / seconds:,.0f} a second")
    if synthesise_count:
        synthesise(found, synthesise_count, library, place, console)
    files.write(place / RESULT, json.dumps(found, indent=1) + "\n")
    if found["points"]:
        from sim.study.explore_plots import draw

        draw(found, place / "explore.png")
    console.print(
        f"{len(found['points']):,} points, {len(found['pareto']):,} of them on a Pareto front, "
        f"{len(found['failed']):,} without a result; written to {place}"
    )
    if not found["points"]:
        raise typer.Exit(BAD_INPUT)
    broken = any("error" in entry for entry in found["synthesised"])
    if broken or any(not entry["impossible"] for entry in found["failed"]):
        raise typer.Exit(DIFFERENT)
