"""Lightning's callbacks that do nothing where they would fail or be useless.

The progress bar needs a terminal, the learning rate monitor a logger.
"""

import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from rich.console import Console


class QuietLearningRateMonitor(LearningRateMonitor):
    """A learning rate monitor that does nothing if there is no logger."""

    def on_train_start(self, trainer: Trainer, *args: object, **kwargs: object) -> None:
        """Find the names of the schedulers if there is a logger."""
        if trainer.loggers:
            super().on_train_start(trainer, *args, **kwargs)


class TerminalProgressBar(RichProgressBar):
    """A progress bar that is disabled if stdout is not a terminal or notebook.

    Args:
        refresh_rate: batches between two refreshes; 0 disables the bar.
        leave: keep the bar of each epoch on the screen.
    """

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Disable the bar outside a terminal and a notebook."""
        if not (sys.stdout.isatty() or Console().is_jupyter):
            self.disable()
        super().setup(trainer, pl_module, stage)
