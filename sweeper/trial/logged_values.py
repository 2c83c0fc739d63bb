"""Values that `self.log` collects in a running epoch.

Lightning keeps no trace of them in a checkpoint, and of a metric that is logged per
step only it keeps the last value, which says nothing about the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.trial.compat import lightning as compat
from sweeper.trial.compat.torch import metric_state, restore_metric
from sweeper.trial.libraries import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# Arguments of `self.log` that a collected value keeps.
ARGUMENTS = (
    *("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph"),
    *("add_dataloader_idx", "metric_attribute"),
)


def take(trainer: Trainer) -> list[dict[str, Any]]:
    """Return every logged value of the running epoch, as tensors and plain values."""
    return [
        {
            "arguments": {name: getattr(result.meta, name) for name in ARGUMENTS},
            "key": key,
            "reduce_fx": result.meta.reduce_fx.__name__,
            "sync_dist": result.meta.sync.should,
            "rank_zero_only": result.meta.sync.rank_zero_only,
            "step_value": compat.step_value(result),
            "has_reset": result.has_reset,
            **metric_state(result),
        }
        for key, result in compat.logged(trainer).items()
    ]


def restore(trainer: Trainer, saved: Sequence[Mapping[str, Any]]) -> None:
    """Continue the sums that `take` returned: log each metric, then set its sums."""
    results = compat.logged(trainer)
    for entry in saved:
        value = entry["state"].get("value")
        if value is None:  # a torchmetrics object
            attribute = entry["arguments"]["metric_attribute"]
            value = trainer.lightning_module.get_submodule(attribute)
        results.log(
            **entry["arguments"],
            value=value,
            reduce_fx=entry["reduce_fx"],
            sync_dist=entry["sync_dist"],
            sync_dist_fn=trainer.strategy.reduce,
            rank_zero_only=entry["rank_zero_only"],
            batch_size=1,
        )
        result = results[entry["key"]]
        restore_metric(result, entry)
        compat.set_step_value(result, entry["step_value"])
        result.has_reset = entry["has_reset"]
    compat.continue_epoch(trainer)


class StepMeans:
    """Means over the running epoch of metrics that a module logs per step.

    The sums are on the metrics' own device.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[torch.Tensor, int]] = {}
        self._last: dict[str, object] = {}  # so that no value counts twice

    def add(self, trainer: Trainer) -> None:
        """Add the values logged since the last call, without waiting for the device."""
        for key, result in _of_steps(trainer):
            value = compat.step_value(result)
            if value is self._last.get(key) or not isinstance(value, torch.Tensor):
                continue
            self._last[key] = value
            name = result.meta.forked_name(on_step=True)
            zero = torch.zeros((), device=value.device)
            total, count = self._sums.get(name, (zero, 0))
            self._sums[name] = (total + value.detach().to(total.dtype), count + 1)

    def take(self, trainer: Trainer) -> dict[str, float]:
        """Return the means since the last call by name, and start again from zero."""
        self.add(trainer)
        means = {name: float(total) / n for name, (total, n) in self._sums.items()}
        self._sums = {}
        return means

    def state(self, trainer: Trainer) -> dict[str, tuple[torch.Tensor, int]]:
        """Return the sums, for a checkpoint within an epoch."""
        self.add(trainer)
        return {name: (total.cpu(), n) for name, (total, n) in self._sums.items()}

    def restore(
        self, trainer: Trainer, state: Mapping[str, tuple[torch.Tensor, int]]
    ) -> None:
        """Put back what `state` returned, which includes the Trainer's values."""
        device = trainer.strategy.root_device
        self._sums = {name: (total.to(device), n) for name, (total, n) in state.items()}
        self._last = {key: compat.step_value(item) for key, item in _of_steps(trainer)}


def _of_steps(trainer: Trainer) -> Iterable[tuple[str, Any]]:
    """Return what the training loop logs per step, by Lightning's own keys."""
    results = compat.logged(trainer).items()
    return [(key, result) for key, result in results if result.meta.on_step]


def names_in_validation(trainer: Trainer) -> set[str]:
    """Return the names under which validation logs, as callbacks see them."""
    results = compat.logged(trainer, split="val").values()
    names = {result.meta.name for result in results}
    return {
        key
        for key in trainer.callback_metrics
        if key.partition("/dataloader_idx_")[0] in names
    }


def is_logged_in_training(trainer: Trainer, metric: str) -> bool:
    """Return whether this epoch's training loop logged `metric`.

    `trainer.callback_metrics` keeps the values of the last validation, so it cannot
    tell an epoch that measured the objective from one that did not.
    """
    return metric in compat.logged(trainer).metrics(on_step=False)["callback"]
