"""The checkpoint file that represents a trial, with the value of its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.experiment.definition import Objective
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.system import saved_files
from sweeper.system.errors import SweepNotFoundError
from sweeper.system.paths import TrialPaths, files_below
from sweeper.system.saved_files import SavedFile

SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")  # of a loop without a Trainer
SKIPPED = ("wandb", "artifacts")  # folders whose files are copies and exports


@dataclass(frozen=True, slots=True, kw_only=True)
class BestCheckpoint:
    """A checkpoint file.

    Attributes:
        epoch: of its weights; None if it was not recorded.
        value: objective of these weights; None if it was not measured.
        note: reason why it is not the best epoch's file; "" if it is.
    """

    path: Path
    epoch: int | None
    value: float | None
    note: str

    def text(self, metric: str) -> str:
        """Return the epoch, the value and the note in one line.

        >>> BestCheckpoint(path=Path("a.ckpt"), epoch=2, value=0.9, note="").text("acc")
        'epoch 2, acc 0.9'
        """
        epoch = "epoch unknown" if self.epoch is None else f"epoch {self.epoch}"
        value = "no value" if self.value is None else f"{self.value:.6g}"
        shown = f"{epoch}, {metric} {value}"
        return f"{shown}; {self.note}" if self.note else shown


def find(sweep: Sweep, trial: TrialRecord) -> BestCheckpoint | None:
    """Return the file of the best epoch, else of the last; None if there is none."""
    return choose(
        sweep.paths.trial(trial.id),
        best=best_epoch(trial, sweep.experiment.objective),
        values=trial.values,
    )


def require(sweep: Sweep, trial: TrialRecord) -> BestCheckpoint:
    """Return the file of `find`.

    Raises:
        SweepNotFoundError: the trial has saved no checkpoint.
    """
    checkpoint = find(sweep, trial)
    if checkpoint is None:
        raise SweepNotFoundError(
            f"{sweep.paths.trial(trial.id).checkpoints}: trial {trial.id} has no "
            "checkpoint; a Trainer saves one in each epoch, another loop must save one "
            "in sweeper.trial_dir(); name a trial that has one"
        )
    return checkpoint


def to_json(checkpoint: BestCheckpoint | None) -> dict[str, object]:
    """Return the file as JSON, for `best --json` and `status --json`."""
    return {
        "checkpoint": checkpoint and str(checkpoint.path),
        "checkpoint_epoch": checkpoint and checkpoint.epoch,
        "checkpoint_value": checkpoint and checkpoint.value,
        "checkpoint_note": checkpoint.note if checkpoint else "",
    }


def best_epoch(trial: TrialRecord, objective: Objective) -> int | None:
    """Return the epoch of the best value; None if there is none."""
    best = trial.best(objective)
    return None if best is None else best[0]


def choose(
    paths: TrialPaths, *, best: int | None, values: Mapping[int, float]
) -> BestCheckpoint | None:
    """Return the file with the best epoch, else the file with the last epoch.

    Among files of one epoch, those saved at its end come first, then files of the
    project before resume checkpoints, then the first one saved.

    Args:
        best: the best epoch; None if no epoch has a value.
        values: the objective by epoch.
    """
    files = [file for file in saved_files.read(paths) if file.epoch]
    files.sort(key=lambda file: (not file.is_final, paths.resume in file.path.parents))
    of_best = next((file for file in files if file.epoch == best), None)
    if of_best is not None:
        note = "" if of_best.is_final else "saved within the best epoch, not at its end"
        return _recorded(of_best, values, note=note)
    if files:
        last = max(files, key=lambda file: (file.epoch, file.is_final))
        why = "no value" if best is None else f"no file of the best epoch {best}"
        return _recorded(last, values, note=f"the last file: {why}")
    return _unrecorded(paths)


def _recorded(
    file: SavedFile, values: Mapping[int, float], *, note: str
) -> BestCheckpoint:
    value = values.get(file.epoch) if file.is_final else file.value
    is_value = value is not None and math.isfinite(value)
    return BestCheckpoint(
        path=file.path, epoch=file.epoch, value=value if is_value else None, note=note
    )


def _saved_at(path: Path) -> float:
    """Return the modification time of a file; 0 if it is gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _unrecorded(paths: TrialPaths) -> BestCheckpoint | None:
    """Return the newest checkpoint file without a recorded epoch."""
    files = [
        path
        for path in files_below(paths.folder)
        if path.suffix in SUFFIXES
        and path.is_file()
        and paths.resume not in path.parents
        and path.relative_to(paths.folder).parts[0] not in SKIPPED
    ]
    if paths.best in files:
        files = [paths.best]
    candidates = files or [path for path in (paths.last,) if path.exists()]
    if not candidates:
        return None
    newest = max(candidates, key=_saved_at)
    note = "the last file: nothing recorded which epoch it holds"
    return BestCheckpoint(path=newest, epoch=None, value=None, note=note)
