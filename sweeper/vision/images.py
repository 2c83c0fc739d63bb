"""Conversion of an image file of any mode to a square RGB tensor.

The conversion is deterministic; augmentations follow later.
"""

# B batch, C channels, H W pixels

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)  # ImageNet, as torchvision's weights expect
STD = (0.229, 0.224, 0.225)
SCALE = tuple(1 / (255 * std) for std in STD)
SHIFT = tuple(torch.tensor(-mean / std) for mean, std in zip(MEAN, STD, strict=True))
PAD_COLOUR = (124, 116, 104)  # MEAN in 8 bits: padding is about 0 once normalised

# Errors that Pillow's decoders raise on a broken file; most of them are OSError.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class DataError(ValueError):
    """Data that cannot be trained on; the message gives the place and the next step."""


def load_rgb(path: Path) -> Image.Image:
    """Return the whole image as RGB, turned upright by its EXIF orientation.

    Transparent pixels become `PAD_COLOUR`; their hidden colour is ignored.

    Raises:
        DataError: the file is missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"image {path}: cannot be read ({reason}); "
            "it must be a whole image file; replace it or remove its row"
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in mode RGB, 8 bits per channel.

    >>> to_rgb(Image.new("LA", (1, 1), (255, 0))).getpixel((0, 0)) == PAD_COLOUR
    True
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):  # convert() would clip instead of scale
        high_byte = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(high_byte).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*PAD_COLOUR, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def fit_square(image: Image.Image, size: int) -> Tensor:
    """Scale the image to fit a square, centre it and pad it with `PAD_COLOUR`.

    Returns:
        uint8 of shape (3, size, size).
    """
    longest = max(image.size)
    width, height = (max(1, round(side * size / longest)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if (width, height) != (size, size):
        canvas = Image.new("RGB", (size, size), PAD_COLOUR)
        canvas.paste(image, ((size - width) // 2, (size - height) // 2))
        image = canvas
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def normalise(images_BCHW: Tensor) -> Tensor:
    """Scale values of 0 to 255 to mean 0 and deviation 1 by ImageNet's statistics."""
    return normalise_(images_BCHW.to(torch.float32, copy=True))


def normalise_(images_BCHW: Tensor) -> Tensor:
    """Normalise float32 images of 0 to 255 in place, in one pass."""
    for channel_BHW, scale, shift in zip(
        images_BCHW.unbind(-3), SCALE, SHIFT, strict=True
    ):
        torch.add(shift, channel_BHW, alpha=scale, out=channel_BHW)
    return images_BCHW


def denormalise(images_BCHW: Tensor) -> Tensor:
    """Invert `normalise` and clamp to uint8, for pictures that people look at."""
    mean = torch.tensor(MEAN).view(3, 1, 1)
    std = torch.tensor(STD).view(3, 1, 1)
    scaled = images_BCHW.detach().float().cpu().mul(std).add(mean).mul(255)
    return scaled.round().clamp(0, 255).to(torch.uint8)
