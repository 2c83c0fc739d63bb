"""The callback that reports each epoch of a Lightning fit and obeys the decision.

It saves nothing; `exact_resume` does, after the report of the same epoch.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeper.protocol import Decision, Report
from sweeper.trial import logged_values
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compat import lightning as compat
from sweeper.trial.correctness import ValidationPass
from sweeper.trial.logged_values import StepMeans
from sweeper.trial.one_batch import limit_batches

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback


class _Hooks:
    """The hooks of a reporter, for a callback of either package."""

    def __init__(self, trial: ActiveTrial) -> None:
        self._trial = trial
        self._means = trial.step_means = StepMeans()
        self._is_validated = False
        self._validated: dict[str, float] = {}  # values that the last validation logged
        self._correctness = ValidationPass()

    def on_validation_start(self, trainer: "Trainer", _: "LightningModule") -> None:
        self._correctness = ValidationPass()

    def on_validation_batch_end(
        self,
        trainer: "Trainer",
        _: "LightningModule",
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.world_size == 1 and dataloader_idx == 0:
            self._correctness.add(outputs)

    def on_train_batch_end(
        self,
        trainer: "Trainer",
        _: "LightningModule",
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        self._means.add(trainer)

    def setup(self, trainer: "Trainer", _: "LightningModule", stage: str) -> None:
        if self._trial.spec.max_batches:
            limit_batches(trainer, self._trial.spec.max_batches)
        if self._trial.run is not None and stage == "fit":
            names = {type(logger).__name__ for logger in trainer.loggers}
            self._trial.run.use_trainer(
                has_logger="WandbLogger" in names, fit=self._trial.progress.fit
            )

    def on_validation_end(self, trainer: "Trainer", _: "LightningModule") -> None:
        if trainer.state.fn != "fit":
            return
        names = logged_values.names_in_validation(trainer)
        self._trial.validation_names |= names
        if trainer.sanity_checking:
            return
        self._validated = {k: v for k, v in _values(trainer).items() if k in names}
        self._is_validated = True
        if self._is_within_epochs(trainer) and self._trial.spec.metric in names:
            # Each validation is a report; its number stands for the epoch.
            means = self._take_means(trainer)
            self._trial.progress.validations += 1
            number = self._trial.progress.validations
            self._is_validated = False
            self._report(trainer, number, means | self._validated, means=means)

    def _take_means(self, trainer: "Trainer") -> dict[str, float]:
        """Return the step means of names that only training logs.

        A name that validation logs as well has the validation's value.
        """
        means = self._means.take(trainer)
        names = self._trial.validation_names
        return {name: value for name, value in means.items() if name not in names}

    @staticmethod
    def _is_within_epochs(trainer: "Trainer") -> bool:
        """Return whether validations come at steps, not at the ends of epochs."""
        if trainer.check_val_every_n_epoch is None:
            return True
        batches = trainer.val_check_batch
        return batches is not None and batches < trainer.num_training_batches

    def on_train_epoch_end(self, trainer: "Trainer", _: "LightningModule") -> None:
        progress = self._trial.progress
        batches = compat.logger_step(trainer)
        progress.reach(epoch=trainer.current_epoch + 1, step=batches)
        metric, names = self._trial.spec.metric, self._trial.validation_names
        if self._is_within_epochs(trainer) and metric in names:
            return
        means = self._take_means(trainer)
        logged = _values(trainer) | means
        metrics: dict[str, float] = {}
        if self._is_validated:
            metrics = logged | self._validated
        elif metric in means or (
            metric not in names and logged_values.is_logged_in_training(trainer, metric)
        ):  # what validation logged is of an earlier epoch
            metrics = {k: v for k, v in logged.items() if k not in names}
        self._is_validated = False
        self._report(trainer, progress.epochs, metrics, means=means)

    def _report(
        self,
        trainer: "Trainer",
        number: int,
        metrics: Mapping[str, float],
        *,
        means: Mapping[str, float],
    ) -> None:
        if not trainer.is_global_zero:
            return
        correctness = self._correctness if metrics else ValidationPass()
        spec, progress = self._trial.spec, self._trial.progress
        # What Lightning's loggers call the step of these metrics.
        batches = compat.logger_step(trainer)
        has_objectives = {spec.metric, *spec.more_metrics} <= metrics.keys()
        report = Report(
            epoch=number,
            metrics=metrics,
            step=progress.steps_before + batches - 1,
            correct=correctness.correct(),
            order=correctness.order(),
            has_objectives=has_objectives,
            is_mean=spec.metric in means,
            logged=() if has_objectives else tuple(sorted({*_values(trainer), *means})),
        )
        if self._trial.report(report) is Decision.STOP:
            trainer.should_stop = True


def make(package: str, trial: ActiveTrial) -> "Callback":
    """Return the reporter of `trial` as a callback of one Lightning package.

    It is a `Checkpoint` by type only: those run after the module's own hooks. In
    on_train_epoch_end Lightning calls plain callbacks before the module, whose hook may
    still log the objective.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: the trial that reports.
    """
    base: type[Callback] = importlib.import_module(f"{package}.callbacks").Checkpoint
    reporter: Callback = type("Reporter", (_Hooks, base), {})(trial)
    return reporter


def _values(trainer: "Trainer") -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
