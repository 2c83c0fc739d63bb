"""Data modules over annotated folders, from a config object or flat keywords.

They fix no order and no seed: shuffling and sampling draw from torch's global
generator, so an epoch is a function of the seed that its caller sets.
"""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from lightning.pytorch import LightningDataModule
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from pydantic_core import ErrorDetails
from torch import Tensor, nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from sweeper.vision import annotations, losses
from sweeper.vision.annotations import Row
from sweeper.vision.dataset import CropDataset, ImageFiles, Images, as_is, cached
from sweeper.vision.images import DataError
from sweeper.vision.render import RenderSettings, render_once

log = logging.getLogger(__name__)

Split: TypeAlias = Literal["train", "valid", "test"]
Count: TypeAlias = Annotated[int, Field(gt=0, strict=True)]


class DataConfig(BaseModel):
    """Settings that every data module has.

    Attributes:
        image_size: side of the square that each image is fitted into, in pixels.
        pin_memory: "auto" where there is a GPU.
        weighted_sampler: draw every class equally often, with replacement.
        cache_images: decode every image once and keep it, 3 * image_size^2 bytes each.
        augmentations: modules on uint8 images (3, H, W), for the train split only.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", arbitrary_types_allowed=True, allow_inf_nan=False
    )

    batch_size: Count = 64
    num_workers: Annotated[int, Field(ge=0, strict=True)] = 4
    image_size: Count = 224
    pin_memory: StrictBool | Literal["auto"] = "auto"
    persistent_workers: StrictBool = False
    weighted_sampler: StrictBool = False
    cache_images: StrictBool = False
    augmentations: tuple[nn.Module, ...] = ()


class JerseyConfig(DataConfig):
    """Settings of `JerseyData`: `root` holds the folders train, valid and test."""

    root: Path


class SyntheticConfig(DataConfig):
    """Settings of `SyntheticJerseyData`; what is rendered is a function of them.

    Attributes:
        root: folder that the rendered folders lie in.
        num_images: training images; valid and test have a fifth as many each.
        render_seed: names the images, whatever the seed of the training is.
    """

    root: Path
    num_classes: Count = 42
    num_images: Count = 6300
    render_seed: Annotated[int, Field(ge=0, strict=True)] = 0
    image_size: Count = 32
    cache_images: bool = True


class ImageData(LightningDataModule):
    """Three splits of one set of classes; a subclass says where rows come from.

    Args:
        config: a config of the class's own type or a mapping; all fields have
            defaults but those of where the data is.
        settings: fields of the config, which win over `config`. Other keys that a
            composed config brings along are accepted and named in the log, unless
            they look like a misspelt field.

    Raises:
        DataError: a setting of a wrong type or a misspelt one.
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

    def rows(self, split: Split) -> tuple[Row, ...]:
        """The rows of a split."""
        raise TypeError(f"{type(self).__name__} does not say where its rows come from")

    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        """The images of `rows`."""
        raise TypeError(f"{type(self).__name__} does not say how to read its images")

    def setup(self, stage: str = "fit") -> None:
        """Read the rows of the splits that a stage needs, each once."""
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
        if self.config.cache_images and not isinstance(images, Tensor):
            images = cached(images)
        return CropDataset(
            rows,
            labels,
            images,
            augmentations=self.config.augmentations if split == "train" else (),
        )

    def dataset(self, split: Split) -> CropDataset:
        """A split, read on the first call."""
        if split not in self._splits:
            self.setup("test" if split == "test" else "fit")
        return self._splits[split]

    @property
    def num_classes(self) -> int:
        """Classes of the train split."""
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
        """Training images of each class."""
        labels = torch.tensor(self.train_labels)
        return tuple(torch.bincount(labels, minlength=self.num_classes).tolist())

    @property
    def sample_weights(self) -> tuple[float, ...]:
        """How often the weighted sampler draws each training image, relatively."""
        weights = losses.balanced_weights(self.class_counts)
        return tuple(weights[label] for label in self.train_labels)

    def train_dataloader(self) -> DataLoader[object]:
        """Shuffled, or drawn by class where `weighted_sampler` is on."""
        dataset = self.dataset("train")
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

    def val_dataloader(self) -> DataLoader[object]:
        """The valid split in order."""
        return self._loader(self.dataset("valid"))

    def test_dataloader(self) -> DataLoader[object]:
        """The test split in order."""
        return self._loader(self.dataset("test"))

    def _loader(
        self,
        dataset: CropDataset,
        *,
        shuffle: StrictBool = False,
        sampler: WeightedRandomSampler | None = None,
        drop_last: StrictBool = False,
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


class JerseyData(ImageData):
    """The user's own crops: `root/{train,valid,test}/**/annotations.jsonl`."""

    config_class: ClassVar[type[DataConfig]] = JerseyConfig
    config: JerseyConfig

    @property
    def root(self) -> Path:
        """The folder of the split folders."""
        return self.config.root

    def rows(self, split: Split) -> tuple[Row, ...]:
        """The rows below the split's folder."""
        return annotations.read_split(self.root / split)

    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        """Files that are read each time."""
        return ImageFiles(rows, image_size=self.config.image_size)


class SyntheticJerseyData(JerseyData):
    """Rendered jersey numbers, written once in the format that `JerseyData` reads."""

    config_class: ClassVar[type[DataConfig]] = SyntheticConfig
    config: SyntheticConfig  # type: ignore[assignment]  # its root is the parent's

    @property
    def render_settings(self) -> RenderSettings:
        """What is rendered."""
        return RenderSettings(
            num_classes=self.config.num_classes,
            num_images=self.config.num_images,
            image_size=self.config.image_size,
            seed=self.config.render_seed,
        )

    @property
    def root(self) -> Path:
        """The folder of what these settings render."""
        return self.config.root / self.render_settings.folder_name

    def prepare_data(self) -> None:
        """Render the images unless a process has done so before."""
        render_once(self.root, self.render_settings)


def make_config(
    config_class: type[DataConfig], settings: Mapping[str, object]
) -> DataConfig:
    """The validated config; see `ImageData` on keys that it does not have.

    Raises:
        DataError: every wrong setting, in one message.
    """
    fields = config_class.model_fields
    extra = sorted(settings.keys() - fields.keys())
    for name in extra:
        for close in difflib.get_close_matches(name, fields, n=1, cutoff=0.8):
            raise DataError(f"data.{name}: no such setting; did you mean {close!r}?")
    if extra:
        log.info("data: settings without effect here: %s", ", ".join(extra))
    known = {name: value for name, value in settings.items() if name in fields}
    try:
        return config_class.model_validate(known)
    except ValidationError as error:
        raise DataError("; ".join(map(_problem, error.errors()))) from error


def _problem(found: ErrorDetails) -> str:
    """One wrong setting, its value and what must hold."""
    place = "data." + ".".join(map(str, found["loc"]))
    if found["type"] == "missing":
        return f"{place}: missing; set it"
    return f"{place}: {found['input']!r}: {found['msg']}"
