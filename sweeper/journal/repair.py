"""A damaged journal rebuilt from what is whole of it and from the trials' folders.

It removes nothing: the damaged file stays beside the new one.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.experiment.experiment import Experiment
from sweeper.journal import journal_file, result, store
from sweeper.journal.record import TrialRecord
from sweeper.journal.study import TrialStore, open_store
from sweeper.system.paths import SweepPaths, TrialPaths, atomic_write


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
    """
    with store.alone(paths):
        damage, num_lost, kept = _cut(paths)
        journal = open_store(experiment.name, experiment.objectives, paths)
        recovered = _recover(journal, paths)
    return Repair(damage=damage, num_lost=num_lost, recovered=recovered, kept=kept)


def _cut(paths: SweepPaths) -> tuple[str, int, Path | None]:
    """Leave the whole part of the journal's file."""
    whole = journal_file.whole_part(paths.journal)
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


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return kept


def _recover(journal: TrialStore, paths: SweepPaths) -> tuple[str, ...]:
    """Write what the folders have and the journal has not; return ids of trials."""
    folders = [path for path in paths.trials.glob("*") if path.is_dir()]
    saved = filter(None, (result.read(TrialPaths(folder)) for folder in folders))
    recovered = []
    for record in sorted(saved, key=lambda record: record.number):
        if record.id not in journal:
            journal.add(record)
            recovered.append(record.id)
        elif _complete(journal, journal.get(record.id), record):
            recovered.append(record.id)
    return tuple(recovered)


def _complete(journal: TrialStore, known: TrialRecord, saved: TrialRecord) -> bool:
    """Bring a record up to what its trial's folder has; return whether it changed."""
    if known.state.is_final:
        return False
    # An end after which the trial was put back in the queue is no news.
    is_newer = len(saved.attempts) > known.retried_after
    if saved.state.is_final and is_newer:
        journal.put(replace(saved, number=known.number, notes=known.notes))
        return True
    values = {**saved.values, **known.values}
    if len(values) == len(known.values):
        return False
    others = {**saved.others, **known.others}
    journal.put(replace(known, values=values, others=others))
    return True
