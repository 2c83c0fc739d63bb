"""How rows of the leaderboard differ: from the best one and from the baseline; pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from sweeper.experiment.sections import Objective
from sweeper.statistics import intervals, ties
from sweeper.statistics.distributions import Array
from sweeper.statistics.standing import Row, answers, found


def p_values(rows: Sequence[Row], *, sign: int, objective: Objective) -> list[float]:
    """The `p` of each row, the best first.

    Finalists are compared on their fresh seeds, the others on those of the first round.
    """
    if not rows or math.isnan(rows[0].mean):
        return [math.nan] * len(rows)
    leading = [row for row in rows if row.is_finalist] or rows
    others = rows[len(leading) :]
    return [
        *_compare(leading, sign=sign),
        *_compare([_first_round(rows[0], objective), *others], sign=sign)[1:],
    ]


def _compare(rows: Sequence[Row], *, sign: int) -> tuple[float, ...]:
    def examples(j: int, seeds: Sequence[int]) -> float:
        found = _paired(rows[0], rows[j], seeds)
        return 0.0 if found is None else intervals.example_variance(found)

    values = [row.by_seed for row in rows]
    return ties.p_values(values, sign=sign, example_variance=examples)


def _first_round(row: Row, objective: Objective) -> Row:
    """A finalist with the values that made it one."""
    if not row.is_finalist:
        return row
    values = {
        trial.seed: result[1]
        for trial in row.trials
        if trial.seed not in row.by_seed and (result := found(trial, objective))
    }
    return replace(row, by_seed=values)


def delta(row: Row, base: Row | None) -> tuple[float, float, float]:
    """Mean difference to the baseline, and its interval."""
    if base is None:
        return math.nan, math.nan, math.nan
    seeds = [seed for seed in row.by_seed if seed in base.by_seed]
    if row is base or not seeds:
        return row.mean - base.mean, math.nan, math.nan
    differences = [row.by_seed[s] - base.by_seed[s] for s in seeds]
    correct = _paired(row, base, seeds)
    low, high = intervals.difference_interval(differences, correct=correct)
    return statistics.fmean(differences), low, high


def _paired(first: Row, second: Row, seeds: Sequence[int]) -> Array | None:
    """Differences of single answers (seeds, examples); None where not all are known."""
    one, two = (answers(row.trials, seeds) for row in (first, second))
    if one is None or two is None or one[0] != two[0]:
        return None
    return one[1] - two[1]
