"""Losses equal their closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from sweeper.vision.losses import ClassificationLoss, balanced_weights, make_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 0.0, 4.0]])
LABELS = torch.tensor([0, 1, 0])


def probabilities() -> list[float]:
    """Probability of each true class, by hand."""
    rows = zip(LOGITS.tolist(), LABELS.tolist(), strict=True)
    return [math.exp(row[y]) / sum(map(math.exp, row)) for row, y in rows]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 0.5)])
def test_focal_loss_equals_its_closed_form(gamma, weights):
    loss = ClassificationLoss(gamma=gamma, weights=weights)
    w = [(weights or (1, 1, 1))[label] for label in LABELS]
    terms = [
        weight * (1 - p) ** gamma * -math.log(p)
        for weight, p in zip(w, probabilities(), strict=True)
    ]
    assert loss(LOGITS, LABELS).item() == pytest.approx(sum(terms) / sum(w), rel=1e-5)


def test_focal_loss_of_gamma_zero_is_cross_entropy_with_label_smoothing():
    smooth = {"label_smoothing": 0.1}
    loss = ClassificationLoss(gamma=0.0, **smooth)(LOGITS, LABELS)
    assert torch.equal(loss, F.cross_entropy(LOGITS, LABELS, **smooth))
    nearly = ClassificationLoss(gamma=1e-8, **smooth)(LOGITS, LABELS)
    assert nearly.item() == pytest.approx(loss.item(), rel=1e-5)


def test_balanced_weights_give_each_class_the_same_sum():
    counts = (10, 30, 60)
    weights = balanced_weights(counts)
    shares = [weight * count for weight, count in zip(weights, counts, strict=True)]
    assert shares == pytest.approx([100 / 3] * 3)
    assert balanced_weights((4, 0)) == (0.5, 0.0)


def test_a_checkpoint_keeps_nothing_of_a_loss():
    assert not ClassificationLoss(weights=(1.0, 2.0)).state_dict()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"name": "hinge"}, "model.loss: 'hinge'; must be cross_entropy or focal"),
        ({"class_weights": "all"}, "model.class_weights: 'all'; must be"),
        ({"class_weights": "balanced"}, "balanced needs model.class_counts"),
    ],
)
def test_a_wrong_loss_setting_is_an_error(setting, message):
    settings = {"name": "focal", "class_weights": "none", **setting}
    with pytest.raises(ValueError, match=message):
        make_loss(focal_gamma=2.0, label_smoothing=0.0, class_counts=(), **settings)


def test_cross_entropy_ignores_gamma():
    loss = make_loss(
        "cross_entropy",
        focal_gamma=2.0,
        label_smoothing=0.0,
        class_weights="none",
        class_counts=(),
    )
    assert torch.equal(loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))
