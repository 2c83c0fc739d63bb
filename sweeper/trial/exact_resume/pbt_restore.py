"""Restoring a child of a population (PBT) from its parent's checkpoint.

Weights, optimizer moments and the progress of loops and schedules are the parent's.
Settings are the child's: of parameter groups, of schedules, of callbacks. A schedule
is moved to where one with the child's settings would be by now.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.trial.libraries import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback

# The observations in the state of ReduceLROnPlateau; all others are settings.
SEEN = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
Settings = list[list[dict[str, Any]]]  # of each group of each optimizer


@dataclass(slots=True)
class OwnSettings:
    """The settings of a fit's config, before a checkpoint replaces them."""

    callbacks: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: Settings = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)

    def take_callbacks(self, callbacks: Iterable[Callback]) -> None:
        """Note the arguments of each callback, in its `setup`."""
        self.callbacks = {
            callback.state_key: _made_with(callback) for callback in callbacks
        }

    def take_optimizers(self, trainer: Trainer) -> None:
        """Note the settings of optimizers and schedules, in `on_fit_start`."""
        self.groups = groups(trainer)
        self.schedules = [
            copy.deepcopy(config.scheduler.state_dict())
            for config in trainer.lr_scheduler_configs
        ]

    def restore_callbacks(self, callbacks: Iterable[Callback]) -> None:
        """Give callbacks their settings again, after their states were loaded."""
        for callback in callbacks:
            vars(callback).update(self.callbacks.get(callback.state_key, {}))

    def restore_optimizers(
        self, trainer: Trainer, *, parent: Settings, batches: float
    ) -> None:
        """Give optimizers and schedules their settings again, in `on_train_start`.

        Args:
            parent: the settings that the parent was made with.
            batches: the parent's batches an epoch.
        """
        loaded = groups(trainer)
        for optimizer, settings in zip(trainer.optimizers, self.groups, strict=True):
            # Groups that a thaw has added are the parent's.
            for group, own in zip(optimizer.param_groups, settings, strict=False):
                group.update(copy.deepcopy(own))
        configs = zip(trainer.lr_scheduler_configs, self.schedules, strict=True)
        for config, fresh in configs:
            scheduler: Any = config.scheduler
            is_plateau = isinstance(
                scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau
            )
            if (
                isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
                and not is_plateau
            ):
                steps = scheduler.last_epoch
                if config.interval == "step":
                    steps = _scaled(steps, batches, by=trainer.num_training_batches)
                _replay(scheduler, fresh, steps=steps)
                continue
            if is_plateau:
                state = scheduler.state_dict()
                seen = {name: state[name] for name in SEEN if name in state}
                scheduler.load_state_dict({**copy.deepcopy(fresh), **seen})
            for optimizer, now, made in zip(
                trainer.optimizers, loaded, parent, strict=False
            ):
                if optimizer is getattr(scheduler, "optimizer", None):
                    _scale_rates(optimizer.param_groups, loaded=now, made=made)


def groups(trainer: Trainer) -> Settings:
    """Return the settings of each parameter group: all but the parameters."""
    return [
        [
            {k: copy.deepcopy(v) for k, v in group.items() if k != "params"}
            for group in optimizer.param_groups
        ]
        for optimizer in trainer.optimizers
    ]


def _made_with(callback: object) -> dict[str, object]:
    """Return the plain arguments that a callback keeps under their names.

    EarlyStopping saves its patience, for example, and would load the parent's.
    """
    names = inspect.signature(type(callback).__init__).parameters
    return {
        name: value
        for name, value in vars(callback).items()
        if name in names and isinstance(value, bool | int | float | str | None)
    }


def _scaled(steps: int, batches: float, *, by: float) -> int:
    """Return a schedule's steps for the same epochs with another number of batches."""
    if not (math.isfinite(batches) and math.isfinite(by)) or batches <= 0:
        return steps
    return round(steps * by / batches)


def _replay(
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    fresh: Mapping[str, Any],
    *,
    steps: int,
) -> None:
    """Step a schedule from its beginning to where a fit with it would be."""
    scheduler.load_state_dict(copy.deepcopy(dict(fresh)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer has stepped before it
        for _ in range(steps - scheduler.last_epoch):
            scheduler.step()


def _scale_rates(
    param_groups: list[dict[str, Any]],
    *,
    loaded: list[dict[str, Any]],
    made: list[dict[str, Any]],
) -> None:
    """Scale the child's rates as a schedule has scaled the parent's."""
    for group, now, before in zip(param_groups, loaded, made, strict=False):
        if before["lr"]:
            group["lr"] *= now["lr"] / before["lr"]
