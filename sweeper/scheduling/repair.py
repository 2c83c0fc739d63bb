"""A damaged journal rebuilt from what is whole of it and from the trials' folders.

It removes nothing: the damaged file stays beside the new one.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeper.errors import JournalError
from sweeper.experiment.experiment import Experiment
from sweeper.host.paths import SweepPaths, TrialPaths, atomic_write
from sweeper.storage import attributes, database, rdb, records, result, store
from sweeper.storage.rows import QUEUED_AFTER, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair found and did.

    Attributes:
        damage: what was wrong; "" for a journal that is whole.
        num_lost: records that could not be read.
        recovered: ids of trials that were taken from their folders.
        kept: the damaged file, None where there was none.
    """

    damage: str
    num_lost: int
    recovered: tuple[str, ...]
    kept: Path | None


def repair(experiment: Experiment, paths: SweepPaths) -> Repair:
    """Make the journal of a sweep whole again.

    Every record before the first damage stays as it is. A trial that ended after it
    comes back with its result, one that ran waits with what it reported, and goes on
    from its checkpoint. What is lost are counts: failed attempts, busy time.

    Raises:
        LockedError: a driver holds the sweep.
        JournalError: the storage is a server's database.
    """
    with store.alone(paths):
        if experiment.storage is None:
            damage, num_lost, kept = _cut(paths)
        else:
            damage, num_lost, kept = _set_aside(experiment, paths)
        study = store.open_study(experiment, paths)
        recovered = _recover(study, paths)
    return Repair(damage=damage, num_lost=num_lost, recovered=recovered, kept=kept)


def _cut(paths: SweepPaths) -> tuple[str, int, Path | None]:
    """Leave the whole part of the journal's file."""
    whole = records.whole_part(paths.journal)
    if not whole.damage:
        return "", 0, None
    kept = _free_name(paths.journal)
    # A copy, not a rename: a kill must not leave the sweep without a journal.
    atomic_write(kept, lambda temporary: _copy(paths.journal, temporary))

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"".join(line + b"\n" for line in whole.lines))

    atomic_write(paths.journal, write)
    return whole.damage, whole.num_lost, kept


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _set_aside(
    experiment: Experiment, paths: SweepPaths
) -> tuple[str, int, Path | None]:
    """Move a SQLite file away that cannot be read."""
    try:
        study = store.open_study(experiment, paths)
        study.get_trials(deepcopy=False)
    except (JournalError, *rdb.UNREADABLE) as error:
        file = database.file(str(experiment.storage), paths.folder)
        if not file.is_file():
            raise JournalError(
                f"{error}; a server's database is repaired with its own tools"
            ) from error
        kept = _free_name(file)
        file.replace(kept)
        return str(error).splitlines()[0], 0, kept
    return "", 0, None


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return kept


def _recover(study: Study, paths: SweepPaths) -> tuple[str, ...]:
    """Write what the folders know and the journal does not; ids of the trials."""
    rows = Rows(study)
    known = {row.user_attrs["id"]: row for row in rows.all()}
    folders = [path for path in paths.trials.glob("*") if path.is_dir()]
    found = [result.read(TrialPaths(folder)) for folder in folders]
    recovered = []
    in_order = sorted((f for f in found if f is not None), key=lambda item: item[0])
    for _, row in in_order:
        identity = row.user_attrs["id"]
        if identity not in known:
            study.add_trial(row)
            recovered.append(identity)
        elif _complete(rows, known[identity], row):
            recovered.append(identity)
    return tuple(recovered)


def _complete(rows: Rows, known: FrozenTrial, row: FrozenTrial) -> bool:
    """Bring a row up to what its folder has; whether that was any news."""
    identity = known.user_attrs["id"]
    if known.state.is_finished():
        return False
    # An end after which the trial was put back in the queue is no news.
    attempts = len(row.user_attrs.get("attempts", ()))
    is_newer = attempts > known.user_attrs.get(QUEUED_AFTER, 0)
    news = row.intermediate_values.keys() - known.intermediate_values.keys()
    others = attributes.others(row.user_attrs)
    for epoch in sorted(news):
        values = (row.intermediate_values[epoch], *others.get(epoch, ()))
        rows.report(identity, epoch=epoch, values=values)
    if row.state.is_finished() and is_newer:
        rows.note(identity, **row.user_attrs)
        rows.move(identity, row.state, row.values)
        return True
    return bool(news)
