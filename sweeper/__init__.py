"""Experiment sweeps over Hydra + Lightning projects that survive any kill."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.callbacks import report, trial_dir
    from sweeper.experiment.experiment import Experiment
    from sweeper.running.notebook import SweepView, load_sweep, run, train
    from sweeper.trial import Decision, State, Sweep, TrialRecord

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

# A name is imported at its first use, so that `sweeper --help` imports none.
_HOMES = {
    "Decision": "trial",
    "Experiment": "experiment.experiment",
    "State": "trial",
    "Sweep": "trial",
    "SweepView": "running.notebook",
    "TrialRecord": "trial",
    "load_sweep": "running.notebook",
    "parent_dir": "callbacks",
    "report": "callbacks",
    "run": "running.notebook",
    "train": "running.notebook",
    "trial_dir": "callbacks",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sweeper.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
