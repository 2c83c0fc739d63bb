"""The trial that a sweep owes next, at the same cost however long the sweep is.

`agenda.next_owed` defines the answer from all rows; this one looks at each row once.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.search import agenda, policy
from sweeper.search.agenda import Again, Owed, Wait
from sweeper.search.past import Key, Past, key
from sweeper.search.population import Population
from sweeper.statistics import finalists
from sweeper.trial import Params


class Backlog:
    """What `agenda.next_owed` says of rows of which none ever goes.

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
        warm: Sequence[FrozenTrial] = (),
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._search = search
        self._scheduler = scheduler
        self._past = Past(space, warm=warm)
        self._fresh = finalists.confirm_seeds(
            experiment.confirm, taken=experiment.seeds
        )
        self._num_seen = 0
        self._num_first = 0  # rows of the first round: all but those of finalists
        self._known: set[tuple[str, int]] = set()  # points with their seeds
        self._points: set[str] = set()
        self._missing: deque[tuple[FrozenTrial, int]] = deque()
        self._tried: set[Key] = set()
        self._grid: Iterator[Params] | None = None
        self._head: Params | None = None  # of the grid: its first untried point

    def next(self, rows: Sequence[FrozenTrial]) -> Owed | Again | Wait | None:
        """The next trial that has no row yet; None where the sweep owes nothing."""
        scheduler = self._scheduler
        again = agenda.promotion(rows, scheduler, self._experiment)
        if isinstance(again, Again):
            return again
        for row in itertools.islice(rows, self._num_seen, None):
            self._num_seen += 1
            if not self._is_fresh(row):
                self._add(row)
        if isinstance(scheduler, Population):
            return agenda.of_population(
                rows,
                scheduler,
                experiment=self._experiment,
                space=self._space,
                new=lambda: self._new(rows),
            )
        limit, confirm = self._experiment.budget.trials, self._experiment.confirm
        if limit is None or self._num_first < limit - confirm.trials:
            owed = self._missing_seed() or self._new(rows)
            if owed is not None:
                return owed
        if again is not None or not confirm.top:
            return again
        return agenda.confirmation(rows, self._first(rows), self._experiment)

    def _first(self, rows: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        if not self._fresh:
            return rows
        return [row for row in rows if not self._is_fresh(row)]

    def _is_fresh(self, row: FrozenTrial) -> bool:
        return row.user_attrs["seed"] in self._fresh

    def _add(self, row: FrozenTrial) -> None:
        self._num_first += 1
        point = row.user_attrs["point"]
        self._known.add((point, row.user_attrs["seed"]))
        self._tried.add(key(row.params))
        if point not in self._points:
            self._points.add(point)
            self._missing.extend((row, seed) for seed in self._experiment.seeds)

    def _missing_seed(self) -> Owed | None:
        while self._missing:
            row, seed = self._missing[0]
            if (row.user_attrs["point"], seed) not in self._known:
                return Owed(suggestion=agenda.again(row), seed=seed)
            self._missing.popleft()
        return None

    def _new(self, rows: Sequence[FrozenTrial]) -> Owed | None:
        if not self._search.is_grid:
            return agenda.new(
                self._first(rows),
                experiment=self._experiment,
                space=self._space,
                search=self._search,
                past=self._past,
            )
        point = self._next_point()
        if point is None:
            return None
        suggestion = policy.Suggestion(
            params=point, distributions=self._space.distributions_of(point)
        )
        return Owed(suggestion=suggestion, seed=self._experiment.seeds[0])

    def _next_point(self) -> Params | None:
        """The first point of the grid that no row has; what was tried stays tried."""
        if self._grid is None:
            self._grid = itertools.chain(
                self._space.listed_points, self._space.points()
            )
            self._head = next(self._grid, None)
        while self._head is not None and key(self._head) in self._tried:
            self._head = next(self._grid, None)
        return self._head
