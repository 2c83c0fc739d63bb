"""Changes to a sweep between two starts: repairs, retries, edits of its file."""

import itertools
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.experiment.definition import Experiment, changes
from sweeper.experiment.loading import dump
from sweeper.experiment.space import Space
from sweeper.journal import journal_file, store
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.journal.study import (
    TrialStore,
    again,
    from_attrs,
    open_store,
    to_attrs,
    with_report,
)
from sweeper.protocol import TrialSpec
from sweeper.search.history import known_point
from sweeper.system import locks, metrics_file
from sweeper.system.errors import (
    ExperimentChangedError,
    SweepNotFoundError,
    nearest,
)
from sweeper.system.paths import SweepPaths, TrialPaths, atomic_write, write_text

# ---- the record of a trial in its own folder, for a journal that is lost


def save_result(record: TrialRecord, paths: TrialPaths) -> None:
    """Write the final record of a trial beside its files."""
    data = {
        "number": record.number,
        "state": record.state,
        "values": record.result,
        "params": dict(record.params),
        "epochs": {str(epoch): value for epoch, value in record.values.items()},
        "attributes": to_attrs(record),
    }
    write_text(paths.result, json.dumps(data, sort_keys=True))


def read_result(paths: TrialPaths) -> TrialRecord | None:
    """Return the record of a trial's folder; None if there is none.

    A trial that has not ended is WAITING with its logged epochs; it resumes from its
    checkpoint.
    """
    data = _json(paths.result)
    if data is None:
        return _unfinished(paths)
    return from_attrs(
        data["attributes"],
        number=data["number"],
        state=State(data["state"]),
        params=data["params"],
        values={int(epoch): value for epoch, value in data["epochs"].items()},
        result=tuple(data["values"]),
    )


def _unfinished(paths: TrialPaths) -> TrialRecord | None:
    if _json(paths.spec) is None:
        return None
    spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
    names = (spec.metric, *spec.more_metrics)
    record = TrialRecord.new(spec.params, seed=spec.seed, lineage=spec.lineage)
    record = replace(record, number=spec.number)
    for epoch, logged in metrics_file.epochs(paths.metrics).items():
        if all(name in logged for name in names):
            values = [float(logged[name]) for name in names]
            record = replace(record, **with_report(record, epoch=epoch, values=values))
    return record


def _json(path: Path) -> dict[str, Any] | None:
    """Return the mapping in a JSON file; None if it is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


# ---- a damaged journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The result of a repair.

    Attributes:
        damage: of the journal's file; "" if it is whole.
        num_lost: records that could not be read.
        recovered: ids of trials that were restored from their folders.
        kept: copy of the damaged file; None if it was whole.
    """

    damage: str
    num_lost: int
    recovered: tuple[str, ...]
    kept: Path | None


def repair(experiment: Experiment, paths: SweepPaths) -> Repair:
    """Rebuild the journal of a sweep from its whole part and the trials' folders.

    Records before the first damage are kept. A trial that ended later is restored with
    its result. One that was running waits with its reported epochs and resumes from its
    checkpoint; its later attempts and busy time are lost. A copy of the damaged file
    stays beside the new one.

    Raises:
        LockedError: a driver holds the sweep.
    """
    with store.alone(paths):
        whole = journal_file.whole_part(paths.journal)
        kept = _cut(paths.journal, whole.lines) if whole.damage else None
        journal = open_store(experiment.name, experiment.objectives, paths)
        folders = (path for path in paths.trials.glob("*") if path.is_dir())
        saved = filter(None, (read_result(TrialPaths(folder)) for folder in folders))
        recovered = tuple(
            record.id
            for record in sorted(saved, key=lambda record: record.number)
            if _recover(journal, record)
        )
    return Repair(
        damage=whole.damage, num_lost=whole.num_lost, recovered=recovered, kept=kept
    )


def _cut(path: Path, lines: Sequence[bytes]) -> Path:
    """Reduce a journal to its whole lines; return the copy of the damaged file."""
    copies = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    kept = next(copy for copy in copies if not copy.exists())

    def write(temporary: Path, content: bytes) -> None:
        temporary.write_bytes(content)

    # A copy, not a rename: a kill must not leave the sweep without a journal.
    damaged, whole = path.read_bytes(), b"".join(line + b"\n" for line in lines)
    atomic_write(kept, lambda temporary: write(temporary, damaged))
    atomic_write(path, lambda temporary: write(temporary, whole))
    return kept


def _recover(journal: TrialStore, saved: TrialRecord) -> bool:
    """Update the journal with the record of a folder; return whether it changed."""
    if saved.id not in journal:
        journal.add(saved)
        return True
    record = journal.get(saved.id)
    if record.state.is_final:
        return False
    # An end before the trial was put back in the queue is not new.
    if saved.state.is_final and len(saved.attempts) > record.retried_after:
        journal.put(replace(saved, number=record.number, notes=record.notes))
        return True
    values = {**saved.values, **record.values}
    if len(values) == len(record.values):
        return False
    others = {**saved.others, **record.others}
    journal.put(replace(record, values=values, others=others))
    return True


# ---- failed trials


def requeue(sweep: Sweep, ids: Sequence[str]) -> tuple[str, ...]:
    """Put failed trials back in the queue, without their failures; return their ids.

    Each gets a new row, since a finished one is read-only. It keeps the reports, and
    the trial resumes from its checkpoint.

    Args:
        ids: trials to put back; () for every failed one.

    Raises:
        LockedError: a driver holds the sweep.
        SweepNotFoundError: the sweep has no failed trial with one of the ids.
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


# ---- an edited experiment file


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
        experiment: from the current file.
        space: its points.
        seeds_before: every seed that was under `seeds` at any start.
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

    Trials that the scheduler stopped are left out, and so are those of a population,
    which continue in their children.

    Args:
        epochs: by the key of its override.
        ids: of trials for which a config file of the project now has more epochs.
    """
    for record in records:
        is_short = record.id in ids or any(
            count > record.epochs.get(key, count) for key, count in epochs.items()
        )
        is_over = record.state is State.COMPLETE and record.lineage is None
        if is_over and is_short:
            yield record


def is_replaced(sweep: Experiment, paths: SweepPaths) -> bool:
    """Return whether the trials in a sweep's folder are to be discarded.

    They are if no epoch was reported and either the new trials would not be comparable
    or the change may let failed trials run. The first start was then refused, failed
    or was stopped early, and must not block the corrected file.

    Raises:
        ExperimentChangedError: new results would not be comparable with existing ones.
    """
    if not paths.experiment.exists():
        return False
    stored = store.load_experiment(paths)
    differences = changes(stored, sweep)
    if not differences and (
        dump(stored) == dump(sweep) or any(paths.trials.glob("*/metrics.jsonl"))
    ):
        return False
    kept = store.Reader(stored, paths.folder).sweep()
    trials = (*kept.trials, *kept.hidden)
    if not any(trial.values for trial in trials):
        return bool(differences) or any(t.state is State.FAILED for t in trials)
    if differences:
        raise ExperimentChangedError(
            f"{sweep.path}: not the experiment that {paths.folder} holds:\n"
            + "\n".join(f"  {line}" for line in differences)
            + "\nundo the change, or start a new sweep: --fork NAME"
        )
    return False


def discard(paths: SweepPaths) -> None:
    """Remove the trials of a sweep that `is_replaced`, and the files made from them.

    The caller must hold the sweep's lock. The experiment is removed last, so that the
    next start completes the removal after a kill.
    """
    with locks.hold(paths.journal_lock, wait_seconds=store.WRITER_SECONDS):
        for folder in paths.trials.glob("*"):
            lock = paths.trial(folder.name).lock  # of a trial that outlives its driver
            with locks.hold(lock, wait_seconds=store.WRITER_SECONDS):
                shutil.rmtree(folder)
        paths.journal.unlink(missing_ok=True)
    derived = (paths.memory, paths.preflight, paths.preflight_errors, paths.report)
    for path in (*derived, paths.leaderboard_csv, paths.leaderboard_md):
        path.unlink(missing_ok=True)
    paths.experiment.unlink()
