"""Verdict on a leaderboard as a whole: a winner, ties, the effect of chance alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.experiment.sections import Objective
from sweeper.statistics import significance
from sweeper.statistics.intervals import expected_max, t_975
from sweeper.statistics.row import Row

POWER_Z = 0.8416  # 80 % of trials of the same size find a difference that is real
MAX_SEEDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Claims that the rows support.

    Attributes:
        winner: the best row, if every other row is worse by the test.
        num_tied: rows that may be as good as the best one, itself among them.
        num_rows: rows with a value; finalists only, where there are some.
        seeds: of each of the tied rows; the fewest.
        std: of one value over seeds, within rows; NaN for one seed.
        by_chance: how far the best of `num_rows` equal suggestions is better than
            their mean; NaN where no noise is known.
        is_lower_bound: whether `by_chance` holds the noise of examples only.
        more_seeds: further seeds of each tied row that would separate the best two
            with 80 % power, if the gap is as shown; 0 where that says nothing.
        is_population: whether trials start from others, so that no seed is added.
    """

    winner: Row | None
    num_tied: int
    num_rows: int
    seeds: int
    std: float
    by_chance: float
    is_lower_bound: bool
    more_seeds: int
    is_population: bool = False


def verdict(rows: Sequence[Row], objective: Objective) -> Verdict:
    """Return the verdict on ranked rows."""
    valued = [row for row in rows if row.rank]
    leading = [row for row in valued if row.is_finalist] or valued
    tied = [row for row in leading if row.is_tied]
    values = [row.by_seed for row in leading]
    seeds = min((len(row.values) for row in tied), default=0)
    mean_seeds = sum(len(row.values) for row in leading) / max(1, len(leading))
    std = math.sqrt(significance.within(values))
    error = std / math.sqrt(mean_seeds) if mean_seeds else math.nan
    is_lower_bound = math.isnan(error)
    if is_lower_bound:
        error = _example_error(leading, objective)
    noise = significance.noise(values)
    return Verdict(
        winner=tied[0] if len(tied) == 1 and len(leading) > 1 else None,
        num_tied=len(tied),
        num_rows=len(leading),
        is_population=any(row.parent for row in valued),
        seeds=seeds,
        std=std,
        by_chance=math.nan if math.isnan(error) else expected_max(len(leading)) * error,
        is_lower_bound=is_lower_bound,
        more_seeds=_more_seeds(tied, math.sqrt(noise.common)),
    )


def _example_error(rows: Sequence[Row], objective: Objective) -> float:
    """Return the standard error of one score from the size of the validation set.

    NaN if the size is not known. Half of the variance is counted: differences between
    scores of the same examples are less noisy by half or more.
    """
    stored = [t.correctness for row in rows for t in row.trials if t.correctness]
    size = len(stored[0].correct) if stored else objective.validation_size
    means = [row.mean for row in rows if 0 <= row.mean <= 1]
    if not size or not means:
        return math.nan
    mean = sum(means) / len(means)
    return math.sqrt(mean * (1 - mean) / size / 2)


def _more_seeds(tied: Sequence[Row], std: float) -> int:
    """Return the seeds that the best two still need: n >= 2 (t + z)^2 (std / gap)^2."""
    if len(tied) < 2 or not std > 0:
        return 0
    gap = abs(tied[0].mean - tied[1].mean)
    num_seeds = min(len(tied[0].values), len(tied[1].values))
    for n in range(max(2, num_seeds), MAX_SEEDS):
        if gap * math.sqrt(n / 2) >= (t_975(2 * (n - 1)) + POWER_Z) * std:
            return max(1, n - num_seeds)
    return 0


def said(rows: Sequence[Row], objectives: Sequence[Objective]) -> tuple[str, ...]:
    """Return the verdict on ranked rows in words, one statement a line."""
    if len(objectives) == 1:
        return lines(verdict(rows, objectives[0]))
    best = sum(row.front == 1 for row in rows)
    valued = sum(row.front > 0 for row in rows)
    if not valued:
        return ()
    names = ", ".join(map(str, objectives))
    return (
        f"Pareto front: {best} of {valued} suggestions, which no other one beats in "
        f"{names} at once",
        "fronts are those of means; what of them is chance is not tested",
    )


def lines(result: Verdict) -> tuple[str, ...]:
    """Return a verdict in words, one statement a line."""
    if result.num_rows < 2:
        return ()
    rows = f"{result.num_rows} suggestions"
    if result.winner is not None:
        first = f"winner: #1 is better than the other {result.num_rows - 1} (p <= 0.05)"
    elif result.seeds < 2 or not result.std > 0:
        why = "each ran with one seed" if result.seeds < 2 else "seeds change nothing"
        first = f"no winner: {why}, so no difference can be distinguished from chance"
        if result.seeds < 2 and not result.is_population:
            first += "; add seeds: [0, 1, 2, 3, 4]"
    else:
        first = (
            f"no winner: {result.num_tied} of {rows} are tied for the best (p > 0.05)"
        )
        if result.more_seeds:
            first += f"; about {result.more_seeds} more seeds would tell the first two"
    if math.isnan(result.by_chance) or result.by_chance == 0:
        return (first,)
    least = "at least " if result.is_lower_bound else ""
    return (
        first,
        f"by chance alone the best of {result.num_rows} is {least}"
        f"{result.by_chance:.2g} better than their mean",
    )
