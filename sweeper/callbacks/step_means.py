"""Epoch means of the metrics that a module logs per step only.

Lightning keeps the last step's value of such a metric, which says nothing of an epoch.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class StepMeans:
    """Sums over the batches of the running epoch, kept on the metrics' own device."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[torch.Tensor, int]] = {}
        self._last: dict[str, object] = {}  # none counts twice

    def add(self, trainer: "Trainer") -> None:
        """Add what was logged since the last call, without waiting for the device."""
        for key, result in _results(trainer):
            value = result._forward_cache
            if value is self._last.get(key) or not isinstance(value, torch.Tensor):
                continue
            self._last[key] = value
            name = result.meta.forked_name(on_step=True)
            total, count = self._sums.get(
                name, (torch.zeros((), device=value.device), 0)
            )
            self._sums[name] = (total + value.detach().to(total.dtype), count + 1)

    def take(self, trainer: "Trainer") -> dict[str, float]:
        """Return the means since the last call by name, and begin anew."""
        self.add(trainer)
        means = {name: float(total) / n for name, (total, n) in self._sums.items()}
        self._sums = {}
        return means

    def state(self, trainer: "Trainer") -> dict[str, tuple[torch.Tensor, int]]:
        """Return the sums, for a checkpoint within an epoch."""
        self.add(trainer)
        return {name: (total.cpu(), n) for name, (total, n) in self._sums.items()}

    def restore(
        self, trainer: "Trainer", state: Mapping[str, tuple[torch.Tensor, int]]
    ) -> None:
        """Put back what `state` gave; what the Trainer holds now is in it already."""
        self._sums = {
            name: (total.to(trainer.strategy.root_device), n)
            for name, (total, n) in state.items()
        }
        self._last = {key: result._forward_cache for key, result in _results(trainer)}


def _results(trainer: "Trainer") -> Iterable[tuple[str, Any]]:
    """Yield what the training loop logs per step, by Lightning's own key."""
    results: Mapping[str, Any] = trainer.fit_loop.epoch_loop._results
    return [(key, item) for key, item in results.items() if item.meta.on_step]
