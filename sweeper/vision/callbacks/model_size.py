"""The size of the network as a metric, so that it can be an objective of a sweep."""

from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.vision.callbacks.model_info import model_info
from sweeper.vision.classifier import Classifier


class ModelSize(Callback):
    """A callback that logs `model/parameters` and `model/megaflops` each validation.

    Megaflops are of one image. `ModelInfo` writes both to a file, but an objective must
    be a logged metric.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count parameters and operations once."""
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
        """Log the sizes with the epoch's metrics, but not in the sanity check."""
        if self._sizes and not trainer.sanity_checking:
            pl_module.log_dict(self._sizes)
