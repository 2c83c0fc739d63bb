"""Which suggestion is best: trials grouped over seeds, ranked and compared; pure.

The statistics are those of docs/statistics.md.
"""

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from sweeper import lineage
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.sections import Objective
from sweeper.statistics import comparison, finalists, intervals, pareto
from sweeper.statistics.standing import Row, Score, answers, found, found_all
from sweeper.trial import Params, Sweep, TrialRecord, Value, canonical

__all__ = [
    "Row",
    "Score",
    "best",
    "best_row",
    "columns",
    "found",
    "found_all",
    "front_trials",
    "labels",
    "rank",
    "varied",
]


def rank(sweep: Sweep) -> tuple[Row, ...]:
    """The leaderboard: best mean first, then those without a value, by number.

    Once all finalists have their fresh seeds they stand before the others. With several
    objectives the Pareto front comes first, then what it alone dominates, and so on;
    within a front the less crowded ones, its ends before all.
    """
    experiment = sweep.experiment
    fresh = finalists.confirm_seeds(experiment.confirm, taken=experiment.seeds)
    groups: dict[str, list[TrialRecord]] = {}
    for trial in sweep.trials:
        name = canonical([trial.params, lineage.parent(trial.lineage)])
        groups.setdefault(name, []).append(trial)
    again = [t for t in sweep.trials if t.seed in fresh]
    is_confirmed = bool(again) and all(t.state.is_final for t in again)
    rows = [
        _row(trials, experiment, fresh if is_confirmed else (), ignored=fresh)
        for trials in groups.values()
    ]
    sign = -1 if experiment.objective.mode == "max" else 1
    # Stable: equal rows stay in order of their numbers, as the trials are.
    rows.sort(
        key=lambda row: (
            not row.is_finalist,
            math.inf if math.isnan(row.mean) else sign * row.mean,
        )
    )
    base = next((row for row in rows if row.is_baseline), None)
    if len(experiment.objectives) > 1:
        return tuple(_by_front(rows, experiment.objectives, base))
    p = comparison.p_values(rows, sign=-sign, objective=experiment.objective)
    return tuple(
        _placed(row, 0 if math.isnan(row.mean) else position, p[position - 1], base)
        for position, row in enumerate(rows, start=1)
    )


def _by_front(
    rows: Sequence[Row], objectives: Sequence[Objective], base: Row | None
) -> Iterator[Row]:
    """Rows by their front; no test is made, so there is no `p`."""
    valued = [row for row in rows if not math.isnan(row.mean)]
    points = [
        [o.sign * mean for o, mean in zip(objectives, row.means, strict=True)]
        for row in valued
    ]
    for position, (place, number) in enumerate(pareto.order(points), start=1):
        yield replace(_placed(valued[place], position, math.nan, base), front=number)
    yield from (row for row in rows if math.isnan(row.mean))


def front_trials(sweep: Sweep) -> tuple[TrialRecord, ...]:
    """The best trial of each row on the Pareto front; () with one objective."""
    objective = sweep.experiment.objective
    return tuple(_trial_of(row, objective) for row in rank(sweep) if row.front == 1)


def _placed(row: Row, position: int, p: float, base: Row | None) -> Row:
    delta, low, high = comparison.delta(row, base)
    return replace(row, rank=position, p=p, delta=delta, delta_low=low, delta_high=high)


def best_row(sweep: Sweep) -> Row | None:
    """The first row of the leaderboard; None before the first value."""
    return next((row for row in rank(sweep) if row.rank == 1), None)


def best(sweep: Sweep) -> TrialRecord | None:
    """The best trial of the best suggestion; None before the first value.

    A lucky seed of a worse suggestion is not it.
    """
    row = best_row(sweep)
    if row is None:
        return None
    return _trial_of(row, sweep.experiment.objective)


def _trial_of(row: Row, objective: Objective) -> TrialRecord:
    """The best trial of a row that has a value, by the first objective."""
    pick = max if objective.mode == "max" else min
    target = pick(row.values)
    return next(t for t in row.trials if (f := found(t, objective)) and f[1] == target)


def varied(sweep: Sweep) -> tuple[str, ...]:
    """Names of the swept parameters, in the order of the first trial."""
    names: dict[str, None] = {}
    for trial in sweep.trials:
        names.update(dict.fromkeys(trial.params))
    return tuple(names)


def columns(
    names: Sequence[str], *, others: Collection[str], prefix: str = "param"
) -> tuple[str, ...]:
    """Return a column for each parameter that no other column of a table has.

    >>> columns(["lr", "value"], others=["rank", "value"])
    ('lr', 'param.value')
    """
    taken = {*others, *names}

    def column(name: str) -> str:
        while name in taken:
            name = f"{prefix}.{name}"
        return name

    return tuple(column(name) if name in others else name for name in names)


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


def _row(
    trials: Sequence[TrialRecord],
    experiment: Experiment,
    fresh: Sequence[int],
    *,
    ignored: Sequence[int],
) -> Row:
    """One suggestion: its fresh seeds where it has some, else all but `ignored`."""
    objective = experiment.objective
    is_finalist = any(t.seed in fresh and found(t, objective) for t in trials)
    counted = [
        (trial, result)
        for trial in trials
        if (trial.seed in ignored) is is_finalist
        and (result := found_all(trial, experiment.objectives)) is not None
    ]
    by_seed = {trial.seed: values[0] for trial, (_, values) in counted}
    values = tuple(by_seed.values())
    low, high = _score_interval(trials, by_seed, objective)
    pick = max if objective.mode == "max" else min
    params = trials[0].params
    return Row(
        rank=0,
        params=params,
        trials=tuple(trials),
        by_seed=by_seed,
        mean=statistics.fmean(values) if values else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        is_baseline=_is_baseline(params, experiment.baseline),
        best_epoch=pick((r for _, r in counted), key=lambda r: r[1][0])[0]
        if counted
        else 0,
        is_finalist=is_finalist,
        others=tuple(
            _score([result[1][place] for _, result in counted], other)
            for place, other in enumerate(experiment.objectives[1:], start=1)
        ),
    )


def _score(values: Sequence[float], objective: Objective) -> Score:
    low, high = (
        intervals.score_interval(values, size=objective.validation_size)
        if values
        else (math.nan, math.nan)
    )
    return Score(
        mean=statistics.fmean(values) if values else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        n=len(values),
    )


def _score_interval(
    trials: Sequence[TrialRecord], by_seed: Mapping[int, float], objective: Objective
) -> tuple[float, float]:
    known = answers(trials, tuple(by_seed)) if by_seed else None
    values = tuple(by_seed.values())
    if known is None:
        return intervals.score_interval(values, size=objective.validation_size)
    return intervals.score_interval(values, correct=known[1])


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
        from sweeper.experiment import grammar  # Hydra's: of mappings and lists only

        return value == grammar.to_text(given)
    if type(given) is int and isinstance(value, str):
        return value == str(given)
    return value == given and isinstance(value, bool) == isinstance(given, bool)
