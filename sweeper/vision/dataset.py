"""A split in memory or on disk as batches of normalised float images.

It augments by what it is given, with torch's global generator only, so an item is
a function of its index and the generator's state.
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

    A model takes float images with ImageNet's statistics; uint8 ones are yet to be
    prepared.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class Images(Protocol):
    """A sequence of square uint8 images (C, H, W)."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Tensor:
        """One image, the same at each call."""


class ImageFiles:
    """Reads, scales and pads an image each time it is asked for.

    Raises:
        DataError: by file and line of the row, on reading an image that is none.
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
    """All images read now: (N, C, H, W) uint8, N * C * H * W bytes."""
    return torch.stack([images[index] for index in range(len(images))])


class CropDataset(Dataset[Item]):
    """Rows, their labels and images; what a data module calls a split.

    Attributes:
        rows: where each image comes from, with its metadata.
        labels: index of the class of each row.
        images: what `raw` takes images from.
        augmentations: modules on uint8 images.
        is_prepared: false: batches hold uint8 images as `raw` gives them, for
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
        """A whole batch: torch's fetcher calls this where it is there."""
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
        """The augmentations, where all of them take whole batches."""
        found = tuple(a for a in self.augmentations if isinstance(a, Batched))
        return found if len(found) == len(self.augmentations) else None

    def unprepared(self) -> "CropDataset":
        """The same split, in batches of uint8 images as they are."""
        return CropDataset(
            self.rows,
            self.labels,
            self.images,
            augmentations=self.augmentations,
            is_prepared=False,
        )

    def raw(self, index: int) -> Tensor:
        """The image without augmentation and normalisation: uint8 (C, H, W)."""
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        """Width and height before scaling, from the file's header.

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
    """The collate function of batches that a dataset has made whole."""
    return batch
