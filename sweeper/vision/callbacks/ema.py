"""An exponential moving average of the weights: evaluated with, saved and resumed.

Lightning's callback does the work; what is ours is the warm-up of the decay, the
device, and that the last checkpoint can still be trained on.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """Averages parameters and buffers after each optimiser step.

    A validation sees the average, a checkpoint's `state_dict` is the average, and so
    are the module's weights after the fit. Training goes on as if there were none.

    Args:
        decay: the most that an old average weighs; see `decay_after`.

    Raises:
        ValueError: a decay out of [0, 1).
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
        """Start the average on the device that will be trained on."""
        # The module itself is moved there only after this hook.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the weights alone: a checkpoint of the end must be resumable."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Forget the average: what a later test loads is not to be swapped."""
        self._average_model = None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resume a fit; a test keeps the average, which is the checkpoint's model."""
        if trainer.state.fn is TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


def decay_after(num_averaged: int, *, decay: float) -> float:
    """The decay of the update that follows `num_averaged` earlier ones.

    It grows with the training, so a short one is averaged over its last tenth and not
    over its start; the formula is that of TensorFlow's ExponentialMovingAverage.

    >>> [round(decay_after(n, decay=0.999), 3) for n in (1, 10, 100, 100_000)]
    [0.182, 0.55, 0.918, 0.999]
    """
    return min(decay, (1 + num_averaged) / (10 + num_averaged))
