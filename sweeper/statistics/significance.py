"""95 % intervals of scores and differences, and the significance of the best's lead.

docs/statistics.md explains both. A score varies with the seed and with the examples of
the validation set. The two variances are added, as for two crossed random effects
(Searle, Casella & McCulloch, Variance Components, 1992, chapter 4).

The gaps to the best row are tested by t tests, after removing the effect of each seed
on all rows (two-way layout). The p-values are corrected for the remaining pairs of rows
(Shaffer, JASA 81, 1986). A winner is found by an intersection-union test (Berger,
Technometrics 24, 1982), which is exact for a selected best (Gutmann & Maymin, Annals of
Statistics 15, 1987). scipy.special is imported only when a test needs it.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Values: TypeAlias = Mapping[int, float]  # by seed

NORMAL = statistics.NormalDist()
UNKNOWN = (math.nan, math.nan)
ALPHA = 0.05
UNLIKE = 1.2  # times the common variance: the limit above which a pair is noisier
FITS = 30  # alternating fits of row and seed means if values are missing
ROUNDING = 1e-9  # relative to the largest value: smaller deviations count as 0


def t_975(degrees: float) -> float:
    """Return the 97.5 % point of Student's t; `degrees` may be infinite."""
    if math.isinf(degrees):
        return NORMAL.inv_cdf(0.975)
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def expected_max(n: int) -> float:
    """Return the expected largest of n standard normal draws.

    >>> round(expected_max(1), 6) + 0.0, round(expected_max(2), 4)
    (0.0, 0.5642)
    """
    z = np.linspace(-9.0, 9.0, 361)
    density = np.array([NORMAL.pdf(x) for x in z])
    share_below = np.array([NORMAL.cdf(x) for x in z])
    return float(n * np.sum(z * density * share_below ** (n - 1)) * (z[1] - z[0]))


def example_variance(correct_SE: Array) -> float:
    """Return the part of the grand mean's variance that is due to the examples.

    The variance of the examples' means includes noise of single predictions. The
    variance over seeds includes it as well, so it is subtracted here.

    Args:
        correct_SE: (S seeds, E examples).
    """
    n, m = correct_SE.shape
    if m < 2:
        return 0.0
    by_example = correct_SE.mean(axis=0)
    variance: float = float(by_example.var(ddof=1)) / m
    if n < 2:
        return variance
    by_seed = correct_SE.mean(axis=1, keepdims=True)
    noise = correct_SE - by_seed - by_example + correct_SE.mean()
    shared = float((noise**2).sum()) / ((n - 1) * (m - 1)) / (n * m)
    return float(max(0.0, variance - shared))


def _spread(values: Sequence[float], examples: float) -> tuple[float, float]:
    """Return the variance of a mean, and the critical value of t for its interval.

    Degrees of freedom follow Satterthwaite; `examples`, the variance that is due to the
    examples, counts as known exactly.
    """
    n = len(values)
    seeds = float(np.var(values, ddof=1)) / n if n > 1 else 0.0
    total = seeds + examples
    return total, t_975((n - 1) * (total / seeds) ** 2 if seeds > 0 else math.inf)


def score_interval(
    values: Sequence[float], *, correct: Array | None = None, size: int = 0
) -> tuple[float, float]:
    """Return the interval of a mean score over seeds and validation sets.

    If the number of examples is known it is Wilson's interval (1927) with the effective
    sample size p (1 - p) / variance, so it stays within 0 and 1 and has a positive
    width at p = 1. Otherwise it is the t interval over seeds.

    Args:
        values: one value per seed.
        correct: (seeds, examples), 1 for a correct prediction.
        size: number of validation examples, used if `correct` is None.

    Returns:
        (NaN, NaN) with one seed if the number of examples is unknown.

    >>> low, high = score_interval([0.5], size=372)
    >>> round(low, 4), round(high, 4)
    (0.4495, 0.5505)
    """
    if not values:
        return UNKNOWN
    mean = float(np.mean(values))
    size = size if correct is None else correct.shape[1]
    if not 0 <= mean <= 1 or size < (1 if correct is None else 2):
        return _t_interval(values, 0.0) if len(values) > 1 else UNKNOWN
    examples = (
        mean * (1 - mean) / size if correct is None else example_variance(correct)
    )
    variance, critical = _spread(values, examples)
    effective = mean * (1 - mean) / variance if variance > 0 else 0.0
    return wilson(mean, effective or float(size), z=critical)


def wilson(share: float, size: float, *, z: float) -> tuple[float, float]:
    """Return Wilson's score interval for a proportion (JASA 22, 1927).

    >>> low, high = wilson(1.0, 100, z=1.959964)
    >>> round(low, 4), high
    (0.963, 1.0)
    """
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    inner = share * (1 - share) / size + z**2 / (4 * size**2)
    half = z / (1 + z**2 / size) * math.sqrt(inner)
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_interval(
    differences: Sequence[float], *, correct: Array | None = None
) -> tuple[float, float]:
    """Return the interval of a mean paired difference.

    Args:
        differences: one difference per shared seed.
        correct: (seeds, examples), differences of correctness: -1, 0 or 1.

    Returns:
        (NaN, NaN) for one seed without `correct`.
    """
    if len(differences) < 2 and correct is None:
        return UNKNOWN
    return _t_interval(
        differences, 0.0 if correct is None else example_variance(correct)
    )


def _t_interval(values: Sequence[float], examples: float) -> tuple[float, float]:
    variance, critical = _spread(values, examples)
    mean, half = float(np.mean(values)), critical * math.sqrt(variance)
    return mean - half, mean + half


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Variance over seeds, without the effect of each seed on all rows.

    Attributes:
        common: pooled variance of all rows; NaN without a second seed.
        degrees: degrees of freedom of `common`.
        by_row: variance of each row.
        row_degrees: degrees of freedom of `by_row`.
    """

    common: float
    degrees: float
    by_row: Array
    row_degrees: Array

    def of_gap(self, first: int, second: int, num_seeds: int) -> tuple[float, float]:
        """Return the variance of the gap between two means, and its degrees of freedom.

        For a pair that is noisier than the other rows its own variances are used
        (Games & Howell, J. Educ. Stat. 1, 1976; degrees of freedom by Satterthwaite,
        Biometrics Bulletin 2, 1946). With the common variance, two rows that are both
        best and noisiest would be separated too easily.
        """
        pair = [first, second]
        common = 2 * self.common / num_seeds
        parts = self.by_row[pair] / num_seeds
        if parts.sum() <= UNLIKE * common:
            return common, self.degrees
        degrees = parts.sum() ** 2 / (parts**2 / self.row_degrees[pair]).sum()
        return float(parts.sum()), max(1.0, float(degrees))


def noise(rows: Sequence[Values]) -> Noise:
    """Estimate the variances from the residuals of a fit of row and seed means.

    The variance of each row is Grubbs' estimate (JASA 43, 1948), which subtracts the
    noise that residuals contain from the other rows.
    """
    seeds = sorted({seed for row in rows for seed in row})
    table_RS = np.array([[row.get(s, math.nan) for s in seeds] for row in rows])
    residual_RS = np.ma.masked_invalid(table_RS.reshape(len(rows), len(seeds)))
    free_R = np.maximum(residual_RS.count(axis=1) - 1.0, 0.0)
    degrees = float(free_R.sum()) - (len(seeds) - 1)
    unknown_R = np.full(len(rows), math.nan)
    if not seeds or degrees < 1:
        return Noise(
            common=math.nan, degrees=0.0, by_row=unknown_R, row_degrees=unknown_R
        )
    largest = float(np.abs(residual_RS).max())
    for _ in range(FITS if residual_RS.mask.any() else 1):
        residual_RS = residual_RS - residual_RS.mean(axis=1, keepdims=True)
        residual_RS = residual_RS - residual_RS.mean(axis=0)
    squares_R = (residual_RS**2).sum(axis=1).filled(0.0)
    common = float(squares_R.sum()) / degrees
    if common <= (ROUNDING * largest) ** 2:
        common = 0.0
    k = int(np.count_nonzero(free_R))
    by_row_R = np.full(len(rows), common)
    if k > 2:
        own_R = squares_R / np.maximum(free_R, 1.0)
        shared = own_R.sum() / (k * (k - 1))
        by_row_R = np.maximum(own_R - shared, 0.0) * k / (k - 2)
    row_degrees_R = np.maximum(free_R, 1.0) * degrees / free_R.sum()
    return Noise(
        common=common, degrees=degrees, by_row=by_row_R, row_degrees=row_degrees_R
    )


def within(rows: Sequence[Values]) -> float:
    """Return the variance over seeds within rows, seed effects included.

    NaN without a second seed.
    """
    several = [list(row.values()) for row in rows if len(row) > 1]
    if not several:
        return math.nan
    squares = sum((len(values) - 1) * statistics.variance(values) for values in several)
    return squares / sum(len(values) - 1 for values in several)


def p_values(
    losses: Sequence[Values],
    *,
    example_variance: Callable[[int, Sequence[int]], float] = lambda row, seeds: 0.0,
) -> tuple[float, ...]:
    """Return the p-value of the gap between each row and row 0.

    It is corrected for the number of rows and for the selection of row 0 by its values.

    Args:
        losses: values by seed, smaller is better, best row first.
        example_variance: the part of the variance of the gap between row 0 and another
            row that is due to the examples, over the given seeds.

    Returns:
        1.0 for row 0 and for rows as good as it; NaN if fewer than two seeds are
        shared or the noise is unknown.
    """
    if not losses:
        return ()
    result = [1.0] + [math.nan] * (len(losses) - 1)
    known_noise = noise(losses)
    alone: dict[int, float] = {}
    for j in range(1, len(losses)):
        shared = [seed for seed in losses[0] if seed in losses[j]]
        if len(shared) < 2:
            continue
        gap = statistics.fmean(losses[j][s] - losses[0][s] for s in shared)
        if not known_noise.common > 0:
            result[j] = math.nan if gap else 1.0
            continue
        variance, degrees = known_noise.of_gap(0, j, len(shared))
        total = variance + example_variance(j, shared)
        degrees *= (total / variance) ** 2
        alone[j] = _two_sided(gap / math.sqrt(total), degrees)
    is_complete = len(alone) + 1 == sum(bool(row) for row in losses)
    for j, p in _corrected(alone).items():
        # "Row 0 beats all others" needs no correction: it is false if one part is.
        result[j] = min(p, max(alone.values())) if is_complete else p
    return tuple(result)


def _two_sided(t: float, degrees: float) -> float:
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(degrees, -t)))


def _corrected(alone: Mapping[int, float]) -> dict[int, float]:
    """Return step-down p-values: each step counts the pairs of the remaining rows."""
    corrected: dict[int, float] = {}
    largest = 0.0
    for step, j in enumerate(sorted(alone, key=alone.__getitem__)):
        num_left = len(alone) + 1 - step
        largest = max(largest, alone[j] * num_left * (num_left - 1) / 2)
        corrected[j] = min(1.0, largest)
    return corrected
