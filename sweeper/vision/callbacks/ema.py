"""An exponential moving average of the weights that is evaluated, saved and resumed.

It extends Lightning's callback: the decay has a warm-up, the average starts on the
training device, and training can resume from the last checkpoint.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """A callback that averages parameters and buffers after each optimiser step.

    Validation uses the average. A checkpoint's `state_dict` and the module's weights
    after the fit are the average. The training itself does not change.

    Args:
        decay: largest weight of the old average; see `decay_after`.

    Raises:
        ValueError: the decay is outside [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema.decay: {decay}; must be in [0, 1)")
        self.decay = decay
        super().__init__(multi_avg_fn=self._update)

    def _update(
        self, averages: list[Tensor], currents: list[Tensor], num_averaged: Tensor
    ) -> None:
        if averages[0].is_floating_point():
            decay = decay_after(int(num_averaged), decay=self.decay)
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            update(averages, currents, num_averaged)
            return
        for average, current in zip(averages, currents, strict=True):
            average.copy_(current)  # a count has no average

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the average on the device of the training."""
        # Lightning moves the module there only after this hook.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the trained weights, so that training can resume from them."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the average into the module."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Drop the average, so that a later test keeps the weights that it loads."""
        self._average_model = None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the average for a fit only; a test loads the averaged weights."""
        if trainer.state.fn is TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


def decay_after(num_averaged: int, *, decay: float) -> float:
    """Return the decay of the update that follows `num_averaged` earlier ones.

    It grows during training, so a short training is averaged over its last tenth and
    not over its start. The formula is that of TensorFlow's ExponentialMovingAverage.

    >>> [round(decay_after(n, decay=0.999), 3) for n in (1, 10, 100, 100_000)]
    [0.182, 0.55, 0.918, 0.999]
    """
    return min(decay, (1 + num_averaged) / (10 + num_averaged))
