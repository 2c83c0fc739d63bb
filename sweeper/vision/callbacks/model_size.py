"""Logs how large the network is, so that a sweep may have it as an objective."""

from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.vision.callbacks.model_info import model_info
from sweeper.vision.classifier import Classifier


class ModelSize(Callback):
    """Logs `model/parameters` and `model/megaflops` (of one image) each validation.

    They are what `ModelInfo` writes to a file; an objective is read from the metrics.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count once."""
        classifier = cast(Classifier, pl_module)
        info = model_info(
            classifier.network, image_size=int(classifier.hparams["image_size"])
        )
        self._sizes = {
            "model/parameters": float(str(info["parameters"])),
            "model/megaflops": float(str(info["flops"])) / 1e6,
        }

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Log with the metrics of the epoch; a sanity check logs nothing."""
        if self._sizes and not trainer.sanity_checking:
            pl_module.log_dict(self._sizes)
