"""95 % intervals of a score and of a paired difference.

A score is uncertain for two reasons: another seed trains another model, and another
validation set asks other questions. Both variances are added, as for two crossed
random effects (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4).
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from sweeper.statistics.significance import Array

UNKNOWN = (math.nan, math.nan)
Z_975 = statistics.NormalDist().inv_cdf(0.975)


def t_975(degrees: float) -> float:
    """Return the 97.5 % point of Student's t; `degrees` may be infinite."""
    if math.isinf(degrees):
        return Z_975
    from scipy.special import stdtrit  # late: one seed needs none of it

    return float(stdtrit(degrees, 0.975))


def expected_max(n: int) -> float:
    """Return the expected largest of n standard normal draws.

    >>> round(expected_max(1), 6) + 0.0, round(expected_max(2), 4)
    (0.0, 0.5642)
    """
    from scipy.special import ndtr

    z = np.linspace(-9.0, 9.0, 361)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(n * np.sum(z * density * ndtr(z) ** (n - 1)) * (z[1] - z[0]))


def example_variance(correct_SE: Array) -> float:
    """Return the variance of the grand mean that comes from the examples.

    The variance of the examples' means holds a share of the noise of single answers,
    which the variance of the seeds holds, too; it is taken off once.

    Args:
        correct_SE: S seeds, E examples.
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
    """Return the variance of a mean, and how many standard errors its interval is wide.

    Degrees of freedom by Satterthwaite; the variance of the examples counts as known.
    """
    n = len(values)
    seeds = float(np.var(values, ddof=1)) / n if n > 1 else 0.0
    total = seeds + examples
    return total, t_975((n - 1) * (total / seeds) ** 2 if seeds > 0 else math.inf)


def score_interval(
    values: Sequence[float], *, correct: Array | None = None, size: int = 0
) -> tuple[float, float]:
    """Return the interval of a mean score over seeds and validation sets.

    With a number of examples it is Wilson's (1927) with the effective sample size
    p (1 - p) / variance, so it stays within 0 and 1 and has a width at p = 1; without
    one it is the t interval over seeds.

    Args:
        values: one a seed.
        correct: (seeds, examples), 1 where an answer was right.
        size: number of validation examples where single answers are not known.

    Returns:
        (NaN, NaN) for one seed and no number of examples.

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
    """Return Wilson's score interval of a share (JASA 22, 1927).

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
        differences: one a shared seed.
        correct: (seeds, examples) of differences of single answers: -1, 0 or 1.

    Returns:
        (NaN, NaN) for one seed whose single answers are not known.
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
