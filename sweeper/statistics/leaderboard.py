"""Leaderboard of a sweep: trials grouped over seeds, ranked and compared.

docs/statistics.md states the statistics.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.sections import Objective
from sweeper.journal.record import Sweep, TrialRecord, canonical
from sweeper.protocol import Params, Value
from sweeper.statistics import finalists, intervals, pareto, significance
from sweeper.statistics.row import (
    Row,
    correctness,
    delta,
    paired_correctness,
    score,
    trial_result,
    trial_results,
)
from sweeper.system import lineage


def rank(sweep: Sweep) -> tuple[Row, ...]:
    """Return the rows: best mean first, then those without a value, by number.

    Once all finalists have their fresh seeds they come before the others. With several
    objectives the Pareto front comes first, then what it alone dominates, and so on;
    within a front the less crowded rows, its ends before all.
    """
    experiment = sweep.experiment
    objective = experiment.objective
    fresh = finalists.confirm_seeds(experiment.confirm, taken=experiment.seeds)
    groups: dict[str, list[TrialRecord]] = {}
    for trial in sweep.trials:
        name = canonical([trial.params, lineage.parent(trial.lineage)])
        groups.setdefault(name, []).append(trial)
    again = [t for t in sweep.trials if t.seed in fresh]
    is_confirmed = bool(again) and all(t.state.is_final for t in again)
    rows = [
        _row(trials, experiment, fresh=fresh, is_confirmed=is_confirmed)
        for trials in groups.values()
    ]
    # Stable: equal rows stay in order of their numbers, as the trials are.
    rows.sort(key=lambda row: (not row.is_finalist, _loss(row, objective)))
    base = next((row for row in rows if row.is_baseline), None)
    if len(experiment.objectives) > 1:
        return tuple(_by_front(rows, experiment.objectives, base))
    return tuple(
        _placed(row, 0 if math.isnan(row.mean) else position, p, base)
        for position, (row, p) in enumerate(
            zip(rows, _p_values(rows, objective), strict=True), start=1
        )
    )


def _loss(row: Row, objective: Objective) -> float:
    return math.inf if math.isnan(row.mean) else objective.loss(row.mean)


def _by_front(
    rows: Sequence[Row], objectives: Sequence[Objective], base: Row | None
) -> Iterator[Row]:
    """Yield rows by their front; no test is made, so there is no `p`."""
    valued = [row for row in rows if not math.isnan(row.mean)]
    points = [
        [o.loss(mean) for o, mean in zip(objectives, row.means, strict=True)]
        for row in valued
    ]
    for position, (index, front) in enumerate(pareto.order(points), start=1):
        yield replace(_placed(valued[index], position, math.nan, base), front=front)
    yield from (row for row in rows if math.isnan(row.mean))


def _placed(row: Row, position: int, p: float, base: Row | None) -> Row:
    mean, low, high = delta(row, base)
    return replace(row, rank=position, p=p, delta=mean, delta_low=low, delta_high=high)


def _p_values(rows: Sequence[Row], objective: Objective) -> list[float]:
    """Return the `p` of each row, the best first.

    Finalists are compared on their fresh seeds, the others on those of the first round.
    """
    if not rows or math.isnan(rows[0].mean):
        return [math.nan] * len(rows)
    leading = [row for row in rows if row.is_finalist] or list(rows)
    others = rows[len(leading) :]
    first = _first_round(rows[0], objective) if others else rows[0]
    return [*_compared(leading, objective), *_compared([first, *others], objective)[1:]]


def _compared(rows: Sequence[Row], objective: Objective) -> tuple[float, ...]:
    def example_variance(j: int, seeds: Sequence[int]) -> float:
        correct = paired_correctness(rows[0], rows[j], seeds)
        return 0.0 if correct is None else intervals.example_variance(correct)

    losses = [{s: objective.loss(v) for s, v in row.by_seed.items()} for row in rows]
    return significance.p_values(losses, example_variance=example_variance)


def _first_round(row: Row, objective: Objective) -> Row:
    """Return a finalist with the values that made it one."""
    if not row.is_finalist:
        return row
    values = {
        trial.seed: result[1]
        for trial in row.trials
        if trial.seed not in row.by_seed and (result := trial_result(trial, objective))
    }
    return replace(row, by_seed=values)


def front_trials(sweep: Sweep) -> tuple[TrialRecord, ...]:
    """Return the best trial of each row on the Pareto front; () with one objective."""
    objective = sweep.experiment.objective
    return tuple(_best_trial(row, objective) for row in rank(sweep) if row.front == 1)


def best_row(sweep: Sweep) -> Row | None:
    """Return the first row of the leaderboard; None before the first value."""
    return next((row for row in rank(sweep) if row.rank == 1), None)


def best(sweep: Sweep) -> TrialRecord | None:
    """Return the best trial of the best suggestion; None before the first value.

    A lucky seed of a worse suggestion is not it.
    """
    row = best_row(sweep)
    return None if row is None else _best_trial(row, sweep.experiment.objective)


def _best_trial(row: Row, objective: Objective) -> TrialRecord:
    """Return the best trial of a row that has a value, by the first objective."""
    target = min(row.values, key=objective.loss)
    return next(
        trial
        for trial in row.trials
        if (result := trial_result(trial, objective)) and result[1] == target
    )


def varied(sweep: Sweep) -> tuple[str, ...]:
    """Return the names of the swept parameters, in the order of the first trial."""
    return tuple(dict.fromkeys(n for trial in sweep.trials for n in trial.params))


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
    """Return the shortest ends of dotted names that still tell them apart.

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
    *,
    fresh: Collection[int],
    is_confirmed: bool,
) -> Row:
    """Return one suggestion: a finalist's fresh seeds, else all but the fresh ones."""
    objective = experiment.objective
    is_finalist = is_confirmed and any(
        t.seed in fresh and trial_result(t, objective) for t in trials
    )
    counted = {
        trial.seed: result
        for trial in trials
        if (trial.seed in fresh) is is_finalist
        and (result := trial_results(trial, experiment.objectives)) is not None
    }
    by_seed = {seed: values[0] for seed, (_, values) in counted.items()}
    answers = correctness(trials, tuple(by_seed)) if by_seed else None
    correct = None if answers is None else answers[1]
    others = [
        score([values[i] for _, values in counted.values()], other)
        for i, other in enumerate(experiment.objectives[1:], start=1)
    ]
    best_seed = min(by_seed, key=lambda s: objective.loss(by_seed[s]), default=None)
    return Row(
        rank=0,
        params=trials[0].params,
        trials=tuple(trials),
        by_seed=by_seed,
        scores=(score(tuple(by_seed.values()), objective, correct=correct), *others),
        is_baseline=_is_baseline(trials[0].params, experiment.baseline),
        best_epoch=0 if best_seed is None else counted[best_seed][0],
        is_finalist=is_finalist,
    )


def _is_baseline(params: Params, baseline: Mapping[str, object]) -> bool:
    """Return True if the file's baseline means this point.

    The file may leave out a parameter of one value, and write an option of a group
    as a number; the point has all of them in the spelling of the space.
    """
    return bool(baseline) and all(
        name in params and _is_same(params[name], value)
        for name, value in baseline.items()
    )


def _is_same(value: Value, written: object) -> bool:
    if isinstance(written, list | tuple | dict):
        from sweeper.system import grammar  # Hydra's: for lists and mappings only

        return value == grammar.to_text(written)
    if type(written) is int and isinstance(value, str):
        return value == str(written)
    return value == written and isinstance(value, bool) == isinstance(written, bool)
