"""The loss against its equations written out."""

import pytest
import torch

from golden.loss import pseudo_labels, rascanet_loss


@pytest.fixture(params=[2, 3])
def batch(request):
    generator = torch.Generator().manual_seed(3)
    classes = request.param
    logits = torch.randn((4, 5, classes), generator=generator, requires_grad=True)
    confidence = torch.rand((4, 5, classes - 1), generator=generator, requires_grad=True)
    return logits, confidence, torch.tensor([0, 1, classes - 1, 0])


def by_hand(logits, confidence, labels, kind):
    """Eq. 15-16, image by image and row group by row group."""
    image = term = 0.0
    for b, label in enumerate(labels.tolist()):
        image -= torch.log_softmax(logits[b, -1], dim=0)[label].item() / len(labels)
        for t in range(logits.shape[1]):
            odds = [torch.exp(other).item() for other in logits[b, t]]
            for own in range(1, len(odds)):
                wanted = float(own == label)
                if kind == "proposed":
                    wanted *= odds[own] / sum(odds)
                term += (confidence[b, t, own - 1].item() - wanted) ** 2 / len(labels)
    return image, term


@pytest.mark.parametrize("kind", ["proposed", "trivial"])
def test_loss_is_the_papers(batch, kind):
    loss = rascanet_loss(*batch, kind=kind, alpha=0.3)
    image, term = by_hand(*batch, kind)
    assert loss.classification.item() == pytest.approx(image, rel=1e-5)
    assert loss.confidence.item() == pytest.approx(term, rel=1e-5)
    assert loss.total.item() == pytest.approx(image + 0.3 * term, rel=1e-5)


def test_none_leaves_the_confidence_head_alone(batch):
    logits, confidence, labels = batch
    loss = rascanet_loss(logits, confidence, labels, kind="none")
    loss.total.backward()
    assert loss.confidence == 0 and confidence.grad is None
    assert loss.total == loss.classification


@pytest.mark.parametrize("kind", ["proposed", "trivial"])
def test_pseudo_labels_pass_no_gradient(batch, kind):
    logits, confidence, labels = batch
    assert not pseudo_labels(logits, labels, kind).requires_grad
    rascanet_loss(logits, confidence, labels, kind=kind).total.backward()
    assert (logits.grad[:, :-1] == 0).all() and (logits.grad[:, -1] != 0).any()


def test_negative_images_want_no_confidence(batch):
    logits, _, labels = batch
    for kind in ("proposed", "trivial"):
        found = pseudo_labels(logits, labels, kind)
        assert found.shape == (4, 5, logits.shape[-1] - 1)
        assert (found[labels == 0] == 0).all()
        assert (found[1, :, 1:] == 0).all() and (found[1, :, 0] > 0).all()  # its own class only


def test_errors(batch):
    rule = "confidence labels must be one of proposed, trivial, none, boxes, not 'other'"
    with pytest.raises(ValueError, match=rule):
        rascanet_loss(*batch, kind="other")
    with pytest.raises(ValueError, match="alpha must be at least 0, not -1"):
        rascanet_loss(*batch, alpha=-1)
