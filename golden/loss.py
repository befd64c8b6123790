"""The training loss: cross-entropy of the image and the confidence term (Eq. 15-16)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CONFIDENCE_LABELS = ("proposed", "trivial", "none", "boxes")
ALPHA = 0.05  # weight of the confidence term, a sum over row groups; the paper does not print it


class Loss(NamedTuple):
    """Scalars of one batch.

    Attributes
    ----------
    total : tensor
        ``classification + alpha * confidence``.
    classification, confidence : tensor
        Cross-entropy at the last row group; the sum over t (and classes) of the mean
        square error (0 for none).
    """

    total: Tensor
    classification: Tensor
    confidence: Tensor


def check_confidence_labels(kind: str) -> None:
    """ValueError unless `kind` is proposed, trivial, none or boxes."""
    if kind not in CONFIDENCE_LABELS:
        known = ", ".join(CONFIDENCE_LABELS)
        raise ValueError(f"confidence labels must be one of {known}, not {kind!r}")


def pseudo_labels(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """y_t of every row group for every class but the first, [B, T, K-1], without gradient.

    Parameters
    ----------
    logits : tensor [B, T, K]
    labels : int64 tensor [B]
        0..K-1; class 0 is "nothing" and has no label of its own.
    kind : {'proposed', 'trivial'}
        proposed (Eq. 16): for the picture's own class the classifier's own probability of it at
        H_t, 0 for all others. trivial: 1 for the picture's class at every t.
    """
    classes = torch.arange(1, logits.shape[-1], device=labels.device)
    own = (labels[:, None] == classes).to(logits.dtype)[:, None].expand_as(logits[..., 1:])
    if kind == "trivial":
        return own
    return torch.softmax(logits.detach(), dim=-1)[..., 1:] * own


TEACHER_SHARE = 0.5  # of what a picture is to be, where a teacher has said something


def soft_labels(
    labels: Tensor,
    classes: int,
    *,
    smoothing: float = 0.0,
    taught: Tensor | None = None,
    follow: Tensor | None = None,
) -> Tensor:
    """What a picture is to be, as probabilities [B, K].

    Parameters
    ----------
    labels : int64 tensor [B]
    classes : int
        K.
    smoothing : float
        0 to below 1, spread evenly over all classes (label smoothing; Szegedy et al., 2016).
    taught : tensor [B, K] or None
        Probabilities that a teacher gives the whole picture; they make up `TEACHER_SHARE`
        (distillation; Hinton et al., 2015).
    follow : bool tensor [B] or None
        Where the teacher is followed: not in a view whose label is another than the picture's.
    """
    wanted = functional.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes
    if taught is None:
        return wanted
    share = torch.full((len(labels), 1), TEACHER_SHARE, device=labels.device)
    if follow is not None:
        share = share * follow[:, None]
    return torch.lerp(wanted, taught.to(wanted.dtype), share)


def rascanet_loss(
    logits: Tensor,
    confidence: Tensor,
    labels: Tensor,
    *,
    kind: str = "proposed",
    alpha: float = ALPHA,
    soft: Tensor | None = None,
) -> Loss:
    """The loss of a batch (Eq. 15).

    Parameters
    ----------
    logits : tensor [B, T, K]
        Of the classifier on every state.
    confidence : tensor [B, T, K-1]
        Of the confidence head, 0..1, for every class but the first.
    labels : int64 tensor [B]
    kind : {'proposed', 'trivial', 'none', 'boxes'}
        Where the confidence's labels come from; none leaves the term out, boxes is proposed here
        (`golden.boxes` has the loss with boxes).
    alpha : float
        >= 0.
    soft : tensor [B, K] or None
        Probabilities (`soft_labels`) that the cross-entropy is with, instead of the labels.

    Raises
    ------
    ValueError
        Another kind, or a negative alpha.
    """
    check_confidence_labels(kind)
    if not alpha >= 0:
        raise ValueError(f"alpha must be at least 0, not {alpha}")
    classification = functional.cross_entropy(logits[:, -1], labels if soft is None else soft)
    if kind == "none":
        return Loss(classification, classification, torch.zeros_like(classification))
    wanted = pseudo_labels(logits, labels, kind)
    term = (confidence - wanted).square().mean(dim=0).sum()
    return Loss(classification + alpha * term, classification, term)
