"""The simulation: `rasca sim`, `rasca bench`. See README.md.

Exit status: 0 all equal, 1 a difference, 2 input that cannot be used (one line says why), 3 the
simulator itself failed.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from boards.web.replay import NAME
from golden import files, visualise
from golden.classifier import threshold
from golden.command_line import (
    Photographs,
    load_photographs,
    load_weights,
    read_probability,
    refresh,
    stored_or,
    writable,
)
from golden.config import ModelConfig, preset
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input, note
from golden.expected import MISSING, Expected, Frame, JudgedRow
from golden.live_table import LiveTable
from golden.model import IntegerModel
from golden.weights import Weights
from hw.plan import compile_program
from hw.plan.awake import running
from hw.plan.engine_config import EngineConfig, config_digest, default_shape
from hw.plan.memory import CATEGORIES
from sim import camera, recording, runner, session
from sim import tables as report

CAMERAS = {"paced": camera.paced, "blanking": camera.blanking}
MOST_DRAWN = 3  # frames in scan.png
OUTPUT = runner.BUILD / "sim"


@contextlib.contextmanager
def simulator() -> Iterator[None]:
    """Turns a failure of the tools into its text and exit status 3."""
    try:
        yield
    except runner.SimulationError as error:
        raise CommandError(str(error), BROKEN) from None


def load_shape(text: str | None, model: ModelConfig) -> EngineConfig:
    return default_shape(model) if text is None else EngineConfig.parse(text)


def sim(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    shape_text: Annotated[
        str | None, typer.Option("--shape", help="pixels,channels,lanes of the array")
    ] = None,
    image: Annotated[str | None, typer.Option(help="picture file, or a folder of them")] = None,
    weights_file: Annotated[str | None, typer.Option("--weights", help="integer weights")] = None,
    frames: Annotated[int, typer.Option(help="photographs, one after the other")] = 2,
    camera_name: Annotated[str, typer.Option("--camera", help="paced or blanking")] = "paced",
    tau_text: Annotated[
        str | None,
        typer.Option("--tau", help="stop with person at this probability; default: the weights'"),
    ] = None,
    skip_text: Annotated[
        str | None,
        typer.Option(
            "--skip",
            help="skip the next row group at or below this probability; default: the weights'",
        ),
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out pictures that cannot be read")] = False,
    trace: Annotated[bool, typer.Option(help="write waves (large)")] = False,
    sleep: Annotated[
        bool, typer.Option(help="the engine's clocks stand still while nothing is to be done")
    ] = False,
    low_power: Annotated[bool, typer.Option(help="few registers, for a slow clock")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="copy scan.png there (docs/scan.png is of the pages)")
    ] = None,
) -> None:
    """Runs photographs through the RTL; compares state, maps, logits and decision."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        model = preset(preset_name)
        parts = "low_power" if low_power else "parallel"
        shape = replace(load_shape(shape_text, model), sleep=sleep, parts=parts)
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        writable(picture)
        if camera_name not in CAMERAS:
            raise ValueError(f"camera must be {' or '.join(CAMERAS)}, not {camera_name!r}")
        asked = {"tau": read_probability("tau", tau_text)}
        asked["skip"] = read_probability("skip", skip_text)
        plan = compile_program(model, shape)  # here, because a shape may not fit
        photographs = load_photographs(image, model, frames, skip_bad)
        weights = load_weights(weights_file, model)
        tau, skip = (stored_or(name, value, weights) for name, value in asked.items())
        scale = weights.scales["logit"]
        stop_at = None if tau is None else threshold(tau, scale, up=True)
        skip_at = None if skip is None else threshold(skip, scale, up=False)
    console.print(f"[bold]{model.name}[/] on {shape.multipliers} multipliers ({shape})")
    for warning in plan.warnings:
        console.print(f"warning: {warning}", style="yellow")
    with simulator():
        result, figures = _simulate(
            console,
            model=model,
            shape=shape,
            weights=weights,
            photographs=photographs,
            timing=CAMERAS[camera_name](plan.camera_period, model, spacing=plan.rules.even_spacing),
            stop=(tau, stop_at),
            skip=(skip, skip_at),
            trace=trace,
        )
    free = int(stop_at is not None or skip_at is not None)
    if picture is not None:
        with bad_input():
            files.write(picture, (OUTPUT / model.name / str(shape) / "scan.png").read_bytes())
    _tell(console, result, figures, _decisions(result, photographs, model, free))
    if weights.early is not None:
        console.print(f"{'thresholds':>12}  {weights.early} (TAU=default SKIP=default)")
    if not _equal(result, figures):
        raise typer.Exit(DIFFERENT)


def _equal(result: session.Session, figures: dict[str, Any]) -> bool:
    """Says what is not as it should be; True if all is."""
    if result.difference is not None:
        note(f"first difference: {result.difference}")
    if not figures["counters_equal"]:
        note(f"counters: {figures['counters']['difference']}")
    return result.difference is None and figures["counters_equal"]


def _simulate(
    console: Console,
    *,
    model: ModelConfig,
    shape: EngineConfig,
    weights: Weights,
    photographs: Photographs,
    timing: camera.Timing,
    stop: tuple[float | None, int | None],
    skip: tuple[float | None, int | None],
    trace: bool,
) -> tuple[session.Session, dict[str, Any]]:
    """Builds, plays, compares, and writes the files of a run."""
    with runner.compiling(console, "elaborating and compiling the engine") as tell:
        engine = session.prepare(model, shape, weights, trace=trace, tell=tell)
    how = "found" if engine.build.cached else "built"
    console.print(f"simulation {how} in {engine.seconds:.1f} s")
    with console.status("golden model"):
        golden = IntegerModel(model, weights).run(
            photographs.pixels, trace=True, stop_threshold=stop[1], skip_threshold=skip[1]
        )
    expected = session.golden_frames(golden)
    # A frame that stops early does not show the cycles of a whole one: one of those goes first.
    free = int(stop[1] is not None or skip[1] is not None)
    if free:
        whole = IntegerModel(model, weights).run(photographs.pixels[:1], trace=True)
        expected.insert(0, session.golden_frames(whole)[0])
    shown = [session.camera_image(pixels) for pixels in photographs.pixels]
    sent = [camera.Picture.of(pixels) for pixels in [*shown[:free], *shown]]
    # The first rows of one frame more, so that the last frame's period can be seen.
    sent.append(sent[0].restarted(model.rows_per_group))
    shots = [camera.Shot(picture, timing) for picture in sent]
    last = OUTPUT / model.name / "_".join(filter(None, (str(shape), shape.limits.called)))
    with files.run_folder(last, shown=("summary.json", "scan.png", NAME)) as folder:
        table = LiveTable(console, model, weights, free)
        result = session.play(
            engine,
            camera.play(shots),
            expected,
            stop=stop[1],
            skip=skip[1],
            free_frames=free,
            frame_starts=len(shots),
            on_record=lambda found, judge: table.show(found, judge),
            folder=folder / "logs",
            waves=folder / "waves.vcd" if trace else None,
        )
        frame = len(shots) - 2
        figures = report.summary(
            result,
            preset=model.name,
            image=photographs.names[-1],
            frame=frame,
            timed=0 if free else frame,
            weights_digest=weights.digest,
            config_digest=config_digest(model, shape),
            seconds={"build": engine.seconds, "simulate": result.seconds},
        )
        (folder / "summary.json").write_text(json.dumps(figures, indent=2) + "\n")
        drawn = range(len(photographs.names))[-MOST_DRAWN:]
        scans = [
            _scan(result.frames[free + k], photographs.names[k], shown[k], model) for k in drawn
        ]
        visualise.draw(folder / "scan.png", scans, weights, stop=stop[0], skip=skip[0])
        photographed = result.frames[free : free + len(shown)]
        sent = recording.events(result, photographed, shown, stop[1], skip[1])
        (folder / NAME).write_bytes(recording.packed(sent))
    return result, figures


def _scan(frame: Frame, name: str, image: np.ndarray, config: ModelConfig) -> visualise.Scan:
    """A simulated frame to draw; row groups that were not worked on repeat the one before."""
    assert frame.expected is not None
    by_group = {row.row_group: row for row in frame.rows}
    rows = [frame.rows[0]]
    for group in range(1, len(frame.expected.state)):
        rows.append(by_group.get(group, rows[-1]))
    return visualise.Scan(
        name=name,
        image=image,
        states=np.stack([_state(row, frame.expected) for row in rows]),
        logits=np.array([row.logits for row in rows]),
        computed=sorted(by_group),
        label=(frame.decision or {}).get("label", 0),
        config=config,
    )


def _state(row: JudgedRow, expected: Expected) -> np.ndarray:
    """A row group's state; words that came too late are the golden model's."""
    return np.where(row.state == MISSING, expected.state[row.row_group], row.state)


def _decisions(
    result: session.Session, photographs: Photographs, model: ModelConfig, free: int
) -> str:
    """What was said of the photographs that scan.png shows; `free` frames went before them."""
    said = []
    for place in range(len(photographs.names))[-MOST_DRAWN:]:
        label = (result.frames[free + place].decision or {}).get("label", 0)
        said.append(
            f"[bold]{visualise.words(model.classes[label])}[/] ({photographs.names[place]})"
        )
    return ", ".join(said)


def _tell(
    console: Console,
    result: session.Session,
    figures: dict[str, Any],
    decisions: str | None = None,
) -> None:
    """The end of a run, in words; `decisions`: of more photographs than the last one."""
    sizes = figures["on_chip_bytes"]
    predicted, cycles = figures["cycles_frame_predicted"], figures["cycles_frame"]
    exact = "as predicted" if predicted == cycles else f"predicted {predicted:,}"
    idle = figures["cycles_frame_wall"] - cycles
    lines = [
        ("decision", decisions or f"[bold]{visualise.words(figures['decision'])}[/] "
                                  f"({figures['image']})"),
        ("row groups", f"{figures['rows_equal']} of {figures['rows_used']} equal, "
                       f"{figures['values_compared']:,} values"),
        ("cycles", f"{cycles:,} a frame, {exact}" + (f"; {idle:,} idle beside" if idle else "")),
        ("counters", figures["counters"]["difference"]
                     or f"stalls, reads and writes as predicted in {figures['rows']} row groups"),
        ("utilisation", f"{100 * figures['mac_utilisation']:.2f} % of "
                        f"{figures['shape']['multipliers']} multipliers"),
        ("on-chip", f"{sizes['total']:,} bytes: "
                    + ", ".join(f"{name.replace('_', ' ')} {sizes[name]:,}"
                                for name in CATEGORIES if sizes[name])),
        ("speed", f"{result.seconds:.1f} s, "
                  f"{result.judge.end['cycle'] / result.seconds:,.0f} cycles/s"),
        ("files", f"build/sim/{figures['preset']}/summary.json, scan.png"),
    ]  # fmt: skip
    if ran := result.ran(frame := len(result.clocks) - 2):
        between = result.clocks[frame + 1][0] - result.clocks[frame][0]
        wanted = running(result.engine.plan, between)
        shares = (
            f"{name} {100 * share:.1f} % ({100 * wanted[name] / between:.1f})"
            for name, share in ran.items()
            if name in wanted
        )
        text = f"ran in so many of the cycles (of an even camera): {', '.join(shares)}"
        lines.insert(3, ("clocks", text))
    if figures["rows_used"] < figures["rows"]:
        lines.insert(2, ("stopped", f"{figures['rows_used']} of {figures['rows']} row groups, "
                                    f"{figures['macs_wasted']:,} MACs begun in vain"))  # fmt: skip
    for name, text in lines:
        console.print(f"{name:>12}  {text}")


BENCHES = (
    ("vww_210x240", "15,1,1", "parallel"),
    ("vww_210x240", "15,3,2", "parallel"),
    ("vww_210x240", "15,3,4", "parallel"),
    ("vww_175x200", "13,3,2", "parallel"),
    ("vww_140x160", "10,5,2", "parallel"),
    ("vww_105x120", "8,1,2", "parallel"),
    ("vww_210x240", "8,1,2", "serial"),
    ("vww_105x120", "8,1,2", "serial"),
)
"""Preset, shape and parts of each line of the README's table."""


def bench(
    table_only: Annotated[
        bool, typer.Option(help="rewrite the table from build/bench/bench.json")
    ] = False,
) -> None:
    """Measures every default shape over a whole frame and refreshes the table in README.md."""
    console = Console(highlight=False, soft_wrap=True)
    kept = runner.BUILD / "bench" / "bench.json"
    if not table_only:
        with bad_input():
            files.check_folder(kept.parent)  # before the work, not after it
        lines, equal = [], True
        for preset_name, text, parts in BENCHES:
            model, shape = preset(preset_name), EngineConfig.parse(text, parts=parts)
            figures, same = _measure(console, model, shape)
            lines.append(figures)
            equal &= same
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.write(kept, json.dumps(lines, indent=2) + "\n")
        if not equal:
            raise typer.Exit(DIFFERENT)
    refresh(runner.ROOT / "README.md", "bench", report.table(json.loads(kept.read_text())))
    console.print("build/bench/bench.json, README.md")


def _measure(
    console: Console, model: ModelConfig, shape: EngineConfig
) -> tuple[dict[str, Any], bool]:
    """One line of the table: the second of two frames, so that the engine never waits for rows."""
    plan, weights = compile_program(model, shape), load_weights(None, model)
    photographs = load_photographs(None, model, 2)
    with simulator():
        result, figures = _simulate(
            console,
            model=model,
            shape=shape,
            weights=weights,
            photographs=photographs,
            timing=camera.paced(plan.camera_period, model),
            stop=(None, None),
            skip=(None, None),
            trace=False,
        )
    _tell(console, result, figures)
    more = {"compact": shape.parts == "serial", "lost": report.losses(result.engine)}
    return {**figures, **more}, _equal(result, figures)
