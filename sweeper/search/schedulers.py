"""Schedulers that Optuna lacks, and the judge that asks the one of a sweep."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from optuna.pruners import BasePruner, SuccessiveHalvingPruner

from sweeper.experiment.definition import Experiment, Objective
from sweeper.journal.record import State, TrialRecord
from sweeper.search.history import Pruning


class RecordScheduler:
    """A scheduler that reads records; any other has Optuna's `prune(study, trial)`."""

    @property
    def reads_records(self) -> bool:
        """Whether `stops` decides, and not `prune`."""
        return True

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
        raise NotImplementedError


class Judge:
    """Decides after each report whether a trial continues.

    Args:
        scheduler: as `algorithms.scheduler` read it.
        changed: gives the records that have changed since its last call, by place.
    """

    def __init__(
        self,
        experiment: Experiment,
        scheduler: BasePruner | RecordScheduler,
        changed: Callable[[], Mapping[int, TrialRecord]],
    ) -> None:
        self._objective = experiment.objective
        self._scheduler = scheduler
        self._changed = changed
        self._pruning: Pruning | None = None
        if not getattr(scheduler, "reads_records", False):
            self._pruning = Pruning(
                scheduler,  # type: ignore[arg-type]  # not one of ours
                name=experiment.name,
                objectives=experiment.objectives,
            )

    def judge(
        self, record: TrialRecord, records: Sequence[TrialRecord]
    ) -> tuple[bool, TrialRecord]:
        """Return whether a trial stops, and its record with the scheduler's notes."""
        if self._pruning is None:
            assert isinstance(self._scheduler, RecordScheduler)  # noqa: S101  # reads records
            is_over = self._scheduler.stops(record, records, objective=self._objective)
            return is_over, record
        self._pruning.update(self._changed())
        return self._pruning.judge(record)


class Asha(SuccessiveHalvingPruner, RecordScheduler):
    """Optuna's asynchronous successive halving, or that of its paper.

    Optuna's judges a trial once: a trial outside the best part at that moment is
    stopped for good, and the first of a rung always continues. With `promote` a rung
    is as in Li et al., "A System for Massively Parallel Hyperparameter Tuning"
    (MLSys 2020), algorithm 2: floor(n / reduction_factor) of the n trials that
    reached it may continue. A trial that is not among them stops, and resumes from
    its checkpoint once it is, since others came that are worse.

    Args:
        min_resource: epochs to the first rung.
        reduction_factor: of the trials of a rung one in so many continues.
        min_early_stopping_rate: rungs that are left out at the start (the bracket).
        bootstrap_count: see Optuna; not with `promote`.
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
        super().__init__(
            min_resource=min_resource,
            reduction_factor=reduction_factor,
            min_early_stopping_rate=min_early_stopping_rate,
            bootstrap_count=bootstrap_count,
        )
        if promote and bootstrap_count:
            raise ValueError("bootstrap_count: must be 0 with promote")
        self.is_promoting = promote
        self._first = min_resource * reduction_factor**min_early_stopping_rate
        self._factor = reduction_factor

    @property
    def reads_records(self) -> bool:
        """Whether stopped trials may resume."""
        return self.is_promoting

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether the trial stops at the rung that it has just reached."""
        rung = self._rung(record)
        if rung is None or _first_from(record, rung) != record.last_epoch:
            return False
        best = self._best(records, rung, objective)
        return all(other.id != record.id for other in best)

    def promoted(
        self, records: Sequence[TrialRecord], *, objective: Objective
    ) -> TrialRecord | None:
        """Return a stopped trial that resumes now, of the highest rung."""
        for rung in reversed(list(self._rungs(records))):
            for record in self._best(records, rung, objective):
                if record.state is State.PRUNED and self._rung(record) == rung:
                    return record
        return None

    def _rungs(self, records: Sequence[TrialRecord]) -> Iterator[int]:
        last = max((record.last_epoch for record in records), default=0)
        rung = self._first
        while rung <= last:
            yield rung
            rung *= self._factor

    def _rung(self, record: TrialRecord) -> int | None:
        """Return the epoch of the highest rung that a trial has reached."""
        return max(self._rungs([record]), default=None)

    def _best(
        self, records: Sequence[TrialRecord], rung: int, objective: Objective
    ) -> list[TrialRecord]:
        """Return the trials that may continue from a rung, best first.

        Of equal ones the earlier comes first.
        """
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


class Patience(RecordScheduler):
    """Stop a trial whose objective has not improved for some epochs.

    An epoch without a number is no improvement. No other trial is looked at.

    Args:
        patience: epochs without an improvement after which a trial stops.
        min_delta: the least change that is an improvement.
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
        """Return whether `patience` epochs in a row brought nothing better."""
        losses = [
            math.inf if math.isnan(value) else objective.loss(value)
            for _, value in sorted(record.values.items())
        ]
        before, recent = losses[: -self._patience - 1], losses[-self._patience - 1 :]
        if len(recent) > self._patience and min(recent) == math.inf:
            return True
        return bool(before) and min(before) + self._min_delta < min(recent)


class Wilcoxon(RecordScheduler):
    """Stop a seed of a point that loses to the best point seed after seed.

    At each epoch the point's seeds are compared with the same seeds of the point that
    is best so far, by Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945). Four
    seeds are the fewest that reach p = 0.1. The seeds of a point run one after
    another, so the last ones are what it saves.

    Args:
        p_threshold: a trial is stopped at a p at most this.
        n_startup_steps: epochs of a trial that never stop it.
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
        """Return whether its point is worse than the best one over shared seeds."""
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
    """Return the name of the finished point with the best mean, not the trial's own."""
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
    """Return the chance of so many leads of the rival; 1.0 without a difference."""
    if not any(leads):
        return 1.0
    from scipy.stats import wilcoxon  # late: half a second that no other needs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(wilcoxon(leads, alternative="greater").pvalue)
