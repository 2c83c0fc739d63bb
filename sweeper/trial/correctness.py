"""Correctness of each validation example, read from the outputs of validation_step.

No forward pass is run for it: if a project's outputs do not say, it is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.system import correctness
from sweeper.trial.libraries import torch

LABELS = ("labels", "label", "targets", "target", "y")
PREDICTIONS = ("preds", "predictions", "pred")


class ValidationPass:
    """Correctness over one pass over the validation set.

    A batch counts if its outputs are a mapping with `correct` (B,), or with `logits`
    (B, C) or `preds` (B,) and `labels` (B,); any other batch voids the pass.
    """

    def __init__(self) -> None:
        self._correct: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._is_void = False

    def add(self, outputs: object) -> None:
        """Count one batch."""
        batch = _read(outputs)
        if batch is None:
            self._is_void = True
            return
        correct, labels = batch
        self._correct.append(correct.detach().bool().flatten().cpu())
        if labels is not None:
            self._labels.append(labels.detach().flatten().cpu())

    def correct(self) -> str:
        """Return "1" or "0" for each example; "" if any is unknown."""
        if self._is_void or not self._correct:
            return ""
        return "".join("1" if right else "0" for right in torch.cat(self._correct))

    def order(self) -> str:
        """Return a digest of the labels in order; "" without labels."""
        if not self._labels:
            return ""
        return correctness.digest(torch.cat(self._labels).tolist())


def _read(outputs: object) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return correctness and labels of a batch; None if the outputs do not say."""
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


def _first(
    outputs: Mapping[object, object], names: tuple[str, ...]
) -> torch.Tensor | None:
    """Return the first tensor of these names that has one value an example."""
    tensors = (outputs.get(name) for name in names)
    return next(
        (t for t in tensors if isinstance(t, torch.Tensor) and t.ndim > 0), None
    )
