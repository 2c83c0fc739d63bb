"""What an edit of the experiment file means for the rows that a sweep has; pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from sweeper import lineage
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.search.past import known_point


def removed(
    rows: Sequence[FrozenTrial],
    *,
    experiment: Experiment,
    space: Space,
    seeds_before: Collection[int],
) -> tuple[str, ...]:
    """Ids of the trials whose point or seed the file no longer has.

    Args:
        rows: all rows of the study.
        experiment: as the file is now.
        space: its points.
        seeds_before: every seed that the file had under `seeds` at some start.
    """
    seeds = set(seeds_before) - set(experiment.seeds)
    return tuple(
        row.user_attrs["id"]
        for row in rows
        if row.user_attrs["seed"] in seeds
        or known_point(row.params, space=space) is None
    )


def outgrown(
    rows: Sequence[FrozenTrial],
    *,
    epochs: Mapping[str, int],
    ids: Collection[str] = (),
) -> Iterator[FrozenTrial]:
    """Complete trials that ran for fewer epochs than the file has now.

    A trial that the scheduler stopped stays stopped, and one of a population goes on
    in its children.

    Args:
        epochs: by the key of its override.
        ids: of trials that a config file of the project has more epochs for.
    """
    for row in rows:
        ran = row.user_attrs.get("epochs", {})
        is_short = row.user_attrs["id"] in ids or any(
            count > ran.get(key, count) for key, count in epochs.items()
        )
        is_over = (
            row.state is TrialState.COMPLETE and lineage.of(row.user_attrs) is None
        )
        if is_over and is_short:
            yield row
