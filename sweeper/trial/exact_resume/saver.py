"""The saves of one fit, after which it can be killed at any moment and resume.

They are made between two epochs, and between two batches if that is asked for. The
places matter (Lightning 2.6): a save in on_validation_end crashes EarlyStopping on
resume, one in on_train_epoch_end loses a ReduceLROnPlateau step, since schedulers that
step by epoch do so after that hook. Hence on_train_epoch_start of the next epoch,
before any other callback's, and on_train_end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.protocol import Decision
from sweeper.trial import logged_values
from sweeper.trial.compat import lightning as compat
from sweeper.trial.exact_resume import (
    Paused,
    checkpoint_files,
    loop_state,
    randomness,
    searches,
    untracked_state,
)
from sweeper.trial.exact_resume.fits import Fit
from sweeper.trial.exact_resume.loop_state import KEY, Boundary
from sweeper.trial.exact_resume.pbt_restore import Settings
from sweeper.trial.exact_resume.untracked_state import Tracker
from sweeper.trial.libraries import torch
from sweeper.trial.logged_values import StepMeans

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from sweeper.system.saved_files import Position

ENDED = "ended.ckpt"


class Saver:
    """The writer of one fit's checkpoints.

    Attributes:
        has_begun: whether an epoch has begun in this process; before that a checkpoint
            would hold the state that the process started from.
        epoch_start: the random streams as the running epoch's loader began, from which
            it can be replayed.
        settings: the settings that the optimizers of this fit were made with.
        tracker: the state that no `state_dict` holds.
        last_epoch: what the loops are to say about the epoch before the first one.
    """

    def __init__(
        self, fit: Fit, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = fit.folder
        self.has_begun = False
        self.epoch_start: Mapping[str, Any] = {}
        self.settings: Settings = []
        self.tracker = Tracker()
        self.last_epoch: Mapping[str, Any] | None = None
        self._fit = fit
        self._trial = fit.trial
        self._clock = clock
        self._boundary: Boundary | None = None
        self._ended: Path | None = None
        self._position: Position = ()
        self._weights: dict[str, torch.Tensor] = {}
        self.begin(step=0)

    def begin(self, *, step: int) -> None:
        """Count steps and minutes from here: the files on disk are up to date."""
        self._saved_step = step
        self._saved_at = self._clock()

    def on_epoch(self, trainer: Trainer) -> None:
        """Save the state after the last epoch, then seed the next one's streams."""
        if self.has_begun:
            self._save(trainer, Boundary.START)
            if self._trial.decision is Decision.PAUSE:
                raise Paused
        self.has_begun = True
        loop_state.end_restart(trainer)
        if self.last_epoch is not None:
            loop_state.restore_last_epoch(trainer, self.last_epoch)
            self.last_epoch = None
        seed = self._trial.spec.seed
        randomness.begin_epoch(trainer, seed, fit=self._fit.number)

    def on_batch(self, trainer: Trainer) -> None:
        """Save between two batches if enough steps or minutes have passed.

        A pause that was decided at a validation within the epoch begins here.
        """
        is_pausing = self._trial.decision is Decision.PAUSE
        if is_pausing or self.is_due(step=trainer.global_step):
            self._save(trainer, Boundary.MIDDLE)
        if is_pausing:
            raise Paused

    def is_due(self, *, step: int) -> bool:
        """Return whether enough steps or minutes have passed since the last save."""
        spec = self._trial.spec
        minutes = (self._clock() - self._saved_at) / 60
        return (
            0 < spec.checkpoint_steps <= step - self._saved_step
            or 0 < spec.checkpoint_minutes <= minutes
        )

    def before_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stage the final checkpoint before other callbacks' on_train_end.

        An EMA may put in averaged weights there, from which no training can resume.
        """
        if trainer.is_global_zero:
            self._position = checkpoint_files.position(trainer, self._trial)
            content = self._dump(trainer, Boundary.END)
            self._ended = checkpoint_files.stage(content, self.folder)
            self._weights = {
                name: value.detach().cpu().clone()
                for name, value in module.state_dict().items()
                if isinstance(value, torch.Tensor)
            }

    def on_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Commit the staged checkpoint once all other callbacks have finished."""
        if self._ended is None:
            return
        changed = {
            name: value.detach().cpu()
            for name, value in module.state_dict().items()
            if name in self._weights
            and not torch.equal(value.cpu(), self._weights[name])
        }
        ended = {"weights": changed, "untracked": self.tracker.take_end(trainer)}
        self._fit.void_later()
        checkpoint_files.write(ended, self.folder / ENDED)
        paths = self._trial.paths
        checkpoint_files.commit_recorded(self._ended, paths, self._position)
        self._ended, self._weights = None, {}

    def restore_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Give a module of a finished fit the changes of callbacks at the fit's end."""
        if (self.folder / ENDED).exists():
            content = checkpoint_files.read(self.folder / ENDED)
            module.load_state_dict({**module.state_dict(), **content["weights"]})
            untracked_state.put(trainer, content["untracked"])

    @property
    def step_means(self) -> StepMeans | None:
        """Return the running means of the metrics that the module logs per step."""
        return self._trial.step_means

    def _save(self, trainer: Trainer, boundary: Boundary) -> None:
        content = self._dump(trainer, boundary)
        position = checkpoint_files.position(trainer, self._trial)
        if trainer.is_global_zero:
            self._fit.void_later()
            staged = checkpoint_files.stage(content, self.folder)
            checkpoint_files.commit_recorded(staged, self._trial.paths, position)
        self.begin(step=trainer.global_step)

    def _dump(self, trainer: Trainer, boundary: Boundary) -> dict[str, Any]:
        self._boundary = boundary
        try:
            return compat.dump_checkpoint(trainer)
        finally:
            self._boundary = None

    def add(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct and complete a checkpoint of ours; leave the project's unchanged."""
        if self._boundary is None:
            return
        progress: Any = trainer.fit_loop.epoch_progress.current
        is_end = self._boundary is Boundary.END
        callbacks = compat.callbacks(trainer)
        fit_loop = checkpoint["loops"]["fit_loop"]
        last_epoch = loop_state.last_epoch(trainer, fit_loop)
        loop_state.rewrite(fit_loop, self._boundary, progress.processed)
        checkpoint[KEY] = {
            "metrics": loop_state.metric_states(module),
            "gradients": loop_state.gradients(module),
            "logged": {
                name: torch.as_tensor(value).detach().cpu()
                for name, value in trainer.callback_metrics.items()
            },
            # A fit that reached max_epochs is not stopped: it continues if there are
            # more.
            "is_stopped": bool(trainer.should_stop) and is_end,
            "is_end": is_end,
            "is_stopped_by_sweep": self._trial.decision is Decision.STOP,
            "params": dict(self._trial.spec.params),
            "settings": self.settings,
            "batches": trainer.num_training_batches,
            "folder": str(self._trial.paths.folder),
            "memory": checkpoint_files.memory(callbacks),
            "files": checkpoint_files.names(self._trial.paths),
            "untracked": self.tracker.take(trainer),
            "averaging": searches.averaging_state(trainer),
            "groups": loop_state.parameter_groups(trainer),
            "last_epoch": last_epoch,
            "searches": searches.results(callbacks),
            "epochs_before": self._trial.progress.epochs_before,
            "steps_before": self._trial.progress.steps_before,
            "validations": self._trial.progress.validations,
            "validation_names": sorted(self._trial.validation_names),
        }
        if self._boundary is Boundary.MIDDLE:
            batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
            means = self._trial.step_means
            checkpoint[KEY]["middle"] = {
                "batches": batches.ready,
                "start": self.epoch_start,
                "now": randomness.state(trainer),
                "means": logged_values.take(trainer),
                "step_sums": {} if means is None else means.state(trainer),
            }
