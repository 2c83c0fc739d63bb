"""Exact resume: a fit that is killed and called again equals one that was not.

Two callbacks of Lightning's: one that comes first and saves, one that comes last and
restores. They leave the project's own checkpoints as they are.
"""

import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import (
    ActiveTrial,
    finders,
    fits,
    guard,
    inheritance,
    loop_state,
    outside,
    own_files,
    randomness,
    replay,
    saves,
)
from sweeper.callbacks.fits import Fit
from sweeper.callbacks.loop_state import KEY
from sweeper.callbacks.saver import Paused, Saver
from sweeper.host import saved_files
from sweeper.trial import Decision

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

__all__ = ["Paused", "make"]

log = logging.getLogger(__name__)


class _FirstHooks:
    """Comes before every callback: what they do next is not saved yet."""

    def __init__(self, last: "_Hooks") -> None:
        self._last = last

    def on_fit_start(self, trainer: "Trainer", _: object) -> None:
        self._last.before_fit(trainer)

    def on_train_epoch_start(self, trainer: "Trainer", _: object) -> None:
        self._last.before_epoch(trainer)

    def on_train_batch_start(self, trainer: "Trainer", *_: object) -> None:
        self._last.before_batch(trainer)

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self._last.saver.before_end(trainer, module)


class _Hooks:
    """Comes after every callback: restores, and says when the fit ends.

    Attributes:
        first: the callback that comes before every other one.
        fit: the running fit of the Trainer.
        saver: what writes its checkpoints.
    """

    first: "Callback"

    def __init__(self, trial: ActiveTrial, *, package: str) -> None:
        self._trial = trial
        self._package = package
        self._start(Fit(trial, 1))

    def begin_fit(self, trainer: "Trainer") -> Fit:
        """Count a fit of this Trainer, before Lightning restores anything."""
        self._start(fits.begin(self._trial, trainer))
        return self.fit

    def _start(self, fit: Fit) -> None:
        self.fit = fit
        self.saver = Saver(fit)
        self._own = inheritance.Own()
        self._restored: Mapping[str, Any] | None = None
        self._position: guard.Position | None = None  # where training has to begin
        self._source = ""  # the checkpoint that says so
        self._is_in_fit = self._is_at_batch = self._has_trained = False
        self._is_resumed = self._is_in_epoch = False
        self._loop: replay.EpochLoop | None = None
        self._sanity_steps: float | None = None  # the Trainer's own number

    @property
    def state_key(self) -> str:
        return KEY

    def setup(self, trainer: "Trainer", module: "LightningModule", stage: str) -> None:
        own_files.keep_inside(trainer, self._trial.paths)
        saves.watch(trainer, self._trial)
        others = [c for c in vars(trainer)["callbacks"] if c is not self.first]
        vars(trainer)["callbacks"] = [self.first, *others]
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
        self._position = guard.of_checkpoint(checkpoint, is_ours=KEY in checkpoint)
        self._source = str(trainer.ckpt_path)
        if KEY in checkpoint:
            loop_state.restore_metrics(module, checkpoint[KEY]["metrics"])
            ours, folder = checkpoint[KEY], str(self._trial.paths.folder)
            for part in ("callbacks", KEY):
                checkpoint[part] = own_files.relocate(
                    checkpoint[part], old=ours["folder"], new=folder
                )
            is_ours = not own_files.is_of(self._trial.parent, trainer.ckpt_path)
            if not is_ours:
                inheritance.own_checkpoints(trainer, checkpoint["callbacks"])
            is_told = ours["is_told"] and not self._trial.spec.is_stopped
            self._restored = {
                **checkpoint[KEY],
                "callbacks": checkpoint["callbacks"],
                "is_stopped": ours["is_stopped"] and is_ours and not is_told,
                "files": ours["files"] if is_ours else (),
                "memory": ours["memory"] if is_ours else {},
                "is_changed": not is_ours
                and ours["params"] != dict(self._trial.spec.params),
            }
            self.saver.tracker.load(ours["outside"])
            finders.silence(vars(trainer)["callbacks"])

    def before_fit(self, trainer: "Trainer") -> None:
        """Look at the fit before any other callback's `on_fit_start`.

        Raises:
            Paused: the trial ends with the fit before this one.
        """
        if self._trial.decision is not Decision.CONTINUE:
            raise Paused
        self._is_in_fit = True
        if self._position is None:
            self._position = guard.of_trainer(trainer)
        self._own.take_optimizers(trainer)
        self.saver.settings = self._own.groups
        self.saver.tracker.begin_fit(trainer)

    def on_fit_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        restored = self._restored
        self.saver.tracker.end_fit_start(trainer)
        if restored is None:
            return
        self._trial.progress.resume(
            epochs_before=restored["epochs_before"],
            steps_before=restored["steps_before"],
        )
        self._trial.progress.validations = restored["validations"]
        self._trial.validation_names |= set(restored["validation_names"])
        finders.wake(vars(trainer)["callbacks"])
        finders.put(vars(trainer)["callbacks"], restored["searches"])
        loop_state.regroup(trainer, restored["groups"])
        self._sanity_steps = trainer.num_sanity_val_steps
        trainer.num_sanity_val_steps = 0  # it would validate with what is restored
        # EarlyStopping and ReduceLROnPlateau read these in an epoch that does
        # not validate.
        trainer._logger_connector._callback_metrics.update(restored["logged"])
        trainer.should_stop = restored["is_stopped"]
        for callback in vars(trainer)["callbacks"]:
            # Some reset themselves in on_fit_start, which for them came before.
            state = restored["callbacks"].get(callback.state_key)
            if state is not None and callback is not self:
                callback.load_state_dict(state)
            if vars(callback).get("_restarting"):  # BaseFinetuning: its groups are made
                vars(callback)["_restarting"] = False
        own_files.remember(vars(trainer)["callbacks"], restored["memory"])
        if restored["is_changed"]:
            self._own.put_back_callbacks(vars(trainer)["callbacks"])

    def on_train_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        restored, self._restored = self._restored, None
        self._has_trained = self._is_at_batch = True
        if trainer.is_global_zero:
            if restored is None:
                saved_files.begin_fit(self._trial.paths)
            known = self.fit.own_files() if restored is None else restored["files"]
            own_files.forget_redone(self._trial.paths, known)
        middle = None if restored is None else restored.get("middle")
        self._is_resumed, self._is_in_epoch = restored is not None, middle is not None
        self.saver.has_begun = self._is_in_epoch
        self.saver.begin(step=trainer.global_step)
        if restored is None:
            batches = trainer.fit_loop.epoch_loop._batches_that_stepped
            self._trial.progress.begin(epoch=trainer.current_epoch, step=batches)
        else:
            loop_state.restore_gradients(module, restored["gradients"])
            if middle is None:
                self.saver.last_epoch = restored["last_epoch"]
            if restored["is_changed"]:
                self._own.put_back_optimizers(
                    trainer,
                    parent=restored["settings"],
                    batches=restored["batches"],
                )
        replay.prepare_validation(trainer)
        outside.put(trainer, self.saver.tracker.saved)  # the loaders begin soon
        self._loop = replay.EpochLoop(
            trainer=trainer,
            saver=self.saver,
            package=self._package,
            middle=middle,
            is_saving=_is_saving_in_epochs(trainer, self._trial),
            callback=self,
        )
        self._loop.attach()

    def before_epoch(self, trainer: "Trainer") -> None:
        """Check the place of the first epoch, then save what the last one left."""
        if not self.saver.has_begun:
            self._begin_training(trainer)
        self.saver.on_epoch(trainer)

    def before_batch(self, trainer: "Trainer") -> None:
        """Check the place of the first batch."""
        if not self._is_at_batch:
            return
        self._is_at_batch = False
        if self._is_in_epoch:
            self._begin_training(trainer)
        else:
            self._check(trainer, may_reset=True)

    def _begin_training(self, trainer: "Trainer") -> None:
        self._check(trainer, may_reset=False)
        self.saver.tracker.begin_training(trainer)

    def _check(self, trainer: "Trainer", *, may_reset: bool) -> None:
        if self._position is not None:
            guard.check(
                self._position,
                trainer,
                source=self._source,
                is_fresh=not self._is_resumed,
                may_reset=may_reset,
            )

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self.saver.on_end(trainer, module)

    def on_fit_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        if not self._has_trained and self._restored is not None:
            self.saver.put_end(trainer, module)
            loop_state.end_load(trainer)
            logged = self._restored["logged"]
            trainer._logger_connector._callback_metrics.update(logged)
            if self._restored["is_told"] and self._restored["is_stopped"]:
                self._trial.decision = Decision.STOP
        if self._has_trained or self._restored is not None:
            batches = trainer.fit_loop.epoch_loop._batches_that_stepped
            self._trial.progress.reach(epoch=trainer.current_epoch, step=batches)
        if self._sanity_steps is not None:
            trainer.num_sanity_val_steps = self._sanity_steps
        if self._loop is not None:
            self._loop.detach()
        self._restored, self._is_in_fit = None, False
        randomness.end_fit(self._trial.spec.seed, fit=self.fit.number)


def make(package: str, trial: ActiveTrial) -> "Callback":
    """The exact-resume callback of `trial` for one Lightning package.

    It is a `Checkpoint` by type, so that it comes after every other callback.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: whose folder is written to and whose decision is obeyed.
    """
    callbacks = importlib.import_module(f"{package}.callbacks")
    own_files.resume_from_ours(package)
    kind = type("ExactResume", (_Hooks, callbacks.Checkpoint), {})
    exact: Callback = kind(trial, package=package)
    vars(exact)["first"] = type("First", (_FirstHooks, callbacks.Callback), {})(exact)
    return exact


def _is_saving_in_epochs(trainer: "Trainer", trial: ActiveTrial) -> bool:
    """Whether checkpoints within an epoch were asked for and can be resumed from."""
    if not trial.spec.checkpoint_steps and not trial.spec.checkpoint_minutes:
        return False
    obstacle = replay.obstacle(trainer)
    if obstacle:
        log.warning(
            "checkpoint: only between epochs, since the training loader cannot be "
            "replayed: %s",
            obstacle,
        )
    return not obstacle
