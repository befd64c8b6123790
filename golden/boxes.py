"""Person boxes as supervision of every row group (Sec. 3.4), through whatever view was drawn.

Where boxes are known, each row group has a label of its own: 1 once enough of a person has been
scanned, 0 before the first person begins; in between nothing is asked. The confidence's label is
whether the row group meets a person. Pictures without boxes take no part in the row loss (a 0 in
all their row groups, but no 1, would teach where a picture comes from), and their confidence has
the proposed labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from golden.config import TWO_CLASSES
from golden.data import LEAST_FRACTION, Sample
from golden.loss import Loss, pseudo_labels

MOST = 24  # boxes of a picture that are looked at, the largest ones
SEEN_PART = 0.25  # of a person, that must have been scanned
_EDGE = 1e-4  # of the picture: a box that only touches a row group does not meet it


def check_persons(classes: Sequence[str], what: str) -> None:
    """ValueError unless a network looks for persons; `what` needs that."""
    if tuple(classes) != TWO_CLASSES:
        raise ValueError(f"{what} is for {', '.join(TWO_CLASSES)}, not for {', '.join(classes)}")


class Targets(NamedTuple):
    """Of B pictures with T row groups.

    Attributes
    ----------
    labels : int64 tensor [B]
        Of the view: the person rule (of areas, where the data set has them) where boxes are known,
        else the picture's.
    seen : int64 tensor [B, T]
        A person has been scanned: at least 0.5% of the picture and `SEEN_PART` of that person.
    weight : tensor [B, T]
        1 where `seen` is to be learned, else 0.
    meets : tensor [B, T]
        1 where the row group meets a person.
    known : bool tensor [B]
    """

    labels: Tensor
    seen: Tensor
    weight: Tensor
    meets: Tensor
    known: Tensor


class Boxes:
    """The boxes of a data set, to be looked up for a batch.

    Parameters
    ----------
    samples : sequence of Sample
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.known = torch.tensor([sample.persons is not None for sample in samples])
        self.label = torch.tensor([sample.label for sample in samples])
        self.by_area = torch.tensor([sample.fills is not None for sample in samples])
        self.boxes = torch.zeros(len(samples), MOST, 4)
        self.fills = torch.ones(len(samples), MOST)
        for index, sample in enumerate(samples):
            persons = sample.persons or ()
            fills = sample.fills or [1.0] * len(persons)
            area = [
                (box[2] - box[0]) * (box[3] - box[1]) * fill
                for box, fill in zip(persons, fills, strict=True)
            ]
            order = sorted(range(len(area)), key=area.__getitem__, reverse=True)[:MOST]
            for place, box in enumerate(order):
                self.boxes[index, place] = torch.tensor(persons[box])
                self.fills[index, place] = fills[box]

    def targets(self, index: Tensor, transform: Tensor, groups: int, read: float = 1.0) -> Targets:
        """What a batch is to learn.

        Parameters
        ----------
        index : int64 tensor [B]
        transform : tensor [B, 2, 3]
            The view (``affine_grid``'s: output to input coordinates, -1..1).
        groups : int
            T.
        read : float
            Part of the picture's height that the row groups are: T k / h.
        """
        known = self.known[index]
        boxes = self.boxes[index] * 2 - 1
        back = torch.linalg.inv(transform[:, :, :2])
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2 - transform[:, None, :, 2]
        half = (boxes[..., 2:] - boxes[..., :2]) / 2
        centre = centre @ back.transpose(1, 2)
        # The box around a turned box would be too large; that of the ellipse inside fits better.
        half = (half.square() @ back.square().transpose(1, 2)).sqrt()
        low = ((centre - half).clamp(-1, 1) + 1) / 2
        high = ((centre + half).clamp(-1, 1) + 1) / 2
        width, height = (high - low).unbind(-1)
        filled = width * self.fills[index]
        # An area must be larger, a box may be just as large.
        least = torch.where(self.by_area[index], LEAST_FRACTION + 1e-6, LEAST_FRACTION - 1e-6)
        counts = filled * height >= least[:, None]  # [B, boxes]
        top, bottom = low[..., 1:], high[..., 1:]
        edge = torch.arange(groups + 1) / groups * read
        meets = (edge[1:] > top + _EDGE) & (edge[:-1] < bottom - _EDGE) & counts[..., None]
        scanned = (torch.minimum(edge[1:], bottom) - top).clamp(min=0)  # [B, boxes, T]
        enough = scanned * filled[..., None] >= LEAST_FRACTION - 1e-6
        enough &= scanned >= SEEN_PART * height[..., None]
        seen = (enough & counts[..., None]).any(dim=1)
        meets = meets.any(dim=1)
        begun = meets.cumsum(dim=1) > 0
        person = counts.any(dim=1)
        asked = known[:, None] & (seen | ~begun)
        asked[:, -1] &= seen[:, -1] == person  # not so below all groups: the picture's label counts
        return Targets(
            labels=torch.where(known, person.long(), self.label[index]),
            seen=seen.long(),
            weight=asked.float(),
            meets=meets.float(),
            known=known,
        )


def boxes_loss(
    logits: Tensor,
    confidence: Tensor,
    wanted: Targets,
    alpha: float,
    soft: Tensor | None = None,
) -> Loss:
    """Cross-entropy of the picture, of every row group that has a label, and the confidence term.

    Parameters
    ----------
    logits, confidence : tensors [B, T, 2] and [B, T, 1]
        Of two classes: boxes are persons.
    wanted : Targets
    alpha : float
        Weight of the confidence term.
    soft : tensor [B, 2] or None
        As in `golden.loss.rascanet_loss`.
    """
    target = wanted.labels if soft is None else soft
    classification = functional.cross_entropy(logits[:, -1], target)
    rows = functional.cross_entropy(logits.flatten(0, 1), wanted.seen.flatten(), reduction="none")
    weight = wanted.weight.flatten()
    rows = (rows * weight).sum() / weight.sum().clamp(min=1)
    guess = pseudo_labels(logits, wanted.labels, "proposed")
    labels = torch.where(wanted.known[:, None, None], wanted.meets[..., None], guess)
    term = (confidence - labels).square().mean(dim=0).sum()
    return Loss(classification + rows + alpha * term, classification, term)
