"""Where callbacks leave files and pictures: a folder, and W&B where it is logged to.

Figures are drawn without pyplot: no global state, no window, no backend to choose.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.types import STEP_OUTPUT

from sweeper.vision.classifier import Outputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | dict[str, Json] | None"

BLUE, ORANGE, GREY = "#2f6fb0", "#d9822b", "#9a9a9a"
MAX_NAMED_CLASSES = 60


def may_write(trainer: Trainer) -> bool:
    """Whether this process leaves files: rank zero, and not in a fast_dev_run."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]  # set in Trainer.__init__


def is_observed(trainer: Trainer) -> bool:
    """Whether a validation counts: the one before training is only a check."""
    return not trainer.sanity_checking


def step_outputs(outputs: STEP_OUTPUT) -> Outputs:
    """What the Classifier's step returned, which Lightning types as any mapping."""
    return cast(Outputs, outputs)


def make_figure(*, width: float, height: float) -> "Figure":
    """An empty figure of so many inches, with its own canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def name_classes(
    axes: "Axes", names: Sequence[str], *, axis: Literal["x", "y"] = "x"
) -> None:
    """Write class names along an axis; smaller if many, left out if too many."""
    chosen = axes.xaxis if axis == "x" else axes.yaxis
    is_turned = axis == "x" and (len(names) > 15 or max(map(len, names)) > 3)
    if len(names) <= MAX_NAMED_CLASSES:
        chosen.set_ticks(range(len(names)), names, rotation=90 if is_turned else 0)
        axes.tick_params(axis=axis, labelsize=7 if len(names) > 25 else 9)


def publish(trainer: Trainer, figure: "Figure", path: Path) -> None:
    """Save a figure as PNG, and as an image of each W&B run that is logged to."""
    replace(path, lambda temporary: figure.savefig(temporary, format="png"))
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=path.stem, images=[str(path)])


def write_json(path: Path, content: Json) -> None:
    """Write `content`, indented."""
    text = json.dumps(content, indent=1) + "\n"
    replace(path, lambda temporary: temporary.write_text(text))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Replace `path` by what `write` makes, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    temporary.replace(path)
