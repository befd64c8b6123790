"""`make report`: an engine's cycles, memories, timing, energy and peers on one page, in seconds.

rasca report [--preset P] [--shape P,C,L] [--clock-mhz MHZ] [--tech T] [--fps RATE]
    [--liberty FILE] [--images FOLDER] [--weights FILE] [--compact]

Writes report.html (one file, plots inside), report.json and layers.csv; docs/reports.md says how to
read them. The same inputs give the same bytes.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import jinja2
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from golden import files
from golden.config import ModelConfig, preset
from golden.errors import bad_input, note
from golden.quantise import trained_weights
from golden.weights import Weights
from hw.plan import compile_program
from hw.plan.cost import STALLS, cost
from hw.plan.engine_config import EngineConfig
from hw.plan.owners import number_word
from hw.plan.parts import PARTS, parts_of
from sim.study import report_plots
from sim.study.content import Study, content, peers, saved_by_stopping, slowest_clock, used_sources
from sim.study.energy import Technology, technology
from sim.study.savings import RELEASE, Pictures, savings

TEMPLATE = "report.html.j2"
FAILED = 1  # exit status: a tool that was asked for
PROGRAM = " program"  # how the names of the row program's memories end


# ---- input ----


def number(name: str, text: str | None) -> float | None:
    """A number above 0, or None where none is given.

    Raises
    ------
    ValueError
        It is none.
    """
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a number above 0, not {text!r}")
    return value


def study_of(
    model: ModelConfig,
    engine: EngineConfig,
    tech: Technology,
    clock_mhz: float | None,
    rate: float | None,
) -> Study:
    """What a report is about; without a clock the slowest that keeps up with the sensor's rate."""
    plan = compile_program(model, engine)
    costs = cost(plan)
    clock_mhz = clock_mhz or slowest_clock(plan, costs, rate)
    return Study(plan=plan, cost=costs, tech=tech, clock_mhz=clock_mhz, rate=rate)


# ---- what others made ----


def for_fpgas(engine: EngineConfig) -> str:
    """Why `make asic` does not map an engine; "" where it does."""
    if not parts_of(engine).only_fpgas:
        return ""
    called = engine.limits.called
    return f"the {called} engine is for FPGAs (make bitstream); make asic does not map it"


def synthesised(
    study: Study, library: Sequence[Path] | None, folder: Path, console: Console
) -> tuple[dict[str, Any] | None, str]:
    """The summary of `make asic` for this engine, or None and a line that says what to do.

    It is looked for where `make asic` puts it; with a library it is made if it is not there.

    Raises
    ------
    ValueError, RuntimeError
        As `asic.study` does: what was asked for could not be made.
    """
    from sim.study import asic, liberty

    if why := for_fpgas(study.plan.engine):
        return None, why
    name, shape, tech = study.model.name, study.cost.shape, study.tech.name
    place = folder / name / shape.replace(",", "_")
    command = f"make asic PRESET={name} SHAPE={shape} TECH={tech}"
    if study.plan.engine.parts == "low_power":
        place, command = place.with_name(f"{place.name}_low_power"), f"{command} LOW_POWER=1"
    wanted = None if library is None else liberty.read(*library).name
    try:
        found = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found is None:
        line = f"{command} maps it to cells (LIBERTY=file names a library)"
    elif found.get("cycles_row_group") != study.cost.cycles_row_group:
        found, line = None, f"the last result is of another version of the engine; {command}"
    elif found["technology"] != tech:
        line = f"the last result has SRAM macros of {found['technology']}; {command}"
        found = None
    elif wanted not in (None, found["library"]):
        found, line = None, f"the last result is of another library; {command}"
    else:
        return found, ""
    if library is None:
        return None, line
    from golden.quantise import default_weights

    return asic.study(
        study.model,
        study.plan.engine,
        default_weights(study.model),
        library=library,
        technology=study.tech,
        clock_mhz=study.clock_mhz,
        groups=2,
        folder=place,
        console=console,
    ), ""


def early(
    study: Study, pictures: Pictures, weights: Weights | None, energy_uj: Mapping[str, float]
) -> tuple[dict[str, Any] | None, str]:
    """What early termination saves, or None and a line that says why it is not known."""
    model = study.model
    weights = weights or trained_weights(model)
    if weights is None:
        return None, (
            f"no trained weights come with {model.name}, and others' savings mean nothing; "
            "WEIGHTS=file names some (make train, make import)"
        )
    own = peers()["ours"].get(model.name)
    chosen = (own["stop"], own.get("skip")) if own else RELEASE
    return savings(pictures, model, weights, chosen, saved_by_stopping(study, energy_uj)), ""


def mapped_pj(found: Mapping[str, Any]) -> float | None:
    """pJ of a MAC in the lanes of the mapped engine, registers and clock pins included."""
    power = (found["asic"] or {}).get("power_mw")
    if not power:
        return None
    macs = power["row_groups"] * found["macs_frame"] / found["row_groups_frame"]
    return power["blocks"]["lane"] * power["cycles"] * 1e3 / (power["clock_mhz"] * macs)


# ---- the files ----


def table(found: Mapping[str, Any]) -> str:
    """layers.csv: layers, what works beside them, operations, all of it; a steady row group."""
    names = [memory["name"] for memory in found["memories"] if memory["reads"] or memory["writes"]]
    plain = ["macs", "cycles", "steps", "products", "utilisation", "weights", "bytes_read",
             "bytes_written", "bytes_per_cycle", "megabytes_per_s", "mac_nj",
             "sram_nj"]  # fmt: skip
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["kind", "name", *plain, *(f"stall {cause}" for cause in STALLS)]
        + [f"{way} {name}" for way in ("reads", "writes") for name in names]
    )
    for kind, parts in (
        *(("layer", found["layers"]), ("beside", found["beside"])),
        *(("operation", found["operations"]), ("row group", [found["row_group"]])),
    ):
        for part in parts:
            writer.writerow(
                [kind, part["name"], *(part.get(key) for key in plain)]
                + [part["stalls"].get(cause) for cause in STALLS]
                + [part[way].get(name, 0) for way in ("reads", "writes") for name in names]
            )
    return file.getvalue()


def _grouped(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _short(value: float | None) -> str:
    """Four digits, never an exponent."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 5)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}\N{NO-BREAK SPACE}%"


def _either(classes: Sequence[str]) -> str:
    """The last class first, as "person" comes before "no person"."""
    *names, last = [f'"{name.replace("_", " ")}"' for name in reversed(classes)]
    return f"{', '.join(names)} or {last}"


def _of(words: Mapping[str, Any], name: str) -> Any:
    """Words of a memory, or of all of the row program's; a key's value; None if there is none."""
    if name == PROGRAM.strip():
        return sum(value for key, value in words.items() if key.endswith(PROGRAM))
    return words.get(name)


def page(found: Mapping[str, Any], study: Study, lines: Mapping[str, str], command: str) -> str:
    """report.html. lines: why a part is missing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "n": _grouped,
        "g": _short,
        "pct": _percent,
        "of": _of,
        "star": lambda one, key: "*" if key in one.get("derived", ()) else "",
    }
    plots = {
        "work": report_plots.work(found),
        "sizes": report_plots.sizes(found),
        "lifetimes": report_plots.lifetimes(found),
        "lines": report_plots.lines(found),
        "energy": report_plots.energy(found),
        "shapes": report_plots.shapes(found),
        "accuracy": report_plots.accuracy(found),
    }
    ends: Counter[int] = Counter()
    if found["early_termination"]:
        plots["scans"] = report_plots.scans(found)
        ends.update(one["last_row_group"] for one in found["early_termination"]["pictures"])
    used = [memory["name"] for memory in found["memories"] if memory["reads"] or memory["writes"]]
    columns = [name for name in used if not name.endswith(PROGRAM)]
    fmax = found["fmax_mhz"]
    notes = []
    if fmax and fmax < found["clock_mhz"]:
        notes.append(
            f"The clock of {found['clock_mhz']:g} MHz is faster than the {fmax:g} MHz that the "
            "engine reaches after synthesis."
        )
    return environment.get_template(TEMPLATE).render(
        r=found,
        tech=study.tech,
        plots={name: _safe(plot) for name, plot in plots.items()},
        stalls=STALLS,
        columns=[*columns, PROGRAM.strip()],
        model=study.model,
        engine=study.plan.engine,
        parts=parts_of(study.plan.engine),
        rows=number_word(study.model.rows_per_group),
        either=_either(study.model.classes),
        stops=study.model.stop_class.replace("_", " "),
        ends=ends,
        own=peers()["ours"].get(found["preset"]),
        asic_line=lines["asic"],
        fmax_line=lines["fmax"],
        early_line=lines["early"],
        mapped_pj=mapped_pj(found),
        notes=notes,
        sources=used_sources(study.tech, found),
        command=command,
    )


def _safe(plot: str | list[str]) -> Any:
    """Markup that is not escaped: our own drawings."""
    from markupsafe import Markup

    return [Markup(one) for one in plot] if isinstance(plot, list) else Markup(plot)


# ---- the command ----


def show(found: Mapping[str, Any], lines: Mapping[str, str], console: Console) -> None:
    """The layers and the main figures."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("layer", no_wrap=True)
    for name in ("MACs", "cycles", "stalls", "utilisation", "B a cycle"):
        shown.add_column(name, justify="right", no_wrap=True)
    for part in found["layers"]:
        shown.add_row(
            part["name"],
            f"{part['macs']:,}",
            f"{part['cycles']:,}",
            f"{sum(part['stalls'].values()):,}",
            _percent(part["utilisation"]),
            _short(part["bytes_per_cycle"]),
        )
    shown.add_section()
    whole = found["row_group"]
    shown.add_row(
        "row group",
        f"{whole['macs']:,}",
        f"{whole['cycles']:,}",
        f"{sum(whole['stalls'].values()):,}",
        _percent(whole["utilisation"]),
        _short(whole["bytes_per_cycle"]),
    )
    console.print(shown)
    timing, uj = found["timing"], found["energy_uj"]["total"]
    saved = found["early_termination"]
    for name, text in (
        ("speed", f"{found['cycles_frame']:,} cycles a frame, at most "
                  f"{_short(timing['fastest_frames_per_s'])} frames/s, "
                  f"{timing['fastest_line_rate_hz']:,.0f} lines/s"),
        ("latency", f"{_short(timing['row_group_to_state_us'])} us to the state, "
                    f"{_short(timing['frame_to_decision_us'])} us to the decision"),
        ("memories", f"{found['on_chip_bytes']:,} bytes; the paper's limit is "
                     f"{found['limit_bytes']:,}"),
        ("energy", f"{_short(uj)} uJ a frame, {_short(found['pj_per_mac'])} pJ/MAC, "
                   f"{_short(found['power_mw'])} mW ({_short(found['power_low_mw'])} to "
                   f"{_short(found['power_high_mw'])}) at {found['frames_per_s']:g} frames/s"),
        ("slower", f"{_short(found['slowest_clock']['mw'])} mW at "
                   f"{_short(found['slowest_clock']['clock_mhz'])} MHz, which just keeps up"),
        ("faster", f"{_short(found['faster_clocks'][-1]['mw'])} mW at "
                   f"{_short(found['faster_clocks'][-1]['clock_mhz'])} MHz"
                   + (", clocks asleep in between" if found["sleeps"] else "")),
        ("early", lines["early"] or f"{_percent(saved['thresholds'][0]['macs_saved'])} of the "
                  f"MACs saved on {saved['photographs']:,} photographs"),
        ("synthesis", lines["asic"] or f"{found['asic']['cells']:,} cells, "
                      + (f"{found['fmax_mhz']:g} MHz" if found["fmax_mhz"] else "no frequency")),
    ):  # fmt: skip
        console.print(f"{name:>10}  {text}", soft_wrap=True)
    for line in found["warnings"]:
        console.print(f"   warning  {line}", soft_wrap=True)


def make(
    model: ModelConfig,
    study: Study,
    *,
    library: Sequence[Path] | None,
    pictures: Pictures,
    weights: Weights | None,
    asic_folder: Path,
    console: Console,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of report.json, and why a part of it is missing."""
    found = content(study)
    saved, no_saving = early(study, pictures, weights, found["energy_uj"])
    made, not_made = synthesised(study, library, asic_folder, console)
    found |= {
        "early_termination": saved,
        "asic": made,
        "area_um2": made and made["area_um2"],
        "fmax_mhz": made and made["fmax_mhz"],
    }
    missing = {"early": no_saving, "asic": not_made, "fmax": not_made}
    if made and made["fmax_mhz"] is None:
        known = (line for line in made["limits"] if line.startswith(("no frequency", "no Liberty")))
        missing["fmax"] = next(known, "no path between registers was timed")
    found["missing"] = list(dict.fromkeys(line for line in missing.values() if line))
    return found, missing


def main(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    clock: Annotated[
        str | None,
        typer.Option("--clock-mhz", help="of the engine; default: the slowest that keeps up"),
    ] = None,
    awake: Annotated[bool, typer.Option("--awake", help="clocks never stand still")] = False,
    tech: Annotated[str, typer.Option(help="process, see technology.toml")] = "ihp130",
    rate: Annotated[str | None, typer.Option("--fps", help="frames/s of the sensor")] = None,
    library_text: Annotated[str | None, typer.Option("--liberty", help="Liberty files")] = None,
    image_folder: Annotated[Path | None, typer.Option("--images", help="photographs")] = None,
    weights_file: Annotated[Path | None, typer.Option("--weights", help="safetensors")] = None,
    skip_bad: Annotated[bool, typer.Option(help="leave out pictures that cannot be read")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="the small FPGAs' engine")] = False,
    low_power: Annotated[bool, typer.Option(help="few registers, for a slow clock")] = False,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/report"),
    asic_folder: Annotated[Path, typer.Option("--asic", help="where make asic writes")] = Path(
        "build/asic"
    ),
) -> None:
    """Cycles, memories, timing, energy and peers of an engine, on one page."""
    console = Console(highlight=False)
    with bad_input():
        model = preset(preset_name)
        if compact and low_power:
            raise ValueError("expected COMPACT=1 or LOW_POWER=1, not both")
        parts = "serial" if compact else "low_power" if low_power else "parallel"
        text = shape or PARTS[parts].usual(model)
        sleeps = not awake and not PARTS[parts].only_fpgas
        engine = EngineConfig.parse(text, "loaded", parts=parts, sleep=sleeps)
        process, clock_mhz = technology(tech), number("clock_mhz", clock)
        frames = number("fps", rate)
        library = None
        if library_text is not None:
            from sim.study import liberty

            library = liberty.files(library_text)
            if why := for_fpgas(engine):
                raise ValueError(f"LIBERTY={library_text}: {why}")
            liberty.read(*library).check_gates()
        pictures = Pictures.of(image_folder, skip_bad)
        weights = Weights.load(weights_file, model) if weights_file else None
        study = study_of(model, engine, process, clock_mhz, frames)
        clock_mhz = study.clock_mhz
        place = folder / model.name
        files.check_folder(place)
        try:
            found, missing = make(
                model,
                study,
                library=library,
                pictures=pictures,
                weights=weights,
                asic_folder=asic_folder,
                console=console,
            )
        except RuntimeError as error:  # a tool failed
            note(" ".join(str(error).split()))
            raise typer.Exit(FAILED) from None
    given = {
        "PRESET": model.name,
        "SHAPE": str(engine),
        "CLOCK_MHZ": None if clock is None else f"{clock_mhz:g}",
        "TECH": process.name,
        "FPS": None if frames is None else f"{frames:g}",
        "LIBERTY": library and " ".join(path.name for path in library),
        "IMAGES": image_folder and image_folder.name,
        "WEIGHTS": weights_file and weights_file.name,
        "COMPACT": "1" if compact else None,
        "LOW_POWER": "1" if low_power else None,
        "AWAKE": "1" if awake else None,
        "SKIP_BAD": "1" if skip_bad else None,
    }
    command = " ".join(["make report", *(f"{k}={v}" for k, v in given.items() if v)])
    contents = {
        "report.html": page(found, study, missing, command),
        "report.json": json.dumps(found, indent=1) + "\n",
        "layers.csv": table(found),
    }
    files.write_all(place, contents)
    show(found, missing, console)
    console.print(f"written to {place}", soft_wrap=True)
