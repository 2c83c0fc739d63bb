"""When and what a fit saves, so that it can be killed at any moment and go on.

Between two epochs, and where it is asked for between two batches. The places matter
(Lightning 2.6): a save in on_validation_end crashes EarlyStopping on resume, one in
on_train_epoch_end loses a ReduceLROnPlateau step, since schedulers that step by epoch
do so after that hook. Hence on_train_epoch_start of the next epoch, before any other
callback's, and on_train_end.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sweeper.callbacks import (
    averaging,
    finders,
    loop_state,
    outside,
    own_files,
    randomness,
    running_means,
    saves,
    snapshot,
)
from sweeper.callbacks.fits import Fit
from sweeper.callbacks.inheritance import Settings
from sweeper.callbacks.loop_state import KEY, Boundary
from sweeper.callbacks.step_means import StepMeans
from sweeper.callbacks.tracking import Tracker
from sweeper.host import saved_files
from sweeper.trial import Decision

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

ENDED = "ended.ckpt"


class Paused(BaseException):
    """Ends the trial at an epoch's boundary, its checkpoint written.

    So a trial ends that the sweep pauses, or that the scheduler stopped before a fit.

    A BaseException, so that no `except Exception` of a project takes it for a failure
    of its own.
    """


class Saver:
    """Writes the checkpoints of one fit.

    Attributes:
        has_begun: whether an epoch began in this process: what its checkpoint would
            hold before that is what the process started from.
        epoch_start: where the random streams stood as the running epoch's loader
            began, from where it can be replayed.
        settings: what the optimizers of this fit were made with.
        tracker: what no `state_dict` holds.
        last_epoch: what the loops are to say of the epoch before the first one.
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
        self._position: saved_files.Position = ()
        self._weights: dict[str, torch.Tensor] = {}
        self.begin(step=0)

    def begin(self, *, step: int) -> None:
        """Count steps and minutes from here: what is on disk is up to date."""
        self._saved_step = step
        self._saved_at = self._clock()

    def on_epoch(self, trainer: "Trainer") -> None:
        """Save what the last epoch left, then set the streams of the next one."""
        if self.has_begun:
            self._save(trainer, Boundary.START)
            if self._trial.decision is Decision.PAUSE:
                raise Paused
        self.has_begun = True
        loop_state.end_restart(trainer)
        if self.last_epoch is not None:
            loop_state.put_last_epoch(trainer, self.last_epoch)
            self.last_epoch = None
        seed = self._trial.spec.seed
        randomness.begin_epoch(trainer, seed, fit=self._fit.number)

    def on_batch(self, trainer: "Trainer") -> None:
        """Save between two batches, where enough steps or minutes have passed.

        A pause that a validation within the epoch was answered with begins here.
        """
        is_pausing = self._trial.decision is Decision.PAUSE
        if is_pausing or self.is_due(step=trainer.global_step):
            self._save(trainer, Boundary.MIDDLE)
        if is_pausing:
            raise Paused

    def is_due(self, *, step: int) -> bool:
        """Whether steps or minutes enough have passed since the last save."""
        spec = self._trial.spec
        minutes = (self._clock() - self._saved_at) / 60
        return (
            0 < spec.checkpoint_steps <= step - self._saved_step
            or 0 < spec.checkpoint_minutes <= minutes
        )

    def before_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        """Write what more epochs would go on from, before other callbacks' ends.

        They may replace the weights by an average, which no training continues.
        """
        if trainer.is_global_zero:
            self._position = saves.position(trainer, self._trial)
            self._ended = snapshot.stage(self._dump(trainer, Boundary.END), self.folder)
            self._weights = {
                name: value.detach().cpu().clone()
                for name, value in module.state_dict().items()
                if isinstance(value, torch.Tensor)
            }

    def on_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        """Let it count, now that every other callback has done its work of the end."""
        if self._ended is None:
            return
        changed = {
            name: value.detach().cpu()
            for name, value in module.state_dict().items()
            if name in self._weights
            and not torch.equal(value.cpu(), self._weights[name])
        }
        ended = {"weights": changed, "outside": self.tracker.take_end(trainer)}
        self._fit.void_later()
        snapshot.write(ended, self.folder / ENDED)
        self._commit(self._ended)
        self._ended, self._weights = None, {}

    def put_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        """Give a module of a finished fit what its callbacks left at the fit's end."""
        ended = self.folder / ENDED
        if ended.exists():
            content = torch.load(ended, map_location="cpu", weights_only=False)
            module.load_state_dict({**module.state_dict(), **content["weights"]})
            outside.put(trainer, content["outside"])

    @property
    def step_means(self) -> StepMeans | None:
        """The running means of what the module logs per step."""
        return self._trial.step_means

    def _save(self, trainer: "Trainer", boundary: Boundary) -> None:
        content = self._dump(trainer, boundary)
        self._position = saves.position(trainer, self._trial)
        if trainer.is_global_zero:
            self._fit.void_later()
            self._commit(snapshot.stage(content, self.folder))
        self.begin(step=trainer.global_step)

    def _commit(self, staged: Path) -> None:
        """Make a staged file the newest one, and record which epoch's state it is."""
        paths, last = self._trial.paths, self.folder / snapshot.LAST
        previous = self.folder / snapshot.PREVIOUS
        saved_files.begin(paths, last, previous)
        snapshot.commit(staged)
        saved_files.end_rotation(paths, last, self._position, moved_to=previous)

    def _dump(self, trainer: "Trainer", boundary: Boundary) -> dict[str, Any]:
        self._boundary = boundary
        try:
            return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        finally:
            self._boundary = None

    def add(
        self, trainer: "Trainer", module: "LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        """Correct and complete a checkpoint of ours; leave the project's as it is."""
        if self._boundary is None:
            return
        progress: Any = trainer.fit_loop.epoch_progress.current
        is_end = self._boundary is Boundary.END
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
            # Not that it ended, but that it would not have gone on: a fit that
            # reached max_epochs goes on when there are more.
            "is_stopped": bool(trainer.should_stop) and is_end,
            "is_end": is_end,
            "is_told": self._trial.decision is Decision.STOP,
            "params": dict(self._trial.spec.params),
            "settings": self.settings,
            "batches": trainer.num_training_batches,
            "folder": str(self._trial.paths.folder),
            "memory": own_files.memory(vars(trainer)["callbacks"]),
            "files": own_files.names(self._trial.paths),
            "outside": self.tracker.take(trainer),
            "averaging": averaging.take(trainer),
            "groups": loop_state.parameter_groups(trainer),
            "last_epoch": last_epoch,
            "searches": finders.take(vars(trainer)["callbacks"]),
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
                "means": running_means.take(trainer),
                "step_sums": {} if means is None else means.state(trainer),
            }
