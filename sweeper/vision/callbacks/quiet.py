"""Lightning's own callbacks where they would fail or write for nobody.

The progress bar is for a terminal, the learning rate for a logger; without one of
these they are silent.
"""

import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from rich.console import Console


class QuietLearningRateMonitor(LearningRateMonitor):
    """Logs the learning rate; without a logger there is nothing to do."""

    def on_train_start(self, trainer: Trainer, *args: object, **kwargs: object) -> None:
        """Find the names of the schedulers, if they are to be logged."""
        if trainer.loggers:
            super().on_train_start(trainer, *args, **kwargs)


class TerminalProgressBar(RichProgressBar):
    """A bar where stdout is a terminal or a notebook; nothing in a pipe or a file.

    Args:
        refresh_rate: batches between two refreshes; 0 switches the bar off.
        leave: keep the bar of each epoch on the screen.
    """

    def __init__(self, refresh_rate: int = 1, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Switch the bar off where nobody sees it move."""
        if not (sys.stdout.isatty() or Console().is_jupyter):
            self.disable()
        super().setup(trainer, pl_module, stage)
