"""A data module of scikit-learn's 1,797 handwritten digits.

Nothing is downloaded: the images are part of the library.
"""

from functools import cached_property
from typing import ClassVar

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from sweeper.vision.annotations import Row
from sweeper.vision.data import ImageData, Split
from sweeper.vision.dataset import Images
from sweeper.vision.settings import DataConfig, DigitsConfig

SPLIT_OF_TEN: tuple[Split, ...] = ("train",) * 7 + ("valid",) * 2 + ("test",)


class DigitsData(ImageData):
    """Real digits 0 to 9; each class is split 7 : 2 : 1, always the same way."""

    config_class: ClassVar[type[DataConfig]] = DigitsConfig

    @cached_property
    def _bunch(self) -> tuple[Tensor, tuple[int, ...], dict[Split, list[int]]]:
        """Images (N, 8, 8) in 0..16, labels, and the indices of each split."""
        bunch = load_digits()
        labels = tuple(bunch.target.tolist())
        seen = dict.fromkeys(range(10), 0)
        indices: dict[Split, list[int]] = {"train": [], "valid": [], "test": []}
        for index, label in enumerate(labels):
            # By the position in its class. Splits are stratified, and each has digits
            # of every writer: the file lists one writer after another.
            indices[SPLIT_OF_TEN[seen[label] % 10]].append(index)
            seen[label] += 1
        return torch.from_numpy(bunch.images), labels, indices

    def rows(self, split: Split) -> tuple[Row, ...]:
        """Return a row for each digit of the split."""
        _, labels, indices = self._bunch
        return tuple(
            Row(
                label=str(labels[index]), place=f"sklearn.datasets.load_digits[{index}]"
            )
            for index in indices[split]
        )

    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        """Return the digits white on black: uint8 (N, 3, image_size, image_size)."""
        grey_NHW, _, indices = self._bunch
        grey_N1HW = (
            (grey_NHW[indices[split]] * (255 / 16)).round().to(torch.uint8)[:, None]
        )
        size = [self.config.image_size] * 2
        scaled: Tensor = tv.resize(grey_N1HW, size, antialias=True)
        return scaled.expand(-1, 3, -1, -1).contiguous()
