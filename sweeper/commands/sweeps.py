"""Lookup of sweeps and trials by the names that a command line gives."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.system.errors import SweepNotFoundError, nearest

if TYPE_CHECKING:
    from sweeper.journal.record import Sweep, TrialRecord

BEST = "best"


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add the argument `name`, which `find` reads."""
    parser.add_argument("name", help="a sweep's name or folder")


def find(args: argparse.Namespace) -> "Sweep":
    """Load the sweep that `args.name` names; see `find_named`."""
    return find_named(args, args.name)


def find_named(args: argparse.Namespace, name: str) -> "Sweep":
    """Load a sweep by its folder, or by its name in the sweeps folder."""
    return load(find_folder(args, name))


def find_folder(args: argparse.Namespace, name: str) -> Path:
    """Return the folder of a sweep; it need not exist unless `name` is a folder."""
    given = Path(name)
    if (given / "experiment.yaml").exists():
        return given
    below: Path = args.sweeps / name
    return below


def load(folder: Path) -> "Sweep":
    """Load the sweep in a folder."""
    from sweeper.journal import store

    return store.load_sweep(folder)


def find_reference(
    args: argparse.Namespace, text: str
) -> tuple["Sweep", "TrialRecord"]:
    """Return the sweep and trial that SWEEP/TRIAL names; SWEEP means its best trial."""
    if (args.sweeps / text / "experiment.yaml").exists():
        sweep, name = load(args.sweeps / text), BEST
    else:
        folder, _, name = text.rpartition("/")
        sweep = find_named(args, folder) if folder else find_named(args, name)
    return sweep, find_trial(sweep, name)


def find_trial(sweep: "Sweep", name: str) -> "TrialRecord":
    """Return the trial with this number, or with an id that starts with `name`.

    The name `best` means the best trial.

    Raises:
        SweepNotFoundError: no trial of that name, or several.
    """
    from sweeper.statistics import leaderboard

    if name == BEST:
        several = [trial.id for trial in leaderboard.front_trials(sweep)]
        if len(several) > 1:
            raise SweepNotFoundError(
                f"{sweep.folder}: {len(several)} trials are on the Pareto front of "
                f"several objectives, so none is best; name one (`best --trial "
                f"ID`): {', '.join(several)}"
            )
        trial = leaderboard.best(sweep)
        if trial is None:
            raise SweepNotFoundError(
                f"{sweep.folder}: no trial has a value yet; see `sweeper status`"
            )
        return trial
    found = [
        trial
        for trial in (*sweep.trials, *sweep.hidden)
        if name == str(trial.number) or (name and trial.id.startswith(name))
    ]
    exact = [trial for trial in found if name in (trial.id, str(trial.number))]
    if len(exact or found) == 1:
        return (exact or found)[0]
    ids = [trial.id for trial in found or sweep.trials]
    what = "several trials" if found else "no trial"
    hint = ", ".join(ids) if found else nearest(name, ids)
    raise SweepNotFoundError(f"{sweep.folder}: {what} {name!r}; {hint}")
