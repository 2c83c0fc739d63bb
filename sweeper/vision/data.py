"""The base class of the data modules: splits, labels, sampling and loaders.

Shuffling and sampling draw from torch's global generator, so an epoch is a function of
the seed that the caller sets.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

from sweeper.vision import annotations, losses
from sweeper.vision.annotations import Row
from sweeper.vision.batched import prepared
from sweeper.vision.dataset import Batch, CropDataset, Images, as_is, cached
from sweeper.vision.images import DataError
from sweeper.vision.settings import DataConfig, make_config

Split: TypeAlias = Literal["train", "valid", "test"]


class ImageData(LightningDataModule, ABC):
    """Three splits with the same classes; a subclass provides rows and images.

    Args:
        config: a config of the class's own type or a mapping. All fields except the
            path of the data have defaults.
        settings: fields of the config, which override `config`. Other keys of a
            composed config are accepted and named in the log, unless they look
            like a misspelt field.

    Raises:
        DataError: a setting has a wrong type or a misspelt name.
    """

    config_class: ClassVar[type[DataConfig]] = DataConfig

    def __init__(
        self,
        config: DataConfig | Mapping[str, object] = MappingProxyType({}),
        /,
        **settings: object,
    ) -> None:
        super().__init__()
        self.config = make_config(self.config_class, {**dict(config), **settings})
        self.class_names: tuple[str, ...] = ()
        self._splits: dict[Split, CropDataset] = {}

    @abstractmethod
    def rows(self, split: Split) -> tuple[Row, ...]:
        """Return the rows of a split."""

    @abstractmethod
    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        """Return the images of `rows`."""

    def setup(self, stage: str = "fit") -> None:
        """Read the splits that a stage needs, unless they are read already."""
        train_rows = () if self._splits else self.rows("train")
        if train_rows:
            self.class_names = annotations.class_names(train_rows)
            if len(self.class_names) < 2:
                raise DataError(
                    f"{train_rows[0].place}: the train split has one class, "
                    f"{self.class_names[0]!r}; add images of another"
                )
            self._splits["train"] = self._dataset("train", train_rows)
        needed: tuple[Split, ...] = ("test",) if stage == "test" else ("valid",)
        for split in needed:
            if split not in self._splits:
                self._splits[split] = self._dataset(split, self.rows(split))

    def _dataset(self, split: Split, rows: tuple[Row, ...]) -> CropDataset:
        labels = annotations.encode(rows, self.class_names)
        images = self.images(split, rows)
        if self.config.cache_images is True and not isinstance(images, Tensor):
            images = cached(images)
        return CropDataset(
            rows,
            labels,
            images,
            augmentations=self.config.augmentations if split == "train" else (),
        )

    def dataset(self, split: Split) -> CropDataset:
        """Return a split; the first call reads it."""
        if split not in self._splits:
            self.setup("test" if split == "test" else "fit")
        return self._splits[split]

    @property
    def num_classes(self) -> int:
        """Number of classes of the train split."""
        self.dataset("train")
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return self.config.image_size

    @property
    def train_labels(self) -> tuple[int, ...]:
        """The label of each training image."""
        return self.dataset("train").labels

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of training images of each class."""
        labels = torch.tensor(self.train_labels)
        return tuple(torch.bincount(labels, minlength=self.num_classes).tolist())

    @property
    def sample_weights(self) -> tuple[float, ...]:
        """Relative frequency of each training image under the weighted sampler."""
        weights = losses.balanced_weights(self.class_counts)
        return tuple(weights[label] for label in self.train_labels)

    def train_dataloader(self) -> DataLoader[object]:
        """Return the train split, shuffled or drawn by `weighted_sampler`."""
        dataset = self.dataset("train")
        if self._augments_on_device(dataset):
            dataset = dataset.unprepared()
        sampler = None
        if self.config.weighted_sampler:
            sampler = WeightedRandomSampler(self.sample_weights, len(dataset))
        # Batch normalisation cannot train on a single image.
        is_single_left = len(dataset) % self.config.batch_size == 1 < len(dataset)
        return self._loader(
            dataset,
            shuffle=sampler is None,
            sampler=sampler,
            drop_last=is_single_left and self.config.batch_size > 1,
        )

    def _augments_on_device(self, dataset: CropDataset) -> bool:
        place = self.config.augment_on
        if place == "device" and dataset.batched is None:
            raise DataError(
                "data.augment_on: 'device': only recipes of sweeper.vision.batched "
                "modules run there; set auto, or transforms=batched"
            )
        if place == "auto" and dataset.batched and self.trainer is not None:
            return bool(self.trainer.strategy.root_device.type == "cuda")
        return place == "device"

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment and normalise training images if the loader has not."""
        if batch["images"].dtype != torch.uint8:
            return batch
        steps = self.dataset("train").batched or ()
        return {**batch, "images": prepared(batch["images"], steps)}

    def val_dataloader(self) -> DataLoader[object]:
        """Return the valid split in order."""
        return self._loader(self.dataset("valid"))

    def test_dataloader(self) -> DataLoader[object]:
        """Return the test split in order."""
        return self._loader(self.dataset("test"))

    def _loader(
        self,
        dataset: CropDataset,
        *,
        shuffle: bool = False,
        sampler: WeightedRandomSampler | None = None,
        drop_last: bool = False,
    ) -> DataLoader[object]:
        config = self.config
        is_pinned = config.pin_memory
        return DataLoader(
            dataset,
            batch_size=config.batch_size,
            shuffle=shuffle,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=config.num_workers,
            collate_fn=as_is,
            pin_memory=torch.cuda.is_available() if is_pinned == "auto" else is_pinned,
            persistent_workers=config.persistent_workers and config.num_workers > 0,
        )
