"""Schedulers that Optuna lacks: objects with `prune(study, trial) -> bool`.

Each reads rows and writes nothing; a project's own may stand beside them.
"""

import math
import warnings
from collections.abc import Mapping, Sequence

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState


class Wilcoxon:
    """Stop a seed of a suggestion that loses to the best one seed after seed.

    At each epoch the suggestion's seeds are compared with the same seeds of the
    suggestion that is best so far, by Wilcoxon's signed-rank test (Biometrics Bulletin
    1, 1945). Four seeds are the fewest that reach p = 0.1. The seeds of a suggestion
    run one after another, so the last ones are what it saves.

    Args:
        p_threshold: a trial is stopped at a p at most this.
        n_startup_steps: epochs of a trial that never stop it.
    """

    def __init__(self, *, p_threshold: float = 0.1, n_startup_steps: int = 0) -> None:
        if not 0 < p_threshold < 1:
            raise ValueError(f"p_threshold: {p_threshold} must lie between 0 and 1")
        self._threshold = p_threshold
        self._warmup = n_startup_steps

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether its suggestion is worse than the best one over shared seeds."""
        epoch = trial.last_step
        if epoch is None or epoch <= self._warmup:
            return False
        if math.isnan(trial.intermediate_values[epoch]):
            return True
        sign = 1 if study.direction is StudyDirection.MAXIMIZE else -1
        rows = study.get_trials(deepcopy=False)
        best = _best_point(rows, trial, sign)
        own = _at(rows, trial.user_attrs.get("point"), epoch)
        own[trial.user_attrs.get("seed", 0)] = trial.intermediate_values[epoch]
        rival = _at(rows, best, epoch)
        gaps = [sign * (rival[seed] - own[seed]) for seed in own if seed in rival]
        return _p_value(gaps) <= self._threshold


def _best_point(
    rows: Sequence[FrozenTrial], trial: FrozenTrial, sign: int
) -> str | None:
    """Name of the finished suggestion with the best mean, the trial's own apart."""
    values: dict[str, list[float]] = {}
    for row in rows:
        point = str(row.user_attrs.get("point", ""))
        is_other = point not in ("", trial.user_attrs.get("point"))
        if is_other and row.state is TrialState.COMPLETE and row.values:
            values.setdefault(point, []).append(row.values[0])
    means = {point: sum(found) / len(found) for point, found in values.items()}
    return max(means, key=lambda point: sign * means[point], default=None)


def _at(rows: Sequence[FrozenTrial], point: str | None, epoch: int) -> dict[int, float]:
    """The finite values of a suggestion at one epoch, by seed."""
    found: Mapping[int, float] = {
        row.user_attrs["seed"]: row.intermediate_values[epoch]
        for row in rows
        if point is not None
        and row.user_attrs.get("point") == point
        and epoch in row.intermediate_values
    }
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _p_value(gaps: Sequence[float]) -> float:
    """That so many leads of the rival are chance; 1.0 for no difference at all."""
    if not any(gaps):
        return 1.0
    from scipy.stats import wilcoxon  # late: half a second that no other needs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(wilcoxon(gaps, alternative="greater").pvalue)
