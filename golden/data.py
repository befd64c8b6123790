"""Training data: labelled photographs, the person rule after a crop, sampling, augmentation.

Three kinds of data set: Visual Wake Words (COCO annotations, relabelled), Pascal VOC (XML), and a
folder with a CSV. All become a list of `Sample`. The rule is that of Visual Wake Words: label 1
exactly if one person box covers at least 0.5% of the picture; where boxes are known it is applied
again to what a crop leaves.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from golden.config import ModelConfig
from golden.images import RULE, check_image, load_image
from golden.labels import read_labels

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
    fraction : float or None
        Part of the picture that the largest person box covers, if known.
    """

    path: Path
    label: int
    origin: str = ""
    persons: tuple[Box, ...] | None = None
    fraction: float | None = None


# ---- the person rule ----


def covered(box: Box, crop: Box = (0.0, 0.0, 1.0, 1.0)) -> float:
    """Part of `crop` that `box` covers, 0..1."""
    width = max(0.0, min(box[2], crop[2]) - max(box[0], crop[0]))
    height = max(0.0, min(box[3], crop[3]) - max(box[1], crop[1]))
    return width * height / ((crop[2] - crop[0]) * (crop[3] - crop[1]))


def person_label(persons: Sequence[Box], crop: Box = (0.0, 0.0, 1.0, 1.0)) -> int:
    """1 if one box covers at least 0.5% of the crop, else 0."""
    # The tolerance lets a box of exactly 0.5% pass whatever the rounding of its corners.
    return int(any(covered(box, crop) >= LEAST_FRACTION - 1e-9 for box in persons))


def _boxed(path: Path, origin: str, persons: Sequence[Box]) -> Sample:
    return Sample(
        path=path,
        label=person_label(persons),
        origin=origin,
        persons=tuple(persons),
        fraction=max((covered(box) for box in persons), default=0.0),
    )


# ---- data sets ----


def load_coco(
    annotations: str | Path,
    folder: str | Path,
    *,
    origin: str = "coco",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """Visual Wake Words of a COCO annotation file (``instances_*.json``).

    Crowd regions count as persons, as they do in Visual Wake Words.

    Raises
    ------
    ValueError
        One line: no such file or folder, not COCO annotations, no class ``person``; without
        `skip_bad`, pictures that are missing or cannot be read (counted, the first few named).
    """
    from pycocotools.coco import COCO  # here, because only this data set needs it

    annotations, folder = Path(annotations), Path(folder)
    if not annotations.is_file():
        raise ValueError(f"{annotations}: no such file")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does, always
            coco = COCO(str(annotations))
        person = coco.getCatIds(catNms=["person"])
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{annotations}: not COCO annotations ({error})") from error
    if not person:
        raise ValueError(f"{annotations}: no category 'person'")
    samples, missing = [], []
    for number in sorted(coco.getImgIds()):
        image = coco.imgs[number]
        path = folder / image["file_name"]
        if not path.is_file():
            missing.append(image["file_name"])
            continue
        persons = []
        for note in coco.loadAnns(coco.getAnnIds(imgIds=[number], catIds=person)):
            x, y, width, height = note["bbox"]
            persons.append(_relative(x, y, x + width, y + height, image["width"], image["height"]))
        samples.append(_boxed(path, origin, persons))
    return _checked(samples, {"missing files": missing}, annotations, skip_bad, progress)


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
        missing or cannot be read.
    """
    folder = Path(folder)
    listed = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listed.is_file():
        raise ValueError(f"{listed}: no such file")
    origin = folder.name.lower() if origin is None else origin
    samples: list[Sample] = []
    faults: dict[str, list[str]] = {}
    for name in (line.split()[0] for line in listed.read_text().splitlines() if line.strip()):
        path = folder / "JPEGImages" / f"{name}.jpg"
        if not path.is_file():
            faults.setdefault("missing files", []).append(path.name)
            continue
        try:
            persons = _voc_persons(folder / "Annotations" / f"{name}.xml")
        except (OSError, ElementTree.ParseError, ValueError, AttributeError, TypeError):
            faults.setdefault("XML files that cannot be read", []).append(f"{name}.xml")
            continue
        samples.append(_boxed(path, origin, persons))
    return _checked(samples, faults, listed, skip_bad, progress)


def _voc_persons(path: Path) -> list[Box]:
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.find(f"size/{side}").text) for side in ("width", "height"))
    persons = []
    for item in root.iter("object"):
        if item.findtext("name", "").strip() != "person":
            continue
        left, top, right, bottom = (
            float(item.find(f"bndbox/{side}").text) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        # Corners are pixels, counted from 1, both inside the box.
        persons.append(_relative(left - 1, top - 1, right, bottom, width, height))
    return persons


def load_table(
    folder: str | Path,
    table: str | Path | None = None,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """A folder with a CSV: columns ``file`` and ``label``.

    The columns ``origin`` and ``largest_person_box_fraction`` are used where they stand, others
    are ignored. `table` is ``labels.csv`` in the folder by default. A ``boxes.csv`` beside it gives
    persons (`read_boxes`).
    """
    folder = Path(folder)
    table = folder / "labels.csv" if table is None else Path(table)
    found = read_labels(table, folder, skip_bad=skip_bad, progress=progress)
    with table.open(newline="", encoding="utf-8-sig") as file:
        more = {(row["file"] or "").strip(): row for row in csv.DictReader(file)}
    boxes = read_boxes(table.parent)
    samples = []
    for name, path, label in zip(found.files, found.paths, found.labels, strict=True):
        text = more[name].get("largest_person_box_fraction") or ""
        try:
            fraction = float(text) if text.strip() else None
        except ValueError as error:
            raise ValueError(
                f"{table}: largest_person_box_fraction of {name} must be a number, not {text!r}"
            ) from error
        origin = more[name].get("origin") or ""
        samples.append(
            Sample(
                path=path, label=label, origin=origin, fraction=fraction, persons=boxes.get(name)
            )
        )
    return samples


def read_boxes(folder: Path) -> dict[str, tuple[Box, ...]]:
    """Person boxes by the file's name in the labels file; empty without a ``boxes.csv``.

    ``boxes.csv``: a line for each box, columns ``file``, ``x0``, ``y0``, ``x1``, ``y1``, 0..1 of
    the picture. ``boxes_known.csv`` (column ``file``): all pictures whose boxes are complete, so
    that one without a box has nobody; without that file, those that have a box.
    """
    table, known = folder / "boxes.csv", folder / "boxes_known.csv"
    if not table.is_file():
        return {}
    found: dict[str, list[Box]] = {}
    only = None
    if known.is_file():
        with known.open(newline="", encoding="utf-8-sig") as file:
            only = {(row.get("file") or "").strip() for row in csv.DictReader(file)}
        found = {name: [] for name in only}
    with table.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
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
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> list[Sample]:
    """The data set at `data`, by what is there.

    A ``.json`` file is COCO (`images`: its pictures); a ``.csv`` file lists pictures of `images`
    (by default of its own folder); a folder with ``Annotations`` is a year of VOC, one with
    ``VOC2007`` or ``VOC2012`` is both years; else ``labels.csv``. `split` is VOC's.
    """
    data = Path(data)
    more = {"skip_bad": skip_bad, "progress": progress}
    if data.suffix == ".json":
        if images is None:
            raise ValueError(f"{data}: COCO annotations need --images, the folder of the pictures")
        return load_coco(data, images, **more)
    if data.suffix == ".csv":
        return load_table(data.parent if images is None else images, data, **more)
    if not data.is_dir():
        raise ValueError(f"{data}: no such folder")
    if (data / "Annotations").is_dir():
        return load_voc(data, split, **more)
    years = [data / year for year in ("VOC2007", "VOC2012") if (data / year).is_dir()]
    if years:
        return [sample for year in years for sample in load_voc(year, split, **more)]
    return load_table(data, **more)


def _relative(
    left: float, top: float, right: float, bottom: float, width: float, height: float
) -> Box:
    box = (left / width, top / height, right / width, bottom / height)
    return tuple(min(1.0, max(0.0, side)) for side in box)  # some boxes leave the picture


def _checked(
    samples: list[Sample],
    faults: dict[str, list[str]],
    source: Path,
    skip_bad: bool,
    progress: Progress | None,
) -> list[Sample]:
    """The samples whose pictures can be decoded; ValueError for the rest without `skip_bad`."""
    good = []
    for number, (sample, fine) in enumerate(
        zip(samples, _decodable([sample.path for sample in samples]), strict=True), 1
    ):
        if fine:
            good.append(sample)
        else:
            kind = "files that are no readable picture"
            faults.setdefault(kind, []).append(sample.path.name)
        if progress is not None:
            progress(number, len(samples))
    samples, parts = good, []
    for kind, names in faults.items():
        more = ", ..." if len(names) > _NAMED else ""
        if names:
            parts.append(f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{more})")
    bad = ", ".join(parts)
    if bad and not skip_bad:
        raise ValueError(f"{source}: {bad}; --skip-bad leaves them out")
    if not samples:
        raise ValueError(f"{source}: no usable picture" + (f": {bad}" if bad else ""))
    return samples


def _decodable(paths: Sequence[Path]) -> Iterator[bool]:
    def check(path: Path) -> bool:
        try:
            check_image(path)
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:  # decoding lets go of Python's lock
        yield from pool.map(check, paths)


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
        part = kept.with_suffix(f".{os.getpid()}.npy")
        pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    else:
        pixels = np.empty(shape, dtype=np.uint8)
    with ThreadPoolExecutor(2) as pool:  # decoding lets go of Python's lock
        found = pool.map(lambda sample: load_image(sample.path, config).numpy(), samples)
        for number, picture in enumerate(found):
            pixels[number] = picture
            if progress is not None:
                progress(number + 1, len(samples))
    if kept is None:
        return torch.from_numpy(pixels)
    pixels.flush()
    part.replace(kept)  # whole or not at all
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
            raise ValueError(f"no picture of label {label} to train on")
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
            labels.append(person_label(sample.persons, seen))
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
        images[plain.to(device)] = self.exact[there[plain.to(device)]].float()
        crop = torch.where(plain[:, None], torch.tensor([0.0, 0.0, 1.0, 1.0]), views.crop)
        labels = crop_labels([self.samples[i] for i in index.tolist()], crop)
        transform = torch.where(plain[:, None, None], torch.eye(2, 3), views.transform)
        return images.round_().clamp_(0, 255), labels, transform
