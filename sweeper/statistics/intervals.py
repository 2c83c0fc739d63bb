"""95 % intervals of a score and of a paired difference; pure.

A score is uncertain for two reasons: another seed trains another model, and another
validation set asks other questions. Both variances are added, as for two crossed
random effects (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.statistics.distributions import Array, t_975

UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Variance of a mean and how well it is known.

    Attributes:
        seeds: variance from the seeds; 0 where there is one only.
        examples: variance from the validation set; 0 where its size is not known.
        degrees: of freedom of the first; inf where it is 0.
    """

    seeds: float
    examples: float
    degrees: float

    @property
    def total(self) -> float:
        """Variance of the mean."""
        return self.seeds + self.examples

    @property
    def critical(self) -> float:
        """How many standard errors an interval of 95 % is wide (Satterthwaite)."""
        if self.seeds == 0:
            return t_975(math.inf)
        return t_975(self.degrees * (self.total / self.seeds) ** 2)


def example_variance(correct: Array) -> float:
    """Variance of the grand mean of (seeds, examples) that comes from the examples.

    The variance of the examples' means holds a share of the noise of single answers,
    which the variance of the seeds holds, too; it is taken off once.
    """
    n, m = correct.shape
    if m < 2:
        return 0.0
    by_example = correct.mean(axis=0)
    variance: float = float(by_example.var(ddof=1)) / m
    if n < 2:
        return variance
    by_seed = correct.mean(axis=1, keepdims=True)
    noise = correct - by_seed - by_example + correct.mean()
    shared = float((noise**2).sum()) / ((n - 1) * (m - 1)) / (n * m)
    return float(max(0.0, variance - shared))


def spread_of(values: Sequence[float], examples: float) -> Spread:
    """The spread of the mean of one value a seed.

    Args:
        examples: variance from the validation set, 0 for none.
    """
    n = len(values)
    if n < 2:
        return Spread(seeds=0.0, examples=examples, degrees=math.inf)
    seeds = float(np.var(np.asarray(values), ddof=1)) / n
    return Spread(seeds=seeds, examples=examples, degrees=n - 1)


def score_interval(
    values: Sequence[float], *, correct: Array | None = None, size: int = 0
) -> tuple[float, float]:
    """The interval of a mean score over seeds and validation sets.

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
    if correct is not None:
        size = correct.shape[1]
        if size < 2 or not 0 <= mean <= 1:
            return score_interval(values)
        examples = example_variance(correct)
    else:
        is_share = size > 0 and 0 <= mean <= 1
        size = size if is_share else 0
        examples = mean * (1 - mean) / size if is_share else 0.0
    spread = spread_of(values, examples)
    if size == 0:
        if len(values) < 2:
            return UNKNOWN
        half = spread.critical * math.sqrt(spread.total)
        return mean - half, mean + half
    effective = mean * (1 - mean) / spread.total if spread.total > 0 else float(size)
    return wilson(mean, effective, z=spread.critical)


def wilson(share: float, size: float, *, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share (JASA 22, 1927).

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
    """The interval of a mean paired difference.

    Args:
        differences: one a shared seed.
        correct: (seeds, examples) of differences of single answers: -1, 0 or 1.

    Returns:
        (NaN, NaN) for one seed whose single answers are not known.
    """
    examples = 0.0 if correct is None else example_variance(correct)
    if len(differences) < 2 and correct is None:
        return UNKNOWN
    spread = spread_of(differences, examples)
    mean = float(np.mean(differences))
    half = spread.critical * math.sqrt(spread.total)
    return mean - half, mean + half
