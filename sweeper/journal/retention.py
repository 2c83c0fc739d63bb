"""Which checkpoints of a sweep may go: those that nothing goes on from or ranks high.

What goes is a pure choice over a `Sweep` and its files; `tidy` acts on it and never
touches a trial that a process still holds.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.journal import best_checkpoint
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.search import algorithms
from sweeper.search.schedulers import Asha
from sweeper.statistics.leaderboard import rank
from sweeper.system import lineage, locks, saved_files
from sweeper.system.paths import remove_stale_temporaries

GB = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One checkpoint on disk.

    Attributes:
        trial: id of its trial.
        is_resume: a new start goes on from it; else the project's own.
        is_handed_out: `best --ckpt` prints it.
    """

    path: Path
    trial: str
    num_bytes: int
    is_resume: bool
    is_handed_out: bool = False


def excess(sweep: Sweep, stored: Sequence[Stored]) -> tuple[Stored, ...]:
    """What `checkpoints` of the experiment lets go.

    A trial that is not finished keeps everything, and so does a failed one, which
    `sweeper retry` would go on with. A trial keeps its one kind where it has no other.
    What another trial may start from, or the same one go on from, stays.
    """
    needed = _needed(sweep)
    policy = sweep.experiment.checkpoints
    ranked = [trial.id for trial in _finished(sweep)]
    kept = ranked if policy.keep_best == "all" else ranked[: policy.keep_best]
    own = {file.trial for file in stored if not file.is_resume}
    found = []
    for file in stored:
        if file.trial not in ranked:
            continue
        is_kept = file.trial in kept
        if file.is_resume and policy.keep_last == "running":
            if file.trial in needed or (is_kept and file.is_handed_out):
                continue
            if not is_kept or file.trial in own:
                found.append(file)
        elif not file.is_resume and not is_kept:
            found.append(file)
    return tuple(found)


def over(
    sweep: Sweep, stored: Sequence[Stored], *, used_bytes: int
) -> tuple[Stored, ...]:
    """What has to go besides, for the sweep to fit in `disk`.

    The worst finished trials give first, resume checkpoints before the project's own,
    then failed ones; the best trials that `keep_best` counts never do.

    Args:
        stored: what is there now.
        used_bytes: of the whole sweep.
    """
    limit = sweep.experiment.disk
    if limit is None:
        return ()
    keep_best = sweep.experiment.checkpoints.keep_best
    count = 1 if keep_best == "all" else keep_best
    losers = list(reversed([trial.id for trial in _finished(sweep)[count:]]))
    failed = [trial.id for trial in sweep.trials if trial.state is State.FAILED]
    order = {identity: place for place, identity in enumerate([*losers, *failed])}
    needed = _needed(sweep)
    found = []
    for file in sorted(
        (
            file
            for file in stored
            if file.trial in order and not (file.is_resume and file.trial in needed)
        ),
        key=lambda file: (order[file.trial], not file.is_resume, file.path.name),
    ):
        if used_bytes <= limit:
            break
        found.append(file)
        used_bytes -= file.num_bytes
    return tuple(found)


def _needed(sweep: Sweep) -> set[str]:
    """Trials whose resume checkpoints a scheduler may have a trial start from.

    Of a population: the newest generation, and the parents of what has not ended. Of
    ASHA that promotes: every trial that it has stopped.
    """
    found = {
        lineage.parent(trial.lineage)
        for trial in sweep.trials
        if not trial.state.is_final
    }
    places = [trial.lineage for trial in sweep.trials]
    newest = max((place.generation for place in places if place), default=0)
    scheduler = algorithms.scheduler(sweep.experiment)
    is_promoting = isinstance(scheduler, Asha) and scheduler.is_promoting
    for trial in sweep.trials:
        is_newest = trial.lineage is not None and trial.lineage.generation == newest
        is_stopped = trial.state is State.PRUNED and is_promoting
        found |= {trial.id} if is_newest or is_stopped else set()
    return found


def _finished(sweep: Sweep) -> list[TrialRecord]:
    """Trials that ended with a value, the best one first."""
    objective = sweep.experiment.objective
    fronts: dict[str, int] = {}  # of several objectives, the front comes first
    if len(sweep.experiment.objectives) > 1:
        fronts = {t.id: row.rank for row in rank(sweep) for t in row.trials}
    found = [
        (fronts.get(trial.id, 0), objective.loss(best[1]), trial.number, trial)
        for trial in sweep.trials
        if trial.state in (State.COMPLETE, State.PRUNED)
        if (best := trial.best(objective)) is not None
    ]
    return [trial for *_, trial in sorted(found, key=lambda item: item[:3])]


def find(sweep: Sweep) -> tuple[Stored, ...]:
    """The checkpoints of a sweep on disk."""
    return tuple(file for trial in sweep.trials for file in _of_trial(sweep, trial))


def _of_trial(sweep: Sweep, trial: TrialRecord) -> Iterator[Stored]:
    paths = sweep.paths.trial(trial.id)
    chosen = best_checkpoint.find(sweep, trial)
    resume = sorted(path for folder in paths.fits for path in folder.glob("*.ckpt"))
    for path in (*resume, *saved_files.checkpoints(paths)):
        try:
            num_bytes = path.lstat().st_size
        except FileNotFoundError:
            continue  # a trial that runs renames and removes its files
        yield Stored(
            path=path,
            trial=trial.id,
            num_bytes=num_bytes,
            is_resume=paths.resume in path.parents,
            is_handed_out=chosen is not None and path == chosen.path,
        )


def size(folder: Path) -> int:
    """Bytes of every file below a folder; what goes meanwhile counts as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def tidy(sweep: Sweep) -> str:
    """Remove what may go; a line for the user where `disk` is exceeded all the same."""
    experiment = sweep.experiment
    policy = experiment.checkpoints
    if policy.keep_best != "all" or policy.keep_last != "all":
        _remove(sweep, excess(sweep, find(sweep)))
    if experiment.disk is None:
        return ""
    used = size(sweep.folder)
    if used > experiment.disk:
        _remove(sweep, over(sweep, find(sweep), used_bytes=used))
        used = size(sweep.folder)
    if used <= experiment.disk:
        return ""
    return (
        f"disk: the sweep takes {used / GB:.3g} GB of {experiment.disk / GB:.3g} GB, "
        "and the rest is of trials that run or rank best; raise disk or lower "
        "checkpoints.keep_best"
    )


def _remove(sweep: Sweep, files: Iterable[Stored]) -> None:
    for file in files:
        with locks.hold(sweep.paths.trial(file.trial).lock) as other:
            if other is None:
                file.path.unlink(missing_ok=True)


def remove_temporaries(sweep: Sweep) -> None:
    """Remove what killed writes left in the folders of trials that nobody runs."""
    for trial in sweep.trials:
        paths = sweep.paths.trial(trial.id)
        if not paths.folder.exists():
            continue
        with locks.hold(paths.lock) as other:
            if other is None:
                for folder in (paths.folder, paths.checkpoints, *paths.fits):
                    remove_stale_temporaries(folder)
