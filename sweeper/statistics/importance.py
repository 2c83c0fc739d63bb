"""How much of the differences one parameter explains alone; pure.

It says nothing of interactions, and nothing of parameters that took one value.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from sweeper.statistics.leaderboard import Row
from sweeper.trial import State, Value

MAX_GROUPS = 5  # into which numbers of many values are cut, equally full


def importance(rows: Sequence[Row], names: Sequence[str]) -> tuple[float, ...]:
    """Share of the variance of the means that each parameter explains, 0 to 1.

    Epsilon squared: eta squared less what chance alone would explain (T. L. Kelley,
    An unbiased correlation ratio measure, PNAS 21, 1935). NaN where nothing can be
    said: too few rows for the groups, or no difference to explain.
    """
    # a trial that was stopped early says less of its settings than of the rung
    ranked = [row for row in rows if row.rank and row.states.get(State.COMPLETE)]
    means = [row.mean for row in ranked]
    return tuple(
        explained(groups([row.params.get(name) for row in ranked]), means)
        for name in names
    )


def groups(values: Sequence[Value]) -> list[int]:
    """A group for each value: equal values share one, many numbers are cut.

    >>> groups(["a", "b", "a"])
    [0, 1, 0]
    >>> groups([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """
    distinct = list(dict.fromkeys(values))
    numbers = [v for v in distinct if isinstance(v, int | float)]
    if len(distinct) <= MAX_GROUPS or len(numbers) < len(distinct):
        order: Mapping[Value, int] = {v: i for i, v in enumerate(distinct)}
        return [order[v] for v in values]
    number = min(MAX_GROUPS, max(2, len(values) // 2))
    cut = {v: i * number // len(numbers) for i, v in enumerate(sorted(numbers))}
    return [cut[v] for v in values if isinstance(v, int | float)]


def explained(group: Sequence[int], means: Sequence[float]) -> float:
    """Epsilon squared of a grouping, not below 0.

    >>> explained([0, 0, 1, 1], [0.1, 0.1, 0.9, 0.9])
    1.0
    """
    number = len(set(group))
    degrees = len(means) - number
    if number < 2 or degrees < 1:
        return math.nan
    mean = statistics.fmean(means)
    total = sum((m - mean) ** 2 for m in means)
    if total == 0:
        return math.nan
    members = [
        [m for m, g in zip(means, group, strict=True) if g == key] for key in set(group)
    ]
    within = sum((m - statistics.fmean(ms)) ** 2 for ms in members for m in ms)
    unbiased = within / degrees / (total / (len(means) - 1))
    return max(0.0, 1.0 - unbiased)
