"""Settings of the data modules, with checks of types, ranges and misspelt names."""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from pydantic_core import ErrorDetails
from torch import nn

from sweeper.vision.images import DataError

log = logging.getLogger(__name__)

Count: TypeAlias = Annotated[int, Field(gt=0, strict=True)]
NonNegative: TypeAlias = Annotated[int, Field(ge=0, strict=True)]


class DataConfig(BaseModel):
    """Settings that every data module has.

    Attributes:
        image_size: side of the square that each image is fitted into, in pixels.
        pin_memory: copy batches to pinned memory; "auto" does if there is a GPU.
        weighted_sampler: draw every class equally often, with replacement.
        cache_images: true decodes every image once and keeps it in memory,
            3 * image_size^2 bytes each; "map" keeps all in a file beside the data,
            which all trainings of a node share.
        map_disk_share: largest share of the data's disk that the file of a split may
            take; if it would take more, this split and later ones are read image by
            image.
        augmentations: modules on uint8 images (3, H, W), for the train split only.
        augment_on: place of the augmentations if all of them are `batched` modules:
            "loader", or "device" after the batch's transfer; "auto" is the device if
            it is a GPU, else the loader.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", arbitrary_types_allowed=True, allow_inf_nan=False
    )

    batch_size: Count = 64
    num_workers: NonNegative = 4
    image_size: Count = 224
    pin_memory: StrictBool | Literal["auto"] = "auto"
    persistent_workers: StrictBool = False
    weighted_sampler: StrictBool = False
    cache_images: StrictBool | Literal["map"] = False
    map_disk_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    augment_on: Literal["auto", "loader", "device"] = "auto"
    augmentations: tuple[nn.Module, ...] = ()


class JerseyConfig(DataConfig):
    """Settings of `JerseyData`: `root` holds the folders train, valid and test."""

    root: Path


class SyntheticConfig(DataConfig):
    """Settings of `SyntheticJerseyData`; they determine the images.

    Attributes:
        root: folder that holds the rendered folders.
        num_images: training images; valid and test have a fifth as many each.
        render_seed: seed of the images, independent of the training's seed.
    """

    root: Path
    num_classes: Count = 42
    num_images: Count = 6300
    render_seed: NonNegative = 0
    image_size: Count = 32
    cache_images: StrictBool | Literal["map"] = True


class DigitsConfig(DataConfig):
    """Settings of `DigitsData`; the images are 8 px wide before scaling."""

    image_size: Count = 32
    num_workers: NonNegative = 0


def make_config(
    config_class: type[DataConfig], settings: Mapping[str, object]
) -> DataConfig:
    """Return the validated config; unknown keys are named in the log.

    Raises:
        DataError: a setting is wrong; the message lists all wrong settings.
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
    """Return a message with the setting, its value and the requirement."""
    place = "data." + ".".join(map(str, found["loc"]))
    if found["type"] == "missing":
        return f"{place}: missing; set it"
    return f"{place}: {found['input']!r}: {found['msg']}"
