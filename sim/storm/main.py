"""`make storm`: camera faults at a sensor's pins, by the thousand; what comes is compared.

rasca storm --count 400 --seed 0
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from golden import files
from golden.errors import DIFFERENT, CommandError, note
from sim import runner
from sim.main import simulator
from sim.storm import judge
from sim.storm.design import FRONT_COUNTERS, RECORDS, Way, ways
from sim.storm.faults import KINDS, Case, case

OUTPUT = runner.BUILD / "storm"
TOGETHER = 250
"""Most cases of one simulation."""
FEW = 300
"""Up to so many cases a quick compile is worth more than a quick simulation."""


def early(number: int, parts: str | None = None) -> bool:
    """Whether a case runs with early termination: every other time that a kind comes on a way."""
    return number // (len(ways(parts)) * len(KINDS)) % 2 == 1


def groups(
    seed: int, count: int, parts: str | None = None
) -> Iterator[tuple[Way, bool, list[Case]]]:
    """Cases that are played together: of one way, with early termination or without."""
    for first, way in enumerate(ways(parts)):
        for stops in (False, True):
            numbers = [
                number
                for number in range(seed, seed + count)
                if number % len(ways(parts)) == first and early(number, parts) == stops
            ]
            for at in range(0, len(numbers), TOGETHER):
                some = numbers[at : at + TOGETHER]
                yield way, stops, [case(number, parts=parts) for number in some]


def summary(
    seed: int, verdicts: Sequence[judge.Verdict], seconds: float, parts: str | None = None
) -> dict[str, Any]:
    """What storm.json holds; docs/commands.md has the keys."""
    kinds = {}
    for kind in KINDS:
        own = [one for one in verdicts if one.case.kind == kind]
        moments = Counter(one.moment for one in own)
        kinds[kind] = {
            "injected": len(own),
            "moments": {name.replace(" ", "_"): moments[name] for name in judge.MOMENTS},
            "counters": dict(sorted(sum((one.counted for one in own), Counter()).items())),
            "counted": sum(one.counted == one.wanted for one in own),
            "next_frame_right": sum(one.good for one in own),
            "wrong": sum(one.wrong is not None for one in own),
        }
    each = {}
    for way in ways(parts):
        own = [one for one in verdicts if one.case.way is way]
        ratios = [one.case.ps / judge.SYNC_PS for one in own]
        each[way.name] = {
            "injected": len(own),
            "early_termination": sum(early(one.case.number, parts) for one in own),
            "pclk_cycles": [round(edge(ratios), 2) for edge in (min, max)] if own else None,
        }
    return {
        "seed": seed,
        "parts": parts,
        "injected": len(verdicts),
        "frames": sum(one.frames for one in verdicts),
        "cycles": sum(one.cycles for one in verdicts),
        "seconds": round(seconds, 1),
        "wrong": sum(one.wrong is not None for one in verdicts),
        "kinds": kinds,
        "ways": each,
        "differences": [
            {
                "case": one.case.number,
                "kind": one.case.kind,
                "way": one.case.way.name,
                "moment": one.moment.replace(" ", "_"),
                "text": one.wrong,
                "again": again(one),
            }
            for one in verdicts
            if one.wrong
        ],
    }


def again(verdict: judge.Verdict) -> str:
    parts = verdict.case.parts
    return f"make storm N=1 SEED={verdict.case.number}" + (f" PARTS={parts}" if parts else "")


def table(found: dict[str, Any]) -> str:
    """The summary for people."""
    moments = [name.partition(" ")[0] for name in judge.MOMENTS]
    rows = [("fault", "injected", *moments, "counted", "next right", "counters of the front end")]
    sums = [0] * (len(moments) + 3)
    for kind, one in found["kinds"].items():
        numbers = [one["injected"], *one["moments"].values()]
        numbers += [one["counted"], one["next_frame_right"]]
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        names = [f"{n:,} {name}" for name, n in one["counters"].items() if name in FRONT_COUNTERS]
        rows.append((kind, *(f"{number:,}" for number in numbers), ", ".join(names) or "-"))
    rows.append(("all", *(f"{number:,}" for number in sums), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "\n".join(
        "  ".join(
            (row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:]), row[-1])
        ).rstrip()
        for row in rows
    )


def main(
    count: Annotated[int, typer.Option(help="how many faults")] = 400,
    seed: Annotated[int, typer.Option(help="of the first one")] = 0,
    parts: Annotated[
        str | None, typer.Option(help=f"of the parallel ways, those alone: {', '.join(RECORDS)}")
    ] = None,
) -> None:
    """Injects `count` random camera faults, from number `seed` on."""
    for name, value, least in (("count", count, 1), ("seed", seed, 0)):
        if value < least:
            raise CommandError(f"{name} must be at least {least}, not {value}")
    if parts is not None and parts not in RECORDS:
        raise CommandError(f"parts must be {', '.join(RECORDS)}, not {parts}")
    console, started = Console(highlight=False, soft_wrap=True), time.monotonic()
    verdicts: list[judge.Verdict] = []
    limits: dict[str, judge.Thresholds] = {}
    last = OUTPUT / (f"seed{seed}_n{count}" + (f"_{parts}" if parts else ""))
    with files.run_folder(last) as folder, simulator():
        for way, stops, cases in groups(seed, count, parts):
            if not verdicts or verdicts[-1].case.way is not way:
                console.print(f"{way.name}: {way.model.name} on {way.shape}")
            built = way.build(optimise="build" if count <= FEW else "run")
            if stops and way.name not in limits:
                limits[way.name] = judge.Thresholds.of(way)
            found = judge.check(way, built, cases, limits[way.name] if stops else None)
            verdicts += found
            seconds = time.monotonic() - started
            right = sum(one.wrong is None for one in verdicts)
            console.print(f"{len(verdicts):>7} of {count}, {right} right, {seconds:,.0f} s")
            for one in found:
                if one.wrong:
                    console.print(
                        f"        {one.case.number}: {one.case}, engine at {one.moment}: "
                        f"{one.wrong}\n        again: {again(one)}"
                    )
        verdicts.sort(key=lambda one: one.case.number)
        result = summary(seed, verdicts, time.monotonic() - started, parts)
        files.write(folder / "storm.json", json.dumps(result, indent=2) + "\n")
    console.print(table(result))
    console.print(
        f"{result['injected']:,} faults, {result['frames']:,} frames, {result['cycles']:,} cycles: "
        f"{result['wrong']:,} wrong; {last / 'storm.json'}"
    )
    if result["wrong"]:
        note(f"{result['wrong']} of {count} faults came out wrong; how to play one again: above")
        raise typer.Exit(DIFFERENT)
