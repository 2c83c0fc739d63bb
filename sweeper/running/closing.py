"""The end of `run`: its last lines and its exit code; pure but for `spec.json`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from sweeper import exits
from sweeper.host.paths import default_sweeps
from sweeper.scheduling import spec
from sweeper.statistics import leaderboard
from sweeper.stop import Stop, StopReason
from sweeper.storage import handed_out
from sweeper.trial import State, Sweep


def closing(sweep: Sweep, stop: Stop, *, resume: str) -> str:
    """The best trial, where it is, and how to go on."""
    lines = []
    best = leaderboard.best(sweep)
    front = leaderboard.front_trials(sweep)
    if len(front) > 1:
        lines += [f"Pareto front {' '.join(trial.id for trial in front)}"]
        lines += [f"  its values: sweeper best {sweep.experiment.name}"]
    elif best is not None:
        paths = sweep.paths.trial(best.id)
        lines += [f"best {best.id}"]
        checkpoint = handed_out.find(sweep, best)
        if checkpoint is not None:
            lines += [f"  checkpoint {checkpoint.path}"]
            lines += [f"    {checkpoint.text(sweep.experiment.objective.metric)}"]
        lines += [f"  repeat {spec.stored_command(paths.spec)}"]
    if sweep.paths.report.exists():
        lines += [f"report {sweep.paths.report}"]
    if stop.reason is not StopReason.NONE:
        why = f"{stop.reason}: {stop.message}".removesuffix(": ")
        lines += [f"stopped ({why}); go on with: {resume}"]
    return "\n".join(lines)


def resume_command(file: Path, overrides: Sequence[str], *, sweeps: Path) -> str:
    """The command that goes on with a sweep: the one that started it."""
    words = ["python", "-m", "sweeper", "run", str(file), *overrides]
    if sweeps != default_sweeps(file):
        words += ["--sweeps", str(sweeps)]
    return shlex.join(words)


def exit_code(sweep: Sweep, stop: Stop) -> int:
    """The code that a shell sees at the end of `run`."""
    if stop.reason is StopReason.INTERRUPTED:
        return exits.INTERRUPTED
    if stop.reason is StopReason.BUDGET:
        return exits.BUDGET
    if any(trial.state is State.FAILED for trial in sweep.trials):
        return exits.FAILED_TRIALS
    return exits.FINISHED
