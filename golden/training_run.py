"""What the training of the float and of the integer network share.

Processes, checkpoints, the pictures of a run, and the row of its log.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from golden import files
from golden.checkpoint import check_packed
from golden.config import ModelConfig
from golden.config_file import shown
from golden.data import LARGER, Sample, held_out, read_pictures
from golden.errors import missing
from golden.float_model import FloatModel

CACHE = Path("build/train/cache")
_WITHOUT = {"mixup": 0.0, "label_smoothing": 0.0, "teacher": "", "arithmetic": 1}
"""Options that older checkpoints do not name, and what these were written with."""
_UNTOLD = ("cells",)
"""Options that older checkpoints do not name, whatever they were."""
_OTHERS = {
    "validation": "another validation part than in that run; see --held-out-of",
    "labels": "other pictures or labels than in that run; see --data and --rule",
}
"""What is wrong with pictures by one of `Data.digests`."""

# ---- processes ----


def processes() -> tuple[int, int]:
    """(rank, count) of this process; (0, 1) without torchrun."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def join_processes() -> None:
    """Join the others if torchrun started this process."""
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")


def leave_processes() -> None:
    """Leave together: a process that goes while another still talks to it may be aborted."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def gathered(value: Any) -> list[Any]:
    """`value` of every process, in order."""
    _, count = processes()
    if count == 1:
        return [value]
    found = [None] * count
    dist.all_gather_object(found, value)
    return found


def average(tensors: list[Tensor]) -> None:
    """The mean over all processes, in place, in one message."""
    _, count = processes()
    if count == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= count
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


# ---- checkpoints ----


def on_cpu(value: Any) -> Any:
    """A state of a network or an optimiser with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_cpu(part) for key, part in value.items()}
    return [on_cpu(part) for part in value] if isinstance(value, list) else value


def save_checkpoint(path: Path, model: FloatModel, **more: Any) -> None:
    """Write the released layout (``state_dict``) and `more`, whole or not at all."""
    content = io.BytesIO()  # torch's own writing ends in a traceback on a full disk
    torch.save({"state_dict": on_cpu(dict(model.state_dict())), **more}, content)
    files.write(path, content.getvalue())


def kept_cells(cells: Mapping[str, Sequence[float]] | None) -> dict[str, list[float]] | None:
    """The masses of `golden.data.sampling_weights` as a checkpoint keeps them."""
    return cells and {origin: [float(part) for part in mass] for origin, mass in cells.items()}


def read_resumable(
    path: Path,
    config: ModelConfig,
    options: Mapping[str, Any],
    *,
    more: Set[str] = frozenset(),
    data: Data | None = None,
) -> dict[str, Any]:
    """A checkpoint of an unfinished run of the same network and options.

    Parameters
    ----------
    more : set of str
        Entries that it must hold beside those of every run.
    data : Data or None
        The pictures, where they are known: what a run left out of training must not come into it
        later, nor other labels.

    Raises
    ------
    ValueError
        One line with the path: no such file, another kind of file, another network, option,
        validation part, or other labels.
    """
    if not path.is_file():
        raise ValueError(missing(path))
    check_packed(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        raise ValueError(f"{path}: not a PyTorch checkpoint ({type(error).__name__})") from error
    wanted = {"state_dict", "optimizer", "epoch", "digest", "options", "random", *more}
    if not isinstance(found, dict) or not wanted <= set(found):
        raise ValueError(
            f"{path}: no checkpoint to resume from (expected last.pt of a training run, not "
            "another file)"
        )
    if found["digest"] != config.network_digest:
        raise ValueError(f"{path}: made for another network than {config.name}")
    for key, value in options.items():
        if key in _UNTOLD and key not in found["options"]:
            continue
        old = found["options"].get(key, _WITHOUT.get(key))
        if old != value:
            if isinstance(old or value, Mapping):  # may be long
                old, value = shown(old), shown(value)
            raise ValueError(f"{path}: {key} was {old} in that run, not {value}")
    for key, digest in {} if data is None else data.digests.items():
        if found.get(key, digest) != digest:  # older checkpoints do not have all of them
            raise ValueError(f"{path}: {_OTHERS[key]}")
    return found


# ---- pictures and figures ----


def by_origin(samples: list[Sample], decisions: Tensor) -> dict[str, dict[str, float]]:
    """Accuracy of each origin and of ``all``: share right, of each label, their mean, counts."""
    table = {}
    for origin in [*sorted({sample.origin for sample in samples}), None]:
        rights: dict[int, list[bool]] = {}
        for sample, decision in zip(samples, decisions.tolist(), strict=True):
            if origin is None or sample.origin == origin:
                rights.setdefault(sample.label, []).append(decision == sample.label)
        row: dict[str, float] = {"images": sum(map(len, rights.values()))}
        row["accuracy"] = sum(map(sum, rights.values())) / row["images"]
        for label, found in sorted(rights.items()):
            row[f"label{label}"] = sum(found) / len(found)
        shares = [share for key, share in row.items() if key.startswith("label")]
        row["balanced"] = sum(shares) / len(shares)
        table["all" if origin is None else origin] = row
    return table


@dataclass(frozen=True, eq=False)
class Data:
    """Samples with their pictures of both sizes and which ones are the validation part."""

    samples: list[Sample]
    larger: Tensor
    exact: Tensor
    held_out: Tensor

    @classmethod
    def read(
        cls,
        samples: list[Sample],
        config: ModelConfig,
        share: float | Mapping[str, float],
        cache: Path | None = CACHE,
        progress: Callable[[int, int], None] | None = None,
    ) -> Data:
        """Decode once (kept in `cache`)."""
        wider = replace(
            config,
            image_height=round(config.image_height * LARGER),
            image_width=round(config.image_width * LARGER),
        )
        return cls(
            samples,
            read_pictures(samples, wider, cache, progress),
            read_pictures(samples, config, cache, progress),
            held_out(samples, share),
        )

    def on(self, device: torch.device) -> Data:
        """With its pictures on that device, if they take at most half of its free memory."""
        if device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        if self.larger.numel() + self.exact.numel() > free / 2:
            return self
        return replace(self, larger=self.larger.to(device), exact=self.exact.to(device))

    @property
    def digests(self) -> dict[str, str]:
        """What checkpoints keep of them, whatever their order and folder: of the ``validation``
        part's names, and of the ``labels``: all that is known of each picture."""
        chosen = zip(self.samples, self.held_out.tolist(), strict=True)
        lines = {
            "validation": [sample.path.name for sample, out in chosen if out],
            "labels": [repr(replace(s, path=Path(s.path.name))) for s in self.samples],
        }
        return {
            key: hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
            for key, names in lines.items()
        }


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Means over one epoch, and the validation table (empty without a validation part).

    ``images_per_second`` are those of the training itself, ``augmented_per_second`` those that the
    picture pipeline alone would make (measured on the epoch's first steps); all processes together.
    """

    epoch: int
    loss: float
    classification: float
    confidence: float
    accuracy: float
    rate: float
    seconds: float
    validation: dict[str, dict[str, float]]
    images_per_second: float = 0.0
    augmented_per_second: float = 0.0


# ---- the log ----


def begin_log(log: Path, epochs: int) -> None:
    """Leave the rows of the first `epochs` epochs: a run may have been killed after a row of which
    its checkpoint does not know, or in the midst of one."""
    rows = log.read_text().splitlines() if epochs and log.is_file() else []
    files.write(log, "".join(f"{row}\n" for row in rows if 1 <= _epoch_of(row) <= epochs))


def _epoch_of(row: str) -> int:
    try:
        return int(json.loads(row)["epoch"])
    except (ValueError, TypeError, KeyError):
        return 0


def add_row(log: Path, row: Epoch) -> None:
    """A line more, whole or not at all."""
    files.write(log, log.read_text() + json.dumps(asdict(row)) + "\n")
