"""Removal of checkpoints that rank low and that no later start loads.

The files of a trial that a process still holds are never removed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.journal import best_checkpoint
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.search import algorithms
from sweeper.statistics.leaderboard import rank
from sweeper.system import locks, saved_files
from sweeper.system.paths import files_below, remove_stale_temporaries

GB = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One checkpoint on disk.

    Attributes:
        trial: id of its trial.
        is_resume: whether it is a resume checkpoint; else the project saved it.
        is_best: whether `best --ckpt` prints it.
    """

    path: Path
    trial: str
    num_bytes: int
    is_resume: bool
    is_best: bool = False


def find(sweep: Sweep) -> tuple[Stored, ...]:
    """Return the checkpoints of a sweep on disk."""
    return tuple(file for trial in sweep.trials for file in _of_trial(sweep, trial))


def _of_trial(sweep: Sweep, trial: TrialRecord) -> Iterator[Stored]:
    paths = sweep.paths.trial(trial.id)
    best = best_checkpoint.find(sweep, trial)
    resume = sorted(path for folder in paths.fits for path in folder.glob("*.ckpt"))
    for path in (*resume, *saved_files.checkpoints(paths)):
        with suppress(FileNotFoundError):  # a trial that runs renames its files
            yield Stored(
                path=path,
                trial=trial.id,
                num_bytes=path.lstat().st_size,
                is_resume=paths.resume in path.parents,
                is_best=best is not None and path == best.path,
            )


def tidy(sweep: Sweep) -> str:
    """Remove the checkpoints that `checkpoints` and `disk` let go.

    Returns:
        A line for the user if the sweep still exceeds `disk`, else "".
    """
    policy, limit = sweep.experiment.checkpoints, sweep.experiment.disk
    if policy.keep_best != "all" or policy.keep_last != "all":
        _remove(sweep, _excess(sweep, find(sweep)))
    if limit is None:
        return ""
    used = _size(sweep.folder)
    if used > limit:
        _remove(sweep, _over(sweep, find(sweep), num_bytes=used - limit))
        used = _size(sweep.folder)
    if used <= limit:
        return ""
    return (
        f"disk: the sweep takes {used / GB:.3g} GB of {limit / GB:.3g} GB, "
        "and the rest is of trials that run or rank best; raise disk or lower "
        "checkpoints.keep_best"
    )


def _excess(sweep: Sweep, files: Sequence[Stored]) -> Iterator[Stored]:
    """Yield the files that `checkpoints` of the experiment allows to remove.

    Unfinished trials keep all files, and so do failed ones, which `sweeper retry` would
    resume. A kept trial keeps its resume checkpoints if it has no other file. Any trial
    keeps those that a later start needs.
    """
    policy = sweep.experiment.checkpoints
    ranked = _ranked(sweep)
    kept = ranked if policy.keep_best == "all" else ranked[: policy.keep_best]
    needed = algorithms.scheduler(sweep.experiment).needed(sweep.trials)
    with_own = {file.trial for file in files if not file.is_resume}
    for file in files:
        is_kept = file.trial in kept
        if not file.is_resume:
            is_excess = not is_kept
        elif policy.keep_last != "running" or file.trial in needed:
            is_excess = False
        else:
            is_excess = not is_kept or (file.trial in with_own and not file.is_best)
        if is_excess and file.trial in ranked:
            yield file


def _over(sweep: Sweep, files: Sequence[Stored], *, num_bytes: int) -> Iterator[Stored]:
    """Yield files of at least `num_bytes` to remove, so that the sweep fits in `disk`.

    The worst finished trials come first, each with resume checkpoints before files of
    the project, then failed trials. The best trials by `keep_best` are never included.
    """
    keep_best = sweep.experiment.checkpoints.keep_best
    worst = _ranked(sweep)[1 if keep_best == "all" else keep_best :][::-1]
    failed = [trial.id for trial in sweep.trials if trial.state is State.FAILED]
    order = {identity: index for index, identity in enumerate([*worst, *failed])}
    needed = algorithms.scheduler(sweep.experiment).needed(sweep.trials)
    candidates = (
        file
        for file in files
        if file.trial in order and not (file.is_resume and file.trial in needed)
    )
    for file in sorted(
        candidates,
        key=lambda file: (order[file.trial], not file.is_resume, file.path.name),
    ):
        if num_bytes <= 0:
            return
        yield file
        num_bytes -= file.num_bytes


def _ranked(sweep: Sweep) -> list[str]:
    """Return the ids of the trials that ended with a value, the best one first."""
    objective = sweep.experiment.objective
    fronts: dict[str, int] = {}  # of several objectives, the front comes first
    if len(sweep.experiment.objectives) > 1:
        fronts = {t.id: row.rank for row in rank(sweep) for t in row.trials}
    ended = [
        (fronts.get(trial.id, 0), objective.loss(best[1]), trial.number, trial.id)
        for trial in sweep.trials
        if trial.state in (State.COMPLETE, State.PRUNED)
        if (best := trial.best(objective)) is not None
    ]
    return [identity for *_, identity in sorted(ended)]


def _size(folder: Path) -> int:
    """Return the bytes of every file below a folder; removed files count as 0."""
    total = 0
    for path in files_below(folder):
        with suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


def _remove(sweep: Sweep, files: Iterable[Stored]) -> None:
    for file in files:
        with locks.hold(sweep.paths.trial(file.trial).lock) as other:
            if other is None:
                file.path.unlink(missing_ok=True)


def remove_temporaries(sweep: Sweep) -> None:
    """Remove the temporary files of killed writes from trials that do not run."""
    for trial in sweep.trials:
        paths = sweep.paths.trial(trial.id)
        if not paths.folder.exists():
            continue
        with locks.hold(paths.lock) as other:
            if other is None:
                for folder in (paths.folder, paths.checkpoints, *paths.fits):
                    remove_stale_temporaries(folder)
