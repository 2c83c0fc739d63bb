"""Which suggestion is best: trials grouped over seeds, ranked, with intervals; pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.trial import Params, Sweep, Trial, canonical

# 97.5 % points of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook
# of Statistical Methods, 1.3.6.7.2); scipy would cost `status` its half second.
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
Z_975 = 1.960


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suggestion over its seeds.

    Attributes:
        rank: 1 for the best; 0 for a suggestion without a value.
        trials: one a seed, by number.
        values: best objective of each trial that has one.
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


def rank(sweep: Sweep) -> tuple[Row, ...]:
    """The leaderboard: best mean first, then those without a value, by number."""
    groups: dict[str, list[Trial]] = {}
    for trial in sweep.trials:
        groups.setdefault(canonical(trial.params), []).append(trial)
    wanted = canonical(sweep.experiment.baseline)
    base = _mean(sweep, groups.get(wanted, []))
    rows = [
        _row(sweep, trials, baseline_mean=base, is_baseline=key == wanted)
        for key, trials in groups.items()
    ]
    sign = -1 if sweep.experiment.objective.mode == "max" else 1
    rows.sort(
        key=lambda row: (
            math.isnan(row.mean),
            0.0 if math.isnan(row.mean) else sign * row.mean,
            row.trials[0].number,
        )
    )
    return tuple(
        row if math.isnan(row.mean) else _ranked(row, position)
        for position, row in enumerate(rows, start=1)
    )


def best(sweep: Sweep) -> Trial | None:
    """The trial with the best value; None before the first one."""
    objective = sweep.experiment.objective
    sign = -1 if objective.mode == "max" else 1
    measured = [
        (sign * found[1], trial.number, trial)
        for trial in sweep.trials
        if (found := trial.best(objective)) is not None
    ]
    return min(measured, key=lambda item: item[:2])[2] if measured else None


def varied(sweep: Sweep) -> tuple[str, ...]:
    """Names of the swept parameters, in the order of the first trial."""
    names: dict[str, None] = {}
    for trial in sweep.trials:
        names.update(dict.fromkeys(trial.params))
    return tuple(names)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t-interval of a mean; (NaN, NaN) for fewer than two values.

    >>> low, high = interval([0.90, 0.92, 0.94])
    >>> round(low, 4), round(high, 4)
    (0.8703, 0.9697)
    """
    if len(values) < 2:
        return math.nan, math.nan
    degrees = len(values) - 1
    quantile = T_975[degrees - 1] if degrees <= len(T_975) else Z_975
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def _row(
    sweep: Sweep, trials: Sequence[Trial], *, baseline_mean: float, is_baseline: bool
) -> Row:
    objective = sweep.experiment.objective
    found = [b for trial in trials if (b := trial.best(objective)) is not None]
    values = tuple(value for _, value in found)
    mean = statistics.fmean(values) if values else math.nan
    low, high = interval(values)
    pick = max if objective.mode == "max" else min
    return Row(
        rank=0,
        params=trials[0].params,
        trials=tuple(trials),
        values=values,
        mean=mean,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        delta=mean - baseline_mean,
        is_baseline=is_baseline,
        best_epoch=pick(found, key=lambda item: item[1])[0] if found else 0,
    )


def _ranked(row: Row, position: int) -> Row:
    return replace(row, rank=position)


def _mean(sweep: Sweep, trials: Sequence[Trial]) -> float:
    found = [trial.best(sweep.experiment.objective) for trial in trials]
    values = [item[1] for item in found if item is not None]
    return statistics.fmean(values) if values else math.nan
