"""Statistics of the data: images of each class, and their sizes before scaling.

Only the headers of files are read, and at most 1,000 of a split.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.vision.callbacks.artifacts import (
    BLUE,
    ORANGE,
    Json,
    bars_beside,
    class_bars,
    may_write,
    publish,
    write_json,
)
from sweeper.vision.data import ImageData, Split
from sweeper.vision.dataset import CropDataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLITS: tuple[tuple[Split, str], ...] = (("train", BLUE), ("valid", ORANGE))
MAX_OPENED = 1000  # headers for each split: about a tenth of a second


class DatasetStatistics(Callback):
    """A callback that writes `dataset_statistics.json` and `.png` before training.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count, measure, draw and write; skip data that is not an `ImageData`."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by fit
        if not may_write(trainer) or not isinstance(data, ImageData):
            return
        names = data.class_names
        figure, left, right = bars_beside(names)
        content: dict[str, Json] = {}
        bars: list[tuple[str, list[float], str]] = []
        for split, colour in SPLITS:
            dataset = data.dataset(split)
            counts = np.bincount(dataset.labels, minlength=len(names)).tolist()
            sizes = some_sizes(dataset)
            content[split] = {
                "images": len(dataset),
                "classes": dict(zip(names, counts, strict=True)),
                "largest_to_smallest_class": max(counts) / max(1, min(counts)),
                **summary(sizes),
            }
            bars.append((f"{split}: {len(dataset)}", counts, colour))
            if sizes:
                _scatter(right, sizes, colour=colour)
        class_bars(left, names, bars)
        left.set(ylabel="images", title="classes")
        right.set(xlabel="width (px)", ylabel="height (px)")
        right.set_title("sizes; a larger point is more images")
        right.margins(0.1)  # or large points are clipped at the edge
        right.set(xlim=(0, None), ylim=(0, None))
        write_json(self.folder / "dataset_statistics.json", content)
        publish(trainer, figure, self.folder / "dataset_statistics.png")


def some_sizes(dataset: CropDataset) -> list[tuple[int, int]]:
    """Return width and height of up to `MAX_OPENED` images, evenly spaced."""
    count = min(len(dataset), MAX_OPENED)
    return [dataset.size(index * len(dataset) // count) for index in range(count)]


def summary(sizes: Sequence[tuple[int, int]]) -> dict[str, Json]:
    """Return least, median and greatest width and height in pixels.

    >>> summary([(10, 20), (12, 40), (30, 21)])["width"]
    {'least': 10, 'median': 12.0, 'greatest': 30}
    """
    found: dict[str, Json] = {"measured_images": len(sizes)}
    for name, values in zip(
        ("width", "height"), zip(*sizes, strict=True), strict=False
    ):
        found[name] = {
            "least": min(values),
            "median": float(np.median(values)),
            "greatest": max(values),
        }
    return found


def _scatter(axes: "Axes", sizes: Sequence[tuple[int, int]], *, colour: str) -> None:
    """Draw a point for each size, larger if more images have it."""
    unique, counts = np.unique(np.array(sizes), axis=0, return_counts=True)
    areas = 12 + 300 * counts / counts.sum()
    widths, heights = unique.T
    axes.scatter(widths, heights, s=areas, color=colour, alpha=0.4)
