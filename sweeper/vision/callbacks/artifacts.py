"""Files and figures of callbacks, written to a folder and logged to W&B.

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
MAX_NAMED_CLASSES = 110  # more names than this are too small to read
MAX_NAME_LENGTH = 24


def may_write(trainer: Trainer) -> bool:
    """Return True if this process writes files: rank zero, not in a fast_dev_run."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]  # set in Trainer.__init__


def is_observed(trainer: Trainer) -> bool:
    """Return True if a validation counts; the sanity check before training does not."""
    return not trainer.sanity_checking


def step_outputs(outputs: STEP_OUTPUT) -> Outputs:
    """Cast the result of the Classifier's step, which Lightning types as a mapping."""
    return cast(Outputs, outputs)


def make_figure(*, width: float, height: float) -> "Figure":
    """Make an empty figure, its size in inches, with its own canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def name_classes(
    axes: "Axes", names: Sequence[str], *, axis: Literal["x", "y"] = "x"
) -> None:
    """Write class names along an axis: in small type if many, only some if too many."""
    chosen = axes.xaxis if axis == "x" else axes.yaxis
    step = -(-len(names) // MAX_NAMED_CLASSES)
    shown = [shorten(name, length=MAX_NAME_LENGTH) for name in names[::step]]
    is_turned = axis == "x" and (len(names) > 15 or max(map(len, shown)) > 3)
    chosen.set_ticks(range(0, len(names), step), shown, rotation=90 if is_turned else 0)
    axes.tick_params(axis=axis, labelsize=7 if len(shown) > 25 else 9)


def shorten(name: str, *, length: int) -> str:
    """Return the name without its middle part if it is longer than `length`.

    >>> shorten("unreadable number", length=12)
    'unrea..umber'
    """
    if len(name) <= length:
        return name
    kept = length - len("..")
    return f"{name[: kept - kept // 2]}..{name[-(kept // 2) :]}"


def class_bars(
    axes: "Axes",
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], str]],
) -> None:
    """Draw bars of two series for each class; a series is (label, heights, colour)."""
    for number, (label, heights, colour) in enumerate(series):
        places = [place + 0.4 * number - 0.2 for place in range(len(names))]
        axes.bar(places, heights, width=0.4, color=colour, label=label)
    name_classes(axes, names)
    axes.set_xlim(-0.8, len(names) - 0.2)
    axes.margins(y=0.15)  # room for the legend
    axes.legend(fontsize=8, ncols=2, loc="upper right")


def bars_beside(names: Sequence[str]) -> "tuple[Figure, Axes, Axes]":
    """Make a figure with a panel for bars of each class, and a panel to its right."""
    width = min(24.0, max(5.5, 0.15 * len(names)))
    figure = make_figure(width=width + 5.5, height=4.2)
    left, right = figure.subplots(1, 2, width_ratios=[width, 5.5])
    return figure, left, right


def publish(trainer: Trainer, figure: "Figure", path: Path) -> None:
    """Save a figure as PNG and log it to each W&B logger."""
    replace(path, lambda temporary: figure.savefig(temporary, format="png"))
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key=path.stem, images=[str(path)])


def write_json(path: Path, content: Json) -> None:
    """Write `content` as indented JSON."""
    text = json.dumps(content, indent=1) + "\n"
    replace(path, lambda temporary: temporary.write_text(text))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Replace `path` atomically by the file that `write` makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    temporary.replace(path)
