"""Conclusions from a leaderboard: winner and ties, importance, expected gains.

Optuna is imported only for importances: most views of a sweep do not need it.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.experiment.definition import Objective
from sweeper.journal.record import State
from sweeper.protocol import Value
from sweeper.statistics import significance
from sweeper.statistics.leaderboard import Row
from sweeper.statistics.significance import expected_max, t_975

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_ROWS = 8
BEST_SHARE = 0.25  # share of the rows that count as good
FEW_VALUES = 5  # a numeric parameter with at most this many values counts as a choice
LOG_RATIO = 30.0  # positive numbers with a larger ratio count as logarithmic
POWER_Z = 0.8416  # normal quantile for a power of 80 %
MAX_SEEDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Statistical conclusion about the best rows.

    Attributes:
        winner: the best row, if every other row is worse by the test.
        num_tied: number of rows that may be as good as the best one, which is counted.
        num_rows: number of rows with a value; only finalists if there are any.
        seeds: smallest number of seeds of a tied row.
        std: standard deviation over seeds within rows; NaN with one seed.
        by_chance: expected lead of the best of `num_rows` equal suggestions over their
            mean; NaN if the noise is unknown.
        is_lower_bound: whether `by_chance` includes only the noise of examples.
        more_seeds: additional seeds of each tied row that would separate the best two
            with 80 % power if the true gap is the observed one; 0 if unknown.
        is_population: whether trials start from other trials, so that seeds cannot be
            added.
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
    """Compare ranked rows, and return the conclusion."""
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

    NaN if the size is unknown. Only half of the variance is counted, since differences
    between scores on the same examples have at most about half of it.
    """
    stored = [t.correctness for row in rows for t in row.trials if t.correctness]
    size = len(stored[0].correct) if stored else objective.validation_size
    means = [row.mean for row in rows if 0 <= row.mean <= 1]
    if not size or not means:
        return math.nan
    mean = sum(means) / len(means)
    return math.sqrt(mean * (1 - mean) / size / 2)


def _more_seeds(tied: Sequence[Row], std: float) -> int:
    """Return the missing seeds of the best two: n >= 2 (t + z)^2 (std / gap)^2."""
    if len(tied) < 2 or not std > 0:
        return 0
    gap = abs(tied[0].mean - tied[1].mean)
    num_seeds = min(len(tied[0].values), len(tied[1].values))
    for n in range(max(2, num_seeds), MAX_SEEDS):
        if gap * math.sqrt(n / 2) >= (t_975(2 * (n - 1)) + POWER_Z) * std:
            return max(1, n - num_seeds)
    return 0


def verdict_lines(
    rows: Sequence[Row], objectives: Sequence[Objective]
) -> tuple[str, ...]:
    """Return the verdict on ranked rows in words, one statement per line."""
    if len(objectives) == 1:
        return _in_words(verdict(rows, objectives[0]))
    num_best = sum(row.front == 1 for row in rows)
    num_valued = sum(row.front > 0 for row in rows)
    if not num_valued:
        return ()
    names = ", ".join(map(str, objectives))
    return (
        f"Pareto front: {num_best} of {num_valued} suggestions, which no other one "
        f"beats in {names} at once",
        "fronts are those of means; their differences are not tested",
    )


def _in_words(result: Verdict) -> tuple[str, ...]:
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
            first += (
                f"; about {result.more_seeds} more seeds would separate the first two"
            )
    if math.isnan(result.by_chance) or result.by_chance == 0:
        return (first,)
    least = "at least " if result.is_lower_bound else ""
    return (
        first,
        f"by chance alone the best of {result.num_rows} is {least}"
        f"{result.by_chance:.2g} better than their mean",
    )


def importance(rows: Sequence[Row], objective: Objective) -> Mapping[str, float]:
    """Return the importance of each parameter for a good result, largest first.

    Optuna's PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023) compares the values in
    the best quarter of the rows with those of all rows. The importances sum to 1. Rows
    without a complete trial are left out: the value of a trial that was stopped early
    depends more on its rung than on its settings. Parameters that some rows lack, or
    that have a single value, are left out.

    Returns:
        {} with fewer than eight rows, or if all rows or all parameters are equal.
    """
    ranked = [row for row in rows if row.rank and row.states.get(State.COMPLETE)]
    columns = {
        name: [row.params[name] for row in ranked]
        for name in dict.fromkeys(name for row in ranked for name in row.params)
        if all(name in row.params for row in ranked)
    }
    varied = {
        n: _column(vs) for n, vs in columns.items() if len(set(map(repr, vs))) > 1
    }
    if len(ranked) < FEWEST_ROWS or not varied or len({r.mean for r in ranked}) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            value=objective.loss(row.mean),
            params={name: values[i] for name, (values, _) in varied.items()},
            distributions={name: kind for name, (_, kind) in varied.items()},
        )
        for i, row in enumerate(ranked)
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(
        target_quantile=BEST_SHARE
    )
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _column(
    values: Sequence[Value],
) -> tuple[Sequence[float | str], "BaseDistribution"]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [
        float(v)
        for v in values
        if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    if len(numbers) < len(values) or len(set(numbers)) <= FEW_VALUES:
        texts = [repr(value) for value in values]  # True and 1 are two choices
        return texts, CategoricalDistribution(tuple(dict.fromkeys(texts)))
    is_log = is_logarithmic(numbers)
    return numbers, FloatDistribution(min(numbers), max(numbers), log=is_log)


def is_logarithmic(numbers: Collection[float]) -> bool:
    """Return whether the numbers are positive and their ratio exceeds `LOG_RATIO`."""
    return 0 < min(numbers) < max(numbers) / LOG_RATIO


def chance_of_better(tried: int, more: int) -> float:
    """Return the probability that one of `more` random points beats all tried ones.

    Exact for independent draws from one space, since each is equally likely to be best.

    >>> chance_of_better(20, 5)
    0.2
    """
    return more / (tried + more)


def expected_gain(means: Sequence[float], more: int) -> float:
    """Return the expected improvement of the best result by `more` random points.

    Results are taken as normal, with the standard deviation of `means`; NaN for fewer
    than two.
    """
    if len(means) < 2:
        return math.nan
    spread = statistics.stdev(means)
    return spread * (expected_max(len(means) + more) - expected_max(len(means)))


def importance_lines(
    rows: Sequence[Row], objective: Objective, *, is_random: bool, more: int = 10
) -> tuple[str, ...]:
    """Return importances and expected gains in words, one per line."""
    shares = importance(rows, objective)
    text = [f"{name}: {share:.0%}" for name, share in shares.items()]
    if not shares:
        text.append(f"importance: needs {FEWEST_ROWS} suggestions with other results")
    means = [row.mean for row in rows if row.rank]
    if is_random and len(means) > 1:
        chance = chance_of_better(len(means), more)
        text.append(
            f"{more} more random trials: {chance:.0%} chance of a better one, expected "
            f"to be {expected_gain(means, more):.2g} better"
        )
    return tuple(text)
