"""A value of a parameter near another one, as population-based training changes it."""

import math
from collections.abc import Sequence

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from sweeper.experiment.parameter import Parameter
from sweeper.protocol import Value


def near(
    parameter: Parameter,
    value: object,
    rng: np.random.Generator,
    *,
    factors: Sequence[float],
    resample: float,
) -> Value:
    """A number times a factor, within its interval, or the neighbour of a choice.

    A whole number moves by one at least. Whatever comes of it, three numbers are drawn.

    Args:
        resample: chance of any value of the parameter instead.
    """
    is_anew = rng.random() < resample
    factor = factors[int(rng.random() * len(factors))]
    place = float(rng.random())
    limits = parameter.distribution
    if not isinstance(limits, FloatDistribution | IntDistribution):
        choices = parameter.choices
        here = choices.index(parameter.canonical(value))
        beside = min(max(0, here + (1 if factor > 1 else -1)), len(choices) - 1)
        return choices[int(place * len(choices)) if is_anew else beside]
    number = float(str(value)) * factor
    if is_anew:
        number = _between(limits.low, limits.high, place, is_log=limits.log)
    if isinstance(limits, IntDistribution):
        number = round(number)
        if number == value and not is_anew:
            number += 1 if factor > 1 else -1
    return parameter.canonical(min(max(limits.low, number), limits.high))


def _between(low: float, high: float, place: float, *, is_log: bool) -> float:
    if is_log:
        return math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    return low + place * (high - low)
