"""`make coverage`: what a set of simulations reaches. See docs/verification.md.

Exit status: 0 done and all simulations equal, 1 one was not, 2 input that cannot be used, 3 the
simulator failed.
"""

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from golden import files
from golden.command_line import refresh
from golden.errors import DIFFERENT, bad_input
from sim import runner
from sim.coverage import bins, rtl, scenarios
from sim.coverage.reasons import reason
from sim.coverage.scenarios import Scenario
from sim.main import simulator

OUTPUT = runner.BUILD / "coverage"
DONE = "done"
"""In a simulation's folder: what became of it, and the digest of the code that it was made with."""
MARK = "coverage"
"""Of the table in docs/verification.md."""


def summary(played: list[dict], found: rtl.Coverage, counted: Counter) -> dict[str, Any]:
    """What coverage.json holds; docs/commands.md has the keys."""
    return {
        "simulations": played,
        "modules": [module(name, one) for name, one in sorted(found.modules.items())],
        "bins": [
            {"bin": name, "count": counted.get(name, 0), "reason": told(name, counted)}
            for name in bins.universe()
        ],
    }


def told(name: str, counted: Counter) -> str | None:
    """Why nothing is in a bin; None where something is, or nobody knows."""
    return None if counted.get(name) else reason("bin", name)


def module(name: str, one: rtl.Module) -> dict[str, Any]:
    """A module's line in coverage.json."""
    return {
        "module": name,
        "lines": len(one.lines),
        "lines_run": sum(map(bool, one.lines.values())),
        "toggles": len(one.toggles),
        "toggled": sum(map(bool, one.toggles.values())),
        "unrun": [_hole(name, text) for text in one.unrun()],
        "still": [_hole(name, text) for text in one.still()],
    }


def _hole(name: str, text: str) -> dict[str, str | None]:
    return {"what": text, "reason": reason(name, text)}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def table(found: dict[str, Any]) -> str:
    """The lines of a page's table: blocks with all that is in them."""
    lines = ["| block | lines | run | changes of bits | seen | holes | without a reason |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    blocks: dict[str, list[dict]] = {}
    for one in found["modules"]:
        blocks.setdefault(block(one["module"]), []).append(one)
    for name, some in (*blocks.items(), ("all", found["modules"])):
        cells = _sums(some)
        lines.append(f"| {f'`{name}`' if name != 'all' else name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def block(name: str) -> str:
    """The block that a module is a part of: ``engine.back.store.pooling`` is of ``engine.back``."""
    prefix, _, plain = name.rpartition(": ")
    return (f"{prefix}: " if prefix else "") + ".".join(plain.split(".")[:2])


def _sums(some: list[dict]) -> list[str]:
    lines, run, toggles, seen = (
        sum(one[key] for one in some) for key in ("lines", "lines_run", "toggles", "toggled")
    )
    holes = [hole for one in some for key in ("unrun", "still") for hole in one[key]]
    unknown = sum(hole["reason"] is None for hole in holes)
    shares = (f"{lines:,}", _share(run, lines), f"{toggles:,}", _share(seen, toggles))
    return [*shares, f"{len(holes):,}", f"{unknown:,}"]


def main(
    only: Annotated[str | None, typer.Option(help="part of the simulations' names")] = None,
    page: Annotated[
        Path | None, typer.Option(help="put the table between the marks of this page")
    ] = None,
) -> None:
    """Simulates small engines and cameras, and tells what of the hardware they reach."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        chosen = [one for one in scenarios.scenarios() if only is None or only in one.name]
        if not chosen:
            raise ValueError(f"expected part of a simulation's name, not {only!r}")
        files.check_folder(OUTPUT)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        if page is not None:
            refresh(page, MARK, None)
    found, counted, played, wrong = rtl.Coverage(), Counter(), [], 0
    code = digest()
    for one in chosen:
        kept = OUTPUT / "runs" / re.sub(r"\W+", "_", one.name.partition(":")[0])
        known = _read(kept / DONE)
        told = "known"
        if known.get("code") != code:
            known, told = _play(one, kept, code), "equal"
        if known["wrong"]:
            wrong, told = wrong + 1, f"DIFFERENT: {known['wrong']}"
        found.add(kept, one.prefix)
        counted.update(known["bins"])
        row = {"name": one.name, "equal": not known["wrong"], "seconds": known["seconds"]}
        played.append(row)
        console.print(f"{one.name:78} {row['seconds']:6.1f} s  {told}", markup=False)
    result = summary(played, found, counted)
    with bad_input():
        files.write_all(OUTPUT, {"coverage.json": json.dumps(result, indent=1) + "\n"})
        if page is not None:
            refresh(page, MARK, table(result))
    tell(console, result)
    if wrong:
        raise typer.Exit(DIFFERENT)


def digest() -> str:
    """Of the code that simulations follow from, and of the tools."""
    sha = hashlib.sha256(runner.tools_version().encode())
    for package in ("golden", "hw", "boards", "sim"):
        for file in sorted((runner.ROOT / package).rglob("*")):
            aside = package == "sim" and file.parent.name not in ("sim", "storm")
            if file.suffix in (".py", ".sv") and not aside:
                sha.update(file.read_bytes())
    return sha.hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _play(one: Scenario, kept: Path, code: str) -> dict[str, Any]:
    """Simulates, and keeps counts and what became of it in a folder, for the next time."""
    began, counted, wrong = time.monotonic(), Counter(), None
    shutil.rmtree(kept, ignore_errors=True)
    with simulator(), tempfile.TemporaryDirectory(dir=OUTPUT) as builds, runner.covering(kept):
        try:
            one.play(Path(builds), counted)
        except AssertionError as error:
            wrong = str(error) or "not equal"
    seconds = round(time.monotonic() - began, 1)
    told = {"code": "" if wrong else code, "wrong": wrong, "seconds": seconds, "bins": counted}
    files.write(kept / DONE, json.dumps(told))
    return told


def tell(console: Console, result: dict[str, Any]) -> None:
    """The tables for people, and the holes that nothing explains."""
    shown = Table("module", "lines", "run", "changes", "seen", "holes", "without a reason")
    for one in result["modules"]:
        shown.add_row(one["module"], *_sums([one]))
    shown.add_row("all", *_sums(result["modules"]))
    console.print(shown)
    for one in result["modules"]:
        for hole in (*one["unrun"], *one["still"]):
            if hole["reason"] is None:
                console.print(f"{one['module']}: {hole['what']}", markup=False)
    empty = [one for one in result["bins"] if not one["count"]]
    for one in empty:
        console.print(f"nothing in bin {one['bin']}: {one['reason'] or '?'}", markup=False)
    unknown = sum(one["reason"] is None for one in empty)
    console.print(
        f"{len(result['bins']) - len(empty)} of {len(result['bins'])} bins, {unknown} empty ones "
        f"without a reason; {OUTPUT / 'coverage.json'}"
    )
