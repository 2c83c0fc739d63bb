"""Asynchronous successive halving that may promote a trial that it has stopped.

It reads rows and writes nothing; that a trial goes on is for `agenda` to say.
"""

import math
from collections.abc import Iterator, Sequence

from optuna.pruners import SuccessiveHalvingPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState


class Asha(SuccessiveHalvingPruner):
    """Optuna's asynchronous successive halving, or that of its paper.

    Optuna's judges a trial once: what is not in the best part at that moment is
    stopped for good, and the first of a rung always goes on. With `promote` a rung
    is as in Li et al., "A System for Massively Parallel Hyperparameter Tuning"
    (MLSys 2020), algorithm 2: floor(n / reduction_factor) of the n trials that
    reached it may go on. A trial that is not among them stops, and goes on from its
    checkpoint once it is, since others came that are worse.

    Args:
        min_resource: epochs to the first rung.
        reduction_factor: of the trials of a rung one in so many goes on.
        min_early_stopping_rate: rungs that are left out at the start (the bracket).
        bootstrap_count: see Optuna; not with `promote`.
        promote: whether stopped trials may go on.
    """

    def __init__(
        self,
        *,
        min_resource: int = 1,
        reduction_factor: int = 3,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
        promote: bool = False,
    ) -> None:
        super().__init__(
            min_resource=min_resource,
            reduction_factor=reduction_factor,
            min_early_stopping_rate=min_early_stopping_rate,
            bootstrap_count=bootstrap_count,
        )
        if promote and bootstrap_count:
            raise ValueError("bootstrap_count: must be 0 with promote")
        self.is_promoting = promote
        self._first = min_resource * reduction_factor**min_early_stopping_rate
        self._factor = reduction_factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial stops at the rung that it has just reached."""
        if not self.is_promoting:
            return bool(super().prune(study, trial))
        epoch = trial.last_step
        rung = self._rung(trial)
        if epoch is None or rung is None or _first_from(trial, rung) != epoch:
            return False
        # A trial that went on has its earlier rows, too; the newest one counts.
        rows = {
            row.user_attrs.get("id", row.number): row
            for row in study.get_trials(deepcopy=False)
        }
        is_max = study.direction is StudyDirection.MAXIMIZE
        best = self._best(list(rows.values()), rung, is_max=is_max)
        return all(row.number != trial.number for row in best)

    def promoted(
        self, rows: Sequence[FrozenTrial], *, is_max: bool
    ) -> FrozenTrial | None:
        """A stopped trial that goes on now, of the highest rung; None for none."""
        for rung in reversed(list(self._rungs(rows))):
            for row in self._best(rows, rung, is_max=is_max):
                is_stopped = row.state is TrialState.PRUNED
                if is_stopped and self._rung(row) == rung:
                    return row
        return None

    def _rungs(self, rows: Sequence[FrozenTrial]) -> Iterator[int]:
        last = max((row.last_step or 0 for row in rows), default=0)
        rung = self._first
        while rung <= last:
            yield rung
            rung *= self._factor

    def _rung(self, row: FrozenTrial) -> int | None:
        """The highest rung that a trial has reached, by its epoch."""
        return max(self._rungs([row]), default=None)

    def _best(
        self, rows: Sequence[FrozenTrial], rung: int, *, is_max: bool
    ) -> list[FrozenTrial]:
        """The trials that may go on from a rung, best first; of equals the earlier."""
        reached = []
        for row in rows:
            epoch = _first_from(row, rung)
            if epoch is None:
                continue
            value = row.intermediate_values[epoch]
            worth = value if is_max else -value
            reached.append((math.inf if math.isnan(worth) else -worth, row))
        reached.sort(key=lambda item: item[0])
        kept = reached[: len(reached) // self._factor]
        return [row for worth, row in kept if worth < math.inf]


def _first_from(row: FrozenTrial, epoch: int) -> int | None:
    """The first epoch from `epoch` on that a trial has reported."""
    if epoch in row.intermediate_values:
        return epoch
    return min((e for e in row.intermediate_values if e >= epoch), default=None)
