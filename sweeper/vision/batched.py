"""Augmentations of whole uint8 batches, many times faster than image by image.

Each draws what torchvision's transform of that name draws, for each image on its own
and from torch's global generator: an epoch is a function of the seed that it begins
with. They run where the batch is, on a CPU or on a GPU, by the same operations and
with the same random numbers.
"""

# B batch, C channels, H W pixels

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sweeper.vision.images import normalise_

GREY = torch.tensor([0.2989, 0.587, 0.114])  # torchvision's weights of the channels
# Of a block that goes through all steps on floats before the next one: it stays in a
# core's second cache, or each step would wait for memory.
BLOCK_VALUES = 250_000


class Batched(nn.Module, ABC):
    """A module that takes uint8 batches (B, 3, H, W), or one image (3, H, W).

    Attributes:
        needs_floats: whether `augment` takes float32 only.
    """

    needs_floats: ClassVar[bool] = False

    def forward(self, images: Tensor) -> Tensor:
        """The uint8 images, each augmented on its own; the given ones stay."""
        batch = images[None] if images.ndim == 3 else images
        given = batch.float() if self.needs_floats else batch
        out = self.augment(given, self.draw(len(batch)))
        return out.to(torch.uint8).view(images.shape)

    @abstractmethod
    def draw(self, count: int) -> Tensor:
        """All that is random about `count` images, a row each, on the CPU."""

    @abstractmethod
    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """The images by what was drawn for each of them.

        Both are whole numbers 0 to 255, as uint8 or as float32. Floats may be
        overwritten, uint8 images stay as they are.
        """


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

    def draw(self, count: int) -> Tensor:
        """First line and column of each crop in the padded image: (B, 2)."""
        return torch.randint(2 * self.padding + 1, (count, 2))

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """The images, each moved on its own."""
        pad, device = self.padding, images_BCHW.device
        count, channels, height, width = images_BCHW.shape
        lines, line = height + 2 * pad, width + 2 * pad
        fill_C11 = images_BCHW.new_tensor(self.fill).view(-1, 1, 1)
        padded = fill_C11.repeat(count, 1, lines, line)
        padded[:, :, pad : pad + height, pad : pad + width] = images_BCHW
        # All pixels lie in one line; a row of a crop is a window on it.
        plane_BC1 = torch.arange(0, padded.numel(), lines * line, device=device)
        row_H = torch.arange(0, height * line, line, device=device)
        corner_B = drawn[:, 0] * line + drawn[:, 1]
        corner_B11 = corner_B.to(device).view(-1, 1, 1)
        starts_BCH = plane_BC1.view(count, channels, 1) + corner_B11 + row_H
        windows = padded.view(-1).unfold(0, width, 1)
        return windows.index_select(0, starts_BCH.view(-1)).view(images_BCHW.shape)


class BatchedFlip(Batched):
    """RandomHorizontalFlip.

    Args:
        p: probability that an image is mirrored.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def draw(self, count: int) -> Tensor:
        """Whether each image is mirrored: (B,)."""
        return torch.rand(count) < self.p

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """The images, some of them mirrored."""
        count = len(images_BCHW)
        both = torch.cat([images_BCHW, images_BCHW.flip(-1)])
        chosen_B = torch.arange(count) + count * drawn
        return both.index_select(0, chosen_B.to(both.device))


class BatchedLight(Batched):
    """ColorJitter of brightness and contrast, in random order.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness.
        contrast: the same for contrast.
    """

    needs_floats = True

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast

    def draw(self, count: int) -> Tensor:
        """Brightness, contrast, and 1 where contrast comes first, else 0: (B, 3).

        Contrast comes first for the first images, as many as if each were asked on
        its own. Training images come in random order, so for them it is the same.
        """
        is_contrast_first_B = torch.arange(count) < (torch.rand(count) < 0.5).sum()
        factors = _factors(self.brightness, count), _factors(self.contrast, count)
        return torch.stack([*factors, is_contrast_first_B.float()], 1)

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """As torchvision adjusts whole numbers: cut off, rounded down at each step."""
        first = int(drawn[:, 2].sum())
        factors = drawn[:, :2, None].to(images_BCHW.device)
        brightness_B1, contrast_B1 = factors.unbind(1)
        light = images_BCHW.view(len(images_BCHW), 3, -1)
        _contrast_(light[:first], contrast_B1[:first])
        light.flatten(1).mul_(brightness_B1).clamp_max_(255).floor_()
        _contrast_(light[first:], contrast_B1[first:])
        return images_BCHW


def _factors(spread: float, count: int) -> Tensor:
    low = max(0.0, 1.0 - spread)
    return torch.empty(count).uniform_(low, 1.0 + spread)


def _contrast_(light: Tensor, factor_B1: Tensor) -> None:
    """Move images (B, 3, H * W) away from the mean of their grey images."""
    if not len(light):
        return
    weights_B1C = GREY.to(light.device).expand(len(light), 1, -1)
    grey_B1 = torch.bmm(weights_B1C, light).floor_().mean(2)
    shift_B1 = grey_B1.addcmul_(grey_B1, factor_B1, value=-1)
    light.flatten(1).mul_(factor_B1).add_(shift_B1).clamp_(0, 255).floor_()


def prepared(images_BCHW: Tensor, augmentations: Sequence[Batched]) -> Tensor:
    """The uint8 images augmented and normalised: what a model takes, float32."""
    device = images_BCHW.device
    drawn = [a.draw(len(images_BCHW)) for a in augmentations]
    steps = list(zip(augmentations, drawn, strict=True))
    while steps and not steps[0][0].needs_floats:
        augmentation, rows = steps.pop(0)
        images_BCHW = augmentation.augment(images_BCHW, rows)
    out = torch.empty(images_BCHW.shape, dtype=torch.float32, device=device)
    size = len(out)
    if device.type == "cpu":
        size = BLOCK_VALUES // max(1, out[:1].numel()) or 1
    for start in range(0, len(out), size):
        part = slice(start, start + size)
        target = block = out[part].copy_(images_BCHW[part])
        for augmentation, rows in steps:
            block = augmentation.augment(block, rows[part])
        if block.data_ptr() != target.data_ptr():
            target.copy_(block)
        normalise_(target)
    return out
