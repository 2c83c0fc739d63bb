"""Reports each epoch of a Lightning fit and obeys the decision.

It saves nothing; `checkpoint` does, after the report of the same epoch.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import ActiveTrial
from sweeper.callbacks.answers import Answers
from sweeper.callbacks.one_batch import limit_batches
from sweeper.callbacks.step_means import StepMeans
from sweeper.protocol import Decision, Report

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Callback


class _Hooks:
    """What a reporter does, whichever package's callback it is."""

    def __init__(self, trial: ActiveTrial) -> None:
        self._trial = trial
        self._means = trial.step_means = StepMeans()
        self._is_validated = False
        self._validated: dict[str, float] = {}  # what the last validation logged
        self._answers = Answers()
        self._stepped: int | None = None  # the loggers' step that a fit resumes at

    def on_validation_start(self, trainer: "Trainer", _: "LightningModule") -> None:
        self._answers = Answers()

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
            self._answers.add(outputs)

    def on_load_checkpoint(
        self, trainer: "Trainer", _: "LightningModule", checkpoint: dict[str, Any]
    ) -> None:
        fit_loop = checkpoint.get("loops", {}).get("fit_loop", {})
        batches = fit_loop.get("epoch_loop.batch_progress", {}).get("current", {})
        if trainer.state.fn == "fit" and batches.get("ready") == 0:
            state = fit_loop["epoch_loop.state_dict"]
            self._stepped = state["_batches_that_stepped"]

    def on_train_epoch_start(self, trainer: "Trainer", _: "LightningModule") -> None:
        # Where an epoch ends with a validation, the first round of the resumed one
        # runs no batch, and counts (Lightning 2.6).
        fit_loop: Any = trainer.fit_loop
        loop = fit_loop.epoch_loop
        if self._stepped is not None and loop.restarting:
            is_counted = loop._should_check_val_fx(fit_loop._data_fetcher)
            loop._batches_that_stepped = self._stepped - is_counted

    def on_train_batch_start(
        self, trainer: "Trainer", _: "LightningModule", batch: Any, batch_idx: int
    ) -> None:
        if self._stepped is not None:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._stepped
            self._stepped = None

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
        names = _names_of_validation(trainer)
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
        """Return the step means of names that training alone logs.

        A name that validation logs, too, has the validation's value and no other.
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
        batches = trainer.fit_loop.epoch_loop._batches_that_stepped
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
            metric not in names and _is_logged_in_training(trainer, metric)
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
        known = self._answers if metrics else Answers()
        spec, progress = self._trial.spec, self._trial.progress
        # What Lightning's loggers call the step of these metrics.
        batches = trainer.fit_loop.epoch_loop._batches_that_stepped
        has_objectives = {spec.metric, *spec.more_metrics} <= metrics.keys()
        report = Report(
            epoch=number,
            metrics=metrics,
            step=progress.steps_before + batches - 1,
            correct=known.correct(),
            order=known.order(),
            has_objectives=has_objectives,
            is_mean=spec.metric in means,
            logged=() if has_objectives else tuple(sorted({*_values(trainer), *means})),
        )
        if self._trial.report(report) is Decision.STOP:
            trainer.should_stop = True


def make(package: str, trial: ActiveTrial) -> "Callback":
    """The reporter of `trial` as a callback of one Lightning package.

    It is a `Checkpoint` by type only: those run after the module's own hooks. In
    on_train_epoch_end Lightning calls plain callbacks before the module, whose hook may
    still log the objective.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        trial: where reports go and decisions come from.
    """
    base: type[Callback] = importlib.import_module(f"{package}.callbacks").Checkpoint
    reporter: Callback = type("Reporter", (_Hooks, base), {})(trial)
    return reporter


def _values(trainer: "Trainer") -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _names_of_validation(trainer: "Trainer") -> set[str]:
    """Return the names under which validation logs, as the callbacks see them."""
    loop: Any = trainer.fit_loop.epoch_loop
    names = {result.meta.name for result in loop.val_loop._results.values()}
    return {
        key
        for key in trainer.callback_metrics
        if key.partition("/dataloader_idx_")[0] in names
    }


def _is_logged_in_training(trainer: "Trainer", metric: str) -> bool:
    """Whether this epoch's training loop logged `metric`.

    `trainer.callback_metrics` keeps the values of the last validation, so it cannot
    tell an epoch that measured the objective from one that did not.
    """
    return metric in trainer._logger_connector.metrics["callback"]
