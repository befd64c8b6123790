"""Proofs: `rasca prove`. See docs/verification.md.

Exit status: 0 all hold, 1 one does not, 2 input that cannot be used, 3 a solver came to no end.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from golden import files
from golden.command_line import refresh
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input, note
from sim import runner
from sim.prove import solver
from sim.prove.catalogue import METHODS, PROPERTIES, Property

OUTPUT = runner.BUILD / "prove"
MARK = "proofs"
"""Of the table in docs/verification.md."""


def chosen(text: str | None) -> tuple[Property, ...]:
    """Those with the text in their name; all without one."""
    found = tuple(one for one in PROPERTIES if text is None or text in one.name)
    if not found:
        raise ValueError(f"expected part of a property's name, not {text!r}")
    return found


def row(one: Property, limit: float) -> dict:
    """A property's line in prove.json."""
    told = {"name": one.name, "part": one.part, "claim": one.claim, "method": one.method}
    try:
        verdict = solver.decide(one.build(), one.method, one.depth, limit)
        reached = solver.reached(one.build, limit=limit)
    except solver.Unsolved as error:
        note(f"{one.name}: {error}")
        return told | {"holds": None, "depth": None, "seconds": None, "reached": {}}
    return told | {
        "holds": verdict.holds,
        "depth": verdict.depth,
        "seconds": round(verdict.seconds, 2),
        "reached": reached,
    }


def table(rows: list[dict]) -> str:
    """The lines of a page's table."""
    lines = ["| property | what holds | method | depth | seconds |", "|---|---|---|---:|---:|"]
    for one in rows:
        holds = one["claim"] if one["holds"] else f"**{one['claim']}** no answer, or it fails"
        seconds = "" if one["seconds"] is None else f"{one['seconds']:.1f}"
        lines.append(
            f"| {one['name']} | {holds} | {one['method']} | {one['depth'] or ''} | {seconds} |"
        )
    return "\n".join(lines)


def main(
    only: Annotated[str | None, typer.Option(help="part of the properties' names")] = None,
    limit: Annotated[float, typer.Option(help="seconds for each")] = solver.LIMIT,
    page: Annotated[
        Path | None, typer.Option(help="put the table between the marks of this page")
    ] = None,
) -> None:
    """Proves the properties of the parts and tells method, depth and time of each."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        if not limit > 0:
            raise ValueError(f"limit must be above 0 s, not {limit:g}")
        properties = chosen(only)
        files.check_folder(OUTPUT)
        if page is not None:
            refresh(page, MARK, None)
    rows = []
    for one in properties:
        found = row(one, limit)
        rows.append(found)
        missing = [name for name, cycle in found["reached"].items() if cycle is None]
        says = {True: "holds", False: "FAILS", None: "no answer"}[found["holds"]]
        if missing:
            says += f", but never comes to: {', '.join(missing)}"
        seconds = "" if found["seconds"] is None else f"{found['seconds']:7.2f} s"
        depth = "" if found["depth"] is None else found["depth"]
        console.print(f"{one.name:28} {one.method:9} {depth:5} {seconds}  {says}")
    with bad_input():
        files.write_all(OUTPUT, {"prove.json": json.dumps(rows, indent=1) + "\n"})
        if page is not None:
            refresh(page, MARK, table(rows))
    for method in dict.fromkeys(found["method"] for found in rows):
        console.print(f"{method}: {METHODS[method]}", style="dim")
    held = [found["holds"] and None not in found["reached"].values() for found in rows]
    console.print(f"{sum(map(bool, held))} of {len(rows)} hold ({OUTPUT / 'prove.json'})")
    if any(found["holds"] is False for found in rows) or (
        any(None in found["reached"].values() for found in rows)
    ):
        raise typer.Exit(DIFFERENT)
    if not all(held):
        raise CommandError("a solver came to no end", BROKEN)
