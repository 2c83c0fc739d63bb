"""Which validation examples a model got right, from what validation_step returns.

It runs no forward pass of its own: a project that returns nothing of use is left alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.host import examples

LABELS = ("labels", "label", "targets", "target", "y")
PREDICTIONS = ("preds", "predictions", "pred")


class Answers:
    """The answers of one pass over the validation set.

    A batch whose outputs are a mapping with `correct` (B,), or with `logits` (B, C) or
    `preds` (B,) and `labels` (B,), is counted; one other batch voids the pass.
    """

    def __init__(self) -> None:
        self._correct: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._is_void = False

    def add(self, outputs: object) -> None:
        """Count one batch."""
        found = _read(outputs)
        if found is None:
            self._is_void = True
            return
        correct, labels = found
        self._correct.append(correct.detach().bool().flatten().cpu())
        if labels is not None:
            self._labels.append(labels.detach().flatten().cpu())

    def correct(self) -> str:
        """One digit, "1" or "0", for each example; "" where any is unknown."""
        if self._is_void or not self._correct:
            return ""
        return "".join("1" if right else "0" for right in torch.cat(self._correct))

    def order(self) -> str:
        """A digest of the labels in order; "" without labels."""
        if not self._labels:
            return ""
        return examples.digest(torch.cat(self._labels).tolist())


def _read(outputs: object) -> tuple[Tensor, Tensor | None] | None:
    """Correctness and labels of a batch; None where the outputs do not say."""
    if not isinstance(outputs, Mapping):
        return None
    labels = _first(outputs, LABELS)
    correct = _first(outputs, ("correct",))
    if correct is not None:
        return correct, labels
    predicted = _first(outputs, PREDICTIONS)
    logits = _first(outputs, ("logits",))
    if predicted is None and logits is not None and logits.ndim == 2:
        predicted = logits.argmax(dim=1)
    if labels is None or predicted is None or predicted.shape != labels.shape:
        return None
    return predicted == labels, labels


def _first(outputs: Mapping[object, object], names: tuple[str, ...]) -> Tensor | None:
    """The first tensor of these names that has one value an example."""
    for name in names:
        found = outputs.get(name)
        if isinstance(found, Tensor) and found.ndim > 0:
            return found
    return None
