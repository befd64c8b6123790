"""Labelled photographs: a CSV with the columns ``file`` and ``label``, checked before use."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from golden import files
from golden.config import TWO_CLASSES
from golden.errors import missing, one_line
from golden.images import check_image

_NAMED = 3  # bad rows named of each kind; the rest is counted


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Photographs with labels.

    Attributes
    ----------
    files : list of str
        As they stand in the CSV.
    paths : list of Path
        Of the pictures; each one exists and can be decoded.
    labels : list of int
        1 person, 0 no person; or a class's number.
    lines : list of int
        Of the CSV, in which they end.
    rule : str or None
        What the column ``rule`` says the labels were made by, if all rows say the same.
    bad : str or None
        What was left out, in one line.
    """

    files: list[str]
    paths: list[Path]
    labels: list[int]
    lines: list[int]
    bad: str | None
    rule: str | None = None

    def __len__(self) -> int:
        return len(self.files)


NO_PERSON = ("no_person", "not_person", "non_person", "nonperson", "noperson", "background")


def class_of(name: str, classes: Sequence[str]) -> int | None:
    """The label that a folder's name or a text in a table means, whatever its case; None where it
    means no class, or one of several that differ in case only."""
    if name in classes:
        return list(classes).index(name)
    plain = [entry.casefold().replace("-", "_").replace(" ", "_") for entry in (name, *classes)]
    if plain[0] in plain[1:]:
        return plain[1:].index(plain[0]) if plain[1:].count(plain[0]) == 1 else None
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    return 0 if tuple(classes) == TWO_CLASSES and plain[0] in NO_PERSON else None


@contextmanager
def open_csv(table: Path) -> Iterator[csv.DictReader]:
    """The rows of a CSV file; ValueError in one line where it is none."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a readable CSV file ({error})") from error


def read_labels(
    table: str | Path,
    folder: str | Path,
    *,
    classes: Sequence[str] = TWO_CLASSES,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Read and check a labels file.

    Parameters
    ----------
    table : path
        CSV with a header; columns ``file`` and ``label``, others are ignored.
    folder : path
        What the files are relative to.
    classes : sequence of str
        Labels are their numbers, 0..K-1, or their names.
    skip_bad : bool
        Leave rows out that cannot be used instead of refusing the file.
    progress : function or None
        Called with (rows checked, rows).

    Raises
    ------
    ValueError
        One line: no such file or folder, no such columns, no usable row; or, without `skip_bad`,
        how many rows are bad, of which kind, with the first few names.
    """
    table, folder = Path(table), Path(folder)
    if not table.is_file():
        raise ValueError(missing(table))
    if not folder.is_dir():
        raise ValueError(missing(folder, "folder"))
    with open_csv(table) as reader:
        columns = reader.fieldnames or []
        for column in ("file", "label"):
            if column not in columns:
                raise ValueError(
                    f"{table}: no column {column!r} (expected file and label, not "
                    f"{one_line(', '.join(columns))})"
                )
        rows, rules = [], set()
        for row in reader:
            name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
            rows.append((reader.line_num, name, label))
            rules.add(row.get("rule") or None)
    if not rows:
        raise ValueError(f"{table}: no row in it (expected at least one, not none)")

    last = len(classes) - 1
    kind = f"labels other than {'0 and 1' if last == 1 else f'0..{last}'}"
    if tuple(classes) != TWO_CLASSES:
        kind += f" ({', '.join(classes)})"

    meant: dict[str, set[int | None]] = {}
    for _, name, label in rows:
        meant.setdefault(os.path.normpath(name), set()).add(class_of(label, classes))

    def check(row: tuple[int, str, str]) -> tuple[str, str] | None:
        """(kind, name) of what is wrong with a row."""
        line, name, label = row
        if class_of(label, classes) is None:
            return kind, f"{label!r} in line {line}"
        path = folder / name
        if not name or not files.is_file(path):
            return "missing files", name or f"no name in line {line}"
        if len(meant[os.path.normpath(name)] - {None}) > 1:
            return "rows of a file with two labels", name
        try:
            check_image(path)
        except ValueError:
            return "files that are no readable picture", name
        return None

    good: list[tuple[int, str, str]] = []
    faults: dict[str, list[str]] = {}
    threads = max(2, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:  # decoding lets go of Python's lock
        for number, (row, fault) in enumerate(zip(rows, pool.map(check, rows), strict=True), 1):
            if fault is None:
                good.append(row)
            else:
                faults.setdefault(fault[0], []).append(fault[1])
            if progress is not None:
                progress(number, len(rows))
    bad = _describe(faults, len(rows))
    if bad is not None and not skip_bad:
        raise ValueError(f"{table}: {bad}; --skip-bad leaves them out")
    if not good:
        raise ValueError(f"{table}: no usable row: {bad}")
    return Labelled(
        files=[name for _, name, _ in good],
        paths=[folder / name for _, name, _ in good],
        labels=[class_of(label, classes) for _, _, label in good],
        lines=[line for line, _, _ in good],
        bad=bad,
        rule=rules.pop() if len(rules) == 1 else None,
    )


def _describe(faults: dict[str, list[str]], rows: int) -> str | None:
    if not faults:
        return None
    parts = []
    for kind, names in faults.items():
        more = ", ..." if len(names) > _NAMED else ""
        parts.append(f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{more})")
    bad = sum(map(len, faults.values()))
    return f"{bad} of {rows} rows are bad: {one_line(', '.join(parts))}"
