"""What Lightning's own checkpoint says wrongly, or not at all, about a fit.

Edits of a checkpoint's content and of a module that loads it; Lightning 2.6.6.
"""

import copy
import operator
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torchmetrics import Metric

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

KEY = "sweeper.ExactResume"  # of what is ours in a checkpoint
OPTIMIZERS = "epoch_loop.automatic_optimization.optim_progress"
PARTS = (
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.manual_optimization.optim_step_progress",
)


class Boundary(Enum):
    """Where in a fit a checkpoint is written."""

    START = "start"  # in on_train_epoch_start of the next epoch
    MIDDLE = "middle"  # between two batches
    END = "end"  # in on_train_end


def rewrite(fit_loop: dict[str, Any], boundary: Boundary, epoch: int) -> None:
    """Make the fit loop's state say: `epoch` epochs are done.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`, edited in place.
        boundary: where the checkpoint is written.
        epoch: how many epochs are processed.
    """
    # After one resume at an epoch's start `ready` lags by one, and the second such
    # resume is not taken for a resume: write the progress anew.
    progress = {
        "ready": epoch if boundary is Boundary.END else epoch + 1,
        "started": epoch + 1 if boundary is Boundary.MIDDLE else epoch,
        "processed": epoch,
        "completed": epoch,
    }
    fit_loop["epoch_progress"] = {"total": dict(progress), "current": dict(progress)}
    # A StatefulDataLoader saved at an epoch's end resumes empty.
    fit_loop["state_dict"].pop("combined_loader", None)
    if boundary is Boundary.MIDDLE:
        return
    # The coming epoch has run no batch; else Lightning would skip it.
    for name in PARTS:
        _zero(fit_loop[name]["current"])
    fit_loop["epoch_loop.batch_progress"]["is_last_batch"] = False
    for part in fit_loop[OPTIMIZERS]["optimizer"].values():
        _zero(part["current"])


def last_epoch(trainer: "Trainer", fit_loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the loops still say of the last epoch as the next one starts.

    Args:
        fit_loop: see `rewrite`, which takes it out of there.
    """
    names = (*PARTS, OPTIMIZERS)
    return {
        "progress": {name: copy.deepcopy(fit_loop[name]) for name in names},
        "is_validated": trainer.fit_loop.epoch_loop.val_loop._has_run,
    }


def put_last_epoch(trainer: "Trainer", saved: Mapping[str, Any]) -> None:
    """Put back what `last_epoch` returned, for callbacks that train at such a place.

    A search for a learning rate begins with it. The coming epoch itself does not.
    """
    loop: Any = trainer.fit_loop
    for name, state in saved["progress"].items():
        operator.attrgetter(name)(loop).load_state_dict(state)
    loop.epoch_loop.val_loop._has_run = saved["is_validated"]


def end_restart(trainer: "Trainer", *, within: bool = False) -> None:
    """Have the coming epoch treated as any other, not as one that starts again.

    Lightning would leave out the epoch's ReduceLROnPlateau step, and at the epoch's
    start take the batch before the first one for one that it must validate after.

    Args:
        within: in the middle of an epoch; what is in that epoch does start again.
    """
    fit_loop: Any = trainer.fit_loop
    inner = fit_loop.epoch_loop
    fit_loop._restarting = False
    for progress in (fit_loop.epoch_progress.current, fit_loop.epoch_progress.total):
        # It lags by one after a resume, and a file that the project saves would say so.
        progress.ready = progress.processed + 1
    if not within:
        parts = (inner.val_loop, inner.automatic_optimization)
        for loop in (inner, *parts, inner.manual_optimization):
            loop._restarting = False
            loop.reset_restart_stage()
        fit_loop.reset_restart_stage()


def end_load(trainer: "Trainer") -> None:
    """Have the next fit of a Trainer begin as any other, after one that only loaded."""
    fit_loop: Any = trainer.fit_loop
    inner = fit_loop.epoch_loop
    parts = (inner.val_loop, inner.automatic_optimization, inner.manual_optimization)
    for loop in (fit_loop, inner, *parts):
        loop._restarting = loop._loaded_from_state_dict = False
        loop._resuming_from_checkpoint = False


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


def gradients(module: "LightningModule") -> dict[str, torch.Tensor]:
    """Gradients that a module's own loop may still add to; {} under Lightning's.

    Lightning's loop clears them before each step and always steps at an epoch's end.
    """
    if module.automatic_optimization:
        return {}
    return {
        name: parameter.grad
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def restore_gradients(
    module: "LightningModule", saved: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `gradients` took."""
    for name, parameter in module.named_parameters():
        if name in saved:
            parameter.grad = saved[name].to(parameter.device)


def parameter_groups(trainer: "Trainer") -> list[list[list[str]]]:
    """Return the parameters' names of each group of each optimizer, in order.

    A parameter that the module does not have is "".
    """
    named = trainer.lightning_module.named_parameters()
    names = {id(parameter): name for name, parameter in named}
    return [
        [[names.get(id(p), "") for p in g["params"]] for g in o.param_groups]
        for o in trainer.optimizers
    ]


def regroup(trainer: "Trainer", saved: list[list[list[str]]]) -> None:
    """Give optimizers the groups that training had made of their parameters.

    A thaw adds groups; without them an optimizer's state would not load, or to other
    parameters. Lightning loads the groups' settings afterwards.
    """
    parameters = dict(trainer.lightning_module.named_parameters())
    pairs = zip(trainer.optimizers, saved, parameter_groups(trainer), strict=False)
    for optimizer, groups, now in pairs:
        if groups == now or not all(n in parameters for names in groups for n in names):
            continue
        first = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        optimizer.param_groups = [
            {**first, "params": [parameters[name] for name in names]}
            for names in groups
        ]
