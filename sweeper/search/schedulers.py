"""Schedulers: rules that stop trials early, resume them, or plan their children."""

import copy
import math
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper.experiment.definition import Experiment, Objective
from sweeper.experiment.space import Space
from sweeper.journal.record import State, TrialRecord
from sweeper.journal.study import STATES, directions, to_attrs

NOTES = "scheduler_notes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A trial that has no row yet; its record has no number."""

    record: TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A stopped trial that the scheduler resumes."""

    record: TrialRecord


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause in starts until a running trial has ended."""


Action = Create | Resume | Wait | None


class Scheduler:
    """Base class of the schedulers; it stops no trial.

    A subclass reads records. Any other class that an experiment file names must have
    Optuna's `prune(study, trial)`, and is wrapped in a `Pruner`.

    Attributes:
        stops_as: state of a trial that it has stopped.
        num_trials: trials of the whole sweep, if the scheduler fixes their number.
    """

    stops_as = State.PRUNED
    num_trials: int | None = None

    def check(self, experiment: Experiment, space: Space) -> None:
        """Refuse an experiment that this scheduler cannot run.

        Raises:
            ExperimentError: names the conflicting key.
        """

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether a trial stops after its newest report.

        Args:
            record: the trial's.
            records: of all trials, the trial's own included.
        """
        return False

    def judge(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
    ) -> tuple[bool, TrialRecord]:
        """Return whether a trial stops, and its record with the scheduler's notes."""
        return self.stops(record, records, objective=experiment.objective), record

    def next_trial(
        self,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
        space: Space,
        new: Callable[[], TrialRecord | None],
    ) -> Action:
        """Return the next trial of a sweep; None if there will be none.

        Args:
            records: of all trials.
            new: returns a new trial of the search; None if the search has ended.
        """
        record = new()
        return None if record is None else Create(record=record)

    def needed(self, records: Sequence[TrialRecord]) -> set[str]:
        """Return the ids of trials whose resume checkpoint a later start may load."""
        return set()


class Pruner(Scheduler):
    """Adapter for Optuna's pruners and other objects with `prune(study, trial)`."""

    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner
        self._storage = _Trials()
        self._study: Study | None = None
        self._records: list[TrialRecord] = []

    def judge(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
    ) -> tuple[bool, TrialRecord]:
        """Return whether a trial stops, and its record with the pruner's notes.

        The notes name their epoch. So a report that is repeated after a kill gets the
        same decision as without the kill.
        """
        if isinstance(self._pruner, NopPruner):
            return False, record
        study, index = self._updated(records, experiment), records.index(record)
        old, notes = record.notes.get(NOTES), dict(record.notes)
        if old is not None and old["step"] == record.last_epoch:
            notes = {k: v for k, v in notes.items() if k not in old["keys"]}
        trial = _trial(replace(record, notes=notes), index)
        self._storage.trials[index] = trial
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
            is_over = self._pruner.prune(study, trial)
        after = self._storage.trials[index].system_attrs
        new = {k: v for k, v in after.items() if k not in notes or notes[k] != v}
        if new:
            about = {"step": record.last_epoch, "keys": list(new)}
            record = replace(record, notes={**record.notes, NOTES: about, **new})
        return is_over, record

    def _updated(self, records: Sequence[TrialRecord], experiment: Experiment) -> Study:
        """Return the study, updated with new and changed records."""
        if self._study is None:
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=experiment.name,  # Hyperband draws a trial's bracket by it
                directions=directions(experiment.objectives),
            )
        for index, record in enumerate(records):
            if index == len(self._records) or record is not self._records[index]:
                self._records[index : index + 1] = [record]
                self._storage.trials[index : index + 1] = [_trial(record, index)]
        return self._study


class _Trials(InMemoryStorage):
    """A storage of Optuna whose trials are set from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [t for t in self.trials if states is None or t.state in states]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = copy.copy(self.trials[trial_id])  # the pruner still reads the old one
        trial.system_attrs = {**trial.system_attrs, key: value}
        self.trials[trial_id] = trial


def _trial(record: TrialRecord, index: int) -> FrozenTrial:
    """Return a record as a trial of Optuna with this index as its id."""
    return FrozenTrial(
        number=record.number,
        trial_id=index,
        state=STATES[record.state],
        value=None,
        values=list(record.result) or None,
        datetime_start=record.started_at,
        datetime_complete=record.ended_at,
        params=dict(record.params),
        distributions={},
        user_attrs=to_attrs(record),
        system_attrs=dict(record.notes),
        intermediate_values=dict(record.values),
    )


class Asha(Scheduler):
    """Asynchronous successive halving, as in Optuna or as in its paper.

    Optuna judges a trial once per rung: a trial outside the best part at that moment
    is stopped for good, and the first trial of a rung always continues. With `promote`
    a rung is as in Li et al., "A System for Massively Parallel Hyperparameter Tuning"
    (MLSys 2020), algorithm 2: the best floor(n / reduction_factor) of the n trials
    that reached it may continue, and any other trial stops. It resumes from its
    checkpoint once enough worse trials have reached the rung.

    Args:
        min_resource: epochs to the first rung.
        reduction_factor: one in this many trials of a rung continues.
        min_early_stopping_rate: rungs that are skipped at the start (the bracket).
        bootstrap_count: as in Optuna; must be 0 with `promote`.
        promote: whether stopped trials may resume.
    """

    def __init__(
        self,
        *,
        min_resource: int = 1,
        reduction_factor: int = 3,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
        promote: bool = False,
    ) -> None:
        pruner = SuccessiveHalvingPruner(
            min_resource=min_resource,
            reduction_factor=reduction_factor,
            min_early_stopping_rate=min_early_stopping_rate,
            bootstrap_count=bootstrap_count,
        )
        if promote and bootstrap_count:
            raise ValueError("bootstrap_count: must be 0 with promote")
        self._pruner = None if promote else Pruner(pruner)
        self._first = min_resource * reduction_factor**min_early_stopping_rate
        self._factor = reduction_factor

    def judge(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
    ) -> tuple[bool, TrialRecord]:
        """Return the decision of Optuna's rule, or of `stops` with `promote`."""
        judge = super().judge if self._pruner is None else self._pruner.judge
        return judge(record, records, experiment=experiment)

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether the trial stops at the rung that it has just reached."""
        rung = max(self._rungs([record]), default=None)
        if rung is None or _first_from(record, rung) != record.last_epoch:
            return False
        best = self._best(records, rung, objective)
        return all(other.id != record.id for other in best)

    def next_trial(
        self,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
        space: Space,
        new: Callable[[], TrialRecord | None],
    ) -> Action:
        """Return a stopped trial to resume, else a new trial."""
        if self._pruner is None:
            record = self.promoted(records, objective=experiment.objective)
            if record is not None:
                return Resume(record=record)
        action = super().next_trial(
            records, experiment=experiment, space=space, new=new
        )
        may_promote = self._pruner is None and any(
            not record.state.is_final for record in records
        )
        return Wait() if action is None and may_promote else action

    def needed(self, records: Sequence[TrialRecord]) -> set[str]:
        """Return the ids of the stopped trials if they may resume."""
        is_promoting = self._pruner is None
        return {r.id for r in records if r.state is State.PRUNED and is_promoting}

    def promoted(
        self, records: Sequence[TrialRecord], *, objective: Objective
    ) -> TrialRecord | None:
        """Return a stopped trial to resume, from the highest rung that has one."""
        for rung in reversed(list(self._rungs(records))):
            for record in self._best(records, rung, objective):
                is_last = max(self._rungs([record]), default=None) == rung
                if record.state is State.PRUNED and is_last:
                    return record
        return None

    def _rungs(self, records: Sequence[TrialRecord]) -> Iterator[int]:
        """Yield the epochs of the rungs that trials have reached."""
        last = max((record.last_epoch for record in records), default=0)
        rung = self._first
        while rung <= last:
            yield rung
            rung *= self._factor

    def _best(
        self, records: Sequence[TrialRecord], rung: int, objective: Objective
    ) -> list[TrialRecord]:
        """Return the trials that may continue from a rung, best first, then oldest."""
        reached = []
        for record in records:
            epoch = _first_from(record, rung)
            if epoch is not None:
                loss = objective.loss(record.values[epoch])
                reached.append((math.inf if math.isnan(loss) else loss, record))
        reached.sort(key=lambda item: item[0])
        best = reached[: len(reached) // self._factor]
        return [record for loss, record in best if loss < math.inf]


def _first_from(record: TrialRecord, epoch: int) -> int | None:
    """Return the first epoch from `epoch` on that a trial has reported."""
    if epoch in record.values:
        return epoch
    return min((e for e in record.values if e >= epoch), default=None)


class Patience(Scheduler):
    """A scheduler that stops a trial after some epochs without an improvement.

    An epoch with NaN is no improvement. Other trials have no influence.

    Args:
        patience: epochs without an improvement after which a trial stops.
        min_delta: smallest change that counts as an improvement.
    """

    def __init__(self, *, patience: int, min_delta: float = 0.0) -> None:
        for name, number in (("patience", patience), ("min_delta", min_delta)):
            if number < 0:
                raise ValueError(f"{name}: {number} must be 0 or more")
        self._patience = patience
        self._min_delta = min_delta

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether the last `patience` epochs brought no improvement."""
        losses = [
            math.inf if math.isnan(value) else objective.loss(value)
            for _, value in sorted(record.values.items())
        ]
        before, recent = losses[: -self._patience - 1], losses[-self._patience - 1 :]
        if len(recent) > self._patience and min(recent) == math.inf:
            return True
        return bool(before) and min(before) + self._min_delta < min(recent)


class Wilcoxon(Scheduler):
    """A scheduler that stops further seeds of a point that is worse than the best one.

    At each epoch the point's seeds are compared with the same seeds of the best point
    so far, by Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945). At least four
    seeds are needed to reach p = 0.1. The seeds of a point run one after another, so
    the scheduler saves the last ones.

    Args:
        p_threshold: a trial is stopped if p is at most this.
        n_startup_steps: epochs of a trial before it can be stopped.
    """

    def __init__(self, *, p_threshold: float = 0.1, n_startup_steps: int = 0) -> None:
        if not 0 < p_threshold < 1:
            raise ValueError(f"p_threshold: {p_threshold} must be between 0 and 1")
        self._threshold = p_threshold
        self._warmup = n_startup_steps

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether the trial's point is worse than the best over shared seeds."""
        epoch = record.last_epoch
        if epoch <= self._warmup:
            return False
        if math.isnan(record.values[epoch]):
            return True
        losses = _losses(records, record.point, epoch, objective)
        best = _best_point(records, record, objective)
        rival = _losses(records, best, epoch, objective)
        leads = [losses[seed] - rival[seed] for seed in losses if seed in rival]
        return _p_value(leads) <= self._threshold


def _best_point(
    records: Sequence[TrialRecord], record: TrialRecord, objective: Objective
) -> str | None:
    """Return the other point with the best mean result; None if there is none."""
    losses: dict[str, list[float]] = {}
    for other in records:
        is_other = other.point not in ("", record.point)
        if is_other and other.state is State.COMPLETE and other.result:
            losses.setdefault(other.point, []).append(objective.loss(other.result[0]))
    means = {point: sum(terms) / len(terms) for point, terms in losses.items()}
    return min(means, key=lambda point: means[point], default=None)


def _losses(
    records: Sequence[TrialRecord],
    point: str | None,
    epoch: int,
    objective: Objective,
) -> dict[int, float]:
    """Return the finite losses of a point at one epoch, by seed."""
    return {
        record.seed: objective.loss(record.values[epoch])
        for record in records
        if point is not None
        and record.point == point
        and math.isfinite(record.values.get(epoch, math.nan))
    }


def _p_value(leads: Sequence[float]) -> float:
    """Return the p-value of the rival's leads; 1.0 without a difference."""
    if not any(leads):
        return 1.0
    from scipy.stats import wilcoxon  # late: the import takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(wilcoxon(leads, alternative="greater").pvalue)
