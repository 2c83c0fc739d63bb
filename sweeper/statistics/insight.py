"""Importance of each parameter, and what more random trials may bring.

Optuna is imported late: most views of a sweep do without it.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeper.experiment.sections import Objective
from sweeper.journal.record import State
from sweeper.protocol import Value
from sweeper.statistics.intervals import expected_max
from sweeper.statistics.row import Row

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution, FloatDistribution

FEWEST_ROWS = 8
BEST_SHARE = 0.25  # of the rows: the results that count as good
FEW_VALUES = 5  # numbers of at most so many values count as choices
LOG_RATIO = 30.0  # positive numbers that span more count as logarithmic


def importance(rows: Sequence[Row], objective: Objective) -> Mapping[str, float]:
    """Return the importance of each parameter for a good result, largest first.

    PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023) as Optuna has it: how far the
    values of the best quarter of the rows differ from those of all rows. The
    importances sum to 1. Rows without a whole trial do not count: one that was stopped
    early says more about its rung than about its settings. A parameter that some rows
    lack, or that took one value, is left out.

    Returns:
        {} with fewer than eight rows, or without a difference to explain.
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
    from optuna.distributions import CategoricalDistribution

    numbers = [
        float(v)
        for v in values
        if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    if len(numbers) < len(values) or len(set(numbers)) <= FEW_VALUES:
        texts = [repr(value) for value in values]  # True and 1 are two choices
        return texts, CategoricalDistribution(tuple(dict.fromkeys(texts)))
    return numbers, interval(numbers)


def interval(numbers: Collection[float]) -> "FloatDistribution":
    """Return the interval that the numbers span, logarithmic if it is a wide one."""
    from optuna.distributions import FloatDistribution

    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=0 < low < high / LOG_RATIO)


def chance_of_better(tried: int, more: int) -> float:
    """Return the chance that the best of `more` random points beats all those tried.

    Exact for independent draws of one space: each point is as likely to be the best.

    >>> chance_of_better(20, 5)
    0.2
    """
    return more / (tried + more)


def expected_gain(means: Sequence[float], more: int) -> float:
    """Return by how much `more` random points are expected to improve the best.

    From the expected maxima of normal draws with the spread of the results; NaN for
    fewer than two.
    """
    if len(means) < 2:
        return math.nan
    spread = statistics.stdev(means)
    return spread * (expected_max(len(means) + more) - expected_max(len(means)))


def lines(
    rows: Sequence[Row], objective: Objective, *, is_random: bool, more: int = 10
) -> tuple[str, ...]:
    """Return importances and prospects in words, one a line."""
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
