"""The next trial of a sweep, at a cost that does not grow with the sweep."""

import functools
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import TrialRecord
from sweeper.protocol import Params
from sweeper.search import policy
from sweeper.search.history import History, Key, key
from sweeper.search.schedulers import Action, Create, Scheduler, Wait
from sweeper.statistics import leaderboard


class Agenda:
    """The order of the trials of a sweep; records are never removed.

    First comes a stopped trial that the scheduler promotes, then a missing seed of an
    old point, then a new point. Once all of them have ended, finalists run on fresh
    seeds.

    Args:
        search: from `algorithms.search`.
        scheduler: from `algorithms.scheduler`.
        warm: trials of another sweep to learn from.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        search: policy.Search,
        *,
        scheduler: Scheduler | None = None,
        warm: Sequence[TrialRecord] = (),
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._search = search
        self._scheduler = scheduler or Scheduler()
        self._history = History(space, warm=warm)
        self._fresh = leaderboard.confirm_seeds(
            experiment.confirm, taken=experiment.seeds
        )
        self._num_seen = 0
        self._num_first = 0  # records of the first round: all but those of finalists
        self._seeds: dict[str, set[int]] = {}  # of each point
        self._missing: deque[tuple[TrialRecord, int]] = deque()
        self._tried: set[Key] = set()
        self._grid: Iterator[Params] = iter(())
        if search.is_grid:
            self._grid = itertools.chain(space.listed_points, space.points())
        self._head = next(self._grid, None)  # the first untried point

    def next(self, records: Sequence[TrialRecord]) -> Action:
        """Return the next action; None if no trial is left.

        Args:
            records: of all trials that are not hidden, by number.
        """
        for record in itertools.islice(records, self._num_seen, None):
            self._num_seen += 1
            if record.seed not in self._fresh:
                self._add(record)
        action = self._scheduler.next_trial(
            records,
            experiment=self._experiment,
            space=self._space,
            new=functools.partial(self._new, records),
        )
        if action is None and self._experiment.confirm.top:
            return self._confirmation(records)
        return action

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
        self._tried.add(key(record.params))
        seeds = self._seeds.setdefault(record.point, set())
        if not seeds:
            self._missing.extend((record, seed) for seed in self._experiment.seeds)
        seeds.add(record.seed)

    def _missing_seed(self) -> TrialRecord | None:
        while self._missing:
            record, seed = self._missing[0]
            if seed not in self._seeds[record.point]:
                return _with_seed(record, seed)
            self._missing.popleft()
        return None

    def _new(self, records: Sequence[TrialRecord]) -> TrialRecord | None:
        """Return a missing seed, or a new point with the first seed."""
        limit, confirm = self._experiment.budget.trials, self._experiment.confirm
        if limit is not None and self._num_first >= limit - confirm.trials:
            return None
        missing = self._missing_seed()
        if missing is not None:
            return missing
        if self._search.is_grid:
            point = self._next_point()
            seed = self._experiment.seeds[0]
            return None if point is None else TrialRecord.new(point, seed=seed)
        return policy.suggest(
            self._history.update(self._first(records)),
            experiment=self._experiment,
            space=self._space,
            search=self._search,
        )

    def _next_point(self) -> Params | None:
        """Return the first point of the grid that no record has."""
        while self._head is not None and key(self._head) in self._tried:
            self._head = next(self._grid, None)
        return self._head


def _with_seed(record: TrialRecord, seed: int) -> TrialRecord:
    """Return a new trial of a record's point."""
    new = TrialRecord.new(record.params, seed=seed)
    return replace(new, notes=record.notes)
