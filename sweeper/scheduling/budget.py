"""When a sweep has had enough: limits on hours and money, a target, patience.

A function of the rows of all its starts; the limit on trials is the agenda's, since
it ends a sweep as planned.
"""

import bisect
import math
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction

from optuna.trial import FrozenTrial, TrialState

from sweeper.experiment.sections import Budget, Objective, cost
from sweeper.storage.attributes import card_seconds

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_Place = tuple[datetime, int]  # when a row ended, and its number


class Meter:
    """What the rows of a sweep have used of its budget, at the cost of what is new.

    Args:
        price: of a card for an hour, by type; cards without one add no cost.
    """

    def __init__(
        self, budget: Budget, *, objective: Objective, price: Mapping[str, float]
    ) -> None:
        self._budget = budget
        self._sign = objective.sign
        self._price = price
        self._gpu_seconds = _Sum()
        self._cost = _Sum()
        self._hits: dict[int, float] = {}  # first value of a row that is good enough
        self._ended = _Ended()

    def look(self, rows: Mapping[int, FrozenTrial]) -> None:
        """Count rows that are new or were written to.

        Args:
            rows: by what names a trial, also where its row is another one by now.
        """
        for key, row in rows.items():
            seconds = card_seconds(row)
            priced = {c: amount for c, amount in seconds.items() if c in self._price}
            self._gpu_seconds.put(key, sum(seconds.values()))
            self._cost.put(key, cost(self._price, priced))
            self._ended.put(key, row, sign=self._sign)
            self._look_for_target(key, row)

    def _look_for_target(self, key: int, row: FrozenTrial) -> None:
        target = self._budget.target
        if target is None:
            return
        self._hits.pop(key, None)
        for value in row.intermediate_values.values():
            if self._sign * value <= self._sign * target:
                self._hits[key] = value
                return

    def reached(self, *, wall_seconds: float) -> str:
        """The first limit that is reached, as a message; "" for none.

        Args:
            wall_seconds: time that drivers have driven this sweep, over all starts.
        """
        used = {
            "wall_hours": wall_seconds / 3600,
            "gpu_hours": self._gpu_seconds.total / 3600,
            "cost": self._cost.total,
        }
        budget = self._budget
        if message := exceeded(budget, used=used):
            return message
        if self._hits:
            value = self._hits[min(self._hits)]
            return f"budget.target: {value:.6g} of {budget.target:g} reached"
        if budget.patience is not None and self._ended.since >= budget.patience:
            return f"budget.patience: {self._ended.since} trials without a better one"
        return ""


def exceeded(budget: Budget, *, used: Mapping[str, float]) -> str:
    """The first limit that what was used has come to.

    >>> exceeded(Budget(wall_hours=8), used={"wall_hours": 8.5})
    'budget.wall_hours: 8.5 of 8 used'
    """
    for name, amount in used.items():
        limit = getattr(budget, name)
        if limit is not None and amount >= limit:
            return f"budget.{name}: {amount:.3g} of {limit:g} used"
    return ""


class _Sum:
    """A sum whose terms may change; it is exact, so that no history drifts it."""

    def __init__(self) -> None:
        self._terms: dict[int, float] = {}
        self._total = Fraction(0)

    def put(self, key: int, term: float) -> None:
        """Set a term."""
        before = self._terms.get(key, 0.0)
        if term != before:
            self._total += Fraction(term) - Fraction(before)
            self._terms[key] = term

    @property
    def total(self) -> float:
        """The number next to the sum, as `math.fsum` has it."""
        return float(self._total)


class _Ended:
    """The trials that have ended with a result, in the order of their ends."""

    def __init__(self) -> None:
        self._order: list[_Place] = []
        self._known: dict[int, tuple[float, _Place]] = {}  # smaller is better
        self._best: tuple[float, _Place] | None = None  # the earliest of equal ones

    def put(self, key: int, row: FrozenTrial, *, sign: float) -> None:
        """Look at a row that has ended, or may have been put in the queue again."""
        known = self._known.pop(key, None)
        if known is not None:
            del self._order[bisect.bisect_left(self._order, known[1])]
            if known == self._best:
                self._best = min(self._known.values(), default=None)
        if row.state not in ENDED:
            return
        assert row.datetime_complete is not None  # noqa: S101  # it has ended
        place = (row.datetime_complete, row.number)
        loss = sign * row.values[0] if row.values else math.inf
        self._known[key] = found = (loss, place)
        bisect.insort(self._order, place)
        self._best = found if self._best is None else min(self._best, found)

    @property
    def since(self) -> int:
        """How many have ended since the best one did; all where none has a value."""
        if self._best is None or self._best[0] == math.inf:
            return len(self._order)
        return len(self._order) - 1 - bisect.bisect_left(self._order, self._best[1])
