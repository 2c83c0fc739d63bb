"""Corrections to the state of a fit in Lightning's checkpoints (Lightning 2.6).

A checkpoint that is edited says where the fit is; a fit that resumes is compared with
it before it trains. What restores or trains something after a resume, such as a
callback that searches for a learning rate, would otherwise give wrong numbers.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeper.trial.compat import lightning as compat
from sweeper.trial.compat.torch import metric_state, restore_metric
from sweeper.trial.libraries import torch, torchmetrics

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

KEY = "sweeper.ExactResume"  # of our part of a checkpoint
OPTIMIZERS = "epoch_loop.automatic_optimization.optim_progress"
PARTS = (
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.manual_optimization.optim_step_progress",
)


class Boundary(Enum):
    """The place in a fit where a checkpoint is written."""

    START = "start"  # in on_train_epoch_start of the next epoch
    MIDDLE = "middle"  # between two batches
    END = "end"  # in on_train_end


def rewrite(fit_loop: dict[str, Any], boundary: Boundary, epoch: int) -> None:
    """Set the progress of a fit loop's state to `epoch` epochs done.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`, edited in place.
        boundary: where the checkpoint is written.
        epoch: number of epochs that are processed.
    """
    # After one resume at an epoch's start `ready` lags by one, and the second such
    # resume is not taken for a resume: write the whole progress.
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


def last_epoch(trainer: Trainer, fit_loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last epoch's progress, which `rewrite` removes from a checkpoint.

    Args:
        fit_loop: see `rewrite`.
    """
    names = (*PARTS, OPTIMIZERS)
    return {
        "progress": {name: copy.deepcopy(fit_loop[name]) for name in names},
        "is_validated": compat.has_validated(trainer),
    }


def restore_last_epoch(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    """Put back what `last_epoch` returned, for callbacks that train between epochs.

    A search for a learning rate begins with it. The coming epoch itself does not.
    """
    for name, state in saved["progress"].items():
        operator.attrgetter(name)(trainer.fit_loop).load_state_dict(state)
    compat.set_has_validated(trainer, value=saved["is_validated"])


def end_restart(trainer: Trainer, *, within: bool = False) -> None:
    """Have the coming epoch treated as any other, not as one that starts again.

    Lightning would skip the epoch's ReduceLROnPlateau step, count one step too many for
    its loggers, and validate before the first batch.

    Args:
        within: in the middle of an epoch; the loops within that epoch do start again.
    """
    fit_loop, *inner = _loops(trainer)
    is_restarting = within and inner[0].restarting
    fit_loop.restarting = False  # and of every loop within
    inner[0].restarting = is_restarting
    for progress in (fit_loop.epoch_progress.current, fit_loop.epoch_progress.total):
        # It lags by one after a resume, and a file that the project saves would say so.
        progress.ready = progress.processed + 1
    if not within:
        for loop in (fit_loop, *inner):
            loop.reset_restart_stage()


def end_load(trainer: Trainer) -> None:
    """Have the next fit of a Trainer begin as any other, after one that only loaded."""
    for loop in _loops(trainer):
        loop.on_iteration_done()


def _loops(trainer: Trainer) -> tuple[Any, ...]:
    fit_loop: Any = trainer.fit_loop
    epoch = fit_loop.epoch_loop
    parts = (epoch.val_loop, epoch.automatic_optimization, epoch.manual_optimization)
    return (fit_loop, epoch, *parts)


def _zero(node: dict[str, Any]) -> None:
    for key, value in node.items():
        if isinstance(value, dict):
            _zero(value)
        else:
            node[key] = 0


def metric_states(module: LightningModule) -> dict[str, Any]:
    """Return the state of every torchmetrics object; MaxMetric's is not persistent."""
    return {
        name: metric_state(metric)
        for name, metric in module.named_modules()
        if isinstance(metric, torchmetrics.Metric)
    }


def restore_metrics(module: LightningModule, states: Mapping[str, Any]) -> None:
    """Put back what `metric_states` returned, by the metrics' names."""
    metrics = dict(module.named_modules())
    for name, saved in states.items():
        metric = metrics.get(name)
        if isinstance(metric, torchmetrics.Metric):
            restore_metric(metric, saved)


def gradients(module: LightningModule) -> dict[str, torch.Tensor]:
    """Return gradients that manual optimization may still add to, by name.

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
    module: LightningModule, saved: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `gradients` returned."""
    for name, parameter in module.named_parameters():
        if name in saved:
            parameter.grad = saved[name].to(parameter.device)


def parameter_groups(trainer: Trainer) -> list[list[list[str]]]:
    """Return the parameters' names of each group of each optimizer, in order.

    The name of a parameter that the module does not have is "".
    """
    named = trainer.lightning_module.named_parameters()
    names = {id(parameter): name for name, parameter in named}
    return [
        [[names.get(id(p), "") for p in g["params"]] for g in o.param_groups]
        for o in trainer.optimizers
    ]


def regroup(trainer: Trainer, saved: list[list[list[str]]]) -> None:
    """Give optimizers the parameter groups that they had when the state was saved.

    A thaw adds groups; without them an optimizer's state would not load, or load to
    other parameters. Lightning loads the groups' settings afterwards.
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


# ---- the position of a fit, checked after a resume

Counter: TypeAlias = tuple[int, int]  # of an optimizer: most steps, states


class MisplacedFitError(Exception):
    """A fit that is not at the position that it was restored to."""


@dataclass(frozen=True, slots=True)
class FitPosition:
    """The progress of a fit and of its optimizers.

    Attributes:
        epoch: epochs done; None if a file of the project's does not say.
        step: the Trainer's global step.
        counters: for each optimizer the most steps that a parameter has made, and the
            number of parameters that it keeps a state for.
    """

    epoch: int | None
    step: int
    counters: tuple[Counter, ...]

    def differences(self, now: FitPosition) -> str:
        """Return how a fit at `now` differs from this position; "" if it does not."""
        pairs = [("global step", self.step, now.step)]
        if self.epoch is not None and now.epoch is not None:
            pairs.insert(0, ("epoch", self.epoch, now.epoch))
        for index, (old, new) in enumerate(_pairs(self, now)):
            name = f"optimizer {index}"
            pairs += [(f"steps of {name}", old[0], new[0])]
            pairs += [(f"parameters with a state in {name}", old[1], new[1])]
        return ", ".join(
            f"{name} {new} instead of {old}" for name, old, new in pairs if old != new
        )


def position(trainer: Trainer) -> FitPosition:
    """Return the position of a Trainer's fit now."""
    states = [optimizer.state.values() for optimizer in trainer.optimizers]
    return FitPosition(trainer.current_epoch, trainer.global_step, _counters(states))


def saved_position(checkpoint: Mapping[str, Any]) -> FitPosition:
    """Return the position at which a checkpoint puts a fit."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    states = [
        optimizer.get("state", {}).values()
        for optimizer in checkpoint.get("optimizer_states", ())
    ]
    epoch = epochs["completed"] if KEY in checkpoint else None
    return FitPosition(epoch, checkpoint["global_step"], _counters(states))


def check_position(
    expected: FitPosition,
    trainer: Trainer,
    *,
    source: str,
    is_fresh: bool,
    may_reset: bool,
) -> None:
    """Compare a fit with the position that it was restored to, or began at.

    Args:
        expected: that position.
        trainer: the Trainer of the fit.
        source: the checkpoint that was restored, "" if there was none.
        is_fresh: whether nothing was restored; then a hook may load the optimizers.
        may_reset: whether a hook of the epoch may have reset optimizers.

    Raises:
        MisplacedFitError: the fit is elsewhere.
    """
    now = position(trainer)
    if is_fresh:
        expected = replace(expected, counters=now.counters)
    elif may_reset:
        pairs = _pairs(expected, now)
        counters = tuple(new if new == (0, 0) else old for old, new in pairs)
        expected = replace(expected, counters=counters)
    differences = expected.differences(now)
    if differences:
        raise MisplacedFitError(
            f"resume: the fit is not where {source or 'a new fit'} puts it: "
            f"{differences}; a callback or a hook has restored or trained something "
            "since then; remove it, or let it finish before the fit"
        )


def _counters(optimizers: Sequence[Any]) -> tuple[Counter, ...]:
    used = [[s for s in states if isinstance(s, dict) and s] for states in optimizers]
    return tuple(
        (max((int(state.get("step", 0)) for state in states), default=0), len(states))
        for states in used
    )


def _pairs(one: FitPosition, other: FitPosition) -> list[tuple[Counter, Counter]]:
    """Return the counters side by side; a missing optimizer has done nothing."""
    return list(zip_longest(one.counters, other.counters, fillvalue=(0, 0)))
