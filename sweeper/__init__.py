"""Experiment sweeps over Hydra + Lightning projects that survive any kill."""

from sweeper.callbacks import report, trial_dir
from sweeper.experiment import Experiment
from sweeper.store import load_sweep
from sweeper.trial import Decision, State, Sweep, Trial

__all__ = [
    "Decision",
    "Experiment",
    "State",
    "Sweep",
    "Trial",
    "load_sweep",
    "report",
    "trial_dir",
]
