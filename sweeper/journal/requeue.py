"""Failed trials put back in the queue, by hand, while no driver runs."""

from collections.abc import Sequence

from sweeper.journal import store
from sweeper.journal.frozen_trial import again
from sweeper.journal.record import State, Sweep
from sweeper.journal.study import open_store
from sweeper.system.errors import SweepNotFoundError, nearest


def requeue(sweep: Sweep, ids: Sequence[str]) -> tuple[str, ...]:
    """Give failed trials a new row each, without their failures; their ids.

    A finished row cannot be written to. The newest row of an id counts, so the old
    one stays as history; what the trial reported so far comes along, and its next
    start goes on from its checkpoint.

    Args:
        ids: trials to put back; empty: every failed one.

    Raises:
        LockedError: a driver holds the sweep.
        SweepNotFoundError: an id that the sweep has not, or has not as failed.
    """
    failed = {t.id for t in sweep.trials if t.state is State.FAILED}
    for identity in ids:
        if identity not in failed:
            raise SweepNotFoundError(
                f"{sweep.folder}: no failed trial {identity!r}; "
                f"{nearest(identity, failed)}"
            )
    wanted = set(ids) or failed
    with store.alone(sweep.paths):
        experiment = sweep.experiment
        journal = open_store(experiment.name, experiment.objectives, sweep.paths)
        records = [record for record in journal.all() if record.id in wanted]
        for record in records:
            journal.add(again(record))
    return tuple(record.id for record in records)
