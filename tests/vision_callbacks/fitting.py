"""A tiny training that callbacks watch: random 8 x 8 images of three classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from sweeper.vision.annotations import Row
from sweeper.vision.classifier import Classifier
from sweeper.vision.data import ImageData, Split
from sweeper.vision.dataset import Images
from sweeper.vision.train import without_irrelevant_warnings
from sweeper.vision.trainer import make_trainer

SIZES: dict[Split, int] = {"train": 40, "valid": 18, "test": 6}


class RandomData(ImageData):
    """Noise with labels 0, 0, 1, 2 in turn; batches of 8."""

    def __init__(self, **settings: object) -> None:
        settings = {"batch_size": 8, "num_workers": 0, "image_size": 8, **settings}
        super().__init__(**settings)

    def rows(self, split: Split) -> tuple[Row, ...]:
        return tuple(
            Row(label=str("0012"[i % 4]), place=f"{split}[{i}]")
            for i in range(SIZES[split])
        )

    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        generator = torch.Generator().manual_seed(len(rows))
        shape = (len(rows), 3, 8, 8)
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


class OrderedData(RandomData):
    """The same in order, so that a resumed epoch sees what an uncut one does."""

    def train_dataloader(self) -> DataLoader[object]:
        return self._loader(self.dataset("train"))


class CutError(Exception):
    """Stands for a kill."""


class Cut(Callback):
    """Raises before a batch (0-based) of an epoch (0-based)."""

    def __init__(self, epoch: int, batch: int = 0) -> None:
        self.place = (epoch, batch)

    def on_train_batch_start(
        self, trainer: Trainer, module: object, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            raise CutError


def make_model(data: ImageData) -> Classifier:
    return Classifier(
        "small_cnn",
        num_classes=data.num_classes,
        class_names=data.class_names,
        image_size=8,
        learning_rate=3e-3,
    )


def fit(
    callbacks: list[Callback],
    folder: Path,
    *,
    data: ImageData | None = None,
    ckpt_path: Path | None = None,
    **settings: object,
) -> Trainer:
    """Train two epochs on the CPU; the trainer, with its module."""
    seed_everything(1, workers=True, verbose=False)
    data = data or RandomData()
    data.setup("fit")
    settings = {"max_epochs": 2, "default_root_dir": folder, **settings}
    with without_irrelevant_warnings():
        trainer = make_trainer(
            callbacks=callbacks,
            accelerator="cpu",
            enable_model_summary=False,
            **settings,
        )
        trainer.fit(make_model(data), datamodule=data, ckpt_path=ckpt_path)
    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.lightning_module.state_dict().items()}


def is_picture(path: Path) -> bool:
    """Whether the file is a PNG with more than one colour."""
    with Image.open(path) as image:
        image.load()
        return image.format == "PNG" and np.ptp(np.asarray(image.convert("L"))) > 50


def fit_in_two(
    make: Callable[[], list[Callback]],
    folder: Path,
    *,
    epoch: int = 1,
    **settings: object,
) -> tuple[list[Callback], Trainer]:
    """Train, cut in `epoch`, and resume in new objects; those of the second start."""

    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(
            folder / "checkpoints", save_last=True, enable_version_counter=False
        )

    with pytest.raises(CutError):
        fit([*make(), Cut(epoch, 2), checkpoint()], folder, **settings)
    callbacks = make()
    last = folder / "checkpoints" / "last.ckpt"
    torch.load(last, weights_only=True)
    trainer = fit([*callbacks, checkpoint()], folder, ckpt_path=last, **settings)
    return callbacks, trainer
