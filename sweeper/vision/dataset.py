"""A split in memory or on disk as batches of normalised float images.

Augmentations draw from torch's global generator only, so an item is a function of its
index and the generator's state.
"""

# B batch, N images, C channels, H W pixels

from collections.abc import Sequence
from typing import Protocol, TypedDict

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from sweeper.vision.annotations import Row
from sweeper.vision.batched import Batched, prepared
from sweeper.vision.images import (
    UNREADABLE,
    DataError,
    fit_square,
    load_rgb,
    normalise,
)


class Item(TypedDict):
    """One example: image (C, H, W), label and index in its split."""

    images: Tensor
    labels: int
    indices: int


class Batch(TypedDict):
    """Images (B, C, H, W), labels and indices (B,).

    A model takes float images normalised with ImageNet's statistics. Images in uint8
    are not prepared yet.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class Images(Protocol):
    """A sequence of square uint8 images (C, H, W)."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> Tensor:
        """Return one image, the same at each call."""


class ImageFiles:
    """Images that are read, scaled and padded at each access.

    Raises:
        DataError: an image cannot be read; the message names the row's file and line.
    """

    def __init__(self, rows: Sequence[Row], *, image_size: int) -> None:
        self._rows = rows
        self._image_size = image_size

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        row = self._rows[index]
        try:
            return fit_square(load_rgb(row.image), self._image_size)
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from error


def cached(images: Images) -> Tensor:
    """Read all images: uint8 (N, C, H, W), N * C * H * W bytes."""
    return torch.stack([images[index] for index in range(len(images))])


class CropDataset(Dataset[Item]):
    """Rows with their labels and images: one split of a data module.

    Attributes:
        rows: origin and metadata of each image.
        labels: index of the class of each row.
        images: the images that `raw` returns.
        augmentations: modules on uint8 images.
        is_prepared: if false, batches hold the uint8 images that `raw` returns, for
            `batched.prepared` on another device.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        labels: Sequence[int],
        images: Images | Tensor,
        *,
        augmentations: Sequence[nn.Module] = (),
        is_prepared: bool = True,
    ) -> None:
        self.rows = tuple(rows)
        self.labels = tuple(labels)
        self.images = images
        self.augmentations = tuple(augmentations)
        self.is_prepared = is_prepared
        self._labels_N = torch.tensor(self.labels, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        batch = self.__getitems__([index])
        return {
            "images": batch["images"][0],
            "labels": self.labels[index],
            "indices": index,
        }

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a whole batch; torch's fetcher calls this method if it exists."""
        indices_B = torch.tensor(indices, dtype=torch.long)
        return {
            "images": self._images(indices_B),
            "labels": self._labels_N.index_select(0, indices_B),
            "indices": indices_B,
        }

    def _images(self, indices_B: Tensor) -> Tensor:
        steps = self.batched
        if self.is_prepared and steps is None:
            return normalise(torch.stack([*map(self._augmented, indices_B.tolist())]))
        if isinstance(self.images, Tensor):
            images_BCHW = self.images.index_select(0, indices_B)
        else:
            images_BCHW = torch.stack([self.images[i] for i in indices_B.tolist()])
        return prepared(images_BCHW, steps or ()) if self.is_prepared else images_BCHW

    @property
    def batched(self) -> tuple[Batched, ...] | None:
        """The augmentations if all of them take whole batches, else None."""
        found = tuple(a for a in self.augmentations if isinstance(a, Batched))
        return found if len(found) == len(self.augmentations) else None

    def unprepared(self) -> "CropDataset":
        """Return the same split with batches of raw uint8 images."""
        return CropDataset(
            self.rows,
            self.labels,
            self.images,
            augmentations=self.augmentations,
            is_prepared=False,
        )

    def raw(self, index: int) -> Tensor:
        """Return the image without augmentation and normalisation: uint8 (C, H, W)."""
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height before scaling, from the file's header.

        Raises:
            DataError: the file cannot be opened.
        """
        row = self.rows[index]
        if not row.image.name:
            height, width = self.raw(index).shape[-2:]
            return int(width), int(height)
        try:
            with Image.open(row.image) as image:
                return image.size
        except UNREADABLE as error:
            raise DataError(
                f"{row.place}: image {row.image}: cannot be opened ({error}); "
                "replace it or remove its row"
            ) from error

    def _augmented(self, index: int) -> Tensor:
        image_CHW = self.images[index]
        for augment in self.augmentations:
            image_CHW = augment(image_CHW)
        return image_CHW


def as_is(batch: object) -> object:
    """Return the batch unchanged: the dataset has collated it already."""
    return batch
