"""The points that a sweep has tried, as studies for Optuna's samplers and pruners.

The same records give the same studies, whether they came one by one or all at once.
"""

import copy
import heapq
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.experiment.definition import Objective
from sweeper.experiment.space import Space
from sweeper.journal.record import State, TrialRecord
from sweeper.journal.study import NAMES, directions, to_attrs
from sweeper.protocol import Params
from sweeper.statistics import pareto
from sweeper.system.errors import ConfigError

Key = frozenset[tuple[str, object]]

KEPT_BEST = 100  # of a bounded history: TPE's good half has 25 points at most
NOTES = "scheduler_notes"


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
        self._keys: list[Key] = []
        self._places: dict[Key, list[int]] = {}  # of the records of a point
        self._points: dict[Key, Params | None] = {}
        self._folds: dict[Key, FrozenTrial | None] = {}
        self._stale: set[Key] = set()
        self._num_allowed = 0

    def update(self, records: Sequence[TrialRecord]) -> "History":
        """Take in what is new of records from which none goes.

        A record that has changed is another object, in its old place.
        """
        num_old = len(self._records)
        for place, record in enumerate(records):
            if place >= num_old:
                self._add(place, record)
            elif record is not self._records[place]:
                self._records[place] = record
                self._stale.add(self._keys[place])
        return self

    def _add(self, place: int, record: TrialRecord) -> None:
        name = key(record.params)
        if name not in self._places:
            self._places[name] = []
            point = known_point(record.params, space=self._space)
            self._points[name] = point
            self._num_allowed += point is not None
        self._records.append(record)
        self._keys.append(name)
        self._places[name].append(place)
        self._stale.add(name)

    def has(self, params: Params) -> bool:
        """Return whether a point was tried, whatever its result."""
        return key(params) in self._places

    @property
    def num_points(self) -> int:
        """Points tried, including those that the space has lost."""
        return len(self._places)

    @property
    def is_exhausted(self) -> bool:
        """Whether every point was tried; never so if they cannot be counted."""
        size = self._space.size
        return size is not None and self._num_allowed >= size

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
        storage = _Filled(trials, self._space.distributions)
        return optuna.create_study(storage=storage, directions=directions(objectives))

    def _trials(self) -> list[FrozenTrial]:
        for name in self._stale:
            self._folds[name] = self._point_trial(name)
        self._stale.clear()
        folds = [fold for name in self._places if (fold := self._folds[name])]
        return [*self._warm, *folds]

    def _point_trial(self, name: Key) -> FrozenTrial | None:
        point = self._points[name]
        records = [self._records[place] for place in self._places[name]]
        alive = [
            record
            for record in records
            if record.state is not State.FAILED or record.is_infeasible
        ]
        if point is None or not alive:
            return None
        return _fold(alive, *self._space.in_study(point))


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
    return create_trial(
        state=state,
        values=means if state is TrialState.COMPLETE else None,
        params=dict(params),
        distributions=distributions,
        intermediate_values={e: statistics.fmean(v) for e, v in reports.items()},
        system_attrs=dict(records[0].notes),
    )


def _bounded(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], size: int
) -> list[FrozenTrial]:
    """Return the best points and the newest ones, in their order."""
    places = [
        place
        for place, trial in enumerate(trials)
        if trial.state is TrialState.COMPLETE and trial.values
    ]
    losses = [
        [o.loss(v) for o, v in zip(objectives, trials[place].values, strict=True)]
        for place in places
    ]
    count = min(KEPT_BEST, size)
    if len(objectives) == 1:
        scored = zip(losses, places, strict=True)
        best = {place for _, place in heapq.nsmallest(count, scored)}
    else:
        best = {places[index] for index, _ in pareto.order(losses)[:count]}
    for place in reversed(range(len(trials))):
        if len(best) == size:
            break
        best.add(place)
    return [trials[place] for place in sorted(best)]


class _Filled(InMemoryStorage):
    """Optuna's storage in memory, whose one study begins with trials as they are.

    `add_trial` copies each one deeply: 50 ms of a suggestion at 1,000 points.
    """

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        super().__init__()
        self._given = trials
        self._given_distributions = distributions

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        study_id = super().create_new_study(directions, study_name)
        self._studies[study_id].param_distribution = dict(self._given_distributions)
        for number, given in enumerate(self._given):
            trial = copy.copy(given)
            trial.number = number
            self.set(study_id, number, trial)
        return study_id

    def set(self, study_id: int, place: int, trial: FrozenTrial) -> None:
        """Put a trial in the place of an older one, or after the last one."""
        trial._trial_id = place
        self._studies[study_id].trials[place : place + 1] = [trial]
        self._trial_id_to_study_id_and_number[place] = (study_id, place)
        self._update_cache(place, study_id)
        self._max_trial_id = max(self._max_trial_id, place)


class Pruning:
    """A study in memory for a pruner of Optuna, kept up to date with the records.

    Args:
        name: of the sweep; Hyperband draws a trial's bracket by it.
    """

    def __init__(
        self, pruner: BasePruner, *, name: str, objectives: Sequence[Objective]
    ) -> None:
        self._pruner = pruner
        self._places: dict[str, int] = {}
        self._storage = _Filled((), {})
        self._study = optuna.create_study(
            storage=self._storage, study_name=name, directions=directions(objectives)
        )

    def update(self, records: Mapping[int, TrialRecord]) -> None:
        """Take in the records that have changed, by place."""
        if not isinstance(self._pruner, NopPruner):
            for place, record in records.items():
                self._places[record.id] = place
                self._storage.set(self._study._study_id, place, _trial(record))

    def judge(self, record: TrialRecord) -> tuple[bool, TrialRecord]:
        """Return whether a trial stops, and its record with the pruner's notes.

        The notes name their epoch: after a kill, the report that a new start repeats
        gets the answer of a start that was never killed.
        """
        if isinstance(self._pruner, NopPruner):
            return False, record
        place, old = self._places[record.id], record.notes.get(NOTES)
        notes = dict(record.notes)
        if old is not None and old["step"] == record.last_epoch:
            notes = {k: v for k, v in notes.items() if k not in old["keys"]}
        trial = _trial(replace(record, notes=notes))
        self._storage.set(self._study._study_id, place, trial)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
            is_over = self._pruner.prune(self._study, trial)
        after = self._storage.get_trial(place).system_attrs
        new = {k: v for k, v in after.items() if k not in notes or notes[k] != v}
        if new:
            about = {"step": record.last_epoch, "keys": list(new)}
            record = replace(record, notes={**record.notes, NOTES: about, **new})
        return is_over, record


def _trial(record: TrialRecord) -> FrozenTrial:
    """Return a record as its row in Optuna's storage has it."""
    return FrozenTrial(
        number=record.number,
        trial_id=record.number,
        state=TrialState[NAMES[record.state]],
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
