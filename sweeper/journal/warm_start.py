"""`warm_start`: another sweep's trials as history for the search of this one.

They are copied into the journal at the first start, so later changes to the other sweep
do not change suggestions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal import store
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.journal.study import TrialStore
from sweeper.search.history import known_point
from sweeper.statistics.leaderboard import rank
from sweeper.system.errors import SweepNotFoundError
from sweeper.system.paths import SweepPaths

NOTE = "warm_start"


def history(
    journal: TrialStore, experiment: Experiment, space: Space, paths: SweepPaths
) -> list[TrialRecord]:
    """Return a finished trial for each point of the other sweep that is in this space.

    Raises:
        ExperimentError: there is no such sweep, it has another objective, or none of
            its points is in this space.
    """
    if not experiment.warm_start:
        return []
    noted = journal.attribute(NOTE, {})
    if noted.get("sweep") != experiment.warm_start:
        noted = {
            "sweep": experiment.warm_start,
            "points": _points(experiment, space, paths),
        }
        journal.set_attribute(NOTE, noted)
    return [
        replace(
            TrialRecord.new(point["params"], seed=experiment.seeds[0]),
            state=State.COMPLETE,
            result=tuple(point["values"]),
        )
        for point in noted["points"]
        if _has(space, point)
    ]


def check(experiment: Experiment, space: Space, paths: SweepPaths) -> None:
    """Refuse an invalid `warm_start` before the first start of the sweep.

    Raises:
        ExperimentError: as `history`.
    """
    if experiment.warm_start and not paths.experiment.exists():
        _points(experiment, space, paths)


def _points(
    experiment: Experiment, space: Space, paths: SweepPaths
) -> Sequence[Mapping[str, Any]]:
    """Return the points and mean values of the other sweep as JSON."""
    sweep = _load(experiment, paths)
    points = [
        {"params": dict(row.params), "values": row.means}
        for row in rank(sweep)
        if row.rank
    ]
    if not any(_has(space, point) for point in points):
        names = ", ".join(dict.fromkeys(p.name for p in space.parameters))
        raise experiment.error(
            ("warm_start",),
            f"warm_start: none of the {len(points)} points of "
            f"{experiment.warm_start!r} is in this space ({names}); its parameters "
            "must be the same; remove it",
        )
    return points


def _load(experiment: Experiment, paths: SweepPaths) -> Sweep:
    name = experiment.warm_start
    try:
        sweep = store.load_sweep(paths.folder.parent / name)
    except SweepNotFoundError as error:
        raise experiment.error(("warm_start",), f"warm_start: {error}") from error
    here, there = (
        ", ".join(map(str, e.objectives)) for e in (experiment, sweep.experiment)
    )
    if here != there:
        raise experiment.error(
            ("warm_start",),
            f"warm_start: {name!r} has the objective {there}; it must be this one, "
            f"{here}",
        )
    return sweep


def _has(space: Space, point: Mapping[str, Any]) -> bool:
    return known_point(point["params"], space=space) is not None
