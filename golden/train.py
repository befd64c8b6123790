"""Training of the float network, then quantisation-aware training of the integer one.

    rasca train --preset P --data DATA --epochs N [--resume FILE]
    torchrun --nproc-per-node 2 -m rasca train ...

Writes ``last.pt`` (everything needed to resume), ``log.jsonl`` and ``curves.png`` after each epoch
and ``final.pt`` (the released layout) at the end; with ``--quantised-epochs`` the same again for
the integer network (``quantised_...``) and ``weights.safetensors``. See docs/training.md.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import typer
from rich.progress import Progress
from torch import Tensor

from golden import files
from golden.boxes import Boxes, Targets, boxes_loss, check_persons
from golden.checkpoint import check_packed
from golden.classifier import decide
from golden.command_line import bad_input, note, progress_bar
from golden.config import ModelConfig, preset, resized
from golden.data import (
    Augmenter,
    load_any,
    read_shares,
    rule_of,
    tell_unknown,
)
from golden.data import sampling_weights as make_weights
from golden.errors import missing
from golden.float_from_integers import float_from_integers
from golden.float_model import FloatModel, load_checkpoint
from golden.loss import ALPHA, Loss, check_confidence_labels, rascanet_loss, soft_labels
from golden.quantise import USUAL_PERCENTILE, quantise
from golden.quantised_training import BATCH as QUANTISED_BATCH
from golden.quantised_training import finish
from golden.teacher import digest_of, load_teacher, teach
from golden.training_run import (
    CACHE,
    Data,
    Epoch,
    add_row,
    average,
    begin_log,
    by_origin,
    gathered,
    join_processes,
    kept_cells,
    leave_processes,
    on_cpu,
    processes,
    read_resumable,
    save_checkpoint,
)
from golden.weights import Weights, holds_integers

_EVALUATED_AT_ONCE = 64
_MEASURED_ON = 200  # training pictures that show how maps are spread
_AT_THE_END = 20.0  # seconds, for the integers
_LOOKED_AT = 50  # on a GPU, steps from one look at the loss to the next
_TRIED = 24  # steps of an epoch that shows how long the real ones take
_TIMED = 8  # steps of an epoch whose pictures are timed
_DRAWN_FROM = 100  # validation pictures of an origin; fewer only jump about


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    Attributes
    ----------
    epochs : int
        >= 1; an epoch is one draw of as many pictures as the training part has.
    batch : int
        >= 2, pictures of one step, all processes together.
    learning_rate : float
        > 0, at the end of the warm-up; then half a cosine to 0.
    warmup : float
        0..0.5, part of all steps.
    weight_decay : float
        >= 0, of AdamW, for weights (not for biases and batch norm).
    confidence : {'proposed', 'trivial', 'none', 'boxes'}
        Labels of the confidence term; boxes: every row group learns from the person boxes, where
        they are known (`golden.boxes`).
    alpha : float
        >= 0, weight of that term.
    dropout : float
        0 to below 1.
    held_out : float
        0 to below 1, validation part of every origin.
    average : float
        0 to below 1: what is evaluated and written at the end is a running mean of the network over
        the steps, of which each keeps this part; 0: the network itself.
    augmentation : float
        0..1, of crops and colours.
    mixup : float
        >= 0: pictures of a batch are mixed in pairs, and their losses alike, by a share drawn from
        Beta(mixup, mixup), one for each batch (Zhang et al., 2018); 0: not at all.
    label_smoothing : float
        0 to below 1, part of the label that is spread over all classes.
    teacher : str
        Digests of the teachers' files (`golden.teacher`) joined by "+", "" for none: what resuming
        must keep.
    seed : int
    """

    epochs: int
    batch: int = 64
    learning_rate: float = 3e-3
    warmup: float = 0.04
    weight_decay: float = 0.02
    confidence: str = "proposed"
    alpha: float = ALPHA
    dropout: float = 0.05
    held_out: float = 0.1
    average: float = 0.999
    augmentation: float = 1.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    teacher: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch", 2)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.warmup <= 0.5:
            raise ValueError(f"warmup must be 0..0.5, not {self.warmup}")
        for name in ("weight_decay", "alpha", "mixup"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.augmentation <= 1:
            raise ValueError(f"augmentation must be 0..1, not {self.augmentation}")
        for name in ("dropout", "held_out", "average", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be 0 to below 1, not {getattr(self, name)}")
        check_confidence_labels(self.confidence)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0..steps-1."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return (
            self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
        )


# ---- network ----


@torch.no_grad()
def initial_model(config: ModelConfig, dropout: float, seed: int) -> FloatModel:
    """A fresh network whose GRU remembers 1 to T row groups.

    PyTorch's own start makes every update gate 1/2: half of the state is lost with each row group,
    and a person in the upper part of the picture cannot be learned from the last state.
    """
    torch.manual_seed(seed)
    model = FloatModel(config, dropout)
    bias = model.cell.conv_update.bias
    bias.copy_(torch.log(1 + (config.row_groups - 1) * torch.rand(bias.shape)))
    return model


def _signed(images: Tensor) -> Tensor:
    """Whole floats 0..255 to signed pixels."""
    return images - 127 - (images >= 128).to(images.dtype)


@torch.no_grad()
def answers(model: FloatModel, images: Tensor) -> Tensor:
    """Class of uint8 pictures by the last row group, [N], in eval mode."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    parts = [model(part.to(device)).logits[:, -1] for part in images.split(_EVALUATED_AT_ONCE)]
    model.train(training)
    return decide(torch.cat(parts).cpu())


class Average:
    """A running mean of a network and of its batch norm's statistics.

    Parameters
    ----------
    model : FloatModel
    keep : float
        Part of the mean that a step leaves; less in the first steps, to forget the start.
    """

    def __init__(self, model: FloatModel, keep: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.keep, self.steps = keep, 0

    @torch.no_grad()
    def add(self, model: FloatModel) -> None:
        """The network as it is after a step."""
        self.steps += 1
        new = 1 - min(self.keep, self.steps / (self.steps + 9))
        for mean, value in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, new)
            else:
                mean.copy_(value)


class Mixed(NamedTuple):
    """How a batch is mixed: picture i is ``share`` of itself and the rest of picture ``other[i]``.

    Attributes
    ----------
    share : float
        0..1.
    other : int64 tensor [B]
    """

    share: float
    other: Tensor

    @classmethod
    def drawn(cls, mixup: float, count: int, generator: torch.Generator) -> Mixed:
        """A share from Beta(mixup, mixup) and an order, from the generator (of the CPU)."""
        seed = int(torch.randint(2**62, (1,), generator=generator))
        share = float(np.random.default_rng(seed).beta(mixup, mixup))
        return cls(share, torch.randperm(count, generator=generator))

    def of(self, maps: Tensor) -> Tensor:
        """The mixed pictures [B, ...], on their own device."""
        return torch.lerp(maps[self.other.to(maps.device)], maps, self.share)

    def loss(self, found: Loss, others: Loss) -> Loss:
        """Of the losses with a batch's own labels, and with those of the other pictures."""
        pairs = zip(found, others, strict=True)
        return Loss(*(self.share * own + (1 - self.share) * other for own, other in pairs))


class _Asked(NamedTuple):
    """What a batch is to learn; the parts are tensors on one device, a picture in each line.

    labels : int64 tensor [B]
    soft : tensor [B, K] or None, of `soft_labels`.
    boxes : Targets or None
    """

    labels: Tensor
    soft: Tensor | None
    boxes: Targets | None

    def on(self, device: torch.device, order: Tensor | None = None) -> _Asked:
        """On that device; of the pictures in that order."""

        def moved(part: Tensor | None) -> Tensor | None:
            if part is None:
                return None
            return (part if order is None else part[order]).to(device)

        boxes = None if self.boxes is None else Targets(*map(moved, self.boxes))
        return _Asked(moved(self.labels), moved(self.soft), boxes)


def _loss(logits: Tensor, confidence: Tensor, asked: _Asked, options: TrainConfig) -> Loss:
    if asked.boxes is not None:
        return boxes_loss(logits, confidence, asked.boxes, options.alpha, asked.soft)
    return rascanet_loss(
        logits,
        confidence,
        asked.labels,
        kind=options.confidence,
        alpha=options.alpha,
        soft=asked.soft,
    )


def choose_device(name: str) -> torch.device:
    """auto: a GPU if there is one, else the CPU; ValueError for one that is not there.

    With torchrun each process of a machine takes its own GPU, as far as there are some.
    """
    own = int(os.environ.get("LOCAL_RANK", "0")) if dist.is_initialized() else 0
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r}: {str(error).splitlines()[0]}") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    if device == torch.device("cuda"):
        return torch.device("cuda", own % torch.cuda.device_count())
    return device


def shortened(place: torch.device) -> torch.autocast:
    """Products in bfloat16 on a GPU that has it, else as they are."""
    short = place.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(place.type, torch.bfloat16, enabled=short)


def _dropout_states(place: torch.device) -> list[Tensor]:
    """Of the generators that dropout draws from: the CPU's, and the GPU's on one."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(place)] if place.type == "cuda" else states


def _set_dropout(states: list[Tensor], place: torch.device) -> None:
    torch.set_rng_state(states[0])
    if place.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], place)


# ---- training ----


def fit(
    config: ModelConfig,
    data: Data,
    options: TrainConfig,
    folder: Path,
    *,
    cells: Mapping[str, Any] | None = None,
    resume: Path | None = None,
    start: FloatModel | None = None,
    stop_after: int | None = None,
    device: str = "cpu",
    taught: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """Train; yields after each epoch and leaves ``last.pt`` and ``log.jsonl`` in `folder`.

    With several processes each one draws its own part of every batch and gradients are averaged;
    batch norm uses each process's own statistics, its running ones are averaged once an epoch.

    Parameters
    ----------
    cells : mapping or None
        For `sampling_weights`.
    resume : path or None
        A ``last.pt`` of the same run; the same number of processes gives the same result as if it
        had not stopped.
    start : FloatModel or None
        Begin with this network instead of a fresh one.
    stop_after : int or None
        Leave after that epoch, schedule unchanged (for tests, or to go on later).
    device : str
        auto, cpu, cuda, cuda:1, ... On a GPU products are in bfloat16, and the pictures lie there,
        too, if they fit. Pictures are drawn and augmented with the same random numbers everywhere.
    taught : tensor [N, K] or None
        Probabilities that the teachers give each sample (`golden.teacher.teach`); with
        ``options.teacher``.

    Raises
    ------
    ValueError
        Fewer than one picture of each label, a checkpoint of another run, or a loss that is not
        finite.
    """
    rank, count = processes()
    if bool(options.teacher) != (taught is not None):
        raise ValueError("teacher must be given together with what it says, not alone")
    if options.batch % count:
        raise ValueError(f"batch must be a multiple of {count} processes, not {options.batch}")
    place = choose_device(device)
    model = initial_model(config, options.dropout, options.seed) if start is None else start
    model = model.to(place)
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decay, "weight_decay": options.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=options.learning_rate)
    generator = torch.Generator().manual_seed(options.seed * 1000 + rank)
    torch.manual_seed(options.seed * 1000 + rank)  # dropout
    first, kept = 1, {**asdict(options), "cells": kept_cells(cells)}
    if resume is not None:
        found = read_resumable(resume, config, kept, data=data)
        model.load_state_dict(found.get("network", found["state_dict"]))
        optimiser.load_state_dict(found["optimizer"])
        first = found["epoch"] + 1
        if rank < len(found["random"]):
            own, *dropout = found["random"][rank]
            generator.set_state(own)
            _set_dropout(dropout, place)
    mean = Average(model, options.average) if options.average else None
    if mean is not None and resume is not None:
        mean.model.load_state_dict(found["state_dict"])
        mean.steps = found.get("steps", 0)
    shown = model if mean is None else mean.model
    weights = make_weights(data.samples, ~data.held_out, cells, config.class_count)
    there = data.on(place)
    augmenter = Augmenter(data.samples, there.larger, there.exact, options.augmentation)
    boxes = Boxes(data.samples) if options.confidence == "boxes" else None
    read = config.row_groups * config.rows_per_group / config.image_height
    of_pictures = torch.tensor([sample.label for sample in data.samples])
    validation = data.held_out.nonzero().flatten()
    steps = max(1, int((~data.held_out).sum()) // options.batch)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    if rank == 0:
        begin_log(log, first - 1)
    model.train()
    for epoch in range(first, options.epochs + 1):
        begun, pipeline = time.monotonic(), 0.0
        sums, timed = torch.zeros(4, device=place), min(steps, _TIMED)
        for step in range(steps):
            at = (epoch - 1) * steps + step
            rate = options.rate(at, options.epochs * steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            share = options.batch // count
            index = torch.multinomial(weights, share, replacement=True, generator=generator)
            before = time.monotonic()
            images, labels, transform = augmenter.batch(index, generator)
            if step < timed:
                if place.type == "cuda":
                    torch.cuda.synchronize(place)
                pipeline += time.monotonic() - before
            mixed = None
            if options.mixup:
                mixed = Mixed.drawn(options.mixup, share, generator)
                images = mixed.of(images)
            with shortened(place):
                result = model(_signed(images.to(place)))
            logits, confidence = result.logits.float(), result.confidence.float()
            wanted = None
            if boxes is not None:
                wanted = boxes.targets(index, transform, config.row_groups, read)
                labels = wanted.labels
            soft = None
            if options.label_smoothing or taught is not None:
                soft = soft_labels(
                    labels,
                    config.class_count,
                    smoothing=options.label_smoothing,
                    taught=None if taught is None else taught[index],
                    follow=labels == of_pictures[index],
                )

            asked = _Asked(labels, soft, wanted)
            loss = _loss(logits, confidence, asked.on(place), options)
            if mixed is not None:
                others = _loss(logits, confidence, asked.on(place, mixed.other), options)
                loss = mixed.loss(loss, others)
            optimiser.zero_grad()
            loss.total.backward()
            average([p.grad for p in model.parameters() if p.grad is not None])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            if mean is not None:
                mean.add(model)
            heavier = labels if mixed is None or mixed.share >= 0.5 else labels[mixed.other]
            right = (logits[:, -1].argmax(dim=1) == heavier.to(place)).float().mean()
            values = (loss.total, loss.classification, loss.confidence, right)
            sums += torch.stack([value.detach().float() for value in values])
            # Whoever looks at it waits for the GPU, which could have begun with the next step.
            look = place.type == "cpu" or step % _LOOKED_AT == 0 or step == steps - 1
            if look and not bool(torch.isfinite(sums[0])):
                raise ValueError(f"the loss is not finite in epoch {epoch}: learning_rate too high")
            if progress is not None:
                progress(at + 1, options.epochs * steps)
        sums = sums.cpu() / steps
        seconds = time.monotonic() - begun
        average([sums])
        for network in {id(model): model, id(shown): shown}.values():
            average([b for b in network.buffers() if b.is_floating_point()])
        table = {}
        if rank == 0 and len(validation):
            samples = [data.samples[i] for i in validation.tolist()]
            table = by_origin(samples, answers(shown, data.exact[validation]))
        result = Epoch(
            epoch=epoch,
            loss=float(sums[0]),
            classification=float(sums[1]),
            confidence=float(sums[2]),
            accuracy=float(sums[3]),
            rate=rate,
            seconds=time.monotonic() - begun,
            validation=table,
            images_per_second=round(steps * options.batch / seconds, 1),
            augmented_per_second=round(timed * options.batch / max(pipeline, 1e-9), 1),
        )
        states = gathered((generator.get_state(), *_dropout_states(place)))
        if rank == 0:
            add_row(log, result)
            save_checkpoint(
                folder / "last.pt",
                shown,
                network=on_cpu(model.state_dict()),
                steps=0 if mean is None else mean.steps,
                optimizer=on_cpu(optimiser.state_dict()),
                epoch=epoch,
                digest=config.network_digest,
                options=kept,
                **data.digests,
                random=[tuple(state) for state in states],
            )
        yield result
        if epoch == stop_after:
            return
    if rank == 0:
        save_checkpoint(folder / "final.pt", shown)


def epochs_within(
    seconds: float,
    config: ModelConfig,
    data: Data,
    options: TrainConfig,
    folder: Path,
    **more: Any,
) -> tuple[int, float]:
    """(epochs that take so long, images a second), by two short epochs that are thrown away.

    Parameters
    ----------
    seconds : float
        From here on, the trial included.
    folder : path
        Works in its ``trial``, which is removed.
    more
        As in `fit`.
    """
    begun = time.monotonic()
    usable = (~data.held_out).nonzero().flatten()
    weights = make_weights(data.samples, ~data.held_out, more.get("cells"), config.class_count)
    labels = torch.tensor([sample.label for sample in data.samples])
    one_each = [
        int(((labels == label) & (weights > 0)).nonzero()[0]) for label in range(config.class_count)
    ]
    spread = torch.linspace(0, len(usable) - 1, min(len(usable), _TRIED * options.batch)).long()
    few = torch.cat([usable[spread], torch.tensor(one_each)]).unique()
    chosen = torch.cat([few, data.held_out.nonzero().flatten()])
    part = Data(
        [data.samples[index] for index in chosen.tolist()],
        data.larger[chosen],
        data.exact[chosen],
        data.held_out[chosen],
    )
    if more.get("taught") is not None:
        more = {**more, "taught": more["taught"][chosen]}
    trial = folder / "trial"
    *_, row = fit(config, part, replace(options, epochs=2), trial, **more)
    shutil.rmtree(trial, ignore_errors=True)
    speed = row.images_per_second

    def drawn(pictures: int) -> int:  # in an epoch
        return max(1, pictures // options.batch) * options.batch

    beside = row.seconds - drawn(len(few)) / speed  # validation
    whole = drawn(len(usable)) / speed + max(0.0, beside)
    return max(1, int((seconds - (time.monotonic() - begun)) / whole)), speed


def draw_curves(log: Path, path: Path, title: str) -> None:
    """Loss, its confidence term and accuracy over the epochs of a ``log.jsonl``, as one picture.

    Of the origins only those are drawn that have enough pictures of several labels to say something
    (`_DRAWN_FROM`); all are in the log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from golden.visualise import literal

    ink = "#1d2433"
    shades = ("#2a6f97", "#3fa7a0", "#c98a1b", "#8257a5", "#5b8c3a", "#d1495b")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(13.2, 4.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    loss, term, accuracy = figure.subplots(1, 3)
    few = {"marker": "o", "ms": 4} if len(rows) < 3 else {}  # a line of one point is none
    loss.plot(epochs, [row["loss"] for row in rows], color=ink, label="all", **few)
    values = [row["classification"] for row in rows]
    loss.plot(epochs, values, color=shades[0], label="classification", **few)
    term.plot(epochs, [row["confidence"] for row in rows], color=ink, **few)
    tested = [row for row in rows if row["validation"]]
    shares = tested[-1]["validation"] if tested else {}
    large = [
        name
        for name, found in sorted(shares.items(), key=lambda item: -item[1]["images"])
        if name == "all"
        or (found["images"] >= _DRAWN_FROM and sum(key.startswith("label") for key in found) > 1)
    ]
    for number, name in enumerate(large[: len(shades) + 1]):
        points = [row["validation"][name]["balanced"] for row in tested]
        look = (
            {"color": ink, "lw": 2.4} if name == "all" else {"color": shades[number - 1], "lw": 1}
        )
        at = [row["epoch"] for row in tested]
        label = literal(f"validation, {name or 'no origin'}")
        accuracy.plot(at, points, label=label, **look, **few)
    values = [row["accuracy"] for row in rows]
    accuracy.plot(
        epochs, values, color="#9aa3b2", ls=(0, (4, 2)), label="training, augmented", **few
    )
    for axes, head in (
        (loss, "loss"),
        (term, "confidence term, sum over row groups"),
        (accuracy, "accuracy (validation: all labels count alike)"),
    ):
        axes.set_title(head, loc="left", fontsize=10.5, color=ink, pad=10)
        axes.set_xlabel("epoch", fontsize=9, color=ink)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True, color="#e6e9ef", lw=0.8)
        axes.tick_params(length=0, colors=ink, labelsize=8.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
    loss.legend(frameon=False, fontsize=8.5, labelcolor=ink)
    accuracy.legend(
        frameon=False, fontsize=8.5, labelcolor=ink, loc="center left", bbox_to_anchor=(1.01, 0.5)
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=ink)
    with files.writing(path) as part:
        figure.savefig(part)


# ---- command line ----


def read_cells(path: Path | None, classes: int = 2) -> dict[str, list[float]] | None:
    """Origin to [mass of label 0, mass of label 1, ...], from a JSON file."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        return {str(origin): _masses(mass, classes) for origin, mass in found.items()}
    except OSError:
        raise ValueError(missing(path)) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        count = "two" if classes == 2 else str(classes)
        raise ValueError(f"{path}: not a table of origin to {count} masses ({error})") from error


def _masses(found: Any, classes: int) -> list[float]:
    """Of one origin; ValueError unless they are as many numbers as classes, at least 0."""
    if not isinstance(found, list) or len(found) != classes:
        raise ValueError(f"{found!r} is no list of {classes}")
    for mass in found:
        number = isinstance(mass, (int, float)) and not isinstance(mass, bool)
        if not number or not 0 <= mass < math.inf:
            raise ValueError(f"{mass!r} is no number of at least 0")
    return [float(mass) for mass in found]


def main(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    data: Annotated[str, typer.Option(help="folder with labels.csv, VOC, COCO .json, .csv")] = "",
    images: Annotated[str | None, typer.Option(help="pictures of a .json or .csv")] = None,
    epochs: Annotated[int, typer.Option(help="draws of the training part")] = 60,
    minutes: Annotated[
        float | None,
        typer.Option(help="instead of --epochs: as many as end in that time, pictures included"),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="last.pt of a run to go on with")] = None,
    start: Annotated[
        Path | None,  # torchrun takes --start for one of its own
        typer.Option("--begin-with", help="checkpoint, or integer weights"),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="folder")] = None,
    batch: Annotated[int, typer.Option(help="pictures of a step, all processes together")] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="after the warm-up; then half a cosine to 0")
    ] = 3e-3,
    confidence: Annotated[
        str, typer.Option(help="proposed, trivial, none, or boxes (a label for every row group)")
    ] = "proposed",
    alpha: Annotated[float, typer.Option(help="weight of the confidence term")] = ALPHA,
    mean: Annotated[
        float, typer.Option("--average", help="0 for none: running mean of the network")
    ] = 0.999,
    augmentation: Annotated[float, typer.Option(help="0..1, of crops and colours")] = 1.0,
    dropout: Annotated[float, typer.Option(help="share of features left out in training")] = 0.05,
    mixup: Annotated[
        float, typer.Option(help="0 for none; pictures mixed in pairs, by Beta(mixup, mixup)")
    ] = 0.0,
    label_smoothing: Annotated[
        float, typer.Option(help="0 to below 1, part of a label spread over all classes")
    ] = 0.0,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="float checkpoint whose answers are learned, too; of several the mean"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH instead of the preset's, to learn faster")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    held: Annotated[float, typer.Option("--held-out", help="validation part")] = 0.1,
    held_of: Annotated[
        list[str] | None, typer.Option("--held-out-of", help="ORIGIN=part, any number")
    ] = None,
    cells: Annotated[Path | None, typer.Option(help="JSON: origin to two masses")] = None,
    quantised_epochs: Annotated[int, typer.Option(help="quantisation-aware, afterwards")] = 0,
    integers: Annotated[
        bool, typer.Option("--integers", help="quantise at the end, without training for it")
    ] = False,
    seed: Annotated[int, typer.Option(help="of first weights, draws and augmentation")] = 0,
    rule: Annotated[str, typer.Option(help="of COCO's labels: box or area")] = "box",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out pictures that cannot be read")
    ] = False,
) -> None:
    """Trains a network."""
    begun = time.monotonic()
    with bad_input(), ExitStack() as own:
        config = resized(preset(preset_name), size)
        choose_device(device)
        if not data:
            raise ValueError(
                "expected --data (a folder with labels.csv or VOC, a COCO .json, a .csv), not "
                "nothing"
            )
        options = TrainConfig(
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            confidence=confidence,
            alpha=alpha,
            dropout=dropout,
            held_out=held,
            average=mean,
            augmentation=augmentation,
            mixup=mixup,
            label_smoothing=label_smoothing,
            teacher="+".join(map(digest_of, teacher or [])),
            seed=seed,
        )
        teachers = [load_teacher(path, config) for path in teacher or []]
        taught = None
        folder = Path("build/train") / config.name if output is None else output
        masses = read_cells(cells, config.class_count)
        if confidence == "boxes":
            check_persons(config.classes, "--confidence boxes")
        shares = read_shares(held_of or [], held)
        if quantised_epochs < 0:
            raise ValueError(f"quantised_epochs must be at least 0, not {quantised_epochs}")
        if start is not None and resume is not None:
            raise ValueError("give --begin-with or --resume, not both")
        if minutes is not None and not minutes > 0:
            raise ValueError(f"minutes must be positive, not {minutes}")
        if minutes is not None and resume is not None:
            raise ValueError(
                f"expected --epochs of the run that is gone on with, not --minutes with --resume "
                f"{resume}"
            )
        if minutes is not None and "RANK" in os.environ:
            raise ValueError("expected --minutes in one process, not under torchrun")
        begin, whole = None, None
        if start is not None and holds_integers(start):
            whole = Weights.load(start, config)
        elif start is not None:
            begin = FloatModel(config, options.dropout)
            begin.load_state_dict(load_checkpoint(start, config).state_dict())
        later = resume is not None and _is_quantised(resume)
        if resume is not None and not later:  # before the pictures are read
            read_resumable(resume, config, {**asdict(options), "cells": kept_cells(masses)})
        if later and not quantised_epochs:
            raise ValueError(f"{resume}: of quantisation-aware training; give --quantised-epochs")
        join_processes()
        rank, count = processes()
        if quantised_epochs and QUANTISED_BATCH % count:  # before the float training, not after it
            raise ValueError(
                f"--quantised-epochs: pictures of a step must be a multiple of {count} processes, "
                f"not {QUANTISED_BATCH}"
            )
        if not rank:
            own.enter_context(files.claimed(folder))
        if rank and dist.is_initialized():
            dist.barrier()  # the first process fills the cache
        with progress_bar("pictures") as bar:
            task = bar.add_task("reading", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            samples = load_any(
                data,
                images,
                rule=rule,
                classes=config.classes,
                skip_bad=skip_bad,
                progress=tell,
            )
            if not rank:
                tell_unknown(shares, samples)
            if confidence == "boxes" and all(sample.persons is None for sample in samples):
                raise ValueError(f"{data}: no person boxes, which --confidence boxes needs")
            read = Data.read(samples, config, shares, progress=tell)
            if teachers and not later:
                bar.update(task, description="teachers' answers")
                taught = teach(teachers, samples, choose_device(device), CACHE, tell)
        if not rank:
            _note_data(folder, data, rule, read)
        if not rank and dist.is_initialized():
            dist.barrier()
        if whole is not None:
            usable = (~read.held_out).nonzero().flatten()
            some = usable[:: max(1, len(usable) // _MEASURED_ON)]
            begin = float_from_integers(config, whole, read.exact[some], options.dropout)
        common = {"cells": masses, "resume": resume}
        if not later:
            title = f"{config.name}, float"
            with progress_bar("steps") as bar:
                more = {"device": device, "taught": taught, "cells": masses}
                if minutes is not None:
                    left = 60 * minutes - _AT_THE_END - (time.monotonic() - begun)
                    epochs, speed = epochs_within(left, config, read, options, folder, **more)
                    options = replace(options, epochs=epochs)
                    note(f"{speed:.0f} images/s: EPOCHS={epochs} for {minutes:g} minutes")
                more |= {"start": begin, "progress": _steps(bar), **common}
                rounds = fit(config, read, options, folder, **more)
                _follow(rounds, epochs, folder / "log.jsonl", folder / "curves.png", title)
            if rank == 0:
                typer.echo(f"{folder / 'final.pt'}: {config.name} after {epochs} epochs")
                if integers and not quantised_epochs:
                    _quantise(config, read, folder)
            common["resume"] = None
        if quantised_epochs:
            if dist.is_initialized():
                dist.barrier()  # final.pt is there
            names = ("quantised_log.jsonl", "quantised_curves.png")
            more = {"confidence": confidence, "alpha": alpha, "seed": seed}
            with progress_bar("steps") as bar:
                rounds = finish(
                    config, read, folder, quantised_epochs, progress=_steps(bar), **more, **common
                )
                title = f"{config.name}, quantised"
                _follow(rounds, quantised_epochs, *(folder / name for name in names), title)
            if rank == 0:
                typer.echo(f"{folder / 'weights.safetensors'}: {config.name}, integers")
    leave_processes()


def _note_data(folder: Path, data: str, rule: str, read: Data) -> None:
    """data.json: what the figures of this training are of."""
    held = int(read.held_out.sum())
    found = {
        "data": Path(data).name,
        "rule": rule_of(data, rule),
        "training": len(read.samples) - held,
        "validation": held,
    }
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "data.json", json.dumps(found, indent=1) + "\n")


def _quantise(config: ModelConfig, data: Data, folder: Path) -> None:
    """``weights.safetensors`` of ``final.pt``, calibrated on some of the training part."""
    usable = (~data.held_out).nonzero().flatten()
    chosen = usable[torch.linspace(0, len(usable) - 1, min(_MEASURED_ON, len(usable))).long()]
    model = load_checkpoint(folder / "final.pt", config)
    weights = quantise(model, data.exact[chosen], percentile=USUAL_PERCENTILE)
    path = folder / "weights.safetensors"
    weights.save(path)
    typer.echo(f"{path}: {config.name}, integers, calibrated on {len(chosen)} pictures")


def _is_quantised(path: Path) -> bool:
    """Whether a checkpoint is one of `golden.quantised_training.finish`."""
    try:
        check_packed(path)
        return "ranges" in torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with it is told by `read_resumable`
        return False


def _steps(bar: Progress) -> Callable[[int, int], None]:
    task = bar.add_task("training", total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _follow(rounds: Iterator[Epoch], epochs: int, log: Path, curves: Path, title: str) -> None:
    """Run the epochs; a line and a fresh picture after each one."""
    for result in rounds:
        if processes()[0] == 0:
            right = result.validation.get("all", {}).get("balanced", float("nan"))
            speed = ""
            if result.images_per_second:
                speed = f", {result.images_per_second:.0f} images/s"
            if result.augmented_per_second:
                speed += f" (picture pipeline alone: {result.augmented_per_second:.0f})"
            note(
                f"epoch {result.epoch} of {epochs}: loss {result.loss:.4f}, accuracy "
                f"{result.accuracy:.3f}, validation {right:.3f} (labels balanced), "
                f"{result.seconds:.0f} s{speed}"
            )
            draw_curves(log, curves, title)
