"""Finalists: the best suggestions, run again on seeds that did not choose them.

The best of many first results is high by luck in part (the winner's curse); a second
result of the same settings is not.
"""

import math
import statistics
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.sections import Confirm
from sweeper.trial import derive

if TYPE_CHECKING:  # Optuna, which views of a sweep do not wait for
    from optuna.trial import FrozenTrial

SEEDS = 1_000_000


def confirm_seeds(confirm: Confirm, *, taken: Collection[int]) -> tuple[int, ...]:
    """Return the fresh seeds, the same for each finalist, without those in `taken`."""
    seeds: list[int] = []
    draw = 0
    while confirm.top and len(seeds) < confirm.seeds:
        seed = derive(0, "confirm", draw) % SEEDS
        draw += 1
        if seed not in taken and seed not in seeds:
            seeds.append(seed)
    return tuple(seeds)


def is_fresh(row: "FrozenTrial", experiment: Experiment) -> bool:
    """Return True for a row that confirms a finalist."""
    fresh = confirm_seeds(experiment.confirm, taken=experiment.seeds)
    return row.user_attrs["seed"] in fresh


def finalists(
    rows: Sequence["FrozenTrial"], experiment: Experiment
) -> list["FrozenTrial"]:
    """Return the first row of each of the best points, the best first.

    A point counts with the mean of its seeds of the file; one of which a trial failed
    or was stopped early comes after those that ran whole.

    Args:
        rows: of the first round, all of them ended.
    """
    from optuna.trial import TrialState

    points: dict[str, list[FrozenTrial]] = {}
    for row in rows:
        points.setdefault(row.user_attrs["point"], []).append(row)

    def order(group: Sequence["FrozenTrial"]) -> tuple[bool, float, int]:
        values = [row.values[0] for row in group if row.values]
        is_whole = all(row.state is TrialState.COMPLETE for row in group)
        loss = math.inf
        if values:
            loss = experiment.objective.loss(statistics.fmean(values))
        return (not is_whole, loss, group[0].number)

    ranked = sorted(points.values(), key=order)
    return [
        group[0]
        for group in ranked[: experiment.confirm.top]
        if any(row.values for row in group)
    ]
