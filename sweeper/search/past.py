"""The points that a history has tried, kept up to date at the cost of what is new.

It reads rows and decides nothing; the same rows give the same answers, whether they
were seen one by one or all at once.
"""

import copy
import heapq
import statistics
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.errors import ConfigError
from sweeper.experiment.space import Space
from sweeper.statistics import pareto
from sweeper.trial import Params

Key = frozenset[tuple[str, object]]

KEPT_BEST = 100  # of a bounded history: TPE's good half has 25 points at most


def key(params: Mapping[str, object]) -> Key:
    """What equal points share: 1 and 1.0 are one, as in a `Space`."""
    return frozenset(params.items())


def known_point(params: Mapping[str, object], *, space: Space) -> Params | None:
    """The space's spelling of a point; None where an edit has removed it."""
    try:
        point = space.canonical(params)
    except ConfigError:
        return None
    return point if space.allows(point) else None


class Past:
    """What became of each point, over its seeds.

    Args:
        warm: trials of another sweep: samplers see them, but they were not tried here.
    """

    def __init__(self, space: Space, *, warm: Sequence[FrozenTrial] = ()) -> None:
        self._space = space
        self._warm = warm
        self._rows: list[FrozenTrial] = []
        self._keys: list[Key] = []
        self._places: dict[Key, list[int]] = {}  # of the rows of a point
        self._known: dict[Key, Params | None] = {}
        self._folds: dict[Key, FrozenTrial | None] = {}
        self._stale: set[Key] = set()
        self._num_known = 0

    def see(self, history: Sequence[FrozenTrial]) -> "Past":
        """Take in what is new of a history from which no row goes.

        A row that has changed is another object, in its old place.
        """
        num_old = len(self._rows)
        for place, row in enumerate(history):
            if place >= num_old:
                self._add(place, row)
            elif row is not self._rows[place]:
                self._rows[place] = row
                self._stale.add(self._keys[place])
        return self

    def _add(self, place: int, row: FrozenTrial) -> None:
        found = key(row.params)
        if found not in self._places:
            self._places[found] = []
            point = known_point(row.params, space=self._space)
            self._known[found] = point
            self._num_known += point is not None
        self._rows.append(row)
        self._keys.append(found)
        self._places[found].append(place)
        self._stale.add(found)

    def has(self, params: Params) -> bool:
        """Whether a point was tried, whatever became of it."""
        return key(params) in self._places

    @property
    def num_points(self) -> int:
        """Points tried, those that the space has lost included."""
        return len(self._places)

    @property
    def is_exhausted(self) -> bool:
        """Whether every point was tried; never so where they cannot be counted."""
        size = self._space.size
        return size is not None and self._num_known >= size

    def study(
        self, directions: Sequence[StudyDirection], *, newest: int | None = None
    ) -> Study:
        """A study in memory with one trial a point: the mean over its seeds.

        Samplers count trials (a population, a start-up phase) and mean points. A row
        of an older file may hold values that were since removed; it is left out, and
        so is a point that only failed.

        Args:
            newest: how many points at most, the `KEPT_BEST` best ones among them;
                None for all.
        """
        trials = [] if newest == 0 else self._trials()
        if len(directions) > 1:  # Optuna ranks what was pruned by one objective
            trials = [t for t in trials if t.state is not TrialState.PRUNED]
        if newest is not None and len(trials) > newest:
            trials = _bounded(trials, directions, newest)
        storage = _Filled(trials, self._space.distributions)
        return optuna.create_study(storage=storage, directions=directions)

    def _trials(self) -> list[FrozenTrial]:
        for found in self._stale:
            self._folds[found] = self._fold(found)
        self._stale.clear()
        folds = [fold for found in self._places if (fold := self._folds[found])]
        return [*self._warm, *folds]

    def _fold(self, found: Key) -> FrozenTrial | None:
        point = self._known[found]
        rows = [self._rows[place] for place in self._places[found]]
        alive = [
            row
            for row in rows
            if row.state is not TrialState.FAIL or _is_infeasible(row)
        ]
        if point is None or not alive:
            return None
        return _fold(alive, *self._space.in_study(point))


def _is_infeasible(row: FrozenTrial) -> bool:
    """Whether no share of a card was enough: that says something of the point."""
    return bool(row.user_attrs.get("is_infeasible"))


def _fold(
    rows: Sequence[FrozenTrial],
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    """One trial for the seeds of a point; a seed that still runs does not count.

    An infeasible point is one that was pruned before it said anything, which samplers
    rank below all others.
    """
    states = {row.state for row in rows}
    final = (TrialState.COMPLETE, TrialState.PRUNED)
    other = TrialState.PRUNED if all(map(_is_infeasible, rows)) else TrialState.RUNNING
    state = next((s for s in final if s in states), other)
    values = [row.values for row in rows if row.state in final and row.values]
    means = [statistics.fmean(column) for column in zip(*values, strict=True)]
    reports: dict[int, list[float]] = {}
    for row in rows:
        for step, value in row.intermediate_values.items():
            reports.setdefault(step, []).append(value)
    return create_trial(
        state=state,
        values=means if state is TrialState.COMPLETE else None,
        params=dict(params),
        distributions=distributions,
        intermediate_values={s: statistics.fmean(v) for s, v in reports.items()},
        system_attrs=dict(rows[0].system_attrs),
    )


def _bounded(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], size: int
) -> list[FrozenTrial]:
    """The best points and the newest ones, in their order."""
    signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions]
    places = [
        place
        for place, trial in enumerate(trials)
        if trial.state is TrialState.COMPLETE and trial.values
    ]
    signed = [
        [sign * v for sign, v in zip(signs, trials[place].values, strict=True)]
        for place in places
    ]
    count = min(KEPT_BEST, size)
    if len(signs) == 1:
        scored = zip(signed, places, strict=True)
        best = {place for _, place in heapq.nsmallest(count, scored)}
    else:
        best = {places[index] for index, _ in pareto.order(signed)[:count]}
    places = sorted(best)
    for place in reversed(range(len(trials))):
        if len(best) == size:
            break
        if place not in best:
            best.add(place)
            places.append(place)
    return [trials[place] for place in sorted(places)]


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
        study = self._studies[study_id]
        study.param_distribution = dict(self._given_distributions)
        for number, given in enumerate(self._given):
            trial = copy.copy(given)
            trial.number = trial._trial_id = number
            study.trials.append(trial)
            self._trial_id_to_study_id_and_number[number] = (study_id, number)
            self._update_cache(number, study_id)
        self._max_trial_id = len(self._given) - 1
        return study_id
