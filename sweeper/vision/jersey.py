"""Data modules of jersey numbers: the user's own crops and rendered ones.

Both read the same format with the same code.
"""

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from sweeper.vision import annotations, cache
from sweeper.vision.annotations import Row
from sweeper.vision.data import ImageData, Split
from sweeper.vision.dataset import ImageFiles, Images
from sweeper.vision.render import RenderSettings, render_once
from sweeper.vision.settings import DataConfig, JerseyConfig, SyntheticConfig


class JerseyData(ImageData):
    """The user's own crops: `root/{train,valid,test}/**/annotations.jsonl`."""

    config_class: ClassVar[type[DataConfig]] = JerseyConfig
    config: JerseyConfig
    _is_mapped = True

    @property
    def root(self) -> Path:
        """Folder that holds the folders train, valid and test."""
        return self.config.root

    def rows(self, split: Split) -> tuple[Row, ...]:
        """Return the rows below the split's folder."""
        return annotations.read_split(self.root / split)

    def images(self, split: Split, rows: tuple[Row, ...]) -> Images | Tensor:
        """Return files that are read at each access, or the file of decoded images."""
        size = self.config.image_size
        if self.config.cache_images == "map" and self._is_mapped:
            share = self.config.map_disk_share
            mapped = cache.decoded(
                rows, image_size=size, folder=self.root, disk_share=share
            )
            if mapped is not None:
                return mapped
            self._is_mapped = False  # nor the other splits; one warning is enough
        return ImageFiles(rows, image_size=size)


class SyntheticJerseyData(JerseyData):
    """Rendered jersey numbers, written once in the format that `JerseyData` reads."""

    config_class: ClassVar[type[DataConfig]] = SyntheticConfig
    config: SyntheticConfig  # type: ignore[assignment]  # its root is the parent's

    @property
    def render_settings(self) -> RenderSettings:
        """Settings of the rendered images."""
        return RenderSettings(
            num_classes=self.config.num_classes,
            num_images=self.config.num_images,
            image_size=self.config.image_size,
            seed=self.config.render_seed,
        )

    @property
    def root(self) -> Path:
        """Folder of the images of these settings."""
        return self.config.root / self.render_settings.folder_name

    def prepare_data(self) -> None:
        """Render the images unless a process has done so before."""
        render_once(self.root, self.render_settings)
