"""A sweep without a result, which gives way to any change of its experiment file.

Its first start was refused, failed, or was stopped before the first epoch. What it left
must not keep the corrected file out.
"""

import shutil

from sweeper.experiment.experiment import Experiment, changes, dump
from sweeper.journal import store
from sweeper.journal.record import State
from sweeper.system import locks
from sweeper.system.errors import ExperimentChangedError
from sweeper.system.paths import SweepPaths


def is_replaced(sweep: Experiment, paths: SweepPaths) -> bool:
    """Return whether what a folder holds must be removed for this experiment to run.

    That is so where no epoch was reported, and the change makes trials incomparable or
    may be what lets the failed ones run.

    Raises:
        ExperimentChangedError: there are results, which the new ones could not be
            compared with.
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

    Only under the sweep's lock. The experiment goes last: after a kill in the middle
    the next start finishes this.
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
