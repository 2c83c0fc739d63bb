"""What the trials of a sweep say about its parameters, and about trials to come.

It reads rows of the leaderboard; scikit-learn is imported when it is asked.
"""

import itertools
import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from sweeper.statistics.distributions import expected_max
from sweeper.statistics.leaderboard import Row
from sweeper.trial import State, Value

TREES = 32
FEWEST_ROWS = 8  # below it a forest says what it likes
FEW_VALUES = 5  # numbers of at most so many values count as choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What share of the variance of results one parameter, or two together, explain.

    Attributes:
        names: one parameter; two for what they explain beyond each alone.
        share: mean over the trees of a forest, 0 to 1.
        spread: its standard deviation over the trees; a share that is smaller says
            nothing.
    """

    names: tuple[str, ...]
    share: float
    spread: float


def effects(
    rows: Sequence[Row], *, logs: Collection[str] = (), seed: int = 0
) -> tuple[Effect, ...]:
    """Shares by fANOVA (Hutter, Hoos & Leyton-Brown, ICML 2014), largest first.

    Rows with a whole trial only: one that was stopped early says more of its rung. A
    parameter that some rows lack, or that took one value, is left out.

    Args:
        logs: parameters that were drawn on a logarithmic scale.

    Returns:
        () with fewer than eight rows, or without a difference to explain.
    """
    ranked = [row for row in rows if row.rank and row.states.get(State.COMPLETE)]
    names = [
        name
        for name in dict.fromkeys(name for row in ranked for name in row.params)
        if all(name in row.params for row in ranked)
        and len({row.params[name] for row in ranked}) > 1
    ]
    means = [row.mean for row in ranked]
    if len(ranked) < FEWEST_ROWS or not names or len(set(means)) < 2:
        return ()
    from optuna._transform import _SearchSpaceTransform
    from optuna.importance._fanova._fanova import _Fanova

    spaces = {
        name: _distribution([row.params[name] for row in ranked], is_log=name in logs)
        for name in names
    }
    transform = _SearchSpaceTransform(spaces, transform_log=True, transform_step=False)
    points = np.stack(
        [transform.transform({n: row.params[n] for n in names}) for row in ranked]
    )
    forest = _Fanova(
        n_trees=TREES, max_depth=64, min_samples_split=2, min_samples_leaf=1, seed=seed
    )
    columns = transform.column_to_encoded_columns
    forest.fit(points, np.array(means), transform.bounds, columns)
    trees = [tree for tree in forest._trees or [] if tree.variance > 0]

    def shares(which: Sequence[int]) -> np.ndarray:
        raw = np.concatenate([columns[i] for i in which])
        return np.array([t.get_marginal_variance(raw) / t.variance for t in trees])

    alone = [shares([i]) for i in range(len(names))]
    found = [_effect((name,), alone[i]) for i, name in enumerate(names)]
    for i, j in itertools.combinations(range(len(names)), 2):
        beyond = shares([i, j]) - alone[i] - alone[j]
        found.append(_effect((names[i], names[j]), beyond))
    return tuple(sorted(found, key=lambda effect: -effect.share))


def _effect(names: tuple[str, ...], shares: np.ndarray) -> Effect:
    clipped = np.clip(shares, 0.0, 1.0)
    return Effect(names=names, share=float(clipped.mean()), spread=float(clipped.std()))


def _distribution(values: Sequence[Value], *, is_log: bool) -> BaseDistribution:
    numbers = [
        float(v)
        for v in values
        if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    if len(numbers) < len(values) or len(set(numbers)) <= FEW_VALUES:
        return CategoricalDistribution(tuple(dict.fromkeys(values)))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=is_log and low > 0)


def chance_of_better(tried: int, more: int) -> float:
    """That the best of `more` new random points beats the best of those tried.

    Exact for independent draws of one space: each of all points is as likely the best.

    >>> chance_of_better(20, 5)
    0.2
    """
    return more / (tried + more)


def expected_gain(means: Sequence[float], more: int) -> float:
    """By how much `more` random points are expected to lift the best.

    From the expected maxima of normal draws with the spread of the results; NaN for
    fewer than two.
    """
    if len(means) < 2:
        return math.nan
    spread = statistics.stdev(means)
    return spread * (expected_max(len(means) + more) - expected_max(len(means)))


def lines(
    rows: Sequence[Row], *, logs: Collection[str] = (), is_random: bool, more: int = 10
) -> tuple[str, ...]:
    """Effects and prospects in words, one a line."""
    found = effects(rows, logs=logs)
    said = [
        f"{' x '.join(effect.names)}: {effect.share:.0%} +- {effect.spread:.0%}"
        for effect in found
        if len(effect.names) == 1 or effect.share > effect.spread
    ]
    if not found:
        said.append(f"importance: needs {FEWEST_ROWS} suggestions with other results")
    means = [row.mean for row in rows if row.rank]
    if is_random and len(means) > 1:
        chance = chance_of_better(len(means), more)
        gain = expected_gain(means, more)
        said.append(
            f"{more} more random trials: {chance:.0%} chance of a better one, "
            f"{gain:.2g} better to be expected"
        )
    return tuple(said)
