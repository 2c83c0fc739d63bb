"""A confusion matrix of the last validation.

torchmetrics counts; this module keeps, draws and writes the counts.
"""

# C classes, rows true, columns predicted

from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from sweeper.vision.callbacks.artifacts import (
    is_observed,
    make_figure,
    may_write,
    name_classes,
    publish,
    step_outputs,
    write_json,
)
from sweeper.vision.classifier import Classifier

MAX_NUMBERED_CLASSES = 15


class ConfusionMatrix(Callback):
    """A callback that writes and logs `confusion_matrix.png` and `.json`.

    It does so after each validation.

    Attributes:
        counts_CC: images by true class (rows) and predicted class (columns); None
            before the first validation.
        epoch: number of the validated epoch, from 1.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.counts_CC: Tensor | None = None
        self.epoch = 0
        self._metric: MulticlassConfusionMatrix | None = None

    def on_validation_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Start with empty counts."""
        classifier = cast(Classifier, pl_module)
        self._metric = MulticlassConfusionMatrix(
            classifier.num_classes, validate_args=False
        ).to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch with the logits that its step returned."""
        if self._metric is not None:
            step = step_outputs(outputs)
            self._metric.update(step["logits"], step["labels"])

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Draw and write the counts of all ranks."""
        metric, self._metric = self._metric, None
        if metric is None or not is_observed(trainer):
            return
        self.counts_CC = metric.compute().cpu()
        self.epoch = trainer.current_epoch + 1
        if not may_write(trainer):
            return
        names = cast(Classifier, pl_module).class_names
        write_json(
            self.folder / "confusion_matrix.json",
            {
                "epoch": self.epoch,
                "classes": list(names),
                "counts": self.counts_CC.tolist(),
            },
        )
        self._draw(trainer, names, self.counts_CC)

    def _draw(
        self, trainer: Trainer, names: tuple[str, ...], counts_CC: Tensor
    ) -> None:
        shares_CC = counts_CC / counts_CC.sum(dim=1, keepdim=True).clamp(min=1)
        side = min(18.0, 4.0 + 0.2 * len(names))
        figure = make_figure(width=side + 1, height=side)
        axes = figure.add_subplot()
        image = axes.imshow(shares_CC.numpy(), cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.6)
        name_classes(axes, names)
        name_classes(axes, names, axis="y")
        if len(names) <= MAX_NUMBERED_CLASSES:
            for row, column in torch.nonzero(counts_CC).tolist():
                is_dark = bool(shares_CC[row, column] > 0.5)
                axes.text(
                    column,
                    row,
                    str(int(counts_CC[row, column])),
                    ha="center",
                    va="center",
                    color="white" if is_dark else "black",
                    fontsize=9,
                )
        total, right = int(counts_CC.sum()), int(counts_CC.diag().sum())
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_title(f"epoch {self.epoch}: {right} of {total} right")
        publish(trainer, figure, self.folder / "confusion_matrix.png")
