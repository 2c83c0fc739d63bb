"""Show the best trial of a sweep, or one of its fields.

With several objectives it shows the Pareto front; `--trial` selects a trial of it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper import exit_codes
from sweeper.commands import sweeps

if TYPE_CHECKING:
    from sweeper.journal.record import Sweep, TrialRecord

EXAMPLE = "sweeper best lr_sweep --ckpt"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweeps.add_name(parser)
    parser.add_argument("--trial", help="trial to show instead of the best one")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--config", action="store_true", help="print only its config")
    one.add_argument(
        "--ckpt",
        action="store_true",
        help="print only the path of its checkpoint; its epoch and value are "
        "printed to standard error",
    )
    one.add_argument(
        "--command", action="store_true", help="print the command that repeats it"
    )


def run(args: argparse.Namespace) -> int:
    from sweeper.journal import best_checkpoint, spec
    from sweeper.reporting import live
    from sweeper.statistics import leaderboard

    sweep = sweeps.find(args)
    is_one = args.trial or args.config or args.ckpt or args.command
    front = leaderboard.front_trials(sweep)
    if front and not is_one:
        _print_front(sweep, front, is_json=args.json)
        return exit_codes.FINISHED
    best = sweeps.find_trial(sweep, args.trial or sweeps.BEST)
    command = spec.stored_command(sweep.paths.trial(best.id).spec)
    data = live.best_json(sweep, best, command=command)
    if args.json:
        print(json.dumps(data))
    elif args.ckpt:
        found = best_checkpoint.require(sweep, best)
        print(found.path)
        print(found.text(sweep.experiment.objective.metric), file=sys.stderr)
    elif args.command:
        print(command)
    elif args.config:
        print(sweep.paths.trial(best.id).config.read_text(encoding="utf-8"), end="")
    else:
        for key, value in data.items():
            print(f"{key}: {value}")
    return exit_codes.FINISHED


def _print_front(
    sweep: "Sweep", front: Sequence["TrialRecord"], *, is_json: bool
) -> None:
    from sweeper.journal import spec
    from sweeper.reporting import live
    from sweeper.reporting.cells import point
    from sweeper.system.text import short

    found = [
        live.best_json(
            sweep,
            trial,
            command=spec.stored_command(sweep.paths.trial(trial.id).spec),
        )
        for trial in front
    ]
    if is_json:
        print(json.dumps({"front": found}))
        return
    for trial, data in zip(front, found, strict=True):
        values = data["values"]
        assert isinstance(values, dict)  # noqa: S101  # of several objectives
        told = ", ".join(f"{name} {short(value)}" for name, value in values.items())
        print(f"{trial.id}: {told}  {point(trial.params)}")
