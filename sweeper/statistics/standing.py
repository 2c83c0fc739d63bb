"""One suggestion over its seeds, as a row of the leaderboard; pure values."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper import lineage
from sweeper.experiment.sections import Objective
from sweeper.statistics import ties
from sweeper.statistics.distributions import Array
from sweeper.trial import Params, State, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One objective of a suggestion over its seeds; see `Row` for its fields."""

    mean: float
    std: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suggestion over its seeds.

    Attributes:
        rank: 1 for the best; 0 for a suggestion without a value.
        trials: one a seed, by number.
        values: best objective of each trial that counts, by seed: one that has a
            value and did not fail; of a finalist those of its fresh seeds.
        mean: of `values`; NaN without one.
        std: sample standard deviation (n - 1); NaN for fewer than two values.
        low: lower end of the 95 % interval of the mean, over seeds and examples.
        high: upper end of it; NaN with one seed and no number of examples.
        delta: mean difference to the baseline over shared seeds, else of the means;
            NaN without a baseline.
        delta_low: lower end of its 95 % interval; NaN where it has none.
        delta_high: upper end of it.
        p: how likely so large a lead of the best row is by chance, corrected for
            many rows; 1 for the best row, NaN where nothing can be said.
        is_finalist: whether fresh seeds have confirmed it.
        best_epoch: epoch of the best value of all seeds, 0 without one.
        others: the scores of the objectives after the first one, whose are above; of
            the epochs that are best by the first one.
        front: with several objectives the non-dominated rank: 1 on the Pareto front;
            0 with one objective, or without a value.
    """

    rank: int
    params: Params
    trials: tuple[TrialRecord, ...]
    by_seed: Mapping[int, float]
    mean: float
    std: float
    low: float
    high: float
    is_baseline: bool
    best_epoch: int
    delta: float = math.nan
    delta_low: float = math.nan
    delta_high: float = math.nan
    p: float = math.nan
    is_finalist: bool = False
    others: tuple[Score, ...] = ()
    front: int = 0

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every objective, in the file's order."""
        n = len(self.by_seed)
        first = Score(mean=self.mean, std=self.std, low=self.low, high=self.high, n=n)
        return (first, *self.others)

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of every objective, in the file's order."""
        return (self.mean, *(score.mean for score in self.others))

    @property
    def parent(self) -> str:
        """Id of the trial whose checkpoint it started from; "" for none."""
        return lineage.parent(self.trials[0].lineage)

    @property
    def values(self) -> tuple[float, ...]:
        """The values that count, in order of the trials."""
        return tuple(self.by_seed.values())

    @property
    def is_worse(self) -> bool:
        """Whether the best row is better than this one by more than chance."""
        return self.p <= ties.ALPHA

    @property
    def is_tied(self) -> bool:
        """Whether it may be as good as the best row."""
        return self.rank > 0 and not self.is_worse

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that it was or will be run with, in order of the trials."""
        return tuple(trial.seed for trial in self.trials)

    @property
    def states(self) -> Mapping[State, int]:
        """How many of its trials are in each state."""
        return Counter(trial.state for trial in self.trials)


def found(trial: TrialRecord, objective: Objective) -> tuple[int, float] | None:
    """Epoch and value that count for a trial; None for a failed one.

    What a trial reported before it failed is no result of its settings.
    """
    best = trial.best(objective)
    is_result = trial.state is not State.FAILED
    return best if best is not None and is_result and math.isfinite(best[1]) else None


def found_all(
    trial: TrialRecord, objectives: Sequence[Objective]
) -> tuple[int, tuple[float, ...]] | None:
    """Epoch and values that count for a trial, of every objective.

    They are of one epoch, the best one by the first objective: that of the checkpoint
    which is kept. Best values of different epochs would be of no one model.
    """
    first = found(trial, objectives[0])
    if first is None:
        return None
    epoch, value = first
    return epoch, (value, *trial.others.get(epoch, ()))


def answers(
    trials: Sequence[TrialRecord], seeds: Sequence[int]
) -> tuple[tuple[str, int], Array] | None:
    """What the seeds answered (seeds, examples), and a name of the questions."""
    by_seed = {trial.seed: trial for trial in trials}
    found = [by_seed[seed].correctness for seed in seeds]
    known = [e for e in found if e is not None and e.epoch and e.correct]
    names = {(e.order, len(e.correct)) for e in known}
    if len(known) < len(found) or len(names) != 1:
        return None
    bits = [np.frombuffer(e.correct.encode(), dtype=np.uint8) for e in known]
    return names.pop(), np.stack(bits).astype(float) - ord("0")
