"""The study of a sweep: its trials as records, written change by change."""

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import TypeAdapter

from sweeper.compat import optuna as compat
from sweeper.experiment.definition import Objective
from sweeper.journal import journal_file
from sweeper.journal.journal_file import JournalFile
from sweeper.journal.record import (
    Attempt,
    State,
    TrialRecord,
)
from sweeper.protocol import Lineage, Params
from sweeper.system import disk
from sweeper.system.errors import JournalError, SweeperError
from sweeper.system.paths import SweepPaths, drop_torn_tail

FORMAT = 2  # of the records
HIDDEN = "hidden"  # ids of trials that the experiment file no longer has
OTHERS = "objectives/"  # with an epoch: all objectives but the first one
PLAIN = (
    "id",
    "seed",
    "point",
    "is_mean",
    "stopped_at",
    "retried_after",
    "epochs",
    "memory_key",
    "cores",
    "is_shrunk",
    "is_infeasible",
)
PROGRESS = ("metrics", "peak_bytes", "utilisation", "readings", "rates")
BUSY = "busy_seconds"  # in `progress`: of the attempt that runs
STATES = {
    State.WAITING: TrialState.WAITING,
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}
OF_OPTUNA = {theirs: ours for ours, theirs in STATES.items()}
ATTEMPTS = TypeAdapter(tuple[Attempt, ...])
EMPTY = TrialRecord(number=-1, id="", params={}, seed=-1, state=State.WAITING)


def from_row(row: FrozenTrial) -> TrialRecord:
    """Return the record of a row."""
    return from_attrs(
        row.user_attrs,
        number=row.number,
        params=row.params,
        state=OF_OPTUNA[row.state],
        notes=row.system_attrs,
        values=row.intermediate_values,
        result=tuple(row.values or ()),
        started_at=row.datetime_start,
        ended_at=row.datetime_complete,
    )


def from_attrs(
    attributes: Mapping[str, Any], *, values: Mapping[int, float], **fields: Any
) -> TrialRecord:
    """Return a record from a row's attributes and from Optuna's own fields."""
    progress = attributes.get("progress", {})
    attempts = ATTEMPTS.validate_python(attributes.get("attempts", ()))
    if attempts and attempts[-1].cause is None:
        running = replace(attempts[-1], busy_seconds=progress.get(BUSY, 0.0))
        attempts = (*attempts[:-1], running)
    others = {
        int(name.removeprefix(OTHERS)): tuple(numbers)
        for name, numbers in attributes.items()
        if name.startswith(OTHERS)
    }
    return TrialRecord(
        values={epoch: values[epoch] for epoch in sorted(values)},
        others=dict(sorted(others.items())),
        lineage=Lineage(**attributes["lineage"]) if "lineage" in attributes else None,
        attempts=attempts,
        **{name: progress[name] for name in PROGRESS if name in progress},
        **{name: attributes[name] for name in PLAIN if name in attributes},
        **fields,
    )


def to_attrs(record: TrialRecord, before: TrialRecord = EMPTY) -> dict[str, Any]:
    """Return the attributes of a record that differ from `before`, as JSON."""
    attributes = {
        name: value
        for name in PLAIN
        if (value := getattr(record, name)) != getattr(before, name)
    }
    if record.lineage != before.lineage and record.lineage is not None:
        attributes["lineage"] = asdict(record.lineage)
    if (attempts := _attempts(record)) != _attempts(before):
        attributes["attempts"] = attempts
    progress = _progress(record)
    if progress != _progress(before):
        attributes["progress"] = progress
    for epoch, values in record.others.items():
        if before.others.get(epoch) != values:
            attributes[f"{OTHERS}{epoch}"] = list(values)
    return attributes


def again(record: TrialRecord) -> TrialRecord:
    """Return the waiting record of a trial that has ended, without its failures.

    It keeps what the trial reported, and the trial resumes from its checkpoint with
    the cores of its first attempt.
    """
    return replace(
        record,
        state=State.WAITING,
        result=(),
        retried_after=len(record.attempts),
        epochs={},
        stopped_at=None,
        memory_key="",
        is_shrunk=False,
        is_infeasible=False,
        started_at=None,
        ended_at=None,
    )


def _progress(record: TrialRecord) -> dict[str, Any]:
    progress = {
        name: value
        for name in PROGRESS
        if (value := getattr(record, name)) != getattr(EMPTY, name)
    }
    running = record.attempts[-1:]
    if running and running[0].cause is None and running[0].busy_seconds:
        progress[BUSY] = running[0].busy_seconds
    return progress


def _attempts(record: TrialRecord) -> list[dict[str, Any]]:
    """Return the attempts as JSON; a running one has its time in the progress."""
    attempts: list[dict[str, Any]] = ATTEMPTS.dump_python(
        record.attempts, mode="json", exclude_defaults=True
    )
    if attempts and "cause" not in attempts[-1]:
        attempts[-1].pop(BUSY, None)
    return attempts


def directions(
    objectives: Sequence[Objective],
) -> list[Literal["minimize", "maximize"]]:
    """Return the name of Optuna's direction of each objective."""
    return ["minimize" if o.mode == "min" else "maximize" for o in objectives]


class TrialStore:
    """The newest record of each trial of a study.

    An id gets a second row if its trial is put back in the queue after its end, since
    a finished row is read-only. Rows without an id are not sweeper's and are ignored.

    Args:
        study: only one store may write to it.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._storage = study._storage
        backend = compat.backend(study)
        self._file = backend if isinstance(backend, JournalFile) else None
        self._rows: list[FrozenTrial] = []
        self._records: list[TrialRecord] = []
        self._indices: dict[str, int] = {}  # by id, in both lists
        self._news: list[set[int]] = []  # changed indices, for each follower
        self.hidden: frozenset[str] = frozenset(self.attribute(HIDDEN, ()))
        self.refresh()

    # ---- reading

    def refresh(self) -> None:
        """Read the changes of another process.

        Raises:
            JournalError: the study was written by another version of sweeper.
        """
        rows = self._storage.get_all_trials(
            compat.study_id(self._study), deepcopy=False
        )
        ours = (row for row in rows if "id" in row.user_attrs)
        newest = {row.user_attrs["id"]: row for row in ours}
        if newest and self.attribute("format") != FORMAT:
            raise JournalError(
                f"{self._study.study_name}: another version of sweeper wrote this "
                "sweep, and this one cannot read it; run it again under a new name: "
                "--fork NAME"
            )
        self.hidden = frozenset(self.attribute(HIDDEN, ()))
        for index, (identity, row) in enumerate(newest.items()):
            if index == len(self._rows) or row is not self._rows[index]:
                self._set(identity, row)

    def _set(self, identity: str, row: FrozenTrial) -> TrialRecord:
        index = self._indices.setdefault(identity, len(self._rows))
        record = from_row(row)
        self._rows[index : index + 1] = [row]
        self._records[index : index + 1] = [record]
        for news in self._news:
            news.add(index)
        return record

    def all(self) -> Sequence[TrialRecord]:
        """Return every record by number, also hidden ones; do not change the list."""
        return self._records

    def shown(self) -> Sequence[TrialRecord]:
        """Return every record of a trial that is not hidden, by number."""
        if not self.hidden:
            return self._records
        return [record for record in self._records if record.id not in self.hidden]

    def get(self, identity: str) -> TrialRecord:
        """Return the record of a trial.

        Raises:
            KeyError: there is no such trial.
        """
        return self._records[self._indices[identity]]

    def __contains__(self, identity: object) -> bool:
        return identity in self._indices

    def waiting(self) -> list[TrialRecord]:
        """Return the records of the waiting trials."""
        return [r for r in self.shown() if r.state is State.WAITING]

    def follow(self) -> Callable[[], Mapping[int, TrialRecord]]:
        """Return a callable that returns the records changed since its last call.

        They are keyed by index, which is fixed for a trial. The first call returns all.
        """
        news = set(range(len(self._records)))
        self._news.append(news)

        def changed() -> Mapping[int, TrialRecord]:
            records = {index: self._records[index] for index in sorted(news)}
            news.clear()
            return records

        return changed

    def attribute(self, key: str, default: Any = None) -> Any:  # JSON
        """Return an attribute of the whole sweep."""
        attributes = self._storage.get_study_user_attrs(compat.study_id(self._study))
        return attributes.get(key, default)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self._study.study_name

    @property
    def uid(self) -> str:
        """Eight random hex digits, unique to this sweep."""
        return str(self.attribute("uid", ""))

    # ---- writing

    def set_attribute(self, key: str, value: object) -> None:
        """Write an attribute of the whole sweep."""
        if self.attribute(key) != value:
            self._storage.set_study_user_attr(compat.study_id(self._study), key, value)

    def hide(self, ids: Collection[str]) -> None:
        """Hide exactly these trials from views and decisions."""
        if sorted(ids) != self.attribute(HIDDEN, []):
            self.set_attribute(HIDDEN, sorted(ids))
        self.hidden = frozenset(ids)

    def add(
        self,
        record: TrialRecord,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> TrialRecord:
        """Write a new row, for a new trial or one that is put back in the queue.

        The row is one line, so a kill leaves all of it or nothing.

        Args:
            distributions: of the parameters. By default those of the trial's older row,
                else each has the trial's value only.
        """
        if distributions is None:
            distributions = self._distributions(record.id, record.params)
        row = create_trial(
            state=STATES[record.state],
            params=dict(record.params),
            distributions=dict(distributions),
            values=list(record.result) or None,
            user_attrs=to_attrs(record),
            system_attrs=dict(record.notes),
            intermediate_values=dict(record.values),
        )
        row_id = self._storage.create_new_trial(compat.study_id(self._study), row)
        return self._set(record.id, self._storage.get_trial(row_id))

    def _distributions(
        self, identity: str, params: Params
    ) -> Mapping[str, BaseDistribution]:
        if identity in self._indices:
            return self._rows[self._indices[identity]].distributions
        return {name: CategoricalDistribution((v,)) for name, v in params.items()}

    def put(self, record: TrialRecord) -> TrialRecord:
        """Write the differences between a record and its row; return the new record.

        The state is written last: after a kill within the write the trial is still
        running. Optuna keeps one value per epoch; other objectives are attributes.
        """
        index = self._indices[record.id]
        before, row_id = self._records[index], compat.trial_id(self._rows[index])
        storage, file = self._storage, self._file
        held = nullcontext(list[bytes]()) if file is None else file.held()
        with held as lines:
            for key, value in to_attrs(record, before).items():
                storage.set_trial_user_attr(row_id, key, value)
            for epoch, number in record.values.items():
                known = before.values.get(epoch)
                if known is not number and known != number:
                    storage.set_trial_intermediate_value(row_id, epoch, number)
            for key, note in record.notes.items():
                if key not in before.notes or before.notes[key] != note:
                    storage.set_trial_system_attr(row_id, key, note)
            if record.state is not before.state:
                state = STATES[record.state]
                storage.set_trial_state_values(
                    row_id, state, list(record.result) or None
                )
        if file is not None and lines:
            disk.append(file.path, b"".join(lines))
        return self._set(record.id, storage.get_trial(row_id))


def open_store(
    name: str, objectives: Sequence[Objective], paths: SweepPaths
) -> TrialStore:
    """Open the study for writing; create it if there is none.

    The caller must hold the sweep's lock. The half line of a killed write is dropped
    first, since Optuna would append to it and could never open the file again.

    Args:
        name: of a new study; an existing one keeps its name.

    Raises:
        JournalError: the file is damaged, or another version of sweeper wrote it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    paths.folder.mkdir(parents=True, exist_ok=True)
    drop_torn_tail(paths.journal)
    storage = journal_file.open_file(paths.journal)
    names = [study.study_name for study in storage.get_all_studies()]
    return prepare(
        optuna.create_study(
            storage=storage,
            study_name=names[0] if names else name,
            directions=directions(objectives),
            load_if_exists=True,
        )
    )


def open_to_read(paths: SweepPaths) -> TrialStore | None:
    """Open the study for reading; return None before the first start.

    Raises:
        JournalError: as `open_store`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = journal_file.open_file(paths.journal)
    names = [study.study_name for study in storage.get_all_studies()]
    if not names:
        return None
    return TrialStore(optuna.load_study(study_name=names[0], storage=storage))


def copy(paths: SweepPaths, url: str) -> str:
    """Copy the study of a sweep to another storage of Optuna; return its name.

    Raises:
        SweeperError: the sweep has not started, or the storage refuses the study.
    """
    store = open_to_read(paths) if paths.journal.exists() else None
    if store is None:
        raise SweeperError(f"{paths.folder}: has no study yet; run the sweep first")
    name = store.name
    try:
        optuna.copy_study(
            from_study_name=name,
            from_storage=journal_file.open_file(paths.journal),
            to_storage=url,
        )
    except Exception as error:  # Optuna's, SQLAlchemy's, or of a database's driver
        reason = str(error).partition("\n")[0]
        raise SweeperError(
            f"{url}: does not take study {name!r}: {type(error).__name__}: {reason}; "
            "pass the URL of a storage that Optuna opens and that has no such study"
        ) from error
    return name


def refresh(store: TrialStore, paths: SweepPaths) -> None:
    """Read the changes of the sweep's writer.

    Raises:
        JournalError: the file is damaged.
    """
    try:
        store.refresh()
    except journal_file.UNREADABLE as error:
        raise journal_file.damaged(paths.journal, error) from error


def prepare(study: Study) -> TrialStore:
    """Return the store of a study; a new study gets a format and a unique id."""
    store = TrialStore(study)
    if not store.uid:
        store.set_attribute("format", FORMAT)
        store.set_attribute("uid", secrets.token_hex(4))
    return store


def with_report(
    record: TrialRecord, *, epoch: int, values: Sequence[float]
) -> dict[str, Any]:
    """Return the fields of a record that change with the objectives of an epoch.

    A second report of an epoch replaces the first. If any objective is not finite, the
    value is NaN, by which nothing may rank or stop.
    """
    first, *others = values
    if not all(map(math.isfinite, values)):
        return {"values": {**record.values, epoch: math.nan}}
    changed: dict[str, Any] = {"values": {**record.values, epoch: first}}
    if others:
        changed["others"] = {**record.others, epoch: tuple(others)}
    return changed
