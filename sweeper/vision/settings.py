"""Settings of the data modules, validated: types, ranges and misspelt names.

They hold values only; nothing is read or rendered here.
"""

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
        pin_memory: "auto" where there is a GPU.
        weighted_sampler: draw every class equally often, with replacement.
        cache_images: true: decode every image once and keep it, 3 * image_size^2 bytes
            each; "map": in a file beside the data that all trainings of a node share.
        map_disk_share: of the data's whole disk; a split whose file would be larger is
            read image by image, and so are those after it.
        augmentations: modules on uint8 images (3, H, W), for the train split only.
        augment_on: where recipes of `batched` modules alone are computed: "loader", or
            "device", on batches that are there; "auto": on the device if it is a GPU.
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
    """Settings of `SyntheticJerseyData`; what is rendered is a function of them.

    Attributes:
        root: folder that the rendered folders lie in.
        num_images: training images; valid and test have a fifth as many each.
        render_seed: names the images, whatever the seed of the training is.
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
    """The validated config; keys that it does not have are named in the log.

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
