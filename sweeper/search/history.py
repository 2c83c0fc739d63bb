"""The points that a sweep has tried, as studies for Optuna's samplers.

The same records give the same studies, whether they came one by one or all at once.
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
    """Return what equal points share: 1 and 1.0 are one, as in a `Space`."""
    return frozenset(params.items())


def known_point(params: Mapping[str, object], *, space: Space) -> Params | None:
    """Return the space's spelling of a point; None if an edit has removed it."""
    try:
        point = space.canonical(params)
    except ConfigError:
        return None
    return point if space.allows(point) else None


@dataclass(slots=True)
class _Point:
    """The records of one point, and the trial of a study that they make.

    Attributes:
        params: in the space's spelling; None if an edit has removed the point.
        indices: of its records.
        trial: as of its records when it was made; None if it is not to be shown.
    """

    params: Params | None
    indices: list[int] = field(default_factory=list)
    trial: FrozenTrial | None = None
    is_stale: bool = True


class History:
    """The result of each point, over its seeds.

    Args:
        warm: trials of another sweep: samplers see them, but they were not tried here.
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
        """Take in what is new of records of which none is ever removed.

        A record that has changed is another object, in its old place.
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
        """Trials so far."""
        return len(self._records)

    @property
    def num_points(self) -> int:
        """Points tried, including those that the space has lost."""
        return len(self._points)

    @property
    def is_exhausted(self) -> bool:
        """Whether every point was tried; never so if they cannot be counted."""
        size = self._space.size
        points = self._points.values()
        return size is not None and size <= sum(p.params is not None for p in points)

    def study(
        self, objectives: Sequence[Objective], *, newest: int | None = None
    ) -> Study:
        """Return a study in memory with one trial a point: the mean over its seeds.

        Samplers count trials (a population, a start-up phase) and mean points. A point
        that the space has lost is left out, and so is one that only failed.

        Args:
            newest: how many points at most, the `KEPT_BEST` best ones among them;
                None for all.
        """
        trials = [] if newest == 0 else self._trials()
        if len(objectives) > 1:  # Optuna ranks what was pruned by one objective
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

    A storage in memory copies a new trial deeply: 50 ms of a suggestion at 1,000
    points.
    """

    def __deepcopy__(self, memo: object) -> FrozenTrial:
        return copy.copy(self)


def _fold(
    records: Sequence[TrialRecord],
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    """Return one trial for the seeds of a point; a seed that runs does not count.

    An infeasible point is one that was pruned before it said anything, which samplers
    rank below all others.
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
