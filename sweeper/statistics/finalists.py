"""Finalists: the best suggestions, run again on seeds that did not choose them.

The best of many first results is high by luck in part (the winner's curse); a second
result of the same settings is not.
"""

import math
import statistics
from collections.abc import Collection, Sequence

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.sections import Confirm
from sweeper.journal.record import State, TrialRecord
from sweeper.system.seeds import derive

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


def finalists(
    records: Sequence[TrialRecord], experiment: Experiment
) -> list[TrialRecord]:
    """Return the first record of each of the best points, the best first.

    A point counts with the mean of its seeds of the file; one of which a trial failed
    or was stopped early comes after those that ran whole.

    Args:
        records: of the first round, all of them ended.
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
