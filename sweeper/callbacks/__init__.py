"""What sweeper adds to a Trainer, and the active trial that it adds it for.

Outside a trial nothing happens: the factory returns no callback, and importing this
module imports neither torch nor lightning.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sweeper import examples
from sweeper.callbacks.wandb_rows import GLOBAL_STEP as STEP
from sweeper.errors import MetricError, TargetError, nearest
from sweeper.paths import TrialPaths
from sweeper.trial import Decision, TrialSpec

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

    from sweeper.callbacks.wandb_run import TrialRun


class Reporting(Protocol):
    """Takes one epoch to the journal and brings the decision back."""

    def __call__(
        self, *, epoch: int, value: float | None, metrics: Mapping[str, float]
    ) -> Decision:
        """Report `epoch` (1-based); `value` is None where it was not measured."""


# What a program that a trial starts finds its trial by.
CHANNEL = "SWEEPER_CHANNEL"  # descriptor of an inherited socket
FOLDER = "SWEEPER_TRIAL_DIR"


def _nowhere(
    *, epoch: int, value: float | None, metrics: Mapping[str, float]
) -> Decision:
    return Decision.CONTINUE


def _nothing(epoch: int, metrics: Mapping[str, float]) -> None:
    return


@dataclass
class ActiveTrial:
    """The trial that this process runs.

    Attributes:
        decision: the answer to the last report.
        has_trainer: whether a Lightning Trainer takes care of pauses.
        run: its W&B run, None without one.
    """

    spec: TrialSpec
    send: Reporting = _nowhere
    on_metrics: Callable[[int, Mapping[str, float]], None] = _nothing
    decision: Decision = Decision.CONTINUE
    has_trainer: bool = False
    run: "TrialRun | None" = None

    @property
    def paths(self) -> TrialPaths:
        """The trial's files."""
        return TrialPaths(Path(self.spec.folder))

    def report(
        self,
        epoch: int,
        metrics: Mapping[str, float],
        *,
        step: int | None = None,
        correct: str = "",
        order: str = "",
    ) -> Decision:
        """Journal one epoch; what is to be done next.

        Args:
            epoch: 1-based.
            metrics: scalars; {} where the epoch measured nothing.
            step: the Trainer's global step, as its loggers have it.
            correct: "1" or "0" for each validation example, "" where unknown.
            order: a digest of their labels.

        Raises:
            MetricError: the metrics are there but the objective is not.
        """
        value = metrics.get(self.spec.metric)
        if value is None and metrics:
            raise MetricError(unknown_metric(self.spec.metric, metrics))
        placed = self.placed(metrics, step)
        self.on_metrics(epoch, placed)
        if value is not None and correct:
            found = examples.Examples(
                epoch=epoch, value=value, correct=correct, order=order
            )
            examples.record(self.paths.examples, found, mode=self.spec.mode)
        if self.run is not None and metrics:
            self.run.report(epoch, placed)
        self.decision = self.send(epoch=epoch, value=value, metrics=metrics)
        return self.decision

    def placed(
        self, metrics: Mapping[str, float], step: int | None
    ) -> Mapping[str, float]:
        """Metrics with the step that they belong to, where there are any."""
        return metrics if step is None or not metrics else {**metrics, STEP: step}

    def use_trainer(self) -> None:
        """Say that a Lightning Trainer takes care of pauses."""
        self.has_trainer = True


_active: ActiveTrial | None = None


def activate(trial: ActiveTrial | None) -> None:
    """Make `trial` the one that this process runs; None ends it."""
    global _active
    _active = trial


def active() -> ActiveTrial | None:
    """The trial that this process runs, None outside of one."""
    global _active
    if _active is None and CHANNEL in os.environ:
        from sweeper.callbacks import attach  # torch: only in a trial

        _active = attach.from_environment()
    return _active


def report(
    step: int, metrics: Mapping[str, float], *, correct: Sequence[bool] = ()
) -> Decision:
    """Report one epoch of a loop without Lightning; what is to be done next.

    Args:
        step: 1-based and absolute; report it again after a resume, never less.
        metrics: scalars by name, the objective among them.
        correct: whether each validation example was right, always in one order; it
            lets the leaderboard compare trials example by example.

    Returns:
        STOP: the scheduler ends the trial; finish as ever. PAUSE: the sweep stops;
        save and return. Outside of a trial always CONTINUE.

    Raises:
        MetricError: the objective is not among the metrics.
    """
    trial = active()
    if trial is None:
        return Decision.CONTINUE
    bits = "".join("1" if right else "0" for right in correct)
    return trial.report(
        step, {name: float(v) for name, v in metrics.items()}, correct=bits
    )


def trial_dir() -> Path:
    """The folder of the running trial: what is saved there is found at a resume.

    Raises:
        TargetError: no trial runs in this process.
    """
    trial = active()
    if trial is None:
        raise TargetError(
            "sweeper.trial_dir(): no trial runs in this process; call it from a "
            "target that `sweeper run` or `sweeper train` started"
        )
    return trial.paths.folder


def unknown_metric(metric: str, logged: Mapping[str, float]) -> str:
    """The message for an objective that is not logged."""
    names = ", ".join(sorted(logged)) or "nothing"
    return (
        f"objective.metric: {metric!r} is not logged by the trial; "
        f"{nearest(metric, logged)} (logged: {names})"
    )


def factory() -> "list[Callback]":
    """Entry point of `lightning.pytorch.callbacks_factory`."""
    return _callbacks("lightning.pytorch")


def standalone_factory() -> "list[Callback]":
    """Entry point of `pytorch_lightning.callbacks_factory`, another class tree."""
    return _callbacks("pytorch_lightning")


def _callbacks(package: str) -> "list[Callback]":
    trial = active()
    if trial is None:
        return []
    # torch: only in a trial
    from sweeper.callbacks import checkpoint, own_folder, reporter

    trial.use_trainer()
    own_folder.keep_loggers_inside(package)
    own_folder.trust_own_checkpoints(package)
    return [reporter.make(package, trial), checkpoint.make(package, trial)]
