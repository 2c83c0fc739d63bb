"""Show the best trial of a sweep, or one of its fields.

With several objectives it shows the Pareto front; `--trial` selects a trial of it.
"""

import argparse
import sys

from sweeper.commands import common
from sweeper.journal import best_checkpoint
from sweeper.reporting import status
from sweeper.reporting.tables import point_text
from sweeper.statistics import leaderboard
from sweeper.system.text import short

EXAMPLE = "sweeper best lr_sweep --ckpt"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    parser.add_argument("--trial", help="trial to show instead of the best one")
    one = parser.add_mutually_exclusive_group()
    common.add_json(one)
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


def run(args: argparse.Namespace) -> None:
    sweep = common.find(args)
    front = leaderboard.front_trials(sweep)
    if front and not (args.trial or args.config or args.ckpt or args.command):
        if args.json:
            common.print_json({"front": [status.best_json(sweep, t) for t in front]})
            return
        objectives = sweep.experiment.objectives
        for trial in front:
            result = leaderboard.trial_results(trial, objectives)
            pairs = zip(objectives, result[1] if result else (), strict=True)
            values = ", ".join(f"{o.metric} {short(value)}" for o, value in pairs)
            print(f"{trial.id}: {values}  {point_text(trial.params)}")
        return
    best = common.find_trial(sweep, args.trial or common.BEST)
    if args.ckpt:
        checkpoint = best_checkpoint.require(sweep, best)
        print(checkpoint.path)
        print(checkpoint.text(sweep.experiment.objective.metric), file=sys.stderr)
        return
    if args.config:
        print(sweep.paths.trial(best.id).config.read_text(encoding="utf-8"), end="")
        return
    data = status.best_json(sweep, best)
    if args.json:
        common.print_json(data)
    elif args.command:
        print(data["command"])
    else:
        for key, value in data.items():
            print(f"{key}: {value}")
