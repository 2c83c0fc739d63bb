"""Which suggestion is best: trials grouped over seeds, ranked, with intervals; pure."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper import grammar
from sweeper.settings import Objective
from sweeper.trial import Params, State, Sweep, Trial, Value, canonical

# 97.5 % points of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook
# of Statistical Methods, 1.3.6.7.2); scipy would cost `status` its half second.
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
Z_975 = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suggestion over its seeds.

    Attributes:
        rank: 1 for the best; 0 for a suggestion without a value.
        trials: one a seed, by number.
        values: best objective of each trial that has one and did not fail.
        mean: of `values`; NaN without one.
        std: sample standard deviation (n - 1); NaN for fewer than two values.
        low: lower end of the 95 % t-interval of the mean over seeds; NaN as `std`.
        high: upper end of it.
        delta: mean minus the baseline's mean; NaN without a baseline.
        best_epoch: epoch of the best value of all seeds, 0 without one.
    """

    rank: int
    params: Params
    trials: tuple[Trial, ...]
    values: tuple[float, ...]
    mean: float
    std: float
    low: float
    high: float
    delta: float
    is_baseline: bool
    best_epoch: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it was or will be run with, in order of the trials."""
        return tuple(trial.seed for trial in self.trials)

    @property
    def states(self) -> Mapping[State, int]:
        """How many of its trials are in each state."""
        return Counter(trial.state for trial in self.trials)


def rank(sweep: Sweep) -> tuple[Row, ...]:
    """The leaderboard: best mean first, then those without a value, by number."""
    objective = sweep.experiment.objective
    groups: dict[str, list[Trial]] = {}
    for trial in sweep.trials:
        groups.setdefault(canonical(trial.params), []).append(trial)
    wanted = sweep.experiment.baseline
    rows = [_row(trials, objective, wanted) for trials in groups.values()]
    base = next((row.mean for row in rows if row.is_baseline), math.nan)
    sign = -1 if objective.mode == "max" else 1
    # Stable: equal rows stay in order of their numbers, as the trials are.
    rows.sort(key=lambda row: math.inf if math.isnan(row.mean) else sign * row.mean)
    return tuple(
        replace(
            row, rank=0 if math.isnan(row.mean) else position, delta=row.mean - base
        )
        for position, row in enumerate(rows, start=1)
    )


def best_row(sweep: Sweep) -> Row | None:
    """The first row of the leaderboard; None before the first value."""
    return next((row for row in rank(sweep) if row.rank == 1), None)


def best(sweep: Sweep) -> Trial | None:
    """The best trial of the best suggestion; None before the first value.

    A lucky seed of a worse suggestion is not it.
    """
    row = best_row(sweep)
    if row is None:
        return None
    objective = sweep.experiment.objective
    pick = max if objective.mode == "max" else min
    target = pick(row.values)
    return next(t for t in row.trials if (f := found(t, objective)) and f[1] == target)


def found(trial: Trial, objective: Objective) -> tuple[int, float] | None:
    """Epoch and value that count for a trial; None for a failed one.

    What a trial reported before it failed is no result of its settings.
    """
    best = trial.best(objective)
    is_result = trial.state is not State.FAILED
    return best if best is not None and is_result and math.isfinite(best[1]) else None


def varied(sweep: Sweep) -> tuple[str, ...]:
    """Names of the swept parameters, in the order of the first trial."""
    names: dict[str, None] = {}
    for trial in sweep.trials:
        names.update(dict.fromkeys(trial.params))
    return tuple(names)


def labels(names: Sequence[str]) -> tuple[str, ...]:
    """The shortest ends of dotted names that still tell them apart.

    >>> labels(["model.lr", "head.lr", "data.batch_size"])
    ('model.lr', 'head.lr', 'batch_size')
    """
    parts = [name.split(".") for name in names]
    depth = max(map(len, parts), default=0)
    ends = [[".".join(p[-n:]) for p in parts] for n in range(1, depth + 1)]
    return tuple(
        next((level[i] for level in ends if level.count(level[i]) == 1), name)
        for i, name in enumerate(names)
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t-interval of a mean; (NaN, NaN) for fewer than two values.

    >>> low, high = interval([0.90, 0.92, 0.94])
    >>> round(low, 4), round(high, 4)
    (0.8703, 0.9697)
    """
    if len(values) < 2:
        return math.nan, math.nan
    quantile = t_975(len(values) - 1)
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def t_975(degrees: int) -> float:
    """97.5 % point of Student's t, to three digits after the point.

    Above the table by Fisher's expansion in 1/degrees (Abramowitz & Stegun 26.7.5).

    Args:
        degrees: of freedom, 1 or more.
    """
    if degrees <= len(T_975):
        return T_975[degrees - 1]
    z = Z_975
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def _row(
    trials: Sequence[Trial], objective: Objective, baseline: Mapping[str, object]
) -> Row:
    counted = [f for trial in trials if (f := found(trial, objective)) is not None]
    values = tuple(value for _, value in counted)
    low, high = interval(values)
    pick = max if objective.mode == "max" else min
    params = trials[0].params
    return Row(
        rank=0,
        params=params,
        trials=tuple(trials),
        values=values,
        mean=statistics.fmean(values) if values else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        delta=math.nan,
        is_baseline=_is_baseline(params, baseline),
        best_epoch=pick(counted, key=lambda item: item[1])[0] if counted else 0,
    )


def _is_baseline(params: Params, baseline: Mapping[str, object]) -> bool:
    """Whether the file's baseline means this point.

    The file may leave out a parameter of one value, and write an option of a group
    as a number; the point has all of them in the spelling of the space.
    """
    return bool(baseline) and all(
        name in params and _is_same(params[name], given)
        for name, given in baseline.items()
    )


def _is_same(value: Value, given: object) -> bool:
    if isinstance(given, list | tuple | dict):
        return value == grammar.to_text(given)
    if type(given) is int and isinstance(value, str):
        return value == str(given)
    return value == given and isinstance(value, bool) == isinstance(given, bool)
