"""Augmentations of whole uint8 batches, many times faster than image by image.

Each one draws the same distribution as the torchvision transform of that name,
independently for each image and from torch's global generator. An epoch is therefore a
function of the seed that it begins with. The augmentations run on the batch's device,
CPU or GPU, with the same operations and the same random numbers.
"""

# B batch, C channels, H W pixels

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sweeper.vision.images import normalise_

GREY = torch.tensor([0.2989, 0.587, 0.114])  # torchvision's weights of the channels
# Values of a block. A block goes through all steps before the next block starts. As
# floats it fits a core's second-level cache; otherwise each step waits for memory.
BLOCK_VALUES = 400_000


class Batched(nn.Module, ABC):
    """A module that takes uint8 batches (B, 3, H, W), or one image (3, H, W).

    Attributes:
        needs_floats: whether `augment` takes float32 only.
    """

    needs_floats: ClassVar[bool] = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the uint8 images, each augmented independently; the input is kept."""
        batch = images[None] if images.ndim == 3 else images
        given = batch.float() if self.needs_floats else batch
        out = self.augment(given, self.draw(len(batch)))
        return out.to(torch.uint8).view(images.shape)

    @abstractmethod
    def draw(self, count: int) -> Tensor:
        """Return the random numbers of `count` images, one row each, on the CPU."""

    @abstractmethod
    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """Return the images, each augmented with its own row of `drawn`.

        Input and output are whole numbers 0 to 255, as uint8 or as float32. A float
        input may be overwritten; a uint8 input is kept.
        """


class BatchedCrop(Batched):
    """A RandomCrop to the image's own size after padding.

    Args:
        padding: pixels on each side; an image moves by at most this many.
        fill: colour of the padding.
    """

    def __init__(self, padding: int, fill: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__()
        if padding < 0:
            raise ValueError(f"BatchedCrop: padding {padding}; must be 0 or more")
        self.padding = padding
        self.fill = torch.tensor(list(fill), dtype=torch.uint8)

    def draw(self, count: int) -> Tensor:
        """Return the first line and column of each crop in the padded image: (B, 2)."""
        return torch.randint(2 * self.padding + 1, (count, 2))

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        pad, device = self.padding, images_BCHW.device
        count, channels, height, width = images_BCHW.shape
        lines, line = height + 2 * pad + 1, width + 2 * pad
        # All pixels of a channel are contiguous, so a crop, with the ends of its lines,
        # is one slice. The extra last line gives the last slice room.
        padded = images_BCHW.new_empty(count, channels, lines, line)
        padded.copy_(self.fill.view(-1, 1, 1))
        padded[:, :, pad : pad + height, pad : pad + width] = images_BCHW
        plane_BC = torch.arange(0, padded.numel(), lines * line)
        corner_B1 = (drawn[:, 0] * line + drawn[:, 1]).view(-1, 1)
        starts_BC = plane_BC.view(count, channels) + corner_B1
        pieces = padded.view(-1).unfold(0, height * line, 1)
        crops = pieces.index_select(0, starts_BC.view(-1).to(device))
        return crops.view(count, channels, height, line)[..., :width]


class BatchedFlip(Batched):
    """A RandomHorizontalFlip.

    Args:
        p: probability that an image is mirrored.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def draw(self, count: int) -> Tensor:
        """Draw for each image if it is mirrored: booleans (B,)."""
        return torch.rand(count) < self.p

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        chosen = drawn.nonzero().view(-1).to(images_BCHW.device)
        out = images_BCHW.clone(memory_format=torch.contiguous_format)
        _words(out)[chosen] = _words(images_BCHW.index_select(0, chosen).flip(-1))
        return out


def _words(images_BCHW: Tensor) -> Tensor:
    """View eight pixels as one int64 if the size allows: copying them is faster."""
    flat = images_BCHW.flatten(1)
    is_even = flat.shape[1] * flat.element_size() % 8 == 0
    return flat.view(torch.int64) if is_even else flat


class BatchedLight(Batched):
    """A ColorJitter of brightness and contrast, in random order.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness.
        contrast: the same for contrast.
    """

    needs_floats = True

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        super().__init__()
        lows = [max(0.0, 1.0 - spread) for spread in (brightness, contrast)]
        self.low = torch.tensor([*lows, 0.0])
        self.high = torch.tensor([1.0 + brightness, 1.0 + contrast, 1.0])

    def draw(self, count: int) -> Tensor:
        """Return brightness, contrast and order of each image: (B, 3).

        Contrast comes before brightness where the order is below 0.5. The orders are
        sorted, so these are the first images of the batch. Their number is the same
        as without sorting; the images of a training batch are in random order.
        """
        drawn = torch.lerp(self.low, self.high, torch.rand(count, 3))
        drawn[:, 2] = drawn[:, 2].sort().values
        return drawn

    def augment(self, images_BCHW: Tensor, drawn: Tensor) -> Tensor:
        """Adjust as torchvision does for integers: clamp, round down at each step."""
        first = int((drawn[:, 2] < 0.5).sum())
        factors = drawn[:, :2, None].to(images_BCHW.device)
        brightness_B1, contrast_B1 = factors.unbind(1)
        light = images_BCHW.view(len(images_BCHW), 3, -1)
        _contrast_(light[:first], contrast_B1[:first])
        light.flatten(1).mul_(brightness_B1).clamp_max_(255).floor_()
        _contrast_(light[first:], contrast_B1[first:])
        return images_BCHW


def _contrast_(light: Tensor, factor_B1: Tensor) -> None:
    """Scale the distance of images (B, 3, H * W) from their mean grey, in place."""
    if not len(light):
        return
    weights_B1C = GREY.to(light.device).expand(len(light), 1, -1)
    grey_B1 = torch.bmm(weights_B1C, light).floor_().mean(2)
    shift_B1 = grey_B1.addcmul_(grey_B1, factor_B1, value=-1)
    light.flatten(1).mul_(factor_B1).add_(shift_B1).clamp_(0, 255).floor_()


def prepared(images_BCHW: Tensor, augmentations: Sequence[Batched]) -> Tensor:
    """Augment and normalise uint8 images; return float32 images for a model."""
    device = images_BCHW.device
    out = torch.empty(images_BCHW.shape, dtype=torch.float32, device=device)
    size = len(out)
    if device.type == "cpu":
        size = BLOCK_VALUES // max(1, out[:1].numel()) or 1
    with (
        torch.inference_mode()
    ):  # saves a tenth of the time; `out` is an ordinary tensor
        drawn = [a.draw(len(out)) for a in augmentations]
        for start in range(0, len(out), size):
            part = slice(start, start + size)
            rows = [each[part] for each in drawn]
            _prepare(out[part], images_BCHW[part], augmentations, rows)
    return out


def _prepare(
    out: Tensor,
    images_BCHW: Tensor,
    augmentations: Sequence[Batched],
    drawn: Sequence[Tensor],
) -> None:
    """Fill `out`; steps that need floats work in it."""
    for augmentation, rows in zip(augmentations, drawn, strict=True):
        if augmentation.needs_floats and not images_BCHW.is_floating_point():
            images_BCHW = out.copy_(images_BCHW)
        images_BCHW = augmentation.augment(images_BCHW, rows)
    if images_BCHW.data_ptr() != out.data_ptr():
        out.copy_(images_BCHW)
    normalise_(out)
