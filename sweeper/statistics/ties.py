"""Which suggestions are really worse than the best one; pure.

The test is stated in docs/statistics.md: a step-down test of studentized ranges that
hold the best row (Newman, 1939; Keuls, 1952), with row variances shrunk to their
common one (Smyth, 2004). For the runner-up alone it is the t test of the gap (Gutmann
& Maymin, Annals of Statistics 15, 1987). At most 5 % of sweeps call a row worse than
the best that is not.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.statistics.distributions import Array, studentized_range_sf

ALPHA = 0.05
SWEEPS = 30  # of the fit of row and seed effects; it converges in a few
UNLIKE = 1.3  # times the moderated variance: the rows are not like the others
SEED_EFFECTS = 3.0  # times the noise, as in an F test: seeds differ by more than chance
ROUNDING = 1e-9  # of the largest value: what is less is no noise
INFINITE = 1e6  # degrees of freedom of a prior that all rows share
Values = Mapping[int, float]  # by seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What one seed adds by chance, as far as it is known.

    Attributes:
        variances: of one value, by row; NaN where the sweep has no second seed.
        degrees: of freedom of each.
        own: the same from the row's values alone, seed effects included.
        free: degrees of freedom of each of those.
        pooled: variance of all rows together; NaN as above.
        has_seed_effects: whether seeds do something to all rows alike.
    """

    variances: Array
    degrees: Array
    own: Array
    free: Array
    pooled: float
    has_seed_effects: bool = False

    def of_pair(
        self, first: int, second: int, differences: Sequence[float]
    ) -> tuple[float, float]:
        """Variance of the mean of some differences of two rows, and its degrees.

        Rows that vary far more than the others are judged by their own values: two
        that are the best and the noisiest would else be told apart too easily.
        """
        n = len(differences)
        pair = (first, second)
        alike = [float(self.variances[i]) / n for i in pair]
        degrees = _satterthwaite(alike, [self.degrees[i] for i in pair])
        of_all = (sum(alike), min(degrees, float(self.degrees.max())))
        if len(self.variances) < 3:
            return of_all
        if self.has_seed_effects:  # which differences do not have
            own = (float(np.var(differences, ddof=1)) / n, n - 1.0)
        else:
            parts = [float(self.own[i]) / n for i in pair]
            own = (sum(parts), _satterthwaite(parts, [self.free[i] for i in pair]))
        return own if own[0] > UNLIKE * of_all[0] else of_all


def within(rows: Sequence[Values]) -> float:
    """Variance over seeds within rows, all rows together; NaN without a second seed."""
    degrees = sum(len(values) - 1 for values in rows if values)
    if degrees < 1:
        return math.nan
    squares = sum(
        float(np.var(list(values.values()))) * len(values) for values in rows if values
    )
    return squares / degrees


def noise(rows: Sequence[Values]) -> Noise:
    """Variances over seeds, without what a seed does to every row alike.

    A seed may be a fold or an order of the data: what it adds to each row is no
    difference between rows. Effects of rows and seeds are fitted by turns.
    """
    row = np.array([i for i, values in enumerate(rows) for _ in values], dtype=int)
    names = sorted({seed for values in rows for seed in values})
    index = {seed: k for k, seed in enumerate(names)}
    seed = np.array([index[s] for values in rows for s in values], dtype=int)
    y = np.array([v for values in rows for v in values.values()], dtype=float)
    counts: Array = np.bincount(row, minlength=len(rows)).astype(np.float64)
    free: Array = np.maximum(counts - 1, 0)
    is_crossed = len(rows) > 1
    lost = len(names) - 1 if is_crossed else 0
    total = free.sum() - lost
    unknown = np.full(len(rows), math.nan)
    if total < 1:
        return Noise(
            variances=unknown,
            degrees=free,
            own=unknown,
            free=free,
            pooled=math.nan,
        )
    squares, alone = (
        _squares(row, seed, y, len(rows), num_seeds)
        for num_seeds in (len(names) if is_crossed else 0, 0)
    )
    degrees: Array = np.asarray(free * total / free.sum(), dtype=np.float64)
    pooled = float(squares.sum() / total)
    if pooled <= (ROUNDING * float(np.abs(y).max())) ** 2:
        pooled = 0.0
    variances, moderated = _moderate(squares, degrees, pooled)
    return Noise(
        variances=variances,
        degrees=moderated,
        own=np.divide(alone, free, out=np.zeros_like(alone), where=free > 0),
        free=free,
        pooled=pooled,
        has_seed_effects=lost > 0
        and float((alone - squares).sum()) / lost > SEED_EFFECTS * pooled,
    )


def _satterthwaite(parts: Sequence[float], degrees: Sequence[float]) -> float:
    """Degrees of freedom of a sum of variances (Biometrics Bulletin 2, 1946)."""
    terms = [p**2 / d for p, d in zip(parts, degrees, strict=True) if d > 0]
    return max(1.0, sum(parts) ** 2 / sum(terms))


def _squares(
    row: np.ndarray, seed: np.ndarray, y: Array, num_rows: int, num_seeds: int
) -> Array:
    """Squares of what rows, and seeds where there are some, leave; by row."""
    residual = _residuals(row, seed, y, num_rows, num_seeds)
    sums = np.bincount(row, weights=residual**2, minlength=num_rows)
    return np.asarray(sums, dtype=np.float64)


def _residuals(
    row: np.ndarray, seed: np.ndarray, y: Array, num_rows: int, num_seeds: int
) -> Array:
    residual = y.copy()
    for _ in range(SWEEPS if num_seeds else 1):
        for group, size in ((row, num_rows), (seed, num_seeds)):
            if size:
                sums = np.bincount(group, weights=residual, minlength=size)
                counts = np.maximum(np.bincount(group, minlength=size), 1)
                residual -= (sums / counts)[group]
    return residual


def _moderate(squares: Array, degrees: Array, pooled: float) -> tuple[Array, Array]:
    """Row variances drawn to the pooled one, as far as the rows are alike.

    Smyth (Statistical Applications in Genetics 3, 2004): the spread of the logarithms
    of the variances beyond what chance gives says how much they differ.
    """
    known = degrees > 0
    d = degrees[known]
    total = float(d.sum())
    variances = np.full(len(squares), pooled)
    if known.sum() < 3 or pooled == 0:
        return variances, np.full(len(squares), total)
    own = np.maximum(squares[known] / d, pooled * 1e-5)
    logs = np.log(own) - _digamma(d / 2) + np.log(d / 2)
    excess = float(np.mean((logs - logs.mean()) ** 2)) * len(d) / (len(d) - 1)
    excess -= float(np.mean(_trigamma(d / 2)))
    if excess <= 0:
        return variances, np.full(len(squares), total)
    prior = min(2 * _trigamma_inverse(excess), INFINITE)
    centre = math.exp(
        logs.mean() + float(_digamma(np.array(prior / 2))) - math.log(prior / 2)
    )
    variances[:] = centre
    variances[known] = (prior * centre + squares[known]) / (prior + d)
    moderated = np.full(len(squares), min(prior, total))
    moderated[known] = np.minimum(prior + d, total)
    return variances, moderated


def p_values(
    rows: Sequence[Values],
    *,
    sign: int,
    example_variance: Callable[[int, Sequence[int]], float] = lambda row, seeds: 0.0,
) -> tuple[float, ...]:
    """For each row, how likely so large a lead of row 0 is without a difference.

    Corrected for the number of rows and for row 0 being chosen by its value.

    Args:
        rows: values by seed, the best row first.
        sign: 1 where more is better, -1 where less is.
        example_variance: of the difference between row 0 and another over shared
            seeds, from the validation set alone.

    Returns:
        1.0 for row 0 and for rows as good as it; NaN where fewer than two seeds are
        shared or no noise is known.
    """
    result = [math.nan] * len(rows)
    if not rows:
        return ()
    result[0] = 1.0
    known = noise(rows)
    statistics: list[tuple[float, int, float]] = []
    for j in range(1, len(rows)):
        shared = [seed for seed in rows[0] if seed in rows[j]]
        if len(shared) < 2:
            continue
        differences = [rows[0][s] - rows[j][s] for s in shared]
        gap = sign * float(np.mean(differences))
        if not known.pooled > 0:
            result[j] = math.nan if gap else 1.0
            continue
        seeds, degrees = known.of_pair(0, j, differences)
        total = seeds + example_variance(j, shared)
        q = math.sqrt(2 / total) * gap
        statistics.append((q, j, degrees * (total / seeds) ** 2))
    statistics.sort(key=lambda item: (-item[0], item[1]))
    worst = 0.0
    for step, (q, j, degrees) in enumerate(statistics):
        k = len(statistics) + 1 - step
        if worst <= ALPHA:  # above, all that follow are tied anyway
            worst = max(worst, studentized_range_sf(q, k=k, degrees=degrees))
        result[j] = worst
    return tuple(result)


def _digamma(x: Array) -> Array:
    """Derivative of log gamma (Abramowitz & Stegun 6.3.5 and 6.3.18)."""
    x = np.array(x, dtype=float)
    shift = np.zeros_like(x)
    for _ in range(8):
        shift -= np.where(x < 8, 1 / x, 0)
        x = np.where(x < 8, x + 1, x)
    tail = 1 / (12 * x**2) - 1 / (120 * x**4) + 1 / (252 * x**6)
    return np.asarray(shift + np.log(x) - 1 / (2 * x) - tail)


def _trigamma(x: Array) -> Array:
    """Its derivative (Abramowitz & Stegun 6.4.6 and 6.4.12)."""
    x = np.array(x, dtype=float)
    shift = np.zeros_like(x)
    for _ in range(8):
        shift += np.where(x < 8, 1 / x**2, 0)
        x = np.where(x < 8, x + 1, x)
    tail = 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)
    return np.asarray(shift + 1 / x + 1 / (2 * x**2) + tail)


def _trigamma_inverse(value: float) -> float:
    """The x > 0 whose trigamma is `value`, by bisection of its logarithm."""
    low, high = math.log(1e-8), math.log(1e8)
    for _ in range(100):
        middle = (low + high) / 2
        if float(_trigamma(np.array(math.exp(middle)))) > value:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
