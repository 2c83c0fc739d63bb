"""The effect of an edited experiment file on the trials that a sweep has."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import State, TrialRecord
from sweeper.search.history import known_point


def removed(
    records: Sequence[TrialRecord],
    *,
    experiment: Experiment,
    space: Space,
    seeds_before: Collection[int],
) -> tuple[str, ...]:
    """Return the ids of the trials whose point or seed the file no longer has.

    Args:
        records: of all trials.
        experiment: as the file is now.
        space: its points.
        seeds_before: every seed that the file had under `seeds` at some start.
    """
    seeds = set(seeds_before) - set(experiment.seeds)
    return tuple(
        record.id
        for record in records
        if record.seed in seeds or known_point(record.params, space=space) is None
    )


def outgrown(
    records: Sequence[TrialRecord],
    *,
    epochs: Mapping[str, int],
    ids: Collection[str] = (),
) -> Iterator[TrialRecord]:
    """Yield complete trials that ran for fewer epochs than the file has now.

    A trial that the scheduler stopped stays stopped, and one of a population continues
    in its children.

    Args:
        epochs: by the key of its override.
        ids: of trials that a config file of the project has more epochs for.
    """
    for record in records:
        is_short = record.id in ids or any(
            count > record.epochs.get(key, count) for key, count in epochs.items()
        )
        is_over = record.state is State.COMPLETE and record.lineage is None
        if is_over and is_short:
            yield record
