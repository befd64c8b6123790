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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import typer
from rich.progress import Progress
from torch import Tensor

from golden import files
from golden.boxes import Boxes, Targets, boxes_loss
from golden.classifier import decide
from golden.command_line import bad_input, note, progress_bar
from golden.config import ModelConfig, preset
from golden.data import (
    Augmenter,
    load_any,
    read_shares,
    rule_of,
)
from golden.data import sampling_weights as make_weights
from golden.errors import missing
from golden.float_from_integers import float_from_integers
from golden.float_model import FloatModel, load_checkpoint
from golden.loss import ALPHA, check_confidence_labels, rascanet_loss
from golden.quantise import quantise
from golden.quantised_training import finish
from golden.training_run import (
    Data,
    Epoch,
    average,
    by_origin,
    gathered,
    join_processes,
    leave_processes,
    processes,
    read_resumable,
    save_checkpoint,
)
from golden.weights import Weights, holds_integers

_EVALUATED_AT_ONCE = 64
_MEASURED_ON = 200  # training pictures that show how maps are spread
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
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch", 2)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.warmup <= 0.5:
            raise ValueError(f"warmup must be 0..0.5, not {self.warmup}")
        for name in ("weight_decay", "alpha"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.augmentation <= 1:
            raise ValueError(f"augmentation must be 0..1, not {self.augmentation}")
        for name in ("dropout", "held_out", "average"):
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


def resized(config: ModelConfig, size: str | None) -> ModelConfig:
    """The same network for pictures of ``HEIGHTxWIDTH``; ValueError if that is no size."""
    if size is None:
        return config
    try:
        height, width = map(int, size.split("x"))
    except ValueError:
        raise ValueError(f"size must be HEIGHTxWIDTH, not {size!r}") from None
    name = f"{config.name}_at_{size}"
    return replace(config, name=name, image_height=height, image_width=width)


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


def choose_device(name: str) -> torch.device:
    """auto: the GPU if there is one, else the CPU; ValueError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r}: {str(error).splitlines()[0]}") from None
    return device


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

    Raises
    ------
    ValueError
        Fewer than one picture of each label, a checkpoint of another run, or a loss that is not
        finite.
    """
    rank, count = processes()
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
    first = 1
    if resume is not None:
        validation = data.validation_digest
        found = read_resumable(resume, config, asdict(options), validation=validation)
        model.load_state_dict(found.get("network", found["state_dict"]))
        optimiser.load_state_dict(found["optimizer"])
        first = found["epoch"] + 1
        own, dropout = found["random"][rank] if rank < len(found["random"]) else (None, None)
        if own is not None:
            generator.set_state(own)
            torch.set_rng_state(dropout)
    mean = Average(model, options.average) if options.average else None
    if mean is not None and resume is not None:
        mean.model.load_state_dict(found["state_dict"])
        mean.steps = found.get("steps", 0)
    kept = model if mean is None else mean.model
    weights = make_weights(data.samples, ~data.held_out, cells, config.class_count)
    there = data.on(place)
    augmenter = Augmenter(data.samples, there.larger, there.exact, options.augmentation)
    boxes = Boxes(data.samples) if options.confidence == "boxes" else None
    validation = data.held_out.nonzero().flatten()
    steps = max(1, int((~data.held_out).sum()) // options.batch)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    if rank == 0 and resume is None:
        log.write_text("")
    model.train()
    for epoch in range(first, options.epochs + 1):
        begun, sums, pipeline = time.monotonic(), torch.zeros(4), 0.0
        timed = min(steps, _TIMED)
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
            with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
                result = model(_signed(images.to(place)))
            logits, confidence = result.logits.float(), result.confidence.float()
            if boxes is None:
                labels = labels.to(place)
                loss = rascanet_loss(
                    logits, confidence, labels, kind=options.confidence, alpha=options.alpha
                )
            else:
                wanted = boxes.targets(index, transform, config.row_groups)
                wanted = Targets(*(part.to(place) for part in wanted))
                labels = wanted.labels
                loss = boxes_loss(logits, confidence, wanted, options.alpha)
            if not bool(torch.isfinite(loss.total)):
                raise ValueError(f"the loss is not finite in epoch {epoch}: learning_rate too high")
            optimiser.zero_grad()
            loss.total.backward()
            average([p.grad for p in model.parameters() if p.grad is not None])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            if mean is not None:
                mean.add(model)
            right = (logits[:, -1].argmax(dim=1) == labels).float().mean()
            values = (loss.total, loss.classification, loss.confidence, right)
            sums += torch.stack([value.detach().float() for value in values]).cpu()
            if progress is not None:
                progress(at + 1, options.epochs * steps)
        sums /= steps
        seconds = time.monotonic() - begun
        average([sums])
        for network in {id(model): model, id(kept): kept}.values():
            average([b for b in network.buffers() if b.is_floating_point()])
        table = {}
        if rank == 0 and len(validation):
            samples = [data.samples[i] for i in validation.tolist()]
            table = by_origin(samples, answers(kept, data.exact[validation]))
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
        states = gathered((generator.get_state(), torch.get_rng_state()))
        if rank == 0:
            with log.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            save_checkpoint(
                folder / "last.pt",
                kept,
                network=model.state_dict(),
                steps=0 if mean is None else mean.steps,
                optimizer=optimiser.state_dict(),
                epoch=epoch,
                digest=config.digest,
                options=asdict(options),
                validation=data.validation_digest,
                random=[tuple(state) for state in states],
            )
        yield result
        if epoch == stop_after:
            return
    if rank == 0:
        save_checkpoint(folder / "final.pt", kept)


def draw_curves(log: Path, path: Path, title: str) -> None:
    """Loss, its confidence term and accuracy over the epochs of a ``log.jsonl``, as one picture.

    Of the origins only those are drawn that have enough pictures of several labels to say something
    (`_DRAWN_FROM`); all are in the log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
        accuracy.plot(at, points, label=f"validation, {name or 'no origin'}", **look, **few)
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
        found = json.loads(path.read_text())
        return {str(o): [float(mass[i]) for i in range(classes)] for o, mass in found.items()}
    except OSError:
        raise ValueError(missing(path)) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        count = "two" if classes == 2 else str(classes)
        raise ValueError(f"{path}: not a table of origin to {count} masses ({error})") from error


def main(
    preset_name: Annotated[str, typer.Option("--preset")] = "vww_105x120",
    data: Annotated[str, typer.Option(help="folder with labels.csv, VOC, COCO .json, .csv")] = "",
    images: Annotated[str | None, typer.Option(help="pictures of a .json or .csv")] = None,
    epochs: Annotated[int, typer.Option()] = 60,
    resume: Annotated[Path | None, typer.Option(help="last.pt of a run to go on with")] = None,
    start: Annotated[
        Path | None,  # torchrun takes --start for one of its own
        typer.Option("--begin-with", help="checkpoint, or integer weights"),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="folder")] = None,
    batch: Annotated[int, typer.Option()] = 64,
    learning_rate: Annotated[float, typer.Option()] = 3e-3,
    confidence: Annotated[
        str, typer.Option(help="proposed, trivial, none, or boxes (a label for every row group)")
    ] = "proposed",
    alpha: Annotated[float, typer.Option()] = ALPHA,
    mean: Annotated[
        float, typer.Option("--average", help="0 for none: running mean of the network")
    ] = 0.999,
    augmentation: Annotated[float, typer.Option(help="0..1, of crops and colours")] = 1.0,
    dropout: Annotated[float, typer.Option()] = 0.05,
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
    seed: Annotated[int, typer.Option()] = 0,
    rule: Annotated[str, typer.Option(help="of COCO's labels: box or area")] = "box",
    skip_bad: Annotated[bool, typer.Option("--skip-bad")] = False,
) -> None:
    """Trains a network."""
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
            seed=seed,
        )
        folder = Path("build/train") / config.name if output is None else output
        masses = read_cells(cells, config.class_count)
        if confidence == "boxes" and config.class_count != 2:
            raise ValueError(
                f"--confidence boxes is for two classes (persons or none), not {config.class_count}"
            )
        shares = read_shares(held_of or [], held)
        if quantised_epochs < 0:
            raise ValueError(f"quantised_epochs must be at least 0, not {quantised_epochs}")
        if start is not None and resume is not None:
            raise ValueError("give --begin-with or --resume, not both")
        begin, whole = None, None
        if start is not None and holds_integers(start):
            whole = Weights.load(start, config)
        elif start is not None:
            begin = FloatModel(config, options.dropout)
            begin.load_state_dict(load_checkpoint(start, config).state_dict())
        later = resume is not None and _is_quantised(resume)
        if resume is not None and not later:  # before the pictures are read
            read_resumable(resume, config, asdict(options))
        if later and not quantised_epochs:
            raise ValueError(f"{resume}: of quantisation-aware training; give --quantised-epochs")
        join_processes()
        rank, _ = processes()
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
            if confidence == "boxes" and all(sample.persons is None for sample in samples):
                raise ValueError(f"{data}: no person boxes, which --confidence boxes needs")
            read = Data.read(samples, config, shares, progress=tell)
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
                more = {"start": begin, "device": device, "progress": _steps(bar), **common}
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
    (folder / "data.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _quantise(config: ModelConfig, data: Data, folder: Path) -> None:
    """``weights.safetensors`` of ``final.pt``, calibrated on some of the training part."""
    usable = (~data.held_out).nonzero().flatten()
    chosen = usable[torch.linspace(0, len(usable) - 1, min(_MEASURED_ON, len(usable))).long()]
    weights = quantise(load_checkpoint(folder / "final.pt", config), data.exact[chosen])
    path = folder / "weights.safetensors"
    path.unlink(missing_ok=True)
    weights.save(path)
    typer.echo(f"{path}: {config.name}, integers, calibrated on {len(chosen)} pictures")


def _is_quantised(path: Path) -> bool:
    """Whether a checkpoint is one of `golden.quantised_training.finish`."""
    try:
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
                speed = (
                    f", {result.images_per_second:.0f} images/s "
                    f"(picture pipeline alone: {result.augmented_per_second:.0f})"
                )
            note(
                f"epoch {result.epoch} of {epochs}: loss {result.loss:.4f}, accuracy "
                f"{result.accuracy:.3f}, validation {right:.3f} (labels balanced), "
                f"{result.seconds:.0f} s{speed}"
            )
            draw_curves(log, curves, title)
