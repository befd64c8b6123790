"""Training data: labelled photographs, the person rule after a crop, sampling, augmentation.

Kinds of data set: Visual Wake Words (COCO annotations, relabelled, or the ready-made JSON), Pascal
VOC (XML), a folder with a CSV, a folder for each class. All become a list of `Sample`. The rule is
the paper's of Visual Wake Words: label 1 exactly if one person box covers at least 0.5% of the
picture ("box"); its public scripts compare the mask's area instead ("area"). Where boxes are known
the rule is applied again to what a crop leaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from golden import errors, files
from golden.config import TWO_CLASSES, ModelConfig
from golden.errors import missing
from golden.images import RULE, Checked, check_image, list_images, load_image, turned
from golden.labels import class_of, open_csv, read_labels

RULES = ("box", "area")
LEAST_FRACTION = 0.005  # of the picture, that one person box must cover
LARGER = 4 / 3  # pictures are kept this much larger than the network's, so that crops stay sharp
SINGLE_SHARE = 0.12  # of a batch, for all origins that have one label only
_LUMA = (0.299, 0.587, 0.114)
_NAMED = 3  # bad pictures named of each kind; the rest is counted

Progress = Callable[[int, int], None]  # called with (pictures done, pictures)
Box = tuple[float, float, float, float]  # left, top, right, bottom, 0..1 of the picture


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled photograph.

    Attributes
    ----------
    path : Path
    label : int
        1 person, 0 no person, of the whole picture.
    origin : str
        Where it comes from; sampling and reports go by it. May be empty.
    persons : tuple of Box or None
        All person boxes, or None where none are known (then a crop keeps the label).
    fills : tuple of float or None
        By the area rule: the part of each box that the person's mask fills.
    fraction : float or None
        Part of the picture that the largest person box covers, if known.
    """

    path: Path
    label: int
    origin: str = ""
    persons: tuple[Box, ...] | None = None
    fills: tuple[float, ...] | None = None
    fraction: float | None = None


# ---- the person rule ----


def covered(box: Box, crop: Box = (0.0, 0.0, 1.0, 1.0)) -> float:
    """Part of `crop` that `box` covers, 0..1."""
    width = max(0.0, min(box[2], crop[2]) - max(box[0], crop[0]))
    height = max(0.0, min(box[3], crop[3]) - max(box[1], crop[1]))
    return width * height / ((crop[2] - crop[0]) * (crop[3] - crop[1]))


def person_label(
    persons: Sequence[Box],
    crop: Box = (0.0, 0.0, 1.0, 1.0),
    fills: Sequence[float] | None = None,
) -> int:
    """1 if one box covers at least 0.5% of the crop, else 0.

    With `fills` it is the box's filled part that must cover more than 0.5%: the area rule.
    """
    # The tolerance lets a box of exactly 0.5% pass whatever the rounding of its corners.
    if fills is None:
        return int(any(covered(box, crop) >= LEAST_FRACTION - 1e-9 for box in persons))
    parts = (covered(box, crop) * fill for box, fill in zip(persons, fills, strict=True))
    return int(any(part > LEAST_FRACTION + 1e-9 for part in parts))


def _boxed(
    path: Path, origin: str, persons: Sequence[Box], fills: Sequence[float] | None = None
) -> Sample:
    fills = None if fills is None else tuple(fills)
    return Sample(
        path=path,
        label=person_label(persons, fills=fills),
        origin=origin,
        persons=tuple(persons),
        fills=fills,
        fraction=max((covered(box) for box in persons), default=0.0),
    )


# ---- data sets ----


def check_rule(rule: str) -> None:
    """ValueError unless it is one of `RULES`."""
    if rule not in RULES:
        raise ValueError(f"rule must be {' or '.join(RULES)}, not {rule!r}")


def load_coco(
    annotations: str | Path,
    folder: str | Path,
    *,
    origin: str = "coco",
    rule: str = "box",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """Visual Wake Words of a COCO annotation file (``instances_*.json``), or a ready-made one.

    Ready-made is the JSON of TensorFlow's scripts: a mapping from picture to its objects and its
    label, made by the area rule. Crowd regions count as persons, as they do in Visual Wake Words.

    Parameters
    ----------
    rule : str
        Of `RULES`: what must cover 0.5% of the picture.

    Raises
    ------
    ValueError
        One line: no such file or folder, not COCO annotations, no annotations (the lists of test
        pictures have none), no class ``person``; without `skip_bad`, pictures whose entry is wrong,
        that are missing or cannot be read (counted, the first few named).
    """
    check_rule(rule)
    annotations, folder = Path(annotations), Path(folder)
    if not annotations.is_file():
        raise ValueError(missing(annotations))
    if not folder.is_dir():
        raise ValueError(missing(folder, "folder"))
    try:
        content = json.loads(annotations.read_text(encoding="utf-8-sig"))
        images = content["images"]
        if not isinstance(images, list):
            raise TypeError("images is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{annotations}: not COCO annotations ({error})") from error
    notes = content.get("annotations")
    if not notes:
        raise ValueError(
            f"{annotations}: no annotations in it, so no label is known (a list of test pictures?)"
        )
    ready = isinstance(notes, dict)
    if ready:
        find = _ready_made(notes)
    else:
        find = _annotated(annotations, content, rule)
    found: list[tuple[Sample, tuple[float, float] | None]] = []
    faults: dict[str, list[str]] = {}
    seen: set[Any] = set()
    for place, image in enumerate(images):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name:
            faults.setdefault("entries without a file_name", []).append(f"images[{place}]")
            continue
        try:
            number = image["id"]
            if number in seen:
                raise ValueError("an id twice")
            seen.add(number)
            persons, fills, label = find(image)
        except KeyError as error:
            faults.setdefault(f"entries without {error.args[0]}", []).append(name)
            continue
        except (ValueError, TypeError) as error:
            faults.setdefault(f"entries with {error}", []).append(name)
            continue
        path = folder / name
        if not files.is_file(path):
            faults.setdefault("missing files", []).append(name)
            continue
        sample = _boxed(path, origin, persons, fills)
        if label is not None:
            sample = replace(sample, label=label)
        found.append((sample, _size(image) if persons else None))
    return _checked(found, faults, annotations, skip_bad, progress)


def _numbers(values: Any, what: str) -> list[float]:
    """Finite numbers, no texts and no booleans."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{what} that is no number")
        if not math.isfinite(value):
            raise ValueError(f"{what} that is not finite")
    return [float(value) for value in values]


def _size(image: Mapping[str, Any]) -> tuple[float, float]:
    width, height = _numbers((image["width"], image["height"]), "a size")
    if width <= 0 or height <= 0:
        raise ValueError("a size of 0")
    return width, height


def _coco_box(note: Mapping[str, Any], size: tuple[float, float]) -> tuple[Box, float]:
    """A box, 0..1 of the picture, and its area in pixels."""
    box = note["bbox"]
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError("a bbox that is not four numbers")
    x, y, width, height = _numbers(box, "a bbox")
    if width < 0 or height < 0:
        raise ValueError("a negative bbox")
    if x >= size[0] or y >= size[1] or x + width < 0 or y + height < 0:
        raise ValueError("a bbox outside the picture")
    return _relative(x, y, x + width, y + height, *size), width * height


def _fill(note: Mapping[str, Any], pixels: float) -> float:
    """Part of a box that the annotation's area fills; it is 0 of an empty box."""
    (area,) = _numbers((note["area"],), "an area")
    if area < 0:
        raise ValueError("a negative area")
    return area / pixels if pixels else 0.0


def _annotated(annotations: Path, content: Mapping[str, Any], rule: str) -> Callable:
    """(image entry) -> boxes, fills, None by the list of annotations."""
    notes, categories = content["annotations"], content.get("categories")
    if not isinstance(notes, list) or not isinstance(categories, list):
        raise ValueError(f"{annotations}: not COCO annotations (annotations, categories: no lists)")
    person = [
        entry["id"]
        for entry in categories
        if isinstance(entry, dict) and "id" in entry and _is_person(entry.get("name"))
    ]
    if not person:
        raise ValueError(f"{annotations}: no category 'person'")
    by_image: dict[Any, list[Any]] = {}
    for note in notes:
        image = note.get("image_id") if isinstance(note, dict) else None
        by_image.setdefault(image if isinstance(image, (int, str)) else None, []).append(note)
    if None in by_image:
        raise ValueError(f"{annotations}: {len(by_image[None])} annotations without image_id")
    known = {entry["id"] for entry in content["images"] if _has_id(entry)}
    if not known & set(by_image):
        raise ValueError(f"{annotations}: no annotation belongs to a picture of its list")

    def find(image: Mapping[str, Any]) -> tuple[list[Box], list[float] | None, None]:
        persons, fills = [], []
        for note in by_image.get(image["id"], ()):
            if note["category_id"] not in person:
                continue
            box, pixels = _coco_box(note, _size(image))
            persons.append(box)
            if rule == "area":
                fills.append(_fill(note, pixels))
        return persons, fills if rule == "area" else None, None

    return find


def _ready_made(notes: Mapping[str, Any]) -> Callable:
    """(image entry) -> boxes, fills, label by a mapping from picture to objects and label."""

    def find(image: Mapping[str, Any]) -> tuple[list[Box], list[float], int]:
        note = notes.get(str(image["id"]))
        if not isinstance(note, dict):
            raise ValueError("no label")
        label = note["label"]
        if label not in (0, 1):
            raise ValueError("labels other than 0 and 1")
        found = [(*_coco_box(entry, _size(image)), entry) for entry in note["objects"]]
        return [box for box, _, _ in found], [_fill(e, p) for _, p, e in found], int(label)

    return find


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), (int, str))


def _is_person(name: Any) -> bool:
    return isinstance(name, str) and name.strip().casefold() == "person"


def load_voc(
    folder: str | Path,
    split: str = "trainval",
    *,
    origin: str | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """One year of Pascal VOC (``VOC2007``): ``ImageSets/Main/<split>.txt``, XML, pictures.

    Parameters
    ----------
    folder : path
        The year's folder, with ``Annotations`` and ``JPEGImages``.
    split : str
        ``trainval``, ``train``, ``val`` or ``test``.
    origin : str or None
        None takes the folder's name in lower case.

    Raises
    ------
    ValueError
        One line: no such folder or split; without `skip_bad`, pictures or XML files that are
        missing or cannot be read, boxes that are none.
    """
    folder = Path(folder)
    listed = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listed.is_file():
        raise ValueError(missing(listed))
    origin = folder.name.lower() if origin is None else origin
    found: list[tuple[Sample, tuple[float, float] | None]] = []
    faults: dict[str, list[str]] = {}
    try:
        lines = listed.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{listed}: must be a list of names ({error})") from None
    for name in (line.split()[0] for line in lines if line.strip()):
        path = folder / "JPEGImages" / f"{name}.jpg"
        if not files.is_file(path):
            faults.setdefault("missing files", []).append(path.name)
            continue
        try:
            persons, size = _voc_persons(folder / "Annotations" / f"{name}.xml")
        except _BoxError as error:
            faults.setdefault(f"XML files with {error}", []).append(f"{name}.xml")
            continue
        except (OSError, ElementTree.ParseError, ValueError, AttributeError, TypeError):
            faults.setdefault("XML files that cannot be read", []).append(f"{name}.xml")
            continue
        found.append((_boxed(path, origin, persons), size))
    return _checked(found, faults, listed, skip_bad, progress)


class _BoxError(ValueError):
    pass


def _voc_persons(path: Path) -> tuple[list[Box], tuple[float, float]]:
    """The person boxes, and the size that they are of."""
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.find(f"size/{side}").text) for side in ("width", "height"))
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise _BoxError("a size of 0")
    persons = []
    for item in root.iter("object"):
        if not _is_person(item.findtext("name", "")):
            continue
        left, top, right, bottom = (
            float(item.find(f"bndbox/{side}").text) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise _BoxError("a box that is not finite")
        if left > right or top > bottom:
            raise _BoxError("swapped corners of a box")
        if left > width or top > height or right < 1 or bottom < 1:
            raise _BoxError("a box outside the picture")
        # Corners are pixels, counted from 1, both inside the box.
        persons.append(_relative(left - 1, top - 1, right, bottom, width, height))
    return persons, (width, height)


def load_classes(
    folder: str | Path,
    *,
    classes: Sequence[str] = TWO_CLASSES,
    origin: str = "",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """A folder for each class, named after it, with its pictures (and folders of them).

    Parameters
    ----------
    classes : sequence of str
        In the order of the labels. For no_person the usual other names will do, too
        (`NO_PERSON`), and for every class its number.

    Raises
    ------
    ValueError
        One line: a folder that is none of the classes, a class without folder or pictures; without
        `skip_bad`, pictures that cannot be read.
    """
    folder = Path(folder)
    named = _class_folders(folder)
    labels: dict[int, Path] = {}
    for place in named:
        label = class_of(place.name, classes)
        if label is None:
            raise ValueError(f"{place}: must be one of {', '.join(classes)}, not {place.name!r}")
        if label in labels:
            raise ValueError(f"{place}: class {classes[label]} has {labels[label].name}, too")
        labels[label] = place
    for label, name in enumerate(classes):
        if label not in labels:
            raise ValueError(f"{folder}: no folder {name}")
    found = [
        (Sample(path=path, label=label, origin=origin), None)
        for label in sorted(labels)
        for path in list_images(labels[label], deep=True)
    ]
    return _checked(found, {}, folder, skip_bad, progress)


def _class_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def load_table(
    folder: str | Path,
    table: str | Path | None = None,
    *,
    classes: Sequence[str] = TWO_CLASSES,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """A folder with a CSV: columns ``file`` and ``label`` (a class's number or name).

    The columns ``origin`` and ``largest_person_box_fraction`` are used where they stand, others
    are ignored. `table` is ``labels.csv`` in the folder by default. A ``boxes.csv`` beside it, or
    in the folder, gives persons (`read_boxes`) to a network that looks for them: of other classes
    than no_person and person it says nothing.
    """
    folder = Path(folder)
    table = folder / "labels.csv" if table is None else Path(table)
    found = read_labels(table, folder, classes=classes, skip_bad=skip_bad, progress=progress)
    if found.bad:
        errors.note(f"{table}: left out: {found.bad}")
    more = {}
    with open_csv(table) as reader:
        for row in reader:
            more[reader.line_num] = row
    boxes: dict[str, tuple[Box, ...]] = {}
    if tuple(classes) == TWO_CLASSES:
        boxes = read_boxes(table.parent) or read_boxes(folder)
    samples = []
    rows = (found.lines, found.files, found.paths, found.labels)
    for line, name, path, label in zip(*rows, strict=True):
        text = more[line].get("largest_person_box_fraction") or ""
        try:
            fraction = float(text) if text.strip() else None
        except ValueError as error:
            raise ValueError(
                f"{table}: largest_person_box_fraction of {errors.one_line(name)} must be a "
                f"number, not {text!r}"
            ) from error
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(
                f"{table}: largest_person_box_fraction of {errors.one_line(name)} must be 0..1, "
                f"not {text!r}"
            )
        origin = more[line].get("origin") or ""
        samples.append(
            Sample(
                path=path, label=label, origin=origin, fraction=fraction, persons=boxes.get(name)
            )
        )
    return samples


def read_boxes(folder: Path) -> dict[str, tuple[Box, ...]]:
    """Person boxes by the file's name in the labels file; empty without a ``boxes.csv``.

    ``boxes.csv``: a line for each box, columns ``file``, ``x0``, ``y0``, ``x1``, ``y1``, 0..1 of
    the upright picture. ``boxes_known.csv`` (column ``file``): all whose boxes are complete, so
    that one without a box has nobody; without that file, those that have a box.
    """
    table, known = folder / "boxes.csv", folder / "boxes_known.csv"
    if not table.is_file():
        return {}
    found: dict[str, list[Box]] = {}
    only = None
    if known.is_file():
        with open_csv(known) as reader:
            columns = reader.fieldnames or []
            if "file" not in columns:
                raise ValueError(
                    f"{known}: no column 'file' (expected file, not "
                    f"{errors.one_line(', '.join(columns))})"
                )
            only = {(row["file"] or "").strip() for row in reader}
        found = {name: [] for name in only}
    with open_csv(table) as reader:
        rows = list(reader)
    for number, row in enumerate(rows, 2):
        try:
            box = tuple(float(row[side]) for side in ("x0", "y0", "x1", "y1"))
            if not 0 <= box[0] < box[2] <= 1 or not 0 <= box[1] < box[3] <= 1:
                raise ValueError
            name = row["file"].strip()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(
                f"{table}: line {number} must be file, x0, y0, x1, y1 (0..1 of the picture)"
            ) from None
        if only is None or name in only:
            found.setdefault(name, []).append(box)
    return {name: tuple(boxes) for name, boxes in found.items()}


def load_any(
    data: str | Path,
    images: str | Path | None = None,
    *,
    split: str = "trainval",
    rule: str = "box",
    classes: Sequence[str] = TWO_CLASSES,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """The data set at `data`, by what is there.

    A ``.json`` file is COCO or a ready-made Visual Wake Words file (`images`: its pictures); a
    ``.csv`` file lists pictures of `images` (by default of its own folder); a folder with
    ``Annotations`` is a year of VOC, one with ``VOC2007`` or ``VOC2012`` is both years; one with
    ``labels.csv`` is a table; else its folders are the classes. `split` is VOC's, `rule` COCO's;
    what is given for another kind of data set is refused.

    Raises
    ------
    ValueError
        As the loaders do; the area rule for a data set without areas, `images` for one that has its
        pictures in it, a split for one without splits; boxes of persons for a network with other
        classes.
    """
    data = Path(data)
    more = {"skip_bad": skip_bad, "progress": progress}
    check_rule(rule)
    kind = data_kind(data)
    if rule != "box" and kind != "coco":
        raise ValueError(f"{data}: the {rule} rule needs the areas of COCO annotations")
    if images is not None and kind not in ("coco", "table"):
        raise ValueError(f"{data}: --images goes with a .json or .csv file, not with a folder")
    if split != _SPLIT and kind not in ("voc", "vocs"):
        raise ValueError(f"{data}: has no splits, as Pascal VOC has, not {split!r}")
    if kind in ("coco", "voc", "vocs") and tuple(classes) != TWO_CLASSES:
        raise ValueError(
            f"{data}: has persons, not the classes {', '.join(classes)}: a folder for each class, "
            "or a .csv with their numbers"
        )
    if kind == "coco":
        if images is None:
            raise ValueError(f"{data}: COCO annotations need --images, the folder of the pictures")
        return load_coco(data, images, rule=rule, **more)
    if kind == "table":
        folder = data.parent if images is None else images
        return load_table(folder, data, classes=classes, **more)
    if kind == "voc":
        return load_voc(data, split, **more)
    if kind == "vocs":
        years = [data / year for year in _YEARS if (data / year).is_dir()]
        return [sample for year in years for sample in load_voc(year, split, **more)]
    if kind == "classes":
        return load_classes(data, classes=classes, **more)
    return load_table(data, classes=classes, **more)


_YEARS = ("VOC2007", "VOC2012")
_SPLIT = "trainval"  # Pascal VOC's, where none is named


def data_kind(data: Path) -> str:
    """What `load_any` takes a data set for: coco, table, voc, vocs (years), folder or classes."""
    if data.suffix == ".json":
        return "coco"
    if data.suffix == ".csv":
        return "table"
    if not data.is_dir():
        raise ValueError(missing(data, "folder"))
    if (data / "Annotations").is_dir():
        return "voc"
    if any((data / year).is_dir() for year in _YEARS):
        return "vocs"
    if not (data / "labels.csv").exists() and len(_class_folders(data)) > 1:
        return "classes"
    return "folder"


def rule_of(data: str | Path, rule: str = "box") -> str:
    """Which rule a data set's labels follow, in a word: of `RULES` (a labels file's column ``rule``
    may say it), or "given"."""
    data = Path(data)
    kind = data_kind(data)
    if kind == "coco":
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            content = json.loads(data.read_text(encoding="utf-8-sig"))
            if isinstance(content.get("annotations"), dict):
                return "area"
        return rule
    if kind in ("table", "folder"):
        table = data if kind == "table" else data / "labels.csv"
        with contextlib.suppress(OSError, ValueError), open_csv(table) as reader:
            said = {row.get("rule") for row in reader}
            if len(said) == 1 and said <= set(RULES):
                return said.pop()
    return "box" if kind in ("voc", "vocs") else "given"


def _relative(
    left: float, top: float, right: float, bottom: float, width: float, height: float
) -> Box:
    box = (left / width, top / height, right / width, bottom / height)
    return tuple(min(1.0, max(0.0, side)) for side in box)  # some boxes leave the picture


def _checked(
    found: Sequence[tuple[Sample, tuple[float, float] | None]],
    faults: dict[str, list[str]],
    source: Path,
    skip_bad: bool,
    progress: Progress | None,
) -> list[Sample]:
    """The samples whose pictures can be decoded, their boxes as the loader turns the pictures;
    ValueError for the rest without `skip_bad`, else a line about them.

    found: samples, and the size that their annotations give the picture.
    """
    good = []
    for number, ((sample, size), said) in enumerate(
        zip(found, _decoded([sample.path for sample, _ in found]), strict=True), 1
    ):
        if said is None:
            kind = "files that are no readable picture"
            faults.setdefault(kind, []).append(sample.path.name)
        else:
            good.append(_upright(sample, size, said))
        if progress is not None:
            progress(number, len(found))
    samples, parts = good, []
    for kind, names in faults.items():
        more = ", ..." if len(names) > _NAMED else ""
        if names:
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{more})")
    bad = errors.one_line(", ".join(parts))
    if bad and not skip_bad:
        raise ValueError(f"{source}: {bad}; --skip-bad leaves them out")
    if not samples:
        raise ValueError(f"{source}: no usable picture" + (f": {bad}" if bad else ""))
    if bad:
        errors.note(f"{source}: left out: {bad}")
    return samples


def _upright(sample: Sample, size: tuple[float, float] | None, said: Checked) -> Sample:
    """The sample with its boxes in the upright picture: they are turned unless the annotations'
    size shows that they were made on it."""
    if not sample.persons or said.orientation == 1:
        return sample
    lies = said.orientation >= 5 and said.width != said.height
    if lies and size == (said.height, said.width):
        return sample
    return replace(sample, persons=tuple(turned(box, said.orientation) for box in sample.persons))


def _decoded(paths: Sequence[Path]) -> Iterator[Checked | None]:
    """What each file says of itself, None where it is no readable picture."""

    def check(path: Path) -> Checked | None:
        try:
            return check_image(path)
        except ValueError:
            return None

    with ThreadPoolExecutor(_threads()) as pool:  # decoding lets go of Python's lock
        yield from pool.map(check, paths)


def _threads() -> int:
    """To decode with: one for each core that this process may use, two at least."""
    return max(2, len(os.sched_getaffinity(0)))


# ---- pictures in memory ----


def read_pictures(
    samples: Sequence[Sample],
    config: ModelConfig,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """All pictures stretched to the config's size, uint8 [N, in_channels, h, w].

    Parameters
    ----------
    cache : path or None
        Folder that keeps the decoded pictures from run to run; its file is named after the
        pictures' paths, sizes and times and the config's size. The tensor is a view of that file,
        so a data set larger than the memory can be used.
    """
    kept = None
    shape = (len(samples), config.in_channels, config.image_height, config.image_width)
    if cache is not None:
        sha = hashlib.sha256(repr((*shape, RULE)).encode())
        for sample in samples:
            state = sample.path.stat()
            sha.update(f"{sample.path.resolve()}:{state.st_size}:{state.st_mtime_ns};".encode())
        kept = Path(cache) / f"{sha.hexdigest()[:20]}.npy"
        if kept.is_file():
            return torch.from_numpy(np.load(kept, mmap_mode="c"))
        kept.parent.mkdir(parents=True, exist_ok=True)

    def decoded() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(_threads()) as pool:  # decoding lets go of Python's lock
            found = pool.map(lambda sample: load_image(sample.path, config).numpy(), samples)
            for number, picture in enumerate(found, 1):
                yield picture
                if progress is not None:
                    progress(number, len(samples))

    if kept is None:
        pixels = np.empty(shape, dtype=np.uint8)
        for number, picture in enumerate(decoded()):
            pixels[number] = picture
        return torch.from_numpy(pixels)
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    # Written, not mapped: on a full disk a map ends the process without a word.
    with files.writing(kept) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        for picture in decoded():
            file.write(picture.tobytes())
    return torch.from_numpy(np.load(kept, mmap_mode="c"))


# ---- parts and sampling ----


def held_out(samples: Sequence[Sample], fraction: float | Mapping[str, float]) -> Tensor:
    """Which samples are the validation part: bool [N], by a hash of the file's name.

    Parameters
    ----------
    fraction : float or mapping
        Of every origin, or by origin (``''`` for all that are not named). A picture stays in its
        part whatever else is in the data.
    """
    chosen = []
    for sample in samples:
        digest = hashlib.sha256(sample.path.name.encode()).hexdigest()
        share = fraction
        if isinstance(fraction, Mapping):
            share = fraction.get(sample.origin, fraction.get("", 0.0))
        chosen.append(int(digest[:8], 16) / 2**32 < share)
    return torch.tensor(chosen, dtype=torch.bool)


def read_shares(texts: list[str], rest: float) -> dict[str, float]:
    """``ORIGIN=part`` texts to a mapping for `held_out`."""
    shares = {"": rest}
    for text in texts:
        origin, _, number = text.rpartition("=")
        try:
            shares[origin] = float(number)
        except ValueError:
            shares[origin] = -1.0
        if not origin or not 0 <= shares[origin] < 1:
            raise ValueError(f"--held-out-of must be ORIGIN=part (0 to below 1), not {text!r}")
    return shares


def tell_unknown(shares: Mapping[str, float], samples: Sequence[Sample]) -> None:
    """A line for the origins with a share of their own that no sample is of."""
    there = {sample.origin for sample in samples}
    absent = sorted(set(shares) - there - {""})
    if absent:
        errors.note(
            f"--held-out-of: no picture is of {errors.one_line(', '.join(absent))}; there are "
            f"{errors.one_line(', '.join(sorted(there - {''}))) or 'no origins'}"
        )


def sampling_weights(
    samples: Sequence[Sample],
    usable: Tensor,
    cells: Mapping[str, Sequence[float]] | None = None,
    classes: int = 2,
) -> Tensor:
    """Probability of each sample in a draw, float64 [N], 0 outside `usable`.

    The origin must not tell the label. By default all labels of an origin are equally likely, an
    origin weighs as the root of the count of its rarest label, and all origins with one label only
    share `SINGLE_SHARE`, as much for each label where all exist.

    Parameters
    ----------
    cells : mapping or None
        Origin to (mass of label 0, mass of label 1, ...) instead; origins that are not named are
        left out.
    classes : int
        K; labels are 0..K-1.

    Raises
    ------
    ValueError
        A cell with mass but without pictures is fine (it drops out); a label without any mass is
        not.
    """
    places: dict[tuple[str, int], list[int]] = {}
    for index in usable.nonzero().flatten().tolist():
        places.setdefault((samples[index].origin, samples[index].label), []).append(index)
    if cells is not None:
        masses = {
            (origin, label): float(mass[label])
            for origin, mass in cells.items()
            for label in range(classes)
        }
    else:
        masses = _default_masses({cell: len(found) for cell, found in places.items()}, classes)
    weights = torch.zeros(len(samples), dtype=torch.float64)
    for cell, found in places.items():
        weights[found] = masses.get(cell, 0.0) / len(found)
    labels = torch.tensor([sample.label for sample in samples])
    for label in range(classes):
        if not float(weights[labels == label].sum()) > 0:
            raise ValueError(
                f"no picture of label {label} to train on: expected at least one, not none"
            )
    return weights / weights.sum()


def _default_masses(
    counts: Mapping[tuple[str, int], int], classes: int
) -> dict[tuple[str, int], float]:
    by_origin: dict[str, list[int]] = {}
    for (origin, _), count in counts.items():
        by_origin.setdefault(origin, []).append(count)
    rarest = {origin: min(found) for origin, found in by_origin.items() if len(found) > 1}
    masses = {cell: math.sqrt(rarest[cell[0]]) for cell in sorted(counts) if cell[0] in rarest}
    whole = sum(masses.values())
    rest = {cell: count for cell, count in counts.items() if cell[0] not in rarest}
    share = SINGLE_SHARE / (1 - SINGLE_SHARE) * whole / classes if whole else 1 / classes
    for label in range(classes):
        single = {cell: math.sqrt(count) for cell, count in rest.items() if cell[1] == label}
        total = sum(single.values())
        masses |= {cell: share * root / total for cell, root in single.items()}
    return masses


# ---- augmentation ----


class Views(NamedTuple):
    """A random view of each of B pictures.

    Attributes
    ----------
    transform : tensor [B, 2, 3]
        For ``affine_grid``: output to input coordinates, -1..1.
    crop : tensor [B, 4]
        Left, top, right, bottom of what is seen, 0..1 of the picture (beyond it where the view is
        wider than the picture, which is then mirrored).
    """

    transform: Tensor
    crop: Tensor


SMALL_PERSON = 0.03  # of the picture
_NARROWEST, _NARROWEST_SMALL, _WIDEST = 0.72, 0.88, 1.05


def random_views(
    careful: Tensor, aspect: float, generator: torch.Generator, strength: float = 1.0
) -> Views:
    """Crop of 72..105% a side, aspect 0.89..1.13, mirror, in half of them up to 0.1 rad of turn.

    Parameters
    ----------
    careful : bool tensor [B]
        Crop less (88..105%): persons that are small and whose place is not known.
    aspect : float
        Height over width of the picture.
    strength : float
        0..1: everything but the mirror that much nearer to the picture as it is.
    """
    count = len(careful)

    def uniform(low: float | Tensor, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    low = 1 - strength * (1 - torch.where(careful, _NARROWEST_SMALL, _NARROWEST))
    widest = 1 + strength * (_WIDEST - 1)
    scale, stretch = uniform(low, widest), torch.exp(strength * uniform(-0.12, 0.12))
    across = (scale * stretch).clamp(max=widest)
    down = (scale / stretch).clamp(max=widest)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    angle = strength * uniform(-0.1, 0.1) * (torch.rand(count, generator=generator) < 0.5)
    x = uniform(-1, 1) * (1 - across).abs()
    y = uniform(-1, 1) * (1 - down).abs()
    first = torch.stack([across * mirror * angle.cos(), -across * mirror * angle.sin() * aspect, x])
    second = torch.stack([down * angle.sin() / aspect, down * angle.cos(), y])
    crop = torch.stack([x - across, y - down, x + across, y + down], dim=1) / 2 + 0.5
    return Views(torch.stack([first.T, second.T], dim=1), crop)


def crop_labels(samples: Sequence[Sample], crops: Tensor) -> Tensor:
    """Labels after a crop, int64 [B]: the person rule where boxes are known, else unchanged."""
    labels = []
    for sample, crop in zip(samples, crops.tolist(), strict=True):
        if sample.persons is None:
            labels.append(sample.label)
        else:
            seen = tuple(min(1.0, max(0.0, side)) for side in crop)
            labels.append(person_label(sample.persons, seen, sample.fills))
    return torch.tensor(labels)


def jitter(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Colours of [B, C, h, w], 0..255, changed in place and returned.

    Brightness 0.75..1.25, contrast 0.7..1.35, saturation 0.4..1.6 (0 in 12%), a tint of 5%, noise
    in 15%; `strength` 0..1 takes all of these that much nearer to none.
    """
    count, channels = images.shape[:2]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    def factor(low: float, high: float) -> Tensor:
        return 1 + strength * (uniform(low, high) - 1)

    saturation = factor(0.4, 1.6) * (uniform(0, 1) >= 0.12 * strength)
    contrast, brightness = factor(0.7, 1.35), factor(0.75, 1.25)
    tint = 1 + 0.05 * strength * torch.randn((count, channels, 1, 1), generator=generator)
    grey = images
    if channels == 3:
        grey = (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    else:
        saturation = torch.ones_like(saturation)
    middle = grey.mean(dim=(1, 2, 3), keepdim=True)
    device = images.device  # draws are the CPU's, so that they are the same on every device
    saturation, contrast, brightness, tint = (
        part.to(device) for part in (saturation, contrast, brightness, tint)
    )
    images.mul_(saturation).add_(grey * (1 - saturation))
    images.mul_(contrast * brightness * tint).add_(middle * (1 - contrast) * brightness)
    noisy = (torch.rand(count, generator=generator) < 0.15 * strength).nonzero().flatten()
    if len(noisy):
        noise = torch.randn((len(noisy), *images.shape[1:]), generator=generator)
        noise *= 8 * torch.rand((len(noisy), 1, 1, 1), generator=generator)
        images[noisy.to(device)] += noise.to(device)
    return images


class Augmenter:
    """Draws augmented batches from pictures in memory.

    Parameters
    ----------
    samples : sequence of Sample
    larger : uint8 tensor [N, C, H, W]
        Pictures larger than the network's (`LARGER` is what the command line takes).
    exact : uint8 tensor [N, C, h, w]
        Of the network's size; one in eight of a batch is taken from these as it is.
    strength : float
        0..1, of crops and colours.
    """

    PLAIN = 0.12

    def __init__(
        self, samples: Sequence[Sample], larger: Tensor, exact: Tensor, strength: float = 1.0
    ) -> None:
        self.strength = strength
        self.samples, self.larger, self.exact = list(samples), larger, exact
        self.careful = torch.tensor(
            [
                s.label == 1 and s.persons is None and (s.fraction or 1) < SMALL_PERSON
                for s in self.samples
            ]
        )

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [B, C, h, w] as floats 0..255 (whole numbers), labels [B], transforms [B, 2, 3].

        Transforms and labels are on the CPU, pictures where the data is.
        """
        aspect = self.larger.shape[2] / self.larger.shape[3]
        views = random_views(self.careful[index], aspect, generator, self.strength)
        device = self.larger.device
        plain = torch.rand(len(index), generator=generator) < self.PLAIN
        size = (len(index), *self.exact.shape[1:])
        grid = functional.affine_grid(views.transform.to(device), list(size), align_corners=False)
        there = index.to(device)
        images = functional.grid_sample(
            self.larger[there].float(), grid, padding_mode="reflection", align_corners=False
        )
        images = jitter(images, generator, self.strength)
        whole = plain.nonzero().flatten().to(device)
        images[whole] = self.exact[there[whole]].float()
        crop = torch.where(plain[:, None], torch.tensor([0.0, 0.0, 1.0, 1.0]), views.crop)
        labels = crop_labels([self.samples[i] for i in index.tolist()], crop)
        transform = torch.where(plain[:, None, None], torch.eye(2, 3), views.transform)
        return images.round_().clamp_(0, 255), labels, transform
