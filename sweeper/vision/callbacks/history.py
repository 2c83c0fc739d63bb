"""Curves of the metrics of each epoch, over all starts of one training.

Only values of epochs are kept; the loggers have the values of steps.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

from sweeper.vision.callbacks.artifacts import (
    BLUE,
    GREY,
    ORANGE,
    is_observed,
    make_figure,
    may_write,
    publish,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": BLUE, "val": ORANGE}
LEARNING_RATE = "learning_rate"


class History(Callback):
    """A callback that draws `history.png` at the end of the training.

    It has a panel for each metric, with a line for each split.

    Attributes:
        rows: metrics by name, for each epoch from 1.

    Args:
        folder: folder of the picture.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.rows: dict[int, dict[str, float]] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the valid split's metrics."""
        if is_observed(trainer):
            self._note(trainer, "val/")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the train split's metrics and the learning rate."""
        row = self._note(trainer, "train/")
        for optimizer in trainer.optimizers[:1]:
            row[LEARNING_RATE] = float(optimizer.param_groups[0]["lr"])

    def _note(self, trainer: Trainer, prefix: str) -> dict[str, float]:
        # Only one split: the other's values may be those of an earlier epoch.
        row = self.rows.setdefault(trainer.current_epoch + 1, {})
        for name, value in trainer.callback_metrics.items():
            if name.startswith(prefix) and not name.endswith("_step"):
                row[name] = float(value)
        return row

    def state_dict(self) -> dict[str, object]:
        """Return the rows, for a checkpoint."""
        return {"rows": {epoch: dict(row) for epoch, row in self.rows.items()}}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore the rows of a checkpoint."""
        rows = state_dict["rows"]
        assert isinstance(rows, Mapping)  # noqa: S101  # written by state_dict
        self.rows = {int(epoch): dict(row) for epoch, row in rows.items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the curves if there is at least one epoch."""
        if not (may_write(trainer) and self.rows):
            return
        names = panels(name for row in self.rows.values() for name in row)
        columns = min(2, len(names))
        height = -(-len(names) // columns)
        figure = make_figure(width=5.5 * columns, height=3.2 * height)
        for number, (title, metrics) in enumerate(names.items()):
            axes = figure.add_subplot(height, columns, number + 1)
            for metric in metrics:
                _line(axes, metric, self.rows)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.grid(alpha=0.3)
            axes.locator_params(axis="x", integer=True, min_n_ticks=1)
            if title != LEARNING_RATE:
                axes.legend(fontsize=8)
        publish(trainer, figure, self.folder / "history.png")


def panels(names: Iterable[str]) -> dict[str, list[str]]:
    """Group metrics by panel; a panel's name is the metric's name without its split.

    >>> panels(["val/loss", "train/loss", "learning_rate"])
    {'loss': ['train/loss', 'val/loss'], 'learning_rate': ['learning_rate']}
    """
    found: dict[str, list[str]] = {}
    for name in sorted(set(names), key=lambda name: ("/" not in name, name)):
        found.setdefault(name.rpartition("/")[2], []).append(name)
    return found


def _line(axes: "Axes", name: str, rows: Mapping[int, Mapping[str, float]]) -> None:
    """Draw one curve; the best value of the valid split is marked."""
    points = [(epoch, row[name]) for epoch, row in sorted(rows.items()) if name in row]
    finite = [point for point in points if math.isfinite(point[1])]
    split = name.partition("/")[0]
    colour = COLOURS.get(split, GREY)
    label = split
    if split == "val" and finite:
        choose = min if name.endswith("loss") else max
        best = choose(finite, key=lambda point: point[1])
        axes.plot(*best, "o", color=colour)
        label = f"val, best {best[1]:.4g} at epoch {best[0]}"
    axes.plot(*zip(*points, strict=True), ".-", color=colour, label=label)
