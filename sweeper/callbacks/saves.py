"""Records each checkpoint that a Trainer saves: which epoch's weights it holds.

Every way to save goes through `Trainer.save_checkpoint`: a ModelCheckpoint's, a
project's own callback's, a call after the fit.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import ActiveTrial
from sweeper.host import saved_files
from sweeper.host.saved_files import Position

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def position(trainer: "Trainer", trial: ActiveTrial) -> Position:
    """Return where in the training a Trainer is: fit, optimizer steps, batches done.

    Equal positions mean equal weights. The batches tell an epoch without any step, as
    StochasticWeightAveraging adds one, from the epoch before it.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
    return trial.progress.fit, trainer.global_step, batches


def watch(trainer: "Trainer", trial: ActiveTrial) -> None:
    """Have a Trainer's saves and the trial's reports recorded from now on."""

    def on_epoch(epoch: int) -> None:
        if trainer.is_global_zero:
            saved_files.report(trial.paths, epoch, position(trainer, trial))

    trial.on_epoch = on_epoch
    if "save_checkpoint" in vars(trainer):
        return  # a second fit of one Trainer
    original = trainer.save_checkpoint

    def save_checkpoint(filepath: Any, *args: Any, **kwargs: Any) -> None:
        path = Path(filepath).absolute()
        is_ours = trial.paths.folder in path.parents and trainer.is_global_zero
        if is_ours:
            saved_files.begin(trial.paths, path)
        original(filepath, *args, **kwargs)
        if is_ours:
            value = _just_measured(trainer, trial.spec.metric)
            saved_files.end(trial.paths, path, position(trainer, trial), value=value)

    trainer.save_checkpoint = save_checkpoint  # type: ignore[method-assign]  # as above


def _just_measured(trainer: "Trainer", metric: str) -> float | None:
    """Return the objective of the validation that runs or has just ended, if any."""
    value = trainer.callback_metrics.get(metric)
    return float(value) if trainer.validating and value is not None else None
