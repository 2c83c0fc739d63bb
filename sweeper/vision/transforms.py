"""Augmentations that torchvision does not have; conf/transforms has recipes.

Each takes a uint8 image (C, H, W) and draws from torch's global generator only.
"""

# C channels, H W pixels

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv


class LowResolution(nn.Module):
    """A low-resolution image: it is shrunk and scaled back, like a distant crop.

    Args:
        min_scale: smallest share of the side that is kept, in (0, 1].
        p: probability that an image is changed.
    """

    def __init__(self, min_scale: float = 0.4, p: float = 0.5) -> None:
        super().__init__()
        if not 0 < min_scale <= 1:
            raise ValueError(f"LowResolution: min_scale {min_scale}; must be in (0, 1]")
        self.min_scale = min_scale
        self.p = p

    def forward(self, image_CHW: Tensor) -> Tensor:
        """Return the image at the same size with less detail, or unchanged."""
        chance, scale = torch.rand(2).tolist()
        if chance >= self.p:
            return image_CHW
        height, width = image_CHW.shape[-2:]
        share = self.min_scale + (1 - self.min_scale) * scale
        small = [max(1, round(height * share)), max(1, round(width * share))]
        shrunk = tv.resize(image_CHW, small, antialias=True)
        restored: Tensor = tv.resize(shrunk, [height, width], antialias=True)
        return restored
