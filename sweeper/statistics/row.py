"""Row of the leaderboard: one suggestion over its seeds."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.experiment.sections import Objective
from sweeper.journal.record import State, TrialRecord
from sweeper.protocol import Params
from sweeper.statistics import intervals, significance
from sweeper.statistics.significance import Array
from sweeper.system import lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One objective of a suggestion over its seeds.

    Attributes:
        mean: NaN without a value.
        std: sample standard deviation (n - 1); NaN for fewer than two values.
        low: lower end of the 95 % interval of the mean, over seeds and examples.
        high: upper end of it; NaN with one seed and no number of examples.
        n: number of values.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int


def score(
    values: Sequence[float], objective: Objective, *, correct: Array | None = None
) -> Score:
    """Return the score of one value a seed.

    Args:
        correct: (seeds, examples), 1 where an answer was right; None if not known.
    """
    low, high = intervals.score_interval(
        values, correct=correct, size=objective.validation_size
    )
    return Score(
        mean=statistics.fmean(values) if values else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        n=len(values),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suggestion over its seeds.

    Attributes:
        rank: 1 for the best; 0 for a suggestion without a value.
        trials: one a seed, by number.
        by_seed: best objective of each trial that counts: one that has a value and did
            not fail; of a finalist those of its fresh seeds.
        scores: of every objective, in the file's order; of the epochs that are best by
            the first one.
        delta: mean difference to the baseline over shared seeds, else of the means;
            NaN without a baseline.
        delta_low: lower end of its 95 % interval; NaN if it has none.
        delta_high: upper end of it.
        p: how likely so large a lead of the best row is by chance, corrected for
            many rows; 1 for the best row, NaN where nothing can be said.
        is_finalist: whether fresh seeds have confirmed it.
        best_epoch: epoch of the best value of all seeds, 0 without one.
        front: with several objectives the non-dominated rank: 1 on the Pareto front;
            0 with one objective, or without a value.
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
        """Mean of every objective, in the file's order."""
        return tuple(score.mean for score in self.scores)

    @property
    def others(self) -> tuple[Score, ...]:
        """Scores of the objectives after the first one."""
        return self.scores[1:]

    @property
    def parent(self) -> str:
        """Id of the trial whose checkpoint it started from; "" if there is none."""
        return lineage.parent(self.trials[0].lineage)

    @property
    def values(self) -> tuple[float, ...]:
        """Values that count, in order of the trials."""
        return tuple(self.by_seed.values())

    @property
    def is_worse(self) -> bool:
        """Return True if the best row is better by more than chance."""
        return self.p <= significance.ALPHA

    @property
    def is_tied(self) -> bool:
        """Return True if it may be as good as the best row."""
        return self.rank > 0 and not self.is_worse

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that it was or will be run with, in order of the trials."""
        return tuple(trial.seed for trial in self.trials)

    @property
    def states(self) -> Mapping[State, int]:
        """Number of its trials in each state."""
        return Counter(trial.state for trial in self.trials)


def trial_result(trial: TrialRecord, objective: Objective) -> tuple[int, float] | None:
    """Return the epoch and the value that count for a trial; None for a failed one.

    The reports of a trial that failed are no result of its settings.
    """
    best = trial.best(objective)
    is_result = trial.state is not State.FAILED
    return best if best is not None and is_result and math.isfinite(best[1]) else None


def trial_results(
    trial: TrialRecord, objectives: Sequence[Objective]
) -> tuple[int, tuple[float, ...]] | None:
    """Return the epoch and the values that count for a trial, of every objective.

    They are of one epoch, the best one by the first objective: that of the checkpoint
    which is kept. Best values of different epochs would belong to no one model.
    """
    first = trial_result(trial, objectives[0])
    if first is None:
        return None
    epoch, value = first
    return epoch, (value, *trial.others.get(epoch, ()))


def correctness(
    trials: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[tuple[str, int], Array] | None:
    """Return (seeds, examples) with 1 for each right answer, and the examples' name.

    None unless every seed has its answers, to the same examples.
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
    """Return differences of single answers (seeds, examples); None if not all known."""
    one, two = (correctness(row.trials, seeds) for row in (first, second))
    if one is None or two is None or one[0] != two[0]:
        return None
    return one[1] - two[1]


def delta(row: Row, base: Row | None) -> tuple[float, float, float]:
    """Return the mean difference to the baseline, and its interval."""
    if base is None:
        return math.nan, math.nan, math.nan
    seeds = [seed for seed in row.by_seed if seed in base.by_seed]
    if row is base or not seeds:
        return row.mean - base.mean, math.nan, math.nan
    differences = [row.by_seed[s] - base.by_seed[s] for s in seeds]
    correct = paired_correctness(row, base, seeds)
    low, high = intervals.difference_interval(differences, correct=correct)
    return statistics.fmean(differences), low, high
