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
    inheritance,
    loop_state,
    own_files,
    replay,
    saves,
)
from sweeper.callbacks.loop_state import KEY
from sweeper.callbacks.saver import Paused, Saver
from sweeper.host import saved_files

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback

__all__ = ["Paused", "make"]

log = logging.getLogger(__name__)


class _FirstHooks:
    """Comes before every callback: what they do next is not saved yet."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver

    def on_train_epoch_start(self, trainer: "Trainer", _: object) -> None:
        self._saver.on_epoch(trainer)

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self._saver.before_end(trainer, module)


class _Hooks:
    """Comes after every callback: restores, and says when the fit ends.

    Args:
        first: the callback that comes before every other one.
    """

    def __init__(
        self, trial: ActiveTrial, saver: Saver, first: "Callback", *, package: str
    ) -> None:
        self.paths = trial.paths
        self.parent = trial.parent
        self._trial = trial
        self._saver = saver
        self._first = first
        self._package = package
        self._own = inheritance.Own()
        self._restored: Mapping[str, Any] | None = None
        self._has_trained = False

    @property
    def state_key(self) -> str:
        return KEY

    def setup(self, trainer: "Trainer", module: "LightningModule", stage: str) -> None:
        own_files.keep_inside(trainer, self._trial.paths)
        saves.watch(trainer, self._trial)
        others = [c for c in vars(trainer)["callbacks"] if c is not self._first]
        vars(trainer)["callbacks"] = [self._first, *others]
        self._own.take_callbacks(others)

    def on_save_checkpoint(
        self,
        trainer: "Trainer",
        module: "LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
        self._saver.add(trainer, module, checkpoint)

    def on_load_checkpoint(
        self,
        trainer: "Trainer",
        module: "LightningModule",
        checkpoint: dict[str, Any],
    ) -> None:
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

    def on_fit_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        restored = self._restored
        self._own.take_optimizers(trainer)
        self._saver.settings = self._own.groups
        self._has_trained = False
        known = () if restored is None else restored["files"]
        if trainer.is_global_zero:
            own_files.forget_redone(self._trial.paths, known)
        if restored is None:
            return
        # EarlyStopping and ReduceLROnPlateau read these in an epoch that does
        # not validate.
        trainer._logger_connector._callback_metrics.update(restored["logged"])
        trainer.should_stop = restored["is_stopped"]
        for callback in vars(trainer)["callbacks"]:
            # Some reset themselves in on_fit_start, which for them came before.
            state = restored["callbacks"].get(callback.state_key)
            if state is not None and callback is not self:
                callback.load_state_dict(state)
        own_files.remember(vars(trainer)["callbacks"], restored["memory"])
        if restored["is_changed"]:
            self._own.put_back_callbacks(vars(trainer)["callbacks"])

    def on_train_start(self, trainer: "Trainer", module: "LightningModule") -> None:
        restored, self._restored = self._restored, None
        self._has_trained = True
        if restored is None and trainer.is_global_zero:
            saved_files.begin_fit(self._trial.paths)
        middle = None if restored is None else restored.get("middle")
        self._saver.has_begun = middle is not None
        self._saver.begin(step=trainer.global_step)
        if restored is not None:
            loop_state.restore_gradients(module, restored["gradients"])
            if restored["is_changed"]:
                self._own.put_back_optimizers(
                    trainer,
                    parent=restored["settings"],
                    batches=restored["batches"],
                )
        replay.prepare_validation(trainer)
        replay.EpochLoop(
            trainer=trainer,
            saver=self._saver,
            package=self._package,
            middle=middle,
            is_saving=_is_saving_in_epochs(trainer, self._trial),
        ).attach()

    def on_train_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        self._saver.on_end(module)

    def on_fit_end(self, trainer: "Trainer", module: "LightningModule") -> None:
        if not self._has_trained and self._restored is not None:
            self._saver.put_end(module)
        self._restored = None


def make(package: str, trial: ActiveTrial) -> "Callback":
    """The exact-resume callback of `trial` for one Lightning package.

    It is a `Checkpoint` by type, so that it comes after every other callback.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: whose folder is written to and whose decision is obeyed.
    """
    callbacks = importlib.import_module(f"{package}.callbacks")
    own_files.resume_from_ours(package)
    saver = Saver(trial)
    first = type("First", (_FirstHooks, callbacks.Callback), {})(saver)
    exact: Callback = type("ExactResume", (_Hooks, callbacks.Checkpoint), {})(
        trial, saver, first, package=package
    )
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
