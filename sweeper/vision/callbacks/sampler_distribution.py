"""The number of times that each class and each training image was drawn.

The batches of the training are counted; the sampler's weights are not used.
"""

# N training images, C classes

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from sweeper.vision.callbacks.artifacts import (
    BLUE,
    GREY,
    ORANGE,
    bars_beside,
    class_bars,
    may_write,
    publish,
)
from sweeper.vision.classifier import Classifier
from sweeper.vision.data import ImageData
from sweeper.vision.dataset import Batch


class SamplerDistribution(Callback):
    """A callback that draws `sampler_distribution.png` at the end, over all epochs.

    Attributes:
        draws_N: number of times that each training image was drawn, by its index.
        labels_N: class of each image; -1 if it was never drawn.

    Args:
        folder: folder of the picture.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.draws_N = torch.zeros(0, dtype=torch.long)
        self.labels_N = torch.zeros(0, dtype=torch.long)
        self._pending: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keep indices and labels on their device; counting now would wait for it."""
        self._pending.append((batch["indices"], batch["labels"]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the draws of the epoch."""
        self._count()

    def _count(self) -> None:
        if not self._pending:
            return
        indices, labels = (
            torch.cat(each).cpu() for each in zip(*self._pending, strict=True)
        )
        self._pending = []
        size = max(int(indices.max()) + 1, len(self.draws_N))
        draws_N = torch.bincount(indices, minlength=size)
        draws_N[: len(self.draws_N)] += self.draws_N
        labels_N = torch.full((size,), -1)
        labels_N[: len(self.labels_N)] = self.labels_N
        labels_N[indices] = labels
        self.draws_N, self.labels_N = draws_N, labels_N

    def state_dict(self) -> dict[str, object]:
        """Return all counts so far, for a checkpoint."""
        self._count()
        return {"draws": self.draws_N, "labels": self.labels_N}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the counts of a checkpoint."""
        self.draws_N, self.labels_N = state_dict["draws"], state_dict["labels"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the counts if there was a batch."""
        self._count()
        if not may_write(trainer) or not len(self.draws_N):
            return
        names = cast(Classifier, pl_module).class_names
        figure, left, right = bars_beside(names)
        drawn_C = class_draws(self.draws_N, self.labels_N, len(names))
        bars = [("of the draws", drawn_C, BLUE)]
        draws_N = self.draws_N
        if isinstance(trainer.datamodule, ImageData):  # type: ignore[attr-defined]
            there_C = torch.tensor(trainer.datamodule.class_counts)  # type: ignore[attr-defined]
            bars.insert(0, ("of the images", there_C, GREY))
            never = int(there_C.sum()) - len(draws_N)
            draws_N = torch.cat([draws_N, draws_N.new_zeros(max(0, never))])
        shares = [
            (label, (counts_C / counts_C.sum()).tolist(), colour)
            for label, counts_C, colour in bars
        ]
        class_bars(left, names, shares)
        left.set(ylabel="share of each class", title="classes")
        counts = torch.bincount(draws_N).tolist()
        right.bar(range(len(counts)), counts, width=0.9, color=ORANGE)
        right.set(xlabel="times drawn in all epochs", ylabel="images")
        right.locator_params(axis="both", integer=True)
        right.set_title(f"{int(draws_N.sum())} draws from {len(draws_N)} images")
        publish(trainer, figure, self.folder / "sampler_distribution.png")


def class_draws(draws_N: Tensor, labels_N: Tensor, num_classes: int) -> Tensor:
    """Return the number of draws of each class: (C,).

    >>> class_draws(torch.tensor([3, 0, 1]), torch.tensor([0, -1, 1]), 2)
    tensor([3, 1])
    """
    is_drawn_N = draws_N > 0
    draws_C = torch.zeros(num_classes, dtype=draws_N.dtype)
    return draws_C.index_add_(0, labels_N[is_drawn_N], draws_N[is_drawn_N])
