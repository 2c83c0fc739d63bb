"""Losses by name: cross-entropy and focal, with class weights and label smoothing.

They have no trainable parameters and add nothing to a checkpoint.
"""

# B batch, C classes

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

LossName: TypeAlias = Literal["cross_entropy", "focal"]
ClassWeights: TypeAlias = Literal["none", "balanced"]


def balanced_weights(class_counts: Sequence[int]) -> tuple[float, ...]:
    """Return the weights n / (C * n_c), as scikit-learn does.

    All classes have the same total weight. A class without an image has weight 0.

    >>> balanced_weights([1, 3])
    (2.0, 0.6666666666666666)
    """
    total, num_classes = sum(class_counts), len(class_counts)
    return tuple(
        total / (num_classes * count) if count else 0.0 for count in class_counts
    )


class ClassificationLoss(nn.Module):
    """Mean loss of logits: cross-entropy, or focal loss if `gamma` is above 0.

    The focal loss of Lin et al. (2017), equation 4, multiplies the
    cross-entropy of an example by (1 - p)^gamma, where p is the probability of its true
    class; gamma 0 is plain cross-entropy. With class weights the sum of the losses is
    divided by the sum of the weights, as in torch.
    """

    weights_C: Tensor | None  # noqa: N815  # carries its shape

    def __init__(
        self,
        *,
        gamma: float = 0.0,
        label_smoothing: float = 0.0,
        weights: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        values = torch.tensor(list(weights)) if weights else None
        self.register_buffer("weights_C", values, persistent=False)

    def forward(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        """Return the batch's mean loss, a scalar."""
        if self.gamma == 0:
            return F.cross_entropy(
                logits_BC,
                labels_B,
                weight=self.weights_C,
                label_smoothing=self.label_smoothing,
            )
        losses_B = F.cross_entropy(
            logits_BC,
            labels_B,
            weight=self.weights_C,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        p_B = logits_BC.softmax(dim=1).gather(1, labels_B[:, None]).squeeze(1)
        focal_B = (1 - p_B).pow(self.gamma) * losses_B
        if self.weights_C is None:
            return focal_B.mean()
        return focal_B.sum() / self.weights_C[labels_B].sum()


def make_loss(
    name: LossName,
    *,
    focal_gamma: float,
    label_smoothing: float,
    class_weights: ClassWeights,
    class_counts: Sequence[int],
) -> ClassificationLoss:
    """Return the loss of a model's settings.

    Raises:
        ValueError: an unknown name, or balanced weights without class counts.
    """
    if name not in ("cross_entropy", "focal"):
        raise ValueError(f"model.loss: {name!r}; must be cross_entropy or focal")
    if class_weights not in ("none", "balanced"):
        raise ValueError(
            f"model.class_weights: {class_weights!r}; must be none or balanced"
        )
    if class_weights == "balanced" and not class_counts:
        raise ValueError(
            "model.class_weights: balanced needs model.class_counts, "
            "the number of training images of each class"
        )
    return ClassificationLoss(
        gamma=focal_gamma if name == "focal" else 0.0,
        label_smoothing=label_smoothing,
        weights=balanced_weights(class_counts) if class_weights == "balanced" else (),
    )
