"""One trial as a self-contained folder: files to use it and a model card."""

import shutil
from pathlib import Path

from sweeper.journal import best_checkpoint, spec
from sweeper.journal.best_checkpoint import BestCheckpoint
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.statistics.leaderboard import trial_result
from sweeper.system.errors import SweeperError
from sweeper.system.paths import TrialPaths, write_text
from sweeper.system.text import markdown_cell, value_cell

CARD = "README.md"


def copy(sweep: Sweep, trial: TrialRecord, target: Path) -> tuple[str, ...]:
    """Copy config, spec, checkpoint and ONNX, and write a model card; their names.

    Raises:
        SweepNotFoundError: the trial has no checkpoint.
        SweeperError: `target` is not empty.
    """
    checkpoint = best_checkpoint.require(sweep, trial)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SweeperError(
            f"{target}: not an empty folder; nothing is overwritten; name a new one"
        )
    target.mkdir(parents=True, exist_ok=True)
    names = []
    for path in _files(sweep.paths.trial(trial.id), checkpoint.path):
        shutil.copy2(path, target / path.name)
        names.append(path.name)
    write_text(target / CARD, card(sweep, trial, checkpoint, names))
    return (*names, CARD)


def _files(paths: TrialPaths, checkpoint: Path) -> list[Path]:
    onnx = sorted(paths.artifacts.glob("*.onnx*"))
    return [p for p in (paths.config, paths.spec, checkpoint, *onnx) if p.exists()]


def card(
    sweep: Sweep, trial: TrialRecord, checkpoint: BestCheckpoint, names: list[str]
) -> str:
    """Return the model card: its result, its parameters and how to repeat it."""
    objective = sweep.experiment.objective
    result = trial_result(trial, objective)
    reached = f"{result[1]:.6g} at epoch {result[0]}" if result else "no value"
    lines = [f"# {sweep.experiment.name} {trial.id}", ""]
    lines += [sweep.experiment.notes, ""] if sweep.experiment.notes else []
    lines += [f"- {objective.metric} ({objective.mode}): {reached}"]
    lines += [f"- `{checkpoint.path.name}`: {checkpoint.text(objective.metric)}"]
    lines += [f"- seed {trial.seed}, state {trial.state}, {trial.starts} starts"]
    lines += [f"- target `{sweep.experiment.target}`", "", "| parameter | value |"]
    lines += ["|---|---|"]
    lines += [
        f"| {markdown_cell(k)} | {markdown_cell(value_cell(v))} |"
        for k, v in trial.params.items()
    ]
    lines += ["", "| last metric | value |", "|---|---|"]
    lines += [
        f"| {markdown_cell(k)} | {v:.6g} |" for k, v in sorted(trial.metrics.items())
    ]
    command = spec.stored_command(sweep.paths.trial(trial.id).spec)
    lines += ["", "Train it again:", "", "```", command or "(never started)", "```"]
    lines += ["", "Files: " + ", ".join(f"`{name}`" for name in names)]
    return "\n".join(lines) + "\n"
