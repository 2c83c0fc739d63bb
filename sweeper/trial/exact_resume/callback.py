"""Exact resume of Lightning fits: one callback that saves and one that restores.

The first comes before every other callback and saves, the second comes after every
other and restores. They leave the project's own checkpoints unchanged.
"""

import importlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.protocol import Decision
from sweeper.system import saved_files
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compat import lightning as compat
from sweeper.trial.exact_resume import (
    Paused,
    batch_replay,
    checkpoint_files,
    fits,
    loop_state,
    randomness,
    searches,
    untracked_state,
)
from sweeper.trial.exact_resume.fits import Fit
from sweeper.trial.exact_resume.loop_state import KEY
from sweeper.trial.exact_resume.pbt_restore import OwnSettings
from sweeper.trial.exact_resume.saver import Saver

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeState:
    """The state that a fit takes from the checkpoint that it resumes from.

    Attributes:
        saved: our part of the checkpoint, see `Saver.add`.
        callbacks: states of the callbacks by `state_key`.
        is_stopped: whether the fit ends at once, as a callback or the sweep stopped it.
        files: the project's checkpoint files that belong to the state.
        memory: see `checkpoint_files.memory`.
        has_other_params: whether it is the state of a parent with other parameters.
    """

    saved: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    is_stopped: bool = False
    files: Collection[str] = ()
    memory: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_other_params: bool = False


def restore_own(checkpoint: Mapping[str, Any], trial: ActiveTrial) -> ResumeState:
    """Return the state of a trial that resumes from its own checkpoint."""
    saved = checkpoint[KEY]
    # A trial that the sweep has stopped may be promoted and train on.
    is_promoted = saved["is_stopped_by_sweep"] and not trial.spec.is_stopped
    return ResumeState(
        saved=saved,
        callbacks=checkpoint["callbacks"],
        is_stopped=saved["is_stopped"] and not is_promoted,
        files=saved["files"],
        memory=saved["memory"],
    )


def restore_from_parent(
    checkpoint: Mapping[str, Any], trial: ActiveTrial, trainer: "Trainer"
) -> ResumeState:
    """Return the state of a trial that starts from its parent's checkpoint.

    Each ModelCheckpoint starts from nothing: it knows files of the parent's.
    """
    for callback in trainer.checkpoint_callbacks:
        checkpoint["callbacks"].pop(callback.state_key, None)
    return ResumeState(
        saved=checkpoint[KEY],
        callbacks=checkpoint["callbacks"],
        has_other_params=checkpoint[KEY]["params"] != dict(trial.spec.params),
    )


class _FirstHooks:
    """The hooks before every other callback's, whose next changes are not saved yet."""

    def __init__(self, last: "_LastHooks") -> None:
        self._last = last

    def on_fit_start(self, trainer: "Trainer", _: object) -> None:
        self._last.before_fit(trainer)

    def on_train_epoch_start(self, trainer: "Trainer", _: object) -> None:
        self._last.before_epoch(trainer)

    def on_train_batch_start(self, trainer: "Trainer", *_: object) -> None:
        self._last.before_batch(trainer)

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self._last.saver.before_end(trainer, module)


class _LastHooks:
    """The hooks after every other callback's.

    Attributes:
        first: the callback that comes before every other one.
        fit: the running fit of the Trainer.
        saver: the writer of its checkpoints.
    """

    first: "Callback"

    def __init__(self, trial: ActiveTrial) -> None:
        self._trial = trial
        self._start(Fit(trial, 1))

    def begin_fit(self, trainer: "Trainer") -> Fit:
        """Count a fit of this Trainer, before Lightning restores anything."""
        self._start(fits.begin(self._trial, trainer))
        return self.fit

    def _start(self, fit: Fit) -> None:
        self.fit = fit
        self.saver = Saver(fit)
        self._own = OwnSettings()
        self._resumed: ResumeState | None = None
        self._expected: loop_state.FitPosition | None = None  # as training begins
        self._source = ""  # the checkpoint that says so
        self._is_in_fit = self._has_trained = self._is_resumed = False
        self._is_first_batch = self._is_in_epoch = False
        self._loop: batch_replay.EpochLoop | None = None
        self._sanity_steps: float | None = None  # the Trainer's own number

    @property
    def state_key(self) -> str:
        return KEY

    def setup(self, trainer: "Trainer", module: "LightningModule", stage: str) -> None:
        checkpoint_files.keep_inside(trainer, self._trial.paths)
        checkpoint_files.record_saves(trainer, self._trial)
        others = [c for c in compat.callbacks(trainer) if c is not self.first]
        trainer.callbacks = [self.first, *others]  # type: ignore[attr-defined]  # has it
        self._own.take_callbacks(others)

    def on_save_checkpoint(
        self,
        trainer: "Trainer",
        module: "LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
        self.saver.add(trainer, module, checkpoint)

    def on_load_checkpoint(
        self,
        trainer: "Trainer",
        module: "LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
        if trainer.state.fn != "fit" or self._is_in_fit:
            return  # a search puts back its own copy of the fit
        self._expected = loop_state.saved_position(checkpoint)
        self._source = str(trainer.ckpt_path)
        if KEY not in checkpoint:
            return
        trial, old = self._trial, checkpoint[KEY]["folder"]
        for part in ("callbacks", KEY):
            checkpoint[part] = checkpoint_files.relocate(
                checkpoint[part], old=old, new=str(trial.paths.folder)
            )
        if self._is_of_parent():
            self._resumed = restore_from_parent(checkpoint, trial, trainer)
        else:
            self._resumed = restore_own(checkpoint, trial)
        loop_state.restore_metrics(module, checkpoint[KEY]["metrics"])
        self.saver.tracker.load(checkpoint[KEY]["untracked"])
        searches.silence(compat.callbacks(trainer))

    def _is_of_parent(self) -> bool:
        parent = self._trial.parent
        return parent is not None and self._source.startswith(f"{parent.resume}/")

    def before_fit(self, trainer: "Trainer") -> None:
        """Look at the fit before any other callback's `on_fit_start`.

        Raises:
            Paused: the trial ends with the fit before this one.
        """
        if self._trial.decision is not Decision.CONTINUE:
            raise Paused
        self._is_in_fit = True
        if self._expected is None:
            self._expected = loop_state.position(trainer)
        self._own.take_optimizers(trainer)
        self.saver.settings = self._own.groups
        self.saver.tracker.begin_fit(trainer)

    def on_fit_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        self.saver.tracker.end_fit_start(trainer)
        if self._resumed is None:
            return
        resumed, saved = self._resumed, self._resumed.saved
        callbacks = compat.callbacks(trainer)
        self._trial.progress.resume(
            epochs_before=saved["epochs_before"], steps_before=saved["steps_before"]
        )
        self._trial.progress.validations = saved["validations"]
        self._trial.validation_names |= set(saved["validation_names"])
        searches.wake(callbacks)
        searches.restore_results(callbacks, saved["searches"])
        loop_state.regroup(trainer, saved["groups"])
        self._sanity_steps = trainer.num_sanity_val_steps
        trainer.num_sanity_val_steps = 0  # it would validate with restored weights
        # EarlyStopping and ReduceLROnPlateau read these in an epoch that does
        # not validate.
        trainer.callback_metrics.update(saved["logged"])
        trainer.should_stop = resumed.is_stopped
        for callback in callbacks:
            # Some reset themselves in on_fit_start, which they have run before.
            state = resumed.callbacks.get(callback.state_key)
            if state is not None and callback is not self:
                callback.load_state_dict(state)
            compat.end_finetuning_restart(callback)
        checkpoint_files.restore_memory(callbacks, resumed.memory)
        if resumed.has_other_params:
            self._own.restore_callbacks(callbacks)

    def on_train_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        resumed, self._resumed = self._resumed, None
        self._has_trained = self._is_first_batch = True
        self._is_resumed = resumed is not None
        if trainer.is_global_zero:
            if resumed is None:
                saved_files.begin_fit(self._trial.paths)
            files = self.fit.files_before() if resumed is None else resumed.files
            checkpoint_files.forget_redone(self._trial.paths, files)
        middle = None if resumed is None else resumed.saved.get("middle")
        self._is_in_epoch = self.saver.has_begun = middle is not None
        self.saver.begin(step=trainer.global_step)
        if resumed is None:
            self._trial.progress.begin(
                epoch=trainer.current_epoch, step=compat.logger_step(trainer)
            )
        else:
            self._restore_training(trainer, module, resumed)
        batch_replay.prepare_validation(trainer)
        # The loaders begin soon.
        untracked_state.put(trainer, self.saver.tracker.saved)
        self._loop = batch_replay.EpochLoop(
            trainer=trainer,
            saver=self.saver,
            middle=middle,
            is_saving=_is_saving_in_epochs(trainer, self._trial),
            callback=self,
        )
        self._loop.attach()

    def _restore_training(
        self, trainer: "Trainer", module: "LightningModule", resumed: ResumeState
    ) -> None:
        saved = resumed.saved
        loop_state.restore_gradients(module, saved["gradients"])
        if not self._is_in_epoch:
            self.saver.last_epoch = saved["last_epoch"]
        if resumed.has_other_params:
            self._own.restore_optimizers(
                trainer, parent=saved["settings"], batches=saved["batches"]
            )

    def before_epoch(self, trainer: "Trainer") -> None:
        """Check the position of the first epoch, then save the state after the last."""
        if not self.saver.has_begun:
            self._begin_training(trainer)
        self.saver.on_epoch(trainer)

    def before_batch(self, trainer: "Trainer") -> None:
        """Check the position of the first batch."""
        if self._is_first_batch and self._is_in_epoch:
            self._begin_training(trainer)
        elif self._is_first_batch:
            self._check(trainer, may_reset=True)
        self._is_first_batch = False

    def _begin_training(self, trainer: "Trainer") -> None:
        self._check(trainer, may_reset=False)
        self.saver.tracker.begin_training(trainer)

    def _check(self, trainer: "Trainer", *, may_reset: bool) -> None:
        if self._expected is not None:
            loop_state.check_position(
                self._expected,
                trainer,
                source=self._source,
                is_fresh=not self._is_resumed,
                may_reset=may_reset,
            )

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self.saver.on_end(trainer, module)

    def on_fit_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        resumed, self._resumed, self._is_in_fit = self._resumed, None, False
        if not self._has_trained and resumed is not None:
            self.saver.restore_end(trainer, module)
            loop_state.end_load(trainer)
            trainer.callback_metrics.update(resumed.saved["logged"])
            if resumed.saved["is_stopped_by_sweep"] and resumed.is_stopped:
                self._trial.decision = Decision.STOP
        if self._has_trained or resumed is not None:
            self._trial.progress.reach(
                epoch=trainer.current_epoch, step=compat.logger_step(trainer)
            )
        if self._sanity_steps is not None:
            trainer.num_sanity_val_steps = self._sanity_steps
        if self._loop is not None:
            self._loop.detach()
        randomness.end_fit(self._trial.spec.seed, fit=self.fit.number)


def make(package: str, trial: ActiveTrial) -> "Callback":
    """Return the exact-resume callback of `trial` for one Lightning package.

    It is a `Checkpoint` by type, so that it comes after every other callback.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: the trial whose folder is written to and whose decision is obeyed.
    """
    callbacks = importlib.import_module(f"{package}.callbacks")
    fits.resume_each(package)
    last = type("ExactResume", (_LastHooks, callbacks.Checkpoint), {})(trial)
    last.first = type("First", (_FirstHooks, callbacks.Callback), {})(last)
    exact: Callback = last
    return exact


def _is_saving_in_epochs(trainer: "Trainer", trial: ActiveTrial) -> bool:
    """Return whether saves within an epoch are asked for and can be resumed from."""
    if not trial.spec.checkpoint_steps and not trial.spec.checkpoint_minutes:
        return False
    obstacle = batch_replay.obstacle(trainer)
    if obstacle:
        log.warning(
            "checkpoint: only between epochs, since the training loader cannot be "
            "replayed: %s",
            obstacle,
        )
    return not obstacle
