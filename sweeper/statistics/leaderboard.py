"""Leaderboard of a sweep: suggestions, ranked by their means over seeds and compared.

docs/statistics.md explains the statistics.
"""

import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sweeper.experiment.definition import Confirm, Experiment, Objective
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.protocol import Params, Value, parent_of
from sweeper.statistics import pareto, significance
from sweeper.statistics.significance import Array
from sweeper.system.identity import canonical, derive

MAX_CONFIRM_SEED = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One objective of a suggestion over its seeds.

    Attributes:
        values: one value per seed.
        size: number of validation examples, 0 if unknown.
        correct: (seeds, examples), 1 for a correct prediction; None if unknown.
    """

    values: tuple[float, ...]
    size: int
    correct: Array | None = field(default=None, compare=False, repr=False)

    @cached_property
    def mean(self) -> float:
        """Mean of the values; NaN if there are none."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); NaN for fewer than two values."""
        return statistics.stdev(self.values) if self.n > 1 else math.nan

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean, over seeds and examples.

        (NaN, NaN) with one seed if the number of examples is unknown.
        """
        return significance.score_interval(
            self.values, correct=self.correct, size=self.size
        )

    @property
    def low(self) -> float:
        return self.interval[0]

    @property
    def high(self) -> float:
        return self.interval[1]

    @property
    def n(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suggestion over its seeds.

    Attributes:
        rank: 1 for the best; 0 for a suggestion without a value.
        trials: one trial per seed, by number.
        by_seed: best value of the first objective by seed, without failed trials. A
            finalist has only its fresh seeds here.
        scores: scores of all objectives in the order of the file, at each trial's best
            epoch by the first objective.
        delta: mean difference to the baseline over shared seeds; difference of the
            means if no seed is shared; NaN without a baseline.
        delta_low: lower end of the 95 % interval of `delta`; NaN if unknown.
        delta_high: upper end of this interval.
        p: probability of so large a lead of the best row by chance, corrected for the
            number of rows; 1 for the best row, NaN if it cannot be computed.
        is_finalist: whether the row has results on fresh seeds.
        best_epoch: epoch of the best value over all seeds, 0 without a value.
        front: non-dominated rank with several objectives, 1 for the Pareto front; 0
            with one objective, or without a value.
    """

    rank: int
    params: Params
    trials: tuple[TrialRecord, ...]
    by_seed: Mapping[int, float]
    scores: tuple[Score, ...]
    is_baseline: bool
    best_epoch: int
    delta: float = math.nan
    delta_low: float = math.nan
    delta_high: float = math.nan
    p: float = math.nan
    is_finalist: bool = False
    front: int = 0

    @property
    def mean(self) -> float:
        """Mean of the first objective; NaN without a value."""
        return self.scores[0].mean

    @property
    def std(self) -> float:
        """Standard deviation of the first objective over seeds."""
        return self.scores[0].std

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of the mean."""
        return self.scores[0].low

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of the mean."""
        return self.scores[0].high

    @property
    def means(self) -> tuple[float, ...]:
        """Means of all objectives, in the order of the file."""
        return tuple(score.mean for score in self.scores)

    @property
    def others(self) -> tuple[Score, ...]:
        """Scores of the objectives after the first one."""
        return self.scores[1:]

    @property
    def parent(self) -> str:
        """Id of the trial whose checkpoint it started from; "" if there is none."""
        return parent_of(self.trials[0].lineage)

    @property
    def values(self) -> tuple[float, ...]:
        """Values of `by_seed`, in the order of the trials."""
        return tuple(self.by_seed.values())

    @property
    def is_worse(self) -> bool:
        """Whether the best row is better by more than chance."""
        return self.p <= significance.ALPHA

    @property
    def is_tied(self) -> bool:
        """Whether the row may be as good as the best row."""
        return self.rank > 0 and not self.is_worse

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of all trials, finished or not."""
        return tuple(trial.seed for trial in self.trials)

    @property
    def states(self) -> Mapping[State, int]:
        return Counter(trial.state for trial in self.trials)


def trial_result(trial: TrialRecord, objective: Objective) -> tuple[int, float] | None:
    """Return the best epoch of a trial and its value.

    None for a failed trial, since its reports are not a result of its settings, and
    without a finite value.
    """
    best = trial.best(objective)
    is_result = trial.state is not State.FAILED
    return best if best is not None and is_result and math.isfinite(best[1]) else None


def trial_results(
    trial: TrialRecord, objectives: Sequence[Objective]
) -> tuple[int, tuple[float, ...]] | None:
    """Return the best epoch of a trial and the values of all objectives there.

    The first objective chooses the epoch, which is also the epoch of the best
    checkpoint. Best values of different epochs would belong to different models.
    """
    first = trial_result(trial, objectives[0])
    if first is None:
        return None
    epoch, value = first
    return epoch, (value, *trial.others.get(epoch, ()))


def correctness(
    trials: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[tuple[str, int], Array] | None:
    """Return a name of the example set, and (seeds, examples) with 1 if correct.

    None unless the correctness of every seed is stored, for the same examples.
    """
    by_seed = {trial.seed: trial for trial in trials}
    stored = [by_seed[seed].correctness for seed in seeds]
    usable = [e for e in stored if e is not None and e.epoch and e.correct]
    names = {(e.order, len(e.correct)) for e in usable}
    if len(usable) < len(stored) or len(names) != 1:
        return None
    bits = [np.frombuffer(e.correct.encode(), dtype=np.uint8) for e in usable]
    return names.pop(), np.stack(bits).astype(float) - ord("0")


def paired_correctness(first: Row, second: Row, seeds: Sequence[int]) -> Array | None:
    """Return differences of correctness (seeds, examples); None if any is missing."""
    one, two = (correctness(row.trials, seeds) for row in (first, second))
    if one is None or two is None or one[0] != two[0]:
        return None
    return one[1] - two[1]


def delta(row: Row, base: Row | None) -> tuple[float, float, float]:
    """Return the mean difference to the baseline, and the ends of its 95 % interval."""
    if base is None:
        return math.nan, math.nan, math.nan
    seeds = [seed for seed in row.by_seed if seed in base.by_seed]
    if row is base or not seeds:
        return row.mean - base.mean, math.nan, math.nan
    differences = [row.by_seed[s] - base.by_seed[s] for s in seeds]
    correct = paired_correctness(row, base, seeds)
    low, high = significance.difference_interval(differences, correct=correct)
    return statistics.fmean(differences), low, high


def rank(sweep: Sweep) -> tuple[Row, ...]:
    """Return the rows, best mean first; rows without a value come last, by number.

    Once all trials on fresh seeds have ended, finalists come before the other rows.
    With several objectives the Pareto front comes first, then the next fronts. Within
    a front less crowded rows come first, starting with the ends of the front.
    """
    rows = _in_order(sweep)
    base = next((row for row in rows if row.is_baseline), None)
    valued = [row for row in rows if row.rank]
    p_values = [math.nan] * len(rows)
    if len(sweep.experiment.objectives) == 1:  # several are not tested
        p_values[: len(valued)] = _p_values(valued, sweep.experiment.objective)
    ranked = []
    for row, p in zip(rows, p_values, strict=True):
        mean, low, high = delta(row, base)
        ranked.append(replace(row, p=p, delta=mean, delta_low=low, delta_high=high))
    return tuple(ranked)


def _in_order(sweep: Sweep) -> list[Row]:
    """Return the rows with their ranks and fronts, without p-values and deltas."""
    experiment = sweep.experiment
    objectives = experiment.objectives
    fresh = confirm_seeds(experiment.confirm, taken=experiment.seeds)
    groups: dict[str, list[TrialRecord]] = {}
    for trial in sweep.trials:
        name = canonical([trial.params, parent_of(trial.lineage)])
        groups.setdefault(name, []).append(trial)
    again = [t for t in sweep.trials if t.seed in fresh]
    is_confirmed = bool(again) and all(t.state.is_final for t in again)
    rows = [
        _row(trials, experiment, fresh=fresh, is_confirmed=is_confirmed)
        for trials in groups.values()
    ]
    # The sort is stable: equal rows stay in the order of their trials' numbers.
    rows.sort(key=lambda row: (not row.is_finalist, _loss(row, objectives[0])))
    valued = [row for row in rows if not math.isnan(row.mean)]
    fronts = [0] * len(valued)
    if len(objectives) > 1:
        points = [
            [o.loss(mean) for o, mean in zip(objectives, row.means, strict=True)]
            for row in valued
        ]
        order = pareto.order(points)
        valued, fronts = [valued[i] for i, _ in order], [front for _, front in order]
    placed = enumerate(zip(valued, fronts, strict=True), start=1)
    return [
        *(replace(row, rank=n, front=front) for n, (row, front) in placed),
        *(row for row in rows if math.isnan(row.mean)),
    ]


def _loss(row: Row, objective: Objective) -> float:
    return math.inf if math.isnan(row.mean) else objective.loss(row.mean)


def _p_values(rows: Sequence[Row], objective: Objective) -> list[float]:
    """Return the `p` of each row; `rows` are ranked.

    Finalists are compared on their fresh seeds, other rows on the seeds of the file.
    """
    if not rows:
        return []
    leading = [row for row in rows if row.is_finalist] or list(rows)
    others = rows[len(leading) :]
    first = _first_round(rows[0], objective) if others else rows[0]
    return [*_compared(leading, objective), *_compared([first, *others], objective)[1:]]


def _compared(rows: Sequence[Row], objective: Objective) -> tuple[float, ...]:
    def example_variance(j: int, seeds: Sequence[int]) -> float:
        correct = paired_correctness(rows[0], rows[j], seeds)
        return 0.0 if correct is None else significance.example_variance(correct)

    losses = [{s: objective.loss(v) for s, v in row.by_seed.items()} for row in rows]
    return significance.p_values(losses, example_variance=example_variance)


def _first_round(row: Row, objective: Objective) -> Row:
    """Return a finalist with its values on the seeds of the file."""
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
    return tuple(
        _best_trial(row, objective) for row in _in_order(sweep) if row.front == 1
    )


def best_row(sweep: Sweep) -> Row | None:
    """Return the first row of the leaderboard; None if no trial has a value."""
    return next((row for row in _in_order(sweep) if row.rank == 1), None)


def best(sweep: Sweep) -> TrialRecord | None:
    """Return the best trial of the best suggestion; None if no trial has a value.

    A trial of a worse suggestion may have a better value, by a lucky seed.
    """
    row = best_row(sweep)
    return None if row is None else _best_trial(row, sweep.experiment.objective)


def _best_trial(row: Row, objective: Objective) -> TrialRecord:
    """Return the best trial of a row by the first objective; the row has a value."""
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
    """Return a column name for each parameter that differs from all other columns.

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
    """Return the shortest unique ends of dotted names.

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
    """Return the row of a suggestion; a finalist counts its fresh seeds only."""
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
        Score(
            values=tuple(values[i] for _, values in counted.values()),
            size=other.validation_size,
        )
        for i, other in enumerate(experiment.objectives[1:], start=1)
    ]
    first = Score(
        values=tuple(by_seed.values()), size=objective.validation_size, correct=correct
    )
    best_seed = min(by_seed, key=lambda s: objective.loss(by_seed[s]), default=None)
    return Row(
        rank=0,
        params=trials[0].params,
        trials=tuple(trials),
        by_seed=by_seed,
        scores=(first, *others),
        is_baseline=_is_baseline(trials[0].params, experiment.baseline),
        best_epoch=0 if best_seed is None else counted[best_seed][0],
        is_finalist=is_finalist,
    )


def _is_baseline(params: Params, baseline: Mapping[str, object]) -> bool:
    """Return whether a point is the baseline of the file.

    In the file a parameter with a single value may be missing, and an option of a
    group may be written as a number. The point is canonical.
    """
    return bool(baseline) and all(
        name in params and _is_same(params[name], value)
        for name, value in baseline.items()
    )


def _is_same(value: Value, written: object) -> bool:
    if isinstance(written, list | tuple | dict):
        from sweeper.system import grammar  # imports Hydra, rarely needed

        return value == grammar.to_text(written)
    if type(written) is int and isinstance(value, str):
        return value == str(written)
    return value == written and isinstance(value, bool) == isinstance(written, bool)


def confirm_seeds(confirm: Confirm, *, taken: Collection[int]) -> tuple[int, ...]:
    """Return the fresh seeds of all finalists; none of them is in `taken`."""
    seeds: list[int] = []
    draw = 0
    while confirm.top and len(seeds) < confirm.seeds:
        seed = derive(0, "confirm", draw) % MAX_CONFIRM_SEED
        draw += 1
        if seed not in taken and seed not in seeds:
            seeds.append(seed)
    return tuple(seeds)


def finalists(
    records: Sequence[TrialRecord], experiment: Experiment
) -> list[TrialRecord]:
    """Return the first record of each of the best points, best first.

    Points are ranked by their mean over the seeds of the file. Points with a trial that
    failed or was stopped early come after all others.

    Args:
        records: ended trials on the seeds of the file.
    """
    points: dict[str, list[TrialRecord]] = {}
    for record in records:
        points.setdefault(record.point, []).append(record)

    def order(group: Sequence[TrialRecord]) -> tuple[bool, float, int]:
        losses = [experiment.objective.loss(r.result[0]) for r in group if r.result]
        is_whole = all(record.state is State.COMPLETE for record in group)
        mean = statistics.fmean(losses) if losses else math.inf
        return (not is_whole, mean, group[0].number)

    ranked = sorted(points.values(), key=order)
    return [
        group[0]
        for group in ranked[: experiment.confirm.top]
        if any(record.result for record in group)
    ]
