"""Experiment sweeps over Hydra + Lightning projects that survive any kill."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.driver.notebook import SweepView, load_sweep, run, train
    from sweeper.experiment.definition import Experiment
    from sweeper.journal.record import State, Sweep, TrialRecord
    from sweeper.protocol import Decision
    from sweeper.trial.active_trial import report, trial_dir

__all__ = [
    "Decision",
    "Experiment",
    "State",
    "Sweep",
    "SweepView",
    "TrialRecord",
    "load_sweep",
    "parent_dir",
    "report",
    "run",
    "train",
    "trial_dir",
]

# Names are imported at their first use, so that `sweeper --help` imports none.
_HOMES = {
    "Decision": "protocol",
    "Experiment": "experiment.definition",
    "State": "journal.record",
    "Sweep": "journal.record",
    "SweepView": "driver.notebook",
    "TrialRecord": "journal.record",
    "load_sweep": "driver.notebook",
    "parent_dir": "trial.active_trial",
    "report": "trial.active_trial",
    "run": "driver.notebook",
    "train": "driver.notebook",
    "trial_dir": "trial.active_trial",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sweeper.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
