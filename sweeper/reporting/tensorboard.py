"""A sweep as event files, one folder a trial, for TensorBoard's scalars and HParams.

Derived from what the trials measured: written anew each time, safe to delete.
"""

import shutil
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from sweeper.journal.record import Sweep, TrialRecord
from sweeper.statistics.leaderboard import trial_result
from sweeper.system import metrics_file


def write(sweep: Sweep, folder: Path) -> int:
    """Write every trial that has measured something; how many those are.

    Args:
        folder: gets a subfolder named by the trial's id for each of them.
    """
    written = 0
    for trial in sweep.trials:
        epochs = _measured(sweep, trial)
        if epochs:
            shutil.rmtree(folder / trial.id, ignore_errors=True)
            _write(sweep, trial, epochs, folder / trial.id)
            written += 1
    return written


def _measured(sweep: Sweep, trial: TrialRecord) -> dict[int, dict[str, float]]:
    """The journal's objective of each epoch, and every other scalar of its file."""
    metric = sweep.experiment.objective.metric
    rows = metrics_file.epochs(sweep.paths.trial(trial.id).metrics)
    return {
        epoch: {**rows.get(epoch, {}), metric: value}
        for epoch, value in trial.values.items()
    }


def _write(
    sweep: Sweep, trial: TrialRecord, epochs: dict[int, dict[str, float]], folder: Path
) -> None:
    with SummaryWriter(str(folder)) as writer:
        for epoch, metrics in epochs.items():
            for name, value in metrics.items():
                writer.add_scalar(name, value, global_step=epoch)
        objective = sweep.experiment.objective
        result = trial_result(trial, objective)
        if result is not None:
            params = {
                name: value if isinstance(value, int | float | str) else str(value)
                for name, value in {"seed": trial.seed, **trial.params}.items()
            }
            # `add_hparams` would open a second file, of the same name in one second.
            best = f"best/{objective.metric}"
            for summary in hparams(params, {best: result[1]}):
                writer.file_writer.add_summary(summary)
            writer.add_scalar(best, result[1], global_step=result[0])
