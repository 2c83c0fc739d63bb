"""Pictures of training images and of the validation images with the highest loss.

They are taken from the batches; no image is loaded or augmented again.
"""

# B batch, C classes

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from sweeper.vision.callbacks.artifacts import (
    is_observed,
    may_write,
    publish,
    shorten,
    step_outputs,
)
from sweeper.vision.callbacks.grids import BLACK, RED, draw_grid, thumbnails
from sweeper.vision.classifier import Classifier
from sweeper.vision.dataset import Batch

TITLE_LENGTH = 16  # characters above a picture


class Samples(Callback):
    """A callback that draws `samples_train.png` and `samples_worst.png`.

    The first shows augmented crops of the first batch of each start. The second shows
    the images of the last validation with the highest loss, with true and predicted
    class; wrong predictions are red.

    Args:
        folder: folder of the pictures.
        num_images: number of images in each picture.
    """

    def __init__(self, folder: str, num_images: int = 24) -> None:
        self.folder = Path(folder)
        self.num_images = num_images
        self.worst: dict[str, Tensor] = {}
        self._candidates: dict[str, Tensor] = {}
        self._is_shown = False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Draw the first batch, so that a mistake in a recipe is seen early."""
        if self._is_shown or not may_write(trainer):
            return
        self._is_shown = True
        names = cast(Classifier, pl_module).class_names
        labels = batch["labels"][: self.num_images].tolist()
        figure = draw_grid(
            thumbnails(batch["images"][: self.num_images]),
            [(shorten(names[label], length=TITLE_LENGTH), BLACK) for label in labels],
        )
        publish(trainer, figure, self.folder / "samples_train.png")

    def on_validation_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Forget the candidates of the last validation."""
        self._candidates = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the worst images of this batch and of earlier ones."""
        step = step_outputs(outputs)
        logits_BC, labels_B = step["logits"].float(), step["labels"]
        found = {
            "losses": F.cross_entropy(logits_BC, labels_B, reduction="none"),
            "labels": labels_B,
            "predicted": logits_BC.argmax(dim=1),
            "images": batch["images"],
        }
        self._candidates = worst_of(self._candidates, found, count=self.num_images)

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Keep the worst images as small pictures."""
        found, self._candidates = self._candidates, {}
        if found and is_observed(trainer):
            images = thumbnails(found.pop("images"))
            self.worst = {key: value.cpu() for key, value in found.items()}
            self.worst["images"] = images

    def state_dict(self) -> dict[str, object]:
        """Return the worst images, for a checkpoint: up to 28 kB each."""
        return {"worst": dict(self.worst)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the worst images of a checkpoint."""
        self.worst = dict(state_dict["worst"])

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the worst images if there was a validation."""
        if not (may_write(trainer) and self.worst):
            return
        names = cast(Classifier, pl_module).class_names
        titles = [
            (pair_title(names[true], names[found]), BLACK if true == found else RED)
            for true, found in zip(
                self.worst["labels"].tolist(),
                self.worst["predicted"].tolist(),
                strict=True,
            )
        ]
        figure = draw_grid(self.worst["images"], titles)
        publish(trainer, figure, self.folder / "samples_worst.png")


def pair_title(true: str, found: str) -> str:
    r"""Return true and predicted class, on two lines if one is too short.

    >>> pair_title("7", "17"), pair_title("home goalkeeper", "7")
    ('7 as 17', 'home goalkeeper\nas 7')
    """
    title = f"{true} as {found}"
    if len(title) <= TITLE_LENGTH:
        return title
    shown = shorten(found, length=TITLE_LENGTH - len("as "))
    return f"{shorten(true, length=TITLE_LENGTH)}\nas {shown}"


def worst_of(
    kept: Mapping[str, Tensor], found: Mapping[str, Tensor], *, count: int
) -> dict[str, Tensor]:
    """Return the `count` rows with the highest losses of two tables, highest first."""
    tables = [table for table in (kept, found) if table]
    rows = {key: torch.cat([table[key] for table in tables]) for key in found}
    order = rows["losses"].argsort(descending=True, stable=True)[:count]
    return {key: value[order] for key, value in rows.items()}
