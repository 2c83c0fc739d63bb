"""The next trial of a sweep, at the same cost however long the sweep is."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import TrialRecord
from sweeper.protocol import Params
from sweeper.search import policy
from sweeper.search.history import History, Key, key
from sweeper.search.pbt.population import Population
from sweeper.search.schedulers import Asha
from sweeper.statistics import leaderboard
from sweeper.system.seeds import derive


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A trial that has no row yet; its record has no number."""

    record: TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A trial that the scheduler stopped and that it continues now."""

    record: TrialRecord


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is next until a trial that runs now has ended."""


Action = Create | Resume | Wait | None


class Agenda:
    """Names the trial that comes next, for records of which none ever goes.

    In this order: a stopped trial that the scheduler promotes, a seed that an old point
    lacks, a new point, and, once all of them have ended, finalists on fresh seeds.

    Args:
        search: the search algorithm, as `algorithms.search` read it.
        scheduler: as `algorithms.scheduler` read it.
        warm: trials of another sweep to learn from.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        search: policy.Search,
        *,
        scheduler: object = None,
        warm: Sequence[TrialRecord] = (),
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._search = search
        self._scheduler = scheduler
        self._history = History(space, warm=warm)
        self._fresh = leaderboard.confirm_seeds(
            experiment.confirm, taken=experiment.seeds
        )
        self._num_seen = 0
        self._num_first = 0  # records of the first round: all but those of finalists
        self._pairs: set[tuple[str, int]] = set()  # points with their seeds
        self._points: set[str] = set()
        self._missing: deque[tuple[TrialRecord, int]] = deque()
        self._tried: set[Key] = set()
        self._grid: Iterator[Params] | None = None
        self._head: Params | None = None  # of the grid: its first untried point

    def next(self, records: Sequence[TrialRecord]) -> Action:
        """Return what comes next; None if nothing will.

        Args:
            records: of all trials that are not hidden, by number.
        """
        promotion = self._promotion(records)
        if isinstance(promotion, Resume):
            return promotion
        for record in itertools.islice(records, self._num_seen, None):
            self._num_seen += 1
            if record.seed not in self._fresh:
                self._add(record)
        if isinstance(self._scheduler, Population):
            return self._of_population(records, self._scheduler)
        limit, confirm = self._experiment.budget.trials, self._experiment.confirm
        if limit is None or self._num_first < limit - confirm.trials:
            new = self._missing_seed() or self._new(records)
            if new is not None:
                return Create(record=new)
        if promotion is not None or not confirm.top:
            return promotion
        return self._confirmation(records)

    def _promotion(self, records: Sequence[TrialRecord]) -> Action:
        scheduler = self._scheduler
        if not isinstance(scheduler, Asha) or not scheduler.is_promoting:
            return None
        record = scheduler.promoted(records, objective=self._experiment.objective)
        if record is not None:
            return Resume(record=record)
        return None if all(r.state.is_final for r in records) else Wait()

    def _of_population(
        self, records: Sequence[TrialRecord], population: Population
    ) -> Action:
        """Return a founder, then children, by generations."""
        limit = self._experiment.budget.trials
        if limit is not None and len(records) >= limit:
            return None
        lineage = population.founder(records)
        record = self._new(records) if lineage is not None else None
        if record is not None:
            founder = TrialRecord.new(record.params, seed=record.seed, lineage=lineage)
            return Create(record=replace(founder, notes=record.notes))
        child = population.child(
            records,
            space=self._space,
            objective=self._experiment.objective,
            seed=self._experiment.seeds[0],
        )
        if child is not None:
            return Create(record=child)
        newest = population.newest(records).values()
        return None if all(r.state.is_final for r in newest) else Wait()

    def _confirmation(self, records: Sequence[TrialRecord]) -> Action:
        """Return the next run of a finalist, once the first round has ended."""
        first = self._first(records)
        if not all(record.state.is_final for record in first):
            return Wait()
        pairs = {(record.point, record.seed) for record in records}
        chosen = leaderboard.finalists(first, self._experiment)
        for seed in self._fresh:
            for record in chosen:
                if (record.point, seed) not in pairs:
                    return Create(record=_with_seed(record, seed))
        return None

    def _first(self, records: Sequence[TrialRecord]) -> Sequence[TrialRecord]:
        if not self._fresh:
            return records
        return [record for record in records if record.seed not in self._fresh]

    def _add(self, record: TrialRecord) -> None:
        self._num_first += 1
        self._pairs.add((record.point, record.seed))
        self._tried.add(key(record.params))
        if record.point not in self._points:
            self._points.add(record.point)
            self._missing.extend((record, seed) for seed in self._experiment.seeds)

    def _missing_seed(self) -> TrialRecord | None:
        while self._missing:
            record, seed = self._missing[0]
            if (record.point, seed) not in self._pairs:
                return _with_seed(record, seed)
            self._missing.popleft()
        return None

    def _new(self, records: Sequence[TrialRecord]) -> TrialRecord | None:
        """Return a new point with the first seed."""
        seed = self._experiment.seeds[0]
        if self._search.is_grid:
            point = self._next_point()
            return None if point is None else TrialRecord.new(point, seed=seed)
        first = self._first(records)
        suggestion = policy.suggest(
            self._history.update(first),
            space=self._space,
            search=self._search,
            objectives=self._experiment.objectives,
            seed=derive(seed, "suggest", len(first)),
        )
        if suggestion is None:
            return None
        record = TrialRecord.new(suggestion.params, seed=seed)
        return replace(record, notes=suggestion.notes)

    def _next_point(self) -> Params | None:
        """Return the first point of the grid that no record has."""
        if self._grid is None:
            self._grid = itertools.chain(
                self._space.listed_points, self._space.points()
            )
            self._head = next(self._grid, None)
        while self._head is not None and key(self._head) in self._tried:
            self._head = next(self._grid, None)
        return self._head


def _with_seed(record: TrialRecord, seed: int) -> TrialRecord:
    """Return a new trial of the point of a record."""
    new = TrialRecord.new(record.params, seed=seed)
    return replace(new, notes=record.notes)
