"""The LightningModule: a network, its loss, metrics, optimiser and schedule.

Its hyperparameters are plain values that suffice to build it again.
"""

# B batch, C channels or classes, H W pixels

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from sweeper.vision.dataset import Batch
from sweeper.vision.losses import ClassWeights, LossName, make_loss
from sweeper.vision.network import NetworkError, build_network
from sweeper.vision.optim import make_schedule, may_fuse, parameter_groups


class Outputs(TypedDict):
    """The result of a step, so that callbacks need no second forward pass.

    The loss is a scalar. Logits (B, C) have no gradient. Labels and indices are (B,).
    """

    loss: Tensor
    logits: Tensor
    labels: Tensor
    indices: Tensor


class Classifier(LightningModule):
    """An image classifier that logs loss, top-1 and top-5 accuracy of each split.

    `val/loss` and `test/loss` are plain cross-entropy whatever the training loss is,
    so that trials with different losses can be compared.

    Args:
        name: see `network.build_network`.
        num_classes: usually read from the data.
        class_names: names of the classes in order; kept for `predict`.
        class_counts: training images of each class, for balanced class weights.
        image_size: side of the images in pixels; kept for `predict`.
        learning_rate: learning rate of AdamW at the end of the warm-up.
        weight_decay: weight decay of kernels and matrices; biases and norms have none.
        warmup_fraction: share of all steps in which the learning rate rises.
        loss: "cross_entropy" or "focal".
        focal_gamma: exponent of the focal loss; 0 is cross-entropy.
        class_weights: "none" or "balanced".
        channels_last: memory layout that convolutions prefer, on GPUs with tensor
            cores and on CPUs.
        fused: run AdamW's step in one kernel.

    Raises:
        NetworkError: the network cannot be built with these settings.
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        name: str = "resnet18",
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        class_counts: Sequence[int] | None = None,
        image_size: int | None = None,
        pretrained: bool = False,
        small_input: bool = False,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.1,
        label_smoothing: float = 0.1,
        loss: LossName = "cross_entropy",
        focal_gamma: float = 2.0,
        class_weights: ClassWeights = "none",
        channels_last: bool = True,
        fused: bool = True,
    ) -> None:
        super().__init__()
        if num_classes is None:
            raise NetworkError(
                "model.num_classes: null and no data to read it from; set it"
            )
        class_names = [str(each) for each in class_names or range(num_classes)]
        class_counts = [int(count) for count in class_counts or ()]
        image_size = image_size or 224
        _check(
            num_classes=num_classes,
            class_names=class_names,
            label_smoothing=label_smoothing,
            warmup_fraction=warmup_fraction,
        )
        self.save_hyperparameters()
        self.num_classes = num_classes
        self.class_names = tuple(class_names)
        self.network = build_network(
            name,
            num_classes=num_classes,
            image_size=image_size,
            pretrained=pretrained,
            small_input=small_input,
        )
        self.loss = make_loss(
            loss,
            focal_gamma=focal_gamma,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            class_counts=class_counts,
        )
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.layout)
        self.accuracies = nn.ModuleDict(
            {f"{split}_split": _accuracies(split, num_classes) for split in SPLITS}
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images."""
        logits_BC: Tensor = self.network(
            images_BCHW.contiguous(memory_format=self.layout)
        )
        return logits_BC

    def training_step(self, batch: Batch, batch_idx: int) -> Outputs:
        """Return the training loss and log it each step, as train/loss_step."""
        logits_BC = self(batch["images"])
        loss = self.loss(logits_BC, batch["labels"])
        self.log("train/loss_step", loss, on_step=True, on_epoch=False)
        return self._log("train", loss, logits_BC, batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Outputs:
        """Return cross-entropy and logits of a batch of the valid split."""
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Outputs:
        """Return cross-entropy and logits of a batch of the test split."""
        return self._evaluate("test", batch)

    def _evaluate(self, split: str, batch: Batch) -> Outputs:
        logits_BC = self(batch["images"])
        loss = F.cross_entropy(logits_BC.float(), batch["labels"])
        return self._log(split, loss, logits_BC, batch)

    def _log(
        self, split: str, loss: Tensor, logits_BC: Tensor, batch: Batch
    ) -> Outputs:
        logits_BC = logits_BC.detach()
        size = len(batch["labels"])
        accuracies = self.accuracies[f"{split}_split"]
        assert isinstance(accuracies, MetricCollection)  # noqa: S101  # made above
        accuracies.update(logits_BC, batch["labels"])
        self.log(f"{split}/loss", loss, on_step=False, on_epoch=True, batch_size=size)
        self.log_dict(accuracies, on_step=False, on_epoch=True, batch_size=size)
        return {
            "loss": loss,
            "logits": logits_BC,
            "labels": batch["labels"],
            "indices": batch["indices"],
        }

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a warm-up and half a cosine over all steps of the training.

        Raises:
            ValueError: the number of steps is infinite, so there is no schedule.
        """
        settings: Mapping[str, float] = self.hparams
        total_steps = self.trainer.estimated_stepping_batches
        if math.isinf(total_steps):
            raise ValueError(
                "trainer.max_epochs: -1 has no end; set a number of epochs"
            )
        optimizer = torch.optim.AdamW(
            parameter_groups(
                self.network.parameters(), weight_decay=settings["weight_decay"]
            ),
            lr=settings["learning_rate"],
            fused=bool(settings["fused"]) and may_fuse(str(self.trainer.precision)),
        )
        schedule = make_schedule(
            optimizer,
            warmup_fraction=settings["warmup_fraction"],
            total_steps=int(total_steps),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule,
                "interval": "step",
                "name": "learning_rate",
            },
        }


SPLITS = ("train", "val", "test")


def _accuracies(split: str, num_classes: int) -> MetricCollection:
    """Return top-1 and top-5 accuracy; with up to five classes top-5 is 1."""
    return MetricCollection(
        {
            f"acc_top{k}": MulticlassAccuracy(
                num_classes, top_k=min(k, num_classes), average="micro"
            )
            for k in (1, 5)
        },
        prefix=f"{split}/",
        compute_groups=False,  # equal on the first batch does not mean equal
    )


def _check(
    *,
    num_classes: int,
    class_names: Sequence[str],
    label_smoothing: float,
    warmup_fraction: float,
) -> None:
    if len(class_names) != num_classes:
        raise ValueError(
            f"model.class_names: {len(class_names)} names for {num_classes} classes; "
            "leave both null to read them from the data"
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"model.label_smoothing: {label_smoothing}; must be in [0, 1)")
    if not 0 <= warmup_fraction < 1:
        raise ValueError(f"model.warmup_fraction: {warmup_fraction}; must be in [0, 1)")
