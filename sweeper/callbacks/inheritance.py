"""What a child of a population takes from its parent's checkpoint, and what not.

Weights, optimizer moments and the progress of loops and schedules are the parent's.
Settings are the child's own: of parameter groups, of schedules, of callbacks. A
schedule is moved to where one of the child's settings would stand by now.
"""

import copy
import inspect
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback

# What ReduceLROnPlateau has seen; all else of its state are settings.
SEEN = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
Settings = list[list[dict[str, Any]]]  # of each group of each optimizer


@dataclass(slots=True)
class Own:
    """A fit's settings as its config has them, before a checkpoint replaces them."""

    callbacks: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: Settings = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)

    def take_callbacks(self, callbacks: "Iterable[Callback]") -> None:
        """Note what each callback was made with, in its `setup`."""
        self.callbacks = {each.state_key: _made_with(each) for each in callbacks}

    def take_optimizers(self, trainer: "Trainer") -> None:
        """Note what optimizers and schedules are made with, in `on_fit_start`."""
        self.groups = groups(trainer)
        self.schedules = [
            copy.deepcopy(config.scheduler.state_dict())
            for config in trainer.lr_scheduler_configs
        ]

    def put_back_callbacks(self, callbacks: "Iterable[Callback]") -> None:
        """Give callbacks their settings again, after their states were loaded."""
        for each in callbacks:
            vars(each).update(self.callbacks.get(each.state_key, {}))

    def put_back_optimizers(
        self, trainer: "Trainer", *, parent: Settings, batches: float
    ) -> None:
        """Give optimizers and schedules their settings again, in `on_train_start`.

        Args:
            parent: the settings that the parent was made with.
            batches: the parent's batches an epoch.
        """
        now = groups(trainer)
        for optimizer, settings in zip(trainer.optimizers, self.groups, strict=True):
            # Groups that a thaw has added are the parent's.
            for group, own in zip(optimizer.param_groups, settings, strict=False):
                group.update(copy.deepcopy(own))
        configs = zip(trainer.lr_scheduler_configs, self.schedules, strict=True)
        for config, fresh in configs:
            scheduler: Any = config.scheduler
            if isinstance(scheduler, LRScheduler) and not isinstance(
                scheduler, ReduceLROnPlateau
            ):
                steps = scheduler.last_epoch
                if config.interval == "step":
                    steps = _scaled(steps, batches, by=trainer.num_training_batches)
                _replay(scheduler, fresh, steps=steps)
                continue
            seen = scheduler.state_dict()
            kept = {name: seen[name] for name in SEEN if name in seen}
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.load_state_dict({**copy.deepcopy(fresh), **kept})
            followed = getattr(scheduler, "optimizer", None)
            _follow(followed, trainer, now=now, parent=parent)


def groups(trainer: "Trainer") -> Settings:
    """The settings of each parameter group: all of it but the parameters."""
    return [
        [
            {
                key: copy.deepcopy(value)
                for key, value in group.items()
                if key != "params"
            }
            for group in optimizer.param_groups
        ]
        for optimizer in trainer.optimizers
    ]


def own_checkpoints(trainer: "Trainer", states: dict[str, Any]) -> None:
    """Have each ModelCheckpoint begin anew: it knows files of the parent's."""
    for callback in trainer.checkpoint_callbacks:
        states.pop(callback.state_key, None)


def _made_with(callback: object) -> dict[str, object]:
    """The plain arguments of a callback that it keeps under their names.

    EarlyStopping saves its patience, for example, and would load the parent's.
    """
    names = inspect.signature(type(callback).__init__).parameters
    return {
        name: value
        for name, value in vars(callback).items()
        if name in names and isinstance(value, bool | int | float | str | None)
    }


def _scaled(steps: int, batches: float, *, by: float) -> int:
    """Steps of a schedule for as many epochs with another number of batches."""
    if not (math.isfinite(batches) and math.isfinite(by)) or batches <= 0:
        return steps
    return round(steps * by / batches)


def _replay(scheduler: LRScheduler, fresh: Mapping[str, Any], *, steps: int) -> None:
    """Step a schedule from its beginning to where a fit of its own would have it."""
    scheduler.load_state_dict(copy.deepcopy(dict(fresh)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no optimizer has stepped before it
        for _ in range(steps - scheduler.last_epoch):
            scheduler.step()


def _follow(
    optimizer: object, trainer: "Trainer", *, now: Settings, parent: Settings
) -> None:
    """Lower the own learning rate by as much as what it saw lowered the parent's."""
    for index, each in enumerate(trainer.optimizers):
        if each is not optimizer:
            continue
        triples = zip(each.param_groups, now[index], parent[index], strict=False)
        for group, current, made in triples:
            if made["lr"]:
                group["lr"] = group["lr"] * (current["lr"] / made["lr"])
