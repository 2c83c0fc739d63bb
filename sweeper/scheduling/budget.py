"""When a sweep has had enough: limits on hours and money, a target, patience.

A function of the rows of all its starts; the limit on trials is the agenda's, since
it ends a sweep as planned.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from sweeper.definition.settings import Budget, Objective, hourly
from sweeper.storage.attributes import gpu_seconds

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def reached(
    budget: Budget,
    rows: Sequence[FrozenTrial],
    *,
    objective: Objective,
    price: Mapping[str, float],
    wall_seconds: float,
) -> str:
    """The first limit that is reached, as a message; "" for none.

    Args:
        price: of a card for an hour, by type; a single one is that of every card.
        wall_seconds: time that drivers have driven this sweep, over all starts.
    """
    used = {"wall_hours": wall_seconds / 3600}
    if budget.gpu_hours is not None:
        used["gpu_hours"] = gpu_hours(rows)
    if budget.cost is not None:
        used["cost"] = cost(rows, price)
    return (
        exceeded(budget, used=used)
        or hit(budget.target, rows, objective=objective)
        or tired(budget.patience, rows, objective=objective)
    )


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


def gpu_hours(rows: Iterable[FrozenTrial]) -> float:
    """GPU hours of all attempts: a quarter card for an hour is 0.25."""
    return sum(gpu_seconds(row) for row in rows) / 3600


def cost(rows: Iterable[FrozenTrial], price: Mapping[str, float]) -> float:
    """What the GPU hours of all attempts cost."""
    return sum(
        gpu_seconds(row) / 3600 * hourly(price, row.user_attrs.get("card", ""))
        for row in rows
    )


def hit(
    target: float | None, rows: Iterable[FrozenTrial], *, objective: Objective
) -> str:
    """Whether a trial is good enough; each report counts."""
    if target is None:
        return ""
    sign = 1 if objective.mode == "max" else -1
    for row in rows:
        for value in row.intermediate_values.values():
            if sign * value >= sign * target:
                return f"budget.target: {value:.6g} of {target:g} reached"
    return ""


def tired(
    patience: int | None, rows: Iterable[FrozenTrial], *, objective: Objective
) -> str:
    """Whether so many trials have ended since the best one did."""
    if patience is None:
        return ""
    ended = sorted((row for row in rows if row.state in ENDED), key=_ended_at)
    sign = 1 if objective.mode == "max" else -1
    best, since = float("-inf"), 0
    for row in ended:
        value = sign * row.values[0] if row.values else float("-inf")
        since = 0 if value > best else since + 1
        best = max(best, value)
    if since < patience:
        return ""
    return f"budget.patience: {since} trials without a better one"


def _ended_at(row: FrozenTrial) -> tuple[datetime, int]:
    assert row.datetime_complete is not None  # noqa: S101  # it has ended
    return (row.datetime_complete, row.number)
