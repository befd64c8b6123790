"""Every key of every JSON file that a command writes: taken from the code that makes it.

The names come from the code by its syntax tree (dictionaries, fields of dataclasses), without
running anything; what they mean stands on one page of docs/. A key that the page does not tell, and
a name in a table's first column that no code makes, is a fault. Standard library only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from rasca.site.links import slug


class JsonFile(NamedTuple):
    """A JSON file.

    place : where a command leaves it.
    command : which one.
    page : that tells its keys, in docs/.
    begin : text with which that begins: a heading, or the first words of a line.
    code : "file:name" of functions, classes and constants that hold its keys; "file:*" is all.
    other : keys of theirs that are not in the file.
    end : text with which the first line behind it begins, where that is no heading and not the next
        file's name.
    """

    place: str
    command: str
    page: str
    begin: str
    code: tuple[str, ...]
    other: tuple[str, ...] = ()
    end: str = ""


_CATEGORIES = "hw/plan/memory.py:CATEGORIES"

FILES = (
    JsonFile(
        "build/sim/<preset>/summary.json",
        "sim",
        "simulate",
        "## summary.json",
        (
            *("sim/tables.py:summary", "sim/counters.py:frame", "sim/counters.py:_cycles"),
            *("golden/expected.py:Difference", "sim/main.py:_simulate", _CATEGORIES),
        ),
    ),
    JsonFile(
        "build/bench/bench.json",
        "bench",
        "simulate",
        "**bench.json**",
        ("sim/main.py:_measure", "sim/tables.py:CAUSES"),
    ),
    JsonFile(
        "build/verilog/<name>.json",
        "verilog",
        "commands",
        "**&lt;name&gt;.json**",
        ("hw/generate.py:main",),
    ),
    JsonFile(
        "build/fuzz/cases.jsonl", "fuzz", "commands", "**cases.jsonl**", ("sim/fuzz.py:Result",)
    ),
    JsonFile(
        "build/prove/prove.json",
        "prove",
        "commands",
        "**prove.json**",
        ("sim/prove/main.py:row",),
    ),
    JsonFile(
        "build/prove/mutants.json",
        "mutate",
        "commands",
        "**mutants.json**",
        ("sim/prove/mutate.py:Mutant", "sim/prove/mutate.py:main"),
    ),
    JsonFile(
        "build/coverage/coverage.json",
        "coverage",
        "commands",
        "**coverage.json**",
        (
            "sim/coverage/main.py:summary",
            "sim/coverage/main.py:module",
            "sim/coverage/main.py:_hole",
            "sim/coverage/main.py:main",
        ),
        (".json", "coverage.json"),
    ),
    JsonFile(
        "build/strangers/runs.jsonl",
        "strangers",
        "commands",
        "**runs.jsonl**",
        ("sim/strangers/main.py:Run",),
    ),
    JsonFile(
        "build/storm/<run>/storm.json",
        "storm",
        "commands",
        "**storm.json**",
        ("sim/storm/main.py:summary",),
    ),
    JsonFile(
        "build/accounting.json",
        "accounting",
        "commands",
        "**accounting.json**",
        ("sim/study/accounting.py:Account", _CATEGORIES),
    ),
    JsonFile(
        "build/evaluate.json",
        "evaluate",
        "commands",
        "**evaluate.json**",
        ("golden/evaluate.py:report", "golden/evaluate.py:scores", "golden/evaluate.py:main"),
        ("tau", "skip"),
    ),
    JsonFile(
        "build/fidelity.json",
        "fidelity",
        "commands",
        "**fidelity.json**",
        tuple(f"golden/fidelity.py:{one}" for one in ("NAMES", "Distance", "Draw", "main")),
    ),
    JsonFile(
        "build/card.json",
        "card",
        "commands",
        "**card.json**",
        ("golden/model_card.py:row", "golden/model_card.py:main"),
    ),
    JsonFile(
        "build/early_termination/early_termination.json",
        "early-termination",
        "commands",
        "**early_termination.json**",
        (
            "golden/early_termination.py:Point",
            "golden/early_termination.py:main",
            "golden/weights.py:EarlyTermination",
        ),
        (".md", ".json"),
    ),
    JsonFile(
        "build/visualise/scan.json",
        "visualise",
        "commands",
        "**scan.json**",
        ("golden/visualise.py:summary",),
    ),
    JsonFile(
        "build/train/ablation/<kind>/table.json",
        "ablation",
        "commands",
        "**table.json**",
        ("golden/ablation.py:run",),
    ),
    JsonFile(
        "build/train/<preset>/log.jsonl, quantised_log.jsonl",
        "train",
        "commands",
        "**log.jsonl**",
        ("golden/training_run.py:Epoch",),
    ),
    JsonFile(
        "build/train/<preset>/data.json",
        "train",
        "commands",
        "**data.json**",
        ("golden/train.py:_note_data",),
    ),
    JsonFile(
        "build/report/<preset>/report.json",
        "report",
        "reports",
        "## report.json",
        ("sim/study/content.py:*", "sim/study/savings.py:*", "sim/study/report.py:make"),
        # arguments, names of clocks, sets of names
        ("plan", "cost", "tech", "rate", "always", "engine", "early", "fmax", "names", "paths"),
    ),
    JsonFile(
        "build/asic/<preset>/<shape>/summary.json",
        "asic",
        "asic",
        "## build/asic/",
        (
            *("sim/study/asic.py:_study", "sim/study/asic.py:srams", "sim/study/asic.py:power"),
            *("sim/study/rated.py:at_rate", "sim/study/rated.py:_clocks"),
        ),
        ("yosys", "registers and clock"),
    ),
    JsonFile(
        "EXPORT/macros.json",
        "asic",
        "asic",
        "**macros.json**",
        ("sim/study/hand_over.py:macros",),
    ),
    JsonFile(
        "EXPORT/floorplan.json",
        "asic",
        "asic",
        "**floorplan.json**",
        ("sim/study/hand_over.py:floorplan",),
    ),
    JsonFile(
        "build/explore/<space>/explore.json",
        "explore",
        "explore",
        "## build/explore/",
        (
            *("sim/study/point.py:*", "sim/study/explore.py:summary"),
            "sim/study/explore.py:synthesise",
        ),
        ("design", "use"),
    ),
    JsonFile(
        "build/bitstream/<board>/<preset>/summary.json",
        "bitstream",
        "boards",
        "| `board`, `device`, `preset`, `shape` | what was built |",
        (
            *("boards/build.py:summary_of", "boards/build.py:build", "boards/build.py:untimed"),
            *("boards/timing.py:slowest", "boards/timing.py:pin_delays"),
            "boards/timing.py:untimed",
        ),
        # of nextpnr's report, and for what the page says "..._available"
        (
            "used",
            "delay",
            "achieved",
            "lut_available",
            "dsp_available",
            "bram_available",
        ),
    ),
    JsonFile(
        "build/netlist/<board>/<preset>/summary.json",
        "netlist",
        "netlist",
        "`build/netlist/<board>/<preset>/summary.json`",
        (
            *("sim/netlist.py:main", "sim/netlist.py:simulate_engine", "sim/netlist.py:described"),
            *("sim/netlist.py:simulate_board", "sim/netlist.py:took", "sim/whole_board.py:judge"),
        ),
        ("yosys", "frame", "row_group", "fault", "person"),
    ),
    JsonFile(
        "build/screen/<board>/<preset>/summary.json",
        "screen",
        "boards_inside",
        "(`build/screen/<board>/<preset>/summary.json`",
        ("sim/screen.py:main",),
        ("build", "simulate"),
        "```",
    ),
    JsonFile(
        "build/flash/<name>.flash.json",
        "flash-image",
        "boards",
        "`.flash.json` beside it",
        ("boards/flash_image.py:write",),
    ),
    JsonFile(
        "build/release/<version>/release.json",
        "release",
        "commands",
        "**release.json**",
        ("rasca/release.py:manifest",),
    ),
)


# ---- from the code ----


@lru_cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _texts(node: ast.AST) -> Iterator[str]:
    """Texts of a constant: those of a tuple, the keys of a dictionary."""
    if isinstance(node, ast.Dict):
        yield from (one.value for one in node.keys if isinstance(one, ast.Constant))
    elif isinstance(node, ast.Tuple | ast.List):
        yield from (one.value for one in node.elts if isinstance(one, ast.Constant))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """A tree in the order of its text."""
    yield node
    for part in ast.iter_child_nodes(node):
        yield from _walk(part)


def _made(node: ast.AST) -> Iterator[str]:
    """Keys that a function or a class makes."""
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                yield part.target.id
        return
    for part in _walk(node):
        if isinstance(part, ast.Dict):
            yield from (text for text in _texts(part) if isinstance(text, str))
        elif isinstance(part, ast.Call) and getattr(part.func, "id", "") == "dict":
            yield from (one.arg for one in part.keywords if one.arg)
        elif isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store):
            if isinstance(part.slice, ast.Constant) and isinstance(part.slice.value, str):
                yield part.slice.value


def names(root: Path, place: str) -> list[str]:
    """The keys of "file:name", in their order.

    Raises
    ------
    ValueError
        There is no such function, class or constant.
    """
    file, _, wanted = place.partition(":")
    found: list[str] = []
    seen = False
    for node in _tree(root / file).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if wanted in ("*", node.name):
                seen = True
                found += _made(node)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == wanted:
            seen = True
            found += _texts(node.value)
    if not seen:
        raise ValueError(f"{place}: expected a function, a class or a constant of that name")
    return list(dict.fromkeys(found))


def keys(root: Path, file: JsonFile) -> list[str]:
    """All keys of a file, in the code's order."""
    every = (name for place in file.code for name in names(root, place))
    return [name for name in dict.fromkeys(every) if name not in file.other]


# ---- on the page ----


def told(root: Path, file: JsonFile) -> str:
    """What the page says of a file.

    Raises
    ------
    ValueError
        It has not got the words with which that begins.
    """
    text = (root / "docs" / f"{file.page}.md").read_text(encoding="utf-8")
    at = re.search(rf"^{re.escape(file.begin)}", text, re.M)
    if at is None:
        raise ValueError(f"docs/{file.page}.md: expected a line that begins with {file.begin}")
    rest = text[at.start() :]
    last = "|" + re.escape(file.end) if file.end else ""
    end = re.search(rf"\n(?=#|\*\*{last})", rest)
    return rest[: end.start()] if end else rest


def heading(root: Path, file: JsonFile) -> str:
    """Anchor of the heading under which that stands."""
    text = (root / "docs" / f"{file.page}.md").read_text(encoding="utf-8")
    at = re.search(rf"^{re.escape(file.begin)}", text, re.M)
    before = text[: at.end() + 200 if file.begin.startswith("#") else at.start()]
    line = re.findall(r"^#+ (.*)$", before, re.M)[-1]
    return slug(line)


_NAMED = re.compile(r"`([^`]+)`")


def meanings(text: str) -> dict[str, str]:
    """Of each key in the first column of the tables what stands beside it."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if line.startswith("|") and len(cells) == 4:
            first, meaning = cells[1].strip(), cells[2].strip()
            for name in _NAMED.findall(first):
                found[name] = meaning
    return found


def faults(root: Path) -> list[str]:
    """A line for each key that its page does not tell, and for each told one that no code makes."""
    found = []
    for file in FILES:
        try:
            made, text = keys(root, file), told(root, file)
        except (ValueError, OSError) as error:
            found.append(str(error))
            continue
        said = set(_NAMED.findall(text))
        page = f"docs/{file.page}.md"
        found += [f"{page}: expected `{key}` of {file.place}" for key in made if key not in said]
        first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        for name in (name for cell in first for name in re.findall(r"`(\w+)`", cell)):
            if name not in made:
                found.append(
                    f"{page}: {file.place}: expected a key that some code makes, not `{name}`"
                )
    return found


def page(root: Path) -> str:
    """The page of all files and their keys, and of all keys and their files."""
    from rasca.site.reference import cell, code, rows

    lines, parts = [], []
    places: dict[str, list[str]] = {}
    for file in FILES:
        there = f"../docs/{file.page}.md#{heading(root, file)}"
        link = f"[{cell(file.place)}](#{slug(file.place)})"
        command = f"[{file.command}](commands/{file.command}.md)"
        lines.append((link, command, f"[{file.page}.md]({there})"))
        text, made = told(root, file), keys(root, file)
        for key in made:
            places.setdefault(key, []).append(link)
        parts.append(f"## {cell(file.place)}\n\nOf {command}, told in [{file.page}.md]({there}).\n")
        grouped = groups(text, made)
        if grouped:
            named = [(", ".join(map(code, names)), meaning) for names, meaning in grouped]
            parts.append(rows(("key", "meaning"), named))
            inner = [key for key in made if not any(key in names for names, _ in grouped)]
            if inner:
                parts.append(f"Within their values: {', '.join(map(code, inner))}.\n")
        else:
            parts.append(f"{plain(text).partition(chr(10) * 2)[0].strip()}\n")
    index = sorted(places.items(), key=lambda one: one[0].lower())
    return "\n".join(
        (
            "# Keys of the JSON files\n",
            "The names are taken from the code that writes the files; what they mean, from the "
            "page that tells it. Neither has one that the other has not.\n",
            rows(("file", "command", "told in"), lines),
            *parts,
            "## All keys\n",
            rows(("key", "files"), ((code(key), ", ".join(links)) for key, links in index)),
        )
    )


def groups(text: str, made: list[str]) -> list[tuple[list[str], str]]:
    """Keys that stand in the first column of one line of a table, and what is said of them."""
    words = meanings(text)
    found: dict[str, list[str]] = {}
    for key, meaning in words.items():  # in the page's order
        if key in made:
            found.setdefault(meaning, []).append(key)
    return [(names, plain(meaning)) for meaning, names in found.items()]


def plain(text: str) -> str:
    """A meaning without its links, which are relative to another page."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
