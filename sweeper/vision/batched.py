"""Augmentations of whole uint8 batches, many times faster than image by image.

Each draws what torchvision's transform of that name draws, for each image on its own
and from torch's global generator: an epoch is a function of the seed that it begins
with. On a GPU they run there, on batches that are there.
"""

# B batch, C channels, H W pixels

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

GREY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue


class Batched(nn.Module, ABC):
    """A module that takes uint8 batches (B, 3, H, W), or one image (3, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """The images, each augmented on its own."""
        if images.ndim == 3:
            return self.augment(images[None])[0]
        return self.augment(images)

    @abstractmethod
    def augment(self, images_BCHW: Tensor) -> Tensor:
        """New images; the given ones stay as they are."""


class BatchedCrop(Batched):
    """RandomCrop of the image's own size after padding.

    Args:
        padding: pixels on each side; an image moves by up to as many.
        fill: colour of the padding.
    """

    def __init__(self, padding: int, fill: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__()
        if padding < 0:
            raise ValueError(f"BatchedCrop: padding {padding}; must be 0 or more")
        self.padding = padding
        self.fill = tuple(fill)

    def augment(self, images_BCHW: Tensor) -> Tensor:
        """The images, each moved on its own."""
        pad = self.padding
        count, _, height, width = images_BCHW.shape
        fill = torch.tensor(self.fill, dtype=torch.uint8, device=images_BCHW.device)
        padded = fill.view(1, -1, 1, 1).repeat(
            count, 1, height + 2 * pad, width + 2 * pad
        )
        padded[:, :, pad : pad + height, pad : pad + width] = images_BCHW
        tops, lefts = torch.randint(2 * pad + 1, (2, count)).tolist()
        out = torch.empty_like(images_BCHW)
        for index, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            out[index] = padded[index, :, top : top + height, left : left + width]
        return out


class BatchedFlip(Batched):
    """RandomHorizontalFlip.

    Args:
        p: probability that an image is mirrored.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def augment(self, images_BCHW: Tensor) -> Tensor:
        """The images, some of them mirrored."""
        is_flipped_B = torch.rand(len(images_BCHW)) < self.p
        out = images_BCHW.clone()
        out[is_flipped_B] = images_BCHW[is_flipped_B].flip(-1)
        return out


class BatchedLight(Batched):
    """ColorJitter of brightness and contrast, in random order.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness.
        contrast: the same for contrast.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast

    def augment(self, images_BCHW: Tensor) -> Tensor:
        """The images, each lit on its own."""
        count = len(images_BCHW)
        brightness_B = _factors(self.brightness, count)
        contrast_B = _factors(self.contrast, count)
        is_first_B = torch.rand(count) < 0.5
        one = torch.ones(())
        device = images_BCHW.device
        before = torch.where(is_first_B, brightness_B, one).to(device)
        after = torch.where(is_first_B, one, brightness_B).to(device)
        light = images_BCHW.float()
        light = _brighter(light, before)
        light = _contrasted(light, contrast_B.to(device))
        return _brighter(light, after).to(torch.uint8)


def _factors(spread: float, count: int) -> Tensor:
    low = max(0.0, 1.0 - spread)
    return torch.empty(count).uniform_(low, 1.0 + spread)


def _brighter(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """As torchvision adjusts brightness of whole numbers: cut off, rounded down."""
    return images_BCHW.mul_(factors_B.view(-1, 1, 1, 1)).clamp_(0, 255).floor_()


def _contrasted(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """As torchvision adjusts contrast: away from the mean of the grey image."""
    weights = torch.tensor(GREY, device=images_BCHW.device).view(1, 3, 1, 1)
    grey = (images_BCHW * weights).sum(1, keepdim=True).floor_()
    mean = grey.mean((1, 2, 3), keepdim=True)
    factors = factors_B.view(-1, 1, 1, 1)
    return images_BCHW.mul_(factors).add_((1 - factors) * mean).clamp_(0, 255).floor_()
