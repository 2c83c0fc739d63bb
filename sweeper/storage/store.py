"""The Optuna study of a sweep on disk: opened, mended and read as a `Sweep`.

It never decides anything and adds no trial; `journal` is the only writer.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.errors import JournalError, LockedError, SweepNotFoundError, nearest
from sweeper.experiment import experiment
from sweeper.experiment.experiment import Experiment
from sweeper.host import correctness, locks
from sweeper.host.paths import SweepPaths, drop_torn_tail, write_text
from sweeper.storage import attributes, database
from sweeper.storage.attributes import AnyRow
from sweeper.storage.replay import Replay
from sweeper.trial import Sweep, TrialRecord

if TYPE_CHECKING:  # a quarter of a second, which views of a sweep do not wait for
    from optuna.storages import BaseStorage
    from optuna.study import Study

WRITER_SECONDS = 10.0  # a journal is gone soon after its driver
KEPT_COPY = "# what this sweep runs; edit the experiment file that it was made from"
KEPT_END = "# end"
HIDDEN = "hidden"  # attribute of a study: ids that its file no longer has
UID = "uid"  # the same: what tells this sweep from every other one


def storage(sweep: Experiment, paths: SweepPaths) -> "BaseStorage":
    """The storage that the experiment names: a file of the sweep, or a database.

    Raises:
        JournalError: the file is damaged before its last record, or is no database.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if sweep.storage is None:
        from sweeper.storage import records

        return records.open_file(paths.journal)
    from sweeper.storage import rdb

    return rdb.open_url(sweep.storage, paths.folder)


def study_name(sweep: Experiment, paths: SweepPaths, found: "BaseStorage") -> str:
    """The name of the sweep's study, which outlives a new name of the sweep.

    A journal that lies in the sweep's folder holds the study of that sweep alone. In
    a database that sweeps share, the name tells them apart.
    """
    names = [study.study_name for study in found.get_all_studies()]
    is_own = sweep.storage is None or database.is_inside(sweep.storage, paths.folder)
    return names[0] if is_own and len(names) == 1 else sweep.name


def disks(sweep: Experiment, paths: SweepPaths) -> tuple[Path, ...]:
    """The folders on whose disks a sweep is written."""
    if sweep.storage is None or database.is_inside(sweep.storage, paths.folder):
        return (paths.folder,)
    return (paths.folder, database.place(sweep.storage, paths.folder))


def open_study(sweep: Experiment, paths: SweepPaths) -> "Study":
    """The study to write to, made where it is missing.

    Only under the sweep's lock: a record that a kill cut in half is dropped first,
    since Optuna would glue the next record to it and never open the file again.
    """
    import optuna

    from sweeper.search.samplers import directions  # Hydra's grammar: not to read

    paths.folder.mkdir(parents=True, exist_ok=True)
    if sweep.storage is None:
        drop_torn_tail(paths.journal)
    found = storage(sweep, paths)
    return optuna.create_study(
        storage=found,
        study_name=study_name(sweep, paths, found),
        directions=directions(sweep.objectives),
        load_if_exists=True,
    )


def uid(study: "Study") -> str:
    """Eight hex digits that no other study has, whatever it is called.

    They are drawn at its first start and stay with the study, wherever it is moved.
    """
    if UID not in study.user_attrs:
        study.set_user_attr(UID, secrets.token_hex(4))
    found: str = study.user_attrs[UID]
    return found


@contextlib.contextmanager
def alone(paths: SweepPaths) -> Iterator[None]:
    """Keep drivers, and a journal that outlived its own, from writing in a block.

    Raises:
        LockedError: one of them holds the sweep.
    """
    with (
        locks.hold(paths.lock) as driver,
        locks.hold(paths.journal_lock, wait_seconds=WRITER_SECONDS) as writer,
    ):
        other = driver or writer
        if other is not None:
            raise LockedError(
                f"{paths.folder}: process {other.pid} on {other.host} drives this "
                "sweep; stop it first"
            )
        yield


def together(found: "BaseStorage") -> AbstractContextManager[None]:
    """Makes one write of the records of a block, where the journal is a file."""
    from sweeper.storage.records import Records

    backend = getattr(found, "_backend", None)
    return backend.together() if isinstance(backend, Records) else nullcontext()


def load_sweep(folder: Path) -> Sweep:
    """What the folder of a sweep holds now; safe while a driver writes.

    Raises:
        SweepNotFoundError: no sweep is there.
        JournalError: its journal is damaged.
    """
    paths = SweepPaths(folder)
    if not paths.experiment.exists():
        raise SweepNotFoundError(_missing(folder))
    return Reader(load_experiment(paths), folder).sweep()


def save_experiment(sweep: Experiment, paths: SweepPaths) -> None:
    """Keep what runs beside the sweep, with an end that shows it is whole."""
    text = f"{KEPT_COPY}\n{experiment.dump(sweep)}{KEPT_END}\n"
    write_text(paths.experiment, text)


def load_experiment(paths: SweepPaths) -> Experiment:
    """The experiment that a sweep keeps.

    Raises:
        JournalError: the file is cut short. What is left may be an experiment, but
            not this one.
        ExperimentError: it is none.
    """
    text = paths.experiment.read_bytes()
    if text.startswith(KEPT_COPY.encode()) and not text.endswith(
        f"{KEPT_END}\n".encode()
    ):
        raise JournalError(
            f"{paths.experiment}: is cut short: its last line is not {KEPT_END!r}; "
            "copy the experiment file that the sweep ran over it"
        )
    return experiment.load(paths.experiment)


class Reader:
    """Reads one sweep again and again, at the cost of what is new."""

    def __init__(self, loaded: Experiment, folder: Path) -> None:
        self._experiment = loaded
        self._paths = SweepPaths(folder)
        self._rows: _Readable | None = None
        self._known: dict[int, tuple[AnyRow, TrialRecord]] = {}

    def sweep(self) -> Sweep:
        """The sweep as it stands now."""
        trials, of_study = self._trials()
        hidden = set(of_study.get(HIDDEN, ()))
        return Sweep(
            experiment=self._experiment,
            trials=tuple(t for t in trials if t.id not in hidden),
            hidden=tuple(t for t in trials if t.id in hidden),
            folder=self._paths.folder,
            uid=of_study.get(UID, ""),
            is_running=locks.is_held(self._paths.lock),
        )

    def _trials(self) -> tuple[list[TrialRecord], Mapping[str, Any]]:
        """All trials, and the attributes of their study."""
        experiment, paths = self._experiment, self._paths
        if self._rows is None:
            if not _file(experiment, paths).exists():
                return [], {}
            is_file = experiment.storage is None
            self._rows = (
                Replay(paths.journal) if is_file else _Database(experiment, paths)
            )
        rows, of_study = self._rows.read()
        return [self._trial(row) for row in attributes.newest(rows)], of_study

    def _trial(self, frozen: AnyRow) -> TrialRecord:
        known = self._known.get(frozen.number)
        if known is None or known[0] is not frozen:
            trial = attributes.to_trial(frozen)
            best = trial.best(self._experiment.objective)
            if best is not None:
                found = correctness.read(self._paths.trial(trial.id).correctness)
                is_of_best = found is not None and found.epoch == best[0]
                trial = replace(trial, correctness=found if is_of_best else None)
            known = (frozen, trial)
            self._known[frozen.number] = known
        return known[1]


class _Readable(Protocol):
    """The rows of a study, read again and again."""

    def read(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The rows by number, and the attributes of their study."""


class _Database:
    """The rows of a study that is in no file of its own."""

    def __init__(self, loaded: Experiment, paths: SweepPaths) -> None:
        self._experiment = loaded
        self._paths = paths
        self._storage = storage(loaded, paths)

    def read(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        found = self._storage
        name = study_name(self._experiment, self._paths, found)
        try:
            study_id = found.get_study_id_from_name(name)
        except KeyError:
            return [], {}
        rows = found.get_all_trials(study_id, deepcopy=False)
        return rows, found.get_study_user_attrs(study_id)


def _file(loaded: Experiment, paths: SweepPaths) -> Path:
    """What is there once a sweep has begun."""
    if loaded.storage is None:
        return paths.journal
    return database.file(loaded.storage, paths.folder)


def _missing(folder: Path) -> str:
    sweeps = folder.parent
    names = [p.parent.name for p in sweeps.glob("*/experiment.yaml")]
    hint = nearest(folder.name, names)
    return f"{folder}: no sweep is there; {hint} (another place: --sweeps DIR)"
