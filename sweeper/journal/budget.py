"""Limits on a sweep: hours and money, a target, patience.

A function of the records of all its starts. The limit on trials is the queue's, since
it ends a sweep as planned.
"""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction

from sweeper.experiment.sections import Budget, Objective, cost
from sweeper.journal.record import State, TrialRecord


class Meter:
    """What a sweep has used of its budget, at the cost of the records that changed.

    Args:
        price: of a card for an hour, by type; cards without one add no cost.
    """

    def __init__(
        self, budget: Budget, *, objective: Objective, price: Mapping[str, float]
    ) -> None:
        self._budget = budget
        self._objective = objective
        self._price = price
        self._gpu_seconds = _Sum()
        self._cost = _Sum()
        self._hits: dict[int, float] = {}  # first value of a trial that is good enough
        self._ended: dict[int, tuple[datetime, int, float]] = {}  # and number, loss
        self._since_best: int | None = None  # None after a change of `_ended`

    def look(self, records: Mapping[int, TrialRecord]) -> None:
        """Count records that are new or have changed.

        Args:
            records: by the place of their trial, which stays.
        """
        for place, record in records.items():
            seconds = record.card_seconds
            priced = {c: amount for c, amount in seconds.items() if c in self._price}
            self._gpu_seconds.put(place, sum(seconds.values()))
            self._cost.put(place, cost(self._price, priced))
            self._look_for_end(place, record)
            self._look_for_target(place, record)

    def _look_for_end(self, place: int, record: TrialRecord) -> None:
        is_over = record.state in (State.COMPLETE, State.PRUNED)
        if is_over and record.ended_at is not None and record.result:
            loss = self._objective.loss(record.result[0])
            self._ended[place] = (record.ended_at, record.number, loss)
            self._since_best = None
        elif self._ended.pop(place, None) is not None:
            self._since_best = None

    def _look_for_target(self, place: int, record: TrialRecord) -> None:
        target, loss = self._budget.target, self._objective.loss
        if target is None:
            return
        self._hits.pop(place, None)
        for value in record.values.values():
            if loss(value) <= loss(target):
                self._hits[place] = value
                return

    @property
    def since_best(self) -> int:
        """How many trials have ended with a result since the best one did."""
        if self._since_best is None:
            losses = [loss for *_, loss in sorted(self._ended.values())]
            best = losses.index(min(losses)) if losses else -1
            self._since_best = len(losses) - 1 - best
        return self._since_best

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
        if budget.patience is not None and self.since_best >= budget.patience:
            return f"budget.patience: {self.since_best} trials without a better one"
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
