"""The active trial of this process, and the callbacks that it adds to a Trainer.

Outside a trial the factories return no callback. Importing this module imports neither
torch nor lightning.
"""

import importlib
import mmap
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.protocol import Answer, Decision, Message, Report, TrialSpec, parent_of
from sweeper.system import metrics_file
from sweeper.system.correctness import Correctness
from sweeper.system.correctness import record as record_correctness
from sweeper.system.errors import MetricError, SweeperError, TargetError, nearest
from sweeper.system.paths import TrialPaths
from sweeper.trial import importing
from sweeper.trial.progress import Progress
from sweeper.trial.wandb_rows import GLOBAL_STEP as STEP

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

    from sweeper.trial.logged_values import StepMeans
    from sweeper.trial.wandb_run import TrialRun


# Environment of a program that a trial starts.
CHANNEL = "SWEEPER_CHANNEL"  # address of its server
FOLDER = "SWEEPER_TRIAL_DIR"
# A forked trial has imported this module before it had its name.
_STARTED_BY = os.environ.get("SWEEPER_TRIAL", "")


def answer_continue(message: Message) -> Message:
    """Answer CONTINUE to a report that nobody else takes."""
    return Answer()


@dataclass
class ActiveTrial:
    """The trial that this process runs.

    Attributes:
        ask: sends a report and returns its answer.
        measure: returns the usage of the device, given the Trainer's global step.
        await_turn: returns when the target may be called.
        has_trainer: whether a Lightning Trainer takes care of pauses.
        on_epoch: called in the process that trains, with the epoch that is reported.
        run: its W&B run, None without one.
        progress: of its fits in this process.
        logged: names of all metrics that an epoch had.
        is_validated: whether a validation logged metrics without an objective.
        validation_names: metrics that validation has logged in any epoch.
        step_means: see `StepMeans`; None without a Trainer.
    """

    spec: TrialSpec
    ask: Callable[[Message], Message] = answer_continue
    measure: Callable[[int | None], Mapping[str, float]] = lambda step: {}
    await_turn: Callable[[], object] = lambda: None
    has_trainer: bool = False
    on_epoch: Callable[[int], object] = lambda epoch: None
    run: "TrialRun | None" = None
    progress: Progress = field(default_factory=Progress)
    logged: set[str] = field(default_factory=set)
    is_validated: bool = False
    validation_names: set[str] = field(default_factory=set)
    step_means: "StepMeans | None" = None
    _pid: int = field(default_factory=os.getpid)
    _started_at: float = field(default_factory=time.monotonic)
    # Memory that the processes share which the trial forks: one of them may report.
    _answered: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 2), repr=False)

    @property
    def decision(self) -> Decision:
        """Answer to the last report of any of the trial's processes."""
        return tuple(Decision)[self._answered[0]]

    @decision.setter
    def decision(self, decision: Decision) -> None:
        self._answered[0] = tuple(Decision).index(decision)
        self._answered[1] = os.getpid() != self._pid

    @property
    def is_answered_elsewhere(self) -> bool:
        """True if a forked process of the trial got the answer to the last report."""
        return bool(self._answered[1])

    @property
    def paths(self) -> TrialPaths:
        """Files of the trial."""
        return TrialPaths(Path(self.spec.folder))

    @property
    def parent(self) -> TrialPaths | None:
        """Files of the trial from whose state this one starts; None without one."""
        name = parent_of(self.spec.lineage)
        return TrialPaths(self.paths.folder.parent / name) if name else None

    @property
    def is_stopped(self) -> bool:
        """True if the scheduler has stopped the trial.

        A trial that is started after its stop does not report, so its spec says it.
        """
        was_stopped = self.spec.is_stopped and self.decision is not Decision.PAUSE
        return self.decision is Decision.STOP or was_stopped

    def report(self, report: Report) -> Decision:
        """Journal one epoch and return the decision.

        Raises:
            MetricError: the metrics are there but an objective is not.
            TargetError: the trial did not start from its parent.
        """
        self._check(report)
        metrics, row = report.metrics, with_step(report)
        is_measured = bool(metrics) and report.has_objectives
        names = (self.spec.metric, *self.spec.more_metrics) if is_measured else ()
        if row:
            metrics_file.append(self.paths.metrics, report.epoch, row)
        if names and report.correct:
            measurement = Correctness(
                epoch=report.epoch,
                value=metrics[self.spec.metric],
                correct=report.correct,
                order=report.order,
            )
            record_correctness(self.paths.correctness, measurement, mode=self.spec.mode)
        self.log(report)
        message = Report(
            epoch=report.epoch,
            metrics=metrics,
            values=tuple(metrics[name] for name in names),
            is_mean=report.is_mean,
            busy_seconds=time.monotonic() - self._started_at,
            usage=self.measure(report.step),
        )
        return self.decide(self.ask(message))

    def _check(self, report: Report) -> None:
        """Raise an error for a report that the journal must not have."""
        lineage = self.spec.lineage
        if lineage is not None and report.epoch <= lineage.start:
            raise TargetError(
                f"epoch {report.epoch}: the trial starts from {lineage.parent}, which "
                f"has trained {lineage.start}; load what that one saved in "
                "sweeper.parent_dir() and continue with the epoch after"
            )
        metrics = report.metrics
        self.logged |= {*metrics, *report.logged}
        if not report.has_objectives:
            self.is_validated |= bool(metrics)
            return
        for name in (self.spec.metric, *self.spec.more_metrics):
            if metrics and name not in metrics:
                raise MetricError(unknown_metric(name, metrics))

    def decide(self, answer: Message) -> Decision:
        """Take the answer to a report; return its decision.

        Raises:
            MetricError: the report was refused.
        """
        assert isinstance(answer, Answer)  # noqa: S101  # the only answer to a report
        if answer.error:
            raise MetricError(answer.error)
        self.decision = answer.decision
        return answer.decision

    def log(self, report: Report) -> None:
        """Write the epoch to the trial's W&B run, if it has one."""
        self.on_epoch(report.epoch)
        if self.run is not None and report.metrics:
            self.run.report(report.epoch, with_step(report))

    def reject(self, error: SweeperError) -> None:
        """End the trial with an error that every trial of the sweep would meet.

        Raises:
            SweeperError: the error.
        """
        raise error

    def use_trainer(self) -> None:
        """Say that a Lightning Trainer takes care of pauses."""
        self.has_trainer = True


def with_step(report: Report) -> Mapping[str, float]:
    """Return the metrics with the step that they belong to, if there are any."""
    if report.step is None or not report.metrics:
        return report.metrics
    return {**report.metrics, STEP: report.step}


_active: ActiveTrial | None = None


def activate(trial: ActiveTrial | None) -> None:
    """Make `trial` the one that this process runs; None ends it."""
    global _active
    _active = trial


def active() -> ActiveTrial | None:
    """Return the trial that this process runs; None outside of one."""
    global _active
    if _active is None and CHANNEL in os.environ:
        from sweeper.trial import attach  # torch: only in a trial

        _active = attach.from_environment()
    return _active


def report(
    step: int, metrics: Mapping[str, float], *, correct: Sequence[bool] = ()
) -> Decision:
    """Report one epoch of a loop without Lightning; return the decision.

    Args:
        step: 1-based and absolute; report it again after a resume, never less.
        metrics: scalars by name, the objective among them.
        correct: whether each validation example was right, always in one order; it
            lets the leaderboard compare trials example by example.

    Returns:
        STOP: the scheduler ends the trial; finish as usual. PAUSE: the sweep stops;
        save and return. Outside of a trial always CONTINUE.

    Raises:
        MetricError: the objective is not among the metrics.
    """
    importing.refuse_training()
    trial = active()
    if trial is None:
        _check_no_report_is_lost()
        return Decision.CONTINUE
    bits = "".join("1" if right else "0" for right in correct)
    plain = {name: float(value) for name, value in metrics.items()}
    return trial.report(Report(epoch=step, metrics=plain, correct=bits))


def _check_no_report_is_lost() -> None:
    """Raise an error in a process that a trial has started as a program of its own.

    Raises:
        TargetError: its report would reach nobody.
    """
    if _STARTED_BY and not is_other_rank(os.environ):
        raise TargetError(
            f"sweeper.report(): a process that trial {_STARTED_BY} has started cannot "
            "report; only the trial's own process can, and those that it forks; report "
            "there, or start the process with multiprocessing's 'fork'"
        )


def is_other_rank(environment: Mapping[str, str]) -> bool:
    """Return whether a process is one of several that train together, not the first."""
    return any(environment.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK"))


def trial_dir() -> Path:
    """Return the folder of the running trial, which a resume finds again.

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


def parent_dir() -> Path | None:
    """Return the folder of the trial from whose state the running one starts.

    Only a trial of a population has one, else None. A state that the trial has saved
    in `trial_dir` comes first.
    """
    trial = active()
    parent = None if trial is None else trial.parent
    return None if parent is None else parent.folder


def unknown_metric(metric: str, logged: Iterable[str]) -> str:
    """Return the message for an objective that is not logged."""
    names = ", ".join(sorted(logged))
    if not names:
        return (
            f"objective.metric: {metric!r}: the trial reported nothing; log it with "
            "self.log in the LightningModule, call sweeper.report(epoch, "
            f"{{{metric!r}: ...}}), or return it from the target"
        )
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
    if importing.is_tried():
        # A Trainer may be made at import, but not used.
        importlib.import_module(package).Trainer.fit = importing.refuse_training
        return []
    trial = active()
    if trial is None:
        return []
    # torch: only in a trial
    from sweeper.trial import reporter, trainer_setup
    from sweeper.trial.exact_resume import callback

    trial.use_trainer()
    trainer_setup.set_up(package)
    return [reporter.make(package, trial), callback.make(package, trial)]
