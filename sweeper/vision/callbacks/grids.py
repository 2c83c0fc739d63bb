"""A grid of small pictures with titles, from the normalised images of batches."""

# K kept images, C channels, H W pixels

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor

from sweeper.vision.callbacks.artifacts import make_figure
from sweeper.vision.images import denormalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK, RED = "#000000", "#b3261e"
MAX_SIDE = 96  # pixels; larger ones would only make checkpoints larger
COLUMNS = 8


def draw_grid(images_KCHW: Tensor, titles: Sequence[tuple[str, str]]) -> "Figure":
    """Draw the images in lines of eight; a title is (text, colour).

    Each title is above its image. A row of it has room for about 16 characters.
    """
    height, width = images_KCHW.shape[-2:]
    lines, gap = -(-len(titles) // COLUMNS), width // 12
    rows = max(title.count("\n") for title, _ in titles) + 1
    head = height * (1 + rows) // 8  # a row of text is an eighth of an image high
    line = height + head
    canvas = torch.full((lines * line, COLUMNS * (width + gap), 3), 255).byte()
    figure = make_figure(width=1.3 * COLUMNS, height=1.3 * lines * line / height)
    axes = figure.add_subplot()  # one: a subplot for each image takes ten times as long
    for number, (title, colour) in enumerate(titles):
        top = number // COLUMNS * line + head
        left = number % COLUMNS * (width + gap)
        image_HWC = images_KCHW[number].permute(1, 2, 0)
        canvas[top : top + height, left : left + width] = image_HWC
        place = (left + width / 2 - 0.5, top - height / 24)
        axes.text(*place, title, color=colour, fontsize=8, ha="center", va="bottom")
    axes.imshow(canvas.numpy(), interpolation="nearest")
    axes.set_axis_off()
    return figure


def thumbnails(images_KCHW: Tensor) -> Tensor:
    """Convert normalised images to uint8 on the CPU, at most `MAX_SIDE` px a side."""
    scale = MAX_SIDE / max(images_KCHW.shape[-2:])
    if scale < 1:
        images_KCHW = F.interpolate(
            images_KCHW.float(), scale_factor=scale, mode="area"
        )
    return denormalise(images_KCHW)
