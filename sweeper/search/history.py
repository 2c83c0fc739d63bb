"""The tried points of a sweep, as studies for Optuna's samplers.

The same records give the same studies, whether they arrive one by one or all at once.
"""

import copy
import heapq
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper.experiment.definition import Objective
from sweeper.experiment.space import Space
from sweeper.journal.record import State, TrialRecord
from sweeper.journal.study import directions
from sweeper.protocol import Params
from sweeper.statistics import pareto
from sweeper.system.errors import ConfigError

Key = frozenset[tuple[str, object]]

KEPT_BEST = 100  # of a bounded history: TPE's good half has 25 points at most


def key(params: Mapping[str, object]) -> Key:
    """Return a key that equal points share: 1 and 1.0 are equal, as in a `Space`."""
    return frozenset(params.items())


def known_point(params: Mapping[str, object], *, space: Space) -> Params | None:
    """Return a point as the space writes it; None if an edit has removed it."""
    try:
        point = space.canonical(params)
    except ConfigError:
        return None
    return point if space.allows(point) else None


@dataclass(slots=True)
class _Point:
    """The records of one point, and their trial in a study.

    Attributes:
        params: as the space writes them; None if an edit has removed the point.
        indices: of its records.
        trial: of its records; None if samplers must not see it.
        is_stale: whether its records have changed since the trial was made.
    """

    params: Params | None
    indices: list[int] = field(default_factory=list)
    trial: FrozenTrial | None = None
    is_stale: bool = True


class History:
    """The result of each point, over its seeds.

    Args:
        warm: trials of another sweep; samplers see them, but they count as untried.
    """

    def __init__(self, space: Space, *, warm: Sequence[TrialRecord] = ()) -> None:
        self._space = space
        self._warm = [
            _fold([record], *space.in_study(space.canonical(record.params)))
            for record in warm
        ]
        self._records: list[TrialRecord] = []
        self._points: dict[Key, _Point] = {}

    def update(self, records: Sequence[TrialRecord]) -> "History":
        """Add new and changed records; none is ever removed.

        A changed record is a new object at its old index.
        """
        for index, record in enumerate(records):
            is_new = index == len(self._records)
            if is_new or record is not self._records[index]:
                self._records[index : index + 1] = [record]
                point = self._point(record.params)
                point.is_stale = True
                if is_new:
                    point.indices.append(index)
        return self

    def _point(self, params: Params) -> _Point:
        name = key(params)
        if name not in self._points:
            point = _Point(params=known_point(params, space=self._space))
            self._points[name] = point
        return self._points[name]

    def has(self, params: Params) -> bool:
        """Return whether a point was tried, whatever its result."""
        return key(params) in self._points

    @property
    def num_records(self) -> int:
        """Number of trials so far."""
        return len(self._records)

    @property
    def num_points(self) -> int:
        """Number of tried points, including those that an edit has removed."""
        return len(self._points)

    @property
    def is_exhausted(self) -> bool:
        """Whether every point was tried; False if the space cannot be counted."""
        size = self._space.size
        points = self._points.values()
        return size is not None and size <= sum(p.params is not None for p in points)

    def study(
        self, objectives: Sequence[Objective], *, newest: int | None = None
    ) -> Study:
        """Return a study in memory with one trial per point: the mean over its seeds.

        Samplers count trials (a population, a start-up phase), where they should count
        points. Points that the space no longer has or that only failed are left out.

        Args:
            newest: most points to return: up to `KEPT_BEST` of the best, then the
                newest; None for all.
        """
        trials = [] if newest == 0 else self._trials()
        if len(objectives) > 1:  # Optuna ranks pruned trials by one objective
            trials = [t for t in trials if t.state is not TrialState.PRUNED]
        if newest is not None and len(trials) > newest:
            trials = _bounded(trials, objectives, newest)
        storage = InMemoryStorage()
        study = optuna.create_study(storage=storage, directions=directions(objectives))
        study_id = storage.get_study_id_from_name(study.study_name)
        for trial in trials:  # `add_trials` would validate each one again
            storage.create_new_trial(study_id, trial)
        return study

    def _trials(self) -> list[FrozenTrial]:
        for point in self._points.values():
            if point.is_stale:
                point.trial = self._trial(point)
                point.is_stale = False
        trials = (point.trial for point in self._points.values())
        return [*self._warm, *(trial for trial in trials if trial is not None)]

    def _trial(self, point: _Point) -> FrozenTrial | None:
        records = [self._records[index] for index in point.indices]
        alive = [
            record
            for record in records
            if record.state is not State.FAILED or record.is_infeasible
        ]
        if point.params is None or not alive:
            return None
        return _fold(alive, *self._space.in_study(point.params))


class _Shared(FrozenTrial):
    """A trial that a storage copies without its values.

    A storage in memory deep-copies each new trial, which would add 50 ms to a
    suggestion at 1,000 points.
    """

    def __deepcopy__(self, memo: object) -> FrozenTrial:
        return copy.copy(self)


def _fold(
    records: Sequence[TrialRecord],
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    """Return one trial for the seeds of a point; the mean is over seeds that ended.

    An infeasible point is a trial that was pruned before its first report, which
    samplers rank below all others.
    """
    states = {record.state for record in records}
    is_infeasible = all(record.is_infeasible for record in records)
    state = TrialState.PRUNED if is_infeasible else TrialState.RUNNING
    if State.COMPLETE in states:
        state = TrialState.COMPLETE
    elif State.PRUNED in states:
        state = TrialState.PRUNED
    results = [
        record.result
        for record in records
        if record.state in (State.COMPLETE, State.PRUNED) and record.result
    ]
    means = [statistics.fmean(column) for column in zip(*results, strict=True)]
    reports: dict[int, list[float]] = {}
    for record in records:
        for epoch, value in record.values.items():
            reports.setdefault(epoch, []).append(value)
    return _Shared(
        number=0,
        trial_id=0,
        state=state,
        value=None,
        values=means if state is TrialState.COMPLETE else None,
        datetime_start=None,
        datetime_complete=None,
        params=dict(params),
        distributions=distributions,
        user_attrs={},
        system_attrs=dict(records[0].notes),
        intermediate_values={e: statistics.fmean(v) for e, v in reports.items()},
    )


def _bounded(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], size: int
) -> list[FrozenTrial]:
    """Return the best points and the newest ones, in their order."""
    indices = [
        index
        for index, trial in enumerate(trials)
        if trial.state is TrialState.COMPLETE and trial.values
    ]
    losses = [
        [o.loss(v) for o, v in zip(objectives, trials[index].values, strict=True)]
        for index in indices
    ]
    count = min(KEPT_BEST, size)
    if len(objectives) == 1:
        scored = zip(losses, indices, strict=True)
        best = {index for _, index in heapq.nsmallest(count, scored)}
    else:
        best = {indices[i] for i, _ in pareto.order(losses)[:count]}
    for index in reversed(range(len(trials))):
        if len(best) == size:
            break
        best.add(index)
    return [trials[index] for index in sorted(best)]
