"""What Lightning's own checkpoint says wrongly, or not, about a fit between epochs.

Pure edits of a checkpoint's content; Lightning 2.6.6.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from torchmetrics import Metric

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

PARTS = (
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.manual_optimization.optim_step_progress",
)


class Boundary(Enum):
    """Where between two epochs a checkpoint is written."""

    START = "start"  # in on_train_epoch_start of the next epoch
    END = "end"  # in on_train_end


def rewrite(fit_loop: dict[str, Any], boundary: Boundary, epoch: int) -> None:
    """Make the fit loop's state say: `epoch` epochs are done and no more.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`, edited in place.
        boundary: where the checkpoint is written.
        epoch: how many epochs are processed.
    """
    # After one resume at an epoch's start `ready` lags by one, and the second such
    # resume is not taken for a resume: write the progress anew.
    ready = epoch + 1 if boundary is Boundary.START else epoch
    progress = {
        "ready": ready,
        "started": epoch,
        "processed": epoch,
        "completed": epoch,
    }
    fit_loop["epoch_progress"] = {"total": dict(progress), "current": dict(progress)}
    # A StatefulDataLoader saved at an epoch's end resumes empty.
    fit_loop["state_dict"].pop("combined_loader", None)
    # The coming epoch has run no batch; else Lightning would skip it.
    for name in PARTS:
        _zero(fit_loop[name]["current"])
    fit_loop["epoch_loop.batch_progress"]["is_last_batch"] = False
    optimizers = fit_loop["epoch_loop.automatic_optimization.optim_progress"]
    for part in optimizers["optimizer"].values():
        _zero(part["current"])


def _zero(node: dict[str, Any]) -> None:
    for key, value in node.items():
        if isinstance(value, dict):
            _zero(value)
        else:
            node[key] = 0


def metric_states(module: "LightningModule") -> dict[str, Any]:
    """State of every torchmetrics object in a module; MaxMetric's is not persistent."""
    return {
        name: {"state": metric.metric_state, "updates": metric._update_count}
        for name, metric in module.named_modules()
        if isinstance(metric, Metric)
    }


def restore_metrics(module: "LightningModule", states: Mapping[str, Any]) -> None:
    """Put back what `metric_states` took, by the metrics' names."""
    metrics = dict(module.named_modules())
    for name, saved in states.items():
        metric = metrics.get(name)
        if isinstance(metric, Metric):
            for key, value in saved["state"].items():
                setattr(metric, key, value)
            metric._update_count = saved["updates"]
            metric._computed = None
