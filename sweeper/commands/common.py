"""Shared arguments of commands, and lookup of sweeps and trials by name."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from sweeper.journal import store
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.statistics import leaderboard
from sweeper.system.errors import SweeperError, SweepNotFoundError, nearest

BEST = "best"


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add the argument `name`, which `find` reads."""
    parser.add_argument("name", help="a sweep's name or folder")


def add_file(parser: argparse.ArgumentParser, *, overrides: str) -> None:
    """Add the experiment file and its overrides."""
    parser.add_argument("file", type=Path, help="the experiment file")
    parser.add_argument("overrides", nargs="*", help=overrides)


def add_json(parser: "argparse._ActionsContainer") -> None:
    """Add the flag `json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def console() -> Console:
    """Return a console that does not interpret the text of users as markup."""
    return Console(highlight=False)


def print_json(data: object) -> None:
    """Print plain data as JSON on one line."""
    print(json.dumps(data))


def exit_code(checks: Iterable[bool]) -> int:
    """Run all checks; return 0 if all pass, else 2."""
    return 0 if all(list(checks)) else SweeperError.exit_code


def find(args: argparse.Namespace) -> Sweep:
    """Load the sweep that `args.name` names."""
    return store.load_sweep(find_folder(args, args.name))


def find_folder(args: argparse.Namespace, name: str) -> Path:
    """Return the folder `name` if it holds a sweep, else the one below `--sweeps`."""
    folder = Path(name)
    if not (folder / "experiment.yaml").exists():
        folder = args.sweeps / name
    return folder


def find_reference(args: argparse.Namespace, text: str) -> tuple[Sweep, TrialRecord]:
    """Return the sweep and trial of SWEEP/TRIAL; SWEEP alone means its best trial."""
    folder, name = args.sweeps / text, BEST
    if not (folder / "experiment.yaml").exists():
        parent, _, name = text.rpartition("/")
        folder = find_folder(args, parent or name)
    sweep = store.load_sweep(folder)
    return sweep, find_trial(sweep, name)


def find_trial(sweep: Sweep, name: str) -> TrialRecord:
    """Return the trial with this number, or with an id that starts with `name`.

    The name `best` means the best trial.

    Raises:
        SweepNotFoundError: no trial has that name, or several have it.
    """
    if name == BEST:
        return _find_best(sweep)
    trials = [*sweep.trials, *sweep.hidden]
    exact = [trial for trial in trials if name in (trial.id, str(trial.number))]
    starts = [trial for trial in trials if name and trial.id.startswith(name)]
    matching = exact or starts
    if len(matching) == 1:
        return matching[0]
    if matching:
        ids = ", ".join(trial.id for trial in matching)
        raise SweepNotFoundError(f"{sweep.folder}: several trials {name!r}; {ids}")
    hint = nearest(name, [trial.id for trial in sweep.trials])
    raise SweepNotFoundError(f"{sweep.folder}: no trial {name!r}; {hint}")


def _find_best(sweep: Sweep) -> TrialRecord:
    front = [trial.id for trial in leaderboard.front_trials(sweep)]
    if len(front) > 1:
        raise SweepNotFoundError(
            f"{sweep.folder}: {len(front)} trials are on the Pareto front of several "
            f"objectives, so there is no single best one; name one (`best --trial "
            f"ID`): {', '.join(front)}"
        )
    trial = leaderboard.best(sweep)
    if trial is None:
        raise SweepNotFoundError(
            f"{sweep.folder}: no trial has a value yet; see `sweeper status`"
        )
    return trial
