"""The final output and the exit code of `run`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from sweeper import exit_codes
from sweeper.journal import best_checkpoint, spec
from sweeper.journal.record import State, Stop, StopReason, Sweep
from sweeper.statistics import leaderboard
from sweeper.system.paths import default_sweeps


def summary(sweep: Sweep, stop: Stop, *, resume: str) -> str:
    """Return the best trial, its files, and the command that resumes the sweep."""
    lines = []
    best = leaderboard.best(sweep)
    front = leaderboard.front_trials(sweep)
    if len(front) > 1:
        lines += [f"Pareto front {' '.join(trial.id for trial in front)}"]
        lines += [f"  its values: sweeper best {sweep.experiment.name}"]
    elif best is not None:
        paths = sweep.paths.trial(best.id)
        lines += [f"best {best.id}"]
        checkpoint = best_checkpoint.find(sweep, best)
        if checkpoint is not None:
            lines += [f"  checkpoint {checkpoint.path}"]
            lines += [f"    {checkpoint.text(sweep.experiment.objective.metric)}"]
        lines += [f"  repeat {spec.stored_command(paths.spec)}"]
    if sweep.paths.report.exists():
        lines += [f"report {sweep.paths.report}"]
    if stop.reason is not StopReason.NONE:
        why = f"{stop.reason}: {stop.message}".removesuffix(": ")
        lines += [f"stopped ({why}); resume with: {resume}"]
    return "\n".join(lines)


def resume_command(file: Path, overrides: Sequence[str], *, sweeps: Path) -> str:
    """Return the command that resumes a sweep; it is the one that started it."""
    words = ["python", "-m", "sweeper", "run", str(file), *overrides]
    if sweeps != default_sweeps(file):
        words += ["--sweeps", str(sweeps)]
    return shlex.join(words)


def exit_code(sweep: Sweep, stop: Stop) -> int:
    """Return the exit code of `run`."""
    if stop.reason is StopReason.INTERRUPTED:
        return exit_codes.INTERRUPTED
    if stop.reason is StopReason.BUDGET:
        return exit_codes.BUDGET
    if any(trial.state is State.FAILED for trial in sweep.trials):
        return exit_codes.FAILED_TRIALS
    return exit_codes.FINISHED
