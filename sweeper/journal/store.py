"""The folder of a sweep: its experiment, its locks, and a reader of its trials."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.experiment import loading
from sweeper.experiment.definition import Experiment
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.system import correctness, locks
from sweeper.system.errors import JournalError, LockedError, SweepNotFoundError, nearest
from sweeper.system.paths import SweepPaths, write_text

if TYPE_CHECKING:  # Optuna, which a command that finds no sweep does not wait for
    from sweeper.journal.study import TrialStore

WRITER_SECONDS = 10.0  # a journal process ends soon after its driver
KEPT_COPY = "# what this sweep runs; edit the experiment file that it was made from"
KEPT_END = "# end"


@contextlib.contextmanager
def alone(paths: SweepPaths) -> Iterator[None]:
    """Hold the sweep's locks, so that no driver and no journal process writes.

    Raises:
        LockedError: a driver, or a journal that outlived its driver, holds the sweep.
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


def load_sweep(folder: Path) -> Sweep:
    """Return the current sweep of a folder; safe while a driver writes.

    Raises:
        SweepNotFoundError: the folder has no sweep.
        JournalError: its journal is damaged.
    """
    paths = SweepPaths(folder)
    if not paths.experiment.exists():
        raise SweepNotFoundError(_missing(folder))
    return Reader(load_experiment(paths), folder).sweep()


def save_experiment(sweep: Experiment, paths: SweepPaths) -> None:
    """Write the experiment to its sweep's folder, with a last line as end mark."""
    text = f"{KEPT_COPY}\n{loading.dump(sweep)}{KEPT_END}\n"
    write_text(paths.experiment, text)


def load_experiment(paths: SweepPaths) -> Experiment:
    """Return the experiment in a sweep's folder.

    Raises:
        JournalError: the file is truncated; the rest could be a valid experiment, but
            a different one.
        ExperimentError: it is not valid.
    """
    text = paths.experiment.read_bytes()
    if text.startswith(KEPT_COPY.encode()) and not text.endswith(
        f"{KEPT_END}\n".encode()
    ):
        raise JournalError(
            f"{paths.experiment}: is cut short: its last line is not {KEPT_END!r}; "
            "copy the experiment file that the sweep ran over it"
        )
    return loading.load(paths.experiment)


class Reader:
    """A reader of a sweep; each read costs as much as the changes since the last."""

    def __init__(self, loaded: Experiment, folder: Path) -> None:
        self._experiment = loaded
        self._paths = SweepPaths(folder)
        self._store: TrialStore | None = None
        self._shown: dict[str, tuple[TrialRecord, TrialRecord]] = {}

    def sweep(self) -> Sweep:
        """Return the current sweep.

        Raises:
            JournalError: its journal is damaged.
        """
        store = self._refreshed()
        records = (
            [] if store is None else list(map(self._with_correctness, store.all()))
        )
        hidden = frozenset() if store is None else store.hidden
        return Sweep(
            experiment=self._experiment,
            trials=tuple(r for r in records if r.id not in hidden),
            hidden=tuple(r for r in records if r.id in hidden),
            folder=self._paths.folder,
            uid="" if store is None else store.uid,
            is_running=locks.is_held(self._paths.lock),
        )

    def _refreshed(self) -> "TrialStore | None":
        if not self._paths.journal.exists():
            return None
        from sweeper.journal import study

        if self._store is None:
            self._store = study.open_to_read(self._paths)
        else:
            study.refresh(self._store, self._paths)
        return self._store

    def _with_correctness(self, record: TrialRecord) -> TrialRecord:
        """Add the correctness at the best epoch from the trial's folder."""
        before, shown = self._shown.get(record.id, (None, record))
        if before is not record:
            shown, best = record, record.best(self._experiment.objective)
            examples = correctness.read(self._paths.trial(record.id).correctness)
            if best is not None and examples and examples.epoch == best[0]:
                shown = replace(record, correctness=examples)
            self._shown[record.id] = (record, shown)
        return shown


def _missing(folder: Path) -> str:
    sweeps = folder.parent
    names = [p.parent.name for p in sweeps.glob("*/experiment.yaml")]
    hint = nearest(folder.name, names)
    return f"{folder}: no sweep is there; {hint} (another place: --sweeps DIR)"
