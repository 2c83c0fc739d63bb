"""Points of the distributions that the leaderboard compares with; pure, numpy only.

scipy has them too, but its import would cost `status` its half second.
"""

import functools
import math
import statistics
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

# 97.5 % points of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook
# of Statistical Methods, 1.3.6.7.2).
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
Z_975 = statistics.NormalDist().inv_cdf(0.975)
MANY_DEGREES = 1e5  # from here on the spread counts as known
_SPREADS = 8.0  # standard deviations of the spread that its integral covers


def t_975(degrees: float) -> float:
    """97.5 % point of Student's t, to three digits after the point.

    Above the table by Fisher's expansion in 1/degrees (Abramowitz & Stegun 26.7.5);
    fractions of a degree are dropped, which makes an interval no shorter.

    Args:
        degrees: of freedom; fewer than 1 count as 1.
    """
    if degrees < len(T_975) + 1:
        return T_975[max(1, math.floor(degrees)) - 1]
    z = Z_975
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


@functools.cache
def _grid() -> tuple[Array, Array, Array]:
    """Points z, their normal density times the step, and the normal CDF there."""
    z = np.linspace(-9.0, 9.0, 361)
    weights = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    cdf = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    return z, weights, cdf


@functools.cache
def _cdf_table() -> tuple[Array, Array]:
    x = np.linspace(-9.0, 9.0, 7201)
    return x, np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def expected_max(n: int) -> float:
    """Expected largest of n standard normal draws.

    >>> round(expected_max(1), 6) + 0.0, round(expected_max(2), 4)
    (0.0, 0.5642)
    """
    z, weights, cdf = _grid()
    return float(n * np.sum(z * weights * cdf ** (n - 1)))


def studentized_range_sf(q: float, *, k: int, degrees: float) -> float:
    """P(Q > q) of the range of k normal means over an estimate of their spread.

    With k = 2 it is the two-sided t test of q / sqrt(2). Accurate to 1e-5 from two
    degrees of freedom on (tests compare it with scipy.stats.studentized_range).

    Args:
        q: range in standard errors of one mean.
        k: number of means, 2 or more.
        degrees: of freedom of the estimate; inf where the spread is known.
    """
    if q <= 0:
        return 1.0
    z, weights, cdf = _grid()
    spread, density = _spreads(degrees)
    x, table = _cdf_table()
    inside = cdf[None, :] - np.interp(z[None, :] - q * spread[:, None], x, table)
    ranges = k * (np.maximum(inside, 0.0) ** (k - 1) @ weights)
    return float(min(1.0, max(0.0, 1.0 - np.sum(density * ranges))))


def _spreads(degrees: float) -> tuple[Array, Array]:
    """Values of chi / sqrt(degrees) with their probabilities (Gauss-Legendre)."""
    if degrees >= MANY_DEGREES:
        return np.ones(1), np.ones(1)
    half = _SPREADS / math.sqrt(2 * degrees)
    low, high = max(0.0, 1.0 - half), 1.0 + half
    nodes, weights = _nodes()
    s = low + (high - low) * (nodes + 1) / 2
    log_density = (
        math.log(2)
        + degrees / 2 * math.log(degrees / 2)
        - math.lgamma(degrees / 2)
        + (degrees - 1) * np.log(s)
        - degrees * s**2 / 2
    )
    density = np.exp(log_density) * weights * (high - low) / 2
    return s, density / density.sum()


@functools.cache
def _nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return nodes, weights
